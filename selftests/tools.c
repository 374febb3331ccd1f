// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tools that die, hang or lie, and VMMs that do as they please: the guest runs
 * on, and no event is lost or told twice.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <unistd.h>

#include "lib/tool.h"

static __guest uint64_t cpuids(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		guest_cpuid(0, i);
	return n;
}

static void start(struct vmm *vm, int nr_vcpus, uint64_t n)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, n, 0, 0);
	vmm_start_all(vm);
}

static void finish(struct vmm *vm, int nr_vcpus, uint64_t n)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), n);
	vmm_destroy(vm);
}

/* A tool in a process of its own, which tells when all vCPUs wait for it. */
static pid_t tool_process(struct vmm *vm, int nr_vcpus, int timeout_ms,
			  int *ready)
{
	struct kvmi_vm *kv;
	int fds[2];
	pid_t pid;
	char c = 0;
	int i;

	KTAP_OK(pipe(fds));
	pid = KTAP_OK(fork());
	if (!pid) {
		kv = tool_attach(vm);
		KTAP_LIB_OK(kvmi_vm_set_policy(kv, timeout_ms,
					       KVMI_ACTION_CONTINUE));
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
		KTAP_EQ(write(fds[1], &c, 1), 1);
		for (i = 0; i < nr_vcpus; i++)
			tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(write(fds[1], &c, 1), 1);
		for (;;)
			pause();
	}
	close(fds[1]);
	KTAP_EQ(read(fds[0], &c, 1), 1);
	*ready = fds[0];
	return pid;
}

KTAP_CASE_SMP(killed_while_every_vcpu_waits, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int ready;
	pid_t pid = tool_process(vm, nr_vcpus, 0, &ready);
	char c;

	start(vm, nr_vcpus, 3);
	KTAP_EQ(read(ready, &c, 1), 1);
	tool_msleep(20);
	KTAP_OK(kill(pid, SIGKILL));
	KTAP_EQ(waitpid(pid, NULL, 0), pid);
	finish(vm, nr_vcpus, 3);
}

KTAP_CASE_SMP(stopped_past_the_timeout, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int ready;
	pid_t pid = tool_process(vm, nr_vcpus, 100, &ready);
	char c;

	start(vm, nr_vcpus, 3);
	KTAP_EQ(read(ready, &c, 1), 1);
	KTAP_OK(kill(pid, SIGSTOP));
	/* Each of the three events takes the default action. */
	finish(vm, nr_vcpus, 3);
	KTAP_OK(kill(pid, SIGKILL));
	KTAP_EQ(waitpid(pid, NULL, 0), pid);
}

KTAP_CASE(the_default_action_is_chosen, "D8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);

	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 50, KVMI_ACTION_CRASH));
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, 1, 3);
	KTAP_EQ(vmm_vcpu_wait(vm, 0, TOOL_PATIENCE), KVM_EXIT_SHUTDOWN);
	KTAP_LIB_ERR(kvmi_vm_set_policy(kv, 50, KVMI_ACTION_SKIP), EINVAL);
	KTAP_LIB_ERR(kvmi_vm_set_policy(kv, 86400001, 0), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(closed_with_events_open, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, nr_vcpus, 3);
	for (i = 0; i < nr_vcpus; i++)
		tool_wait(kv, KVMI_EVENT_X86_CPUID);
	kvmi_vm_close(kv);
	finish(vm, nr_vcpus, 3);
}

/* The child inherits the descriptor, not the rings. */
KTAP_CASE(the_tool_forks, "D8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_get_ring ring = { .size = sizeof(ring), .eventfd = -1 };
	int status;
	pid_t pid;
	void *p;

	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_GET_RING, &ring));
	p = mmap(NULL, ring.out_header_size, PROT_READ, MAP_SHARED,
		 kvmi_vm_fd(kv), ring.out_header_offset);
	KTAP_ASSERT(p != MAP_FAILED);
	pid = KTAP_OK(fork());
	if (!pid) {
		unsigned char vec;

		KTAP_ERR(mincore(p, 4096, &vec), ENOMEM);
		_exit(0);
	}
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_EQ(status, 0);
	KTAP_EQ(((struct kvmi_ring_header *)p)->version, KVMI_ABI_VERSION);
	kvmi_vm_close(kv);
	/* The memory stays as long as it is mapped. */
	KTAP_EQ(((struct kvmi_ring_header *)p)->version, KVMI_ABI_VERSION);
	munmap(p, ring.out_header_size);
	vmm_destroy(vm);
}

