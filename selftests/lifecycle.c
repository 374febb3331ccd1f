// SPDX-License-Identifier: GPL-2.0-only
/* A vCPU's life besides instructions: INIT and SIPI, system management mode, resets. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/tool.h"

#define PAGE			4096UL
#define LAPIC			0xfee00000UL
#define LAPIC_SPIV		(LAPIC + 0xf0)
#define LAPIC_ICR		(LAPIC + 0x300)
#define LAPIC_ICR2		(LAPIC + 0x310)
#define ICR_INIT		0x4500
#define ICR_SIPI		0x4600
#define NO_OUTPUTS
#define MSR_STAR		0xc0000081

static int take_one(struct kvmi_vm *kv, const struct kvmi_event **ev, int ms)
{
	int ret = kvmi_event_wait(kv, ev, ms);

	KTAP_ASSERT(ret >= 0, "%s", kvmi_error_message());
	return ret;
}

static void answer(struct kvmi_vm *kv, const struct kvmi_event *ev)
{
	int ret = kvmi_event_reply(kv, ev, KVMI_ACTION_CONTINUE);

	KTAP_ASSERT(ret >= 0 || ret == -ENOENT, "%s", kvmi_error_message());
}

/* ---- INIT and SIPI -------------------------------------------------------------------- */

/* Where the other one starts, in real mode: a page that nothing else uses. */
#define START_PAGE		0xd
#define START_GPA		((uint64_t)START_PAGE << 12)
#define START_MARK		(START_GPA + 0x800)

extern const char start_code[], start_code_end[];
#define START_CODE_LEN	((uintptr_t)start_code_end - (uintptr_t)start_code)
__asm__(".text\n"
	".code16\n"
	".globl start_code, start_code_end\n"
	"start_code:\n"
	"	mov %cr0, %eax\n"
	"	xor %ax, %ax\n"
	"	cpuid\n"
	"	incw %cs:0x800\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"start_code_end:\n"
	".code64\n");

static __guest uint64_t spin_for_ever(void)
{
	for (;;)
		guest_spin(1000);
	return 0;
}

/* One that spins, and then one that halts, or is about to. */
static __guest uint64_t start_others(uint64_t times)
{
	uint64_t i;

	GUEST_WRITE(uint32_t, LAPIC_SPIV, 0x1ff);
	for (i = 1; i <= times; i++) {
		GUEST_WRITE(uint32_t, LAPIC_ICR2, 1 << 24);
		GUEST_WRITE(uint32_t, LAPIC_ICR, ICR_INIT);
		guest_spin(100);
		GUEST_WRITE(uint32_t, LAPIC_ICR2, 1 << 24);
		GUEST_WRITE(uint32_t, LAPIC_ICR, ICR_SIPI | START_PAGE);
		while (GUEST_READ(uint16_t, START_MARK) != i)
			asm volatile("pause" : : : "memory");
	}
	return 1;
}

#define STARTS		3

