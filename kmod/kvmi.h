/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kvmi: objects and their relations.
 *
 *   session --- vm --- vcpu ... vcpu		one kvmi_vm per attached struct kvm
 *      |         |       \--- ring		one ring per vCPU
 *      fd        \--- view ... view
 *
 * Locks, outermost first:
 *
 *   kvmi_vms_lock	attach, detach, hooks in and out
 *   vm->sem		held for reading: vm->kvm and what it points to stay;
 *			for writing: the VM goes, or is let go
 *   vm->lock		configuration: events, views, pause counts
 *   kv->job_lock	one job at a time on a vCPU
 *   vcpu->mutex	KVM's; only ever tried for, or already held by KVM_RUN
 *   kvm->mmu_lock	KVM's
 *   vm->view_lock	the views' page tables
 *   vm->clock.lock	what vCPUs lose of their TSC; KVM's tsc_write_lock inside
 *
 * KVM calls the hooks with these held: handle_exit and vcpu_pre_run:
 * vcpu->mutex, kvm->srcu (read); vcpu_run: the same, interrupts off; the MMU
 * hooks: kvm->mmu_lock, or kvm->slots_lock. So no hook takes more than
 * vm->view_lock, and none waits with kvm->srcu held.
 */
#ifndef KVMI_H
#define KVMI_H

#include <linux/bitmap.h>
#include <linux/kref.h>
#include <linux/kvm_host.h>
#include <linux/poll.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/rwsem.h>
#include <linux/static_call.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <linux/kvmi.h>

#include "compat/kvm.h"

struct eventfd_ctx;
struct kvmi_map;
struct kvmi_rings;
struct kvmi_sink;
struct kvmi_vm;
struct kvmi_vcpu;

#define KVMI_MAX_VIEWS		511
#define KVMI_MAX_MSRS		256
#define KVMI_MIN_RING		SZ_4K
#define KVMI_MAX_RING		SZ_16M
#define KVMI_DEFAULT_RING	SZ_64K

/**
 * struct kvmi_poll - what is known of looking before sleeping (poll.c)
 * @skip: so many waits are not to look
 * @backoff: how many that was last; 0: it pays
 */
struct kvmi_poll {
	u32 skip;
	u32 backoff;
};

/**
 * struct kvmi_ring - shared memory of one vCPU
 * @header: kernel-written pages: struct kvmi_ring_header, then the records
 * @tool: the tool's page; hostile
 * @size: bytes for records, a power of two; the kernel's own copy
 * @producer: the kernel's own copy
 * @seq: events of this vCPU so far, dropped ones included
 * @eventfd: signalled at each post, or NULL; RCU
 * @wq: sleepers that wait for this ring alone
 */
struct kvmi_ring {
	struct kvmi_ring_header *header;
	struct kvmi_ring_tool *tool;
	u32 size;
	u64 producer;
	u64 seq;
	struct eventfd_ctx __rcu *eventfd;
	wait_queue_head_t wq;
};

/**
 * struct kvmi_rule - what a session wants of some registers, vectors, ports
 * @first: index of the first of them, as in kvmi_control_event.index
 * @last: of the last
 * @mode: enum kvmi_event_mode by direction ([write]), or KVMI_RULE_NONE
 * @regs: register sets that go along, likewise
 * @mask: likewise: told only if one of these bits changes; 0: every time
 */
struct kvmi_rule {
	u32 first, last;
	u8 mode[2];
	u16 regs[2];
	u64 mask[2];
};

/* This rule says nothing of that direction: one behind it may. */
#define KVMI_RULE_NONE		0xff

/**
 * struct kvmi_rules - the rules of a kind, the latest last: that one holds
 * @rcu: to free them
 * @nr: how many
 * @room: for so many; none is inserted but at the end
 * @rule: they; their modes change in place
 */
struct kvmi_rules {
	struct rcu_head rcu;
	u32 nr;
	u32 room;
	struct kvmi_rule rule[];
};

/* By kind and vCPU, of a session. */
#define KVMI_MAX_RULES		256

/**
 * struct kvmi_watch - what one session wants to be told of one vCPU
 * @next: of another session, see kvmi_vcpu.observers; SRCU (watch.c)
 * @sink: of the session
 * @mode: enum kvmi_event_mode by kind, of those without rules
 * @regs: register sets that go along
 * @elements: KVMI_CONTROL_ELEMENTS
 * @rules: by kind, or NULL; RCU
 * @limits: by kind, or NULL if none is limited
 * @exits: counted, by kvmi_exit_slot(); NULL until that is asked for
 * @stats: by kind
 * @stats.events: records posted
 * @stats.limited: not told, as they came too soon
 * @stats.counted: KVMI_MODE_COUNT
 * @ring: shared with the tool
 */
struct kvmi_watch {
	struct kvmi_watch __rcu *next;
	struct kvmi_sink *sink;
	u8 mode[KVMI_NR_KINDS];
	u16 regs[KVMI_NR_KINDS];
	bool elements;
	struct kvmi_rules __rcu *rules[KVMI_NR_KINDS];
	struct kvmi_limit *limits;
	u64 *exits;
	struct {
		u64 events[KVMI_NR_KINDS];
		u64 limited[KVMI_NR_KINDS];
		u64 counted[KVMI_NR_KINDS];
	} stats;
	struct kvmi_ring ring;
};

/**
 * struct kvmi_sink - where the events of a session go
 * @ref: of an observer's; the other one lives as long as its VM
 * @node: in vm->sinks; vm->lock, and SRCU for readers (watch.c)
 * @vm: the VM
 * @observer: the session does not control the VM
 * @ring_size: bytes of each ring
 * @ring_file: keeps the rings for mappings
 * @rings: owner of the rings' memory
 * @watches: struct kvmi_watch by index of the vCPU
 * @own: of the VM itself (change.c)
 * @own_lock: serializes its posts
 * @def: what those of vCPUs to come are to be like; without a ring
 * @wq: tools that wait for any ring
 * @poll: of their waits
 */
struct kvmi_sink {
	struct kref ref;
	struct list_head node;
	struct kvmi_vm *vm;
	bool observer;
	u32 ring_size;
	struct file *ring_file;
	struct kvmi_rings *rings;
	struct xarray watches;
	struct kvmi_watch *own;
	spinlock_t own_lock;			/* posts to @own */
	struct kvmi_watch *def;
	wait_queue_head_t wq;
	struct kvmi_poll poll;
};

#define KVMI_TDP_CACHE		5

/**
 * struct kvmi_tdp_cache - page tables kept ready: none can be had under vm->view_lock
 * @nr: how many
 * @page: they
 */
struct kvmi_tdp_cache {
	u32 nr;
	u64 *page[KVMI_TDP_CACHE];
};

/**
 * enum kvmi_continue - how "continue" is done; depends on where the event was raised
 * @KVMI_CONT_ORIG: KVM's own handler, which has not acted yet
 * @KVMI_CONT_VENDOR: the back end, since KVM's handler would not do
 * @KVMI_CONT_NOTHING: the instruction is done
 * @KVMI_CONT_STEP: one instruction on the default view
 * @KVMI_CONT_OVER: the same, which a breakpoint hides
 * @KVMI_CONT_EMULATE: KVM's emulator, since KVM has no handler
 * @KVMI_CONT_REFLECT: the exception is the guest's
 * @KVMI_CONT_VALUE: the instruction reads @now into EDX:EAX
 * @KVMI_CONT_NESTED: KVM's own handler, with everything of ours taken back
 * @KVMI_CONT_DECODE: what else the exit is
 * @KVMI_CONT_ELEMENT: the next element of INS or OUTS (x86/io.c)
 */
enum kvmi_continue {
	KVMI_CONT_ORIG,
	KVMI_CONT_VENDOR,
	KVMI_CONT_NOTHING,
	KVMI_CONT_STEP,
	KVMI_CONT_OVER,
	KVMI_CONT_EMULATE,
	KVMI_CONT_REFLECT,
	KVMI_CONT_VALUE,
	KVMI_CONT_NESTED,
	KVMI_CONT_DECODE,
	KVMI_CONT_ELEMENT,
};

/**
 * enum kvmi_value - where an instruction has the value that it moves
 * @KVMI_VALUE_NONE: it moves none
 * @KVMI_VALUE_REG: in a register, which it reads
 * @KVMI_VALUE_EDX_EAX: in EDX:EAX, which it reads
 * @KVMI_VALUE_TO_EDX_EAX: in EDX:EAX, which it writes
 * @KVMI_VALUE_IN: in AL, AX or EAX, which it writes
 * @KVMI_VALUE_OUT: likewise, which it reads
 * @KVMI_VALUE_ELEMENT: in memory: INS and OUTS
 */
enum kvmi_value {
	KVMI_VALUE_NONE,
	KVMI_VALUE_REG,
	KVMI_VALUE_EDX_EAX,
	KVMI_VALUE_TO_EDX_EAX,
	KVMI_VALUE_IN,
	KVMI_VALUE_OUT,
	KVMI_VALUE_ELEMENT,
};

/**
 * struct kvmi_exit - an exit that is an event
 * @kind: enum kvmi_event_kind
 * @cont: enum kvmi_continue
 * @mode: enum kvmi_event_mode of the session that controls the VM; this and @regs
 *	are set by kvmi_watch_match()
 * @regs: register sets that go along
 * @indexed: the kind has rules: the next three are set
 * @write: direction
 * @index: which register, vector, port
 * @change: bits that change
 * @now: KVMI_CONT_VALUE
 * @skip: KVMI_ACTION_SKIP makes sense
 * @value: so does KVMI_REPLY_VALUE: enum kvmi_value
 * @source: KVMI_VALUE_REG: the register that has the instruction's value
 * @size: bytes of @payload in use
 * @payload: struct kvmi_*ev_*
 */
struct kvmi_exit {
	u32 kind;
	u32 cont;
	u32 mode;
	u32 regs;
	bool indexed;
	bool write;
	bool skip;
	u8 value;
	u8 source;
	u32 index;
	u64 change;
	u64 now;
	u32 size;
	union {
		struct kvmi_ev_cancelled cancelled;
		struct kvmi_ev_access access;
		struct kvmi_ev_breakpoint breakpoint;
		struct kvmi_ev_step step;
		struct kvmi_ev_vm vm;
		struct kvmi_ev_vcpu vcpu;
		struct kvmi_ev_hypercall hypercall;
		struct kvmi_ev_mmio mmio;
		struct kvmi_x86_ev_cr cr;
		struct kvmi_x86_ev_msr msr;
		struct kvmi_x86_ev_cpuid cpuid;
		struct kvmi_x86_ev_injected injected;
		struct kvmi_x86_ev_xsetbv xsetbv;
		struct kvmi_x86_ev_dr dr;
		struct kvmi_x86_ev_exception exception;
		struct kvmi_x86_ev_dtable dtable;
		struct kvmi_x86_ev_io io;
		struct kvmi_x86_ev_insn insn;
		struct kvmi_x86_ev_delivery delivery;
		struct kvmi_x86_ev_exit exit;
		u64 raw[8];
	} payload;
};

