// SPDX-License-Identifier: GPL-2.0-only
/*
 * A debugger in the VMM (KVM_SET_GUEST_DEBUG, as QEMU's gdbstub uses it) beside
 * kvmi: each gets what is its own, and the guest notices neither.
 */
#include <cpuid.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define DB_VECTOR	1
#define BP_VECTOR	3
#define DR6_BS		0x4000
#define DR7_WRITE_4(n)	(2 << ((n) * 2) | 0xd << (16 + (n) * 4))

#define ENABLE		KVM_GUESTDBG_ENABLE
#define SW_BP		(ENABLE | KVM_GUESTDBG_USE_SW_BP)
#define STEP		(ENABLE | KVM_GUESTDBG_SINGLESTEP)

static void set_debug_at(struct vmm *vm, int vcpu, uint32_t control,
			 uint64_t addr)
{
	struct kvm_guest_debug debug = { .control = control };

	if (control & KVM_GUESTDBG_USE_HW_BP) {
		debug.arch.debugreg[0] = addr;
		debug.arch.debugreg[7] = 0x400 | DR7_WRITE_4(0);
	}
	KTAP_OK(ioctl(vm->vcpu[vcpu].fd, KVM_SET_GUEST_DEBUG, &debug));
}

static void set_debug(struct vmm *vm, int vcpu, uint32_t control)
{
	set_debug_at(vm, vcpu, control, 0);
}

static void set_rip(struct vmm *vm, int vcpu, const char *rip)
{
	struct kvm_regs regs;

	vmm_vcpu_get_regs(vm, vcpu, &regs);
	regs.rip = (uint64_t)rip;
	vmm_vcpu_set_regs(vm, vcpu, &regs);
}

/* The VMM has got a debug exit, and no other. */
static void check_exit(struct vmm *vm, int vcpu, int why, uint32_t exception,
		       const char *pc)
{
	const struct kvm_debug_exit_arch *debug;
	struct kvm_regs regs;

	if (why != KVM_EXIT_DEBUG)
		KTAP_FAIL("%s", vmm_vcpu_why(vm, vcpu));
	debug = &vm->vcpu[vcpu].run->debug.arch;
	KTAP_EQ(debug->exception, exception);
	KTAP_EQ(debug->pc, pc);
	vmm_vcpu_get_regs(vm, vcpu, &regs);
	KTAP_EQ(regs.rip, pc);
}

static void wait_exit(struct vmm *vm, int vcpu, uint32_t exception,
		      const char *pc)
{
	check_exit(vm, vcpu, vmm_vcpu_wait(vm, vcpu, TOOL_PATIENCE), exception,
		   pc);
}

/* As QEMU hands a breakpoint on that is none of its own. */
static void hand_on_breakpoint(struct vmm *vm, int vcpu)
{
	struct kvm_vcpu_events ev;

	KTAP_OK(ioctl(vm->vcpu[vcpu].fd, KVM_GET_VCPU_EVENTS, &ev));
	KTAP_EQ(ev.exception.injected, 0);
	ev.exception.injected = 1;
	ev.exception.nr = BP_VECTOR;
	ev.exception.has_error_code = 0;
	KTAP_OK(ioctl(vm->vcpu[vcpu].fd, KVM_SET_VCPU_EVENTS, &ev));
}

static void watch_steps(struct kvmi_vm *kv, int vcpu, uint32_t mode)
{
	KTAP_LIB_OK(kvmi_event_watch(kv, vcpu, KVMI_EVENT_STEP, mode, 0));
}

static const struct kvmi_event *wait_breakpoint(struct kvmi_vm *kv,
						const char *pc)
{
	const struct kvmi_event *ev = tool_wait(kv, KVMI_EVENT_BREAKPOINT);

	KTAP_EQ(kvmi_event_breakpoint(ev)->pc, pc);
	return ev;
}

/* ---- breakpoints ------------------------------------------------------------- */

