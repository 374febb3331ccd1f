// SPDX-License-Identifier: GPL-2.0-only
/* Hidden breakpoints: hit each time, and not to be found by the guest. */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "lib/tool.h"

#define PAGE	4096UL

/* In a page of its own: what is counted. */
static __guest uint64_t called(uint64_t a)
{
	return a + 1;
}

static __guest uint64_t other(uint64_t a)
{
	return a + 2;
}

static __guest uint64_t call_n(uint64_t fn, uint64_t n)
{
	uint64_t a = 0;

	while (n--)
		a = ((uint64_t (*)(uint64_t))fn)(a);
	return a;
}

static __guest uint64_t sum_it(uint64_t from, uint64_t bytes)
{
	uint64_t i, sum = 0;

	for (i = 0; i < bytes; i++)
		sum = sum * 31 + GUEST_READ(uint8_t, from + i);
	return sum;
}

/* Over the function in a page, a byte at a time. */
static __guest uint64_t write_over(uint64_t to, uint64_t from, uint64_t bytes)
{
	uint64_t i;

	for (i = 0; i < bytes; i++)
		GUEST_WRITE(uint8_t, to + i, GUEST_READ(uint8_t, from + i));
	return 0;
}

/* Answers what comes until the vCPU is done. Return: hits at @gpa. */
static int serve(struct kvmi_vm *kv, struct kvmi_breakpoints *set, struct vmm *vm,
		 int nr_vcpus, uint64_t at)
{
	const struct kvmi_event *ev;
	int hits = 0, ret, i;
	uint64_t gpa;

	for (;;) {
		ret = kvmi_event_wait(kv, &ev, 20);
		if (ret > 0) {
			gpa = 0;
			ret = KTAP_LIB_OK(kvmi_breakpoints_handle(set, ev, &gpa));
			KTAP_GE(ret, 1);
			if (ret == 1)
				continue;
			KTAP_EQ(gpa, at);
			hits++;
			KTAP_LIB_OK(kvmi_breakpoints_continue(set, ev));
			continue;
		}
		for (i = 0; i < nr_vcpus; i++)
			if (vmm_vcpu_running(vm, i))
				break;
		if (i == nr_vcpus)
			return hits;
	}
}

static int run(struct kvmi_vm *kv, struct kvmi_breakpoints *set, struct vmm *vm,
	       const void *fn, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t at,
	       uint64_t result)
{
	int hits, i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, fn, a0, a1, a2);
	vmm_start_all(vm);
	hits = serve(kv, set, vm, vm->nr_vcpus, at);
	for (i = 0; i < vm->nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), result);
	return hits;
}

static uint64_t checksum(struct vmm *vm, uint64_t gpa, uint64_t bytes)
{
	const uint8_t *mem = vmm_gpa(vm, gpa);
	uint64_t i, sum = 0;

	for (i = 0; i < bytes; i++)
		sum = sum * 31 + mem[i];
	return sum;
}