/**
 * struct kvmi_bookmark - state of a vCPU that leaves KVM_RUN with an event open
 * @rip: instruction pointer
 * @rsp: stack pointer
 * @rflags: flags
 * @cr0: as the guest reads it
 * @cr3: with PCID
 * @cr4: as the guest reads it
 * @cs_base: base of the code segment
 * @cs: its selector
 * @mp_state: KVM_MP_STATE_*
 * @hflags: nested guest, SMM
 *
 * If the next KVM_RUN finds another, the VMM has changed the vCPU, and the event
 * is over.
 */
struct kvmi_bookmark {
	u64 rip, rsp, rflags;
	u64 cr0, cr3, cr4;
	u64 cs_base;
	u16 cs;
	u32 mp_state;
	u32 hflags;
};

/**
 * struct kvmi_msr - an MSR that somebody watches, or has watched
 * @index: of the MSR
 * @want: directions: bit 0 reads, bit 1 writes; written last
 * @added: bits of the CPU's bitmap that are ours, not KVM's, likewise; the vCPU's
 *
 * With neither it can become that of another MSR.
 */
struct kvmi_msr {
	u32 index;
	u8 want;
	u8 added;
};

/**
 * struct kvmi_limit - how often a kind of event is told (stats.c)
 * @interval: nanoseconds per event; 0: no limit
 * @burst: nanoseconds that may be saved up
 * @full: when the bucket is full again; the vCPU's
 */
struct kvmi_limit {
	u64 interval;
	u64 burst;
	u64 full;
};

/* Bits of kvmi_vcpu.want: controls that the back end arms at the next entry. */
#define KVMI_WANT_CONTROLS	BIT(0)		/* of kvmi_vcpu.wants */
#define KVMI_WANT_MSR		BIT(3)
#define KVMI_WANT_STEP		BIT(4)
#define KVMI_WANT_DELIVERY	BIT(6)
#define KVMI_WANT_VCPU		BIT(7)
/* Those for which KVM has the CPU exit anyway. */
#define KVMI_WANT_CPUID		BIT(5)
#define KVMI_WANT_IO		BIT(8)
#define KVMI_WANT_HYPERCALL	BIT(9)
#define KVMI_WANT_XSETBV	BIT(10)
#define KVMI_WANT_EXIT		BIT(11)
#define KVMI_WANT_INSN		BIT(12)
#define KVMI_WANT_MMIO		BIT(13)
#define KVMI_WANT_PASSIVE	(KVMI_WANT_CPUID | KVMI_WANT_IO |	\
				 KVMI_WANT_HYPERCALL | KVMI_WANT_XSETBV | \
				 KVMI_WANT_EXIT | KVMI_WANT_INSN | \
				 KVMI_WANT_MMIO)

/* Words of intercepts in the VMCB. */
#define KVMI_SVM_WORDS		6

/**
 * struct kvmi_wants - what all sessions together want of a vCPU
 * @bits: KVMI_WANT_*
 * @cr: control registers, by direction ([write])
 * @dr: debug registers, likewise
 * @table: descriptor-table registers, likewise
 * @exceptions: vectors
 * @insns: by enum kvmi_x86_insn
 * @fast: MSRs, HLT: KVM's fast path must leave them alone
 * @elements: an event for each element of INS and OUTS
 * @svm: that, as the VMCB has it: APM, "VMCB Layout, Control Area"
 * @vmx: that, as the VMCS has it
 * @vmx.exec: processor-based controls
 * @vmx.exec2: secondary ones
 * @vmx.excp: exception bitmap
 * @vmx.cr0: all of CR0 is the host's
 * @vmx.cr4: likewise CR4
 */
struct kvmi_wants {
	u32 bits;
	u16 cr[2];
	u16 dr[2];
	u8 table[2];
	u32 exceptions;
	u32 insns;
	bool fast;
	bool elements;
	union {
		u32 svm[KVMI_SVM_WORDS];
		struct {
			u32 exec, exec2, excp;
			bool cr0, cr4;
		} vmx;
	};
};

/* Bits of kvmi_vcpu.quick: what takes no look at the whole. */
#define KVMI_QUICK_ENTRY	BIT(0)		/* entries, once the controls are armed */
#define KVMI_QUICK_EXIT		BIT(1)		/* exits that are no events */
#define KVMI_QUICK_COUNT	BIT(2)		/* these are all counted */
#define KVMI_QUICK_CPUID	BIT(3)		/* CPUID is, and nothing else */

/* A bit of kvmi_armed.bits alone: the back end injects something itself. */
#define KVMI_ARMED_SOFT		BIT(31)
/* With any of these, kvmi_ops.exit_begin. */
#define KVMI_ARMED_EXIT		(KVMI_WANT_STEP | KVMI_ARMED_SOFT)

/* Bits of kvmi_vcpu.flags. */
enum {
	KVMI_VCPU_F_GONE,	/* unhashed; finish and never wait again */
	KVMI_VCPU_F_ENTERED,	/* the guest was entered since the last exit */
	KVMI_VCPU_F_INJECTED,	/* ... with an event injected */
	KVMI_VCPU_F_TIMEOUT,	/* the open event is overdue */
	KVMI_VCPU_F_NO_ROOM,	/* waits for the tool to read */
	KVMI_VCPU_F_RESET,	/* the open event is over (KVMI_RESET) */
};

/**
 * enum kvmi_step_mode - what a step in progress is for
 * @KVMI_STEP_NONE: none in progress
 * @KVMI_STEP_EVENT: KVMI_REPLY_STEP: an event, whether enabled or not
 * @KVMI_STEP_ENABLED: stepping is enabled as an event
 * @KVMI_STEP_FAST: one instruction on another view, without an event
 */
enum kvmi_step_mode {
	KVMI_STEP_NONE,
	KVMI_STEP_EVENT,
	KVMI_STEP_ENABLED,
	KVMI_STEP_FAST,
};

/**
 * enum kvmi_trap - is an exit the trap of a step?
 * @KVMI_TRAP_NONE: no
 * @KVMI_TRAP_OURS: yes, and nothing else
 * @KVMI_TRAP_SHARED: the instruction is done; but the exit is also, or only, what
 *	the guest or a debugger in the VMM has asked for
 */
enum kvmi_trap {
	KVMI_TRAP_NONE,
	KVMI_TRAP_OURS,
	KVMI_TRAP_SHARED,
};

/**
 * enum kvmi_insn_class - instructions of which a step must know
 * @KVMI_INSN_PLAIN: none of them
 * @KVMI_INSN_PUSHF: saves TF
 * @KVMI_INSN_POPF: loads TF
 * @KVMI_INSN_IRET: loads TF
 * @KVMI_INSN_SYSCALL: saves TF, and masks it
 * @KVMI_INSN_SYSRET: loads TF, and heeds it at once
 * @KVMI_INSN_INT: INT n
 * @KVMI_INSN_INT3: INT3
 * @KVMI_INSN_INTO: INTO
 * @KVMI_INSN_INT1: INT1, also called ICEBP
 * @KVMI_INSN_CLI: masks interrupts
 * @KVMI_INSN_STI: unmasks interrupts, behind the next instruction
 * @KVMI_INSN_LOAD_SS: MOV SS, POP SS: no trap before the end of the next one
 * @KVMI_INSN_HLT: KVM's fast path may execute it
 * @KVMI_INSN_INVD: likewise
 * @KVMI_INSN_WRMSR: likewise
 * @KVMI_INSN_AWAY: VMRUN, VMLAUNCH, VMRESUME, MWAIT: done only when an interrupt comes,
 *	perhaps
 */
enum kvmi_insn_class {
	KVMI_INSN_PLAIN,
	KVMI_INSN_PUSHF,
	KVMI_INSN_POPF,
	KVMI_INSN_IRET,
	KVMI_INSN_SYSCALL,
	KVMI_INSN_SYSRET,
	KVMI_INSN_INT,
	KVMI_INSN_INT3,
	KVMI_INSN_INTO,
	KVMI_INSN_INT1,
	KVMI_INSN_CLI,
	KVMI_INSN_STI,
	KVMI_INSN_LOAD_SS,
	KVMI_INSN_HLT,
	KVMI_INSN_INVD,
	KVMI_INSN_WRMSR,
	KVMI_INSN_AWAY,
};

/**
 * enum kvmi_branch - does an instruction transfer control?
 * @KVMI_BRANCH_NEVER: no
 * @KVMI_BRANCH_MAYBE: it depends
 * @KVMI_BRANCH_ALWAYS: yes
 */
enum kvmi_branch {
	KVMI_BRANCH_NEVER,
	KVMI_BRANCH_MAYBE,
	KVMI_BRANCH_ALWAYS,
};

/**
 * struct kvmi_insn - an instruction that is about to be executed
 * @class: enum kvmi_insn_class
 * @vector: of INT n
 * @branch: enum kvmi_branch
 * @len: its length, if it has a class other than KVMI_INSN_LOAD_SS, or is a
 *	KVMI_BRANCH_MAYBE
 */
struct kvmi_insn {
	u8 class;
	u8 vector;
	u8 branch;
	u8 len;
};

/**
 * enum kvmi_inject_state - how far an injection is
 * @KVMI_INJECT_NONE: there is none
 * @KVMI_INJECT_QUEUED: it waits here
 * @KVMI_INJECT_HANDED: KVM has it
 * @KVMI_INJECT_DELIVERED: the guest has it; this is to be told
 * @KVMI_INJECT_LOST: nobody has it; this is to be told
 */
enum kvmi_inject_state {
	KVMI_INJECT_NONE,
	KVMI_INJECT_QUEUED,
	KVMI_INJECT_HANDED,
	KVMI_INJECT_DELIVERED,
	KVMI_INJECT_LOST,
};

/**
 * struct kvmi_injection - an exception, interrupt or NMI on its way (x86/inject.c)
 * @state: enum kvmi_inject_state
 * @entered: an entry has begun to deliver it
 * @what: it
 * @id: for its record
 * @pc: of the guest at that entry
 * @before: KVMI_X86_BEFORE_*
 */
struct kvmi_injection {
	enum kvmi_inject_state state;
	bool entered;
	struct kvmi_x86_injection what;
	u64 id;
	u64 pc;
	u32 before;
};

/* By enum kvmi_x86_inject_type, from 1. */
#define KVMI_NR_INJECT		4

/**
 * struct kvmi_vmx_control - a control of the VMCS
 * @base: KVM's wish
 * @last: what was written last
 * @on: some of it is ours
 */
struct kvmi_vmx_control {
	u32 base;
	u32 last;
	bool on;
};

#define KVMI_MSR_WORDS		8

/**
 * struct kvmi_armed - the controls of the VMCS or VMCB that the back end has changed
 * @bits: KVMI_WANT_* in force
 * @gen: kvmi_vcpu.gen that they and @exits are of; see kvmi_wants_end()
 * @exits: bits of the exits that can be events. SVM: their codes are numbers of
 *	intercepts; VMX: basic exit reasons
 * @nr_words: words of the MSR bitmap that have bits of @msrs; above KVMI_MSR_WORDS:
 *	too many to remember
 * @msrs: these: where, and which bits must be set
 * @vmx: Intel
 * @vmx.exec: processor-based controls
 * @vmx.exec2: secondary ones
 * @vmx.excp: exception bitmap
 * @vmx.cr0: what of CR0's guest/host mask is ours
 * @vmx.cr4: what of CR4's
 * @svm: AMD
 * @svm.ours: what of the intercepts is ours
 * @svm.words: all of them, as they were left
 * @svm.map: the MSR bitmap, with KVMI_WANT_MSR
 * @svm.soft: an INT n to be injected
 * @svm.soft.len: its length; 0: there is none
 * @svm.soft.vector: of it
 * @svm.soft.rip: its address
 * @svm.step: the instruction that is being stepped
 * @svm.step.armed: it is being executed
 * @svm.step.foreign: TF is KVM's, and so is the trap
 * @svm.step.shadow: the interrupt shadow is to be put back
 * @svm.step.hide: the image that PUSHF has pushed shows our TF
 * @svm.step.trap: what the exit says: enum kvmi_trap
 * @svm.step.rflags: before it
 * @svm.step.r11: likewise
 * @svm.step.sfmask: likewise
 * @svm.step.dr7: likewise
 * @svm.step.dbgctl: likewise
 */
