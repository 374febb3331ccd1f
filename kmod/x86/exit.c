// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wrapped operations of KVM.
 *
 * Of an exit of a vCPU that is watched, the back end says whether it is an event
 * that was asked for. If so, KVM's handler runs once as if its fast path had
 * dealt with the exit: that flushes PML, synchronizes CR3 from the VMCB, and
 * finishes trap-like exits, all of which must precede any wait. If not, KVM's
 * handler has the exit, as it would have without kvmi.
 */
#include <linux/jiffies.h>

#include "../hook.h"
#include "../vmlist.h"
#include "quick.h"

/*
 * KVM is about to deliver an interrupt, and the guest to execute one instruction:
 * the instruction comes first. KVM takes the interrupt back, as it does when an
 * entry is called off, and forgets it at the exit: it is kept here until then.
 * Exceptions are the instruction's own, and not held back.
 */
static bool kvmi_defer(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	if (!arch->interrupt.injected && !arch->nmi_injected)
		return false;
	if (kv->busy.deferred || arch->exception.injected ||
	    (arch->interrupt.injected && arch->interrupt.soft) ||
	    !kvmi_step_insists(kv))
		return false;

	kvm_orig(cancel_injection)(kv->vcpu);
	kv->busy.deferred = true;
	kv->deferred.nmi = arch->nmi_injected;
	kv->deferred.interrupt = arch->interrupt;
	return true;
}

static u32 kvmi_lapic_reg(const struct kvm_lapic_state *state, u32 reg, u32 i)
{
	return *(const u32 *)&state->regs[reg + i * 0x10];
}

/*
 * The interrupt is not to be delivered for a while: have the LAPIC take it back, and
 * deliver it anew. It has it in service, above all others, as KVM has just asked it
 * for one. One that is level-triggered the I/O APIC raises again by itself, too.
 */
static bool kvmi_undefer_lapic(struct kvmi_vcpu *kv)
{
	u32 vector = kv->deferred.interrupt.nr, isr = 0;
	struct kvm_lapic_irq irq = {
		.vector = vector,
		.delivery_mode = APIC_DM_FIXED,
		.level = true,
	};
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_lapic_state state;
	int i;

	if (!vcpu->arch.apic || kv->deferred.nmi ||
	    kvm_call(kvm_apic_get_state)(vcpu, &state))
		return false;
	for (i = 7; i >= 0 && !isr; i--)
		isr = kvmi_lapic_reg(&state, APIC_ISR, i);
	/* It is the PIC's, say. */
	if (!isr || (i + 1) * 32 + fls(isr) - 1 != vector)
		return false;
	irq.trig_mode = kvmi_lapic_reg(&state, APIC_TMR, vector / 32) >>
			(vector % 32) & 1;
	kvm_call(kvm_lapic_set_eoi)(vcpu);
	kvm_call(kvm_apic_set_irq)(vcpu, &irq, NULL);
	kvm_make_request(KVM_REQ_EVENT, vcpu);
	/* Its delivery was begun before, perhaps. */
	kv->inject[KVMI_X86_INJECT_INTERRUPT].entered = false;
	kv->busy.deferred = false;
	return true;
}

/*
 * Give KVM the interrupt back, once nothing else is under way. It is due before
 * the instruction: where that has faulted, the guest is to execute it anew behind
 * the interrupt, and a fault that KVM holds already is dropped. KVM would forget
 * the interrupt over it.
 */
static void kvmi_undefer(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	bool allowed;

	if (arch->interrupt.injected || arch->nmi_injected ||
	    arch->exception.injected) {
		kvmi_undefer_lapic(kv);
		return;
	}
	allowed = kv->deferred.nmi ?
		  kvm_orig(nmi_allowed)(kv->vcpu, false) > 0 :
		  kvm_orig(interrupt_allowed)(kv->vcpu, false) > 0;
	if (arch->exception.pending) {
		if (!allowed || !kvmi_step_active(kv) ||
		    kvmi_regs_rip(kv->vcpu) != kv->step.rip) {
			kvmi_undefer_lapic(kv);
			return;
		}
		arch->exception.pending = false;
		kv->step.deliver = true;
	}

	/*
	 * The instruction may have switched interrupts off, and with these off
	 * the CPU refuses to deliver one: then it waits until they are on.
	 */
	if (!allowed && !kv->deferred.nmi) {
		if (!kvmi_undefer_lapic(kv))
			kvm_orig(enable_irq_window)(kv->vcpu);
		return;
	}
	kv->busy.deferred = false;
	arch->interrupt = kv->deferred.interrupt;
	arch->nmi_injected = kv->deferred.nmi && allowed;
	/* KVM can keep an NMI. */
	if (kv->deferred.nmi && !allowed)
		kvm_call(kvm_inject_nmi)(kv->vcpu);
	kvm_make_request(KVM_REQ_EVENT, kv->vcpu);
}

/**
 * kvmi_exit_give_back - what is held back is KVM's again
 * @kv: the vCPU, between two instructions; called on its thread, or with it loaded
 *
 * An interrupt that no LAPIC of KVM's has delivered can be given back only while the
 * guest would take it.
 *
 * Return: 0, or -EAGAIN.
 */
int kvmi_exit_give_back(struct kvmi_vcpu *kv)
{
	if (!kv->busy.deferred)
		return 0;
	if (kvmi_in_l1(kv->vcpu)) {
		kvmi_undefer(kv);
	} else if (kv->deferred.nmi) {
		kv->busy.deferred = false;
		kvm_call(kvm_inject_nmi)(kv->vcpu);
	} else {
		kvmi_undefer_lapic(kv);
	}
	return kv->busy.deferred ? -EAGAIN : 0;
}

/* Asynchronous, and about nothing that could be acted upon. */
static void kvmi_exit_tell(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	ex->cont = KVMI_CONT_NOTHING;
	ex->indexed = true;
	kvmi_event_tell(kv, ex);
}

static void kvmi_exit_tell_vcpu(struct kvmi_vcpu *kv, u32 change, u64 pc)
{
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_VCPU,
		.index = change,
		.size = sizeof(ex.payload.vcpu),
		.payload.vcpu = { .change = change, .pc = pc },
	};

	kvmi_exit_tell(kv, &ex);
}

