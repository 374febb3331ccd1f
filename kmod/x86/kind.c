// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kinds of events: what can be asked of each, and what the CPU is to exit for.
 */
#include "../hook.h"

#define KIND_RW		(KVMI_ACCESS_R | KVMI_ACCESS_W)
#define KIND_CRS	(BIT(0) | BIT(3) | BIT(4) | BIT(8))
/*
 * Those that a guest causes: #BP is a kind of its own, NMI (2) and #MC the host's, 9
 * and 15 do not exist.
 */
#define KIND_EXCEPTIONS	(GENMASK(21, 0) & ~(BIT(2) | BIT(3) | BIT(9) | BIT(15) | \
					    BIT(18) | BIT(20)))

/**
 * struct kvmi_kind - what can be asked of a kind of event
 * @there: it can be asked for at all
 * @vm: it is of the VM, not of a vCPU
 * @async: it cannot be answered, but for that of index @sync
 * @indexed: it has rules, by @index and @access
 * @mask: and they may be limited to bits that change
 * @one: of one index at a time
 * @access: KVMI_ACCESS_* that it has; 0: it has none to choose from
 * @otherwise: what no access at all means; 0: it must be chosen
 * @sync: see @async
 * @index: bits of the indices that there are; 0: any
 * @have: which of them there are on this CPU, or NULL for all
 */
struct kvmi_kind {
	bool there;
	bool vm;
	bool async;
	bool indexed;
	bool mask;
	bool one;
	u8 access;
	u8 otherwise;
	u8 sync;
	u64 index;
	u64 (*have)(u32 access);
};

static u64 kvmi_kind_have_cr(u32 access)
{
	/* Intel CPUs let the guest read CR0 and CR4 in any case. */
	if ((access & KVMI_ACCESS_R) && !kvmi_ops->flush_is_asid)
		return BIT(3) | BIT(8);
	return KIND_CRS;
}

static u64 kvmi_kind_have_insn(u32 access)
{
	return kvmi_ops->insns();
}

static const struct kvmi_kind kvmi_kind_table[KVMI_NR_KINDS] = {
	[KVMI_EVENT_ACCESS] = { .there = true },
	[KVMI_EVENT_BREAKPOINT] = { .there = true },
	[KVMI_EVENT_STEP] = { .there = true },
	[KVMI_EVENT_INJECTED] = { .there = true, .async = true },
	[KVMI_EVENT_VM] = {
		.there = true,
		.vm = true,
		.async = true,
		.indexed = true,
		.sync = KVMI_VM_LEAVING,
		.index = GENMASK(KVMI_VM_GONE, KVMI_VM_SLOT_CREATED),
	},
	[KVMI_EVENT_X86_CR] = {
		.there = true,
		.indexed = true,
		.mask = true,
		.access = KIND_RW,
		.otherwise = KVMI_ACCESS_W,
		.index = KIND_CRS,
		.have = kvmi_kind_have_cr,
	},
	[KVMI_EVENT_X86_MSR] = {
		.there = true,
		.indexed = true,
		.mask = true,
		.one = true,
		.access = KIND_RW,
	},
	[KVMI_EVENT_X86_CPUID] = { .there = true },
	[KVMI_EVENT_X86_XSETBV] = {
		.there = true,
		.indexed = true,
		.mask = true,
		.index = BIT(0),
	},
	[KVMI_EVENT_X86_DR] = {
		.there = true,
		.indexed = true,
		.mask = true,
		.access = KIND_RW,
		.index = GENMASK(7, 0),
	},
	[KVMI_EVENT_X86_EXCEPTION] = {
		.there = true,
		.indexed = true,
		.index = KIND_EXCEPTIONS,
	},
	[KVMI_EVENT_X86_DTABLE] = {
		.there = true,
		.indexed = true,
		.access = KIND_RW,
		.index = GENMASK(KVMI_X86_TABLE_TR, KVMI_X86_TABLE_GDTR),
	},
	[KVMI_EVENT_X86_IO] = {
		.there = true,
		.indexed = true,
		.access = KIND_RW,
	},
	[KVMI_EVENT_X86_INSN] = {
		.there = true,
		.indexed = true,
		.index = GENMASK(KVMI_X86_NR_INSNS - 1, 0),
		.have = kvmi_kind_have_insn,
	},
	[KVMI_EVENT_X86_DELIVERY] = {
		.there = true,
		.async = true,
		.indexed = true,
		.index = GENMASK(KVMI_X86_DELIVERY_SOFT,
				 KVMI_X86_DELIVERY_EXCEPTION),
	},
	[KVMI_EVENT_X86_EXIT] = { .there = true, .indexed = true },
	[KVMI_EVENT_VCPU] = {
		.there = true,
		.async = true,
		.indexed = true,
		.index = GENMASK(KVMI_VCPU_SMM_LEFT, KVMI_VCPU_INIT),
	},
	[KVMI_EVENT_HYPERCALL] = { .there = true, .indexed = true },
	[KVMI_EVENT_MMIO] = {
		.there = true,
		.async = true,
		.indexed = true,
		.access = KIND_RW,
	},
};