static void started(unsigned int mode, bool stepped)
{
	struct vmm *vm = vmm_create(2, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach_ring(vm, 1 << 20);
	unsigned int count[8] = {}, change, last = 0;
	const struct kvmi_event *ev;

	memcpy(vmm_gpa(vm, START_GPA), start_code, START_CODE_LEN);
	tool_watch_all(kv, mode);
	if (stepped)
		tool_watch(kv, KVMI_EVENT_STEP, mode, KVMI_REGS_GENERAL);
	vmm_vcpu_set_entry(vm, 1, spin_for_ever, 0, 0, 0);
	vmm_vcpu_set_entry(vm, 0, start_others, STARTS, 0, 0);
	vmm_start_all(vm);
	/* It halts in the end; before that, the next INIT may come first. */
	while (count[KVMI_VCPU_STARTED] < STARTS || last != KVMI_VCPU_HALTS ||
	       vmm_vcpu_running(vm, 0)) {
		if (!take_one(kv, &ev, 20))
			continue;
		if (ev->kind == KVMI_EVENT_VCPU) {
			change = kvmi_event_vcpu(ev)->change;
			KTAP_EQ(ev->vcpu, 1);
			KTAP_ASSERT(change < 8);
			count[change]++;
			/* In this order, however often. */
			if (change == KVMI_VCPU_STARTED)
				KTAP_EQ(last, KVMI_VCPU_INIT);
			if (change == KVMI_VCPU_HALTS)
				KTAP_EQ(last, KVMI_VCPU_STARTED);
			last = change == KVMI_VCPU_WAKES ? last : change;
		}
		answer(kv, ev);
	}
	KTAP_EQ(count[KVMI_VCPU_INIT], STARTS);
	KTAP_EQ(count[KVMI_VCPU_STARTED], STARTS);
	KTAP_EQ(count[KVMI_VCPU_RESET], 0);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	KTAP_EQ(vmm_vcpu_stop(vm, 1), VMM_STOPPED);
	KTAP_EQ(*(uint16_t *)vmm_gpa(vm, START_MARK), STARTS);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(started_async, "E20")
{
	started(KVMI_MODE_ASYNC, false);
}

KTAP_CASE(started_sync, "E20")
{
	started(KVMI_MODE_SYNC, false);
}

KTAP_CASE(started_stepped, "E20 E6")
{
	started(KVMI_MODE_SYNC, true);
}

/* ---- system management mode ----------------------------------------------------------- */

/* KVM's after a reset: SMBASE + 8000. */
#define SMI_GPA			0x38000UL
#define SMI_COUNT		(SMI_GPA + 0x100)
#define SMI_TABLE		(SMI_GPA + 0x110)

extern const char smi_code[], smi_code_end[];
#define SMI_CODE_LEN	((uintptr_t)smi_code_end - (uintptr_t)smi_code)
__asm__(".text\n"
	".code16\n"
	".globl smi_code, smi_code_end\n"
	"smi_code:\n"
	"	addr32 incl %ds:0x38100\n"
	"	addr32 sgdtl %ds:0x38110\n"
	"	addr32 sidtl %ds:0x38120\n"
	"	mov %cr0, %eax\n"
	"	mov %eax, %cr0\n"
	"	mov %cr3, %eax\n"
	"	mov %eax, %cr3\n"
	"	clts\n"
	"	xor %eax, %eax\n"
	"	cpuid\n"
	"	rdtsc\n"
	"	wbinvd\n"
	"	pause\n"
	"	mov $0xc0000081, %ecx\n"
	"	rdmsr\n"
	"	wrmsr\n"
	"	mov $0xa1, %dx\n"
	"	in %dx, %al\n"
	"	out %al, %dx\n"
	"	rsm\n"
	"smi_code_end:\n"
	".code64\n");

/* All registers, and what is watched; until the flag is set. */
static __guest uint64_t be_interrupted(uint64_t *flag)
{
	uint64_t n = 0, star = 0x1234;

	guest_wrmsr(MSR_STAR, star);
	while (!GUEST_READ(uint64_t, flag)) {
		GUEST_EQ(guest_rdmsr(MSR_STAR), star);
		guest_wrmsr(MSR_STAR, ++star);
		GUEST_EQ(guest_read_cr3(), GUEST_PML4);
		guest_cpuid(0, 0);
		GUEST_EQ(GUEST_TRY("ud2", NO_OUTPUTS, : "memory"), 7);
		guest_spin(50);
		GUEST_WRITE(uint64_t, flag + 1, ++n);
	}
	return n;
}

static bool smm_of(struct vmm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = 1 << 16,
		.memory_size = GUEST_RAM,
		.userspace_addr = (uintptr_t)vmm_gpa(vm, 0),
	};

	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) <= 0)
		return false;
	/* SMM has an address space of its own. */
	KTAP_OK(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
	memcpy(vmm_gpa(vm, SMI_GPA), smi_code, SMI_CODE_LEN);
	return true;
}

#define SMIS		10
/* Behind the vCPU's changes. */
#define ACCESSES	8

static bool take_and_count(struct kvmi_vm *kv, int ms, unsigned int *count)
{
	const struct kvmi_event *ev;

	if (!take_one(kv, &ev, ms))
		return false;
	/* The handler's RIP is an offset in its segment. */
	if (ev->kind == KVMI_EVENT_ACCESS)
		count[ACCESSES]++;
	if (ev->kind != KVMI_EVENT_VCPU)
		KTAP_ASSERT(kvmi_event_gprs(ev)->r[KVMI_X86_RIP] > 0x10000,
			    "%s in SMM", kvmi_event_name(ev->kind));
	else
		count[kvmi_event_vcpu(ev)->change & 7]++;
	answer(kv, ev);
	return true;
}

