// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A vCPU's ring: records from the kernel, answers to it.
 *
 * The kernel writes its part and we ours; neither believes the other. What is
 * read from the kernel's part is read once and checked before it is used, so
 * that a wrong number ends in -EPROTO and not in a wild access.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "barrier.h"
#include "internal.h"

/* The smallest record: what tells its size and kind. */
#define MIN_RECORD	8U

/* While polling, how many looks at the ring per look for the VM's end. */
#define LOOKS_PER_CALL	1000

static void unmap(struct kvmi_ring *ring)
{
	if (ring->header)
		kvmi_sys.munmap((void *)ring->header, ring->header_size);
	if (ring->tool)
		kvmi_sys.munmap(ring->tool, ring->tool_size);
}

static int map(struct kvmi_ring *ring, const struct kvmi_get_ring *get)
{
	uint64_t offset, size;
	void *p;

	if (get->out_header_size < sizeof(struct kvmi_ring_header) ||
	    get->out_header_size > SIZE_MAX / 2 ||
	    get->out_tool_size < sizeof(struct kvmi_ring_tool) ||
	    get->out_tool_size > SIZE_MAX / 2)
		return -EPROTO;
	p = kvmi_sys.mmap(get->out_header_size, PROT_READ, ring->vm->fd,
			  get->out_header_offset);
	if (p == MAP_FAILED)
		return -errno;
	ring->header = p;
	ring->header_size = get->out_header_size;
	p = kvmi_sys.mmap(get->out_tool_size, PROT_READ | PROT_WRITE,
			  ring->vm->fd, get->out_tool_offset);
	if (p == MAP_FAILED)
		return -errno;
	ring->tool = p;
	ring->tool_size = get->out_tool_size;

	offset = READ_ONCE(ring->header->data_offset);
	size = READ_ONCE(ring->header->data_size);
	if (READ_ONCE(ring->header->version) != KVMI_ABI_VERSION ||
	    size < 4096 || size & (size - 1) || offset % 8 ||
	    offset < sizeof(struct kvmi_ring_header) ||
	    offset > ring->header_size || size > ring->header_size - offset)
		return -EPROTO;
	ring->data = (const unsigned char *)ring->header + offset;
	ring->data_size = size;
	/* Go on where the last user of this session stopped. */
	ring->consumer = READ_ONCE(ring->tool->consumer);
	return 0;
}

/**
 * kvmi_ring_open() - Open a vCPU's ring
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_VM for that of the VM itself
 * @eventfd: descriptor of an eventfd(2) to be signalled for each record, or -1
 * @ring: where to store it; close it with kvmi_ring_close()
 *
 * For tools that serve each vCPU by a thread of its own. One ring must not be
 * used by two threads at a time, and not together with the kvmi_event_
 * functions that wait and answer.
 *
 * Return: 0 or a negative errno; -ENOENT: no such vCPU.
 */
int kvmi_ring_open(struct kvmi_vm *vm, unsigned int vcpu, int eventfd,
		   struct kvmi_ring **ring)
{
	struct kvmi_get_ring get = {
		.size = sizeof(get),
		.vcpu = vcpu,
		.eventfd = eventfd,
	};
	struct kvmi_ring *new;
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_GET_RING, &get, "get ring");
	if (ret < 0)
		return ret;
	new = calloc(1, sizeof(*new));
	if (!new)
		return kvmi_error_set(-ENOMEM, "out of memory");
	new->vm = vm;
	new->vcpu = vcpu;
	ret = map(new, &get);
	if (ret) {
		unmap(new);
		free(new);
		return vcpu == KVMI_VCPU_VM ?
		       kvmi_error_set(ret, "cannot map the VM's ring: %s",
				      strerror(-ret)) :
		       kvmi_error_set(ret, "cannot map the ring of vCPU %u: %s",
				      vcpu, strerror(-ret));
	}
	*ring = new;
	return 0;
}

