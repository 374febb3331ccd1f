// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sessions want to be told of a vCPU: modes by kind, and rules for kinds that
 * have registers, vectors or ports to choose from.
 *
 * The session that controls the VM has its watch in the vCPU; those of observers
 * hang on it in a list, and are looked at under SRCU: to tell an observer never
 * waits. What the CPU is to exit for is what all of them want together.
 */
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/srcu.h>

#include "hook.h"

/* Who looks at sinks and watches; none of them waits for anything. */
DEFINE_SRCU(kvmi_watch_srcu);

/* ---- rules ------------------------------------------------------------------------ */

static struct kvmi_rules *kvmi_rules_of(struct kvmi_watch *watch, u32 kind)
{
	/* Changed under vm->lock, which the caller holds, or found by nobody yet. */
	return rcu_dereference_protected(watch->rules[kind], 1);
}

static bool kvmi_rule_off(u8 mode)
{
	return mode == KVMI_MODE_OFF || mode == KVMI_RULE_NONE;
}

static bool kvmi_rules_overlap(const struct kvmi_rule *a,
			       const struct kvmi_rule *b)
{
	return a->first <= b->last && b->first <= a->last;
}

static bool kvmi_rule_covers(const struct kvmi_rule *a, const struct kvmi_rule *b)
{
	return a->first <= b->first && b->last <= a->last;
}

/* Does a rule say nothing that those before and behind it do not say? */
static bool kvmi_rule_dead(const struct kvmi_rules *rules, u32 i)
{
	const struct kvmi_rule *rule = &rules->rule[i], *other;
	bool hidden[2], hides = false;
	u32 j;
	int w;

	for (w = 0; w < 2; w++)
		hidden[w] = rule->mode[w] == KVMI_RULE_NONE;
	for (j = i + 1; j < rules->nr; j++) {
		other = &rules->rule[j];
		if (!kvmi_rule_covers(other, rule))
			continue;
		for (w = 0; w < 2; w++)
			hidden[w] |= other->mode[w] != KVMI_RULE_NONE;
	}
	if (hidden[0] && hidden[1])
		return true;
	if (!kvmi_rule_off(rule->mode[0]) || !kvmi_rule_off(rule->mode[1]))
		return false;
	for (j = 0; j < i; j++)
		hides |= kvmi_rules_overlap(&rules->rule[j], rule);
	return !hides;
}

/* The rule that can be changed to say this; NULL if one must be added. */
static struct kvmi_rule *kvmi_rules_same(struct kvmi_rules *rules,
					 const struct kvmi_rule *rule)
{
	u32 i;

	for (i = rules ? rules->nr : 0; i-- > 0;) {
		struct kvmi_rule *old = &rules->rule[i];

		if (old->first == rule->first && old->last == rule->last)
			return old;
		if (kvmi_rules_overlap(old, rule))
			return NULL;
	}
	return NULL;
}

/* To switch off what is wholly meant takes no rule. */
static bool kvmi_rules_just_off(struct kvmi_rules *rules,
				const struct kvmi_rule *rule)
{
	u32 i;

	if (!kvmi_rule_off(rule->mode[0]) || !kvmi_rule_off(rule->mode[1]))
		return false;
	for (i = 0; i < (rules ? rules->nr : 0); i++)
		if (kvmi_rules_overlap(&rules->rule[i], rule) &&
		    !kvmi_rule_covers(rule, &rules->rule[i]))
			return false;
	return true;
}

