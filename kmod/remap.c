// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a view shows in the place of a guest's page: another page of the guest, or
 * a page of kvmi's own, which has a number that is no guest memory's.
 *
 * An alias, the one gfn that shows another, is found by its own gfn in its view,
 * and by its source in the VM: whatever KVM drops or tightens of the source, the
 * aliases lose as well (kvmi_alias_zap()). The CPU writes through an alias only
 * after KVM has dealt with a write to the source, and the source is then dirty: of
 * the alias' own gfn neither KVM nor PML have anything to log.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hook.h"

#define KVMI_MAX_REMAPS		65536
/* Of kvmi's own, per VM: 256 MiB. */
#define KVMI_MAX_OWN		65536

/* ---- pages of kvmi's own ----------------------------------------------------------------- */

/**
 * kvmi_own_find - a page of kvmi's own
 * @vm: the VM
 * @gfn: its number
 *
 * Return: it, or NULL; stays under RCU, and under vm->lock.
 */
struct kvmi_own *kvmi_own_find(struct kvmi_vm *vm, gfn_t gfn)
{
	return xa_load(&vm->own, gfn);
}

/* Is there memory, or a page of kvmi's own, in a range? Then where to go on below. */
static bool kvmi_own_taken(struct kvmi_vm *vm, gfn_t gfn, u64 nr, gfn_t *below)
{
	struct kvm_memory_slot *slot;
	unsigned long i = gfn;
	int bkt;

	kvm_for_each_memslot(slot, bkt, kvm_memslots(vm->kvm)) {
		if (gfn < slot->base_gfn + slot->npages &&
		    slot->base_gfn < gfn + nr) {
			*below = slot->base_gfn;
			return true;
		}
	}
	if (!xa_find(&vm->own, &i, gfn + nr - 1, XA_PRESENT))
		return false;
	*below = i;
	return true;
}

/* Guest-physical addresses end here, for the guest or for the tables. */
static gfn_t kvmi_own_limit(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu = kvm_get_vcpu(kvm, 0);
	int bits;

	if (!vcpu)
		return 0;
	bits = min(vcpu->arch.maxphyaddr,
		   vcpu->arch.root_mmu.root_role.level == 5 ? 52 : 48);
	return BIT_ULL(bits - PAGE_SHIFT);
}

/* From the end of the address space downwards: VMMs begin at the other one. */
static int kvmi_own_place(struct kvmi_vm *vm, u64 nr, gfn_t *gfn)
{
	gfn_t limit = kvmi_own_limit(vm->kvm);
	bool again = vm->own_next;
	gfn_t below;

	if (!limit)
		return -EAGAIN;
	if (*gfn != KVMI_GFN_NONE) {
		if (*gfn >= limit || nr > limit - *gfn)
			return -EINVAL;
		return kvmi_own_taken(vm, *gfn, nr, &below) ? -EBUSY : 0;
	}

	for (below = vm->own_next ?: limit; ; ) {
		if (below < nr) {
			if (!again)
				return -ENOSPC;
			again = false;
			below = limit;
			continue;
		}
		*gfn = below - nr;
		if (!kvmi_own_taken(vm, *gfn, nr, &below))
			break;
		cond_resched();
	}
	vm->own_next = *gfn;
	return 0;
}

static void kvmi_own_free(struct kvmi_own *own)
{
	free_page((unsigned long)own->data);
	kfree(own);
}

static int kvmi_own_add(struct kvmi_vm *vm, gfn_t gfn)
{
	struct kvmi_own *own;
	int ret;

	own = kzalloc(sizeof(*own), GFP_KERNEL_ACCOUNT);
	if (!own)
		return -ENOMEM;
	own->gfn = gfn;
	INIT_LIST_HEAD(&own->aliases);
	own->data = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	ret = -ENOMEM;
	if (own->data)
		ret = xa_err(xa_store(&vm->own, gfn, own, GFP_KERNEL_ACCOUNT));
	if (ret)
		kvmi_own_free(own);
	else
		vm->nr_own++;
	return ret;
}

