// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, /dev/kvmi, and what it can do.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "hook.h"
#include "poll.h"
#include "vmlist.h"

/**
 * kvmi_caps_get - KVMI_GET_CAPS
 * @vm: the session's VM, or NULL: what it can have is less than what the host can
 * @uarg: argument of the ioctl
 *
 * Return: 0, -EINVAL, -E2BIG, -EFAULT.
 */
int kvmi_caps_get(struct kvmi_vm *vm, void __user *uarg)
{
	u32 vendor = kvmi_hook_vendor();
	struct kvmi_caps caps;
	u32 size;
	int ret;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < offsetofend(struct kvmi_caps, reserved))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&caps, sizeof(caps), uarg, size);
	if (ret)
		return ret;
	if (caps.flags)
		return -EINVAL;

	memset_after(&caps, 0, flags);
	caps.out_abi = KVMI_ABI_VERSION;
	caps.out_arch = KVMI_ARCH_X86;
	caps.out_vendor = vendor;
	caps.out_max_views = KVMI_MAX_VIEWS;
	caps.out_features = KVMI_FEATURE_VIEWS | KVMI_FEATURE_STEP |
			    KVMI_FEATURE_PAUSE | KVMI_FEATURE_MEMORY |
			    KVMI_FEATURE_REGS | KVMI_FEATURE_STATE |
			    KVMI_FEATURE_MSRS | KVMI_FEATURE_RW_LIST |
			    KVMI_FEATURE_VIRT | KVMI_FEATURE_MAP |
			    KVMI_FEATURE_HOST_MSRS | KVMI_FEATURE_INJECT |
			    KVMI_FEATURE_STOP | KVMI_FEATURE_NETLINK |
			    KVMI_FEATURE_HOLD | KVMI_FEATURE_STATS |
			    KVMI_FEATURE_NARROW | KVMI_FEATURE_BATCH |
			    KVMI_FEATURE_VIEW_INFO | KVMI_FEATURE_REMAP |
			    KVMI_FEATURE_RELAX | KVMI_FEATURE_ELEMENTS |
			    KVMI_FEATURE_NO_WALKS | KVMI_FEATURE_BYTES |
			    KVMI_FEATURE_LINK | KVMI_FEATURE_SNAPSHOT |
			    KVMI_FEATURE_STAND_IN | KVMI_FEATURE_BREAKPOINTS;
	if (!kvmi_clock_check())
		caps.out_features |= KVMI_FEATURE_STOP_CLOCKS;
	caps.out_events = kvmi_kinds();
	if (vm && !vm->view_hooks) {
		caps.out_max_views = 0;
		caps.out_features &= ~(KVMI_FEATURE_VIEWS |
				       KVMI_FEATURE_VIEW_INFO |
				       KVMI_FEATURE_REMAP | KVMI_FEATURE_RELAX |
				       KVMI_FEATURE_NO_WALKS |
				       KVMI_FEATURE_BYTES |
				       KVMI_FEATURE_LINK |
				       KVMI_FEATURE_SNAPSHOT |
				       KVMI_FEATURE_STAND_IN |
				       KVMI_FEATURE_BREAKPOINTS);
		caps.out_events &= ~BIT_ULL(KVMI_EVENT_ACCESS);
	}
	caps.out_actions = BIT(KVMI_ACTION_CONTINUE) | BIT(KVMI_ACTION_RETRY) |
			   BIT(KVMI_ACTION_SKIP) | BIT(KVMI_ACTION_CRASH);
	caps.out_reply_flags = KVMI_REPLY_REGS | KVMI_REPLY_VIEW |
			       KVMI_REPLY_STEP | KVMI_REPLY_FAST_STEP |
			       KVMI_REPLY_INJECT | KVMI_REPLY_VALUE |
			       KVMI_REPLY_SETS | KVMI_REPLY_STAND_IN;
	caps.out_regs = KVMI_REGS_ALL;
	caps.out_regs_set = KVMI_REGS_ALL;
	if (vendor == KVMI_VENDOR_AMD)
		caps.out_access = kvmi_svm_ops.access();
	else if (vendor == KVMI_VENDOR_INTEL)
		caps.out_access = kvmi_vmx_ops.access();
	caps.out_max_msrs = KVMI_MAX_MSRS;
	caps.out_min_ring = KVMI_MIN_RING;
	caps.out_max_ring = KVMI_MAX_RING;

	if (copy_to_user(uarg, &caps, min_t(size_t, size, sizeof(caps))))
		return -EFAULT;
	return 0;
}

/* A struct of a first version, of @min bytes, and what it is now. */
static int kvmi_dev_args(void *args, size_t ksize, size_t min,
			 void __user *uarg)
{
	u32 size;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < min)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(args, ksize, uarg, size);
}

