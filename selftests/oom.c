// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the host does not have, at each place where any is asked for, and
 * arguments that cannot be copied: the kernel's fault injection fails the first such
 * place of a call, then the second, until none is left. A call that fails goes through
 * when it is made again; and a guest notices nothing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/tool.h"

#define PAGE		4096UL
#define RX		(KVMI_ACCESS_R | KVMI_ACCESS_X)
#define RWX		KVMI_ACCESS_RWX
#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"
/* Places in one call. */
#define MANY		5000

static int nth_fd = -1;

static void arm(unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	/* Reading what is written here may be such a place itself. */
	if (pwrite(nth_fd, text, len, 0) != len)
		KTAP_EQ(pwrite(nth_fd, text, len, 0), len);
}

/* Was there such a place? */
static bool disarm(void)
{
	char text[16] = "";
	ssize_t len = pread(nth_fd, text, sizeof(text) - 1, 0);
	/* Else this was the next one. */
	bool failed = len > 0 && !atoi(text);

	arm(0);
	return failed;
}

/* What a case works on. */
struct oom {
	struct vmm *vm;
	struct kvmi_vm *kv;
	int fd;			/* the session's */
	int dev;
	uint64_t page;
	uint32_t view, other;
	uint64_t own;
	int made;
	void *map;
	uint32_t xsave_size;
};

struct op {
	const char *name;
	int (*call)(struct oom *o);
	void (*undo)(struct oom *o);
	bool asks;		/* for memory, or an argument: it has places at all */
};

static void each(struct oom *o, const struct op *op)
{
	unsigned int n, gone_wrong = 0;
	bool failed = true;
	int ret, err;

	for (n = 1; failed; n++) {
		KTAP_ASSERT(n < MANY, "%s does not get through", op->name);
		arm(n);
		ret = op->call(o);
		err = errno;
		failed = disarm();
		if (ret >= 0) {
			if (op->undo)
				op->undo(o);
			continue;
		}
		KTAP_ASSERT(failed, "%s: %s, of itself", op->name, ktap_errname(err));
		KTAP_ASSERT(err == ENOMEM || err == EFAULT, "%s: %s at place %u",
			    op->name, ktap_errname(err), n);
		gone_wrong++;
	}
	printf("# %s: %u places, of which %u made it fail\n", op->name, n - 2,
	       gone_wrong);
	if (op->asks)
		KTAP_GE(gone_wrong, 1);
}

static void all(struct oom *o, const struct op *ops, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		each(o, &ops[i]);
}

static struct oom begin(bool attach)
{
	struct oom o = { .vm = vmm_create(2, 0), .dev = -1 };

	o.page = vmm_alloc_pages(o.vm, 64);
	if (attach) {
		o.kv = tool_attach(o.vm);
		o.fd = kvmi_vm_fd(o.kv);
	}
	/* By threads of their own from the first. */
	nth_fd = KTAP_OK(open(FAIL_NTH, O_RDWR));
	/* No page fault between arming and the call. */
	KTAP_OK(mlockall(MCL_CURRENT));
	return o;
}

static void end(struct oom *o)
{
	munlockall();
	close(nth_fd);
	if (o->kv)
		kvmi_vm_close(o->kv);
	vmm_destroy(o->vm);
}

/* ---- attaching --------------------------------------------------------------- */

static int attach(struct oom *o)
{
	struct kvmi_attach args = { .size = sizeof(args), .vm_fd = o->vm->fd };

	return o->made = ioctl(o->dev, KVMI_ATTACH, &args);
}

static void detach(struct oom *o)
{
	struct kvmi_detach args = { .size = sizeof(args) };

	KTAP_OK(ioctl(o->made, KVMI_DETACH, &args));
	close(o->made);
}

static int hold(struct oom *o)
{
	struct kvmi_hold args = {
		.size = sizeof(args),
		.timeout_ms = 1000,
		.comm = "none-of-these",
	};
	int ret, err;

	/* What is held by one is until it is closed. */
	o->made = open("/dev/kvmi", O_RDWR | O_CLOEXEC);
	if (o->made < 0)
		return -1;
	ret = ioctl(o->made, KVMI_HOLD, &args);
	err = errno;
	if (ret)
		close(o->made);
	errno = err;
	return ret;
}

