// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kvmi costs, in executed instructions: for a host with one CPU whose TSC
 * counts them (QEMU with -icount). The guest reads the TSC around one
 * instruction; so whatever host, VMM and tool execute meanwhile is in the figure.
 * Medians: a timer interrupt now and then is not in them.
 *
 * Begins without kvmi.ko, and loads it from $KVMI_KO (or /rig/kvmi.ko).
 */
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/tool.h"

#define PAGE		4096UL
#define SAMPLES		401
#define WARM_UP		32
#define ROUNDS		(SAMPLES + WARM_UP)
#define BULK		10000

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of the samples behind the warm-up. */
static uint64_t median(uint64_t *samples)
{
	qsort(samples + WARM_UP, SAMPLES, sizeof(*samples), compare);
	return samples[WARM_UP + SAMPLES / 2];
}

static void figure(const char *name, uint64_t value, const char *reference,
		   uint64_t ref)
{
	bench_figure(name, value, "instructions", reference, ref);
}

static void figure_of(const char *name, uint64_t value, const char *unit)
{
	bench_figure(name, value, unit, NULL, 0);
}

/* ---- the guest's side ---------------------------------------------------------- */

static __guest uint64_t time_cpuid(uint64_t *samples, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		guest_cpuid(0, 0);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

static __guest uint64_t time_cpuid_forever(void)
{
	for (;;)
		guest_cpuid(0, 0);
	return 0;
}

static __guest uint64_t time_sync(uint64_t *samples, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		guest_sync(0);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

static __guest uint64_t time_write(uint64_t *samples, uint64_t n,
				   uint64_t target)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		GUEST_WRITE(uint64_t, target, i);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

/* To two pages in turns. */
static __guest uint64_t time_write_turns(uint64_t *samples, uint64_t n,
					 uint64_t target)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		GUEST_WRITE(uint64_t, target + i % 2 * PAGE, i);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

/* Of a function in a page of its own. */
static __guest uint64_t time_call(uint64_t *samples, uint64_t n, uint64_t target)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		((void (*)(void))target)();
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

/* Of one statement, which may fault. */
#define TIME(name, statement)						\
	static __guest uint64_t time_##name(uint64_t *samples, uint64_t n) \
	{								\
		uint64_t i, t;						\
									\
		for (i = 0; i < n; i++) {				\
			samples[i] = 1;					\
			t = guest_rdtsc();				\
			statement;					\
			samples[i] = guest_rdtsc() - t;			\
		}							\
		return n;						\
	}

#define PIC_DATA		0xa1
#define MSR_STAR		0xc0000081
#define NOWHERE			(1UL << 40)
#define IOAPIC			0xfec00000UL
#define NO_OUTPUTS

TIME(cr0, guest_write_cr0(0x80010033))
TIME(cr3, guest_write_cr3(GUEST_PML4))
TIME(cr4, guest_write_cr4(0x620))
TIME(rdmsr, guest_rdmsr(MSR_STAR))
TIME(wrmsr, guest_wrmsr(MSR_STAR, i))
TIME(dr, asm volatile("mov %0, %%dr0" : : "r" (0UL)))
TIME(ud, GUEST_TRY("ud2", NO_OUTPUTS, : "memory"))
TIME(pf, GUEST_TRY("movb $1, (%0)", NO_OUTPUTS, "r" (NOWHERE) : "memory"))
TIME(int3, guest_int3())
TIME(in, guest_in8(PIC_DATA))
TIME(out, guest_out8(PIC_DATA, 0xff))
/* The answer skips it: nothing would wake it. */
TIME(hlt, guest_hlt())
TIME(invlpg, guest_invlpg(NOWHERE))
TIME(mmio, GUEST_WRITE(uint32_t, IOAPIC, 1))
/* KVM_HC_VAPIC_POLL_IRQ, which does nothing. */
TIME(vmmcall, asm volatile("vmmcall" : "+a" (samples[i]) : : "memory"))

static __guest uint64_t time_sgdt(uint64_t *samples, uint64_t n)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} dt;
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		asm volatile("sgdt %0" : "=m" (dt));
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

/* From one reading to the next; the first reading comes before them all. */
static __guest uint64_t time_rdtsc(uint64_t *samples, uint64_t n)
{
	uint64_t i, t = guest_rdtsc(), now;

	for (i = 1; i < n; i++) {
		now = guest_rdtsc();
		samples[i] = now - t;
		t = now;
	}
	samples[0] = samples[1];
	return n;
}

/* Sixteen steps end between the two readings. */
#define STEPS_PER_SAMPLE	16

static __guest uint64_t time_steps(uint64_t *samples, uint64_t n)
{
	uint32_t lo, hi, lo2, hi2;
	uint64_t i;

	for (i = 0; i < n; i++) {
		asm volatile("rdtsc\n\t"
			     "mov %%eax, %0\n\t"
			     "mov %%edx, %1\n\t"
			     ".rept 13\n\t"
			     "nop\n\t"
			     ".endr\n\t"
			     "rdtsc\n\t"
			     : "=&r" (lo), "=&r" (hi), "=a" (lo2), "=d" (hi2));
		samples[i] = ((uint64_t)hi2 << 32 | lo2) -
			     ((uint64_t)hi << 32 | lo);
	}
	return n;
}

static __guest uint64_t touch(uint64_t gpa, uint64_t pages)
{
	uint64_t i;

	for (i = 0; i < pages; i++)
		GUEST_WRITE(uint64_t, gpa + i * PAGE, i);
	return pages;
}

/* Pages that the vCPU has not had before. */
static __guest uint64_t time_touch(uint64_t *samples, uint64_t n,
				   uint64_t target)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		GUEST_WRITE(uint64_t, target + i * PAGE, i);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

/* Some of everything that exits, and much that does not. */
static __guest uint64_t work(uint64_t gpa, uint64_t pages)
{
	uint64_t i, sum = 0;

	for (i = 0; i < 20 * pages; i++) {
		GUEST_WRITE(uint64_t, gpa + i % pages * PAGE, i);
		sum += GUEST_READ(uint64_t, gpa + i * 7 % pages * PAGE);
		if (i % 20 == 0)
			guest_cpuid(0, 0);
	}
	return sum;
}

static __guest uint64_t spin(uint64_t *word)
{
	while (!GUEST_READ(uint64_t, word))
		;
	return 0;
}

/* ---- VMs -------------------------------------------------------------------------- */

struct bench_vm {
	struct vmm *vm;
	uint64_t samples;	/* gpa */
	uint64_t target;	/* gpa of two pages to write to */
};

static struct bench_vm make_vm(unsigned int flags)
{
	struct bench_vm b = { .vm = vmm_create(1, flags) };

	/* Where the CPU has no NRIPS, KVM walks them at every CPUID. */
	vmm_use_large_pages(b.vm);
	b.samples = vmm_alloc_pages(b.vm, (ROUNDS * 8 + PAGE - 1) / PAGE);
	b.target = vmm_alloc_pages(b.vm, 2);
	return b;
}

static void begin(struct bench_vm *b, const void *fn)
{
	vmm_vcpu_set_entry(b->vm, 0, fn, b->samples, ROUNDS, b->target);
	vmm_vcpu_start(b->vm, 0);
}

static uint64_t end(struct bench_vm *b)
{
	vmm_vcpu_wait_done(b->vm, 0, 60000);
	return median(vmm_gpa(b->vm, b->samples));
}

static uint64_t cpuid_cost(struct bench_vm *b)
{
	begin(b, time_cpuid);
	return end(b);
}

/* ---- floors: what Linux itself takes for two threads to take turns ---------------- */

enum floor { FUTEX, EVENTFD, YIELD };

struct pong {
	enum floor kind;
	uint32_t word[2];
	int fd[2];
	uint64_t samples[ROUNDS];
};

static void signal_side(struct pong *p, int side)
{
	uint64_t one = 1;

	if (p->kind == EVENTFD) {
		KTAP_EQ(write(p->fd[side], &one, 8), 8);
		return;
	}
	__atomic_store_n(&p->word[side], 1, __ATOMIC_SEQ_CST);
	if (p->kind == FUTEX)
		syscall(SYS_futex, &p->word[side], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_side(struct pong *p, int side)
{
	uint64_t count;

	if (p->kind == EVENTFD) {
		KTAP_EQ(read(p->fd[side], &count, 8), 8);
		return;
	}
	while (!__atomic_load_n(&p->word[side], __ATOMIC_SEQ_CST)) {
		if (p->kind == FUTEX)
			syscall(SYS_futex, &p->word[side], FUTEX_WAIT_PRIVATE, 0, NULL,
				NULL, 0);
		else
			sched_yield();
	}
	p->word[side] = 0;
}

static void *pong_thread(void *arg)
{
	struct pong *p = arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		await_side(p, 0);
		signal_side(p, 1);
	}
	return NULL;
}

static uint64_t floor_cost(enum floor kind)
{
	static struct pong p;
	pthread_t thread;
	uint64_t t;
	int i;

	memset(&p, 0, sizeof(p));
	p.kind = kind;
	for (i = 0; i < 2; i++)
		p.fd[i] = KTAP_OK(eventfd(0, 0));
	KTAP_EQ(pthread_create(&thread, NULL, pong_thread, &p), 0);
	for (i = 0; i < ROUNDS; i++) {
		t = rdtsc();
		signal_side(&p, 0);
		await_side(&p, 1);
		p.samples[i] = rdtsc() - t;
	}
	pthread_join(thread, NULL);
	close(p.fd[0]);
	close(p.fd[1]);
	return median(p.samples);
}

/* ---- synchronous events ------------------------------------------------------------- */

enum how { WAIT, POLL, YIELDS };

/* The tool, in the calling thread: give two answers in turns. */
static void answer_turns(struct kvmi_vm *kv, enum how how, int n,
			 const struct kvmi_reply *replies)
{
	const struct kvmi_reply *reply = &replies[0];
	struct pollfd pfd = { .fd = kvmi_vm_fd(kv), .events = POLLIN };
	const struct kvmi_event *ev;
	struct kvmi_ring *ring;
	uint64_t id;

	KTAP_LIB_OK(kvmi_ring_open(kv, 0, -1, &ring));
	kvmi_ring_set_polling(ring, how == YIELDS);
	KTAP_EQ(kvmi_ring_wait(ring, &ev, -1), 1);
	while (--n) {
		id = ev->id;
		if (how == WAIT) {
			KTAP_EQ(kvmi_ring_answer_wait(ring, id, reply, &ev, -1),
				1);
			reply = &replies[reply == replies];
			continue;
		}
		kvmi_ring_consume(ring);
		KTAP_LIB_OK(kvmi_ring_answer(ring, id, reply));
		reply = &replies[reply == replies];
		if (how == POLL)
			KTAP_EQ(poll(&pfd, 1, -1), 1);
		else
			sched_yield();
		while (kvmi_ring_next(ring, &ev) != 1)
			sched_yield();
	}
	id = ev->id;
	kvmi_ring_consume(ring);
	KTAP_LIB_OK(kvmi_ring_answer(ring, id, reply));
	kvmi_ring_close(ring);
}

static void answer_all(struct kvmi_vm *kv, enum how how, int n,
		       const struct kvmi_reply *reply)
{
	struct kvmi_reply replies[2] = { *reply, *reply };

	answer_turns(kv, how, n, replies);
}

static uint64_t sync_cost(struct bench_vm *b, enum how how)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_reply reply;
	uint64_t cost;

	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	begin(b, time_cpuid);
	answer_all(kv, how, ROUNDS, &reply);
	cost = end(b);
	kvmi_vm_close(kv);
	return cost;
}

/* Of one step: an exit by TF or MTF, and what the event adds. */
static uint64_t step_cost(struct bench_vm *b, bool sync)
{
	struct kvmi_vm *kv = tool_attach_ring(b->vm, 1 << 24);
	struct pollfd pfd = { .fd = kvmi_vm_fd(kv), .events = POLLIN };
	const struct kvmi_event *ev;
	struct kvmi_ring *ring;
	struct kvmi_reply reply;
	bool last = false;
	uint64_t id, cost;

	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	tool_watch(kv, KVMI_EVENT_STEP, sync ? KVMI_MODE_SYNC : KVMI_MODE_ASYNC,
		   KVMI_REGS_GENERAL);
	begin(b, time_steps);
	if (sync) {
		KTAP_LIB_OK(kvmi_ring_open(kv, 0, -1, &ring));
		kvmi_ring_set_polling(ring, false);
		KTAP_EQ(kvmi_ring_wait(ring, &ev, -1), 1);
		while (!last) {
			last = kvmi_event_step(ev)->pc ==
			       (uint64_t)guest_entry_return;
			if (last)
				tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
			id = ev->id;
			kvmi_ring_consume(ring);
			KTAP_LIB_OK(kvmi_ring_answer(ring, id, &reply));
			if (!last)
				KTAP_EQ(poll(&pfd, 1, -1), 1);
			while (!last && kvmi_ring_next(ring, &ev) != 1)
				sched_yield();
		}
		kvmi_ring_close(ring);
	}
	cost = end(b) / STEPS_PER_SAMPLE;
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	return cost;
}

/* CPUID while something is asked for. */
static uint64_t asked_cost(struct bench_vm *b, const struct kvmi_control_event *ctl,
			   int nr)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t cost;
	int i;

	for (i = 0; i < nr; i++)
		KTAP_LIB_OK(kvmi_event_control(kv, &ctl[i]));
	cost = cpuid_cost(b);
	kvmi_vm_close(kv);
	return cost;
}

