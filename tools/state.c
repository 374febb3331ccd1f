// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi info, regs, mem: what there is, and what it is like just now.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "vcpu", required_argument, NULL, 'c' },
	{ "raw", no_argument, NULL, 'r' },
	{ "format", required_argument, NULL, 'f' },
	{ "consistent", no_argument, NULL, 'C' },
	{ }
};

struct args {
	bool json, raw, consistent;
	const char *format;
	uint32_t vcpu;
};

/* Options of the commands in this file; false after a message. */
static bool parse_args(int argc, char **argv, const char *allowed,
		       struct args *a)
{
	uint64_t n;
	int opt;

	memset(a, 0, sizeof(*a));
	a->vcpu = KVMI_VCPU_ALL;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (opt == '?')
			return false;
		if (!strchr(allowed, opt)) {
			usage_error("kvmi %s takes no such option", argv[0]);
			return false;
		}
		switch (opt) {
		case 'j':
			a->json = true;
			break;
		case 'r':
			a->raw = true;
			break;
		case 'f':
			a->format = optarg;
			break;
		case 'C':
			a->consistent = true;
			break;
		case 'c':
			if (!parse_number(optarg, &n) || n >= KVMI_VCPU_NONE) {
				usage_error("%s is no vCPU", optarg);
				return false;
			}
			a->vcpu = n;
			break;
		}
	}
	return true;
}

bool parse_json(int argc, char **argv, bool *json)
{
	struct args a;

	if (!parse_args(argc, argv, "j", &a))
		return false;
	*json = a.json;
	return true;
}

static const char *state_name(uint32_t state)
{
	switch (state) {
	case KVMI_VCPU_RUNNING:
		return "running";
	case KVMI_VCPU_HALTED:
		return "halted";
	case KVMI_VCPU_OUTSIDE:
		return "in the VMM";
	case KVMI_VCPU_PAUSED:
		return "paused";
	case KVMI_VCPU_EVENT:
		return "waits for an answer";
	default:
		return "?";
	}
}

const char *vendor_name(uint32_t vendor)
{
	return vendor == KVMI_VENDOR_INTEL ? "intel" :
	       vendor == KVMI_VENDOR_AMD ? "amd" : "none";
}

#define MAX_SLOTS	1024

static void info_json(const struct kvmi_info *info, const struct kvmi_caps *caps,
		      const struct kvmi_slot *slots, int nr_slots,
		      const struct kvmi_vcpu_info *vcpus)
{
	uint32_t v;
	int i;

	json_begin();
	json_number("pid", info->out_pid);
	json_string("vendor", vendor_name(caps->out_vendor));
	json_number("memory", info->out_memory);
	json_hex("max_gfn", info->out_max_gfn);
	json_number("tsc_khz", info->out_tsc_khz);
	json_open("vcpus", '[');
	for (v = 0; v < info->out_nr_vcpus; v++) {
		json_open(NULL, '{');
		json_number("id", vcpus[v].out_id);
		json_string("state", state_name(vcpus[v].out_state));
		json_number("view", vcpus[v].out_view);
		json_close('}');
	}
	json_close(']');
	json_open("slots", '[');
	for (i = 0; i < nr_slots; i++) {
		json_open(NULL, '{');
		json_number("id", slots[i].id);
		json_hex("gpa", slots[i].gfn << 12);
		json_hex("size", slots[i].nr_pages << 12);
		json_bool("readonly", slots[i].flags & KVMI_SLOT_READONLY);
		json_bool("dirty_log", slots[i].flags & KVMI_SLOT_DIRTY_LOG);
		json_close('}');
	}
	json_close(']');
	json_open("events", '[');
	for (i = 0; i < 64; i++)
		if (caps->out_events & 1ULL << i)
			json_string(NULL, kvmi_event_name(i));
	json_close(']');
	json_end();
}

