// SPDX-License-Identifier: GPL-2.0-only
/* Every kind of event that an instruction gives, and that the guest cannot tell. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tool.h"

#define CR0_TS			(1UL << 3)
#define CR0_AM			(1UL << 18)
#define CR4_TSD			(1UL << 2)
#define CR4_OSXSAVE		(1UL << 18)
#define MSR_STAR		0xc0000081
#define PIC_DATA		0xa1
#define NOWHERE			(1UL << 40)
/* Of GUEST_TRY(). */
#define NO_OUTPUTS

/* What the guest has found; the same whether it is watched or not. */
enum {
	R_CR0, R_CR0_AM, R_CR0_TS, R_CR0_CLTS, R_CR0_LMSW, R_CR3, R_CR4, R_CR8,
	R_DR0, R_DR6, R_DR7, R_DR_UD, R_XCR0, R_UD, R_UD_RIP, R_DE, R_GP, R_PF,
	R_PF_CR2, R_PF_ERROR, R_NM, R_SS, R_DB, R_DB_DR6, R_GDT, R_GDT_LIMIT, R_IDT,
	R_LDT, R_TR, R_LTR, R_IN, R_INS, R_TSC, R_TSC_USER, R_TSCP, R_PMC, R_VMCALL,
	R_CPUID, R_MSR, R_RANDOM, R_SEED, R_FLAGS, R_NR,
};

static bool amd;

/* In the guest's copy: set before it runs. */
static volatile uint64_t guest_amd;

struct __attribute__((packed)) dtable {
	uint16_t limit;
	uint64_t base;
};

__guest_inline uint64_t last_rip_of(void)
{
	return guest_cpu()->last.rip;
}

__guest_inline uint64_t read_dr(int dr)
{
	uint64_t val;

	switch (dr) {
	case 0:
		asm volatile("mov %%dr0, %0" : "=r" (val));
		break;
	case 6:
		asm volatile("mov %%dr6, %0" : "=r" (val));
		break;
	default:
		asm volatile("mov %%dr7, %0" : "=r" (val));
		break;
	}
	return val;
}

static __guest void crs(uint64_t *r)
{
	uint64_t cr0 = guest_read_cr0();

	r[R_CR0] = cr0;
	guest_write_cr0(cr0 | CR0_AM);
	r[R_CR0_AM] = guest_read_cr0();
	guest_write_cr0(cr0);
	guest_write_cr0(cr0 | CR0_TS);
	r[R_CR0_TS] = guest_read_cr0();
	asm volatile("clts" : : : "memory");
	r[R_CR0_CLTS] = guest_read_cr0();
	asm volatile("lmsw %w0" : : "r" ((cr0 & 15) | CR0_TS) : "memory");
	r[R_CR0_LMSW] = guest_read_cr0();
	asm volatile("clts" : : : "memory");
	r[R_CR3] = guest_read_cr3();
	guest_write_cr3(r[R_CR3]);
	r[R_CR4] = guest_read_cr4();
	guest_write_cr4(r[R_CR4] | CR4_TSD);
	guest_write_cr4(r[R_CR4]);
	guest_write_cr8(5);
	r[R_CR8] = guest_read_cr8();
	guest_write_cr8(0);
}

static __guest void drs(uint64_t *r)
{
	asm volatile("mov %0, %%dr0" : : "r" (0x1234567800UL));
	r[R_DR0] = read_dr(0);
	r[R_DR6] = read_dr(6);
	r[R_DR7] = read_dr(7);
	asm volatile("mov %0, %%dr7" : : "r" (0x400UL));
	/* With CR4.DE, 4 and 5 are none. */
	guest_write_cr4(guest_read_cr4() | 8);
	r[R_DR_UD] = GUEST_TRY("mov %%dr4, %%rax", NO_OUTPUTS, : "rax", "memory");
	guest_write_cr4(guest_read_cr4() & ~8UL);
	asm volatile("mov %0, %%dr0" : : "r" (0UL));
}

static __guest void xcr(uint64_t *r)
{
	uint32_t lo, hi;

	if (!(guest_cpuid(1, 0).ecx & 1 << 26))
		return;
	guest_write_cr4(guest_read_cr4() | CR4_OSXSAVE);
	asm volatile("xgetbv" : "=a" (lo), "=d" (hi) : "c" (0));
	asm volatile("xsetbv" : : "a" (3), "d" (0), "c" (0));
	asm volatile("xgetbv" : "=a" (r[R_XCR0]), "=d" (hi) : "c" (0));
	asm volatile("xsetbv" : : "a" (lo), "d" (hi), "c" (0));
	guest_write_cr4(guest_read_cr4() & ~CR4_OSXSAVE);
}

