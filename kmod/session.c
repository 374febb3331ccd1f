// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: an attachment of one tool to one VM, and the ioctls on it.
 *
 * The session's descriptor is the right to introspect the VM: who holds it is
 * not asked who he is. When the last one is closed, the VM is let go. What may be
 * done with it can be narrowed: kvmi_ioctls[] and kvmi_session_needs() say who may
 * do what.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pid_namespace.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "hook.h"
#include "vmlist.h"

struct kvmi_session {
	struct kvmi_vm *vm;
	struct kvmi_sink *sink;		/* holds the VM */
	struct mutex lock;		/* detaching, once */
	bool detaching;
	u32 rights;			/* KVMI_RIGHT_*; only ever fewer */
	u64 kinds;			/* of events, likewise */
	struct kvmi_detach_work *detach;
};

/*
 * Letting a VM go takes until each of its vCPUs has come by, which a tool that
 * is being killed must not wait for: a kernel thread does it.
 */
struct kvmi_detach_work {
	struct work_struct work;
	struct kref ref;
	struct completion done;
	struct kvmi_sink *sink;
	bool closed;
};

static void kvmi_detach_free(struct kref *ref)
{
	kfree(container_of(ref, struct kvmi_detach_work, ref));
}

static void kvmi_detach_fn(struct work_struct *work)
{
	struct kvmi_detach_work *detach = container_of(work,
						struct kvmi_detach_work, work);

	kvmi_vm_leave(detach->sink, detach->closed);
	kvmi_sink_put(detach->sink);
	kvmi_vcpu_settle();
	/*
	 * Before who waits may ask to unload the module; kvmi_hook_exit() waits
	 * until the rest of this function is done.
	 */
	module_put(THIS_MODULE);
	complete_all(&detach->done);
	kref_put(&detach->ref, kvmi_detach_free);
}

/* Let the VM go; wait for it unless killed. */
static int kvmi_session_detach(struct kvmi_session *session, bool closed)
{
	struct kvmi_detach_work *detach = session->detach;
	int ret;

	mutex_lock(&session->lock);
	if (!session->detaching) {
		WRITE_ONCE(session->detaching, true);
		detach->closed = closed;
		kvmi_sink_get(session->sink);
		kref_get(&detach->ref);
		__module_get(THIS_MODULE);
		queue_work(system_unbound_wq, &detach->work);
	}
	mutex_unlock(&session->lock);
	ret = wait_for_completion_killable(&detach->done);
	return ret ? -EINTR : 0;
}

/* ---- ioctls --------------------------------------------------------------------------- */

union kvmi_args {
	struct kvmi_detach detach;
	struct kvmi_info info;
	struct kvmi_slots slots;
	struct kvmi_vcpu_info vcpu_info;
	struct kvmi_policy policy;
	struct kvmi_stats stats;
	struct kvmi_exits exits;
	struct kvmi_reset reset;
	struct kvmi_narrow narrow;
	struct kvmi_get_ring get_ring;
	struct kvmi_wait wait;
	struct kvmi_control_event control_event;
	struct kvmi_pause pause;
	struct kvmi_regs regs;
	struct kvmi_state state;
	struct kvmi_msrs msrs;
	struct kvmi_phys phys;
	struct kvmi_rw_list list;
	struct kvmi_translate translate;
	struct kvmi_get_map get_map;
	struct kvmi_view view;
	struct kvmi_access access;
	struct kvmi_views views;
	struct kvmi_view_check check;
	struct kvmi_remap remap;
	struct kvmi_pages pages;
	struct kvmi_watch_bytes bytes;
	struct kvmi_view_link link;
	struct kvmi_breakpoint breakpoint;
	struct kvmi_snapshot snapshot;
	struct kvmi_inject inject;
	struct kvmi_batch batch;
};

static int kvmi_do_detach(struct kvmi_session *session, union kvmi_args *args)
{
	if (args->detach.flags)
		return -EINVAL;
	if (READ_ONCE(session->vm->detached) || READ_ONCE(session->detaching))
		return -ENODEV;
	return kvmi_session_detach(session, false);
}

static u32 kvmi_session_pid(struct kvm *kvm)
{
	struct task_struct *task;
	u32 pid;

	rcu_read_lock();
	task = kvmi_vmlist_task(kvm);
	pid = task ? task_tgid_nr(task) : kvm->userspace_pid;
	rcu_read_unlock();
	return pid;
}

