// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks of the views, for tests of kvmi: does a view show more than KVM does, or,
 * where KVM has no leaf of its own any more, more than the host?
 *
 * The latter is the one that matters: KVM drops whole roots at times, without an
 * invalidation by the host, and views keep what they have. If then a page goes, and
 * the view's leaf does not, KVM's tables do not tell. But a page that the host has
 * at an address cannot go from there without an invalidation: as long as there was
 * none, what KVM was to be told about, the view was as well.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hook.h"

/* Leaves that are looked at with the locks held. */
#define CHECK_BUDGET		2048
/* How often it is waited for the VMM's changes of its memory, a millisecond each. */
#define CHECK_TRIES		1000
/* Pages that the host is asked for at a time. */
#define CHECK_PAGES		64
/* Rounds of CHECK_BUDGET for which the timer keeps the tool from its views. */
#define CHECK_ROUNDS		8

/* With KASAN nothing is fast: there it is on. */
static bool check_views = IS_ENABLED(CONFIG_KASAN);
module_param(check_views, bool, 0600);
MODULE_PARM_DESC(check_views, "compare views with KVM's tables at each invalidation, and with the host's soon after (default: on kernels with KASAN)");

/* Changes of memory slots of which KVM's tables show more than the views yet. */
static atomic_t kvmi_unsettled = ATOMIC_INIT(0);

/* The leaves of a view that the host has to be asked about. */
struct kvmi_lone {
	u32 nr;
	struct kvmi_tdp_lone leaf[KVMI_TDP_LONE];
};

/* Does the host map at @hva what the guest sees? mmap_lock held. */
static bool kvmi_check_pages(struct mm_struct *mm, unsigned long hva,
			     kvm_pfn_t pfn, u64 nr, bool write)
{
	unsigned int flags = FOLL_NOFAULT | (write ? FOLL_WRITE : 0);
	struct page *pages[CHECK_PAGES];
	struct vm_area_struct *vma;
	bool same = true;
	long got, i;

	vma = vma_lookup(mm, hva);
	if (!vma)
		return false;
	/* What has no struct page is not to be had this way. */
	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP))
		return true;
	while (nr && same) {
		got = compat_get_user_pages_remote(mm, hva,
						   min_t(u64, nr, CHECK_PAGES),
						   flags, pages, NULL);
		if (got <= 0)
			return false;
		for (i = 0; i < got; i++) {
			same &= page_to_pfn(pages[i]) == pfn + i;
			put_page(pages[i]);
		}
		hva += got << PAGE_SHIFT;
		pfn += got;
		nr -= got;
	}
	return same;
}

/* kvm->slots_lock and mmap_lock held. */
static bool kvmi_check_lone(struct kvm *kvm, const struct kvmi_tdp_lone *lone)
{
	bool write = kvmi_ops->spte_access(lone->spte) & KVMI_ACCESS_W;
	struct kvmi_tdp_leaf leaf = {
		.spte = lone->spte,
		.level = lone->level,
	};
	struct kvm_memory_slot *slot;
	u64 nr = 1ULL << ((lone->level - 1) * 9);
	unsigned long hva;

	slot = kvm_call(gfn_to_memslot)(kvm, lone->source);
	if (!slot || (slot->flags & KVM_MEMSLOT_INVALID) ||
	    lone->source + nr > slot->base_gfn + slot->npages ||
	    (write && (slot->flags & KVM_MEM_READONLY)))
		return false;
	hva = slot->userspace_addr +
	      ((lone->source - slot->base_gfn) << PAGE_SHIFT);
	return kvmi_check_pages(kvm->mm, hva,
				kvmi_tdp_leaf_pfn(&leaf, lone->source), nr,
				write);
}

/*
 * Leaves that KVM has none of. kvm->slots_lock held. What the host has is looked at
 * without kvm->mmu_lock, and holds if there was no invalidation meanwhile.
 */
