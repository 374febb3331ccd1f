// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings: the memory that kernel and tool share, one ring per vCPU.
 *
 * The kernel's part (header and records) is mapped read-only, the tool's part
 * has a page of its own. What the tool writes is never believed: its position
 * is only compared, its reply is copied once and then checked (event.c).
 *
 * The memory outlives the session while it is mapped: mappings refer to a file
 * of their own (struct kvmi_rings), so that they do not keep the session.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat/eventfd.h"
#include "compat/mm.h"
#include "hook.h"

/* In the session's mmap() offsets each vCPU has a window of this many bytes. */
#define KVMI_WINDOW_SHIFT	26
#define KVMI_WINDOW_TOOL	BIT(25)

struct kvmi_rings {
	struct xarray areas;		/* vmalloc areas, by vCPU index */
};

static int kvmi_rings_release(struct inode *inode, struct file *file)
{
	struct kvmi_rings *rings = file->private_data;
	unsigned long i;
	void *area;

	xa_for_each(&rings->areas, i, area)
		vfree(area);
	xa_destroy(&rings->areas);
	kfree(rings);
	return 0;
}

static const struct file_operations kvmi_rings_fops = {
	.owner = THIS_MODULE,
	.release = kvmi_rings_release,
};

/**
 * kvmi_rings_create - make the owner of a VM's rings
 * @file: set to the file that mappings refer to; the caller's to fput()
 *
 * Return: the owner, freed with the last reference to the file; or ERR_PTR().
 */
struct kvmi_rings *kvmi_rings_create(struct file **file)
{
	struct kvmi_rings *rings;

	rings = kzalloc(sizeof(*rings), GFP_KERNEL_ACCOUNT);
	if (!rings)
		return ERR_PTR(-ENOMEM);
	xa_init(&rings->areas);

	*file = anon_inode_getfile("[kvmi-ring]", &kvmi_rings_fops, rings,
				   O_RDWR);
	if (IS_ERR(*file)) {
		kfree(rings);
		return ERR_CAST(*file);
	}
	return rings;
}

static size_t kvmi_ring_header_size(u32 data_size)
{
	return PAGE_ALIGN(sizeof(struct kvmi_ring_header)) +
	       PAGE_ALIGN(data_size);
}

/**
 * kvmi_ring_init - make a vCPU's ring
 * @vm: its VM
 * @kv: the vCPU
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_ring_init(struct kvmi_vm *vm, struct kvmi_vcpu *kv)
{
	size_t header = kvmi_ring_header_size(vm->ring_size);
	struct kvmi_ring *ring = &kv->ring;
	void *area;
	int ret;

	area = vmalloc_user(header + PAGE_SIZE);
	if (!area)
		return -ENOMEM;
	ret = xa_err(xa_store(&vm->rings->areas, kv->index, area, GFP_KERNEL));
	if (ret) {
		vfree(area);
		return ret;
	}

	init_waitqueue_head(&ring->wq);
	ring->header = area;
	ring->tool = area + header;
	ring->size = vm->ring_size;

	ring->header->size = sizeof(*ring->header);
	ring->header->version = KVMI_ABI_VERSION;
	ring->header->vcpu = kv->index;
	ring->header->data_offset = PAGE_ALIGN(sizeof(*ring->header));
	ring->header->data_size = ring->size;
	return 0;
}

/**
 * kvmi_ring_fini - undo kvmi_ring_init(), but for the memory
 * @ring: of a vCPU that no hook finds any more
 */
void kvmi_ring_fini(struct kvmi_ring *ring)
{
	struct eventfd_ctx *ctx = rcu_dereference_protected(ring->eventfd, 1);

	if (ctx)
		eventfd_ctx_put(ctx);
}

/**
 * kvmi_ring_get - KVMI_GET_RING
 * @kv: the vCPU; vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EBADF if the descriptor is no eventfd.
 */
int kvmi_ring_get(struct kvmi_vcpu *kv, struct kvmi_get_ring *args)
{
	u64 base = (u64)kv->index << KVMI_WINDOW_SHIFT;
	struct kvmi_ring *ring = &kv->ring;
	struct eventfd_ctx *ctx = NULL;

	if (args->eventfd < -1)
		return -EINVAL;
	if (args->eventfd >= 0) {
		ctx = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(ctx))
			return -EBADF;
	}
	ctx = rcu_replace_pointer(ring->eventfd, ctx,
				  lockdep_is_held(&kv->vm->lock));
	if (ctx) {
		synchronize_rcu();
		eventfd_ctx_put(ctx);
	}

	args->out_header_offset = base;
	args->out_header_size = kvmi_ring_header_size(ring->size);
	args->out_tool_offset = base | KVMI_WINDOW_TOOL;
	args->out_tool_size = PAGE_SIZE;
	return 0;
}

/**
 * kvmi_ring_mmap - mmap() on a session
 * @vm: its VM
 * @vma: what is to be mapped
 *
 * Return: 0; -EPERM for a writable mapping of the kernel's part; -ENOENT.
 */
