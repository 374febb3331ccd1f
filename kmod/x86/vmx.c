// SPDX-License-Identifier: GPL-2.0-only
/*
 * The back end for Intel: VMX.
 *
 * KVM keeps shadows of its execution controls and writes the VMCS only when its
 * own wish changes, then without kvmi's bits. So each entry compares: what is in
 * the VMCS but for the bits that are kvmi's is KVM's present wish.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <asm/archrandom.h>
#include <asm/mtrr.h>
#include <asm/vmx.h>

#include "../hook.h"
#include "quick.h"

#define QUAL_CR_NUM(qual)	((qual) & 15)
#define QUAL_CR_TYPE(qual)	((qual) >> 4 & 3)
#define QUAL_CR_TO		0
#define QUAL_CR_FROM		1
#define QUAL_CR_CLTS		2
#define QUAL_CR_LMSW		3
#define QUAL_CR_SOURCE(qual)	((qual) >> 16 & 0xffff)
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

	if (!bit)
		return true;
	if (rdmsrl_safe(MSR_IA32_VMX_PROCBASED_CTLS, &cap))
		return false;
	return upper_32_bits(cap) & bit;
}

static bool kvmi_vmx_has_exec2(u32 bit)
{
	u64 cap;

	if (!bit)
		return true;
	return kvmi_vmx_has_exec(CPU_BASED_ACTIVATE_SECONDARY_CONTROLS) &&
	       !rdmsrl_safe(MSR_IA32_VMX_PROCBASED_CTLS2, &cap) &&
	       (upper_32_bits(cap) & bit);
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

/*
 * A value that is not the one written last is KVM's new wish. One that is may be, too,
 * if KVM has come to wish for what is ours: where it changes its mind, its own
 * state says so (@known, of the bits @mask).
 */
