// SPDX-License-Identifier: GPL-2.0-only
/* Guest-physical memory and the memory map, from outside. */
#include <semaphore.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE	4096UL

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = i * 7 + (i >> 8) + seed;
}

KTAP_CASE(info_and_slots, "S1")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_slot slots[4];
	struct kvmi_info info;
	uint64_t generation;

	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(info.out_nr_vcpus, 2);
	KTAP_EQ(info.out_pid, getpid());
	KTAP_EQ(info.out_max_gfn, GUEST_RAM / PAGE - 1);
	KTAP_EQ(info.out_memory, GUEST_RAM);
	KTAP_EQ(info.out_nr_slots, 1);
	KTAP_EQ(info.out_nr_views, 0);
	KTAP_ASSERT(info.out_tsc_khz > 1000);
	KTAP_ASSERT(info.out_attach_ns > 0);
	generation = info.out_generation;

	vmm_slot_add(vm, 1, 0x10000000, 16 * PAGE, KVM_MEM_READONLY);
	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(info.out_nr_slots, 2);
	KTAP_EQ(info.out_memory, GUEST_RAM + 16 * PAGE);
	KTAP_EQ(info.out_max_gfn, 0x10000000 / PAGE + 15);
	KTAP_NE(info.out_generation, generation);

	KTAP_EQ(kvmi_vm_get_slots(kv, slots, 4), 2);
	KTAP_EQ(slots[0].gfn, 0);
	KTAP_EQ(slots[0].nr_pages, GUEST_RAM / PAGE);
	KTAP_EQ(slots[0].flags, 0);
	KTAP_EQ(slots[1].gfn, 0x10000000 / PAGE);
	KTAP_EQ(slots[1].nr_pages, 16);
	KTAP_EQ(slots[1].id, 1);
	KTAP_EQ(slots[1].flags, KVMI_SLOT_READONLY);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A VMM that makes its VM in a thread of its own is named by its process. */
static sem_t made, seen;

static void *make_vm(void *arg)
{
	*(struct vmm **)arg = vmm_create(1, 0);
	sem_post(&made);
	sem_wait(&seen);
	return NULL;
}

static __guest uint64_t nothing(void)
{
	return 1;
}

KTAP_CASE(made_by_a_thread, "S1")
{
	struct kvmi_info info;
	struct vmm *vm = NULL;
	pthread_t thread;
	struct kvmi_vm *kv;

	KTAP_EQ(pthread_create(&thread, NULL, make_vm, &vm), 0);
	sem_wait(&made);
	kv = tool_attach(vm);
	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(info.out_pid, getpid());
	sem_post(&seen);
	pthread_join(thread, NULL);

	/* That thread is gone. */
	vmm_vcpu_set_entry(vm, 0, nothing, 0, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 1);
	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(info.out_pid, getpid());
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(read_and_write_across_pages, "S3")
{
	static const struct { uint64_t offset, len; } t[] = {
		{ 0, 1 }, { 0, PAGE }, { 1, PAGE }, { PAGE - 1, 2 },
		{ 5, 8 * PAGE - 10 }, { 0, 8 * PAGE }, { 100, 0 },
	};
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8);
	uint8_t *mem = vmm_gpa(vm, gpa);
	uint8_t *want = malloc(8 * PAGE);
	uint8_t *buf = malloc(8 * PAGE);
	unsigned int i;

	fill(mem, 8 * PAGE, 1);
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		memset(buf, 0, 8 * PAGE);
		KTAP_EQ(kvmi_vm_read(kv, gpa + t[i].offset, buf, t[i].len),
			t[i].len);
		KTAP_ASSERT(!memcmp(buf, mem + t[i].offset, t[i].len));

		memcpy(want, mem, 8 * PAGE);
		fill(buf, 8 * PAGE, 50 + i);
		memcpy(want + t[i].offset, buf, t[i].len);
		KTAP_EQ(kvmi_vm_write(kv, gpa + t[i].offset, buf, t[i].len),
			t[i].len);
		KTAP_ASSERT(!memcmp(want, mem, 8 * PAGE));
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Across the border of two slots that meet, and off the end of memory. */
KTAP_CASE(across_slots_and_off_the_end, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_phys phys = { .size = sizeof(phys) };
	uint8_t buf[2 * PAGE], out[2 * PAGE];
	uint8_t *mem;

	mem = vmm_slot_add(vm, 1, GUEST_RAM, 4 * PAGE, 0);
	fill(out, sizeof(out), 3);
	KTAP_EQ(kvmi_vm_write(kv, GUEST_RAM - PAGE, out, sizeof(out)),
		sizeof(out));
	KTAP_ASSERT(!memcmp(mem, out + PAGE, PAGE));
	KTAP_EQ(kvmi_vm_read(kv, GUEST_RAM - PAGE, buf, sizeof(buf)),
		sizeof(buf));
	KTAP_ASSERT(!memcmp(buf, out, sizeof(buf)));

	phys.gpa = GUEST_RAM + 3 * PAGE;
	phys.len = sizeof(buf);
	phys.buf = (uint64_t)buf;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_READ_PHYS, &phys), ENXIO);
	KTAP_EQ(phys.out_done, PAGE);
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_WRITE_PHYS, &phys), ENXIO);
	KTAP_EQ(phys.out_done, PAGE);
	phys.gpa = ~0ULL - PAGE;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_READ_PHYS, &phys), EINVAL);
	phys.gpa = 0;
	phys.buf = 16;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_READ_PHYS, &phys), EFAULT);
	KTAP_EQ(phys.out_done, 0);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(read_only_slot, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_phys phys = {
		.size = sizeof(phys),
		.gpa = 0x10000000,
	};
	uint64_t val = 7;
	uint64_t *mem;

	mem = vmm_slot_add(vm, 1, 0x10000000, PAGE, KVM_MEM_READONLY);
	*mem = 42;
	phys.len = sizeof(val);
	phys.buf = (uint64_t)&val;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_WRITE_PHYS, &phys), EROFS);
	KTAP_EQ(*mem, 42);
	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_READ_PHYS, &phys));
	KTAP_EQ(val, 42);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* What the guest wrote is read, mapped by KVM or not; and the reverse. */
