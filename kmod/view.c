// SPDX-License-Identifier: GPL-2.0-only
/*
 * Views: alternate second-level page tables of a VM.
 *
 * A view's leaves are copies of KVM's, made when the guest faults in the view,
 * after KVM has handled the fault in its own tables, with the rights of the view
 * ANDed in. KVM's tables are the source of truth and are never edited.
 *
 * A view never maps what KVM does not: every path on which KVM drops or tightens
 * a mapping ends in kvmi_view_zap() (mmuhook.c), before the host can give the
 * page to somebody else. A copy is made under kvm->mmu_lock (read) and
 * vm->view_lock, so that it either precedes the zap, or finds KVM's leaf gone.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hook.h"

#define BLOCK_SHIFT		9
#define BLOCK_PAGES		(1 << BLOCK_SHIFT)
#define KVMI_MAX_RANGES		65536

/**
 * kvmi_view_access - the rights of a page in a view
 * @tree: the view; under RCU
 * @gfn: guest frame number
 *
 * Return: KVMI_ACCESS_*.
 */
u32 kvmi_view_access(struct kvmi_tree *tree, gfn_t gfn)
{
	u8 *block = xa_load(&tree->blocks, gfn >> BLOCK_SHIFT);
	u8 access;

	if (!block)
		return tree->default_access;
	access = READ_ONCE(block[gfn & (BLOCK_PAGES - 1)]);
	return access == KVMI_ACCESS_DEFAULT ? tree->default_access : access;
}

/**
 * kvmi_view_exists - is there such a view?
 * @vm: the VM
 * @id: of the view; the default view exists
 *
 * Return: true if so.
 */
bool kvmi_view_exists(struct kvmi_vm *vm, u32 id)
{
	return id == KVMI_VIEW_DEFAULT || xa_load(&vm->views, id);
}

/**
 * kvmi_view_enter - run on a view from the next entry on
 * @kv: the vCPU; called on its thread, or with it loaded
 * @id: of the view
 *
 * KVM would not load a root that it has not changed: it is asked to. On SVM,
 * translations are tagged by ASID and survive a switch of the root.
 */
void kvmi_view_enter(struct kvmi_vcpu *kv, u32 id)
{
	if (kv->view == id)
		return;
	WRITE_ONCE(kv->view, id);
	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, kv->vcpu);
	if (kvmi_ops->flush_is_asid)
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, kv->vcpu);
}

/**
 * kvmi_view_root - the root that a vCPU is to run on
 * @kv: the vCPU; under RCU
 * @root_level: that KVM uses
 *
 * Return: INVALID_PAGE for KVM's own.
 */
hpa_t kvmi_view_root(struct kvmi_vcpu *kv, int root_level)
{
	struct kvmi_tree *tree = xa_load(&kv->vm->views, READ_ONCE(kv->view));

	if (!tree || WARN_ON_ONCE(tree->level != root_level))
		return INVALID_PAGE;
	return __pa(tree->root);
}

static int kvmi_view_switch_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	u32 id = *(u32 *)arg;

	if (kv->step.mode == KVMI_STEP_FAST)
		kv->step.back = id;
	else
		kvmi_view_enter(kv, id);
	return 0;
}

/**
 * kvmi_view_switch - KVMI_VIEW_SWITCH
 * @vm: vm->sem held for reading, vm->lock held
 * @vcpu: index, or KVMI_VCPU_ALL
 * @id: of the view
 *
 * Return: 0, -ENOENT, -EINTR, -ENOMEM (some vCPUs may have switched by then).
 */
