// SPDX-License-Identifier: GPL-2.0-only
/*
 * The symbols that a Linux kernel has of itself, in the guest's memory. Where they are,
 * its VMCOREINFO says, from 6.0 on. Nothing in it is believed.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "linux.h"

#define PAGE		4096UL
#define MAX_SLOTS	32768
#define SCAN		1024
#define MAX_SYMBOLS	(1U << 24)
#define MAX_NAMES	(256UL << 20)
#define MAX_TOKENS	65536
#define NR_TOKENS	256
#define KERNEL_MAP	0xffffffff80000000ULL

/* A Linux kernel keeps a note about itself, at the begin of some page. */
struct vmcoreinfo_head {
	Elf64_Nhdr nhdr;
	char name[12];
	char text[10];
	char pad[2];
};

static bool is_vmcoreinfo(const struct vmcoreinfo_head *h)
{
	return h->nhdr.n_namesz == sizeof("VMCOREINFO") && !h->nhdr.n_type &&
	       h->nhdr.n_descsz > sizeof(h->text) &&
	       h->nhdr.n_descsz <= MAX_VMCOREINFO - sizeof(*h) &&
	       !memcmp(h->name, "VMCOREINFO\0", 12) &&
	       !memcmp(h->text, "OSRELEASE=", sizeof(h->text));
}

/* In @nr pages from @gpa on; as find_vmcoreinfo(). */
static ssize_t scan_pages(struct kvmi_vm *vm, uint64_t gpa, int nr, char *text)
{
	static struct vmcoreinfo_head heads[SCAN];
	static struct kvmi_rw list[SCAN];
	ssize_t n;
	int i;

	for (i = 0; i < nr; i++)
		list[i] = (struct kvmi_rw) {
			.addr = gpa + i * PAGE,
			.buf = (uintptr_t)&heads[i],
			.len = sizeof(heads[i]),
		};
	memset(heads, 0, sizeof(heads));
	n = kvmi_vm_read_list(vm, list, nr);
	if (n < 0)
		return n;
	for (i = 0; i < nr; i++) {
		if (!is_vmcoreinfo(&heads[i]))
			continue;
		n = kvmi_vm_read(vm, gpa + i * PAGE +
				 offsetof(struct vmcoreinfo_head, text),
				 text, heads[i].nhdr.n_descsz);
		if (n == heads[i].nhdr.n_descsz)
			return n;
	}
	return 0;
}

/**
 * find_vmcoreinfo() - Find what a guest's kernel says of itself
 * @vm: the session
 * @text: where to store it: MAX_VMCOREINFO bytes
 *
 * Return: how many bytes it has; 0: there is none; or a negative errno: -EINTR: it was
 * interrupted.
 */
ssize_t find_vmcoreinfo(struct kvmi_vm *vm, char *text)
{
	struct kvmi_slot *slots = calloc(MAX_SLOTS, sizeof(*slots));
	ssize_t ret;
	int i, n, nr;

	if (!slots)
		abort();
	ret = kvmi_vm_get_slots(vm, slots, MAX_SLOTS);
	n = ret < MAX_SLOTS ? ret : MAX_SLOTS;
	if (ret > 0)
		ret = 0;
	for (i = 0; i < n && !ret; i++) {
		uint64_t gpa = slots[i].gfn * PAGE, left = slots[i].nr_pages;

		for (; left && !ret; left -= nr, gpa += nr * PAGE) {
			nr = left < SCAN ? left : SCAN;
			ret = interrupted ? -EINTR : scan_pages(vm, gpa, nr, text);
		}
	}
	free(slots);
	return ret;
}

/* The value behind @key, which ends in '='. */
static bool get_value(const char *text, const char *key, int base, uint64_t *value)
{
	const char *at = text;

	for (; at; at = strchr(at, '\n'), at += !!at)
		if (!strncmp(at, key, strlen(key))) {
			/* Decimal ones may be negative. */
			*value = base == 10 ? strtoll(at + strlen(key), NULL, base) :
				 strtoull(at + strlen(key), NULL, base);
			return true;
		}
	return false;
}

/* The tables that a kernel has. */
struct kallsyms {
	uint32_t nr;
	uint64_t base;
	unsigned char *names;
	size_t names_len;
	char *tokens;
	size_t tokens_len;
	uint16_t index[NR_TOKENS];
	int32_t *offsets;
	bool absolute;		/* what is no negative offset is an address */
};

static bool get(struct linux_guest *l, uint64_t from, void *to, size_t len)
{
	return kvmi_space_read(l->vm, &l->space, from, to, len) == len;
}