static int kvmi_do_info(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_info *info = &args->info;
	struct kvmi_vm *vm = session->vm;
	struct kvm_vcpu *vcpu;

	if (info->flags)
		return -EINVAL;
	memset_after(info, 0, flags);
	info->out_nr_vcpus = vm->nr_vcpus;
	info->out_pid = kvmi_session_pid(vm->kvm);
	info->out_attach_ns = vm->attach_ns;
	info->out_nr_views = vm->nr_views;
	vcpu = kvm_get_vcpu(vm->kvm, 0);
	if (vcpu)
		info->out_tsc_khz = vcpu->arch.virtual_tsc_khz;
	info->out_id = vm->id;
	kvmi_memory_info(vm->kvm, info);
	return 0;
}

static int kvmi_do_slots(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_memory_slots(session->vm, &args->slots);
}

static int kvmi_do_vcpu(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_vcpu_info *info = &args->vcpu_info;
	struct kvmi_ring_header *header;
	struct kvmi_watch *watch;
	struct kvmi_vcpu *kv;

	if (info->flags)
		return -EINVAL;
	kv = xa_load(&session->vm->vcpus, info->vcpu);
	watch = xa_load(&session->sink->watches, info->vcpu);
	if (!kv || !watch)
		return -ENOENT;
	header = watch->ring.header;
	memset_after(info, 0, vcpu);
	info->out_id = kv->vcpu->vcpu_id;
	info->out_state = kvmi_vcpu_state(kv);
	info->out_view = kvmi_view_shown(kv);
	info->out_open_event = READ_ONCE(kv->open.id);
	info->out_events = READ_ONCE(header->posted);
	info->out_dropped = READ_ONCE(header->dropped_total);
	info->out_bad_replies = READ_ONCE(header->bad_replies);
	info->out_pause_count = READ_ONCE(kv->pause_count);
	return 0;
}

static int kvmi_do_policy(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_policy *policy = &args->policy;
	struct kvmi_vm *vm = session->vm;

	if ((policy->flags & ~KVMI_POLICY_STOP_CLOCKS) || policy->pad ||
	    policy->timeout_ms > 86400000 ||
	    policy->on_close > KVMI_ON_CLOSE_WAIT)
		return -EINVAL;
	if (policy->default_action != KVMI_ACTION_CONTINUE &&
	    policy->default_action != KVMI_ACTION_RETRY &&
	    policy->default_action != KVMI_ACTION_CRASH)
		return -EINVAL;

	if ((policy->flags & KVMI_POLICY_STOP_CLOCKS) && kvmi_clock_check())
		return -EOPNOTSUPP;

	WRITE_ONCE(vm->stop_clocks, policy->flags & KVMI_POLICY_STOP_CLOCKS);
	WRITE_ONCE(vm->default_action, policy->default_action);
	vm->on_close = policy->on_close;
	kvmi_event_set_timeout(vm, msecs_to_jiffies(policy->timeout_ms));
	return 0;
}

static int kvmi_do_exits(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_exits_get(session->sink, &args->exits);
}

static int kvmi_do_stats(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_stats_get(session->sink, &args->stats);
}

static int kvmi_do_reset(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_reset *reset = &args->reset;

	if (reset->flags || reset->pad || !reset->what ||
	    (reset->what & ~KVMI_RESET_ALL))
		return -EINVAL;
	return kvmi_vm_reset(session->vm, reset->what);
}

static int kvmi_do_ring(struct kvmi_session *session, union kvmi_args *args)
{
	if (args->get_ring.flags)
		return -EINVAL;
	return kvmi_ring_get(session->sink, &args->get_ring);
}

static int kvmi_do_wait(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_sink_wait(session->sink, &args->wait, &session->detaching);
}

static int kvmi_do_event(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_watch_control(session->sink, &args->control_event);
}

static int kvmi_do_pause(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_pause *pause = &args->pause;
	struct kvmi_vcpu *kv = NULL;

	if (pause->flags || pause->pad)
		return -EINVAL;
	if (pause->vcpu != KVMI_VCPU_ALL) {
		kv = xa_load(&session->vm->vcpus, pause->vcpu);
		if (!kv)
			return -ENOENT;
	}
	return kvmi_pause(session->vm, kv);
}

