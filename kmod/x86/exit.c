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

/*
 * KVM is about to deliver an interrupt, and the guest to execute one instruction:
 * the instruction comes first. KVM takes the interrupt back, as it does when an
 * entry is called off, and forgets it at the exit: it is kept here until then.
 * Exceptions are the instruction's own, and not held back.
 */
static bool kvmi_defer(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	if (kv->step.deliver || kv->deferred.valid || arch->exception.injected ||
	    (arch->interrupt.injected && arch->interrupt.soft))
		return false;
	if (!arch->interrupt.injected && !arch->nmi_injected)
		return false;

	kvm_orig(cancel_injection)(kv->vcpu);
	kv->deferred.valid = true;
	kv->deferred.nmi = arch->nmi_injected;
	kv->deferred.interrupt = arch->interrupt;
	return true;
}

/* Give KVM the interrupt back, once nothing else is under way. */
static void kvmi_undefer(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	if (arch->interrupt.injected || arch->nmi_injected ||
	    arch->exception.injected)
		return;
	/*
	 * The instruction may have switched interrupts off, and with these off
	 * the CPU refuses to deliver one: then it waits until they are on.
	 */
	if (kv->deferred.nmi ? kvm_orig(nmi_allowed)(kv->vcpu, false) <= 0 :
			       kvm_orig(interrupt_allowed)(kv->vcpu, false) <= 0) {
		if (kv->deferred.nmi)
			kvm_orig(enable_nmi_window)(kv->vcpu);
		else
			kvm_orig(enable_irq_window)(kv->vcpu);
		return;
	}
	kv->deferred.valid = false;
	arch->nmi_injected = kv->deferred.nmi;
	arch->interrupt = kv->deferred.interrupt;
	kvm_make_request(KVM_REQ_EVENT, kv->vcpu);
}

/* What an entry needs, interrupts off. */
static u64 kvmi_entry(struct kvmi_vcpu *kv, u64 run_flags)
{
	u32 want = READ_ONCE(kv->want);

	if (!kvmi_in_l1(kv->vcpu))
		return run_flags;

	if ((want & KVMI_WANT_STEP) && !kvmi_step_active(kv))
		kvmi_step_start(kv, KVMI_STEP_ENABLED);

	if (unlikely(kvmi_step_active(kv))) {
		want |= KVMI_WANT_STEP;
		/*
		 * The fast path has executed the instruction and enters anew,
		 * or an event is to be delivered first: leave the guest before
		 * it executes anything, so that the step ends right there.
		 */
		if ((!kvmi_defer(kv) && kvmi_ops->injecting(kv)) ||
		    kvmi_regs_rip(kv->vcpu) != kv->step.rip)
			run_flags |= KVM_RUN_FORCE_IMMEDIATE_EXIT;
	} else {
		want &= ~KVMI_WANT_STEP;
	}

	if (unlikely(kv->inject.mask) && kvmi_inject_entry(kv))
		run_flags |= KVM_RUN_FORCE_IMMEDIATE_EXIT;

	want &= ~KVMI_WANT_CPUID;
	if (want | kv->armed.bits)
		kvmi_hot(arm)(kv, want);
	return run_flags;
}

static noinline fastpath_t kvmi_vcpu_run_watched(struct kvm_vcpu *vcpu,
						 u64 run_flags)
{
	/* Interrupts are off: an RCU read-side section. */
	struct kvmi_vcpu *kv = kvmi_vcpu_find(vcpu);

	if (kv && kvmi_vcpu_entry_busy(kv))
		run_flags = kvmi_entry(kv, run_flags);
	return kvm_orig(vcpu_run)(vcpu, run_flags);
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
		return kvmi_vcpu_run_watched(vcpu, run_flags);
	return kvm_orig(vcpu_run)(vcpu, run_flags);
}

/* An exit that is an event: first KVM's bookkeeping, then the event. */
static int kvmi_exit_event(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	/* Armed until a moment ago, and nobody wants it any more. */
	if (unlikely(ex->mode == KVMI_MODE_OFF))
		return kvmi_exit_act(kv, ex);

	/* Nobody waits, and nothing is read that the bookkeeping brings. */
	if (ex->mode == KVMI_MODE_SYNC || ex->kind == KVMI_EVENT_X86_CR ||
	    (ex->regs & KVMI_REGS_CONTROL))
		kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_EXIT_HANDLED);
	return kvmi_event_raise(kv, ex);
}

