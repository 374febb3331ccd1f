// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back end for AMD: SVM.
 *
 * Intercepts live in the VMCB, where KVM changes them bit by bit and never
 * rewrites what it did not change: a bit that kvmi has added is remembered as
 * such, checked at each entry, and taken out again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <asm/debugreg.h>
#include <asm/svm.h>

#include "../hook.h"

/* Clean bits of the VMCB: APM volume 2, "VMCB State Caching". */
#define VMCB_CLEAN_INTERCEPTS	BIT(0)
#define VMCB_CLEAN_PERM_MAP	BIT(1)

#define VMCB_V_NMI_PENDING	BIT(11)

#define NPF_PRESENT		BIT_ULL(0)
#define NPF_WRITE		BIT_ULL(1)
#define NPF_FETCH		BIT_ULL(4)
#define NPF_GUEST_WALK		BIT_ULL(33)

#define CR_VALID		BIT_ULL(63)

/*
 * Intercepted during a step, as their delivery would push the step's TF on the
 * guest's stack: all but NMI, #MC and those that do not exist. KVM intercepts
 * #DB in any case, but has not promised to.
 */
#define STEP_ERROR_CODES	(BIT(DF_VECTOR) | BIT(TS_VECTOR) | BIT(NP_VECTOR) | \
				 BIT(SS_VECTOR) | BIT(GP_VECTOR) | BIT(PF_VECTOR) | \
				 BIT(AC_VECTOR) | BIT(21))
#define STEP_EXCEPTIONS		(STEP_ERROR_CODES | BIT(DE_VECTOR) | BIT(DB_VECTOR) | \
				 BIT(BP_VECTOR) | BIT(OF_VECTOR) | BIT(BR_VECTOR) | \
				 BIT(UD_VECTOR) | BIT(NM_VECTOR) | BIT(MF_VECTOR) | \
				 BIT(XM_VECTOR))

/* MSRPM: APM volume 2, "MSR Intercepts": two bits per MSR, read and write. */
#define MSRPM_RANGE_SIZE	2048

/*
 * struct vcpu_svm is private to KVM; it begins with the vCPU, then the VMCB in
 * use, then the one of L1. kvmi_svm_check() sees to it that this is so.
 */
struct kvmi_vcpu_svm {
	struct kvm_vcpu vcpu;
	struct vmcb *vmcb;
	struct vmcb *vmcb01;
};

static struct vmcb *kvmi_vmcb(struct kvmi_vcpu *kv)
{
	return container_of(kv->vcpu, struct kvmi_vcpu_svm, vcpu)->vmcb;
}

static struct vmcb *kvmi_vmcb01(struct kvmi_vcpu *kv)
{
	return container_of(kv->vcpu, struct kvmi_vcpu_svm, vcpu)->vmcb01;
}

static u32 kvmi_svm_access(void)
{
	/* Present means readable; nothing can be written only. */
	return BIT(0) | BIT(KVMI_ACCESS_R) |
	       BIT(KVMI_ACCESS_R | KVMI_ACCESS_W) |
	       BIT(KVMI_ACCESS_R | KVMI_ACCESS_X) | BIT(KVMI_ACCESS_RWX);
}

/*
 * QEMU's emulation of SVM treats INT3 as INT n: it heeds the intercept of software
 * interrupts and not that of #BP. There, and only there, kvmi asks for both.
 */
static bool kvmi_svm_int3_is_swint;

static int kvmi_svm_probe(void)
{
	u32 eax, sig[3];

	kvmi_svm_int3_is_swint = false;
	if (boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		cpuid(0x40000000, &eax, &sig[0], &sig[1], &sig[2]);
		kvmi_svm_int3_is_swint = !memcmp(sig, "TCGTCGTCGTCG", 12);
	}
	return 0;
}

/*
 * Is the VMCB where it is thought to be? Its exit code must be what KVM says the
 * last exit was, its NPT on. And is its guest one that can be looked into?
 */
