// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls that the guest's own ftrace records, by which "kvmi syscalls" is
 * judged: of all numbers and arguments, by SYSCALL and, if
 * asked for, by INT 0x80, of children of vfork() among them.
 *
 * usage: calls N [int80]
 *
 * It begins when somebody has written to the second word of a page whose
 * guest-physical address it says; until then and from there on it makes no system call
 * but these: a getpid() whose first arguments are MARK and 1, about N others, and one
 * with MARK and 2.
 *
 * Prints, for who watches from outside:
 *	guest: calls PID page GPA	it waits
 *	guest: FAILED what
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

static bool with_int80;
static uint64_t seed = 0x123456789abcdefULL;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void begin_tracing(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	trace_set("buffer_size_kb", "8192");
	/* Counts: processors whose clocks differ agree on the order. */
	trace_set("trace_clock", "counter");
	trace_set("options/event-fork", "1");
	trace_set("set_event_pid", pid);
	trace_set("events/raw_syscalls/sys_enter/enable", "1");
}

static void int80(uint32_t nr)
{
	uint64_t args[6];
	int i;

	for (i = 0; i < 6; i++)
		args[i] = (uint32_t)next();
	/* The compiler may have something below the stack pointer. */
	asm volatile("lea	-128(%%rsp), %%rsp\n\t"
		     "push	%%rbp\n\t"
		     "mov	%[bp], %%rbp\n\t"
		     "int	$0x80\n\t"
		     "pop	%%rbp\n\t"
		     "lea	128(%%rsp), %%rsp"
		     : "+a" (nr)
		     : "b" (args[0]), "c" (args[1]), "d" (args[2]),
		       "S" (args[3]), "D" (args[4]), [bp] "r" (args[5])
		     : "r8", "r9", "r10", "r11", "memory");
}

static void any_call(void)
{
	/* Those that look at no argument, and numbers that nobody has. */
	static const long harmless[] = {
		SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid,
		SYS_getgid, SYS_getegid, SYS_sched_yield, 400, 511, 1000,
		0x40000000 | SYS_getpid, 0x7fffffff,
	};
	/* And those that fail for their descriptor. */
	static const long of_file[] = {
		SYS_read, SYS_write, SYS_close, SYS_lseek, SYS_fstat, SYS_dup,
		SYS_fsync, SYS_ftruncate, SYS_ioctl, SYS_mmap,
	};
	static const uint32_t of_32bit[] = { 20, 64, 24, 199, 224, 5000 };
	uint64_t how = next() % 10;
	uint64_t a = next(), b = next(), c = next(), d = next(), e = next();

	if (how == 0 && with_int80)
		int80(of_32bit[next() % 6]);
	else if (how < 5)
		syscall(harmless[next() % 13], next(), a, b, c, d, e);
	else
		/* No such descriptor, and for mmap() no such length. */
		syscall(of_file[next() % 10], 0x10000 | (uint16_t)a, -1UL, c, d,
			0x10000, e);
}

static void vfork_once(void)
{
	pid_t pid = vfork();
	int status;

	if (!pid) {
		syscall(SYS_getpid, next(), next());
		if (with_int80)
			int80(20);
		syscall(SYS_getppid, next(), next());
		_exit(42);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 42)
		fail("vfork");
}

int main(int argc, char **argv)
{
	volatile uint64_t *page;
	int i;

	if (argc < 2)
		return 2;
	with_int80 = argc > 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	page = fixed_page();
	page[0] = MARK;
	begin_tracing();
	printf("guest: calls %d page 0x%llx\n", getpid(),
	       (unsigned long long)physical((void *)page));
	while (!page[1])
		asm volatile("pause");

	syscall(SYS_getpid, MARK, 1, 0, 0, 0, 0);
	for (i = 0; i < atoi(argv[1]);) {
		if (i % 100 == 50) {
			vfork_once();
			/* vfork, wait4, and of the child: its own, exit_group. */
			i += 5 + with_int80;
		} else {
			any_call();
			i++;
		}
	}
	syscall(SYS_getpid, MARK, 2, 0, 0, 0, 0);
	trace_set("tracing_on", "0");
	return 0;
}
