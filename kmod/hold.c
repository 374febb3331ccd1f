// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holding new VMs at their first instruction, until a tool has attached.
 *
 * An open /dev/kvmi can hold those of one user or one VMM: what it may hold is
 * what its opener could trace. The first KVM_RUN of each vCPU waits in a gate
 * (vcpu_pre_run), for no longer than the opener has said; the end of the
 * descriptor lets go of all. The wait can be interrupted, as that for an answer.
 *
 * The hooks of KVM's operations go in with the first VM that is held, and out
 * when that is gone, or with the descriptor: not where a vCPU passes the gate, as
 * that would be within a hook.
 */
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/sched/coredump.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "hook.h"
#include "vmlist.h"

/**
 * struct kvmi_holder - what an open /dev/kvmi holds
 * @node: in kvmi_holders
 * @file: of /dev/kvmi; its opener's rights count
 * @timeout: jiffies that a VM is held at most
 * @uid: whose VMs
 * @any_user: everybody's, and @uid is not meant
 * @comm: of which VMM, any if empty
 * @held: struct kvmi_held
 * @wq: who waits for one
 */
struct kvmi_holder {
	struct list_head node;
	struct file *file;
	unsigned long timeout;
	kuid_t uid;
	bool any_user;
	char comm[TASK_COMM_LEN];
	struct list_head held;
	wait_queue_head_t wq;
};

/**
 * struct kvmi_held - a VM that is held, or was
 * @node: in the holder's list
 * @holder: whose
 * @kvm: alive, or this is in no list
 * @id: kvmi_vmlist_id()
 * @pid: its VMM
 * @deadline: jiffies; 0 until its first vCPU has come
 * @over: it goes on
 * @told: the holder knows of it
 */
struct kvmi_held {
	struct list_head node;
	struct kvmi_holder *holder;
	struct kvm *kvm;
	u64 id;
	struct pid *pid;
	unsigned long deadline;
	bool over;
	bool told;
};

/* Holders, what they hold, and the state of that; nests in kvmi_vms_lock. */
static DEFINE_SPINLOCK(kvmi_hold_lock);
static LIST_HEAD(kvmi_holders);
/* VMs that are held, for who has none in mind. */
static unsigned int kvmi_hold_nr;
/* vCPUs in the gate; and who waits there, or for them to leave it. */
static atomic_t kvmi_hold_inside;
static DECLARE_WAIT_QUEUE_HEAD(kvmi_hold_wq);

/* ---- which ------------------------------------------------------------------- */

/* As ptrace(2) has it for the caller's process, for the holder in his place. */
static bool kvmi_hold_may(const struct kvmi_holder *holder)
{
	const struct cred *cred = holder->file->f_cred;
	const struct cred *own = current_cred();

	if (file_ns_capable(holder->file, own->user_ns, CAP_SYS_PTRACE))
		return true;
	return uid_eq(cred->uid, own->euid) && uid_eq(cred->uid, own->suid) &&
	       uid_eq(cred->uid, own->uid) && gid_eq(cred->gid, own->egid) &&
	       gid_eq(cred->gid, own->sgid) && gid_eq(cred->gid, own->gid) &&
	       current->mm && get_dumpable(current->mm) == SUID_DUMP_USER;
}

static bool kvmi_hold_wants(const struct kvmi_holder *holder)
{
	if (!holder->any_user && !uid_eq(holder->uid, current_uid()))
		return false;
	if (holder->comm[0] &&
	    strncmp(holder->comm, current->group_leader->comm, TASK_COMM_LEN))
		return false;
	return kvmi_hold_may(holder);
}

/* The first that wants the VM which this process makes. */
static struct kvmi_holder *kvmi_hold_match(void)
{
	struct kvmi_holder *holder;

	lockdep_assert_held(&kvmi_hold_lock);
	list_for_each_entry(holder, &kvmi_holders, node)
		if (kvmi_hold_wants(holder))
			return holder;
	return NULL;
}

/**
 * kvmi_hold_created - KVM has made a VM
 * @kvm: called by its maker, before anybody can use it
 * @id: kvmi_vmlist_id()
 *
 * May sleep. If it is to be held and cannot be, it runs.
 */
void kvmi_hold_created(struct kvm *kvm, u64 id)
{
	struct kvmi_holder *holder;
	struct kvmi_held *held;

	if (!id || list_empty_careful(&kvmi_holders))
		return;
	spin_lock(&kvmi_hold_lock);
	holder = kvmi_hold_match();
	spin_unlock(&kvmi_hold_lock);
	if (!holder)
		return;

	held = kzalloc(sizeof(*held), GFP_KERNEL_ACCOUNT);
	if (!held)
		return;
	/* Before it is in the list: who takes it out takes the hooks out, too. */
	if (kvmi_vm_hooks_get()) {
		kfree(held);
		return;
	}
	held->kvm = kvm;
	held->id = id;

	spin_lock(&kvmi_hold_lock);
	/* The one of before may be gone. */
	holder = kvmi_hold_match();
	if (holder) {
		held->holder = holder;
		held->pid = get_pid(task_tgid(current));
		list_add_tail(&held->node, &holder->held);
		WRITE_ONCE(kvmi_hold_nr, kvmi_hold_nr + 1);
	}
	spin_unlock(&kvmi_hold_lock);
	if (!holder) {
		kvmi_vm_hooks_put();
		kfree(held);
	}
}