int kvmi_view_switch(struct kvmi_vm *vm, u32 vcpu, u32 id)
{
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	if (!kvmi_view_exists(vm, id))
		return -ENOENT;
	if (vcpu != KVMI_VCPU_ALL) {
		kv = xa_load(&vm->vcpus, vcpu);
		if (!kv)
			return -ENOENT;
		return kvmi_vcpu_run_job(kv, kvmi_view_switch_job, &id);
	}

	vm->def_view = id;
	xa_for_each(&vm->vcpus, i, kv) {
		ret = kvmi_vcpu_run_job(kv, kvmi_view_switch_job, &id);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kvmi_view_create - KVMI_VIEW_CREATE
 * @vm: vm->sem held for reading, vm->lock held
 * @default_access: of pages whose access is not set
 * @id: set to the view's id
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOSPC, -ENOMEM, -EAGAIN (no vCPU yet).
 */
int kvmi_view_create(struct kvmi_vm *vm, u32 default_access, u32 *id)
{
	struct kvmi_tree *tree;
	struct kvm_vcpu *vcpu;
	int ret;

	if (default_access & ~KVMI_ACCESS_RWX)
		return -EINVAL;
	if (!(kvmi_ops->access() & BIT(default_access)) || !vm->view_hooks)
		return -EOPNOTSUPP;
	vcpu = kvm_get_vcpu(vm->kvm, 0);
	if (!vcpu)
		return -EAGAIN;

	tree = kzalloc(sizeof(*tree), GFP_KERNEL_ACCOUNT);
	if (!tree)
		return -ENOMEM;
	tree->default_access = default_access;
	tree->level = vcpu->arch.root_mmu.root_role.level;
	xa_init(&tree->blocks);
	ret = -ENOMEM;
	tree->root = kvmi_tdp_alloc();
	if (!tree->root)
		goto err_tree;

	/* Whatever a CPU remembers of this page as a root is of another one. */
	kvm_call(kvm_flush_remote_tlbs)(vm->kvm);

	ret = xa_alloc(&vm->views, &tree->id, tree,
		       XA_LIMIT(1, KVMI_MAX_VIEWS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		if (ret == -EBUSY)
			ret = -ENOSPC;
		goto err_root;
	}
	vm->nr_views++;
	*id = tree->id;
	return 0;

err_root:
	free_page((unsigned long)tree->root);
err_tree:
	kfree(tree);
	return ret;
}

/* No vCPU is on it, nor can get there. */
static void kvmi_view_free(struct kvmi_vm *vm, struct kvmi_tree *tree)
{
	unsigned long i;
	u8 *block;

	spin_lock(&vm->view_lock);
	xa_erase(&vm->views, tree->id);
	spin_unlock(&vm->view_lock);
	vm->nr_views--;

	/*
	 * After this, whoever is in the guest has loaded its root since, and
	 * no CPU has translations left; and no reader under RCU is left.
	 */
	kvm_call(kvm_make_all_cpus_request)(vm->kvm, KVM_REQ_LOAD_MMU_PGD);
	kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	synchronize_rcu_expedited();

	kvmi_tdp_free(tree);
	xa_for_each(&tree->blocks, i, block)
		kfree(block);
	xa_destroy(&tree->blocks);
	kfree(tree);
}

static int kvmi_view_leave_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	u32 id = *(u32 *)arg;

	if (kv->step.mode == KVMI_STEP_FAST && kv->step.back == id)
		kv->step.back = KVMI_VIEW_DEFAULT;
	if (kv->view == id)
		kvmi_view_enter(kv, KVMI_VIEW_DEFAULT);
	return 0;
}

/**
 * kvmi_view_destroy - KVMI_VIEW_DESTROY
 * @vm: vm->sem held for reading, vm->lock held
 * @id: of the view
 *
 * Return: 0, -ENOENT, -EOPNOTSUPP (the default view), -EINTR, -ENOMEM.
 */
int kvmi_view_destroy(struct kvmi_vm *vm, u32 id)
{
	struct kvmi_tree *tree;
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	if (id == KVMI_VIEW_DEFAULT)
		return -EOPNOTSUPP;
	tree = xa_load(&vm->views, id);
	if (!tree)
		return -ENOENT;

	if (vm->def_view == id)
		vm->def_view = KVMI_VIEW_DEFAULT;
	xa_for_each(&vm->vcpus, i, kv) {
		ret = kvmi_vcpu_run_job(kv, kvmi_view_leave_job, &id);
		if (ret)
			return ret;
	}
	/*
	 * A reply that names it may come in still: kv->view then names no
	 * view, which is as good as the default (kvmi_view_root()).
	 */
	kvmi_view_free(vm, tree);
	return 0;
}

/**
 * kvmi_view_destroy_all - the VM is let go
 * @vm: no vCPU is on a view
 */
void kvmi_view_destroy_all(struct kvmi_vm *vm)
{
	struct kvmi_tree *tree;
	unsigned long i;

	xa_for_each(&vm->views, i, tree)
		kvmi_view_free(vm, tree);
}

/* ---- access rights ----------------------------------------------------------------- */

/* Every page must be the guest's; slots are asked once each. */
static int kvmi_view_check_range(struct kvmi_vm *vm,
				 const struct kvmi_access_range *range)
{
	struct kvm_memory_slot *slot;
	u64 gfn = range->gfn;
	u64 end = gfn + range->nr_pages;

	if (!range->nr_pages || end < gfn)
		return -EINVAL;
	if (range->access != KVMI_ACCESS_DEFAULT) {
		if (range->access & ~KVMI_ACCESS_RWX)
			return -EINVAL;
		if (!(kvmi_ops->access() & BIT(range->access)))
			return -EOPNOTSUPP;
	}
	while (gfn < end) {
		slot = kvm_call(gfn_to_memslot)(vm->kvm, gfn);
		if (!slot || (slot->flags & KVM_MEMSLOT_INVALID))
			return -ENXIO;
		if (slot->id >= KVM_USER_MEM_SLOTS)
			return -EOPNOTSUPP;
		gfn = slot->base_gfn + slot->npages;
	}
	return 0;
}

static int kvmi_view_need_blocks(struct kvmi_tree *tree,
				 const struct kvmi_access_range *range)
{
	unsigned long first = range->gfn >> BLOCK_SHIFT;
	unsigned long last = (range->gfn + range->nr_pages - 1) >> BLOCK_SHIFT;
	unsigned long i;
	u8 *block;
	int ret;

	for (i = first; i <= last; i++) {
		if (xa_load(&tree->blocks, i))
			continue;
		block = kmalloc(BLOCK_PAGES, GFP_KERNEL_ACCOUNT);
		if (!block)
			return -ENOMEM;
		memset(block, KVMI_ACCESS_DEFAULT, BLOCK_PAGES);
		ret = xa_err(xa_store(&tree->blocks, i, block,
				      GFP_KERNEL_ACCOUNT));
		if (ret) {
			kfree(block);
			return ret;
		}
		cond_resched();
	}
	return 0;
}

static bool kvmi_view_set_range(struct kvmi_vm *vm, struct kvmi_tree *tree,
				const struct kvmi_access_range *range)
{
	u64 gfn = range->gfn;
	u64 end = gfn + range->nr_pages;
	bool flush = false;
	u8 *block;
	u64 next;

	for (; gfn < end; gfn = next) {
		next = min_t(u64, end, (gfn | (BLOCK_PAGES - 1)) + 1);
		spin_lock(&vm->view_lock);
		block = xa_load(&tree->blocks, gfn >> BLOCK_SHIFT);
		memset(block + (gfn & (BLOCK_PAGES - 1)), range->access,
		       next - gfn);
		flush |= kvmi_tdp_zap(tree, gfn, next);
		spin_unlock(&vm->view_lock);
		cond_resched();
	}
	return flush;
}

static struct kvmi_access_range *kvmi_view_ranges(struct kvmi_access *args)
{
	struct kvmi_access_range *ranges;

	args->out_bad = 0;
	if (args->flags || args->pad || !args->nr ||
	    args->nr > KVMI_MAX_RANGES)
		return ERR_PTR(-EINVAL);
	ranges = kvmalloc_array(args->nr, sizeof(*ranges), GFP_KERNEL_ACCOUNT);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	if (copy_from_user(ranges, u64_to_user_ptr(args->ranges),
			   args->nr * sizeof(*ranges))) {
		kvfree(ranges);
		return ERR_PTR(-EFAULT);
	}
	return ranges;
}

/**
 * kvmi_view_access_set - KVMI_ACCESS_SET
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -ENXIO, -EOPNOTSUPP, -EFAULT, -ENOMEM.
 */
int kvmi_view_access_set(struct kvmi_vm *vm, struct kvmi_access *args)
{
	struct kvmi_access_range *ranges;
	struct kvmi_tree *tree;
	bool flush = false;
	int ret = 0;
	int idx;
	u32 i;

	ranges = kvmi_view_ranges(args);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);

	ret = -EOPNOTSUPP;
	if (args->view == KVMI_VIEW_DEFAULT)
		goto out;
	ret = -ENOENT;
	tree = xa_load(&vm->views, args->view);
	if (!tree)
		goto out;

	/* All that can fail first; blocks that go unused are harmless. */
	idx = srcu_read_lock(&vm->kvm->srcu);
	for (i = 0, ret = 0; i < args->nr && !ret; i++)
		ret = kvmi_view_check_range(vm, &ranges[i]);
	srcu_read_unlock(&vm->kvm->srcu, idx);
	for (i = ret ? i : 0; i < args->nr && !ret; i++)
		ret = kvmi_view_need_blocks(tree, &ranges[i]);
	if (ret) {
		args->out_bad = i - 1;
		goto out;
	}

	for (i = 0; i < args->nr; i++)
		flush |= kvmi_view_set_range(vm, tree, &ranges[i]);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
out:
	kvfree(ranges);
	return ret;
}

/**
 * kvmi_view_access_get - KVMI_ACCESS_GET
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -EOPNOTSUPP, -EFAULT, -ENOMEM.
 */
int kvmi_view_access_get(struct kvmi_vm *vm, struct kvmi_access *args)
{
	struct kvmi_access_range *ranges;
	struct kvmi_tree *tree;
	int ret;
	u32 i;

	ranges = kvmi_view_ranges(args);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);

	ret = -EOPNOTSUPP;
	if (args->view == KVMI_VIEW_DEFAULT)
		goto out;
	ret = -ENOENT;
	tree = xa_load(&vm->views, args->view);
	if (!tree)
		goto out;

	ret = -EINVAL;
	for (i = 0; i < args->nr; i++) {
		if (ranges[i].nr_pages != 1) {
			args->out_bad = i;
			goto out;
		}
		ranges[i].access = kvmi_view_access(tree, ranges[i].gfn);
	}
	ret = 0;
	if (copy_to_user(u64_to_user_ptr(args->ranges), ranges,
			 args->nr * sizeof(*ranges)))
		ret = -EFAULT;
out:
	kvfree(ranges);
	return ret;
}

