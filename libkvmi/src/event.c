// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Events of a whole VM: which, waiting for them, what is in them, answers.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "barrier.h"
#include "internal.h"

/* While polling, how many looks at the rings per look for the VM's end. */
#define LOOKS_PER_OWN	64
#define LOOKS_PER_CALL	1000

/**
 * kvmi_event_control() - Enable or disable an event, in all detail
 * @vm: the session
 * @control: the kernel's structure; its size is set here
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP: not on this CPU or kernel.
 */
int kvmi_event_control(struct kvmi_vm *vm,
		       const struct kvmi_control_event *control)
{
	struct kvmi_control_event arg = *control;
	char what[64];

	arg.size = sizeof(arg);
	snprintf(what, sizeof(what), "control %s events",
		 kvmi_event_name(arg.kind));
	return kvmi_vm_ioctl(vm, KVMI_CONTROL_EVENT, &arg, what);
}

/**
 * kvmi_event_watch() - Enable or disable a kind of event
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @kind: which
 * @mode: KVMI_MODE_SYNC, _ASYNC, _COUNT or _OFF
 * @regs: KVMI_REGS_* to come along with each record
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP: not on this CPU or kernel.
 */
int kvmi_event_watch(struct kvmi_vm *vm, unsigned int vcpu,
		     enum kvmi_event_kind kind, enum kvmi_event_mode mode,
		     uint32_t regs)
{
	struct kvmi_control_event control = {
		.vcpu = vcpu,
		.kind = kind,
		.mode = mode,
		.regs = regs,
	};

	return kvmi_event_control(vm, &control);
}

/**
 * kvmi_event_watch_cr() - Enable or disable events for a control register
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @cr: 3 or 4
 * @mode: KVMI_MODE_SYNC, _ASYNC, _COUNT or _OFF
 * @regs: KVMI_REGS_* to come along with each record
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_watch_cr(struct kvmi_vm *vm, unsigned int vcpu, unsigned int cr,
			enum kvmi_event_mode mode, uint32_t regs)
{
	struct kvmi_control_event control = {
		.vcpu = vcpu,
		.kind = KVMI_EVENT_X86_CR,
		.mode = mode,
		.regs = regs,
		.index = cr,
	};

	return kvmi_event_control(vm, &control);
}

/**
 * kvmi_event_watch_msr() - Enable or disable events for an MSR
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @msr: index of the MSR
 * @access: KVMI_ACCESS_R, KVMI_ACCESS_W or both
 * @mode: KVMI_MODE_SYNC, _ASYNC, _COUNT or _OFF
 * @regs: KVMI_REGS_* to come along with each record
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_watch_msr(struct kvmi_vm *vm, unsigned int vcpu, uint32_t msr,
			 uint32_t access, enum kvmi_event_mode mode,
			 uint32_t regs)
{
	struct kvmi_control_event control = {
		.vcpu = vcpu,
		.kind = KVMI_EVENT_X86_MSR,
		.mode = mode,
		.regs = regs,
		.index = msr,
		.access = access,
	};

	return kvmi_event_control(vm, &control);
}

/* Opens the rings of all vCPUs that there are; how many are new. */
static int open_rings(struct kvmi_vm *vm)
{
	struct kvmi_ring **rings, *ring;
	unsigned int old = vm->nr_rings;
	struct kvmi_info info;
	int ret;

	if (!vm->own) {
		ret = kvmi_ring_open(vm, KVMI_VCPU_VM, -1, &vm->own);
		/* An older kernel has none. */
		if (ret && ret != -ENOENT)
			return ret;
	}
	ret = kvmi_vm_get_info(vm, &info);
	if (ret < 0)
		return ret;
	if (info.out_nr_vcpus <= old)
		return 0;
	rings = reallocarray(vm->rings, info.out_nr_vcpus, sizeof(*rings));
	if (!rings)
		return kvmi_error_set(-ENOMEM, "out of memory");
	vm->rings = rings;
	while (vm->nr_rings < info.out_nr_vcpus) {
		ret = kvmi_ring_open(vm, vm->nr_rings, -1, &ring);
		if (ret)
			return ret;
		if (vm->polls)
			kvmi_ring_set_polling(ring, true);
		rings[vm->nr_rings++] = ring;
	}
	return vm->nr_rings - old;
}

