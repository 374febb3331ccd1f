// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mem dump: guest memory into a file, for the tools that read one.
 *
 * raw   the byte of guest-physical address n is at position n
 * elf   an ELF core as QEMU's dump-guest-memory writes it: a segment for each
 *       memory slot, and notes with the registers of each vCPU. crash(8) takes
 *       where the kernel is from QEMU's note.
 * lime  LiME's: a header before each range
 *
 * All are sparse where there is no memory, or nothing but zeros.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "linux.h"

#define PAGE		4096ULL
#define PIECE		(1U << 20)
#define MAX_SLOTS	32768
#define LIME_MAGIC	0x4c694d45

enum { FORMAT_RAW, FORMAT_ELF, FORMAT_LIME };

static const char * const formats[] = { "raw", "elf", "lime" };

struct lime_header {
	uint32_t magic;
	uint32_t version;
	uint64_t first;
	uint64_t last;
	uint8_t reserved[8];
};

/* QEMU's note (target/i386/arch_dump.c there). */
struct qemu_segment {
	uint32_t selector;
	uint32_t limit;
	uint32_t flags;
	uint32_t pad;
	uint64_t base;
};

struct qemu_cpu {
	uint32_t version;
	uint32_t size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r[8];
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss;
	struct qemu_segment ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

/* The sets in the order in which the kernel puts them. */
struct dump_regs {
	struct kvmi_x86_gprs gprs;
	struct kvmi_x86_control control;
	struct kvmi_x86_segments segments;
	struct kvmi_x86_syscall syscall;
};

#define DUMP_REGS	(KVMI_REGS_GENERAL | KVMI_REGS_CONTROL | \
			 KVMI_REGS_SEGMENT | KVMI_REGS_SYSCALL)

struct dump {
	struct kvmi_vm *vm;
	const char *path;
	int fd;
	bool seekable;
	bool created;
	uint64_t at;			/* where the next byte goes */
	uint64_t end;			/* what was written or skipped */

	struct kvmi_slot *slots;
	int nr_slots;
	uint64_t total, done;
	uint64_t zeros, unreadable;	/* bytes */

	char *notes;
	size_t nr_notes;		/* bytes of them */
	bool vmcoreinfo;

