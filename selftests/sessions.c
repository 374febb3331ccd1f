// SPDX-License-Identifier: GPL-2.0-only
/* Several sessions of a VM, narrowed ones, and what becomes of it without one. */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define MSR_LSTAR		0xc0000082

static __guest uint64_t cpuids(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		guest_cpuid(0, i);
	return guest_cpu()->count[6];
}

static __guest uint64_t count_until(uint64_t *flag, uint64_t *count)
{
	while (!*(volatile uint64_t *)flag)
		(*(volatile uint64_t *)count)++;
	return 1;
}

/* Each command, with arguments that go through where the right is there. */
struct command {
	const char *name;
	uint32_t rights;
	int (*try)(struct kvmi_vm *kv);
};

static int try_info(struct kvmi_vm *kv)
{
	struct kvmi_info info;

	return kvmi_vm_get_info(kv, &info);
}

static int try_slots(struct kvmi_vm *kv)
{
	int ret = kvmi_vm_get_slots(kv, NULL, 0);

	return ret < 0 ? ret : 0;
}

static int try_vcpu(struct kvmi_vm *kv)
{
	struct kvmi_vcpu_info info;

	return kvmi_vcpu_get_info(kv, 0, &info);
}

static int try_stats(struct kvmi_vm *kv)
{
	struct kvmi_stats stats;

	return kvmi_vm_get_stats(kv, 0, 0, &stats);
}

static int try_exits(struct kvmi_vm *kv)
{
	return kvmi_vm_get_exits(kv, 0, NULL, 0);
}

static int try_policy(struct kvmi_vm *kv)
{
	return kvmi_vm_set_policy(kv, 0, KVMI_ACTION_CONTINUE);
}

static int try_reset(struct kvmi_vm *kv)
{
	return kvmi_vm_reset(kv, KVMI_RESET_INJECT);
}

static int try_ring(struct kvmi_vm *kv)
{
	struct kvmi_ring *ring;
	int ret = kvmi_ring_open(kv, 0, -1, &ring);

	if (!ret)
		kvmi_ring_close(ring);
	return ret;
}

static int try_wait(struct kvmi_vm *kv)
{
	struct kvmi_wait wait = {
		.size = sizeof(wait),
		.kick = KVMI_VCPU_NONE,
		.wait = KVMI_VCPU_NONE,
	};

	return ioctl(kvmi_vm_fd(kv), KVMI_WAIT, &wait) ? -errno : 0;
}

