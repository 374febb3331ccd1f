// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C half of what runs in the guest. Built with -mgeneral-regs-only.
 */
#include "guest.h"

#define DB_VECTOR	1
#define BP_VECTOR	3

void guest_exception(struct guest_regs *regs)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t cr2 = 0, dr6 = 0;

	/* An interrupt or int N may come from ring 3, but this is ring 0. */
	if (regs->vector == 14)
		asm volatile("mov %%cr2, %0" : "=r" (cr2));
	if (regs->vector == DB_VECTOR) {
		asm volatile("mov %%dr6, %0" : "=r" (dr6));
		asm volatile("mov %0, %%dr6" : : "r" (0xffff0ff0UL));
	}

	cpu->count[regs->vector]++;
	cpu->last.vector = regs->vector;
	cpu->last.error = regs->error;
	cpu->last.rip = regs->rip;
	cpu->last.cs = regs->cs;
	cpu->last.rflags = regs->rflags;
	cpu->last.rsp = regs->rsp;
	cpu->last.cr2 = cr2;
	cpu->last.dr6 = dr6;

	if (cpu->nr_log && cpu->nr_log <= GUEST_MAX_LOG) {
		cpu->log[cpu->nr_log - 1].vector = regs->vector;
		cpu->log[cpu->nr_log - 1].error = regs->error;
		cpu->log[cpu->nr_log - 1].rip = regs->rip;
		cpu->log[cpu->nr_log - 1].rflags = regs->rflags;
		cpu->log[cpu->nr_log - 1].cr2 = cr2;
		cpu->log[cpu->nr_log - 1].dr6 = dr6;
		cpu->nr_log++;
	}

	if (regs->vector >= 32) {
		if (cpu->eoi)
			GUEST_WRITE(uint32_t, cpu->eoi, 0);
		return;
	}
	if (cpu->handler[regs->vector]) {
		cpu->handler[regs->vector](regs);
		return;
	}
	/* Traps: counted, and the guest goes on. */
	if (regs->vector == BP_VECTOR || regs->vector == DB_VECTOR)
		return;
	if (cpu->fixup) {
		regs->rip = cpu->fixup;
		cpu->fixup = 0;
		cpu->fault = regs->vector + 1;
		return;
	}
	guest_ucall5(GUEST_EXC, 0, 0, 0, 0, 0);
}

void guest_done(uint64_t value)
{
	for (;;)
		guest_ucall5(GUEST_DONE, value, 0, 0, 0, 0);
}

static uint64_t work_value(struct guest_cpu *cpu, uint64_t page, uint64_t cell,
			   uint64_t round)
{
	return (cpu->id << 56) ^ (page << 48) ^ (cell << 32) ^ round;
}

void guest_worker_init(uint64_t ops, uint64_t mem)
{
	struct guest_cpu *cpu = guest_cpu();
	struct guest_cpuid r = guest_cpuid(0, 0);
	uint64_t page, cell;
	int i;

	cpu->work_ops = ops;
	cpu->work_mem = (uint64_t *)mem;
	cpu->work_cpuid[0] = r.eax;
	cpu->work_cpuid[1] = r.ebx;
	cpu->work_cpuid[2] = r.ecx;
	cpu->work_cpuid[3] = r.edx;
	for (i = 0; i < 16; i++)
		cpu->work_pat[i] = (0x9e3779b97f4a7c15UL * (i + 1)) ^ cpu->id;
	for (page = 0; page < GUEST_WORK_PAGES; page++)
		for (cell = 0; cell < 512; cell++)
			cpu->work_mem[page * 512 + cell] =
				work_value(cpu, page, cell, 0);
	cpu->count[BP_VECTOR] = 0;
	cpu->work_count = 0;
}

/*
 * Each round goes once through all cells: what the last round wrote must be
 * there. And every int3 has reached the guest exactly once.
 */
void guest_worker_mem(void)
{
	struct guest_cpu *cpu = guest_cpu();
	uint64_t cell = cpu->work_count % 512;
	uint64_t round = cpu->work_count / 512;
	uint64_t page;

	for (page = 0; page < GUEST_WORK_PAGES; page++) {
		uint64_t *p = &cpu->work_mem[page * 512 + cell];

		GUEST_EQ(*p, work_value(cpu, page, cell, round));
		*p = work_value(cpu, page, cell, round + 1);
	}
	if (cpu->work_ops & GUEST_WORK_INT3)
		GUEST_EQ(cpu->count[BP_VECTOR], cpu->work_count + 1);
}

void guest_worker_bad(uint64_t what, uint64_t *regs)
{
	struct guest_cpu *cpu = guest_cpu();
	int i;

	/* Pushed in the order of the patterns, so the last one comes first. */
	for (i = 0; !what && i < 15; i++)
		GUEST_EQ(regs[14 - i], cpu->work_pat[i]);
	/* 1: CPUID's answer changed, 2: an MSR lost its value. */
	GUEST_EQ(what, 0);
	/* None of the registers is wrong now: it has changed back. */
	GUEST_ASSERT(false);
}
