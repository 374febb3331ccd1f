// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tiny VMM by raw KVM ioctls.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define PAGE_SIZE	4096UL
#define HUGE_SIZE	(2UL << 20)

#define PTE_P		0x01UL
#define PTE_W		0x02UL
#define PTE_U		0x04UL
#define PTE_A		0x20UL
#define PTE_D		0x40UL
#define PTE_PS		0x80UL

#define BIT(n)		(1UL << (n))

#define CR0_PE		BIT(0)
#define CR0_MP		BIT(1)
#define CR0_ET		BIT(4)
#define CR0_NE		BIT(5)
#define CR0_WP		BIT(16)
#define CR0_PG		BIT(31)
#define CR4_PAE		BIT(5)
#define CR4_OSFXSR	BIT(9)
#define CR4_OSXMMEXCPT	BIT(10)
#define EFER_SCE	BIT(0)
#define EFER_LME	BIT(8)
#define EFER_LMA	BIT(10)
#define EFER_NX		BIT(11)

/* Intel without unrestricted guest wants three pages that no slot has. */
#define TSS_ADDR	0xfffbd000UL

extern const Elf64_Ehdr __ehdr_start;

static __thread struct vmm_vcpu *this_vcpu;

/*
 * A signal that arrives between the test of ->stop and the entry must end
 * KVM_RUN all the same; immediate_exit is for that.
 */
static void kick_handler(__attribute__((unused)) int sig)
{
	if (this_vcpu)
		this_vcpu->run->immediate_exit = 1;
}

void *vmm_gpa(struct vmm *vm, uint64_t gpa)
{
	int i;

	for (i = 0; i < VMM_MAX_SLOTS; i++) {
		struct vmm_slot *slot = &vm->slot[i];

		if (slot->mem && gpa >= slot->gpa &&
		    gpa - slot->gpa < slot->size)
			return (char *)slot->mem + (gpa - slot->gpa);
	}
	KTAP_FAIL("no memory at guest address %#llx", (unsigned long long)gpa);
}

static void slot_update(struct vmm *vm, int nr, uint64_t size)
{
	struct vmm_slot *slot = &vm->slot[nr];
	struct kvm_userspace_memory_region region = {
		.slot = nr,
		.flags = slot->flags,
		.guest_phys_addr = slot->gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)slot->mem,
	};

	KTAP_OK(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
}

void *vmm_slot_add(struct vmm *vm, int nr, uint64_t gpa, uint64_t size,
		   uint32_t flags)
{
	struct vmm_slot *slot = &vm->slot[nr];
	char *mem, *aligned;

	KTAP_ASSERT(nr >= 0 && nr < VMM_MAX_SLOTS && !slot->mem);
	/*
	 * Aligned to 2 MiB like the guest addresses usually are, so that huge
	 * pages are possible; what is around it goes away again.
	 */
	mem = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	KTAP_ASSERT(mem != MAP_FAILED, "%s", strerror(errno));
	aligned = (char *)(((uintptr_t)mem + HUGE_SIZE - 1) & -HUGE_SIZE);
	if (aligned != mem)
		munmap(mem, aligned - mem);
	munmap(aligned + size, mem + HUGE_SIZE - aligned);

	slot->gpa = gpa;
	slot->size = size;
	slot->flags = flags;
	slot->mem = aligned;
	slot_update(vm, nr, size);
	return slot->mem;
}

void vmm_slot_set_flags(struct vmm *vm, int nr, uint32_t flags)
{
	vm->slot[nr].flags = flags;
	slot_update(vm, nr, vm->slot[nr].size);
}

void vmm_slot_move(struct vmm *vm, int nr, uint64_t gpa)
{
	vm->slot[nr].gpa = gpa;
	slot_update(vm, nr, vm->slot[nr].size);
}

void vmm_slot_delete(struct vmm *vm, int nr)
{
	struct vmm_slot *slot = &vm->slot[nr];

	slot_update(vm, nr, 0);
	munmap(slot->mem, slot->size);
	memset(slot, 0, sizeof(*slot));
}

