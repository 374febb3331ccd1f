/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * kvmi: virtual machine introspection for stock KVM.
 *
 * The generic part of the ABI. What depends on the guest's architecture
 * (register sets, event payloads named kvmi_x86_*) is in kvmi_x86.h.
 */
#ifndef _UAPI_LINUX_KVMI_H
#define _UAPI_LINUX_KVMI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/kvmi_x86.h>

/**
 * DOC: General ioctl format
 *
 * Every ioctl takes a pointer to one struct. Its first member is ``__u32
 * size``, set by the caller to the size of the struct that it knows. A kernel
 * that knows a larger one takes the missing tail as zero; a kernel that knows
 * a smaller one demands that the tail it does not know is zero. ``flags`` and
 * reserved members are zero unless a value is defined here. No member is a
 * pointer or a long: addresses are ``__aligned_u64``, so that 32-bit callers
 * need no translation. Members named ``out_`` are written by the kernel; all
 * others are only read.
 *
 * One meaning per errno:
 *
 * ============= ============================================================
 * ENOTTY        no such ioctl on this descriptor
 * E2BIG         the struct has a non-zero tail that this kernel does not know, or
 *               is larger than a page
 * EINVAL        a member has a value or a flag that is wrong, or that this kernel
 *               does not know; size is smaller than the first version of the
 *               struct; KVM refuses the state to be set
 * EOPNOTSUPP    the value is right, and not supported by this kernel, this CPU or
 *               this VM; KVMI_GET_CAPS says so beforehand where it can
 * EFAULT        an address of the caller is not accessible
 * ENOENT        no such vCPU, view, memory slot or event
 * EBUSY         somebody else has it: the VM is controlled by another session
 * EAGAIN        not now: call again. Nothing was changed, but for what an
 *               ``out_`` member says
 * EINTR         a signal came first: call again. Nothing was changed, but for
 *               what an ``out_`` member says
 * ETIMEDOUT     the caller's own time limit ran out; as
 *               kvmi_ring_header.last_error the session's
 * ENODEV        the VM is gone (or the session was detached)
 * EBADF         the descriptor given is none, or is not what is asked for (a KVM
 *               VM, an eventfd)
 * EPERM         the session has been narrowed, or observes; mmap(2): the kernel's
 *               part of a ring cannot be written
 * EMFILE        the caller has as many descriptors as it may
 * EROFS         the guest memory belongs to a read-only memory slot
 * ENXIO         the guest-physical address is not backed by memory
 * EADDRNOTAVAIL the guest's page tables do not map the virtual address
 * ENOMEM        out of memory; nothing was changed
 * ENOSPC        a limit of kvmi is reached (views, MSRs, ring size), or the
 *               caller's buffer is too small
 * ECANCELED     kvmi_ring_header.last_error only: the event was overtaken, see
 *               KVMI_EVENT_CANCELLED
 * ============= ============================================================
 *
 * Any descriptor may be used from any thread of any process that holds it: the
 * session descriptor *is* the right to introspect its VM.
 */

/** KVMI_ABI_VERSION - bumped only if a tool must be rebuilt; so far never */
#define KVMI_ABI_VERSION	1

#define KVMI_IOC_TYPE		0xBC

/* On /dev/kvmi, and on a session as well. */
#define KVMI_GET_CAPS		_IO(KVMI_IOC_TYPE, 0x00)
/* On /dev/kvmi. */
#define KVMI_ATTACH		_IO(KVMI_IOC_TYPE, 0x01)
#define KVMI_GET_HOST_MSRS	_IO(KVMI_IOC_TYPE, 0x02)
#define KVMI_HOLD		_IO(KVMI_IOC_TYPE, 0x03)
#define KVMI_HOLD_NEXT		_IO(KVMI_IOC_TYPE, 0x04)
#define KVMI_HOLD_RELEASE	_IO(KVMI_IOC_TYPE, 0x05)
/* On a session. */
#define KVMI_DETACH		_IO(KVMI_IOC_TYPE, 0x10)
#define KVMI_GET_INFO		_IO(KVMI_IOC_TYPE, 0x11)
#define KVMI_GET_SLOTS		_IO(KVMI_IOC_TYPE, 0x12)
#define KVMI_GET_VCPU		_IO(KVMI_IOC_TYPE, 0x13)
#define KVMI_SET_POLICY		_IO(KVMI_IOC_TYPE, 0x14)
#define KVMI_GET_STATS		_IO(KVMI_IOC_TYPE, 0x15)
#define KVMI_RESET		_IO(KVMI_IOC_TYPE, 0x16)
#define KVMI_NARROW		_IO(KVMI_IOC_TYPE, 0x17)
#define KVMI_GET_RING		_IO(KVMI_IOC_TYPE, 0x18)
#define KVMI_WAIT		_IO(KVMI_IOC_TYPE, 0x19)
#define KVMI_CONTROL_EVENT	_IO(KVMI_IOC_TYPE, 0x1a)
#define KVMI_PAUSE		_IO(KVMI_IOC_TYPE, 0x20)
#define KVMI_RESUME		_IO(KVMI_IOC_TYPE, 0x21)
#define KVMI_GET_REGS		_IO(KVMI_IOC_TYPE, 0x22)
#define KVMI_SET_REGS		_IO(KVMI_IOC_TYPE, 0x23)
#define KVMI_GET_STATE		_IO(KVMI_IOC_TYPE, 0x24)
#define KVMI_SET_STATE		_IO(KVMI_IOC_TYPE, 0x25)
#define KVMI_GET_MSRS		_IO(KVMI_IOC_TYPE, 0x26)
#define KVMI_SET_MSRS		_IO(KVMI_IOC_TYPE, 0x27)
#define KVMI_READ_PHYS		_IO(KVMI_IOC_TYPE, 0x28)
#define KVMI_WRITE_PHYS		_IO(KVMI_IOC_TYPE, 0x29)
#define KVMI_RW_LIST		_IO(KVMI_IOC_TYPE, 0x2a)
#define KVMI_TRANSLATE		_IO(KVMI_IOC_TYPE, 0x2b)
#define KVMI_GET_MAP		_IO(KVMI_IOC_TYPE, 0x2c)
#define KVMI_VIEW_CREATE	_IO(KVMI_IOC_TYPE, 0x30)
#define KVMI_VIEW_DESTROY	_IO(KVMI_IOC_TYPE, 0x31)
#define KVMI_VIEW_SWITCH	_IO(KVMI_IOC_TYPE, 0x32)
#define KVMI_ACCESS_SET		_IO(KVMI_IOC_TYPE, 0x33)
#define KVMI_ACCESS_GET		_IO(KVMI_IOC_TYPE, 0x34)
#define KVMI_INJECT		_IO(KVMI_IOC_TYPE, 0x40)
#define KVMI_BATCH		_IO(KVMI_IOC_TYPE, 0x41)

/** KVMI_VCPU_ALL - every vCPU of the VM, where a vCPU index is asked for */
#define KVMI_VCPU_ALL		0xffffffffU
/** KVMI_VCPU_NONE - no vCPU, where a vCPU index is asked for */
#define KVMI_VCPU_NONE		0xfffffffeU

/** KVMI_VIEW_DEFAULT - KVM's own second-level page table; cannot be changed */
#define KVMI_VIEW_DEFAULT	0

/* ---- capabilities ------------------------------------------------------ */

/**
 * enum kvmi_arch - architecture of the VM, and of the payloads in its records
 * @KVMI_ARCH_X86: x86, see kvmi_x86.h
 */
enum kvmi_arch {
	KVMI_ARCH_X86 = 1,
};

