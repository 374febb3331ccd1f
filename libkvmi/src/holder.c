// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * New VMs, held at their first instruction until a tool has attached.
 */
#include <poll.h>
#include <stdlib.h>

#include "internal.h"

/**
 * struct kvmi_holder - who holds new VMs
 * @fd: /dev/kvmi
 */
struct kvmi_holder {
	int fd;
};

/**
 * kvmi_holder_open() - Hold every new VM at its first instruction
 * @comm: only those of a process of this name; NULL: of any
 * @timeout_ms: how long each is held at most, 1 to 600,000
 * @holder: where to store the holder; end it with kvmi_holder_close()
 *
 * A held VM goes on when a session attaches to it (attach with
 * KVMI_VM_PAUSED to have it stand on), when it is released, when the time is
 * over, and when the holder or its process ends. Only VMs are held that the caller
 * could trace.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_holder_open(const char *comm, unsigned int timeout_ms,
		     struct kvmi_holder **holder)
{
	struct kvmi_hold hold = {
		.size = sizeof(hold), .timeout_ms = timeout_ms,
	};
	struct kvmi_holder *h;
	int ret;

	if (comm) {
		if (strlen(comm) >= sizeof(hold.comm))
			return kvmi_error_set(-EINVAL,
					      "%s is too long for the name of a process",
					      comm);
		memcpy(hold.comm, comm, strlen(comm));
	}
	h = calloc(1, sizeof(*h));
	if (!h)
		return kvmi_error_set(-ENOMEM, "out of memory");
	ret = kvmi_device_open();
	if (ret < 0) {
		free(h);
		return ret;
	}
	h->fd = ret;
	if (kvmi_sys.ioctl(h->fd, KVMI_HOLD, &hold) < 0) {
		ret = kvmi_error_set(-errno, "cannot hold new VMs: %s",
				     strerror(errno));
		kvmi_holder_close(h);
		return ret;
	}
	*holder = h;
	return 0;
}

/**
 * kvmi_holder_fd() - The descriptor to wait on
 * @holder: the holder
 *
 * Return: a descriptor that is readable when kvmi_holder_next() has a VM.
 */
int kvmi_holder_fd(const struct kvmi_holder *holder)
{
	return holder->fd;
}

/**
 * kvmi_holder_next() - The next VM that is held
 * @holder: the holder
 * @timeout_ms: how long to wait for it; -1: for ever
 * @id: where to store its number, as in struct kvmi_vm_status
 * @pid: where to store its VMM, 0 if that is in no pid namespace of the caller's
 *
 * Each VM is told once, when its first vCPU is about to run.
 *
 * Return: 1; 0 when the time is over; or a negative errno.
 */
int kvmi_holder_next(struct kvmi_holder *holder, int timeout_ms, uint64_t *id,
		     pid_t *pid)
{
	struct kvmi_hold_next next = { .size = sizeof(next) };
	struct pollfd pfd = { .fd = holder->fd, .events = POLLIN };
	int ret;

	while (kvmi_sys.ioctl(holder->fd, KVMI_HOLD_NEXT, &next) < 0) {
		if (errno != EAGAIN)
			return kvmi_error_set(-errno, "held VMs: %s",
					      strerror(errno));
		ret = poll(&pfd, 1, timeout_ms);
		if (ret < 0)
			return kvmi_error_set(-errno, "poll: %s",
					      strerror(errno));
		if (!ret)
			return 0;
	}
	*id = next.out_id;
	*pid = next.out_pid;
	return 1;
}

/**
 * kvmi_holder_release() - Let a VM go on
 * @holder: the holder
 * @id: the VM's number
 *
 * Return: 0 or a negative errno; -ENOENT: it is not held, or not any more.
 */
int kvmi_holder_release(struct kvmi_holder *holder, uint64_t id)
{
	struct kvmi_hold_release release = { .size = sizeof(release), .id = id };

	if (kvmi_sys.ioctl(holder->fd, KVMI_HOLD_RELEASE, &release) < 0)
		return kvmi_error_set(-errno, "VM number %llu is not held",
				      (unsigned long long)id);
	return 0;
}

/**
 * kvmi_holder_close() - Let all go on, and hold no more
 * @holder: the holder, or NULL
 */
void kvmi_holder_close(struct kvmi_holder *holder)
{
	if (!holder)
		return;
	kvmi_sys.close(holder->fd);
	free(holder);
}
