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
 * ENOENT        no such vCPU, view, page, memory slot or event
 * EBUSY         somebody else has it: the VM is controlled by another session; a
 *               frame number is taken
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
 * ENOSPC        a limit of kvmi is reached (views, pages, MSRs, ring size), or the
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
#define KVMI_GET_VIEWS		_IO(KVMI_IOC_TYPE, 0x35)
#define KVMI_VIEW_CHECK		_IO(KVMI_IOC_TYPE, 0x36)
#define KVMI_REMAP		_IO(KVMI_IOC_TYPE, 0x37)
#define KVMI_PAGE_ALLOC		_IO(KVMI_IOC_TYPE, 0x38)
#define KVMI_PAGE_FREE		_IO(KVMI_IOC_TYPE, 0x39)
#define KVMI_WATCH_BYTES	_IO(KVMI_IOC_TYPE, 0x3a)
#define KVMI_VIEW_LINK		_IO(KVMI_IOC_TYPE, 0x3b)
#define KVMI_BREAKPOINT_SET	_IO(KVMI_IOC_TYPE, 0x3c)
#define KVMI_BREAKPOINT_CLEAR	_IO(KVMI_IOC_TYPE, 0x3d)
#define KVMI_BREAKPOINT_GET	_IO(KVMI_IOC_TYPE, 0x3e)
#define KVMI_SNAPSHOT		_IO(KVMI_IOC_TYPE, 0x3f)
#define KVMI_INJECT		_IO(KVMI_IOC_TYPE, 0x40)
#define KVMI_BATCH		_IO(KVMI_IOC_TYPE, 0x41)
#define KVMI_GET_EXITS		_IO(KVMI_IOC_TYPE, 0x42)

/** KVMI_VCPU_ALL - every vCPU of the VM, where a vCPU index is asked for */
#define KVMI_VCPU_ALL		0xffffffffU
/** KVMI_VCPU_NONE - no vCPU, where a vCPU index is asked for */
#define KVMI_VCPU_NONE		0xfffffffeU

/** KVMI_VCPU_VM - the VM itself, where a vCPU index is asked for: its own ring */
#define KVMI_VCPU_VM		0xfffffffdU

/** KVMI_VIEW_DEFAULT - KVM's own second-level page table; cannot be changed */
#define KVMI_VIEW_DEFAULT	0
/** KVMI_VIEW_ALL - every view but the default one, where a view is asked for */
#define KVMI_VIEW_ALL		0xffffffffU

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
#define KVMI_FEATURE_STOP_CLOCKS (1ULL << 19)	/* KVMI_POLICY_STOP_CLOCKS */
#define KVMI_FEATURE_VIEW_INFO	(1ULL << 20)	/* KVMI_GET_VIEWS, KVMI_VIEW_CHECK */
#define KVMI_FEATURE_REMAP	(1ULL << 21)	/* KVMI_REMAP, KVMI_PAGE_*, reads by view */
#define KVMI_FEATURE_RELAX	(1ULL << 22)	/* KVMI_ACCESS_TO_* */
#define KVMI_FEATURE_NO_WALKS	(1ULL << 23)	/* KVMI_VIEW_F_NO_WALKS */
#define KVMI_FEATURE_ELEMENTS	(1ULL << 24)	/* KVMI_CONTROL_ELEMENTS */
#define KVMI_FEATURE_BYTES	(1ULL << 25)	/* KVMI_WATCH_BYTES */
#define KVMI_FEATURE_LINK	(1ULL << 26)	/* KVMI_VIEW_LINK */
#define KVMI_FEATURE_SNAPSHOT	(1ULL << 27)	/* KVMI_SNAPSHOT */
#define KVMI_FEATURE_STAND_IN	(1ULL << 28)	/* KVMI_REPLY_STAND_IN */
#define KVMI_FEATURE_BREAKPOINTS (1ULL << 29)	/* KVMI_BREAKPOINT_* */

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
 * KVMI_POLICY_STOP_CLOCKS - while the session has all vCPUs of the VM stand, by
 *	KVMI_PAUSE with KVMI_VCPU_ALL or by an event with KVMI_CONTROL_STOP, the
 *	guest's TSCs, kvmclock and TSC-deadline timers stand still; for stops that
 *	begin after this call. EOPNOTSUPP where the host's TSC is not stable.
 */
#define KVMI_POLICY_STOP_CLOCKS	(1U << 0)

/**
 * struct kvmi_policy - argument of KVMI_SET_POLICY
 * @size: sizeof(struct kvmi_policy)
 * @flags: KVMI_POLICY_STOP_CLOCKS, or 0
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
 * @out_counted: events of KVMI_MODE_COUNT
 *
 * Each session has its own figures; the waits are those for the session that
 * controls the VM.
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
	__aligned_u64 out_counted;
};

/** KVMI_EXIT_OTHER - as kvmi_exit_count.reason: all that have no counter of their own */
#define KVMI_EXIT_OTHER		0xffffffffU

