/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What runs inside the guest, and what guest and host share.
 *
 * The whole test program is copied into guest memory at the addresses that it
 * was linked for, and the guest maps its memory one to one. So guest code is
 * ordinary C in the test: it may use its own constants and static variables
 * (of which the guest has its own copy, see vmm_guest_ptr()), but neither
 * libc nor thread-local storage.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

/* Guest-physical, and because of the identity map also virtual, addresses. */
#define GUEST_GDT		0x1000
#define GUEST_IDT		0x2000
#define GUEST_TSS		0x3000		/* one page per vCPU */
#define GUEST_PML4		0x10000
#define GUEST_PDPT		0x11000
#define GUEST_PD		0x12000		/* four: maps 4 GiB */
#define GUEST_PT		0x16000		/* one per 2 MiB of the window */
#define GUEST_CPU		0x30000		/* struct guest_cpu, one page each */
#define GUEST_STACK		0x40000		/* GUEST_STACK_SIZE per vCPU */
#define GUEST_STACK_SIZE	0x8000
#define GUEST_HEAP		0x800000	/* vmm_alloc_pages() */
#define GUEST_RAM		0x1000000	/* slot 0 */
/* Mapped with 4 KiB pages; everything above with 2 MiB pages. */
#define GUEST_4K_WINDOW		0x2000000
#define GUEST_MAX_VCPUS		8
#define GUEST_MAX_LOG		24

#define GUEST_KERNEL_CS		0x08
#define GUEST_KERNEL_DS		0x10
#define GUEST_USER_DS		0x1b
#define GUEST_USER_CS		0x23
#define GUEST_TSS_SEL		0x28		/* +16 per vCPU */

/* A port that no device of KVM's answers. */
#define GUEST_UCALL_PORT	0x5ca1

/* Leaves ring 3 again. */
#define GUEST_VEC_USER_EXIT	0x80

/* Offsets in struct guest_cpu for the assembler. */
#define GC_SELF			0x00
#define GC_ID			0x08
#define GC_KERNEL_RSP		0x10
#define GC_FIXUP		0x18
#define GC_FAULT		0x20
#define GC_WORK_OPS		0x28
#define GC_WORK_SPIN		0x30
#define GC_WORK_COUNT		0x38
#define GC_WORK_CPUID		0x40
#define GC_WORK_PAT		0x60

#define GUEST_WORK_CPUID	1
#define GUEST_WORK_CR3		2
#define GUEST_WORK_INT3		4
#define GUEST_WORK_MSR		8
#define GUEST_WORK_ALL		15

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why the guest called. */
enum guest_ucall {
	GUEST_NONE,
	GUEST_DONE,		/* the entry function returned; arg 0: value */
	GUEST_SYNC,		/* whatever the test says */
	GUEST_FAIL,		/* GUEST_ASSERT(): file, line, text, a, b */
	GUEST_EXC,		/* unexpected exception, see last */
};

struct guest_regs {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct guest_exc {
	uint64_t vector, error, rip, cs, rflags, rsp, cr2, dr6;
};

/* One per vCPU, at its GS base in all rings. */
struct guest_cpu {
	struct guest_cpu *self;
	uint64_t id;
	uint64_t kernel_rsp;
	uint64_t fixup;		/* where to go on after the next fault */
	uint64_t fault;		/* vector + 1 of the fault that was fixed up */

	/* guest_worker() */
	uint64_t work_ops;
	uint64_t work_spin;
	uint64_t work_count;
	uint64_t work_cpuid[4];
	uint64_t work_pat[16];
	uint64_t *work_mem;

	struct {
		uint64_t cmd;
		uint64_t args[6];
	} uc;

