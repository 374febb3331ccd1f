// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events that an instruction of the guest raises, and what can be answered: the
 * guest tells what it saw of each.
 */
#include <pthread.h>
#include <unistd.h>

#include "lib/tool.h"

#define MSR_SYSENTER_CS		0x174
#define MSR_STAR		0xc0000081
#define MSR_LSTAR		0xc0000082
#define CR4_DE			0x8
#define CR4_TSD			0x4
#define LEAF			0x40000123

static __guest uint64_t cpuid_loop(uint64_t n)
{
	uint64_t sum = 0;
	uint64_t i;

	for (i = 0; i < n; i++) {
		struct guest_cpuid r = guest_cpuid(0, i);

		sum += r.ebx;
	}
	return sum;
}

KTAP_CASE_SMP(cpuid_sync, "E13 A1 D3 D4 D11")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_ev_cpuid *cpuid;
	uint64_t seq[8] = {}, time[8] = {}, tsc[8] = {}, want;
	const struct kvmi_event *ev;
	int nr[8] = {};
	int i;

	vmm_vcpu_set_entry(vm, 0, cpuid_loop, 5, 0, 0);
	want = vmm_vcpu_run_done(vm, 0);

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC,
		   KVMI_REGS_GENERAL | KVMI_REGS_CONTROL | KVMI_REGS_SEGMENT);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_loop, 5, 0, 0);
	vmm_start_all(vm);

	for (i = 0; i < 5 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_ASSERT(ev->vcpu < nr_vcpus);
		KTAP_ASSERT(ev->flags & KVMI_EVENT_F_SYNC);
		KTAP_ASSERT(ev->id);
		KTAP_EQ(ev->view, KVMI_VIEW_DEFAULT);
		cpuid = kvmi_event_cpuid(ev);
		KTAP_EQ(cpuid->function, 0);
		KTAP_EQ(cpuid->index, nr[ev->vcpu]);
		KTAP_EQ(kvmi_event_gprs(ev)->r[KVMI_X86_RCX], nr[ev->vcpu]);
		KTAP_EQ(kvmi_event_control_regs(ev)->cr3, GUEST_PML4);
		KTAP_EQ(kvmi_event_segments(ev)->cs.selector, GUEST_KERNEL_CS);
		/* Sequence numbers without a gap; time does not go back. */
		KTAP_EQ(ev->seq, seq[ev->vcpu] + 1);
		KTAP_ASSERT(ev->time_ns > time[ev->vcpu]);
		KTAP_ASSERT(ev->guest_tsc > tsc[ev->vcpu]);
		seq[ev->vcpu] = ev->seq;
		time[ev->vcpu] = ev->time_ns;
		tsc[ev->vcpu] = ev->guest_tsc;
		nr[ev->vcpu]++;
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), want);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t cpuid_one(void)
{
	struct guest_cpuid r = guest_cpuid(LEAF, 7);

	return (uint64_t)r.eax << 32 | r.ecx;
}

/* The tool replaces the result: skip, with registers. */
KTAP_CASE_SMP(cpuid_skip_with_registers, "A1 A3 E13")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_one, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(kvmi_event_cpuid(ev)->function, LEAF);
		kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RAX, 0x1234));
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RCX,
					       0x5678 + ev->vcpu));
		tool_answer(kv, ev, &reply);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE),
			0x1234ULL << 32 | (0x5678 + i));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Retry: the instruction is executed again, and raises the event again. */
