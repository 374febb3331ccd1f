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
#include "quick.h"

/* Clean bits of the VMCB: APM volume 2, "VMCB State Caching". */
#define VMCB_CLEAN_INTERCEPTS	BIT(0)
#define VMCB_CLEAN_PERM_MAP	BIT(1)
#define VMCB_CLEAN_DR		BIT(6)
#define VMCB_CLEAN_LBR		BIT(10)

#define VMCB_V_NMI_PENDING	BIT(11)
#define VMCB_V_NMI_MASK		BIT(12)

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
/* And all moves of debug registers. */
#define STEP_DRS		0x00ff00ff

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

/* Set the bits @want of a word, and take those out again that are ours. */
static void kvmi_svm_intercept(struct vmcb *vmcb, int word, u32 *ours, u32 want)
{
	u32 old = vmcb->control.intercepts[word];
	u32 new;

	*ours |= want & ~old;
	new = (old | want) & ~(*ours & ~want);
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
	u8 wants;

	/* Of vmcb01 it is always the same. */
	kv->armed.svm.map = (u32 *)map;
	kv->armed.nr_words = 0;
	/* Pairs with the release in kvmi_watch_add_msr(). */
	for (i = 0; i < smp_load_acquire(&kv->nr_msrs); i++) {
		struct kvmi_msr *msr = &kv->msrs[i];
		int bit;

		/* Before the index, which may be new. */
		wants = smp_load_acquire(&msr->want);
		bit = kvmi_svm_msr_bit(READ_ONCE(msr->index));
		if (bit < 0)
			continue;
		for (w = 0; w < 2; w++) {
			bool want = on && (wants & BIT(w));

			if (want && !test_bit(bit + w, map)) {
				__set_bit(bit + w, map);
				WRITE_ONCE(msr->added, msr->added | BIT(w));
				changed = true;
			} else if (!want && (msr->added & BIT(w))) {
				__clear_bit(bit + w, map);
				WRITE_ONCE(msr->added, msr->added & ~BIT(w));
				changed = true;
			}
			if (want)
				kvmi_armed_add_msr(&kv->armed, bit + w);
		}
	}
	if (changed)
		vmcb->control.clean &= ~VMCB_CLEAN_PERM_MAP;
}

static void kvmi_svm_set(u32 *words, u32 bit)
{
	words[bit / 32] |= BIT(bit % 32);
}

static const struct {
	u32 insn;
	u32 bit;
} kvmi_svm_insns[] = {
	{ KVMI_X86_INSN_HLT, INTERCEPT_HLT },
	{ KVMI_X86_INSN_PAUSE, INTERCEPT_PAUSE },
	{ KVMI_X86_INSN_MONITOR, INTERCEPT_MONITOR },
	{ KVMI_X86_INSN_MWAIT, INTERCEPT_MWAIT },
	{ KVMI_X86_INSN_INVLPG, INTERCEPT_INVLPG },
	{ KVMI_X86_INSN_INVPCID, INTERCEPT_INVPCID },
	{ KVMI_X86_INSN_INVD, INTERCEPT_INVD },
	{ KVMI_X86_INSN_WBINVD, INTERCEPT_WBINVD },
	{ KVMI_X86_INSN_RDTSC, INTERCEPT_RDTSC },
	{ KVMI_X86_INSN_RDTSCP, INTERCEPT_RDTSCP },
	{ KVMI_X86_INSN_RDPMC, INTERCEPT_RDPMC },
	{ KVMI_X86_INSN_TASK_SWITCH, INTERCEPT_TASK_SWITCH },
	{ KVMI_X86_INSN_SHUTDOWN, INTERCEPT_SHUTDOWN },
	{ KVMI_X86_INSN_NESTED, INTERCEPT_VMRUN },
};

static u32 kvmi_svm_insn_bits(void)
{
	u32 bits = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kvmi_svm_insns); i++)
		bits |= BIT(kvmi_svm_insns[i].insn);
	/* An intercept that the CPU does not know would be an invalid VMCB. */
	if (!boot_cpu_has(X86_FEATURE_INVPCID))
		bits &= ~BIT(KVMI_X86_INSN_INVPCID);
	return bits;
}

static void kvmi_svm_controls(struct kvmi_wants *wants)
{
	u32 *words = wants->svm;
	size_t i;
	int w;

	BUILD_BUG_ON(KVMI_SVM_WORDS != MAX_INTERCEPT);
	BUILD_BUG_ON(INTERCEPT_CR0_WRITE - INTERCEPT_CR0_READ != 16);
	BUILD_BUG_ON(INTERCEPT_DR0_WRITE - INTERCEPT_DR0_READ != 16);
	memset(words, 0, sizeof(wants->svm));
	for (w = 0; w < 2; w++) {
		words[INTERCEPT_CR] |= wants->cr[w] << (w * 16);
		words[INTERCEPT_DR] |= wants->dr[w] << (w * 16);
		if (wants->table[w] & BIT(KVMI_X86_TABLE_GDTR))
			kvmi_svm_set(words, w ? INTERCEPT_LOAD_GDTR :
						INTERCEPT_STORE_GDTR);
		if (wants->table[w] & BIT(KVMI_X86_TABLE_IDTR))
			kvmi_svm_set(words, w ? INTERCEPT_LOAD_IDTR :
						INTERCEPT_STORE_IDTR);
		if (wants->table[w] & BIT(KVMI_X86_TABLE_LDTR))
			kvmi_svm_set(words, w ? INTERCEPT_LOAD_LDTR :
						INTERCEPT_STORE_LDTR);
		if (wants->table[w] & BIT(KVMI_X86_TABLE_TR))
			kvmi_svm_set(words, w ? INTERCEPT_LOAD_TR :
						INTERCEPT_STORE_TR);
	}
	words[INTERCEPT_EXCEPTION] = wants->exceptions;
	for (i = 0; i < ARRAY_SIZE(kvmi_svm_insns); i++)
		if (wants->insns & BIT(kvmi_svm_insns[i].insn))
			kvmi_svm_set(words, kvmi_svm_insns[i].bit);
	if ((wants->exceptions & BIT(BP_VECTOR)) && kvmi_svm_int3_is_swint)
		kvmi_svm_set(words, INTERCEPT_INTn);
}