static int kvmi_do_resume(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_pause *pause = &args->pause;
	struct kvmi_vcpu *kv = NULL;

	if (pause->flags || pause->pad)
		return -EINVAL;
	if (pause->vcpu != KVMI_VCPU_ALL) {
		kv = xa_load(&session->vm->vcpus, pause->vcpu);
		if (!kv)
			return -ENOENT;
	}
	return kvmi_resume(session->vm, kv);
}

static int kvmi_do_get_regs(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_regs_rw(session->vm, &args->regs, false);
}

static int kvmi_do_set_regs(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_regs_rw(session->vm, &args->regs, true);
}

static int kvmi_do_get_state(struct kvmi_session *session,
			     union kvmi_args *args)
{
	return kvmi_state_rw(session->vm, &args->state, false);
}

static int kvmi_do_set_state(struct kvmi_session *session,
			     union kvmi_args *args)
{
	return kvmi_state_rw(session->vm, &args->state, true);
}

static int kvmi_do_get_msrs(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_state_msrs(session->vm, &args->msrs, false);
}

static int kvmi_do_set_msrs(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_state_msrs(session->vm, &args->msrs, true);
}

static int kvmi_do_read(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_memory_rw(session->vm, &args->phys, false);
}

static int kvmi_do_write(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_memory_rw(session->vm, &args->phys, true);
}

static int kvmi_do_list(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_memory_list(session->vm, &args->list);
}

static int kvmi_do_translate(struct kvmi_session *session,
			     union kvmi_args *args)
{
	return kvmi_memory_translate(session->vm, &args->translate);
}

static int kvmi_do_map(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_map_get(session->vm, &args->get_map);
}

static int kvmi_do_view_create(struct kvmi_session *session,
			       union kvmi_args *args)
{
	return kvmi_view_create(session->vm, &args->view);
}

static int kvmi_do_view_destroy(struct kvmi_session *session,
				union kvmi_args *args)
{
	struct kvmi_view *view = &args->view;

	if (view->flags || view->default_access || view->vcpu || view->pad)
		return -EINVAL;
	return kvmi_view_destroy(session->vm, view->view);
}

static int kvmi_do_view_switch(struct kvmi_session *session,
			       union kvmi_args *args)
{
	struct kvmi_view *view = &args->view;

	if (view->flags || view->default_access || view->pad)
		return -EINVAL;
	return kvmi_view_switch(session->vm, view->vcpu, view->view);
}

static int kvmi_do_access_set(struct kvmi_session *session,
			      union kvmi_args *args)
{
	return kvmi_view_access_set(session->vm, &args->access);
}

static int kvmi_do_access_get(struct kvmi_session *session,
			      union kvmi_args *args)
{
	return kvmi_view_access_get(session->vm, &args->access);
}

static int kvmi_do_views(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_view_list(session->vm, &args->views);
}

static int kvmi_do_view_check(struct kvmi_session *session,
			      union kvmi_args *args)
{
	return kvmi_check_views(session->vm, &args->check);
}

static int kvmi_do_remap(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_remap(session->vm, &args->remap);
}

static int kvmi_do_page_alloc(struct kvmi_session *session,
			      union kvmi_args *args)
{
	return kvmi_own_alloc(session->vm, &args->pages);
}

static int kvmi_do_page_free(struct kvmi_session *session,
			     union kvmi_args *args)
{
	return kvmi_own_release(session->vm, &args->pages);
}

static int kvmi_do_link(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_view_link(session->vm, &args->link);
}

static int kvmi_do_bytes(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_bytes_watch(session->vm, &args->bytes);
}

static int kvmi_do_breakpoint_set(struct kvmi_session *session,
				  union kvmi_args *args)
{
	return kvmi_breakpoint_set(session->vm, &args->breakpoint);
}

static int kvmi_do_breakpoint_clear(struct kvmi_session *session,
				    union kvmi_args *args)
{
	return kvmi_breakpoint_clear(session->vm, &args->breakpoint);
}

static int kvmi_do_breakpoint_get(struct kvmi_session *session,
				  union kvmi_args *args)
{
	return kvmi_breakpoint_get(session->vm, &args->breakpoint);
}

static int kvmi_do_snapshot(struct kvmi_session *session,
			    union kvmi_args *args)
{
	return kvmi_undo_snapshot(session->vm, &args->snapshot);
}

static int kvmi_do_inject(struct kvmi_session *session, union kvmi_args *args)
{
	return kvmi_inject(session->vm, &args->inject);
}

static int kvmi_do_narrow(struct kvmi_session *session, union kvmi_args *args);
static int kvmi_do_batch(struct kvmi_session *session, union kvmi_args *args);

