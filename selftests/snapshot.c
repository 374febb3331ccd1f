// SPDX-License-Identifier: GPL-2.0-only
/* Snapshots: what the guest has written is put back, and its vCPUs with it. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define RX	(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define PAGES	24
#define ROUNDS	5

/* CPUID, once before and once behind the work. */
#define BEFORE	0x40001000
#define BEHIND	0x40001001

static __guest uint64_t work(uint64_t addr, uint64_t n)
{
	uint64_t i, sum = 0;

	guest_cpuid(BEFORE, 0);
	for (i = 0; i < n; i++) {
		/* Some are written more than once, some to their last byte. */
		GUEST_WRITE(uint64_t, addr + i * PAGE,
			    GUEST_READ(uint64_t, addr + i * PAGE) + 1);
		GUEST_WRITE(uint64_t, addr + i * PAGE + PAGE - 8, i);
		sum += GUEST_READ(uint64_t, addr + i * PAGE);
	}
	guest_cpuid(BEHIND, 0);
	return sum;
}

static __guest uint64_t write_pages(uint64_t addr, uint64_t n, uint64_t val)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		GUEST_WRITE(uint64_t, addr + i * PAGE, val);
	return val;
}

static uint64_t *word(struct vmm *vm, uint64_t gpa)
{
	return vmm_gpa(vm, gpa);
}

static void run(struct vmm *vm, int vcpu, uint64_t addr, uint64_t n, uint64_t val)
{
	vmm_vcpu_set_entry(vm, vcpu, write_pages, addr, n, val);
	KTAP_EQ(vmm_vcpu_run_done(vm, vcpu), val);
}

/* Those that await an answer, by vCPU. */
static struct kvmi_event open_event[GUEST_MAX_VCPUS];

static void at(struct kvmi_vm *kv, uint32_t function)
{
	const struct kvmi_event *ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);

	KTAP_EQ(kvmi_event_cpuid(ev)->function, function);
	open_event[ev->vcpu] = *ev;
}

static void answer(struct kvmi_vm *kv, int vcpu, enum kvmi_action action)
{
	KTAP_LIB_OK(kvmi_event_reply(kv, &open_event[vcpu], action));
}

static uint64_t all_pages(struct kvmi_vm *kv)
{
	struct kvmi_info info;

	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	return info.out_memory / PAGE;
}

/* Each vCPU does its work again and again, and comes but once to the end of it. */
KTAP_CASE_SMP(a_running_vm_is_reset, "V8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, PAGES * nr_vcpus), pages;
	struct kvmi_checkpoint *cp;
	uint64_t *mem;
	int i, k, n;

	mem = malloc(PAGES * nr_vcpus * PAGE);
	KTAP_ASSERT(mem);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		/* Not all have been touched by the guest, or by anybody. */
		for (k = 0; k < PAGES; k += 1 + i)
			*word(vm, addr + (i * PAGES + k) * PAGE) = 1000 * i + k;
		vmm_vcpu_set_entry(vm, i, work, addr + i * PAGES * PAGE, PAGES, 0);
		vmm_vcpu_start(vm, i);
		at(kv, BEFORE);
	}
	memcpy(mem, word(vm, addr), PAGES * nr_vcpus * PAGE);
	KTAP_LIB_OK(kvmi_checkpoint_take(kv, all_pages(kv), &cp));
	for (n = 0; n < ROUNDS; n++) {
		for (i = 0; i < nr_vcpus; i++)
			answer(kv, i, KVMI_ACTION_CONTINUE);
		for (i = 0; i < nr_vcpus; i++)
			at(kv, BEHIND);
		KTAP_NE(memcmp(mem, word(vm, addr), PAGES * nr_vcpus * PAGE), 0);
		KTAP_LIB_OK(kvmi_checkpoint_reset(cp, &pages));
		/* And the stack, the accessed bits of page tables. */
		KTAP_ASSERT(pages >= PAGES * nr_vcpus, "%llu",
			    (unsigned long long)pages);
		KTAP_EQ(memcmp(mem, word(vm, addr), PAGES * nr_vcpus * PAGE), 0);
		tool_check_views(kv);
		for (i = 0; i < nr_vcpus; i++) {
			answer(kv, i, KVMI_ACTION_RETRY);
			at(kv, BEFORE);
		}
	}
	KTAP_LIB_OK(kvmi_checkpoint_drop(cp));
	for (i = 0; i < nr_vcpus; i++)
		answer(kv, i, KVMI_ACTION_CONTINUE);
	for (i = 0; i < nr_vcpus; i++)
		at(kv, BEHIND);
	for (i = 0; i < nr_vcpus; i++)
		answer(kv, i, KVMI_ACTION_CONTINUE);
	for (i = 0; i < nr_vcpus; i++) {
		uint64_t sum = 0;

		for (k = 0; k < PAGES; k++)
			sum += mem[(i * PAGES + k) * PAGE / 8] + 1;
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), sum);
	}
	free(mem);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static uint32_t take(struct kvmi_vm *kv, uint64_t max)
{
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, RX, &view));
	KTAP_LIB_OK(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_TAKE, max, NULL));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	return view;
}

