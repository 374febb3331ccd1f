// SPDX-License-Identifier: GPL-2.0-only
/* The kvmi command: what it writes and prints is what is there. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define SLOT	0x10000000UL
#define NR	64
#define FILE_	"/tmp/kvmi-dump"

/* ---- the command -------------------------------------------------------------- */

struct output {
	int status;
	size_t len;
	char *text;
};

/* A command: both outputs, and the exit status. */
static struct output run(const char * const *argv)
{
	struct output out = {};
	size_t room = 0;
	int fds[2];
	ssize_t n;
	pid_t pid;

	KTAP_OK(pipe(fds));
	pid = KTAP_OK(fork());
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		execvp(argv[0], (char **)argv);
		perror(argv[0]);
		_exit(127);
	}
	close(fds[1]);
	do {
		if (out.len + 1 >= room) {
			room = room ? 2 * room : 65536;
			out.text = realloc(out.text, room);
			KTAP_ASSERT(out.text);
		}
		n = KTAP_OK(read(fds[0], out.text + out.len,
				 room - out.len - 1));
		out.len += n;
	} while (n);
	out.text[out.len] = 0;
	close(fds[0]);
	KTAP_EQ(waitpid(pid, &out.status, 0), pid);
	KTAP_ASSERT(WIFEXITED(out.status), "status %#x", out.status);
	out.status = WEXITSTATUS(out.status);
	return out;
}

static const char *self(void)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	return text;
}

#define KVMI_RUN(...)	run((const char *[]){ "kvmi", __VA_ARGS__, NULL })

/* It has done it; what it printed, to be freed. */
#define KVMI_OK(...)							\
	({								\
		struct output _o = KVMI_RUN(__VA_ARGS__);		\
									\
		KTAP_ASSERT(!_o.status, "%d: %.500s", _o.status, _o.text); \
		_o;							\
	})

#define KVMI_ERR(code, say, ...)					\
	do {								\
		struct output _o = KVMI_RUN(__VA_ARGS__);		\
									\
		KTAP_ASSERT(_o.status == (code) && strstr(_o.text, (say)), \
			    "%d: %.500s", _o.status, _o.text);		\
		free(_o.text);						\
	} while (0)

/* ---- mem dump ------------------------------------------------------------------ */

struct file {
	const uint8_t *p;
	size_t size;
	size_t used;
};

static struct file load(const char *path)
{
	int fd = KTAP_OK(open(path, O_RDONLY));
	struct file f;
	struct stat st;

	KTAP_OK(fstat(fd, &st));
	KTAP_EQ(st.st_mode & 07777, 0600);
	f.size = st.st_size;
	f.used = st.st_blocks * 512;
	f.p = mmap(NULL, f.size, PROT_READ, MAP_SHARED, fd, 0);
	KTAP_ASSERT(f.p != MAP_FAILED);
	close(fd);
	return f;
}

static void unload(struct file f)
{
	munmap((void *)f.p, f.size);
	KTAP_OK(unlink(FILE_));
}

/* A guest with something in each of two slots, and something of its own. */
static __guest uint64_t guest_fill(uint64_t addr, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		GUEST_WRITE(uint64_t, addr + i * 8, 0x1122334455667700 + i);
	return n;
}

static struct vmm *two_slots(uint64_t *gpa)
{
	struct vmm *vm = vmm_create(2, 0);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, NR * PAGE, 0);
	int i;

	*gpa = vmm_alloc_pages(vm, 2);
	vmm_vcpu_set_entry(vm, 0, guest_fill, *gpa, 700, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 700);
	for (i = 0; i < NR; i += 3)
		memset(mem + i * PAGE, 0x40 + i, PAGE);
	/* The last byte, and nothing else there. */
	mem[NR * PAGE - 1] = 9;
	return vm;
}

KTAP_CASE(dump_raw, "S3")
{
	uint64_t gpa, page[512];
	struct vmm *vm = two_slots(&gpa);
	struct file f;

	free(KVMI_OK("mem", "dump", self(), FILE_).text);
	f = load(FILE_);
	KTAP_EQ(f.size, SLOT + NR * PAGE);
	KTAP_ASSERT(!memcmp(f.p, vmm_gpa(vm, 0), GUEST_RAM));
	KTAP_ASSERT(!memcmp(f.p + SLOT, vmm_gpa(vm, SLOT), NR * PAGE));
	memcpy(page, f.p + gpa, PAGE);
	KTAP_EQ(page[511], 0x1122334455667700 + 511);
	/* Neither the hole nor the zeros take room. */
	KTAP_ASSERT(f.used < GUEST_RAM / 2, "%zu bytes", f.used);
	unload(f);
	vmm_destroy(vm);
}

KTAP_CASE(dump_lime, "S3")
{
	struct lime {
		uint32_t magic, version;
		uint64_t first, last, reserved;
	} *h;
	struct output piped;
	uint64_t gpa;
	struct vmm *vm = two_slots(&gpa);
	struct file f;
	size_t at = 0;
	int i;

	free(KVMI_OK("mem", "dump", "--format", "lime", self(), FILE_).text);
	f = load(FILE_);
	for (i = 0; i < 2; i++) {
		uint64_t from = i ? SLOT : 0, len = i ? NR * PAGE : GUEST_RAM;

		h = (struct lime *)(f.p + at);
		KTAP_EQ(h->magic, 0x4c694d45);
		KTAP_EQ(h->version, 1);
		KTAP_EQ(h->first, from);
		KTAP_EQ(h->last, from + len - 1);
		KTAP_EQ(h->reserved, 0);
		at += sizeof(*h);
		KTAP_ASSERT(!memcmp(f.p + at, vmm_gpa(vm, from), len));
		at += len;
	}
	KTAP_EQ(f.size, at);
	/* The same through a pipe, which has no holes. */
	piped = KVMI_OK("mem", "dump", "--format", "lime", self(),
			"/proc/self/fd/1");
	KTAP_EQ(piped.len, at);
	KTAP_ASSERT(!memcmp(piped.text, f.p, at));
	free(piped.text);
	unload(f);
	vmm_destroy(vm);
}

/* The next note, of this kind and name. */
static const void *note(const uint8_t **at, const char *name, uint32_t type,
			uint32_t size)
{
	const Elf64_Nhdr *n = (const Elf64_Nhdr *)*at;
	const uint8_t *desc;

	KTAP_EQ(n->n_type, type);
	KTAP_EQ(n->n_descsz, size);
	KTAP_EQ(n->n_namesz, strlen(name) + 1);
	KTAP_ASSERT(!strcmp((const char *)(n + 1), name));
	desc = *at + sizeof(*n) + ((n->n_namesz + 3) & ~3);
	*at = desc + ((size + 3) & ~3);
	return desc;
}

