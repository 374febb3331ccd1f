// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs: attaching to one, letting it go, its end.
 *
 * kvmi holds no reference to a struct kvm: a VM that its VMM lets go of ends
 * then and there, as it would without kvmi, and kvmi is told by the hook of
 * kvm_arch_pre_destroy_vm(). vm->sem, held for reading, keeps vm->kvm alive
 * meanwhile: kvmi_vm_gone() takes it for writing.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include <linux/kvmi_netlink.h>

#include "hook.h"
#include "vmlist.h"

#define KVMI_VM_HASH_BITS	6

struct hlist_head kvmi_vcpu_table[1 << KVMI_HASH_BITS];
static struct hlist_head kvmi_vm_table[1 << KVMI_VM_HASH_BITS];
/* Attach and detach, one at a time; both tables change under it. */
static DEFINE_MUTEX(kvmi_vms_lock);
/* Somebody waits for a vCPU that is let go to leave its hooks. */
DECLARE_WAIT_QUEUE_HEAD(kvmi_drain_wq);

static struct hlist_head *kvmi_vm_head(const struct kvm *kvm)
{
	return &kvmi_vm_table[((unsigned long)kvm >> PAGE_SHIFT) &
			      (ARRAY_SIZE(kvmi_vm_table) - 1)];
}

static void kvmi_vm_free(struct kref *ref)
{
	struct kvmi_vm *vm = container_of(ref, struct kvmi_vm, ref);
	struct kvmi_vcpu *kv;
	unsigned long i;

	cancel_delayed_work_sync(&vm->timer);
	kvmi_check_exit(vm);
	xa_for_each(&vm->vcpus, i, kv)
		kvmi_vcpu_free(kv);
	kvmi_sink_fini(&vm->sink);
	xa_destroy(&vm->vcpus);
	xa_destroy(&vm->views);
	xa_destroy(&vm->own);
	kvmi_breakpoint_clear_all(vm);
	free_page((unsigned long)vm->bounce);
	kvmi_map_put(vm);
	kfree_rcu(vm, rcu);
}

/**
 * kvmi_vm_put - drop a reference
 * @vm: may be freed; process context
 */
void kvmi_vm_put(struct kvmi_vm *vm)
{
	kref_put(&vm->ref, kvmi_vm_free);
}

/**
 * kvmi_vm_lookup - the attached VM of a struct kvm
 * @kvm: KVM's
 *
 * Called under rcu_read_lock().
 *
 * Return: NULL if it is not attached.
 */
struct kvmi_vm *kvmi_vm_lookup(struct kvm *kvm)
{
	struct kvmi_vm *vm;

	hlist_for_each_entry_rcu(vm, kvmi_vm_head(kvm), node)
		if (READ_ONCE(vm->kvm) == kvm)
			return vm;
	return NULL;
}

/**
 * kvmi_vm_each - do something to each VM that is attached
 * @fn: called under rcu_read_lock()
 */
void kvmi_vm_each(void (*fn)(struct kvm *kvm))
{
	struct kvmi_vm *vm;
	struct kvm *kvm;
	unsigned int i;

	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(kvmi_vm_table); i++) {
		hlist_for_each_entry_rcu(vm, &kvmi_vm_table[i], node) {
			kvm = READ_ONCE(vm->kvm);
			if (kvm)
				fn(kvm);
		}
	}
	rcu_read_unlock();
}

/**
 * kvmi_vm_find - the attached VM of a struct kvm, with a reference
 * @kvm: KVM's
 *
 * Return: NULL if it is not attached; else kvmi_vm_put() it from process context.
 */
struct kvmi_vm *kvmi_vm_find(struct kvm *kvm)
{
	struct kvmi_vm *vm;

	rcu_read_lock();
	vm = kvmi_vm_lookup(kvm);
	if (vm && !kref_get_unless_zero(&vm->ref))
		vm = NULL;
	rcu_read_unlock();
	return vm;
}

/**
 * kvmi_vm_attached - might this VM be attached?
 * @kvm: KVM's
 *
 * Return: false if it certainly is not.
 */
bool kvmi_vm_attached(struct kvm *kvm)
{
	return !hlist_empty(kvmi_vm_head(kvm));
}

