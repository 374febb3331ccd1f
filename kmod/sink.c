// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sinks: where the events of a session go, and who waits there for them.
 *
 * The session that controls a VM has the VM's own sink, which stays for a successor.
 * Each observer has one of its own, with rings of its own.
 */
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "hook.h"
#include "poll.h"

/**
 * kvmi_sink_init - make a sink
 * @sink: zeroed
 * @vm: its VM
 * @ring_size: bytes of each vCPU's ring, a power of two
 *
 * Return: 0 or -errno; then there is nothing to undo.
 */
int kvmi_sink_init(struct kvmi_sink *sink, struct kvmi_vm *vm, u32 ring_size)
{
	int ret;

	kref_init(&sink->ref);
	INIT_LIST_HEAD(&sink->node);
	xa_init(&sink->watches);
	init_waitqueue_head(&sink->wq);
	sink->vm = vm;
	sink->ring_size = ring_size;

	spin_lock_init(&sink->own_lock);
	sink->def = kzalloc(sizeof(*sink->def), GFP_KERNEL_ACCOUNT);
	if (!sink->def)
		return -ENOMEM;
	ret = -ENOMEM;
	sink->own = kzalloc(sizeof(*sink->own), GFP_KERNEL_ACCOUNT);
	if (!sink->own)
		goto err_def;
	sink->rings = kvmi_rings_create(&sink->ring_file);
	if (IS_ERR(sink->rings)) {
		ret = PTR_ERR(sink->rings);
		goto err_own;
	}
	sink->own->sink = sink;
	ret = kvmi_ring_init(sink, &sink->own->ring, KVMI_VCPU_VM);
	if (ret)
		goto err_rings;
	return 0;

err_rings:
	fput(sink->ring_file);
err_own:
	kfree(sink->own);
err_def:
	kfree(sink->def);
	return ret;
}

/**
 * kvmi_sink_fini - undo kvmi_sink_init()
 * @sink: its watches are gone
 */
void kvmi_sink_fini(struct kvmi_sink *sink)
{
	xa_destroy(&sink->watches);
	kvmi_watch_fini(sink->own);
	kfree(sink->own);
	kvmi_watch_fini(sink->def);
	kfree(sink->def);
	fput(sink->ring_file);
}

static void kvmi_sink_free(struct kref *ref)
{
	struct kvmi_sink *sink = container_of(ref, struct kvmi_sink, ref);
	struct kvmi_vm *vm = sink->vm;
	struct kvmi_watch *watch;
	unsigned long i;

	xa_for_each(&sink->watches, i, watch) {
		kvmi_watch_fini(watch);
		kfree(watch);
	}
	kvmi_sink_fini(sink);
	kfree(sink);
	kvmi_vm_put(vm);
}

/**
 * kvmi_sink_get - one more reference to a sink, and so to its VM
 * @sink: of a session
 */
void kvmi_sink_get(struct kvmi_sink *sink)
{
	if (sink->observer)
		kref_get(&sink->ref);
	else
		kref_get(&sink->vm->ref);
}

/**
 * kvmi_sink_put - drop a reference
 * @sink: may be freed; process context
 */
void kvmi_sink_put(struct kvmi_sink *sink)
{
	if (sink->observer)
		kref_put(&sink->ref, kvmi_sink_free);
	else
		kvmi_vm_put(sink->vm);
}

/**
 * kvmi_sink_observe - make the sink of an observer
 * @vm: attached; the caller's reference becomes the sink's
 * @ring_size: bytes of each ring, a power of two
 *
 * Return: the sink with one reference, or ERR_PTR() and the caller has his still.
 */
struct kvmi_sink *kvmi_sink_observe(struct kvmi_vm *vm, u32 ring_size)
{
	struct kvmi_sink *sink;
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	sink = kzalloc(sizeof(*sink), GFP_KERNEL_ACCOUNT);
	if (!sink)
		return ERR_PTR(-ENOMEM);
	ret = kvmi_sink_init(sink, vm, ring_size);
	if (ret) {
		kfree(sink);
		return ERR_PTR(ret);
	}
	sink->observer = true;

	mutex_lock(&vm->lock);
	xa_for_each(&vm->vcpus, i, kv) {
		ret = kvmi_watch_add(sink, kv);
		if (ret)
			break;
	}
	list_add_tail_rcu(&sink->node, &vm->sinks);
	mutex_unlock(&vm->lock);
	if (!ret)
		return sink;

	kvmi_sink_leave(sink);
	/* It drops this with the sink. */
	kref_get(&vm->ref);
	kvmi_sink_put(sink);
	return ERR_PTR(ret);
}

/**
 * kvmi_sink_leave - an observer goes
 * @sink: its sink
 */
void kvmi_sink_leave(struct kvmi_sink *sink)
{
	struct kvmi_vm *vm = sink->vm;

	mutex_lock(&vm->lock);
	list_del_rcu(&sink->node);
	/* Has a grace period for both. */
	kvmi_watch_remove(sink);
	mutex_unlock(&vm->lock);
}

/**
 * kvmi_sink_wake_all - have all tools that wait look around
 * @vm: let go, or gone
 */
