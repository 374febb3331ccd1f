// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of a loaded vCPU, and the calls that read and write them.
 *
 * KVM caches registers in vcpu->arch and reads some from the VMCS only when they
 * are asked for; kvm_cache_regs.h, which knows, is private to KVM, so the few
 * accessors that are needed stand here.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../hook.h"

static __always_inline void kvmi_reg_cache(struct kvm_vcpu *vcpu, int reg)
{
	if (!test_bit(reg, (unsigned long *)&vcpu->arch.regs_avail))
		kvm_orig(cache_reg)(vcpu, reg);
}

/**
 * kvmi_reg_read - a general register
 * @vcpu: loaded, or interrupts off
 * @reg: enum kvmi_x86_gpr, up to KVMI_X86_RIP (the same as KVM's VCPU_REGS_*)
 *
 * Return: its value.
 */
u64 kvmi_reg_read(struct kvm_vcpu *vcpu, int reg)
{
	kvmi_reg_cache(vcpu, reg);
	return vcpu->arch.regs[reg];
}

/**
 * kvmi_reg_write - set a general register
 * @vcpu: loaded
 * @reg: VCPU_REGS_*
 * @value: for it
 */
void kvmi_reg_write(struct kvm_vcpu *vcpu, int reg, u64 value)
{
	vcpu->arch.regs[reg] = value;
	__set_bit(reg, (unsigned long *)&vcpu->arch.regs_avail);
	__set_bit(reg, (unsigned long *)&vcpu->arch.regs_dirty);
}

/**
 * kvmi_regs_rip - the instruction pointer
 * @vcpu: loaded, or interrupts off
 *
 * Return: its value.
 */
u64 kvmi_regs_rip(struct kvm_vcpu *vcpu)
{
	return kvmi_reg_read(vcpu, VCPU_REGS_RIP);
}

/**
 * kvmi_regs_cr0 - CR0 as the guest reads it
 * @vcpu: loaded; on SVM after KVM's bookkeeping of the exit
 *
 * Return: its value.
 */
u64 kvmi_regs_cr0(struct kvm_vcpu *vcpu)
{
	if (vcpu->arch.cr0_guest_owned_bits)
		kvmi_reg_cache(vcpu, VCPU_EXREG_CR0);
	return vcpu->arch.cr0;
}

/**
 * kvmi_regs_cr3 - CR3
 * @vcpu: loaded; on SVM after KVM's bookkeeping of the exit
 *
 * Return: its value.
 */
u64 kvmi_regs_cr3(struct kvm_vcpu *vcpu)
{
	kvmi_reg_cache(vcpu, VCPU_EXREG_CR3);
	return vcpu->arch.cr3;
}

/**
 * kvmi_regs_cr4 - CR4 as the guest reads it
 * @vcpu: loaded
 *
 * Return: its value.
 */
u64 kvmi_regs_cr4(struct kvm_vcpu *vcpu)
{
	if (vcpu->arch.cr4_guest_owned_bits)
		kvmi_reg_cache(vcpu, VCPU_EXREG_CR4);
	return vcpu->arch.cr4;
}

/**
 * kvmi_regs_lmsw - CR0 after LMSW or CLTS
 * @vcpu: loaded
 * @value: LMSW's operand
 * @clts: it is CLTS
 *
 * SDM volume 2, "LMSW": PE, MP, EM and TS; PE cannot be cleared.
 *
 * Return: the value.
 */
u64 kvmi_regs_lmsw(struct kvm_vcpu *vcpu, u16 value, bool clts)
{
	u64 cr0 = kvmi_regs_cr0(vcpu);

	if (clts)
		return cr0 & ~X86_CR0_TS;
	return (cr0 & ~(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)) | (value & 15);
}

/**
 * kvmi_regs_64bit - does a vCPU execute 64-bit code?
 * @vcpu: loaded
 *
 * Return: true if so; else the upper halves of registers mean nothing.
 */
bool kvmi_regs_64bit(struct kvm_vcpu *vcpu)
{
	struct kvm_segment cs;

	if (!(vcpu->arch.efer & EFER_LMA))
		return false;
	kvm_call(kvm_get_segment)(vcpu, &cs, VCPU_SREG_CS);
	return cs.l;
}