/**
 * kvmi_vm_get - keep the VM alive for a call
 * @vm: of a session
 *
 * Return: 0 with vm->sem held for reading, -ENODEV if the VM is gone.
 */
int kvmi_vm_get(struct kvmi_vm *vm)
{
	down_read(&vm->sem);
	if (!vm->kvm) {
		up_read(&vm->sem);
		return -ENODEV;
	}
	return 0;
}

/**
 * kvmi_vm_unget - the end of kvmi_vm_get()
 * @vm: vm->sem held for reading
 */
void kvmi_vm_unget(struct kvmi_vm *vm)
{
	up_read(&vm->sem);
}

/**
 * kvmi_vm_kick - make every vCPU pass the entry hook once more
 * @vm: vm->sem held for reading
 *
 * When it returns, no vCPU runs with controls older than the call.
 *
 * Return: 0.
 */
int kvmi_vm_kick(struct kvmi_vm *vm)
{
	kvm_call(kvm_make_all_cpus_request)(vm->kvm,
					    KVM_REQ_OUTSIDE_GUEST_MODE);
	return 0;
}

static int kvmi_vm_check(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (vcpu->arch.guest_state_protected) {
			pr_info_ratelimited("the VM is confidential\n");
			return -EOPNOTSUPP;
		}
	}
	return 0;
}

static int kvmi_vm_check_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	return kvmi_ops->check(kv->vcpu);
}

/* One vCPU tells: they are all alike. */
static int kvmi_vm_check_layout(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv = xa_load(&vm->vcpus, 0);
	int ret = 0;

	down_read(&vm->sem);
	if (kv)
		ret = kvmi_vcpu_run_job(kv, kvmi_vm_check_job, NULL);
	up_read(&vm->sem);
	return ret;
}

static int kvmi_vm_add_vcpus(struct kvmi_vm *vm, struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	struct kvmi_vcpu *kv;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		/* It has come by, and found the VM attached, before this. */
		if (xa_load(&vm->vcpus, vcpu->vcpu_idx))
			continue;
		kv = kvmi_vcpu_create(vm, vcpu);
		if (IS_ERR(kv))
			return PTR_ERR(kv);
	}
	return 0;
}

/*
 * vm->lock for a vCPU that is not known. An attach may make it known at any moment,
 * and who holds the lock then may wait for a job on it, which this thread has to do:
 * so it must not sleep on the lock. Return: 0, -EEXIST: it is known, -EINTR.
 */
static int kvmi_vm_lock_unless(struct kvmi_vm *vm, struct kvm_vcpu *vcpu)
{
	while (!xa_load(&vm->vcpus, vcpu->vcpu_idx)) {
		if (mutex_trylock(&vm->lock)) {
			if (!xa_load(&vm->vcpus, vcpu->vcpu_idx))
				return 0;
			mutex_unlock(&vm->lock);
			break;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(1);
	}
	return -EEXIST;
}

/**
 * kvmi_vm_vcpu_added - a vCPU of an attached VM begins to run
 * @vcpu: created after the attach; called from its KVM_RUN
 *
 * Return: 0, or -EINTR if the thread is being killed. Without memory the vCPU
 * runs unwatched, and a line in the log says so.
 */
int kvmi_vm_vcpu_added(struct kvm_vcpu *vcpu)
{
	struct kvmi_ev_vm ev = {
		.change = KVMI_VM_VCPU_CREATED,
		.vcpu = vcpu->vcpu_idx,
	};
	struct kvmi_vcpu *kv;
	struct kvmi_vm *vm;
	bool added = false;
	int ret;

	vm = kvmi_vm_find(vcpu->kvm);
	if (!vm)
		return 0;

	ret = kvmi_vm_lock_unless(vm, vcpu);
	if (ret)
		goto out;
	if (!vm->detached) {
		kv = ERR_PTR(kvmi_ops->check(vcpu));
		if (!kv)
			kv = kvmi_vcpu_create(vm, vcpu);
		if (IS_ERR(kv))
			pr_warn_ratelimited("vCPU %d is not watched: %ld\n",
					    vcpu->vcpu_idx, PTR_ERR(kv));
		else if (kv->view)
			kvm_make_request(KVM_REQ_LOAD_MMU_PGD, vcpu);
		added = true;
		if (!IS_ERR(kv))
			kvmi_clock_created(kv);
	}
	mutex_unlock(&vm->lock);
	if (added)
		kvmi_change_tell(vm, &ev);
out:
	kvmi_vm_put(vm);
	return ret == -EEXIST ? 0 : ret;
}

/*
 * Wait until no hook holds a vCPU. All are unhashed, so that none comes anew;
 * those that wait are woken, and see KVMI_VCPU_F_GONE.
 */
static void kvmi_vm_drain(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	synchronize_rcu_expedited();
	xa_for_each(&vm->vcpus, i, kv) {
		kvmi_vcpu_wake(kv);
		/* Pairs with smp_store_release() in kvmi_vcpu_leave(). */
		wait_event(kvmi_drain_wq, !smp_load_acquire(&kv->inflight));
	}
}

static int kvmi_vm_reset_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	u32 what = *(u32 *)arg;

	if (what & KVMI_RESET_EVENTS)
		kvmi_step_cancel(kv);
	if (what & KVMI_RESET_INJECT)
		kvmi_inject_drop(kv);
	return 0;
}