KTAP_CASE_SMP(hit_and_hidden, "E8 V3 V4 A5")
{
	enum { N = 25 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + 0x100, sum;
	struct kvmi_breakpoints *set;

	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	sum = checksum(vm, page, PAGE);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, N), 0);

	KTAP_LIB_OK(kvmi_breakpoints_add(set, fn));
	KTAP_LIB_ERR(kvmi_breakpoints_add(set, fn), EEXIST);
	KTAP_LIB_ERR(kvmi_breakpoints_add(set, GUEST_RAM), ENXIO);
	/* Every one, whatever the others are stepping over. */
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, N), N * nr_vcpus);
	tool_check_views(kv);
	/* Nobody finds it, neither the guest nor who looks from outside. */
	KTAP_EQ(run(kv, set, vm, sum_it, fn - 8, 80, 0, fn,
		    checksum(vm, fn - 8, 80)), 0);
	KTAP_EQ(checksum(vm, page, PAGE), sum);

	/* The guest writes to the page: what it writes is executed. */
	run(kv, set, vm, write_over, fn + 1, (uint64_t)other + 1, 15, fn, 0);
	KTAP_EQ(memcmp(vmm_gpa(vm, fn), (void *)other, 16), 0);
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, 2 * N), N * nr_vcpus);
	tool_check_views(kv);

	KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
	KTAP_LIB_ERR(kvmi_breakpoints_remove(set, fn), ENOENT);
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, 2 * N), 0);
	kvmi_breakpoints_close(set);
	KTAP_EQ(memcmp(vmm_gpa(vm, fn), (void *)other, 16), 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static uint64_t hits_of(struct kvmi_breakpoints *set, uint64_t gpa)
{
	uint64_t hits;

	KTAP_LIB_OK(kvmi_breakpoints_hits(set, gpa, &hits));
	return hits;
}

/* The kernel counts them, and nobody is told. */
KTAP_CASE_SMP(counted, "E8 V3 V4")
{
	enum { N = 200 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + 0x100;
	struct kvmi_breakpoints *set;

	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	memcpy(vmm_gpa(vm, fn + PAGE), (void *)other, 64);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
	KTAP_LIB_ERR(kvmi_breakpoints_count(set, fn), EEXIST);
	KTAP_LIB_OK(kvmi_breakpoints_add(set, fn + PAGE));
	KTAP_EQ(hits_of(set, fn), 0);
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
	KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
	tool_check_views(kv);

	/* One that is an event is counted as well. */
	KTAP_EQ(run(kv, set, vm, call_n, fn + PAGE, 5, 0, fn + PAGE, 10), 5 * nr_vcpus);
	KTAP_EQ(hits_of(set, fn + PAGE), 5 * nr_vcpus);
	KTAP_EQ(hits_of(set, fn), N * nr_vcpus);

	/* It begins anew where it was removed. */
	KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
	KTAP_LIB_ERR(kvmi_breakpoints_hits(set, fn, &(uint64_t){ 0 }), ENOENT);
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
	KTAP_EQ(hits_of(set, fn), 0);
	KTAP_EQ(run(kv, set, vm, call_n, fn, 3, 0, 0, 3), 0);
	KTAP_EQ(hits_of(set, fn), 3 * nr_vcpus);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* As at a reset: the VMM has put something else there. */
KTAP_CASE_SMP(written_by_the_vmm, "E8 V3")
{
	enum { N = 10 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + 0x100, first, sum;
	struct kvmi_breakpoints *set;

	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	memcpy(vmm_gpa(vm, fn + PAGE), (void *)called, 64);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	KTAP_LIB_OK(kvmi_breakpoints_refresh(set));
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn + PAGE));
	KTAP_EQ(run(kv, set, vm, call_n, fn + PAGE, N, 0, 0, N), 0);
	first = hits_of(set, fn + PAGE);

	memcpy(vmm_gpa(vm, fn), (void *)other, 64);
	memcpy(vmm_gpa(vm, fn + PAGE), (void *)other, 64);
	sum = checksum(vm, page, 2 * PAGE);
	KTAP_LIB_OK(kvmi_breakpoints_refresh(set));
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, 2 * N), 0);
	KTAP_EQ(run(kv, set, vm, call_n, fn + PAGE, N, 0, 0, 2 * N), 0);
	KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
	KTAP_EQ(hits_of(set, fn + PAGE) - first, N * nr_vcpus);
	/* The INT3s are in none of it. */
	KTAP_EQ(checksum(vm, page, 2 * PAGE), sum);
	tool_check_views(kv);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* While they are executed: none is missed, and the guest never finds an INT3. */
KTAP_CASE_SMP(put_and_taken_away, "E8 V3 V4")
{
	enum { N = 3000, TIMES = 60 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 1), fn = page + 0x100;
	struct kvmi_breakpoints *set;
	uint64_t hits = 0, other_at = page + 0x800;
	int i, n;

	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	/* Else each time the page is made anew. */
	KTAP_LIB_OK(kvmi_breakpoints_count(set, other_at));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, call_n, fn, N, 0);
	/* However late this thread is later on, this one is hit. */
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
	vmm_start_all(vm);
	for (n = 0; !hits_of(set, fn); n++) {
		KTAP_LE(n, TOOL_PATIENCE);
		tool_msleep(1);
	}
	hits = hits_of(set, fn);
	KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
	for (n = 0; n < TIMES; n++) {
		KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
		if (n % 10 == 0)
			tool_msleep(2);
		hits += hits_of(set, fn);
		KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
		/* The page as well. */
		if (n == TIMES / 2)
			KTAP_LIB_OK(kvmi_breakpoints_remove(set, other_at));
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), N);
	KTAP_GE(hits, 1);
	/* There was not one event, so the guest has had no exception either. */
	tool_wait_none(kv, 20);
	tool_check_views(kv);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* An INT3 of the guest's, beside them, is an event as it always is. */
