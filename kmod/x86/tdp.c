// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-level page tables: KVM's, which are read, and the views', which are
 * kvmi's own. EPT and NPT have the same shape; what differs in a leaf is the back
 * end's (kvmi_ops.spte_*).
 *
 * A view's tables change under vm->view_lock. An entry is always written whole:
 * the CPU walks them at any time. Tables are freed with their view only, after a
 * flush (view.c).
 */
#include <linux/slab.h>

#include "../hook.h"

#define PTE_COUNT		512
#define PTE_ADDR_MASK		GENMASK_ULL(51, PAGE_SHIFT)
#define PTE_LARGE		BIT_ULL(7)

/* KVM's software bit: the entry is a mapping (spte.h, SPTE_MMU_PRESENT_MASK). */
#define SPTE_PRESENT		BIT_ULL(11)

/* A view's own mark of a present entry, among the bits the CPU ignores. */
#define VIEW_PRESENT		BIT_ULL(11)

/* Accessed and dirty are bits 8 and 9 of EPT entries, 5 and 6 of NPT ones. */
#define EPT_ACCESSED		BIT_ULL(8)
#define EPT_DIRTY		BIT_ULL(9)

static unsigned int kvmi_tdp_index(gfn_t gfn, int level)
{
	return gfn >> ((level - 1) * 9) & (PTE_COUNT - 1);
}

static gfn_t kvmi_tdp_pages(int level)
{
	return 1ULL << ((level - 1) * 9);
}

static u64 *kvmi_tdp_table(u64 entry)
{
	return __va(__sme_clr(entry & PTE_ADDR_MASK));
}

static u64 kvmi_tdp_accessed(void)
{
	return kvmi_ops->flush_is_asid ? _PAGE_ACCESSED : EPT_ACCESSED;
}

static u64 kvmi_tdp_dirty(void)
{
	return kvmi_ops->flush_is_asid ? _PAGE_DIRTY : EPT_DIRTY;
}

/**
 * kvmi_tdp_alloc - an empty table
 *
 * Return: NULL without memory.
 */
