// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-physical memory, from a thread that is not the VMM's.
 *
 * KVM's own helpers access the VMM's addresses in the current mm, which is the
 * tool's. Reads go through KVM's leaf where there is one: under kvm->mmu_lock no
 * invalidation of the host completes, so that its page stays for the copy. The
 * rest, and all writes, pin the page in the VMM's mm.
 *
 * The locks that this takes are more than a small read costs, so they are kept
 * from one access of a call to the next (struct kvmi_mem), for so long as nobody
 * has to wait for them.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#include "hook.h"

#define KVMI_MAX_TRANSFER	SZ_1G
#define KVMI_MAX_LIST		65536
/* Entries of a list that are on the stack at a time. */
#define KVMI_LIST_BATCH		32
/* Accesses, each within a page, for which KVM's tables are held at most. */
#define KVMI_MEM_PIECES		64
/* ... and until it is looked whether somebody waits. */
#define KVMI_MEM_LOOK		8

/**
 * kvmi_memory_slot - the slot of a page that the guest may have
 * @kvm: the VM; kvm->srcu held
 * @gfn: guest frame number
 * @slot: found
 *
 * Return: 0 or -ENXIO.
 */
int kvmi_memory_slot(struct kvm *kvm, gfn_t gfn, struct kvm_memory_slot **slot)
{
	*slot = kvm_call(gfn_to_memslot)(kvm, gfn);
	if (!*slot || ((*slot)->flags & KVM_MEMSLOT_INVALID))
		return -ENXIO;
	/* KVM's own: the APIC access page, the identity map, the TSS. */
	if ((*slot)->id >= KVM_USER_MEM_SLOTS)
		return -ENXIO;
	return 0;
}

/* The VMM's page behind a gfn, pinned; vm->sem is not held meanwhile. */
static int kvmi_memory_get_page(struct kvmi_vm *vm, gfn_t gfn, bool write,
				struct page **page)
{
	struct kvm_memory_slot *slot;
	struct mm_struct *mm;
	unsigned long hva;
	u64 generation;
	int locked = 1;
	struct kvm *kvm;
	long got;
	int idx;
	int ret;

	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	kvm = vm->kvm;
	mm = kvm->mm;
	idx = srcu_read_lock(&kvm->srcu);
	ret = kvmi_memory_slot(kvm, gfn, &slot);
	if (!ret && write && (slot->flags & KVM_MEM_READONLY))
		ret = -EROFS;
	if (!ret) {
		hva = slot->userspace_addr +
		      ((gfn - slot->base_gfn) << PAGE_SHIFT);
		generation = kvm_memslots(kvm)->generation;
		if (!mmget_not_zero(mm))
			ret = -ENODEV;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	kvmi_vm_unget(vm);
	if (ret)
		return ret;

	/* It may fault for long, even be resolved by the VMM itself. */
	if (mmap_read_lock_killable(mm)) {
		mmput(mm);
		return -EINTR;
	}
	got = compat_get_user_pages_remote(mm, hva, 1, write ? FOLL_WRITE : 0,
					   page, &locked);
	if (locked)
		mmap_read_unlock(mm);
	mmput(mm);
	if (got != 1)
		return got == -EINTR || got == -ERESTARTSYS ? -EINTR : -ENXIO;

	/* Did the slot move meanwhile, this is not the guest's any more. */
	ret = kvmi_vm_get(vm);
	if (!ret) {
		idx = srcu_read_lock(&kvm->srcu);
		if (kvm_memslots(kvm)->generation != generation)
			ret = -EAGAIN;
		srcu_read_unlock(&kvm->srcu, idx);
		kvmi_vm_unget(vm);
	}
	if (ret)
		put_page(*page);
	return ret;
}

static int kvmi_memory_dirty_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	int idx = srcu_read_lock(&kv->vcpu->kvm->srcu);

	kvm_call(kvm_vcpu_mark_page_dirty)(kv->vcpu, *(gfn_t *)arg);
	srcu_read_unlock(&kv->vcpu->kvm->srcu, idx);
	return 0;
}

