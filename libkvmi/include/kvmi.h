/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvmi: virtual machine introspection for stock KVM.
 *
 * Functions that can fail return a negative errno; kvmi_error_message() says
 * in words what was the matter. Structures of the kernel's interface (records,
 * registers, kinds and flags) are those of <linux/kvmi.h>.
 *
 * The comments at the definitions (and the manual pages) say what each
 * function does.
 */
#ifndef KVMI_H
#define KVMI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/kvmi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVMI_API __attribute__((visibility("default")))

struct kvmi_vm;
struct kvmi_ring;
struct kvmi_virt;
struct kvmi_vmlist;

/* ---- errors ------------------------------------------------------------ */

KVMI_API const char *kvmi_error_message(void);

/* ---- which VMs there are ----------------------------------------------- */

/**
 * enum kvmi_vmlist_attached - whether somebody introspects a VM
 * @KVMI_ATTACHED_UNKNOWN: kvmi.ko is not loaded, or does not let us ask
 * @KVMI_ATTACHED_NO: nobody
 * @KVMI_ATTACHED_YES: another session controls it
 */
enum kvmi_vmlist_attached {
	KVMI_ATTACHED_UNKNOWN = 0,
	KVMI_ATTACHED_NO = 1,
	KVMI_ATTACHED_YES = 2,
};

/**
 * struct kvmi_vmlist_entry - one VM of this host
 * @pid: process of the VMM
 * @fd: the VM's descriptor in that process
 * @uid: owner of the process
 * @nr_vms: VMs that the process has
 * @nr_vcpus: virtual processors, 0 if that is not known
 * @attached: enum kvmi_vmlist_attached
 * @memory: bytes of guest memory, 0 if that is not known
 * @id: its number in struct kvmi_vm_status, 0 if that is not known
 * @vmm: name of the VMM's program
 * @name: the VMM's name for the VM, "" if it gave none
 */
struct kvmi_vmlist_entry {
	pid_t pid;
	int fd;
	uid_t uid;
	unsigned int nr_vms;
	unsigned int nr_vcpus;
	unsigned int attached;
	uint64_t memory;
	uint64_t id;
	char vmm[64];
	char name[128];
};

/* Also ask kvmi.ko for what /proc does not tell. */
#define KVMI_VMLIST_PROBE	0x1U

KVMI_API int kvmi_vmlist_create(unsigned int flags, struct kvmi_vmlist **list);
KVMI_API size_t kvmi_vmlist_size(const struct kvmi_vmlist *list);
KVMI_API const struct kvmi_vmlist_entry *
kvmi_vmlist_get(const struct kvmi_vmlist *list, size_t index);
KVMI_API void kvmi_vmlist_destroy(struct kvmi_vmlist *list);

/* ---- what becomes of VMs ------------------------------------------------- */

/**
 * struct kvmi_vm_status - what kvmi.ko tells of a VM
 * @id: a number that no other VM has or had since kvmi.ko was loaded
 * @pid: process of the VMM
 * @uid: its owner
 * @nr_vcpus: virtual processors
 * @attached: a session controls it
 * @memory: bytes of guest memory
 * @created_ns: CLOCK_MONOTONIC at its creation; 0: before kvmi.ko was loaded
 * @attach_ns: CLOCK_MONOTONIC at the attach; this and the following are 0 if it
 *	is not attached
 * @events: records posted in this session
 * @dropped: records dropped because a ring was full
 * @bad_replies: answers refused
 * @comm: name of the process
 */
struct kvmi_vm_status {
	uint64_t id;
	pid_t pid;
	uid_t uid;
	unsigned int nr_vcpus;
	bool attached;
	uint64_t memory;
	uint64_t created_ns;
	uint64_t attach_ns;
	uint64_t events;
	uint64_t dropped;
	uint64_t bad_replies;
	char comm[16];
};

