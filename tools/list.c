// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi list: the virtual machines of this host, and what becomes of them.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static void list_json(const struct kvmi_vmlist_entry *e)
{
	json_begin();
	json_number("pid", e->pid);
	json_number("fd", e->fd);
	json_number("uid", e->uid);
	json_string("vmm", e->vmm);
	json_string("name", e->name);
	if (e->id)
		json_number("id", e->id);
	if (e->nr_vcpus)
		json_number("vcpus", e->nr_vcpus);
	if (e->memory)
		json_number("memory", e->memory);
	if (e->attached)
		json_bool("attached", e->attached == KVMI_ATTACHED_YES);
	json_end();
}

static int list_once(bool json, unsigned int flags)
{
	static const char * const attached[] = { "?", "no", "yes" };
	const struct kvmi_vmlist_entry *e;
	struct kvmi_vmlist *list;
	char vm[32], vcpus[16];
	size_t i;
	int ret;

	ret = kvmi_vmlist_create(flags, &list);
	if (ret)
		return failed(ret);
	if (!json && kvmi_vmlist_size(list))
		printf("%-12s %-24s %-20s %5s %10s  %s\n", "VM", "VMM", "NAME",
		       "VCPUS", "MEMORY", "ATTACHED");
	for (i = 0; (e = kvmi_vmlist_get(list, i)); i++) {
		if (json) {
			list_json(e);
			continue;
		}
		if (e->nr_vms > 1)
			snprintf(vm, sizeof(vm), "%d:%d", e->pid, e->fd);
		else
			snprintf(vm, sizeof(vm), "%d", e->pid);
		snprintf(vcpus, sizeof(vcpus), "%u", e->nr_vcpus);
		printf("%-12s %-24s %-20s %5s %10s  %s\n", vm, e->vmm,
		       *e->name ? e->name : "-", e->nr_vcpus ? vcpus : "?",
		       e->memory ? human_size(e->memory) : "?",
		       attached[e->attached]);
	}
	if (!json && !kvmi_vmlist_size(list))
		fprintf(stderr, "kvmi: no virtual machine%s\n",
			geteuid() ? " of yours; those of others only root sees"
				  : "");
	kvmi_vmlist_destroy(list);
	return EXIT_OK;
}

/* The VMs that we were told of: of others, that they are gone is no news. */
static struct kvmi_vm_status *known;
static size_t nr_known;

static struct kvmi_vm_status *find_known(uint64_t id)
{
	size_t i;

	for (i = 0; i < nr_known; i++)
		if (known[i].id == id)
			return &known[i];
	return NULL;
}

static bool remember(const struct kvmi_vm_status *status)
{
	struct kvmi_vm_status *more, *k = find_known(status->id);

	if (!k) {
		more = reallocarray(known, nr_known + 1, sizeof(*known));
		if (!more)
			return false;
		known = more;
		k = &known[nr_known++];
	}
	*k = *status;
	return true;
}

static void forget(uint64_t id)
{
	struct kvmi_vm_status *k = find_known(id);

	if (k)
		*k = known[--nr_known];
}

static void print_change(bool json, const char *what,
			 const struct kvmi_vm_status *status)
{
	if (json) {
		json_begin();
		json_string("event", what);
		json_number("id", status->id);
		json_number("pid", status->pid);
		json_number("uid", status->uid);
		json_string("vmm", status->comm);
		json_number("vcpus", status->nr_vcpus);
		json_number("memory", status->memory);
		json_bool("attached", status->attached);
		if (status->attached) {
			json_number("events", status->events);
			json_number("dropped", status->dropped);
		}
		json_end();
	} else {
		printf("%-9s %-8d %-16s %s\n", what, status->pid, status->comm,
		       status->attached ? "attached" : "");
	}
	fflush(stdout);
}

/* All there are: at the start, and when something was lost. */
static int present(struct kvmi_monitor *monitor, bool json)
{
	struct kvmi_vm_status *status;
	size_t nr, i;
	int ret;

	ret = kvmi_monitor_list(monitor, &status, &nr);
	if (ret)
		return failed(ret);
	for (i = 0; i < nr; i++) {
		if (!remember(&status[i])) {
			free(status);
			return failed(-ENOMEM);
		}
		print_change(json, "present", &status[i]);
	}
	free(status);
	return EXIT_OK;
}

static int change(struct kvmi_monitor *monitor, bool json,
		  const struct kvmi_monitor_event *event)
{
	static const char * const what[] = {
		[KVMI_MONITOR_CREATED] = "created",
		[KVMI_MONITOR_ATTACHED] = "attached",
		[KVMI_MONITOR_DETACHED] = "detached",
		[KVMI_MONITOR_GONE] = "gone",
	};
	struct kvmi_vm_status status, *k;
	int ret;

	if (event->kind == KVMI_MONITOR_LOST) {
		fprintf(stderr, "kvmi: some changes were lost; this is what there is:\n");
		nr_known = 0;
		return present(monitor, json);
	}
	k = find_known(event->id);
	if (event->kind == KVMI_MONITOR_GONE) {
		if (k) {
			k->attached = false;
			print_change(json, "gone", k);
			forget(event->id);
		}
		return EXIT_OK;
	}
	ret = kvmi_monitor_get(monitor, event->id, &status);
	if (ret == -ENOENT && k) {
		/* It has ended meanwhile, which will be told next. */
		status = *k;
		ret = 0;
	}
	if (ret == -ENOENT)
		return EXIT_OK;
	if (ret)
		return failed(ret);
	/* What it is by now may be the next change already. */
	status.attached = event->kind == KVMI_MONITOR_ATTACHED;
	if (!remember(&status))
		return failed(-ENOMEM);
	if (event->kind <= KVMI_MONITOR_GONE)
		print_change(json, what[event->kind], &status);
	return EXIT_OK;
}

static int list_follow(bool json)
{
	struct kvmi_monitor_event event;
	struct kvmi_monitor *monitor;
	int ret;

	ret = kvmi_monitor_open(&monitor);
	if (ret)
		return ret == -ENOENT ? (failed(ret), EXIT_NO_MODULE) :
					failed(ret);
	catch_signals();
	ret = present(monitor, json);
	while (ret == EXIT_OK && !interrupted) {
		int n = kvmi_monitor_next(monitor, -1, &event);

		if (n == -EINTR)
			continue;
		ret = n < 0 ? failed(n) : change(monitor, json, &event);
	}
	kvmi_monitor_close(monitor);
	free(known);
	return ret;
}

int cmd_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "no-probe", no_argument, NULL, 'p' },
		{ "follow", no_argument, NULL, 'f' },
		{ }
	};
	bool json = false, probe = true, follow = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'p':
			probe = false;
			break;
		case 'f':
			follow = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage_error("kvmi list takes no argument");
	if (follow)
		return list_follow(json);
	return list_once(json, probe ? KVMI_VMLIST_PROBE : 0);
}