/*
 * Tell a migration. KVM's helper demands a running vCPU; what it does with a
 * bitmap is easily done, the ring needs the vCPU that it belongs to.
 */
static int kvmi_memory_mark_dirty(struct kvmi_vm *vm, gfn_t gfn)
{
	struct kvm_memory_slot *slot;
	struct kvmi_vcpu *kv;
	struct kvm *kvm;
	int idx;
	int ret;

	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	kvm = vm->kvm;
	if (kvm->dirty_ring_size) {
		kv = xa_load(&vm->vcpus, 0);
		if (kv)
			ret = kvmi_vcpu_run_job(kv, kvmi_memory_dirty_job,
						&gfn);
	} else {
		idx = srcu_read_lock(&kvm->srcu);
		if (!kvmi_memory_slot(kvm, gfn, &slot) && slot->dirty_bitmap)
			set_bit_le(gfn - slot->base_gfn, slot->dirty_bitmap);
		srcu_read_unlock(&kvm->srcu, idx);
	}
	kvmi_vm_unget(vm);
	return ret;
}

/* A page for what cannot be copied in one go; the session keeps one. May sleep. */
static void *kvmi_mem_bounce(struct kvmi_mem *mem)
{
	if (!mem->bounce)
		mem->bounce = xchg(&mem->vm->bounce, NULL);
	if (!mem->bounce)
		mem->bounce = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	return mem->bounce;
}

/**
 * kvmi_mem_begin - begin to access guest memory
 * @mem: to be ended by kvmi_mem_end()
 * @vm: vm->sem not held: a page may be long in coming
 * @view: id of the view through which it is looked at
 */
void kvmi_mem_begin(struct kvmi_mem *mem, struct kvmi_vm *vm, u32 view)
{
	mem->vm = vm;
	mem->view = view;
	mem->held = false;
	mem->bounce = NULL;
}

/**
 * kvmi_mem_release - let go of KVM's tables
 * @mem: held, or not
 *
 * To be called before anything that may fault or sleep.
 */
void kvmi_mem_release(struct kvmi_mem *mem)
{
	struct kvm *kvm;

	if (!mem->held)
		return;
	mem->held = false;
	kvm = mem->vm->kvm;
	/* For sparse, which knows no locks that are kept by a flag. */
	__acquire(&kvm->mmu_lock);
	__acquire(RCU);
	__acquire(&kvm->srcu);
	read_unlock(&kvm->mmu_lock);
	rcu_read_unlock();
	srcu_read_unlock(&kvm->srcu, mem->idx);
	kvmi_vm_unget(mem->vm);
}

/**
 * kvmi_mem_end - the end of kvmi_mem_begin()
 * @mem: held, or not
 */
void kvmi_mem_end(struct kvmi_mem *mem)
{
	void *bounce;

	kvmi_mem_release(mem);
	if (!mem->bounce)
		return;
	/* To get and clear a page costs as much as a call. */
	bounce = xchg(&mem->vm->bounce, mem->bounce);
	free_page((unsigned long)bounce);
}

static void kvmi_mem_hold(struct kvmi_mem *mem)
{
	struct kvm *kvm = mem->vm->kvm;

	mem->idx = srcu_read_lock(&kvm->srcu);
	rcu_read_lock();
	read_lock(&kvm->mmu_lock);
	__release(&kvm->mmu_lock);
	__release(RCU);
	__release(&kvm->srcu);
	mem->held = true;
	mem->pieces = 0;
	mem->slot = NULL;
	mem->leaf.level = 0;
	mem->valid = KVM_PFN_ERR_FAULT;
	mem->level = kvmi_tdp_root(kvm, &mem->root);
}

/* Not the guest's memory: one of kvmi's pages? */
static noinline int kvmi_mem_own(struct kvmi_mem *mem, gfn_t gfn, void **page)
{
	struct kvmi_own *own = kvmi_own_find(mem->vm, gfn);

	if (!own)
		return -ENXIO;
	*page = own->data;
	return 0;
}

