// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-ins: an instruction reads what a tool supplies, writes into the void, or is
 * another one, and nobody else can tell.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define RWX	KVMI_ACCESS_RWX
#define RX	(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define RW	(KVMI_ACCESS_R | KVMI_ACCESS_W)
#define DISCARD	KVMI_STAND_IN_F_DISCARD
#define REAL	0x1111111111111111ULL
#define OTHER	0x00c0ffee00c0ffeeULL

struct test {
	struct vmm *vm;
	struct kvmi_vm *kv;
	uint32_t view;
	uint64_t gpa;
};

/* Two pages per vCPU with the given rights, full of REAL. */
static void begin(struct test *t, int nr_vcpus, uint32_t access)
{
	uint64_t *mem;
	size_t i;

	t->vm = vmm_create(nr_vcpus, 0);
	t->gpa = vmm_alloc_pages(t->vm, 2 * nr_vcpus);
	t->kv = tool_attach(t->vm);
	mem = vmm_gpa(t->vm, t->gpa);
	for (i = 0; i < 2 * nr_vcpus * PAGE / 8; i++)
		mem[i] = REAL;
	KTAP_LIB_OK(kvmi_view_create(t->kv, RWX, &t->view));
	KTAP_LIB_OK(kvmi_view_set_access(t->kv, t->view, t->gpa / PAGE,
					 2 * nr_vcpus, access));
	KTAP_LIB_OK(kvmi_view_switch(t->kv, KVMI_VCPU_ALL, t->view));
	tool_watch(t->kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
}

static void end(struct test *t)
{
	tool_wait_none(t->kv, 0);
	tool_check_views(t->kv);
	kvmi_vm_close(t->kv);
	vmm_destroy(t->vm);
}

static void start(struct test *t, int vcpu, const void *fn, uint64_t a0, uint64_t a1)
{
	vmm_vcpu_set_entry(t->vm, vcpu, fn, a0, a1, 0);
	vmm_vcpu_start(t->vm, vcpu);
}

static uint64_t result(struct test *t, int vcpu)
{
	return vmm_vcpu_wait_done(t->vm, vcpu, TOOL_PATIENCE);
}

static uint64_t *word(struct test *t, uint64_t gpa)
{
	return vmm_gpa(t->vm, gpa);
}

/* The next access, which is at @gpa; answered with what stands in there. */
static void expect(struct test *t, uint64_t gpa, const void *data, uint32_t len,
		   uint32_t flags)
{
	const struct kvmi_event *ev = tool_wait(t->kv, KVMI_EVENT_ACCESS);
	struct kvmi_reply reply;

	KTAP_EQ(kvmi_event_access(ev)->gpa, gpa);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	KTAP_LIB_OK(kvmi_reply_stand_in(&reply, gpa, data, len, flags));
	tool_answer(t->kv, ev, &reply);
}

static void expect_word(struct test *t, uint64_t gpa, uint64_t val)
{
	expect(t, gpa, &val, sizeof(val), 0);
}

/* ---- supplied data ------------------------------------------------------------------- */

static __guest uint64_t read_twice(uint64_t addr)
{
	uint64_t first = GUEST_READ(uint64_t, addr);

	return first ^ GUEST_READ(uint64_t, addr);
}

KTAP_CASE_SMP(reads, "A6")
{
	struct test t;
	int i, n;

	begin(&t, nr_vcpus, 0);
	for (n = 0; n < 3; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			start(&t, i, read_twice, t.gpa + 2 * i * PAGE + 8, 0);
			expect_word(&t, t.gpa + 2 * i * PAGE + 8, OTHER + i);
			/* Once: the second read is an event again. */
			tool_reply(t.kv, tool_wait(t.kv, KVMI_EVENT_ACCESS),
				   KVMI_ACTION_CONTINUE);
			KTAP_EQ(result(&t, i), (OTHER + i) ^ REAL);
			KTAP_EQ(*word(&t, t.gpa + 2 * i * PAGE + 8), REAL);
		}
		tool_check_views(t.kv);
	}
	end(&t);
}

/* Registers that KVM's emulator does not know of, and an operand on two pages. */
static __guest uint64_t read_wide(uint64_t addr)
{
	uint64_t low, high;

	asm volatile("movdqu (%2), %%xmm5\n\t"
		     "movq %%xmm5, %0\n\t"
		     "psrldq $8, %%xmm5\n\t"
		     "movq %%xmm5, %1"
		     : "=r" (low), "=r" (high) : "r" (addr) : "memory");
	return low ^ high << 1;
}