/* ---- the descriptor is the right --------------------------------------------- */

static void drop_everything(void)
{
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[2] = {};

	KTAP_OK(setgid(65534));
	KTAP_OK(setuid(65534));
	KTAP_OK(syscall(SYS_capset, &h, d));
	KTAP_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

KTAP_CASE_SMP(a_vmm_hands_over_its_vm, "D2 D13")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_attach args = { .size = sizeof(args), .vm_fd = vm->fd };
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	struct kvmi_vm *kv;
	int sock[2], status;
	uint64_t val;
	pid_t pid;
	char c;
	int dev, fd, i;

	KTAP_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = KTAP_OK(fork());
	if (!pid) {
		close(vm->fd);
		for (i = 0; i < nr_vcpus; i++)
			close(vm->vcpu[i].fd);
		drop_everything();
		KTAP_ERR(open("/dev/kvmi", O_RDWR), EACCES);
		fd = KTAP_LIB_OK(kvmi_session_receive(sock[1]));
		KTAP_LIB_OK(kvmi_vm_open(fd, &kv));
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC,
			   KVMI_REGS_GENERAL);
		val = 4711;
		KTAP_EQ(kvmi_vm_write(kv, gpa, &val, 8), 8);
		KTAP_EQ(write(sock[1], "r", 1), 1);
		for (i = 0; i < 3 * nr_vcpus; i++) {
			ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		kvmi_vm_close(kv);
		_exit(0);
	}

	dev = KTAP_OK(open("/dev/kvmi", O_RDWR));
	fd = KTAP_OK(ioctl(dev, KVMI_ATTACH, &args));
	close(dev);
	KTAP_LIB_OK(kvmi_session_send(sock[0], fd));
	close(fd);
	KTAP_EQ(read(sock[0], &c, 1), 1);
	KTAP_EQ(*(uint64_t *)vmm_gpa(vm, gpa), 4711);
	start(vm, nr_vcpus, 3);
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_EQ(status, 0);
	finish(vm, nr_vcpus, 3);
}

/*
 * What the documentation says of /dev/kvmi: its mode is all that is asked, no
 * capability; and a VM is had by who could debug its VMM, and nobody else.
 */
KTAP_CASE(the_group_may_attach, "D1 D13")
{
	enum { GROUP = 4711 };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv;
	gid_t group = GROUP;
	struct stat st;
	int status, i;
	pid_t pid;

	KTAP_OK(stat("/dev/kvmi", &st));
	KTAP_EQ(st.st_mode & 07777, 0660);
	KTAP_OK(chown("/dev/kvmi", -1, GROUP));
	for (i = 0; i < 2; i++) {
		pid = KTAP_OK(fork());
		if (pid) {
			KTAP_EQ(waitpid(pid, &status, 0), pid);
			KTAP_EQ(status, 0);
			continue;
		}
		KTAP_OK(setgroups(i, &group));
		drop_everything();
		if (!i) {
			KTAP_LIB_ERR(kvmi_vm_attach_fd(vm->fd, NULL, &kv),
				     EACCES);
			_exit(0);
		}
		/* By the descriptor, which it has; not by way of root's. */
		KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, NULL, &kv));
		kvmi_vm_close(kv);
		KTAP_ASSERT(kvmi_vm_attach_pid(getppid(), vm->fd, NULL, &kv));

		/* By pid, from a process of its own that may be dumped. */
		KTAP_OK(prctl(PR_SET_DUMPABLE, 1));
		pid = KTAP_OK(fork());
		if (!pid) {
			close(vm->fd);
			KTAP_LIB_OK(kvmi_vm_attach_pid(getppid(), -1, NULL,
						       &kv));
			kvmi_vm_close(kv);
			_exit(0);
		}
		KTAP_EQ(waitpid(pid, &status, 0), pid);
		KTAP_EQ(status, 0);
		/* And from one that may not. */
		KTAP_OK(prctl(PR_SET_DUMPABLE, 0));
		pid = KTAP_OK(fork());
		if (!pid) {
			KTAP_ASSERT(kvmi_vm_attach_pid(getppid(), vm->fd, NULL,
						       &kv));
			_exit(0);
		}
		KTAP_EQ(waitpid(pid, &status, 0), pid);
		_exit(status);
	}
	KTAP_OK(chown("/dev/kvmi", -1, st.st_gid));
	vmm_destroy(vm);
}