static int kvmi_svm_check(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu_svm *svm = container_of(vcpu, struct kvmi_vcpu_svm,
						 vcpu);
	u32 reason, intr, err;
	u64 info1, info2;

	if (!virt_addr_valid(svm->vmcb) || !PAGE_ALIGNED(svm->vmcb) ||
	    !virt_addr_valid(svm->vmcb01) || !PAGE_ALIGNED(svm->vmcb01))
		goto unknown;
	kvm_orig(get_exit_info)(vcpu, &reason, &info1, &info2, &intr, &err);
	if (lower_32_bits(svm->vmcb->control.exit_code) != reason ||
	    svm->vmcb->control.exit_info_1 != info1 ||
	    svm->vmcb->control.exit_info_2 != info2 ||
	    !(svm->vmcb01->control.nested_ctl & SVM_NESTED_CTL_NP_ENABLE) ||
	    !svm->vmcb01->control.msrpm_base_pa)
		goto unknown;
	if (svm->vmcb01->control.nested_ctl & SVM_NESTED_CTL_SEV_ENABLE) {
		pr_info("the VM is confidential\n");
		return -EOPNOTSUPP;
	}
	return 0;

unknown:
	pr_err("KVM's struct vcpu_svm is not as it was: this kernel is not supported\n");
	return -EOPNOTSUPP;
}

/* ---- intercepts ------------------------------------------------------------------ */

/* Set @want of the bits @all, or take those out again that are ours. */
static void kvmi_svm_intercept(struct vmcb *vmcb, int word, u32 *ours, u32 all,
			       u32 want)
{
	u32 old = vmcb->control.intercepts[word];
	u32 new;

	*ours |= want & ~old;
	new = (old | want) & ~(*ours & all & ~want);
	*ours &= want;
	if (new != old) {
		vmcb->control.intercepts[word] = new;
		vmcb->control.clean &= ~VMCB_CLEAN_INTERCEPTS;
	}
}

/* Bit number of the read intercept, or -1: such an MSR always exits. */
static int kvmi_svm_msr_bit(u32 index)
{
	u32 base = 0;

	if (index >= 0xc0010000) {
		index -= 0xc0010000;
		base = 2 * MSRPM_RANGE_SIZE;
	} else if (index >= 0xc0000000) {
		index -= 0xc0000000;
		base = MSRPM_RANGE_SIZE;
	}
	return index < 0x2000 ? base * 8 + index * 2 : -1;
}

static void kvmi_svm_msrs(struct kvmi_vcpu *kv, struct vmcb *vmcb, bool on)
{
	unsigned long *map = __va(__sme_clr(vmcb->control.msrpm_base_pa));
	bool changed = false;
	u32 i, w;

	/* Pairs with the release in kvmi_event_set_msr(). */
	for (i = 0; i < smp_load_acquire(&kv->nr_msrs); i++) {
		struct kvmi_msr *msr = &kv->msrs[i];
		int bit = kvmi_svm_msr_bit(msr->index);

		if (bit < 0)
			continue;
		for (w = 0; w < 2; w++) {
			bool want = on && READ_ONCE(msr->mode[w]);

			if (want && !test_bit(bit + w, map)) {
				__set_bit(bit + w, map);
				msr->added[w] = 1;
				changed = true;
			} else if (!want && msr->added[w]) {
				__clear_bit(bit + w, map);
				msr->added[w] = 0;
				changed = true;
			}
		}
	}
	if (changed)
		vmcb->control.clean &= ~VMCB_CLEAN_PERM_MAP;
}

