// SPDX-License-Identifier: GPL-2.0-only
/* One view beside the default: rights, events, switching, stepping over. */
#include <stdlib.h>
#include <sys/ioctl.h>
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

static void done(struct vmm *vm, struct kvmi_vm *kv)
{
	tool_check_views(kv);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static struct kvmi_view_info view_info(struct kvmi_vm *kv, uint32_t view)
{
	struct kvmi_view_info infos[16];
	int i, n;

	n = KTAP_LIB_OK(kvmi_view_list(kv, infos, 16));
	for (i = 0; i < n && i < 16; i++)
		if (infos[i].view == view)
			return infos[i];
	KTAP_FAIL("view %u is not in the list", view);
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
		KTAP_GE(tool_check_views(kv), 1);
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
	done(vm, kv);
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
	done(vm, kv);
}

static __guest uint64_t software_interrupts(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		asm volatile("int $0x90" : : : "memory");
	return guest_cpu()->count[0x90];
}

/*
 * The view's first fill of stack and IDT is in the midst of its delivery; and it is
 * none of the breakpoints that are watched.
 */
KTAP_CASE_SMP(a_software_interrupt_fills_it, "V1 V7 E8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view;
	int i, n;

	for (n = 1; n <= 4; n++) {
		tool_watch(kv, KVMI_EVENT_BREAKPOINT,
			   n & 1 ? KVMI_MODE_OFF : KVMI_MODE_SYNC, 0);
		view = make_view(kv, RWX);
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, software_interrupts, 3, 0, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i), 3 * n);
		}
		KTAP_LIB_OK(kvmi_view_destroy(kv, view));
	}
	tool_wait_none(kv, 0);
	done(vm, kv);
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
	done(vm, kv);
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
	done(vm, kv);
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
	done(vm, kv);
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
	done(vm, kv);
}

/* Rights given and taken while a guest works on the pages; with a look each time. */
static void change_rights(int nr_vcpus, int rounds, uint32_t pages, bool look,
			  uint64_t least)
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	int n;

	/* Nobody wants the events: forbidden accesses are stepped over. */
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < rounds; n++) {
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, GUEST_HEAP / PAGE,
						 pages, n & 1 ? RWX : RX));
		if (look) {
			tool_check_views(kv);
			tool_msleep(5);
		}
	}
	tool_check_views(kv);
	vmm_worker_check(vm, least);
	vmm_worker_stop(vm);
	done(vm, kv);
}

KTAP_CASE_SMP(rights_change_under_a_running_guest, "V2")
{
	change_rights(nr_vcpus, 20, 64, true, 20);
}

/* A thousand at a time, without a pause, and all vCPUs at work. */
KTAP_CASE_SMP_TIME(a_million_changes, "V2", 180)
{
	change_rights(nr_vcpus, ktap_times(1000, 50), 1000, false, 5);
}

/* The host takes pages away: the view must not keep them. */
KTAP_CASE_SMP(pages_the_host_takes, "V1 V2")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	struct kvmi_view_check check;
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
		tool_check_views(kv);
		/* KVM has let go of them alone, and has nothing to compare with. */
		KTAP_LIB_OK(kvmi_view_check(kv, KVMI_VIEW_ALL, &check));
		KTAP_EQ(check.out_alone, 0);
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, read_it,
					   0x10000000 + i * PAGE, 0, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i), 0);
		}
	}
	vmm_slot_delete(vm, 1);
	tool_check_views(kv);
	mem = vmm_slot_add(vm, 2, 0x10000000, 16 * PAGE, 0);
	mem[0] = 4711;
	vmm_vcpu_set_entry(vm, 0, read_it, 0x10000000, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 4711);
	done(vm, kv);
}