static void consume_last(struct kvmi_vm *vm)
{
	if (vm->last)
		kvmi_ring_consume(vm->last);
	vm->last = NULL;
}

static int look_own(struct kvmi_vm *vm, const struct kvmi_event **event)
{
	int ret;

	if (!vm->own || READ_ONCE(vm->own->header->producer) == vm->own->consumer)
		return 0;
	ret = kvmi_ring_peek(vm->own, event);
	if (ret > 0)
		vm->last = vm->own;
	return ret;
}

/*
 * The next record of any ring, the rings of vCPUs taking turns. The VM's own is
 * nearly always empty: it is looked at last, and now and then first.
 */
static int look(struct kvmi_vm *vm, const struct kvmi_event **event)
{
	unsigned int i, n;
	int ret;

	if (++vm->looks % LOOKS_PER_OWN == 0) {
		ret = look_own(vm, event);
		if (ret)
			return ret;
	}
	for (i = 0; i < vm->nr_rings; i++) {
		n = vm->next + i;
		if (n >= vm->nr_rings)
			n -= vm->nr_rings;
		ret = kvmi_ring_peek(vm->rings[n], event);
		if (!ret)
			continue;
		if (ret > 0)
			vm->last = vm->rings[n];
		vm->next = n + 1 < vm->nr_rings ? n + 1 : 0;
		return ret;
	}
	return look_own(vm, event);
}

static int wait_for_event(struct kvmi_vm *vm, uint32_t kick,
			  const struct kvmi_event **event, int timeout_ms)
{
	int64_t timeout_ns = timeout_ms < 0 ? -1 : timeout_ms * 1000000LL;
	int64_t end = timeout_ns < 0 ? 0 : kvmi_now_ns() + timeout_ns;
	unsigned int looks = 0;
	int64_t left = timeout_ns;
	bool nothing = false;
	int ret;

	consume_last(vm);
	if (!vm->nr_rings) {
		ret = open_rings(vm);
		if (ret < 0)
			return ret;
	}
	for (;;) {
		ret = look(vm, event);
		if (ret) {
			if (kick != KVMI_VCPU_NONE)
				kvmi_vm_wait_ioctl(vm, kick, KVMI_VCPU_NONE, 0);
			return ret;
		}
		/*
		 * The kernel said that there is a record, and in our rings
		 * there is none: a vCPU was added.
		 */
		if (nothing) {
			ret = open_rings(vm);
			if (ret < 0)
				return ret;
			nothing = false;
			if (ret)
				continue;
			if (timeout_ns >= 0 && kvmi_now_ns() >= end)
				return 0;
		}
		if (timeout_ns >= 0) {
			left = end - kvmi_now_ns();
			if (left < 0)
				left = 0;
		}
		if (!vm->polls) {
			ret = kvmi_vm_wait_ioctl(vm, kick, KVMI_VCPU_ALL, left);
			kick = KVMI_VCPU_NONE;
			if (ret > 0) {
				nothing = true;
				continue;
			}
			if (ret < 0 && ret != -ENODEV)
				return ret;
			/* The last moment's record still counts. */
			return look(vm, event) > 0 ? 1 : ret;
		}
		if (kick != KVMI_VCPU_NONE || ++looks % LOOKS_PER_CALL == 0) {
			ret = kvmi_vm_wait_ioctl(vm, kick, KVMI_VCPU_NONE, 0);
			kick = KVMI_VCPU_NONE;
			if (ret < 0)
				return look(vm, event) > 0 ? 1 : ret;
			nothing = looks % LOOKS_PER_CALL == 0;
		}
		if (!left)
			return 0;
		cpu_relax();
		sched_yield();
	}
}