static int try_async(struct kvmi_vm *kv)
{
	return kvmi_event_watch(kv, 0, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
}

static int try_sync(struct kvmi_vm *kv)
{
	return kvmi_event_watch(kv, 0, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
}

static int try_pause(struct kvmi_vm *kv)
{
	return kvmi_vm_pause(kv);
}

static int try_resume(struct kvmi_vm *kv)
{
	return kvmi_vm_resume(kv);
}

static int try_get_regs(struct kvmi_vm *kv)
{
	struct kvmi_x86_gprs regs;

	return kvmi_vcpu_get_gprs(kv, 0, &regs);
}

static int try_set_regs(struct kvmi_vm *kv)
{
	struct kvmi_x86_debug regs;
	int ret = kvmi_vcpu_get_debug(kv, 0, &regs);

	/* Without the right to read: as the vCPU has them after its reset. */
	if (ret)
		regs = (struct kvmi_x86_debug){ .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	return kvmi_vcpu_set_debug(kv, 0, &regs);
}

static uint8_t xsave[65536] __attribute__((aligned(64)));
static size_t xsave_size;

static int try_get_state(struct kvmi_vm *kv)
{
	size_t size;
	int ret = kvmi_vcpu_get_state(kv, 0, KVMI_STATE_XSAVE, xsave,
				      sizeof(xsave), &size);

	if (!ret)
		xsave_size = size;
	return ret;
}

static int try_set_state(struct kvmi_vm *kv)
{
	return kvmi_vcpu_set_state(kv, 0, KVMI_STATE_XSAVE, xsave, xsave_size);
}

static int try_get_msr(struct kvmi_vm *kv)
{
	uint64_t value;

	return kvmi_vcpu_get_msr(kv, 0, MSR_LSTAR, &value);
}

static int try_set_msr(struct kvmi_vm *kv)
{
	return kvmi_vcpu_set_msr(kv, 0, MSR_LSTAR, 0);
}

static uint64_t somewhere;

static int try_read(struct kvmi_vm *kv)
{
	char byte;
	ssize_t ret = kvmi_vm_read(kv, somewhere, &byte, 1);

	return ret < 0 ? ret : 0;
}

static int try_write(struct kvmi_vm *kv)
{
	ssize_t ret = kvmi_vm_write(kv, somewhere, "", 1);

	return ret < 0 ? ret : 0;
}

static int try_read_list(struct kvmi_vm *kv)
{
	char byte;
	struct kvmi_rw rw = {
		.addr = somewhere, .buf = (uintptr_t)&byte, .len = 1,
	};
	ssize_t ret = kvmi_vm_read_list(kv, &rw, 1);

	return ret < 0 ? ret : 0;
}

static int try_write_list(struct kvmi_vm *kv)
{
	struct kvmi_rw rw = {
		.addr = somewhere, .buf = (uintptr_t)"", .len = 1,
	};
	ssize_t ret = kvmi_vm_write_list(kv, &rw, 1);

	return ret < 0 ? ret : 0;
}

static int try_pread(struct kvmi_vm *kv)
{
	char byte;

	return pread(kvmi_vm_fd(kv), &byte, 1, somewhere) < 0 ? -errno : 0;
}

static int try_pwrite(struct kvmi_vm *kv)
{
	return pwrite(kvmi_vm_fd(kv), "", 1, somewhere) < 0 ? -errno : 0;
}

static int try_translate(struct kvmi_vm *kv)
{
	struct kvmi_space space;

	return kvmi_space_get(kv, 0, &space);
}

static uint32_t view;

static int try_view_create(struct kvmi_vm *kv)
{
	return kvmi_view_create(kv, KVMI_ACCESS_RWX, &view);
}

static int try_view_switch(struct kvmi_vm *kv)
{
	return kvmi_view_switch(kv, 0, KVMI_VIEW_DEFAULT);
}

static int try_view_access(struct kvmi_vm *kv)
{
	return kvmi_view_set_access(kv, view, 1, 1, KVMI_ACCESS_R);
}

static int try_view_check(struct kvmi_vm *kv)
{
	struct kvmi_view_check check;

	return kvmi_view_check(kv, KVMI_VIEW_ALL, &check);
}

static int try_remap(struct kvmi_vm *kv)
{
	return kvmi_view_remap(kv, view, 1, 2);
}

static int try_bytes(struct kvmi_vm *kv)
{
	return kvmi_view_watch_bytes(kv, view, 0x1000, 8);
}

static int try_link(struct kvmi_vm *kv)
{
	return kvmi_view_link(kv, view, KVMI_VIEW_DEFAULT);
}

static int try_page(struct kvmi_vm *kv)
{
	uint64_t gfn = KVMI_GFN_NONE;
	int ret = kvmi_page_alloc(kv, &gfn, 1);

	if (ret)
		KTAP_LIB_ERR(kvmi_page_free(kv, gfn, 1), -ret);
	return ret ? ret : kvmi_page_free(kv, gfn, 1);
}

static int try_view_list(struct kvmi_vm *kv)
{
	int ret = kvmi_view_list(kv, NULL, 0);

	return ret > 0 ? 0 : ret;
}

static int try_view_destroy(struct kvmi_vm *kv)
{
	return kvmi_view_destroy(kv, view);
}

static int try_inject(struct kvmi_vm *kv)
{
	int ret = kvmi_vcpu_inject_exception(kv, 0, 6, 0, 0);

	/* That of the last round is queued still. */
	return ret == -EAGAIN ? 0 : ret;
}

static const struct command commands[] = {
	{ "GET_INFO", KVMI_RIGHT_READ, try_info },
	{ "GET_SLOTS", KVMI_RIGHT_READ, try_slots },
	{ "GET_VCPU", KVMI_RIGHT_READ, try_vcpu },
	{ "GET_STATS", KVMI_RIGHT_READ, try_stats },
	{ "GET_EXITS", KVMI_RIGHT_READ, try_exits },
	{ "SET_POLICY", KVMI_RIGHT_CONTROL, try_policy },
	{ "RESET", KVMI_RIGHT_CONTROL, try_reset },
	{ "GET_RING, mmap", KVMI_RIGHT_EVENTS, try_ring },
	{ "WAIT", KVMI_RIGHT_EVENTS, try_wait },
	{ "CONTROL_EVENT", KVMI_RIGHT_EVENTS, try_async },
	{ "CONTROL_EVENT", KVMI_RIGHT_EVENTS | KVMI_RIGHT_SYNC, try_sync },
	{ "PAUSE", KVMI_RIGHT_CONTROL, try_pause },
	{ "RESUME", KVMI_RIGHT_CONTROL, try_resume },
	{ "GET_REGS", KVMI_RIGHT_READ, try_get_regs },
	{ "SET_REGS", KVMI_RIGHT_WRITE, try_set_regs },
	{ "GET_STATE", KVMI_RIGHT_READ, try_get_state },
	{ "SET_STATE", KVMI_RIGHT_WRITE, try_set_state },
	{ "GET_MSRS", KVMI_RIGHT_READ, try_get_msr },
	{ "SET_MSRS", KVMI_RIGHT_WRITE, try_set_msr },
	{ "READ_PHYS", KVMI_RIGHT_READ, try_read },
	{ "WRITE_PHYS", KVMI_RIGHT_WRITE, try_write },
	{ "RW_LIST", KVMI_RIGHT_READ, try_read_list },
	{ "RW_LIST", KVMI_RIGHT_READ | KVMI_RIGHT_WRITE, try_write_list },
	{ "pread", KVMI_RIGHT_READ, try_pread },
	{ "pwrite", KVMI_RIGHT_WRITE, try_pwrite },
	{ "TRANSLATE", KVMI_RIGHT_READ, try_translate },
	{ "VIEW_CREATE", KVMI_RIGHT_VIEWS, try_view_create },
	{ "VIEW_SWITCH", KVMI_RIGHT_VIEWS, try_view_switch },
	{ "ACCESS_SET", KVMI_RIGHT_VIEWS, try_view_access },
	{ "VIEW_CHECK", KVMI_RIGHT_VIEWS, try_view_check },
	{ "GET_VIEWS", KVMI_RIGHT_READ, try_view_list },
	{ "REMAP", KVMI_RIGHT_VIEWS, try_remap },
	{ "PAGE_ALLOC, PAGE_FREE", KVMI_RIGHT_VIEWS, try_page },
	{ "WATCH_BYTES", KVMI_RIGHT_VIEWS, try_bytes },
	{ "VIEW_LINK", KVMI_RIGHT_VIEWS, try_link },
	{ "VIEW_DESTROY", KVMI_RIGHT_VIEWS, try_view_destroy },
	{ "INJECT", KVMI_RIGHT_INJECT, try_inject },
};

static void try_all(struct kvmi_vm *kv, uint32_t rights)
{
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];

		ret = c->try(kv);
		KTAP_ASSERT(ret == (c->rights & ~rights ? -EPERM : 0),
			    "rights %#x: %s: %d", rights, c->name, ret);
	}
}

/* Each right by itself, and each command. */
KTAP_CASE(narrowed, "D13")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_narrow left;
	struct kvmi_vm *kv;
	uint32_t rights;
	int i;

	somewhere = vmm_alloc_pages(vm, 1);
	kv = tool_attach(vm);
	try_all(kv, KVMI_RIGHT_ALL);
	KTAP_LIB_OK(kvmi_vm_narrow(kv, KVMI_RIGHT_ALL, ~0ULL, &left));
	KTAP_EQ(left.out_rights, KVMI_RIGHT_ALL);
	try_all(kv, KVMI_RIGHT_ALL);
	KTAP_LIB_ERR(kvmi_vm_narrow(kv, ~0U, 0, NULL), EINVAL);
	kvmi_vm_close(kv);

	for (i = 0; i < 7; i++) {
		kv = tool_attach(vm);
		rights = 1U << i;
		KTAP_LIB_OK(kvmi_vm_narrow(kv, rights, ~0ULL, &left));
		KTAP_EQ(left.out_rights, rights);
		try_all(kv, rights);
		/* For good. */
		KTAP_LIB_OK(kvmi_vm_narrow(kv, KVMI_RIGHT_ALL, ~0ULL, &left));
		KTAP_EQ(left.out_rights, rights);
		KTAP_LIB_ERR(kvmi_vm_detach(kv),
			     rights == KVMI_RIGHT_CONTROL ? 0 : EPERM);
		kvmi_vm_close(kv);
	}
	vmm_destroy(vm);
}

