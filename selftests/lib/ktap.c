// SPDX-License-Identifier: GPL-2.0-only
/*
 * A small KTAP harness: options, forked cases, watchdog, plan and result.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"

/* Set by the linker around the section; weak for a program without cases. */
extern const struct ktap_case *const __start_ktap_cases[]
	__attribute__((weak));
extern const struct ktap_case *const __stop_ktap_cases[]
	__attribute__((weak));

static const int smp_counts[] = { 1, 2, 4 };

/* Shared with the child: why it skips. */
static char *skip_reason;
#define SKIP_REASON_SIZE	256

static void diag_locked(const char *prefix, const char *fmt, va_list ap)
{
	char line[1024];
	int n;

	/* One write per line, so that threads and children do not mix. */
	n = snprintf(line, sizeof(line), "# %s", prefix);
	n += vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) < 0)
		_exit(KSFT_FAIL);
}

void ktap_diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	diag_locked("", fmt, ap);
	va_end(ap);
}

int ktap_times(int n, int slow)
{
	const char *env = getenv("KTAP_SLOW");

	return env && *env ? slow : n;
}

void ktap_fail(const char *file, int line, const char *fmt, ...)
{
	char where[256];
	va_list ap;

	snprintf(where, sizeof(where), "%s:%d: ", file, line);
	va_start(ap, fmt);
	diag_locked(where, fmt, ap);
	va_end(ap);
	_exit(KSFT_FAIL);
}

void ktap_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(skip_reason, SKIP_REASON_SIZE, fmt, ap);
	va_end(ap);
	_exit(KSFT_SKIP);
}

const char *ktap_errname(int err)
{
	const char *name = err ? strerrorname_np(err) : "no error";

	return name ? name : "unknown errno";
}

const char *ktap_need_kvm(void)
{
	const char *why = NULL;
	int fd, vm;

	/*
	 * There are things that call themselves /dev/kvm and are not this
	 * KVM: do not even open those.
	 */
	if (access("/dev/kvm", F_OK))
		return "no /dev/kvm";
	if (access("/sys/module/kvm_intel", F_OK) &&
	    access("/sys/module/kvm_amd", F_OK))
		return "neither kvm_intel nor kvm_amd is loaded";
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "cannot open /dev/kvm";
	vm = ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION &&
	     ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) > 0 &&
	     ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) > 0 ?
		ioctl(fd, KVM_CREATE_VM, 0) : -1;
	if (vm < 0)
		why = "/dev/kvm makes no VM";
	else
		close(vm);
	close(fd);
	return why;
}

const char *ktap_need_kvmi(void)
{
	const char *why = ktap_need_kvm();
	int fd;

	if (why)
		return why;
	fd = open("/dev/kvmi", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? "kvmi.ko is not loaded" :
					 "cannot open /dev/kvmi";
	close(fd);
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Waits for @pid until @deadline; 0 when it has not ended by then. */
static int wait_until(pid_t pid, int *status, int64_t deadline)
{
	struct timespec ts;
	sigset_t set;
	int64_t left;
	pid_t ret;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		ret = waitpid(pid, status, WNOHANG);
		if (ret)
			return ret;
		left = deadline - now_ms();
		if (left <= 0)
			return 0;
		ts.tv_sec = left / 1000;
		ts.tv_nsec = left % 1000 * 1000000;
		sigtimedwait(&set, NULL, &ts);
	}
}

static int run_case(const struct ktap_case *c, int nr_vcpus)
{
	const char *scale = getenv("KTAP_TIMEOUT_SCALE");
	int64_t seconds = c->timeout * (scale ? atoi(scale) : 1);
	sigset_t set, old;
	int status, ret;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	skip_reason[0] = 0;
	fflush(NULL);

	pid = fork();
	if (pid < 0) {
		ktap_diag("fork: %s", strerror(errno));
		return KSFT_FAIL;
	}
	if (!pid) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &old, NULL);
		c->fn(nr_vcpus);
		fflush(NULL);
		_exit(KSFT_PASS);
	}
	setpgid(pid, pid);

	ret = wait_until(pid, &status, now_ms() + seconds * 1000);
	/* Helpers that the case started go with it. */
	kill(-pid, SIGKILL);
	if (!ret) {
		ktap_diag("timed out after %lld s", (long long)seconds);
		/* A task stuck in the kernel must not stick us as well. */
		if (!wait_until(pid, &status, now_ms() + 10000))
			ktap_diag("pid %d does not die", pid);
		return KSFT_FAIL;
	}
	if (ret < 0) {
		ktap_diag("waitpid: %s", strerror(errno));
		return KSFT_FAIL;
	}
	if (WIFSIGNALED(status)) {
		ktap_diag("killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
		return KSFT_FAIL;
	}
	return WEXITSTATUS(status);
}

