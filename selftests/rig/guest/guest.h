/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs in the guest have in common.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE		4096UL

static inline void __attribute__((noreturn)) fail(const char *what)
{
	printf("guest: FAILED %s (last errno: %s)\n", what, strerror(errno));
	exit(1);
}

/* The guest-physical address of a page of ours. */
static inline uint64_t physical(const void *page)
{
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, sizeof(entry),
			    (uintptr_t)page / PAGE * 8) != sizeof(entry))
		fail("pagemap");
	close(fd);
	if (!(entry >> 63))
		fail("page not present");
	return (entry & ((1UL << 55) - 1)) * PAGE;
}

/*
 * mlock() does not keep the kernel from moving a page when it makes room, as it does
 * for a balloon: a reference to it in a pipe does.
 */
static inline void pin(void *page)
{
	struct iovec iov = { .iov_base = page, .iov_len = PAGE };
	int held[2];

	if (pipe(held) || vmsplice(held[1], &iov, 1, 0) != PAGE)
		fail("vmsplice");
}

#endif
