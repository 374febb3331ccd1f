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
				 BIT(BR_VECTOR) | BIT(UD_VECTOR) | BIT(NM_VECTOR) | \
				 BIT(MF_VECTOR) | BIT(MC_VECTOR) | BIT(XM_VECTOR))
/*
 * #BP and #OF belong to an instruction, whose length the CPU wants to know; what
 * comes behind #XM (19) not every CPU has.
 */
#define INJECT_UNSUPPORTED	(BIT(BP_VECTOR) | BIT(OF_VECTOR) | BIT(20) | BIT(21) | \
				 BIT(28) | BIT(29) | BIT(30))
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
	if (arch->interrupt.injected || kv->deferred.valid)
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
	if (kv->inject.slot[what->type].state != KVMI_INJECT_NONE)
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
	struct kvmi_injection *slot = &kv->inject.slot[what->type];

	int ret = kvmi_inject_can(kv, what);

	if (ret)
		return ret;
	memset(slot, 0, sizeof(*slot));
	slot->what = *what;
	slot->id = (++kv->next_id << 16) | (kv->index & 0xffff);
	slot->state = KVMI_INJECT_QUEUED;
	WRITE_ONCE(kv->inject.mask, kv->inject.mask | BIT(what->type));
	*id = slot->id;
	return 0;
}

static void kvmi_inject_exception(struct kvmi_vcpu *kv,
				  struct kvmi_injection *slot)
{
	const struct kvmi_x86_injection *what = &slot->what;
	struct kvm_vcpu *vcpu = kv->vcpu;

	slot->before |= kvmi_inject_busy(kv);
	if (kvmi_inject_busy(kv))
		return;
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
	if (busy == KVMI_X86_BEFORE_MASKED)
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
		.mode = KVMI_MODE_ASYNC,
		.regs = kv->regs[KVMI_EVENT_INJECTED],
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

	if (READ_ONCE(kv->mode[KVMI_EVENT_INJECTED]))
		kvmi_event_raise(kv, &ex);
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
		slot = &kv->inject.slot[type];
		if (slot->state == KVMI_INJECT_QUEUED && hand) {
			if (type == KVMI_X86_INJECT_EXCEPTION)
				kvmi_inject_exception(kv, slot);
			else if (type == KVMI_X86_INJECT_INTERRUPT)
				kvmi_inject_interrupt(kv, slot);
			else
				kvmi_inject_nmi(kv, slot);
		}
		if (slot->state < KVMI_INJECT_DELIVERED)
			continue;
		kvmi_inject_post(kv, slot);
		slot->state = KVMI_INJECT_NONE;
		WRITE_ONCE(kv->inject.mask, kv->inject.mask & ~BIT(type));
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
		slot = &kv->inject.slot[type];
		/* Waits for what is being delivered now: it is next. */
		if (slot->state == KVMI_INJECT_QUEUED && kvmi_inject_busy(kv))
			leave = true;
		if (slot->state != KVMI_INJECT_HANDED)
			continue;
		if (kvmi_inject_in_slot(kv, slot)) {
			slot->entered = true;
			slot->pc = kvmi_regs_rip(kv->vcpu);
			leave = true;
		} else if (type == KVMI_X86_INJECT_EXCEPTION && !slot->entered) {
			/* The VMM has set other events: reset it, say. */
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
		slot = &kv->inject.slot[type];
		/* What faulted on the way is in the slot again. */
		if (slot->state != KVMI_INJECT_HANDED ||
		    kvmi_inject_in_slot(kv, slot))
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
	memset(&kv->inject, 0, sizeof(kv->inject));
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
