// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Hidden breakpoints: the guest executes an INT3 that it does not find in its memory.
 *
 * A page with breakpoints has a shadow, a page of kvmi's own with the same bytes but
 * for the INT3s, which is shown in its place by the view in which it is executed, and
 * from which it cannot be read. Where the CPU has execute-only pages (EPT), that is
 * one view, and whoever reads the page does so by a step on KVM's own tables. Where
 * what can be executed can be read (NPT), there are two: one that shows the page
 * itself, and lets everything be executed but such pages; and one that shows the
 * shadow, and lets nothing else be executed. The kernel takes a vCPU from one to the
 * other. So what is read by code on other pages is the page itself; code on a page
 * with breakpoints finds those there.
 *
 * A write goes to the page itself, by a step, and then the shadow is made anew.
 *
 * The kernel knows where the INT3s are (KVMI_BREAKPOINT_SET): before they are there, and
 * until they are gone.
 */
#include <stdlib.h>

#include "internal.h"

#define PAGE		4096U
#define INT3		0xcc
/* vCPUs of which a write is being stepped. */
#define MAX_WRITES	4096

#define BP_FEATURES	(KVMI_FEATURE_REMAP | KVMI_FEATURE_LINK | \
			 KVMI_FEATURE_BREAKPOINTS)

#define R	KVMI_ACCESS_R
#define W	KVMI_ACCESS_W
#define X	KVMI_ACCESS_X

/**
 * struct bp_page - a page with breakpoints
 * @gfn: its number
 * @shadow: that of its shadow
 * @nr: breakpoints
 * @at: a bit for each byte
 */
struct bp_page {
	uint64_t gfn;
	uint64_t shadow;
	unsigned int nr;
	uint64_t at[PAGE / 64];
};

/**
 * struct kvmi_breakpoints - the breakpoints of a session
 * @vm: the session
 * @exec: the view that shows the shadows
 * @read: the one that shows the pages, where there are two; else @exec
 * @pages: in order of their numbers
 * @nr_pages: of them
 * @room: for so many
 * @writes: by vCPU: a write to this page is being stepped, plus 1
 * @views: and the view to go back to
 */
struct kvmi_breakpoints {
	struct kvmi_vm *vm;
	uint32_t exec, read;
	struct bp_page **pages;
	size_t nr_pages, room;
	uint64_t writes[MAX_WRITES];
	uint32_t views[MAX_WRITES];
};

