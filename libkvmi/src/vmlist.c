// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which VMs this host has: whoever uses KVM holds descriptors that say so.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define VM_LINK		"anon_inode:kvm-vm"
#define VCPU_LINK	"anon_inode:kvm-vcpu"

struct kvmi_vmlist {
	struct kvmi_vmlist_entry *entries;
	size_t nr;
	size_t room;
	bool refused;	/* some process could not be looked into */
};

static bool is_number(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s))
			return false;
	return true;
}

static void copy_string(char *to, size_t size, const char *from, size_t len)
{
	size_t i;

	if (len >= size)
		len = size - 1;
	/* It will be printed on terminals. */
	for (i = 0; i < len; i++)
		to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
	to[len] = 0;
}

/* "-name x", "-name guest=x,...", "--name x", "--name=x", "--id x". */
static void name_from_arg(char *to, size_t size, const char *arg)
{
	const char *p = arg;

	while (p) {
		if (!strncmp(p, "guest=", 6)) {
			arg = p + 6;
			break;
		}
		p = strchr(p, ',');
		if (p)
			p++;
	}
	copy_string(to, size, arg, strcspn(arg, ","));
}

static const char *name_option(const char *arg, bool *next)
{
	static const char * const names[] = {
		"-name", "--name", "--id", "--vm-name"
	};
	size_t i, len;

	*next = false;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		len = strlen(names[i]);
		if (strncmp(arg, names[i], len))
			continue;
		if (arg[len] == '=')
			return arg + len + 1;
		if (!arg[len]) {
			*next = true;
			return NULL;
		}
	}
	return NULL;
}

/* Fills in ->vmm and ->name from the process's command line. */
static void read_cmdline(struct kvmi_vmlist_entry *e)
{
	char path[PATH_MAX], buf[16384];
	const char *base, *arg, *end;
	bool next = false;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%d/cmdline", kvmi_sys.proc,
		 (int)e->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, buf, sizeof(buf) - 1);
		close(fd);
	}
	if (n <= 0) {
		copy_string(e->vmm, sizeof(e->vmm), "?", 1);
		return;
	}
	buf[n] = 0;
	end = buf + n;
	base = strrchr(buf, '/');
	base = base ? base + 1 : buf;
	copy_string(e->vmm, sizeof(e->vmm), base, strlen(base));
	for (arg = buf + strlen(buf) + 1; arg < end; arg += strlen(arg) + 1) {
		const char *name = arg;

		if (next)
			next = false;
		else
			name = name_option(arg, &next);
		if (name && *name) {
			name_from_arg(e->name, sizeof(e->name), name);
			return;
		}
	}
}

static struct kvmi_vmlist_entry *add_entry(struct kvmi_vmlist *list)
{
	if (list->nr == list->room) {
		size_t room = list->room ? 2 * list->room : 8;
		struct kvmi_vmlist_entry *new;

		new = reallocarray(list->entries, room, sizeof(*new));
		if (!new)
			return NULL;
		list->entries = new;
		list->room = room;
	}
	memset(&list->entries[list->nr], 0, sizeof(list->entries[0]));
	return &list->entries[list->nr++];
}