/**
 * enum kvmi_vendor - which virtualization extension the host's CPU has
 * @KVMI_VENDOR_NONE: no vendor module of KVM is loaded (yet)
 * @KVMI_VENDOR_INTEL: VMX
 * @KVMI_VENDOR_AMD: SVM
 */
enum kvmi_vendor {
	KVMI_VENDOR_NONE = 0,
	KVMI_VENDOR_INTEL = 1,
	KVMI_VENDOR_AMD = 2,
};

/* Bits of kvmi_caps.out_features. */
#define KVMI_FEATURE_VIEWS	(1ULL << 0)	/* KVMI_VIEW_*, KVMI_ACCESS_* */
#define KVMI_FEATURE_STEP	(1ULL << 1)	/* KVMI_EVENT_STEP, step replies */
#define KVMI_FEATURE_PAUSE	(1ULL << 2)
#define KVMI_FEATURE_MEMORY	(1ULL << 3)
#define KVMI_FEATURE_REGS	(1ULL << 4)
#define KVMI_FEATURE_STATE	(1ULL << 5)	/* KVMI_GET_STATE, KVMI_SET_STATE */
#define KVMI_FEATURE_MSRS	(1ULL << 6)	/* KVMI_GET_MSRS, KVMI_SET_MSRS */
#define KVMI_FEATURE_RW_LIST	(1ULL << 8)	/* KVMI_RW_LIST */
#define KVMI_FEATURE_VIRT	(1ULL << 9)	/* KVMI_TRANSLATE, KVMI_RW_VIRT */
#define KVMI_FEATURE_MAP	(1ULL << 10)	/* KVMI_GET_MAP */
#define KVMI_FEATURE_HOST_MSRS	(1ULL << 11)	/* KVMI_GET_HOST_MSRS */
#define KVMI_FEATURE_INJECT	(1ULL << 12)	/* KVMI_INJECT */
#define KVMI_FEATURE_STOP	(1ULL << 13)	/* KVMI_CONTROL_STOP */
#define KVMI_FEATURE_STATS	(1ULL << 14)	/* KVMI_GET_STATS, KVMI_RESET, rates */
#define KVMI_FEATURE_NARROW	(1ULL << 15)	/* KVMI_NARROW, observers, on_close */
#define KVMI_FEATURE_NETLINK	(1ULL << 16)	/* kvmi_netlink.h */
#define KVMI_FEATURE_BATCH	(1ULL << 17)	/* KVMI_BATCH */
#define KVMI_FEATURE_HOLD	(1ULL << 18)	/* KVMI_HOLD, KVMI_ATTACH_PAUSED */

/**
 * struct kvmi_caps - argument of KVMI_GET_CAPS
 * @size: sizeof(struct kvmi_caps)
 * @flags: must be 0
 * @out_abi: KVMI_ABI_VERSION of the module
 * @out_arch: enum kvmi_arch
 * @out_vendor: enum kvmi_vendor
 * @out_max_views: views that one VM can have besides the default
 * @out_features: bits KVMI_FEATURE_*
 * @out_events: bit n: event kind n (enum kvmi_event_kind) can be enabled
 * @out_actions: bit n: action n (enum kvmi_action) can be answered
 * @out_reply_flags: bits KVMI_REPLY_* that a reply may have
 * @out_regs: bits KVMI_REGS_*: register sets that can be read
 * @out_regs_set: bits KVMI_REGS_*: register sets that can be written
 * @out_access: bit n: the access rights n (of KVMI_ACCESS_*, 0 to 7) can be
 *	expressed by this CPU's page tables
 * @out_max_msrs: MSRs (index and direction) that can be watched per vCPU
 * @out_min_ring: smallest ring, bytes
 * @out_max_ring: largest ring, bytes
 * @reserved: 0
 *
 * Any process that can open /dev/kvmi may ask.
 */
struct kvmi_caps {
	__u32 size;
	__u32 flags;
	__u32 out_abi;
	__u32 out_arch;
	__u32 out_vendor;
	__u32 out_max_views;
	__aligned_u64 out_features;
	__aligned_u64 out_events;
	__u32 out_actions;
	__u32 out_reply_flags;
	__u32 out_regs;
	__u32 out_regs_set;
	__u32 out_access;
	__u32 out_max_msrs;
	__u32 out_min_ring;
	__u32 out_max_ring;
	__aligned_u64 reserved[4];
};

/**
 * struct kvmi_host_msrs - argument of KVMI_GET_HOST_MSRS
 * @size: sizeof(struct kvmi_host_msrs)
 * @flags: must be 0
 * @msrs: address of an array of struct kvmi_x86_msr, filled
 * @nr: room in the array
 * @out_nr: how many there are; only @nr are filled
 *
 * The host's own MSRs that say what its processors can do for virtual machines,
 * where CPUID does not: Intel's IA32_FEATURE_CONTROL and IA32_VMX_*, AMD's VM_CR.
 * out_error of an entry is -ENOENT where the processor has no such MSR. None
 * while no vendor module of KVM is loaded. Any process that can open /dev/kvmi
 * may ask.
 */
struct kvmi_host_msrs {
	__u32 size;
	__u32 flags;
	__aligned_u64 msrs;
	__u32 nr;
	__u32 out_nr;
};

/* ---- session ----------------------------------------------------------- */

/* Bits of kvmi_hold.flags. */
#define KVMI_HOLD_F_UID		(1U << 0)	/* uid is meant */

/**
 * struct kvmi_hold - argument of KVMI_HOLD
 * @size: sizeof(struct kvmi_hold)
 * @flags: KVMI_HOLD_F_*
 * @timeout_ms: how long a VM is held at most, from its first KVM_RUN on: 1 to
 *	600,000
 * @uid: with KVMI_HOLD_F_UID: only VMs of this user, in the caller's user
 *	namespace; else 0
 * @comm: only those of a process of this name (/proc/PID/comm), with zeros behind
 *	it; "": of any
 * @pad: 0
 *
 * From now on every new VM that fits is held at its first instruction: KVM_RUN of
 * its vCPUs waits, and can be interrupted. It goes on when a session attaches to
 * it, by KVMI_HOLD_RELEASE, when the time is over, and when this descriptor of
 * /dev/kvmi is closed. To have it stand on, attach with KVMI_ATTACH_PAUSED. Only
 * VMs are held that the opener of /dev/kvmi could trace, by user or capability;
 * others run. EBUSY: this descriptor holds already; it is for good.
 */
struct kvmi_hold {
	__u32 size;
	__u32 flags;
	__u32 timeout_ms;
	__u32 uid;
	__u8 comm[16];
	__aligned_u64 pad;
};

/**
 * struct kvmi_hold_next - argument of KVMI_HOLD_NEXT
 * @size: sizeof(struct kvmi_hold_next)
 * @flags: must be 0
 * @out_id: of the VM, as kvmi_info.out_id
 * @out_pid: process id of its VMM in the caller's pid namespace, 0 if it has none
 * @pad: 0
 *
 * The next VM that has come to its first KVM_RUN, each once. EAGAIN: none; poll(2)
 * on the descriptor says EPOLLIN when there is one. ENOENT: no KVMI_HOLD before.
 */
struct kvmi_hold_next {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_id;
	__u32 out_pid;
	__u32 pad;
};

/**
 * struct kvmi_hold_release - argument of KVMI_HOLD_RELEASE
 * @size: sizeof(struct kvmi_hold_release)
 * @flags: must be 0
 * @id: of the VM that is to go on
 *
 * ENOENT: this descriptor does not hold it, or not any more.
 */
struct kvmi_hold_release {
	__u32 size;
	__u32 flags;
	__aligned_u64 id;
};

/* Bits of kvmi_attach.flags. */
/*
 * Besides a session that controls the VM, or without one, in any number: with
 * KVMI_RIGHT_READ alone.
 */