/**
 * enum kvmi_monitor_kind - what has become of a VM
 * @KVMI_MONITOR_CREATED: it was made
 * @KVMI_MONITOR_ATTACHED: a session controls it
 * @KVMI_MONITOR_DETACHED: no session does any more
 * @KVMI_MONITOR_GONE: it has ended
 * @KVMI_MONITOR_LOST: something was not told for want of room
 */
enum kvmi_monitor_kind {
	KVMI_MONITOR_CREATED = 1,
	KVMI_MONITOR_ATTACHED = 2,
	KVMI_MONITOR_DETACHED = 3,
	KVMI_MONITOR_GONE = 4,
	KVMI_MONITOR_LOST = 5,
};

/**
 * struct kvmi_monitor_event - something has become of a VM
 * @kind: enum kvmi_monitor_kind
 * @id: the VM's number; 0 for KVMI_MONITOR_LOST
 */
struct kvmi_monitor_event {
	unsigned int kind;
	uint64_t id;
};

struct kvmi_monitor;

KVMI_API int kvmi_monitor_open(struct kvmi_monitor **monitor);
KVMI_API void kvmi_monitor_close(struct kvmi_monitor *monitor);
KVMI_API int kvmi_monitor_fd(const struct kvmi_monitor *monitor);
KVMI_API int kvmi_monitor_next(struct kvmi_monitor *monitor, int timeout_ms,
			       struct kvmi_monitor_event *event);
KVMI_API int kvmi_monitor_get(struct kvmi_monitor *monitor, uint64_t id,
			      struct kvmi_vm_status *status);
KVMI_API int kvmi_monitor_list(struct kvmi_monitor *monitor,
			       struct kvmi_vm_status **list, size_t *nr);

/* ---- attach and detach ------------------------------------------------- */

/**
 * struct kvmi_vm_options - how to attach
 * @size: sizeof(struct kvmi_vm_options)
 * @ring_size: bytes of each vCPU's ring, a power of two; 0: the default
 * @flags: KVMI_VM_*
 */
struct kvmi_vm_options {
	size_t size;
	uint32_t ring_size;
	uint32_t flags;
};

/* Reads, and asynchronous events, beside whoever controls the VM. */
#define KVMI_VM_OBSERVER	0x1U
/* The VM stands when it is attached to, as after kvmi_vm_pause(). */
#define KVMI_VM_PAUSED		0x2U

KVMI_API int kvmi_caps_get(struct kvmi_caps *caps);
KVMI_API int kvmi_host_get_msrs(struct kvmi_x86_msr *msrs, unsigned int nr);

KVMI_API int kvmi_vm_attach(const char *spec,
			    const struct kvmi_vm_options *options,
			    struct kvmi_vm **vm);
KVMI_API int kvmi_vm_attach_pid(pid_t pid, int fd,
				const struct kvmi_vm_options *options,
				struct kvmi_vm **vm);
KVMI_API int kvmi_vm_attach_fd(int vm_fd, const struct kvmi_vm_options *options,
			       struct kvmi_vm **vm);
KVMI_API int kvmi_vm_open(int session_fd, struct kvmi_vm **vm);
KVMI_API int kvmi_vm_detach(struct kvmi_vm *vm);
KVMI_API void kvmi_vm_close(struct kvmi_vm *vm);
KVMI_API int kvmi_vm_fd(const struct kvmi_vm *vm);

struct kvmi_holder;

KVMI_API int kvmi_holder_open(const char *comm, unsigned int timeout_ms,
			      struct kvmi_holder **holder);
KVMI_API int kvmi_holder_fd(const struct kvmi_holder *holder);
KVMI_API int kvmi_holder_next(struct kvmi_holder *holder, int timeout_ms,
			      uint64_t *id, pid_t *pid);
KVMI_API int kvmi_holder_release(struct kvmi_holder *holder, uint64_t id);
KVMI_API void kvmi_holder_close(struct kvmi_holder *holder);

KVMI_API int kvmi_session_send(int sock, int session_fd);
KVMI_API int kvmi_session_receive(int sock);

/* ---- the VM ------------------------------------------------------------ */