/* ---- faults ---------------------------------------------------------------------------- */

/* The largest leaf around a gfn within which the rights are the same. */
static int kvmi_view_level(struct kvmi_tree *tree, gfn_t gfn, int level)
{
	unsigned long i;

	if (level > 2) {
		i = gfn >> 18 << BLOCK_SHIFT;
		if (!xa_find(&tree->blocks, &i, i + BLOCK_PAGES - 1,
			     XA_PRESENT))
			return level;
		level = 2;
	}
	if (level == 2 && xa_load(&tree->blocks, gfn >> BLOCK_SHIFT))
		level = 1;
	return level;
}

/* Copy KVM's leaf into the view; both locks held. Return: flush needed. */
static bool kvmi_view_copy(struct kvmi_vcpu *kv, struct kvmi_tree *tree,
			   gfn_t gfn, struct kvmi_tdp_leaf *leaf)
{
	int level = kvmi_view_level(tree, gfn, leaf->level);
	u64 spte = leaf->spte;
	bool flush = false;
	u64 *entry;
	int l;

	for (l = leaf->level; l > level; l--)
		spte = kvmi_ops->spte_small(spte, l,
					    gfn >> ((l - 2) * 9) & 511);
	spte = kvmi_ops->spte_restrict(spte, kvmi_view_access(tree, gfn));
	if (!spte)
		return false;
	entry = kvmi_tdp_map(tree, &kv->tdp, gfn, spte, level, leaf->nonleaf,
			     &flush);
	/*
	 * KVM changes leaves with mmu_lock held for reading as well, and
	 * flushes then: that may have been before our copy was there.
	 */
	smp_mb();
	if (entry && READ_ONCE(*leaf->sptep) != leaf->spte) {
		WRITE_ONCE(*entry, 0);
		flush = true;
	}
	return flush;
}

