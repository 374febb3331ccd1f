// SPDX-License-Identifier: GPL-2.0-only
/* Guest memory mapped into the tool, and what the host does to it meanwhile. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE	4096UL
#define SLOT	0x10000000UL
#define NR	64

static sigjmp_buf on_bus;

static void bus(int sig)
{
	siglongjmp(on_bus, sig);
}

/* What is there; -1 where there is a SIGBUS, -2 if nothing is mapped at all. */
static int64_t look(const void *addr)
{
	struct sigaction act = { .sa_handler = bus }, old_bus, old_segv;
	volatile int64_t val;
	int sig;

	sigaction(SIGBUS, &act, &old_bus);
	sigaction(SIGSEGV, &act, &old_segv);
	sig = sigsetjmp(on_bus, 1);
	if (!sig)
		val = *(const volatile uint32_t *)addr;
	else
		val = sig == SIGBUS ? -1 : -2;
	sigaction(SIGBUS, &old_bus, NULL);
	sigaction(SIGSEGV, &old_segv, NULL);
	return val;
}

static const uint8_t *map(struct kvmi_vm *kv, uint64_t gpa, size_t len)
{
	const void *addr;
	size_t size;

	KTAP_LIB_OK(kvmi_vm_map(kv, gpa, len, &size, &addr));
	KTAP_EQ(size, len);
	return addr;
}

static void number(uint8_t *mem, unsigned int nr, uint32_t first)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		*(uint32_t *)(mem + i * PAGE) = first + i;
}

static __guest uint64_t guest_add(uint64_t addr, uint64_t n)
{
	GUEST_WRITE(uint32_t, addr, GUEST_READ(uint32_t, addr) + n);
	return n;
}

