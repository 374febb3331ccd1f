// SPDX-License-Identifier: GPL-2.0-only
/* Views that show other pages: of the guest, and kvmi's own. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define RWX	KVMI_ACCESS_RWX
#define RX	(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define SLOT	0x10000000UL
/* Within what the guest maps, and no memory. */
#define BEYOND	0x40000000UL

static __guest uint64_t read_it(uint64_t addr)
{
	return GUEST_READ(uint64_t, addr);
}

static __guest uint64_t write_it(uint64_t addr, uint64_t value)
{
	GUEST_WRITE(uint64_t, addr, value);
	return GUEST_READ(uint64_t, addr);
}

static __guest uint64_t call_it(uint64_t addr)
{
	return ((uint64_t (*)(void))addr)();
}

static __guest uint64_t one(void)
{
	return 1;
}

static __guest uint64_t two(void)
{
	return 2;
}

static uint64_t run(struct vmm *vm, int vcpu, const void *fn, uint64_t a0,
		    uint64_t a1)
{
	vmm_vcpu_set_entry(vm, vcpu, fn, a0, a1, 0);
	return vmm_vcpu_run_done(vm, vcpu);
}

static uint32_t make_view(struct kvmi_vm *kv)
{
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, RWX, &view));
	return view;
}

static void done(struct vmm *vm, struct kvmi_vm *kv)
{
	tool_check_views(kv);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static uint64_t *mem_at(struct vmm *vm, uint64_t gpa)
{
	return vmm_gpa(vm, gpa);
}

/* Another page of the guest, to read, write and execute. */
KTAP_CASE_SMP(another_page, "V3")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 4), b = a + PAGE;
	uint32_t view = make_view(kv);
	int i;

	*mem_at(vm, a) = 111;
	*mem_at(vm, b) = 222;
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, read_it, a, 0), 111);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, b / PAGE));
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(run(vm, i, read_it, a, 0), i ? 333 + i - 1 : 222);
		KTAP_EQ(run(vm, i, read_it, b, 0), i ? 333 + i - 1 : 222);
		KTAP_EQ(run(vm, i, write_it, a, 333 + i), 333 + i);
		KTAP_EQ(*mem_at(vm, b), 333 + i);
		KTAP_EQ(*mem_at(vm, a), 111);
	}
	tool_check_views(kv);
	/* In this view alone. */
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, KVMI_VIEW_DEFAULT));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 111);
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, view));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 333 + nr_vcpus - 1);

	/* Both ways, which is no loop: what is shown is shown as it is. */
	KTAP_LIB_OK(kvmi_view_remap(kv, view, b / PAGE, a / PAGE));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 333 + nr_vcpus - 1);
	KTAP_EQ(run(vm, 0, read_it, b, 0), 111);
	tool_check_views(kv);

	/* As it was. */
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, KVMI_GFN_NONE));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, b / PAGE, KVMI_GFN_NONE));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, b / PAGE, KVMI_GFN_NONE));
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(run(vm, i, read_it, a, 0), 111);
		KTAP_EQ(run(vm, i, read_it, b, 0), 333 + nr_vcpus - 1);
	}

	memcpy(vmm_gpa(vm, a), (void *)one, 64);
	memcpy(vmm_gpa(vm, b), (void *)two, 64);
	KTAP_EQ(run(vm, 0, call_it, a, 0), 1);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, b / PAGE));
	KTAP_EQ(run(vm, 0, call_it, a, 0), 2);
	done(vm, kv);
}

