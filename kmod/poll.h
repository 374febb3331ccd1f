/* SPDX-License-Identifier: GPL-2.0-only */
/* Looking before sleeping: see poll.c. In line what each event passes through. */
#ifndef KVMI_POLL_H
#define KVMI_POLL_H

#include <asm/timex.h>

#include "kvmi.h"

/* How often the CPU is handed over; by a side that was told to look, ... */
#define KVMI_POLL_YIELDS	4
#define KVMI_POLL_YIELDS_TOLD	128

/**
 * struct kvmi_poll_state - one wait
 * @start: when it began, in cycles
 * @yields: how often the CPU may still be handed over
 */
struct kvmi_poll_state {
	u64 start;
	u32 yields;
};

extern u64 kvmi_poll_cycles;

void kvmi_poll_init(void);

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

	if (skip) {
		WRITE_ONCE(poll->skip, skip - 1);
		return false;
	}
	state->start = get_cycles();
	state->yields = told ? KVMI_POLL_YIELDS_TOLD : KVMI_POLL_YIELDS;
	return true;
}

/**
 * kvmi_poll_end - learn from a wait
 * @poll: the caller's
 * @state: of this wait
 * @won: what was awaited came
 *
 * It must have come in time, too: where somebody else uses the CPU, who hands it
 * over gets it back long after who sleeps and is woken would.
 */
static inline void kvmi_poll_end(struct kvmi_poll *poll,
				 struct kvmi_poll_state *state, bool won)
{
	if (!won || get_cycles() - state->start > kvmi_poll_cycles)
		kvmi_poll_lost(poll);
	else if (READ_ONCE(poll->backoff))
		WRITE_ONCE(poll->backoff, 0);
}

#endif /* KVMI_POLL_H */
