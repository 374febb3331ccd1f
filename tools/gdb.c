// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: a remote stub of gdb, beside a VMM that knows nothing of it.
 *
 * vCPUs are threads, and all stop together. A breakpoint is an INT3 in the guest's
 * memory, which the stub's own reads do not show. A watchpoint is a page that a
 * view protects: what accesses it elsewhere is let through by a step.
 *
 * What is answered to an event is decided when gdb goes on: until then the event
 * stays open, and the vCPU where it is.
 *
 * While the VMM migrates or saves the VM, breakpoints are not in its memory: whoever
 * goes on with that has no use for them.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tool.h"

#define PAGE		4096ULL
#define PACKET		16384
#define INT3		0xcc
#define NR_WATCH	64
/* x87, MMX and SSE state as FXSAVE stores it, at the begin of what XSAVE does. */
#define FXSAVE_SIZE	512
#define XSAVE_ROOM	16384

/* ---- registers as gdb numbers them ------------------------------------------------- */

static const char target_xml[] =
"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
"<target version=\"1.0\"><architecture>i386:x86-64</architecture>\n"
"<feature name=\"org.gnu.gdb.i386.core\">\n"
"<reg name=\"rax\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rbx\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rcx\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rdx\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rsi\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rdi\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rbp\" bitsize=\"64\" type=\"data_ptr\"/>\n"
"<reg name=\"rsp\" bitsize=\"64\" type=\"data_ptr\"/>\n"
"<reg name=\"r8\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r9\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r10\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r11\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r12\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r13\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r14\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"r15\" bitsize=\"64\" type=\"int64\"/>\n"
"<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\"/>\n"
"<reg name=\"eflags\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"cs\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"ss\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"ds\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"es\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"fs\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"gs\" bitsize=\"32\" type=\"int32\"/>\n"
"<reg name=\"st0\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st1\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st2\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st3\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st4\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st5\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st6\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"st7\" bitsize=\"80\" type=\"i387_ext\"/>\n"
"<reg name=\"fctrl\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"fstat\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"ftag\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"fiseg\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"fioff\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"foseg\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"fooff\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"<reg name=\"fop\" bitsize=\"32\" type=\"int\" group=\"float\"/>\n"
"</feature>\n"
"<feature name=\"org.gnu.gdb.i386.sse\">\n"
"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n"
"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n"
"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"
"<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"
"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"
"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>\n"
"<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>\n"
"<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>\n"
"<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>\n"
"<reg name=\"xmm0\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm1\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm2\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm3\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm4\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm5\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm6\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm7\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm8\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm9\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm10\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm11\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm12\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm13\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm14\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"xmm15\" bitsize=\"128\" type=\"vec128\"/>\n"
"<reg name=\"mxcsr\" bitsize=\"32\" type=\"int\" group=\"vector\"/>\n"
"</feature>\n"
"<feature name=\"org.gnu.gdb.i386.segments\">\n"
"<reg name=\"fs_base\" bitsize=\"64\" type=\"int\"/>\n"
"<reg name=\"gs_base\" bitsize=\"64\" type=\"int\"/>\n"
"</feature>\n"
"<feature name=\"kvmi.control\">\n"
"<reg name=\"cr0\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"<reg name=\"cr2\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"<reg name=\"cr3\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"<reg name=\"cr4\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"<reg name=\"cr8\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"<reg name=\"efer\" bitsize=\"64\" type=\"int\" group=\"system\"/>\n"
"</feature></target>\n";

struct cpu_regs {
	struct kvmi_x86_gprs gprs;
	struct kvmi_x86_control control;
	struct kvmi_x86_segments segments;
	uint8_t xsave[XSAVE_ROOM];
	size_t nr_xsave;
};

#define CPU_REGS	(KVMI_REGS_GENERAL | KVMI_REGS_CONTROL | KVMI_REGS_SEGMENT)
#define CPU_REGS_SIZE	offsetof(struct cpu_regs, xsave)

enum where { GPR, SEGMENT, FX, TAG, BASE, CONTROL };

struct reg {
	enum where where;
	uint16_t at;			/* index, or offset */
	uint8_t size;			/* to gdb */
	uint8_t real;			/* of what there is */
};

#define R(n)		{ GPR, KVMI_X86_##n, 8, 8 }
#define S(n)		{ SEGMENT, offsetof(struct kvmi_x86_segments, n.selector), 4, 2 }
#define F(off, size)	{ FX, off, 4, size }
#define ST(n)		{ FX, 32 + (n) * 16, 10, 10 }
#define X(n)		{ FX, 160 + (n) * 16, 16, 16 }
#define C(n)		{ CONTROL, offsetof(struct kvmi_x86_control, n), 8, 8 }

static const struct reg regs[] = {
	R(RAX), R(RBX), R(RCX), R(RDX), R(RSI), R(RDI), R(RBP), R(RSP),
	R(R8), R(R9), R(R10), R(R11), R(R12), R(R13), R(R14), R(R15),
	R(RIP), { GPR, KVMI_X86_RFLAGS, 4, 4 },
	S(cs), S(ss), S(ds), S(es), S(fs), S(gs),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	F(0, 2), F(2, 2), { TAG, 4, 4, 1 }, F(12, 2), F(8, 4), F(20, 2),
	F(16, 4), F(6, 2),
	X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7),
	X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15), F(24, 4),
	{ BASE, offsetof(struct kvmi_x86_segments, fs.base), 8, 8 },
	{ BASE, offsetof(struct kvmi_x86_segments, gs.base), 8, 8 },
	C(cr0), C(cr2), C(cr3), C(cr4), C(cr8), C(efer),
};

