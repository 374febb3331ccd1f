// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: raising one on a vCPU's thread, waiting for the answer, acting on it.
 *
 * A synchronous event is *open* from its record until its answer. The thread
 * waits interruptibly and without kvm->srcu; if it has a signal, KVM_RUN returns
 * with KVM_EXIT_INTR, the event stays open, and the gate in vcpu_pre_run waits
 * on, unless the vCPU is not in the state any more in which it was raised.
 *
 * Every event is raised before anything has been done about the exit, or after
 * everything has: to end one without an answer, re-entering the guest is right.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <asm/msr.h>

#include "hook.h"
#include "poll.h"

/**
 * kvmi_events_supported - kinds that can be enabled
 *
 * Return: bit mask by enum kvmi_event_kind.
 */
u64 kvmi_events_supported(void)
{
	return BIT_ULL(KVMI_EVENT_ACCESS) | BIT_ULL(KVMI_EVENT_BREAKPOINT) |
	       BIT_ULL(KVMI_EVENT_STEP) | BIT_ULL(KVMI_EVENT_INJECTED) |
	       BIT_ULL(KVMI_EVENT_X86_CR) |
	       BIT_ULL(KVMI_EVENT_X86_MSR) | BIT_ULL(KVMI_EVENT_X86_CPUID);
}

/* ---- the answer ------------------------------------------------------------ */

static bool kvmi_reply_here(struct kvmi_vcpu *kv)
{
	/* Pairs with the release of the tool: the rest was written before. */
	return smp_load_acquire(&kv->ring.tool->reply.id) == kv->open.id;
}

/**
 * kvmi_event_overdue - is the open event over, its time limit run out?
 * @kv: the vCPU; called on its thread
 *
 * Return: true if so.
 */
bool kvmi_event_overdue(struct kvmi_vcpu *kv)
{
	/*
	 * The timer may have looked at an earlier event, and say so when that
	 * is closed already: its word counts only if this one is overdue, too.
	 */
	if (unlikely(test_bit(KVMI_VCPU_F_RESET, &kv->flags)))
		return true;
	return test_bit(KVMI_VCPU_F_TIMEOUT, &kv->flags) &&
	       kv->open.deadline && time_after(jiffies, kv->open.deadline);
}

static bool kvmi_event_answered(struct kvmi_vcpu *kv)
{
	return kvmi_reply_here(kv) || kvmi_event_overdue(kv);
}

/* Parts of struct kvmi_reply that its first version had not. */
#define KVMI_REPLY_LATER	(KVMI_REPLY_INJECT | KVMI_REPLY_VALUE | KVMI_REPLY_SETS)

/* Once: the tool can change it at any moment. */
static void kvmi_reply_copy(struct kvmi_vcpu *kv)
{
	const struct kvmi_reply *from = &kv->ring.tool->reply;
	struct kvmi_reply *reply = &kv->reply;

	memcpy(reply, from, offsetof(struct kvmi_reply, gprs));
	barrier();
	if (reply->flags & KVMI_REPLY_REGS)
		reply->gprs = from->gprs;
	if (likely(!(reply->flags & KVMI_REPLY_LATER)))
		return;
	reply->inject = from->inject;
	reply->value = from->value;
	reply->pad2 = from->pad2;
	reply->sets = READ_ONCE(from->sets);
	if (reply->flags & KVMI_REPLY_SETS)
		memcpy(reply->set_data, from->set_data,
		       kvmi_regs_size(reply->sets & KVMI_REGS_ALL));
}

/* Of a newer tool: all that is not known here must be zero. */
static bool kvmi_reply_fits(struct kvmi_vcpu *kv)
{
	const void *reply = &kv->ring.tool->reply;
	u32 size = kv->reply.size;

	return size <= PAGE_SIZE - offset_in_page(reply) &&
	       !memchr_inv(reply + sizeof(kv->reply), 0,
			   size - sizeof(kv->reply));
}

/* What came later than the first version of struct kvmi_reply. */
static noinline int kvmi_reply_check_more(struct kvmi_vcpu *kv, bool steps)
{
	const struct kvmi_reply *reply = &kv->reply;
	int ret;

	BUILD_BUG_ON(KVMI_REGS_MAX_SIZE > KVMI_REPLY_MAX_SETS);
	if (reply->flags & KVMI_REPLY_INJECT) {
		if (reply->size < offsetofend(struct kvmi_reply, inject) ||
		    steps || reply->action == KVMI_ACTION_CRASH)
			return -EINVAL;
		ret = kvmi_inject_check(&reply->inject);
		if (ret)
			return ret;
		ret = kvmi_inject_can(kv, &reply->inject);
		if (ret)
			return ret;
	}
	if (reply->flags & KVMI_REPLY_VALUE) {
		if (reply->size < offsetofend(struct kvmi_reply, value) ||
		    reply->action != KVMI_ACTION_CONTINUE ||
		    kv->open.exit.value == KVMI_VALUE_NONE)
			return -EINVAL;
	}
	if (!(reply->flags & KVMI_REPLY_SETS))
		return 0;
	if (reply->size < offsetofend(struct kvmi_reply, set_data) ||
	    !reply->sets || reply->pad2 ||
	    (reply->sets & ~(KVMI_REGS_ALL & ~KVMI_REGS_GENERAL)))
		return -EINVAL;
	/* KVM has the last word, and can refuse: so nothing is done before. */
	return kvmi_regs_set(kv, reply->sets, kv->reply.set_data);
}

