// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Views: further second-level page tables of a VM, with access rights.
 */
#include "internal.h"

/**
 * kvmi_view_create_flags() - Make a view
 * @vm: the session
 * @default_access: KVMI_ACCESS_* of pages whose access is not set
 * @flags: KVMI_VIEW_F_*
 * @view: where to store its number
 *
 * Return: 0 or a negative errno, see kvmi_view_create().
 */
int kvmi_view_create_flags(struct kvmi_vm *vm, uint32_t default_access,
			   uint32_t flags, uint32_t *view)
{
	struct kvmi_view arg = {
		.size = sizeof(arg),
		.flags = flags,
		.default_access = default_access,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_VIEW_CREATE, &arg, "create view");
	if (ret >= 0)
		*view = arg.view;
	return ret < 0 ? ret : 0;
}

/**
 * kvmi_view_create() - Make a view
 * @vm: the session
 * @default_access: KVMI_ACCESS_* of pages whose access is not set
 * @view: where to store its number
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP: rights that this CPU cannot
 * express; -ENOSPC: too many views.
 */
int kvmi_view_create(struct kvmi_vm *vm, uint32_t default_access,
		     uint32_t *view)
{
	return kvmi_view_create_flags(vm, default_access, 0, view);
}

/**
 * kvmi_view_destroy() - Remove a view
 * @vm: the session
 * @view: its number; vCPUs on it go to the default view first
 *
 * Return: 0 or a negative errno; -ENOENT: no such view.
 */
int kvmi_view_destroy(struct kvmi_vm *vm, uint32_t view)
{
	struct kvmi_view arg = { .size = sizeof(arg), .view = view };

	return kvmi_vm_ioctl(vm, KVMI_VIEW_DESTROY, &arg, "destroy view");
}

/**
 * kvmi_view_switch() - Let vCPUs run on a view
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @view: its number, or KVMI_VIEW_DEFAULT
 *
 * Return: 0 or a negative errno; -ENOENT: no such view or vCPU.
 */
int kvmi_view_switch(struct kvmi_vm *vm, unsigned int vcpu, uint32_t view)
{
	struct kvmi_view arg = {
		.size = sizeof(arg),
		.view = view,
		.vcpu = vcpu,
	};

	return kvmi_vm_ioctl(vm, KVMI_VIEW_SWITCH, &arg, "switch view");
}

/**
 * kvmi_view_set_ranges() - Set the access rights of many ranges of pages
 * @vm: the session
 * @view: the view's number
 * @ranges: the ranges, each with its rights
 * @nr: how many
 * @bad: where to store the index of the range that was refused, or NULL
 *
 * All are set, or none.
 *
 * Return: 0 or a negative errno; -ENXIO: a page that the guest does not have;
 * -EOPNOTSUPP: rights that this CPU cannot express.
 */
int kvmi_view_set_ranges(struct kvmi_vm *vm, uint32_t view,
			 const struct kvmi_access_range *ranges, uint32_t nr,
			 uint32_t *bad)
{
	struct kvmi_access arg = {
		.size = sizeof(arg),
		.view = view,
		.nr = nr,
		.ranges = (uintptr_t)ranges,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_ACCESS_SET, &arg, "set access");
	if (ret < 0 && bad)
		*bad = arg.out_bad;
	return ret;
}

/**
 * kvmi_view_set_access() - Set the access rights of pages
 * @vm: the session
 * @view: the view's number
 * @gfn: first guest frame number
 * @nr_pages: how many pages
 * @access: KVMI_ACCESS_*, or KVMI_ACCESS_DEFAULT
 *
 * Return: 0 or a negative errno, see kvmi_view_set_ranges().
 */
int kvmi_view_set_access(struct kvmi_vm *vm, uint32_t view, uint64_t gfn,
			 uint32_t nr_pages, uint32_t access)
{
	struct kvmi_access_range range = {
		.gfn = gfn,
		.nr_pages = nr_pages,
		.access = access,
	};

	return kvmi_view_set_ranges(vm, view, &range, 1, NULL);
}

/**
 * kvmi_view_get_access() - The access rights of a page
 * @vm: the session
 * @view: the view's number
 * @gfn: guest frame number
 * @access: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_view_get_access(struct kvmi_vm *vm, uint32_t view, uint64_t gfn,
			 uint32_t *access)
{
	struct kvmi_access_range range = { .gfn = gfn, .nr_pages = 1 };
	struct kvmi_access arg = {
		.size = sizeof(arg),
		.view = view,
		.nr = 1,
		.ranges = (uintptr_t)&range,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_ACCESS_GET, &arg, "get access");
	if (ret >= 0)
		*access = range.access;
	return ret;
}

/**
 * kvmi_view_list() - What views there are, and what they cost
 * @vm: the session
 * @views: room for them, filled in order of their numbers
 * @nr: how many fit
 *
 * Return: how many there are, besides the default view, of which only @nr are
 * stored; or a negative errno.
 */
