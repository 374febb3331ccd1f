// SPDX-License-Identifier: GPL-2.0-only
/*
 * map-watch: for scripts. Maps a part of a VM's memory, and looks at all of it over and
 * over, until it is killed.
 *
 * usage: map-watch PID ADDRESS LENGTH [VALUE]
 *
 * A line for each time through: pages that can be read, pages that cannot (SIGBUS), and
 * how many of the former begin with VALUE.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <kvmi.h>

#define PAGE	4096UL

static sigjmp_buf on_bus;

static void bus(int sig)
{
	siglongjmp(on_bus, sig);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = bus };
	volatile size_t there, not_there, found, i;
	uint64_t start, len, value;
	struct kvmi_vm *vm;
	const void *addr;
	size_t size;
	uint64_t first;

	if (argc < 4)
		return 2;
	start = strtoull(argv[2], NULL, 0);
	len = strtoull(argv[3], NULL, 0);
	value = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
	sigaction(SIGBUS, &act, NULL);
	if (kvmi_vm_attach(argv[1], NULL, &vm) ||
	    kvmi_vm_map(vm, start, len, &size, &addr)) {
		fprintf(stderr, "map-watch: %s\n", kvmi_error_message());
		return 1;
	}
	for (;;) {
		there = 0;
		not_there = 0;
		found = 0;
		for (i = 0; i < size; i += PAGE) {
			if (sigsetjmp(on_bus, 1)) {
				not_there++;
				continue;
			}
			first = *(const volatile uint64_t *)((const char *)addr + i);
			there++;
			found += first == value;
		}
		printf("%zu there, %zu not, %zu found\n", there, not_there, found);
		fflush(stdout);
		usleep(100000);
	}
}
