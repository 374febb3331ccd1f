// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step of straight-line code: one event per instruction, at the addresses
 * that the assembler gave them, and a guest that does not notice.
 */
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define RFLAGS_TF	0x100UL
#define RFLAGS_RF	0x10000UL

extern const char line_start[], line_end[];

/* Each instruction has its own label by its length: see the table below. */
__asm__(".text\n"
	".globl straight_line, line_start, line_end\n"
	"straight_line:\n"
	"	int3\n"
	"line_start:\n"
	"	xor %eax, %eax\n"		/* 2 */
	"	mov $7, %ecx\n"			/* 5 */
	"	add $3, %eax\n"			/* 3 */
	"	nop\n"				/* 1 */
	"	lea 1(%rax, %rcx), %rax\n"	/* 5 */
	"	push %rax\n"			/* 1 */
	"	pop %rdx\n"			/* 1 */
	"	inc %rdx\n"			/* 3 */
	"	mov %rdx, %rax\n"		/* 3 */
	"line_end:\n"
	"	ret\n");
uint64_t straight_line(void);

static const uint8_t lengths[] = { 2, 5, 3, 1, 5, 1, 1, 3, 3 };

/* Watch for the int3 in front, and answer it with a step behind it. */
static const struct kvmi_event *at_the_line(struct kvmi_vm *kv)
{
	return tool_wait(kv, KVMI_EVENT_BREAKPOINT);
}

KTAP_CASE_SMP(by_replies, "E6 A5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_x86_gprs *regs;
	uint64_t pc[8] = {};
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int at[8] = {};
	int done = 0;
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	/* The registers that go along with a step; it stays off as an event. */
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, straight_line, 0, 0, 0);
	vmm_start_all(vm);

	while (done < nr_vcpus) {
		KTAP_ASSERT(kvmi_event_wait(kv, &ev, TOOL_PATIENCE) > 0);
		i = ev->vcpu;
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		if (ev->kind == KVMI_EVENT_BREAKPOINT) {
			KTAP_EQ(at[i], 0);
			pc[i] = (uint64_t)line_start;
			KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP,
						       pc[i]));
			kvmi_reply_step(&reply);
		} else {
			KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
			pc[i] += lengths[at[i]++];
			KTAP_EQ(kvmi_event_step(ev)->pc, pc[i]);
			regs = kvmi_event_gprs(ev);
			KTAP_EQ(regs->r[KVMI_X86_RIP], pc[i]);
			KTAP_EQ(regs->r[KVMI_X86_RFLAGS] & RFLAGS_TF, 0);
			if (at[i] == 3)
				KTAP_EQ(regs->r[KVMI_X86_RAX], 3);
			if (at[i] == sizeof(lengths)) {
				KTAP_EQ(pc[i], line_end);
				done++;
				kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
			} else {
				kvmi_reply_step(&reply);
			}
		}
		tool_answer(kv, ev, &reply);
	}
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 12);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
	}
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Stepping as an event, one instruction after the other, sync or async. */
static void enabled(int nr_vcpus, int mode)
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	enum kvmi_event_kind step = KVMI_EVENT_STEP;
	struct kvmi_reply reply;
	uint64_t pc;
	unsigned int n;
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, straight_line, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = at_the_line(kv);
		KTAP_LIB_OK(kvmi_event_watch(kv, i, KVMI_EVENT_STEP, mode, 0));
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		pc = (uint64_t)line_start;
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, pc));
		tool_answer(kv, ev, &reply);
		for (n = 0; n < sizeof(lengths); n++) {
			ev = tool_wait(kv, KVMI_EVENT_STEP);
			KTAP_EQ(ev->vcpu, i);
			pc += lengths[n];
			KTAP_EQ(kvmi_event_step(ev)->pc, pc);
			if (n == sizeof(lengths) - 1)
				KTAP_LIB_OK(kvmi_event_watch(kv, i, step,
							     KVMI_MODE_OFF, 0));
			if (mode == KVMI_MODE_SYNC)
				tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 12);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
		/* In asynchronous mode the guest may have been far ahead. */
		while (kvmi_event_wait(kv, &ev, 0) > 0)
			KTAP_EQ(mode, KVMI_MODE_ASYNC);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(enabled_sync, "E6 D4")
{
	enabled(nr_vcpus, KVMI_MODE_SYNC);
}

KTAP_CASE_SMP(enabled_async, "E6 D4")
{
	enabled(nr_vcpus, KVMI_MODE_ASYNC);
}

/* An instruction that KVM emulates is a step as well. */
__asm__(".text\n"
	".globl emulated_line, emulated_cpuid\n"
	"emulated_line:\n"
	"	push %rbx\n"
	"	int3\n"
	"emulated_cpuid:\n"
	"	cpuid\n"
	"	nop\n"
	"	mov $5, %eax\n"
	"	pop %rbx\n"
	"	ret\n");
uint64_t emulated_line(void);
extern const char emulated_cpuid[];

KTAP_CASE_SMP(over_an_emulated_instruction, "E6")
{
	static const uint8_t len[] = { 2, 1, 5 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t pc;
	int i, n;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, emulated_line, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = at_the_line(kv);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		pc = (uint64_t)emulated_cpuid;
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, pc));
		kvmi_reply_step(&reply);
		tool_answer(kv, ev, &reply);
		for (n = 0; n < 3; n++) {
			ev = tool_wait(kv, KVMI_EVENT_STEP);
			pc += len[n];
			KTAP_EQ(kvmi_event_step(ev)->pc, pc);
			KTAP_EQ(kvmi_event_step(ev)->flags,
				n ? 0 : KVMI_STEP_F_EMULATED);
			kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
			if (n < 2)
				kvmi_reply_step(&reply);
			tool_answer(kv, ev, &reply);
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 5);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Nor is one left out that a fast step lets through, in one way or the other. */
__asm__(".text\n"
	".globl storing_line, storing_store\n"
	"storing_line:\n"
	"	int3\n"
	"storing_store:\n"
	"	movl $1, (%rdi)\n"		/* 6 */
	"	nop\n"				/* 1 */
	"	movl $2, (%rdi)\n"		/* 6 */
	"	mov (%rdi), %eax\n"		/* 2 */
	"	ret\n");
uint64_t storing_line(uint64_t addr);
extern const char storing_store[];

