// SPDX-License-Identifier: GPL-2.0-only
/* State of a vCPU beyond its basic registers, against the VMM's own ioctls. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define MSR_STAR		0xc0000081
#define MSR_LSTAR		0xc0000082
#define MSR_KERNEL_GS_BASE	0xc0000102
#define MSR_NONE		0x0000ffff
#define MSR_KVMCLOCK		0x4b564d01
#define NOT_CANONICAL		0x8000000000000000ULL

static uint64_t vmm_msr(struct vmm *vm, int vcpu, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };

	KTAP_EQ(ioctl(vm->vcpu[vcpu].fd, KVM_GET_MSRS, &msrs), 1);
	return msrs.entry.data;
}

static __guest uint64_t cpuid_then(uint64_t n)
{
	guest_cpuid(n, 0);
	return n;
}

/* Runs into an event and stays there. */
static const struct kvmi_event *open_event(struct vmm *vm, struct kvmi_vm *kv,
					   const void *fn)
{
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	vmm_vcpu_set_entry(vm, 0, fn, 1, 0, 0);
	vmm_vcpu_start(vm, 0);
	return tool_wait(kv, KVMI_EVENT_X86_CPUID);
}

KTAP_CASE_SMP(msrs, "S6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_msr list[4] = {
		{ .index = MSR_LSTAR }, { .index = MSR_NONE },
		{ .index = MSR_KERNEL_GS_BASE }, { .index = MSR_STAR },
	};
	uint64_t value;
	unsigned int bad;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		/* Each has its own error. */
		KTAP_LIB_OK(kvmi_vcpu_set_msr(kv, i, MSR_LSTAR, 0x1000 + i));
		KTAP_LIB_OK(kvmi_vcpu_get_msrs(kv, i, list, 4));
		KTAP_EQ(list[0].value, 0x1000 + i);
		KTAP_EQ(list[0].out_error, 0);
		KTAP_EQ(list[1].out_error, -ENOENT);
		KTAP_EQ(list[3].out_error, 0);
		KTAP_EQ(vmm_msr(vm, i, MSR_LSTAR), 0x1000 + i);

		/* All or none. */
		list[0].value = 0x7777;
		list[1].index = MSR_STAR;
		list[1].value = 0x8888;
		list[2].value = NOT_CANONICAL;
		KTAP_LIB_ERR(kvmi_vcpu_set_msrs(kv, i, list, 3, &bad), EINVAL);
		KTAP_EQ(bad, 2);
		KTAP_EQ(vmm_msr(vm, i, MSR_LSTAR), 0x1000 + i);
		list[1].index = MSR_NONE;
		KTAP_LIB_ERR(kvmi_vcpu_set_msrs(kv, i, list, 3, &bad), EINVAL);
		KTAP_EQ(bad, 1);
		KTAP_EQ(vmm_msr(vm, i, MSR_LSTAR), 0x1000 + i);
	}
	KTAP_LIB_ERR(kvmi_vcpu_get_msr(kv, 0, MSR_NONE, &value), ENOENT);
	/* Names guest memory, which this thread does not have. */
	KTAP_LIB_ERR(kvmi_vcpu_set_msr(kv, 0, MSR_KVMCLOCK, 1), EAGAIN);
	KTAP_LIB_ERR(kvmi_vcpu_get_msrs(kv, 0, list, 0), EINVAL);
	KTAP_LIB_ERR(kvmi_vcpu_get_msrs(kv, 0, list, KVMI_MAX_MSR_LIST + 1),
		     EINVAL);
	KTAP_LIB_ERR(kvmi_vcpu_get_msr(kv, 99, MSR_STAR, &value), ENOENT);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Debug, SYSCALL and XCR sets, of one and of all vCPUs. */
