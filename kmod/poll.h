/* SPDX-License-Identifier: GPL-2.0-only */
/* Looking before sleeping: see poll.c. In line what each event passes through. */
#ifndef KVMI_POLL_H
#define KVMI_POLL_H

#include "kvmi.h"

/* How often the CPU is handed over; by a side that was told to look, ... */
#define KVMI_POLL_YIELDS	4
#define KVMI_POLL_YIELDS_TOLD	128

/**
 * struct kvmi_poll_state - one wait
 * @end: of spinning, ktime_get_ns(); 0: not spinning yet
 * @yields: how often the CPU may still be handed over
 */
struct kvmi_poll_state {
	u64 end;
	u32 yields;
};

extern unsigned int kvmi_poll_ns;

bool kvmi_poll_again(struct kvmi_poll_state *state);
void kvmi_poll_lost(struct kvmi_poll *poll);

/**
 * kvmi_poll_begin - is it worth while to look before sleeping?
 * @poll: the caller's, kept from wait to wait
 * @state: of this wait
 * @told: the other side has said that it will not be long
 *
 * Return: true to look for what is awaited, then call kvmi_poll_again() until that
 * says no, and kvmi_poll_end() in any case.
 */
static inline bool kvmi_poll_begin(struct kvmi_poll *poll,
				   struct kvmi_poll_state *state, bool told)
{
	u32 skip = READ_ONCE(poll->skip);

	if (!READ_ONCE(kvmi_poll_ns))
		return false;
	if (skip && !told) {
		WRITE_ONCE(poll->skip, skip - 1);
		return false;
	}
	state->end = 0;
	state->yields = told ? KVMI_POLL_YIELDS_TOLD : KVMI_POLL_YIELDS;
	return true;
}

/**
 * kvmi_poll_end - learn from a wait
 * @poll: the caller's
 * @won: what was awaited came in time
 */
static inline void kvmi_poll_end(struct kvmi_poll *poll, bool won)
{
	if (!won)
		kvmi_poll_lost(poll);
	else if (READ_ONCE(poll->backoff))
		WRITE_ONCE(poll->backoff, 0);
}

#endif /* KVMI_POLL_H */