static __guest uint64_t guest_rw(uint64_t addr)
{
	uint64_t old = GUEST_READ(uint64_t, addr);

	GUEST_WRITE(uint64_t, addr, old + 1);
	return old;
}

KTAP_CASE_SMP(guest_and_tool_agree, "S3")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	uint64_t val = 1000;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(kvmi_vm_write(kv, gpa, &val, 8), 8);
		vmm_vcpu_set_entry(vm, i, guest_rw, gpa, 0, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, i), val);
		KTAP_EQ(kvmi_vm_read(kv, gpa, &val, 8), 8);
		KTAP_EQ(val, 1001 + i);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A migration must see what the tool writes. */
KTAP_CASE(writes_are_logged_dirty, "S3")
{
	struct vmm *vm = vmm_create(1, VMM_F_DIRTY_LOG);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 2);
	uint64_t *log;
	uint64_t gfn = gpa / PAGE;

	free(vmm_slot_dirty_log(vm, 0));
	log = vmm_slot_dirty_log(vm, 0);
	KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 0);
	free(log);

	KTAP_EQ(kvmi_vm_write(kv, gpa, "x", 1), 1);
	log = vmm_slot_dirty_log(vm, 0);
	KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 1);
	gfn++;
	KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 0);
	free(log);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Pages that the VMM has never touched, or has given back, read as zeroes. */
KTAP_CASE(untouched_and_ballooned, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t val = 5;
	uint64_t *mem;

	mem = vmm_slot_add(vm, 1, 0x10000000, 16 * PAGE, 0);
	KTAP_EQ(kvmi_vm_read(kv, 0x10000000, &val, 8), 8);
	KTAP_EQ(val, 0);
	*mem = 9;
	KTAP_EQ(kvmi_vm_read(kv, 0x10000000, &val, 8), 8);
	KTAP_EQ(val, 9);
	KTAP_OK(madvise(mem, 16 * PAGE, MADV_DONTNEED));
	KTAP_EQ(kvmi_vm_read(kv, 0x10000000, &val, 8), 8);
	KTAP_EQ(val, 0);

	vmm_slot_delete(vm, 1);
	KTAP_EQ(kvmi_vm_read(kv, 0x10000000, &val, 8), -ENXIO);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