/* Of a session that was narrowed: see session.c. */
static noinline bool kvmi_reply_allowed(struct kvmi_vcpu *kv)
{
	const struct kvmi_reply *reply = &kv->reply;

	return !(reply->flags & ~READ_ONCE(kv->vm->reply_flags)) &&
	       (READ_ONCE(kv->vm->reply_actions) & BIT(reply->action & 31));
}

static int kvmi_reply_check(struct kvmi_vcpu *kv)
{
	const struct kvmi_exit *ex = &kv->open.exit;
	const struct kvmi_reply *reply = &kv->reply;
	u32 steps = reply->flags & (KVMI_REPLY_STEP | KVMI_REPLY_FAST_STEP);
	u32 views = reply->flags & (KVMI_REPLY_VIEW | KVMI_REPLY_FAST_STEP);
	bool reenters;

	if (reply->size < offsetofend(struct kvmi_reply, gprs))
		return -EINVAL;
	if (reply->size > sizeof(*reply) && !kvmi_reply_fits(kv))
		return -E2BIG;
	/* Most say no more than this, which everybody may. */
	if (likely(!(reply->action | reply->flags | reply->view |
		     reply->reg_mask | reply->pad)))
		return 0;
	if (reply->flags & ~(KVMI_REPLY_REGS | KVMI_REPLY_VIEW |
			     KVMI_REPLY_STEP | KVMI_REPLY_FAST_STEP |
			     KVMI_REPLY_LATER))
		return -EINVAL;
	if (reply->pad)
		return -EINVAL;

	if (unlikely(READ_ONCE(kv->vm->narrowed)) && !kvmi_reply_allowed(kv))
		return -EPERM;

	switch (reply->action) {
	case KVMI_ACTION_CONTINUE:
	case KVMI_ACTION_RETRY:
	case KVMI_ACTION_CRASH:
		break;
	case KVMI_ACTION_SKIP:
		if (!ex->skip)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}

	/* The guest executes from its present RIP, whatever that is. */
	reenters = reply->action == KVMI_ACTION_RETRY ||
		   (reply->action == KVMI_ACTION_CONTINUE &&
		    ex->cont == KVMI_CONT_NOTHING);
	if (hweight32(steps) > 1 || hweight32(views) > 1)
		return -EINVAL;
	if ((steps || views) && !reenters)
		return -EINVAL;
	if (views && !kvmi_view_exists(kv->vm, reply->view))
		return -ENOENT;
	if (!views && reply->view)
		return -EINVAL;

	if (reply->flags & KVMI_REPLY_REGS) {
		if (reply->reg_mask & ~GENMASK(KVMI_X86_NR_GPRS - 1, 0))
			return -EINVAL;
		if ((reply->reg_mask & BIT(KVMI_X86_RIP)) && !reenters &&
		    reply->gprs.r[KVMI_X86_RIP] != kvmi_regs_rip(kv->vcpu))
			return -EINVAL;
	} else if (reply->reg_mask) {
		return -EINVAL;
	}
	if (likely(!(reply->flags & KVMI_REPLY_LATER)))
		return 0;
	return kvmi_reply_check_more(kv, steps);
}

static void kvmi_event_close(struct kvmi_vcpu *kv, int error)
{
	struct kvmi_ring_header *header = kv->ring.header;
	u64 cycles;

	WRITE_ONCE(header->state, KVMI_RING_IDLE);
	WRITE_ONCE(header->last_error, error);
	WRITE_ONCE(header->last_event, kv->open.id);
	WRITE_ONCE(header->open_event, 0);
	WRITE_ONCE(kv->open.id, 0);
	kv->open.deadline = 0;
	if (unlikely(READ_ONCE(kv->flags) & (BIT(KVMI_VCPU_F_TIMEOUT) |
					     BIT(KVMI_VCPU_F_RESET)))) {
		clear_bit(KVMI_VCPU_F_TIMEOUT, &kv->flags);
		clear_bit(KVMI_VCPU_F_RESET, &kv->flags);
	}
	cycles = rdtsc() - kv->open.since;
	if (likely((s64)cycles > 0))
		kv->stats.cycles[kv->open.exit.kind] += cycles;
	if (unlikely(kv->open.flags & KVMI_EVENT_F_STOPPED))
		kvmi_pause_release(kv);
}