KTAP_CASE(cpuid_retry, "A1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t rip = 0;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	vmm_vcpu_set_entry(vm, 0, cpuid_one, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < 3; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		if (i)
			KTAP_EQ(kvmi_event_gprs(ev)->r[KVMI_X86_RIP], rip);
		rip = kvmi_event_gprs(ev)->r[KVMI_X86_RIP];
		if (i < 2)
			tool_reply(kv, ev, KVMI_ACTION_RETRY);
	}
	/* Retry somewhere else: behind the instruction. */
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, rip + 2));
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RAX, 1));
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RCX, 2));
	tool_answer(kv, ev, &reply);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1ULL << 32 | 2);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(crash, "A1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	vmm_vcpu_set_entry(vm, 0, cpuid_one, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, tool_wait(kv, KVMI_EVENT_X86_CPUID), KVMI_ACTION_CRASH);
	KTAP_EQ(vmm_vcpu_wait(vm, 0, TOOL_PATIENCE), KVM_EXIT_SHUTDOWN);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Asynchronous: the guest does not wait; a full ring drops, and counts. */
KTAP_CASE_SMP(cpuid_async, "E13 D3 D4")
{
	enum { N = 400 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach_ring(vm, 16384);
	const struct kvmi_event *ev;
	uint64_t got[8] = {}, last[8] = {}, dropped = 0, total = 0;
	struct kvmi_vcpu_info info;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC,
		   KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_loop, N, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);

	while (kvmi_event_wait(kv, &ev, 0) > 0) {
		KTAP_EQ(ev->kind, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(ev->id, 0);
		KTAP_EQ(ev->flags & KVMI_EVENT_F_SYNC, 0);
		KTAP_ASSERT(ev->seq > last[ev->vcpu]);
		KTAP_EQ(kvmi_event_gprs(ev)->r[KVMI_X86_RCX], ev->seq - 1);
		last[ev->vcpu] = ev->seq;
		got[ev->vcpu]++;
		total++;
	}
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
		KTAP_ASSERT(got[i] > 0 && got[i] < N);
		KTAP_EQ(info.out_events, got[i]);
		KTAP_EQ(got[i] + info.out_dropped, N);
		dropped += info.out_dropped;
	}
	KTAP_EQ(kvmi_event_dropped(kv), dropped);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t write_crs(void)
{
	uint64_t cr3 = guest_read_cr3();
	uint64_t cr4 = guest_read_cr4();

	guest_write_cr3(cr3 | 8);
	GUEST_EQ(guest_read_cr3(), cr3 | 8);
	guest_write_cr3(cr3);
	guest_write_cr4(cr4 | CR4_TSD);
	GUEST_EQ(guest_read_cr4(), cr4 | CR4_TSD);
	guest_write_cr4(cr4);
	GUEST_EQ(guest_read_cr4(), cr4);
	return cr3;
}

static __guest uint64_t write_twice(void)
{
	uint64_t cr3 = guest_read_cr3();
	uint64_t cr4 = guest_read_cr4();

	guest_write_cr3(cr3 | 8);
	guest_write_cr3(cr3 | 8);
	guest_write_cr3(cr3);
	guest_write_cr4(cr4 | CR4_TSD);
	guest_write_cr4(cr4 | CR4_TSD);
	guest_write_cr4(cr4);
	guest_wrmsr(MSR_STAR, 0);
	guest_wrmsr(MSR_STAR, 1ULL << 40);
	guest_wrmsr(MSR_STAR, 1ULL << 40 | 1);
	guest_wrmsr(MSR_STAR, 1);
	guest_wrmsr(MSR_STAR, 0);
	return 1;
}

static __guest uint64_t wrmsr_until(uint64_t *flag)
{
	while (!*(volatile uint64_t *)flag)
		guest_wrmsr(MSR_STAR, 0);
	return 1;
}

KTAP_CASE_SMP(cr_writes, "E1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_ev_cr *cr;
	const struct kvmi_event *ev;
	uint64_t cr4[8];
	int nr[8] = {};
	int i;

	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 3, KVMI_MODE_SYNC,
					KVMI_REGS_CONTROL));
	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 4, KVMI_MODE_SYNC,
					KVMI_REGS_CONTROL));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, write_crs, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 4 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CR);
		cr = kvmi_event_cr(ev);
		KTAP_EQ(kvmi_event_control_regs(ev)->cr3,
			GUEST_PML4 | (nr[ev->vcpu] == 1 ? 8 : 0));
		switch (nr[ev->vcpu]++) {
		case 0:
			KTAP_EQ(cr->cr, 3);
			KTAP_EQ(cr->old, GUEST_PML4);
			KTAP_EQ(cr->new_value, GUEST_PML4 | 8);
			break;
		case 1:
			KTAP_EQ(cr->cr, 3);
			KTAP_EQ(cr->old, GUEST_PML4 | 8);
			KTAP_EQ(cr->new_value, GUEST_PML4);
			break;
		case 2:
			KTAP_EQ(cr->cr, 4);
			cr4[ev->vcpu] = cr->old;
			KTAP_EQ(cr->new_value, cr->old | CR4_TSD);
			KTAP_EQ(kvmi_event_control_regs(ev)->cr4, cr->old);
			break;
		default:
			KTAP_EQ(cr->cr, 4);
			KTAP_EQ(cr->old, cr4[ev->vcpu] | CR4_TSD);
			KTAP_EQ(cr->new_value, cr4[ev->vcpu]);
		}
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), GUEST_PML4);

	/* Off again: nothing exits. */
	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 3, KVMI_MODE_OFF, 0));
	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 4, KVMI_MODE_OFF, 0));
	vmm_vcpu_set_entry(vm, 0, write_crs, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), GUEST_PML4);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A denied write: skipped, and the guest finds the old value. */