static uint8_t *reg_place(struct cpu_regs *r, const struct reg *reg)
{
	switch (reg->where) {
	case GPR:
		return (uint8_t *)&r->gprs.r[reg->at];
	case SEGMENT:
	case BASE:
		return (uint8_t *)&r->segments + reg->at;
	case CONTROL:
		return (uint8_t *)&r->control + reg->at;
	default:
		return r->xsave + reg->at;
	}
}

/* ---- state -------------------------------------------------------------------------- */

struct breakpoint {
	uint64_t gva, gpa;
	uint8_t byte;			/* the guest's own, while the INT3 is there */
	bool there;
	struct breakpoint *next;
};

struct watch {
	uint64_t gva, gpa;
	uint32_t len;			/* 0: free */
	char kind;			/* as in Z: '2' write, '3' read, '4' both */
	uint8_t old[8];
};

enum run { STOPPED, RUN, STEP };

struct cpu {
	enum run run;
	bool paused;
	bool stepping;			/* step events are on */
	/* The event that waits for an answer. */
	uint64_t id;
	uint16_t kind;
	uint64_t pc;
	bool fresh;			/* not looked at yet */
	uint64_t gpa;			/* ACCESS */
	uint32_t access;
	/* One instruction beside a watchpoint. */
	bool beside;
	int hit;			/* index of the watchpoint, or -1 */
};

static struct {
	struct kvmi_vm *vm;
	uint32_t pid;
	int in, out;
	bool no_ack, over, killed;
	struct cpu *cpus;
	uint32_t nr_cpus;
	uint32_t current;		/* of registers and memory */
	bool running;
	struct breakpoint *breakpoints;
	bool leaving;			/* no INT3 is to be in memory */
	struct watch watches[NR_WATCH];
	uint32_t view;
	char reply[2 * PACKET + 1];
	/* What has come in. */
	char buf[PACKET];
	size_t nr;
} g;

/* ---- packets --------------------------------------------------------------------------- */

static bool send_all(const char *p, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(g.out, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			g.over = true;
			return false;
		}
		p += n;
		len -= n;
	}
	return true;
}

static void send_packet(const char *text)
{
	unsigned char sum = 0;
	const char *p;
	char end[4];

	for (p = text; *p; p++)
		sum += *p;
	snprintf(end, sizeof(end), "#%02x", sum);
	if (send_all("$", 1) && send_all(text, p - text))
		send_all(end, 3);
}

static void reply(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void reply(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g.reply, sizeof(g.reply), fmt, ap);
	va_end(ap);
	send_packet(g.reply);
}

/* E and a number that gdb shows, from a negative errno. */
static void reply_error(int err)
{
	reply("E%02x", -err & 0xff);
}

