/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small KTAP harness.
 *
 * A test program consists of cases. Each case names the rows of the feature
 * table that it proves and runs in a forked child of its own: a crash, a
 * stuck vCPU thread or a leaked descriptor ends with the case. An assertion
 * that does not hold prints where and why, and ends the child; it may
 * therefore be used from any thread.
 *
 *	KTAP_CASE_SMP(read_across_pages, "S3")
 *	{
 *		struct vmm *vm = vmm_create(nr_vcpus, 0);
 *
 *		KTAP_EQ(answer(vm), 42);
 *	}
 *
 *	KTAP_MAIN(need_kvmi)
 */
#ifndef SELFTESTS_KTAP_H
#define SELFTESTS_KTAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define KSFT_PASS	0
#define KSFT_FAIL	1
#define KSFT_SKIP	4

/* Run the case with 1, 2 and 4 vCPUs, as NAME.1, NAME.2 and NAME.4. */
#define KTAP_F_SMP	1

/* Seconds after which a case has failed; KTAP_TIMEOUT_SCALE multiplies it. */
#define KTAP_TIMEOUT	60

struct ktap_case {
	const char *name;
	const char *rows;
	void (*fn)(int nr_vcpus);
	unsigned int flags;
	unsigned int timeout;
	unsigned int line;
};

/*
 * The linker gathers the cases. Pointers are gathered rather than the
 * structures themselves, whose alignment in a section is the compiler's
 * choice, as is the order.
 */
#define __KTAP_CASE(_fn, _rows, _flags, _timeout)			\
	static void _fn(int nr_vcpus);					\
	static const struct ktap_case ktap_case_##_fn = {		\
		.name = #_fn, .rows = _rows, .fn = _fn,			\
		.flags = _flags, .timeout = _timeout, .line = __LINE__,	\
	};								\
	static const struct ktap_case *const ktap_ptr_##_fn		\
		__attribute__((used, section("ktap_cases"))) =		\
			&ktap_case_##_fn;				\
	static void _fn(__attribute__((unused)) int nr_vcpus)

/* A case that does not depend on the number of vCPUs (it is told 1). */
#define KTAP_CASE(fn, rows)	__KTAP_CASE(fn, rows, 0, KTAP_TIMEOUT)
/* A case that is run for 1, 2 and 4 vCPUs. */
#define KTAP_CASE_SMP(fn, rows)	__KTAP_CASE(fn, rows, KTAP_F_SMP, KTAP_TIMEOUT)
/* The same two with a time limit of their own, in seconds. */
#define KTAP_CASE_TIME(fn, rows, seconds)				\
	__KTAP_CASE(fn, rows, 0, seconds)
#define KTAP_CASE_SMP_TIME(fn, rows, seconds)				\
	__KTAP_CASE(fn, rows, KTAP_F_SMP, seconds)

int ktap_main(int argc, char **argv, const char *(*need)(void));

/*
 * @need says, in a few words, why no case can run here at all (the program
 * then exits with 4), or NULL.
 */
#define KTAP_MAIN(need)							\
	int main(int argc, char **argv)					\
	{								\
		return ktap_main(argc, argv, need);			\
	}

/* Ends the case, from any of its threads. */
void ktap_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void ktap_skip(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));
/* A diagnostic line. */
void ktap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* @n, or @slow where everything takes long: KTAP_SLOW in the environment says so. */
int ktap_times(int n, int slow);

#define KTAP_FAIL(fmt, ...)						\
	ktap_fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__)

/* KTAP_ASSERT(cond) or KTAP_ASSERT(cond, "format", ...) */
#define KTAP_ASSERT(cond, ...)						\
	__KTAP_ASSERT(cond, #cond, "" __VA_ARGS__)
#define __KTAP_ASSERT(cond, text, fmt, ...)				\
	do {								\
		if (!(cond))						\
			KTAP_FAIL("%s  " fmt, text, ##__VA_ARGS__);	\
	} while (0)

#define __KTAP_CMP(a, op, b)						\
	do {								\
		__typeof__(a) __a = (a);				\
		__typeof__(a) __b = (__typeof__(a))(b);			\
									\
		if (!(__a op __b))					\
			KTAP_FAIL("%s " #op " %s: %lld (%#llx), %lld (%#llx)",\
				  #a, #b, (long long)__a,		\
				  (unsigned long long)__a,		\
				  (long long)__b,			\
				  (unsigned long long)__b);		\
	} while (0)

#define KTAP_EQ(a, b)	__KTAP_CMP(a, ==, b)
#define KTAP_NE(a, b)	__KTAP_CMP(a, !=, b)
#define KTAP_GE(a, b)	__KTAP_CMP(a, >=, b)
#define KTAP_LE(a, b)	__KTAP_CMP(a, <=, b)

/* A system call that must succeed; the value is its result. */
#define KTAP_OK(call)							\
	({								\
		long __r = (long)(call);				\
									\
		if (__r < 0)						\
			KTAP_FAIL("%s: %s", #call,			\
				  strerror(errno));			\
		__r;							\
	})

/* A system call that must fail, with this errno. */
#define KTAP_ERR(call, err)						\
	do {								\
		long __r;						\
									\
		errno = 0;						\
		__r = (long)(call);					\
		if (__r >= 0)						\
			KTAP_FAIL("%s: returned %ld, not %s", #call,	\
				  __r, ktap_errname(err));		\
		if (errno != (err))					\
			KTAP_FAIL("%s: %s, not %s", #call,		\
				  ktap_errname(errno), ktap_errname(err));\
	} while (0)

/* The same two for functions that return -errno. */
#define KTAP_LIB_OK(call)						\
	({								\
		long __r = (long)(call);				\
									\
		if (__r < 0)						\
			KTAP_FAIL("%s: %s", #call, strerror(-__r));	\
		__r;							\
	})

#define KTAP_LIB_ERR(call, err)						\
	do {								\
		long __r = (long)(call);				\
									\
		if (__r != -(err))					\
			KTAP_FAIL("%s: %ld (%s), not -%s", #call, __r,	\
				  __r < 0 ? ktap_errname(-__r) : "no error",\
				  ktap_errname(err));			\
	} while (0)

const char *ktap_errname(int err);

/* Reasons not to run, for KTAP_MAIN(). */
const char *ktap_need_kvm(void);
const char *ktap_need_kvmi(void);

#endif