#define KVMI_ATTACH_OBSERVER	(1U << 0)
/* As if by KVMI_PAUSE of all vCPUs; not for observers. */
#define KVMI_ATTACH_PAUSED	(1U << 1)

/**
 * struct kvmi_attach - argument of KVMI_ATTACH
 * @size: sizeof(struct kvmi_attach)
 * @flags: KVMI_ATTACH_*
 * @vm_fd: descriptor of a KVM VM, from the VMM itself (SCM_RIGHTS) or got by
 *	pidfd_getfd(2), so that the kernel's ptrace rules have had their say.
 *	It may be closed after the call, and should be: it keeps the VM alive.
 * @ring_size: bytes of each vCPU's event ring, a power of two between
 *	kvmi_caps.out_min_ring and out_max_ring; 0 for the default of 64 KiB
 *
 * Returns the session's descriptor (close-on-exec). The VM need not be stopped
 * and notices nothing. When the last descriptor of the session is closed, every
 * open event is finished, everything that was armed is withdrawn, and the guest
 * runs on as if it had never been watched.
 *
 * Errors: EBADF (not a VM), EBUSY (controlled by another session), EOPNOTSUPP
 * (confidential guest, shadow paging, nested-hypervisor enlightenments, or a
 * KVM that lacks a needed symbol: the kernel log says which), ENODEV (the VM is
 * dying).
 */
struct kvmi_attach {
	__u32 size;
	__u32 flags;
	__s32 vm_fd;
	__u32 ring_size;
};

/**
 * struct kvmi_detach - argument of KVMI_DETACH
 * @size: sizeof(struct kvmi_detach)
 * @flags: must be 0
 *
 * Does what closing the last descriptor does, at once. Every later call on the
 * session answers ENODEV.
 */
struct kvmi_detach {
	__u32 size;
	__u32 flags;
};

/**
 * struct kvmi_info - argument of KVMI_GET_INFO
 * @size: sizeof(struct kvmi_info)
 * @flags: must be 0
 * @out_nr_vcpus: vCPUs; their indices are 0 to this less 1
 * @out_pid: process id of the VMM in the initial pid namespace
 * @out_max_gfn: highest guest frame number backed by a memory slot
 * @out_memory: bytes of guest memory in all slots
 * @out_tsc_khz: frequency of the guest's TSC (vCPU 0), kHz
 * @out_attach_ns: CLOCK_MONOTONIC at the attach
 * @out_generation: changes whenever the memory slots do
 * @out_nr_slots: memory slots of the guest
 * @out_nr_views: views that exist besides the default
 * @pad: 0
 * @out_id: a number that no other VM has or had since kvmi.ko was loaded, as in
 *	kvmi_netlink.h
 * @reserved: 0
 */
struct kvmi_info {
	__u32 size;
	__u32 flags;
	__u32 out_nr_vcpus;
	__u32 out_pid;
	__aligned_u64 out_max_gfn;
	__aligned_u64 out_memory;
	__u32 out_tsc_khz;
	__u32 out_nr_slots;
	__aligned_u64 out_attach_ns;
	__aligned_u64 out_generation;
	__u32 out_nr_views;
	__u32 pad;
	__aligned_u64 out_id;
	__u32 reserved[2];
};

/* Bits of kvmi_slot.flags. */
#define KVMI_SLOT_READONLY	(1U << 0)
#define KVMI_SLOT_DIRTY_LOG	(1U << 1)

/**
 * struct kvmi_slot - one memory slot of the guest
 * @gfn: first guest frame number
 * @nr_pages: 4 KiB pages
 * @id: slot id as the VMM numbers it
 * @flags: KVMI_SLOT_*
 */
struct kvmi_slot {
	__aligned_u64 gfn;
	__aligned_u64 nr_pages;
	__u32 id;
	__u32 flags;
};

/**
 * struct kvmi_slots - argument of KVMI_GET_SLOTS
 * @size: sizeof(struct kvmi_slots)
 * @flags: must be 0
 * @slots: address of an array of struct kvmi_slot, filled in order of gfn
 * @nr: room in the array
 * @out_nr: slots that the VM has; more than @nr means that only @nr were stored
 */
struct kvmi_slots {
	__u32 size;
	__u32 flags;
	__aligned_u64 slots;
	__u32 nr;
	__u32 out_nr;
};

/**
 * enum kvmi_vcpu_state - what a vCPU is doing
 * @KVMI_VCPU_RUNNING: its thread is in KVM_RUN and not halted
 * @KVMI_VCPU_HALTED: it waits for an interrupt (HLT, or not started yet)
 * @KVMI_VCPU_OUTSIDE: its thread is in the VMM, outside KVM_RUN
 * @KVMI_VCPU_PAUSED: stopped by KVMI_PAUSE
 * @KVMI_VCPU_EVENT: waits for the answer to an event
 */
enum kvmi_vcpu_state {
	KVMI_VCPU_RUNNING = 1,
	KVMI_VCPU_HALTED = 2,
	KVMI_VCPU_OUTSIDE = 3,
	KVMI_VCPU_PAUSED = 4,
	KVMI_VCPU_EVENT = 5,
};

/**
 * struct kvmi_vcpu_info - argument of KVMI_GET_VCPU
 * @size: sizeof(struct kvmi_vcpu_info)
 * @flags: must be 0
 * @vcpu: index of the vCPU
 * @out_id: id that the VMM gave it (on x86 its initial APIC id)
 * @out_state: enum kvmi_vcpu_state
 * @out_view: view that it runs on
 * @out_open_event: id of the event that waits for an answer, or 0
 * @out_events: records posted for it so far
 * @out_dropped: records dropped because its ring was full
 * @out_bad_replies: replies refused
 * @out_pause_count: nested KVMI_PAUSE of it
 * @reserved: 0
 *
 * A snapshot: a vCPU that is not paused may have moved on meanwhile.
 */
struct kvmi_vcpu_info {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 out_id;
	__u32 out_state;
	__u32 out_view;
	__aligned_u64 out_open_event;
	__aligned_u64 out_events;
	__aligned_u64 out_dropped;
	__aligned_u64 out_bad_replies;
	__u32 out_pause_count;
	__u32 reserved[3];
};

/**
 * enum kvmi_on_close - what becomes of the VM when the session that controls it is
 *	closed without KVMI_DETACH, because the tool dies
 * @KVMI_ON_CLOSE_CONTINUE: it is let go
 * @KVMI_ON_CLOSE_PAUSE: it is paused, as by KVMI_PAUSE, and waits for a successor
 * @KVMI_ON_CLOSE_CRASH: it ends as by a triple fault
 * @KVMI_ON_CLOSE_WAIT: events are raised as before, and wait for a successor
 *
 * The successor is the next session that attaches, and finds everything as it
 * was: events, views, pauses. An event that is open then is raised anew.
 */
enum kvmi_on_close {
	KVMI_ON_CLOSE_CONTINUE = 0,
	KVMI_ON_CLOSE_PAUSE = 1,
	KVMI_ON_CLOSE_CRASH = 2,
	KVMI_ON_CLOSE_WAIT = 3,
};

/**
 * struct kvmi_policy - argument of KVMI_SET_POLICY
 * @size: sizeof(struct kvmi_policy)
 * @flags: must be 0
 * @timeout_ms: how long a vCPU waits for an answer before @default_action is
 *	taken; 0 (the default): for as long as the session lives. At most
 *	86,400,000. It is exact to a tenth, and to 10 ms. An event that is open
 *	has as long from this call on.
 * @default_action: enum kvmi_action, KVMI_ACTION_CONTINUE or
 *	KVMI_ACTION_RETRY or KVMI_ACTION_CRASH; also what a bad reply becomes
 * @on_close: enum kvmi_on_close
 * @pad: 0
 */
