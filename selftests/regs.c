// SPDX-License-Identifier: GPL-2.0-only
/* Registers of a vCPU in every state that it can be in. */
#include <unistd.h>

#include "lib/tool.h"

static __guest uint64_t marked(void)
{
	uint64_t ret;

	asm volatile("mov $0x1111, %%rbx\n\t"
		     "mov $0x2222, %%r12\n\t"
		     "mov $0x3333, %%r15\n\t"
		     "xor %%ecx, %%ecx\n\t"
		     "xor %%eax, %%eax\n\t"
		     "cpuid\n\t"
		     "mov %%r15, %0"
		     : "=r" (ret)
		     : : "rax", "rbx", "rcx", "rdx", "r12", "r15");
	return ret;
}

/* Within an event: read, written, and the guest finds what was written. */
KTAP_CASE_SMP(in_an_event, "S6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_x86_control control;
	struct kvmi_x86_segments segs;
	struct kvmi_x86_gprs regs;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC,
		   KVMI_REGS_GENERAL);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, marked, 0, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, ev->vcpu, &regs));
		KTAP_ASSERT(!memcmp(&regs, kvmi_event_gprs(ev), sizeof(regs)));
		KTAP_EQ(regs.r[KVMI_X86_R12], 0x2222);
		KTAP_EQ(regs.r[KVMI_X86_R15], 0x3333);
		KTAP_LIB_OK(kvmi_vcpu_get_control(kv, ev->vcpu, &control));
		KTAP_EQ(control.cr3, GUEST_PML4);
		KTAP_EQ(control.cr0 & 0x80000001, 0x80000001);
		KTAP_EQ(control.efer & 0x500, 0x500);
		KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, ev->vcpu, &segs));
		KTAP_EQ(segs.cs.selector, GUEST_KERNEL_CS);
		/* L, P, S, code. */
		KTAP_EQ(segs.cs.attr & 0x29b, 0x29b);
		KTAP_EQ(segs.gs.base, GUEST_CPU + ev->vcpu * 4096);
		KTAP_EQ(segs.gdt.base, GUEST_GDT);
		KTAP_EQ(segs.idt.base, GUEST_IDT);
		KTAP_EQ(segs.tr.base, GUEST_TSS + ev->vcpu * 4096);

		regs.r[KVMI_X86_R15] = 0x4444 + ev->vcpu;
		KTAP_LIB_OK(kvmi_vcpu_set_gprs(kv, ev->vcpu, &regs));
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 0x4444 + i);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The thread is in the VMM: the same values as the VMM's own ioctls. */
KTAP_CASE_SMP(outside_of_kvm_run, "S6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_control control;
	struct kvmi_x86_segments segs;
	struct kvmi_x86_gprs regs;
	struct kvm_sregs sregs;
	struct kvm_regs kregs;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, marked, 0, 0, 0);
		vmm_vcpu_get_regs(vm, i, &kregs);
		vmm_vcpu_get_sregs(vm, i, &sregs);
		KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &regs));
		KTAP_EQ(regs.r[KVMI_X86_RIP], kregs.rip);
		KTAP_EQ(regs.r[KVMI_X86_RSP], kregs.rsp);
		KTAP_EQ(regs.r[KVMI_X86_RFLAGS], kregs.rflags);
		KTAP_LIB_OK(kvmi_vcpu_get_control(kv, i, &control));
		KTAP_EQ(control.cr0, sregs.cr0);
		KTAP_EQ(control.cr3, sregs.cr3);
		KTAP_EQ(control.cr4, sregs.cr4);
		KTAP_EQ(control.cr8, sregs.cr8);
		KTAP_EQ(control.efer, sregs.efer);
		KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, i, &segs));
		KTAP_EQ(segs.ss.selector, sregs.ss.selector);
		KTAP_EQ(segs.fs.base, sregs.fs.base);
		KTAP_EQ(segs.ldt.limit, sregs.ldt.limit);

		/* Write: the VMM's ioctls see it. */
		regs.r[KVMI_X86_R8] = 0x8888;
		KTAP_LIB_OK(kvmi_vcpu_set_gprs(kv, i, &regs));
		segs.fs.base = 0x123000;
		KTAP_LIB_OK(kvmi_vcpu_set_segments(kv, i, &segs));
		control.cr8 = 3;
		control.cr2 = 0x5000;
		KTAP_LIB_OK(kvmi_vcpu_set_control(kv, i, &control));
		vmm_vcpu_get_regs(vm, i, &kregs);
		vmm_vcpu_get_sregs(vm, i, &sregs);
		KTAP_EQ(kregs.r8, 0x8888);
		KTAP_EQ(sregs.fs.base, 0x123000);
		KTAP_EQ(sregs.cr2, 0x5000);

		/* What KVM refuses changes nothing. */
		control.cr4 |= 1ULL << 40;
		control.cr2 = 0x6000;
		KTAP_LIB_ERR(kvmi_vcpu_set_control(kv, i, &control), EINVAL);
		vmm_vcpu_get_sregs(vm, i, &sregs);
		KTAP_EQ(sregs.cr2, 0x5000);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), 0x3333);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t spin_on(uint64_t *flag)
{
	while (!*(volatile uint64_t *)flag)
		(*(volatile uint64_t *)&flag[8 + guest_cpu()->id])++;
	return 1;
}

