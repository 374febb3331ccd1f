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
#define KVMI_REGS_DEBUG		(1U << 3)	/* struct kvmi_x86_debug */
#define KVMI_REGS_SYSCALL	(1U << 4)	/* struct kvmi_x86_syscall */
#define KVMI_REGS_XCR		(1U << 5)	/* struct kvmi_x86_xcr */
#define KVMI_REGS_EVENTS	(1U << 6)	/* struct kvmi_x86_events */

/**
 * enum kvmi_x86_paging - kvmi_space.mode: how the guest's page tables are built
 * @KVMI_X86_PAGING_NONE: paging is off: a virtual address is a physical one
 * @KVMI_X86_PAGING_32BIT: two levels of 32-bit entries, pages of 4 KiB
 * @KVMI_X86_PAGING_PSE: the same with pages of 4 MiB (CR4.PSE), PSE-36 included
 * @KVMI_X86_PAGING_PAE: three levels, pages of 4 KiB and 2 MiB
 * @KVMI_X86_PAGING_4LEVEL: four levels, pages of 4 KiB, 2 MiB and 1 GiB
 * @KVMI_X86_PAGING_5LEVEL: five levels (CR4.LA57), the same pages
 *
 * KVMI_X86_PAGING_NX may be added to the last three.
 */
enum kvmi_x86_paging {
	KVMI_X86_PAGING_NONE = 1,
	KVMI_X86_PAGING_32BIT = 2,
	KVMI_X86_PAGING_PSE = 3,
	KVMI_X86_PAGING_PAE = 4,
	KVMI_X86_PAGING_4LEVEL = 5,
	KVMI_X86_PAGING_5LEVEL = 6,
};

/* EFER.NXE is set: bit 63 of an entry takes away the right to execute. */
#define KVMI_X86_PAGING_NX	(1U << 8)

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
 * struct kvmi_x86_debug - KVMI_REGS_DEBUG
 * @dr: DR0 to DR3, as the guest reads them
 * @dr6: debug status
 * @dr7: debug control
 *
 * The guest's own, whatever a debugger of the VMM (KVM_SET_GUEST_DEBUG) has the
 * CPU use instead. Bits 32 to 63 of DR6 and DR7 must be 0.
 */
struct kvmi_x86_debug {
	__aligned_u64 dr[4];
	__aligned_u64 dr6;
	__aligned_u64 dr7;
};

/**
 * struct kvmi_x86_syscall - KVMI_REGS_SYSCALL
 * @star: MSR STAR
 * @lstar: MSR LSTAR
 * @cstar: MSR CSTAR
 * @sfmask: MSR SFMASK
 * @kernel_gs_base: MSR KERNEL_GS_BASE
 * @sysenter_cs: MSR SYSENTER_CS
 * @sysenter_esp: MSR SYSENTER_ESP
 * @sysenter_eip: MSR SYSENTER_EIP
 */
struct kvmi_x86_syscall {
	__aligned_u64 star;
	__aligned_u64 lstar;
	__aligned_u64 cstar;
	__aligned_u64 sfmask;
	__aligned_u64 kernel_gs_base;
	__aligned_u64 sysenter_cs;
	__aligned_u64 sysenter_esp;
	__aligned_u64 sysenter_eip;
};

/**
 * struct kvmi_x86_xcr - KVMI_REGS_XCR
 * @xcr0: extended control register 0
 * @xss: MSR XSS; not written: use KVMI_SET_MSRS
 */
struct kvmi_x86_xcr {
	__aligned_u64 xcr0;
	__aligned_u64 xss;
};

/* Bits of the members of struct kvmi_x86_events called *_flags. */
#define KVMI_X86_EVENT_PENDING	(1U << 0)	/* to be delivered when it can be */
#define KVMI_X86_EVENT_INJECTED	(1U << 1)	/* to be delivered at the next entry */
#define KVMI_X86_EVENT_ERROR	(1U << 2)	/* exception: has an error code */
#define KVMI_X86_EVENT_PAYLOAD	(1U << 3)	/* exception: has a payload */
#define KVMI_X86_EVENT_SOFT	(1U << 4)	/* interrupt: INT n */
#define KVMI_X86_EVENT_MASKED	(1U << 5)	/* NMI: masked until IRET */
/* Bits of kvmi_x86_events.shadow. */
#define KVMI_X86_SHADOW_STI	(1U << 0)
#define KVMI_X86_SHADOW_MOV_SS	(1U << 1)