struct kvmi_policy {
	__u32 size;
	__u32 flags;
	__u32 timeout_ms;
	__u32 default_action;
	__u32 on_close;
	__u32 pad;
};

/** KVMI_KIND_ALL - all kinds of events, where a kind is asked for */
#define KVMI_KIND_ALL		0xffffffffU

/**
 * struct kvmi_stats - argument of KVMI_GET_STATS
 * @size: sizeof(struct kvmi_stats)
 * @flags: must be 0
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL for the sum
 * @kind: enum kvmi_event_kind, or KVMI_KIND_ALL for the sum
 * @out_events: records posted
 * @out_dropped: events that were not told; those for their rate included
 * @out_limited: the latter alone
 * @out_wait_ns: nanoseconds that vCPUs have waited for answers, those that wait
 *	now included
 * @out_unread: bytes in the rings that the tool has not consumed, of all kinds
 * @out_open: events that wait for an answer now
 * @pad: 0
 */
struct kvmi_stats {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 kind;
	__aligned_u64 out_events;
	__aligned_u64 out_dropped;
	__aligned_u64 out_limited;
	__aligned_u64 out_wait_ns;
	__aligned_u64 out_unread;
	__u32 out_open;
	__u32 pad;
};

/* Bits of kvmi_reset.what. */
#define KVMI_RESET_EVENTS	(1U << 0)	/* all off, none open, no steps, no rates */
#define KVMI_RESET_VIEWS	(1U << 1)	/* all destroyed */
#define KVMI_RESET_INJECT	(1U << 2)	/* what KVM has not got yet */
#define KVMI_RESET_PAUSES	(1U << 3)
#define KVMI_RESET_POLICY	(1U << 4)
#define KVMI_RESET_ALL		0x1fU

/**
 * struct kvmi_reset - argument of KVMI_RESET
 * @size: sizeof(struct kvmi_reset)
 * @flags: must be 0
 * @what: KVMI_RESET_*, one or more
 * @pad: 0
 *
 * As if the session had just begun, without letting the VM go. The guest repeats
 * what an open event was about. Records that are in the rings stay there. EINTR:
 * some of it is done; call again.
 */
struct kvmi_reset {
	__u32 size;
	__u32 flags;
	__u32 what;
	__u32 pad;
};

/* Bits of kvmi_narrow.rights. */
#define KVMI_RIGHT_READ		(1U << 0)	/* what there is: state, memory, statistics */
#define KVMI_RIGHT_EVENTS	(1U << 1)	/* asynchronous events, rings */
#define KVMI_RIGHT_SYNC		(1U << 2)	/* synchronous events; with EVENTS */
#define KVMI_RIGHT_CONTROL	(1U << 3)	/* pause, reset, policy, detach, skip, crash */
#define KVMI_RIGHT_WRITE	(1U << 4)	/* registers, state, memory */
#define KVMI_RIGHT_INJECT	(1U << 5)
#define KVMI_RIGHT_VIEWS	(1U << 6)
#define KVMI_RIGHT_ALL		0x7fU

/**
 * struct kvmi_narrow - argument of KVMI_NARROW
 * @size: sizeof(struct kvmi_narrow)
 * @flags: must be 0
 * @rights: KVMI_RIGHT_*: what is to be left
 * @out_rights: what is left
 * @kinds: bit n: event kind n: those that may be enabled and disabled
 * @out_kinds: what is left
 *
 * What is taken away is gone for good, for all who hold the session's descriptor:
 * before it is passed on. It cannot be widened; with all bits set the call
 * changes nothing. Without the right, a call answers EPERM, and an answer is bad.
 * What was enabled before stays so.
 */
struct kvmi_narrow {
	__u32 size;
	__u32 flags;
	__u32 rights;
	__u32 out_rights;
	__aligned_u64 kinds;
	__aligned_u64 out_kinds;
};

/* ---- rings -------------------------------------------------------------- */

/**
 * struct kvmi_get_ring - argument of KVMI_GET_RING
 * @size: sizeof(struct kvmi_get_ring)
 * @flags: must be 0
 * @vcpu: index of the vCPU
 * @eventfd: descriptor of an eventfd(2) that is signalled when a record is
 *	posted, or -1; replaces one given before
 * @out_header_offset: where to mmap(2) the kernel's part on the session
 *	descriptor, PROT_READ
 * @out_header_size: bytes of that part: a struct kvmi_ring_header and the
 *	records behind it
 * @out_tool_offset: where to mmap(2) the tool's part, PROT_READ | PROT_WRITE
 * @out_tool_size: bytes of that part: a struct kvmi_ring_tool
 */
struct kvmi_get_ring {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__s32 eventfd;
	__aligned_u64 out_header_offset;
	__aligned_u64 out_header_size;
	__aligned_u64 out_tool_offset;
	__aligned_u64 out_tool_size;
};

/** KVMI_NR_KINDS - room for event kinds in the counters */
#define KVMI_NR_KINDS		64

/**
 * enum kvmi_ring_state - what the vCPU of a ring does about its open event
 * @KVMI_RING_IDLE: no event is open
 * @KVMI_RING_POLLING: it watches kvmi_ring_tool.reply: no KVMI_WAIT is needed
 * @KVMI_RING_SLEEPING: it sleeps: a reply must be followed by KVMI_WAIT with
 *	kvmi_wait.kick
 *
 * The tool writes its reply, then a full memory barrier, then reads this.
 */
enum kvmi_ring_state {
	KVMI_RING_IDLE = 0,
	KVMI_RING_POLLING = 1,
	KVMI_RING_SLEEPING = 2,
};

/**
 * struct kvmi_ring_header - the kernel's part of a ring, read-only to the tool
 * @size: sizeof(struct kvmi_ring_header) as the kernel knows it
 * @version: KVMI_ABI_VERSION
 * @vcpu: index of the vCPU
 * @state: enum kvmi_ring_state
 * @data_offset: bytes from this header to the records
 * @data_size: bytes of the records' area, a power of two
 * @producer: bytes ever posted; records stand at (position & (@data_size - 1));
 *	read it with acquire semantics
 * @open_event: id of the event that waits for an answer, or 0
 * @last_event: id of the last event that ended: by an answer, by the session's
 *	time limit, or because it was overtaken
 * @last_error: how @last_event ended: 0: its answer was taken; -ETIMEDOUT: the
 *	time limit of KVMI_SET_POLICY ran out; -ECANCELED: it was overtaken; else
 *	the negative errno for which its answer was refused. Without a good
 *	answer the default action was taken, but for -ECANCELED.
 * @pad: 0
 * @bad_replies: answers refused so far
 * @posted: records posted so far
 * @dropped_total: records dropped so far because the ring was full
 * @dropped: the same by event kind
 */
struct kvmi_ring_header {
	__u32 size;
	__u32 version;
	__u32 vcpu;
	__u32 state;
	__u32 data_offset;
	__u32 data_size;
	__aligned_u64 producer;
	__aligned_u64 open_event;
	__aligned_u64 last_event;
	__s32 last_error;
	__u32 pad;
	__aligned_u64 bad_replies;
	__aligned_u64 posted;
	__aligned_u64 dropped_total;
	__aligned_u64 dropped[KVMI_NR_KINDS];
};

/* ---- events -------------------------------------------------------------- */

