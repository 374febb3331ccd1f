// SPDX-License-Identifier: GPL-2.0-only
/* Virtual memory: page tables of every kind, walked from outside. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE		4096UL
#define P		0x1UL
#define W		0x2UL
#define U		0x4UL
#define PS		0x80UL
#define NX		(1UL << 63)
#define HOLE		0x30000000UL

#define CR0_PG		(1UL << 31)
#define CR4_PSE		(1UL << 4)
#define CR4_PAE		(1UL << 5)
#define CR4_LA57	(1UL << 12)
#define EFER_LME	(1UL << 8)
#define EFER_LMA	(1UL << 10)
#define EFER_NX		(1UL << 11)

static void set64(struct vmm *vm, uint64_t table, unsigned int i, uint64_t entry)
{
	((uint64_t *)vmm_gpa(vm, table))[i] = entry;
}

static void set32(struct vmm *vm, uint64_t table, unsigned int i, uint32_t entry)
{
	((uint32_t *)vmm_gpa(vm, table))[i] = entry;
}

static struct kvmi_space space(uint64_t root, uint32_t mode)
{
	struct kvmi_space s = {
		.root = root, .mode = mode, .vcpu = KVMI_VCPU_NONE,
	};

	return s;
}

static struct kvmi_translation translate(struct kvmi_vm *kv,
					 const struct kvmi_space *s,
					 uint64_t gva)
{
	struct kvmi_translation tr = { .gva = gva };

	KTAP_LIB_OK(kvmi_space_translate_list(kv, s, &tr, 1));
	KTAP_EQ(tr.gva, gva);
	return tr;
}

#define MAPPED(s, va, pa, acc, fl, lev, sh)				\
	do {								\
		struct kvmi_translation __tr = translate(kv, s, va);	\
									\
		KTAP_EQ(__tr.out_error, 0);				\
		KTAP_EQ(__tr.out_gpa, pa);				\
		KTAP_EQ(__tr.out_access, acc);				\
		KTAP_EQ(__tr.out_flags, fl);				\
		KTAP_EQ(__tr.out_level, lev);				\
		KTAP_EQ(__tr.out_shift, sh);				\
	} while (0)

#define UNMAPPED(s, va, err, lev, entry, fl)				\
	do {								\
		struct kvmi_translation __tr = translate(kv, s, va);	\
									\
		KTAP_EQ(__tr.out_error, -(err));			\
		KTAP_EQ(__tr.out_gpa, 0);				\
		KTAP_EQ(__tr.out_access, 0);				\
		KTAP_EQ(__tr.out_level, lev);				\
		KTAP_EQ(__tr.out_entry, entry);				\
		KTAP_EQ(__tr.out_flags, fl);				\
	} while (0)

#define R_	KVMI_ACCESS_R
#define RW_	(KVMI_ACCESS_R | KVMI_ACCESS_W)
#define RX_	(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define RWX_	KVMI_ACCESS_RWX
#define USER	KVMI_TRANSLATION_USER
#define RSVD	KVMI_TRANSLATION_RESERVED

/* The tables that the tests' guests run on, of a vCPU that runs and one that does not. */
KTAP_CASE(of_a_vcpu, "S4 S1")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_space s;
	uint64_t val = 0;
	int i;

	vmm_worker_start(vm, GUEST_WORK_CPUID);
	vmm_vcpu_stop(vm, 1);
	for (i = 0; i < 2; i++) {
		KTAP_LIB_OK(kvmi_space_get(kv, i, &s));
		KTAP_EQ(s.mode & 0xff, KVMI_X86_PAGING_4LEVEL);
		KTAP_EQ(s.root, GUEST_PML4);
		KTAP_EQ(s.vcpu, KVMI_VCPU_NONE);
		MAPPED(&s, 0x801234, 0x801234, RWX_, USER, 1, 12);
		MAPPED(&s, GUEST_4K_WINDOW + 5, GUEST_4K_WINDOW + 5, RWX_, USER,
		       2, 21);
		UNMAPPED(&s, 1UL << 40, EADDRNOTAVAIL, 4, GUEST_PML4 + 16, 0);

		s = (struct kvmi_space) { .vcpu = i };
		MAPPED(&s, 0x801234, 0x801234, RWX_, USER, 1, 12);
		KTAP_EQ(kvmi_space_read(kv, &s, GUEST_PML4, &val, 8), 8);
		KTAP_EQ(val & ~0xfffUL, GUEST_PDPT);
	}
	vmm_vcpu_start(vm, 1);
	vmm_worker_check(vm, 10);
	vmm_worker_stop(vm);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(four_and_five_levels, "S4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t t = vmm_alloc_pages(vm, 5);
	uint64_t pml5 = t, pml4 = t + PAGE, pdpt = t + 2 * PAGE;
	uint64_t pd = t + 3 * PAGE, pt = t + 4 * PAGE;
	struct kvmi_space s4 = space(pml4 | 0x8000000000000018,
				     KVMI_X86_PAGING_4LEVEL |
				     KVMI_X86_PAGING_NX);
	struct kvmi_space s5 = space(pml5, KVMI_X86_PAGING_5LEVEL |
				     KVMI_X86_PAGING_NX);
	struct kvmi_space old = space(pml4, KVMI_X86_PAGING_4LEVEL);
	uint64_t top = 0xffff800000000000UL;
	uint64_t va = top + (3UL << 30) + (4 << 21) + (5 << 12);

	set64(vm, pml5, 511, pml4 | P | W | U);
	set64(vm, pml5, 3, pml4 | P | W | U);
	set64(vm, pml4, 256, pdpt | P | W | U);
	set64(vm, pdpt, 3, pd | P | W | U);
	set64(vm, pd, 4, pt | P | W | U);
	set64(vm, pt, 5, 0x123456000 | P | W | U);
	MAPPED(&s4, va + 0x789, 0x123456789, RWX_, USER, 1, 12);
	/* Bits 56:48 choose the entry of the fifth level. */
	MAPPED(&s5, va + 0x789, 0x123456789, RWX_, USER, 1, 12);
	MAPPED(&s5, (3UL << 48) | (va & 0xffffffffffff), 0x123456000, RWX_,
	       USER, 1, 12);
	UNMAPPED(&s4, (3UL << 48) | (va & 0xffffffffffff), EINVAL, 0, 0, 0);
	UNMAPPED(&s4, 0x0000800000000000UL, EINVAL, 0, 0, 0);
	UNMAPPED(&s5, 0x0100000000000000UL, EINVAL, 0, 0, 0);
	UNMAPPED(&s4, va + PAGE, EADDRNOTAVAIL, 1, pt + 6 * 8, 0);
	UNMAPPED(&s4, va + (1 << 21), EADDRNOTAVAIL, 2, pd + 5 * 8, 0);
	UNMAPPED(&s4, va + (1 << 30), EADDRNOTAVAIL, 3, pdpt + 4 * 8, 0);
	UNMAPPED(&s4, va + (1UL << 39), EADDRNOTAVAIL, 4, pml4 + 257 * 8, 0);
	UNMAPPED(&s5, 1UL << 48, EADDRNOTAVAIL, 5, pml5 + 8, 0);

	/* Rights are those of all levels together. */
	set64(vm, pd, 4, pt | P | U | NX);
	MAPPED(&s4, va, 0x123456000, R_, USER, 1, 12);
	set64(vm, pd, 4, pt | P | W);
	MAPPED(&s4, va, 0x123456000, RWX_, 0, 1, 12);
	set64(vm, pml4, 256, pdpt | P | U);
	MAPPED(&s4, va, 0x123456000, RX_, 0, 1, 12);
	/* Without EFER.NXE the bit is reserved. */
	set64(vm, pt, 5, 0x123456000 | P | NX);
	MAPPED(&s4, va, 0x123456000, R_, 0, 1, 12);
	UNMAPPED(&old, va, EADDRNOTAVAIL, 1, pt + 5 * 8, RSVD);

	/* Large pages, and their reserved bits. */
	set64(vm, pd, 6, 0x40000000 | PS | P | W | U);
	MAPPED(&s4, top + (3UL << 30) + (6 << 21) + 0x12345, 0x40012345, RX_,
	       USER, 2, 21);
	set64(vm, pd, 6, 0x40002000 | PS | P | W | U);
	UNMAPPED(&s4, top + (3UL << 30) + (6 << 21), EADDRNOTAVAIL, 2,
		 pd + 6 * 8, RSVD);
	set64(vm, pdpt, 7, 0x80000000 | PS | P | W | U);
	MAPPED(&s4, top + (7UL << 30) + 0x1234567, 0x81234567, RX_, USER, 3,
	       30);
	set64(vm, pdpt, 7, 0x80200000 | PS | P | W | U);
	UNMAPPED(&s4, top + (7UL << 30), EADDRNOTAVAIL, 3, pdpt + 7 * 8, RSVD);
	set64(vm, pml4, 300, pdpt | PS | P | W | U);
	UNMAPPED(&s4, top + (44UL << 39), EADDRNOTAVAIL, 4, pml4 + 300 * 8,
		 RSVD);

	/* Bit 12 is an address bit of a small page, PAT of a large one. */
	set64(vm, pd, 6, 0x40001000 | PS | P | W | U);
	MAPPED(&s4, top + (3UL << 30) + (6 << 21), 0x40000000, RX_, USER, 2,
	       21);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(pae_and_32_bit, "S4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t t = vmm_alloc_pages(vm, 3);
	uint64_t pdpt = t + 0x7e0, pd = t + PAGE, pt = t + 2 * PAGE;
	struct kvmi_space pae = space(pdpt | 0x1f, KVMI_X86_PAGING_PAE |
				      KVMI_X86_PAGING_NX);
	struct kvmi_space b32 = space(pd, KVMI_X86_PAGING_32BIT);
	struct kvmi_space pse = space(pd, KVMI_X86_PAGING_PSE);
	struct kvmi_space none = space(0, KVMI_X86_PAGING_NONE);

	/* The root is aligned to 32 bytes, and has no rights. */
	set64(vm, t, 0x7e0 / 8 + 3, pd | P);
	set64(vm, pd, 511, pt | P | W | U);
	set64(vm, pt, 510, 0xabcdef000 | P | U | NX);
	set64(vm, pd, 1, 0x80000000 | PS | P | W);
	MAPPED(&pae, 0xffffe123, 0xabcdef123, R_, USER, 1, 12);
	MAPPED(&pae, 0xc0234567, 0x80034567, RWX_, 0, 2, 21);
	UNMAPPED(&pae, 0x80000000, EADDRNOTAVAIL, 3, pdpt + 16, 0);
	UNMAPPED(&pae, 0x100000000, EINVAL, 0, 0, 0);
	set64(vm, t, 0x7e0 / 8 + 3, pd | P | W);
	UNMAPPED(&pae, 0xc0234567, EADDRNOTAVAIL, 3, pdpt + 24, RSVD);
	set64(vm, t, 0x7e0 / 8 + 3, pd | P);
	set64(vm, pd, 1, 0x80000000 | PS | P | W | 1UL << 55);
	UNMAPPED(&pae, 0xc0234567, EADDRNOTAVAIL, 2, pd + 8, RSVD);

	memset(vmm_gpa(vm, pd), 0, PAGE);
	memset(vmm_gpa(vm, pt), 0, PAGE);
	set32(vm, pd, 1023, pt | P | W | U);
	set32(vm, pt, 1022, 0xabcde000 | P | U);
	/* A page of 4 MiB where CR4.PSE is set, above 4 GiB; else a table. */
	set32(vm, pd, 2, 0x00400000 | 5 << 13 | PS | P | W | U);
	MAPPED(&b32, 0xffffe123, 0xabcde123, RX_, USER, 1, 12);
	MAPPED(&pse, 0xffffe123, 0xabcde123, RX_, USER, 1, 12);
	MAPPED(&pse, 0x00a12345, 0x500612345, RWX_, USER, 2, 22);
	set32(vm, 0x40a000, 0x212, 0x77777000 | P);
	MAPPED(&b32, 0x00a12345, 0x77777345, RX_, 0, 1, 12);
	set32(vm, pd, 2, 0x00400000 | 1 << 21 | PS | P | W | U);
	UNMAPPED(&pse, 0x00a12345, EADDRNOTAVAIL, 2, pd + 8, RSVD);
	UNMAPPED(&b32, 0x1ffffe123, EINVAL, 0, 0, 0);
	UNMAPPED(&b32, 0x40000000, EADDRNOTAVAIL, 2, pd + 256 * 4, 0);

	MAPPED(&none, 0x12345678, 0x12345678, RWX_, USER, 0, 12);
	UNMAPPED(&none, 0x112345678, EINVAL, 0, 0, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Tables that lead to themselves, nowhere, or beyond any address. */
KTAP_CASE(hostile_tables, "S4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t pml4 = vmm_alloc_pages(vm, 1);
	struct kvmi_space s = space(pml4, KVMI_X86_PAGING_4LEVEL);
	struct kvmi_space hole = space(HOLE, KVMI_X86_PAGING_4LEVEL);
	struct kvmi_space high = space(~0UL, KVMI_X86_PAGING_5LEVEL);
	struct kvmi_space s5 = space(pml4, KVMI_X86_PAGING_5LEVEL);
	uint64_t va = 0;
	unsigned int i;

	/* As Windows does it: each level is the same table. */
	set64(vm, pml4, 0x1fd, pml4 | P | W | U);
	for (i = 0; i < 4; i++)
		va |= 0x1fdUL << (12 + 9 * i);
	MAPPED(&s, va | 0xffff000000000000, pml4, RWX_, USER, 1, 12);
	MAPPED(&s5, va | 0xfffd000000000000 | 1UL << 56, pml4, RWX_, USER, 1,
	       12);
	/* All entries: any address ends there. */
	for (i = 0; i < 512; i++)
		set64(vm, pml4, i, pml4 | P);
	MAPPED(&s, 0x123456789abc, pml4 + 0xabc, RX_, 0, 1, 12);
	MAPPED(&s5, 0xff23456789abcd, pml4 + 0xbcd, RX_, 0, 1, 12);

	set64(vm, pml4, 0, HOLE | P);
	UNMAPPED(&s, 0x5000, ENXIO, 3, HOLE, 0);
	UNMAPPED(&hole, 0x5000, ENXIO, 4, HOLE, 0);
	UNMAPPED(&high, 0x5000, ENXIO, 5, 0xffffffffff000, 0);
	set64(vm, pml4, 0, 0xffffffffff000 | P);
	KTAP_ASSERT(translate(kv, &s, 0x5000).out_error);
	for (i = 0; i < 512; i++)
		set64(vm, pml4, i, ~0UL);
	UNMAPPED(&s, 0x5000, EADDRNOTAVAIL, 4, pml4, RSVD);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static uint64_t seed = 12345;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (seed >> 33) % n;
}

#define TABLES	6

/* Random tables: the outcome is that of KVM's own walker. */
static void compare_with_kvm(struct vmm *vm, struct kvmi_vm *kv, uint32_t mode,
			     uint64_t t, const struct kvm_sregs *sregs)
{
	static const unsigned int index[] = { 0, 1, 2, 3, 255, 510, 511 };
	bool small = mode == KVMI_X86_PAGING_PSE ||
		     mode == KVMI_X86_PAGING_32BIT;
	unsigned int levels = small ? 2 : mode == KVMI_X86_PAGING_PAE ? 3 :
			      mode == KVMI_X86_PAGING_4LEVEL ? 4 : 5;
	unsigned int i, n, l, mapped = 0;
	struct kvmi_translation list[64];
	struct kvm_translation ref;
	struct kvmi_space s;
	uint64_t entry;

	for (n = 0; n < TABLES * 7; n++) {
		entry = t + (1 + random_below(TABLES - 1)) * PAGE;
		if (random_below(8) == 0)
			entry = HOLE + (random_below(4) << 22);
		if (random_below(12))
			entry |= P;
		entry |= random_below(4) << 1;
		if (random_below(6) == 0)
			entry = (entry & 0xfff) | PS |
				random_below(4) << (small ? 22 : 21);
		if (!small && random_below(6) == 0)
			entry |= NX;
		if (!small && random_below(20) == 0)
			entry |= 1UL << 51;
		if (random_below(20) == 0)
			entry |= PS;
		if (small)
			set32(vm, t + n / 7 * PAGE, index[n % 7], entry);
		else
			set64(vm, t + n / 7 * PAGE, index[n % 7], entry);
	}
	/* KVM loads the top level of PAE with CR3, all or nothing. */
	for (i = 0; i < 4 && mode == KVMI_X86_PAGING_PAE; i++)
		set64(vm, t, i, (t + (1 + random_below(TABLES - 1)) * PAGE) |
		      (i ? P : 0));
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_SET_SREGS, sregs));

	memset(list, 0, sizeof(list));
	for (i = 0; i < 64; i++) {
		for (l = 0; l < levels; l++)
			list[i].gva |= (uint64_t)index[random_below(7)] <<
				       (12 + l * (small ? 10 : 9));
		if (levels <= 3)
			list[i].gva &= 0xffffffff;
		else
			list[i].gva = (int64_t)(list[i].gva <<
						(64 - 12 - levels * 9)) >>
				      (64 - 12 - levels * 9);
		list[i].gva |= random_below(4096);
	}
	KTAP_LIB_OK(kvmi_space_get(kv, 0, &s));
	KTAP_EQ(s.mode & 0xff, mode);
	KTAP_EQ(s.root, t);
	KTAP_LIB_OK(kvmi_space_translate_list(kv, &s, list, 64));
	for (i = 0; i < 64; i++) {
		memset(&ref, 0, sizeof(ref));
		ref.linear_address = list[i].gva;
		KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_TRANSLATE, &ref));
		/* Pages of 1 GiB are the CPU model's to allow. */
		if (list[i].out_level == 3 && levels > 3 &&
		    (list[i].out_value & PS))
			continue;
		if (ref.valid != !list[i].out_error)
			ktap_diag("mode %u gva %#llx level %u value %#llx", mode,
				  list[i].gva, list[i].out_level,
				  list[i].out_value);
		KTAP_EQ(ref.valid, !list[i].out_error);
		if (ref.valid)
			KTAP_EQ(ref.physical_address, list[i].out_gpa);
		mapped += ref.valid;
	}
	ktap_diag("mode %u: %u of 64 mapped", mode, mapped);
}

