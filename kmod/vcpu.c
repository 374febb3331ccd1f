// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs: finding them from the hooks, having them do something; their sleep.
 *
 * A vCPU's thread is met in one of four states:
 *
 *  - in the VMM's userspace: vcpu->mutex can be had, and the caller does the job
 *    himself on the loaded vCPU;
 *  - in kvmi's own wait (kvmi_vcpu_sleep()), which does jobs;
 *  - in the guest, or somewhere in KVM_RUN: a task work and a kick get it to
 *    vcpu_run()'s xfer_to_guest_mode_handle_work(), without kvm->srcu;
 *  - halted in KVM_RUN: the same, and KVM_REQ_UNBLOCK.
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "hook.h"

/* How long to wait for the vCPU before looking at its state once more. */
#define KVMI_JOB_RETRY		max_t(long, HZ / 100, 1)

/* ... and before another work is given to a thread that has one already. */
#define KVMI_JOB_ANEW		16

struct kvmi_work {
	struct callback_head head;
	struct kvm_vcpu *vcpu;		/* only compared */
};

/* Works that have not run yet: each keeps the module. */
static atomic_t kvmi_works;

/**
 * kvmi_vcpu_enter - find a vCPU and keep it for a hook that may sleep
 * @vcpu: KVM's; the caller is within KVM_RUN of it
 *
 * Return: NULL if it is not watched; else call kvmi_vcpu_leave().
 */
struct kvmi_vcpu *kvmi_vcpu_enter(struct kvm_vcpu *vcpu)
{
	struct kvmi_vcpu *kv;

	rcu_read_lock();
	kv = kvmi_vcpu_find(vcpu);
	/* Only this thread changes it: it holds vcpu->mutex. */
	if (kv)
		WRITE_ONCE(kv->inflight, kv->inflight + 1);
	rcu_read_unlock();
	return kv;
}

/**
 * kvmi_vcpu_create - begin to watch a vCPU
 * @vm: attached, vm->lock held
 * @vcpu: one of its vCPUs
 *
 * It gets the settings made for all vCPUs.
 *
 * Return: the object, or ERR_PTR().
 */
struct kvmi_vcpu *kvmi_vcpu_create(struct kvmi_vm *vm, struct kvm_vcpu *vcpu)
{
	struct kvmi_sink *sink;
	struct kvmi_vcpu *kv;
	int ret;

	kv = kzalloc(sizeof(*kv), GFP_KERNEL_ACCOUNT);
	if (!kv)
		return ERR_PTR(-ENOMEM);

	kv->vcpu = vcpu;
	kv->vm = vm;
	kv->index = vcpu->vcpu_idx;
	spin_lock_init(&kv->park_lock);
	mutex_init(&kv->job_lock);
	rcuwait_init(&kv->wait);

	kv->view = vm->def_view;
	kv->home = KVMI_VIEW_ALL;
	kv->stop_kinds = vm->def_stop_kinds;
	kv->pause_count = vm->def_pause;
	ret = kvmi_watch_init(&vm->sink, &kv->watch, kv);
	if (ret)
		goto err_msrs;
	list_for_each_entry(sink, &vm->sinks, node) {
		if (sink->observer && !ret)
			ret = kvmi_watch_add(sink, kv);
	}
	kvmi_watch_update(kv);

