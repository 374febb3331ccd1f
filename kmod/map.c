// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory, mapped into the tool.
 *
 * The mapping has the VMM's pages by frame number: without a reference, so that
 * the host can swap, migrate, merge and take them as if nobody looked on. For
 * that, whatever drops a page from the VMM's page tables drops it from the tools'
 * first: an MMU notifier on the VMM's mm does, one for each memory slot; it calls
 * unmap_mapping_range() on an inode that is this VM's alone. Slots that KVM drops
 * or moves are told by its hook (mmuhook.c).
 *
 * A fault inserts first and asks the notifier then whether it has been called
 * meanwhile: until that is known, it holds references. It waits for nothing of
 * the VMM with the tool's mmap_lock held, as both may be the same, or each look
 * at the other: what is not there at once is made to be with the lock dropped,
 * and the fault begins anew.
 *
 * The fault takes kvmi_map_srcu instead of vm->sem, which calls hold that read
 * the tool's memory.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>

#include "compat/mm.h"
#include "hook.h"

#define KVMI_FS_MAGIC		0x6b766d69

/* Where guest memory begins in the session's offsets: behind all rings. */
#define KVMI_MAP_OFFSET		BIT_ULL(38)
/* Pages that one fault maps at most. */
#define KVMI_MAP_AROUND		16
#define KVMI_MAP_MAX_REGIONS	65536

/* A place in the VMM's memory where a slot is, or was. */
struct kvmi_region {
	struct mmu_interval_notifier notifier;
	struct hlist_node node;
	struct kvmi_map *map;
	unsigned long hva;
	gfn_t gfn;
	u64 nr_pages;
};

#define KVMI_REGION_BITS	6

/**
 * struct kvmi_map - guest memory as a file
 * @file: what mappings refer to; frees this at its end
 * @kvm: NULL once the VM is let go or gone; under kvmi_map_srcu
 * @mm: the VMM's, grabbed
 * @lock: a region's sequence number; @regions
 * @regions: struct kvmi_region by gfn
 * @nr_regions: of them
 * @mutex: adding regions
 * @prime: has the VMM's mm know such notifiers before a mapping is made: it may be
 *	the tool's, and the first one takes all its locks
 */
struct kvmi_map {
	struct file *file;
	struct kvm *kvm;
	struct mm_struct *mm;
	spinlock_t lock;		/* sequence numbers, regions */
	struct hlist_head regions[1 << KVMI_REGION_BITS];
	u32 nr_regions;
	struct mutex mutex;		/* adding regions */
	struct mmu_interval_notifier prime;
};

DEFINE_STATIC_SRCU(kvmi_map_srcu);

/*
 * Taken where the VMM's memory is being invalidated, when locks of this class
 * may be held of other files.
 */
static struct lock_class_key kvmi_map_i_mmap_key;

/* Pinned while there is a map, and pins the module. */
static struct vfsmount *kvmi_map_mnt;
static int kvmi_map_mnt_count;

