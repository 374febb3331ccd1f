/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM's headers offer in some kernels only. This directory is the only
 * place that knows kernels apart, by compile probes (Kbuild), not by versions.
 */
#ifndef KVMI_COMPAT_KVM_H
#define KVMI_COMPAT_KVM_H

#include <linux/kvm_host.h>
#include <linux/mm.h>

/*
 * Declared by KVM in headers that no package ships (arch/x86/kvm/mmu.h,
 * lapic.h, x86.h); the prototypes are the same from 6.1 to 7.2. Never linked,
 * only typed: all are resolved at run time (hook.c).
 */
bool kvm_mmu_slot_gfn_write_protect(struct kvm *kvm,
				    struct kvm_memory_slot *slot, u64 gfn,
				    int min_level);
void kvm_arch_pre_destroy_vm(struct kvm *kvm);
fastpath_t handle_fastpath_set_msr_irqoff(struct kvm_vcpu *vcpu);
/* Since 6.11 (KVM: x86: Move handling of HLT into the fast path). */
fastpath_t handle_fastpath_hlt(struct kvm_vcpu *vcpu);

struct dest_map;
int kvm_apic_set_irq(struct kvm_vcpu *vcpu, struct kvm_lapic_irq *irq,
		     struct dest_map *dest_map);

struct kvm_lapic_state;
int kvm_apic_get_state(struct kvm_vcpu *vcpu, struct kvm_lapic_state *s);
int kvm_apic_set_state(struct kvm_vcpu *vcpu, struct kvm_lapic_state *s);
void kvm_lapic_set_eoi(struct kvm_vcpu *vcpu);
u64 kvm_get_lapic_tscdeadline_msr(struct kvm_vcpu *vcpu);
void kvm_set_lapic_tscdeadline_msr(struct kvm_vcpu *vcpu, u64 data);

/* Private to x86.c, and called once or twice there: not inlined so far. */
int __kvm_set_xcr(struct kvm_vcpu *vcpu, u32 index, u64 xcr);
void kvm_vcpu_ioctl_x86_get_vcpu_events(struct kvm_vcpu *vcpu,
					struct kvm_vcpu_events *events);
int kvm_vcpu_ioctl_x86_set_vcpu_events(struct kvm_vcpu *vcpu,
				       struct kvm_vcpu_events *events);
void kvm_vcpu_write_tsc_offset(struct kvm_vcpu *vcpu, u64 l1_offset);
/* Which of its callees is in line differs; both have the same prototype. */
int kvm_set_msr_ignored_check(struct kvm_vcpu *vcpu, u32 index, u64 data,
			      bool host_initiated);
#define COMPAT_KVM_SET_MSR_ELSE	"__kvm_set_msr"

#ifndef KVMI_HAS_ZAP_GFN_RANGE
/* Moved from mmu.h to asm/kvm_host.h in 6.3. */
void kvm_zap_gfn_range(struct kvm *kvm, gfn_t gfn_start, gfn_t gfn_end);
#endif

/*
 * Set while a vendor module is loaded: KVM clears this member, and no other,
 * when that goes. hardware_enable until 6.11.
 */
static inline bool compat_vendor_loaded(const struct kvm_x86_ops *ops)
{
#ifdef KVMI_HAS_ENABLE_VIRT_CPU
	return READ_ONCE(ops->enable_virtualization_cpu);
#else
	return READ_ONCE(ops->hardware_enable);
#endif
}

/* tlb_remote_flush until 6.3; only Hyper-V sets it, and since 6.7 only has it. */
static inline bool compat_flush_remote_tlbs(const struct kvm_x86_ops *ops)
{
#ifdef KVMI_HAS_TLB_REMOTE_FLUSH
	return ops->tlb_remote_flush;
#elif IS_ENABLED(CONFIG_HYPERV)
	return ops->flush_remote_tlbs;
#else
	return false;
#endif
}

/* Since 6.8, memory that the VMM does not map (guest_memfd). */
static inline bool compat_has_private_mem(struct kvm *kvm)
{
#ifdef kvm_arch_has_private_mem
	return kvm_arch_has_private_mem(kvm);
#else
	return false;
#endif
}

/* Do KVM, or others, want to be told of each write to a page? */
static inline bool compat_gfn_write_tracked(const struct kvm_memory_slot *slot,
					    gfn_t gfn)
{
#ifdef KVMI_HAS_GFN_WRITE_TRACK
	const unsigned short *track = READ_ONCE(slot->arch.gfn_write_track);
#else
	const unsigned short *track =
		READ_ONCE(slot->arch.gfn_track[KVM_PAGE_TRACK_WRITE]);
#endif
	return track && READ_ONCE(track[gfn - slot->base_gfn]);
}

/* get_user_pages_remote() lost its vmas argument in 6.5. */
static inline long compat_get_user_pages_remote(struct mm_struct *mm,
						unsigned long addr,
						unsigned long nr,
						unsigned int flags,
						struct page **pages,
						int *locked)
{
#ifdef KVMI_HAS_GUP_VMAS
	return get_user_pages_remote(mm, addr, nr, flags, pages, NULL, locked);
#else
	return get_user_pages_remote(mm, addr, nr, flags, pages, locked);
#endif
}

#endif /* KVMI_COMPAT_KVM_H */
