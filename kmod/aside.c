// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asides: what a view forbids is let happen for one instruction of one vCPU.
 *
 * An aside is a second-level page table of one vCPU alone, with the rights of the
 * view that it stands in for, and a few pages more that may be written. Others stay
 * on the view; and whatever else the view forbids is an event still, which it would
 * not be on KVM's own tables. Nobody but kvmi puts a vCPU on one.
 *
 * The CPU's walk of the guest's page tables, which sets accessed and dirty bits, is
 * dealt with so where a view says KVMI_VIEW_NO_WALKS, and so are writes to pages of
 * which some bytes are watched.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hook.h"

/**
 * kvmi_aside_page - what an aside says of a page
 * @aside: under RCU
 * @gfn: guest frame number
 * @page: what its view says
 *
 * Return: KVMI_PAGE_*, with the rights set.
 */
u8 kvmi_aside_page(struct kvmi_tree *aside, gfn_t gfn, u8 page)
{
	/* Pairs with smp_wmb() in kvmi_aside_grant(). */
	u32 nr = smp_load_acquire(&aside->nr_grants);
	u32 i;

	for (i = 0; i < nr; i++)
		if (READ_ONCE(aside->grants[i]) == gfn)
			page |= KVMI_ACCESS_R | KVMI_ACCESS_W;
	return kvmi_standin_page(aside, gfn, page) | KVMI_PAGE_SET;
}

/**
 * kvmi_aside_prepare - see to it that a vCPU has an aside
 * @kv: the vCPU; called on its thread; may sleep
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_aside_prepare(struct kvmi_vcpu *kv)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_tree *aside;
	int ret;

	if (kv->aside)
		return 0;
	aside = kvmi_view_alloc(kv->vcpu);
	if (!aside)
		return -ENOMEM;
	aside->aside = true;
	aside->id = KVMI_VIEW_ASIDE + kv->index;
	ret = xa_err(xa_store(&vm->views, aside->id, aside,
			      GFP_KERNEL_ACCOUNT));
	if (ret) {
		kvmi_view_discard(aside);
		return -ENOMEM;
	}
	kv->aside = aside;
	return 0;
}

/**
 * kvmi_aside_detach - an aside stands in for no view any more
 * @aside: vm->view_lock held; the caller flushes
 */
void kvmi_aside_detach(struct kvmi_tree *aside)
{
	kvmi_standin_leave(aside);
	kvmi_tdp_zap(aside, 0, ULONG_MAX);
	if (aside->base)
		aside->base->nr_asides--;
	WRITE_ONCE(aside->base, NULL);
	WRITE_ONCE(aside->nr_grants, 0);
}

/* As the view is now, with no page more. vm->view_lock held. */
static void kvmi_aside_attach(struct kvmi_tree *aside, struct kvmi_tree *tree)
{
	u32 i;

	if (aside->base != tree) {
		kvmi_aside_detach(aside);
		WRITE_ONCE(aside->base, tree);
		tree->nr_asides++;
	}
	for (i = 0; i < aside->nr_grants; i++)
		kvmi_tdp_zap(aside, aside->grants[i], aside->grants[i] + 1);
	WRITE_ONCE(aside->nr_grants, 0);
}

/**
 * kvmi_aside_go - run one instruction on another view, without an event
 * @kv: the vCPU; called on its thread
 * @id: of the view
 *
 * The step that the instruction may be part of already goes on.
 */
void kvmi_aside_go(struct kvmi_vcpu *kv, u32 id)
{
	u32 home = kvmi_view_shown(kv);

	if (!kvmi_step_active(kv))
		kvmi_step_start(kv, KVMI_STEP_FAST);
	kvmi_view_enter(kv, id);
	kv->home = home;
}

/**
 * kvmi_aside_begin - run one instruction on the aside, as its view is now
 * @kv: the vCPU, on a view that is no aside; called on its thread; may sleep
 *
 * Return: 0, -ENOMEM or -ENOENT: there is no such view.
 */
