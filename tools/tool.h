/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the subcommands of kvmi share.
 */
#ifndef KVMI_TOOL_H
#define KVMI_TOOL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <kvmi.h>

/* Exit codes; the manual page has them too. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_ERROR = 1,		/* anything else */
	EXIT_USAGE = 2,
	EXIT_NO_VM = 3,		/* no such process, VM or name */
	EXIT_DENIED = 4,	/* the kernel does not let us */
	EXIT_NO_MODULE = 5,	/* kvmi.ko is not loaded */
	EXIT_BUSY = 6,		/* another session controls the VM */
	EXIT_UNSUPPORTED = 7,	/* by this VM, CPU or kernel */
};

/* Set by SIGINT and SIGTERM. */
extern volatile sig_atomic_t interrupted;
void catch_signals(void);

/* Prints libkvmi's message for -errno @err and returns the exit code. */
int failed(int err);
/* The same for a wrong use of the command line. */
int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Attaches to the VM named by @spec; 0, or an exit code after a message. */
int attach(const char *spec, struct kvmi_vm **vm);
/* The same beside whoever controls it. */
int attach_observer(const char *spec, struct kvmi_vm **vm);

/* Where --json is the only option; false after a message. */
bool parse_json(int argc, char **argv, bool *json);

/* CLOCK_MONOTONIC, as events have it. */
uint64_t now_ns(void);

/* A number as C writes it; k, M and G multiply. */
bool parse_number(const char *text, uint64_t *value);

/*
 * One JSON object a line: json_begin(), members, json_end(). Numbers that may
 * exceed 2^53 or are addresses go as strings with 0x.
 */
void json_begin(void);
void json_end(void);
void json_string(const char *name, const char *value);
void json_number(const char *name, uint64_t value);
void json_hex(const char *name, uint64_t value);
void json_bool(const char *name, bool value);
void json_open(const char *name, char bracket);
void json_close(char bracket);

/* "512 MiB"; the buffer is static. */
const char *human_size(uint64_t bytes);

/* For printf(). */
#define ULL(x)	((unsigned long long)(x))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

const char *vendor_name(uint32_t vendor);
const char *msr_name(uint32_t msr);
bool msr_by_name(const char *name, size_t len, uint32_t *msr);
const char *exit_name(uint32_t vendor, uint32_t code);
bool exit_by_name(uint32_t vendor, const char *name, uint32_t *code);
const char *vector_name(uint32_t vector);
bool vector_by_name(const char *name, uint32_t *vector);
const char *insn_name(uint32_t insn);
bool insn_by_name(const char *name, uint32_t *insn);
extern const char * const gpr_names[KVMI_X86_NR_GPRS];

/* kvmi mem dump; an exit code. */
int mem_dump(const char *spec, const char *path, const char *format_name,
	     bool consistent, bool json);

/* EVENT[,EVENT]... as trace has them; 0, or an exit code after a message. */
int parse_events(const char *s);
/* Have them counted: sets a bit for each kind. */
int count_events(struct kvmi_vm *vm, const struct kvmi_caps *caps, uint64_t *kinds);

int cmd_list(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_regs(int argc, char **argv);
int cmd_mem(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_vmcs(int argc, char **argv);
int cmd_caps(int argc, char **argv);
int cmd_gdb(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_step(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_syscalls(int argc, char **argv);
int cmd_count(int argc, char **argv);

#endif
