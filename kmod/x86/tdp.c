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
 * kvmi_tdp_used - the bits of a leaf that the CPU has used
 * @dirty: to write
 *
 * Return: accessed and dirty bits.
 */
u64 kvmi_tdp_used(bool dirty)
{
	return kvmi_tdp_accessed() | (dirty ? kvmi_tdp_dirty() : 0);
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
 * kvmi_tdp_root - KVM's root table
 * @kvm: the VM; kvm->mmu_lock held, and RCU
 * @root: set
 *
 * Return: its level; 0: no vCPU has one now.
 */
int kvmi_tdp_root(struct kvm *kvm, hpa_t *root)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		*root = READ_ONCE(vcpu->arch.root_mmu.root.hpa);
		if (VALID_PAGE(*root))
			return vcpu->arch.root_mmu.root_role.level;
	}
	return 0;
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
	unsigned int shift = (level - 1) * 9;
	u64 *sptep, entry, top = 0;
	u64 *table = __va(__sme_clr(root));

	for (;; shift -= 9) {
		sptep = &table[gfn >> shift & (PTE_COUNT - 1)];
		entry = READ_ONCE(*sptep);
		if (!(entry & SPTE_PRESENT))
			return false;
		if (!shift || (entry & PTE_LARGE))
			break;
		if (!top)
			top = entry;
		table = kvmi_tdp_table(entry);
	}
	leaf->spte = entry;
	leaf->sptep = sptep;
	leaf->level = shift / 9 + 1;
	/* With memory encryption, the C-bit is part of the address. */
	leaf->nonleaf = top & (~PTE_ADDR_MASK | sme_me_mask);
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

static bool kvmi_tdp_zap_entry(struct kvmi_tree *view, u64 *entry, int level)
{
	u64 old = xchg(entry, 0);

	if (!old)
		return false;
	view->leaves--;
	view->zaps++;
	if ((old & kvmi_tdp_dirty()) && !(old & KVMI_TDP_OWN))
		kvmi_tdp_dirty_pages(old, level);
	return true;
}

/**
 * kvmi_tdp_small - the part of a leaf that is a smaller one
 * @spte: the leaf
 * @gfn: which part
 * @from: level of the leaf
 * @to: of the part
 *
 * Return: the smaller leaf.
 */
