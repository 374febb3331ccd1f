// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sessions: attach, detach, hand over; and what concerns the VM as a whole.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

int kvmi_vm_ioctl(struct kvmi_vm *vm, unsigned long cmd, void *arg,
		  const char *what)
{
	int ret = kvmi_sys.ioctl(vm->fd, cmd, arg);

	if (ret >= 0)
		return ret;
	ret = -errno;
	if (ret == -ENODEV)
		return kvmi_error_set(ret, "%s: the VM is gone", what);
	if (ret == -ENOTTY)
		return kvmi_error_set(ret,
				      "%s: the descriptor is no kvmi session, or its kvmi.ko is older",
				      what);
	return kvmi_error_set(ret, "%s: %s", what, strerror(-ret));
}

int kvmi_device_open(void)
{
	int fd = kvmi_sys.open(kvmi_sys.device, O_RDWR);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return kvmi_error_set(-ENODEV,
				      "there is no %s: kvmi.ko is not loaded",
				      kvmi_sys.device);
	if (errno == EACCES || errno == EPERM)
		return kvmi_error_set(-errno,
				      "%s: permission denied (are you in its group?)",
				      kvmi_sys.device);
	return kvmi_error_set(-errno, "%s: %s", kvmi_sys.device,
			      strerror(errno));
}

static int get_caps(int fd, struct kvmi_caps *caps)
{
	memset(caps, 0, sizeof(*caps));
	caps->size = sizeof(*caps);
	if (kvmi_sys.ioctl(fd, KVMI_GET_CAPS, caps) < 0)
		return kvmi_error_set(-errno, "cannot ask for capabilities: %s",
				      strerror(errno));
	if (caps->out_abi != KVMI_ABI_VERSION)
		return kvmi_error_set(-EPROTONOSUPPORT,
				      "kvmi.ko speaks ABI %u, this library %u",
				      caps->out_abi, KVMI_ABI_VERSION);
	return 0;
}

/**
 * kvmi_caps_get() - What kvmi.ko can do on this host
 * @caps: where to store it
 *
 * Return: 0 or a negative errno; -ENODEV: kvmi.ko is not loaded.
 */
int kvmi_caps_get(struct kvmi_caps *caps)
{
	int fd, ret;

	fd = kvmi_device_open();
	if (fd < 0)
		return fd;
	ret = get_caps(fd, caps);
	kvmi_sys.close(fd);
	return ret;
}

/**
 * kvmi_host_get_msrs() - What the host's processors say of virtual machines
 * @msrs: room for @nr MSRs: those that KVMI_GET_HOST_MSRS lists
 * @nr: that room
 *
 * Return: how many there are (more than @nr: only @nr were stored), or a negative
 * errno; -ENODEV: kvmi.ko is not loaded.
 */
int kvmi_host_get_msrs(struct kvmi_x86_msr *msrs, unsigned int nr)
{
	struct kvmi_host_msrs arg = {
		.size = sizeof(arg),
		.msrs = (uintptr_t)msrs,
		.nr = nr,
	};
	int fd, ret;

	fd = kvmi_device_open();
	if (fd < 0)
		return fd;
	if (kvmi_sys.ioctl(fd, KVMI_GET_HOST_MSRS, &arg))
		ret = kvmi_error_set(-errno, "get MSRs of the host: %s",
				     strerror(errno));
	else
		ret = arg.out_nr;
	kvmi_sys.close(fd);
	return ret;
}

static int new_vm(int session_fd, struct kvmi_vm **vm)
{
	struct kvmi_vm *new = calloc(1, sizeof(*new));

	if (!new)
		return kvmi_error_set(-ENOMEM, "out of memory");
	new->fd = session_fd;
	*vm = new;
	return 0;
}