KTAP_CASE(read_over_pages, "A6")
{
	uint64_t val[2] = { OTHER, OTHER + 77 };
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	struct test t;

	begin(&t, 1, 0);
	start(&t, 0, read_wide, t.gpa + PAGE - 5, 0);
	ev = tool_wait(t.kv, KVMI_EVENT_ACCESS);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	KTAP_LIB_OK(kvmi_reply_stand_in(&reply, t.gpa + PAGE - 5, val, 5, 0));
	KTAP_LIB_OK(kvmi_reply_stand_in(&reply, t.gpa + PAGE,
					(uint8_t *)val + 5, 11, 0));
	tool_answer(t.kv, ev, &reply);
	KTAP_EQ(result(&t, 0), val[0] ^ val[1] << 1);
	KTAP_EQ(*word(&t, t.gpa + PAGE - 8), REAL);
	KTAP_EQ(*word(&t, t.gpa + PAGE), REAL);
	end(&t);
}

static __guest uint64_t copy_string(uint64_t from, uint64_t to)
{
	uint64_t n = 4;

	asm volatile("rep movsb" : "+S" (from), "+D" (to), "+c" (n) : : "memory");
	return n;
}

/* One iteration at a time. */
KTAP_CASE(read_by_string, "A6 E6")
{
	struct test t;
	uint64_t to;
	uint8_t c;
	int i;

	begin(&t, 1, 0);
	to = vmm_alloc_pages(t.vm, 1);
	start(&t, 0, copy_string, t.gpa, to);
	for (i = 0; i < 4; i++) {
		c = 'a' + i;
		expect(&t, t.gpa + i, &c, 1, 0);
	}
	KTAP_EQ(result(&t, 0), 0);
	KTAP_EQ(memcmp(vmm_gpa(t.vm, to), "abcd", 5), 0);
	end(&t);
}

/* Reads what is supplied, and the sum is the guest's. */
static __guest uint64_t add_locked(uint64_t addr, uint64_t val)
{
	asm volatile("lock xadd %0, (%1)" : "+r" (val) : "r" (addr) : "memory");
	return val;
}

KTAP_CASE_SMP(read_and_written, "A6")
{
	struct test t;
	uint64_t gpa;
	int i;

	begin(&t, nr_vcpus, 0);
	for (i = 0; i < nr_vcpus; i++) {
		gpa = t.gpa + 2 * i * PAGE + 24;
		start(&t, i, add_locked, gpa, 5);
		expect_word(&t, gpa, 1000 + i);
		KTAP_EQ(result(&t, i), 1000 + i);
		/* Bytes that differ from what was supplied are the guest's. */
		KTAP_EQ(*word(&t, gpa), (REAL & ~0xffULL) | (1005 + i) % 256);
		KTAP_EQ(*word(&t, gpa - 8), REAL);
		KTAP_EQ(*word(&t, gpa + 8), REAL);
	}
	end(&t);
}

/* ---- suppressed writes ---------------------------------------------------------------- */

static __guest uint64_t write_all_ways(uint64_t addr)
{
	uint64_t val = 3, n = 1, di = addr + 24;

	GUEST_WRITE(uint64_t, addr, 1);
	asm volatile("xchg %0, (%1)" : "+r" (val) : "r" (addr + 8) : "memory");
	asm volatile("lock incq (%0)" : : "r" (addr + 16) : "memory");
	asm volatile("rep stosb" : "+D" (di), "+c" (n) : "a" (9) : "memory");
	asm volatile("movq %1, %%xmm5\n\t"
		     "movdqu %%xmm5, (%0)"
		     : : "r" (addr + 32), "r" (val) : "memory");
	return val ^ GUEST_READ(uint64_t, addr);
}

KTAP_CASE_SMP(writes, "A6")
{
	static const int at[] = { 0, 8, 16, 24, 32 };
	struct test t;
	uint64_t gpa;
	size_t n;
	int i;

	begin(&t, nr_vcpus, RX);
	for (i = 0; i < nr_vcpus; i++) {
		gpa = t.gpa + 2 * i * PAGE;
		start(&t, i, write_all_ways, gpa, 0);
		for (n = 0; n < sizeof(at) / sizeof(at[0]); n++)
			expect(&t, gpa + at[n], NULL, 0, DISCARD);
		/* What XCHG has read was there; the write was not. */
		KTAP_EQ(result(&t, i), REAL ^ REAL);
		for (n = 0; n < 2 * PAGE / 8; n++)
			KTAP_EQ(word(&t, gpa)[n], REAL);
	}
	end(&t);
}