int kvmi_ring_mmap(struct kvmi_vm *vm, struct vm_area_struct *vma)
{
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	size_t size = vma->vm_end - vma->vm_start;
	struct kvmi_vcpu *kv;
	size_t header;
	u32 within;
	int ret;

	kv = xa_load(&vm->vcpus, offset >> KVMI_WINDOW_SHIFT);
	if (!kv)
		return -ENOENT;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	header = kvmi_ring_header_size(kv->ring.size);
	within = offset & (BIT(KVMI_WINDOW_SHIFT) - 1);

	if (within & KVMI_WINDOW_TOOL) {
		if (within != KVMI_WINDOW_TOOL || size != PAGE_SIZE)
			return -EINVAL;
		ret = remap_vmalloc_range(vma, kv->ring.header,
					  header >> PAGE_SHIFT);
	} else {
		if (within || size > header)
			return -EINVAL;
		if (vma->vm_flags & (VM_WRITE | VM_EXEC))
			return -EPERM;
		compat_vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
		ret = remap_vmalloc_range(vma, kv->ring.header, 0);
	}
	if (ret)
		return ret;

	/* A child of the tool has no business with events it did not ask for. */
	compat_vm_flags_set(vma, VM_DONTCOPY);
	vma_set_file(vma, vm->ring_file);
	return 0;
}

/**
 * kvmi_ring_unread - has the tool something to read?
 * @ring: of a vCPU
 *
 * Return: true if so, or if the tool's position makes no sense.
 */
bool kvmi_ring_unread(struct kvmi_ring *ring)
{
	return READ_ONCE(ring->header->producer) !=
	       READ_ONCE(ring->tool->consumer);
}

/**
 * kvmi_ring_drop - count a record that did not fit
 * @ring: of the calling vCPU
 * @kind: enum kvmi_event_kind
 */
void kvmi_ring_drop(struct kvmi_ring *ring, u32 kind)
{
	struct kvmi_ring_header *header = ring->header;

	WRITE_ONCE(header->dropped[kind], header->dropped[kind] + 1);
	WRITE_ONCE(header->dropped_total, header->dropped_total + 1);
}

/* Room for a record of @size bytes, a multiple of 8; NULL if there is none. */
static struct kvmi_event *kvmi_ring_reserve(struct kvmi_ring *ring, u32 size)
{
	void *data = (void *)ring->header +
		     PAGE_ALIGN(sizeof(struct kvmi_ring_header));
	/* Pairs with the release of the tool: it has read what we overwrite. */
	u64 used = ring->producer - smp_load_acquire(&ring->tool->consumer);
	u32 offset = ring->producer & (ring->size - 1);
	u32 tail = ring->size - offset;
	struct kvmi_event *pad;

	/* Full, or the tool's position makes no sense. */
	if (used > ring->size)
		return NULL;
	if (tail >= size)
		return size <= ring->size - used ? data + offset : NULL;

	/* Records do not wrap: fill up, and start anew. */
	if (tail + size > ring->size - used)
		return NULL;
	pad = data + offset;
	pad->size = tail;
	pad->kind = KVMI_EVENT_PAD;
	pad->flags = 0;
	ring->producer += tail;
	return data;
}

/*
 * Wake who waits for a record. The wake-ups are of the kind that does not preempt
 * the caller: it either waits itself at once, or runs the guest.
 */
static void kvmi_ring_notify(struct kvmi_vm *vm, struct kvmi_ring *ring)
{
	struct eventfd_ctx *ctx;

	if (wq_has_sleeper(&vm->wq))
		wake_up_interruptible_sync_poll(&vm->wq, EPOLLIN);
	/* The barrier in the first test serves for this one as well. */
	if (waitqueue_active(&ring->wq))
		wake_up_interruptible_sync_poll(&ring->wq, EPOLLIN);
	if (rcu_access_pointer(ring->eventfd)) {
		rcu_read_lock();
		ctx = rcu_dereference(ring->eventfd);
		if (ctx)
			compat_eventfd_signal(ctx);
		rcu_read_unlock();
	}
}

/**
 * kvmi_ring_post - post the record of an event
 * @kv: the calling vCPU
 * @ex: what is to be told
 * @id: of a synchronous event, or 0
 *
 * Return: false if the ring is full, or the tool's position makes no sense.
 */
bool kvmi_ring_post(struct kvmi_vcpu *kv, const struct kvmi_exit *ex, u64 id)
{
	u32 size = sizeof(struct kvmi_event) + ex->size +
		   kvmi_regs_size(ex->regs);
	struct kvmi_ring *ring = &kv->ring;
	struct kvmi_event *rec;
	u32 i;

	rec = kvmi_ring_reserve(ring, size);
	if (!rec)
		return false;

	rec->size = size;
	rec->kind = ex->kind;
	rec->flags = id ? kv->open.flags : 0;
	rec->vcpu = kv->index;
	rec->header = sizeof(*rec);
	rec->payload = ex->size;
	rec->id = id;
	rec->seq = ring->seq;
	rec->time_ns = ktime_get_ns();
	/* KVM reads it at every exit. */
	rec->guest_tsc = kv->vcpu->arch.last_guest_tsc;
	rec->regs = ex->regs;
	rec->view = kv->view;
	/* A few words, in line. */
	for (i = 0; i < ex->size / sizeof(u64); i++)
		((u64 *)(rec + 1))[i] = ex->payload.raw[i];
	if (likely(ex->regs == KVMI_REGS_GENERAL))
		kvmi_regs_get_gprs(kv->vcpu, (void *)(rec + 1) + ex->size);
	else if (ex->regs)
		kvmi_regs_fill(kv, ex->regs, (void *)(rec + 1) + ex->size);

	if (id)
		WRITE_ONCE(ring->header->open_event, id);
	kv->stats.events[ex->kind]++;
	ring->producer += size;
	WRITE_ONCE(ring->header->posted, ring->header->posted + 1);
	/* Pairs with the acquire of the tool. */
	smp_store_release(&ring->header->producer, ring->producer);
	kvmi_ring_notify(kv->vm, ring);
	return true;
}
