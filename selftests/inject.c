// SPDX-License-Identifier: GPL-2.0-only
/*
 * Injection: what the guest gets of what the tool has it take, and that it loses
 * nothing of its own.
 */
#include <stdlib.h>
#include <unistd.h>

#include <string.h>

#include "lib/tool.h"

#define UD_VECTOR		6
#define GP_VECTOR		13
#define PF_VECTOR		14
#define NMI_VECTOR		2
#define IPI_VECTOR		0x40
#define TIMER_VECTOR		0x51
#define IRQ_VECTOR		0x61

#define LAPIC			0xfee00000UL
#define LAPIC_EOI		(LAPIC + 0xb0)
#define LAPIC_SVR		(LAPIC + 0xf0)
#define LAPIC_ICR		(LAPIC + 0x300)
#define LAPIC_LVTT		(LAPIC + 0x320)
#define LAPIC_TMICT		(LAPIC + 0x380)
#define LAPIC_TDCR		(LAPIC + 0x3e0)

/* What the handlers have seen; the guest has a copy of its own. */
static volatile uint64_t seen_error[GUEST_MAX_VCPUS][32];
static volatile uint64_t seen_cr2[GUEST_MAX_VCPUS];
static volatile uint64_t seen_rip[GUEST_MAX_VCPUS];
static volatile uint64_t seen[GUEST_MAX_VCPUS];

static __guest void note(struct guest_regs *regs)
{
	uint64_t id = guest_cpu()->id;

	seen_error[id][regs->vector] += regs->error;
	seen_rip[id] = regs->rip;
	if (regs->vector == PF_VECTOR)
		seen_cr2[id] = guest_read_cr2();
	/* All of it is there. */
	seen[id]++;
}

static void handle_all(struct vmm *vm)
{
	int i, v;

	for (i = 0; i < vm->nr_vcpus; i++)
		for (v = 0; v < 32; v++)
			vm->vcpu[i].cpu->handler[v] = note;
}

static volatile uint64_t *count(struct vmm *vm, int vcpu, int vector)
{
	return &vm->vcpu[vcpu].cpu->count[vector];
}

static void wait_count(struct vmm *vm, int vcpu, int vector, uint64_t n)
{
	int ms;

	for (ms = 0; *count(vm, vcpu, vector) < n; ms++) {
		if (!vmm_vcpu_running(vm, vcpu))
			KTAP_FAIL("%s", vmm_vcpu_why(vm, vcpu));
		if (ms > TOOL_PATIENCE)
			KTAP_FAIL("vector %d: %lu of %lu", vector,
				  (unsigned long)*count(vm, vcpu, vector),
				  (unsigned long)n);
		usleep(1000);
	}
	KTAP_EQ(*count(vm, vcpu, vector), n);
}

/* A handler counts first, and may be stopped before it has noted the rest. */
static void wait_seen(struct vmm *vm, int vcpu, uint64_t n)
{
	int ms;

	for (ms = 0; (*vmm_guest_ptr(vm, seen))[vcpu] < n; ms++) {
		KTAP_ASSERT(ms < TOOL_PATIENCE);
		usleep(1000);
	}
}

static struct kvmi_x86_injection exception(uint32_t vector, uint32_t error,
					   uint64_t payload)
{
	return (struct kvmi_x86_injection){
		.type = KVMI_X86_INJECT_EXCEPTION,
		.vector = vector,
		.error = error,
		.payload = payload,
	};
}

static struct kvmi_x86_injection interrupt(uint32_t vector)
{
	return (struct kvmi_x86_injection){
		.type = KVMI_X86_INJECT_INTERRUPT,
		.vector = vector,
	};
}

static struct kvmi_x86_injection nmi(void)
{
	return (struct kvmi_x86_injection){ .type = KVMI_X86_INJECT_NMI };
}

static const struct kvmi_x86_ev_injected *
wait_injected(struct kvmi_vm *kv, uint64_t id, uint32_t status)
{
	const struct kvmi_x86_ev_injected *inj;
	const struct kvmi_event *ev;

	ev = tool_wait(kv, KVMI_EVENT_INJECTED);
	inj = kvmi_event_injected(ev);
	KTAP_EQ(ev->id, 0);
	KTAP_EQ(inj->injection, id);
	KTAP_EQ(inj->status, status);
	return inj;
}

