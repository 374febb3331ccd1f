// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finding VMs and attaching to them, against an imitated /proc and kernel;
 * above all what the library says when it does not work.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../src/internal.h"

#define DEVICE		50
#define PIDFD		51
#define VM_FD		52
#define SESSION		53

static char root[32] = "/tmp/kvmi-proc-XXXXXX";

static struct {
	int open_errno;
	int pidfd_errno;
	int getfd_errno;
	int attach_errno;
	uint32_t abi;
	struct kvmi_attach attach;
	int got_fd;
	int opened;
	uint64_t mem_end;	/* guest memory ends here */
	bool mem_liar;		/* claims more than it was asked for */
} k;

static int fake_open(const char *path, int flags)
{
	(void)flags;
	assert_string_equal(path, "/dev/kvmi");
	if (k.open_errno) {
		errno = k.open_errno;
		return -1;
	}
	k.opened++;
	return DEVICE;
}

static int fake_close(int fd)
{
	assert_in_range(fd, DEVICE, SESSION);
	k.opened--;
	return 0;
}

static int fake_pidfd_open(pid_t pid)
{
	(void)pid;
	if (k.pidfd_errno) {
		errno = k.pidfd_errno;
		return -1;
	}
	k.opened++;
	return PIDFD;
}

static int fake_pidfd_getfd(int pidfd, int fd)
{
	assert_int_equal(pidfd, PIDFD);
	k.got_fd = fd;
	if (k.getfd_errno) {
		errno = k.getfd_errno;
		return -1;
	}
	k.opened++;
	return VM_FD;
}

static int fake_phys(unsigned long cmd, struct kvmi_phys *phys)
{
	uint64_t n = phys->len;

	if (phys->len > 1 << 30) {
		errno = EINVAL;
		return -1;
	}
	if (k.mem_liar) {
		phys->out_done = phys->len * 2 + 1;
		return 0;
	}
	if (phys->gpa >= k.mem_end)
		n = 0;
	else if (n > k.mem_end - phys->gpa)
		n = k.mem_end - phys->gpa;
	if (cmd == KVMI_READ_PHYS)
		memset((void *)(uintptr_t)phys->buf, 0x5a, n);
	phys->out_done = n;
	if (n == phys->len)
		return 0;
	errno = ENXIO;
	return -1;
}

static int fake_ioctl(int fd, unsigned long cmd, void *arg)
{
	struct kvmi_caps *caps = arg;
	struct kvmi_info *info = arg;

	switch (cmd) {
	case KVMI_GET_CAPS:
		if (fd != DEVICE && fd != SESSION) {
			errno = ENOTTY;
			return -1;
		}
		caps->out_abi = k.abi;
		return 0;
	case KVMI_ATTACH:
		assert_int_equal(fd, DEVICE);
		k.attach = *(struct kvmi_attach *)arg;
		assert_int_equal(k.attach.size, sizeof(k.attach));
		if (k.attach_errno) {
			errno = k.attach_errno;
			return -1;
		}
		k.opened++;
		return SESSION;
	case KVMI_GET_INFO:
		assert_int_equal(fd, SESSION);
		info->out_nr_vcpus = 4;
		info->out_memory = 1 << 20;
		return 0;
	case KVMI_READ_PHYS:
	case KVMI_WRITE_PHYS:
		assert_int_equal(fd, SESSION);
		return fake_phys(cmd, arg);
	default:
		errno = ENOTTY;
		return -1;
	}
}

/* Descriptors with the same tens digit are the same file. */
static int fake_same_file(pid_t pid1, int fd1, pid_t pid2, int fd2)
{
	return pid1 == pid2 && fd1 / 10 == fd2 / 10;
}

static void add_process(int pid, const char *cmdline, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/%d/fd", root, pid);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/%d/cmdline", root, pid);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(cmdline, 1, len, f), len);
	fclose(f);
}

static void add_fd(int pid, int fd, const char *target)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%d/fd/%d", root, pid, fd);
	assert_int_equal(symlink(target, path), 0);
}

#define CMD(s)	s, sizeof(s) - 1

static int group_setup(void **state)
{
	(void)state;
	if (!mkdtemp(root))
		return -1;
	add_process(100, CMD("/usr/bin/qemu-system-x86_64\0-name\0"
			     "guest=web,debug-threads=on\0-m\0512\0"));
	add_fd(100, 3, "/dev/kvm");
	add_fd(100, 14, "anon_inode:kvm-vm");
	add_fd(100, 17, "anon_inode:kvm-vm");	/* the same again */
	add_fd(100, 25, "anon_inode:kvm-vcpu:0");
	add_fd(100, 26, "anon_inode:kvm-vcpu:1");
	add_process(200, CMD("bash\0"));
	add_fd(200, 0, "/dev/null");
	add_fd(200, 1, "anon_inode:kvm-vmx");
	add_process(300, CMD("./multi\0--name=two\0"));
	add_fd(300, 11, "anon_inode:kvm-vm");
	add_fd(300, 22, "anon_inode:kvm-vm");
	add_process(400, CMD("firecracker\0--id\0fc\033[2J\0"));
	add_fd(400, 12, "anon_inode:kvm-vm");
	add_process(500, CMD(""));
	add_fd(500, 12, "anon_inode:kvm-vm");
	add_process(600, CMD("/x/qemu\0-name\0007\0"));
	add_fd(600, 12, "anon_inode:kvm-vm");
	add_process(700, CMD("qemu\0-name\0dup\0"));
	add_fd(700, 12, "anon_inode:kvm-vm");
	add_process(701, CMD("qemu\0-name\0dup\0"));
	add_fd(701, 12, "anon_inode:kvm-vm");
	return 0;
}