/* Rights are those of the place, and stay when what is there changes. */
KTAP_CASE(rights_of_the_place, "V3 V2 E17")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 2), b = a + PAGE;
	uint32_t view = make_view(kv), access;
	const struct kvmi_event *ev;

	*mem_at(vm, b) = 222;
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, a / PAGE, 1, RX));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, b / PAGE));
	KTAP_LIB_OK(kvmi_view_get_access(kv, view, a / PAGE, &access));
	KTAP_EQ(access, RX);
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	KTAP_EQ(run(vm, 0, read_it, a, 0), 222);
	/* That of the source's own place is another matter. */
	KTAP_EQ(run(vm, 0, write_it, b, 223), 223);

	vmm_vcpu_set_entry(vm, 0, write_it, a, 224, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->gpa, a);
	KTAP_EQ(kvmi_event_access(ev)->allowed, RX);
	KTAP_EQ(kvmi_event_access(ev)->flags & KVMI_ACCESS_F_GONE, 0);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, a / PAGE, 1, RWX));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 224);
	KTAP_EQ(*mem_at(vm, b), 224);
	KTAP_EQ(*mem_at(vm, a), 0);
	/* Rights set over it have left it in place. */
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, a / PAGE - 8, 32, RWX));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 224);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, KVMI_GFN_NONE));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 0);
	done(vm, kv);
}

/* Pages of kvmi's own, instead of one of the guest's, and beyond its memory. */
KTAP_CASE_SMP(pages_of_kvmi, "V3 V4")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 1), v;
	uint64_t any = KVMI_GFN_NONE, at = BEYOND / PAGE;
	uint32_t view = make_view(kv);
	const struct kvmi_event *ev;
	int i;

	*mem_at(vm, a) = 111;
	KTAP_LIB_OK(kvmi_page_alloc(kv, &any, 3));
	KTAP_LIB_OK(kvmi_page_alloc(kv, &at, 2));
	KTAP_EQ(at, BEYOND / PAGE);
	KTAP_GE(any, GUEST_RAM / PAGE);

	/* The tool's side, across pages. */
	v = 1;
	KTAP_EQ(kvmi_vm_read(kv, any * PAGE + PAGE - 4, &v, 8), 8);
	KTAP_EQ(v, 0);
	v = 444;
	KTAP_EQ(kvmi_vm_write(kv, any * PAGE, &v, 8), 8);
	v = 0x123456789abcdef0;
	KTAP_EQ(kvmi_vm_write(kv, (any + 1) * PAGE - 4, &v, 8), 8);
	v = 0;
	KTAP_EQ(kvmi_vm_read(kv, (any + 1) * PAGE - 4, &v, 8), 8);
	KTAP_EQ(v, 0x123456789abcdef0);
	KTAP_LIB_ERR(kvmi_vm_read(kv, (any + 3) * PAGE, &v, 8), ENXIO);

	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, any));
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(run(vm, i, read_it, a, 0), 444 + i);
		KTAP_EQ(run(vm, i, write_it, a, 445 + i), 445 + i);
	}
	KTAP_EQ(kvmi_vm_read(kv, any * PAGE, &v, 8), 8);
	KTAP_EQ(v, 444 + nr_vcpus);
	KTAP_EQ(*mem_at(vm, a), 111);
	tool_check_views(kv);

	/* At its own number: nobody but the view's guest finds it there. */
	KTAP_LIB_OK(kvmi_view_remap(kv, view, at, at));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, write_it, BEYOND, 555 + i), 555 + i);
	KTAP_EQ(kvmi_vm_read(kv, BEYOND, &v, 8), 8);
	KTAP_EQ(v, 555 + nr_vcpus - 1);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, at, 1, RX));
	vmm_vcpu_set_entry(vm, 0, write_it, BEYOND + 8, 1, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->gpa, BEYOND + 8);
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, at, 1, RWX));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);

	/* The VMM gives the guest memory there. */
	*(uint64_t *)vmm_slot_add(vm, 1, BEYOND, 16 * PAGE, 0) = 666;
	KTAP_EQ(run(vm, 0, read_it, BEYOND, 0), 555 + nr_vcpus - 1);
	KTAP_EQ(kvmi_vm_read(kv, BEYOND, &v, 8), 8);
	KTAP_EQ(v, 666);
	KTAP_EQ(kvmi_view_read(kv, view, BEYOND, &v, 8), 8);
	KTAP_EQ(v, 555 + nr_vcpus - 1);
	KTAP_EQ(run(vm, 0, read_it, BEYOND + PAGE, 0), 0);
	tool_check_views(kv);

	/* Freed, and the guest's own is back. */
	KTAP_LIB_OK(kvmi_page_free(kv, at, 2));
	KTAP_EQ(run(vm, 0, read_it, BEYOND, 0), 666);
	KTAP_LIB_OK(kvmi_page_free(kv, any, 1));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, read_it, a, 0), 111);
	KTAP_LIB_ERR(kvmi_page_free(kv, any, 1), ENOENT);
	KTAP_LIB_ERR(kvmi_page_free(kv, any + 1, 3), ENOENT);
	KTAP_EQ(kvmi_vm_read(kv, (any + 1) * PAGE, &v, 8), 8);
	done(vm, kv);
}

