// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step: one instruction, then an event, or then another view.
 *
 * The back end arms the monitor trap flag (VMX) or RFLAGS.TF (SVM) at each entry
 * while a step is active. The step is complete when that traps; when the
 * instruction pointer has moved at any other exit, as KVM has emulated the
 * instruction; or when what the instruction has raised is delivered: the event is
 * at the first instruction of the handler. The delivery of an interrupt is a step,
 * too; but where an answer has asked for one step, the interrupt is held back until
 * that is over (kvmi_defer()).
 *
 * What comes next is decided where one may sleep, behind an exit: whether a step
 * begins, and which instruction it is (kvmi_step_go_on()). With interrupts off,
 * at the entry, this is only compared with what the guest is about to do; where
 * it differs, the guest is left at once, and it is decided anew.
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

	/*
	 * If the exit came of the delivery of an event, that is the step; and
	 * what ends a HLT is delivered right behind it.
	 */
	kv->step.deliver = arch->interrupt.injected || arch->nmi_injected ||
			   arch->exception.injected ||
			   arch->mp_state == KVM_MP_STATE_HALTED;
	kv->step.delivering = false;
	kv->step.ready = false;
	kv->step.look = false;
	kv->step.emulate = false;
	kv->busy.step = mode;
	kv->step.rip = kvmi_regs_rip(kv->vcpu);
	kv->step.back = kvmi_view_shown(kv);
	kv->step.off = KVMI_VIEW_DEFAULT;
}

/**
 * kvmi_step_cancel - no step any more
 * @kv: the vCPU; called on its thread, or with it loaded
 */
void kvmi_step_cancel(struct kvmi_vcpu *kv)
{
	kvmi_standin_cancel(kv);
	if (kv->busy.step == KVMI_STEP_FAST)
		kvmi_view_enter(kv, kv->step.back);
	else if (kvmi_is_away(kv))
		kvmi_view_enter(kv, kv->home);
	kv->busy.step = KVMI_STEP_NONE;
	kv->busy.owed = KVMI_STEP_NONE;
	/* A string instruction may have done some of its work. */
	kv->busy.written |= kv->bytes.valid;
	kv->bytes.valid = false;
}

/* Some handlers begin at the instruction that has faulted. */
static bool kvmi_step_delivered(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	return kv->step.delivering && !arch->exception.pending &&
	       !arch->exception.injected && !arch->interrupt.injected &&
	       !arch->nmi_injected;
}

/* A guess: where it is wrong, the vCPU is taken to the other one by a fault. */
static u32 kvmi_step_next_view(struct kvmi_vcpu *kv)
{
	u64 rip;

	if (likely(kv->step.off == KVMI_VIEW_DEFAULT))
		return kv->step.back;
	rip = kvmi_regs_rip(kv->vcpu);
	return rip >> PAGE_SHIFT == kv->step.rip >> PAGE_SHIFT ? kv->step.back :
								 kv->step.off;
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
	if (!trapped && kvmi_regs_rip(kv->vcpu) == kv->step.rip &&
	    !kvmi_step_delivered(kv))
		return false;

	kvmi_standin_over(kv);
	if (unlikely(kv->bytes.valid)) {
		kv->busy.written = true;
		kv->bytes.valid = false;
	}
	if (kv->busy.step == KVMI_STEP_FAST) {
		kvmi_view_enter(kv, kvmi_step_next_view(kv));
		kv->busy.step = READ_ONCE(kv->want) & KVMI_WANT_STEP ?
				KVMI_STEP_ENABLED : KVMI_STEP_NONE;
	} else if (unlikely(kvmi_is_away(kv))) {
		kvmi_view_enter(kv, kv->home);
	}
	kv->busy.owed = kv->busy.step;
	kv->step.owed_flags = trapped ? 0 : KVMI_STEP_F_EMULATED;
	kv->busy.step = KVMI_STEP_NONE;
	return true;
}

/*
 * Raise the event of a completed step, at an instruction boundary with nothing of
 * KVM's pending. Return: as kvm_x86_ops.handle_exit.
 */
static int kvmi_step_post(struct kvmi_vcpu *kv)
{
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_STEP,
		.cont = KVMI_CONT_NOTHING,
		.size = sizeof(ex.payload.step),
		.payload.step.pc = kvmi_regs_rip(kv->vcpu),
		.payload.step.flags = kv->step.owed_flags,
	};
	bool asked = kv->busy.owed == KVMI_STEP_EVENT;

	kv->busy.owed = KVMI_STEP_NONE;
	if (rcu_access_pointer(kv->observers))
		kvmi_watch_tell(kv, &ex);
	ex.mode = kvmi_watch_match(&kv->watch, &ex, &ex.regs);
	/* One that a reply asked for is always told, and answered. */
	if (asked)
		ex.mode = KVMI_MODE_SYNC;
	return kvmi_event_raise(kv, &ex);
}

/* Find out which instruction it is. */
static void kvmi_step_look(struct kvmi_vcpu *kv)
{
	if (!kv->step.ready)
		kvmi_insn_decode(kv, kv->step.rip, &kv->step.insn);
	kv->step.ready = true;
	kv->step.look = false;
}