/* From here on, those of AMD that are not below 0x100. */
#define KVMI_EXITS_HIGH		0x100
#define KVMI_EXIT_HIGH		0x400

/**
 * kvmi_exit_slot - which counter an exit has
 * @reason: of the exit; Intel's are below 128
 *
 * Return: below KVMI_NR_EXITS; the last one is for all that are not known.
 */
u32 kvmi_exit_slot(u32 reason)
{
	if (likely(reason < KVMI_EXITS_HIGH))
		return reason;
	reason -= KVMI_EXIT_HIGH;
	return min_t(u32, reason, KVMI_NR_EXITS - 1 - KVMI_EXITS_HIGH) +
	       KVMI_EXITS_HIGH;
}

/**
 * kvmi_exit_reason - undo kvmi_exit_slot()
 * @slot: of a counter
 *
 * Return: the reason, or KVMI_EXIT_OTHER.
 */
u32 kvmi_exit_reason(u32 slot)
{
	if (slot == KVMI_NR_EXITS - 1)
		return KVMI_EXIT_OTHER;
	return slot < KVMI_EXITS_HIGH ? slot :
					slot - KVMI_EXITS_HIGH + KVMI_EXIT_HIGH;
}

/**
 * kvmi_kinds - kinds that can be enabled
 *
 * Return: bit mask by enum kvmi_event_kind.
 */
u64 kvmi_kinds(void)
{
	u64 kinds = 0;
	u32 i;

	for (i = 0; i < KVMI_NR_KINDS; i++)
		if (kvmi_kind_table[i].there)
			kinds |= BIT_ULL(i);
	if (!kvmi_mmio_there())
		kinds &= ~BIT_ULL(KVMI_EVENT_MMIO);
	return kinds;
}

/**
 * kvmi_kind_has_rules - has a kind settings by register, vector, port?
 * @kind: below KVMI_NR_KINDS
 *
 * Return: true if so.
 */
bool kvmi_kind_has_rules(u32 kind)
{
	return kvmi_kind_table[kind].indexed;
}

/**
 * kvmi_kind_of_vm - is a kind of the VM, not of a vCPU?
 * @kind: below KVMI_NR_KINDS
 *
 * Return: true if so.
 */
bool kvmi_kind_of_vm(u32 kind)
{
	return kvmi_kind_table[kind].vm;
}

static u32 kvmi_kind_last(const struct kvmi_control_event *args)
{
	return args->index_last ?: args->index;
}

static int kvmi_kind_check_index(const struct kvmi_kind *kind,
				 const struct kvmi_control_event *args)
{
	u32 first = args->index, last = kvmi_kind_last(args);
	u32 access = args->access ?: kind->otherwise;
	u64 index = kind->index;

	if (!kind->indexed)
		return first || args->index_last ? -EINVAL : 0;
	if (last < first)
		return -EINVAL;
	if (kind->one && last != first)
		return -EOPNOTSUPP;
	if (!index)
		return 0;
	if (kind->have && args->mode != KVMI_MODE_OFF)
		index &= kind->have(access);
	/* Of a range, some are enough: to switch off all, whatever there are. */
	if (first > 63 ||
	    !(index & GENMASK_ULL(min_t(u32, last, 63), first)))
		return -EOPNOTSUPP;
	return 0;
}

/**
 * kvmi_kind_check - can this be asked for?
 * @args: of KVMI_CONTROL_EVENT
 *
 * Return: 0, -EINVAL for what makes no sense, -EOPNOTSUPP.
 */
int kvmi_kind_check(const struct kvmi_control_event *args)
{
	const struct kvmi_kind *kind;
	int ret;

	if (args->kind >= KVMI_NR_KINDS)
		return -EINVAL;
	kind = &kvmi_kind_table[array_index_nospec(args->kind, KVMI_NR_KINDS)];
	if (!(kvmi_kinds() & BIT_ULL(args->kind)))
		return -EOPNOTSUPP;
	if (kind->async && args->mode == KVMI_MODE_SYNC &&
	    (!kind->sync || args->index != kind->sync ||
	     kvmi_kind_last(args) != kind->sync))
		return -EINVAL;
	if (kind->vm ? args->vcpu != KVMI_VCPU_ALL && args->vcpu != KVMI_VCPU_VM :
		       args->vcpu == KVMI_VCPU_VM)
		return -EINVAL;
	/* Some of these are posted with interrupts off. */
	if (kind->async && (args->regs & ~KVMI_REGS_GENERAL) &&
	    args->kind != KVMI_EVENT_INJECTED)
		return -EINVAL;
	if (kind->vm && (args->regs || (args->flags & KVMI_CONTROL_STOP)))
		return -EINVAL;

	ret = kvmi_kind_check_index(kind, args);
	if (ret)
		return ret;
	if (!args->access && kind->access && !kind->otherwise)
		return -EINVAL;
	if (args->access & ~KIND_RW || (args->access && !kind->access))
		return -EINVAL;
	if (args->access & ~kind->access)
		return -EOPNOTSUPP;
	if (args->mask && !kind->mask)
		return kind->indexed ? -EOPNOTSUPP : -EINVAL;
	return 0;
}

