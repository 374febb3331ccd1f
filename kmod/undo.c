// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots: what the guest writes on a view is taken back in one go.
 *
 * A view with a snapshot keeps what was in a page before the guest first writes to
 * it, on the vCPU's thread, and lets the guest write then. KVMI_SNAPSHOT_RESET puts
 * the old bytes back, and takes the right to write away again. The copy is kept: a
 * page that is written in each round is copied once only.
 *
 *	copy  -->  entry in undo->pages  -->  the view's right to write
 *
 * In this order, so that of two vCPUs that write at once the one whose copy is kept
 * has made it before anybody could write.
 *
 * vm->undo_lock is taken before vm->sem and vm->lock. The list of pages is found by
 * its view, under vm->view_lock or RCU, and kept by references: a vCPU in a fault and
 * a reset have theirs.
 */
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "hook.h"

/* The guest has written to it since the snapshot or the last reset. */
#define UNDO_WRITTEN	XA_MARK_0

/* Rights that are changed at a time, with vm->view_lock held. */
#define UNDO_BATCH	256

/**
 * struct kvmi_undo - the pages of a snapshot
 * @ref: the view's, and of who uses it
 * @rcu: to free it
 * @pages: copies by gfn
 * @max: how many there may be
 * @nr: how many there are
 * @full: a page was written that could not be kept
 * @memcg: the tool's, which pays
 */
struct kvmi_undo {
	struct kref ref;
	struct rcu_head rcu;
	struct xarray pages;
	u64 max;
	atomic64_t nr;
	bool full;
	struct mem_cgroup *memcg;
};

static void kvmi_undo_free(struct kref *ref)
{
	struct kvmi_undo *undo = container_of(ref, struct kvmi_undo, ref);
	unsigned long gfn;
	void *copy;

	xa_for_each(&undo->pages, gfn, copy) {
		free_page((unsigned long)copy);
		cond_resched();
	}
	xa_destroy(&undo->pages);
	mem_cgroup_put(undo->memcg);
	kfree_rcu(undo, rcu);
}

/* Under RCU. */
static struct kvmi_undo *kvmi_undo_of(struct kvmi_tree *tree)
{
	struct kvmi_undo *undo = tree ? READ_ONCE(tree->undo) : NULL;

	return undo && kref_get_unless_zero(&undo->ref) ? undo : NULL;
}

static void kvmi_undo_put(struct kvmi_undo *undo)
{
	kref_put(&undo->ref, kvmi_undo_free);
}

/**
 * kvmi_undo_forget - a view that goes has no snapshot any more
 * @tree: the view; nobody finds it
 */
void kvmi_undo_forget(struct kvmi_tree *tree)
{
	if (tree->undo)
		kvmi_undo_put(tree->undo);
}

/* ---- the guest writes --------------------------------------------------------------- */

/* What KVM maps there, before the guest can write. Return: 0 or -EAGAIN: nothing. */
static int kvmi_undo_copy(struct kvmi_vcpu *kv, gfn_t gfn, void *to)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	hpa_t root = vcpu->arch.mmu->root.hpa;
	struct kvmi_tdp_leaf leaf;
	int ret = -EAGAIN;
	kvm_pfn_t pfn;

	rcu_read_lock();
	read_lock(&vcpu->kvm->mmu_lock);
	if (VALID_PAGE(root) &&
	    kvmi_tdp_lookup(root, vcpu->arch.mmu->root_role.level, gfn, &leaf)) {
		pfn = kvmi_tdp_leaf_pfn(&leaf, gfn);
		/* Of device memory nothing is kept. */
		ret = -ENXIO;
		if (pfn_valid(pfn)) {
			copy_page(to, __va(PFN_PHYS(pfn)));
			ret = 0;
		}
	}
	read_unlock(&vcpu->kvm->mmu_lock);
	rcu_read_unlock();
	return ret;
}

/* Return: 0, -EAGAIN: KVM has to map it first, -ENOSPC, -ENXIO, -ENOMEM. */
static int kvmi_undo_keep(struct kvmi_vcpu *kv, struct kvmi_undo *undo, gfn_t gfn)
{
	void *copy, *old;
	int ret;

	if (xa_load(&undo->pages, gfn))
		return 0;
	if (atomic64_inc_return(&undo->nr) > undo->max) {
		ret = -ENOSPC;
		goto err_nr;
	}
	copy = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!copy) {
		ret = -ENOMEM;
		goto err_nr;
	}
	ret = kvmi_undo_copy(kv, gfn, copy);
	if (ret)
		goto err_copy;
	old = xa_cmpxchg(&undo->pages, gfn, NULL, copy, GFP_KERNEL_ACCOUNT);
	ret = xa_err(old);
	/* Another vCPU's: it was here before. */
	if (old)
		goto err_copy;
	return 0;

err_copy:
	free_page((unsigned long)copy);
err_nr:
	atomic64_dec(&undo->nr);
	return ret;
}