/**
 * kvmi_regs_get_gprs - KVMI_REGS_GENERAL
 * @vcpu: loaded, or after kvmi_regs_cache()
 * @gprs: filled
 */
void kvmi_regs_get_gprs(struct kvm_vcpu *vcpu, struct kvmi_x86_gprs *gprs)
{
	const unsigned long *regs = vcpu->arch.regs;
	int i;

	kvmi_reg_cache(vcpu, VCPU_REGS_RSP);
	kvmi_reg_cache(vcpu, VCPU_REGS_RIP);
	BUILD_BUG_ON(KVMI_X86_RIP != 16);
	/* Each event pays for this: eight at a time. */
	for (i = 0; i < KVMI_X86_RIP; i += 8) {
		gprs->r[i] = regs[i];
		gprs->r[i + 1] = regs[i + 1];
		gprs->r[i + 2] = regs[i + 2];
		gprs->r[i + 3] = regs[i + 3];
		gprs->r[i + 4] = regs[i + 4];
		gprs->r[i + 5] = regs[i + 5];
		gprs->r[i + 6] = regs[i + 6];
		gprs->r[i + 7] = regs[i + 7];
	}
	gprs->r[KVMI_X86_RIP] = regs[KVMI_X86_RIP];
	gprs->r[KVMI_X86_RFLAGS] = kvm_call(kvm_get_rflags)(vcpu);
}

static void kvmi_regs_get_control(struct kvm_vcpu *vcpu,
				  struct kvmi_x86_control *control)
{
	memset(control, 0, sizeof(*control));
	control->cr0 = kvmi_regs_cr0(vcpu);
	control->cr2 = vcpu->arch.cr2;
	control->cr3 = kvmi_regs_cr3(vcpu);
	control->cr4 = kvmi_regs_cr4(vcpu);
	control->cr8 = kvm_call(kvm_get_cr8)(vcpu);
	control->efer = vcpu->arch.efer;
}

static void kvmi_regs_get_segment(struct kvm_vcpu *vcpu,
				  struct kvmi_x86_segment *out, int seg)
{
	struct kvm_segment s;

	kvm_call(kvm_get_segment)(vcpu, &s, seg);
	out->base = s.base;
	out->limit = s.limit;
	out->selector = s.selector;
	out->attr = s.type | s.s << 4 | s.dpl << 5 | s.present << 7 |
		    s.avl << 8 | s.l << 9 | s.db << 10 | s.g << 11 |
		    s.unusable << 15;
}

static void kvmi_regs_get_segments(struct kvm_vcpu *vcpu,
				   struct kvmi_x86_segments *segs)
{
	struct desc_ptr dt;

	memset(segs, 0, sizeof(*segs));
	kvmi_regs_get_segment(vcpu, &segs->cs, VCPU_SREG_CS);
	kvmi_regs_get_segment(vcpu, &segs->ds, VCPU_SREG_DS);
	kvmi_regs_get_segment(vcpu, &segs->es, VCPU_SREG_ES);
	kvmi_regs_get_segment(vcpu, &segs->fs, VCPU_SREG_FS);
	kvmi_regs_get_segment(vcpu, &segs->gs, VCPU_SREG_GS);
	kvmi_regs_get_segment(vcpu, &segs->ss, VCPU_SREG_SS);
	kvmi_regs_get_segment(vcpu, &segs->tr, VCPU_SREG_TR);
	kvmi_regs_get_segment(vcpu, &segs->ldt, VCPU_SREG_LDTR);
	kvm_orig(get_gdt)(vcpu, &dt);
	segs->gdt.base = dt.address;
	segs->gdt.limit = dt.size;
	kvm_orig(get_idt)(vcpu, &dt);
	segs->idt.base = dt.address;
	segs->idt.limit = dt.size;
}

/**
 * kvmi_regs_cache - have KVM keep the general registers in memory
 * @vcpu: loaded; until it runs again they can be read without loading it
 */
void kvmi_regs_cache(struct kvm_vcpu *vcpu)
{
	kvmi_reg_cache(vcpu, VCPU_REGS_RSP);
	kvmi_reg_cache(vcpu, VCPU_REGS_RIP);
	kvm_call(kvm_get_rflags)(vcpu);
}

