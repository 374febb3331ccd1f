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
 * @vcpu: index of the vCPU
 * @sets: KVMI_REGS_*
 * @buf: where to store them, in order of bits, without gaps
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
 * @vcpu: index of the vCPU
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
