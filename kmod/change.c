// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of a VM as a whole: its memory slots, vCPUs and end, and that it is
 * about to leave for another host. Told on a ring of the VM's own, by whatever
 * thread does it, with whatever KVM holds then: nothing here sleeps but
 * kvmi_change_leaving().
 */
#include <linux/jiffies.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "hook.h"

/* How long a VMM waits for a tool that has set no limit of its own. */
#define KVMI_LEAVING_TIMEOUT	(10 * HZ)

static void kvmi_change_exit(struct kvmi_exit *ex, const struct kvmi_ev_vm *ev)
{
	ex->kind = KVMI_EVENT_VM;
	ex->indexed = true;
	ex->write = true;
	ex->index = ev->change;
	ex->size = sizeof(*ev);
	ex->payload.vm = *ev;
}

static bool kvmi_change_post(struct kvmi_sink *sink, const struct kvmi_exit *ex,
			     u64 id)
{
	struct kvmi_watch *watch = sink->own;
	bool posted;

	spin_lock(&sink->own_lock);
	watch->ring.seq++;
	posted = (id || !watch->limits || kvmi_limit_check(watch, ex->kind)) &&
		 kvmi_ring_post_vm(watch, ex, id);
	if (!posted)
		kvmi_ring_drop(&watch->ring, ex->kind);
	spin_unlock(&sink->own_lock);
	return posted;
}

/* What the controlling session wants to answer is not told here. */
static void kvmi_change_tell_one(struct kvmi_sink *sink,
				 const struct kvmi_exit *ex)
{
	u32 regs, mode;

	mode = kvmi_watch_match(sink->own, ex, &regs);
	if (mode == KVMI_MODE_COUNT)
		kvmi_watch_count(sink->own, ex->kind);
	else if (mode == KVMI_MODE_ASYNC)
		kvmi_change_post(sink, ex, 0);
}

/**
 * kvmi_change_tell - tell the sessions of a VM what has become of it
 * @vm: the VM; the caller has a reference
 * @ev: what
 */
void kvmi_change_tell(struct kvmi_vm *vm, const struct kvmi_ev_vm *ev)
{
	struct kvmi_exit ex = {};
	struct kvmi_sink *sink;
	int idx;

	kvmi_change_exit(&ex, ev);
	idx = srcu_read_lock(&kvmi_watch_srcu);
	list_for_each_entry_srcu(sink, &vm->sinks, node,
				 srcu_read_lock_held(&kvmi_watch_srcu))
		kvmi_change_tell_one(sink, &ex);
	srcu_read_unlock(&kvmi_watch_srcu, idx);
}

static u32 kvmi_change_flags(u32 flags)
{
	return (flags & KVM_MEM_READONLY ? KVMI_SLOT_READONLY : 0) |
	       (flags & KVM_MEM_LOG_DIRTY_PAGES ? KVMI_SLOT_DIRTY_LOG : 0);
}

/**
 * kvmi_change_slot_old - a memory slot is about to change: how it is
 * @ev: filled
 * @old: the slot, or NULL for a new one
 */
void kvmi_change_slot_old(struct kvmi_ev_vm *ev, const struct kvm_memory_slot *old)
{
	memset(ev, 0, sizeof(*ev));
	if (!old)
		return;
	ev->slot = old->id;
	ev->gfn = old->base_gfn;
	ev->nr_pages = old->npages;
	ev->old_gfn = old->base_gfn;
	ev->old_flags = kvmi_change_flags(old->flags);
}

/* The slot that holds most of the guest's memory; kvm->srcu or slots_lock held. */
static bool kvmi_change_is_main(struct kvm *kvm, u64 npages)
{
	struct kvm_memory_slot *slot;
	int bkt;

	kvm_for_each_memslot(slot, bkt, kvm_memslots(kvm))
		if (slot->id < KVM_USER_MEM_SLOTS && slot->npages > npages)
			return false;
	return true;
}

/**
 * kvmi_change_slot - a memory slot has changed
 * @kvm: the VM; kvm->slots_lock held
 * @ev: from kvmi_change_slot_old()
 * @new: the slot, or NULL if there is none any more
 * @change: how
 */
void kvmi_change_slot(struct kvm *kvm, struct kvmi_ev_vm *ev,
		      const struct kvm_memory_slot *new,
		      enum kvm_mr_change change)
{
	static const u32 changes[] = {
		[KVM_MR_CREATE] = KVMI_VM_SLOT_CREATED,
		[KVM_MR_DELETE] = KVMI_VM_SLOT_DELETED,
		[KVM_MR_MOVE] = KVMI_VM_SLOT_MOVED,
		[KVM_MR_FLAGS_ONLY] = KVMI_VM_SLOT_FLAGS,
	};
	struct kvmi_vm *vm;

	ev->change = changes[change];
	if (new && change != KVM_MR_DELETE) {
		ev->slot = new->id;
		ev->gfn = new->base_gfn;
		ev->nr_pages = new->npages;
		ev->flags = kvmi_change_flags(new->flags);
	}
	/* KVM's own: the APIC access page and the like. */
	if (ev->slot >= KVM_USER_MEM_SLOTS)
		return;
	vm = kvmi_vm_find(kvm);
	if (!vm)
		return;
	kvmi_change_tell(vm, ev);
	if (change == KVM_MR_FLAGS_ONLY &&
	    (ev->old_flags & ~ev->flags & KVMI_SLOT_DIRTY_LOG) &&
	    kvmi_change_is_main(kvm, ev->nr_pages)) {
		ev->change = KVMI_VM_STAYING;
		kvmi_change_tell(vm, ev);
	}
	kvmi_vm_put(vm);
}