static __guest void exceptions(uint64_t *r)
{
	struct guest_cpu *cpu = guest_cpu();

	r[R_UD] = GUEST_TRY("ud2", NO_OUTPUTS, : "memory");
	r[R_UD_RIP] = last_rip_of();
	r[R_DE] = GUEST_TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; divl %%ecx",
			    NO_OUTPUTS, : "rax", "rcx", "rdx", "memory");
	r[R_GP] = GUEST_TRY("wrmsr", NO_OUTPUTS, "c" (0x12345678), "a" (0), "d" (0) : "memory");
	r[R_PF] = GUEST_TRY("movb $1, (%0)", NO_OUTPUTS, "r" (NOWHERE + 0x123) : "memory");
	r[R_PF_CR2] = cpu->last.cr2;
	r[R_PF_ERROR] = cpu->last.error;
	guest_write_cr0(guest_read_cr0() | CR0_TS);
	r[R_NM] = GUEST_TRY("fnop", NO_OUTPUTS, : "memory");
	asm volatile("clts" : : : "memory");
	r[R_SS] = GUEST_TRY("mov %w0, %%ss", NO_OUTPUTS, "r" (GUEST_KERNEL_CS) : "memory");
	/* The guest's own single step: of one instruction. */
	cpu->count[1] = 0;
	asm volatile("pushf; orl $0x100, (%%rsp); popf; nop; pushf; andl $~0x100, (%%rsp); popf"
		     : : : "memory", "cc");
	r[R_DB] = cpu->count[1];
	r[R_DB_DR6] = cpu->last.dr6;
}

static __guest void tables(uint64_t *r)
{
	struct dtable gdt, idt;
	uint16_t ldt, tr;

	asm volatile("sgdt %0" : "=m" (gdt));
	asm volatile("sidt %0" : "=m" (idt));
	asm volatile("sldt %0" : "=m" (ldt));
	asm volatile("str %0" : "=m" (tr));
	r[R_GDT] = gdt.base;
	r[R_GDT_LIMIT] = gdt.limit;
	r[R_IDT] = idt.base;
	r[R_LDT] = ldt;
	r[R_TR] = tr;
	asm volatile("lgdt %0" : : "m" (gdt));
	asm volatile("lidt %0" : : "m" (idt));
	asm volatile("lldt %0" : : "m" (ldt));
	/* It is busy. */
	r[R_LTR] = GUEST_TRY("ltr %w0", NO_OUTPUTS, "r" (tr) : "memory");
}

static __guest void io(uint64_t *r)
{
	static uint8_t bytes[4] = { 0x11, 0x22, 0x44, 0x88 };
	static uint8_t in[4];
	void *p = bytes;
	uint64_t n = 4;

	guest_out8(PIC_DATA, 0x5a);
	r[R_IN] = guest_in8(PIC_DATA);
	asm volatile("rep outsb" : "+S" (p), "+c" (n) : "d" (PIC_DATA) : "memory");
	p = in;
	n = 4;
	asm volatile("rep insb" : "+D" (p), "+c" (n) : "d" (PIC_DATA) : "memory");
	r[R_INS] = in[0] + (in[3] << 8);
}

static __guest uint64_t user_tsc(uint64_t unused __attribute__((unused)))
{
	return GUEST_TRY("rdtsc", NO_OUTPUTS, : "rax", "rdx", "memory");
}

static __guest void insns(uint64_t *r)
{
	uint64_t tsc = guest_rdtsc(), flags;
	uint32_t ecx = guest_cpuid(1, 0).ecx;

	r[R_TSC] = guest_rdtsc() > tsc;
	if (guest_cpuid(0x80000001, 0).edx & 1 << 27) {
		uint32_t lo, hi, aux;

		guest_wrmsr(0xc0000103, 77);
		asm volatile("rdtscp" : "=a" (lo), "=d" (hi), "=c" (aux));
		r[R_TSCP] = ((uint64_t)hi << 32 | lo) > tsc ? aux : 0;
	}
	guest_write_cr4(guest_read_cr4() | CR4_TSD);
	r[R_TSC_USER] = guest_call_user(user_tsc, 0);
	guest_write_cr4(guest_read_cr4() & ~CR4_TSD);
	r[R_PMC] = GUEST_TRY("rdpmc", NO_OUTPUTS, "c" (0x7fffffff) : "rax", "rdx", "memory");
	asm volatile("pause" : : : "memory");
	guest_invlpg(0x5000);
	asm volatile("wbinvd" : : : "memory");
	if (ecx & 1 << 3) {
		asm volatile("monitor" : : "a" (r), "c" (0), "d" (0) : "memory");
		asm volatile("mwait" : : "a" (0), "c" (0) : "memory");
	}
	/* KVM_HC_VAPIC_POLL_IRQ does nothing. */
	if (guest_amd)
		asm volatile("vmmcall" : "=a" (r[R_VMCALL]) : "a" (1UL), "b" (11UL),
			     "c" (12UL), "d" (13UL), "S" (14UL) : "memory");
	else
		asm volatile("vmcall" : "=a" (r[R_VMCALL]) : "a" (1UL), "b" (11UL),
			     "c" (12UL), "d" (13UL), "S" (14UL) : "memory");
	if (ecx & 1 << 30) {
		uint64_t a = -1UL, b = 0;

		asm volatile("rdrand %0; setc %b1" : "+r" (a), "+q" (b) : : "cc");
		r[R_RANDOM] = b && a != -1UL;
		a = -1UL;
		asm volatile("rdrand %w0" : "+r" (a) : : "cc");
		r[R_RANDOM] += 2 * (a >> 16 == -1UL >> 16);
		asm volatile("rdrand %k0; pushf; pop %1" : "+r" (a), "=r" (flags) :
			     : "cc");
		r[R_RANDOM] += 4 * !(a >> 32);
		r[R_FLAGS] = flags & 0x8d5;
	}
	if (guest_cpuid(0, 0).eax >= 7 && guest_cpuid(7, 0).ebx & 1 << 18) {
		uint64_t a, b = 0;

		asm volatile("rdseed %0; setc %b1" : "=r" (a), "+q" (b) : : "cc");
		r[R_SEED] = b;
	}
	r[R_CPUID] = guest_cpuid(0, 0).ebx;
	guest_wrmsr(MSR_STAR, 0x1234);
	r[R_MSR] = guest_rdmsr(MSR_STAR);
}

