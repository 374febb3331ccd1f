// SPDX-License-Identifier: GPL-2.0-only
/*
 * Discovery and statistics over generic netlink: the list of VMs, and what
 * happens to them. The protocol is in uapi/linux/kvmi_netlink.h.
 */
#include <net/genetlink.h>

#include <linux/kvmi_netlink.h>

#include "hook.h"
#include "vmlist.h"

static struct genl_family kvmi_nl_family;

static int kvmi_nl_put_session(struct sk_buff *skb, struct kvmi_vm *vm)
{
	u64 events = 0, dropped = 0, bad = 0;
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&vm->vcpus, i, kv) {
		const struct kvmi_ring_header *header = kv->watch.ring.header;

		events += READ_ONCE(header->posted);
		dropped += READ_ONCE(header->dropped_total);
		bad += READ_ONCE(header->bad_replies);
	}
	if (nla_put_u64_64bit(skb, KVMI_NL_ATTR_ATTACH_NS, vm->attach_ns,
			      KVMI_NL_ATTR_PAD) ||
	    nla_put_u64_64bit(skb, KVMI_NL_ATTR_EVENTS, events,
			      KVMI_NL_ATTR_PAD) ||
	    nla_put_u64_64bit(skb, KVMI_NL_ATTR_DROPPED, dropped,
			      KVMI_NL_ATTR_PAD) ||
	    nla_put_u64_64bit(skb, KVMI_NL_ATTR_BAD_REPLIES, bad,
			      KVMI_NL_ATTR_PAD))
		return -EMSGSIZE;
	return 0;
}

/* Between kvmi_vmlist_next() and kvmi_vmlist_done(). */
static int kvmi_nl_put_vm(struct sk_buff *skb, struct kvmi_host_vm *host,
			  u32 portid, u32 seq, int flags)
{
	struct kvmi_info info = {};
	char comm[TASK_COMM_LEN];
	struct kvmi_vm *vm;
	void *hdr;
	int ret;

	hdr = genlmsg_put(skb, portid, seq, &kvmi_nl_family, flags,
			  KVMI_NL_CMD_GET_VM);
	if (!hdr)
		return -EMSGSIZE;

	kvmi_memory_info(host->kvm, &info);
	get_task_comm(comm, host->task);
	vm = kvmi_vm_find(host->kvm);
	ret = -EMSGSIZE;
	if (nla_put_u64_64bit(skb, KVMI_NL_ATTR_ID, host->id,
			      KVMI_NL_ATTR_PAD) ||
	    nla_put_u32(skb, KVMI_NL_ATTR_PID, pid_vnr(host->pid)) ||
	    nla_put_u32(skb, KVMI_NL_ATTR_UID,
			from_kuid_munged(current_user_ns(),
					 task_uid(host->task))) ||
	    nla_put_string(skb, KVMI_NL_ATTR_COMM, comm) ||
	    nla_put_u32(skb, KVMI_NL_ATTR_NR_VCPUS,
			atomic_read(&host->kvm->online_vcpus)) ||
	    nla_put_u64_64bit(skb, KVMI_NL_ATTR_MEMORY, info.out_memory,
			      KVMI_NL_ATTR_PAD) ||
	    nla_put_u8(skb, KVMI_NL_ATTR_ATTACHED, !!vm) ||
	    (host->created_ns &&
	     nla_put_u64_64bit(skb, KVMI_NL_ATTR_CREATED_NS, host->created_ns,
			       KVMI_NL_ATTR_PAD)) ||
	    (vm && kvmi_nl_put_session(skb, vm))) {
		genlmsg_cancel(skb, hdr);
		goto out;
	}
	genlmsg_end(skb, hdr);
	ret = 0;
out:
	if (vm)
		kvmi_vm_put(vm);
	return ret;
}