static __guest uint64_t write_cr3_denied(void)
{
	guest_write_cr3(guest_read_cr3() | 8);
	return guest_read_cr3();
}

/* Of all writes those are told that change a bit of the mask. */
KTAP_CASE(only_on_change, "E1 E5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_control_event ctl = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_CR,
		.mode = KVMI_MODE_ASYNC,
		.index = 3,
		.index_last = 4,
		.mask = CR4_TSD | 8,
	};
	const struct kvmi_event *event;
	uint64_t cr3[2];
	int i;

	/* CR3 | 8, the same, CR3; then CR4 with TSD, the same, and without. */
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	ctl.kind = KVMI_EVENT_X86_MSR;
	ctl.index = MSR_STAR;
	ctl.index_last = 0;
	ctl.access = KVMI_ACCESS_W;
	ctl.mask = 1ULL << 40;
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	vmm_vcpu_set_entry(vm, 0, write_twice, 0, 0, 0);
	vmm_start_all(vm);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	for (i = 0; i < 2; i++) {
		event = tool_wait(kv, KVMI_EVENT_X86_CR);
		KTAP_EQ(kvmi_event_cr(event)->cr, 3);
		cr3[i] = kvmi_event_cr(event)->new_value;
	}
	KTAP_EQ(cr3[0] ^ cr3[1], 8);
	for (i = 0; i < 2; i++) {
		event = tool_wait(kv, KVMI_EVENT_X86_CR);
		KTAP_EQ(kvmi_event_cr(event)->cr, 4);
	}
	event = tool_wait(kv, KVMI_EVENT_X86_MSR);
	KTAP_EQ(kvmi_event_msr(event)->new_value, 1ULL << 40);
	event = tool_wait(kv, KVMI_EVENT_X86_MSR);
	KTAP_EQ(kvmi_event_msr(event)->new_value, 1);
	tool_wait_none(kv, 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* One MSR after the other, more of them than there is room for at a time. */
KTAP_CASE(msrs_one_after_the_other, "E5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	int i;

	vmm_vcpu_set_entry(vm, 0, wrmsr_until, vmm_alloc_pages(vm, 1), 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 700; i++) {
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, 0, 0x200 + i,
						 KVMI_ACCESS_W | KVMI_ACCESS_R,
						 KVMI_MODE_ASYNC, 0));
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, 0, 0x200 + i,
						 KVMI_ACCESS_W | KVMI_ACCESS_R,
						 KVMI_MODE_OFF, 0));
	}
	KTAP_LIB_OK(kvmi_event_watch_msr(kv, 0, MSR_STAR, KVMI_ACCESS_W,
					 KVMI_MODE_ASYNC, 0));
	tool_wait(kv, KVMI_EVENT_X86_MSR);
	kvmi_vm_close(kv);
	vmm_stop_all(vm);
	vmm_destroy(vm);
}