static __guest uint64_t spin_until(uint64_t *flag)
{
	while (!GUEST_READ(uint64_t, flag))
		;
	return 1;
}

static bool has_error(uint32_t vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* Each exception, with its error code, CR2 and DR6, and the record of it. */
KTAP_CASE_SMP(each_exception, "A4")
{
	static const uint32_t vectors[] = {
		0, 1, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19
	};
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_x86_ev_injected *inj;
	struct kvmi_x86_injection what;
	unsigned int i, v, last = nr_vcpus - 1;
	uint64_t id;

	handle_all(vm);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, spin_until, gpa, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		v = vectors[i];
		what = exception(v, has_error(v) ? 0x1230 + v : 0,
				 v == 14 ? 0x123456789abc : v == 1 ? 0x4000 : 0);
		KTAP_LIB_OK(kvmi_vcpu_inject(kv, last, &what, &id));
		inj = wait_injected(kv, id, KVMI_X86_INJECTED_DELIVERED);
		KTAP_EQ(inj->type, KVMI_X86_INJECT_EXCEPTION);
		KTAP_EQ(inj->vector, v);
		KTAP_EQ(inj->error, what.error);
		wait_count(vm, last, v, 1);
		wait_seen(vm, last, i + 1);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_rip))[last], inj->pc);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_error))[last][v], what.error);
		if (v == 14)
			KTAP_EQ((*vmm_guest_ptr(vm, seen_cr2))[last],
				what.payload);
		if (v == 1)
			KTAP_EQ(vm->vcpu[last].cpu->last.dr6 & 0x4000, 0x4000);
	}
	*(volatile uint64_t *)vmm_gpa(vm, gpa) = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	for (i = 0; i < last; i++)
		for (v = 0; v < 32; v++)
			KTAP_EQ(*count(vm, i, v), 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t cpuid_here(void)
{
	guest_cpuid(0, 0);
	return guest_cpu()->count[UD_VECTOR] + guest_cpu()->count[NMI_VECTOR];
}

/* What no CPU delivers, and fields that mean nothing, are refused. */
__asm__(".text\n"
	".globl int3_here, int3_at\n"
	"int3_here:\n"
	"	mov $1, %eax\n"
	"int3_at:\n"
	"	int3\n"
	"	inc %eax\n"
	"	ret\n");
uint64_t int3_here(void);
extern const char int3_at[];

/* #BP: at the INT3 that has raised it, and nowhere else. */
KTAP_CASE_SMP(breakpoint_at_an_int3, "A4 E8")
{
	struct kvmi_x86_injection bp = { .type = 1, .vector = 3 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_ev_injected *in;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, int3_here, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		kvmi_reply_inject(&reply, &bp);
		tool_answer(kv, ev, &reply);
		in = kvmi_event_injected(tool_wait(kv, KVMI_EVENT_INJECTED));
		KTAP_EQ(in->vector, 3);
		KTAP_EQ(in->status, KVMI_X86_INJECTED_DELIVERED);
		KTAP_EQ(in->pc, int3_at);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 2);
		KTAP_EQ(*count(vm, i, 3), 1);
		KTAP_EQ(vm->vcpu[i].cpu->last.rip, int3_at + 1);

		/* Behind it there is none; and it is not made up. */
		vmm_vcpu_set_entry(vm, i, int3_here, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);
		kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
		kvmi_reply_inject(&reply, &bp);
		tool_answer(kv, ev, &reply);
		in = kvmi_event_injected(tool_wait(kv, KVMI_EVENT_INJECTED));
		KTAP_EQ(in->vector, 3);
		KTAP_EQ(in->status, KVMI_X86_INJECTED_LOST);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 2);
		KTAP_EQ(*count(vm, i, 3), 1);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The same for a vCPU in the VMM: at its turn it is at an INT3, or it is not. */
KTAP_CASE(breakpoint_from_outside, "A4")
{
	struct kvmi_x86_injection bp = { .type = 1, .vector = 3 };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_ev_injected *in;
	int n;

	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	for (n = 0; n < 2; n++) {
		vmm_vcpu_set_entry(vm, 0, n ? (void *)int3_here :
					      (void *)int3_at, 0, 0, 0);
		KTAP_LIB_OK(kvmi_vcpu_inject(kv, 0, &bp, NULL));
		vmm_vcpu_start(vm, 0);
		in = kvmi_event_injected(tool_wait(kv, KVMI_EVENT_INJECTED));
		KTAP_EQ(in->status, n ? KVMI_X86_INJECTED_LOST :
					KVMI_X86_INJECTED_DELIVERED);
		vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
		/* What the guest executes is its own affair. */
		KTAP_EQ(*count(vm, 0, 3), 1 + n);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(impossible_ones, "A4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	static const struct {
		struct kvmi_x86_injection what;
		int err;
	} bad[] = {
		{ { .type = 0 }, EINVAL },
		{ { .type = 4 }, EINVAL },
		{ { .type = 1, .vector = 2 }, EINVAL },
		{ { .type = 1, .vector = 3, .error = 1 }, EINVAL },
		{ { .type = 1, .vector = 3, .payload = 1 }, EINVAL },
		{ { .type = 1, .vector = 4 }, EOPNOTSUPP },
		{ { .type = 1, .vector = 9 }, EINVAL },
		{ { .type = 1, .vector = 15 }, EINVAL },
		{ { .type = 1, .vector = 22 }, EINVAL },
		{ { .type = 1, .vector = 31 }, EINVAL },
		{ { .type = 1, .vector = 32 }, EINVAL },
		{ { .type = 1, .vector = 0xffffffff }, EINVAL },
		{ { .type = 1, .vector = 6, .error = 1 }, EINVAL },
		{ { .type = 1, .vector = 6, .payload = 1 }, EINVAL },
		{ { .type = 1, .vector = 13, .payload = 1 }, EINVAL },
		{ { .type = 1, .vector = 13, .error = 0x8000 }, EINVAL },
		{ { .type = 1, .vector = 1, .payload = 0x10 }, EINVAL },
		{ { .type = 1, .vector = 6, .flags = 2 }, EINVAL },
		{ { .type = 2, .vector = 15 }, EINVAL },
		{ { .type = 2, .vector = 256 }, EINVAL },
		{ { .type = 2, .vector = 64, .error = 1 }, EINVAL },
		{ { .type = 2, .vector = 64, .payload = 1 }, EINVAL },
		{ { .type = 3, .vector = 2 }, EINVAL },
		{ { .type = 3, .error = 1 }, EINVAL },
		{ { .type = 3, .payload = 1 }, EINVAL },
	};
	struct kvmi_x86_injection good = nmi();
	const struct kvmi_event *ev;
	struct kvmi_vcpu_info info;
	struct kvmi_reply reply;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ktap_diag("%u", i);
		KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 0, &bad[i].what, NULL),
			     bad[i].err);
	}
	KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 1, &good, NULL), ENOENT);
	KTAP_LIB_ERR(kvmi_event_watch(kv, 0, KVMI_EVENT_INJECTED,
				      KVMI_MODE_SYNC, 0), EINVAL);

	/* The same of an answer: bad, and the default action is taken. */
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < 2; i++) {
		vmm_vcpu_set_entry(vm, 0, cpuid_here, 0, 0, 0);
		vmm_vcpu_start(vm, 0);
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		kvmi_reply_init(&reply, i ? KVMI_ACTION_CRASH :
					    KVMI_ACTION_CONTINUE);
		kvmi_reply_inject(&reply, i ? &good : &bad[2].what);
		tool_answer(kv, ev, &reply);
		vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
		KTAP_EQ(info.out_bad_replies, i + 1);
	}
	KTAP_EQ(*count(vm, 0, NMI_VECTOR), 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The LAPIC's timer runs, and each self-IPI must come before the next is sent. */
static __guest uint64_t busy_guest(uint64_t *stop)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t sent = 0;

	cpu->eoi = LAPIC_EOI;
	GUEST_WRITE(uint32_t, LAPIC_SVR, 0x1ff);
	GUEST_WRITE(uint32_t, LAPIC_TDCR, 0xb);
	GUEST_WRITE(uint32_t, LAPIC_LVTT, 0x20000 | TIMER_VECTOR);
	GUEST_WRITE(uint32_t, LAPIC_TMICT, 5000000);
	while (!GUEST_READ(uint64_t, stop)) {
		sent++;
		GUEST_WRITE(uint32_t, LAPIC_ICR, 0x40000 | IPI_VECTOR);
		while (GUEST_READ(uint64_t, &cpu->count[IPI_VECTOR]) != sent)
			;
	}
	GUEST_WRITE(uint32_t, LAPIC_LVTT, 0x10000);
	return sent;
}

