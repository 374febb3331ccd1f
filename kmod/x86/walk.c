// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's own page tables, walked for an introspector: what they say, with
 * no regard to SMEP, SMAP or who asks, and without a trace in them.
 *
 * KVM's walker would set accessed bits, follow the MMU state of a vCPU that runs,
 * and work in the VMM's threads only. The tables are the guest's, and may be
 * garbage: each entry is read once, as a processor reads it, and the depth is
 * that of the paging mode, so that tables may point wherever they like.
 */
#include <linux/uaccess.h>

#include "../hook.h"

#define PTE_P		BIT_ULL(0)
#define PTE_W		BIT_ULL(1)
#define PTE_U		BIT_ULL(2)
#define PTE_PS		BIT_ULL(7)
#define PTE_NX		BIT_ULL(63)
#define PTE_ADDR	GENMASK_ULL(51, 12)

static u32 kvmi_walk_mode(const struct kvmi_x86_control *control)
{
	u32 nx = control->efer & EFER_NX ? KVMI_X86_PAGING_NX : 0;

	if (!(control->cr0 & X86_CR0_PG))
		return KVMI_X86_PAGING_NONE;
	if (!(control->cr4 & X86_CR4_PAE))
		return control->cr4 & X86_CR4_PSE ? KVMI_X86_PAGING_PSE :
						    KVMI_X86_PAGING_32BIT;
	if (!(control->efer & EFER_LMA))
		return KVMI_X86_PAGING_PAE | nx;
	return (control->cr4 & X86_CR4_LA57 ? KVMI_X86_PAGING_5LEVEL :
					      KVMI_X86_PAGING_4LEVEL) | nx;
}

static int kvmi_walk_job(struct kvmi_vcpu *kv, void *arg, bool in_run)
{
	struct kvmi_x86_control control;
	struct kvmi_space *space = arg;

	/* Its addresses are physical ones of another guest. */
	if (kv->vcpu->arch.hflags & HF_GUEST_MASK)
		return -EAGAIN;
	kvmi_regs_fill(kv, KVMI_REGS_CONTROL, &control);
	space->root = control.cr3;
	space->mode = kvmi_walk_mode(&control);
	return 0;
}

/**
 * kvmi_walk_begin - check an address space, or ask a vCPU for its own
 * @walk: filled
 * @vm: vm->sem not held
 * @space: as the tool gave it; @walk->space is the same with a root and a mode
 *
 * Return: 0, -EINVAL, -ENOENT (no such vCPU), -EAGAIN (it runs a nested guest),
 * -EINTR, -ENODEV.
 */
int kvmi_walk_begin(struct kvmi_walk *walk, struct kvmi_vm *vm,
		    const struct kvmi_space *space)
{
	struct kvm_vcpu *vcpu;
	struct kvmi_vcpu *kv;
	int ret;

	walk->space = *space;
	ret = kvmi_vm_get(vm);
	if (ret)
		return ret;

	if (!space->mode) {
		ret = -EINVAL;
		if (space->root)
			goto out;
		ret = -ENOENT;
		kv = xa_load(&vm->vcpus, space->vcpu);
		if (!kv)
			goto out;
		ret = kvmi_vcpu_run_job(kv, kvmi_walk_job, &walk->space);
		if (ret)
			goto out;
		walk->space.vcpu = KVMI_VCPU_NONE;
	} else {
		ret = -EINVAL;
		if (space->vcpu != KVMI_VCPU_NONE)
			goto out;
	}

	walk->levels = 0;
	walk->nx = walk->space.mode & KVMI_X86_PAGING_NX;
	walk->entry_size = sizeof(u64);
	ret = -EINVAL;
	switch (walk->space.mode & ~KVMI_X86_PAGING_NX) {
	case KVMI_X86_PAGING_32BIT:
	case KVMI_X86_PAGING_PSE:
		walk->levels = 2;
		walk->entry_size = sizeof(u32);
		fallthrough;
	case KVMI_X86_PAGING_NONE:
		if (walk->nx)
			goto out;
		break;
	case KVMI_X86_PAGING_PAE:
		walk->levels = 3;
		break;
	case KVMI_X86_PAGING_4LEVEL:
		walk->levels = 4;
		break;
	case KVMI_X86_PAGING_5LEVEL:
		walk->levels = 5;
		break;
	default:
		goto out;
	}

	/* Processors of a VM are alike. */
	vcpu = kvm_get_vcpu(vm->kvm, 0);
	walk->reserved = vcpu ? vcpu->arch.reserved_gpa_bits : 0;
	ret = 0;
out:
	kvmi_vm_unget(vm);
	return ret;
}

