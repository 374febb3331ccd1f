// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi syscalls: the system calls of a Linux guest, from hidden breakpoints where
 * its kernel takes them up.
 *
 * There it has left the process's page tables and stack for its own, whichever way
 * the call came, and current is whose call it is: a child of vfork() is told from its
 * parent, whose page tables it has.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "linux.h"
#include "syscall_names.h"

/* So that a signal that comes a moment too early is noticed too. */
#define TICK_MS		200
#define NR_ARGS		6
#define COMM_LEN	16
#define X32_BIT		0x40000000U

/* struct pt_regs of x86-64, which never changes: ptrace(2) shows it. */
enum {
	PT_BP = 4, PT_BX, PT_R11, PT_R10, PT_R9, PT_R8, PT_AX, PT_CX, PT_DX,
	PT_SI, PT_DI, PT_ORIG_AX, PT_IP, PT_CS, PT_FLAGS, PT_SP, PT_SS, PT_WORDS,
};

#define PT_CALL64	{ PT_DI, PT_SI, PT_DX, PT_R10, PT_R8, PT_R9 }
#define PT_CALL32	{ PT_BX, PT_CX, PT_DX, PT_SI, PT_DI, PT_BP }

/* Where calls come by: the registers are the first argument of all these. */
static const struct gate {
	const char *symbol;
	const char *unless;	/* there is this one */
	bool nr_is_argument;	/* the second one */
	bool is_32bit;
	bool is_fast;		/* the last argument is on the stack */
	unsigned char nr;
	unsigned char args[NR_ARGS];
} gates[] = {
	{ "do_syscall_64", .nr_is_argument = true, .args = PT_CALL64 },
	{ "do_int80_syscall_32", .is_32bit = true, .nr = PT_ORIG_AX,
	  .args = PT_CALL32 },
	/*
	 * These have an exception's frame, where that is not the number. Where there
	 * are both, the second is what the CPU jumps to, and has no frame yet.
	 */
	{ "do_int80_emulation", .is_32bit = true, .nr = PT_AX, .args = PT_CALL32 },
	{ "int80_emulation", .unless = "do_int80_emulation", .is_32bit = true,
	  .nr = PT_AX, .args = PT_CALL32 },
	{ "do_fast_syscall_32", .is_32bit = true, .is_fast = true,
	  .nr = PT_ORIG_AX, .args = PT_CALL32 },
};

struct call {
	const struct gate *gate;
	int64_t nr;
	uint64_t args[NR_ARGS];
	uint32_t pid, tid;
	char comm[COMM_LEN + 1];
};

static struct {
	struct linux_guest guest;
	struct kvmi_breakpoints *set;
	bool json;
	bool one_pid;
	uint64_t pid;
	const char *comm;
	uint64_t max_calls, seconds;
	uint64_t start_ns;

	uint64_t gpa[ARRAY_SIZE(gates)];	/* 0: the guest has no such gate */
	uint64_t current;			/* per CPU */
	uint32_t tgid_at, pid_at, comm_at;	/* in struct task_struct */

	uint64_t calls, seen, unread;
} s;

static const char *call_name(const struct call *call)
{
	uint32_t nr = call->nr;

#define LOOK_UP(table)	\
	(nr < ARRAY_SIZE(table) && (table)[nr] ? (table)[nr] : NULL)
	if (call->gate->is_32bit)
		return LOOK_UP(names_32);
	if (nr & X32_BIT && call->nr >= 0) {
		nr &= ~X32_BIT;
		return LOOK_UP(names_x32);
	}
	return LOOK_UP(names_64);
#undef LOOK_UP
}

static bool read_all(const struct kvmi_space *space, struct kvmi_rw *list, size_t nr)
{
	return !kvmi_space_read_list(s.guest.vm, space, list, nr);
}

static struct kvmi_rw piece(uint64_t from, void *to, uint32_t len)
{
	return (struct kvmi_rw) { .addr = from, .buf = (uintptr_t)to, .len = len };
}

/* False: the guest's kernel is not as it has to be. */
static bool read_call(const struct kvmi_event *ev, struct call *call)
{
	const struct kvmi_x86_segments *segments = kvmi_event_segments(ev);
	const struct kvmi_x86_control *control = kvmi_event_control_regs(ev);
	const struct kvmi_x86_gprs *gprs = kvmi_event_gprs(ev);
	const struct gate *gate = call->gate;
	struct kvmi_space space = s.guest.space;
	uint64_t regs[PT_WORDS], task = 0;
	struct kvmi_rw list[3];
	unsigned int i;

	if (!segments || !control || !gprs)
		return false;
	space.root = control->cr3;
	list[0] = piece(gprs->r[KVMI_X86_RDI], regs, sizeof(regs));
	list[1] = piece(segments->gs.base + s.current, &task, sizeof(task));
	if (!read_all(&space, list, 2))
		return false;
	list[0] = piece(task + s.tgid_at, &call->pid, sizeof(call->pid));
	list[1] = piece(task + s.pid_at, &call->tid, sizeof(call->tid));
	list[2] = piece(task + s.comm_at, call->comm, COMM_LEN);
	if (!read_all(&space, list, 3))
		return false;

	call->nr = (int32_t)(gate->nr_is_argument ? gprs->r[KVMI_X86_RSI] :
			     regs[gate->nr]);
	for (i = 0; i < NR_ARGS; i++) {
		call->args[i] = regs[gate->args[i]];
		if (gate->is_32bit)
			call->args[i] = (uint32_t)call->args[i];
	}
	if (gate->is_fast) {
		uint32_t last = 0;

		/* The process may have no memory there: the call fails then. */
		list[0] = piece((uint32_t)regs[PT_SP], &last, sizeof(last));
		if (read_all(&space, list, 1))
			call->args[NR_ARGS - 1] = last;
	}
	return true;
}

