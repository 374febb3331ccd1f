/* SPDX-License-Identifier: GPL-2.0-only */
/* <linux/eventfd.h>: eventfd_signal() lost its count in 6.8. */
#ifndef KVMI_COMPAT_EVENTFD_H
#define KVMI_COMPAT_EVENTFD_H

#include <linux/eventfd.h>

static inline void compat_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef KVMI_HAS_EVENTFD_COUNT
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

#endif /* KVMI_COMPAT_EVENTFD_H */