struct kvmi_armed {
	u32 bits;
	u32 gen;
	u32 exits[KVMI_SVM_WORDS];
	u32 nr_words;
	struct {
		u32 word;
		u32 mask;
	} msrs[KVMI_MSR_WORDS];
	union {
		struct {
			struct kvmi_vmx_control exec, exec2, excp;
			u64 cr0, cr4;
		} vmx;
		struct {
			u32 ours[KVMI_SVM_WORDS];
			u32 words[KVMI_SVM_WORDS];
			u32 *map;
			struct {
				u8 len;
				u8 vector;
				u64 rip;
			} soft;
			struct {
				bool armed;
				bool foreign;
				bool shadow;
				bool hide;
				u8 trap;
				u64 rflags;
				u64 r11;
				u64 sfmask;
				u64 dr7;
				u64 dbgctl;
			} step;
		} svm;
	};
};

/*
 * Called with the vCPU loaded: within KVM_RUN on the vCPU's thread (@in_run), or
 * on the caller's, whose mm is not the VMM's.
 */
typedef int (*kvmi_job_fn)(struct kvmi_vcpu *kv, void *arg, bool in_run);

/**
 * struct kvmi_job - something to be done on a vCPU
 * @fn: what
 * @arg: its argument
 * @ret: what it returned
 * @done: it has returned
 */
struct kvmi_job {
	kvmi_job_fn fn;
	void *arg;
	int ret;
	struct completion done;
};

/**
 * struct kvmi_vcpu - what kvmi knows of a vCPU
 * @node: in kvmi_vcpu_table; RCU
 * @vcpu: KVM's
 * @vm: its VM
 * @index: KVM's vcpu_idx
 * @inflight: hooks that hold it; only changed by the thread that holds
 *	vcpu->mutex, and keeps the object and @vcpu for a hook that sleeps
 * @flags: KVMI_VCPU_F_*
 * @rcu: to free it
 * @want: KVMI_WANT_* of all sessions. This and what follows, up to @pause_count,
 *	is configuration: written under vm->lock, read by the vCPU.
 * @wants: the same in detail
 * @quick: KVMI_QUICK_*, as @want and the rules allow it
 * @mmio: it has a reference of kvmi_mmio_get()
 * @gen: counts changes of @want, @wants, @quick and @msrs; odd during one
 * @nr_msrs: entries of @msrs in use
 * @msrs: KVMI_MAX_MSRS of them, or NULL; of all sessions
 * @watch: of the session that controls the VM
 * @observers: of the others
 * @view: id of its view; KVMI_VIEW_DEFAULT: KVM's own. Also changed by answers.
 * @home: the view that it is back on after the step in progress (aside.c);
 *	KVMI_VIEW_ALL: it is not away. The vCPU's.
 * @aside: its aside, or NULL; made by the vCPU
 * @seen: the view as it was last looked up by the vCPU's thread, see kvmi_view_now()
 * @seen.tree: found; NULL: none
 * @seen.id: for this id
 * @seen.gone: at this kvmi_vm.views_gone
 * @link: how it has last gone over to another view (KVMI_VIEW_LINK); the vCPU's
 * @link.rip: for which instruction
 * @link.to: id of the view; 0: it has not
 * @bytes: bytes that the instruction under way may change; the vCPU's
 * @bytes.valid: there are some
 * @bytes.gfn: their page
 * @bytes.first: where in it
 * @bytes.len: how many
 * @bytes.allowed: KVMI_ACCESS_* of the page
 * @bytes.old: room for a page: they before; and for one behind it
 * @standins: copies of pages; made when first needed
 * @nr_standins: those that are for the coming instruction
 * @stop_kinds: bits of the kinds that stop the other vCPUs
 * @pause_count: nested pauses
 * @armed: what the back end has changed. This and what follows, up to @reply,
 *	is owned by the vCPU's thread.
 * @busy: what is under way, besides events
 * @busy.step: enum kvmi_step_mode: the step in progress
 * @busy.owed: likewise: one that is complete, its event not posted yet
 * @busy.deferred: @deferred holds something
 * @busy.delivery: likewise @delivery
 * @busy.inject: bits of those of @inject that are on their way
 * @busy.written: @bytes may have been changed, which is not told yet
 * @busy.standin: @standins stand in for pages of the guest (standin.c)
 * @busy.any: all of these
 * @step: the step in progress
 * @step.owed_flags: of that event
 * @step.rip: of the instruction
 * @step.back: view to go back to
 * @step.off: the one to go to instead where the instruction has led to another page, or
 *	KVMI_VIEW_DEFAULT
 * @step.deliver: an event was being delivered, or is to be
 * @step.ready: @step.insn is the instruction at @step.rip
 * @step.look: it has to be known, for the sake of an interrupt
 * @step.emulate: the back end executes it, in @step.view
 * @step.view: the view when that was decided
 * @step.go: the coming entry executes it
 * @step.delivering: the last entry has delivered an event instead
 * @step.insn: the instruction
 * @deferred: an interrupt taken from KVM for the time of a step, see
 *	kvmi_defer()
 * @deferred.nmi: an NMI
 * @deferred.interrupt: or this
 * @delivery: what the last entry has injected, if it is to be told
 * @io: the element of INS or OUTS that the VMM has not completed yet (x86/io.c)
 * @io.pending: there is one
 * @io.start: RIP while it is
 * @io.rip: that of the instruction
 * @io.rcx: as it was before the element
 * @halted: KVMI_VCPU_HALTS was told
 * @smm: KVMI_VCPU_SMM was told
 * @at_reset: KVMI_VCPU_RESET was told
 * @inject: what a tool has it take, by enum kvmi_x86_inject_type
 * @open: the event that waits for an answer
 * @open.id: its id, or 0
 * @open.exit: the exit
 * @open.mark: state at which its thread left KVM_RUN
 * @open.deadline: jiffies; 0: none
 * @open.since: rdtsc() when it was raised
 * @open.flags: of its record
 * @open.shown: its record is posted
 * @wait_cycles: of waiting for answers, by kind
 * @next_id: the last id less the index
 * @reply: copy of the answer
 * @park_lock: serializes @parked with who reads registers meanwhile
 * @parked: its thread sleeps in kvmi, its general registers are in memory
 * @stop_since: jiffies when its thread went to sleep in kvmi, or 0
 * @clock: what is to be taken from its TSC before it goes on (x86/clock.c);
 *	under vm->clock.lock
 * @clock.tsc: cycles
 * @clock.ns: the same time
 * @job_lock: one job at a time
 * @job: to be done by its thread, or NULL
 * @wait: where its thread sleeps
 * @poll: of its waits for an answer
 * @tdp: page tables kept ready
 *
 * Found by the hooks through kvmi_vcpu_table, under RCU.
 */
struct kvmi_vcpu {
	struct hlist_node node;
	struct kvm_vcpu *vcpu;
	struct kvmi_vm *vm;
	u32 index;
	u32 inflight;
	unsigned long flags;
	struct rcu_head rcu;

	u32 want;
	struct kvmi_wants wants;
	u32 quick;
	bool mmio;
	u32 gen;
	u32 nr_msrs;
	struct kvmi_msr *msrs;
	struct kvmi_watch watch;
	struct kvmi_watch __rcu *observers;
	u32 view;
	u32 home;
	struct kvmi_tree *aside;
	struct {
		struct kvmi_tree *tree;
		u32 id;
		u64 gone;
	} seen;
	struct {
		u64 rip;
		u32 to;
	} link;
	struct {
		bool valid;
		gfn_t gfn;
		u16 first;
		u16 len;
		u32 allowed;
		u8 *old;
	} bytes;
	struct kvmi_standin *standins[KVMI_REPLY_MAX_STAND_INS];
	u32 nr_standins;
	u64 stop_kinds;
	u32 pause_count;

	struct kvmi_armed armed;
	union {
		struct {
			u8 step;
			u8 owed;
			bool deferred;
			bool written;
			u8 standin;
			/* No step has to do with these: KVMI_BUSY_STEP. */
			bool delivery;
			u8 inject;
		};
		u64 any;
	} busy;
	struct {
		u32 owed_flags;
		u64 rip;
		u32 back;
		u32 off;
		bool deliver;
		bool ready;
		bool look;
		bool emulate;
		u32 view;
		bool go;
		bool delivering;
		struct kvmi_insn insn;
	} step;
	struct {
		bool nmi;
		struct kvm_queued_interrupt interrupt;
	} deferred;
	struct kvmi_x86_ev_delivery delivery;
	struct {
		bool pending;
		u64 start;
		u64 rip;
		u64 rcx;
	} io;
	bool halted;
	bool smm;
	bool at_reset;
	struct kvmi_injection inject[KVMI_NR_INJECT];
	struct {
		u64 id;
		struct kvmi_exit exit;
		struct kvmi_bookmark mark;
		unsigned long deadline;
		u64 since;
		u16 flags;
		bool shown;
	} open;
	u64 wait_cycles[KVMI_NR_KINDS];
	u64 next_id;
	struct kvmi_reply reply;

	spinlock_t park_lock;			/* @parked */
	bool parked;
	unsigned long stop_since;
	struct {
		u64 tsc;
		u64 ns;
	} clock;
	struct mutex job_lock;			/* one job at a time */
	struct kvmi_job *job;
	struct rcuwait wait;
	struct kvmi_poll poll;
	struct kvmi_tdp_cache tdp;
};