static void let_go(struct oom *o)
{
	close(o->made);
}

KTAP_CASE_TIME(attaching, "D1 D8", 300)
{
	static const struct op ops[] = {
		{ "KVMI_ATTACH", attach, detach, true },
		{ "KVMI_HOLD", hold, let_go, true },
	};
	struct oom o = begin(false);

	o.dev = KTAP_OK(open("/dev/kvmi", O_RDWR | O_CLOEXEC));
	all(&o, ops, sizeof(ops) / sizeof(ops[0]));
	close(o.dev);
	end(&o);
}

/* ---- calls -------------------------------------------------------------------- */

static int set_events(struct oom *o, unsigned int mode)
{
	struct kvmi_control_event args = {
		.size = sizeof(args),
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_MSR,
		.mode = mode,
		.access = KVMI_ACCESS_W,
		.index = 0xc0000080,
	};

	return ioctl(o->fd, KVMI_CONTROL_EVENT, &args);
}

static int events(struct oom *o)
{
	return set_events(o, KVMI_MODE_ASYNC);
}

static void no_events(struct oom *o)
{
	KTAP_OK(set_events(o, KVMI_MODE_OFF));
}

static int ring(struct oom *o)
{
	struct kvmi_get_ring args = {
		.size = sizeof(args),
		.vcpu = 1,
		.eventfd = -1,
	};

	return ioctl(o->fd, KVMI_GET_RING, &args);
}

static char buffer[64 * 1024];

static int regs(struct oom *o)
{
	struct kvmi_regs args = {
		.size = sizeof(args),
		.vcpu = KVMI_VCPU_ALL,
		.sets = KVMI_REGS_GENERAL,
		.buf = (uintptr_t)buffer,
		.buf_size = 2 * sizeof(struct kvmi_x86_gprs),
	};

	return ioctl(o->fd, KVMI_GET_REGS, &args);
}

static int xsave(struct oom *o)
{
	struct kvmi_state args = {
		.size = sizeof(args),
		.vcpu = 1,
		.kind = KVMI_STATE_XSAVE,
		.buf = (uintptr_t)buffer,
		.buf_size = sizeof(buffer),
	};
	int ret = ioctl(o->fd, KVMI_GET_STATE, &args);

	o->xsave_size = args.out_size;
	return ret;
}

static int set_xsave(struct oom *o)
{
	struct kvmi_state args = {
		.size = sizeof(args),
		.vcpu = 1,
		.kind = KVMI_STATE_XSAVE,
		.buf = (uintptr_t)buffer,
		.buf_size = o->xsave_size,
	};

	return ioctl(o->fd, KVMI_SET_STATE, &args);
}

static int phys(struct oom *o, unsigned int cmd)
{
	struct kvmi_phys args = {
		.size = sizeof(args),
		.gpa = o->page + 8,
		.len = 3 * PAGE,
		.buf = (uintptr_t)buffer,
	};

	return ioctl(o->fd, cmd, &args);
}

static int read_phys(struct oom *o)
{
	return phys(o, KVMI_READ_PHYS);
}

static int write_phys(struct oom *o)
{
	return phys(o, KVMI_WRITE_PHYS);
}

static int get_map(struct oom *o)
{
	struct kvmi_get_map args = { .size = sizeof(args) };
	int ret = ioctl(o->fd, KVMI_GET_MAP, &args);

	if (ret)
		return ret;
	o->map = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, o->fd,
		      args.out_offset + o->page);
	return o->map == MAP_FAILED ? -1 : 0;
}

/* A fault that has no memory is tried again. */
static void look(struct oom *o)
{
	arm(1);
	KTAP_EQ(*(volatile uint64_t *)((char *)o->map + 5 * PAGE), 0);
	disarm();
	munmap(o->map, 8 * PAGE);
}

static void drop_injection(struct oom *o)
{
	struct kvmi_reset args = {
		.size = sizeof(args),
		.what = KVMI_RESET_INJECT,
	};

	KTAP_OK(ioctl(o->fd, KVMI_RESET, &args));
}