/**
 * enum kvmi_x86_mp_state - whether a vCPU executes
 * @KVMI_X86_MP_RUNNABLE: it does
 * @KVMI_X86_MP_UNINITIALIZED: an application processor before its INIT
 * @KVMI_X86_MP_INIT_RECEIVED: ... before its SIPI
 * @KVMI_X86_MP_HALTED: it has executed HLT
 * @KVMI_X86_MP_SIPI_RECEIVED: it is about to start
 * @KVMI_X86_MP_RESET_HOLD: held until its reset (SEV-ES)
 */
enum kvmi_x86_mp_state {
	KVMI_X86_MP_RUNNABLE = 0,
	KVMI_X86_MP_UNINITIALIZED = 1,
	KVMI_X86_MP_INIT_RECEIVED = 2,
	KVMI_X86_MP_HALTED = 3,
	KVMI_X86_MP_SIPI_RECEIVED = 4,
	KVMI_X86_MP_RESET_HOLD = 9,
};

/**
 * struct kvmi_x86_events - KVMI_REGS_EVENTS
 * @exception: vector, with PENDING or INJECTED in @exception_flags
 * @exception_flags: KVMI_X86_EVENT_PENDING, _INJECTED, _ERROR, _PAYLOAD
 * @interrupt: vector, with INJECTED in @interrupt_flags
 * @interrupt_flags: KVMI_X86_EVENT_INJECTED, _SOFT. What waits in the LAPIC is
 *	not here, see KVMI_STATE_LAPIC.
 * @nmi_flags: KVMI_X86_EVENT_PENDING, _INJECTED, _MASKED
 * @shadow: KVMI_X86_SHADOW_*: what keeps interrupts off for one instruction
 * @smm: 1: the vCPU is in system management mode; not written
 * @triple_fault: 1: it will shut down at the next entry; not written
 * @error: error code of the exception
 * @mp_state: enum kvmi_x86_mp_state
 * @payload: of the exception: CR2 (#PF), DR6 (#DB)
 * @tsc_offset: guest's TSC less the host's
 * @reserved: 0
 *
 * Written as KVM_SET_VCPU_EVENTS, KVM_SET_MP_STATE and the attribute
 * KVM_VCPU_TSC_OFFSET write them. Whoever writes them owns them: what was
 * pending before is not delivered any more. An exception that is set while an
 * event is open comes before the instruction that exits: answer
 * KVMI_ACTION_RETRY. SVM has one bit for both shadows. A VMM that has not
 * enabled KVM_CAP_EXCEPTION_PAYLOAD knows no pending exceptions: they are
 * injected.
 */
struct kvmi_x86_events {
	__u8 exception;
	__u8 exception_flags;
	__u8 interrupt;
	__u8 interrupt_flags;
	__u8 nmi_flags;
	__u8 shadow;
	__u8 smm;
	__u8 triple_fault;
	__u32 error;
	__u32 mp_state;
	__aligned_u64 payload;
	__aligned_u64 tsc_offset;
	__aligned_u64 reserved[2];
};

/**
 * struct kvmi_x86_msr - an entry of KVMI_GET_MSRS and KVMI_SET_MSRS
 * @index: of the MSR
 * @out_error: KVMI_GET_MSRS: 0, or a negative errno; -ENOENT: KVM knows no such
 *	MSR. KVMI_SET_MSRS: not used.
 * @value: its value
 */
struct kvmi_x86_msr {
	__u32 index;
	__s32 out_error;
	__aligned_u64 value;
};

/**
 * struct kvmi_x86_cpuid_entry - an entry of KVMI_STATE_CPUID
 * @function: EAX of the CPUID instruction
 * @index: its ECX, if @flags has bit 0
 * @flags: bit 0: @index matters
 * @eax: result
 * @ebx: result
 * @ecx: result
 * @edx: result
 * @pad: 0
 */
struct kvmi_x86_cpuid_entry {
	__u32 function;
	__u32 index;
	__u32 flags;
	__u32 eax;
	__u32 ebx;
	__u32 ecx;
	__u32 edx;
	__u32 pad;
};

/**
 * struct kvmi_x86_vmcs_field - a field in KVMI_STATE_CONTROL on Intel
 * @encoding: as VMREAD takes it (SDM, Field Encoding in VMCS)
 * @pad: 0
 * @value: its value
 */
struct kvmi_x86_vmcs_field {
	__u32 encoding;
	__u32 pad;
	__aligned_u64 value;
};

/* Bits of kvmi_x86_ev_cr.flags. */
#define KVMI_X86_CR_READ	(1U << 0)	/* MOV from it */
#define KVMI_X86_CR_UNKNOWN	(1U << 1)	/* new_value is not known: LMSW of memory */