static void kvmi_exit_tell_delivery(struct kvmi_vcpu *kv)
{
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_X86_DELIVERY,
		.index = kv->delivery.type,
		.size = sizeof(ex.payload.delivery),
		.payload.delivery = kv->delivery,
	};

	kv->busy.delivery = false;
	kvmi_exit_tell(kv, &ex);
}

/* Of an entry: that it is the first one in SMM, or behind it. */
static void kvmi_entry_smm(struct kvmi_vcpu *kv)
{
	bool smm = kv->vcpu->arch.hflags & HF_SMM_MASK;

	if (smm == kv->smm)
		return;
	kv->smm = smm;
	kvmi_exit_tell_vcpu(kv, smm ? KVMI_VCPU_SMM : KVMI_VCPU_SMM_LEFT,
			    kvmi_regs_rip(kv->vcpu));
}

/* Of an entry: that the vCPU wakes, and what is injected; told at the exit. */
static void kvmi_entry_tell(struct kvmi_vcpu *kv)
{
	struct kvmi_x86_ev_delivery *ev = &kv->delivery;

	kv->at_reset = false;
	kvmi_entry_smm(kv);
	if (kv->halted) {
		kv->halted = false;
		kvmi_exit_tell_vcpu(kv, KVMI_VCPU_WAKES,
				    kvmi_regs_rip(kv->vcpu));
	}
	/* That of an entry whose exit was the fast path's. */
	if (kv->busy.delivery)
		kvmi_exit_tell_delivery(kv);
	if (kvmi_ops->delivering(kv, ev)) {
		ev->pc = kvmi_regs_rip(kv->vcpu);
		kv->busy.delivery = true;
	}
}

/* What an entry needs, interrupts off. Out of line: most need nothing. */
static noinline u64 kvmi_entry(struct kvmi_vcpu *kv, u64 run_flags)
{
	u32 want = READ_ONCE(kv->want);

	if (!kvmi_in_l1(kv->vcpu)) {
		if (want & KVMI_WANT_VCPU)
			kvmi_entry_smm(kv);
		/* Into SMM, or where the VMM has put it: nothing is theirs. */
		if (kv->armed.bits)
			kvmi_ops->disarm(kv);
		return run_flags;
	}

	if (unlikely(kvmi_step_active(kv))) {
		want |= KVMI_WANT_STEP;
		/* KVM may want to be back for what else it has to deliver. */
		if (kvmi_defer(kv))
			run_flags &= ~(u64)KVM_RUN_FORCE_IMMEDIATE_EXIT;
		if (!kvmi_step_entry(kv))
			run_flags |= KVM_RUN_FORCE_IMMEDIATE_EXIT;
	} else if (unlikely(want & KVMI_WANT_STEP)) {
		/* Since a moment ago: kvmi_step_go_on() begins the first. */
		want &= ~KVMI_WANT_STEP;
		run_flags |= KVM_RUN_FORCE_IMMEDIATE_EXIT;
	}

	/* What is held back is not delivered by this entry. */
	if (unlikely(kv->busy.inject) && !kv->busy.deferred &&
	    kvmi_inject_entry(kv))
		run_flags |= KVM_RUN_FORCE_IMMEDIATE_EXIT;

	want &= ~KVMI_WANT_PASSIVE;
	if (unlikely(want & (KVMI_WANT_DELIVERY | KVMI_WANT_VCPU)))
		kvmi_entry_tell(kv);
	if (want | kv->armed.bits)
		kvmi_hot(arm)(kv, want);
	return run_flags;
}

/* Apart, so that in the usual case KVM is the last to be called. */
static noinline fastpath_t kvmi_vcpu_run_armed(struct kvmi_vcpu *kv, u64 run_flags)
{
	fastpath_t ret = kvm_orig(vcpu_run)(kv->vcpu, run_flags);

	kvmi_hot(exit_begin)(kv);
	return ret;
}

/**
 * kvmi_vcpu_run_busy - an entry that may take something to be done
 * @kv: the vCPU, interrupts off
 * @run_flags: passed on
 *
 * Return: KVM's.
 */
fastpath_t kvmi_vcpu_run_busy(struct kvmi_vcpu *kv, u64 run_flags)
{
	run_flags = kvmi_entry(kv, run_flags);
	if (unlikely(kv->armed.bits & KVMI_ARMED_EXIT))
		return kvmi_vcpu_run_armed(kv, run_flags);
	return kvm_orig(vcpu_run)(kv->vcpu, run_flags);
}

/**
 * kvmi_vcpu_run - wraps kvm_x86_ops.vcpu_run
 * @vcpu: loaded, interrupts off
 * @run_flags: passed on
 *
 * Last before every entry, those of KVM's fast path included.
 *
 * Return: KVM's.
 */
notrace fastpath_t kvmi_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags)
{
	if (kvmi_vcpu_maybe(vcpu))
		return kvmi_hot(run)(vcpu, run_flags);
	return kvm_orig(vcpu_run)(vcpu, run_flags);
}

/* An exit that is an event: first KVM's bookkeeping, then the event. */
static __always_inline int kvmi_exit_event(struct kvmi_vcpu *kv,
					   struct kvmi_exit *ex)
{
	bool observed = unlikely(rcu_access_pointer(kv->observers));

	ex->mode = kvmi_watch_match(&kv->watch, ex, &ex->regs);
	if (ex->mode == KVMI_MODE_SYNC) {
		kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
		if (observed)
			kvmi_watch_tell(kv, ex);
		return kvmi_event_raise(kv, ex);
	}
	if (ex->mode == KVMI_MODE_COUNT && likely(!observed)) {
		kvmi_watch_count(&kv->watch, ex->kind);
		return likely(ex->cont == KVMI_CONT_ORIG) ?
		       kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_NONE) :
		       kvmi_exit_act(kv, ex);
	}

	/* Nobody waits, and nothing is read that the bookkeeping brings. */
	if (observed ||
	    (ex->mode == KVMI_MODE_ASYNC &&
	     (ex->kind == KVMI_EVENT_X86_CR || (ex->regs & KVMI_REGS_CONTROL))))
		kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	if (observed)
		kvmi_watch_tell(kv, ex);
	return kvmi_event_raise(kv, ex);
}

