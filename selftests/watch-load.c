// SPDX-License-Identifier: GPL-2.0-only
/*
 * watch-load: watch a guest at work, heavily, and see that no event is lost or
 * doubled without being counted; for scripts.
 *
 * usage: watch-load VM MODE SECONDS [FIRST LAST]
 *
 * MODE:
 *	usual	CR3, the MSRs of SYSCALL, CPUID and page faults, all answered
 *	all	every kind at once, asynchronous
 *	step	vCPU 0 executes 100,000 instructions one by one, and others run;
 *		in five parts, with time between for what it owes the others (a
 *		guest that gets to nothing but its timer says so after a while)
 *	views	the guest runs on eight views, of which each watches 500 pages for
 *		writes; vCPUs go from one to another every few milliseconds, and
 *		the pages change. Now and then the views are compared with KVM's
 *		tables. On all of them, writes to the kernel's code are watched, which
 *		is in the physical addresses from FIRST to LAST
 *
 * Prints "watch-load: MODE EVENTS events, DROPPED dropped, LOST lost, DOUBLED
 * doubled"; status 0: none is lost or doubled, and there were some.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <kvmi.h>

#define MAX_VCPUS	64
#define STEP_PARTS	5
#define STEPS		20000
#define BREAK_US	800000

#define NR_VIEWS	8
#define NR_PAGES	500
#define SWITCH_S	0.004
/* In switches. */
#define ROTATE		8
#define CHECK		64

#define RW		(KVMI_ACCESS_R | KVMI_ACCESS_W)
#define NR(a)		(sizeof(a) / sizeof((a)[0]))

struct wish {
	uint32_t kind, first, last, access;
};

static const struct wish usual[] = {
	{ KVMI_EVENT_X86_CR, 3, 3, KVMI_ACCESS_W },
	{ KVMI_EVENT_X86_MSR, 0xc0000081, 0, KVMI_ACCESS_W },
	{ KVMI_EVENT_X86_MSR, 0xc0000082, 0, KVMI_ACCESS_W },
	{ KVMI_EVENT_X86_MSR, 0xc0000084, 0, KVMI_ACCESS_W },
	{ KVMI_EVENT_X86_CPUID, 0, 0, 0 },
	{ KVMI_EVENT_X86_EXCEPTION, 14, 14, 0 },
};

/* Of instructions all but those that a guest executes all the time. */
static const struct wish all[] = {
	{ KVMI_EVENT_X86_CR, 0, 8, KVMI_ACCESS_W },
	{ KVMI_EVENT_X86_CR, 3, 3, RW },
	{ KVMI_EVENT_X86_CR, 8, 8, RW },
	{ KVMI_EVENT_X86_MSR, 0xc0000080, 0, RW },
	{ KVMI_EVENT_X86_MSR, 0xc0000081, 0, RW },
	{ KVMI_EVENT_X86_MSR, 0xc0000082, 0, RW },
	{ KVMI_EVENT_X86_MSR, 0xc0000101, 0, RW },
	{ KVMI_EVENT_X86_CPUID, 0, 0, 0 },
	{ KVMI_EVENT_X86_XSETBV, 0, 0, 0 },
	{ KVMI_EVENT_X86_DR, 0, 7, RW },
	{ KVMI_EVENT_X86_EXCEPTION, 0, 31, 0 },
	{ KVMI_EVENT_BREAKPOINT, 0, 0, 0 },
	{ KVMI_EVENT_X86_DTABLE, 0, 3, RW },
	{ KVMI_EVENT_X86_IO, 0, 0xffff, RW },
	{ KVMI_EVENT_X86_INSN, 0, KVMI_X86_NR_INSNS - 1, 0 },
	{ KVMI_EVENT_HYPERCALL, 0, 0xffffffff, 0 },
	{ KVMI_EVENT_X86_DELIVERY, 1, 4, 0 },
	{ KVMI_EVENT_VCPU, 1, 7, 0 },
	{ KVMI_EVENT_VM, 1, 8, 0 },
};

static const struct wish accesses[] = {
	{ KVMI_EVENT_ACCESS, 0, 0, 0 },
};

static const struct wish stepping[] = {
	{ KVMI_EVENT_STEP, 0, 0, 0 },
};

static volatile sig_atomic_t stop;

static void stop_handler(int sig)
{
	(void)sig;
	stop = 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	fprintf(stderr, "watch-load: %s: %s\n", what, kvmi_error_message());
	return 1;
}

static int ask(struct kvmi_vm *vm, const struct wish *w, unsigned int vcpu,
	       unsigned int mode)
{
	struct kvmi_control_event ctl = {
		.vcpu = w->kind == KVMI_EVENT_VM ? KVMI_VCPU_VM : vcpu,
		.kind = w->kind,
		.mode = mode,
		.index = w->first,
		.index_last = w->last == w->first ? 0 : w->last,
		.access = w->access,
	};

	return kvmi_event_control(vm, &ctl);
}