int kvmi_aside_begin(struct kvmi_vcpu *kv)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_tree *tree;
	int ret;

	ret = kvmi_aside_prepare(kv);
	if (ret)
		return ret;

	rcu_read_lock();
	spin_lock(&vm->view_lock);
	tree = xa_load(&vm->views, kv->view);
	if (tree)
		kvmi_aside_attach(kv->aside, tree);
	spin_unlock(&vm->view_lock);
	rcu_read_unlock();
	if (!tree)
		return -ENOENT;

	kvmi_aside_go(kv, kv->aside->id);
	return 0;
}

/**
 * kvmi_aside_grant - let the coming instruction write to a page
 * @kv: the vCPU at a fault that its view forbids; called on its thread, KVM's
 *	bookkeeping of the exit done
 * @gfn: guest frame number
 *
 * The instruction is stepped. Without memory, or where it needs too many pages, it is
 * stepped on KVM's own tables.
 */
void kvmi_aside_grant(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_tree *aside;
	struct kvmi_vm *vm = kv->vm;
	int ret = 0;

	if (!kvmi_is_away(kv))
		ret = kvmi_aside_begin(kv);
	aside = kv->aside;
	if (!ret) {
		spin_lock(&vm->view_lock);
		if (aside->nr_grants < KVMI_MAX_GRANTS) {
			WRITE_ONCE(aside->grants[aside->nr_grants], gfn);
			/* The entry before the count: kvmi_aside_page(). */
			smp_wmb();
			WRITE_ONCE(aside->nr_grants, aside->nr_grants + 1);
			kvmi_tdp_zap(aside, gfn, gfn + 1);
		} else {
			ret = -ENOSPC;
		}
		spin_unlock(&vm->view_lock);
	}
	/* Nobody else runs on it: nobody else has translations of it. */
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, kv->vcpu);
	if (ret)
		kvmi_aside_go(kv, KVMI_VIEW_DEFAULT);
}

/* ---- watched bytes --------------------------------------------------------------------------- */

/**
 * kvmi_bytes_watch - KVMI_WATCH_BYTES
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -ENXIO, -ENOMEM.
 */
int kvmi_bytes_watch(struct kvmi_vm *vm, struct kvmi_watch_bytes *args)
{
	u32 first = offset_in_page(args->gpa);
	gfn_t gfn = args->gpa >> PAGE_SHIFT;
	struct kvm_memory_slot *slot;
	struct kvmi_tree *tree;
	int ret = 0;
	bool flush;
	int idx;

	if (args->flags || args->len > PAGE_SIZE - first)
		return -EINVAL;
	tree = kvmi_view_named(vm, args->view);
	if (IS_ERR(tree))
		return PTR_ERR(tree);
	if (args->len) {
		idx = srcu_read_lock(&vm->kvm->srcu);
		if (!kvmi_own_find(vm, gfn))
			ret = kvmi_memory_slot(vm->kvm, gfn, &slot);
		srcu_read_unlock(&vm->kvm->srcu, idx);
		if (!ret)
			ret = kvmi_view_reserve(tree, gfn);
		if (!ret)
			ret = xa_err(xa_store(&tree->bytes, gfn,
					      xa_mk_value(first | (args->len - 1) << PAGE_SHIFT),
					      GFP_KERNEL_ACCOUNT));
	} else if (!xa_erase(&tree->bytes, gfn)) {
		return 0;
	}
	if (ret)
		return ret;
	spin_lock(&vm->view_lock);
	kvmi_view_mark(tree, gfn, KVMI_PAGE_BYTES,
		       args->len ? KVMI_PAGE_BYTES : 0);
	/* A snapshot would let all writes pass. */
	flush = kvmi_view_withdraw(vm, tree, gfn);
	spin_unlock(&vm->view_lock);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(vm->kvm);
	return 0;
}