	bool tty;
	double began, told;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* On a terminal one line that changes, elsewhere a line every few seconds. */
static void progress(struct dump *d, bool last)
{
	double t = now();
	char total[32];

	if (!last && t - d->told < (d->tty ? 0.2 : 5))
		return;
	/* Nothing was said so far, so it was quick. */
	if (last && d->told == d->began)
		return;
	d->told = t;
	snprintf(total, sizeof(total), "%s", human_size(d->total));
	fprintf(stderr, "%skvmi: %s of %s, %u %%%s", d->tty ? "\r" : "",
		human_size(d->done), total,
		d->total ? (unsigned int)(d->done * 100 / d->total) : 100,
		!d->tty || last ? "\n" : " ");
}

/* ---- the file ---------------------------------------------------------------- */

static int dump_error(struct dump *d, int err)
{
	fprintf(stderr, "kvmi: cannot write %s: %s\n", d->path, strerror(err));
	return -err;
}

static int put(struct dump *d, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;

	if (d->seekable && d->at != d->end &&
	    lseek(d->fd, d->at, SEEK_SET) < 0)
		return dump_error(d, errno);
	while (len) {
		n = write(d->fd, p, len);
		if (n < 0 && errno == EINTR && !interrupted)
			continue;
		if (n < 0)
			return interrupted ? -EINTR : dump_error(d, errno);
		p += n;
		len -= n;
		d->at += n;
	}
	d->end = d->at;
	return 0;
}

/* Zeros: a hole, where the file can have one. */
static int skip(struct dump *d, uint64_t len)
{
	static const char zeros[PIECE];
	size_t n;
	int ret;

	if (d->seekable) {
		d->at += len;
		return 0;
	}
	for (; len; len -= n) {
		n = len < PIECE ? len : PIECE;
		ret = put(d, zeros, n);
		if (ret)
			return ret;
	}
	return 0;
}

static int file_open(struct dump *d)
{
	struct stat st;

	/* What is in it is nobody else's business. */
	d->fd = open(d->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return dump_error(d, errno);
	if (fstat(d->fd, &st))
		return dump_error(d, errno);
	d->created = S_ISREG(st.st_mode);
	d->seekable = d->created;
	return 0;
}

static int file_close(struct dump *d, int ret)
{
	/* The hole at the end. */
	if (!ret && d->seekable && d->at != d->end && ftruncate(d->fd, d->at))
		ret = dump_error(d, errno);
	if (close(d->fd) && !ret)
		ret = dump_error(d, errno);
	/* Half a dump looks like a whole one. */
	if (ret && d->created)
		unlink(d->path);
	return ret;
}

/* ---- memory ------------------------------------------------------------------ */

static bool is_zero(const char *p)
{
	return !*(const uint64_t *)p && !memcmp(p, p + 8, PAGE - 8);
}

/* What cannot be read is zero, and counted: the VMM may have no memory there. */
static int read_piece(struct dump *d, uint64_t gpa, char *buf, size_t len)
{
	size_t at = 0;
	ssize_t n;

	while (at < len) {
		n = kvmi_vm_read(d->vm, gpa + at, buf + at, len - at);
		if (n == -EINTR && !interrupted)
			continue;
		if (n < 0 && n != -ENXIO)
			return n == -EINTR ? n : (failed(n), n);
		if (n > 0) {
			at += n;
			continue;
		}
		memset(buf + at, 0, PAGE - at % PAGE);
		d->unreadable += PAGE - at % PAGE;
		at += PAGE - at % PAGE;
	}
	return 0;
}

static int put_memory(struct dump *d, uint64_t gpa, uint64_t len)
{
	static char buf[PIECE] __attribute__((aligned(PAGE)));
	size_t n, from, to;
	int ret;

	for (; len; len -= n, gpa += n) {
		n = len < PIECE ? len : PIECE;
		ret = interrupted ? -EINTR : read_piece(d, gpa, buf, n);
		/* Runs of pages that are zero, and of those that are not. */
		for (from = 0; !ret && from < n; from = to) {
			bool zero = is_zero(buf + from);

			for (to = from + PAGE; to < n; to += PAGE)
				if (is_zero(buf + to) != zero)
					break;
			if (zero)
				d->zeros += to - from;
			ret = zero ? skip(d, to - from) :
				     put(d, buf + from, to - from);
		}
		if (ret)
			return ret;
		d->done += n;
		progress(d, false);
	}
	return 0;
}

static int get_slots(struct dump *d)
{
	int i;

	d->slots = calloc(MAX_SLOTS, sizeof(*d->slots));
	if (!d->slots)
		abort();
	d->nr_slots = kvmi_vm_get_slots(d->vm, d->slots, MAX_SLOTS);
	if (d->nr_slots < 0) {
		failed(d->nr_slots);
		return d->nr_slots;
	}
	if (d->nr_slots > MAX_SLOTS)
		d->nr_slots = MAX_SLOTS;
	for (i = 0; i < d->nr_slots; i++)
		d->total += d->slots[i].nr_pages * PAGE;
	return 0;
}

static uint64_t slot_gpa(const struct dump *d, int i)
{
	return d->slots[i].gfn * PAGE;
}

static uint64_t slot_len(const struct dump *d, int i)
{
	return d->slots[i].nr_pages * PAGE;
}

static int put_slots(struct dump *d)
{
	int i, ret = 0;

	for (i = 0; i < d->nr_slots && !ret; i++)
		ret = put_memory(d, slot_gpa(d, i), slot_len(d, i));
	return ret;
}

/* ---- raw and lime -------------------------------------------------------------- */

static int dump_raw(struct dump *d)
{
	int i, ret = 0;

	for (i = 0; i < d->nr_slots && !ret; i++) {
		ret = skip(d, slot_gpa(d, i) - d->at);
		if (!ret)
			ret = put_memory(d, slot_gpa(d, i), slot_len(d, i));
	}
	return ret;
}

static int dump_lime(struct dump *d)
{
	struct lime_header header = { .magic = LIME_MAGIC, .version = 1 };
	int i, ret = 0;

	for (i = 0; i < d->nr_slots && !ret; i++) {
		header.first = slot_gpa(d, i);
		header.last = slot_gpa(d, i) + slot_len(d, i) - 1;
		ret = put(d, &header, sizeof(header));
		if (!ret)
			ret = put_memory(d, header.first, slot_len(d, i));
	}
	return ret;
}

/* ---- elf ----------------------------------------------------------------------- */

static void add_note(struct dump *d, const char *name, uint32_t type,
		     const void *desc, size_t len)
{
	Elf64_Nhdr nhdr = {
		.n_namesz = strlen(name) + 1, .n_descsz = len, .n_type = type,
	};
	size_t name_len = (nhdr.n_namesz + 3) & ~3UL;
	size_t room = sizeof(nhdr) + name_len + ((len + 3) & ~3UL);
	char *p;

	d->notes = realloc(d->notes, d->nr_notes + room);
	if (!d->notes)
		abort();
	p = d->notes + d->nr_notes;
	memset(p, 0, room);
	memcpy(p, &nhdr, sizeof(nhdr));
	memcpy(p + sizeof(nhdr), name, nhdr.n_namesz);
	memcpy(p + sizeof(nhdr) + name_len, desc, len);
	d->nr_notes += room;
}

static void fill_prstatus(struct elf_prstatus *pr, uint32_t vcpu,
			  const struct dump_regs *regs)
{
	const __u64 *r = regs->gprs.r;
	const struct kvmi_x86_segments *s = &regs->segments;
	struct user_regs_struct u = {
		.r15 = r[KVMI_X86_R15], .r14 = r[KVMI_X86_R14],
		.r13 = r[KVMI_X86_R13], .r12 = r[KVMI_X86_R12],
		.rbp = r[KVMI_X86_RBP], .rbx = r[KVMI_X86_RBX],
		.r11 = r[KVMI_X86_R11], .r10 = r[KVMI_X86_R10],
		.r9 = r[KVMI_X86_R9], .r8 = r[KVMI_X86_R8],
		.rax = r[KVMI_X86_RAX], .rcx = r[KVMI_X86_RCX],
		.rdx = r[KVMI_X86_RDX], .rsi = r[KVMI_X86_RSI],
		.rdi = r[KVMI_X86_RDI], .orig_rax = ~0ULL,
		.rip = r[KVMI_X86_RIP], .eflags = r[KVMI_X86_RFLAGS],
		.rsp = r[KVMI_X86_RSP],
		.cs = s->cs.selector, .ss = s->ss.selector,
		.ds = s->ds.selector, .es = s->es.selector,
		.fs = s->fs.selector, .gs = s->gs.selector,
		.fs_base = s->fs.base, .gs_base = s->gs.base,
	};

	memset(pr, 0, sizeof(*pr));
	pr->pr_pid = vcpu + 1;
	memcpy(&pr->pr_reg, &u, sizeof(u));
}

static struct qemu_segment qemu_segment(const struct kvmi_x86_segment *s)
{
	struct qemu_segment q = {
		.selector = s->selector, .limit = s->limit, .base = s->base,
		/* As in the descriptor. */
		.flags = (s->attr & 0xff) << 8 | (s->attr >> 8 & 0xf) << 20,
	};

	return q;
}

static struct qemu_segment qemu_dtable(const struct kvmi_x86_dtable *t)
{
	struct qemu_segment q = { .limit = t->limit, .base = t->base };

	return q;
}

static void fill_qemu(struct qemu_cpu *q, const struct dump_regs *regs)
{
	const struct kvmi_x86_segments *s = &regs->segments;
	const __u64 *r = regs->gprs.r;

	*q = (struct qemu_cpu) {
		.version = 1, .size = sizeof(*q),
		.rax = r[KVMI_X86_RAX], .rbx = r[KVMI_X86_RBX],
		.rcx = r[KVMI_X86_RCX], .rdx = r[KVMI_X86_RDX],
		.rsi = r[KVMI_X86_RSI], .rdi = r[KVMI_X86_RDI],
		.rsp = r[KVMI_X86_RSP], .rbp = r[KVMI_X86_RBP],
		.rip = r[KVMI_X86_RIP], .rflags = r[KVMI_X86_RFLAGS],
		.cs = qemu_segment(&s->cs), .ds = qemu_segment(&s->ds),
		.es = qemu_segment(&s->es), .fs = qemu_segment(&s->fs),
		.gs = qemu_segment(&s->gs), .ss = qemu_segment(&s->ss),
		.ldt = qemu_segment(&s->ldt), .tr = qemu_segment(&s->tr),
		.gdt = qemu_dtable(&s->gdt), .idt = qemu_dtable(&s->idt),
		.cr = { regs->control.cr0, 0, regs->control.cr2,
			regs->control.cr3, regs->control.cr4 },
		.kernel_gs_base = regs->syscall.kernel_gs_base,
	};
	memcpy(q->r, &r[KVMI_X86_R8], sizeof(q->r));
}

static int add_cpu_notes(struct dump *d)
{
	struct elf_prstatus pr;
	struct dump_regs *regs;
	struct kvmi_info info;
	struct qemu_cpu q;
	uint32_t v;
	int ret;

	ret = kvmi_vm_get_info(d->vm, &info);
	if (ret)
		return failed(ret), ret;
	regs = calloc(info.out_nr_vcpus + 1, sizeof(*regs));
	if (!regs)
		abort();
	for (v = 0; v < info.out_nr_vcpus && !ret; v++) {
		ret = kvmi_vcpu_get_regs(d->vm, v, DUMP_REGS, &regs[v],
					 sizeof(regs[v]));
		/* An index that has no vCPU (yet). */
		if (ret == -ENOENT)
			ret = 0;
	}
	if (ret)
		failed(ret);
	for (v = 0; v < info.out_nr_vcpus && !ret; v++) {
		fill_prstatus(&pr, v, &regs[v]);
		add_note(d, "CORE", NT_PRSTATUS, &pr, sizeof(pr));
	}
	for (v = 0; v < info.out_nr_vcpus && !ret; v++) {
		fill_qemu(&q, &regs[v]);
		add_note(d, "QEMU", 0, &q, sizeof(q));
	}
	free(regs);
	return ret;
}

static int add_vmcoreinfo(struct dump *d)
{
	char text[MAX_VMCOREINFO];
	ssize_t n;

	n = find_vmcoreinfo(d->vm, text);
	if (n < 0)
		return n == -EINTR ? n : (failed(n), n);
	d->vmcoreinfo = n;
	if (n)
		add_note(d, "VMCOREINFO", 0, text, n);
	return 0;
}

static int dump_elf(struct dump *d)
{
	size_t phnum = d->nr_slots + 1, headers;
	Elf64_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = phnum,
	};
	uint64_t offset;
	Elf64_Phdr *ph;
	int i, ret;

	ret = add_cpu_notes(d);
	if (!ret)
		ret = add_vmcoreinfo(d);
	if (ret)
		return ret;

	ph = calloc(phnum, sizeof(*ph));
	if (!ph)
		abort();
	headers = sizeof(eh) + phnum * sizeof(*ph);
	offset = (headers + d->nr_notes + PAGE - 1) & -PAGE;
	ph[0] = (Elf64_Phdr) {
		.p_type = PT_NOTE, .p_offset = headers,
		.p_filesz = d->nr_notes, .p_memsz = d->nr_notes, .p_align = 4,
	};
	for (i = 0; i < d->nr_slots; i++) {
		/*
		 * Virtual addresses are the guest's affair: gdb(1) sees
		 * physical ones, and crash(8) looks at those alone.
		 */
		ph[i + 1] = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_offset = offset,
			.p_vaddr = slot_gpa(d, i), .p_paddr = slot_gpa(d, i),
			.p_filesz = slot_len(d, i), .p_memsz = slot_len(d, i),
			.p_flags = PF_R | PF_W | PF_X, .p_align = PAGE,
		};
		offset += slot_len(d, i);
	}
	ret = put(d, &eh, sizeof(eh));
	if (!ret)
		ret = put(d, ph, phnum * sizeof(*ph));
	if (!ret)
		ret = put(d, d->notes, d->nr_notes);
	if (!ret)
		ret = skip(d, ph[d->nr_slots ? 1 : 0].p_offset - d->at);
	if (!ret)
		ret = put_slots(d);
	free(ph);
	return ret;
}