static __always_inline int kvmi_exit_orig(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	/* Of ours, a nested guest must inherit nothing. */
	if (unlikely(kv->armed.bits) && kvmi_ops->nested_entry(kv))
		kvmi_ops->disarm(kv);
	return kvm_orig(handle_exit)(kv->vcpu, fastpath);
}

/* What an exit is, besides an exit. */
static __always_inline int kvmi_exit_decode(struct kvmi_vcpu *kv,
					    fastpath_t fastpath,
					    struct kvmi_exit *ex)
{
	if (fastpath == EXIT_FASTPATH_NONE && kvmi_hot(decode)(kv, ex))
		return kvmi_exit_event(kv, ex);
	if (kv->view && kvmi_hot(fault)(kv, &ex->payload.access))
		return kvmi_view_fault(kv, fastpath, ex);
	return kvmi_exit_orig(kv, fastpath);
}

/* Out of line: not for every exit. */
static noinline int kvmi_exit_decode_later(struct kvmi_vcpu *kv)
{
	return kvmi_exit_decode(kv, EXIT_FASTPATH_NONE, &kv->open.exit);
}

/* What no handler returns. */
#define KVMI_EXIT_GO_ON		INT_MIN

/* KVMI_EVENT_X86_EXIT. Return: as kvmi_handle_exit(), or KVMI_EXIT_GO_ON. */
static noinline int kvmi_exit_raw(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	bool observed = rcu_access_pointer(kv->observers);

	ex->kind = KVMI_EVENT_X86_EXIT;
	ex->indexed = true;
	ex->write = false;
	ex->change = 0;
	ex->index = kvmi_ops->reason(kv);
	ex->mode = kvmi_watch_match(&kv->watch, ex, &ex->regs);
	if (ex->mode == KVMI_MODE_COUNT)
		kvmi_watch_count_exit(&kv->watch, ex->index);
	/* What is only counted is not described. */
	if ((ex->mode == KVMI_MODE_COUNT || ex->mode == KVMI_MODE_OFF) &&
	    likely(!observed))
		return KVMI_EXIT_GO_ON;

	ex->skip = false;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(ex->payload.exit);
	kvmi_ops->raw(kv, &ex->payload.exit);
	ex->payload.exit.pc = kvmi_regs_rip(kv->vcpu);
	if (ex->mode != KVMI_MODE_SYNC) {
		ex->cont = KVMI_CONT_NOTHING;
		if (observed)
			kvmi_watch_tell(kv, ex);
		if (ex->mode == KVMI_MODE_ASYNC)
			kvmi_event_raise(kv, ex);
		return KVMI_EXIT_GO_ON;
	}
	ex->cont = KVMI_CONT_DECODE;
	kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	if (observed)
		kvmi_watch_tell(kv, ex);
	return kvmi_event_raise(kv, ex);
}

/* The exit is dealt with: @ret. */
static noinline int kvmi_exit_step(struct kvmi_vcpu *kv, int ret)
{
	if (kv->busy.deferred && kvmi_in_l1(kv->vcpu))
		kvmi_undefer(kv);
	/* Never wait when KVM is on its way to userspace: it has I/O pending. */
	return ret > 0 ? kvmi_step_go_on(kv) : ret;
}

static __always_inline int kvmi_exit_after(struct kvmi_vcpu *kv, int ret)
{
	if (unlikely(kvmi_step_busy(kv)))
		ret = kvmi_exit_step(kv, ret);
	if (unlikely(kv->busy.inject) && !kv->open.id)
		kvmi_inject_hand(kv, ret > 0);
	return ret;
}

static __always_inline int kvmi_exit_l1(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	/* No event is open: the vCPU was in the guest. */
	struct kvmi_exit *ex = &kv->open.exit;
	struct kvm_vcpu *vcpu = kv->vcpu;
	int ret;

	if (unlikely(kvmi_step_active(kv))) {
		enum kvmi_trap trap = kvmi_hot(is_step)(kv);

		if (trap != KVMI_TRAP_NONE)
			kvmi_step_over(kv, true);
		/* Before anything that may wait: the guest has written. */
		if (unlikely(kv->busy.standin))
			kvmi_standin_settle(kv);
		if (trap == KVMI_TRAP_OURS) {
			fastpath = EXIT_FASTPATH_EXIT_HANDLED;
			ret = kvm_orig(handle_exit)(vcpu, fastpath);
			goto out;
		}
	}

	if (unlikely(READ_ONCE(kv->want) & KVMI_WANT_EXIT) &&
	    fastpath == EXIT_FASTPATH_NONE) {
		ret = kvmi_exit_raw(kv, ex);
		if (ret != KVMI_EXIT_GO_ON)
			goto told;
	}
	ret = kvmi_exit_decode(kv, fastpath, ex);
told:
	if (unlikely(READ_ONCE(kv->want) & KVMI_WANT_VCPU) &&
	    vcpu->arch.mp_state == KVM_MP_STATE_HALTED && !kv->halted &&
	    !kv->open.id) {
		kv->halted = true;
		kvmi_exit_tell_vcpu(kv, KVMI_VCPU_HALTS, kvmi_regs_rip(vcpu));
	}
out:
	return kvmi_exit_after(kv, ret);
}

/* Nothing is armed: what is to be done of a change is to expect other exits. */
static noinline void kvmi_exit_settle(struct kvmi_vcpu *kv)
{
	u32 gen = kvmi_wants_begin(kv);

	kvmi_ops->expect(kv);
	kvmi_wants_end(kv, gen);
}

static __always_inline int kvmi_exit(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	if (unlikely(!kvmi_in_l1(kv->vcpu)))
		return kvm_orig(handle_exit)(kv->vcpu, fastpath);
	/* Else the next entry does it. */
	if (unlikely(READ_ONCE(kv->gen) != kv->armed.gen) &&
	    !(kv->armed.bits | (READ_ONCE(kv->want) & ~KVMI_WANT_PASSIVE)))
		kvmi_exit_settle(kv);
	/* What was held back was not delivered, whatever KVM has left of it. */
	if (unlikely(kv->busy.inject) && !kv->busy.deferred)
		kvmi_inject_exit(kv);
	/* One whose delivery was cut short is delivered anew, and told then. */
	if (unlikely(kv->busy.delivery)) {
		if (kvmi_ops->vectoring(kv))
			kv->busy.delivery = false;
		else
			kvmi_exit_tell_delivery(kv);
	}

	return kvmi_exit_l1(kv, fastpath);
}