static const struct kvmi_control_event count_cpuid = {
	.vcpu = KVMI_VCPU_ALL,
	.kind = KVMI_EVENT_X86_CPUID,
	.mode = KVMI_MODE_COUNT,
};

static const struct kvmi_control_event count_exits = {
	.vcpu = KVMI_VCPU_ALL,
	.kind = KVMI_EVENT_X86_EXIT,
	.mode = KVMI_MODE_COUNT,
	.index_last = 0xffffffff,
};

/* None of which CPUID is. */
static const struct kvmi_control_event other_kinds[] = {
#define ASYNC(k)	.vcpu = KVMI_VCPU_ALL, .kind = (k), .mode = KVMI_MODE_ASYNC
	{ ASYNC(KVMI_EVENT_BREAKPOINT) },
	{ ASYNC(KVMI_EVENT_HYPERCALL), .index_last = 0xffffffff },
	{ ASYNC(KVMI_EVENT_X86_CR), .index = 3 },
	{ ASYNC(KVMI_EVENT_X86_MSR), .index = 0xc0000082,
	  .access = KVMI_ACCESS_W },
	{ ASYNC(KVMI_EVENT_X86_XSETBV) },
	{ ASYNC(KVMI_EVENT_X86_DR), .index_last = 7, .access = KVMI_ACCESS_W },
	{ ASYNC(KVMI_EVENT_X86_EXCEPTION), .index_last = 31 },
	{ ASYNC(KVMI_EVENT_X86_DTABLE), .index_last = KVMI_X86_TABLE_TR,
	  .access = KVMI_ACCESS_W },
	{ ASYNC(KVMI_EVENT_X86_IO), .index = 0x3f8, .index_last = 0x3ff,
	  .access = KVMI_ACCESS_R | KVMI_ACCESS_W },
	{ ASYNC(KVMI_EVENT_X86_INSN), .index = KVMI_X86_INSN_WBINVD },
#undef ASYNC
};

