// SPDX-License-Identifier: GPL-2.0-only
/* The form of the ABI: what every ioctl makes of a wrong argument. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE	4096UL

static const struct {
	const char *name;
	unsigned long cmd;
	size_t size;
	bool flags_checked;	/* a wrong flag is all that is wrong */
} ioctls[] = {
	{ "GET_CAPS", KVMI_GET_CAPS, sizeof(struct kvmi_caps), true },
	{ "DETACH", KVMI_DETACH, sizeof(struct kvmi_detach), true },
	{ "GET_INFO", KVMI_GET_INFO, sizeof(struct kvmi_info), true },
	{ "GET_SLOTS", KVMI_GET_SLOTS, sizeof(struct kvmi_slots), true },
	{ "GET_VCPU", KVMI_GET_VCPU, sizeof(struct kvmi_vcpu_info), true },
	{ "SET_POLICY", KVMI_SET_POLICY, sizeof(struct kvmi_policy), true },
	{ "NARROW", KVMI_NARROW, sizeof(struct kvmi_narrow), true },
	{ "GET_STATS", KVMI_GET_STATS, sizeof(struct kvmi_stats), true },
	{ "GET_EXITS", KVMI_GET_EXITS, sizeof(struct kvmi_exits), true },
	{ "RESET", KVMI_RESET, sizeof(struct kvmi_reset), true },
	{ "GET_RING", KVMI_GET_RING, sizeof(struct kvmi_get_ring), true },
	{ "WAIT", KVMI_WAIT, sizeof(struct kvmi_wait), true },
	{ "CONTROL_EVENT", KVMI_CONTROL_EVENT,
	  sizeof(struct kvmi_control_event), true },
	{ "PAUSE", KVMI_PAUSE, sizeof(struct kvmi_pause), true },
	{ "RESUME", KVMI_RESUME, sizeof(struct kvmi_pause), true },
	{ "GET_REGS", KVMI_GET_REGS, sizeof(struct kvmi_regs), true },
	{ "SET_REGS", KVMI_SET_REGS, sizeof(struct kvmi_regs), true },
	{ "GET_STATE", KVMI_GET_STATE, sizeof(struct kvmi_state), true },
	{ "SET_STATE", KVMI_SET_STATE, sizeof(struct kvmi_state), true },
	{ "GET_MSRS", KVMI_GET_MSRS, sizeof(struct kvmi_msrs), true },
	{ "SET_MSRS", KVMI_SET_MSRS, sizeof(struct kvmi_msrs), true },
	{ "READ_PHYS", KVMI_READ_PHYS, sizeof(struct kvmi_phys), true },
	{ "WRITE_PHYS", KVMI_WRITE_PHYS, sizeof(struct kvmi_phys), true },
	{ "RW_LIST", KVMI_RW_LIST, sizeof(struct kvmi_rw_list), true },
	{ "TRANSLATE", KVMI_TRANSLATE, sizeof(struct kvmi_translate), true },
	{ "GET_MAP", KVMI_GET_MAP, sizeof(struct kvmi_get_map), true },
	{ "VIEW_CREATE", KVMI_VIEW_CREATE, sizeof(struct kvmi_view), true },
	{ "VIEW_DESTROY", KVMI_VIEW_DESTROY, sizeof(struct kvmi_view), true },
	{ "VIEW_SWITCH", KVMI_VIEW_SWITCH, sizeof(struct kvmi_view), true },
	{ "ACCESS_SET", KVMI_ACCESS_SET, sizeof(struct kvmi_access), true },
	{ "ACCESS_GET", KVMI_ACCESS_GET, sizeof(struct kvmi_access), true },
	{ "GET_VIEWS", KVMI_GET_VIEWS, sizeof(struct kvmi_views), true },
	{ "VIEW_CHECK", KVMI_VIEW_CHECK, sizeof(struct kvmi_view_check), true },
	{ "REMAP", KVMI_REMAP, sizeof(struct kvmi_remap), true },
	{ "SNAPSHOT", KVMI_SNAPSHOT, sizeof(struct kvmi_snapshot), true },
	{ "PAGE_ALLOC", KVMI_PAGE_ALLOC, sizeof(struct kvmi_pages), true },
	{ "PAGE_FREE", KVMI_PAGE_FREE, sizeof(struct kvmi_pages), true },
	{ "WATCH_BYTES", KVMI_WATCH_BYTES, sizeof(struct kvmi_watch_bytes),
	  true },
	{ "VIEW_LINK", KVMI_VIEW_LINK, sizeof(struct kvmi_view_link), true },
	{ "BREAKPOINT_SET", KVMI_BREAKPOINT_SET,
	  sizeof(struct kvmi_breakpoint), true },
	{ "BREAKPOINT_CLEAR", KVMI_BREAKPOINT_CLEAR,
	  sizeof(struct kvmi_breakpoint), true },
	{ "BREAKPOINT_GET", KVMI_BREAKPOINT_GET,
	  sizeof(struct kvmi_breakpoint), true },
	{ "BATCH", KVMI_BATCH, sizeof(struct kvmi_batch), true },
	{ "INJECT", KVMI_INJECT, sizeof(struct kvmi_inject), true },
};