	struct guest_exc last;		/* the last exception */
	uint64_t count[256];		/* how many of each vector */
	uint64_t eoi;			/* where to end interrupts, or 0 */
	/* Replaces the default handling of an exception. */
	void (*handler[32])(struct guest_regs *regs);
	/* The first exceptions and interrupts, if nr_log is not 0: from 1. */
	uint64_t nr_log;
	struct {
		uint64_t vector, error, rip, rflags, cr2, dr6;
	} log[GUEST_MAX_LOG];
};

#define GC_CHECK(off, member)						\
	_Static_assert(offsetof(struct guest_cpu, member) == (off), #member)
GC_CHECK(GC_SELF, self);
GC_CHECK(GC_ID, id);
GC_CHECK(GC_KERNEL_RSP, kernel_rsp);
GC_CHECK(GC_FIXUP, fixup);
GC_CHECK(GC_FAULT, fault);
GC_CHECK(GC_WORK_OPS, work_ops);
GC_CHECK(GC_WORK_SPIN, work_spin);
GC_CHECK(GC_WORK_COUNT, work_count);
GC_CHECK(GC_WORK_CPUID, work_cpuid);
GC_CHECK(GC_WORK_PAT, work_pat);
_Static_assert(sizeof(struct guest_cpu) <= 4096, "one page per vCPU");

/* An exception may come at any instruction: leave SSE to KVM. */
#define __guest	__attribute__((target("general-regs-only"), noinline, used))
#define __guest_inline							\
	static inline __attribute__((target("general-regs-only"), unused))

__guest_inline struct guest_cpu *guest_cpu(void)
{
	struct guest_cpu *cpu;

	asm volatile("mov %%gs:0, %0" : "=r" (cpu));
	return cpu;
}

__guest_inline void guest_ucall5(uint64_t cmd, uint64_t a0, uint64_t a1,
				 uint64_t a2, uint64_t a3, uint64_t a4)
{
	struct guest_cpu *cpu = guest_cpu();

	cpu->uc.cmd = cmd;
	cpu->uc.args[0] = a0;
	cpu->uc.args[1] = a1;
	cpu->uc.args[2] = a2;
	cpu->uc.args[3] = a3;
	cpu->uc.args[4] = a4;
	asm volatile("out %%eax, %%dx"
		     : : "a" (0), "d" (GUEST_UCALL_PORT) : "memory");
}

__guest_inline void guest_sync(uint64_t a0)
{
	guest_ucall5(GUEST_SYNC, a0, 0, 0, 0, 0);
}

__guest_inline void guest_sync3(uint64_t a0, uint64_t a1, uint64_t a2)
{
	guest_ucall5(GUEST_SYNC, a0, a1, a2, 0, 0);
}

#define GUEST_ASSERT(cond)						\
	do {								\
		if (!(cond))						\
			guest_ucall5(GUEST_FAIL, (uint64_t)__FILE__,	\
				     __LINE__, (uint64_t)#cond, 0, 0);	\
	} while (0)

#define GUEST_EQ(a, b)							\
	do {								\
		uint64_t __a = (uint64_t)(a), __b = (uint64_t)(b);	\
									\
		if (__a != __b)						\
			guest_ucall5(GUEST_FAIL, (uint64_t)__FILE__,	\
				     __LINE__, (uint64_t)#a " == " #b,	\
				     __a, __b);				\
	} while (0)

struct guest_cpuid {
	uint32_t eax, ebx, ecx, edx;
};

__guest_inline struct guest_cpuid guest_cpuid(uint32_t eax, uint32_t ecx)
{
	struct guest_cpuid r;

	asm volatile("cpuid"
		     : "=a" (r.eax), "=b" (r.ebx), "=c" (r.ecx), "=d" (r.edx)
		     : "a" (eax), "c" (ecx) : "memory");
	return r;
}

__guest_inline uint64_t guest_rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a" (lo), "=d" (hi) : "c" (msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

__guest_inline void guest_wrmsr(uint32_t msr, uint64_t val)
{
	asm volatile("wrmsr" : : "c" (msr), "a" ((uint32_t)val),
		     "d" ((uint32_t)(val >> 32)) : "memory");
}

/*
 * One instruction that may fault: the statement's value is 0 or the vector
 * plus 1. Outputs of a faulting instruction are undefined.
 */
#define GUEST_TRY(insn, outputs, ...)					\
	({								\
		uint64_t __fault;					\
									\
		asm volatile("movq $0, %%gs:0x20\n\t"			\
			     "movq $1f, %%gs:0x18\n\t"			\
			     insn "\n"					\
			     "1:\n\t"					\
			     "movq $0, %%gs:0x18"			\
			     : outputs : __VA_ARGS__);			\
		asm volatile("movq %%gs:0x20, %0" : "=r" (__fault));	\
		__fault;						\
	})
_Static_assert(GC_FIXUP == 0x18 && GC_FAULT == 0x20, "GUEST_TRY()");

__guest_inline uint64_t guest_rdmsr_safe(uint32_t msr, uint64_t *val)
{
	uint32_t lo = 0, hi = 0;
	uint64_t fault;

	asm volatile("movq $0, %%gs:0x20\n\t"
		     "movq $1f, %%gs:0x18\n\t"
		     "rdmsr\n"
		     "1:\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     "movq %%gs:0x20, %[fault]"
		     : "+a" (lo), "+d" (hi), [fault] "=r" (fault)
		     : "c" (msr) : "memory");
	*val = (uint64_t)hi << 32 | lo;
	return fault;
}

__guest_inline uint64_t guest_wrmsr_safe(uint32_t msr, uint64_t val)
{
	uint64_t fault;

	asm volatile("movq $0, %%gs:0x20\n\t"
		     "movq $1f, %%gs:0x18\n\t"
		     "wrmsr\n"
		     "1:\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     "movq %%gs:0x20, %[fault]"
		     : [fault] "=r" (fault)
		     : "c" (msr), "a" ((uint32_t)val),
		       "d" ((uint32_t)(val >> 32))
		     : "memory");
	return fault;
}

#define GUEST_CR(n)							\
__guest_inline uint64_t guest_read_cr##n(void)				\
{									\
	uint64_t val;							\
									\
	asm volatile("mov %%cr" #n ", %0" : "=r" (val) : : "memory");	\
	return val;							\
}									\
__guest_inline void guest_write_cr##n(uint64_t val)			\
{									\
	asm volatile("mov %0, %%cr" #n : : "r" (val) : "memory");	\
}

GUEST_CR(0)
GUEST_CR(2)
GUEST_CR(3)
GUEST_CR(4)
GUEST_CR(8)

__guest_inline uint64_t guest_rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

__guest_inline void guest_int3(void)
{
	asm volatile("int3" : : : "memory");
}

__guest_inline void guest_invlpg(uint64_t gva)
{
	asm volatile("invlpg (%0)" : : "r" (gva) : "memory");
}

__guest_inline void guest_hlt(void)
{
	asm volatile("hlt" : : : "memory");
}

__guest_inline void guest_out8(uint16_t port, uint8_t val)
{
	asm volatile("out %0, %1" : : "a" (val), "Nd" (port) : "memory");
}

__guest_inline uint8_t guest_in8(uint16_t port)
{
	uint8_t val;

	asm volatile("in %1, %0" : "=a" (val) : "Nd" (port) : "memory");
	return val;
}

__guest_inline void guest_spin(uint64_t n)
{
	while (n--)
		asm volatile("" : : : "memory");
}

#define GUEST_READ(type, addr)	(*(volatile type *)(uint64_t)(addr))
#define GUEST_WRITE(type, addr, val)					\
	(*(volatile type *)(uint64_t)(addr) = (val))

/* The PTE of an address inside the 4 KiB window. */
__guest_inline uint64_t guest_pte_addr(uint64_t gva)
{
	return GUEST_PT + (gva >> 12) * 8;
}

/* Runs fn(arg) in ring 3 (with IOPL 3, so that it can call the host). */
uint64_t guest_call_user(uint64_t (*fn)(uint64_t), uint64_t arg);

/*
 * For ever: load all general registers with patterns, do what @ops says,
 * verify registers and the four pages at @mem, count. Any deviation is a
 * GUEST_FAIL.
 */
void guest_worker(uint64_t ops, uint64_t mem);

#define GUEST_WORK_PAGES	4

/* guest.c, called by guest.S. */
void guest_exception(struct guest_regs *regs);
void guest_done(uint64_t value);
void guest_worker_init(uint64_t ops, uint64_t mem);
void guest_worker_mem(void);
void guest_worker_bad(uint64_t what, uint64_t *regs);

/* In guest.S. */
extern char guest_vectors[];
extern char guest_entry_return[];

#endif /* __ASSEMBLER__ */
#endif