uint64_t *vmm_slot_dirty_log(struct vmm *vm, int nr)
{
	struct kvm_dirty_log log = { .slot = nr };
	uint64_t *bitmap;

	bitmap = calloc((vm->slot[nr].size / PAGE_SIZE + 63) / 64, 8);
	KTAP_ASSERT(bitmap);
	log.dirty_bitmap = bitmap;
	KTAP_OK(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	return bitmap;
}

uint64_t vmm_alloc_pages(struct vmm *vm, unsigned int nr)
{
	uint64_t gpa = vm->heap;

	vm->heap += nr * PAGE_SIZE;
	KTAP_LE(vm->heap, GUEST_RAM);
	memset(vmm_gpa(vm, gpa), 0, nr * PAGE_SIZE);
	return gpa;
}

uint64_t *vmm_pte(struct vmm *vm, uint64_t gva)
{
	KTAP_ASSERT(gva < GUEST_4K_WINDOW);
	return vmm_gpa(vm, GUEST_PT + (gva / PAGE_SIZE) * 8);
}

/* The program itself, at the addresses it was linked for. */
static void load_image(struct vmm *vm)
{
	const Elf64_Phdr *ph = (const void *)((const char *)&__ehdr_start +
					      __ehdr_start.e_phoff);
	int i;

	for (i = 0; i < __ehdr_start.e_phnum; i++, ph++) {
		if (ph->p_type != PT_LOAD)
			continue;
		KTAP_ASSERT(ph->p_vaddr >= 0x400000 &&
			    ph->p_vaddr + ph->p_memsz <= GUEST_HEAP,
			    "the program is not where the guest needs it");
		memcpy(vmm_gpa(vm, ph->p_vaddr), (void *)ph->p_vaddr,
		       ph->p_memsz);
	}
}

static void make_page_tables(struct vmm *vm)
{
	const uint64_t table = PTE_P | PTE_W | PTE_U | PTE_A;
	const uint64_t leaf = table | PTE_D;
	uint64_t *pml4 = vmm_gpa(vm, GUEST_PML4);
	uint64_t *pdpt = vmm_gpa(vm, GUEST_PDPT);
	uint64_t *pd = vmm_gpa(vm, GUEST_PD);
	uint64_t *pt = vmm_gpa(vm, GUEST_PT);
	uint64_t i;

	pml4[0] = GUEST_PDPT | table;
	for (i = 0; i < 4; i++)
		pdpt[i] = (GUEST_PD + i * PAGE_SIZE) | table;
	for (i = 0; i < 4 * 512; i++)
		pd[i] = (i * HUGE_SIZE) | leaf | PTE_PS;
	for (i = 0; i < GUEST_4K_WINDOW / HUGE_SIZE; i++)
		pd[i] = (GUEST_PT + i * PAGE_SIZE) | table;
	for (i = 0; i < GUEST_4K_WINDOW / PAGE_SIZE; i++)
		pt[i] = (i * PAGE_SIZE) | leaf;
	/* Nothing is at 0, so that a null pointer faults. */
	pt[0] = 0;
}

void vmm_use_large_pages(struct vmm *vm)
{
	const uint64_t leaf = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS;
	uint64_t *pd = vmm_gpa(vm, GUEST_PD);
	uint64_t i;

	for (i = 1; i < GUEST_4K_WINDOW / HUGE_SIZE; i++)
		pd[i] = (i * HUGE_SIZE) | leaf;
}

static void make_descriptors(struct vmm *vm)
{
	uint64_t *gdt = vmm_gpa(vm, GUEST_GDT);
	uint64_t *idt = vmm_gpa(vm, GUEST_IDT);
	uint64_t i;

	gdt[1] = 0x00af9b000000ffffUL;		/* ring 0 code, 64 bits */
	gdt[2] = 0x00cf93000000ffffUL;		/* ring 0 data */
	gdt[3] = 0x00cff3000000ffffUL;		/* ring 3 data */
	gdt[4] = 0x00affb000000ffffUL;		/* ring 3 code, 64 bits */
	for (i = 0; i < GUEST_MAX_VCPUS; i++) {
		uint64_t base = GUEST_TSS + i * PAGE_SIZE;
		uint64_t rsp0 = GUEST_STACK + i * GUEST_STACK_SIZE +
				GUEST_STACK_SIZE * 3 / 4;

		gdt[5 + 2 * i] = 0x67 | (base & 0xffffff) << 16 |
				 0x8bUL << 40 | (base >> 24) << 56;
		gdt[6 + 2 * i] = base >> 32;
		/* RSP0, for exceptions in ring 3; not 8-byte aligned. */
		memcpy((char *)vmm_gpa(vm, base) + 4, &rsp0, 8);
	}
	for (i = 0; i < 256; i++) {
		uint64_t entry = (uint64_t)guest_vectors + i * 16;
		/* Ring 3 may use breakpoint, overflow and the way out. */
		uint64_t dpl = i == 3 || i == 4 || i == GUEST_VEC_USER_EXIT;

		idt[2 * i] = (entry & 0xffff) | GUEST_KERNEL_CS << 16 |
			     (0x8eUL | dpl * 0x60) << 40 |
			     (entry >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = entry >> 32;
	}
}

static void set_segment(struct kvm_segment *seg, uint16_t selector,
			uint8_t type, bool code)
{
	memset(seg, 0, sizeof(*seg));
	seg->limit = 0xffffffff;
	seg->selector = selector;
	seg->type = type;
	seg->present = 1;
	seg->dpl = selector & 3;
	seg->db = !code;
	seg->s = 1;
	seg->l = code;
	seg->g = 1;
}

static bool set_cpuid(struct vmm_vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid;
	bool nx = false;
	unsigned int i;

	cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	KTAP_ASSERT(cpuid);
	cpuid->nent = 256;
	KTAP_OK(ioctl(vcpu->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) |
				 (uint32_t)vcpu->id << 24;
		/* KVM has it with its LAPIC, and leaves it to the VMM. */
		if (e->function == 1 && vcpu->vm->flags & VMM_F_IRQCHIP)
			e->ecx |= 1 << 24;
		if (e->function == 0xb || e->function == 0x1f)
			e->edx = vcpu->id;
		if (e->function == 0x80000001)
			nx = e->edx & (1 << 20);
	}
	KTAP_OK(ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid));
	free(cpuid);
	return nx;
}

static void vcpu_create(struct vmm *vm, int id, int run_size)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	struct kvm_sregs sregs;
	pthread_condattr_t attr;
	bool nx;

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = KTAP_OK(ioctl(vm->fd, KVM_CREATE_VCPU, id));
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	KTAP_ASSERT(vcpu->run != MAP_FAILED);
	pthread_mutex_init(&vcpu->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vcpu->cond, &attr);

	vcpu->cpu = vmm_gpa(vm, GUEST_CPU + id * PAGE_SIZE);
	vcpu->cpu->self = (void *)(GUEST_CPU + id * PAGE_SIZE);
	vcpu->cpu->id = id;

	nx = set_cpuid(vcpu);
	if (vm->flags & VMM_F_IRQCHIP && id) {
		/* There is no bootstrap processor that would wake it. */
		struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };

		KTAP_OK(ioctl(vcpu->fd, KVM_SET_MP_STATE, &mp));
	}

	KTAP_OK(ioctl(vcpu->fd, KVM_GET_SREGS, &sregs));
	set_segment(&sregs.cs, GUEST_KERNEL_CS, 11, true);
	set_segment(&sregs.ds, GUEST_KERNEL_DS, 3, false);
	set_segment(&sregs.es, GUEST_KERNEL_DS, 3, false);
	set_segment(&sregs.ss, GUEST_KERNEL_DS, 3, false);
	set_segment(&sregs.fs, GUEST_USER_DS, 3, false);
	/* A ring 3 selector: the way back from ring 3 does not clear it. */
	set_segment(&sregs.gs, GUEST_USER_DS, 3, false);
	sregs.gs.base = (uint64_t)vcpu->cpu->self;
	memset(&sregs.tr, 0, sizeof(sregs.tr));
	sregs.tr.base = GUEST_TSS + id * PAGE_SIZE;
	sregs.tr.limit = 0x67;
	sregs.tr.selector = GUEST_TSS_SEL + 16 * id;
	sregs.tr.type = 11;
	sregs.tr.present = 1;
	memset(&sregs.ldt, 0, sizeof(sregs.ldt));
	sregs.ldt.unusable = 1;
	sregs.ldt.type = 2;
	sregs.gdt.base = GUEST_GDT;
	sregs.gdt.limit = (5 + 2 * GUEST_MAX_VCPUS) * 8 - 1;
	sregs.idt.base = GUEST_IDT;
	sregs.idt.limit = 256 * 16 - 1;
	sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	sregs.efer = EFER_SCE | EFER_LME | EFER_LMA | (nx ? EFER_NX : 0);
	KTAP_OK(ioctl(vcpu->fd, KVM_SET_SREGS, &sregs));
}

