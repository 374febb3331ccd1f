// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hooks of KVM's functions that are no operations of a vendor module: the ends of
 * all paths on which KVM drops or tightens mappings, its fast path, and the
 * beginning and end of a VM. By ftrace, as livepatch does.
 *
 * Flushes are no substitute: KVM drops leaves with their root without one, and a
 * later invalidation that finds no leaf does not flush either.
 *
 * This file is built without sibling calls, see kvmi_ftrace_thunk().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include <linux/kvmi_netlink.h>

#include "compat/ftrace.h"
#include "hook.h"
#include "vmlist.h"

/* Replacements may sleep: they are counted, for kvmi_mmu_exit(). */
static atomic_t kvmi_mmu_inflight = ATOMIC_INIT(0);

static void kvmi_mmu_begin(void)
{
	atomic_inc(&kvmi_mmu_inflight);
}

static void kvmi_mmu_end(void)
{
	atomic_dec(&kvmi_mmu_inflight);
}

struct kvmi_ftrace_hook {
	const char *name;
	const char *in;			/* "kvm:", or "": the kernel itself */
	void *func;
	struct static_call_key *key;
	void *tramp;
	bool optional;			/* not in every kernel */
	unsigned long addr;		/* 0: not in this kernel */
};

/* Hooks that go in and out together: one update of the kernel's text for all. */
struct kvmi_ftrace_group {
	struct kvmi_ftrace_hook *hooks;
	unsigned int nr;
	struct ftrace_ops ops;
};

#define KVMI_MMU_ORIG(fn)	DEFINE_STATIC_CALL_NULL(kvmi_m_##fn, fn)
#define kvm_real(fn)		static_call(kvmi_m_##fn)

KVMI_MMU_ORIG(handle_fastpath_hlt);
KVMI_MMU_ORIG(handle_fastpath_set_msr_irqoff);
KVMI_MMU_ORIG(kvm_age_gfn);
KVMI_MMU_ORIG(kvm_arch_commit_memory_region);
KVMI_MMU_ORIG(kvm_arch_flush_shadow_all);
KVMI_MMU_ORIG(kvm_arch_flush_shadow_memslot);
KVMI_MMU_ORIG(kvm_arch_mmu_enable_log_dirty_pt_masked);
KVMI_MMU_ORIG(mm_take_all_locks);
KVMI_MMU_ORIG(kvm_arch_post_init_vm);
KVMI_MMU_ORIG(kvm_arch_pre_destroy_vm);
KVMI_MMU_ORIG(kvm_mmu_slot_gfn_write_protect);
KVMI_MMU_ORIG(kvm_test_age_gfn);
KVMI_MMU_ORIG(kvm_unmap_gfn_range);
KVMI_MMU_ORIG(kvm_zap_gfn_range);

/* Static in KVM, as the file operation that it is. */
long kvm_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
KVMI_MMU_ORIG(kvm_vm_ioctl);

/* Static in KVM, as the operation of a parameter that it is. */
int set_nx_huge_pages(const char *val, const struct kernel_param *kp);
KVMI_MMU_ORIG(set_nx_huge_pages);

/* KVM_SET_USER_MEMORY_REGION2, which 6.1 has not: the same struct, with a tail. */
#define KVMI_SET_REGION2	_IOW(KVMIO, 0x49,			\
				     struct kvmi_memory_region2)

struct kvmi_memory_region2 {
	struct kvm_userspace_memory_region region;
	u64 guest_memfd_offset;
	u32 guest_memfd;
	u32 pad1;
	u64 pad2[14];
};

/*
 * Each replacement calls the original first: only when that is back is KVM's leaf
 * gone for good, and cannot be copied any more.
 */
static bool kvmi_unmap_gfn_range(struct kvm *kvm, struct kvm_gfn_range *range)
{
	bool ret;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_unmap_gfn_range)(kvm, range);
	/* Address space 1 is SMM's, which never runs on a view. */
	if (!range->slot->as_id)
		ret |= kvmi_view_zap(kvm, range->start, range->end);
	kvmi_mmu_end();
	return ret;
}

#ifdef KVMI_HAS_SET_SPTE_GFN
KVMI_MMU_ORIG(kvm_set_spte_gfn);