	if (!ret)
		ret = xa_err(xa_store(&vm->vcpus, kv->index, kv,
				      GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_watch;

	vm->nr_vcpus = max(vm->nr_vcpus, kv->index + 1);
	hlist_add_head_rcu(&kv->node, &kvmi_vcpu_table[kvmi_vcpu_hash(vcpu)]);
	return kv;

err_watch:
	list_for_each_entry(sink, &vm->sinks, node)
		if (sink->observer)
			kvmi_watch_drop(sink, kv->index);
	xa_erase(&vm->sink.watches, kv->index);
	kvmi_watch_fini(&kv->watch);
err_msrs:
	kfree(kv->msrs);
	kfree(kv);
	return ERR_PTR(ret);
}

/**
 * kvmi_vcpu_free - free a vCPU that is unhashed and drained
 * @kv: not found by any hook any more
 */
void kvmi_vcpu_free(struct kvmi_vcpu *kv)
{
	kvmi_tdp_release(&kv->tdp);
	if (kv->mmio)
		kvmi_mmio_put();
	kvmi_watch_fini(&kv->watch);
	kfree(kv->bytes.old);
	kvmi_standin_free_all(kv);
	kfree(kv->msrs);
	kfree_rcu(kv, rcu);
}

/**
 * kvmi_vcpu_wake - have a vCPU in kvmi's wait look around
 * @kv: the vCPU; any context
 */
void kvmi_vcpu_wake(struct kvmi_vcpu *kv)
{
	rcuwait_wake_up(&kv->wait);
}

static void kvmi_vcpu_work(struct callback_head *head)
{
	struct kvmi_work *work = container_of(head, struct kvmi_work, head);
	struct kvm_vcpu *vcpu = work->vcpu;
	struct kvmi_vcpu *kv;

	kfree(work);

	/*
	 * On its way to userspace the thread has unloaded the vCPU: there is
	 * nothing to do, the gate in vcpu_pre_run does the rest.
	 */
	if (kvm_call(kvm_get_running_vcpu)() == vcpu) {
		kv = kvmi_vcpu_enter(vcpu);
		if (kv) {
			kvmi_vcpu_jobs(kv);
			kvmi_vcpu_park(kv);
			/* Between two instructions, and not in an exit. */
			if (kv->busy.inject)
				kvmi_inject_hand(kv, true);
			kvmi_vcpu_leave(kv);
		}
	}
	/* kvmi_hook_exit() waits until the rest of this function is done. */
	module_put(THIS_MODULE);
	if (atomic_dec_and_test(&kvmi_works))
		wake_up_all(&kvmi_drain_wq);
}

/**
 * kvmi_vcpu_settle - wait for works that are left over, but not for long
 *
 * A job may be done before all works that were to call for it: those find
 * nothing to do, but the module cannot be unloaded until they have looked. That
 * of a thread that is stopped may take for ever.
 */
void kvmi_vcpu_settle(void)
{
	wait_event_timeout(kvmi_drain_wq, !atomic_read(&kvmi_works), HZ / 5);
}

static int kvmi_vcpu_add_work(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct task_struct *task;
	struct kvmi_work *work;
	int ret;

	work = kmalloc(sizeof(*work), GFP_KERNEL_ACCOUNT);
	if (!work)
		return -ENOMEM;
	work->vcpu = vcpu;
	init_task_work(&work->head, kvmi_vcpu_work);

	rcu_read_lock();
	task = pid_task(rcu_dereference(vcpu->pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task) {
		kfree(work);
		return 0;
	}

	/* The work may stay for a while in a thread that sleeps elsewhere. */
	__module_get(THIS_MODULE);
	atomic_inc(&kvmi_works);
	ret = task_work_add(task, &work->head, TWA_RESUME);
	put_task_struct(task);
	if (ret) {
		atomic_dec(&kvmi_works);
		module_put(THIS_MODULE);
		kfree(work);
	}
	return 0;
}

static void kvmi_vcpu_kick(struct kvmi_vcpu *kv)
{
	kvm_make_request(KVM_REQ_UNBLOCK, kv->vcpu);
	kvm_call(kvm_vcpu_kick)(kv->vcpu);
	kvmi_vcpu_wake(kv);
}

/**
 * kvmi_vcpu_call - have the thread of a vCPU come by kvmi_vcpu_park()
 * @kv: the vCPU
 *
 * If it is in KVM_RUN; it may come too early or not at all, so call again.
 */
void kvmi_vcpu_call(struct kvmi_vcpu *kv)
{
	kvmi_vcpu_add_work(kv);
	kvmi_vcpu_kick(kv);
}

/**
 * kvmi_vcpu_jobs - do what others want done on this vCPU
 * @kv: the vCPU, loaded; called on its thread, without kvm->srcu
 */
void kvmi_vcpu_jobs(struct kvmi_vcpu *kv)
{
	struct kvmi_job *job = xchg(&kv->job, NULL);

	if (!job)
		return;
	job->ret = job->fn(kv, job->arg, true);
	complete(&job->done);
}

/* Outside of KVM_RUN: vcpu->mutex is ours. */
static int kvmi_vcpu_job_here(struct kvmi_vcpu *kv, struct kvmi_job *job)
{
	int ret;

	kvm_call(vcpu_load)(kv->vcpu);
	ret = job->fn(kv, job->arg, false);
	kvm_call(vcpu_put)(kv->vcpu);
	return ret;
}

/**
 * kvmi_vcpu_run_job - have a function called with a vCPU loaded
 * @kv: the vCPU
 * @fn: called on the vCPU's thread within KVM_RUN, or on the caller's with
 *	vcpu->mutex held; without kvm->srcu in both cases. Must not wait.
 * @arg: for @fn
 *
 * Called with vm->sem held for reading, so that the vCPU stays. Can be
 * interrupted while it waits for the vCPU's thread, until @fn begins.
 *
 * Return: what @fn returned, or -EINTR, -ENOMEM.
 */
int kvmi_vcpu_run_job(struct kvmi_vcpu *kv, kvmi_job_fn fn, void *arg)
{
	struct kvmi_job job = { .fn = fn, .arg = arg };
	struct completion *done = &job.done;
	struct pid *pid, *called = NULL;
	unsigned int tries = 0;
	int ret;

	init_completion(done);
	if (mutex_lock_interruptible(&kv->job_lock))
		return -EINTR;

	for (;;) {
		if (mutex_trylock(&kv->vcpu->mutex)) {
			ret = kvmi_vcpu_job_here(kv, &job);
			mutex_unlock(&kv->vcpu->mutex);
			break;
		}

		xchg(&kv->job, &job);
		/*
		 * Once for each thread that runs the vCPU: if the work comes too
		 * early, on the way out of KVM_RUN, the gate has the job done.
		 */
		ret = 0;
		pid = rcu_access_pointer(kv->vcpu->pid);
		if (pid != called || ++tries % KVMI_JOB_ANEW == 0)
			ret = kvmi_vcpu_add_work(kv);
		called = pid;
		kvmi_vcpu_kick(kv);
		if (!ret) {
			long left = KVMI_JOB_RETRY;

			ret = wait_for_completion_interruptible_timeout(done,
									left);
			if (ret > 0) {
				ret = job.ret;
				break;
			}
		}
		/* Take it back, unless the vCPU has just begun with it. */
		if (cmpxchg(&kv->job, &job, NULL) != &job) {
			wait_for_completion(done);
			ret = job.ret;
			break;
		}
		if (ret < 0) {
			if (ret == -ERESTARTSYS)
				ret = -EINTR;
			break;
		}
	}

	mutex_unlock(&kv->job_lock);
	return ret;
}

static void kvmi_vcpu_set_parked(struct kvmi_vcpu *kv, bool parked)
{
	spin_lock(&kv->park_lock);
	WRITE_ONCE(kv->parked, parked);
	spin_unlock(&kv->park_lock);
}

/**
 * kvmi_vcpu_sleep - wait, on the vCPU's thread, until something is so
 * @kv: the vCPU, loaded; kvm->srcu not held
 * @done: what is waited for; called often
 * @timeout: how long at a time, jiffies; 0: as long as it takes
 *
 * Jobs are done meanwhile. Never waits for a vCPU that is being let go. Before it
 * enters the guest, the caller must see to it that it may (kvmi_vcpu_may_run()).
 *
 * Return: 0 when @done or the vCPU is let go, -EINTR if the thread has a signal,
 * -ETIME.
 */
int kvmi_vcpu_sleep(struct kvmi_vcpu *kv, bool (*done)(struct kvmi_vcpu *kv),
		    long timeout)
{
	int ret = 0;

	kvmi_regs_cache(kv->vcpu);
	if (!kv->stop_since)
		kv->stop_since = jiffies | 1;
	kvmi_vcpu_set_parked(kv, true);
	for (;;) {
		prepare_to_rcuwait(&kv->wait);
		/* Has a barrier: @parked is seen, or @stoppers here. */
		set_current_state(TASK_INTERRUPTIBLE);
		if (unlikely(atomic_read(&kv->vm->stoppers)))
			kvmi_pause_notify(kv);
		if (READ_ONCE(kv->job)) {
			__set_current_state(TASK_RUNNING);
			kvmi_vcpu_jobs(kv);
			/* It may have had KVM forget what is in memory. */
			kvmi_regs_cache(kv->vcpu);
			continue;
		}
		if (done(kv) || test_bit(KVMI_VCPU_F_GONE, &kv->flags))
			break;
		if (signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (unlikely(timeout)) {
			if (ret) {
				ret = -ETIME;
				break;
			}
			ret = !schedule_timeout(timeout);
		} else {
			schedule();
		}
	}
	finish_rcuwait(&kv->wait);
	kvmi_vcpu_set_parked(kv, false);
	/* Pairs with those of who stops vCPUs, see pause.c. */
	smp_mb();
	kvmi_clock_settle(kv);
	if (ret > 0)
		ret = 0;
	if (ret)
		return ret;
	if (unlikely(time_after(jiffies, kv->stop_since + HZ)))
		kvmi_pause_ended(kv);
	kv->stop_since = 0;
	return 0;
}

/**
 * kvmi_vcpu_park - stay here while the vCPU is stopped
 * @kv: the vCPU, loaded; called on its thread, kvm->srcu not held
 *
 * Return: 0 to go on, -EINTR if the thread has a signal to see to first.
 */
int kvmi_vcpu_park(struct kvmi_vcpu *kv)
{
	int ret = 0;

	while (unlikely(!kvmi_vcpu_may_run(kv)) && !ret &&
	       !test_bit(KVMI_VCPU_F_GONE, &kv->flags))
		ret = kvmi_vcpu_sleep(kv, kvmi_vcpu_may_run, 0);
	kvmi_clock_settle(kv);
	return ret;
}

/**
 * kvmi_vcpu_state - what a vCPU is doing
 * @kv: the vCPU; vm->sem held for reading
 *
 * Return: enum kvmi_vcpu_state, out of date as soon as it is read.
 */
u32 kvmi_vcpu_state(struct kvmi_vcpu *kv)
{
	struct kvm_vcpu *vcpu = kv->vcpu;

	if (READ_ONCE(kv->pause_count))
		return KVMI_VCPU_PAUSED;
	if (READ_ONCE(kv->open.id))
		return KVMI_VCPU_EVENT;
	if (!kvmi_vcpu_may_run(kv))
		return KVMI_VCPU_PAUSED;
	if (!mutex_is_locked(&vcpu->mutex))
		return KVMI_VCPU_OUTSIDE;
	if (READ_ONCE(vcpu->arch.mp_state) != KVM_MP_STATE_RUNNABLE ||
	    READ_ONCE(vcpu->stat.generic.blocking))
		return KVMI_VCPU_HALTED;
	return KVMI_VCPU_RUNNING;
}
