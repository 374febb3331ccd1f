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
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hook.h"

#define BLOCK_SHIFT		9
#define BLOCK_PAGES		(1 << BLOCK_SHIFT)
#define KVMI_MAX_RANGES		65536
/* Pages, a power of 2, that a fault brings with it. */
#define VIEW_AROUND		16

/* Of a block in which more than rights is set. */
#define BLOCK_MARKED		XA_MARK_0

/**
 * kvmi_view_base - the view that an aside stands in for
 * @tree: a view; under RCU, or a vCPU is on it
 *
 * Return: it; any other view is its own.
 */
struct kvmi_tree *kvmi_view_base(struct kvmi_tree *tree)
{
	return READ_ONCE(tree->base) ?: tree;
}

/* Those that a snapshot has given to a page stand without KVMI_PAGE_SET. */
static u32 kvmi_view_rights(struct kvmi_tree *tree, u8 page)
{
	return page & (KVMI_PAGE_SET | KVMI_ACCESS_RWX) ?
	       page & KVMI_ACCESS_RWX : tree->default_access;
}

static u8 kvmi_view_page_there(struct kvmi_tree *tree, gfn_t gfn);

/* KVMI_PAGE_* of a page in a view; under RCU. */
static inline u8 kvmi_view_page(struct kvmi_tree *tree, gfn_t gfn)
{
	/* Most views say nothing of most pages, and some of none. */
	if (xa_empty(&tree->blocks) && likely(!tree->aside))
		return 0;
	return kvmi_view_page_there(tree, gfn);
}

static u8 kvmi_view_page_there(struct kvmi_tree *tree, gfn_t gfn)
{
	struct kvmi_tree *base;
	u8 *block;
	u8 page;

	if (unlikely(tree->aside)) {
		base = READ_ONCE(tree->base);
		if (!base)
			return KVMI_PAGE_SET;
		page = kvmi_view_page(base, gfn);
		page |= kvmi_view_rights(base, page);
		return kvmi_aside_page(tree, gfn, page);
	}
	block = xa_load(&tree->blocks, gfn >> BLOCK_SHIFT);
	return block ? READ_ONCE(block[gfn & (BLOCK_PAGES - 1)]) : 0;
}

/**
 * kvmi_view_access - the rights of a page in a view
 * @tree: the view; under RCU
 * @gfn: guest frame number
 *
 * Return: KVMI_ACCESS_*.
 */
u32 kvmi_view_access(struct kvmi_tree *tree, gfn_t gfn)
{
	return kvmi_view_rights(tree, kvmi_view_page(tree, gfn));
}

/**
 * kvmi_view_fetches - may a vCPU execute what is in a page?
 * @kv: the vCPU; called on its thread
 * @gfn: guest frame number
 *
 * Return: true if its view lets it.
 */
bool kvmi_view_fetches(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_tree *tree;
	bool x;

	rcu_read_lock();
	tree = xa_load(&kv->vm->views, kv->view);
	x = !tree || (kvmi_view_access(tree, gfn) & KVMI_ACCESS_X);
	rcu_read_unlock();
	return x;
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
	return id == KVMI_VIEW_DEFAULT || kvmi_view_get(vm, id);
}

/**
 * kvmi_view_get - a view
 * @vm: the VM; under RCU, or vm->lock held
 * @id: as a tool names it
 *
 * Return: NULL if there is no such view.
 */
struct kvmi_tree *kvmi_view_get(struct kvmi_vm *vm, u32 id)
{
	return id < KVMI_VIEW_ASIDE ? xa_load(&vm->views, id) : NULL;
}

/**
 * kvmi_view_named - a view that a tool wants to change
 * @vm: vm->lock held
 * @id: as the tool names it
 *
 * Return: the view; -EOPNOTSUPP: the default one, -ENOENT.
 */
struct kvmi_tree *kvmi_view_named(struct kvmi_vm *vm, u32 id)
{
	if (id == KVMI_VIEW_DEFAULT)
		return ERR_PTR(-EOPNOTSUPP);
	return kvmi_view_get(vm, id) ?: ERR_PTR(-ENOENT);
}

/**
 * kvmi_view_drop - drop leaves of a view, and of asides that stand in for it
 * @vm: vm->view_lock held
 * @tree: the view
 * @start: first gfn
 * @end: behind the last gfn
 *
 * Return: true if there were any: the caller must flush.
 */
bool kvmi_view_drop(struct kvmi_vm *vm, struct kvmi_tree *tree, gfn_t start,
		    gfn_t end)
{
	bool flush = kvmi_tdp_zap(tree, start, end);
	unsigned long i;
	struct kvmi_tree *aside;

	if (likely(!tree->nr_asides))
		return flush;
	xa_for_each_start(&vm->views, i, aside, KVMI_VIEW_ASIDE)
		if (aside->base == tree)
			flush |= kvmi_tdp_zap(aside, start, end);
	return flush;
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
	kv->home = KVMI_VIEW_ALL;
	if (kv->view == id)
		return;
	WRITE_ONCE(kv->view, id);
	kvm_make_request(KVM_REQ_LOAD_MMU_PGD, kv->vcpu);
	if (kvmi_ops->flush_is_asid)
		kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, kv->vcpu);
}

