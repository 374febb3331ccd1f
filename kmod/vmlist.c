// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMs of this host, watched or not: what kvmi tells of them to whom.
 *
 * A VM enters the list when KVM has made it, or with kvmi if it was there before,
 * and leaves it when KVM destroys it: while kvmi_vmlist_lock is held, every
 * struct kvm in it is alive.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/list.h>
#include <linux/ptrace.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "hook.h"
#include "vmlist.h"

static LIST_HEAD(kvmi_vmlist);
/*
 * Nests in kvmi_vms_lock, and kvm_lock in this one. Under kvm_lock no memory can
 * be had: KVM's shrinker takes it.
 */
static DEFINE_MUTEX(kvmi_vmlist_lock);
static u64 kvmi_vmlist_last_id;

static struct kvmi_host_vm *kvmi_vmlist_find(const struct kvm *kvm)
{
	struct kvmi_host_vm *host;

	lockdep_assert_held(&kvmi_vmlist_lock);
	list_for_each_entry(host, &kvmi_vmlist, node)
		if (host->kvm == kvm)
			return host;
	return NULL;
}

static void kvmi_vmlist_insert(struct kvmi_host_vm *host, struct kvm *kvm,
			       struct pid *pid)
{
	host->kvm = kvm;
	host->pid = pid;
	host->id = ++kvmi_vmlist_last_id;
	list_add_tail(&host->node, &kvmi_vmlist);
}

/**
 * kvmi_vmlist_add - KVM has made a VM
 * @kvm: called by its maker, before anybody can use it
 *
 * Return: its id; 0 if there is no memory: then it is not in the list.
 */
u64 kvmi_vmlist_add(struct kvm *kvm)
{
	struct kvmi_host_vm *host;
	u64 id;

	host = kzalloc(sizeof(*host), GFP_KERNEL);
	if (!host)
		return 0;
	host->created_ns = ktime_get_ns();

	mutex_lock(&kvmi_vmlist_lock);
	kvmi_vmlist_insert(host, kvm, get_pid(task_tgid(current)));
	id = host->id;
	mutex_unlock(&kvmi_vmlist_lock);
	return id;
}

/**
 * kvmi_vmlist_del - KVM destroys a VM
 * @kvm: nobody uses it any more
 *
 * Return: the id that it had; 0 if it was not in the list.
 */
u64 kvmi_vmlist_del(struct kvm *kvm)
{
	struct kvmi_host_vm *host;
	u64 id = 0;

	mutex_lock(&kvmi_vmlist_lock);
	host = kvmi_vmlist_find(kvm);
	if (host) {
		id = host->id;
		list_del(&host->node);
		put_pid(host->pid);
		kfree(host);
	}
	mutex_unlock(&kvmi_vmlist_lock);
	return id;
}

/**
 * kvmi_vmlist_id - the id of a VM
 * @kvm: kept alive by the caller
 *
 * Return: its id, unique while the module is loaded; 0 if it is not in the list.
 */
u64 kvmi_vmlist_id(const struct kvm *kvm)
{
	struct kvmi_host_vm *host;
	u64 id;

	mutex_lock(&kvmi_vmlist_lock);
	host = kvmi_vmlist_find(kvm);
	id = host ? host->id : 0;
	mutex_unlock(&kvmi_vmlist_lock);
	return id;
}

/**
 * kvmi_vmlist_task - a thread of the VMM
 * @kvm: kept alive by the caller, who holds rcu_read_lock()
 *
 * KVM remembers the thread that made the VM, which need not be the first of its
 * process, nor live any more; those of vCPUs are of the same process.
 *
 * Return: the thread, or NULL if none is left.
 */
struct task_struct *kvmi_vmlist_task(struct kvm *kvm)
{
	struct task_struct *task;
	struct kvm_vcpu *vcpu;

	task = pid_task(find_pid_ns(kvm->userspace_pid, &init_pid_ns),
			PIDTYPE_PID);
	if (task && task->mm == kvm->mm)
		return task;
	vcpu = kvm_get_vcpu(kvm, 0);
	return vcpu ? pid_task(rcu_dereference(vcpu->pid), PIDTYPE_PID) : NULL;
}

/**
 * kvmi_vmlist_next - the next VM of the list that the caller may know of
 * @id: greater than this; 0 for the first one
 *
 * Who may attach to a VM (PTRACE_MODE_ATTACH_REALCREDS, as pidfd_getfd(2) asks),
 * and sees its VMM in its pid namespace, may know of it.
 *
 * Return: NULL behind the last one; else the VM, which lives until the caller
 * calls kvmi_vmlist_done(), even if that is said to nobody.
 */