/* Of its first version: some have grown. */
static size_t first_size(unsigned int i)
{
	switch (ioctls[i].cmd) {
	case KVMI_CONTROL_EVENT:
		return offsetof(struct kvmi_control_event, rate);
	case KVMI_READ_PHYS:
	case KVMI_WRITE_PHYS:
		return offsetof(struct kvmi_phys, view);
	case KVMI_RW_LIST:
		return offsetof(struct kvmi_rw_list, view);
	case KVMI_TRANSLATE:
		return offsetof(struct kvmi_translate, view);
	case KVMI_SET_POLICY:
		return offsetof(struct kvmi_policy, on_close);
	case KVMI_GET_STATS:
		return offsetof(struct kvmi_stats, out_counted);
	default:
		return ioctls[i].size;
	}
}

KTAP_CASE(every_ioctl_checks_its_struct, "")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	int fd = kvmi_vm_fd(kv);
	union {
		struct { uint32_t size, flags; };
		uint8_t bytes[1024];
	} arg;
	static uint8_t large[8192] __attribute__((aligned(8)));
	unsigned int i, n;

	for (i = 0; i < sizeof(ioctls) / sizeof(ioctls[0]); i++) {
		ktap_diag("%s", ioctls[i].name);
		memset(&arg, 0, sizeof(arg));
		for (n = 0; n < first_size(i); n += 4) {
			arg.size = n;
			KTAP_ERR(ioctl(fd, ioctls[i].cmd, &arg), EINVAL);
		}
		/* A tail that is not known must be zero. */
		arg.size = ioctls[i].size + 8;
		arg.bytes[ioctls[i].size + 7] = 1;
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, &arg), E2BIG);
		arg.size = 1 << 20;
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, &arg), E2BIG);
		/* Unknown flags; with a longer struct, too. */
		arg.bytes[ioctls[i].size + 7] = 0;
		arg.size = ioctls[i].size;
		arg.flags = 1U << 30;
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, &arg), EINVAL);
		arg.size = ioctls[i].size + 8;
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, &arg), EINVAL);
		/* No struct is larger than a page. */
		memset(large, 0, sizeof(large));
		*(uint32_t *)large = 4097;
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, large), E2BIG);
		/* No struct. */
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, NULL), EFAULT);
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, 8UL), EFAULT);
		KTAP_ERR(ioctl(fd, ioctls[i].cmd, -4096UL), EFAULT);
	}
	KTAP_ERR(ioctl(fd, _IO(KVMI_IOC_TYPE, 0xff), &arg), ENOTTY);
	KTAP_ERR(ioctl(fd, _IO(KVMI_IOC_TYPE, 0x02), &arg), ENOTTY);
	KTAP_ERR(ioctl(fd, KVMI_ATTACH, &arg), ENOTTY);
	KTAP_ERR(ioctl(fd, _IO(0xae, 0x10), &arg), ENOTTY);
	KTAP_ERR(ioctl(fd, _IOW(KVMI_IOC_TYPE, 0x11, int), &arg), ENOTTY);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* Of the device, not of a session. */