static void kvmi_vmx_control(unsigned long field, struct kvmi_vmx_control *c,
			     u32 want, u32 mask, u32 known)
{
	u32 old = kvmi_vmread(field);

	if (!c->on || old != c->last)
		c->base = old;
	c->base = (c->base & ~mask) | known;
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

static void kvmi_vmx_msrs(struct kvmi_vcpu *kv, bool on, u32 gen)
{
	unsigned long *map;
	u32 i, w;
	u8 wants;

	if (!(kvmi_vmread(CPU_BASED_VM_EXEC_CONTROL) &
	      CPU_BASED_USE_MSR_BITMAPS))
		return;
	map = __va(kvmi_vmread(MSR_BITMAP));
	if (on && gen == kv->armed.gen && (kv->armed.bits & KVMI_WANT_MSR) &&
	    kvmi_armed_msrs(&kv->armed, (u32 *)map))
		return;

	kv->armed.nr_words = 0;
	/* Pairs with the release in kvmi_watch_add_msr(). */
	for (i = 0; i < smp_load_acquire(&kv->nr_msrs); i++) {
		struct kvmi_msr *msr = &kv->msrs[i];
		int bit;

		/* Before the index, which may be new. */
		wants = smp_load_acquire(&msr->want);
		bit = kvmi_vmx_msr_bit(READ_ONCE(msr->index));
		if (bit < 0)
			continue;
		for (w = 0; w < 2; w++) {
			bool want = on && (wants & BIT(w));
			int b = bit + w * 0x800 * 8;

			if (want && !test_bit(b, map)) {
				__set_bit(b, map);
				WRITE_ONCE(msr->added, msr->added | BIT(w));
			} else if (!want && (msr->added & BIT(w))) {
				__clear_bit(b, map);
				WRITE_ONCE(msr->added, msr->added & ~BIT(w));
			}
			if (want)
				kvmi_armed_add_msr(&kv->armed, b);
		}
	}
}

/* All of a register owned by the host, and what the guest reads refreshed. */
static void kvmi_vmx_own(unsigned long mask_field, unsigned long shadow_field,
			 unsigned long guest_field, u64 *ours, bool on)
{
	u64 mask = kvmi_vmread(mask_field);
	u64 base = mask & ~*ours;
	u64 shadow;

	if (on == (mask == ~0ULL))
		return;
	if (on) {
		/* The bits that were the guest's are stale in the shadow. */
		shadow = (kvmi_vmread(shadow_field) & base) |
			 (kvmi_vmread(guest_field) & ~base);
		kvmi_vmwrite(shadow_field, shadow);
		kvmi_vmwrite(mask_field, ~0ULL);
		*ours = ~base;
	} else {
		kvmi_vmwrite(mask_field, base);
		*ours = 0;
	}
}

static const struct {
	u32 insn;
	u32 exec;
	u32 exec2;
} kvmi_vmx_insns[] = {
	{ KVMI_X86_INSN_HLT, CPU_BASED_HLT_EXITING, 0 },
	{ KVMI_X86_INSN_PAUSE, CPU_BASED_PAUSE_EXITING, 0 },
	{ KVMI_X86_INSN_MONITOR, CPU_BASED_MONITOR_EXITING, 0 },
	{ KVMI_X86_INSN_MWAIT, CPU_BASED_MWAIT_EXITING, 0 },
	{ KVMI_X86_INSN_INVLPG, CPU_BASED_INVLPG_EXITING, 0 },
	{ KVMI_X86_INSN_INVPCID, CPU_BASED_INVLPG_EXITING, 0 },
	{ KVMI_X86_INSN_INVD, 0, 0 },
	{ KVMI_X86_INSN_WBINVD, 0, SECONDARY_EXEC_WBINVD_EXITING },
	{ KVMI_X86_INSN_RDTSC, CPU_BASED_RDTSC_EXITING, 0 },
	{ KVMI_X86_INSN_RDTSCP, CPU_BASED_RDTSC_EXITING, 0 },
	{ KVMI_X86_INSN_RDPMC, CPU_BASED_RDPMC_EXITING, 0 },
	{ KVMI_X86_INSN_RDRAND, 0, SECONDARY_EXEC_RDRAND_EXITING },
	{ KVMI_X86_INSN_RDSEED, 0, SECONDARY_EXEC_RDSEED_EXITING },
	{ KVMI_X86_INSN_TASK_SWITCH, 0, 0 },
	{ KVMI_X86_INSN_SHUTDOWN, 0, 0 },
	{ KVMI_X86_INSN_NESTED, 0, 0 },
};

/* Basic exit reasons of all of them, two for NESTED. */
#define INSN_EXITS							\
	(BIT_ULL(EXIT_REASON_HLT) |					\
	 BIT_ULL(EXIT_REASON_PAUSE_INSTRUCTION) |			\
	 BIT_ULL(EXIT_REASON_MONITOR_INSTRUCTION) |			\
	 BIT_ULL(EXIT_REASON_MWAIT_INSTRUCTION) |			\
	 BIT_ULL(EXIT_REASON_INVLPG) | BIT_ULL(EXIT_REASON_INVPCID) |	\
	 BIT_ULL(EXIT_REASON_INVD) | BIT_ULL(EXIT_REASON_WBINVD) |	\
	 BIT_ULL(EXIT_REASON_RDTSC) | BIT_ULL(EXIT_REASON_RDTSCP) |	\
	 BIT_ULL(EXIT_REASON_RDPMC) | BIT_ULL(EXIT_REASON_RDRAND) |	\
	 BIT_ULL(EXIT_REASON_RDSEED) | BIT_ULL(EXIT_REASON_TASK_SWITCH) | \
	 BIT_ULL(EXIT_REASON_TRIPLE_FAULT) |				\
	 BIT_ULL(EXIT_REASON_VMLAUNCH) | BIT_ULL(EXIT_REASON_VMRESUME))

static u32 kvmi_vmx_insn_bits(void)
{
	u32 bits = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kvmi_vmx_insns); i++)
		if (kvmi_vmx_has_exec(kvmi_vmx_insns[i].exec) &&
		    kvmi_vmx_has_exec2(kvmi_vmx_insns[i].exec2))
			bits |= BIT(kvmi_vmx_insns[i].insn);
	return bits;
}