/**
 * kvmi_event_wait() - Wait for the next event of any vCPU
 * @vm: the session
 * @event: where to store the address of its record
 * @timeout_ms: milliseconds at most, or -1
 *
 * The record stands in shared memory and is valid until the next
 * kvmi_event_wait() or kvmi_event_answer_wait(). An event of which
 * kvmi_event_is_sync() is true keeps its vCPU waiting until it is answered; that
 * may be later, and in any order.
 *
 * This and the other functions that wait or answer must be called by one thread
 * at a time.
 *
 * Return: 1, 0 when the time is over, or a negative errno: -EINTR: a signal
 * came; -ENODEV: the VM is gone; -EPROTO: a ring held garbage, which was
 * skipped.
 */
int kvmi_event_wait(struct kvmi_vm *vm, const struct kvmi_event **event,
		    int timeout_ms)
{
	return wait_for_event(vm, KVMI_VCPU_NONE, event, timeout_ms);
}

static int find_ring(struct kvmi_vm *vm, unsigned int vcpu,
		     struct kvmi_ring **ring)
{
	int ret;

	if (vcpu >= vm->nr_rings && !(vcpu == KVMI_VCPU_VM && vm->own)) {
		ret = open_rings(vm);
		if (ret < 0)
			return ret;
	}
	if (vcpu == KVMI_VCPU_VM && vm->own) {
		*ring = vm->own;
		return 0;
	}
	if (vcpu >= vm->nr_rings)
		return kvmi_error_set(-ENOENT, "there is no vCPU %u", vcpu);
	*ring = vm->rings[vcpu];
	return 0;
}

/**
 * kvmi_event_answer_id() - Answer an event of which only the id was kept
 * @vm: the session
 * @vcpu: kvmi_event.vcpu
 * @id: kvmi_event.id
 * @reply: the answer
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_answer_id(struct kvmi_vm *vm, unsigned int vcpu, uint64_t id,
			 const struct kvmi_reply *reply)
{
	struct kvmi_ring *ring = NULL;
	int ret;

	ret = find_ring(vm, vcpu, &ring);
	if (ret)
		return ret;
	return kvmi_ring_answer(ring, id, reply);
}

/**
 * kvmi_event_answer() - Answer an event
 * @vm: the session
 * @event: the event; one that needs no answer is ignored
 * @reply: the answer, see kvmi_reply_init()
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_answer(struct kvmi_vm *vm, const struct kvmi_event *event,
		      const struct kvmi_reply *reply)
{
	if (!kvmi_event_is_sync(event))
		return 0;
	return kvmi_event_answer_id(vm, event->vcpu, event->id, reply);
}

/**
 * kvmi_event_reply() - Answer an event by an action alone
 * @vm: the session
 * @event: the event; one that needs no answer is ignored
 * @action: what becomes of it
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_reply(struct kvmi_vm *vm, const struct kvmi_event *event,
		     enum kvmi_action action)
{
	struct kvmi_reply reply;

	if (!kvmi_event_is_sync(event))
		return 0;
	kvmi_reply_init(&reply, action);
	return kvmi_event_answer(vm, event, &reply);
}

/**
 * kvmi_event_answer_wait() - Answer an event and wait for the next
 * @vm: the session
 * @event: the event; one that needs no answer is only consumed
 * @reply: the answer
 * @next: where to store the address of the next record
 * @timeout_ms: milliseconds at most, or -1
 *
 * One system call for both where one is needed: the quickest way for a tool
 * that sleeps.
 *
 * Return: as kvmi_event_wait().
 */