KTAP_CASE_SMP(over_an_access_that_is_let_through, "E6 E17 A5")
{
	static const uint8_t len[] = { 6, 1, 6, 2 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint32_t view;
	uint64_t pc;
	int i, n;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / 4096, 1,
					 KVMI_ACCESS_R | KVMI_ACCESS_X));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, storing_line, gpa, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = at_the_line(kv);
		KTAP_LIB_OK(kvmi_event_watch(kv, i, KVMI_EVENT_STEP,
					     KVMI_MODE_SYNC, 0));
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		pc = (uint64_t)storing_store;
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, pc));
		tool_answer(kv, ev, &reply);
		for (n = 0; n < 4; n++) {
			if (len[n] == 6) {
				ev = tool_wait(kv, KVMI_EVENT_ACCESS);
				KTAP_EQ(kvmi_event_access(ev)->gpa, gpa);
				kvmi_reply_init(&reply, n ? KVMI_ACTION_CONTINUE :
							KVMI_ACTION_RETRY);
				if (!n)
					kvmi_reply_fast_step(&reply, 0);
				tool_answer(kv, ev, &reply);
			}
			pc += len[n];
			ev = tool_wait(kv, KVMI_EVENT_STEP);
			KTAP_EQ(kvmi_event_step(ev)->pc, pc);
			KTAP_EQ(ev->view, view);
			if (n == 3)
				KTAP_LIB_OK(kvmi_event_watch(kv, i,
							     KVMI_EVENT_STEP,
							     KVMI_MODE_OFF, 0));
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 2);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- whatever the instruction ---------------------------------------------------- */

/*
 * Lines of guest code, stepped from the first instruction to the last, and run
 * unwatched before: registers, images of RFLAGS on the stack, DR6, and exceptions
 * must be the same. And the addresses must be those that the assembler wrote down:
 * behind each instruction, and the entry of each handler. (The handlers' own
 * instructions are left out.)
 *
 *	i	an instruction that goes on behind itself
 *	ih	one whose handler comes first, by its vector
 *	it	one with a trap behind itself, by its vector
 */
__asm__(".macro at addr:vararg\n"
	"	.pushsection .rodata.steps, \"a\"\n"
	"	.quad \\addr\n"
	"	.popsection\n"
	"	.endm\n"
	".macro vec nr\n"
	"	at guest_vectors + 16 * \\nr\n"
	"	.endm\n"
	".macro i insn:vararg\n"
	"	\\insn\n"
	"9:	at 9b\n"
	"	.endm\n"
	".macro ih nr, insn:vararg\n"
	"	vec \\nr\n"
	"	i \\insn\n"
	"	.endm\n"
	".macro it nr, insn:vararg\n"
	"	i \\insn\n"
	"	vec \\nr\n"
	"	at 9b\n"
	"	.endm\n"
	/* Where to go on behind a fault. */
	".macro try to\n"
	"	i movq $\\to, %gs:0x18\n"
	"	.endm\n"
	".macro line name\n"
	"	.text\n"
	"	.code64\n"
	"	.globl \\name, \\name\\()_end, \\name\\()_steps, \\name\\()_steps_end\n"
	"	.pushsection .rodata.steps, \"a\"\n"
	"\\name\\()_steps:\n"
	"	.popsection\n"
	"\\name:\n"
	"	.endm\n"
	".macro endl name\n"
	"	ret\n"
	"\\name\\()_end:\n"
	"	.pushsection .rodata.steps, \"a\"\n"
	"\\name\\()_steps_end:\n"
	"	.popsection\n"
	"	.endm\n");
_Static_assert(GC_FIXUP == 0x18, "try");

#define LINE(name)							\
	extern const char name[], name##_end[];				\
	extern const uint64_t name##_steps[], name##_steps_end[];	\
	static const struct line line_##name = {			\
		name, name##_end, name##_steps, name##_steps_end, #name	\
	}

struct line {
	const char *start, *end;
	const uint64_t *steps, *steps_end;
	const char *name;
};

#define LINE_OUT	64
#define LINE_IRQ	0x90
#define LINE_LAPIC	0xfee00000UL
#define LINE_CS32	0xa8		/* behind those of the TSSs */

enum line_how {
	LINE_SYNC,
	LINE_ASYNC,
	LINE_REPLIES,
	LINE_FAST,
	LINE_NR,
};

static const char *const line_how[] = {
	"sync", "async", "by replies", "by fast steps",
};

/* What the guest has found. */
struct line_result {
	uint64_t value;
	uint64_t out[LINE_OUT];
	struct guest_exc last;
	uint64_t count[256];
	uint64_t nr_log;
	uint64_t log[GUEST_MAX_LOG][6];
};

static bool line_on_tcg(void)
{
	uint32_t a, b, c, d;

	__asm__("cpuid" : "=a" (a), "=b" (b), "=c" (c), "=d" (d)
		: "a" (0x40000000), "c" (0));
	return b == 0x54474354;
}

/* INT 4 and INTO go on behind themselves. */
static __guest void line_trap(struct guest_regs *regs)
{
	(void)regs;
}

static void line_begin(struct vmm *vm, const struct line *line, uint64_t out)
{
	struct guest_cpu *cpu = vm->vcpu[0].cpu;

	memset(vmm_gpa(vm, out), 0, 4096);
	memset(&cpu->last, 0, sizeof(cpu->last));
	memset(cpu->count, 0, sizeof(cpu->count));
	memset(cpu->log, 0, sizeof(cpu->log));
	cpu->nr_log = 1;
	cpu->handler[4] = line_trap;
	vmm_vcpu_set_entry(vm, 0, line->start, out, 0, 0);
	vmm_vcpu_start(vm, 0);
}

static void line_finish(struct vmm *vm, uint64_t out, struct line_result *res)
{
	struct guest_cpu *cpu = vm->vcpu[0].cpu;
	int i;

	memset(res, 0, sizeof(*res));
	res->value = vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE);
	memcpy(res->out, vmm_gpa(vm, out), sizeof(res->out));
	res->last = cpu->last;
	memcpy(res->count, cpu->count, sizeof(res->count));
	res->nr_log = cpu->nr_log;
	_Static_assert(sizeof(cpu->log) == sizeof(res->log), "log");
	memcpy(res->log, cpu->log, sizeof(res->log));
	/* QEMU has forgotten RF in what a fault pushes; KVM injects it with RF. */
	if (line_on_tcg()) {
		res->last.rflags &= ~RFLAGS_RF;
		for (i = 0; i < GUEST_MAX_LOG; i++)
			res->log[i][3] &= ~RFLAGS_RF;
	}
}

static void line_show(const char *how, const uint64_t *log)
{
	ktap_diag("%s: %llu at %llx, flags %llx, dr6 %llx", how,
		  (unsigned long long)log[0], (unsigned long long)log[2],
		  (unsigned long long)log[3], (unsigned long long)log[5]);
}

