// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi trace and kvmi step: what a VM does, as it happens.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

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

/* What is to be told of, as KVMI_CONTROL_EVENT takes it. */
struct wish {
	uint32_t kind;
	uint32_t first, last;
	uint32_t access;
	bool async;		/* it cannot be answered */
	uint32_t flags;
	uint32_t regs;
	char *reason;		/* name of an exit reason, which is the vendor's */
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

	struct wish wish[MAX_WATCHES];
	unsigned int nr_wishes;
	bool step;
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

static bool add_wish(const struct wish *wish)
{
	if (t.nr_wishes == MAX_WATCHES)
		return false;
	t.wish[t.nr_wishes++] = *wish;
	return true;
}

static bool add_msr(uint32_t index, uint32_t access)
{
	return add_wish(&(struct wish) {
		.kind = KVMI_EVENT_X86_MSR,
		.first = index,
		.last = index,
		.access = access,
		.regs = KVMI_REGS_GENERAL,
	});
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

/* MSR between @s and @end */
static bool parse_msr(const char *s, const char *end, uint32_t access)
{
	uint64_t number;
	uint32_t index;

	if (!msr_by_name(s, end - s, &index)) {
		if (!parse_span(s, end, &number) || number > UINT32_MAX)
			return false;
		index = number;
	}
	return add_msr(index, access);
}

/* NUMBER[-NUMBER], or a name, as the kind has it */
static bool parse_index(struct wish *w, const char *s, const char *end)
{
	const char *minus = memchr(s, '-', end - s);
	uint64_t first, last;
	char name[32];

	if (parse_span(s, minus ? minus : end, &first)) {
		last = first;
		if (minus && !parse_span(minus + 1, end, &last))
			return false;
		/* Those have a frame number. */
		if (w->kind == KVMI_EVENT_MMIO) {
			first /= PAGE_SIZE;
			last /= PAGE_SIZE;
		}
		w->first = first;
		w->last = last;
		return first <= last && last <= UINT32_MAX;
	}
	if (end == s || end - s >= (long)sizeof(name))
		return false;
	memcpy(name, s, end - s);
	name[end - s] = 0;
	switch (w->kind) {
	case KVMI_EVENT_X86_EXCEPTION:
		if (!vector_by_name(name, &w->first))
			return false;
		break;
	case KVMI_EVENT_X86_INSN:
		if (!insn_by_name(name, &w->first))
			return false;
		break;
	case KVMI_EVENT_X86_EXIT:
		if (!exit_by_name(KVMI_VENDOR_INTEL, name, &w->first) &&
		    !exit_by_name(KVMI_VENDOR_AMD, name, &w->first))
			return false;
		w->reason = strdup(name);
		if (!w->reason)
			abort();
		break;
	default:
		return false;
	}
	w->last = w->first;
	return true;
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

/* What -e has for them, without MSRs and memory. */
static const struct event_name {
	const char *name;
	bool index;		/* one may be given */
	bool access;		/* likewise */
	struct wish all;	/* without an index, or the only one */
} event_names[] = {
#define GENERAL	.regs = KVMI_REGS_GENERAL
#define RW	.access = KVMI_ACCESS_R | KVMI_ACCESS_W
#define CR(n)	{ "cr" #n, false, true, {					\
			.kind = KVMI_EVENT_X86_CR, .first = n, .last = n,	\
			.access = KVMI_ACCESS_W, GENERAL } }
	CR(0), CR(3), CR(4), CR(8),
#undef CR
	{ "xsetbv", false, false, { .kind = KVMI_EVENT_X86_XSETBV, GENERAL } },
	{ "dr", true, true, { .kind = KVMI_EVENT_X86_DR, .last = 7, RW, GENERAL } },
	{ "cpuid", false, false, { .kind = KVMI_EVENT_X86_CPUID, GENERAL } },
	{ "bp", false, false, { .kind = KVMI_EVENT_BREAKPOINT } },
	{ "step", false, false, { .kind = KVMI_EVENT_STEP } },
	{ "exc", true, false, {
		.kind = KVMI_EVENT_X86_EXCEPTION, .last = 31, GENERAL } },
	{ "tables", false, true, {
		.kind = KVMI_EVENT_X86_DTABLE, .last = KVMI_X86_TABLE_TR, RW,
		GENERAL } },
	{ "io", true, true, {
		.kind = KVMI_EVENT_X86_IO, .last = 0xffff, RW, GENERAL } },
	{ "ioe", true, true, {
		.kind = KVMI_EVENT_X86_IO, .last = 0xffff, RW, GENERAL,
		.flags = KVMI_CONTROL_ELEMENTS } },
	{ "insn", true, false, {
		.kind = KVMI_EVENT_X86_INSN, .last = KVMI_X86_NR_INSNS - 1,
		GENERAL } },
	{ "hypercall", true, false, {
		.kind = KVMI_EVENT_HYPERCALL, .last = UINT32_MAX, GENERAL } },
	{ "mmio", true, true, {
		.kind = KVMI_EVENT_MMIO, .async = true, .last = UINT32_MAX, RW } },
	{ "delivery", false, false, {
		.kind = KVMI_EVENT_X86_DELIVERY, .async = true,
		.first = KVMI_X86_DELIVERY_EXCEPTION,
		.last = KVMI_X86_DELIVERY_SOFT } },
	{ "exit", true, false, {
		.kind = KVMI_EVENT_X86_EXIT, .last = UINT32_MAX } },
	{ "vcpu", false, false, {
		.kind = KVMI_EVENT_VCPU, .async = true,
		.first = KVMI_VCPU_INIT, .last = KVMI_VCPU_SMM_LEFT } },
	{ "vm", false, false, {
		.kind = KVMI_EVENT_VM, .async = true,
		.first = KVMI_VM_SLOT_CREATED, .last = KVMI_VM_GONE } },
#undef RW
#undef GENERAL
};

/* NAME[:INDEX][:rw] between @s and @end */
static bool parse_event(const char *s, const char *end)
{
	const char *colon = memchr(s, ':', end - s), *last;
	size_t len = (colon ? colon : end) - s, i;
	uint32_t access = 0;
	struct wish w;

#define IS(text)	(len == strlen(text) && !strncmp(s, text, len))
	if (IS("mem"))
		return colon && parse_mem(colon + 1, end);
	if (IS("msr") && !colon)
		return add_usual_msrs();
	/* What has an access has it last. */
	for (last = end; last > s && *last != ':';)
		last--;
	if (colon)
		access = parse_access(last + 1, end);
	if (access & KVMI_ACCESS_X)
		return false;
	if (access)
		end = last;
	if (IS("msr"))
		return colon < end &&
		       parse_msr(colon + 1, end, access ?: KVMI_ACCESS_W);
	for (i = 0; i < ARRAY_SIZE(event_names); i++) {
		if (!IS(event_names[i].name))
			continue;
		w = event_names[i].all;
		if (access && !event_names[i].access)
			return false;
		w.access = access ?: w.access;
		if (colon && colon < end &&
		    (!event_names[i].index || !parse_index(&w, colon + 1, end)))
			return false;
		t.step |= w.kind == KVMI_EVENT_STEP;
		return add_wish(&w);
	}
	return false;
#undef IS
}

int parse_events(const char *s)
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
		if (ev->vcpu != KVMI_VCPU_VM)
			json_number("vcpu", ev->vcpu);
		json_number("seq", ev->seq);
		json_number("time_ns", ev->time_ns);
		if (ev->vcpu != KVMI_VCPU_VM)
			json_hex("tsc", ev->guest_tsc);
		json_bool("sync", kvmi_event_is_sync(ev));
		if (rip)
			json_hex("rip", rip);
		return;
	}
	printf("%4llu.%06llu  ", ULL(ns / 1000000000),
	       ULL(ns % 1000000000 / 1000));
	if (ev->vcpu == KVMI_VCPU_VM)
		fputs("vm      ", stdout);
	else
		printf("vcpu %u  ", ev->vcpu);
	printf("%-6s", name);
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
		json_bool("write", !(cr->flags & KVMI_X86_CR_READ));
		json_hex("old", cr->old);
		if (!(cr->flags & (KVMI_X86_CR_READ | KVMI_X86_CR_UNKNOWN)))
			json_hex("new", cr->new_value);
	} else if (cr->flags & KVMI_X86_CR_READ) {
		printf("  %llx", ULL(cr->old));
	} else if (cr->flags & KVMI_X86_CR_UNKNOWN) {
		printf("  %llx -> ?", ULL(cr->old));
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

static void show_xsetbv(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_xsetbv *x = kvmi_event_xsetbv(ev);

	if (!x)
		return;
	begin(ev, "xsetbv", rip_of(ev));
	if (t.json) {
		json_number("xcr", x->xcr);
		json_hex("old", x->old);
		json_hex("new", x->new_value);
	} else {
		printf("  %llx -> %llx", ULL(x->old), ULL(x->new_value));
	}
	end(rip_of(ev));
}

static void show_dr(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_dr *dr = kvmi_event_dr(ev);
	char name[8];
	bool write;

	if (!dr)
		return;
	write = dr->flags & KVMI_X86_DR_WRITE;
	snprintf(name, sizeof(name), "dr%u", dr->dr % 8);
	begin(ev, name, rip_of(ev));
	if (t.json) {
		json_number("dr", dr->dr);
		json_bool("write", write);
		json_hex("old", dr->old);
		if (write)
			json_hex("new", dr->new_value);
	} else {
		printf("  %llx", ULL(dr->old));
		if (write)
			printf(" -> %llx", ULL(dr->new_value));
	}
	end(rip_of(ev));
}

/* A vector: "14 (#PF)", and its error code. */
static void show_vector(uint32_t vector, const char *name, bool has_error,
			uint32_t error)
{
	if (t.json) {
		json_number("vector", vector);
		if (name)
			json_string("name", name);
		if (has_error)
			json_hex("error", error);
		return;
	}
	printf("  %u", vector);
	if (name)
		printf(" (%s)", name);
	if (has_error)
		printf("  error %x", error);
}

static void show_exception(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_exception *ex = kvmi_event_exception(ev);
	bool nested;

	if (!ex)
		return;
	nested = ex->flags & KVMI_X86_EXCEPTION_NESTED;
	begin(ev, "exc", rip_of(ev));
	show_vector(ex->vector, vector_name(ex->vector),
		    ex->flags & KVMI_X86_EXCEPTION_ERROR, ex->error);
	if (t.json) {
		if (ex->flags & KVMI_X86_EXCEPTION_PAYLOAD)
			json_hex("payload", ex->payload);
		json_bool("nested", nested);
	} else {
		if (ex->flags & KVMI_X86_EXCEPTION_PAYLOAD)
			printf("  %s %llx", ex->vector == 14 ? "cr2" : "dr6",
			       ULL(ex->payload));
		if (nested)
			fputs("  (nested)", stdout);
	}
	end(rip_of(ev));
}

static void show_table(const struct kvmi_event *ev)
{
	static const struct {
		const char *reg, *insn[2];
	} tables[] = {
		{ "gdtr", { "sgdt", "lgdt" } }, { "idtr", { "sidt", "lidt" } },
		{ "ldtr", { "sldt", "lldt" } }, { "tr", { "str", "ltr" } },
	};
	const struct kvmi_x86_ev_dtable *d = kvmi_event_dtable(ev);
	bool write;

	if (!d || d->table >= ARRAY_SIZE(tables))
		return;
	write = d->flags & KVMI_X86_DTABLE_WRITE;
	begin(ev, tables[d->table].insn[write], rip_of(ev));
	if (t.json) {
		json_string("table", tables[d->table].reg);
		json_bool("write", write);
		json_hex("base", d->base);
		json_hex("limit", d->limit);
		if (d->table >= KVMI_X86_TABLE_LDTR)
			json_hex("selector", d->selector);
	} else {
		if (d->table >= KVMI_X86_TABLE_LDTR)
			printf("  %x", d->selector);
		printf("  %llx/%x", ULL(d->base), d->limit);
	}
	end(rip_of(ev));
}

static void show_io(const struct kvmi_event *ev)
{
	static const char * const names[] = { "in", "out", "ins", "outs" };
	const struct kvmi_x86_ev_io *io = kvmi_event_io(ev);
	bool out, string, value;

	if (!io)
		return;
	out = io->flags & KVMI_X86_IO_OUT;
	string = io->flags & KVMI_X86_IO_STRING;
	value = out && (!string || io->flags & KVMI_X86_IO_ELEMENT);
	begin(ev, names[out + 2 * string], rip_of(ev));
	if (t.json) {
		json_hex("port", io->port);
		json_bool("out", out);
		json_number("bytes", io->bytes);
		if (string) {
			json_number("count", io->count);
			json_hex("address", io->address);
		}
		if (value)
			json_hex("value", io->value);
	} else {
		printf("  %x.%u", io->port, io->bytes);
		if (string)
			printf("  %llu at %llx", ULL(io->count), ULL(io->address));
		if (value)
			printf("  %llx", ULL(io->value));
	}
	end(rip_of(ev));
}

static void show_mmio(const struct kvmi_event *ev)
{
	const struct kvmi_ev_mmio *m = kvmi_event_mmio(ev);
	bool write;

	if (!m)
		return;
	write = m->flags & KVMI_MMIO_WRITE;
	begin(ev, "mmio", 0);
	if (t.json) {
		json_hex("gpa", m->gpa);
		json_bool("write", write);
		json_number("bytes", m->bytes);
		json_hex("value", m->value);
	} else {
		printf("  %s %llx.%u  %llx", write ? "-w-" : "r--", ULL(m->gpa),
		       m->bytes, ULL(m->value));
	}
	end(0);
}

static void show_insn(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_insn *insn = kvmi_event_insn(ev);

	if (!insn)
		return;
	begin(ev, insn_name(insn->insn), rip_of(ev));
	if (t.json) {
		json_string("insn", insn_name(insn->insn));
		json_hex("operand", insn->operand);
		json_hex("value", insn->value);
	} else if (insn->operand || insn->value) {
		printf("  %llx", ULL(insn->operand ?: insn->value));
		if (insn->operand && insn->value)
			printf(" -> %llx", ULL(insn->value));
	}
	end(rip_of(ev));
}

static void show_hypercall(const struct kvmi_event *ev)
{
	const struct kvmi_ev_hypercall *h = kvmi_event_hypercall(ev);
	size_t i;

	if (!h)
		return;
	begin(ev, "hypercall", rip_of(ev));
	if (t.json) {
		json_hex("nr", h->nr);
		json_open("args", '[');
		for (i = 0; i < ARRAY_SIZE(h->args); i++)
			json_hex(NULL, h->args[i]);
		json_close(']');
		json_number("ring", h->privilege);
	} else {
		printf("  %llx(", ULL(h->nr));
		/* What KVM's own have. */
		for (i = 0; i < 4; i++)
			printf("%s%llx", i ? ", " : "", ULL(h->args[i]));
		putchar(')');
		if (h->privilege)
			printf("  ring %u", h->privilege);
	}
	end(rip_of(ev));
}

static void show_delivery(const struct kvmi_event *ev)
{
	static const char * const types[] = {
		"unknown", "exception", "interrupt", "nmi", "soft",
	};
	const struct kvmi_x86_ev_delivery *d = kvmi_event_delivery(ev);
	const char *type;

	if (!d)
		return;
	type = types[d->type < ARRAY_SIZE(types) ? d->type : 0];
	begin(ev, "deliver", d->pc);
	if (t.json)
		json_string("type", type);
	else
		printf("  %s", type);
	show_vector(d->vector, d->type == KVMI_X86_DELIVERY_EXCEPTION ?
		    vector_name(d->vector) : NULL,
		    d->flags & KVMI_X86_EXCEPTION_ERROR, d->error);
	end(d->pc);
}

static void show_exit(const struct kvmi_event *ev)
{
	const struct kvmi_x86_ev_exit *x = kvmi_event_exit(ev);
	const char *name;

	if (!x)
		return;
	name = exit_name(t.caps.out_vendor, x->reason);
	begin(ev, "exit", x->pc);
	if (t.json) {
		json_hex("reason", x->reason);
		if (name)
			json_string("name", name);
		json_hex("info1", x->info1);
		json_hex("info2", x->info2);
		json_hex("intr", x->intr);
		json_hex("error", x->error);
	} else {
		printf("  %x (%s)  info %llx %llx", x->reason, name ?: "unknown",
		       ULL(x->info1), ULL(x->info2));
		if (x->intr)
			printf("  intr %x error %x", x->intr, x->error);
	}
	end(x->pc);
}

static void show_vcpu(const struct kvmi_event *ev)
{
	static const char * const changes[] = {
		"unknown", "init", "started", "halts", "wakes", "reset", "smm",
		"smm_left",
	};
	const struct kvmi_ev_vcpu *v = kvmi_event_vcpu(ev);
	const char *change;

	if (!v)
		return;
	change = changes[v->change < ARRAY_SIZE(changes) ? v->change : 0];
	begin(ev, change, v->pc);
	if (t.json)
		json_string("change", change);
	end(v->pc);
}

static void show_vm(const struct kvmi_event *ev)
{
	static const char * const changes[] = {
		"unknown", "slot_created", "slot_deleted", "slot_moved",
		"slot_flags", "vcpu_created", "leaving", "staying", "gone",
	};
	const struct kvmi_ev_vm *vm = kvmi_event_vm(ev);
	const char *change;

	if (!vm)
		return;
	change = changes[vm->change < ARRAY_SIZE(changes) ? vm->change : 0];
	begin(ev, change, 0);
	if (t.json)
		json_string("change", change);
	if (vm->change == KVMI_VM_VCPU_CREATED) {
		if (t.json)
			json_number("index", vm->vcpu);
		else
			printf("  %u", vm->vcpu);
	} else if (vm->change != KVMI_VM_GONE && t.json) {
		json_number("slot", vm->slot);
		json_hex("gpa", vm->gfn * PAGE_SIZE);
		json_hex("old_gpa", vm->old_gfn * PAGE_SIZE);
		json_hex("length", vm->nr_pages * PAGE_SIZE);
		json_bool("readonly", vm->flags & KVMI_SLOT_READONLY);
		json_bool("dirty_log", vm->flags & KVMI_SLOT_DIRTY_LOG);
	} else if (vm->change != KVMI_VM_GONE) {
		printf("  slot %u  %llx+%llx", vm->slot,
		       ULL(vm->gfn * PAGE_SIZE), ULL(vm->nr_pages * PAGE_SIZE));
		if (vm->change == KVMI_VM_SLOT_MOVED)
			printf("  from %llx", ULL(vm->old_gfn * PAGE_SIZE));
		if (vm->flags & KVMI_SLOT_READONLY)
			fputs("  readonly", stdout);
		if (vm->flags & KVMI_SLOT_DIRTY_LOG)
			fputs("  dirty_log", stdout);
	}
	end(0);
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

static int enable_wish(const struct wish *w, enum kvmi_event_mode mode)
{
	struct kvmi_control_event control = {
		.vcpu = w->kind == KVMI_EVENT_VM ? KVMI_VCPU_VM : t.vcpu,
		.kind = w->kind,
		.mode = w->async && mode == KVMI_MODE_SYNC ? KVMI_MODE_ASYNC : mode,
		.regs = w->regs,
		.index = w->first,
		.index_last = w->last == w->first ? 0 : w->last,
		.access = w->access,
		.flags = mode == KVMI_MODE_OFF ? 0 : w->flags,
	};
	int ret;

	if (w->reason &&
	    !exit_by_name(t.caps.out_vendor, w->reason, &control.index)) {
		fprintf(stderr, "kvmi: this processor has no exit %s\n", w->reason);
		return EXIT_UNSUPPORTED;
	}
	if (w->reason)
		control.index_last = 0;
	ret = kvmi_event_control(t.vm, &control);
	return ret ? failed(ret) : EXIT_OK;
}

static int enable_wishes(enum kvmi_event_mode mode)
{
	unsigned int i;
	int ret;

	for (i = 0; i < t.nr_wishes; i++) {
		ret = enable_wish(&t.wish[i], mode);
		if (ret)
			return ret;
	}
	return EXIT_OK;
}

static int enable(void)
{
	enum kvmi_event_mode mode = t.async ? KVMI_MODE_ASYNC : KVMI_MODE_SYNC;
	int ret;

	ret = enable_wishes(mode);
	return !ret && t.nr_mem ? watch_memory(mode) : ret;
}

int count_events(struct kvmi_vm *vm, const struct kvmi_caps *caps, uint64_t *kinds)
{
	unsigned int i;

	if (t.nr_mem)
		return usage_error("mem is not counted");
	t.vm = vm;
	t.caps = *caps;
	t.vcpu = KVMI_VCPU_ALL;
	for (i = 0; i < t.nr_wishes; i++)
		*kinds |= 1ULL << t.wish[i].kind;
	return enable_wishes(KVMI_MODE_COUNT);
}

static void handle(const struct kvmi_event *ev, struct kvmi_reply *reply)
{
	static void (* const show[KVMI_NR_KINDS])(const struct kvmi_event *ev) = {
		[KVMI_EVENT_BREAKPOINT] = show_bp,
		[KVMI_EVENT_VM] = show_vm,
		[KVMI_EVENT_VCPU] = show_vcpu,
		[KVMI_EVENT_HYPERCALL] = show_hypercall,
		[KVMI_EVENT_MMIO] = show_mmio,
		[KVMI_EVENT_X86_CR] = show_cr,
		[KVMI_EVENT_X86_MSR] = show_msr,
		[KVMI_EVENT_X86_CPUID] = show_cpuid,
		[KVMI_EVENT_X86_XSETBV] = show_xsetbv,
		[KVMI_EVENT_X86_DR] = show_dr,
		[KVMI_EVENT_X86_EXCEPTION] = show_exception,
		[KVMI_EVENT_X86_DTABLE] = show_table,
		[KVMI_EVENT_X86_IO] = show_io,
		[KVMI_EVENT_X86_INSN] = show_insn,
		[KVMI_EVENT_X86_DELIVERY] = show_delivery,
		[KVMI_EVENT_X86_EXIT] = show_exit,
	};

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
	default:
		if (ev->kind < KVMI_NR_KINDS && show[ev->kind])
			show[ev->kind](ev);
		break;
	}
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
		if (ev->vcpu >= MAX_VCPUS && ev->kind != KVMI_EVENT_VM)
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

	if (parse_common(argc, argv, "e:n:d:", options))
		return EXIT_USAGE;
	if (argc - optind != 1 || !(t.nr_wishes || t.nr_mem))
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
	parse_events("step");
	if (t.vcpu == KVMI_VCPU_ALL)
		t.vcpu = 0;
	return run(argv[optind]);
}
