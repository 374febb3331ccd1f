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
	struct xarray areas;		/* headers with what is behind, by vCPU index */
};

static size_t kvmi_ring_header_size(u32 data_size)
{
	return PAGE_ALIGN(sizeof(struct kvmi_ring_header)) +
	       PAGE_ALIGN(data_size);
}

static u32 kvmi_ring_nr_pages(u32 data_size)
{
	return (kvmi_ring_header_size(data_size) >> PAGE_SHIFT) + 1;
}

static void kvmi_ring_free(struct kvmi_ring_header *header)
{
	u32 nr = kvmi_ring_nr_pages(header->data_size), i;
	struct page *page, *next;
	LIST_HEAD(pages);

	for (i = 0; i < nr; i++) {
		page = vmalloc_to_page((void *)header + i * PAGE_SIZE);
		list_add(&page->lru, &pages);
	}
	vunmap(header);
	list_for_each_entry_safe(page, next, &pages, lru)
		__free_page(page);
}

/* Of pages that are charged to who asks for it: those of vmalloc_user() are not. */
static struct kvmi_ring_header *kvmi_ring_alloc(u32 data_size)
{
	u32 nr = kvmi_ring_nr_pages(data_size), i;
	struct kvmi_ring_header *header = NULL;
	struct page **pages;

	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (i = 0; i < nr; i++) {
		pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!pages[i])
			goto err;
	}
	/* So that remap_vmalloc_range() takes it. */
	header = vmap(pages, nr, VM_MAP | VM_USERMAP, PAGE_KERNEL);
	if (!header)
		goto err;
	header->data_size = data_size;
	kvfree(pages);
	return header;
err:
	while (i--)
		__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}

static int kvmi_rings_release(struct inode *inode, struct file *file)
{
	struct kvmi_rings *rings = file->private_data;
	struct kvmi_ring_header *header;
	unsigned long i;

	xa_for_each(&rings->areas, i, header)
		kvmi_ring_free(header);
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

/*
 * The VM's own ring is in the part of the first window that no vCPU's uses: a
 * header of the default size is less than what is left of it.
 */
#define KVMI_WINDOW_VM		(BIT(25) | BIT(24))
#define KVMI_WINDOW_VM_TOOL	(KVMI_WINDOW_VM | BIT(23))

/**
 * kvmi_ring_init - make a session's ring for a vCPU
 * @sink: of the session
 * @ring: zeroed
 * @index: of the vCPU, or KVMI_VCPU_VM
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_ring_init(struct kvmi_sink *sink, struct kvmi_ring *ring, u32 index)
{
	u32 size = index == KVMI_VCPU_VM ? KVMI_DEFAULT_RING : sink->ring_size;
	struct kvmi_ring_header *header;
	int ret;

	header = kvmi_ring_alloc(size);
	if (!header)
		return -ENOMEM;
	ret = xa_err(xa_store(&sink->rings->areas, index, header,
			      GFP_KERNEL_ACCOUNT));
	if (ret) {
		kvmi_ring_free(header);
		return ret;
	}

	init_waitqueue_head(&ring->wq);
	ring->header = header;
	ring->tool = (void *)header + kvmi_ring_header_size(size);
	ring->size = size;

	ring->header->size = sizeof(*ring->header);
	ring->header->version = KVMI_ABI_VERSION;
	ring->header->vcpu = index;
	ring->header->data_offset = PAGE_ALIGN(sizeof(*ring->header));
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
 * @sink: of the session; vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -ENOENT, -EBADF if the descriptor is no eventfd.
 */
int kvmi_ring_get(struct kvmi_sink *sink, struct kvmi_get_ring *args)
{
	u64 base = (u64)args->vcpu << KVMI_WINDOW_SHIFT;
	bool own = args->vcpu == KVMI_VCPU_VM;
	struct eventfd_ctx *ctx = NULL;
	struct kvmi_watch *watch;
	struct kvmi_ring *ring;

	watch = own ? sink->own : xa_load(&sink->watches, args->vcpu);
	if (!watch)
		return -ENOENT;
	ring = &watch->ring;
	if (args->eventfd < -1)
		return -EINVAL;
	if (args->eventfd >= 0) {
		ctx = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(ctx))
			return -EBADF;
	}
	ctx = rcu_replace_pointer(ring->eventfd, ctx,
				  lockdep_is_held(&sink->vm->lock));
	if (ctx) {
		synchronize_rcu();
		eventfd_ctx_put(ctx);
	}

	args->out_header_offset = own ? KVMI_WINDOW_VM : base;
	args->out_header_size = kvmi_ring_header_size(ring->size);
	args->out_tool_offset = own ? KVMI_WINDOW_VM_TOOL :
				      base | KVMI_WINDOW_TOOL;
	args->out_tool_size = PAGE_SIZE;
	return 0;
}

/**
 * kvmi_ring_mmap - mmap() on a session
 * @sink: of the session
 * @vma: what is to be mapped
 *
 * Return: 0; -EPERM for a writable mapping of the kernel's part; -ENOENT.
 */