KTAP_CASE(host_msrs, "S9")
{
	struct { struct kvmi_host_msrs m; uint64_t tail; } arg = {};
	int fd = KTAP_OK(open("/dev/kvmi", O_RDWR));

	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), EINVAL);
	arg.m.size = sizeof(arg);
	arg.tail = 1;
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), E2BIG);
	arg.m.size = 8192;
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), E2BIG);
	arg.tail = 0;
	arg.m.size = sizeof(arg);
	arg.m.flags = 1;
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), EINVAL);
	arg.m.flags = 0;
	KTAP_OK(ioctl(fd, KVMI_GET_HOST_MSRS, &arg));
	KTAP_LE(1, arg.m.out_nr);
	arg.m.nr = 0xffffffff;
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), EFAULT);
	arg.m.msrs = (uint64_t)-4096;
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, &arg), EFAULT);
	KTAP_ERR(ioctl(fd, KVMI_GET_HOST_MSRS, NULL), EFAULT);
	close(fd);
}

KTAP_CASE(capabilities, "")
{
	struct kvmi_caps caps;

	KTAP_LIB_OK(kvmi_caps_get(&caps));
	KTAP_EQ(caps.out_abi, KVMI_ABI_VERSION);
	KTAP_EQ(caps.out_arch, KVMI_ARCH_X86);
	KTAP_ASSERT(caps.out_vendor == KVMI_VENDOR_INTEL ||
		    caps.out_vendor == KVMI_VENDOR_AMD);
	KTAP_EQ(caps.out_access & 0xab, 0xab & caps.out_access);
	KTAP_ASSERT(caps.out_access & 1U << KVMI_ACCESS_RWX);
	KTAP_ASSERT(caps.out_events & 1ULL << KVMI_EVENT_X86_CPUID);
	KTAP_EQ(caps.out_events & 1ULL << KVMI_EVENT_CANCELLED, 0);
}