/* A view, in which one of the two pages cannot be written to. */
static uint32_t protect(struct kvmi_vm *kv, struct bench_vm *b, int page)
{
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, b->target / PAGE + page, 1,
					 KVMI_ACCESS_R | KVMI_ACCESS_X));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	return view;
}

/* Each view forbids what the other allows, and each reply goes to the other. */
static uint64_t write_switch_cost(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint32_t view[2] = { protect(kv, b, 1), protect(kv, b, 0) };
	struct kvmi_reply replies[2];
	uint64_t cost;
	int i;

	for (i = 0; i < 2; i++) {
		kvmi_reply_init(&replies[i], KVMI_ACTION_RETRY);
		kvmi_reply_set_view(&replies[i], view[i]);
	}
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	begin(b, time_write_turns);
	answer_turns(kv, POLL, ROUNDS, replies);
	cost = end(b);
	kvmi_vm_close(kv);
	return cost;
}

static uint64_t write_faststep_cost(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_reply reply;
	uint64_t cost;

	protect(kv, b, 0);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	kvmi_reply_fast_step(&reply, KVMI_VIEW_DEFAULT);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	begin(b, time_write);
	answer_all(kv, POLL, ROUNDS, &reply);
	cost = end(b);
	kvmi_vm_close(kv);
	return cost;
}