/* Answer until the guest has gone so much further. */
static void further(struct vmm *vm, struct kvmi_vm *kv, volatile uint64_t *n,
		    uint64_t rounds, unsigned int *count)
{
	uint64_t end = *n + rounds;
	int tries;

	for (tries = 0; *n < end; tries++) {
		KTAP_ASSERT(vmm_vcpu_running(vm, 0), "%s", vmm_vcpu_why(vm, 0));
		KTAP_ASSERT(tries < 100000);
		take_and_count(kv, 20, count);
	}
}

static void smm(unsigned int mode, bool stepped, bool on_view)
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *flag = vmm_gpa(vm, gpa);
	unsigned int count[ACCESSES + 1] = {}, i;
	struct kvmi_vm *kv;
	uint32_t view;

	if (!smm_of(vm))
		ktap_skip("KVM has no SMM");
	kv = tool_attach_ring(vm, 1 << 20);
	tool_watch_all(kv, mode);
	if (stepped)
		tool_watch(kv, KVMI_EVENT_STEP, mode, KVMI_REGS_GENERAL);
	if (on_view) {
		/* What the handler writes, it writes to an address space of its own. */
		KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, SMI_GPA / PAGE, 1,
						 KVMI_ACCESS_R | KVMI_ACCESS_X));
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa / PAGE, 1,
						 KVMI_ACCESS_R | KVMI_ACCESS_X));
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		tool_watch(kv, KVMI_EVENT_ACCESS, mode, KVMI_REGS_GENERAL);
	}
	vmm_vcpu_set_entry(vm, 0, be_interrupted, gpa, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < SMIS; i++) {
		further(vm, kv, flag + 1, 3, count);
		KTAP_EQ(vmm_vcpu_stop(vm, 0), VMM_STOPPED);
		KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_SMI));
		vmm_vcpu_start(vm, 0);
	}
	further(vm, kv, flag + 1, 3, count);
	KTAP_EQ(*(uint32_t *)vmm_gpa(vm, SMI_COUNT), SMIS);
	flag[0] = 1;
	while (vmm_vcpu_running(vm, 0))
		take_and_count(kv, 20, count);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), flag[1]);
	/* The guest may have been far ahead. */
	while (take_and_count(kv, 0, count))
		;
	/* Where nobody waits for a slow tool, some may be dropped, and are counted. */
	KTAP_LE(count[KVMI_VCPU_SMM], SMIS);
	KTAP_LE(SMIS, count[KVMI_VCPU_SMM] + kvmi_event_dropped(kv));
	KTAP_LE(count[KVMI_VCPU_SMM_LEFT], SMIS);
	KTAP_LE(SMIS, count[KVMI_VCPU_SMM_LEFT] + kvmi_event_dropped(kv));
	if (on_view) {
		KTAP_LE(flag[1], count[ACCESSES] + kvmi_event_dropped(kv));
		tool_check_views(kv);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(smm_async, "E18 E20")
{
	smm(KVMI_MODE_ASYNC, false, false);
}

KTAP_CASE(smm_sync, "E18 E20")
{
	smm(KVMI_MODE_SYNC, false, false);
}

KTAP_CASE(smm_stepped, "E18 E20 E6")
{
	smm(KVMI_MODE_SYNC, true, false);
}

KTAP_CASE(smm_on_a_view, "V1 E17 E18 E20")
{
	smm(KVMI_MODE_SYNC, false, true);
}

/* ---- a VMM that resets --------------------------------------------------------------------- */

/* What the VMM has set once; the state of a vCPU before it has run. */
struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
};

#define STATES(X)							\
	X(REGS, regs) X(SREGS, sregs) X(DEBUGREGS, debugregs)		\
	X(VCPU_EVENTS, events) X(LAPIC, lapic) X(MP_STATE, mp)

static void save(struct vmm_vcpu *vcpu, struct state *s)
{
#define GET(name, member)	KTAP_OK(ioctl(vcpu->fd, KVM_GET_##name, &s->member));
	STATES(GET)
#undef GET
}

static void reset(struct vmm *vm, int i, struct state *s)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[i];
	struct kvm_regs regs;

	/* What is open is finished first. */
	vmm_vcpu_get_regs(vm, i, &regs);
#define SET(name, member)	KTAP_OK(ioctl(vcpu->fd, KVM_SET_##name, &s->member));
	STATES(SET)
#undef SET
}

/* An event without an answer. */
struct left {
	uint64_t id, rip;
};