KVMI_API int kvmi_vm_get_caps(struct kvmi_vm *vm, struct kvmi_caps *caps);
KVMI_API int kvmi_vm_get_info(struct kvmi_vm *vm, struct kvmi_info *info);
KVMI_API int kvmi_vm_get_slots(struct kvmi_vm *vm, struct kvmi_slot *slots,
			       unsigned int nr);
KVMI_API int kvmi_vm_set_policy(struct kvmi_vm *vm, unsigned int timeout_ms,
				enum kvmi_action default_action);
KVMI_API int kvmi_vm_get_stats(struct kvmi_vm *vm, unsigned int vcpu,
			       unsigned int kind, struct kvmi_stats *stats);
KVMI_API int kvmi_vm_get_exits(struct kvmi_vm *vm, unsigned int vcpu,
			       struct kvmi_exit_count *counts, unsigned int nr);
KVMI_API int kvmi_vm_reset(struct kvmi_vm *vm, uint32_t what);
KVMI_API int kvmi_vm_set_policies(struct kvmi_vm *vm,
				  const struct kvmi_policy *policy);
KVMI_API int kvmi_vm_narrow(struct kvmi_vm *vm, uint32_t rights, uint64_t kinds,
			    struct kvmi_narrow *left);
KVMI_API ssize_t kvmi_vm_batch(struct kvmi_vm *vm, struct kvmi_batch_op *ops,
			       size_t nr, uint32_t flags);
KVMI_API int kvmi_vm_pause(struct kvmi_vm *vm);
KVMI_API int kvmi_vm_resume(struct kvmi_vm *vm);
KVMI_API ssize_t kvmi_vm_read(struct kvmi_vm *vm, uint64_t gpa, void *buf,
			      size_t len);
KVMI_API ssize_t kvmi_vm_write(struct kvmi_vm *vm, uint64_t gpa,
			       const void *buf, size_t len);
KVMI_API ssize_t kvmi_vm_read_list(struct kvmi_vm *vm, struct kvmi_rw *list,
				   size_t nr);
KVMI_API ssize_t kvmi_vm_write_list(struct kvmi_vm *vm, struct kvmi_rw *list,
				    size_t nr);

KVMI_API int kvmi_vm_map(struct kvmi_vm *vm, uint64_t gpa, size_t len,
			 size_t *size, const void **addr);
KVMI_API int kvmi_vm_unmap(const void *addr, size_t size);

/* ---- virtual memory ---------------------------------------------------- */

KVMI_API int kvmi_space_get(struct kvmi_vm *vm, unsigned int vcpu,
			    struct kvmi_space *space);
KVMI_API int kvmi_space_translate(struct kvmi_vm *vm,
				  const struct kvmi_space *space, uint64_t gva,
				  struct kvmi_translation *translation);
KVMI_API ssize_t kvmi_space_translate_list(struct kvmi_vm *vm,
					   const struct kvmi_space *space,
					   struct kvmi_translation *list,
					   size_t nr);
KVMI_API ssize_t kvmi_space_read(struct kvmi_vm *vm,
				 const struct kvmi_space *space, uint64_t gva,
				 void *buf, size_t len);
KVMI_API ssize_t kvmi_space_write(struct kvmi_vm *vm,
				  const struct kvmi_space *space, uint64_t gva,
				  const void *buf, size_t len);
KVMI_API ssize_t kvmi_space_read_list(struct kvmi_vm *vm,
				      const struct kvmi_space *space,
				      struct kvmi_rw *list, size_t nr);
KVMI_API ssize_t kvmi_space_write_list(struct kvmi_vm *vm,
				       const struct kvmi_space *space,
				       struct kvmi_rw *list, size_t nr);

KVMI_API int kvmi_virt_open(struct kvmi_vm *vm, size_t size,
			    struct kvmi_virt **virt);
KVMI_API void kvmi_virt_close(struct kvmi_virt *virt);
KVMI_API void kvmi_virt_flush(struct kvmi_virt *virt);
KVMI_API uint64_t kvmi_virt_calls(const struct kvmi_virt *virt);
KVMI_API ssize_t kvmi_virt_read(struct kvmi_virt *virt,
				const struct kvmi_space *space, uint64_t gva,
				void *buf, size_t len);

