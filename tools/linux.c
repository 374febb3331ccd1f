// SPDX-License-Identifier: GPL-2.0-only
/*
 * The Linux kernel of a guest: its symbols, its address space, its structures.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "linux.h"

#define MSR_LSTAR	0xc0000082
/* KASLR moves the kernel by multiples of that. */
#define KASLR_ALIGN	(2ULL << 20)
/* Where a kernel is; what is below is an offset, of a per-CPU variable. */
#define KERNEL_START	0xffff800000000000ULL
/* The page tables that a process has in user mode are the page behind its own. */
#define PTI_USER	0x1000ULL
#define MAX_BTF		(256UL << 20)

#define ENTRY		"entry_SYSCALL_64"
#define BANNER		"linux_banner"
#define BANNER_TEXT	"Linux version "

/* What is needed here, besides what the caller asks for. */
static struct symbol own[] = {
	{ .name = ENTRY }, { .name = BANNER },
	{ .name = "__start_BTF" }, { .name = "__stop_BTF" },
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct symbol *)a)->name,
		      ((const struct symbol *)b)->name);
}

struct symbol *find_symbol(const struct linux_guest *l, const char *name)
{
	const struct symbol key = { .name = name };
	struct symbol *s;
	unsigned int i;

	s = bsearch(&key, l->symbols, l->nr_symbols, sizeof(key), by_name);
	if (s)
		return s;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(own[i].name, name))
			return &own[i];
	return NULL;
}

uint64_t linux_symbol(const struct linux_guest *l, const char *name)
{
	const struct symbol *s = find_symbol(l, name);

	return s ? s->value : 0;
}

int no_such_guest(const char *why)
{
	fprintf(stderr, "kvmi: cannot make out the guest's kernel: %s\n", why);
	return EXIT_ERROR;
}

/* ADDRESS TYPE NAME [MODULE], as /proc/kallsyms and System.map have it. */
static int read_symbols(struct linux_guest *l, const char *path)
{
	FILE *f = fopen(path, "r");
	bool any = false;
	char line[1024];
	int ret = EXIT_OK;

	if (!f) {
		fprintf(stderr, "kvmi: cannot read %s: %s\n", path, strerror(errno));
		return EXIT_ERROR;
	}
	while (fgets(line, sizeof(line), f)) {
		unsigned long long value;
		struct symbol *s;
		char name[256];
		int len;

		if (sscanf(line, "%llx %*c %255s%n", &value, name, &len) != 2)
			continue;
		any |= value;
		/* Those of modules have the same names at times. */
		if (strchr(line + len, '['))
			continue;
		s = find_symbol(l, name);
		if (s && !s->value)
			s->value = value;
	}
	if (ferror(f)) {
		fprintf(stderr, "kvmi: cannot read %s: %s\n", path, strerror(errno));
		ret = EXIT_ERROR;
	} else if (!any) {
		fprintf(stderr,
			"kvmi: cannot use %s: it has no addresses (only root sees them in /proc/kallsyms)\n",
			path);
		ret = EXIT_ERROR;
	}
	fclose(f);
	return ret;
}

/* By how much the kernel has been moved since the symbols were written down. */
static int apply_slide(struct linux_guest *l)
{
	uint64_t entry = linux_symbol(l, ENTRY), lstar, slide;
	unsigned int i;
	int ret;

	ret = kvmi_vcpu_get_msr(l->vm, 0, MSR_LSTAR, &lstar);
	if (ret)
		return failed(ret);
	if (!entry)
		return no_such_guest("there is no symbol " ENTRY);
	if (!lstar)
		return no_such_guest("it has not set up system calls");
	slide = lstar - entry;
	if (slide % KASLR_ALIGN)
		return no_such_guest("the symbols are of another kernel");
	for (i = 0; i < l->nr_symbols; i++)
		if (l->symbols[i].value >= KERNEL_START)
			l->symbols[i].value += slide;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].value >= KERNEL_START)
			own[i].value += slide;
	return EXIT_OK;
}

static bool is_kernel(const struct linux_guest *l, const struct kvmi_space *space)
{
	char text[sizeof(BANNER_TEXT) - 1];

	return kvmi_space_read(l->vm, space, linux_symbol(l, BANNER), text,
			       sizeof(text)) == sizeof(text) &&
	       !memcmp(text, BANNER_TEXT, sizeof(text));
}

/**
 * linux_find_space() - Find an address space with the kernel in it
 * @l: the guest, which stands, and is to until the space has been used: page tables of
 *     a process could go away
 *
 * Some vCPU's, which may be in user mode, where the kernel is not mapped (KPTI).
 *
 * Return: 0, or an exit code after a message.
 */
int linux_find_space(struct linux_guest *l)
{
	struct kvmi_info info = { };
	unsigned int i;
	int ret;

	if (!linux_symbol(l, BANNER))
		return no_such_guest("there is no symbol " BANNER);
	/* The kernel's own is known already. */
	if (l->space.mode && is_kernel(l, &l->space))
		return EXIT_OK;
	ret = kvmi_vm_get_info(l->vm, &info);
	if (ret)
		return failed(ret);
	for (i = 0; i < info.out_nr_vcpus; i++) {
		if (kvmi_space_get(l->vm, i, &l->space))
			continue;
		if (is_kernel(l, &l->space))
			return EXIT_OK;
		l->space.root &= ~PTI_USER;
		if (is_kernel(l, &l->space))
			return EXIT_OK;
	}
	return no_such_guest("the symbols do not fit, or it is no 64-bit Linux");
}

