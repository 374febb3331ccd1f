// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that the CPU does not decode for us: moves of control and debug
 * registers on SVM without decode assists, of which all that is wanted is the
 * register and its value; and what a step is about to execute, as some instructions
 * see more of TF than others.
 */
#include <linux/uaccess.h>

#include "../hook.h"

#define INSN_MAX	15

/*
 * The CPU has just fetched from there, or is about to, so that the accessed bits,
 * which KVM's walk sets, are what it sets itself.
 */
static gpa_t kvmi_insn_gpa(struct kvm_vcpu *vcpu, u64 addr)
{
	gpa_t gpa;

	if (vcpu->arch.efer & EFER_LMA)
		return kvmi_walk_fetch(vcpu, addr, &gpa) ? gpa : INVALID_GPA;
	return kvm_call(kvm_mmu_gva_to_gpa_read)(vcpu, addr, NULL);
}

/* The same where the vCPU's view may show another page there. */
static int kvmi_insn_read_view(struct kvmi_vcpu *kv, u64 addr, u8 *buf, int n)
{
	gpa_t gpa = kvmi_insn_gpa(kv->vcpu, addr);

	if (gpa == INVALID_GPA)
		return -EFAULT;
	if (kvmi_alias_rw(kv, &gpa, buf, n, false))
		return 0;
	return kvm_call(kvm_vcpu_read_guest)(kv->vcpu, gpa, buf, n) ? -EFAULT : 0;
}

/* @n bytes that do not cross a page. Return: 0 or -EFAULT. */
static int kvmi_insn_read(struct kvmi_vcpu *kv, u64 addr, u8 *buf, int n)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	const void __user *ptr;
	gpa_t gpa;

	if (unlikely(kv->view))
		return kvmi_insn_read_view(kv, addr, buf, n);

	if (vcpu->arch.efer & EFER_LMA) {
		ptr = kvmi_walk_fetch(vcpu, addr, &gpa);
		if (!ptr)
			return -EFAULT;
		if (n == sizeof(u64))
			return __get_user(*(u64 *)buf, (u64 __user *)ptr);
		return __copy_from_user(buf, ptr, n) ? -EFAULT : 0;
	}

	gpa = kvmi_insn_gpa(vcpu, addr);
	if (gpa == INVALID_GPA ||
	    kvm_call(kvm_vcpu_read_guest)(vcpu, gpa, buf, n))
		return -EFAULT;
	return 0;
}

/* All bytes from @addr on that an instruction may have. Return: how many. */
static int kvmi_insn_fetch(struct kvmi_vcpu *kv, u64 addr, u8 *buf)
{
	int done = 0;
	int n;

	while (done < INSN_MAX) {
		n = min_t(int, INSN_MAX - done,
			  PAGE_SIZE - offset_in_page(addr + done));
		if (kvmi_insn_read(kv, addr + done, buf + done, n))
			break;
		done += n;
	}
	return done;
}

static u64 kvmi_insn_linear(struct kvmi_vcpu *kv, u64 rip, bool *l)
{
	struct kvm_segment cs;
	int is_db, is_l;

	kvm_orig(get_cs_db_l_bits)(kv->vcpu, &is_db, &is_l);
	*l = is_l && (kv->vcpu->arch.efer & EFER_LMA);
	if (*l)
		return rip;
	kvm_call(kvm_get_segment)(kv->vcpu, &cs, VCPU_SREG_CS);
	return (u32)(rip + cs.base);
}

/*
 * Skip prefixes. Return: the index of the opcode, or @n; @rex is that of the REX
 * prefix right before it.
 */
static int kvmi_insn_prefixes(const u8 *insn, int n, bool l, u8 *rex)
{
	int i;

	*rex = 0;
	for (i = 0; i < n; i++) {
		switch (insn[i]) {
		case 0x40 ... 0x4f:
			if (!l)
				return i;
			*rex = insn[i];
			break;
		case 0x26: case 0x2e: case 0x36: case 0x3e:
		case 0x64 ... 0x67: case 0xf0: case 0xf2: case 0xf3:
			*rex = 0;
			break;
		default:
			return i;
		}
	}
	return i;
}