int kvmi_event_answer_wait(struct kvmi_vm *vm, const struct kvmi_event *event,
			   const struct kvmi_reply *reply,
			   const struct kvmi_event **next, int timeout_ms)
{
	uint32_t kick = KVMI_VCPU_NONE;
	struct kvmi_ring *ring = NULL;
	int ret;

	if (kvmi_event_is_sync(event)) {
		ret = find_ring(vm, event->vcpu, &ring);
		if (ret)
			return ret;
		if (kvmi_ring_write_reply(ring, event->id, reply))
			kick = ring->vcpu;
	}
	return wait_for_event(vm, kick, next, timeout_ms);
}

/**
 * kvmi_event_set_polling() - Watch the rings instead of sleeping
 * @vm: the session
 * @on: whether to
 *
 * Spends a CPU on shorter answers: waiting yields to others but does not sleep,
 * and the vCPUs are told that answers come soon.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_event_set_polling(struct kvmi_vm *vm, bool on)
{
	unsigned int i;
	int ret;

	vm->polls = on;
	for (i = 0; i < vm->nr_rings; i++)
		kvmi_ring_set_polling(vm->rings[i], on);
	ret = open_rings(vm);
	return ret < 0 ? ret : 0;
}

/**
 * kvmi_event_dropped() - How many records were lost because a ring was full
 * @vm: the session
 *
 * Only asynchronous events can be lost.
 *
 * Return: the number, over all vCPUs whose rings are open.
 */
uint64_t kvmi_event_dropped(struct kvmi_vm *vm)
{
	uint64_t sum = 0;
	unsigned int i;

	if (vm->own)
		sum += kvmi_ring_dropped(vm->own, -1);
	for (i = 0; i < vm->nr_rings; i++)
		sum += kvmi_ring_dropped(vm->rings[i], -1);
	return sum;
}

/**
 * kvmi_event_name() - Short name of a kind of event
 * @kind: enum kvmi_event_kind
 *
 * Return: for instance "cpuid"; "unknown" for a kind that the library does not
 * know.
 */
const char *kvmi_event_name(unsigned int kind)
{
	switch (kind) {
	case KVMI_EVENT_PAD:
		return "pad";
	case KVMI_EVENT_CANCELLED:
		return "cancelled";
	case KVMI_EVENT_ACCESS:
		return "mem";
	case KVMI_EVENT_BREAKPOINT:
		return "bp";
	case KVMI_EVENT_STEP:
		return "step";
	case KVMI_EVENT_VCPU:
		return "vcpu";
	case KVMI_EVENT_MMIO:
		return "mmio";
	case KVMI_EVENT_HYPERCALL:
		return "hypercall";
	case KVMI_EVENT_X86_XSETBV:
		return "xsetbv";
	case KVMI_EVENT_X86_DR:
		return "dr";
	case KVMI_EVENT_X86_EXCEPTION:
		return "exception";
	case KVMI_EVENT_X86_DTABLE:
		return "dtable";
	case KVMI_EVENT_X86_IO:
		return "io";
	case KVMI_EVENT_X86_INSN:
		return "insn";
	case KVMI_EVENT_X86_DELIVERY:
		return "delivery";
	case KVMI_EVENT_X86_EXIT:
		return "exit";
	case KVMI_EVENT_VM:
		return "vm";
	case KVMI_EVENT_INJECTED:
		return "injected";
	case KVMI_EVENT_X86_CR:
		return "cr";
	case KVMI_EVENT_X86_MSR:
		return "msr";
	case KVMI_EVENT_X86_CPUID:
		return "cpuid";
	default:
		return "unknown";
	}
}

/**
 * kvmi_event_is_sync() - Whether the vCPU waits for an answer
 * @event: the event
 *
 * Return: true if it does.
 */
bool kvmi_event_is_sync(const struct kvmi_event *event)
{
	return event->flags & KVMI_EVENT_F_SYNC;
}

/**
 * kvmi_event_payload() - What stands behind the header of a record
 * @event: the event
 * @size: bytes that are needed
 *
 * Return: the payload, or NULL if it is shorter.
 */
const void *kvmi_event_payload(const struct kvmi_event *event, size_t size)
{
	return event->payload >= size ? (const char *)event + event->header : NULL;
}