/* Gone since 6.10: the host replaced a page without an invalidation. */
static bool kvmi_set_spte_gfn(struct kvm *kvm, struct kvm_gfn_range *range)
{
	bool ret;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_set_spte_gfn)(kvm, range);
	if (!range->slot->as_id)
		ret |= kvmi_view_zap(kvm, range->start, range->end);
	kvmi_mmu_end();
	return ret;
}
#endif

static bool kvmi_age_gfn(struct kvm *kvm, struct kvm_gfn_range *range)
{
	bool ret;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_age_gfn)(kvm, range);
	if (!range->slot->as_id)
		ret |= kvmi_view_age(kvm, range->start, range->end, true);
	kvmi_mmu_end();
	return ret;
}

static bool kvmi_test_age_gfn(struct kvm *kvm, struct kvm_gfn_range *range)
{
	bool ret;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_test_age_gfn)(kvm, range);
	if (!range->slot->as_id)
		ret |= kvmi_view_age(kvm, range->start, range->end, false);
	kvmi_mmu_end();
	return ret;
}

/* Zap a range that KVM's caller does not flush on our behalf. */
static void kvmi_mmu_zap_flush(struct kvm *kvm, gfn_t start, gfn_t end)
{
	bool flush;

	write_lock(&kvm->mmu_lock);
	flush = kvmi_view_zap(kvm, start, end);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(kvm);
	write_unlock(&kvm->mmu_lock);
}

static void kvmi_arch_flush_shadow_memslot(struct kvm *kvm,
					   struct kvm_memory_slot *slot)
{
	kvmi_mmu_begin();
	kvm_real(kvm_arch_flush_shadow_memslot)(kvm, slot);
	if (!slot->as_id) {
		kvmi_mmu_zap_flush(kvm, slot->base_gfn,
				   slot->base_gfn + slot->npages);
		kvmi_map_slot_gone(kvm, slot);
	}
	kvmi_mmu_end();
}

static void kvmi_arch_flush_shadow_all(struct kvm *kvm)
{
	kvmi_mmu_begin();
	kvm_real(kvm_arch_flush_shadow_all)(kvm);
	kvmi_mmu_zap_flush(kvm, 0, -1ULL);
	kvmi_mmu_end();
}

static void kvmi_zap_gfn_range(struct kvm *kvm, gfn_t start, gfn_t end)
{
	kvmi_mmu_begin();
	kvm_real(kvm_zap_gfn_range)(kvm, start, end);
	kvmi_mmu_zap_flush(kvm, start, end);
	kvmi_mmu_end();
}

/* Dirty logging goes on or off: KVM clears W or D of its leaves. */
static void kvmi_arch_commit_memory_region(struct kvm *kvm,
					   struct kvm_memory_slot *old,
					   const struct kvm_memory_slot *new,
					   enum kvm_mr_change change)
{
	/* KVM may free the old slot. */
	bool zap = new && !new->as_id;
	gfn_t start = zap ? new->base_gfn : 0;
	gfn_t end = zap ? start + new->npages : 0;
	const struct kvm_memory_slot *any = new ?: old;
	bool tell = any && !any->as_id;
	struct kvmi_ev_vm ev;

	kvmi_mmu_begin();
	if (tell)
		kvmi_change_slot_old(&ev, change == KVM_MR_CREATE ? NULL : old);
	kvmi_check_unsettled(true);
	kvm_real(kvm_arch_commit_memory_region)(kvm, old, new, change);
	if (zap)
		kvmi_mmu_zap_flush(kvm, start, end);
	kvmi_check_unsettled(false);
	if (tell)
		kvmi_change_slot(kvm, &ev, new, change);
	kvmi_mmu_end();
}

/* KVM's callers flush afterwards, but only if it dropped something itself. */
static void
kvmi_arch_mmu_enable_log_dirty_pt_masked(struct kvm *kvm,
					 struct kvm_memory_slot *slot,
					 gfn_t offset, unsigned long mask)
{
	gfn_t base = slot->base_gfn + offset;
	bool flush = false;

	kvmi_mmu_begin();
	kvm_real(kvm_arch_mmu_enable_log_dirty_pt_masked)(kvm, slot, offset,
							  mask);
	if (!slot->as_id && mask)
		flush = kvmi_view_zap(kvm, base + __ffs(mask),
				      base + __fls(mask) + 1);
	if (flush)
		kvm_call(kvm_flush_remote_tlbs)(kvm);
	kvmi_mmu_end();
}

