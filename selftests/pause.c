// SPDX-License-Identifier: GPL-2.0-only
/* Pausing: nothing executes, whatever the vCPU was doing. */
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
		for (i = 0; i < nr_vcpus; i++)
			while (mem[8 + i * 8] == was[i])
				usleep(1000);
	}
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
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
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
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

KTAP_MAIN(ktap_need_kvmi)