/**
 * kvmi_handle_exit_event - an exit that may be an event, with nothing else to do
 * @kv: the vCPU, in flight, in L1; called on its thread, kvm->srcu held
 * @fastpath: passed on
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_handle_exit_event(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	int ret = kvmi_exit_decode(kv, fastpath, &kv->open.exit);

	/* By the answer. */
	if (unlikely(kv->busy.any))
		ret = kvmi_exit_after(kv, ret);
	kvmi_vcpu_leave(kv);
	return ret;
}

/**
 * kvmi_handle_exit_busy - an exit that may be an event, or take something to be done
 * @kv: the vCPU, in flight; called on its thread, kvm->srcu held
 * @fastpath: passed on
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_handle_exit_busy(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	int ret = kvmi_exit(kv, fastpath);

	kvmi_vcpu_leave(kv);
	return ret;
}

/**
 * kvmi_handle_exit - wraps kvm_x86_ops.handle_exit
 * @vcpu: loaded, kvm->srcu held; may sleep
 * @fastpath: passed on
 *
 * Return: as KVM's: above 0 to enter the guest again.
 */
notrace int kvmi_handle_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	if (kvmi_vcpu_maybe(vcpu))
		return kvmi_hot(exit)(vcpu, fastpath);
	return kvm_orig(handle_exit)(vcpu, fastpath);
}

/* SDM volume 3, APM volume 2: state after reset. Only a VMM sets it so. */
static void kvmi_gate_reset(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_segment cs;

	if (kv->at_reset || kvmi_regs_rip(vcpu) != 0xfff0 ||
	    (kvmi_regs_cr0(vcpu) & X86_CR0_PE))
		return;
	kvm_call(kvm_get_segment)(vcpu, &cs, VCPU_SREG_CS);
	if (cs.base != 0xffff0000)
		return;
	kv->at_reset = true;
	kv->halted = false;
	kvmi_exit_tell_vcpu(kv, KVMI_VCPU_RESET, 0xfff0);
}

static int kvmi_gate(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	int ret;

	kvm_vcpu_srcu_read_unlock(vcpu);
	kvmi_vcpu_jobs(kv);
	ret = kvmi_vcpu_park(kv);
	kvm_vcpu_srcu_read_lock(vcpu);
	if (ret) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		vcpu->stat.signal_exits++;
		return ret;
	}

	if (unlikely(kv->io.pending))
		kvmi_io_settle(kv);
	if (unlikely(READ_ONCE(kv->want) & KVMI_WANT_VCPU))
		kvmi_gate_reset(kv);
	ret = kvmi_event_resume(kv);
	if (ret <= 0)
		return ret;

	/* The VMM has completed an instruction that was stepped, say. */
	if (kvmi_step_busy(kv))
		ret = kvmi_step_go_on(kv);
	if (kv->busy.inject && !kv->open.id)
		kvmi_inject_hand(kv, ret > 0);
	/* It began before a signal, which the VMM has seen to. */
	if (kv->stop_since && ret > 0) {
		if (time_after(jiffies, kv->stop_since + HZ))
			kvmi_pause_ended(kv);
		kv->stop_since = 0;
	}
	return ret;
}

/**
 * kvmi_vcpu_pre_run - wraps kvm_x86_ops.vcpu_pre_run
 * @vcpu: loaded, kvm->srcu held; may sleep
 *
 * The gate through which each KVM_RUN passes: a paused vCPU stays here, an
 * open event is waited for.
 *
 * Return: as KVM's: 1 to run, else what KVM_RUN returns.
 */
int kvmi_vcpu_pre_run(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu *kv = NULL;
	int ret;

	ret = kvmi_hold_gate(vcpu);
	if (ret)
		return ret;
	if (kvmi_vcpu_maybe(vcpu))
		kv = kvmi_vcpu_enter(vcpu);
	if (!kv && unlikely(kvmi_vm_attached(vcpu->kvm))) {
		kvm_vcpu_srcu_read_unlock(vcpu);
		ret = kvmi_vm_vcpu_added(vcpu);
		kvm_vcpu_srcu_read_lock(vcpu);
		if (ret) {
			vcpu->run->exit_reason = KVM_EXIT_INTR;
			return ret;
		}
		kv = kvmi_vcpu_enter(vcpu);
	}
	if (kv) {
		ret = kvmi_gate(kv);
		kvmi_vcpu_leave(kv);
		if (ret <= 0)
			return ret;
	}
	return kvm_orig(vcpu_pre_run)(vcpu);
}

/**
 * kvmi_load_mmu_pgd - wraps kvm_x86_ops.load_mmu_pgd
 * @vcpu: loaded
 * @root_hpa: KVM's root
 * @root_level: its level
 *
 * A vCPU on a view gets the view's root, through KVM's own code, so that the
 * EPTP, PDPTRs, the C-bit and clean bits are what KVM makes them. A nested guest
 * and SMM run on KVM's.
 */
void kvmi_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root_hpa, int root_level)
{
	struct kvmi_vcpu *kv;
	hpa_t root;

	if (kvmi_vcpu_maybe(vcpu)) {
		rcu_read_lock();
		kv = kvmi_vcpu_find(vcpu);
		if (kv && kv->view && kvmi_in_l1(vcpu) &&
		    vcpu->arch.mmu == &vcpu->arch.root_mmu) {
			root = kvmi_view_root(kv, root_level);
			if (VALID_PAGE(root))
				root_hpa = root;
		}
		rcu_read_unlock();
	}
	kvm_orig(load_mmu_pgd)(vcpu, root_hpa, root_level);
}

/**
 * kvmi_flush_tlb_current - wraps kvm_x86_ops.flush_tlb_current
 * @vcpu: loaded
 *
 * On VMX this flushes by KVM's root: a vCPU on a view has everything flushed. On
 * SVM, translations are tagged by ASID alone, and the original does it all.
 */