static __guest uint64_t everything(uint64_t *r)
{
	crs(r);
	drs(r);
	xcr(r);
	exceptions(r);
	tables(r);
	io(r);
	insns(r);
	return 1;
}

struct want {
	uint32_t kind;
	uint32_t first, last;
	uint32_t access;
	unsigned int least;		/* events that it gives at least */
	unsigned int least_amd;
};

#define RW	(KVMI_ACCESS_R | KVMI_ACCESS_W)

static const struct want wants[] = {
	{ KVMI_EVENT_X86_CR, 0, 0, KVMI_ACCESS_W, 8, 8 },
	{ KVMI_EVENT_X86_CR, 3, 3, RW, 2, 2 },
	{ KVMI_EVENT_X86_CR, 4, 4, KVMI_ACCESS_W, 4, 4 },
	{ KVMI_EVENT_X86_CR, 8, 8, RW, 3, 3 },
	{ KVMI_EVENT_X86_DR, 0, 7, RW, 6, 6 },
	{ KVMI_EVENT_X86_XSETBV, 0, 0, 0, 0, 0 },
	{ KVMI_EVENT_X86_EXCEPTION, 0, 31, 0, 7, 7 },
	{ KVMI_EVENT_X86_DTABLE, 0, 3, RW, 7, 7 },
	{ KVMI_EVENT_X86_IO, PIC_DATA, PIC_DATA, RW, 4, 4 },
	{ KVMI_EVENT_X86_INSN, 0, KVMI_X86_NR_INSNS - 1, 0, 5, 5 },
	{ KVMI_EVENT_HYPERCALL, 0, 100, 0, 1, 1 },
	{ KVMI_EVENT_X86_CPUID, 0, 0, 0, 4, 4 },
	{ KVMI_EVENT_X86_MSR, MSR_STAR, MSR_STAR, RW, 2, 2 },
	{ KVMI_EVENT_X86_EXIT, 0, 0x7fffffff, 0, 30, 30 },
	{ KVMI_EVENT_X86_DELIVERY, 1, 4, 0, 5, 5 },
};

#define NR_WANTS	(sizeof(wants) / sizeof(wants[0]))

static void ask(struct kvmi_vm *kv, const struct want *w, unsigned int mode)
{
	struct kvmi_control_event ctl = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = w->kind,
		.mode = mode,
		.index = w->first,
		.index_last = w->last == w->first ? 0 : w->last,
		.access = w->access,
	};

	if (mode == KVMI_MODE_SYNC && w->kind == KVMI_EVENT_X86_DELIVERY)
		ctl.mode = KVMI_MODE_ASYNC;
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
}

static struct vmm *create(int nr_vcpus)
{
	struct kvmi_caps caps = {};
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	amd = caps.out_vendor == KVMI_VENDOR_AMD;
	*vmm_guest_ptr(vm, guest_amd) = amd;
	return vm;
}

static const char *const result_names[R_NR] = {
	"CR0", "CR0_AM", "CR0_TS", "CR0_CLTS", "CR0_LMSW", "CR3", "CR4", "CR8",
	"DR0", "DR6", "DR7", "DR_UD", "XCR0", "UD", "UD_RIP", "DE", "GP", "PF",
	"PF_CR2", "PF_ERROR", "NM", "SS", "DB", "DB_DR6", "GDT", "GDT_LIMIT", "IDT",
	"LDT", "TR", "LTR", "IN", "INS", "TSC", "TSC_USER", "TSCP", "PMC", "VMCALL",
	"CPUID", "MSR", "RANDOM", "SEED", "FLAGS",
};

static void same_results(const uint64_t *got, const uint64_t *want)
{
	int i;

	for (i = 0; i < R_NR; i++)
		KTAP_ASSERT(got[i] == want[i], "%s: %#llx, not %#llx",
			    result_names[i], (unsigned long long)got[i],
			    (unsigned long long)want[i]);
}

/* What it finds without anybody watching. */
static void unwatched(struct vmm *vm, uint64_t gpa, uint64_t *results)
{
	memset(vmm_gpa(vm, gpa), 0, R_NR * 8);
	vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	memcpy(results, vmm_gpa(vm, gpa), R_NR * 8);
	/* It does what it is thought to do. */
	KTAP_EQ(results[R_CR0_AM], results[R_CR0] | CR0_AM);
	KTAP_EQ(results[R_CR0_CLTS], results[R_CR0]);
	KTAP_EQ(results[R_CR8], 5);
	KTAP_EQ(results[R_DR0], 0x1234567800);
	KTAP_EQ(results[R_UD], 7);
	KTAP_EQ(results[R_PF], 15);
	KTAP_EQ(results[R_NM], 8);
	KTAP_EQ(results[R_SS], 14);
	KTAP_EQ(results[R_TSC_USER], 14);
	KTAP_EQ(results[R_IN], 0x5a);
	KTAP_EQ(results[R_INS], 0x8888);
	KTAP_EQ(results[R_VMCALL], 0);
}