int kvmi_view_list(struct kvmi_vm *vm, struct kvmi_view_info *views,
		   uint32_t nr)
{
	struct kvmi_views arg = {
		.size = sizeof(arg),
		.views = (uintptr_t)views,
		.nr = nr,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_GET_VIEWS, &arg, "list views");
	return ret < 0 ? ret : (int)arg.out_nr;
}

/**
 * kvmi_view_check() - Compare a view's page table with KVM's
 * @vm: the session
 * @view: its number, or KVMI_VIEW_ALL
 * @check: filled; out_wrong is 0 unless kvmi has a bug
 *
 * Return: 0 or a negative errno; -EAGAIN: the VMM is changing its memory slots.
 */
int kvmi_view_check(struct kvmi_vm *vm, uint32_t view,
		    struct kvmi_view_check *check)
{
	*check = (struct kvmi_view_check){
		.size = sizeof(*check),
		.view = view,
	};
	return kvmi_vm_ioctl(vm, KVMI_VIEW_CHECK, check, "check view");
}

/**
 * kvmi_view_remap_list() - Show other pages in the place of some
 * @vm: the session
 * @view: the view's number
 * @pages: where, and what is to be seen there; KVMI_GFN_NONE: the guest's own page
 * @nr: how many
 * @bad: where to store the index of the page that was refused, or NULL
 *
 * All are remapped, or none.
 *
 * Return: 0 or a negative errno; -ENXIO: a page that the guest does not have.
 */
int kvmi_view_remap_list(struct kvmi_vm *vm, uint32_t view,
			 const struct kvmi_remap_page *pages, uint32_t nr,
			 uint32_t *bad)
{
	struct kvmi_remap arg = {
		.size = sizeof(arg),
		.view = view,
		.nr = nr,
		.pages = (uintptr_t)pages,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_REMAP, &arg, "remap pages");
	if (ret < 0 && bad)
		*bad = arg.out_bad;
	return ret;
}

/**
 * kvmi_view_remap() - Show another page in the place of one
 * @vm: the session
 * @view: the view's number
 * @gfn: guest frame number of the place
 * @source: what is to be seen there: a guest frame number, or that of a page of
 *	kvmi_page_alloc(); KVMI_GFN_NONE: the guest's own page
 *
 * Return: 0 or a negative errno, see kvmi_view_remap_list().
 */
int kvmi_view_remap(struct kvmi_vm *vm, uint32_t view, uint64_t gfn,
		    uint64_t source)
{
	struct kvmi_remap_page page = { .gfn = gfn, .source = source };

	return kvmi_view_remap_list(vm, view, &page, 1, NULL);
}

/**
 * kvmi_page_alloc() - Have pages beyond the guest's memory
 * @vm: the session
 * @gfn: number of the first one, or KVMI_GFN_NONE for any; set to what it is
 * @nr: how many, with numbers in a row
 *
 * They are zeroed, and read and written by kvmi_vm_read() and kvmi_vm_write(). The
 * guest sees them where a view shows them: kvmi_view_remap().
 *
 * Return: 0 or a negative errno; -EBUSY: the number is taken; -ENOSPC: too many.
 */
int kvmi_page_alloc(struct kvmi_vm *vm, uint64_t *gfn, uint32_t nr)
{
	struct kvmi_pages arg = {
		.size = sizeof(arg),
		.gfn = *gfn,
		.nr_pages = nr,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_PAGE_ALLOC, &arg, "allocate pages");
	if (ret >= 0)
		*gfn = arg.gfn;
	return ret < 0 ? ret : 0;
}

/**
 * kvmi_page_free() - Free pages of kvmi_page_alloc()
 * @vm: the session
 * @gfn: number of the first one
 * @nr: how many
 *
 * Where a view showed them, it shows the guest's own again.
 *
 * Return: 0 or a negative errno; -ENOENT: there is no such page.
 */
int kvmi_page_free(struct kvmi_vm *vm, uint64_t gfn, uint32_t nr)
{
	struct kvmi_pages arg = {
		.size = sizeof(arg),
		.gfn = gfn,
		.nr_pages = nr,
	};

	return kvmi_vm_ioctl(vm, KVMI_PAGE_FREE, &arg, "free pages");
}

static ssize_t view_transfer(struct kvmi_vm *vm, unsigned long cmd,
			     uint32_t view, uint64_t gpa, void *buf, size_t len,
			     const char *what)
{
	struct kvmi_phys arg;
	size_t done = 0;
	int ret;

	while (done < len) {
		arg = (struct kvmi_phys){
			.size = sizeof(arg),
			.gpa = gpa + done,
			.len = len - done < MAX_PIECE ? len - done : MAX_PIECE,
			.buf = (uintptr_t)buf + done,
			.view = view,
		};
		ret = kvmi_vm_ioctl(vm, cmd, &arg, what);
		/* The kernel's count is only good within what was asked. */
		if (arg.out_done > arg.len)
			arg.out_done = arg.len;
		done += arg.out_done;
		if (ret)
			return done ? (ssize_t)done : ret;
	}
	return done;
}