static int attach_error(int err)
{
	switch (err) {
	case -EBADF:
		return kvmi_error_set(err, "the descriptor is not that of a KVM VM");
	case -EBUSY:
		return kvmi_error_set(err,
				      "the VM is already controlled by another session");
	case -ENODEV:
		return kvmi_error_set(err, "the VM is gone");
	case -EOPNOTSUPP:
		return kvmi_error_set(err,
				      "this VM or this kernel cannot be introspected (confidential guest, shadow paging, or a KVM that lacks something: the kernel log says which)");
	case -EINVAL:
		return kvmi_error_set(err,
				      "kvmi.ko takes no such options (ring size?)");
	default:
		return kvmi_error_set(err, "attach: %s", strerror(-err));
	}
}

/**
 * kvmi_vm_attach_fd() - Attach to the VM behind a descriptor
 * @vm_fd: descriptor of a KVM VM; it may be closed afterwards
 * @options: how, or NULL
 * @vm: where to store the session; end it with kvmi_vm_close()
 *
 * For a VMM that introspects its own VM, or hands over its descriptor.
 *
 * Return: 0 or a negative errno: -ENODEV: kvmi.ko is not loaded, or the VM is
 * gone; -EBADF: not a VM; -EBUSY: another session controls it; -EOPNOTSUPP:
 * this VM cannot be introspected.
 */
int kvmi_vm_attach_fd(int vm_fd, const struct kvmi_vm_options *options,
		      struct kvmi_vm **vm)
{
	struct kvmi_attach attach = { .size = sizeof(attach), .vm_fd = vm_fd };
	struct kvmi_caps caps;
	int device, fd, ret;

	if (options) {
		if (options->size < sizeof(*options))
			return kvmi_error_set(-EINVAL,
					      "kvmi_vm_options.size is not set");
		attach.ring_size = options->ring_size;
		if (options->flags & ~(KVMI_VM_OBSERVER | KVMI_VM_PAUSED))
			return kvmi_error_set(-EINVAL,
					      "kvmi_vm_options.flags is wrong");
		if (options->flags & KVMI_VM_OBSERVER)
			attach.flags |= KVMI_ATTACH_OBSERVER;
		if (options->flags & KVMI_VM_PAUSED)
			attach.flags |= KVMI_ATTACH_PAUSED;
	}
	device = kvmi_device_open();
	if (device < 0)
		return device;
	ret = get_caps(device, &caps);
	if (ret) {
		kvmi_sys.close(device);
		return ret;
	}
	fd = kvmi_sys.ioctl(device, KVMI_ATTACH, &attach);
	ret = fd < 0 ? -errno : 0;
	kvmi_sys.close(device);
	if (ret)
		return attach_error(ret);
	ret = new_vm(fd, vm);
	if (ret)
		kvmi_sys.close(fd);
	return ret;
}

/**
 * kvmi_vm_attach_pid() - Attach to the VM of a process
 * @pid: the VMM
 * @fd: the VM's descriptor in that process; -1 if it has one VM only
 * @options: how, or NULL
 * @vm: where to store the session; end it with kvmi_vm_close()
 *
 * The VMM need not know, and goes on undisturbed. Who may do this is what the
 * kernel says of ptrace(2).
 *
 * Return: 0 or a negative errno, besides those of kvmi_vm_attach_fd():
 * -ESRCH: no such process; -ENOENT: it has no KVM VM; -ENOTUNIQ: it has several
 * and @fd is -1; -EPERM, -EACCES: the kernel does not let us.
 */
int kvmi_vm_attach_pid(pid_t pid, int fd, const struct kvmi_vm_options *options,
		       struct kvmi_vm **vm)
{
	int pidfd, vm_fd, ret;

