// SPDX-License-Identifier: GPL-2.0-only
/* Attaching and letting go, and that nothing is left of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/tool.h"

static int attach_raw(int vm_fd)
{
	struct kvmi_attach args = { .size = sizeof(args), .vm_fd = vm_fd };
	int dev = KTAP_OK(open("/dev/kvmi", O_RDWR | O_CLOEXEC));
	int fd = ioctl(dev, KVMI_ATTACH, &args);
	int err = errno;

	close(dev);
	errno = err;
	return fd;
}

KTAP_CASE(what_is_no_vm, "D1")
{
	struct kvmi_attach args = { .size = sizeof(args) };
	struct vmm *vm = vmm_create(1, 0);
	int null = KTAP_OK(open("/dev/null", O_RDWR));
	int dev;

	KTAP_ERR(attach_raw(-1), EBADF);
	KTAP_ERR(attach_raw(null), EBADF);
	KTAP_ERR(attach_raw(vm->kvm), EBADF);
	KTAP_ERR(attach_raw(vm->vcpu[0].fd), EBADF);
	dev = KTAP_OK(open("/dev/kvmi", O_RDWR));
	args.vm_fd = vm->fd;
	args.ring_size = 5000;
	KTAP_ERR(ioctl(dev, KVMI_ATTACH, &args), EINVAL);
	args.ring_size = 1U << 30;
	KTAP_ERR(ioctl(dev, KVMI_ATTACH, &args), EINVAL);
	args.ring_size = 0;
	args.flags = 1U << 31;
	KTAP_ERR(ioctl(dev, KVMI_ATTACH, &args), EINVAL);
	vmm_destroy(vm);
}

KTAP_CASE(one_controller, "D1")
{
	struct vmm *vm = vmm_create(1, 0);
	int fd = KTAP_OK(attach_raw(vm->fd));

	KTAP_ERR(attach_raw(vm->fd), EBUSY);
	close(fd);
	fd = KTAP_OK(attach_raw(vm->fd));
	close(fd);
	vmm_destroy(vm);
}

/* Two VMs at once know nothing of one another. */
static __guest uint64_t cpuid_twice(void)
{
	return guest_cpuid(0, 0).eax + guest_cpuid(0, 0).eax;
}

KTAP_CASE(two_vms, "D1")
{
	struct vmm *a = vmm_create(2, 0);
	struct vmm *b = vmm_create(2, 0);
	struct kvmi_vm *ka = tool_attach(a);
	struct kvmi_vm *kb = tool_attach(b);
	int i;

	tool_watch(ka, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < 2; i++) {
		vmm_vcpu_set_entry(a, i, cpuid_twice, 0, 0, 0);
		vmm_vcpu_set_entry(b, i, cpuid_twice, 0, 0, 0);
		KTAP_EQ(vmm_vcpu_run_done(a, i), vmm_vcpu_run_done(b, i));
	}
	for (i = 0; i < 4; i++)
		tool_wait(ka, KVMI_EVENT_X86_CPUID);
	tool_wait_none(ka, 0);
	tool_wait_none(kb, 0);
	kvmi_vm_close(ka);
	kvmi_vm_close(kb);
	vmm_destroy(a);
	vmm_destroy(b);
}

/* The VM ends while it is attached: the session says so. */
KTAP_CASE(the_vm_ends, "D1")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_info info;
	struct pollfd pfd = { .fd = kvmi_vm_fd(kv), .events = POLLIN };

	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_EQ(poll(&pfd, 1, 0), 0);
	vmm_destroy(vm);
	KTAP_EQ(poll(&pfd, 1, TOOL_PATIENCE), 1);
	KTAP_ASSERT(pfd.revents & POLLHUP);
	KTAP_LIB_ERR(kvmi_vm_get_info(kv, &info), ENODEV);
	KTAP_LIB_ERR(kvmi_vm_pause(kv), ENODEV);
	KTAP_LIB_ERR(kvmi_event_wait(kv, &ev, 100), ENODEV);
	kvmi_vm_close(kv);
}

/* Who watches a ring without sleeping is told as well. */
KTAP_CASE(the_vm_ends_unslept, "D1 D3")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_ring *ring;

	KTAP_LIB_OK(kvmi_ring_open(kv, 1, -1, &ring));
	kvmi_ring_set_polling(ring, true);
	KTAP_EQ(kvmi_ring_wait(ring, &ev, 10), 0);
	vmm_destroy(vm);
	KTAP_LIB_ERR(kvmi_ring_wait(ring, &ev, -1), ENODEV);
	kvmi_ring_close(ring);
	kvmi_vm_close(kv);
}