struct tally {
	unsigned int kind[KVMI_NR_KINDS];
};

static void note(struct tally *t, const struct kvmi_event *ev)
{
	KTAP_ASSERT(ev->kind < KVMI_NR_KINDS);
	t->kind[ev->kind]++;
}

static void enough(const struct tally *t, const struct want *w)
{
	unsigned int least = 0;
	size_t i;

	for (i = 0; i < NR_WANTS; i++)
		if (wants[i].kind == w->kind)
			least += amd ? wants[i].least_amd : wants[i].least;
	KTAP_ASSERT(t->kind[w->kind] >= least, "%s: %u events, not %u",
		    kvmi_event_name(w->kind), t->kind[w->kind], least);
}

/* Answer all there is until the guest is done. */
static void serve(struct vmm *vm, struct kvmi_vm *kv, struct tally *t)
{
	const struct kvmi_event *ev;
	bool running;
	int ret;

	for (;;) {
		/* Before it is waited: it may post its last and end behind that. */
		running = vmm_vcpu_running(vm, 0);
		ret = kvmi_event_wait(kv, &ev, 20);
		KTAP_ASSERT(ret >= 0, "%s", kvmi_error_message());
		if (!ret && !running)
			return;
		if (!ret)
			continue;
		note(t, ev);
		KTAP_LIB_OK(kvmi_event_reply(kv, ev, KVMI_ACTION_CONTINUE));
	}
}

/* One kind at a time, in each mode: the guest finds what it finds without. */
static void one_by_one(unsigned int mode)
{
	struct vmm *vm = create(1);
	struct kvmi_vm *kv;
	uint64_t gpa = vmm_alloc_pages(vm, 1), want[R_NR];
	struct kvmi_stats stats;
	struct tally t;
	size_t i;

	unwatched(vm, gpa, want);
	kv = tool_attach(vm);
	for (i = 0; i < NR_WANTS; i++) {
		ask(kv, &wants[i], mode);
		memset(&t, 0, sizeof(t));
		memset(vmm_gpa(vm, gpa), 0, R_NR * 8);
		vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
		vmm_vcpu_start(vm, 0);
		serve(vm, kv, &t);
		KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
		same_results(vmm_gpa(vm, gpa), want);
		if (mode == KVMI_MODE_COUNT) {
			KTAP_LIB_OK(kvmi_vm_get_stats(kv, 0, wants[i].kind,
						      &stats));
			t.kind[wants[i].kind] = stats.out_counted;
		}
		KTAP_ASSERT(t.kind[wants[i].kind] >=
			    (amd ? wants[i].least_amd : wants[i].least),
			    "%s: %u events", kvmi_event_name(wants[i].kind),
			    t.kind[wants[i].kind]);
		ask(kv, &wants[i], KVMI_MODE_OFF);
	}
	/* And nothing is left of it. */
	memset(vmm_gpa(vm, gpa), 0, R_NR * 8);
	vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	same_results(vmm_gpa(vm, gpa), want);
	tool_wait_none(kv, 5);
	kvmi_vm_close(kv);
	vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	same_results(vmm_gpa(vm, gpa), want);
	vmm_destroy(vm);
}

#define KIND_ROWS	"E1 E2 E3 E4 E5 E7 E9 E11 E12 E13 E14 E15 E18 E19"

KTAP_CASE(each_sync, KIND_ROWS)
{
	one_by_one(KVMI_MODE_SYNC);
}

KTAP_CASE(each_async, KIND_ROWS " E10")
{
	one_by_one(KVMI_MODE_ASYNC);
}

KTAP_CASE(each_counted, KIND_ROWS " E10 D4")
{
	one_by_one(KVMI_MODE_COUNT);
}

/* All of them at once. */
static void all_at_once(unsigned int mode)
{
	struct vmm *vm = create(1);
	struct kvmi_vm *kv;
	uint64_t gpa = vmm_alloc_pages(vm, 1), want[R_NR];
	struct tally t = {};
	size_t i;
	int n;

	unwatched(vm, gpa, want);
	kv = tool_attach_ring(vm, 1 << 20);
	for (i = 0; i < NR_WANTS; i++)
		ask(kv, &wants[i], mode);
	for (n = 0; n < 3; n++) {
		memset(vmm_gpa(vm, gpa), 0, R_NR * 8);
		vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
		vmm_vcpu_start(vm, 0);
		serve(vm, kv, &t);
		KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
		same_results(vmm_gpa(vm, gpa), want);
	}
	for (i = 0; i < NR_WANTS; i++)
		enough(&t, &wants[i]);
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	same_results(vmm_gpa(vm, gpa), want);
	vmm_destroy(vm);
}

KTAP_CASE(all_sync, KIND_ROWS)
{
	all_at_once(KVMI_MODE_SYNC);
}

KTAP_CASE(all_async, KIND_ROWS " E10")
{
	all_at_once(KVMI_MODE_ASYNC);
}

/*
 * And with every instruction stepped, each event that there is without is there:
 * what kvmi has KVM emulate for a step included.
 */