KTAP_CASE(what_is_refused, "V3 V4")
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 2), gfn, v;
	uint32_t view = make_view(kv), bad = 9;
	struct kvmi_remap_page pages[3] = {
		{ a / PAGE, a / PAGE + 1 },
		{ a / PAGE + 1, KVMI_GFN_NONE },
		{ a / PAGE, GUEST_RAM / PAGE },
	};

	KTAP_LIB_ERR(kvmi_view_remap_list(kv, view, pages, 3, &bad), ENXIO);
	KTAP_EQ(bad, 2);
	*mem_at(vm, a + PAGE) = 5;
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, view));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 0);
	/* The last one holds; and what is freed in between is there again. */
	pages[2] = (struct kvmi_remap_page){ a / PAGE, KVMI_GFN_NONE };
	KTAP_LIB_OK(kvmi_view_remap_list(kv, view, pages, 3, &bad));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 0);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, a / PAGE + 1));
	pages[0] = pages[2];
	pages[2] = (struct kvmi_remap_page){ a / PAGE, a / PAGE + 1 };
	KTAP_LIB_OK(kvmi_view_remap_list(kv, view, pages, 3, &bad));
	KTAP_EQ(run(vm, 0, read_it, a, 0), 5);

	KTAP_LIB_ERR(kvmi_view_remap(kv, view, BEYOND / PAGE, a / PAGE), ENXIO);
	KTAP_LIB_ERR(kvmi_view_remap(kv, 0, a / PAGE, a / PAGE), EOPNOTSUPP);
	KTAP_LIB_ERR(kvmi_view_remap(kv, view + 1, a / PAGE, a / PAGE), ENOENT);
	KTAP_LIB_ERR(kvmi_view_remap_list(kv, view, pages, 0, &bad), EINVAL);
	KTAP_LIB_ERR(kvmi_view_remap_list(kv, view, (void *)8, 1, &bad), EFAULT);
	KTAP_LIB_ERR(kvmi_view_read(kv, view + 1, a, &v, 8), ENOENT);

	gfn = a / PAGE;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 1), EBUSY);
	gfn = GUEST_RAM / PAGE;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 0), EINVAL);
	KTAP_LIB_OK(kvmi_page_alloc(kv, &gfn, 2));
	gfn++;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 2), EBUSY);
	gfn = 1ULL << 40;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 1), EINVAL);
	gfn = ~1ULL;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 4), EINVAL);
	gfn = KVMI_GFN_NONE;
	KTAP_LIB_ERR(kvmi_page_alloc(kv, &gfn, 70000), ENOSPC);
	/* What is allocated is gone with the views. */
	KTAP_LIB_OK(kvmi_vm_reset(kv, KVMI_RESET_VIEWS));
	KTAP_LIB_ERR(kvmi_page_free(kv, GUEST_RAM / PAGE, 1), ENOENT);
	KTAP_LIB_ERR(kvmi_vm_read(kv, GUEST_RAM, &v, 8), ENXIO);
	KTAP_EQ(run(vm, 0, read_it, a, 0), 0);
	done(vm, kv);
}