	if (pid <= 0)
		return kvmi_error_set(-EINVAL, "%d is no process id", (int)pid);
	if (fd < 0) {
		ret = kvmi_find_vm_fd(pid, &fd);
		if (ret)
			return ret;
	}
	pidfd = kvmi_sys.pidfd_open(pid);
	if (pidfd < 0) {
		ret = -errno;
		if (ret == -ESRCH)
			return kvmi_error_set(ret, "there is no process %d",
					      (int)pid);
		return kvmi_error_set(ret, "pidfd_open of process %d: %s",
				      (int)pid, strerror(-ret));
	}
	vm_fd = kvmi_sys.pidfd_getfd(pidfd, fd);
	ret = vm_fd < 0 ? -errno : 0;
	kvmi_sys.close(pidfd);
	if (ret == -EBADF)
		return kvmi_error_set(ret, "process %d has no descriptor %d",
				      (int)pid, fd);
	if (ret)
		return kvmi_error_ptrace(pid, ret);
	ret = kvmi_vm_attach_fd(vm_fd, options, vm);
	/* It would keep the VM alive. */
	kvmi_sys.close(vm_fd);
	return ret;
}

/* A decimal number at *@s, moved behind it; negative if there is none. */
static long parse_number(const char **s)
{
	long value = 0;

	if (!isdigit((unsigned char)**s))
		return -1;
	for (; isdigit((unsigned char)**s); (*s)++) {
		value = value * 10 + (**s - '0');
		if (value > INT_MAX)
			return -1;
	}
	return value;
}

/**
 * kvmi_vm_attach() - Attach to the VM that a person named
 * @spec: "PID", "PID:FD" where a process has several VMs, the VMM's name for
 *	the VM, or "name:NAME" for a name that looks like a number
 * @options: how, or NULL
 * @vm: where to store the session; end it with kvmi_vm_close()
 *
 * Return: 0 or a negative errno, see kvmi_vm_attach_pid(); -ENOTUNIQ: more than
 * one VM has the name.
 */
int kvmi_vm_attach(const char *spec, const struct kvmi_vm_options *options,
		   struct kvmi_vm **vm)
{
	const char *s = spec;
	long pid, fd = -1;
	pid_t found_pid;
	int found_fd;
	int ret;

	pid = parse_number(&s);
	if (pid >= 0 && *s == ':') {
		s++;
		fd = parse_number(&s);
		if (fd < 0)
			pid = -1;
	}
	if (pid >= 0 && !*s)
		return kvmi_vm_attach_pid(pid, fd, options, vm);

	if (!strncmp(spec, "name:", 5))
		spec += 5;
	if (!*spec)
		return kvmi_error_set(-EINVAL, "no VM was named");
	ret = kvmi_find_vm_name(spec, &found_pid, &found_fd);
	if (ret)
		return ret;
	return kvmi_vm_attach_pid(found_pid, found_fd, options, vm);
}

/**
 * kvmi_vm_open() - Use a session that somebody else made
 * @session_fd: the session's descriptor, for instance of
 *	kvmi_session_receive(); it belongs to @vm if the call succeeds
 * @vm: where to store the session; end it with kvmi_vm_close()
 *
 * No privilege and no access to /dev/kvmi is needed: the descriptor is the
 * right.
 *
 * Return: 0 or a negative errno; -ENOTTY: the descriptor is no session.
 */
int kvmi_vm_open(int session_fd, struct kvmi_vm **vm)
{
	struct kvmi_caps caps;
	int ret;

	ret = get_caps(session_fd, &caps);
	if (ret)
		return ret;
	return new_vm(session_fd, vm);
}

/**
 * kvmi_vm_fd() - The session's descriptor
 * @vm: the session
 *
 * For poll(2), or to hand the session over with kvmi_session_send(). It is a file
 * of guest-physical memory, too: pread(2) at an address reads there. It stays the
 * library's.
 *
 * Return: the descriptor.
 */
int kvmi_vm_fd(const struct kvmi_vm *vm)
{
	return vm->fd;
}