static void info_human(const struct kvmi_info *info, const struct kvmi_caps *caps,
		       const struct kvmi_slot *slots, int nr_slots,
		       const struct kvmi_vcpu_info *vcpus)
{
	uint32_t v;
	int i;

	printf("process   %u\n", info->out_pid);
	printf("memory    %s in %d slots, last frame %#llx\n",
	       human_size(info->out_memory), nr_slots,
	       (unsigned long long)info->out_max_gfn);
	printf("tsc       %u.%03u MHz\n", info->out_tsc_khz / 1000,
	       info->out_tsc_khz % 1000);
	printf("host      %s, up to %u views\n", vendor_name(caps->out_vendor),
	       caps->out_max_views);
	printf("events   ");
	for (i = 0; i < 64; i++)
		if (caps->out_events & 1ULL << i)
			printf(" %s", kvmi_event_name(i));
	putchar('\n');
	for (v = 0; v < info->out_nr_vcpus; v++)
		printf("vcpu %-4u id %u, %s, view %u\n", v, vcpus[v].out_id,
		       state_name(vcpus[v].out_state), vcpus[v].out_view);
	for (i = 0; i < nr_slots; i++)
		printf("slot %-4u %012llx-%012llx  %10s%s%s\n", slots[i].id,
		       (unsigned long long)slots[i].gfn << 12,
		       ((unsigned long long)(slots[i].gfn +
					     slots[i].nr_pages) << 12) - 1,
		       human_size(slots[i].nr_pages << 12),
		       slots[i].flags & KVMI_SLOT_READONLY ? "  read-only" : "",
		       slots[i].flags & KVMI_SLOT_DIRTY_LOG ? "  dirty log" : "");
}

int cmd_info(int argc, char **argv)
{
	static struct kvmi_slot slots[MAX_SLOTS];
	struct kvmi_vcpu_info *vcpus = NULL;
	struct kvmi_caps caps;
	struct kvmi_info info;
	struct kvmi_vm *vm;
	int ret, nr_slots;
	struct args a;
	uint32_t v;

	if (!parse_args(argc, argv, "j", &a))
		return EXIT_USAGE;
	if (argc - optind != 1)
		return usage_error("kvmi info VM");
	ret = attach(argv[optind], &vm);
	if (ret)
		return ret;
	ret = kvmi_vm_get_caps(vm, &caps);
	if (!ret)
		ret = kvmi_vm_get_info(vm, &info);
	if (ret)
		goto out;
	nr_slots = kvmi_vm_get_slots(vm, slots, MAX_SLOTS);
	if (nr_slots < 0) {
		ret = nr_slots;
		goto out;
	}
	if (nr_slots > MAX_SLOTS)
		nr_slots = MAX_SLOTS;
	vcpus = calloc(info.out_nr_vcpus + 1, sizeof(*vcpus));
	if (!vcpus)
		abort();
	for (v = 0; v < info.out_nr_vcpus && !ret; v++)
		ret = kvmi_vcpu_get_info(vm, v, &vcpus[v]);
	if (ret)
		goto out;
	if (a.json)
		info_json(&info, &caps, slots, nr_slots, vcpus);
	else
		info_human(&info, &caps, slots, nr_slots, vcpus);
out:
	kvmi_vm_close(vm);
	free(vcpus);
	return ret ? failed(ret) : EXIT_OK;
}

struct all_regs {
	struct kvmi_x86_gprs gprs;
	struct kvmi_x86_control control;
	struct kvmi_x86_segments segments;
};

static void regs_json(uint32_t vcpu, const struct all_regs *r)
{
	const struct kvmi_x86_segment *seg = &r->segments.cs;
	static const char * const segs[] = {
		"cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"
	};
	int i;

	json_begin();
	json_number("vcpu", vcpu);
	for (i = 0; i < KVMI_X86_NR_GPRS; i++)
		json_hex(gpr_names[i], r->gprs.r[i]);
	json_hex("cr0", r->control.cr0);
	json_hex("cr2", r->control.cr2);
	json_hex("cr3", r->control.cr3);
	json_hex("cr4", r->control.cr4);
	json_hex("cr8", r->control.cr8);
	json_hex("efer", r->control.efer);
	for (i = 0; i < 8; i++) {
		json_open(segs[i], '{');
		json_hex("selector", seg[i].selector);
		json_hex("base", seg[i].base);
		json_hex("limit", seg[i].limit);
		json_hex("attr", seg[i].attr);
		json_close('}');
	}
	json_open("gdt", '{');
	json_hex("base", r->segments.gdt.base);
	json_hex("limit", r->segments.gdt.limit);
	json_close('}');
	json_open("idt", '{');
	json_hex("base", r->segments.idt.base);
	json_hex("limit", r->segments.idt.limit);
	json_close('}');
	json_end();
}