KTAP_CASE(cr_write_skipped, "E1 A1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);

	KTAP_LIB_OK(kvmi_event_watch_cr(kv, 0, 3, KVMI_MODE_SYNC, 0));
	vmm_vcpu_set_entry(vm, 0, write_cr3_denied, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, tool_wait(kv, KVMI_EVENT_X86_CR), KVMI_ACTION_SKIP);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), GUEST_PML4);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Another value is written: that of the source register after the answer. */
static __guest uint64_t write_cr3_from_rax(void)
{
	asm volatile("mov %%cr3, %%rax\n\t"
		     "mov %%rax, %%cr3" : : : "rax", "memory");
	return guest_read_cr3();
}

static __guest uint64_t write_cr4_from_rax(void)
{
	uint64_t cr4 = guest_read_cr4();

	asm volatile("mov %0, %%rax\n\t"
		     "mov %%rax, %%cr4" : : "r" (cr4 | CR4_TSD) : "rax", "memory");
	return guest_read_cr4() ^ cr4;
}

KTAP_CASE(cr_write_replaced, "E1 A2 A3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;

	KTAP_LIB_OK(kvmi_event_watch_cr(kv, 0, 3, KVMI_MODE_SYNC, 0));
	KTAP_LIB_OK(kvmi_event_watch_cr(kv, 0, 4, KVMI_MODE_SYNC, 0));

	vmm_vcpu_set_entry(vm, 0, write_cr3_from_rax, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_CR);
	KTAP_EQ(kvmi_event_cr(ev)->new_value, GUEST_PML4);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RAX, GUEST_PML4 | 8));
	tool_answer(kv, ev, &reply);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), GUEST_PML4 | 8);

	vmm_vcpu_set_entry(vm, 0, write_cr4_from_rax, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_CR);
	KTAP_EQ(kvmi_event_cr(ev)->new_value,
		kvmi_event_cr(ev)->old | CR4_TSD);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RAX,
				       kvmi_event_cr(ev)->old | CR4_DE));
	tool_answer(kv, ev, &reply);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), CR4_DE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Another value is written, or read, and the guest's registers are what they were. */
static __guest uint64_t write_and_compare(uint64_t cr4)
{
	uint64_t reg = guest_read_cr3(), lo = 0x11, hi = 0x22, old;

	asm volatile("mov %0, %%cr3" : "+r" (reg) : : "memory");
	GUEST_EQ(reg, GUEST_PML4);
	GUEST_EQ(guest_read_cr3(), GUEST_PML4 | 8);
	/* VMX knows of no write that changes nothing. */
	cr4 = guest_read_cr4();
	reg = cr4 | CR4_DE;
	asm volatile("mov %0, %%cr4" : "+r" (reg) : : "memory");
	GUEST_EQ(reg, cr4 | CR4_DE);
	GUEST_EQ(guest_read_cr4(), cr4 | CR4_TSD);
	old = guest_rdmsr(MSR_LSTAR);
	asm volatile("wrmsr" : "+a" (lo), "+d" (hi) : "c" (MSR_LSTAR) : "memory");
	GUEST_EQ(lo, 0x11);
	GUEST_EQ(hi, 0x22);
	/* The tool has this read answered, too. */
	GUEST_EQ(guest_rdmsr(MSR_LSTAR), 0x123456789);
	return old;
}

KTAP_CASE_SMP(value_replaced, "A2 E1 E5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int i, n;

	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 3, KVMI_MODE_SYNC, 0));
	KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 4, KVMI_MODE_SYNC, 0));
	KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, MSR_LSTAR,
					 KVMI_ACCESS_R | KVMI_ACCESS_W,
					 KVMI_MODE_SYNC, 0));
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, write_and_compare, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		for (n = 0; n < 5; n++) {
			ev = tool_wait(kv, n < 2 ? KVMI_EVENT_X86_CR :
						   KVMI_EVENT_X86_MSR);
			kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
			if (n == 0)
				kvmi_reply_set_value(&reply, GUEST_PML4 | 8);
			if (n == 1)
				kvmi_reply_set_value(&reply, CR4_TSD |
						     kvmi_event_cr(ev)->old);
			if (n == 3)
				kvmi_reply_set_value(&reply, 0xffffffff81000000);
			if (n == 4)
				kvmi_reply_set_value(&reply, 0x123456789);
			tool_answer(kv, ev, &reply);
		}
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
		KTAP_EQ(vmm_vcpu_get_msr(vm, i, MSR_LSTAR), 0xffffffff81000000);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t cpuid_then_tsd(void)
{
	guest_cpuid(LEAF, 0);
	return guest_read_cr4() & CR4_TSD;
}