/**
 * struct kvmi_x86_ev_cr - payload of KVMI_EVENT_X86_CR
 * @cr: 0, 3, 4 or 8
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @old: value before
 * @new_value: value that the guest writes; of CR3 with the no-flush bit 63 as
 *	the guest gave it; 0 for a read
 * @flags: KVMI_X86_CR_*
 * @pad: 0
 */
struct kvmi_x86_ev_cr {
	__u32 cr;
	__u32 insn_len;
	__aligned_u64 old;
	__aligned_u64 new_value;
	__u32 flags;
	__u32 pad;
};

/**
 * struct kvmi_x86_ev_xsetbv - payload of KVMI_EVENT_X86_XSETBV
 * @xcr: number of the register, ECX
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @old: value of XCR0 before
 * @new_value: value that the guest writes
 */
struct kvmi_x86_ev_xsetbv {
	__u32 xcr;
	__u32 insn_len;
	__aligned_u64 old;
	__aligned_u64 new_value;
};

/* Bits of kvmi_x86_ev_dr.flags and kvmi_x86_ev_dtable.flags. */
#define KVMI_X86_DR_WRITE	(1U << 0)
#define KVMI_X86_DTABLE_WRITE	(1U << 0)

/**
 * struct kvmi_x86_ev_dr - payload of KVMI_EVENT_X86_DR
 * @dr: 0 to 7, as the instruction has it
 * @flags: KVMI_X86_DR_*
 * @old: value before
 * @new_value: value that the guest writes; 0 for a read
 */
struct kvmi_x86_ev_dr {
	__u32 dr;
	__u32 flags;
	__aligned_u64 old;
	__aligned_u64 new_value;
};

/* Bits of kvmi_x86_ev_exception.flags. */
#define KVMI_X86_EXCEPTION_ERROR	(1U << 0)	/* error is valid */
#define KVMI_X86_EXCEPTION_PAYLOAD	(1U << 1)	/* payload is valid */
#define KVMI_X86_EXCEPTION_NESTED	(1U << 2)	/* while another was delivered */

/**
 * struct kvmi_x86_ev_exception - payload of KVMI_EVENT_X86_EXCEPTION
 * @vector: 0 to 31, which is the index of KVMI_CONTROL_EVENT
 * @flags: KVMI_X86_EXCEPTION_*
 * @error: error code
 * @insn_len: of INT3, INTO and INT1 the length, 0 if it is not known
 * @payload: #PF: CR2; #DB: what it sets in DR6
 */
struct kvmi_x86_ev_exception {
	__u32 vector;
	__u32 flags;
	__u32 error;
	__u32 insn_len;
	__aligned_u64 payload;
};

/**
 * enum kvmi_x86_table - descriptor-table registers
 * @KVMI_X86_TABLE_GDTR: SGDT, LGDT
 * @KVMI_X86_TABLE_IDTR: SIDT, LIDT
 * @KVMI_X86_TABLE_LDTR: SLDT, LLDT
 * @KVMI_X86_TABLE_TR: STR, LTR
 */
enum kvmi_x86_table {
	KVMI_X86_TABLE_GDTR = 0,
	KVMI_X86_TABLE_IDTR = 1,
	KVMI_X86_TABLE_LDTR = 2,
	KVMI_X86_TABLE_TR = 3,
};

/**
 * struct kvmi_x86_ev_dtable - payload of KVMI_EVENT_X86_DTABLE
 * @table: enum kvmi_x86_table, which is the index of KVMI_CONTROL_EVENT
 * @flags: KVMI_X86_DTABLE_*
 * @base: of the table, before
 * @limit: of the table, before
 * @selector: LDTR, TR: before
 * @pad: 0
 */
struct kvmi_x86_ev_dtable {
	__u32 table;
	__u32 flags;
	__aligned_u64 base;
	__u32 limit;
	__u16 selector;
	__u16 pad;
};

/* Bits of kvmi_x86_ev_io.flags. */
#define KVMI_X86_IO_OUT		(1U << 0)	/* OUT, OUTS; else IN, INS */
#define KVMI_X86_IO_STRING	(1U << 1)	/* INS, OUTS */
#define KVMI_X86_IO_REP		(1U << 2)	/* count is RCX */
#define KVMI_X86_IO_ELEMENT	(1U << 3)	/* a string's next element alone */

/**
 * struct kvmi_x86_ev_io - payload of KVMI_EVENT_X86_IO
 * @port: the first port, which is the index of KVMI_CONTROL_EVENT
 * @bytes: 1, 2 or 4
 * @flags: KVMI_X86_IO_*
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @value: that OUT writes, and OUTS with KVMI_X86_IO_ELEMENT, if it can be read; 0
 *	for the others
 * @count: how many elements there are yet; 1 without KVMI_X86_IO_REP
 * @address: of a string: RSI or RDI, without its segment
 */
