// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that is a hypervisor: a small L1 that runs a small L2, which does all that
 * kvmi has the CPU exit for. None of that is the L2's, nor does L1 get an exit that
 * it did not ask for.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/tool.h"

#define PAGE			4096UL
#define NO_OUTPUTS
#define NOWHERE			(1UL << 40)
#define PIC_DATA		0xa1
#define MSR_STAR		0xc0000081
#define MSR_EFER		0xc0000080
#define EFER_SVME		(1UL << 12)
#define MSR_VM_HSAVE_PA		0xc0010117
#define MSR_FEATURE_CONTROL	0x3a
#define MSR_VMX_BASIC		0x480
#define MSR_VMX_TRUE_PIN	0x48d
#define MSR_VMX_TRUE_PROC	0x48e
#define MSR_VMX_TRUE_EXIT	0x48f
#define MSR_VMX_TRUE_ENTRY	0x490
#define MSR_FS_BASE		0xc0000100
#define MSR_GS_BASE		0xc0000101
#define CR4_VMXE		(1UL << 13)
/* Why L2 came back: its call, or it has not been there. */
#define SVM_EXIT_VMMCALL	0x81
#define VMX_EXIT_VMCALL		18
#define EXIT_NONE		0x4711
#define MAX_EXITS		64

/* What L2 has found. */
enum {
	R_CR0, R_CR3, R_CR4, R_DR0, R_UD, R_PF, R_PF_CR2, R_BP, R_GDT, R_IDT, R_TR,
	R_IN, R_INS, R_TSC, R_CPUID, R_MSR, R_NR,
};

/* Shared by all three. */
struct shared {
	uint64_t control;	/* gpa of the VMCB or VMCS */
	uint64_t save;		/* gpa of the host save area, or of VMXON's */
	uint64_t bitmap;	/* gpa of one of zeros */
	uint64_t stack;		/* of L2, its top */
	uint64_t amd;
	uint64_t launched;
	uint64_t called;	/* L2 has come to its call */
	uint64_t error;		/* of VMLAUNCH, VMRESUME: VMfail */
	uint64_t reason;	/* of the last exit */
	uint64_t rounds;	/* how often L2 calls L1 */
	volatile uint64_t spin;	/* L2 spins while it is set */
	volatile uint64_t spins;	/* and counts */
	uint64_t nr_exits;
	uint64_t exit[MAX_EXITS];
	uint64_t results[R_NR];
	uint64_t faults;	/* of L1's instruction that enters L2 */
};

struct __attribute__((packed)) dtable {
	uint16_t limit;
	uint64_t base;
};

/* ---- L2 ------------------------------------------------------------------------------ */

static __guest void l2_do(uint64_t *r, bool on_amd)
{
	static uint8_t bytes[4] = { 0x11, 0x22, 0x44, 0x88 };
	struct guest_cpu *cpu = guest_cpu();
	uint64_t tsc = guest_rdtsc(), n;
	struct dtable dt;
	uint16_t tr;
	void *p;

	r[R_CR0] = guest_read_cr0();
	guest_write_cr0(r[R_CR0] | 1 << 18);
	guest_write_cr0(r[R_CR0]);
	asm volatile("clts" : : : "memory");
	r[R_CR3] = guest_read_cr3();
	guest_write_cr3(r[R_CR3]);
	r[R_CR4] = guest_read_cr4();
	guest_write_cr4(r[R_CR4]);
	asm volatile("mov %0, %%dr0" : : "r" (0x1234567800UL));
	asm volatile("mov %%dr0, %0" : "=r" (r[R_DR0]));
	asm volatile("mov %0, %%dr0" : : "r" (0UL));
	r[R_UD] = GUEST_TRY("ud2", NO_OUTPUTS, : "memory");
	r[R_PF] = GUEST_TRY("movb $1, (%0)", NO_OUTPUTS, "r" (NOWHERE + 0x123)
			    : "memory");
	r[R_PF_CR2] = cpu->last.cr2;
	cpu->count[3] = 0;
	guest_int3();
	r[R_BP] = cpu->count[3];
	asm volatile("sgdt %0" : "=m" (dt));
	r[R_GDT] = dt.base;
	asm volatile("lgdt %0" : : "m" (dt));
	asm volatile("sidt %0" : "=m" (dt));
	r[R_IDT] = dt.base;
	asm volatile("lidt %0" : : "m" (dt));
	asm volatile("str %0" : "=m" (tr));
	r[R_TR] = tr;
	guest_out8(PIC_DATA, 0x5a);
	r[R_IN] = guest_in8(PIC_DATA);
	p = bytes;
	n = 4;
	asm volatile("rep outsb" : "+S" (p), "+c" (n) : "d" (PIC_DATA) : "memory");
	r[R_INS] = guest_in8(PIC_DATA);
	r[R_TSC] = guest_rdtsc() > tsc;
	asm volatile("pause" : : : "memory");
	guest_invlpg(0x5000);
	asm volatile("wbinvd" : : : "memory");
	/* VMX has it exit to L1, whether that asks or not. */
	if (on_amd)
		r[R_CPUID] = guest_cpuid(0, 0).ebx;
	guest_wrmsr(MSR_STAR, 0x1234);
	r[R_MSR] = guest_rdmsr(MSR_STAR);
}