static const void *typed(const struct kvmi_event *event, unsigned int kind,
			 size_t size)
{
	return event->kind == kind ? kvmi_event_payload(event, size) : NULL;
}

/**
 * kvmi_event_cancelled() - Payload of a cancelled event
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_cancelled *
kvmi_event_cancelled(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_CANCELLED, sizeof(struct kvmi_ev_cancelled));
}

/**
 * kvmi_event_access() - Payload of an access to a page
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_access *kvmi_event_access(const struct kvmi_event *event)
{
	/* What is behind came later, and with KVMI_ACCESS_F_CHANGED. */
	return typed(event, KVMI_EVENT_ACCESS,
		     offsetof(struct kvmi_ev_access, old_value));
}

/**
 * kvmi_event_breakpoint() - Payload of a breakpoint
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_breakpoint *
kvmi_event_breakpoint(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_BREAKPOINT, sizeof(struct kvmi_ev_breakpoint));
}

/**
 * kvmi_event_step() - Payload of a single step
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_step *kvmi_event_step(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_STEP, sizeof(struct kvmi_ev_step));
}

/**
 * kvmi_event_vm() - Payload of what has become of the VM
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_vm *kvmi_event_vm(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_VM, sizeof(struct kvmi_ev_vm));
}

/**
 * kvmi_event_vcpu() - Payload of what has become of a vCPU
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_vcpu *kvmi_event_vcpu(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_VCPU, sizeof(struct kvmi_ev_vcpu));
}

/**
 * kvmi_event_hypercall() - Payload of a hypercall
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_hypercall *
kvmi_event_hypercall(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_HYPERCALL,
		     sizeof(struct kvmi_ev_hypercall));
}

/**
 * kvmi_event_mmio() - Payload of an access to a device
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_ev_mmio *kvmi_event_mmio(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_MMIO, sizeof(struct kvmi_ev_mmio));
}

/**
 * kvmi_event_xsetbv() - Payload of XSETBV
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_xsetbv *
kvmi_event_xsetbv(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_XSETBV,
		     sizeof(struct kvmi_x86_ev_xsetbv));
}

/**
 * kvmi_event_dr() - Payload of an access to a debug register
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_dr *kvmi_event_dr(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_DR, sizeof(struct kvmi_x86_ev_dr));
}

/**
 * kvmi_event_exception() - Payload of an exception
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_exception *
kvmi_event_exception(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_EXCEPTION,
		     sizeof(struct kvmi_x86_ev_exception));
}

/**
 * kvmi_event_dtable() - Payload of an access to a descriptor-table register
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_dtable *
kvmi_event_dtable(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_DTABLE,
		     sizeof(struct kvmi_x86_ev_dtable));
}

/**
 * kvmi_event_io() - Payload of port I/O
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_io *kvmi_event_io(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_IO, sizeof(struct kvmi_x86_ev_io));
}

/**
 * kvmi_event_insn() - Payload of one of the other instructions
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_insn *kvmi_event_insn(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_INSN, sizeof(struct kvmi_x86_ev_insn));
}

/**
 * kvmi_event_delivery() - Payload of what was injected into the guest
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_delivery *
kvmi_event_delivery(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_DELIVERY,
		     sizeof(struct kvmi_x86_ev_delivery));
}

/**
 * kvmi_event_exit() - Payload of any exit
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_exit *kvmi_event_exit(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_EXIT, sizeof(struct kvmi_x86_ev_exit));
}

/**
 * kvmi_event_injected() - Payload of the delivery of what was injected
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_injected *
kvmi_event_injected(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_INJECTED,
		     sizeof(struct kvmi_x86_ev_injected));
}

/**
 * kvmi_event_cr() - Payload of the write of a control register
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_cr *kvmi_event_cr(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_CR, sizeof(struct kvmi_x86_ev_cr));
}

/**
 * kvmi_event_msr() - Payload of RDMSR or WRMSR
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_msr *kvmi_event_msr(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_MSR, sizeof(struct kvmi_x86_ev_msr));
}

/**
 * kvmi_event_cpuid() - Payload of CPUID
 * @event: the event
 *
 * Return: it, or NULL if @event is of another kind.
 */