static void kvmi_vmx_controls(struct kvmi_wants *wants)
{
	u32 exec = 0, exec2 = 0;
	size_t i;

	if (wants->cr[1] & BIT(3))
		exec |= CPU_BASED_CR3_LOAD_EXITING;
	if (wants->cr[0] & BIT(3))
		exec |= CPU_BASED_CR3_STORE_EXITING;
	if (wants->cr[1] & BIT(8))
		exec |= CPU_BASED_CR8_LOAD_EXITING;
	if (wants->cr[0] & BIT(8))
		exec |= CPU_BASED_CR8_STORE_EXITING;
	if (wants->dr[0] | wants->dr[1])
		exec |= CPU_BASED_MOV_DR_EXITING;
	if (wants->table[0] | wants->table[1])
		exec2 |= SECONDARY_EXEC_DESC;
	for (i = 0; i < ARRAY_SIZE(kvmi_vmx_insns); i++) {
		if (!(wants->insns & BIT(kvmi_vmx_insns[i].insn)))
			continue;
		exec |= kvmi_vmx_insns[i].exec;
		exec2 |= kvmi_vmx_insns[i].exec2;
	}
	wants->vmx.exec = exec;
	wants->vmx.exec2 = exec2;
	wants->vmx.excp = wants->exceptions;
	wants->vmx.cr0 = wants->cr[1] & BIT(0);
	wants->vmx.cr4 = wants->cr[1] & BIT(4);
}

static void kvmi_vmx_expect(struct kvmi_vcpu *kv)
{
	/* What is ours must not go along. */
	u64 exits = BIT_ULL(EXIT_REASON_VMLAUNCH) | BIT_ULL(EXIT_REASON_VMRESUME);
	struct kvmi_wants *wants = &kv->wants;

	if (kv->want & KVMI_WANT_MSR)
		exits |= BIT_ULL(EXIT_REASON_MSR_READ) |
			 BIT_ULL(EXIT_REASON_MSR_WRITE);
	if (kv->want & KVMI_WANT_CPUID)
		exits |= BIT_ULL(EXIT_REASON_CPUID);
	if (kv->want & KVMI_WANT_IO)
		exits |= BIT_ULL(EXIT_REASON_IO_INSTRUCTION);
	if (kv->want & KVMI_WANT_HYPERCALL)
		exits |= BIT_ULL(EXIT_REASON_VMCALL);
	if (kv->want & KVMI_WANT_XSETBV)
		exits |= BIT_ULL(EXIT_REASON_XSETBV);
	if (wants->cr[0] | wants->cr[1])
		exits |= BIT_ULL(EXIT_REASON_CR_ACCESS);
	if (wants->dr[0] | wants->dr[1])
		exits |= BIT_ULL(EXIT_REASON_DR_ACCESS);
	if (wants->table[0] | wants->table[1])
		exits |= BIT_ULL(EXIT_REASON_GDTR_IDTR) |
			 BIT_ULL(EXIT_REASON_LDTR_TR);
	if (wants->exceptions)
		exits |= BIT_ULL(EXIT_REASON_EXCEPTION_NMI);
	if (wants->insns)
		exits |= INSN_EXITS;
	memcpy(kv->armed.exits, &exits, sizeof(exits));
}

static __always_inline enum kvmi_concern kvmi_vmx_concern(struct kvmi_vcpu *kv)
{
	/* Of an entry that has failed it is none of those that are asked about. */
	u16 reason = kvmi_vmread(VM_EXIT_REASON);

	if (reason > 63 ||
	    likely(!(kv->armed.exits[reason / 32] & BIT(reason % 32))))
		return KVMI_CONCERN_NONE;
	return reason == EXIT_REASON_CPUID ? KVMI_CONCERN_CPUID :
					     KVMI_CONCERN_MAYBE;
}

/*
 * Faults of an instruction for which something stands in for the guest's stack, say:
 * they have to be delivered without that. KVM takes INT3 for its own, NMIs and machine
 * checks are none of an instruction's.
 */