static void inject_one(struct kvmi_vm *kv, int vcpu,
		       const struct kvmi_x86_injection *what, uint64_t *told)
{
	const struct kvmi_event *ev;
	int tries, ret;

	for (tries = 0; tries < TOOL_PATIENCE; tries++) {
		ret = kvmi_vcpu_inject(kv, vcpu, what, NULL);
		while (kvmi_event_wait(kv, &ev, 0) > 0) {
			KTAP_EQ(ev->kind, KVMI_EVENT_INJECTED);
			KTAP_EQ(kvmi_event_injected(ev)->status,
				KVMI_X86_INJECTED_DELIVERED);
			(*told)++;
		}
		if (ret != -EAGAIN)
			break;
		usleep(1000);
	}
	KTAP_LIB_OK(ret);
}

/* All at once, and each exactly once; the guest's own are not lost. */
KTAP_CASE_SMP(nothing_is_lost, "A4")
{
	const int rounds = ktap_times(100, 10);
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_x86_injection all[] = {
		exception(UD_VECTOR, 0, 0), interrupt(IRQ_VECTOR), nmi(),
		exception(GP_VECTOR, 8, 0), exception(PF_VECTOR, 2, 0x5000),
	};
	const int kinds = sizeof(all) / sizeof(all[0]);
	const struct kvmi_event *ev;
	uint64_t told = 0, ipis;
	int i, k, n;

	handle_all(vm);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, busy_guest, gpa, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		while (!*count(vm, i, IPI_VECTOR))
			usleep(1000);
	for (n = 0; n < rounds; n++)
		for (k = 0; k < kinds; k++)
			for (i = 0; i < nr_vcpus; i++)
				inject_one(kv, i, &all[k], &told);
	while (told < (uint64_t)kinds * rounds * nr_vcpus) {
		ev = tool_wait(kv, KVMI_EVENT_INJECTED);
		KTAP_EQ(kvmi_event_injected(ev)->status,
			KVMI_X86_INJECTED_DELIVERED);
		told++;
	}
	for (i = 0; i < nr_vcpus; i++) {
		wait_count(vm, i, UD_VECTOR, rounds);
		wait_count(vm, i, GP_VECTOR, rounds);
		wait_count(vm, i, PF_VECTOR, rounds);
		wait_count(vm, i, NMI_VECTOR, rounds);
		wait_count(vm, i, IRQ_VECTOR, rounds);
		/* They go on: none of them is stuck in the LAPIC. */
		n = *count(vm, i, TIMER_VECTOR);
		ipis = *count(vm, i, IPI_VECTOR);
		k = 0;
		while (*count(vm, i, TIMER_VECTOR) < n + 2 ||
		       *count(vm, i, IPI_VECTOR) < ipis + 2) {
			KTAP_ASSERT(k++ < TOOL_PATIENCE);
			usleep(1000);
		}
	}
	*(volatile uint64_t *)vmm_gpa(vm, gpa) = 1;
	for (i = 0; i < nr_vcpus; i++) {
		ipis = vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
		KTAP_EQ(*count(vm, i, IPI_VECTOR), ipis);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_error))[i][GP_VECTOR],
			8 * rounds);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_error))[i][PF_VECTOR],
			2 * rounds);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_cr2))[i], 0x5000);
	}
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t with_interrupts_off(uint64_t *flags)
{
	asm volatile("cli" : : : "memory");
	GUEST_WRITE(uint64_t, flags + 1, 1);
	while (!GUEST_READ(uint64_t, flags))
		;
	GUEST_EQ(guest_cpu()->count[IRQ_VECTOR], 0);
	asm volatile("sti\n\tnop" : : : "memory");
	return guest_cpu()->count[IRQ_VECTOR];
}

