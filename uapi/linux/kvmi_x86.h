/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * kvmi: the x86 part of the ABI: register sets and event payloads.
 */
#ifndef _UAPI_LINUX_KVMI_X86_H
#define _UAPI_LINUX_KVMI_X86_H

#include <linux/types.h>

/* Register sets; in a record or buffer they stand in order of bits. */
#define KVMI_REGS_GENERAL	(1U << 0)	/* struct kvmi_x86_gprs */
#define KVMI_REGS_CONTROL	(1U << 1)	/* struct kvmi_x86_control */
#define KVMI_REGS_SEGMENT	(1U << 2)	/* struct kvmi_x86_segments */

/**
 * enum kvmi_x86_gpr - index of a register in kvmi_x86_gprs.r
 * @KVMI_X86_RAX: RAX
 * @KVMI_X86_RCX: RCX
 * @KVMI_X86_RDX: RDX
 * @KVMI_X86_RBX: RBX
 * @KVMI_X86_RSP: RSP
 * @KVMI_X86_RBP: RBP
 * @KVMI_X86_RSI: RSI
 * @KVMI_X86_RDI: RDI
 * @KVMI_X86_R8: R8
 * @KVMI_X86_R9: R9
 * @KVMI_X86_R10: R10
 * @KVMI_X86_R11: R11
 * @KVMI_X86_R12: R12
 * @KVMI_X86_R13: R13
 * @KVMI_X86_R14: R14
 * @KVMI_X86_R15: R15
 * @KVMI_X86_RIP: instruction pointer
 * @KVMI_X86_RFLAGS: flags
 * @KVMI_X86_NR_GPRS: how many there are
 *
 * In the order in which instructions encode them.
 */
enum kvmi_x86_gpr {
	KVMI_X86_RAX = 0,
	KVMI_X86_RCX = 1,
	KVMI_X86_RDX = 2,
	KVMI_X86_RBX = 3,
	KVMI_X86_RSP = 4,
	KVMI_X86_RBP = 5,
	KVMI_X86_RSI = 6,
	KVMI_X86_RDI = 7,
	KVMI_X86_R8 = 8,
	KVMI_X86_R9 = 9,
	KVMI_X86_R10 = 10,
	KVMI_X86_R11 = 11,
	KVMI_X86_R12 = 12,
	KVMI_X86_R13 = 13,
	KVMI_X86_R14 = 14,
	KVMI_X86_R15 = 15,
	KVMI_X86_RIP = 16,
	KVMI_X86_RFLAGS = 17,
	KVMI_X86_NR_GPRS = 18,
};

/**
 * struct kvmi_x86_gprs - KVMI_REGS_GENERAL
 * @r: registers by enum kvmi_x86_gpr. RFLAGS is the guest's own: the trap flag
 *	of a step that kvmi makes is not in it.
 */
struct kvmi_x86_gprs {
	__aligned_u64 r[18];
};

/**
 * struct kvmi_x86_control - KVMI_REGS_CONTROL
 * @cr0: as the guest reads it
 * @cr2: page-fault address
 * @cr3: with PCID, without the no-flush bit
 * @cr4: as the guest reads it
 * @cr8: task priority
 * @efer: MSR EFER
 * @reserved: 0
 *
 * Written as KVM_SET_SREGS writes them: all are validated first, together.
 */
struct kvmi_x86_control {
	__aligned_u64 cr0;
	__aligned_u64 cr2;
	__aligned_u64 cr3;
	__aligned_u64 cr4;
	__aligned_u64 cr8;
	__aligned_u64 efer;
	__aligned_u64 reserved[2];
};

/**
 * struct kvmi_x86_segment - a segment register with its hidden part
 * @base: linear base address
 * @limit: bytes, less 1
 * @selector: the visible part
 * @attr: bits 0-3 type, 4 S, 5-6 DPL, 7 P, 8 AVL, 9 L, 10 D/B, 11 G,
 *	15 unusable; the others 0
 */
struct kvmi_x86_segment {
	__aligned_u64 base;
	__u32 limit;
	__u16 selector;
	__u16 attr;
};

/**
 * struct kvmi_x86_dtable - a descriptor-table register
 * @base: linear base address
 * @limit: bytes, less 1
 * @pad: 0
 */
struct kvmi_x86_dtable {
	__aligned_u64 base;
	__u16 limit;
	__u16 pad[3];
};

/**
 * struct kvmi_x86_segments - KVMI_REGS_SEGMENT
 * @cs: code segment
 * @ds: data segment
 * @es: extra segment
 * @fs: its base is MSR FS_BASE
 * @gs: its base is MSR GS_BASE
 * @ss: stack segment
 * @tr: task register
 * @ldt: local descriptor table
 * @gdt: GDTR
 * @idt: IDTR
 */
struct kvmi_x86_segments {
	struct kvmi_x86_segment cs;
	struct kvmi_x86_segment ds;
	struct kvmi_x86_segment es;
	struct kvmi_x86_segment fs;
	struct kvmi_x86_segment gs;
	struct kvmi_x86_segment ss;
	struct kvmi_x86_segment tr;
	struct kvmi_x86_segment ldt;
	struct kvmi_x86_dtable gdt;
	struct kvmi_x86_dtable idt;
};

/**
 * struct kvmi_x86_ev_cr - payload of KVMI_EVENT_X86_CR
 * @cr: 3 or 4
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @old: value before
 * @new_value: value that the guest writes; of CR3 with the no-flush bit 63 as
 *	the guest gave it
 */
struct kvmi_x86_ev_cr {
	__u32 cr;
	__u32 insn_len;
	__aligned_u64 old;
	__aligned_u64 new_value;
};

/* Bits of kvmi_x86_ev_msr.flags. */
#define KVMI_X86_MSR_WRITE	(1U << 0)	/* WRMSR, else RDMSR */
#define KVMI_X86_MSR_OLD	(1U << 1)	/* old is valid */

/**
 * struct kvmi_x86_ev_msr - payload of KVMI_EVENT_X86_MSR
 * @index: of the MSR
 * @flags: KVMI_X86_MSR_*
 * @old: value before, as the guest would read it; invalid where KVM refuses
 * @new_value: value that the guest writes; 0 for RDMSR
 */
struct kvmi_x86_ev_msr {
	__u32 index;
	__u32 flags;
	__aligned_u64 old;
	__aligned_u64 new_value;
};

/**
 * struct kvmi_x86_ev_cpuid - payload of KVMI_EVENT_X86_CPUID
 * @function: EAX
 * @index: ECX
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @pad: 0
 */
struct kvmi_x86_ev_cpuid {
	__u32 function;
	__u32 index;
	__u32 insn_len;
	__u32 pad;
};

#endif /* _UAPI_LINUX_KVMI_X86_H */