/* Bits that a processor would fault for, of a present entry. */
static bool kvmi_walk_reserved(const struct kvmi_walk *walk, u64 entry,
			       int level, bool leaf)
{
	u64 reserved;

	if (walk->levels == 2) {
		/* PSE-36: bits 13 to 20 are 32 to 39 of the address. */
		reserved = BIT_ULL(21) | (walk->reserved >> 32 & 0xff) << 13;
		return level == 2 && leaf && (entry & reserved);
	}

	reserved = walk->reserved & GENMASK_ULL(51, 0);
	if (walk->levels == 3) {
		reserved = walk->reserved & GENMASK_ULL(62, 0);
		if (level == 3)
			reserved |= PTE_NX | GENMASK_ULL(8, 5) |
				    GENMASK_ULL(2, 1);
	} else if (level > 3) {
		reserved |= PTE_PS;
	}
	if (!walk->nx)
		reserved |= PTE_NX;
	if (leaf && level > 1)
		reserved |= GENMASK_ULL(level * 9 + 2, 13);
	return entry & reserved;
}

static bool kvmi_walk_leaf(const struct kvmi_walk *walk, u64 entry, int level)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS))
		return false;
	switch (walk->levels) {
	case 2:
		return walk->space.mode == KVMI_X86_PAGING_PSE;
	case 3:
		return level == 2;
	default:
		return level <= 3;
	}
}

static bool kvmi_walk_canonical(const struct kvmi_walk *walk, u64 gva)
{
	int bits = walk->levels * 9 + 12;

	if (walk->levels <= 3)
		return !(gva >> 32);
	return (u64)((s64)(gva << (64 - bits)) >> (64 - bits)) == gva;
}

static u64 kvmi_walk_root(const struct kvmi_walk *walk)
{
	switch (walk->levels) {
	case 2:
		return walk->space.root & GENMASK_ULL(31, 12);
	case 3:
		return walk->space.root & GENMASK_ULL(31, 5);
	default:
		return walk->space.root & PTE_ADDR;
	}
}

/**
 * kvmi_walk - translate a virtual address
 * @walk: of kvmi_walk_begin()
 * @mem: to read the tables with
 * @tr: gva is taken, the rest filled, out_error excepted; also on an error, as
 *	far as the walk came
 *
 * Return: 0, -EINVAL (no address in this mode), -EADDRNOTAVAIL (not mapped),
 * -ENXIO (a table is where the guest has no memory), -EINTR, -ENODEV, -ENOMEM.
 */
int kvmi_walk(const struct kvmi_walk *walk, struct kvmi_mem *mem,
	      struct kvmi_translation *tr)
{
	u32 index_bits = walk->entry_size == sizeof(u32) ? 10 : 9;
	u64 table = kvmi_walk_root(walk);
	u64 rights = PTE_W | PTE_U;
	u64 gva = tr->gva;
	bool leaf = false;
	bool nx = false;
	u64 entry = 0;
	u32 shift;
	int level;
	int ret;