/**
 * kvmi_view_search - kvmi_view_now(), where it is another one than last time
 * @kv: the vCPU; called on its thread, under RCU
 *
 * Return: NULL if there is none.
 */
struct kvmi_tree *kvmi_view_search(struct kvmi_vcpu *kv)
{
	/* Before the search: what goes while that lasts is searched for anew. */
	u64 gone = smp_load_acquire(&kv->vm->views_gone);
	struct kvmi_tree *tree = xa_load(&kv->vm->views, kv->view);

	/* One that is not there may come. */
	kv->seen.tree = tree;
	kv->seen.id = tree ? kv->view : KVMI_VIEW_DEFAULT;
	kv->seen.gone = gone;
	return tree;
}

/**
 * kvmi_view_root - the root that a vCPU is to run on
 * @kv: the vCPU; called on its thread, under RCU
 * @root_level: that KVM uses
 *
 * Return: INVALID_PAGE for KVM's own.
 */
hpa_t kvmi_view_root(struct kvmi_vcpu *kv, int root_level)
{
	struct kvmi_tree *tree = kvmi_view_now(kv);

	if (!tree || WARN_ON_ONCE(tree->level != root_level))
		return INVALID_PAGE;
	return __pa(tree->root);
}

static int kvmi_view_switch_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	u32 id = *(u32 *)arg;

	kv->step.off = KVMI_VIEW_DEFAULT;
	if (kv->busy.step == KVMI_STEP_FAST)
		kv->step.back = id;
	else if (kvmi_is_away(kv))
		kv->home = id;
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
 * kvmi_view_alloc - a view without mappings
 * @vcpu: of its VM; may sleep
 *
 * Return: NULL without memory.
 */
struct kvmi_tree *kvmi_view_alloc(struct kvm_vcpu *vcpu)
{
	struct kvmi_tree *tree = kzalloc(sizeof(*tree), GFP_KERNEL_ACCOUNT);

	if (!tree)
		return NULL;
	tree->level = vcpu->arch.root_mmu.root_role.level;
	xa_init(&tree->blocks);
	xa_init(&tree->aliases);
	xa_init(&tree->bytes);
	tree->root = kvmi_tdp_alloc();
	if (!tree->root) {
		kfree(tree);
		return NULL;
	}
	tree->tables = 1;
	/* Whatever a CPU remembers of this page as a root is of another one. */
	kvm_call(kvm_flush_remote_tlbs)(vcpu->kvm);
	return tree;
}

/**
 * kvmi_view_discard - undo kvmi_view_alloc()
 * @tree: found by nobody yet
 */
void kvmi_view_discard(struct kvmi_tree *tree)
{
	free_page((unsigned long)tree->root);
	kfree(tree);
}

/**
 * kvmi_view_create - KVMI_VIEW_CREATE
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOSPC, -ENOMEM, -EAGAIN (no vCPU yet).
 */