void kvmi_flush_tlb_current(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu *kv;
	bool view = false;

	if (kvmi_vcpu_maybe(vcpu)) {
		rcu_read_lock();
		kv = kvmi_vcpu_find(vcpu);
		view = kv && kv->view && !kvmi_ops->flush_is_asid;
		rcu_read_unlock();
	}
	if (view)
		kvm_orig(flush_tlb_all)(vcpu);
	else
		kvm_orig(flush_tlb_current)(vcpu);
}

/**
 * kvmi_inject_exception - wraps kvm_x86_ops.inject_exception
 * @vcpu: loaded, about to enter
 *
 * Of a CPU without NRIPS, KVM decodes the INT3 whose #BP it injects, to set RIP behind
 * it; and decoding forgets all exceptions. An exception that is injected for the second
 * time, as the entry was given up or the delivery broken off, is not noted once more:
 * KVM then takes an interrupt to be the next, writes it over the #BP, and the guest
 * goes on in the middle of an instruction that its kernel is about to change. Only who
 * intercepts INT3 has KVM come there.
 */
void kvmi_inject_exception(struct kvm_vcpu *vcpu)
{
	struct kvmi_x86_ev_delivery ev;
	struct kvmi_vcpu *kv = NULL;

	if (unlikely(vcpu->arch.exception.injected) && kvmi_vcpu_maybe(vcpu))
		kv = kvmi_vcpu_enter(vcpu);
	if (likely(!kv)) {
		kvm_orig(inject_exception)(vcpu);
		return;
	}
	kvm_orig(inject_exception)(vcpu);
	/* Unless it was dropped, to be had again by executing the instruction. */
	if (kvmi_ops->delivering(kv, &ev))
		vcpu->arch.exception.injected = true;
	kvmi_vcpu_leave(kv);
}

/* Give the guest its exception: of those that KVM has not asked for. */
static int kvmi_exit_reflect(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	const struct kvmi_x86_ev_exception *ev = &ex->payload.exception;
	struct kvm_vcpu *vcpu = kv->vcpu;

	/* Neither vendor's CPU has written CR2: SDM, APM, "Page-Fault Exception". */
	if (ev->vector == PF_VECTOR)
		vcpu->arch.cr2 = ev->payload;
	if (ev->vector == OF_VECTOR)
		vcpu->arch.event_exit_inst_len = ev->insn_len;
	if (ev->flags & KVMI_X86_EXCEPTION_ERROR)
		kvm_call(kvm_queue_exception_e)(vcpu, ev->vector, ev->error);
	else
		kvm_call(kvm_queue_exception)(vcpu, ev->vector);
	return 1;
}

/* RDTSC and RDTSCP, for which KVM has no handlers. */
static int kvmi_exit_value(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u64 aux = 0;

	if ((kvmi_regs_cr4(vcpu) & X86_CR4_TSD) && (kvmi_regs_cr0(vcpu) & X86_CR0_PE) &&
	    kvm_orig(get_cpl)(vcpu) > 0) {
		kvm_call(kvm_queue_exception_e)(vcpu, GP_VECTOR, 0);
		return 1;
	}
	kvmi_reg_write(vcpu, VCPU_REGS_RAX, lower_32_bits(ex->now));
	kvmi_reg_write(vcpu, VCPU_REGS_RDX, upper_32_bits(ex->now));
	if (ex->payload.insn.insn == KVMI_X86_INSN_RDTSCP) {
		kvm_call(kvm_get_msr)(vcpu, MSR_TSC_AUX, &aux);
		kvmi_reg_write(vcpu, VCPU_REGS_RCX, lower_32_bits(aux));
	}
	return kvmi_exit_skip(kv);
}

/**
 * kvmi_exit_act - KVMI_ACTION_CONTINUE
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ex: the exit
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_exit_act(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	switch (ex->cont) {
	case KVMI_CONT_ORIG:
		return kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_NONE);
	case KVMI_CONT_VENDOR:
		return kvmi_ops->finish(kv, ex);
	case KVMI_CONT_STEP:
		kvmi_step_start(kv, KVMI_STEP_FAST);
		kvmi_view_enter(kv, KVMI_VIEW_DEFAULT);
		return 1;
	case KVMI_CONT_OVER:
		return kvmi_breakpoint_over(kv, ex);
	case KVMI_CONT_EMULATE:
		return kvm_call(kvm_emulate_instruction)(kv->vcpu, 0);
	case KVMI_CONT_REFLECT:
		return kvmi_exit_reflect(kv, ex);
	case KVMI_CONT_VALUE:
		return kvmi_exit_value(kv, ex);
	case KVMI_CONT_NESTED:
		return kvmi_exit_orig(kv, EXIT_FASTPATH_NONE);
	case KVMI_CONT_DECODE:
		return kvmi_exit_decode_later(kv);
	case KVMI_CONT_ELEMENT:
		return kvmi_io_continue(kv, ex);
	default:
		return 1;
	}
}

/**
 * kvmi_exit_skip - KVMI_ACTION_SKIP
 * @kv: the vCPU; called on its thread, kvm->srcu held
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_exit_skip(struct kvmi_vcpu *kv)
{
	return kvm_call(kvm_skip_emulated_instruction)(kv->vcpu);
}

/**
 * kvmi_exit_emulated - KVM has emulated an instruction that is stepped
 * @kv: the vCPU, between two exits; called on its thread, kvm->srcu held
 *
 * A fault of it has been no exit, but is an event. Not so a #DB, which is a trap:
 * whatever the answer, the instruction would not be executed anew.
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_exit_emulated(struct kvmi_vcpu *kv)
{
	struct kvm_queued_exception *exception = &kv->vcpu->arch.exception;
	u32 vector = exception->vector;
	struct kvmi_exit ex;

	if (!exception->pending || vector == DB_VECTOR ||
	    !(kv->wants.exceptions & BIT(vector)))
		return 1;
	exception->pending = false;
	kvmi_exit_exception(kv, &ex, vector, exception->has_error_code,
			    exception->error_code,
			    vector == PF_VECTOR ? kv->vcpu->arch.cr2 : 0, 0);
	ex.payload.exception.flags &= ~KVMI_X86_EXCEPTION_NESTED;
	ex.cont = KVMI_CONT_REFLECT;
	return kvmi_event_tell(kv, &ex);
}

/**
 * kvmi_exit_crash - KVMI_ACTION_CRASH
 * @kv: the vCPU; called on its thread
 *
 * KVM_RUN returns KVM_EXIT_SHUTDOWN, as after a triple fault.
 *
 * Return: 1.
 */
