/* SPDX-License-Identifier: GPL-2.0-only */
/* The tool's side of a test: libkvmi, with assertions. */
#ifndef SELFTESTS_TOOL_H
#define SELFTESTS_TOOL_H

#include <kvmi.h>

#include "ktap.h"
#include "vmm.h"

/* How long anything may take that is expected, ms. */
#define TOOL_PATIENCE	20000

/* Attach to the test's own VM. */
struct kvmi_vm *tool_attach(struct vmm *vm);
struct kvmi_vm *tool_attach_ring(struct vmm *vm, uint32_t ring_size);
/* The next event, which must be of this kind. */
const struct kvmi_event *tool_wait(struct kvmi_vm *kv, unsigned int kind);
/* No event comes within some milliseconds. */
void tool_wait_none(struct kvmi_vm *kv, int ms);
/* Answer with an action alone. */
void tool_reply(struct kvmi_vm *kv, const struct kvmi_event *ev,
		enum kvmi_action action);
void tool_answer(struct kvmi_vm *kv, const struct kvmi_event *ev,
		 const struct kvmi_reply *reply);
/* Watch a kind on all vCPUs. */
void tool_watch(struct kvmi_vm *kv, unsigned int kind, unsigned int mode,
		uint32_t regs);
/*
 * Every kind there is that a small guest does not give all the time, with the general
 * registers; those that cannot be answered asynchronously.
 */
void tool_watch_all(struct kvmi_vm *kv, unsigned int mode);
/* No view maps what KVM does not: how many leaves were looked at. */
uint64_t tool_check_views(struct kvmi_vm *kv);
/* Sleep. */
void tool_msleep(int ms);

#endif