static struct kvmi_snapshot snapshot(struct kvmi_vm *kv, uint32_t view,
				     enum kvmi_snapshot_op op)
{
	struct kvmi_snapshot s;

	KTAP_LIB_OK(kvmi_snapshot(kv, view, op, 0, &s));
	return s;
}

static void reset(struct kvmi_vm *kv, uint32_t view, uint64_t *done)
{
	struct kvmi_snapshot s;

	KTAP_LIB_OK(kvmi_vm_pause(kv));
	s = snapshot(kv, view, KVMI_SNAPSHOT_RESET);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	if (done)
		*done = s.out_done;
}

/* All vCPUs write the same pages at the same time: it is kept once, as it was. */
KTAP_CASE_SMP(the_same_pages, "V8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, PAGES);
	uint32_t view = take(kv, all_pages(kv));
	struct kvmi_snapshot s;
	int i, n;

	for (n = 0; n < ROUNDS; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, write_pages, addr, PAGES, i + 1);
			vmm_vcpu_start(vm, i);
		}
		for (i = 0; i < nr_vcpus; i++)
			vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
		s = snapshot(kv, view, KVMI_SNAPSHOT_QUERY);
		KTAP_ASSERT(s.out_pages >= PAGES && s.out_pages < 4 * PAGES);
		KTAP_EQ(s.out_flags, 0);
		for (i = 0; i < PAGES; i++)
			KTAP_NE(*word(vm, addr + i * PAGE), 0);
		reset(kv, view, NULL);
		for (i = 0; i < PAGES; i++)
			KTAP_EQ(*word(vm, addr + i * PAGE), 0);
		tool_check_views(kv);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A page that is put back is logged as dirty, and no other one. */