/* KVM may have gone behind an INT1, whose #DB is yet to come. */
static bool kvmi_step_at_int1(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	if (!arch->exception.pending || arch->exception.vector != DB_VECTOR)
		return false;
	kvmi_step_look(kv);
	return kv->step.insn.class == KVMI_INSN_INT1 &&
	       kvmi_regs_rip(kv->vcpu) == kv->step.rip + kv->step.insn.len;
}

/* Has the back end to execute it? Where the view forbids it, it has to fault. */
static bool kvmi_step_emulated(struct kvmi_vcpu *kv)
{
	unsigned long rflags;

	switch (kv->step.insn.class) {
	case KVMI_INSN_LOAD_SS:
		break;
	case KVMI_INSN_STI:
		/* A fault, or about VIF: nothing that a trap would be in the way of. */
		rflags = kvm_call(kvm_get_rflags)(kv->vcpu);
		if ((rflags & X86_EFLAGS_VM) &&
		    (rflags & X86_EFLAGS_IOPL) != X86_EFLAGS_IOPL)
			return false;
		break;
	default:
		return false;
	}
	return kvmi_insn_in_view(kv);
}

/* Would the guest execute it now, if it were entered? */
static bool kvmi_step_may_emulate(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	return !kv->step.deliver && !arch->exception.pending &&
	       !arch->exception.injected &&
	       !(arch->interrupt.injected && arch->interrupt.soft) &&
	       arch->mp_state == KVM_MP_STATE_RUNNABLE &&
	       !kvm_test_request(KVM_REQ_SMI, kv->vcpu) &&
	       !kvm_test_request(KVM_REQ_TRIPLE_FAULT, kv->vcpu);
}

/**
 * kvmi_step_go_on - end a step, and begin the next one
 * @kv: the vCPU behind an exit, or back from the VMM; no event open. Called on
 *	its thread, kvm->srcu held
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_step_go_on(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	int ret;

	for (;;) {
		/* Of a nested guest and SMM, nothing is stepped. */
		if (!kvmi_in_l1(vcpu))
			return 1;
		if (kvmi_step_active(kv)) {
			if (kvmi_step_at_int1(kv))
				kv->step.rip = kvmi_regs_rip(vcpu);
			kvmi_step_over(kv, false);
		}
		if (unlikely(kv->busy.standin))
			kvmi_standin_settle(kv);
		if (unlikely(kv->busy.written)) {
			ret = kvmi_bytes_post(kv);
			if (ret <= 0)
				return ret;
		}
		if (kv->busy.owed) {
			ret = kvmi_step_post(kv);
			if (ret <= 0)
				return ret;
		}

		if (!kvmi_step_active(kv)) {
			if (!(READ_ONCE(kv->want) & KVMI_WANT_STEP))
				return 1;
			kvmi_step_start(kv, KVMI_STEP_ENABLED);
		}
		if (kvmi_ops->step_emulate || kv->step.look)
			kvmi_step_look(kv);
		if (!kvmi_ops->step_emulate)
			return 1;

		kv->step.view = kv->view;
		kv->step.emulate = kvmi_step_emulated(kv);
		/* The next entry leads back to here. */
		if (!kv->step.emulate || !kvmi_step_may_emulate(kv) ||
		    signal_pending(current))
			return 1;
		ret = kvmi_ops->step_emulate(kv);
		if (ret > 0)
			ret = kvmi_exit_emulated(kv);
		if (ret <= 0)
			return ret;
		cond_resched();
	}
}

/**
 * kvmi_step_entry - may the guest execute the instruction?
 * @kv: the vCPU with a step active, interrupts off
 *
 * Return: false if it is to be left before it executes anything: an event is to
 * be delivered first, KVM's fast path has executed the instruction, or it is
 * another one than was looked at, or has to be looked at.
 */
bool kvmi_step_entry(struct kvmi_vcpu *kv)
{
	kv->step.delivering = kvmi_ops->injecting(kv);
	kv->step.go = !kv->step.delivering && !kv->step.look &&
		      kvmi_regs_rip(kv->vcpu) == kv->step.rip &&
		      (!kvmi_ops->step_emulate ||
		       (kv->step.ready && !kv->step.emulate &&
			kv->step.view == kv->view));
	return kv->step.go;
}

/**
 * kvmi_step_insists - can an interrupt wait for the end of the step?
 * @kv: the vCPU with a step active, interrupts off
 *
 * Not if every step is wanted: the delivery is one. Nor if the instruction might
 * switch interrupts off: a guest which has them on for one instruction at a time
 * would never get any. If that is not known, the interrupt waits until it is.
 *
 * Return: true if so.
 */
bool kvmi_step_insists(struct kvmi_vcpu *kv)
{
	/* A frame is no part of what is to stand in for the guest's memory. */
	if (unlikely(kv->busy.standin))
		return true;
	if (kv->busy.step == KVMI_STEP_ENABLED || kv->step.deliver)
		return false;
	if (!kv->step.ready) {
		kv->step.look = true;
		return true;
	}
	switch (kv->step.insn.class) {
	case KVMI_INSN_PLAIN:
	case KVMI_INSN_PUSHF:
	case KVMI_INSN_STI:
	case KVMI_INSN_INVD:
	case KVMI_INSN_WRMSR:
		return true;
	default:
		return false;
	}
}