/* What a call needs. */
#define KVMI_IOCTL_VM	BIT(0)	/* vm->sem for reading, the VM not gone */
#define KVMI_IOCTL_LOCK	BIT(1)	/* vm->lock */
#define KVMI_IOCTL_OUT	BIT(2)	/* the struct is copied back */
#define KVMI_IOCTL_ERR	BIT(3)	/* on an error, too */
#define KVMI_IOCTL_TRY	BIT(4)	/* nothing is done if it cannot be */

struct kvmi_ioctl {
	size_t size;			/* of the struct today */
	size_t min_size;		/* of its first version */
	u32 flags;
	u32 rights;			/* KVMI_RIGHT_* */
	int (*fn)(struct kvmi_session *session, union kvmi_args *args);
};

#define KVMI_IOCTL(cmd, type, last, fl, right, func)			\
	[_IOC_NR(cmd)] = {						\
		.size = sizeof(struct type),				\
		.min_size = offsetofend(struct type, last),		\
		.flags = (fl),						\
		.rights = (right),					\
		.fn = (func),						\
	}

#define KVMI_IOCTL_CONF	(KVMI_IOCTL_VM | KVMI_IOCTL_LOCK)

static const struct kvmi_ioctl kvmi_ioctls[] = {
	KVMI_IOCTL(KVMI_DETACH, kvmi_detach, flags, 0,
		   0, kvmi_do_detach),
	KVMI_IOCTL(KVMI_GET_INFO, kvmi_info, reserved,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_info),
	KVMI_IOCTL(KVMI_GET_SLOTS, kvmi_slots, out_nr,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_slots),
	KVMI_IOCTL(KVMI_GET_VCPU, kvmi_vcpu_info, reserved,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_vcpu),
	KVMI_IOCTL(KVMI_SET_POLICY, kvmi_policy, default_action,
		   KVMI_IOCTL_CONF,
		   KVMI_RIGHT_CONTROL, kvmi_do_policy),
	KVMI_IOCTL(KVMI_GET_STATS, kvmi_stats, pad,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_stats),
	KVMI_IOCTL(KVMI_GET_EXITS, kvmi_exits, pad,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_exits),
	KVMI_IOCTL(KVMI_RESET, kvmi_reset, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_CONTROL, kvmi_do_reset),
	KVMI_IOCTL(KVMI_NARROW, kvmi_narrow, out_kinds,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT, 0, kvmi_do_narrow),
	KVMI_IOCTL(KVMI_GET_RING, kvmi_get_ring, out_tool_size,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_EVENTS, kvmi_do_ring),
	KVMI_IOCTL(KVMI_WAIT, kvmi_wait, timeout_ns, 0,
		   KVMI_RIGHT_EVENTS, kvmi_do_wait),
	KVMI_IOCTL(KVMI_CONTROL_EVENT, kvmi_control_event, mask,
		   KVMI_IOCTL_CONF,
		   KVMI_RIGHT_EVENTS, kvmi_do_event),
	KVMI_IOCTL(KVMI_PAUSE, kvmi_pause, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_CONTROL, kvmi_do_pause),
	KVMI_IOCTL(KVMI_RESUME, kvmi_pause, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_CONTROL, kvmi_do_resume),
	KVMI_IOCTL(KVMI_GET_REGS, kvmi_regs, pad, KVMI_IOCTL_VM,
		   KVMI_RIGHT_READ, kvmi_do_get_regs),
	KVMI_IOCTL(KVMI_SET_REGS, kvmi_regs, pad, KVMI_IOCTL_VM,
		   KVMI_RIGHT_WRITE, kvmi_do_set_regs),
	KVMI_IOCTL(KVMI_GET_STATE, kvmi_state, out_size,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_READ, kvmi_do_get_state),
	KVMI_IOCTL(KVMI_SET_STATE, kvmi_state, out_size,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_WRITE, kvmi_do_set_state),
	KVMI_IOCTL(KVMI_GET_MSRS, kvmi_msrs, pad, KVMI_IOCTL_VM,
		   KVMI_RIGHT_READ, kvmi_do_get_msrs),
	KVMI_IOCTL(KVMI_SET_MSRS, kvmi_msrs, pad,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_WRITE, kvmi_do_set_msrs),
	KVMI_IOCTL(KVMI_READ_PHYS, kvmi_phys, out_done,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_READ, kvmi_do_read),
	KVMI_IOCTL(KVMI_WRITE_PHYS, kvmi_phys, out_done,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_WRITE, kvmi_do_write),
	KVMI_IOCTL(KVMI_RW_LIST, kvmi_rw_list, space,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_READ, kvmi_do_list),
	KVMI_IOCTL(KVMI_TRANSLATE, kvmi_translate, out_space,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_READ, kvmi_do_translate),
	KVMI_IOCTL(KVMI_GET_MAP, kvmi_get_map, out_size,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_map),
	KVMI_IOCTL(KVMI_VIEW_CREATE, kvmi_view, pad,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_VIEWS, kvmi_do_view_create),
	KVMI_IOCTL(KVMI_VIEW_DESTROY, kvmi_view, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_view_destroy),
	KVMI_IOCTL(KVMI_VIEW_SWITCH, kvmi_view, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_view_switch),
	KVMI_IOCTL(KVMI_ACCESS_SET, kvmi_access, pad,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_VIEWS, kvmi_do_access_set),
	KVMI_IOCTL(KVMI_ACCESS_GET, kvmi_access, pad,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_READ, kvmi_do_access_get),
	KVMI_IOCTL(KVMI_GET_VIEWS, kvmi_views, out_nr,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_views),
	KVMI_IOCTL(KVMI_VIEW_CHECK, kvmi_view_check, out_gfn,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_VIEWS, kvmi_do_view_check),
	KVMI_IOCTL(KVMI_REMAP, kvmi_remap, pad,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT | KVMI_IOCTL_ERR,
		   KVMI_RIGHT_VIEWS, kvmi_do_remap),
	KVMI_IOCTL(KVMI_PAGE_ALLOC, kvmi_pages, pad,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_VIEWS, kvmi_do_page_alloc),
	KVMI_IOCTL(KVMI_PAGE_FREE, kvmi_pages, pad, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_page_free),
	KVMI_IOCTL(KVMI_WATCH_BYTES, kvmi_watch_bytes, gpa, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_bytes),
	KVMI_IOCTL(KVMI_VIEW_LINK, kvmi_view_link, other, KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_link),
	KVMI_IOCTL(KVMI_BREAKPOINT_SET, kvmi_breakpoint, out_hits,
		   KVMI_IOCTL_CONF,
		   KVMI_RIGHT_VIEWS, kvmi_do_breakpoint_set),
	KVMI_IOCTL(KVMI_BREAKPOINT_CLEAR, kvmi_breakpoint, out_hits,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT | KVMI_IOCTL_TRY,
		   KVMI_RIGHT_VIEWS, kvmi_do_breakpoint_clear),
	KVMI_IOCTL(KVMI_BREAKPOINT_GET, kvmi_breakpoint, out_hits,
		   KVMI_IOCTL_CONF | KVMI_IOCTL_OUT,
		   KVMI_RIGHT_READ, kvmi_do_breakpoint_get),
	KVMI_IOCTL(KVMI_SNAPSHOT, kvmi_snapshot, pad,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR | KVMI_IOCTL_TRY,
		   KVMI_RIGHT_VIEWS | KVMI_RIGHT_WRITE, kvmi_do_snapshot),
	KVMI_IOCTL(KVMI_INJECT, kvmi_inject, out_injection,
		   KVMI_IOCTL_VM | KVMI_IOCTL_OUT | KVMI_IOCTL_TRY,
		   KVMI_RIGHT_INJECT, kvmi_do_inject),
	/* Each of its calls is asked for its own. */
	KVMI_IOCTL(KVMI_BATCH, kvmi_batch, pad,
		   KVMI_IOCTL_OUT | KVMI_IOCTL_ERR, 0, kvmi_do_batch),
};

