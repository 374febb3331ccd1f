// SPDX-License-Identifier: GPL-2.0-only
/*
 * The latency of a synchronous event between a vCPU on one CPU and a tool that
 * watches the ring on another: for a host with two CPUs. In ticks of the TSC.
 *
 * Loads kvmi.ko from $KVMI_KO (or /rig/kvmi.ko).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	KTAP_OK(sched_setaffinity(tid, sizeof(set), &set));
}

static void figure(const char *name, uint64_t value, const char *reference,
		   uint64_t ref)
{
	printf("bench: %s %llu ticks", name, (unsigned long long)value);
	if (reference)
		printf(" (reference %s %llu, ratio %.2f)", reference,
		       (unsigned long long)ref, (double)value / ref);
	printf("\n");
	fflush(stdout);
}

int main(void)
{
	struct vmm *vm = vmm_create(1, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const char *path = getenv("KVMI_KO");
	const struct kvmi_event *ev;
	uint64_t exit_cost, out_cost;
	struct kvmi_vm *kv;
	int fd, i;

	/* Threads inherit: the vCPU's first, then the tool moves away. */
	pin(0, 0);
	vmm_vcpu_set_entry(vm, 0, time_cpuid, gpa, ROUNDS, 0);
	vmm_vcpu_run_done(vm, 0);
	exit_cost = median(vmm_gpa(vm, gpa));
	figure("exit_cpuid_smp", exit_cost, NULL, 0);
	vmm_vcpu_set_entry(vm, 0, time_out, gpa, ROUNDS, 0);
	for (i = 0; i < ROUNDS; i++)
		KTAP_EQ(vmm_vcpu_run(vm, 0), KVM_EXIT_IO);
	vmm_vcpu_run_done(vm, 0);
	out_cost = median(vmm_gpa(vm, gpa));
	figure("exit_io_userspace_smp", out_cost, "exit_cpuid_smp", exit_cost);
	pin(0, 1);

	fd = open(path ? path : "/rig/kvmi.ko", O_RDONLY);
	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) {
		perror("bench: cannot load kvmi.ko");
		return 1;
	}
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
	figure("event_cpuid_smp_spin", median(vmm_gpa(vm, gpa)),
	       "exit_io_userspace_smp", out_cost);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
	return 0;
}
