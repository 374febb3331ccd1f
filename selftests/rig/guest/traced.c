// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of the kernel's functions that the guest's own ftrace counts, by which
 * "kvmi count" is judged.
 *
 * usage: traced N
 *
 * It finds out which functions are called by what it is going to do, though not by the
 * kernel on its own, in interrupts and its threads, and takes N of them; if there are
 * fewer, others, which nobody calls. Then it waits until somebody has written to the second
 * word of a page whose guest-physical address it says, and does it once more, between
 * two calls of ioprio_get().
 *
 * Prints, for who watches from outside:
 *	guest: function ADDRESS T NAME	it is one of them: its line of kallsyms
 *	guest: symbol ADDRESS T NAME	that of another one that is needed
 *	guest: functions N page GPA	it waits
 *	guest: count NAME CALLS		as ftrace has it
 *	guest: FAILED what
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>

#include "guest.h"

#define BETWEEN		"__x64_sys_ioprio_get"
#define MAX_FUNCTIONS	131072
/* Calls of one of them: it is not to take for ever. */
#define MAX_CALLS	1000
#define MAX_CALLS_ALL	4000000

struct function {
	char *name;
	uint64_t address;
	bool ambiguous;		/* another one has this name, or address */
	bool background;	/* called by others than what is done here */
	bool hot;		/* there is one in its page that is, or often called */
	bool chosen;
	unsigned int calls;
};

struct call {
	uint64_t when, address;
	bool background;	/* of no process of ours, or of an interrupt */
};

/* Of the flags of a call: in an interrupt, in a softirq. */
#define IN_INTERRUPT	0x18

static struct function functions[MAX_FUNCTIONS];
static struct call *calls;
static size_t nr_functions, nr_calls;
static pid_t self;

/* As many parts of the kernel as can be had without a disk, and on both CPUs. */
static const char * const work[] = {
	"mkdir -p /t && mount -t tmpfs t /t",
	"cd /t; dd if=/dev/zero of=a bs=4k count=4; cp a b; mv b c; ln c d; ln -s c e; "
	"chmod 600 c; chown 1:1 c; touch c e; cat c e >f; rm -f d; truncate -s 9 c; df; "
	"stat a; mkfifo g; mkdir -p x/y; rmdir x/y; rm -rf x; ls -l; sync",
	"cat /proc/meminfo /proc/mounts /proc/self/maps /proc/self/stat /proc/loadavg "
	"/proc/self/limits /proc/devices /proc/net/dev /proc/uptime",
	"free; uname -a; date; hostname h; id; tty; ls /sys/class/net/lo",
	"ip link set lo up; ip addr add 127.0.0.2/8 dev lo; ip route; ip -6 addr; "
	"ping -c 1 127.0.0.1; ip addr del 127.0.0.2/8 dev lo",
	"(nc -l -p 99 >/t/n & sleep 0.2; echo hello | nc -w 1 127.0.0.1 99; wait)",
	"(nc -u -l -p 98 >/t/n & p=$!; sleep 0.2; echo hello | nc -u -w 1 127.0.0.1 98; "
	"kill $p; wait)",
	"nice -n 5 true; taskset 2 true; taskset 1 sh -c 'true | true'; renice 1 $$; "
	"setsid true; (sleep 0.1 & kill $!; wait); (trap : USR1; kill -USR1 $$)",
	"mkdir -p /t/p /t/b; mount -t proc p /t/p; mount --bind /proc /t/b; "
	"umount /t/b /t/p; mount -o remount,ro /t; mount -o remount,rw /t",
	"unshare -m -u -i hostname x",
	"sysctl -w vm.swappiness=50; flock /t/a true; mknod /t/z c 1 3; echo >/t/z",
	"umount /t",
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct function *)a)->name,
		      ((const struct function *)b)->name);
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct function *)a)->address;
	uint64_t y = ((const struct function *)b)->address;

	return x < y ? -1 : x > y;
}

static void read_symbols(void)
{
	int (*const orders[])(const void *, const void *) = { by_name, by_address };
	char line[512], name[256], type, end;
	unsigned long long address;
	FILE *file = fopen("/proc/kallsyms", "r");
	size_t i, n;

	if (!file)
		fail("kallsyms");
	while (fgets(line, sizeof(line), file)) {
		/* What ends in a tab is a module's. */
		if (sscanf(line, "%llx %c %255s%c", &address, &type, name, &end) != 4 ||
		    end != '\n' || (type != 't' && type != 'T'))
			continue;
		if (nr_functions == MAX_FUNCTIONS)
			fail("too many functions");
		functions[nr_functions].address = address;
		functions[nr_functions++].name = strdup(name);
	}
	fclose(file);
	/* In the order of their addresses in the end. */
	for (n = 0; n < 2; n++) {
		qsort(functions, nr_functions, sizeof(functions[0]), orders[n]);
		for (i = 1; i < nr_functions; i++)
			if (!orders[n](&functions[i - 1], &functions[i]))
				functions[i - 1].ambiguous =
					functions[i].ambiguous = true;
	}
}