/* Register sets with an answer: all that was asked for, or a bad answer. */
KTAP_CASE_SMP(register_sets_set, "A3 D6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct {
		struct kvmi_x86_control control;
		struct kvmi_x86_debug debug;
	} regs;
	struct kvmi_x86_debug debug;
	struct kvmi_vcpu_info info;
	struct kvmi_reply reply;
	uint32_t sets;
	int i, n;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		for (n = 0; n < 3; n++) {
			vmm_vcpu_set_entry(vm, i, cpuid_then_tsd, 0, 0, 0);
			vmm_vcpu_start(vm, i);
			ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
			KTAP_LIB_OK(kvmi_vcpu_get_regs(kv, i, KVMI_REGS_CONTROL |
						       KVMI_REGS_DEBUG, &regs,
						       sizeof(regs)));
			regs.control.cr4 |= CR4_TSD;
			regs.debug.dr[1] = 0x1000 + n;
			/* A reserved bit; or a set that is not for this. */
			if (n == 0)
				regs.control.cr4 |= 1ULL << 40;
			kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
			sets = KVMI_REGS_CONTROL | KVMI_REGS_DEBUG |
			       (n == 1 ? KVMI_REGS_GENERAL : 0);
			KTAP_LIB_OK(kvmi_reply_set_regs(&reply, sets, &regs,
							sizeof(regs)));
			tool_answer(kv, ev, &reply);
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE),
				n == 2 ? CR4_TSD : 0);
			KTAP_LIB_OK(kvmi_vcpu_get_debug(kv, i, &debug));
			KTAP_EQ(debug.dr[1], n == 2 ? 0x1002 : 0);
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
			KTAP_EQ(info.out_bad_replies, n == 2 ? 2 : n + 1);
		}
	}
	/* A value where there is none to replace. */
	vmm_vcpu_set_entry(vm, 0, cpuid_then_tsd, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	kvmi_reply_set_value(&reply, 1);
	tool_answer(kv, ev, &reply);
	vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
	KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
	KTAP_EQ(info.out_bad_replies, 3);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Answers from a thread of their own, the last vCPU's first. */
struct late_answer {
	struct kvmi_vm *kv;
	uint32_t vcpu;
	uint64_t id;
};

static void *answer_late(void *arg)
{
	const struct late_answer *late = arg;
	struct kvmi_reply reply;

	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RAX, late->vcpu));
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RCX, 0));
	KTAP_LIB_OK(kvmi_event_answer_id(late->kv, late->vcpu, late->id, &reply));
	return NULL;
}

KTAP_CASE_SMP(any_order_any_thread, "A7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct late_answer late[8] = {};
	const struct kvmi_event *ev;
	pthread_t thread;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_one, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		late[ev->vcpu] = (struct late_answer){ kv, ev->vcpu, ev->id };
	}
	for (i = nr_vcpus - 1; i >= 0; i--) {
		KTAP_ASSERT(vmm_vcpu_running(vm, i));
		pthread_create(&thread, NULL, answer_late, &late[i]);
		pthread_join(thread, NULL);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE),
			(uint64_t)i << 32);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* From each of the registers that can be a source. */
static __guest uint64_t cr3_from_registers(void)
{
	uint64_t cr3 = guest_read_cr3();

#define FROM(reg) asm volatile("mov %0, %%" reg "\n\tmov %%" reg ", %%cr3"	\
			       : : "r" (cr3) : reg, "memory")
	FROM("rax"); FROM("rcx"); FROM("rdx"); FROM("rbx"); FROM("rsi");
	FROM("rdi"); FROM("r8"); FROM("r9"); FROM("r10"); FROM("r11");
	FROM("r12"); FROM("r13"); FROM("r14"); FROM("r15");