int kvmi_exit_crash(struct kvmi_vcpu *kv)
{
	kvm_make_request(KVM_REQ_TRIPLE_FAULT, kv->vcpu);
	return 1;
}

/* ---- exits that both vendors have ------------------------------------------------ */

/**
 * kvmi_exit_cpuid - describe a CPUID exit
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction, or 0
 */
void kvmi_exit_cpuid(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len)
{
	struct kvmi_x86_ev_cpuid *ev = &ex->payload.cpuid;

	/* These two are saved at every exit. */
	ev->function = kv->vcpu->arch.regs[VCPU_REGS_RAX];
	ev->index = kv->vcpu->arch.regs[VCPU_REGS_RCX];
	ev->insn_len = insn_len;
	ev->pad = 0;

	ex->kind = KVMI_EVENT_X86_CPUID;
	ex->indexed = false;
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
}

static bool kvmi_exit_msr_wanted(struct kvmi_vcpu *kv, u32 index, bool write)
{
	struct kvmi_msr *msr = READ_ONCE(kv->msrs);
	u32 i;

	/* One that is being given to another MSR has no wish; msr.want is last. */
	for (i = 0; i < kv->nr_msrs; i++, msr++)
		if (READ_ONCE(msr->index) == index)
			return READ_ONCE(msr->want) & BIT(write);
	return false;
}

/**
 * kvmi_exit_msr - describe an RDMSR or WRMSR exit
 * @kv: the vCPU
 * @ex: filled
 * @write: WRMSR
 *
 * Return: false if nobody wants it.
 */
bool kvmi_exit_msr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, bool write)
{
	struct kvmi_x86_ev_msr *ev = &ex->payload.msr;
	struct kvm_vcpu *vcpu = kv->vcpu;
	u32 index;

	if (!kv->nr_msrs)
		return false;
	index = kvmi_reg_read(vcpu, VCPU_REGS_RCX);
	if (!kvmi_exit_msr_wanted(kv, index, write))
		return false;

	ev->index = index;
	ev->flags = write ? KVMI_X86_MSR_WRITE : 0;
	ev->old = 0;
	ev->new_value = 0;
	if (!kvm_call(kvm_get_msr)(vcpu, index, &ev->old))
		ev->flags |= KVMI_X86_MSR_OLD;
	if (write)
		ev->new_value = (u32)kvmi_reg_read(vcpu, VCPU_REGS_RAX) |
				kvmi_reg_read(vcpu, VCPU_REGS_RDX) << 32;

	ex->kind = KVMI_EVENT_X86_MSR;
	ex->indexed = true;
	ex->write = write;
	ex->index = index;
	/* What KVM would not read may change in any way. */
	ex->change = !write ? 0 : ev->flags & KVMI_X86_MSR_OLD ?
		     ev->old ^ ev->new_value : ~0ULL;
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = write ? KVMI_VALUE_EDX_EAX : KVMI_VALUE_TO_EDX_EAX;
	ex->size = sizeof(*ev);
	return true;
}

/**
 * kvmi_exit_cr - describe an access to a control register
 * @kv: the vCPU
 * @ex: filled, but for cont, value and source
 * @cr: 0, 3, 4 or 8
 * @write: to it
 * @value: what is written
 * @insn_len: length of the instruction, or 0
 */
void kvmi_exit_cr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 cr, bool write,
		  u64 value, u32 insn_len)
{
	struct kvmi_x86_ev_cr *ev = &ex->payload.cr;

	ev->cr = cr;
	ev->insn_len = insn_len;
	ev->new_value = value;
	ev->flags = write ? 0 : KVMI_X86_CR_READ;
	ev->pad = 0;
	if (cr == 0)
		ev->old = kvmi_regs_cr0(kv->vcpu);
	else if (cr == 3)
		ev->old = kvmi_regs_cr3(kv->vcpu);
	else if (cr == 4)
		ev->old = kvmi_regs_cr4(kv->vcpu);
	else
		ev->old = kvm_call(kvm_get_cr8)(kv->vcpu);

	ex->kind = KVMI_EVENT_X86_CR;
	ex->indexed = true;
	ex->write = write;
	ex->index = cr;
	ex->change = write ? ev->old ^ value : 0;
	/* Bit 63 of what is written is a command. */
	if (cr == 3)
		ex->change &= ~BIT_ULL(63);
	ex->skip = true;
	ex->size = sizeof(*ev);
}

/**
 * kvmi_exit_dr - describe a move to or from a debug register
 * @kv: the vCPU
 * @ex: filled
 * @dr: 0 to 7
 * @write: to it
 * @reg: the general register
 *
 * KVM has its handler give the registers to the guest, and no exit any more: what
 * kvmi has asked for its emulator does.
 */
void kvmi_exit_dr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 dr, bool write,
		  u8 reg)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	struct kvmi_x86_ev_dr *ev = &ex->payload.dr;

	ev->dr = dr;
	ev->flags = write ? KVMI_X86_DR_WRITE : 0;
	/* With CR4.DE clear, 4 and 5 are 6 and 7. */
	if (dr < 4)
		ev->old = arch->db[dr];
	else
		ev->old = dr & 1 ? arch->dr7 : arch->dr6;
	ev->new_value = write ? kvmi_reg_read(kv->vcpu, reg) : 0;
	if (write && !kvmi_regs_64bit(kv->vcpu))
		ev->new_value = (u32)ev->new_value;

	ex->kind = KVMI_EVENT_X86_DR;
	ex->indexed = true;
	ex->write = write;
	ex->index = dr;
	ex->change = write ? ev->old ^ ev->new_value : 0;
	ex->cont = kv->vcpu->guest_debug ? KVMI_CONT_ORIG : KVMI_CONT_EMULATE;
	ex->skip = true;
	ex->value = write ? KVMI_VALUE_REG : KVMI_VALUE_NONE;
	ex->source = reg;
	ex->size = sizeof(*ev);
}