/* By vCPU; the VM's own ring comes last. */
static uint64_t seq[MAX_VCPUS + 1];
static uint64_t nr_events, gaps, doubled;

static void note(const struct kvmi_event *ev)
{
	unsigned int i = ev->vcpu < MAX_VCPUS ? ev->vcpu : MAX_VCPUS;

	nr_events++;
	if (ev->seq <= seq[i])
		doubled++;
	else
		gaps += ev->seq - seq[i] - 1;
	seq[i] = ev->seq;
}

static int serve(struct kvmi_vm *vm, double end, uint64_t most)
{
	const struct kvmi_event *ev;
	int ret;

	while (!stop && now() < end && (!most || nr_events < most)) {
		ret = kvmi_event_wait(vm, &ev, 200);
		if (ret == -ENODEV)
			return 0;
		if (ret < 0 && ret != -EINTR)
			return fail("wait");
		if (ret <= 0)
			continue;
		note(ev);
		if (kvmi_event_reply(vm, ev, KVMI_ACTION_CONTINUE) < 0)
			return fail("reply");
	}
	return 0;
}

static struct {
	uint32_t view;
	struct kvmi_access_range pages[NR_PAGES];
} views[NR_VIEWS];

/* The guest's RAM: its largest slot. */
static int find_memory(struct kvmi_vm *vm, struct kvmi_slot *ram)
{
	struct kvmi_slot slots[64];
	int n = kvmi_vm_get_slots(vm, slots, NR(slots)), i;

	if (n < 0)
		return fail("slots");
	memset(ram, 0, sizeof(*ram));
	for (i = 0; i < n && i < (int)NR(slots); i++)
		if (slots[i].nr_pages > ram->nr_pages)
			*ram = slots[i];
	return 0;
}

/* The kernel's code, if the guest has said where it is. */
static struct kvmi_access_range text = { .access = KVMI_ACCESS_R | KVMI_ACCESS_X };
static uint64_t nr_text;

static bool is_text(uint64_t gfn)
{
	return gfn >= text.gfn && gfn - text.gfn < text.nr_pages;
}

static int watch_others(struct kvmi_vm *vm, unsigned int v,
			const struct kvmi_slot *ram)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES && views[v].pages[i].nr_pages; i++)
		views[v].pages[i].access = KVMI_ACCESS_DEFAULT;
	if (i && kvmi_view_set_ranges(vm, views[v].view, views[v].pages, NR_PAGES,
				      NULL))
		return fail("access");
	for (i = 0; i < NR_PAGES; i++) {
		do
			views[v].pages[i].gfn = ram->gfn + rand() % ram->nr_pages;
		while (is_text(views[v].pages[i].gfn));
		views[v].pages[i].nr_pages = 1;
		views[v].pages[i].access = KVMI_ACCESS_R | KVMI_ACCESS_X;
	}
	if (kvmi_view_set_ranges(vm, views[v].view, views[v].pages, NR_PAGES, NULL))
		return fail("access");
	return 0;
}

static int answer_one_of(struct kvmi_vm *vm, const struct kvmi_event *ev)
{
	struct kvmi_reply reply;

	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	switch (rand() % 3) {
	case 0:
		kvmi_reply_fast_step(&reply, KVMI_VIEW_DEFAULT);
		break;
	case 1:
		kvmi_reply_set_view(&reply, KVMI_VIEW_DEFAULT);
		break;
	default:
		kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	}
	return kvmi_event_answer(vm, ev, &reply);
}

static int switch_one(struct kvmi_vm *vm, unsigned int nr_vcpus)
{
	unsigned int v = rand() % (NR_VIEWS + 1);

	return kvmi_view_switch(vm, rand() % nr_vcpus,
				v < NR_VIEWS ? views[v].view : KVMI_VIEW_DEFAULT) ?
	       fail("switch") : 0;
}

static int check_views(struct kvmi_vm *vm, uint64_t *leaves)
{
	struct kvmi_view_check check;

	if (kvmi_view_check(vm, KVMI_VIEW_ALL, &check))
		return fail("check");
	*leaves += check.out_leaves;
	if (!check.out_wrong)
		return 0;
	fprintf(stderr, "watch-load: %llu of %llu leaves are wrong, the first at gfn %#llx\n",
		(unsigned long long)check.out_wrong,
		(unsigned long long)check.out_leaves,
		(unsigned long long)check.out_gfn);
	return 1;
}