static bool kvmi_mmu_slot_gfn_write_protect(struct kvm *kvm,
					    struct kvm_memory_slot *slot,
					    u64 gfn, int min_level)
{
	gfn_t pages = 1ULL << ((min_level - 1) * 9);
	gfn_t start = gfn & ~(pages - 1);
	bool ret;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_mmu_slot_gfn_write_protect)(kvm, slot, gfn,
						       min_level);
	if (!slot->as_id)
		ret |= kvmi_view_zap(kvm, start, start + pages);
	kvmi_mmu_end();
	return ret;
}

static void kvmi_mmu_zap_vm(struct kvm *kvm)
{
	kvmi_mmu_zap_flush(kvm, 0, -1ULL);
}

/*
 * Against an erratum of some CPUs: whether large pages may be executed. KVM drops all
 * that it maps, in all VMs. Else views would keep those that they have.
 */
static int kvmi_set_nx_huge_pages(const char *val, const struct kernel_param *kp)
{
	int ret;

	kvmi_mmu_begin();
	ret = kvm_real(set_nx_huge_pages)(val, kp);
	if (!ret)
		kvmi_vm_each(kvmi_mmu_zap_vm);
	kvmi_mmu_end();
	return ret;
}

/* The descriptor's own, of which only the type is known outside of KVM. */
static long kvmi_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long ret;

	kvmi_mmu_begin();
	if (cmd == KVM_SET_USER_MEMORY_REGION || cmd == KVMI_SET_REGION2)
		kvmi_change_leaving(file->private_data, (void __user *)arg);
	ret = kvm_real(kvm_vm_ioctl)(file, cmd, arg);
	kvmi_mmu_end();
	return ret;
}

/* See kvmi_map_in(). The caller holds mmap_lock for writing: none comes anew. */
static int kvmi_take_all_locks(struct mm_struct *mm)
{
	int ret = -EBUSY;

	kvmi_mmu_begin();
	if (!kvmi_map_in(mm))
		ret = kvm_real(mm_take_all_locks)(mm);
	kvmi_mmu_end();
	return ret;
}

/* The last of a VM's creation that can fail. */
static int kvmi_arch_post_init_vm(struct kvm *kvm)
{
	int ret;
	u64 id;

	kvmi_mmu_begin();
	ret = kvm_real(kvm_arch_post_init_vm)(kvm);
	if (!ret) {
		id = kvmi_vmlist_add(kvm);
		kvmi_hold_created(kvm, id);
		kvmi_netlink_notify(KVMI_NL_CMD_CREATED, id);
	}
	kvmi_mmu_end();
	return ret;
}

static void kvmi_arch_pre_destroy_vm(struct kvm *kvm)
{
	kvmi_mmu_begin();
	kvmi_vm_gone(kvm);
	kvmi_hold_gone(kvm);
	kvmi_netlink_notify(KVMI_NL_CMD_GONE, kvmi_vmlist_del(kvm));
	kvm_real(kvm_arch_pre_destroy_vm)(kvm);
	kvmi_mmu_end();
}

/*
 * While a step is armed on SVM, the fast path must not skip an instruction: it
 * would see the step's TF and inject a #DB. And what it deals with is no event.
 * Interrupts are off.
 */
static fastpath_t kvmi_fastpath_set_msr_irqoff(struct kvm_vcpu *vcpu)
{
	fastpath_t ret = EXIT_FASTPATH_NONE;

	kvmi_mmu_begin();
	if (!kvmi_exit_slow(vcpu))
		ret = kvm_real(handle_fastpath_set_msr_irqoff)(vcpu);
	kvmi_mmu_end();
	return ret;
}

static fastpath_t kvmi_fastpath_hlt(struct kvm_vcpu *vcpu)
{
	fastpath_t ret = EXIT_FASTPATH_NONE;

	kvmi_mmu_begin();
	if (!kvmi_exit_slow(vcpu))
		ret = kvm_real(handle_fastpath_hlt)(vcpu);
	kvmi_mmu_end();
	return ret;
}

/* ---- ftrace ----------------------------------------------------------------------------- */

/*
 * A call of the original from a replacement comes by here as well; it is told by
 * its caller, which a tail call would disguise as KVM.
 */