KTAP_CASE(no_such_vcpu, "")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	static const unsigned int bad[] = { 2, 4096, 0x7fffffff, 0xfffffff0 };
	struct kvmi_get_ring ring = { .size = sizeof(ring), .eventfd = -1 };
	struct kvmi_wait wait = {
		.size = sizeof(wait), .wait = KVMI_VCPU_NONE,
	};
	struct kvmi_vcpu_info info;
	struct kvmi_x86_gprs regs;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		KTAP_LIB_ERR(kvmi_vcpu_get_info(kv, bad[i], &info), ENOENT);
		KTAP_LIB_ERR(kvmi_vcpu_get_gprs(kv, bad[i], &regs), ENOENT);
		KTAP_LIB_ERR(kvmi_vcpu_pause(kv, bad[i]), ENOENT);
		KTAP_LIB_ERR(kvmi_view_switch(kv, bad[i], 0), ENOENT);
		KTAP_LIB_ERR(kvmi_event_watch(kv, bad[i], KVMI_EVENT_STEP, 1,
					      0), ENOENT);
		ring.vcpu = bad[i];
		KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_GET_RING, &ring), ENOENT);
		wait.kick = bad[i];
		KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_WAIT, &wait), ENOENT);
		wait.kick = KVMI_VCPU_NONE;
		wait.wait = bad[i];
		KTAP_ERR(ioctl(kvmi_vm_fd(kv), KVMI_WAIT, &wait), ENOENT);
		wait.wait = KVMI_VCPU_NONE;
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(events_that_are_not_to_be_had, "")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_control_event ctl = { .size = sizeof(ctl), .mode = 1 };
	uint64_t known = 0;
	struct kvmi_caps caps;
	int fd = kvmi_vm_fd(kv);
	unsigned int i;

	KTAP_LIB_OK(kvmi_vm_get_caps(kv, &caps));
	for (i = 0; i < KVMI_NR_KINDS; i++) {
		ctl.kind = i;
		ctl.index = i == KVMI_EVENT_X86_CR ? 3 :
			    i == KVMI_EVENT_VM || i == KVMI_EVENT_VCPU ||
			    i == KVMI_EVENT_X86_DELIVERY ? 1 : 0;
		ctl.access = i == KVMI_EVENT_X86_MSR ||
			     i == KVMI_EVENT_X86_DR ||
			     i == KVMI_EVENT_X86_DTABLE ||
			     i == KVMI_EVENT_X86_IO ||
			     i == KVMI_EVENT_MMIO ? 1 : 0;
		ctl.vcpu = i == KVMI_EVENT_VM ? KVMI_VCPU_VM : 0;
		ctl.mode = KVMI_MODE_OFF;
		if (caps.out_events & 1ULL << i) {
			KTAP_OK(ioctl(fd, KVMI_CONTROL_EVENT, &ctl));
			known++;
		} else {
			KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl),
				 EOPNOTSUPP);
		}
	}
	KTAP_ASSERT(known >= 6);
	ctl.vcpu = 0;
	ctl.kind = KVMI_NR_KINDS;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.kind = KVMI_EVENT_X86_CPUID;
	ctl.mode = 4;
	ctl.index = 0;
	ctl.access = 0;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.mode = 1;
	ctl.regs = 1U << 20;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.regs = 0;
	ctl.mask = 1;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.mask = 0;
	ctl.index_last = 1;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.index_last = 0;
	ctl.pad = 1;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	ctl.pad = 0;
	ctl.kind = KVMI_EVENT_X86_CR;
	ctl.index = 2;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EOPNOTSUPP);
	ctl.kind = KVMI_EVENT_X86_MSR;
	ctl.index = 0x174;
	ctl.access = 0;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), EINVAL);
	/* As many MSRs as are promised, and no more. */
	ctl.access = KVMI_ACCESS_R;
	for (i = 0; i < caps.out_max_msrs; i++) {
		ctl.index = 0xc0001000 + i;
		KTAP_OK(ioctl(fd, KVMI_CONTROL_EVENT, &ctl));
	}
	ctl.index = 0x174;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), ENOSPC);
	ctl.vcpu = KVMI_VCPU_ALL;
	KTAP_ERR(ioctl(fd, KVMI_CONTROL_EVENT, &ctl), ENOSPC);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* What was enabled can be disabled, with no room left as well. */
KTAP_CASE(all_msrs_on_and_off, "E5")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_caps caps;
	enum kvmi_event_mode mode = KVMI_MODE_SYNC;
	unsigned int i;

	KTAP_LIB_OK(kvmi_vm_get_caps(kv, &caps));
	for (i = 0; i < 2 * caps.out_max_msrs; i++) {
		if (i == caps.out_max_msrs)
			mode = KVMI_MODE_OFF;
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL,
						 0xc0001000 +
						 i % caps.out_max_msrs,
						 KVMI_ACCESS_R, mode, 0));
	}
	/* And what never was. */
	KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, 0x174,
					 KVMI_ACCESS_R, mode, 0));
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(mappings, "D3")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_get_ring get = { .size = sizeof(get), .eventfd = -1 };
	int fd = kvmi_vm_fd(kv);

