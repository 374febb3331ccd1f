// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * State and control of one vCPU.
 */
#include "internal.h"

/**
 * kvmi_vcpu_get_info() - What a vCPU is doing
 * @vm: the session
 * @vcpu: its index
 * @info: where to store it
 *
 * Return: 0 or a negative errno; -ENOENT: no such vCPU.
 */
int kvmi_vcpu_get_info(struct kvmi_vm *vm, unsigned int vcpu,
		       struct kvmi_vcpu_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->vcpu = vcpu;
	return kvmi_vm_ioctl(vm, KVMI_GET_VCPU, info, "get vCPU");
}

/**
 * kvmi_vcpu_pause() - Stop a vCPU
 * @vm: the session
 * @vcpu: its index, or KVMI_VCPU_ALL
 *
 * When it returns the vCPU executes no guest instruction until
 * kvmi_vcpu_resume(), or the end of the session. Calls nest.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_pause(struct kvmi_vm *vm, unsigned int vcpu)
{
	struct kvmi_pause arg = { .size = sizeof(arg), .vcpu = vcpu };

	return kvmi_vm_ioctl(vm, KVMI_PAUSE, &arg, "pause");
}

/**
 * kvmi_vcpu_resume() - Let a vCPU go on
 * @vm: the session
 * @vcpu: its index, or KVMI_VCPU_ALL
 *
 * Return: 0 or a negative errno; -EINVAL: not paused.
 */
int kvmi_vcpu_resume(struct kvmi_vm *vm, unsigned int vcpu)
{
	struct kvmi_pause arg = { .size = sizeof(arg), .vcpu = vcpu };

	return kvmi_vm_ioctl(vm, KVMI_RESUME, &arg, "resume");
}

static int regs_ioctl(struct kvmi_vm *vm, unsigned long cmd, unsigned int vcpu,
		      uint32_t sets, void *buf, size_t size, const char *what)
{
	struct kvmi_regs arg = {
		.size = sizeof(arg),
		.vcpu = vcpu,
		.sets = sets,
		.buf = (uintptr_t)buf,
		.buf_size = size < UINT32_MAX ? size : UINT32_MAX,
	};

	return kvmi_vm_ioctl(vm, cmd, &arg, what);
}

/**
 * kvmi_vcpu_get_regs() - Read register sets
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @sets: KVMI_REGS_*
 * @buf: where to store them, in order of bits, without gaps; those of all vCPUs
 *	in order of indices
 * @size: bytes at @buf
 *
 * At any time; a running vCPU runs on.
 *
 * Return: 0 or a negative errno; -ENOSPC: @size is too small; -EAGAIN: not in
 * the vCPU's present state.
 */
int kvmi_vcpu_get_regs(struct kvmi_vm *vm, unsigned int vcpu, uint32_t sets,
		       void *buf, size_t size)
{
	return regs_ioctl(vm, KVMI_GET_REGS, vcpu, sets, buf, size,
			  "get registers");
}

/**
 * kvmi_vcpu_set_regs() - Write register sets
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL
 * @sets: KVMI_REGS_*
 * @buf: the values, in order of bits, without gaps
 * @size: bytes at @buf
 *
 * Return: 0 or a negative errno; -EINVAL: a value that the CPU refuses, and
 * nothing was written.
 */
int kvmi_vcpu_set_regs(struct kvmi_vm *vm, unsigned int vcpu, uint32_t sets,
		       const void *buf, size_t size)
{
	return regs_ioctl(vm, KVMI_SET_REGS, vcpu, sets, (void *)buf, size,
			  "set registers");
}

/**
 * kvmi_vcpu_get_gprs() - Read general registers, RIP and RFLAGS
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_get_gprs(struct kvmi_vm *vm, unsigned int vcpu,
		       struct kvmi_x86_gprs *regs)
{
	return kvmi_vcpu_get_regs(vm, vcpu, KVMI_REGS_GENERAL, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_set_gprs() - Write general registers, RIP and RFLAGS
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: the values
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_set_gprs(struct kvmi_vm *vm, unsigned int vcpu,
		       const struct kvmi_x86_gprs *regs)
{
	return kvmi_vcpu_set_regs(vm, vcpu, KVMI_REGS_GENERAL, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_get_control() - Read control registers and EFER
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_get_control(struct kvmi_vm *vm, unsigned int vcpu,
			  struct kvmi_x86_control *regs)
{
	return kvmi_vcpu_get_regs(vm, vcpu, KVMI_REGS_CONTROL, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_set_control() - Write control registers and EFER
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: the values
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_set_control(struct kvmi_vm *vm, unsigned int vcpu,
			  const struct kvmi_x86_control *regs)
{
	return kvmi_vcpu_set_regs(vm, vcpu, KVMI_REGS_CONTROL, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_get_segments() - Read segment and descriptor-table registers
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_get_segments(struct kvmi_vm *vm, unsigned int vcpu,
			   struct kvmi_x86_segments *regs)
{
	return kvmi_vcpu_get_regs(vm, vcpu, KVMI_REGS_SEGMENT, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_set_segments() - Write segment and descriptor-table registers
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: the values
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_set_segments(struct kvmi_vm *vm, unsigned int vcpu,
			   const struct kvmi_x86_segments *regs)
{
	return kvmi_vcpu_set_regs(vm, vcpu, KVMI_REGS_SEGMENT, regs,
				  sizeof(*regs));
}

/**
 * kvmi_vcpu_get_debug() - Read debug registers
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_get_debug(struct kvmi_vm *vm, unsigned int vcpu,
			struct kvmi_x86_debug *regs)
{
	return kvmi_vcpu_get_regs(vm, vcpu, KVMI_REGS_DEBUG, regs, sizeof(*regs));
}

/**
 * kvmi_vcpu_set_debug() - Write debug registers
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: the values
 *
 * Return: 0 or a negative errno; -EINVAL: KVM refuses them, nothing was written.
 */