struct vmm *vmm_create(int nr_vcpus, unsigned int flags)
{
	struct sigaction act = { .sa_handler = kick_handler };
	struct vmm *vm = calloc(1, sizeof(*vm));
	int run_size, i;

	KTAP_ASSERT(vm && nr_vcpus >= 1 && nr_vcpus <= GUEST_MAX_VCPUS);
	vm->nr_vcpus = nr_vcpus;
	vm->flags = flags;
	vm->heap = GUEST_HEAP;
	vm->kvm = KTAP_OK(open("/dev/kvm", O_RDWR | O_CLOEXEC));
	vm->fd = KTAP_OK(ioctl(vm->kvm, KVM_CREATE_VM, 0));
	if (flags & VMM_F_DIRTY_RING) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_DIRTY_LOG_RING,
			.args[0] = VMM_DIRTY_RING,
		};

		KTAP_OK(ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	}
	KTAP_OK(ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR));
	if (flags & VMM_F_IRQCHIP)
		KTAP_OK(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0));
	run_size = KTAP_OK(ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));

	vmm_slot_add(vm, 0, 0, GUEST_RAM, flags & VMM_F_DIRTY_LOG ?
		     KVM_MEM_LOG_DIRTY_PAGES : 0);
	load_image(vm);
	make_page_tables(vm);
	make_descriptors(vm);

	sigaction(SIGUSR1, &act, NULL);
	for (i = 0; i < nr_vcpus; i++)
		vcpu_create(vm, i, run_size);
	return vm;
}

