// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output for people and for programs; names.
 */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static bool json_first;

static void json_name(const char *name)
{
	if (!json_first)
		putchar(',');
	json_first = false;
	if (name)
		printf("\"%s\":", name);
}

void json_begin(void)
{
	putchar('{');
	json_first = true;
}

void json_end(void)
{
	puts("}");
}

void json_string(const char *name, const char *value)
{
	json_name(name);
	putchar('"');
	for (; *value; value++) {
		unsigned char c = *value;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

void json_number(const char *name, uint64_t value)
{
	json_name(name);
	printf("%llu", (unsigned long long)value);
}

void json_hex(const char *name, uint64_t value)
{
	json_name(name);
	printf("\"0x%llx\"", (unsigned long long)value);
}

void json_bool(const char *name, bool value)
{
	json_name(name);
	fputs(value ? "true" : "false", stdout);
}

void json_open(const char *name, char bracket)
{
	json_name(name);
	putchar(bracket);
	json_first = true;
}

void json_close(char bracket)
{
	putchar(bracket);
	json_first = false;
}

const char *human_size(uint64_t bytes)
{
	static char buf[32];

	if (bytes >= 10ULL << 30)
		snprintf(buf, sizeof(buf), "%.1f GiB", bytes / 0x1p30);
	else if (bytes >= 1 << 20)
		snprintf(buf, sizeof(buf), "%llu MiB",
			 (unsigned long long)bytes >> 20);
	else
		snprintf(buf, sizeof(buf), "%llu KiB",
			 (unsigned long long)bytes >> 10);
	return buf;
}

const char * const gpr_names[KVMI_X86_NR_GPRS] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	"rip", "rflags",
};

static const struct {
	uint32_t msr;
	const char *name;
} msr_names[] = {
	{ 0x10, "tsc" },
	{ 0x1b, "apic_base" },
	{ 0x48, "spec_ctrl" },
	{ 0x49, "pred_cmd" },
	{ 0x174, "sysenter_cs" },
	{ 0x175, "sysenter_esp" },
	{ 0x176, "sysenter_eip" },
	{ 0x1a0, "misc_enable" },
	{ 0x1d9, "debugctl" },
	{ 0x277, "pat" },
	{ 0x6e0, "tsc_deadline" },
	{ 0xc0000080, "efer" },
	{ 0xc0000081, "star" },
	{ 0xc0000082, "lstar" },
	{ 0xc0000083, "cstar" },
	{ 0xc0000084, "sfmask" },
	{ 0xc0000100, "fs_base" },
	{ 0xc0000101, "gs_base" },
	{ 0xc0000102, "kernel_gs_base" },
	{ 0xc0000103, "tsc_aux" },
};

const char *msr_name(uint32_t msr)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(msr_names); i++)
		if (msr_names[i].msr == msr)
			return msr_names[i].name;
	return NULL;
}

bool msr_by_name(const char *name, size_t len, uint32_t *msr)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(msr_names); i++) {
		if (strlen(msr_names[i].name) != len ||
		    strncmp(msr_names[i].name, name, len))
			continue;
		*msr = msr_names[i].msr;
		return true;
	}
	return false;
}