#define KVMI_VMX_STANDIN_EXCP	(~(u32)(BIT(NMI_VECTOR) | BIT(BP_VECTOR) | \
					BIT(MC_VECTOR)))

static void kvmi_vmx_arm(struct kvmi_vcpu *kv, u32 want)
{
	static const struct kvmi_wants none;
	const struct kvmi_wants *wants = want & KVMI_WANT_CONTROLS ? &kv->wants :
								    &none;
	struct kvmi_armed *armed = &kv->armed;
	struct kvm_vcpu *vcpu = kv->vcpu;
	u32 gen = kvmi_wants_begin(kv);
	u32 exec = wants->vmx.exec;
	u32 excp = wants->vmx.excp;
	u32 bp, umip;

	bp = vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP ? BIT(BP_VECTOR) : 0;

	if (want & KVMI_WANT_STEP)
		exec |= CPU_BASED_MONITOR_TRAP_FLAG;
	/* The guest's debug registers are not loaded: KVM has to know of them. */
	if (exec || armed->vmx.exec.on)
		kvmi_vmx_control(CPU_BASED_VM_EXEC_CONTROL, &armed->vmx.exec,
				 exec, CPU_BASED_MOV_DR_EXITING,
				 vcpu->arch.switch_db_regs & KVM_DEBUGREG_WONT_EXIT ?
				 0 : CPU_BASED_MOV_DR_EXITING);
	/* UMIP, where the CPU has it not. */
	umip = kvmi_regs_cr4(vcpu) & X86_CR4_UMIP && !boot_cpu_has(X86_FEATURE_UMIP) ?
	       SECONDARY_EXEC_DESC : 0;
	if (wants->vmx.exec2 || armed->vmx.exec2.on)
		kvmi_vmx_control(SECONDARY_VM_EXEC_CONTROL, &armed->vmx.exec2,
				 wants->vmx.exec2, umip, umip);
	/* The VMM's debugger. */
	if (unlikely(kv->busy.standin))
		excp |= KVMI_VMX_STANDIN_EXCP;
	if (excp || armed->vmx.excp.on)
		kvmi_vmx_control(EXCEPTION_BITMAP, &armed->vmx.excp, excp, bp,
				 bp);
	if (wants->vmx.cr0 || armed->vmx.cr0)
		kvmi_vmx_own(CR0_GUEST_HOST_MASK, CR0_READ_SHADOW, GUEST_CR0,
			     &armed->vmx.cr0, wants->vmx.cr0);
	if (wants->vmx.cr4 || armed->vmx.cr4)
		kvmi_vmx_own(CR4_GUEST_HOST_MASK, CR4_READ_SHADOW, GUEST_CR4,
			     &armed->vmx.cr4, wants->vmx.cr4);
	if ((want | armed->bits) & KVMI_WANT_MSR)
		kvmi_vmx_msrs(kv, want & KVMI_WANT_MSR, gen);
	armed->bits = want;
	if (armed->gen != gen)
		kvmi_vmx_expect(kv);
	kvmi_wants_end(kv, gen);
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

static enum kvmi_trap kvmi_vmx_is_step(struct kvmi_vcpu *kv)
{
	u64 qual;

	/* A #DB that is due as well is kept pending by the CPU. */
	if (kvmi_vmx_reason(kv, &qual) == EXIT_REASON_MONITOR_TRAP_FLAG)
		return KVMI_TRAP_OURS;
	return KVMI_TRAP_NONE;
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
	u32 type = QUAL_CR_TYPE(qual), cr = QUAL_CR_NUM(qual);
	bool write = type != QUAL_CR_FROM;
	u64 value = 0;

	if (type == QUAL_CR_CLTS || type == QUAL_CR_LMSW)
		cr = 0;
	/* Also what nobody wants any more, where KVM's handler would not do. */
	if (!(kv->wants.cr[write] & BIT(cr)) &&
	    !(cr == 3 && kv->armed.vmx.exec.on) &&
	    !(type == QUAL_CR_CLTS && kv->armed.vmx.cr0))
		return false;

	if (type == QUAL_CR_TO)
		value = kvmi_vmx_cr_value(kv, qual);
	else if (write)
		value = kvmi_regs_lmsw(kv->vcpu, QUAL_CR_SOURCE(qual),
				       type == QUAL_CR_CLTS);
	kvmi_exit_cr(kv, ex, cr, write, value, kvmi_vmx_insn_len());
	/* KVM warns at a CR3 exit that it did not ask for, and CLTS is a bug. */
	ex->cont = cr == 3 || type == QUAL_CR_CLTS ? KVMI_CONT_VENDOR :
						     KVMI_CONT_ORIG;
	ex->value = type == QUAL_CR_TO ? KVMI_VALUE_REG : KVMI_VALUE_NONE;
	ex->source = QUAL_CR_REG(qual);
	return true;
}

/* SDM volume 3, "Exit Qualification for MOV DR". */
static bool kvmi_vmx_dr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 qual)
{
	bool write = !(qual & BIT(4));
	u32 dr = qual & 7;

	/* KVM's own, until it lets the guest have them. */
	if (!(kv->wants.dr[0] | kv->wants.dr[1]) && !kv->armed.vmx.exec.on)
		return false;
	kvmi_exit_dr(kv, ex, dr, write, QUAL_CR_REG(qual));
	return true;
}