int kvmi_view_create(struct kvmi_vm *vm, struct kvmi_view *args)
{
	struct kvmi_tree *tree;
	struct kvm_vcpu *vcpu;
	int ret;

	if ((args->flags & ~KVMI_VIEW_F_NO_WALKS) || args->view || args->vcpu ||
	    args->pad || (args->default_access & ~KVMI_ACCESS_RWX))
		return -EINVAL;
	if (!(kvmi_ops->access() & BIT(args->default_access)) ||
	    !vm->view_hooks)
		return -EOPNOTSUPP;
	/* Part of its memory is no mapping of the VMM's, and not to be looked at. */
	if (compat_has_private_mem(vm->kvm))
		return -EOPNOTSUPP;
	vcpu = kvm_get_vcpu(vm->kvm, 0);
	if (!vcpu)
		return -EAGAIN;

	tree = kvmi_view_alloc(vcpu);
	if (!tree)
		return -ENOMEM;
	tree->default_access = args->default_access;
	tree->flags = args->flags;
	ret = xa_alloc(&vm->views, &tree->id, tree,
		       XA_LIMIT(1, KVMI_MAX_VIEWS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		kvmi_view_discard(tree);
		return ret == -EBUSY ? -ENOSPC : ret;
	}
	vm->nr_views++;
	args->view = tree->id;
	return 0;
}

/* No vCPU is on it, nor can get there. */
static void kvmi_view_free(struct kvmi_vm *vm, struct kvmi_tree *tree)
{
	struct kvmi_tree *other, *aside;
	unsigned long i;
	u8 *block;

	spin_lock(&vm->view_lock);
	xa_erase(&vm->views, tree->id);
	/* Pairs with kvmi_view_now() and kvmi_view_search(): not to be found by then. */
	smp_store_release(&vm->views_gone, vm->views_gone + 1);
	/* The number may become another one's. */
	xa_for_each(&vm->views, i, other)
		if (other->link == tree->id)
			WRITE_ONCE(other->link, KVMI_VIEW_DEFAULT);
	kvmi_alias_drop_all(vm, tree);
	/* Who runs on one finds out when it faults. */
	xa_for_each_start(&vm->views, i, aside, KVMI_VIEW_ASIDE)
		if (aside->base == tree)
			kvmi_aside_detach(aside);
	spin_unlock(&vm->view_lock);
	if (!tree->aside)
		vm->nr_views--;

	/*
	 * After this, whoever is in the guest has loaded its root since, and
	 * no CPU has translations left; and no reader under RCU is left.
	 */
	kvm_call(kvm_make_all_cpus_request)(vm->kvm, KVM_REQ_LOAD_MMU_PGD);
	kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	synchronize_rcu_expedited();

	kvmi_undo_forget(tree);
	kvmi_tdp_free(tree);
	xa_for_each(&tree->blocks, i, block)
		kfree(block);
	xa_destroy(&tree->blocks);
	xa_destroy(&tree->aliases);
	xa_destroy(&tree->bytes);
	kfree(tree);
}

/**
 * kvmi_view_link - KVMI_VIEW_LINK
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT.
 */
int kvmi_view_link(struct kvmi_vm *vm, struct kvmi_view_link *args)
{
	struct kvmi_tree *tree;

	if (args->flags)
		return -EINVAL;
	tree = kvmi_view_named(vm, args->view);
	if (IS_ERR(tree))
		return PTR_ERR(tree);
	if (!kvmi_view_exists(vm, args->other))
		return -ENOENT;
	if (args->view == args->other)
		return -EINVAL;
	WRITE_ONCE(tree->link, args->other);
	return 0;
}

static int kvmi_view_leave_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	u32 id = *(u32 *)arg;

	if (kv->busy.step == KVMI_STEP_FAST && kv->step.back == id)
		kv->step.back = KVMI_VIEW_DEFAULT;
	if (kv->step.off == id)
		kv->step.off = KVMI_VIEW_DEFAULT;
	if (kvmi_is_away(kv) && kv->home == id)
		kvmi_step_cancel(kv);
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

	tree = kvmi_view_named(vm, id);
	if (IS_ERR(tree))
		return PTR_ERR(tree);

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
	kvmi_own_release_all(vm);
}

/* ---- access rights ----------------------------------------------------------------- */