/**
 * kvmi_regs_fill - read register sets
 * @kv: the vCPU, loaded
 * @sets: KVMI_REGS_*
 * @buf: kvmi_regs_size(@sets) bytes
 */
void kvmi_regs_fill(struct kvmi_vcpu *kv, u32 sets, void *buf)
{
	if (sets & KVMI_REGS_GENERAL) {
		kvmi_regs_get_gprs(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_gprs);
	}
	if (sets & KVMI_REGS_CONTROL) {
		kvmi_regs_get_control(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_control);
	}
	if (sets & KVMI_REGS_SEGMENT) {
		kvmi_regs_get_segments(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_segments);
	}
	if (sets & KVMI_REGS_DEBUG) {
		kvmi_state_get_debug(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_debug);
	}
	if (sets & KVMI_REGS_SYSCALL) {
		kvmi_state_get_syscall(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_syscall);
	}
	if (sets & KVMI_REGS_XCR) {
		kvmi_state_get_xcr(kv->vcpu, buf);
		buf += sizeof(struct kvmi_x86_xcr);
	}
	if (sets & KVMI_REGS_EVENTS)
		kvmi_state_get_events(kv->vcpu, buf);
}

/* Where a set stands in a buffer of several. */
static void *kvmi_regs_at(u32 sets, u32 set, void *buf)
{
	return buf + kvmi_regs_size(sets & (set - 1));
}

/**
 * kvmi_regs_set_gprs - write general registers
 * @kv: the vCPU, loaded
 * @mask: bit n: write register n of enum kvmi_x86_gpr
 * @gprs: values
 */
void kvmi_regs_set_gprs(struct kvmi_vcpu *kv, u32 mask,
			const struct kvmi_x86_gprs *gprs)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	int i;

	for (i = 0; i <= KVMI_X86_RIP; i++)
		if (mask & BIT(i))
			kvmi_reg_write(vcpu, i, gprs->r[i]);
	if (mask & BIT(KVMI_X86_RFLAGS))
		kvm_call(kvm_set_rflags)(vcpu, gprs->r[KVMI_X86_RFLAGS] |
					       X86_EFLAGS_FIXED);
	/* As KVM_SET_REGS does: what can be injected may have changed. */
	kvm_make_request(KVM_REQ_EVENT, vcpu);
}

/**
 * kvmi_regs_bookmark - what tells whether the VMM has changed a vCPU
 * @kv: the vCPU, loaded; KVM's bookkeeping of the exit done
 * @mark: filled, padding included
 */
void kvmi_regs_bookmark(struct kvmi_vcpu *kv, struct kvmi_bookmark *mark)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_segment cs;

	memset(mark, 0, sizeof(*mark));
	mark->rip = kvmi_regs_rip(vcpu);
	mark->rsp = kvmi_reg_read(vcpu, VCPU_REGS_RSP);
	mark->rflags = kvm_call(kvm_get_rflags)(vcpu);
	mark->cr0 = kvmi_regs_cr0(vcpu);
	mark->cr3 = kvmi_regs_cr3(vcpu);
	mark->cr4 = kvmi_regs_cr4(vcpu);
	kvm_call(kvm_get_segment)(vcpu, &cs, VCPU_SREG_CS);
	mark->cs = cs.selector;
	mark->cs_base = cs.base;
	mark->mp_state = vcpu->arch.mp_state;
	mark->hflags = vcpu->arch.hflags & (HF_GUEST_MASK | HF_SMM_MASK);
}

/* ---- the ioctls ---------------------------------------------------------------- */

/* What has no meaning yet must be 0, so that it can get one. */
static int kvmi_regs_check(u32 sets, void *buf)
{
	const struct kvmi_x86_control *control;
	const struct kvmi_x86_events *events;
	const struct kvmi_x86_segments *segs;
	const struct kvmi_x86_segment *seg;

	if (sets & KVMI_REGS_CONTROL) {
		control = kvmi_regs_at(sets, KVMI_REGS_CONTROL, buf);
		if (memchr_inv(control->reserved, 0, sizeof(control->reserved)))
			return -EINVAL;
	}
	if (sets & KVMI_REGS_SEGMENT) {
		segs = kvmi_regs_at(sets, KVMI_REGS_SEGMENT, buf);
		for (seg = &segs->cs; seg <= &segs->ldt; seg++)
			if (seg->attr & GENMASK(14, 12))
				return -EINVAL;
		if (memchr_inv(segs->gdt.pad, 0, sizeof(segs->gdt.pad)) ||
		    memchr_inv(segs->idt.pad, 0, sizeof(segs->idt.pad)))
			return -EINVAL;
	}
	if (sets & KVMI_REGS_EVENTS) {
		events = kvmi_regs_at(sets, KVMI_REGS_EVENTS, buf);
		if (memchr_inv(events->reserved, 0, sizeof(events->reserved)))
			return -EINVAL;
	}
	return 0;
}