/*
 * Has KVM left the intercepts alone? Whatever it changes it marks, or the CPU might
 * not see it: APM volume 2, "VMCB Clean Field".
 */
static __always_inline bool kvmi_svm_intact(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	const u64 *then = (u64 *)kv->armed.svm.words;
	const u64 *now = (u64 *)vmcb->control.intercepts;

	BUILD_BUG_ON(KVMI_SVM_WORDS != 6);
	return likely(vmcb->control.clean & VMCB_CLEAN_INTERCEPTS) ||
	       (now[0] == then[0] && now[1] == then[1] && now[2] == then[2]);
}

/* Neither our wishes have changed nor anything that KVM keeps there. */
static __always_inline bool kvmi_svm_unchanged(struct kvmi_vcpu *kv, u32 want)
{
	struct kvmi_armed *armed = &kv->armed;

	return want == armed->bits && READ_ONCE(kv->gen) == armed->gen &&
	       kvmi_svm_intact(kv, kvmi_vmcb(kv)) &&
	       (!(want & KVMI_WANT_MSR) || kvmi_armed_msrs(armed, armed->svm.map));
}

/*
 * A bit that is ours, and that KVM sets by now as well, does not show: where KVM
 * changes its mind, the bit is KVM's if its own state says that it must be.
 */