KTAP_CASE(dump_elf, "S3 S6")
{
	static const char info[] = "OSRELEASE=6.6.6\nKERNELOFFSET=1000000\n";
	Elf64_Nhdr nhdr = { 11, sizeof(info) - 1, 0 };
	const struct user_regs_struct *u;
	const struct elf_prstatus *pr;
	const Elf64_Phdr *ph;
	const Elf64_Ehdr *eh;
	const uint8_t *at;
	struct kvmi_x86_gprs gprs;
	struct kvmi_x86_segments segments;
	struct kvmi_x86_control control;
	const uint64_t *qemu;
	uint64_t gpa;
	struct vmm *vm = two_slots(&gpa);
	struct kvmi_vm *kv;
	struct output out;
	struct file f;
	int i;

	memcpy(vmm_gpa(vm, SLOT + 5 * PAGE), &nhdr, sizeof(nhdr));
	memcpy(vmm_gpa(vm, SLOT + 5 * PAGE + 12), "VMCOREINFO", 11);
	memcpy(vmm_gpa(vm, SLOT + 5 * PAGE + 24), info, sizeof(info));
	/* One that goes on for longer than it may is none. */
	nhdr.n_descsz = 100000;
	memcpy(vmm_gpa(vm, SLOT + 4 * PAGE), &nhdr, sizeof(nhdr));
	memcpy(vmm_gpa(vm, SLOT + 4 * PAGE + 12), "VMCOREINFO", 11);
	memcpy(vmm_gpa(vm, SLOT + 4 * PAGE + 24), info, sizeof(info));
	out = KVMI_OK("mem", "dump", "--json", "--format", "elf", self(), FILE_);
	KTAP_ASSERT(strstr(out.text, "\"vmcoreinfo\":true"), "%s", out.text);
	KTAP_ASSERT(strstr(out.text, "\"unreadable\":0"), "%s", out.text);
	free(out.text);

	f = load(FILE_);
	eh = (const Elf64_Ehdr *)f.p;
	KTAP_ASSERT(!memcmp(eh->e_ident, ELFMAG, SELFMAG));
	KTAP_EQ(eh->e_type, ET_CORE);
	KTAP_EQ(eh->e_machine, EM_X86_64);
	KTAP_EQ(eh->e_phnum, 3);
	ph = (const Elf64_Phdr *)(f.p + eh->e_phoff);
	KTAP_EQ(ph[0].p_type, PT_NOTE);
	for (i = 0; i < 2; i++) {
		uint64_t from = i ? SLOT : 0, len = i ? NR * PAGE : GUEST_RAM;

		KTAP_EQ(ph[i + 1].p_type, PT_LOAD);
		KTAP_EQ(ph[i + 1].p_paddr, from);
		KTAP_EQ(ph[i + 1].p_filesz, len);
		KTAP_EQ(ph[i + 1].p_memsz, len);
		KTAP_EQ(ph[i + 1].p_offset % PAGE, 0);
		KTAP_ASSERT(!memcmp(f.p + ph[i + 1].p_offset,
				    vmm_gpa(vm, from), len));
	}
	KTAP_EQ(f.size, ph[2].p_offset + ph[2].p_filesz);

	kv = tool_attach(vm);
	at = f.p + ph[0].p_offset;
	for (i = 0; i < 2; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &gprs));
		KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, i, &segments));
		pr = note(&at, "CORE", NT_PRSTATUS, sizeof(*pr));
		u = (const struct user_regs_struct *)&pr->pr_reg;
		KTAP_EQ(pr->pr_pid, i + 1);
		KTAP_EQ(u->rip, gprs.r[KVMI_X86_RIP]);
		KTAP_EQ(u->rsp, gprs.r[KVMI_X86_RSP]);
		KTAP_EQ(u->rdi, gprs.r[KVMI_X86_RDI]);
		KTAP_EQ(u->r15, gprs.r[KVMI_X86_R15]);
		KTAP_EQ(u->eflags, gprs.r[KVMI_X86_RFLAGS]);
		KTAP_EQ(u->cs, segments.cs.selector);
		KTAP_EQ(u->fs_base, segments.fs.base);
	}
	for (i = 0; i < 2; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, i, &gprs));
		KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, i, &segments));
		KTAP_LIB_OK(kvmi_vcpu_get_control(kv, i, &control));
		/* As QEMU has it: 8 + 18 registers, 10 segments, CRs, a MSR. */
		qemu = note(&at, "QEMU", 0, 8 + 18 * 8 + 10 * 24 + 6 * 8);
		KTAP_EQ(*(const uint32_t *)qemu, 1);
		KTAP_EQ(qemu[17], gprs.r[KVMI_X86_RIP]);
		KTAP_EQ(qemu[7], gprs.r[KVMI_X86_RSP]);
		KTAP_EQ((uint32_t)qemu[19], segments.cs.selector);
		KTAP_EQ(qemu[21], segments.cs.base);
		KTAP_EQ(qemu[19 + 9 * 3 + 2], segments.idt.base);
		KTAP_EQ(qemu[49 + 3], control.cr3);
	}
	KTAP_ASSERT(!memcmp(note(&at, "VMCOREINFO", 0, sizeof(info) - 1), info,
			    sizeof(info) - 1));
	KTAP_EQ(at - f.p, ph[0].p_offset + ph[0].p_filesz);
	kvmi_vm_close(kv);
	unload(f);
	vmm_destroy(vm);
}

/* Two counts, one after the other, far apart. */
static __guest uint64_t guest_count(uint64_t a, uint64_t b)
{
	volatile uint64_t *first = (void *)a, *second = (void *)b;

	for (;;) {
		++*first;
		++*second;
	}
	return 0;
}

KTAP_CASE(dump_consistent, "S2 S3")
{
	struct vmm *vm = vmm_create(1, 0);
	uint64_t a = vmm_alloc_pages(vm, 1), b, first, second;
	volatile uint64_t *count = vmm_gpa(vm, a);
	struct file f;
	int i;

	vmm_alloc_pages(vm, 1024);
	b = vmm_alloc_pages(vm, 1);
	vmm_vcpu_set_entry(vm, 0, guest_count, a, b, 0);
	vmm_vcpu_start(vm, 0);
	while (!*count)
		tool_msleep(1);
	free(KVMI_OK("mem", "dump", "--consistent", self(), FILE_).text);
	f = load(FILE_);
	memcpy(&first, f.p + a, 8);
	memcpy(&second, f.p + b, 8);
	KTAP_ASSERT(first == second || first == second + 1, "%llu, %llu",
		    (unsigned long long)first, (unsigned long long)second);
	/* And on it goes. */
	first = *count;
	for (i = 0; *count == first && i < TOOL_PATIENCE; i++)
		tool_msleep(1);
	KTAP_NE(*count, first);
	unload(f);
	vmm_vcpu_stop(vm, 0);
	vmm_destroy(vm);
}