struct kvmi_regs_job {
	u32 sets;
	bool write;
	void *buf;
	void *old;		/* when writing: room for what there was */
};

static void kvmi_regs_to_sregs(const struct kvmi_x86_segment *in,
			       struct kvm_segment *s)
{
	s->base = in->base;
	s->limit = in->limit;
	s->selector = in->selector;
	s->type = in->attr & 15;
	s->s = in->attr >> 4 & 1;
	s->dpl = in->attr >> 5 & 3;
	s->present = in->attr >> 7 & 1;
	s->avl = in->attr >> 8 & 1;
	s->l = in->attr >> 9 & 1;
	s->db = in->attr >> 10 & 1;
	s->g = in->attr >> 11 & 1;
	s->unusable = in->attr >> 15 & 1;
}

static int kvmi_regs_set_sregs(struct kvmi_vcpu *kv, u32 sets, void *buf,
			       bool in_run)
{
	const struct kvmi_x86_control *control;
	const struct kvmi_x86_segments *segs;
	struct kvm_vcpu *vcpu = kv->vcpu;
	struct kvm_sregs *sregs;
	int ret;

	sregs = kzalloc(sizeof(*sregs), GFP_KERNEL_ACCOUNT);
	if (!sregs)
		return -ENOMEM;

	/*
	 * KVM's own calls load the vCPU, which must not be loaded twice: the
	 * preemption notifier would be registered twice.
	 */
	kvm_call(vcpu_put)(vcpu);
	ret = kvm_call(kvm_arch_vcpu_ioctl_get_sregs)(vcpu, sregs);
	if (ret)
		goto out;

	if (sets & KVMI_REGS_CONTROL) {
		control = kvmi_regs_at(sets, KVMI_REGS_CONTROL, buf);
		sregs->cr0 = control->cr0;
		sregs->cr2 = control->cr2;
		sregs->cr3 = control->cr3;
		sregs->cr4 = control->cr4;
		sregs->cr8 = control->cr8;
		sregs->efer = control->efer;
	}
	if (sets & KVMI_REGS_SEGMENT) {
		segs = kvmi_regs_at(sets, KVMI_REGS_SEGMENT, buf);
		kvmi_regs_to_sregs(&segs->cs, &sregs->cs);
		kvmi_regs_to_sregs(&segs->ds, &sregs->ds);
		kvmi_regs_to_sregs(&segs->es, &sregs->es);
		kvmi_regs_to_sregs(&segs->fs, &sregs->fs);
		kvmi_regs_to_sregs(&segs->gs, &sregs->gs);
		kvmi_regs_to_sregs(&segs->ss, &sregs->ss);
		kvmi_regs_to_sregs(&segs->tr, &sregs->tr);
		kvmi_regs_to_sregs(&segs->ldt, &sregs->ldt);
		sregs->gdt.base = segs->gdt.base;
		sregs->gdt.limit = segs->gdt.limit;
		sregs->idt.base = segs->idt.base;
		sregs->idt.limit = segs->idt.limit;
	}

	/*
	 * With PAE paging KVM reads the PDPTRs from guest memory, by the
	 * addresses of the VMM: only in a thread of the VMM.
	 */
	ret = -EAGAIN;
	if (!in_run && (sregs->cr0 & X86_CR0_PG) && (sregs->cr4 & X86_CR4_PAE) &&
	    !(sregs->efer & EFER_LMA))
		goto out;
	/* It queues this "interrupt" anew; what is pending stays. */
	ret = kvm_call(kvm_arch_vcpu_ioctl_set_sregs)(vcpu, sregs);
out:
	kvm_call(vcpu_load)(vcpu);
	kfree(sregs);
	return ret;
}