/* As many as there may be, each with a page of its own that is not to be written to. */
KTAP_CASE_SMP(by_the_hundred, "V1 V2 E17")
{
	const uint64_t at = 0x10000000;
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_caps caps;
	uint32_t *view, other;
	int i, n, nr, vcpu;

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	nr = caps.out_max_views;
	KTAP_GE(nr, 256);
	view = calloc(nr, sizeof(*view));
	KTAP_ASSERT(view);
	vmm_slot_add(vm, 1, at, nr * PAGE, 0);
	for (i = 0; i < nr; i++) {
		view[i] = make_view(kv, RWX);
		KTAP_LIB_OK(kvmi_view_set_access(kv, view[i], at / PAGE + i, 1, RX));
	}
	KTAP_LIB_ERR(kvmi_view_create(kv, RWX, &other), ENOSPC);
	KTAP_EQ(kvmi_view_list(kv, NULL, 0), nr);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (n = 0; n < ktap_times(160, 48); n++) {
		vcpu = n % nr_vcpus;
		i = n * 5 % nr;
		KTAP_LIB_OK(kvmi_view_switch(kv, vcpu, view[i]));
		vmm_vcpu_set_entry(vm, vcpu, write_n, at + (i + 1) % nr * PAGE, 1, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, vcpu), 100);
		vmm_vcpu_set_entry(vm, vcpu, write_n, at + i * PAGE, 1, 0);
		vmm_vcpu_start(vm, vcpu);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		KTAP_EQ(ev->vcpu, vcpu);
		KTAP_EQ(ev->view, view[i]);
		KTAP_EQ(kvmi_event_access(ev)->gpa, at + i * PAGE);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, vcpu, TOOL_PATIENCE), 100);
	}
	tool_check_views(kv);
	/* In whatever order, some with vCPUs on them. */
	for (i = 0; i < nr; i++)
		KTAP_LIB_OK(kvmi_view_destroy(kv, view[i * 5 % nr]));
	KTAP_EQ(kvmi_view_list(kv, NULL, 0), 0);
	make_view(kv, RWX);
	free(view);
	done(vm, kv);
}

