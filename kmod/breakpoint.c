// SPDX-License-Identifier: GPL-2.0-only
/*
 * Breakpoints of the tool's: INT3s in pages that a view shows in the place of others.
 *
 * Where they are, the tool has told: so that an INT3 of its own is known from one of
 * the guest's, what it hides can be executed without asking anybody, and it can be
 * counted without an event. To have such a page, and the view, is the tool's business
 * (libkvmi's kvmi_breakpoints_open()).
 *
 * Where two views take turns (KVMI_VIEW_LINK), a vCPU is often taken to the one with the
 * INT3 in order to execute it: then it need not, and the one exit is that of the
 * breakpoint, too.
 *
 * A vCPU that meets an INT3 may find that it is gone by now: the tool has taken it away
 * between the exit and here. What is there instead is executed then; the guest is not
 * to have an exception that it has no INT3 for.
 */
#include <linux/slab.h>
#include <linux/xarray.h>

#include "hook.h"

#define KVMI_MAX_BREAKPOINTS	(1U << 20)

/**
 * struct kvmi_bp - a breakpoint; under RCU
 * @flags: KVMI_BREAKPOINT_*
 * @hits: how often it was met; once it is no more, negative
 * @rcu: frees it
 */
struct kvmi_bp {
	u32 flags;
	atomic64_t hits;
	struct rcu_head rcu;
};

/**
 * kvmi_breakpoint_set - KVMI_BREAKPOINT_SET
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -EEXIST, -ENXIO, -ENOSPC, -ENOMEM.
 */
int kvmi_breakpoint_set(struct kvmi_vm *vm, struct kvmi_breakpoint *args)
{
	struct kvm_memory_slot *slot;
	struct kvmi_bp *bp;
	int ret, idx;

	if (args->flags & ~KVMI_BREAKPOINT_COUNT)
		return -EINVAL;
	if (!vm->view_hooks)
		return -EOPNOTSUPP;
	idx = srcu_read_lock(&vm->kvm->srcu);
	ret = kvmi_memory_slot(vm->kvm, args->gpa >> PAGE_SHIFT, &slot);
	srcu_read_unlock(&vm->kvm->srcu, idx);
	if (ret)
		return ret;
	if (vm->nr_breakpoints == KVMI_MAX_BREAKPOINTS)
		return -ENOSPC;

	bp = kzalloc(sizeof(*bp), GFP_KERNEL_ACCOUNT);
	if (!bp)
		return -ENOMEM;
	bp->flags = args->flags;
	ret = xa_insert(&vm->breakpoints, args->gpa, bp, GFP_KERNEL_ACCOUNT);
	if (ret) {
		kfree(bp);
		return ret == -EBUSY ? -EEXIST : ret;
	}
	vm->nr_breakpoints++;
	WRITE_ONCE(vm->had_breakpoints, true);
	return 0;
}

/**
 * kvmi_breakpoint_clear - KVMI_BREAKPOINT_CLEAR
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_breakpoint_clear(struct kvmi_vm *vm, struct kvmi_breakpoint *args)
{
	struct kvmi_bp *bp;

	if (args->flags)
		return -EINVAL;
	bp = xa_erase(&vm->breakpoints, args->gpa);
	if (!bp)
		return -ENOENT;
	vm->nr_breakpoints--;
	/* Who has found it before has counted by now, or has not found it. */
	args->out_hits = atomic64_xchg(&bp->hits, S64_MIN);
	kfree_rcu(bp, rcu);
	return 0;
}

/**
 * kvmi_breakpoint_get - KVMI_BREAKPOINT_GET
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_breakpoint_get(struct kvmi_vm *vm, struct kvmi_breakpoint *args)
{
	struct kvmi_bp *bp;

	if (args->flags)
		return -EINVAL;
	bp = xa_load(&vm->breakpoints, args->gpa);
	if (!bp)
		return -ENOENT;
	args->flags = bp->flags;
	args->out_hits = atomic64_read(&bp->hits);
	return 0;
}

/**
 * kvmi_breakpoint_clear_all - there are none any more
 * @vm: vm->lock held, or nobody has it
 */