static void masked_case(unsigned int vmm_flags)
{
	struct vmm *vm = vmm_create(1, vmm_flags);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *flags = vmm_gpa(vm, gpa);
	struct kvmi_x86_injection what = interrupt(IRQ_VECTOR);
	const struct kvmi_x86_ev_injected *inj;
	uint64_t id;

	if (vmm_flags & VMM_F_IRQCHIP) {
		struct kvm_lapic_state *lapic = malloc(sizeof(*lapic));

		KTAP_ASSERT(lapic);
		KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_LAPIC, lapic,
						sizeof(*lapic), NULL));
		lapic->regs[0xf1] |= 1;
		KTAP_LIB_OK(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_LAPIC, lapic,
						sizeof(*lapic)));
		free(lapic);
	}
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	vmm_vcpu_set_entry(vm, 0, with_interrupts_off, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	while (!flags[1])
		usleep(1000);
	what.flags = KVMI_X86_INJECT_NOW;
	KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 0, &what, NULL), EAGAIN);
	what.flags = 0;
	KTAP_LIB_OK(kvmi_vcpu_inject(kv, 0, &what, &id));
	/* One of a type at a time. */
	KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 0, &what, NULL), EAGAIN);
	tool_wait_none(kv, 50);
	flags[0] = 1;
	inj = wait_injected(kv, id, KVMI_X86_INJECTED_DELIVERED);
	if (!(vmm_flags & VMM_F_IRQCHIP))
		KTAP_ASSERT(inj->before & KVMI_X86_BEFORE_MASKED);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Interrupts are off: it waits, whoever has the LAPIC. */