KTAP_CASE_SMP(register_sets, "S6")
{
	uint32_t sets = KVMI_REGS_GENERAL | KVMI_REGS_DEBUG |
			KVMI_REGS_SYSCALL | KVMI_REGS_XCR;
	struct {
		struct kvmi_x86_gprs gprs;
		struct kvmi_x86_debug debug;
		struct kvmi_x86_syscall syscall;
		struct kvmi_x86_xcr xcr;
	} all[4], now[4];
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	size_t size = nr_vcpus * sizeof(all[0]);
	struct kvm_debugregs debug;
	struct kvm_regs regs;
	int i;

	KTAP_LIB_ERR(kvmi_vcpu_get_regs(kv, KVMI_VCPU_ALL, sets, all, size - 1),
		     ENOSPC);
	KTAP_LIB_OK(kvmi_vcpu_get_regs(kv, KVMI_VCPU_ALL, sets, all, size));
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(all[i].xcr.xcr0 & 1, 1);
		all[i].gprs.r[KVMI_X86_R9] = 0x90 + i;
		all[i].debug.dr[1] = 0x400000 + i;
		all[i].debug.dr7 = 0x400;
		all[i].syscall.lstar = 0x2000 + i;
		all[i].syscall.sysenter_eip = 0x3000 + i;
	}
	KTAP_LIB_OK(kvmi_vcpu_set_regs(kv, KVMI_VCPU_ALL, sets, all, size));
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_get_regs(vm, i, &regs);
		KTAP_EQ(regs.r9, 0x90 + i);
		KTAP_OK(ioctl(vm->vcpu[i].fd, KVM_GET_DEBUGREGS, &debug));
		KTAP_EQ(debug.db[1], 0x400000 + i);
		KTAP_EQ(debug.dr7, 0x400);
		KTAP_EQ(vmm_msr(vm, i, MSR_LSTAR), 0x2000 + i);
		KTAP_EQ(vmm_msr(vm, i, 0x176), 0x3000 + i);
	}
	KTAP_LIB_OK(kvmi_vcpu_get_regs(kv, KVMI_VCPU_ALL, sets, now, size));
	KTAP_ASSERT(!memcmp(all, now, size));

	/* What KVM refuses last takes back what was written before. */
	all[0].gprs.r[KVMI_X86_R9] = 0xdead;
	all[0].debug.dr[1] = 0xdead;
	all[0].syscall.lstar = 0xdead;
	all[0].xcr.xcr0 = 1ULL << 60;
	KTAP_LIB_ERR(kvmi_vcpu_set_regs(kv, 0, sets, all, sizeof(all[0])),
		     EINVAL);
	KTAP_LIB_OK(kvmi_vcpu_get_regs(kv, KVMI_VCPU_ALL, sets, all, size));
	KTAP_ASSERT(!memcmp(all, now, size));
	all[0].debug.dr7 |= 1ULL << 40;
	KTAP_LIB_ERR(kvmi_vcpu_set_regs(kv, 0, sets, all, sizeof(all[0])),
		     EINVAL);
	KTAP_LIB_OK(kvmi_vcpu_get_regs(kv, KVMI_VCPU_ALL, sets, all, size));
	KTAP_ASSERT(!memcmp(all, now, size));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Loads a number into XMM5, waits in an event, and says what is there then. */
static __guest uint64_t through_xmm(uint64_t n)
{
	uint64_t low;
	uint32_t eax = 0, ebx, ecx = 0, edx;

	asm volatile("movq %5, %%xmm5\n\t"
		     "cpuid\n\t"
		     "movq %%xmm5, %0"
		     : "=&S" (low), "+a" (eax), "=b" (ebx), "+c" (ecx),
		       "=d" (edx)
		     : "D" (n + 0x55) : "memory");
	return low;
}

/* XMM registers in the legacy area. */
#define XMM(buf, n)	(*(uint64_t *)((buf) + 160 + 16 * (n)))