static void line_compare(const char *what, const struct line_result *want,
			 const struct line_result *got)
{
	const uint64_t *a = (const uint64_t *)want;
	const uint64_t *b = (const uint64_t *)got;
	unsigned int i, j;

	for (i = 0; i < sizeof(*want) / 8; i++) {
		if (a[i] == b[i])
			continue;
		ktap_diag("%s: word %u: %#llx, not %#llx", what, i,
			  (unsigned long long)b[i], (unsigned long long)a[i]);
		for (j = 0; j + 1 < want->nr_log || j + 1 < got->nr_log; j++) {
			line_show("unwatched", want->log[j]);
			line_show("stepped", got->log[j]);
		}
		KTAP_FAIL("%s: the guest can tell", what);
	}
}

static bool line_has(const struct line *line, uint64_t pc)
{
	uint64_t vector = pc - (uint64_t)guest_vectors;

	return (pc >= (uint64_t)line->start && pc < (uint64_t)line->end) ||
	       (vector < 256 * 16 && vector % 16 == 0);
}

static void line_stuck(struct vmm *vm, const struct line *line,
		       enum line_how how, const uint64_t *next)
{
	struct kvm_regs regs;
	int why = vmm_vcpu_stop(vm, 0);

	vmm_vcpu_get_regs(vm, 0, &regs);
	KTAP_FAIL("%s, %s: stuck behind step %d: %d %s at %llx flags %llx",
		  line->name, line_how[how], (int)(next - line->steps), why,
		  vmm_vcpu_why(vm, 0), regs.rip, regs.rflags);
}

/* Take all events up to the return; they must be as written down. */
static void line_follow(struct vmm *vm, struct kvmi_vm *kv,
			const struct line *line, enum line_how how,
			uint32_t view)
{
	const uint64_t *next = line->steps;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t pc;
	bool first = true;

	for (;;) {
		if (kvmi_event_wait(kv, &ev, TOOL_PATIENCE) <= 0)
			line_stuck(vm, line, how, next);
		KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
		pc = kvmi_event_step(ev)->pc;
		KTAP_EQ(ev->view, how == LINE_FAST ? 0 : view);
		if (line_has(line, pc)) {
			KTAP_ASSERT(next < line->steps_end && pc == *next,
				    "%s, %s: step %d of %d: %llx, not %llx",
				    line->name, line_how[how],
				    (int)(next - line->steps),
				    (int)(line->steps_end - line->steps),
				    (unsigned long long)pc,
				    next < line->steps_end ?
				    (unsigned long long)*next : 0ULL);
			next++;
		}
		if ((first && how == LINE_REPLIES) ||
		    pc == (uint64_t)guest_entry_return)
			KTAP_LIB_OK(kvmi_event_watch(kv, KVMI_VCPU_ALL,
						     KVMI_EVENT_STEP,
						     KVMI_MODE_OFF, 0));
		first = false;
		kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
		if (pc != (uint64_t)guest_entry_return) {
			if (how == LINE_REPLIES)
				kvmi_reply_step(&reply);
			if (how == LINE_FAST)
				kvmi_reply_fast_step(&reply, view);
		}
		if (how != LINE_ASYNC)
			tool_answer(kv, ev, &reply);
		if (pc == (uint64_t)guest_entry_return)
			break;
	}
	KTAP_ASSERT(next == line->steps_end, "%s, %s: %d steps, not %d",
		    line->name, line_how[how], (int)(next - line->steps),
		    (int)(line->steps_end - line->steps));
}

#define LINE_F_IRQ	1	/* interrupts: not held back, so no replies */

/* Skips the case if the CPU itself has not @traps #DBs for this. */
static void line_test_traps(const struct line *line, unsigned int flags,
			    int traps)
{
	struct vmm *vm = vmm_create(1, flags & LINE_F_IRQ ? VMM_F_IRQCHIP : 0);
	uint64_t out = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	struct line_result want, got;
	struct kvm_sregs sregs;
	struct kvmi_vm *kv;
	uint32_t view = 0;
	uint64_t *gdt;
	int how;

	gdt = vmm_gpa(vm, GUEST_GDT);
	gdt[LINE_CS32 / 8] = 0x00cf9b000000ffffUL;
	vmm_vcpu_get_sregs(vm, 0, &sregs);
	sregs.gdt.limit = LINE_CS32 + 7;
	vmm_vcpu_set_sregs(vm, 0, &sregs);
	if (flags & LINE_F_IRQ)
		vm->vcpu[0].cpu->eoi = LINE_LAPIC + 0xb0;

	line_begin(vm, line, out);
	line_finish(vm, out, &want);
	if (traps >= 0 && want.count[1] != traps)
		ktap_skip("the emulator has %d traps, not %d",
			  (int)want.count[1], traps);

	for (how = 0; how < LINE_NR; how++) {
		if (how >= LINE_REPLIES && (flags & LINE_F_IRQ))
			break;
		kv = tool_attach_ring(vm, 1 << 20);
		if (how == LINE_FAST)
			KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX,
						     &view));
		tool_watch(kv, KVMI_EVENT_STEP,
			   how == LINE_ASYNC ? KVMI_MODE_ASYNC : KVMI_MODE_SYNC,
			   0);
		line_begin(vm, line, out);
		line_follow(vm, kv, line, how, view);
		/* In asynchronous mode the guest may be far ahead. */
		while (kvmi_event_wait(kv, &ev, 0) > 0)
			KTAP_EQ(how, LINE_ASYNC);
		line_finish(vm, out, &got);
		line_compare(line_how[how], &want, &got);
		kvmi_vm_close(kv);
	}
	vmm_destroy(vm);
}

static void line_test(const struct line *line, unsigned int flags)
{
	line_test_traps(line, flags, -1);
}

/* Instructions that save RFLAGS, or load it. */
__asm__("line saves_flags\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"i std\n"
	"i stc\n"
	"i pushfq\n"
	"i cld\n"
	"i popq 8(%rdi)\n"
	"i pushfw\n"
	"i popw 16(%rdi)\n"
	/* Across two pages: the stack is as good as any memory. */
	"i mov %rsp, %rdx\n"
	"i lea 0x7ff(%rdi), %rsp\n"
	"i pushfq\n"
	"i pop %rax\n"
	"i pushfw\n"
	"i pop %cx\n"
	"i mov %rdx, %rsp\n"
	"i mov %rax, 24(%rdi)\n"
	"i mov %cx, 32(%rdi)\n"
	"endl saves_flags\n");
