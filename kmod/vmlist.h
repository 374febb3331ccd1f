/* SPDX-License-Identifier: GPL-2.0-only */
/* The VMs of this host, watched or not, and who is told of them. */
#ifndef KVMI_VMLIST_H
#define KVMI_VMLIST_H

#include <linux/poll.h>

#include "kvmi.h"

/**
 * struct kvmi_host_vm - a VM of this host
 * @node: in the list, by @id
 * @kvm: alive while it is in the list
 * @id: unique while the module is loaded
 * @created_ns: CLOCK_MONOTONIC; 0: before the module was loaded
 * @pid: the VMM's process
 * @task: the same, between kvmi_vmlist_next() and kvmi_vmlist_done()
 */
struct kvmi_host_vm {
	struct list_head node;
	struct kvm *kvm;
	u64 id;
	u64 created_ns;
	struct pid *pid;
	struct task_struct *task;
};

int kvmi_vmlist_init(void);
void kvmi_vmlist_exit(void);
u64 kvmi_vmlist_add(struct kvm *kvm);
u64 kvmi_vmlist_del(struct kvm *kvm);
u64 kvmi_vmlist_id(const struct kvm *kvm);
struct task_struct *kvmi_vmlist_task(struct kvm *kvm);
struct kvmi_host_vm *kvmi_vmlist_next(u64 id);
void kvmi_vmlist_done(struct kvmi_host_vm *host);

/* hold.c */
void kvmi_hold_created(struct kvm *kvm, u64 id);
void kvmi_hold_gone(struct kvm *kvm);
int kvmi_hold_gate(struct kvm_vcpu *vcpu);
void kvmi_hold_attached(struct kvm *kvm);
int kvmi_hold_open(struct file *file, const struct kvmi_hold *args);
void kvmi_hold_close(struct file *file);
void kvmi_hold_exit(void);
int kvmi_hold_next(struct file *file, struct kvmi_hold_next *args);
int kvmi_hold_release(struct file *file, const struct kvmi_hold_release *args);
__poll_t kvmi_hold_poll(struct file *file, poll_table *wait);

int kvmi_netlink_init(void);
void kvmi_netlink_exit(void);
void kvmi_netlink_notify(u8 cmd, u64 id);

#endif /* KVMI_VMLIST_H */
