// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-ins: for one instruction, pages of kvmi's own are in the place of some of the
 * guest's. They hold what those hold, but for the bytes that a tool has supplied; what
 * the instruction writes to them is lost, or is taken over behind it.
 *
 *	answer  -->  copies, where one may sleep  -->  into the vCPU's aside  -->
 *	one instruction  -->  out of it  -->  what has changed, to the guest's pages
 *
 * Nobody else runs on the aside: of several vCPUs one executes the instruction so, and
 * the others see the guest's pages all the while. The aside lets this instruction do
 * whatever it wants, as the default view would.
 *
 * What the CPU delivers is no instruction, and its frame is the guest's: an exception
 * that the instruction raises takes the stand-ins out before it is delivered, and
 * interrupts are held back.
 */
#include <linux/slab.h>

#include "hook.h"

/* Of kvmi_vcpu.busy.standin. */
enum kvmi_standin_state {
	STANDIN_NONE,
	STANDIN_ACTIVE,		/* in the aside, for the coming instruction */
	STANDIN_OVER,		/* the instruction is complete */
};

/**
 * kvmi_standin_find - what stands in for a page, on an aside
 * @aside: under RCU or vm->view_lock
 * @gfn: guest frame number
 *
 * Return: it, as if it were remapped; NULL if nothing does.
 */
struct kvmi_alias *kvmi_standin_find(struct kvmi_tree *aside, gfn_t gfn)
{
	/* Pairs with the release in kvmi_standin_go(). */
	u32 nr = smp_load_acquire(&aside->nr_standins);
	u32 i;

	for (i = 0; i < nr; i++)
		if (aside->standins[i]->gfn == gfn)
			return &aside->standins[i]->alias;
	return NULL;
}

/**
 * kvmi_standin_page - what the aside of a stand-in says of a page
 * @aside: under RCU
 * @gfn: guest frame number
 * @page: KVMI_PAGE_* that its view says
 *
 * Return: KVMI_PAGE_*.
 */
u8 kvmi_standin_page(struct kvmi_tree *aside, gfn_t gfn, u8 page)
{
	struct kvmi_tree *base = READ_ONCE(aside->base);

	if (!READ_ONCE(aside->open))
		return page;
	if (kvmi_standin_find(aside, gfn))
		return KVMI_PAGE_ALIAS | KVMI_ACCESS_RWX;
	/* Else a snapshot would not hear of the write. */
	if (base && base->undo && kvmi_view_untouched(base, gfn) &&
	    !kvmi_view_given(base, gfn))
		return page;
	return page | KVMI_ACCESS_RWX;
}

static void kvmi_standin_free(struct kvmi_standin *standin)
{
	if (!standin)
		return;
	free_page((unsigned long)standin->own.data);
	free_page((unsigned long)standin->before);
	kfree(standin);
}

/**
 * kvmi_standin_free_all - a vCPU goes
 * @kv: found by no hook any more, its aside neither
 */
void kvmi_standin_free_all(struct kvmi_vcpu *kv)
{
	int i;

	for (i = 0; i < KVMI_REPLY_MAX_STAND_INS; i++)
		kvmi_standin_free(kv->standins[i]);
}

static struct kvmi_standin *kvmi_standin_alloc(void)
{
	struct kvmi_standin *standin = kzalloc(sizeof(*standin), GFP_KERNEL_ACCOUNT);

	if (!standin)
		return NULL;
	standin->own.data = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	standin->before = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!standin->own.data || !standin->before) {
		kvmi_standin_free(standin);
		return NULL;
	}
	standin->alias.own = &standin->own;
	return standin;
}

