// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking for what another thread is about to do, for a while, before sleeping.
 *
 * A vCPU with an open event and a tool that waits for the next one take turns.
 * To sleep and be woken costs each of them as much as all the rest of an event
 * does. So each looks for a while first; whether that pays is learnt from whether
 * it did, as KVM does before it puts a halted vCPU to sleep.
 *
 * A thread that has its CPU to itself spins, for at most poll_ns; any other hands
 * the CPU over, a few times at most: the other side may well be what waits for it.
 */
#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>

#include "poll.h"

/* At least one wait in so many looks, however seldom it pays. */
#define KVMI_POLL_MAX_SKIP	63

unsigned int kvmi_poll_ns = 50000;
module_param_named(poll_ns, kvmi_poll_ns, uint, 0644);
MODULE_PARM_DESC(poll_ns, "Longest time a vCPU or a waiting tool spins before it sleeps, in ns; 0: never (default 50000)");

/**
 * kvmi_poll_again - wait a moment
 * @state: of this wait; may sleep, and hand the CPU over
 *
 * Return: false when it is time to sleep.
 */
bool kvmi_poll_again(struct kvmi_poll_state *state)
{
	u64 now;

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
	now = ktime_get_ns();
	if (!state->end)
		state->end = now + READ_ONCE(kvmi_poll_ns);
	else if (now >= state->end)
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