/* As kvmi_exit_act(), but for a call in the usual case. */
static int kvmi_event_continue(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	if (likely(ex->cont == KVMI_CONT_ORIG))
		return kvm_orig(handle_exit)(kv->vcpu, EXIT_FASTPATH_NONE);
	return kvmi_exit_act(kv, ex);
}

/* Act: the answer is in kv->reply, or there is none. */
/* The parts of an answer besides its action. */
static void kvmi_event_apply(struct kvmi_vcpu *kv, u64 id)
{
	struct kvmi_reply *reply = &kv->reply;
	u64 injection;

	/* Its record names the event, which the tool knows. */
	if (unlikely(reply->flags & KVMI_REPLY_INJECT) &&
	    !kvmi_inject_queue(kv, &reply->inject, &injection))
		kv->inject.slot[reply->inject.type].id = id;
	if (reply->flags & KVMI_REPLY_REGS)
		kvmi_regs_set_gprs(kv, reply->reg_mask, &reply->gprs);
	if (reply->flags & KVMI_REPLY_VIEW)
		kvmi_view_enter(kv, reply->view);
	if (reply->flags & KVMI_REPLY_STEP) {
		kvmi_step_start(kv, KVMI_STEP_EVENT);
	} else if (reply->flags & KVMI_REPLY_FAST_STEP) {
		kvmi_step_start(kv, KVMI_STEP_FAST);
		kvmi_view_enter(kv, reply->view);
	}
}

static int kvmi_event_finish(struct kvmi_vcpu *kv)
{
	struct kvmi_exit *ex = &kv->open.exit;
	struct kvmi_reply *reply = &kv->reply;
	u32 action = READ_ONCE(kv->vm->default_action);
	u32 flags = 0;
	int error = 0;
	u64 id;

	/* Let go: re-entering the guest repeats the exit, unwatched. */
	if (unlikely(READ_ONCE(kv->flags) & (BIT(KVMI_VCPU_F_GONE) |
					     BIT(KVMI_VCPU_F_RESET)))) {
		kvmi_event_close(kv, -ECANCELED);
		return 1;
	}

	if (kvmi_reply_here(kv)) {
		kvmi_reply_copy(kv);
		error = kvmi_reply_check(kv);
		if (error) {
			WRITE_ONCE(kv->ring.header->bad_replies,
				   kv->ring.header->bad_replies + 1);
		} else {
			action = reply->action;
			flags = reply->flags;
		}
	} else {
		error = -ETIMEDOUT;
	}
	id = kv->open.id;
	kvmi_event_close(kv, error);

	if (flags)
		kvmi_event_apply(kv, id);

	switch (action) {
	case KVMI_ACTION_RETRY:
		return 1;
	case KVMI_ACTION_SKIP:
		return kvmi_exit_skip(kv);
	case KVMI_ACTION_CRASH:
		return kvmi_exit_crash(kv);
	default:
		if (unlikely(flags & KVMI_REPLY_VALUE))
			return kvmi_regs_act_with(kv, ex, reply->value);
		return kvmi_event_continue(kv, ex);
	}
}

/* ---- waiting ---------------------------------------------------------------- */

static bool kvmi_event_poll(struct kvmi_vcpu *kv)
{
	bool told = READ_ONCE(kv->ring.tool->flags) & KVMI_TOOL_POLLS;
	struct kvmi_poll_state state;
	bool answered = false;

	if (!kvmi_poll_begin(&kv->poll, &state, told))
		return false;
	while (!signal_pending(current) && !READ_ONCE(kv->job) &&
	       !test_bit(KVMI_VCPU_F_GONE, &kv->flags) &&
	       kvmi_poll_again(&state)) {
		answered = kvmi_event_answered(kv);
		if (answered)
			break;
	}
	kvmi_poll_end(&kv->poll, &state, answered);
	return answered;
}

static int kvmi_event_sleep(struct kvmi_vcpu *kv)
{
	int ret = 0;

	if (!kvmi_event_poll(kv)) {
		WRITE_ONCE(kv->ring.header->state, KVMI_RING_SLEEPING);
		/* kvmi_vcpu_sleep() has the barrier before it looks. */
		ret = kvmi_vcpu_sleep(kv, kvmi_event_answered, 0);
	}
	/* An answered vCPU that is paused as well stays here. */
	if (!ret && unlikely(!kvmi_vcpu_may_run(kv)))
		ret = kvmi_vcpu_park(kv);
	return ret;
}