/*
 * Nobody listens: the fault and the trap behind it are answered by the wrapper,
 * each with a switch of the view. Half of it is one such exit.
 */
static uint64_t minimal_cost(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t cost;

	protect(kv, b, 0);
	begin(b, time_write);
	cost = end(b);
	kvmi_vm_close(kv);
	return cost / 2;
}

#define RET	"\xc3\0\0\0\0\0\0"
#define NOP_RET	"\x0f\x1f\x44\0\0\xc3\0"

/*
 * With the page shown and hidden again, where that takes two views. A RET has to be
 * executed, and leads off the page; a NOP, as functions begin with, is passed.
 */
static uint64_t breakpoint_cost(struct bench_vm *b, const char *code, bool sync)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_breakpoints *set;
	struct kvmi_reply reply;
	uint64_t cost, hits;

	memcpy(vmm_gpa(b->vm, b->target), code, 8);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	if (sync)
		KTAP_LIB_OK(kvmi_breakpoints_add(set, b->target));
	else
		KTAP_LIB_OK(kvmi_breakpoints_count(set, b->target));
	begin(b, time_call);
	if (sync)
		answer_all(kv, POLL, ROUNDS, &reply);
	cost = end(b);
	KTAP_LIB_OK(kvmi_breakpoints_hits(set, b->target, &hits));
	KTAP_EQ(hits, ROUNDS);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	return cost;
}

static uint64_t async_cost(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach_ring(b->vm, 1 << 20);
	uint64_t cost;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC,
		   KVMI_REGS_GENERAL);
	cost = cpuid_cost(b);
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	return cost;
}

/* ---- every kind -------------------------------------------------------------------- */

/* What the guest does, and what is told of it: one event each time. */
static const struct op {
	const char *name;
	const void *fn;
	uint32_t kind;
	uint32_t index;
	uint32_t access;
	bool irqchip;		/* there has to be one, and each exit costs more */
	bool async;		/* it cannot be answered */
	bool skip;		/* it can, by nothing else */
} ops[] = {
#define OP(n, f, k, i, a)						\
	.name = (n), .fn = (f), .kind = (k), .index = (i), .access = (a)
	{ OP("cr0", time_cr0, KVMI_EVENT_X86_CR, 0, KVMI_ACCESS_W) },
	{ OP("cr3", time_cr3, KVMI_EVENT_X86_CR, 3, KVMI_ACCESS_W) },
	{ OP("cr4", time_cr4, KVMI_EVENT_X86_CR, 4, KVMI_ACCESS_W) },
	{ OP("rdmsr", time_rdmsr, KVMI_EVENT_X86_MSR, MSR_STAR, KVMI_ACCESS_R) },
	{ OP("wrmsr", time_wrmsr, KVMI_EVENT_X86_MSR, MSR_STAR, KVMI_ACCESS_W) },
	{ OP("dr", time_dr, KVMI_EVENT_X86_DR, 0, KVMI_ACCESS_W) },
	{ OP("exception_ud", time_ud, KVMI_EVENT_X86_EXCEPTION, 6, 0) },
	{ OP("exception_pf", time_pf, KVMI_EVENT_X86_EXCEPTION, 14, 0) },
	{ OP("breakpoint", time_int3, KVMI_EVENT_BREAKPOINT, 0, 0) },
	{ OP("dtable", time_sgdt, KVMI_EVENT_X86_DTABLE, KVMI_X86_TABLE_GDTR, KVMI_ACCESS_R) },
	{ OP("io_in", time_in, KVMI_EVENT_X86_IO, PIC_DATA, KVMI_ACCESS_R), .irqchip = true },
	{ OP("io_out", time_out, KVMI_EVENT_X86_IO, PIC_DATA, KVMI_ACCESS_W), .irqchip = true },
	{ OP("insn_rdtsc", time_rdtsc, KVMI_EVENT_X86_INSN, KVMI_X86_INSN_RDTSC, 0) },
	{ OP("insn_invlpg", time_invlpg, KVMI_EVENT_X86_INSN, KVMI_X86_INSN_INVLPG, 0) },
	{ OP("insn_hlt", time_hlt, KVMI_EVENT_X86_INSN, KVMI_X86_INSN_HLT, 0), .skip = true },
	{ OP("hypercall", time_vmmcall, KVMI_EVENT_HYPERCALL, 1, 0) },
	{ OP("exit", time_cpuid, KVMI_EVENT_X86_EXIT, 0x72, 0) },
	/* Each #UD is KVM's to deliver. */
	{ OP("delivery", time_ud, KVMI_EVENT_X86_DELIVERY, KVMI_X86_DELIVERY_EXCEPTION, 0),
	  .async = true },
	{ OP("mmio", time_mmio, KVMI_EVENT_MMIO, IOAPIC / PAGE, KVMI_ACCESS_W),
	  .async = true, .irqchip = true },
#undef OP
};

