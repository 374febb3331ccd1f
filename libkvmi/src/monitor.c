// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which VMs there are and what becomes of them, as kvmi.ko tells it over generic
 * netlink: linux/kvmi_netlink.h.
 */
#include <linux/kvmi_netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdlib.h>

#include "internal.h"

/* What happens while the reader does something else must find room. */
#define EVENT_BUFFER	(256 * 1024)

/**
 * struct kvmi_monitor - a listener
 * @ask: socket for requests
 * @events: socket that is in the group
 * @family: number of the family
 * @queue: what was received and not handed out yet
 * @nr: how many
 * @room: of @queue
 * @first: the next one of @queue
 * @lost: the kernel has dropped some
 */
struct kvmi_monitor {
	struct nl_sock *ask;
	struct nl_sock *events;
	int family;
	struct kvmi_monitor_event *queue;
	size_t nr;
	size_t room;
	size_t first;
	bool lost;
};

static int nl_errno(int nlerr)
{
	switch (-nlerr) {
	case NLE_OBJ_NOTFOUND:
		return -ENOENT;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
		return -EPERM;
	case NLE_INTR:
		return -EINTR;
	case NLE_AGAIN:
		return -EAGAIN;
	default:
		return -EPROTO;
	}
}

static int nl_failed(int nlerr, const char *what)
{
	return kvmi_error_set(nl_errno(nlerr), "%s: %s", what,
			      nl_geterror(nlerr));
}

static uint64_t get_u64(struct nlattr **attrs, int attr)
{
	return attrs[attr] ? nla_get_u64(attrs[attr]) : 0;
}

static uint32_t get_u32(struct nlattr **attrs, int attr)
{
	return attrs[attr] ? nla_get_u32(attrs[attr]) : 0;
}

static int parse(struct nl_msg *msg, struct nlattr **attrs)
{
	static struct nla_policy policy[KVMI_NL_ATTR_MAX + 1] = {
		[KVMI_NL_ATTR_ID] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_PID] = { .type = NLA_U32 },
		[KVMI_NL_ATTR_UID] = { .type = NLA_U32 },
		[KVMI_NL_ATTR_COMM] = { .type = NLA_STRING },
		[KVMI_NL_ATTR_NR_VCPUS] = { .type = NLA_U32 },
		[KVMI_NL_ATTR_MEMORY] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_CREATED_NS] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_ATTACHED] = { .type = NLA_U8 },
		[KVMI_NL_ATTR_ATTACH_NS] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_EVENTS] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_DROPPED] = { .type = NLA_U64 },
		[KVMI_NL_ATTR_BAD_REPLIES] = { .type = NLA_U64 },
	};

	return genlmsg_parse(nlmsg_hdr(msg), 0, attrs, KVMI_NL_ATTR_MAX, policy);
}

static int status_from(struct nl_msg *msg, struct kvmi_vm_status *status)
{
	struct nlattr *attrs[KVMI_NL_ATTR_MAX + 1];

	if (parse(msg, attrs) < 0 || !attrs[KVMI_NL_ATTR_ID])
		return -EPROTO;
	memset(status, 0, sizeof(*status));
	status->id = get_u64(attrs, KVMI_NL_ATTR_ID);
	status->pid = get_u32(attrs, KVMI_NL_ATTR_PID);
	status->uid = get_u32(attrs, KVMI_NL_ATTR_UID);
	status->nr_vcpus = get_u32(attrs, KVMI_NL_ATTR_NR_VCPUS);
	status->memory = get_u64(attrs, KVMI_NL_ATTR_MEMORY);
	status->created_ns = get_u64(attrs, KVMI_NL_ATTR_CREATED_NS);
	status->attached = attrs[KVMI_NL_ATTR_ATTACHED] &&
			   nla_get_u8(attrs[KVMI_NL_ATTR_ATTACHED]);
	status->attach_ns = get_u64(attrs, KVMI_NL_ATTR_ATTACH_NS);
	status->events = get_u64(attrs, KVMI_NL_ATTR_EVENTS);
	status->dropped = get_u64(attrs, KVMI_NL_ATTR_DROPPED);
	status->bad_replies = get_u64(attrs, KVMI_NL_ATTR_BAD_REPLIES);
	if (attrs[KVMI_NL_ATTR_COMM])
		nla_strlcpy(status->comm, attrs[KVMI_NL_ATTR_COMM],
			    sizeof(status->comm));
	return 0;
}

/* What a request's answers are put into. */
struct answer {
	struct kvmi_vm_status *list;
	size_t nr;
	size_t room;
	int err;
	bool done;
};

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	if (answer->nr == answer->room) {
		size_t room = answer->room ? 2 * answer->room : 8;
		struct kvmi_vm_status *list;

		list = reallocarray(answer->list, room, sizeof(*list));
		if (!list) {
			answer->err = -ENOMEM;
			return NL_SKIP;
		}
		answer->list = list;
		answer->room = room;
	}
	if (status_from(msg, &answer->list[answer->nr]))
		answer->err = -EPROTO;
	else
		answer->nr++;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *nla, struct nlmsgerr *err, void *arg)
{
	struct answer *answer = arg;

	(void)nla;
	answer->err = err->error;
	answer->done = true;
	return NL_STOP;
}

