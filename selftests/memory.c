// SPDX-License-Identifier: GPL-2.0-only
/* Guest-physical memory and the memory map, from outside. */
#define _GNU_SOURCE
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

#define MANY	10000

/* 10,000 entries, one of them in a hole: the others are done all the same. */
KTAP_CASE(list_with_a_bad_entry, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_rw *list = calloc(MANY, sizeof(*list));
	uint64_t gpa = vmm_alloc_pages(vm, 20);
	uint64_t *val = calloc(MANY, sizeof(*val));
	uint64_t *mem = vmm_gpa(vm, gpa);
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		mem[i] = i * 3;
		list[i].addr = gpa + i * 8;
		list[i].buf = (uint64_t)&val[i];
		list[i].len = 8;
	}
	list[5000].addr = 0x10000000;
	KTAP_EQ(kvmi_vm_read_list(kv, list, MANY), 1);
	for (i = 0; i < MANY; i++) {
		KTAP_EQ(list[i].out_error, i == 5000 ? -ENXIO : 0);
		KTAP_EQ(list[i].out_done, i == 5000 ? 0 : 8);
		KTAP_EQ(val[i], i == 5000 ? 0 : i * 3);
		val[i] = ~(uint64_t)i;
	}
	KTAP_EQ(kvmi_vm_write_list(kv, list, MANY), 1);
	for (i = 0; i < MANY; i++) {
		KTAP_EQ(list[i].out_error, i == 5000 ? -ENXIO : 0);
		KTAP_EQ(mem[i], i == 5000 ? 5000 * 3 : ~(uint64_t)i);
	}
	free(list);
	free(val);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Each kind of entry, before and after the guest has touched the pages. */
static __guest uint64_t guest_touch(uint64_t addr, uint64_t pages)
{
	uint64_t i;

	for (i = 0; i < pages; i++)
		GUEST_WRITE(uint8_t, addr + i * 4096, i);
	return pages;
}

KTAP_CASE(list_entries_of_every_kind, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8);
	uint8_t *mem = vmm_gpa(vm, gpa);
	uint8_t *buf = malloc(16 * PAGE);
	uint8_t *ro, *next;
	unsigned int round, i;
	struct kvmi_rw_list arg;

	next = vmm_slot_add(vm, 1, GUEST_RAM, 2 * PAGE, 0);
	ro = vmm_slot_add(vm, 2, 0x10000000, PAGE, KVM_MEM_READONLY);
	for (round = 0; round < 2; round++) {
		struct kvmi_rw list[] = {
			/* across pages, nothing, across slots */
			{ gpa + 100, (uint64_t)buf, 5 * PAGE, 0, 9, 9 },
			{ gpa + 5, (uint64_t)buf, 0, 0, 9, 9 },
			{ GUEST_RAM - PAGE, (uint64_t)buf + 6 * PAGE,
			  2 * PAGE, 0, 9, 9 },
			/* off the end */
			{ GUEST_RAM + PAGE, (uint64_t)buf + 8 * PAGE,
			  2 * PAGE, 0, 9, 9 },
			{ gpa, 16, 8, 0, 9, 9 },
			{ gpa, -4096UL, 8, 0, 9, 9 },
			{ gpa, (uint64_t)buf, 8, 1, 9, 9 },
			{ ~0ULL - 4, (uint64_t)buf, 8, 0, 9, 9 },
			{ gpa, (uint64_t)buf, 0x40000001, 0, 9, 9 },
			{ 0x10000000, (uint64_t)buf + 9 * PAGE, 8, 0, 9, 9 },
		};
		static const int error[] = {
			0, 0, 0, -ENXIO, -EFAULT, -EFAULT, -EINVAL, -EINVAL,
			-EINVAL, 0,
		};
		static const uint32_t done[] = {
			5 * PAGE, 0, 2 * PAGE, PAGE, 0, 0, 0, 0, 0, 8,
		};

		fill(mem, 8 * PAGE, 1 + round);
		fill(next, 2 * PAGE, 2 + round);
		fill(ro, PAGE, 3 + round);
		KTAP_EQ(kvmi_vm_read_list(kv, list, 10), 6);
		for (i = 0; i < 10; i++) {
			KTAP_EQ(list[i].out_error, error[i]);
			KTAP_EQ(list[i].out_done, done[i]);
		}
		KTAP_ASSERT(!memcmp(buf, mem + 100, 5 * PAGE));
		KTAP_ASSERT(!memcmp(buf + 7 * PAGE, next, 2 * PAGE));
		KTAP_ASSERT(!memcmp(buf + 9 * PAGE, ro, 8));

		fill(buf, 16 * PAGE, 90 + round);
		KTAP_EQ(kvmi_vm_write_list(kv, list, 10), 7);
		KTAP_EQ(list[9].out_error, -EROFS);
		KTAP_EQ(list[3].out_done, PAGE);
		KTAP_ASSERT(!memcmp(buf, mem + 100, 5 * PAGE));
		KTAP_ASSERT(!memcmp(buf + 7 * PAGE, next, PAGE));
		KTAP_ASSERT(!memcmp(buf + 8 * PAGE, next + PAGE, PAGE));

		vmm_vcpu_set_entry(vm, 0, guest_touch, gpa, 8, 0);
		KTAP_EQ(vmm_vcpu_run_done(vm, 0), 8);
	}

	/* A list that is not there, and one that cannot be written to. */
	memset(&arg, 0, sizeof(arg));
	arg.size = sizeof(arg);
	arg.nr = 1;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &arg), EFAULT);
	arg.nr = 0;
	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &arg));
	arg.nr = 65537;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &arg), EINVAL);
	arg.nr = 0;
	arg.pad = 1;
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_RW_LIST, &arg), EINVAL);
	free(buf);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The tool's own pages need not be there yet. */