void vmm_vcpu_add(struct vmm *vm)
{
	KTAP_ASSERT(vm->nr_vcpus < GUEST_MAX_VCPUS);
	vcpu_create(vm, vm->nr_vcpus++,
		    KTAP_OK(ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0)));
}

/* One stretch of running, on the vCPU's thread. */
static int vcpu_run(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int ret;

	for (;;) {
		if (atomic_load(&vcpu->stop))
			return VMM_STOPPED;
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
		/* Whatever was to be finished was finished on the way in. */
		vcpu->io_open = false;
		if (ret < 0) {
			if (errno != EINTR && errno != EAGAIN)
				KTAP_FAIL("KVM_RUN of vCPU %d: %s", vcpu->id,
					  ktap_errname(errno));
			run->immediate_exit = 0;
			vcpu->nr_eintr++;
			continue;
		}
		switch (run->exit_reason) {
		case KVM_EXIT_INTR:
			continue;
		case KVM_EXIT_IO:
			vcpu->io_open = true;
			if (run->io.port == GUEST_UCALL_PORT &&
			    run->io.direction == KVM_EXIT_IO_OUT)
				return VMM_UCALL;
			return KVM_EXIT_IO;
		case KVM_EXIT_MMIO:
			vcpu->io_open = true;
			return KVM_EXIT_MMIO;
		default:
			return run->exit_reason;
		}
	}
}

static void *vcpu_thread(void *arg)
{
	struct vmm_vcpu *vcpu = arg;
	int why;

	this_vcpu = vcpu;
	pthread_mutex_lock(&vcpu->lock);
	vcpu->tid = syscall(SYS_gettid);
	for (;;) {
		while (!vcpu->running && !vcpu->quit)
			pthread_cond_wait(&vcpu->cond, &vcpu->lock);
		if (vcpu->quit)
			break;
		pthread_mutex_unlock(&vcpu->lock);
		why = vcpu_run(vcpu);
		pthread_mutex_lock(&vcpu->lock);
		vcpu->exit = why;
		vcpu->running = false;
		pthread_cond_broadcast(&vcpu->cond);
	}
	pthread_mutex_unlock(&vcpu->lock);
	return NULL;
}