static void regs_human(uint32_t vcpu, const struct all_regs *r)
{
	static const char * const segs[] = {
		"cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"
	};
	/* As people are used to see them. */
	static const int order[] = {
		KVMI_X86_RAX, KVMI_X86_RBX, KVMI_X86_RCX, KVMI_X86_RDX,
		KVMI_X86_RSI, KVMI_X86_RDI, KVMI_X86_RBP, KVMI_X86_RSP,
		KVMI_X86_R8, KVMI_X86_R9, KVMI_X86_R10, KVMI_X86_R11,
		KVMI_X86_R12, KVMI_X86_R13, KVMI_X86_R14, KVMI_X86_R15,
		KVMI_X86_RIP, KVMI_X86_RFLAGS,
	};
	const struct kvmi_x86_segment *seg = &r->segments.cs;
	int i;

	printf("vcpu %u\n", vcpu);
	for (i = 0; i < KVMI_X86_NR_GPRS; i++)
		printf("%-6s %016llx%s", gpr_names[order[i]],
		       ULL(r->gprs.r[order[i]]),
		       i % 3 == 2 ? "\n" : "   ");
	printf("%-6s %016llx   %-6s %016llx   %-6s %016llx\n", "cr0",
	       ULL(r->control.cr0), "cr2", ULL(r->control.cr2), "cr3",
	       ULL(r->control.cr3));
	printf("%-6s %016llx   %-6s %016llx   %-6s %016llx\n", "cr4",
	       ULL(r->control.cr4), "cr8", ULL(r->control.cr8), "efer",
	       ULL(r->control.efer));
	for (i = 0; i < 8; i++)
		printf("%-6s %04x base %016llx limit %08x attr %04x%s\n",
		       segs[i], seg[i].selector, ULL(seg[i].base),
		       seg[i].limit, seg[i].attr,
		       seg[i].attr & 1 << 15 ? " (unusable)" : "");
	printf("%-6s      base %016llx limit %04x\n", "gdt",
	       ULL(r->segments.gdt.base), r->segments.gdt.limit);
	printf("%-6s      base %016llx limit %04x\n", "idt",
	       ULL(r->segments.idt.base), r->segments.idt.limit);
}

int cmd_regs(int argc, char **argv)
{
	struct kvmi_info info;
	struct all_regs regs;
	struct kvmi_vm *vm;
	struct args a;
	uint32_t v;
	int ret;

	if (!parse_args(argc, argv, "jc", &a))
		return EXIT_USAGE;
	if (argc - optind != 1)
		return usage_error("kvmi regs VM");
	ret = attach(argv[optind], &vm);
	if (ret)
		return ret;
	ret = kvmi_vm_get_info(vm, &info);
	for (v = 0; !ret && v < info.out_nr_vcpus; v++) {
		if (a.vcpu != KVMI_VCPU_ALL)
			v = a.vcpu;
		ret = kvmi_vcpu_get_regs(vm, v, KVMI_REGS_GENERAL |
					 KVMI_REGS_CONTROL | KVMI_REGS_SEGMENT,
					 &regs, sizeof(regs));
		if (ret)
			break;
		if (a.json)
			regs_json(v, &regs);
		else
			regs_human(v, &regs);
		if (a.vcpu != KVMI_VCPU_ALL)
			break;
	}
	kvmi_vm_close(vm);
	return ret ? failed(ret) : EXIT_OK;
}