const struct kvmi_x86_ev_cpuid *kvmi_event_cpuid(const struct kvmi_event *event)
{
	return typed(event, KVMI_EVENT_X86_CPUID, sizeof(struct kvmi_x86_ev_cpuid));
}

/* Register sets stand behind the payload in order of their bits. */
static const void *find_regs(const struct kvmi_event *event, uint32_t set)
{
	static const struct {
		uint32_t bit;
		size_t size;
	} sets[] = {
		{ KVMI_REGS_GENERAL, sizeof(struct kvmi_x86_gprs) },
		{ KVMI_REGS_CONTROL, sizeof(struct kvmi_x86_control) },
		{ KVMI_REGS_SEGMENT, sizeof(struct kvmi_x86_segments) },
	};
	size_t offset = event->header + event->payload;
	size_t i;

	if (!(event->regs & set))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		if (!(event->regs & sets[i].bit))
			continue;
		if (offset + sets[i].size > event->size)
			return NULL;
		if (sets[i].bit == set)
			return (const char *)event + offset;
		offset += sets[i].size;
	}
	return NULL;
}

/**
 * kvmi_event_gprs() - General registers that came with a record
 * @event: the event
 *
 * Return: them, or NULL if they did not come along.
 */
const struct kvmi_x86_gprs *kvmi_event_gprs(const struct kvmi_event *event)
{
	return find_regs(event, KVMI_REGS_GENERAL);
}

/**
 * kvmi_event_control_regs() - Control registers that came with a record
 * @event: the event
 *
 * Return: them, or NULL if they did not come along.
 */
const struct kvmi_x86_control *
kvmi_event_control_regs(const struct kvmi_event *event)
{
	return find_regs(event, KVMI_REGS_CONTROL);
}

/**
 * kvmi_event_segments() - Segment registers that came with a record
 * @event: the event
 *
 * Return: them, or NULL if they did not come along.
 */
const struct kvmi_x86_segments *
kvmi_event_segments(const struct kvmi_event *event)
{
	return find_regs(event, KVMI_REGS_SEGMENT);
}

/**
 * kvmi_reply_init() - Begin an answer
 * @reply: the answer
 * @action: what becomes of the event
 */
void kvmi_reply_init(struct kvmi_reply *reply, enum kvmi_action action)
{
	/* Each of the parts behind is set as a whole, or by a mask, if it is. */
	memset(reply, 0, offsetof(struct kvmi_reply, gprs));
	reply->size = sizeof(*reply);
	reply->action = action;
}

/**
 * kvmi_reply_set_gpr() - Also set a register
 * @reply: the answer
 * @gpr: enum kvmi_x86_gpr
 * @value: its value
 *
 * Return: 0, or -EINVAL if there is no such register.
 */
int kvmi_reply_set_gpr(struct kvmi_reply *reply, unsigned int gpr,
		       uint64_t value)
{
	if (gpr >= KVMI_X86_NR_GPRS)
		return kvmi_error_set(-EINVAL, "there is no register %u", gpr);
	reply->flags |= KVMI_REPLY_REGS;
	reply->reg_mask |= 1U << gpr;
	reply->gprs.r[gpr] = value;
	return 0;
}

/**
 * kvmi_reply_set_view() - Also let the vCPU run on another view from now on
 * @reply: the answer
 * @view: the view's number
 */
void kvmi_reply_set_view(struct kvmi_reply *reply, uint32_t view)
{
	reply->flags |= KVMI_REPLY_VIEW;
	reply->view = view;
}

/**
 * kvmi_reply_step() - Also execute one instruction and post a step event
 * @reply: the answer
 */