/* From the start each time: its registers are L1's own. */
static __guest void l2_main(struct shared *s)
{
	while (s->spin)
		s->spins++;
	l2_do(s->results, s->amd);
	s->called = 1;
	if (s->amd)
		asm volatile("vmmcall" : : : "memory");
	else
		asm volatile("vmcall" : : : "memory");
}

/* ---- L1, by SVM ----------------------------------------------------------------------- */

#define VMCB16(off)	(*(uint16_t *)(s->control + (off)))
#define VMCB32(off)	(*(uint32_t *)(s->control + (off)))
#define VMCB64(off)	(*(uint64_t *)(s->control + (off)))

/* APM volume 2, appendix B. */
enum {
	VMCB_MISC2 = 0x10, VMCB_ASID = 0x58, VMCB_EXIT_CODE = 0x70,
	VMCB_ES = 0x400, VMCB_CS = 0x410, VMCB_SS = 0x420, VMCB_DS = 0x430,
	VMCB_GDTR = 0x460, VMCB_IDTR = 0x480, VMCB_EFER = 0x4d0, VMCB_CR4 = 0x548,
	VMCB_CR3 = 0x550, VMCB_CR0 = 0x558, VMCB_DR7 = 0x560, VMCB_DR6 = 0x568,
	VMCB_RFLAGS = 0x570, VMCB_RIP = 0x578, VMCB_RSP = 0x5d8, VMCB_PAT = 0x668,
};

__guest_inline void vmcb_segment(struct shared *s, int off, uint16_t sel, uint16_t attrib)
{
	VMCB16(off) = sel;
	VMCB16(off + 2) = attrib;
	VMCB32(off + 4) = ~0U;
	VMCB64(off + 8) = 0;
}

static __guest void svm_begin(struct shared *s)
{
	struct dtable dt;

	guest_wrmsr(MSR_EFER, guest_rdmsr(MSR_EFER) | EFER_SVME);
	guest_wrmsr(MSR_VM_HSAVE_PA, s->save);
	VMCB32(VMCB_MISC2) = 3;			/* VMRUN, VMMCALL */
	VMCB32(VMCB_ASID) = 1;
	vmcb_segment(s, VMCB_ES, GUEST_KERNEL_DS, 0xc93);
	vmcb_segment(s, VMCB_CS, GUEST_KERNEL_CS, 0xa9b);
	vmcb_segment(s, VMCB_SS, GUEST_KERNEL_DS, 0xc93);
	vmcb_segment(s, VMCB_DS, GUEST_KERNEL_DS, 0xc93);
	asm volatile("sgdt %0" : "=m" (dt));
	VMCB32(VMCB_GDTR + 4) = dt.limit;
	VMCB64(VMCB_GDTR + 8) = dt.base;
	asm volatile("sidt %0" : "=m" (dt));
	VMCB32(VMCB_IDTR + 4) = dt.limit;
	VMCB64(VMCB_IDTR + 8) = dt.base;
	VMCB64(VMCB_EFER) = guest_rdmsr(MSR_EFER);
	VMCB64(VMCB_CR0) = guest_read_cr0();
	VMCB64(VMCB_CR3) = guest_read_cr3();
	VMCB64(VMCB_CR4) = guest_read_cr4();
	VMCB64(VMCB_DR7) = 0x400;
	VMCB64(VMCB_DR6) = 0xffff0ff0;
	VMCB64(VMCB_RFLAGS) = 2;
	VMCB64(VMCB_PAT) = 0x0007040600070406;
}

extern const char l1_enters[], l1_entered[];

__guest_inline void note_exit(struct shared *s, uint64_t code)
{
	if (s->nr_exits < MAX_EXITS)
		s->exit[s->nr_exits] = code;
	s->nr_exits++;
}