static __always_inline int kvmi_exit_l1(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	/* No event is open: the vCPU was in the guest. */
	struct kvmi_exit *ex = &kv->open.exit;
	struct kvm_vcpu *vcpu = kv->vcpu;
	int ret;

	if (unlikely(kvmi_step_active(kv))) {
		bool trapped = kvmi_ops->is_step(kv);

		if (kvmi_step_over(kv, trapped) && trapped) {
			fastpath = EXIT_FASTPATH_EXIT_HANDLED;
			ret = kvm_orig(handle_exit)(vcpu, fastpath);
			if (ret > 0 && kv->step.owed)
				ret = kvmi_step_post(kv);
			return ret;
		}
	}

	if (fastpath == EXIT_FASTPATH_NONE && kvmi_hot(decode)(kv, ex)) {
		ret = kvmi_exit_event(kv, ex);
	} else if (kv->view && kvmi_hot(fault)(kv, &ex->payload.access)) {
		ret = kvmi_view_fault(kv, fastpath, ex);
	} else {
		/* Of ours, a nested guest must inherit nothing. */
		if (unlikely(kv->armed.bits) && kvmi_ops->nested_entry(kv))
			kvmi_ops->disarm(kv);
		ret = kvm_orig(handle_exit)(vcpu, fastpath);
	}

	/* Never wait when KVM is on its way to userspace: it has I/O pending. */
	if (unlikely(kvmi_step_active(kv)) && ret > 0)
		kvmi_step_over(kv, false);
	if (unlikely(kv->step.owed) && ret > 0)
		ret = kvmi_step_post(kv);
	return ret;
}

static int kvmi_exit(struct kvmi_vcpu *kv, fastpath_t fastpath)
{
	int ret;

	if (kv->armed.bits & KVMI_WANT_STEP)
		kvmi_hot(exit_begin)(kv);
	if (unlikely(kv->deferred.valid))
		kvmi_undefer(kv);

	if (unlikely(!kvmi_in_l1(kv->vcpu)))
		return kvm_orig(handle_exit)(kv->vcpu, fastpath);
	if (unlikely(kv->inject.mask))
		kvmi_inject_exit(kv);

	ret = kvmi_exit_l1(kv, fastpath);
	if (unlikely(kv->inject.mask) && !kv->open.id)
		kvmi_inject_hand(kv, ret > 0);
	return ret;
}

static noinline int kvmi_handle_exit_watched(struct kvm_vcpu *vcpu,
					     fastpath_t fastpath)
{
	struct kvmi_vcpu *kv;
	int ret;

	/*
	 * As in kvmi_vcpu_enter(), but for those that nothing is wanted of;
	 * with preemption off for RCU, which takes two instructions.
	 */
	preempt_disable();
	kv = kvmi_vcpu_find(vcpu);
	if (!kv || !kvmi_vcpu_busy(kv)) {
		preempt_enable();
		return kvm_orig(handle_exit)(vcpu, fastpath);
	}
	WRITE_ONCE(kv->inflight, kv->inflight + 1);
	preempt_enable();

	ret = kvmi_exit(kv, fastpath);
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
		return kvmi_handle_exit_watched(vcpu, fastpath);
	return kvm_orig(handle_exit)(vcpu, fastpath);
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

	ret = kvmi_event_resume(kv);
	if (ret <= 0)
		return ret;

	/* The VMM has completed an instruction that was stepped. */
	if (kvmi_step_active(kv))
		kvmi_step_over(kv, false);
	if (kv->step.owed)
		ret = kvmi_step_post(kv);
	if (kv->inject.mask && !kv->open.id)
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
	ex->mode = READ_ONCE(kv->mode[KVMI_EVENT_X86_CPUID]);
	ex->regs = kv->regs[KVMI_EVENT_X86_CPUID];
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
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
	struct kvmi_msr *msr;
	u32 index;

	if (!kv->nr_msrs)
		return false;
	index = kvmi_reg_read(vcpu, VCPU_REGS_RCX);
	msr = kvmi_msr_find(kv, index);
	if (!msr || !READ_ONCE(msr->mode[write]))
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
	ex->mode = READ_ONCE(msr->mode[write]);
	ex->regs = READ_ONCE(msr->regs[write]);
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = write ? KVMI_VALUE_EDX_EAX : KVMI_VALUE_TO_EDX_EAX;
	ex->size = sizeof(*ev);
	return true;
}

/**
 * kvmi_exit_breakpoint - describe a software breakpoint
 * @kv: the vCPU
 * @ex: filled
 * @insn_len: length of the instruction
 */
void kvmi_exit_breakpoint(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
			  u32 insn_len)
{
	struct kvmi_ev_breakpoint *ev = &ex->payload.breakpoint;

	ev->pc = kvmi_regs_rip(kv->vcpu);
	ev->insn_len = insn_len;
	ev->pad = 0;

	ex->kind = KVMI_EVENT_BREAKPOINT;
	ex->mode = READ_ONCE(kv->mode[KVMI_EVENT_BREAKPOINT]);
	ex->regs = kv->regs[KVMI_EVENT_BREAKPOINT];
	/* KVM would send it to the VMM, whether that debugs or not. */
	ex->cont = KVMI_CONT_VENDOR;
	ex->skip = true;
	ex->value = KVMI_VALUE_NONE;
	ex->size = sizeof(*ev);
}
