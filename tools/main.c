// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi: virtual machine introspection on the command line.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

#ifndef VERSION
#define VERSION	"unknown"
#endif

volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

void catch_signals(void)
{
	/* No SA_RESTART: the wait for events is to end. */
	struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

int failed(int err)
{
	fflush(stdout);
	fprintf(stderr, "kvmi: %s\n", kvmi_error_message());
	switch (err) {
	case -ESRCH:
	case -ENOENT:
	case -ENOTUNIQ:
		return EXIT_NO_VM;
	case -EPERM:
	case -EACCES:
		return EXIT_DENIED;
	case -EBUSY:
		return EXIT_BUSY;
	case -EOPNOTSUPP:
		return EXIT_UNSUPPORTED;
	default:
		return EXIT_ERROR;
	}
}

int usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("kvmi: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" (kvmi --help shows the use)\n", stderr);
	return EXIT_USAGE;
}

static int attach_with(const char *spec, const struct kvmi_vm_options *options,
		       struct kvmi_vm **vm)
{
	struct kvmi_caps caps;
	int ret;

	/* First of all: the most likely reason, and the plainest. */
	ret = kvmi_caps_get(&caps);
	if (ret == -ENODEV) {
		failed(ret);
		return EXIT_NO_MODULE;
	}
	if (ret)
		return failed(ret);
	ret = kvmi_vm_attach(spec, options, vm);
	if (ret) {
		fprintf(stderr, "kvmi: cannot attach to %s\n", spec);
		return failed(ret);
	}
	return 0;
}

int attach(const char *spec, struct kvmi_vm **vm)
{
	return attach_with(spec, NULL, vm);
}

int attach_observer(const char *spec, struct kvmi_vm **vm)
{
	static const struct kvmi_vm_options options = {
		.size = sizeof(options), .flags = KVMI_VM_OBSERVER,
	};

	return attach_with(spec, &options, vm);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

bool parse_number(const char *text, uint64_t *value)
{
	unsigned int shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno)
		return false;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	}
	if (shift) {
		end++;
		if (*value >> (64 - shift))
			return false;
		*value <<= shift;
	}
	return !*end;
}

static void usage(FILE *f)
{
	fputs("usage: kvmi COMMAND [ARGUMENTS]\n"
	      "\n"
	      "  list                        the virtual machines of this host\n"
	      "  info VM                     what there is to know of one\n"
	      "  trace VM -e EVENT[,EVENT]...  what it does, as it happens; ^C ends it\n"
	      "  stat VM                     how often it exits, and for what; until ^C\n"
	      "  regs VM                     its registers\n"
	      "  mem read VM ADDRESS LENGTH  its physical memory\n"
	      "  mem write VM ADDRESS BYTE...\n"
	      "  mem dump VM FILE            all of it, for other tools\n"
	      "  vmcs VM VCPU                the fields of its VMCS or VMCB\n"
	      "  caps                        what the processor can, and kvmi uses\n"
	      "  gdb VM                      for gdb: target remote\n"
	      "  step VM                     the next instructions, one by one\n"
	      "  pause VM                    it stands still until ^C\n"
	      "  syscalls VM                 the system calls of a Linux guest\n"
	      "  count VM FUNCTION...        how often its kernel's functions are called\n"
	      "\n"
	      "VM: a process id, PID:FD where a process has several, or a name\n"
	      "EVENT: cr0 cr3 cr4 cr8 cpuid bp step msr msr:MSR[:rw] mem:ADDRESS[+LENGTH][:rwx]\n"
	      "       dr xsetbv tables exc[:VECTOR] io[:PORT[-PORT]][:rw] insn[:NAME]\n"
	      "       ioe[:PORT[-PORT]][:rw] (io, with each element of a string)\n"
	      "       hypercall[:NR] mmio[:ADDRESS[-ADDRESS]][:rw] delivery exit[:REASON] vcpu vm\n"
	      "\n"
	      "  --json               a JSON object a line, for programs\n"
	      "  --vcpu N             only this vCPU (trace, regs, step)\n"
	      "  --async              trace: do not hold the vCPU while it is printed\n"
	      "  --wait-new           trace: a VM that is yet to start, from its first instruction\n"
	      "  -n N                 trace, step, syscalls: stop after N events\n"
	      "  -d SECONDS           trace, pause, syscalls, count: stop after that time\n"
	      "  --symbols FILE       syscalls, count: the guest's /proc/kallsyms or System.map\n"
	      "  --btf FILE           syscalls: its /sys/kernel/btf/vmlinux, if not in its memory\n"
	      "  --pid N, --comm NAME syscalls: only this process, only of this name\n"
	      "  --functions FILE     count: these as well, a name a line\n"
	      "  --between FUNCTION   count: from its next call to the one after that\n"
	      "  --interval SECONDS   stat: how often (1); --count N: as many times\n"
	      "  --stop-clocks        pause: the guest's clocks stand still, too\n"
	      "  --raw                mem read: the bytes as they are\n"
	      "  --format FORMAT      mem dump: raw, elf, lime\n"
	      "  --consistent         mem dump: stop the VM meanwhile\n"
	      "  --follow             list: and then what becomes of them, until ^C\n"
	      "  --listen WHERE       gdb: a port, a path, or stdio (1234)\n"
	      "  --no-probe           list: only what /proc tells\n"
	      "\n"
	      "Exit status: 0 done, 1 error, 2 wrong use, 3 no such VM, 4 not allowed,\n"
	      "5 kvmi.ko is not loaded, 6 the VM is controlled already, 7 not supported.\n",
	      f);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(int argc, char **argv);
	} commands[] = {
		{ "list", cmd_list },
		{ "info", cmd_info },
		{ "regs", cmd_regs },
		{ "mem", cmd_mem },
		{ "trace", cmd_trace },
		{ "stat", cmd_stat },
		{ "step", cmd_step },
		{ "vmcs", cmd_vmcs },
		{ "caps", cmd_caps },
		{ "pause", cmd_pause },
		{ "gdb", cmd_gdb },
		{ "syscalls", cmd_syscalls },
		{ "count", cmd_count },
	};
	size_t i;
	int ret;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("kvmi " VERSION);
		return EXIT_OK;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		ret = commands[i].fn(argc - 1, argv + 1);
		if (fflush(stdout) && !ret) {
			perror("kvmi: standard output");
			ret = EXIT_ERROR;
		}
		return ret;
	}
	return usage_error("there is no command %s", argv[1]);
}