KTAP_CASE(dump_errors, "S3")
{
	struct vmm *vm = vmm_create(1, 0);

	/* Where the VMM has no memory behind a slot. */
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, 4 * PAGE, 0);
	struct output out;
	struct file f;

	memset(mem, 7, 4 * PAGE);
	KTAP_OK(munmap(mem + PAGE, 2 * PAGE));
	out = KVMI_OK("mem", "dump", "--json", self(), FILE_);
	KTAP_ASSERT(strstr(out.text, "\"unreadable\":8192"), "%s", out.text);
	KTAP_ASSERT(strstr(out.text, "kvmi: 8 KiB could not be read"), "%s",
		    out.text);
	free(out.text);
	f = load(FILE_);
	KTAP_EQ(f.p[SLOT + PAGE - 1], 7);
	KTAP_EQ(f.p[SLOT + PAGE], 0);
	KTAP_EQ(f.p[SLOT + 3 * PAGE], 7);
	unload(f);

	KVMI_ERR(2, "xyz is no format", "mem", "dump", "--format", "xyz", self(),
		 FILE_);
	KVMI_ERR(2, "kvmi mem dump VM FILE", "mem", "dump", self());
	KVMI_ERR(2, "only kvmi mem dump", "mem", "read", "--consistent", self(),
		 "0", "1");
	KVMI_ERR(1, "cannot write /nowhere/file", "mem", "dump", self(),
		 "/nowhere/file");
	KVMI_ERR(1, "cannot write /dev/full", "mem", "dump", "--format", "lime",
		 self(), "/dev/full");
	KTAP_ASSERT(access("/dev/full", F_OK) == 0, "a device is removed");
	vmm_destroy(vm);
}

/* ---- vmcs, caps ------------------------------------------------------------------ */

/* "value" of the field with this name; the text is JSON as kvmi prints it. */
static uint64_t json_value(const char *text, const char *group, const char *name)
{
	unsigned long long value;
	char head[128];
	const char *p;

	snprintf(head, sizeof(head), "{\"group\":\"%s\",\"name\":\"%s\",",
		 group, name);
	p = strstr(text, head);
	if (!p || sscanf(strstr(p, "\"value\""), "\"value\":\"%llx\"",
			 &value) != 1)
		KTAP_FAIL("no %s in %.200s", head, text);
	return value;
}

static __guest uint64_t guest_one_cpuid(void)
{
	guest_cpuid(0, 0);
	return 1;
}

KTAP_CASE(vmcs, "S8")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_x86_segments segments;
	struct kvmi_x86_control control;
	struct kvmi_x86_gprs gprs;
	struct kvmi_caps caps;
	struct output out;
	bool intel;

	KTAP_LIB_OK(kvmi_vm_get_caps(kv, &caps));
	intel = caps.out_vendor == KVMI_VENDOR_INTEL;
	vmm_vcpu_set_entry(vm, 1, guest_one_cpuid, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 1), 1);
	KTAP_LIB_OK(kvmi_vcpu_get_gprs(kv, 1, &gprs));
	KTAP_LIB_OK(kvmi_vcpu_get_control(kv, 1, &control));
	KTAP_LIB_OK(kvmi_vcpu_get_segments(kv, 1, &segments));
	kvmi_vm_close(kv);

	out = KVMI_OK("vmcs", "--json", self(), "1");
	KTAP_EQ(json_value(out.text, intel ? "guest" : "save",
			   intel ? "guest_cr3" : "cr3"), control.cr3);
	KTAP_EQ(json_value(out.text, intel ? "guest" : "save",
			   intel ? "guest_rsp" : "rsp"),
		gprs.r[KVMI_X86_RSP]);
	KTAP_EQ(json_value(out.text, intel ? "guest" : "save",
			   intel ? "guest_gs_base" : "gs_base"),
		segments.gs.base);
	KTAP_EQ(json_value(out.text, intel ? "guest" : "save",
			   intel ? "guest_tr_limit" : "tr_limit"),
		segments.tr.limit);
	/* KVM's own, of which something is known, too. */
	KTAP_NE(json_value(out.text, "control",
			   intel ? "ept_pointer" : "nested_cr3"), 0);
	if (intel) {
		KTAP_NE(json_value(out.text, "host", "host_rip"), 0);
		json_value(out.text, "exit", "exit_qualification");
		/*
		 * On its second CPU Bochs has fields that no processor has: so
		 * nothing can be said of those without a name.
		 */
	} else {
		KTAP_EQ(json_value(out.text, "control", "nested_control") & 1, 1);
	}
	/* Its last exit was to say that it is done. */
	KTAP_ASSERT(strstr(out.text, "\"meaning\":"), "%s", out.text);
	free(out.text);

	out = KVMI_OK("vmcs", self(), "0");
	KTAP_ASSERT(strstr(out.text, intel ? "\nhost\n" : "\nsave\n"), "%s",
		    out.text);
	free(out.text);
	KVMI_ERR(3, "there is no vCPU 2", "vmcs", self(), "2");
	KVMI_ERR(2, "x is no vCPU", "vmcs", self(), "x");
	KVMI_ERR(2, "kvmi vmcs VM VCPU", "vmcs", self());
	vmm_destroy(vm);
}