/* ---- the command ------------------------------------------------------------- */

static int run(struct dump *d, unsigned int format)
{
	int ret;

	ret = get_slots(d);
	if (!ret)
		ret = file_open(d);
	if (ret)
		return ret;
	switch (format) {
	case FORMAT_RAW:
		ret = dump_raw(d);
		break;
	case FORMAT_ELF:
		ret = dump_elf(d);
		break;
	case FORMAT_LIME:
		ret = dump_lime(d);
		break;
	}
	return file_close(d, ret);
}

static void summary(const struct dump *d, unsigned int format, bool json)
{
	if (json) {
		json_begin();
		json_string("format", formats[format]);
		json_string("file", d->path);
		json_number("memory", d->total);
		json_number("zeros", d->zeros);
		json_number("unreadable", d->unreadable);
		json_number("slots", d->nr_slots);
		if (format == FORMAT_ELF)
			json_bool("vmcoreinfo", d->vmcoreinfo);
		json_end();
	}
	if (d->unreadable)
		fprintf(stderr, "kvmi: %s could not be read, and are zero in the dump\n",
			human_size(d->unreadable));
}

int mem_dump(const char *spec, const char *path, const char *format_name,
	     bool consistent, bool json)
{
	struct dump d = { .path = path };
	unsigned int format;
	int ret;

	for (format = 0; format < ARRAY_SIZE(formats); format++)
		if (!strcmp(formats[format], format_name))
			break;
	if (format == ARRAY_SIZE(formats))
		return usage_error("%s is no format: raw, elf, lime",
				   format_name);
	catch_signals();
	ret = attach(spec, &d.vm);
	if (ret)
		return ret;
	if (consistent) {
		ret = kvmi_vm_pause(d.vm);
		if (ret) {
			ret = failed(ret);
			goto out;
		}
	}
	d.tty = isatty(STDERR_FILENO);
	d.began = now();
	d.told = d.began;
	ret = run(&d, format);
	progress(&d, true);
	if (!ret)
		summary(&d, format, json);
	else if (ret == -EINTR)
		fprintf(stderr, "kvmi: interrupted; there is no dump\n");
	ret = ret ? EXIT_ERROR : EXIT_OK;
out:
	/* It resumes what was paused. */
	kvmi_vm_close(d.vm);
	free(d.slots);
	free(d.notes);
	return ret;
}