/* What KVM maps comes by sixteen pages, each with its own rights. */
KTAP_CASE_SMP(pages_come_together, "V1 V2 E17")
{
	const uint64_t at = 0x10000000;
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_event *ev;
	uint64_t *mem, before;
	int i, vcpu;

	mem = vmm_slot_add(vm, 1, at, 64 * PAGE, 0);
	KTAP_OK(madvise(mem, 64 * PAGE, MADV_NOHUGEPAGE));
	for (i = 0; i < 64; i++) {
		vmm_vcpu_set_entry(vm, 0, write_n, at + i * PAGE, 1, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, 0), 100);
	}
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, at / PAGE + 3, 1, RX));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, at / PAGE + 5, 1, 0));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (vcpu = 0; vcpu < nr_vcpus; vcpu++) {
		/* With its code and stack, and those of this one's window. */
		vmm_vcpu_set_entry(vm, vcpu, write_n, at + 63 * PAGE, 1, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, vcpu), 100);
	}
	before = view_info(kv, view).fills;
	vmm_vcpu_set_entry(vm, nr_vcpus - 1, write_n, at + 15 * PAGE, 1, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, nr_vcpus - 1), 100);
	KTAP_EQ(view_info(kv, view).fills - before, 15);
	tool_check_views(kv);
	for (vcpu = 0; vcpu < nr_vcpus; vcpu++) {
		for (i = 0; i < 16; i++) {
			if (i == 3 || i == 5)
				continue;
			mem[i * 512] = 7;
			vmm_vcpu_set_entry(vm, vcpu, write_n, at + i * PAGE, 1, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, vcpu), 100);
			KTAP_EQ(mem[i * 512], 100);
		}
		for (i = 3; i <= 5; i += 2) {
			vmm_vcpu_set_entry(vm, vcpu, write_n, at + i * PAGE, 1, 0);
			vmm_vcpu_start(vm, vcpu);
			ev = tool_wait(kv, KVMI_EVENT_ACCESS);
			KTAP_EQ(kvmi_event_access(ev)->gpa, at + i * PAGE);
			KTAP_EQ(kvmi_event_access(ev)->access, KVMI_ACCESS_W);
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
			/* To read there is another. */
			if (i == 5)
				tool_reply(kv, tool_wait(kv, KVMI_EVENT_ACCESS),
					   KVMI_ACTION_CONTINUE);
			KTAP_EQ(vmm_vcpu_wait_done(vm, vcpu, TOOL_PATIENCE), 100);
		}
	}
	KTAP_EQ(view_info(kv, view).fills - before, 15);
	done(vm, kv);
}

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/* Small pages become a large one, and small ones again. */
KTAP_CASE_SMP(pages_collapse, "V7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv, RWX);
	uint64_t at = 0x10000000;
	char *mem;
	int i, n;

	mem = vmm_slot_add(vm, 1, at, 2UL << 20, 0);
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (n = 0; n < 3; n++) {
		KTAP_OK(madvise(mem, 2UL << 20, MADV_NOHUGEPAGE));
		for (i = 0; i < 512; i++)
			mem[i * PAGE] = n + 1;
		for (i = 0; i < 8; i++) {
			vmm_vcpu_set_entry(vm, i % nr_vcpus, read_it,
					   at + i * PAGE, 0, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i % nr_vcpus), n + 1);
		}
		KTAP_OK(madvise(mem, 2UL << 20, MADV_HUGEPAGE));
		if (madvise(mem, 2UL << 20, MADV_COLLAPSE))
			ktap_skip("no collapse: %s", strerror(errno));
		tool_check_views(kv);
		for (i = 0; i < 8; i++) {
			vmm_vcpu_set_entry(vm, i % nr_vcpus, write_n,
					   at + i * PAGE, 1, 0);
			KTAP_EQ(vmm_vcpu_run_done(vm, i % nr_vcpus), 100);
		}
		tool_check_views(kv);
		KTAP_OK(madvise(mem, PAGE, MADV_DONTNEED));
		tool_check_views(kv);
		vmm_vcpu_set_entry(vm, 0, read_it, at, 0, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, 0), 0);
	}
	done(vm, kv);
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
	for (i = 0; i < 8; i++) {
		vmm_vcpu_set_entry(vm, 0, write_n, gpa + i * PAGE, 1, 0);
		vmm_vcpu_run_done(vm, 0);
	}
	vmm_slot_set_flags(vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	for (n = 0; n < 3; n++) {
		free(vmm_slot_dirty_log(vm, 0));
		tool_check_views(kv);
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, 1,
					   0);
			vmm_vcpu_run_done(vm, i);
			/* What is only read is not dirty. */
			vmm_vcpu_set_entry(vm, i, read_it,
					   gpa + (4 + i) * PAGE, 0, 0);
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
	done(vm, kv);
}

/* What a vCPU's ring has of the 8 pages from @gfn on, a bit each; it is told to KVM. */
static uint64_t harvest(struct vmm *vm, struct kvm_dirty_gfn *ring, uint32_t *at,
			uint64_t gfn)
{
	uint64_t found = 0;

	for (;; (*at)++) {
		struct kvm_dirty_gfn *entry =
			&ring[*at % (VMM_DIRTY_RING / sizeof(*entry))];

		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) &
		      KVM_DIRTY_GFN_F_DIRTY))
			break;
		if (!entry->slot && entry->offset - gfn < 8)
			found |= 1 << (entry->offset - gfn);
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET,
				 __ATOMIC_RELEASE);
	}
	KTAP_OK(ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0));
	return found;
}