static void kvmi_svm_disown(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u32 *ours = kv->armed.svm.ours;

	/* The guest's debug registers are not loaded. */
	if (!(vcpu->arch.switch_db_regs & KVM_DEBUGREG_WONT_EXIT))
		ours[INTERCEPT_DR] = 0;
	/* KVM has it for the VMM's debugger. */
	if (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		ours[INTERCEPT_EXCEPTION] &= ~BIT(BP_VECTOR);
	if (!ours[INTERCEPT_CR])
		return;
	/* It runs with another CR0 than it has written. */
	if (vmcb->save.cr0 != kvmi_regs_cr0(vcpu))
		ours[INTERCEPT_CR] &= ~(BIT(INTERCEPT_CR0_READ) |
					BIT(INTERCEPT_CR0_WRITE));
	/* Whether it waits for a lower task priority, KVM finds out anew. */
	if (ours[INTERCEPT_CR] & BIT(INTERCEPT_CR8_WRITE))
		kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/* What a step needs. */
static const u32 kvmi_svm_step_bits[KVMI_SVM_WORDS] = {
	[INTERCEPT_DR] = STEP_DRS,
	[INTERCEPT_EXCEPTION] = STEP_EXCEPTIONS,
	[INTERCEPT_WORD3] = BIT(INTERCEPT_INTn & 31),
	[INTERCEPT_WORD4] = BIT(INTERCEPT_ICEBP & 31),
};

static void kvmi_svm_expect(struct kvmi_vcpu *kv)
{
	static const struct {
		u32 want;
		u32 bit;
	} always[] = {
		{ KVMI_WANT_MSR, INTERCEPT_MSR_PROT },
		{ KVMI_WANT_CPUID, INTERCEPT_CPUID },
		{ KVMI_WANT_IO, INTERCEPT_IOIO_PROT },
		{ KVMI_WANT_HYPERCALL, INTERCEPT_VMMCALL },
		{ KVMI_WANT_XSETBV, INTERCEPT_XSETBV },
	};
	u32 *exits = kv->armed.exits;
	size_t i;

	memcpy(exits, kv->wants.svm, sizeof(kv->armed.exits));
	for (i = 0; i < ARRAY_SIZE(always); i++)
		if (kv->want & always[i].want)
			kvmi_svm_set(exits, always[i].bit);
	/* What is ours must not go along. */
	kvmi_svm_set(exits, INTERCEPT_VMRUN);
}

/* The exit codes up to 0xbf: APM volume 2, "SVM Intercept Codes". */
static __always_inline enum kvmi_concern kvmi_svm_concern(struct kvmi_vcpu *kv)
{
	u32 code = kvmi_vmcb(kv)->control.exit_code;

	if (code >= KVMI_SVM_WORDS * 32 ||
	    likely(!(kv->armed.exits[code / 32] & BIT(code % 32))))
		return KVMI_CONCERN_NONE;
	return code == SVM_EXIT_CPUID ? KVMI_CONCERN_CPUID : KVMI_CONCERN_MAYBE;
}

static void kvmi_svm_apply(struct kvmi_vcpu *kv, struct vmcb *vmcb, u32 want)
{
	static const u32 none[KVMI_SVM_WORDS];
	const u32 *wants = want & KVMI_WANT_CONTROLS ? kv->wants.svm : none;
	const u32 *step = want & KVMI_WANT_STEP ? kvmi_svm_step_bits : none;
	struct kvmi_armed *armed = &kv->armed;
	u32 gen = kvmi_wants_begin(kv);
	u32 need;
	int i;

	if (gen != armed->gen)
		kvmi_svm_expect(kv);
	kvmi_svm_disown(kv, vmcb);
	for (i = 0; i < KVMI_SVM_WORDS; i++) {
		need = wants[i] | step[i];
		if (need | armed->svm.ours[i])
			kvmi_svm_intercept(vmcb, i, &armed->svm.ours[i], need);
	}
	if ((want | armed->bits) & KVMI_WANT_MSR)
		kvmi_svm_msrs(kv, vmcb, want & KVMI_WANT_MSR);
	memcpy(armed->svm.words, vmcb->control.intercepts,
	       sizeof(armed->svm.words));
	armed->bits = want;
	kvmi_wants_end(kv, gen);
}

/* Virtual NMI (vNMI): APM volume 2, "NMI Virtualization". Else the bits are 0. */
static bool kvmi_svm_nmi_latched(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.int_ctl & VMCB_V_NMI_PENDING;
}

static bool kvmi_svm_injecting(struct kvmi_vcpu *kv)
{
	struct vmcb_control_area *control = &kvmi_vmcb(kv)->control;

	if ((control->event_inj & SVM_EVTINJ_VALID) || kv->armed.svm.soft.len)
		return true;
	/* The CPU delivers it on its own, and would push TF. */
	return (control->int_ctl & VMCB_V_NMI_PENDING) &&
	       !(control->int_ctl & VMCB_V_NMI_MASK) &&
	       !(control->int_state & SVM_INTERRUPT_SHADOW_MASK);
}

/* ---- single-step ----------------------------------------------------------------- */

/*
 * By TF, and a #DB intercept that KVM has anyway. TF is set for the time of the
 * entry alone: kvmi_svm_exit_begin() restores the guest's before KVM or a tool
 * looks. What could still see it:
 *
 *  - An event that is delivered pushes it. So none is delivered while it is set:
 *    exceptions and INT n, INT3, INTO, INT1 are intercepted, and injected without
 *    TF; with an injection TF is not armed, and the guest is left behind it.
 *  - PUSHF: the image is corrected before anything else happens.
 *  - POPF, IRET: these load TF, and what is set behind them is the guest's. They
 *    trap by the TF before them.
 *  - SYSCALL saves TF in R11, which is corrected; it masks it by SFMASK and traps
 *    by what is left: SFMASK spares TF during the step. SYSRET loads TF from R11
 *    and traps by that: R11 has it during the step.
 *  - MOV SS and POP SS trap only after the next instruction: KVM's emulator
 *    executes them. Also STI, whose interrupt shadow the trap would end.
 *  - MOV DR: as a step changes DR6 and DR7 it is intercepted, and emulated.
 *
 *  - KVM's fast path skips some instructions before anything of ours runs, and
 *    injects a #DB where TF is set: for those TF is not, as they exit anyway.
 *
 * Where TF is set already it is the guest's, and its #DB comes with the step, by
 * the rules above: kvmi_svm_due(). Or it is KVM's, for an NMI window or for a
 * debugger in the VMM: then KVM has the trap.
 */

static bool kvmi_svm_long_mode(const struct vmcb *vmcb)
{
	return vmcb->save.efer & EFER_LMA;
}

/* Does the instruction exit before it has any effect, perhaps to the fast path? */
static bool kvmi_svm_step_exits(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	unsigned long *map = __va(__sme_clr(vmcb->control.msrpm_base_pa));
	u32 word3 = vmcb->control.intercepts[INTERCEPT_WORD3];
	int bit;

	switch (kv->step.insn.class) {
	case KVMI_INSN_HLT:
		return word3 & BIT(INTERCEPT_HLT & 31);
	case KVMI_INSN_INVD:
		return word3 & BIT(INTERCEPT_INVD & 31);
	case KVMI_INSN_WRMSR:
		bit = kvmi_svm_msr_bit(kvmi_reg_read(kv->vcpu,
						     VCPU_REGS_RCX));
		return bit < 0 || test_bit(bit + 1, map);
	default:
		return false;
	}
}

static noinline void kvmi_svm_arm_step(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	typeof(kv->armed.svm.step) *step = &kv->armed.svm.step;
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;

	step->trap = KVMI_TRAP_NONE;
	step->hide = false;
	if (!kv->step.go) {
		/*
		 * The guest is to be left at once, by an interrupt, which the
		 * shadow would keep away for an instruction. If an event is
		 * delivered, that ends it in any case.
		 */
		step->shadow = !kv->step.delivering &&
			       (vmcb->control.int_state &
				SVM_INTERRUPT_SHADOW_MASK);
		vmcb->control.int_state &= ~(u32)SVM_INTERRUPT_SHADOW_MASK;
		return;
	}
	if (kvmi_svm_step_exits(kv, vmcb))
		return;

	step->armed = true;
	step->rflags = vmcb->save.rflags;
	step->foreign = (vmcb->save.rflags & X86_EFLAGS_TF) &&
			!(kvm_call(kvm_get_rflags)(kv->vcpu) & X86_EFLAGS_TF);
	if (step->foreign)
		return;

	vmcb->save.rflags |= X86_EFLAGS_TF;
	step->dr7 = vmcb->save.dr7;
	step->dbgctl = vmcb->save.dbgctl;
	if (step->dbgctl & DEBUGCTLMSR_BTF) {
		vmcb->save.dbgctl &= ~(u64)DEBUGCTLMSR_BTF;
		vmcb->control.clean &= ~VMCB_CLEAN_LBR;
	}
	/* VMLOAD takes SFMASK from there in any case. */
	step->sfmask = vmcb->save.sfmask;
	step->r11 = arch->regs[VCPU_REGS_R11];
	if (kv->step.insn.class == KVMI_INSN_SYSCALL)
		vmcb->save.sfmask &= ~(u64)X86_EFLAGS_TF;
	else if (kv->step.insn.class == KVMI_INSN_SYSRET)
		arch->regs[VCPU_REGS_R11] |= X86_EFLAGS_TF;
}

/*
 * Execute INT n by injecting it: APM volume 2, "Event Injection". KVM would, but
 * decodes the instruction for it, and takes vectors from 128 for negative. What
 * KVM delivers comes first; then the guest executes the INT n once more.
 */
static void kvmi_svm_arm_soft(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	typeof(kv->armed.svm.soft) *soft = &kv->armed.svm.soft;
	u64 next = soft->rip + soft->len;

	soft->len = 0;
	if ((vmcb->control.event_inj & SVM_EVTINJ_VALID) ||
	    kvmi_regs_rip(kv->vcpu) != soft->rip)
		return;

	vmcb->control.event_inj = soft->vector | SVM_EVTINJ_VALID |
				  SVM_EVTINJ_TYPE_SOFT;
	vmcb->control.event_inj_err = 0;
	if (boot_cpu_has(X86_FEATURE_NRIPS))
		vmcb->control.next_rip = next;
	else
		kvmi_reg_write(kv->vcpu, VCPU_REGS_RIP, next);
	kv->armed.bits |= KVMI_ARMED_SOFT;
}

/* KVM would inject it again: it is to be executed again. */
static void kvmi_svm_exit_soft(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	if (!(vmcb->control.exit_int_info & SVM_EXITINTINFO_VALID))
		return;
	kv->vcpu->arch.interrupt.injected = false;
	kvmi_reg_write(kv->vcpu, VCPU_REGS_RIP, kv->armed.svm.soft.rip);
	kv->step.delivering = false;
}

static void kvmi_svm_arm(struct kvmi_vcpu *kv, u32 want)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);

	if (unlikely(!kvmi_svm_unchanged(kv, want)))
		kvmi_svm_apply(kv, vmcb, want);
	if (unlikely(kv->armed.svm.soft.len))
		kvmi_svm_arm_soft(kv, vmcb);
	if (unlikely(want & KVMI_WANT_STEP))
		kvmi_svm_arm_step(kv, vmcb);
}