/**
 * struct kvmi_exit_count - how many exits of a reason there were
 * @reason: as in kvmi_x86_ev_exit, or KVMI_EXIT_OTHER
 * @pad: 0
 * @count: that many
 */
struct kvmi_exit_count {
	__u32 reason;
	__u32 pad;
	__aligned_u64 count;
};

/**
 * struct kvmi_exits - argument of KVMI_GET_EXITS
 * @size: sizeof(struct kvmi_exits)
 * @flags: must be 0
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL for the sum
 * @nr: room in the array
 * @counts: address of an array of struct kvmi_exit_count, filled in order of reason
 * @out_nr: reasons of which there was an exit; more than @nr means that only @nr
 *	were stored
 * @pad: 0
 *
 * What the session has counted by KVMI_EVENT_X86_EXIT with KVMI_MODE_COUNT, since it
 * first asked for that. Reasons that processors have today have a counter each.
 */
struct kvmi_exits {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 nr;
	__aligned_u64 counts;
	__u32 out_nr;
	__u32 pad;
};

/* Bits of kvmi_reset.what. */
#define KVMI_RESET_EVENTS	(1U << 0)	/* all off, none open, no steps, no rates */
/* All destroyed, pages of KVMI_PAGE_ALLOC freed, those of KVMI_BREAKPOINT_SET cleared. */
#define KVMI_RESET_VIEWS	(1U << 1)
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
 * @vcpu: index of the vCPU, or KVMI_VCPU_VM
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
 * @vcpu: index of the vCPU, or KVMI_VCPU_VM
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
 * @KVMI_EVENT_VM: something has become of the VM, or is about to: struct kvmi_ev_vm;
 *	on the VM's own ring
 * @KVMI_EVENT_VCPU: the vCPU was reset, started, halted: struct kvmi_ev_vcpu;
 *	KVMI_MODE_SYNC is not for it
 * @KVMI_EVENT_HYPERCALL: a hypercall: struct kvmi_ev_hypercall
 * @KVMI_EVENT_MMIO: a read from or write to a device, with its data: struct
 *	kvmi_ev_mmio; KVMI_MODE_SYNC is not for it
 * @KVMI_EVENT_X86_CR: access to a control register: struct kvmi_x86_ev_cr
 * @KVMI_EVENT_X86_MSR: RDMSR or WRMSR: struct kvmi_x86_ev_msr
 * @KVMI_EVENT_X86_CPUID: CPUID: struct kvmi_x86_ev_cpuid
 * @KVMI_EVENT_X86_XSETBV: XSETBV: struct kvmi_x86_ev_xsetbv
 * @KVMI_EVENT_X86_DR: MOV to or from a debug register: struct kvmi_x86_ev_dr
 * @KVMI_EVENT_X86_EXCEPTION: an exception of the guest, before its delivery: struct
 *	kvmi_x86_ev_exception
 * @KVMI_EVENT_X86_DTABLE: a descriptor-table register is read or written: struct
 *	kvmi_x86_ev_dtable
 * @KVMI_EVENT_X86_IO: IN, OUT, INS, OUTS: struct kvmi_x86_ev_io
 * @KVMI_EVENT_X86_INSN: one of some other instructions, or what has no instruction
 *	of its own: struct kvmi_x86_ev_insn
 * @KVMI_EVENT_X86_DELIVERY: an event was injected into the guest: struct
 *	kvmi_x86_ev_delivery; KVMI_MODE_SYNC is not for it
 * @KVMI_EVENT_X86_EXIT: any exit: struct kvmi_x86_ev_exit
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
	KVMI_EVENT_VM = 6,
	KVMI_EVENT_VCPU = 7,
	KVMI_EVENT_HYPERCALL = 8,
	KVMI_EVENT_MMIO = 9,
	KVMI_EVENT_X86_CR = 32,
	KVMI_EVENT_X86_MSR = 33,
	KVMI_EVENT_X86_CPUID = 34,
	KVMI_EVENT_X86_XSETBV = 35,
	KVMI_EVENT_X86_DR = 36,
	KVMI_EVENT_X86_EXCEPTION = 37,
	KVMI_EVENT_X86_DTABLE = 38,
	KVMI_EVENT_X86_IO = 39,
	KVMI_EVENT_X86_INSN = 40,
	KVMI_EVENT_X86_DELIVERY = 41,
	KVMI_EVENT_X86_EXIT = 42,
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
 * @vcpu: index of the vCPU, or KVMI_VCPU_VM
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
#define KVMI_ACCESS_F_GONE	(1U << 2)	/* what the view shows there is no more */
#define KVMI_ACCESS_F_RELAXED	(1U << 3)	/* rights have changed: KVMI_ACCESS_TO_* */
#define KVMI_ACCESS_F_CHANGED	(1U << 4)	/* watched bytes have: KVMI_WATCH_BYTES */