/* The rest of the table: what a call needs more, by its arguments. */
static u32 kvmi_session_needs(struct kvmi_session *session,
			      const struct kvmi_ioctl *op,
			      const union kvmi_args *args)
{
	u32 rights = op->rights;

	/* Else a sandbox could avoid what its end is to bring about. */
	if (op->fn == kvmi_do_detach && !session->sink->observer)
		rights |= KVMI_RIGHT_CONTROL;

	if (op->fn == kvmi_do_event && args->control_event.mode == KVMI_MODE_SYNC)
		rights |= KVMI_RIGHT_SYNC;
	if (op->fn == kvmi_do_list && (args->list.flags & KVMI_RW_WRITE))
		rights |= KVMI_RIGHT_WRITE;
	return rights;
}

/* ... and the parts of an answer. */
static void kvmi_session_replies(struct kvmi_session *session)
{
	u32 rights = session->rights, flags = ~0U, actions = ~0U;

	if (!(rights & KVMI_RIGHT_WRITE))
		flags &= ~(KVMI_REPLY_REGS | KVMI_REPLY_VALUE |
			   KVMI_REPLY_SETS | KVMI_REPLY_STAND_IN);
	if (!(rights & KVMI_RIGHT_INJECT))
		flags &= ~KVMI_REPLY_INJECT;
	if (!(rights & KVMI_RIGHT_VIEWS))
		flags &= ~(KVMI_REPLY_VIEW | KVMI_REPLY_FAST_STEP |
			   KVMI_REPLY_STAND_IN);
	if (!(rights & KVMI_RIGHT_CONTROL))
		actions &= ~(BIT(KVMI_ACTION_SKIP) | BIT(KVMI_ACTION_CRASH));
	if (!(rights & KVMI_RIGHT_SYNC))
		actions = BIT(KVMI_ACTION_CONTINUE);
	if (session->sink->observer)
		return;
	WRITE_ONCE(session->vm->reply_flags, flags);
	WRITE_ONCE(session->vm->reply_actions, actions);
	/* Pairs with nothing: an answer that is under way may go either way. */
	WRITE_ONCE(session->vm->narrowed, true);
}

