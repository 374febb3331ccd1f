// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host does with a guest's memory while that runs on views: swaps it out and
 * in, moves it to another node, shares it with a child, makes it large and small, logs
 * who writes to it, takes its large pages from what executes. The guest finds all that
 * it has written, and so does the VMM.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#include "lib/tool.h"

#define PAGE		4096UL
#define SLOT		1
#define SLOT_GPA	0x10000000UL
#define SLOT_PAGES	1024UL
#define SLOT_SIZE	(SLOT_PAGES * PAGE)
/* Of these, each vCPU has every 32nd from the one of its number on. */
#define STEP		32UL
/* ... and this one nobody. */
#define FREE		(STEP - 1)
#define RWX		KVMI_ACCESS_RWX
#define RX		(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define ROUNDS		ktap_times(24, 8)

#define KVM_PARAMETERS	"/sys/module/kvm/parameters/"
#define SWAP		"/dev/zram0"
#define PM_SOFT_DIRTY	(1ULL << 55)

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

struct host {
	struct vmm *vm;
	struct kvmi_vm *kv;
	char *mem;
	volatile uint64_t *shared;	/* the guest is to stop; how far each vCPU is */
	uint32_t view[3];
	int nr_vcpus;
	uint64_t seen;			/* what had to happen at all has happened */
	pid_t child;
	bool logs;
};

/* What is executed in the slot's pages. */
__asm__(".text\n"
	".globl more, more_end\n"
	"more:	lea 1(%rdi), %rax\n"
	"	ret\n"
	"more_end:\n");
extern const char more[], more_end[];
#define CODE		64
#define CODE_LEN	((uintptr_t)more_end - (uintptr_t)more)

/* Counts up in each of its pages, and finds there what it has left. */
static __guest uint64_t count_up(uint64_t first, uint64_t id, volatile uint64_t *shared)
{
	uint64_t n = 0, i, page, sum;

	while (!shared[0]) {
		for (i = 0; i < SLOT_PAGES / STEP; i++) {
			page = first + i * STEP * PAGE;
			GUEST_EQ(GUEST_READ(uint64_t, page), n);
			asm volatile("call *%2"
				     : "=a" (sum) : "D" (n), "r" (page + CODE)
				     : "memory");
			GUEST_WRITE(uint64_t, page, sum);
		}
		shared[1 + id] = ++n;
	}
	return n;
}

static void write_file(const char *path, const char *what)
{
	int fd = KTAP_OK(open(path, O_WRONLY));

	KTAP_EQ(write(fd, what, strlen(what)), (ssize_t)strlen(what));
	close(fd);
}

/* A number of /proc/self/status, in kB. */
static uint64_t status_kb(const char *name)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kb = 0;
	size_t len = strlen(name);
	char line[256];

	KTAP_ASSERT(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ':')
			kb = strtoull(line + len + 1, NULL, 10);
	fclose(f);
	return kb;
}

/* Until each vCPU has got through all of its pages @rounds times more. */
static void wait_rounds(struct host *h, uint64_t rounds)
{
	uint64_t from[GUEST_MAX_VCPUS];
	int i, ms = 0;

	for (i = 0; i < h->nr_vcpus; i++)
		from[i] = h->shared[1 + i];
	for (i = 0; i < h->nr_vcpus; i++)
		/* The one that it is in has begun before. */
		while (h->shared[1 + i] < from[i] + rounds + 1) {
			KTAP_ASSERT(vmm_vcpu_running(h->vm, i), "%s",
				    vmm_vcpu_why(h->vm, i));
			KTAP_ASSERT(ms < TOOL_PATIENCE);
			tool_msleep(1);
			ms++;
		}
}