/**
 * kvmi_vm_detach() - End a session for every holder of its descriptor
 * @vm: the session
 *
 * Every open event is finished, everything armed is withdrawn, and the guest
 * runs on as if it had never been watched. The records that are already in the
 * rings can still be read. kvmi_vm_close() is still needed.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_detach(struct kvmi_vm *vm)
{
	struct kvmi_detach detach = { .size = sizeof(detach) };

	return kvmi_vm_ioctl(vm, KVMI_DETACH, &detach, "detach");
}

/**
 * kvmi_vm_close() - Let go of a session
 * @vm: the session, or NULL
 *
 * If nobody else holds its descriptor this ends the session, as
 * kvmi_vm_detach() does. Rings of kvmi_ring_open() must be closed before.
 */
void kvmi_vm_close(struct kvmi_vm *vm)
{
	unsigned int i;

	if (!vm)
		return;
	for (i = 0; i < vm->nr_rings; i++)
		kvmi_ring_close(vm->rings[i]);
	free(vm->rings);
	kvmi_ring_close(vm->own);
	kvmi_sys.close(vm->fd);
	free(vm);
}

/**
 * kvmi_session_send() - Hand a session to another process
 * @sock: a connected AF_UNIX socket
 * @session_fd: kvmi_vm_fd() of the session
 *
 * Return: 0 or a negative errno.
 */
int kvmi_session_send(int sock, int session_fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { };
	char byte = 'k';
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &session_fd, sizeof(int));
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		return kvmi_error_set(-errno, "cannot send the session: %s",
				      strerror(errno));
	return 0;
}

/**
 * kvmi_session_receive() - Take a session from another process
 * @sock: a connected AF_UNIX socket
 *
 * Return: the descriptor, for kvmi_vm_open(), or a negative errno; -EPROTO: the
 * message had no descriptor with it; -ECONNRESET: the other side has gone.
 */
int kvmi_session_receive(int sock)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return kvmi_error_set(-errno, "cannot receive a session: %s",
				      strerror(errno));
	if (!n)
		return kvmi_error_set(-ECONNRESET,
				      "the sender of the session has gone");
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET ||
	    cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return kvmi_error_set(-EPROTO,
				      "the message carries no session");
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

/**
 * kvmi_vm_get_caps() - What kvmi.ko can do for this VM
 * @vm: the session
 * @caps: where to store it
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_get_caps(struct kvmi_vm *vm, struct kvmi_caps *caps)
{
	return get_caps(vm->fd, caps);
}

/**
 * kvmi_vm_get_info() - Number of vCPUs, memory and the like
 * @vm: the session
 * @info: where to store it
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_get_info(struct kvmi_vm *vm, struct kvmi_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return kvmi_vm_ioctl(vm, KVMI_GET_INFO, info, "get info");
}

/**
 * kvmi_vm_get_slots() - The guest's memory slots
 * @vm: the session
 * @slots: room for @nr of them, filled in order of addresses
 * @nr: that room
 *
 * Return: how many slots the VM has (more than @nr: only @nr were stored), or a
 * negative errno.
 */
int kvmi_vm_get_slots(struct kvmi_vm *vm, struct kvmi_slot *slots,
		      unsigned int nr)
{
	struct kvmi_slots arg = {
		.size = sizeof(arg),
		.slots = (uintptr_t)slots,
		.nr = nr,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_GET_SLOTS, &arg, "get memory slots");
	return ret < 0 ? ret : (int)arg.out_nr;
}