LINE(saves_flags);

KTAP_CASE(over_saves_flags, "E6 A5")
{
	line_test(&line_saves_flags, 0);
}

__asm__("line loads_flags\n"
	"i pushq $0x246\n"
	"i popfq\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"i pushq $0xcd7\n"
	"i popfq\n"
	"i pushfq\n"
	"i popq 8(%rdi)\n"
	"i pushw $0x246\n"
	"i popfw\n"
	"i pushfq\n"
	"i popq 16(%rdi)\n"
	/* iretq, to right behind it */
	"i mov %rsp, %rax\n"
	"i pushq $0x10\n"
	"i push %rax\n"
	"i pushq $0x203\n"
	"i pushq $8\n"
	"i pushq $1f\n"
	"i iretq\n"
	"1:\n"
	"i pushfq\n"
	"i popq 24(%rdi)\n"
	/* A return address that faults: an iretq that is not done. */
	"i mov %rsp, %r8\n"
	"i pushq $0x10\n"
	"i push %rax\n"
	"i pushq $0x303\n"
	"i pushq $0x18\n"
	"i pushq $1f\n"
	"try 1f\n"
	"ih 13, iretq\n"
	"1:\n"
	"i mov %r8, %rsp\n"
	"i pushfq\n"
	"i popq 32(%rdi)\n"
	"i pushq $0x202\n"
	"i popfq\n"
	"endl loads_flags\n");
LINE(loads_flags);

KTAP_CASE(over_loads_flags, "E6 A5")
{
	line_test(&line_loads_flags, 0);
}

/* Software interrupts: what they push is in the log. */
__asm__("line soft_ints\n"
	"ih 0x81, int $0x81\n"
	"i stc\n"
	"ih 3, int3\n"
	"i std\n"
	"ih 3, .byte 0xcd, 3\n"
	"i cld\n"
	"ih 4, int $4\n"
	"i cli\n"
	"ih 0x82, int $0x82\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"i sti\n"
	"i nop\n"
	"ih 1, .byte 0xcd, 1\n"
	"endl soft_ints\n");
LINE(soft_ints);

KTAP_CASE(over_soft_ints, "E6 A5")
{
	line_test(&line_soft_ints, 0);
}

/* Ring 3 and back; SYSCALL goes on where r13 says. Flags masked, or not. */
__asm__("	.text\n"
	"syscall_entry:\n"
	"	jmp *%r13\n"
	".macro msr nr, hi, lo\n"
	"	i mov $\\nr, %ecx\n"
	"	i mov $\\hi, %edx\n"
	"	i mov $\\lo, %eax\n"
	"	i wrmsr\n"
	"	.endm\n"
	".macro to_ring3\n"
	"	i mov %rsp, %rax\n"
	"	i pushq $0x1b\n"
	"	i push %rax\n"
	"	i pushfq\n"
	"	i pushq $0x23\n"
	"	i pushq $1f\n"
	"	i iretq\n"
	"1:\n"
	"	.endm\n"
	".macro sysc off\n"
	"	i lea 1f(%rip), %r13\n"
	"	syscall\n"
	"	at 1f\n"
	"1:\n"
	"	i mov %r11, \\off(%rdi)\n"
	"	i mov %rcx, 8 + \\off(%rdi)\n"
	"	i pushfq\n"
	"	i popq 16 + \\off(%rdi)\n"
	"	.endm\n"
	".macro sysr off\n"
	"	i lea 1f(%rip), %rcx\n"
	"	i sysretq\n"
	"1:\n"
	"	i pushfq\n"
	"	i popq \\off(%rdi)\n"
	"	i mov %r11, 8 + \\off(%rdi)\n"
	"	.endm\n"
	"line syscalls\n"
	"msr 0xc0000081, 0x00100008, 0\n"
	"msr 0xc0000082, 0, syscall_entry\n"
	"msr 0xc0000084, 0, 0x700\n"
	"to_ring3\n"
	"i std\n"
	"sysc 0\n"
	"sysr 32\n"
	"sysc 64\n"
	"msr 0xc0000084, 0, 0\n"
	"i mov $0x202, %r11d\n"
	"sysr 96\n"
	"i stc\n"
	"sysc 128\n"
	"i mov $0x203, %r11d\n"
	"sysr 160\n"
	/* From ring 3 it faults. */
	"try 1f\n"
	"ih 13, sysretq\n"
	"1:\n"
	"i mov %r11, 192(%rdi)\n"
	"sysc 224\n"
	"i cld\n"
	/* SYSCALL and SYSRET do not exist without SCE. */
	"i mov $0xc0000080, %ecx\n"
	"i rdmsr\n"
	"i and $~1, %eax\n"
	"i wrmsr\n"
	"try 1f\n"
	"ih 6, syscall\n"
	"1:\n"
	"try 1f\n"
	"ih 6, sysretq\n"
	"1:\n"
	"i mov %r11, 256(%rdi)\n"
	"i or $1, %eax\n"
	"i wrmsr\n"
	"endl syscalls\n");
LINE(syscalls);

KTAP_CASE(over_syscalls, "E6 A5")
{
	line_test(&line_syscalls, 0);
}

/* Interrupt shadows, and what delays a trap. */
__asm__("line loads_ss\n"
	"i mov %ss, %eax\n"
	"i mov %eax, %ss\n"
	"i mov $1, %edx\n"
	"i mov %ax, %ss\n"
	"i mov %eax, %ss\n"
	"i mov %eax, %ss\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"i mov %eax, 8(%rdi)\n"
	"i mov 8(%rdi), %ss\n"
	"i cpuid\n"
	"i mov %ss, %eax\n"
	"i mov %eax, %ss\n"
	"ih 3, int3\n"
	"i mov %eax, %ss\n"
	"ih 0x81, int $0x81\n"
	"i mov $0x58, %ecx\n"
	"try 1f\n"
	"ih 13, mov %ecx, %ss\n"
	"1:\n"
	"i mov %eax, %ds\n"
	"i mov %eax, %es\n"
	"endl loads_ss\n");
LINE(loads_ss);

KTAP_CASE(over_loads_ss, "E6 A5")
{
	line_test(&line_loads_ss, 0);
}

