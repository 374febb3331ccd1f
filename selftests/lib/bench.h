/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs that measure have in common.
 */
#ifndef SELFTESTS_BENCH_H
#define SELFTESTS_BENCH_H

#include <stdint.h>

/* Prints a figure as bench.py reads it; without a @reference if that is NULL. */
void bench_figure(const char *name, uint64_t value, const char *unit,
		  const char *reference, uint64_t ref);
/* Loads kvmi.ko from $KVMI_KO, or /rig/kvmi.ko; ends the program if that fails. */
void bench_load_module(void);
/* The calling thread, and threads that it creates from then on. */
void bench_pin(int cpu);

#endif