KTAP_CASE(one_of_the_guests, "E8")
{
	static const uint8_t int3_ret[] = { 0xcc, 0xc3 };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + PAGE + 0x100;
	const struct kvmi_ev_breakpoint *bp;
	const struct kvmi_event *ev;
	struct kvmi_breakpoints *set;
	struct kvmi_vcpu_info info;
	struct kvmi_reply reply;
	uint64_t gpa = 0;

	memcpy(vmm_gpa(vm, fn), int3_ret, sizeof(int3_ret));
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	KTAP_LIB_OK(kvmi_breakpoints_count(set, page + 0x100));
	vmm_vcpu_set_entry(vm, 0, call_n, fn, 1, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);
	bp = kvmi_event_breakpoint(ev);
	KTAP_EQ(bp->pc, fn);
	KTAP_EQ(bp->flags, 0);
	KTAP_EQ(bp->gpa, 0);
	KTAP_EQ(kvmi_breakpoints_handle(set, ev, &gpa), 0);
	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	KTAP_LIB_OK(kvmi_event_answer(kv, ev, &reply));
	vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);

	/* What is hidden cannot be skipped: nobody knows its length. */
	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	KTAP_LIB_OK(kvmi_breakpoints_add(set, fn));
	vmm_vcpu_set_entry(vm, 0, call_n, fn, 1, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);
	bp = kvmi_event_breakpoint(ev);
	KTAP_EQ(bp->flags, KVMI_BREAKPOINT_F_SET);
	KTAP_EQ(bp->gpa, fn);
	KTAP_LIB_OK(kvmi_event_answer(kv, ev, &reply));
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
	KTAP_EQ(info.out_bad_replies, 1);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* What is told the kernel, by itself. */
KTAP_CASE(told, "E8 D12")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 1);
	struct kvmi_breakpoint bp = { .size = sizeof(bp), .gpa = page };
	struct kvmi_reset reset = {
		.size = sizeof(reset),
		.what = KVMI_RESET_VIEWS,
	};
	int fd = kvmi_vm_fd(kv);

	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_GET, &bp), ENOENT);
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_CLEAR, &bp), ENOENT);
	bp.flags = ~KVMI_BREAKPOINT_COUNT;
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_SET, &bp), EINVAL);
	bp.flags = KVMI_BREAKPOINT_COUNT;
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_GET, &bp), EINVAL);
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_CLEAR, &bp), EINVAL);
	bp.gpa = GUEST_RAM;
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_SET, &bp), ENXIO);
	bp.gpa = ~0ULL;
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_SET, &bp), ENXIO);
	bp.gpa = page;
	KTAP_OK(ioctl(fd, KVMI_BREAKPOINT_SET, &bp));
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_SET, &bp), EEXIST);
	bp.flags = 0;
	bp.out_hits = 5;
	KTAP_OK(ioctl(fd, KVMI_BREAKPOINT_GET, &bp));
	KTAP_EQ(bp.flags, KVMI_BREAKPOINT_COUNT);
	KTAP_EQ(bp.out_hits, 0);
	KTAP_OK(ioctl(fd, KVMI_RESET, &reset));
	bp.flags = 0;
	KTAP_ERR(ioctl(fd, KVMI_BREAKPOINT_CLEAR, &bp), ENOENT);
	/* A session may end with some. */
	KTAP_OK(ioctl(fd, KVMI_BREAKPOINT_SET, &bp));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Instructions in two pages, of which one has breakpoints. */
