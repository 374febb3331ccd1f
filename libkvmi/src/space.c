// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Virtual memory of the guest.
 */
#include "internal.h"

static int translate(struct kvmi_vm *vm, const struct kvmi_space *space,
		     struct kvmi_translation *list, size_t nr,
		     struct kvmi_translate *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->size = sizeof(*arg);
	arg->list = (uintptr_t)list;
	arg->nr = nr;
	arg->space = *space;
	return kvmi_vm_ioctl(vm, KVMI_TRANSLATE, arg,
			     "translate virtual addresses");
}

/**
 * kvmi_space_get() - The address space that a vCPU has at the time
 * @vm: the session
 * @vcpu: index of the vCPU
 * @space: where to store it
 *
 * It stays that of the guest's process, whatever the vCPU does afterwards; to
 * look into another process, change its root (on x86 the CR3). A space is a
 * plain struct: copy it, make your own.
 *
 * Return: 0 or a negative errno; -EAGAIN: the vCPU runs a nested guest.
 */
int kvmi_space_get(struct kvmi_vm *vm, unsigned int vcpu,
		   struct kvmi_space *space)
{
	struct kvmi_space of_vcpu = { .vcpu = vcpu };
	struct kvmi_translate arg;
	int ret;

	ret = translate(vm, &of_vcpu, NULL, 0, &arg);
	if (ret)
		return ret;
	*space = arg.out_space;
	return 0;
}

/**
 * kvmi_space_translate() - Translate a virtual address
 * @vm: the session
 * @space: in which address space
 * @gva: the address
 * @translation: where to store what the guest's page tables make of it, also on
 *	an error: how far they were followed; or NULL
 *
 * Return: 0 or a negative errno; -EADDRNOTAVAIL: not mapped; -ENXIO: a page
 * table is where the guest has no memory; -EINVAL: no such address.
 */
int kvmi_space_translate(struct kvmi_vm *vm, const struct kvmi_space *space,
			 uint64_t gva, struct kvmi_translation *translation)
{
	struct kvmi_translation tr = { .gva = gva };
	struct kvmi_translate arg;
	int ret;

	ret = translate(vm, space, &tr, 1, &arg);
	if (ret)
		return ret;
	if (translation)
		*translation = tr;
	return kvmi_space_error(tr.out_error, "translate", gva);
}

/**
 * kvmi_space_translate_list() - Translate many virtual addresses
 * @vm: the session
 * @space: in which address space
 * @list: gva of each is taken; what comes of it is stored there
 * @nr: entries
 *
 * Return: how many entries failed (their out_error says why), or a negative
 * errno if the call could not be completed.
 */
ssize_t kvmi_space_translate_list(struct kvmi_vm *vm,
				  const struct kvmi_space *space,
				  struct kvmi_translation *list, size_t nr)
{
	struct kvmi_translate arg;
	ssize_t failed = 0;
	size_t done = 0;
	size_t n;
	int ret;

	while (done < nr) {
		n = nr - done < KVMI_MAX_LIST ? nr - done : KVMI_MAX_LIST;
		ret = translate(vm, space, list + done, n, &arg);
		if (ret)
			return ret;
		failed += arg.out_failed;
		done += n;
	}
	return failed;
}

/* The meaning of an entry's error, in words. */
int kvmi_space_error(int err, const char *what, uint64_t gva)
{
	unsigned long long at = gva;

	switch (err) {
	case 0:
		return 0;
	case -EADDRNOTAVAIL:
		return kvmi_error_set(err,
				      "%s %#llx: not mapped by the guest's page tables",
				      what, at);
	case -ENXIO:
		return kvmi_error_set(err,
				      "%s %#llx: the guest has no memory where its page tables point",
				      what, at);
	case -EINVAL:
		return kvmi_error_set(err, "%s %#llx: no such virtual address",
				      what, at);
	default:
		return kvmi_error_set(err, "%s %#llx: %s", what, at,
				      strerror(-err));
	}
}

static ssize_t transfer(struct kvmi_vm *vm, const struct kvmi_space *space,
			uint64_t gva, void *buf, size_t len, uint32_t flags,
			const char *what)
{
	size_t done = 0;
	struct kvmi_rw rw;
	ssize_t ret;

	while (done < len) {
		memset(&rw, 0, sizeof(rw));
		rw.addr = gva + done;
		rw.buf = (uintptr_t)buf + done;
		rw.len = len - done < MAX_PIECE ? len - done : MAX_PIECE;
		ret = kvmi_rw_list_call(vm, space, &rw, 1, flags, what);
		if (ret >= 0)
			ret = rw.out_error;
		/* The kernel's count is only good within what was asked. */
		if (rw.out_done > rw.len)
			rw.out_done = rw.len;
		done += rw.out_done;
		if (!ret && rw.out_done == rw.len)
			continue;
		if (done)
			return done;
		return kvmi_space_error(ret ? ret : -EIO, what, gva);
	}
	return done;
}

/**
 * kvmi_space_read() - Read virtual memory
 * @vm: the session
 * @space: in which address space
 * @gva: from where
 * @buf: to where
 * @len: how much, across pages
 *
 * Return: bytes read, which are less than @len if what is mapped ends before,
 * or a negative errno if there are none, as kvmi_space_translate().
 */
ssize_t kvmi_space_read(struct kvmi_vm *vm, const struct kvmi_space *space,
			uint64_t gva, void *buf, size_t len)
{
	return transfer(vm, space, gva, buf, len, 0, "read");
}

/**
 * kvmi_space_write() - Write virtual memory
 * @vm: the session
 * @space: in which address space
 * @gva: to where
 * @buf: from where
 * @len: how much, across pages
 *
 * The guest's page tables are asked where, not whether: what is read-only to the
 * guest is written.
 *
 * Return: bytes written, as kvmi_space_read(); -EROFS: the memory is read-only.
 */
ssize_t kvmi_space_write(struct kvmi_vm *vm, const struct kvmi_space *space,
			 uint64_t gva, const void *buf, size_t len)
{
	return transfer(vm, space, gva, (void *)buf, len, KVMI_RW_WRITE,
			"write");
}

/**
 * kvmi_space_read_list() - Read virtual memory from many places at once
 * @vm: the session
 * @space: in which address space
 * @list: what to read, as for kvmi_vm_read_list()
 * @nr: entries
 *
 * Return: how many entries failed (their out_error says why), or a negative
 * errno if the call could not be completed.
 */
ssize_t kvmi_space_read_list(struct kvmi_vm *vm, const struct kvmi_space *space,
			     struct kvmi_rw *list, size_t nr)
{
	return kvmi_rw_list_call(vm, space, list, nr, 0,
				 "read a list of virtual memory");
}

/**
 * kvmi_space_write_list() - Write virtual memory in many places at once
 * @vm: the session
 * @space: in which address space
 * @list: what to write, as for kvmi_vm_write_list()
 * @nr: entries
 *
 * Return: as kvmi_space_read_list().
 */
ssize_t kvmi_space_write_list(struct kvmi_vm *vm,
			      const struct kvmi_space *space,
			      struct kvmi_rw *list, size_t nr)
{
	return kvmi_rw_list_call(vm, space, list, nr, KVMI_RW_WRITE,
				 "write a list of virtual memory");
}
