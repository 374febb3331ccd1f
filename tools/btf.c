// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the members of a kernel's structures are, by its BTF. It comes from a guest:
 * nothing in it is believed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/btf.h>

#include "linux.h"

/* Unnamed structures in unnamed structures. */
#define MAX_DEPTH	8

struct btf {
	const unsigned char *types;
	const char *strings;
	size_t strings_len;
	/* Where each type is, 1 being the first. */
	uint32_t *at;
	uint32_t nr;
};

static struct btf_type type_at(const struct btf *btf, uint32_t id)
{
	struct btf_type type;

	memcpy(&type, btf->types + btf->at[id], sizeof(type));
	return type;
}

static struct btf_member member_at(const struct btf *btf, uint32_t id,
				   unsigned int i)
{
	struct btf_member member;

	memcpy(&member, btf->types + btf->at[id] + sizeof(struct btf_type) +
	       i * sizeof(member), sizeof(member));
	return member;
}

static bool has_name(const struct btf *btf, uint32_t offset, const char *name)
{
	/* The last string ends in the section. */
	return offset < btf->strings_len && !strcmp(btf->strings + offset, name);
}

/* What follows a type; -1 if it is not known. */
static ssize_t more_of(const struct btf_type *type)
{
	unsigned int n = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

static bool index_types(struct btf *btf, size_t len)
{
	size_t pos = 0, room = 0;
	struct btf_type type;

	for (btf->nr = 1; len - pos >= sizeof(type); btf->nr++) {
		ssize_t more;

		if (btf->nr >= room) {
			uint32_t *at;

			room = room ? 2 * room : 1 << 16;
			at = realloc(btf->at, room * sizeof(*at));
			if (!at)
				abort();
			btf->at = at;
		}
		memcpy(&type, btf->types + pos, sizeof(type));
		more = more_of(&type);
		if (more < 0 || more > len - pos - sizeof(type))
			return false;
		btf->at[btf->nr] = pos;
		pos += sizeof(type) + more;
	}
	return pos == len;
}

/**
 * btf_parse() - Take up a kernel's BTF
 * @data: it; must stay
 * @size: bytes
 *
 * Return: the BTF, to be given to btf_free(); NULL: it is none.
 */
struct btf *btf_parse(const void *data, size_t size)
{
	struct btf_header h;
	struct btf *btf;
	size_t left;

	if (size < sizeof(h))
		return NULL;
	memcpy(&h, data, sizeof(h));
	if (h.magic != BTF_MAGIC || h.hdr_len < sizeof(h) || h.hdr_len > size)
		return NULL;
	left = size - h.hdr_len;
	if (h.type_off > left || h.type_len > left - h.type_off ||
	    h.str_off > left || h.str_len > left - h.str_off || !h.str_len)
		return NULL;
	btf = calloc(1, sizeof(*btf));
	if (!btf)
		abort();
	btf->types = (const unsigned char *)data + h.hdr_len + h.type_off;
	btf->strings = (const char *)data + h.hdr_len + h.str_off;
	btf->strings_len = h.str_len;
	if (btf->strings[h.str_len - 1] || !index_types(btf, h.type_len)) {
		btf_free(btf);
		return NULL;
	}
	return btf;
}

void btf_free(struct btf *btf)
{
	if (!btf)
		return;
	free(btf->at);
	free(btf);
}

/* In bits; -1: there is no such member. */
static int64_t find_member(const struct btf *btf, uint32_t id, const char *name,
			   unsigned int depth)
{
	struct btf_type type;
	unsigned int i;

	if (!id || id >= btf->nr)
		return -1;
	type = type_at(btf, id);
	if (BTF_INFO_KIND(type.info) != BTF_KIND_STRUCT &&
	    BTF_INFO_KIND(type.info) != BTF_KIND_UNION)
		return -1;
	for (i = 0; i < BTF_INFO_VLEN(type.info); i++) {
		struct btf_member m = member_at(btf, id, i);
		int64_t at = BTF_INFO_KFLAG(type.info) ?
			     BTF_MEMBER_BIT_OFFSET(m.offset) : m.offset;
		int64_t in;

		if (has_name(btf, m.name_off, name))
			return at;
		if (!has_name(btf, m.name_off, "") || depth == MAX_DEPTH)
			continue;
		in = find_member(btf, m.type, name, depth + 1);
		if (in >= 0)
			return at + in;
	}
	return -1;
}

/**
 * btf_offset() - Where a member of a structure is
 * @btf: the kernel's
 * @structure: its name
 * @member: the member's; it may be one of an unnamed structure in it
 *
 * Return: bytes; -1: there is no such structure or member.
 */
int64_t btf_offset(const struct btf *btf, const char *structure, const char *member)
{
	struct btf_type type;
	int64_t bits = -1;
	uint32_t id;

	for (id = 1; id < btf->nr && bits < 0; id++) {
		type = type_at(btf, id);
		if (BTF_INFO_KIND(type.info) == BTF_KIND_STRUCT &&
		    has_name(btf, type.name_off, structure))
			bits = find_member(btf, id, member, 0);
	}
	return bits < 0 || bits % 8 ? -1 : bits / 8;
}