/* ---- leaving -------------------------------------------------------------------------- */

static bool kvmi_change_answered(struct kvmi_vm *vm, u64 id)
{
	/* Pairs with the release of the tool: the rest was written before. */
	return smp_load_acquire(&vm->sink.own->ring.tool->reply.id) == id ||
	       READ_ONCE(vm->detached) || READ_ONCE(vm->change.over) == id;
}

/* All that can be said to it is that it may go on. */
static int kvmi_change_check(const struct kvmi_reply *from, u64 id)
{
	if (READ_ONCE(from->id) != id)
		return -ETIMEDOUT;
	return READ_ONCE(from->action) != KVMI_ACTION_CONTINUE ||
	       READ_ONCE(from->flags) ? -EINVAL : 0;
}

/* One at a time: vm->change.lock held. */
static void kvmi_change_ask(struct kvmi_vm *vm, const struct kvmi_exit *ex)
{
	struct kvmi_ring_header *header = vm->sink.own->ring.header;
	long timeout = READ_ONCE(vm->timeout);
	u64 id = (++vm->change.next_id << 16) | 0xffff;
	int error;

	if (!timeout || timeout > KVMI_LEAVING_TIMEOUT)
		timeout = KVMI_LEAVING_TIMEOUT;
	WRITE_ONCE(vm->change.open, id);
	/* The tool finds this before the record. */
	WRITE_ONCE(header->state, KVMI_RING_SLEEPING);
	if (kvmi_change_post(&vm->sink, ex, id))
		wait_event_killable_timeout(vm->change.wq,
					    kvmi_change_answered(vm, id),
					    timeout);
	error = kvmi_change_check(&vm->sink.own->ring.tool->reply, id);
	if (error == -EINVAL)
		WRITE_ONCE(header->bad_replies, header->bad_replies + 1);
	if (READ_ONCE(vm->change.over) == id)
		error = -ECANCELED;
	WRITE_ONCE(vm->change.open, 0);
	WRITE_ONCE(header->state, KVMI_RING_IDLE);
	WRITE_ONCE(header->last_error, error);
	WRITE_ONCE(header->last_event, id);
	WRITE_ONCE(header->open_event, 0);
}

/* Is this the slot that holds most of the memory, and not logged yet? */
static bool kvmi_change_leaves(struct kvm *kvm, u32 id, struct kvmi_ev_vm *ev)
{
	struct kvm_memory_slot *slot;
	bool leaves = false;
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	slot = id < KVM_USER_MEM_SLOTS ? id_to_memslot(kvm_memslots(kvm), id) :
					 NULL;
	if (slot && !(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) &&
	    kvmi_change_is_main(kvm, slot->npages)) {
		kvmi_change_slot_old(ev, slot);
		ev->flags = ev->old_flags | KVMI_SLOT_DIRTY_LOG;
		ev->change = KVMI_VM_LEAVING;
		leaves = true;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	return leaves;
}

/**
 * kvmi_change_leaving - a VMM is about to set a memory slot
 * @kvm: the VM
 * @uarg: struct kvm_userspace_memory_region, or what begins as that does
 *
 * Called on the VMM's thread, on its way into the ioctl, nothing held. If writes to
 * the guest's memory are to be logged from now on, the VM is about to be migrated
 * or saved: whoever has changed that memory can take it back before it is read. The
 * thread waits for that, but for a while, and can be killed. Anything else that
 * happens to it meanwhile it finds afterwards: the ioctl must not fail.
 */
void kvmi_change_leaving(struct kvm *kvm, const void __user *uarg)
{
	struct kvm_userspace_memory_region mem;
	struct kvmi_ev_vm ev;
	struct kvmi_exit ex = {};
	struct kvmi_vm *vm;
	u32 regs;

	/* KVM reads it again, and has the last word. */
	if (!kvmi_vm_attached(kvm) || copy_from_user(&mem, uarg, sizeof(mem)) ||
	    !(mem.flags & KVM_MEM_LOG_DIRTY_PAGES) || !mem.memory_size ||
	    !kvmi_change_leaves(kvm, mem.slot, &ev))
		return;
	vm = kvmi_vm_find(kvm);
	if (!vm)
		return;
	kvmi_change_tell(vm, &ev);
	kvmi_change_exit(&ex, &ev);
	if (kvmi_watch_match(vm->sink.own, &ex, &regs) == KVMI_MODE_SYNC &&
	    !mutex_lock_killable(&vm->change.lock)) {
		if (!READ_ONCE(vm->detached))
			kvmi_change_ask(vm, &ex);
		mutex_unlock(&vm->change.lock);
	}
	kvmi_vm_put(vm);
}

/**
 * kvmi_change_kick - an answer may have been written, or is not awaited any more
 * @vm: the VM
 * @over: it is not
 */
void kvmi_change_kick(struct kvmi_vm *vm, bool over)
{
	if (over)
		WRITE_ONCE(vm->change.over, READ_ONCE(vm->change.open));
	wake_up_all(&vm->change.wq);
}