/* ---- the VMM does as it pleases ------------------------------------------------ */

/* Signals at all times: every event once, in order. */
KTAP_CASE_SMP(signals_at_all_times, "D4 D8 D11")
{
	enum { N = 60 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	uint64_t seq[8] = {}, eintr = 0;
	int i, j;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, nr_vcpus, N);
	for (i = 0; i < N * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(ev->seq, ++seq[ev->vcpu]);
		KTAP_EQ(kvmi_event_cpuid(ev)->index, seq[ev->vcpu] - 1);
		for (j = 0; j < nr_vcpus; j++)
			vmm_vcpu_signal(vm, j);
		if (i % 3 == 0)
			usleep(500);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), N);
		eintr += vm->vcpu[i].nr_eintr;
	}
	/* Else nothing was shown. */
	KTAP_ASSERT(eintr > 0);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Stopped and started with an event open: the same event waits on. */
KTAP_CASE_SMP(stop_and_cont_with_an_event_open, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_vcpu_info info;
	uint64_t id[8] = {};
	struct kvmi_reply reply;
	const struct kvmi_event *ev;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, nr_vcpus, 1);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		id[ev->vcpu] = ev->id;
	}
	vmm_stop_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
		KTAP_EQ(info.out_open_event, id[i]);
	}
	/* Answered while the VMM has it, or after it runs again. */
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_event_answer_id(kv, 0, id[0], &reply));
	vmm_start_all(vm);
	for (i = 1; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_event_answer_id(kv, i, id[i], &reply));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The VMM puts the vCPU elsewhere: a reset, a snapshot loaded. */
KTAP_CASE_SMP(overtaken_by_the_vmm, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t id;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
		vmm_vcpu_set_entry(vm, i, cpuids, 1, 0, 0);
		vmm_vcpu_start(vm, i);
		id = tool_wait(kv, KVMI_EVENT_X86_CPUID)->id;
		vmm_vcpu_stop(vm, i);
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_OFF, 0);
		vmm_vcpu_set_entry(vm, i, cpuids, 2, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_CANCELLED);
		KTAP_EQ(kvmi_event_cancelled(ev)->event, id);
		KTAP_EQ(kvmi_event_cancelled(ev)->kind, KVMI_EVENT_X86_CPUID);
		/* Too late, and without effect. */
		kvmi_reply_init(&reply, KVMI_ACTION_CRASH);
		kvmi_event_answer_id(kv, i, id, &reply);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 2);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Memory slots come and go while vCPUs wait: the VMM must not hang. */
KTAP_CASE_SMP(slots_change_while_vcpus_wait, "D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_reply reply;
	const struct kvmi_event *ev;
	uint64_t id[8] = {};
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, nr_vcpus, 1);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		id[ev->vcpu] = ev->id;
	}
	for (i = 0; i < 5; i++) {
		vmm_slot_add(vm, 1, 0x10000000, 65536, 0);
		vmm_slot_move(vm, 1, 0x20000000);
		vmm_slot_delete(vm, 1);
	}
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_event_answer_id(kv, i, id[i], &reply));
	kvmi_vm_close(kv);
	finish(vm, nr_vcpus, 1);
}

/* ---- lies ------------------------------------------------------------------------- */

/* The raw ring, without libkvmi's manners. */
struct raw {
	const struct kvmi_ring_header *header;
	struct kvmi_ring_tool *tool;
};