static void kvmi_view_fill(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvmi_vm *vm = kv->vm;
	struct kvm *kvm = vcpu->kvm;
	struct kvmi_tdp_leaf leaf;
	struct kvmi_tree *tree;
	bool flush = false;
	hpa_t root;

	if (kvmi_tdp_topup(&kv->tdp))
		return;

	rcu_read_lock();
	read_lock(&kvm->mmu_lock);
	spin_lock(&vm->view_lock);
	root = vcpu->arch.mmu->root.hpa;
	tree = xa_load(&vm->views, kv->view);
	if (tree && VALID_PAGE(root) &&
	    kvmi_tdp_lookup(root, vcpu->arch.mmu->root_role.level, gfn, &leaf))
		flush = kvmi_view_copy(kv, tree, gfn, &leaf);
	spin_unlock(&vm->view_lock);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(kvm);
	read_unlock(&kvm->mmu_lock);
	rcu_read_unlock();
}

/**
 * kvmi_view_fault - a fault of a vCPU on a view
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @fastpath: of the exit
 * @ex: with the access in its payload
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_view_fault(struct kvmi_vcpu *kv, fastpath_t fastpath,
		    struct kvmi_exit *ex)
{
	struct kvmi_ev_access *ev = &ex->payload.access;
	gfn_t gfn = ev->gpa >> PAGE_SHIFT;
	u32 allowed = KVMI_ACCESS_RWX;
	struct kvmi_tree *tree;
	int ret;

	rcu_read_lock();
	tree = xa_load(&kv->vm->views, kv->view);
	if (tree)
		allowed = kvmi_view_access(tree, gfn);
	rcu_read_unlock();

	if (!(ev->access & ~allowed)) {
		ret = kvm_orig(handle_exit)(kv->vcpu, fastpath);
		if (ret > 0)
			kvmi_view_fill(kv, gfn);
		return ret;
	}

	ev->allowed = allowed;
	ex->kind = KVMI_EVENT_ACCESS;
	ex->mode = READ_ONCE(kv->mode[KVMI_EVENT_ACCESS]);
	ex->regs = kv->regs[KVMI_EVENT_ACCESS];
	ex->cont = KVMI_CONT_STEP;
	ex->skip = false;
	ex->size = sizeof(*ev);

	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_ops->fault_done(kv);
	/* A step on a view that forbids this, too, ends here. */
	kvmi_step_cancel(kv);
	if (ex->mode == KVMI_MODE_OFF)
		return kvmi_exit_act(kv, ex);
	return kvmi_event_raise(kv, ex);
}

