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
 */
enum kvmi_continue {
	KVMI_CONT_ORIG,
	KVMI_CONT_VENDOR,
	KVMI_CONT_NOTHING,
	KVMI_CONT_STEP,
};

/**
 * enum kvmi_value - where an instruction has the value that it moves
 * @KVMI_VALUE_NONE: it moves none
 * @KVMI_VALUE_REG: in a register, which it reads
 * @KVMI_VALUE_EDX_EAX: in EDX:EAX, which it reads
 * @KVMI_VALUE_TO_EDX_EAX: in EDX:EAX, which it writes
 */
enum kvmi_value {
	KVMI_VALUE_NONE,
	KVMI_VALUE_REG,
	KVMI_VALUE_EDX_EAX,
	KVMI_VALUE_TO_EDX_EAX,
};

/**
 * struct kvmi_exit - an exit that is an event
 * @kind: enum kvmi_event_kind
 * @cont: enum kvmi_continue
 * @mode: enum kvmi_event_mode
 * @regs: register sets that go along
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
	bool skip;
	u8 value;
	u8 source;
	u32 size;
	union {
		struct kvmi_ev_cancelled cancelled;
		struct kvmi_ev_access access;
		struct kvmi_ev_breakpoint breakpoint;
		struct kvmi_ev_step step;
		struct kvmi_x86_ev_cr cr;
		struct kvmi_x86_ev_msr msr;
		struct kvmi_x86_ev_cpuid cpuid;
		struct kvmi_x86_ev_injected injected;
		u64 raw[8];
	} payload;
};

/**
 * struct kvmi_snapshot - state of a vCPU that leaves KVM_RUN with an event open
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
struct kvmi_snapshot {
	u64 rip, rsp, rflags;
	u64 cr0, cr3, cr4;
	u64 cs_base;
	u16 cs;
	u32 mp_state;
	u32 hflags;
};

/**
 * struct kvmi_msr - an MSR that is watched, or was
 * @index: of the MSR
 * @mode: enum kvmi_event_mode by direction: [write]
 * @regs: register sets that go along, likewise
 * @added: the bitmap's bit is ours, not KVM's, likewise
 */