static uint64_t op_plain(struct bench_vm *b, const struct op *op)
{
	begin(b, op->fn);
	return end(b);
}

static uint64_t op_cost(struct bench_vm *b, const struct op *op, bool sync)
{
	struct kvmi_vm *kv = tool_attach_ring(b->vm, 1 << 20);
	struct kvmi_control_event ctl = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = op->kind,
		.mode = sync ? KVMI_MODE_SYNC : KVMI_MODE_ASYNC,
		.index = op->index,
		.access = op->access,
		.regs = KVMI_REGS_GENERAL,
	};
	struct kvmi_reply reply;
	struct kvmi_stats stats;
	uint64_t cost;

	kvmi_reply_init(&reply, op->skip ? KVMI_ACTION_SKIP :
					   KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	begin(b, op->fn);
	if (sync)
		answer_all(kv, POLL, ROUNDS, &reply);
	cost = end(b);
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, 0, op->kind, &stats));
	KTAP_EQ(stats.out_events, ROUNDS);
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	return cost;
}

/* Each beside what it costs when nobody wants to know. */
static void op_figures(struct bench_vm *b, const struct op *op, uint64_t cpuid)
{
	const char *ref = "exit_cpuid_nomodule";
	char plain[40], name[40];
	uint64_t cost;

	if (!op->async) {
		snprintf(name, sizeof(name), "event_%s_sync_poll", op->name);
		figure(name, op_cost(b, op, true), ref, cpuid);
	}
	if (op->skip)
		return;
	snprintf(plain, sizeof(plain), "plain_%s", op->name);
	cost = op_plain(b, op);
	figure(plain, cost, ref, cpuid);
	snprintf(name, sizeof(name), "event_%s_async", op->name);
	figure(name, op_cost(b, op, false), plain, cost);
}

static void every_kind(struct bench_vm *b, uint64_t cpuid)
{
	struct bench_vm irqchip = make_vm(VMM_F_IRQCHIP);
	size_t i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		op_figures(ops[i].irqchip ? &irqchip : b, &ops[i], cpuid);
	vmm_destroy(irqchip.vm);
}

/* ---- bulk ------------------------------------------------------------------------------ */

static uint64_t access_cost(struct bench_vm *b, bool list)
{
	struct kvmi_access_range *ranges = calloc(BULK, sizeof(*ranges));
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint32_t view, bad;
	uint64_t best = ~0ULL, t;
	int i, n;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (n = 0; n < 4; n++) {
		/* All of them mapped in the view. */
		vmm_vcpu_set_entry(b->vm, 0, touch, 0x10000000, BULK, 0);
		vmm_vcpu_run_done(b->vm, 0);
		for (i = 0; i < (list ? BULK : 1); i++) {
			ranges[i].gfn = 0x10000000 / PAGE + i;
			ranges[i].nr_pages = list ? 1 : BULK;
			ranges[i].access = KVMI_ACCESS_R |
				(n & 1 ? KVMI_ACCESS_RWX : KVMI_ACCESS_W);
		}
		t = rdtsc();
		KTAP_LIB_OK(kvmi_view_set_ranges(kv, view, ranges, i, &bad));
		t = rdtsc() - t;
		/* Not the first, which makes the tables. */
		if (n && t < best)
			best = t;
	}
	free(ranges);
	kvmi_vm_close(kv);
	return best / BULK;
}

/* ---- views ----------------------------------------------------------------------------- */

#define VIEW_AT		0x20000000UL

/* A page that the host has, and KVM does not map yet. */
static uint64_t fill_cost(struct bench_vm *b, char *mem)
{
	/* By small pages: each is a fault. */
	KTAP_OK(madvise(mem, ROUNDS * PAGE, MADV_NOHUGEPAGE));
	KTAP_OK(madvise(mem, ROUNDS * PAGE, MADV_DONTNEED));
	memset(mem, 1, ROUNDS * PAGE);
	vmm_vcpu_set_entry(b->vm, 0, time_touch, b->samples, ROUNDS, VIEW_AT);
	vmm_vcpu_start(b->vm, 0);
	return end(b);
}

static uint64_t view_fill_cost(struct bench_vm *b, char *mem)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t cost;
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	cost = fill_cost(b, mem);
	kvmi_vm_close(kv);
	return cost;
}

/* Of each page that KVM maps by then: the view is filled by many at a time. */
static uint64_t view_fill_warm_cost(struct bench_vm *b, char *mem)
{
	uint64_t *samples = vmm_gpa(b->vm, b->samples), sum = 0;
	struct kvmi_vm *kv;
	uint32_t view;
	int i;

	fill_cost(b, mem);
	kv = tool_attach(b->vm);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	vmm_vcpu_set_entry(b->vm, 0, time_touch, b->samples, ROUNDS, VIEW_AT);
	vmm_vcpu_run_done(b->vm, 0);
	kvmi_vm_close(kv);
	for (i = 0; i < ROUNDS; i++)
		sum += samples[i];
	return sum / ROUNDS;
}