/* SDM volume 3, "VM-Exit Instruction Information": bits 28 and 29. */
static bool kvmi_vmx_dtable(struct kvmi_vcpu *kv, struct kvmi_exit *ex, bool low)
{
	u32 id = (u32)kvmi_vmread(VMX_INSTRUCTION_INFO) >> 28 & 3;

	if (!kv->armed.vmx.exec2.on)
		return false;
	kvmi_exit_dtable(kv, ex, (low ? KVMI_X86_TABLE_GDTR :
					KVMI_X86_TABLE_LDTR) + (id & 1), id & 2);
	return true;
}

static bool kvmi_vmx_exception(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 qual)
{
	u32 info = kvmi_vmread(VM_EXIT_INTR_INFO), vector;
	u32 type = info & INTR_INFO_INTR_TYPE_MASK;
	bool soft;

	vector = info & INTR_INFO_VECTOR_MASK;
	soft = type == INTR_TYPE_SOFT_EXCEPTION ||
	       type == INTR_TYPE_PRIV_SW_EXCEPTION;
	if (!(info & INTR_INFO_VALID_MASK) ||
	    (!soft && type != INTR_TYPE_HARD_EXCEPTION) || vector > 31 ||
	    !(kv->armed.vmx.excp.last & BIT(vector)))
		return false;
	/* KVM's alone. */
	if (!kv->armed.vmx.excp.on)
		return false;
	/* Also one that nobody wants any more: KVM would send it to the VMM. */
	if (vector == BP_VECTOR) {
		kvmi_exit_breakpoint(kv, ex, kvmi_vmx_insn_len());
		return true;
	}
	kvmi_exit_exception(kv, ex, vector, info & INTR_INFO_DELIVER_CODE_MASK,
			    kvmi_vmread(VM_EXIT_INTR_ERROR_CODE), qual,
			    soft ? kvmi_vmx_insn_len() : 0);
	ex->cont = kv->armed.vmx.excp.base & BIT(vector) ? KVMI_CONT_ORIG :
							   KVMI_CONT_REFLECT;
	return true;
}

/* SDM volume 3, "Exit Qualification for I/O Instructions". */
static bool kvmi_vmx_io(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 qual)
{
	u32 flags = 0;

	if (!(qual & BIT(3)))
		flags |= KVMI_X86_IO_OUT;
	if (qual & BIT(4))
		flags |= KVMI_X86_IO_STRING;
	if (qual & BIT(5))
		flags |= KVMI_X86_IO_REP;
	return kvmi_exit_io(kv, ex, qual >> 16 & 0xffff, (qual & 7) + 1, flags,
			    kvmi_vmx_insn_len());
}

