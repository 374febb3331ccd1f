// SPDX-License-Identifier: GPL-2.0-only
/*
 * MMIO: what the guest reads from and writes to devices, in the kernel or in the VMM.
 *
 * KVM's emulator knows the data, and tells a tracepoint when it has it: of a write
 * before the device has it, of a read when the device, or the VMM at the next KVM_RUN,
 * has answered. A probe hangs there while somebody wants to know, and only then.
 */
#include <linux/mutex.h>
#include <linux/tracepoint.h>

#include "hook.h"

/* include/trace/events/kvm.h */
#define TRACE_MMIO_READ		1
#define TRACE_MMIO_WRITE	2

static struct tracepoint *kvmi_mmio_tracepoint;
static DEFINE_MUTEX(kvmi_mmio_lock);
static int kvmi_mmio_users;

/* On the vCPU's thread within KVM_RUN, preemption off. */
static void kvmi_mmio_probe(void *data, int type, int len, u64 gpa, void *val)
{
	struct kvm_vcpu *vcpu = kvm_call(kvm_get_running_vcpu)();
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_MMIO,
		.cont = KVMI_CONT_NOTHING,
		.indexed = true,
		.write = type == TRACE_MMIO_WRITE,
		.index = gpa >> PAGE_SHIFT,
		.size = sizeof(ex.payload.mmio),
	};
	struct kvmi_vcpu *kv = NULL;

	if (type != TRACE_MMIO_READ && type != TRACE_MMIO_WRITE)
		return;
	if (vcpu && kvmi_vcpu_maybe(vcpu))
		kv = kvmi_vcpu_find(vcpu);
	if (!kv || !(READ_ONCE(kv->want) & KVMI_WANT_MMIO))
		return;
	ex.payload.mmio.gpa = gpa;
	ex.payload.mmio.bytes = len;
	ex.payload.mmio.flags = ex.write ? KVMI_MMIO_WRITE : 0;
	/* A tracepoint may be called without. */
	if (val)
		memcpy(&ex.payload.mmio.value, val, min_t(u32, len, sizeof(u64)));
	kvmi_event_tell(kv, &ex);
}

/**
 * kvmi_mmio_there - can MMIO be told?
 *
 * Return: true if so.
 */
bool kvmi_mmio_there(void)
{
	return kvmi_mmio_tracepoint;
}

/**
 * kvmi_mmio_init - find KVM's tracepoint
 */
void kvmi_mmio_init(void)
{
	kvmi_mmio_tracepoint = (void *)kvmi_hook_lookup("kvm:__tracepoint_kvm_mmio");
}

/**
 * kvmi_mmio_get - one more vCPU whose MMIO is to be told
 *
 * Return: false if it cannot be, for want of memory.
 */
bool kvmi_mmio_get(void)
{
	int ret = 0;

	mutex_lock(&kvmi_mmio_lock);
	if (!kvmi_mmio_users)
		ret = tracepoint_probe_register(kvmi_mmio_tracepoint,
						(void *)kvmi_mmio_probe, NULL);
	if (!ret)
		kvmi_mmio_users++;
	mutex_unlock(&kvmi_mmio_lock);
	return !ret;
}

/**
 * kvmi_mmio_put - the end of kvmi_mmio_get()
 */
void kvmi_mmio_put(void)
{
	mutex_lock(&kvmi_mmio_lock);
	if (!--kvmi_mmio_users) {
		tracepoint_probe_unregister(kvmi_mmio_tracepoint,
					    (void *)kvmi_mmio_probe, NULL);
		/* The module may go before who is in the probe. */
		tracepoint_synchronize_unregister();
	}
	mutex_unlock(&kvmi_mmio_lock);
}