static void usage(const char *prog)
{
	fprintf(stderr,
		"usage: %s [--list | --rows] [-t CASE]... [-c VCPUS]\n"
		"  --list    the cases, one a line\n"
		"  --rows    the same, each with the rows it proves\n"
		"  -t CASE   only this case (NAME or NAME.VCPUS)\n"
		"  -c N      cases with several vCPU counts: only this one\n",
		prog);
}

#define MAX_RUNS	512

struct ktap_run {
	const struct ktap_case *c;
	int nr_vcpus;
	char name[96];
};

static int by_line(const void *a, const void *b)
{
	const struct ktap_run *x = a, *y = b;

	if (x->c->line != y->c->line)
		return x->c->line < y->c->line ? -1 : 1;
	return x->nr_vcpus - y->nr_vcpus;
}

static bool wanted(const struct ktap_run *run, char **only, int nr_only)
{
	int i;

	for (i = 0; i < nr_only; i++)
		if (!strcmp(only[i], run->name) ||
		    !strcmp(only[i], run->c->name))
			return true;
	return !nr_only;
}

int ktap_main(int argc, char **argv, const char *(*need)(void))
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },
		{ "rows", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int nr_ok = 0, nr_fail = 0, nr_skip = 0;
	const struct ktap_case *const *pos;
	static struct ktap_run runs[MAX_RUNS];
	bool list = false, rows = false;
	int nr_runs = 0, nr_only = 0;
	const char *why = NULL;
	int opt, count = 0, i;
	char *only[32];

	while ((opt = getopt_long(argc, argv, "t:c:h", options, NULL)) >= 0) {
		switch (opt) {
		case 'l':
			list = true;
			break;
		case 'r':
			rows = true;
			break;
		case 't':
			if (nr_only < 32)
				only[nr_only++] = optarg;
			break;
		case 'c':
			count = atoi(optarg);
			break;
		default:
			usage(argv[0]);
			return opt == 'h' ? KSFT_PASS : KSFT_FAIL;
		}
	}

	/* cppcheck-suppress comparePointers # one section, says the linker */
	for (pos = __start_ktap_cases; pos < __stop_ktap_cases; pos++) {
		const struct ktap_case *c = *pos;
		unsigned int nr = c->flags & KTAP_F_SMP ? 3 : 1;
		unsigned int j;

		if (count && nr > 1)
			nr = 1;
		for (j = 0; j < nr && nr_runs < MAX_RUNS; j++) {
			struct ktap_run *run = &runs[nr_runs];

			run->c = c;
			run->nr_vcpus = 1;
			if (c->flags & KTAP_F_SMP) {
				run->nr_vcpus = count ? count : smp_counts[j];
				snprintf(run->name, sizeof(run->name), "%s.%d",
					 c->name, run->nr_vcpus);
			} else {
				snprintf(run->name, sizeof(run->name), "%s",
					 c->name);
			}
			if (wanted(run, only, nr_only))
				nr_runs++;
		}
	}

	qsort(runs, nr_runs, sizeof(runs[0]), by_line);

	if (list || rows) {
		for (i = 0; i < nr_runs; i++)
			printf("%s%s%s\n", runs[i].name, rows ? " " : "",
			       rows ? runs[i].c->rows : "");
		return KSFT_PASS;
	}

	skip_reason = mmap(NULL, SKIP_REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skip_reason == MAP_FAILED)
		return KSFT_FAIL;
	setvbuf(stdout, NULL, _IOLBF, 0);

	printf("TAP version 13\n");
	if (need)
		why = need();
	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return KSFT_SKIP;
	}
	if (!nr_runs) {
		printf("1..0\n# no such case\n");
		return KSFT_FAIL;
	}
	printf("1..%d\n", nr_runs);

	for (i = 0; i < nr_runs; i++) {
		switch (run_case(runs[i].c, runs[i].nr_vcpus)) {
		case KSFT_PASS:
			printf("ok %d %s\n", i + 1, runs[i].name);
			nr_ok++;
			break;
		case KSFT_SKIP:
			printf("ok %d %s # SKIP %s\n", i + 1, runs[i].name,
			       skip_reason);
			nr_skip++;
			break;
		default:
			printf("not ok %d %s\n", i + 1, runs[i].name);
			nr_fail++;
			break;
		}
		fflush(stdout);
	}
	printf("# Totals: pass:%d fail:%d xfail:0 xpass:0 skip:%d error:0\n",
	       nr_ok, nr_fail, nr_skip);
	if (nr_fail)
		return KSFT_FAIL;
	return nr_ok ? KSFT_PASS : KSFT_SKIP;
}