KTAP_CASE(caps, "S9")
{
	struct kvmi_x86_msr msrs[64];
	struct kvmi_caps c;
	struct output out;
	bool intel;
	int i, nr;

	KTAP_LIB_OK(kvmi_caps_get(&c));
	intel = c.out_vendor == KVMI_VENDOR_INTEL;
	nr = KTAP_LIB_OK(kvmi_host_get_msrs(msrs, 64));
	if (intel) {
		KTAP_EQ(msrs[1].index, 0x480);
		KTAP_EQ(msrs[1].out_error, 0);
		/* Of the VMCS: its size is less than 4 KiB. */
		KTAP_ASSERT((msrs[1].value >> 32 & 0x1fff) <= 4096);
		/* The locked feature control, without which KVM does not load. */
		KTAP_EQ(msrs[0].value & 5, 5);
	} else {
		KTAP_EQ(msrs[0].index, 0xc0010114);
		/* SVMDIS is clear. */
		KTAP_ASSERT(msrs[0].out_error || !(msrs[0].value & 0x10));
	}
	for (i = 0; i < nr; i++)
		KTAP_ASSERT(!msrs[i].out_error || msrs[i].out_error == -ENOENT);
	/* Only as many as there is room for. */
	msrs[0].index = 0;
	KTAP_EQ(kvmi_host_get_msrs(msrs, 0), nr);
	KTAP_EQ(msrs[0].index, 0);

	out = KVMI_OK("caps", "--json");
	if (intel) {
		/* What it could not have loaded without, and /proc/cpuinfo's. */
		KTAP_ASSERT(strstr(out.text, "{\"name\":\"ept\",\"present\":true"));
		KTAP_ASSERT(strstr(out.text,
				   "{\"name\":\"monitor_trap_flag\",\"present\":true"));
		KTAP_EQ(!strstr(out.text,
				"{\"name\":\"ept_execute_only\",\"present\":true"),
			!(c.out_access & 1U << KVMI_ACCESS_X));
		KTAP_ASSERT(strstr(out.text, "{\"index\":\"0x480\",\"value\":\"0x"));
	} else {
		KTAP_ASSERT(strstr(out.text,
				   "{\"name\":\"nested_paging\",\"present\":true"));
		KTAP_EQ(!strstr(out.text, "\"x\""), true);
	}
	KTAP_ASSERT(strstr(out.text, "\"rwx\""), "%s", out.text);
	free(out.text);
	out = KVMI_OK("caps");
	KTAP_ASSERT(strstr(out.text, "needed: views"), "%s", out.text);
	free(out.text);
	KVMI_ERR(2, "takes no argument", "caps", "1");
}

/* ---- trace ---------------------------------------------------------------------- */

#define TRACE_PORT	0xa1
#define TRACE_STRING_PORT	0x21
#define TRACE_NOWHERE	(1UL << 40)
#define TRACE_IOAPIC	0xfec00000UL
#define TRACE_SLOT	5
#define TRACE_SLOT_GPA	0x40000000UL

/* A bit of everything, over and over, until the first word says so. */
static __guest uint64_t guest_all(uint64_t *mem, uint64_t is_amd)
{
	uint64_t cr0 = guest_read_cr0(), cr3 = guest_read_cr3();
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} table;
	const char *string;
	uint64_t ret, count;

	while (!GUEST_READ(uint64_t, mem)) {
		GUEST_WRITE(uint64_t, mem + 1, 1);
		guest_write_cr0(cr0 | 1 << 18);
		guest_write_cr0(cr0);
		guest_write_cr3(cr3);
		cr3 = guest_read_cr3();
		guest_write_cr8(5);
		guest_write_cr8(0);
		asm volatile("mov %0, %%dr1" : : "r" (0x1234UL));
		guest_cpuid(7, 1);
		ret = GUEST_TRY("ud2", "+r" (cr3), : "memory");
		ret = GUEST_TRY("movb $1, (%1)", "+r" (cr3),
				"r" (TRACE_NOWHERE + 0x123) : "memory");
		asm volatile("sgdt %0; lgdt %0; sidt %0" : "=m" (table));
		guest_out8(TRACE_PORT, 0x5a);
		guest_in8(TRACE_PORT);
		string = "Zz";
		count = 2;
		asm volatile("rep outsb" : "+S" (string), "+c" (count) :
			     "d" (TRACE_STRING_PORT) : "memory");
		GUEST_WRITE(uint32_t, TRACE_IOAPIC, 1);
		guest_rdtsc();
		asm volatile("pause");
		if (is_amd)
			asm volatile("vmmcall" : "=a" (ret) :
				     "a" (1UL), "b" (11UL), "c" (12UL),
				     "d" (13UL), "S" (14UL) : "memory");
		else
			asm volatile("vmcall" : "=a" (ret) :
				     "a" (1UL), "b" (11UL), "c" (12UL),
				     "d" (13UL), "S" (14UL) : "memory");
	}
	return 1;
}

static atomic_bool trace_done;

/* What a VMM does meanwhile: it resets a vCPU; memory comes and goes. */
static void *trace_poke(void *arg)
{
	struct vmm *vm = arg;

	while (!trace_done) {
		/* There is nothing to execute there. */
		vmm_vcpu_reset(vm, 1);
		vmm_vcpu_run(vm, 1);
		vmm_slot_add(vm, TRACE_SLOT, TRACE_SLOT_GPA, 4 << 20, 0);
		vmm_slot_delete(vm, TRACE_SLOT);
		tool_msleep(2);
	}
	return NULL;
}

static const struct {
	const char *events, *nr, *text, *json;
} traced[] = {
	{ "cr0", "1", "  cr0     8", "\"cr\":0,\"write\":true,\"old\":\"0x8" },
	{ "cr3:r", "1", "  cr3     ", "\"cr\":3,\"write\":false,\"old\":\"0x" },
	{ "cr8", "2", "  cr8     0 -> 5  at ",
	  "\"cr\":8,\"write\":true,\"old\":\"0x0\",\"new\":\"0x5\"" },
	{ "dr:1", "1", " -> 1234  at ",
	  "\"event\":\"dr\"" },
	{ "dr:0-3:w", "1", "  dr1     ", "\"dr\":1,\"write\":true" },
	{ "exc:ud", "1", "  exc     6 (#UD)  at ",
	  "\"vector\":6,\"name\":\"#UD\",\"nested\":false" },
	{ "exc:14", "1", "  14 (#PF)  error 2  cr2 10000000123  at ",
	  "\"error\":\"0x2\",\"payload\":\"0x10000000123\"" },
	{ "exc", "2", "#UD", "\"event\":\"exception\"" },
	{ "tables:w", "1", "  lgdt    ", "\"table\":\"gdtr\",\"write\":true,\"base\":\"0x1000\"" },
	{ "tables", "3", "  sidt    2000/", "\"table\":\"idtr\",\"write\":false" },
	{ "io:0xa1:w", "1", "  out     a1.1  5a  at ",
	  "\"port\":\"0xa1\",\"out\":true,\"bytes\":1,\"value\":\"0x5a\"" },
	{ "io:0xa0-0xa1:r", "1", "  in      a1.1  at ", "\"out\":false,\"bytes\":1" },
	{ "ioe:0x21", "2", "  outs    21.1  2 at ", "\"value\":\"0x7a\"" },
	{ "insn:rdtsc", "1", "  rdtsc   ",
	  "\"insn\":\"rdtsc\",\"operand\":\"0x0\",\"value\":\"0x" },
	{ "insn:pause,insn:rdtsc", "2", "  pause   at ", "\"insn\":\"pause\"" },
	{ "hypercall", "1", "  hypercall  1(b, c, d, e)  at ",
	  "\"nr\":\"0x1\",\"args\":[\"0xb\",\"0xc\",\"0xd\",\"0xe\"," },
	{ "delivery", "9", "  deliver  exception  6 (#UD)  at ",
	  "\"type\":\"exception\",\"vector\":6,\"name\":\"#UD\"" },
	{ "mmio:0xfec00000:w", "1", "  mmio    -w- fec00000.4  1\n",
	  "\"gpa\":\"0xfec00000\",\"write\":true,\"bytes\":4,\"value\":\"0x1\"" },
	{ "exit:cpuid", "1", "  exit    ", "\"info1\":\"0x0\"" },
	{ "vcpu", "1", "  vcpu 1  reset ", "\"vcpu\":1,\"" },
	{ "vm", "4", "  vm      slot_created  slot 5  40000000+400000\n",
	  "\"change\":\"slot_deleted\",\"slot\":5,\"gpa\":\"0x40000000\"" },
};