/**
 * kvmi_vm_set_policy() - What happens if this tool does not answer
 * @vm: the session
 * @timeout_ms: how long a vCPU waits for an answer; 0: for ever
 * @default_action: what is done then, and on a bad answer:
 *	KVMI_ACTION_CONTINUE, KVMI_ACTION_RETRY or KVMI_ACTION_CRASH
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_set_policy(struct kvmi_vm *vm, unsigned int timeout_ms,
		       enum kvmi_action default_action)
{
	struct kvmi_policy policy = {
		.size = sizeof(policy),
		.timeout_ms = timeout_ms,
		.default_action = default_action,
	};

	return kvmi_vm_ioctl(vm, KVMI_SET_POLICY, &policy, "set policy");
}

/* In pieces, as long as one call takes. */
static ssize_t transfer(struct kvmi_vm *vm, unsigned long cmd, uint64_t gpa,
			void *buf, size_t len, const char *what)
{
	struct kvmi_phys phys;
	size_t done = 0;
	int ret;

	while (done < len) {
		memset(&phys, 0, sizeof(phys));
		phys.size = sizeof(phys);
		phys.gpa = gpa + done;
		phys.len = len - done < MAX_PIECE ? len - done : MAX_PIECE;
		phys.buf = (uintptr_t)buf + done;
		ret = kvmi_sys.ioctl(vm->fd, cmd, &phys);
		if (ret < 0)
			ret = -errno;
		/* The kernel's count is only good within what was asked. */
		if (phys.out_done > phys.len)
			phys.out_done = phys.len;
		done += phys.out_done;
		if (!ret && phys.out_done == phys.len)
			continue;
		if (done)
			return done;
		if (ret == -ENXIO)
			return kvmi_error_set(ret,
					      "%s %#llx: the guest has no memory there",
					      what, (unsigned long long)gpa);
		if (ret == -EROFS)
			return kvmi_error_set(ret,
					      "%s %#llx: that memory is read-only",
					      what, (unsigned long long)gpa);
		if (ret == -ENODEV)
			return kvmi_error_set(ret, "%s: the VM is gone", what);
		if (!ret)
			ret = -EIO;
		return kvmi_error_set(ret, "%s %#llx: %s", what,
				      (unsigned long long)gpa, strerror(-ret));
	}
	return done;
}

/**
 * kvmi_vm_read() - Read guest-physical memory
 * @vm: the session
 * @gpa: from where
 * @buf: to where
 * @len: how much, across pages and memory slots
 *
 * Return: bytes read, which are less than @len if memory ends before, or a
 * negative errno if there are none; -ENXIO: there is no memory at @gpa.
 */
ssize_t kvmi_vm_read(struct kvmi_vm *vm, uint64_t gpa, void *buf, size_t len)
{
	return transfer(vm, KVMI_READ_PHYS, gpa, buf, len, "read memory at");
}

/**
 * kvmi_vm_map() - Map guest-physical memory, to be read in place
 * @vm: the session
 * @gpa: from where, a multiple of the page size
 * @len: how much; 0: up to the end of the highest memory slot. There may be holes.
 * @size: where to store how many bytes are mapped, or NULL
 * @addr: where to store the mapping; end it with kvmi_vm_unmap()
 *
 * The mapping shows the guest's memory as it is, changing as the guest changes
 * it. Where the guest has none, when a memory slot is taken away, and after the
 * end of the session, a look at it is a SIGBUS: a tool that uses mappings of a
 * VM that is not its own must be prepared for that. The system calls cannot read
 * it as a file's (direct I/O does not work).
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_map(struct kvmi_vm *vm, uint64_t gpa, size_t len, size_t *size,
		const void **addr)
{
	struct kvmi_get_map map = { .size = sizeof(map) };
	void *at;
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_GET_MAP, &map, "map guest memory");
	if (ret < 0)
		return ret;
	if (!len && gpa < map.out_size)
		len = map.out_size - gpa;
	at = kvmi_sys.mmap(len, PROT_READ, vm->fd, map.out_offset + gpa);
	if (at == MAP_FAILED)
		return kvmi_error_set(-errno, "map guest memory at %#llx: %s",
				      (unsigned long long)gpa, strerror(errno));
	*addr = at;
	if (size)
		*size = len;
	return 0;
}

/**
 * kvmi_vm_unmap() - End a mapping of guest memory
 * @addr: of kvmi_vm_map()
 * @size: its size
 *
 * It may outlive the session, but shows nothing then.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_unmap(const void *addr, size_t size)
{
	if (kvmi_sys.munmap((void *)addr, size))
		return kvmi_error_set(-errno, "unmap guest memory: %s",
				      strerror(errno));
	return 0;
}

ssize_t kvmi_rw_list_call(struct kvmi_vm *vm, const struct kvmi_space *space,
			  struct kvmi_rw *list, size_t nr, uint32_t flags,
			  const char *what)
{
	struct kvmi_rw_list arg;
	ssize_t failed = 0;
	size_t done = 0;
	int ret;

	while (done < nr) {
		memset(&arg, 0, sizeof(arg));
		arg.size = sizeof(arg);
		arg.flags = flags;
		arg.list = (uintptr_t)(list + done);
		arg.nr = nr - done < KVMI_MAX_LIST ? nr - done : KVMI_MAX_LIST;
		if (space) {
			arg.flags |= KVMI_RW_VIRT;
			arg.space = *space;
		}
		ret = kvmi_vm_ioctl(vm, KVMI_RW_LIST, &arg, what);
		if (ret < 0)
			return ret;
		failed += arg.out_failed;
		done += arg.nr;
	}
	return failed;
}

/**
 * kvmi_vm_read_list() - Read guest-physical memory from many places at once
 * @vm: the session
 * @list: what to read, from where, to where; how each of them went is stored
 *	there
 * @nr: entries
 *
 * One system call for up to 65,536 entries. One that fails leaves the others
 * alone.
 *
 * Return: how many entries failed (their out_error says why), or a negative
 * errno if the call could not be completed.
 */