KTAP_CASE_SMP(across_pages, "E8 V3")
{
	/* lea 1(%rdi), %rax; ret */
	static const uint8_t code[] = { 0x48, 0x8d, 0x47, 0x01, 0xc3 };
	enum { N = 10 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + PAGE - 2;
	struct kvmi_breakpoints *set;
	int i;

	memcpy(vmm_gpa(vm, fn), code, sizeof(code));
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	for (i = 0; i < 2; i++) {
		/* In the page that it begins in, or in the other. */
		KTAP_LIB_OK(kvmi_breakpoints_add(set, page + i * PAGE + 0x100));
		KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
		KTAP_LIB_OK(kvmi_breakpoints_remove(set,
						    page + i * PAGE + 0x100));
	}
	/* At the instruction itself. */
	KTAP_LIB_OK(kvmi_breakpoints_add(set, fn));
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, N), N * nr_vcpus);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Behind each that does nothing, and behind one that is not among them. */
static const struct nop {
	const char *name;
	uint8_t len, code[12];
} nops[] = {
	{ "nop", 1, { 0x90 } },
	{ "nop 2", 2, { 0x66, 0x90 } },
	{ "nop 3", 3, { 0x0f, 0x1f, 0x00 } },
	{ "nop 4", 4, { 0x0f, 0x1f, 0x40, 0x00 } },
	{ "nop 5", 5, { 0x0f, 0x1f, 0x44, 0x00, 0x00 } },
	{ "nop 6", 6, { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 } },
	{ "nop 7", 7, { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 } },
	{ "nop 8", 8, { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 } },
	{ "nop 9", 9, { 0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 } },
	{ "nop 10", 10, { 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 } },
	{ "nop modrm", 3, { 0x0f, 0x1f, 0xc7 } },
	{ "endbr64", 4, { 0xf3, 0x0f, 0x1e, 0xfa } },
	{ "pause", 2, { 0xf3, 0x90 } },
	{ "xchg", 2, { 0x41, 0x90 } },
};

/* NOP; lea 1(%rdi), %rax; RET */
static void put_nop(struct vmm *vm, uint64_t gpa, const struct nop *nop)
{
	static const uint8_t rest[] = { 0x48, 0x8d, 0x47, 0x01, 0xc3 };

	memcpy(vmm_gpa(vm, gpa), nop->code, nop->len);
	memcpy(vmm_gpa(vm, gpa + nop->len), rest, sizeof(rest));
}

KTAP_CASE_SMP(nops_passed, "E8 V3 V4")
{
	enum { N = 7, NR = sizeof(nops) / sizeof(nops[0]) };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn;
	struct kvmi_breakpoints *set;
	int i;

	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	/* What the VMM writes, nobody is told. */
	for (i = 0; i < NR; i++)
		put_nop(vm, page + i * 32, &nops[i]);
	for (i = 0; i < NR; i++) {
		fn = page + i * 32;
		KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
		KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
		KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
		KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
		KTAP_LIB_OK(kvmi_breakpoints_add(set, fn));
		KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, fn, N), N * nr_vcpus);
		KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
	}
	/* At the end of a page, as much of it as has room. */
	for (i = 0; i < NR; i++) {
		fn = page + 2 * PAGE - nops[i].len - 5;
		put_nop(vm, fn, &nops[i]);
		KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
		KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
		KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
		KTAP_LIB_OK(kvmi_breakpoints_remove(set, fn));
	}
	tool_check_views(kv);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The guest's own TF traps behind what is passed as behind everything. */
static __guest void go_on(__attribute__((unused)) struct guest_regs *regs)
{
}