KTAP_CASE(detached_by_ioctl, "D1")
{
	struct kvmi_detach args = { .size = sizeof(args) };
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_info info;
	int fd;

	KTAP_OK(ioctl(kvmi_vm_fd(kv), KVMI_DETACH, &args));
	KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_DETACH, &args), ENODEV);
	KTAP_LIB_ERR(kvmi_vm_get_info(kv, &info), ENODEV);
	fd = KTAP_OK(attach_raw(vm->fd));
	close(fd);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static void everything(struct kvmi_vm *kv, int mode)
{
	static const uint32_t msrs[] = { 0x174, 0xc0000081, 0xc0000082 };
	unsigned int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, mode, KVMI_REGS_GENERAL);
	tool_watch(kv, KVMI_EVENT_BREAKPOINT, mode, 0);
	for (i = 3; i <= 4; i++)
		KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, i, mode, 0));
	for (i = 0; i < 3; i++)
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, msrs[i],
						 KVMI_ACCESS_R | KVMI_ACCESS_W,
						 mode, 0));
}

/* The whole state of the vCPUs is what it was. */
KTAP_CASE_SMP(no_trace_in_the_state, "D1")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv;
	char *before[8], *after;
	uint32_t view;
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, cpuid_twice, 0, 0, 0);
		before[i] = vmm_vcpu_save(vm, i);
	}
	kv = tool_attach(vm);
	everything(kv, KVMI_MODE_SYNC);
	KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
	KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
	KTAP_LIB_OK(kvmi_vm_pause(kv));
	kvmi_vm_close(kv);
	for (i = 0; i < nr_vcpus; i++) {
		after = vmm_vcpu_save(vm, i);
		if (strcmp(before[i], after))
			KTAP_FAIL("vCPU %d: before:\n%safter:\n%s", i,
				  before[i], after);
		free(before[i]);
		free(after);
		vmm_vcpu_run_done(vm, i);
	}
	vmm_destroy(vm);
}

/* A guest that checks its registers and memory all the while. */
KTAP_CASE_TIME(a_thousand_times, "D1", 300)
{
	/* One vCPU: the tool has a CPU to itself on a host with two. */
	struct vmm *vm = vmm_create(1, VMM_F_IRQCHIP);
	const struct kvmi_event *ev;
	time_t start = time(NULL);
	struct kvmi_vm *kv;
	uint32_t view;
	int i, n;

	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (i = 0; i < ktap_times(1000, 300); i++) {
		kv = tool_attach_ring(vm, 4096);
		if (i % 4)
			everything(kv, i & 1 ? KVMI_MODE_ASYNC :
				   KVMI_MODE_SYNC);
		if (i % 4 == 2)
			for (n = 0; n < 3; n++)
				if (kvmi_event_wait(kv, &ev, 1000) > 0)
					kvmi_event_reply(kv, ev,
							 KVMI_ACTION_CONTINUE);
		if (i % 8 == 3) {
			KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX,
						     &view));
			KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		}
		/* With an event open, or in the midst of anything. */
		kvmi_vm_close(kv);
		if (i % 100 == 99) {
			ktap_diag("%d after %ld s", i + 1,
				  (long)(time(NULL) - start));
			vmm_worker_check(vm, 1);
		}
	}
	vmm_worker_check(vm, 50);
	vmm_worker_stop(vm);
	vmm_destroy(vm);
}

static __guest void out_all_the_time(void)
{
	for (;;)
		guest_out8(0x80, 0);
}

static atomic_bool runners_stop;

static void *runner_thread(void *arg)
{
	struct vmm_vcpu *vcpu = arg;

	while (!atomic_load(&runners_stop))
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0 && errno != EINTR)
			return "KVM_RUN failed";
	return NULL;
}

/*
 * An attach finds vCPUs on their way into KVM_RUN, past the place where kvmi looks for
 * those that it knows: they must not wait for what waits for them.
 */
KTAP_CASE_SMP(as_they_begin_to_run, "D1 D3")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	pthread_t threads[GUEST_MAX_VCPUS];
	struct kvmi_vm *kv;
	void *why;
	int i;

	atomic_store(&runners_stop, false);
	for (i = 0; i < nr_vcpus; i++) {
		vmm_vcpu_set_entry(vm, i, out_all_the_time, 0, 0, 0);
		KTAP_EQ(pthread_create(&threads[i], NULL, runner_thread,
				       &vm->vcpu[i]), 0);
	}
	for (i = 0; i < ktap_times(100, 15); i++) {
		kv = tool_attach_ring(vm, 4096);
		/* A job on each vCPU. */
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL,
					     KVMI_VIEW_DEFAULT));
		kvmi_vm_close(kv);
	}
	atomic_store(&runners_stop, true);
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_EQ(pthread_join(threads[i], &why), 0);
		KTAP_ASSERT(!why, "vCPU %d: %s", i, (char *)why);
	}
	vmm_destroy(vm);
}