/**
 * enum kvmi_event_kind - kinds of events
 * @KVMI_EVENT_PAD: no event: skip @size bytes to the start of the ring
 * @KVMI_EVENT_CANCELLED: an event that waited was overtaken (the VMM changed the
 *	vCPU's state, reset it or loaded another): struct kvmi_ev_cancelled;
 *	never enabled, never answered
 * @KVMI_EVENT_ACCESS: an access that the vCPU's view does not allow: struct
 *	kvmi_ev_access
 * @KVMI_EVENT_BREAKPOINT: the guest executes a software breakpoint: struct
 *	kvmi_ev_breakpoint; KVMI_ACTION_CONTINUE gives it to the guest
 * @KVMI_EVENT_STEP: one instruction was executed: struct kvmi_ev_step; either
 *	after every instruction while enabled, or once after KVMI_REPLY_STEP
 * @KVMI_EVENT_INJECTED: what was injected has been delivered, or is lost: on x86
 *	struct kvmi_x86_ev_injected; KVMI_MODE_ASYNC only
 * @KVMI_EVENT_X86_CR: write of a control register: struct kvmi_x86_ev_cr
 * @KVMI_EVENT_X86_MSR: RDMSR or WRMSR: struct kvmi_x86_ev_msr
 * @KVMI_EVENT_X86_CPUID: CPUID: struct kvmi_x86_ev_cpuid
 *
 * Kinds below 32 exist on every architecture.
 */
enum kvmi_event_kind {
	KVMI_EVENT_PAD = 0,
	KVMI_EVENT_CANCELLED = 1,
	KVMI_EVENT_ACCESS = 2,
	KVMI_EVENT_BREAKPOINT = 3,
	KVMI_EVENT_STEP = 4,
	KVMI_EVENT_INJECTED = 5,
	KVMI_EVENT_X86_CR = 32,
	KVMI_EVENT_X86_MSR = 33,
	KVMI_EVENT_X86_CPUID = 34,
};

/* Bits of kvmi_event.flags. */
#define KVMI_EVENT_F_SYNC	(1U << 0)	/* the vCPU waits for an answer */
#define KVMI_EVENT_F_STOPPED	(1U << 1)	/* ... and the others are stopped */

/**
 * struct kvmi_event - header of every record in a ring
 * @size: bytes of the record: this header, the payload, the register sets;
 *	a multiple of 8
 * @kind: enum kvmi_event_kind
 * @flags: KVMI_EVENT_F_*
 * @vcpu: index of the vCPU
 * @header: bytes of this header, behind which the payload stands: at least
 *	sizeof(struct kvmi_event), more where a kernel has more to say; a multiple
 *	of 8
 * @payload: bytes of the payload; a multiple of 8
 * @id: to be repeated in the answer; unique within the session; 0 where no
 *	answer is awaited
 * @seq: number of the event on this vCPU, counted without a gap whether it was
 *	posted or dropped
 * @time_ns: CLOCK_MONOTONIC of the host at the exit
 * @guest_tsc: the guest's TSC at the exit
 * @regs: KVMI_REGS_*: register sets that follow the payload, in order of bits
 * @view: view on which the vCPU ran
 */
struct kvmi_event {
	__u32 size;
	__u16 kind;
	__u16 flags;
	__u32 vcpu;
	__u16 header;
	__u16 payload;
	__aligned_u64 id;
	__aligned_u64 seq;
	__aligned_u64 time_ns;
	__aligned_u64 guest_tsc;
	__u32 regs;
	__u32 view;
};

/**
 * struct kvmi_ev_cancelled - payload of KVMI_EVENT_CANCELLED
 * @event: id of the event that needs no answer any more
 * @kind: its kind
 * @pad: 0
 */
struct kvmi_ev_cancelled {
	__aligned_u64 event;
	__u32 kind;
	__u32 pad;
};

/* Access rights of a page in a view, and the access in kvmi_ev_access. */
#define KVMI_ACCESS_R		(1U << 0)
#define KVMI_ACCESS_W		(1U << 1)
#define KVMI_ACCESS_X		(1U << 2)
#define KVMI_ACCESS_RWX		(KVMI_ACCESS_R | KVMI_ACCESS_W | KVMI_ACCESS_X)

/* Bits of kvmi_ev_access.flags. */
#define KVMI_ACCESS_F_GVA	(1U << 0)	/* gva is valid */
#define KVMI_ACCESS_F_WALK	(1U << 1)	/* by the walk of the guest's page tables */

/**
 * struct kvmi_ev_access - payload of KVMI_EVENT_ACCESS
 * @gpa: guest-physical address of the access
 * @gva: guest-virtual address, if KVMI_ACCESS_F_GVA
 * @access: KVMI_ACCESS_*: what was attempted (several bits where the CPU does
 *	not tell them apart)
 * @allowed: KVMI_ACCESS_*: what the view allows on this page
 * @flags: KVMI_ACCESS_F_*
 * @pad: 0
 */
struct kvmi_ev_access {
	__aligned_u64 gpa;
	__aligned_u64 gva;
	__u32 access;
	__u32 allowed;
	__u32 flags;
	__u32 pad;
};

/**
 * struct kvmi_ev_breakpoint - payload of KVMI_EVENT_BREAKPOINT
 * @pc: program counter (on x86 RIP) of the breakpoint instruction
 * @insn_len: its length, bytes
 * @pad: 0
 */
struct kvmi_ev_breakpoint {
	__aligned_u64 pc;
	__u32 insn_len;
	__u32 pad;
};

/* Bits of kvmi_ev_step.flags. */
#define KVMI_STEP_F_EMULATED	(1U << 0)	/* KVM emulated the instruction */

/**
 * struct kvmi_ev_step - payload of KVMI_EVENT_STEP
 * @pc: program counter after the instruction
 * @flags: KVMI_STEP_F_*
 * @pad: 0
 */
struct kvmi_ev_step {
	__aligned_u64 pc;
	__u32 flags;
	__u32 pad;
};

/**
 * enum kvmi_event_mode - how events of a kind are delivered
 * @KVMI_MODE_OFF: not at all
 * @KVMI_MODE_SYNC: the vCPU waits for the answer
 * @KVMI_MODE_ASYNC: a record is posted and the vCPU goes on at once; if the ring
 *	is full the record is dropped and counted
 */
enum kvmi_event_mode {
	KVMI_MODE_OFF = 0,
	KVMI_MODE_SYNC = 1,
	KVMI_MODE_ASYNC = 2,
};

/* Bits of kvmi_control_event.flags. */
/*
 * The event stops all other vCPUs before it is posted, until it is answered. With
 * KVMI_MODE_SYNC; for control registers and MSRs: all of the kind. Of two at a
 * time the second one is posted when the first is answered.
 */
#define KVMI_CONTROL_STOP	(1U << 0)

/**
 * struct kvmi_control_event - argument of KVMI_CONTROL_EVENT
 * @size: sizeof(struct kvmi_control_event)
 * @flags: KVMI_CONTROL_*
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL (then also for vCPUs to come)
 * @kind: enum kvmi_event_kind
 * @mode: enum kvmi_event_mode
 * @regs: KVMI_REGS_*: register sets to come along with the record
 * @index: which register: the number of the control register (3 or 4), the index
 *	of the MSR; 0 for other kinds
 * @access: for MSRs KVMI_ACCESS_R, KVMI_ACCESS_W or both; 0 for other kinds
 * @mask: bits of the register that matter; must be 0 (all) so far
 * @rate: how many events of the kind a second are told of each vCPU, 0 for all; the
 *	others are as if the kind was off, and counted as dropped. Not for
 *	KVMI_EVENT_STEP; of control registers and MSRs all together
 * @burst: with @rate: how many may come at once; 0 is as 1
 *
 * When the call returns, the change is in force on every vCPU concerned.
 * KVMI_EVENT_STEP and KVMI_EVENT_ACCESS take KVMI_MODE_SYNC or KVMI_MODE_ASYNC;
 * an asynchronous KVMI_EVENT_ACCESS lets the access happen (as
 * KVMI_ACTION_CONTINUE does).
 */