/* The thread has a signal: to the VMM, the event stays open. */
static int kvmi_event_leave(struct kvmi_vcpu *kv, int ret)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	/* What the VMM may change before the next KVM_RUN. */
	kvmi_regs_snapshot(kv, &kv->open.snap);
	vcpu->run->exit_reason = KVM_EXIT_INTR;
	vcpu->stat.signal_exits++;
	return ret;
}

static int kvmi_event_wait(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	int ret;

	kvm_vcpu_srcu_read_unlock(vcpu);
	ret = kvmi_event_sleep(kv);
	kvm_vcpu_srcu_read_lock(vcpu);

	return ret ? kvmi_event_leave(kv, ret) : kvmi_event_finish(kv);
}

static bool kvmi_ring_has_room(struct kvmi_vcpu *kv)
{
	u64 used = kv->ring.producer - READ_ONCE(kv->ring.tool->consumer);

	/* Room for any record, with the padding it may need. */
	return used <= kv->ring.size / 2 || kvmi_event_overdue(kv);
}

static int kvmi_event_sleep_room(struct kvmi_vcpu *kv)
{
	int ret;

	set_bit(KVMI_VCPU_F_NO_ROOM, &kv->flags);
	ret = kvmi_vcpu_sleep(kv, kvmi_ring_has_room, 0);
	clear_bit(KVMI_VCPU_F_NO_ROOM, &kv->flags);
	/* It may be that nobody is told, and the vCPU goes on. */
	return ret ?: kvmi_vcpu_park(kv);
}

/* A synchronous event finds the ring full of what the tool has not read. */
static int kvmi_event_wait_room(struct kvmi_vcpu *kv)
{
	int ret;

	kvm_vcpu_srcu_read_unlock(kv->vcpu);
	ret = kvmi_event_sleep_room(kv);
	kvm_vcpu_srcu_read_lock(kv->vcpu);
	return ret;
}

static void kvmi_event_arm_timeout(struct kvmi_vcpu *kv)
{
	u32 timeout = READ_ONCE(kv->vm->timeout);

	WRITE_ONCE(kv->open.deadline, timeout ? (jiffies + timeout) | 1 : 0);
}

/**
 * kvmi_event_set_timeout - limit how long a vCPU waits for an answer
 * @vm: the VM
 * @timeout: jiffies, also for events that are open, from now on; 0 for no limit
 */
void kvmi_event_set_timeout(struct kvmi_vm *vm, u32 timeout)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	WRITE_ONCE(vm->timeout, timeout);
	/*
	 * An event that closes or opens meanwhile is none the worse for it: who
	 * opens one writes its deadline anew, and kvmi_event_timer() finds one
	 * that was opened without.
	 */
	xa_for_each(&vm->vcpus, i, kv)
		if (READ_ONCE(kv->open.id))
			kvmi_event_arm_timeout(kv);
	if (timeout)
		mod_delayed_work(system_wq, &vm->timer, 0);
}

static int kvmi_event_stop_others(struct kvmi_vcpu *kv)
{
	int ret;

	kvm_vcpu_srcu_read_unlock(kv->vcpu);
	ret = kvmi_pause_others(kv);
	kvm_vcpu_srcu_read_lock(kv->vcpu);
	return ret;
}

/* The event is open: stop the others if it is to, post its record, and wait. */
static int kvmi_event_show(struct kvmi_vcpu *kv)
{
	const struct kvmi_exit *ex = &kv->open.exit;
	int ret;

	if (kv->open.flags & KVMI_EVENT_F_STOPPED) {
		ret = kvmi_event_stop_others(kv);
		if (ret)
			return kvmi_event_leave(kv, ret);
	}
	while (!kvmi_ring_post(kv, ex, kv->open.id)) {
		ret = kvmi_event_wait_room(kv);
		if (ret)
			return kvmi_event_leave(kv, ret);
		if (kvmi_event_overdue(kv) ||
		    test_bit(KVMI_VCPU_F_GONE, &kv->flags)) {
			kvmi_ring_drop(&kv->ring, ex->kind);
			return kvmi_event_finish(kv);
		}
	}
	kv->open.shown = true;
	return kvmi_event_wait(kv);
}

/**
 * kvmi_event_raise - report an exit and do what is answered
 * @kv: the vCPU; called within handle_exit or vcpu_pre_run on its thread, with
 *	kvm->srcu held and KVM's bookkeeping of the exit done
 * @ex: the exit; copied, unless it is the vCPU's own, kv->open.exit
 *
 * Return: as kvm_x86_ops.handle_exit: above 0 to enter the guest again.
 */
