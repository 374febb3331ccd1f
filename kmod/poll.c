// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking for what another thread is about to do, for a while, before sleeping.
 *
 * A vCPU with an open event and a tool that waits for the next one take turns.
 * To sleep and be woken costs each of them as much as all the rest of an event
 * does. So each looks for a while first; whether that pays is learnt from whether
 * it did, as KVM does before it puts a halted vCPU to sleep.
 *
 * A thread that has its CPU to itself spins; any other hands the CPU over, a few
 * times at most: the other side may well be what waits for it. Neither goes on
 * for more than poll_ns, nor calls it a success what took longer.
 */
#include <linux/cpumask.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <asm/tsc.h>

#include "poll.h"

/* At least one wait in so many looks, however seldom it pays. */
#define KVMI_POLL_MAX_SKIP	63

static unsigned int kvmi_poll_ns = 50000;

/* The same in cycles of the TSC. */
u64 kvmi_poll_cycles __read_mostly;

static int kvmi_poll_set(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_uint(val, kp);

	if (!ret)
		WRITE_ONCE(kvmi_poll_cycles,
			   mul_u64_u32_div(kvmi_poll_ns, tsc_khz, 1000000));
	return ret;
}

static const struct kernel_param_ops kvmi_poll_ops = {
	.set = kvmi_poll_set,
	.get = param_get_uint,
};

module_param_cb(poll_ns, &kvmi_poll_ops, &kvmi_poll_ns, 0644);
MODULE_PARM_DESC(poll_ns, "Longest time a vCPU or a waiting tool looks for the other before it sleeps, in ns; 0: never (default 50000)");

/**
 * kvmi_poll_init - learn how many cycles there are to a nanosecond
 */
void kvmi_poll_init(void)
{
	WRITE_ONCE(kvmi_poll_cycles,
		   mul_u64_u32_div(kvmi_poll_ns, tsc_khz, 1000000));
}

/**
 * kvmi_poll_again - wait a moment
 * @state: of this wait; may sleep, and hand the CPU over
 *
 * Return: false when it is time to sleep.
 */
bool kvmi_poll_again(struct kvmi_poll_state *state)
{
	if (get_cycles() - state->start > READ_ONCE(kvmi_poll_cycles))
		return false;
	if (!single_task_running()) {
		if (!state->yields--)
			return false;
		/* Not one that is waited for by name: any other may be it. */
		yield();
		return true;
	}
	/* On a single CPU nobody else is about to do anything. */
	if (num_online_cpus() == 1)
		return false;
	cpu_relax();
	return true;
}

/**
 * kvmi_poll_lost - learn from a wait that came to nothing
 * @poll: the caller's
 */
void kvmi_poll_lost(struct kvmi_poll *poll)
{
	u32 backoff = min(2 * READ_ONCE(poll->backoff) + 1, KVMI_POLL_MAX_SKIP);

	WRITE_ONCE(poll->backoff, backoff);
	WRITE_ONCE(poll->skip, backoff);
}