KTAP_CASE(trace_by_name, "E1 E2 E4 E7 E10 E11 E12 E14 E15 E16 E18 E19 E20")
{
	struct vmm *vm = vmm_create(2, VMM_F_IRQCHIP);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	volatile uint64_t *mem = vmm_gpa(vm, gpa);
	struct kvmi_caps caps;
	const char *other;
	struct output o;
	pthread_t poke;
	bool amd;
	int i;

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	amd = caps.out_vendor == KVMI_VENDOR_AMD;
	vmm_vcpu_set_entry(vm, 0, guest_all, gpa, amd, 0);
	vmm_vcpu_start(vm, 0);
	while (!mem[1])
		tool_msleep(1);
	KTAP_EQ(pthread_create(&poke, NULL, trace_poke, vm), 0);
	for (i = 0; i < sizeof(traced) / sizeof(traced[0]); i++) {
		o = KVMI_OK("trace", self(), "-e", traced[i].events,
			    "-n", traced[i].nr, "-d", "10");
		KTAP_ASSERT(strstr(o.text, traced[i].text), "%s: %.300s",
			    traced[i].events, o.text);
		free(o.text);
		o = KVMI_OK("trace", self(), "-e", traced[i].events, "--json",
			    "-n", traced[i].nr, "-d", "10", "--async");
		KTAP_ASSERT(strstr(o.text, traced[i].json), "%s: %.300s",
			    traced[i].events, o.text);
		free(o.text);
	}
	/* Each by the name that its vendor gives it. */
	o = KVMI_OK("trace", self(), "-e", "exit:Cpuid",
		    "-n", "1", "--json");
	KTAP_ASSERT(strstr(o.text, amd ?
			   "\"reason\":\"0x72\",\"name\":\"cpuid\"" :
			   "\"reason\":\"0xa\",\"name\":\"CPUID\""), "%.300s",
		    o.text);
	free(o.text);
	other = amd ? "exit:ept_violation" : "exit:npf";
	KVMI_ERR(7, "this processor has no exit", "trace", self(), "-e", other);
	KVMI_ERR(7, "control dr events: ", "trace", self(), "-e", "dr:9");
	trace_done = true;
	KTAP_EQ(pthread_join(poke, NULL), 0);
	mem[0] = 1;
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 1);
	vmm_destroy(vm);
}

/* The number behind a text. */
static unsigned long long number_behind(const char *text, const char *what)
{
	const char *p = strstr(text, what);

	KTAP_ASSERT(p, "%s: %.300s", what, text);
	return strtoull(p + strlen(what), NULL, 10);
}

static __guest uint64_t cpuids(uint64_t *mem)
{
	while (!GUEST_READ(uint64_t, mem)) {
		guest_cpuid(0, 0);
		guest_cpuid(0, 0);
		guest_write_cr8(0);
		GUEST_WRITE(uint64_t, mem + 1, GUEST_READ(uint64_t, mem + 1) + 1);
	}
	return 1;
}

