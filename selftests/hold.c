// SPDX-License-Identifier: GPL-2.0-only
/* New VMs that are held at their first instruction. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/tool.h"

static __guest uint64_t cpuid_n(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		guest_cpuid(0, 0);
	return n;
}

static __guest uint64_t identity(uint64_t n)
{
	return n;
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void start_all(struct vmm *vm, int nr_vcpus, uint64_t (*entry)(uint64_t),
		      uint64_t arg)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, entry, arg, 0, 0);
	vmm_start_all(vm);
}

static bool is_readable(struct kvmi_holder *holder)
{
	struct pollfd pfd = {
		.fd = kvmi_holder_fd(holder), .events = POLLIN,
	};

	KTAP_ASSERT(poll(&pfd, 1, 0) >= 0);
	return pfd.revents & POLLIN;
}

/* Nothing of it is missed: not the first CPUID of any vCPU. */
KTAP_CASE_SMP(from_the_first_instruction, "D15")
{
	struct kvmi_vm_options paused = {
		.size = sizeof(paused), .flags = KVMI_VM_PAUSED,
	};
	struct kvmi_vcpu_info info;
	struct kvmi_holder *holder;
	const struct kvmi_event *ev;
	struct kvmi_vm *kv;
	struct vmm *vm;
	int i, n[8] = {};
	uint64_t id;
	pid_t pid;

	KTAP_LIB_OK(kvmi_holder_open("hold", 30000, &holder));
	KTAP_ASSERT(!is_readable(holder));
	vm = vmm_create(nr_vcpus, 0);
	KTAP_EQ(kvmi_holder_next(holder, 0, &id, &pid), 0);
	start_all(vm, nr_vcpus, cpuid_n, 3);
	KTAP_EQ(kvmi_holder_next(holder, TOOL_PATIENCE, &id, &pid), 1);
	KTAP_EQ(pid, getpid());
	KTAP_ASSERT(!is_readable(holder));
	KTAP_EQ(kvmi_holder_next(holder, 0, &id, &pid), 0);
	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &paused, &kv));
	for (i = 0; i < nr_vcpus; i++) {
		KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
		KTAP_EQ(info.out_pause_count, 1);
	}
	/* The holder has done its part. */
	KTAP_LIB_ERR(kvmi_holder_release(holder, id), ENOENT);
	kvmi_holder_close(holder);
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	tool_wait_none(kv, 20);
	KTAP_LIB_OK(kvmi_vm_resume(kv));
	for (i = 0; i < 3 * nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		KTAP_EQ(ev->seq, ++n[ev->vcpu]);
		tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 3);
	/* Those of a session that is paused from its beginning end with it. */
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* What ends it: a release, the time, the holder's end, an attach. */
KTAP_CASE_SMP(how_it_ends, "D15")
{
	struct kvmi_holder *holder;
	struct kvmi_vm *kv;
	struct vmm *vm;
	uint64_t id;
	pid_t pid;
	long start;
	int way, i;

	for (way = 0; way < 4; way++) {
		KTAP_LIB_OK(kvmi_holder_open(NULL, way == 1 ? 2000 : 60000,
					     &holder));
		vm = vmm_create(nr_vcpus, 0);
		start = now_ms();
		start_all(vm, nr_vcpus, identity, 7);
		KTAP_EQ(kvmi_holder_next(holder, TOOL_PATIENCE, &id, &pid), 1);
		if (way != 1) {
			tool_msleep(50);
			for (i = 0; i < nr_vcpus; i++)
				KTAP_EQ(vmm_vcpu_wait(vm, i, 0), -1);
		}
		if (way == 0)
			KTAP_LIB_OK(kvmi_holder_release(holder, id));
		else if (way == 2)
			kvmi_holder_close(holder);
		else if (way == 3)
			kv = tool_attach(vm);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 7);
		if (way == 1)
			KTAP_GE(now_ms() - start, 2000);
		if (way == 3)
			kvmi_vm_close(kv);
		/* Not held again. */
		start_all(vm, nr_vcpus, identity, 8);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 8);
		if (way != 2)
			kvmi_holder_close(holder);
		vmm_destroy(vm);
	}
}