int kvmi_event_raise(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	u64 id;

	if (unlikely(test_bit(KVMI_VCPU_F_GONE, &kv->flags)))
		return kvmi_exit_act(kv, ex);

	kv->ring.seq++;
	if (unlikely(kv->limits) && !kvmi_limit_check(kv, ex->kind)) {
		kvmi_ring_drop(&kv->ring, ex->kind);
		return kvmi_event_continue(kv, ex);
	}
	if (ex->mode != KVMI_MODE_SYNC) {
		if (!kvmi_ring_post(kv, ex, 0))
			kvmi_ring_drop(&kv->ring, ex->kind);
		return kvmi_event_continue(kv, ex);
	}

	/* Ids are unique in the session. They can be guessed: by the tool alone. */
	id = (++kv->next_id << 16) | (kv->index & 0xffff);
	if (ex != &kv->open.exit)
		kv->open.exit = *ex;
	kv->open.flags = KVMI_EVENT_F_SYNC;
	if (unlikely(READ_ONCE(kv->stop_kinds)) &&
	    (READ_ONCE(kv->stop_kinds) & BIT_ULL(ex->kind)))
		kv->open.flags |= KVMI_EVENT_F_STOPPED;
	kvmi_event_arm_timeout(kv);
	WRITE_ONCE(kv->open.since, rdtsc());
	WRITE_ONCE(kv->open.id, id);
	/* A tool that watches finds this before the record. */
	WRITE_ONCE(kv->ring.header->state, KVMI_RING_POLLING);

	if (unlikely(kv->open.flags & KVMI_EVENT_F_STOPPED) ||
	    !kvmi_ring_post(kv, ex, id)) {
		kv->open.shown = false;
		return kvmi_event_show(kv);
	}
	kv->open.shown = true;
	return kvmi_event_wait(kv);
}

/**
 * kvmi_event_resume - go on waiting at the start of KVM_RUN
 * @kv: the vCPU; called within vcpu_pre_run on its thread
 *
 * If the VMM has changed the vCPU meanwhile (a reset, a snapshot loaded,
 * KVM_SET_REGS), the event is cancelled, and the tool told so.
 *
 * Return: as kvm_x86_ops.vcpu_pre_run: 1 to run, else leave KVM_RUN.
 */
int kvmi_event_resume(struct kvmi_vcpu *kv)
{
	struct kvmi_exit cancelled = {
		.kind = KVMI_EVENT_CANCELLED,
		.size = sizeof(cancelled.payload.cancelled),
		.payload.cancelled.event = kv->open.id,
		.payload.cancelled.kind = kv->open.exit.kind,
	};
	struct kvmi_snapshot now;

	if (!kv->open.id)
		return 1;

	kvmi_regs_snapshot(kv, &now);
	if (!memcmp(&now, &kv->open.snap, sizeof(now)))
		return kv->open.shown ? kvmi_event_wait(kv) :
					kvmi_event_show(kv);

	kvmi_step_cancel(kv);
	if (!kv->open.shown) {
		kvmi_event_close(kv, 0);
		kv->ring.seq--;
		return 1;
	}
	kvmi_event_close(kv, -ECANCELED);
	kv->ring.seq++;
	if (!kvmi_ring_post(kv, &cancelled, 0))
		kvmi_ring_drop(&kv->ring, cancelled.kind);
	return 1;
}

/**
 * kvmi_event_timer - end waits that are overdue
 * @work: vm->timer
 */
void kvmi_event_timer(struct work_struct *work)
{
	struct kvmi_vm *vm = container_of(to_delayed_work(work),
					  struct kvmi_vm, timer);
	u32 timeout = READ_ONCE(vm->timeout);
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv) {
		unsigned long deadline = READ_ONCE(kv->open.deadline);

		if (!deadline && timeout && READ_ONCE(kv->open.id)) {
			kvmi_event_arm_timeout(kv);
		} else if (deadline && time_after(jiffies, deadline)) {
			set_bit(KVMI_VCPU_F_TIMEOUT, &kv->flags);
			kvmi_vcpu_wake(kv);
		}
	}
	if (timeout && !READ_ONCE(vm->detached))
		schedule_delayed_work(&vm->timer, timeout / 10 + 1);
}

/* ---- the tool's side ----------------------------------------------------------- */

static void kvmi_event_kick(struct kvmi_vcpu *kv)
{
	if (READ_ONCE(kv->ring.header->state) != KVMI_RING_IDLE ||
	    test_bit(KVMI_VCPU_F_NO_ROOM, &kv->flags))
		kvmi_vcpu_wake(kv);
}

static bool kvmi_vm_unread(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	if (vm->nr_vcpus == 1) {
		kv = xa_load(&vm->vcpus, 0);
		return kv && kvmi_ring_unread(&kv->ring);
	}
	xa_for_each(&vm->vcpus, i, kv)
		if (kvmi_ring_unread(&kv->ring))
			return true;
	return false;
}

