// SPDX-License-Identifier: GPL-2.0-only
/*
 * A first touch of a page, by one vCPU and by four at the same time: on KVM's own
 * tables, and on a view. For a host with four CPUs. In ticks of the TSC, the mean of
 * all touches: who queues for a lock shows.
 *
 * Loads kvmi.ko from $KVMI_KO (or /rig/kvmi.ko).
 */
#include <sys/mman.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/tool.h"

#define NR_VCPUS	4
#define SAMPLES		384
#define PAGE		4096UL
/* Of each vCPU: tables of its own, as the guest's memory has many. */
#define REGION		(512 * PAGE)
#define PAGES_AT	0x20000000UL

static struct vmm *vm;
static uint64_t flag, samples;

static __guest uint64_t time_touch(uint64_t from, uint64_t out, uint64_t go)
{
	volatile uint64_t *start = (uint64_t *)go;
	uint64_t *sample = (uint64_t *)out;
	uint64_t i, t;

	while (!*start)
		asm volatile("pause");
	for (i = 0; i < SAMPLES; i++) {
		t = guest_rdtsc();
		*(volatile uint8_t *)(from + i * PAGE);
		sample[i] = guest_rdtsc() - t;
	}
	return SAMPLES;
}

/* Pages that the host has, and KVM does not map yet. */
static uint64_t cost(char *mem, int nr)
{
	uint64_t sum = 0;
	int i, n;

	KTAP_OK(madvise(mem, NR_VCPUS * REGION, MADV_NOHUGEPAGE));
	KTAP_OK(madvise(mem, NR_VCPUS * REGION, MADV_DONTNEED));
	memset(mem, 1, NR_VCPUS * REGION);
	*(volatile uint64_t *)vmm_gpa(vm, flag) = 0;
	for (i = 0; i < nr; i++) {
		vmm_vcpu_set_entry(vm, i, time_touch, PAGES_AT + i * REGION,
				   samples + i * PAGE, flag);
		/* Threads inherit it. */
		bench_pin(i);
		vmm_vcpu_start(vm, i);
	}
	bench_pin(0);
	usleep(20000);
	*(volatile uint64_t *)vmm_gpa(vm, flag) = 1;
	for (i = 0; i < nr; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, 60000), SAMPLES);
	for (i = 0; i < nr; i++)
		for (n = 0; n < SAMPLES; n++)
			sum += ((uint64_t *)vmm_gpa(vm, samples + i * PAGE))[n];
	return sum / nr / SAMPLES;
}

int main(void)
{
	uint64_t one, four;
	struct kvmi_vm *kv;
	uint32_t view;
	char *mem;

	vm = vmm_create(NR_VCPUS, 0);
	mem = vmm_slot_add(vm, 1, PAGES_AT, NR_VCPUS * REGION, 0);
	flag = vmm_alloc_pages(vm, 1);
	samples = vmm_alloc_pages(vm, NR_VCPUS);
	/* Once for the tables, which are KVM's to keep. */
	cost(mem, NR_VCPUS);
	one = cost(mem, 1);
	four = cost(mem, NR_VCPUS);
	bench_figure("fault_smp1", one, "ticks", NULL, 0);
	bench_figure("fault_smp4", four, "ticks", "fault_smp1", one);

	bench_load_module();
	kv = tool_attach(vm);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	cost(mem, NR_VCPUS);
	bench_figure("view_fill_smp1", cost(mem, 1), "ticks", "fault_smp1", one);
	bench_figure("view_fill_smp4", cost(mem, NR_VCPUS), "ticks", "fault_smp4", four);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
	return 0;
}