/**
 * kvmi_exit_exception - describe an exception
 * @kv: the vCPU
 * @ex: filled, but for cont
 * @vector: of it
 * @has_error: it has an error code
 * @error: that
 * @payload: #PF: CR2; #DB: what it sets in DR6
 * @insn_len: of an instruction that is one, or 0
 */
void kvmi_exit_exception(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 vector,
			 bool has_error, u32 error, u64 payload, u32 insn_len)
{
	struct kvmi_x86_ev_exception *ev = &ex->payload.exception;

	ev->vector = vector;
	ev->flags = has_error ? KVMI_X86_EXCEPTION_ERROR : 0;
	if (vector == PF_VECTOR || vector == DB_VECTOR)
		ev->flags |= KVMI_X86_EXCEPTION_PAYLOAD;
	if (kvmi_ops->vectoring(kv))
		ev->flags |= KVMI_X86_EXCEPTION_NESTED;
	ev->error = has_error ? error : 0;
	ev->insn_len = insn_len;
	ev->payload = payload;

	ex->kind = KVMI_EVENT_X86_EXCEPTION;
	ex->indexed = true;
	ex->write = false;
	ex->index = vector;
	ex->change = 0;
	ex->skip = insn_len;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
}

/**
 * kvmi_exit_dtable - describe an access to a descriptor-table register
 * @kv: the vCPU
 * @ex: filled
 * @table: enum kvmi_x86_table
 * @write: to it
 */
void kvmi_exit_dtable(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 table,
		      bool write)
{
	struct kvmi_x86_ev_dtable *ev = &ex->payload.dtable;
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_segment seg;
	struct desc_ptr dt;

	memset(ev, 0, sizeof(*ev));
	ev->table = table;
	ev->flags = write ? KVMI_X86_DTABLE_WRITE : 0;
	if (table == KVMI_X86_TABLE_GDTR || table == KVMI_X86_TABLE_IDTR) {
		if (table == KVMI_X86_TABLE_GDTR)
			kvm_orig(get_gdt)(vcpu, &dt);
		else
			kvm_orig(get_idt)(vcpu, &dt);
		ev->base = dt.address;
		ev->limit = dt.size;
	} else {
		kvm_call(kvm_get_segment)(vcpu, &seg,
					  table == KVMI_X86_TABLE_TR ?
					  VCPU_SREG_TR : VCPU_SREG_LDTR);
		ev->base = seg.base;
		ev->limit = seg.limit;
		ev->selector = seg.selector;
	}

	ex->kind = KVMI_EVENT_X86_DTABLE;
	ex->indexed = true;
	ex->write = write;
	ex->index = table;
	ex->change = 0;
	ex->cont = KVMI_CONT_EMULATE;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
}

/**
 * kvmi_exit_io - describe port I/O
 * @kv: the vCPU
 * @ex: filled
 * @port: the first one
 * @bytes: 1, 2 or 4
 * @flags: KVMI_X86_IO_*
 * @insn_len: length of the instruction, or 0
 *
 * Return: false if nobody wants it.
 */
bool kvmi_exit_io(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 port, u32 bytes,
		  u32 flags, u32 insn_len)
{
	struct kvmi_x86_ev_io *ev = &ex->payload.io;
	bool string = flags & KVMI_X86_IO_STRING, out = flags & KVMI_X86_IO_OUT;
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (!(READ_ONCE(kv->want) & KVMI_WANT_IO))
		return false;
	ev->port = port;
	ev->bytes = bytes;
	ev->flags = flags;
	ev->insn_len = insn_len;
	ev->value = 0;
	ev->count = 1;
	ev->address = 0;
	if (out && !string)
		ev->value = kvmi_reg_read(vcpu, VCPU_REGS_RAX) &
			    GENMASK(8 * bytes - 1, 0);
	if (flags & KVMI_X86_IO_REP)
		ev->count = kvmi_reg_read(vcpu, VCPU_REGS_RCX);
	if (string)
		ev->address = kvmi_reg_read(vcpu, out ? VCPU_REGS_RSI :
							VCPU_REGS_RDI);

	ex->kind = KVMI_EVENT_X86_IO;
	ex->indexed = true;
	ex->write = out;
	ex->index = port;
	ex->change = 0;
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = string ? KVMI_VALUE_NONE :
		    out ? KVMI_VALUE_OUT : KVMI_VALUE_IN;
	ex->size = sizeof(*ev);
	if (string && READ_ONCE(kv->wants.elements))
		return kvmi_io_element(kv, ex);
	return true;
}

/**
 * kvmi_exit_insn - describe one of the other instructions
 * @kv: the vCPU
 * @ex: filled
 * @insn: enum kvmi_x86_insn
 * @operand: see there
 * @insn_len: length of the instruction, or 0
 *
 * Return: false if nobody wants it.
 */
bool kvmi_exit_insn(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn,
		    u64 operand, u32 insn_len)
{
	struct kvmi_x86_ev_insn *ev = &ex->payload.insn;
	bool tsc = insn == KVMI_X86_INSN_RDTSC || insn == KVMI_X86_INSN_RDTSCP;

	if (!(kv->wants.insns & BIT(insn)))
		return false;
	ev->insn = insn;
	ev->insn_len = insn_len;
	ev->operand = operand;
	ev->value = 0;
	if (tsc) {
		ex->now = kvm_call(kvm_read_l1_tsc)(kv->vcpu, rdtsc());
		ev->value = ex->now;
	}

	ex->kind = KVMI_EVENT_X86_INSN;
	ex->indexed = true;
	ex->write = false;
	ex->index = insn;
	ex->change = 0;
	ex->cont = tsc ? KVMI_CONT_VALUE :
		   insn == KVMI_X86_INSN_NESTED ? KVMI_CONT_NESTED :
						  KVMI_CONT_ORIG;
	ex->skip = insn != KVMI_X86_INSN_SHUTDOWN &&
		   insn != KVMI_X86_INSN_TASK_SWITCH;
	ex->value = tsc || insn == KVMI_X86_INSN_RDPMC ? KVMI_VALUE_TO_EDX_EAX :
							 KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
	return true;
}