struct kvmi_control_event {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 kind;
	__u32 mode;
	__u32 regs;
	__u32 index;
	__u32 access;
	__aligned_u64 mask;
	__u32 rate;
	__u32 burst;
};

/* ---- replies ------------------------------------------------------------- */

/**
 * enum kvmi_action - what becomes of the exit that an event reports
 * @KVMI_ACTION_CONTINUE: KVM acts as if nobody had watched: the instruction is
 *	emulated, the exception given to the guest. An access that the view
 *	forbids is let happen, once: one instruction runs on the default view.
 * @KVMI_ACTION_RETRY: nothing is done and the guest re-entered: it executes the
 *	instruction again
 * @KVMI_ACTION_SKIP: the instruction is skipped without effect (not for
 *	KVMI_EVENT_ACCESS and KVMI_EVENT_STEP)
 * @KVMI_ACTION_CRASH: the VM ends as by a triple fault
 */
enum kvmi_action {
	KVMI_ACTION_CONTINUE = 0,
	KVMI_ACTION_RETRY = 1,
	KVMI_ACTION_SKIP = 2,
	KVMI_ACTION_CRASH = 3,
};

/* Bits of kvmi_reply.flags. */
/* Set the registers of reg_mask before the action. */
#define KVMI_REPLY_REGS		(1U << 0)
/* Run on view from now on; with KVMI_ACTION_RETRY, or a step event. */
#define KVMI_REPLY_VIEW		(1U << 1)
/* Execute one instruction, then post KVMI_EVENT_STEP (sync). */
#define KVMI_REPLY_STEP		(1U << 2)
/* Execute one instruction on view, go back to the present view, no event. */
#define KVMI_REPLY_FAST_STEP	(1U << 3)
/* Inject something after the action; not with a step. */
#define KVMI_REPLY_INJECT	(1U << 4)
/*
 * Write value, or have the guest read it, in place of its own: with
 * KVMI_ACTION_CONTINUE on KVMI_EVENT_X86_CR and KVMI_EVENT_X86_MSR. The guest's
 * registers do not show it.
 */
#define KVMI_REPLY_VALUE	(1U << 5)
/* Set the register sets of sets before the action: all of them, or a bad reply. */
#define KVMI_REPLY_SETS		(1U << 6)

/* KVMI_REPLY_MAX_SETS - room for register sets in a reply, bytes */
#define KVMI_REPLY_MAX_SETS	1024

/**
 * struct kvmi_reply - answer to an event with KVMI_EVENT_F_SYNC
 * @size: sizeof(struct kvmi_reply)
 * @action: enum kvmi_action
 * @flags: KVMI_REPLY_*; at most one of VIEW and FAST_STEP, at most one of STEP
 *	and FAST_STEP; the steps go with KVMI_ACTION_RETRY, and with
 *	KVMI_ACTION_CONTINUE on KVMI_EVENT_STEP
 * @view: for KVMI_REPLY_VIEW and KVMI_REPLY_FAST_STEP
 * @reg_mask: bit n: set register n of enum kvmi_x86_gpr. Setting another RIP
 *	goes with KVMI_ACTION_RETRY, and with KVMI_ACTION_CONTINUE on
 *	KVMI_EVENT_STEP; else the reply is bad.
 * @pad: 0
 * @id: kvmi_event.id; written last, with release semantics
 * @gprs: the registers; read with KVMI_REPLY_REGS alone
 * @inject: for KVMI_REPLY_INJECT; EAGAIN, see KVMI_INJECT, makes the reply bad.
 *	With KVMI_ACTION_RETRY it comes before the instruction
 * @value: for KVMI_REPLY_VALUE
 * @sets: for KVMI_REPLY_SETS: KVMI_REGS_* but KVMI_REGS_GENERAL
 * @pad2: 0
 * @set_data: these, as for KVMI_SET_REGS
 *
 * More may come behind, as the page has room: a kernel that does not know all of
 * @size takes it if the rest is zero.
 *
 * A reply with another id than that of the open event is ignored. A bad reply
 * is counted, reported in kvmi_ring_header.last_error, and becomes the session's
 * default action, so that no guest stays stopped by it.
 */
struct kvmi_reply {
	__u32 size;
	__u32 action;
	__u32 flags;
	__u32 view;
	__u32 reg_mask;
	__u32 pad;
	__aligned_u64 id;
	struct kvmi_x86_gprs gprs;
	struct kvmi_x86_injection inject;
	__aligned_u64 value;
	__u32 sets;
	__u32 pad2;
	__u8 set_data[KVMI_REPLY_MAX_SETS] __attribute__((aligned(8)));
};

/* Bits of kvmi_ring_tool.flags. */
/*
 * The tool watches the ring and will answer soon: the vCPU had better watch the
 * reply for a while (yielding its CPU if there is but one) than sleep.
 */
#define KVMI_TOOL_POLLS		(1U << 0)

/**
 * struct kvmi_ring_tool - the tool's part of a ring; never trusted by the kernel
 * @consumer: bytes consumed; written with release semantics
 * @flags: KVMI_TOOL_*
 * @pad: 0
 * @pad2: 0; the reply has cache lines of its own
 * @reply: the answer to the open event
 */
struct kvmi_ring_tool {
	__aligned_u64 consumer;
	__u32 flags;
	__u32 pad;
	__aligned_u64 pad2[6];
	struct kvmi_reply reply;
};

/* Bits of kvmi_wait.flags. */
#define KVMI_WAIT_F_TIMEOUT	(1U << 0)	/* timeout_ns is meant */

/**
 * struct kvmi_wait - argument of KVMI_WAIT, the reply-and-wait call
 * @size: sizeof(struct kvmi_wait)
 * @flags: KVMI_WAIT_F_*
 * @kick: vCPU whose reply was written, KVMI_VCPU_ALL, or KVMI_VCPU_NONE
 * @wait: vCPU whose ring is to have an unread record before the call returns,
 *	KVMI_VCPU_ALL for any ring, or KVMI_VCPU_NONE to return at once
 * @timeout_ns: with KVMI_WAIT_F_TIMEOUT: nanoseconds to wait at most; 0 looks
 *	only
 *
 * A ring has an unread record while kvmi_ring_header.producer and
 * kvmi_ring_tool.consumer differ. Returns 0, or -1 with ETIMEDOUT, EINTR, or
 * ENODEV when the VM is gone. poll(2) on the session descriptor is the same
 * wait: EPOLLIN for a record in any ring, EPOLLHUP when the VM is gone.
 */
struct kvmi_wait {
	__u32 size;
	__u32 flags;
	__u32 kick;
	__u32 wait;
	__aligned_u64 timeout_ns;
};

/* ---- pause, registers, memory ---------------------------------------------- */

/**
 * struct kvmi_pause - argument of KVMI_PAUSE and KVMI_RESUME
 * @size: sizeof(struct kvmi_pause)
 * @flags: must be 0
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @pad: 0
 *
 * When KVMI_PAUSE returns 0 the vCPU executes no guest instruction until a
 * KVMI_RESUME for each KVMI_PAUSE, or the end of the session. Its thread can
 * still be interrupted by the VMM. EINTR: nothing is paused. KVMI_RESUME of one
 * that is not paused: EINVAL.
 */
struct kvmi_pause {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 pad;
};

