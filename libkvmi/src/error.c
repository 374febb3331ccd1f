// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What went wrong, in words.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

static __thread char message[512];

/**
 * kvmi_error_message() - Why the last call of this thread failed
 *
 * Return: a text for a person, without a full stop or a newline. It is valid
 * until the next call of the library in the same thread. Undefined, but always
 * a string, when no call has failed.
 */
const char *kvmi_error_message(void)
{
	return message;
}

int kvmi_error_set(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return err;
}

static int read_number(const char *path, int *value)
{
	FILE *f = fopen(path, "re");
	int n;

	if (!f)
		return -errno;
	n = fscanf(f, "%d", value);
	fclose(f);
	return n == 1 ? 0 : -EINVAL;
}

/*
 * The kernel's answer is EPERM or EACCES whatever the reason, so look for the
 * reason in the order in which the kernel does.
 */
int kvmi_error_ptrace(pid_t pid, int err)
{
	char path[4096];
	struct stat st;
	int scope;

	snprintf(path, sizeof(path), "%s/%d", kvmi_sys.proc, (int)pid);
	if (stat(path, &st))
		return kvmi_error_set(-ESRCH, "there is no process %d",
				      (int)pid);
	if (err != -EPERM && err != -EACCES)
		return kvmi_error_set(err, "process %d: %s", (int)pid,
				      strerror(-err));
	if (geteuid() && st.st_uid != geteuid())
		return kvmi_error_set(err,
				      "process %d belongs to uid %u: that takes root (CAP_SYS_PTRACE)",
				      (int)pid, (unsigned int)st.st_uid);
	snprintf(path, sizeof(path), "%s/sys/kernel/yama/ptrace_scope",
		 kvmi_sys.proc);
	if (!read_number(path, &scope) && scope == 3)
		return kvmi_error_set(err,
				      "Yama forbids it to everybody (kernel.yama.ptrace_scope is 3)");
	if (!read_number(path, &scope) && scope > 0 && geteuid())
		return kvmi_error_set(err,
				      "Yama forbids it to all but root (kernel.yama.ptrace_scope is %d)",
				      scope);
	return kvmi_error_set(err,
			      "the kernel lets us not at process %d: no CAP_SYS_PTRACE over it (another user namespace?), or a security module forbids it",
			      (int)pid);
}