u64 *kvmi_tdp_alloc(void)
{
	return (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

/**
 * kvmi_tdp_topup - have tables ready for kvmi_tdp_map()
 * @cache: of the calling vCPU
 *
 * May sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int kvmi_tdp_topup(struct kvmi_tdp_cache *cache)
{
	while (cache->nr < KVMI_TDP_CACHE) {
		cache->page[cache->nr] = kvmi_tdp_alloc();
		if (!cache->page[cache->nr])
			return -ENOMEM;
		cache->nr++;
	}
	return 0;
}

/**
 * kvmi_tdp_release - free what kvmi_tdp_topup() has in store
 * @cache: of a vCPU that is let go
 */
void kvmi_tdp_release(struct kvmi_tdp_cache *cache)
{
	while (cache->nr)
		free_page((unsigned long)cache->page[--cache->nr]);
}

/**
 * kvmi_tdp_lookup - what KVM maps at a gfn
 * @root: KVM's root
 * @level: of the root
 * @gfn: guest frame number
 * @leaf: filled
 *
 * Called with kvm->mmu_lock held for reading, so that no invalidation of the
 * host completes meanwhile, and under RCU, so that tables stay that a vCPU frees.
 *
 * Return: false if KVM maps nothing, or MMIO.
 */
bool kvmi_tdp_lookup(hpa_t root, int level, gfn_t gfn,
		     struct kvmi_tdp_leaf *leaf)
{
	u64 *table = __va(__sme_clr(root));
	u64 entry;

	leaf->nonleaf = 0;
	for (;; level--) {
		leaf->sptep = &table[kvmi_tdp_index(gfn, level)];
		entry = READ_ONCE(*leaf->sptep);
		if (!(entry & SPTE_PRESENT))
			return false;
		if (level == 1 || (entry & PTE_LARGE))
			break;
		if (!leaf->nonleaf)
			leaf->nonleaf = entry & ~PTE_ADDR_MASK;
		/* With memory encryption, the C-bit is part of the address. */
		leaf->nonleaf |= entry & sme_me_mask;
		table = kvmi_tdp_table(entry);
	}
	leaf->spte = entry;
	leaf->level = level;
	return true;
}

/**
 * kvmi_tdp_lookup_near - what KVM maps at a gfn, close to one that was looked up
 * @last: the other gfn
 * @gfn: guest frame number
 * @leaf: found for @last, or its level 0; changed if there is one
 *
 * Called as kvmi_tdp_lookup(), without a break since @last was looked up: a table
 * that KVM takes out meanwhile has no present entries any more.
 *
 * Return: false if both are not in one table, or KVM maps nothing: use
 * kvmi_tdp_lookup().
 */
bool kvmi_tdp_lookup_near(gfn_t last, gfn_t gfn, struct kvmi_tdp_leaf *leaf)
{
	u64 *table = PTR_ALIGN_DOWN(leaf->sptep, PAGE_SIZE);
	u64 *sptep;
	u64 entry;

	if (!leaf->level || (last ^ gfn) >> (leaf->level * 9))
		return false;
	sptep = &table[kvmi_tdp_index(gfn, leaf->level)];
	entry = READ_ONCE(*sptep);
	if (!(entry & SPTE_PRESENT) ||
	    (leaf->level > 1 && !(entry & PTE_LARGE)))
		return false;
	leaf->spte = entry;
	leaf->sptep = sptep;
	return true;
}

/**
 * kvmi_tdp_leaf_pfn - the host's frame of a gfn
 * @leaf: found for it
 * @gfn: guest frame number
 *
 * Return: page frame number.
 */
kvm_pfn_t kvmi_tdp_leaf_pfn(const struct kvmi_tdp_leaf *leaf, gfn_t gfn)
{
	gfn_t mask = kvmi_tdp_pages(leaf->level) - 1;
	u64 addr = __sme_clr(leaf->spte & PTE_ADDR_MASK);

	return ((addr >> PAGE_SHIFT) & ~mask) | (gfn & mask);
}

/* The guest has written through our leaf, and KVM's may not say so. */
static void kvmi_tdp_dirty_pages(u64 spte, int level)
{
	kvm_pfn_t pfn = __sme_clr(spte & PTE_ADDR_MASK) >> PAGE_SHIFT;
	gfn_t n = kvmi_tdp_pages(level);
	struct page *page;

	if (level > 1)
		pfn &= ~(n - 1);
	for (; n--; pfn++) {
		page = pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;
		if (page && !PageReserved(page))
			SetPageDirty(page);
	}
}

static bool kvmi_tdp_zap_entry(u64 *entry, int level)
{
	u64 old = xchg(entry, 0);

	if (!old)
		return false;
	if (old & kvmi_tdp_dirty())
		kvmi_tdp_dirty_pages(old, level);
	return true;
}

/**
 * kvmi_tdp_map - put a leaf into a view
 * @view: the view; vm->view_lock held
 * @cache: full, see kvmi_tdp_topup()
 * @gfn: guest frame number
 * @spte: the leaf, restricted to what the view allows
 * @level: of the leaf
 * @nonleaf: attributes for tables on the way
 * @flush: set to true if the caller must flush
 *
 * A large leaf that stands where a table is needed is dropped: what it covered
 * faults in anew.
 *
 * Return: where the leaf stands; NULL if a table with smaller leaves stands in
 * its place.
 */
u64 *kvmi_tdp_map(struct kvmi_tree *view, struct kvmi_tdp_cache *cache,
		  gfn_t gfn, u64 spte, int level, u64 nonleaf, bool *flush)
{
	u64 *table = view->root;
	u64 *entry;
	u64 *next;
	int l;

	for (l = view->level; l > level; l--) {
		entry = &table[kvmi_tdp_index(gfn, l)];
		if (!*entry || (*entry & PTE_LARGE)) {
			if (WARN_ON_ONCE(!cache->nr))
				return NULL;
			if (*entry)
				*flush |= kvmi_tdp_zap_entry(entry, l);
			next = cache->page[--cache->nr];
			/* The table's zeroes before the table. */
			smp_store_release(entry, __pa(next) | nonleaf |
						 VIEW_PRESENT);
		}
		table = kvmi_tdp_table(*entry);
	}

	entry = &table[kvmi_tdp_index(gfn, level)];
	if (level > 1 && *entry && !(*entry & PTE_LARGE))
		return NULL;
	/* What stood there may have had other rights, and a dirty bit. */
	if (*entry)
		*flush |= kvmi_tdp_zap_entry(entry, level);
	WRITE_ONCE(*entry, spte | VIEW_PRESENT);
	return entry;
}

typedef bool (*kvmi_tdp_fn)(u64 *entry, int level);

static bool kvmi_tdp_walk(u64 *table, int level, gfn_t base, gfn_t start,
			  gfn_t end, kvmi_tdp_fn fn)
{
	gfn_t step = kvmi_tdp_pages(level);
	bool ret = false;
	unsigned int i;
	gfn_t gfn;

	i = start > base ? (start - base) / step : 0;
	for (; i < PTE_COUNT; i++) {
		gfn = base + i * step;
		if (gfn >= end)
			break;
		if (!READ_ONCE(table[i]))
			continue;
		if (level == 1 || (table[i] & PTE_LARGE))
			ret |= fn(&table[i], level);
		else
			ret |= kvmi_tdp_walk(kvmi_tdp_table(table[i]),
					     level - 1, gfn, start, end, fn);
	}
	return ret;
}

/**
 * kvmi_tdp_zap - drop a view's leaves
 * @view: the view; vm->view_lock held
 * @start: first gfn
 * @end: behind the last gfn
 *
 * Return: true if there were any: the caller must flush.
 */
bool kvmi_tdp_zap(struct kvmi_tree *view, gfn_t start, gfn_t end)
{
	return kvmi_tdp_walk(view->root, view->level, 0, start, end,
			     kvmi_tdp_zap_entry);
}

static bool kvmi_tdp_test_entry(u64 *entry, int level)
{
	return READ_ONCE(*entry) & kvmi_tdp_accessed();
}

static bool kvmi_tdp_age_entry(u64 *entry, int level)
{
	return test_and_clear_bit(ilog2(kvmi_tdp_accessed()),
				  (unsigned long *)entry);
}

/**
 * kvmi_tdp_age - has the guest used pages through a view?
 * @view: the view; vm->view_lock held
 * @start: first gfn
 * @end: behind the last gfn
 * @clear: forget it
 *
 * Return: true if so.
 */
bool kvmi_tdp_age(struct kvmi_tree *view, gfn_t start, gfn_t end, bool clear)
{
	return kvmi_tdp_walk(view->root, view->level, 0, start, end,
			     clear ? kvmi_tdp_age_entry : kvmi_tdp_test_entry);
}

static void kvmi_tdp_free_table(u64 *table, int level)
{
	unsigned int i;

	for (i = 0; level > 1 && i < PTE_COUNT; i++)
		if (table[i] && !(table[i] & PTE_LARGE))
			kvmi_tdp_free_table(kvmi_tdp_table(table[i]),
					    level - 1);
	free_page((unsigned long)table);
	cond_resched();
}

/**
 * kvmi_tdp_free - free a view's tables
 * @view: no CPU has translations of it any more
 */
void kvmi_tdp_free(struct kvmi_tree *view)
{
	kvmi_tdp_free_table(view->root, view->level);
}