/* Run L2 until it exits. */
static __guest void svm_enter(struct shared *s)
{
	struct guest_cpu *cpu = guest_cpu();

	cpu->last.rip = 0;
	VMCB64(VMCB_EXIT_CODE) = EXIT_NONE;
	VMCB64(VMCB_RIP) = (uint64_t)l2_main;
	VMCB64(VMCB_RSP) = s->stack - 8;
	asm volatile("push %%rbp\n\t"
		     "push %%rbx\n\t"
		     "push %%rdi\n\t"
		     "movq $l1_entered, %%gs:0x18\n\t"
		     ".globl l1_enters, l1_entered\n"
		     "l1_enters:\n\t"
		     "vmrun %%rax\n"
		     "l1_entered:\n\t"
		     "stgi\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     "pop %%rdi\n\t"
		     "pop %%rbx\n\t"
		     "pop %%rbp"
		     : : "a" (s->control), "D" (s)
		     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "memory", "cc");
	if (cpu->last.rip == (uint64_t)l1_enters)
		s->faults++;
	note_exit(s, VMCB64(VMCB_EXIT_CODE));
}

/* ---- L1, by VMX ------------------------------------------------------------------------ */

__guest_inline void vmwrite(uint64_t field, uint64_t value)
{
	asm volatile("vmwrite %1, %0" : : "r" (field), "r" (value) : "cc", "memory");
}

__guest_inline uint64_t vmread(uint64_t field)
{
	uint64_t value;

	asm volatile("vmread %1, %0" : "=r" (value) : "r" (field) : "cc");
	return value;
}

/* SDM volume 3, appendix B. */
enum {
	VMCS_GUEST_ES = 0x800, VMCS_HOST_ES = 0xc00, VMCS_MSR_BITMAP = 0x2004,
	VMCS_LINK = 0x2800, VMCS_PIN = 0x4000, VMCS_PROC = 0x4002, VMCS_EXIT = 0x400c,
	VMCS_ENTRY = 0x4012, VMCS_ERROR = 0x4400, VMCS_REASON = 0x4402,
	VMCS_GUEST_ES_LIMIT = 0x4800, VMCS_GUEST_GDTR_LIMIT = 0x4810,
	VMCS_GUEST_IDTR_LIMIT = 0x4812, VMCS_GUEST_ES_AR = 0x4814,
	VMCS_CR0_SHADOW = 0x6004, VMCS_CR4_SHADOW = 0x6006,
	VMCS_GUEST_CR0 = 0x6800, VMCS_GUEST_CR3 = 0x6802, VMCS_GUEST_CR4 = 0x6804,
	VMCS_GUEST_ES_BASE = 0x6806, VMCS_GUEST_GDTR = 0x6816,
	VMCS_GUEST_IDTR = 0x6818, VMCS_GUEST_DR7 = 0x681a, VMCS_GUEST_RSP = 0x681c,
	VMCS_GUEST_RIP = 0x681e, VMCS_GUEST_RFLAGS = 0x6820,
	VMCS_HOST_CR0 = 0x6c00, VMCS_HOST_CR3 = 0x6c02, VMCS_HOST_CR4 = 0x6c04,
	VMCS_HOST_FS = 0x6c06, VMCS_HOST_GS = 0x6c08, VMCS_HOST_TR = 0x6c0a,
	VMCS_HOST_GDTR = 0x6c0c, VMCS_HOST_IDTR = 0x6c0e, VMCS_HOST_RSP = 0x6c14,
	VMCS_HOST_RIP = 0x6c16,
};

/* In the order of the VMCS: 0 is ES. */
__guest_inline void vmcs_segment(int i, uint64_t sel, uint64_t limit, uint64_t ar,
				 uint64_t base)
{
	vmwrite(VMCS_GUEST_ES + 2 * i, sel);
	vmwrite(VMCS_GUEST_ES_LIMIT + 2 * i, limit);
	vmwrite(VMCS_GUEST_ES_AR + 2 * i, ar);
	vmwrite(VMCS_GUEST_ES_BASE + 2 * i, base);
}

/* What must be set, and @want. */
__guest_inline void vmcs_control(uint64_t field, uint32_t msr, uint32_t want)
{
	vmwrite(field, (uint32_t)guest_rdmsr(msr) | want);
}

extern const char l1_launches[], l1_resumes[], l1_came_back[];

