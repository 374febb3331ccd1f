// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kvmi costs, in executed instructions: for a host with one CPU whose TSC
 * counts them (QEMU with -icount). The guest reads the TSC around one
 * instruction; so whatever host, VMM and tool execute meanwhile is in the figure.
 * Medians: a timer interrupt now and then is not in them.
 *
 * Begins without kvmi.ko, and loads it from $KVMI_KO (or /rig/kvmi.ko).
 */
#include <fcntl.h>
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
	printf("bench: %s %llu instructions", name, (unsigned long long)value);
	if (reference)
		printf(" (reference %s %llu, ratio %.2f)", reference,
		       (unsigned long long)ref, (double)value / ref);
	printf("\n");
	fflush(stdout);
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

static __guest uint64_t time_out(uint64_t *samples, uint64_t n)
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

static __guest uint64_t touch(uint64_t gpa, uint64_t pages)
{
	uint64_t i;

	for (i = 0; i < pages; i++)
		GUEST_WRITE(uint64_t, gpa + i * PAGE, i);
	return pages;
}

/* ---- VMs -------------------------------------------------------------------------- */

struct bench_vm {
	struct vmm *vm;
	uint64_t samples;	/* gpa */
	uint64_t target;	/* gpa of two pages to write to */
};

static struct bench_vm make_vm(void)
{
	struct bench_vm b = { .vm = vmm_create(1, 0) };

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

static void load_module(void)
{
	const char *path = getenv("KVMI_KO");
	int fd = open(path ? path : "/rig/kvmi.ko", O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) {
		perror("bench: cannot load kvmi.ko");
		exit(1);
	}
	close(fd);
}

int main(void)
{
	uint64_t nomodule, attached, out, futex, efd, yield, poll_cost, copy, v;
	struct bench_vm b = make_vm(), other;
	struct kvmi_vm *kv;

	nomodule = cpuid_cost(&b);
	figure("exit_cpuid_nomodule", nomodule, NULL, 0);
	begin(&b, time_out);
	for (int i = 0; i < ROUNDS; i++) {
		KTAP_EQ(vmm_vcpu_wait_ucall(b.vm, 0, -1), GUEST_SYNC);
		vmm_vcpu_start(b.vm, 0);
	}
	out = end(&b);
	figure("exit_ucall_userspace", out, "exit_cpuid_nomodule", nomodule);
	futex = floor_cost(FUTEX);
	efd = floor_cost(EVENTFD);
	yield = floor_cost(YIELD);
	figure("floor_futex", futex, NULL, 0);
	figure("floor_eventfd", efd, NULL, 0);
	figure("floor_yield", yield, NULL, 0);

	load_module();
	everything(&b);
	figure("exit_cpuid_loaded", cpuid_cost(&b), "exit_cpuid_nomodule",
	       nomodule);

	other = make_vm();
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

	figure("exit_minimal", minimal_cost(&b), "exit_cpuid_nomodule",
	       nomodule);
	figure("event_cpuid_async", async_cost(&b), "exit_cpuid_attached",
	       attached);
	figure("event_cpuid_sync_wait", sync_cost(&b, WAIT), "floor_futex",
	       futex);
	poll_cost = sync_cost(&b, POLL);
	figure("event_cpuid_sync_poll", poll_cost, "floor_eventfd", efd);
	figure("event_cpuid_sync_yield", sync_cost(&b, YIELDS), "floor_yield",
	       yield);
	figure("event_write_sync_poll", write_switch_cost(&b),
	       "event_cpuid_sync_poll", poll_cost);
	figure("event_write_faststep", write_faststep_cost(&b),
	       "event_cpuid_sync_poll", poll_cost);

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
	vmm_destroy(b.vm);
	return 0;
}
