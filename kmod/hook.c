// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hook table: how KVM is reached and left.
 *
 * KVM calls its vendor module through static calls, one per member of struct
 * kvm_x86_ops. While a VM is attached, the calls of KVMI_WRAPS lead to kvmi,
 * which passes on what concerns nobody. Without an attached VM, KVM runs its own
 * code at its own speed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <asm/ibt.h>

#include "hook.h"
#include "vmlist.h"

typedef unsigned long (*lookup_name_t)(const char *name);

/* kallsyms_lookup_name() is not declared for modules. */
static unsigned long kvmi_lookup_none(const char *name)
{
	return 0;
}

DEFINE_STATIC_CALL(kvmi_lookup_name, kvmi_lookup_none);

#define KVMI_DEFINE_CALL(fn)	\
	DEFINE_STATIC_CALL_NULL(kvmi_c_##fn, fn);
#define KVMI_DEFINE_OP(op)						\
	struct static_call_key STATIC_CALL_KEY(kvmi_o_##op) = {	\
		.func = NULL,						\
		.type = 1,						\
	};								\
	ARCH_DEFINE_STATIC_CALL_NULL_TRAMP(kvmi_o_##op);

KVMI_CALLS(KVMI_DEFINE_CALL)
KVMI_KERNEL_CALLS(KVMI_DEFINE_CALL)
KVMI_OPS(KVMI_DEFINE_OP)
KVMI_OPT_OPS(KVMI_DEFINE_OP)
KVMI_WRAPS(KVMI_DEFINE_OP)

/* A function of KVM, resolved once: kvm.ko cannot go while kvmi is loaded. */
struct kvmi_call {
	const char *name;
	struct static_call_key *key;
	void *tramp;
};

#define KVMI_CALL_ENTRY(fn)						\
	{ "kvm:" #fn, &STATIC_CALL_KEY(kvmi_c_##fn),			\
	  STATIC_CALL_TRAMP_ADDR(kvmi_c_##fn) },

#define KVMI_KERNEL_CALL_ENTRY(fn)					\
	{ #fn, &STATIC_CALL_KEY(kvmi_c_##fn),				\
	  STATIC_CALL_TRAMP_ADDR(kvmi_c_##fn) },

static const struct kvmi_call kvmi_calls[] = {
	KVMI_CALLS(KVMI_CALL_ENTRY)
	KVMI_KERNEL_CALLS(KVMI_KERNEL_CALL_ENTRY)
};

/* An operation of KVM, resolved at each first attach: the vendor may change. */
struct kvmi_op {
	const char *name;
	struct static_call_key *key;	/* ours, to call the original */
	void *tramp;
	size_t offset;			/* in struct kvm_x86_ops */
	void *wrap;			/* NULL: called only */
	bool optional;
	struct static_call_key *kvm_key;
	void *kvm_tramp;
};

#define KVMI_CHECK_TYPE(op)	\
	static_assert(__same_type(kvmi_##op, KVMI_OP_TYPE(op)));

KVMI_WRAPS(KVMI_CHECK_TYPE)

#define KVMI_WRAP_ENTRY(op)						\
	{ .name = #op, .key = &STATIC_CALL_KEY(kvmi_o_##op),		\
	  .tramp = STATIC_CALL_TRAMP_ADDR(kvmi_o_##op),			\
	  .offset = offsetof(struct kvm_x86_ops, op),			\
	  .wrap = kvmi_##op },
#define KVMI_OP_ENTRY(op)						\
	{ .name = #op, .key = &STATIC_CALL_KEY(kvmi_o_##op),		\
	  .tramp = STATIC_CALL_TRAMP_ADDR(kvmi_o_##op),			\
	  .offset = offsetof(struct kvm_x86_ops, op) },

#define KVMI_OPT_OP_ENTRY(op)						\
	{ .name = #op, .key = &STATIC_CALL_KEY(kvmi_o_##op),		\
	  .tramp = STATIC_CALL_TRAMP_ADDR(kvmi_o_##op),			\
	  .offset = offsetof(struct kvm_x86_ops, op), .optional = true },

static struct kvmi_op kvmi_wraps[] = {
	KVMI_OPS(KVMI_OP_ENTRY)
	KVMI_OPT_OPS(KVMI_OPT_OP_ENTRY)
	KVMI_WRAPS(KVMI_WRAP_ENTRY)
};

static const struct kvm_x86_ops *kvmi_kvm_ops;
static bool *kvmi_tdp_enabled;
static int kvmi_hook_users;

const struct kvmi_ops *kvmi_ops;

#define KVMI_DEFINE_HOT(op)						\
	struct static_call_key STATIC_CALL_KEY(kvmi_b_##op) = {		\
		.func = NULL,						\
		.type = 1,						\
	};								\
	ARCH_DEFINE_STATIC_CALL_NULL_TRAMP(kvmi_b_##op);
#define KVMI_UPDATE_HOT(op)						\
	__static_call_update(&STATIC_CALL_KEY(kvmi_b_##op),		\
			     STATIC_CALL_TRAMP_ADDR(kvmi_b_##op), ops->op);

KVMI_HOT_OPS(KVMI_DEFINE_HOT)

/**
 * kvmi_hook_lookup - the address of a kernel symbol
 * @name: symbol, "module:symbol" for one of a module
 *
 * Return: its address, 0 if there is none.
 */
unsigned long kvmi_hook_lookup(const char *name)
{
	return static_call(kvmi_lookup_name)(name);
}

/**
 * kvmi_hook_vendor - the vendor module of KVM that is loaded
 *
 * Return: enum kvmi_vendor.
 */
u32 kvmi_hook_vendor(void)
{
	if (!compat_vendor_loaded(kvmi_kvm_ops))
		return KVMI_VENDOR_NONE;
	if (!strcmp(kvmi_kvm_ops->name, kvmi_svm_ops.name))
		return KVMI_VENDOR_AMD;
	if (!strcmp(kvmi_kvm_ops->name, kvmi_vmx_ops.name))
		return KVMI_VENDOR_INTEL;
	return KVMI_VENDOR_NONE;
}

/* The kprobe gives the patch site, which is behind the ENDBR where there is one. */
static int kvmi_hook_find_kallsyms(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long addr;
	int ret;

	ret = register_kprobe(&kp);
	if (ret)
		return ret;
	addr = (unsigned long)kp.addr;
	unregister_kprobe(&kp);

#ifdef CONFIG_X86_KERNEL_IBT
	if (is_endbr(*(u32 *)(addr - ENDBR_INSN_SIZE)))
		addr -= ENDBR_INSN_SIZE;
#endif
	static_call_update(kvmi_lookup_name, (lookup_name_t)addr);
	return 0;
}

static void *kvmi_hook_need(const char *fmt, const char *name)
{
	char sym[KSYM_NAME_LEN];
	unsigned long addr;

	snprintf(sym, sizeof(sym), fmt, name);
	addr = kvmi_hook_lookup(sym);
	if (!addr)
		pr_err("KVM has no symbol %s: this kernel is not supported\n",
		       sym);
	return (void *)addr;
}

/**
 * kvmi_hook_init - find KVM
 *
 * Installs nothing.
 *
 * Return: 0, -ENOENT if a symbol that everything needs is missing (the log
 * names it).
 */
int kvmi_hook_init(void)
{
	struct kvmi_op *op;
	void *addr;
	int ret;
	int i;

	ret = kvmi_hook_find_kallsyms();
	if (ret) {
		pr_err("cannot probe kallsyms_lookup_name: %d; CONFIG_KPROBES is needed\n",
		       ret);
		return ret;
	}

	kvmi_kvm_ops = kvmi_hook_need("kvm:%s", "kvm_x86_ops");
	kvmi_tdp_enabled = kvmi_hook_need("kvm:%s", "tdp_enabled");
	if (!kvmi_kvm_ops || !kvmi_tdp_enabled)
		return -ENOENT;

	for (i = 0; i < ARRAY_SIZE(kvmi_calls); i++) {
		addr = NULL;
		/* The same by another name, where this one is in line. */
		if (kvmi_calls[i].key ==
		    &STATIC_CALL_KEY(kvmi_c_kvm_set_msr_ignored_check))
			addr = (void *)kvmi_hook_lookup("kvm:" COMPAT_KVM_SET_MSR_ELSE);
		if (!addr)
			addr = kvmi_hook_need("%s", kvmi_calls[i].name);
		if (!addr)
			return -ENOENT;
		__static_call_update(kvmi_calls[i].key, kvmi_calls[i].tramp,
				     addr);
	}

	for (op = kvmi_wraps; op < kvmi_wraps + ARRAY_SIZE(kvmi_wraps); op++) {
		if (!op->wrap)
			continue;
		op->kvm_key = kvmi_hook_need("kvm:__SCK__kvm_x86_%s", op->name);
		op->kvm_tramp = kvmi_hook_need("kvm:__SCT__kvm_x86_%s",
					       op->name);
		if (!op->kvm_key || !op->kvm_tramp)
			return -ENOENT;
	}
	return 0;
}

/**
 * kvmi_hook_exit - wait until no thread is in the code of this module
 *
 * No VM is attached. Hooks that pass a call on leave by a jump and never sleep
 * here, so that a grace period of RCU tasks, which waits for each task to sleep
 * or leave the kernel, has all of them gone. The first one lets those arrive
 * who are before their entry is counted, the second those after.
 */
void kvmi_hook_exit(void)
{
	synchronize_rcu_tasks();
	kvmi_hold_exit();
	synchronize_rcu_tasks();
}

static int kvmi_hook_resolve(void)
{
	const struct kvmi_ops *ops;
	struct kvmi_op *op;
	void *fn;
	int ret;

	switch (kvmi_hook_vendor()) {
	case KVMI_VENDOR_AMD:
		ops = &kvmi_svm_ops;
		break;
	case KVMI_VENDOR_INTEL:
		ops = &kvmi_vmx_ops;
		break;
	default:
		return -EOPNOTSUPP;
	}

	if (!READ_ONCE(*kvmi_tdp_enabled)) {
		pr_warn("KVM runs without %s: shadow paging is not supported\n",
			ops->vendor == KVMI_VENDOR_AMD ? "NPT" : "EPT");
		return -EOPNOTSUPP;
	}
	/* Hyper-V's enlightenments replace flushes and the VMCS by its own. */
	if (compat_flush_remote_tlbs(kvmi_kvm_ops)) {
		pr_warn("KVM on Hyper-V is not supported\n");
		return -EOPNOTSUPP;
	}

	for (op = kvmi_wraps; op < kvmi_wraps + ARRAY_SIZE(kvmi_wraps); op++) {
		fn = *(void **)((char *)kvmi_kvm_ops + op->offset);
		if (!fn && op->optional)
			fn = __static_call_return0;
		if (!fn) {
			pr_err("KVM's %s has no operation %s\n",
			       kvmi_kvm_ops->name, op->name);
			return -EOPNOTSUPP;
		}
		if (op->wrap && READ_ONCE(op->kvm_key->func) != fn) {
			pr_err("somebody else has taken KVM's operation %s\n",
			       op->name);
			return -EOPNOTSUPP;
		}
		__static_call_update(op->key, op->tramp, fn);
	}

	ret = ops->probe();
	if (ret)
		return ret;
	KVMI_HOT_OPS(KVMI_UPDATE_HOT)
	kvmi_ops = ops;
	return 0;
}

/**
 * kvmi_hook_get - put the exit-path hooks in for one more VM
 *
 * Called with kvmi_vms_lock held and the vendor module pinned.
 *
 * Return: 0, -EOPNOTSUPP if this KVM or CPU lacks something (the log says
 * what).
 */
int kvmi_hook_get(void)
{
	struct kvmi_op *op;
	int ret;

	if (kvmi_hook_users++)
		return 0;

	ret = kvmi_hook_resolve();
	if (ret) {
		kvmi_hook_users--;
		return ret;
	}
	for (op = kvmi_wraps; op < kvmi_wraps + ARRAY_SIZE(kvmi_wraps); op++)
		if (op->wrap)
			__static_call_update(op->kvm_key, op->kvm_tramp,
					     op->wrap);
	return 0;
}

/**
 * kvmi_hook_put - one VM less; the last one takes the hooks out
 *
 * Called with kvmi_vms_lock held, when no vCPU of the VM needs the hooks. They
 * may still be passing through: see kvmi_hook_exit().
 */
void kvmi_hook_put(void)
{
	struct kvmi_op *op;
	void *fn;

	if (--kvmi_hook_users)
		return;
	for (op = kvmi_wraps; op < kvmi_wraps + ARRAY_SIZE(kvmi_wraps); op++) {
		fn = *(void **)((char *)kvmi_kvm_ops + op->offset);
		if (op->wrap)
			__static_call_update(op->kvm_key, op->kvm_tramp, fn);
	}
}
