// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the Linux guest on an emulated host does: several processes that pass
 * a token, forks, CPUID, an MSR write now and then by way of the kernel, and
 * writes to one page whose guest-physical address it says. All along it
 * checks that its registers and memory are what they have to be.
 *
 * usage: work SECONDS VALUE
 *
 * It ends before that when a tool writes to the third word of that page.
 *
 * Prints, for who watches from outside:
 *	guest: page GPA		the watched page
 *	guest: N switches M rounds R tsc T
 *				after N seconds: context switches since boot,
 *				how often the token has gone round, and when
 *	guest: wrote VALUE to GPA
 *	guest: ok | guest: FAILED what
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <x86intrin.h>

#include "guest.h"

#define MSR_LSTAR	0xc0000082
#define NR_WORKERS	3
#define PATTERN_PAGES	256

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Guest-physical address of a mapped page: the guest's own frame number. */
static unsigned long switches(void)
{
	unsigned long n = 0;
	char line[256];
	FILE *f = fopen("/proc/stat", "r");

	if (!f)
		fail("/proc/stat");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "ctxt %lu", &n) == 1)
			break;
	fclose(f);
	return n;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	return x;
}

/* All general registers live across CPUID and system calls. */
static void check_registers(uint64_t seed)
{
	uint64_t r12 = mix(seed), r13 = mix(r12), r14 = mix(r13);
	uint64_t o12 = r12, o13 = r13, o14 = r14;
	uint32_t eax = 0, ebx, ecx = 0, edx;

	asm volatile("cpuid"
		     : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx),
		       "+r" (r12), "+r" (r13), "+r" (r14));
	if (r12 != o12 || r13 != o13 || r14 != o14)
		fail("registers changed across CPUID");
	if (!ebx || !edx)
		fail("CPUID");
}

/* A process that passes on what it gets, and checks its own memory. */
static void __attribute__((noreturn)) worker(int nr, int from, int to)
{
	uint64_t *mem = mmap(NULL, PATTERN_PAGES * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i, n = PATTERN_PAGES * PAGE / sizeof(*mem), at = 0;
	uint64_t token;

	if (mem == MAP_FAILED)
		fail("mmap");
	for (i = 0; i < n; i++)
		mem[i] = mix(i + nr * n);
	while (read(from, &token, sizeof(token)) == sizeof(token)) {
		for (i = 0; i < 512; i++, at = (at + 1) % n)
			if (mem[at] != mix(at + nr * n))
				fail("memory changed");
		check_registers(token);
		token++;
		if (write(to, &token, sizeof(token)) != sizeof(token))
			break;
	}
	_exit(0);
}

/* Writes the system call entry's address to where it stands already. */
static void write_msr(int fd)
{
	uint64_t val;

	if (fd < 0)
		return;
	if (pread(fd, &val, sizeof(val), MSR_LSTAR) != sizeof(val) ||
	    pwrite(fd, &val, sizeof(val), MSR_LSTAR) != sizeof(val))
		fail("MSR");
}

static void fork_once(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (!pid) {
		check_registers(getpid());
		_exit(42);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 42)
		fail("a child did not end as it should");
}

int main(int argc, char **argv)
{
	double start = now(), end, next;
	int pipes[NR_WORKERS + 1][2], i, said = 0;
	int msr = open("/dev/cpu/0/msr", O_RDWR);
	unsigned long rounds = 0, n;
	volatile uint64_t *page;
	uint64_t value, gpa, token, expect, writes = 0;

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	end = start + atoi(argv[1]);
	value = strtoull(argv[2], NULL, 16);

	page = fixed_page();
	page[0] = 0;
	page[2] = 0;
	gpa = physical((void *)page);
	printf("guest: page 0x%llx\n", (unsigned long long)gpa);

	for (i = 0; i <= NR_WORKERS; i++)
		if (pipe(pipes[i]))
			fail("pipe");
	for (i = 0; i < NR_WORKERS; i++)
		if (!fork())
			worker(i, pipes[i][0], pipes[i + 1][1]);

	next = start;
	for (token = 1; now() < end && !page[2]; token++) {
		expect = token + NR_WORKERS;
		if (write(pipes[0][1], &token, sizeof(token)) < 0 ||
		    read(pipes[NR_WORKERS][0], &token, sizeof(token)) < 0 ||
		    token != expect)
			fail("the token");
		rounds++;
		if (now() < next)
			continue;
		/* Ten times a second. */
		next += 0.1;
		fork_once();
		write_msr(msr);
		page[1] = ++writes;
		page[0] = value;
		if (page[0] != value || page[1] != writes)
			fail("the watched page");
		if (physical((void *)page) != gpa)
			fail("the watched page has moved");
		if (now() - start >= said + 1) {
			n = switches();
			printf("guest: %d switches %lu rounds %lu tsc 0x%016llx\n",
			       ++said, n, rounds, __rdtsc());
		}
	}
	printf("guest: wrote 0x%llx to 0x%llx, %llu times\n",
	       (unsigned long long)value, (unsigned long long)gpa,
	       (unsigned long long)writes);
	for (i = 0; i <= NR_WORKERS; i++)
		close(pipes[i][1]);
	printf("guest: ok\n");
	return 0;
}
