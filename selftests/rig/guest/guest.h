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
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE		4096UL
/* In the first word of a page on which a program waits. */
#define MARK		0x6b766d69
#define TRACING		"/sys/kernel/tracing/"

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
 * A page that stays where it is. mlock() does not keep the kernel from moving it when
 * that makes room, as it does for a balloon: a reference to it in a pipe does.
 */
static inline volatile uint64_t *fixed_page(void)
{
	struct iovec iov = { .iov_len = PAGE };
	int held[2];

	iov.iov_base = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (iov.iov_base == MAP_FAILED || mlock(iov.iov_base, PAGE))
		fail("mmap");
	/* A child would make the page copied, and another one be written. */
	madvise(iov.iov_base, PAGE, MADV_DONTFORK);
	if (pipe(held) || vmsplice(held[1], &iov, 1, 0) != PAGE)
		fail("vmsplice");
	return iov.iov_base;
}

/* Write to a file of the tracing file system. */
static inline void trace_set(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		fail(path);
	close(fd);
}

#endif