static int kvmi_bytes_read(struct kvmi_vcpu *kv, void *buf)
{
	gpa_t gpa = (kv->bytes.gfn << PAGE_SHIFT) | kv->bytes.first;

	if (kvmi_alias_rw(kv, &gpa, buf, kv->bytes.len, false))
		return 0;
	return kvm_call(kvm_vcpu_read_guest)(kv->vcpu, gpa, buf, kv->bytes.len);
}

/**
 * kvmi_bytes_begin - the guest is about to write to a page with watched bytes
 * @kv: the vCPU at the fault; called on its thread, kvm->srcu held
 * @gfn: guest frame number
 * @allowed: KVMI_ACCESS_* of the page
 *
 * Return: true if what they are now is known, so that the write may happen.
 */
bool kvmi_bytes_begin(struct kvmi_vcpu *kv, gfn_t gfn, u32 allowed)
{
	struct kvmi_tree *tree;
	void *range = NULL;

	if (kv->bytes.valid || kv->busy.written)
		return kv->bytes.gfn == gfn && !kv->busy.written;
	if (!kv->bytes.old)
		kv->bytes.old = kmalloc(2 * PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!kv->bytes.old)
		return false;
	rcu_read_lock();
	tree = xa_load(&kv->vm->views, kvmi_view_shown(kv));
	if (tree)
		range = xa_load(&tree->bytes, gfn);
	rcu_read_unlock();
	if (!range)
		return false;
	kv->bytes.gfn = gfn;
	kv->bytes.first = offset_in_page(xa_to_value(range));
	kv->bytes.len = (xa_to_value(range) >> PAGE_SHIFT) + 1;
	kv->bytes.allowed = allowed;
	kv->bytes.valid = !kvmi_bytes_read(kv, kv->bytes.old);
	return kv->bytes.valid;
}

static u64 kvmi_bytes_word(struct kvmi_vcpu *kv, const u8 *bytes, u32 word,
			   u64 other)
{
	u32 i;

	/* What of the word is not watched is as it is now. */
	for (i = 0; i < sizeof(other); i++)
		if (word + i >= kv->bytes.first &&
		    word + i < kv->bytes.first + kv->bytes.len)
			((u8 *)&other)[i] = bytes[word + i - kv->bytes.first];
	return other;
}

/**
 * kvmi_bytes_post - the instruction is over: has it changed watched bytes?
 * @kv: the vCPU, at an instruction boundary; called on its thread, kvm->srcu held
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_bytes_post(struct kvmi_vcpu *kv)
{
	u8 *new = kv->bytes.old + PAGE_SIZE;
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_ACCESS,
		.cont = KVMI_CONT_NOTHING,
		.size = sizeof(ex.payload.access),
		.payload.access = {
			.access = KVMI_ACCESS_W,
			.allowed = kv->bytes.allowed,
			.flags = KVMI_ACCESS_F_CHANGED,
		},
	};
	struct kvmi_ev_access *ev = &ex.payload.access;
	u32 i, word;
	gpa_t gpa;
	u64 now = 0;

	kv->busy.written = false;
	if (kvmi_bytes_read(kv, new))
		return 1;
	for (i = 0; i < kv->bytes.len && kv->bytes.old[i] == new[i]; i++)
		;
	if (i == kv->bytes.len)
		return 1;

	word = (kv->bytes.first + i) & ~7U;
	gpa = (kv->bytes.gfn << PAGE_SHIFT) | word;
	ev->gpa = gpa;
	if (!kvmi_alias_rw(kv, &gpa, &now, sizeof(now), false))
		kvm_call(kvm_vcpu_read_guest)(kv->vcpu, gpa, &now, sizeof(now));
	ev->old_value = kvmi_bytes_word(kv, kv->bytes.old, word, now);
	ev->new_value = kvmi_bytes_word(kv, new, word, now);
	return kvmi_event_tell(kv, &ex);
}
