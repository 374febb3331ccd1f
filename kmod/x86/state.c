// SPDX-License-Identifier: GPL-2.0-only
/*
 * State of a vCPU beyond its basic registers: debug registers, MSRs, extended
 * state, LAPIC, CPUID, pending events, and the VMCS or VMCB.
 *
 * All of it is read and written by KVM's own functions for the VMM's ioctls, so
 * that what is written is checked as the VMM's is. They are called on the vCPU's
 * thread, or with vcpu->mutex held (kvmi_vcpu_run_job()).
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>

#include "../hook.h"

/* What KVM_GET_XSAVE2 may be one day: TILEDATA and more. */
#define KVMI_MAX_STATE		SZ_64K

/* ---- register sets ------------------------------------------------------------- */

/**
 * kvmi_state_get_debug - KVMI_REGS_DEBUG
 * @vcpu: loaded; KVM has taken the registers back from the CPU at the exit
 * @debug: filled
 */
void kvmi_state_get_debug(struct kvm_vcpu *vcpu, struct kvmi_x86_debug *debug)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(debug->dr); i++)
		debug->dr[i] = vcpu->arch.db[i];
	debug->dr6 = vcpu->arch.dr6;
	debug->dr7 = vcpu->arch.dr7;
}

/**
 * kvmi_state_set_debug - KVMI_REGS_DEBUG
 * @vcpu: loaded
 * @debug: what to set
 *
 * Return: 0, -EINVAL and nothing is set.
 */
int kvmi_state_set_debug(struct kvm_vcpu *vcpu,
			 const struct kvmi_x86_debug *debug)
{
	int i;

	if (upper_32_bits(debug->dr6) || upper_32_bits(debug->dr7))
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(debug->dr); i++)
		kvm_call(kvm_set_dr)(vcpu, i, debug->dr[i]);
	kvm_call(kvm_set_dr)(vcpu, 6, debug->dr6);
	kvm_call(kvm_set_dr)(vcpu, 7, debug->dr7);
	return 0;
}

/* In order of struct kvmi_x86_syscall. */
static const u32 kvmi_syscall_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

static_assert(sizeof(struct kvmi_x86_syscall) ==
	      ARRAY_SIZE(kvmi_syscall_msrs) * sizeof(u64));

static int kvmi_msr_read(struct kvm_vcpu *vcpu, u32 index, u64 *value)
{
	return kvm_call(__kvm_get_msr)(vcpu, index, value, true) ? -ENOENT : 0;
}

static int kvmi_msr_write(struct kvm_vcpu *vcpu, u32 index, u64 value)
{
	return kvm_call(kvm_set_msr_ignored_check)(vcpu, index, value, true) ?
	       -EINVAL : 0;
}

/**
 * kvmi_state_get_syscall - KVMI_REGS_SYSCALL
 * @vcpu: loaded
 * @syscall: filled
 */
void kvmi_state_get_syscall(struct kvm_vcpu *vcpu,
			    struct kvmi_x86_syscall *syscall)
{
	u64 *value = &syscall->star;
	int i;

	for (i = 0; i < ARRAY_SIZE(kvmi_syscall_msrs); i++)
		if (kvmi_msr_read(vcpu, kvmi_syscall_msrs[i], &value[i]))
			value[i] = 0;
}

/**
 * kvmi_state_set_syscall - KVMI_REGS_SYSCALL
 * @vcpu: loaded
 * @syscall: what to set
 *
 * Return: 0, -EINVAL and some may be set.
 */