void vmm_vcpu_start(struct vmm *vm, int id)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	int ret;

	pthread_mutex_lock(&vcpu->lock);
	KTAP_ASSERT(!vcpu->running);
	vcpu->running = true;
	if (!vcpu->has_thread) {
		ret = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
		KTAP_ASSERT(!ret, "pthread_create: %s", strerror(ret));
		vcpu->has_thread = true;
	}
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->lock);
}

int vmm_vcpu_wait(struct vmm *vm, int id, int timeout_ms)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	struct timespec until;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->running && ret != ETIMEDOUT) {
		if (timeout_ms < 0)
			ret = pthread_cond_wait(&vcpu->cond, &vcpu->lock);
		else
			ret = pthread_cond_timedwait(&vcpu->cond, &vcpu->lock,
						     &until);
	}
	ret = vcpu->running ? -1 : vcpu->exit;
	pthread_mutex_unlock(&vcpu->lock);
	return ret;
}

bool vmm_vcpu_running(struct vmm *vm, int id)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	bool running;

	pthread_mutex_lock(&vcpu->lock);
	running = vcpu->running;
	pthread_mutex_unlock(&vcpu->lock);
	return running;
}

void vmm_vcpu_signal(struct vmm *vm, int id)
{
	if (vm->vcpu[id].has_thread)
		pthread_kill(vm->vcpu[id].thread, SIGUSR1);
}

int vmm_vcpu_stop(struct vmm *vm, int id)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	int why;

	atomic_store(&vcpu->stop, true);
	vmm_vcpu_signal(vm, id);
	why = vmm_vcpu_wait(vm, id, -1);
	atomic_store(&vcpu->stop, false);
	/* The signal may have come too late to end anything. */
	vcpu->run->immediate_exit = 0;
	return why;
}

int vmm_vcpu_run(struct vmm *vm, int id)
{
	vmm_vcpu_start(vm, id);
	return vmm_vcpu_wait(vm, id, -1);
}

static const char *exit_name(int exit)
{
#define NAME(x) case x: return #x
	switch (exit) {
	NAME(KVM_EXIT_UNKNOWN);
	NAME(KVM_EXIT_EXCEPTION);
	NAME(KVM_EXIT_IO);
	NAME(KVM_EXIT_HYPERCALL);
	NAME(KVM_EXIT_DEBUG);
	NAME(KVM_EXIT_HLT);
	NAME(KVM_EXIT_MMIO);
	NAME(KVM_EXIT_IRQ_WINDOW_OPEN);
	NAME(KVM_EXIT_SHUTDOWN);
	NAME(KVM_EXIT_FAIL_ENTRY);
	NAME(KVM_EXIT_INTR);
	NAME(KVM_EXIT_INTERNAL_ERROR);
	NAME(KVM_EXIT_SYSTEM_EVENT);
	NAME(VMM_UCALL);
	NAME(VMM_STOPPED);
	default:
		return "unknown exit";
	}
#undef NAME
}

/* A string of the program's, as the guest names it. */
static const char *guest_string(uint64_t gva)
{
	if (gva < 0x400000 || gva >= GUEST_HEAP)
		return "?";
	return (const char *)gva;
}

