// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of what the processor numbers: exit reasons, vectors, instructions.
 */
#include <asm/kvm.h>
#include <asm/svm.h>
#include <asm/vmx.h>
#include <string.h>
#include <strings.h>

#include "tool.h"

struct exit_reason {
	uint32_t code;
	const char *name;
};

static const struct exit_reason vmx_exits[] = { VMX_EXIT_REASONS };
static const struct exit_reason svm_exits[] = { SVM_EXIT_REASONS };

static const struct exit_reason *exit_reasons(uint32_t vendor, size_t *nr)
{
	if (vendor == KVMI_VENDOR_INTEL) {
		*nr = ARRAY_SIZE(vmx_exits);
		return vmx_exits;
	}
	*nr = ARRAY_SIZE(svm_exits);
	return svm_exits;
}

const char *exit_name(uint32_t vendor, uint32_t code)
{
	size_t nr, i;
	const struct exit_reason *reasons = exit_reasons(vendor, &nr);

	for (i = 0; i < nr; i++)
		if (reasons[i].code == code)
			return reasons[i].name;
	return NULL;
}

/* As the kernel has it, whatever the case. */
bool exit_by_name(uint32_t vendor, const char *name, uint32_t *code)
{
	size_t nr, i;
	const struct exit_reason *reasons = exit_reasons(vendor, &nr);

	for (i = 0; i < nr; i++) {
		if (strcasecmp(reasons[i].name, name))
			continue;
		*code = reasons[i].code;
		return true;
	}
	return false;
}

static const char * const vectors[32] = {
	"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM",
	"#DF", NULL, "#TS", "#NP", "#SS", "#GP", "#PF", NULL,
	"#MF", "#AC", "#MC", "#XM", "#VE", "#CP", [28] = "#HV", "#VC", "#SX",
};

const char *vector_name(uint32_t vector)
{
	return vector < ARRAY_SIZE(vectors) ? vectors[vector] : NULL;
}

/* "pf", "PF", "#PF" */
bool vector_by_name(const char *name, uint32_t *vector)
{
	uint32_t i;

	name += *name == '#';
	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		if (!vectors[i] || *vectors[i] != '#' ||
		    strcasecmp(vectors[i] + 1, name))
			continue;
		*vector = i;
		return true;
	}
	return false;
}

static const char * const insns[KVMI_X86_NR_INSNS] = {
	"hlt", "pause", "monitor", "mwait", "invlpg", "invpcid", "invd",
	"wbinvd", "rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed",
	"task_switch", "shutdown", "nested",
};

const char *insn_name(uint32_t insn)
{
	return insn < ARRAY_SIZE(insns) ? insns[insn] : "unknown";
}

bool insn_by_name(const char *name, uint32_t *insn)
{
	for (*insn = 0; *insn < ARRAY_SIZE(insns); ++*insn)
		if (!strcmp(insns[*insn], name))
			return true;
	return false;
}