/**
 * kvmi_kind_rule - what was asked for, as a rule
 * @args: of KVMI_CONTROL_EVENT, checked, of a kind that has rules
 * @rule: filled
 */
void kvmi_kind_rule(const struct kvmi_control_event *args,
		    struct kvmi_rule *rule)
{
	const struct kvmi_kind *kind = &kvmi_kind_table[args->kind];
	u32 access = args->access ?: kind->otherwise ?: KIND_RW;
	int w;

	rule->first = args->index;
	rule->last = kvmi_kind_last(args);
	for (w = 0; w < 2; w++) {
		bool meant = access & (w ? KVMI_ACCESS_W : KVMI_ACCESS_R);

		rule->mode[w] = meant ? args->mode : KVMI_RULE_NONE;
		rule->regs[w] = args->regs;
		rule->mask[w] = args->mask;
	}
}

/* Bits of the indices of a rule for one direction, below 64. */
static u64 kvmi_rule_bits(const struct kvmi_rule *rule, int w)
{
	u8 mode = READ_ONCE(rule->mode[w]);

	if (mode == KVMI_MODE_OFF || mode == KVMI_RULE_NONE || rule->first > 63)
		return 0;
	return GENMASK_ULL(min_t(u32, rule->last, 63), rule->first);
}

/* Is a rule on for anything that KVM's fast path deals with? */
static bool kvmi_rule_any(const struct kvmi_rule *rule)
{
	return (rule->mode[0] != KVMI_MODE_OFF && rule->mode[0] != KVMI_RULE_NONE) ||
	       (rule->mode[1] != KVMI_MODE_OFF && rule->mode[1] != KVMI_RULE_NONE);
}

static void kvmi_kind_want_rule(struct kvmi_wants *wants, u32 kind,
				const struct kvmi_rule *rule)
{
	u64 bits[2] = { kvmi_rule_bits(rule, 0), kvmi_rule_bits(rule, 1) };
	u32 bit = 0;
	int w;

	if (!kvmi_rule_any(rule))
		return;
	switch (kind) {
	case KVMI_EVENT_X86_MSR:
		/* Which ones is in kv->msrs. */
		wants->fast = true;
		bit = KVMI_WANT_MSR;
		break;
	case KVMI_EVENT_X86_CR:
		for (w = 0; w < 2; w++)
			wants->cr[w] |= bits[w] & KIND_CRS;
		bit = KVMI_WANT_CONTROLS;
		break;
	case KVMI_EVENT_X86_DR:
		for (w = 0; w < 2; w++)
			wants->dr[w] |= bits[w];
		bit = KVMI_WANT_CONTROLS;
		break;
	case KVMI_EVENT_X86_DTABLE:
		for (w = 0; w < 2; w++)
			wants->table[w] |= bits[w];
		bit = KVMI_WANT_CONTROLS;
		break;
	case KVMI_EVENT_X86_EXCEPTION:
		wants->exceptions |= bits[0] & KIND_EXCEPTIONS;
		bit = KVMI_WANT_CONTROLS;
		break;
	case KVMI_EVENT_X86_INSN:
		wants->insns |= bits[0] & kvmi_ops->insns();
		if (bits[0] & BIT(KVMI_X86_INSN_HLT))
			wants->fast = true;
		bit = KVMI_WANT_CONTROLS | KVMI_WANT_INSN;
		break;
	case KVMI_EVENT_X86_XSETBV:
		bit = KVMI_WANT_XSETBV;
		break;
	case KVMI_EVENT_X86_IO:
		bit = KVMI_WANT_IO;
		break;
	case KVMI_EVENT_X86_DELIVERY:
		bit = KVMI_WANT_DELIVERY;
		break;
	case KVMI_EVENT_X86_EXIT:
		wants->fast = true;
		bit = KVMI_WANT_EXIT;
		break;
	case KVMI_EVENT_VCPU:
		wants->fast = true;
		bit = KVMI_WANT_VCPU;
		break;
	case KVMI_EVENT_MMIO:
		bit = KVMI_WANT_MMIO;
		break;
	case KVMI_EVENT_HYPERCALL:
		bit = KVMI_WANT_HYPERCALL;
		break;
	}
	wants->bits |= bit;
}

/**
 * kvmi_kind_want - add what a kind, or a rule of it, needs
 * @wants: added to
 * @kind: it is on
 * @rule: a rule of the kind, or NULL if it has none
 */
void kvmi_kind_want(struct kvmi_wants *wants, u32 kind,
		    const struct kvmi_rule *rule)
{
	if (rule) {
		kvmi_kind_want_rule(wants, kind, rule);
		return;
	}
	switch (kind) {
	case KVMI_EVENT_BREAKPOINT:
		wants->exceptions |= BIT(BP_VECTOR);
		wants->bits |= KVMI_WANT_CONTROLS;
		break;
	case KVMI_EVENT_STEP:
		wants->bits |= KVMI_WANT_STEP;
		break;
	case KVMI_EVENT_X86_CPUID:
		wants->bits |= KVMI_WANT_CPUID;
		break;
	}
}