struct kvmi_msr {
	u32 index;
	u8 mode[2];
	u8 regs[2];
	u8 added[2];
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
#define KVMI_WANT_CR3		BIT(0)
#define KVMI_WANT_CR4		BIT(1)
#define KVMI_WANT_BP		BIT(2)
#define KVMI_WANT_MSR		BIT(3)
#define KVMI_WANT_STEP		BIT(4)
#define KVMI_WANT_CPUID		BIT(5)

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

/**
 * struct kvmi_armed - the controls of the VMCS or VMCB that the back end has changed
 * @bits: KVMI_WANT_* in force
 * @vmx: Intel
 * @vmx.exec: processor-based controls
 * @vmx.excp: exception bitmap
 * @vmx.cr4: what of the guest/host mask is ours
 * @svm: AMD
 * @svm.cr: what of the CR intercepts is ours
 * @svm.excp: what of the exception intercepts is ours
 * @svm.word3: what of the instruction intercepts is ours
 * @svm.tf: RFLAGS.TF is ours
 * @svm.tf_exit: RFLAGS.TF was ours until this exit
 * @svm.dr6_bs: DR6.BS was set before
 */
struct kvmi_armed {
	u32 bits;
	union {
		struct {
			struct kvmi_vmx_control exec, excp;
			u64 cr4;
		} vmx;
		struct {
			u32 cr, excp, word3;
			bool tf;
			bool tf_exit;
			bool dr6_bs;
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
 * @want: KVMI_WANT_*. This and what follows, up to @pause_count, is
 *	configuration: written under vm->lock, read by the vCPU.
 * @cr_mode: enum kvmi_event_mode of CR3, CR4
 * @cr_regs: register sets that go along
 * @mode: enum kvmi_event_mode by kind
 * @regs: register sets that go along
 * @nr_msrs: entries of @msrs in use
 * @msrs: KVMI_MAX_MSRS of them, or NULL
 * @view: id of its view; KVMI_VIEW_DEFAULT: KVM's own. Also changed by answers.
 * @stop_kinds: bits of the kinds that stop the other vCPUs
 * @limits: by kind, or NULL if none is limited
 * @pause_count: nested pauses
 * @armed: what the back end has changed. This and what follows, up to @reply,
 *	is owned by the vCPU's thread.
 * @step: the step in progress
 * @step.mode: what for
 * @step.owed: complete, its event not posted yet
 * @step.owed_flags: of that event
 * @step.rip: of the instruction
 * @step.back: view to go back to
 * @step.deliver: an event was being delivered
 * @deferred: an interrupt taken from KVM for the time of a step, see
 *	kvmi_defer()
 * @deferred.valid: there is one
 * @deferred.nmi: an NMI
 * @deferred.interrupt: or this
 * @inject: what a tool has it take
 * @inject.mask: bits of those that are on their way
 * @inject.slot: by enum kvmi_x86_inject_type
 * @open: the event that waits for an answer
 * @open.id: its id, or 0
 * @open.exit: the exit
 * @open.snap: state at which its thread left KVM_RUN
 * @open.deadline: jiffies; 0: none
 * @open.since: rdtsc() when it was raised
 * @open.flags: of its record
 * @open.shown: its record is posted
 * @stats: by kind
 * @stats.events: records posted
 * @stats.limited: not told, as they came too soon
 * @stats.cycles: of waiting for answers
 * @next_id: the last id less the index
 * @reply: copy of the answer
 * @park_lock: serializes @parked with who reads registers meanwhile
 * @parked: its thread sleeps in kvmi, its general registers are in memory
 * @stop_since: jiffies when its thread went to sleep in kvmi, or 0
 * @job_lock: one job at a time
 * @job: to be done by its thread, or NULL
 * @wait: where its thread sleeps
 * @poll: of its waits for an answer
 * @ring: shared with the tool
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
	u32 cr_mode[2], cr_regs[2];
	u32 mode[KVMI_NR_KINDS];
	u32 regs[KVMI_NR_KINDS];
	u32 nr_msrs;
	struct kvmi_msr *msrs;
	u32 view;
	u64 stop_kinds;
	struct kvmi_limit *limits;
	u32 pause_count;

	struct kvmi_armed armed;
	struct {
		enum kvmi_step_mode mode;
		enum kvmi_step_mode owed;
		u32 owed_flags;
		u64 rip;
		u32 back;
		bool deliver;
	} step;
	struct {
		bool valid;
		bool nmi;
		struct kvm_queued_interrupt interrupt;
	} deferred;
	struct {
		u32 mask;
		struct kvmi_injection slot[KVMI_NR_INJECT];
	} inject;
	struct {
		u64 id;
		struct kvmi_exit exit;
		struct kvmi_snapshot snap;
		unsigned long deadline;
		u64 since;
		u16 flags;
		bool shown;
	} open;
	struct {
		u64 events[KVMI_NR_KINDS];
		u64 limited[KVMI_NR_KINDS];
		u64 cycles[KVMI_NR_KINDS];
	} stats;
	u64 next_id;
	struct kvmi_reply reply;

	spinlock_t park_lock;			/* @parked */
	bool parked;
	unsigned long stop_since;
	struct mutex job_lock;			/* one job at a time */
	struct kvmi_job *job;
	struct rcuwait wait;
	struct kvmi_poll poll;
	struct kvmi_ring ring;
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
 * @ring_size: bytes of each ring
 * @bounce: a page for memory.c, or NULL
 * @map: guest memory as mapped by tools, or NULL; set once
 * @ring_file: keeps the rings for mappings
 * @rings: owner of the rings' memory
 * @def_mode: what vCPUs to come are to be like, as the members of struct
 *	kvmi_vcpu; also the next ones
 * @def_regs: likewise
 * @def_cr_mode: likewise
 * @def_cr_regs: likewise
 * @def_nr_msrs: likewise
 * @def_msrs: likewise
 * @def_view: likewise
 * @def_stop_kinds: likewise
 * @def_limits: likewise
 * @def_pause: likewise; pauses of all vCPUs
 * @stop_owner: the vCPU whose event stops the others, or NULL
 * @stoppers: how many wait for vCPUs to stand
 * @stop_wq: the tools among them
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
 * @view_hooks: views can be had
 * @wq: tools that wait for any ring
 * @poll: of their waits
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
	u32 ring_size;
	void *bounce;
	struct kvmi_map *map;
	struct file *ring_file;
	struct kvmi_rings *rings;

