// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's clocks over a stop of all its vCPUs: its TSCs, kvmclock, and the LAPIC
 * timers that wait for a TSC. If they are to stand still (KVMI_POLICY_STOP_CLOCKS),
 * the time from when all vCPUs stand until one may go on is taken from each.
 *
 * The VM's part is done at once, before any vCPU goes on. A vCPU's offset is in its
 * VMCS or VMCB: what is to be taken from it is noted, and taken by its own thread on
 * the way back to the guest, from where it stands: kvmi_vcpu_sleep(), or the gate.
 * All lose the same, so that they stay synchronized. kvmclock is a function of the
 * TSC, and the same one as before: the page that tells the guest of it is right,
 * whoever reads it when.
 */
#include <linux/kvm_host.h>
#include <linux/timekeeping.h>
#include <asm/tsc.h>

#include "../hook.h"

/**
 * kvmi_clock_check - can the guest's clocks be made to stand still?
 *
 * Return: 0; -EOPNOTSUPP: the TSCs of this host's CPUs differ, and KVM keeps the
 * guest's by other means.
 */
int kvmi_clock_check(void)
{
	return check_tsc_unstable() ? -EOPNOTSUPP : 0;
}

/* Both at a time. */
static void kvmi_clock_read(u64 *tsc, u64 *ns)
{
	preempt_disable();
	*tsc = rdtsc_ordered();
	*ns = ktime_get_raw_ns();
	preempt_enable();
}

/**
 * kvmi_clock_stopped - all vCPUs of a VM stand
 * @vm: vm->lock held, or called on the thread of a vCPU that keeps the others
 * @why: KVMI_CLOCK_PAUSE or KVMI_CLOCK_EVENT: until kvmi_clock_go_on()
 */
void kvmi_clock_stopped(struct kvmi_vm *vm, u32 why)
{
	if (likely(!READ_ONCE(vm->stop_clocks)))
		return;
	spin_lock(&vm->clock.lock);
	if (!vm->clock.why)
		kvmi_clock_read(&vm->clock.tsc, &vm->clock.ns);
	WRITE_ONCE(vm->clock.why, vm->clock.why | why);
	spin_unlock(&vm->clock.lock);
}

/* So many cycles of the host, in those of a vCPU. */
static u64 kvmi_clock_scale(struct kvm_vcpu *vcpu, u64 cycles)
{
	return kvm_call(kvm_read_l1_tsc)(vcpu, cycles) -
	       kvm_call(kvm_read_l1_tsc)(vcpu, 0);
}

/* What KVM derives all else from: kvmclock, and the TSC of vCPUs to come. */
static void kvmi_clock_set_back(struct kvm *kvm, u64 tsc, u64 ns)
{
	struct kvm_arch *arch = &kvm->arch;
	unsigned long flags;

	raw_spin_lock_irqsave(&arch->tsc_write_lock, flags);
	write_seqcount_begin(&arch->pvclock_sc);
	arch->kvmclock_offset -= ns;
	arch->last_tsc_offset -= tsc;
	arch->last_tsc_nsec += ns;
	arch->cur_tsc_offset -= tsc;
	arch->cur_tsc_nsec += ns;
	write_seqcount_end(&arch->pvclock_sc);
	raw_spin_unlock_irqrestore(&arch->tsc_write_lock, flags);
}

/**
 * kvmi_clock_go_on - a vCPU may go on soon
 * @vm: as for kvmi_clock_stopped(); vm->kvm stays meanwhile
 * @kvm: its VM
 * @why: what ends; called before any vCPU is let go
 */