/**
 * struct kvmi_ev_access - payload of KVMI_EVENT_ACCESS
 * @gpa: guest-physical address of the access
 * @gva: guest-virtual address, if KVMI_ACCESS_F_GVA
 * @access: KVMI_ACCESS_*: what was attempted (several bits where the CPU does
 *	not tell them apart)
 * @allowed: KVMI_ACCESS_*: what the view allows on this page
 * @flags: KVMI_ACCESS_F_*
 * @pad: 0
 * @old_value: with KVMI_ACCESS_F_CHANGED: the 8 bytes at @gpa, a multiple of 8, before
 *	the instruction; the first of which watched ones have changed
 * @new_value: and after it
 */
struct kvmi_ev_access {
	__aligned_u64 gpa;
	__aligned_u64 gva;
	__u32 access;
	__u32 allowed;
	__u32 flags;
	__u32 pad;
	__aligned_u64 old_value;
	__aligned_u64 new_value;
};

/* Bits of kvmi_ev_breakpoint.flags. */
#define KVMI_BREAKPOINT_F_SET	(1U << 0)	/* it is one of KVMI_BREAKPOINT_SET */

/**
 * struct kvmi_ev_breakpoint - payload of KVMI_EVENT_BREAKPOINT
 * @pc: program counter (on x86 RIP) of the breakpoint instruction
 * @insn_len: its length, bytes
 * @flags: KVMI_BREAKPOINT_F_*
 * @gpa: with KVMI_BREAKPOINT_F_SET: its guest-physical address; else 0
 *
 * With KVMI_BREAKPOINT_F_SET, KVMI_ACTION_CONTINUE does not give it to the guest, but
 * executes one instruction on the default view; KVMI_ACTION_SKIP is refused.
 */
