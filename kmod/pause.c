// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stopping vCPUs: by a tool (KVMI_PAUSE), and by an event that stops the others
 * before it is told (KVMI_CONTROL_STOP).
 *
 * A vCPU stands when its thread sleeps in kvmi, or is not in KVM_RUN: the gate in
 * vcpu_pre_run keeps it from entering. Who stops says so first (@pause_count,
 * @stop_owner), and then looks; a thread that leaves its sleep says so first
 * (@parked), and then looks whether it may run. So one of the two sees the other.
 *
 * All are called before any is waited for: the last one is stopped as soon as the
 * first.
 */
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "hook.h"

/* How long to wait before looking once more: not all that stand say so. */
#define KVMI_STOP_RETRY		max_t(long, HZ / 100, 1)

/* ... and before calling those once more that run on. */
#define KVMI_STOP_ANEW		16

static bool kvmi_vcpu_stands(struct kvmi_vcpu *kv)
{
	return READ_ONCE(kv->parked) || !mutex_is_locked(&kv->vcpu->mutex);
}

/* All of a VM but @me, or @only one; call those that do not stand. */
static bool kvmi_pause_look(struct kvmi_vm *vm, struct kvmi_vcpu *me,
			    struct kvmi_vcpu *only, bool call)
{
	struct kvmi_vcpu *kv;
	bool all = true;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv) {
		if (kv == me || (only && kv != only) || kvmi_vcpu_stands(kv))
			continue;
		all = false;
		if (!call)
			break;
		kvmi_vcpu_call(kv);
	}
	return all;
}

/**
 * kvmi_pause_notify - a vCPU stands, and somebody waits for that
 * @kv: the vCPU; called on its thread
 */
void kvmi_pause_notify(struct kvmi_vcpu *kv)
{
	struct kvmi_vcpu *owner = READ_ONCE(kv->vm->stop_owner);

	wake_up_all(&kv->vm->stop_wq);
	if (owner && owner != kv)
		kvmi_vcpu_wake(owner);
}

/* ---- by a tool --------------------------------------------------------------- */

/**
 * kvmi_pause_wait - wait until vCPUs stand that are paused
 * @vm: vm->sem held for reading, or nobody else has it yet
 * @only: one, or NULL for all
 *
 * Return: 0, or -EINTR.
 */
int kvmi_pause_wait(struct kvmi_vm *vm, struct kvmi_vcpu *only)
{
	unsigned int tries = 0;
	long ret = 0;

	atomic_inc(&vm->stoppers);
	/* Pairs with the barriers in kvmi_vcpu_sleep(). */
	smp_mb__after_atomic();
#define KVMI_ALL_STAND	kvmi_pause_look(vm, NULL, only, false)
	while (!kvmi_pause_look(vm, NULL, only, tries++ % KVMI_STOP_ANEW == 0)) {
		ret = wait_event_interruptible_timeout(vm->stop_wq,
						       KVMI_ALL_STAND,
						       KVMI_STOP_RETRY);
		if (ret < 0)
			break;
	}
#undef KVMI_ALL_STAND
	atomic_dec(&vm->stoppers);
	return ret < 0 ? -EINTR : 0;
}

static void kvmi_pause_count(struct kvmi_vcpu *kv, int by)
{
	WRITE_ONCE(kv->pause_count, kv->pause_count + by);
	if (by < 0)
		kvmi_vcpu_wake(kv);
}

/**
 * kvmi_pause - stop one vCPU, or all
 * @vm: vm->sem held for reading, vm->lock held
 * @only: one, or NULL
 *
 * Return: 0, or -EINTR and none is paused by this call.
 */
int kvmi_pause(struct kvmi_vm *vm, struct kvmi_vcpu *only)
{
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	xa_for_each(&vm->vcpus, i, kv)
		if (!only || kv == only)
			kvmi_pause_count(kv, 1);
	ret = kvmi_pause_wait(vm, only);
	if (!ret) {
		vm->def_pause += !only;
		if (!only)
			kvmi_clock_stopped(vm, KVMI_CLOCK_PAUSE);
		return 0;
	}
	xa_for_each(&vm->vcpus, i, kv)
		if (!only || kv == only)
			kvmi_pause_count(kv, -1);
	return ret;
}

/**
 * kvmi_pause_orphan - pause all, without waiting until they stand
 * @vm: vm->sem held for reading, vm->lock held
 */
void kvmi_pause_orphan(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv)
		kvmi_pause_count(kv, 1);
	vm->def_pause++;
	/* Pairs with that of kvmi_vcpu_sleep(). */
	smp_mb();
	kvmi_pause_look(vm, NULL, NULL, true);
}

