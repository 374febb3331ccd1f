// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What takes more than one register of an x86 guest to know.
 */
#include "internal.h"

/* ---- memory types -------------------------------------------------------- */

#define MTRR_CAP		0xfe
#define MTRR_DEF_TYPE		0x2ff
#define MTRR_DEF_FIXED		(1U << 10)
#define MTRR_DEF_ENABLED	(1U << 11)
#define MTRR_VAR		0x200
#define MTRR_VAR_VALID		(1U << 11)
/* More than any processor has, and they stay below the fixed ones. */
#define MTRR_MAX_VAR		16

#define MTRR_UC			0
#define MTRR_WT			4
#define MTRR_WB			6

/* Eight ranges of this size each, from this address on. */
static const struct {
	uint32_t msr;
	uint32_t from;
	uint32_t size;
} fixed[] = {
	{ 0x250, 0x00000, 0x10000 },
	{ 0x258, 0x80000, 0x4000 }, { 0x259, 0xa0000, 0x4000 },
	{ 0x268, 0xc0000, 0x1000 }, { 0x269, 0xc8000, 0x1000 },
	{ 0x26a, 0xd0000, 0x1000 }, { 0x26b, 0xd8000, 0x1000 },
	{ 0x26c, 0xe0000, 0x1000 }, { 0x26d, 0xe8000, 0x1000 },
	{ 0x26e, 0xf0000, 0x1000 }, { 0x26f, 0xf8000, 0x1000 },
};

#define NR_FIXED	(sizeof(fixed) / sizeof(fixed[0]))

/* Several ranges: SDM volume 3, "MTRR Precedences". */
static unsigned int combine(unsigned int a, unsigned int b)
{
	if (a == b)
		return a;
	if (a == MTRR_UC || b == MTRR_UC)
		return MTRR_UC;
	if ((a == MTRR_WT || a == MTRR_WB) && (b == MTRR_WT || b == MTRR_WB))
		return MTRR_WT;
	return KVMI_MTRR_UNDEFINED;
}

static unsigned int variable_type(const struct kvmi_x86_msr *var, unsigned int nr,
				  uint64_t gpa, unsigned int type)
{
	bool found = false;
	unsigned int i;

	for (i = 0; i < nr; i++, var += 2) {
		uint64_t base = var[0].value, mask = var[1].value;

		if (var[0].out_error || var[1].out_error ||
		    !(mask & MTRR_VAR_VALID))
			continue;
		mask &= ~0xfffULL;
		if ((gpa ^ base) & mask)
			continue;
		type = found ? combine(type, base & 0xff) : base & 0xff;
		found = true;
	}
	return type;
}

/**
 * kvmi_vcpu_get_mtrr() - The memory type of a page, as the guest has set it
 * @vm: the session
 * @vcpu: index of the vCPU: guests set all alike, but at boot one by one
 * @gfn: guest frame number
 * @type: where to store the type: 0 uncached, 1 write-combining, 4 write-through,
 *	5 write-protected, 6 write-back; KVMI_MTRR_UNDEFINED where the guest's ranges
 *	contradict each other
 *
 * By the guest's MTRRs alone, as the processor manuals tell: off means uncached.
 * What its page tables say (PAT) comes on top. KVM itself heeds them only for
 * VMs with devices of the host, if at all: it says what the guest wants.
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP: the vCPU has no MTRRs.
 */
int kvmi_vcpu_get_mtrr(struct kvmi_vm *vm, unsigned int vcpu, uint64_t gfn,
		       unsigned int *type)
{
	struct kvmi_x86_msr msrs[2 + NR_FIXED + 2 * MTRR_MAX_VAR] = {
		{ .index = MTRR_CAP }, { .index = MTRR_DEF_TYPE },
	};
	struct kvmi_x86_msr *var = &msrs[2 + NR_FIXED];
	uint64_t gpa = gfn << 12, def;
	unsigned int i, nr;
	int ret;

	for (i = 0; i < NR_FIXED; i++)
		msrs[2 + i].index = fixed[i].msr;
	for (i = 0; i < 2 * MTRR_MAX_VAR; i++)
		var[i].index = MTRR_VAR + i;
	ret = kvmi_vcpu_get_msrs(vm, vcpu, msrs, sizeof(msrs) / sizeof(msrs[0]));
	if (ret < 0)
		return ret;
	if (msrs[0].out_error || msrs[1].out_error)
		return kvmi_error_set(-EOPNOTSUPP, "vCPU %u has no MTRRs", vcpu);

	def = msrs[1].value;
	if (!(def & MTRR_DEF_ENABLED)) {
		*type = MTRR_UC;
		return 0;
	}
	if (def & MTRR_DEF_FIXED) {
		for (i = 0; i < NR_FIXED; i++) {
			uint64_t at = gpa - fixed[i].from;

			if (gpa < fixed[i].from || at >= 8 * fixed[i].size)
				continue;
			*type = msrs[2 + i].value >> at / fixed[i].size * 8 & 0xff;
			return 0;
		}
	}
	nr = msrs[0].value & 0xff;
	if (nr > MTRR_MAX_VAR)
		nr = MTRR_MAX_VAR;
	*type = variable_type(var, nr, gpa, def & 0xff);
	return 0;
}