/* ---- one vCPU ---------------------------------------------------------- */

KVMI_API int kvmi_vcpu_get_info(struct kvmi_vm *vm, unsigned int vcpu,
				struct kvmi_vcpu_info *info);
KVMI_API int kvmi_vcpu_pause(struct kvmi_vm *vm, unsigned int vcpu);
KVMI_API int kvmi_vcpu_resume(struct kvmi_vm *vm, unsigned int vcpu);
KVMI_API int kvmi_vcpu_get_regs(struct kvmi_vm *vm, unsigned int vcpu,
				uint32_t sets, void *buf, size_t size);
KVMI_API int kvmi_vcpu_set_regs(struct kvmi_vm *vm, unsigned int vcpu,
				uint32_t sets, const void *buf, size_t size);
KVMI_API int kvmi_vcpu_get_gprs(struct kvmi_vm *vm, unsigned int vcpu,
				struct kvmi_x86_gprs *regs);
KVMI_API int kvmi_vcpu_set_gprs(struct kvmi_vm *vm, unsigned int vcpu,
				const struct kvmi_x86_gprs *regs);
KVMI_API int kvmi_vcpu_get_control(struct kvmi_vm *vm, unsigned int vcpu,
				   struct kvmi_x86_control *regs);
KVMI_API int kvmi_vcpu_set_control(struct kvmi_vm *vm, unsigned int vcpu,
				   const struct kvmi_x86_control *regs);
KVMI_API int kvmi_vcpu_get_segments(struct kvmi_vm *vm, unsigned int vcpu,
				    struct kvmi_x86_segments *regs);
KVMI_API int kvmi_vcpu_set_segments(struct kvmi_vm *vm, unsigned int vcpu,
				    const struct kvmi_x86_segments *regs);

KVMI_API int kvmi_vcpu_get_debug(struct kvmi_vm *vm, unsigned int vcpu,
				 struct kvmi_x86_debug *regs);
KVMI_API int kvmi_vcpu_set_debug(struct kvmi_vm *vm, unsigned int vcpu,
				 const struct kvmi_x86_debug *regs);
KVMI_API int kvmi_vcpu_get_events(struct kvmi_vm *vm, unsigned int vcpu,
				  struct kvmi_x86_events *regs);
KVMI_API int kvmi_vcpu_set_events(struct kvmi_vm *vm, unsigned int vcpu,
				  const struct kvmi_x86_events *regs);
KVMI_API int kvmi_vcpu_get_state(struct kvmi_vm *vm, unsigned int vcpu,
				 enum kvmi_state_kind kind, void *buf,
				 size_t size, size_t *there);
KVMI_API int kvmi_vcpu_set_state(struct kvmi_vm *vm, unsigned int vcpu,
				 enum kvmi_state_kind kind, const void *buf,
				 size_t size);
KVMI_API int kvmi_vcpu_get_msrs(struct kvmi_vm *vm, unsigned int vcpu,
				struct kvmi_x86_msr *msrs, unsigned int nr);
KVMI_API int kvmi_vcpu_set_msrs(struct kvmi_vm *vm, unsigned int vcpu,
				const struct kvmi_x86_msr *msrs,
				unsigned int nr, unsigned int *bad);
KVMI_API int kvmi_vcpu_get_msr(struct kvmi_vm *vm, unsigned int vcpu,
			       uint32_t index, uint64_t *value);
KVMI_API int kvmi_vcpu_set_msr(struct kvmi_vm *vm, unsigned int vcpu,
			       uint32_t index, uint64_t value);

/** KVMI_MTRR_UNDEFINED - ranges of the guest's MTRRs contradict each other */
#define KVMI_MTRR_UNDEFINED	0xff