static void notrace kvmi_ftrace_thunk(unsigned long ip, unsigned long parent_ip,
				      struct ftrace_ops *ops,
				      struct ftrace_regs *fregs)
{
	struct kvmi_ftrace_group *group;
	unsigned int i;

	if (within_module(parent_ip, THIS_MODULE))
		return;

	group = container_of(ops, struct kvmi_ftrace_group, ops);
	for (i = 0; i < group->nr; i++) {
		struct kvmi_ftrace_hook *hook = &group->hooks[i];

		/* The patch site is behind the ENDBR where there is one. */
		if (ip == hook->addr || ip == hook->addr + 4) {
			compat_ftrace_set_ip(fregs, (unsigned long)hook->func);
			return;
		}
	}
}

#define KVMI_FTRACE_IN(where, fn, repl, opt)				\
	{								\
		.name = #fn,						\
		.in = (where),						\
		.func = (repl),						\
		.key = &STATIC_CALL_KEY(kvmi_m_##fn),			\
		.tramp = STATIC_CALL_TRAMP_ADDR(kvmi_m_##fn),		\
		.optional = (opt),					\
	}
#define KVMI_FTRACE(fn, repl, opt)	KVMI_FTRACE_IN("kvm:", fn, repl, opt)

static struct kvmi_ftrace_hook kvmi_life_hooks[] = {
	KVMI_FTRACE(kvm_arch_post_init_vm, kvmi_arch_post_init_vm, false),
	KVMI_FTRACE(kvm_arch_pre_destroy_vm, kvmi_arch_pre_destroy_vm, false),
	KVMI_FTRACE_IN("", mm_take_all_locks, kvmi_take_all_locks, true),
};

static struct kvmi_ftrace_group kvmi_life_group = {
	.hooks = kvmi_life_hooks,
	.nr = ARRAY_SIZE(kvmi_life_hooks),
};

static struct kvmi_ftrace_hook kvmi_view_hooks[] = {
	KVMI_FTRACE(kvm_unmap_gfn_range, kvmi_unmap_gfn_range, false),
#ifdef KVMI_HAS_SET_SPTE_GFN
	KVMI_FTRACE(kvm_set_spte_gfn, kvmi_set_spte_gfn, false),
#endif
	KVMI_FTRACE(kvm_age_gfn, kvmi_age_gfn, false),
	KVMI_FTRACE(kvm_test_age_gfn, kvmi_test_age_gfn, false),
	KVMI_FTRACE(kvm_arch_flush_shadow_memslot,
		    kvmi_arch_flush_shadow_memslot, false),
	KVMI_FTRACE(kvm_arch_flush_shadow_all, kvmi_arch_flush_shadow_all,
		    false),
	KVMI_FTRACE(kvm_zap_gfn_range, kvmi_zap_gfn_range, false),
	KVMI_FTRACE(kvm_arch_commit_memory_region,
		    kvmi_arch_commit_memory_region, false),
	KVMI_FTRACE(kvm_arch_mmu_enable_log_dirty_pt_masked,
		    kvmi_arch_mmu_enable_log_dirty_pt_masked, false),
	KVMI_FTRACE(kvm_mmu_slot_gfn_write_protect,
		    kvmi_mmu_slot_gfn_write_protect, false),
	KVMI_FTRACE(kvm_vm_ioctl, kvmi_vm_ioctl, true),
	KVMI_FTRACE(set_nx_huge_pages, kvmi_set_nx_huge_pages, false),
	KVMI_FTRACE(handle_fastpath_set_msr_irqoff,
		    kvmi_fastpath_set_msr_irqoff, false),
	KVMI_FTRACE(handle_fastpath_hlt, kvmi_fastpath_hlt, true),
};

static struct kvmi_ftrace_group kvmi_view_group = {
	.hooks = kvmi_view_hooks,
	.nr = ARRAY_SIZE(kvmi_view_hooks),
};

/*
 * In the patch site, five bytes at the function or behind its ENDBR. Given the
 * function itself, ftrace looks for a site anywhere in it, and may take that of an
 * overridden weak function, which has no symbol, behind it: kvm_vm_ioctl().
 */
#define HOOK_SITE	4

/* All of a group or none; the log says which function stands in the way. */
static int kvmi_ftrace_install(struct kvmi_ftrace_group *group)
{
	struct kvmi_ftrace_hook *hook;
	char name[KSYM_NAME_LEN];
	unsigned int i;
	int ret;

	memset(&group->ops, 0, sizeof(group->ops));
	group->ops.func = kvmi_ftrace_thunk;
	group->ops.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT;

	for (i = 0; i < group->nr; i++) {
		hook = &group->hooks[i];
		snprintf(name, sizeof(name), "%s%s", hook->in, hook->name);
		hook->addr = kvmi_hook_lookup(name);
		if (!hook->addr && hook->optional)
			continue;
		ret = -ENOENT;
		if (hook->addr) {
			__static_call_update(hook->key, hook->tramp,
					     (void *)hook->addr);
			ret = ftrace_set_filter_ip(&group->ops,
						   hook->addr + HOOK_SITE, 0, 0);
		}
		if (ret) {
			pr_warn("cannot hook %s: %d\n", hook->name, ret);
			goto err;
		}
	}

	ret = register_ftrace_function(&group->ops);
	if (!ret)
		return 0;
	pr_warn("cannot hook %s and others: %d (livepatched?)\n",
		group->hooks[0].name, ret);
err:
	ftrace_free_filter(&group->ops);
	return ret;
}

static void kvmi_ftrace_remove(struct kvmi_ftrace_group *group)
{
	unregister_ftrace_function(&group->ops);
	ftrace_free_filter(&group->ops);
}

/* ---- the group of the views --------------------------------------------------------------- */

static DEFINE_MUTEX(kvmi_mmu_lock);
static int kvmi_mmu_users;
static bool kvmi_mmu_on;

static void kvmi_mmu_idle(struct work_struct *work)
{
	mutex_lock(&kvmi_mmu_lock);
	if (!kvmi_mmu_users && kvmi_mmu_on) {
		kvmi_ftrace_remove(&kvmi_view_group);
		kvmi_mmu_on = false;
	}
	mutex_unlock(&kvmi_mmu_lock);
}

static DECLARE_DELAYED_WORK(kvmi_mmu_idle_work, kvmi_mmu_idle);

/**
 * kvmi_mmu_hooks_get - put the hooks of the views in, for one more VM
 *
 * All of them or none.
 *
 * Return: 0; else views are not to be had, and the log says which function
 * could not be hooked.
 */
int kvmi_mmu_hooks_get(void)
{
	int ret = 0;

	mutex_lock(&kvmi_mmu_lock);
	if (!kvmi_mmu_on)
		ret = kvmi_ftrace_install(&kvmi_view_group);
	if (!ret) {
		kvmi_mmu_on = true;
		kvmi_mmu_users++;
	}
	mutex_unlock(&kvmi_mmu_lock);
	return ret;
}

/**
 * kvmi_mmu_hooks_put - one VM less
 *
 * Taking them out waits for a grace period of RCU tasks: that is done a little
 * later, in case somebody attaches anew.
 */
void kvmi_mmu_hooks_put(void)
{
	mutex_lock(&kvmi_mmu_lock);
	if (!--kvmi_mmu_users)
		schedule_delayed_work(&kvmi_mmu_idle_work, 5 * HZ);
	mutex_unlock(&kvmi_mmu_lock);
}

/**
 * kvmi_mmu_init - hook the beginning and end of VMs, as long as the module is
 * loaded
 *
 * Return: 0 or -errno (the log names the function).
 */
int kvmi_mmu_init(void)
{
	return kvmi_ftrace_install(&kvmi_life_group);
}

/**
 * kvmi_mmu_locks_hooked - is mm_take_all_locks() hooked, which mappings need?
 *
 * Return: true if so; else this kernel has it by another name.
 */
bool kvmi_mmu_locks_hooked(void)
{
	return kvmi_life_hooks[ARRAY_SIZE(kvmi_life_hooks) - 1].addr;
}

/**
 * kvmi_mmu_exit - take all hooks out, and wait for who is in them
 */
void kvmi_mmu_exit(void)
{
	cancel_delayed_work_sync(&kvmi_mmu_idle_work);
	if (kvmi_mmu_on)
		kvmi_ftrace_remove(&kvmi_view_group);
	kvmi_ftrace_remove(&kvmi_life_group);

	/* From the trampoline to kvmi_mmu_begin(); then those that sleep. */
	synchronize_rcu_tasks();
	while (atomic_read(&kvmi_mmu_inflight))
		schedule_timeout_uninterruptible(1);
}