ssize_t kvmi_vm_read_list(struct kvmi_vm *vm, struct kvmi_rw *list, size_t nr)
{
	return kvmi_rw_list_call(vm, NULL, list, nr, 0,
				 "read a list of memory");
}

/**
 * kvmi_vm_write_list() - Write guest-physical memory in many places at once
 * @vm: the session
 * @list: what to write, to where, from where; how each of them went is stored
 *	there
 * @nr: entries; they are written in order
 *
 * Return: as kvmi_vm_read_list().
 */
ssize_t kvmi_vm_write_list(struct kvmi_vm *vm, struct kvmi_rw *list, size_t nr)
{
	return kvmi_rw_list_call(vm, NULL, list, nr, KVMI_RW_WRITE,
				 "write a list of memory");
}

/**
 * kvmi_vm_write() - Write guest-physical memory
 * @vm: the session
 * @gpa: to where
 * @buf: from where
 * @len: how much, across pages and memory slots
 *
 * Return: bytes written, which are less than @len if memory ends before, or a
 * negative errno if there are none; -EROFS: it is read-only.
 */
ssize_t kvmi_vm_write(struct kvmi_vm *vm, uint64_t gpa, const void *buf,
		      size_t len)
{
	return transfer(vm, KVMI_WRITE_PHYS, gpa, (void *)buf, len,
			"write memory at");
}

/**
 * kvmi_vm_get_stats() - What was told, what was not, how long was waited
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL for the sum
 * @kind: enum kvmi_event_kind, or KVMI_KIND_ALL for the sum
 * @stats: where to store it
 *
 * Return: 0 or a negative errno; -ENOENT: no such vCPU.
 */
int kvmi_vm_get_stats(struct kvmi_vm *vm, unsigned int vcpu, unsigned int kind,
		      struct kvmi_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	stats->vcpu = vcpu;
	stats->kind = kind;
	return kvmi_vm_ioctl(vm, KVMI_GET_STATS, stats, "get statistics");
}

/**
 * kvmi_vm_get_exits() - How many exits of each reason were counted
 * @vm: the session
 * @vcpu: index of the vCPU, or KVMI_VCPU_ALL for the sum
 * @counts: room for @nr of them, filled in order of reason
 * @nr: that room
 *
 * Exits are counted once KVMI_EVENT_X86_EXIT has KVMI_MODE_COUNT, see
 * kvmi_event_control().
 *
 * Return: how many reasons there are (more than @nr: only @nr were stored), or a
 * negative errno; -ENOENT: no such vCPU.
 */
