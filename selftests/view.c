// SPDX-License-Identifier: GPL-2.0-only
/* One view beside the default: rights, events, switching, stepping over. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define RWX	KVMI_ACCESS_RWX
#define RX	(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define RW	(KVMI_ACCESS_R | KVMI_ACCESS_W)

static __guest uint64_t write_n(uint64_t addr, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		GUEST_WRITE(uint64_t, addr + 8 * i, 100 + i);
	return GUEST_READ(uint64_t, addr);
}

static __guest uint64_t read_it(uint64_t addr)
{
	return GUEST_READ(uint64_t, addr);
}

static uint32_t make_view(struct kvmi_vm *kv, uint32_t access)
{
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, access, &view));
	KTAP_NE(view, KVMI_VIEW_DEFAULT);
	return view;
}

/* A whole guest runs on the view and does not notice. */
KTAP_CASE_SMP(a_guest_runs_on_it, "V1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	struct kvmi_vcpu_info info;
	int i, n;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < 4; n++) {
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL,
					     n & 1 ? KVMI_VIEW_DEFAULT : view));
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
			KTAP_EQ(info.out_view, n & 1 ? 0 : view);
		}
		vmm_worker_check(vm, 20);
	}
	/* Destroyed under those that run on it. */
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	vmm_worker_check(vm, 20);
	KTAP_LIB_OK(kvmi_view_destroy(kv, view));
	vmm_worker_check(vm, 20);
	KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
	KTAP_EQ(info.out_view, KVMI_VIEW_DEFAULT);
	KTAP_LIB_ERR(kvmi_view_switch(kv, 0, view), ENOENT);
	KTAP_LIB_ERR(kvmi_view_destroy(kv, view), ENOENT);
	KTAP_LIB_ERR(kvmi_view_destroy(kv, 0), EOPNOTSUPP);
	vmm_worker_stop(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(rights_are_kept, "V2")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_access_range ranges[3];
	uint32_t view = make_view(kv, RWX);
	struct kvmi_caps caps;
	uint32_t access, bad;
	int i;

	KTAP_LIB_OK(kvmi_vm_get_caps(kv, &caps));
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, 5, &access));
	KTAP_EQ(access, RWX);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, 510, 4, RX));
	for (i = 508; i < 516; i++) {
		KTAP_LIB_OK(kvmi_view_get_access(kv, view, i, &access));
		KTAP_EQ(access, i >= 510 && i < 514 ? RX : RWX);
	}
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, 511, 1,
					 KVMI_ACCESS_DEFAULT));
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, 511, &access));
	KTAP_EQ(access, RWX);

	/* All or nothing. */
	ranges[0] = (struct kvmi_access_range){ 100, 10, RX };
	ranges[1] = (struct kvmi_access_range){ 200, 10, RW };
	ranges[2] = (struct kvmi_access_range){ GUEST_RAM / PAGE - 1, 2, RX };
	KTAP_LIB_ERR(kvmi_view_set_ranges(kv, view, ranges, 3, &bad), ENXIO);
	KTAP_EQ(bad, 2);
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, 100, &access));
	KTAP_EQ(access, RWX);
	ranges[2].nr_pages = 1;
	KTAP_LIB_OK(kvmi_view_set_ranges(kv, view, ranges, 3, &bad));
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, 209, &access));
	KTAP_EQ(access, RW);

	/* What the CPU cannot express is refused, and said beforehand. */
	for (i = 0; i <= RWX; i++) {
		if (caps.out_access & 1u << i)
			KTAP_LIB_OK(kvmi_view_set_access(kv, view, 50, 1, i));
		else
			KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 50, 1, i),
				     EOPNOTSUPP);
	}
	KTAP_EQ(caps.out_access & 1u << KVMI_ACCESS_W, 0);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 50, 1, 8), EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 50, 0, RX), EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, 0, 50, 1, RX), EOPNOTSUPP);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view + 1, 50, 1, RX), ENOENT);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Each write is an event, and switching the view lets it happen. */
KTAP_CASE_SMP(write_then_switch, "E17 V1 V2 A5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, nr_vcpus);
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int i;

	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, nr_vcpus, RX));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, 3, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		KTAP_EQ(ev->view, view);
		KTAP_EQ(acc->gpa, gpa + ev->vcpu * PAGE);
		KTAP_ASSERT(acc->access & KVMI_ACCESS_W);
		KTAP_EQ(acc->allowed, RX);
		KTAP_EQ(acc->flags & KVMI_ACCESS_F_WALK, 0);
		if (acc->flags & KVMI_ACCESS_F_GVA)
			KTAP_EQ(acc->gva, acc->gpa);
		/* It has not happened yet. */
		KTAP_EQ(*(uint64_t *)vmm_gpa(vm, acc->gpa), 0);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		kvmi_reply_set_view(&reply, KVMI_VIEW_DEFAULT);
		tool_answer(kv, ev, &reply);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 100);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* One write in the default view, and back: every write is seen. */