int kvmi_vcpu_set_debug(struct kvmi_vm *vm, unsigned int vcpu,
			const struct kvmi_x86_debug *regs)
{
	return kvmi_vcpu_set_regs(vm, vcpu, KVMI_REGS_DEBUG, regs, sizeof(*regs));
}

/**
 * kvmi_vcpu_get_events() - Read pending events, MP state, TSC offset
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: where to store them
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vcpu_get_events(struct kvmi_vm *vm, unsigned int vcpu,
			 struct kvmi_x86_events *regs)
{
	return kvmi_vcpu_get_regs(vm, vcpu, KVMI_REGS_EVENTS, regs, sizeof(*regs));
}

/**
 * kvmi_vcpu_set_events() - Write pending events, MP state, TSC offset
 * @vm: the session
 * @vcpu: index of the vCPU
 * @regs: the values
 *
 * Return: 0 or a negative errno; -EINVAL: KVM refuses them, nothing was written.
 */
int kvmi_vcpu_set_events(struct kvmi_vm *vm, unsigned int vcpu,
			 const struct kvmi_x86_events *regs)
{
	return kvmi_vcpu_set_regs(vm, vcpu, KVMI_REGS_EVENTS, regs, sizeof(*regs));
}

static int state_ioctl(struct kvmi_vm *vm, unsigned long cmd, unsigned int vcpu,
		       enum kvmi_state_kind kind, void *buf, size_t size,
		       size_t *there, const char *what)
{
	struct kvmi_state arg = {
		.size = sizeof(arg),
		.vcpu = vcpu,
		.kind = kind,
		.buf = (uintptr_t)buf,
		.buf_size = size < UINT32_MAX ? size : UINT32_MAX,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, cmd, &arg, what);
	if (there)
		*there = arg.out_size;
	return ret;
}

/**
 * kvmi_vcpu_get_state() - Read state that has no fixed size
 * @vm: the session
 * @vcpu: index of the vCPU
 * @kind: enum kvmi_state_kind
 * @buf: where to store it
 * @size: bytes at @buf
 * @there: where to store how many bytes there are, or NULL; also with -ENOSPC
 *
 * Return: 0 or a negative errno; -ENOSPC: @size is too small; -EOPNOTSUPP: this
 * vCPU has no such state.
 */
int kvmi_vcpu_get_state(struct kvmi_vm *vm, unsigned int vcpu,
			enum kvmi_state_kind kind, void *buf, size_t size,
			size_t *there)
{
	return state_ioctl(vm, KVMI_GET_STATE, vcpu, kind, buf, size, there,
			   "get state");
}

/**
 * kvmi_vcpu_set_state() - Write state that has no fixed size
 * @vm: the session
 * @vcpu: index of the vCPU
 * @kind: KVMI_STATE_XSAVE or KVMI_STATE_LAPIC
 * @buf: the state
 * @size: bytes at @buf, as many as kvmi_vcpu_get_state() says there are
 *
 * Return: 0 or a negative errno; -EINVAL: KVM refuses it, nothing was written.
 */
int kvmi_vcpu_set_state(struct kvmi_vm *vm, unsigned int vcpu,
			enum kvmi_state_kind kind, const void *buf, size_t size)
{
	return state_ioctl(vm, KVMI_SET_STATE, vcpu, kind, (void *)buf, size,
			   NULL, "set state");
}

static int msrs_ioctl(struct kvmi_vm *vm, unsigned long cmd, unsigned int vcpu,
		      struct kvmi_x86_msr *msrs, unsigned int nr,
		      unsigned int *bad, const char *what)
{
	struct kvmi_msrs arg = {
		.size = sizeof(arg),
		.vcpu = vcpu,
		.nr = nr,
		.msrs = (uintptr_t)msrs,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, cmd, &arg, what);
	if (bad)
		*bad = arg.out_bad;
	return ret;
}