static int hold_raw(int dev, struct kvmi_hold *hold)
{
	hold->size = sizeof(*hold);
	return ioctl(dev, KVMI_HOLD, hold);
}

KTAP_CASE(what_is_refused, "D15")
{
	struct kvmi_hold hold = { .timeout_ms = 1000 };
	struct kvmi_hold_next next = { .size = sizeof(next) };
	struct kvmi_hold_release release = { .size = sizeof(release), .id = 1 };
	struct kvmi_attach attach = {
		.size = sizeof(attach), .flags = 3, .vm_fd = -1,
	};
	int dev = KTAP_OK(open("/dev/kvmi", O_RDWR | O_CLOEXEC));

	KTAP_ERR(ioctl(dev, KVMI_HOLD_NEXT, &next), ENOENT);
	KTAP_ERR(ioctl(dev, KVMI_HOLD_RELEASE, &release), ENOENT);
	hold.timeout_ms = 0;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.timeout_ms = 600001;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.timeout_ms = 1000;
	hold.flags = 2;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.flags = 0;
	hold.uid = 1;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.uid = 0;
	hold.pad = 1;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.pad = 0;
	memset(hold.comm, 'x', sizeof(hold.comm));
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	hold.comm[3] = 0;
	KTAP_ERR(hold_raw(dev, &hold), EINVAL);
	memset(hold.comm, 0, sizeof(hold.comm));
	hold.size = 8;
	KTAP_ERR(ioctl(dev, KVMI_HOLD, &hold), EINVAL);
	KTAP_ERR(ioctl(dev, KVMI_HOLD, NULL), EFAULT);
	KTAP_OK(hold_raw(dev, &hold));
	KTAP_ERR(hold_raw(dev, &hold), EBUSY);
	KTAP_ERR(ioctl(dev, KVMI_HOLD_NEXT, &next), EAGAIN);
	next.flags = 1;
	KTAP_ERR(ioctl(dev, KVMI_HOLD_NEXT, &next), EINVAL);
	KTAP_ERR(ioctl(dev, KVMI_HOLD_RELEASE, &release), ENOENT);
	KTAP_ERR(ioctl(dev, KVMI_ATTACH, &attach), EINVAL);
	close(dev);
}

/* Those that are not meant run: of another name, user, or who may not be traced. */
static bool is_held(struct kvmi_hold *hold, uid_t uid, const char *comm)
{
	int dev = KTAP_OK(open("/dev/kvmi", O_RDWR | O_CLOEXEC));
	struct pollfd pfd = { .fd = dev, .events = POLLIN };
	int status, ret;
	pid_t pid;

	KTAP_OK(hold_raw(dev, hold));
	pid = KTAP_OK(fork());
	if (!pid) {
		struct vmm *vm;

		/* Or it would hold itself. */
		close(dev);
		if (comm)
			prctl(PR_SET_NAME, comm);
		if (uid && setuid(uid))
			_exit(2);
		vm = vmm_create(1, 0);
		vmm_vcpu_set_entry(vm, 0, identity, 5, 0, 0);
		_exit(vmm_vcpu_run_done(vm, 0) != 5);
	}
	ret = KTAP_OK(poll(&pfd, 1, 0));
	while (!ret && waitpid(pid, &status, WNOHANG) == 0)
		ret = KTAP_OK(poll(&pfd, 1, 50));
	close(dev);
	if (ret)
		KTAP_EQ(waitpid(pid, &status, 0), pid);
	KTAP_EQ(status, 0);
	return ret;
}

