// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that the CPU does not decode for us: MOV to CR on SVM without
 * decode assists. KVM's emulator would execute them; all that is wanted is the
 * register.
 */
#include "../hook.h"

#define INSN_MAX	15

static int kvmi_insn_fetch(struct kvmi_vcpu *kv, u8 *buf)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_segment cs;
	u64 rip = kvmi_regs_rip(vcpu);
	int done = 0;
	gpa_t gpa;
	int n;

	kvm_call(kvm_get_segment)(vcpu, &cs, VCPU_SREG_CS);
	if (!cs.l)
		rip = (u32)(rip + cs.base);

	while (done < INSN_MAX) {
		n = min_t(int, INSN_MAX - done,
			  PAGE_SIZE - offset_in_page(rip + done));
		/*
		 * The CPU has just fetched from there, so that the accessed
		 * bits, which this walk of KVM's sets, are set already.
		 */
		gpa = kvm_call(kvm_mmu_gva_to_gpa_read)(vcpu, rip + done, NULL);
		if (gpa == INVALID_GPA)
			break;
		if (kvm_call(kvm_vcpu_read_guest)(vcpu, gpa, buf + done, n))
			break;
		done += n;
	}
	return done;
}

/**
 * kvmi_insn_mov_cr - what a MOV to a control register writes
 * @kv: the vCPU, at the instruction; called on its thread
 * @cr: number of the control register
 * @value: set to the source register
 * @len: set to the length of the instruction
 * @reg: set to the source register
 *
 * APM volume 3, "MOV CRn": 0F 22 /r, always with a register operand; prefixes
 * but REX have no effect.
 *
 * Return: 0; -EINVAL if it is another instruction, or cannot be read.
 */
int kvmi_insn_mov_cr(struct kvmi_vcpu *kv, u32 cr, u64 *value, u32 *len,
		     u8 *reg)
{
	u8 insn[INSN_MAX] = {};
	bool l = false;
	u8 rex = 0;
	u8 modrm;
	int n, i;

	n = kvmi_insn_fetch(kv, insn);
	l = kvmi_regs_64bit(kv->vcpu);
	for (i = 0; i < n; i++) {
		if (l && (insn[i] & 0xf0) == 0x40) {
			rex = insn[i++];
			break;
		}
		if (insn[i] != 0x66 && insn[i] != 0x67 && insn[i] != 0xf2 &&
		    insn[i] != 0xf3 && insn[i] != 0x2e && insn[i] != 0x36 &&
		    insn[i] != 0x3e && insn[i] != 0x26 && insn[i] != 0x64 &&
		    insn[i] != 0x65 && insn[i] != 0xf0)
			break;
	}
	if (i + 3 > n || insn[i] != 0x0f || insn[i + 1] != 0x22)
		return -EINVAL;
	modrm = insn[i + 2];
	if ((modrm >> 3 & 7) != cr)
		return -EINVAL;

	*reg = (modrm & 7) | (rex & 1) << 3;
	*value = kvmi_reg_read(kv->vcpu, *reg);
	if (!l)
		*value = (u32)*value;
	*len = i + 3;
	return 0;
}

/**
 * kvmi_insn_soft_int - the vector of a software interrupt
 * @kv: the vCPU, at the instruction; called on its thread
 *
 * APM volume 3, "INT", "INT 3", "INTO".
 *
 * Return: the vector, 3 for INT3 (but not for INT 3); 4 if it is neither INT3
 * nor INT.
 */
int kvmi_insn_soft_int(struct kvmi_vcpu *kv)
{
	u8 insn[INSN_MAX] = {};
	int n = kvmi_insn_fetch(kv, insn);

	if (n >= 1 && insn[0] == 0xcc)
		return BP_VECTOR;
	return n >= 2 && insn[0] == 0xcd ? insn[1] : OF_VECTOR;
}
