/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library's files share, and what its unit tests replace.
 */
#ifndef LIBKVMI_INTERNAL_H
#define LIBKVMI_INTERNAL_H

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "../include/kvmi.h"

/**
 * struct kvmi_sys - the system calls that the unit tests imitate
 * @proc: where procfs is mounted
 * @device: path of /dev/kvmi
 * @open: open(2), close-on-exec
 * @close: close(2)
 * @ioctl: ioctl(2)
 * @mmap: mmap(2), shared
 * @munmap: munmap(2)
 * @pidfd_open: pidfd_open(2)
 * @pidfd_getfd: pidfd_getfd(2)
 * @same_file: 1 if two descriptors of two processes are the same open file
 *
 * All but the paths as the C library has them: -1 and errno.
 */
struct kvmi_sys {
	const char *proc;
	const char *device;
	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long cmd, void *arg);
	void *(*mmap)(size_t size, int prot, int fd, off_t offset);
	int (*munmap)(void *addr, size_t size);
	int (*pidfd_open)(pid_t pid);
	int (*pidfd_getfd)(int pidfd, int fd);
	int (*same_file)(pid_t pid1, int fd1, pid_t pid2, int fd2);
};

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

extern struct kvmi_sys kvmi_sys;

/**
 * struct kvmi_ring - one vCPU's ring
 * @vm: whose
 * @header: the kernel's part, read-only
 * @tool: our part
 * @header_size: bytes mapped at @header
 * @tool_size: bytes mapped at @tool
 * @data: the records
 * @data_size: bytes of them, a power of two; not the header's, which is only
 *	believed once
 * @consumer: our position; the shared one is write-only to us
 * @current: bytes of the record that was handed out and not consumed yet
 * @vcpu: index of the vCPU, or KVMI_VCPU_VM
 * @polls: the owner watches the ring instead of sleeping
 */
struct kvmi_ring {
	struct kvmi_vm *vm;
	const struct kvmi_ring_header *header;
	struct kvmi_ring_tool *tool;
	size_t header_size;
	size_t tool_size;
	const unsigned char *data;
	uint64_t data_size;
	uint64_t consumer;
	uint32_t current;
	unsigned int vcpu;
	bool polls;
};

/**
 * struct kvmi_vm - a session
 * @fd: the session's descriptor
 * @own: the VM's own ring, see @rings; NULL where the kernel has none
 * @rings: those that the kvmi_event_ functions opened
 * @nr_rings: number of @rings
 * @looks: how often they were looked at
 * @next: which of them to look at first, so that none starves
 * @last: the one whose record was handed out last
 * @polls: see kvmi_event_set_polling()
 */
struct kvmi_vm {
	int fd;
	struct kvmi_ring *own;
	struct kvmi_ring **rings;
	unsigned int nr_rings;
	unsigned int looks;
	unsigned int next;
	struct kvmi_ring *last;
	bool polls;
};

/* Stores the message and returns @err, so that a caller can return it. */
int kvmi_error_set(int err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int kvmi_error_clear(void);

/* /dev/kvmi, or -errno with a message. */
int kvmi_device_open(void);

/* ioctl on the session: 0 or more, or -errno with a message. */
int kvmi_vm_ioctl(struct kvmi_vm *vm, unsigned long cmd, void *arg,
		  const char *what);

/* What one call takes at most: bytes of a transfer, entries of a list. */
#define MAX_PIECE	0x40000000UL
#define KVMI_MAX_LIST	65536UL

/* space.c: the message of an error that an entry has; returns it. */
int kvmi_space_error(int err, const char *what, uint64_t gva);

/* KVMI_RW_LIST, in space or of physical memory: entries that failed, or -errno. */
ssize_t kvmi_rw_list_call(struct kvmi_vm *vm, const struct kvmi_space *space,
			  struct kvmi_rw *list, size_t nr, uint32_t flags,
			  const char *what);

int64_t kvmi_now_ns(void);

/* May have written the reply without the kick that it needs: 1. */
int kvmi_ring_write_reply(struct kvmi_ring *ring, uint64_t id,
			  const struct kvmi_reply *reply);
/* KVMI_WAIT; 1, 0 when the time is over, or -errno. */
int kvmi_vm_wait_ioctl(struct kvmi_vm *vm, uint32_t kick, uint32_t wait,
		       int64_t timeout_ns);
/* The record at the ring's position, checked; see kvmi_ring_next(). */
int kvmi_ring_peek(struct kvmi_ring *ring, const struct kvmi_event **event);

/* vmlist.c: the process's VMs; -errno with a message. */
int kvmi_find_vm_fd(pid_t pid, int *fd);
int kvmi_find_vm_name(const char *name, pid_t *pid, int *fd);
/* Says why pidfd_getfd(2) or the look into /proc was refused. */
int kvmi_error_ptrace(pid_t pid, int err);

#endif