/* Chosen kinds, and the parts of an answer. */
KTAP_CASE(narrowed_events, "D13")
{
	static const struct {
		uint32_t right;
		uint32_t flags;
		enum kvmi_action action;
	} parts[] = {
		{ KVMI_RIGHT_WRITE, KVMI_REPLY_REGS, KVMI_ACTION_CONTINUE },
		{ KVMI_RIGHT_WRITE, KVMI_REPLY_SETS, KVMI_ACTION_CONTINUE },
		{ KVMI_RIGHT_INJECT, KVMI_REPLY_INJECT, KVMI_ACTION_CONTINUE },
		{ KVMI_RIGHT_VIEWS, KVMI_REPLY_VIEW, KVMI_ACTION_RETRY },
		{ KVMI_RIGHT_CONTROL, 0, KVMI_ACTION_SKIP },
		{ KVMI_RIGHT_CONTROL, 0, KVMI_ACTION_CRASH },
	};
	struct vmm *vm = vmm_create(1, 0);
	const struct kvmi_event *ev;
	struct kvmi_vcpu_info info;
	struct kvmi_reply reply;
	struct kvmi_vm *kv;
	unsigned int i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		kv = tool_attach(vm);
		tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_ASYNC, 0);
		KTAP_LIB_OK(kvmi_vm_narrow(kv, KVMI_RIGHT_ALL & ~parts[i].right,
					   1ULL << KVMI_EVENT_X86_CPUID, NULL));
		KTAP_LIB_ERR(kvmi_event_watch(kv, 0, KVMI_EVENT_BREAKPOINT,
					      KVMI_MODE_OFF, 0), EPERM);
		KTAP_LIB_ERR(kvmi_event_watch_cr(kv, 0, 3, KVMI_MODE_ASYNC, 0),
			     EPERM);
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
		vmm_vcpu_set_entry(vm, 0, cpuids, 1, 0, 0);
		vmm_vcpu_start(vm, 0);
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		kvmi_reply_init(&reply, parts[i].action);
		reply.flags = parts[i].flags;
		tool_answer(kv, ev, &reply);
		KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0);
		if (parts[i].right != KVMI_RIGHT_READ) {
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
			KTAP_EQ(info.out_bad_replies, 1);
		}
		kvmi_vm_close(kv);
	}
	vmm_destroy(vm);
}

