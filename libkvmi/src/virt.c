// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Virtual memory with a cache, for who follows pointers.
 *
 * What is cached is the outcome: pages of an address space, translated and read
 * in one call of the kernel, each with its error if it has one. So no step of a
 * walk can be stale against another one, and there is one rule: what is read is
 * what was there at some time since the last kvmi_virt_flush().
 */
#include <stdlib.h>

#include "internal.h"

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
/* Pages that are read together; they begin at a multiple of their size. */
#define BLOCK_PAGES	16
#define BLOCK_SHIFT	16
#define BLOCK_SIZE	(1UL << BLOCK_SHIFT)
#define WAYS		4
#define DEFAULT_BLOCKS	64

/**
 * struct block - some pages of an address space
 * @root: the address space
 * @base: virtual address
 * @mode: the address space
 * @generation: valid if it is that of the cache
 * @error: of each page: 0 or -errno
 * @data: the pages; those with an error are not filled
 */
struct block {
	uint64_t root;
	uint64_t base;
	uint32_t mode;
	uint32_t generation;
	int error[BLOCK_PAGES];
	unsigned char *data;
};

/**
 * struct kvmi_virt - a cache of virtual memory
 * @vm: the session
 * @last: the block used last
 * @blocks: @nr_sets times WAYS of them
 * @nr_sets: a power of two
 * @generation: counts the flushes; blocks of another one are void
 * @victim: which way is to be given up next
 * @calls: of the kernel, so far
 * @data: memory of the blocks
 */
struct kvmi_virt {
	struct kvmi_vm *vm;
	struct block *last;
	struct block *blocks;
	size_t nr_sets;
	uint32_t generation;
	unsigned int victim;
	uint64_t calls;
	unsigned char *data;
};

/**
 * kvmi_virt_open() - Make a cache of virtual memory
 * @vm: the session; it must outlive the cache
 * @size: bytes to keep at most; 0: 4 MiB
 * @virt: where to store the cache; end it with kvmi_virt_close()
 *
 * For following pointers: memory is fetched 64 KiB at a time, and read again from
 * the cache. The guest may have changed it meanwhile: what kvmi_virt_read() gives
 * is what was there at some time since the last kvmi_virt_flush(). A cache is for
 * one thread; several may be used at a time.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_virt_open(struct kvmi_vm *vm, size_t size, struct kvmi_virt **virt)
{
	size_t blocks = size ? size >> BLOCK_SHIFT : DEFAULT_BLOCKS;
	struct kvmi_virt *new = calloc(1, sizeof(*new));
	size_t i;

	if (!new)
		return kvmi_error_set(-ENOMEM, "out of memory");
	new->vm = vm;
	new->generation = 1;
	for (new->nr_sets = 1; new->nr_sets * 2 * WAYS <= blocks;)
		new->nr_sets *= 2;
	blocks = new->nr_sets * WAYS;
	new->blocks = calloc(blocks, sizeof(*new->blocks));
	new->data = malloc(blocks * BLOCK_SIZE);
	if (!new->blocks || !new->data) {
		kvmi_virt_close(new);
		return kvmi_error_set(-ENOMEM, "out of memory");
	}
	for (i = 0; i < blocks; i++)
		new->blocks[i].data = new->data + i * BLOCK_SIZE;
	new->last = new->blocks;
	*virt = new;
	return 0;
}

/**
 * kvmi_virt_close() - Give a cache up
 * @virt: the cache, or NULL
 */
void kvmi_virt_close(struct kvmi_virt *virt)
{
	if (!virt)
		return;
	free(virt->blocks);
	free(virt->data);
	free(virt);
}

/**
 * kvmi_virt_flush() - Forget what was read
 * @virt: the cache
 *
 * To be called when the guest may have run and what it did meanwhile matters,
 * and after memory was written. It costs nothing.
 */
void kvmi_virt_flush(struct kvmi_virt *virt)
{
	size_t i;

	/* After so many flushes an old block would be valid again. */
	if (!++virt->generation) {
		for (i = 0; i < virt->nr_sets * WAYS; i++)
			virt->blocks[i].generation = 0;
		virt->generation = 1;
	}
}