/**
 * kvmi_ring_close() - Close a ring
 * @ring: the ring, or NULL
 *
 * The record that was handed out last counts as consumed. Events stay enabled.
 */
void kvmi_ring_close(struct kvmi_ring *ring)
{
	if (!ring)
		return;
	kvmi_ring_consume(ring);
	unmap(ring);
	free(ring);
}

/**
 * kvmi_ring_consume() - Give the place of the last record back
 * @ring: the ring
 *
 * kvmi_ring_next() does it as well. Afterwards the record must not be looked at
 * any more. It makes room in the ring, and has nothing to do with the answer.
 */
void kvmi_ring_consume(struct kvmi_ring *ring)
{
	if (!ring->current)
		return;
	ring->consumer += ring->current;
	ring->current = 0;
	store_release(&ring->tool->consumer, ring->consumer);
}

static int garbage(struct kvmi_ring *ring, uint64_t producer)
{
	/* What follows cannot be found either: skip all there is. */
	ring->consumer = producer;
	store_release(&ring->tool->consumer, producer);
	return kvmi_error_set(-EPROTO, "the ring of vCPU %u makes no sense",
			      ring->vcpu);
}

int kvmi_ring_peek(struct kvmi_ring *ring, const struct kvmi_event **event)
{
	for (;;) {
		uint64_t producer = load_acquire(&ring->header->producer);
		uint64_t unread = producer - ring->consumer;
		uint64_t pos = ring->consumer & (ring->data_size - 1);
		uint64_t room = ring->data_size - pos;
		const struct kvmi_event *ev;
		uint16_t kind, header, payload;
		uint32_t size;

		if (!unread)
			return 0;
		ev = (const struct kvmi_event *)(ring->data + pos);
		if (unread > ring->data_size || unread < MIN_RECORD || pos % 8)
			return garbage(ring, producer);
		size = READ_ONCE(ev->size);
		kind = READ_ONCE(ev->kind);
		if (size < MIN_RECORD || size % 8 || size > unread ||
		    size > room)
			return garbage(ring, producer);
		if (kind == KVMI_EVENT_PAD) {
			ring->consumer += size;
			store_release(&ring->tool->consumer, ring->consumer);
			continue;
		}
		if (size < sizeof(*ev))
			return garbage(ring, producer);
		header = READ_ONCE(ev->header);
		payload = READ_ONCE(ev->payload);
		if (header % 8 || header < sizeof(*ev) || header > size ||
		    payload % 8 || payload > size - header ||
		    READ_ONCE(ev->vcpu) != ring->vcpu)
			return garbage(ring, producer);
		ring->current = size;
		*event = ev;
		return 1;
	}
}

/**
 * kvmi_ring_next() - The next record, if there is one
 * @ring: the ring
 * @event: where to store its address
 *
 * No system call is made. The record stands in the ring itself and is valid
 * until the next call on the ring other than kvmi_ring_answer().
 *
 * Return: 1, 0 if there is no record, or a negative errno; -EPROTO: the ring
 * held garbage, which was skipped.
 */
int kvmi_ring_next(struct kvmi_ring *ring, const struct kvmi_event **event)
{
	kvmi_ring_consume(ring);
	return kvmi_ring_peek(ring, event);
}

#define LATER_PARTS	(KVMI_REPLY_INJECT | KVMI_REPLY_VALUE | KVMI_REPLY_SETS | \
			 KVMI_REPLY_STAND_IN)
/* Of struct kvmi_reply as it was in the beginning. */
#define FIRST_SIZE	offsetof(struct kvmi_reply, inject)
/* ... and before there were stand-ins. */
#define SETS_SIZE	offsetof(struct kvmi_reply, nr_stand_ins)