static bool kvmi_vmx_insn(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 reason,
			  u64 qual)
{
	u64 operand = 0;
	u32 insn;

	switch (reason) {
	case EXIT_REASON_HLT:
		insn = KVMI_X86_INSN_HLT;
		break;
	case EXIT_REASON_PAUSE_INSTRUCTION:
		insn = KVMI_X86_INSN_PAUSE;
		break;
	case EXIT_REASON_MONITOR_INSTRUCTION:
		insn = KVMI_X86_INSN_MONITOR;
		break;
	case EXIT_REASON_MWAIT_INSTRUCTION:
		insn = KVMI_X86_INSN_MWAIT;
		break;
	case EXIT_REASON_INVLPG:
		insn = KVMI_X86_INSN_INVLPG;
		operand = qual;
		break;
	case EXIT_REASON_INVPCID:
		insn = KVMI_X86_INSN_INVPCID;
		break;
	case EXIT_REASON_INVD:
		insn = KVMI_X86_INSN_INVD;
		break;
	case EXIT_REASON_WBINVD:
		insn = KVMI_X86_INSN_WBINVD;
		break;
	case EXIT_REASON_RDTSC:
		insn = KVMI_X86_INSN_RDTSC;
		break;
	case EXIT_REASON_RDTSCP:
		insn = KVMI_X86_INSN_RDTSCP;
		break;
	case EXIT_REASON_RDPMC:
		insn = KVMI_X86_INSN_RDPMC;
		operand = (u32)kvmi_reg_read(kv->vcpu, VCPU_REGS_RCX);
		break;
	case EXIT_REASON_RDRAND:
		insn = KVMI_X86_INSN_RDRAND;
		break;
	case EXIT_REASON_RDSEED:
		insn = KVMI_X86_INSN_RDSEED;
		break;
	case EXIT_REASON_TASK_SWITCH:
		insn = KVMI_X86_INSN_TASK_SWITCH;
		operand = (u16)qual;
		break;
	case EXIT_REASON_TRIPLE_FAULT:
		insn = KVMI_X86_INSN_SHUTDOWN;
		break;
	case EXIT_REASON_VMLAUNCH:
	case EXIT_REASON_VMRESUME:
		insn = KVMI_X86_INSN_NESTED;
		break;
	default:
		return false;
	}
	if (!kvmi_exit_insn(kv, ex, insn, operand, kvmi_vmx_insn_len())) {
		/* Armed for one and not for the other, or until a moment ago. */
		if (insn < KVMI_X86_INSN_RDTSC || insn > KVMI_X86_INSN_RDSEED ||
		    insn == KVMI_X86_INSN_RDPMC || !(kv->armed.bits & KVMI_WANT_CONTROLS))
			return false;
		kvmi_exit_tsc(kv, ex, insn);
	}
	if (insn == KVMI_X86_INSN_RDRAND || insn == KVMI_X86_INSN_RDSEED) {
		/* KVM takes them for instructions that the guest does not have. */
		if (kv->armed.vmx.exec2.base & (insn == KVMI_X86_INSN_RDRAND ?
						SECONDARY_EXEC_RDRAND_EXITING :
						SECONDARY_EXEC_RDSEED_EXITING))
			return false;
		ex->cont = KVMI_CONT_VENDOR;
	}
	return true;
}