static struct kvmi_vm *observe(struct vmm *vm)
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.flags = KVMI_VM_OBSERVER,
	};
	struct kvmi_vm *kv;

	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &options, &kv));
	return kv;
}

/* Before, beside and after one that controls the VM. */
#define OBSERVER	(KVMI_RIGHT_READ | KVMI_RIGHT_EVENTS)

KTAP_CASE_SMP(observers, "D7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *first = observe(vm), *second, *kv;
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = vmm_gpa(vm, gpa);
	struct kvmi_vcpu_info info;
	struct kvmi_stats stats;
	int i;

	somewhere = gpa + 8;
	try_all(first, OBSERVER);
	kv = tool_attach(vm);
	KTAP_LIB_ERR(kvmi_vm_attach_fd(vm->fd, NULL, &second), EBUSY);
	second = observe(vm);
	try_all(second, OBSERVER);

	/* What is done by the one is seen by the others. */
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, 2, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		tool_wait(kv, KVMI_EVENT_X86_CPUID);
	KTAP_LIB_OK(kvmi_vm_get_stats(second, KVMI_VCPU_ALL, KVMI_KIND_ALL,
				      &stats));
	KTAP_EQ(stats.out_open, nr_vcpus);
	KTAP_LIB_OK(kvmi_vcpu_get_info(first, 0, &info));
	KTAP_EQ(info.out_state, KVMI_VCPU_EVENT);

	/* Its end lets the guest go on, and those that look on stay. */
	kvmi_vm_close(kv);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 0);
	try_all(first, OBSERVER);
	KTAP_LIB_OK(kvmi_vm_detach(first));
	KTAP_LIB_ERR(try_info(first), ENODEV);
	KTAP_LIB_ERR(try_read(first), ENODEV);
	KTAP_LIB_ERR(try_pread(first), ENODEV);
	try_all(second, OBSERVER);
	kvmi_vm_close(first);

	/* Another one. */
	kv = tool_attach(vm);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64, 0);
	vmm_start_all(vm);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	kvmi_vm_close(second);
	tool_msleep(20);
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
		KTAP_EQ(info.out_state, KVMI_VCPU_PAUSED);
	}
	kvmi_vm_close(kv);
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	vmm_destroy(vm);
}