/* A copy of a page, as the vCPU's view shows it; the next one that is free. */
static int kvmi_standin_copy(struct kvmi_vcpu *kv, gfn_t gfn)
{
	struct kvmi_standin *standin = kv->standins[kv->nr_standins];
	gpa_t gpa = gfn << PAGE_SHIFT;

	if (!standin)
		standin = kvmi_standin_alloc();
	if (!standin)
		return -ENOMEM;
	kv->standins[kv->nr_standins] = standin;
	standin->gfn = gfn;
	standin->alias.gfn = gfn;
	standin->alias.source = gfn;
	standin->discard = false;
	if (!kvmi_alias_rw(kv, &gpa, standin->own.data, PAGE_SIZE, false) &&
	    kvm_call(kvm_vcpu_read_guest)(kv->vcpu, gpa, standin->own.data,
					  PAGE_SIZE))
		return -ENXIO;
	kv->nr_standins++;
	return 0;
}

static struct kvmi_standin *kvmi_standin_get(struct kvmi_vcpu *kv, gfn_t gfn)
{
	int ret;
	u32 i;

	for (i = 0; i < kv->nr_standins; i++)
		if (kv->standins[i]->gfn == gfn)
			return kv->standins[i];
	ret = kvmi_standin_copy(kv, gfn);
	return ret ? ERR_PTR(ret) : kv->standins[i];
}

/**
 * kvmi_standin_check - KVMI_REPLY_STAND_IN: make the copies
 * @kv: the vCPU, its answer in kv->reply; called on its thread, kvm->srcu held
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -EBUSY, -ENXIO, -ENOMEM; then nothing is done.
 */
int kvmi_standin_check(struct kvmi_vcpu *kv)
{
	const struct kvmi_reply *reply = &kv->reply;
	const struct kvmi_stand_in *from;
	struct kvmi_standin *standin;
	int ret;
	u32 i;

	if (reply->size < offsetofend(struct kvmi_reply, stand_ins) ||
	    reply->action != KVMI_ACTION_RETRY || reply->pad3 ||
	    !reply->nr_stand_ins ||
	    reply->nr_stand_ins > KVMI_REPLY_MAX_STAND_INS ||
	    (reply->flags & (KVMI_REPLY_VIEW | KVMI_REPLY_STEP |
			     KVMI_REPLY_FAST_STEP | KVMI_REPLY_INJECT)))
		return -EINVAL;
	for (i = 0; i < reply->nr_stand_ins; i++) {
		from = &reply->stand_ins[i];
		if ((from->flags & ~KVMI_STAND_IN_F_DISCARD) ||
		    from->len > KVMI_STAND_IN_BYTES ||
		    offset_in_page(from->gpa) + from->len > PAGE_SIZE)
			return -EINVAL;
	}
	if (kvmi_view_shown(kv) == KVMI_VIEW_DEFAULT)
		return -EOPNOTSUPP;
	/* The instruction is executed somewhere else already. */
	if (kv->busy.standin != STANDIN_NONE || kvmi_is_away(kv) ||
	    kv->busy.step == KVMI_STEP_FAST)
		return -EBUSY;
	ret = kvmi_aside_prepare(kv);
	if (ret)
		return ret;

	kv->nr_standins = 0;
	for (i = 0; i < reply->nr_stand_ins; i++) {
		from = &reply->stand_ins[i];
		standin = kvmi_standin_get(kv, from->gpa >> PAGE_SHIFT);
		if (IS_ERR(standin))
			return PTR_ERR(standin);
		memcpy(standin->own.data + offset_in_page(from->gpa), from->data,
		       from->len);
		if (from->flags & KVMI_STAND_IN_F_DISCARD)
			standin->discard = true;
	}
	for (i = 0; i < kv->nr_standins; i++)
		copy_page(kv->standins[i]->before, kv->standins[i]->own.data);
	return 0;
}

/**
 * kvmi_standin_go - execute one instruction with what kvmi_standin_check() has made
 * @kv: the vCPU; called on its thread, kvm->srcu held
 */