static int on_done(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	(void)msg;
	answer->done = true;
	return NL_STOP;
}

/* One VM, or all with id 0. */
static int ask(struct kvmi_monitor *monitor, uint64_t id, struct answer *answer)
{
	struct nl_msg *msg;
	struct nl_cb *cb;
	int ret;

	cb = nl_cb_alloc(NL_CB_DEFAULT);
	msg = nlmsg_alloc();
	ret = -NLE_NOMEM;
	if (!cb || !msg)
		goto out;
	if (!genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, monitor->family, 0,
			 id ? NLM_F_ACK : NLM_F_DUMP, KVMI_NL_CMD_GET_VM,
			 KVMI_NL_VERSION) ||
	    (id && nla_put_u64(msg, KVMI_NL_ATTR_ID, id)))
		goto out;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, answer);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_done, answer);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_done, answer);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, answer);

	ret = nl_send_auto(monitor->ask, msg);
	while (ret >= 0 && !answer->done)
		ret = nl_recvmsgs(monitor->ask, cb);
out:
	if (msg)
		nlmsg_free(msg);
	if (cb)
		nl_cb_put(cb);
	/* Its own errors are told by on_error(), and are errnos. */
	if (answer->err)
		return answer->err;
	return ret < 0 ? nl_errno(ret) : 0;
}

static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[KVMI_NL_ATTR_MAX + 1];
	struct kvmi_monitor *monitor = arg;
	unsigned int kind = 0;

	switch (genlmsg_hdr(nlmsg_hdr(msg))->cmd) {
	case KVMI_NL_CMD_CREATED:
		kind = KVMI_MONITOR_CREATED;
		break;
	case KVMI_NL_CMD_ATTACHED:
		kind = KVMI_MONITOR_ATTACHED;
		break;
	case KVMI_NL_CMD_DETACHED:
		kind = KVMI_MONITOR_DETACHED;
		break;
	case KVMI_NL_CMD_GONE:
		kind = KVMI_MONITOR_GONE;
		break;
	}
	if (!kind || parse(msg, attrs) < 0 || !attrs[KVMI_NL_ATTR_ID])
		return NL_SKIP;

	if (monitor->nr == monitor->room) {
		size_t room = monitor->room ? 2 * monitor->room : 16;
		struct kvmi_monitor_event *queue;

		queue = reallocarray(monitor->queue, room, sizeof(*queue));
		if (!queue) {
			monitor->lost = true;
			return NL_SKIP;
		}
		monitor->queue = queue;
		monitor->room = room;
	}
	monitor->queue[monitor->nr].kind = kind;
	monitor->queue[monitor->nr].id = get_u64(attrs, KVMI_NL_ATTR_ID);
	monitor->nr++;
	return NL_OK;
}

static int monitor_connect(struct kvmi_monitor *monitor)
{
	int group, ret;

	ret = genl_connect(monitor->ask);
	if (ret)
		return nl_failed(ret, "generic netlink");
	monitor->family = genl_ctrl_resolve(monitor->ask, KVMI_NL_NAME);
	if (monitor->family < 0)
		return kvmi_error_set(-ENOENT,
				      "kvmi.ko does not answer: it is not loaded, or this is another network namespace than the host's");
	group = genl_ctrl_resolve_grp(monitor->ask, KVMI_NL_NAME,
				      KVMI_NL_GROUP);
	if (group < 0)
		return nl_failed(group, "generic netlink group " KVMI_NL_GROUP);

	nl_socket_disable_seq_check(monitor->events);
	nl_socket_modify_cb(monitor->events, NL_CB_VALID, NL_CB_CUSTOM,
			    on_event, monitor);
	ret = genl_connect(monitor->events);
	if (!ret)
		ret = nl_socket_set_buffer_size(monitor->events, EVENT_BUFFER,
						0);
	if (!ret)
		ret = nl_socket_add_membership(monitor->events, group);
	if (!ret)
		ret = nl_socket_set_nonblocking(monitor->events);
	return ret ? nl_failed(ret, "generic netlink") : 0;
}

/**
 * kvmi_monitor_open() - Listen to what becomes of the VMs of this host
 * @monitor: where to store the listener
 *
 * What happens from now on is told by kvmi_monitor_next(). Any user may listen,
 * and is told of the VMs that he could attach to.
 *
 * Return: 0 or a negative errno; -ENOENT: kvmi.ko is not loaded, or the caller is
 * not in the host's network namespace.
 */
