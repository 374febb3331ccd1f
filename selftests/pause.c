// SPDX-License-Identifier: GPL-2.0-only
/* Pausing: nothing executes, whatever the vCPU was doing. */
#include <pthread.h>
#include <unistd.h>

#include "lib/tool.h"

static __guest uint64_t count_until(uint64_t *flag, uint64_t *count)
{
	while (!*(volatile uint64_t *)flag)
		(*(volatile uint64_t *)count)++;
	return 1;
}

static uint64_t *counters(struct vmm *vm, uint64_t gpa)
{
	return vmm_gpa(vm, gpa);
}

/* Each counter has gone on from where it was. */
static void all_count_on(int nr_vcpus, const volatile uint64_t *mem,
			 const uint64_t *was)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		while (mem[8 + i * 8] == was[i])
			usleep(1000);
}

static void end_counting(struct vmm *vm, struct kvmi_vm *kv,
			 volatile uint64_t *mem)
{
	int i;

	mem[0] = 1;
	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(running_vcpus_stop, "S2")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	struct kvmi_vcpu_info info;
	uint64_t was[8];
	int i, n;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64,
				   0);
	vmm_start_all(vm);
	for (n = 0; n < 5; n++) {
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		for (i = 0; i < nr_vcpus; i++)
			was[i] = mem[8 + i * 8];
		tool_msleep(50);
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_EQ(mem[8 + i * 8], was[i]);
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
			KTAP_EQ(info.out_state, KVMI_VCPU_PAUSED);
			KTAP_EQ(info.out_pause_count, 1);
		}
		KTAP_LIB_OK(kvmi_vm_resume(kv));
		all_count_on(nr_vcpus, mem, was);
	}
	end_counting(vm, kv, mem);
}

/* One vCPU stops, the others run; counts nest. */
KTAP_CASE(one_vcpu, "S2")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	uint64_t was[2];
	int i;

	for (i = 0; i < 2; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64,
				   0);
	vmm_start_all(vm);
	KTAP_LIB_OK(kvmi_vcpu_pause(kv, 1));
	KTAP_LIB_OK(kvmi_vcpu_pause(kv, 1));
	was[0] = mem[8];
	was[1] = mem[16];
	while (mem[8] == was[0])
		usleep(1000);
	KTAP_LIB_OK(kvmi_vcpu_resume(kv, 1));
	tool_msleep(50);
	KTAP_EQ(mem[16], was[1]);
	KTAP_LIB_OK(kvmi_vcpu_resume(kv, 1));
	while (mem[16] == was[1])
		usleep(1000);
	KTAP_LIB_ERR(kvmi_vcpu_resume(kv, 1), EINVAL);
	KTAP_LIB_ERR(kvmi_vcpu_pause(kv, 2), ENOENT);
	mem[0] = 1;
	for (i = 0; i < 2; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Paused before it runs; and again when it is in the VMM. */
KTAP_CASE_SMP(outside_of_kvm_run, "S2")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	int i;

	KTAP_LIB_OK(kvmi_vm_pause(kv));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64,
				   0);
	vmm_start_all(vm);
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(mem[8 + i * 8], 0);
	/* The VMM can get its threads back at any time. */
	vmm_stop_all(vm);
	vmm_start_all(vm);
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(mem[8 + i * 8], 0);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	for (i = 0; i < nr_vcpus; i++)
		while (!mem[8 + i * 8])
			usleep(1000);
	end_counting(vm, kv, mem);
}

/* The end of the session ends the pause. */
KTAP_CASE_SMP(released_with_the_session, "S2 D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64,
				   0);
	vmm_start_all(vm);
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	mem[0] = 1;
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_ASSERT(vmm_vcpu_running(vm, i));
	kvmi_vm_close(kv);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	vmm_destroy(vm);
}

static __guest uint64_t count_masked(uint64_t *flag, uint64_t *count)
{
	asm volatile("cli" : : : "memory");
	return count_until(flag, count);
}