/* A vCPU that is created later is watched as the others are. */
KTAP_CASE(a_vcpu_to_come, "D1 D3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_info info;
	int fd, ret, err;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	fd = KTAP_OK(ioctl(vm->fd, KVM_CREATE_VCPU, 5));
	/* Uninitialized as it is, its KVM_RUN passes by kvmi. */
	ret = ioctl(fd, KVM_RUN, 0);
	err = errno;
	KTAP_LIB_OK(kvmi_vm_get_info(kv, &info));
	KTAP_ASSERT(info.out_nr_vcpus == 2, "%u vCPUs; KVM_RUN: %d, %s",
		    info.out_nr_vcpus, ret, ktap_errname(err));
	kvmi_vm_close(kv);
	close(fd);
	vmm_destroy(vm);
}

/* The VMM is another process, and is killed while its vCPUs wait. */
KTAP_CASE_SMP(the_vmm_is_killed, "D1 D8")
{
	const struct kvmi_event *ev;
	int to_child[2], from_child[2];
	struct kvmi_vm *kv;
	char c = 0;
	pid_t pid;
	int i;

	KTAP_OK(pipe(to_child));
	KTAP_OK(pipe(from_child));
	pid = KTAP_OK(fork());
	if (!pid) {
		struct vmm *vm = vmm_create(nr_vcpus, 0);

		for (i = 0; i < nr_vcpus; i++)
			vmm_vcpu_set_entry(vm, i, cpuid_twice, 0, 0, 0);
		KTAP_EQ(write(from_child[1], &c, 1), 1);
		KTAP_EQ(read(to_child[0], &c, 1), 1);
		vmm_start_all(vm);
		pause();
		_exit(0);
	}
	KTAP_EQ(read(from_child[0], &c, 1), 1);
	KTAP_LIB_OK(kvmi_vm_attach_pid(pid, -1, NULL, &kv));
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	KTAP_EQ(write(to_child[1], &c, 1), 1);
	for (i = 0; i < nr_vcpus; i++)
		tool_wait(kv, KVMI_EVENT_X86_CPUID);
	KTAP_OK(kill(pid, SIGKILL));
	KTAP_EQ(waitpid(pid, NULL, 0), pid);
	for (i = 0; kvmi_event_wait(kv, &ev, TOOL_PATIENCE) >= 0; i++)
		KTAP_ASSERT(i < nr_vcpus);
	KTAP_LIB_ERR(kvmi_event_wait(kv, &ev, TOOL_PATIENCE), ENODEV);
	kvmi_vm_close(kv);
}

/* Without the right to trace the VMM there is no attaching to it. */
KTAP_CASE(no_right_to_trace, "D1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv;
	int status;
	pid_t pid;

	pid = KTAP_OK(fork());
	if (!pid) {
		int ret;

		/* Somebody who may open the device, and is not root. */
		KTAP_OK(chmod("/dev/kvmi", 0666));
		KTAP_OK(setgid(65534));
		KTAP_OK(setuid(65534));
		ret = kvmi_vm_attach_pid(getppid(), -1, NULL, &kv);
		KTAP_ASSERT(ret == -EPERM || ret == -EACCES, "%d", ret);
		_exit(0);
	}
	KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_OK(chmod("/dev/kvmi", 0660));
	KTAP_EQ(status, 0);
	vmm_destroy(vm);
}

/* ---- the module ------------------------------------------------------------- */

static int module_remove(void)
{
	return syscall(SYS_delete_module, "kvmi", O_NONBLOCK);
}

static const char *module_path(void)
{
	const char *path = getenv("KVMI_KO");

	return path ? path : "/rig/kvmi.ko";
}

static int module_insert(void)
{
	int fd = KTAP_OK(open(module_path(), O_RDONLY));
	int ret = syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return ret;
}

KTAP_CASE(no_unloading_while_attached, "D1")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);

	KTAP_ERR(module_remove(), EWOULDBLOCK);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Each takes a second where the guest leaves no more. */
KTAP_CASE_TIME(many_reloads, "D1", 300)
{
	struct vmm *vm = vmm_create(2, VMM_F_IRQCHIP);
	struct kvmi_vm *kv;
	int i, ms;

	if (access(module_path(), R_OK))
		ktap_skip("no module to load at %s; set KVMI_KO",
			  module_path());
	vmm_worker_start(vm, GUEST_WORK_ALL);
	for (i = 0; i < ktap_times(20, 3); i++) {
		if (i % 10 == 0) {
			kv = tool_attach(vm);
			everything(kv, KVMI_MODE_ASYNC);
			kvmi_vm_close(kv);
		}
		/* A vCPU's thread that was preempted may be about to let go of it. */
		for (ms = 0; module_remove(); ms++) {
			KTAP_ASSERT(errno == EWOULDBLOCK && ms < TOOL_PATIENCE);
			tool_msleep(1);
		}
		KTAP_OK(module_insert());
	}
	vmm_worker_check(vm, 20);
	vmm_worker_stop(vm);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