/**
 * kvmi_vm_reset - KVMI_RESET
 * @vm: vm->sem held for reading, vm->lock held
 * @what: KVMI_RESET_*
 *
 * The hooks stay, and the rings.
 *
 * Return: 0, -EINTR or -ENOMEM, and some of it is done.
 */
int kvmi_vm_reset(struct kvmi_vm *vm, u32 what)
{
	struct kvmi_tree *tree;
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	if (what & KVMI_RESET_POLICY) {
		WRITE_ONCE(vm->stop_clocks, false);
		WRITE_ONCE(vm->default_action, KVMI_ACTION_CONTINUE);
		kvmi_event_set_timeout(vm, 0);
	}
	if (what & KVMI_RESET_EVENTS)
		kvmi_event_reset(vm);
	if (what & KVMI_RESET_VIEWS) {
		xa_for_each(&vm->views, i, tree) {
			ret = tree->aside ? 0 : kvmi_view_destroy(vm, i);
			if (ret)
				return ret;
		}
		kvmi_own_release_all(vm);
		kvmi_breakpoint_clear_all(vm);
	}
	if (what & (KVMI_RESET_EVENTS | KVMI_RESET_INJECT)) {
		xa_for_each(&vm->vcpus, i, kv) {
			ret = kvmi_vcpu_run_job(kv, kvmi_vm_reset_job, &what);
			if (ret)
				return ret;
		}
	}
	/* Last: until then nothing runs that was not to. */
	if (what & KVMI_RESET_PAUSES) {
		vm->def_pause = 0;
		kvmi_clock_go_on(vm, vm->kvm, KVMI_CLOCK_PAUSE);
		xa_for_each(&vm->vcpus, i, kv) {
			WRITE_ONCE(kv->pause_count, 0);
			kvmi_vcpu_wake(kv);
		}
		kvmi_clock_settle_outside(vm);
	}
	return kvmi_vm_kick(vm);
}

static int kvmi_vm_disarm_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	kvmi_step_cancel(kv);
	kvmi_view_enter(kv, KVMI_VIEW_DEFAULT);
	kvmi_ops->disarm(kv);
	kvmi_clock_settle(kv);
	return kvmi_exit_give_back(kv);
}

/*
 * On the vCPU itself, since the controls are in its VMCS or VMCB. A tool that is
 * killed meanwhile does not cut this short: -EINTR is not for kernel threads, see
 * session.c. An interrupt that a step has held back, and that the guest does not take
 * yet, is waited for, but not for ever: it may have them switched off, or be stopped.
 */
static void kvmi_vm_disarm(struct kvmi_vcpu *kv)
{
	int tries = 50, ret;

	do {
		ret = kvmi_vcpu_run_job(kv, kvmi_vm_disarm_job, NULL);
		if (ret == -EAGAIN)
			schedule_timeout_uninterruptible(1);
		else
			cond_resched();
	} while (ret == -ENOMEM || (ret == -EAGAIN && tries--));
	if (ret == -EAGAIN)
		pr_warn_once("an interrupt that a step held back is lost\n");
}

/*
 * Take everything back. kvmi_vms_lock and vm->sem held, the latter for writing
 * if @dying: then no vCPU can run, and nothing of the VM need be restored.
 */
