// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The system calls. By number where the C library may be too old to have them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open	434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd	438
#endif

static int sys_open(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC);
}

static int sys_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg);
}

static void *sys_mmap(size_t size, int prot, int fd, off_t offset)
{
	return mmap(NULL, size, prot, MAP_SHARED, fd, offset);
}

static int sys_pidfd_open(pid_t pid)
{
	return syscall(SYS_pidfd_open, pid, 0);
}

static int sys_pidfd_getfd(int pidfd, int fd)
{
	return syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

static int sys_same_file(pid_t pid1, int fd1, pid_t pid2, int fd2)
{
	/* A kernel without kcmp() knows no duplicates. */
	return syscall(SYS_kcmp, pid1, pid2, KCMP_FILE, fd1, fd2) == 0;
}

struct kvmi_sys kvmi_sys = {
	.proc = "/proc",
	.device = "/dev/kvmi",
	.open = sys_open,
	.close = close,
	.ioctl = sys_ioctl,
	.mmap = sys_mmap,
	.munmap = munmap,
	.pidfd_open = sys_pidfd_open,
	.pidfd_getfd = sys_pidfd_getfd,
	.same_file = sys_same_file,
};

int64_t kvmi_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}