/**
 * kvmi_exit_tsc - describe RDTSC or RDTSCP, of which nobody wants to know
 * @kv: the vCPU
 * @ex: filled as far as it is needed to execute them, or RDRAND and RDSEED
 * @insn: enum kvmi_x86_insn
 */
void kvmi_exit_tsc(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn)
{
	memset(&ex->payload.insn, 0, sizeof(ex->payload.insn));
	ex->payload.insn.insn = insn;
	ex->now = kvm_call(kvm_read_l1_tsc)(kv->vcpu, rdtsc());
	ex->kind = KVMI_EVENT_X86_INSN;
	ex->indexed = true;
	ex->write = false;
	ex->index = insn;
	ex->change = 0;
	ex->cont = KVMI_CONT_VALUE;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(ex->payload.insn);
}

/**
 * kvmi_exit_slow - must KVM's fast path leave the exits of a vCPU alone?
 * @vcpu: interrupts off
 *
 * Return: true if so.
 */
bool kvmi_exit_slow(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu *kv = NULL;

	if (kvmi_vcpu_maybe(vcpu))
		kv = kvmi_vcpu_find(vcpu);
	return kv && (kvmi_step_active(kv) || READ_ONCE(kv->wants.fast));
}

static void kvmi_vcpu_changed(struct kvm_vcpu *vcpu, u32 change)
{
	struct kvmi_vcpu *kv;

	if (!kvmi_vcpu_maybe(vcpu))
		return;
	kv = kvmi_vcpu_enter(vcpu);
	if (!kv)
		return;
	/* On its own thread: no other posts to its rings. */
	if ((READ_ONCE(kv->want) & KVMI_WANT_VCPU) &&
	    kvm_call(kvm_get_running_vcpu)() == vcpu)
		kvmi_exit_tell_vcpu(kv, change, kvmi_regs_rip(vcpu));
	kvmi_vcpu_leave(kv);
}

/**
 * kvmi_vcpu_reset - wraps kvm_x86_ops.vcpu_reset
 * @vcpu: loaded, if it was created before
 * @init_event: by INIT
 */
void kvmi_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	kvm_orig(vcpu_reset)(vcpu, init_event);
	if (init_event)
		kvmi_vcpu_changed(vcpu, KVMI_VCPU_INIT);
}

/**
 * kvmi_vcpu_deliver_sipi_vector - wraps kvm_x86_ops.vcpu_deliver_sipi_vector
 * @vcpu: loaded
 * @vector: page that it starts at
 */
void kvmi_vcpu_deliver_sipi_vector(struct kvm_vcpu *vcpu, u8 vector)
{
	kvm_orig(vcpu_deliver_sipi_vector)(vcpu, vector);
	kvmi_vcpu_changed(vcpu, KVMI_VCPU_STARTED);
}

/**
 * kvmi_exit_hypercall - describe a hypercall
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction, or 0
 *
 * Return: false if nobody wants it.
 */
bool kvmi_exit_hypercall(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len)
{
	static const u8 regs[] = {
		VCPU_REGS_RBX, VCPU_REGS_RCX, VCPU_REGS_RDX, VCPU_REGS_RSI,
		VCPU_REGS_RDI,
	};
	struct kvmi_ev_hypercall *ev = &ex->payload.hypercall;
	struct kvm_vcpu *vcpu = kv->vcpu;
	bool l = kvmi_regs_64bit(vcpu);
	u64 value;
	u32 i;

	if (!(READ_ONCE(kv->want) & KVMI_WANT_HYPERCALL))
		return false;
	value = kvmi_reg_read(vcpu, VCPU_REGS_RAX);
	ev->nr = l ? value : (u32)value;
	for (i = 0; i < ARRAY_SIZE(ev->args); i++) {
		value = i < ARRAY_SIZE(regs) ? kvmi_reg_read(vcpu, regs[i]) :
					       vcpu->arch.regs[8];
		ev->args[i] = l ? value : (u32)value;
	}
	ev->privilege = kvm_orig(get_cpl)(vcpu);
	ev->insn_len = insn_len;

	ex->kind = KVMI_EVENT_HYPERCALL;
	ex->indexed = true;
	ex->write = false;
	ex->index = lower_32_bits(ev->nr);
	ex->change = 0;
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
	return true;
}

/**
 * kvmi_exit_xsetbv - describe XSETBV
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction, or 0
 *
 * Return: false if nobody wants it.
 */
bool kvmi_exit_xsetbv(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len)
{
	struct kvmi_x86_ev_xsetbv *ev = &ex->payload.xsetbv;
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (!(READ_ONCE(kv->want) & KVMI_WANT_XSETBV))
		return false;
	ev->xcr = kvmi_reg_read(vcpu, VCPU_REGS_RCX);
	ev->insn_len = insn_len;
	ev->old = vcpu->arch.xcr0;
	ev->new_value = (u32)kvmi_reg_read(vcpu, VCPU_REGS_RAX) |
			kvmi_reg_read(vcpu, VCPU_REGS_RDX) << 32;

	ex->kind = KVMI_EVENT_X86_XSETBV;
	ex->indexed = true;
	ex->write = false;
	ex->index = 0;
	ex->change = ev->old ^ ev->new_value;
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_EDX_EAX;
	ex->size = sizeof(*ev);
	return true;
}

/**
 * kvmi_exit_int3 - describe a software breakpoint, as if it were the guest's
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction
 */
void kvmi_exit_int3(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len)
{
	struct kvmi_ev_breakpoint *ev = &ex->payload.breakpoint;

	ev->pc = kvmi_regs_rip(kv->vcpu);
	ev->insn_len = insn_len;
	ev->flags = 0;
	ev->gpa = 0;

	ex->kind = KVMI_EVENT_BREAKPOINT;
	ex->indexed = false;
	/* KVM would send it to the VMM, whether that debugs or not. */
	ex->cont = KVMI_CONT_VENDOR;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
}

/**
 * kvmi_exit_breakpoint - describe a software breakpoint, whosever it is
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction
 */
void kvmi_exit_breakpoint(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
			  u32 insn_len)
{
	kvmi_exit_int3(kv, ex, insn_len);
	if (unlikely(READ_ONCE(kv->vm->had_breakpoints)))
		kvmi_breakpoint_met(kv, ex);
}