/**
 * kvmi_vcpu_get_msrs() - Read a list of MSRs
 * @vm: the session
 * @vcpu: index of the vCPU
 * @msrs: index: which; value and out_error are set
 * @nr: how many, at most KVMI_MAX_MSR_LIST
 *
 * Return: 0 or a negative errno; each entry has its own out_error besides.
 */
int kvmi_vcpu_get_msrs(struct kvmi_vm *vm, unsigned int vcpu,
		       struct kvmi_x86_msr *msrs, unsigned int nr)
{
	return msrs_ioctl(vm, KVMI_GET_MSRS, vcpu, msrs, nr, NULL, "get MSRs");
}

/**
 * kvmi_vcpu_set_msrs() - Write a list of MSRs
 * @vm: the session
 * @vcpu: index of the vCPU
 * @msrs: index and value
 * @nr: how many, at most KVMI_MAX_MSR_LIST
 * @bad: where to store which of them was refused, or NULL
 *
 * All are written, in order, or none.
 *
 * Return: 0 or a negative errno; -EINVAL: KVM refuses one; -EAGAIN: one names
 * guest memory, and the vCPU is outside of KVM_RUN.
 */
int kvmi_vcpu_set_msrs(struct kvmi_vm *vm, unsigned int vcpu,
		       const struct kvmi_x86_msr *msrs, unsigned int nr,
		       unsigned int *bad)
{
	return msrs_ioctl(vm, KVMI_SET_MSRS, vcpu, (void *)msrs, nr, bad,
			  "set MSRs");
}

/**
 * kvmi_vcpu_get_msr() - Read an MSR
 * @vm: the session
 * @vcpu: index of the vCPU
 * @index: of the MSR
 * @value: where to store it
 *
 * Return: 0 or a negative errno; -ENOENT: KVM knows no such MSR.
 */
int kvmi_vcpu_get_msr(struct kvmi_vm *vm, unsigned int vcpu, uint32_t index,
		      uint64_t *value)
{
	struct kvmi_x86_msr msr = { .index = index };
	int ret = kvmi_vcpu_get_msrs(vm, vcpu, &msr, 1);

	if (ret)
		return ret;
	if (msr.out_error)
		return kvmi_error_set(msr.out_error, "get MSR 0x%x: %s", index,
				      strerror(-msr.out_error));
	*value = msr.value;
	return 0;
}

/**
 * kvmi_vcpu_set_msr() - Write an MSR
 * @vm: the session
 * @vcpu: index of the vCPU
 * @index: of the MSR
 * @value: what to write
 *
 * Return: as kvmi_vcpu_set_msrs().
 */
int kvmi_vcpu_set_msr(struct kvmi_vm *vm, unsigned int vcpu, uint32_t index,
		      uint64_t value)
{
	struct kvmi_x86_msr msr = { .index = index, .value = value };

	return kvmi_vcpu_set_msrs(vm, vcpu, &msr, 1, NULL);
}

/**
 * kvmi_vcpu_inject() - Have a vCPU take an exception, interrupt or NMI
 * @vm: the session
 * @vcpu: its index
 * @what: it
 * @injection: where to store what its KVMI_EVENT_INJECTED will name, or NULL
 *
 * At any time; it is queued where the guest cannot take it now.
 *
 * Return: 0 or a negative errno; -EAGAIN: one of its type is on its way already;
 * -EINVAL: no CPU delivers such a one.
 */
int kvmi_vcpu_inject(struct kvmi_vm *vm, unsigned int vcpu,
		     const struct kvmi_x86_injection *what, uint64_t *injection)
{
	struct kvmi_inject arg = {
		.size = sizeof(arg),
		.vcpu = vcpu,
		.what = *what,
	};
	int ret = kvmi_vm_ioctl(vm, KVMI_INJECT, &arg, "inject");

	if (!ret && injection)
		*injection = arg.out_injection;
	return ret;
}

/**
 * kvmi_vcpu_inject_exception() - Have a vCPU take an exception
 * @vm: the session
 * @vcpu: its index
 * @vector: which
 * @error: its error code; 0 where it has none
 * @payload: #PF: CR2; #DB: what is set in DR6; else 0
 *
 * Return: as kvmi_vcpu_inject().
 */
int kvmi_vcpu_inject_exception(struct kvmi_vm *vm, unsigned int vcpu,
			       unsigned int vector, uint32_t error,
			       uint64_t payload)
{
	struct kvmi_x86_injection what = {
		.type = KVMI_X86_INJECT_EXCEPTION,
		.vector = vector,
		.error = error,
		.payload = payload,
	};

	return kvmi_vcpu_inject(vm, vcpu, &what, NULL);
}