const char *vmm_vcpu_why(struct vmm *vm, int id)
{
	static __thread char buf[512];
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	const struct guest_cpu *cpu = vcpu->cpu;
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;
	size_t n;

	n = snprintf(buf, sizeof(buf), "vCPU %d: %s", id,
		     exit_name(vcpu->exit));
	if (vcpu->exit != VMM_UCALL) {
		if (vcpu->exit == KVM_EXIT_MMIO)
			n += snprintf(buf + n, sizeof(buf) - n, " %s %#llx+%u",
				      run->mmio.is_write ? "write" : "read",
				      run->mmio.phys_addr, run->mmio.len);
		else if (vcpu->exit == KVM_EXIT_IO)
			n += snprintf(buf + n, sizeof(buf) - n, " %s %#x",
				      run->io.direction ? "out" : "in",
				      run->io.port);
		else if (vcpu->exit == KVM_EXIT_FAIL_ENTRY)
			n += snprintf(buf + n, sizeof(buf) - n, " %#llx",
				      run->fail_entry.hardware_entry_failure_reason);
		else if (vcpu->exit == KVM_EXIT_INTERNAL_ERROR)
			n += snprintf(buf + n, sizeof(buf) - n,
				      " %u %#llx %#llx", run->internal.suberror,
				      run->internal.data[0],
				      run->internal.data[1]);
		if (!ioctl(vcpu->fd, KVM_GET_REGS, &regs))
			snprintf(buf + n, sizeof(buf) - n,
				 " at rip %#llx rsp %#llx rflags %#llx",
				 regs.rip, regs.rsp, regs.rflags);
		return buf;
	}
	switch (cpu->uc.cmd) {
	case GUEST_DONE:
		snprintf(buf + n, sizeof(buf) - n, " DONE %#lx",
			 cpu->uc.args[0]);
		break;
	case GUEST_SYNC:
		snprintf(buf + n, sizeof(buf) - n, " SYNC %#lx %#lx %#lx",
			 cpu->uc.args[0], cpu->uc.args[1], cpu->uc.args[2]);
		break;
	case GUEST_FAIL:
		snprintf(buf + n, sizeof(buf) - n,
			 ": the guest at %s:%lu: %s: %#lx, %#lx",
			 guest_string(cpu->uc.args[0]), cpu->uc.args[1],
			 guest_string(cpu->uc.args[2]), cpu->uc.args[3],
			 cpu->uc.args[4]);
		break;
	case GUEST_EXC:
		snprintf(buf + n, sizeof(buf) - n,
			 ": exception %lu error %#lx at %#lx rsp %#lx cr2 %#lx",
			 cpu->last.vector, cpu->last.error, cpu->last.rip,
			 cpu->last.rsp, cpu->last.cr2);
		break;
	default:
		snprintf(buf + n, sizeof(buf) - n, " %#lx", cpu->uc.cmd);
		break;
	}
	return buf;
}

int vmm_vcpu_wait_ucall(struct vmm *vm, int id, int timeout_ms)
{
	struct guest_cpu *cpu = vm->vcpu[id].cpu;
	int why = vmm_vcpu_wait(vm, id, timeout_ms);

	KTAP_ASSERT(why >= 0, "vCPU %d did not call within %d ms", id,
		    timeout_ms);
	if (why != VMM_UCALL ||
	    (cpu->uc.cmd != GUEST_SYNC && cpu->uc.cmd != GUEST_DONE))
		KTAP_FAIL("%s", vmm_vcpu_why(vm, id));
	return cpu->uc.cmd;
}

int vmm_vcpu_run_ucall(struct vmm *vm, int id)
{
	vmm_vcpu_start(vm, id);
	return vmm_vcpu_wait_ucall(vm, id, -1);
}

uint64_t vmm_vcpu_wait_done(struct vmm *vm, int id, int timeout_ms)
{
	if (vmm_vcpu_wait_ucall(vm, id, timeout_ms) != GUEST_DONE)
		KTAP_FAIL("%s", vmm_vcpu_why(vm, id));
	return vm->vcpu[id].cpu->uc.args[0];
}

uint64_t vmm_vcpu_run_done(struct vmm *vm, int id)
{
	vmm_vcpu_start(vm, id);
	return vmm_vcpu_wait_done(vm, id, -1);
}

void vmm_start_all(struct vmm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_start(vm, i);
}

void vmm_stop_all(struct vmm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		vmm_vcpu_stop(vm, i);
}

/*
 * KVM finishes an I/O instruction at the next KVM_RUN; until then the
 * registers are those in the middle of it.
 */
static void finish_io(struct vmm_vcpu *vcpu)
{
	KTAP_ASSERT(!vcpu->running, "vCPU %d is running", vcpu->id);
	if (!vcpu->io_open)
		return;
	vcpu->run->immediate_exit = 1;
	KTAP_ERR(ioctl(vcpu->fd, KVM_RUN, 0), EINTR);
	vcpu->run->immediate_exit = 0;
	vcpu->io_open = false;
}