/**
 * kvmi_event_pending - is there something to read, or the VM gone?
 * @vm: of a session
 *
 * Return: mask of EPOLLIN, EPOLLHUP.
 */
__poll_t kvmi_event_pending(struct kvmi_vm *vm)
{
	__poll_t mask = 0;

	if (kvmi_vm_unread(vm))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(vm->gone) || READ_ONCE(vm->detached))
		mask |= EPOLLHUP;
	return mask;
}

/* @kv: of a ring, or NULL for any */
static bool kvmi_event_unread(struct kvmi_vm *vm, struct kvmi_vcpu *kv)
{
	return kv ? kvmi_ring_unread(&kv->ring) : kvmi_vm_unread(vm);
}

static bool kvmi_event_poll_any(struct kvmi_vm *vm, struct kvmi_vcpu *kv)
{
	struct kvmi_poll_state state;
	bool unread;

	if (!kvmi_poll_begin(&vm->poll, &state, false))
		return false;
	do {
		unread = kvmi_event_unread(vm, kv);
		if (unread || signal_pending(current) ||
		    READ_ONCE(vm->detached))
			break;
	} while (kvmi_poll_again(&state));
	kvmi_poll_end(&vm->poll, &state, unread);
	return unread;
}

/**
 * kvmi_event_wait_any - KVMI_WAIT
 * @vm: of the session; not necessarily attached any more
 * @args: argument of the ioctl
 *
 * Return: 0, -ENOENT, -ETIMEDOUT, -EINTR, -ENODEV.
 */
int kvmi_event_wait_any(struct kvmi_vm *vm, struct kvmi_wait *args)
{
	struct kvmi_vcpu *kv = NULL;
	wait_queue_head_t *wq;
	unsigned long i;
	ktime_t timeout;
	int ret;

	timeout = ns_to_ktime(min_t(u64, args->timeout_ns, KTIME_MAX / 2));
	if (args->flags & ~KVMI_WAIT_F_TIMEOUT)
		return -EINVAL;
	if (!(args->flags & KVMI_WAIT_F_TIMEOUT) && args->timeout_ns)
		return -EINVAL;

	if (args->kick == KVMI_VCPU_ALL) {
		xa_for_each(&vm->vcpus, i, kv)
			kvmi_event_kick(kv);
	} else if (args->kick != KVMI_VCPU_NONE) {
		kv = xa_load(&vm->vcpus, args->kick);
		if (!kv)
			return -ENOENT;
		kvmi_event_kick(kv);
	}

	/* Who watches the rings looks here now and then. */
	if (args->wait == KVMI_VCPU_NONE)
		return READ_ONCE(vm->detached) ? -ENODEV : 0;
	if (args->wait == KVMI_VCPU_ALL) {
		kv = NULL;
		wq = &vm->wq;
	} else {
		kv = xa_load(&vm->vcpus, args->wait);
		if (!kv)
			return -ENOENT;
		wq = &kv->ring.wq;
	}

	if ((args->timeout_ns || !(args->flags & KVMI_WAIT_F_TIMEOUT)) &&
	    kvmi_event_poll_any(vm, kv))
		return 0;

#define KVMI_READY	(kvmi_event_unread(vm, kv) || READ_ONCE(vm->detached))
	if (!(args->flags & KVMI_WAIT_F_TIMEOUT))
		ret = wait_event_interruptible(*wq, KVMI_READY);
	else if (!args->timeout_ns)
		ret = KVMI_READY ? 0 : -ETIME;
	else
		ret = wait_event_interruptible_hrtimeout(*wq, KVMI_READY,
							 timeout);
#undef KVMI_READY
	if (ret == -ETIME)
		return -ETIMEDOUT;
	if (ret)
		return -EINTR;
	return kvmi_event_unread(vm, kv) ? 0 : -ENODEV;
}

/* ---- configuration --------------------------------------------------------------- */

/**
 * kvmi_event_update_want - which controls a vCPU needs for its events
 * @kv: the vCPU; vm->lock held, or not found by anybody yet
 */
void kvmi_event_update_want(struct kvmi_vcpu *kv)
{
	u32 want = 0;

	if (kv->cr_mode[0])
		want |= KVMI_WANT_CR3;
	if (kv->cr_mode[1])
		want |= KVMI_WANT_CR4;
	if (kv->mode[KVMI_EVENT_BREAKPOINT])
		want |= KVMI_WANT_BP;
	if (kv->nr_msrs)
		want |= KVMI_WANT_MSR;
	if (kv->mode[KVMI_EVENT_STEP])
		want |= KVMI_WANT_STEP;
	if (kv->mode[KVMI_EVENT_X86_CPUID])
		want |= KVMI_WANT_CPUID;
	WRITE_ONCE(kv->want, want);
}