static void kvmi_vm_release(struct kvmi_vm *vm, bool dying)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	mutex_lock(&vm->lock);
	vm->detached = true;
	if (!dying)
		kvmi_clock_go_on(vm, vm->kvm, KVMI_CLOCK_ALL);
	xa_for_each(&vm->vcpus, i, kv) {
		WRITE_ONCE(kv->want, 0);
		WRITE_ONCE(kv->view, KVMI_VIEW_DEFAULT);
		WRITE_ONCE(kv->pause_count, 0);
		/* Whoever waits for an answer stops to. */
		set_bit(KVMI_VCPU_F_GONE, &kv->flags);
	}
	/* Pairs with that of kvmi_pause_others(). */
	smp_mb();
	WRITE_ONCE(vm->stop_owner, NULL);
	xa_for_each(&vm->vcpus, i, kv)
		kvmi_vcpu_wake(kv);
	mutex_unlock(&vm->lock);
	kvmi_change_kick(vm, true);
	kvmi_map_detach(vm);

	if (!dying) {
		xa_for_each(&vm->vcpus, i, kv)
			kvmi_vm_disarm(kv);
	}
	kvmi_view_destroy_all(vm);

	xa_for_each(&vm->vcpus, i, kv)
		hlist_del_init_rcu(&kv->node);
	hlist_del_init_rcu(&vm->node);
	kvmi_vm_drain(vm);

	if (vm->view_hooks)
		kvmi_mmu_hooks_put();
	kvmi_hook_put();
	module_put(vm->vendor);
	kvmi_netlink_notify(KVMI_NL_CMD_DETACHED, vm->id);
}

/*
 * One more session. The successor of one that has died finds everything as it was;
 * what is open is raised anew, as the guest repeats it. kvmi_vms_lock held.
 */
static void kvmi_vm_join(struct kvmi_vm *vm, bool observer)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	vm->sessions++;
	if (observer)
		return;
	vm->controlled = true;
	if (!vm->orphan)
		return;
	kvmi_change_kick(vm, true);
	vm->orphan = false;
	vm->on_close = KVMI_ON_CLOSE_CONTINUE;
	vm->narrowed = false;
	xa_for_each(&vm->vcpus, i, kv) {
		if (READ_ONCE(kv->open.id)) {
			set_bit(KVMI_VCPU_F_RESET, &kv->flags);
			kvmi_vcpu_wake(kv);
		}
	}
	/* The caller has a reference to both. */
	kvmi_vm_put(vm);
	module_put(THIS_MODULE);
}

static int kvmi_vm_pause_joined(struct kvmi_vm *vm)
{
	int ret = -ENODEV;

	down_read(&vm->sem);
	mutex_lock(&vm->lock);
	if (vm->kvm && !vm->detached)
		ret = kvmi_pause(vm, NULL);
	mutex_unlock(&vm->lock);
	up_read(&vm->sem);
	return ret;
}

/**
 * kvmi_vm_hooks_get - put the hooks of KVM's operations in, for a VM that is held
 *
 * The VM keeps the vendor module.
 *
 * Return: as kvmi_hook_get().
 */
int kvmi_vm_hooks_get(void)
{
	int ret;

	mutex_lock(&kvmi_vms_lock);
	ret = kvmi_hook_get();
	mutex_unlock(&kvmi_vms_lock);
	return ret;
}

/**
 * kvmi_vm_hooks_put - the end of kvmi_vm_hooks_get()
 */
void kvmi_vm_hooks_put(void)
{
	mutex_lock(&kvmi_vms_lock);
	kvmi_hook_put();
	mutex_unlock(&kvmi_vms_lock);
}

/* @vm: a reference becomes the session's */
static struct kvmi_sink *kvmi_vm_sink(struct kvmi_vm *vm, u32 ring_size,
				      bool observer)
{
	return observer ? kvmi_sink_observe(vm, ring_size) : &vm->sink;
}