__asm__("line strings\n"
	"i mov %rdi, %rdx\n"
	"i mov $0x2a, %eax\n"
	"i mov $3, %ecx\n"
	"1:\n"
	"at 1b\n"
	"at 1b\n"
	"i rep stosb\n"
	"i mov %rdx, %rsi\n"
	"i lea 0x20(%rdx), %rdi\n"
	"i mov $2, %ecx\n"
	"1:\n"
	"at 1b\n"
	"i rep movsq\n"
	"i xor %ecx, %ecx\n"
	"i rep movsb\n"
	"i mov $1, %ecx\n"
	"i rep stosb\n"
	/* The third one differs. */
	"i movl $0x02010101, 0x60(%rdx)\n"
	"i lea 0x60(%rdx), %rsi\n"
	"i lea 0x61(%rdx), %rdi\n"
	"i mov $5, %ecx\n"
	"1:\n"
	"at 1b\n"
	"at 1b\n"
	"i repe cmpsb\n"
	"i mov %rcx, 64(%rdx)\n"
	"i mov %rsi, 72(%rdx)\n"
	"i mov %rdi, 80(%rdx)\n"
	"i pushfq\n"
	"i popq 88(%rdx)\n"
	"i std\n"
	"i movsb\n"
	"i cld\n"
	"i mov $2, %ecx\n"
	"1:\n"
	"at 1b\n"
	"i loop 1b\n"
	/* A fault in the middle. */
	"i lea 0x40(%rdx), %rsi\n"
	"i mov $0xffe, %edi\n"
	"i xor %eax, %eax\n"
	"i mov $4, %ecx\n"
	"try 1f\n"
	"ih 14, rep stosb\n"
	"1:\n"
	"i mov %rcx, 96(%rdx)\n"
	"endl strings\n");
LINE(strings);

KTAP_CASE(over_strings, "E6 A5")
{
	line_test(&line_strings, 0);
}

__asm__("line faults\n"
	"msr 0xc0000081, 0x00100008, 0\n"
	"msr 0xc0000082, 0, syscall_entry\n"
	"try 1f\n"
	"ih 6, ud2\n"
	"1:\n"
	"i xor %ecx, %ecx\n"
	"try 1f\n"
	"ih 0, div %ecx\n"
	"1:\n"
	"try 1f\n"
	"ih 14, mov 8(%rcx), %eax\n"
	"1:\n"
	"try 1f\n"
	"ih 14, orl $1, 16(%rcx)\n"
	"1:\n"
	"i mov $0x800000000000, %rcx\n"
	"try 1f\n"
	"ih 13, mov (%rcx), %eax\n"
	"1:\n"
	/* There is nothing to execute at 0, nor can interrupts go there. */
	"i xor %ecx, %ecx\n"
	"i stc\n"
	"try 1f\n"
	"ih 14, jmp *%rcx\n"
	"1:\n"
	/* An instruction of KVM's that faults. */
	"i mov $0xdeadbeef, %ecx\n"
	"try 1f\n"
	"ih 13, rdmsr\n"
	"1:\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	/* Ring 3 may not use this one. */
	"to_ring3\n"
	"try 1f\n"
	"ih 13, int $0x81\n"
	"1:\n"
	"try 1f\n"
	"ih 13, hlt\n"
	"1:\n"
	"ih 3, int3\n"
	"i pushfq\n"
	"i popq 8(%rdi)\n"
	"i lea 1f(%rip), %r13\n"
	"syscall\n"
	"at 1f\n"
	"1:\n"
	"endl faults\n");

LINE(faults);

KTAP_CASE(over_faults, "E6 E7 A5")
{
	line_test(&line_faults, 0);
}

/* What KVM executes, or has a say in. */
__asm__("line emulated\n"
	"i push %rbx\n"
	"i xor %eax, %eax\n"
	"i cpuid\n"
	"i pop %rbx\n"
	"i mov %edx, (%rdi)\n"
	"i mov $0xc0000080, %ecx\n"
	"i rdmsr\n"
	"i wrmsr\n"
	"i mov %eax, 8(%rdi)\n"
	"i mov %cr0, %rax\n"
	"i mov %rax, %cr0\n"
	"i mov %cr3, %rax\n"
	"i mov %rax, %cr3\n"
	"i mov %cr4, %rax\n"
	"i mov %rax, %cr4\n"
	"i mov %cr2, %rax\n"
	"i mov %rax, %cr2\n"
	"i mov %rax, 16(%rdi)\n"
	"i invlpg (%rdi)\n"
	"i wbinvd\n"
	"i rdtsc\n"
	"i clts\n"
	"i smsw %rax\n"
	"i lmsw %ax\n"
	"i sgdt 32(%rdi)\n"
	"i sidt 48(%rdi)\n"
	"i sldt 64(%rdi)\n"
	"i str 72(%rdi)\n"
	"i fninit\n"
	/* A branch trace that KVM may know, or not; read back either way. */
	"i mov $0x1d9, %ecx\n"
	"i xor %edx, %edx\n"
	"i xor %eax, %eax\n"
	"i wrmsr\n"
	"i rdmsr\n"
	"i mov %eax, 80(%rdi)\n"
	"i pushfq\n"
	"i popq 88(%rdi)\n"
	"endl emulated\n");
LINE(emulated);

KTAP_CASE(over_emulated, "E6 A5")
{
	line_test(&line_emulated, 0);
}

/* The guest single-steps itself: each of its traps is there, and no other. */
__asm__(".macro tf_on\n"
	"	i pushfq\n"
	"	i orq $0x100, (%rsp)\n"
	"	i popfq\n"
	"	.endm\n"
	".macro tf_off\n"
	"	it 1, pushfq\n"
	"	it 1, andq $~0x100, (%rsp)\n"
	"	it 1, popfq\n"
	"	.endm\n"
	"line own_trap_flag\n"
	"tf_on\n"
	"it 1, nop\n"
	"it 1, pushfq\n"
	"it 1, popq (%rdi)\n"
	"it 1, pushfw\n"
	"it 1, popw 8(%rdi)\n"
	"it 1, stc\n"
	"it 1, pushfq\n"
	"it 1, popfq\n"
	"it 1, cpuid\n"
	"ih 0x81, int $0x81\n"
	"it 1, nop\n"
	"ih 3, int3\n"
	"it 1, std\n"
	"it 1, cld\n"
	"try 1f\n"
	"vec 1\n"
	"at 9b\n"
	"ih 6, ud2\n"
	"1:\n"
	"it 1, jmp 1f\n"
	"1:\n"
	"it 1, mov $2, %ecx\n"
	"1:\n"
	"at 1b\n"
	"vec 1\n"
	"at 1b\n"
	"it 1, loop 1b\n"
	"it 1, push %rdi\n"
	"it 1, mov $2, %ecx\n"
	"1:\n"
	"at 1b\n"
	"vec 1\n"
	"at 1b\n"
	"it 1, rep stosb\n"
	"it 1, pop %rdi\n"
	/* iretq that leaves TF on, then one that takes it away */
	"it 1, mov %rsp, %rax\n"
	"it 1, pushq $0x10\n"
	"it 1, push %rax\n"
	"it 1, pushq $0x302\n"
	"it 1, pushq $8\n"
	"it 1, pushq $1f\n"
	"it 1, iretq\n"
	"1:\n"
	"it 1, nop\n"
	"tf_off\n"
	"i pushfq\n"
	"i popq 24(%rdi)\n"
	"i mov %dr6, %rax\n"
	"i mov %rax, 32(%rdi)\n"
	"endl own_trap_flag\n");
