// SPDX-License-Identifier: GPL-2.0-only
/*
 * String I/O, one element at a time.
 *
 * KVM's emulator executes as much of REP INS and REP OUTS as it can at once, and
 * reads ahead where the VMM has the device. To have it execute one element, it is
 * given the instruction without its REP, RCX as it has to be behind the element, and
 * a RIP from which it arrives where the guest goes on: at the instruction itself, as
 * long as there are more. So what the VMM has to complete first is right when KVM
 * has completed it, whether kvmi is there by then or not, and whether the VMM lets
 * the vCPU run or saves its state.
 *
 * While the VMM completes it, RIP is not that of the instruction. KVM's rule is that
 * a VMM does not look at the state then. Should the write to memory fault in the end,
 * as another vCPU has taken the page away meanwhile, kvmi_io_settle() has the fault
 * come from the right place.
 */
#include "../hook.h"

#define PREFIX_DS	0x3e
#define OPCODE_STOS	0xaa
#define OPCODE_OUT	0xee
/* Of REX, in front of the opcode: 64-bit operands, which these do not have. */
#define REX_W		0x08

static u64 kvmi_io_mask(const struct kvmi_insn_string *s)
{
	return GENMASK_ULL(8 * s->address - 1, 0);
}

/* Write RCX, RSI or RDI as the instruction does. */
static void kvmi_io_write(struct kvm_vcpu *vcpu, const struct kvmi_insn_string *s,
			  int reg, u64 value)
{
	value &= kvmi_io_mask(s);
	if (s->address == 2)
		value |= kvmi_reg_read(vcpu, reg) & ~0xffffULL;
	kvmi_reg_write(vcpu, reg, value);
}

static u64 kvmi_io_linear(struct kvm_vcpu *vcpu, const struct kvmi_insn_string *s,
			  u64 offset)
{
	static const struct {
		u8 prefix;
		u8 seg;
	} segments[] = {
		{ 0x26, VCPU_SREG_ES }, { 0x2e, VCPU_SREG_CS },
		{ 0x36, VCPU_SREG_SS }, { 0x64, VCPU_SREG_FS },
		{ 0x65, VCPU_SREG_GS },
	};
	struct kvm_segment var;
	int seg = VCPU_SREG_DS;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(segments); i++)
		if (s->segment == segments[i].prefix)
			seg = segments[i].seg;
	if (kvmi_regs_64bit(vcpu) && seg != VCPU_SREG_FS && seg != VCPU_SREG_GS)
		return offset;
	kvm_call(kvm_get_segment)(vcpu, &var, seg);
	offset += var.base;
	return kvmi_regs_64bit(vcpu) ? offset : (u32)offset;
}

/* What OUTS is about to write; 0 if it will fault, or reads a device. */
static u64 kvmi_io_peek(struct kvm_vcpu *vcpu, u64 gva, u32 bytes)
{
	u64 value = 0;
	gpa_t gpa;
	u32 i;

	/* It may cross a page. */
	for (i = 0; i < bytes; i++) {
		gpa = kvm_call(kvm_mmu_gva_to_gpa_read)(vcpu, gva + i, NULL);
		if (gpa == INVALID_GPA ||
		    kvm_call(kvm_vcpu_read_guest)(vcpu, gpa, (u8 *)&value + i, 1))
			return 0;
	}
	return value;
}

/**
 * kvmi_io_element - describe the next element of INS or OUTS
 * @kv: the vCPU
 * @ex: as kvmi_exit_io() has filled it; changed
 *
 * Return: false if there is none.
 */
bool kvmi_io_element(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	struct kvmi_x86_ev_io *ev = &ex->payload.io;
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvmi_insn_string s;

	/* A debugger in the VMM might have a breakpoint where RIP will be. */
	if (vcpu->guest_debug || kvmi_insn_string(kv, &s))
		return true;
	if (s.rep >= 0)
		ev->count = kvmi_reg_read(vcpu, VCPU_REGS_RCX) & kvmi_io_mask(&s);
	if (!ev->count)
		return false;
	ev->address &= kvmi_io_mask(&s);
	if (s.out)
		ev->value = kvmi_io_peek(vcpu, kvmi_io_linear(vcpu, &s, ev->address),
					 ev->bytes);
	ev->flags |= KVMI_X86_IO_ELEMENT;
	ex->cont = KVMI_CONT_ELEMENT;
	ex->value = KVMI_VALUE_ELEMENT;
	return true;
}