static void kvmi_svm_apply(struct kvmi_vcpu *kv, struct vmcb *vmcb, u32 want)
{
	struct kvmi_armed *armed = &kv->armed;
	u32 cr = 0, excp = 0, word3 = 0;

	if (want & KVMI_WANT_CR3)
		cr |= BIT(INTERCEPT_CR3_WRITE);
	if (want & KVMI_WANT_CR4)
		cr |= BIT(INTERCEPT_CR4_WRITE);
	if (want & KVMI_WANT_BP)
		excp |= BIT(BP_VECTOR);
	if ((want & KVMI_WANT_BP) && kvmi_svm_int3_is_swint)
		word3 |= BIT(INTERCEPT_INTn & 31);
	if (want & KVMI_WANT_STEP)
		excp |= STEP_EXCEPTIONS;

	kvmi_svm_intercept(vmcb, INTERCEPT_CR, &armed->svm.cr,
			   BIT(INTERCEPT_CR3_WRITE) | BIT(INTERCEPT_CR4_WRITE),
			   cr);
	kvmi_svm_intercept(vmcb, INTERCEPT_EXCEPTION, &armed->svm.excp,
			   BIT(BP_VECTOR) | STEP_EXCEPTIONS, excp);
	kvmi_svm_intercept(vmcb, INTERCEPT_WORD3, &armed->svm.word3,
			   BIT(INTERCEPT_INTn & 31), word3);
	if ((want | armed->bits) & KVMI_WANT_MSR)
		kvmi_svm_msrs(kv, vmcb, want & KVMI_WANT_MSR);
	armed->bits = want;
}

static bool kvmi_svm_injecting(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.event_inj & SVM_EVTINJ_VALID;
}

/* Virtual NMI (vNMI): APM volume 2, "NMI Virtualization". Else the bit is 0. */
static bool kvmi_svm_nmi_latched(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.int_ctl & VMCB_V_NMI_PENDING;
}

static void kvmi_svm_arm(struct kvmi_vcpu *kv, u32 want)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);

	kvmi_svm_apply(kv, vmcb, want);

	/*
	 * TF must not be pushed on the guest's stack with an event that is
	 * being injected; and one that is set is the guest's own. The CPU
	 * clears the valid bit at an exit, and may leave the others.
	 */
	if ((want & KVMI_WANT_STEP) && !kvmi_svm_injecting(kv) &&
	    !(vmcb->save.rflags & X86_EFLAGS_TF)) {
		vmcb->save.rflags |= X86_EFLAGS_TF;
		kv->armed.svm.tf = true;
		kv->armed.svm.dr6_bs = kv->vcpu->arch.dr6 & DR_STEP;
	}
}

static void kvmi_svm_disarm(struct kvmi_vcpu *kv)
{
	bool msrs = kv->armed.bits & KVMI_WANT_MSR;

	if (!kv->armed.bits)
		return;
	kvmi_svm_apply(kv, kvmi_vmcb01(kv), 0);
	/* Should KVM have wanted one of those meanwhile, it says so again. */
	if (msrs)
		kvm_make_request(KVM_REQ_MSR_FILTER_CHANGED, kv->vcpu);
}

static u32 kvmi_svm_control(struct kvmi_vcpu *kv, void *buf, u32 size)
{
	memcpy(buf, kvmi_vmcb(kv), min_t(u32, size, PAGE_SIZE));
	return PAGE_SIZE;
}

/* ---- exits --------------------------------------------------------------------------- */

/* Before anything of KVM sees RFLAGS: it would inject a #DB when it skips. */
static void kvmi_svm_exit_begin(struct kvmi_vcpu *kv)
{
	kv->armed.svm.tf_exit = kv->armed.svm.tf;
	if (likely(!kv->armed.svm.tf))
		return;
	kv->armed.svm.tf = false;
	kvmi_vmcb(kv)->save.rflags &= ~X86_EFLAGS_TF;
}

static bool kvmi_svm_is_step(struct kvmi_vcpu *kv)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);

	if (vmcb->control.exit_code != SVM_EXIT_EXCP_BASE + DB_VECTOR ||
	    !(vmcb->save.dr6 & DR_STEP))
		return false;
	/* By the guest's own TF: the instruction is done, the #DB is its. */
	if (!kv->armed.svm.tf_exit)
		return false;

	/* The guest must not find the step in its DR6. */
	if (!kv->armed.svm.dr6_bs) {
		vmcb->save.dr6 &= ~(u64)DR_STEP;
		kv->vcpu->arch.dr6 &= ~(unsigned long)DR_STEP;
	}
	return true;
}

static u32 kvmi_svm_insn_len(struct vmcb *vmcb)
{
	u64 next = vmcb->control.next_rip;

	return next ? next - vmcb->save.rip : 0;
}