static int kvmi_host_msrs_get(void __user *uarg)
{
	const struct kvmi_ops *ops = NULL;
	u32 vendor = kvmi_hook_vendor();
	struct kvmi_host_msrs args;
	struct kvmi_x86_msr msr;
	u32 i;
	int ret;

	ret = kvmi_dev_args(&args, sizeof(args),
			    offsetofend(struct kvmi_host_msrs, out_nr), uarg);
	if (ret)
		return ret;
	if (args.flags)
		return -EINVAL;

	if (vendor == KVMI_VENDOR_AMD)
		ops = &kvmi_svm_ops;
	else if (vendor == KVMI_VENDOR_INTEL)
		ops = &kvmi_vmx_ops;
	args.out_nr = ops ? ops->nr_host_msrs : 0;
	for (i = 0; i < min(args.nr, args.out_nr); i++) {
		memset(&msr, 0, sizeof(msr));
		msr.index = ops->host_msrs[i];
		if (rdmsrl_safe(msr.index, &msr.value))
			msr.out_error = -ENOENT;
		if (copy_to_user(u64_to_user_ptr(args.msrs) + i * sizeof(msr),
				 &msr, sizeof(msr)))
			return -EFAULT;
	}
	if (copy_to_user(uarg, &args, min_t(size_t, args.size, sizeof(args))))
		return -EFAULT;
	return 0;
}

static int kvmi_attach_ioctl(void __user *uarg)
{
	struct kvmi_attach args;
	int ret;

	ret = kvmi_dev_args(&args, sizeof(args),
			    offsetofend(struct kvmi_attach, ring_size), uarg);
	return ret ?: kvmi_session_create(&args);
}

static int kvmi_hold_ioctl(struct file *file, void __user *uarg)
{
	struct kvmi_hold args;
	int ret;

	ret = kvmi_dev_args(&args, sizeof(args),
			    offsetofend(struct kvmi_hold, pad), uarg);
	return ret ?: kvmi_hold_open(file, &args);
}

static int kvmi_hold_next_ioctl(struct file *file, void __user *uarg)
{
	struct kvmi_hold_next args;
	int ret;

	ret = kvmi_dev_args(&args, sizeof(args),
			    offsetofend(struct kvmi_hold_next, pad), uarg);
	if (!ret)
		ret = kvmi_hold_next(file, &args);
	/* Larger than this kernel's only with zeros, which stay. */
	if (!ret && copy_to_user(uarg, &args, min_t(u32, args.size,
						    sizeof(args))))
		ret = -EFAULT;
	return ret;
}

static int kvmi_hold_release_ioctl(struct file *file, void __user *uarg)
{
	struct kvmi_hold_release args;
	int ret;

	ret = kvmi_dev_args(&args, sizeof(args),
			    offsetofend(struct kvmi_hold_release, id), uarg);
	return ret ?: kvmi_hold_release(file, &args);
}

static long kvmi_dev_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case KVMI_GET_CAPS:
		return kvmi_caps_get(NULL, uarg);
	case KVMI_GET_HOST_MSRS:
		return kvmi_host_msrs_get(uarg);
	case KVMI_ATTACH:
		return kvmi_attach_ioctl(uarg);
	case KVMI_HOLD:
		return kvmi_hold_ioctl(file, uarg);
	case KVMI_HOLD_NEXT:
		return kvmi_hold_next_ioctl(file, uarg);
	case KVMI_HOLD_RELEASE:
		return kvmi_hold_release_ioctl(file, uarg);
	default:
		return -ENOTTY;
	}
}

static int kvmi_dev_open(struct inode *inode, struct file *file)
{
	/* The misc device's, which nobody needs. */
	file->private_data = NULL;
	return 0;
}

static int kvmi_dev_release(struct inode *inode, struct file *file)
{
	kvmi_hold_close(file);
	return 0;
}

static const struct file_operations kvmi_dev_fops = {
	.owner = THIS_MODULE,
	.open = kvmi_dev_open,
	.release = kvmi_dev_release,
	.poll = kvmi_hold_poll,
	.unlocked_ioctl = kvmi_dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice kvmi_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvmi",
	.fops = &kvmi_dev_fops,
	.mode = 0660,
};

static int __init kvmi_init(void)
{
	int ret;

	kvmi_poll_init();
	ret = kvmi_hook_init();
	if (ret)
		return ret;
	kvmi_mmio_init();
	ret = kvmi_netlink_init();
	if (ret)
		return ret;
	ret = kvmi_mmu_init();
	if (ret)
		goto err_netlink;
	ret = kvmi_vmlist_init();
	if (ret)
		goto err_mmu;
	ret = misc_register(&kvmi_dev);
	if (ret)
		goto err_mmu;
	return 0;

err_mmu:
	kvmi_mmu_exit();
	kvmi_vmlist_exit();
	kvmi_hook_exit();
err_netlink:
	kvmi_netlink_exit();
	return ret;
}

static void __exit kvmi_exit_module(void)
{
	misc_deregister(&kvmi_dev);
	kvmi_mmu_exit();
	kvmi_netlink_exit();
	kvmi_vmlist_exit();
	kvmi_hook_exit();
}

module_init(kvmi_init);
module_exit(kvmi_exit_module);

MODULE_DESCRIPTION("Virtual machine introspection for stock KVM");
MODULE_AUTHOR("The kvmi authors");
MODULE_LICENSE("GPL");
