// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step of straight-line code: one event per instruction, at the addresses
 * that the assembler gave them, and a guest that does not notice.
 */
#include <unistd.h>

#include "lib/tool.h"

#define RFLAGS_TF	0x100

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
		/* In asynchronous mode the guest may be far ahead. */
		while (kvmi_event_wait(kv, &ev, 0) > 0)
			KTAP_EQ(mode, KVMI_MODE_ASYNC);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 12);
		KTAP_EQ(vm->vcpu[i].cpu->count[1], 0);
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

KTAP_MAIN(ktap_need_kvmi)