/* ---- kvmclock ------------------------------------------------------------ */

/* KVM keeps one with 0x12, that of old guests. */
#define MSR_SYSTEM_TIME		0x4b564d01
#define PVCLOCK_TRIES		100

/* As the guest has it in memory (struct pvclock_vcpu_time_info). */
struct pvclock_memory {
	uint32_t version;
	uint32_t pad;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags;
	uint8_t pad2[2];
};

/**
 * kvmi_vcpu_get_pvclock() - The guest's kvmclock
 * @vm: the session
 * @vcpu: index of the vCPU
 * @clock: where to store it
 *
 * As the vCPU last got it from KVM. To have it elsewhere, or not at all, write MSR
 * 0x4b564d01 by kvmi_vcpu_set_msr().
 *
 * Return: 0 or a negative errno; -ENOENT: the guest has turned none on;
 * -ENXIO: it is where the guest has no memory; -EAGAIN: it is never seen whole.
 */
int kvmi_vcpu_get_pvclock(struct kvmi_vm *vm, unsigned int vcpu,
			  struct kvmi_pvclock *clock)
{
	struct kvmi_x86_msr msr = { .index = MSR_SYSTEM_TIME };
	struct pvclock_memory mem, again;
	unsigned int i;
	ssize_t n;
	int ret;

	ret = kvmi_vcpu_get_msrs(vm, vcpu, &msr, 1);
	if (ret < 0)
		return ret;
	if (msr.out_error || !(msr.value & 1))
		return kvmi_error_set(-ENOENT, "vCPU %u has no kvmclock", vcpu);

	memset(clock, 0, sizeof(*clock));
	clock->gpa = msr.value & ~1ULL;
	for (i = 0; i < PVCLOCK_TRIES; i++) {
		n = kvmi_vm_read(vm, clock->gpa, &mem, sizeof(mem));
		if (n == sizeof(mem))
			n = kvmi_vm_read(vm, clock->gpa, &again, sizeof(again));
		if (n < 0)
			return n;
		if (n != sizeof(mem))
			return kvmi_error_set(-ENXIO, "kvmclock at %#llx: no memory",
					      (unsigned long long)clock->gpa);
		/* Odd while KVM writes it. */
		if ((mem.version & 1) || memcmp(&mem, &again, sizeof(mem)))
			continue;
		clock->version = mem.version;
		clock->tsc_timestamp = mem.tsc_timestamp;
		clock->system_time = mem.system_time;
		clock->tsc_to_system_mul = mem.mul;
		clock->tsc_shift = mem.shift;
		clock->flags = mem.flags;
		return 0;
	}
	return kvmi_error_set(-EAGAIN, "kvmclock of vCPU %u changes all the time",
			      vcpu);
}

/**
 * kvmi_pvclock_ns() - What kvmclock shows at a time
 * @clock: of the vCPU
 * @tsc: its time stamp counter then, for instance guest_tsc of an event
 *
 * Return: nanoseconds; before the clock was written, what it showed then.
 */
uint64_t kvmi_pvclock_ns(const struct kvmi_pvclock *clock, uint64_t tsc)
{
	uint64_t delta = tsc > clock->tsc_timestamp ?
			 tsc - clock->tsc_timestamp : 0;

	/* The guest may have written anything. */
	if (clock->tsc_shift <= -64 || clock->tsc_shift >= 64)
		delta = 0;
	else if (clock->tsc_shift < 0)
		delta >>= -clock->tsc_shift;
	else
		delta <<= clock->tsc_shift;
	/* The product has 96 bits. */
	return clock->system_time +
	       (delta >> 32) * clock->tsc_to_system_mul +
	       ((delta & 0xffffffff) * clock->tsc_to_system_mul >> 32);
}