/* Have KVM execute @insn, which ends at RIP, or behind the instruction if it is the @last. */
static int kvmi_io_emulate(struct kvmi_vcpu *kv, struct kvmi_insn_string *s, bool last)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	u64 rip = kvmi_regs_rip(vcpu);
	int ret;

	kv->io.rip = rip;
	kv->io.start = last ? rip : rip - s->len;
	kvmi_reg_write(vcpu, VCPU_REGS_RIP, kv->io.start);
	/* The CPU has looked for breakpoints, at the right place. */
	kvm_call(kvm_set_rflags)(vcpu, kvm_call(kvm_get_rflags)(vcpu) |
				       X86_EFLAGS_RF);
	ret = kvm_call(kvm_emulate_instruction_from_buffer)(vcpu, s->insn, s->len);
	if (kvmi_regs_rip(vcpu) == kv->io.start) {
		kv->io.pending = true;
		if (!vcpu->arch.complete_userspace_io)
			kvmi_io_settle(kv);
	}
	return ret;
}

/**
 * kvmi_io_settle - has an element that was begun come to nothing?
 * @kv: the vCPU, whose VMM has completed it; called on its thread
 */
void kvmi_io_settle(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	kv->io.pending = false;
	if (kvmi_regs_rip(vcpu) != kv->io.start)
		return;
	kvmi_reg_write(vcpu, VCPU_REGS_RIP, kv->io.rip);
	kvmi_reg_write(vcpu, VCPU_REGS_RCX, kv->io.rcx);
}

/* What becomes of an element. */
enum kvmi_io_how {
	KVMI_IO_DONE,
	KVMI_IO_WITH,
	KVMI_IO_SKIPPED,
};

static int kvmi_io_act(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
		       enum kvmi_io_how how, u64 value)
{
	struct kvmi_x86_ev_io *ev = &ex->payload.io;
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvmi_insn_string s;
	u64 rcx, rax, index, old;
	int reg, ret;
	u8 *opcode;
	bool last;

	/* It has changed meanwhile, and is executed anew. */
	if (kvmi_insn_string(kv, &s) || s.out != !!(ev->flags & KVMI_X86_IO_OUT))
		return 1;
	rcx = kvmi_reg_read(vcpu, VCPU_REGS_RCX);
	last = s.rep < 0 || (rcx & kvmi_io_mask(&s)) == 1;
	/* The answer may have set it. */
	if (s.rep >= 0 && !(rcx & kvmi_io_mask(&s)))
		return kvmi_exit_skip(kv);
	kv->io.rcx = rcx;
	if (s.rep >= 0)
		kvmi_io_write(vcpu, &s, VCPU_REGS_RCX, rcx - 1);

	reg = s.out ? VCPU_REGS_RSI : VCPU_REGS_RDI;
	old = kvmi_reg_read(vcpu, reg);
	index = kvm_call(kvm_get_rflags)(vcpu) & X86_EFLAGS_DF ? old - ev->bytes :
								 old + ev->bytes;
	if (how == KVMI_IO_SKIPPED) {
		kvmi_io_write(vcpu, &s, reg, index);
		return last ? kvmi_exit_skip(kv) : 1;
	}

	/* A prefix in place of REP that says what holds anyway. */
	if (s.rep >= 0)
		s.insn[s.rep] = s.segment ?: PREFIX_DS;
	if (how == KVMI_IO_DONE)
		return kvmi_io_emulate(kv, &s, last);

	/* What INS is to read, STOS writes to memory; OUTS is an OUT that moves RSI. */
	opcode = &s.insn[s.len - 1];
	*opcode = (*opcode & 1) | (s.out ? OPCODE_OUT : OPCODE_STOS);
	if (s.len > 1 && kvmi_regs_64bit(vcpu) && (opcode[-1] & 0xf0) == 0x40)
		opcode[-1] &= ~REX_W;
	rax = kvmi_reg_read(vcpu, VCPU_REGS_RAX);
	kvmi_reg_write(vcpu, VCPU_REGS_RAX, value);
	if (s.out)
		kvmi_io_write(vcpu, &s, reg, index);
	ret = kvmi_io_emulate(kv, &s, last);
	if (s.out && kvmi_reg_read(vcpu, VCPU_REGS_RCX) == rcx && s.rep >= 0)
		kvmi_reg_write(vcpu, reg, old);
	kvmi_reg_write(vcpu, VCPU_REGS_RAX, rax);
	return ret;
}

/**
 * kvmi_io_continue - KVMI_CONT_ELEMENT
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ex: the exit
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_io_continue(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	/* Of another port: at once. */
	if (ex->mode == KVMI_MODE_OFF && !rcu_access_pointer(kv->observers))
		return kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_NONE);
	return kvmi_io_act(kv, ex, KVMI_IO_DONE, 0);
}

/**
 * kvmi_io_continue_with - the same, with another value
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ex: the exit
 * @value: what the element is to be
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_io_continue_with(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 value)
{
	return kvmi_io_act(kv, ex, KVMI_IO_WITH, value);
}

/**
 * kvmi_io_skip - KVMI_ACTION_SKIP, of an element
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ex: the exit
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_io_skip(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	return kvmi_io_act(kv, ex, KVMI_IO_SKIPPED, 0);
}