static void stepped(int nr_vcpus, bool fast)
{
	enum { N = 5 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, nr_vcpus);
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int nr[8] = {};
	int i;

	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, nr_vcpus, RX));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, N, 0);
	vmm_start_all(vm);
	for (i = 0; i < N * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		KTAP_EQ(ev->view, view);
		KTAP_EQ(acc->gpa, gpa + ev->vcpu * PAGE + 8 * nr[ev->vcpu]);
		KTAP_EQ(*(uint64_t *)vmm_gpa(vm, acc->gpa), 0);
		if (nr[ev->vcpu])
			KTAP_EQ(*(uint64_t *)vmm_gpa(vm, acc->gpa - 8),
				100 + nr[ev->vcpu] - 1);
		nr[ev->vcpu]++;
		if (fast) {
			kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
			kvmi_reply_fast_step(&reply, KVMI_VIEW_DEFAULT);
		} else {
			/* Which is what "continue" is defined to be. */
			kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
		}
		tool_answer(kv, ev, &reply);
	}
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 100);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(write_then_fast_step, "E17 A5")
{
	stepped(nr_vcpus, true);
}

KTAP_CASE_SMP(write_then_continue, "E17 A1")
{
	stepped(nr_vcpus, false);
}

/* Asynchronous: the guest does not wait, and its writes are all there. */
KTAP_CASE_SMP(write_async, "E17 D4")
{
	enum { N = 20 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, nr_vcpus);
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_event *ev;
	int i, n = 0;

	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, nr_vcpus, RX));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, N, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 100);
	while (kvmi_event_wait(kv, &ev, 0) > 0) {
		KTAP_EQ(ev->kind, KVMI_EVENT_ACCESS);
		n++;
	}
	/* An interrupt between fault and step makes the write fault again. */
	KTAP_GE(n, N * nr_vcpus);
	for (i = 0; i < N * nr_vcpus; i++)
		KTAP_EQ(((uint64_t *)vmm_gpa(vm, gpa + i / N * PAGE))[i % N],
			100 + i % N);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Reads and fetches, as far as the CPU can forbid them. */
static __guest uint64_t fetched(void)
{
	return 77;
}

static __guest uint64_t call_it(uint64_t addr)
{
	return ((uint64_t (*)(void))addr)();
}

KTAP_CASE(read_and_fetch, "E17 V2")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 2);
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_event *ev;

	memcpy(vmm_gpa(vm, gpa), (void *)fetched, 64);
	*(uint64_t *)vmm_gpa(vm, gpa + PAGE) = 88;
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, 1, RW));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE + 1, 1, 0));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);

	vmm_vcpu_set_entry(vm, 0, read_it, gpa + PAGE, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->access, KVMI_ACCESS_R);
	KTAP_EQ(kvmi_event_access(ev)->gpa, gpa + PAGE);
	KTAP_EQ(kvmi_event_access(ev)->allowed, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 88);

	vmm_vcpu_set_entry(vm, 0, call_it, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->access, KVMI_ACCESS_X);
	KTAP_EQ(kvmi_event_access(ev)->gpa, gpa);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, 1, RWX));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 77);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Rights given and taken while a guest works on the page. */
KTAP_CASE_SMP(rights_change_under_a_running_guest, "V2")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	int n;

	/* Nobody wants the events: forbidden accesses are stepped over. */
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < 20; n++) {
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, GUEST_HEAP / PAGE,
						 64, n & 1 ? RWX : RX));
		tool_msleep(5);
	}
	vmm_worker_check(vm, 20);
	vmm_worker_stop(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The host takes pages away: the view must not keep them. */
KTAP_CASE_SMP(pages_the_host_takes, "V1 V2")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	uint64_t *mem;
	int i, n;

	mem = vmm_slot_add(vm, 1, 0x10000000, 16 * PAGE, 0);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, GUEST_HEAP / PAGE, 1, RX));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (n = 0; n < 10; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			mem[i * 512] = 1000 + n;
			vmm_vcpu_set_entry(vm, i, read_it,
					   0x10000000 + i * PAGE, 0, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i), 1000 + n);
		}
		/* Other pages come in their place. */
		KTAP_OK(madvise(mem, 16 * PAGE, MADV_DONTNEED));
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, read_it,
					   0x10000000 + i * PAGE, 0, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i), 0);
		}
	}
	vmm_slot_delete(vm, 1);
	mem = vmm_slot_add(vm, 2, 0x10000000, 16 * PAGE, 0);
	mem[0] = 4711;
	vmm_vcpu_set_entry(vm, 0, read_it, 0x10000000, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 4711);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Dirty logging goes on and off, and misses nothing that is written. */
KTAP_CASE_SMP(dirty_logging_stays_exact, "V1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8);
	uint32_t view = make_view(kv, RWX);
	uint64_t *log;
	uint64_t gfn;
	int i, n;

	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	/* Mapped writable in the view before the log begins. */
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, 1, 0);
		vmm_vcpu_run_done(vm, i);
	}
	vmm_slot_set_flags(vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	for (n = 0; n < 3; n++) {
		free(vmm_slot_dirty_log(vm, 0));
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, 1,
					   0);
			vmm_vcpu_run_done(vm, i);
		}
		log = vmm_slot_dirty_log(vm, 0);
		for (i = 0; i < 8; i++) {
			gfn = gpa / PAGE + i;
			KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, i < nr_vcpus);
		}
		free(log);
	}
	vmm_slot_set_flags(vm, 0, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