static void host_begin(struct host *h, int nr_vcpus, int advice)
{
	uint64_t page, gpa;
	int i;

	*h = (struct host){ .nr_vcpus = nr_vcpus };
	h->vm = vmm_create(nr_vcpus, 0);
	h->mem = vmm_slot_add(h->vm, SLOT, SLOT_GPA, SLOT_SIZE, 0);
	KTAP_OK(madvise(h->mem, SLOT_SIZE, advice));
	for (page = 0; page < SLOT_PAGES; page++)
		if (page % STEP < (uint64_t)nr_vcpus)
			memcpy(h->mem + page * PAGE + CODE, more, CODE_LEN);
	gpa = vmm_alloc_pages(h->vm, 1);
	h->shared = vmm_gpa(h->vm, gpa);
	h->kv = tool_attach(h->vm);
	/* One without differences, and one that has some writes stepped over. */
	KTAP_LIB_OK(kvmi_view_create(h->kv, RWX, &h->view[0]));
	KTAP_LIB_OK(kvmi_view_create(h->kv, RWX, &h->view[1]));
	h->view[2] = KVMI_VIEW_DEFAULT;
	for (page = 0; page < SLOT_PAGES; page += 8 * STEP)
		KTAP_LIB_OK(kvmi_view_set_access(h->kv, h->view[1],
						 SLOT_GPA / PAGE + page, nr_vcpus,
						 RX));
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(h->vm, i, count_up, SLOT_GPA + i * PAGE, i, gpa);
		vmm_vcpu_start(h->vm, i);
	}
}

static void host_end(struct host *h)
{
	uint64_t n, page;
	int i;

	h->shared[0] = 1;
	tool_check_views(h->kv);
	for (i = 0; i < h->nr_vcpus; i++) {
		n = vmm_vcpu_wait_done(h->vm, i, TOOL_PATIENCE);
		for (page = i; page < SLOT_PAGES; page += STEP)
			KTAP_EQ(*(uint64_t *)(h->mem + page * PAGE), n);
	}
	tool_check_views(h->kv);
	kvmi_vm_close(h->kv);
	vmm_destroy(h->vm);
}

/* The host does something, time and again, and the guest is on another view each time. */
static void host_goes_on(struct host *h, void (*act)(struct host *h, int n))
{
	int n;

	for (n = 0; n < ROUNDS; n++) {
		KTAP_LIB_OK(kvmi_view_switch(h->kv, KVMI_VCPU_ALL, h->view[n % 3]));
		wait_rounds(h, 1);
		act(h, n);
		tool_check_views(h->kv);
	}
	wait_rounds(h, 1);
}

/* ---- pages go and come back ----------------------------------------------------------- */

static void swap_on(void)
{
	/* Of a case that has failed. */
	swapoff(SWAP);
	KTAP_OK(swapon(SWAP, 0));
}

/* What was used just now stays: at first, it is only noted that it was not. */
static void page_out(void *mem, size_t size, bool twice)
{
	KTAP_OK(madvise(mem, size, MADV_PAGEOUT));
	if (twice)
		KTAP_OK(madvise(mem, size, MADV_PAGEOUT));
}

/* By turns what the guest has let lie, and all that it has. */
static void swap_out(struct host *h, int n)
{
	bool all = n & 1;

	if (all)
		KTAP_LIB_OK(kvmi_vm_pause(h->kv));
	page_out(h->mem, SLOT_SIZE, all);
	/* With the vCPUs' stacks and tables. */
	if (n % 4 == 3)
		page_out(vmm_gpa(h->vm, 0), GUEST_RAM, all);
	/* The guest may have them in again soon. */
	h->seen += status_kb("VmSwap") > 0;
	if (all)
		KTAP_LIB_OK(kvmi_vm_resume(h->kv));
}

KTAP_CASE_SMP(swapped, "V1 V7")
{
	struct host h;

	swap_on();
	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	host_goes_on(&h, swap_out);
	KTAP_GE(h.seen, (uint64_t)ROUNDS / 4);
	host_end(&h);
	KTAP_OK(swapoff(SWAP));
}

static bool has_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

/* Those of the guest that are where it was asked for. */
static uint64_t move_all(struct host *h, int node)
{
	void *pages[SLOT_PAGES];
	int nodes[SLOT_PAGES], status[SLOT_PAGES];
	uint64_t i, moved = 0;

	for (i = 0; i < SLOT_PAGES; i++) {
		pages[i] = h->mem + i * PAGE;
		nodes[i] = node;
	}
	/* Of some it may say that they are busy. */
	KTAP_ASSERT(syscall(SYS_move_pages, 0, SLOT_PAGES, pages, nodes, status,
			    MPOL_MF_MOVE) >= 0, "%s", strerror(errno));
	for (i = 0; i < SLOT_PAGES; i++)
		moved += status[i] == node;
	return moved;
}

static void move(struct host *h, int n)
{
	h->seen += move_all(h, n & 1) >= SLOT_PAGES / STEP / 2;
}