/* Running flat out, without an exit of its own. */
KTAP_CASE_SMP(running, "S6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	uint64_t one = 1;
	struct kvmi_x86_control control;
	struct kvmi_x86_gprs regs;
	int i, n;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, spin_on, gpa, 0, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++)
		while (!*(volatile uint64_t *)vmm_gpa(vm, gpa + 64 + i * 8))
			usleep(1000);
	for (n = 0; n < 5; n++) {
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &regs));
			KTAP_LIB_OK(kvmi_vcpu_get_control(kv, i, &control));
			KTAP_EQ(control.cr3, GUEST_PML4);
		}
	}
	KTAP_EQ(kvmi_vm_write(kv, gpa, &one, 8), 8);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t halt(void)
{
	asm volatile("mov $0x77, %%r13\n\tsti\n\thlt" : : : "r13", "memory");
	return 1;
}

/* Halted in the kernel; it stays halted. */
KTAP_CASE(halted, "S6")
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_vcpu_info info;
	struct kvmi_x86_gprs regs;
	int i;

	vmm_vcpu_set_entry(vm, 0, halt, 0, 0, 0);
	vmm_vcpu_start(vm, 0);
	for (i = 0; i < 1000; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, 0, &info));
		if (info.out_state == KVMI_VCPU_HALTED)
			break;
		tool_msleep(10);
	}
	KTAP_EQ(info.out_state, KVMI_VCPU_HALTED);
	KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, 0, &regs));
	KTAP_EQ(regs.r[KVMI_X86_R13], 0x77);
	KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, 0, &regs));
	KTAP_ASSERT(vmm_vcpu_running(vm, 0));
	kvmi_vm_close(kv);
	vmm_vcpu_stop(vm, 0);
	vmm_destroy(vm);
}

/* What has no meaning yet is refused, not ignored. */
KTAP_CASE(reserved_bits, "")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_segments segs;
	struct kvmi_x86_control control;

	KTAP_LIB_OK(kvmi_vcpu_get_control(kv, 0, &control));
	KTAP_LIB_OK(kvmi_vcpu_set_control(kv, 0, &control));
	control.reserved[1] = 1;
	KTAP_LIB_ERR(kvmi_vcpu_set_control(kv, 0, &control), EINVAL);

	KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, 0, &segs));
	KTAP_LIB_OK(kvmi_vcpu_set_segments(kv, 0, &segs));
	segs.ldt.attr ^= 1 << 12;
	KTAP_LIB_ERR(kvmi_vcpu_set_segments(kv, 0, &segs), EINVAL);
	segs.ldt.attr ^= 1 << 12;
	segs.idt.pad[2] = 1;
	KTAP_LIB_ERR(kvmi_vcpu_set_segments(kv, 0, &segs), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