/* All of it, holes included; the same page that the guest writes. */
KTAP_CASE(zero_copy, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 4);
	const void *addr;
	uint32_t *mem;
	size_t size;
	const uint8_t *p;

	mem = vmm_slot_add(vm, 1, SLOT, 4 * PAGE, 0);
	KTAP_LIB_OK(kvmi_vm_map(kv, 0, 0, &size, &addr));
	KTAP_EQ(size, SLOT + 4 * PAGE);
	p = addr;
	KTAP_ASSERT(!memcmp(p, vmm_gpa(vm, 0), GUEST_RAM));
	KTAP_EQ(look(p + SLOT + 3 * PAGE), 0);
	mem[3 * PAGE / 4] = 5;
	KTAP_EQ(look(p + SLOT + 3 * PAGE), 5);
	/* The guest's page, before and after its first touch. */
	vmm_vcpu_set_entry(vm, 0, guest_add, gpa, 7, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 7);
	KTAP_EQ(look(p + gpa), 7);
	vmm_vcpu_set_entry(vm, 0, guest_add, gpa, 8, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 8);
	KTAP_EQ(look(p + gpa), 15);
	/* Holes, and behind the end. */
	KTAP_EQ(look(p + GUEST_RAM), -1);
	KTAP_EQ(look(p + SLOT - PAGE), -1);
	KTAP_LIB_OK(kvmi_vm_unmap(p, size));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(only_to_be_read, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_get_map arg = { .size = sizeof(arg) };
	int fd = kvmi_vm_fd(kv);
	off_t at = 1ULL << 38;
	void *p;

	/* Not before it was asked for. */
	KTAP_ASSERT(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, at) ==
		    MAP_FAILED && errno == ENOENT);
	KTAP_OK(ioctl(fd, KVMI_GET_MAP, &arg));
	KTAP_EQ(arg.out_size, GUEST_RAM);
	at = arg.out_offset;
	KTAP_ASSERT(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 at) == MAP_FAILED && errno == EPERM);
	KTAP_ASSERT(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd,
			 at) == MAP_FAILED && errno == EPERM);
	KTAP_ASSERT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, at) ==
		    MAP_FAILED && errno == EINVAL);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, at);
	KTAP_ASSERT(p != MAP_FAILED);
	KTAP_ERR(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	KTAP_ERR(mprotect(p, PAGE, PROT_READ | PROT_EXEC), EACCES);
	KTAP_OK(munmap(p, PAGE));
	/* Far beyond anything is allowed, and empty. */
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, at + (1ULL << 51));
	KTAP_ASSERT(p != MAP_FAILED);
	KTAP_EQ(look(p), -1);
	KTAP_OK(munmap(p, PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The VMM's memory changes under the slot. */
KTAP_CASE(the_host_replaces_pages, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, NR * PAGE, 0);
	const uint8_t *p = map(kv, SLOT, NR * PAGE);
	uint8_t *aside;
	pid_t pid;
	int i;

	/* Never touched: the zero page, then the page. */
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 0);
	number(mem, NR, 1000);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 1000 + i);
	/* Ballooned. */
	KTAP_OK(madvise(mem, NR * PAGE / 2, MADV_DONTNEED));
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), i < NR / 2 ? 0 : 1000 + i);
	number(mem, NR, 2000);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 2000 + i);

	/* Copy on write, by either side of a fork. */
	pid = KTAP_OK(fork());
	if (!pid) {
		sleep(100);
		_exit(0);
	}
	number(mem, NR, 3000);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 3000 + i);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);

	/* Swapped out, if there is where to; reclaimed; split and moved. */
	madvise(mem, NR * PAGE, MADV_PAGEOUT);
	madvise(mem, NR * PAGE, MADV_COLD);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 3000 + i);

	/* Other memory at the same place; none; no rights. */
	aside = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	KTAP_ASSERT(aside != MAP_FAILED);
	number(aside, NR, 4000);
	KTAP_ASSERT(mremap(aside, NR * PAGE, NR * PAGE,
			   MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 4000 + i);
	KTAP_OK(mprotect(mem, PAGE, PROT_NONE));
	KTAP_EQ(look(p), -1);
	KTAP_EQ(look(p + PAGE), 4001);
	KTAP_OK(mprotect(mem, PAGE, PROT_READ | PROT_WRITE));
	KTAP_EQ(look(p), 4000);
	KTAP_OK(munmap(mem + PAGE, PAGE));
	KTAP_EQ(look(p + PAGE), -1);
	KTAP_EQ(look(p), 4000);
	KTAP_ASSERT(mmap(mem + PAGE, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    MAP_FAILED);
	KTAP_EQ(look(p + PAGE), 0);
	KTAP_LIB_OK(kvmi_vm_unmap(p, NR * PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Pages that are the same become one, and several again. */
static int write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -1;
	fputs(text, f);
	return fclose(f);
}

KTAP_CASE(the_host_merges_pages, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, NR * PAGE, 0);
	const uint8_t *p = map(kv, SLOT, NR * PAGE);
	int i, round;

	for (i = 0; i < NR; i++)
		memset(mem + i * PAGE, 0x77, PAGE);
	KTAP_EQ(look(p), 0x77777777);
	if (!madvise(mem, NR * PAGE, MADV_MERGEABLE) &&
	    !write_file("/sys/kernel/mm/ksm/pages_to_scan", "1000") &&
	    !write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1"))
		write_file("/sys/kernel/mm/ksm/run", "1");
	for (round = 0; round < 50; round++) {
		for (i = 0; i < NR; i++)
			KTAP_EQ(look(p + i * PAGE), 0x77777777);
		tool_msleep(2);
	}
	number(mem, NR, 500);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), 500 + i);
	write_file("/sys/kernel/mm/ksm/run", "2");
	KTAP_LIB_OK(kvmi_vm_unmap(p, NR * PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(slots_come_and_go, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, 4 * PAGE, 0);
	const uint8_t *p = map(kv, SLOT, 16 * PAGE);
	int i;

	number(mem, 4, 10);
	for (i = 0; i < 4; i++)
		KTAP_EQ(look(p + i * PAGE), 10 + i);
	KTAP_EQ(look(p + 4 * PAGE), -1);
	vmm_slot_move(vm, 1, SLOT + 2 * PAGE);
	for (i = 0; i < 16; i++)
		KTAP_EQ(look(p + i * PAGE), i < 2 || i > 5 ? -1 : 8 + i);
	vmm_slot_move(vm, 1, SLOT + 8 * PAGE);
	for (i = 0; i < 16; i++)
		KTAP_EQ(look(p + i * PAGE), i < 8 || i > 11 ? -1 : 2 + i);
	vmm_slot_set_flags(vm, 1, KVM_MEM_LOG_DIRTY_PAGES);
	KTAP_EQ(look(p + 8 * PAGE), 10);
	vmm_slot_delete(vm, 1);
	for (i = 0; i < 16; i++)
		KTAP_EQ(look(p + i * PAGE), -1);
	mem = vmm_slot_add(vm, 1, SLOT, 4 * PAGE, 0);
	number(mem, 4, 30);
	for (i = 0; i < 4; i++)
		KTAP_EQ(look(p + i * PAGE), 30 + i);
	KTAP_LIB_OK(kvmi_vm_unmap(p, 16 * PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(the_session_ends_first, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, 4 * PAGE, 0);
	const uint8_t *p = map(kv, SLOT, 4 * PAGE), *q;

	number(mem, 4, 10);
	KTAP_EQ(look(p), 10);
	kvmi_vm_close(kv);
	KTAP_EQ(look(p), -1);
	KTAP_EQ(look(p + 3 * PAGE), -1);
	/* The next session has a mapping of its own. */
	kv = tool_attach(vm);
	q = map(kv, SLOT, 4 * PAGE);
	KTAP_EQ(look(q + PAGE), 11);
	KTAP_EQ(look(p + PAGE), -1);
	KTAP_LIB_OK(kvmi_vm_detach(kv));
	KTAP_EQ(look(q + PAGE), -1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
	KTAP_EQ(look(q), -1);
	KTAP_LIB_OK(kvmi_vm_unmap(p, 4 * PAGE));
	KTAP_LIB_OK(kvmi_vm_unmap(q, 4 * PAGE));
}

/* Parts go, the rest moves, the tool has children. */
KTAP_CASE(the_mapping_changes, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, 8 * PAGE, 0);
	const uint8_t *p = map(kv, SLOT, 8 * PAGE);
	uint8_t *q, *place;
	int i, status;
	pid_t pid;

	number(mem, 8, 10);
	for (i = 0; i < 8; i++)
		KTAP_EQ(look(p + i * PAGE), 10 + i);
	KTAP_OK(munmap((void *)(p + 3 * PAGE), PAGE));
	KTAP_EQ(look(p + 3 * PAGE), -2);
	/* It moves, and does not grow. */
	place = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	KTAP_ASSERT(place != MAP_FAILED);
	q = mremap((void *)(p + 4 * PAGE), 4 * PAGE, 4 * PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, place);
	KTAP_ASSERT(q == place);
	KTAP_ASSERT(mremap(q, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE) ==
		    MAP_FAILED);
	for (i = 0; i < 3; i++)
		KTAP_EQ(look(p + i * PAGE), 10 + i);
	for (i = 0; i < 4; i++)
		KTAP_EQ(look(q + i * PAGE), 14 + i);
	/* The host finds them where they are now. */
	KTAP_OK(madvise(mem, 8 * PAGE, MADV_DONTNEED));
	for (i = 0; i < 4; i++)
		KTAP_EQ(look(q + i * PAGE), 0);
	KTAP_EQ(look(p), 0);
	number(mem, 8, 20);
	KTAP_EQ(look(p), 20);
	KTAP_EQ(look(q), 24);

	/* Children have it only if they are meant to, and then as correct. */
	KTAP_OK(madvise(q, 4 * PAGE, MADV_DOFORK));
	pid = KTAP_OK(fork());
	if (!pid) {
		KTAP_EQ(look(p), -2);
		for (i = 0; i < 4; i++)
			KTAP_EQ(look(q + i * PAGE), 24 + i);
		kill(getpid(), SIGSTOP);
		for (i = 0; i < 4; i++)
			KTAP_EQ(look(q + i * PAGE), i < 2 ? 44 + i : -1);
		_exit(0);
	}
	KTAP_EQ(waitpid(pid, &status, WUNTRACED), pid);
	KTAP_ASSERT(WIFSTOPPED(status));
	number(mem, 8, 40);
	KTAP_OK(munmap(mem + 6 * PAGE, 2 * PAGE));
	kill(pid, SIGCONT);
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_EQ(status, 0);
	KTAP_OK(munmap(q, 4 * PAGE));
	KTAP_OK(munmap((void *)p, 3 * PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static void slot_set(struct vmm *vm, int nr, uint64_t gpa, const void *mem,
		     uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = nr,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	KTAP_OK(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
}

static __guest uint64_t guest_read(uint64_t addr)
{
	return GUEST_READ(uint32_t, addr);
}

/*
 * A mapping as the memory of a guest: of the same one, so that the mapping has
 * itself within, and link by link for longer than the kernel's stack is.
 */
KTAP_CASE(slots_made_of_the_mapping, "S5")
{
	struct vmm *vm = vmm_create(1, 0), *other = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, PAGE, 0);
	const uint8_t *p;
	int i, nr = 200;
	void *q;

	p = map(kv, SLOT, (nr + 2) * PAGE);
	number(mem, 1, 77);
	KTAP_EQ(look(p), 77);
	for (i = 1; i <= nr; i++) {
		slot_set(vm, 10 + i, SLOT + i * PAGE, p + (i - 1) * PAGE, PAGE);
		/* No memory of the VMM's: what it has is somebody else's. */
		KTAP_EQ(look(p + i * PAGE), -1);
	}
	slot_set(vm, 11 + nr, SLOT + (nr + 1) * PAGE, p + (nr + 1) * PAGE, PAGE);
	KTAP_EQ(look(p + (nr + 1) * PAGE), -1);
	KTAP_EQ(look(p), 77);
	KTAP_OK(madvise(mem, PAGE, MADV_DONTNEED));
	KTAP_EQ(look(p), 0);
	number(mem, 1, 78);
	KTAP_EQ(look(p), 78);

	/* KVM takes it for read-only memory, and follows. */
	slot_set(other, 5, SLOT, p, PAGE);
	*vmm_pte(other, 0x5000) = SLOT | 7;
	vmm_vcpu_set_entry(other, 0, guest_read, 0x5000, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(other, 0), 78);
	KTAP_OK(madvise(mem, PAGE, MADV_DONTNEED));
	number(mem, 1, 79);
	vmm_vcpu_set_entry(other, 0, guest_read, 0x5000, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(other, 0), 79);

	/* The loop's own end, and what takes its place. */
	q = (void *)(p + (nr + 1) * PAGE);
	KTAP_ASSERT(mmap(q, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q);
	*(uint32_t *)q = 80;
	KTAP_LIB_OK(kvmi_vm_unmap(p, (nr + 1) * PAGE));
	p = map(kv, SLOT + (nr + 1) * PAGE, PAGE);
	KTAP_EQ(look(p), 80);
	KTAP_OK(munmap(q, PAGE));
	KTAP_EQ(look(p), -1);
	KTAP_LIB_OK(kvmi_vm_unmap(p, PAGE));
	kvmi_vm_close(kv);
	vmm_destroy(other);
	vmm_destroy(vm);
}

/*
 * Who maps guest memory can register no MMU notifier, as KVM_CREATE_VM does: its
 * locks would be taken in an order that can hang the host. Another process can.
 */
KTAP_CASE(no_new_vm_beside_a_mapping, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const uint8_t *p = map(kv, 0, PAGE);
	int status, fd;
	pid_t pid;

	KTAP_EQ(look(p), *(uint32_t *)vmm_gpa(vm, 0));
	KTAP_ERR(ioctl(vm->kvm, KVM_CREATE_VM, 0), EBUSY);
	pid = KTAP_OK(fork());
	if (!pid)
		_exit(ioctl(vm->kvm, KVM_CREATE_VM, 0) < 0);
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_EQ(status, 0);
	KTAP_LIB_OK(kvmi_vm_unmap(p, PAGE));
	fd = KTAP_OK(ioctl(vm->kvm, KVM_CREATE_VM, 0));
	close(fd);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The module stays for what is still mapped, and goes afterwards. */
KTAP_CASE(the_module_stays, "S5")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint8_t *mem = vmm_slot_add(vm, 1, SLOT, PAGE, 0);
	const uint8_t *p = map(kv, SLOT, PAGE);

	number(mem, 1, 5);
	KTAP_EQ(look(p), 5);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
	KTAP_ERR(syscall(SYS_delete_module, "kvmi", O_NONBLOCK), EWOULDBLOCK);
	KTAP_EQ(look(p), -1);
	KTAP_LIB_OK(kvmi_vm_unmap(p, PAGE));
}

/* The VMM is another process, at work on its memory all the while, and dies. */
static void churn(uint8_t *mem, int fd)
{
	unsigned int round;

	number(mem, NR, 0);
	KTAP_EQ(write(fd, "x", 1), 1);
	for (round = 1;; round++) {
		if (round % 3 == 0)
			madvise(mem + round % NR * PAGE, 4 * PAGE > NR * PAGE -
				round % NR * PAGE ? PAGE : 4 * PAGE,
				MADV_DONTNEED);
		*(uint32_t *)(mem + round * 7 % NR * PAGE) = round * 7 % NR |
			round << 8;
		if (round % 1000 == 0 && !fork())
			_exit(0);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

KTAP_CASE(the_vmm_is_killed, "S5")
{
	int i, round, pipefd[2], rounds = ktap_times(2000, 200);
	struct kvmi_vm *kv;
	const uint8_t *p;
	int64_t val;
	pid_t pid;
	char c;

	KTAP_OK(pipe(pipefd));
	pid = KTAP_OK(fork());
	if (!pid) {
		struct vmm *vm = vmm_create(1, 0);

		churn(vmm_slot_add(vm, 1, SLOT, NR * PAGE, 0), pipefd[1]);
	}
	close(pipefd[1]);
	KTAP_EQ(read(pipefd[0], &c, 1), 1);
	KTAP_LIB_OK(kvmi_vm_attach_pid(pid, -1, NULL, &kv));
	p = map(kv, SLOT, NR * PAGE);
	for (round = 0; round < rounds; round++) {
		/* Nothing but what was written there, or nothing. */
		for (i = 0; i < NR; i++) {
			val = look(p + i * PAGE);
			KTAP_NE(val, -1);
			KTAP_ASSERT(!val || (val & 0xff) == i);
		}
	}
	kill(pid, SIGKILL);
	for (i = 0; i < 100; i++)
		look(p + i % NR * PAGE);
	KTAP_EQ(waitpid(pid, NULL, 0), pid);
	for (i = 0; i < NR; i++)
		KTAP_EQ(look(p + i * PAGE), -1);
	KTAP_LIB_OK(kvmi_vm_unmap(p, NR * PAGE));
	kvmi_vm_close(kv);
	close(pipefd[0]);
}

KTAP_MAIN(ktap_need_kvmi)