static bool get_tables(struct linux_guest *l, const char *text, struct kallsyms *k)
{
	uint64_t names, nr, tokens, index, offsets, base;
	uint32_t i;

	if (!get_value(text, "SYMBOL(kallsyms_names)=", 16, &names) ||
	    !get_value(text, "SYMBOL(kallsyms_num_syms)=", 16, &nr) ||
	    !get_value(text, "SYMBOL(kallsyms_token_table)=", 16, &tokens) ||
	    !get_value(text, "SYMBOL(kallsyms_token_index)=", 16, &index) ||
	    !get_value(text, "SYMBOL(kallsyms_offsets)=", 16, &offsets) ||
	    !get_value(text, "SYMBOL(kallsyms_relative_base)=", 16, &base))
		return false;
	if (!get(l, nr, &k->nr, sizeof(k->nr)) || !k->nr || k->nr > MAX_SYMBOLS ||
	    !get(l, base, &k->base, sizeof(k->base)) ||
	    !get(l, index, k->index, sizeof(k->index)))
		return false;
	/* One follows the other; between the first two are the markers. */
	k->names_len = tokens - names;
	k->tokens_len = index - tokens;
	if (!k->names_len || k->names_len > MAX_NAMES || !k->tokens_len ||
	    k->tokens_len > MAX_TOKENS)
		return false;
	k->names = malloc(k->names_len);
	k->tokens = malloc(k->tokens_len);
	k->offsets = calloc(k->nr, sizeof(*k->offsets));
	if (!k->names || !k->tokens || !k->offsets)
		abort();
	if (!get(l, names, k->names, k->names_len) ||
	    !get(l, tokens, k->tokens, k->tokens_len) ||
	    !get(l, offsets, k->offsets, k->nr * sizeof(*k->offsets)))
		return false;
	/* So that every token ends. */
	k->tokens[k->tokens_len - 1] = 0;
	for (i = 0; i < NR_TOKENS; i++)
		if (k->index[i] >= k->tokens_len)
			return false;
	/* Others reach less far than that. */
	for (i = 0; i < k->nr; i++)
		k->absolute |= k->offsets[i] < 0;
	return true;
}

static uint64_t address(const struct kallsyms *k, uint32_t i)
{
	if (!k->absolute)
		return k->base + (uint32_t)k->offsets[i];
	if (k->offsets[i] >= 0)
		return k->offsets[i];
	return k->base - 1 - k->offsets[i];
}

/* The type and the name at @pos, which goes on to the next one. */
static bool expand(const struct kallsyms *k, size_t *pos, char *name, size_t size)
{
	size_t left = k->names_len - *pos, len, used = 0;
	const unsigned char *in = k->names + *pos;

	if (left < 2)
		return false;
	len = *in++;
	left--;
	if (len & 0x80) {
		len = (len & 0x7f) | *in++ << 7;
		left--;
	}
	if (len > left)
		return false;
	for (; len; len--) {
		const char *token = k->tokens + k->index[*in++];

		for (; *token; token++)
			if (used < size - 1)
				name[used++] = *token;
	}
	name[used] = 0;
	*pos = in - k->names;
	return true;
}

/**
 * kallsyms_read() - Find symbols in a guest's memory
 * @l: the guest; its space becomes that of the kernel itself
 *
 * Return: 0, or an exit code after a message.
 */
int kallsyms_read(struct linux_guest *l)
{
	static const char *none =
		"it does not say where its symbols are: give --symbols FILE";
	char text[MAX_VMCOREINFO + 1], name[256];
	uint64_t pgd, phys_base, la57 = 0;
	struct kallsyms k = { };
	size_t pos = 0;
	ssize_t n;
	uint32_t i;
	int ret;

	n = find_vmcoreinfo(l->vm, text);
	if (n == -EINTR)
		return EXIT_ERROR;
	if (n < 0)
		return failed(n);
	text[n] = 0;
	if (!get_value(text, "SYMBOL(swapper_pg_dir)=", 16, &pgd) ||
	    !get_value(text, "NUMBER(phys_base)=", 10, &phys_base))
		return no_such_guest(none);
	get_value(text, "NUMBER(pgtable_l5_enabled)=", 10, &la57);
	l->space = (struct kvmi_space) {
		.root = pgd - KERNEL_MAP + phys_base,
		.mode = (la57 ? KVMI_X86_PAGING_5LEVEL : KVMI_X86_PAGING_4LEVEL) |
			KVMI_X86_PAGING_NX,
		.vcpu = KVMI_VCPU_NONE,
	};
	ret = get_tables(l, text, &k) ? EXIT_OK : no_such_guest(none);
	for (i = 0; !ret && i < k.nr && expand(&k, &pos, name, sizeof(name)); i++) {
		struct symbol *s = find_symbol(l, name + 1);

		if (s && !s->value)
			s->value = address(&k, i);
	}
	free(k.names);
	free(k.tokens);
	free(k.offsets);
	return ret;
}
