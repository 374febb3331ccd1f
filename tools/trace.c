// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi trace and kvmi step: what a VM does, as it happens.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#define PAGE_SIZE	4096ULL
#define MAX_WATCHES	64
#define MAX_VCPUS	1024
/* So that a signal that comes a moment too early is noticed too. */
#define TICK_MS		200
/* How long a new VM is held until it is looked at and attached to. */
#define HOLD_MS		60000

/* mem:ADDRESS[+LENGTH][:rwx] */
struct mem_watch {
	uint64_t gpa;
	uint64_t len;
	uint32_t access;
};

/* A write whose effect is seen after the next step of its vCPU. */
struct pending {
	bool active;
	struct kvmi_event event;
	struct kvmi_ev_access access;
	uint64_t rip;
	uint64_t old;
	unsigned int bytes;	/* of old; 0 if it could not be read */
};

static struct {
	struct kvmi_vm *vm;
	struct kvmi_caps caps;
	bool json, async, wait_new;
	uint32_t vcpu;
	uint64_t max_events;
	uint64_t seconds;

	bool cr[16], cpuid, bp, step;
	struct {
		uint32_t index;
		uint32_t access;
	} msr[MAX_WATCHES];
	unsigned int nr_msrs;
	struct mem_watch mem[MAX_WATCHES];
	unsigned int nr_mem;

	uint32_t view;
	struct pending *pending;
	uint64_t start_ns;
	uint64_t count[KVMI_NR_KINDS];
	uint64_t total;
} t;

/* "rw" and so on; 0 if it is something else. */
static uint32_t parse_access(const char *s, const char *end)
{
	uint32_t access = 0;

	for (; s < end; s++) {
		switch (*s) {
		case 'r':
			access |= KVMI_ACCESS_R;
			break;
		case 'w':
			access |= KVMI_ACCESS_W;
			break;
		case 'x':
			access |= KVMI_ACCESS_X;
			break;
		default:
			return 0;
		}
	}
	return access;
}

static bool parse_span(const char *s, const char *end, uint64_t *value)
{
	char buf[32];

	if (s >= end || end - s >= (long)sizeof(buf))
		return false;
	memcpy(buf, s, end - s);
	buf[end - s] = 0;
	return parse_number(buf, value);
}

static bool add_msr(uint32_t index, uint32_t access)
{
	if (t.nr_msrs == MAX_WATCHES)
		return false;
	t.msr[t.nr_msrs].index = index;
	t.msr[t.nr_msrs++].access = access;
	return true;
}

/* What an operating system sets up for system calls, and malware changes. */
static bool add_usual_msrs(void)
{
	static const uint32_t usual[] = {
		0x174, 0x175, 0x176, 0x277, 0xc0000080, 0xc0000081, 0xc0000082,
		0xc0000083, 0xc0000084,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(usual); i++)
		if (!add_msr(usual[i], KVMI_ACCESS_W))
			return false;
	return true;
}

/* MSR[:rw] between @s and @end */
static bool parse_msr(const char *s, const char *end)
{
	const char *colon = memchr(s, ':', end - s);
	uint32_t access = KVMI_ACCESS_W;
	const char *stop = colon ? colon : end;
	uint64_t number;
	uint32_t index;

	if (colon) {
		access = parse_access(colon + 1, end);
		if (!access || access & KVMI_ACCESS_X)
			return false;
	}
	if (!msr_by_name(s, stop - s, &index)) {
		if (!parse_span(s, stop, &number) || number > UINT32_MAX)
			return false;
		index = number;
	}
	return add_msr(index, access);
}

/* ADDRESS[+LENGTH][:rwx] between @s and @end */
static bool parse_mem(const char *s, const char *end)
{
	const char *colon = memchr(s, ':', end - s);
	const char *stop = colon ? colon : end;
	const char *plus = memchr(s, '+', stop - s);
	struct mem_watch *w = &t.mem[t.nr_mem];

	if (t.nr_mem == MAX_WATCHES)
		return false;
	w->access = KVMI_ACCESS_W;
	if (colon) {
		w->access = parse_access(colon + 1, end);
		if (!w->access)
			return false;
	}
	if (!parse_span(s, plus ? plus : stop, &w->gpa))
		return false;
	/* Without a length: the whole page. */
	if (!plus) {
		w->gpa &= ~(PAGE_SIZE - 1);
		w->len = PAGE_SIZE;
	} else if (!parse_span(plus + 1, stop, &w->len) || !w->len ||
		   w->gpa + w->len < w->gpa) {
		return false;
	}
	t.nr_mem++;
	return true;
}