static bool kvmi_svm_cr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 cr)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	struct kvmi_x86_ev_cr *ev = &ex->payload.cr;
	u64 info = vmcb->control.exit_info_1;
	u32 i = cr - 3;

	if (!READ_ONCE(kv->cr_mode[i]))
		return false;
	ev->cr = cr;
	ev->insn_len = kvmi_svm_insn_len(vmcb);
	ev->old = cr == 3 ? vmcb->save.cr3 : kvmi_regs_cr4(kv->vcpu);

	/* Decode assists name the register; without, the instruction does. */
	if (boot_cpu_has(X86_FEATURE_DECODEASSISTS) && (info & CR_VALID)) {
		ex->source = info & 15;
		ev->new_value = kvmi_reg_read(kv->vcpu, ex->source);
		if (!kvmi_regs_64bit(kv->vcpu))
			ev->new_value = (u32)ev->new_value;
	} else if (kvmi_insn_mov_cr(kv, cr, &ev->new_value, &ev->insn_len,
				    &ex->source)) {
		return false;
	}

	ex->kind = KVMI_EVENT_X86_CR;
	ex->mode = READ_ONCE(kv->cr_mode[i]);
	ex->regs = kv->cr_regs[i];
	ex->cont = KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_REG;
	ex->size = sizeof(*ev);
	return true;
}

/* See kvmi_svm_int3_is_swint. */
static bool kvmi_svm_swint(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	int vector;

	if (!(kv->armed.bits & KVMI_WANT_BP))
		return false;
	vector = kvmi_insn_soft_int(kv);
	if (vector == BP_VECTOR) {
		kvmi_exit_breakpoint(kv, ex, 1);
		return true;
	}
	ex->kind = 0;
	ex->mode = KVMI_MODE_OFF;
	ex->cont = KVMI_CONT_VENDOR;
	ex->payload.raw[0] = vector;
	ex->payload.raw[1] = 0;
	return true;
}

/* An exception that is intercepted for the sake of a step alone. */
static bool kvmi_svm_stepped_exception(struct kvmi_vcpu *kv,
				       struct kvmi_exit *ex)
{
	u32 vector = kvmi_vmcb(kv)->control.exit_code - SVM_EXIT_EXCP_BASE;

	if (vector > 31 || !(kv->armed.svm.excp & BIT(vector)))
		return false;
	ex->kind = 0;
	ex->mode = KVMI_MODE_OFF;
	ex->cont = KVMI_CONT_VENDOR;
	ex->payload.raw[0] = vector;
	ex->payload.raw[1] = 1;
	return true;
}

static bool kvmi_svm_decode(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);

	switch (vmcb->control.exit_code) {
	case SVM_EXIT_CPUID:
		if (!READ_ONCE(kv->mode[KVMI_EVENT_X86_CPUID]))
			return false;
		kvmi_exit_cpuid(kv, ex, kvmi_svm_insn_len(vmcb));
		return true;
	case SVM_EXIT_MSR:
		return kvmi_exit_msr(kv, ex, vmcb->control.exit_info_1 & 1);
	case SVM_EXIT_WRITE_CR3:
		return kvmi_svm_cr(kv, ex, 3);
	case SVM_EXIT_WRITE_CR4:
		return kvmi_svm_cr(kv, ex, 4);
	case SVM_EXIT_EXCP_BASE + BP_VECTOR:
		if (!(kv->armed.bits & KVMI_WANT_BP))
			return false;
		kvmi_exit_breakpoint(kv, ex, 1);
		return true;
	case SVM_EXIT_SWINT:
		return kvmi_svm_swint(kv, ex);
	default:
		return kvmi_svm_stepped_exception(kv, ex);
	}
}

/* Give the guest its exception. The CPU has not written CR2: APM, "#PF". */
static int kvmi_svm_reflect(struct kvmi_vcpu *kv, u32 vector)
{
	struct vmcb_control_area *control = &kvmi_vmcb(kv)->control;
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (vector == PF_VECTOR)
		vcpu->arch.cr2 = control->exit_info_2;
	if (BIT(vector) & STEP_ERROR_CODES)
		kvm_call(kvm_queue_exception_e)(vcpu, vector,
						control->exit_info_1);
	else
		kvm_call(kvm_queue_exception)(vcpu, vector);
	return 1;
}