int kvmi_state_set_syscall(struct kvm_vcpu *vcpu,
			   const struct kvmi_x86_syscall *syscall)
{
	const u64 *value = &syscall->star;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(kvmi_syscall_msrs); i++) {
		ret = kvmi_msr_write(vcpu, kvmi_syscall_msrs[i], value[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * kvmi_state_get_xcr - KVMI_REGS_XCR
 * @vcpu: loaded
 * @xcr: filled
 */
void kvmi_state_get_xcr(struct kvm_vcpu *vcpu, struct kvmi_x86_xcr *xcr)
{
	xcr->xcr0 = vcpu->arch.xcr0;
	xcr->xss = vcpu->arch.ia32_xss;
}

/**
 * kvmi_state_set_xcr - KVMI_REGS_XCR
 * @vcpu: loaded
 * @xcr: what to set
 *
 * Return: 0, -EINVAL and nothing is set.
 */
int kvmi_state_set_xcr(struct kvm_vcpu *vcpu, const struct kvmi_x86_xcr *xcr)
{
	if (xcr->xss != vcpu->arch.ia32_xss)
		return -EINVAL;
	if (xcr->xcr0 == vcpu->arch.xcr0)
		return 0;
	return kvm_call(__kvm_set_xcr)(vcpu, 0, xcr->xcr0) ? -EINVAL : 0;
}

/**
 * kvmi_state_get_events - KVMI_REGS_EVENTS
 * @vcpu: loaded
 * @events: filled
 */
void kvmi_state_get_events(struct kvm_vcpu *vcpu,
			   struct kvmi_x86_events *events)
{
	struct kvm_vcpu_events ev = {};

	kvm_call(kvm_vcpu_ioctl_x86_get_vcpu_events)(vcpu, &ev);
	memset(events, 0, sizeof(*events));

	events->exception = ev.exception.nr;
	if (ev.exception.injected)
		events->exception_flags |= KVMI_X86_EVENT_INJECTED;
	if (ev.exception.pending)
		events->exception_flags |= KVMI_X86_EVENT_PENDING;
	if (ev.exception.has_error_code)
		events->exception_flags |= KVMI_X86_EVENT_ERROR;
	if (ev.exception_has_payload)
		events->exception_flags |= KVMI_X86_EVENT_PAYLOAD;
	events->error = ev.exception.error_code;
	events->payload = ev.exception_payload;

	events->interrupt = ev.interrupt.nr;
	if (ev.interrupt.injected)
		events->interrupt_flags |= KVMI_X86_EVENT_INJECTED;
	if (ev.interrupt.soft)
		events->interrupt_flags |= KVMI_X86_EVENT_SOFT;

	if (ev.nmi.injected)
		events->nmi_flags |= KVMI_X86_EVENT_INJECTED;
	if (ev.nmi.pending)
		events->nmi_flags |= KVMI_X86_EVENT_PENDING;
	if (ev.nmi.masked)
		events->nmi_flags |= KVMI_X86_EVENT_MASKED;

	if (ev.interrupt.shadow & KVM_X86_SHADOW_INT_STI)
		events->shadow |= KVMI_X86_SHADOW_STI;
	if (ev.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS)
		events->shadow |= KVMI_X86_SHADOW_MOV_SS;

	events->smm = ev.smi.smm;
	events->triple_fault = kvm_test_request(KVM_REQ_TRIPLE_FAULT, vcpu);
	events->mp_state = vcpu->arch.mp_state;
	events->tsc_offset = vcpu->arch.l1_tsc_offset;
}

static int kvmi_state_check_events(struct kvm_vcpu *vcpu,
				   const struct kvmi_x86_events *events)
{
	u8 both = KVMI_X86_EVENT_PENDING | KVMI_X86_EVENT_INJECTED;

	if (events->exception_flags & ~(both | KVMI_X86_EVENT_ERROR |
					KVMI_X86_EVENT_PAYLOAD))
		return -EINVAL;
	if (events->interrupt_flags & ~(KVMI_X86_EVENT_INJECTED |
					KVMI_X86_EVENT_SOFT))
		return -EINVAL;
	if (events->nmi_flags & ~(both | KVMI_X86_EVENT_MASKED))
		return -EINVAL;
	if (events->shadow & ~(KVMI_X86_SHADOW_STI | KVMI_X86_SHADOW_MOV_SS))
		return -EINVAL;
	/* An NMI has a way of its own, and there are no more exceptions. */
	if ((events->exception_flags & both) &&
	    (events->exception > 31 || events->exception == NMI_VECTOR))
		return -EINVAL;
	if (events->smm != !!(vcpu->arch.hflags & HF_SMM_MASK) ||
	    events->triple_fault != kvm_test_request(KVM_REQ_TRIPLE_FAULT, vcpu))
		return -EINVAL;
	return 0;
}

/**
 * kvmi_state_set_events - KVMI_REGS_EVENTS
 * @vcpu: loaded
 * @events: what to set
 *
 * Return: 0, -EINVAL and nothing is set.
 */
int kvmi_state_set_events(struct kvm_vcpu *vcpu,
			  const struct kvmi_x86_events *events)
{
	struct kvm_mp_state mp = { .mp_state = events->mp_state };
	u8 exception = events->exception_flags;
	struct kvm_vcpu_events ev = {};
	int ret;

	ret = kvmi_state_check_events(vcpu, events);
	if (ret)
		return ret;

	/* May refuse, so it comes first. It loads the vCPU itself. */
	if (events->mp_state != vcpu->arch.mp_state) {
		kvm_call(vcpu_put)(vcpu);
		ret = kvm_call(kvm_arch_vcpu_ioctl_set_mpstate)(vcpu, &mp);
		kvm_call(vcpu_load)(vcpu);
		if (ret)
			return -EINVAL;
	}

	ev.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (vcpu->kvm->arch.exception_payload_enabled)
		ev.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	ev.exception.nr = events->exception;
	ev.exception.injected = !!(exception & KVMI_X86_EVENT_INJECTED);
	ev.exception.pending = !!(exception & KVMI_X86_EVENT_PENDING);
	ev.exception.has_error_code = !!(exception & KVMI_X86_EVENT_ERROR);
	ev.exception.error_code = events->error;
	ev.exception_has_payload = !!(exception & KVMI_X86_EVENT_PAYLOAD);
	ev.exception_payload = events->payload;
	/* Without the VMM's consent to payloads KVM knows injected ones only. */
	if (!vcpu->kvm->arch.exception_payload_enabled)
		ev.exception.injected |= ev.exception.pending;
	ev.interrupt.nr = events->interrupt;
	ev.interrupt.injected = !!(events->interrupt_flags &
				   KVMI_X86_EVENT_INJECTED);
	ev.interrupt.soft = !!(events->interrupt_flags & KVMI_X86_EVENT_SOFT);
	if (events->shadow & KVMI_X86_SHADOW_STI)
		ev.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
	if (events->shadow & KVMI_X86_SHADOW_MOV_SS)
		ev.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
	ev.nmi.injected = !!(events->nmi_flags & KVMI_X86_EVENT_INJECTED);
	ev.nmi.pending = !!(events->nmi_flags & KVMI_X86_EVENT_PENDING);
	ev.nmi.masked = !!(events->nmi_flags & KVMI_X86_EVENT_MASKED);

	ret = kvm_call(kvm_vcpu_ioctl_x86_set_vcpu_events)(vcpu, &ev);
	if (ret)
		return -EINVAL;
	if (events->tsc_offset != vcpu->arch.l1_tsc_offset) {
		kvm_call(kvm_vcpu_write_tsc_offset)(vcpu, events->tsc_offset);
		/* kvmclock is computed from it. */
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	}
	return 0;
}

/* ---- MSRs ---------------------------------------------------------------------------- */

struct kvmi_msrs_job {
	struct kvmi_x86_msr *msrs;
	u64 *old;
	u32 nr;
	u32 bad;
	bool write;
};

/* Those with which the guest names memory: KVM accesses it in the current mm. */
static bool kvmi_msr_is_memory(u32 index)
{
	return index == 0x11 || index == 0x12 ||
	       (index >= 0x4b564d00 && index <= 0x4b564dff) ||
	       (index >= 0x40000000 && index <= 0x400001ff);
}

static int kvmi_state_write_msrs(struct kvm_vcpu *vcpu,
				 struct kvmi_msrs_job *job, bool in_run)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < job->nr && !ret; i++) {
		u32 index = job->msrs[i].index;

		if (!in_run && kvmi_msr_is_memory(index))
			ret = -EAGAIN;
		else if (kvmi_msr_read(vcpu, index, &job->old[i]))
			ret = -EINVAL;
		else
			ret = kvmi_msr_write(vcpu, index, job->msrs[i].value);
	}
	if (!ret)
		return 0;
	/* Back, the last first: they may depend on each other. */
	job->bad = --i;
	while (i--)
		kvmi_msr_write(vcpu, job->msrs[i].index, job->old[i]);
	return ret;
}

static int kvmi_state_msrs_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvmi_msrs_job *job = arg;
	struct kvmi_x86_msr *msr;
	int ret = 0;
	u32 i;

	/* Some are addresses of guest memory. */
	kvm_vcpu_srcu_read_lock(vcpu);
	if (job->write) {
		ret = kvmi_state_write_msrs(vcpu, job, in_run);
	} else {
		for (i = 0; i < job->nr; i++) {
			msr = &job->msrs[i];
			msr->value = 0;
			msr->out_error = kvmi_msr_read(vcpu, msr->index,
						       &msr->value);
		}
	}
	kvm_vcpu_srcu_read_unlock(vcpu);
	return ret;
}