/*
 * The guest's page where KVM maps it: NULL if it does not. It stays while the
 * tables are held, which is here until kvmi_mem_release(). In line, as the small
 * reads of a list consist of this.
 */
static __always_inline int kvmi_mem_page(struct kvmi_mem *mem, gfn_t gfn,
					 void **page)
{
	kvm_pfn_t pfn;
	int ret;

	/* Nobody is to wait for us long. */
	if (mem->held && !(++mem->pieces % KVMI_MEM_LOOK) &&
	    (mem->pieces >= KVMI_MEM_PIECES || need_resched() ||
	     rwlock_needbreak(&mem->vm->kvm->mmu_lock))) {
		kvmi_mem_release(mem);
		cond_resched();
	}
	if (!mem->held) {
		ret = kvmi_vm_get(mem->vm);
		if (ret)
			return ret;
		kvmi_mem_hold(mem);
	}

	*page = NULL;
	if (unlikely(mem->view)) {
		ret = kvmi_alias_resolve(mem->vm, mem->view, &gfn, page);
		if (ret || *page)
			return ret;
	}
	if (!mem->slot || gfn - mem->slot->base_gfn >= mem->slot->npages) {
		mem->slot = NULL;
		ret = kvmi_memory_slot(mem->vm->kvm, gfn, &mem->slot);
		if (ret) {
			mem->slot = NULL;
			return kvmi_mem_own(mem, gfn, page);
		}
	}
	if (!kvmi_tdp_lookup_near(mem->gfn, gfn, &mem->leaf)) {
		mem->leaf.level = 0;
		if (!mem->level ||
		    !kvmi_tdp_lookup(mem->root, mem->level, gfn, &mem->leaf))
			return 0;
	}
	mem->gfn = gfn;
	pfn = kvmi_tdp_leaf_pfn(&mem->leaf, gfn);
	/* Device memory given to the guest has no page. */
	if ((pfn ^ mem->valid) / PAGES_PER_SUBSECTION) {
		if (!pfn_valid(pfn))
			return 0;
		mem->valid = pfn;
	}
	*page = __va(PFN_PHYS(pfn));
	return 0;
}

/*
 * The same by the page that a view shows, or one of kvmi's own, to or from the bounce
 * page. Return: 1: it is the guest's, of number @gfn.
 */
static noinline int kvmi_mem_copy_own(struct kvmi_mem *mem, gfn_t *gfn,
				      u32 offset, u32 len, bool write)
{
	struct kvmi_vm *vm = mem->vm;
	struct kvm_memory_slot *slot;
	void *page;
	int idx;
	int ret;

	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	idx = srcu_read_lock(&vm->kvm->srcu);
	rcu_read_lock();
	ret = kvmi_alias_resolve(vm, mem->view, gfn, &page);
	if (!ret && !page && kvmi_memory_slot(vm->kvm, *gfn, &slot))
		ret = kvmi_mem_own(mem, *gfn, &page);
	if (!ret && page && write)
		memcpy(page + offset, mem->bounce, len);
	else if (!ret && page)
		memcpy(mem->bounce, page + offset, len);
	rcu_read_unlock();
	srcu_read_unlock(&vm->kvm->srcu, idx);
	kvmi_vm_unget(vm);
	return ret ?: !page;
}

