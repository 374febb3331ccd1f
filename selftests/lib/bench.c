// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "ktap.h"

void bench_figure(const char *name, uint64_t value, const char *unit,
		  const char *reference, uint64_t ref)
{
	printf("bench: %s %llu %s", name, (unsigned long long)value, unit);
	if (reference)
		printf(" (reference %s %llu, ratio %.2f)", reference,
		       (unsigned long long)ref, (double)value / ref);
	printf("\n");
	fflush(stdout);
}

void bench_load_module(void)
{
	const char *path = getenv("KVMI_KO");
	int fd = open(path ? path : "/rig/kvmi.ko", O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) {
		perror("bench: cannot load kvmi.ko");
		exit(1);
	}
	close(fd);
}

void bench_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	KTAP_OK(sched_setaffinity(0, sizeof(set), &set));
}