static struct raw raw_ring(struct kvmi_vm *kv, int vcpu)
{
	struct kvmi_get_ring get = {
		.size = sizeof(get), .vcpu = vcpu, .eventfd = -1,
	};
	struct raw raw;
	void *p;

	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_GET_RING, &get));
	p = mmap(NULL, get.out_header_size, PROT_READ, MAP_SHARED,
		 kvmi_vm_fd(kv), get.out_header_offset);
	KTAP_ASSERT(p != MAP_FAILED);
	raw.header = p;
	/* The kernel's part is not writable, now or later. */
	KTAP_ERR(mprotect(p, 4096, PROT_READ | PROT_WRITE), EACCES);
	KTAP_ASSERT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			 kvmi_vm_fd(kv), get.out_header_offset) == MAP_FAILED);
	p = mmap(NULL, get.out_tool_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 kvmi_vm_fd(kv), get.out_tool_offset);
	KTAP_ASSERT(p != MAP_FAILED);
	raw.tool = p;
	return raw;
}

static uint64_t raw_wait(struct kvmi_vm *kv, struct raw *raw, uint64_t last)
{
	int i;

	(void)kv;
	for (i = 0; i < TOOL_PATIENCE; i++) {
		uint64_t id = __atomic_load_n(&raw->header->open_event,
					      __ATOMIC_ACQUIRE);

		if (id && id != last)
			return id;
		usleep(1000);
	}
	KTAP_FAIL("no event opens");
}

static void raw_reply(struct kvmi_vm *kv, struct raw *raw,
		      const struct kvmi_reply *reply, uint64_t id)
{
	struct kvmi_wait wait = {
		.size = sizeof(wait), .kick = KVMI_VCPU_ALL,
		.wait = KVMI_VCPU_NONE,
	};

	raw->tool->consumer = raw->header->producer;
	raw->tool->reply.id = 0;
	raw->tool->reply = *reply;
	raw->tool->reply.id = 0;
	__atomic_store_n(&raw->tool->reply.id, id, __ATOMIC_SEQ_CST);
	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_WAIT, &wait));
}

/* A bad reply becomes the default action, is counted, and said to be bad. */
KTAP_CASE(bad_replies, "D8")
{
	static const struct {
		struct kvmi_reply reply;
		int error;
	} bad[] = {
		{ { .size = 8 }, -EINVAL },
		{ { .size = 4096 }, -E2BIG },
		{ { .size = sizeof(bad[0].reply), .action = 99 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .flags = 1U << 31 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .pad = 1 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .reg_mask = 1 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .flags = KVMI_REPLY_REGS,
		    .reg_mask = 1U << 20 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .flags = KVMI_REPLY_REGS,
		    .reg_mask = 1U << KVMI_X86_RIP }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .flags = KVMI_REPLY_VIEW,
		    .action = KVMI_ACTION_RETRY, .view = 7 }, -ENOENT },
		{ { .size = sizeof(bad[0].reply), .view = 1 }, -EINVAL },
		{ { .size = sizeof(bad[0].reply), .flags = KVMI_REPLY_STEP },
		  -EINVAL },
		{ { .size = sizeof(bad[0].reply), .action = KVMI_ACTION_RETRY,
		    .flags = KVMI_REPLY_STEP | KVMI_REPLY_FAST_STEP }, -EINVAL },
	};
	enum { N = sizeof(bad) / sizeof(bad[0]) };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_vcpu_info info;
	struct kvmi_reply good;
	uint64_t id = 0;
	struct raw raw;
	int i;

	raw = raw_ring(kv, 0);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	start(vm, 1, N + 5);
	for (i = 0; i < N; i++) {
		id = raw_wait(kv, &raw, id);
		raw_reply(kv, &raw, &bad[i].reply, id);
		while (raw.header->last_event != id)
			usleep(500);
		if (raw.header->last_error != bad[i].error)
			KTAP_FAIL("reply %d: %d, not %d", i,
				  raw.header->last_error, bad[i].error);
	}
	KTAP_EQ(raw.header->bad_replies, N);
	KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
	KTAP_EQ(info.out_bad_replies, N);

	/* A newer tool's, which says nothing new; and one that does. */
	kvmi_reply_init(&good, KVMI_ACTION_CONTINUE);
	good.size += 8;
	for (i = 0; i < 2; i++) {
		*(uint64_t *)(&raw.tool->reply + 1) = i;
		id = raw_wait(kv, &raw, id);
		raw_reply(kv, &raw, &good, id);
		while (raw.header->last_event != id)
			usleep(500);
		KTAP_EQ(raw.header->last_error, i ? -E2BIG : 0);
	}

	/* Replies with a foreign or a stale id are none. */
	good.size -= 8;
	id = raw_wait(kv, &raw, id);
	raw_reply(kv, &raw, &good, id + 1);
	raw_reply(kv, &raw, &good, 0);
	raw_reply(kv, &raw, &good, id - 0x10000);
	tool_msleep(20);
	KTAP_EQ(raw.header->open_event, id);
	raw_reply(kv, &raw, &good, id);
	id = raw_wait(kv, &raw, id);
	raw_reply(kv, &raw, &good, id);

	/* No reply at all, which is no bad one: a limit holds for what is open. */
	id = raw_wait(kv, &raw, id);
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 60000, KVMI_ACTION_CONTINUE));
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 0, KVMI_ACTION_CONTINUE));
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 50, KVMI_ACTION_CONTINUE));
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), N + 5);
	KTAP_EQ(raw.header->last_event, id);
	KTAP_EQ(raw.header->last_error, -ETIMEDOUT);
	KTAP_EQ(raw.header->bad_replies, N + 1);
	/* And one when nobody waits. */
	raw_reply(kv, &raw, &good, id + 0x10000);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Positions that make no sense stop the tool's own records, not the guest. */
