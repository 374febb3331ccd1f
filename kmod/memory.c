// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-physical memory, from a thread that is not the VMM's.
 *
 * KVM's own helpers access the VMM's addresses in the current mm, which is the
 * tool's. Reads go through KVM's leaf where there is one: under kvm->mmu_lock no
 * invalidation of the host completes, so that its page stays for the copy. The
 * rest, and all writes, pin the page in the VMM's mm.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#include "hook.h"

#define KVMI_MAX_TRANSFER	SZ_1G

static int kvmi_memory_slot(struct kvm *kvm, gfn_t gfn,
			    struct kvm_memory_slot **slot)
{
	*slot = kvm_call(gfn_to_memslot)(kvm, gfn);
	if (!*slot || ((*slot)->flags & KVM_MEMSLOT_INVALID))
		return -ENXIO;
	/* KVM's own: the APIC access page, the identity map, the TSS. */
	if ((*slot)->id >= KVM_USER_MEM_SLOTS)
		return -ENXIO;
	return 0;
}

/*
 * Copy a page, or a part, by KVM's mapping: to @buf if that is mapped, which saves
 * copying it twice, else to @bounce, a page.
 *
 * Return: true if it is in either; then *@direct says which.
 */
static bool kvmi_memory_read_leaf(struct kvm *kvm, gfn_t gfn, u32 offset,
				  void __user *buf, void *bounce, u32 len,
				  bool *direct)
{
	struct kvmi_tdp_leaf leaf;
	struct kvm_vcpu *vcpu;
	bool found = false;
	unsigned long i;
	const void *from;
	kvm_pfn_t pfn;
	hpa_t root;

	rcu_read_lock();
	read_lock(&kvm->mmu_lock);
	kvm_for_each_vcpu(i, vcpu, kvm) {
		root = READ_ONCE(vcpu->arch.root_mmu.root.hpa);
		if (!VALID_PAGE(root))
			continue;
		if (kvmi_tdp_lookup(root, vcpu->arch.root_mmu.root_role.level,
				    gfn, &leaf)) {
			pfn = kvmi_tdp_leaf_pfn(&leaf, gfn);
			/* Device memory given to the guest has no page. */
			if (pfn_valid(pfn)) {
				from = page_address(pfn_to_page(pfn)) + offset;
				/* No fault can be dealt with under the lock. */
				pagefault_disable();
				*direct = !__copy_to_user_inatomic(buf, from,
								   len);
				pagefault_enable();
				if (!*direct)
					memcpy(bounce, from, len);
				found = true;
			}
		}
		break;
	}
	read_unlock(&kvm->mmu_lock);
	rcu_read_unlock();
	return found;
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
	got = compat_get_user_page_remote(mm, hva, write ? FOLL_WRITE : 0, page,
					  &locked);
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

static int kvmi_memory_read(struct kvmi_vm *vm, gfn_t gfn, u32 offset,
			    void __user *buf, u32 len, void *bounce)
{
	struct kvm_memory_slot *slot;
	struct page *page;
	bool direct = false;
	bool found = false;
	void *kaddr;
	int idx;
	int ret;

	if (!access_ok(buf, len))
		return -EFAULT;
	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	idx = srcu_read_lock(&vm->kvm->srcu);
	ret = kvmi_memory_slot(vm->kvm, gfn, &slot);
	if (!ret)
		found = kvmi_memory_read_leaf(vm->kvm, gfn, offset, buf, bounce,
					      len, &direct);
	srcu_read_unlock(&vm->kvm->srcu, idx);
	kvmi_vm_unget(vm);
	if (ret || direct)
		return ret;

	if (!found) {
		do {
			ret = kvmi_memory_get_page(vm, gfn, false, &page);
		} while (ret == -EAGAIN);
		if (ret)
			return ret;
		kaddr = kmap_local_page(page);
		memcpy(bounce, kaddr + offset, len);
		kunmap_local(kaddr);
		put_page(page);
	}
	return copy_to_user(buf, bounce, len) ? -EFAULT : 0;
}

static int kvmi_memory_write(struct kvmi_vm *vm, gfn_t gfn, u32 offset,
			     const void __user *buf, u32 len, void *bounce)
{
	struct page *page;
	void *kaddr;
	int ret;

	if (copy_from_user(bounce, buf, len))
		return -EFAULT;
	do {
		ret = kvmi_memory_get_page(vm, gfn, true, &page);
	} while (ret == -EAGAIN);
	if (ret)
		return ret;

	kaddr = kmap_local_page(page);
	memcpy(kaddr + offset, bounce, len);
	kunmap_local(kaddr);
	/* After the bytes: whoever harvests the bit in between copies them. */
	ret = kvmi_memory_mark_dirty(vm, gfn);
	set_page_dirty_lock(page);
	put_page(page);
	return ret;
}

/**
 * kvmi_memory_rw - KVMI_READ_PHYS, KVMI_WRITE_PHYS
 * @vm: vm->sem not held: a page may be long in coming
 * @args: argument of the ioctl; out_done is set in any case
 * @write: KVMI_WRITE_PHYS
 *
 * Return: 0, -EINVAL, -ENXIO, -EROFS, -EFAULT, -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_memory_rw(struct kvmi_vm *vm, struct kvmi_phys *args, bool write)
{
	void __user *buf = u64_to_user_ptr(args->buf);
	u64 gpa = args->gpa;
	void *bounce;
	int ret = 0;

	args->out_done = 0;
	if (args->flags || args->len > KVMI_MAX_TRANSFER ||
	    gpa + args->len < gpa)
		return -EINVAL;

	/* Kept from call to call: to get and clear a page costs as much again. */
	bounce = xchg(&vm->bounce, NULL);
	if (!bounce)
		bounce = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!bounce)
		return -ENOMEM;

	while (args->out_done < args->len) {
		u32 offset = offset_in_page(gpa);
		u32 len = min_t(u64, args->len - args->out_done,
				PAGE_SIZE - offset);

		if (write)
			ret = kvmi_memory_write(vm, gpa >> PAGE_SHIFT, offset,
						buf, len, bounce);
		else
			ret = kvmi_memory_read(vm, gpa >> PAGE_SHIFT, offset,
					       buf, len, bounce);
		if (ret)
			break;
		args->out_done += len;
		buf += len;
		gpa += len;

		cond_resched();
		if (signal_pending(current) && args->out_done < args->len) {
			ret = -EINTR;
			break;
		}
	}
	bounce = xchg(&vm->bounce, bounce);
	free_page((unsigned long)bounce);
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
 * @vm: vm->sem held for reading
 * @info: completed
 */
void kvmi_memory_info(struct kvmi_vm *vm, struct kvmi_info *info)
{
	struct kvm *kvm = vm->kvm;
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