/* The same by the VMM's page, copied to or from the bounce page. */
static int kvmi_mem_copy_slow(struct kvmi_mem *mem, gpa_t gpa, u32 len,
			      bool write)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;
	struct page *page;
	void *kaddr;
	int ret;

	if (unlikely(mem->view || mem->vm->nr_own)) {
		ret = kvmi_mem_copy_own(mem, &gfn, offset_in_page(gpa), len,
					write);
		if (ret <= 0)
			return ret;
	}
	do {
		ret = kvmi_memory_get_page(mem->vm, gfn, write, &page);
	} while (ret == -EAGAIN);
	if (ret)
		return ret;

	kaddr = kmap_local_page(page) + offset_in_page(gpa);
	if (write)
		memcpy(kaddr, mem->bounce, len);
	else
		memcpy(mem->bounce, kaddr, len);
	kunmap_local(kaddr);
	if (write) {
		/* After the bytes: whoever harvests the bit copies them. */
		ret = kvmi_memory_mark_dirty(mem->vm, gfn);
		set_page_dirty_lock(page);
	}
	put_page(page);
	return ret;
}

/*
 * From the guest's page to the caller's buffer, without faults. The checks of
 * copy_to_user() are for kernel objects, and take longer than a small copy: this
 * is a part of a page that the VMM has mapped.
 */
static __always_inline unsigned long
kvmi_mem_to_user(void __user *buf, const void *from, u32 len)
{
	unsigned long left;

	pagefault_disable();
	instrument_copy_to_user(buf, from, len);
	left = raw_copy_to_user(buf, from, len);
	pagefault_enable();
	return left;
}

/* Straight from the guest's page to the buffer: nothing is copied twice. */
static int kvmi_mem_read(struct kvmi_mem *mem, gpa_t gpa, void __user *buf,
			 u32 len)
{
	void *page;
	int ret;

	for (;;) {
		ret = kvmi_mem_page(mem, gpa >> PAGE_SHIFT, &page);
		if (ret)
			return ret;
		if (!page)
			break;
		/* No fault can be dealt with while the tables are held. */
		if (!kvmi_mem_to_user(buf, page + offset_in_page(gpa), len))
			return 0;
		kvmi_mem_release(mem);
		if (fault_in_writeable(buf, len))
			return -EFAULT;
		if (signal_pending(current))
			return -EINTR;
	}

	kvmi_mem_release(mem);
	if (!kvmi_mem_bounce(mem))
		return -ENOMEM;
	ret = kvmi_mem_copy_slow(mem, gpa, len, false);
	if (ret)
		return ret;
	return copy_to_user(buf, mem->bounce, len) ? -EFAULT : 0;
}

static int kvmi_mem_write(struct kvmi_mem *mem, gpa_t gpa,
			  const void __user *buf, u32 len)
{
	kvmi_mem_release(mem);
	if (!kvmi_mem_bounce(mem))
		return -ENOMEM;
	if (copy_from_user(mem->bounce, buf, len))
		return -EFAULT;
	return kvmi_mem_copy_slow(mem, gpa, len, true);
}

/* Where KVM lets the guest write, with the bitmap of dirty pages at hand. */
static bool kvmi_mem_put_fast(struct kvmi_mem *mem, gfn_t gfn, void *to,
			      const void *from)
{
	struct kvm_memory_slot *slot = mem->slot;
	struct page *page = virt_to_page(to);

	if (mem->vm->kvm->dirty_ring_size || !slot ||
	    !(kvmi_ops->spte_access(mem->leaf.spte) & KVMI_ACCESS_W) ||
	    PageReserved(page))
		return false;
	memcpy(to, from, PAGE_SIZE);
	/* After the bytes, as in kvmi_mem_copy_slow(). */
	if (slot->dirty_bitmap)
		set_bit_le(gfn - slot->base_gfn, slot->dirty_bitmap);
	SetPageDirty(page);
	return true;
}