/**
 * kvmi_state_msrs - KVMI_GET_MSRS, KVMI_SET_MSRS
 * @vm: vm->sem held for reading
 * @args: argument of the ioctl
 * @write: KVMI_SET_MSRS
 *
 * Return: 0, -EINVAL, -ENOENT, -ENOMEM, -EFAULT, -EAGAIN, -EINTR.
 */
int kvmi_state_msrs(struct kvmi_vm *vm, struct kvmi_msrs *args, bool write)
{
	size_t size = (size_t)args->nr * sizeof(struct kvmi_x86_msr);
	void __user *uaddr = u64_to_user_ptr(args->msrs);
	struct kvmi_msrs_job job = { .nr = args->nr, .write = write };
	struct kvmi_vcpu *kv;
	int ret;

	if (args->flags || args->pad || !args->nr ||
	    args->nr > KVMI_MAX_MSR_LIST)
		return -EINVAL;
	kv = xa_load(&vm->vcpus, args->vcpu);
	if (!kv)
		return -ENOENT;

	job.msrs = vmemdup_user(uaddr, size);
	if (IS_ERR(job.msrs))
		return PTR_ERR(job.msrs);
	ret = -ENOMEM;
	if (write) {
		job.old = kvcalloc(args->nr, sizeof(*job.old),
				   GFP_KERNEL_ACCOUNT);
		if (!job.old)
			goto out;
	}
	ret = kvmi_vcpu_run_job(kv, kvmi_state_msrs_job, &job);
	args->out_bad = job.bad;
	if (!ret && !write && copy_to_user(uaddr, job.msrs, size))
		ret = -EFAULT;
	kvfree(job.old);
out:
	kvfree(job.msrs);
	return ret;
}