static int kvmi_map_init_fs(struct fs_context *fc)
{
	return init_pseudo(fc, KVMI_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type kvmi_map_fs = {
	.name = "kvmi",
	.owner = THIS_MODULE,
	.init_fs_context = kvmi_map_init_fs,
	.kill_sb = kill_anon_super,
};

/* Who takes pages from mappings just now: on the stacks of kvmi_map_zap(). */
struct kvmi_zapper {
	struct list_head node;
	struct task_struct *task;
};

static LIST_HEAD(kvmi_map_zappers);
static DEFINE_SPINLOCK(kvmi_map_zappers_lock);

static bool kvmi_map_zapping(void)
{
	struct kvmi_zapper *zapper;
	bool found = false;

	spin_lock(&kvmi_map_zappers_lock);
	list_for_each_entry(zapper, &kvmi_map_zappers, node)
		found |= zapper->task == current;
	spin_unlock(&kvmi_map_zappers_lock);
	return found;
}

/*
 * Take pages from all mappings, which may not be faulting them in anew; up to the
 * end if @nr_pages is 0.
 *
 * With the mapping's lock held this tells the notifiers of the tools' mm, and is
 * itself called by the notifier of the VMM's: a recursion to lockdep, which does
 * not know one mm from another, and an inversion. It is none: what a notifier of
 * a tool's mm may wait for (a lock of another driver, mmu_lock of another KVM)
 * nobody holds who is here, and nobody waits in it for an invalidation elsewhere
 * to end.
 *
 * One thing must not be: mm_take_all_locks() on a tool's mm would hold the
 * mapping's lock while it waits for those of all memory in it, and meet who holds
 * one of these and comes here, if the tool has in its mm what the VMM has (it is
 * the VMM, a child of it, or shares a file). See kvmi_map_in().
 *
 * A slot may be made of a mapping, were it of its own: then it is our own notifier
 * that is told, and must not come back here. It has nothing to do either: no
 * mapping has pages of another, as get_user_pages() refuses them.
 */
static void kvmi_map_zap(struct kvmi_map *map, gfn_t gfn, u64 nr_pages)
{
	struct address_space *mapping = map->file->f_mapping;
	struct kvmi_zapper zapper = { .task = current };

	if (!mapping_mapped(mapping))
		return;
	spin_lock(&kvmi_map_zappers_lock);
	list_add(&zapper.node, &kvmi_map_zappers);
	spin_unlock(&kvmi_map_zappers_lock);

	lockdep_off();
	unmap_mapping_range(mapping, KVMI_MAP_OFFSET + (gfn << PAGE_SHIFT),
			    nr_pages << PAGE_SHIFT, 1);
	lockdep_on();

	spin_lock(&kvmi_map_zappers_lock);
	list_del(&zapper.node);
	spin_unlock(&kvmi_map_zappers_lock);
}

static bool kvmi_map_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range,
				unsigned long seq)
{
	struct kvmi_region *region = container_of(notifier, struct kvmi_region,
						  notifier);
	struct kvmi_map *map = region->map;
	struct address_space *mapping = map->file->f_mapping;
	unsigned long start = max(range->start, region->hva);
	unsigned long end = min(range->end, region->hva +
				(region->nr_pages << PAGE_SHIFT));

	/*
	 * Whoever maps it from here on waits in mmu_interval_read_begin() until
	 * this is over.
	 */
	bool zap = start < end && mapping_mapped(mapping) && !kvmi_map_zapping();

	if (zap && !mmu_notifier_range_blockable(range))
		return false;
	spin_lock(&map->lock);
	mmu_interval_set_seq(notifier, seq);
	spin_unlock(&map->lock);
	if (!zap)
		return true;

	/* What kvmi_map_zap() does not tell lockdep. */
	might_lock_read(&mapping->i_mmap_rwsem);
	kvmi_map_zap(map, region->gfn + ((start - region->hva) >> PAGE_SHIFT),
		     (end - start) >> PAGE_SHIFT);
	return true;
}

static const struct mmu_interval_notifier_ops kvmi_map_notifier_ops = {
	.invalidate = kvmi_map_invalidate,
};

static bool kvmi_map_prime(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range,
			   unsigned long seq)
{
	return true;
}

static const struct mmu_interval_notifier_ops kvmi_map_prime_ops = {
	.invalidate = kvmi_map_prime,
};

static struct hlist_head *kvmi_map_head(struct kvmi_map *map, gfn_t gfn)
{
	return &map->regions[hash_64(gfn, KVMI_REGION_BITS)];
}

static struct kvmi_region *kvmi_map_region(struct kvmi_map *map,
					   const struct kvm_memory_slot *slot)
{
	struct kvmi_region *region;
	struct kvmi_region *found = NULL;

	spin_lock(&map->lock);
	hlist_for_each_entry(region, kvmi_map_head(map, slot->base_gfn), node) {
		if (region->gfn == slot->base_gfn &&
		    region->nr_pages == slot->npages &&
		    region->hva == slot->userspace_addr) {
			found = region;
			break;
		}
	}
	spin_unlock(&map->lock);
	return found;
}

/* Regions stay until the end of the map: most slots come back to their place. */
static int kvmi_map_add_region(struct kvmi_map *map,
			       const struct kvm_memory_slot *slot)
{
	struct kvmi_region *region;
	int ret = 0;

	if (mutex_lock_killable(&map->mutex))
		return -EINTR;
	if (kvmi_map_region(map, slot))
		goto out;
	ret = -ENOSPC;
	if (map->nr_regions == KVMI_MAP_MAX_REGIONS)
		goto out;
	ret = -ENOMEM;
	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		goto out;
	region->map = map;
	region->hva = slot->userspace_addr;
	region->gfn = slot->base_gfn;
	region->nr_pages = slot->npages;
	ret = mmu_interval_notifier_insert(&region->notifier, map->mm,
					   region->hva,
					   region->nr_pages << PAGE_SHIFT,
					   &kvmi_map_notifier_ops);
	if (ret) {
		kfree(region);
		goto out;
	}
	map->nr_regions++;
	spin_lock(&map->lock);
	hlist_add_head(&region->node, kvmi_map_head(map, region->gfn));
	spin_unlock(&map->lock);
out:
	mutex_unlock(&map->mutex);
	return ret;
}

/* What is there at once: pages that the VMM has mapped. */
static int kvmi_map_insert(struct kvmi_map *map, struct vm_fault *vmf,
			   struct kvmi_region *region, gfn_t gfn)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *pages[KVMI_MAP_AROUND];
	unsigned long addr = vmf->address & PAGE_MASK;
	unsigned long hva, seq;
	vm_fault_t fault = 0;
	u64 nr;
	long got, i;
	bool retry;

	nr = min_t(u64, KVMI_MAP_AROUND, region->gfn + region->nr_pages - gfn);
	nr = min_t(u64, nr, (vma->vm_end - addr) >> PAGE_SHIFT);
	hva = region->hva + ((gfn - region->gfn) << PAGE_SHIFT);

	if (!mmget_not_zero(map->mm))
		return -ENXIO;
	seq = mmu_interval_read_begin(&region->notifier);
	/* Its lock is ours where the VMM is the tool. */
	got = -EAGAIN;
	if (map->mm == vma->vm_mm || mmap_read_trylock(map->mm)) {
		got = compat_get_user_pages_remote(map->mm, hva, nr,
						   FOLL_NOFAULT, pages, NULL);
		if (map->mm != vma->vm_mm)
			mmap_read_unlock(map->mm);
	}
	/* Not here, were it the last one. */
	mmput_async(map->mm);
	if (got <= 0)
		return -EAGAIN;

	for (i = 0; i < got && !(fault & VM_FAULT_ERROR); i++)
		fault = vmf_insert_pfn(vma, addr + i * PAGE_SIZE,
				       page_to_pfn(pages[i]));
	spin_lock(&map->lock);
	retry = mmu_interval_read_retry(&region->notifier, seq);
	spin_unlock(&map->lock);
	/* Only what this inserted, or what others insert anew. */
	if (retry)
		zap_vma_ptes(vma, addr, got << PAGE_SHIFT);
	for (i = 0; i < got; i++)
		put_page(pages[i]);
	return fault & VM_FAULT_OOM ? -ENOMEM :
	       fault & VM_FAULT_ERROR ? -ENXIO : 0;
}