/* Appends the process's VMs; -errno if it cannot be looked into. */
static int scan_process(struct kvmi_vmlist *list, pid_t pid)
{
	size_t first = list->nr, i;
	unsigned int nr_vcpus = 0;
	char path[PATH_MAX], target[64];
	struct kvmi_vmlist_entry *e;
	struct dirent *de;
	struct stat st;
	ssize_t n;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%s/%d/fd", kvmi_sys.proc, (int)pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((de = readdir(dir))) {
		if (!is_number(de->d_name))
			continue;
		n = readlinkat(dirfd(dir), de->d_name, target,
			       sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		if (!strncmp(target, VCPU_LINK, strlen(VCPU_LINK))) {
			nr_vcpus++;
			continue;
		}
		if (strcmp(target, VM_LINK))
			continue;
		fd = atoi(de->d_name);
		/* The same VM under another number. */
		for (i = first; i < list->nr; i++)
			if (kvmi_sys.same_file(pid, list->entries[i].fd, pid,
					       fd) == 1)
				break;
		if (i < list->nr) {
			if (fd < list->entries[i].fd)
				list->entries[i].fd = fd;
			continue;
		}
		e = add_entry(list);
		if (!e) {
			closedir(dir);
			return -ENOMEM;
		}
		e->pid = pid;
		e->fd = fd;
		read_cmdline(e);
	}
	closedir(dir);

	snprintf(path, sizeof(path), "%s/%d", kvmi_sys.proc, (int)pid);
	if (stat(path, &st))
		st.st_uid = (uid_t)-1;
	for (i = first; i < list->nr; i++) {
		list->entries[i].uid = st.st_uid;
		list->entries[i].nr_vms = list->nr - first;
		/* Which vCPU belongs to which VM does not show. */
		if (list->nr - first == 1)
			list->entries[i].nr_vcpus = nr_vcpus;
	}
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct kvmi_vmlist_entry *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->fd - y->fd;
}

static int scan_all(struct kvmi_vmlist *list)
{
	struct dirent *de;
	int ret = 0;
	DIR *dir;

	dir = opendir(kvmi_sys.proc);
	if (!dir)
		return kvmi_error_set(-errno, "%s: %s", kvmi_sys.proc,
				      strerror(errno));
	while ((de = readdir(dir))) {
		if (!is_number(de->d_name))
			continue;
		ret = scan_process(list, atoi(de->d_name));
		if (ret == -ENOMEM)
			break;
		/* Processes end, and others are not ours to look into. */
		if (ret == -EACCES || ret == -EPERM)
			list->refused = true;
		ret = 0;
	}
	closedir(dir);
	if (ret)
		return kvmi_error_set(ret, "out of memory");
	if (list->nr)
		qsort(list->entries, list->nr, sizeof(list->entries[0]),
		      by_pid);
	return 0;
}

static void probe(struct kvmi_vmlist_entry *e)
{
	struct kvmi_info info;
	struct kvmi_vm *vm;
	int ret;

	ret = kvmi_vm_attach_pid(e->pid, e->fd, NULL, &vm);
	if (ret == -EBUSY)
		e->attached = KVMI_ATTACHED_YES;
	if (ret)
		return;
	e->attached = KVMI_ATTACHED_NO;
	if (!kvmi_vm_get_info(vm, &info)) {
		e->nr_vcpus = info.out_nr_vcpus;
		e->memory = info.out_memory;
	}
	kvmi_vm_close(vm);
}

/* What kvmi.ko tells without being attached: of who has one VM, which that is. */
static void ask_kernel(struct kvmi_vmlist *list)
{
	const struct kvmi_vm_status *found;
	struct kvmi_vm_status *status;
	struct kvmi_monitor *monitor;
	size_t nr, i, j, same;

	if (kvmi_monitor_open(&monitor))
		return;
	if (kvmi_monitor_list(monitor, &status, &nr)) {
		kvmi_monitor_close(monitor);
		return;
	}
	for (i = 0; i < list->nr; i++) {
		struct kvmi_vmlist_entry *e = &list->entries[i];

		same = 0;
		for (j = 0; j < nr; j++) {
			if (status[j].pid != e->pid)
				continue;
			found = &status[j];
			same++;
		}
		if (same != 1 || e->nr_vms != 1)
			continue;
		e->id = found->id;
		e->nr_vcpus = found->nr_vcpus;
		e->memory = found->memory;
		e->attached = found->attached ? KVMI_ATTACHED_YES :
						KVMI_ATTACHED_NO;
	}
	free(status);
	kvmi_monitor_close(monitor);
}

