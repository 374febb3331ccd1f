// SPDX-License-Identifier: GPL-2.0-only
/* The kvmi command: what it writes and prints is what is there. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

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
		KTAP_ASSERT(!strstr(out.text, "field_0x"), "%s",
			    strstr(out.text, "field_0x"));
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

KTAP_MAIN(ktap_need_kvmi)