LINE(own_trap_flag);

KTAP_CASE(over_own_trap_flag, "E6 E9 A5")
{
	line_test(&line_own_trap_flag, 0);
}

/* ... over MOV SS, behind which there is no trap. */
__asm__("line own_trap_flag_ss\n"
	"i mov %ss, %eax\n"
	"tf_on\n"
	"i mov %eax, %ss\n"
	"it 1, nop\n"
	"i mov %eax, %ss\n"
	"it 1, cpuid\n"
	"tf_off\n"
	"endl own_trap_flag_ss\n");
LINE(own_trap_flag_ss);

/* ... over SYSCALL, which masks it or not, and SYSRET, which traps by what it loads. */
__asm__("line own_trap_flag_syscall\n"
	"msr 0xc0000081, 0x00100008, 0\n"
	"msr 0xc0000082, 0, syscall_entry\n"
	"msr 0xc0000084, 0, 0x700\n"
	"to_ring3\n"
	"tf_on\n"
	"it 1, nop\n"
	"it 1, lea 1f(%rip), %r13\n"
	"syscall\n"
	"at 1f\n"
	"1:\n"
	"i mov %r11, (%rdi)\n"
	"i pushfq\n"
	"i popq 8(%rdi)\n"
	"i lea 1f(%rip), %rcx\n"
	"it 1, sysretq\n"
	"1:\n"
	"it 1, nop\n"
	"tf_off\n"
	"sysc 16\n"
	"i mov $0x302, %r11d\n"
	"i lea 1f(%rip), %rcx\n"
	"it 1, sysretq\n"
	"1:\n"
	"tf_off\n"
	"sysc 48\n"
	"endl own_trap_flag_syscall\n");
LINE(own_trap_flag_syscall);

KTAP_CASE(over_own_trap_flag_ss, "E6 E9 A5")
{
	line_test(&line_own_trap_flag_ss, 0);
}

/* ... over STI, which holds interrupts back and not this. */
__asm__("line own_trap_flag_sti\n"
	"tf_on\n"
	"it 1, cli\n"
	"it 1, sti\n"
	"it 1, nop\n"
	"it 1, pause\n"
	"tf_off\n"
	"i pause\n"
	"endl own_trap_flag_sti\n");
LINE(own_trap_flag_sti);

KTAP_CASE(over_own_trap_flag_sti, "E6 E9 A5")
{
	line_test_traps(&line_own_trap_flag_sti, 0, 7);
}

KTAP_CASE(over_own_trap_flag_syscall, "E6 E9 A5")
{
	line_test_traps(&line_own_trap_flag_syscall, 0, 11);
}

/* A debugger in the guest: a breakpoint on an instruction, one on data, DR7.GD. */
__asm__("line debugger\n"
	"i mov %dr6, %rax\n"
	"i mov %rax, (%rdi)\n"
	"i mov %dr7, %rax\n"
	"i mov %rax, 8(%rdi)\n"
	"i lea 64(%rdi), %rax\n"
	"i mov %rax, %dr1\n"
	"i mov $0xd00408, %eax\n"	/* DR1: 4 bytes written */
	"i mov %rax, %dr7\n"
	"it 1, movl $1, 64(%rdi)\n"
	"i movl $1, 72(%rdi)\n"
	"i mov %dr1, %rax\n"
	"i mov %rax, 16(%rdi)\n"
	/* Not switched on: no #DB; what DR6 shows is the CPU's affair. */
	"i mov $0x400, %eax\n"
	"i mov %rax, %dr7\n"
	"i movl $1, 64(%rdi)\n"
	/* What the guest has written itself stays. */
	"i mov $0xffff4ff0, %eax\n"
	"i mov %rax, %dr6\n"
	"i nop\n"
	"i mov %dr6, %rax\n"
	"i mov %rax, 24(%rdi)\n"
	"i nop\n"
	"i mov %dr6, %rax\n"
	"i mov %rax, 32(%rdi)\n"
	"i mov $0xffff0ff0, %eax\n"
	"i mov %rax, %dr6\n"
	"i nop\n"
	"i mov %dr6, %rax\n"
	"i mov %rax, 40(%rdi)\n"
	"i mov %dr7, %rax\n"
	"i mov %rax, 48(%rdi)\n"
	"i mov $0x400, %eax\n"
	"i mov %rax, %dr7\n"
	"endl debugger\n");
LINE(debugger);

KTAP_CASE(over_debugger, "E6 E9 A5")
{
	if (line_on_tcg())
		ktap_skip("QEMU has no breakpoints in a guest of SVM");
	line_test(&line_debugger, 0);
}

/* Debug registers that are guarded: a fault, behind which they are not. */
__asm__(".macro again nr, insn:vararg\n"
	"8:	vec \\nr\n"
	"	at 8b\n"
	"	i \\insn\n"
	"	.endm\n"
	"line guarded\n"
	"i mov $0x2400, %eax\n"
	"i mov %rax, %dr7\n"
	"again 1, mov %dr0, %rcx\n"
	"i mov %dr7, %rcx\n"
	"i mov %rcx, (%rdi)\n"
	"i mov %rax, %dr7\n"
	"i nop\n"
	"i mov $0x400, %edx\n"
	"again 1, mov %rdx, %dr7\n"
	"i mov %dr6, %rcx\n"
	"i mov %rcx, 8(%rdi)\n"
	"endl guarded\n");
LINE(guarded);

KTAP_CASE(over_guarded, "E6 E9 A5")
{
	line_test_traps(&line_guarded, 0, 2);
}

/* INT1 is a #DB that no register explains. */
__asm__("line int1\n"
	"i stc\n"
	"ih 1, .byte 0xf1\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"ih 1, .byte 0x66, 0xf1\n"
	"i nop\n"
	"endl int1\n");
LINE(int1);

KTAP_CASE(over_int1, "E6 E9 A5")
{
	if (line_on_tcg())
		ktap_skip("QEMU stops at INT1 that nobody intercepts");
	line_test(&line_int1, 0);
}