/* Counted by reason and vCPU, beside a session that controls the VM. */
KTAP_CASE(stat_counts, "D10 D4 D7 E19")
{
	struct vmm *vm = vmm_create(2, VMM_F_IRQCHIP);
	uint64_t gpa = vmm_alloc_pages(vm, 1), rounds, n;
	volatile uint64_t *mem = vmm_gpa(vm, gpa);
	struct kvmi_exit_count counts[64], all[64];
	struct kvmi_control_event control = {
		.vcpu = 0,
		.kind = KVMI_EVENT_X86_EXIT,
		.mode = KVMI_MODE_COUNT,
		.index_last = 0x7fffffff,
	};
	struct kvmi_stats stats;
	struct kvmi_caps caps;
	struct kvmi_vm *kv;
	struct output o;
	uint32_t reason;
	int nr, i;

	kv = tool_attach(vm);
	KTAP_LIB_OK(kvmi_vm_get_caps(kv, &caps));
	reason = caps.out_vendor == KVMI_VENDOR_AMD ? 0x72 : 10;
	vmm_vcpu_set_entry(vm, 1, cpuids, gpa, 0, 0);
	vmm_vcpu_start(vm, 1);
	o = KVMI_OK("stat", self(), "--count", "2", "--interval", "0.3", "--json",
		    "-e", "cpuid,delivery");
	/* Twice, and the first vCPU has done nothing. */
	KTAP_ASSERT(strstr(strchr(o.text, '\n'), "\"interval_ns\":"), "%.500s",
		    o.text);
	n = number_behind(o.text, caps.out_vendor == KVMI_VENDOR_AMD ?
				  "\"name\":\"cpuid\",\"count\":" :
				  "\"name\":\"CPUID\",\"count\":");
	KTAP_ASSERT(n > 1, "%.500s", o.text);
	KTAP_ASSERT(strstr(o.text, "\"vcpus\":[0,"), "%.500s", o.text);
	KTAP_ASSERT(strstr(o.text, "\"events\":[{\"name\":\"cpuid\""), "%.500s",
		    o.text);
	free(o.text);
	o = KVMI_OK("stat", self(), "--count", "1", "--interval", "0.2");
	KTAP_ASSERT(strstr(o.text, "per second") && strstr(o.text, "vcpu 1"),
		    "%.500s", o.text);
	free(o.text);
	mem[0] = 1;
	KTAP_EQ(vmm_vcpu_wait_done(vm, 1, TOOL_PATIENCE), 1);
	KVMI_ERR(2, "is no time", "stat", self(), "--interval", "x");
	KVMI_ERR(2, "is no number", "stat", self(), "--count", "0");
	KVMI_ERR(2, "is no event", "stat", self(), "-e", "foo");
	KVMI_ERR(2, "mem is not counted", "stat", self(), "-e", "mem:0x1000");

	/* To the number: not before it is asked for, nor of another vCPU. */
	KTAP_EQ(kvmi_vm_get_exits(kv, KVMI_VCPU_ALL, counts, 64), 0);
	KTAP_LIB_OK(kvmi_event_control(kv, &control));
	for (i = 0; i < 2; i++) {
		mem[0] = 0;
		mem[1] = 0;
		vmm_vcpu_set_entry(vm, i, cpuids, gpa, 0, 0);
		vmm_vcpu_start(vm, i);
		while (mem[1] < 100)
			tool_msleep(1);
		mem[0] = 1;
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
		rounds = i ? rounds : mem[1];
	}
	nr = kvmi_vm_get_exits(kv, 0, counts, 64);
	KTAP_ASSERT(nr > 0 && nr < 64);
	for (n = 0, i = 0; i < nr; i++) {
		n += counts[i].count;
		KTAP_ASSERT(!i || counts[i].reason > counts[i - 1].reason);
		if (counts[i].reason == reason)
			KTAP_EQ(counts[i].count, 2 * rounds);
	}
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, 0, KVMI_EVENT_X86_EXIT, &stats));
	KTAP_EQ(stats.out_counted, n);
	KTAP_EQ(kvmi_vm_get_exits(kv, 1, all, 64), 0);
	KTAP_EQ(kvmi_vm_get_exits(kv, KVMI_VCPU_ALL, all, 64), nr);
	KTAP_ASSERT(!memcmp(all, counts, nr * sizeof(*all)));
	/* Less room than there is needed, and none. */
	memset(all, 0, sizeof(all));
	KTAP_EQ(kvmi_vm_get_exits(kv, 0, all, 1), nr);
	KTAP_ASSERT(all[0].count == counts[0].count && !all[1].count);
	KTAP_EQ(kvmi_vm_get_exits(kv, 0, NULL, 0), nr);
	KTAP_LIB_ERR(kvmi_vm_get_exits(kv, 0, NULL, 1), EFAULT);
	KTAP_LIB_ERR(kvmi_vm_get_exits(kv, 2, counts, 64), ENOENT);
	/* A vCPU that is new has what was set for all. */
	control.vcpu = KVMI_VCPU_ALL;
	KTAP_LIB_OK(kvmi_event_control(kv, &control));
	vmm_vcpu_add(vm);
	mem[0] = 1;
	vmm_vcpu_set_entry(vm, 2, cpuids, gpa, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 2), 1);
	KTAP_ASSERT(kvmi_vm_get_exits(kv, 2, counts, 64) > 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(trace_wrong_use, "")
{
	static const char * const bad[] = {
		"cr1", "cr3:x", "cr3:", "cr3:5", "dr:x", "exc:foo", "exc:", "exc:3:r",
		"tables:1", "io:5-4", "io:1-", "io:-1", "insn:nop", "hypercall:a",
		"delivery:1", "exit:nothing", "vcpu:0", "vm:leaving", "cpuid:1",
		"msr:", "msr:x", "msr:lstar:", "mem", "mem:", "cr3,,cr4", "xsetbv:w",
	};
	int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		KVMI_ERR(2, "is no event", "trace", self(), "-e", bad[i]);
}

/* ---- gdb ----------------------------------------------------------------------- */

struct stub {
	pid_t pid;
	int fd;
	char text[65536];
};

static struct stub *stub_start(const char *vm)
{
	struct stub *s = calloc(1, sizeof(*s));
	int fds[2];

	KTAP_ASSERT(s);
	KTAP_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	s->pid = KTAP_OK(fork());
	if (!s->pid) {
		dup2(fds[1], STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		execlp("kvmi", "kvmi", "gdb", vm, "--listen", "stdio",
		       (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	s->fd = fds[0];
	return s;
}

static void stub_end(struct stub *s, int code)
{
	int status;

	close(s->fd);
	KTAP_EQ(waitpid(s->pid, &status, 0), s->pid);
	KTAP_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == code, "%#x",
		    status);
	free(s);
}

static char stub_byte(struct stub *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	char c;

	if (poll(&pfd, 1, TOOL_PATIENCE) != 1)
		KTAP_FAIL("the stub says nothing");
	KTAP_EQ(read(s->fd, &c, 1), 1);
	return c;
}

/* What it says next, acknowledged. */
static const char *stub_read(struct stub *s)
{
	size_t n = 0;
	char c;

	while ((c = stub_byte(s)) != '$')
		KTAP_EQ(c, '+');
	while ((c = stub_byte(s)) != '#') {
		s->text[n++] = c;
		KTAP_ASSERT(n < sizeof(s->text));
	}
	s->text[n] = 0;
	stub_byte(s);
	stub_byte(s);
	/* After its last word it may be gone. */
	send(s->fd, "+", 1, MSG_NOSIGNAL);
	return s->text;
}

static void stub_write(struct stub *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void stub_write(struct stub *s, const char *fmt, ...)
{
	char text[2048], packet[2100];
	unsigned char sum = 0;
	va_list ap;
	char *p;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (p = text; *p; p++)
		sum += *p;
	snprintf(packet, sizeof(packet), "$%s#%02x", text, sum);
	KTAP_EQ(write(s->fd, packet, strlen(packet)), strlen(packet));
}

#define STUB_SAYS(s, say, ...)						\
	do {								\
		stub_write(s, __VA_ARGS__);				\
		if (strcmp(stub_read(s), say))				\
			KTAP_FAIL("%.100s, not %s", (s)->text, say);	\
	} while (0)

/* A register by gdb's number, of those with 64 bits. */
static uint64_t stub_reg(struct stub *s, unsigned int n)
{
	stub_write(s, "p%x", n);
	KTAP_EQ(strlen(stub_read(s)), 16);
	return __builtin_bswap64(strtoull(s->text, NULL, 16));
}

static void stub_set_reg(struct stub *s, unsigned int n, uint64_t value)
{
	STUB_SAYS(s, "OK", "P%x=%016llx", n,
		  (unsigned long long)__builtin_bswap64(value));
	KTAP_EQ(stub_reg(s, n), value);
}

#define GDB_RAX	0
#define GDB_RIP	16

extern const char gdb_line[], gdb_second[], gdb_third[];

__asm__(".text\n"
	".globl gdb_code, gdb_line, gdb_second, gdb_third\n"
	"gdb_code:\n"
	"	xor %eax, %eax\n"
	"gdb_line:\n"
	"	add $3, %rax\n"
	"gdb_second:\n"
	"	lea 1(%rax), %rdx\n"
	"gdb_third:\n"
	"	add %rdx, %rax\n"
	"	cmp $1000, %rax\n"
	"	jb gdb_line\n"
	"	ret\n");
uint64_t gdb_code(void);

static uint64_t gdb_code_result(void)
{
	uint64_t rax = 0;

	do {
		rax += 3;
		rax += rax + 1;
	} while (rax < 1000);
	return rax;
}

KTAP_CASE(gdb_breakpoint_and_step, "E8 E6 S4 S6")
{
	struct vmm *vm = vmm_create(2, 0);
	uint8_t *code = vmm_gpa(vm, (uint64_t)gdb_line), was = *code;
	struct stub *s;
	char text[64];

	vmm_vcpu_set_entry(vm, 0, gdb_code, 0, 0, 0);
	s = stub_start(self());
	stub_write(s, "qSupported:swbreak+");
	KTAP_ASSERT(strstr(stub_read(s), "qXfer:features:read+"), "%s", s->text);
	STUB_SAYS(s, "m1,2", "qfThreadInfo");
	STUB_SAYS(s, "l", "qsThreadInfo");
	STUB_SAYS(s, "T05thread:1;", "?");
	KTAP_EQ(stub_reg(s, GDB_RIP), (uint64_t)gdb_code);
	/* All registers: as many bytes as the description says. */
	stub_write(s, "g");
	KTAP_EQ(strlen(stub_read(s)), 2 * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 +
					   16 * 16 + 4 + 2 * 8 + 6 * 8));

	STUB_SAYS(s, "OK", "Z0,%lx,1", (long)gdb_line);
	STUB_SAYS(s, "OK", "Z0,%lx,1", (long)gdb_line);
	KTAP_EQ(*code, 0xcc);
	snprintf(text, sizeof(text), "%02x", was);
	STUB_SAYS(s, text, "m%lx,1", (long)gdb_line);
	vmm_vcpu_start(vm, 0);
	STUB_SAYS(s, "T05thread:1;swbreak:;", "vCont;c");
	KTAP_EQ(stub_reg(s, GDB_RIP), (uint64_t)gdb_line);
	KTAP_EQ(stub_reg(s, GDB_RAX), 0);
	/* Over it as gdb does. */
	STUB_SAYS(s, "OK", "z0,%lx,1", (long)gdb_line);
	KTAP_EQ(*code, was);
	STUB_SAYS(s, "T05thread:1;", "vCont;s:1");
	KTAP_EQ(stub_reg(s, GDB_RIP), (uint64_t)gdb_second);
	KTAP_EQ(stub_reg(s, GDB_RAX), 3);
	STUB_SAYS(s, "T05thread:1;", "vCont;s:1");
	KTAP_EQ(stub_reg(s, GDB_RIP), (uint64_t)gdb_third);
	/* Registers are written, and used. */
	stub_set_reg(s, GDB_RIP, (uint64_t)gdb_line);
	stub_set_reg(s, GDB_RAX, 0);
	STUB_SAYS(s, "OK", "Z0,%lx,1", (long)gdb_second);
	STUB_SAYS(s, "T05thread:1;swbreak:;", "c");
	KTAP_EQ(stub_reg(s, GDB_RAX), 3);
	/* Memory, over the breakpoint as well: it is put in when that goes. */
	stub_write(s, "m%lx,4", (long)gdb_second);
	snprintf(text, sizeof(text), "%s", stub_read(s));
	KTAP_EQ(strlen(text), 8);
	STUB_SAYS(s, "OK", "M%lx,4:%s", (long)gdb_second, text);
	KTAP_EQ(*(uint8_t *)vmm_gpa(vm, (uint64_t)gdb_second), 0xcc);
	STUB_SAYS(s, text, "m%lx,4", (long)gdb_second);
	/* It goes with a breakpoint set and hit: nothing is left of it. */
	STUB_SAYS(s, "OK", "D");
	stub_end(s, 0);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), gdb_code_result());
	vmm_destroy(vm);
}

/* Writes beside a watchpoint are none, nor are they lost. */
KTAP_CASE(gdb_watchpoints, "E17 V2 E6")
{
	struct vmm *vm = vmm_create(1, 0);
	uint64_t gpa = vmm_alloc_pages(vm, 2), i, *mem = vmm_gpa(vm, gpa);
	char text[64];
	struct stub *s;

	vmm_vcpu_set_entry(vm, 0, guest_fill, gpa, 700, 0);
	s = stub_start(self());
	STUB_SAYS(s, "OK", "Z2,%llx,8", (unsigned long long)gpa + 30 * 8);
	STUB_SAYS(s, "OK", "Z4,%llx,4", (unsigned long long)gpa + 40 * 8);
	vmm_vcpu_start(vm, 0);
	snprintf(text, sizeof(text), "T05thread:1;watch:%llx;",
		 (unsigned long long)gpa + 30 * 8);
	STUB_SAYS(s, text, "vCont;c");
	KTAP_EQ(mem[30], 0x1122334455667700 + 30);
	KTAP_EQ(mem[31], 0);
	STUB_SAYS(s, "OK", "z2,%llx,8", (unsigned long long)gpa + 30 * 8);
	snprintf(text, sizeof(text), "T05thread:1;awatch:%llx;",
		 (unsigned long long)gpa + 40 * 8);
	STUB_SAYS(s, text, "vCont;c");
	KTAP_EQ(mem[40], 0x1122334455667700 + 40);
	KTAP_EQ(mem[41], 0);
	/* Neither two pages nor nothing. */
	STUB_SAYS(s, "E16", "Z2,%llx,8", (unsigned long long)gpa + PAGE - 4);
	STUB_SAYS(s, "E16", "Z2,%llx,0", (unsigned long long)gpa);
	STUB_SAYS(s, "", "Z1,%llx,1", (unsigned long long)gpa);
	stub_end(s, 0);
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 700);
	for (i = 0; i < 700; i++)
		KTAP_EQ(mem[i], 0x1122334455667700 + i);
	vmm_destroy(vm);
}

KTAP_CASE(gdb_interrupts, "S2")
{
	struct vmm *vm = vmm_create(2, 0);
	uint64_t a = vmm_alloc_pages(vm, 2), count;
	volatile uint64_t *mem = vmm_gpa(vm, a);
	struct stub *s;
	int i;

	for (i = 0; i < 2; i++) {
		vmm_vcpu_set_entry(vm, i, guest_count, a + i * PAGE,
				   a + i * PAGE + 8, 0);
		vmm_vcpu_start(vm, i);
	}
	s = stub_start(self());
	STUB_SAYS(s, "OK", "Hg2");
	stub_write(s, "vCont;c");
	for (count = mem[512]; mem[512] == count;)
		tool_msleep(1);
	KTAP_EQ(write(s->fd, "\3", 1), 1);
	KTAP_ASSERT(!strcmp(stub_read(s), "T02thread:2;"), "%s", s->text);
	for (i = 0; i < 2; i++) {
		count = mem[i * 512];
		tool_msleep(20);
		KTAP_EQ(mem[i * 512], count);
	}
	/* One of them alone. */
	STUB_SAYS(s, "T05thread:2;", "vCont;s:2");
	count = mem[0];
	stub_write(s, "vCont;c:2");
	tool_msleep(20);
	KTAP_EQ(mem[0], count);
	/* gdb is gone, and both go on. */
	stub_end(s, 0);
	for (i = 0; i < 2; i++)
		for (count = mem[i * 512]; mem[i * 512] == count;)
			tool_msleep(1);
	vmm_vcpu_stop(vm, 0);
	vmm_vcpu_stop(vm, 1);
	vmm_destroy(vm);
}

KTAP_CASE(gdb_talks_nonsense, "")
{
	static const char * const bad[] = {
		"m", "m0", "m0,", "m0,ffffffffff", "mx,1", "M0,1", "M0,1:",
		"M0,1:0", "M0,1:xx", "p", "pfff", "P0", "P0=", "P0=00", "G",
		"G00", "Z0", "Z0,", "Z0,0", "Hg99", "T99", "Tx", "vCont;x",
		"vCont;c:77", "qXfer:features:read:target.xml:",
		"qXfer:features:read:target.xml:0",
	};
	static const char * const unknown[] = {
		"", "X0,0:", "qFoo", "QFoo", "vFoo", "!", "Z9,0,0", "z1,0,0",
		"R00",
	};
	struct vmm *vm = vmm_create(1, 0);
	struct stub *s = stub_start(self());
	int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		stub_write(s, "%s", bad[i]);
		if (*stub_read(s) != 'E')
			KTAP_FAIL("%s: %s", bad[i], s->text);
	}
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		STUB_SAYS(s, "", "%s", unknown[i]);
	/* Where nothing is mapped. */
	stub_write(s, "m7000000000000000,4");
	KTAP_EQ(*stub_read(s), 'E');
	stub_write(s, "Z0,7000000000,1");
	KTAP_EQ(*stub_read(s), 'E');
	/* Behind the end of the description. */
	STUB_SAYS(s, "l", "qXfer:features:read:target.xml:100000,10");
	/* A wrong sum, noise, and then something sensible. */
	KTAP_EQ(write(s->fd, "$?#00", 5), 5);
	KTAP_EQ(stub_byte(s), '-');
	KTAP_EQ(write(s->fd, "noise\3+-", 8), 8);
	STUB_SAYS(s, "T05thread:1;", "?");
	/* A packet without an end: that is the end. */
	memset(s->text, 'm', sizeof(s->text));
	s->text[0] = '$';
	KTAP_EQ(write(s->fd, s->text, 16384), 16384);
	stub_end(s, 1);
	KVMI_ERR(2, "neither a port nor a path", "gdb", self(), "--listen", "x");
	KVMI_ERR(2, "kvmi gdb VM", "gdb");
	KVMI_ERR(1, "cannot listen on /nowhere/s", "gdb", self(), "--listen",
		 "/nowhere/s");
	vmm_destroy(vm);
}