static __guest uint64_t call_trapped(uint64_t fn)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t before = GUEST_READ(uint64_t, &cpu->count[1]);

	asm volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\t"
		     "call *%0\n\t"
		     "pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq"
		     : : "r" (fn), "D" (1UL) : "rax", "memory", "cc");
	return GUEST_READ(uint64_t, &cpu->count[1]) - before;
}

KTAP_CASE_SMP(traced_by_the_guest, "E8 E6 V3")
{
	static const int at[] = { 0, 5, 9 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t fn = vmm_alloc_pages(vm, 1), traps;
	struct kvmi_breakpoints *set;
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vm->vcpu[i].cpu->handler[1] = go_on;
	put_nop(vm, fn, &nops[4]);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	vmm_vcpu_set_entry(vm, 0, call_trapped, fn, 0, 0);
	traps = vmm_vcpu_run_done(vm, 0);
	KTAP_GE(traps, 6);
	for (i = 0; i < 3; i++) {
		KTAP_LIB_OK(kvmi_breakpoints_count(set, fn + at[i]));
		KTAP_EQ(run(kv, set, vm, call_trapped, fn, 0, 0, 0, traps), 0);
	}
	KTAP_EQ(hits_of(set, fn), 3 * nr_vcpus);
	KTAP_EQ(hits_of(set, fn + 5), 2 * nr_vcpus);
	KTAP_EQ(hits_of(set, fn + 9), nr_vcpus);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* An instruction that goes on where, at the same offset, another page has one. */
KTAP_CASE_SMP(begins_on_the_page_before, "E8 V3")
{
	/* lea 1(%rdi), %rax; ret */
	static const uint8_t code[] = { 0x48, 0x8d, 0x47, 0x01, 0xc3 };
	enum { N = 10 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, 2), fn = page + PAGE - 2;
	struct kvmi_breakpoints *set;

	memcpy(vmm_gpa(vm, fn), code, sizeof(code));
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn + PAGE));
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
	KTAP_EQ(hits_of(set, fn + PAGE), 0);
	/* Its second byte's page has one, too, and the first's. */
	KTAP_LIB_OK(kvmi_breakpoints_count(set, fn));
	KTAP_EQ(run(kv, set, vm, call_n, fn, N, 0, 0, N), 0);
	KTAP_EQ(hits_of(set, fn), N * nr_vcpus);
	KTAP_EQ(hits_of(set, fn + PAGE), 0);
	kvmi_breakpoints_close(set);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Thousands, added and removed; and a session that ends with them in place. */
KTAP_CASE(thousands, "E8 V3 V4 D1")
{
	enum { PAGES = 64, EACH = 64 };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t page = vmm_alloc_pages(vm, PAGES), fn = page + 0x100, sum;
	struct kvmi_breakpoints *set;
	int i;

	memcpy(vmm_gpa(vm, fn), (void *)called, 64);
	sum = checksum(vm, page, PAGES * PAGE);
	KTAP_LIB_OK(kvmi_breakpoints_open(kv, &set));
	for (i = 0; i < PAGES * EACH; i++)
		KTAP_LIB_OK(kvmi_breakpoints_add(set, page + i % PAGES * PAGE +
						      0x100 + i / PAGES * 32));
	KTAP_EQ(run(kv, set, vm, call_n, fn, 5, 0, fn, 5), 5);
	KTAP_EQ(checksum(vm, page, PAGES * PAGE), sum);
	for (i = 1; i < PAGES * EACH; i += 2)
		KTAP_LIB_OK(kvmi_breakpoints_remove(set,
						    page + i % PAGES * PAGE +
						    0x100 + i / PAGES * 32));
	KTAP_EQ(run(kv, set, vm, call_n, fn, 5, 0, fn, 5), 5);
	tool_check_views(kv);
	kvmi_vm_close(kv);
	vmm_vcpu_set_entry(vm, 0, call_n, fn, 5, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 5);
	KTAP_EQ(checksum(vm, page, PAGES * PAGE), sum);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