/* Sums of what is told: of the next @nr records of a kind, all for one vCPU. */
static uint64_t take_cpuids(struct kvmi_vm *kv, int nr)
{
	const struct kvmi_event *event;
	uint64_t seq = 0, sum = 0;

	for (int i = 0; i < nr; i++) {
		event = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_ASSERT(!kvmi_event_is_sync(event));
		KTAP_ASSERT(!seq || event->seq == seq + 1);
		seq = event->seq;
		sum += kvmi_event_cpuid(event)->index;
	}
	return sum;
}

/*
 * Two observers and one that controls, each with wishes of its own: what one asks
 * for is told to that one, once, whatever the others do.
 */
KTAP_CASE(observed_events, "D7 D4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *first = observe(vm), *second, *kv;
	const struct kvmi_event *event;
	struct kvmi_stats stats;
	uint64_t i;

	second = observe(vm);
	tool_watch(first, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	vmm_vcpu_set_entry(vm, 0, cpuids, 3, 0, 0);
	vmm_start_all(vm);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0);
	KTAP_EQ(take_cpuids(first, 3), 0 + 1 + 2);
	tool_wait_none(second, 5);

	/* Beside one that answers; the other one counts. */
	kv = tool_attach(vm);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	tool_watch(second, KVMI_EVENT_X86_CPUID, KVMI_MODE_COUNT, 0);
	vmm_vcpu_set_entry(vm, 0, cpuids, 4, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 4; i++) {
		event = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(kvmi_event_cpuid(event)->index, i);
		/* It was told before, and need not wait for the answer. */
		KTAP_EQ(take_cpuids(first, 1), i);
		tool_reply(kv, event, KVMI_ACTION_CONTINUE);
	}
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0);
	tool_wait_none(first, 5);
	tool_wait_none(second, 5);
	KTAP_LIB_OK(kvmi_vm_get_stats(second, 0, KVMI_EVENT_X86_CPUID, &stats));
	KTAP_EQ(stats.out_counted, 4);
	KTAP_EQ(stats.out_events, 0);
	KTAP_LIB_OK(kvmi_vm_get_stats(first, 0, KVMI_EVENT_X86_CPUID, &stats));
	KTAP_EQ(stats.out_counted, 0);
	KTAP_EQ(stats.out_events, 7);

	/* One goes, then the one that controls; and what is left is told on. */
	kvmi_vm_close(first);
	kvmi_vm_close(kv);
	tool_watch(second, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC,
		   KVMI_REGS_GENERAL | KVMI_REGS_CONTROL);
	vmm_vcpu_set_entry(vm, 0, cpuids, 2, 0, 0);
	vmm_start_all(vm);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0);
	for (i = 0; i < 2; i++) {
		event = tool_wait(second, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(kvmi_event_gprs(event)->r[KVMI_X86_RCX], i);
		KTAP_ASSERT(kvmi_event_control_regs(event)->cr0 & 1);
	}
	kvmi_vm_close(second);
	vmm_destroy(vm);
}