static __guest uint64_t from_the_start(uint64_t *cells)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t i, id = cpu->id, n = 0, dr;

	asm volatile("mov %%dr0, %0" : "=r" (dr));
	GUEST_EQ(dr, 0);
	GUEST_EQ(guest_read_cr8(), 0);
	asm volatile("mov %0, %%dr0" : : "r" (id + 5));
	guest_write_cr8(3);
	for (i = 0; i < 20 || !GUEST_READ(uint64_t, cells); i++) {
		guest_cpuid(0, i);
		guest_wrmsr(MSR_STAR, i);
		GUEST_EQ(guest_rdmsr(MSR_STAR), i);
		guest_write_cr3(guest_read_cr3());
		GUEST_EQ(GUEST_TRY("ud2", NO_OUTPUTS, : "memory"), 7);
		guest_int3();
		guest_out8(0xa1, 0xff);
		asm volatile("mov %%dr0, %0" : "=r" (dr));
		GUEST_EQ(dr, id + 5);
		GUEST_WRITE(uint64_t, cells + 1 + id, ++n);
	}
	GUEST_EQ(guest_read_cr8(), 3);
	return 1;
}

/*
 * An exit before the first instruction, left open, is open still: the reset has led
 * to where the vCPU was.
 */
static void answer_left(struct kvmi_vm *kv, int vcpu, struct left *left,
			const struct state *state)
{
	struct kvmi_reply reply;
	int ret;

	if (!left->id || left->rip != state->regs.rip)
		return;
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	ret = kvmi_event_answer_id(kv, vcpu, left->id, &reply);
	KTAP_ASSERT(ret >= 0 || ret == -ENOENT, "%s", kvmi_error_message());
	left->id = 0;
}

static void resets(int nr_vcpus, unsigned int mode, bool stepped)
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *cells = vmm_gpa(vm, gpa);
	const struct kvmi_event *ev;
	unsigned int cancelled = 0;
	struct left left[8] = {};
	struct state state[8];
	struct kvmi_vm *kv;
	uint64_t seq[8] = {}, gaps = 0;
	int i, n, events;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, from_the_start, gpa, 0, 0);
		save(&vm->vcpu[i], &state[i]);
	}
	kv = tool_attach_ring(vm, 1 << 20);
	tool_watch_all(kv, mode);
	if (stepped)
		tool_watch(kv, KVMI_EVENT_STEP, mode, KVMI_REGS_GENERAL);
	for (n = 0; n < 30; n++) {
		for (i = 0; i < nr_vcpus; i++)
			cells[1 + i] = 0;
		vmm_start_all(vm);
		/* The last time to the end. */
		cells[0] = n == 29;
		for (events = 0;;) {
			bool running = false;

			for (i = 0; i < nr_vcpus; i++)
				running |= vmm_vcpu_running(vm, i);
			if (!running || (n < 29 && events >= 10 + n * 7))
				break;
			if (!take_one(kv, &ev, 20)) {
				for (i = 0; i < nr_vcpus; i++)
					answer_left(kv, i, &left[i], &state[i]);
				continue;
			}
			KTAP_ASSERT(ev->seq > seq[ev->vcpu]);
			gaps += ev->seq - seq[ev->vcpu] - 1;
			seq[ev->vcpu] = ev->seq;
			events++;
			cancelled += ev->kind == KVMI_EVENT_CANCELLED;
			left[ev->vcpu].id = 0;
			/* Some stay open. */
			if (n == 29 || events < 10 + n * 7) {
				answer(kv, ev);
			} else if (kvmi_event_is_sync(ev)) {
				left[ev->vcpu].id = ev->id;
				left[ev->vcpu].rip =
					kvmi_event_gprs(ev)->r[KVMI_X86_RIP];
			}
		}
		if (n == 29)
			break;
		/* Whatever it does at the moment. */
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
		for (i = 0; i < nr_vcpus; i++)
			reset(vm, i, &state[i]);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	if (mode == KVMI_MODE_SYNC)
		KTAP_ASSERT(cancelled >= 20, "%u cancelled", cancelled);
	/* Where the tool is slow, and nobody waits for it. */
	KTAP_LE(gaps, mode == KVMI_MODE_SYNC ? 0 : kvmi_event_dropped(kv));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(resets_async, "E20 D8")
{
	resets(nr_vcpus, KVMI_MODE_ASYNC, false);
}

KTAP_CASE_SMP(resets_sync, "E20 D8")
{
	resets(nr_vcpus, KVMI_MODE_SYNC, false);
}

KTAP_CASE_SMP(resets_stepped, "E20 D8 E6")
{
	resets(nr_vcpus, KVMI_MODE_SYNC, true);
}

KTAP_MAIN(ktap_need_kvmi)