/* What is shown goes away, and comes again. */
KTAP_CASE_SMP(the_source_goes, "V3 V7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 2);
	uint32_t view = make_view(kv);
	const struct kvmi_event *ev;
	uint64_t *mem;
	int i, n;

	*mem_at(vm, a) = 111;
	mem = vmm_slot_add(vm, 1, SLOT, 16 * PAGE, 0);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, SLOT / PAGE + 3));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (n = 0; n < 5; n++) {
		mem[3 * 512] = 1000 + n;
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(run(vm, i, read_it, a, 0), 1000 + n);
		KTAP_EQ(run(vm, 0, write_it, a, 2000 + n), 2000 + n);
		KTAP_EQ(mem[3 * 512], 2000 + n);
		/* Another page in its place. */
		KTAP_OK(madvise(mem, 16 * PAGE, MADV_DONTNEED));
		tool_check_views(kv);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(run(vm, i, read_it, a, 0), 0);
	}
	mem[3 * 512] = 7;
	KTAP_EQ(run(vm, 0, read_it, a, 0), 7);
	vmm_slot_delete(vm, 1);
	tool_check_views(kv);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, i & 1 ? (void *)write_it :
						  (void *)read_it, a, 112, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		KTAP_EQ(kvmi_event_access(ev)->gpa, a);
		KTAP_EQ(kvmi_event_access(ev)->allowed, 0);
		KTAP_ASSERT(kvmi_event_access(ev)->flags & KVMI_ACCESS_F_GONE);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		if (i & 1) {
			ev = tool_wait(kv, KVMI_EVENT_ACCESS);
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		/* On KVM's tables there is the guest's own. */
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE),
			i & 1 || i > 1 ? 112 : 111);
	}
	mem = vmm_slot_add(vm, 2, SLOT, 16 * PAGE, 0);
	mem[3 * 512] = 8;
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, read_it, a, 0), 8);
	vmm_slot_move(vm, 2, SLOT + 0x200000);
	tool_check_views(kv);
	vmm_vcpu_set_entry(vm, 0, read_it, a, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE,
				    (SLOT + 0x200000) / PAGE + 3));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 8);
	/* The alias' own place moves: rights and aliases are by number. */
	KTAP_LIB_OK(kvmi_view_remap(kv, view, (SLOT + 0x200000) / PAGE,
				    a / PAGE));
	*mem_at(vm, a) = 9;
	KTAP_EQ(run(vm, 0, read_it, SLOT + 0x200000, 0), 9);
	vmm_slot_move(vm, 2, SLOT);
	tool_check_views(kv);
	*(mem + 0) = 10;
	KTAP_EQ(run(vm, 0, read_it, SLOT, 0), 10);
	done(vm, kv);
}

/* A write through an alias is one to the source, and the host's page is its own. */
KTAP_CASE_SMP(written_through, "V3 V7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, nr_vcpus + 1);
	uint32_t view = make_view(kv);
	volatile uint64_t *mem;
	int status, pipes[2];
	pid_t child;
	char c = 0;
	int i;

	mem = vmm_slot_add(vm, 1, SLOT, 16 * PAGE, 0);
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE + i,
					    SLOT / PAGE));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, write_it, a + i * PAGE, 2), 2);
	/* Shared with a child, copy on write: KVM may only read it. */
	KTAP_OK(pipe(pipes));
	child = KTAP_OK(fork());
	if (!child) {
		close(pipes[1]);
		if (read(pipes[0], &c, 1) != 1)
			_exit(1);
		_exit(mem[0] == 2 ? 42 : 2);
	}
	tool_check_views(kv);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, read_it, a + i * PAGE, 0), 2);
	tool_check_views(kv);
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(run(vm, i, write_it, a + i * PAGE, 3 + i), 3 + i);
		KTAP_EQ(mem[0], 3 + i);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(run(vm, i, read_it, a + i * PAGE, 0), 2 + nr_vcpus);
	KTAP_EQ(write(pipes[1], &c, 1), 1);
	KTAP_EQ(waitpid(child, &status, 0), child);
	KTAP_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	done(vm, kv);
}