static int kvmi_check_host(struct kvmi_vm *vm, struct kvmi_tree *tree,
			   struct kvmi_tdp_check *check, struct kvmi_lone *lone,
			   unsigned long seq)
{
	struct kvm *kvm = vm->kvm;
	struct kvmi_tdp_leaf leaf;
	u32 i, bad = 0;
	int ret = 0;

	/* Not to wait for who waits for us. */
	if (!mmap_read_trylock(kvm->mm))
		return -EAGAIN;
	for (i = 0; i < lone->nr; i++)
		if (!kvmi_check_lone(kvm, &lone->leaf[i]))
			lone->leaf[bad++] = lone->leaf[i];
	mmap_read_unlock(kvm->mm);

	read_lock(&kvm->mmu_lock);
	spin_lock(&vm->view_lock);
	if (mmu_invalidate_retry(kvm, seq))
		ret = -EAGAIN;
	for (i = 0; i < bad && !ret; i++)
		/* The tool may have it changed since. */
		if (kvmi_tdp_lookup(__pa(tree->root), tree->level,
				    lone->leaf[i].gfn, &leaf) &&
		    !((leaf.spte ^ lone->leaf[i].spte) & ~kvmi_tdp_used(true)) &&
		    !check->wrong++)
			check->gfn = lone->leaf[i].gfn;
	spin_unlock(&vm->view_lock);
	read_unlock(&kvm->mmu_lock);
	return ret;
}

/*
 * Some leaves of one view; vm->sem held for reading, and vm->lock. Return: 1 if there
 * are more, 0, -EAGAIN, -EINTR.
 */
static int kvmi_check_some(struct kvmi_vm *vm, struct kvmi_tree *tree,
			   struct kvmi_tdp_check *check, struct kvmi_lone *lone)
{
	struct kvmi_tdp_check before = *check;
	struct kvm *kvm = vm->kvm;
	unsigned long seq;
	int ret = -EAGAIN;

	/* It dies: its pages go with an invalidation of everything. */
	if (!mmget_not_zero(kvm->mm))
		return 0;
	if (!mutex_trylock(&kvm->slots_lock))
		goto out;

	check->budget = CHECK_BUDGET;
	check->lone = lone->leaf;
	check->nr_lone = 0;
	rcu_read_lock();
	write_lock(&kvm->mmu_lock);
	seq = kvm->mmu_invalidate_seq;
	check->level = kvmi_tdp_root(kvm, &check->root);
	spin_lock(&vm->view_lock);
	ret = kvmi_tdp_check(tree, check);
	spin_unlock(&vm->view_lock);
	write_unlock(&kvm->mmu_lock);
	rcu_read_unlock();

	lone->nr = check->nr_lone;
	if (lone->nr && kvmi_check_host(vm, tree, check, lone, seq)) {
		*check = before;
		ret = -EAGAIN;
	}
	mutex_unlock(&kvm->slots_lock);
out:
	mmput_async(kvm->mm);
	return ret;
}

static int kvmi_check_one(struct kvmi_vm *vm, struct kvmi_tree *tree,
			  struct kvmi_tdp_check *check, struct kvmi_lone *lone)
{
	int tries = CHECK_TRIES;
	int ret;

	check->next = 0;
	do {
		ret = kvmi_check_some(vm, tree, check, lone);
		if (signal_pending(current))
			return -EINTR;
		if (ret > 0)
			tries = CHECK_TRIES;
		else if (ret && --tries)
			fsleep(1000);
		cond_resched();
	} while (ret > 0 || (ret && tries));
	return ret;
}

/**
 * kvmi_check_views - KVMI_VIEW_CHECK
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -ENOMEM, -EAGAIN, -EINTR.
 */
int kvmi_check_views(struct kvmi_vm *vm, struct kvmi_view_check *args)
{
	bool all = args->view == KVMI_VIEW_ALL;
	struct kvmi_tdp_check check = {};
	struct kvmi_lone *lone;
	struct kvmi_tree *tree;
	unsigned long i;
	int ret = 0;

	if (args->flags || args->pad)
		return -EINVAL;
	if (!all && !kvmi_view_get(vm, args->view))
		return -ENOENT;
	lone = kmalloc(sizeof(*lone), GFP_KERNEL_ACCOUNT);
	if (!lone)
		return -ENOMEM;
	xa_for_each(&vm->views, i, tree) {
		if (!all && tree->id != args->view)
			continue;
		ret = kvmi_check_one(vm, tree, &check, lone);
		if (ret)
			break;
	}
	kfree(lone);
	if (ret)
		return ret;
	args->out_leaves = check.leaves;
	args->out_alone = check.alone;
	args->out_wrong = check.wrong;
	args->out_gfn = check.gfn;
	return 0;
}