static void all_stepped(unsigned int step_mode)
{
	struct vmm *vm = create(1);
	struct kvmi_vm *kv;
	uint64_t gpa = vmm_alloc_pages(vm, 1), want[R_NR];
	struct tally t[2] = {};
	unsigned int kind;
	size_t i;
	int n;

	unwatched(vm, gpa, want);
	kv = tool_attach_ring(vm, 1 << 20);
	for (i = 0; i < NR_WANTS; i++)
		/* Of these two there are more. */
		if (wants[i].kind != KVMI_EVENT_X86_EXIT &&
		    wants[i].kind != KVMI_EVENT_X86_DELIVERY)
			ask(kv, &wants[i], KVMI_MODE_SYNC);
	for (n = 0; n < 2; n++) {
		if (n)
			tool_watch(kv, KVMI_EVENT_STEP, step_mode, 0);
		memset(vmm_gpa(vm, gpa), 0, R_NR * 8);
		vmm_vcpu_set_entry(vm, 0, everything, gpa, 0, 0);
		vmm_vcpu_start(vm, 0);
		serve(vm, kv, &t[n]);
		KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
		same_results(vmm_gpa(vm, gpa), want);
	}
	KTAP_EQ(t[0].kind[KVMI_EVENT_STEP], 0);
	KTAP_ASSERT(t[1].kind[KVMI_EVENT_STEP] > 500);
	t[1].kind[KVMI_EVENT_STEP] = 0;
	for (kind = 0; kind < KVMI_NR_KINDS; kind++)
		KTAP_ASSERT(t[1].kind[kind] == t[0].kind[kind],
			    "%s: %u events, not %u", kvmi_event_name(kind),
			    t[1].kind[kind], t[0].kind[kind]);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(all_stepped_sync, KIND_ROWS " E6")
{
	all_stepped(KVMI_MODE_SYNC);
}

KTAP_CASE(all_stepped_async, KIND_ROWS " E6")
{
	all_stepped(KVMI_MODE_ASYNC);
}

/* ---- bad weather ------------------------------------------------------------------- */

static __guest uint64_t again_and_again(uint64_t *flag, uint64_t *r)
{
	uint64_t first[R_NR], n = 0;
	int i;

	everything(r);
	for (i = 0; i < R_NR; i++)
		first[i] = r[i];
	do {
		everything(r);
		/* There is one PIC for all vCPUs. */
		for (i = 0; i < R_NR; i++)
			if (i != R_IN && i != R_INS)
				GUEST_EQ(r[i], first[i]);
		n++;
	} while (!*(volatile uint64_t *)flag);
	return n;
}

struct server {
	struct kvmi_vm *kv;
	pthread_t thread;
	atomic_bool quit;
	uint64_t events;
};

static void *serve_thread(void *arg)
{
	const struct kvmi_event *ev;
	struct server *s = arg;

	while (!s->quit) {
		if (kvmi_event_wait(s->kv, &ev, 20) <= 0)
			continue;
		s->events++;
		kvmi_event_reply(s->kv, ev, KVMI_ACTION_CONTINUE);
	}
	return NULL;
}

/* Every kind on and off, in every mode, while the guest does all of it. */
KTAP_CASE_SMP(on_and_off, KIND_ROWS)
{
	static const unsigned int modes[] = {
		KVMI_MODE_ASYNC, KVMI_MODE_SYNC, KVMI_MODE_COUNT, KVMI_MODE_OFF,
	};
	struct vmm *vm = create(nr_vcpus);
	uint64_t gpa = vmm_alloc_pages(vm, 1 + nr_vcpus);
	volatile uint64_t *flag = vmm_gpa(vm, gpa);
	struct server s = { .kv = tool_attach(vm) };
	int i, n;

	KTAP_EQ(pthread_create(&s.thread, NULL, serve_thread, &s), 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, again_and_again, gpa,
				   gpa + (i + 1) * 4096, 0);
	vmm_start_all(vm);
	for (n = 0; n < 200; n++) {
		ask(s.kv, &wants[n % NR_WANTS], modes[n / 3 % 4]);
		if (n % 5 == 0)
			tool_watch(s.kv, KVMI_EVENT_STEP, modes[n / 5 % 4], 0);
		tool_msleep(1);
	}
	for (i = 0; i < (int)NR_WANTS; i++)
		ask(s.kv, &wants[i], KVMI_MODE_OFF);
	tool_watch(s.kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
	*flag = 1;
	for (i = 0; i < nr_vcpus; i++)
		KTAP_ASSERT(vmm_vcpu_wait_done(vm, i, 2 * TOOL_PATIENCE) > 0);
	s.quit = true;
	KTAP_EQ(pthread_join(s.thread, NULL), 0);
	KTAP_ASSERT(s.events > 0);
	kvmi_vm_close(s.kv);
	vmm_destroy(vm);
}

/*
 * KVM sends to the VMM whatever #BP it has not asked for: not one that exits just
 * before or after somebody wants it.
 */
KTAP_CASE_SMP(breakpoints_on_and_off, "E8 D1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	int i, n = ktap_times(2000, 500);

	vmm_worker_start(vm, GUEST_WORK_INT3);
	for (i = 0; i < n; i++) {
		tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_COUNT, 0);
		if (i % 10 == 0)
			vmm_worker_check(vm, 1);
		tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_OFF, 0);
	}
	vmm_worker_check(vm, 10);
	vmm_worker_stop(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t many(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		guest_cpuid(0, i);
	return 1;
}

/*
 * Many events, in order and none lost or doubled: of each vCPU those that it has
 * raised. In a soak a million that wait and ten million that are counted: half an
 * hour for each number of vCPUs.
 */
KTAP_CASE_SMP_TIME(none_lost, "D3 D4 D11", 3600)
{
	const char *soak = getenv("KVMI_SOAK");
	uint64_t n = soak && atoi(soak) ? 1000000 : 5000, next[8] = {}, i;
	struct vmm *vm = create(nr_vcpus);
	struct kvmi_vm *kv = tool_attach_ring(vm, 1 << 20);
	const struct kvmi_event *ev;
	struct kvmi_stats stats;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, many, n / nr_vcpus, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < n / nr_vcpus * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(ev->seq, next[ev->vcpu] + 1);
		KTAP_EQ(kvmi_event_cpuid(ev)->index, (uint32_t)next[ev->vcpu]);
		next[ev->vcpu]++;
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	tool_wait_none(kv, 5);

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_COUNT, 0);
	n *= 10;
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, many, n / nr_vcpus, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < (uint64_t)nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, 2700000), 1);
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, KVMI_VCPU_ALL, KVMI_EVENT_X86_CPUID,
				      &stats));
	KTAP_EQ(stats.out_counted, n / nr_vcpus * nr_vcpus);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- answers ---------------------------------------------------------------------- */