static int kvmi_nl_get_vm(struct sk_buff *skb, struct genl_info *info)
{
	struct kvmi_host_vm *host;
	struct sk_buff *msg;
	int ret;
	u64 id;

	if (!info->attrs[KVMI_NL_ATTR_ID])
		return -EINVAL;
	id = nla_get_u64(info->attrs[KVMI_NL_ATTR_ID]);

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;

	ret = -ENOENT;
	host = id ? kvmi_vmlist_next(id - 1) : NULL;
	if (host) {
		if (host->id == id)
			ret = kvmi_nl_put_vm(msg, host, info->snd_portid,
					     info->snd_seq, 0);
		kvmi_vmlist_done(host);
	}
	if (ret) {
		nlmsg_free(msg);
		return ret;
	}
	return genlmsg_reply(msg, info);
}

static int kvmi_nl_dump_vms(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kvmi_host_vm *host;
	u64 *last = (u64 *)cb->args;
	int ret = 0;

	while (!ret) {
		host = kvmi_vmlist_next(*last);
		if (!host)
			break;
		ret = kvmi_nl_put_vm(skb, host, NETLINK_CB(cb->skb).portid,
				     cb->nlh->nlmsg_seq, NLM_F_MULTI);
		if (!ret)
			*last = host->id;
		kvmi_vmlist_done(host);
	}
	return skb->len;
}

static const struct nla_policy kvmi_nl_policy[KVMI_NL_ATTR_MAX + 1] = {
	[KVMI_NL_ATTR_ID] = { .type = NLA_U64 },
};

static const struct genl_small_ops kvmi_nl_ops[] = {
	{
		.cmd = KVMI_NL_CMD_GET_VM,
		.doit = kvmi_nl_get_vm,
		.dumpit = kvmi_nl_dump_vms,
	},
};

static const struct genl_multicast_group kvmi_nl_groups[] = {
	{ .name = KVMI_NL_GROUP },
};

static struct genl_family kvmi_nl_family __ro_after_init = {
	.name = KVMI_NL_NAME,
	.version = KVMI_NL_VERSION,
	.maxattr = KVMI_NL_ATTR_MAX,
	.policy = kvmi_nl_policy,
	.small_ops = kvmi_nl_ops,
	.n_small_ops = ARRAY_SIZE(kvmi_nl_ops),
	.resv_start_op = KVMI_NL_CMD_GET_VM + 1,
	.mcgrps = kvmi_nl_groups,
	.n_mcgrps = ARRAY_SIZE(kvmi_nl_groups),
	.parallel_ops = true,
	.module = THIS_MODULE,
};

/**
 * kvmi_netlink_notify - tell the group what has become of a VM
 * @cmd: enum kvmi_nl_cmd
 * @id: of the VM; 0: it is not listed, and nothing is told
 *
 * May sleep. Without memory, or without anybody who listens, nothing is told.
 */
void kvmi_netlink_notify(u8 cmd, u64 id)
{
	struct sk_buff *msg;
	void *hdr;

	if (!id || !genl_has_listeners(&kvmi_nl_family, &init_net, 0))
		return;
	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return;
	hdr = genlmsg_put(msg, 0, 0, &kvmi_nl_family, 0, cmd);
	if (!hdr || nla_put_u64_64bit(msg, KVMI_NL_ATTR_ID, id,
				      KVMI_NL_ATTR_PAD)) {
		nlmsg_free(msg);
		return;
	}
	genlmsg_end(msg, hdr);
	genlmsg_multicast(&kvmi_nl_family, msg, 0, 0, GFP_KERNEL);
}

/**
 * kvmi_netlink_init - make the family known
 *
 * Return: 0 or -errno.
 */
int __init kvmi_netlink_init(void)
{
	return genl_register_family(&kvmi_nl_family);
}

/**
 * kvmi_netlink_exit - the family is no more, and nobody is in its operations
 */
void kvmi_netlink_exit(void)
{
	genl_unregister_family(&kvmi_nl_family);
}