static int kvmi_map_try(struct kvmi_map *map, struct vm_fault *vmf, gfn_t gfn)
{
	struct kvm_memory_slot *slot;
	struct kvmi_region *region;
	struct kvm *kvm;
	int srcu, idx;
	int ret;

	srcu = srcu_read_lock(&kvmi_map_srcu);
	ret = -ENXIO;
	kvm = READ_ONCE(map->kvm);
	if (!kvm)
		goto out;
	/*
	 * Held to the end: KVM waits for it before it tells that a slot is no
	 * more.
	 */
	idx = srcu_read_lock(&kvm->srcu);
	ret = kvmi_memory_slot(kvm, gfn, &slot);
	if (!ret) {
		ret = -EAGAIN;
		region = kvmi_map_region(map, slot);
		if (region)
			ret = kvmi_map_insert(map, vmf, region, gfn);
	}
	srcu_read_unlock(&kvm->srcu, idx);
out:
	srcu_read_unlock(&kvmi_map_srcu, srcu);
	return ret;
}

/* Have the VMM's page be there. No lock of the tool's is held. */
static int kvmi_map_populate(struct kvmi_map *map, gfn_t gfn)
{
	struct kvm_memory_slot *slot;
	struct kvm_memory_slot copy;
	struct page *page;
	int locked = 1;
	struct kvm *kvm;
	int srcu, idx;
	long got;
	int ret;

	srcu = srcu_read_lock(&kvmi_map_srcu);
	ret = -ENXIO;
	kvm = READ_ONCE(map->kvm);
	if (kvm) {
		idx = srcu_read_lock(&kvm->srcu);
		ret = kvmi_memory_slot(kvm, gfn, &slot);
		if (!ret) {
			copy.base_gfn = slot->base_gfn;
			copy.npages = slot->npages;
			copy.userspace_addr = slot->userspace_addr;
		}
		srcu_read_unlock(&kvm->srcu, idx);
	}
	srcu_read_unlock(&kvmi_map_srcu, srcu);
	if (ret)
		return ret;

	if (!mmget_not_zero(map->mm))
		return -ENXIO;
	ret = kvmi_map_add_region(map, &copy);
	if (ret)
		goto out;
	ret = -EINTR;
	if (mmap_read_lock_killable(map->mm))
		goto out;
	got = compat_get_user_pages_remote(map->mm, copy.userspace_addr +
					   ((gfn - copy.base_gfn) << PAGE_SHIFT),
					   1, 0, &page, &locked);
	if (locked)
		mmap_read_unlock(map->mm);
	ret = 0;
	if (got == 1)
		put_page(page);
	else if (got != -EINTR && got != -ERESTARTSYS)
		ret = got == -ENOMEM ? -ENOMEM : -ENXIO;
	else
		ret = -EINTR;
out:
	mmput(map->mm);
	return ret;
}