KTAP_CASE(dirty_logging, "V8 V7")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, 2 * PAGES), gfn, *log, done;
	uint32_t view = take(kv, all_pages(kv));
	int i, n;

	for (n = 0; n < 3; n++) {
		run(vm, 0, addr, PAGES, 7);
		/* The pages are write-protected by KVM, or are not. */
		if (n == 1)
			vmm_slot_set_flags(vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
		if (n)
			free(vmm_slot_dirty_log(vm, 0));
		reset(kv, view, &done);
		KTAP_ASSERT(done >= PAGES);
		for (i = 0; i < PAGES; i++)
			KTAP_EQ(*word(vm, addr + i * PAGE), 0);
		if (!n)
			continue;
		log = vmm_slot_dirty_log(vm, 0);
		for (i = 0; i < 2 * PAGES; i++) {
			gfn = addr / PAGE + i;
			KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, i < PAGES);
		}
		free(log);
		tool_check_views(kv);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* More than may be kept: said at the reset, and nothing is half done. */
KTAP_CASE(too_many_pages, "V8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, PAGES);
	uint32_t view = take(kv, PAGES / 2);
	struct kvmi_snapshot s;
	int i;

	run(vm, 0, addr, PAGES, 9);
	s = snapshot(kv, view, KVMI_SNAPSHOT_QUERY);
	KTAP_EQ(s.out_pages, PAGES / 2);
	KTAP_EQ(s.out_flags, KVMI_SNAPSHOT_F_FULL);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_RESET, 0, NULL),
		     EOVERFLOW);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	KTAP_EQ(*word(vm, addr), 9);
	snapshot(kv, view, KVMI_SNAPSHOT_DROP);
	KTAP_EQ(*word(vm, addr), 9);
	/* A new one, on the same view. */
	KTAP_LIB_OK(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_TAKE, 2 * PAGES, NULL));
	/* It misses nothing that the guest was let write to under the first. */
	run(vm, 0, addr, PAGES, 5);
	reset(kv, view, NULL);
	for (i = 0; i < PAGES; i++)
		KTAP_EQ(*word(vm, addr + i * PAGE), 9);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(what_is_refused, "V8")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, PAGES);
	uint32_t view = take(kv, PAGES), rw;
	struct kvmi_snapshot s = { .size = sizeof(s), .view = view };
	int fd = kvmi_vm_fd(kv);

	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_TAKE, 1, NULL), EBUSY);
	/* Some vCPU may run. */
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_RESET, 0, NULL), EBUSY);
	KTAP_LIB_OK(kvmi_vcpu_pause(kv, 0));
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_RESET, 0, NULL), EBUSY);
	KTAP_LIB_OK(kvmi_vcpu_resume(kv, 0));
	KTAP_LIB_ERR(kvmi_snapshot(kv, 0, KVMI_SNAPSHOT_TAKE, 1, NULL), EINVAL);
	KTAP_LIB_ERR(kvmi_snapshot(kv, view + 1, KVMI_SNAPSHOT_TAKE, 1, NULL), ENOENT);
	KTAP_LIB_ERR(kvmi_snapshot(kv, view + 1, KVMI_SNAPSHOT_RESET, 0, NULL), ENOENT);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &rw));
	KTAP_LIB_ERR(kvmi_snapshot(kv, rw, KVMI_SNAPSHOT_TAKE, 1, NULL), EINVAL);
	KTAP_LIB_ERR(kvmi_snapshot(kv, rw, KVMI_SNAPSHOT_QUERY, 0, NULL), ENOENT);
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_TAKE, 0, NULL), EINVAL);
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_QUERY, 1, NULL), EINVAL);
	KTAP_ERR(ioctl(fd, KVMI_SNAPSHOT, &s), EINVAL);
	s.op = KVMI_SNAPSHOT_QUERY + 1;
	KTAP_ERR(ioctl(fd, KVMI_SNAPSHOT, &s), EINVAL);
	s.op = KVMI_SNAPSHOT_QUERY;
	s.flags = 1;
	KTAP_ERR(ioctl(fd, KVMI_SNAPSHOT, &s), EINVAL);
	s.flags = 0;
	s.pad = 1;
	KTAP_ERR(ioctl(fd, KVMI_SNAPSHOT, &s), EINVAL);

	/* Rights that were set are the tool's. */
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, addr / PAGE, 1, RX));
	vmm_vcpu_set_entry(vm, 0, write_pages, addr, 2, 5);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, tool_wait(kv, KVMI_EVENT_ACCESS), KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 5);
	tool_wait_none(kv, 20);
	reset(kv, view, NULL);
	KTAP_EQ(*word(vm, addr), 5);
	KTAP_EQ(*word(vm, addr + PAGE), 0);

	/* With a snapshot in place, a view goes as any other. */
	KTAP_LIB_OK(kvmi_view_destroy(kv, view));
	KTAP_LIB_ERR(kvmi_snapshot(kv, view, KVMI_SNAPSHOT_QUERY, 0, NULL), ENOENT);
	run(vm, 1, addr, PAGES, 6);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A write to two pages: one is stepped over in the kernel, the other is kept. */