static __guest uint64_t replaced(uint64_t *r)
{
	uint64_t ret;

	r[0] = guest_rdtsc();
	guest_out8(PIC_DATA, 0x11);
	r[1] = guest_in8(PIC_DATA);
	r[2] = guest_in8(PIC_DATA);
	asm volatile("mov %0, %%dr0" : : "r" (0x1000UL));
	r[3] = read_dr(0);
	guest_write_cr0(guest_read_cr0() | CR0_AM);
	r[4] = !!(guest_read_cr0() & CR0_AM);
	guest_write_cr8(3);
	r[5] = guest_read_cr8();
	if (guest_amd)
		asm volatile("vmmcall" : "=a" (ret) : "a" ((uint64_t)KVMI_HYPERCALL),
			     "b" (1UL) : "memory");
	else
		asm volatile("vmcall" : "=a" (ret) : "a" ((uint64_t)KVMI_HYPERCALL),
			     "b" (1UL) : "memory");
	r[6] = ret;
	return 1;
}

static void answer_value(struct kvmi_vm *kv, unsigned int kind, uint64_t value)
{
	const struct kvmi_event *ev = tool_wait(kv, kind);
	struct kvmi_reply reply;

	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	reply.flags |= KVMI_REPLY_VALUE;
	reply.value = value;
	tool_answer(kv, ev, &reply);
}

static void answer_skip(struct kvmi_vm *kv, unsigned int kind)
{
	tool_reply(kv, tool_wait(kv, kind), KVMI_ACTION_SKIP);
}