__asm__(".text\n"
	".globl breakpoints, bp1, bp2, bp3\n"
	"breakpoints:\n"
	"	xor %eax, %eax\n"
	"bp1:	int3\n"
	"	inc %eax\n"
	"bp2:	int3\n"
	"	inc %eax\n"
	"bp3:	int3\n"
	"	inc %eax\n"
	"	ret\n");
uint64_t breakpoints(void);
extern const char bp1[], bp2[], bp3[];

/* Does KVM have breakpoints exit for the VMM, with nobody attached? */
static bool int3_exits(void)
{
	struct vmm *vm = vmm_create(1, 0);
	bool exits;

	vmm_vcpu_set_entry(vm, 0, breakpoints, 0, 0, 0);
	set_debug(vm, 0, SW_BP);
	exits = vmm_vcpu_run(vm, 0) == KVM_EXIT_DEBUG;
	vmm_destroy(vm);
	return exits;
}

static void need_int3_exits(void)
{
	if (!int3_exits())
		ktap_skip("this CPU does not intercept INT3 as #BP");
}

/* The tool first; what it lets go on is the VMM's, which may hand it on. */
KTAP_CASE_SMP(breakpoints_of_both, "E8 A1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct guest_cpu *cpu;
	int i;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		cpu = vm->vcpu[i].cpu;
		set_debug(vm, i, SW_BP);
		vmm_vcpu_set_entry(vm, i, breakpoints, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		tool_reply(kv, wait_breakpoint(kv, bp1), KVMI_ACTION_CONTINUE);
		wait_exit(vm, i, BP_VECTOR, bp1);
		/* The VMM's own. */
		set_rip(vm, i, bp1 + 1);
		vmm_vcpu_start(vm, i);
		tool_reply(kv, wait_breakpoint(kv, bp2), KVMI_ACTION_CONTINUE);
		wait_exit(vm, i, BP_VECTOR, bp2);
		KTAP_EQ(cpu->count[BP_VECTOR], 0);
		/* The guest's. */
		hand_on_breakpoint(vm, i);
		vmm_vcpu_start(vm, i);
		tool_reply(kv, wait_breakpoint(kv, bp3), KVMI_ACTION_SKIP);
		/* The tool's. */
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3);
		KTAP_EQ(cpu->count[BP_VECTOR], 1);
		KTAP_EQ(cpu->last.rip, bp2 + 1);
	}
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The VMM begins to debug, or ends it, while an event is open. */
KTAP_CASE(debugging_while_an_event_is_open, "E8 A1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	vmm_vcpu_set_entry(vm, 0, breakpoints, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	ev = wait_breakpoint(kv, bp1);
	KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
	set_debug(vm, 0, SW_BP);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	wait_exit(vm, 0, BP_VECTOR, bp1);
	hand_on_breakpoint(vm, 0);
	vmm_vcpu_start(vm, 0);
	ev = wait_breakpoint(kv, bp2);
	KTAP_EQ(vm->vcpu[0].cpu->count[BP_VECTOR], 1);
	KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
	set_debug(vm, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	ev = wait_breakpoint(kv, bp3);
	KTAP_EQ(vm->vcpu[0].cpu->count[BP_VECTOR], 2);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 3);
	KTAP_EQ(vm->vcpu[0].cpu->count[BP_VECTOR], 3);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/*
 * Both want the intercept. Whoever begins first, and whoever ends first: it stays
 * for the other one, and no longer.
 */
static void intercept_case(bool vmm_first, bool detach)
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv;
	const struct kvmi_event *ev;

	need_int3_exits();
	vmm_vcpu_set_entry(vm, 0, breakpoints, 0, 0, 0);
	if (vmm_first)
		set_debug(vm, 0, SW_BP);
	kv = tool_attach(vm);
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	vmm_vcpu_start(vm, 0);
	ev = wait_breakpoint(kv, bp1);
	if (!vmm_first) {
		/* The intercept is there, and kvmi's. */
		KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
		set_debug(vm, 0, SW_BP);
		vmm_vcpu_start(vm, 0);
	}
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	wait_exit(vm, 0, BP_VECTOR, bp1);
	if (detach)
		kvmi_vm_close(kv);
	else
		tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_OFF, 0);
	set_rip(vm, 0, bp1 + 1);
	vmm_vcpu_start(vm, 0);
	wait_exit(vm, 0, BP_VECTOR, bp2);
	set_debug(vm, 0, 0);
	set_rip(vm, 0, bp2 + 1);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 3);
	KTAP_EQ(vm->vcpu[0].cpu->count[BP_VECTOR], 1);
	if (!detach)
		kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(intercept_of_vmm_then_tool, "E8 D1")
{
	intercept_case(true, true);
}