static struct kvmi_held *kvmi_hold_find(const struct kvm *kvm)
{
	struct kvmi_holder *holder;
	struct kvmi_held *held;

	lockdep_assert_held(&kvmi_hold_lock);
	list_for_each_entry(holder, &kvmi_holders, node)
		list_for_each_entry(held, &holder->held, node)
			if (held->kvm == kvm)
				return held;
	return NULL;
}

static void kvmi_hold_free(struct kvmi_held *held)
{
	put_pid(held->pid);
	kfree(held);
}

/**
 * kvmi_hold_gone - KVM destroys a VM
 * @kvm: nobody runs its vCPUs any more
 */
void kvmi_hold_gone(struct kvm *kvm)
{
	struct kvmi_held *held;

	if (!READ_ONCE(kvmi_hold_nr))
		return;
	spin_lock(&kvmi_hold_lock);
	held = kvmi_hold_find(kvm);
	if (held) {
		list_del(&held->node);
		WRITE_ONCE(kvmi_hold_nr, kvmi_hold_nr - 1);
	}
	spin_unlock(&kvmi_hold_lock);
	if (!held)
		return;
	kvmi_hold_free(held);
	kvmi_vm_hooks_put();
}

/* ---- the gate ---------------------------------------------------------------- */

/* How long the VM is still held, jiffies; 0: it is not. */
static long kvmi_hold_left(const struct kvm *kvm)
{
	struct kvmi_held *held;
	long left = 0;

	spin_lock(&kvmi_hold_lock);
	held = kvmi_hold_find(kvm);
	if (held && !held->over) {
		if (!held->deadline) {
			held->deadline = (jiffies + held->holder->timeout) | 1;
			wake_up(&held->holder->wq);
		}
		left = held->deadline - jiffies;
		if (left <= 0) {
			held->over = true;
			left = 0;
		}
	}
	spin_unlock(&kvmi_hold_lock);
	return left;
}

static long kvmi_hold_wait(const struct kvm *kvm, long left)
{
	long ret = 0;

	while (left && ret >= 0) {
		ret = wait_event_interruptible_timeout(kvmi_hold_wq,
						       !kvmi_hold_left(kvm),
						       left);
		left = kvmi_hold_left(kvm);
	}
	return ret;
}

/**
 * kvmi_hold_gate - wait while the VM is held
 * @vcpu: loaded, kvm->srcu held; called within vcpu_pre_run
 *
 * Return: 0 to go on, or -EINTR with KVM_RUN's exit filled in.
 */
int kvmi_hold_gate(struct kvm_vcpu *vcpu)
{
	long left, ret;

	if (likely(!READ_ONCE(kvmi_hold_nr)))
		return 0;
	left = kvmi_hold_left(vcpu->kvm);
	if (!left)
		return 0;

	/* The module stays for this: kvmi_hold_exit(). */
	atomic_inc(&kvmi_hold_inside);
	kvm_vcpu_srcu_read_unlock(vcpu);
	ret = kvmi_hold_wait(vcpu->kvm, left);
	kvm_vcpu_srcu_read_lock(vcpu);
	if (ret < 0) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		vcpu->stat.signal_exits++;
	}
	if (atomic_dec_and_test(&kvmi_hold_inside))
		wake_up_all(&kvmi_hold_wq);
	return ret < 0 ? -EINTR : 0;
}

/**
 * kvmi_hold_attached - a session has the vCPUs of a VM
 * @kvm: from here on its own gate stops them, if they are to stop
 */
void kvmi_hold_attached(struct kvm *kvm)
{
	struct kvmi_held *held;

	if (!READ_ONCE(kvmi_hold_nr))
		return;
	spin_lock(&kvmi_hold_lock);
	held = kvmi_hold_find(kvm);
	if (held)
		held->over = true;
	spin_unlock(&kvmi_hold_lock);
	wake_up_all(&kvmi_hold_wq);
}

/* ---- /dev/kvmi --------------------------------------------------------------- */

/**
 * kvmi_hold_open - KVMI_HOLD
 * @file: of /dev/kvmi
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -EBUSY (it holds already), -ENOMEM.
 */