KTAP_CASE(count_of_others, "E8 D1")
{
	struct vmm *vm = vmm_create(1, 0);

	KVMI_ERR(1, "cannot make out the guest's kernel: ", "count", self(), "vfs_read");
	KVMI_ERR(1, "cannot read /nowhere", "count", self(), "--functions", "/nowhere");
	KVMI_ERR(1, "cannot read /nowhere", "count", self(), "--symbols", "/nowhere", "f");
	KVMI_ERR(2, "is no time", "count", self(), "-d", "x", "vfs_read");
	KVMI_ERR(2, "kvmi count VM", "count", self());
	KVMI_ERR(2, "kvmi count VM", "count");
	vmm_destroy(vm);
}

/* What has no Linux in it, and what says nothing of one. */
KTAP_CASE(syscalls_of_others, "E8 D1")
{
	static const char zeros[] = "0000000000000000 T do_syscall_64\n";
	struct vmm *vm = vmm_create(1, 0);
	char path[] = "/tmp/symbols.XXXXXX";
	int fd = KTAP_OK(mkstemp(path));

	KTAP_EQ(write(fd, zeros, sizeof(zeros) - 1), sizeof(zeros) - 1);
	close(fd);
	KVMI_ERR(1, "cannot make out the guest's kernel: ", "syscalls", self());
	KVMI_ERR(1, "it has no addresses", "syscalls", self(), "--symbols", path);
	KVMI_ERR(1, "cannot read /nowhere", "syscalls", self(), "--symbols",
		 "/nowhere");
	KVMI_ERR(1, "cannot make out the guest's kernel: ", "syscalls", self(),
		 "--symbols", "/proc/kallsyms");
	KVMI_ERR(2, "is no process id", "syscalls", self(), "--pid", "x");
	KVMI_ERR(2, "kvmi syscalls VM", "syscalls");
	unlink(path);
	vmm_destroy(vm);
}