void vmm_vcpu_get_regs(struct vmm *vm, int id, struct kvm_regs *regs)
{
	finish_io(&vm->vcpu[id]);
	KTAP_OK(ioctl(vm->vcpu[id].fd, KVM_GET_REGS, regs));
}

void vmm_vcpu_set_regs(struct vmm *vm, int id, const struct kvm_regs *regs)
{
	finish_io(&vm->vcpu[id]);
	KTAP_OK(ioctl(vm->vcpu[id].fd, KVM_SET_REGS, regs));
}

void vmm_vcpu_get_sregs(struct vmm *vm, int id, struct kvm_sregs *sregs)
{
	finish_io(&vm->vcpu[id]);
	KTAP_OK(ioctl(vm->vcpu[id].fd, KVM_GET_SREGS, sregs));
}

void vmm_vcpu_set_sregs(struct vmm *vm, int id, const struct kvm_sregs *sregs)
{
	finish_io(&vm->vcpu[id]);
	KTAP_OK(ioctl(vm->vcpu[id].fd, KVM_SET_SREGS, sregs));
}

void vmm_vcpu_reset(struct vmm *vm, int id)
{
	struct kvm_regs regs = { .rip = 0xfff0, .rflags = 2 };
	struct kvm_sregs sregs;

	vmm_vcpu_get_sregs(vm, id, &sregs);
	sregs.cr0 = 0x60000010;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	memset(&sregs.cs, 0, sizeof(sregs.cs));
	sregs.cs.base = 0xffff0000;
	sregs.cs.selector = 0xf000;
	sregs.cs.limit = 0xffff;
	sregs.cs.type = 11;
	sregs.cs.s = 1;
	sregs.cs.present = 1;
	vmm_vcpu_set_sregs(vm, id, &sregs);
	vmm_vcpu_set_regs(vm, id, &regs);
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

uint64_t vmm_vcpu_get_msr(struct vmm *vm, int id, uint32_t msr)
{
	struct one_msr m = { { .nmsrs = 1 }, { .index = msr } };

	KTAP_EQ(ioctl(vm->vcpu[id].fd, KVM_GET_MSRS, &m), 1);
	return m.entry.data;
}

void vmm_vcpu_set_msr(struct vmm *vm, int id, uint32_t msr, uint64_t val)
{
	struct one_msr m = {
		{ .nmsrs = 1 }, { .index = msr, .data = val }
	};

	KTAP_EQ(ioctl(vm->vcpu[id].fd, KVM_SET_MSRS, &m), 1);
}

static void save_bytes(FILE *f, const char *name, const void *data, size_t size)
{
	const unsigned char *p = data;
	size_t i;

	fprintf(f, "%s", name);
	for (i = 0; i < size; i++)
		fprintf(f, "%s%02x", i % 8 ? "" : " ", p[i]);
	fputc('\n', f);
}

#define SAVE(f, vcpu, cmd, type)					\
	do {								\
		type __s = { };						\
									\
		KTAP_OK(ioctl((vcpu)->fd, cmd, &__s));			\
		save_bytes(f, #type, &__s, sizeof(__s));		\
	} while (0)

#define MSR_IA32_TSC		0x10
#define MSR_IA32_TSC_ADJUST	0x3b

static void save_msrs(FILE *f, struct vmm_vcpu *vcpu)
{
	struct kvm_msr_list *list;
	struct one_msr m;
	unsigned int i;

	list = calloc(1, sizeof(*list) + 1024 * sizeof(list->indices[0]));
	KTAP_ASSERT(list);
	list->nmsrs = 1024;
	KTAP_OK(ioctl(vcpu->vm->kvm, KVM_GET_MSR_INDEX_LIST, list));
	for (i = 0; i < list->nmsrs; i++) {
		m = (struct one_msr){
			{ .nmsrs = 1 }, { .index = list->indices[i] }
		};
		/* Counting ones differ from moment to moment. */
		if (m.entry.index == MSR_IA32_TSC ||
		    m.entry.index == MSR_IA32_TSC_ADJUST ||
		    (m.entry.index >= 0x40000000 && m.entry.index < 0x50000000))
			continue;
		if (ioctl(vcpu->fd, KVM_GET_MSRS, &m) == 1)
			fprintf(f, "msr %#x %#llx\n", m.entry.index,
				m.entry.data);
	}
	free(list);
}

char *vmm_vcpu_save(struct vmm *vm, int id)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[id];
	char *text = NULL;
	size_t size;
	FILE *f;

	finish_io(vcpu);
	f = open_memstream(&text, &size);
	KTAP_ASSERT(f);
	SAVE(f, vcpu, KVM_GET_REGS, struct kvm_regs);
	SAVE(f, vcpu, KVM_GET_SREGS, struct kvm_sregs);
	SAVE(f, vcpu, KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events);
	SAVE(f, vcpu, KVM_GET_DEBUGREGS, struct kvm_debugregs);
	SAVE(f, vcpu, KVM_GET_MP_STATE, struct kvm_mp_state);
	SAVE(f, vcpu, KVM_GET_FPU, struct kvm_fpu);
	save_msrs(f, vcpu);
	fclose(f);
	return text;
}

void vmm_vcpu_set_entry(struct vmm *vm, int id, const void *fn,
			uint64_t a0, uint64_t a1, uint64_t a2)
{
	uint64_t stack = GUEST_STACK + id * GUEST_STACK_SIZE +
			 GUEST_STACK_SIZE / 2;
	uint64_t ret = (uint64_t)guest_entry_return;
	struct kvm_regs regs = {
		.rip = (uint64_t)fn,
		.rsp = stack - 8,
		.rdi = a0,
		.rsi = a1,
		.rdx = a2,
		/*
		 * Nobody interrupts this guest. But Bochs (VMX) delivers none
		 * to the host either while a guest has them off.
		 */
		.rflags = 0x202,
	};

	memcpy(vmm_gpa(vm, regs.rsp), &ret, 8);
	vmm_vcpu_set_regs(vm, id, &regs);
}

void vmm_destroy(struct vmm *vm)
{
	long run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		struct vmm_vcpu *vcpu = &vm->vcpu[i];

		if (vcpu->has_thread) {
			vmm_vcpu_stop(vm, i);
			pthread_mutex_lock(&vcpu->lock);
			vcpu->quit = true;
			pthread_cond_broadcast(&vcpu->cond);
			pthread_mutex_unlock(&vcpu->lock);
			pthread_join(vcpu->thread, NULL);
		}
		munmap(vcpu->run, run_size);
		close(vcpu->fd);
	}
	close(vm->fd);
	close(vm->kvm);
	for (i = 0; i < VMM_MAX_SLOTS; i++)
		if (vm->slot[i].mem)
			munmap(vm->slot[i].mem, vm->slot[i].size);
	free(vm);
}