static void write_later(struct kvmi_reply *to, const struct kvmi_reply *reply)
{
	/* One without stand-ins, a kernel that does not know them takes as well. */
	to->size = reply->flags & KVMI_REPLY_STAND_IN ? sizeof(*to) : SETS_SIZE;
	if (reply->flags & KVMI_REPLY_INJECT)
		to->inject = reply->inject;
	if (reply->flags & KVMI_REPLY_VALUE)
		to->value = reply->value;
	if (reply->flags & KVMI_REPLY_SETS) {
		to->sets = reply->sets;
		to->pad2 = reply->pad2;
		memcpy(to->set_data, reply->set_data, sizeof(to->set_data));
	}
	if (reply->flags & KVMI_REPLY_STAND_IN) {
		to->nr_stand_ins = reply->nr_stand_ins;
		to->pad3 = reply->pad3;
		memcpy(to->stand_ins, reply->stand_ins, sizeof(to->stand_ins));
	}
}

int kvmi_ring_write_reply(struct kvmi_ring *ring, uint64_t id,
			  const struct kvmi_reply *reply)
{
	struct kvmi_reply *to = &ring->tool->reply;

	/* Until the id is there, what is written is no answer to anything. */
	WRITE_ONCE(to->id, 0);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	/* Without the parts that came later, an older kernel takes it as well. */
	to->size = FIRST_SIZE;
	to->action = reply->action;
	to->flags = reply->flags;
	to->view = reply->view;
	to->reg_mask = reply->reg_mask;
	to->pad = reply->pad;
	if (reply->flags & KVMI_REPLY_REGS)
		to->gprs = reply->gprs;
	if (reply->flags & LATER_PARTS)
		write_later(to, reply);
	store_release(&to->id, id);
	full_barrier();
	return READ_ONCE(ring->header->state) == KVMI_RING_SLEEPING;
}

int kvmi_vm_wait_ioctl(struct kvmi_vm *vm, uint32_t kick, uint32_t wait,
		       int64_t timeout_ns)
{
	struct kvmi_wait arg = {
		.size = sizeof(arg),
		.flags = timeout_ns >= 0 ? KVMI_WAIT_F_TIMEOUT : 0,
		.kick = kick,
		.wait = wait,
		.timeout_ns = timeout_ns >= 0 ? timeout_ns : 0,
	};
	int ret;

	if (kvmi_sys.ioctl(vm->fd, KVMI_WAIT, &arg) >= 0)
		return 1;
	ret = -errno;
	if (ret == -ETIMEDOUT)
		return 0;
	if (ret == -ENODEV)
		return kvmi_error_set(ret, "wait: the VM is gone");
	return kvmi_error_set(ret, "wait: %s", strerror(-ret));
}

/**
 * kvmi_ring_answer() - Answer an event
 * @ring: the ring that the event came from
 * @id: kvmi_event.id
 * @reply: the answer
 *
 * The vCPU is woken if it sleeps. Events may be answered after further records
 * were read.
 *
 * Return: 0 or a negative errno. That the kernel refused the answer shows in
 * kvmi_ring_last_error().
 */
int kvmi_ring_answer(struct kvmi_ring *ring, uint64_t id,
		     const struct kvmi_reply *reply)
{
	int ret;

	if (!kvmi_ring_write_reply(ring, id, reply))
		return 0;
	ret = kvmi_vm_wait_ioctl(ring->vm, ring->vcpu, KVMI_VCPU_NONE, 0);
	return ret < 0 ? ret : 0;
}