KTAP_CASE_SMP(moved_to_another_node, "V1 V7")
{
	struct host h;

	if (!has_nodes())
		ktap_skip("the host has one node");
	host_begin(&h, nr_vcpus, MADV_NOHUGEPAGE);
	host_goes_on(&h, move);
	KTAP_GE(h.seen, (uint64_t)ROUNDS / 4);
	host_end(&h);
}

/* ---- pages are shared ------------------------------------------------------------------- */

/* Each page that is written to is copied as long as there is a child. */
static void have_child(struct host *h, int n)
{
	if (h->child) {
		kill(h->child, SIGKILL);
		KTAP_EQ(waitpid(h->child, NULL, 0), h->child);
		h->child = 0;
	}
	if (n & 1)
		return;
	h->child = KTAP_OK(fork());
	if (!h->child)
		for (;;)
			pause();
}

KTAP_CASE_SMP(shared_with_a_child, "V1 V7")
{
	struct host h;

	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	host_goes_on(&h, have_child);
	have_child(&h, 1);
	host_end(&h);
}

/* ---- large and small --------------------------------------------------------------------- */

static void collapse(struct host *h, int n)
{
	if (n & 1) {
		/* The rest stays, in small pages. */
		KTAP_OK(madvise(h->mem + FREE * PAGE, PAGE, MADV_DONTNEED));
		return;
	}
	KTAP_OK(madvise(h->mem, SLOT_SIZE, MADV_HUGEPAGE));
	/* The guest may be in the way: not each time. */
	h->seen += !madvise(h->mem, SLOT_SIZE, MADV_COLLAPSE);
}

KTAP_CASE_SMP(collapsed_and_split, "V1 V7")
{
	struct host h;

	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	host_goes_on(&h, collapse);
	/* Linux has it since 6.1. */
	KTAP_GE(h.seen, 1);
	host_end(&h);
}

/* What is executed is to be in small pages, and then again in large ones. */
static void forbid_large(struct host *h, int n)
{
	write_file(KVM_PARAMETERS "nx_huge_pages", n & 1 ? "off" : "force");
	collapse(h, 0);
}

KTAP_CASE_SMP(no_large_pages_to_execute, "V1 V7")
{
	struct host h;

	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	/* KVM gives large pages another try all the time. */
	write_file(KVM_PARAMETERS "nx_huge_pages_recovery_ratio", "1");
	write_file(KVM_PARAMETERS "nx_huge_pages_recovery_period_ms", "20");
	host_goes_on(&h, forbid_large);
	write_file(KVM_PARAMETERS "nx_huge_pages", "force");
	host_goes_on(&h, collapse);
	write_file(KVM_PARAMETERS "nx_huge_pages", "off");
	write_file(KVM_PARAMETERS "nx_huge_pages_recovery_period_ms", "0");
	write_file(KVM_PARAMETERS "nx_huge_pages_recovery_ratio", "60");
	host_end(&h);
}

/* ---- who writes is known ------------------------------------------------------------------- */

/* The host's own: what was written to since it was asked last. */
static void soft_dirty(struct host *h, int n)
{
	int fd = KTAP_OK(open("/proc/self/pagemap", O_RDONLY));
	uint64_t entry, page;

	if (n) {
		/* Meanwhile each page was written to. */
		for (page = 0; page < SLOT_PAGES; page++) {
			KTAP_EQ(pread(fd, &entry, 8,
				      ((uintptr_t)h->mem / PAGE + page) * 8), 8);
			if (page % STEP < (uint64_t)h->nr_vcpus)
				KTAP_ASSERT(entry & PM_SOFT_DIRTY, "page %u",
					    (unsigned int)page);
			else
				h->seen += !(entry & PM_SOFT_DIRTY);
		}
	}
	close(fd);
	write_file("/proc/self/clear_refs", "4");
}

KTAP_CASE_SMP(soft_dirty_bits, "V1 V7")
{
	struct host h;

	host_begin(&h, nr_vcpus, MADV_NOHUGEPAGE);
	host_goes_on(&h, soft_dirty);
	KTAP_GE(h.seen, SLOT_PAGES / 2);
	host_end(&h);
}