static __guest void vmx_begin(struct shared *s)
{
	uint64_t fs = guest_rdmsr(MSR_FS_BASE), gs = guest_rdmsr(MSR_GS_BASE);
	uint32_t revision = guest_rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
	uint64_t cr4 = guest_read_cr4() | CR4_VMXE;
	struct dtable gdt, idt;
	int i;

	guest_write_cr4(cr4);
	GUEST_WRITE(uint32_t, s->save, revision);
	GUEST_WRITE(uint32_t, s->control, revision);
	asm volatile("vmxon %0" : : "m" (s->save) : "cc", "memory");
	asm volatile("vmclear %0" : : "m" (s->control) : "cc", "memory");
	asm volatile("vmptrld %0" : : "m" (s->control) : "cc", "memory");
	vmcs_control(VMCS_PIN, MSR_VMX_TRUE_PIN, 0);
	vmcs_control(VMCS_PROC, MSR_VMX_TRUE_PROC, 1 << 28);	/* MSR bitmaps */
	vmcs_control(VMCS_EXIT, MSR_VMX_TRUE_EXIT, 1 << 9);	/* 64-bit host */
	vmcs_control(VMCS_ENTRY, MSR_VMX_TRUE_ENTRY, 1 << 9);	/* and guest */
	vmwrite(VMCS_MSR_BITMAP, s->bitmap);
	vmwrite(VMCS_LINK, ~0UL);
	asm volatile("sgdt %0" : "=m" (gdt));
	asm volatile("sidt %0" : "=m" (idt));

	for (i = 0; i < 4; i++)
		vmcs_segment(i, i == 1 ? GUEST_KERNEL_CS : GUEST_KERNEL_DS, ~0U,
			     i == 1 ? 0xa09b : 0xc093, 0);
	vmcs_segment(4, GUEST_KERNEL_DS, ~0U, 0xc093, fs);
	vmcs_segment(5, GUEST_KERNEL_DS, ~0U, 0xc093, gs);
	vmcs_segment(6, 0, 0, 0x10000, 0);
	vmcs_segment(7, GUEST_TSS_SEL, 0x67, 0x8b, GUEST_TSS);
	vmwrite(VMCS_GUEST_GDTR, gdt.base);
	vmwrite(VMCS_GUEST_GDTR_LIMIT, gdt.limit);
	vmwrite(VMCS_GUEST_IDTR, idt.base);
	vmwrite(VMCS_GUEST_IDTR_LIMIT, idt.limit);
	vmwrite(VMCS_GUEST_CR0, guest_read_cr0());
	vmwrite(VMCS_GUEST_CR3, guest_read_cr3());
	vmwrite(VMCS_GUEST_CR4, cr4);
	vmwrite(VMCS_CR0_SHADOW, guest_read_cr0());
	vmwrite(VMCS_CR4_SHADOW, cr4);
	vmwrite(VMCS_GUEST_DR7, 0x400);
	vmwrite(VMCS_GUEST_RFLAGS, 2);

	for (i = 0; i < 4; i++)
		vmwrite(VMCS_HOST_ES + 2 * i,
			i == 1 ? GUEST_KERNEL_CS : GUEST_KERNEL_DS);
	vmwrite(VMCS_HOST_ES + 12, GUEST_TSS_SEL);
	vmwrite(VMCS_HOST_CR0, guest_read_cr0());
	vmwrite(VMCS_HOST_CR3, guest_read_cr3());
	vmwrite(VMCS_HOST_CR4, cr4);
	vmwrite(VMCS_HOST_FS, fs);
	vmwrite(VMCS_HOST_GS, gs);
	vmwrite(VMCS_HOST_TR, GUEST_TSS);
	vmwrite(VMCS_HOST_GDTR, gdt.base);
	vmwrite(VMCS_HOST_IDTR, idt.base);
	vmwrite(VMCS_HOST_RIP, (uint64_t)l1_came_back);
}

static __guest void vmx_enter(struct shared *s)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t launched = s->launched;
	uint8_t failed;

	cpu->last.rip = 0;
	vmwrite(VMCS_GUEST_RIP, (uint64_t)l2_main);
	vmwrite(VMCS_GUEST_RSP, s->stack - 8);
	s->called = 0;
	asm volatile("push %%rbp\n\t"
		     "push %%rbx\n\t"
		     "push %%rdi\n\t"
		     "movq $l1_came_back, %%gs:0x18\n\t"
		     "vmwrite %%rsp, %%rdx\n\t"
		     "test %%rcx, %%rcx\n\t"
		     "clc\n\t"
		     "jnz l1_resumes\n\t"
		     ".globl l1_launches, l1_resumes, l1_came_back\n"
		     "l1_launches:\n\t"
		     "vmlaunch\n\t"
		     "jmp l1_came_back\n"
		     "l1_resumes:\n\t"
		     "vmresume\n"
		     "l1_came_back:\n\t"
		     "setbe %%al\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     "pop %%rdi\n\t"
		     "pop %%rbx\n\t"
		     "pop %%rbp"
		     : "=a" (failed), "+c" (launched)
		     : "D" (s), "d" ((uint64_t)VMCS_HOST_RSP)
		     : "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "memory", "cc");
	if (cpu->last.rip == (uint64_t)l1_launches ||
	    cpu->last.rip == (uint64_t)l1_resumes)
		s->faults++;
	else if (failed)
		s->error = vmread(VMCS_ERROR) ?: ~0UL;
	else
		s->launched = 1;
	s->reason = vmread(VMCS_REASON);
	note_exit(s, s->called ? vmread(VMCS_REASON) : EXIT_NONE);
}