static int kvmi_regs_set_one(struct kvmi_vcpu *kv, u32 sets, u32 set, void *buf,
			     bool in_run)
{
	void *at = kvmi_regs_at(sets, set, buf);

	switch (set) {
	case KVMI_REGS_CONTROL:
	case KVMI_REGS_SEGMENT:
		/* Together: KVM checks the one against the other. */
		if (set == KVMI_REGS_SEGMENT && (sets & KVMI_REGS_CONTROL))
			return 0;
		return kvmi_regs_set_sregs(kv, sets, buf, in_run);
	case KVMI_REGS_DEBUG:
		return kvmi_state_set_debug(kv->vcpu, at);
	case KVMI_REGS_SYSCALL:
		return kvmi_state_set_syscall(kv->vcpu, at);
	case KVMI_REGS_XCR:
		return kvmi_state_set_xcr(kv->vcpu, at);
	case KVMI_REGS_EVENTS:
		return kvmi_state_set_events(kv->vcpu, at);
	default:
		kvmi_regs_set_gprs(kv, GENMASK(KVMI_X86_NR_GPRS - 1, 0), at);
		return 0;
	}
}

static int kvmi_regs_do(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	struct kvmi_regs_job *job = arg;
	u32 set, last = KVMI_REGS_ALL + 1;
	int ret = 0;

	if (!job->write) {
		kvmi_regs_fill(kv, job->sets, job->buf);
		return 0;
	}

	/* All is written, or nothing: what there was is valid. */
	kvmi_regs_fill(kv, job->sets, job->old);
	for (set = 1; set < last && !ret; set <<= 1)
		if (job->sets & set)
			ret = kvmi_regs_set_one(kv, job->sets, set, job->buf,
						in_run);
	if (!ret)
		return 0;
	for (last = set, set = 1; set < last; set <<= 1)
		if (job->sets & set)
			kvmi_regs_set_one(kv, job->sets, set, job->old, in_run);
	return ret;
}

/**
 * kvmi_regs_set - KVMI_REPLY_SETS
 * @kv: the vCPU, loaded; called on its thread within KVM_RUN
 * @sets: KVMI_REGS_*
 * @buf: values
 *
 * Return: 0; -EINVAL, -ENOMEM and nothing is set.
 */
int kvmi_regs_set(struct kvmi_vcpu *kv, u32 sets, void *buf)
{
	struct kvmi_regs_job job = { .sets = sets, .write = true, .buf = buf };
	int ret;

	ret = kvmi_regs_check(sets, buf);
	if (ret)
		return ret;
	job.old = kmalloc(kvmi_regs_size(sets), GFP_KERNEL_ACCOUNT);
	if (!job.old)
		return -ENOMEM;
	ret = kvmi_regs_do(kv, &job, true);
	kfree(job.old);
	return ret;
}

/**
 * kvmi_regs_act_with - KVMI_REPLY_VALUE: continue, with another value
 * @kv: the vCPU; called on its thread, kvm->srcu held
 * @ex: the exit; its @value is not KVMI_VALUE_NONE
 * @value: what the instruction is to move
 *
 * KVM takes the value from the guest's registers, which have it for that moment.
 *
 * Return: as kvm_x86_ops.handle_exit.
 */