static int group_teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd);
}

static int setup(void **state)
{
	(void)state;
	memset(&k, 0, sizeof(k));
	k.abi = KVMI_ABI_VERSION;
	kvmi_sys.proc = root;
	kvmi_sys.open = fake_open;
	kvmi_sys.close = fake_close;
	kvmi_sys.ioctl = fake_ioctl;
	kvmi_sys.pidfd_open = fake_pidfd_open;
	kvmi_sys.pidfd_getfd = fake_pidfd_getfd;
	kvmi_sys.same_file = fake_same_file;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	/* Whatever was opened was closed. */
	return k.opened ? -1 : 0;
}

static void says(const char *what)
{
	if (!strstr(kvmi_error_message(), what))
		fail_msg("\"%s\" does not say \"%s\"", kvmi_error_message(),
			 what);
}

static const struct kvmi_vmlist_entry *entry(const struct kvmi_vmlist *list,
					     pid_t pid, size_t nth)
{
	const struct kvmi_vmlist_entry *e;
	size_t i;

	for (i = 0; (e = kvmi_vmlist_get(list, i)); i++)
		if (e->pid == pid && !nth--)
			return e;
	return NULL;
}

static void list_vms(void **state)
{
	const struct kvmi_vmlist_entry *e;
	struct kvmi_vmlist *list;

	(void)state;
	assert_int_equal(kvmi_vmlist_create(0, &list), 0);
	assert_int_equal(kvmi_vmlist_size(list), 8);
	assert_null(kvmi_vmlist_get(list, 8));
	e = entry(list, 100, 0);
	assert_string_equal(e->vmm, "qemu-system-x86_64");
	assert_string_equal(e->name, "web");
	assert_int_equal(e->nr_vcpus, 2);
	assert_int_equal(e->nr_vms, 1);
	assert_int_equal(e->attached, KVMI_ATTACHED_UNKNOWN);
	assert_int_equal(e->uid, getuid());
	assert_null(entry(list, 200, 0));
	assert_string_equal(entry(list, 300, 0)->name, "two");
	assert_int_equal(entry(list, 300, 0)->nr_vms, 2);
	assert_int_equal(entry(list, 300, 0)->nr_vcpus, 0);
	assert_int_equal(entry(list, 300, 1)->fd, 22);
	/* Nothing in a name may talk to the terminal. */
	assert_string_equal(entry(list, 400, 0)->name, "fc?[2J");
	assert_string_equal(entry(list, 500, 0)->vmm, "?");
	kvmi_vmlist_destroy(list);
	assert_int_equal(kvmi_vmlist_create(0x80, &list), -EINVAL);
}

static void list_probes(void **state)
{
	struct kvmi_vmlist *list;

	(void)state;
	assert_int_equal(kvmi_vmlist_create(KVMI_VMLIST_PROBE, &list), 0);
	assert_int_equal(entry(list, 300, 0)->nr_vcpus, 4);
	assert_int_equal(entry(list, 300, 0)->memory, 1 << 20);
	assert_int_equal(entry(list, 300, 0)->attached, KVMI_ATTACHED_NO);
	kvmi_vmlist_destroy(list);
	k.attach_errno = EBUSY;
	assert_int_equal(kvmi_vmlist_create(KVMI_VMLIST_PROBE, &list), 0);
	assert_int_equal(entry(list, 100, 0)->attached, KVMI_ATTACHED_YES);
	assert_int_equal(entry(list, 100, 0)->nr_vcpus, 2);
	kvmi_vmlist_destroy(list);
}

static void attach_ok(const char *spec, int fd)
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.ring_size = 8192,
	};
	struct kvmi_vm *vm;

	assert_int_equal(kvmi_vm_attach(spec, &options, &vm), 0);
	assert_int_equal(k.got_fd, fd);
	assert_int_equal(k.attach.vm_fd, VM_FD);
	assert_int_equal(k.attach.ring_size, 8192);
	assert_int_equal(kvmi_vm_fd(vm), SESSION);
	/* Only the session is left open. */
	assert_int_equal(k.opened, 1);
	kvmi_vm_close(vm);
}