/* Take a range of them out of all views, and free them. */
static void kvmi_own_remove(struct kvmi_vm *vm, gfn_t first, gfn_t last)
{
	struct kvmi_alias *alias, *next;
	struct kvmi_own *own, *gone = NULL;
	unsigned long i;
	bool flush = false;

	xa_for_each_range(&vm->own, i, own, first, last) {
		xa_erase(&vm->own, i);
		vm->nr_own--;
		spin_lock(&vm->view_lock);
		list_for_each_entry_safe(alias, next, &own->aliases, link)
			flush |= kvmi_alias_drop(vm, alias);
		spin_unlock(&vm->view_lock);
		own->next = gone;
		gone = own;
		cond_resched();
	}
	if (!gone)
		return;
	if (flush && vm->kvm)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	/* Tools read them under RCU. */
	synchronize_rcu_expedited();
	while (gone) {
		own = gone;
		gone = own->next;
		kvmi_own_free(own);
	}
}

/**
 * kvmi_own_alloc - KVMI_PAGE_ALLOC
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EBUSY, -ENOSPC, -ENOMEM, -EAGAIN (no vCPU yet).
 */
int kvmi_own_alloc(struct kvmi_vm *vm, struct kvmi_pages *args)
{
	gfn_t gfn = args->gfn;
	u32 i;
	int idx;
	int ret;

	if (args->flags || args->pad || !args->nr_pages)
		return -EINVAL;
	if (!vm->view_hooks)
		return -EOPNOTSUPP;
	if (args->nr_pages > KVMI_MAX_OWN - vm->nr_own)
		return -ENOSPC;
	idx = srcu_read_lock(&vm->kvm->srcu);
	ret = kvmi_own_place(vm, args->nr_pages, &gfn);
	srcu_read_unlock(&vm->kvm->srcu, idx);
	if (ret)
		return ret;

	for (i = 0; i < args->nr_pages && !ret; i++) {
		ret = kvmi_own_add(vm, gfn + i);
		cond_resched();
	}
	if (ret)
		kvmi_own_remove(vm, gfn, gfn + args->nr_pages - 1);
	else
		args->gfn = gfn;
	return ret;
}

/**
 * kvmi_own_release - KVMI_PAGE_FREE
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_own_release(struct kvmi_vm *vm, struct kvmi_pages *args)
{
	u32 i;

	if (args->flags || args->pad || !args->nr_pages ||
	    args->gfn + args->nr_pages < args->gfn)
		return -EINVAL;
	for (i = 0; i < args->nr_pages; i++)
		if (!kvmi_own_find(vm, args->gfn + i))
			return -ENOENT;
	kvmi_own_remove(vm, args->gfn, args->gfn + args->nr_pages - 1);
	return 0;
}

/**
 * kvmi_own_release_all - the VM is let go, or its views are reset
 * @vm: no view shows any of them
 */
void kvmi_own_release_all(struct kvmi_vm *vm)
{
	kvmi_own_remove(vm, 0, ULONG_MAX);
	vm->own_next = 0;
}

/* ---- aliases ------------------------------------------------------------------------------- */

/**
 * kvmi_alias_find - what a view shows in the place of a page
 * @tree: the view
 * @gfn: guest frame number
 *
 * Return: NULL if it shows the page itself; stays under RCU.
 */
struct kvmi_alias *kvmi_alias_find(struct kvmi_tree *tree, gfn_t gfn)
{
	struct kvmi_alias *alias = NULL;

	if (unlikely(tree->aside))
		alias = kvmi_standin_find(tree, gfn);
	return alias ?: xa_load(&kvmi_view_base(tree)->aliases, gfn);
}

/**
 * kvmi_alias_shown - does a vCPU's view show another page in the place of one?
 * @kv: the vCPU; called on its thread, under RCU
 * @gfn: guest frame number
 *
 * Return: true if so.
 */
bool kvmi_alias_shown(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_tree *tree = kvmi_view_now(kv);

	return tree && kvmi_alias_find(tree, gfn);
}

static bool kvmi_alias_less(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct kvmi_alias, node)->source <
	       rb_entry(b, struct kvmi_alias, node)->source;
}

static void kvmi_alias_link(struct kvmi_vm *vm, struct kvmi_alias *alias)
{
	if (alias->own)
		list_add(&alias->link, &alias->own->aliases);
	else
		rb_add(&alias->node, &vm->aliases, kvmi_alias_less);
	alias->tree->nr_aliases++;
}

static void kvmi_alias_unlink(struct kvmi_vm *vm, struct kvmi_alias *alias)
{
	if (alias->own)
		list_del(&alias->link);
	else
		rb_erase(&alias->node, &vm->aliases);
	alias->tree->nr_aliases--;
}