/* 32-bit code: what 64-bit code has not. */
__asm__("line compat\n"
	"i pushq $0xa8\n"
	"i pushq $1f\n"
	"i lretq\n"
	"1:\n"
	".code32\n"
	"i mov %ss, %edx\n"
	"i pushfl\n"
	"i popl (%edi)\n"
	"i pushfw\n"
	"i popw 8(%edi)\n"
	"i std\n"
	"i pushl $0x246\n"
	"i popfl\n"
	"i push %edx\n"
	"i pop %ss\n"
	"i nop\n"
	"i push %edx\n"
	"i pop %ss\n"
	"i mov %edx, %ss\n"
	"i pushfl\n"
	"i popl 16(%edi)\n"
	"i into\n"
	"i mov $0x7fffffff, %eax\n"
	"i inc %eax\n"
	"ih 4, into\n"
	"ih 0x81, int $0x81\n"
	"ih 3, int3\n"
	"i pushfl\n"
	"i pushl $0xa8\n"
	"i pushl $1f\n"
	"i iretl\n"
	"1:\n"
	"i pushfl\n"
	"i popl 24(%edi)\n"
	"i mov $1f, %eax\n"
	"i call *%eax\n"
	"1:\n"
	"i pop %eax\n"
	"i pushl $8\n"
	"i pushl $1f\n"
	"i lretl\n"
	"1:\n"
	".code64\n"
	"endl compat\n");
LINE(compat);

KTAP_CASE(over_compat, "E6 A5")
{
	line_test(&line_compat, 0);
}

/* An interrupt that waits comes where it comes unwatched, shadows and HLT included. */
__asm__(".macro ipi\n"
	"	i movl $0x40090, 0x300(%r8)\n"
	"	.endm\n"
	"line interrupts\n"
	"i mov $0xfee00000, %r8d\n"
	"i movl $0x1ff, 0xf0(%r8)\n"
	"i cli\n"
	"ipi\n"
	"i nop\n"
	"i sti\n"
	"it 0x90, mov $1, %eax\n"
	"i mov $2, %eax\n"
	"i cli\n"
	"ipi\n"
	"i sti\n"
	"it 0x90, nop\n"
	"i cli\n"
	"ipi\n"
	"i sti\n"
	"it 0x90, hlt\n"
	"i cli\n"
	"ipi\n"
	"i pushq $0x202\n"
	"it 0x90, popfq\n"
	"i cli\n"
	"i mov %ss, %eax\n"
	"ipi\n"
	"i pushfq\n"
	"i popq (%rdi)\n"
	"i sti\n"
	"it 0x90, pushfq\n"
	"i popq 8(%rdi)\n"
	"it 0x90, movl $0x40090, 0x300(%r8)\n"
	"i nop\n"
	"endl interrupts\n");
LINE(interrupts);

KTAP_CASE(over_interrupts, "E6 E10 A5")
{
	if (line_on_tcg())
		ktap_skip("QEMU forgets the interrupt shadow at VMRUN");
	line_test(&line_interrupts, LINE_F_IRQ);
}

/* The same without shadows. */
__asm__("line interrupts_only\n"
	"i mov $0xfee00000, %r8d\n"
	"i movl $0x1ff, 0xf0(%r8)\n"
	"i cli\n"
	"ipi\n"
	"i nop\n"
	"i pushq $0x202\n"
	"it 0x90, popfq\n"
	"i cli\n"
	"i pushq $0x202\n"
	"ipi\n"
	"it 0x90, popfq\n"
	"it 0x90, movl $0x40090, 0x300(%r8)\n"
	"i nop\n"
	"endl interrupts_only\n");
LINE(interrupts_only);

KTAP_CASE(over_interrupts_only, "E6 E10 A5")
{
	line_test(&line_interrupts_only, LINE_F_IRQ);
}

/*
 * An interrupt that is held back for an instruction, which then faults: both reach
 * the guest.
 */
__asm__("	.text\n"
	"	.globl faulting_line, faulting_ud2\n"
	"faulting_line:\n"
	"	int3\n"
	"faulting_ud2:\n"
	"	ud2\n"
	"	mov $9, %eax\n"
	"	ret\n");
uint64_t faulting_line(void);
extern const char faulting_ud2[];

static __guest void skip_ud2(struct guest_regs *regs)
{
	regs->rip += 2;
}

KTAP_CASE_SMP(held_back_for_a_fault, "E6 A4 A5")
{
	const struct kvmi_x86_injection irq = {
		.type = KVMI_X86_INJECT_INTERRUPT,
		.vector = LINE_IRQ,
	};
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t id;
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vm->vcpu[i].cpu->handler[6] = skip_ud2;
		vmm_vcpu_set_entry(vm, i, faulting_line, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = at_the_line(kv);
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP,
					       (uint64_t)faulting_ud2));
		kvmi_reply_step(&reply);
		KTAP_LIB_OK(kvmi_vcpu_inject(kv, i, &irq, &id));
		tool_answer(kv, ev, &reply);
		ev = tool_wait(kv, KVMI_EVENT_STEP);
		KTAP_ASSERT(kvmi_event_step(ev)->pc ==
				(uint64_t)guest_vectors + 16 * LINE_IRQ ||
			    kvmi_event_step(ev)->pc ==
				(uint64_t)guest_vectors + 16 * 6);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 9);
		KTAP_EQ(vm->vcpu[i].cpu->count[LINE_IRQ], 1);
		KTAP_EQ(vm->vcpu[i].cpu->count[6], 1);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/*
 * An interrupt of the LAPIC's that is held back for an instruction, behind which the
 * guest has interrupts off: by the tool's answer to that instruction's event. It is
 * delivered when they are on again, whether the tool is there by then or not; and the
 * VMM that saves the vCPU meanwhile finds it.
 */
__asm__("	.text\n"
	"	.globl masked_line, masked_cpuid\n"
	"masked_line:\n"
	"	push %rbx\n"
	"	mov $0xfee00000, %r8d\n"
	"	movl $0x1ff, 0xf0(%r8)\n"
	"	cli\n"
	"	movl $0x40090, 0x300(%r8)\n"
	"	int3\n"
	"masked_cpuid:\n"
	"	cpuid\n"
	"	nop\n"
	"	nop\n"
	"	mov %gs:(0x160 + 8 * 0x90), %rax\n"
	"	sti\n"
	"	nop\n"
	"	cli\n"
	"	pop %rbx\n"
	"	ret\n");