KTAP_CASE(xsave, "S6")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	static char buf[65536];
	size_t size = 0;

	KTAP_LIB_ERR(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_XSAVE, buf, 8,
					 &size), ENOSPC);
	KTAP_LE(576, size);
	KTAP_LE(size, sizeof(buf));

	/* In an event: what the guest has in its registers, and finds there. */
	ev = open_event(vm, kv, through_xmm);
	KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_XSAVE, buf,
					sizeof(buf), &size));
	KTAP_EQ(XMM(buf, 5), 0x56);
	XMM(buf, 5) = 0x99;
	*(uint64_t *)(buf + 512) |= 2;
	KTAP_LIB_ERR(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_XSAVE, buf, 100),
		     EINVAL);
	KTAP_LIB_OK(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_XSAVE, buf, size));
	memset(buf, 0, sizeof(buf));
	KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_XSAVE, buf, size,
					NULL));
	KTAP_EQ(XMM(buf, 5), 0x99);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0x99);

	/* Reserved bits of MXCSR. */
	*(uint32_t *)(buf + 24) = 0xffffffff;
	KTAP_LIB_ERR(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_XSAVE, buf, size),
		     EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(lapic, "S10")
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct vmm *plain = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvm_lapic_state state;
	uint32_t regs[256];
	size_t size;

	KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_LAPIC, regs,
					sizeof(regs), &size));
	KTAP_EQ(size, sizeof(regs));
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_GET_LAPIC, &state));
	KTAP_ASSERT(!memcmp(regs, &state, sizeof(state)));
	/* The task priority, at 0x80. */
	regs[0x80 / 4] = 0x30;
	KTAP_LIB_OK(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_LAPIC, regs, size));
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_GET_LAPIC, &state));
	KTAP_EQ(*(uint32_t *)&state.regs[0x80], 0x30);
	kvmi_vm_close(kv);

	kv = tool_attach(plain);
	KTAP_LIB_ERR(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_LAPIC, regs,
					 sizeof(regs), &size), EOPNOTSUPP);
	kvmi_vm_close(kv);
	vmm_destroy(plain);
	vmm_destroy(vm);
}