void kvmi_standin_go(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	struct kvmi_tree *aside = kv->aside;
	struct kvmi_vm *vm = kv->vm;

	/* What comes is not an instruction: it is let happen. */
	if (arch->interrupt.injected || arch->nmi_injected ||
	    arch->exception.injected) {
		kvmi_step_start(kv, KVMI_STEP_FAST);
		kvmi_view_enter(kv, KVMI_VIEW_DEFAULT);
		return;
	}
	/* Its view has gone meanwhile: it goes on where it is. */
	if (kvmi_aside_begin(kv))
		return;
	spin_lock(&vm->view_lock);
	/* Nothing that it maps has these rights; KVMI_VIEW_CHECK looks as well. */
	kvmi_tdp_zap(aside, 0, ULONG_MAX);
	aside->standins = kv->standins;
	WRITE_ONCE(aside->open, true);
	/* The list before how long it is: kvmi_standin_find(). */
	smp_store_release(&aside->nr_standins, kv->nr_standins);
	spin_unlock(&vm->view_lock);
	kv->busy.standin = STANDIN_ACTIVE;
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, kv->vcpu);
}

/* Out of the aside, whether the vCPU is still on it or not. */
static void kvmi_standin_end(struct kvmi_vcpu *kv)
{
	kv->busy.standin = STANDIN_NONE;
	spin_lock(&kv->vm->view_lock);
	kvmi_standin_leave(kv->aside);
	kvmi_tdp_zap(kv->aside, 0, ULONG_MAX);
	spin_unlock(&kv->vm->view_lock);
	kvm_make_request(KVM_REQ_TLB_FLUSH_CURRENT, kv->vcpu);
}

/**
 * kvmi_standin_leave - an aside has none any more
 * @aside: vm->view_lock held; the caller drops what it has, and flushes
 */
void kvmi_standin_leave(struct kvmi_tree *aside)
{
	WRITE_ONCE(aside->nr_standins, 0);
	WRITE_ONCE(aside->open, false);
}

/**
 * kvmi_standin_cancel - the instruction is not executed, or somewhere else
 * @kv: the vCPU; called on its thread, or with it loaded
 */
void kvmi_standin_cancel(struct kvmi_vcpu *kv)
{
	if (unlikely(kv->busy.standin != STANDIN_NONE))
		kvmi_standin_end(kv);
}

/**
 * kvmi_standin_over - the instruction is complete
 * @kv: the vCPU; called on its thread
 */
void kvmi_standin_over(struct kvmi_vcpu *kv)
{
	if (unlikely(kv->busy.standin == STANDIN_ACTIVE))
		kv->busy.standin = STANDIN_OVER;
}

/* To the guest's page, or what its view shows there: each run of changed bytes. */
static void kvmi_standin_take_over(struct kvmi_vcpu *kv,
				   struct kvmi_standin *standin)
{
	u8 *now = standin->own.data, *before = standin->before;
	u32 first, end;
	gpa_t gpa;

	for (first = 0; first < PAGE_SIZE; first = end + 1) {
		for (end = first; end < PAGE_SIZE && now[end] != before[end];)
			end++;
		if (end == first)
			continue;
		gpa = (standin->gfn << PAGE_SHIFT) + first;
		/* If its slot has gone, so has what would be written. */
		if (!kvmi_alias_rw(kv, &gpa, now + first, end - first, true))
			kvm_call(kvm_vcpu_write_guest)(kv->vcpu, gpa, now + first,
						       end - first);
	}
}

/**
 * kvmi_standin_settle - behind an exit: take stand-ins out that have done their work
 * @kv: the vCPU with some; called on its thread, kvm->srcu held; may sleep
 */
void kvmi_standin_settle(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	bool over = kv->busy.standin == STANDIN_OVER;
	/* Then there was no instruction, and what was written is a frame. */
	bool frame = kv->step.delivering;
	u32 i;

	if (!over && !arch->exception.pending && !arch->exception.injected &&
	    !arch->interrupt.injected && !arch->nmi_injected)
		return;
	kvmi_standin_end(kv);
	if (!over && !frame)
		return;
	for (i = 0; i < kv->nr_standins; i++)
		if (frame || !kv->standins[i]->discard)
			kvmi_standin_take_over(kv, kv->standins[i]);
}