#undef FROM
	return cr3;
}

KTAP_CASE(cr3_from_every_register, "E1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i;

	KTAP_LIB_OK(kvmi_event_watch_cr(kv, 0, 3, KVMI_MODE_SYNC, 0));
	vmm_vcpu_set_entry(vm, 0, cr3_from_registers, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < 14; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CR);
		KTAP_EQ(kvmi_event_cr(ev)->new_value, GUEST_PML4);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), GUEST_PML4);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* LSTAR is passed through by KVM, SYSENTER_CS as well on VMX; 0x277 is not. */
static __guest uint64_t msrs(uint64_t msr, uint64_t value)
{
	uint64_t old = guest_rdmsr(msr);

	guest_wrmsr(msr, value);
	GUEST_EQ(guest_rdmsr(msr), value);
	guest_wrmsr(msr, old);
	return old;
}

static void msr_case(int nr_vcpus, uint32_t index, uint64_t value)
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_ev_msr *msr;
	const struct kvmi_event *ev;
	uint64_t old[8] = {};
	int nr[8] = {};
	int i;

	KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, index,
					 KVMI_ACCESS_R | KVMI_ACCESS_W,
					 KVMI_MODE_SYNC, 0));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, msrs, index, value, 0);
	vmm_start_all(vm);
	for (i = 0; i < 4 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_MSR);
		msr = kvmi_event_msr(ev);
		KTAP_EQ(msr->index, index);
		KTAP_ASSERT(msr->flags & KVMI_X86_MSR_OLD);
		if (!nr[ev->vcpu])
			old[ev->vcpu] = msr->old;
		KTAP_EQ(msr->old, nr[ev->vcpu] >= 2 ? value : old[ev->vcpu]);
		KTAP_EQ(!!(msr->flags & KVMI_X86_MSR_WRITE), nr[ev->vcpu] & 1);
		if (nr[ev->vcpu] & 1)
			KTAP_EQ(msr->new_value,
				nr[ev->vcpu] == 1 ? value : old[ev->vcpu]);
		nr[ev->vcpu]++;
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), old[i]);

	/* Writes only. */
	KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, index,
					 KVMI_ACCESS_R, KVMI_MODE_OFF, 0));
	vmm_vcpu_set_entry(vm, 0, msrs, index, value, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < 2; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_MSR);
		KTAP_ASSERT(kvmi_event_msr(ev)->flags & KVMI_X86_MSR_WRITE);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), old[0]);

	/* Nothing. */
	KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, index,
					 KVMI_ACCESS_W, KVMI_MODE_OFF, 0));
	vmm_vcpu_set_entry(vm, 0, msrs, index, value, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), old[0]);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(msr_passed_through, "E5")
{
	msr_case(nr_vcpus, MSR_LSTAR, 0xffffffff81234560);
}

KTAP_CASE_SMP(msr_low_range, "E5")
{
	msr_case(nr_vcpus, MSR_SYSENTER_CS, 0x10);
}

static __guest uint64_t breakpoints(void)
{
	guest_int3();
	guest_int3();
	return guest_cpu()->count[3];
}

/* Continue gives the guest its #BP; skip hides it. */
KTAP_CASE_SMP(breakpoint, "E8 A1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int nr[8] = {};
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC,
		   KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, breakpoints, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 2 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);
		KTAP_EQ(kvmi_event_breakpoint(ev)->insn_len, 1);
		KTAP_EQ(kvmi_event_breakpoint(ev)->pc,
			kvmi_event_gprs(ev)->r[KVMI_X86_RIP]);
		tool_reply(kv, ev, nr[ev->vcpu]++ ? KVMI_ACTION_SKIP :
			   KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_OFF, 0);
	vmm_vcpu_set_entry(vm, 0, breakpoints, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 3);
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The tool polls the ring, and the vCPU the reply. */
KTAP_CASE_SMP(polling, "D3 E13")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	KTAP_LIB_OK(kvmi_event_set_polling(kv, true));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_loop, 50, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 50 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
