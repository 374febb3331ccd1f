/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is known of the Linux kernel in a guest.
 */
#ifndef KVMI_LINUX_H
#define KVMI_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tool.h"

struct btf;
struct kvmi_breakpoints;

struct btf *btf_parse(const void *data, size_t size);
void btf_free(struct btf *btf);
int64_t btf_offset(const struct btf *btf, const char *structure, const char *member);

/* A symbol that is looked for. */
struct symbol {
	const char *name;
	uint64_t value;		/* 0: there is none */
};

/**
 * struct linux_guest - the kernel of a guest
 * @vm: the session
 * @space: its address space
 * @symbols: what is looked for; in order of the names from linux_open() on
 * @nr_symbols: of them
 * @btf: what its structures are made of
 * @btf_data: where that is
 */
struct linux_guest {
	struct kvmi_vm *vm;
	struct kvmi_space space;
	struct symbol *symbols;
	unsigned int nr_symbols;
	struct btf *btf;
	void *btf_data;
};

/* The note of a kernel: VMCOREINFO_NOTE_SIZE is somewhat less. */
#define MAX_VMCOREINFO	8192

ssize_t find_vmcoreinfo(struct kvmi_vm *vm, char *text);
int kallsyms_read(struct linux_guest *l);
/* NULL: nobody looks for it. */
struct symbol *find_symbol(const struct linux_guest *l, const char *name);
/* An exit code after a message. */
int no_such_guest(const char *why);

/* 0, or an exit code after a message. */
int linux_open(struct linux_guest *l, const char *symbols_path);
int linux_open_btf(struct linux_guest *l, const char *path);
int linux_find_space(struct linux_guest *l);
uint64_t linux_entry(const struct linux_guest *l, uint64_t function);
int linux_answer(struct linux_guest *l, struct kvmi_breakpoints *set,
		 const struct kvmi_event *ev,
		 int (*on_hit)(const struct kvmi_event *ev, uint64_t gpa));
void linux_close(struct linux_guest *l);
/* 0: there is none. */
uint64_t linux_symbol(const struct linux_guest *l, const char *name);
/* False after a message. */
bool linux_offset(const struct linux_guest *l, const char *structure,
		  const char *member, uint32_t *offset);

#endif