static int inject(struct oom *o)
{
	struct kvmi_inject args = {
		.size = sizeof(args),
		.what.type = KVMI_X86_INJECT_NMI,
	};
	int ret = ioctl(o->fd, KVMI_INJECT, &args), err = errno;

	/* It is queued, and nobody was told so. */
	if (ret && err == EFAULT)
		drop_injection(o);
	errno = err;
	return ret;
}

static int pause_call(struct oom *o, unsigned int cmd)
{
	struct kvmi_pause args = { .size = sizeof(args), .vcpu = KVMI_VCPU_ALL };

	return ioctl(o->fd, cmd, &args);
}

static int pause_all(struct oom *o)
{
	return pause_call(o, KVMI_PAUSE);
}

static void resume_all(struct oom *o)
{
	KTAP_OK(pause_call(o, KVMI_RESUME));
}

KTAP_CASE_TIME(calls, "D1 D8", 300)
{
	static const struct op ops[] = {
		{ "KVMI_CONTROL_EVENT", events, no_events, true },
		{ "KVMI_GET_RING", ring, NULL, true },
		{ "KVMI_GET_REGS", regs, NULL, true },
		{ "KVMI_GET_STATE", xsave, NULL, true },
		{ "KVMI_SET_STATE", set_xsave, NULL, true },
		{ "KVMI_READ_PHYS", read_phys, NULL, true },
		{ "KVMI_WRITE_PHYS", write_phys, NULL, true },
		{ "KVMI_GET_MAP", get_map, look, true },
		{ "KVMI_INJECT", inject, drop_injection, true },
		{ "KVMI_PAUSE", pause_all, resume_all, true },
	};
	struct oom o = begin(true);

	all(&o, ops, sizeof(ops) / sizeof(ops[0]));
	end(&o);
}

/* ---- views --------------------------------------------------------------------- */

static int view_create(struct oom *o)
{
	struct kvmi_view args = { .size = sizeof(args), .default_access = RWX };
	int ret = ioctl(o->fd, KVMI_VIEW_CREATE, &args);

	o->other = args.view;
	return ret;
}

static void view_destroy(struct oom *o)
{
	struct kvmi_view args = { .size = sizeof(args), .view = o->other };

	KTAP_OK(ioctl(o->fd, KVMI_VIEW_DESTROY, &args));
}

static int switch_to(struct oom *o, uint32_t view)
{
	struct kvmi_view args = {
		.size = sizeof(args),
		.view = view,
		.vcpu = KVMI_VCPU_ALL,
	};

	return ioctl(o->fd, KVMI_VIEW_SWITCH, &args);
}

static int view_switch(struct oom *o)
{
	return switch_to(o, o->view);
}

static void view_leave(struct oom *o)
{
	KTAP_OK(switch_to(o, KVMI_VIEW_DEFAULT));
}

static int set_access(struct oom *o, uint32_t access)
{
	struct kvmi_access_range ranges[] = {
		{ .gfn = o->page / PAGE, .nr_pages = 4, .access = access },
		/* In another block, were they of 512 pages. */
		{ .gfn = 1024, .nr_pages = 600, .access = access },
	};
	struct kvmi_access args = {
		.size = sizeof(args),
		.view = o->view,
		.nr = 2,
		.ranges = (uintptr_t)ranges,
	};

	return ioctl(o->fd, KVMI_ACCESS_SET, &args);
}

static int access_set(struct oom *o)
{
	return set_access(o, RX);
}

static void access_reset(struct oom *o)
{
	KTAP_OK(set_access(o, KVMI_ACCESS_DEFAULT));
}

static int watch_some(struct oom *o, uint32_t len)
{
	struct kvmi_watch_bytes args = {
		.size = sizeof(args),
		.view = o->view,
		.gpa = o->page + 8 * PAGE,
		.len = len,
	};

	return ioctl(o->fd, KVMI_WATCH_BYTES, &args);
}

static int watch_bytes(struct oom *o)
{
	return watch_some(o, 8);
}

static void watch_no_bytes(struct oom *o)
{
	KTAP_OK(watch_some(o, 0));
}

static int own_alloc(struct oom *o)
{
	struct kvmi_pages args = {
		.size = sizeof(args),
		.gfn = KVMI_GFN_NONE,
		.nr_pages = 3,
	};
	int ret = ioctl(o->fd, KVMI_PAGE_ALLOC, &args);

	o->own = args.gfn;
	return ret;
}