static __guest uint64_t l1_main(struct shared *s)
{
	uint64_t i;

	if (s->amd)
		svm_begin(s);
	else
		vmx_begin(s);
	for (i = 0; i < s->rounds; i++) {
		if (s->amd)
			svm_enter(s);
		else
			vmx_enter(s);
	}
	if (s->amd) {
		guest_wrmsr(MSR_EFER, guest_rdmsr(MSR_EFER) & ~EFER_SVME);
		return 1;
	}
	asm volatile("vmclear %0" : : "m" (s->control) : "cc", "memory");
	asm volatile("vmxoff" : : : "cc", "memory");
	guest_write_cr4(guest_read_cr4() & ~CR4_VMXE);
	return 1;
}

/* ---- the host's side ------------------------------------------------------------------ */

static bool amd;

struct nest {
	struct vmm *vm;
	uint64_t gpa;
	struct shared *s;
	uint64_t stack;		/* gpa of L2's */
};

static struct nest create(void)
{
	struct nest n = { .vm = vmm_create(1, VMM_F_IRQCHIP) };
	struct kvmi_caps caps = {};

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	amd = caps.out_vendor == KVMI_VENDOR_AMD;
	if (!amd)
		vmm_vcpu_set_msr(n.vm, 0, MSR_FEATURE_CONTROL, 5);
	n.gpa = vmm_alloc_pages(n.vm, 1);
	n.s = vmm_gpa(n.vm, n.gpa);
	n.stack = vmm_alloc_pages(n.vm, 2);
	return n;
}

/* Afresh: @rounds of L2. */
static void begin(struct nest *n, uint64_t rounds)
{
	uint64_t control = n->s->control ?: vmm_alloc_pages(n->vm, 1);
	uint64_t save = n->s->save ?: vmm_alloc_pages(n->vm, 1);
	uint64_t bitmap = n->s->bitmap ?: vmm_alloc_pages(n->vm, 1);

	memset(n->s, 0, PAGE);
	memset(vmm_gpa(n->vm, control), 0, PAGE);
	n->s->control = control;
	n->s->save = save;
	n->s->bitmap = bitmap;
	n->s->amd = amd;
	n->s->stack = n->stack + 2 * PAGE;
	n->s->rounds = rounds;
	vmm_vcpu_set_entry(n->vm, 0, l1_main, n->gpa, 0, 0);
}

#define L2_CALLS	(amd ? SVM_EXIT_VMMCALL : VMX_EXIT_VMCALL)

/* Instructions of L1 that enter L2. */
static bool enters(uint64_t pc)
{
	return pc == (uint64_t)l1_enters || pc == (uint64_t)l1_launches ||
	       pc == (uint64_t)l1_resumes;
}

static void check_exits(struct nest *n, uint64_t rounds)
{
	uint64_t i;

	KTAP_EQ(n->s->nr_exits, rounds);
	for (i = 0; i < rounds && i < MAX_EXITS; i++)
		KTAP_ASSERT(n->s->exit[i] == L2_CALLS,
			    "L2 exits for %#llx (%#llx), error %lld",
			    (unsigned long long)n->s->exit[i],
			    (unsigned long long)n->s->reason,
			    (long long)n->s->error);
	KTAP_EQ(n->s->faults, 0);
	KTAP_EQ(n->s->error, 0);
}

static void check_results(struct nest *n, const uint64_t *want)
{
	int i;

	for (i = 0; i < R_NR; i++)
		KTAP_ASSERT(n->s->results[i] == want[i], "result %d: %#llx, not %#llx",
			    i, (unsigned long long)n->s->results[i],
			    (unsigned long long)want[i]);
}

/* What L2 finds when nobody watches. */
static void unwatched(struct nest *n, uint64_t *want)
{
	begin(n, 3);
	KTAP_EQ(vmm_vcpu_run_done(n->vm, 0), 1);
	check_exits(n, 3);
	memcpy(want, n->s->results, sizeof(n->s->results));
	KTAP_EQ(want[R_UD], 7);
	KTAP_EQ(want[R_PF], 15);
	KTAP_EQ(want[R_PF_CR2], NOWHERE + 0x123);
	KTAP_EQ(want[R_BP], 1);
	KTAP_EQ(want[R_IN], 0x5a);
	KTAP_EQ(want[R_INS], 0x88);
	KTAP_EQ(want[R_MSR], 0x1234);
	KTAP_EQ(want[R_DR0], 0x1234567800);
}