void kvmi_breakpoint_clear_all(struct kvmi_vm *vm)
{
	struct kvmi_bp *bp;
	unsigned long gpa;

	xa_for_each(&vm->breakpoints, gpa, bp) {
		xa_erase(&vm->breakpoints, gpa);
		kfree_rcu(bp, rcu);
		cond_resched();
	}
	vm->nr_breakpoints = 0;
}

static bool kvmi_breakpoint_hit(struct kvmi_vcpu *kv, struct kvmi_exit *ex, gpa_t gpa)
{
	struct kvmi_ev_breakpoint *ev = &ex->payload.breakpoint;
	struct kvmi_bp *bp;
	bool hit;

	rcu_read_lock();
	bp = xa_load(&kv->vm->breakpoints, gpa);
	/* Where the page itself is shown, the INT3 is the guest's. */
	hit = bp && kvmi_alias_shown(kv, gpa >> PAGE_SHIFT) &&
	      atomic64_inc_unless_negative(&bp->hits);
	if (hit) {
		ev->flags = KVMI_BREAKPOINT_F_SET;
		ev->gpa = gpa;
		ex->cont = KVMI_CONT_OVER;
		/* What is to be skipped does not have the INT3's length. */
		ex->skip = false;
		if (bp->flags & KVMI_BREAKPOINT_COUNT)
			ex->kind = 0;
	}
	rcu_read_unlock();
	return hit;
}

/**
 * kvmi_breakpoint_met - whose is an INT3?
 * @kv: the vCPU, which is at it; called on its thread, kvm->srcu held
 * @ex: KVMI_EVENT_BREAKPOINT; without a kind if nobody is to know
 */
void kvmi_breakpoint_met(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvmi_insn insn;
	gpa_t gpa;

	/* There, views are not. */
	if (!kvmi_in_l1(kv->vcpu))
		return;
	if (kv->view != KVMI_VIEW_DEFAULT) {
		gpa = kvmi_insn_at(kv);
		if (gpa != INVALID_GPA && kvmi_breakpoint_hit(kv, ex, gpa))
			return;
	}
	kvmi_insn_decode(kv, kvmi_regs_rip(kv->vcpu), &insn);
	if (insn.class == KVMI_INSN_INT3 || insn.class == KVMI_INSN_INT)
		return;
	ex->kind = 0;
	ex->cont = KVMI_CONT_NOTHING;
}

/**
 * kvmi_breakpoint_fetched - has a breakpoint taken a vCPU to another view?
 * @kv: the vCPU, on that view by now; called on its thread, kvm->srcu held
 * @ex: filled if so: KVMI_EVENT_BREAKPOINT; without a kind if nobody is to know
 * @gfn: page of the instruction that it was to fetch
 *
 * In a step, the instruction may not be the next one: it meets the INT3.
 *
 * Return: true if it is at one.
 */
bool kvmi_breakpoint_fetched(struct kvmi_vcpu *kv, struct kvmi_exit *ex, gfn_t gfn)
{
	gpa_t gpa;

	if (!kvmi_in_l1(kv->vcpu) || kv->busy.any ||
	    !(kv->wants.exceptions & BIT(BP_VECTOR)))
		return false;
	gpa = kvmi_insn_on(kv, gfn);
	if (gpa == INVALID_GPA)
		return false;
	kvmi_exit_int3(kv, ex, 1);
	return kvmi_breakpoint_hit(kv, ex, gpa);
}

/**
 * kvmi_breakpoint_over - execute what a breakpoint hides
 * @kv: the vCPU, which is at it; called on its thread, kvm->srcu held
 * @ex: of the breakpoint
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_breakpoint_over(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvmi_tree *tree;

	/* As most functions of a kernel begin. */
	if (!kv->busy.any && !(READ_ONCE(kv->want) & KVMI_WANT_STEP) &&
	    kvmi_insn_pass_nop(kv, ex->payload.breakpoint.gpa))
		return 1;

	kvmi_step_start(kv, KVMI_STEP_FAST);
	rcu_read_lock();
	tree = kvmi_view_now(kv);
	if (tree)
		kv->step.off = READ_ONCE(tree->link);
	rcu_read_unlock();
	kvmi_view_enter(kv, KVMI_VIEW_DEFAULT);
	return 1;
}