/**
 * kvmi_virt_calls() - How often the kernel was asked
 * @virt: the cache
 *
 * Return: system calls made for this cache so far.
 */
uint64_t kvmi_virt_calls(const struct kvmi_virt *virt)
{
	return virt->calls;
}

static bool is_block(const struct kvmi_virt *virt, const struct block *block,
		     const struct kvmi_space *space, uint64_t base)
{
	return block->base == base && block->root == space->root &&
	       block->mode == space->mode &&
	       block->generation == virt->generation;
}

static int fill(struct kvmi_virt *virt, struct block *block,
		const struct kvmi_space *space, uint64_t base)
{
	struct kvmi_rw list[BLOCK_PAGES];
	unsigned int i;
	ssize_t ret;

	memset(list, 0, sizeof(list));
	for (i = 0; i < BLOCK_PAGES; i++) {
		list[i].addr = base + i * PAGE_SIZE;
		list[i].buf = (uintptr_t)block->data + i * PAGE_SIZE;
		list[i].len = PAGE_SIZE;
	}
	block->generation = 0;
	virt->calls++;
	ret = kvmi_rw_list_call(virt->vm, space, list, BLOCK_PAGES, 0,
				"read virtual memory");
	if (ret < 0)
		return ret;
	for (i = 0; i < BLOCK_PAGES; i++)
		block->error[i] = list[i].out_error;
	block->root = space->root;
	block->mode = space->mode;
	block->base = base;
	block->generation = virt->generation;
	return 0;
}

static int find(struct kvmi_virt *virt, const struct kvmi_space *space,
		uint64_t base)
{
	uint64_t hash = ((base >> BLOCK_SHIFT) ^ (space->root >> PAGE_SHIFT) * 31) *
			0x9e3779b97f4a7c15UL;
	struct block *set;
	unsigned int i;
	int ret;

	set = &virt->blocks[((hash >> 32) & (virt->nr_sets - 1)) * WAYS];
	for (i = 0; i < WAYS; i++) {
		if (is_block(virt, &set[i], space, base)) {
			virt->last = &set[i];
			return 0;
		}
	}
	/* A void one, or one after the other. */
	for (i = 0; i < WAYS; i++)
		if (set[i].generation != virt->generation)
			break;
	if (i == WAYS)
		i = virt->victim++ % WAYS;
	ret = fill(virt, &set[i], space, base);
	if (!ret)
		virt->last = &set[i];
	return ret;
}

/**
 * kvmi_virt_read() - Read virtual memory through a cache
 * @virt: the cache
 * @space: in which address space; not one that names a vCPU, whose root may
 *	change at any time (see kvmi_space_get())
 * @gva: from where
 * @buf: to where
 * @len: how much, across pages
 *
 * Return: bytes read, which are less than @len if what is mapped ends before,
 * or a negative errno if there are none, as kvmi_space_read().
 */
ssize_t kvmi_virt_read(struct kvmi_virt *virt, const struct kvmi_space *space,
		       uint64_t gva, void *buf, size_t len)
{
	size_t done = 0, n;
	uint64_t at, base;
	int ret = 0;

	if (!space->mode)
		return kvmi_error_set(-EINVAL,
				      "a cache is for an address space, not for a vCPU");
	while (done < len) {
		at = gva + done;
		base = at & ~(BLOCK_SIZE - 1);
		if (!is_block(virt, virt->last, space, base))
			ret = find(virt, space, base);
		if (!ret)
			ret = virt->last->error[(at - base) >> PAGE_SHIFT];
		if (ret)
			return done ? (ssize_t)done :
				      kvmi_space_error(ret, "read", gva);
		n = PAGE_SIZE - (at & (PAGE_SIZE - 1));
		if (n > len - done)
			n = len - done;
		memcpy((char *)buf + done, virt->last->data + (at - base), n);
		done += n;
		/* Behind the last address there is none. */
		if (!(at + n) && done < len)
			break;
	}
	return done;
}
