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
 * @watch: of a session; called on the vCPU's thread
 * @kind: of the event
 *
 * A bucket that holds @burst events and is filled at the rate that was asked for:
 * kept as the time at which it would be full again.
 *
 * Return: false if it comes too soon; it is counted.
 */
bool kvmi_limit_check(struct kvmi_watch *watch, u32 kind)
{
	struct kvmi_limit *limit = &watch->limits[kind];
	u64 interval = READ_ONCE(limit->interval);
	u64 now, full;

	if (!interval)
		return true;
	now = ktime_get_ns();
	full = max(limit->full, now);
	if (full - now > READ_ONCE(limit->burst)) {
		WRITE_ONCE(watch->stats.limited[kind],
			   watch->stats.limited[kind] + 1);
		return false;
	}
	limit->full = full + interval;
	return true;
}

/**
 * kvmi_limit_reserve - have room for the rate of a kind of event
 * @limits: by kind, or NULL while there are none
 * @args: of KVMI_CONTROL_EVENT
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_limit_reserve(struct kvmi_limit **limits,
		       const struct kvmi_control_event *args)
{
	struct kvmi_limit *limit;

	if (*limits || !args->rate)
		return 0;
	limit = kcalloc(KVMI_NR_KINDS, sizeof(*limit), GFP_KERNEL_ACCOUNT);
	if (!limit)
		return -ENOMEM;
	/* For a vCPU that looks meanwhile. */
	smp_store_release(limits, limit);
	return 0;
}

/**
 * kvmi_limit_set - set the rate of a kind of event
 * @limits: by kind, or NULL if none is to be set, and never was
 * @args: of KVMI_CONTROL_EVENT
 */
void kvmi_limit_set(struct kvmi_limit *limits,
		    const struct kvmi_control_event *args)
{
	u64 interval = args->rate ? div_u64(NSEC_PER_SEC, args->rate) : 0;
	struct kvmi_limit *limit;

	if (!limits)
		return;
	limit = &limits[args->kind];
	WRITE_ONCE(limit->burst, interval * (args->burst ? args->burst - 1 : 0));
	WRITE_ONCE(limit->interval, interval);
}

/**
 * kvmi_limit_clear - no kind is limited any more
 * @limits: by kind, or NULL
 */
void kvmi_limit_clear(struct kvmi_limit *limits)
{
	u32 k;

	for (k = 0; limits && k < KVMI_NR_KINDS; k++)
		WRITE_ONCE(limits[k].interval, 0);
}

static void kvmi_stats_add(struct kvmi_watch *watch, u32 first, u32 last,
			   struct kvmi_stats *stats)
{
	struct kvmi_ring_header *header = watch->ring.header;
	u32 k;

	for (k = first; k <= last; k++) {
		stats->out_events += READ_ONCE(watch->stats.events[k]);
		stats->out_limited += READ_ONCE(watch->stats.limited[k]);
		stats->out_counted += READ_ONCE(watch->stats.counted[k]);
		stats->out_dropped += READ_ONCE(header->dropped[k]);
	}
	stats->out_unread += READ_ONCE(header->producer) -
			     READ_ONCE(watch->ring.tool->consumer);
}

/* Of the events that wait for the session that controls the VM. */
static void kvmi_stats_add_waits(struct kvmi_vcpu *kv, u32 first, u32 last,
				 struct kvmi_stats *stats, u64 *cycles)
{
	u32 open = READ_ONCE(kv->open.id) ? kv->open.exit.kind : 0;
	u32 k;

	for (k = first; k <= last; k++) {
		*cycles += READ_ONCE(kv->wait_cycles[k]);
		if (open && open == k) {
			stats->out_open++;
			*cycles += max_t(s64, rdtsc() -
					 READ_ONCE(kv->open.since), 0);
		}
	}
}

/**
 * kvmi_stats_get - KVMI_GET_STATS
 * @sink: of the session; vm->sem held for reading
 * @stats: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT.
 */
int kvmi_stats_get(struct kvmi_sink *sink, struct kvmi_stats *stats)
{
	u32 vcpu = stats->vcpu, kind = stats->kind;
	u32 first = kind, last = kind;
	struct kvmi_watch *watch;
	unsigned long i;
	u64 cycles = 0;

	if (stats->flags || (kind != KVMI_KIND_ALL && kind >= KVMI_NR_KINDS))
		return -EINVAL;
	if (vcpu != KVMI_VCPU_ALL && !xa_load(&sink->watches, vcpu))
		return -ENOENT;
	memset_after(stats, 0, kind);
	if (kind == KVMI_KIND_ALL) {
		first = 0;
		last = KVMI_NR_KINDS - 1;
	}
	xa_for_each(&sink->watches, i, watch) {
		if (vcpu != KVMI_VCPU_ALL && i != vcpu)
			continue;
		kvmi_stats_add(watch, first, last, stats);
		kvmi_stats_add_waits(xa_load(&sink->vm->vcpus, i), first, last,
				     stats, &cycles);
	}
	if (tsc_khz)
		stats->out_wait_ns = mul_u64_u32_div(cycles, 1000000, tsc_khz);
	return 0;
}

/**
 * kvmi_exits_get - KVMI_GET_EXITS
 * @sink: of the session; vm->sem held for reading
 * @args: argument of the ioctl
 *
 * Return: 0, -EINVAL, -ENOENT, -ENOMEM, -EFAULT.
 */
int kvmi_exits_get(struct kvmi_sink *sink, struct kvmi_exits *args)
{
	struct kvmi_exit_count *list;
	struct kvmi_watch *watch;
	unsigned long i;
	u32 s, nr = 0;
	int ret = 0;
	u64 *exits;

	if (args->flags || args->pad)
		return -EINVAL;
	if (args->vcpu != KVMI_VCPU_ALL && !xa_load(&sink->watches, args->vcpu))
		return -ENOENT;
	list = kcalloc(KVMI_NR_EXITS, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list)
		return -ENOMEM;

	xa_for_each(&sink->watches, i, watch) {
		exits = READ_ONCE(watch->exits);
		if (!exits || (args->vcpu != KVMI_VCPU_ALL && i != args->vcpu))
			continue;
		for (s = 0; s < KVMI_NR_EXITS; s++)
			list[s].count += READ_ONCE(exits[s]);
	}
	for (s = 0; s < KVMI_NR_EXITS; s++) {
		if (!list[s].count)
			continue;
		list[nr].count = list[s].count;
		list[nr++].reason = kvmi_exit_reason(s);
	}
	args->out_nr = nr;
	if (copy_to_user(u64_to_user_ptr(args->counts), list,
			 min(nr, args->nr) * sizeof(*list)))
		ret = -EFAULT;
	kfree(list);
	return ret;
}