int kvmi_monitor_open(struct kvmi_monitor **monitor)
{
	struct kvmi_monitor *m;
	int ret;

	m = calloc(1, sizeof(*m));
	if (!m)
		return kvmi_error_set(-ENOMEM, "out of memory");
	m->ask = nl_socket_alloc();
	m->events = nl_socket_alloc();
	if (!m->ask || !m->events)
		ret = kvmi_error_set(-ENOMEM, "out of memory");
	else
		ret = monitor_connect(m);
	if (ret) {
		kvmi_monitor_close(m);
		return ret;
	}
	*monitor = m;
	return 0;
}

/**
 * kvmi_monitor_close() - Stop listening
 * @monitor: the listener, or NULL
 */
void kvmi_monitor_close(struct kvmi_monitor *monitor)
{
	if (!monitor)
		return;
	if (monitor->ask)
		nl_socket_free(monitor->ask);
	if (monitor->events)
		nl_socket_free(monitor->events);
	free(monitor->queue);
	free(monitor);
}

/**
 * kvmi_monitor_fd() - The descriptor to wait on
 * @monitor: the listener
 *
 * Return: a descriptor that is readable when kvmi_monitor_next() may have
 * something; the caller must not read from it. Call kvmi_monitor_next() until it
 * returns 0 before waiting.
 */
int kvmi_monitor_fd(const struct kvmi_monitor *monitor)
{
	return nl_socket_get_fd(monitor->events);
}

/**
 * kvmi_monitor_next() - The next thing that has happened
 * @monitor: the listener
 * @timeout_ms: how long to wait for it; -1: for ever
 * @event: where to store it
 *
 * KVMI_MONITOR_LOST says that there was more than could be kept: ask for the list
 * of all. That a VM was created or is gone is told to everybody, by a number;
 * kvmi_monitor_get() tells more of it, to who may know.
 *
 * Return: 1; 0 when the time is over; or a negative errno.
 */
int kvmi_monitor_next(struct kvmi_monitor *monitor, int timeout_ms,
		      struct kvmi_monitor_event *event)
{
	struct pollfd pfd = { .fd = kvmi_monitor_fd(monitor), .events = POLLIN };
	int64_t end = kvmi_now_ns() + (int64_t)timeout_ms * 1000000;
	int ret;

	for (;;) {
		if (monitor->first < monitor->nr) {
			*event = monitor->queue[monitor->first++];
			return 1;
		}
		monitor->first = 0;
		monitor->nr = 0;
		if (monitor->lost) {
			monitor->lost = false;
			memset(event, 0, sizeof(*event));
			event->kind = KVMI_MONITOR_LOST;
			return 1;
		}

		ret = nl_recvmsgs_default(monitor->events);
		/* ENOBUFS: the kernel had no room for one. */
		if (ret == -NLE_NOMEM)
			monitor->lost = true;
		else if (ret < 0 && ret != -NLE_AGAIN && ret != -NLE_INTR)
			return nl_failed(ret, "generic netlink");
		if (monitor->nr || monitor->lost)
			continue;

		if (timeout_ms >= 0) {
			int64_t left = (end - kvmi_now_ns() + 999999) / 1000000;

			if (left <= 0)
				return 0;
			timeout_ms = left;
		}
		ret = poll(&pfd, 1, timeout_ms);
		if (ret < 0)
			return kvmi_error_set(-errno, "poll: %s",
					      strerror(errno));
		if (!ret)
			return 0;
	}
}

/**
 * kvmi_monitor_get() - What is known of one VM
 * @monitor: the listener
 * @id: the VM's number
 * @status: where to store it
 *
 * Return: 0 or a negative errno; -ENOENT: there is none of that number, or the
 * caller may not know of it.
 */
int kvmi_monitor_get(struct kvmi_monitor *monitor, uint64_t id,
		     struct kvmi_vm_status *status)
{
	struct answer answer = {};
	int ret;

	ret = id ? ask(monitor, id, &answer) : -ENOENT;
	if (!ret && !answer.nr)
		ret = -EPROTO;
	if (!ret)
		*status = answer.list[0];
	free(answer.list);
	if (ret == -ENOENT)
		return kvmi_error_set(ret, "there is no VM number %llu for us",
				      (unsigned long long)id);
	return ret ? kvmi_error_set(ret, "generic netlink: %s", strerror(-ret))
		   : 0;
}

/**
 * kvmi_monitor_list() - What is known of all VMs
 * @monitor: the listener
 * @list: where to store the list, to be freed with free(3); NULL if there is none
 * @nr: where to store how many there are
 *
 * Return: 0 or a negative errno.
 */
int kvmi_monitor_list(struct kvmi_monitor *monitor, struct kvmi_vm_status **list,
		      size_t *nr)
{
	struct answer answer = {};
	int ret;

	ret = ask(monitor, 0, &answer);
	if (ret) {
		free(answer.list);
		return kvmi_error_set(ret, "generic netlink: %s",
				      strerror(-ret));
	}
	*list = answer.list;
	*nr = answer.nr;
	return 0;
}