#define NO_MAP(len, prot, flags, off, err)				\
	do {								\
		errno = 0;						\
		KTAP_ASSERT(mmap(NULL, len, prot, flags, fd, off) ==	\
			    MAP_FAILED);				\
		KTAP_EQ(errno, err);					\
	} while (0)
	KTAP_OK(ioctl(fd, KVMI_GET_RING, &get));
	NO_MAP(4096, PROT_READ | PROT_WRITE, MAP_SHARED, get.out_header_offset,
	       EPERM);
	NO_MAP(4096, PROT_READ | PROT_EXEC, MAP_SHARED, get.out_header_offset,
	       EPERM);
	NO_MAP(4096, PROT_READ, MAP_PRIVATE, get.out_header_offset, EINVAL);
	NO_MAP(get.out_header_size + 4096, PROT_READ, MAP_SHARED,
	       get.out_header_offset, EINVAL);
	NO_MAP(8192, PROT_READ, MAP_SHARED, get.out_tool_offset, EINVAL);
	NO_MAP(4096, PROT_READ, MAP_SHARED, get.out_tool_offset + 4096, EINVAL);
	NO_MAP(4096, PROT_READ, MAP_SHARED, get.out_header_offset + 4096,
	       EINVAL);
	NO_MAP(4096, PROT_READ, MAP_SHARED, 1UL << 40, ENOENT);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t one_cpuid(void)
{
	return guest_cpuid(0, 0).eax;
}

/* Where the answer cannot be written to, nothing is done, or it is taken back. */
KTAP_CASE(read_only_arguments, "D8 A4")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_view_info infos[1];
	int fd = kvmi_vm_fd(kv);
	void *page;

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	KTAP_ASSERT(page != MAP_FAILED);
	tool_watch(kv, KVMI_EVENT_INJECTED, KVMI_MODE_ASYNC, 0);
	*(struct kvmi_inject *)page = (struct kvmi_inject){
		.size = sizeof(struct kvmi_inject),
		.what = { .type = KVMI_X86_INJECT_EXCEPTION, .vector = 6 },
	};
	KTAP_OK(mprotect(page, PAGE, PROT_READ));
	KTAP_ERR(ioctl(fd, KVMI_INJECT, page), EFAULT);
	vmm_vcpu_set_entry(vm, 0, one_cpuid, 0, 0, 0);
	vmm_vcpu_run_done(vm, 0);
	tool_wait_none(kv, 0);

	KTAP_OK(mprotect(page, PAGE, PROT_READ | PROT_WRITE));
	*(struct kvmi_view *)page = (struct kvmi_view){
		.size = sizeof(struct kvmi_view),
		.default_access = KVMI_ACCESS_RWX,
	};
	KTAP_OK(mprotect(page, PAGE, PROT_READ));
	KTAP_ERR(ioctl(fd, KVMI_VIEW_CREATE, page), EFAULT);
	KTAP_EQ(kvmi_view_list(kv, infos, 1), 0);
	munmap(page, PAGE);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* An eventfd per ring, for a thread per vCPU. */
KTAP_CASE(eventfd_per_ring, "D3")
{
	struct vmm *vm = vmm_create(2, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_event *ev;
	struct kvmi_ring *ring[2];
	struct pollfd pfd[2];
	uint64_t count;
	int i;

	for (i = 0; i < 2; i++) {
		pfd[i].fd = KTAP_OK(eventfd(0, 0));
		pfd[i].events = POLLIN;
		KTAP_LIB_OK(kvmi_ring_open(kv, i, pfd[i].fd, &ring[i]));
	}
	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_ASYNC, 0);
	for (i = 0; i < 2; i++) {
		vmm_vcpu_set_entry(vm, i, one_cpuid, 0, 0, 0);
		vmm_vcpu_run_done(vm, i);
		KTAP_EQ(poll(pfd, 2, TOOL_PATIENCE), 1);
		KTAP_EQ(pfd[i].revents, POLLIN);
		KTAP_EQ(read(pfd[i].fd, &count, 8), 8);
		KTAP_EQ(count, 1);
		KTAP_EQ(kvmi_ring_next(ring[i], &ev), 1);
		KTAP_EQ(ev->vcpu, i);
		kvmi_ring_consume(ring[i]);
	}
	for (i = 0; i < 2; i++)
		kvmi_ring_close(ring[i]);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