static void own_free(struct oom *o)
{
	struct kvmi_pages args = {
		.size = sizeof(args),
		.gfn = o->own,
		.nr_pages = 3,
	};

	KTAP_OK(ioctl(o->fd, KVMI_PAGE_FREE, &args));
}

static int remap_to(struct oom *o, uint64_t source)
{
	struct kvmi_remap_page pages[] = {
		{ .gfn = o->page / PAGE + 10, .source = source },
		{ .gfn = o->page / PAGE + 11, .source = source },
	};
	struct kvmi_remap args = {
		.size = sizeof(args),
		.view = o->view,
		.nr = 2,
		.pages = (uintptr_t)pages,
	};

	return ioctl(o->fd, KVMI_REMAP, &args);
}

static int remap(struct oom *o)
{
	return remap_to(o, o->page / PAGE + 20);
}

static void remap_none(struct oom *o)
{
	KTAP_OK(remap_to(o, KVMI_GFN_NONE));
}

static int breakpoint_call(struct oom *o, unsigned int cmd)
{
	struct kvmi_breakpoint args = { .size = sizeof(args), .gpa = o->page + 77 };

	return ioctl(o->fd, cmd, &args);
}

static int breakpoint(struct oom *o)
{
	return breakpoint_call(o, KVMI_BREAKPOINT_SET);
}

static void no_breakpoint(struct oom *o)
{
	KTAP_OK(breakpoint_call(o, KVMI_BREAKPOINT_CLEAR));
}

static uint32_t make_view(struct oom *o, uint32_t access)
{
	uint32_t view;

	KTAP_LIB_OK(kvmi_view_create(o->kv, access, &view));
	return view;
}

KTAP_CASE_TIME(views, "D1 D8 V1 V2 V3", 300)
{
	static const struct op ops[] = {
		{ "KVMI_VIEW_CREATE", view_create, view_destroy, true },
		{ "KVMI_VIEW_SWITCH", view_switch, view_leave, true },
		{ "KVMI_ACCESS_SET", access_set, access_reset, true },
		{ "KVMI_WATCH_BYTES", watch_bytes, watch_no_bytes, true },
		{ "KVMI_PAGE_ALLOC", own_alloc, own_free, true },
		{ "KVMI_REMAP", remap, remap_none, true },
		{ "KVMI_BREAKPOINT_SET", breakpoint, no_breakpoint, true },
	};
	struct oom o = begin(true);

	o.view = make_view(&o, RWX);
	all(&o, ops, sizeof(ops) / sizeof(ops[0]));
	tool_check_views(o.kv);
	end(&o);
}

/* ---- vCPUs that run on views ----------------------------------------------------- */

#define PAGES	16

static __guest uint64_t write_pages(uint64_t addr, uint64_t n, uint64_t val)
{
	uint64_t i, sum = 0;

	for (i = 0; i < n; i++) {
		sum += GUEST_READ(uint64_t, addr + i * PAGE);
		GUEST_WRITE(uint64_t, addr + i * PAGE, val);
	}
	return sum;
}

/* On this thread, with what KVM itself answers where it has no memory. */
static int run_here(struct vmm *vm)
{
	struct vmm_vcpu *vcpu = &vm->vcpu[0];

	for (;;) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		vcpu->io_open = false;
		if (ret < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (ret < 0)
			return -1;
		if (vcpu->run->exit_reason == KVM_EXIT_INTR)
			continue;
		KTAP_EQ(vcpu->run->exit_reason, KVM_EXIT_IO);
		KTAP_EQ(vcpu->run->io.port, GUEST_UCALL_PORT);
		vcpu->io_open = true;
		return 0;
	}
}