u64 kvmi_tdp_small(u64 spte, gfn_t gfn, int from, int to)
{
	for (; from > to; from--)
		spte = kvmi_ops->spte_small(spte, from,
					    kvmi_tdp_index(gfn, from - 1));
	return spte;
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
 * faults in anew. Where a table stands in a large leaf's place, as the host had small
 * pages there before, it stays, and gets the part of the leaf that @gfn is in.
 */
void kvmi_tdp_map(struct kvmi_tree *view, struct kvmi_tdp_cache *cache,
		  gfn_t gfn, u64 spte, int level, u64 nonleaf, bool *flush)
{
	unsigned int shift = (view->level - 1) * 9;
	u64 *table = view->root;
	u64 *entry;
	u64 *next;
	u64 old;
	int l;

	for (l = view->level; ; l--, shift -= 9) {
		entry = &table[gfn >> shift & (PTE_COUNT - 1)];
		if (l == level) {
			if (l == 1 || !*entry || (*entry & PTE_LARGE))
				break;
			spte = kvmi_tdp_small(spte, gfn, level, level - 1);
			level--;
		}
		if (!*entry || (*entry & PTE_LARGE)) {
			if (WARN_ON_ONCE(!cache->nr))
				return;
			if (*entry)
				*flush |= kvmi_tdp_zap_entry(view, entry, l);
			next = cache->page[--cache->nr];
			view->tables++;
			/* The table's zeroes before the table. */
			smp_store_release(entry, __pa(next) | nonleaf |
						 VIEW_PRESENT);
		}
		table = kvmi_tdp_table(*entry);
	}

	spte |= VIEW_PRESENT;
	/* Another vCPU was here before. */
	old = READ_ONCE(*entry);
	if (old && !((old ^ spte) & ~kvmi_tdp_used(true)))
		return;
	/*
	 * In one go: others that execute by what stood there would fault, replace
	 * it in turn, and have us fault.
	 */
	old = xchg(entry, spte);
	view->fills++;
	if (!old) {
		view->leaves++;
		return;
	}
	view->zaps++;
	/* Who has fewer rights in his TLB faults, and has them then. */
	*flush |= ((old ^ spte) & (PTE_ADDR_MASK | sme_me_mask)) ||
		  (kvmi_ops->spte_access(old) & ~kvmi_ops->spte_access(spte));
	if ((old & kvmi_tdp_dirty()) && !(old & KVMI_TDP_OWN))
		kvmi_tdp_dirty_pages(old, level);
}

/**
 * kvmi_tdp_entry - where a view has its 4 KiB leaf of a page
 * @view: the view; vm->view_lock held
 * @gfn: guest frame number
 *
 * Return: NULL if it has no table there.
 */
u64 *kvmi_tdp_entry(struct kvmi_tree *view, gfn_t gfn)
{
	u64 *table = view->root;
	u64 entry;
	int l;

	for (l = view->level; l > 1; l--) {
		entry = table[kvmi_tdp_index(gfn, l)];
		if (!entry || (entry & PTE_LARGE))
			return NULL;
		table = kvmi_tdp_table(entry);
	}
	return &table[kvmi_tdp_index(gfn, 1)];
}

/**
 * kvmi_tdp_put - put a leaf where there is none
 * @view: the view; vm->view_lock held
 * @entry: found by kvmi_tdp_entry(); 0
 * @spte: the leaf, restricted to what the view allows
 */
void kvmi_tdp_put(struct kvmi_tree *view, u64 *entry, u64 spte)
{
	WRITE_ONCE(*entry, spte | VIEW_PRESENT);
	view->fills++;
	view->leaves++;
}

typedef bool (*kvmi_tdp_fn)(struct kvmi_tree *view, u64 *entry, int level);

static bool kvmi_tdp_walk(struct kvmi_tree *view, u64 *table, int level,
			  gfn_t base, gfn_t start, gfn_t end, kvmi_tdp_fn fn)
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
			ret |= fn(view, &table[i], level);
		else
			ret |= kvmi_tdp_walk(view, kvmi_tdp_table(table[i]),
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
	return kvmi_tdp_walk(view, view->root, view->level, 0, start, end,
			     kvmi_tdp_zap_entry);
}

static bool kvmi_tdp_test_alias(struct kvmi_tree *view, u64 *entry, int level)
{
	return READ_ONCE(*entry) & kvmi_tdp_accessed();
}

static bool kvmi_tdp_test_entry(struct kvmi_tree *view, u64 *entry, int level)
{
	return !(*entry & KVMI_TDP_ALIAS) &&
	       kvmi_tdp_test_alias(view, entry, level);
}

static bool kvmi_tdp_clear_alias(struct kvmi_tree *view, u64 *entry, int level)
{
	return test_and_clear_bit(ilog2(kvmi_tdp_accessed()),
				  (unsigned long *)entry);
}

/* What stands at a gfn, but is another page, says nothing of it. */
static bool kvmi_tdp_clear_entry(struct kvmi_tree *view, u64 *entry, int level)
{
	return !(*entry & KVMI_TDP_ALIAS) &&
	       kvmi_tdp_clear_alias(view, entry, level);
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
	return kvmi_tdp_walk(view, view->root, view->level, 0, start, end,
			     clear ? kvmi_tdp_clear_entry :
				     kvmi_tdp_test_entry);
}

/**
 * kvmi_tdp_age_alias - the same, of what is shown at a gfn
 * @view: the view; vm->view_lock held
 * @gfn: guest frame number
 * @clear: forget it
 *
 * Return: true if so.
 */
bool kvmi_tdp_age_alias(struct kvmi_tree *view, gfn_t gfn, bool clear)
{
	return kvmi_tdp_walk(view, view->root, view->level, 0, gfn, gfn + 1,
			     clear ? kvmi_tdp_clear_alias :
				     kvmi_tdp_test_alias);
}

/* A view's leaf, or the part of it that KVM maps by a smaller one. */
static bool kvmi_tdp_same(u64 entry, int level, gfn_t gfn,
			  const struct kvmi_tdp_leaf *leaf, u32 access)
{
	u32 allowed = kvmi_ops->spte_access(leaf->spte);
	u64 kvm = leaf->spte;

	/*
	 * That large pages are not to be executed says nothing of small ones: KVM
	 * replaces these by a large one at times, and the view has them still.
	 */
	if (leaf->level > level)
		allowed |= KVMI_ACCESS_X;
	entry = kvmi_tdp_small(entry, gfn, level, 1);
	kvm = kvmi_tdp_small(kvm, gfn, leaf->level, 1);
	if ((entry ^ kvm) & (PTE_ADDR_MASK | sme_me_mask | kvmi_ops->spte_type))
		return false;
	return !(kvmi_ops->spte_access(entry) & ~(allowed & access));
}

/* KVM has no leaf that says whether this one is right. */
static void kvmi_tdp_check_lone(u64 entry, int level, gfn_t gfn, gfn_t source,
				struct kvmi_tdp_check *check)
{
	struct kvmi_tdp_lone *lone;

	if (!check->lone)
		return;
	lone = &check->lone[check->nr_lone++];
	lone->gfn = gfn;
	lone->source = source;
	lone->spte = entry;
	lone->level = level;
	if (check->nr_lone == KVMI_TDP_LONE)
		check->budget = 1;
}

/* What a leaf shows that is there in another page's place. */
static bool kvmi_tdp_same_alias(struct kvmi_tree *view, u64 entry, gfn_t gfn,
				struct kvmi_tdp_check *check)
{
	struct kvmi_alias *alias = kvmi_alias_find(view, gfn);
	u32 access = kvmi_view_access(view, gfn);
	struct kvmi_tdp_leaf leaf = {};

	if (!alias || !(entry & KVMI_TDP_ALIAS) ||
	    !(entry & KVMI_TDP_OWN) != !alias->own)
		return false;
	if (alias->own) {
		leaf.spte = kvmi_ops->spte_own(__pa(alias->own->data));
		leaf.level = 1;
	} else if (!check->level ||
		   !kvmi_tdp_lookup(check->root, check->level, alias->source,
				    &leaf)) {
		check->alone++;
		kvmi_tdp_check_lone(entry, 1, gfn, alias->source, check);
		return true;
	}
	return kvmi_tdp_same(entry, 1, alias->source, &leaf, access);
}

static void kvmi_tdp_check_leaf(struct kvmi_tree *view, u64 entry, int level,
				gfn_t first, struct kvmi_tdp_check *check)
{
	gfn_t end = first + kvmi_tdp_pages(level);
	bool there = false, missing = false;
	struct kvmi_tdp_leaf leaf;
	gfn_t gfn = first;

	check->leaves++;
	if ((entry & KVMI_TDP_ALIAS) ||
	    (level == 1 && kvmi_alias_find(view, gfn))) {
		if (!kvmi_tdp_same_alias(view, entry, gfn, check) &&
		    !check->wrong++)
			check->gfn = gfn;
		return;
	}
	for (; gfn < end; gfn += kvmi_tdp_pages(min(leaf.level, level))) {
		leaf.level = 1;
		if (!check->level ||
		    !kvmi_tdp_lookup(check->root, check->level, gfn, &leaf)) {
			/* What KVM has none of, it has by no smaller part. */
			leaf.level = 1;
			missing = true;
			continue;
		}
		there = true;
		if (kvmi_tdp_same(entry, level, gfn, &leaf,
				  kvmi_view_access(view, gfn)))
			continue;
		if (!check->wrong++)
			check->gfn = gfn;
		return;
	}
	if (missing)
		kvmi_tdp_check_lone(entry, level, first, first, check);
	if (!there)
		check->alone++;
}

static void kvmi_tdp_check_table(struct kvmi_tree *view, u64 *table, int level,
				 gfn_t base, struct kvmi_tdp_check *check)
{
	gfn_t step = kvmi_tdp_pages(level);
	unsigned int i;
	gfn_t gfn;
	u64 entry;

	i = check->next > base ? (check->next - base) / step : 0;
	for (; i < PTE_COUNT && check->budget; i++) {
		gfn = base + i * step;
		entry = READ_ONCE(table[i]);
		if (entry && level > 1 && !(entry & PTE_LARGE)) {
			kvmi_tdp_check_table(view, kvmi_tdp_table(entry),
					     level - 1, gfn, check);
			/* It may have stopped within. */
			if (!check->budget && check->next < gfn + step)
				return;
		} else if (entry) {
			kvmi_tdp_check_leaf(view, entry, level, gfn, check);
			check->budget--;
		}
		check->next = max(check->next, gfn + step);
	}
}

/**
 * kvmi_tdp_check - compare a view's leaves with KVM's
 * @view: the view; vm->view_lock held, and kvm->mmu_lock for writing
 * @check: what is compared with, and where; what was found is added
 *
 * Return: true if there are more.
 */
bool kvmi_tdp_check(struct kvmi_tree *view, struct kvmi_tdp_check *check)
{
	kvmi_tdp_check_table(view, view->root, view->level, 0, check);
	return !check->budget;
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
