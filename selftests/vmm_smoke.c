// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proves the tests' own VMM, without kvmi: what it cannot do, no other test
 * can show.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/ktap.h"
#include "lib/vmm.h"

static uint64_t guest_static = 1;

static __guest uint64_t add_and_call(uint64_t a, uint64_t b, uint64_t c)
{
	guest_sync3(a, b, c);
	guest_static++;
	return a + b + c;
}

KTAP_CASE_SMP(ucall, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, add_and_call, i, 20, 300);
		KTAP_EQ(vmm_vcpu_run_ucall(vm, i), GUEST_SYNC);
		KTAP_EQ(vm->vcpu[i].cpu->uc.args[0], i);
		KTAP_EQ(vm->vcpu[i].cpu->uc.args[1], 20);
		KTAP_EQ(vm->vcpu[i].cpu->uc.args[2], 300);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), i + 320);
	}
	KTAP_EQ(guest_static, 1);
	KTAP_EQ(*vmm_guest_ptr(vm, guest_static), 1 + nr_vcpus);
	vmm_destroy(vm);
}

static __guest uint64_t exceptions(void)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t val;

	guest_int3();
	guest_int3();
	GUEST_EQ(cpu->count[3], 2);

	/* An unknown MSR, a page that is not there, a bad opcode. */
	GUEST_EQ(guest_rdmsr_safe(0x12345, &val), 13 + 1);
	GUEST_EQ(GUEST_TRY("movq 0x10, %%rax", "=a" (val), "m" (val)), 14 + 1);
	GUEST_EQ(cpu->last.cr2, 0x10);
	GUEST_EQ(GUEST_TRY("ud2", "=a" (val), "m" (val)), 6 + 1);
	GUEST_EQ(guest_rdmsr_safe(0xc0000080, &val), 0);

	/* One step: the instruction after popf, then #DB. */
	asm volatile("pushf\n\t"
		     "orl $0x100, (%%rsp)\n\t"
		     "popf\n\t"
		     "nop\n\t"
		     "pushf\n\t"
		     "andl $~0x100, (%%rsp)\n\t"
		     "popf"
		     : : : "memory", "cc");
	GUEST_ASSERT(cpu->count[1] >= 1);
	return 0;
}

KTAP_CASE_SMP(exceptions_are_recorded, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, exceptions, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, -1);
	vmm_destroy(vm);
}

static __guest uint64_t in_user(uint64_t arg)
{
	uint64_t cs;

	asm volatile("mov %%cs, %0" : "=r" (cs));
	guest_int3();
	/* Privileged here. */
	GUEST_EQ(GUEST_TRY("mov %%cr3, %%rax", "=a" (cs), "m" (arg)), 13 + 1);
	guest_sync(arg);
	asm volatile("mov %%cs, %0" : "=r" (cs));
	return cs + (arg << 16);
}

static __guest uint64_t through_user(void)
{
	uint64_t ret = guest_call_user(in_user, 7);

	GUEST_EQ(ret, GUEST_USER_CS | 7 << 16);
	GUEST_EQ(guest_call_user(in_user, 8), GUEST_USER_CS | 8 << 16);
	GUEST_EQ(guest_cpu()->count[3], 2);
	return guest_read_cr3();
}

KTAP_CASE_SMP(ring3, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvm_sregs sregs;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, through_user, 0, 0, 0);
		KTAP_EQ(vmm_vcpu_run_ucall(vm, i), GUEST_SYNC);
		vmm_vcpu_get_sregs(vm, i, &sregs);
		KTAP_EQ(sregs.cs.dpl, 3);
		KTAP_EQ(vmm_vcpu_run_ucall(vm, i), GUEST_SYNC);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), GUEST_PML4);
	}
	vmm_destroy(vm);
}

static __guest uint64_t touch(uint64_t gpa, uint64_t step, uint64_t n)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++) {
		sum += GUEST_READ(uint64_t, gpa + i * step);
		GUEST_WRITE(uint64_t, gpa + i * step, i + 1);
	}
	return sum;
}

#define SLOT_GPA	0x40000000UL
#define SLOT_SIZE	0x400000UL

KTAP_CASE_SMP(memory_slots, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	int last = nr_vcpus - 1;
	uint64_t *mem;

	mem = vmm_slot_add(vm, 1, SLOT_GPA, SLOT_SIZE, 0);
	mem[0] = 5;
	vmm_vcpu_set_entry(vm, last, touch, SLOT_GPA, 4096, 8);
	KTAP_EQ(vmm_vcpu_run_done(vm, last), 5);
	KTAP_EQ(mem[4096 / 8 * 7], 8);

	vmm_slot_move(vm, 1, SLOT_GPA + SLOT_SIZE);
	vmm_vcpu_set_entry(vm, last, touch, SLOT_GPA, 4096, 1);
	KTAP_EQ(vmm_vcpu_run(vm, last), KVM_EXIT_MMIO);
	KTAP_EQ(vm->vcpu[last].run->mmio.phys_addr, SLOT_GPA);
	vmm_vcpu_set_entry(vm, last, touch, SLOT_GPA + SLOT_SIZE, 4096, 8);
	KTAP_EQ(vmm_vcpu_run_done(vm, last), 36);

	vmm_slot_set_flags(vm, 1, KVM_MEM_LOG_DIRTY_PAGES);
	vmm_slot_delete(vm, 1);
	vmm_vcpu_set_entry(vm, last, touch, SLOT_GPA + SLOT_SIZE, 4096, 1);
	KTAP_EQ(vmm_vcpu_run(vm, last), KVM_EXIT_MMIO);
	vmm_destroy(vm);
}