/**
 * kvmi_mem_put_page - write a page of guest memory
 * @mem: begun, of the default view
 * @gfn: guest frame number
 * @from: the page
 *
 * Return: 0, -ENXIO, -EROFS, -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_mem_put_page(struct kvmi_mem *mem, gfn_t gfn, const void *from)
{
	void *page;
	int ret;

	ret = kvmi_mem_page(mem, gfn, &page);
	if (ret)
		return ret;
	if (page && kvmi_mem_put_fast(mem, gfn, page, from))
		return 0;

	kvmi_mem_release(mem);
	if (!kvmi_mem_bounce(mem))
		return -ENOMEM;
	memcpy(mem->bounce, from, PAGE_SIZE);
	return kvmi_mem_copy_slow(mem, gfn << PAGE_SHIFT, PAGE_SIZE, true);
}

/**
 * kvmi_mem_get - read a word of guest memory, whole
 * @mem: begun
 * @gpa: where, a multiple of @size
 * @size: 4 or 8
 * @value: what is there
 *
 * Return: 0, -ENXIO, -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_mem_get(struct kvmi_mem *mem, gpa_t gpa, u32 size, u64 *value)
{
	void *page;
	int ret;

	ret = kvmi_mem_page(mem, gpa >> PAGE_SHIFT, &page);
	if (ret)
		return ret;
	if (page) {
		page += offset_in_page(gpa);
	} else {
		kvmi_mem_release(mem);
		if (!kvmi_mem_bounce(mem))
			return -ENOMEM;
		ret = kvmi_mem_copy_slow(mem, gpa, size, false);
		if (ret)
			return ret;
		page = mem->bounce;
	}
	if (size == sizeof(u64))
		*value = READ_ONCE(*(u64 *)page);
	else
		*value = READ_ONCE(*(u32 *)page);
	return 0;
}

/* Not in line: what is in physical memory need not pay for its stack. */
static noinline int kvmi_mem_walk(struct kvmi_mem *mem,
				  const struct kvmi_walk *walk, u64 gva,
				  u64 *gpa)
{
	struct kvmi_translation tr = { .gva = gva };
	int ret;

	ret = kvmi_walk(walk, mem, &tr);
	*gpa = tr.out_gpa;
	return ret;
}

/*
 * @done is set in any case. In pieces that lie within a page; between two of
 * them the tables may be let go. With @walk, @addr is a virtual address.
 */