/* Data and results of the tool's own; and writes that do not happen. */
KTAP_CASE(answers, "A1 A2 E1 E4 E12 E14 E15")
{
	static const struct want asked[] = {
		{ KVMI_EVENT_X86_INSN, KVMI_X86_INSN_RDTSC, KVMI_X86_INSN_RDTSC, 0, 0, 0 },
		{ KVMI_EVENT_X86_IO, PIC_DATA, PIC_DATA, RW, 0, 0 },
		{ KVMI_EVENT_X86_DR, 0, 0, KVMI_ACCESS_W, 0, 0 },
		{ KVMI_EVENT_X86_CR, 0, 0, KVMI_ACCESS_W, 0, 0 },
		{ KVMI_EVENT_X86_CR, 8, 8, KVMI_ACCESS_W, 0, 0 },
		{ KVMI_EVENT_HYPERCALL, KVMI_HYPERCALL, KVMI_HYPERCALL, 0, 0, 0 },
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1), *r = vmm_gpa(vm, gpa);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	size_t i;

	for (i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		ask(kv, &asked[i], KVMI_MODE_SYNC);
	vmm_vcpu_set_entry(vm, 0, replaced, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	answer_value(kv, KVMI_EVENT_X86_INSN, 0x123456789abcdef0);
	ev = tool_wait(kv, KVMI_EVENT_X86_IO);
	KTAP_EQ(kvmi_event_io(ev)->value, 0x11);
	KTAP_EQ(kvmi_event_io(ev)->bytes, 1);
	KTAP_EQ(kvmi_event_io(ev)->flags, KVMI_X86_IO_OUT);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	reply.flags |= KVMI_REPLY_VALUE;
	reply.value = 0x77;
	tool_answer(kv, ev, &reply);
	tool_reply(kv, tool_wait(kv, KVMI_EVENT_X86_IO), KVMI_ACTION_CONTINUE);
	answer_value(kv, KVMI_EVENT_X86_IO, 0x88);
	ev = tool_wait(kv, KVMI_EVENT_X86_DR);
	KTAP_EQ(kvmi_event_dr(ev)->dr, 0);
	KTAP_EQ(kvmi_event_dr(ev)->new_value, 0x1000);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	reply.flags |= KVMI_REPLY_VALUE;
	reply.value = 0x2000;
	tool_answer(kv, ev, &reply);
	ev = tool_wait(kv, KVMI_EVENT_X86_CR);
	KTAP_EQ(kvmi_event_cr(ev)->old ^ kvmi_event_cr(ev)->new_value, CR0_AM);
	tool_reply(kv, ev, KVMI_ACTION_SKIP);
	answer_skip(kv, KVMI_EVENT_X86_CR);
	ev = tool_wait(kv, KVMI_EVENT_HYPERCALL);
	KTAP_EQ(kvmi_event_hypercall(ev)->nr, KVMI_HYPERCALL);
	KTAP_EQ(kvmi_event_hypercall(ev)->args[0], 1);
	KTAP_EQ(kvmi_event_hypercall(ev)->privilege, 0);
	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	kvmi_reply_set_gpr(&reply, KVMI_X86_RAX, 4711);
	tool_answer(kv, ev, &reply);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	KTAP_EQ(r[0], 0x123456789abcdef0);
	KTAP_EQ(r[1], 0x77);
	KTAP_EQ(r[2], 0x88);
	KTAP_EQ(r[3], 0x2000);
	KTAP_EQ(r[4], 0);
	KTAP_EQ(r[5], 0);
	KTAP_EQ(r[6], 4711);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t faults(uint64_t *r)
{
	struct guest_cpu *cpu = guest_cpu();

	r[0] = GUEST_TRY("ud2", NO_OUTPUTS, : "memory");
	r[1] = GUEST_TRY("ud2", NO_OUTPUTS, : "memory");
	r[2] = cpu->last.error;
	r[3] = GUEST_TRY("movb $1, (%0)", NO_OUTPUTS, "r" (NOWHERE + 0x123) : "memory");
	r[4] = cpu->last.cr2;
	return 1;
}

/* An exception that the guest does not get, one that is another, one of its own. */
KTAP_CASE(exception_answers, "E7 A1 A4")
{
	static const struct want asked[] = {
		{ KVMI_EVENT_X86_EXCEPTION, 6, 6, 0, 0, 0 },
		{ KVMI_EVENT_X86_EXCEPTION, 14, 14, 0, 0, 0 },
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1), *r = vmm_gpa(vm, gpa);
	const struct kvmi_x86_ev_exception *ex;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	struct kvmi_x86_gprs gprs;

	ask(kv, &asked[0], KVMI_MODE_SYNC);
	ask(kv, &asked[1], KVMI_MODE_SYNC);
	vmm_vcpu_set_entry(vm, 0, faults, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);

	/* Swallowed: on behind UD2. */
	ev = tool_wait(kv, KVMI_EVENT_X86_EXCEPTION);
	KTAP_EQ(kvmi_event_exception(ev)->vector, 6);
	KTAP_EQ(kvmi_event_exception(ev)->flags, 0);
	KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, 0, &gprs));
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, gprs.r[KVMI_X86_RIP] + 2);
	tool_answer(kv, ev, &reply);

	/* Another one in its place. */
	ev = tool_wait(kv, KVMI_EVENT_X86_EXCEPTION);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	reply.flags |= KVMI_REPLY_INJECT;
	reply.inject.type = KVMI_X86_INJECT_EXCEPTION;
	reply.inject.vector = 13;
	reply.inject.error = 0x70;
	tool_answer(kv, ev, &reply);

	ev = tool_wait(kv, KVMI_EVENT_X86_EXCEPTION);
	ex = kvmi_event_exception(ev);
	KTAP_EQ(ex->vector, 14);
	KTAP_EQ(ex->flags, KVMI_X86_EXCEPTION_ERROR | KVMI_X86_EXCEPTION_PAYLOAD);
	KTAP_EQ(ex->error, 2);
	KTAP_EQ(ex->payload, NOWHERE + 0x123);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	KTAP_EQ(r[0], 0);
	KTAP_EQ(r[1], 14);
	KTAP_EQ(r[2], 0x70);
	KTAP_EQ(r[3], 15);
	KTAP_EQ(r[4], NOWHERE + 0x123);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest void take_nmi(struct guest_regs *regs __attribute__((unused)))
{
}

static __guest uint64_t halts(uint64_t n)
{
	guest_cpu()->handler[2] = take_nmi;
	while (n--)
		guest_hlt();
	return guest_cpu()->count[2];
}

/* Halted and woken, by NMIs; each of which is told as it is delivered. */
KTAP_CASE(halts_and_wakes, "E20 E18 E10")
{
	static const struct want asked[] = {
		{ KVMI_EVENT_VCPU, KVMI_VCPU_INIT, KVMI_VCPU_SMM, 0, 0, 0 },
		{ KVMI_EVENT_X86_DELIVERY, KVMI_X86_DELIVERY_NMI,
		  KVMI_X86_DELIVERY_NMI, 0, 0, 0 },
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_injection nmi = { .type = KVMI_X86_INJECT_NMI };
	const struct kvmi_event *ev;
	uint64_t pc;
	int i;

	ask(kv, &asked[0], KVMI_MODE_ASYNC);
	ask(kv, &asked[1], KVMI_MODE_ASYNC);
	vmm_vcpu_set_entry(vm, 0, halts, 3, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < 3; i++) {
		ev = tool_wait(kv, KVMI_EVENT_VCPU);
		KTAP_EQ(kvmi_event_vcpu(ev)->change, KVMI_VCPU_HALTS);
		pc = kvmi_event_vcpu(ev)->pc;
		KTAP_LIB_OK(kvmi_vcpu_inject(kv, 0, &nmi, NULL));
		ev = tool_wait(kv, KVMI_EVENT_VCPU);
		KTAP_EQ(kvmi_event_vcpu(ev)->change, KVMI_VCPU_WAKES);
		ev = tool_wait(kv, KVMI_EVENT_X86_DELIVERY);
		KTAP_EQ(kvmi_event_delivery(ev)->type, KVMI_X86_DELIVERY_NMI);
		KTAP_EQ(kvmi_event_delivery(ev)->vector, 2);
		KTAP_EQ(kvmi_event_delivery(ev)->pc, pc);
	}
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 3);
	tool_wait_none(kv, 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Of the IOAPIC, which KVM has, and of where nobody is but the VMM. */
#define IOAPIC			0xfec00000UL
#define DEVICE			0xd0000000UL

static __guest uint64_t devices(uint64_t unused __attribute__((unused)))
{
	uint64_t sum;

	GUEST_WRITE(uint32_t, IOAPIC, 1);
	sum = GUEST_READ(uint32_t, IOAPIC + 0x10);
	GUEST_WRITE(uint16_t, DEVICE + 8, 0x1234);
	return sum + GUEST_READ(uint32_t, DEVICE);
}

static void one_access(struct kvmi_vm *kv, uint64_t gpa, uint32_t bytes,
		       uint32_t flags, uint64_t value)
{
	const struct kvmi_ev_mmio *ev = kvmi_event_mmio(tool_wait(kv, KVMI_EVENT_MMIO));

	KTAP_EQ(ev->gpa, gpa);
	KTAP_EQ(ev->bytes, bytes);
	KTAP_EQ(ev->flags, flags);
	KTAP_EQ(ev->value, value);
}

KTAP_CASE(mmio, "E16")
{
	static const struct want asked[] = {
		{ KVMI_EVENT_MMIO, IOAPIC >> 12, IOAPIC >> 12, RW, 0, 0 },
		{ KVMI_EVENT_MMIO, DEVICE >> 12, DEVICE >> 12, RW, 0, 0 },
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvm_run *run = vm->vcpu[0].run;
	uint64_t ioapic;

	ask(kv, &asked[0], KVMI_MODE_ASYNC);
	ask(kv, &asked[1], KVMI_MODE_ASYNC);
	vmm_vcpu_set_entry(vm, 0, devices, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run(vm, 0), KVM_EXIT_MMIO);
	one_access(kv, IOAPIC, 4, KVMI_MMIO_WRITE, 1);
	ioapic = kvmi_event_mmio(tool_wait(kv, KVMI_EVENT_MMIO))->value;
	one_access(kv, DEVICE + 8, 2, KVMI_MMIO_WRITE, 0x1234);
	KTAP_ASSERT(run->mmio.is_write);
	KTAP_EQ(vmm_vcpu_run(vm, 0), KVM_EXIT_MMIO);
	/* The VMM answers: only then is there something to tell. */
	KTAP_ASSERT(!run->mmio.is_write);
	tool_wait_none(kv, 5);
	memcpy(run->mmio.data, "\x78\x56\x34\x12", 4);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), ioapic + 0x12345678);
	one_access(kv, DEVICE, 4, 0, 0x12345678);
	tool_wait_none(kv, 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A VMM that resets the vCPU. */
KTAP_CASE(reset, "E20")
{
	static const struct want asked = {
		KVMI_EVENT_VCPU, KVMI_VCPU_RESET, KVMI_VCPU_RESET, 0, 0, 0
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);

	ask(kv, &asked, KVMI_MODE_ASYNC);
	vmm_vcpu_reset(vm, 0);
	/* There is nothing to execute there. */
	vmm_vcpu_run(vm, 0);
	KTAP_EQ(kvmi_event_vcpu(tool_wait(kv, KVMI_EVENT_VCPU))->change,
		KVMI_VCPU_RESET);
	tool_wait_none(kv, 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A triple fault is told before the VM ends by it. */
static __guest uint64_t triple_fault(uint64_t unused __attribute__((unused)))
{
	struct dtable idt = {};

	asm volatile("lidt %0; ud2" : : "m" (idt) : "memory");
	return 1;
}

KTAP_CASE(shutdown, "E18")
{
	static const struct want asked = {
		KVMI_EVENT_X86_INSN, KVMI_X86_INSN_SHUTDOWN, KVMI_X86_INSN_SHUTDOWN,
		0, 0, 0
	};
	struct vmm *vm = create(1);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_x86_segments segs;

	ask(kv, &asked, KVMI_MODE_SYNC);
	vmm_vcpu_set_entry(vm, 0, triple_fault, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_INSN);
	KTAP_EQ(kvmi_event_insn(ev)->insn, KVMI_X86_INSN_SHUTDOWN);
	KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, 0, &segs));
	KTAP_EQ(segs.idt.limit, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait(vm, 0, TOOL_PATIENCE), KVM_EXIT_SHUTDOWN);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