/**
 * struct kvmi_vm - an attached VM
 * @ref: references: the session's, and of who works on it
 * @node: in kvmi_vm_table; RCU
 * @rcu: to free it
 * @kvm: NULL once it is gone; stable under @sem
 * @sem: held for reading: @kvm and what it points to stay
 * @lock: configuration
 * @gone: it was destroyed
 * @detached: it is let go, or was destroyed
 * @id: see kvmi_vmlist_id(); 0 until it is attached
 * @attach_ns: CLOCK_MONOTONIC at the attach
 * @vendor: KVM's vendor module, pinned
 * @vcpus: struct kvmi_vcpu by index
 * @nr_vcpus: of them; indices are below
 * @bounce: a page for memory.c, or NULL
 * @map: guest memory as mapped by tools, or NULL; set once
 * @sink: of the session that controls the VM; stays for a successor
 * @sinks: of all sessions, @sink first
 * @def_view: what vCPUs to come are to be like, as the members of struct
 *	kvmi_vcpu; also the next ones
 * @def_stop_kinds: likewise
 * @def_pause: likewise; pauses of all vCPUs
 * @stop_owner: the vCPU whose event stops the others, or NULL
 * @stoppers: how many wait for vCPUs to stand
 * @stop_wq: the tools among them
 * @change: what the VMM's thread asks the tool (change.c)
 * @change.lock: one at a time
 * @change.wq: where it waits
 * @change.next_id: the last id less its low bits
 * @change.open: the id that awaits an answer
 * @change.over: the id that awaits none any more
 * @stop_clocks: the guest's clocks stand still while all vCPUs do
 * @clock: that they do (x86/clock.c)
 * @clock.lock: for this, and kvmi_vcpu.clock
 * @clock.why: KVMI_CLOCK_*; 0: they go
 * @clock.set_back: they have been set back
 * @clock.tsc: of the host, since when
 * @clock.ns: CLOCK_MONOTONIC_RAW at the same time
 * @timeout: for an answer, jiffies; 0: none
 * @default_action: enum kvmi_action
 * @on_close: enum kvmi_on_close
 * @narrowed: the next two say something
 * @reply_flags: KVMI_REPLY_* that the session may answer with
 * @reply_actions: bits of enum kvmi_action, likewise
 * @sessions: how many there are; this and the next two under kvmi_vms_lock
 * @controlled: one of them controls the VM
 * @orphan: it waits for a successor, with a reference and the module held
 * @timer: looks for answers that are overdue
 * @view_lock: the views' tables
 * @views: struct kvmi_tree by id
 * @nr_views: of them
 * @views_gone: how many were destroyed
 * @aliases: struct kvmi_alias of pages of the guest, by source; @view_lock
 * @own: struct kvmi_own by number; changed under @lock
 * @nr_own: of them
 * @own_next: where the next one is looked for, downwards; 0: at the end
 * @undo_lock: snapshots (undo.c)
 * @view_hooks: views can be had
 * @check: with check_views: where the comparison of the views with the host's tables
 *	is; @again: something was dropped since it began
 * @breakpoints: struct kvmi_bp by guest-physical address (breakpoint.c)
 * @nr_breakpoints: of them
 * @had_breakpoints: there was one once
 */
struct kvmi_vm {
	struct kref ref;
	struct hlist_node node;
	struct rcu_head rcu;
	struct kvm *kvm;
	struct rw_semaphore sem;
	struct mutex lock;			/* configuration */
	bool gone;
	bool detached;
	u64 id;
	u64 attach_ns;
	struct module *vendor;

	struct xarray vcpus;
	u32 nr_vcpus;
	void *bounce;
	struct kvmi_map *map;
	struct kvmi_sink sink;
	struct list_head sinks;

	u32 def_view;
	u64 def_stop_kinds;
	u32 def_pause;
	struct kvmi_vcpu *stop_owner;
	atomic_t stoppers;
	wait_queue_head_t stop_wq;
	bool stop_clocks;
	struct {
		spinlock_t lock;		/* this, and the vCPUs' */
		u32 why;
		bool set_back;
		u64 tsc, ns;
	} clock;

	struct {
		struct mutex lock;		/* one at a time */
		wait_queue_head_t wq;
		u64 next_id;
		u64 open;
		u64 over;
	} change;

	u32 timeout;
	u32 default_action;
	u32 on_close;
	bool narrowed;
	u32 reply_flags;
	u32 reply_actions;
	u32 sessions;
	bool controlled;
	bool orphan;
	struct delayed_work timer;

	spinlock_t view_lock;			/* the views' tables */
	struct xarray views;
	u32 nr_views;
	u64 views_gone;
	struct rb_root aliases;
	struct xarray own;
	u32 nr_own;
	gfn_t own_next;
	struct mutex undo_lock;			/* snapshots */
	bool view_hooks;
	struct {
		struct delayed_work work;
		unsigned long view;		/* to go on from */
		gfn_t next;
		bool again;
	} check;
	struct xarray breakpoints;
	u32 nr_breakpoints;
	bool had_breakpoints;
};

/**
 * struct kvmi_ops - a vendor back end
 * @vendor: enum kvmi_vendor
 * @name: of KVM's vendor module, as in kvm_x86_ops.name
 * @access: bit n: access rights n can be expressed
 * @probe: called when hooks go in; -errno if the CPU lacks what is needed
 * @check: vCPU loaded: are KVM's private structures as they are thought to be?
 * @insns: bits of enum kvmi_x86_insn that can be intercepted
 * @controls: settle the vendor's part of struct kvmi_wants
 * @arm: interrupts off, before every entry of L1: make the controls in force
 *	agree with @want (KVMI_WANT_*)
 * @disarm: vCPU loaded: give back every control
 * @expect: called on the vCPU's thread: set kvmi_armed.exits
 * @run: kvmi_vcpu_run() of a vCPU that may be watched: kvmi_quick_run()
 * @exit: kvmi_handle_exit() of one: kvmi_quick_exit()
 * @exit_begin: interrupts off, first thing after an exit, if @arm has left any of
 *	KVMI_ARMED_EXIT: take back what must not be seen
 * @is_step: is the exit the trap of a step?
 * @step_emulate: execute an instruction that cannot be stepped, as
 *	kvm_x86_ops.handle_exit; or NULL if there is none, and no need to know
 *	what is stepped
 * @decode: is the exit an event that was armed? fills @ex
 * @finish: KVMI_CONT_VENDOR
 * @reason: of any exit
 * @raw: describe any exit
 * @delivering: what does the coming entry inject?
 * @vectoring: the last exit came of the delivery of an event, which was cut short
 * @fault: the exit is a fault of a view: fills gpa, gva, access, flags
 * @fault_done: the fault is answered without KVM's handler
 * @nested_entry: the exit is about to enter a nested guest
 * @control: vCPU loaded: copy the VMCS's fields, or the VMCB, to a buffer of some
 *	bytes; returns how many there are
 * @injecting: the coming entry delivers an event to the guest
 * @host_msrs: MSRs of the host that say what it can do for virtual machines
 * @nr_host_msrs: how many
 * @nmi_latched: the CPU itself holds an NMI that is to be delivered
 * @flush_is_asid: kvm_x86_ops.flush_tlb_current flushes views as well
 * @spte_restrict: a leaf with no more than some rights; 0: not present
 * @spte_small: a leaf of the next smaller level, from a large one
 * @spte_access: KVMI_ACCESS_* that a leaf gives
 * @spte_type: its bits for the type of memory
 * @spte_own: a leaf of a page of kvmi's own, with all rights
 * @spte_table: what an entry has that leads to a table, where KVM has none
 */