/* One more session of a VM that has some. */
static struct kvmi_sink *kvmi_vm_attach_more(struct kvmi_vm *vm, u32 ring_size,
					     bool observer, bool paused)
{
	struct kvmi_sink *sink;
	int ret;

	if (!observer && vm->controlled)
		return ERR_PTR(-EBUSY);
	ret = paused ? kvmi_vm_pause_joined(vm) : 0;
	if (ret)
		return ERR_PTR(ret);
	sink = kvmi_vm_sink(vm, ring_size, observer);
	if (!IS_ERR(sink))
		kvmi_vm_join(vm, observer);
	return sink;
}

/**
 * kvmi_vm_attach - attach to a VM
 * @vm_file: of its VM descriptor
 * @ring_size: bytes per vCPU, a power of two; of the first session, and observers
 * @observer: it does not control the VM
 * @paused: all its vCPUs are paused once
 *
 * Return: where its events go, with one reference to that and to the VM, or
 * ERR_PTR(); see KVMI_ATTACH.
 */
struct kvmi_sink *kvmi_vm_attach(struct file *vm_file, u32 ring_size,
				 bool observer, bool paused)
{
	struct kvm *kvm = vm_file->private_data;
	struct kvmi_vm *vm, *other;
	struct kvmi_sink *sink;
	int ret;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	kref_init(&vm->ref);
	INIT_HLIST_NODE(&vm->node);
	init_rwsem(&vm->sem);
	mutex_init(&vm->lock);
	mutex_init(&vm->undo_lock);
	xa_init(&vm->vcpus);
	xa_init_flags(&vm->views, XA_FLAGS_ALLOC1);
	vm->aliases = RB_ROOT;
	xa_init(&vm->own);
	xa_init(&vm->breakpoints);
	spin_lock_init(&vm->view_lock);
	spin_lock_init(&vm->clock.lock);
	init_waitqueue_head(&vm->stop_wq);
	mutex_init(&vm->change.lock);
	init_waitqueue_head(&vm->change.wq);
	INIT_DELAYED_WORK(&vm->timer, kvmi_event_timer);
	kvmi_check_init(vm);
	vm->def_pause = paused;
	vm->attach_ns = ktime_get_ns();
	vm->vendor = vm_file->f_op->owner;

	ret = kvmi_sink_init(&vm->sink, vm, ring_size);
	if (ret) {
		kfree(vm);
		return ERR_PTR(ret);
	}
	INIT_LIST_HEAD(&vm->sinks);
	list_add(&vm->sink.node, &vm->sinks);

	if (mutex_lock_interruptible(&kvmi_vms_lock)) {
		ret = -EINTR;
		goto err_vm;
	}

	other = kvmi_vm_find(kvm);
	if (other) {
		sink = kvmi_vm_attach_more(other, ring_size, observer, paused);
		mutex_unlock(&kvmi_vms_lock);
		if (IS_ERR(sink))
			kvmi_vm_put(other);
		kvmi_vm_put(vm);
		return sink;
	}

	ret = -ENODEV;
	if (!try_module_get(vm->vendor))
		goto err_unlock;

	ret = kvmi_hook_get();
	if (ret)
		goto err_module;
	vm->view_hooks = !kvmi_mmu_hooks_get();

	vm->kvm = kvm;
	ret = kvmi_vm_check(kvm);
	if (ret)
		goto err_hook;

	hlist_add_head_rcu(&vm->node, kvmi_vm_head(kvm));
	mutex_lock(&vm->lock);
	ret = kvmi_vm_add_vcpus(vm, kvm);
	mutex_unlock(&vm->lock);
	kvmi_hold_attached(kvm);
	if (!ret)
		ret = kvmi_vm_check_layout(vm);
	if (!ret && paused)
		ret = kvmi_pause_wait(vm, NULL);
	sink = ret ? ERR_PTR(ret) : kvmi_vm_sink(vm, ring_size, observer);
	if (IS_ERR(sink)) {
		ret = PTR_ERR(sink);
		down_read(&vm->sem);
		kvmi_vm_release(vm, false);
		up_read(&vm->sem);
		vm->kvm = NULL;
		goto err_unlock;
	}

	vm->sessions = 1;
	vm->controlled = !observer;
	vm->id = kvmi_vmlist_id(kvm);
	kvmi_netlink_notify(KVMI_NL_CMD_ATTACHED, vm->id);
	mutex_unlock(&kvmi_vms_lock);
	return sink;

err_hook:
	vm->kvm = NULL;
	if (vm->view_hooks)
		kvmi_mmu_hooks_put();
	kvmi_hook_put();
err_module:
	module_put(vm->vendor);
err_unlock:
	mutex_unlock(&kvmi_vms_lock);
err_vm:
	kvmi_vm_put(vm);
	return ERR_PTR(ret);
}