static uint64_t exits_of(struct bench_vm *b, struct kvmi_vm *kv)
{
	struct kvmi_stats stats;
	uint64_t before;

	KTAP_LIB_OK(kvmi_vm_get_stats(kv, 0, KVMI_EVENT_X86_EXIT, &stats));
	before = stats.out_counted;
	vmm_vcpu_set_entry(b->vm, 0, work, VIEW_AT, 64, 0);
	vmm_vcpu_run_done(b->vm, 0);
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, 0, KVMI_EVENT_X86_EXIT, &stats));
	return stats.out_counted - before;
}

/* In thousandths of those on KVM's own tables. */
static uint64_t view_exits_ratio(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t own, mine;
	uint32_t view;

	KTAP_LIB_OK(kvmi_event_control(kv, &count_exits));
	exits_of(b, kv);
	own = exits_of(b, kv);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	exits_of(b, kv);
	mine = exits_of(b, kv);
	kvmi_vm_close(kv);
	return mine * 1000 / own;
}

/* Of a vCPU that runs: the call, the kick, and the entry. */
static uint64_t view_switch_cost(struct bench_vm *b)
{
	uint64_t *word = vmm_gpa(b->vm, b->target);
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t best = ~0ULL, t;
	uint32_t view[2];
	int n;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view[0]));
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view[1]));
	*word = 0;
	vmm_vcpu_set_entry(b->vm, 0, spin, b->target, 0, 0);
	vmm_vcpu_start(b->vm, 0);
	tool_msleep(10);
	for (n = 0; n < 50; n++) {
		t = rdtsc();
		KTAP_LIB_OK(kvmi_view_switch(kv, 0, view[n & 1]));
		t = rdtsc() - t;
		if (n > 10 && t < best)
			best = t;
	}
	*word = 1;
	vmm_vcpu_wait_done(b->vm, 0, 60000);
	kvmi_vm_close(kv);
	return best;
}

/* To put a page back that the guest has written to. */
static uint64_t snapshot_cost(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	uint64_t best = ~0ULL, t;
	struct kvmi_snapshot s;
	uint32_t view;
	int n;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_R | KVMI_ACCESS_X, &view));
	KTAP_LIB_OK(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_TAKE, 2 * BULK, NULL));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (n = 0; n < 4; n++) {
		vmm_vcpu_set_entry(b->vm, 0, touch, 0x10000000, BULK, 0);
		vmm_vcpu_run_done(b->vm, 0);
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		t = rdtsc();
		KTAP_LIB_OK(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_RESET, 0, &s));
		t = rdtsc() - t;
		KTAP_LIB_OK(kvmi_vm_resume(kv));
		KTAP_ASSERT(s.out_done >= BULK);
		if (t / s.out_done < best)
			best = t / s.out_done;
	}
	kvmi_vm_close(kv);
	return best;
}

/* What a view takes that restricts a thousand pages, some so far apart. */
static uint64_t view_bytes(struct bench_vm *b, uint64_t apart)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_view_info info;
	uint32_t view;
	int i;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	for (i = 0; i < 1000; i++)
		KTAP_LIB_OK(kvmi_view_set_access(kv, view,
						 0x40000000 / PAGE + i * apart,
						 1, KVMI_ACCESS_R |
						    KVMI_ACCESS_X));
	KTAP_EQ(kvmi_view_list(kv, &info, 1), 1);
	kvmi_vm_close(kv);
	return info.table_bytes + info.other_bytes;
}

static void read_cost(struct bench_vm *b, uint64_t *read, uint64_t *copy)
{
	static uint64_t samples[2][ROUNDS];
	static char from[PAGE] __attribute__((aligned(4096)));
	static char to[PAGE] __attribute__((aligned(4096)));
	struct kvmi_vm *kv = tool_attach(b->vm);
	void *volatile src = from;
	uint64_t t;
	int i;

	vmm_vcpu_set_entry(b->vm, 0, touch, b->target, 1, 0);
	vmm_vcpu_run_done(b->vm, 0);
	for (i = 0; i < ROUNDS; i++) {
		t = rdtsc();
		KTAP_EQ(kvmi_vm_read(kv, b->target, to, PAGE), PAGE);
		samples[0][i] = rdtsc() - t;
		t = rdtsc();
		memcpy(to, src, PAGE);
		asm volatile("" : : : "memory");
		samples[1][i] = rdtsc() - t;
	}
	*read = median(samples[0]);
	*copy = median(samples[1]);
	kvmi_vm_close(kv);
}

/* Of a vCPU that is paused within KVM_RUN. */
static uint64_t regs_cost(struct bench_vm *b)
{
	static uint64_t samples[ROUNDS];
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_x86_gprs regs;
	uint64_t t;
	int i, ret;

	begin(b, time_cpuid_forever);
	/* Until it is in the guest. */
	tool_msleep(50);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	for (i = 0; i < ROUNDS; i++) {
		t = rdtsc();
		ret = kvmi_vcpu_get_gprs(kv, 0, &regs);
		samples[i] = rdtsc() - t;
		KTAP_LIB_OK(ret);
	}
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	kvmi_vm_close(kv);
	vmm_vcpu_stop(b->vm, 0);
	return median(samples);
}

static __guest uint64_t spin_for_ever(void)
{
	for (;;)
		guest_spin(1000);
	return 0;
}