/**
 * kvmi_vmlist_create() - List the VMs of this host
 * @flags: 0 or KVMI_VMLIST_PROBE
 * @list: where to store the list; free it with kvmi_vmlist_destroy()
 *
 * The VMs of processes that the caller may not look into are not in it. With
 * KVMI_VMLIST_PROBE kvmi.ko is asked for what /proc does not tell: its memory, and
 * whether a session controls it. Where it does not answer (see
 * kvmi_monitor_open()), or the process has several VMs, each of them is attached
 * to for a moment.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vmlist_create(unsigned int flags, struct kvmi_vmlist **list)
{
	struct kvmi_vmlist *l;
	size_t i;
	int ret;

	if (flags & ~KVMI_VMLIST_PROBE)
		return kvmi_error_set(-EINVAL, "unknown flags %#x", flags);
	l = calloc(1, sizeof(*l));
	if (!l)
		return kvmi_error_set(-ENOMEM, "out of memory");
	ret = scan_all(l);
	if (ret) {
		kvmi_vmlist_destroy(l);
		return ret;
	}
	if (flags & KVMI_VMLIST_PROBE) {
		ask_kernel(l);
		for (i = 0; i < l->nr; i++)
			if (!l->entries[i].attached)
				probe(&l->entries[i]);
	}
	*list = l;
	return 0;
}

/**
 * kvmi_vmlist_size() - How many VMs are in a list
 * @list: the list
 *
 * Return: the number of entries.
 */
size_t kvmi_vmlist_size(const struct kvmi_vmlist *list)
{
	return list->nr;
}

/**
 * kvmi_vmlist_get() - One entry of a list
 * @list: the list
 * @index: which, from 0
 *
 * Return: the entry, valid as long as the list, or NULL behind the last one.
 */
const struct kvmi_vmlist_entry *kvmi_vmlist_get(const struct kvmi_vmlist *list,
						size_t index)
{
	return index < list->nr ? &list->entries[index] : NULL;
}

/**
 * kvmi_vmlist_destroy() - Free a list
 * @list: the list, or NULL
 */
void kvmi_vmlist_destroy(struct kvmi_vmlist *list)
{
	if (!list)
		return;
	free(list->entries);
	free(list);
}

int kvmi_find_vm_fd(pid_t pid, int *fd)
{
	struct kvmi_vmlist list = { };
	int ret;

	ret = scan_process(&list, pid);
	if (ret == -ENOMEM)
		kvmi_error_set(ret, "out of memory");
	else if (ret)
		ret = kvmi_error_ptrace(pid, ret == -ENOENT ? -ESRCH : ret);
	else if (!list.nr)
		ret = kvmi_error_set(-ENOENT, "process %d has no KVM VM",
				     (int)pid);
	else if (list.nr > 1)
		ret = kvmi_error_set(-ENOTUNIQ,
				     "process %d has %zu VMs: say which, for instance %d:%d",
				     (int)pid, list.nr, (int)pid,
				     list.entries[0].fd);
	else
		*fd = list.entries[0].fd;
	free(list.entries);
	return ret;
}

int kvmi_find_vm_name(const char *name, pid_t *pid, int *fd)
{
	const struct kvmi_vmlist_entry *found = NULL;
	struct kvmi_vmlist list = { };
	size_t i;
	int ret;

	ret = scan_all(&list);
	for (i = 0; !ret && i < list.nr; i++) {
		if (strcmp(list.entries[i].name, name))
			continue;
		if (found)
			ret = kvmi_error_set(-ENOTUNIQ,
					     "more than one VM is called %s: use the pid (%d, %d)",
					     name, (int)found->pid,
					     (int)list.entries[i].pid);
		found = &list.entries[i];
	}
	if (!ret && !found)
		ret = kvmi_error_set(-ENOENT, "there is no VM called %s%s",
				     name, list.refused ?
				     " among the processes that we may look into (are you root?)"
				     : "");
	if (!ret) {
		*pid = found->pid;
		*fd = found->fd;
	}
	free(list.entries);
	return ret;
}