/**
 * struct kvmi_regs - argument of KVMI_GET_REGS and KVMI_SET_REGS
 * @size: sizeof(struct kvmi_regs)
 * @flags: must be 0
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @sets: KVMI_REGS_*, one or more
 * @buf: address of the register sets, in order of bits, without gaps; with
 *	KVMI_VCPU_ALL those of every vCPU, in order of indices
 * @buf_size: bytes at @buf
 * @pad: 0
 *
 * At any time: the vCPU runs on if it was running. Of one vCPU all is written or
 * nothing; with KVMI_VCPU_ALL those before the one that failed are written: pause
 * the VM, and write them back. ENOSPC: @buf_size is too small. EAGAIN: what is to
 * be written must be written by a thread of the VMM (PDPTRs, paravirtual MSRs),
 * and the vCPU's is outside of KVM_RUN. EINTR: nothing was done.
 */
struct kvmi_regs {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 sets;
	__aligned_u64 buf;
	__u32 buf_size;
	__u32 pad;
};

/**
 * enum kvmi_state_kind - state of a vCPU that has no fixed size
 * @KVMI_STATE_XSAVE: FPU and extended state in the standard format of XSAVE (SDM,
 *	Standard Format of XSAVE Area); which components it has is in its header
 * @KVMI_STATE_LAPIC: 1 KiB of registers of the LAPIC, at the offsets of its page
 *	(x2APIC: the same registers). EOPNOTSUPP: the VMM emulates it.
 * @KVMI_STATE_CPUID: struct kvmi_x86_cpuid_entry[]: what CPUID tells the guest;
 *	read only
 * @KVMI_STATE_CONTROL: AMD: the VMCB, 4 KiB (APM, Layout of VMCB); Intel: struct
 *	kvmi_x86_vmcs_field[], every field that the CPU has; read only. In a nested
 *	guest, those that it runs on.
 */
enum kvmi_state_kind {
	KVMI_STATE_XSAVE = 1,
	KVMI_STATE_LAPIC = 2,
	KVMI_STATE_CPUID = 3,
	KVMI_STATE_CONTROL = 4,
};

/**
 * struct kvmi_state - argument of KVMI_GET_STATE and KVMI_SET_STATE
 * @size: sizeof(struct kvmi_state)
 * @flags: must be 0
 * @vcpu: index of the vCPU
 * @kind: enum kvmi_state_kind
 * @buf: address of the state
 * @buf_size: bytes at @buf; KVMI_SET_STATE: as many as there are
 * @out_size: bytes that there are, also with ENOSPC
 *
 * At any time, as KVMI_GET_REGS. ENOSPC: @buf_size is too small, and nothing was
 * read. EINVAL: also what KVM refuses to set, and a kind that cannot be set.
 */
struct kvmi_state {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 kind;
	__aligned_u64 buf;
	__u32 buf_size;
	__u32 out_size;
};

/* Entries of one KVMI_GET_MSRS or KVMI_SET_MSRS. */
#define KVMI_MAX_MSR_LIST	1024

/**
 * struct kvmi_msrs - argument of KVMI_GET_MSRS and KVMI_SET_MSRS
 * @size: sizeof(struct kvmi_msrs)
 * @flags: must be 0
 * @vcpu: index of the vCPU
 * @nr: entries, at most KVMI_MAX_MSR_LIST
 * @msrs: address of struct kvmi_x86_msr[]
 * @out_bad: KVMI_SET_MSRS: with EINVAL or EAGAIN the entry that was refused
 * @pad: 0
 *
 * Any MSR that KVM knows, as the VMM reads and writes them (KVM_GET_MSRS,
 * KVM_SET_MSRS). Reading, each entry has its own error. Writing, all are written
 * in order, or none.
 */
struct kvmi_msrs {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 nr;
	__aligned_u64 msrs;
	__u32 out_bad;
	__u32 pad;
};

/**
 * struct kvmi_phys - argument of KVMI_READ_PHYS and KVMI_WRITE_PHYS
 * @size: sizeof(struct kvmi_phys)
 * @flags: must be 0
 * @gpa: guest-physical address
 * @len: bytes, any number, across pages and slots; at most 1 GiB
 * @buf: address of the caller's buffer
 * @out_done: bytes transferred, also on an error: the error is that of the byte
 *	behind them
 *
 * Guest memory as the guest has it, whatever views say. A write marks the pages
 * dirty for live migration. ENXIO: not backed by memory (MMIO, holes). EROFS:
 * write to a read-only slot.
 */
struct kvmi_phys {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 buf;
	__aligned_u64 out_done;
};

/**
 * struct kvmi_space - a virtual address space of the guest
 * @root: root of its page tables (on x86 CR3; what is no address in it is
 *	ignored); 0 if @mode is 0
 * @mode: how they are built (on x86 enum kvmi_x86_paging); 0: root and mode are
 *	those that @vcpu has at the time
 * @vcpu: index of the vCPU; KVMI_VCPU_NONE unless @mode is 0
 *
 * Only with @mode 0 a vCPU is disturbed. EAGAIN: it runs a nested guest.
 */
struct kvmi_space {
	__aligned_u64 root;
	__u32 mode;
	__u32 vcpu;
};

/* Bits of kvmi_translation.out_flags. */
#define KVMI_TRANSLATION_USER		(1U << 0)	/* unprivileged code may, too */
#define KVMI_TRANSLATION_RESERVED	(1U << 1)	/* reserved bits are set */

/**
 * struct kvmi_translation - a virtual address, and what the page tables make of it
 * @gva: guest-virtual address
 * @out_gpa: guest-physical address; there need not be memory
 * @out_entry: guest-physical address of the last entry that was looked at
 * @out_value: that entry
 * @out_error: 0, or a negative errno: -EADDRNOTAVAIL: @out_value is not present,
 *	or has reserved bits set; -ENXIO: there is no memory at @out_entry;
 *	-EINVAL: @gva is none in this mode (not canonical, more than 32 bits)
 * @out_access: KVMI_ACCESS_*, of all levels together
 * @out_flags: KVMI_TRANSLATION_*
 * @out_level: of @out_entry: 1 is that of the smallest pages; 0 if there is none
 * @out_shift: the page, or what the entry would map, has 1 << @out_shift bytes
 * @out_pad: 0
 *
 * What is 0 on an error: @out_gpa and @out_access.
 */
struct kvmi_translation {
	__aligned_u64 gva;
	__aligned_u64 out_gpa;
	__aligned_u64 out_entry;
	__aligned_u64 out_value;
	__s32 out_error;
	__u16 out_access;
	__u16 out_flags;
	__u16 out_level;
	__u16 out_shift;
	__u32 out_pad;
};

/**
 * struct kvmi_translate - argument of KVMI_TRANSLATE
 * @size: sizeof(struct kvmi_translate)
 * @flags: must be 0
 * @list: address of an array of @nr struct kvmi_translation
 * @nr: entries, at most 65,536; with none, @out_space alone is told
 * @out_done: entries that were dealt with, from the first on; also on an error
 * @out_failed: of these, how many have an @out_error
 * @pad: 0
 * @space: in which address space
 * @out_space: the same with its root and mode, to be used again
 *
 * The page tables are read as they stand in memory: the vCPU may have others in
 * its TLB, and the guest may change them meanwhile. Nothing is written to them.
 */
struct kvmi_translate {
	__u32 size;
	__u32 flags;
	__aligned_u64 list;
	__u32 nr;
	__u32 out_done;
	__u32 out_failed;
	__u32 pad;
	struct kvmi_space space;
	struct kvmi_space out_space;
};