struct kvmi_x86_ev_io {
	__u32 port;
	__u32 bytes;
	__u32 flags;
	__u32 insn_len;
	__aligned_u64 value;
	__aligned_u64 count;
	__aligned_u64 address;
};

/**
 * enum kvmi_x86_insn - index of KVMI_EVENT_X86_INSN
 * @KVMI_X86_INSN_HLT: HLT
 * @KVMI_X86_INSN_PAUSE: PAUSE
 * @KVMI_X86_INSN_MONITOR: MONITOR
 * @KVMI_X86_INSN_MWAIT: MWAIT
 * @KVMI_X86_INSN_INVLPG: INVLPG; operand: the address, where the CPU tells it
 * @KVMI_X86_INSN_INVPCID: INVPCID
 * @KVMI_X86_INSN_INVD: INVD
 * @KVMI_X86_INSN_WBINVD: WBINVD
 * @KVMI_X86_INSN_RDTSC: RDTSC; value: what it reads
 * @KVMI_X86_INSN_RDTSCP: RDTSCP; value: what it reads
 * @KVMI_X86_INSN_RDPMC: RDPMC; operand: ECX
 * @KVMI_X86_INSN_RDRAND: RDRAND; Intel
 * @KVMI_X86_INSN_RDSEED: RDSEED; Intel
 * @KVMI_X86_INSN_TASK_SWITCH: a task switch; operand: selector
 * @KVMI_X86_INSN_SHUTDOWN: a triple fault
 * @KVMI_X86_INSN_NESTED: VMRUN, VMLAUNCH, VMRESUME: a nested guest is entered
 * @KVMI_X86_NR_INSNS: how many there are
 */
enum kvmi_x86_insn {
	KVMI_X86_INSN_HLT = 0,
	KVMI_X86_INSN_PAUSE = 1,
	KVMI_X86_INSN_MONITOR = 2,
	KVMI_X86_INSN_MWAIT = 3,
	KVMI_X86_INSN_INVLPG = 4,
	KVMI_X86_INSN_INVPCID = 5,
	KVMI_X86_INSN_INVD = 6,
	KVMI_X86_INSN_WBINVD = 7,
	KVMI_X86_INSN_RDTSC = 8,
	KVMI_X86_INSN_RDTSCP = 9,
	KVMI_X86_INSN_RDPMC = 10,
	KVMI_X86_INSN_RDRAND = 11,
	KVMI_X86_INSN_RDSEED = 12,
	KVMI_X86_INSN_TASK_SWITCH = 13,
	KVMI_X86_INSN_SHUTDOWN = 14,
	KVMI_X86_INSN_NESTED = 15,
	KVMI_X86_NR_INSNS = 16,
};

/**
 * struct kvmi_x86_ev_insn - payload of KVMI_EVENT_X86_INSN
 * @insn: enum kvmi_x86_insn
 * @insn_len: length of the instruction, bytes, or 0 if it is not known
 * @operand: see enum kvmi_x86_insn; else 0
 * @value: likewise
 */
struct kvmi_x86_ev_insn {
	__u32 insn;
	__u32 insn_len;
	__aligned_u64 operand;
	__aligned_u64 value;
};

/**
 * enum kvmi_x86_delivery - index of KVMI_EVENT_X86_DELIVERY
 * @KVMI_X86_DELIVERY_EXCEPTION: an exception
 * @KVMI_X86_DELIVERY_INTERRUPT: an external interrupt
 * @KVMI_X86_DELIVERY_NMI: a non-maskable interrupt
 * @KVMI_X86_DELIVERY_SOFT: INT n, INT3, INTO, INT1, where KVM delivers it
 */
enum kvmi_x86_delivery {
	KVMI_X86_DELIVERY_EXCEPTION = 1,
	KVMI_X86_DELIVERY_INTERRUPT = 2,
	KVMI_X86_DELIVERY_NMI = 3,
	KVMI_X86_DELIVERY_SOFT = 4,
};

/**
 * struct kvmi_x86_ev_delivery - payload of KVMI_EVENT_X86_DELIVERY
 * @type: enum kvmi_x86_delivery
 * @vector: of it
 * @flags: KVMI_X86_EXCEPTION_ERROR
 * @error: error code
 * @pc: RIP before
 */
struct kvmi_x86_ev_delivery {
	__u32 type;
	__u32 vector;
	__u32 flags;
	__u32 error;
	__aligned_u64 pc;
};