/* A read-only slot stays so. */
KTAP_CASE(read_only_source, "V3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 1);
	uint32_t view = make_view(kv);
	const struct kvmi_event *ev;
	uint64_t *mem;

	mem = vmm_slot_add(vm, 1, SLOT, 16 * PAGE, KVM_MEM_READONLY);
	mem[0] = 77;
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, SLOT / PAGE));
	KTAP_LIB_OK(kvmi_view_switch(kv, 0, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	KTAP_EQ(run(vm, 0, read_it, a, 0), 77);
	vmm_vcpu_set_entry(vm, 0, write_it, a, 78, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_ACCESS);
	KTAP_EQ(kvmi_event_access(ev)->allowed, RX);
	KTAP_EQ(kvmi_event_access(ev)->flags & KVMI_ACCESS_F_GONE, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 77);
	KTAP_EQ(mem[0], 77);
	KTAP_EQ(*mem_at(vm, a), 78);
	done(vm, kv);
}

/* What is logged as dirty is the source, each time, and nothing else. */
KTAP_CASE_SMP(dirty_bitmap, "V3 V7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 16), b = a + 8 * PAGE;
	uint32_t view = make_view(kv);
	uint64_t gfn, *log;
	int i, n;

	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE + i,
					    b / PAGE + i));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (i = 0; i < nr_vcpus; i++)
		run(vm, i, write_it, a + i * PAGE, 1);
	vmm_slot_set_flags(vm, 0, KVM_MEM_LOG_DIRTY_PAGES);
	for (n = 0; n < 4; n++) {
		free(vmm_slot_dirty_log(vm, 0));
		tool_check_views(kv);
		for (i = 0; i < nr_vcpus; i++) {
			run(vm, i, read_it, a + i * PAGE, 0);
			if (n != 2)
				run(vm, i, write_it, a + i * PAGE, 2 + n);
		}
		tool_check_views(kv);
		log = vmm_slot_dirty_log(vm, 0);
		for (i = 0; i < 16; i++) {
			gfn = a / PAGE + i;
			KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1,
				n != 2 && i >= 8 && i < 8 + nr_vcpus);
		}
		free(log);
	}
	vmm_slot_set_flags(vm, 0, 0);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(*mem_at(vm, b + i * PAGE), 5);
	done(vm, kv);
}

/* The tool reads, writes and translates as the view has it. */
KTAP_CASE(through_a_view, "S11 V3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t a = vmm_alloc_pages(vm, 4), own = KVMI_GFN_NONE;
	uint64_t pt = guest_pte_addr(a) & -PAGE, v, w, pte;
	uint32_t view = make_view(kv);
	struct kvmi_translation tr;
	struct kvmi_space space;
	struct kvmi_rw rw[2];

	*mem_at(vm, a) = 1;
	*mem_at(vm, a + PAGE) = 2;
	*mem_at(vm, a + 2 * PAGE) = 3;
	KTAP_LIB_OK(kvmi_page_alloc(kv, &own, 2));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, a / PAGE + 1));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE + 2, own));
	KTAP_EQ(kvmi_view_read(kv, view, a, &v, 8), 8);
	KTAP_EQ(v, 2);
	KTAP_EQ(kvmi_vm_read(kv, a, &v, 8), 8);
	KTAP_EQ(v, 1);
	KTAP_EQ(kvmi_view_read(kv, KVMI_VIEW_DEFAULT, a, &v, 8), 8);
	KTAP_EQ(v, 1);
	v = 22;
	KTAP_EQ(kvmi_view_write(kv, view, a, &v, 8), 8);
	KTAP_EQ(*mem_at(vm, a), 1);
	KTAP_EQ(*mem_at(vm, a + PAGE), 22);
	v = 33;
	KTAP_EQ(kvmi_view_write(kv, view, a + 2 * PAGE, &v, 8), 8);
	KTAP_EQ(*mem_at(vm, a + 2 * PAGE), 3);
	KTAP_EQ(kvmi_vm_read(kv, own * PAGE, &v, 8), 8);
	KTAP_EQ(v, 33);

	KTAP_EQ(run(vm, 0, read_it, a, 0), 1);
	KTAP_LIB_OK(kvmi_space_get(kv, 0, &space));
	rw[0] = (struct kvmi_rw){ .addr = a, .buf = (uintptr_t)&v, .len = 8 };
	rw[1] = (struct kvmi_rw){ .addr = a + 2 * PAGE, .buf = (uintptr_t)&w,
				  .len = 8 };
	KTAP_EQ(kvmi_view_read_list(kv, view, &space, rw, 2), 0);
	KTAP_EQ(v, 22);
	KTAP_EQ(w, 33);
	KTAP_LIB_ERR(kvmi_view_read_list(kv, view + 1, &space, rw, 2), ENOENT);

	/* Of a page table of its own: a leads to a + 3 pages. */
	*mem_at(vm, a + 3 * PAGE) = 4;
	KTAP_LIB_OK(kvmi_view_remap(kv, view, pt / PAGE, own + 1));
	KTAP_LIB_ERR(kvmi_view_translate(kv, view, &space, a, &tr),
		     EADDRNOTAVAIL);
	KTAP_EQ(kvmi_vm_read(kv, guest_pte_addr(a), &pte, 8), 8);
	pte += 3 * PAGE;
	KTAP_EQ(kvmi_vm_write(kv, (own + 1) * PAGE +
				  guest_pte_addr(a) % PAGE, &pte, 8), 8);
	KTAP_LIB_OK(kvmi_view_translate(kv, view, &space, a, &tr));
	KTAP_EQ(tr.out_gpa, a + 3 * PAGE);
	KTAP_LIB_OK(kvmi_space_translate(kv, &space, a, &tr));
	KTAP_EQ(tr.out_gpa, a);
	rw[0].out_error = 1;
	KTAP_EQ(kvmi_view_read_list(kv, view, &space, rw, 1), 0);
	KTAP_EQ(v, 4);
	done(vm, kv);
}