static bool is_wanted(const struct call *call)
{
	if (s.one_pid && call->pid != s.pid)
		return false;
	/* The kernel has but so much of a name. */
	return !s.comm || !strncmp(call->comm, s.comm, COMM_LEN - 1);
}

static void show_json(const struct kvmi_event *ev, const struct call *call)
{
	const char *name = call_name(call);
	unsigned int i;

	json_begin();
	json_string("event", "syscall");
	json_number("vcpu", ev->vcpu);
	json_number("seq", ev->seq);
	json_number("time_ns", ev->time_ns);
	json_hex("tsc", ev->guest_tsc);
	json_number("pid", call->pid);
	json_number("tid", call->tid);
	json_string("comm", call->comm);
	json_number("bits", call->gate->is_32bit ? 32 : 64);
	/* As the guest has it: an int. */
	json_number("nr", (uint32_t)call->nr);
	if (name)
		json_string("name", name);
	json_open("args", '[');
	for (i = 0; i < NR_ARGS; i++)
		json_hex(NULL, call->args[i]);
	json_close(']');
	json_end();
}

static void show(const struct kvmi_event *ev, const struct call *call)
{
	uint64_t ns = ev->time_ns > s.start_ns ? ev->time_ns - s.start_ns : 0;
	const char *name = call_name(call), *c;
	unsigned int i;
	char task[32];

	s.calls++;
	if (s.json) {
		show_json(ev, call);
		return;
	}
	if (call->pid == call->tid)
		snprintf(task, sizeof(task), "%u", call->pid);
	else
		snprintf(task, sizeof(task), "%u/%u", call->pid, call->tid);
	printf("%4llu.%06llu  vcpu %u  %-7s ", ULL(ns / 1000000000),
	       ULL(ns % 1000000000 / 1000), ev->vcpu, task);
	/* It is the guest's to choose. */
	for (c = call->comm; *c; c++)
		putchar(*c >= ' ' && *c <= '~' ? *c : '?');
	printf("%*s", (int)(COMM_LEN - (c - call->comm)), "");
	if (call->gate->is_32bit)
		fputs("32:", stdout);
	if (name)
		fputs(name, stdout);
	else
		printf("syscall_%lld", (long long)call->nr);
	for (i = 0; i < NR_ARGS; i++)
		printf("%s0x%llx", i ? ", " : "(", ULL(call->args[i]));
	puts(")");
}

/* Finding the gates ------------------------------------------------------------- */

static int find_gates(void)
{
	struct kvmi_translation tr;
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(gates); i++) {
		uint64_t function = linux_symbol(&s.guest, gates[i].symbol);

		if (!function || (gates[i].unless &&
				  linux_symbol(&s.guest, gates[i].unless)))
			continue;
		ret = kvmi_space_translate(s.guest.vm, &s.guest.space,
					   linux_entry(&s.guest, function), &tr);
		if (ret)
			return failed(ret);
		s.gpa[i] = tr.out_gpa;
	}
	if (s.gpa[0])
		return EXIT_OK;
	fprintf(stderr, "kvmi: cannot see system calls: there is no symbol %s\n",
		gates[0].symbol);
	return EXIT_ERROR;
}

static int find_current(void)
{
	uint32_t offset = 0;

	s.current = linux_symbol(&s.guest, "pcpu_hot");
	if (s.current) {
		if (!linux_offset(&s.guest, "pcpu_hot", "current_task", &offset))
			return EXIT_ERROR;
	} else {
		s.current = linux_symbol(&s.guest, "current_task");
	}
	if (!s.current) {
		fputs("kvmi: cannot tell processes: there is no symbol pcpu_hot or current_task\n",
		      stderr);
		return EXIT_ERROR;
	}
	s.current += offset;
	if (!linux_offset(&s.guest, "task_struct", "tgid", &s.tgid_at) ||
	    !linux_offset(&s.guest, "task_struct", "pid", &s.pid_at) ||
	    !linux_offset(&s.guest, "task_struct", "comm", &s.comm_at))
		return EXIT_ERROR;
	return EXIT_OK;
}

static int find_kernel(const char *symbols, const char *btf)
{
	static struct symbol wanted[ARRAY_SIZE(gates) + 2] = {
		{ .name = "pcpu_hot" }, { .name = "current_task" },
	};
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(gates); i++)
		wanted[i + 2].name = gates[i].symbol;
	s.guest.symbols = wanted;
	s.guest.nr_symbols = ARRAY_SIZE(wanted);
	ret = linux_open(&s.guest, symbols);
	if (!ret)
		ret = linux_open_btf(&s.guest, btf);
	return ret ?: find_current();
}