int kvmi_hold_open(struct file *file, const struct kvmi_hold *args)
{
	struct kvmi_holder *holder;
	size_t len = strnlen(args->comm, sizeof(args->comm));
	int ret = 0;

	BUILD_BUG_ON(sizeof(args->comm) != TASK_COMM_LEN);
	if ((args->flags & ~KVMI_HOLD_F_UID) || !args->timeout_ms ||
	    args->timeout_ms > 600000)
		return -EINVAL;
	if ((!(args->flags & KVMI_HOLD_F_UID) && args->uid) || args->pad ||
	    len == sizeof(args->comm) ||
	    memchr_inv(args->comm + len, 0, sizeof(args->comm) - len))
		return -EINVAL;

	holder = kzalloc(sizeof(*holder), GFP_KERNEL_ACCOUNT);
	if (!holder)
		return -ENOMEM;
	holder->file = file;
	holder->timeout = max(msecs_to_jiffies(args->timeout_ms), 1UL);
	holder->any_user = !(args->flags & KVMI_HOLD_F_UID);
	memcpy(holder->comm, args->comm, sizeof(holder->comm));
	INIT_LIST_HEAD(&holder->held);
	init_waitqueue_head(&holder->wq);
	if (!holder->any_user) {
		holder->uid = make_kuid(current_user_ns(), args->uid);
		if (!uid_valid(holder->uid)) {
			kfree(holder);
			return -EINVAL;
		}
	}

	spin_lock(&kvmi_hold_lock);
	if (file->private_data) {
		ret = -EBUSY;
	} else {
		/* Pairs with the acquire of who finds it in its file. */
		smp_store_release(&file->private_data, holder);
		list_add_tail(&holder->node, &kvmi_holders);
	}
	spin_unlock(&kvmi_hold_lock);
	if (ret)
		kfree(holder);
	return ret;
}

/**
 * kvmi_hold_close - the end of a descriptor of /dev/kvmi
 * @file: it
 *
 * What it holds goes on.
 */
void kvmi_hold_close(struct file *file)
{
	struct kvmi_holder *holder = file->private_data;
	struct kvmi_held *held, *next;
	unsigned int nr = 0;

	if (!holder)
		return;
	spin_lock(&kvmi_hold_lock);
	list_del(&holder->node);
	list_for_each_entry(held, &holder->held, node)
		nr++;
	WRITE_ONCE(kvmi_hold_nr, kvmi_hold_nr - nr);
	spin_unlock(&kvmi_hold_lock);

	/* Nobody finds them any more: the VMs' ends neither. */
	wake_up_all(&kvmi_hold_wq);
	list_for_each_entry_safe(held, next, &holder->held, node) {
		kvmi_hold_free(held);
		kvmi_vm_hooks_put();
	}
	kfree(holder);
}

/**
 * kvmi_hold_exit - wait until nobody is in the gate
 *
 * No descriptor of /dev/kvmi is open any more.
 */
void kvmi_hold_exit(void)
{
	wait_event(kvmi_hold_wq, !atomic_read(&kvmi_hold_inside));
}

static struct kvmi_holder *kvmi_hold_of(struct file *file)
{
	/* Pairs with the release in kvmi_hold_open(). */
	return smp_load_acquire(&file->private_data);
}

/* It stands, and the holder has not been told. */
static bool kvmi_hold_news(const struct kvmi_held *held)
{
	return held->deadline && !held->over && !held->told;
}

/**
 * kvmi_hold_next - KVMI_HOLD_NEXT
 * @file: of /dev/kvmi
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT (it holds nothing at all), -EAGAIN.
 */
int kvmi_hold_next(struct file *file, struct kvmi_hold_next *args)
{
	struct kvmi_holder *holder = kvmi_hold_of(file);
	struct kvmi_held *held;
	int ret = -EAGAIN;

	if (args->flags)
		return -EINVAL;
	if (!holder)
		return -ENOENT;
	spin_lock(&kvmi_hold_lock);
	list_for_each_entry(held, &holder->held, node) {
		if (!kvmi_hold_news(held))
			continue;
		held->told = true;
		args->out_id = held->id;
		args->out_pid = pid_vnr(held->pid);
		args->pad = 0;
		ret = 0;
		break;
	}
	spin_unlock(&kvmi_hold_lock);
	return ret;
}

/**
 * kvmi_hold_release - KVMI_HOLD_RELEASE
 * @file: of /dev/kvmi
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_hold_release(struct file *file, const struct kvmi_hold_release *args)
{
	struct kvmi_holder *holder = kvmi_hold_of(file);
	struct kvmi_held *held;
	int ret = -ENOENT;

	if (args->flags)
		return -EINVAL;
	if (!holder)
		return -ENOENT;
	spin_lock(&kvmi_hold_lock);
	list_for_each_entry(held, &holder->held, node) {
		if (held->id != args->id || held->over)
			continue;
		held->over = true;
		ret = 0;
		break;
	}
	spin_unlock(&kvmi_hold_lock);
	wake_up_all(&kvmi_hold_wq);
	return ret;
}

/**
 * kvmi_hold_poll - poll(2) on /dev/kvmi
 * @file: of /dev/kvmi
 * @wait: as in file_operations
 *
 * Return: EPOLLIN if there is one for kvmi_hold_next().
 */
__poll_t kvmi_hold_poll(struct file *file, poll_table *wait)
{
	struct kvmi_holder *holder = kvmi_hold_of(file);
	struct kvmi_held *held;
	__poll_t mask = 0;

	if (!holder)
		return EPOLLERR;
	poll_wait(file, &holder->wq, wait);
	spin_lock(&kvmi_hold_lock);
	list_for_each_entry(held, &holder->held, node)
		if (kvmi_hold_news(held))
			mask = EPOLLIN;
	spin_unlock(&kvmi_hold_lock);
	return mask;
}