/* The VMM resets its guest, memory and all: what is shown elsewhere, is still. */
KTAP_CASE_SMP(the_guest_is_reset, "V3 V4 V7")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t a = vmm_alloc_pages(vm, 4), own = KVMI_GFN_NONE;
	struct kvmi_vm *kv = tool_attach(vm);
	uint32_t view = make_view(kv);
	struct kvm_sregs sregs;
	int i, n;

	KTAP_LIB_OK(kvmi_page_alloc(kv, &own, 1));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE, own));
	KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE + 1, a / PAGE + 2));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, a / PAGE + 3, 1, RX));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	for (n = 1; n < 4; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			/* kvmi's page is none of the guest's, and keeps what it has. */
			KTAP_EQ(run(vm, i, read_it, a + 8 * i, 0), n - 1);
			KTAP_EQ(run(vm, i, write_it, a + 8 * i, n), n);
			KTAP_EQ(run(vm, i, read_it, a + PAGE + 8 * i, 0), 0);
			KTAP_EQ(run(vm, i, write_it, a + PAGE + 8 * i, 10 + n),
				10 + n);
			KTAP_EQ(mem_at(vm, a + 2 * PAGE)[i], 10 + n);
			/* Nobody is told. */
			KTAP_EQ(run(vm, i, write_it, a + 3 * PAGE + 8 * i, n), n);
		}
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_EQ(mem_at(vm, a)[i], 0);
			KTAP_EQ(mem_at(vm, a + PAGE)[i], 0);
		}
		/* Other pages, and vCPUs in real mode, until the guest boots. */
		KTAP_OK(madvise(vmm_gpa(vm, a), 4 * PAGE, MADV_DONTNEED));
		for (i = 0; i < nr_vcpus; i++) {
			vmm_vcpu_get_sregs(vm, i, &sregs);
			vmm_vcpu_reset(vm, i);
			vmm_vcpu_set_sregs(vm, i, &sregs);
		}
		tool_check_views(kv);
	}
	done(vm, kv);
}

/* Two threads change the same pages, while the guest reads and writes them. */
static struct {
	struct kvmi_vm *kv;
	uint32_t view;
	uint64_t a, own;
	atomic_bool stop;
	atomic_ulong rounds;
} weather;