/* The same by rings, with what the tool writes. */
KTAP_CASE_SMP(dirty_rings_stay_exact, "V1 S3")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_DIRTY_LOG | VMM_F_DIRTY_RING);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8), value = 1;
	struct kvm_dirty_gfn *ring[GUEST_MAX_VCPUS];
	uint32_t view = make_view(kv, RWX), at[GUEST_MAX_VCPUS] = { };
	int i, n;

	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (i = 0; i < nr_vcpus; i++) {
		ring[i] = mmap(NULL, VMM_DIRTY_RING, PROT_READ | PROT_WRITE,
			       MAP_SHARED, vm->vcpu[i].fd,
			       KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
		KTAP_ASSERT(ring[i] != MAP_FAILED);
		/* What is read for the first time, KVM maps writable: it is dirty. */
		vmm_vcpu_set_entry(vm, i, read_it, gpa + (4 + i) * PAGE, 0, 0);
		vmm_vcpu_run_done(vm, i);
		harvest(vm, ring[i], &at[i], gpa / PAGE);
	}
	for (n = 0; n < 4; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, write_n, gpa + i * PAGE, 1,
					   0);
			vmm_vcpu_run_done(vm, i);
			vmm_vcpu_set_entry(vm, i, read_it,
					   gpa + (4 + i) * PAGE, 0, 0);
			vmm_vcpu_run_done(vm, i);
			KTAP_EQ(harvest(vm, ring[i], &at[i], gpa / PAGE), 1 << i);
			tool_check_views(kv);
		}
		/* No vCPU runs: the first one's ring has it. */
		KTAP_EQ(kvmi_vm_write(kv, gpa + 7 * PAGE, &value, sizeof(value)),
			sizeof(value));
		KTAP_EQ(harvest(vm, ring[0], &at[0], gpa / PAGE), 1 << 7);
	}
	for (i = 0; i < nr_vcpus; i++)
		munmap(ring[i], VMM_DIRTY_RING);
	done(vm, kv);
}

/* What is told of views, to an observer as well. */
KTAP_CASE(what_is_told_of_views, "V1 V2 D7")
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.flags = KVMI_VM_OBSERVER,
	};
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_view_info infos[2], info;
	uint64_t gpa = vmm_alloc_pages(vm, 4);
	struct kvmi_view_check check;
	struct kvmi_vm *look;
	uint32_t a, b;
	int i;

	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &options, &look));
	KTAP_EQ(kvmi_view_list(look, infos, 2), 0);
	a = make_view(kv, RWX);
	b = make_view(kv, RX);
	KTAP_EQ(kvmi_view_list(look, infos, 1), 2);
	KTAP_EQ(infos[0].view, a);
	KTAP_EQ(kvmi_view_list(look, infos, 2), 2);
	KTAP_EQ(infos[1].view, b);
	KTAP_EQ(infos[1].default_access, RX);
	KTAP_EQ(infos[1].nr_vcpus, 0);
	KTAP_EQ(infos[1].table_bytes, PAGE);
	KTAP_EQ(infos[1].leaves, 0);

	/* A thousand pages side by side, and a thousand far apart. */
	vmm_slot_add(vm, 1, 0x10000000, 1000 * 0x200000UL,
		     KVM_MEM_READONLY);
	KTAP_LIB_OK(kvmi_view_set_access(kv, a, 0x10000, 1000, RX));
	info = view_info(look, a);
	KTAP_LE(info.table_bytes + info.other_bytes, 32 << 10);
	for (i = 0; i < 1000; i++)
		KTAP_LIB_OK(kvmi_view_set_access(kv, a, 0x10000 + i * 512, 1,
						 RX));
	info = view_info(look, a);
	KTAP_GE(info.other_bytes, 1000 * 512);
	KTAP_LE(info.table_bytes + info.other_bytes, 9 << 19);
	vmm_slot_delete(vm, 1);

	KTAP_LIB_OK(kvmi_view_switch(kv, 0, a));
	for (i = 0; i < 2; i++) {
		vmm_vcpu_set_entry(vm, i, write_n, gpa, 3, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), 100);
	}
	info = view_info(look, a);
	KTAP_EQ(info.nr_vcpus, 1);
	KTAP_GE(info.leaves, 3);
	KTAP_GE(info.fills, info.leaves);
	KTAP_EQ(info.fills - info.zaps, info.leaves);
	KTAP_LIB_OK(kvmi_view_check(kv, a, &check));
	KTAP_EQ(check.out_leaves, info.leaves);
	KTAP_EQ(check.out_alone, 0);
	KTAP_EQ(view_info(look, b).leaves, 0);

	KTAP_LIB_ERR(kvmi_view_check(look, a, &check), EPERM);
	KTAP_LIB_ERR(kvmi_view_check(kv, b + 1, &check), ENOENT);
	KTAP_LIB_ERR(kvmi_view_list(look, (void *)8, 2), EFAULT);
	kvmi_vm_close(look);
	done(vm, kv);
}