/* KVM's, on and off. */
static void dirty_log(struct host *h, int n)
{
	uint64_t *log, page;

	if (h->logs) {
		log = vmm_slot_dirty_log(h->vm, SLOT);
		for (page = 0; page < SLOT_PAGES; page++)
			if (page % STEP < (uint64_t)h->nr_vcpus)
				KTAP_ASSERT(log[page / 64] >> (page % 64) & 1,
					    "page %u", (unsigned int)page);
			else
				h->seen += !(log[page / 64] >> (page % 64) & 1);
		free(log);
	}
	/* Two rounds with one log, one without. */
	h->logs = n % 3 != 2;
	if (n % 3 != 1)
		vmm_slot_set_flags(h->vm, SLOT,
				   h->logs ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

KTAP_CASE_SMP(dirty_logs, "V1 V7")
{
	struct host h;

	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	host_goes_on(&h, dirty_log);
	KTAP_GE(h.seen, SLOT_PAGES / 2);
	host_end(&h);
}

/* ---- the guest leaves ---------------------------------------------------------------------- */

/* What was written to since it was asked last. Return: pages. */
static uint64_t copy_dirty(struct host *h, int slot, char *to)
{
	uint64_t *log = vmm_slot_dirty_log(h->vm, slot), n = 0, page;
	const char *from = h->vm->slot[slot].mem;

	for (page = 0; page < h->vm->slot[slot].size / PAGE; page++) {
		if (!(log[page / 64] >> (page % 64) & 1))
			continue;
		memcpy(to + page * PAGE, from + page * PAGE, PAGE);
		n++;
	}
	free(log);
	return n;
}

static void compare(struct host *h, int slot, const char *with)
{
	const char *mem = h->vm->slot[slot].mem;
	uint64_t page;

	for (page = 0; page < h->vm->slot[slot].size / PAGE; page++)
		KTAP_ASSERT(!memcmp(mem + page * PAGE, with + page * PAGE, PAGE),
			    "page %#llx of slot %d", (unsigned long long)page, slot);
}

/*
 * As a VMM does that migrates its guest: all of it, what has changed meanwhile, and the
 * rest when it stands. What was written to by way of a view and is not in the log is
 * what another host would not have.
 */
KTAP_CASE_SMP(migrated, "V1 V7")
{
	uint64_t copied = 0;
	char *copy[SLOT + 1];
	struct host h;
	int i, n, s;

	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	for (s = 0; s <= SLOT; s++) {
		copy[s] = malloc(h.vm->slot[s].size);
		KTAP_ASSERT(copy[s]);
	}
	for (i = 0; i < 3; i++) {
		wait_rounds(&h, 1);
		for (s = 0; s <= SLOT; s++) {
			vmm_slot_set_flags(h.vm, s, KVM_MEM_LOG_DIRTY_PAGES);
			memcpy(copy[s], h.vm->slot[s].mem, h.vm->slot[s].size);
		}
		for (n = 0; n < ROUNDS / 2; n++) {
			KTAP_LIB_OK(kvmi_view_switch(h.kv, KVMI_VCPU_ALL,
						     h.view[n % 3]));
			for (s = 0; s <= SLOT; s++)
				copied += copy_dirty(&h, s, copy[s]);
			tool_check_views(h.kv);
			/* What runs on, and what has stood meanwhile. */
			if (n & 1)
				wait_rounds(&h, 1);
		}
		vmm_stop_all(h.vm);
		for (s = 0; s <= SLOT; s++) {
			copied += copy_dirty(&h, s, copy[s]);
			compare(&h, s, copy[s]);
			/* It stays, after all. */
			vmm_slot_set_flags(h.vm, s, 0);
		}
		vmm_start_all(h.vm);
	}
	KTAP_GE(copied, SLOT_PAGES / STEP);
	host_end(&h);
	for (s = 0; s <= SLOT; s++)
		free(copy[s]);
}

/* ---- all of it ---------------------------------------------------------------------------- */

static void anything(struct host *h, int n)
{
	switch (n % 6) {
	case 0:
		swap_out(h, 3);
		break;
	case 1:
		collapse(h, 0);
		break;
	case 2:
		if (has_nodes())
			move_all(h, n / 6 & 1);
		break;
	case 3:
		have_child(h, 0);
		break;
	case 4:
		collapse(h, 1);
		write_file("/proc/self/clear_refs", "4");
		break;
	case 5:
		have_child(h, 1);
		break;
	}
	if (!(n & 1))
		dirty_log(h, n / 2);
}

KTAP_CASE_SMP_TIME(all_of_it, "V1 V7", 180)
{
	struct host h;
	int i;

	swap_on();
	host_begin(&h, nr_vcpus, MADV_HUGEPAGE);
	for (i = 0; i < 2; i++)
		host_goes_on(&h, anything);
	have_child(&h, 1);
	host_end(&h);
	KTAP_OK(swapoff(SWAP));
}

/* ---- the guest's own map ------------------------------------------------------------------- */

static __guest uint64_t read_it(uint64_t addr)
{
	return GUEST_READ(uint64_t, addr);
}

static __guest uint64_t write_it(uint64_t addr, uint64_t value)
{
	GUEST_WRITE(uint64_t, addr, value);
	return GUEST_READ(uint64_t, addr);
}

/* Is there nothing but the VMM's devices? */
static void no_memory(struct host *h, int vcpu, const void *fn, uint64_t gpa)
{
	vmm_vcpu_set_entry(h->vm, vcpu, fn, gpa, 7, 0);
	KTAP_EQ(vmm_vcpu_run(h->vm, vcpu), KVM_EXIT_MMIO);
	KTAP_EQ(h->vm->vcpu[vcpu].run->mmio.phys_addr, gpa);
}

static void memory(struct host *h, int vcpu, const void *fn, uint64_t gpa, uint64_t value)
{
	vmm_vcpu_set_entry(h->vm, vcpu, fn, gpa, value, 0);
	KTAP_EQ(vmm_vcpu_run_done(h->vm, vcpu), value);
}

/* Slots come, go, move, and may only be read; around them are holes. */
KTAP_CASE_SMP(slots_change, "V1 V7")
{
	struct host h = { .nr_vcpus = nr_vcpus };
	uint64_t *mem, to = SLOT_GPA + SLOT_SIZE;
	int i, n;

	h.vm = vmm_create(nr_vcpus, 0);
	h.kv = tool_attach(h.vm);
	KTAP_LIB_OK(kvmi_view_create(h.kv, RWX, &h.view[0]));
	KTAP_LIB_OK(kvmi_view_create(h.kv, RWX, &h.view[1]));
	h.view[2] = KVMI_VIEW_DEFAULT;
	for (n = 0; n < 6; n++) {
		KTAP_LIB_OK(kvmi_view_switch(h.kv, KVMI_VCPU_ALL, h.view[n % 3]));
		mem = vmm_slot_add(h.vm, SLOT, SLOT_GPA, SLOT_SIZE, 0);
		/* What it must not write to is stepped over, but not where nothing is. */
		KTAP_LIB_OK(kvmi_view_set_access(h.kv, h.view[1], SLOT_GPA / PAGE, 4,
						 RX));
		for (i = 0; i < nr_vcpus; i++) {
			memory(&h, i, write_it, SLOT_GPA + i * PAGE, 100 + n);
			KTAP_EQ(mem[i * 512], 100 + n);
			no_memory(&h, i, read_it, to + i * PAGE);
			no_memory(&h, i, write_it, to + i * PAGE);
		}
		tool_check_views(h.kv);
		vmm_slot_move(h.vm, SLOT, to);
		KTAP_LIB_OK(kvmi_view_set_access(h.kv, h.view[1], to / PAGE, 4, RX));
		for (i = 0; i < nr_vcpus; i++) {
			no_memory(&h, i, read_it, SLOT_GPA + i * PAGE);
			memory(&h, i, read_it, to + i * PAGE, 100 + n);
			memory(&h, i, write_it, to + i * PAGE, 200 + n);
		}
		tool_check_views(h.kv);
		vmm_slot_delete(h.vm, SLOT);
		for (i = 0; i < nr_vcpus; i++)
			no_memory(&h, i, read_it, to + i * PAGE);
		tool_check_views(h.kv);

		mem = vmm_slot_add(h.vm, SLOT, SLOT_GPA, SLOT_SIZE, KVM_MEM_READONLY);
		for (i = 0; i < nr_vcpus; i++) {
			mem[i * 512] = 300 + n;
			memory(&h, i, read_it, SLOT_GPA + i * PAGE, 300 + n);
			no_memory(&h, i, write_it, SLOT_GPA + i * PAGE);
			KTAP_EQ(mem[i * 512], 300 + n);
		}
		tool_check_views(h.kv);
		vmm_slot_delete(h.vm, SLOT);
	}
	kvmi_vm_close(h.kv);
	vmm_destroy(h.vm);
}

KTAP_MAIN(ktap_need_kvmi)