static bool parse_event(const char *s, const char *end)
{
	size_t len = end - s;

#define IS(text)	(len == strlen(text) && !strncmp(s, text, len))
#define BEGINS(text)	(len > strlen(text) && !strncmp(s, text, strlen(text)))
	if (IS("cr3"))
		t.cr[3] = true;
	else if (IS("cr4"))
		t.cr[4] = true;
	else if (IS("cpuid"))
		t.cpuid = true;
	else if (IS("bp"))
		t.bp = true;
	else if (IS("step"))
		t.step = true;
	else if (IS("msr"))
		return add_usual_msrs();
	else if (BEGINS("msr:"))
		return parse_msr(s + 4, end);
	else if (BEGINS("mem:"))
		return parse_mem(s + 4, end);
	else
		return false;
	return true;
#undef IS
#undef BEGINS
}

static int parse_events(const char *s)
{
	while (*s) {
		const char *end = s + strcspn(s, ",");

		if (!parse_event(s, end))
			return usage_error("%.*s is no event, or one too many",
					   (int)(end - s), s);
		s = *end ? end + 1 : end;
	}
	return 0;
}

/* Output ------------------------------------------------------------------- */

static uint64_t rip_of(const struct kvmi_event *ev)
{
	const struct kvmi_x86_gprs *gprs = kvmi_event_gprs(ev);

	return gprs ? gprs->r[KVMI_X86_RIP] : 0;
}

#define ULL(x)	((unsigned long long)(x))

/* The columns that all lines have. */
static void begin(const struct kvmi_event *ev, const char *name, uint64_t rip)
{
	uint64_t ns = ev->time_ns > t.start_ns ? ev->time_ns - t.start_ns : 0;

	t.total++;
	if (ev->kind < KVMI_NR_KINDS)
		t.count[ev->kind]++;
	if (t.json) {
		json_begin();
		json_string("event", kvmi_event_name(ev->kind));
		json_number("vcpu", ev->vcpu);
		json_number("seq", ev->seq);
		json_number("time_ns", ev->time_ns);
		json_hex("tsc", ev->guest_tsc);
		json_bool("sync", kvmi_event_is_sync(ev));
		if (rip)
			json_hex("rip", rip);
		return;
	}
	printf("%4llu.%06llu  vcpu %u  %-6s", ULL(ns / 1000000000),
	       ULL(ns % 1000000000 / 1000), ev->vcpu, name);
}

static void end(uint64_t rip)
{
	if (t.json) {
		json_end();
		return;
	}
	if (rip)
		printf("  at %llx", ULL(rip));
	putchar('\n');
}

static void show_cr(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_cr *cr = kvmi_event_cr(ev);
	char name[8];

	if (!cr)
		return;
	snprintf(name, sizeof(name), "cr%u", cr->cr % 16);
	begin(ev, name, rip_of(ev));
	if (t.json) {
		json_number("cr", cr->cr);
		json_hex("old", cr->old);
		json_hex("new", cr->new_value);
	} else {
		/* Bit 63 of CR3 only says that no TLB flush is wanted. */
		printf("  %llx -> %llx", ULL(cr->old),
		       ULL(cr->new_value &
			   (cr->cr == 3 ? ~(1ULL << 63) : ~0ULL)));
	}
	end(rip_of(ev));
}

static void show_msr(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_msr *msr = kvmi_event_msr(ev);
	const char *name;
	bool write, old;

	if (!msr)
		return;
	name = msr_name(msr->index);
	write = msr->flags & KVMI_X86_MSR_WRITE;
	old = msr->flags & KVMI_X86_MSR_OLD;
	begin(ev, write ? "wrmsr" : "rdmsr", rip_of(ev));
	if (t.json) {
		json_hex("msr", msr->index);
		if (name)
			json_string("name", name);
		json_bool("write", write);
		if (old)
			json_hex("old", msr->old);
		if (write)
			json_hex("new", msr->new_value);
	} else {
		printf("  %x", msr->index);
		if (name)
			printf(" (%s)", name);
		if (old)
			printf("  %llx", ULL(msr->old));
		if (write)
			printf(" -> %llx", ULL(msr->new_value));
	}
	end(rip_of(ev));
}