/* ftrace has where the function calls it: first of all, or behind an ENDBR. */
static struct function *find(uint64_t address)
{
	struct function key = { .address = address }, *f;

	f = bsearch(&key, functions, nr_functions, sizeof(key), by_address);
	if (f)
		return f;
	key.address -= 4;
	return bsearch(&key, functions, nr_functions, sizeof(key), by_address);
}

/*
 * A page of the ring buffer, as the kernel's Documentation/trace/ring-buffer-design and
 * events/header_page have it; what is in it, as ftrace/function/format does.
 */
static void read_page(const uint8_t *page)
{
	uint64_t when = *(const uint64_t *)page, commit = *(const uint64_t *)(page + 8);
	const uint8_t *pos = page + 16, *end = pos + (commit & 0xfffff);
	uint32_t head, type, delta, len, first;

	if (commit >> 30 & 3)
		fail("ftrace has lost something");
	for (; pos + 8 <= end; pos += len) {
		head = *(const uint32_t *)pos;
		first = *(const uint32_t *)(pos + 4);
		type = head & 31;
		delta = head >> 5;
		if (type == 29 && !delta)
			return;
		if (type == 31)
			when = (uint64_t)first << 27 | delta;
		else if (type == 30)
			when += (uint64_t)first << 27 | delta;
		else
			when += delta;
		len = type >= 30 ? 8 : 4 + (type && type != 29 ? 4 * type : first);
		if (!type || type >= 29)
			continue;
		if (nr_calls == MAX_CALLS_ALL)
			fail("too many calls");
		calls[nr_calls++] = (struct call) {
			.when = when, .address = *(const uint64_t *)(pos + 12),
			.background = pos[6] & IN_INTERRUPT ||
				      *(const int32_t *)(pos + 8) < self,
		};
	}
}

