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

/* ---- the answer ------------------------------------------------------------ */

static bool kvmi_reply_here(struct kvmi_vcpu *kv)
{
	/* Pairs with the release of the tool: the rest was written before. */
	return smp_load_acquire(&kv->watch.ring.tool->reply.id) == kv->open.id;
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
#define KVMI_REPLY_LATER	(KVMI_REPLY_INJECT | KVMI_REPLY_VALUE | \
				 KVMI_REPLY_SETS | KVMI_REPLY_STAND_IN)

/* Once: the tool can change it at any moment. */
static void kvmi_reply_copy(struct kvmi_vcpu *kv)
{
	const struct kvmi_reply *from = &kv->watch.ring.tool->reply;
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
	if (reply->flags & KVMI_REPLY_STAND_IN) {
		reply->nr_stand_ins = from->nr_stand_ins;
		reply->pad3 = from->pad3;
		memcpy(reply->stand_ins, from->stand_ins,
		       sizeof(reply->stand_ins));
	}
}

/* Of a newer tool: all that is not known here must be zero. */
static bool kvmi_reply_fits(struct kvmi_vcpu *kv)
{
	const void *reply = &kv->watch.ring.tool->reply;
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
	if (reply->flags & KVMI_REPLY_STAND_IN) {
		ret = kvmi_standin_check(kv);
		if (ret)
			return ret;
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
	struct kvmi_ring_header *header = kv->watch.ring.header;
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
		kv->wait_cycles[kv->open.exit.kind] += cycles;
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

/* The parts of an answer besides its action. */
static void kvmi_event_apply(struct kvmi_vcpu *kv, u64 id)
{
	struct kvmi_reply *reply = &kv->reply;
	u64 injection;

	/* Its record names the event, which the tool knows. */
	if (unlikely(reply->flags & KVMI_REPLY_INJECT) &&
	    !kvmi_inject_queue(kv, &reply->inject, &injection))
		kv->inject[reply->inject.type].id = id;
	if (reply->flags & KVMI_REPLY_REGS)
		kvmi_regs_set_gprs(kv, reply->reg_mask, &reply->gprs);
	if (reply->flags & KVMI_REPLY_VIEW)
		kvmi_view_enter(kv, reply->view);
	if (reply->flags & KVMI_REPLY_STEP) {
		kvmi_step_start(kv, KVMI_STEP_EVENT);
	} else if (reply->flags & KVMI_REPLY_FAST_STEP) {
		kvmi_step_start(kv, KVMI_STEP_FAST);
		kvmi_view_enter(kv, reply->view);
	} else if (unlikely(reply->flags & KVMI_REPLY_STAND_IN)) {
		kvmi_standin_go(kv);
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
			WRITE_ONCE(kv->watch.ring.header->bad_replies,
				   kv->watch.ring.header->bad_replies + 1);
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
		return unlikely(ex->cont == KVMI_CONT_ELEMENT) ?
		       kvmi_io_skip(kv, ex) : kvmi_exit_skip(kv);
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
	bool told = READ_ONCE(kv->watch.ring.tool->flags) & KVMI_TOOL_POLLS;
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
		WRITE_ONCE(kv->watch.ring.header->state, KVMI_RING_SLEEPING);
		/* kvmi_vcpu_sleep() has the barrier before it looks. */
		ret = kvmi_vcpu_sleep(kv, kvmi_event_answered, 0);
	}
	/* An answered vCPU that is paused as well stays here. */
	if (!ret && unlikely(!kvmi_vcpu_may_run(kv) || kvmi_clock_due(kv)))
		ret = kvmi_vcpu_park(kv);
	return ret;
}

/* The thread has a signal: to the VMM, the event stays open. */
static int kvmi_event_leave(struct kvmi_vcpu *kv, int ret)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	/* What the VMM may change before the next KVM_RUN. */
	kvmi_regs_bookmark(kv, &kv->open.mark);
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
	u64 used = kv->watch.ring.producer - READ_ONCE(kv->watch.ring.tool->consumer);

	/* Room for any record, with the padding it may need. */
	return used <= kv->watch.ring.size / 2 || kvmi_event_overdue(kv);
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
	while (!kvmi_ring_post(kv, &kv->watch, ex, ex->regs, kv->open.id)) {
		ret = kvmi_event_wait_room(kv);
		if (ret)
			return kvmi_event_leave(kv, ret);
		if (kvmi_event_overdue(kv) ||
		    test_bit(KVMI_VCPU_F_GONE, &kv->flags)) {
			kvmi_ring_drop(&kv->watch.ring, ex->kind);
			return kvmi_event_finish(kv);
		}
	}
	kv->open.shown = true;
	return kvmi_event_wait(kv);
}

/* An asynchronous one: its record, or that there is no room, or it comes too soon. */
static __always_inline void kvmi_event_post(struct kvmi_vcpu *kv,
					    const struct kvmi_exit *ex)
{
	kv->watch.ring.seq++;
	if ((unlikely(kv->watch.limits) &&
	     !kvmi_limit_check(&kv->watch, ex->kind)) ||
	    !kvmi_ring_post(kv, &kv->watch, ex, ex->regs, 0))
		kvmi_ring_drop(&kv->watch.ring, ex->kind);
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
	if (ex->mode != KVMI_MODE_SYNC) {
		if (ex->mode == KVMI_MODE_ASYNC)
			kvmi_event_post(kv, ex);
		else if (ex->mode == KVMI_MODE_COUNT)
			kvmi_watch_count(&kv->watch, ex->kind);
		/* Else wanted until a moment ago, or by others alone. */
		return kvmi_event_continue(kv, ex);
	}

	kv->watch.ring.seq++;
	if (unlikely(kv->watch.limits) &&
	    !kvmi_limit_check(&kv->watch, ex->kind)) {
		kvmi_ring_drop(&kv->watch.ring, ex->kind);
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
	WRITE_ONCE(kv->watch.ring.header->state, KVMI_RING_POLLING);

	if (unlikely(kv->open.flags & KVMI_EVENT_F_STOPPED) ||
	    !kvmi_ring_post(kv, &kv->watch, ex, ex->regs, id)) {
		kv->open.shown = false;
		return kvmi_event_show(kv);
	}
	kv->open.shown = true;
	return kvmi_event_wait(kv);
}

/**
 * kvmi_event_tell - report to all who want it, and do what is answered
 * @kv: the vCPU; as kvmi_event_raise()
 * @ex: what is reported, without mode and regs; KVM's bookkeeping is done
 *
 * Return: as kvmi_event_raise().
 */
int kvmi_event_tell(struct kvmi_vcpu *kv, struct kvmi_exit *ex)
{
	if (rcu_access_pointer(kv->observers))
		kvmi_watch_tell(kv, ex);
	ex->mode = kvmi_watch_match(&kv->watch, ex, &ex->regs);
	return kvmi_event_raise(kv, ex);
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
	struct kvmi_bookmark now;

	if (!kv->open.id)
		return 1;

	kvmi_regs_bookmark(kv, &now);
	if (!memcmp(&now, &kv->open.mark, sizeof(now)))
		return kv->open.shown ? kvmi_event_wait(kv) :
					kvmi_event_show(kv);

	kvmi_step_cancel(kv);
	if (!kv->open.shown) {
		kvmi_event_close(kv, 0);
		kv->watch.ring.seq--;
		return 1;
	}
	kvmi_event_close(kv, -ECANCELED);
	kv->watch.ring.seq++;
	if (!kvmi_ring_post(kv, &kv->watch, &cancelled, 0, 0))
		kvmi_ring_drop(&kv->watch.ring, cancelled.kind);
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

/**
 * kvmi_event_kick - an answer may have been written
 * @kv: the vCPU that it is for
 */
void kvmi_event_kick(struct kvmi_vcpu *kv)
{
	if (READ_ONCE(kv->watch.ring.header->state) != KVMI_RING_IDLE ||
	    test_bit(KVMI_VCPU_F_NO_ROOM, &kv->flags))
		kvmi_vcpu_wake(kv);
}

/**
 * kvmi_event_reset - no events any more; those that are open are over
 * @vm: vm->sem held for reading, vm->lock held
 */
void kvmi_event_reset(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	kvmi_watch_reset(&vm->sink);
	kvmi_change_kick(vm, true);
	/* The exit comes again, and then is none of ours. */
	xa_for_each(&vm->vcpus, i, kv) {
		if (READ_ONCE(kv->open.id)) {
			set_bit(KVMI_VCPU_F_RESET, &kv->flags);
			kvmi_vcpu_wake(kv);
		}
	}
}
