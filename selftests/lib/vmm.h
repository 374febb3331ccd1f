/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tiny VMM by raw KVM ioctls, the same under every emulator: no device, no
 * firmware, one guest program (see guest.h), each vCPU on a thread of its own.
 *
 * Functions end the case (ktap_fail()) where they cannot do what they say.
 */
#ifndef SELFTESTS_VMM_H
#define SELFTESTS_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest.h"
#include "ktap.h"

#define VMM_MAX_SLOTS	32

/* vmm_create() flags */
#define VMM_F_IRQCHIP	1	/* the in-kernel interrupt controllers */
#define VMM_F_DIRTY_LOG	2	/* dirty logging of slot 0 from the start */
#define VMM_F_DIRTY_RING 4	/* by rings, of VMM_DIRTY_RING bytes */

/* Why a vCPU stopped: a KVM_EXIT_ code, or one of these. */
#define VMM_UCALL	0x1000	/* the guest called, see vcpu->cpu->uc */
#define VMM_STOPPED	0x1001	/* vmm_vcpu_stop() */

#define VMM_DIRTY_RING	0x10000

struct vmm;

struct vmm_slot {
	uint64_t gpa;
	uint64_t size;
	uint32_t flags;
	void *mem;		/* NULL: not in use */
};

struct vmm_vcpu {
	struct vmm *vm;
	int id;
	int fd;
	struct kvm_run *run;
	struct guest_cpu *cpu;	/* the guest's per-vCPU page */

	pthread_t thread;
	bool has_thread;
	pid_t tid;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool running;		/* between start and the end of the wait */
	bool quit;
	atomic_bool stop;
	bool io_open;		/* an I/O exit that KVM has not finished */
	int exit;		/* why it stopped */
	uint64_t nr_eintr;	/* KVM_RUN calls that a signal ended */
};

struct vmm {
	int kvm;
	int fd;
	int nr_vcpus;
	unsigned int flags;
	uint64_t heap;		/* next free page of vmm_alloc_pages() */
	struct vmm_slot slot[VMM_MAX_SLOTS];
	struct vmm_vcpu vcpu[GUEST_MAX_VCPUS];
};

struct vmm *vmm_create(int nr_vcpus, unsigned int flags);
/* One vCPU more. */
void vmm_vcpu_add(struct vmm *vm);
/* Stops the vCPUs, closes all descriptors, unmaps all memory. */
void vmm_destroy(struct vmm *vm);

/* Memory. Slot 0, GUEST_RAM bytes at 0, is there from the start. */
void *vmm_slot_add(struct vmm *vm, int slot, uint64_t gpa, uint64_t size,
		   uint32_t flags);
void vmm_slot_set_flags(struct vmm *vm, int slot, uint32_t flags);
void vmm_slot_move(struct vmm *vm, int slot, uint64_t gpa);
void vmm_slot_delete(struct vmm *vm, int slot);
/* One bit per page of the slot; the caller frees it. */
uint64_t *vmm_slot_dirty_log(struct vmm *vm, int slot);
/* Pages of slot 0 that nothing else uses; zeroed. */
uint64_t vmm_alloc_pages(struct vmm *vm, unsigned int nr);
/* The host's address of guest memory. */
void *vmm_gpa(struct vmm *vm, uint64_t gpa);
/* The guest's copy of a static variable of the test. */
#define vmm_guest_ptr(vm, var)						\
	((__typeof__(var) *)vmm_gpa(vm, (uint64_t)&(var)))
/* The PTE that maps @gva, inside the 4 KiB window. */
uint64_t *vmm_pte(struct vmm *vm, uint64_t gva);
/*
 * Before the guest runs: no such window but in the first 2 MiB; the program is
 * mapped by 2 MiB pages, as kernels map their text.
 */
void vmm_use_large_pages(struct vmm *vm);

/* vCPUs: where to start; the function may have up to three arguments. */
void vmm_vcpu_set_entry(struct vmm *vm, int vcpu, const void *fn,
			uint64_t a0, uint64_t a1, uint64_t a2);
/*
 * Lets a vCPU run on its thread; @vmm_vcpu_wait says why it stopped, or
 * -1 when it has not after @timeout_ms (negative: wait as long as it takes).
 */
void vmm_vcpu_start(struct vmm *vm, int vcpu);
int vmm_vcpu_wait(struct vmm *vm, int vcpu, int timeout_ms);
/* Takes a running vCPU out of KVM_RUN; says why it stopped. */
int vmm_vcpu_stop(struct vmm *vm, int vcpu);
bool vmm_vcpu_running(struct vmm *vm, int vcpu);
/* A signal at any time; the vCPU goes on. */
void vmm_vcpu_signal(struct vmm *vm, int vcpu);
/* Start and wait. */
int vmm_vcpu_run(struct vmm *vm, int vcpu);
/* The same, where only a GUEST_SYNC or GUEST_DONE will do: which. */
int vmm_vcpu_run_ucall(struct vmm *vm, int vcpu);
/* The same for a vCPU that was started. */
int vmm_vcpu_wait_ucall(struct vmm *vm, int vcpu, int timeout_ms);
/* Runs to the entry function's end: what it returned. */
uint64_t vmm_vcpu_run_done(struct vmm *vm, int vcpu);
uint64_t vmm_vcpu_wait_done(struct vmm *vm, int vcpu, int timeout_ms);
/* All of them. */
void vmm_start_all(struct vmm *vm);
void vmm_stop_all(struct vmm *vm);

/* State; the vCPU must be stopped. */
void vmm_vcpu_get_regs(struct vmm *vm, int vcpu, struct kvm_regs *regs);
void vmm_vcpu_set_regs(struct vmm *vm, int vcpu, const struct kvm_regs *regs);
void vmm_vcpu_get_sregs(struct vmm *vm, int vcpu, struct kvm_sregs *sregs);
void vmm_vcpu_set_sregs(struct vmm *vm, int vcpu,
			const struct kvm_sregs *sregs);
/* What a VMM sets when the CPU is reset: the next instruction is at 0xfffffff0. */
void vmm_vcpu_reset(struct vmm *vm, int vcpu);
uint64_t vmm_vcpu_get_msr(struct vmm *vm, int vcpu, uint32_t msr);
void vmm_vcpu_set_msr(struct vmm *vm, int vcpu, uint32_t msr, uint64_t val);
/*
 * Everything that a VMM saves of a vCPU: two texts are equal if the states
 * are. The time stamp counter is left out. The caller frees it.
 */
char *vmm_vcpu_save(struct vmm *vm, int vcpu);
/* "ucall SYNC", "KVM_EXIT_MMIO 0x… …": for messages. */
const char *vmm_vcpu_why(struct vmm *vm, int vcpu);

/* All vCPUs run guest_worker(@ops); see there. */
void vmm_worker_start(struct vmm *vm, uint64_t ops);
/* Every worker is still at it, and comes @rounds further within 20 s. */
void vmm_worker_check(struct vmm *vm, uint64_t rounds);
void vmm_worker_stop(struct vmm *vm);

#endif