static int kvmi_view_check_access(u32 access)
{
	u32 rights = access & KVMI_ACCESS_RWX;

	switch (access & ~KVMI_ACCESS_RWX) {
	case 0:
		break;
	case KVMI_ACCESS_TO_RWX:
		if (rights == KVMI_ACCESS_RWX)
			return -EINVAL;
		break;
	case KVMI_ACCESS_TO_RW:
		if (rights != (KVMI_ACCESS_R | KVMI_ACCESS_X))
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return kvmi_ops->access() & BIT(rights) ? 0 : -EOPNOTSUPP;
}

/**
 * kvmi_view_slot - the slot of a page that a view may say something of
 * @kvm: the VM; kvm->srcu held
 * @gfn: guest frame number
 * @slot: found
 *
 * Return: 0, -ENXIO: there is none, -EOPNOTSUPP: it is KVM's own.
 */
int kvmi_view_slot(struct kvm *kvm, gfn_t gfn, struct kvm_memory_slot **slot)
{
	*slot = kvm_call(gfn_to_memslot)(kvm, gfn);
	if (!*slot || ((*slot)->flags & KVM_MEMSLOT_INVALID))
		return -ENXIO;
	return (*slot)->id >= KVM_USER_MEM_SLOTS ? -EOPNOTSUPP : 0;
}

/* Every page must be the guest's; slots are asked once each. */
static int kvmi_view_check_range(struct kvmi_vm *vm,
				 const struct kvmi_access_range *range)
{
	struct kvm_memory_slot *slot;
	u64 gfn = range->gfn;
	u64 end = gfn + range->nr_pages;
	int ret;

	if (!range->nr_pages || end < gfn)
		return -EINVAL;
	if (range->access != KVMI_ACCESS_DEFAULT) {
		ret = kvmi_view_check_access(range->access);
		if (ret)
			return ret;
	}
	while (gfn < end) {
		if (unlikely(vm->nr_own) && kvmi_own_find(vm, gfn)) {
			gfn++;
			continue;
		}
		ret = kvmi_view_slot(vm->kvm, gfn, &slot);
		if (ret)
			return ret;
		gfn = slot->base_gfn + slot->npages;
	}
	return 0;
}

/**
 * kvmi_view_reserve - have room for what is to be said of a page
 * @tree: the view; vm->lock held, or on the thread of a vCPU that is on it
 * @gfn: guest frame number
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_view_reserve(struct kvmi_tree *tree, gfn_t gfn)
{
	unsigned long i = gfn >> BLOCK_SHIFT;
	u8 *block, *old;

	if (xa_load(&tree->blocks, i))
		return 0;
	block = kzalloc(BLOCK_PAGES, GFP_KERNEL_ACCOUNT);
	if (!block)
		return -ENOMEM;
	old = xa_cmpxchg(&tree->blocks, i, NULL, block, GFP_KERNEL_ACCOUNT);
	if (old)
		kfree(block);
	else
		atomic_inc(&tree->nr_blocks);
	return xa_err(old);
}

/**
 * kvmi_view_untouched - has no tool said anything of a page?
 * @tree: a view that is no aside; under RCU
 * @gfn: guest frame number
 *
 * Return: true if so: a snapshot of the view may do with it what it likes.
 */
bool kvmi_view_untouched(struct kvmi_tree *tree, gfn_t gfn)
{
	return !(kvmi_view_page(tree, gfn) &
		 (KVMI_PAGE_SET | KVMI_PAGE_ALIAS | KVMI_PAGE_BYTES));
}

/**
 * kvmi_view_given - are a page's rights those that a snapshot has given to it?
 * @tree: a view that is no aside; under RCU
 * @gfn: guest frame number
 *
 * Return: true if so: kvmi_view_mark() takes them back.
 */
bool kvmi_view_given(struct kvmi_tree *tree, gfn_t gfn)
{
	u8 page = kvmi_view_page(tree, gfn);

	return (page & KVMI_ACCESS_RWX) && !(page & KVMI_PAGE_SET);
}

/**
 * kvmi_view_withdraw - the rights that a snapshot has given to a page
 * @vm: its view_lock held
 * @tree: the view
 * @gfn: guest frame number; of a page without such rights nothing is taken
 *
 * Return: true if TLBs are to be flushed.
 */
bool kvmi_view_withdraw(struct kvmi_vm *vm, struct kvmi_tree *tree, gfn_t gfn)
{
	if (!kvmi_view_given(tree, gfn))
		return false;
	kvmi_view_mark(tree, gfn, KVMI_ACCESS_RWX, 0);
	return kvmi_view_drop(vm, tree, gfn, gfn + 1);
}

/**
 * kvmi_view_take_back - of all pages, the rights that a snapshot has given to them
 * @vm: vm->lock held
 * @tree: the view
 */
void kvmi_view_take_back(struct kvmi_vm *vm, struct kvmi_tree *tree)
{
	bool flush = false;
	unsigned long i;
	gfn_t gfn, end;
	u8 *block;

	xa_for_each_marked(&tree->blocks, i, block, BLOCK_MARKED) {
		gfn = i << BLOCK_SHIFT;
		end = gfn + BLOCK_PAGES;
		rcu_read_lock();
		spin_lock(&vm->view_lock);
		for (; gfn < end; gfn++)
			flush |= kvmi_view_withdraw(vm, tree, gfn);
		spin_unlock(&vm->view_lock);
		rcu_read_unlock();
		cond_resched();
	}
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
}

/**
 * kvmi_view_mark - say something of a page besides its rights
 * @tree: the view; vm->view_lock held
 * @gfn: guest frame number, kvmi_view_reserve()d
 * @mask: which KVMI_PAGE_*
 * @bits: those of them that it is to have
 */
void kvmi_view_mark(struct kvmi_tree *tree, gfn_t gfn, u8 mask, u8 bits)
{
	u8 *block = xa_load(&tree->blocks, gfn >> BLOCK_SHIFT);
	u8 *page = &block[gfn & (BLOCK_PAGES - 1)];

	WRITE_ONCE(*page, (*page & ~mask) | bits);
	if (bits)
		xa_set_mark(&tree->blocks, gfn >> BLOCK_SHIFT, BLOCK_MARKED);
}

static int kvmi_view_need_blocks(struct kvmi_tree *tree,
				 const struct kvmi_access_range *range)
{
	u64 end = range->gfn + range->nr_pages;
	u64 gfn = range->gfn;
	int ret;

	for (; gfn < end; gfn = (gfn | (BLOCK_PAGES - 1)) + 1) {
		ret = kvmi_view_reserve(tree, gfn);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

/* The rights of a part of a block; vm->view_lock held. */
static void kvmi_view_set(struct kvmi_tree *tree, u64 gfn, u64 end, u8 page)
{
	u8 *block = xa_load(&tree->blocks, gfn >> BLOCK_SHIFT);
	u8 *at = block + (gfn & (BLOCK_PAGES - 1));

	if (likely(!xa_get_mark(&tree->blocks, gfn >> BLOCK_SHIFT,
				BLOCK_MARKED))) {
		memset(at, page, end - gfn);
		return;
	}
	for (; gfn < end; gfn++, at++)
		WRITE_ONCE(*at, (*at & (KVMI_PAGE_ALIAS | KVMI_PAGE_BYTES)) |
				page);
}

static bool kvmi_view_set_range(struct kvmi_vm *vm, struct kvmi_tree *tree,
				const struct kvmi_access_range *range)
{
	u64 gfn = range->gfn;
	u64 end = gfn + range->nr_pages;
	bool flush = false;
	u8 page = 0;
	u64 next;

	if (range->access != KVMI_ACCESS_DEFAULT)
		page = KVMI_PAGE_SET | (range->access & KVMI_ACCESS_RWX) |
		       (range->access >> KVMI_PAGE_RELAX_SHIFT &
			KVMI_PAGE_RELAX);
	for (; gfn < end; gfn = next) {
		next = min_t(u64, end, (gfn | (BLOCK_PAGES - 1)) + 1);
		spin_lock(&vm->view_lock);
		kvmi_view_set(tree, gfn, next, page);
		flush |= kvmi_view_drop(vm, tree, gfn, next);
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

	tree = kvmi_view_named(vm, args->view);
	if (IS_ERR(tree)) {
		ret = PTR_ERR(tree);
		goto out;
	}

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
	u8 page;
	u32 i;

	ranges = kvmi_view_ranges(args);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);

	tree = kvmi_view_named(vm, args->view);
	if (IS_ERR(tree)) {
		ret = PTR_ERR(tree);
		goto out;
	}

	ret = -EINVAL;
	for (i = 0; i < args->nr; i++) {
		if (ranges[i].nr_pages != 1) {
			args->out_bad = i;
			goto out;
		}
		page = kvmi_view_page(tree, ranges[i].gfn);
		ranges[i].access = kvmi_view_rights(tree, page) |
				   (page & KVMI_PAGE_RELAX) <<
				   KVMI_PAGE_RELAX_SHIFT;
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

	/* What an aside maps now, it is not to map by then. */
	if (level == 1 || tree->aside)
		return 1;

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

/*
 * Copy KVM's leaf into the view, where the page has @page; both locks held. Return:
 * flush needed.
 */
static bool kvmi_view_copy(struct kvmi_vcpu *kv, struct kvmi_tree *tree,
			   gfn_t gfn, u8 page, struct kvmi_tdp_leaf *leaf)
{
	int level = kvmi_view_level(tree, gfn, leaf->level);
	u64 spte = leaf->spte;
	bool flush = false;
	u64 now;

	if (level < leaf->level)
		spte = kvmi_tdp_small(spte, gfn, leaf->level, level);
	spte = kvmi_ops->spte_restrict(spte, kvmi_view_rights(tree, page));
	if (!spte)
		return false;
	kvmi_tdp_map(tree, &kv->tdp, gfn, spte, level, leaf->nonleaf, &flush);
	/*
	 * KVM changes leaves with mmu_lock held for reading as well, and
	 * flushes then: that may have been before our copy was there. Accessed
	 * and dirty bits are the CPU's.
	 */
	smp_mb();
	now = READ_ONCE(*leaf->sptep);
	if (unlikely(now != leaf->spte) && ((now ^ leaf->spte) & ~kvmi_tdp_used(true)))
		flush |= kvmi_tdp_zap(tree, gfn, gfn + 1);
	return flush;
}

/*
 * A page that KVM maps was faulted in, as the view is a new one, or has dropped it:
 * those around it will be next, and KVM's leaves of them are at hand. Nobody has used
 * them by now. Both locks held. Return: flush needed.
 */
static bool kvmi_view_copy_around(struct kvmi_tree *tree, gfn_t gfn,
				  const struct kvmi_tdp_leaf *leaf)
{
	gfn_t first = round_down(gfn, VIEW_AROUND), at;
	u64 *sptep[VIEW_AROUND], was[VIEW_AROUND];
	unsigned long copied = 0;
	struct kvmi_tdp_leaf near;
	bool flush = false;
	unsigned int i;
	u64 *entry;
	u64 spte;
	u8 page;

	entry = kvmi_tdp_entry(tree, first);
	if (!entry)
		return false;
	for (i = 0; i < VIEW_AROUND; i++) {
		at = first + i;
		near = *leaf;
		if (entry[i] || !kvmi_tdp_lookup_near(gfn, at, &near))
			continue;
		page = kvmi_view_page(tree, at);
		if (page & KVMI_PAGE_ALIAS)
			continue;
		spte = kvmi_tdp_small(near.spte, at, near.level, 1);
		/* KVM takes all rights from a leaf to see whether it is used. */
		if (!kvmi_ops->spte_access(spte))
			continue;
		spte = kvmi_ops->spte_restrict(spte, kvmi_view_rights(tree, page));
		if (!spte)
			continue;
		kvmi_tdp_put(tree, &entry[i], spte & ~kvmi_tdp_used(true));
		sptep[i] = near.sptep;
		was[i] = near.spte;
		__set_bit(i, &copied);
	}
	/* As in kvmi_view_copy(). */
	smp_mb();
	for_each_set_bit(i, &copied, VIEW_AROUND)
		if ((READ_ONCE(*sptep[i]) ^ was[i]) & ~kvmi_tdp_used(true))
			flush |= kvmi_tdp_zap(tree, first + i, first + i + 1);
	return flush;
}

/* What KVM maps, if that lets the guest do @access. kvm->mmu_lock held, and RCU. */
static bool kvmi_view_source(struct kvm_vcpu *vcpu, gfn_t gfn, u32 access,
			     struct kvmi_tdp_leaf *leaf)
{
	struct kvm_mmu *mmu = vcpu->arch.mmu;

	return VALID_PAGE(mmu->root.hpa) &&
	       kvmi_tdp_lookup(mmu->root.hpa, mmu->root_role.level, gfn, leaf) &&
	       (!access || !(access & ~kvmi_ops->spte_access(leaf->spte)));
}

/*
 * Copy what KVM maps, if that lets the guest do at least what it has tried. Return:
 * true if so.
 *
 * vCPUs that fault at the same time wait for each other while the copy is made; the
 * search in KVM's tables, and that in vain, is each one's own.
 */
static bool kvmi_view_fill(struct kvmi_vcpu *kv, gfn_t gfn, u32 access)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvm *kvm = kv->vcpu->kvm;
	struct kvmi_tdp_leaf leaf;
	struct kvmi_tree *tree;
	bool flush = false;
	bool there;
	u8 page;

	if (unlikely(kv->tdp.nr < KVMI_TDP_CACHE) && kvmi_tdp_topup(&kv->tdp))
		return false;

	rcu_read_lock();
	read_lock(&kvm->mmu_lock);
	there = kvmi_view_source(kv->vcpu, gfn, access, &leaf);
	if (!there)
		goto out;
	spin_lock(&vm->view_lock);
	tree = kvmi_view_now(kv);
	/* Since it was looked at, it may have become another page's place. */
	page = tree ? kvmi_view_page(tree, gfn) : KVMI_PAGE_ALIAS;
	there = !(page & KVMI_PAGE_ALIAS);
	if (there)
		flush = kvmi_view_copy(kv, tree, gfn, page, &leaf);
	/* It is not KVM's first fault either. */
	if (there && access && !tree->aside)
		flush |= kvmi_view_copy_around(tree, gfn, &leaf);
	spin_unlock(&vm->view_lock);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(kvm);
out:
	read_unlock(&kvm->mmu_lock);
	rcu_read_unlock();
	return there;
}

/*
 * Rights that change by themselves: do so. Return: those of now; @told is set if it
 * was this vCPU that has brought it about.
 */
static u32 kvmi_view_relax(struct kvmi_vcpu *kv, gfn_t gfn, u32 access,
			   bool *told)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_tree *tree;
	u32 rights = KVMI_ACCESS_RWX;
	bool flush = false;
	u8 page;

	*told = false;
	rcu_read_lock();
	spin_lock(&vm->view_lock);
	tree = xa_load(&vm->views, kvmi_view_shown(kv));
	if (tree) {
		page = kvmi_view_page(tree, gfn);
		rights = kvmi_view_rights(tree, page);
		if ((access & ~rights) && (page & KVMI_PAGE_RELAX)) {
			rights = KVMI_ACCESS_RWX;
			if (page & KVMI_PAGE_TO_RW)
				rights &= ~KVMI_ACCESS_X;
			kvmi_view_mark(tree, gfn, KVMI_PAGE_RELAX |
				       KVMI_ACCESS_RWX, rights);
			flush = kvmi_view_drop(vm, tree, gfn, gfn + 1);
			tree->relaxed++;
			*told = true;
		}
	}
	spin_unlock(&vm->view_lock);
	rcu_read_unlock();
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	return rights;
}

/* ... and say so, without waiting for an answer. */
static void kvmi_view_tell_relaxed(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
				   u32 before)
{
	struct kvmi_ev_access *ev = &ex->payload.access;

	ev->allowed = before;
	ev->old_value = 0;
	ev->new_value = 0;
	ev->flags |= KVMI_ACCESS_F_RELAXED;
	ex->kind = KVMI_EVENT_ACCESS;
	ex->indexed = false;
	ex->cont = KVMI_CONT_NOTHING;
	ex->skip = false;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);

	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	if (rcu_access_pointer(kv->observers))
		kvmi_watch_tell(kv, ex);
	ex->mode = kvmi_watch_match(&kv->watch, ex, &ex->regs);
	if (ex->mode == KVMI_MODE_SYNC)
		ex->mode = KVMI_MODE_ASYNC;
	kvmi_event_raise(kv, ex);
	ev->flags &= ~KVMI_ACCESS_F_RELAXED;
}

/* Another view for what this one does not let the guest execute. Return: its id. */
static u32 kvmi_view_linked(struct kvmi_vm *vm, struct kvmi_tree *tree,
			    gfn_t gfn)
{
	struct kvmi_tree *other;
	u32 id = READ_ONCE(tree->link);

	if (!id || tree->aside)
		return KVMI_VIEW_DEFAULT;
	other = kvmi_view_get(vm, id);
	if (!other || !(kvmi_view_access(other, gfn) & KVMI_ACCESS_X))
		return KVMI_VIEW_DEFAULT;
	/* A count: two at a time may be one. */
	tree->links++;
	return id;
}

static int kvmi_view_fault_link(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 id,
				gfn_t gfn)
{
	u64 rip = kvmi_regs_rip(kv->vcpu);

	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_hot(fault_done)(kv);
	/*
	 * Where it is sent back from where it was sent to, the instruction lies
	 * in two pages, of which each view executes one.
	 */
	if (kv->link.to == kv->view && kv->link.rip == rip) {
		kv->link.to = KVMI_VIEW_DEFAULT;
		kvmi_aside_go(kv, KVMI_VIEW_DEFAULT);
		return 1;
	}
	kv->link.rip = rip;
	kv->link.to = id;
	kvmi_view_enter(kv, id);
	if (!READ_ONCE(kv->vm->had_breakpoints) ||
	    !kvmi_breakpoint_fetched(kv, ex, gfn))
		return 1;
	return ex->kind ? kvmi_event_tell(kv, ex) : kvmi_exit_act(kv, ex);
}

/* The view of an aside is gone, and with it the step. */
static int kvmi_view_fault_lost(struct kvmi_vcpu *kv)
{
	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_hot(fault_done)(kv);
	kvmi_step_cancel(kv);
	return 1;
}

/* The CPU itself is about to set accessed and dirty bits, or may be. */
static int kvmi_view_fault_walk(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_tree *tree;

	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_hot(fault_done)(kv);
	rcu_read_lock();
	spin_lock(&vm->view_lock);
	tree = xa_load(&vm->views, kvmi_view_shown(kv));
	if (tree)
		tree->walks++;
	spin_unlock(&vm->view_lock);
	rcu_read_unlock();
	kvmi_aside_grant(kv, gfn);
	return 1;
}

/* The view allows what it does not map yet. */
static int kvmi_view_fault_fill(struct kvmi_vcpu *kv, fastpath_t fastpath, gfn_t gfn,
				u32 access)
{
	int ret;

	/*
	 * KVM would take a fault that it has no need of as a reason to map the page
	 * writable, and log it as dirty.
	 */
	if (kvmi_view_fill(kv, gfn, access)) {
		kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
		kvmi_hot(fault_done)(kv);
		return 1;
	}
	ret = kvm_orig(handle_exit)(kv->vcpu, fastpath);
	if (ret > 0)
		kvmi_view_fill(kv, gfn, 0);
	return ret;
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
	struct kvmi_tree *tree, *base;
	u32 allowed = KVMI_ACCESS_RWX;
	bool again = false;
	bool walks = false;
	bool lost;
	bool kept;
	u32 link = 0;
	u32 before;
	bool told;
	u8 page = 0;
	int ret;

	rcu_read_lock();
	tree = kvmi_view_now(kv);
	if (tree) {
		page = kvmi_view_page(tree, gfn);
		allowed = kvmi_view_rights(tree, page);
	}
	if (!tree || (!(ev->access & ~allowed) && !tree->aside &&
		      !(page & ~(KVMI_PAGE_SET | KVMI_ACCESS_RWX)))) {
		rcu_read_unlock();
		return kvmi_view_fault_fill(kv, fastpath, gfn, ev->access);
	}
	base = READ_ONCE(tree->base);
	lost = tree->aside && !base;
	if (!base)
		base = tree;
	if (ev->flags & KVMI_ACCESS_F_WALK)
		walks = base->flags & KVMI_VIEW_F_NO_WALKS;
	kept = base->undo && kvmi_view_untouched(base, gfn);
	if (ev->access == KVMI_ACCESS_X && !(allowed & KVMI_ACCESS_X)) {
		link = kvmi_view_linked(kv->vm, tree, gfn);
		/* Between the two looks it may have been turned round. */
		if (!link && READ_ONCE(tree->link)) {
			again = kvmi_view_access(tree, gfn) & KVMI_ACCESS_X;
			link = again ? 0 : kvmi_view_linked(kv->vm, tree, gfn);
		}
	}
	rcu_read_unlock();
	if (unlikely(again))
		return kvmi_view_fault_fill(kv, fastpath, gfn, ev->access);
	if (unlikely(lost))
		return kvmi_view_fault_lost(kv);
	if (link)
		return kvmi_view_fault_link(kv, ex, link, gfn);

	if (unlikely(page & KVMI_PAGE_RELAX) && (ev->access & ~allowed)) {
		before = allowed;
		allowed = kvmi_view_relax(kv, gfn, ev->access, &told);
		if (told)
			kvmi_view_tell_relaxed(kv, ex, before);
	}
	if (unlikely(kept) && (ev->access & ~allowed) == KVMI_ACCESS_W)
		allowed = kvmi_undo_fault(kv, gfn) ?: allowed;
	if (unlikely(walks) && (ev->access & ~allowed) &&
	    (allowed & KVMI_ACCESS_R))
		return kvmi_view_fault_walk(kv, gfn);
	if (unlikely(page & KVMI_PAGE_BYTES) && (allowed & KVMI_ACCESS_R) &&
	    (ev->access & ~allowed) == KVMI_ACCESS_W &&
	    kvmi_bytes_begin(kv, gfn, allowed)) {
		kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
		kvmi_hot(fault_done)(kv);
		kvmi_aside_grant(kv, gfn);
		return 1;
	}
	if (unlikely(page & KVMI_PAGE_ALIAS) && !(ev->access & ~allowed)) {
		ret = kvmi_alias_fault(kv, ev, &allowed);
		if (ret != -EACCES)
			return ret;
	}
	if (!(ev->access & ~allowed))
		return kvmi_view_fault_fill(kv, fastpath, gfn, ev->access);

	ev->allowed = allowed;
	ev->old_value = 0;
	ev->new_value = 0;
	ex->kind = KVMI_EVENT_ACCESS;
	ex->indexed = false;
	ex->cont = KVMI_CONT_STEP;
	ex->skip = false;
	ex->size = sizeof(*ev);

	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_hot(fault_done)(kv);
	/* A step on a view that forbids this, too, ends here. */
	kvmi_step_cancel(kv);
	return kvmi_event_tell(kv, ex);
}

/* ---- what is known of views ---------------------------------------------------------------- */

static u64 kvmi_view_bytes(struct kvmi_tree *tree)
{
	/* Those of the array's nodes, of 64 entries, are guessed. */
	u32 nr_blocks = atomic_read(&tree->nr_blocks);

	return sizeof(*tree) + (u64)nr_blocks * BLOCK_PAGES +
	       (u64)tree->nr_aliases * sizeof(struct kvmi_alias) +
	       (DIV_ROUND_UP(nr_blocks, XA_CHUNK_SIZE) +
		DIV_ROUND_UP(tree->nr_aliases, XA_CHUNK_SIZE)) *
	       sizeof(struct xa_node);
}

/**
 * kvmi_view_list - KVMI_GET_VIEWS
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EFAULT.
 */
int kvmi_view_list(struct kvmi_vm *vm, struct kvmi_views *args)
{
	struct kvmi_view_info __user *to = u64_to_user_ptr(args->views);
	struct kvmi_view_info info;
	struct kvmi_tree *tree;
	struct kvmi_vcpu *kv;
	unsigned long i, j;

	if (args->flags)
		return -EINVAL;
	args->out_nr = 0;
	xa_for_each(&vm->views, i, tree) {
		if (tree->aside || args->out_nr++ >= args->nr)
			continue;
		memset(&info, 0, sizeof(info));
		info.view = tree->id;
		info.default_access = tree->default_access;
		info.flags = tree->flags;
		xa_for_each(&vm->vcpus, j, kv)
			info.nr_vcpus += kvmi_view_shown(kv) == tree->id;
		info.other_bytes = kvmi_view_bytes(tree);
		info.nr_remapped = tree->nr_aliases;
		spin_lock(&vm->view_lock);
		info.table_bytes = tree->tables * PAGE_SIZE;
		info.leaves = tree->leaves;
		info.fills = tree->fills;
		info.zaps = tree->zaps;
		info.relaxed = tree->relaxed;
		info.walks = tree->walks;
		info.links = tree->links;
		spin_unlock(&vm->view_lock);
		if (copy_to_user(&to[args->out_nr - 1], &info, sizeof(info)))
			return -EFAULT;
	}
	return 0;
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
		flush |= kvmi_alias_zap(vm, start, end);
		kvmi_check_zapped(vm);
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
		young |= kvmi_alias_age(vm, start, end, clear);
		spin_unlock(&vm->view_lock);
	}
	rcu_read_unlock();
	return young;
}