/* Room for one more rule, if it takes one: after this kvmi_rules_set() is done. */
static int kvmi_rules_reserve(struct kvmi_watch *watch, u32 kind,
			      const struct kvmi_rule *rule)
{
	struct kvmi_rules *old = kvmi_rules_of(watch, kind), *new;
	u32 nr = old ? old->nr : 0, live = 0, i;

	if (kvmi_rules_just_off(old, rule) || kvmi_rules_same(old, rule) ||
	    (old && old->nr < old->room))
		return 0;

	for (i = 0; i < nr; i++)
		live += !kvmi_rule_dead(old, i);
	if (live >= KVMI_MAX_RULES)
		return -ENOSPC;
	new = kzalloc(struct_size(new, rule, min(live + 8, KVMI_MAX_RULES)),
		      GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->room = min(live + 8, KVMI_MAX_RULES);
	for (i = 0; i < nr; i++)
		if (!kvmi_rule_dead(old, i))
			new->rule[new->nr++] = old->rule[i];
	rcu_assign_pointer(watch->rules[kind], new);
	if (old)
		kfree_rcu(old, rcu);
	return 0;
}

static void kvmi_rule_write(struct kvmi_rule *to, const struct kvmi_rule *from)
{
	int w;

	for (w = 0; w < 2; w++) {
		if (from->mode[w] == KVMI_RULE_NONE)
			continue;
		WRITE_ONCE(to->regs[w], from->regs[w]);
		WRITE_ONCE(to->mask[w], from->mask[w]);
		WRITE_ONCE(to->mode[w], from->mode[w]);
	}
}

static void kvmi_rules_set(struct kvmi_watch *watch, u32 kind,
			   const struct kvmi_rule *rule)
{
	struct kvmi_rules *rules = kvmi_rules_of(watch, kind);
	struct kvmi_rule *same;
	u32 i;

	if (kvmi_rules_just_off(rules, rule)) {
		for (i = 0; i < (rules ? rules->nr : 0); i++)
			if (kvmi_rule_covers(rule, &rules->rule[i]))
				kvmi_rule_write(&rules->rule[i], rule);
		return;
	}
	same = kvmi_rules_same(rules, rule);
	if (same) {
		kvmi_rule_write(same, rule);
		return;
	}
	rules->rule[rules->nr] = *rule;
	/* Pairs with the acquire in kvmi_watch_match_rule(). */
	smp_store_release(&rules->nr, rules->nr + 1);
}

/**
 * kvmi_watch_match_rule - does a session want to be told of a register, vector, port?
 * @watch: of the session; the caller keeps it
 * @ex: the exit
 * @regs: set to the register sets that go along
 *
 * Return: enum kvmi_event_mode.
 */
u32 kvmi_watch_match_rule(struct kvmi_watch *watch, const struct kvmi_exit *ex,
			  u32 *regs)
{
	u32 mode = KVMI_MODE_OFF, i;
	struct kvmi_rules *rules;
	struct kvmi_rule *rule;
	u64 mask;

	*regs = 0;
	rcu_read_lock();
	rules = rcu_dereference(watch->rules[ex->kind]);
	/* Pairs with the release in kvmi_rules_set(). */
	for (i = rules ? smp_load_acquire(&rules->nr) : 0; i-- > 0;) {
		rule = &rules->rule[i];
		if (ex->index - rule->first > rule->last - rule->first)
			continue;
		mode = READ_ONCE(rule->mode[ex->write]);
		if (mode == KVMI_RULE_NONE)
			continue;
		*regs = READ_ONCE(rule->regs[ex->write]);
		mask = READ_ONCE(rule->mask[ex->write]);
		if (mask && !(ex->change & mask))
			mode = KVMI_MODE_OFF;
		goto out;
	}
	mode = KVMI_MODE_OFF;
out:
	rcu_read_unlock();
	return mode;
}

/* ---- watches ---------------------------------------------------------------------- */

/* The entry of an MSR, or one that can become it; NULL if there is none. */
static struct kvmi_msr *kvmi_watch_msr(struct kvmi_vcpu *kv, u32 index)
{
	struct kvmi_msr *free = NULL;
	u32 i;

	for (i = 0; i < kv->nr_msrs; i++) {
		struct kvmi_msr *msr = &kv->msrs[i];

		if (msr->index == index)
			return msr;
		if (!free && !msr->want && !READ_ONCE(msr->added))
			free = msr;
	}
	if (!free && kv->msrs && kv->nr_msrs < KVMI_MAX_MSRS)
		free = &kv->msrs[kv->nr_msrs];
	return free;
}

static int kvmi_watch_reserve_msr(struct kvmi_vcpu *kv, u32 index)
{
	struct kvmi_msr *msrs;

	if (!kv->msrs) {
		msrs = kcalloc(KVMI_MAX_MSRS, sizeof(*msrs),
			       GFP_KERNEL_ACCOUNT);
		if (!msrs)
			return -ENOMEM;
		/* Before nr_msrs says that there is something in it. */
		smp_store_release(&kv->msrs, msrs);
	}
	return kvmi_watch_msr(kv, index) ? 0 : -ENOSPC;
}

/* Counters by reason, from the first time that exits are to be counted. */
static int kvmi_watch_reserve_exits(struct kvmi_watch *watch)
{
	u64 *exits;

	if (watch->exits)
		return 0;
	exits = kcalloc(KVMI_NR_EXITS, sizeof(*exits), GFP_KERNEL_ACCOUNT);
	if (!exits)
		return -ENOMEM;
	/* Found by vCPUs from now on, zeroed. */
	smp_store_release(&watch->exits, exits);
	return 0;
}

static int kvmi_watch_copy(struct kvmi_watch *to, struct kvmi_watch *from)
{
	struct kvmi_rules *rules, *copy;
	u32 k;

	memcpy(to->mode, from->mode, sizeof(to->mode));
	memcpy(to->regs, from->regs, sizeof(to->regs));
	to->elements = from->elements;
	if (from->limits) {
		to->limits = kmemdup(from->limits,
				     KVMI_NR_KINDS * sizeof(*to->limits),
				     GFP_KERNEL_ACCOUNT);
		if (!to->limits)
			return -ENOMEM;
	}
	if (from->exits && kvmi_watch_reserve_exits(to))
		return -ENOMEM;
	for (k = 0; k < KVMI_NR_KINDS; k++) {
		rules = kvmi_rules_of(from, k);
		if (!rules)
			continue;
		copy = kmemdup(rules, struct_size(rules, rule, rules->room),
			       GFP_KERNEL_ACCOUNT);
		if (!copy)
			return -ENOMEM;
		rcu_assign_pointer(to->rules[k], copy);
	}
	return 0;
}

/* Room for MSRs; there is, as there was on the vCPUs that were there before. */
static int kvmi_watch_copy_msrs(struct kvmi_vcpu *kv, struct kvmi_watch *watch)
{
	struct kvmi_rules *rules = kvmi_rules_of(watch, KVMI_EVENT_X86_MSR);

	return rules && rules->nr &&
	       kvmi_watch_reserve_msr(kv, rules->rule[0].first) == -ENOMEM ?
	       -ENOMEM : 0;
}

/**
 * kvmi_watch_init - make a session's watch of a vCPU
 * @sink: of the session, vm->lock held
 * @watch: zeroed
 * @kv: the vCPU
 *
 * It has the settings made for all vCPUs.
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_watch_init(struct kvmi_sink *sink, struct kvmi_watch *watch,
		    struct kvmi_vcpu *kv)
{
	int ret;

	watch->sink = sink;
	ret = kvmi_watch_copy(watch, sink->def);
	if (!ret)
		ret = kvmi_watch_copy_msrs(kv, watch);
	if (!ret)
		ret = kvmi_ring_init(sink, &watch->ring, kv->index);
	if (!ret)
		ret = xa_err(xa_store(&sink->watches, kv->index, watch,
				      GFP_KERNEL_ACCOUNT));
	if (ret)
		kvmi_watch_fini(watch);
	return ret;
}

/**
 * kvmi_watch_fini - undo kvmi_watch_init()
 * @watch: not found by any vCPU any more
 */
void kvmi_watch_fini(struct kvmi_watch *watch)
{
	u32 k;

	kvmi_ring_fini(&watch->ring);
	for (k = 0; k < KVMI_NR_KINDS; k++)
		kfree(kvmi_rules_of(watch, k));
	kfree(watch->limits);
	kfree(watch->exits);
}

/**
 * kvmi_watch_add - have an observer watch a vCPU
 * @sink: of the observer, vm->lock held
 * @kv: the vCPU
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_watch_add(struct kvmi_sink *sink, struct kvmi_vcpu *kv)
{
	struct kvmi_watch *watch;
	int ret;

	watch = kzalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);
	if (!watch)
		return -ENOMEM;
	ret = kvmi_watch_init(sink, watch, kv);
	if (ret) {
		kfree(watch);
		return ret;
	}

	RCU_INIT_POINTER(watch->next,
			 rcu_dereference_protected(kv->observers, 1));
	rcu_assign_pointer(kv->observers, watch);
	kvmi_watch_update(kv);
	return 0;
}

/**
 * kvmi_watch_drop - undo kvmi_watch_add()
 * @sink: of the observer, vm->lock held
 * @index: of a vCPU that has not been found by anybody yet
 */
void kvmi_watch_drop(struct kvmi_sink *sink, u32 index)
{
	struct kvmi_watch *watch = xa_erase(&sink->watches, index);

	if (!watch)
		return;
	kvmi_watch_fini(watch);
	kfree(watch);
}

static void kvmi_watch_unlink(struct kvmi_vcpu *kv, struct kvmi_watch *watch)
{
	struct kvmi_watch __rcu **pos = &kv->observers;
	struct kvmi_watch *other;

	for (;;) {
		other = rcu_dereference_protected(*pos, 1);
		if (!other)
			return;
		if (other == watch)
			break;
		pos = &other->next;
	}
	rcu_assign_pointer(*pos, rcu_dereference_protected(watch->next, 1));
	kvmi_watch_update(kv);
}

/**
 * kvmi_watch_remove - an observer watches no vCPU any more
 * @sink: of the observer, vm->lock held
 *
 * When it returns, no vCPU looks at the watches.
 */
void kvmi_watch_remove(struct kvmi_sink *sink)
{
	struct kvmi_watch *watch;
	struct kvmi_vcpu *kv;
	unsigned long i;

	xa_for_each(&sink->watches, i, watch) {
		kv = xa_load(&sink->vm->vcpus, i);
		if (kv)
			kvmi_watch_unlink(kv, watch);
	}
	synchronize_srcu_expedited(&kvmi_watch_srcu);
}

static void kvmi_watch_tell_one(struct kvmi_vcpu *kv, struct kvmi_watch *watch,
				const struct kvmi_exit *ex)
{
	u32 mode, regs;

	mode = kvmi_watch_match(watch, ex, &regs);
	if (mode == KVMI_MODE_OFF)
		return;
	if (mode == KVMI_MODE_COUNT) {
		if (ex->kind == KVMI_EVENT_X86_EXIT)
			kvmi_watch_count_exit(watch, ex->index);
		else
			kvmi_watch_count(watch, ex->kind);
		return;
	}
	watch->ring.seq++;
	if ((watch->limits && !kvmi_limit_check(watch, ex->kind)) ||
	    !kvmi_ring_post(kv, watch, ex, regs, 0))
		kvmi_ring_drop(&watch->ring, ex->kind);
}

/**
 * kvmi_watch_tell - tell the observers of an exit
 * @kv: the vCPU; called on its thread, KVM's bookkeeping of the exit done
 * @ex: the exit
 */
void kvmi_watch_tell(struct kvmi_vcpu *kv, const struct kvmi_exit *ex)
{
	struct kvmi_watch *watch;
	int idx;

	idx = srcu_read_lock(&kvmi_watch_srcu);
	watch = srcu_dereference(kv->observers, &kvmi_watch_srcu);
	while (watch) {
		kvmi_watch_tell_one(kv, watch, ex);
		watch = srcu_dereference(watch->next, &kvmi_watch_srcu);
	}
	srcu_read_unlock(&kvmi_watch_srcu, idx);
}

/* ---- what all want together --------------------------------------------------------- */

/* After the controlling session's, those of the observers; vm->lock held. */
static struct kvmi_watch *kvmi_watch_next(struct kvmi_vcpu *kv,
					  struct kvmi_watch *watch)
{
	return rcu_dereference_protected(watch == &kv->watch ? kv->observers :
							       watch->next, 1);
}

#define kvmi_for_each_watch(watch, kv)					\
	for (watch = &(kv)->watch; watch; watch = kvmi_watch_next(kv, watch))

static u8 kvmi_watch_msr_want(struct kvmi_vcpu *kv, u32 index)
{
	struct kvmi_exit ex = {
		.kind = KVMI_EVENT_X86_MSR,
		.indexed = true,
		.index = index,
		.change = ~0ULL,
	};
	struct kvmi_watch *watch;
	u8 want = 0;
	u32 regs;
	int w;

	kvmi_for_each_watch(watch, kv) {
		for (w = 0; w < 2; w++) {
			ex.write = w;
			if (kvmi_watch_match_rule(watch, &ex, &regs))
				want |= BIT(w);
		}
	}
	return want;
}

static void kvmi_watch_add_msr(struct kvmi_vcpu *kv, u32 index)
{
	u8 want = kvmi_watch_msr_want(kv, index);
	struct kvmi_msr *msr;

	/* There is room: that was made before the rule was. */
	msr = want ? kvmi_watch_msr(kv, index) : NULL;
	if (!msr)
		return;
	WRITE_ONCE(msr->index, index);
	/* Pairs with the acquire of the back ends: the index is right. */
	smp_store_release(&msr->want, want);
	if (msr != &kv->msrs[kv->nr_msrs])
		return;
	/* Likewise: the entry is. */
	smp_store_release(&kv->nr_msrs, kv->nr_msrs + 1);
}

static void kvmi_watch_update_msrs(struct kvmi_vcpu *kv)
{
	struct kvmi_watch *watch;
	struct kvmi_rules *rules;
	u32 i;

	/* Those that nobody wants any more first: new ones can have their place. */
	for (i = 0; i < kv->nr_msrs; i++)
		WRITE_ONCE(kv->msrs[i].want,
			   kvmi_watch_msr_want(kv, kv->msrs[i].index));
	kvmi_for_each_watch(watch, kv) {
		rules = kvmi_rules_of(watch, KVMI_EVENT_X86_MSR);
		for (i = 0; i < (rules ? rules->nr : 0); i++)
			kvmi_watch_add_msr(kv, rules->rule[i].first);
	}
}

static void kvmi_watch_update_one(struct kvmi_wants *wants,
				  struct kvmi_watch *watch)
{
	struct kvmi_rules *rules;
	u32 k, i;

	wants->elements |= watch->elements;
	for (k = 0; k < KVMI_NR_KINDS; k++) {
		if (watch->mode[k])
			kvmi_kind_want(wants, k, NULL);
		rules = kvmi_rules_of(watch, k);
		for (i = 0; i < (rules ? rules->nr : 0); i++)
			kvmi_kind_want(wants, k, &rules->rule[i]);
	}
}

/* Are all exits counted, and is that all that is done about them? */
static bool kvmi_watch_just_counts_exits(struct kvmi_vcpu *kv)
{
	struct kvmi_rules *rules = kvmi_rules_of(&kv->watch, KVMI_EVENT_X86_EXIT);

	return rules && rules->nr == 1 && !rules->rule[0].first &&
	       rules->rule[0].last == U32_MAX && !rules->rule[0].mask[0] &&
	       rules->rule[0].mode[0] == KVMI_MODE_COUNT;
}

static u32 kvmi_watch_quick(struct kvmi_vcpu *kv, u32 want)
{
	bool alone = !rcu_access_pointer(kv->observers);
	u32 quick = 0;

	if (!(want & (KVMI_WANT_STEP | KVMI_WANT_DELIVERY | KVMI_WANT_VCPU)))
		quick |= KVMI_QUICK_ENTRY;
	if (!(want & (KVMI_WANT_STEP | KVMI_WANT_EXIT | KVMI_WANT_VCPU)))
		quick |= KVMI_QUICK_EXIT;
	else if (!(want & (KVMI_WANT_STEP | KVMI_WANT_VCPU)) && alone &&
		 kvmi_watch_just_counts_exits(kv))
		quick |= KVMI_QUICK_EXIT | KVMI_QUICK_COUNT;
	if (alone && kv->watch.mode[KVMI_EVENT_X86_CPUID] == KVMI_MODE_COUNT)
		quick |= KVMI_QUICK_CPUID;
	return quick;
}

/**
 * kvmi_watch_update - settle what a vCPU is to exit for
 * @kv: the vCPU; vm->lock held, or not found by anybody yet
 *
 * In force when the vCPU has been kicked.
 */
void kvmi_watch_update(struct kvmi_vcpu *kv)
{
	struct kvmi_wants wants = {};
	struct kvmi_watch *watch;
	u32 i;

	/* Odd while they change. */
	WRITE_ONCE(kv->gen, kv->gen + 1);
	/* Pairs with the barrier in kvmi_wants_end(). */
	smp_wmb();

	kvmi_for_each_watch(watch, kv)
		kvmi_watch_update_one(&wants, watch);
	kvmi_watch_update_msrs(kv);
	/* Also while there are bits to be taken back. */
	for (i = 0; i < kv->nr_msrs; i++)
		if (kv->msrs[i].want || READ_ONCE(kv->msrs[i].added))
			wants.bits |= KVMI_WANT_MSR;
	if (kvmi_ops)
		kvmi_ops->controls(&wants);
	if ((wants.bits & KVMI_WANT_MMIO) && !kv->mmio)
		kv->mmio = kvmi_mmio_get();
	if (!(wants.bits & KVMI_WANT_MMIO) && kv->mmio) {
		kv->mmio = false;
		kvmi_mmio_put();
	}
	kv->wants = wants;
	WRITE_ONCE(kv->want, wants.bits);
	WRITE_ONCE(kv->quick, kvmi_watch_quick(kv, wants.bits));
	/* Pairs with the acquire of kvmi_wants_begin(). */
	smp_store_release(&kv->gen, kv->gen + 1);
}

/* ---- KVMI_CONTROL_EVENT --------------------------------------------------------------- */

static int kvmi_watch_check(const struct kvmi_control_event *args)
{
	if ((args->flags & ~(KVMI_CONTROL_STOP | KVMI_CONTROL_ELEMENTS)) ||
	    args->pad ||
	    args->mode > KVMI_MODE_COUNT || (args->regs & ~KVMI_REGS_ALL))
		return -EINVAL;
	if ((args->flags & KVMI_CONTROL_STOP) && args->mode != KVMI_MODE_SYNC)
		return -EINVAL;
	if ((args->flags & KVMI_CONTROL_ELEMENTS) &&
	    (args->kind != KVMI_EVENT_X86_IO || args->mode == KVMI_MODE_OFF))
		return -EINVAL;
	if (args->burst && !args->rate)
		return -EINVAL;
	/* A step that an answer has asked for must be told. */
	if (args->rate && args->kind == KVMI_EVENT_STEP)
		return -EOPNOTSUPP;
	return kvmi_kind_check(args);
}

/* All that can fail. @kv: whose watch it is, or NULL for vCPUs to come. */
static int kvmi_watch_reserve(struct kvmi_watch *watch, struct kvmi_vcpu *kv,
			      const struct kvmi_control_event *args)
{
	struct kvmi_rule rule;
	int ret;

	ret = kvmi_limit_reserve(&watch->limits, args);
	if (ret || !kvmi_kind_has_rules(args->kind))
		return ret;
	if (kv && args->kind == KVMI_EVENT_X86_MSR &&
	    args->mode != KVMI_MODE_OFF) {
		ret = kvmi_watch_reserve_msr(kv, args->index);
		if (ret)
			return ret;
	}
	if (args->kind == KVMI_EVENT_X86_EXIT && args->mode == KVMI_MODE_COUNT) {
		ret = kvmi_watch_reserve_exits(watch);
		if (ret)
			return ret;
	}
	kvmi_kind_rule(args, &rule);
	return kvmi_rules_reserve(watch, args->kind, &rule);
}

static void kvmi_watch_set(struct kvmi_watch *watch,
			   const struct kvmi_control_event *args)
{
	struct kvmi_rule rule;

	kvmi_limit_set(watch->limits, args);
	if (args->kind == KVMI_EVENT_X86_IO && args->mode != KVMI_MODE_OFF)
		watch->elements = args->flags & KVMI_CONTROL_ELEMENTS;
	if (kvmi_kind_has_rules(args->kind)) {
		kvmi_kind_rule(args, &rule);
		kvmi_rules_set(watch, args->kind, &rule);
	} else {
		WRITE_ONCE(watch->regs[args->kind], args->regs);
		WRITE_ONCE(watch->mode[args->kind], args->mode);
	}
}

/* For the whole kind, also where the mode is set by register. */
static void kvmi_watch_set_stop(u64 *kinds, const struct kvmi_control_event *args)
{
	u64 bit = BIT_ULL(args->kind);

	WRITE_ONCE(*kinds, args->flags & KVMI_CONTROL_STOP ? *kinds | bit :
							     *kinds & ~bit);
}

/**
 * kvmi_watch_control - KVMI_CONTROL_EVENT
 * @sink: of the session; vm->sem held for reading, vm->lock held
 * @args: argument of the ioctl
 *
 * Return: 0; -EINVAL, -EOPNOTSUPP, -ENOENT, -ENOMEM, -ENOSPC, and nothing is
 * changed.
 */
int kvmi_watch_control(struct kvmi_sink *sink, struct kvmi_control_event *args)
{
	bool all = args->vcpu == KVMI_VCPU_ALL;
	struct kvmi_vm *vm = sink->vm;
	struct kvmi_watch *watch;
	struct kvmi_vcpu *kv;
	unsigned long i;
	int ret;

	ret = kvmi_watch_check(args);
	if (ret)
		return ret;
	if (kvmi_kind_of_vm(args->kind)) {
		ret = kvmi_watch_reserve(sink->own, NULL, args);
		if (!ret)
			kvmi_watch_set(sink->own, args);
		return ret;
	}
	if (!all && !xa_load(&sink->watches, args->vcpu))
		return -ENOENT;

	if (all)
		ret = kvmi_watch_reserve(sink->def, NULL, args);
	xa_for_each(&sink->watches, i, watch) {
		if (ret)
			return ret;
		if (all || i == args->vcpu)
			ret = kvmi_watch_reserve(watch, xa_load(&vm->vcpus, i),
						 args);
	}
	if (ret)
		return ret;

	if (all)
		kvmi_watch_set(sink->def, args);
	if (all && !sink->observer)
		kvmi_watch_set_stop(&vm->def_stop_kinds, args);
	xa_for_each(&sink->watches, i, watch) {
		if (!all && i != args->vcpu)
			continue;
		kv = xa_load(&vm->vcpus, i);
		if (!sink->observer)
			kvmi_watch_set_stop(&kv->stop_kinds, args);
		kvmi_watch_set(watch, args);
		kvmi_watch_update(kv);
	}
	return kvmi_vm_kick(vm);
}

static void kvmi_watch_off(struct kvmi_watch *watch)
{
	struct kvmi_rules *rules;
	u32 k, i;

	kvmi_limit_clear(watch->limits);
	watch->elements = false;
	for (k = 0; k < KVMI_NR_KINDS; k++) {
		WRITE_ONCE(watch->mode[k], KVMI_MODE_OFF);
		rules = kvmi_rules_of(watch, k);
		for (i = 0; i < (rules ? rules->nr : 0); i++) {
			WRITE_ONCE(rules->rule[i].mode[0], KVMI_MODE_OFF);
			WRITE_ONCE(rules->rule[i].mode[1], KVMI_MODE_OFF);
		}
	}
}

/**
 * kvmi_watch_reset - a session wants nothing any more, of no vCPU
 * @sink: of the session; vm->lock held
 */
void kvmi_watch_reset(struct kvmi_sink *sink)
{
	struct kvmi_watch *watch;
	struct kvmi_vcpu *kv;
	unsigned long i;

	kvmi_watch_off(sink->def);
	kvmi_watch_off(sink->own);
	if (!sink->observer)
		sink->vm->def_stop_kinds = 0;
	xa_for_each(&sink->watches, i, watch) {
		kv = xa_load(&sink->vm->vcpus, i);
		if (!sink->observer)
			WRITE_ONCE(kv->stop_kinds, 0);
		kvmi_watch_off(watch);
		kvmi_watch_update(kv);
	}
}
