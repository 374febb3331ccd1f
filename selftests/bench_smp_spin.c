// SPDX-License-Identifier: GPL-2.0-only
/*
 * The latency of a synchronous event between a vCPU on one CPU and a tool that
 * watches the ring on another: for a host with two CPUs. In ticks of the TSC.
 *
 * Loads kvmi.ko from $KVMI_KO (or /rig/kvmi.ko).
 */
#include <stdlib.h>

#include "lib/bench.h"
#include "lib/tool.h"

#define SAMPLES		201
#define WARM_UP		32
#define ROUNDS		(SAMPLES + WARM_UP)

static __guest uint64_t time_cpuid(uint64_t *samples, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		guest_cpuid(0, 0);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

static __guest uint64_t time_out(uint64_t *samples, uint64_t n)
{
	uint64_t i, t;

	for (i = 0; i < n; i++) {
		t = guest_rdtsc();
		guest_out8(0x80, 0);
		samples[i] = guest_rdtsc() - t;
	}
	return n;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *samples)
{
	qsort(samples + WARM_UP, SAMPLES, sizeof(*samples), compare);
	return samples[WARM_UP + SAMPLES / 2];
}

int main(void)
{
	struct vmm *vm = vmm_create(1, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	uint64_t exit_cost, out_cost;
	struct kvmi_vm *kv;
	int i;

	/* Threads inherit: the vCPU's first, then the tool moves away. */
	bench_pin(0);
	vmm_vcpu_set_entry(vm, 0, time_cpuid, gpa, ROUNDS, 0);
	vmm_vcpu_run_done(vm, 0);
	exit_cost = median(vmm_gpa(vm, gpa));
	bench_figure("exit_cpuid_smp", exit_cost, "ticks", NULL, 0);
	vmm_vcpu_set_entry(vm, 0, time_out, gpa, ROUNDS, 0);
	for (i = 0; i < ROUNDS; i++)
		KTAP_EQ(vmm_vcpu_run(vm, 0), KVM_EXIT_IO);
	vmm_vcpu_run_done(vm, 0);
	out_cost = median(vmm_gpa(vm, gpa));
	bench_figure("exit_io_userspace_smp", out_cost, "ticks", "exit_cpuid_smp", exit_cost);
	bench_pin(1);

	bench_load_module();
	kv = tool_attach(vm);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, KVMI_REGS_GENERAL);
	KTAP_LIB_OK(kvmi_event_set_polling(kv, true));
	vmm_vcpu_set_entry(vm, 0, time_cpuid, gpa, ROUNDS, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < ROUNDS; i++) {
		while (kvmi_event_wait(kv, &ev, 0) != 1)
			asm volatile("pause");
		KTAP_LIB_OK(kvmi_event_reply(kv, ev, KVMI_ACTION_CONTINUE));
	}
	vmm_vcpu_wait_done(vm, 0, 60000);
	bench_figure("event_cpuid_smp_spin", median(vmm_gpa(vm, gpa)), "ticks",
		     "exit_io_userspace_smp", out_cost);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
	return 0;
}