	memset_after(tr, 0, gva);
	if (!kvmi_walk_canonical(walk, gva))
		return -EINVAL;
	if (!walk->levels) {
		tr->out_gpa = gva;
		tr->out_access = KVMI_ACCESS_RWX;
		tr->out_flags = KVMI_TRANSLATION_USER;
		tr->out_shift = PAGE_SHIFT;
		return 0;
	}

	for (level = walk->levels; !leaf; level--) {
		shift = PAGE_SHIFT + (level - 1) * index_bits;
		tr->out_level = level;
		tr->out_shift = shift;
		tr->out_entry = table + (gva >> shift & (BIT(index_bits) - 1)) *
				walk->entry_size;
		ret = kvmi_mem_get(mem, tr->out_entry, walk->entry_size, &entry);
		if (ret)
			return ret;
		tr->out_value = entry;
		if (!(entry & PTE_P))
			return -EADDRNOTAVAIL;
		leaf = kvmi_walk_leaf(walk, entry, level);
		if (kvmi_walk_reserved(walk, entry, level, leaf)) {
			tr->out_flags |= KVMI_TRANSLATION_RESERVED;
			return -EADDRNOTAVAIL;
		}
		/* The top level of PAE has no rights. */
		if (walk->levels != 3 || level != 3) {
			rights &= entry;
			nx |= walk->nx && (entry & PTE_NX);
		}
		table = entry & PTE_ADDR;
	}

	tr->out_gpa = (table & ~(BIT_ULL(shift) - 1)) |
		      (gva & (BIT_ULL(shift) - 1));
	if (walk->levels == 2 && shift > PAGE_SHIFT)
		tr->out_gpa = (entry & GENMASK_ULL(31, 22)) |
			      (entry & GENMASK_ULL(20, 13)) << 19 |
			      (gva & GENMASK_ULL(21, 0));
	tr->out_access = KVMI_ACCESS_R;
	if (rights & PTE_W)
		tr->out_access |= KVMI_ACCESS_W;
	if (!nx)
		tr->out_access |= KVMI_ACCESS_X;
	if (rights & PTE_U)
		tr->out_flags |= KVMI_TRANSLATION_USER;
	return 0;
}

/* Where a gpa is in the VMM's memory, or NULL. */
static const void __user *kvmi_walk_user(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;
	struct kvm_memory_slot *slot;

	slot = __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gfn);
	if (!slot || (slot->flags & KVM_MEMSLOT_INVALID))
		return NULL;
	return (const void __user *)(__gfn_to_hva_memslot(slot, gfn) +
				     offset_in_page(gpa));
}

/**
 * kvmi_walk_fetch - where a vCPU fetches instructions from
 * @vcpu: loaded, in long mode, in no nested guest; called on its thread, kvm->srcu
 *	held; may sleep
 * @gva: virtual address
 * @gpa: set to the physical one
 *
 * What KVM's walk does, but for a fifth of the cost; and as above without a trace.
 * Rights and reserved bits do not matter, as the CPU itself is about to fetch.
 *
 * Return: where it is in the VMM's memory, or NULL.
 */
const void __user *kvmi_walk_fetch(struct kvm_vcpu *vcpu, u64 gva, gpa_t *gpa)
{
	int level = vcpu->arch.cr4 & X86_CR4_LA57 ? 5 : 4;
	u64 entry = kvmi_regs_cr3(vcpu);
	const u64 __user *ptr;
	u32 shift;

	for (;; level--) {
		shift = PAGE_SHIFT + (level - 1) * 9;
		ptr = kvmi_walk_user(vcpu, (entry & PTE_ADDR) +
				     (gva >> shift & 511) * sizeof(u64));
		if (!ptr || __get_user(entry, ptr) || !(entry & PTE_P))
			return NULL;
		if (level == 1 || (level <= 3 && (entry & PTE_PS)))
			break;
	}
	*gpa = (entry & PTE_ADDR & ~(BIT_ULL(shift) - 1)) |
	       (gva & (BIT_ULL(shift) - 1));
	return kvmi_walk_user(vcpu, *gpa);
}