/* Rights that change by themselves, and are told once. */
KTAP_CASE_SMP(rights_that_relax, "V5 E17 D4")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 4);
	uint32_t view = make_view(kv, RWX), access;
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	int i, n, writes = 0;

	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 5, 1,
					  RWX | KVMI_ACCESS_TO_RWX), EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 5, 1,
					  RW | KVMI_ACCESS_TO_RW), EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 5, 1,
					  RX | KVMI_ACCESS_TO_RW |
					  KVMI_ACCESS_TO_RWX), EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 5, 1, RX | 1 << 10),
		     EINVAL);
	KTAP_LIB_ERR(kvmi_view_set_access(kv, view, 5, 1,
					  KVMI_ACCESS_DEFAULT |
					  KVMI_ACCESS_TO_RWX), EINVAL);

	memcpy(vmm_gpa(vm, gpa), (void *)fetched, 64);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, 1,
					 RX | KVMI_ACCESS_TO_RW));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE + 1, 1,
					 KVMI_ACCESS_TO_RWX));
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, gpa / PAGE, &access));
	KTAP_EQ(access, RX | KVMI_ACCESS_TO_RW);
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);

	/* What they allow changes nothing. */
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, call_it, gpa, 0, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), 77);
	}
	tool_wait_none(kv, 0);
	/* All at once: one of them is the first. */
	for (n = 0; n < 2; n++) {
		for (i = 0; i < nr_vcpus; i++)
			vmm_vcpu_set_entry(vm, i, write_n, gpa + n * PAGE + 64,
					   3, 0);
		vmm_start_all(vm);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 100);
	}
	for (n = 0; n < 2; n++) {
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		KTAP_EQ(ev->flags & KVMI_EVENT_F_SYNC, 0);
		KTAP_ASSERT(acc->flags & KVMI_ACCESS_F_RELAXED);
		KTAP_ASSERT(acc->access & KVMI_ACCESS_W);
		if (acc->gpa / PAGE == gpa / PAGE)
			KTAP_EQ(acc->allowed, RX);
		else
			KTAP_EQ(acc->allowed, 0);
		writes |= 1 << (acc->gpa / PAGE - gpa / PAGE);
	}
	KTAP_EQ(writes, 3);
	tool_wait_none(kv, 0);
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, gpa / PAGE, &access));
	KTAP_EQ(access, RW);
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, gpa / PAGE + 1, &access));
	KTAP_EQ(access, RWX);
	KTAP_EQ(view_info(kv, view).relaxed, 2);

	/* It cannot be executed any more, which is an event like any. */
	vmm_vcpu_set_entry(vm, 0, call_it, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	acc = kvmi_event_access(ev);
	KTAP_ASSERT(ev->flags & KVMI_EVENT_F_SYNC);
	KTAP_EQ(acc->access, KVMI_ACCESS_X);
	KTAP_EQ(acc->flags & KVMI_ACCESS_F_RELAXED, 0);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, 1, RX));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 77);
	done(vm, kv);
}