/**
 * kvmi_insn_mov - what an instruction that moves a control or debug register does
 * @kv: the vCPU, at the instruction; called on its thread
 * @mov: filled
 *
 * APM volume 3, "MOV CRn", "MOV DRn": 0F 20 to 23 /r, always with a register
 * operand; prefixes but REX have no effect. "CLTS": 0F 06. "LMSW": 0F 01 /6.
 *
 * Return: 0; -EINVAL if it is another instruction, or cannot be read.
 */
int kvmi_insn_mov(struct kvmi_vcpu *kv, struct kvmi_insn_mov *mov)
{
	u8 insn[INSN_MAX] = {};
	u8 rex, op, modrm;
	int n, i;
	u64 addr;
	bool l;

	memset(mov, 0, sizeof(*mov));
	addr = kvmi_insn_linear(kv, kvmi_regs_rip(kv->vcpu), &l);
	n = kvmi_insn_fetch(kv, addr, insn);
	i = kvmi_insn_prefixes(insn, n, l, &rex);
	if (i + 2 > n || insn[i] != 0x0f)
		return -EINVAL;
	op = insn[i + 1];
	modrm = i + 3 <= n ? insn[i + 2] : 0;
	mov->len = i + 3;
	mov->reg = (modrm & 7) | (rex & 1) << 3;

	if (op == 0x06) {
		mov->len = i + 2;
		mov->lmsw = true;
		mov->write = true;
		return 0;
	}
	if (i + 3 > n)
		return -EINVAL;
	if (op == 0x01 && (modrm >> 3 & 7) == 6) {
		mov->lmsw = true;
		mov->write = true;
		mov->unknown = modrm >> 6 != 3;
		if (!mov->unknown)
			mov->value = (u16)kvmi_reg_read(kv->vcpu, mov->reg);
		else
			mov->len = 0;
		return 0;
	}
	if (op < 0x20 || op > 0x23)
		return -EINVAL;
	mov->debug = op & 1;
	mov->write = op & 2;
	mov->nr = (modrm >> 3 & 7) | (rex & 4 ? 8 : 0);
	return 0;
}

/**
 * kvmi_insn_string - INS or OUTS
 * @kv: the vCPU, at the instruction; called on its thread
 * @s: filled
 *
 * APM volume 3, "INS", "OUTS": 6C to 6F.
 *
 * Return: 0; -EINVAL if it is another instruction, or cannot be read.
 */
int kvmi_insn_string(struct kvmi_vcpu *kv, struct kvmi_insn_string *s)
{
	bool small = false, l;
	int is_db, is_l, n, i;
	u64 addr;
	u8 rex;

	memset(s, 0, sizeof(*s));
	s->rep = -1;
	addr = kvmi_insn_linear(kv, kvmi_regs_rip(kv->vcpu), &l);
	n = kvmi_insn_fetch(kv, addr, s->insn);
	s->len = kvmi_insn_prefixes(s->insn, n, l, &rex) + 1;
	if (s->len > n || (s->insn[s->len - 1] & ~3) != 0x6c)
		return -EINVAL;
	s->out = s->insn[s->len - 1] & 2;
	for (i = 0; i < s->len - 1; i++) {
		switch (s->insn[i]) {
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
			s->segment = s->insn[i];
			break;
		case 0x67:
			small = true;
			break;
		case 0xf2: case 0xf3:
			s->rep = i;
			break;
		}
	}
	kvm_orig(get_cs_db_l_bits)(kv->vcpu, &is_db, &is_l);
	if (l)
		s->address = small ? 4 : 8;
	else
		s->address = !is_db == small ? 4 : 2;
	return 0;
}