KTAP_CASE_SMP(beside_watched_bytes, "V8 V9")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, 2 * nr_vcpus), at;
	uint32_t view = take(kv, all_pages(kv));
	int i, n;

	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		at = addr + 2 * i * PAGE;
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, at / PAGE, 1, RX));
		KTAP_LIB_OK(kvmi_view_watch_bytes(kv, view, at, 8));
	}
	for (n = 0; n < ROUNDS; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_set_entry(vm, i, write_pages,
					   addr + (2 * i + 1) * PAGE - 4, 1, ~0ULL);
			vmm_vcpu_start(vm, i);
		}
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
			KTAP_EQ(*word(vm, addr + (2 * i + 1) * PAGE), 0xffffffff);
		}
		tool_wait_none(kv, 0);
		tool_check_views(kv);
		reset(kv, view, NULL);
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_EQ(*word(vm, addr + (2 * i + 1) * PAGE), 0);
			KTAP_EQ(*word(vm, addr + (2 * i + 1) * PAGE - 8),
				0xffffffff00000000);
		}
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static void expect_write(struct vmm *vm, struct kvmi_vm *kv, uint64_t addr)
{
	const struct kvmi_event *ev;

	*word(vm, addr) = 0;
	vmm_vcpu_set_entry(vm, 0, write_pages, addr, 1, 8);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->gpa, addr);
	KTAP_LIB_OK(kvmi_event_reply(kv, ev, KVMI_ACTION_CONTINUE));
	vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
	KTAP_EQ(*word(vm, addr), 8);
}

/* What a tool says of a page that the guest has written to outlives the reset. */
KTAP_CASE(beside_what_a_tool_sets, "V8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t addr = vmm_alloc_pages(vm, 3);
	uint32_t view = take(kv, all_pages(kv)), access;
	int i;

	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	run(vm, 0, addr, 3, 7);
	/* One has rights, of one bytes are watched, one is not looked at. */
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, addr / PAGE, 1, RX));
	KTAP_LIB_OK(kvmi_view_watch_bytes(kv, view, addr + PAGE, 8));
	for (i = 0; i < 2; i++) {
		reset(kv, view, NULL);
		/* They are not kept any more. */
		KTAP_EQ(*word(vm, addr), i * 8);
		KTAP_EQ(*word(vm, addr + PAGE), i * 8);
		KTAP_EQ(*word(vm, addr + 2 * PAGE), 0);
		KTAP_LIB_OK(kvmi_view_get_access(kv, view, addr / PAGE, &access));
		KTAP_EQ(access, RX);
		expect_write(vm, kv, addr);
		expect_write(vm, kv, addr + PAGE);
		run(vm, 0, addr + 2 * PAGE, 1, 7);
		tool_check_views(kv);
	}
	/* What it has given the guest ends with it. */
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, addr / PAGE + 2, &access));
	KTAP_EQ(access, KVMI_ACCESS_RWX);
	snapshot(kv, view, KVMI_SNAPSHOT_DROP);
	for (i = 0; i < 3; i++) {
		KTAP_LIB_OK(kvmi_view_get_access(kv, view, addr / PAGE + i,
						 &access));
		KTAP_EQ(access, RX);
	}
	tool_check_views(kv);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Taken, reset and dropped, or left behind by a tool that goes, while guests write. */
KTAP_CASE_SMP(at_any_moment, "V8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_checkpoint *cp;
	struct kvmi_vm *kv;
	uint32_t view;
	int n;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < 3; n++) {
		kv = tool_attach(vm);
		view = take(kv, all_pages(kv));
		vmm_worker_check(vm, 1);
		if (n == 1) {
			snapshot(kv, view, KVMI_SNAPSHOT_DROP);
			KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, 0));
		} else if (n == 2) {
			KTAP_LIB_OK(kvmi_view_destroy(kv, view));
			KTAP_LIB_OK(kvmi_checkpoint_take(kv, all_pages(kv), &cp));
			vmm_worker_check(vm, 1);
			KTAP_LIB_OK(kvmi_checkpoint_drop(cp));
		}
		tool_check_views(kv);
		vmm_worker_check(vm, 1);
		kvmi_vm_close(kv);
	}
	vmm_worker_stop(vm);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