void kvmi_clock_go_on(struct kvmi_vm *vm, struct kvm *kvm, u32 why)
{
	u64 tsc, ns, cycles = 0;
	struct kvmi_vcpu *kv;
	unsigned long i;

	if (likely(!READ_ONCE(vm->clock.why)))
		return;
	spin_lock(&vm->clock.lock);
	if (!(vm->clock.why & why) || (vm->clock.why & ~why)) {
		WRITE_ONCE(vm->clock.why, vm->clock.why & ~why);
		goto out;
	}
	WRITE_ONCE(vm->clock.why, 0);
	kvmi_clock_read(&tsc, &ns);
	tsc -= vm->clock.tsc;
	ns -= vm->clock.ns;
	xa_for_each(&vm->vcpus, i, kv) {
		cycles = kvmi_clock_scale(kv->vcpu, tsc);
		kv->clock.ns += ns;
		WRITE_ONCE(kv->clock.tsc, kv->clock.tsc + cycles);
	}
	if (cycles) {
		kvmi_clock_set_back(kvm, cycles, ns);
		vm->clock.set_back = true;
	}
out:
	spin_unlock(&vm->clock.lock);
}

static void kvmi_clock_write(struct kvm_vcpu *vcpu, u64 offset)
{
	u64 deadline;

	kvm_call(kvm_vcpu_write_tsc_offset)(vcpu, offset);
	kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);

	/*
	 * The timer is armed for the host's time at which the TSC would have
	 * been there; it may have gone off. KVM arms it anew, and has it go off
	 * at once if it was due before the stop.
	 */
	if (!vcpu->arch.apic)
		return;
	deadline = kvm_call(kvm_get_lapic_tscdeadline_msr)(vcpu);
	if (deadline)
		kvm_call(kvm_set_lapic_tscdeadline_msr)(vcpu, deadline);
}

/**
 * __kvmi_clock_settle - take from a vCPU's TSC what is due
 * @kv: the vCPU, loaded; called on its thread, or with vcpu->mutex held
 */
void __kvmi_clock_settle(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u64 tsc, ns;

	spin_lock(&kv->vm->clock.lock);
	tsc = kv->clock.tsc;
	ns = kv->clock.ns;
	kv->clock.ns = 0;
	WRITE_ONCE(kv->clock.tsc, 0);
	spin_unlock(&kv->vm->clock.lock);

	vcpu->arch.this_tsc_nsec += ns;
	kvmi_clock_write(vcpu, vcpu->arch.l1_tsc_offset - tsc);
}

/**
 * kvmi_clock_settle_outside - the same for vCPUs that are outside of KVM_RUN
 * @vm: vm->sem held for reading; not called on a vCPU's thread
 *
 * So that a VMM that saves them before they run again saves the right TSC.
 */
void kvmi_clock_settle_outside(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv) {
		if (!kvmi_clock_due(kv) || !mutex_trylock(&kv->vcpu->mutex))
			continue;
		kvm_call(vcpu_load)(kv->vcpu);
		kvmi_clock_settle(kv);
		kvm_call(vcpu_put)(kv->vcpu);
		mutex_unlock(&kv->vcpu->mutex);
	}
}

/**
 * kvmi_clock_created - a vCPU enters for the first time
 * @kv: the vCPU, loaded; called on its thread
 *
 * If it was created during a stop, at whose end kvmi had not known of it, KVM has
 * given it the TSC of the others as it was then.
 */
void kvmi_clock_created(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	struct kvm_arch *ka = &kv->vcpu->kvm->arch;
	unsigned long flags;
	u64 offset, ns;
	bool mine;

	if (likely(!READ_ONCE(kv->vm->clock.set_back)))
		return;
	raw_spin_lock_irqsave(&ka->tsc_write_lock, flags);
	mine = arch->this_tsc_generation == ka->cur_tsc_generation;
	offset = ka->cur_tsc_offset;
	ns = ka->cur_tsc_nsec;
	raw_spin_unlock_irqrestore(&ka->tsc_write_lock, flags);
	if (!mine || arch->l1_tsc_offset == offset)
		return;
	arch->this_tsc_nsec = ns;
	kvmi_clock_write(kv->vcpu, offset);
}