/* RFLAGS.TF as it is behind a completed instruction, and R11. */
static u64 kvmi_svm_tf_after(struct kvmi_vcpu *kv, struct vmcb *vmcb)
{
	typeof(kv->armed.svm.step) *step = &kv->armed.svm.step;
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	u64 tf = step->rflags & X86_EFLAGS_TF;

	switch (kv->step.insn.class) {
	case KVMI_INSN_PUSHF:
		step->hide = !tf;
		return tf;
	case KVMI_INSN_POPF:
	case KVMI_INSN_IRET:
		return vmcb->save.rflags & X86_EFLAGS_TF;
	case KVMI_INSN_SYSCALL:
		if (!kvmi_svm_long_mode(vmcb))
			return tf;
		if (!tf)
			arch->regs[VCPU_REGS_R11] &= ~(u64)X86_EFLAGS_TF;
		return tf & ~step->sfmask;
	case KVMI_INSN_SYSRET:
		return (kvmi_svm_long_mode(vmcb) ? step->r11 : tf) &
		       X86_EFLAGS_TF;
	default:
		return tf;
	}
}

/* Has a completed instruction transferred control? For DEBUGCTL.BTF. */
static bool kvmi_svm_branched(struct kvmi_vcpu *kv)
{
	const struct kvmi_insn *insn = &kv->step.insn;

	return insn->branch == KVMI_BRANCH_ALWAYS ||
	       (insn->branch == KVMI_BRANCH_MAYBE &&
		kvmi_regs_rip(kv->vcpu) != kv->step.rip + insn->len);
}

/* The bits of DR6 for which the guest is to have a #DB of its own. */
static u64 kvmi_svm_due(struct kvmi_vcpu *kv, u64 fresh, u64 tf_after)
{
	typeof(kv->armed.svm.step) *step = &kv->armed.svm.step;
	u64 tf = step->rflags & X86_EFLAGS_TF;
	u64 due = 0;
	int i;

	for (i = 0; i < 4; i++)
		if ((fresh & BIT(i)) && (step->dr7 >> (2 * i) & 3))
			due |= fresh & DR_TRAP_BITS;

	/* These two trap by what TF is behind them. */
	if (kv->step.insn.class == KVMI_INSN_SYSCALL ||
	    kv->step.insn.class == KVMI_INSN_SYSRET)
		tf = tf_after;
	if (tf && (!(step->dbgctl & DEBUGCTLMSR_BTF) || kvmi_svm_branched(kv)))
		due |= DR_STEP;
	return due;
}

/*
 * Interrupts are off, and nothing of KVM has seen RFLAGS yet: it would inject a
 * #DB when it skips an instruction, and reads the debug registers back next.
 */