static vm_fault_t kvmi_map_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

static vm_fault_t kvmi_map_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct kvmi_map *map = vma->vm_private_data;
	gfn_t gfn = vmf->pgoff - (KVMI_MAP_OFFSET >> PAGE_SHIFT);
	struct mm_struct *mm = vma->vm_mm;
	struct file *file;
	int ret;

	ret = kvmi_map_try(map, vmf, gfn);
	if (!ret)
		return VM_FAULT_NOPAGE;
	if (ret != -EAGAIN)
		return kvmi_map_error(ret);

	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY))
		return VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	/* The mapping may go as soon as the lock is dropped. */
	file = get_file(vma->vm_file);
	mmap_read_unlock(mm);
	ret = kvmi_map_populate(map, gfn);
	fput(file);
	if (!ret || ret == -EINTR)
		return VM_FAULT_RETRY;
	/* With an error it is expected to be held. */
	mmap_read_lock(mm);
	return kvmi_map_error(ret);
}

static const struct vm_operations_struct kvmi_map_vm_ops = {
	.fault = kvmi_map_fault,
};

/**
 * kvmi_map_in - does an address space have guest memory mapped?
 * @mm: its mmap_lock held
 *
 * Then nobody may take all its locks: kvmi_map_zap() says why. That is done by
 * who registers an MMU notifier on it: KVM_CREATE_VM, for instance, is EBUSY.
 *
 * Return: true if so.
 */
bool kvmi_map_in(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, 0);
	mmap_assert_locked(mm);
	for_each_vma(vmi, vma)
		if (vma->vm_ops == &kvmi_map_vm_ops)
			return true;
	return false;
}

static int kvmi_map_release(struct inode *inode, struct file *file)
{
	struct kvmi_map *map = file->private_data;
	struct kvmi_region *region;
	struct hlist_node *next;
	int i;

	for (i = 0; i < ARRAY_SIZE(map->regions); i++) {
		hlist_for_each_entry_safe(region, next, &map->regions[i], node) {
			mmu_interval_notifier_remove(&region->notifier);
			kfree(region);
		}
	}
	mmu_interval_notifier_remove(&map->prime);
	mmdrop(map->mm);
	mutex_destroy(&map->mutex);
	kfree(map);
	simple_release_fs(&kvmi_map_mnt, &kvmi_map_mnt_count);
	return 0;
}

static const struct file_operations kvmi_map_fops = {
	.owner = THIS_MODULE,
	.release = kvmi_map_release,
};

static struct kvmi_map *kvmi_map_create(struct kvm *kvm)
{
	struct kvmi_map *map;
	struct inode *inode;
	int ret;

	map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (!map)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&map->lock);
	mutex_init(&map->mutex);

	map->kvm = kvm;
	map->mm = kvm->mm;
	ret = -ENODEV;
	if (!mmget_not_zero(map->mm))
		goto err_map;
	ret = mmu_interval_notifier_insert(&map->prime, map->mm, 0, PAGE_SIZE,
					   &kvmi_map_prime_ops);
	mmput(map->mm);
	if (ret)
		goto err_map;
	mmgrab(map->mm);

	ret = simple_pin_fs(&kvmi_map_fs, &kvmi_map_mnt, &kvmi_map_mnt_count);
	if (ret)
		goto err_prime;
	inode = alloc_anon_inode(kvmi_map_mnt->mnt_sb);
	if (IS_ERR(inode)) {
		ret = PTR_ERR(inode);
		goto err_fs;
	}
	lockdep_set_class(&inode->i_mapping->i_mmap_rwsem,
			  &kvmi_map_i_mmap_key);
	/* The file's end drops it. */
	__module_get(THIS_MODULE);
	map->file = alloc_file_pseudo(inode, kvmi_map_mnt, "[kvmi-memory]",
				      O_RDWR, &kvmi_map_fops);
	if (IS_ERR(map->file)) {
		ret = PTR_ERR(map->file);
		module_put(THIS_MODULE);
		iput(inode);
		goto err_fs;
	}
	map->file->private_data = map;
	return map;

