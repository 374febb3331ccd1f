// SPDX-License-Identifier: GPL-2.0-only
#include <time.h>

#include "tool.h"

struct kvmi_vm *tool_attach_ring(struct vmm *vm, uint32_t ring_size)
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.ring_size = ring_size,
	};
	struct kvmi_vm *kv;

	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &options, &kv));
	return kv;
}

struct kvmi_vm *tool_attach(struct vmm *vm)
{
	return tool_attach_ring(vm, 0);
}

const struct kvmi_event *tool_wait(struct kvmi_vm *kv, unsigned int kind)
{
	const struct kvmi_event *ev;
	int ret;

	ret = kvmi_event_wait(kv, &ev, TOOL_PATIENCE);
	if (ret <= 0)
		KTAP_FAIL("waiting for %s: %s", kvmi_event_name(kind),
			  ret ? strerror(-ret) : "nothing comes");
	if (ev->kind != kind)
		KTAP_FAIL("a %s event, not %s", kvmi_event_name(ev->kind),
			  kvmi_event_name(kind));
	return ev;
}

void tool_wait_none(struct kvmi_vm *kv, int ms)
{
	const struct kvmi_event *ev;

	KTAP_EQ(kvmi_event_wait(kv, &ev, ms), 0);
}

void tool_reply(struct kvmi_vm *kv, const struct kvmi_event *ev,
		enum kvmi_action action)
{
	KTAP_LIB_OK(kvmi_event_reply(kv, ev, action));
}

void tool_answer(struct kvmi_vm *kv, const struct kvmi_event *ev,
		 const struct kvmi_reply *reply)
{
	KTAP_LIB_OK(kvmi_event_answer(kv, ev, reply));
}

void tool_watch(struct kvmi_vm *kv, unsigned int kind, unsigned int mode,
		uint32_t regs)
{
	KTAP_LIB_OK(kvmi_event_watch(kv, KVMI_VCPU_ALL, kind, mode, regs));
}

void tool_msleep(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}