static bool in_l2(struct nest *n, const struct kvmi_event *ev)
{
	uint64_t rsp = kvmi_event_gprs(ev)->r[KVMI_X86_RSP];

	return rsp >= n->stack && rsp < n->stack + 2 * PAGE;
}

/* Answer until the guest is done. Return: how many entries of L2 were told. */
static unsigned int serve(struct nest *n, struct kvmi_vm *kv, unsigned int *steps)
{
	const struct kvmi_event *ev;
	unsigned int entries = 0;
	bool running;
	int ret;

	for (;;) {
		/* Before it is waited: it may post its last and end behind that. */
		running = vmm_vcpu_running(n->vm, 0);
		ret = kvmi_event_wait(kv, &ev, 20);
		KTAP_ASSERT(ret >= 0, "%s", kvmi_error_message());
		if (!ret && !running)
			break;
		if (!ret)
			continue;
		KTAP_ASSERT(!in_l2(n, ev), "%s at %llx is L2's",
			    kvmi_event_name(ev->kind), (unsigned long long)
			    kvmi_event_gprs(ev)->r[KVMI_X86_RIP]);
		if (ev->kind == KVMI_EVENT_X86_INSN &&
		    kvmi_event_insn(ev)->insn == KVMI_X86_INSN_NESTED)
			entries++;
		if (ev->kind == KVMI_EVENT_STEP)
			++*steps;
		KTAP_LIB_OK(kvmi_event_reply(kv, ev, KVMI_ACTION_CONTINUE));
	}
	KTAP_EQ(vmm_vcpu_wait_done(n->vm, 0, TOOL_PATIENCE), 1);
	return entries;
}

static void all(uint32_t mode)
{
	struct nest n = create();
	uint64_t want[R_NR];
	struct kvmi_vm *kv;
	unsigned int none = 0;

	unwatched(&n, want);
	kv = tool_attach_ring(n.vm, 1 << 20);
	tool_watch_all(kv, mode);
	begin(&n, 10);
	vmm_vcpu_start(n.vm, 0);
	KTAP_EQ(serve(&n, kv, &none), mode == KVMI_MODE_COUNT ? 0 : 10);
	check_exits(&n, 10);
	check_results(&n, want);
	KTAP_EQ(kvmi_event_dropped(kv), 0);
	kvmi_vm_close(kv);
	begin(&n, 3);
	KTAP_EQ(vmm_vcpu_run_done(n.vm, 0), 1);
	check_exits(&n, 3);
	check_results(&n, want);
	vmm_destroy(n.vm);
}

KTAP_CASE(all_sync, "E18")
{
	all(KVMI_MODE_SYNC);
}

KTAP_CASE(all_async, "E18")
{
	all(KVMI_MODE_ASYNC);
}

KTAP_CASE(all_counted, "E18")
{
	all(KVMI_MODE_COUNT);
}

static void watch_entries(struct kvmi_vm *kv, uint32_t mode)
{
	struct kvmi_control_event ctl = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_INSN,
		.mode = mode,
		.index = KVMI_X86_INSN_NESTED,
		.regs = KVMI_REGS_GENERAL,
	};

	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
}

/* L1 finds that nothing has happened, or an exception; the third time it may. */
KTAP_CASE(denied, "E18 A1 A2 A4")
{
	struct nest n = create();
	struct kvmi_vm *kv = tool_attach(n.vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;

	watch_entries(kv, KVMI_MODE_SYNC);
	begin(&n, 3);
	vmm_vcpu_start(n.vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_INSN);
	KTAP_ASSERT(enters(kvmi_event_gprs(ev)->r[KVMI_X86_RIP]));
	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	/* VMfailInvalid */
	if (!amd)
		kvmi_reply_set_gpr(&reply, KVMI_X86_RFLAGS,
				   kvmi_event_gprs(ev)->r[KVMI_X86_RFLAGS] | 1);
	tool_answer(kv, ev, &reply);
	ev = tool_wait(kv, KVMI_EVENT_X86_INSN);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	reply.flags |= KVMI_REPLY_INJECT;
	reply.inject.type = KVMI_X86_INJECT_EXCEPTION;
	reply.inject.vector = 6;
	tool_answer(kv, ev, &reply);
	ev = tool_wait(kv, KVMI_EVENT_X86_INSN);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(n.vm, 0, TOOL_PATIENCE), 1);
	KTAP_EQ(n.s->nr_exits, 3);
	KTAP_EQ(n.s->exit[0], EXIT_NONE);
	KTAP_EQ(n.s->exit[1], EXIT_NONE);
	KTAP_EQ(n.s->exit[2], L2_CALLS);
	/* Of VMfailInvalid there is no number. */
	KTAP_EQ(n.s->error, amd ? 0 : ~0UL);
	KTAP_EQ(n.s->faults, 1);
	/* And one of L2's own. */
	KTAP_EQ(n.vm->vcpu[0].cpu->count[6], 2);
	KTAP_EQ(n.s->results[R_MSR], 0x1234);
	kvmi_vm_close(kv);
	vmm_destroy(n.vm);
}

