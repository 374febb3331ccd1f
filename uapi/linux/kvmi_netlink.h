/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * kvmi: discovery of VMs over generic netlink.
 *
 * Family KVMI_NL_NAME, in the initial network namespace only. A caller is told of
 * the VMs that it could attach to (ptrace(2)'s rules, as pidfd_getfd(2) applies
 * them) and whose VMM it sees in its pid namespace, and of no others.
 */
#ifndef _UAPI_LINUX_KVMI_NETLINK_H
#define _UAPI_LINUX_KVMI_NETLINK_H

/** KVMI_NL_NAME - name of the family */
#define KVMI_NL_NAME		"kvmi"
/** KVMI_NL_VERSION - version of the family */
#define KVMI_NL_VERSION		1
/** KVMI_NL_GROUP - its multicast group: what happens to VMs */
#define KVMI_NL_GROUP		"vms"

/**
 * enum kvmi_nl_cmd - messages
 * @KVMI_NL_CMD_UNSPEC: none
 * @KVMI_NL_CMD_GET_VM: request: one VM (KVMI_NL_ATTR_ID), or with NLM_F_DUMP all,
 *	in order of their ids; the answer has the same number and every attribute
 *	that is known. ENOENT: there is none of that id, or it is none of the
 *	caller's business.
 * @KVMI_NL_CMD_CREATED: to the group: KVM has made a VM
 * @KVMI_NL_CMD_ATTACHED: to the group: a session controls it
 * @KVMI_NL_CMD_DETACHED: to the group: no session does any more
 * @KVMI_NL_CMD_GONE: to the group: it has ended
 *
 * Messages to the group have KVMI_NL_ATTR_ID and nothing else, as everybody gets
 * them: ask for the VM. A receiver that is too slow gets ENOBUFS, and asks for all.
 */
enum kvmi_nl_cmd {
	KVMI_NL_CMD_UNSPEC,
	KVMI_NL_CMD_GET_VM,
	KVMI_NL_CMD_CREATED,
	KVMI_NL_CMD_ATTACHED,
	KVMI_NL_CMD_DETACHED,
	KVMI_NL_CMD_GONE,
};

/**
 * enum kvmi_nl_attr - attributes
 * @KVMI_NL_ATTR_UNSPEC: none
 * @KVMI_NL_ATTR_PAD: alignment
 * @KVMI_NL_ATTR_ID: u64: a number that no other VM has or had since kvmi.ko was
 *	loaded; that of kvmi_info.out_id
 * @KVMI_NL_ATTR_PID: u32: process id of the VMM in the caller's pid namespace
 * @KVMI_NL_ATTR_UID: u32: its user, in the caller's user namespace
 * @KVMI_NL_ATTR_COMM: string: name of the process
 * @KVMI_NL_ATTR_NR_VCPUS: u32: vCPUs
 * @KVMI_NL_ATTR_MEMORY: u64: bytes of guest memory in all slots
 * @KVMI_NL_ATTR_CREATED_NS: u64: CLOCK_MONOTONIC at its creation; absent if it is
 *	older than kvmi
 * @KVMI_NL_ATTR_ATTACHED: u8: 1: a session controls it
 * @KVMI_NL_ATTR_ATTACH_NS: u64: CLOCK_MONOTONIC at the attach; this and the
 *	following are there while it is attached
 * @KVMI_NL_ATTR_EVENTS: u64: records posted in this session
 * @KVMI_NL_ATTR_DROPPED: u64: records dropped because a ring was full
 * @KVMI_NL_ATTR_BAD_REPLIES: u64: replies refused
 */
enum kvmi_nl_attr {
	KVMI_NL_ATTR_UNSPEC,
	KVMI_NL_ATTR_PAD,
	KVMI_NL_ATTR_ID,
	KVMI_NL_ATTR_PID,
	KVMI_NL_ATTR_UID,
	KVMI_NL_ATTR_COMM,
	KVMI_NL_ATTR_NR_VCPUS,
	KVMI_NL_ATTR_MEMORY,
	KVMI_NL_ATTR_CREATED_NS,
	KVMI_NL_ATTR_ATTACHED,
	KVMI_NL_ATTR_ATTACH_NS,
	KVMI_NL_ATTR_EVENTS,
	KVMI_NL_ATTR_DROPPED,
	KVMI_NL_ATTR_BAD_REPLIES,
	/* private: */
	__KVMI_NL_ATTR_END,
};

/** KVMI_NL_ATTR_MAX - the last attribute */
#define KVMI_NL_ATTR_MAX	(__KVMI_NL_ATTR_END - 1)

#endif /* _UAPI_LINUX_KVMI_NETLINK_H */