static int kvmi_mem_rw(struct kvmi_mem *mem, const struct kvmi_walk *walk,
		       u64 addr, void __user *buf, u64 len, bool write,
		       u64 *done)
{
	u64 gpa;
	int ret;

	*done = 0;
	/* The last page of a virtual address space may be used up. */
	if (len > KVMI_MAX_TRANSFER ||
	    (addr + len < addr && (!walk || addr + len)))
		return -EINVAL;
	if (!access_ok(buf, len))
		return -EFAULT;

	while (*done < len) {
		u32 n = min_t(u64, len - *done, PAGE_SIZE - offset_in_page(addr));

		gpa = addr;
		if (walk) {
			ret = kvmi_mem_walk(mem, walk, addr, &gpa);
			if (ret)
				return ret;
		}
		if (write)
			ret = kvmi_mem_write(mem, gpa, buf, n);
		else
			ret = kvmi_mem_read(mem, gpa, buf, n);
		if (ret)
			return ret;
		*done += n;
		buf += n;
		addr += n;

		if (!mem->held)
			cond_resched();
		if (*done < len && signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/**
 * kvmi_memory_rw - KVMI_READ_PHYS, KVMI_WRITE_PHYS
 * @vm: vm->sem not held: a page may be long in coming
 * @args: argument of the ioctl; out_done is set in any case
 * @write: KVMI_WRITE_PHYS
 *
 * Return: 0, -EINVAL, -ENOENT, -ENXIO, -EROFS, -EFAULT, -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_memory_rw(struct kvmi_vm *vm, struct kvmi_phys *args, bool write)
{
	struct kvmi_mem mem;
	u64 done;
	int ret;

	args->out_done = 0;
	if (args->flags || args->pad)
		return -EINVAL;
	kvmi_mem_begin(&mem, vm, args->view);
	ret = kvmi_mem_rw(&mem, NULL, args->gpa, u64_to_user_ptr(args->buf),
			  args->len, write, &done);
	kvmi_mem_end(&mem);
	args->out_done = done;
	return ret;
}

/**
 * kvmi_memory_file - read(2), write(2) and the like on a session
 * @vm: vm->sem not held: a page may be long in coming
 * @buf: the caller's buffer
 * @len: its size
 * @pos: guest-physical address; moved on by what is transferred
 * @write: to the guest
 *
 * Return: bytes transferred, 0 for a read at or behind the end of memory; if
 * there are none, an error as kvmi_memory_rw().
 */
ssize_t kvmi_memory_file(struct kvmi_vm *vm, void __user *buf, size_t len,
			 loff_t *pos, bool write)
{
	struct kvmi_mem mem;
	loff_t end;
	u64 done;
	int ret;

	len = min_t(size_t, len, KVMI_MAX_TRANSFER);
	kvmi_mem_begin(&mem, vm, KVMI_VIEW_DEFAULT);
	ret = kvmi_mem_rw(&mem, NULL, *pos, buf, len, write, &done);
	kvmi_mem_end(&mem);
	if (done) {
		*pos += done;
		return done;
	}
	if (ret == -ENXIO && !write) {
		end = kvmi_memory_seek(vm, 0, SEEK_END);
		if (end < 0 || *pos >= end)
			return min_t(loff_t, end, 0);
	}
	return ret;
}

/**
 * kvmi_memory_seek - where guest memory begins or ends
 * @vm: vm->sem not held
 * @from: guest-physical address
 * @whence: SEEK_DATA: the first address with memory at or behind @from;
 *	SEEK_HOLE: the first one without; SEEK_END: the one behind all memory
 *
 * Return: the address; -ENXIO for SEEK_DATA and SEEK_HOLE if @from is behind
 * all memory; -ENODEV.
 */
loff_t kvmi_memory_seek(struct kvmi_vm *vm, u64 from, int whence)
{
	struct kvm_memory_slot *slot;
	u64 gfn = from >> PAGE_SHIFT;
	u64 data = U64_MAX;
	bool more = true;
	u64 end = 0;
	int bkt, idx;
	int ret;

	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	idx = srcu_read_lock(&vm->kvm->srcu);
	/* Slots are in no order: another may begin where one ends. */
	while (more) {
		more = false;
		kvm_for_each_memslot(slot, bkt, kvm_memslots(vm->kvm)) {
			u64 next = slot->base_gfn + slot->npages;

			if (slot->id >= KVM_USER_MEM_SLOTS)
				continue;
			end = max(end, next);
			if (gfn < next)
				data = min(data, max(gfn, slot->base_gfn));
			if (whence == SEEK_HOLE && gfn >= slot->base_gfn &&
			    gfn < next) {
				gfn = next;
				more = true;
			}
		}
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
	kvmi_vm_unget(vm);

	if (whence == SEEK_END)
		return end << PAGE_SHIFT;
	if (from >> PAGE_SHIFT >= end)
		return -ENXIO;
	if (whence == SEEK_DATA)
		gfn = data;
	return max(from, gfn << PAGE_SHIFT);
}

/* Is an error that of one entry, so that the next ones may fare better? */
static bool kvmi_memory_entry_error(int err)
{
	switch (err) {
	case -EINVAL:
	case -ENXIO:
	case -EROFS:
	case -EFAULT:
	case -EADDRNOTAVAIL:
		return true;
	default:
		return false;
	}
}

static int kvmi_memory_list_put(struct kvmi_rw __user *to,
				const struct kvmi_rw *from, u32 nr)
{
	u32 i;

	if (!user_write_access_begin(to, nr * sizeof(*to)))
		return -EFAULT;
	for (i = 0; i < nr; i++) {
		unsafe_put_user(from[i].out_done, &to[i].out_done, fault);
		unsafe_put_user(from[i].out_error, &to[i].out_error, fault);
	}
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

/*
 * The tables are held from one entry to the next: what that takes is more than
 * what a small read does.
 */
static int kvmi_memory_list_some(struct kvmi_mem *mem,
				 const struct kvmi_walk *walk,
				 struct kvmi_rw_list *args,
				 struct kvmi_rw *some, u32 nr)
{
	struct kvmi_rw *t;
	u64 done;
	int ret;

	for (t = some; t < some + nr; t++) {
		done = 0;
		ret = -EINVAL;
		if (!t->flags)
			ret = kvmi_mem_rw(mem, walk, t->addr,
					  u64_to_user_ptr(t->buf), t->len,
					  args->flags & KVMI_RW_WRITE, &done);
		t->out_done = done;
		t->out_error = ret;
		if (ret) {
			if (!kvmi_memory_entry_error(ret))
				return ret;
			args->out_failed++;
		}
		args->out_done++;
	}
	return 0;
}

/**
 * kvmi_memory_list - KVMI_RW_LIST
 * @vm: vm->sem not held: a page may be long in coming
 * @args: argument of the ioctl; out_done and out_failed are set in any case
 *
 * Return: 0, -EINVAL, -EFAULT, -EINTR, -ENODEV, -ENOMEM, and what
 * kvmi_walk_begin() returns.
 */
int kvmi_memory_list(struct kvmi_vm *vm, struct kvmi_rw_list *args)
{
	struct kvmi_rw __user *list = u64_to_user_ptr(args->list);
	struct kvmi_rw some[KVMI_LIST_BATCH];
	struct kvmi_walk *walk = NULL;
	struct kvmi_walk space;
	struct kvmi_mem mem;
	u32 at, nr;
	int ret = 0;

	args->out_done = 0;
	args->out_failed = 0;
	if ((args->flags & ~(KVMI_RW_WRITE | KVMI_RW_VIRT)) || args->pad ||
	    args->pad2 || args->nr > KVMI_MAX_LIST)
		return -EINVAL;
	if (args->flags & KVMI_RW_VIRT) {
		walk = &space;
		ret = kvmi_walk_begin(walk, vm, &args->space);
		if (ret)
			return ret;
	} else if (memchr_inv(&args->space, 0, sizeof(args->space))) {
		return -EINVAL;
	}

	kvmi_mem_begin(&mem, vm, args->view);
	while (!ret && args->out_done < args->nr) {
		at = args->out_done;
		nr = min_t(u32, args->nr - at, KVMI_LIST_BATCH);
		if (copy_from_user(some, list + at, nr * sizeof(*some))) {
			ret = -EFAULT;
			break;
		}
		ret = kvmi_memory_list_some(&mem, walk, args, some, nr);
		kvmi_mem_release(&mem);
		/* Of the one that the call ended at, too. */
		if (ret)
			nr = args->out_done - at + 1;
		if (kvmi_memory_list_put(list + at, some, nr))
			ret = -EFAULT;
		cond_resched();
		if (!ret && args->out_done < args->nr &&
		    signal_pending(current))
			ret = -EINTR;
	}
	kvmi_mem_end(&mem);
	return ret;
}

/**
 * kvmi_memory_translate - KVMI_TRANSLATE
 * @vm: vm->sem not held: a page may be long in coming
 * @args: argument of the ioctl; out_done and out_failed are set in any case
 *
 * Return: 0, -EINVAL, -EFAULT, -EINTR, -ENODEV, -ENOMEM, and what
 * kvmi_walk_begin() returns.
 */
int kvmi_memory_translate(struct kvmi_vm *vm, struct kvmi_translate *args)
{
	struct kvmi_translation __user *list = u64_to_user_ptr(args->list);
	struct kvmi_translation some[KVMI_LIST_BATCH / 2];
	struct kvmi_walk walk;
	struct kvmi_mem mem;
	u32 i, nr;
	int ret;

	args->out_done = 0;
	args->out_failed = 0;
	memset(&args->out_space, 0, sizeof(args->out_space));
	if (args->flags || args->pad || args->pad2 ||
	    args->nr > KVMI_MAX_LIST)
		return -EINVAL;
	ret = kvmi_walk_begin(&walk, vm, &args->space);
	if (ret)
		return ret;
	args->out_space = walk.space;

	kvmi_mem_begin(&mem, vm, args->view);
	while (args->out_done < args->nr) {
		nr = min_t(u32, args->nr - args->out_done, ARRAY_SIZE(some));
		ret = -EFAULT;
		if (copy_from_user(some, list + args->out_done,
				   nr * sizeof(*some)))
			break;
		for (i = 0; i < nr; i++) {
			ret = kvmi_walk(&walk, &mem, &some[i]);
			some[i].out_error = ret;
			if (ret && !kvmi_memory_entry_error(ret))
				break;
		}
		kvmi_mem_release(&mem);
		if (copy_to_user(list + args->out_done, some,
				 i * sizeof(*some))) {
			ret = -EFAULT;
			break;
		}
		args->out_done += i;
		for (nr -= i; i--;)
			args->out_failed += !!some[i].out_error;
		if (nr)
			break;
		ret = 0;
		cond_resched();
		if (args->out_done < args->nr && signal_pending(current)) {
			ret = -EINTR;
			break;
		}
	}
	kvmi_mem_end(&mem);
	return ret;
}

static int kvmi_memory_cmp(const void *a, const void *b)
{
	const struct kvmi_slot *x = a;
	const struct kvmi_slot *y = b;

	return x->gfn < y->gfn ? -1 : x->gfn > y->gfn;
}

/**
 * kvmi_memory_slots - KVMI_GET_SLOTS
 * @vm: vm->sem held for reading
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EFAULT, -ENOMEM.
 */
int kvmi_memory_slots(struct kvmi_vm *vm, struct kvmi_slots *args)
{
	struct kvm *kvm = vm->kvm;
	struct kvm_memory_slot *slot;
	struct kvmi_slot *list;
	u32 room = 0, nr = 0;
	int bkt, idx;
	int ret = 0;

	if (args->flags)
		return -EINVAL;

	/* The VMM may add some in between: those are left for the next call. */
	idx = srcu_read_lock(&kvm->srcu);
	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm))
		room++;
	srcu_read_unlock(&kvm->srcu, idx);
	list = kvcalloc(room + 1, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list)
		return -ENOMEM;

	idx = srcu_read_lock(&kvm->srcu);
	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm)) {
		if (slot->id >= KVM_USER_MEM_SLOTS || nr == room)
			continue;
		list[nr].gfn = slot->base_gfn;
		list[nr].nr_pages = slot->npages;
		list[nr].id = (u16)slot->id;
		if (slot->flags & KVM_MEM_READONLY)
			list[nr].flags |= KVMI_SLOT_READONLY;
		if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
			list[nr].flags |= KVMI_SLOT_DIRTY_LOG;
		nr++;
	}
	srcu_read_unlock(&kvm->srcu, idx);

	sort(list, nr, sizeof(*list), kvmi_memory_cmp, NULL);
	args->out_nr = nr;
	if (copy_to_user(u64_to_user_ptr(args->slots), list,
			 min(nr, args->nr) * sizeof(*list)))
		ret = -EFAULT;
	kvfree(list);
	return ret;
}

/**
 * kvmi_memory_info - what KVMI_GET_INFO says of memory
 * @kvm: kept alive by the caller
 * @info: completed
 */
void kvmi_memory_info(struct kvm *kvm, struct kvmi_info *info)
{
	struct kvm_memory_slot *slot;
	int bkt, idx;

	idx = srcu_read_lock(&kvm->srcu);
	info->out_generation = kvm_memslots(kvm)->generation;
	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm)) {
		if (slot->id >= KVM_USER_MEM_SLOTS)
			continue;
		info->out_nr_slots++;
		info->out_memory += (u64)slot->npages << PAGE_SHIFT;
		info->out_max_gfn = max_t(u64, info->out_max_gfn,
					  slot->base_gfn + slot->npages - 1);
	}
	srcu_read_unlock(&kvm->srcu, idx);
}