/* ---- state without a fixed size ------------------------------------------------------ */

struct kvmi_state_job {
	u32 kind;
	bool write;
	void *buf;
	u32 size;		/* of @buf */
	u32 out;		/* what there is */
};

/*
 * Within KVM_RUN the guest's FPU registers are in the CPU, or were saved when the
 * thread slept: have them saved now, and loaded anew before the entry.
 */
static void kvmi_state_sync_fpu(bool in_run)
{
	if (in_run) {
		kernel_fpu_begin();
		kernel_fpu_end();
	}
}

static int kvmi_state_xsave(struct kvm_vcpu *vcpu, struct kvmi_state_job *job,
			    bool in_run)
{
	struct fpu_guest *fpu = &vcpu->arch.guest_fpu;
	u64 xcr0 = vcpu->arch.guest_supported_xcr0 | XFEATURE_MASK_FPSSE;

	/* Those of a confidential guest, which is not attached to. */
	if (!fpu->fpstate)
		return -EOPNOTSUPP;
	job->out = fpu->uabi_size;
	if (job->size < job->out)
		return job->write ? -EINVAL : -ENOSPC;

	kvmi_state_sync_fpu(in_run);
	if (job->write)
		return fpu_copy_uabi_to_guest_fpstate(fpu, job->buf, xcr0,
						      &vcpu->arch.pkru) ?
		       -EINVAL : 0;
	fpu_copy_guest_fpstate_to_uabi(fpu, job->buf, job->out, xcr0,
				       vcpu->arch.pkru);
	return 0;
}