static bool kvmi_session_may(struct kvmi_session *session, u32 rights)
{
	return !(rights & ~READ_ONCE(session->rights));
}

static int kvmi_do_narrow(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_narrow *narrow = &args->narrow;

	if (narrow->flags || (narrow->rights & ~KVMI_RIGHT_ALL))
		return -EINVAL;
	/* Serialized by vm->lock. */
	WRITE_ONCE(session->rights, session->rights & narrow->rights);
	WRITE_ONCE(session->kinds, session->kinds & narrow->kinds);
	kvmi_session_replies(session);
	narrow->out_rights = session->rights;
	narrow->out_kinds = session->kinds;
	return 0;
}

static int kvmi_session_call(struct kvmi_session *session,
			     const struct kvmi_ioctl *op, union kvmi_args *args)
{
	struct kvmi_vm *vm = session->vm;
	int ret;

	if (!kvmi_session_may(session, kvmi_session_needs(session, op, args)))
		return -EPERM;
	if (op->fn == kvmi_do_event && args->control_event.kind < KVMI_NR_KINDS &&
	    !(READ_ONCE(session->kinds) & BIT_ULL(args->control_event.kind)))
		return -EPERM;
	/* Without others, that is as much as vm->detached says. */
	if (op->flags && READ_ONCE(session->detaching))
		return -ENODEV;

	/* Those that take what they need themselves. */
	if (!(op->flags & (KVMI_IOCTL_VM | KVMI_IOCTL_LOCK)))
		return op->fn(session, args);

	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;
	if (op->flags & KVMI_IOCTL_LOCK) {
		if (mutex_lock_interruptible(&vm->lock)) {
			ret = -EINTR;
			goto out;
		}
	}
	ret = vm->detached ? -ENODEV : op->fn(session, args);
	if (op->flags & KVMI_IOCTL_LOCK)
		mutex_unlock(&vm->lock);
out:
	kvmi_vm_unget(vm);
	return ret;
}

/* The caller is not told what was made for it: it does not have it. */
static void kvmi_session_take_back(struct kvmi_session *session,
				   const struct kvmi_ioctl *op,
				   union kvmi_args *args)
{
	u32 view;

	if (op->fn == kvmi_do_view_create) {
		view = args->view.view;
		memset(&args->view, 0, sizeof(args->view));
		args->view.view = view;
		op = &kvmi_ioctls[_IOC_NR(KVMI_VIEW_DESTROY)];
	} else if (op->fn == kvmi_do_page_alloc) {
		op = &kvmi_ioctls[_IOC_NR(KVMI_PAGE_FREE)];
	} else {
		return;
	}
	kvmi_session_call(session, op, args);
}