/* The guest may write to it on its view. Return: true if so. */
static bool kvmi_undo_allow(struct kvmi_vcpu *kv, struct kvmi_undo *undo, gfn_t gfn)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_tree *tree;
	bool flush = false;
	bool ret = false;

	rcu_read_lock();
	spin_lock(&vm->view_lock);
	tree = xa_load(&vm->views, kv->view);
	if (tree)
		tree = kvmi_view_base(tree);
	/* A tool may have said meanwhile what it is to be. */
	if (tree && tree->undo == undo && kvmi_view_untouched(tree, gfn)) {
		if (xa_load(&undo->pages, gfn))
			xa_set_mark(&undo->pages, gfn, UNDO_WRITTEN);
		kvmi_view_mark(tree, gfn, KVMI_ACCESS_RWX, KVMI_ACCESS_RWX);
		flush = kvmi_view_drop(vm, tree, gfn, gfn + 1);
		ret = true;
	}
	spin_unlock(&vm->view_lock);
	rcu_read_unlock();
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	return ret;
}

/**
 * kvmi_undo_fault - the guest writes where only a snapshot forbids it
 * @kv: the vCPU; called on its thread, kvm->srcu held; may sleep
 * @gfn: of a page that has its view's default access
 *
 * Return: KVMI_ACCESS_* that it has now; 0: its view has no snapshot.
 */
u32 kvmi_undo_fault(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_undo *undo = NULL;
	u32 access = KVMI_ACCESS_RWX;
	struct kvmi_tree *tree;
	struct mem_cgroup *old;
	int ret;

	rcu_read_lock();
	tree = xa_load(&kv->vm->views, kv->view);
	if (tree) {
		/* It stays while this vCPU, which would leave it first, is here. */
		tree = kvmi_view_base(tree);
		undo = kvmi_undo_of(tree);
	}
	rcu_read_unlock();
	if (!undo)
		return 0;
	old = set_active_memcg(undo->memcg);
	ret = kvmi_undo_keep(kv, undo, gfn);
	if (ret == -EAGAIN)
		goto out;
	/* It cannot be taken back: that is told at the reset. */
	if (ret)
		WRITE_ONCE(undo->full, true);
	if (kvmi_view_reserve(tree, gfn) ||
	    !kvmi_undo_allow(kv, undo, gfn))
		access = 0;
out:
	set_active_memcg(old);
	kvmi_undo_put(undo);
	return access;
}

/* ---- KVMI_SNAPSHOT ------------------------------------------------------------------ */

static int kvmi_undo_begin(struct kvmi_vm *vm)
{
	int ret = kvmi_vm_get(vm);

	if (ret)
		return ret;
	if (mutex_lock_interruptible(&vm->lock)) {
		kvmi_vm_unget(vm);
		return -EINTR;
	}
	if (!vm->detached)
		return 0;
	mutex_unlock(&vm->lock);
	kvmi_vm_unget(vm);
	return -ENODEV;
}

static void kvmi_undo_end(struct kvmi_vm *vm)
{
	mutex_unlock(&vm->lock);
	kvmi_vm_unget(vm);
}

static int kvmi_undo_take(struct kvmi_vm *vm, struct kvmi_snapshot *args)
{
	struct kvmi_undo *undo;
	struct kvmi_tree *tree;
	int ret;

	if (!args->max_pages)
		return -EINVAL;
	undo = kzalloc(sizeof(*undo), GFP_KERNEL_ACCOUNT);
	if (!undo)
		return -ENOMEM;
	kref_init(&undo->ref);
	xa_init(&undo->pages);
	undo->max = args->max_pages;
	undo->memcg = get_mem_cgroup_from_mm(current->mm);

	ret = kvmi_undo_begin(vm);
	if (ret)
		goto err_undo;
	tree = kvmi_view_get(vm, args->view);
	if (!tree)
		ret = -ENOENT;
	else if (tree->undo)
		ret = -EBUSY;
	else if (tree->default_access & KVMI_ACCESS_W)
		ret = -EINVAL;
	else
		WRITE_ONCE(tree->undo, undo);
	kvmi_undo_end(vm);
	if (!ret)
		return 0;
err_undo:
	kvmi_undo_put(undo);
	return ret;
}

static bool kvmi_undo_all_paused(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv)
		if (!kv->pause_count)
			return false;
	return true;
}

/* Some of the pages, from @xas on. Return: true if there may be more. */
static bool kvmi_undo_forbid_some(struct kvmi_vm *vm, struct kvmi_tree *tree,
				  struct xa_state *xas, bool *flush)
{
	gfn_t start = 0, end = 0;
	unsigned int n = 0;
	void *copy;

	xas_for_each_marked(xas, copy, ULONG_MAX, UNDO_WRITTEN) {
		/* Neighbours are taken out of the tables in one go. */
		if (xas->xa_index != end) {
			*flush |= kvmi_view_drop(vm, tree, start, end);
			start = xas->xa_index;
		}
		end = xas->xa_index + 1;
		/* What a tool has set stays. */
		if (kvmi_view_given(tree, xas->xa_index))
			kvmi_view_mark(tree, xas->xa_index, KVMI_ACCESS_RWX, 0);
		if (++n == UNDO_BATCH)
			break;
	}
	*flush |= kvmi_view_drop(vm, tree, start, end);
	xas_pause(xas);
	return copy;
}