static bool kvmi_vmx_decode(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	u64 qual;
	u32 reason = kvmi_vmx_reason(kv, &qual);

	switch (reason) {
	case EXIT_REASON_CPUID:
		if (!(READ_ONCE(kv->want) & KVMI_WANT_CPUID))
			return false;
		kvmi_exit_cpuid(kv, ex, kvmi_vmx_insn_len());
		return true;
	case EXIT_REASON_MSR_READ:
		return kvmi_exit_msr(kv, ex, false);
	case EXIT_REASON_MSR_WRITE:
		return kvmi_exit_msr(kv, ex, true);
	case EXIT_REASON_CR_ACCESS:
		return kvmi_vmx_cr(kv, ex, qual);
	case EXIT_REASON_DR_ACCESS:
		return kvmi_vmx_dr(kv, ex, qual);
	case EXIT_REASON_EXCEPTION_NMI:
		return kvmi_vmx_exception(kv, ex, qual);
	case EXIT_REASON_GDTR_IDTR:
		return kvmi_vmx_dtable(kv, ex, true);
	case EXIT_REASON_LDTR_TR:
		return kvmi_vmx_dtable(kv, ex, false);
	case EXIT_REASON_IO_INSTRUCTION:
		return kvmi_vmx_io(kv, ex, qual);
	case EXIT_REASON_VMCALL:
		return kvmi_exit_hypercall(kv, ex, kvmi_vmx_insn_len());
	case EXIT_REASON_XSETBV:
		return kvmi_exit_xsetbv(kv, ex, kvmi_vmx_insn_len());
	default:
		return ((READ_ONCE(kv->want) | kv->armed.bits) &
			(KVMI_WANT_INSN | KVMI_WANT_CONTROLS)) ?
		       kvmi_vmx_insn(kv, ex, reason, qual) : false;
	}
}

static u32 kvmi_vmx_basic_reason(struct kvmi_vcpu *kv)
{
	u64 qual;

	return (u16)kvmi_vmx_reason(kv, &qual);
}

/* KVM's wishes are known by what is in the VMCS alone: see kvmi_vmx_control(). */
static __always_inline bool kvmi_vmx_unchanged(struct kvmi_vcpu *kv, u32 want)
{
	return false;
}

static notrace fastpath_t kvmi_vmx_run(struct kvm_vcpu *vcpu, u64 run_flags)
{
	return kvmi_quick_run(vcpu, run_flags, kvmi_vmx_unchanged);
}

static notrace int kvmi_vmx_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	return kvmi_quick_exit(vcpu, fastpath, kvmi_vmx_concern,
			       kvmi_vmx_basic_reason);
}

static void kvmi_vmx_raw(struct kvmi_vcpu *kv, struct kvmi_x86_ev_exit *ev)
{
	u64 info2;

	kvm_orig(get_exit_info)(kv->vcpu, &ev->reason, &ev->info1, &info2,
				&ev->intr, &ev->error);
	ev->reason = (u16)ev->reason;
	ev->info2 = info2;
	ev->insn_len = kvmi_vmx_insn_len();
}