static int kvmi_session_do(struct kvmi_session *session, unsigned int cmd,
			   void __user *uarg)
{
	const struct kvmi_ioctl *op;
	union kvmi_args args;
	unsigned int nr = _IOC_NR(cmd);
	u32 size;
	int ret;

	if (cmd == KVMI_GET_CAPS)
		return kvmi_caps_get(session->vm, uarg);
	if (cmd != _IO(KVMI_IOC_TYPE, nr) || nr >= ARRAY_SIZE(kvmi_ioctls))
		return -ENOTTY;
	op = &kvmi_ioctls[array_index_nospec(nr, ARRAY_SIZE(kvmi_ioctls))];
	if (!op->fn)
		return -ENOTTY;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	/* As other calls have it; else a tail of GiBs would be looked at. */
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&args, op->size, uarg, size);
	if (ret)
		return ret;
	size = min_t(size_t, size, op->size);
	/* What cannot be taken back: an interrupt may be in the guest by then. */
	if ((op->flags & KVMI_IOCTL_TRY) && copy_to_user(uarg, &args, size))
		return -EFAULT;

	ret = kvmi_session_call(session, op, &args);
	if ((op->flags & KVMI_IOCTL_OUT) &&
	    (!ret || (op->flags & KVMI_IOCTL_ERR)) &&
	    copy_to_user(uarg, &args, size)) {
		if (!ret)
			kvmi_session_take_back(session, op, &args);
		return -EFAULT;
	}
	return ret;
}

static long kvmi_session_ioctl(struct file *file, unsigned int cmd,
			       unsigned long arg)
{
	return kvmi_session_do(file->private_data, cmd, (void __user *)arg);
}

/* Those that wait, and those that would be in themselves, have no place here. */
static int kvmi_batch_one(struct kvmi_session *session,
			  const struct kvmi_batch_op *op)
{
	if (op->cmd == KVMI_WAIT || op->cmd == KVMI_DETACH ||
	    op->cmd == KVMI_BATCH)
		return -EINVAL;
	return kvmi_session_do(session, op->cmd, u64_to_user_ptr(op->arg));
}

static int kvmi_do_batch(struct kvmi_session *session, union kvmi_args *args)
{
	struct kvmi_batch *batch = &args->batch;
	struct kvmi_batch_op __user *uop = u64_to_user_ptr(batch->ops);
	struct kvmi_batch_op op;

	batch->out_done = 0;
	batch->out_failed = 0;
	if ((batch->flags & ~KVMI_BATCH_STOP) || batch->pad || !batch->nr ||
	    batch->nr > KVMI_MAX_BATCH)
		return -EINVAL;

	for (; batch->out_done < batch->nr; uop++) {
		if (signal_pending(current))
			return -EINTR;
		if (copy_from_user(&op, uop, sizeof(op)))
			return -EFAULT;
		op.out_error = kvmi_batch_one(session, &op);
		/* As if it had not begun: the call can be made again. */
		if (op.out_error == -EINTR)
			return -EINTR;
		if (put_user(op.out_error, &uop->out_error))
			return -EFAULT;
		batch->out_done++;
		batch->out_failed += !!op.out_error;
		if (op.out_error && (batch->flags & KVMI_BATCH_STOP))
			break;
		cond_resched();
	}
	return 0;
}

static ssize_t kvmi_session_read(struct file *file, char __user *buf,
				 size_t len, loff_t *pos)
{
	struct kvmi_session *session = file->private_data;

	if (!kvmi_session_may(session, KVMI_RIGHT_READ))
		return -EPERM;
	if (READ_ONCE(session->detaching))
		return -ENODEV;
	return kvmi_memory_file(session->vm, buf, len, pos, false);
}

static ssize_t kvmi_session_write(struct file *file, const char __user *buf,
				  size_t len, loff_t *pos)
{
	struct kvmi_session *session = file->private_data;

	if (!kvmi_session_may(session, KVMI_RIGHT_WRITE))
		return -EPERM;
	if (READ_ONCE(session->detaching))
		return -ENODEV;
	return kvmi_memory_file(session->vm, (char __user *)buf, len, pos,
				true);
}

static loff_t kvmi_session_llseek(struct file *file, loff_t offset, int whence)
{
	struct kvmi_session *session = file->private_data;
	loff_t at = 0;

	switch (whence) {
	case SEEK_DATA:
	case SEEK_HOLE:
		if (offset < 0)
			return -ENXIO;
		at = kvmi_memory_seek(session->vm, offset, whence);
		if (at < 0)
			return at;
		offset = at;
		whence = SEEK_SET;
		break;
	case SEEK_END:
		at = kvmi_memory_seek(session->vm, 0, whence);
		if (at < 0)
			return at;
		break;
	}
	return generic_file_llseek_size(file, offset, whence, LLONG_MAX, at);
}