KTAP_CASE(which_are_held, "D15")
{
	struct kvmi_hold any = { .timeout_ms = 20000 };
	struct kvmi_hold nobody = {
		.timeout_ms = 20000, .flags = KVMI_HOLD_F_UID, .uid = 65534,
	};
	struct kvmi_hold named = { .timeout_ms = 20000, .comm = "my-vmm" };

	struct stat kvm, kvmi;

	KTAP_OK(stat("/dev/kvm", &kvm));
	KTAP_OK(stat("/dev/kvmi", &kvmi));
	KTAP_OK(chmod("/dev/kvm", 0666));
	KTAP_ASSERT(is_held(&any, 0, NULL));
	KTAP_ASSERT(is_held(&any, 65534, NULL));
	KTAP_ASSERT(!is_held(&nobody, 0, NULL));
	KTAP_ASSERT(is_held(&nobody, 65534, NULL));
	KTAP_ASSERT(!is_held(&named, 0, NULL));
	KTAP_ASSERT(is_held(&named, 0, "my-vmm"));

	/* By the opener's rights, whoever has the descriptor now. */
	KTAP_OK(chmod("/dev/kvmi", 0666));
	KTAP_OK(seteuid(65534));
	KTAP_ASSERT(!is_held(&any, 0, NULL));
	KTAP_OK(seteuid(0));
	KTAP_OK(chmod("/dev/kvmi", kvmi.st_mode & 07777));
	KTAP_OK(chmod("/dev/kvm", kvm.st_mode & 07777));
}

/* The VMM and the holder may die at any time, and be hit by signals. */
KTAP_CASE(bad_weather, "D15")
{
	struct kvmi_holder *holder;
	struct vmm *vm;
	uint64_t id;
	pid_t pid, child;
	int i;

	/* A VMM that is killed while it is held. */
	KTAP_LIB_OK(kvmi_holder_open(NULL, 60000, &holder));
	for (i = 0; i < 20; i++) {
		child = KTAP_OK(fork());
		if (!child) {
			vm = vmm_create(2, 0);
			start_all(vm, 2, identity, 5);
			pause();
		}
		KTAP_EQ(kvmi_holder_next(holder, TOOL_PATIENCE, &id, &pid), 1);
		KTAP_EQ(pid, child);
		KTAP_OK(kill(child, SIGKILL));
		KTAP_EQ(waitpid(child, NULL, 0), child);
		KTAP_LIB_ERR(kvmi_holder_release(holder, id), ENOENT);
	}
	/* VMs that are gone before they run, or never run. */
	for (i = 0; i < 20; i++)
		vmm_destroy(vmm_create(1, 0));
	vm = vmm_create(1, 0);
	kvmi_holder_close(holder);
	vmm_vcpu_set_entry(vm, 0, identity, 5, 0, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), 5);
	vmm_destroy(vm);

	/* A holder that is killed. */
	for (i = 0; i < 20; i++) {
		int fds[2];
		char c;

		KTAP_OK(pipe(fds));
		child = KTAP_OK(fork());
		if (!child) {
			KTAP_LIB_OK(kvmi_holder_open(NULL, 60000, &holder));
			KTAP_EQ(write(fds[1], "x", 1), 1);
			pause();
		}
		KTAP_EQ(read(fds[0], &c, 1), 1);
		vm = vmm_create(1, 0);
		start_all(vm, 1, identity, 6);
		tool_msleep(i);
		KTAP_OK(kill(child, SIGKILL));
		KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 6);
		KTAP_EQ(waitpid(child, NULL, 0), child);
		vmm_destroy(vm);
		close(fds[0]);
		close(fds[1]);
	}

	/* Signals reach a VMM that is held, which returns to KVM_RUN. */
	KTAP_LIB_OK(kvmi_holder_open(NULL, 60000, &holder));
	vm = vmm_create(1, 0);
	start_all(vm, 1, identity, 9);
	KTAP_EQ(kvmi_holder_next(holder, TOOL_PATIENCE, &id, &pid), 1);
	for (i = 0; i < 50; i++) {
		vmm_vcpu_signal(vm, 0);
		tool_msleep(1);
	}
	KTAP_EQ(vmm_vcpu_wait(vm, 0, 0), -1);
	KTAP_LIB_OK(kvmi_holder_release(holder, id));
	KTAP_EQ(vmm_vcpu_wait_done(vm, 0, TOOL_PATIENCE), 9);
	kvmi_holder_close(holder);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