/**
 * struct kvmi_x86_ev_exit - payload of KVMI_EVENT_X86_EXIT
 * @reason: Intel: basic exit reason (SDM, VMX Basic Exit Reasons); AMD: exit code
 *	(APM, SVM Intercept Exit Codes), -1 as 0xffffffff. It is the index of
 *	KVMI_CONTROL_EVENT.
 * @intr: VM-exit interruption information; AMD: EXITINTINFO
 * @error: its error code
 * @insn_len: length of the instruction, where there is one and it is known
 * @info1: exit qualification; AMD: EXITINFO1
 * @info2: IDT-vectoring information; AMD: EXITINFO2
 * @pc: RIP
 */
struct kvmi_x86_ev_exit {
	__u32 reason;
	__u32 intr;
	__u32 error;
	__u32 insn_len;
	__aligned_u64 info1;
	__aligned_u64 info2;
	__aligned_u64 pc;
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

/**
 * enum kvmi_x86_inject_type - what a vCPU is to take
 * @KVMI_X86_INJECT_EXCEPTION: an exception
 * @KVMI_X86_INJECT_INTERRUPT: an external interrupt
 * @KVMI_X86_INJECT_NMI: a non-maskable interrupt
 */
enum kvmi_x86_inject_type {
	KVMI_X86_INJECT_EXCEPTION = 1,
	KVMI_X86_INJECT_INTERRUPT = 2,
	KVMI_X86_INJECT_NMI = 3,
};

/* Bits of kvmi_x86_injection.flags. */
/* Before the next instruction, or not at all: EAGAIN. */
#define KVMI_X86_INJECT_NOW	(1U << 0)

/**
 * struct kvmi_x86_injection - an exception, interrupt or NMI
 * @type: enum kvmi_x86_inject_type
 * @vector: exceptions: #DE, #DB, #BR, #UD, #NM, #DF, #TS, #NP, #SS, #GP, #PF,
 *	#MF, #AC, #MC, #XM; #BP where the guest is at an INT3 (CC), as at
 *	KVMI_EVENT_BREAKPOINT, and lost elsewhere. #OF: EOPNOTSUPP.
 *	Interrupts: 16 to 255. NMI: 0
 * @error: error code of an exception that has one, at most 0x7fff; else 0
 * @flags: KVMI_X86_INJECT_*
 * @payload: #PF: CR2; #DB: what is set in DR6 (bits 0 to 3, 13 to 15); else 0
 *
 * What KVM is delivering comes first, and nothing of it is lost; then this, as
 * soon as the guest can take it. An interrupt goes to the LAPIC that KVM has for
 * the VM: by priority, and the guest acknowledges it there. If the VMM has the
 * LAPIC, it is delivered when interrupts are on.
 */
struct kvmi_x86_injection {
	__u32 type;
	__u32 vector;
	__u32 error;
	__u32 flags;
	__aligned_u64 payload;
};

/* Values of kvmi_x86_ev_injected.status. */
#define KVMI_X86_INJECTED_DELIVERED	0
/* The VMM has set other events (a reset), or the LAPIC is switched off. */
#define KVMI_X86_INJECTED_LOST		1

/* Bits of kvmi_x86_ev_injected.before. */
#define KVMI_X86_BEFORE_EXCEPTION	(1U << 0)
#define KVMI_X86_BEFORE_INTERRUPT	(1U << 1)
#define KVMI_X86_BEFORE_NMI		(1U << 2)
#define KVMI_X86_BEFORE_MASKED		(1U << 3)	/* interrupts were off */
#define KVMI_X86_BEFORE_OTHER		(1U << 4)	/* nested guest, SMM, not started */

/**
 * struct kvmi_x86_ev_injected - payload of KVMI_EVENT_INJECTED
 * @injection: what KVMI_INJECT said; for an answer with KVMI_REPLY_INJECT the
 *	id of the event
 * @pc: RIP before the delivery, 0 if it is not known (the CPU's own delivery of
 *	interrupts, APICv or AVIC)
 * @type: enum kvmi_x86_inject_type
 * @vector: as it was asked for
 * @error: likewise
 * @status: KVMI_X86_INJECTED_*
 * @before: KVMI_X86_BEFORE_*: what it had to wait for
 * @pad: 0
 */
struct kvmi_x86_ev_injected {
	__aligned_u64 injection;
	__aligned_u64 pc;
	__u32 type;
	__u32 vector;
	__u32 error;
	__u32 status;
	__u32 before;
	__u32 pad;
};

#endif /* _UAPI_LINUX_KVMI_X86_H */