/* As a VMM does it: a signal to each thread, and wait until all have seen it. */
static void stop_by_vmm(struct vmm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		atomic_store(&vm->vcpu[i].stop, true);
		vmm_vcpu_signal(vm, i);
	}
	for (i = 0; i < vm->nr_vcpus; i++) {
		vmm_vcpu_wait(vm, i, -1);
		atomic_store(&vm->vcpu[i].stop, false);
		vm->vcpu[i].run->immediate_exit = 0;
	}
}

/*
 * Four vCPUs that run: pause and resume. What they do in between is not in the
 * figure; that each has to get the one CPU to stop there is.
 */
static uint64_t pause_cost(bool by_vmm)
{
	static uint64_t samples[ROUNDS];
	struct vmm *vm = vmm_create(4, 0);
	struct kvmi_vm *kv = by_vmm ? NULL : tool_attach(vm);
	int i, ret = 0;
	uint64_t t;

	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, spin_for_ever, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < ROUNDS; i++) {
		/* Until each of them is in the guest again. */
		tool_msleep(20);
		t = rdtsc();
		if (by_vmm) {
			stop_by_vmm(vm);
			vmm_start_all(vm);
		} else {
			ret = kvmi_vm_pause(kv);
			if (!ret)
				ret = kvmi_vm_resume(kv);
		}
		samples[i] = rdtsc() - t;
		KTAP_LIB_OK(ret);
	}
	if (kv)
		kvmi_vm_close(kv);
	vmm_destroy(vm);
	return median(samples);
}

/* 64 reads of 64 bytes, each from a page of its own, in one call. */
static uint64_t read_list_cost(struct bench_vm *b)
{
	static uint64_t samples[ROUNDS];
	static char to[64][64];
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_rw list[64];
	uint64_t gpa = vmm_alloc_pages(b->vm, 64);
	uint64_t t;
	int i;

	vmm_vcpu_set_entry(b->vm, 0, touch, gpa, 64, 0);
	vmm_vcpu_run_done(b->vm, 0);
	memset(list, 0, sizeof(list));
	for (i = 0; i < 64; i++) {
		/* In no order. */
		list[i].addr = gpa + (i * 37 & 63) * PAGE + i * 16;
		list[i].buf = (uint64_t)to[i];
		list[i].len = 64;
	}
	for (i = 0; i < ROUNDS; i++) {
		t = rdtsc();
		KTAP_EQ(kvmi_vm_read_list(kv, list, 64), 0);
		samples[i] = rdtsc() - t;
	}
	kvmi_vm_close(kv);
	return median(samples);
}

/* Eight bytes of virtual memory, from a warm cache. */
static uint64_t read_virt_cost(struct bench_vm *b)
{
	static uint64_t samples[ROUNDS];
	struct kvmi_vm *kv = tool_attach(b->vm);
	struct kvmi_virt *virt;
	struct kvmi_space s;
	uint64_t val, t;
	int i;

	KTAP_LIB_OK(kvmi_space_get(kv, 0, &s));
	KTAP_LIB_OK(kvmi_virt_open(kv, 0, &virt));
	/* Four blocks in turn. */
	for (i = 0; i < ROUNDS; i++) {
		t = rdtsc();
		KTAP_EQ(kvmi_virt_read(virt, &s, 0x800000 + (i & 3) * 0x10000,
				       &val, 8), 8);
		samples[i] = rdtsc() - t;
	}
	kvmi_virt_close(virt);
	kvmi_vm_close(kv);
	return median(samples);
}

/* A page, read in place. */
static uint64_t read_map_cost(struct bench_vm *b)
{
	static uint64_t samples[ROUNDS];
	static char to[PAGE] __attribute__((aligned(4096)));
	struct kvmi_vm *kv = tool_attach(b->vm);
	const void *map;
	uint64_t t;
	int i;

	KTAP_LIB_OK(kvmi_vm_map(kv, b->target, PAGE, NULL, &map));
	for (i = 0; i < ROUNDS; i++) {
		const void *volatile src = map;

		t = rdtsc();
		memcpy(to, src, PAGE);
		asm volatile("" : : "r" (to) : "memory");
		samples[i] = rdtsc() - t;
	}
	kvmi_vm_unmap(map, PAGE);
	kvmi_vm_close(kv);
	return median(samples);
}

static void everything(struct bench_vm *b)
{
	struct kvmi_vm *kv = tool_attach(b->vm);
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_ASYNC, 0);
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_ASYNC, 0);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_ASYNC, 0);
	for (i = 3; i <= 4; i++)
		KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, i,
						KVMI_MODE_ASYNC, 0));
	for (i = 0; i < 8; i++)
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL,
						 0xc0000080 + i,
						 KVMI_ACCESS_R | KVMI_ACCESS_W,
						 KVMI_MODE_ASYNC, 0));
	protect(kv, b, 0);
	cpuid_cost(b);
	kvmi_vm_close(kv);
}

