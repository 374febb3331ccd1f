/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reaching KVM: what kvmi calls in it, and what it puts itself before.
 *
 * Everything of KVM is called through a static call: KVM's functions may have
 * had their ENDBR sealed, so that an indirect call would be a #CP on CPUs with
 * IBT, and most are not exported to other modules from 6.18 on.
 */
#ifndef KVMI_HOOK_H
#define KVMI_HOOK_H

#include <linux/ptrace.h>
#include <linux/static_call.h>

#include "kvmi.h"

/* KVM's functions that kvmi calls; the type comes from KVM's own prototype. */
#define KVMI_CALLS(X)						\
	X(file_is_kvm)						\
	X(__kvm_get_msr)					\
	X(__kvm_set_xcr)					\
	X(gfn_to_memslot)					\
	X(kvm_apic_get_state)					\
	X(kvm_apic_set_irq)					\
	X(kvm_apic_set_state)					\
	X(kvm_arch_vcpu_ioctl_set_mpstate)			\
	X(kvm_arch_vcpu_ioctl_get_sregs)			\
	X(kvm_arch_vcpu_ioctl_set_sregs)			\
	X(kvm_complete_insn_gp)					\
	X(kvm_emulate_instruction)				\
	X(kvm_emulate_instruction_from_buffer)			\
	X(kvm_flush_remote_tlbs)				\
	X(kvm_get_cr8)						\
	X(kvm_get_lapic_tscdeadline_msr)			\
	X(kvm_get_msr)						\
	X(kvm_get_rflags)					\
	X(kvm_get_running_vcpu)					\
	X(kvm_get_segment)					\
	X(kvm_inject_nmi)					\
	X(kvm_lapic_set_eoi)					\
	X(kvm_make_all_cpus_request)				\
	X(kvm_mmu_gva_to_gpa_read)				\
	X(kvm_mmu_gva_to_gpa_write)				\
	X(kvm_mmu_page_fault)					\
	X(kvm_queue_exception)					\
	X(kvm_queue_exception_e)				\
	X(kvm_queue_exception_p)				\
	X(kvm_read_l1_tsc)					\
	X(kvm_set_cr0)						\
	X(kvm_set_cr3)						\
	X(kvm_set_dr)						\
	X(kvm_set_lapic_tscdeadline_msr)			\
	X(kvm_set_msr_ignored_check)				\
	X(kvm_set_rflags)					\
	X(kvm_skip_emulated_instruction)			\
	X(kvm_vcpu_ioctl_x86_get_vcpu_events)			\
	X(kvm_vcpu_ioctl_x86_set_vcpu_events)			\
	X(kvm_vcpu_kick)					\
	X(kvm_vcpu_mark_page_dirty)				\
	X(kvm_vcpu_read_guest)					\
	X(kvm_vcpu_write_guest)					\
	X(kvm_vcpu_write_tsc_offset)				\
	X(vcpu_load)						\
	X(vcpu_put)

/* The kernel's own functions that kvmi calls and that are not exported. */
#define KVMI_KERNEL_CALLS(X)					\
	X(ptrace_may_access)

/* Operations of kvm_x86_ops that kvmi calls but does not wrap. */
#define KVMI_OPS(X)						\
	X(cache_reg)						\
	X(cancel_injection)					\
	X(enable_irq_window)					\
	X(flush_tlb_all)					\
	X(get_cpl)						\
	X(get_cs_db_l_bits)					\
	X(get_exit_info)					\
	X(get_gdt)						\
	X(get_idt)						\
	X(get_interrupt_shadow)					\
	X(interrupt_allowed)					\
	X(nmi_allowed)						\
	X(update_exception_bitmap)

/* The same, of those that a vendor may do without: then they answer 0. */
#define KVMI_OPT_OPS(X)						\
	X(sync_pir_to_irr)

/* Operations that kvmi wraps; kvmi_##op takes their place. */
#define KVMI_WRAPS(X)						\
	X(flush_tlb_current)					\
	X(handle_exit)						\
	X(inject_exception)					\
	X(load_mmu_pgd)						\
	X(vcpu_deliver_sipi_vector)				\
	X(vcpu_pre_run)						\
	X(vcpu_reset)						\
	X(vcpu_run)

#define KVMI_OP_TYPE(op)	\
	typeof(*((struct kvm_x86_ops *)NULL)->op)

#define KVMI_DECLARE_CALL(fn)						\
	extern struct static_call_key STATIC_CALL_KEY(kvmi_c_##fn);	\
	extern typeof(fn) STATIC_CALL_TRAMP(kvmi_c_##fn);
#define KVMI_DECLARE_OP(op)						\
	extern struct static_call_key STATIC_CALL_KEY(kvmi_o_##op);	\
	extern KVMI_OP_TYPE(op) STATIC_CALL_TRAMP(kvmi_o_##op);

KVMI_CALLS(KVMI_DECLARE_CALL)
KVMI_KERNEL_CALLS(KVMI_DECLARE_CALL)
KVMI_OPS(KVMI_DECLARE_OP)
KVMI_OPT_OPS(KVMI_DECLARE_OP)
KVMI_WRAPS(KVMI_DECLARE_OP)

/* kvm_call(fn)(...): KVM's function, or the kernel's; kvm_orig(op)(...): KVM's operation. */
#define kvm_call(fn)	static_call(kvmi_c_##fn)
#define kvm_orig(op)	static_call(kvmi_o_##op)

int kvmi_hook_init(void);
void kvmi_hook_exit(void);
int kvmi_hook_get(void);
void kvmi_hook_put(void);
unsigned long kvmi_hook_lookup(const char *name);
u32 kvmi_hook_vendor(void);

#endif /* KVMI_HOOK_H */