static int serve_views(struct kvmi_vm *vm, double end)
{
	unsigned int nr_switches = 0, v;
	const struct kvmi_event *ev;
	struct kvmi_info info;
	struct kvmi_slot ram;
	uint64_t leaves = 0;
	double next = now();
	int ret;

	if (kvmi_vm_get_info(vm, &info) || find_memory(vm, &ram))
		return fail("info");
	for (v = 0; v < NR_VIEWS; v++)
		if (kvmi_view_create(vm, KVMI_ACCESS_RWX, &views[v].view) ||
		    (text.nr_pages && kvmi_view_set_ranges(vm, views[v].view, &text,
							   1, NULL)) ||
		    watch_others(vm, v, &ram))
			return fail("view");
	while (!stop && now() < end) {
		ret = kvmi_event_wait(vm, &ev, 2);
		if (ret == -ENODEV)
			return 0;
		if (ret < 0 && ret != -EINTR)
			return fail("wait");
		if (ret > 0) {
			note(ev);
			if (ev->kind == KVMI_EVENT_ACCESS)
				nr_text += is_text(kvmi_event_access(ev)->gpa >> 12);
			if (answer_one_of(vm, ev) < 0)
				return fail("reply");
		}
		if (now() < next)
			continue;
		next = now() + SWITCH_S;
		nr_switches++;
		if (switch_one(vm, info.out_nr_vcpus) ||
		    (nr_switches % ROTATE == 0 &&
		     watch_others(vm, rand() % NR_VIEWS, &ram)) ||
		    (nr_switches % CHECK == 0 && check_views(vm, &leaves)))
			return 1;
	}
	ret = check_views(vm, &leaves);
	printf("watch-load: views %u switches, %llu leaves compared, ", nr_switches,
	       (unsigned long long)leaves);
	printf("%llu writes to the kernel's code\n", (unsigned long long)nr_text);
	for (v = 0; v < NR_VIEWS; v++)
		if (kvmi_view_destroy(vm, views[v].view))
			return fail("destroy");
	return ret;
}

/* What is in the rings still, when nothing comes any more. */
static void drain(struct kvmi_vm *vm)
{
	const struct kvmi_event *ev;

	while (kvmi_event_wait(vm, &ev, 100) > 0) {
		note(ev);
		kvmi_event_reply(vm, ev, KVMI_ACTION_CONTINUE);
	}
}

int main(int argc, char **argv)
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.ring_size = 1 << 20,
	};
	const struct wish *wishes = usual;
	unsigned int mode = KVMI_MODE_SYNC, vcpu = KVMI_VCPU_ALL;
	size_t nr = NR(usual), i;
	unsigned int parts = 1;
	uint64_t dropped, lost;
	bool step = false, on_views = false;
	struct kvmi_vm *vm;
	int tries, ret;
	double end;

	if (argc != 4 && argc != 6) {
		fprintf(stderr,
			"usage: watch-load VM usual|all|step|views SECONDS [FIRST LAST]\n");
		return 2;
	}
	if (argc == 6) {
		text.gfn = strtoull(argv[4], NULL, 0) >> 12;
		text.nr_pages = (strtoull(argv[5], NULL, 0) >> 12) - text.gfn + 1;
	}
	if (!strcmp(argv[2], "all")) {
		wishes = all;
		nr = NR(all);
		mode = KVMI_MODE_ASYNC;
	} else if (!strcmp(argv[2], "step")) {
		wishes = stepping;
		nr = NR(stepping);
		vcpu = 0;
		step = true;
		parts = STEP_PARTS;
	} else if (!strcmp(argv[2], "views")) {
		wishes = accesses;
		nr = NR(accesses);
		on_views = true;
	}
	signal(SIGTERM, stop_handler);
	signal(SIGINT, stop_handler);

	/* It may be starting up: from its first instruction on, if possible. */
	for (tries = 0; ; tries++) {
		ret = kvmi_vm_attach(argv[1], &options, &vm);
		if (!ret)
			break;
		if (tries == 600)
			return fail("attach");
		usleep(50000);
	}
	for (end = now() + atoi(argv[3]); parts && !stop && now() < end; parts--) {
		for (i = 0; i < nr; i++)
			if (ask(vm, &wishes[i], vcpu, mode))
				return fail("control");
		ret = on_views ? serve_views(vm, end) :
				 serve(vm, end, step ? nr_events + STEPS : 0);
		if (ret)
			return ret;
		for (i = 0; i < nr; i++)
			ask(vm, &wishes[i], vcpu, KVMI_MODE_OFF);
		drain(vm);
		if (step)
			usleep(BREAK_US);
	}
	dropped = kvmi_event_dropped(vm);
	/* Those behind the last record leave no gap. */
	lost = gaps > dropped ? gaps - dropped : 0;
	printf("watch-load: %s %llu events, %llu dropped, %llu lost, %llu doubled\n",
	       argv[2], (unsigned long long)nr_events, (unsigned long long)dropped,
	       (unsigned long long)lost, (unsigned long long)doubled);
	kvmi_vm_close(vm);
	return lost || doubled || !nr_events;
}
