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

#define RW	(KVMI_ACCESS_R | KVMI_ACCESS_W)

static const struct kvmi_control_event all_kinds[] = {
	{ .kind = KVMI_EVENT_BREAKPOINT },
	{ .kind = KVMI_EVENT_X86_CPUID },
	{ .kind = KVMI_EVENT_X86_CR, .index = 0, .access = KVMI_ACCESS_W },
	{ .kind = KVMI_EVENT_X86_CR, .index = 3, .access = RW },
	{ .kind = KVMI_EVENT_X86_CR, .index = 4, .access = KVMI_ACCESS_W },
	{ .kind = KVMI_EVENT_X86_CR, .index = 8, .access = RW },
	{ .kind = KVMI_EVENT_X86_MSR, .index = 0xc0000081, .access = RW },
	{ .kind = KVMI_EVENT_X86_DR, .index_last = 7, .access = RW },
	{ .kind = KVMI_EVENT_X86_XSETBV },
	{ .kind = KVMI_EVENT_X86_EXCEPTION, .index_last = 31 },
	{ .kind = KVMI_EVENT_X86_DTABLE, .index_last = KVMI_X86_TABLE_TR, .access = RW },
	{ .kind = KVMI_EVENT_X86_IO, .index = 0xa1, .access = RW },
	{ .kind = KVMI_EVENT_X86_INSN, .index_last = KVMI_X86_NR_INSNS - 1 },
	{ .kind = KVMI_EVENT_HYPERCALL, .index_last = 0xffffffff },
	{ .kind = KVMI_EVENT_X86_EXIT, .index_last = 0xffffffff },
	{ .kind = KVMI_EVENT_X86_DELIVERY, .index = 1, .index_last = 4 },
	{ .kind = KVMI_EVENT_VCPU, .index = 1, .index_last = KVMI_VCPU_SMM_LEFT },
};

void tool_watch_all(struct kvmi_vm *kv, unsigned int mode)
{
	struct kvmi_control_event ctl;
	size_t i;

	for (i = 0; i < sizeof(all_kinds) / sizeof(all_kinds[0]); i++) {
		ctl = all_kinds[i];
		ctl.vcpu = KVMI_VCPU_ALL;
		ctl.mode = mode;
		if (mode == KVMI_MODE_SYNC && (ctl.kind == KVMI_EVENT_X86_DELIVERY ||
					       ctl.kind == KVMI_EVENT_VCPU))
			ctl.mode = KVMI_MODE_ASYNC;
		ctl.regs = mode == KVMI_MODE_OFF ? 0 : KVMI_REGS_GENERAL;
		KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	}
}

uint64_t tool_check_views(struct kvmi_vm *kv)
{
	struct kvmi_view_check check;

	KTAP_LIB_OK(kvmi_view_check(kv, KVMI_VIEW_ALL, &check));
	if (check.out_wrong)
		KTAP_FAIL("%llu of %llu leaves are wrong, the first at gfn %#llx",
			  (unsigned long long)check.out_wrong,
			  (unsigned long long)check.out_leaves,
			  (unsigned long long)check.out_gfn);
	return check.out_leaves;
}

void tool_msleep(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}