/* An observer whose ring is full loses its own records, and delays nobody. */
KTAP_CASE_SMP(observer_does_not_read, "D7 D4")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.flags = KVMI_VM_OBSERVER,
		.ring_size = 4096,
	};
	struct kvmi_vm *kv = tool_attach(vm), *lazy;
	struct kvmi_stats stats, all;
	int i;

	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &options, &lazy));
	tool_watch(lazy, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC,
		   KVMI_REGS_GENERAL);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_COUNT, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, 500, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 0);
	KTAP_LIB_OK(kvmi_vm_get_stats(lazy, KVMI_VCPU_ALL, KVMI_EVENT_X86_CPUID,
				      &stats));
	KTAP_ASSERT(stats.out_dropped > 0);
	KTAP_EQ(stats.out_events + stats.out_dropped, 500 * nr_vcpus);
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, KVMI_VCPU_ALL, KVMI_EVENT_X86_CPUID,
				      &all));
	KTAP_EQ(all.out_counted, 500 * nr_vcpus);
	KTAP_EQ(all.out_dropped, 0);
	kvmi_vm_close(lazy);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Observers come and go while the guest exits and is told of. */
KTAP_CASE_SMP(observers_come_and_go, "D7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm), *other;
	struct kvmi_stats stats;
	uint64_t sum = 0;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_COUNT, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, 20000, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 30; i++) {
		other = observe(vm);
		tool_watch(other, KVMI_EVENT_X86_CPUID,
			   i & 1 ? KVMI_MODE_ASYNC : KVMI_MODE_COUNT, 0);
		KTAP_LIB_OK(kvmi_event_watch_msr(other, KVMI_VCPU_ALL, MSR_LSTAR,
						 KVMI_ACCESS_W, KVMI_MODE_ASYNC,
						 0));
		tool_msleep(2);
		KTAP_LIB_OK(kvmi_vm_get_stats(other, KVMI_VCPU_ALL,
					      KVMI_EVENT_X86_CPUID, &stats));
		sum += stats.out_counted + stats.out_events + stats.out_dropped;
		kvmi_vm_close(other);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, 4 * TOOL_PATIENCE), 0);
	KTAP_ASSERT(sum > 0);
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, KVMI_VCPU_ALL, KVMI_EVENT_X86_CPUID,
				      &stats));
	KTAP_EQ(stats.out_counted, 20000 * nr_vcpus);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static void set_on_close(struct kvmi_vm *kv, enum kvmi_on_close how)
{
	struct kvmi_policy policy = { .on_close = how };

	KTAP_LIB_OK(kvmi_vm_set_policies(kv, &policy));
}

static void start_counting(struct vmm *vm, uint64_t gpa)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64, 0);
	vmm_start_all(vm);
}