/**
 * struct kvmi_pvclock - kvmclock of a vCPU, see kvmi_vcpu_get_pvclock()
 * @gpa: where the guest has it
 * @tsc_timestamp: the guest's TSC when it was written
 * @system_time: nanoseconds then
 * @version: counts by two
 * @tsc_to_system_mul: nanoseconds per TSC tick, 2^32 is one, after @tsc_shift
 * @tsc_shift: shifts ticks to the left; negative: to the right
 * @flags: 1: the TSCs of all vCPUs agree; 2: the guest was stopped
 * @reserved: 0
 */
struct kvmi_pvclock {
	uint64_t gpa;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t version;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t reserved[6];
};

KVMI_API int kvmi_vcpu_get_mtrr(struct kvmi_vm *vm, unsigned int vcpu,
				uint64_t gfn, unsigned int *type);
KVMI_API int kvmi_vcpu_get_pvclock(struct kvmi_vm *vm, unsigned int vcpu,
				   struct kvmi_pvclock *clock);
KVMI_API uint64_t kvmi_pvclock_ns(const struct kvmi_pvclock *clock,
				  uint64_t tsc);
KVMI_API int kvmi_vcpu_inject(struct kvmi_vm *vm, unsigned int vcpu,
			      const struct kvmi_x86_injection *what,
			      uint64_t *injection);
KVMI_API int kvmi_vcpu_inject_exception(struct kvmi_vm *vm, unsigned int vcpu,
					unsigned int vector, uint32_t error,
					uint64_t payload);

/* ---- which events ------------------------------------------------------ */

KVMI_API int kvmi_event_control(struct kvmi_vm *vm,
				const struct kvmi_control_event *control);
KVMI_API int kvmi_event_watch(struct kvmi_vm *vm, unsigned int vcpu,
			      enum kvmi_event_kind kind,
			      enum kvmi_event_mode mode, uint32_t regs);
KVMI_API int kvmi_event_watch_cr(struct kvmi_vm *vm, unsigned int vcpu,
				 unsigned int cr, enum kvmi_event_mode mode,
				 uint32_t regs);
KVMI_API int kvmi_event_watch_msr(struct kvmi_vm *vm, unsigned int vcpu,
				  uint32_t msr, uint32_t access,
				  enum kvmi_event_mode mode, uint32_t regs);

/* ---- the events of a VM, by one thread --------------------------------- */

KVMI_API int kvmi_event_wait(struct kvmi_vm *vm, const struct kvmi_event **event,
			     int timeout_ms);
KVMI_API int kvmi_event_reply(struct kvmi_vm *vm, const struct kvmi_event *event,
			      enum kvmi_action action);
KVMI_API int kvmi_event_answer(struct kvmi_vm *vm,
			       const struct kvmi_event *event,
			       const struct kvmi_reply *reply);
KVMI_API int kvmi_event_answer_wait(struct kvmi_vm *vm,
				    const struct kvmi_event *event,
				    const struct kvmi_reply *reply,
				    const struct kvmi_event **next,
				    int timeout_ms);
KVMI_API int kvmi_event_answer_id(struct kvmi_vm *vm, unsigned int vcpu,
				  uint64_t id, const struct kvmi_reply *reply);
KVMI_API int kvmi_event_set_polling(struct kvmi_vm *vm, bool on);
KVMI_API uint64_t kvmi_event_dropped(struct kvmi_vm *vm);

/* ---- what is in an event ----------------------------------------------- */

KVMI_API const char *kvmi_event_name(unsigned int kind);
KVMI_API bool kvmi_event_is_sync(const struct kvmi_event *event);
KVMI_API const void *kvmi_event_payload(const struct kvmi_event *event,
					size_t size);
