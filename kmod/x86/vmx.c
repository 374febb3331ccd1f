// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back end for Intel: VMX.
 *
 * KVM keeps shadows of its execution controls and writes the VMCS only when its
 * own wish changes, then without kvmi's bits. So each entry compares: what is in
 * the VMCS but for the bits that are kvmi's is KVM's present wish.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <asm/vmx.h>

#include "../hook.h"

#define QUAL_CR_NUM(qual)	((qual) & 15)
#define QUAL_CR_TYPE(qual)	((qual) >> 4 & 3)	/* 0: MOV to CR */
#define QUAL_CR_REG(qual)	((qual) >> 8 & 15)

#define QUAL_EPT_READ		BIT(0)
#define QUAL_EPT_WRITE		BIT(1)
#define QUAL_EPT_FETCH		BIT(2)
#define QUAL_EPT_GVA		BIT(7)
#define QUAL_EPT_TRANSLATED	BIT(8)
#define QUAL_EPT_NMI_UNBLOCK	BIT(12)

/* EPT leaves: SDM volume 3, "Format of an EPT Page-Table Entry". */
#define EPT_R			BIT_ULL(0)
#define EPT_W			BIT_ULL(1)
#define EPT_X			BIT_ULL(2)
#define EPT_PSE			BIT_ULL(7)
#define EPT_XU			BIT_ULL(10)

/* The VMCS is current: the vCPU is loaded, and preemption reloads it. */
static u64 kvmi_vmread(unsigned long field)
{
	unsigned long value;

	asm volatile("vmread %1, %0" : "=rm" (value) : "r" (field) : "cc");
	return value;
}

static void kvmi_vmwrite(unsigned long field, u64 value)
{
	asm volatile("vmwrite %1, %0" :: "r" (field),
		     "rm" ((unsigned long)value) : "cc");
}

static u32 kvmi_vmx_access(void)
{
	u64 cap = 0;
	u32 access = BIT(0) | BIT(KVMI_ACCESS_R) |
		     BIT(KVMI_ACCESS_R | KVMI_ACCESS_W) |
		     BIT(KVMI_ACCESS_R | KVMI_ACCESS_X) | BIT(KVMI_ACCESS_RWX);

	/* Writable without readable would be a misconfiguration. */
	if (!rdmsrl_safe(MSR_IA32_VMX_EPT_VPID_CAP, &cap) &&
	    (cap & VMX_EPT_EXECUTE_ONLY_BIT))
		access |= BIT(KVMI_ACCESS_X);
	return access;
}

static bool kvmi_vmx_has_exec(u32 bit)
{
	u64 cap;

	if (rdmsrl_safe(MSR_IA32_VMX_PROCBASED_CTLS, &cap))
		return false;
	return upper_32_bits(cap) & bit;
}