/* Its session has died, as it has wished: the VM ends. */
static void kvmi_vm_crash(struct kvmi_vm *vm)
{
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv) {
		kvm_make_request(KVM_REQ_TRIPLE_FAULT, kv->vcpu);
		kvmi_vcpu_call(kv);
	}
}

/* The session that controlled the VM goes. Return: true if the VM is kept for one. */
static bool kvmi_vm_abandon(struct kvmi_vm *vm, bool closed)
{
	u32 how = closed ? vm->on_close : KVMI_ON_CLOSE_CONTINUE;

	vm->controlled = false;
	mutex_lock(&vm->lock);
	switch (how) {
	case KVMI_ON_CLOSE_CRASH:
		kvmi_vm_crash(vm);
		break;
	case KVMI_ON_CLOSE_PAUSE:
		kvmi_pause_orphan(vm);
		fallthrough;
	case KVMI_ON_CLOSE_WAIT:
		/* As if the session was there still. */
		kref_get(&vm->ref);
		__module_get(THIS_MODULE);
		vm->orphan = true;
		mutex_unlock(&vm->lock);
		return true;
	}
	/* Others look on: for them the VM stays. */
	if (vm->sessions) {
		while (kvmi_vm_reset(vm, KVMI_RESET_ALL) == -ENOMEM)
			cond_resched();
		vm->on_close = KVMI_ON_CLOSE_CONTINUE;
		vm->narrowed = false;
	}
	mutex_unlock(&vm->lock);
	return false;
}

/**
 * kvmi_vm_leave - a session ends; the last one lets the VM go
 * @sink: the session's; its VM is attached, or gone already
 * @closed: not by KVMI_DETACH: vm->on_close holds
 *
 * Then it returns when nothing of kvmi is left in the VM. Called from a kernel
 * thread: nothing interrupts it.
 */
void kvmi_vm_leave(struct kvmi_sink *sink, bool closed)
{
	struct kvmi_vm *vm = sink->vm;
	bool keep = false;

	mutex_lock(&kvmi_vms_lock);
	down_read(&vm->sem);
	vm->sessions--;
	if (sink->observer) {
		kvmi_sink_leave(sink);
		if (vm->kvm)
			kvmi_vm_kick(vm);
	} else if (vm->kvm) {
		keep = kvmi_vm_abandon(vm, closed);
	}
	keep |= vm->sessions || vm->orphan;
	if (vm->kvm && !keep)
		kvmi_vm_release(vm, false);
	up_read(&vm->sem);

	if (!keep) {
		down_write(&vm->sem);
		vm->kvm = NULL;
		up_write(&vm->sem);
	}
	mutex_unlock(&kvmi_vms_lock);
	kvmi_sink_wake_all(vm);
	wake_up_all(&sink->wq);
}

/**
 * kvmi_vm_gone - a struct kvm is about to be destroyed
 * @kvm: nobody runs its vCPUs any more
 */
void kvmi_vm_gone(struct kvm *kvm)
{
	struct kvmi_ev_vm ev = { .change = KVMI_VM_GONE };
	struct kvmi_vm *vm;
	bool orphan;

	vm = kvmi_vm_find(kvm);
	if (!vm)
		return;

	kvmi_change_tell(vm, &ev);
	mutex_lock(&kvmi_vms_lock);
	orphan = vm->orphan;
	vm->orphan = false;
	down_write(&vm->sem);
	if (vm->kvm) {
		kvmi_vm_release(vm, true);
		WRITE_ONCE(vm->gone, true);
		vm->kvm = NULL;
	}
	up_write(&vm->sem);
	mutex_unlock(&kvmi_vms_lock);
	kvmi_sink_wake_all(vm);
	if (orphan)
		kvmi_vm_put(vm);
	kvmi_vm_put(vm);
	/* Last, with nothing behind it that sleeps: see kvmi_hook_exit(). */
	if (orphan)
		module_put(THIS_MODULE);
}