static void *weather_thread(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	uint64_t own;
	int page;

	while (!weather.stop) {
		page = rand_r(&seed) % 4;
		switch (rand_r(&seed) % 8) {
		case 0:
			KTAP_LIB_OK(kvmi_view_remap(weather.kv, weather.view,
						    weather.a / PAGE + page,
						    KVMI_GFN_NONE));
			break;
		case 1:
			own = KVMI_GFN_NONE;
			KTAP_LIB_OK(kvmi_page_alloc(weather.kv, &own, 1));
			KTAP_LIB_OK(kvmi_view_remap(weather.kv, weather.view,
						    weather.a / PAGE + page,
						    own));
			KTAP_LIB_OK(kvmi_page_free(weather.kv, own, 1));
			break;
		case 2:
			KTAP_LIB_OK(kvmi_view_set_access(weather.kv,
							 weather.view,
							 weather.a / PAGE, 4,
							 rand_r(&seed) & 1 ?
							 RWX : RX));
			break;
		case 3:
			tool_check_views(weather.kv);
			break;
		default:
			KTAP_LIB_OK(kvmi_view_remap(weather.kv, weather.view,
						    weather.a / PAGE + page,
						    weather.a / PAGE + 4 +
						    rand_r(&seed) % 4));
		}
		weather.rounds++;
	}
	return NULL;
}

static __guest void mix_it(uint64_t a)
{
	uint64_t i, at, seen;

	/* In each page the n-th word is 0 or n. */
	for (i = guest_cpu()->id; ; i++) {
		at = a + i % 4 * PAGE + i % 512 * 8;
		GUEST_WRITE(uint64_t, at, i % 512);
		seen = GUEST_READ(uint64_t, at);
		GUEST_ASSERT(!seen || seen == i % 512);
	}
}

KTAP_CASE_SMP(two_threads, "V3 V4")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	int i, n, rounds = ktap_times(60, 10);
	pthread_t threads[2];
	uint64_t *mem;

	weather.kv = kv;
	weather.a = vmm_alloc_pages(vm, 8);
	weather.view = make_view(kv);
	weather.stop = false;
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, weather.view));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, mix_it, weather.a, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < 2; i++)
		KTAP_EQ(pthread_create(&threads[i], NULL, weather_thread,
				       (void *)(uintptr_t)(i + 1)), 0);
	mem = mem_at(vm, weather.a);
	for (n = 0; n < rounds; n++) {
		/* The host has its say as well. */
		KTAP_OK(madvise((char *)mem + n % 8 * PAGE, PAGE,
				MADV_DONTNEED));
		if (n % 5 == 0)
			vmm_slot_set_flags(vm, 0, n % 10 ? 0 :
					   KVM_MEM_LOG_DIRTY_PAGES);
		else if (n % 10 < 5)
			free(vmm_slot_dirty_log(vm, 0));
		tool_msleep(5);
	}
	for (n = 0; !weather.rounds && n < TOOL_PATIENCE; n++)
		tool_msleep(1);
	weather.stop = true;
	for (i = 0; i < 2; i++)
		KTAP_EQ(pthread_join(threads[i], NULL), 0);
	KTAP_GE(weather.rounds, 1);
	vmm_stop_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vm->vcpu[i].exit, VMM_STOPPED);
	for (i = 0; i < 8 * 512; i++)
		KTAP_ASSERT(!mem[i] || mem[i] == (uint64_t)i % 512);
	done(vm, kv);
}

/* A session that ends, with all of it in place, leaves the guest its own. */
KTAP_CASE_SMP(detach, "V3 V4 D1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t a = vmm_alloc_pages(vm, 2 * nr_vcpus), own;
	struct kvmi_vm *kv;
	uint32_t view;
	int i, n;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < 4; n++) {
		kv = tool_attach(vm);
		view = make_view(kv);
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		own = KVMI_GFN_NONE;
		KTAP_LIB_OK(kvmi_page_alloc(kv, &own, 2 * nr_vcpus));
		for (i = 0; i < 2 * nr_vcpus; i++)
			KTAP_LIB_OK(kvmi_view_remap(kv, view, a / PAGE + i,
						    i & 1 ? own + i : a / PAGE));
		if (n & 1)
			KTAP_LIB_OK(kvmi_view_destroy(kv, view));
		kvmi_vm_close(kv);
		vmm_worker_check(vm, 4);
	}
	vmm_worker_stop(vm);
	for (i = 0; i < 2 * nr_vcpus; i++)
		*mem_at(vm, a + i * PAGE) = i;
	for (i = 0; i < 2 * nr_vcpus; i++)
		KTAP_EQ(run(vm, 0, read_it, a + i * PAGE, 0), i);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