void kvmi_reply_step(struct kvmi_reply *reply)
{
	reply->flags |= KVMI_REPLY_STEP;
}

/**
 * kvmi_reply_fast_step() - Also execute one instruction on another view
 * @reply: the answer
 * @view: the view's number, of which the vCPU comes back without an event
 */
void kvmi_reply_fast_step(struct kvmi_reply *reply, uint32_t view)
{
	reply->flags |= KVMI_REPLY_FAST_STEP;
	reply->view = view;
}

/**
 * kvmi_reply_inject() - Also inject an exception, interrupt or NMI
 * @reply: the answer
 * @what: it; as for kvmi_vcpu_inject()
 */
void kvmi_reply_inject(struct kvmi_reply *reply,
		       const struct kvmi_x86_injection *what)
{
	reply->flags |= KVMI_REPLY_INJECT;
	reply->inject = *what;
}

/**
 * kvmi_reply_set_value() - Another value than the guest's own
 * @reply: the answer; its action is KVMI_ACTION_CONTINUE
 * @value: what is written to the control register or MSR in its place, or what
 *	the guest reads from the MSR
 *
 * Other than with a register that is set, the guest does not see it there.
 */
void kvmi_reply_set_value(struct kvmi_reply *reply, uint64_t value)
{
	reply->flags |= KVMI_REPLY_VALUE;
	reply->value = value;
}

/**
 * kvmi_reply_set_regs() - Also set register sets
 * @reply: the answer
 * @sets: KVMI_REGS_* but KVMI_REGS_GENERAL, for which there is
 *	kvmi_reply_set_gpr()
 * @buf: the values, in order of bits, without gaps
 * @size: bytes at @buf
 *
 * Return: 0, or -EINVAL if there is no room for so much.
 */
int kvmi_reply_set_regs(struct kvmi_reply *reply, uint32_t sets,
			const void *buf, size_t size)
{
	if (size > sizeof(reply->set_data))
		return kvmi_error_set(-EINVAL, "no room for %zu bytes of registers",
				      size);
	reply->flags |= KVMI_REPLY_SETS;
	reply->sets = sets;
	reply->pad2 = 0;
	memset(reply->set_data, 0, sizeof(reply->set_data));
	memcpy(reply->set_data, buf, size);
	return 0;
}

/**
 * kvmi_reply_stand_in() - Execute one instruction with other memory than the guest's
 * @reply: the answer; its action is KVMI_ACTION_RETRY
 * @gpa: where: guest-physical address
 * @data: what the instruction reads there, or its own bytes; may be NULL if @len is 0
 * @len: bytes at @data, 0 to KVMI_STAND_IN_BYTES, not over the end of the page
 * @flags: KVMI_STAND_IN_F_*: what it writes to the page may be lost
 *
 * See struct kvmi_stand_in. Call it once for each place, up to KVMI_REPLY_MAX_STAND_INS
 * times: an operand or an instruction that crosses pages has two. The first call
 * forgets what an earlier use of @reply has left.
 *
 * Return: 0, or -EINVAL: @len is too large, or there are too many.
 */
int kvmi_reply_stand_in(struct kvmi_reply *reply, uint64_t gpa, const void *data,
			uint32_t len, uint32_t flags)
{
	struct kvmi_stand_in *to;

	if (!(reply->flags & KVMI_REPLY_STAND_IN))
		reply->nr_stand_ins = 0;
	if (len > KVMI_STAND_IN_BYTES ||
	    reply->nr_stand_ins == KVMI_REPLY_MAX_STAND_INS)
		return kvmi_error_set(-EINVAL, "no room for %u bytes to stand in",
				      len);
	reply->flags |= KVMI_REPLY_STAND_IN;
	reply->pad3 = 0;
	to = &reply->stand_ins[reply->nr_stand_ins++];
	memset(to, 0, sizeof(*to));
	to->gpa = gpa;
	to->len = len;
	to->flags = flags;
	if (len)
		memcpy(to->data, data, len);
	return 0;
}