int kvmi_ring_mmap(struct kvmi_sink *sink, struct vm_area_struct *vma)
{
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	size_t size = vma->vm_end - vma->vm_start;
	struct kvmi_watch *watch;
	struct kvmi_ring *ring;
	size_t header;
	u32 within, tool;
	int ret;

	if (offset >= KVMI_WINDOW_VM && offset < BIT(KVMI_WINDOW_SHIFT)) {
		watch = sink->own;
		within = offset - KVMI_WINDOW_VM;
		tool = KVMI_WINDOW_VM_TOOL - KVMI_WINDOW_VM;
	} else {
		watch = xa_load(&sink->watches, offset >> KVMI_WINDOW_SHIFT);
		within = offset & (BIT(KVMI_WINDOW_SHIFT) - 1);
		tool = KVMI_WINDOW_TOOL;
	}
	if (!watch)
		return -ENOENT;
	ring = &watch->ring;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	header = kvmi_ring_header_size(ring->size);

	if (within & tool) {
		if (within != tool || size != PAGE_SIZE)
			return -EINVAL;
		ret = remap_vmalloc_range(vma, ring->header,
					  header >> PAGE_SHIFT);
	} else {
		if (within || size > header)
			return -EINVAL;
		if (vma->vm_flags & (VM_WRITE | VM_EXEC))
			return -EPERM;
		compat_vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
		ret = remap_vmalloc_range(vma, ring->header, 0);
	}
	if (ret)
		return ret;

	/* A child of the tool has no business with events it did not ask for. */
	compat_vm_flags_set(vma, VM_DONTCOPY);
	vma_set_file(vma, sink->ring_file);
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
static __always_inline struct kvmi_event *
kvmi_ring_reserve(struct kvmi_ring *ring, u32 size)
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
static __always_inline void kvmi_ring_notify(struct kvmi_sink *sink,
					     struct kvmi_ring *ring)
{
	struct eventfd_ctx *ctx;

	if (wq_has_sleeper(&sink->wq))
		wake_up_interruptible_sync_poll(&sink->wq, EPOLLIN);
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

static __always_inline void kvmi_ring_commit(struct kvmi_watch *watch, u32 kind,
					     u32 size, u64 id)
{
	struct kvmi_ring *ring = &watch->ring;

	if (id)
		WRITE_ONCE(ring->header->open_event, id);
	watch->stats.events[kind]++;
	ring->producer += size;
	WRITE_ONCE(ring->header->posted, ring->header->posted + 1);
	/* Pairs with the acquire of the tool. */
	smp_store_release(&ring->header->producer, ring->producer);
	kvmi_ring_notify(watch->sink, ring);
}

/**
 * kvmi_ring_post - post the record of an event
 * @kv: the calling vCPU
 * @watch: of the session that is told
 * @ex: what is to be told
 * @regs: register sets that go along
 * @id: of a synchronous event, or 0
 *
 * Return: false if the ring is full, or the tool's position makes no sense.
 */
bool kvmi_ring_post(struct kvmi_vcpu *kv, struct kvmi_watch *watch,
		    const struct kvmi_exit *ex, u32 regs, u64 id)
{
	u32 size = sizeof(struct kvmi_event) + ex->size + kvmi_regs_size(regs);
	struct kvmi_ring *ring = &watch->ring;
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
	rec->regs = regs;
	rec->view = kvmi_view_shown(kv);
	/* A few words, in line. */
	for (i = 0; i < ex->size / sizeof(u64); i++)
		((u64 *)(rec + 1))[i] = ex->payload.raw[i];
	if (likely(regs == KVMI_REGS_GENERAL))
		kvmi_regs_get_gprs(kv->vcpu, (void *)(rec + 1) + ex->size);
	else if (regs)
		kvmi_regs_fill(kv, regs, (void *)(rec + 1) + ex->size);

	kvmi_ring_commit(watch, ex->kind, size, id);
	return true;
}

/**
 * kvmi_ring_post_vm - post the record of an event of the VM itself
 * @watch: sink->own of the session that is told, sink->own_lock held
 * @ex: what is to be told
 * @id: if it awaits an answer, or 0
 *
 * Return: false if the ring is full, or the tool's position makes no sense.
 */
bool kvmi_ring_post_vm(struct kvmi_watch *watch, const struct kvmi_exit *ex,
		       u64 id)
{
	u32 size = sizeof(struct kvmi_event) + ex->size;
	struct kvmi_ring *ring = &watch->ring;
	struct kvmi_event *rec;

	rec = kvmi_ring_reserve(ring, size);
	if (!rec)
		return false;

	memset(rec, 0, sizeof(*rec));
	rec->size = size;
	rec->kind = ex->kind;
	rec->flags = id ? KVMI_EVENT_F_SYNC : 0;
	rec->vcpu = KVMI_VCPU_VM;
	rec->header = sizeof(*rec);
	rec->payload = ex->size;
	rec->id = id;
	rec->seq = ring->seq;
	rec->time_ns = ktime_get_ns();
	memcpy(rec + 1, &ex->payload, ex->size);
	kvmi_ring_commit(watch, ex->kind, size, id);
	return true;
}