/**
 * kvmi_resume - the end of one kvmi_pause()
 * @vm: vm->sem held for reading, vm->lock held
 * @only: one, or NULL
 *
 * Return: 0, -EINVAL if it is not paused. Those of all end by all.
 */
int kvmi_resume(struct kvmi_vm *vm, struct kvmi_vcpu *only)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	if (only ? only->pause_count <= vm->def_pause : !vm->def_pause)
		return -EINVAL;
	vm->def_pause -= !only;
	if (!vm->def_pause)
		kvmi_clock_go_on(vm, vm->kvm, KVMI_CLOCK_PAUSE);
	xa_for_each(&vm->vcpus, i, kv)
		if (!only || kv == only)
			kvmi_pause_count(kv, -1);
	kvmi_clock_settle_outside(vm);
	return 0;
}

/* ---- by an event ------------------------------------------------------------- */

static bool kvmi_stop_free(struct kvmi_vcpu *kv)
{
	struct kvmi_vcpu *owner = READ_ONCE(kv->vm->stop_owner);

	return !owner || owner == kv || kvmi_event_overdue(kv);
}

static bool kvmi_stop_complete(struct kvmi_vcpu *kv)
{
	return kvmi_pause_look(kv->vm, kv, NULL, false) ||
	       kvmi_event_overdue(kv);
}

/**
 * kvmi_pause_others - stop the other vCPUs, until kvmi_pause_release()
 * @kv: a vCPU that raises an event; called on its thread, kvm->srcu not held
 *
 * Of two that do so at a time the second one is stopped by the first, since its
 * thread sleeps here, and gets its turn afterwards.
 *
 * Return: 0 when they stand, the event is overdue, or the vCPU is let go; -EINTR
 * if its thread has a signal, and the call is to be repeated.
 */
int kvmi_pause_others(struct kvmi_vcpu *kv)
{
	struct kvmi_vm *vm = kv->vm;
	unsigned int tries = 0;
	int ret = 0;

	for (;;) {
		struct kvmi_vcpu *owner = cmpxchg(&vm->stop_owner, NULL, kv);

		if (!owner || owner == kv)
			break;
		ret = kvmi_vcpu_sleep(kv, kvmi_stop_free, 0);
		if (ret || test_bit(KVMI_VCPU_F_GONE, &kv->flags) ||
		    kvmi_event_overdue(kv))
			return ret;
	}
	/* Pairs with that of kvmi_vm_release(): one of the two undoes it. */
	smp_mb();
	if (test_bit(KVMI_VCPU_F_GONE, &kv->flags)) {
		kvmi_pause_release(kv);
		return 0;
	}

	atomic_inc(&vm->stoppers);
	/* Pairs with that of kvmi_vcpu_sleep(). */
	smp_mb__after_atomic();
	do {
		kvmi_pause_look(vm, kv, NULL, tries++ % KVMI_STOP_ANEW == 0);
		ret = kvmi_vcpu_sleep(kv, kvmi_stop_complete, KVMI_STOP_RETRY);
	} while (ret == -ETIME);
	atomic_dec(&vm->stoppers);
	if (!ret && kvmi_pause_look(vm, kv, NULL, false))
		kvmi_clock_stopped(vm, KVMI_CLOCK_EVENT);
	return ret;
}

/**
 * kvmi_pause_release - the end of kvmi_pause_others()
 * @kv: the vCPU, whether it stops the others or not; called on its thread
 */
void kvmi_pause_release(struct kvmi_vcpu *kv)
{
	struct kvmi_vm *vm = kv->vm;
	struct kvmi_vcpu *other;
	unsigned long i;

	/* Nobody else takes it from this vCPU, unless it is let go. */
	if (READ_ONCE(vm->stop_owner) == kv)
		kvmi_clock_go_on(vm, kv->vcpu->kvm, KVMI_CLOCK_EVENT);
	kvmi_clock_settle(kv);
	if (likely(cmpxchg(&vm->stop_owner, kv, NULL) != kv))
		return;
	xa_for_each(&vm->vcpus, i, other)
		if (other != kv)
			kvmi_vcpu_wake(other);
}

/* ---- the guest's clock ------------------------------------------------------- */

/**
 * kvmi_pause_ended - a vCPU goes on after a stop of more than a second
 * @kv: the vCPU, loaded; called on its thread
 *
 * A guest with kvmclock is told that it did not run, as VMMs do by
 * KVM_KVMCLOCK_CTRL: its watchdogs begin anew.
 */
void kvmi_pause_ended(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (!vcpu->arch.pv_time.active)
		return;
	vcpu->arch.pvclock_set_guest_stopped_request = true;
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
}