/**
 * kvmi_view_read() - Read guest-physical memory as a view shows it
 * @vm: the session
 * @view: the view's number
 * @gpa: from where
 * @buf: to where
 * @len: how much
 *
 * Whatever the rights of the pages.
 *
 * Return: bytes read, or a negative errno if there are none; -ENOENT: no such view.
 */
ssize_t kvmi_view_read(struct kvmi_vm *vm, uint32_t view, uint64_t gpa,
		       void *buf, size_t len)
{
	return view_transfer(vm, KVMI_READ_PHYS, view, gpa, buf, len,
			     "read memory of a view");
}

/**
 * kvmi_view_write() - Write guest-physical memory as a view shows it
 * @vm: the session
 * @view: the view's number
 * @gpa: to where
 * @buf: from where
 * @len: how much
 *
 * Return: bytes written, or a negative errno if there are none.
 */
ssize_t kvmi_view_write(struct kvmi_vm *vm, uint32_t view, uint64_t gpa,
			const void *buf, size_t len)
{
	return view_transfer(vm, KVMI_WRITE_PHYS, view, gpa, (void *)buf, len,
			     "write memory of a view");
}

/**
 * kvmi_view_read_list() - Read from many places of a view at once
 * @vm: the session
 * @view: the view's number
 * @space: in which address space, its page tables as the view shows them; NULL:
 *	guest-physical addresses
 * @list: what to read, as for kvmi_vm_read_list()
 * @nr: entries, at most 65,536
 *
 * Return: how many entries failed (their out_error says why), or a negative errno
 * if the call could not be completed.
 */
ssize_t kvmi_view_read_list(struct kvmi_vm *vm, uint32_t view,
			    const struct kvmi_space *space, struct kvmi_rw *list,
			    uint32_t nr)
{
	struct kvmi_rw_list arg = {
		.size = sizeof(arg),
		.flags = space ? KVMI_RW_VIRT : 0,
		.list = (uintptr_t)list,
		.nr = nr,
		.view = view,
	};
	int ret;

	if (space)
		arg.space = *space;
	ret = kvmi_vm_ioctl(vm, KVMI_RW_LIST, &arg, "read a list of a view");
	return ret < 0 ? ret : (ssize_t)arg.out_failed;
}

/**
 * kvmi_view_translate() - Translate a virtual address by what a view shows
 * @vm: the session
 * @view: the view's number
 * @space: in which address space
 * @gva: the address
 * @translation: where to store what the page tables make of it
 *
 * Return: 0 or a negative errno, as kvmi_space_translate().
 */
int kvmi_view_translate(struct kvmi_vm *vm, uint32_t view,
			const struct kvmi_space *space, uint64_t gva,
			struct kvmi_translation *translation)
{
	struct kvmi_translate arg = {
		.size = sizeof(arg),
		.list = (uintptr_t)translation,
		.nr = 1,
		.space = *space,
		.view = view,
	};
	int ret;

	memset(translation, 0, sizeof(*translation));
	translation->gva = gva;
	ret = kvmi_vm_ioctl(vm, KVMI_TRANSLATE, &arg, "translate in a view");
	if (ret)
		return ret;
	return kvmi_space_error(translation->out_error, "translate", gva);
}

/**
 * kvmi_view_watch_bytes() - Be told of changes to a part of a page
 * @vm: the session
 * @view: the view's number
 * @gpa: guest-physical address of the first byte
 * @len: how many bytes, all in one page; 0: no part of it any more
 *
 * Of a page that may be read, but not written (kvmi_view_set_access()). Told is
 * KVMI_EVENT_ACCESS with KVMI_ACCESS_F_CHANGED, after the instruction.
 *
 * Return: 0 or a negative errno; -ENXIO: the guest has no such page.
 */
int kvmi_view_watch_bytes(struct kvmi_vm *vm, uint32_t view, uint64_t gpa,
			  uint32_t len)
{
	struct kvmi_watch_bytes arg = {
		.size = sizeof(arg),
		.view = view,
		.len = len,
		.gpa = gpa,
	};

	return kvmi_vm_ioctl(vm, KVMI_WATCH_BYTES, &arg, "watch bytes");
}

/**
 * kvmi_view_link() - Have vCPUs go to another view for what they cannot execute
 * @vm: the session
 * @view: the view's number
 * @other: the other's; KVMI_VIEW_DEFAULT: none
 *
 * Return: 0 or a negative errno; -ENOENT: no such view.
 */
int kvmi_view_link(struct kvmi_vm *vm, uint32_t view, uint32_t other)
{
	struct kvmi_view_link arg = {
		.size = sizeof(arg),
		.view = view,
		.other = other,
	};

	return kvmi_vm_ioctl(vm, KVMI_VIEW_LINK, &arg, "link views");
}