static __poll_t kvmi_session_poll(struct file *file, poll_table *wait)
{
	struct kvmi_session *session = file->private_data;

	__poll_t mask;

	poll_wait(file, &session->sink->wq, wait);
	mask = kvmi_sink_pending(session->sink);
	if (READ_ONCE(session->detaching))
		mask |= EPOLLHUP;
	return kvmi_session_may(session, KVMI_RIGHT_EVENTS) ? mask :
							      mask & EPOLLHUP;
}

static int kvmi_session_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kvmi_session *session = file->private_data;

	if (kvmi_map_offset(vma))
		return kvmi_session_may(session, KVMI_RIGHT_READ) ?
		       kvmi_map_mmap(session->vm, vma) : -EPERM;
	if (!kvmi_session_may(session, KVMI_RIGHT_EVENTS))
		return -EPERM;
	return kvmi_ring_mmap(session->sink, vma);
}

static int kvmi_session_release(struct inode *inode, struct file *file)
{
	struct kvmi_session *session = file->private_data;

	kvmi_session_detach(session, true);
	kref_put(&session->detach->ref, kvmi_detach_free);
	kvmi_sink_put(session->sink);
	mutex_destroy(&session->lock);
	kfree(session);
	return 0;
}

static const struct file_operations kvmi_session_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kvmi_session_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = kvmi_session_read,
	.write = kvmi_session_write,
	.llseek = kvmi_session_llseek,
	.poll = kvmi_session_poll,
	.mmap = kvmi_session_mmap,
	.release = kvmi_session_release,
};

/**
 * kvmi_session_create - KVMI_ATTACH
 * @args: argument of the ioctl
 *
 * Return: the session's descriptor, or -errno as KVMI_ATTACH says.
 */
int kvmi_session_create(struct kvmi_attach *args)
{
	struct kvmi_session *session;
	u32 ring_size = args->ring_size ?: KVMI_DEFAULT_RING;
	struct file *vm_file;
	struct file *file;
	bool observer;
	int ret;
	int fd;

	if ((args->flags & ~(KVMI_ATTACH_PAUSED | KVMI_ATTACH_OBSERVER)) ||
	    args->flags == (KVMI_ATTACH_PAUSED | KVMI_ATTACH_OBSERVER))
		return -EINVAL;
	if (!is_power_of_2(ring_size) || ring_size < KVMI_MIN_RING ||
	    ring_size > KVMI_MAX_RING)
		return -EINVAL;

	vm_file = fget(args->vm_fd);
	if (!vm_file)
		return -EBADF;
	ret = -EBADF;
	if (!kvm_call(file_is_kvm)(vm_file))
		goto out_vm_file;

	ret = -ENOMEM;
	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		goto out_vm_file;
	session->detach = kzalloc(sizeof(*session->detach), GFP_KERNEL_ACCOUNT);
	if (!session->detach)
		goto err_session;
	mutex_init(&session->lock);
	INIT_WORK(&session->detach->work, kvmi_detach_fn);
	kref_init(&session->detach->ref);
	init_completion(&session->detach->done);

	fd = get_unused_fd_flags(O_CLOEXEC);
	ret = fd;
	if (fd < 0)
		goto err_detach;

	observer = args->flags & KVMI_ATTACH_OBSERVER;
	session->rights = observer ? KVMI_RIGHT_READ | KVMI_RIGHT_EVENTS :
				     KVMI_RIGHT_ALL;
	session->kinds = ~0ULL;
	session->sink = kvmi_vm_attach(vm_file, ring_size, observer,
				       args->flags & KVMI_ATTACH_PAUSED);
	if (IS_ERR(session->sink)) {
		ret = PTR_ERR(session->sink);
		goto err_fd;
	}
	session->vm = session->sink->vm;
	session->detach->sink = session->sink;

	file = anon_inode_getfile("[kvmi]", &kvmi_session_fops, session,
				  O_RDWR);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_vm;
	}
	/* Guest memory is at the position of its address. */
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE |
			FMODE_ATOMIC_POS;
	fd_install(fd, file);
	fput(vm_file);
	return fd;

err_vm:
	kvmi_session_detach(session, false);
	kvmi_sink_put(session->sink);
err_fd:
	put_unused_fd(fd);
err_detach:
	kref_put(&session->detach->ref, kvmi_detach_free);
err_session:
	kfree(session);
out_vm_file:
	fput(vm_file);
	return ret;
}