	u32 def_mode[KVMI_NR_KINDS], def_regs[KVMI_NR_KINDS];
	u32 def_cr_mode[2], def_cr_regs[2];
	u32 def_nr_msrs;
	struct kvmi_msr *def_msrs;
	u32 def_view;
	u64 def_stop_kinds;
	struct kvmi_limit *def_limits;
	u32 def_pause;
	struct kvmi_vcpu *stop_owner;
	atomic_t stoppers;
	wait_queue_head_t stop_wq;

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
	bool view_hooks;

	wait_queue_head_t wq;
	struct kvmi_poll poll;
};

/**
 * struct kvmi_ops - a vendor back end
 * @vendor: enum kvmi_vendor
 * @name: of KVM's vendor module, as in kvm_x86_ops.name
 * @access: bit n: access rights n can be expressed
 * @probe: called when hooks go in; -errno if the CPU lacks what is needed
 * @check: vCPU loaded: are KVM's private structures as they are thought to be?
 * @arm: interrupts off, before every entry of L1: make the controls in force
 *	agree with @want (KVMI_WANT_*)
 * @disarm: vCPU loaded: give back every control
 * @exit_begin: first thing after an exit, if a step was armed: take back what
 *	must not be seen
 * @is_step: the exit is the trap of a step
 * @decode: is the exit an event that was armed? fills @ex
 * @finish: KVMI_CONT_VENDOR
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
 */
struct kvmi_ops {
	u32 vendor;
	const char *name;
	u32 (*access)(void);
	int (*probe)(void);
	int (*check)(struct kvm_vcpu *vcpu);
	void (*arm)(struct kvmi_vcpu *kv, u32 want);
	void (*disarm)(struct kvmi_vcpu *kv);
	void (*exit_begin)(struct kvmi_vcpu *kv);
	bool (*is_step)(struct kvmi_vcpu *kv);
	bool (*decode)(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
	int (*finish)(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
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
};

extern const struct kvmi_ops kvmi_svm_ops, kvmi_vmx_ops;
extern const struct kvmi_ops *kvmi_ops;

/* Those of every exit and entry: direct calls, kept by hook.c. */
#define KVMI_HOT_OPS(X)		\
	X(arm)			\
	X(decode)		\
	X(exit_begin)		\
	X(fault)

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

struct kvmi_vm *kvmi_vm_attach(struct file *vm_file, u32 ring_size,
			       bool observer, bool paused);
int kvmi_vm_hooks_get(void);
void kvmi_vm_hooks_put(void);
void kvmi_vm_leave(struct kvmi_vm *vm, bool observer, bool closed);
struct kvmi_vm *kvmi_vm_lookup(struct kvm *kvm);
struct kvmi_vm *kvmi_vm_find(struct kvm *kvm);
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
int kvmi_ring_init(struct kvmi_vm *vm, struct kvmi_vcpu *kv);
void kvmi_ring_fini(struct kvmi_ring *ring);
int kvmi_ring_get(struct kvmi_vcpu *kv, struct kvmi_get_ring *args);
int kvmi_ring_mmap(struct kvmi_vm *vm, struct vm_area_struct *vma);
bool kvmi_ring_unread(struct kvmi_ring *ring);
bool kvmi_ring_post(struct kvmi_vcpu *kv, const struct kvmi_exit *ex, u64 id);
void kvmi_ring_drop(struct kvmi_ring *ring, u32 kind);

/* event.c */
int kvmi_event_control(struct kvmi_vm *vm, struct kvmi_control_event *args);
int kvmi_event_raise(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_event_resume(struct kvmi_vcpu *kv);
void kvmi_event_update_want(struct kvmi_vcpu *kv);
void kvmi_event_reset(struct kvmi_vm *vm);
__poll_t kvmi_event_pending(struct kvmi_vm *vm);
u64 kvmi_events_supported(void);
int kvmi_event_wait_any(struct kvmi_vm *vm, struct kvmi_wait *args);
void kvmi_event_timer(struct work_struct *work);
void kvmi_event_set_timeout(struct kvmi_vm *vm, u32 timeout);
bool kvmi_event_overdue(struct kvmi_vcpu *kv);
struct kvmi_msr *kvmi_msr_find(struct kvmi_vcpu *kv, u32 index);

/* stats.c */
bool kvmi_limit_check(struct kvmi_vcpu *kv, u32 kind);
int kvmi_limit_set(struct kvmi_limit **limits,
		   const struct kvmi_control_event *args);
int kvmi_stats_get(struct kvmi_vm *vm, struct kvmi_stats *stats);

/* step.c */
void kvmi_step_start(struct kvmi_vcpu *kv, enum kvmi_step_mode mode);
bool kvmi_step_over(struct kvmi_vcpu *kv, bool trapped);
int kvmi_step_post(struct kvmi_vcpu *kv);
void kvmi_step_cancel(struct kvmi_vcpu *kv);
bool kvmi_step_armed(struct kvm_vcpu *vcpu);

/**
 * kvmi_step_active - is a step in progress?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so.
 */
static inline bool kvmi_step_active(struct kvmi_vcpu *kv)
{
	return kv->step.mode != KVMI_STEP_NONE;
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

/**
 * kvmi_vcpu_entry_busy - can any entry of a vCPU concern us?
 * @kv: the vCPU; called on its thread
 *
 * CPUID exits anyway, on both vendors.
 *
 * Return: true if so.
 */
static __always_inline bool kvmi_vcpu_entry_busy(struct kvmi_vcpu *kv)
{
	return (READ_ONCE(kv->want) & ~KVMI_WANT_CPUID) | kv->armed.bits |
	       kv->step.mode | kv->inject.mask;
}

/**
 * kvmi_vcpu_busy - can any exit of a vCPU concern us?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so.
 */
static __always_inline bool kvmi_vcpu_busy(struct kvmi_vcpu *kv)
{
	return READ_ONCE(kv->want) | kv->armed.bits | READ_ONCE(kv->view) |
	       kv->step.mode | kv->step.owed | kv->deferred.valid |
	       kv->inject.mask;
}

/* view.c */
/**
 * struct kvmi_tree - a view: an alternate second-level page table
 * @id: 1 and up; what the rest of kvmi holds instead of a pointer
 * @default_access: of pages without a block
 * @level: of the root: 4 or 5
 * @root: the root table; kvmi's own, never KVM's
 * @blocks: u8[512] of access rights by gfn >> 9; KVMI_ACCESS_DEFAULT or rights
 *
 * Found by id under RCU. @root and below, and @blocks, change under
 * vm->view_lock.
 */
struct kvmi_tree {
	u32 id;
	u32 default_access;
	int level;
	u64 *root;
	struct xarray blocks;
};

int kvmi_view_create(struct kvmi_vm *vm, u32 default_access, u32 *id);
int kvmi_view_destroy(struct kvmi_vm *vm, u32 id);
int kvmi_view_switch(struct kvmi_vm *vm, u32 vcpu, u32 id);
void kvmi_view_destroy_all(struct kvmi_vm *vm);
int kvmi_view_access_set(struct kvmi_vm *vm, struct kvmi_access *args);
int kvmi_view_access_get(struct kvmi_vm *vm, struct kvmi_access *args);
void kvmi_view_enter(struct kvmi_vcpu *kv, u32 id);
bool kvmi_view_exists(struct kvmi_vm *vm, u32 id);
hpa_t kvmi_view_root(struct kvmi_vcpu *kv, int root_level);
int kvmi_view_fault(struct kvmi_vcpu *kv, fastpath_t fastpath,
		    struct kvmi_exit *ex);
u32 kvmi_view_access(struct kvmi_tree *tree, gfn_t gfn);
bool kvmi_view_zap(struct kvm *kvm, gfn_t start, gfn_t end);
bool kvmi_view_age(struct kvm *kvm, gfn_t start, gfn_t end, bool clear);

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

u64 *kvmi_tdp_alloc(void);
int kvmi_tdp_topup(struct kvmi_tdp_cache *cache);
void kvmi_tdp_release(struct kvmi_tdp_cache *cache);
bool kvmi_tdp_lookup(hpa_t root, int level, gfn_t gfn,
		     struct kvmi_tdp_leaf *leaf);
bool kvmi_tdp_lookup_near(gfn_t last, gfn_t gfn, struct kvmi_tdp_leaf *leaf);
u64 *kvmi_tdp_map(struct kvmi_tree *view, struct kvmi_tdp_cache *cache,
		  gfn_t gfn, u64 spte, int level, u64 nonleaf, bool *flush);
bool kvmi_tdp_zap(struct kvmi_tree *view, gfn_t start, gfn_t end);
bool kvmi_tdp_age(struct kvmi_tree *view, gfn_t start, gfn_t end, bool clear);
void kvmi_tdp_free(struct kvmi_tree *view);
kvm_pfn_t kvmi_tdp_leaf_pfn(const struct kvmi_tdp_leaf *leaf, gfn_t gfn);

/* memory.c */
/**
 * struct kvmi_mem - accesses to guest memory, one after the other
 * @vm: the VM
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

void kvmi_mem_begin(struct kvmi_mem *mem, struct kvmi_vm *vm);
void kvmi_mem_release(struct kvmi_mem *mem);
void kvmi_mem_end(struct kvmi_mem *mem);
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
int kvmi_exit_act(struct kvmi_vcpu *kv, struct kvmi_exit *ex);
int kvmi_exit_skip(struct kvmi_vcpu *kv);
void kvmi_exit_cpuid(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u32 insn_len);
bool kvmi_exit_msr(struct kvmi_vcpu *kv, struct kvmi_exit *ex, bool write);
void kvmi_exit_breakpoint(struct kvmi_vcpu *kv, struct kvmi_exit *ex,
			  u32 insn_len);
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
u64 kvmi_regs_cr3(struct kvm_vcpu *vcpu);
u64 kvmi_regs_cr4(struct kvm_vcpu *vcpu);
u64 kvmi_regs_cr0(struct kvm_vcpu *vcpu);
bool kvmi_regs_64bit(struct kvm_vcpu *vcpu);
void kvmi_regs_cache(struct kvm_vcpu *vcpu);
void kvmi_regs_get_gprs(struct kvm_vcpu *vcpu, struct kvmi_x86_gprs *gprs);
void kvmi_regs_fill(struct kvmi_vcpu *kv, u32 sets, void *buf);
void kvmi_regs_set_gprs(struct kvmi_vcpu *kv, u32 mask,
			const struct kvmi_x86_gprs *gprs);
int kvmi_regs_rw(struct kvmi_vm *vm, struct kvmi_regs *args, bool write);
int kvmi_regs_set(struct kvmi_vcpu *kv, u32 sets, void *buf);
int kvmi_regs_act_with(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 value);
void kvmi_regs_snapshot(struct kvmi_vcpu *kv, struct kvmi_snapshot *snap);

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

/* x86/insn.c */
int kvmi_insn_soft_int(struct kvmi_vcpu *kv);
int kvmi_insn_mov_cr(struct kvmi_vcpu *kv, u32 cr, u64 *value, u32 *len,
		     u8 *reg);

#endif /* KVMI_H */