void vmm_worker_start(struct vmm *vm, uint64_t ops)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		uint64_t mem = vmm_alloc_pages(vm, GUEST_WORK_PAGES);

		vm->vcpu[i].cpu->work_count = 0;
		vmm_vcpu_set_entry(vm, i, guest_worker, ops, mem, 0);
		vmm_vcpu_start(vm, i);
	}
}

static uint64_t work_count(struct vmm *vm, int id)
{
	return __atomic_load_n(&vm->vcpu[id].cpu->work_count, __ATOMIC_ACQUIRE);
}

void vmm_worker_check(struct vmm *vm, uint64_t rounds)
{
	uint64_t from[GUEST_MAX_VCPUS];
	int i, ms;

	for (i = 0; i < vm->nr_vcpus; i++)
		from[i] = work_count(vm, i);
	for (i = 0; i < vm->nr_vcpus; i++) {
		for (ms = 0; work_count(vm, i) - from[i] < rounds; ms++) {
			if (!vmm_vcpu_running(vm, i))
				KTAP_FAIL("%s", vmm_vcpu_why(vm, i));
			if (ms >= 20000)
				KTAP_FAIL("vCPU %d stands still after %lu rounds",
					  i, work_count(vm, i));
			usleep(1000);
		}
	}
}

void vmm_worker_stop(struct vmm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++)
		if (vmm_vcpu_stop(vm, i) != VMM_STOPPED)
			KTAP_FAIL("%s", vmm_vcpu_why(vm, i));
}