static void kvmi_svm_exit_begin(struct kvmi_vcpu *kv)
{
	typeof(kv->armed.svm.step) *step = &kv->armed.svm.step;
	struct kvm_vcpu_arch *arch = &kv->vcpu->arch;
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u64 dr6, fresh, due = 0;
	bool db, done;
	u64 tf;

	if (kv->armed.bits & KVMI_ARMED_SOFT) {
		kv->armed.bits &= ~KVMI_ARMED_SOFT;
		kvmi_svm_exit_soft(kv, vmcb);
	}
	if (step->shadow)
		vmcb->control.int_state |= SVM_INTERRUPT_SHADOW_MASK;
	step->shadow = false;
	if (!step->armed)
		return;
	step->armed = false;

	db = vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + DB_VECTOR;
	/* KVM has the guest run with this one, or its own. */
	dr6 = arch->switch_db_regs & KVM_DEBUGREG_WONT_EXIT ? arch->dr6 :
							      DR6_ACTIVE_LOW;
	fresh = vmcb->save.dr6 & ~dr6;
	db = db && (vmcb->save.dr6 & DR_STEP);
	/* DR7.GD: a fault of the guest's, in which Bochs mixes the step's TF. */
	if (db && !step->foreign && (fresh & DR6_BD)) {
		if (!(step->rflags & X86_EFLAGS_TF))
			vmcb->save.dr6 &= ~(u64)DR_STEP;
		vmcb->control.clean &= ~VMCB_CLEAN_DR;
		db = false;
	}
	if (step->foreign) {
		if (db)
			step->trap = KVMI_TRAP_SHARED;
		return;
	}

	/* Not after a WRMSR of the guest's, say. */
	if (kv->step.insn.class == KVMI_INSN_SYSCALL)
		vmcb->save.sfmask = step->sfmask;
	else if (kv->step.insn.class == KVMI_INSN_SYSRET)
		arch->regs[VCPU_REGS_R11] = step->r11;
	if (step->dbgctl & DEBUGCTLMSR_BTF) {
		vmcb->save.dbgctl = step->dbgctl;
		vmcb->control.clean &= ~VMCB_CLEAN_LBR;
	}

	/* A breakpoint on the instruction itself comes before it. */
	db = db && ((fresh & DR_STEP) || !(fresh & DR_TRAP_BITS));
	done = db || kvmi_regs_rip(kv->vcpu) != kv->step.rip;
	tf = done ? kvmi_svm_tf_after(kv, vmcb) :
		    step->rflags & X86_EFLAGS_TF;
	vmcb->save.rflags = (vmcb->save.rflags & ~(u64)X86_EFLAGS_TF) | tf;
	if (!db)
		return;

	due = kvmi_svm_due(kv, fresh, tf);
	step->trap = due ? KVMI_TRAP_SHARED : KVMI_TRAP_OURS;
	vmcb->save.dr6 = dr6 | due;
	/* The #DB has cleared DR7.GD; the guest's own will, if there is one. */
	vmcb->save.dr7 = step->dr7;
	vmcb->control.clean &= ~VMCB_CLEAN_DR;
}

static enum kvmi_trap kvmi_svm_is_step(struct kvmi_vcpu *kv)
{
	typeof(kv->armed.svm.step) *step = &kv->armed.svm.step;

	if (step->hide)
		kvmi_insn_hide_tf(kv);
	step->hide = false;
	return step->trap;
}

/* STI in virtual-8086 mode with IOPL 3, where KVM's emulator has a #GP for it. */
static int kvmi_svm_step_sti(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	unsigned long rflags = kvm_call(kvm_get_rflags)(vcpu);

	if (!(rflags & X86_EFLAGS_IF))
		kvmi_vmcb(kv)->control.int_state |= SVM_INTERRUPT_SHADOW_MASK;
	kvm_call(kvm_set_rflags)(vcpu, (rflags | X86_EFLAGS_IF) & ~X86_EFLAGS_RF);
	kvmi_reg_write(vcpu, VCPU_REGS_RIP,
		       (u16)(kvmi_regs_rip(vcpu) + kv->step.insn.len));
	if (rflags & X86_EFLAGS_TF)
		kvm_call(kvm_queue_exception_p)(vcpu, DB_VECTOR, DR6_BS);
	return 1;
}

/* What TF cannot step. */
static int kvmi_svm_step_emulate(struct kvmi_vcpu *kv)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u64 tf = 0;
	int ret;

	if (kv->step.insn.class == KVMI_INSN_STI &&
	    (vmcb->save.rflags & X86_EFLAGS_VM))
		return kvmi_svm_step_sti(kv);
	/* For the guest's own TF there is no trap either, and KVM has one. */
	if (kv->step.insn.class == KVMI_INSN_LOAD_SS)
		tf = vmcb->save.rflags & X86_EFLAGS_TF;
	vmcb->save.rflags &= ~tf;
	ret = kvm_call(kvm_emulate_instruction)(kv->vcpu, 0);
	vmcb->save.rflags |= tf;
	return ret;
}

static void kvmi_svm_disarm(struct kvmi_vcpu *kv)
{
	bool msrs = kv->armed.bits & KVMI_WANT_MSR;

	if (!kv->armed.bits)
		return;
	kvmi_svm_apply(kv, kvmi_vmcb01(kv), 0);
	/* The VMM has put it there, when KVM gave the nested guest all of these. */
	if (kv->vcpu->arch.hflags & HF_GUEST_MASK)
		kvm_orig(update_exception_bitmap)(kv->vcpu);
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

/* Is the intercept of the exit there because of kvmi alone? */
static bool kvmi_svm_ours(struct kvmi_vcpu *kv, u32 bit)
{
	return kv->armed.svm.ours[bit / 32] & BIT(bit % 32);
}

/* An exit that nobody asked for: @cont finishes it. */
static bool kvmi_svm_silent(struct kvmi_exit *ex, u32 cont)
{
	ex->kind = 0;
	ex->indexed = false;
	ex->cont = cont;
	return true;
}

/* What is intercepted for the sake of a step alone, and delivered all the same. */
enum {
	KVMI_SVM_EXCEPTION,
	KVMI_SVM_SOFT_INT,
	KVMI_SVM_INT1,
};

static bool kvmi_svm_deliver(struct kvmi_exit *ex, u32 what, u32 vector, u32 len)
{
	ex->payload.raw[0] = what;
	ex->payload.raw[1] = vector;
	ex->payload.raw[2] = len;
	return kvmi_svm_silent(ex, KVMI_CONT_VENDOR);
}

static u32 kvmi_svm_insn_len(struct vmcb *vmcb)
{
	u64 next = vmcb->control.next_rip;

	return next ? next - vmcb->save.rip : 0;
}

/* Which register it is, the CPU says, or the instruction. */
static bool kvmi_svm_mov(struct kvmi_vcpu *kv, struct kvmi_insn_mov *mov, bool debug,
			 bool write, u32 nr)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u64 info = vmcb->control.exit_info_1;

	if (boot_cpu_has(X86_FEATURE_DECODEASSISTS) && (debug || (info & CR_VALID))) {
		memset(mov, 0, sizeof(*mov));
		mov->debug = debug;
		mov->write = write;
		mov->nr = nr;
		mov->reg = info & 15;
		mov->len = kvmi_svm_insn_len(vmcb);
		return true;
	}
	return !kvmi_insn_mov(kv, mov) && mov->debug == debug &&
	       mov->write == write && (mov->lmsw || mov->nr == nr);
}