int kvmi_vm_get_exits(struct kvmi_vm *vm, unsigned int vcpu,
		      struct kvmi_exit_count *counts, unsigned int nr)
{
	struct kvmi_exits arg = {
		.size = sizeof(arg),
		.vcpu = vcpu,
		.counts = (uintptr_t)counts,
		.nr = nr,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_GET_EXITS, &arg, "get exits");
	return ret < 0 ? ret : (int)arg.out_nr;
}

/**
 * kvmi_vm_reset() - Take back what the session has set, without letting the VM go
 * @vm: the session
 * @what: KVMI_RESET_*
 *
 * Return: 0 or a negative errno; -EINTR: some of it is done, call again.
 */
int kvmi_vm_reset(struct kvmi_vm *vm, uint32_t what)
{
	struct kvmi_reset arg = { .size = sizeof(arg), .what = what };

	return kvmi_vm_ioctl(vm, KVMI_RESET, &arg, "reset");
}

/**
 * kvmi_vm_set_policies() - All that a session can wish for bad times
 * @vm: the session
 * @policy: the kernel's structure; its size is set here
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_set_policies(struct kvmi_vm *vm, const struct kvmi_policy *policy)
{
	struct kvmi_policy arg = *policy;

	arg.size = sizeof(arg);
	return kvmi_vm_ioctl(vm, KVMI_SET_POLICY, &arg, "set policy");
}

/**
 * kvmi_vm_narrow() - Take rights away from the session, for good
 * @vm: the session
 * @rights: KVMI_RIGHT_* that are left
 * @kinds: bits of the kinds of events that are left
 * @left: where to store what there is afterwards, or NULL
 *
 * For all who hold its descriptor: before it is passed on.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_narrow(struct kvmi_vm *vm, uint32_t rights, uint64_t kinds,
		   struct kvmi_narrow *left)
{
	struct kvmi_narrow arg = {
		.size = sizeof(arg),
		.rights = rights,
		.kinds = kinds,
	};
	int ret = kvmi_vm_ioctl(vm, KVMI_NARROW, &arg, "narrow");

	if (!ret && left)
		*left = arg;
	return ret;
}

/**
 * kvmi_vm_batch() - Many calls of the kernel's interface in one
 * @vm: the session
 * @ops: the calls; out_error of each is set
 * @nr: how many, at most KVMI_MAX_BATCH
 * @flags: KVMI_BATCH_*
 *
 * Return: how many of them failed, or a negative errno: the batch could not go on.
 */
ssize_t kvmi_vm_batch(struct kvmi_vm *vm, struct kvmi_batch_op *ops, size_t nr,
		      uint32_t flags)
{
	struct kvmi_batch arg = {
		.size = sizeof(arg),
		.flags = flags,
		.ops = (uintptr_t)ops,
		.nr = nr < UINT32_MAX ? nr : UINT32_MAX,
	};
	int ret = kvmi_vm_ioctl(vm, KVMI_BATCH, &arg, "batch");

	return ret ? ret : (ssize_t)arg.out_failed;
}

/**
 * kvmi_vm_pause() - Stop all vCPUs
 * @vm: the session
 *
 * When it returns none of them executes a guest instruction until
 * kvmi_vm_resume(), or the end of the session. Calls nest.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_vm_pause(struct kvmi_vm *vm)
{
	return kvmi_vcpu_pause(vm, KVMI_VCPU_ALL);
}

/**
 * kvmi_vm_resume() - Let all vCPUs go on
 * @vm: the session
 *
 * Return: 0 or a negative errno; -EINVAL: not paused.
 */
int kvmi_vm_resume(struct kvmi_vm *vm)
{
	return kvmi_vcpu_resume(vm, KVMI_VCPU_ALL);
}
