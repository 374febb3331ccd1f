// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Views: further second-level page tables of a VM, with access rights.
 */
#include "internal.h"

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
	struct kvmi_view arg = {
		.size = sizeof(arg),
		.default_access = default_access,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_VIEW_CREATE, &arg, "create view");
	if (ret >= 0)
		*view = arg.view;
	return ret < 0 ? ret : 0;
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