static bool kvmi_vmx_vectoring(struct kvmi_vcpu *kv)
{
	return kvmi_vmread(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK;
}

static bool kvmi_vmx_delivering(struct kvmi_vcpu *kv,
				struct kvmi_x86_ev_delivery *ev)
{
	u32 info = kvmi_vmread(VM_ENTRY_INTR_INFO_FIELD);

	if (!(info & INTR_INFO_VALID_MASK))
		return false;
	switch (info & INTR_INFO_INTR_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:
		ev->type = KVMI_X86_DELIVERY_INTERRUPT;
		break;
	case INTR_TYPE_NMI_INTR:
		ev->type = KVMI_X86_DELIVERY_NMI;
		break;
	case INTR_TYPE_HARD_EXCEPTION:
		ev->type = KVMI_X86_DELIVERY_EXCEPTION;
		break;
	default:
		ev->type = KVMI_X86_DELIVERY_SOFT;
		break;
	}
	ev->vector = info & INTR_INFO_VECTOR_MASK;
	ev->flags = info & INTR_INFO_DELIVER_CODE_MASK ?
		    KVMI_X86_EXCEPTION_ERROR : 0;
	ev->error = ev->flags ? kvmi_vmread(VM_ENTRY_EXCEPTION_ERROR_CODE) : 0;
	return true;
}

/*
 * RDRAND and RDSEED as the host's CPU has them: SDM volume 3, "Instruction-
 * Information Field for RDRAND and RDSEED". They set CF, and clear the other flags.
 */
static int kvmi_vmx_random(struct kvmi_vcpu *kv, bool seed)
{
	u32 info = kvmi_vmread(VMX_INSTRUCTION_INFO);
	u32 size = info >> 11 & 3, reg = info >> 3 & 15;
	struct kvm_vcpu *vcpu = kv->vcpu;
	unsigned long value = 0;
	u64 flags, mask;
	bool ok;

	ok = seed ? rdseed_long(&value) : rdrand_long(&value);
	if (!ok)
		value = 0;
	mask = size == 0 ? 0xffff : size == 1 ? 0xffffffff : ~0ULL;
	/* Of 32 bits, what it writes clears the rest. */
	kvmi_reg_write(vcpu, reg, (value & mask) |
		       (size == 0 ? kvmi_reg_read(vcpu, reg) & ~mask : 0));
	flags = kvm_call(kvm_get_rflags)(vcpu) &
		~(u64)(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF |
		       X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF);
	kvm_call(kvm_set_rflags)(vcpu, flags | (ok ? X86_EFLAGS_CF : 0));
	return kvmi_exit_skip(kv);
}

static int kvmi_vmx_finish_cr(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u64 qual;
	int err;

	kvmi_vmx_reason(kv, &qual);
	switch (QUAL_CR_TYPE(qual)) {
	case QUAL_CR_FROM:
		kvmi_reg_write(vcpu, QUAL_CR_REG(qual), kvmi_regs_cr3(vcpu));
		return kvmi_exit_skip(kv);
	case QUAL_CR_CLTS:
		kvm_call(kvm_set_cr0)(vcpu, kvmi_regs_lmsw(vcpu, 0, true));
		return kvmi_exit_skip(kv);
	default:
		/* As KVM's handler does with CR4, and SVM's with both. */
		err = kvm_call(kvm_set_cr3)(vcpu, kvmi_vmx_cr_value(kv, qual));
		return kvm_call(kvm_complete_insn_gp)(vcpu, err);
	}
}

static int kvmi_vmx_finish(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (ex->kind == KVMI_EVENT_X86_CR)
		return kvmi_vmx_finish_cr(kv);
	if (ex->kind == KVMI_EVENT_X86_INSN)
		return kvmi_vmx_random(kv, ex->index == KVMI_X86_INSN_RDSEED);

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

static u32 kvmi_vmx_spte_access(u64 spte)
{
	u32 access = 0;

	if (spte & EPT_R)
		access |= KVMI_ACCESS_R;
	if (spte & EPT_W)
		access |= KVMI_ACCESS_W;
	if (spte & EPT_X)
		access |= KVMI_ACCESS_X;
	return access;
}

/* The CPU ignores EPT_XU unless KVM has it tell users from supervisors. */
static u64 kvmi_vmx_spte_own(hpa_t addr)
{
	return addr | EPT_R | EPT_W | EPT_X | EPT_XU | VMX_EPT_ACCESS_BIT |
	       VMX_EPT_DIRTY_BIT | VMX_EPT_IPAT_BIT |
	       (u64)MTRR_TYPE_WRBACK << VMX_EPT_MT_EPTE_SHIFT;
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
	.insns = kvmi_vmx_insn_bits,
	.controls = kvmi_vmx_controls,
	.arm = kvmi_vmx_arm,
	.disarm = kvmi_vmx_disarm,
	.expect = kvmi_vmx_expect,
	.run = kvmi_vmx_run,
	.exit = kvmi_vmx_exit,
	.exit_begin = kvmi_vmx_exit_begin,
	.is_step = kvmi_vmx_is_step,
	.decode = kvmi_vmx_decode,
	.finish = kvmi_vmx_finish,
	.reason = kvmi_vmx_basic_reason,
	.raw = kvmi_vmx_raw,
	.delivering = kvmi_vmx_delivering,
	.vectoring = kvmi_vmx_vectoring,
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
	.spte_access = kvmi_vmx_spte_access,
	.spte_type = VMX_EPT_MT_MASK | VMX_EPT_IPAT_BIT,
	.spte_own = kvmi_vmx_spte_own,
	.spte_table = EPT_R | EPT_W | EPT_X | EPT_XU | VMX_EPT_ACCESS_BIT,
};