/*
 * APM volume 3, appendix A: of each class the opcodes, complete. Return: how many
 * bytes were looked at; more than @n if these do not suffice.
 */
static int kvmi_insn_classify(const u8 *insn, int n, bool l,
			      struct kvmi_insn *out)
{
	u8 rex;
	int i;

	memset(out, 0, sizeof(*out));
	/* The instruction may go on, and end, in the next page. */
	i = kvmi_insn_prefixes(insn, n, l, &rex);
	if (i + 1 > n)
		return i + 1;

	out->len = i + 1;
	switch (insn[i]) {
	case 0x9c:
		out->class = KVMI_INSN_PUSHF;
		break;
	case 0x9d:
		out->class = KVMI_INSN_POPF;
		break;
	case 0xcf:
		out->class = KVMI_INSN_IRET;
		out->branch = KVMI_BRANCH_ALWAYS;
		break;
	case 0xcc:
		out->class = KVMI_INSN_INT3;
		break;
	case 0xce:
		if (!l)
			out->class = KVMI_INSN_INTO;
		break;
	case 0xf1:
		out->class = KVMI_INSN_INT1;
		break;
	case 0xf4:
		out->class = KVMI_INSN_HLT;
		break;
	case 0xfa:
		out->class = KVMI_INSN_CLI;
		break;
	case 0xfb:
		out->class = KVMI_INSN_STI;
		break;
	case 0x17:
		if (!l)
			out->class = KVMI_INSN_LOAD_SS;
		break;
	case 0xcd:
		if (i + 2 > n)
			return i + 2;
		out->class = KVMI_INSN_INT;
		out->vector = insn[i + 1];
		out->len = i + 2;
		break;
	case 0x8e:
		/* MOV SS; with REX.R there is no such segment register. */
		if (i + 2 > n)
			return i + 2;
		if ((insn[i + 1] >> 3 & 7) == VCPU_SREG_SS && !(rex & 4))
			out->class = KVMI_INSN_LOAD_SS;
		break;
	case 0x70 ... 0x7f: case 0xe0 ... 0xe3:
		out->branch = KVMI_BRANCH_MAYBE;
		out->len = i + 2;
		break;
	/* CALL, JMP, RET, near and far. */
	case 0x9a: case 0xc2: case 0xc3: case 0xca: case 0xcb:
	case 0xe8 ... 0xeb:
		out->branch = KVMI_BRANCH_ALWAYS;
		break;
	case 0xff:
		if (i + 2 > n)
			return i + 2;
		if ((insn[i + 1] >> 3 & 7) >= 2 && (insn[i + 1] >> 3 & 7) <= 5)
			out->branch = KVMI_BRANCH_ALWAYS;
		break;
	case 0x0f:
		if (i + 2 > n)
			return i + 2;
		switch (insn[i + 1]) {
		case 0x01:
			if (i + 3 > n)
				return i + 3;
			if (insn[i + 2] != 0xd8 && insn[i + 2] != 0xc2 &&
			    insn[i + 2] != 0xc3 && insn[i + 2] != 0xc9)
				break;
			out->class = KVMI_INSN_AWAY;
			out->len = i + 3;
			break;
		case 0x05:
			out->class = KVMI_INSN_SYSCALL;
			out->branch = KVMI_BRANCH_ALWAYS;
			break;
		case 0x07:
			out->class = KVMI_INSN_SYSRET;
			out->branch = KVMI_BRANCH_ALWAYS;
			break;
		case 0x08:
			out->class = KVMI_INSN_INVD;
			break;
		case 0x30:
			out->class = KVMI_INSN_WRMSR;
			break;
		case 0x34: case 0x35:
			out->branch = KVMI_BRANCH_ALWAYS;
			break;
		case 0x80 ... 0x8f:
			out->branch = KVMI_BRANCH_MAYBE;
			out->len = i + 6;
			break;
		}
		break;
	}
	return i + 2;
}