KVMI_API const struct kvmi_ev_cancelled *
kvmi_event_cancelled(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_access *
kvmi_event_access(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_breakpoint *
kvmi_event_breakpoint(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_step *
kvmi_event_step(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_vm *
kvmi_event_vm(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_vcpu *
kvmi_event_vcpu(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_hypercall *
kvmi_event_hypercall(const struct kvmi_event *event);
KVMI_API const struct kvmi_ev_mmio *
kvmi_event_mmio(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_xsetbv *
kvmi_event_xsetbv(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_dr *
kvmi_event_dr(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_exception *
kvmi_event_exception(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_dtable *
kvmi_event_dtable(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_io *
kvmi_event_io(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_insn *
kvmi_event_insn(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_delivery *
kvmi_event_delivery(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_exit *
kvmi_event_exit(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_injected *
kvmi_event_injected(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_cr *
kvmi_event_cr(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_msr *
kvmi_event_msr(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_ev_cpuid *
kvmi_event_cpuid(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_gprs *
kvmi_event_gprs(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_control *
kvmi_event_control_regs(const struct kvmi_event *event);
KVMI_API const struct kvmi_x86_segments *
kvmi_event_segments(const struct kvmi_event *event);

/* ---- answers ----------------------------------------------------------- */

KVMI_API void kvmi_reply_init(struct kvmi_reply *reply, enum kvmi_action action);
KVMI_API int kvmi_reply_set_gpr(struct kvmi_reply *reply, unsigned int gpr,
				uint64_t value);
KVMI_API void kvmi_reply_set_view(struct kvmi_reply *reply, uint32_t view);
KVMI_API void kvmi_reply_step(struct kvmi_reply *reply);
KVMI_API void kvmi_reply_fast_step(struct kvmi_reply *reply, uint32_t view);
KVMI_API void kvmi_reply_set_value(struct kvmi_reply *reply, uint64_t value);
KVMI_API int kvmi_reply_set_regs(struct kvmi_reply *reply, uint32_t sets,
				 const void *buf, size_t size);
KVMI_API int kvmi_reply_stand_in(struct kvmi_reply *reply, uint64_t gpa,
				 const void *data, uint32_t len, uint32_t flags);
KVMI_API void kvmi_reply_inject(struct kvmi_reply *reply,
				const struct kvmi_x86_injection *what);

/* ---- rings, for tools with a thread per vCPU --------------------------- */

KVMI_API int kvmi_ring_open(struct kvmi_vm *vm, unsigned int vcpu, int eventfd,
			    struct kvmi_ring **ring);
KVMI_API void kvmi_ring_close(struct kvmi_ring *ring);
KVMI_API int kvmi_ring_next(struct kvmi_ring *ring,
			    const struct kvmi_event **event);
KVMI_API void kvmi_ring_consume(struct kvmi_ring *ring);
KVMI_API int kvmi_ring_wait(struct kvmi_ring *ring,
			    const struct kvmi_event **event, int timeout_ms);
KVMI_API int kvmi_ring_answer(struct kvmi_ring *ring, uint64_t id,
			      const struct kvmi_reply *reply);
KVMI_API int kvmi_ring_answer_wait(struct kvmi_ring *ring, uint64_t id,
				   const struct kvmi_reply *reply,
				   const struct kvmi_event **next,
				   int timeout_ms);
KVMI_API void kvmi_ring_set_polling(struct kvmi_ring *ring, bool on);
KVMI_API int kvmi_ring_last_error(struct kvmi_ring *ring, uint64_t *id);
KVMI_API uint64_t kvmi_ring_dropped(struct kvmi_ring *ring, int kind);

/* ---- views ------------------------------------------------------------- */

KVMI_API int kvmi_view_create_flags(struct kvmi_vm *vm,
				    uint32_t default_access, uint32_t flags,
				    uint32_t *view);
KVMI_API int kvmi_view_create(struct kvmi_vm *vm, uint32_t default_access,
			      uint32_t *view);
KVMI_API int kvmi_view_destroy(struct kvmi_vm *vm, uint32_t view);
KVMI_API int kvmi_view_switch(struct kvmi_vm *vm, unsigned int vcpu,
			      uint32_t view);
KVMI_API int kvmi_view_set_access(struct kvmi_vm *vm, uint32_t view,
				  uint64_t gfn, uint32_t nr_pages,
				  uint32_t access);
KVMI_API int kvmi_view_set_ranges(struct kvmi_vm *vm, uint32_t view,
				  const struct kvmi_access_range *ranges,
				  uint32_t nr, uint32_t *bad);
KVMI_API int kvmi_view_get_access(struct kvmi_vm *vm, uint32_t view,
				  uint64_t gfn, uint32_t *access);
KVMI_API int kvmi_view_list(struct kvmi_vm *vm, struct kvmi_view_info *views,
			    uint32_t nr);
KVMI_API int kvmi_view_check(struct kvmi_vm *vm, uint32_t view,
			     struct kvmi_view_check *check);
KVMI_API int kvmi_view_remap(struct kvmi_vm *vm, uint32_t view, uint64_t gfn,
			     uint64_t source);
KVMI_API int kvmi_view_remap_list(struct kvmi_vm *vm, uint32_t view,
				  const struct kvmi_remap_page *pages,
				  uint32_t nr, uint32_t *bad);
KVMI_API int kvmi_view_link(struct kvmi_vm *vm, uint32_t view, uint32_t other);
KVMI_API int kvmi_view_watch_bytes(struct kvmi_vm *vm, uint32_t view,
				   uint64_t gpa, uint32_t len);
KVMI_API int kvmi_page_alloc(struct kvmi_vm *vm, uint64_t *gfn, uint32_t nr);
KVMI_API int kvmi_page_free(struct kvmi_vm *vm, uint64_t gfn, uint32_t nr);
KVMI_API int kvmi_snapshot(struct kvmi_vm *vm, uint32_t view,
			   enum kvmi_snapshot_op op, uint64_t max_pages,
			   struct kvmi_snapshot *result);

/* A VM as it was, memory and vCPUs. */
struct kvmi_checkpoint;

KVMI_API int kvmi_checkpoint_take(struct kvmi_vm *vm, uint64_t max_pages,
				  struct kvmi_checkpoint **cp);
KVMI_API int kvmi_checkpoint_reset(struct kvmi_checkpoint *cp, uint64_t *pages);
KVMI_API uint32_t kvmi_checkpoint_view(const struct kvmi_checkpoint *cp);
KVMI_API int kvmi_checkpoint_drop(struct kvmi_checkpoint *cp);

KVMI_API ssize_t kvmi_view_read(struct kvmi_vm *vm, uint32_t view, uint64_t gpa,
				void *buf, size_t len);
KVMI_API ssize_t kvmi_view_write(struct kvmi_vm *vm, uint32_t view,
				 uint64_t gpa, const void *buf, size_t len);
KVMI_API ssize_t kvmi_view_read_list(struct kvmi_vm *vm, uint32_t view,
				     const struct kvmi_space *space,
				     struct kvmi_rw *list, uint32_t nr);
KVMI_API int kvmi_view_translate(struct kvmi_vm *vm, uint32_t view,
				 const struct kvmi_space *space, uint64_t gva,
				 struct kvmi_translation *translation);

/* ---- hidden breakpoints ------------------------------------------------ */

struct kvmi_breakpoints;

KVMI_API int kvmi_breakpoints_open(struct kvmi_vm *vm,
				   struct kvmi_breakpoints **set);
KVMI_API void kvmi_breakpoints_close(struct kvmi_breakpoints *set);
KVMI_API int kvmi_breakpoints_add(struct kvmi_breakpoints *set, uint64_t gpa);
KVMI_API int kvmi_breakpoints_count(struct kvmi_breakpoints *set, uint64_t gpa);
KVMI_API int kvmi_breakpoints_hits(struct kvmi_breakpoints *set, uint64_t gpa,
				   uint64_t *hits);
KVMI_API int kvmi_breakpoints_refresh(struct kvmi_breakpoints *set);
KVMI_API int kvmi_breakpoints_remove(struct kvmi_breakpoints *set,
				     uint64_t gpa);
KVMI_API int kvmi_breakpoints_handle(struct kvmi_breakpoints *set,
				     const struct kvmi_event *event,
				     uint64_t *gpa);
KVMI_API int kvmi_breakpoints_continue(struct kvmi_breakpoints *set,
				       const struct kvmi_event *event);

#ifdef __cplusplus
}
#endif

#endif /* KVMI_H */