static int kvmi_svm_finish(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	if (!ex->kind && ex->payload.raw[1])
		return kvmi_svm_reflect(kv, ex->payload.raw[0]);
	/* INT n, which nobody asked for: inject it as it was. */
	if (!ex->kind) {
		kv->vcpu->arch.interrupt.injected = true;
		kv->vcpu->arch.interrupt.soft = true;
		kv->vcpu->arch.interrupt.nr = ex->payload.raw[0];
		kvm_make_request(KVM_REQ_EVENT, kv->vcpu);
		return 1;
	}
	/* A debugger in the VMM has set breakpoints of its own. */
	if (kv->vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		return kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_NONE);
	kvm_call(kvm_queue_exception)(kv->vcpu, BP_VECTOR);
	return 1;
}

static bool kvmi_svm_fault(struct kvmi_vcpu *kv, struct kvmi_ev_access *ev)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u64 info = vmcb->control.exit_info_1;

	if (vmcb->control.exit_code != SVM_EXIT_NPF)
		return false;

	ev->gpa = vmcb->control.exit_info_2;
	ev->gva = 0;
	ev->flags = 0;
	ev->pad = 0;
	/* The walker's accesses are writes, as A/D bits may be set. */
	if (info & NPF_GUEST_WALK)
		ev->flags |= KVMI_ACCESS_F_WALK;
	if (info & NPF_FETCH)
		ev->access = KVMI_ACCESS_X;
	else if (info & NPF_WRITE)
		ev->access = KVMI_ACCESS_W;
	else
		ev->access = KVMI_ACCESS_R;
	return true;
}

static void kvmi_svm_fault_done(struct kvmi_vcpu *kv)
{
}

static bool kvmi_svm_nested_entry(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.exit_code == SVM_EXIT_VMRUN;
}

/* ---- page tables ------------------------------------------------------------------------ */

static u64 kvmi_svm_spte_restrict(u64 spte, u32 access)
{
	/* Drop what KVM keeps in the bits that the hardware ignores. */
	spte &= ~(GENMASK_ULL(11, 9) | GENMASK_ULL(62, 52));
	if (!(access & KVMI_ACCESS_R))
		return 0;
	if (!(access & KVMI_ACCESS_W))
		spte &= ~(u64)_PAGE_RW;
	if (!(access & KVMI_ACCESS_X))
		spte |= _PAGE_NX;
	return spte;
}

static u64 kvmi_svm_spte_small(u64 spte, int level, unsigned int index)
{
	spte += (u64)index << (PAGE_SHIFT + (level - 2) * 9);
	/* In a 4 KiB entry this bit is the PAT's, which KVM leaves 0. */
	if (level == 2)
		spte &= ~(u64)_PAGE_PSE;
	return spte;
}

static const u32 kvmi_svm_host_msrs[] = { MSR_VM_CR };

const struct kvmi_ops kvmi_svm_ops = {
	.vendor = KVMI_VENDOR_AMD,
	.name = "kvm_amd",
	.access = kvmi_svm_access,
	.probe = kvmi_svm_probe,
	.check = kvmi_svm_check,
	.arm = kvmi_svm_arm,
	.disarm = kvmi_svm_disarm,
	.exit_begin = kvmi_svm_exit_begin,
	.is_step = kvmi_svm_is_step,
	.decode = kvmi_svm_decode,
	.finish = kvmi_svm_finish,
	.fault = kvmi_svm_fault,
	.fault_done = kvmi_svm_fault_done,
	.nested_entry = kvmi_svm_nested_entry,
	.control = kvmi_svm_control,
	.host_msrs = kvmi_svm_host_msrs,
	.nr_host_msrs = ARRAY_SIZE(kvmi_svm_host_msrs),
	.injecting = kvmi_svm_injecting,
	.nmi_latched = kvmi_svm_nmi_latched,
	.flush_is_asid = true,
	.spte_restrict = kvmi_svm_spte_restrict,
	.spte_small = kvmi_svm_spte_small,
};