static int set_breakpoints(void)
{
	unsigned int i;
	int ret;

	ret = kvmi_breakpoints_open(s.guest.vm, &s.set);
	if (!ret)
		ret = kvmi_event_watch(s.guest.vm, KVMI_VCPU_ALL,
				       KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC,
				       KVMI_REGS_GENERAL | KVMI_REGS_CONTROL |
				       KVMI_REGS_SEGMENT);
	for (i = 0; i < ARRAY_SIZE(gates) && !ret; i++)
		if (s.gpa[i])
			ret = kvmi_breakpoints_add(s.set, s.gpa[i]);
	return ret ? failed(ret) : EXIT_OK;
}

/* The loop ---------------------------------------------------------------------- */

static bool is_over(void)
{
	return interrupted || (s.max_calls && s.calls >= s.max_calls) ||
	       (s.seconds && now_ns() - s.start_ns >= s.seconds * 1000000000ULL);
}

static int on_hit(const struct kvmi_event *ev, uint64_t gpa)
{
	struct call call = { };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(gates); i++)
		if (s.gpa[i] == gpa)
			call.gate = &gates[i];
	if (!call.gate)
		return 0;
	s.seen++;
	if (!read_call(ev, &call))
		s.unread++;
	else if (is_wanted(&call))
		show(ev, &call);
	return 0;
}

/* 0 when it is to end, 1 when the VM did, or -errno. */
static int loop(void)
{
	const struct kvmi_event *ev;
	int ret;

	while (!is_over()) {
		/* Print before going to sleep, and not once a line. */
		ret = kvmi_event_wait(s.guest.vm, &ev, 0);
		if (!ret) {
			if (fflush(stdout))
				return 0;
			ret = kvmi_event_wait(s.guest.vm, &ev, TICK_MS);
		}
		if (ret > 0)
			ret = linux_answer(&s.guest, s.set, ev, on_hit);
		if (ret == -ENODEV)
			return 1;
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	return 0;
}

/* From now on none is missed. */
static void begin(const char *spec)
{
	if (!s.json) {
		fprintf(stderr, "kvmi: attached to %s; ^C ends it\n", spec);
		return;
	}
	json_begin();
	json_string("event", "begin");
	json_end();
	fflush(stdout);
}

static void summary(bool gone)
{
	fflush(stdout);
	if (s.json) {
		json_begin();
		json_string("event", "end");
		json_number("events", s.calls);
		json_number("seen", s.seen);
		json_number("unread", s.unread);
		json_bool("vm_gone", gone);
		json_end();
		fflush(stdout);
		return;
	}
	fprintf(stderr, "kvmi: %llu system calls in %.1f s, of %llu", ULL(s.calls),
		(now_ns() - s.start_ns) / 1e9, ULL(s.seen));
	if (s.unread)
		fprintf(stderr, ", of which %llu could not be read", ULL(s.unread));
	fprintf(stderr, "; %s\n", gone ? "the VM has ended" : "detached");
}

static int run(const char *spec, const char *symbols, const char *btf)
{
	int ret;

	catch_signals();
	ret = attach(spec, &s.guest.vm);
	if (ret)
		return ret;
	ret = find_kernel(symbols, btf);
	if (!ret)
		ret = find_gates();
	s.start_ns = now_ns();
	if (!ret)
		ret = set_breakpoints();
	if (!ret) {
		begin(spec);
		ret = loop();
		summary(ret > 0);
		ret = ret < 0 ? failed(ret) : EXIT_OK;
	}
	kvmi_breakpoints_close(s.set);
	/* Ends the session: everything armed is withdrawn. */
	kvmi_vm_close(s.guest.vm);
	linux_close(&s.guest);
	return ret;
}

int cmd_syscalls(int argc, char **argv)
{
	static const struct option options[] = {
		{ "symbols", required_argument, NULL, 's' },
		{ "btf", required_argument, NULL, 'b' },
		{ "pid", required_argument, NULL, 'p' },
		{ "comm", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ }
	};
	const char *symbols = NULL, *btf = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "n:d:", options, NULL)) >= 0) {
		switch (opt) {
		case 's':
			symbols = optarg;
			break;
		case 'b':
			btf = optarg;
			break;
		case 'p':
			if (!parse_number(optarg, &s.pid) || s.pid > INT32_MAX)
				return usage_error("%s is no process id", optarg);
			s.one_pid = true;
			break;
		case 'c':
			s.comm = optarg;
			break;
		case 'j':
			s.json = true;
			break;
		case 'n':
			if (!parse_number(optarg, &s.max_calls))
				return usage_error("%s is no number", optarg);
			break;
		case 'd':
			if (!parse_number(optarg, &s.seconds) ||
			    s.seconds > 1000000000)
				return usage_error("%s is no time", optarg);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1)
		return usage_error("kvmi syscalls VM");
	return run(argv[optind], symbols, btf);
}