/* ---- with check_views --------------------------------------------------------------------- */

static void kvmi_check_warn(struct kvmi_tree *tree, struct kvmi_tdp_check *check)
{
	WARN_ONCE(check->wrong, "view %u is stale at gfn %llx\n", tree->id,
		  check->gfn);
}

/**
 * kvmi_check_zapped - KVM and the views have dropped or tightened mappings
 * @vm: vm->view_lock held, kvm->mmu_lock for writing
 *
 * What KVM has leaves of is compared at once, the rest a little later.
 */
void kvmi_check_zapped(struct kvmi_vm *vm)
{
	struct kvmi_tdp_check check = {};
	struct kvmi_tree *tree;
	unsigned long i;

	if (!READ_ONCE(check_views))
		return;
	/* The work is cancelled after the views are gone, and who has seen one is. */
	xa_for_each(&vm->views, i, tree) {
		vm->check.again = true;
		queue_delayed_work(system_unbound_wq, &vm->check.work,
				   HZ / 20);
		break;
	}
	if (atomic_read(&kvmi_unsettled))
		return;
	check.level = kvmi_tdp_root(vm->kvm, &check.root);
	xa_for_each(&vm->views, i, tree) {
		check.next = 0;
		check.budget = CHECK_BUDGET;
		kvmi_tdp_check(tree, &check);
		kvmi_check_warn(tree, &check);
	}
}

/* Some of all leaves. Return: true if there are more, or some have changed since. */
static bool kvmi_check_go_on(struct kvmi_vm *vm, struct kvmi_lone *lone)
{
	struct kvmi_tdp_check check = { .next = vm->check.next };
	struct kvmi_tree *tree;
	unsigned long at;
	int i, ret;

	for (i = 0; i < CHECK_ROUNDS; i++) {
		at = vm->check.view;
		if (!at && !check.next)
			WRITE_ONCE(vm->check.again, false);
		tree = xa_find(&vm->views, &vm->check.view, ULONG_MAX,
			       XA_PRESENT);
		/* Of one that is gone by now. */
		if (vm->check.view != at)
			check.next = 0;
		if (!tree) {
			vm->check.view = 0;
			vm->check.next = 0;
			return READ_ONCE(vm->check.again);
		}
		ret = kvmi_check_some(vm, tree, &check, lone);
		kvmi_check_warn(tree, &check);
		if (ret < 0)
			break;
		if (!ret) {
			vm->check.view++;
			check.next = 0;
		}
		cond_resched();
	}
	vm->check.next = check.next;
	return true;
}

static void kvmi_check_work(struct work_struct *work)
{
	struct kvmi_vm *vm = container_of(to_delayed_work(work), struct kvmi_vm,
					  check.work);
	struct kvmi_lone *lone;
	bool more = true;

	lone = kmalloc(sizeof(*lone), GFP_KERNEL);
	/* A detach waits for us. */
	if (lone && down_read_trylock(&vm->sem)) {
		if (!vm->kvm) {
			more = false;
		} else if (mutex_trylock(&vm->lock)) {
			more = kvmi_check_go_on(vm, lone);
			mutex_unlock(&vm->lock);
		}
		up_read(&vm->sem);
	}
	kfree(lone);
	if (more)
		queue_delayed_work(system_unbound_wq, &vm->check.work, HZ / 20);
}

/**
 * kvmi_check_init - nothing is checked yet
 * @vm: a new one
 */
void kvmi_check_init(struct kvmi_vm *vm)
{
	INIT_DELAYED_WORK(&vm->check.work, kvmi_check_work);
}

/**
 * kvmi_check_exit - nothing is to be checked any more
 * @vm: without views, and a grace period of RCU has passed since it had some; sleeps
 */
void kvmi_check_exit(struct kvmi_vm *vm)
{
	cancel_delayed_work_sync(&vm->check.work);
}

/**
 * kvmi_check_unsettled - KVM begins, or has ended, to change its tables before the
 * views' are changed: who compares them under kvm->mmu_lock alone has to wait
 * @begin: it begins
 */
void kvmi_check_unsettled(bool begin)
{
	if (begin)
		atomic_inc(&kvmi_unsettled);
	else
		atomic_dec(&kvmi_unsettled);
}