/* ---- KVM's invalidations ------------------------------------------------------------------ */

static struct kvmi_vm *kvmi_view_vm(struct kvm *kvm)
{
	struct kvmi_vm *vm = kvmi_vm_lookup(kvm);

	return vm && !xa_empty(&vm->views) ? vm : NULL;
}

/**
 * kvmi_view_zap - KVM has dropped or tightened its mappings of a range
 * @kvm: the VM; kvm->mmu_lock held for writing, or kvm->slots_lock
 * @start: first gfn
 * @end: behind the last gfn
 *
 * Return: true if a view had any: the TLBs must be flushed before the page is
 * given to anybody.
 */
bool kvmi_view_zap(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvmi_tree *tree;
	struct kvmi_vm *vm;
	bool flush = false;
	unsigned long i;

	rcu_read_lock();
	vm = kvmi_view_vm(kvm);
	if (vm) {
		spin_lock(&vm->view_lock);
		xa_for_each(&vm->views, i, tree)
			flush |= kvmi_tdp_zap(tree, start, end);
		spin_unlock(&vm->view_lock);
	}
	rcu_read_unlock();
	return flush;
}

/**
 * kvmi_view_age - has a range been used through a view?
 * @kvm: the VM; kvm->mmu_lock held for writing
 * @start: first gfn
 * @end: behind the last gfn
 * @clear: forget it
 *
 * Return: true if so.
 */
bool kvmi_view_age(struct kvm *kvm, gfn_t start, gfn_t end, bool clear)
{
	struct kvmi_tree *tree;
	struct kvmi_vm *vm;
	bool young = false;
	unsigned long i;

	rcu_read_lock();
	vm = kvmi_view_vm(kvm);
	if (vm) {
		spin_lock(&vm->view_lock);
		xa_for_each(&vm->views, i, tree)
			young |= kvmi_tdp_age(tree, start, end, clear);
		spin_unlock(&vm->view_lock);
	}
	rcu_read_unlock();
	return young;
}