static void run_each(struct oom *o, const char *name, void (*prepare)(struct oom *),
		     void (*after)(struct oom *))
{
	uint64_t *word = vmm_gpa(o->vm, o->page), i;
	unsigned int n, gone_wrong = 0;
	bool failed = true;

	for (n = 1; failed; n++) {
		KTAP_ASSERT(n < MANY, "%s does not get through", name);
		for (i = 0; i < PAGES; i++)
			word[i * PAGE / 8] = i + n;
		prepare(o);
		vmm_vcpu_set_entry(o->vm, 0, write_pages, o->page, PAGES, n);
		arm(n);
		while (run_here(o->vm)) {
			KTAP_ASSERT(errno == ENOMEM || errno == EFAULT, "%s: %s",
				    name, ktap_errname(errno));
			gone_wrong++;
		}
		failed = disarm();
		/* Nothing is lost, and nothing is done twice. */
		KTAP_EQ(o->vm->vcpu[0].cpu->uc.cmd, GUEST_DONE);
		KTAP_EQ(o->vm->vcpu[0].cpu->uc.args[0],
			PAGES * n + PAGES * (PAGES - 1) / 2);
		for (i = 0; i < PAGES; i++)
			KTAP_EQ(word[i * PAGE / 8], n);
		tool_check_views(o->kv);
		after(o);
	}
	printf("# %s: %u places, KVM_RUN failed %u times\n", name, n - 2, gone_wrong);
	KTAP_GE(n, 3);
}

static void fresh_view(struct oom *o)
{
	o->view = make_view(o, RWX);
	KTAP_OK(view_switch(o));
}

static void destroy(struct oom *o)
{
	KTAP_LIB_OK(kvmi_view_destroy(o->kv, o->view));
}

/* Each write is stepped on a table of this vCPU's. */
static void watched_view(struct oom *o)
{
	int i;

	fresh_view(o);
	KTAP_LIB_OK(kvmi_view_set_access(o->kv, o->view, o->page / PAGE, PAGES, RX));
	for (i = 0; i < PAGES; i++)
		KTAP_LIB_OK(kvmi_view_watch_bytes(o->kv, o->view,
						  o->page + i * PAGE + 8, 8));
}

static void kept_view(struct oom *o)
{
	struct kvmi_snapshot args = {
		.size = sizeof(args),
		.op = KVMI_SNAPSHOT_TAKE,
		.max_pages = 1000,
	};

	o->view = make_view(o, RX);
	args.view = o->view;
	KTAP_OK(ioctl(o->fd, KVMI_SNAPSHOT, &args));
	KTAP_OK(view_switch(o));
}

/* All is put back, or it is said that it cannot be. */
static void put_back(struct oom *o)
{
	uint64_t *word = vmm_gpa(o->vm, o->page), i;
	struct kvmi_snapshot args = {
		.size = sizeof(args),
		.op = KVMI_SNAPSHOT_RESET,
		.view = o->view,
	};
	uint64_t n = word[0];

	KTAP_OK(pause_all(o));
	if (ioctl(o->fd, KVMI_SNAPSHOT, &args)) {
		KTAP_EQ(errno, EOVERFLOW);
		KTAP_ASSERT(args.out_flags & KVMI_SNAPSHOT_F_FULL);
	} else {
		for (i = 0; i < PAGES; i++)
			KTAP_EQ(word[i * PAGE / 8], i + n);
	}
	resume_all(o);
	destroy(o);
}

KTAP_CASE_TIME(running, "D1 D8 V1 V3 V8 V9", 300)
{
	struct oom o = begin(true);

	run_each(&o, "filling a view", fresh_view, destroy);
	run_each(&o, "stepping over writes", watched_view, destroy);
	run_each(&o, "keeping pages", kept_view, put_back);
	end(&o);
}

/* ---- */

static void set(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0)
		return;
	KTAP_ASSERT(write(fd, value, strlen(value)) > 0, "%s: %s", file,
		    ktap_errname(errno));
	close(fd);
}

static const char *need(void)
{
	const char *why = ktap_need_kvmi();

	if (why)
		return why;
	if (access(FAIL_NTH, W_OK))
		return "this kernel has no fault injection";
	/* Of those that may wait for memory, as most may. */
	set(DEBUGFS "failslab/ignore-gfp-wait", "N");
	set(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	set(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	set(DEBUGFS "fail_page_alloc/min-order", "0");
	/* Where each of them comes from would look like trouble in the log. */
	set(DEBUGFS "failslab/verbose", "0");
	set(DEBUGFS "fail_page_alloc/verbose", "0");
	set(DEBUGFS "fail_usercopy/verbose", "0");
	return NULL;
}

KTAP_MAIN(need)