KTAP_CASE(gdb_and_the_end, "D1")
{
	int pipefd[2], status, i;
	struct stub *s;
	char pid[16], c;
	pid_t vmm;

	for (i = 0; i < 2; i++) {
		KTAP_OK(pipe(pipefd));
		vmm = KTAP_OK(fork());
		if (!vmm) {
			vmm_create(1, 0);
			KTAP_EQ(write(pipefd[1], "x", 1), 1);
			for (;;)
				pause();
		}
		KTAP_EQ(read(pipefd[0], &c, 1), 1);
		close(pipefd[0]);
		close(pipefd[1]);
		snprintf(pid, sizeof(pid), "%d", (int)vmm);
		s = stub_start(pid);
		STUB_SAYS(s, "T05thread:1;", "?");
		if (i) {
			/* gdb's kill ends the VMM. */
			stub_write(s, "k");
		} else {
			/* So does somebody else, while it runs. */
			stub_write(s, "vCont;c");
			tool_msleep(20);
			kill(vmm, SIGKILL);
			KTAP_ASSERT(!strcmp(stub_read(s), "W00"), "%s", s->text);
		}
		KTAP_EQ(waitpid(vmm, &status, 0), vmm);
		KTAP_EQ(WTERMSIG(status), SIGKILL);
		stub_end(s, 0);
	}
}

KTAP_MAIN(ktap_need_kvmi)