/**
 * struct kvmi_rw - one access to guest memory
 * @addr: guest-physical address; with KVMI_RW_VIRT a virtual one
 * @buf: address of the caller's buffer
 * @len: bytes, any number, across pages and slots; at most 1 GiB
 * @flags: must be 0
 * @out_done: bytes transferred, also on an error
 * @out_error: 0, or the negative errno of the byte behind them: -ENXIO, -EROFS,
 *	-EFAULT (@buf), -EINVAL (@flags, @len, or an @addr that is none), and
 *	-EADDRNOTAVAIL with KVMI_RW_VIRT
 */
struct kvmi_rw {
	__aligned_u64 addr;
	__aligned_u64 buf;
	__u32 len;
	__u32 flags;
	__u32 out_done;
	__s32 out_error;
};

/* Bits of kvmi_rw_list.flags. */
#define KVMI_RW_WRITE		(1U << 0)	/* to the guest; else from it */
#define KVMI_RW_VIRT		(1U << 1)	/* addresses are virtual, of space */

/**
 * struct kvmi_rw_list - argument of KVMI_RW_LIST
 * @size: sizeof(struct kvmi_rw_list)
 * @flags: KVMI_RW_*
 * @list: address of an array of @nr struct kvmi_rw
 * @nr: entries, at most 65,536
 * @out_done: entries that were dealt with, from the first on; also on an error
 * @out_failed: of these, how many have an @out_error
 * @pad: 0
 * @space: with KVMI_RW_VIRT the address space; else 0
 *
 * Each entry is what KVMI_READ_PHYS or KVMI_WRITE_PHYS do. They are done in
 * order, and one that fails says so itself and leaves the others alone. The call
 * fails where it cannot go on: EINTR, ENODEV, ENOMEM, or EFAULT for @list; then
 * the entry numbered @out_done may have been done in part, and says how far.
 * Virtual memory is written whether the page tables allow it or not.
 */
struct kvmi_rw_list {
	__u32 size;
	__u32 flags;
	__aligned_u64 list;
	__u32 nr;
	__u32 out_done;
	__u32 out_failed;
	__u32 pad;
	struct kvmi_space space;
};

/**
 * struct kvmi_get_map - argument of KVMI_GET_MAP
 * @size: sizeof(struct kvmi_get_map)
 * @flags: must be 0
 * @out_offset: where guest-physical address 0 is in the mmap(2) offsets of the
 *	session's descriptor
 * @out_size: bytes from there to the end of the highest memory slot
 *
 * Guest memory can then be mapped, MAP_SHARED and PROT_READ; any part, holes
 * included, also such as may get memory later. Nothing is copied: what the
 * mapping shows is what the guest has, until the session ends. Memory that the
 * host has swapped out comes back when it is looked at, and none is kept from
 * the host. Where the guest has no memory, or no more, and after the session's
 * end, a look at the mapping is a SIGBUS. The kernel itself does not read from it
 * for the tool's system calls that pin pages (O_DIRECT and the like: EFAULT). While
 * a process has such a mapping, KVM_CREATE_VM and whatever else registers an MMU
 * notifier on it is EBUSY.
 *
 * EOPNOTSUPP: KVM's functions cannot be hooked (the log says which).
 */
struct kvmi_get_map {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_offset;
	__aligned_u64 out_size;
};

/**
 * struct kvmi_inject - argument of KVMI_INJECT
 * @size: sizeof(struct kvmi_inject)
 * @flags: must be 0
 * @vcpu: index of the vCPU
 * @pad: 0
 * @what: an exception, interrupt or NMI
 * @out_injection: what its KVMI_EVENT_INJECTED will name
 *
 * At any time. It is queued where the guest cannot take it now, one of each type:
 * EAGAIN if there is one on its way, or with the flag that forbids to queue it.
 * Where an event is open, it comes after the answer. The end of the session drops
 * what KVM has not got yet.
 */
struct kvmi_inject {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 pad;
	struct kvmi_x86_injection what;
	__aligned_u64 out_injection;
};

/* Operations of one KVMI_BATCH. */
#define KVMI_MAX_BATCH		1024

/**
 * struct kvmi_batch_op - one call of a batch
 * @cmd: an ioctl of the session: KVMI_*; not KVMI_WAIT, KVMI_DETACH, KVMI_BATCH
 * @out_error: 0, or the negative errno of the call
 * @arg: address of its struct
 */
struct kvmi_batch_op {
	__u32 cmd;
	__s32 out_error;
	__aligned_u64 arg;
};

/* Bits of kvmi_batch.flags. */
#define KVMI_BATCH_STOP		(1U << 0)	/* at the first call that fails */

/**
 * struct kvmi_batch - argument of KVMI_BATCH
 * @size: sizeof(struct kvmi_batch)
 * @flags: KVMI_BATCH_*
 * @ops: address of an array of @nr struct kvmi_batch_op
 * @nr: calls, 1 to KVMI_MAX_BATCH
 * @out_done: calls that were made, from the first on; also on an error
 * @out_failed: of these, how many have an @out_error
 * @pad: 0
 *
 * They are made in order, each as if by itself: other threads may come between
 * two. The batch itself fails where it cannot go on: EINTR, or EFAULT for @ops.
 */
struct kvmi_batch {
	__u32 size;
	__u32 flags;
	__aligned_u64 ops;
	__u32 nr;
	__u32 out_done;
	__u32 out_failed;
	__u32 pad;
};

/* ---- views ----------------------------------------------------------------- */

/**
 * struct kvmi_view - argument of KVMI_VIEW_CREATE, _DESTROY and _SWITCH
 * @size: sizeof(struct kvmi_view)
 * @flags: must be 0
 * @view: the view to destroy or switch to (KVMI_VIEW_DEFAULT goes for a switch);
 *	set by the kernel for KVMI_VIEW_CREATE
 * @default_access: KVMI_VIEW_CREATE: KVMI_ACCESS_* of pages whose access was not
 *	set; 0 for the others
 * @vcpu: KVMI_VIEW_SWITCH: index of the vCPU, or KVMI_VCPU_ALL; 0 for the others
 * @pad: 0
 *
 * A view that is destroyed is left by every vCPU first, for the default view.
 * When a switch returns, no vCPU concerned runs on another view, save by an
 * answer that was given meanwhile. In a nested guest and in SMM, a vCPU runs on
 * KVM's own tables whatever its view.
 */
struct kvmi_view {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 default_access;
	__u32 vcpu;
	__u32 pad;
};

/** KVMI_ACCESS_DEFAULT - the page has its view's default access again */
#define KVMI_ACCESS_DEFAULT	0xff

/**
 * struct kvmi_access_range - access rights of a range of pages
 * @gfn: first guest frame number
 * @nr_pages: 4 KiB pages, not 0
 * @access: KVMI_ACCESS_*, or KVMI_ACCESS_DEFAULT
 */
struct kvmi_access_range {
	__aligned_u64 gfn;
	__u32 nr_pages;
	__u32 access;
};

/**
 * struct kvmi_access - argument of KVMI_ACCESS_SET and KVMI_ACCESS_GET
 * @size: sizeof(struct kvmi_access)
 * @flags: must be 0
 * @view: the view, not the default one
 * @nr: ranges, 1 to 65,536
 * @ranges: address of an array of @nr struct kvmi_access_range. KVMI_ACCESS_GET
 *	takes ranges of one page each, and stores their access.
 * @out_bad: index of the range for which the call failed
 * @pad: 0
 *
 * All ranges are set, or none. When the call returns, no vCPU can make use of
 * rights that were taken away. ENOENT: no such view; ENXIO: a page that no
 * memory slot has; EOPNOTSUPP: rights that the CPU cannot express, or pages
 * that KVM keeps for itself (APIC access page, identity map, TSS).
 */
struct kvmi_access {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 nr;
	__aligned_u64 ranges;
	__u32 out_bad;
	__u32 pad;
};

#endif /* _UAPI_LINUX_KVMI_H */