/**
 * kvmi_alias_drop - show a page itself again
 * @vm: vm->lock and vm->view_lock held
 * @alias: is freed after a grace period
 *
 * Return: true if the TLBs must be flushed.
 */
bool kvmi_alias_drop(struct kvmi_vm *vm, struct kvmi_alias *alias)
{
	struct kvmi_tree *tree = alias->tree;
	bool flush;

	xa_erase(&tree->aliases, alias->gfn);
	kvmi_view_mark(tree, alias->gfn, KVMI_PAGE_ALIAS, 0);
	kvmi_alias_unlink(vm, alias);
	flush = kvmi_view_drop(vm, tree, alias->gfn, alias->gfn + 1);
	kfree_rcu(alias, rcu);
	return flush;
}

/**
 * kvmi_alias_drop_all - a view is about to go
 * @vm: vm->view_lock held
 * @tree: the view; nobody finds it any more
 */
void kvmi_alias_drop_all(struct kvmi_vm *vm, struct kvmi_tree *tree)
{
	struct kvmi_alias *alias;
	unsigned long i;

	xa_for_each(&tree->aliases, i, alias) {
		kvmi_alias_unlink(vm, alias);
		kfree_rcu(alias, rcu);
	}
}

/* The first alias of a source at or behind a gfn. */
static struct kvmi_alias *kvmi_alias_first(struct kvmi_vm *vm, gfn_t gfn)
{
	struct rb_node *node = vm->aliases.rb_node;
	struct kvmi_alias *alias, *first = NULL;

