// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step: one instruction, then an event, or then another view.
 *
 * The back end arms the monitor trap flag (VMX) or RFLAGS.TF (SVM) at each entry
 * while a step is active. The step is complete when that traps, or when the
 * instruction pointer has moved at any other exit: KVM has emulated the
 * instruction, or the guest takes a fault. An interrupt that comes due meanwhile
 * is held back until the step is over (kvmi_defer()).
 */
#include "hook.h"

/**
 * kvmi_step_start - execute one instruction
 * @kv: the vCPU; called on its thread
 * @mode: what for; KVMI_STEP_FAST comes back to the present view
 */
void kvmi_step_start(struct kvmi_vcpu *kv, enum kvmi_step_mode mode)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	/* If the exit came of the delivery of an event, that is the step. */
	kv->step.deliver = arch->interrupt.injected || arch->nmi_injected ||
			   arch->exception.injected;
	kv->step.mode = mode;
	kv->step.rip = kvmi_regs_rip(kv->vcpu);
	kv->step.back = kv->view;
	kv->step.owed = KVMI_STEP_NONE;
}

/**
 * kvmi_step_cancel - no step any more
 * @kv: the vCPU; called on its thread, or with it loaded
 */
void kvmi_step_cancel(struct kvmi_vcpu *kv)
{
	if (kv->step.mode == KVMI_STEP_FAST)
		kvmi_view_enter(kv, kv->step.back);
	kv->step.mode = KVMI_STEP_NONE;
	kv->step.owed = KVMI_STEP_NONE;
}

/**
 * kvmi_step_over - is the step in progress complete?
 * @kv: the vCPU; called on its thread after an exit
 * @trapped: the exit is the trap of the step
 *
 * A fast step is then finished here; a step with an event is owed, see
 * kvmi_step_post(): also a fast one, if every instruction is to have its event.
 *
 * Return: true if the step is complete.
 */
bool kvmi_step_over(struct kvmi_vcpu *kv, bool trapped)
{
	if (!trapped && kvmi_regs_rip(kv->vcpu) == kv->step.rip)
		return false;

	if (kv->step.mode == KVMI_STEP_FAST) {
		kvmi_view_enter(kv, kv->step.back);
		kv->step.mode = READ_ONCE(kv->want) & KVMI_WANT_STEP ?
				KVMI_STEP_ENABLED : KVMI_STEP_NONE;
	}
	kv->step.owed = kv->step.mode;
	kv->step.owed_flags = trapped ? 0 : KVMI_STEP_F_EMULATED;
	kv->step.mode = KVMI_STEP_NONE;
	return true;
}

/**
 * kvmi_step_post - raise the event of a completed step
 * @kv: the vCPU, at an instruction boundary with nothing of KVM's pending; called
 *	on its thread, kvm->srcu held
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_step_post(struct kvmi_vcpu *kv)
{
	u32 mode = READ_ONCE(kv->mode[KVMI_EVENT_STEP]);
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_STEP,
		.cont = KVMI_CONT_NOTHING,
		.mode = mode,
		.regs = kv->regs[KVMI_EVENT_STEP],
		.size = sizeof(ex.payload.step),
		.payload.step.pc = kvmi_regs_rip(kv->vcpu),
		.payload.step.flags = kv->step.owed_flags,
	};

	/* One that a reply asked for is always told, and answered. */
	if (kv->step.owed == KVMI_STEP_EVENT)
		ex.mode = KVMI_MODE_SYNC;
	kv->step.owed = KVMI_STEP_NONE;
	/* Stepping went off while it was under way. */
	if (ex.mode == KVMI_MODE_OFF)
		return 1;
	return kvmi_event_raise(kv, &ex);
}

/**
 * kvmi_step_armed - is RFLAGS.TF of the guest kvmi's own at the moment?
 * @vcpu: interrupts off
 *
 * Return: true if so.
 */
bool kvmi_step_armed(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu *kv = NULL;

	if (kvmi_vcpu_maybe(vcpu))
		kv = kvmi_vcpu_find(vcpu);
	return kv && kvmi_step_active(kv);
}