void kvmi_sink_wake_all(struct kvmi_vm *vm)
{
	struct kvmi_sink *sink;

	mutex_lock(&vm->lock);
	list_for_each_entry(sink, &vm->sinks, node)
		wake_up_all(&sink->wq);
	mutex_unlock(&vm->lock);
	kvmi_change_kick(vm, false);
}

/* ---- reading --------------------------------------------------------------------------- */

static bool kvmi_sink_unread(struct kvmi_sink *sink)
{
	struct kvmi_watch *watch;
	unsigned long i;

	if (unlikely(kvmi_ring_unread(&sink->own->ring)))
		return true;
	if (sink->vm->nr_vcpus == 1) {
		watch = xa_load(&sink->watches, 0);
		return watch && kvmi_ring_unread(&watch->ring);
	}
	xa_for_each(&sink->watches, i, watch)
		if (kvmi_ring_unread(&watch->ring))
			return true;
	return false;
}

/**
 * kvmi_sink_pending - is there something to read, or the VM gone?
 * @sink: of a session
 *
 * Return: mask of EPOLLIN, EPOLLHUP.
 */
__poll_t kvmi_sink_pending(struct kvmi_sink *sink)
{
	__poll_t mask = 0;

	if (kvmi_sink_unread(sink))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(sink->vm->gone) || READ_ONCE(sink->vm->detached))
		mask |= EPOLLHUP;
	return mask;
}

/* @watch: the one to look at, or NULL for any */
static bool kvmi_sink_ready(struct kvmi_sink *sink, struct kvmi_watch *watch)
{
	return watch ? kvmi_ring_unread(&watch->ring) : kvmi_sink_unread(sink);
}

static bool kvmi_sink_over(struct kvmi_sink *sink, const bool *over)
{
	return READ_ONCE(sink->vm->detached) || READ_ONCE(*over);
}

static bool kvmi_sink_poll(struct kvmi_sink *sink, struct kvmi_watch *watch,
			   const bool *over)
{
	struct kvmi_poll_state state;
	bool unread;

	if (!kvmi_poll_begin(&sink->poll, &state, false))
		return false;
	do {
		unread = kvmi_sink_ready(sink, watch);
		if (unread || signal_pending(current) ||
		    kvmi_sink_over(sink, over))
			break;
	} while (kvmi_poll_again(&state));
	kvmi_poll_end(&sink->poll, &state, unread);
	return unread;
}

/* An answer was written. Observers have none to write. */
static int kvmi_sink_kick(struct kvmi_sink *sink, u32 vcpu)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	if (vcpu == KVMI_VCPU_VM) {
		if (!sink->observer)
			kvmi_change_kick(sink->vm, false);
		return 0;
	}
	if (vcpu == KVMI_VCPU_ALL) {
		xa_for_each(&sink->vm->vcpus, i, kv)
			if (!sink->observer)
				kvmi_event_kick(kv);
		return 0;
	}
	kv = xa_load(&sink->vm->vcpus, vcpu);
	if (!kv)
		return -ENOENT;
	if (!sink->observer)
		kvmi_event_kick(kv);
	return 0;
}

/**
 * kvmi_sink_wait - KVMI_WAIT
 * @sink: of the session; its VM is not necessarily attached any more
 * @args: argument of the ioctl
 * @over: becomes true when the session ends; then the sink's @wq is woken
 *
 * Return: 0, -ENOENT, -ETIMEDOUT, -EINTR, -ENODEV.
 */
int kvmi_sink_wait(struct kvmi_sink *sink, struct kvmi_wait *args,
		   const bool *over)
{
	struct kvmi_watch *watch = NULL;
	wait_queue_head_t *wq;
	ktime_t timeout;
	int ret;

	timeout = ns_to_ktime(min_t(u64, args->timeout_ns, KTIME_MAX / 2));
	if (args->flags & ~KVMI_WAIT_F_TIMEOUT)
		return -EINVAL;
	if (!(args->flags & KVMI_WAIT_F_TIMEOUT) && args->timeout_ns)
		return -EINVAL;

	if (args->kick != KVMI_VCPU_NONE) {
		ret = kvmi_sink_kick(sink, args->kick);
		if (ret)
			return ret;
	}

	/* Who watches the rings looks here now and then. */
	if (args->wait == KVMI_VCPU_NONE)
		return kvmi_sink_over(sink, over) ? -ENODEV : 0;
	if (args->wait == KVMI_VCPU_ALL) {
		wq = &sink->wq;
	} else {
		watch = args->wait == KVMI_VCPU_VM ? sink->own :
			xa_load(&sink->watches, args->wait);
		if (!watch)
			return -ENOENT;
		wq = &watch->ring.wq;
	}

	if ((args->timeout_ns || !(args->flags & KVMI_WAIT_F_TIMEOUT)) &&
	    kvmi_sink_poll(sink, watch, over))
		return 0;

#define KVMI_READY	(kvmi_sink_ready(sink, watch) || kvmi_sink_over(sink, over))
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
	return kvmi_sink_ready(sink, watch) ? 0 : -ENODEV;
}
