// SPDX-License-Identifier: GPL-2.0-only
/*
 * Injection: exceptions, interrupts and NMIs that a tool has the guest take.
 *
 * The CPU delivers one event per entry, and KVM has one slot for what it is about
 * to deliver: an exception that is queued while an interrupt is on its way has
 * KVM forget the interrupt. So there is one owner of what comes from here, the
 * vCPU's thread, and it hands KVM an exception only when nothing else is under
 * way. An interrupt goes to the LAPIC where KVM has one, an NMI to KVM's counter
 * of them: there they are in nobody's way.
 *
 *   QUEUED --kvmi_inject_hand()--> HANDED --entry, exit--> DELIVERED
 *
 * Only touched on the vCPU's thread, or with vcpu->mutex held.
 */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>
#include <asm/debugreg.h>

#include "../hook.h"

/* Those that a guest can meet anywhere, and that the CPU lets be injected. */
#define INJECT_ERROR_CODES	(BIT(DF_VECTOR) | BIT(TS_VECTOR) | BIT(NP_VECTOR) | \
				 BIT(SS_VECTOR) | BIT(GP_VECTOR) | BIT(PF_VECTOR) | \
				 BIT(AC_VECTOR))
#define INJECT_EXCEPTIONS	(INJECT_ERROR_CODES | BIT(DE_VECTOR) | BIT(DB_VECTOR) | \
				 BIT(BP_VECTOR) | BIT(BR_VECTOR) | BIT(UD_VECTOR) | \
				 BIT(NM_VECTOR) | BIT(MF_VECTOR) | BIT(MC_VECTOR) | \
				 BIT(XM_VECTOR))
/*
 * #OF belongs to INTO, which 64-bit code has not; what comes behind #XM (19) not
 * every CPU has.
 */
#define INJECT_UNSUPPORTED	(BIT(OF_VECTOR) | BIT(20) | BIT(21) | BIT(28) | \
				 BIT(29) | BIT(30))
#define INJECT_DR6		(DR_TRAP_BITS | DR_STEP | DR_SWITCH | BIT(13))
/* Bits 31 to 15 must be 0: SDM volume 3, "Checks on VM-Entry Control Fields". */
#define INJECT_MAX_ERROR	0x7fff
/* The LAPIC takes no vectors below. */
#define INJECT_MIN_INTERRUPT	16

/**
 * kvmi_inject_check - can this be injected at all?
 * @what: of the tool
 *
 * Return: 0, -EINVAL for what no CPU delivers, -EOPNOTSUPP.
 */