int kvmi_regs_act_with(struct kvmi_vcpu *kv, struct kvmi_exit *ex, u64 value)
{
	struct kvm_vcpu *vcpu = kv->vcpu;
	int reg = ex->value == KVMI_VALUE_REG ? ex->source : VCPU_REGS_RAX;
	u64 old = kvmi_reg_read(vcpu, reg);
	u64 rdx = kvmi_reg_read(vcpu, VCPU_REGS_RDX);
	u64 mask;
	int ret;

	if (ex->value == KVMI_VALUE_ELEMENT)
		return kvmi_io_continue_with(kv, ex, value);
	if (ex->value == KVMI_VALUE_IN || ex->value == KVMI_VALUE_OUT) {
		/* Of 32 bits, what it writes clears the rest. */
		mask = GENMASK(8 * ex->payload.io.bytes - 1, 0);
		if (ex->value == KVMI_VALUE_IN && ex->payload.io.bytes == 4)
			old = 0;
		kvmi_reg_write(vcpu, reg, (old & ~mask) | (value & mask));
	} else if (ex->value == KVMI_VALUE_REG) {
		kvmi_reg_write(vcpu, reg, value);
	} else {
		kvmi_reg_write(vcpu, VCPU_REGS_RAX, lower_32_bits(value));
		kvmi_reg_write(vcpu, VCPU_REGS_RDX, upper_32_bits(value));
	}
	if (ex->value == KVMI_VALUE_TO_EDX_EAX || ex->value == KVMI_VALUE_IN)
		return kvmi_exit_skip(kv);

	ret = kvmi_exit_act(kv, ex);
	kvmi_reg_write(vcpu, reg, old);
	if (ex->value == KVMI_VALUE_EDX_EAX)
		kvmi_reg_write(vcpu, VCPU_REGS_RDX, rdx);
	return ret;
}

/* Of one that is parked, without waking it: see kvmi_vcpu_sleep(). */
static bool kvmi_regs_get_parked(struct kvmi_vcpu *kv, void *buf)
{
	bool parked;

	/* A job may be about to change them. */
	if (!mutex_trylock(&kv->job_lock))
		return false;
	spin_lock(&kv->park_lock);
	parked = kv->parked;
	if (parked)
		kvmi_regs_get_gprs(kv->vcpu, buf);
	spin_unlock(&kv->park_lock);
	mutex_unlock(&kv->job_lock);
	return parked;
}

static int kvmi_regs_rw_one(struct kvmi_vcpu *kv, struct kvmi_regs_job *job,
			    void __user *uaddr, u32 size)
{
	int ret;

	if (job->write) {
		if (copy_from_user(job->buf, uaddr, size))
			return -EFAULT;
		ret = kvmi_regs_check(job->sets, job->buf);
		if (ret)
			return ret;
	}
	if (job->write || job->sets != KVMI_REGS_GENERAL ||
	    !kvmi_regs_get_parked(kv, job->buf)) {
		ret = kvmi_vcpu_run_job(kv, kvmi_regs_do, job);
		if (ret)
			return ret;
	}
	if (!job->write && copy_to_user(uaddr, job->buf, size))
		return -EFAULT;
	return 0;
}

/**
 * kvmi_regs_rw - KVMI_GET_REGS, KVMI_SET_REGS
 * @vm: vm->sem held for reading
 * @args: argument of the ioctl
 * @write: KVMI_SET_REGS
 *
 * Return: 0, -EINVAL (also for values that KVM refuses), -ENOENT, -ENOSPC,
 * -ENOMEM, -EFAULT, -EAGAIN, -EINTR.
 */
int kvmi_regs_rw(struct kvmi_vm *vm, struct kvmi_regs *args, bool write)
{
	union {
		struct kvmi_x86_gprs gprs;
		u8 bytes[KVMI_REGS_MAX_SIZE];
	} buf;
	struct kvmi_regs_job job = {
		.sets = args->sets,
		.write = write,
		.buf = &buf,
	};
	bool all = args->vcpu == KVMI_VCPU_ALL;
	u32 size = kvmi_regs_size(args->sets);
	void __user *uaddr = u64_to_user_ptr(args->buf);
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	if (args->flags || args->pad || !args->sets)
		return -EINVAL;
	if (args->sets & ~KVMI_REGS_ALL)
		return -EOPNOTSUPP;
	if (args->buf_size < (u64)size * (all ? vm->nr_vcpus : 1))
		return -ENOSPC;

	kv = NULL;
	if (!all) {
		kv = xa_load(&vm->vcpus, args->vcpu);
		if (!kv)
			return -ENOENT;
	}
	if (write) {
		job.old = kmalloc(size, GFP_KERNEL_ACCOUNT);
		if (!job.old)
			return -ENOMEM;
	}

	if (kv) {
		ret = kvmi_regs_rw_one(kv, &job, uaddr, size);
	} else {
		ret = 0;
		xa_for_each(&vm->vcpus, i, kv) {
			ret = kvmi_regs_rw_one(kv, &job, uaddr, size);
			if (ret)
				break;
			uaddr += size;
		}
	}
	kfree(job.old);
	return ret;
}