static void attach_refused(const char *spec, int err, const char *text)
{
	struct kvmi_vm *vm;

	assert_int_equal(kvmi_vm_attach(spec, NULL, &vm), -err);
	says(text);
}

static void attach_by_spec(void **state)
{
	(void)state;
	attach_ok("100:14", 14);
	attach_ok("300:22", 22);
	attach_ok("web", 14);
	attach_ok("name:7", 12);
	attach_ok("600", 12);
	attach_refused("300", ENOTUNIQ, "300:");
	attach_refused("200", ENOENT, "process 200 has no KVM VM");
	attach_refused("999", ESRCH, "no process 999");
	attach_refused("nobody", ENOENT, "no VM called nobody");
	attach_refused("dup", ENOTUNIQ, "more than one");
	attach_refused("", EINVAL, "no VM was named");
	attach_refused("name:", EINVAL, "no VM was named");
	attach_refused("0", EINVAL, "no process id");
	attach_refused("100:", ENOENT, "no VM called");
	attach_refused("99999999999", ENOENT, "no VM called");
}

static void yama(int scope)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/sys", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/sys/kernel", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/sys/kernel/yama", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/sys/kernel/yama/ptrace_scope", root);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%d\n", scope);
	fclose(f);
}

static void refusals_name_the_cause(void **state)
{
	(void)state;
	k.attach_errno = EBUSY;
	attach_refused("100", EBUSY, "already controlled");
	k.attach_errno = EBADF;
	attach_refused("100:3", EBADF, "not that of a KVM VM");
	k.attach_errno = EOPNOTSUPP;
	attach_refused("100", EOPNOTSUPP, "kernel log");
	k.attach_errno = ENODEV;
	attach_refused("100", ENODEV, "gone");
	k.attach_errno = 0;
	k.getfd_errno = EBADF;
	attach_refused("100:99", EBADF, "no descriptor 99");
	k.getfd_errno = EPERM;
	yama(3);
	attach_refused("100", EPERM, "Yama");
	yama(0);
	attach_refused("100", EPERM, "CAP_SYS_PTRACE");
	k.getfd_errno = 0;
	k.pidfd_errno = ESRCH;
	attach_refused("100", ESRCH, "no process 100");
	k.pidfd_errno = 0;
	k.open_errno = ENOENT;
	attach_refused("100", ENODEV, "kvmi.ko is not loaded");
	k.open_errno = EACCES;
	attach_refused("100", EACCES, "permission denied");
	k.open_errno = 0;
	k.abi = 2;
	attach_refused("100", EPROTONOSUPPORT, "ABI 2");
}

static void options_have_a_size(void **state)
{
	struct kvmi_vm_options options = { };
	struct kvmi_vm *vm;

	(void)state;
	assert_int_equal(kvmi_vm_attach("100", &options, &vm), -EINVAL);
}

static void memory(void **state)
{
	unsigned char buf[100];
	struct kvmi_vm *vm;

	(void)state;
	assert_int_equal(kvmi_vm_attach("100", NULL, &vm), 0);
	k.mem_end = 0x1000;
	assert_int_equal(kvmi_vm_read(vm, 0, buf, sizeof(buf)), sizeof(buf));
	assert_int_equal(buf[99], 0x5a);
	assert_int_equal(kvmi_vm_read(vm, 0xff0, buf, sizeof(buf)), 16);
	assert_int_equal(kvmi_vm_write(vm, 0x1000, buf, 1), -ENXIO);
	says("no memory there");
	assert_int_equal(kvmi_vm_read(vm, 0x1000, buf, 0), 0);
	k.mem_liar = true;
	assert_int_equal(kvmi_vm_read(vm, 0, buf, sizeof(buf)), sizeof(buf));
	kvmi_vm_close(vm);
}

static void pass_session(void **state)
{
	int sock[2], fd, pipefd[2];
	struct kvmi_vm *vm;
	char c = 'x';

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(kvmi_session_send(sock[0], pipefd[1]), 0);
	fd = kvmi_session_receive(sock[1]);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, &c, 1), 1);
	assert_int_equal(read(pipefd[0], &c, 1), 1);
	/* A pipe is no session. */
	assert_int_equal(kvmi_vm_open(fd, &vm), -ENOTTY);
	close(fd);
	assert_int_equal(write(sock[0], &c, 1), 1);
	assert_int_equal(kvmi_session_receive(sock[1]), -EPROTO);
	close(sock[0]);
	assert_int_equal(kvmi_session_receive(sock[1]), -ECONNRESET);
	close(sock[1]);
	close(pipefd[0]);
	close(pipefd[1]);
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(list_vms),
		TEST(list_probes),
		TEST(attach_by_spec),
		TEST(refusals_name_the_cause),
		TEST(options_have_a_size),
		TEST(memory),
		TEST(pass_session),
	};

	return cmocka_run_group_tests_name("find", tests, group_setup,
					   group_teardown);
}