KTAP_CASE_SMP(dies_pause, "D14")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = vmm_gpa(vm, gpa);
	uint64_t was[8];
	int i;

	set_on_close(kv, KVMI_ON_CLOSE_PAUSE);
	start_counting(vm, gpa);
	kvmi_vm_close(kv);
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		was[i] = mem[8 + i * 8];
	/* The VMM has its threads all the same. */
	vmm_stop_all(vm);
	vmm_start_all(vm);
	tool_msleep(20);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(mem[8 + i * 8], was[i]);
	/* The successor, which in turn has no such wish. */
	kv = tool_attach(vm);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	KTAP_LIB_ERR(kvmi_vm_resume(kv), EINVAL);
	for (i = 0; i < nr_vcpus; i++)
		while (mem[8 + i * 8] == was[i])
			usleep(1000);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	kvmi_vm_close(kv);
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);

	/* KVMI_DETACH is no death. */
	kv = tool_attach(vm);
	set_on_close(kv, KVMI_ON_CLOSE_PAUSE);
	KTAP_LIB_OK(kvmi_vm_detach(kv));
	kvmi_vm_close(kv);
	mem[0] = 0;
	start_counting(vm, gpa);
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(dies_crash, "D14")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	int i;

	set_on_close(kv, KVMI_ON_CLOSE_CRASH);
	start_counting(vm, gpa);
	tool_msleep(20);
	kvmi_vm_close(kv);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait(vm, i, TOOL_PATIENCE), KVM_EXIT_SHUTDOWN);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(dies_wait, "D14")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i, n;

	set_on_close(kv, KVMI_ON_CLOSE_WAIT);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, 3, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_wait(kv, KVMI_EVENT_X86_CPUID);
	/* One has an event open; the others come to theirs without a tool. */
	kvmi_vm_close(kv);
	for (i = 1; i < nr_vcpus; i++)
		vmm_vcpu_start(vm, i);
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_ASSERT(vmm_vcpu_running(vm, i));
	kv = tool_attach(vm);
	/* What was open comes again; that one's old record may be there, too. */
	for (n = 0, i = 0; i < nr_vcpus;) {
		if (kvmi_event_wait(kv, &ev, 20) > 0) {
			KTAP_EQ(ev->kind, KVMI_EVENT_X86_CPUID);
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
			n++;
			continue;
		}
		for (i = 0; i < nr_vcpus && !vmm_vcpu_running(vm, i); i++)
			;
	}
	KTAP_GE(n, 3 * nr_vcpus);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The VM goes while it waits for a successor that does not come. */