/**
 * kvmi_insn_decode - what a vCPU is about to execute
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @rip: where
 * @out: filled; KVMI_INSN_PLAIN also if the instruction cannot be read
 */
void kvmi_insn_decode(struct kvmi_vcpu *kv, u64 rip, struct kvmi_insn *out)
{
	u8 insn[INSN_MAX] __aligned(8);
	int n = sizeof(u64);
	u64 addr;
	bool l;

	addr = kvmi_insn_linear(kv, rip, &l);
	/* Few have more in front of what has to be known. */
	if (offset_in_page(addr) <= PAGE_SIZE - n &&
	    !kvmi_insn_read(kv, addr, insn, n) &&
	    kvmi_insn_classify(insn, n, l, out) <= n)
		return;
	n = kvmi_insn_fetch(kv, addr, insn);
	kvmi_insn_classify(insn, n, l, out);
}

/**
 * kvmi_insn_at - where is the next instruction?
 * @kv: the vCPU; called on its thread, kvm->srcu held
 *
 * Return: its guest-physical address, or INVALID_GPA.
 */
gpa_t kvmi_insn_at(struct kvmi_vcpu *kv)
{
	bool l;

	return kvmi_insn_gpa(kv->vcpu,
			     kvmi_insn_linear(kv, kvmi_regs_rip(kv->vcpu), &l));
}

/**
 * kvmi_insn_on - where on a page is the next instruction?
 * @kv: the vCPU; called on its thread
 * @gfn: the page that some of it was to be fetched from
 *
 * Return: its guest-physical address, or INVALID_GPA if it may begin on another page.
 */
gpa_t kvmi_insn_on(struct kvmi_vcpu *kv, gfn_t gfn)
{
	u64 addr;
	bool l;

	addr = kvmi_insn_linear(kv, kvmi_regs_rip(kv->vcpu), &l);
	if (offset_in_page(addr) > PAGE_SIZE - INSN_MAX)
		return INVALID_GPA;
	return (gfn << PAGE_SHIFT) | offset_in_page(addr);
}

/* The NOPs that assemblers and compilers use. Return: the length, or 0. */
static int kvmi_insn_nop_len(const u8 *insn)
{
	/* ModRM, with SIB and displacement: SDM volume 2B, "NOP", table 4-12. */
	static const struct {
		u8 modrm, len;
	} forms[] = {
		{ 0x00, 3 }, { 0x40, 4 }, { 0x44, 5 }, { 0x80, 7 }, { 0x84, 8 },
	};
	int size16 = insn[0] == 0x66;
	size_t i;

	insn += size16;
	if (insn[0] == 0x90)
		return size16 + 1;
	if (insn[0] != 0x0f || insn[1] != 0x1f)
		return 0;
	for (i = 0; i < ARRAY_SIZE(forms); i++)
		if (insn[2] == forms[i].modrm)
			return size16 + forms[i].len;
	return 0;
}

/**
 * kvmi_insn_pass_nop - be behind an instruction that does nothing
 * @kv: the vCPU, which is at it, with no event open; called on its thread, kvm->srcu
 *	held
 * @gpa: where
 *
 * Where the CPU or KVM has something to do behind whatever instruction it is, or before
 * it, it has to be executed. ENDBR does something where CET is on.
 *
 * Return: true if it was one, and RIP is behind it.
 */