/* Walks past the TLB, then what is asked of it. */
static __guest uint64_t walk_it(uint64_t addr, uint64_t n, uint64_t to)
{
	uint64_t sum = 0;

	while (n--) {
		guest_invlpg(addr);
		sum += GUEST_READ(uint64_t, addr);
	}
	if (to) {
		guest_invlpg(addr);
		/* One instruction that reads by the walk and writes elsewhere. */
		asm volatile("movsq" : : "S" (addr), "D" (to) : "memory");
	}
	return sum;
}

KTAP_CASE_SMP(page_walks_are_ignored, "V6 E17")
{
	enum { N = 20 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 2), to = gpa + PAGE;
	uint64_t pt = guest_pte_addr(gpa) & -PAGE, walks;
	uint32_t view, plain = make_view(kv, RWX);
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	int i;

	KTAP_LIB_ERR(kvmi_view_create_flags(kv, RWX, 1U << 31, &view), EINVAL);
	KTAP_LIB_OK(kvmi_view_create_flags(kv, RWX, KVMI_VIEW_F_NO_WALKS,
					   &view));
	*(uint64_t *)vmm_gpa(vm, gpa) = 3;
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, pt / PAGE, 1, RX));
	KTAP_LIB_OK(kvmi_view_set_access(kv, plain, pt / PAGE, 1, RX));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, to / PAGE, 1, RX));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);

	/* Each is an event without the flag. */
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, plain));
	vmm_vcpu_set_entry(vm, 0, walk_it, gpa, 1, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; vmm_vcpu_wait(vm, 0, 0) < 0; ) {
		if (kvmi_event_wait(kv, &ev, 100) <= 0)
			continue;
		KTAP_ASSERT(kvmi_event_access(ev)->flags & KVMI_ACCESS_F_WALK);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		i++;
	}
	KTAP_GE(i, 1);

	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, walk_it, gpa, N, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3 * N);
	tool_wait_none(kv, 0);
	walks = view_info(kv, view).walks;
	KTAP_GE(walks, N * nr_vcpus);
	KTAP_EQ(view_info(kv, view).flags, KVMI_VIEW_F_NO_WALKS);
	KTAP_EQ(view_info(kv, view).nr_vcpus, nr_vcpus);
	tool_check_views(kv);

	/* What the same instruction does elsewhere is an event all the same. */
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, walk_it, gpa, 0, to + 8 * i);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		KTAP_EQ(acc->gpa, to + 8 * ev->vcpu);
		KTAP_EQ(ev->view, view);
		KTAP_EQ(acc->flags & KVMI_ACCESS_F_WALK, 0);
		KTAP_EQ(*(uint64_t *)vmm_gpa(vm, acc->gpa), 0);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
		KTAP_EQ(*(uint64_t *)vmm_gpa(vm, to + 8 * i), 3);
	}

	/* And so is a write to the page table, by its own address. */
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, write_n, pt + 8 * (500 + i), 1, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		KTAP_EQ(acc->gpa, pt + 8 * (500 + i));
		KTAP_EQ(acc->flags & KVMI_ACCESS_F_WALK, 0);
		/* Destroyed meanwhile, for the last one. */
		if (i == nr_vcpus - 1)
			KTAP_LIB_OK(kvmi_view_destroy(kv, view));
		tool_reply(kv, ev, KVMI_ACTION_RETRY);
		if (i < nr_vcpus - 1) {
			ev = tool_wait(kv, KVMI_EVENT_ACCESS);
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 100);
	}
	done(vm, kv);
}