struct kvmi_ops {
	u32 vendor;
	const char *name;
	u32 (*access)(void);
	int (*probe)(void);
	int (*check)(struct kvm_vcpu *vcpu);
	u32 (*insns)(void);
	void (*controls)(struct kvmi_wants *wants);
	void (*arm)(struct kvmi_vcpu *kv, u32 want);
	void (*disarm)(struct kvmi_vcpu *kv);
	void (*expect)(struct kvmi_vcpu *kv);
	fastpath_t (*run)(struct kvm_vcpu *vcpu, u64 run_flags);
	int (*exit)(struct kvm_vcpu *vcpu, fastpath_t fastpath);
	void (*exit_begin)(struct kvmi_vcpu *kv);
	enum kvmi_trap (*is_step)(struct kvmi_vcpu *kv);
	int (*step_emulate)(struct kvmi_vcpu *kv);
	bool (*decode)(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
	int (*finish)(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
	u32 (*reason)(struct kvmi_vcpu *kv);
	void (*raw)(struct kvmi_vcpu *kv, struct kvmi_x86_ev_exit *ev);
	bool (*delivering)(struct kvmi_vcpu *kv,
			   struct kvmi_x86_ev_delivery *ev);
	bool (*vectoring)(struct kvmi_vcpu *kv);
	bool (*fault)(struct kvmi_vcpu *kv, struct kvmi_ev_access *ev);
	void (*fault_done)(struct kvmi_vcpu *kv);
	bool (*nested_entry)(struct kvmi_vcpu *kv);
	u32 (*control)(struct kvmi_vcpu *kv, void *buf, u32 size);
	bool (*injecting)(struct kvmi_vcpu *kv);
	const u32 *host_msrs;
	u32 nr_host_msrs;
	bool (*nmi_latched)(struct kvmi_vcpu *kv);
	bool flush_is_asid;
	u64 (*spte_restrict)(u64 spte, u32 access);
	u64 (*spte_small)(u64 spte, int level, unsigned int index);
	u32 (*spte_access)(u64 spte);
	u64 spte_type;
	u64 (*spte_own)(hpa_t addr);
	u64 spte_table;
};

extern const struct kvmi_ops kvmi_svm_ops, kvmi_vmx_ops;
extern const struct kvmi_ops *kvmi_ops;

/* Those of every exit and entry: direct calls, kept by hook.c. */
#define KVMI_HOT_OPS(X)		\
	X(arm)			\
	X(decode)		\
	X(exit)			\
	X(exit_begin)		\
	X(fault)		\
	X(fault_done)		\
	X(is_step)		\
	X(run)

#define KVMI_DECLARE_HOT(op)						\
	extern struct static_call_key STATIC_CALL_KEY(kvmi_b_##op);	\
	extern typeof(*((struct kvmi_ops *)NULL)->op)			\
		STATIC_CALL_TRAMP(kvmi_b_##op);

KVMI_HOT_OPS(KVMI_DECLARE_HOT)

#define kvmi_hot(op)	static_call(kvmi_b_##op)

/* main.c */
int kvmi_caps_get(struct kvmi_vm *vm, void __user *uarg);

/* session.c */
int kvmi_session_create(struct kvmi_attach *args);

/* vm.c */
#define KVMI_HASH_BITS		8
extern struct hlist_head kvmi_vcpu_table[1 << KVMI_HASH_BITS];
extern wait_queue_head_t kvmi_drain_wq;

struct kvmi_sink *kvmi_vm_attach(struct file *vm_file, u32 ring_size,
				 bool observer, bool paused);
int kvmi_vm_hooks_get(void);
void kvmi_vm_hooks_put(void);
void kvmi_vm_leave(struct kvmi_sink *sink, bool closed);
struct kvmi_vm *kvmi_vm_lookup(struct kvm *kvm);
struct kvmi_vm *kvmi_vm_find(struct kvm *kvm);
void kvmi_vm_each(void (*fn)(struct kvm *kvm));
void kvmi_vm_put(struct kvmi_vm *vm);
int kvmi_vm_get(struct kvmi_vm *vm);
void kvmi_vm_unget(struct kvmi_vm *vm);
void kvmi_vm_gone(struct kvm *kvm);
int kvmi_vm_vcpu_added(struct kvm_vcpu *vcpu);
bool kvmi_vm_attached(struct kvm *kvm);
int kvmi_vm_kick(struct kvmi_vm *vm);
int kvmi_vm_reset(struct kvmi_vm *vm, u32 what);

/**
 * kvmi_vcpu_hash - where a vCPU is in kvmi_vcpu_table
 * @vcpu: KVM's
 *
 * Return: index.
 */
static __always_inline unsigned int kvmi_vcpu_hash(const struct kvm_vcpu *vcpu)
{
	return (u8)((unsigned long)vcpu >> PAGE_SHIFT);
}

/**
 * kvmi_vcpu_maybe - is there, or might there be, somebody who watches a vCPU?
 * @vcpu: KVM's
 *
 * The one test that every exit and entry of every VM pays for.
 *
 * Return: false if it is certainly not watched.
 */
static __always_inline bool kvmi_vcpu_maybe(const struct kvm_vcpu *vcpu)
{
	/* Compared in memory, and looked at again if it is not NULL. */
	return unlikely(data_race(kvmi_vcpu_table[kvmi_vcpu_hash(vcpu)].first));
}

/* vcpu.c */
struct kvmi_vcpu *kvmi_vcpu_enter(struct kvm_vcpu *vcpu);
struct kvmi_vcpu *kvmi_vcpu_create(struct kvmi_vm *vm, struct kvm_vcpu *vcpu);
void kvmi_vcpu_free(struct kvmi_vcpu *kv);
int kvmi_vcpu_run_job(struct kvmi_vcpu *kv, kvmi_job_fn fn, void *arg);
void kvmi_vcpu_jobs(struct kvmi_vcpu *kv);
void kvmi_vcpu_call(struct kvmi_vcpu *kv);
void kvmi_vcpu_settle(void);
int kvmi_vcpu_park(struct kvmi_vcpu *kv);
int kvmi_vcpu_sleep(struct kvmi_vcpu *kv, bool (*done)(struct kvmi_vcpu *kv),
		    long timeout);
u32 kvmi_vcpu_state(struct kvmi_vcpu *kv);
void kvmi_vcpu_wake(struct kvmi_vcpu *kv);

/* pause.c */
int kvmi_pause_wait(struct kvmi_vm *vm, struct kvmi_vcpu *only);
int kvmi_pause(struct kvmi_vm *vm, struct kvmi_vcpu *only);
void kvmi_pause_orphan(struct kvmi_vm *vm);
int kvmi_resume(struct kvmi_vm *vm, struct kvmi_vcpu *only);
int kvmi_pause_others(struct kvmi_vcpu *kv);
void kvmi_pause_release(struct kvmi_vcpu *kv);
void kvmi_pause_notify(struct kvmi_vcpu *kv);
void kvmi_pause_ended(struct kvmi_vcpu *kv);

/**
 * kvmi_vcpu_may_run - is a vCPU not stopped, by a tool or an event of another?
 * @kv: the vCPU
 *
 * Return: true if so.
 */
static inline bool kvmi_vcpu_may_run(struct kvmi_vcpu *kv)
{
	struct kvmi_vcpu *owner = READ_ONCE(kv->vm->stop_owner);

	return !READ_ONCE(kv->pause_count) && (!owner || owner == kv);
}

/* ring.c */
struct kvmi_rings *kvmi_rings_create(struct file **file);
int kvmi_ring_init(struct kvmi_sink *sink, struct kvmi_ring *ring, u32 index);
void kvmi_ring_fini(struct kvmi_ring *ring);
int kvmi_ring_get(struct kvmi_sink *sink, struct kvmi_get_ring *args);
int kvmi_ring_mmap(struct kvmi_sink *sink, struct vm_area_struct *vma);
bool kvmi_ring_unread(struct kvmi_ring *ring);
bool kvmi_ring_post(struct kvmi_vcpu *kv, struct kvmi_watch *watch,
		    const struct kvmi_exit *ex, u32 regs, u64 id);
bool kvmi_ring_post_vm(struct kvmi_watch *watch, const struct kvmi_exit *ex,
		       u64 id);
void kvmi_ring_drop(struct kvmi_ring *ring, u32 kind);

/* event.c */
int kvmi_event_raise(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_event_tell(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_event_resume(struct kvmi_vcpu *kv);
void kvmi_event_kick(struct kvmi_vcpu *kv);
void kvmi_event_reset(struct kvmi_vm *vm);
void kvmi_event_timer(struct work_struct *work);
void kvmi_event_set_timeout(struct kvmi_vm *vm, u32 timeout);
bool kvmi_event_overdue(struct kvmi_vcpu *kv);

/* watch.c */
int kvmi_watch_init(struct kvmi_sink *sink, struct kvmi_watch *watch,
		    struct kvmi_vcpu *kv);
void kvmi_watch_fini(struct kvmi_watch *watch);
int kvmi_watch_add(struct kvmi_sink *sink, struct kvmi_vcpu *kv);
void kvmi_watch_drop(struct kvmi_sink *sink, u32 index);
void kvmi_watch_remove(struct kvmi_sink *sink);
int kvmi_watch_control(struct kvmi_sink *sink, struct kvmi_control_event *args);
void kvmi_watch_update(struct kvmi_vcpu *kv);
void kvmi_watch_reset(struct kvmi_sink *sink);
u32 kvmi_watch_match_rule(struct kvmi_watch *watch, const struct kvmi_exit *ex,
			  u32 *regs);
void kvmi_watch_tell(struct kvmi_vcpu *kv, const struct kvmi_exit *ex);

/**
 * kvmi_watch_count - KVMI_MODE_COUNT
 * @watch: of the session
 * @kind: of the event
 */
static inline void kvmi_watch_count(struct kvmi_watch *watch, u32 kind)
{
	WRITE_ONCE(watch->stats.counted[kind], watch->stats.counted[kind] + 1);
}

/* Counters of exits, see kvmi_exit_slot(). */
#define KVMI_NR_EXITS	0x111

u32 kvmi_exit_slot(u32 reason);
u32 kvmi_exit_reason(u32 slot);

/**
 * kvmi_watch_count_exit - KVMI_MODE_COUNT of KVMI_EVENT_X86_EXIT
 * @watch: of the session
 * @reason: of the exit
 */
static inline void kvmi_watch_count_exit(struct kvmi_watch *watch, u32 reason)
{
	u64 *exits = READ_ONCE(watch->exits);

	kvmi_watch_count(watch, KVMI_EVENT_X86_EXIT);
	if (likely(exits)) {
		exits += kvmi_exit_slot(reason);
		WRITE_ONCE(*exits, *exits + 1);
	}
}

extern struct srcu_struct kvmi_watch_srcu;

/* mmio.c */
void kvmi_mmio_init(void);
bool kvmi_mmio_there(void);
bool kvmi_mmio_get(void);
void kvmi_mmio_put(void);

/* change.c */
void kvmi_change_tell(struct kvmi_vm *vm, const struct kvmi_ev_vm *ev);
void kvmi_change_slot_old(struct kvmi_ev_vm *ev,
			  const struct kvm_memory_slot *old);
void kvmi_change_slot(struct kvm *kvm, struct kvmi_ev_vm *ev,
		      const struct kvm_memory_slot *new,
		      enum kvm_mr_change change);
void kvmi_change_leaving(struct kvm *kvm, const void __user *uarg);
void kvmi_change_kick(struct kvmi_vm *vm, bool over);

/* sink.c */
int kvmi_sink_init(struct kvmi_sink *sink, struct kvmi_vm *vm, u32 ring_size);
void kvmi_sink_fini(struct kvmi_sink *sink);
struct kvmi_sink *kvmi_sink_observe(struct kvmi_vm *vm, u32 ring_size);
void kvmi_sink_leave(struct kvmi_sink *sink);
void kvmi_sink_get(struct kvmi_sink *sink);
void kvmi_sink_put(struct kvmi_sink *sink);
void kvmi_sink_wake_all(struct kvmi_vm *vm);
__poll_t kvmi_sink_pending(struct kvmi_sink *sink);
int kvmi_sink_wait(struct kvmi_sink *sink, struct kvmi_wait *args,
		   const bool *over);

/* x86/kind.c */
u64 kvmi_kinds(void);
int kvmi_kind_check(const struct kvmi_control_event *args);
bool kvmi_kind_has_rules(u32 kind);
bool kvmi_kind_of_vm(u32 kind);
void kvmi_kind_rule(const struct kvmi_control_event *args,
		    struct kvmi_rule *rule);
void kvmi_kind_want(struct kvmi_wants *wants, u32 kind,
		    const struct kvmi_rule *rule);

/**
 * kvmi_watch_match - does a session want to be told of an exit, and how?
 * @watch: of the session; the caller keeps it
 * @ex: the exit
 * @regs: set to the register sets that go along
 *
 * Return: enum kvmi_event_mode.
 */
static __always_inline u32 kvmi_watch_match(struct kvmi_watch *watch,
					    const struct kvmi_exit *ex,
					    u32 *regs)
{
	if (unlikely(ex->indexed))
		return kvmi_watch_match_rule(watch, ex, regs);
	*regs = watch->regs[ex->kind];
	return READ_ONCE(watch->mode[ex->kind]);
}

/* stats.c */
bool kvmi_limit_check(struct kvmi_watch *watch, u32 kind);
int kvmi_limit_reserve(struct kvmi_limit **limits,
		       const struct kvmi_control_event *args);
void kvmi_limit_set(struct kvmi_limit *limits,
		    const struct kvmi_control_event *args);
void kvmi_limit_clear(struct kvmi_limit *limits);
int kvmi_stats_get(struct kvmi_sink *sink, struct kvmi_stats *stats);
int kvmi_exits_get(struct kvmi_sink *sink, struct kvmi_exits *args);

/* step.c */
void kvmi_step_start(struct kvmi_vcpu *kv, enum kvmi_step_mode mode);
bool kvmi_step_over(struct kvmi_vcpu *kv, bool trapped);
int kvmi_step_go_on(struct kvmi_vcpu *kv);
bool kvmi_step_entry(struct kvmi_vcpu *kv);
bool kvmi_step_insists(struct kvmi_vcpu *kv);
void kvmi_step_cancel(struct kvmi_vcpu *kv);

/**
 * kvmi_step_active - is a step in progress?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so.
 */
static inline bool kvmi_step_active(struct kvmi_vcpu *kv)
{
	return kv->busy.step != KVMI_STEP_NONE;
}

/* Those of kvmi_vcpu.busy that say so: the first five bytes. */
#define KVMI_BUSY_STEP		0xffffffffffULL
static_assert(offsetof(struct kvmi_vcpu, busy.delivery) ==
	      offsetof(struct kvmi_vcpu, busy) + 5);

/**
 * kvmi_step_busy - is there a step, or something left of one?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so.
 */
static __always_inline bool kvmi_step_busy(struct kvmi_vcpu *kv)
{
	return (kv->busy.any & KVMI_BUSY_STEP) |
	       (READ_ONCE(kv->want) & KVMI_WANT_STEP);
}

/**
 * kvmi_vcpu_leave - the end of kvmi_vcpu_enter()
 * @kv: may be freed as soon as this is called
 */
static __always_inline void kvmi_vcpu_leave(struct kvmi_vcpu *kv)
{
	bool gone = test_bit(KVMI_VCPU_F_GONE, &kv->flags);

	/* Pairs with smp_load_acquire() in kvmi_vm_drain(). */
	smp_store_release(&kv->inflight, kv->inflight - 1);
	if (unlikely(gone))
		wake_up_all(&kvmi_drain_wq);
}

/**
 * kvmi_vcpu_find - what kvmi knows of a vCPU
 * @vcpu: KVM's
 *
 * Called in an RCU read-side section, which preemption or interrupts off are
 * as well.
 *
 * Return: NULL if the vCPU is not watched.
 */
static __always_inline struct kvmi_vcpu *kvmi_vcpu_find(struct kvm_vcpu *vcpu)
{
	struct hlist_head *head = &kvmi_vcpu_table[kvmi_vcpu_hash(vcpu)];
	struct kvmi_vcpu *kv;

	hlist_for_each_entry_rcu(kv, head, node)
		if (kv->vcpu == vcpu)
			return kv;
	return NULL;
}

/* view.c */
/* Views of this id and above are asides, by index of the vCPU. */
#define KVMI_VIEW_ASIDE		0x10000
/* Pages that one instruction may need: its own and those of its operands, walked. */
#define KVMI_MAX_GRANTS		24

/* What a view says of a page: its rights, KVMI_ACCESS_RWX, and: */
#define KVMI_PAGE_SET		BIT(3)	/* they are not the view's default */
#define KVMI_PAGE_ALIAS		BIT(4)	/* the view shows another page there */
#define KVMI_PAGE_BYTES		BIT(5)	/* some bytes of it are watched */
#define KVMI_PAGE_TO_RWX	BIT(6)	/* KVMI_ACCESS_TO_RWX */
#define KVMI_PAGE_TO_RW		BIT(7)	/* KVMI_ACCESS_TO_RW */
#define KVMI_PAGE_RELAX		(KVMI_PAGE_TO_RWX | KVMI_PAGE_TO_RW)
/* From the bits of the ABI to these. */
#define KVMI_PAGE_RELAX_SHIFT	2

/**
 * struct kvmi_tree - a view: an alternate second-level page table
 * @id: 1 and up; what the rest of kvmi holds instead of a pointer
 * @default_access: of pages without a block
 * @level: of the root: 4 or 5
 * @root: the root table; kvmi's own, never KVM's
 * @blocks: u8[512] of KVMI_PAGE_* by gfn >> 9
 * @nr_blocks: of them
 * @aliases: struct kvmi_alias by gfn
 * @nr_aliases: of them
 * @bytes: watched bytes by gfn: a value, the first one and 4096 times (their number
 *	less one)
 * @undo: its snapshot, or NULL (undo.c); set under vm->lock
 * @tables: page tables, the root among them. This and the next three are for
 *	KVMI_GET_VIEWS.
 * @leaves: now
 * @fills: so far
 * @zaps: likewise
 * @relaxed: likewise: rights that have changed by themselves
 * @walks: likewise: accesses of page walks that nobody was told of
 * @links: likewise: that a vCPU has gone over to @link
 * @link: id of the view to go to for what cannot be executed; 0: none
 * @flags: KVMI_VIEW_F_*
 * @nr_asides: asides that stand in for it
 * @aside: it is one; the next three are those of one
 * @base: the view that it stands in for, or NULL
 * @nr_grants: how many
 * @grants: guest frame numbers of pages that may be written, too
 * @open: nothing is forbidden but what a snapshot has to hear of
 * @nr_standins: how many
 * @standins: what stands in for pages; the vCPU's own list
 *
 * Found by id under RCU. @root and below, @blocks and @aliases, change under
 * vm->view_lock.
 */
struct kvmi_tree {
	u32 id;
	u32 default_access;
	int level;
	u64 *root;
	struct xarray blocks;
	atomic_t nr_blocks;
	struct xarray aliases;
	u32 nr_aliases;
	struct xarray bytes;
	struct kvmi_undo *undo;
	u64 tables;
	u64 leaves;
	u64 fills;
	u64 zaps;
	u64 relaxed;
	u64 walks;
	u64 links;
	u32 link;
	u32 flags;
	u32 nr_asides;
	bool aside;
	struct kvmi_tree *base;
	u32 nr_grants;
	gfn_t grants[KVMI_MAX_GRANTS];
	bool open;
	u32 nr_standins;
	struct kvmi_standin **standins;
};

/**
 * kvmi_is_away - is a vCPU on another view for one instruction?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so: kvmi_vcpu.home is its own.
 */
static inline bool kvmi_is_away(struct kvmi_vcpu *kv)
{
	return READ_ONCE(kv->home) != KVMI_VIEW_ALL;
}

/**
 * kvmi_view_shown - the view of a vCPU, as tools know it
 * @kv: the vCPU
 *
 * Return: id.
 */
static inline u32 kvmi_view_shown(struct kvmi_vcpu *kv)
{
	u32 home = READ_ONCE(kv->home);

	return likely(home == KVMI_VIEW_ALL) ? READ_ONCE(kv->view) : home;
}

int kvmi_view_create(struct kvmi_vm *vm, struct kvmi_view *args);
struct kvmi_tree *kvmi_view_alloc(struct kvm_vcpu *vcpu);
struct kvmi_tree *kvmi_view_get(struct kvmi_vm *vm, u32 id);
struct kvmi_tree *kvmi_view_named(struct kvmi_vm *vm, u32 id);
int kvmi_view_slot(struct kvm *kvm, gfn_t gfn, struct kvm_memory_slot **slot);
void kvmi_view_discard(struct kvmi_tree *tree);
bool kvmi_view_drop(struct kvmi_vm *vm, struct kvmi_tree *tree, gfn_t start,
		    gfn_t end);
int kvmi_view_destroy(struct kvmi_vm *vm, u32 id);
int kvmi_view_switch(struct kvmi_vm *vm, u32 vcpu, u32 id);
void kvmi_view_destroy_all(struct kvmi_vm *vm);
int kvmi_view_access_set(struct kvmi_vm *vm, struct kvmi_access *args);
int kvmi_view_access_get(struct kvmi_vm *vm, struct kvmi_access *args);
void kvmi_view_enter(struct kvmi_vcpu *kv, u32 id);
bool kvmi_view_exists(struct kvmi_vm *vm, u32 id);
struct kvmi_tree *kvmi_view_search(struct kvmi_vcpu *kv);

/**
 * kvmi_view_now - the view that a vCPU is on
 * @kv: the vCPU; called on its thread, under RCU
 *
 * Most look for the one that they have found last. That may be no more: but who has
 * taken it out says so, and then waits for those that have not heard it.
 *
 * Return: NULL if it is the default view, or one that is gone.
 */
static inline struct kvmi_tree *kvmi_view_now(struct kvmi_vcpu *kv)
{
	/* Pairs with kvmi_view_free(). */
	u64 gone = smp_load_acquire(&kv->vm->views_gone);

	if (likely(kv->seen.id == READ_ONCE(kv->view) && kv->seen.gone == gone))
		return kv->seen.tree;
	return kvmi_view_search(kv);
}

hpa_t kvmi_view_root(struct kvmi_vcpu *kv, int root_level);
int kvmi_view_fault(struct kvmi_vcpu *kv, fastpath_t fastpath,
		    struct kvmi_exit *ex);
bool kvmi_view_fetches(struct kvmi_vcpu *kv, gfn_t gfn);
u32 kvmi_view_access(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_view_zap(struct kvm *kvm, gfn_t start, gfn_t end);
bool kvmi_view_age(struct kvm *kvm, gfn_t start, gfn_t end, bool clear);
int kvmi_view_list(struct kvmi_vm *vm, struct kvmi_views *args);
int kvmi_view_link(struct kvmi_vm *vm, struct kvmi_view_link *args);
struct kvmi_tree *kvmi_view_base(struct kvmi_tree *tree);
int kvmi_view_reserve(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_view_untouched(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_view_given(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_view_withdraw(struct kvmi_vm *vm, struct kvmi_tree *tree, gfn_t gfn);
void kvmi_view_take_back(struct kvmi_vm *vm, struct kvmi_tree *tree);
void kvmi_view_mark(struct kvmi_tree *tree, gfn_t gfn, u8 mask, u8 bits);

/* check.c */
void kvmi_check_init(struct kvmi_vm *vm);
void kvmi_check_exit(struct kvmi_vm *vm);
int kvmi_check_views(struct kvmi_vm *vm, struct kvmi_view_check *args);
void kvmi_check_zapped(struct kvmi_vm *vm);
void kvmi_check_unsettled(bool begin);

/* aside.c */
u8 kvmi_aside_page(struct kvmi_tree *aside, gfn_t gfn, u8 page);
int kvmi_aside_prepare(struct kvmi_vcpu *kv);
int kvmi_aside_begin(struct kvmi_vcpu *kv);
void kvmi_aside_detach(struct kvmi_tree *aside);
void kvmi_aside_go(struct kvmi_vcpu *kv, u32 id);
void kvmi_aside_grant(struct kvmi_vcpu *kv, gfn_t gfn);
int kvmi_bytes_watch(struct kvmi_vm *vm, struct kvmi_watch_bytes *args);
bool kvmi_bytes_begin(struct kvmi_vcpu *kv, gfn_t gfn, u32 allowed);
int kvmi_bytes_post(struct kvmi_vcpu *kv);

/* undo.c */
u32 kvmi_undo_fault(struct kvmi_vcpu *kv, gfn_t gfn);
void kvmi_undo_forget(struct kvmi_tree *tree);
int kvmi_undo_snapshot(struct kvmi_vm *vm, struct kvmi_snapshot *args);

/* remap.c */
/**
 * struct kvmi_own - a page of kvmi's own
 * @gfn: its number
 * @data: the page
 * @aliases: struct kvmi_alias, of all views; vm->view_lock
 * @next: to be freed
 */
struct kvmi_own {
	gfn_t gfn;
	void *data;
	struct list_head aliases;
	struct kvmi_own *next;
};

/**
 * struct kvmi_alias - another page in a page's place
 * @node: in vm->aliases, by @source; or
 * @link: in @own->aliases
 * @rcu: to free it
 * @tree: the view
 * @gfn: of the place
 * @source: what is shown there
 * @own: it is a page of kvmi's own
 *
 * All but the first two is constant.
 */
struct kvmi_alias {
	union {
		struct rb_node node;
		struct list_head link;
	};
	struct rcu_head rcu;
	struct kvmi_tree *tree;
	gfn_t gfn;
	gfn_t source;
	struct kvmi_own *own;
};

struct kvmi_own *kvmi_own_find(struct kvmi_vm *vm, gfn_t gfn);

int kvmi_own_alloc(struct kvmi_vm *vm, struct kvmi_pages *args);
int kvmi_own_release(struct kvmi_vm *vm, struct kvmi_pages *args);
void kvmi_own_release_all(struct kvmi_vm *vm);
struct kvmi_alias *kvmi_alias_find(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_alias_shown(struct kvmi_vcpu *kv, gfn_t gfn);
bool kvmi_alias_drop(struct kvmi_vm *vm, struct kvmi_alias *alias);
void kvmi_alias_drop_all(struct kvmi_vm *vm, struct kvmi_tree *tree);
bool kvmi_alias_zap(struct kvmi_vm *vm, gfn_t start, gfn_t end);
bool kvmi_alias_age(struct kvmi_vm *vm, gfn_t start, gfn_t end, bool clear);
int kvmi_alias_fault(struct kvmi_vcpu *kv, struct kvmi_ev_access *ev,
		     u32 *allowed);
int kvmi_alias_resolve(struct kvmi_vm *vm, u32 view, gfn_t *gfn, void **page);
bool kvmi_alias_rw(struct kvmi_vcpu *kv, gpa_t *gpa, void *buf, u32 len,
		   bool write);
int kvmi_remap(struct kvmi_vm *vm, struct kvmi_remap *args);

/* breakpoint.c */
int kvmi_breakpoint_set(struct kvmi_vm *vm, struct kvmi_breakpoint *args);
int kvmi_breakpoint_clear(struct kvmi_vm *vm, struct kvmi_breakpoint *args);
int kvmi_breakpoint_get(struct kvmi_vm *vm, struct kvmi_breakpoint *args);
void kvmi_breakpoint_clear_all(struct kvmi_vm *vm);
void kvmi_breakpoint_met(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
bool kvmi_breakpoint_fetched(struct kvmi_vcpu *kv, struct kvmi_exit *ex, gfn_t gfn);
int kvmi_breakpoint_over(struct kvmi_vcpu *kv, struct kvmi_exit *ex);

/* standin.c */
/**
 * struct kvmi_standin - what stands in for a page, for one instruction of a vCPU
 * @gfn: of the page
 * @discard: what is written to it is lost
 * @before: a page: what it was
 * @own: with the page that it is
 * @alias: for the rest of kvmi, it is remapped
 */
struct kvmi_standin {
	gfn_t gfn;
	bool discard;
	u8 *before;
	struct kvmi_own own;
	struct kvmi_alias alias;
};

struct kvmi_alias *kvmi_standin_find(struct kvmi_tree *aside, gfn_t gfn);
u8 kvmi_standin_page(struct kvmi_tree *aside, gfn_t gfn, u8 page);
void kvmi_standin_free_all(struct kvmi_vcpu *kv);
int kvmi_standin_check(struct kvmi_vcpu *kv);
void kvmi_standin_go(struct kvmi_vcpu *kv);
void kvmi_standin_leave(struct kvmi_tree *aside);
void kvmi_standin_cancel(struct kvmi_vcpu *kv);
void kvmi_standin_over(struct kvmi_vcpu *kv);
void kvmi_standin_settle(struct kvmi_vcpu *kv);

/* x86/tdp.c */
/**
 * struct kvmi_tdp_leaf - what KVM maps at a gfn
 * @spte: the leaf
 * @level: of the leaf: 1 (4 KiB), 2 or 3
 * @nonleaf: attributes of KVM's non-leaf entries
 * @sptep: where it stands
 */
struct kvmi_tdp_leaf {
	u64 spte;
	int level;
	u64 nonleaf;
	u64 *sptep;
};

/* Leaves of which KVM has none that a comparison notes at a time. */
#define KVMI_TDP_LONE	128

/**
 * struct kvmi_tdp_lone - a view's leaf of which KVM has none, or not all
 * @gfn: first that it maps
 * @source: the gfn whose page it shows there
 * @spte: the leaf
 * @level: of it
 */
struct kvmi_tdp_lone {
	gfn_t gfn;
	gfn_t source;
	u64 spte;
	int level;
};

/**
 * struct kvmi_tdp_check - a comparison of a view with KVM's tables
 * @root: KVM's
 * @level: of it; 0: KVM has none now
 * @next: gfn to go on from
 * @budget: leaves to look at before the caller is asked again
 * @leaves: looked at so far
 * @alone: that KVM has none for
 * @wrong: that say more than KVM's
 * @gfn: the first of these
 * @lone: room for KVMI_TDP_LONE of which KVM has none; NULL: who asks does not care
 * @nr_lone: so many are there; a full room ends @budget
 */
struct kvmi_tdp_check {
	hpa_t root;
	int level;
	gfn_t next;
	u32 budget;
	u64 leaves;
	u64 alone;
	u64 wrong;
	gfn_t gfn;
	struct kvmi_tdp_lone *lone;
	u32 nr_lone;
};

/* Marks of a view's leaves, among the bits that the CPU ignores. */
#define KVMI_TDP_ALIAS	BIT_ULL(52)	/* of another gfn */
#define KVMI_TDP_OWN	BIT_ULL(53)	/* ... which is a page of kvmi's own */

u64 *kvmi_tdp_alloc(void);
int kvmi_tdp_topup(struct kvmi_tdp_cache *cache);
void kvmi_tdp_release(struct kvmi_tdp_cache *cache);
int kvmi_tdp_root(struct kvm *kvm, hpa_t *root);
bool kvmi_tdp_lookup(hpa_t root, int level, gfn_t gfn,
		     struct kvmi_tdp_leaf *leaf);
bool kvmi_tdp_lookup_near(gfn_t last, gfn_t gfn, struct kvmi_tdp_leaf *leaf);
void kvmi_tdp_map(struct kvmi_tree *view, struct kvmi_tdp_cache *cache,
		  gfn_t gfn, u64 spte, int level, u64 nonleaf, bool *flush);
bool kvmi_tdp_zap(struct kvmi_tree *view, gfn_t start, gfn_t end);
bool kvmi_tdp_age(struct kvmi_tree *view, gfn_t start, gfn_t end, bool clear);
bool kvmi_tdp_age_alias(struct kvmi_tree *view, gfn_t gfn, bool clear);
u64 *kvmi_tdp_entry(struct kvmi_tree *view, gfn_t gfn);
void kvmi_tdp_put(struct kvmi_tree *view, u64 *entry, u64 spte);
u64 kvmi_tdp_small(u64 spte, gfn_t gfn, int from, int to);
u64 kvmi_tdp_used(bool dirty);
bool kvmi_tdp_check(struct kvmi_tree *view, struct kvmi_tdp_check *check);
void kvmi_tdp_free(struct kvmi_tree *view);
kvm_pfn_t kvmi_tdp_leaf_pfn(const struct kvmi_tdp_leaf *leaf, gfn_t gfn);

/* memory.c */
/**
 * struct kvmi_mem - accesses to guest memory, one after the other
 * @vm: the VM
 * @view: id of the view through which it is looked at
 * @held: KVM's tables are held: vm->sem and kvm->mmu_lock, both for reading,
 *	kvm->srcu, RCU. What follows is only valid then.
 * @idx: of kvm->srcu
 * @pieces: accesses since
 * @root: KVM's root table
 * @level: of it; 0: no vCPU has one
 * @slot: the last access was in, or NULL
 * @gfn: of the last access
 * @leaf: that maps it; level 0: none
 * @valid: a frame that has a page, as all in the same part of a section do
 * @bounce: a page, or NULL; valid whether held or not
 */
struct kvmi_mem {
	struct kvmi_vm *vm;
	u32 view;
	bool held;
	int idx;
	u32 pieces;
	hpa_t root;
	int level;
	struct kvm_memory_slot *slot;
	gfn_t gfn;
	struct kvmi_tdp_leaf leaf;
	kvm_pfn_t valid;
	void *bounce;
};

void kvmi_mem_begin(struct kvmi_mem *mem, struct kvmi_vm *vm, u32 view);
void kvmi_mem_release(struct kvmi_mem *mem);
void kvmi_mem_end(struct kvmi_mem *mem);
int kvmi_mem_put_page(struct kvmi_mem *mem, gfn_t gfn, const void *from);
int kvmi_memory_list(struct kvmi_vm *vm, struct kvmi_rw_list *args);
int kvmi_memory_rw(struct kvmi_vm *vm, struct kvmi_phys *args, bool write);
int kvmi_mem_get(struct kvmi_mem *mem, gpa_t gpa, u32 size, u64 *value);
int kvmi_memory_slot(struct kvm *kvm, gfn_t gfn, struct kvm_memory_slot **slot);
int kvmi_memory_translate(struct kvmi_vm *vm, struct kvmi_translate *args);
ssize_t kvmi_memory_file(struct kvmi_vm *vm, void __user *buf, size_t len,
			 loff_t *pos, bool write);
loff_t kvmi_memory_seek(struct kvmi_vm *vm, u64 from, int whence);
int kvmi_memory_slots(struct kvmi_vm *vm, struct kvmi_slots *args);
void kvmi_memory_info(struct kvm *kvm, struct kvmi_info *info);

/* x86/walk.c */
/**
 * struct kvmi_walk - how to translate virtual addresses
 * @space: root and mode
 * @levels: of its page tables; 0: there are none
 * @entry_size: bytes of an entry
 * @nx: bit 63 of an entry means something
 * @reserved: bits that no guest-physical address has
 */
struct kvmi_walk {
	struct kvmi_space space;
	int levels;
	u32 entry_size;
	bool nx;
	u64 reserved;
};

int kvmi_walk_begin(struct kvmi_walk *walk, struct kvmi_vm *vm,
		    const struct kvmi_space *space);
int kvmi_walk(const struct kvmi_walk *walk, struct kvmi_mem *mem,
	      struct kvmi_translation *tr);
const void __user *kvmi_walk_fetch(struct kvm_vcpu *vcpu, u64 gva, gpa_t *gpa);

/* map.c */
bool kvmi_map_in(struct mm_struct *mm);
int kvmi_map_get(struct kvmi_vm *vm, struct kvmi_get_map *args);
bool kvmi_map_offset(const struct vm_area_struct *vma);
int kvmi_map_mmap(struct kvmi_vm *vm, struct vm_area_struct *vma);
void kvmi_map_slot_gone(struct kvm *kvm, const struct kvm_memory_slot *slot);
void kvmi_map_detach(struct kvmi_vm *vm);
void kvmi_map_put(struct kvmi_vm *vm);

/* mmuhook.c */
int kvmi_mmu_init(void);
void kvmi_mmu_exit(void);
bool kvmi_mmu_locks_hooked(void);
int kvmi_mmu_hooks_get(void);
void kvmi_mmu_hooks_put(void);

/* x86/exit.c */
int kvmi_handle_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath);
fastpath_t kvmi_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags);
int kvmi_vcpu_pre_run(struct kvm_vcpu *vcpu);
void kvmi_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root_hpa, int root_level);
void kvmi_flush_tlb_current(struct kvm_vcpu *vcpu);
void kvmi_inject_exception(struct kvm_vcpu *vcpu);
int kvmi_exit_act(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_exit_skip(struct kvmi_vcpu *kv);
int kvmi_exit_emulated(struct kvmi_vcpu *kv);
void kvmi_exit_cpuid(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len);
bool kvmi_exit_msr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, bool write);
void kvmi_exit_int3(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len);
void kvmi_exit_breakpoint(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
			  u32 insn_len);
void kvmi_exit_cr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 cr, bool write,
		  u64 value, u32 insn_len);
void kvmi_exit_dr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 dr, bool write,
		  u8 reg);
void kvmi_exit_exception(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 vector,
			 bool has_error, u32 error, u64 payload, u32 insn_len);
void kvmi_exit_dtable(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 table,
		      bool write);
bool kvmi_exit_io(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 port, u32 bytes,
		  u32 flags, u32 insn_len);
bool kvmi_exit_insn(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn,
		    u64 operand, u32 insn_len);
void kvmi_exit_tsc(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn);
bool kvmi_exit_slow(struct kvm_vcpu *vcpu);
int kvmi_exit_give_back(struct kvmi_vcpu *kv);
void kvmi_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event);
void kvmi_vcpu_deliver_sipi_vector(struct kvm_vcpu *vcpu, u8 vector);
bool kvmi_exit_hypercall(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len);
bool kvmi_exit_xsetbv(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len);
int kvmi_exit_crash(struct kvmi_vcpu *kv);

/**
 * kvmi_in_l1 - does a vCPU run the guest itself?
 * @vcpu: loaded
 *
 * Return: false if it runs a nested guest, or SMM.
 */
static inline bool kvmi_in_l1(struct kvm_vcpu *vcpu)
{
	return !(vcpu->arch.hflags & (HF_GUEST_MASK | HF_SMM_MASK));
}

/**
 * kvmi_armed_msrs - are all bits of the MSR bitmap set that must be?
 * @armed: of the calling vCPU
 * @map: the bitmap
 *
 * Return: false if not, or if there are too many to know.
 */
static __always_inline bool kvmi_armed_msrs(const struct kvmi_armed *armed,
					    const u32 *map)
{
	u32 i = armed->nr_words;

	if (i > KVMI_MSR_WORDS)
		return false;
	while (i--)
		if (~map[armed->msrs[i].word] & armed->msrs[i].mask)
			return false;
	return true;
}

/**
 * kvmi_wants_begin - read what a vCPU is to exit for
 * @kv: the vCPU; called on its thread, or with it loaded
 *
 * Return: for kvmi_wants_end().
 */
static inline u32 kvmi_wants_begin(struct kvmi_vcpu *kv)
{
	/* Pairs with the release in kvmi_watch_update(). */
	return smp_load_acquire(&kv->gen);
}

/**
 * kvmi_wants_end - have read it, armed it, and noted which exits it means
 * @kv: the vCPU; called on its thread, or with it loaded
 * @gen: what kvmi_wants_begin() has returned
 *
 * If it has changed meanwhile, an intercept may be armed that is not among those exits:
 * KVM would get one that it did not ask for. It cannot be waited for either. So it is
 * that of no generation: until then, each entry arms anew, and each exit is looked at.
 */
static inline void kvmi_wants_end(struct kvmi_vcpu *kv, u32 gen)
{
	/* Pairs with the barrier in kvmi_watch_update(). */
	smp_rmb();
	kv->armed.gen = (gen & 1) || READ_ONCE(kv->gen) != gen ? gen - 2 : gen;
}

/**
 * kvmi_armed_add_msr - remember a bit of the MSR bitmap
 * @armed: of the calling vCPU
 * @bit: number of the bit
 */
static inline void kvmi_armed_add_msr(struct kvmi_armed *armed, int bit)
{
	u32 i;

	for (i = 0; i < min_t(u32, armed->nr_words, KVMI_MSR_WORDS); i++) {
		if (armed->msrs[i].word == bit / 32) {
			armed->msrs[i].mask |= BIT(bit % 32);
			return;
		}
	}
	if (i < KVMI_MSR_WORDS) {
		armed->msrs[i].word = bit / 32;
		armed->msrs[i].mask = BIT(bit % 32);
	}
	armed->nr_words = i + 1;
}

/* x86/regs.c */
#define KVMI_REGS_ALL	(KVMI_REGS_GENERAL | KVMI_REGS_CONTROL |	\
			 KVMI_REGS_SEGMENT | KVMI_REGS_DEBUG |		\
			 KVMI_REGS_SYSCALL | KVMI_REGS_XCR |		\
			 KVMI_REGS_EVENTS)

/* All of them. */
#define KVMI_REGS_MAX_SIZE						\
	(sizeof(struct kvmi_x86_gprs) + sizeof(struct kvmi_x86_control) + \
	 sizeof(struct kvmi_x86_segments) + sizeof(struct kvmi_x86_debug) + \
	 sizeof(struct kvmi_x86_syscall) + sizeof(struct kvmi_x86_xcr) + \
	 sizeof(struct kvmi_x86_events))

/**
 * kvmi_regs_size - bytes of register sets
 * @sets: KVMI_REGS_*
 *
 * Return: their sum.
 */
static inline u32 kvmi_regs_size(u32 sets)
{
	u32 size = 0;

	/* What nearly every record has. */
	if (likely(sets == KVMI_REGS_GENERAL))
		return sizeof(struct kvmi_x86_gprs);
	if (sets & KVMI_REGS_GENERAL)
		size += sizeof(struct kvmi_x86_gprs);
	if (sets & KVMI_REGS_CONTROL)
		size += sizeof(struct kvmi_x86_control);
	if (sets & KVMI_REGS_SEGMENT)
		size += sizeof(struct kvmi_x86_segments);
	if (sets & KVMI_REGS_DEBUG)
		size += sizeof(struct kvmi_x86_debug);
	if (sets & KVMI_REGS_SYSCALL)
		size += sizeof(struct kvmi_x86_syscall);
	if (sets & KVMI_REGS_XCR)
		size += sizeof(struct kvmi_x86_xcr);
	if (sets & KVMI_REGS_EVENTS)
		size += sizeof(struct kvmi_x86_events);
	return size;
}

u64 kvmi_regs_rip(struct kvm_vcpu *vcpu);
u64 kvmi_reg_read(struct kvm_vcpu *vcpu, int reg);
void kvmi_reg_write(struct kvm_vcpu *vcpu, int reg, u64 value);
u64 kvmi_regs_cr3(struct kvm_vcpu *vcpu);
u64 kvmi_regs_cr4(struct kvm_vcpu *vcpu);
u64 kvmi_regs_cr0(struct kvm_vcpu *vcpu);
bool kvmi_regs_64bit(struct kvm_vcpu *vcpu);
u64 kvmi_regs_lmsw(struct kvm_vcpu *vcpu, u16 value, bool clts);
void kvmi_regs_cache(struct kvm_vcpu *vcpu);
void kvmi_regs_get_gprs(struct kvm_vcpu *vcpu, struct kvmi_x86_gprs *gprs);
void kvmi_regs_fill(struct kvmi_vcpu *kv, u32 sets, void *buf);
void kvmi_regs_set_gprs(struct kvmi_vcpu *kv, u32 mask,
			const struct kvmi_x86_gprs *gprs);
int kvmi_regs_rw(struct kvmi_vm *vm, struct kvmi_regs *args, bool write);
int kvmi_regs_set(struct kvmi_vcpu *kv, u32 sets, void *buf);
int kvmi_regs_act_with(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 value);
void kvmi_regs_bookmark(struct kvmi_vcpu *kv, struct kvmi_bookmark *mark);

/* x86/state.c */
void kvmi_state_get_debug(struct kvm_vcpu *vcpu, struct kvmi_x86_debug *debug);
int kvmi_state_set_debug(struct kvm_vcpu *vcpu,
			 const struct kvmi_x86_debug *debug);
void kvmi_state_get_syscall(struct kvm_vcpu *vcpu,
			    struct kvmi_x86_syscall *syscall);
int kvmi_state_set_syscall(struct kvm_vcpu *vcpu,
			   const struct kvmi_x86_syscall *syscall);
void kvmi_state_get_xcr(struct kvm_vcpu *vcpu, struct kvmi_x86_xcr *xcr);
int kvmi_state_set_xcr(struct kvm_vcpu *vcpu, const struct kvmi_x86_xcr *xcr);
void kvmi_state_get_events(struct kvm_vcpu *vcpu,
			   struct kvmi_x86_events *events);
int kvmi_state_set_events(struct kvm_vcpu *vcpu,
			  const struct kvmi_x86_events *events);
int kvmi_state_rw(struct kvmi_vm *vm, struct kvmi_state *args, bool write);
int kvmi_state_msrs(struct kvmi_vm *vm, struct kvmi_msrs *args, bool write);

/* x86/clock.c */
#define KVMI_CLOCK_PAUSE	BIT(0)
#define KVMI_CLOCK_EVENT	BIT(1)
#define KVMI_CLOCK_ALL		(KVMI_CLOCK_PAUSE | KVMI_CLOCK_EVENT)

int kvmi_clock_check(void);
void kvmi_clock_stopped(struct kvmi_vm *vm, u32 why);
void kvmi_clock_go_on(struct kvmi_vm *vm, struct kvm *kvm, u32 why);
void __kvmi_clock_settle(struct kvmi_vcpu *kv);
void kvmi_clock_settle_outside(struct kvmi_vm *vm);
void kvmi_clock_created(struct kvmi_vcpu *kv);

/**
 * kvmi_clock_due - is something to be taken from a vCPU's TSC?
 * @kv: the vCPU; asked after kvmi_vcpu_may_run()
 *
 * Return: true if so.
 */
static inline bool kvmi_clock_due(struct kvmi_vcpu *kv)
{
	return READ_ONCE(kv->clock.tsc);
}

/**
 * kvmi_clock_settle - take from a vCPU's TSC what is due
 * @kv: the vCPU, loaded; called on its thread, or with vcpu->mutex held
 */
static inline void kvmi_clock_settle(struct kvmi_vcpu *kv)
{
	if (unlikely(kvmi_clock_due(kv)))
		__kvmi_clock_settle(kv);
}

/* x86/inject.c */
int kvmi_inject_check(const struct kvmi_x86_injection *what);
int kvmi_inject_can(struct kvmi_vcpu *kv, const struct kvmi_x86_injection *what);
int kvmi_inject_queue(struct kvmi_vcpu *kv,
		      const struct kvmi_x86_injection *what, u64 *id);
void kvmi_inject_hand(struct kvmi_vcpu *kv, bool hand);
bool kvmi_inject_entry(struct kvmi_vcpu *kv);
void kvmi_inject_exit(struct kvmi_vcpu *kv);
void kvmi_inject_drop(struct kvmi_vcpu *kv);
int kvmi_inject(struct kvmi_vm *vm, struct kvmi_inject *args);

/* x86/io.c */
bool kvmi_io_element(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_io_continue(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_io_continue_with(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 value);
int kvmi_io_skip(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
void kvmi_io_settle(struct kvmi_vcpu *kv);

/* x86/insn.c */
/**
 * struct kvmi_insn_string - INS or OUTS
 * @insn: its bytes
 * @len: how many
 * @rep: index of REP, or -1
 * @segment: the prefix that names the segment, or 0
 * @address: bytes of an address, and of the count: 2, 4 or 8
 * @out: OUTS
 */
struct kvmi_insn_string {
	u8 insn[15];
	u8 len;
	s8 rep;
	u8 segment;
	u8 address;
	bool out;
};

/**
 * struct kvmi_insn_mov - a move to or from a control or debug register
 * @debug: of a debug register
 * @write: to it
 * @nr: number of that register
 * @reg: the general register
 * @len: bytes of the instruction
 * @lmsw: LMSW or CLTS, which write a part of CR0
 * @value: the part, of @lmsw
 * @unknown: @lmsw: it is in memory
 */
struct kvmi_insn_mov {
	bool debug;
	bool write;
	u8 nr;
	u8 reg;
	u8 len;
	bool lmsw;
	bool unknown;
	u64 value;
};

void kvmi_insn_decode(struct kvmi_vcpu *kv, u64 rip, struct kvmi_insn *out);
gpa_t kvmi_insn_at(struct kvmi_vcpu *kv);
gpa_t kvmi_insn_on(struct kvmi_vcpu *kv, gfn_t gfn);
bool kvmi_insn_pass_nop(struct kvmi_vcpu *kv, gpa_t gpa);
bool kvmi_insn_in_view(struct kvmi_vcpu *kv);
void kvmi_insn_hide_tf(struct kvmi_vcpu *kv);
bool kvmi_insn_is_int3(struct kvmi_vcpu *kv);
int kvmi_insn_mov(struct kvmi_vcpu *kv, struct kvmi_insn_mov *mov);
int kvmi_insn_string(struct kvmi_vcpu *kv, struct kvmi_insn_string *s);

#endif /* KVMI_H */