err_fs:
	simple_release_fs(&kvmi_map_mnt, &kvmi_map_mnt_count);
err_prime:
	mmu_interval_notifier_remove(&map->prime);
	mmdrop(map->mm);
err_map:
	kfree(map);
	return ERR_PTR(ret);
}

/**
 * kvmi_map_get - KVMI_GET_MAP
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOMEM, -ENODEV (the VMM is ending), -EINTR,
 * -EBUSY (see kvmi_map_in()).
 */
int kvmi_map_get(struct kvmi_vm *vm, struct kvmi_get_map *args)
{
	struct kvmi_info info = { };
	struct kvmi_map *map;

	if (args->flags)
		return -EINVAL;
	/* Without the hooks nobody tells that a slot has gone. */
	if (!vm->view_hooks || !kvmi_mmu_locks_hooked())
		return -EOPNOTSUPP;
	if (!vm->map) {
		map = kvmi_map_create(vm->kvm);
		if (IS_ERR(map))
			return PTR_ERR(map);
		/* Pairs with the acquire in kvmi_map_mmap(). */
		smp_store_release(&vm->map, map);
	}
	kvmi_memory_info(vm->kvm, &info);
	args->out_offset = KVMI_MAP_OFFSET;
	args->out_size = (info.out_max_gfn + 1) << PAGE_SHIFT;
	return 0;
}

/**
 * kvmi_map_offset - does a mapping of a session begin in guest memory?
 * @vma: the mapping
 *
 * Return: true if so; else it may be of a ring.
 */
bool kvmi_map_offset(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff >= KVMI_MAP_OFFSET >> PAGE_SHIFT;
}

/**
 * kvmi_map_mmap - mmap() of guest memory on a session
 * @vm: its VM
 * @vma: what is to be mapped
 *
 * Return: 0; -EPERM for a writable or executable mapping; -EINVAL for a private
 * one; -ENOENT without a KVMI_GET_MAP before.
 */
int kvmi_map_mmap(struct kvmi_vm *vm, struct vm_area_struct *vma)
{
	/* Pairs with the release in kvmi_map_get(). */
	struct kvmi_map *map = smp_load_acquire(&vm->map);

	if (!map)
		return -ENOENT;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	compat_vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	compat_vm_flags_set(vma, VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND |
				 VM_DONTDUMP);
	vma->vm_ops = &kvmi_map_vm_ops;
	vma->vm_private_data = map;
	vma_set_file(vma, map->file);
	return 0;
}

/**
 * kvmi_map_slot_gone - KVM has dropped a memory slot
 * @kvm: the VM; kvm->slots_lock held
 * @slot: not found by anybody any more
 */
void kvmi_map_slot_gone(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	struct kvmi_vm *vm = kvmi_vm_find(kvm);
	struct kvmi_map *map;

	if (!vm)
		return;
	/* Pairs with the release in kvmi_map_get(). */
	map = smp_load_acquire(&vm->map);
	if (map)
		kvmi_map_zap(map, slot->base_gfn, slot->npages);
	kvmi_vm_put(vm);
}

/**
 * kvmi_map_detach - the VM is let go, or gone
 * @vm: no kvmi_map_get() comes any more; mappings stay, and have no pages
 */
void kvmi_map_detach(struct kvmi_vm *vm)
{
	struct kvmi_map *map = vm->map;

	if (!map)
		return;
	WRITE_ONCE(map->kvm, NULL);
	synchronize_srcu(&kvmi_map_srcu);
	kvmi_map_zap(map, 0, 0);
}

/**
 * kvmi_map_put - the session is gone
 * @vm: detached
 */
void kvmi_map_put(struct kvmi_vm *vm)
{
	if (vm->map)
		fput(vm->map->file);
}