struct kvmi_ev_breakpoint {
	__aligned_u64 pc;
	__u32 insn_len;
	__u32 flags;
	__aligned_u64 gpa;
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
 * enum kvmi_vm_change - what has become of a VM
 * @KVMI_VM_SLOT_CREATED: it has a new memory slot
 * @KVMI_VM_SLOT_DELETED: it has one less
 * @KVMI_VM_SLOT_MOVED: one is at another address
 * @KVMI_VM_SLOT_FLAGS: one has other flags
 * @KVMI_VM_VCPU_CREATED: a new vCPU begins to run
 * @KVMI_VM_LEAVING: the VMM is about to have writes to the largest memory slot
 *	logged, as it does when it migrates or saves the VM: what a tool has changed
 *	in guest memory should be taken back now. With KVMI_MODE_SYNC the VMM's thread
 *	waits for the answer, KVMI_ACTION_CONTINUE, for as long as KVMI_SET_POLICY
 *	says, but 10 seconds at most.
 * @KVMI_VM_STAYING: that has ended, and the VM is here still
 * @KVMI_VM_GONE: it is no more; the last record
 *
 * In this order as the index of KVMI_CONTROL_EVENT.
 */
enum kvmi_vm_change {
	KVMI_VM_SLOT_CREATED = 1,
	KVMI_VM_SLOT_DELETED = 2,
	KVMI_VM_SLOT_MOVED = 3,
	KVMI_VM_SLOT_FLAGS = 4,
	KVMI_VM_VCPU_CREATED = 5,
	KVMI_VM_LEAVING = 6,
	KVMI_VM_STAYING = 7,
	KVMI_VM_GONE = 8,
};

/**
 * struct kvmi_ev_vm - payload of KVMI_EVENT_VM
 * @change: enum kvmi_vm_change
 * @slot: id of the memory slot, where it is about one; the next five likewise
 * @gfn: its first guest frame number; of one that is gone, where it was
 * @nr_pages: its 4 KiB pages
 * @old_gfn: as @gfn, before
 * @flags: KVMI_SLOT_*
 * @old_flags: as @flags, before
 * @vcpu: index of the vCPU, where it is about one
 * @pad: 0
 */
struct kvmi_ev_vm {
	__u32 change;
	__u32 slot;
	__aligned_u64 gfn;
	__aligned_u64 nr_pages;
	__aligned_u64 old_gfn;
	__u32 flags;
	__u32 old_flags;
	__u32 vcpu;
	__u32 pad;
};

/**
 * enum kvmi_vcpu_change - what has become of a vCPU
 * @KVMI_VCPU_INIT: it was reset, by INIT
 * @KVMI_VCPU_STARTED: it was started, on x86 by a SIPI
 * @KVMI_VCPU_HALTS: it has executed HLT, and waits
 * @KVMI_VCPU_WAKES: it runs again
 * @KVMI_VCPU_RESET: the VMM has set it to the state after a reset
 * @KVMI_VCPU_SMM: on x86: it enters system management mode
 * @KVMI_VCPU_SMM_LEFT: and is back
 */
enum kvmi_vcpu_change {
	KVMI_VCPU_INIT = 1,
	KVMI_VCPU_STARTED = 2,
	KVMI_VCPU_HALTS = 3,
	KVMI_VCPU_WAKES = 4,
	KVMI_VCPU_RESET = 5,
	KVMI_VCPU_SMM = 6,
	KVMI_VCPU_SMM_LEFT = 7,
};

/**
 * struct kvmi_ev_vcpu - payload of KVMI_EVENT_VCPU
 * @change: enum kvmi_vcpu_change, which is the index of KVMI_CONTROL_EVENT
 * @pad: 0
 * @pc: program counter; KVMI_VCPU_STARTED: where it starts
 */
struct kvmi_ev_vcpu {
	__u32 change;
	__u32 pad;
	__aligned_u64 pc;
};

/**
 * KVMI_HYPERCALL - number of hypercalls for tools, by which no hypervisor is called
 *
 * A guest asks a tool, which answers KVMI_ACTION_SKIP with registers set. Where
 * nobody watches, KVM refuses it (on x86 -1000 in RAX, KVM_ENOSYS, or -1, KVM_EPERM,
 * outside of ring 0).
 */
#define KVMI_HYPERCALL		0x4b564d49U

/**
 * struct kvmi_ev_hypercall - payload of KVMI_EVENT_HYPERCALL
 * @nr: number; its lower 32 bits are the index of KVMI_CONTROL_EVENT
 * @args: arguments: on x86 RBX, RCX, RDX, RSI as KVM has them (and RDI, R8)
 * @privilege: on x86 the ring that it comes from
 * @insn_len: length of the instruction, or 0 if it is not known
 */
struct kvmi_ev_hypercall {
	__aligned_u64 nr;
	__aligned_u64 args[6];
	__u32 privilege;
	__u32 insn_len;
};

/* Bits of kvmi_ev_mmio.flags. */
#define KVMI_MMIO_WRITE		(1U << 0)

/**
 * struct kvmi_ev_mmio - payload of KVMI_EVENT_MMIO
 * @gpa: guest-physical address; its frame number, lower 32 bits, is the index of
 *	KVMI_CONTROL_EVENT
 * @value: what is written, or was read; of more than 8 bytes the first 8
 * @bytes: how many
 * @flags: KVMI_MMIO_*
 */
struct kvmi_ev_mmio {
	__aligned_u64 gpa;
	__aligned_u64 value;
	__u32 bytes;
	__u32 flags;
};

/**
 * enum kvmi_event_mode - how events of a kind are delivered
 * @KVMI_MODE_OFF: not at all
 * @KVMI_MODE_SYNC: the vCPU waits for the answer
 * @KVMI_MODE_ASYNC: a record is posted and the vCPU goes on at once; if the ring
 *	is full the record is dropped and counted
 * @KVMI_MODE_COUNT: counted (kvmi_stats.out_counted), and nothing else
 */
enum kvmi_event_mode {
	KVMI_MODE_OFF = 0,
	KVMI_MODE_SYNC = 1,
	KVMI_MODE_ASYNC = 2,
	KVMI_MODE_COUNT = 3,
};

/* Bits of kvmi_control_event.flags. */
/*
 * The event stops all other vCPUs before it is posted, until it is answered. With
 * KVMI_MODE_SYNC; for control registers and MSRs: all of the kind. Of two at a
 * time the second one is posted when the first is answered.
 */
#define KVMI_CONTROL_STOP	(1U << 0)
/*
 * KVMI_EVENT_X86_IO: INS and OUTS give an event for each element, not for each
 * instruction: KVMI_X86_IO_ELEMENT. Not with KVMI_MODE_OFF; for all of the kind, as
 * the last call said. While one session wants it of a vCPU, all have it so.
 */
#define KVMI_CONTROL_ELEMENTS	(1U << 1)

/**
 * struct kvmi_control_event - argument of KVMI_CONTROL_EVENT
 * @size: sizeof(struct kvmi_control_event)
 * @flags: KVMI_CONTROL_*
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL (then also for vCPUs to come);
 *	KVMI_EVENT_VM: KVMI_VCPU_VM, or KVMI_VCPU_ALL
 * @kind: enum kvmi_event_kind
 * @mode: enum kvmi_event_mode
 * @regs: KVMI_REGS_*: register sets to come along with the record
 * @index: which: the number of the register, the index of the MSR, the port, vector,
 *	instruction, exit reason, as the kind's payload says; 0 for kinds that have
 *	none
 * @access: KVMI_ACCESS_R, KVMI_ACCESS_W or both, for registers, MSRs and ports (IN
 *	is R); of control registers 0 means KVMI_ACCESS_W; 0 for kinds that have none
 * @mask: of kinds that have an old and a new value: told only if one of these bits
 *	changes; 0: every time. Of a read no bit changes.
 * @rate: how many events of the kind a second are told of each vCPU, 0 for all; the
 *	others are as if the kind was off, and counted as dropped. Not for
 *	KVMI_EVENT_STEP; of control registers and MSRs all together
 * @burst: with @rate: how many may come at once; 0 is as 1
 * @index_last: the last of a range that begins with @index; 0: @index alone. Of MSRs
 *	one at a time
 * @pad: 0
 *
 * Of ranges that overlap the one set last holds. ENOSPC: more than 256 of a kind.
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
	__u32 index_last;
	__u32 pad;
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
 * KVMI_ACTION_CONTINUE on writes of control and debug registers and XCR0, on RDMSR and
 * WRMSR, IN and OUT (no strings), RDTSC, RDTSCP and RDPMC. Of a write the guest's
 * registers do not show it.
 */
#define KVMI_REPLY_VALUE	(1U << 5)
/* Set the register sets of sets before the action: all of them, or a bad reply. */
#define KVMI_REPLY_SETS		(1U << 6)

/*
 * Execute one instruction with stand_ins in the place of the guest's memory, for this
 * vCPU alone, and go on where the view stood. Nothing that the view forbids is an event
 * meanwhile. With KVMI_ACTION_RETRY, without VIEW, STEP, FAST_STEP and INJECT.
 */
#define KVMI_REPLY_STAND_IN	(1U << 7)

/* KVMI_REPLY_MAX_STAND_INS - how many in one reply */
#define KVMI_REPLY_MAX_STAND_INS	4
/* KVMI_STAND_IN_BYTES - supplied by one of them */
#define KVMI_STAND_IN_BYTES	64
/* Bits of kvmi_stand_in.flags. */
/* What the instruction writes to the page is lost. */
#define KVMI_STAND_IN_F_DISCARD	(1U << 0)

/**
 * struct kvmi_stand_in - other memory than the guest's, for one instruction
 * @gpa: where: guest-physical address, in the guest's RAM or a page of KVMI_PAGE_ALLOC
 * @len: bytes of @data that stand there, 0 to KVMI_STAND_IN_BYTES, within a page
 * @flags: KVMI_STAND_IN_F_*, for the whole page
 * @data: what the instruction reads there, or is: its own bytes
 *
 * The page is copied when the answer is acted upon; several may be of one page. Without
 * KVMI_STAND_IN_F_DISCARD, the bytes of the page that the instruction has changed are
 * written to the guest's behind it; those that it leaves as they were are not, be they
 * supplied or not. Other vCPUs see the guest's own memory all the while.
 *
 * An instruction that raises an exception has no effect, and the next time that the
 * guest comes to it there is no stand-in. What KVM itself executes (an operand in MMIO;
 * MOV to SS and POP SS on AMD while they are stepped) has the guest's memory. Where the
 * access was made by the delivery of an interrupt or exception, it is let happen.
 */
struct kvmi_stand_in {
	__aligned_u64 gpa;
	__u32 len;
	__u32 flags;
	__u8 data[KVMI_STAND_IN_BYTES];
};

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
 * @nr_stand_ins: for KVMI_REPLY_STAND_IN: 1 to KVMI_REPLY_MAX_STAND_INS
 * @pad3: 0
 * @stand_ins: these. EOPNOTSUPP: the vCPU is on the default view; EBUSY: the
 *	instruction is executed on another view already; ENXIO: there is no page
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
	__u32 nr_stand_ins;
	__u32 pad3;
	struct kvmi_stand_in stand_ins[KVMI_REPLY_MAX_STAND_INS];
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
 * @kick: vCPU whose reply was written, KVMI_VCPU_ALL, KVMI_VCPU_VM, or
 *	KVMI_VCPU_NONE
 * @wait: vCPU (or KVMI_VCPU_VM) whose ring is to have an unread record before the call returns,
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
 * @view: what this view shows (KVMI_REMAP), whatever its rights
 * @pad: 0
 *
 * Guest memory as the guest has it, or a view. A write marks the pages
 * dirty for live migration. ENXIO: not backed by memory (MMIO, holes). EROFS:
 * write to a read-only slot. ENOENT: no such view.
 */
struct kvmi_phys {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 len;
	__aligned_u64 buf;
	__aligned_u64 out_done;
	__u32 view;
	__u32 pad;
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
 * @view: the page tables are those that this view shows (KVMI_REMAP)
 * @pad2: 0
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
	__u32 view;
	__u32 pad2;
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
 * @view: what this view shows, as in kvmi_phys; page tables included
 * @pad2: 0
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
	__u32 view;
	__u32 pad2;
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

/* Bits of kvmi_view.flags, for KVMI_VIEW_CREATE. */
/*
 * An access by the walk of the guest's page tables (KVMI_ACCESS_F_WALK) to a page that
 * may be read, but not written, is let happen, and is no event: the processor sets
 * accessed and dirty bits, or is taken to. The instruction is stepped; whatever else it
 * does that the view forbids is an event still, save a write of its own to a page table
 * by which its own addresses are translated.
 */
#define KVMI_VIEW_F_NO_WALKS	(1U << 0)

/**
 * struct kvmi_view - argument of KVMI_VIEW_CREATE, _DESTROY and _SWITCH
 * @size: sizeof(struct kvmi_view)
 * @flags: KVMI_VIEW_F_* for KVMI_VIEW_CREATE, else 0
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

/*
 * Rights that change by themselves, once, when the guest first does what they forbid:
 * it goes on at once, and the KVMI_EVENT_ACCESS that tells it, if that is enabled, is
 * asynchronous and has KVMI_ACCESS_F_RELAXED.
 */
/* With any rights but KVMI_ACCESS_RWX: to KVMI_ACCESS_RWX. */
#define KVMI_ACCESS_TO_RWX	(1U << 8)
/* With R and X: by a write, to R and W. */
#define KVMI_ACCESS_TO_RW	(1U << 9)

/**
 * struct kvmi_access_range - access rights of a range of pages
 * @gfn: first guest frame number
 * @nr_pages: 4 KiB pages, not 0
 * @access: KVMI_ACCESS_*, or KVMI_ACCESS_DEFAULT; KVMI_ACCESS_TO_* may go with it
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

/**
 * struct kvmi_view_link - argument of KVMI_VIEW_LINK
 * @size: sizeof(struct kvmi_view_link)
 * @flags: must be 0
 * @view: the view, not the default one
 * @other: another view, not the default one; KVMI_VIEW_DEFAULT: none
 *
 * Where @view forbids the guest to execute what @other lets it execute, the vCPU goes
 * over to @other, and there is no event. So what code sees can depend on where the code
 * is, on processors that cannot let it be executed without letting it be read. An
 * instruction that lies in two pages of which each view executes one is stepped on KVM's
 * own tables. The link ends with either view.
 */
struct kvmi_view_link {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 other;
};

/**
 * struct kvmi_watch_bytes - argument of KVMI_WATCH_BYTES
 * @size: sizeof(struct kvmi_watch_bytes)
 * @flags: must be 0
 * @view: the view, not the default one
 * @len: how many bytes, all in one page; 0: no part of the page is meant any more
 * @gpa: guest-physical address of the first
 *
 * Of a page that the view lets the guest read, but not write (KVMI_ACCESS_SET), writes
 * are let happen, by a step, and told afterwards, if they have changed any of these
 * bytes: KVMI_EVENT_ACCESS with KVMI_ACCESS_F_CHANGED, whose answer has nothing to let
 * happen any more. What happens to the other bytes is no event. One range per page.
 *
 * Of two vCPUs that write at the same time both may be told of what has changed. An
 * instruction that writes to two such pages has an event before it writes to the
 * second one. ENXIO: no memory slot has the page.
 */
struct kvmi_watch_bytes {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 len;
	__aligned_u64 gpa;
};

/* Bits of kvmi_breakpoint.flags. */
#define KVMI_BREAKPOINT_COUNT	(1U << 0)	/* it is no event */

/**
 * struct kvmi_breakpoint - argument of KVMI_BREAKPOINT_SET, _CLEAR and _GET
 * @size: sizeof(struct kvmi_breakpoint)
 * @flags: KVMI_BREAKPOINT_SET: KVMI_BREAKPOINT_*; else 0; KVMI_BREAKPOINT_GET stores
 *	those that it was set with
 * @gpa: guest-physical address of a software breakpoint (on x86 an INT3)
 * @out_hits: KVMI_BREAKPOINT_GET, _CLEAR: how often vCPUs have met it since it was set
 *
 * This only says that the tool has put a breakpoint into the page that a view shows in
 * the place of the one at @gpa (KVMI_REMAP). A vCPU that executes it there, with
 * KVMI_EVENT_BREAKPOINT enabled in any mode, has an event with KVMI_BREAKPOINT_F_SET, or
 * none with KVMI_BREAKPOINT_COUNT, and unless the answer is another one executes the
 * instruction that the default view has there, without another vCPU missing the
 * breakpoint meanwhile. If that is a breakpoint too, it is the guest's. Where the vCPU
 * is taken to the view in order to execute it (KVMI_VIEW_LINK), that is the event.
 *
 * Set it before the breakpoint is in the page, and clear it after it is out: the kernel
 * executes anew what a vCPU has met as a breakpoint and is none any more. EEXIST: it is
 * set already; ENOENT: it is not; ENXIO: no memory slot has the page; ENOSPC: there are
 * 1,048,576. KVMI_RESET_VIEWS clears all.
 */
struct kvmi_breakpoint {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 out_hits;
};

/** KVMI_GFN_NONE - no page, or any, where a guest frame number is asked for */
#define KVMI_GFN_NONE		(~0ULL)

/**
 * struct kvmi_remap_page - what a view shows in the place of a page
 * @gfn: guest frame number, of guest memory or of KVMI_PAGE_ALLOC
 * @source: the page that is shown there: a guest frame number, or one of
 *	KVMI_PAGE_ALLOC, which comes first where both are; KVMI_GFN_NONE: @gfn
 *	itself, as before
 */
struct kvmi_remap_page {
	__aligned_u64 gfn;
	__aligned_u64 source;
};

/**
 * struct kvmi_remap - argument of KVMI_REMAP
 * @size: sizeof(struct kvmi_remap)
 * @flags: must be 0
 * @view: the view, not the default one
 * @nr: pages, 1 to 65,536
 * @pages: address of an array of @nr struct kvmi_remap_page
 * @out_bad: index of the page for which the call failed
 * @pad: 0
 *
 * All are remapped, or none. When the call returns, no vCPU sees on the view what
 * was there before. Rights are those of the page's place, and stay. The guest's
 * writes go to the source, whose page is marked dirty for a migration. A source that
 * has itself another one in the view is shown as it is.
 *
 * What is shown follows the source: what the host does to its page, what the VMM
 * does to its slot. While the source has no memory any more, or where it cannot be
 * written (a read-only slot, a page table of a nested guest that KVM shadows), the
 * access is a KVMI_EVENT_ACCESS that the view does not allow.
 *
 * Only the guest's CPUs see it: KVM's emulator, its paravirtual pages, the VMM and
 * devices access the guest's own memory. ENXIO: no memory slot has one of the pages;
 * EOPNOTSUPP: pages that KVM keeps for itself.
 */
struct kvmi_remap {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 nr;
	__aligned_u64 pages;
	__u32 out_bad;
	__u32 pad;
};

/**
 * enum kvmi_snapshot_op - what KVMI_SNAPSHOT does
 * @KVMI_SNAPSHOT_TAKE: from now on, keep what was in a page before the guest first
 *	writes to it on the view. EBUSY: the view has a snapshot. EINVAL: its default
 *	access has KVMI_ACCESS_W.
 * @KVMI_SNAPSHOT_RESET: put it back, into all pages that were written since the
 *	snapshot or the last reset. EBUSY: some vCPU is not paused (KVMI_PAUSE).
 *	EOVERFLOW: KVMI_SNAPSHOT_F_FULL.
 * @KVMI_SNAPSHOT_DROP: forget it: memory stays as it is
 * @KVMI_SNAPSHOT_QUERY: nothing
 */
enum kvmi_snapshot_op {
	KVMI_SNAPSHOT_TAKE = 1,
	KVMI_SNAPSHOT_RESET = 2,
	KVMI_SNAPSHOT_DROP = 3,
	KVMI_SNAPSHOT_QUERY = 4,
};

/* Bits of kvmi_snapshot.out_flags. */
#define KVMI_SNAPSHOT_F_FULL	(1U << 0)	/* a page was written that is not kept */

/**
 * struct kvmi_snapshot - argument of KVMI_SNAPSHOT
 * @size: sizeof(struct kvmi_snapshot)
 * @flags: must be 0
 * @view: the view, not the default one
 * @op: enum kvmi_snapshot_op
 * @max_pages: KVMI_SNAPSHOT_TAKE: how many pages are kept at most, 1 and up; 0 for the
 *	others
 * @out_pages: pages that are kept
 * @out_done: KVMI_SNAPSHOT_RESET: pages that were put back, also on an error
 * @out_flags: KVMI_SNAPSHOT_F_*
 * @pad: 0
 *
 * A write that only the view's default access forbids is no event then: the page is
 * kept, and can be written on the view until it is put back. Pages whose access was
 * set (KVMI_ACCESS_SET), that show another one (KVMI_REMAP), or of which some bytes are
 * watched (KVMI_WATCH_BYTES), are not kept. One page of the host's memory is taken for
 * each, charged to who took the snapshot, until it is dropped or its view is destroyed.
 * Pages that are put back are marked dirty for a migration. After EINTR the call can be
 * made again.
 *
 * Only what the guest's CPUs write on this view is put back: not what they write on
 * others, in SMM or in a nested guest, nor what the VMM, devices, the tool or KVM's
 * emulator write, except to a page that is put back as a whole. Registers are a matter
 * of KVMI_SET_REGS and the like; kvmi_checkpoint_take(3) sees to both.
 */
struct kvmi_snapshot {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 op;
	__aligned_u64 max_pages;
	__aligned_u64 out_pages;
	__aligned_u64 out_done;
	__u32 out_flags;
	__u32 pad;
};

/**
 * struct kvmi_pages - argument of KVMI_PAGE_ALLOC and KVMI_PAGE_FREE
 * @size: sizeof(struct kvmi_pages)
 * @flags: must be 0
 * @gfn: number of the first page; KVMI_PAGE_ALLOC: KVMI_GFN_NONE for any, which it
 *	is then set to
 * @nr_pages: how many, with numbers in a row
 * @pad: 0
 *
 * Pages of kvmi's own, zeroed, beyond the guest's memory: no memory slot has their
 * numbers, nor another such page (EBUSY), and the guest could have memory there
 * (EINVAL). The guest sees them where a view shows them: KVMI_REMAP, in the place of
 * another page, or of its own number. KVMI_READ_PHYS, KVMI_WRITE_PHYS and KVMI_RW_LIST
 * read and write them by their numbers, at any time. They are part of no migration.
 *
 * The VMM may give the guest memory there later. Then that is what the guest has, and
 * what the calls read and write; views go on showing the page where they did, and calls
 * with such a view find it.
 *
 * Where a page that is freed was shown, the view shows the guest's own again. At most
 * 65,536 per VM (ENOSPC). They count for the caller's memory control group.
 */
struct kvmi_pages {
	__u32 size;
	__u32 flags;
	__aligned_u64 gfn;
	__u32 nr_pages;
	__u32 pad;
};

/**
 * struct kvmi_view_info - a view, and what it costs
 * @view: its number
 * @default_access: KVMI_ACCESS_* of pages whose access was not set
 * @flags: as it was created with
 * @nr_vcpus: vCPUs that run on it now
 * @table_bytes: of its page tables
 * @other_bytes: of what is known of its pages: rights above all
 * @leaves: mappings that it has now, large ones counted once
 * @fills: mappings that it has got so far
 * @zaps: mappings that it has lost so far, to the host or to a change
 * @nr_remapped: pages in whose place it shows another one
 * @relaxed: how often rights have changed by KVMI_ACCESS_TO_*
 * @walks: accesses of which nobody was told, by KVMI_VIEW_F_NO_WALKS
 * @links: how often a vCPU has gone over to the view of KVMI_VIEW_LINK
 * @pad: 0
 */
struct kvmi_view_info {
	__u32 view;
	__u32 default_access;
	__u32 flags;
	__u32 nr_vcpus;
	__aligned_u64 table_bytes;
	__aligned_u64 other_bytes;
	__aligned_u64 leaves;
	__aligned_u64 fills;
	__aligned_u64 zaps;
	__aligned_u64 nr_remapped;
	__aligned_u64 relaxed;
	__aligned_u64 walks;
	__aligned_u64 links;
	__aligned_u64 pad;
};

/**
 * struct kvmi_views - argument of KVMI_GET_VIEWS
 * @size: sizeof(struct kvmi_views)
 * @flags: must be 0
 * @views: address of an array of struct kvmi_view_info, filled in order of numbers
 * @nr: room in the array
 * @out_nr: views that there are besides the default; more than @nr means that only
 *	@nr were stored
 *
 * For whoever may read. On which view a vCPU runs: KVMI_GET_VCPU.
 */
struct kvmi_views {
	__u32 size;
	__u32 flags;
	__aligned_u64 views;
	__u32 nr;
	__u32 out_nr;
};

/**
 * struct kvmi_view_check - argument of KVMI_VIEW_CHECK
 * @size: sizeof(struct kvmi_view_check)
 * @flags: must be 0
 * @view: the view, or KVMI_VIEW_ALL
 * @pad: 0
 * @out_leaves: mappings that were looked at
 * @out_alone: of these, those of which KVM has none of its own now: it drops its
 *	tables at times, and the host's page has stayed
 * @out_wrong: of these, those which show another page than KVM's, have rights that
 *	KVM's has not or the view does not give, or another memory type; or, where
 *	KVM has none, show another page than the VMM has there, or may be written
 *	where the VMM's may not
 * @out_gfn: guest frame number of the first wrong one
 *
 * For tests of kvmi: compares a view's page table with KVM's, and with the VMM's.
 * @out_wrong is 0, whatever the guest, the host and the VMM do. What the VMM maps
 * without a struct page (device memory) is only compared with KVM's. EAGAIN: the VMM
 * is changing its memory all the time.
 */
struct kvmi_view_check {
	__u32 size;
	__u32 flags;
	__u32 view;
	__u32 pad;
	__aligned_u64 out_leaves;
	__aligned_u64 out_alone;
	__aligned_u64 out_wrong;
	__aligned_u64 out_gfn;
};

#endif /* _UAPI_LINUX_KVMI_H */