KTAP_CASE(dies_and_the_vm_too, "D14")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);

	set_on_close(kv, KVMI_ON_CLOSE_PAUSE);
	start_counting(vm, gpa);
	kvmi_vm_close(kv);
	tool_msleep(20);
	vmm_destroy(vm);
	vm = vmm_create(1, 0);
	kv = tool_attach(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- batches ----------------------------------------------------------------------- */

/* Many calls in one: each has its own end; or the first that fails ends it. */
KTAP_CASE_SMP(batch, "D6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_x86_gprs gprs[8];
	struct kvmi_regs regs[8];
	struct kvmi_batch_op ops[12] = {};
	struct kvmi_pause all = { .size = sizeof(all), .vcpu = KVMI_VCPU_ALL };
	uint64_t value = 0x1122334455667788;
	struct kvmi_phys phys = {
		.size = sizeof(phys), .gpa = gpa, .len = 8,
		.buf = (uintptr_t)&value,
	};
	struct kvmi_phys hole = {
		.size = sizeof(hole), .gpa = 1ULL << 40, .len = 8,
		.buf = (uintptr_t)&value,
	};
	struct kvmi_wait wait = { .size = sizeof(wait) };
	struct kvmi_batch nested = { .size = sizeof(nested), .nr = 1 };
	int i, n = 0, bad;

	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_PAUSE,
					   .arg = (uintptr_t)&all };
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_WRITE_PHYS,
					   .arg = (uintptr_t)&phys };
	for (i = 0; i < nr_vcpus; i++) {
		regs[i] = (struct kvmi_regs){
			.size = sizeof(regs[i]), .vcpu = i,
			.sets = KVMI_REGS_GENERAL,
			.buf = (uintptr_t)&gprs[i], .buf_size = sizeof(gprs[i]),
		};
		ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_GET_REGS,
						   .arg = (uintptr_t)&regs[i] };
		vmm_vcpu_set_entry(vm, i, cpuids, 0x1234 + i, 0, 0);
	}
	bad = n;
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_READ_PHYS,
					   .arg = (uintptr_t)&hole };
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_WAIT,
					   .arg = (uintptr_t)&wait };
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_BATCH,
					   .arg = (uintptr_t)&nested };
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_RESUME, .arg = 8 };
	ops[n++] = (struct kvmi_batch_op){ .cmd = KVMI_RESUME,
					   .arg = (uintptr_t)&all };

	KTAP_EQ(kvmi_vm_batch(kv, ops, n, 0), 4);
	for (i = 0; i < bad; i++)
		KTAP_EQ(ops[i].out_error, 0);
	KTAP_EQ(ops[bad].out_error, -ENXIO);
	KTAP_EQ(ops[bad + 1].out_error, -EINVAL);
	KTAP_EQ(ops[bad + 2].out_error, -EINVAL);
	KTAP_EQ(ops[bad + 3].out_error, -EFAULT);
	KTAP_EQ(ops[bad + 4].out_error, 0);
	KTAP_EQ(*(uint64_t *)vmm_gpa(vm, gpa), value);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(gprs[i].r[KVMI_X86_RDI], 0x1234 + i);
	KTAP_LIB_ERR(kvmi_vm_resume(kv), EINVAL);

	KTAP_EQ(kvmi_vm_batch(kv, ops, n, KVMI_BATCH_STOP), 1);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	KTAP_LIB_ERR(kvmi_vm_batch(kv, ops, 0, 0), EINVAL);
	KTAP_LIB_ERR(kvmi_vm_batch(kv, ops, KVMI_MAX_BATCH + 1, 0), EINVAL);
	KTAP_LIB_ERR(kvmi_vm_batch(kv, ops, 1, 2), EINVAL);
	KTAP_LIB_ERR(kvmi_vm_batch(kv, (void *)8, 1, 0), EFAULT);

	/* It is no way around what was taken away. */
	KTAP_LIB_OK(kvmi_vm_narrow(kv, KVMI_RIGHT_READ, 0, NULL));
	KTAP_EQ(kvmi_vm_batch(kv, ops, n, 0), 7);
	KTAP_EQ(ops[0].out_error, -EPERM);
	KTAP_EQ(ops[1].out_error, -EPERM);
	KTAP_EQ(ops[2].out_error, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest void nothing(__attribute__((unused)) struct guest_regs *regs)
{
}

static __guest uint64_t write_after_cpuid(uint64_t gva)
{
	guest_cpuid(0, 0);
	GUEST_WRITE(uint64_t, gva, 1);
	return guest_cpu()->count[2] << 32 | (guest_read_cr4() & 4);
}

/* An answer with general and control registers, a view, and an NMI. */
KTAP_CASE_SMP(answer_with_all_of_it, "D6 A3 A4 A5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_x86_injection nmi = { .type = KVMI_X86_INJECT_NMI };
	struct kvmi_x86_control control;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint32_t other;
	uint64_t rip;
	int i;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &other));
	KTAP_LIB_OK(kvmi_view_set_access(kv, other, gpa >> 12, 1, KVMI_ACCESS_R));
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vm->vcpu[i].cpu->handler[2] = nothing;
		vmm_vcpu_set_entry(vm, i, write_after_cpuid, gpa, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_LIB_OK(kvmi_vcpu_get_control(kv, i, &control));
		control.cr4 |= 4;
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		rip = kvmi_event_gprs(ev)->r[KVMI_X86_RIP];
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, rip + 2));
		KTAP_LIB_OK(kvmi_reply_set_regs(&reply, KVMI_REGS_CONTROL,
						&control, sizeof(control)));
		kvmi_reply_set_view(&reply, other);
		kvmi_reply_inject(&reply, &nmi);
		tool_answer(kv, ev, &reply);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		KTAP_EQ(kvmi_event_access(ev)->gpa, gpa);
		KTAP_EQ(ev->view, other);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1ULL << 32 | 4);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