static bool kvmi_svm_cr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 cr,
			bool write)
{
	struct kvmi_insn_mov mov;
	u64 value = 0;

	if (!(kv->wants.cr[write] & BIT(cr)) ||
	    !kvmi_svm_mov(kv, &mov, false, write, cr))
		return false;
	if (mov.lmsw && !mov.len)
		value = kvmi_regs_cr0(kv->vcpu);
	else if (mov.lmsw)
		value = kvmi_regs_lmsw(kv->vcpu, mov.value, mov.len == 2);
	else if (write)
		value = kvmi_reg_read(kv->vcpu, mov.reg);
	if (!kvmi_regs_64bit(kv->vcpu))
		value = (u32)value;

	kvmi_exit_cr(kv, ex, cr, write, value, mov.len);
	if (mov.unknown)
		ex->payload.cr.flags |= KVMI_X86_CR_UNKNOWN;
	ex->cont = KVMI_CONT_ORIG;
	ex->value = write && !mov.lmsw ? KVMI_VALUE_REG : KVMI_VALUE_NONE;
	ex->source = mov.reg;
	return true;
}

static bool kvmi_svm_dr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 dr,
			bool write)
{
	struct kvmi_insn_mov mov;

	if ((kv->wants.dr[write] & BIT(dr)) &&
	    kvmi_svm_mov(kv, &mov, true, write, dr)) {
		kvmi_exit_dr(kv, ex, dr, write, mov.reg);
		return true;
	}
	/* KVM's own, until it lets the guest have them: never during a step. */
	if (!(kv->armed.bits & KVMI_WANT_STEP) || kv->vcpu->guest_debug)
		return false;
	return kvmi_svm_silent(ex, KVMI_CONT_EMULATE);
}

/* INT n; also INT3 and INTO, see kvmi_svm_int3_is_swint. */
static bool kvmi_svm_swint(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvmi_insn insn;

	if (!kvmi_svm_ours(kv, INTERCEPT_INTn))
		return false;
	kvmi_insn_decode(kv, kvmi_regs_rip(kv->vcpu), &insn);
	switch (insn.class) {
	case KVMI_INSN_INT3:
		if (kv->wants.exceptions & BIT(BP_VECTOR)) {
			kvmi_exit_breakpoint(kv, ex, 1);
			return true;
		}
		return kvmi_svm_deliver(ex, KVMI_SVM_EXCEPTION, BP_VECTOR, 0);
	case KVMI_INSN_INT:
		return kvmi_svm_deliver(ex, KVMI_SVM_SOFT_INT, insn.vector,
					insn.len);
	case KVMI_INSN_INTO:
		return kvmi_svm_deliver(ex, KVMI_SVM_EXCEPTION, OF_VECTOR, 0);
	default:
		/* It has changed meanwhile, and is executed anew. */
		return kvmi_svm_silent(ex, KVMI_CONT_NOTHING);
	}
}

static bool kvmi_svm_icebp(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvmi_insn insn;

	if (!kvmi_svm_ours(kv, INTERCEPT_ICEBP))
		return false;
	kvmi_insn_decode(kv, kvmi_regs_rip(kv->vcpu), &insn);
	if (insn.class != KVMI_INSN_INT1)
		return kvmi_svm_silent(ex, KVMI_CONT_NOTHING);
	return kvmi_svm_deliver(ex, KVMI_SVM_INT1, DB_VECTOR, insn.len);
}

static bool kvmi_svm_exception(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
			       u32 vector)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u64 payload = 0;

	/* A page of the VMM's has to come first: it is no #PF of the guest's. */
	if (vector == PF_VECTOR && kv->vcpu->arch.apf.host_apf_flags)
		return false;
	/* For the sake of a step alone? */
	if (!(kv->wants.exceptions & BIT(vector)))
		return kvmi_svm_ours(kv, INTERCEPT_EXCEPTION * 32 + vector) &&
		       kvmi_svm_deliver(ex, KVMI_SVM_EXCEPTION, vector, 0);
	if (vector == BP_VECTOR) {
		kvmi_exit_breakpoint(kv, ex, 1);
		return true;
	}
	if (vector == PF_VECTOR)
		payload = vmcb->control.exit_info_2;
	else if (vector == DB_VECTOR)
		payload = vmcb->save.dr6 ^ DR6_ACTIVE_LOW;
	kvmi_exit_exception(kv, ex, vector, BIT(vector) & STEP_ERROR_CODES,
			    vmcb->control.exit_info_1, payload,
			    vector == OF_VECTOR ? 1 : 0);
	ex->cont = kvmi_svm_ours(kv, INTERCEPT_EXCEPTION * 32 + vector) ?
		   KVMI_CONT_REFLECT : KVMI_CONT_ORIG;
	return true;
}

static bool kvmi_svm_dtable(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 table,
			    bool write)
{
	/* Also those that nobody wants any more: KVM has no handler. */
	kvmi_exit_dtable(kv, ex, table, write);
	return true;
}