KTAP_CASE(as_kvm_walks_them, "S4 S1")
{
	static const struct { uint32_t mode; uint64_t cr4; bool lm; } modes[] = {
		{ KVMI_X86_PAGING_4LEVEL, CR4_PAE, true },
		{ KVMI_X86_PAGING_5LEVEL, CR4_PAE | CR4_LA57, true },
		{ KVMI_X86_PAGING_PAE, CR4_PAE, false },
		{ KVMI_X86_PAGING_PSE, CR4_PSE, false },
		{ KVMI_X86_PAGING_32BIT, 0, false },
	};
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t t = vmm_alloc_pages(vm, TABLES);
	struct kvm_sregs sregs, s;
	struct kvmi_space space;
	unsigned int i, round;

	vmm_vcpu_get_sregs(vm, 0, &sregs);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		for (round = 0; round < 20; round++) {
			s = sregs;
			s.cr3 = t;
			s.cr4 = (s.cr4 & ~(CR4_PSE | CR4_PAE | CR4_LA57)) |
				modes[i].cr4;
			if (!modes[i].lm) {
				s.efer &= ~(EFER_LME | EFER_LMA);
				s.cs.l = 0;
				s.cs.db = 1;
			}
			/* Tables that PAE can load. */
			memset(vmm_gpa(vm, t), 0, PAGE);
			if (ioctl(vm->vcpu[0].fd, KVM_SET_SREGS, &s)) {
				/* No five levels on this host. */
				KTAP_EQ(modes[i].mode, KVMI_X86_PAGING_5LEVEL);
				break;
			}
			compare_with_kvm(vm, kv, modes[i].mode, t, &s);
		}
	}
	s.cr0 &= ~CR0_PG;
	KTAP_OK(ioctl(vm->vcpu[0].fd, KVM_SET_SREGS, &s));
	KTAP_LIB_OK(kvmi_space_get(kv, 0, &space));
	KTAP_EQ(space.mode, KVMI_X86_PAGING_NONE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Pages next to each other that are not, in either direction; and a list. */
KTAP_CASE(read_and_write, "S4")
{
	struct vmm *vm = vmm_create(1, VMM_F_DIRTY_LOG);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t t = vmm_alloc_pages(vm, 4);
	uint64_t data = vmm_alloc_pages(vm, 8);
	struct kvmi_space s = space(t, KVMI_X86_PAGING_4LEVEL);
	uint8_t buf[4 * PAGE], *mem = vmm_gpa(vm, data);
	uint64_t va = 5 * PAGE, val[3] = { 0 };
	uint64_t end = -PAGE;
	struct kvmi_rw list[5];
	uint64_t *log;
	unsigned int i;

	set64(vm, t, 0, (t + PAGE) | P | W);
	set64(vm, t, 511, (t + PAGE) | P | W);
	set64(vm, t + PAGE, 0, (t + 2 * PAGE) | P | W);
	set64(vm, t + PAGE, 511, (t + 2 * PAGE) | P | W);
	set64(vm, t + 2 * PAGE, 0, (t + 3 * PAGE) | P | W);
	set64(vm, t + 2 * PAGE, 511, (t + 3 * PAGE) | P | W);
	/* Read-only, and in no order. */
	set64(vm, t + 3 * PAGE, 5, (data + 6 * PAGE) | P);
	set64(vm, t + 3 * PAGE, 6, (data + 2 * PAGE) | P);
	set64(vm, t + 3 * PAGE, 7, (data + 4 * PAGE) | P);
	set64(vm, t + 3 * PAGE, 511, data | P);
	set64(vm, t + 3 * PAGE, 9, HOLE | P);
	for (i = 0; i < 8 * PAGE; i++)
		mem[i] = i / PAGE + i;

	KTAP_EQ(kvmi_space_read(kv, &s, va + 100, buf, 2 * PAGE), 2 * PAGE);
	KTAP_ASSERT(!memcmp(buf, mem + 6 * PAGE + 100, PAGE - 100));
	KTAP_ASSERT(!memcmp(buf + PAGE - 100, mem + 2 * PAGE, PAGE));
	KTAP_ASSERT(!memcmp(buf + 2 * PAGE - 100, mem + 4 * PAGE, 100));
	/* It ends with what is mapped; and with the address space. */
	KTAP_EQ(kvmi_space_read(kv, &s, va + 1, buf, 4 * PAGE), 3 * PAGE - 1);
	KTAP_EQ(kvmi_space_read(kv, &s, end + 8, buf, PAGE - 8), PAGE - 8);
	KTAP_ASSERT(!memcmp(buf, mem + 8, PAGE - 8));
	KTAP_LIB_ERR(kvmi_space_read(kv, &s, end + 8, buf, PAGE), EINVAL);
	KTAP_LIB_ERR(kvmi_space_read(kv, &s, 8 * PAGE, buf, 8), EADDRNOTAVAIL);
	KTAP_LIB_ERR(kvmi_space_read(kv, &s, 9 * PAGE, buf, 8), ENXIO);
	KTAP_LIB_ERR(kvmi_space_read(kv, &s, 1UL << 47, buf, 8), EINVAL);

	free(vmm_slot_dirty_log(vm, 0));
	memset(buf, 0xee, sizeof(buf));
	KTAP_EQ(kvmi_space_write(kv, &s, va + PAGE - 4, buf, 8), 8);
	KTAP_ASSERT(!memcmp(mem + 7 * PAGE - 4, buf, 4));
	KTAP_ASSERT(!memcmp(mem + 2 * PAGE, buf, 4));
	KTAP_NE(mem[2 * PAGE + 4], 0xee);
	/* Those two pages are dirty, and no page table: nothing was set there. */
	log = vmm_slot_dirty_log(vm, 0);
	for (i = 0; i < 8; i++)
		KTAP_EQ(log[(data / PAGE + i) / 64] >> (data / PAGE + i) % 64 & 1,
			i == 2 || i == 6);
	for (i = 0; i < 4; i++)
		KTAP_EQ(log[(t / PAGE + i) / 64] >> (t / PAGE + i) % 64 & 1, 0);
	free(log);

	memset(list, 0, sizeof(list));
	for (i = 0; i < 5; i++) {
		list[i].addr = va + i * PAGE + 16;
		list[i].buf = (uint64_t)(i < 3 ? &val[i] : (void *)buf);
		list[i].len = 8;
	}
	KTAP_EQ(kvmi_space_read_list(kv, &s, list, 5), 2);
	KTAP_EQ(list[3].out_error, -EADDRNOTAVAIL);
	KTAP_EQ(list[4].out_error, -ENXIO);
	KTAP_ASSERT(!memcmp(&val[0], mem + 6 * PAGE + 16, 8));
	KTAP_ASSERT(!memcmp(&val[1], mem + 2 * PAGE + 16, 8));
	KTAP_ASSERT(!memcmp(&val[2], mem + 4 * PAGE + 16, 8));
	val[2] = 77;
	KTAP_EQ(kvmi_space_write_list(kv, &s, list, 5), 2);
	KTAP_ASSERT(!memcmp(mem + 4 * PAGE + 16, &val[2], 8));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

#define NODES	10000

/* A list of nodes in no order: few calls, and the truth after a flush. */
KTAP_CASE(pointers_through_a_cache, "S4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, NODES * 64 / PAGE + 1);
	struct { uint64_t next, n; } node;
	struct kvmi_space s, other;
	struct kvmi_virt *virt;
	uint64_t *mem = vmm_gpa(vm, gpa);
	uint64_t at, calls;
	uint8_t buf[3 * PAGE];
	unsigned int i;

	for (i = 0; i < NODES; i++) {
		mem[i * 8] = gpa + (i + 7919) % NODES * 64;
		mem[i * 8 + 1] = i;
	}
	KTAP_LIB_OK(kvmi_space_get(kv, 0, &s));
	KTAP_LIB_OK(kvmi_virt_open(kv, 0, &virt));
	for (i = 0, at = gpa; i < NODES; i++) {
		KTAP_EQ(kvmi_virt_read(virt, &s, at, &node, 16), 16);
		KTAP_EQ(node.n, i * 7919UL % NODES);
		at = node.next;
	}
	KTAP_EQ(at, gpa);
	calls = kvmi_virt_calls(virt);
	KTAP_ASSERT(calls <= NODES * 64 / 65536 + 2);

	/* As it was, until the flush. */
	mem[1] = 4711;
	KTAP_EQ(kvmi_virt_read(virt, &s, gpa, &node, 16), 16);
	KTAP_EQ(node.n, 0);
	kvmi_virt_flush(virt);
	KTAP_EQ(kvmi_virt_read(virt, &s, gpa, &node, 16), 16);
	KTAP_EQ(node.n, 4711);
	KTAP_EQ(kvmi_virt_calls(virt), calls + 1);

	/* Errors are cached as well, and of a page each. */
	KTAP_LIB_ERR(kvmi_virt_read(virt, &s, 1UL << 40, &node, 8),
		     EADDRNOTAVAIL);
	*vmm_pte(vm, gpa + PAGE) &= ~1UL;
	kvmi_virt_flush(virt);
	KTAP_EQ(kvmi_virt_read(virt, &s, gpa + 8, buf, sizeof(buf)), PAGE - 8);
	KTAP_LIB_ERR(kvmi_virt_read(virt, &s, gpa + PAGE, buf, 8),
		     EADDRNOTAVAIL);
	KTAP_EQ(kvmi_virt_read(virt, &s, gpa + 2 * PAGE, buf, 8), 8);
	*vmm_pte(vm, gpa + PAGE) |= 1;

	/* Another address space is another key. */
	other = s;
	other.root = HOLE;
	KTAP_LIB_ERR(kvmi_virt_read(virt, &other, gpa, buf, 8), ENXIO);
	KTAP_EQ(kvmi_virt_read(virt, &s, gpa, buf, 8), 8);
	other = (struct kvmi_space) { .vcpu = 0 };
	KTAP_LIB_ERR(kvmi_virt_read(virt, &other, gpa, buf, 8), EINVAL);
	kvmi_virt_close(virt);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Spaces that are none. */
KTAP_CASE(bad_spaces, "S4")
{
	static const struct { uint64_t root; uint32_t mode, vcpu; int error; } t[] = {
		{ 0, 0, 1, ENOENT },
		{ 0, 0, KVMI_VCPU_NONE, ENOENT },
		{ 0, 0, KVMI_VCPU_ALL, ENOENT },
		{ 4096, 0, 0, EINVAL },
		{ 4096, KVMI_X86_PAGING_4LEVEL, 0, EINVAL },
		{ 4096, 7, KVMI_VCPU_NONE, EINVAL },
		{ 4096, KVMI_X86_PAGING_NX, KVMI_VCPU_NONE, EINVAL },
		{ 4096, KVMI_X86_PAGING_PSE | KVMI_X86_PAGING_NX,
		  KVMI_VCPU_NONE, EINVAL },
		{ 4096, KVMI_X86_PAGING_NONE | KVMI_X86_PAGING_NX,
		  KVMI_VCPU_NONE, EINVAL },
		{ 4096, 1 << 9 | KVMI_X86_PAGING_PAE, KVMI_VCPU_NONE, EINVAL },
	};
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_rw_list list = { .size = sizeof(list) };
	struct kvmi_space s;
	uint64_t val;
	unsigned int i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		s = space(t[i].root, t[i].mode);
		s.vcpu = t[i].vcpu;
		KTAP_LIB_ERR(kvmi_space_translate(kv, &s, 0, NULL), t[i].error);
		KTAP_LIB_ERR(kvmi_space_read(kv, &s, 0, &val, 8), t[i].error);
	}
	/* A space makes no sense for physical addresses. */
	list.space.vcpu = 1;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &list), EINVAL);
	list.space = (struct kvmi_space) { .root = 8 };
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &list), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