static int kvmi_state_lapic(struct kvm_vcpu *vcpu, struct kvmi_state_job *job)
{
	if (!vcpu->arch.apic)
		return -EOPNOTSUPP;
	job->out = sizeof(struct kvm_lapic_state);
	if (job->size < job->out)
		return job->write ? -EINVAL : -ENOSPC;

	if (job->write)
		return kvm_call(kvm_apic_set_state)(vcpu, job->buf) ?
		       -EINVAL : 0;
	/* What hardware was to deliver by itself is pending as well. */
	kvm_orig(sync_pir_to_irr)(vcpu);
	return kvm_call(kvm_apic_get_state)(vcpu, job->buf) ? -EINVAL : 0;
}

static int kvmi_state_cpuid(struct kvm_vcpu *vcpu, struct kvmi_state_job *job)
{
	struct kvm_cpuid_entry2 *from = vcpu->arch.cpuid_entries;
	struct kvmi_x86_cpuid_entry *to = job->buf;
	int i;

	job->out = vcpu->arch.cpuid_nent * sizeof(*to);
	if (job->size < job->out)
		return -ENOSPC;
	for (i = 0; i < vcpu->arch.cpuid_nent; i++) {
		to[i].function = from[i].function;
		to[i].index = from[i].index;
		to[i].flags = !!(from[i].flags &
				 KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		to[i].eax = from[i].eax;
		to[i].ebx = from[i].ebx;
		to[i].ecx = from[i].ecx;
		to[i].edx = from[i].edx;
		to[i].pad = 0;
	}
	return 0;
}

static int kvmi_state_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	struct kvmi_state_job *job = arg;

	switch (job->kind) {
	case KVMI_STATE_XSAVE:
		return kvmi_state_xsave(kv->vcpu, job, in_run);
	case KVMI_STATE_LAPIC:
		return kvmi_state_lapic(kv->vcpu, job);
	case KVMI_STATE_CPUID:
		return kvmi_state_cpuid(kv->vcpu, job);
	default:
		job->out = kvmi_ops->control(kv, job->buf, job->size);
		return job->size < job->out ? -ENOSPC : 0;
	}
}

/**
 * kvmi_state_rw - KVMI_GET_STATE, KVMI_SET_STATE
 * @vm: vm->sem held for reading
 * @args: argument of the ioctl; out_size is set in any case
 * @write: KVMI_SET_STATE
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -ENOSPC, -ENOMEM, -EFAULT, -EINTR.
 */
int kvmi_state_rw(struct kvmi_vm *vm, struct kvmi_state *args, bool write)
{
	void __user *uaddr = u64_to_user_ptr(args->buf);
	struct kvmi_state_job job = {
		.kind = args->kind,
		.write = write,
		.size = min_t(u32, args->buf_size, KVMI_MAX_STATE),
	};
	struct kvmi_vcpu *kv;
	int ret;

	args->out_size = 0;
	if (args->flags)
		return -EINVAL;
	if (args->kind < KVMI_STATE_XSAVE || args->kind > KVMI_STATE_CONTROL)
		return -EOPNOTSUPP;
	if (write && args->kind != KVMI_STATE_XSAVE &&
	    args->kind != KVMI_STATE_LAPIC)
		return -EINVAL;
	kv = xa_load(&vm->vcpus, args->vcpu);
	if (!kv)
		return -ENOENT;

	job.buf = kvzalloc(max_t(u32, job.size, 1), GFP_KERNEL_ACCOUNT);
	if (!job.buf)
		return -ENOMEM;
	ret = -EFAULT;
	if (write && copy_from_user(job.buf, uaddr, job.size))
		goto out;
	ret = kvmi_vcpu_run_job(kv, kvmi_state_job, &job);
	args->out_size = job.out;
	if (!ret && !write && copy_to_user(uaddr, job.buf, job.out))
		ret = -EFAULT;
out:
	kvfree(job.buf);
	return ret;
}