struct kvmi_host_vm *kvmi_vmlist_next(u64 id)
{
	struct kvmi_host_vm *host;

	mutex_lock(&kvmi_vmlist_lock);
	list_for_each_entry(host, &kvmi_vmlist, node) {
		struct task_struct *task;
		bool may;

		if (host->id <= id || !pid_vnr(host->pid))
			continue;
		/* The VMM's first thread may have ended, and the process not. */
		task = get_pid_task(host->pid, PIDTYPE_TGID);
		if (!task)
			continue;
		may = kvm_call(ptrace_may_access)(task,
						  PTRACE_MODE_ATTACH_REALCREDS |
						  PTRACE_MODE_NOAUDIT);
		host->task = task;
		if (may)
			return host;
		put_task_struct(task);
	}
	mutex_unlock(&kvmi_vmlist_lock);
	return NULL;
}

/**
 * kvmi_vmlist_done - the end of kvmi_vmlist_next()
 * @host: what it returned, not NULL
 */
void kvmi_vmlist_done(struct kvmi_host_vm *host)
{
	put_task_struct(host->task);
	mutex_unlock(&kvmi_vmlist_lock);
}

struct kvmi_found {
	struct kvm *kvm;
	struct pid *pid;
};

/* What KVM has at the moment, as far as there is room; returns how many it has. */
static unsigned int kvmi_vmlist_scan(struct list_head *vms, struct mutex *lock,
				     struct kvmi_found *found,
				     unsigned int room)
{
	struct task_struct *task;
	unsigned int nr = 0;
	struct kvm *kvm;

	mutex_lock(lock);
	list_for_each_entry(kvm, vms, vm_list) {
		if (nr < room) {
			rcu_read_lock();
			task = kvmi_vmlist_task(kvm);
			found[nr].kvm = kvm;
			found[nr].pid = task ? get_pid(task_tgid(task)) : NULL;
			rcu_read_unlock();
		}
		nr++;
	}
	mutex_unlock(lock);
	return nr;
}

/**
 * kvmi_vmlist_init - find the VMs that are there already
 *
 * The hooks of VMs' beginning and end are in: what ends meanwhile waits for
 * kvmi_vmlist_lock, and is taken out then.
 *
 * Return: 0, -ENOENT (KVM's list is not to be found, and the log says so),
 * -ENOMEM.
 */
int kvmi_vmlist_init(void)
{
	struct list_head *vms = (void *)kvmi_hook_lookup("kvm:vm_list");
	struct mutex *lock = (void *)kvmi_hook_lookup("kvm:kvm_lock");
	unsigned int nr = 0, room, i;
	struct kvmi_found *found;
	struct kvmi_host_vm *host;
	int ret = 0;

	if (!vms || !lock) {
		pr_err("KVM has no vm_list and kvm_lock: this kernel is not supported\n");
		return -ENOENT;
	}

	mutex_lock(&kvmi_vmlist_lock);
	for (;;) {
		room = nr + 16;
		found = kvcalloc(room, sizeof(*found), GFP_KERNEL);
		if (!found) {
			ret = -ENOMEM;
			goto out;
		}
		nr = kvmi_vmlist_scan(vms, lock, found, room);
		if (nr <= room)
			break;
		for (i = 0; i < room; i++)
			put_pid(found[i].pid);
		kvfree(found);
	}

	for (i = 0; i < nr; i++) {
		host = NULL;
		/* KVM lists the newest first; without a process it is nobody's. */
		if (!ret && found[nr - 1 - i].pid &&
		    !kvmi_vmlist_find(found[nr - 1 - i].kvm)) {
			host = kzalloc(sizeof(*host), GFP_KERNEL);
			if (!host)
				ret = -ENOMEM;
		}
		if (host)
			kvmi_vmlist_insert(host, found[nr - 1 - i].kvm,
					   found[nr - 1 - i].pid);
		else
			put_pid(found[nr - 1 - i].pid);
	}
	kvfree(found);
out:
	mutex_unlock(&kvmi_vmlist_lock);
	return ret;
}

/**
 * kvmi_vmlist_exit - forget all VMs
 *
 * No hook is in any more.
 */
void kvmi_vmlist_exit(void)
{
	struct kvmi_host_vm *host, *next;

	mutex_lock(&kvmi_vmlist_lock);
	list_for_each_entry_safe(host, next, &kvmi_vmlist, node) {
		put_pid(host->pid);
		kfree(host);
	}
	INIT_LIST_HEAD(&kvmi_vmlist);
	mutex_unlock(&kvmi_vmlist_lock);
}