/* Supplied to what reads, lost of what it writes, with a log of dirty pages. */
KTAP_CASE(read_and_discarded, "A6 V7")
{
	uint64_t val = 40, *log, gfn;
	struct test t;

	begin(&t, 1, 0);
	gfn = t.gpa / PAGE;
	vmm_slot_set_flags(t.vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	free(vmm_slot_dirty_log(t.vm, 0));
	start(&t, 0, add_locked, t.gpa, 2);
	expect(&t, t.gpa, &val, sizeof(val), DISCARD);
	KTAP_EQ(result(&t, 0), 40);
	KTAP_EQ(*word(&t, t.gpa), REAL);
	log = vmm_slot_dirty_log(t.vm, 0);
	KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 0);
	free(log);
	/* Without that, it is written, and logged. */
	start(&t, 0, add_locked, t.gpa, 2);
	expect(&t, t.gpa, &val, sizeof(val), 0);
	KTAP_EQ(result(&t, 0), 40);
	KTAP_EQ(*word(&t, t.gpa), (REAL & ~0xffULL) | 42);
	log = vmm_slot_dirty_log(t.vm, 0);
	KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 1);
	free(log);
	end(&t);
}

/* ---- supplied instructions ------------------------------------------------------------ */

static const uint8_t mov_1_ret[] = { 0xb8, 1, 0, 0, 0, 0xc3 };
static const uint8_t mov_42[] = { 0xb8, 42, 0, 0, 0 };

static __guest uint64_t call(uint64_t addr)
{
	return ((uint64_t (*)(void))addr)();
}

KTAP_CASE_SMP(instructions, "A6")
{
	struct test t;
	uint64_t gpa;
	int i;

	begin(&t, nr_vcpus, RW);
	for (i = 0; i < nr_vcpus; i++) {
		/* The instruction lies on two pages. */
		const struct kvmi_event *ev;
		struct kvmi_reply reply;

		gpa = t.gpa + (2 * i + 1) * PAGE - 2;
		memcpy(vmm_gpa(t.vm, gpa), mov_1_ret, sizeof(mov_1_ret));
		start(&t, i, call, gpa, 0);
		ev = tool_wait(t.kv, KVMI_EVENT_ACCESS);
		KTAP_EQ(kvmi_event_access(ev)->access, KVMI_ACCESS_X);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, gpa, mov_42, 2, 0));
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, gpa + 2, mov_42 + 2, 3, 0));
		tool_answer(t.kv, ev, &reply);
		/* RET */
		tool_reply(t.kv, tool_wait(t.kv, KVMI_EVENT_ACCESS),
			   KVMI_ACTION_CONTINUE);
		KTAP_EQ(result(&t, i), 42);
		KTAP_EQ(memcmp(vmm_gpa(t.vm, gpa), mov_1_ret,
			       sizeof(mov_1_ret)), 0);
	}
	end(&t);
}

/* A breakpoint in the guest's memory, and its byte for whom it has told. */
KTAP_CASE_SMP(breakpoints, "A6 E8")
{
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	struct test t;
	uint8_t *code;
	int i, n;

	begin(&t, nr_vcpus, RWX);
	tool_watch(t.kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	code = vmm_gpa(t.vm, t.gpa);
	memcpy(code, mov_1_ret, sizeof(mov_1_ret));
	code[0] = 0xcc;
	for (i = 0; i < nr_vcpus; i++)
		start(&t, i, call, t.gpa, 0);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(t.kv, KVMI_EVENT_BREAKPOINT);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, t.gpa, mov_1_ret, 1, 0));
		tool_answer(t.kv, ev, &reply);
	}
	for (i = 0, n = 0; i < nr_vcpus; i++)
		n += result(&t, i);
	KTAP_EQ(n, nr_vcpus);
	KTAP_EQ(code[0], 0xcc);
	end(&t);
}

/* ---- what is no instruction ------------------------------------------------------------ */

static __guest void de_handler(struct guest_regs *regs)
{
	regs->rip = regs->r12;
}