static void read_calls(void)
{
	uint8_t page[PAGE];
	char path[128];
	int cpu, fd;

	nr_calls = 0;
	for (cpu = 0; cpu < 64; cpu++) {
		snprintf(path, sizeof(path), TRACING "per_cpu/cpu%d/trace_pipe_raw", cpu);
		fd = open(path, O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			break;
		while (read(fd, page, sizeof(page)) == sizeof(page))
			read_page(page);
		close(fd);
	}
	trace_set("trace", "\n");
}

/* How often each was called between the two calls of BETWEEN, or all along. */
static void count_calls(bool between)
{
	uint64_t from = 0, to = UINT64_MAX, when;
	struct function *f;
	size_t i;

	read_calls();
	for (i = 0; i < nr_functions; i++)
		functions[i].calls = 0;
	for (i = 0; i < nr_calls && between; i++) {
		f = find(calls[i].address);
		if (!f || strcmp(f->name, BETWEEN))
			continue;
		if (!from)
			from = calls[i].when;
		else
			to = calls[i].when;
	}
	/* One CPU's come before another's. */
	if (from > to) {
		when = from;
		from = to;
		to = when;
	}
	if (between && to == UINT64_MAX)
		fail("ftrace has not seen it begin and end");
	for (i = 0; i < nr_calls; i++) {
		f = find(calls[i].address);
		if (!f || calls[i].when <= from || calls[i].when >= to)
			continue;
		f->calls++;
		f->background |= calls[i].background;
	}
}

static void do_work(void)
{
	unsigned int i;
	char cmd[1024];

	for (i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
		snprintf(cmd, sizeof(cmd), "(%s) </dev/null >/dev/null 2>&1", work[i]);
		if (system(cmd) < 0)
			fail("system");
	}
	/* What the last one leaves to be done is, too. */
	usleep(500000);
}

/* Since the boot, for who wonders what takes so long. */
static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/*
 * Where what is read is what is executed (NPT), to go to a page with breakpoints and
 * back takes exits. On emulated hardware a timer interrupt that does so a hundred times
 * is not done when the next one comes.
 */
static void mark_hot(void)
{
	size_t from = 0, i, n;
	bool hot = false;

	for (i = 0; i < nr_functions; i++) {
		hot |= functions[i].background || functions[i].calls > MAX_CALLS;
		if (i + 1 < nr_functions &&
		    functions[i].address / PAGE == functions[i + 1].address / PAGE)
			continue;
		for (n = from; n <= i; n++)
			functions[n].hot = hot;
		from = i + 1;
		hot = false;
	}
}

/* The console is slow, and a CPU that does nothing but write there is not well. */
static void breathe(int n)
{
	if (n % 10 == 0)
		usleep(20000);
}

/* Have but those traced, whose numbers are quicker to find for the kernel than names. */
static void trace_chosen(void)
{
	static char numbers[64 * 1024];
	size_t i, nr = 0, len = 0;
	struct function *f;
	char line[512];
	const char *end;
	FILE *file;

	qsort(functions, nr_functions, sizeof(functions[0]), by_name);
	file = fopen(TRACING "available_filter_functions", "r");
	if (!file)
		fail("available_filter_functions");
	while (fgets(line, sizeof(line), file)) {
		struct function key = { .name = line };

		nr++;
		line[strcspn(line, "\n ")] = 0;
		f = bsearch(&key, functions, nr_functions, sizeof(key), by_name);
		if (f && !f->ambiguous && (f->chosen || !strcmp(line, BETWEEN)) &&
		    len < sizeof(numbers) - 16)
			len += sprintf(numbers + len, "%zu ", nr);
	}
	fclose(file);
	/* A page at a time is what it takes. */
	for (i = 0; i < len; i = end - numbers) {
		end = numbers + (len - i > 4000 ? i + 4000 : len);
		while (end[-1] != ' ')
			end--;
		file = fopen(TRACING "set_ftrace_filter", i ? "a" : "w");
		if (!file || fwrite(numbers + i, 1, end - numbers - i, file) !=
			     (size_t)(end - numbers - i) || fclose(file))
			fail("set_ftrace_filter");
	}
	qsort(functions, nr_functions, sizeof(functions[0]), by_address);
}

static void choose(int nr)
{
	int pass, n = 0, called = 0;
	struct function *f;
	size_t i;

	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < nr_functions; i++) {
			f = &functions[i];
			if (!pass && !strcmp(f->name, BETWEEN))
				printf("guest: symbol %llx T %s\n",
				       (unsigned long long)f->address, f->name);
			if (n == nr || f->chosen || f->ambiguous || f->hot ||
			    !strcmp(f->name, BETWEEN))
				continue;
			/* Those that are called come first. */
			if (!pass && !f->calls)
				continue;
			f->chosen = true;
			breathe(n++);
			called += !pass;
			printf("guest: function %llx T %s\n",
			       (unsigned long long)f->address, f->name);
		}
	}
	printf("guest: of %d functions %d are called\n", n, called);
}

int main(int argc, char **argv)
{
	volatile uint64_t *page;
	int nr, n = 0;
	size_t i;

	if (argc != 2)
		return 2;
	nr = atoi(argv[1]);
	self = getpid();
	setvbuf(stdout, NULL, _IOLBF, 0);
	calls = malloc(MAX_CALLS_ALL * sizeof(*calls));
	if (!calls)
		fail("malloc");
	page = fixed_page();
	page[0] = MARK;
	read_symbols();

	trace_set("tracing_on", "0");
	trace_set("buffer_size_kb", "32768");
	/* Counts: processors whose clocks differ agree on the order. */
	trace_set("trace_clock", "counter");
	printf("guest: begins to trace by %ld s\n", now());
	trace_set("current_tracer", "function");
	printf("guest: traces by %ld s\n", now());
	trace_set("tracing_on", "1");
	do_work();
	trace_set("tracing_on", "0");
	count_calls(false);
	printf("guest: ftrace has %zu calls by %ld s\n", nr_calls, now());
	mark_hot();
	choose(nr);

	trace_chosen();
	printf("guest: ready by %ld s\n", now());
	printf("guest: functions %d page 0x%llx\n", nr,
	       (unsigned long long)physical((void *)page));
	while (!page[1])
		asm volatile("pause");
	trace_set("tracing_on", "1");
	syscall(SYS_ioprio_get, 1, 0);
	do_work();
	syscall(SYS_ioprio_get, 1, 0);
	trace_set("tracing_on", "0");
	printf("guest: done by %ld s\n", now());
	count_calls(true);
	for (i = 0; i < nr_functions; i++)
		if (functions[i].chosen) {
			printf("guest: count %s %u\n", functions[i].name,
			       functions[i].calls);
			breathe(n++);
		}
	trace_set("current_tracer", "nop");
	trace_set("buffer_size_kb", "1");
	return 0;
}