int kvmi_inject_check(const struct kvmi_x86_injection *what)
{
	u32 bit;

	if (what->flags & ~KVMI_X86_INJECT_NOW)
		return -EINVAL;

	switch (what->type) {
	case KVMI_X86_INJECT_EXCEPTION:
		if (what->vector > 31)
			return -EINVAL;
		bit = BIT(what->vector);
		if (bit & INJECT_UNSUPPORTED)
			return -EOPNOTSUPP;
		if (!(bit & INJECT_EXCEPTIONS))
			return -EINVAL;
		if (what->error > (bit & INJECT_ERROR_CODES ?
				   INJECT_MAX_ERROR : 0))
			return -EINVAL;
		if (what->vector == DB_VECTOR)
			return what->payload & ~(u64)INJECT_DR6 ? -EINVAL : 0;
		if (what->vector == PF_VECTOR)
			return 0;
		break;
	case KVMI_X86_INJECT_INTERRUPT:
		if (what->vector < INJECT_MIN_INTERRUPT || what->vector > 255)
			return -EINVAL;
		if (what->error)
			return -EINVAL;
		break;
	case KVMI_X86_INJECT_NMI:
		if (what->vector || what->error)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return what->payload ? -EINVAL : 0;
}

/* What KVM is about to deliver, or had better deliver, before. */
static u32 kvmi_inject_busy(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	u32 busy = 0;

	if (arch->exception.pending || arch->exception.injected)
		busy |= KVMI_X86_BEFORE_EXCEPTION;
	if (arch->interrupt.injected || kv->busy.deferred)
		busy |= KVMI_X86_BEFORE_INTERRUPT;
	if (arch->nmi_injected)
		busy |= KVMI_X86_BEFORE_NMI;
	/* A nested guest, SMM, or a processor that has not been started. */
	if (!kvmi_in_l1(kv->vcpu) ||
	    (arch->mp_state != KVM_MP_STATE_RUNNABLE &&
	     arch->mp_state != KVM_MP_STATE_HALTED))
		busy |= KVMI_X86_BEFORE_OTHER;
	return busy;
}

static bool kvmi_inject_masked(struct kvmi_vcpu *kv, u32 type)
{
	/* A debugger in the VMM wants neither. */
	if ((type == KVMI_X86_INJECT_INTERRUPT || type == KVMI_X86_INJECT_NMI) &&
	    (kv->vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		return true;
	if (type == KVMI_X86_INJECT_INTERRUPT)
		return kvm_orig(interrupt_allowed)(kv->vcpu, false) <= 0;
	if (type == KVMI_X86_INJECT_NMI)
		return kvm_orig(nmi_allowed)(kv->vcpu, false) <= 0;
	return false;
}

/**
 * kvmi_inject_can - would kvmi_inject_queue() take it?
 * @kv: the vCPU, loaded; called on its thread, or with vcpu->mutex held
 * @what: after kvmi_inject_check()
 *
 * Return: 0; -EAGAIN: there is one of this type on its way already, or with
 * KVMI_X86_INJECT_NOW something is in its way.
 */
int kvmi_inject_can(struct kvmi_vcpu *kv, const struct kvmi_x86_injection *what)
{
	if (kv->inject[what->type].state != KVMI_INJECT_NONE)
		return -EAGAIN;
	if ((what->flags & KVMI_X86_INJECT_NOW) &&
	    (kvmi_inject_busy(kv) || kvmi_inject_masked(kv, what->type)))
		return -EAGAIN;
	return 0;
}

/**
 * kvmi_inject_queue - have a vCPU take an exception, interrupt or NMI
 * @kv: the vCPU, loaded; called on its thread, or with vcpu->mutex held
 * @what: after kvmi_inject_check()
 * @id: set to what the record of its delivery is to name
 *
 * Return: 0, or as kvmi_inject_can().
 */
int kvmi_inject_queue(struct kvmi_vcpu *kv,
		      const struct kvmi_x86_injection *what, u64 *id)
{
	struct kvmi_injection *slot = &kv->inject[what->type];

	int ret = kvmi_inject_can(kv, what);

	if (ret)
		return ret;
	memset(slot, 0, sizeof(*slot));
	slot->what = *what;
	slot->id = (++kv->next_id << 16) | (kv->index & 0xffff);
	slot->state = KVMI_INJECT_QUEUED;
	WRITE_ONCE(kv->busy.inject, kv->busy.inject | BIT(what->type));
	*id = slot->id;
	return 0;
}

/*
 * #BP is a trap of INT3: what the guest is to return to is behind that. The CPU has
 * to be told how long it is (VMX), or where the next instruction is, for which KVM
 * looks at this one, and injects nothing if it is none (SVM).
 */
static bool kvmi_inject_at_int3(struct kvmi_vcpu *kv)
{
	struct kvm *kvm = kv->vcpu->kvm;
	bool at;
	int idx;

	/* Held by an exit, and not by a work. */
	idx = srcu_read_lock(&kvm->srcu);
	at = kvmi_insn_is_int3(kv);
	srcu_read_unlock(&kvm->srcu, idx);
	return at;
}

static void kvmi_inject_excp(struct kvmi_vcpu *kv, struct kvmi_injection *slot)
{
	const struct kvmi_x86_injection *what = &slot->what;
	struct kvm_vcpu *vcpu = kv->vcpu;

	slot->before |= kvmi_inject_busy(kv);
	if (kvmi_inject_busy(kv))
		return;
	if (what->vector == BP_VECTOR) {
		if (!kvmi_inject_at_int3(kv)) {
			slot->state = KVMI_INJECT_LOST;
			return;
		}
		slot->pc = kvmi_regs_rip(vcpu);
		vcpu->arch.event_exit_inst_len = 1;
	}
	if (what->vector == PF_VECTOR)
		vcpu->arch.cr2 = what->payload;
	if (what->vector == DB_VECTOR)
		kvm_call(kvm_queue_exception_p)(vcpu, DB_VECTOR, what->payload);
	else if (BIT(what->vector) & INJECT_ERROR_CODES)
		kvm_call(kvm_queue_exception_e)(vcpu, what->vector,
						what->error);
	else
		kvm_call(kvm_queue_exception)(vcpu, what->vector);
	slot->state = KVMI_INJECT_HANDED;
}

static void kvmi_inject_interrupt(struct kvmi_vcpu *kv,
				  struct kvmi_injection *slot)
{
	struct kvm_lapic_irq irq = {
		.vector = slot->what.vector,
		.delivery_mode = APIC_DM_FIXED,
		.level = true,
	};
	struct kvm_vcpu *vcpu = kv->vcpu;
	u32 busy = kvmi_inject_busy(kv);

	/* The LAPIC delivers it by priority, and the guest ends it there. */
	if (vcpu->arch.apic) {
		if (busy & KVMI_X86_BEFORE_OTHER)
			slot->before |= KVMI_X86_BEFORE_OTHER;
		else if (kvm_call(kvm_apic_set_irq)(vcpu, &irq, NULL) > 0)
			slot->state = KVMI_INJECT_HANDED;
		else
			/* It is switched off. */
			slot->state = KVMI_INJECT_LOST;
		return;
	}

	/* The VMM's own LAPIC would do as it does: wait, and use the slot. */
	if (kvmi_inject_masked(kv, KVMI_X86_INJECT_INTERRUPT))
		busy |= KVMI_X86_BEFORE_MASKED;
	slot->before |= busy;
	/* What the VMM masks it lets through outside of KVM_RUN: no exit then. */
	if (busy == KVMI_X86_BEFORE_MASKED &&
	    !(vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		kvm_orig(enable_irq_window)(vcpu);
	if (busy)
		return;
	vcpu->arch.interrupt.injected = true;
	vcpu->arch.interrupt.soft = false;
	vcpu->arch.interrupt.nr = slot->what.vector;
	kvm_make_request(KVM_REQ_EVENT, vcpu);
	slot->state = KVMI_INJECT_HANDED;
}

static bool kvmi_inject_nmi_pending(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	return atomic_read(&arch->nmi_queued) || arch->nmi_pending ||
	       arch->nmi_injected || kvmi_ops->nmi_latched(kv);
}

static void kvmi_inject_nmi(struct kvmi_vcpu *kv, struct kvmi_injection *slot)
{
	if (kvmi_inject_busy(kv) & KVMI_X86_BEFORE_OTHER) {
		slot->before |= KVMI_X86_BEFORE_OTHER;
		return;
	}
	/* KVM would keep two at most: ours waits for the guest's own. */
	if (kvmi_inject_nmi_pending(kv)) {
		slot->before |= KVMI_X86_BEFORE_NMI;
		return;
	}
	kvm_call(kvm_inject_nmi)(kv->vcpu);
	slot->state = KVMI_INJECT_HANDED;
}

static void kvmi_inject_post(struct kvmi_vcpu *kv, struct kvmi_injection *slot)
{
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_INJECTED,
		.cont = KVMI_CONT_NOTHING,
		.size = sizeof(ex.payload.injected),
		.payload.injected = {
			.injection = slot->id,
			.pc = slot->pc,
			.type = slot->what.type,
			.vector = slot->what.vector,
			.error = slot->what.error,
			.status = slot->state == KVMI_INJECT_LOST ?
				  KVMI_X86_INJECTED_LOST :
				  KVMI_X86_INJECTED_DELIVERED,
			.before = slot->before,
		},
	};

	kvmi_event_tell(kv, &ex);
}

/**
 * kvmi_inject_hand - give KVM what can be given now, and tell what was delivered
 * @kv: the vCPU between two instructions, no event open; called on its thread
 * @hand: false: it leaves for the VMM, and an instruction may be half done
 */
void kvmi_inject_hand(struct kvmi_vcpu *kv, bool hand)
{
	struct kvmi_injection *slot;
	u32 type;

	for (type = 1; type < KVMI_NR_INJECT; type++) {
		slot = &kv->inject[type];
		if (slot->state == KVMI_INJECT_QUEUED && hand) {
			if (type == KVMI_X86_INJECT_EXCEPTION)
				kvmi_inject_excp(kv, slot);
			else if (type == KVMI_X86_INJECT_INTERRUPT)
				kvmi_inject_interrupt(kv, slot);
			else
				kvmi_inject_nmi(kv, slot);
		}
		if (slot->state < KVMI_INJECT_DELIVERED)
			continue;
		kvmi_inject_post(kv, slot);
		slot->state = KVMI_INJECT_NONE;
		WRITE_ONCE(kv->busy.inject, kv->busy.inject & ~BIT(type));
	}
}

/* Is ours what KVM has in the slot: about to be delivered, or not quite yet? */
static bool kvmi_inject_in_slot(struct kvmi_vcpu *kv,
				const struct kvmi_injection *slot)
{
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	switch (slot->what.type) {
	case KVMI_X86_INJECT_EXCEPTION:
		return arch->exception.injected &&
		       arch->exception.vector == slot->what.vector;
	case KVMI_X86_INJECT_INTERRUPT:
		return arch->interrupt.injected && !arch->interrupt.soft &&
		       arch->interrupt.nr == slot->what.vector;
	default:
		return arch->nmi_injected;
	}
}

static bool kvmi_inject_is_bp(const struct kvmi_injection *slot)
{
	return slot->what.type == KVMI_X86_INJECT_EXCEPTION &&
	       slot->what.vector == BP_VECTOR;
}

/*
 * Is it what the coming entry delivers? KVM's slot does not always tell of #BP: on
 * SVM, KVM decodes the INT3 to find its end, which empties the slot. That goes
 * unnoticed but where KVM delivers it for the second time, as the first entry was
 * called off.
 */
static bool kvmi_inject_enters(struct kvmi_vcpu *kv,
			       const struct kvmi_injection *slot)
{
	struct kvmi_x86_ev_delivery ev;

	return kvmi_inject_in_slot(kv, slot) ||
	       (kvmi_inject_is_bp(slot) && kvmi_ops->delivering(kv, &ev) &&
		(ev.type == KVMI_X86_DELIVERY_EXCEPTION ||
		 ev.type == KVMI_X86_DELIVERY_SOFT) &&
		ev.vector == BP_VECTOR);
}

/*
 * Where the delivery of #BP comes to nothing (an entry that is called off, a page
 * that is missing) KVM forgets it on SVM, and has the guest execute the INT3 once
 * more, which would be an event. It is the same one: then hand it over again.
 */
static bool kvmi_inject_again(struct kvmi_vcpu *kv, struct kvmi_injection *slot)
{
	if (!kvmi_inject_is_bp(slot) || kvmi_regs_rip(kv->vcpu) != slot->pc)
		return false;
	slot->state = KVMI_INJECT_QUEUED;
	slot->entered = false;
	return true;
}

/* Where hardware delivers from there, nothing else tells. */
static bool kvmi_inject_in_lapic(struct kvmi_vcpu *kv, u32 vector)
{
	struct kvm_lapic_state state;
	u32 irr;

	kvm_orig(sync_pir_to_irr)(kv->vcpu);
	if (kvm_call(kvm_apic_get_state)(kv->vcpu, &state))
		return true;
	memcpy(&irr, &state.regs[APIC_IRR + vector / 32 * 0x10], sizeof(irr));
	return irr & BIT(vector % 32);
}

/**
 * kvmi_inject_entry - an entry that may deliver what was injected
 * @kv: the vCPU, interrupts off
 *
 * Return: true if the guest is to be left right after the delivery, so that it is
 * known.
 */
bool kvmi_inject_entry(struct kvmi_vcpu *kv)
{
	struct kvmi_injection *slot;
	bool leave = false;
	u32 type;

	for (type = 1; type < KVMI_NR_INJECT; type++) {
		slot = &kv->inject[type];
		/* Waits for what is being delivered now: it is next. */
		if (slot->state == KVMI_INJECT_QUEUED && kvmi_inject_busy(kv))
			leave = true;
		if (slot->state != KVMI_INJECT_HANDED)
			continue;
		if (kvmi_inject_enters(kv, slot)) {
			slot->entered = true;
			/* Of #BP it is known, and here KVM may have moved on. */
			if (!kvmi_inject_is_bp(slot))
				slot->pc = kvmi_regs_rip(kv->vcpu);
			leave = true;
		} else if (type == KVMI_X86_INJECT_EXCEPTION && !slot->entered) {
			/* The VMM has set other events: reset it, say. */
			if (!kvmi_inject_again(kv, slot))
				slot->state = KVMI_INJECT_LOST;
			leave = true;
		}
	}
	return leave;
}

/**
 * kvmi_inject_exit - was it delivered?
 * @kv: the vCPU; called on its thread after an exit
 */
void kvmi_inject_exit(struct kvmi_vcpu *kv)
{
	struct kvmi_injection *slot;
	bool delivered;
	u32 type;

	for (type = 1; type < KVMI_NR_INJECT; type++) {
		slot = &kv->inject[type];
		/* What faulted on the way is in the slot again. */
		if (slot->state != KVMI_INJECT_HANDED ||
		    kvmi_inject_in_slot(kv, slot))
			continue;
		if (slot->entered && kvmi_inject_again(kv, slot))
			continue;
		delivered = slot->entered;
		if (!delivered && type == KVMI_X86_INJECT_INTERRUPT &&
		    kv->vcpu->arch.apic)
			delivered = !kvmi_inject_in_lapic(kv, slot->what.vector);
		if (!delivered && type == KVMI_X86_INJECT_NMI)
			delivered = !kvmi_inject_nmi_pending(kv);
		if (delivered)
			slot->state = KVMI_INJECT_DELIVERED;
	}
}

/**
 * kvmi_inject_drop - forget what KVM has not got yet
 * @kv: the vCPU, loaded; called on its thread, or with vcpu->mutex held
 */
void kvmi_inject_drop(struct kvmi_vcpu *kv)
{
	memset(kv->inject, 0, sizeof(kv->inject));
	WRITE_ONCE(kv->busy.inject, 0);
}

/* ---- the ioctl -------------------------------------------------------------- */

static int kvmi_inject_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	struct kvmi_inject *args = arg;

	return kvmi_inject_queue(kv, &args->what, &args->out_injection);
}

/**
 * kvmi_inject - KVMI_INJECT
 * @vm: vm->sem held for reading
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -EAGAIN, -EINTR, -ENOMEM.
 */
int kvmi_inject(struct kvmi_vm *vm, struct kvmi_inject *args)
{
	struct kvmi_vcpu *kv;
	int ret;

	if (args->flags || args->pad)
		return -EINVAL;
	ret = kvmi_inject_check(&args->what);
	if (ret)
		return ret;
	kv = xa_load(&vm->vcpus, args->vcpu);
	if (!kv)
		return -ENOENT;
	return kvmi_vcpu_run_job(kv, kvmi_inject_job, args);
}