/* A view is destroyed at any moment of all this. */
KTAP_CASE_SMP(destroyed_among_walks, "V1 V6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	uint64_t pt = guest_pte_addr(gpa) & -PAGE;
	uint32_t view;
	int i, n, ms;

	*(uint64_t *)vmm_gpa(vm, gpa) = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, walk_it, gpa, ~0ULL, 0);
	vmm_start_all(vm);
	for (n = 0; n < 10; n++) {
		KTAP_LIB_OK(kvmi_view_create_flags(kv, RWX,
						   KVMI_VIEW_F_NO_WALKS,
						   &view));
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, pt / PAGE, 1, RX));
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		tool_msleep(20);
		tool_check_views(kv);
		/* The vCPUs may not have come to it, but they will. */
		for (ms = 0; (n & 1) && !view_info(kv, view).walks; ms++) {
			KTAP_LE(ms, TOOL_PATIENCE);
			tool_msleep(1);
		}
		if (n % 3 == 2)
			KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, 0));
		if (n == 9)
			break;
		KTAP_LIB_OK(kvmi_view_destroy(kv, view));
	}
	/* Detached in the middle of it. */
	kvmi_vm_close(kv);
	tool_msleep(20);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
	vmm_destroy(vm);
}

/* A part of a page: what happens beside it is no event, whoever writes. */
static __guest uint64_t write_beside(uint64_t addr, uint64_t n, uint64_t value)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		GUEST_WRITE(uint64_t, addr - 16, i);
		GUEST_WRITE(uint64_t, addr + 8, i);
		GUEST_WRITE(uint32_t, addr + 8 + 4, i);
	}
	if (value)
		GUEST_WRITE(uint64_t, addr, value);
	/* Overlaps, from below: the address alone is that of another byte. */
	GUEST_WRITE(uint64_t, addr - 4, 0x1122334455667788);
	return GUEST_READ(uint64_t, addr);
}

KTAP_CASE_SMP(part_of_a_page, "V9 E17")
{
	enum { N = 10 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, nr_vcpus), at;
	uint32_t view = make_view(kv, RWX);
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	uint64_t *mem;
	int i, n;

	KTAP_LIB_ERR(kvmi_view_watch_bytes(kv, view, gpa + PAGE - 8, 9), EINVAL);
	KTAP_LIB_ERR(kvmi_view_watch_bytes(kv, view, GUEST_RAM, 8), ENXIO);
	KTAP_LIB_ERR(kvmi_view_watch_bytes(kv, 0, gpa, 8), EOPNOTSUPP);
	KTAP_LIB_ERR(kvmi_view_watch_bytes(kv, view + 1, gpa, 8), ENOENT);
	KTAP_LIB_OK(kvmi_view_watch_bytes(kv, view, gpa, 0));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, nr_vcpus, RX));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_view_watch_bytes(kv, view,
						  gpa + i * PAGE + 64, 8));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, write_beside, gpa + i * PAGE + 64, N,
				   42);
	vmm_start_all(vm);
	for (n = 0; n < 2 * nr_vcpus; n++) {
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		at = gpa + ev->vcpu * PAGE + 64;
		mem = vmm_gpa(vm, at);
		KTAP_EQ(acc->gpa, at);
		KTAP_EQ(ev->view, view);
		KTAP_EQ(acc->flags, KVMI_ACCESS_F_CHANGED);
		KTAP_EQ(acc->access, KVMI_ACCESS_W);
		KTAP_EQ(acc->allowed, RX);
		/* It has happened. */
		KTAP_EQ(*mem, acc->new_value);
		if (acc->new_value == 42)
			KTAP_EQ(acc->old_value, 0);
		else
			KTAP_EQ(acc->old_value, 42);
		KTAP_EQ(mem[-2], N - 1);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 0x11223344);
	tool_wait_none(kv, 0);

	/* What is written, but as it was, has not changed. */
	vmm_vcpu_set_entry(vm, 0, write_beside, gpa + 64, N, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 0x11223344);
	tool_wait_none(kv, 0);
	/* Not watched any more: the first write is an event as any. */
	KTAP_LIB_OK(kvmi_view_watch_bytes(kv, view, gpa + 64, 0));
	vmm_vcpu_set_entry(vm, 0, write_n, gpa + 128, 1, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->flags & KVMI_ACCESS_F_CHANGED, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 100);
	done(vm, kv);
}

KTAP_MAIN(ktap_need_kvmi)