KTAP_CASE(dirty_log, "")
{
	struct vmm *vm = vmm_create(1, 0);
	uint64_t *log;

	vmm_slot_add(vm, 1, SLOT_GPA, SLOT_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
	vmm_vcpu_set_entry(vm, 0, touch, SLOT_GPA, 2 * 4096, 3);
	vmm_vcpu_run_done(vm, 0);
	log = vmm_slot_dirty_log(vm, 1);
	KTAP_EQ(log[0], 0x15);
	KTAP_EQ(log[1], 0);
	free(log);
	log = vmm_slot_dirty_log(vm, 1);
	KTAP_EQ(log[0], 0);
	free(log);
	vmm_vcpu_set_entry(vm, 0, touch, SLOT_GPA + 4096, 4096, 1);
	vmm_vcpu_run_done(vm, 0);
	log = vmm_slot_dirty_log(vm, 1);
	KTAP_EQ(log[0], 2);
	free(log);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(irqchip_and_halt, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, guest_hlt, 0, 0, 0);
		vmm_vcpu_start(vm, i);
	}
	/* Halted in the kernel, and a kick takes it out. */
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(vmm_vcpu_wait(vm, i, 50), -1);
		KTAP_EQ(vmm_vcpu_stop(vm, i), VMM_STOPPED);
	}
	vmm_destroy(vm);

	vm = vmm_create(1, 0);
	vmm_vcpu_set_entry(vm, 0, guest_hlt, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run(vm, 0), KVM_EXIT_HLT);
	vmm_destroy(vm);
}

KTAP_CASE_SMP(worker_under_signals, "")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	uint64_t eintr = 0;
	int i, j;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (i = 0; i < 50; i++) {
		for (j = 0; j < nr_vcpus; j++)
			vmm_vcpu_signal(vm, j);
		usleep(500);
	}
	vmm_worker_check(vm, 600);
	vmm_worker_stop(vm);
	for (i = 0; i < nr_vcpus; i++)
		eintr += vm->vcpu[i].nr_eintr;
	KTAP_ASSERT(eintr > 0);
	for (i = 0; i < 10; i++) {
		vmm_start_all(vm);
		usleep(500);
		vmm_worker_stop(vm);
	}
	vmm_start_all(vm);
	vmm_worker_check(vm, 100);
	vmm_destroy(vm);
}

/* The worker must notice what it is there to notice. */
KTAP_CASE(worker_notices, "")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvm_regs regs;
	int why = -1;
	int i;

	vmm_worker_start(vm, 0);
	vmm_worker_check(vm, 10);
	/* Outside the checked stretch it reloads them: hit that some time. */
	for (i = 0; i < 200 && why < 0; i++) {
		why = vmm_vcpu_stop(vm, 0);
		/* It was late, and has. */
		if (why != VMM_STOPPED)
			break;
		vmm_vcpu_get_regs(vm, 0, &regs);
		regs.r15 ^= 1;
		vmm_vcpu_set_regs(vm, 0, &regs);
		vmm_vcpu_start(vm, 0);
		why = vmm_vcpu_wait(vm, 0, 20);
	}
	KTAP_EQ(why, VMM_UCALL);
	KTAP_EQ(vm->vcpu[0].cpu->uc.cmd, GUEST_FAIL);
	vmm_destroy(vm);

	vm = vmm_create(1, 0);
	vmm_worker_start(vm, 0);
	vmm_worker_check(vm, 10);
	vmm_worker_stop(vm);
	((uint64_t *)vmm_gpa(vm, GUEST_HEAP))[300] ^= 1;
	KTAP_EQ(vmm_vcpu_run(vm, 0), VMM_UCALL);
	KTAP_EQ(vm->vcpu[0].cpu->uc.cmd, GUEST_FAIL);
	vmm_destroy(vm);
}

KTAP_CASE(saved_state, "")
{
	struct vmm *vm = vmm_create(1, 0);
	char *a, *b;

	vmm_vcpu_set_entry(vm, 0, add_and_call, 1, 2, 3);
	vmm_vcpu_run_ucall(vm, 0);
	a = vmm_vcpu_save(vm, 0);
	b = vmm_vcpu_save(vm, 0);
	KTAP_ASSERT(!strcmp(a, b), "%s\n%s", a, b);
	free(b);
	vmm_vcpu_set_msr(vm, 0, 0x174, 0x33);
	KTAP_EQ(vmm_vcpu_get_msr(vm, 0, 0x174), 0x33);
	b = vmm_vcpu_save(vm, 0);
	KTAP_ASSERT(strcmp(a, b));
	free(a);
	free(b);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 6);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvm)
