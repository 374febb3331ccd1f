/* SPDX-License-Identifier: GPL-2.0-only */
/* <linux/ftrace.h>: the setter of the instruction pointer. */
#ifndef KVMI_COMPAT_FTRACE_H
#define KVMI_COMPAT_FTRACE_H

#include <linux/ftrace.h>

/*
 * Renamed from ftrace_instruction_pointer_set() in 6.13, which Debian's 6.12
 * already carries.
 */
static __always_inline void compat_ftrace_set_ip(struct ftrace_regs *fregs,
						 unsigned long ip)
{
#ifdef KVMI_HAS_FTRACE_REGS_SET_IP
	ftrace_regs_set_instruction_pointer(fregs, ip);
#else
	ftrace_instruction_pointer_set(fregs, ip);
#endif
}

#endif /* KVMI_COMPAT_FTRACE_H */