static char *put_hex(char *to, const void *from, size_t len)
{
	const uint8_t *p = from;

	for (; len; len--, p++, to += 2)
		sprintf(to, "%02x", *p);
	return to;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool get_hex(const char *from, void *to, size_t len)
{
	uint8_t *p = to;

	for (; len; len--, from += 2, p++) {
		if (hex(from[0]) < 0 || hex(from[1]) < 0)
			return false;
		*p = hex(from[0]) << 4 | hex(from[1]);
	}
	return true;
}

/* A number in hexadecimal and what ends it; NULL if it is none. */
static const char *get_number(const char *p, char until, uint64_t *value)
{
	char *end;

	if (!isxdigit((unsigned char)*p))
		return NULL;
	*value = strtoull(p, &end, 16);
	if (*end != until)
		return NULL;
	return until ? end + 1 : end;
}

/* ---- memory ------------------------------------------------------------------------------ */

static int translate(uint32_t vcpu, uint64_t gva, uint64_t *gpa)
{
	struct kvmi_translation tr = {};
	struct kvmi_space space;
	int ret;

	ret = kvmi_space_get(g.vm, vcpu, &space);
	if (!ret)
		ret = kvmi_space_translate(g.vm, &space, gva, &tr);
	if (!ret)
		*gpa = tr.out_gpa;
	return ret;
}

static struct breakpoint *breakpoint_at(uint64_t gpa)
{
	struct breakpoint *bp;

	for (bp = g.breakpoints; bp; bp = bp->next)
		if (bp->gpa == gpa)
			return bp;
	return NULL;
}

/*
 * Within a page. Breakpoints are neither seen nor overwritten: what is written
 * there is put in when they go.
 */
static int access_page(uint64_t gpa, uint8_t *buf, size_t len, bool write)
{
	struct breakpoint *bp;
	uint8_t copy[PAGE];
	ssize_t n;

	if (write) {
		memcpy(copy, buf, len);
		for (bp = g.breakpoints; bp; bp = bp->next)
			if (bp->there && bp->gpa - gpa < len)
				copy[bp->gpa - gpa] = INT3;
		n = kvmi_vm_write(g.vm, gpa, copy, len);
	} else {
		n = kvmi_vm_read(g.vm, gpa, buf, len);
	}
	if (n != (ssize_t)len)
		return n < 0 ? n : -ENXIO;
	for (bp = g.breakpoints; bp; bp = bp->next) {
		if (!bp->there || bp->gpa - gpa >= len)
			continue;
		if (write)
			bp->byte = buf[bp->gpa - gpa];
		else
			buf[bp->gpa - gpa] = bp->byte;
	}
	return 0;
}

/* By virtual address, as the current vCPU has it: how much, or an error. */
static ssize_t access_memory(uint64_t gva, uint8_t *buf, size_t len, bool write)
{
	size_t done = 0, n;
	uint64_t gpa;
	int ret = 0;

	while (done < len) {
		n = PAGE - (gva + done) % PAGE;
		if (n > len - done)
			n = len - done;
		ret = translate(g.current, gva + done, &gpa);
		if (!ret)
			ret = access_page(gpa, buf + done, n, write);
		if (ret)
			break;
		done += n;
	}
	return done && !write ? (ssize_t)done : ret;
}

static void do_memory(const char *p, bool write)
{
	static uint8_t buf[PACKET / 2];
	uint64_t addr, len;
	ssize_t n;

	p = get_number(p, ',', &addr);
	if (p)
		p = get_number(p, write ? ':' : 0, &len);
	if (!p || len > sizeof(buf) ||
	    (write && (strlen(p) != 2 * len || !get_hex(p, buf, len)))) {
		reply_error(-EINVAL);
		return;
	}
	n = access_memory(addr, buf, len, write);
	if (n < 0) {
		reply_error(n);
	} else if (write) {
		reply("OK");
	} else {
		*put_hex(g.reply, buf, n) = 0;
		send_packet(g.reply);
	}
}

/* ---- registers ---------------------------------------------------------------------------- */

static int load_regs(struct cpu_regs *r)
{
	int ret;

	ret = kvmi_vcpu_get_regs(g.vm, g.current, CPU_REGS, r, CPU_REGS_SIZE);
	if (ret)
		return ret;
	memset(r->xsave, 0, FXSAVE_SIZE);
	return kvmi_vcpu_get_state(g.vm, g.current, KVMI_STATE_XSAVE, r->xsave,
				   sizeof(r->xsave), &r->nr_xsave);
}

/* Only what was changed, so that a write of RAX cannot fail for CR4. */
static int store_regs(struct cpu_regs *r, const struct cpu_regs *was)
{
	uint32_t sets = 0;
	int ret = 0;

	if (memcmp(&r->gprs, &was->gprs, sizeof(r->gprs)))
		sets |= KVMI_REGS_GENERAL;
	if (memcmp(&r->control, &was->control, sizeof(r->control)))
		sets |= KVMI_REGS_CONTROL;
	if (memcmp(&r->segments, &was->segments, sizeof(r->segments)))
		sets |= KVMI_REGS_SEGMENT;
	if (sets & KVMI_REGS_GENERAL)
		ret = kvmi_vcpu_set_gprs(g.vm, g.current, &r->gprs);
	if (!ret && (sets & KVMI_REGS_CONTROL))
		ret = kvmi_vcpu_set_control(g.vm, g.current, &r->control);
	if (!ret && (sets & KVMI_REGS_SEGMENT))
		ret = kvmi_vcpu_set_segments(g.vm, g.current, &r->segments);
	if (!ret && memcmp(r->xsave, was->xsave, FXSAVE_SIZE)) {
		/* XSTATE_BV: what was in its initial state is not any more. */
		r->xsave[FXSAVE_SIZE] |= 3;
		ret = kvmi_vcpu_set_state(g.vm, g.current, KVMI_STATE_XSAVE,
					  r->xsave, r->nr_xsave);
	}
	return ret;
}

/* FXSAVE has a bit for each register, empty or not; gdb knows two. */
static uint32_t full_tag(uint8_t tag)
{
	uint32_t full = 0;
	int i;

	for (i = 0; i < 8; i++)
		if (!(tag & 1 << i))
			full |= 3U << 2 * i;
	return full;
}

static char *reg_out(char *to, struct cpu_regs *r, const struct reg *reg)
{
	uint8_t value[16] = {};
	uint32_t tag;

	memcpy(value, reg_place(r, reg), reg->real);
	if (reg->where == TAG) {
		tag = full_tag(value[0]);
		memcpy(value, &tag, sizeof(tag));
	}
	return put_hex(to, value, reg->size);
}

static bool reg_in(const char *from, struct cpu_regs *r, const struct reg *reg)
{
	uint8_t value[16];
	uint8_t tag = 0;
	int i;

	if (!get_hex(from, value, reg->size))
		return false;
	if (reg->where == TAG) {
		for (i = 0; i < 8; i++)
			if ((value[i / 4] >> i % 4 * 2 & 3) != 3)
				tag |= 1 << i;
		value[0] = tag;
	}
	/* A selector alone makes no segment: it is not written. */
	if (reg->where != SEGMENT)
		memcpy(reg_place(r, reg), value, reg->real);
	return true;
}

static void do_regs(void)
{
	static struct cpu_regs r;
	char *to = g.reply;
	int ret = load_regs(&r);
	size_t i;

	if (ret) {
		reply_error(ret);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		to = reg_out(to, &r, &regs[i]);
	*to = 0;
	send_packet(g.reply);
}

static void do_set_regs(const char *p)
{
	static struct cpu_regs r, was;
	int ret = load_regs(&r);
	size_t i;

	was = r;
	for (i = 0; !ret && i < ARRAY_SIZE(regs); i++) {
		if (strlen(p) < 2U * regs[i].size || !reg_in(p, &r, &regs[i]))
			ret = -EINVAL;
		p += 2 * regs[i].size;
	}
	if (!ret)
		ret = store_regs(&r, &was);
	if (ret)
		reply_error(ret);
	else
		reply("OK");
}

static void do_reg(const char *p, bool write)
{
	static struct cpu_regs r, was;
	uint64_t n;
	int ret;

	p = get_number(p, write ? '=' : 0, &n);
	if (!p || n >= ARRAY_SIZE(regs) ||
	    (write && strlen(p) != 2U * regs[n].size)) {
		reply_error(-EINVAL);
		return;
	}
	ret = load_regs(&r);
	was = r;
	if (!ret && write && !reg_in(p, &r, &regs[n]))
		ret = -EINVAL;
	if (!ret && write)
		ret = store_regs(&r, &was);
	if (ret) {
		reply_error(ret);
	} else if (write) {
		reply("OK");
	} else {
		*reg_out(g.reply, &r, &regs[n]) = 0;
		send_packet(g.reply);
	}
}

/* ---- breakpoints in memory --------------------------------------------------------------- */

/* While the VM leaves, that it could be. */
static int breakpoint_insert(struct breakpoint *bp)
{
	uint8_t int3 = INT3;
	ssize_t n;

	n = kvmi_vm_read(g.vm, bp->gpa, &bp->byte, 1);
	if (n == 1 && !g.leaving)
		n = kvmi_vm_write(g.vm, bp->gpa, &int3, 1);
	if (n != 1)
		return n < 0 ? n : -ENXIO;
	bp->there = !g.leaving;
	return 0;
}

static int breakpoint_take_out(struct breakpoint *bp)
{
	uint8_t byte;
	ssize_t n;

	if (!bp->there)
		return 0;
	/* The guest may have written there itself. */
	n = kvmi_vm_read(g.vm, bp->gpa, &byte, 1);
	if (n == 1 && byte == INT3)
		n = kvmi_vm_write(g.vm, bp->gpa, &bp->byte, 1);
	bp->there = false;
	return n < 0 ? n : 0;
}

/* The VMM is about to read all memory, or has done with it. */
static void set_leaving(bool leaving)
{
	struct breakpoint *bp;
	int ret;

	g.leaving = leaving;
	for (bp = g.breakpoints; bp; bp = bp->next) {
		if (bp->there != leaving)
			continue;
		ret = leaving ? breakpoint_take_out(bp) : breakpoint_insert(bp);
		if (ret && ret != -ENODEV)
			fprintf(stderr, "kvmi: gdb: cannot %s the breakpoint at 0x%llx: %s\n",
				leaving ? "take out" : "put in",
				(unsigned long long)bp->gva,
				kvmi_error_message());
	}
}

/* Is the memory of the VM being read already? */
static int find_leaving(void)
{
	struct kvmi_slot *slots, *largest = NULL;
	int nr, i;

	nr = kvmi_vm_get_slots(g.vm, NULL, 0);
	if (nr <= 0)
		return nr;
	slots = calloc(nr, sizeof(*slots));
	if (!slots)
		abort();
	i = kvmi_vm_get_slots(g.vm, slots, nr);
	if (i < nr)
		nr = i;
	for (i = 0; i < nr; i++)
		if (!largest || slots[i].nr_pages > largest->nr_pages)
			largest = &slots[i];
	g.leaving = largest && largest->flags & KVMI_SLOT_DIRTY_LOG;
	free(slots);
	return nr < 0 ? nr : 0;
}

static int watch_leaving(void)
{
	struct kvmi_control_event control = {
		.vcpu = KVMI_VCPU_VM,
		.kind = KVMI_EVENT_VM,
		.mode = KVMI_MODE_SYNC,
		.index = KVMI_VM_LEAVING,
	};
	int ret;

	ret = kvmi_event_control(g.vm, &control);
	/* A kernel that is older than the tool. */
	if (ret == -EOPNOTSUPP)
		return 0;
	control.mode = KVMI_MODE_ASYNC;
	control.index = KVMI_VM_STAYING;
	if (!ret)
		ret = kvmi_event_control(g.vm, &control);
	return ret ?: find_leaving();
}

/* ---- vCPUs stop and go ------------------------------------------------------------------- */

static int set_stepping(uint32_t v, bool on)
{
	struct cpu *cpu = &g.cpus[v];
	int ret;

	if (cpu->stepping == on)
		return 0;
	ret = kvmi_event_watch(g.vm, v, KVMI_EVENT_STEP,
			       on ? KVMI_MODE_SYNC : KVMI_MODE_OFF, 0);
	if (!ret)
		cpu->stepping = on;
	return ret;
}

static int answer(uint32_t v, enum kvmi_action action)
{
	struct cpu *cpu = &g.cpus[v];
	struct kvmi_reply r;
	uint64_t id = cpu->id;

	if (!id)
		return 0;
	cpu->id = 0;
	/* A step that is done cannot be tried again. */
	if (cpu->kind == KVMI_EVENT_STEP && action == KVMI_ACTION_RETRY)
		action = KVMI_ACTION_CONTINUE;
	kvmi_reply_init(&r, action);
	return kvmi_event_answer_id(g.vm, v, id, &r);
}

/* All that happened meanwhile: what is open on which vCPU. */
static int collect(void)
{
	const struct kvmi_ev_cancelled *cancelled;
	const struct kvmi_ev_breakpoint *bp;
	const struct kvmi_ev_access *access;
	const struct kvmi_ev_step *step;
	const struct kvmi_ev_vm *vm;
	const struct kvmi_event *ev;
	struct cpu *cpu;
	int ret;

	while ((ret = kvmi_event_wait(g.vm, &ev, 0)) > 0) {
		vm = kvmi_event_vm(ev);
		if (vm) {
			set_leaving(vm->change == KVMI_VM_LEAVING);
			/* The VMM waits for no more than that. */
			kvmi_event_reply(g.vm, ev, KVMI_ACTION_CONTINUE);
			continue;
		}
		/* One that came later than gdb: it is not stopped, either. */
		if (ev->vcpu >= g.nr_cpus) {
			kvmi_event_reply(g.vm, ev, KVMI_ACTION_CONTINUE);
			continue;
		}
		cpu = &g.cpus[ev->vcpu];
		cancelled = kvmi_event_cancelled(ev);
		if (cancelled) {
			if (cpu->id == cancelled->event)
				cpu->id = 0;
			cpu->beside = false;
			continue;
		}
		if (!kvmi_event_is_sync(ev))
			continue;
		cpu->id = ev->id;
		cpu->kind = ev->kind;
		cpu->fresh = true;
		bp = kvmi_event_breakpoint(ev);
		step = kvmi_event_step(ev);
		access = kvmi_event_access(ev);
		if (bp)
			cpu->pc = bp->pc;
		if (step)
			cpu->pc = step->pc;
		if (access) {
			cpu->gpa = access->gpa;
			cpu->access = access->access;
		}
	}
	return ret;
}

static int stop_all(void)
{
	uint32_t v;
	int ret;

	for (v = 0; v < g.nr_cpus; v++) {
		if (g.cpus[v].paused)
			continue;
		do {
			ret = kvmi_vcpu_pause(g.vm, v);
		} while (ret == -EINTR && !interrupted);
		if (ret)
			return ret;
		g.cpus[v].paused = true;
	}
	g.running = false;
	return 0;
}

/* What is open is answered, or looked at if nobody has yet. */
static int go(uint32_t v)
{
	struct cpu *cpu = &g.cpus[v];
	int ret;

	ret = set_stepping(v, cpu->run == STEP);
	if (!ret && cpu->id && !cpu->fresh)
		ret = answer(v, KVMI_ACTION_RETRY);
	if (!ret && cpu->paused) {
		ret = kvmi_vcpu_resume(g.vm, v);
		cpu->paused = false;
	}
	return ret;
}

static void report(uint32_t v, const char *why)
{
	g.current = v;
	reply("T05thread:%x;%s", v + 1, why);
}

/* ---- breakpoints and watchpoints ------------------------------------------------------------ */

static int breakpoint_set(uint64_t gva)
{
	struct breakpoint *bp;
	uint64_t gpa;
	int ret;

	ret = translate(g.current, gva, &gpa);
	if (ret)
		return ret;
	if (breakpoint_at(gpa))
		return 0;
	bp = calloc(1, sizeof(*bp));
	if (!bp)
		abort();
	*bp = (struct breakpoint) { .gva = gva, .gpa = gpa };
	ret = breakpoint_insert(bp);
	if (ret) {
		free(bp);
		return ret;
	}
	bp->next = g.breakpoints;
	g.breakpoints = bp;
	return 0;
}

static int breakpoint_remove(struct breakpoint **at)
{
	struct breakpoint *bp = *at;
	int ret;

	ret = breakpoint_take_out(bp);
	*at = bp->next;
	free(bp);
	return ret;
}

static int breakpoint_clear(uint64_t gva)
{
	struct breakpoint **at;

	/* By its address then: another process may be current by now. */
	for (at = &g.breakpoints; *at; at = &(*at)->next)
		if ((*at)->gva == gva)
			return breakpoint_remove(at);
	return 0;
}

/* The rights of a page, by all watchpoints on it. */
static int protect(uint64_t gpa)
{
	uint32_t access = KVMI_ACCESS_RWX;
	int i;

	for (i = 0; i < NR_WATCH; i++) {
		if (!g.watches[i].len || (g.watches[i].gpa ^ gpa) / PAGE)
			continue;
		/* Not readable means not executable, either, on AMD. */
		if (g.watches[i].kind != '2')
			access = 0;
		access &= ~KVMI_ACCESS_W;
	}
	return kvmi_view_set_access(g.vm, g.view, gpa / PAGE, 1, access);
}

static int watch_set(char kind, uint64_t gva, uint64_t len)
{
	struct watch *w = g.watches;
	int ret;

	if (!len || len > sizeof(w->old) || gva % PAGE + len > PAGE)
		return -EINVAL;
	while (w->len)
		if (++w == g.watches + NR_WATCH)
			return -ENOSPC;
	if (!g.view) {
		ret = kvmi_view_create(g.vm, KVMI_ACCESS_RWX, &g.view);
		if (!ret)
			ret = kvmi_event_watch(g.vm, KVMI_VCPU_ALL,
					       KVMI_EVENT_ACCESS,
					       KVMI_MODE_SYNC, 0);
		if (!ret)
			ret = kvmi_view_switch(g.vm, KVMI_VCPU_ALL, g.view);
		if (ret)
			return ret;
	}
	ret = translate(g.current, gva, &w->gpa);
	if (!ret)
		ret = access_page(w->gpa, w->old, len, false);
	if (ret)
		return ret;
	w->gva = gva;
	w->kind = kind;
	w->len = len;
	ret = protect(w->gpa);
	if (ret)
		w->len = 0;
	return ret;
}

static int watch_clear(char kind, uint64_t gva, uint64_t len)
{
	struct watch *w;

	for (w = g.watches; w < g.watches + NR_WATCH; w++) {
		if (w->len == len && w->kind == kind && w->gva == gva) {
			w->len = 0;
			return protect(w->gpa);
		}
	}
	return 0;
}

static void do_point(const char *p, bool set)
{
	char kind = *p;
	uint64_t addr, len;
	int ret;

	/* Z1, by debug registers, is not had: gdb then says so. */
	if (kind != '0' && (kind < '2' || kind > '4')) {
		reply("%s", "");
		return;
	}
	p = p[1] == ',' ? get_number(p + 2, ',', &addr) : NULL;
	/* Behind the length there may be conditions, which gdb looks at itself. */
	if (!p || !isxdigit((unsigned char)*p)) {
		reply_error(-EINVAL);
		return;
	}
	len = strtoull(p, NULL, 16);
	if (kind == '0')
		ret = set ? breakpoint_set(addr) : breakpoint_clear(addr);
	else
		ret = set ? watch_set(kind, addr, len) :
			    watch_clear(kind, addr, len);
	if (ret)
		reply_error(ret);
	else
		reply("OK");
}

/* ---- events --------------------------------------------------------------------------------- */

/* The watchpoint that an access meets, by its first byte; -1. */
static int watch_hit(const struct cpu *cpu)
{
	bool write = cpu->access & KVMI_ACCESS_W;
	const struct watch *w;
	int i;

	if (!(cpu->access & (KVMI_ACCESS_R | KVMI_ACCESS_W)))
		return -1;

	for (i = 0; i < NR_WATCH; i++) {
		w = &g.watches[i];
		if (!w->len || cpu->gpa - w->gpa >= w->len)
			continue;
		if (w->kind == '4' || (w->kind == '2') == write)
			return i;
	}
	return -1;
}

/* ... and one whose bytes have changed, however they were met. */
static int watch_changed(void)
{
	uint8_t now[sizeof(g.watches[0].old)] = {};
	struct watch *w;
	int i, found = -1;

	for (i = 0; i < NR_WATCH; i++) {
		w = &g.watches[i];
		if (!w->len || access_page(w->gpa, now, w->len, false) ||
		    !memcmp(now, w->old, w->len))
			continue;
		memcpy(w->old, now, w->len);
		if (w->kind != '3')
			found = i;
	}
	return found;
}

static bool watched_page(uint64_t gpa)
{
	int i;

	for (i = 0; i < NR_WATCH; i++)
		if (g.watches[i].len && !((g.watches[i].gpa ^ gpa) / PAGE))
			return true;
	return false;
}

/* Not gdb's: it goes on. */
static int pass(uint32_t v, enum kvmi_action action)
{
	g.cpus[v].fresh = false;
	return answer(v, action);
}

/* A new event of a vCPU: whether gdb is told, and what. May be negative. */
static int look(uint32_t v, char *why, size_t room)
{
	static const char * const names[] = { "watch", "rwatch", "awatch" };
	struct cpu *cpu = &g.cpus[v];
	uint64_t gpa;
	uint8_t byte;
	int ret, i;

	*why = 0;
	switch (cpu->kind) {
	case KVMI_EVENT_BREAKPOINT:
		ret = translate(v, cpu->pc, &gpa);
		if (ret)
			return ret == -ENODEV ? ret : pass(v, KVMI_ACTION_CONTINUE);
		if (!breakpoint_at(gpa)) {
			/* The guest's own, or one that is gone meanwhile. */
			if (kvmi_vm_read(g.vm, gpa, &byte, 1) == 1 && byte != INT3)
				return pass(v, KVMI_ACTION_RETRY);
			return pass(v, KVMI_ACTION_CONTINUE);
		}
		snprintf(why, room, "swbreak:;");
		return 1;
	case KVMI_EVENT_ACCESS:
		/* Before the instruction: it is let through, and looked after. */
		if (!watched_page(cpu->gpa))
			return pass(v, KVMI_ACTION_RETRY);
		if (!cpu->beside)
			cpu->hit = -1;
		cpu->beside = true;
		i = watch_hit(cpu);
		if (i >= 0)
			cpu->hit = i;
		ret = set_stepping(v, true);
		return ret ?: pass(v, KVMI_ACTION_CONTINUE);
	case KVMI_EVENT_STEP:
		if (!cpu->beside)
			return 1;
		cpu->beside = false;
		i = watch_changed();
		if (i < 0)
			i = cpu->hit;
		if (i >= 0 && g.watches[i].len) {
			snprintf(why, room, "%s:%llx;", names[g.watches[i].kind - '2'],
				 (unsigned long long)g.watches[i].gva);
			return 1;
		}
		if (cpu->run == STEP)
			return 1;
		ret = set_stepping(v, false);
		return ret ?: pass(v, KVMI_ACTION_CONTINUE);
	default:
		return pass(v, KVMI_ACTION_CONTINUE);
	}
}

/* New events, one by one, until one is for gdb: then all stop. */
static int events(void)
{
	char why[64];
	uint32_t v;
	int ret;

	ret = collect();
	if (ret < 0)
		return ret;
	for (v = 0; v < g.nr_cpus; v++) {
		if (!g.cpus[v].id || !g.cpus[v].fresh)
			continue;
		/* Of a vCPU that gdb has left standing: later. */
		if (g.cpus[v].run == STOPPED && !g.cpus[v].beside)
			continue;
		ret = look(v, why, sizeof(why));
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		g.cpus[v].fresh = false;
		ret = stop_all();
		if (ret)
			return ret;
		report(v, why);
		return 0;
	}
	return 0;
}

/* ---- gdb's wishes --------------------------------------------------------------------------- */

static int resume(void)
{
	uint32_t v;
	int ret = 0;

	g.running = true;
	for (v = 0; v < g.nr_cpus && !ret; v++)
		if (g.cpus[v].run != STOPPED)
			ret = go(v);
	/* What happened while they were being stopped. */
	return ret ?: events();
}

/* Which vCPU a thread id is; 0 and -1 are any and all. */
static bool get_thread(const char *p, int64_t *thread)
{
	if (!strcmp(p, "-1")) {
		*thread = -1;
		return true;
	}
	if (!isxdigit((unsigned char)*p))
		return false;
	*thread = strtoll(p, NULL, 16);
	return *thread <= g.nr_cpus;
}

/* c:1;s - the first action that fits a vCPU is its own. */
static bool parse_actions(char *p)
{
	char *action, *thread, *save;
	int64_t only;
	uint32_t v;

	for (v = 0; v < g.nr_cpus; v++)
		g.cpus[v].run = STOPPED;
	for (action = strtok_r(p, ";", &save); action;
	     action = strtok_r(NULL, ";", &save)) {
		only = -1;
		thread = strchr(action, ':');
		if (thread && !get_thread(thread + 1, &only))
			return false;
		if (!strchr("cCsS", *action))
			return false;
		for (v = 0; v < g.nr_cpus; v++) {
			if (g.cpus[v].run != STOPPED ||
			    (only > 0 && only != v + 1) ||
			    (!only && v != g.current))
				continue;
			g.cpus[v].run = strchr("sS", *action) ? STEP : RUN;
		}
	}
	return true;
}

static int do_vcont(char *p)
{
	if (parse_actions(p))
		return resume();
	reply_error(-EINVAL);
	return 0;
}

static void do_query(const char *p)
{
	static const char features[] = "qXfer:features:read:target.xml:";
	uint64_t offset, len;
	int64_t thread;
	char *to;
	uint32_t v;

	if (!strncmp(p, "qSupported", 10)) {
		reply("PacketSize=%x;qXfer:features:read+;swbreak+;vContSupported+;%s",
		      PACKET - 16, "QStartNoAckMode+");
	} else if (!strcmp(p, "qAttached")) {
		reply("1");
	} else if (!strcmp(p, "qC")) {
		reply("QC%x", g.current + 1);
	} else if (!strcmp(p, "qfThreadInfo")) {
		to = g.reply;
		for (v = 0; v < g.nr_cpus; v++)
			to += sprintf(to, "%c%x", v ? ',' : 'm', v + 1);
		send_packet(g.reply);
	} else if (!strcmp(p, "qsThreadInfo")) {
		reply("l");
	} else if (!strncmp(p, "qThreadExtraInfo,", 17) &&
		   get_thread(p + 17, &thread) && thread > 0) {
		char text[32];

		snprintf(text, sizeof(text), "vCPU %d", (int)thread - 1);
		*put_hex(g.reply, text, strlen(text)) = 0;
		send_packet(g.reply);
	} else if (!strncmp(p, features, sizeof(features) - 1)) {
		p = get_number(p + sizeof(features) - 1, ',', &offset);
		if (!p || !get_number(p, 0, &len)) {
			reply_error(-EINVAL);
			return;
		}
		if (offset >= sizeof(target_xml) - 1) {
			reply("l");
			return;
		}
		if (len > PACKET - 32)
			len = PACKET - 32;
		reply("%c%.*s", offset + len < sizeof(target_xml) - 1 ? 'm' : 'l',
		      (int)len, target_xml + offset);
	} else {
		reply("%s", "");
	}
}

static void do_thread(const char *p)
{
	int64_t thread;

	if (!get_thread(p + 1, &thread)) {
		reply_error(-EINVAL);
		return;
	}
	if (thread > 0)
		g.current = thread - 1;
	reply("OK");
}

static int command(char *p)
{
	int64_t thread;
	char cont[16];

	switch (*p) {
	case '?':
		report(g.current, "");
		return 0;
	case 'g':
		do_regs();
		return 0;
	case 'G':
		do_set_regs(p + 1);
		return 0;
	case 'p':
		do_reg(p + 1, false);
		return 0;
	case 'P':
		do_reg(p + 1, true);
		return 0;
	case 'm':
		do_memory(p + 1, false);
		return 0;
	case 'M':
		do_memory(p + 1, true);
		return 0;
	case 'H':
		do_thread(p + 1);
		return 0;
	case 'T':
		if (get_thread(p + 1, &thread) && thread > 0)
			reply("OK");
		else
			reply_error(-EINVAL);
		return 0;
	case 'Z':
	case 'z':
		do_point(p + 1, *p == 'Z');
		return 0;
	case 'q':
		do_query(p);
		return 0;
	case 'Q':
		if (!strcmp(p, "QStartNoAckMode")) {
			reply("OK");
			g.no_ack = true;
		} else {
			reply("%s", "");
		}
		return 0;
	case 'c':
	case 's':
		/* To go on elsewhere is what P is for. */
		if (*p == 'c')
			snprintf(cont, sizeof(cont), "c");
		else
			snprintf(cont, sizeof(cont), "s:%x", g.current + 1);
		return do_vcont(cont);
	case 'v':
		if (!strcmp(p, "vCont?")) {
			reply("vCont;c;C;s;S");
			return 0;
		}
		if (!strncmp(p, "vCont;", 6))
			return do_vcont(p + 6);
		if (!strncmp(p, "vKill", 5)) {
			g.killed = true;
			g.over = true;
			reply("OK");
			return 0;
		}
		reply("%s", "");
		return 0;
	case 'D':
		reply("OK");
		g.over = true;
		return 0;
	case 'k':
		g.killed = true;
		g.over = true;
		return 0;
	default:
		reply("%s", "");
		return 0;
	}
}

/* What is complete of what has come in. */
static int input(void)
{
	unsigned char sum;
	char *end, *at;
	size_t used;
	int ret = 0;

	while (g.nr && !g.over && !ret) {
		used = 1;
		if (g.buf[0] == 3 && g.running) {
			ret = stop_all();
			if (!ret)
				reply("T02thread:%x;", g.current + 1);
		} else if (g.buf[0] == '$') {
			end = memchr(g.buf, '#', g.nr);
			if (!end && g.nr == sizeof(g.buf))
				return -EPROTO;
			if (!end || end + 2 >= g.buf + g.nr)
				return 0;
			used = end + 3 - g.buf;
			for (sum = 0, at = g.buf + 1; at < end; at++)
				sum += *at;
			if (!g.no_ack && (hex(end[1]) << 4 | hex(end[2])) != sum) {
				send_all("-", 1);
			} else {
				if (!g.no_ack)
					send_all("+", 1);
				*end = 0;
				ret = command(g.buf + 1);
			}
		}
		g.nr -= used;
		memmove(g.buf, g.buf + used, g.nr);
	}
	return ret;
}

static int serve(void)
{
	struct pollfd fds[] = {
		{ .fd = g.in, .events = POLLIN },
		{ .fd = kvmi_vm_fd(g.vm), .events = POLLIN },
	};
	ssize_t n;
	int ret = 0;

	while (!g.over && !interrupted && !ret) {
		if (poll(fds, 2, -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (fds[1].revents) {
			/* While gdb has it stopped, its vCPUs can wait. */
			ret = g.running ? events() : collect();
			if (!ret && (fds[1].revents & POLLHUP))
				ret = -ENODEV;
			/* gdb is told when it asks for something. */
			if (ret == -ENODEV && !g.running) {
				fds[1].fd = -1;
				ret = 0;
			}
		}
		if (!ret && fds[0].revents) {
			n = read(g.in, g.buf + g.nr, sizeof(g.buf) - g.nr);
			if (n <= 0)
				break;
			g.nr += n;
			ret = input();
		}
	}
	if (ret == -ENODEV)
		reply("W00");
	return ret;
}

/* The guest as it was, but for what gdb has changed on purpose. */
static void withdraw(void)
{
	while (g.breakpoints)
		breakpoint_remove(&g.breakpoints);
	collect();
	/* What is open is tried again, by the end of the session. */
}

/* ---- where gdb is ---------------------------------------------------------------------------- */

static int listen_error(const char *where)
{
	fprintf(stderr, "kvmi: cannot listen on %s: %s\n", where,
		strerror(errno));
	return EXIT_ERROR;
}

static int wait_for_gdb(const char *where)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct sockaddr *addr = (void *)&in;
	socklen_t len = sizeof(in);
	uint64_t port;
	int fd, one = 1;

	if (!strcmp(where, "stdio")) {
		g.in = STDIN_FILENO;
		g.out = STDOUT_FILENO;
		return EXIT_OK;
	}
	if (strchr(where, '/')) {
		if (strlen(where) >= sizeof(un.sun_path))
			return usage_error("%s is too long", where);
		memcpy(un.sun_path, where, strlen(where) + 1);
		addr = (void *)&un;
		len = sizeof(un);
	} else if (parse_number(where, &port) && port && port < 65536) {
		in.sin_port = htons(port);
	} else {
		return usage_error("%s is neither a port nor a path nor stdio",
				   where);
	}
	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return listen_error(where);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, addr, len) || listen(fd, 1)) {
		listen_error(where);
		close(fd);
		return EXIT_ERROR;
	}
	fprintf(stderr, "kvmi: gdb: target remote %s%s\n",
		addr == (void *)&in ? ":" : "", where);
	g.in = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (g.in < 0 && errno != EINTR)
		listen_error(where);
	close(fd);
	if (addr == (void *)&un)
		unlink(where);
	if (g.in < 0)
		return EXIT_ERROR;
	g.out = g.in;
	if (addr == (void *)&in)
		setsockopt(g.in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return EXIT_OK;
}

int cmd_gdb(int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ }
	};
	const char *where = "1234";
	struct kvmi_info info;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (opt != 'l')
			return EXIT_USAGE;
		where = optarg;
	}
	if (argc - optind != 1)
		return usage_error("kvmi gdb VM");
	catch_signals();
	signal(SIGPIPE, SIG_IGN);
	/* Attached first: what is wrong is said here, not to gdb. */
	ret = attach(argv[optind], &g.vm);
	if (ret)
		return ret;
	ret = wait_for_gdb(where);
	if (ret) {
		kvmi_vm_close(g.vm);
		return ret;
	}

	ret = kvmi_vm_get_info(g.vm, &info);
	if (!ret) {
		g.pid = info.out_pid;
		g.nr_cpus = info.out_nr_vcpus;
		g.cpus = calloc(g.nr_cpus + 1, sizeof(*g.cpus));
		if (!g.cpus)
			abort();
		ret = kvmi_event_watch(g.vm, KVMI_VCPU_ALL,
				       KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	}
	if (!ret)
		ret = watch_leaving();
	if (!ret)
		ret = stop_all();
	if (!ret)
		ret = serve();
	/* A VM that ends while it is debugged is no error, nor is a signal. */
	if (ret == -ENODEV || (ret == -EINTR && interrupted))
		ret = 0;
	if (!ret && g.killed && kill(g.pid, SIGKILL))
		ret = -errno;
	if (!g.killed) {
		stop_all();
		withdraw();
	}
	if (ret == -EPROTO) {
		fprintf(stderr, "kvmi: this is not gdb\n");
		ret = EXIT_ERROR;
	} else if (ret) {
		ret = failed(ret);
	}
	kvmi_vm_close(g.vm);
	return ret;
}