/* Pages that were written have their view's default access again. */
static void kvmi_undo_forbid(struct kvmi_vm *vm, u32 view, struct kvmi_undo *undo)
{
	XA_STATE(xas, &undo->pages, 0);
	struct kvmi_tree *tree;
	bool flush = false;
	bool more;

	do {
		rcu_read_lock();
		spin_lock(&vm->view_lock);
		tree = kvmi_view_get(vm, view);
		more = tree && tree->undo == undo &&
		       kvmi_undo_forbid_some(vm, tree, &xas, &flush);
		spin_unlock(&vm->view_lock);
		rcu_read_unlock();
		cond_resched();
	} while (more);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
}

static int kvmi_undo_write_back(struct kvmi_vm *vm, struct kvmi_undo *undo,
				u64 *done)
{
	struct kvmi_mem mem;
	unsigned long gfn;
	int ret = 0;
	void *copy;

	kvmi_mem_begin(&mem, vm, KVMI_VIEW_DEFAULT);
	xa_for_each_marked(&undo->pages, gfn, copy, UNDO_WRITTEN) {
		ret = kvmi_mem_put_page(&mem, gfn, copy);
		/* Its slot has gone, and what was written; or nothing was. */
		if (ret && ret != -ENXIO && ret != -EROFS)
			break;
		ret = 0;
		xa_clear_mark(&undo->pages, gfn, UNDO_WRITTEN);
		(*done)++;
		if (!mem.held)
			cond_resched();
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
	}
	kvmi_mem_end(&mem);
	return ret;
}

static int kvmi_undo_reset(struct kvmi_vm *vm, struct kvmi_snapshot *args,
			   struct kvmi_undo *undo)
{
	int ret;

	if (READ_ONCE(undo->full))
		return -EOVERFLOW;
	ret = kvmi_undo_begin(vm);
	if (ret)
		return ret;
	if (kvmi_undo_all_paused(vm))
		kvmi_undo_forbid(vm, args->view, undo);
	else
		ret = -EBUSY;
	kvmi_undo_end(vm);
	return ret ?: kvmi_undo_write_back(vm, undo, &args->out_done);
}

static int kvmi_undo_drop(struct kvmi_vm *vm, u32 view, struct kvmi_undo *undo)
{
	struct kvmi_tree *tree;
	bool dropped = false;
	int ret;

	ret = kvmi_undo_begin(vm);
	if (ret)
		return ret;
	spin_lock(&vm->view_lock);
	tree = kvmi_view_get(vm, view);
	if (tree && tree->undo == undo) {
		WRITE_ONCE(tree->undo, NULL);
		dropped = true;
	}
	spin_unlock(&vm->view_lock);
	/* Those that could not be kept as well, or the next one would miss them. */
	if (dropped)
		kvmi_view_take_back(vm, tree);
	kvmi_undo_end(vm);
	if (dropped)
		kvmi_undo_put(undo);
	return dropped ? 0 : -ENOENT;
}

/**
 * kvmi_undo_snapshot - KVMI_SNAPSHOT
 * @vm: vm->sem not held: a page may be long in coming
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -EBUSY, -EOVERFLOW, -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_undo_snapshot(struct kvmi_vm *vm, struct kvmi_snapshot *args)
{
	struct kvmi_undo *undo = NULL;
	int ret = 0;

	args->out_pages = 0;
	args->out_done = 0;
	args->out_flags = 0;
	if (args->flags || args->pad || !args->op ||
	    args->op > KVMI_SNAPSHOT_QUERY ||
	    (args->op != KVMI_SNAPSHOT_TAKE && args->max_pages) ||
	    args->view == KVMI_VIEW_DEFAULT)
		return -EINVAL;
	if (mutex_lock_interruptible(&vm->undo_lock))
		return -EINTR;
	if (args->op == KVMI_SNAPSHOT_TAKE) {
		ret = kvmi_undo_take(vm, args);
		goto out;
	}
	rcu_read_lock();
	undo = kvmi_undo_of(kvmi_view_get(vm, args->view));
	rcu_read_unlock();
	if (!undo)
		ret = -ENOENT;
	else if (args->op == KVMI_SNAPSHOT_RESET)
		ret = kvmi_undo_reset(vm, args, undo);
	else if (args->op == KVMI_SNAPSHOT_DROP)
		ret = kvmi_undo_drop(vm, args->view, undo);
	if (undo) {
		args->out_pages = atomic64_read(&undo->nr);
		if (READ_ONCE(undo->full))
			args->out_flags |= KVMI_SNAPSHOT_F_FULL;
		kvmi_undo_put(undo);
	}
out:
	mutex_unlock(&vm->undo_lock);
	return ret;
}