uint64_t masked_line(void);
extern const char masked_cpuid[];

static void held_back_and_masked(bool gone, bool saved)
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct guest_cpu *cpu = vm->vcpu[0].cpu;
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvm_lapic_state lapic;
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	uint64_t flags;

	_Static_assert(offsetof(struct guest_cpu, count) == 0x160, "masked_line");
	cpu->eoi = LINE_LAPIC + 0xb0;
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	vmm_vcpu_set_entry(vm, 0, masked_line, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = at_the_line(kv);
	flags = kvmi_event_gprs(ev)->r[KVMI_X86_RFLAGS];
	KTAP_EQ(flags & 0x200, 0);
	kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RIP, (uint64_t)masked_cpuid));
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RFLAGS, flags | 0x200));
	kvmi_reply_step(&reply);
	tool_answer(kv, ev, &reply);
	/* The interrupt is KVM's to deliver, and is not: the instruction is first. */
	ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	KTAP_LIB_OK(kvmi_reply_set_gpr(&reply, KVMI_X86_RFLAGS, flags));
	tool_answer(kv, ev, &reply);
	ev = tool_wait(kv, KVMI_EVENT_STEP);
	KTAP_EQ(kvmi_event_step(ev)->pc, (uint64_t)masked_cpuid + 2);
	if (saved) {
		KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
		KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_GET_LAPIC, &lapic));
		KTAP_EQ(*(uint32_t *)&lapic.regs[0x200 + 4 * 0x10], 1 << 16);
		KTAP_EQ(*(uint32_t *)&lapic.regs[0x100 + 4 * 0x10], 0);
		vmm_vcpu_start(vm, 0);
	}
	if (gone)
		kvmi_vm_close(kv);
	else
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	/* None before STI, one behind it. */
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0);
	KTAP_EQ(cpu->count[LINE_IRQ], 1);
	KTAP_EQ(cpu->count[1], 0);
	if (!gone)
		kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(held_back_until_unmasked, "E6 A5")
{
	held_back_and_masked(false, false);
}

KTAP_CASE(held_back_at_detach, "E6 A5 D1")
{
	held_back_and_masked(true, false);
}

KTAP_CASE(held_back_and_saved, "E6 A5 D8")
{
	held_back_and_masked(false, true);
}

/* In a page that must not be executed, by whomever. */
__asm__("	.text\n"
	"	.balign 4096\n"
	"	.globl forbidden_line, forbidden_line_end\n"
	"forbidden_line:\n"
	"	nop\n"
	"	sti\n"
	"	mov %ss, %eax\n"
	"	mov %eax, %ss\n"
	"	mov $9, %eax\n"
	"	ret\n"
	"forbidden_line_end:\n"
	"	.balign 4096\n");
uint64_t forbidden_line(void);
extern const char forbidden_line_end[];

KTAP_CASE(over_what_a_view_forbids, "E6 E17")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev = NULL;
	uint64_t first = (uint64_t)forbidden_line, pc;
	uint64_t end = (uint64_t)forbidden_line_end;
	int accesses = 0, steps = 0;
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, first / 4096, 1,
					 KVMI_ACCESS_R | KVMI_ACCESS_W));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_SYNC, 0);
	vmm_vcpu_set_entry(vm, 0, forbidden_line, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (;;) {
		KTAP_ASSERT(kvmi_event_wait(kv, &ev, TOOL_PATIENCE) > 0);
		KTAP_EQ(ev->view, view);
		if (ev->kind == KVMI_EVENT_ACCESS) {
			KTAP_EQ(kvmi_event_access(ev)->access, KVMI_ACCESS_X);
			accesses++;
		} else {
			KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
			pc = kvmi_event_step(ev)->pc;
			if (pc == (uint64_t)guest_entry_return)
				break;
			if (pc > first && pc < end)
				steps++;
		}
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 9);
	KTAP_EQ(accesses, 6);
	KTAP_EQ(steps, 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/*
 * A mixed loop in asynchronous mode: the stream of addresses is the one known
 * beforehand, however often.
 */
#define TRACE_ROUNDS	40

__asm__("line mixed\n"
	"i mov $40, %r12d\n"
	"1:\n"
	"i imul $31, %rbx, %rbx\n"
	"i add %r12, %rbx\n"
	"i pushfq\n"
	"i pop %rax\n"
	"i xor %rax, %rbx\n"
	"i push %rbx\n"
	"i popq (%rdi)\n"
	"i mov $3, %ecx\n"
	"2:\n"
	"at 2b\n"
	"at 2b\n"
	"i loop 2b\n"
	"i mov %ss, %eax\n"
	"i mov %eax, %ss\n"
	"i xor %eax, %eax\n"
	"at 3f\n"
	"at 4f\n"
	"call 3f\n"
	"4:\n"
	"i dec %r12d\n"
	/* Back, but for the last time; see below. */
	"i jnz 1b\n"
	"i mov %rbx, %rax\n"
	"at 0\n"
	"ret\n"
	"3:	ret\n"
	"endl mixed\n");
LINE(mixed);

KTAP_CASE(known_trace, "E6 D4")
{
	int body = line_mixed.steps_end - line_mixed.steps - 3;
	struct vmm *vm = vmm_create(1, 0);
	uint64_t out = vmm_alloc_pages(vm, 1);
	struct line_result want, got;
	const struct kvmi_event *ev;
	struct kvmi_vm *kv;
	uint64_t pc;
	int i, n;

	line_begin(vm, &line_mixed, out);
	line_finish(vm, out, &want);

	kv = tool_attach_ring(vm, 1 << 20);
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_ASYNC, 0);
	line_begin(vm, &line_mixed, out);
	for (n = 0; n < 1 + TRACE_ROUNDS * body + 1; n++) {
		ev = tool_wait(kv, KVMI_EVENT_STEP);
		pc = kvmi_event_step(ev)->pc;
		/* The first, then rounds, of which the last does not jump. */
		i = n ? 1 + (n - 1) % body : 0;
		if (n == 1 + TRACE_ROUNDS * body)
			i = 1 + body;
		if (i == body && n < TRACE_ROUNDS * body)
			KTAP_EQ(pc, line_mixed.steps[0]);
		else
			KTAP_EQ(pc, line_mixed.steps[i]);
	}
	ev = tool_wait(kv, KVMI_EVENT_STEP);
	KTAP_EQ(kvmi_event_step(ev)->pc, guest_entry_return);
	tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
	line_finish(vm, out, &got);
	line_compare("known trace", &want, &got);
	while (kvmi_event_wait(kv, &ev, 0) > 0)
		KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