static __guest uint64_t divide(uint64_t addr)
{
	register uint64_t behind asm("r12");
	uint64_t rax = 100;

	guest_cpu()->handler[0] = de_handler;
	asm volatile("lea 1f(%%rip), %1\n\t"
		     "xor %%edx, %%edx\n\t"
		     "divq (%2)\n"
		     "1:"
		     : "+a" (rax), "=&r" (behind) : "r" (addr) : "rdx", "memory");
	return rax;
}

/* It raises an exception: the frame is the guest's, wherever its stack is. */
KTAP_CASE_SMP(faults, "A6 E7")
{
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t val, rsp;
	struct test t;
	int i, n;

	begin(&t, nr_vcpus, 0);
	for (i = 0; i < nr_vcpus; i++) {
		for (n = 0; n < 2; n++) {
			val = n ? 4 : 0;
			start(&t, i, divide, t.gpa + 2 * i * PAGE, 0);
			ev = tool_wait(t.kv, KVMI_EVENT_ACCESS);
			kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
			KTAP_LIB_OK(kvmi_reply_stand_in(&reply,
							t.gpa + 2 * i * PAGE,
							&val, 8, 0));
			rsp = kvmi_event_gprs(ev)->r[KVMI_X86_RSP];
			KTAP_LIB_OK(kvmi_reply_stand_in(&reply, rsp - 64, NULL,
							0, DISCARD));
			tool_answer(t.kv, ev, &reply);
			KTAP_EQ(result(&t, i), n ? 25 : 100);
			KTAP_EQ(t.vm->vcpu[i].cpu->count[0], 1);
		}
	}
	end(&t);
}

/* ---- what is refused -------------------------------------------------------------------- */

static void refused(struct test *t, struct kvmi_reply *reply, int error)
{
	const struct kvmi_event *ev;
	struct kvmi_ring *ring;

	vmm_vcpu_set_entry(t->vm, 0, read_twice, t->gpa, 0, 0);
	vmm_vcpu_start(t->vm, 0);
	KTAP_LIB_OK(kvmi_ring_open(t->kv, 0, -1, &ring));
	while (!kvmi_ring_next(ring, &ev))
		tool_msleep(1);
	KTAP_EQ(ev->kind, KVMI_EVENT_ACCESS);
	kvmi_ring_answer(ring, ev->id, reply);
	while (!kvmi_ring_next(ring, &ev))
		tool_msleep(1);
	KTAP_EQ(kvmi_ring_last_error(ring, NULL), error);
	kvmi_reply_init(reply, KVMI_ACTION_CONTINUE);
	kvmi_ring_answer(ring, ev->id, reply);
	/* The default action lets it happen. */
	KTAP_EQ(result(t, 0), 0);
	kvmi_ring_close(ring);
}

KTAP_CASE(what_is_refused, "A6 D8")
{
	struct kvmi_reply reply;
	struct test t;
	int i;

	begin(&t, 1, 0);
	for (i = 0; i < 9; i++) {
		kvmi_reply_init(&reply, i == 4 ? KVMI_ACTION_CONTINUE :
						 KVMI_ACTION_RETRY);
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, t.gpa, "x", 1, 0));
		switch (i) {
		case 0:
			reply.nr_stand_ins = 0;
			break;
		case 1:
			reply.nr_stand_ins = KVMI_REPLY_MAX_STAND_INS + 1;
			break;
		case 2:
			reply.stand_ins[0].len = KVMI_STAND_IN_BYTES + 1;
			break;
		case 3:
			reply.stand_ins[0].flags = 2;
			break;
		case 5:
			reply.pad3 = 1;
			break;
		case 6:
			reply.stand_ins[0].gpa = t.gpa + PAGE - 1;
			reply.stand_ins[0].len = 2;
			break;
		case 7:
			kvmi_reply_step(&reply);
			break;
		case 8:
			reply.stand_ins[0].gpa = GUEST_RAM;
			break;
		}
		refused(&t, &reply, i == 8 ? -ENXIO : -EINVAL);
	}
	for (i = 0; i < KVMI_REPLY_MAX_STAND_INS; i++)
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, t.gpa, NULL, 0, 0));
	KTAP_LIB_ERR(kvmi_reply_stand_in(&reply, t.gpa, NULL, 0, 0), EINVAL);
	end(&t);
}

/* ---- bad weather ------------------------------------------------------------------------ */