static int kvmi_vmx_probe(void)
{
	if (!kvmi_vmx_has_exec(CPU_BASED_MONITOR_TRAP_FLAG)) {
		pr_warn("this CPU has no monitor trap flag\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int kvmi_vmx_check(struct kvm_vcpu *vcpu)
{
	return 0;
}

/* ---- controls ------------------------------------------------------------------------ */

/* A value that is not the one written last is KVM's new wish. */
static void kvmi_vmx_control(unsigned long field, struct kvmi_vmx_control *c,
			     u32 want)
{
	u32 old = kvmi_vmread(field);

	if (!c->on || old != c->last)
		c->base = old;
	c->last = c->base | want;
	c->on = want;
	if (c->last != old)
		kvmi_vmwrite(field, c->last);
}

/* MSR bitmap: SDM volume 3, "MSR-Bitmap Address": four maps of 1 KiB. */
static int kvmi_vmx_msr_bit(u32 index)
{
	u32 base = 0;

	if (index >= 0xc0000000) {
		index -= 0xc0000000;
		base = 0x400 * 8;
	}
	return index < 0x2000 ? base + index : -1;
}

static void kvmi_vmx_msrs(struct kvmi_vcpu *kv, bool on)
{
	unsigned long *map;
	u32 i, w;

	if (!(kvmi_vmread(CPU_BASED_VM_EXEC_CONTROL) &
	      CPU_BASED_USE_MSR_BITMAPS))
		return;
	map = __va(kvmi_vmread(MSR_BITMAP));

	/* Pairs with the release in kvmi_event_set_msr(). */
	for (i = 0; i < smp_load_acquire(&kv->nr_msrs); i++) {
		struct kvmi_msr *msr = &kv->msrs[i];
		int bit = kvmi_vmx_msr_bit(msr->index);

		if (bit < 0)
			continue;
		for (w = 0; w < 2; w++) {
			bool want = on && READ_ONCE(msr->mode[w]);
			int b = bit + w * 0x800 * 8;

			if (want && !test_bit(b, map)) {
				__set_bit(b, map);
				msr->added[w] = 1;
			} else if (!want && msr->added[w]) {
				__clear_bit(b, map);
				msr->added[w] = 0;
			}
		}
	}
}

/* All of CR4 owned by the host, and what the guest reads refreshed. */
static void kvmi_vmx_cr4(struct kvmi_vcpu *kv, bool on)
{
	u64 mask = kvmi_vmread(CR4_GUEST_HOST_MASK);
	u64 base = mask & ~kv->armed.vmx.cr4;
	u64 shadow;

	if (on == (mask == ~0ULL))
		return;
	if (on) {
		/* The bits that were the guest's are stale in the shadow. */
		shadow = (kvmi_vmread(CR4_READ_SHADOW) & base) |
			 (kvmi_vmread(GUEST_CR4) & ~base);
		kvmi_vmwrite(CR4_READ_SHADOW, shadow);
		kvmi_vmwrite(CR4_GUEST_HOST_MASK, ~0ULL);
		kv->armed.vmx.cr4 = ~base;
	} else {
		kvmi_vmwrite(CR4_GUEST_HOST_MASK, base);
		kv->armed.vmx.cr4 = 0;
	}
}

static void kvmi_vmx_arm(struct kvmi_vcpu *kv, u32 want)
{
	struct kvmi_armed *armed = &kv->armed;
	u32 both = want | armed->bits;
	u32 exec = 0;

	if (want & KVMI_WANT_CR3)
		exec |= CPU_BASED_CR3_LOAD_EXITING;
	if (want & KVMI_WANT_STEP)
		exec |= CPU_BASED_MONITOR_TRAP_FLAG;
	if (both & (KVMI_WANT_CR3 | KVMI_WANT_STEP))
		kvmi_vmx_control(CPU_BASED_VM_EXEC_CONTROL, &armed->vmx.exec,
				 exec);
	if (both & KVMI_WANT_BP)
		kvmi_vmx_control(EXCEPTION_BITMAP, &armed->vmx.excp,
				 want & KVMI_WANT_BP ? BIT(BP_VECTOR) : 0);
	if (both & KVMI_WANT_CR4)
		kvmi_vmx_cr4(kv, want & KVMI_WANT_CR4);
	if (both & KVMI_WANT_MSR)
		kvmi_vmx_msrs(kv, want & KVMI_WANT_MSR);
	armed->bits = want;
}

static void kvmi_vmx_disarm(struct kvmi_vcpu *kv)
{
	bool msrs = kv->armed.bits & KVMI_WANT_MSR;

	/*
	 * In a nested guest another VMCS is current; before it was entered,
	 * kvmi_exit() had everything taken back.
	 */
	if (!kv->armed.bits || (kv->vcpu->arch.hflags & HF_GUEST_MASK))
		return;
	kvmi_vmx_arm(kv, 0);
	/* Should KVM have wanted one of those meanwhile, it says so again. */
	if (msrs)
		kvm_make_request(KVM_REQ_MSR_FILTER_CHANGED, kv->vcpu);
}

/* Of a field that the CPU has not, VMREAD says so. */
static bool kvmi_vmread_safe(u32 field, u64 *value)
{
	unsigned long val = 0;
	bool failed;

	asm volatile("vmread %[field], %[val]"
		     CC_SET(be)
		     : CC_OUT(be) (failed), [val] "+r" (val)
		     : [field] "r" ((unsigned long)field) : "memory");
	*value = val;
	return !failed;
}

/*
 * By encoding (SDM volume 3, "Field Encoding in VMCS"): width, type and index, the
 * highest of which IA32_VMX_VMCS_ENUM tells.
 */
static u32 kvmi_vmx_control_fields(struct kvmi_vcpu *kv, void *buf, u32 size)
{
	struct kvmi_x86_vmcs_field *field = buf;
	u32 nr = 0, width, type, index, max;
	u64 cap, value;

	if (rdmsrl_safe(MSR_IA32_VMX_VMCS_ENUM, &cap))
		return 0;
	max = cap >> 1 & 0x1ff;
	/* The one that failing reads change: what it was before them. */
	if (kvmi_vmread_safe(VM_INSTRUCTION_ERROR, &value)) {
		if ((nr + 1) * sizeof(*field) <= size) {
			memset(&field[nr], 0, sizeof(*field));
			field[nr].encoding = VM_INSTRUCTION_ERROR;
			field[nr].value = value;
		}
		nr++;
	}
	for (type = 0; type < 4; type++) {
		for (width = 0; width < 4; width++) {
			for (index = 0; index <= max; index++) {
				u32 enc = width << 13 | type << 10 | index << 1;

				if (enc == VM_INSTRUCTION_ERROR ||
				    !kvmi_vmread_safe(enc, &value))
					continue;
				if ((nr + 1) * sizeof(*field) <= size) {
					memset(&field[nr], 0, sizeof(*field));
					field[nr].encoding = enc;
					field[nr].value = value;
				}
				nr++;
			}
		}
	}
	return nr * sizeof(*field);
}

static bool kvmi_vmx_injecting(struct kvmi_vcpu *kv)
{
	/* MTF traps before the handler's first instruction: nothing to do. */
	return false;
}

static bool kvmi_vmx_nmi_latched(struct kvmi_vcpu *kv)
{
	return false;
}

/* ---- exits --------------------------------------------------------------------------- */

static void kvmi_vmx_exit_begin(struct kvmi_vcpu *kv)
{
}

/* KVM's word, which also says when the guest was not entered at all. */
static u32 kvmi_vmx_reason(struct kvmi_vcpu *kv, u64 *qual)
{
	u32 reason, intr, err;
	u64 info2;

	kvm_orig(get_exit_info)(kv->vcpu, &reason, qual, &info2, &intr, &err);
	return reason;
}

static bool kvmi_vmx_is_step(struct kvmi_vcpu *kv)
{
	u64 qual;

	return kvmi_vmx_reason(kv, &qual) == EXIT_REASON_MONITOR_TRAP_FLAG;
}

static u32 kvmi_vmx_insn_len(void)
{
	return kvmi_vmread(VM_EXIT_INSTRUCTION_LEN);
}

/* What a MOV to CR writes: a register that an answer may have set meanwhile. */
static u64 kvmi_vmx_cr_value(struct kvmi_vcpu *kv, u64 qual)
{
	u64 value = kvmi_reg_read(kv->vcpu, QUAL_CR_REG(qual));

	return kvmi_regs_64bit(kv->vcpu) ? value : (u32)value;
}

static bool kvmi_vmx_cr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 qual)
{
	struct kvmi_x86_ev_cr *ev = &ex->payload.cr;
	u32 cr = QUAL_CR_NUM(qual);
	u32 i = cr - 3;

	if (QUAL_CR_TYPE(qual) || (cr != 3 && cr != 4))
		return false;
	if (!(kv->armed.bits & (cr == 3 ? KVMI_WANT_CR3 : KVMI_WANT_CR4)))
		return false;

	ev->cr = cr;
	ev->insn_len = kvmi_vmx_insn_len();
	ev->old = cr == 3 ? kvmi_regs_cr3(kv->vcpu) : kvmi_regs_cr4(kv->vcpu);
	ev->new_value = kvmi_vmx_cr_value(kv, qual);

	ex->kind = KVMI_EVENT_X86_CR;
	ex->mode = READ_ONCE(kv->cr_mode[i]);
	ex->regs = kv->cr_regs[i];
	/* KVM warns at a CR3 exit that it did not ask for. */
	ex->cont = cr == 3 ? KVMI_CONT_VENDOR : KVMI_CONT_ORIG;
	ex->skip = true;
	ex->value = KVMI_VALUE_REG;
	ex->source = QUAL_CR_REG(qual);
	ex->size = sizeof(*ev);
	return true;
}

static bool kvmi_vmx_is_breakpoint(void)
{
	u32 info = kvmi_vmread(VM_EXIT_INTR_INFO);

	return (info & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK |
			INTR_INFO_VECTOR_MASK)) ==
	       (INTR_INFO_VALID_MASK | INTR_TYPE_SOFT_EXCEPTION | BP_VECTOR);
}

static bool kvmi_vmx_decode(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	u64 qual;

	switch (kvmi_vmx_reason(kv, &qual)) {
	case EXIT_REASON_CPUID:
		if (!READ_ONCE(kv->mode[KVMI_EVENT_X86_CPUID]))
			return false;
		kvmi_exit_cpuid(kv, ex, kvmi_vmx_insn_len());
		return true;
	case EXIT_REASON_MSR_READ:
		return kvmi_exit_msr(kv, ex, false);
	case EXIT_REASON_MSR_WRITE:
		return kvmi_exit_msr(kv, ex, true);
	case EXIT_REASON_CR_ACCESS:
		return kvmi_vmx_cr(kv, ex, qual);
	case EXIT_REASON_EXCEPTION_NMI:
		if (!(kv->armed.bits & KVMI_WANT_BP) ||
		    !kvmi_vmx_is_breakpoint())
			return false;
		kvmi_exit_breakpoint(kv, ex, kvmi_vmx_insn_len());
		return true;
	default:
		return false;
	}
}

static int kvmi_vmx_finish(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u64 qual;
	int err;

	if (ex->kind == KVMI_EVENT_X86_CR) {
		/* As KVM's handler does with CR4, and SVM's with both. */
		kvmi_vmx_reason(kv, &qual);
		err = kvm_call(kvm_set_cr3)(vcpu, kvmi_vmx_cr_value(kv, qual));
		return kvm_call(kvm_complete_insn_gp)(vcpu, err);
	}

	/* A debugger in the VMM has set breakpoints of its own. */
	if (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		return kvm_orig(handle_exit)(vcpu, EXIT_FASTPATH_NONE);
	vcpu->arch.event_exit_inst_len = ex->payload.breakpoint.insn_len;
	kvm_call(kvm_queue_exception)(vcpu, BP_VECTOR);
	return 1;
}

static bool kvmi_vmx_fault(struct kvmi_vcpu *kv, struct kvmi_ev_access *ev)
{
	u64 qual;

	if (kvmi_vmx_reason(kv, &qual) != EXIT_REASON_EPT_VIOLATION)
		return false;

	ev->gpa = kvmi_vmread(GUEST_PHYSICAL_ADDRESS);
	ev->gva = 0;
	ev->access = 0;
	ev->flags = 0;
	ev->pad = 0;
	if (qual & QUAL_EPT_READ)
		ev->access |= KVMI_ACCESS_R;
	if (qual & QUAL_EPT_WRITE)
		ev->access |= KVMI_ACCESS_W;
	if (qual & QUAL_EPT_FETCH)
		ev->access |= KVMI_ACCESS_X;
	if (qual & QUAL_EPT_GVA) {
		ev->gva = kvmi_vmread(GUEST_LINEAR_ADDRESS);
		ev->flags |= KVMI_ACCESS_F_GVA;
		if (!(qual & QUAL_EPT_TRANSLATED))
			ev->flags |= KVMI_ACCESS_F_WALK;
	}
	return true;
}

/*
 * An IRET that faulted in the view has unblocked NMIs before its time; KVM's
 * handler, which the exit does not reach, would block them again.
 */
static void kvmi_vmx_fault_done(struct kvmi_vcpu *kv)
{
	u32 state;
	u64 qual;

	kvmi_vmx_reason(kv, &qual);
	if (!(qual & QUAL_EPT_NMI_UNBLOCK) ||
	    (kvmi_vmread(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK) ||
	    !(kvmi_vmread(PIN_BASED_VM_EXEC_CONTROL) & PIN_BASED_VIRTUAL_NMIS))
		return;
	state = kvmi_vmread(GUEST_INTERRUPTIBILITY_INFO);
	kvmi_vmwrite(GUEST_INTERRUPTIBILITY_INFO, state | GUEST_INTR_STATE_NMI);
}

static bool kvmi_vmx_nested_entry(struct kvmi_vcpu *kv)
{
	u64 qual;
	u32 reason = kvmi_vmx_reason(kv, &qual);

	return reason == EXIT_REASON_VMLAUNCH || reason == EXIT_REASON_VMRESUME;
}

/* ---- page tables ------------------------------------------------------------------------ */

static u64 kvmi_vmx_spte_restrict(u64 spte, u32 access)
{
	/*
	 * Drop what KVM keeps in the bits that the hardware ignores, or would
	 * not, did KVM switch on what they are for; bit 63 suppresses #VE.
	 */
	spte &= ~(BIT_ULL(11) | GENMASK_ULL(62, 52));
	if (!(access & KVMI_ACCESS_R))
		spte &= ~EPT_R;
	if (!(access & KVMI_ACCESS_W))
		spte &= ~EPT_W;
	if (!(access & KVMI_ACCESS_X))
		spte &= ~(EPT_X | EPT_XU);
	return spte & (EPT_R | EPT_W | EPT_X) ? spte : 0;
}

static u64 kvmi_vmx_spte_small(u64 spte, int level, unsigned int index)
{
	spte += (u64)index << (PAGE_SHIFT + (level - 2) * 9);
	if (level == 2)
		spte &= ~EPT_PSE;
	return spte;
}

/* Whether it is on, then all there are by now, reserved numbers left out. */
static const u32 kvmi_vmx_host_msrs[] = {
	MSR_IA32_FEAT_CTL, MSR_IA32_VMX_BASIC, MSR_IA32_VMX_PINBASED_CTLS,
	MSR_IA32_VMX_PROCBASED_CTLS, MSR_IA32_VMX_EXIT_CTLS,
	MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_MISC, MSR_IA32_VMX_CR0_FIXED0,
	MSR_IA32_VMX_CR0_FIXED1, MSR_IA32_VMX_CR4_FIXED0,
	MSR_IA32_VMX_CR4_FIXED1, MSR_IA32_VMX_VMCS_ENUM,
	MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_EPT_VPID_CAP,
	MSR_IA32_VMX_TRUE_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	MSR_IA32_VMX_TRUE_EXIT_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	MSR_IA32_VMX_VMFUNC, MSR_IA32_VMX_PROCBASED_CTLS3,
	0x493,		/* IA32_VMX_EXIT_CTLS2, which has no name yet */
};

const struct kvmi_ops kvmi_vmx_ops = {
	.vendor = KVMI_VENDOR_INTEL,
	.name = "kvm_intel",
	.access = kvmi_vmx_access,
	.probe = kvmi_vmx_probe,
	.check = kvmi_vmx_check,
	.arm = kvmi_vmx_arm,
	.disarm = kvmi_vmx_disarm,
	.exit_begin = kvmi_vmx_exit_begin,
	.is_step = kvmi_vmx_is_step,
	.decode = kvmi_vmx_decode,
	.finish = kvmi_vmx_finish,
	.fault = kvmi_vmx_fault,
	.fault_done = kvmi_vmx_fault_done,
	.nested_entry = kvmi_vmx_nested_entry,
	.control = kvmi_vmx_control_fields,
	.host_msrs = kvmi_vmx_host_msrs,
	.nr_host_msrs = ARRAY_SIZE(kvmi_vmx_host_msrs),
	.injecting = kvmi_vmx_injecting,
	.nmi_latched = kvmi_vmx_nmi_latched,
	.spte_restrict = kvmi_vmx_spte_restrict,
	.spte_small = kvmi_vmx_spte_small,
};