int main(void)
{
	uint64_t nomodule, attached, out, futex, efd, yield, poll_cost, copy, v;
	uint64_t minimal;
	struct bench_vm b = make_vm(0), other;
	struct kvmi_vm *kv;
	uint64_t fault;
	char *mem;

	nomodule = cpuid_cost(&b);
	figure("exit_cpuid_nomodule", nomodule, NULL, 0);
	begin(&b, time_sync);
	for (int i = 0; i < ROUNDS; i++) {
		KTAP_EQ(vmm_vcpu_wait_ucall(b.vm, 0, -1), GUEST_SYNC);
		vmm_vcpu_start(b.vm, 0);
	}
	out = end(&b);
	figure("exit_ucall_userspace", out, "exit_cpuid_nomodule", nomodule);
	mem = vmm_slot_add(b.vm, 2, VIEW_AT, ROUNDS * PAGE, 0);
	fault = fill_cost(&b, mem);
	figure("fault_nomodule", fault, "exit_cpuid_nomodule", nomodule);
	futex = floor_cost(FUTEX);
	efd = floor_cost(EVENTFD);
	yield = floor_cost(YIELD);
	figure("floor_futex", futex, NULL, 0);
	figure("floor_eventfd", efd, NULL, 0);
	figure("floor_yield", yield, NULL, 0);

	bench_load_module();
	everything(&b);
	figure("exit_cpuid_loaded", cpuid_cost(&b), "exit_cpuid_nomodule",
	       nomodule);

	other = make_vm(0);
	kv = tool_attach(other.vm);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	figure("exit_cpuid_other_vm", cpuid_cost(&b), "exit_cpuid_nomodule",
	       nomodule);
	kvmi_vm_close(kv);
	vmm_destroy(other.vm);

	kv = tool_attach(b.vm);
	attached = cpuid_cost(&b);
	figure("exit_cpuid_attached", attached, "exit_cpuid_nomodule",
	       nomodule);
	kvmi_vm_close(kv);

	figure("event_cpuid_counted", asked_cost(&b, &count_cpuid, 1),
	       "exit_cpuid_attached", attached);
	figure("exit_cpuid_counted", asked_cost(&b, &count_exits, 1),
	       "exit_cpuid_attached", attached);
	figure("exit_cpuid_other_kinds",
	       asked_cost(&b, other_kinds,
			  sizeof(other_kinds) / sizeof(other_kinds[0])),
	       "exit_cpuid_nomodule", nomodule);

	minimal = minimal_cost(&b);
	figure("exit_minimal", minimal, "exit_cpuid_nomodule", nomodule);
	figure("event_cpuid_async", async_cost(&b), "exit_cpuid_attached",
	       attached);
	figure("event_cpuid_sync_wait", sync_cost(&b, WAIT), "floor_futex",
	       futex);
	poll_cost = sync_cost(&b, POLL);
	figure("event_cpuid_sync_poll", poll_cost, "floor_eventfd", efd);
	figure("event_cpuid_sync_yield", sync_cost(&b, YIELDS), "floor_yield",
	       yield);
	figure("event_step_sync_poll", step_cost(&b, true),
	       "event_cpuid_sync_poll", poll_cost);
	figure("event_step_async", step_cost(&b, false), "exit_cpuid_attached",
	       attached);
	figure("event_write_sync_poll", write_switch_cost(&b),
	       "event_cpuid_sync_poll", poll_cost);
	figure("event_write_faststep", write_faststep_cost(&b),
	       "event_cpuid_sync_poll", poll_cost);

	figure("breakpoint_counted", breakpoint_cost(&b, RET, false), "exit_minimal",
	       minimal);
	figure("breakpoint_sync_poll", breakpoint_cost(&b, RET, true),
	       "event_cpuid_sync_poll", poll_cost);
	figure("breakpoint_nop_counted", breakpoint_cost(&b, NOP_RET, false),
	       "exit_minimal", minimal);
	figure("breakpoint_nop_sync_poll", breakpoint_cost(&b, NOP_RET, true),
	       "event_cpuid_sync_poll", poll_cost);

	every_kind(&b, nomodule);

	read_cost(&b, &v, &copy);
	figure("memcpy_4k", copy, NULL, 0);
	figure("read_phys_4k", v, "memcpy_4k", copy);
	figure("read_map_4k", read_map_cost(&b), "memcpy_4k", copy);
	figure("read_virt_8", read_virt_cost(&b), NULL, 0);
	figure("read_sg_64x64", read_list_cost(&b), "read_phys_4k", v);

	figure("regs_get", regs_cost(&b), "exit_cpuid_nomodule", nomodule);
	v = pause_cost(true);
	figure("pause_resume_4_vmm", v, NULL, 0);
	figure("pause_resume_4", pause_cost(false), "pause_resume_4_vmm", v);

	vmm_slot_add(b.vm, 1, 0x10000000, BULK * PAGE, 0);
	v = access_cost(&b, false);
	figure("access_set_page", v, "exit_cpuid_nomodule", nomodule);
	/* The same pages, each by a range of its own. */
	figure("access_set_list_page", access_cost(&b, true),
	       "access_set_page", v);

	figure("view_fill", view_fill_cost(&b, mem), "fault_nomodule", fault);
	figure("view_fill_warm", view_fill_warm_cost(&b, mem), "fault_nomodule", fault);
	figure_of("view_exits_ratio", view_exits_ratio(&b), "thousandths");
	figure("view_switch", view_switch_cost(&b), "exit_cpuid_nomodule",
	       nomodule);
	vmm_slot_add(b.vm, 3, 0x40000000, 1000 * 0x200000UL, 0);
	figure_of("view_bytes_1000_dense", view_bytes(&b, 1), "bytes");
	figure_of("view_bytes_1000_sparse", view_bytes(&b, 512), "bytes");
	figure("snapshot_reset_page", snapshot_cost(&b), "memcpy_4k", copy);
	vmm_destroy(b.vm);
	return 0;
}