KTAP_CASE(intercept_of_tool_then_vmm, "E8 D1")
{
	intercept_case(false, true);
}

KTAP_CASE(intercept_after_the_event, "E8")
{
	intercept_case(true, false);
	intercept_case(false, false);
}

/* The VMM ends first: the intercept stays for the tool. */
KTAP_CASE(intercept_left_to_the_tool, "E8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv;

	set_debug(vm, 0, SW_BP);
	kv = tool_attach(vm);
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	vmm_vcpu_set_entry(vm, 0, breakpoints, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, wait_breakpoint(kv, bp1), KVMI_ACTION_CONTINUE);
	wait_exit(vm, 0, BP_VECTOR, bp1);
	set_rip(vm, 0, bp1 + 1);
	set_debug(vm, 0, 0);
	vmm_vcpu_start(vm, 0);
	tool_reply(kv, wait_breakpoint(kv, bp2), KVMI_ACTION_CONTINUE);
	tool_reply(kv, wait_breakpoint(kv, bp3), KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 3);
	KTAP_EQ(vm->vcpu[0].cpu->count[BP_VECTOR], 2);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- single-step ------------------------------------------------------------- */

/* CPUID is executed by KVM; of REP each round is a step. */
__asm__(".text\n"
	".globl line, line_rep, line_end\n"
	".globl line_1, line_2, line_3, line_4, line_5, line_6, line_7\n"
	"line:\n"
	"	push %rbx\n"
	"line_1:xor %eax, %eax\n"
	"line_2:cpuid\n"
	"line_3:mov $3, %ecx\n"
	"line_4:mov $7, %eax\n"
	"line_rep:rep stosb\n"
	"line_5:nop\n"
	"line_6:pop %rbx\n"
	"line_7:nop\n"
	"line_end:\n"
	"	ret\n");
uint64_t line(uint64_t mem);
extern const char line_rep[], line_end[];
extern const char line_1[], line_2[], line_3[], line_4[], line_5[], line_6[],
	line_7[];

static const char *const stops[] = {
	line_1, line_2, line_3, line_4, line_rep, line_rep, line_rep, line_5,
	line_6, line_7, line_end,
};

#define NR_STOPS	((int)(sizeof(stops) / sizeof(stops[0])))

/* What comes first: an event (true), or the vCPU stops for the VMM. */
static bool event_or_exit(struct vmm *vm, struct kvmi_vm *kv, int vcpu,
			  const struct kvmi_event **ev)
{
	int ms;

	for (ms = 0; ms < TOOL_PATIENCE; ms++) {
		if (kvmi_event_wait(kv, ev, 1) > 0)
			return true;
		if (!vmm_vcpu_running(vm, vcpu))
			return false;
	}
	KTAP_FAIL("neither an event nor an exit");
}

static void step_exit(struct vmm *vm, int vcpu, int n)
{
	KTAP_ASSERT(n < NR_STOPS);
	wait_exit(vm, vcpu, DB_VECTOR, stops[n]);
	KTAP_ASSERT(vm->vcpu[vcpu].run->debug.arch.dr6 & DR6_BS);
}

/* Both step: each sees each instruction, once and at the same place. */
static void stepping_case(int nr_vcpus, int mode, int detach_after)
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i, n, m;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, line, gpa, 0, 0);
		set_debug(vm, i, STEP);
		watch_steps(kv, i, mode);
		vmm_vcpu_start(vm, i);
		for (n = 0, m = 0; n < NR_STOPS || m < NR_STOPS;) {
			if (kv && event_or_exit(vm, kv, i, &ev)) {
				KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
				KTAP_EQ(ev->vcpu, i);
				KTAP_ASSERT(n < NR_STOPS);
				KTAP_EQ(kvmi_event_step(ev)->pc, stops[n]);
				n++;
				if (n == NR_STOPS)
					watch_steps(kv, i, KVMI_MODE_OFF);
				if (mode == KVMI_MODE_SYNC)
					tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
				if (n == detach_after) {
					kvmi_vm_close(kv);
					kv = NULL;
					n = NR_STOPS;
				}
			} else {
				step_exit(vm, i, m);
				m++;
				set_debug(vm, i, m < NR_STOPS ? STEP : 0);
				vmm_vcpu_start(vm, i);
			}
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 7);
		/* In asynchronous mode the guest may have been ahead. */
		while (kv && kvmi_event_wait(kv, &ev, 0) > 0)
			KTAP_EQ(mode, KVMI_MODE_ASYNC);
		KTAP_EQ(vm->vcpu[i].cpu->count[DB_VECTOR], 0);
		KTAP_EQ(((char *)vmm_gpa(vm, gpa))[2], 7);
		KTAP_EQ(((char *)vmm_gpa(vm, gpa))[3], 0);
		if (!kv)
			break;
	}
	if (kv) {
		tool_wait_none(kv, 0);
		kvmi_vm_close(kv);
	}
	vmm_destroy(vm);
}

