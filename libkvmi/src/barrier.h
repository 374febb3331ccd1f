/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only place that knows how memory shared with the kernel is ordered.
 */
#ifndef LIBKVMI_BARRIER_H
#define LIBKVMI_BARRIER_H

/* One access, neither repeated nor torn by the compiler. */
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val)	__atomic_store_n(&(x), (val), __ATOMIC_RELAXED)

/* What was written before the other side's release is seen after this. */
#define load_acquire(p)		__atomic_load_n((p), __ATOMIC_ACQUIRE)
/* What was read and written before this stays before it. */
#define store_release(p, val)	__atomic_store_n((p), (val), __ATOMIC_RELEASE)

/*
 * Between the write of a reply and the read of the vCPU's state: either the
 * vCPU sees the reply before it sleeps, or we see that it sleeps.
 */
#define full_barrier()		__atomic_thread_fence(__ATOMIC_SEQ_CST)

static inline void cpu_relax(void)
{
#if __has_builtin(__builtin_ia32_pause)
	__builtin_ia32_pause();
#endif
}

#endif