/* With interrupts off; and by a VMM that had stopped some of them already. */
KTAP_CASE_SMP(interrupts_off, "S2")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	uint64_t was[8];
	int i, n;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_masked, gpa, gpa + 64 + i * 64,
				   0);
	vmm_start_all(vm);
	for (n = 0; n < 3; n++) {
		for (i = 0; i < nr_vcpus; i++)
			while (!mem[8 + i * 8])
				usleep(1000);
		if (n == 1)
			vmm_vcpu_stop(vm, 0);
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		if (n == 1)
			vmm_vcpu_start(vm, 0);
		for (i = 0; i < nr_vcpus; i++)
			was[i] = mem[8 + i * 8];
		tool_msleep(20);
		KTAP_LIB_OK(kvmi_vm_resume(kv));
		tool_msleep(20);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(mem[8 + i * 8], was[i]);
		KTAP_LIB_OK(kvmi_vm_resume(kv));
		KTAP_LIB_ERR(kvmi_vm_resume(kv), EINVAL);
		all_count_on(nr_vcpus, mem, was);
	}
	end_counting(vm, kv, mem);
}

static __guest uint64_t halt_then(uint64_t *woken)
{
	GUEST_WRITE(uint32_t, 0xfee000f0, 0x1ff);
	guest_hlt();
	GUEST_WRITE(uint64_t, woken, 1);
	return 1;
}

/* Halted: a wake-up has no effect before the resume. */
KTAP_CASE_SMP(halted_vcpus, "S2")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	struct kvmi_x86_injection irq = {
		.type = KVMI_X86_INJECT_INTERRUPT, .vector = 0x60,
	};
	struct kvmi_vcpu_info info;
	int i, ms;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, halt_then, gpa + i * 64, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		for (ms = 0; ms < TOOL_PATIENCE; ms++) {
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
			if (info.out_state == KVMI_VCPU_HALTED)
				break;
			usleep(1000);
		}
	}
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_vcpu_inject(kv, i, &irq, NULL));
	tool_msleep(50);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(mem[i * 8], 0);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* ---- an event that stops the others --------------------------------------------- */

static void watch_stop(struct kvmi_vm *kv, uint32_t kind, uint32_t mode)
{
	struct kvmi_control_event control = {
		.flags = KVMI_CONTROL_STOP,
		.vcpu = KVMI_VCPU_ALL,
		.kind = kind,
		.mode = mode,
	};

	KTAP_LIB_OK(kvmi_event_control(kv, &control));
}

static __guest uint64_t cpuid_and_count(uint64_t n, uint64_t *count)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		guest_cpuid(0, i);
		(*(volatile uint64_t *)count)++;
		guest_spin(100);
		(*(volatile uint64_t *)count)++;
	}
	return n;
}

/* Nothing of the others moves while one of them is shown. */
static void check_stopped(struct kvmi_vm *kv, const struct kvmi_event *ev,
			  volatile uint64_t *mem, int nr_vcpus)
{
	uint64_t was[8];
	struct kvmi_vcpu_info info;
	int i;

	KTAP_ASSERT(ev->flags & KVMI_EVENT_F_STOPPED);
	for (i = 0; i < nr_vcpus; i++)
		was[i] = mem[8 + i * 8];
	tool_msleep(2);
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(mem[8 + i * 8], was[i]);
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
		KTAP_ASSERT(info.out_state == KVMI_VCPU_PAUSED ||
			    info.out_state == KVMI_VCPU_EVENT ||
			    info.out_state == KVMI_VCPU_OUTSIDE);
	}
}

static volatile bool signals_over;

static void *signaller(void *arg)
{
	struct vmm *vm = arg;
	int i;

	while (!signals_over) {
		for (i = 0; i < vm->nr_vcpus; i++)
			vmm_vcpu_signal(vm, i);
		usleep(3000);
	}
	return NULL;
}

