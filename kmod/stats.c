// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events counted, limited, and waited for; KVMI_GET_STATS.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "hook.h"

/**
 * kvmi_limit_check - may an event be told, or does it come too soon?
 * @kv: the vCPU; called on its thread
 * @kind: of the event
 *
 * A bucket that holds @burst events and is filled at the rate that was asked for:
 * kept as the time at which it would be full again.
 *
 * Return: false if it comes too soon; it is counted.
 */
bool kvmi_limit_check(struct kvmi_vcpu *kv, u32 kind)
{
	struct kvmi_limit *limit = &kv->limits[kind];
	u64 interval = READ_ONCE(limit->interval);
	u64 now, full;

	if (!interval)
		return true;
	now = ktime_get_ns();
	full = max(limit->full, now);
	if (full - now > READ_ONCE(limit->burst)) {
		WRITE_ONCE(kv->stats.limited[kind], kv->stats.limited[kind] + 1);
		return false;
	}
	limit->full = full + interval;
	return true;
}

/**
 * kvmi_limit_set - set the rate of a kind of event
 * @limits: by kind, or NULL while there are none
 * @args: of KVMI_CONTROL_EVENT
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_limit_set(struct kvmi_limit **limits,
		   const struct kvmi_control_event *args)
{
	struct kvmi_limit *limit = *limits;
	u64 interval = args->rate ? div_u64(NSEC_PER_SEC, args->rate) : 0;

	if (!limit) {
		if (!args->rate)
			return 0;
		limit = kcalloc(KVMI_NR_KINDS, sizeof(*limit),
				GFP_KERNEL_ACCOUNT);
		if (!limit)
			return -ENOMEM;
		/* For a vCPU that looks meanwhile. */
		smp_store_release(limits, limit);
	}
	limit += args->kind;
	WRITE_ONCE(limit->burst, interval * (args->burst ? args->burst - 1 : 0));
	WRITE_ONCE(limit->interval, interval);
	return 0;
}

static void kvmi_stats_add(struct kvmi_vcpu *kv, u32 kind,
			   struct kvmi_stats *stats, u64 *cycles)
{
	u32 open = READ_ONCE(kv->open.id) ? kv->open.exit.kind : 0;
	u32 first = kind, last = kind, k;

	if (kind == KVMI_KIND_ALL) {
		first = 0;
		last = KVMI_NR_KINDS - 1;
	}
	for (k = first; k <= last; k++) {
		stats->out_events += READ_ONCE(kv->stats.events[k]);
		stats->out_limited += READ_ONCE(kv->stats.limited[k]);
		stats->out_dropped += READ_ONCE(kv->ring.header->dropped[k]);
		*cycles += READ_ONCE(kv->stats.cycles[k]);
		if (open && open == k) {
			stats->out_open++;
			*cycles += max_t(s64, rdtsc() -
					 READ_ONCE(kv->open.since), 0);
		}
	}
	stats->out_unread += READ_ONCE(kv->ring.header->producer) -
			     READ_ONCE(kv->ring.tool->consumer);
}

/**
 * kvmi_stats_get - KVMI_GET_STATS
 * @vm: vm->sem held for reading
 * @stats: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_stats_get(struct kvmi_vm *vm, struct kvmi_stats *stats)
{
	u32 vcpu = stats->vcpu, kind = stats->kind;
	struct kvmi_vcpu *kv;
	unsigned long i;
	u64 cycles = 0;

	if (stats->flags || (kind != KVMI_KIND_ALL && kind >= KVMI_NR_KINDS))
		return -EINVAL;
	memset_after(stats, 0, kind);
	if (vcpu != KVMI_VCPU_ALL) {
		kv = xa_load(&vm->vcpus, vcpu);
		if (!kv)
			return -ENOENT;
		kvmi_stats_add(kv, kind, stats, &cycles);
	} else {
		xa_for_each(&vm->vcpus, i, kv)
			kvmi_stats_add(kv, kind, stats, &cycles);
	}
	if (tsc_khz)
		stats->out_wait_ns = mul_u64_u32_div(cycles, 1000000, tsc_khz);
	return 0;
}
