// SPDX-License-Identifier: GPL-2.0-only
/* What kvmi tells of the VMs of this host, to whom, and when. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tool.h"

/* The VM of that number in the list of all; false if it is not in it. */
static bool in_list(struct kvmi_monitor *monitor, uint64_t id,
		    struct kvmi_vm_status *status)
{
	struct kvmi_vm_status *list;
	bool found = false;
	size_t nr, i;

	KTAP_LIB_OK(kvmi_monitor_list(monitor, &list, &nr));
	for (i = 0; i < nr; i++) {
		if (i)
			KTAP_ASSERT(list[i].id > list[i - 1].id);
		if (list[i].id != id)
			continue;
		found = true;
		*status = list[i];
	}
	free(list);
	return found;
}

/* The next that happens to VMs; other tests' are over. */
static uint64_t expect(struct kvmi_monitor *monitor, unsigned int kind,
		       uint64_t id)
{
	struct kvmi_monitor_event event;

	KTAP_ASSERT(kvmi_monitor_next(monitor, TOOL_PATIENCE, &event) == 1);
	KTAP_EQ(event.kind, kind);
	if (id)
		KTAP_EQ(event.id, id);
	return event.id;
}

static __guest uint64_t cpuid_n(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		guest_cpuid(0, 0);
	return n;
}

KTAP_CASE(what_becomes_of_a_vm, "D9 S1")
{
	struct kvmi_monitor_event event;
	struct kvmi_vm_status status;
	struct kvmi_monitor *monitor;
	struct kvmi_info info;
	const struct kvmi_event *ev;
	struct kvmi_vm *kv;
	struct vmm *vm;
	uint64_t id;
	int n = 0;

	KTAP_LIB_OK(kvmi_monitor_open(&monitor));
	KTAP_EQ(kvmi_monitor_next(monitor, 0, &event), 0);
	vm = vmm_create(2, 0);
	id = expect(monitor, KVMI_MONITOR_CREATED, 0);
	KTAP_LIB_OK(kvmi_monitor_get(monitor, id, &status));
	KTAP_EQ(status.id, id);
	KTAP_EQ(status.pid, getpid());
	KTAP_EQ(status.uid, 0);
	KTAP_EQ(status.nr_vcpus, 2);
	KTAP_ASSERT(status.memory > 0);
	KTAP_ASSERT(status.created_ns > 0);
	KTAP_ASSERT(!status.attached);
	KTAP_ASSERT(!strcmp(status.comm, "netlink"));

	kv = tool_attach(vm);
	expect(monitor, KVMI_MONITOR_ATTACHED, id);
	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(info.out_id, id);
	KTAP_EQ(info.out_memory, status.memory);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	vmm_vcpu_set_entry(vm, 1, cpuid_n, 5, 0, 0);
	vmm_vcpu_start(vm, 1);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 1, TOOL_PATIENCE), 5);
	while (kvmi_event_wait(kv, &ev, 0) > 0)
		n++;
	KTAP_EQ(n, 5);
	KTAP_ASSERT(in_list(monitor, id, &status));
	KTAP_ASSERT(status.attached);
	KTAP_EQ(status.attach_ns, info.out_attach_ns);
	KTAP_EQ(status.events, 5);
	KTAP_EQ(status.dropped, 0);

	kvmi_vm_close(kv);
	expect(monitor, KVMI_MONITOR_DETACHED, id);
	KTAP_ASSERT(in_list(monitor, id, &status));
	KTAP_ASSERT(!status.attached);
	KTAP_EQ(status.events, 0);
	vmm_destroy(vm);
	expect(monitor, KVMI_MONITOR_GONE, id);
	KTAP_ASSERT(!in_list(monitor, id, &status));
	KTAP_LIB_ERR(kvmi_monitor_get(monitor, id, &status), ENOENT);

	/* A VM that ends while it is attached is both. */
	vm = vmm_create(1, 0);
	KTAP_ASSERT(expect(monitor, KVMI_MONITOR_CREATED, 0) > id);
	kv = tool_attach(vm);
	id = expect(monitor, KVMI_MONITOR_ATTACHED, 0);
	vmm_destroy(vm);
	expect(monitor, KVMI_MONITOR_DETACHED, id);
	expect(monitor, KVMI_MONITOR_GONE, id);
	kvmi_vm_close(kv);
	KTAP_EQ(kvmi_monitor_next(monitor, 20, &event), 0);
	kvmi_monitor_close(monitor);
}