KTAP_CASE(interrupts_off, "A4")
{
	masked_case(0);
	masked_case(VMM_F_IRQCHIP);
}

/* With an answer: before the instruction, or behind it. */
KTAP_CASE_SMP(with_an_answer, "A4 A1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_injection what = exception(UD_VECTOR, 0, 0);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t rip, id;
	int i;

	handle_all(vm);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, cpuid_here, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		rip = kvmi_event_gprs(ev)->r[KVMI_X86_RIP];
		id = ev->id;
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		kvmi_reply_inject(&reply, &what);
		tool_answer(kv, ev, &reply);
		KTAP_EQ(wait_injected(kv, id, 0)->pc, rip);
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ((*vmm_guest_ptr(vm, seen_rip))[i], rip);
		KTAP_EQ(*count(vm, i, UD_VECTOR), 1);
		/* By the call while it is open, and another with the answer. */
		id = ev->id;
		KTAP_LIB_OK(kvmi_vcpu_inject_exception(kv, i, UD_VECTOR, 0, 0));
		tool_wait_none(kv, 10);
		kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
		what = nmi();
		kvmi_reply_inject(&reply, &what);
		tool_answer(kv, ev, &reply);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3);
		KTAP_EQ(kvmi_event_injected(tool_wait(kv, KVMI_EVENT_INJECTED))->pc,
			rip + 2);
		wait_injected(kv, id, 0);
		what = exception(UD_VECTOR, 0, 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t ipi_once(void)
{
	struct guest_cpu *cpu = guest_cpu();

	cpu->eoi = LAPIC_EOI;
	GUEST_WRITE(uint32_t, LAPIC_SVR, 0x1ff);
	GUEST_WRITE(uint32_t, LAPIC_ICR, 0x40000 | IPI_VECTOR);
	while (!GUEST_READ(uint64_t, &cpu->count[IPI_VECTOR]) ||
	       !GUEST_READ(uint64_t, &cpu->count[UD_VECTOR]))
		;
	return cpu->count[IPI_VECTOR] << 8 | cpu->count[UD_VECTOR];
}

/*
 * The CPU is delivering an interrupt and cannot read the IDT, as the view forbids
 * it; the answer has an exception in it. The interrupt comes first, and comes.
 */
KTAP_CASE(while_an_interrupt_is_delivered, "A4")
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_injection what = exception(UD_VECTOR, 0, 0);
	const struct kvmi_x86_ev_injected *inj;
	const struct kvmi_event *ev;
	struct kvmi_x86_events events;
	struct kvmi_reply reply;
	uint32_t view;

	handle_all(vm);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, GUEST_IDT >> 12, 1, 0));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	vmm_vcpu_set_entry(vm, 0, ipi_once, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->gpa >> 12, GUEST_IDT >> 12);
	KTAP_LIB_OK(kvmi_vcpu_get_events(kv, 0, &events));
	KTAP_EQ(events.interrupt_flags, KVMI_X86_EVENT_INJECTED);
	KTAP_EQ(events.interrupt, IPI_VECTOR);
	what.flags = KVMI_X86_INJECT_NOW;
	KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 0, &what, NULL), EAGAIN);
	what.flags = 0;
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	kvmi_reply_set_view(&reply, KVMI_VIEW_DEFAULT);
	kvmi_reply_inject(&reply, &what);
	tool_answer(kv, ev, &reply);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0x101);
	inj = kvmi_event_injected(tool_wait(kv, KVMI_EVENT_INJECTED));
	KTAP_EQ(inj->before, KVMI_X86_BEFORE_INTERRUPT);
	/* In the handler of the interrupt, at its first instruction. */
	KTAP_EQ(inj->pc, (uint64_t)guest_vectors + IPI_VECTOR * 16);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t halt_thrice(void)
{
	struct guest_cpu *cpu = guest_cpu();

	cpu->eoi = LAPIC_EOI;
	GUEST_WRITE(uint32_t, LAPIC_SVR, 0x1ff);
	guest_hlt();
	GUEST_EQ(cpu->count[IRQ_VECTOR], 1);
	guest_hlt();
	GUEST_EQ(cpu->count[NMI_VECTOR], 1);
	guest_hlt();
	return cpu->count[UD_VECTOR];
}