static bool kvmi_svm_io(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u32 info = vmcb->control.exit_info_1;
	u32 flags = 0;

	if (!(info & SVM_IOIO_TYPE_MASK))
		flags |= KVMI_X86_IO_OUT;
	if (info & SVM_IOIO_STR_MASK)
		flags |= KVMI_X86_IO_STRING;
	if (info & SVM_IOIO_REP_MASK)
		flags |= KVMI_X86_IO_REP;
	/* EXITINFO2 is the RIP behind it: APM volume 2, "IOIO Intercepts". */
	return kvmi_exit_io(kv, ex, info >> 16,
			    (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT,
			    flags, vmcb->control.exit_info_2 - vmcb->save.rip);
}

static bool kvmi_svm_insn(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u32 code = vmcb->control.exit_code;
	u64 operand = 0;
	u32 insn, i;

	for (i = 0; i < ARRAY_SIZE(kvmi_svm_insns); i++) {
		/* From 0x60 on, exit codes are numbers of intercepts. */
		if (code != kvmi_svm_insns[i].bit - INTERCEPT_INTR + SVM_EXIT_INTR)
			continue;
		insn = kvmi_svm_insns[i].insn;
		/* KVM's own: the guest is not to have it. */
		if (insn == KVMI_X86_INSN_RDTSCP &&
		    !kvmi_svm_ours(kv, INTERCEPT_RDTSCP))
			return false;
		if (insn == KVMI_X86_INSN_INVLPG &&
		    boot_cpu_has(X86_FEATURE_DECODEASSISTS))
			operand = vmcb->control.exit_info_1;
		else if (insn == KVMI_X86_INSN_TASK_SWITCH)
			operand = (u16)vmcb->control.exit_info_1;
		else if (insn == KVMI_X86_INSN_RDPMC)
			operand = (u32)kvmi_reg_read(kv->vcpu, VCPU_REGS_RCX);
		if (kvmi_exit_insn(kv, ex, insn, operand,
				   kvmi_svm_insn_len(vmcb)))
			return true;
		/* Armed until a moment ago: KVM has no handlers. */
		if ((insn == KVMI_X86_INSN_RDTSC ||
		     insn == KVMI_X86_INSN_RDTSCP) &&
		    kvmi_svm_ours(kv, kvmi_svm_insns[i].bit)) {
			kvmi_exit_tsc(kv, ex, insn);
			return true;
		}
		return false;
	}
	return false;
}

static noinline bool kvmi_svm_decode_more(struct kvmi_vcpu *kv,
					  struct kvmi_exit *ex)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u32 code = vmcb->control.exit_code;

	switch (code) {
	case SVM_EXIT_MSR:
		return kvmi_exit_msr(kv, ex, vmcb->control.exit_info_1 & 1);
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_READ_CR8:
		return kvmi_svm_cr(kv, ex, code - SVM_EXIT_READ_CR0, false);
	case SVM_EXIT_WRITE_CR0 ... SVM_EXIT_WRITE_CR8:
		return kvmi_svm_cr(kv, ex, code - SVM_EXIT_WRITE_CR0, true);
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR7:
		return kvmi_svm_dr(kv, ex, code - SVM_EXIT_READ_DR0, false);
	case SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR7:
		return kvmi_svm_dr(kv, ex, code - SVM_EXIT_WRITE_DR0, true);
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_LAST_EXCP:
		return kvmi_svm_exception(kv, ex, code - SVM_EXIT_EXCP_BASE);
	case SVM_EXIT_IOIO:
		return kvmi_svm_io(kv, ex);
	case SVM_EXIT_VMMCALL:
		return kvmi_exit_hypercall(kv, ex, 3);
	case SVM_EXIT_XSETBV:
		return kvmi_exit_xsetbv(kv, ex, 3);
	case SVM_EXIT_SWINT:
		return kvmi_svm_swint(kv, ex);
	case SVM_EXIT_ICEBP:
		return kvmi_svm_icebp(kv, ex);
	case SVM_EXIT_GDTR_READ:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_GDTR, false);
	case SVM_EXIT_IDTR_READ:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_IDTR, false);
	case SVM_EXIT_LDTR_READ:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_LDTR, false);
	case SVM_EXIT_TR_READ:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_TR, false);
	case SVM_EXIT_GDTR_WRITE:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_GDTR, true);
	case SVM_EXIT_IDTR_WRITE:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_IDTR, true);
	case SVM_EXIT_LDTR_WRITE:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_LDTR, true);
	case SVM_EXIT_TR_WRITE:
		return kvmi_svm_dtable(kv, ex, KVMI_X86_TABLE_TR, true);
	default:
		return (READ_ONCE(kv->want) & KVMI_WANT_INSN) ||
		       (kv->armed.bits & KVMI_WANT_CONTROLS) ?
		       kvmi_svm_insn(kv, ex) : false;
	}
}

/* The frequent ones; the rest is a search. */
static bool kvmi_svm_decode(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct vmcb *vmcb = kvmi_vmcb(kv);
	u32 code = vmcb->control.exit_code;

	if (code == SVM_EXIT_CPUID) {
		if (!(READ_ONCE(kv->want) & KVMI_WANT_CPUID))
			return false;
		kvmi_exit_cpuid(kv, ex, kvmi_svm_insn_len(vmcb));
		return true;
	}
	return code != SVM_EXIT_NPF && kvmi_svm_decode_more(kv, ex);
}

static u32 kvmi_svm_reason(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.exit_code;
}

static notrace fastpath_t kvmi_svm_run(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return kvmi_quick_run(vcpu, run_flags, kvmi_svm_unchanged);
}

static notrace int kvmi_svm_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	return kvmi_quick_exit(vcpu, fastpath, kvmi_svm_concern, kvmi_svm_reason);
}

static void kvmi_svm_raw(struct kvmi_vcpu *kv, struct kvmi_x86_ev_exit *ev)
{
	struct vmcb_control_area *control = &kvmi_vmcb(kv)->control;

	ev->reason = control->exit_code;
	ev->intr = control->exit_int_info;
	ev->error = control->exit_int_info_err;
	ev->insn_len = kvmi_svm_insn_len(kvmi_vmcb(kv));
	ev->info1 = control->exit_info_1;
	ev->info2 = control->exit_info_2;
}