KTAP_CASE(list_into_absent_pages, "S3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8);
	uint8_t *mem = vmm_gpa(vm, gpa);
	struct kvmi_rw list[64];
	uint8_t *buf;
	int i;

	vmm_vcpu_set_entry(vm, 0, guest_touch, gpa, 8, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 8);
	fill(mem, 8 * PAGE, 11);
	buf = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	KTAP_ASSERT(buf != MAP_FAILED);
	memset(list, 0, sizeof(list));
	for (i = 0; i < 64; i++) {
		list[i].addr = gpa + i * 500;
		list[i].buf = (uint64_t)buf + i * PAGE + 4000;
		list[i].len = i & 1 ? 64 : 200;
	}
	/* The last one reaches past the end of the buffer. */
	KTAP_EQ(kvmi_vm_read_list(kv, list, 63), 0);
	for (i = 0; i < 63; i++)
		KTAP_ASSERT(!memcmp(buf + i * PAGE + 4000, mem + i * 500,
				    list[i].len));
	munmap(buf, 64 * PAGE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(list_writes_are_logged_dirty, "S3")
{
	struct vmm *vm = vmm_create(1, VMM_F_DIRTY_LOG);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 64);
	struct kvmi_rw list[20];
	uint64_t *log;
	uint64_t gfn;
	int i;

	memset(list, 0, sizeof(list));
	for (i = 0; i < 20; i++) {
		list[i].addr = gpa + i * 3 * PAGE - (i & 1);
		list[i].buf = (uint64_t)&gpa;
		list[i].len = 2;
	}
	free(vmm_slot_dirty_log(vm, 0));
	KTAP_EQ(kvmi_vm_read_list(kv, list, 20), 0);
	log = vmm_slot_dirty_log(vm, 0);
	for (gfn = gpa / PAGE; gfn < gpa / PAGE + 64; gfn++)
		KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1, 0);
	free(log);
	KTAP_EQ(kvmi_vm_write_list(kv, list, 20), 0);
	log = vmm_slot_dirty_log(vm, 0);
	for (i = 0; i < 60; i++) {
		gfn = gpa / PAGE + i;
		KTAP_EQ(log[gfn / 64] >> (gfn % 64) & 1,
			i % 3 == 0 || (i % 3 == 2 && i / 3 % 2 == 0 && i < 57));
	}
	free(log);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The descriptor is a file of guest memory, which any reader can read. */
KTAP_CASE(as_a_file, "S3")
{
	struct vmm *vm = vmm_create(1, VMM_F_DIRTY_LOG);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 8);
	uint8_t *mem = vmm_gpa(vm, gpa);
	void *volatile nowhere = (void *)16;
	uint8_t buf[4 * PAGE];
	int fd = kvmi_vm_fd(kv);
	uint64_t *log;
	uint8_t *high;

	high = vmm_slot_add(vm, 1, 0x100000000ULL, 4 * PAGE, 0);
	vmm_slot_add(vm, 2, 0x100000000ULL + 4 * PAGE, PAGE, KVM_MEM_READONLY);
	fill(mem, 8 * PAGE, 1);
	fill(high, 4 * PAGE, 2);
	KTAP_EQ(pread(fd, buf, 3 * PAGE, gpa + 100), 3 * PAGE);
	KTAP_ASSERT(!memcmp(buf, mem + 100, 3 * PAGE));
	KTAP_EQ(pread(fd, buf, sizeof(buf), 0x100000000ULL), sizeof(buf));
	KTAP_ASSERT(!memcmp(buf, high, sizeof(buf)));

	free(vmm_slot_dirty_log(vm, 0));
	fill(buf, sizeof(buf), 50);
	KTAP_EQ(pwrite(fd, buf, 2 * PAGE, gpa + PAGE - 5), 2 * PAGE);
	KTAP_ASSERT(!memcmp(buf, mem + PAGE - 5, 2 * PAGE));
	log = vmm_slot_dirty_log(vm, 0);
	KTAP_EQ(log[gpa / PAGE / 64] >> (gpa / PAGE % 64) & 15, 7);
	free(log);

	/* The position, and partial transfers at a hole and at the end. */
	KTAP_EQ(lseek(fd, GUEST_RAM - PAGE, SEEK_SET), GUEST_RAM - PAGE);
	KTAP_EQ(read(fd, buf, sizeof(buf)), PAGE);
	KTAP_EQ(lseek(fd, 0, SEEK_CUR), GUEST_RAM);
	KTAP_ERR(read(fd, buf, 1), ENXIO);
	KTAP_ERR(write(fd, buf, 1), ENXIO);
	KTAP_EQ(lseek(fd, 0, SEEK_CUR), GUEST_RAM);
	KTAP_EQ(lseek(fd, -PAGE, SEEK_END), 0x100000000ULL + 4 * PAGE);
	KTAP_ERR(write(fd, buf, 1), EROFS);
	KTAP_EQ(read(fd, buf, sizeof(buf)), PAGE);
	KTAP_EQ(read(fd, buf, sizeof(buf)), 0);
	KTAP_ERR(write(fd, buf, 1), ENXIO);
	KTAP_EQ(pread(fd, buf, 1, 1ULL << 60), 0);
	KTAP_EQ(pread(fd, buf, 0, gpa), 0);
	KTAP_EQ(lseek(fd, gpa, SEEK_SET), gpa);
	fill(buf, 100, 77);
	KTAP_EQ(write(fd, buf, 100), 100);
	KTAP_ASSERT(!memcmp(mem, buf, 100));
	KTAP_EQ(lseek(fd, 0, SEEK_CUR), gpa + 100);
	KTAP_ERR(pread(fd, nowhere, 8, gpa), EFAULT);
	KTAP_ERR(pread(fd, buf, 8, -1), EINVAL);
	KTAP_ERR(lseek(fd, -1, SEEK_SET), EINVAL);

	/* Where there is memory. */
	KTAP_EQ(lseek(fd, 5, SEEK_DATA), 5);
	KTAP_EQ(lseek(fd, 5, SEEK_HOLE), GUEST_RAM);
	KTAP_EQ(lseek(fd, GUEST_RAM + 7, SEEK_HOLE), GUEST_RAM + 7);
	KTAP_EQ(lseek(fd, GUEST_RAM + 7, SEEK_DATA), 0x100000000ULL);
	KTAP_EQ(lseek(fd, 0x100000000ULL, SEEK_HOLE),
		0x100000000ULL + 5 * PAGE);
	KTAP_ERR(lseek(fd, 0x100000000ULL + 5 * PAGE, SEEK_DATA), ENXIO);
	KTAP_ERR(lseek(fd, 0x100000000ULL + 5 * PAGE, SEEK_HOLE), ENXIO);
	KTAP_ERR(lseek(fd, -1, SEEK_DATA), ENXIO);

	KTAP_LIB_OK(kvmi_vm_detach(kv));
	KTAP_ERR(pread(fd, buf, 8, gpa), ENODEV);
	KTAP_ERR(pwrite(fd, buf, 8, gpa), ENODEV);
	KTAP_ERR(lseek(fd, 0, SEEK_END), ENODEV);
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