static void show_cpuid(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_cpuid *cpuid = kvmi_event_cpuid(ev);

	if (!cpuid)
		return;
	begin(ev, "cpuid", rip_of(ev));
	if (t.json) {
		json_hex("function", cpuid->function);
		json_hex("index", cpuid->index);
	} else {
		printf("  %x.%x", cpuid->function, cpuid->index);
	}
	end(rip_of(ev));
}

static void show_bp(const struct kvmi_event *ev)
{
	const struct kvmi_ev_breakpoint *bp = kvmi_event_breakpoint(ev);

	if (!bp)
		return;
	begin(ev, "int3", bp->pc);
	end(bp->pc);
}

static void show_step(const struct kvmi_event *ev)
{
	const struct kvmi_ev_step *step = kvmi_event_step(ev);

	if (!step)
		return;
	begin(ev, "step", step->pc);
	if (t.json)
		json_bool("emulated", step->flags & KVMI_STEP_F_EMULATED);
	end(step->pc);
}

static void show_access(const struct pending *p, bool have_new, uint64_t now)
{
	const struct kvmi_ev_access *a = &p->access;
	char rwx[4] = "---";

	if (a->access & KVMI_ACCESS_R)
		rwx[0] = 'r';
	if (a->access & KVMI_ACCESS_W)
		rwx[1] = 'w';
	if (a->access & KVMI_ACCESS_X)
		rwx[2] = 'x';
	begin(&p->event, "mem", p->rip);
	if (t.json) {
		json_hex("gpa", a->gpa);
		if (a->flags & KVMI_ACCESS_F_GVA)
			json_hex("gva", a->gva);
		json_string("access", rwx);
		json_bool("walk", a->flags & KVMI_ACCESS_F_WALK);
		if (have_new) {
			json_number("bytes", p->bytes);
			json_hex("old", p->old);
			json_hex("new", now);
		}
	} else {
		printf("  %s %llx", rwx, ULL(a->gpa));
		if (have_new)
			printf("  %0*llx -> %0*llx", p->bytes * 2, ULL(p->old),
			       p->bytes * 2, ULL(now));
		if (a->flags & KVMI_ACCESS_F_WALK)
			fputs("  (page walk)", stdout);
	}
	end(p->rip);
}

/* Page access ---------------------------------------------------------------- */

/* Up to eight bytes at @gpa, not beyond its page; how many. */
static unsigned int peek(uint64_t gpa, uint64_t *value)
{
	uint64_t room = PAGE_SIZE - gpa % PAGE_SIZE;
	size_t n = room < 8 ? room : 8;

	*value = 0;
	if (kvmi_vm_read(t.vm, gpa, value, n) != (ssize_t)n)
		return 0;
	return n;
}

static bool is_watched(const struct kvmi_ev_access *a)
{
	unsigned int i;

	for (i = 0; i < t.nr_mem; i++) {
		const struct mem_watch *w = &t.mem[i];

		/*
		 * The access tells its first byte, not its size: one that
		 * begins up to 7 bytes before may reach into the range.
		 */
		if (a->access & w->access && a->gpa + 7 >= w->gpa &&
		    a->gpa < w->gpa + w->len)
			return true;
	}
	return false;
}

/*
 * A denied access: one step on the default view, after which the new value is
 * there to be shown; then back. Without steps, and for what is not shown, the
 * kernel lets the access happen by itself.
 */
static void on_access(const struct kvmi_event *ev, struct kvmi_reply *reply)
{
	const struct kvmi_ev_access *a = kvmi_event_access(ev);
	struct pending *p = &t.pending[ev->vcpu];

	if (!a)
		return;
	p->event = *ev;
	p->access = *a;
	p->rip = rip_of(ev);
	if (!is_watched(a))
		return;
	if (!kvmi_event_is_sync(ev) || !(a->access & KVMI_ACCESS_W) ||
	    !(t.caps.out_features & KVMI_FEATURE_STEP)) {
		show_access(p, false, 0);
		return;
	}
	p->bytes = peek(a->gpa, &p->old);
	p->active = true;
	kvmi_reply_init(reply, KVMI_ACTION_RETRY);
	kvmi_reply_set_view(reply, KVMI_VIEW_DEFAULT);
	kvmi_reply_step(reply);
}