static int wait_for_record(struct kvmi_ring *ring, uint32_t kick,
			   const struct kvmi_event **event, int timeout_ms)
{
	int64_t timeout_ns = timeout_ms < 0 ? -1 : timeout_ms * 1000000LL;
	int64_t end = timeout_ns < 0 ? 0 : kvmi_now_ns() + timeout_ns;
	unsigned int looks = 0;
	int64_t left = timeout_ns;
	int ret;

	for (;;) {
		ret = kvmi_ring_next(ring, event);
		if (ret) {
			if (kick != KVMI_VCPU_NONE)
				kvmi_vm_wait_ioctl(ring->vm, kick,
						   KVMI_VCPU_NONE, 0);
			return ret;
		}
		if (timeout_ns >= 0) {
			left = end - kvmi_now_ns();
			if (left < 0)
				left = 0;
		}
		if (!ring->polls) {
			ret = kvmi_vm_wait_ioctl(ring->vm, kick, ring->vcpu,
						 left);
			kick = KVMI_VCPU_NONE;
			if (ret > 0)
				continue;
			if (ret < 0 && ret != -ENODEV)
				return ret;
			/* The last moment's record still counts. */
			return kvmi_ring_next(ring, event) > 0 ? 1 : ret;
		}
		if (kick != KVMI_VCPU_NONE || ++looks % LOOKS_PER_CALL == 0) {
			ret = kvmi_vm_wait_ioctl(ring->vm, kick,
						 KVMI_VCPU_NONE, 0);
			kick = KVMI_VCPU_NONE;
			if (ret < 0)
				return kvmi_ring_next(ring, event) > 0 ? 1 : ret;
		}
		if (!left)
			return 0;
		cpu_relax();
		sched_yield();
	}
}

/**
 * kvmi_ring_wait() - Wait for the next record
 * @ring: the ring
 * @event: where to store its address
 * @timeout_ms: milliseconds at most, or -1
 *
 * Return: 1, 0 when the time is over, or a negative errno: -EINTR: a signal;
 * -ENODEV: the VM is gone; -EPROTO: see kvmi_ring_next().
 */
int kvmi_ring_wait(struct kvmi_ring *ring, const struct kvmi_event **event,
		   int timeout_ms)
{
	return wait_for_record(ring, KVMI_VCPU_NONE, event, timeout_ms);
}

/**
 * kvmi_ring_answer_wait() - Answer an event and wait for the next record
 * @ring: the ring that the event came from
 * @id: kvmi_event.id
 * @reply: the answer
 * @next: where to store the next record's address
 * @timeout_ms: milliseconds at most, or -1
 *
 * One system call for both where one is needed: the quickest way for a tool
 * that sleeps.
 *
 * Return: as kvmi_ring_wait().
 */
int kvmi_ring_answer_wait(struct kvmi_ring *ring, uint64_t id,
			  const struct kvmi_reply *reply,
			  const struct kvmi_event **next, int timeout_ms)
{
	int kick = kvmi_ring_write_reply(ring, id, reply);

	return wait_for_record(ring, kick ? ring->vcpu : KVMI_VCPU_NONE, next,
			       timeout_ms);
}

/**
 * kvmi_ring_set_polling() - Watch the ring instead of sleeping
 * @ring: the ring
 * @on: whether to
 *
 * The kernel is told, so that the vCPU watches for the answer likewise.
 */
void kvmi_ring_set_polling(struct kvmi_ring *ring, bool on)
{
	ring->polls = on;
	WRITE_ONCE(ring->tool->flags, on ? KVMI_TOOL_POLLS : 0);
}

/**
 * kvmi_ring_last_error() - What became of the last answer
 * @ring: the ring
 * @id: where to store the id of the event whose answer was taken last, or NULL
 *
 * Return: 0, or the negative errno for which that answer was refused.
 */
int kvmi_ring_last_error(struct kvmi_ring *ring, uint64_t *id)
{
	if (id)
		*id = READ_ONCE(ring->header->last_event);
	return READ_ONCE(ring->header->last_error);
}

/**
 * kvmi_ring_dropped() - How many records were lost because the ring was full
 * @ring: the ring
 * @kind: of which kind of event, or -1 for all
 *
 * Return: the number.
 */
uint64_t kvmi_ring_dropped(struct kvmi_ring *ring, int kind)
{
	if (kind < 0)
		return READ_ONCE(ring->header->dropped_total);
	if (kind >= KVMI_NR_KINDS)
		return 0;
	return READ_ONCE(ring->header->dropped[kind]);
}