/* A halted vCPU wakes up. */
KTAP_CASE_SMP(halted, "A4")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_injection all[] = {
		interrupt(IRQ_VECTOR), nmi(), exception(UD_VECTOR, 0, 0)
	};
	static const int vectors[] = { IRQ_VECTOR, NMI_VECTOR };
	struct kvmi_vcpu_info info;
	int i, k, ms;

	handle_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, halt_thrice, 0, 0, 0);
	vmm_start_all(vm);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < nr_vcpus; i++) {
			/* Woken from the last one, or this finds it still halted there. */
			if (k)
				wait_count(vm, i, vectors[k - 1], 1);
			for (ms = 0; ms < TOOL_PATIENCE; ms++) {
				KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
				if (info.out_state == KVMI_VCPU_HALTED)
					break;
				usleep(1000);
			}
			KTAP_EQ(info.out_state, KVMI_VCPU_HALTED);
			KTAP_LIB_OK(kvmi_vcpu_inject(kv, i, &all[k], NULL));
		}
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t count_ud(void)
{
	return guest_cpu()->count[UD_VECTOR];
}

/* Asked for while the vCPU is in the VMM; and dropped with the session. */
KTAP_CASE(outside_of_kvm_run, "A4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);

	handle_all(vm);
	vmm_vcpu_set_entry(vm, 0, count_ud, 0, 0, 0);
	KTAP_LIB_OK(kvmi_vcpu_inject_exception(kv, 0, UD_VECTOR, 0, 0));
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	vmm_vcpu_set_entry(vm, 0, count_ud, 0, 0, 0);
	KTAP_LIB_OK(kvmi_vcpu_inject_exception(kv, 0, UD_VECTOR, 0, 0));
	kvmi_vm_close(kv);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	vmm_destroy(vm);
}

/* A paused one gets it after the resume. */
KTAP_CASE(paused, "A4 S2")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);

	handle_all(vm);
	vmm_vcpu_set_entry(vm, 0, spin_until, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	KTAP_LIB_OK(kvmi_vcpu_inject_exception(kv, 0, GP_VECTOR, 16, 0));
	tool_msleep(20);
	KTAP_EQ(*count(vm, 0, GP_VECTOR), 0);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	wait_count(vm, 0, GP_VECTOR, 1);
	*(volatile uint64_t *)vmm_gpa(vm, gpa) = 1;
	vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