/* Whether the step was that of a pending access. */
static bool on_step(const struct kvmi_event *ev, struct kvmi_reply *reply)
{
	struct pending *p = &t.pending[ev->vcpu];
	bool have_new;
	uint64_t now;

	if (!p->active)
		return false;
	p->active = false;
	have_new = p->bytes && peek(p->access.gpa, &now) == p->bytes;
	/*
	 * AMD's page walks count as writes whether they change a page-table
	 * entry or not.
	 */
	if (!have_new || !(p->access.flags & KVMI_ACCESS_F_WALK) ||
	    now != p->old)
		show_access(p, have_new, now);
	kvmi_reply_init(reply, KVMI_ACTION_CONTINUE);
	kvmi_reply_set_view(reply, t.view);
	return true;
}

/* The rights that are left, as this CPU can express them. */
static int rights_left(uint32_t watched, uint32_t *left)
{
	*left = KVMI_ACCESS_RWX & ~watched;
	if (t.caps.out_access & 1U << *left)
		return 0;
	/* No write without read; no execute without read on some. */
	if (!(*left & KVMI_ACCESS_R))
		*left = *left & KVMI_ACCESS_X &&
			t.caps.out_access & 1U << KVMI_ACCESS_X ?
			KVMI_ACCESS_X : 0;
	if (t.caps.out_access & 1U << *left)
		return 0;
	fputs("kvmi: this CPU cannot watch that kind of access\n", stderr);
	return EXIT_UNSUPPORTED;
}

static int watch_memory(enum kvmi_event_mode mode)
{
	unsigned int i;
	uint32_t left;
	int ret;

	ret = kvmi_view_create(t.vm, KVMI_ACCESS_RWX, &t.view);
	if (ret)
		return failed(ret);
	for (i = 0; i < t.nr_mem; i++) {
		const struct mem_watch *w = &t.mem[i];
		uint64_t gfn = w->gpa / PAGE_SIZE;
		uint64_t last = (w->gpa + w->len - 1) / PAGE_SIZE;
		uint32_t watched;

		/* Pages may be in several ranges. */
		for (; gfn <= last; gfn++) {
			unsigned int j;

			for (watched = 0, j = 0; j < t.nr_mem; j++)
				if (gfn >= t.mem[j].gpa / PAGE_SIZE &&
				    gfn <= (t.mem[j].gpa + t.mem[j].len - 1) /
					   PAGE_SIZE)
					watched |= t.mem[j].access;
			ret = rights_left(watched, &left);
			if (ret)
				return ret;
			ret = kvmi_view_set_access(t.vm, t.view, gfn, 1, left);
			if (ret)
				return failed(ret);
		}
	}
	ret = kvmi_event_watch(t.vm, t.vcpu, KVMI_EVENT_ACCESS, mode,
			       KVMI_REGS_GENERAL);
	if (!ret)
		ret = kvmi_view_switch(t.vm, t.vcpu, t.view);
	return ret ? failed(ret) : 0;
}

/* The loop ---------------------------------------------------------------------- */

static int enable(void)
{
	enum kvmi_event_mode mode = t.async ? KVMI_MODE_ASYNC : KVMI_MODE_SYNC;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < 16 && !ret; i++)
		if (t.cr[i])
			ret = kvmi_event_watch_cr(t.vm, t.vcpu, i, mode,
						  KVMI_REGS_GENERAL);
	for (i = 0; i < t.nr_msrs && !ret; i++)
		ret = kvmi_event_watch_msr(t.vm, t.vcpu, t.msr[i].index,
					   t.msr[i].access, mode,
					   KVMI_REGS_GENERAL);
	if (!ret && t.cpuid)
		ret = kvmi_event_watch(t.vm, t.vcpu, KVMI_EVENT_X86_CPUID, mode,
				       KVMI_REGS_GENERAL);
	if (!ret && t.bp)
		ret = kvmi_event_watch(t.vm, t.vcpu, KVMI_EVENT_BREAKPOINT,
				       mode, 0);
	if (!ret && t.step)
		ret = kvmi_event_watch(t.vm, t.vcpu, KVMI_EVENT_STEP, mode, 0);
	if (ret)
		return failed(ret);
	return t.nr_mem ? watch_memory(mode) : 0;
}