static void *load_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "r");
	unsigned char *data = NULL;
	size_t room = 0;

	*size = 0;
	while (f && !ferror(f) && !feof(f) && *size < MAX_BTF) {
		room += 4 << 20;
		data = realloc(data, room);
		if (!data)
			abort();
		*size += fread(data + *size, 1, room - *size, f);
	}
	if (!f || ferror(f)) {
		fprintf(stderr, "kvmi: cannot read %s: %s\n", path, strerror(errno));
		free(data);
		data = NULL;
	}
	if (f)
		fclose(f);
	return data;
}

static int load_btf(struct linux_guest *l, const char *path)
{
	uint64_t start = linux_symbol(l, "__start_BTF");
	size_t size = linux_symbol(l, "__stop_BTF") - start;
	ssize_t ret;

	if (path) {
		l->btf_data = load_file(path, &size);
		if (!l->btf_data)
			return EXIT_ERROR;
	} else {
		if (!start || !size || size > MAX_BTF)
			return no_such_guest("it has no BTF: give --btf FILE");
		l->btf_data = malloc(size);
		if (!l->btf_data)
			abort();
		ret = kvmi_space_read(l->vm, &l->space, start, l->btf_data, size);
		if (ret < 0)
			return failed(ret);
		if (ret != size)
			return no_such_guest("its BTF cannot be read: give --btf FILE");
	}
	l->btf = btf_parse(l->btf_data, size);
	if (l->btf)
		return EXIT_OK;
	if (!path)
		return no_such_guest("its BTF is damaged: give --btf FILE");
	fprintf(stderr, "kvmi: cannot use %s: it is no BTF, as /sys/kernel/btf/vmlinux is\n",
		path);
	return EXIT_ERROR;
}

/**
 * linux_open() - Find out where a guest's kernel is
 * @l: the guest: vm, symbols and nr_symbols are to be set
 * @symbols_path: a file with its symbols; NULL: as it has them in its memory
 *
 * The symbols are put in order of their names.
 *
 * Return: 0, or an exit code after a message; linux_close() in any case.
 */
int linux_open(struct linux_guest *l, const char *symbols_path)
{
	int ret;

	qsort(l->symbols, l->nr_symbols, sizeof(*l->symbols), by_name);
	/* They do not change: no reason to have it wait. */
	ret = symbols_path ? read_symbols(l, symbols_path) : kallsyms_read(l);
	return ret ?: apply_slide(l);
}

/**
 * linux_open_btf() - Find out what a guest's structures are made of
 * @l: the guest, after linux_open()
 * @path: a file with its BTF; NULL: as it has it in its memory
 *
 * Return: 0, or an exit code after a message; linux_close() in any case.
 */
int linux_open_btf(struct linux_guest *l, const char *path)
{
	int ret, err;

	err = kvmi_vm_pause(l->vm);
	if (err)
		return failed(err);
	ret = linux_find_space(l);
	if (!ret)
		ret = load_btf(l, path);
	err = kvmi_vm_resume(l->vm);
	if (!ret && err)
		ret = failed(err);
	return ret;
}

/**
 * linux_entry() - Where callers of a function go
 * @l: the guest, with an address space
 * @function: its address
 *
 * A function may begin with an ENDBR, or what the kernel has put in its place, and
 * newer kernels have direct calls leave that out.
 *
 * Return: the first address that is executed however it is called.
 */
uint64_t linux_entry(const struct linux_guest *l, uint64_t function)
{
	static const unsigned char nothing[][4] = {
		{ 0xf3, 0x0f, 0x1e, 0xfa },
		{ 0x66, 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0xd6 },
	};
	unsigned char code[4];
	unsigned int i;

	if (kvmi_space_read(l->vm, &l->space, function, code, sizeof(code)) !=
	    sizeof(code))
		return function;
	for (i = 0; i < ARRAY_SIZE(nothing); i++)
		if (!memcmp(code, nothing[i], sizeof(code)))
			return function + sizeof(code);
	return function;
}

/**
 * linux_answer() - Answer an event of a session with hidden breakpoints
 * @l: the guest
 * @set: the breakpoints
 * @ev: any event
 * @on_hit: called where a breakpoint was hit, before the vCPU goes on; 0 or -errno
 *
 * Return: 0 or -errno.
 */
int linux_answer(struct linux_guest *l, struct kvmi_breakpoints *set,
		 const struct kvmi_event *ev,
		 int (*on_hit)(const struct kvmi_event *ev, uint64_t gpa))
{
	uint64_t gpa;
	int ret;

	ret = kvmi_breakpoints_handle(set, ev, &gpa);
	if (ret == 2)
		return on_hit(ev, gpa) ?: kvmi_breakpoints_continue(set, ev);
	/* The guest's own breakpoints, and what is no question. */
	if (!ret)
		return kvmi_event_reply(l->vm, ev, KVMI_ACTION_CONTINUE);
	return ret < 0 ? ret : 0;
}

void linux_close(struct linux_guest *l)
{
	btf_free(l->btf);
	free(l->btf_data);
}

bool linux_offset(const struct linux_guest *l, const char *structure,
		  const char *member, uint32_t *offset)
{
	int64_t at = btf_offset(l->btf, structure, member);

	if (at < 0 || at > UINT32_MAX) {
		fprintf(stderr,
			"kvmi: cannot make out the guest's kernel: its struct %s has no %s\n",
			structure, member);
		return false;
	}
	*offset = at;
	return true;
}