/* All of L1 is stepped, none of L2: the step that enters it ends behind it. */
static void stepped(uint32_t mode, bool kinds)
{
	struct nest n = create();
	uint64_t want[R_NR], before = 0, pc;
	const struct kvmi_event *ev;
	unsigned int over = 0;
	struct kvmi_vm *kv;

	unwatched(&n, want);
	kv = tool_attach_ring(n.vm, 1 << 22);
	if (kinds)
		tool_watch_all(kv, KVMI_MODE_ASYNC);
	tool_watch(kv, KVMI_EVENT_STEP, mode, KVMI_REGS_GENERAL);
	begin(&n, 4);
	vmm_vcpu_start(n.vm, 0);
	for (;;) {
		KTAP_ASSERT(kvmi_event_wait(kv, &ev, TOOL_PATIENCE) > 0);
		KTAP_ASSERT(!in_l2(&n, ev));
		if (ev->kind != KVMI_EVENT_STEP)
			continue;
		pc = kvmi_event_step(ev)->pc;
		if (enters(before)) {
			KTAP_EQ(pc, amd ? l1_entered : l1_came_back);
			over++;
		}
		before = pc;
		if (pc == (uint64_t)guest_entry_return)
			tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
		if (mode == KVMI_MODE_SYNC)
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		if (pc == (uint64_t)guest_entry_return)
			break;
	}
	KTAP_EQ(over, 4);
	KTAP_EQ(vmm_vcpu_wait_done(n.vm, 0, TOOL_PATIENCE), 1);
	check_exits(&n, 4);
	check_results(&n, want);
	kvmi_vm_close(kv);
	vmm_destroy(n.vm);
}

KTAP_CASE(stepped_sync, "E6 E18")
{
	stepped(KVMI_MODE_SYNC, false);
}

KTAP_CASE(stepped_with_all, "E6 E18")
{
	stepped(KVMI_MODE_ASYNC, true);
}

static void wait_spinning(struct nest *n)
{
	uint64_t then = n->s->spins;
	int i;

	for (i = 0; i < 2000 && n->s->spins < then + 1000; i++)
		tool_msleep(5);
	KTAP_ASSERT(n->s->spins >= then + 1000);
}

/* The tool comes, wants everything, and goes, while the vCPU is in L2. */
KTAP_CASE(detached_in_l2, "D1 E18")
{
	struct nest n = create();
	uint64_t want[R_NR];
	struct kvmi_vm *kv;
	int i;

	unwatched(&n, want);
	for (i = 0; i < 8; i++) {
		kv = NULL;
		if (i & 1) {
			kv = tool_attach_ring(n.vm, 1 << 20);
			tool_watch_all(kv, KVMI_MODE_ASYNC);
			if (i & 2)
				tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_ASYNC,
					   KVMI_REGS_GENERAL);
		}
		begin(&n, 3);
		n.s->spin = 1;
		vmm_vcpu_start(n.vm, 0);
		wait_spinning(&n);
		if (!kv) {
			kv = tool_attach_ring(n.vm, 1 << 20);
			tool_watch_all(kv, KVMI_MODE_ASYNC);
			wait_spinning(&n);
		}
		if (i & 4)
			n.s->spin = 0;
		kvmi_vm_close(kv);
		n.s->spin = 0;
		KTAP_EQ(vmm_vcpu_wait_done(n.vm, 0, TOOL_PATIENCE), 1);
		check_exits(&n, 3);
		check_results(&n, want);
	}
	vmm_destroy(n.vm);
}

/*
 * L1 is on a view that changes while L2 runs, which is on KVM's tables: its writes to the
 * same page are no events.
 */