/**
 * kvmi_msr_find - the settings of an MSR
 * @kv: the vCPU; called on its thread
 * @index: of the MSR
 *
 * Return: NULL if it is not watched.
 */
struct kvmi_msr *kvmi_msr_find(struct kvmi_vcpu *kv, u32 index)
{
	struct kvmi_msr *msrs = READ_ONCE(kv->msrs);
	u32 i;

	for (i = 0; i < kv->nr_msrs; i++)
		if (msrs[i].index == index)
			return &msrs[i];
	return NULL;
}

static int kvmi_event_check(struct kvmi_control_event *args)
{
	u32 both = KVMI_ACCESS_R | KVMI_ACCESS_W;

	if ((args->flags & ~KVMI_CONTROL_STOP) || args->mode > KVMI_MODE_ASYNC ||
	    (args->regs & ~KVMI_REGS_ALL))
		return -EINVAL;
	if ((args->flags & KVMI_CONTROL_STOP) && args->mode != KVMI_MODE_SYNC)
		return -EINVAL;
	if (args->burst && !args->rate)
		return -EINVAL;
	/* A step that an answer has asked for must be told. */
	if (args->mask || (args->rate && args->kind == KVMI_EVENT_STEP))
		return -EOPNOTSUPP;
	if (args->kind >= KVMI_NR_KINDS)
		return -EINVAL;
	if (!(kvmi_events_supported() & BIT_ULL(args->kind)))
		return -EOPNOTSUPP;

	switch (args->kind) {
	case KVMI_EVENT_INJECTED:
		if (args->index || args->access ||
		    args->mode == KVMI_MODE_SYNC)
			return -EINVAL;
		break;
	case KVMI_EVENT_X86_CR:
		if (args->access)
			return -EINVAL;
		if (args->index != 3 && args->index != 4)
			return -EOPNOTSUPP;
		break;
	case KVMI_EVENT_X86_MSR:
		if (!args->access || (args->access & ~both))
			return -EINVAL;
		break;
	default:
		if (args->index || args->access)
			return -EINVAL;
		break;
	}
	return 0;
}

/* One setting in one table of MSRs: the vCPU's, or that for vCPUs to come. */
static int kvmi_event_set_msr(struct kvmi_msr **table, u32 *nr,
			      const struct kvmi_control_event *args)
{
	struct kvmi_msr *msr = NULL;
	int w;
	u32 i;

	for (i = 0; i < *nr; i++)
		if ((*table)[i].index == args->index)
			msr = &(*table)[i];
	if (!msr) {
		if (args->mode == KVMI_MODE_OFF)
			return 0;
		if (*nr == KVMI_MAX_MSRS)
			return -ENOSPC;
		msr = &(*table)[*nr];
		memset(msr, 0, sizeof(*msr));
		msr->index = args->index;
	}
	for (w = 0; w < 2; w++) {
		if (!(args->access & (w ? KVMI_ACCESS_W : KVMI_ACCESS_R)))
			continue;
		WRITE_ONCE(msr->regs[w], args->regs);
		WRITE_ONCE(msr->mode[w], args->mode);
	}
	/* An entry stays when it is off: the vCPU may be looking at it. */
	if (msr == &(*table)[*nr]) {
		/* Pairs with the acquire of the back ends. */
		smp_store_release(nr, *nr + 1);
	}
	return 0;
}

/* Room for an MSR in a table, or there it is already. */
static int kvmi_event_need_msrs(struct kvmi_msr **table, u32 nr, u32 index)
{
	struct kvmi_msr *msrs;
	u32 i;

	for (i = 0; i < nr; i++)
		if ((*table)[i].index == index)
			return 0;
	if (nr == KVMI_MAX_MSRS)
		return -ENOSPC;
	if (*table)
		return 0;
	msrs = kcalloc(KVMI_MAX_MSRS, sizeof(*msrs), GFP_KERNEL_ACCOUNT);
	if (!msrs)
		return -ENOMEM;
	/* Before nr_msrs says that there is something in it. */
	smp_store_release(table, msrs);
	return 0;
}

static void kvmi_event_set(u32 *mode, u32 *regs, u32 *cr_mode, u32 *cr_regs,
			   const struct kvmi_control_event *args)
{
	int i = args->index - 3;

	if (args->kind == KVMI_EVENT_X86_CR) {
		WRITE_ONCE(cr_regs[i], args->regs);
		WRITE_ONCE(cr_mode[i], args->mode);
	} else {
		WRITE_ONCE(regs[args->kind], args->regs);
		WRITE_ONCE(mode[args->kind], args->mode);
	}
}

