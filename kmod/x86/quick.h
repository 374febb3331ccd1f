/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of most entries and exits of a vCPU that is watched: those that find
 * everything in order, and those that are no events. Each back end has its own copy,
 * with its own tests in line, as both are on the path of every exit.
 *
 * What else there is to do is done by kvmi_vcpu_run_busy(), kvmi_handle_exit_busy()
 * and kvmi_handle_exit_event() (exit.c).
 */
#ifndef KVMI_X86_QUICK_H
#define KVMI_X86_QUICK_H

#include "../hook.h"

/**
 * enum kvmi_concern - is an exit an event?
 * @KVMI_CONCERN_NONE: it is not
 * @KVMI_CONCERN_CPUID: CPUID, which somebody wants
 * @KVMI_CONCERN_MAYBE: kvmi_ops.decode knows
 */
enum kvmi_concern {
	KVMI_CONCERN_NONE,
	KVMI_CONCERN_CPUID,
	KVMI_CONCERN_MAYBE,
};

fastpath_t kvmi_vcpu_run_busy(struct kvmi_vcpu *kv, u64 run_flags);
int kvmi_handle_exit_busy(struct kvmi_vcpu *kv, fastpath_t fastpath);
int kvmi_handle_exit_event(struct kvmi_vcpu *kv, fastpath_t fastpath);

/**
 * kvmi_quick_run - kvmi_ops.run
 * @vcpu: loaded, interrupts off
 * @run_flags: passed on
 * @unchanged: before an entry of L1: is what kvmi_ops.arm has left still in force, and
 *	all that is wanted?
 *
 * Return: KVM's.
 */
static __always_inline fastpath_t
kvmi_quick_run(struct kvm_vcpu *vcpu, u64 run_flags,
	       bool (*unchanged)(struct kvmi_vcpu *kv, u32 want))
{
	/* Interrupts are off: an RCU read-side section. */
	struct kvmi_vcpu *kv = kvmi_vcpu_find(vcpu);
	u32 want;

	if (unlikely(!kv))
		goto pass;
	want = READ_ONCE(kv->want) & ~KVMI_WANT_PASSIVE;
	if (unlikely(kv->busy.any))
		goto busy;
	/* Some exit anyway, on both vendors. */
	if (!(want | kv->armed.bits))
		goto pass;
	if (!(READ_ONCE(kv->quick) & KVMI_QUICK_ENTRY) || !kvmi_in_l1(vcpu) ||
	    !unchanged(kv, want))
		goto busy;
pass:
	return kvm_orig(vcpu_run)(vcpu, run_flags);
busy:
	return kvmi_vcpu_run_busy(kv, run_flags);
}

/**
 * kvmi_quick_exit - kvmi_ops.exit
 * @vcpu: loaded, kvm->srcu held; may sleep
 * @fastpath: passed on
 * @concern: is the exit an event, by kvmi_armed.exits?
 * @reason: of the exit
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
static __always_inline int
kvmi_quick_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath,
		enum kvmi_concern (*concern)(struct kvmi_vcpu *kv),
		u32 (*reason)(struct kvmi_vcpu *kv))
{
	enum kvmi_concern is;
	struct kvmi_vcpu *kv;
	u32 quick;

	/*
	 * As in kvmi_vcpu_enter(), but for those that there is nothing to do for;
	 * with preemption off for RCU, which takes two instructions.
	 */
	preempt_disable();
	kv = kvmi_vcpu_find(vcpu);
	if (unlikely(!kv))
		goto pass;
	if (unlikely(kv->busy.any | READ_ONCE(kv->view)))
		goto busy;
	if (!(READ_ONCE(kv->want) | kv->armed.bits))
		goto pass;

	/* Pairs with the release in kvmi_watch_update(). */
	if (unlikely(smp_load_acquire(&kv->gen) != kv->armed.gen))
		goto busy;
	quick = READ_ONCE(kv->quick);
	if (!(quick & KVMI_QUICK_EXIT) || !kvmi_in_l1(vcpu))
		goto busy;
	if (unlikely(quick & KVMI_QUICK_COUNT) && fastpath == EXIT_FASTPATH_NONE)
		kvmi_watch_count_exit(&kv->watch, reason(kv));
	is = concern(kv);
	if (likely(is == KVMI_CONCERN_NONE))
		goto pass;
	if (is != KVMI_CONCERN_CPUID || !(quick & KVMI_QUICK_CPUID))
		goto event;
	kvmi_watch_count(&kv->watch, KVMI_EVENT_X86_CPUID);
pass:
	preempt_enable();
	return kvm_orig(handle_exit)(vcpu, fastpath);
event:
	WRITE_ONCE(kv->inflight, kv->inflight + 1);
	preempt_enable();
	return kvmi_handle_exit_event(kv, fastpath);
busy:
	WRITE_ONCE(kv->inflight, kv->inflight + 1);
	preempt_enable();
	return kvmi_handle_exit_busy(kv, fastpath);
}

#endif /* KVMI_X86_QUICK_H */