static void all_stop_case(int nr_vcpus, bool signals)
{
	enum { N = 20 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	const struct kvmi_event *ev;
	uint64_t seq[8] = {};
	pthread_t thread;
	int i;

	watch_stop(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuid_and_count, N,
				   gpa + 64 + i * 64, 0);
	vmm_start_all(vm);
	signals_over = false;
	if (signals)
		pthread_create(&thread, NULL, signaller, vm);
	/* All of them at once; each is told of in its turn, and once. */
	for (i = 0; i < N * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(ev->seq, ++seq[ev->vcpu]);
		check_stopped(kv, ev, mem, nr_vcpus);
		tool_wait_none(kv, 0);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	signals_over = true;
	if (signals)
		pthread_join(thread, NULL);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), N);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(all_stop, "D16")
{
	all_stop_case(nr_vcpus, false);
}

/* The VMM gets its threads back at any time. */
KTAP_CASE_SMP(all_stop_with_signals, "D16")
{
	all_stop_case(nr_vcpus, true);
}

/* The others spin, and raise nothing themselves; the tool dies in between. */
KTAP_CASE_SMP(all_stop_and_spinners, "D16 D8")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	struct kvmi_control_event bad = {
		.flags = KVMI_CONTROL_STOP,
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_CPUID,
		.mode = KVMI_MODE_ASYNC,
	};
	const struct kvmi_event *ev;
	int i;

	KTAP_LIB_ERR(kvmi_event_control(kv, &bad), EINVAL);
	watch_stop(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC);
	vmm_vcpu_set_entry(vm, 0, cpuid_and_count, 3, gpa + 64, 0);
	for (i = 1; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, count_masked, gpa, gpa + 64 + i * 64,
				   0);
		vmm_vcpu_start(vm, i);
		while (!mem[8 + i * 8])
			usleep(1000);
	}
	vmm_vcpu_start(vm, 0);
	ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
	check_stopped(kv, ev, mem, nr_vcpus);
	/* Paused as well: the answer alone lets nothing run. */
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	check_stopped(kv, ev, mem, nr_vcpus);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
	check_stopped(kv, ev, mem, nr_vcpus);
	kvmi_vm_close(kv);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 3);
	mem[0] = 1;
	for (i = 1; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	vmm_destroy(vm);
}

/* ---- the guest's clock ----------------------------------------------------------- */

#define MSR_KVMCLOCK		0x4b564d01
#define PVCLOCK_FLAGS		29
#define PVCLOCK_STOPPED		2

static __guest uint64_t clock_and_count(uint64_t *flag, uint64_t *count,
					uint64_t clock)
{
	guest_wrmsr(MSR_KVMCLOCK, clock | 1);
	return count_until(flag, count);
}

/* Of a long stop the guest is told where it has asked to be, of a short one not. */
KTAP_CASE_SMP(kvmclock_is_told, "D17")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1), clock = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = counters(vm, gpa);
	volatile uint8_t *flags = vmm_gpa(vm, clock);
	uint64_t was[8];
	int i, n;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, clock_and_count, gpa,
				   gpa + 64 + i * 64, clock + i * 64);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		while (!mem[8 + i * 8])
			usleep(1000);
	for (n = 0; n < 2; n++) {
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		for (i = 0; i < nr_vcpus; i++)
			was[i] = mem[8 + i * 8];
		tool_msleep(n ? 1500 : 100);
		/* The VMM has its threads back for a moment. */
		if (n)
			for (i = 0; i < nr_vcpus; i++)
				vmm_vcpu_signal(vm, i);
		KTAP_LIB_OK(kvmi_vm_resume(kv));
		all_count_on(nr_vcpus, mem, was);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(flags[i * 64 + PVCLOCK_FLAGS] & PVCLOCK_STOPPED,
				n ? PVCLOCK_STOPPED : 0);
	}
	end_counting(vm, kv, mem);
}

KTAP_MAIN(ktap_need_kvmi)