static void dump(uint64_t gpa, const unsigned char *p, size_t len)
{
	size_t i, j;

	for (i = 0; i < len; i += 16) {
		printf("%012llx ", ULL(gpa + i));
		for (j = i; j < i + 16; j++) {
			if (j < len)
				printf("%s%02x", j % 8 ? " " : "  ", p[j]);
			else
				fputs(j % 8 ? "   " : "    ", stdout);
		}
		fputs("  |", stdout);
		for (j = i; j < i + 16 && j < len; j++)
			putchar(p[j] >= 0x20 && p[j] < 0x7f ? p[j] : '.');
		puts("|");
	}
}

#define PIECE	(64 << 10)

static int mem_read(struct kvmi_vm *vm, uint64_t gpa, uint64_t len,
		    const struct args *a)
{
	static unsigned char buf[PIECE];
	uint64_t done = 0;
	ssize_t n;
	size_t i;

	if (a->json) {
		json_begin();
		json_hex("gpa", gpa);
		fputs(",\"data\":\"", stdout);
	}
	while (done < len) {
		n = kvmi_vm_read(vm, gpa + done, buf,
				 len - done < PIECE ? len - done : PIECE);
		if (n < 0) {
			if (a->json)
				puts("\"}");
			return n;
		}
		if (a->raw)
			fwrite(buf, 1, n, stdout);
		else if (a->json)
			for (i = 0; i < (size_t)n; i++)
				printf("%02x", buf[i]);
		else
			dump(gpa + done, buf, n);
		done += n;
	}
	if (a->json)
		puts("\"}");
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Bytes in hexadecimal, in any number of words; -1 if they are not. */
static ssize_t parse_bytes(int argc, char **argv, unsigned char *buf)
{
	size_t n = 0;
	int i;

	for (i = 0; i < argc; i++) {
		const char *s = argv[i];

		for (; *s; s += 2) {
			if (hex_digit(s[0]) < 0 || hex_digit(s[1]) < 0)
				return -1;
			buf[n++] = hex_digit(s[0]) << 4 | hex_digit(s[1]);
		}
	}
	return n;
}

int cmd_mem(int argc, char **argv)
{
	unsigned char *buf = NULL;
	uint64_t gpa, len = 0;
	struct kvmi_vm *vm;
	struct args a;
	ssize_t n = 0;
	size_t room;
	bool write;
	int ret, i;

	if (!parse_args(argc, argv, "jrfC", &a))
		return EXIT_USAGE;
	argc -= optind;
	argv += optind;
	if (argc && !strcmp(argv[0], "dump")) {
		if (argc != 3 || a.raw)
			return usage_error("kvmi mem dump VM FILE");
		return mem_dump(argv[1], argv[2], a.format ?: "raw",
				a.consistent, a.json);
	}
	if (a.format || a.consistent)
		return usage_error("only kvmi mem dump takes such an option");
	if (argc < 4 || (strcmp(argv[0], "read") && strcmp(argv[0], "write")))
		return usage_error("kvmi mem read VM ADDRESS LENGTH, write VM ADDRESS BYTE..., %s",
				   "or dump VM FILE");
	write = !strcmp(argv[0], "write");
	if (!parse_number(argv[2], &gpa))
		return usage_error("%s is no address", argv[2]);
	if (write) {
		for (room = 1, i = 3; i < argc; i++)
			room += strlen(argv[i]) / 2 + 1;
		buf = calloc(1, room);
		if (!buf)
			abort();
		n = parse_bytes(argc - 3, argv + 3, buf);
		if (n <= 0) {
			free(buf);
			return usage_error("bytes are written as pairs of hexadecimal digits");
		}
	} else if (argc != 4 || !parse_number(argv[3], &len)) {
		return usage_error("%s is no length", argv[3]);
	}
	ret = attach(argv[1], &vm);
	if (ret) {
		free(buf);
		return ret;
	}
	if (write) {
		len = n;
		n = kvmi_vm_write(vm, gpa, buf, len);
		/* The rest's own error. */
		if (n > 0 && (uint64_t)n < len)
			n = kvmi_vm_write(vm, gpa + n, buf + n, len - n);
		ret = n < 0 ? n : 0;
	} else {
		ret = mem_read(vm, gpa, len, &a);
	}
	kvmi_vm_close(vm);
	free(buf);
	return ret ? failed(ret) : EXIT_OK;
}