KTAP_CASE(on_views, "V1 E17 E18")
{
	const uint32_t rx = KVMI_ACCESS_R | KVMI_ACCESS_X;
	struct nest n = create();
	const struct kvmi_event *ev;
	uint64_t want[R_NR];
	struct kvmi_vm *kv;
	uint32_t view[3] = { KVMI_VIEW_DEFAULT };
	unsigned int accesses;
	bool running;
	int i;

	unwatched(&n, want);
	kv = tool_attach_ring(n.vm, 1 << 20);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view[1]));
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view[2]));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view[2], n.gpa / PAGE, 1, rx));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_ASYNC, KVMI_REGS_GENERAL);
	for (i = 0; i < 9; i++) {
		KTAP_LIB_OK(kvmi_view_switch(kv, 0, view[i % 3]));
		begin(&n, 4);
		n.s->spin = 1;
		vmm_vcpu_start(n.vm, 0);
		wait_spinning(&n);
		tool_check_views(kv);
		KTAP_LIB_OK(kvmi_view_switch(kv, 0, view[i / 3]));
		wait_spinning(&n);
		tool_check_views(kv);
		n.s->spin = 0;
		accesses = 0;
		do {
			running = vmm_vcpu_running(n.vm, 0);
			while (kvmi_event_wait(kv, &ev, 20) > 0) {
				KTAP_EQ(ev->kind, KVMI_EVENT_ACCESS);
				KTAP_ASSERT(!in_l2(&n, ev));
				accesses++;
			}
		} while (running);
		KTAP_EQ(vmm_vcpu_wait_done(n.vm, 0, TOOL_PATIENCE), 1);
		check_exits(&n, 4);
		check_results(&n, want);
		/* It was in L2 when the view came, and L1 writes when that comes back. */
		if (view[i / 3] == view[2])
			KTAP_GE(accesses, 4);
		else if (view[i % 3] != view[2])
			KTAP_EQ(accesses, 0);
	}
	kvmi_vm_close(kv);
	begin(&n, 3);
	KTAP_EQ(vmm_vcpu_run_done(n.vm, 0), 1);
	check_results(&n, want);
	vmm_destroy(n.vm);
}

/*
 * A VMM that puts the vCPU back into L2, from L1, where everything is asked of the
 * CPU: all that is not L2's.
 */
KTAP_CASE(put_into_l2, "E18")
{
	static union {
		struct kvm_nested_state state;
		uint8_t bytes[16384];
	} nested;
	struct nest n = create();
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	uint64_t want[R_NR];
	struct kvmi_vm *kv;
	void *memory = malloc(GUEST_RAM);
	uint64_t hsave, efer;
	unsigned int none = 0;

	KTAP_ASSERT(memory);
	unwatched(&n, want);
	begin(&n, 3);
	n.s->spin = 1;
	vmm_vcpu_start(n.vm, 0);
	wait_spinning(&n);
	KTAP_EQ(vmm_vcpu_stop(n.vm, 0), VMM_STOPPED);
	nested.state.size = sizeof(nested);
	KTAP_OK(ioctl(n.vm->vcpu[0].fd, KVM_GET_NESTED_STATE, &nested.state));
	KTAP_ASSERT(nested.state.flags & KVM_STATE_NESTED_GUEST_MODE);
	vmm_vcpu_get_regs(n.vm, 0, &regs);
	vmm_vcpu_get_sregs(n.vm, 0, &sregs);
	hsave = amd ? vmm_vcpu_get_msr(n.vm, 0, MSR_VM_HSAVE_PA) : 0;
	efer = vmm_vcpu_get_msr(n.vm, 0, MSR_EFER);
	memcpy(memory, vmm_gpa(n.vm, 0), GUEST_RAM);

	kv = tool_attach_ring(n.vm, 1 << 20);
	tool_watch_all(kv, KVMI_MODE_ASYNC);
	n.s->spin = 0;
	vmm_vcpu_start(n.vm, 0);
	serve(&n, kv, &none);
	check_exits(&n, 3);

	memcpy(vmm_gpa(n.vm, 0), memory, GUEST_RAM);
	n.s->spin = 0;
	vmm_vcpu_set_msr(n.vm, 0, MSR_EFER, efer);
	if (amd)
		vmm_vcpu_set_msr(n.vm, 0, MSR_VM_HSAVE_PA, hsave);
	vmm_vcpu_set_sregs(n.vm, 0, &sregs);
	KTAP_OK(ioctl(n.vm->vcpu[0].fd, KVM_SET_NESTED_STATE, &nested.state));
	vmm_vcpu_set_regs(n.vm, 0, &regs);
	vmm_vcpu_start(n.vm, 0);
	serve(&n, kv, &none);
	check_exits(&n, 3);
	check_results(&n, want);
	free(memory);
	kvmi_vm_close(kv);
	vmm_destroy(n.vm);
}

KTAP_MAIN(ktap_need_kvmi)