/* Each has its own page, and all look at one that they share. */
static __guest uint64_t look_around(uint64_t own, uint64_t shared)
{
	uint64_t i, id = guest_cpu()->id;

	for (i = 0; i < 40; i++) {
		GUEST_ASSERT(GUEST_READ(uint64_t, shared) == OTHER + id);
		GUEST_WRITE(uint64_t, own + i * 8, i);
		GUEST_ASSERT(GUEST_READ(uint64_t, own + i * 8) == i);
	}
	return id + 1;
}

/* Of the same page, each vCPU sees what is meant for it, all of the time. */
KTAP_CASE_SMP(nobody_else_sees_it, "A6")
{
	const struct kvmi_ev_access *acc;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	struct test t;
	uint64_t val;
	int i, n;

	begin(&t, nr_vcpus, 0);
	KTAP_LIB_OK(kvmi_view_set_access(t.kv, t.view, t.gpa / PAGE + 1,
					 2 * nr_vcpus - 1, RX));
	for (i = 0; i < nr_vcpus; i++)
		start(&t, i, look_around, t.gpa + (2 * i + 1) * PAGE, t.gpa);
	/* A read and a write each; of the latter all is to arrive. */
	for (n = 0; n < 2 * 40 * nr_vcpus; n++) {
		ev = tool_wait(t.kv, KVMI_EVENT_ACCESS);
		acc = kvmi_event_access(ev);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		val = OTHER + ev->vcpu;
		KTAP_LIB_OK(kvmi_reply_stand_in(&reply, acc->gpa, &val,
						acc->gpa == t.gpa ? 8 : 0, 0));
		tool_answer(t.kv, ev, &reply);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(result(&t, i), i + 1);
	KTAP_EQ(*word(&t, t.gpa), REAL);
	end(&t);
}

struct helper {
	struct kvmi_vm *kv;
	pthread_t thread;
	atomic_bool stop;
	unsigned long answered;
};

static void *answer_thread(void *arg)
{
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	struct helper *h = arg;

	while (!h->stop) {
		if (kvmi_event_wait(h->kv, &ev, 20) <= 0)
			continue;
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		kvmi_reply_stand_in(&reply, kvmi_event_access(ev)->gpa, NULL, 0, 0);
		kvmi_event_answer(h->kv, ev, &reply);
		h->answered++;
	}
	return NULL;
}

static uint64_t stack_of(int vcpu)
{
	return (GUEST_STACK + vcpu * GUEST_STACK_SIZE) / PAGE;
}

/*
 * A copy in the place of each page that the guest writes to is no difference to it: not
 * with interrupts and faults, dirty logging and views that come and go, and a session
 * that ends in the midst of it.
 */
KTAP_CASE_SMP(at_any_moment, "A6 D1 D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int i, n, rounds = ktap_times(8, 2);
	struct helper h = {};
	uint32_t view;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < rounds; n++) {
		h.kv = tool_attach(vm);
		h.stop = false;
		h.answered = 0;
		KTAP_LIB_OK(kvmi_view_create(h.kv, RWX, &view));
		for (i = 0; i < nr_vcpus; i++)
			KTAP_LIB_OK(kvmi_view_set_access(h.kv, view, stack_of(i),
							 GUEST_STACK_SIZE / PAGE,
							 RX));
		tool_watch(h.kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
		KTAP_EQ(pthread_create(&h.thread, NULL, answer_thread, &h), 0);
		KTAP_LIB_OK(kvmi_view_switch(h.kv, KVMI_VCPU_ALL, view));
		/* Later on there may be no view to come by. */
		for (i = 0; !h.answered && i < TOOL_PATIENCE; i++)
			tool_msleep(1);
		for (i = 0; i < 10; i++) {
			if (i % 3 == 0)
				vmm_slot_set_flags(vm, 0, i ? 0 :
						   KVM_MEM_LOG_DIRTY_PAGES);
			if (i == 7 && n & 1)
				KTAP_LIB_OK(kvmi_view_destroy(h.kv, view));
			tool_msleep(20);
			tool_check_views(h.kv);
		}
		h.stop = true;
		KTAP_EQ(pthread_join(h.thread, NULL), 0);
		KTAP_GE(h.answered, 1);
		kvmi_vm_close(h.kv);
		vmm_worker_check(vm, 4);
	}
	vmm_worker_stop(vm);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