/* Where the page is, or is to be. */
static size_t bp_place(const struct kvmi_breakpoints *set, uint64_t gfn)
{
	size_t low = 0, high = set->nr_pages;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (set->pages[mid]->gfn < gfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct bp_page *bp_find(const struct kvmi_breakpoints *set, uint64_t gfn)
{
	size_t i = bp_place(set, gfn);

	if (i < set->nr_pages && set->pages[i]->gfn == gfn)
		return set->pages[i];
	return NULL;
}

static bool bp_is_at(const struct bp_page *page, unsigned int offset)
{
	return page->at[offset / 64] >> (offset % 64) & 1;
}

/* Make the shadow anew. */
static int bp_copy(struct kvmi_breakpoints *set, struct bp_page *page)
{
	unsigned char bytes[PAGE];
	ssize_t ret;
	unsigned int i;

	ret = kvmi_vm_read(set->vm, page->gfn * PAGE, bytes, PAGE);
	if (ret < 0)
		return ret;
	if (ret != PAGE)
		return kvmi_error_set(-ENXIO, "the page %#llx is gone",
				      (unsigned long long)page->gfn);
	for (i = 0; i < PAGE; i++)
		if (bp_is_at(page, i))
			bytes[i] = INT3;
	ret = kvmi_vm_write(set->vm, page->shadow * PAGE, bytes, PAGE);
	return ret < 0 ? ret : 0;
}

/*
 * Have @gfn's shadow, or the page itself, be what is executed. At each moment one of the
 * views lets it be executed, or a vCPU there would ask about it.
 */
static int bp_show(struct kvmi_breakpoints *set, struct bp_page *page)
{
	bool two = set->exec != set->read;
	int ret = 0;

	if (two)
		ret = kvmi_view_set_access(set->vm, set->exec, page->gfn, 1, R | X);
	/* From here on it does not change unseen. */
	if (!ret)
		ret = kvmi_view_set_access(set->vm, set->read, page->gfn, 1,
					   two ? R : X);
	if (!ret)
		ret = bp_copy(set, page);
	if (!ret)
		ret = kvmi_view_remap(set->vm, set->exec, page->gfn, page->shadow);
	return ret;
}

static void bp_drop(struct kvmi_breakpoints *set, struct bp_page *page)
{
	size_t i = bp_place(set, page->gfn);

	/* The page itself is shown again, and only then may it change. */
	kvmi_page_free(set->vm, page->shadow, 1);
	kvmi_view_set_access(set->vm, set->read, page->gfn, 1, KVMI_ACCESS_DEFAULT);
	if (set->exec != set->read)
		kvmi_view_set_access(set->vm, set->exec, page->gfn, 1,
				     KVMI_ACCESS_DEFAULT);
	memmove(&set->pages[i], &set->pages[i + 1],
		(--set->nr_pages - i) * sizeof(*set->pages));
	free(page);
}

static int bp_make(struct kvmi_breakpoints *set, uint64_t gfn,
		   struct bp_page **made)
{
	struct bp_page *page, **pages;
	size_t i, room;
	int ret;

	if (set->nr_pages == set->room) {
		room = set->room ? 2 * set->room : 16;
		pages = realloc(set->pages, room * sizeof(*pages));
		if (!pages)
			return kvmi_error_set(-ENOMEM, "out of memory");
		set->pages = pages;
		set->room = room;
	}
	page = calloc(1, sizeof(*page));
	if (!page)
		return kvmi_error_set(-ENOMEM, "out of memory");
	page->gfn = gfn;
	page->shadow = KVMI_GFN_NONE;
	ret = kvmi_page_alloc(set->vm, &page->shadow, 1);
	if (ret) {
		free(page);
		return ret;
	}
	i = bp_place(set, gfn);
	memmove(&set->pages[i + 1], &set->pages[i],
		(set->nr_pages++ - i) * sizeof(*set->pages));
	set->pages[i] = page;
	*made = page;
	return 0;
}

static int bp_tell(struct kvmi_breakpoints *set, unsigned int cmd, uint32_t flags,
		   uint64_t gpa, uint64_t *hits)
{
	struct kvmi_breakpoint arg = {
		.size = sizeof(arg),
		.flags = flags,
		.gpa = gpa,
	};
	int ret;

	ret = kvmi_vm_ioctl(set->vm, cmd, &arg,
			    cmd == KVMI_BREAKPOINT_SET ? "set a breakpoint" :
			    cmd == KVMI_BREAKPOINT_GET ? "read a breakpoint's count" :
							 "clear a breakpoint");
	if (!ret && hits)
		*hits = arg.out_hits;
	return ret;
}

/**
 * kvmi_breakpoints_open() - Begin to have hidden breakpoints
 * @vm: the session, which controls the VM
 * @set: where to store them; end them with kvmi_breakpoints_close()
 *
 * All vCPUs go to a view of the set, and are to stay there. KVMI_EVENT_BREAKPOINT and
 * KVMI_EVENT_ACCESS are enabled, synchronous; give each event to
 * kvmi_breakpoints_handle().
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP: there are no views.
 */
int kvmi_breakpoints_open(struct kvmi_vm *vm, struct kvmi_breakpoints **set)
{
	struct kvmi_breakpoints *s;
	struct kvmi_caps caps;
	int ret;

	ret = kvmi_vm_get_caps(vm, &caps);
	if (ret)
		return ret;
	if ((caps.out_features & BP_FEATURES) != BP_FEATURES)
		return kvmi_error_set(-EOPNOTSUPP,
				      "hidden breakpoints need views that show other pages");
	s = calloc(1, sizeof(*s));
	if (!s)
		return kvmi_error_set(-ENOMEM, "out of memory");
	s->vm = vm;

	if (caps.out_access & 1U << X) {
		ret = kvmi_view_create(vm, KVMI_ACCESS_RWX, &s->exec);
		s->read = s->exec;
	} else {
		ret = kvmi_view_create(vm, KVMI_ACCESS_RWX, &s->read);
		if (!ret)
			ret = kvmi_view_create(vm, R | W, &s->exec);
		if (!ret)
			ret = kvmi_view_link(vm, s->read, s->exec);
		if (!ret)
			ret = kvmi_view_link(vm, s->exec, s->read);
	}
	if (!ret)
		ret = kvmi_event_watch(vm, KVMI_VCPU_ALL, KVMI_EVENT_ACCESS,
				       KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	if (!ret)
		ret = kvmi_event_watch(vm, KVMI_VCPU_ALL, KVMI_EVENT_BREAKPOINT,
				       KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	if (!ret)
		ret = kvmi_view_switch(vm, KVMI_VCPU_ALL, s->read);
	if (ret) {
		kvmi_breakpoints_close(s);
		return ret;
	}
	*set = s;
	return 0;
}

/**
 * kvmi_breakpoints_close() - Remove all breakpoints
 * @set: is freed; NULL does nothing
 *
 * vCPUs go to the default view. The guest's memory was never changed. The two kinds of
 * events stay enabled.
 */
void kvmi_breakpoints_close(struct kvmi_breakpoints *set)
{
	if (!set)
		return;
	if (set->exec)
		kvmi_view_destroy(set->vm, set->exec);
	if (set->read && set->read != set->exec)
		kvmi_view_destroy(set->vm, set->read);
	while (set->nr_pages) {
		struct bp_page *page = set->pages[--set->nr_pages];
		unsigned int i;

		for (i = 0; i < PAGE; i++)
			if (bp_is_at(page, i))
				bp_tell(set, KVMI_BREAKPOINT_CLEAR, 0,
					page->gfn * PAGE + i, NULL);
		kvmi_page_free(set->vm, page->shadow, 1);
		free(page);
	}
	free(set->pages);
	free(set);
}

/* The kernel knows of it already. */
static int bp_insert(struct kvmi_breakpoints *set, uint64_t gpa)
{
	unsigned int offset = gpa % PAGE;
	uint64_t gfn = gpa / PAGE;
	unsigned char int3 = INT3;
	struct bp_page *page = bp_find(set, gfn);
	ssize_t ret;

	if (page) {
		ret = kvmi_vm_write(set->vm, page->shadow * PAGE + offset, &int3,
				    1);
		if (ret < 0)
			return ret;
		page->at[offset / 64] |= 1ULL << (offset % 64);
		page->nr++;
		return 0;
	}

	ret = bp_make(set, gfn, &page);
	if (ret)
		return ret;
	page->at[offset / 64] |= 1ULL << (offset % 64);
	page->nr = 1;
	ret = bp_show(set, page);
	if (ret)
		bp_drop(set, page);
	return ret;
}

static int bp_add(struct kvmi_breakpoints *set, uint64_t gpa, uint32_t flags)
{
	struct bp_page *page = bp_find(set, gpa / PAGE);
	int ret;

	if (page && bp_is_at(page, gpa % PAGE))
		return kvmi_error_set(-EEXIST, "there is a breakpoint at %#llx",
				      (unsigned long long)gpa);
	ret = bp_tell(set, KVMI_BREAKPOINT_SET, flags, gpa, NULL);
	if (ret)
		return ret;
	ret = bp_insert(set, gpa);
	if (ret)
		bp_tell(set, KVMI_BREAKPOINT_CLEAR, 0, gpa, NULL);
	return ret;
}

/**
 * kvmi_breakpoints_add() - Have a breakpoint
 * @set: the breakpoints
 * @gpa: guest-physical address of the first byte of an instruction
 *
 * Return: 0 or a negative errno; -EEXIST: there is one; -ENXIO: the guest has no such
 * memory.
 */
int kvmi_breakpoints_add(struct kvmi_breakpoints *set, uint64_t gpa)
{
	return bp_add(set, gpa, 0);
}

/**
 * kvmi_breakpoints_count() - Have a breakpoint that is only counted
 * @set: the breakpoints
 * @gpa: guest-physical address of the first byte of an instruction
 *
 * It is no event: the kernel counts it and has the instruction executed, which takes
 * the vCPU one exit or two.
 *
 * Return: as kvmi_breakpoints_add().
 */
int kvmi_breakpoints_count(struct kvmi_breakpoints *set, uint64_t gpa)
{
	return bp_add(set, gpa, KVMI_BREAKPOINT_COUNT);
}

/**
 * kvmi_breakpoints_hits() - How often was a breakpoint hit?
 * @set: the breakpoints
 * @gpa: its address
 * @hits: where to store it: hits by all vCPUs since it was added
 *
 * Return: 0 or a negative errno; -ENOENT: there is none.
 */
int kvmi_breakpoints_hits(struct kvmi_breakpoints *set, uint64_t gpa, uint64_t *hits)
{
	return bp_tell(set, KVMI_BREAKPOINT_GET, 0, gpa, hits);
}

/**
 * kvmi_breakpoints_refresh() - Have what is in memory by now be executed
 * @set: the breakpoints
 *
 * What a vCPU writes to a page with breakpoints is noticed. What others write is not: a
 * VMM that loads a kernel when the VM is reset, a device that it emulates, a tool by
 * kvmi_vm_write(). Until this is called, the guest executes there what it was before.
 *
 * The breakpoints stay where they are, which need not be where an instruction begins
 * any more: remove those first. vCPUs may run meanwhile.
 *
 * Return: 0 or a negative errno: that of the first page of which it has failed; -ENXIO:
 * it is gone. All others are as they are to be.
 */
int kvmi_breakpoints_refresh(struct kvmi_breakpoints *set)
{
	int ret = 0, err;
	size_t i;

	for (i = 0; i < set->nr_pages; i++) {
		err = bp_copy(set, set->pages[i]);
		if (err && !ret)
			ret = err;
	}
	return ret;
}

/**
 * kvmi_breakpoints_remove() - Have a breakpoint no more
 * @set: the breakpoints
 * @gpa: its address
 *
 * A vCPU that is at it already may report it still; KVMI_ACTION_CONTINUE is the right
 * answer to that as well.
 *
 * Return: 0 or a negative errno; -ENOENT: there is none.
 */
int kvmi_breakpoints_remove(struct kvmi_breakpoints *set, uint64_t gpa)
{
	struct bp_page *page = bp_find(set, gpa / PAGE);
	unsigned int offset = gpa % PAGE;
	unsigned char byte;
	ssize_t ret;

	if (!page || !bp_is_at(page, offset))
		return kvmi_error_set(-ENOENT, "there is no breakpoint at %#llx",
				      (unsigned long long)gpa);
	if (page->nr == 1) {
		bp_drop(set, page);
		return bp_tell(set, KVMI_BREAKPOINT_CLEAR, 0, gpa, NULL);
	}
	ret = kvmi_vm_read(set->vm, gpa, &byte, 1);
	if (ret == 1)
		ret = kvmi_vm_write(set->vm, page->shadow * PAGE + offset, &byte,
				    1);
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	page->at[offset / 64] &= ~(1ULL << (offset % 64));
	page->nr--;
	return bp_tell(set, KVMI_BREAKPOINT_CLEAR, 0, gpa, NULL);
}

static int bp_retry(struct kvmi_breakpoints *set, const struct kvmi_event *event)
{
	struct kvmi_reply reply;

	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	kvmi_reply_fast_step(&reply, KVMI_VIEW_DEFAULT);
	return kvmi_event_answer(set->vm, event, &reply);
}

/* Somebody reads a page with breakpoints, or writes to it. */
static int bp_access(struct kvmi_breakpoints *set, const struct kvmi_event *event)
{
	const struct kvmi_ev_access *access = kvmi_event_access(event);
	struct kvmi_reply reply;
	int ret;

	if (!access || !bp_find(set, access->gpa / PAGE))
		return 0;
	if (!(access->access & W) || event->vcpu >= MAX_WRITES) {
		ret = bp_retry(set, event);
		return ret ? ret : 1;
	}
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	kvmi_reply_set_view(&reply, KVMI_VIEW_DEFAULT);
	kvmi_reply_step(&reply);
	set->writes[event->vcpu] = access->gpa / PAGE + 1;
	set->views[event->vcpu] = event->view;
	ret = kvmi_event_answer(set->vm, event, &reply);
	return ret ? ret : 1;
}

static int bp_written(struct kvmi_breakpoints *set, const struct kvmi_event *event)
{
	struct kvmi_reply reply;
	struct bp_page *page;
	int ret;

	if (event->vcpu >= MAX_WRITES || !set->writes[event->vcpu])
		return 0;
	page = bp_find(set, set->writes[event->vcpu] - 1);
	set->writes[event->vcpu] = 0;
	if (page)
		bp_copy(set, page);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	kvmi_reply_set_view(&reply, set->views[event->vcpu]);
	ret = kvmi_event_answer(set->vm, event, &reply);
	return ret ? ret : 1;
}

static int bp_hit(struct kvmi_breakpoints *set, const struct kvmi_event *event,
		  uint64_t *gpa)
{
	const struct kvmi_ev_breakpoint *bp = kvmi_event_breakpoint(event);
	struct bp_page *page;

	if (!bp || !(bp->flags & KVMI_BREAKPOINT_F_SET))
		return 0;
	page = bp_find(set, bp->gpa / PAGE);
	if (!page || !bp_is_at(page, bp->gpa % PAGE))
		return 0;
	*gpa = bp->gpa;
	return 2;
}

/**
 * kvmi_breakpoints_handle() - Is an event one of the breakpoints'?
 * @set: the breakpoints
 * @event: any event
 * @gpa: set to the address of the breakpoint that was hit
 *
 * What only serves to hide them is answered here.
 *
 * Return: 0: it has nothing to do with them; 1: it is answered; 2: a breakpoint was
 * hit: answer it by kvmi_breakpoints_continue(), or otherwise; or a negative errno.
 */
int kvmi_breakpoints_handle(struct kvmi_breakpoints *set,
			    const struct kvmi_event *event, uint64_t *gpa)
{
	switch (event->kind) {
	case KVMI_EVENT_ACCESS:
		return bp_access(set, event);
	case KVMI_EVENT_STEP:
		return bp_written(set, event);
	case KVMI_EVENT_BREAKPOINT:
		return bp_hit(set, event, gpa);
	default:
		return 0;
	}
}

/**
 * kvmi_breakpoints_continue() - Have the vCPU execute the instruction itself
 * @set: the breakpoints
 * @event: for which kvmi_breakpoints_handle() has returned 2
 *
 * No other vCPU can miss the breakpoint meanwhile.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_breakpoints_continue(struct kvmi_breakpoints *set,
			      const struct kvmi_event *event)
{
	struct kvmi_reply reply;

	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	return kvmi_event_answer(set->vm, event, &reply);
}