	while (node) {
		alias = rb_entry(node, struct kvmi_alias, node);
		if (alias->source >= gfn) {
			first = alias;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return first;
}

static struct kvmi_alias *kvmi_alias_next(struct kvmi_alias *alias)
{
	return rb_entry_safe(rb_next(&alias->node), struct kvmi_alias, node);
}

/**
 * kvmi_alias_zap - KVM has dropped or tightened its mappings of a range
 * @vm: vm->view_lock held
 * @start: first gfn
 * @end: behind the last gfn
 *
 * Return: true if a view showed it somewhere else: the TLBs must be flushed.
 */
bool kvmi_alias_zap(struct kvmi_vm *vm, gfn_t start, gfn_t end)
{
	struct kvmi_alias *alias;
	bool flush = false;

	for (alias = kvmi_alias_first(vm, start); alias && alias->source < end;
	     alias = kvmi_alias_next(alias))
		flush |= kvmi_view_drop(vm, alias->tree, alias->gfn,
					alias->gfn + 1);
	return flush;
}

/**
 * kvmi_alias_age - has a range been used through an alias?
 * @vm: vm->view_lock held
 * @start: first gfn
 * @end: behind the last gfn
 * @clear: forget it
 *
 * Return: true if so.
 */
bool kvmi_alias_age(struct kvmi_vm *vm, gfn_t start, gfn_t end, bool clear)
{
	struct kvmi_alias *alias;
	bool young = false;

	for (alias = kvmi_alias_first(vm, start); alias && alias->source < end;
	     alias = kvmi_alias_next(alias))
		young |= kvmi_tdp_age_alias(alias->tree, alias->gfn, clear);
	return young;
}

static struct kvmi_alias *kvmi_alias_make(struct kvmi_vm *vm,
					  struct kvmi_tree *tree,
					  const struct kvmi_remap_page *page)
{
	struct kvmi_own *own = kvmi_own_find(vm, page->source);
	struct kvm_memory_slot *slot;
	struct kvmi_alias *alias;
	int ret;

	if (!own) {
		ret = kvmi_view_slot(vm->kvm, page->source, &slot);
		if (ret)
			return ERR_PTR(ret);
	}
	alias = kzalloc(sizeof(*alias), GFP_KERNEL_ACCOUNT);
	if (!alias)
		return ERR_PTR(-ENOMEM);
	alias->tree = tree;
	alias->gfn = page->gfn;
	alias->source = page->source;
	alias->own = own;

	ret = kvmi_view_reserve(tree, page->gfn);
	if (!ret)
		ret = xa_reserve(&tree->aliases, page->gfn, GFP_KERNEL_ACCOUNT);
	if (ret) {
		kfree(alias);
		return ERR_PTR(ret);
	}
	return alias;
}

/*
 * @alias: NULL: the page itself; then its place stays reserved, as it may be that
 * of a later one in the list. Return: flush needed.
 */
static bool kvmi_alias_set(struct kvmi_vm *vm, struct kvmi_tree *tree,
			   gfn_t gfn, struct kvmi_alias *alias)
{
	struct kvmi_alias *old;
	bool flush = false;

	spin_lock(&vm->view_lock);
	old = kvmi_alias_find(tree, gfn);
	if (old || alias) {
		xa_store(&tree->aliases, gfn, alias ?: XA_ZERO_ENTRY,
			 GFP_NOWAIT);
		flush = kvmi_view_drop(vm, tree, gfn, gfn + 1);
	}
	if (old) {
		kvmi_alias_unlink(vm, old);
		kfree_rcu(old, rcu);
	}
	if (alias) {
		kvmi_alias_link(vm, alias);
		/* What a snapshot has given was for the page that was here. */
		kvmi_view_mark(tree, gfn, KVMI_PAGE_ALIAS |
			       (kvmi_view_given(tree, gfn) ? KVMI_ACCESS_RWX : 0),
			       KVMI_PAGE_ALIAS);
	} else if (old) {
		kvmi_view_mark(tree, gfn, KVMI_PAGE_ALIAS, 0);
	}
	spin_unlock(&vm->view_lock);
	return flush;
}

static int kvmi_remap_check(struct kvmi_vm *vm,
			    const struct kvmi_remap_page *page)
{
	struct kvm_memory_slot *slot;

	if (page->source == KVMI_GFN_NONE || kvmi_own_find(vm, page->gfn))
		return 0;
	return kvmi_view_slot(vm->kvm, page->gfn, &slot);
}

static int kvmi_remap_all(struct kvmi_vm *vm, struct kvmi_tree *tree,
			  const struct kvmi_remap_page *pages,
			  struct kvmi_alias **aliases, u32 nr, u32 *bad)
{
	bool flush = false;
	int ret = 0;
	int idx;
	u32 i;

	idx = srcu_read_lock(&vm->kvm->srcu);
	for (i = 0; i < nr; i++) {
		ret = kvmi_remap_check(vm, &pages[i]);
		if (ret)
			break;
		if (pages[i].source == KVMI_GFN_NONE)
			continue;
		aliases[i] = kvmi_alias_make(vm, tree, &pages[i]);
		if (IS_ERR(aliases[i])) {
			ret = PTR_ERR(aliases[i]);
			break;
		}
		cond_resched();
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
	if (ret) {
		*bad = i;
		while (i--) {
			/* Unless something stands there, or is to. */
			if (aliases[i])
				xa_release(&tree->aliases, pages[i].gfn);
			kfree(aliases[i]);
		}
		return ret;
	}

	for (i = 0; i < nr; i++) {
		flush |= kvmi_alias_set(vm, tree, pages[i].gfn, aliases[i]);
		cond_resched();
	}
	for (i = 0; i < nr; i++)
		if (!aliases[i])
			xa_release(&tree->aliases, pages[i].gfn);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	return 0;
}

/**
 * kvmi_remap - KVMI_REMAP
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -ENXIO, -EOPNOTSUPP, -EFAULT, -ENOMEM.
 */
int kvmi_remap(struct kvmi_vm *vm, struct kvmi_remap *args)
{
	struct kvmi_remap_page *pages;
	struct kvmi_alias **aliases;
	struct kvmi_tree *tree;
	int ret;

	args->out_bad = 0;
	if (args->flags || args->pad || !args->nr ||
	    args->nr > KVMI_MAX_REMAPS)
		return -EINVAL;
	tree = kvmi_view_named(vm, args->view);
	if (IS_ERR(tree))
		return PTR_ERR(tree);

	ret = -ENOMEM;
	pages = kvmalloc_array(args->nr, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	aliases = kvcalloc(args->nr, sizeof(*aliases), GFP_KERNEL_ACCOUNT);
	if (!pages || !aliases)
		goto out;
	ret = -EFAULT;
	if (copy_from_user(pages, u64_to_user_ptr(args->pages),
			   args->nr * sizeof(*pages)))
		goto out;
	ret = kvmi_remap_all(vm, tree, pages, aliases, args->nr,
			     &args->out_bad);
out:
	kvfree(aliases);
	kvfree(pages);
	return ret;
}

/* ---- faults ---------------------------------------------------------------------------------- */

/*
 * Copy KVM's leaf of the source to where the view shows it, if it lets the guest do
 * what it has tried; both locks held. Return: true if so.
 */
static bool kvmi_alias_copy(struct kvmi_vcpu *kv, struct kvmi_tree *tree,
			    struct kvmi_alias *alias, u32 access, u32 need,
			    bool *dirty, bool *flush)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	hpa_t root = vcpu->arch.mmu->root.hpa;
	struct kvmi_tdp_leaf leaf;
	u64 spte;

	if (!VALID_PAGE(root) ||
	    !kvmi_tdp_lookup(root, vcpu->arch.mmu->root_role.level,
			     alias->source, &leaf) ||
	    (need & ~kvmi_ops->spte_access(leaf.spte)))
		return false;
	spte = kvmi_tdp_small(leaf.spte, alias->source, leaf.level, 1);
	spte = kvmi_ops->spte_restrict(spte, access);
	if (!spte)
		return false;
	*dirty = kvmi_ops->spte_access(spte) & KVMI_ACCESS_W;
	/* PML would log the alias: with the bit set, it logs nothing. */
	spte |= kvmi_tdp_used(*dirty) | KVMI_TDP_ALIAS;
	kvmi_tdp_map(tree, &kv->tdp, alias->gfn, spte, 1, leaf.nonleaf, flush);
	/* As in kvmi_view_copy(). */
	smp_mb();
	if ((READ_ONCE(*leaf.sptep) ^ leaf.spte) & ~kvmi_tdp_used(true))
		*flush |= kvmi_tdp_zap(tree, alias->gfn, alias->gfn + 1);
	return true;
}

static void kvmi_alias_copy_own(struct kvmi_vcpu *kv, struct kvmi_tree *tree,
				struct kvmi_alias *alias, u32 access,
				bool *flush)
{
	struct kvmi_own *own = alias->own;
	u64 spte;

	spte = kvmi_ops->spte_restrict(kvmi_ops->spte_own(__pa(own->data)),
				       access);
	if (spte)
		kvmi_tdp_map(tree, &kv->tdp, alias->gfn,
			     spte | KVMI_TDP_ALIAS | KVMI_TDP_OWN, 1,
			     kvmi_ops->spte_table | sme_me_mask, flush);
}

/* As kvmi_view_fill(). */
static bool kvmi_alias_fill(struct kvmi_vcpu *kv, gfn_t gfn, u32 need)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvm *kvm = kv->vcpu->kvm;
	struct kvmi_alias *alias = NULL;
	struct kvmi_tree *tree;
	bool there = false;
	bool flush = false;
	bool dirty = false;
	u32 access;

	if (kvmi_tdp_topup(&kv->tdp))
		return false;

	rcu_read_lock();
	read_lock(&kvm->mmu_lock);
	spin_lock(&vm->view_lock);
	tree = xa_load(&vm->views, kv->view);
	if (tree)
		alias = kvmi_alias_find(tree, gfn);
	if (alias) {
		access = kvmi_view_access(tree, gfn);
		if (alias->own) {
			kvmi_alias_copy_own(kv, tree, alias, access, &flush);
			there = true;
		} else {
			if (!(need & KVMI_ACCESS_W))
				access &= ~KVMI_ACCESS_W;
			there = kvmi_alias_copy(kv, tree, alias, access, need,
						&dirty, &flush);
		}
		gfn = alias->source;
	}
	spin_unlock(&vm->view_lock);
	/*
	 * After the alias can be written to, and before a harvest of the log,
	 * which takes it away again, can have its say.
	 */
	if (dirty)
		kvm_call(kvm_vcpu_mark_page_dirty)(kv->vcpu, gfn);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(kvm);
	read_unlock(&kvm->mmu_lock);
	rcu_read_unlock();
	return there;
}

/*
 * What a source lets its aliases have. Return: KVMI_ACCESS_*, -ENXIO: it has gone;
 * -EAGAIN: it is about to.
 */
static int kvmi_alias_source(struct kvm *kvm, gfn_t source)
{
	struct kvm_memory_slot *slot = kvm_call(gfn_to_memslot)(kvm, source);

	if (!slot || slot->id >= KVM_USER_MEM_SLOTS)
		return -ENXIO;
	if (slot->flags & KVM_MEMSLOT_INVALID)
		return -EAGAIN;
	/* KVM would emulate the write, to the alias' own gfn. */
	if ((slot->flags & KVM_MEM_READONLY) ||
	    compat_gfn_write_tracked(slot, source))
		return KVMI_ACCESS_R | KVMI_ACCESS_X;
	return KVMI_ACCESS_RWX;
}

/**
 * kvmi_alias_fault - a fault of a vCPU where its view shows another page
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ev: the access; the view allows it
 * @allowed: set to what is allowed, where it is less than that
 *
 * KVM has the fault as one of the source, in its own tables.
 *
 * Return: as kvm_x86_ops.handle_exit; -EACCES: the access is not allowed, and
 * nothing is done.
 */
int kvmi_alias_fault(struct kvmi_vcpu *kv, struct kvmi_ev_access *ev,
		     u32 *allowed)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	gfn_t gfn = ev->gpa >> PAGE_SHIFT;
	struct kvmi_alias *alias = NULL;
	u64 error = PFERR_USER_MASK;
	struct kvmi_tree *tree;
	gfn_t source = 0;
	bool own = false;
	int ret = 1;

	rcu_read_lock();
	tree = xa_load(&kv->vm->views, kv->view);
	if (tree)
		alias = kvmi_alias_find(tree, gfn);
	if (alias) {
		source = alias->source;
		own = alias->own;
	}
	rcu_read_unlock();

	if (alias && !own) {
		ret = kvmi_alias_source(vcpu->kvm, source);
		if (ret == -ENXIO) {
			ev->flags |= KVMI_ACCESS_F_GONE;
			ret = 0;
		}
		if (ret >= 0 && (ev->access & ~ret)) {
			*allowed &= ret;
			return -EACCES;
		}
	}

	kvm_orig(handle_exit)(vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	kvmi_hot(fault_done)(kv);
	/* One that was taken back meanwhile, or that is about to go: try again. */
	if (!alias || ret == -EAGAIN)
		return 1;
	if (kvmi_alias_fill(kv, gfn, ev->access) || own)
		return 1;
	if (ev->access & KVMI_ACCESS_W)
		error |= PFERR_WRITE_MASK;
	if (ev->access & KVMI_ACCESS_X)
		error |= PFERR_FETCH_MASK;
	ret = kvm_call(kvm_mmu_page_fault)(vcpu, (source << PAGE_SHIFT) |
					   offset_in_page(ev->gpa), error, NULL,
					   0);
	if (ret > 0)
		kvmi_alias_fill(kv, gfn, ev->access);
	return ret;
}

/**
 * kvmi_alias_resolve - where a view has a page
 * @vm: the VM; called under RCU
 * @view: id of the view
 * @gfn: guest frame number; set to that of the page
 * @page: set to the page, if it is one of kvmi's own, or NULL
 *
 * Return: 0 or -ENOENT.
 */
int kvmi_alias_resolve(struct kvmi_vm *vm, u32 view, gfn_t *gfn, void **page)
{
	struct kvmi_alias *alias;
	struct kvmi_tree *tree;

	*page = NULL;
	if (view == KVMI_VIEW_DEFAULT)
		return 0;
	tree = kvmi_view_get(vm, view);
	if (!tree)
		return -ENOENT;
	alias = kvmi_alias_find(tree, *gfn);
	if (alias) {
		*gfn = alias->source;
		if (alias->own)
			*page = alias->own->data;
	}
	return 0;
}

/**
 * kvmi_alias_rw - access memory as a vCPU sees it
 * @kv: the vCPU; called on its thread
 * @gpa: where; set to where its view has it, unless it is done
 * @buf: from or to here
 * @len: bytes, within a page
 * @write: to the guest
 *
 * Return: true if it is done; false: it is the guest's own memory, at @gpa.
 */
bool kvmi_alias_rw(struct kvmi_vcpu *kv, gpa_t *gpa, void *buf, u32 len,
		   bool write)
{
	u32 offset = offset_in_page(*gpa);
	struct kvmi_alias *alias = NULL;
	gfn_t gfn = *gpa >> PAGE_SHIFT;
	void *page;

	if (likely(kv->view == KVMI_VIEW_DEFAULT))
		return false;
	rcu_read_lock();
	if (unlikely(kv->busy.standin))
		alias = kvmi_standin_find(kv->aside, gfn);
	if (alias)
		page = alias->own->data;
	else if (kvmi_alias_resolve(kv->vm, kvmi_view_shown(kv), &gfn, &page))
		page = NULL;
	if (!page)
		*gpa = (gfn << PAGE_SHIFT) | offset;
	else if (write)
		memcpy(page + offset, buf, len);
	else
		memcpy(buf, page + offset, len);
	rcu_read_unlock();
	return page;
}