KTAP_CASE_SMP(both_step, "E6")
{
	stepping_case(nr_vcpus, KVMI_MODE_SYNC, -1);
}

KTAP_CASE_SMP(both_step_async, "E6")
{
	stepping_case(nr_vcpus, KVMI_MODE_ASYNC, -1);
}

/* The tool goes: the VMM steps on. */
KTAP_CASE(detach_while_both_step, "E6 D1")
{
	int n;

	for (n = 1; n < 8; n++)
		stepping_case(1, KVMI_MODE_SYNC, n);
}

/* An answer asks for a step, and meanwhile the VMM has begun to step. */
KTAP_CASE_SMP(vmm_joins_a_step, "E6 A5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;
	int i, n, m;

	tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, breakpoints, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = wait_breakpoint(kv, bp1);
		KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
		set_debug(vm, i, STEP);
		kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
		tool_answer(kv, ev, &reply);
		vmm_vcpu_start(vm, i);
		/* KVM's word on an instruction that is skipped: it is a step. */
		wait_exit(vm, i, DB_VECTOR, bp1 + 1);
		set_debug(vm, i, 0);
		vmm_vcpu_start(vm, i);
		ev = wait_breakpoint(kv, bp2);
		KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
		set_debug(vm, i, STEP);
		vmm_vcpu_start(vm, i);
		/* The VMM's stepping follows the RIP at which it was asked for. */
		kvmi_reply_init(&reply, KVMI_ACTION_RETRY);
		kvmi_reply_step(&reply);
		tool_answer(kv, ev, &reply);
		/* It is at the INT3 again: the step ends by an event. */
		ev = wait_breakpoint(kv, bp2);
		KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
		set_rip(vm, i, bp2 + 1);
		set_debug(vm, i, STEP);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_CANCELLED);
		for (n = 0, m = 0; !m || !n;) {
			if (event_or_exit(vm, kv, i, &ev)) {
				KTAP_EQ(ev->kind, KVMI_EVENT_BREAKPOINT);
				tool_reply(kv, ev, KVMI_ACTION_SKIP);
				n++;
			} else {
				wait_exit(vm, i, DB_VECTOR, bp3);
				set_debug(vm, i, 0);
				vmm_vcpu_start(vm, i);
				m++;
			}
		}
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3);
		KTAP_EQ(vm->vcpu[i].cpu->count[DB_VECTOR], 0);
		KTAP_EQ(vm->vcpu[i].cpu->count[BP_VECTOR], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A step into an INT3 that nobody watches: the guest's, and nobody else's. */
KTAP_CASE_SMP(step_into_a_breakpoint_of_the_guest, "E6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i, n;

	for (i = 0; i < nr_vcpus; i++) {
		watch_steps(kv, i, KVMI_MODE_SYNC);
		vmm_vcpu_set_entry(vm, i, breakpoints, 0, 0, 0);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_STEP);
		KTAP_EQ(kvmi_event_step(ev)->pc, bp1);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		/* Through the handler and back. */
		for (n = 0; n < 5000; n++) {
			ev = tool_wait(kv, KVMI_EVENT_STEP);
			if (kvmi_event_step(ev)->pc == (uint64_t)bp1 + 1)
				break;
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		watch_steps(kv, i, KVMI_MODE_OFF);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3);
		KTAP_EQ(vm->vcpu[i].cpu->count[BP_VECTOR], 3);
		KTAP_EQ(vm->vcpu[i].cpu->count[DB_VECTOR], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- views and debug registers --------------------------------------------------- */

__asm__(".text\n"
	".globl storing, storing_2, storing_3\n"
	"storing:\n"
	"	mov $5, %eax\n"
	"storing_1:\n"
	"	mov %eax, (%rdi)\n"
	"storing_2:\n"
	"	inc %eax\n"
	"storing_3:\n"
	"	ret\n");
uint64_t storing(uint64_t addr);
extern const char storing_1[], storing_2[], storing_3[];

/* An access is let through by a step of kvmi's; the VMM steps as well. */
KTAP_CASE_SMP(fast_step_while_the_vmm_steps, "E17 A5")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	uint32_t view;
	int i;

	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / 4096, 1,
					 KVMI_ACCESS_R | KVMI_ACCESS_X));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, storing, gpa, 0, 0);
		set_debug(vm, i, STEP);
		vmm_vcpu_start(vm, i);
		wait_exit(vm, i, DB_VECTOR, storing_1);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		KTAP_EQ(kvmi_event_access(ev)->gpa, gpa);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		wait_exit(vm, i, DB_VECTOR, storing_2);
		KTAP_EQ(*(uint32_t *)vmm_gpa(vm, gpa), 5);
		vmm_vcpu_start(vm, i);
		wait_exit(vm, i, DB_VECTOR, storing_3);
		/* It is back in the view. */
		set_debug(vm, i, 0);
		set_rip(vm, i, storing_1);
		vmm_vcpu_start(vm, i);
		ev = tool_wait(kv, KVMI_EVENT_ACCESS);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 7);
		KTAP_EQ(vm->vcpu[i].cpu->count[DB_VECTOR], 0);
	}
	tool_wait_none(kv, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/*
 * QEMU's TCG does not load debug registers at VMRUN, and leaves those that a guest
 * has set in force for its host, to which that is fatal.
 */
static void need_watchpoints(void)
{
	uint32_t eax, sig[3];

	__cpuid(0x40000000, eax, sig[0], sig[1], sig[2]);
	if (!memcmp(sig, "TCGTCGTCGTCG", 12))
		ktap_skip("this CPU has no data breakpoints in guests");
}

KTAP_CASE_SMP(watchpoint_of_the_vmm_at_a_step, "E6")
{
	uint32_t control = ENABLE | KVM_GUESTDBG_USE_HW_BP;
	const char *const at[] = { storing_1, storing_2, storing_3 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	int i, n, exits;

	need_watchpoints();
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, storing, gpa, 0, 0);
		set_debug_at(vm, i, control, gpa);
		watch_steps(kv, i, KVMI_MODE_SYNC);
		vmm_vcpu_start(vm, i);
		for (n = 0, exits = 0; n < 3;) {
			if (event_or_exit(vm, kv, i, &ev)) {
				KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
				KTAP_EQ(kvmi_event_step(ev)->pc, at[n]);
				if (++n == 3)
					watch_steps(kv, i, KVMI_MODE_OFF);
				tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
			} else {
				wait_exit(vm, i, DB_VECTOR, storing_2);
				KTAP_EQ(vm->vcpu[i].run->debug.arch.dr6 & 0xf, 1);
				exits++;
				vmm_vcpu_start(vm, i);
			}
		}
		KTAP_EQ(exits, 1);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 6);
		KTAP_EQ(vm->vcpu[i].cpu->count[DB_VECTOR], 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t watched(uint64_t addr, uint64_t dr7)
{
	asm volatile("mov %0, %%dr0" : : "r" (addr));
	asm volatile("mov %0, %%dr7" : : "r" (dr7));
	guest_sync(0);
	return storing(addr);
}

/* The guest's own: it gets it, and without a trace of the step. */
KTAP_CASE_SMP(watchpoint_of_the_guest_at_a_step, "E6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct guest_cpu *cpu;
	uint64_t pc;
	int i, n;

	need_watchpoints();
	for (i = 0; i < nr_vcpus; i++) {
		cpu = vm->vcpu[i].cpu;
		vmm_vcpu_set_entry(vm, i, watched, gpa, 0x400 | DR7_WRITE_4(0),
				   0);
		KTAP_EQ(vmm_vcpu_run_ucall(vm, i), GUEST_SYNC);
		watch_steps(kv, i, KVMI_MODE_SYNC);
		vmm_vcpu_start(vm, i);
		/* Through the handler of #DB and back. */
		for (n = 0, pc = 0; n < 5000; n++) {
			ev = tool_wait(kv, KVMI_EVENT_STEP);
			pc = kvmi_event_step(ev)->pc;
			if (pc == (uint64_t)storing_3)
				break;
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		}
		KTAP_EQ(pc, storing_3);
		watch_steps(kv, i, KVMI_MODE_OFF);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 6);
		KTAP_EQ(cpu->count[DB_VECTOR], 1);
		KTAP_EQ(cpu->last.rip, storing_2);
		KTAP_EQ(cpu->last.dr6 & 0x400f, 1);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- interrupts ---------------------------------------------------------------- */

static __guest uint64_t count_to(uint64_t *count, uint64_t n)
{
	asm volatile("sti" : : : "memory");
	while (*(volatile uint64_t *)count < n)
		(*(volatile uint64_t *)count)++;
	return guest_cpu()->count[0x60];
}

/* A debugger that wants no interrupts gets none of the tool's either. */
KTAP_CASE(interrupts_blocked_by_the_vmm, "A4")
{
	struct kvmi_x86_injection irq = {
		.type = KVMI_X86_INJECT_INTERRUPT, .vector = 0x60,
	};
	struct kvmi_x86_injection now = {
		.type = KVMI_X86_INJECT_NMI, .flags = KVMI_X86_INJECT_NOW,
	};
	struct vmm *vm = vmm_create(1, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *count = vmm_gpa(vm, gpa);
	struct kvmi_vm *kv = tool_attach(vm);
	struct guest_cpu *cpu = vm->vcpu[0].cpu;
	uint64_t was;
	int i;

	vmm_vcpu_set_entry(vm, 0, count_to, gpa, ~0UL, 0);
	set_debug(vm, 0, ENABLE | KVM_GUESTDBG_BLOCKIRQ);
	vmm_vcpu_start(vm, 0);
	while (!*count)
		usleep(1000);
	KTAP_LIB_OK(kvmi_vcpu_inject(kv, 0, &irq, NULL));
	KTAP_LIB_ERR(kvmi_vcpu_inject(kv, 0, &now, NULL), EAGAIN);
	/* It runs, and takes none; with signals, too, after each of which KVM looks anew. */
	for (i = 0; i < 5; i++) {
		was = *count;
		vmm_vcpu_signal(vm, 0);
		while (*count == was)
			usleep(1000);
	}
	KTAP_EQ(cpu->count[0x60], 0);
	KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
	set_debug(vm, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < TOOL_PATIENCE && !cpu->count[0x60]; i++)
		usleep(1000);
	KTAP_EQ(cpu->count[0x60], 1);
	KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