bool kvmi_insn_pass_nop(struct kvmi_vcpu *kv, gpa_t gpa)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_vcpu_arch *arch = &vcpu->arch;
	u8 insn[8] __aligned(8);
	int len;

	if (arch->interrupt.injected || arch->nmi_injected || arch->exception.injected ||
	    arch->exception.pending || vcpu->guest_debug || !kvmi_regs_64bit(vcpu) ||
	    (kvm_call(kvm_get_rflags)(vcpu) & (X86_EFLAGS_TF | X86_EFLAGS_RF)) ||
	    kvm_orig(get_interrupt_shadow)(vcpu))
		return false;
	if (offset_in_page(gpa) > PAGE_SIZE - sizeof(insn) ||
	    kvm_call(kvm_vcpu_read_guest)(vcpu, gpa, insn, sizeof(insn)))
		return false;
	/* ENDBR64 */
	if (insn[0] == 0xf3 && insn[1] == 0x0f && insn[2] == 0x1e && insn[3] == 0xfa)
		len = kvmi_regs_cr4(vcpu) & X86_CR4_CET ? 0 : 4;
	else
		len = kvmi_insn_nop_len(insn);
	if (!len)
		return false;
	kvmi_reg_write(vcpu, VCPU_REGS_RIP, kvmi_regs_rip(vcpu) + len);
	return true;
}

/**
 * kvmi_insn_in_view - does its view let a vCPU execute the next instruction?
 * @kv: the vCPU; called on its thread, kvm->srcu held
 *
 * Return: true if so.
 */
bool kvmi_insn_in_view(struct kvmi_vcpu *kv)
{
	gpa_t gpa;

	if (likely(kv->view == KVMI_VIEW_DEFAULT))
		return true;
	gpa = kvmi_insn_at(kv);
	return gpa != INVALID_GPA && kvmi_view_fetches(kv, gpa >> PAGE_SHIFT);
}

/**
 * kvmi_insn_hide_tf - PUSHF has pushed a TF that is not the guest's
 * @kv: the vCPU, right behind it; called on its thread
 *
 * The write is the vCPU's own, to where it has just written, which it can again.
 */
void kvmi_insn_hide_tf(struct kvmi_vcpu *kv)
{
	u64 sp = kvmi_reg_read(kv->vcpu, VCPU_REGS_RSP);
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_segment ss;
	u8 flags = 0;
	gpa_t gpa;

	if (!kvmi_regs_64bit(vcpu)) {
		kvm_call(kvm_get_segment)(vcpu, &ss, VCPU_SREG_SS);
		sp = (u32)(ss.base + (ss.db ? (u32)sp : (u16)sp));
	}
	/* TF is bit 8 of the image, whatever its size. */
	gpa = kvm_call(kvm_mmu_gva_to_gpa_write)(vcpu, sp + 1, NULL);
	if (gpa == INVALID_GPA)
		return;
	if (kvmi_alias_rw(kv, &gpa, &flags, 1, false)) {
		flags &= ~(X86_EFLAGS_TF >> 8);
		kvmi_alias_rw(kv, &gpa, &flags, 1, true);
		return;
	}
	if (kvm_call(kvm_vcpu_read_guest)(vcpu, gpa, &flags, 1))
		return;
	flags &= ~(X86_EFLAGS_TF >> 8);
	kvm_call(kvm_vcpu_write_guest)(vcpu, gpa, &flags, 1);
}

/**
 * kvmi_insn_is_int3 - is the next instruction an INT3?
 * @kv: the vCPU, loaded; called on its thread within KVM_RUN, kvm->srcu held
 *
 * Return: true for CC without prefixes.
 */
bool kvmi_insn_is_int3(struct kvmi_vcpu *kv)
{
	u8 insn[1];
	gpa_t gpa;
	u64 addr;
	bool l;

	addr = kvmi_insn_linear(kv, kvmi_regs_rip(kv->vcpu), &l);
	/* By KVM's own walk: it need not be quick, and the vCPU may not have run yet. */
	gpa = kvm_call(kvm_mmu_gva_to_gpa_read)(kv->vcpu, addr, NULL);
	if (gpa == INVALID_GPA)
		return false;
	if (!kvmi_alias_rw(kv, &gpa, insn, 1, false) &&
	    kvm_call(kvm_vcpu_read_guest)(kv->vcpu, gpa, insn, 1))
		return false;
	return insn[0] == 0xcc;
}