static bool kvmi_svm_vectoring(struct kvmi_vcpu *kv)
{
	return kvmi_vmcb(kv)->control.exit_int_info & SVM_EXITINTINFO_VALID;
}

static bool kvmi_svm_delivering(struct kvmi_vcpu *kv,
				struct kvmi_x86_ev_delivery *ev)
{
	struct vmcb_control_area *control = &kvmi_vmcb(kv)->control;
	u32 info = control->event_inj;

	if (!(info & SVM_EVTINJ_VALID))
		return false;
	switch (info & SVM_EVTINJ_TYPE_MASK) {
	case SVM_EVTINJ_TYPE_INTR:
		ev->type = KVMI_X86_DELIVERY_INTERRUPT;
		break;
	case SVM_EVTINJ_TYPE_NMI:
		ev->type = KVMI_X86_DELIVERY_NMI;
		break;
	case SVM_EVTINJ_TYPE_EXEPT:
		ev->type = KVMI_X86_DELIVERY_EXCEPTION;
		break;
	default:
		ev->type = KVMI_X86_DELIVERY_SOFT;
		break;
	}
	/* Of an NMI the CPU does not look at it. */
	ev->vector = ev->type == KVMI_X86_DELIVERY_NMI ?
		     NMI_VECTOR : info & SVM_EVTINJ_VEC_MASK;
	ev->flags = info & SVM_EVTINJ_VALID_ERR ? KVMI_X86_EXCEPTION_ERROR : 0;
	ev->error = ev->flags ? control->event_inj_err : 0;
	return true;
}

/* As KVM does at #BP: see kvmi_svm_int3_is_swint. */
static int kvmi_svm_debug_exit(struct kvmi_vcpu *kv)
{
	struct kvm_run *run = kv->vcpu->run;
	struct vmcb *vmcb = kvmi_vmcb(kv);

	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.pc = vmcb->save.cs.base + vmcb->save.rip;
	run->debug.arch.exception = BP_VECTOR;
	return 0;
}

/* Give the guest its exception. The CPU has not written CR2: APM, "#PF". */
static int kvmi_svm_reflect(struct kvmi_vcpu *kv, u32 vector)
{
	struct vmcb_control_area *control = &kvmi_vmcb(kv)->control;
	struct kvm_vcpu *vcpu = kv->vcpu;

	/* A debugger in the VMM has set breakpoints of its own. */
	if (vector == BP_VECTOR && (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP))
		return control->exit_code == SVM_EXIT_SWINT ?
		       kvmi_svm_debug_exit(kv) :
		       kvm_orig(handle_exit)(vcpu, EXIT_FASTPATH_NONE);
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
	struct kvm_vcpu *vcpu = kv->vcpu;

	/* A breakpoint that was an event. */
	if (ex->kind)
		return kvmi_svm_reflect(kv, BP_VECTOR);

	switch (ex->payload.raw[0]) {
	case KVMI_SVM_SOFT_INT:
		kv->armed.svm.soft.vector = ex->payload.raw[1];
		kv->armed.svm.soft.len = ex->payload.raw[2];
		kv->armed.svm.soft.rip = kvmi_regs_rip(vcpu);
		/* Or the entry would find nothing to be done. */
		kv->armed.bits |= KVMI_ARMED_SOFT;
		return 1;
	case KVMI_SVM_INT1:
		/* It is no fault, and leaves DR6 alone. */
		kvmi_reg_write(vcpu, VCPU_REGS_RIP, kvmi_regs_rip(vcpu) +
			       ex->payload.raw[2]);
		fallthrough;
	default:
		return kvmi_svm_reflect(kv, ex->payload.raw[1]);
	}
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

static u32 kvmi_svm_spte_access(u64 spte)
{
	u32 access = KVMI_ACCESS_R;

	if (!(spte & _PAGE_PRESENT))
		return 0;
	if (spte & _PAGE_RW)
		access |= KVMI_ACCESS_W;
	if (!(spte & _PAGE_NX))
		access |= KVMI_ACCESS_X;
	return access;
}

static u64 kvmi_svm_spte_own(hpa_t addr)
{
	return addr | sme_me_mask | _PAGE_PRESENT | _PAGE_RW | _PAGE_USER |
	       _PAGE_ACCESSED | _PAGE_DIRTY;
}

static const u32 kvmi_svm_host_msrs[] = { MSR_VM_CR };

const struct kvmi_ops kvmi_svm_ops = {
	.vendor = KVMI_VENDOR_AMD,
	.name = "kvm_amd",
	.access = kvmi_svm_access,
	.probe = kvmi_svm_probe,
	.check = kvmi_svm_check,
	.insns = kvmi_svm_insn_bits,
	.controls = kvmi_svm_controls,
	.arm = kvmi_svm_arm,
	.disarm = kvmi_svm_disarm,
	.expect = kvmi_svm_expect,
	.run = kvmi_svm_run,
	.exit = kvmi_svm_exit,
	.exit_begin = kvmi_svm_exit_begin,
	.is_step = kvmi_svm_is_step,
	.step_emulate = kvmi_svm_step_emulate,
	.decode = kvmi_svm_decode,
	.finish = kvmi_svm_finish,
	.reason = kvmi_svm_reason,
	.raw = kvmi_svm_raw,
	.delivering = kvmi_svm_delivering,
	.vectoring = kvmi_svm_vectoring,
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
	.spte_access = kvmi_svm_spte_access,
	.spte_type = _PAGE_PWT | _PAGE_PCD,
	.spte_own = kvmi_svm_spte_own,
	.spte_table = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED,
};