static void handle(const struct kvmi_event *ev, struct kvmi_reply *reply)
{
	kvmi_reply_init(reply, KVMI_ACTION_CONTINUE);
	switch (ev->kind) {
	case KVMI_EVENT_CANCELLED:
		/* A step that was to come does not. */
		t.pending[ev->vcpu].active = false;
		break;
	case KVMI_EVENT_ACCESS:
		on_access(ev, reply);
		break;
	case KVMI_EVENT_STEP:
		if (!on_step(ev, reply) || t.step)
			show_step(ev);
		break;
	case KVMI_EVENT_BREAKPOINT:
		show_bp(ev);
		break;
	case KVMI_EVENT_X86_CR:
		show_cr(ev);
		break;
	case KVMI_EVENT_X86_MSR:
		show_msr(ev);
		break;
	case KVMI_EVENT_X86_CPUID:
		show_cpuid(ev);
		break;
	}
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static bool is_over(void)
{
	return interrupted || (t.max_events && t.total >= t.max_events) ||
	       (t.seconds &&
		now_ns() - t.start_ns >= t.seconds * 1000000000ULL);
}

/* 0 when it is to end, 1 when the VM did, or -errno. */
static int loop(void)
{
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int ret;

	while (!is_over()) {
		/* Print before going to sleep, and not once a line. */
		ret = kvmi_event_wait(t.vm, &ev, 0);
		if (!ret) {
			if (fflush(stdout))
				return 0;
			ret = kvmi_event_wait(t.vm, &ev, TICK_MS);
		}
		if (ret == -EINTR)
			continue;
		if (ret == -ENODEV)
			return 1;
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		if (ev->vcpu >= MAX_VCPUS)
			return -EPROTO;
		handle(ev, &reply);
		ret = kvmi_event_answer(t.vm, ev, &reply);
		if (ret == -ENODEV)
			return 1;
		if (ret && ret != -EINTR)
			return ret;
	}
	return 0;
}

static void summary(bool gone)
{
	uint64_t dropped = kvmi_event_dropped(t.vm);
	double seconds = (now_ns() - t.start_ns) / 1e9;
	const char *comma = "";
	unsigned int i;

	fflush(stdout);
	if (t.json) {
		json_begin();
		json_string("event", "end");
		json_number("events", t.total);
		json_number("dropped", dropped);
		json_bool("vm_gone", gone);
		json_end();
		fflush(stdout);
		return;
	}
	fprintf(stderr, "kvmi: %llu events in %.1f s (", ULL(t.total), seconds);
	for (i = 0; i < KVMI_NR_KINDS; i++) {
		if (!t.count[i])
			continue;
		fprintf(stderr, "%s%s %llu", comma, kvmi_event_name(i),
			ULL(t.count[i]));
		comma = ", ";
	}
	fprintf(stderr, "%s), %llu dropped; %s\n", *comma ? "" : "none",
		ULL(dropped), gone ? "the VM has ended" : "detached");
}

/* Is it the VM that is waited for, by its name or the VMM's? */
static bool is_wanted(pid_t pid, const char *name)
{
	const struct kvmi_vmlist_entry *e;
	struct kvmi_vmlist *list;
	bool wanted = false;
	size_t i;

	if (kvmi_vmlist_create(0, &list))
		return false;
	for (i = 0; (e = kvmi_vmlist_get(list, i)); i++)
		wanted |= e->pid == pid && (!strcmp(e->name, name) ||
					    !strcmp(e->vmm, name));
	kvmi_vmlist_destroy(list);
	return wanted;
}

/* Attaches to the next VM of that name before its first instruction. */
static int catch_new(const char *name)
{
	struct kvmi_vm_options options = {
		.size = sizeof(options), .flags = KVMI_VM_PAUSED,
	};
	struct kvmi_holder *holder;
	uint64_t id;
	pid_t pid;
	int ret;

	ret = kvmi_holder_open(NULL, HOLD_MS, &holder);
	if (ret)
		return failed(ret);
	if (!t.json)
		fprintf(stderr, "kvmi: waiting for a VM called %s; ^C ends it\n",
			name);
	while (!interrupted) {
		ret = kvmi_holder_next(holder, -1, &id, &pid);
		if (ret == -EINTR)
			continue;
		if (ret < 0)
			break;
		ret = 0;
		if (!pid || !is_wanted(pid, name)) {
			kvmi_holder_release(holder, id);
			continue;
		}
		ret = kvmi_vm_attach_pid(pid, -1, &options, &t.vm);
		break;
	}
	ret = ret < 0 && !interrupted ? failed(ret) : EXIT_OK;
	kvmi_holder_close(holder);
	return ret;
}

static int run(const char *spec)
{
	int ret;

	catch_signals();
	ret = t.wait_new ? catch_new(spec) : attach(spec, &t.vm);
	if (ret || !t.vm)
		return ret;
	t.pending = calloc(MAX_VCPUS, sizeof(*t.pending));
	if (!t.pending)
		abort();
	ret = kvmi_vm_get_caps(t.vm, &t.caps);
	if (ret) {
		ret = failed(ret);
		goto out;
	}
	t.start_ns = now_ns();
	ret = enable();
	if (ret)
		goto out;
	if (t.wait_new) {
		ret = kvmi_vm_resume(t.vm);
		if (ret) {
			ret = failed(ret);
			goto out;
		}
	}
	if (!t.json)
		fprintf(stderr, "kvmi: attached to %s; ^C ends it\n", spec);
	ret = loop();
	summary(ret > 0);
	if (ret < 0)
		ret = failed(ret);
	else
		ret = EXIT_OK;
out:
	/* Ends the session: everything armed is withdrawn. */
	kvmi_vm_close(t.vm);
	free(t.pending);
	return ret;
}

static int parse_common(int argc, char **argv, const char *shorts,
			const struct option *options)
{
	uint64_t n;
	int opt;

	t.vcpu = KVMI_VCPU_ALL;
	while ((opt = getopt_long(argc, argv, shorts, options, NULL)) >= 0) {
		switch (opt) {
		case 'e':
			if (parse_events(optarg))
				return EXIT_USAGE;
			break;
		case 'a':
			t.async = true;
			break;
		case 'w':
			t.wait_new = true;
			break;
		case 'j':
			t.json = true;
			break;
		case 'c':
			if (!parse_number(optarg, &n) || n >= MAX_VCPUS)
				return usage_error("%s is no vCPU", optarg);
			t.vcpu = n;
			break;
		case 'n':
			if (!parse_number(optarg, &t.max_events))
				return usage_error("%s is no number", optarg);
			break;
		case 'd':
			if (!parse_number(optarg, &t.seconds) ||
			    t.seconds > 1000000000)
				return usage_error("%s is no time", optarg);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	return 0;
}

int cmd_trace(int argc, char **argv)
{
	static const struct option options[] = {
		{ "event", required_argument, NULL, 'e' },
		{ "async", no_argument, NULL, 'a' },
		{ "wait-new", no_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ "vcpu", required_argument, NULL, 'c' },
		{ }
	};
	bool any;
	int i;

	if (parse_common(argc, argv, "e:n:d:", options))
		return EXIT_USAGE;
	any = t.cpuid || t.bp || t.step || t.nr_msrs || t.nr_mem;
	for (i = 0; i < 16; i++)
		any = any || t.cr[i];
	if (argc - optind != 1 || !any)
		return usage_error("kvmi trace [--wait-new] VM -e EVENT[,EVENT]...");
	return run(argv[optind]);
}

int cmd_step(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "vcpu", required_argument, NULL, 'c' },
		{ }
	};

	t.max_events = 10;
	if (parse_common(argc, argv, "n:", options))
		return EXIT_USAGE;
	if (argc - optind != 1)
		return usage_error("kvmi step VM");
	t.step = true;
	if (t.vcpu == KVMI_VCPU_ALL)
		t.vcpu = 0;
	return run(argv[optind]);
}