KTAP_CASE(garbage_positions, "D8 D4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_vcpu_info info;
	struct raw raw = raw_ring(kv, 0);

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	raw.tool->consumer = 0x123456789abcdefULL;
	start(vm, 1, 10);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 10);
	KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
	KTAP_EQ(info.out_dropped, 10);

	/* A synchronous event waits for room, or its time. */
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 50, KVMI_ACTION_CONTINUE));
	vmm_vcpu_set_entry(vm, 0, cpuids, 2, 0, 0);
	vmm_vcpu_start(vm, 0);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 2);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A mapper that writes everything, all the time, with the guest at work. */
struct hostile {
	struct raw raw[8];
	int nr;
	volatile bool stop;
};

static void *hostile_thread(void *arg)
{
	struct hostile *h = arg;
	unsigned int seed = 1;
	unsigned int i;
	int v;

	while (!h->stop) {
		for (v = 0; v < h->nr; v++) {
			uint32_t *p = (uint32_t *)h->raw[v].tool;

			for (i = 0; i < sizeof(struct kvmi_ring_tool) / 4; i++) {
				seed = seed * 1103515245 + 12345;
				/* Often nearly right. */
				p[i] = seed & 0x700 ? seed >> 16 & 3 : seed;
			}
			h->raw[v].tool->consumer = h->raw[v].header->producer;
			h->raw[v].tool->reply.size = sizeof(struct kvmi_reply);
			h->raw[v].tool->reply.id =
				h->raw[v].header->open_event;
		}
	}
	return NULL;
}

KTAP_CASE_SMP_TIME(a_hostile_mapper, "D8", 120)
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_wait wait = {
		.size = sizeof(wait), .kick = KVMI_VCPU_ALL,
		.wait = KVMI_VCPU_NONE,
	};
	struct hostile h = { .nr = nr_vcpus };
	pthread_t thread;
	uint32_t view;
	int i;

	for (i = 0; i < nr_vcpus; i++)
		h.raw[i] = raw_ring(kv, i);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 20, KVMI_ACTION_CONTINUE));
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC,
		   KVMI_REGS_GENERAL);
	start(vm, nr_vcpus, 1000000000);
	KTAP_EQ(pthread_create(&thread, NULL, hostile_thread, &h), 0);
	for (i = 0; i < 300; i++) {
		KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_WAIT, &wait));
		usleep(1000);
	}
	h.stop = true;
	pthread_join(thread, NULL);
	kvmi_vm_close(kv);
	/* The guest may be anywhere by now: the host must be well. */
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_stop(vm, i);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