/* For the whole kind, also where the mode is set by register. */
static void kvmi_event_set_stop(u64 *kinds, const struct kvmi_control_event *args)
{
	u64 bit = BIT_ULL(args->kind);

	WRITE_ONCE(*kinds, args->flags & KVMI_CONTROL_STOP ? *kinds | bit :
							     *kinds & ~bit);
}

/**
 * kvmi_event_reset - no events any more; those that are open are over
 * @vm: vm->sem held for reading, vm->lock held
 */
void kvmi_event_reset(struct kvmi_vm *vm)
{
	struct kvmi_control_event off = {
		.vcpu = KVMI_VCPU_ALL,
		.mode = KVMI_MODE_OFF,
		.access = KVMI_ACCESS_R | KVMI_ACCESS_W,
	};
	struct kvmi_vcpu *kv;
	unsigned long i;
	u32 k, m;

	for (k = 0; k < KVMI_NR_KINDS; k++) {
		off.kind = k;
		/* To take a limit away needs no memory. */
		kvmi_limit_set(&vm->def_limits, &off);
		xa_for_each(&vm->vcpus, i, kv)
			kvmi_limit_set(&kv->limits, &off);
	}
	for (m = 0; m < vm->def_nr_msrs; m++) {
		off.index = vm->def_msrs[m].index;
		kvmi_event_set_msr(&vm->def_msrs, &vm->def_nr_msrs, &off);
	}
	memset(vm->def_mode, 0, sizeof(vm->def_mode));
	memset(vm->def_cr_mode, 0, sizeof(vm->def_cr_mode));
	vm->def_stop_kinds = 0;

	xa_for_each(&vm->vcpus, i, kv) {
		for (m = 0; m < kv->nr_msrs; m++) {
			off.index = kv->msrs[m].index;
			kvmi_event_set_msr(&kv->msrs, &kv->nr_msrs, &off);
		}
		for (k = 0; k < KVMI_NR_KINDS; k++)
			WRITE_ONCE(kv->mode[k], KVMI_MODE_OFF);
		for (k = 0; k < ARRAY_SIZE(kv->cr_mode); k++)
			WRITE_ONCE(kv->cr_mode[k], KVMI_MODE_OFF);
		WRITE_ONCE(kv->stop_kinds, 0);
		kvmi_event_update_want(kv);
		/* The exit comes again, and then is none of ours. */
		if (READ_ONCE(kv->open.id)) {
			set_bit(KVMI_VCPU_F_RESET, &kv->flags);
			kvmi_vcpu_wake(kv);
		}
	}
}

/**
 * kvmi_event_control - KVMI_CONTROL_EVENT
 * @vm: vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0; -EINVAL, -EOPNOTSUPP, -ENOENT, -ENOMEM, -ENOSPC, and nothing is
 * changed.
 */
int kvmi_event_control(struct kvmi_vm *vm, struct kvmi_control_event *args)
{
	bool all = args->vcpu == KVMI_VCPU_ALL;
	bool msr = args->kind == KVMI_EVENT_X86_MSR;
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	ret = kvmi_event_check(args);
	if (ret)
		return ret;
	if (!all && !xa_load(&vm->vcpus, args->vcpu))
		return -ENOENT;

	/* Whatever can fail comes first; to switch off cannot. */
	if (msr && args->mode != KVMI_MODE_OFF) {
		if (all)
			ret = kvmi_event_need_msrs(&vm->def_msrs,
						   vm->def_nr_msrs,
						   args->index);
		xa_for_each(&vm->vcpus, i, kv) {
			if (ret || !(all || i == args->vcpu))
				continue;
			ret = kvmi_event_need_msrs(&kv->msrs, kv->nr_msrs,
						   args->index);
		}
		if (ret)
			return ret;
	}

	if (all)
		ret = kvmi_limit_set(&vm->def_limits, args);
	xa_for_each(&vm->vcpus, i, kv)
		if (!ret && (all || i == args->vcpu))
			ret = kvmi_limit_set(&kv->limits, args);
	if (ret)
		return ret;

	if (all && msr)
		kvmi_event_set_msr(&vm->def_msrs, &vm->def_nr_msrs, args);
	else if (all)
		kvmi_event_set(vm->def_mode, vm->def_regs, vm->def_cr_mode,
			       vm->def_cr_regs, args);

	if (all)
		kvmi_event_set_stop(&vm->def_stop_kinds, args);
	xa_for_each(&vm->vcpus, i, kv) {
		if (!all && i != args->vcpu)
			continue;
		kvmi_event_set_stop(&kv->stop_kinds, args);
		if (msr)
			kvmi_event_set_msr(&kv->msrs, &kv->nr_msrs, args);
		else
			kvmi_event_set(kv->mode, kv->regs, kv->cr_mode,
				       kv->cr_regs, args);
		kvmi_event_update_want(kv);
	}
	return kvmi_vm_kick(vm);
}