KTAP_CASE(cpuid, "S7")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	static struct kvmi_x86_cpuid_entry entries[256];
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} own;
	size_t size = 0;
	unsigned int i, n;

	KTAP_LIB_ERR(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_CPUID, entries, 4,
					 &size), ENOSPC);
	KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_CPUID, entries,
					sizeof(entries), &size));
	own.head.nent = 256;
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_GET_CPUID2, &own.head));
	/* KVM does not always say how many there are; the rest is zero. */
	n = size / sizeof(entries[0]);
	KTAP_LE(1, n);
	KTAP_ASSERT(!own.entries[n].function && !own.entries[n].eax);
	for (i = 0; i < n; i++) {
		KTAP_EQ(entries[i].function, own.entries[i].function);
		KTAP_EQ(entries[i].index, own.entries[i].index);
		KTAP_EQ(entries[i].ebx, own.entries[i].ebx);
		KTAP_EQ(entries[i].edx, own.entries[i].edx);
	}
	KTAP_LIB_ERR(kvmi_vcpu_set_state(kv, 0, KVMI_STATE_CPUID, entries,
					 size), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

#define VMCS_GUEST_CR3		0x6802
#define VMCS_GUEST_CS_SELECTOR	0x0802
#define VMCB_CS_SELECTOR	0x410
#define VMCB_CR3		0x550

/* The guest's CR3 and CS are where the manuals have them. */
KTAP_CASE(control_structure, "S8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	static struct kvmi_x86_vmcs_field fields[4096];
	const char *vmcb = (void *)fields;
	uint64_t cr3 = 0, cs = 0;
	struct kvmi_caps caps;
	const struct kvmi_event *ev;
	unsigned int i;
	size_t size;

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	ev = open_event(vm, kv, cpuid_then);
	KTAP_LIB_ERR(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_CONTROL, fields, 16,
					 &size), ENOSPC);
	KTAP_LIB_OK(kvmi_vcpu_get_state(kv, 0, KVMI_STATE_CONTROL, fields,
					sizeof(fields), &size));
	if (caps.out_vendor == KVMI_VENDOR_AMD) {
		KTAP_EQ(size, 4096);
		cr3 = *(uint64_t *)(vmcb + VMCB_CR3);
		cs = *(uint16_t *)(vmcb + VMCB_CS_SELECTOR);
	} else {
		KTAP_LE(100, size / sizeof(fields[0]));
		for (i = 0; i < size / sizeof(fields[0]); i++) {
			if (fields[i].encoding == VMCS_GUEST_CR3)
				cr3 = fields[i].value;
			if (fields[i].encoding == VMCS_GUEST_CS_SELECTOR)
				cs = fields[i].value;
		}
	}
	KTAP_EQ(cr3, GUEST_PML4);
	KTAP_EQ(cs, GUEST_KERNEL_CS);
	tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

#define UC	0
#define WC	1
#define WT	4
#define WP	5
#define WB	6

static unsigned int type_of(struct kvmi_vm *kv, uint64_t gpa)
{
	unsigned int type;

	KTAP_LIB_OK(kvmi_vcpu_get_mtrr(kv, 0, gpa >> 12, &type));
	return type;
}

/* What the guest writes; what of it is true where. */
static __guest uint64_t guest_set_mtrrs(uint64_t def)
{
	/* 00000 - 7ffff write-back, the last 64 KiB write-protected. */
	guest_wrmsr(0x250, 0x0506060606060606);
	guest_wrmsr(0x258, 0x0606060606060606);
	guest_wrmsr(0x259, 0);
	/* c0000 write-through, c1000 write-combining, the rest uncached. */
	guest_wrmsr(0x268, 0x0104);
	guest_wrmsr(0x26f, 0x0600000000000000);
	/* 16 MiB at 256 MiB write-combining. */
	guest_wrmsr(0x200, 0x10000000 | 1);
	guest_wrmsr(0x201, 0xff000000 | 0x800);
	/* The first 2 GiB write-through; below 8 MiB write-back as well. */
	guest_wrmsr(0x202, 0x00000000 | 4);
	guest_wrmsr(0x203, 0x80000000 | 0x800);
	guest_wrmsr(0x204, 0x00000000 | 6);
	guest_wrmsr(0x205, 0xff800000 | 0x800);
	/* 1 MiB at 512 MiB uncached. */
	guest_wrmsr(0x206, 0x20000000);
	guest_wrmsr(0x207, 0xfff00000 | 0x800);
	/* One that is not valid. */
	guest_wrmsr(0x208, 0x80000000 | 1);
	guest_wrmsr(0x209, 0x80000000);
	guest_wrmsr(0x2ff, def);
	return guest_rdmsr(0x2ff);
}

KTAP_CASE(mtrrs, "S7")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	unsigned int type;

	vmm_vcpu_set_entry(vm, 0, guest_set_mtrrs, 0xc06, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 0xc06);
	KTAP_EQ(type_of(kv, 0), WB);
	KTAP_EQ(type_of(kv, 0x6ffff), WB);
	KTAP_EQ(type_of(kv, 0x70000), WP);
	KTAP_EQ(type_of(kv, 0x9f000), WB);
	KTAP_EQ(type_of(kv, 0xa0000), UC);
	KTAP_EQ(type_of(kv, 0xc0000), WT);
	KTAP_EQ(type_of(kv, 0xc1000), WC);
	KTAP_EQ(type_of(kv, 0xc2000), UC);
	KTAP_EQ(type_of(kv, 0xff000), WB);
	/* Write-back and write-through. */
	KTAP_EQ(type_of(kv, 0x100000), WT);
	KTAP_EQ(type_of(kv, 0x800000), WT);
	KTAP_EQ(type_of(kv, 0x10ffffff), KVMI_MTRR_UNDEFINED);
	KTAP_EQ(type_of(kv, 0x11000000), WT);
	KTAP_EQ(type_of(kv, 0x20000000), UC);
	KTAP_EQ(type_of(kv, 0x20100000), WT);
	/* Nowhere: the default. */
	KTAP_EQ(type_of(kv, 0x80000000), WB);

	/* Without the fixed ones, without any. */
	vmm_vcpu_set_entry(vm, 0, guest_set_mtrrs, 0x801, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 0x801);
	KTAP_EQ(type_of(kv, 0xa0000), WT);
	KTAP_EQ(type_of(kv, 0x80000000), WC);
	vmm_vcpu_set_entry(vm, 0, guest_set_mtrrs, 0x406, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 0x406);
	KTAP_EQ(type_of(kv, 0), UC);
	KTAP_EQ(type_of(kv, 0x80000000), UC);
	KTAP_LIB_ERR(kvmi_vcpu_get_mtrr(kv, 1, 0, &type), ENOENT);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Turns the clock on, and gives it an exit to be filled at. */
static __guest uint64_t guest_clock(uint64_t msr, uint64_t value)
{
	guest_wrmsr(msr, value);
	guest_cpuid(0, 0);
	return guest_rdtsc();
}

KTAP_CASE(pvclock, "S10")
{
	/* The second is that of old guests. */
	static const uint32_t msrs[] = { 0x4b564d01, 0x12 };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1) + 64, tsc, ns;
	uint32_t *mem = vmm_gpa(vm, gpa);
	struct kvmi_pvclock clock;
	int i;

	KTAP_LIB_ERR(kvmi_vcpu_get_pvclock(kv, 0, &clock), ENOENT);
	for (i = 0; i < 2; i++, gpa += 64, mem += 16) {
		vmm_vcpu_set_entry(vm, 0, guest_clock, msrs[i], gpa | 1, 0);
		tsc = vmm_vcpu_run_done(vm, 0);
		KTAP_LIB_OK(kvmi_vcpu_get_pvclock(kv, 0, &clock));
		KTAP_EQ(clock.gpa, gpa);
		KTAP_EQ(clock.version, mem[0]);
		KTAP_EQ(clock.tsc_timestamp, *(uint64_t *)&mem[2]);
		KTAP_EQ(clock.system_time, *(uint64_t *)&mem[4]);
		KTAP_EQ(clock.tsc_to_system_mul, mem[6]);
		KTAP_EQ(clock.tsc_shift, (int8_t)mem[7]);
		KTAP_NE(clock.tsc_to_system_mul, 0);
		KTAP_LE(clock.tsc_timestamp, tsc);
		/* Not long ago, whatever the clock shows. */
		ns = kvmi_pvclock_ns(&clock, tsc);
		KTAP_ASSERT(ns >= clock.system_time &&
			    ns - clock.system_time < 10000000000, "%llu",
			    (unsigned long long)(ns - clock.system_time));
		KTAP_EQ(kvmi_pvclock_ns(&clock, 0), clock.system_time);
		vmm_vcpu_set_entry(vm, 0, guest_clock, msrs[i], 0, 0);
		vmm_vcpu_run_done(vm, 0);
		KTAP_LIB_ERR(kvmi_vcpu_get_pvclock(kv, 0, &clock), ENOENT);
	}

	/* Half written for ever; a scale that makes no sense. */
	gpa -= 64;
	mem -= 16;
	vmm_vcpu_set_entry(vm, 0, guest_clock, msrs[0], gpa | 1, 0);
	vmm_vcpu_run_done(vm, 0);
	mem[0] |= 1;
	KTAP_LIB_ERR(kvmi_vcpu_get_pvclock(kv, 0, &clock), EAGAIN);
	mem[0]++;
	mem[7] = 0x7f;
	KTAP_LIB_OK(kvmi_vcpu_get_pvclock(kv, 0, &clock));
	KTAP_EQ(kvmi_pvclock_ns(&clock, ~0ULL), clock.system_time);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(events, "S10")
{
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_events ev, was;
	struct kvm_vcpu_events own;

	KTAP_LIB_OK(kvmi_vcpu_get_events(kv, 0, &ev));
	KTAP_EQ(ev.mp_state, KVMI_X86_MP_RUNNABLE);
	KTAP_EQ(ev.exception_flags, 0);
	was = ev;

	ev.nmi_flags = KVMI_X86_EVENT_PENDING | KVMI_X86_EVENT_MASKED;
	ev.shadow = KVMI_X86_SHADOW_STI;
	ev.exception = 13;
	ev.exception_flags = KVMI_X86_EVENT_INJECTED | KVMI_X86_EVENT_ERROR;
	ev.error = 0x18;
	ev.mp_state = KVMI_X86_MP_HALTED;
	ev.tsc_offset += 1000000;
	KTAP_LIB_OK(kvmi_vcpu_set_events(kv, 0, &ev));
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_GET_VCPU_EVENTS, &own));
	KTAP_EQ(own.exception.nr, 13);
	KTAP_EQ(own.exception.injected, 1);
	KTAP_EQ(own.exception.error_code, 0x18);
	KTAP_EQ(own.nmi.masked, 1);
	KTAP_EQ(own.nmi.pending, 1);
	/* SVM has one bit for both shadows. */
	KTAP_ASSERT(own.interrupt.shadow & KVM_X86_SHADOW_INT_STI);
	KTAP_LIB_OK(kvmi_vcpu_get_events(kv, 0, &ev));
	KTAP_EQ(ev.mp_state, KVMI_X86_MP_HALTED);
	KTAP_EQ(ev.tsc_offset, was.tsc_offset + 1000000);
	KTAP_EQ(ev.exception, 13);

	KTAP_LIB_OK(kvmi_vcpu_set_events(kv, 0, &was));
	KTAP_LIB_OK(kvmi_vcpu_get_events(kv, 0, &ev));
	KTAP_ASSERT(!memcmp(&ev.exception_flags, &was.exception_flags, 1));
	KTAP_EQ(ev.nmi_flags, 0);
	KTAP_EQ(ev.mp_state, KVMI_X86_MP_RUNNABLE);

	/* What there is not. */
	ev = was;
	ev.exception = 32;
	ev.exception_flags = KVMI_X86_EVENT_INJECTED;
	KTAP_LIB_ERR(kvmi_vcpu_set_events(kv, 0, &ev), EINVAL);
	ev = was;
	ev.mp_state = 77;
	KTAP_LIB_ERR(kvmi_vcpu_set_events(kv, 0, &ev), EINVAL);
	ev = was;
	ev.smm = 1;
	KTAP_LIB_ERR(kvmi_vcpu_set_events(kv, 0, &ev), EINVAL);
	ev = was;
	ev.nmi_flags = 0x80;
	KTAP_LIB_ERR(kvmi_vcpu_set_events(kv, 0, &ev), EINVAL);
	ev = was;
	ev.reserved[1] = 1;
	KTAP_LIB_ERR(kvmi_vcpu_set_events(kv, 0, &ev), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/*
 * An exception put into a vCPU that waits in an event reaches the guest, at the
 * instruction that was about to exit.
 */
static __guest void after_cpuid(struct guest_regs *regs)
{
	regs->rip += 2;
}

static __guest uint64_t faults(void)
{
	guest_cpu()->handler[13] = after_cpuid;
	guest_cpuid(1, 0);
	return guest_cpu()->last.error;
}

KTAP_CASE(exception_in_an_event, "S10")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev = open_event(vm, kv, faults);
	struct kvmi_x86_events state;
	struct kvmi_x86_gprs regs;

	KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, 0, &regs));
	KTAP_LIB_OK(kvmi_vcpu_get_events(kv, 0, &state));
	state.exception = 13;
	state.exception_flags = KVMI_X86_EVENT_INJECTED | KVMI_X86_EVENT_ERROR;
	state.error = 0x1234;
	KTAP_LIB_OK(kvmi_vcpu_set_events(kv, 0, &state));
	tool_reply(kv, ev, KVMI_ACTION_RETRY);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 0x1234);
	KTAP_EQ(vm->vcpu[0].cpu->last.vector, 13);
	KTAP_EQ(vm->vcpu[0].cpu->last.rip, regs.r[KVMI_X86_RIP]);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Parked vCPUs are read without being woken, and written all the same. */
KTAP_CASE_SMP(parked, "S6")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_gprs regs, again;
	int i, n;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (n = 0; n < 20; n++) {
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &regs));
			KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &again));
			KTAP_ASSERT(!memcmp(&regs, &again, sizeof(regs)));
			KTAP_LIB_OK(kvmi_vcpu_set_gprs(kv, i, &regs));
			KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &again));
			KTAP_ASSERT(!memcmp(&regs, &again, sizeof(regs)));
		}
		KTAP_LIB_OK(kvmi_vm_resume(kv));
	}
	vmm_worker_check(vm, 20);
	vmm_worker_stop(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
