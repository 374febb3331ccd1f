// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event loop that README.md shows (built from there, see the Makefile): it
 * attaches to this process's VM by pid, and prints what the guest does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tool.h"

/* CPUID leaves: those before the test says so, and those after. */
#define LEAF_BEFORE	0x1000
#define LEAF_AFTER	0x2000
#define NR_AFTER	50

#define LINE		"vCPU %u: CPUID 0x%x\n"

/* Set in the guest's copy, see vmm_guest_ptr(). */
static volatile uint64_t go;

static __guest uint64_t cpuids(uint64_t n)
{
	uint64_t i;

	while (!go)
		guest_cpuid(LEAF_BEFORE, 0);
	for (i = 0; i < n; i++)
		guest_cpuid(LEAF_AFTER + i, 0);
	return n;
}

struct example {
	pid_t pid;
	int fd;			/* what it prints, on both outputs */
	size_t len;
	char text[256 * 1024];
};

static struct example *example_start(pid_t vmm)
{
	struct example *ex = malloc(sizeof(*ex));
	char path[PATH_MAX + 16], arg[16], *name;
	int fds[2];
	ssize_t n;

	KTAP_ASSERT(ex);
	/* Where this program is. */
	n = KTAP_OK(readlink("/proc/self/exe", path, PATH_MAX));
	path[n] = 0;
	name = strrchr(path, '/') + 1;
	snprintf(name, path + sizeof(path) - name, "readme-example");
	snprintf(arg, sizeof(arg), "%d", (int)vmm);

	KTAP_OK(pipe2(fds, O_CLOEXEC));
	ex->pid = KTAP_OK(fork());
	if (!ex->pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execl(path, "readme-example", arg, NULL);
		perror(path);
		_exit(127);
	}
	close(fds[1]);
	ex->fd = fds[0];
	ex->len = 0;
	return ex;
}

/* More of what it prints; false at the end. */
static bool example_read(struct example *ex)
{
	struct pollfd pfd = { .fd = ex->fd, .events = POLLIN };
	ssize_t n;

	KTAP_ASSERT(ex->len < sizeof(ex->text) - 1, "it prints without end");
	if (poll(&pfd, 1, TOOL_PATIENCE) != 1)
		KTAP_FAIL("it prints nothing, and does not end");
	n = KTAP_OK(read(ex->fd, ex->text + ex->len,
			 sizeof(ex->text) - 1 - ex->len));
	ex->len += n;
	ex->text[ex->len] = 0;
	return n;
}

static int example_end(struct example *ex)
{
	int status;

	while (example_read(ex))
		;
	close(ex->fd);
	KTAP_EQ(waitpid(ex->pid, &status, 0), ex->pid);
	KTAP_ASSERT(WIFEXITED(status), "status %#x", status);
	return WEXITSTATUS(status);
}

/*
 * Every line is a CPUID that the guest has executed, and those of which it is
 * known that the program was at work are all there, once and in order.
 */
static void check_lines(char *text, int nr_vcpus)
{
	unsigned int next[GUEST_MAX_VCPUS] = {};
	char *line, *end, again[64];
	unsigned int vcpu, leaf;
	int i;

	for (line = text; *line; line = end + 1) {
		end = strchr(line, '\n');
		KTAP_ASSERT(end, "the last line is cut: %s", line);
		if (sscanf(line, LINE, &vcpu, &leaf) != 2 || vcpu >= nr_vcpus)
			KTAP_FAIL("%.*s", (int)(end - line), line);
		snprintf(again, sizeof(again), LINE, vcpu, leaf);
		KTAP_ASSERT(!strncmp(line, again, end + 1 - line), "%.*s",
			    (int)(end - line), line);
		if (leaf == LEAF_BEFORE && !next[vcpu])
			continue;
		if (leaf != LEAF_AFTER + next[vcpu])
			KTAP_FAIL("%.*s, not %#x", (int)(end - line), line,
				  LEAF_AFTER + next[vcpu]);
		next[vcpu]++;
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(next[i], NR_AFTER);
}

KTAP_CASE_SMP(event_loop, "D1 E13")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct example *ex;
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, NR_AFTER, 0, 0);
	vmm_start_all(vm);
	/* The VM runs already, and the program knows no more than a pid. */
	ex = example_start(getpid());
	/* Something comes: it watches, all vCPUs alike. */
	KTAP_ASSERT(example_read(ex), "it has ended");
	*vmm_guest_ptr(vm, go) = 1;
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), NR_AFTER);
	/* With the VM its loop ends, and so does the program. */
	vmm_destroy(vm);
	KTAP_EQ(example_end(ex), 0);
	check_lines(ex->text, nr_vcpus);
}

/* Process 1 has no VM: it says so, and fails. */
KTAP_CASE(no_vm, "D1")
{
	struct example *ex;

	ex = example_start(1);
	KTAP_EQ(example_end(ex), 1);
	KTAP_ASSERT(strstr(ex->text, "no KVM VM"), "%s", ex->text);
}

KTAP_MAIN(ktap_need_kvmi)
