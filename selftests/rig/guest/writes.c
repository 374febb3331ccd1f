// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the Linux guest does besides "work", where it is to write hard: counts up in
 * many pages, one after the other and without a pause, and finds in each what it has
 * left there. Ends by SIGTERM.
 *
 * usage: writes PAGES
 *
 * Prints, for who watches from outside:
 *	guest: writes N rounds
 *	guest: FAILED what
 */
#define _GNU_SOURCE
#include <signal.h>

#include "guest.h"

static volatile sig_atomic_t stop;

static void stop_handler(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	size_t pages = argc == 2 ? strtoul(argv[1], NULL, 10) : 0, i;
	volatile uint64_t *word;
	uint64_t round;
	char *mem;

	if (!pages)
		return 2;
	signal(SIGTERM, stop_handler);
	mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		fail("mmap");
	for (round = 0; !stop; round++) {
		for (i = 0; i < pages; i++) {
			word = (uint64_t *)(mem + i * PAGE + i % 512 * 8);
			if (*word != round)
				fail("a page is not what was written to it");
			*word = round + 1;
		}
	}
	printf("guest: writes %llu rounds\n", (unsigned long long)round);
	return 0;
}