/* More of them than one message holds. */
KTAP_CASE(many, "D9")
{
	enum { N = 60 };
	struct kvmi_vm_status status, *list;
	struct kvmi_monitor *monitor;
	struct vmm *vm[N];
	uint64_t id[N];
	size_t nr;
	int i;

	KTAP_LIB_OK(kvmi_monitor_open(&monitor));
	KTAP_LIB_OK(kvmi_monitor_list(monitor, &list, &nr));
	free(list);
	KTAP_EQ(nr, 0);
	for (i = 0; i < N; i++) {
		vm[i] = vmm_create(1, 0);
		id[i] = expect(monitor, KVMI_MONITOR_CREATED, 0);
	}
	KTAP_LIB_OK(kvmi_monitor_list(monitor, &list, &nr));
	KTAP_EQ(nr, N);
	for (i = 0; i < N; i++) {
		KTAP_EQ(list[i].id, id[i]);
		KTAP_LIB_OK(kvmi_monitor_get(monitor, id[i], &status));
		KTAP_EQ(status.id, id[i]);
	}
	free(list);
	for (i = 0; i < N; i += 2)
		vmm_destroy(vm[i]);
	KTAP_LIB_OK(kvmi_monitor_list(monitor, &list, &nr));
	KTAP_EQ(nr, N / 2);
	free(list);
	for (i = 1; i < N; i += 2)
		vmm_destroy(vm[i]);
	kvmi_monitor_close(monitor);
}

/* A process that becomes somebody else, looks, and says what it has seen. */
enum sight { SEES, SEES_NOT, NO_FAMILY, FAILED };

static enum sight look(uint64_t id)
{
	struct kvmi_vm_status status, *list;
	struct kvmi_monitor *monitor;
	bool found = false;
	size_t nr, i;
	int ret;

	ret = kvmi_monitor_open(&monitor);
	if (ret)
		return ret == -ENOENT ? NO_FAMILY : FAILED;
	if (kvmi_monitor_list(monitor, &list, &nr))
		return FAILED;
	for (i = 0; i < nr; i++)
		found |= list[i].id == id;
	ret = kvmi_monitor_get(monitor, id, &status);
	if (ret && ret != -ENOENT)
		return FAILED;
	if (found != !ret)
		return FAILED;
	return found ? SEES : SEES_NOT;
}

static enum sight seen_by(uid_t uid, int namespaces, uint64_t id)
{
	int status;
	pid_t pid;

	pid = KTAP_OK(fork());
	if (!pid) {
		if (namespaces && unshare(namespaces))
			_exit(FAILED);
		if (uid && (setgid(uid) || setuid(uid)))
			_exit(FAILED);
		/* The pid namespace is that of children. */
		pid = fork();
		if (!pid)
			_exit(look(id));
		if (pid < 0 || waitpid(pid, &status, 0) != pid ||
		    !WIFEXITED(status))
			_exit(FAILED);
		_exit(WEXITSTATUS(status));
	}
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_ASSERT(WIFEXITED(status));
	return WEXITSTATUS(status);
}

KTAP_CASE(who_is_told, "D9")
{
	struct kvmi_monitor *monitor;
	struct vmm *vm;
	uint64_t id;

	KTAP_LIB_OK(kvmi_monitor_open(&monitor));
	vm = vmm_create(1, 0);
	id = expect(monitor, KVMI_MONITOR_CREATED, 0);
	KTAP_EQ(seen_by(0, 0, id), SEES);
	KTAP_EQ(seen_by(65534, 0, id), SEES_NOT);
	KTAP_EQ(seen_by(0, CLONE_NEWPID, id), SEES_NOT);
	KTAP_EQ(seen_by(0, CLONE_NEWNET, id), NO_FAMILY);
	vmm_destroy(vm);
	expect(monitor, KVMI_MONITOR_GONE, id);
	kvmi_monitor_close(monitor);
}

/* Who does not read in time is told that he has missed something. */
KTAP_CASE(too_slow, "D9")
{
	struct kvmi_monitor_event event;
	struct kvmi_monitor *monitor;
	struct vmm *vm;
	bool lost = false;
	int i, ret;

	KTAP_LIB_OK(kvmi_monitor_open(&monitor));
	vm = vmm_create(1, 0);
	for (i = 0; i < 400; i++)
		kvmi_vm_close(tool_attach(vm));
	while ((ret = kvmi_monitor_next(monitor, 0, &event)) > 0)
		lost |= event.kind == KVMI_MONITOR_LOST;
	KTAP_EQ(ret, 0);
	KTAP_ASSERT(lost);
	/* And goes on. */
	vmm_destroy(vm);
	do {
		KTAP_ASSERT(kvmi_monitor_next(monitor, TOOL_PATIENCE,
					      &event) == 1);
	} while (event.kind != KVMI_MONITOR_GONE);
	kvmi_monitor_close(monitor);
}

KTAP_MAIN(ktap_need_kvmi)
