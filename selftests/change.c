// SPDX-License-Identifier: GPL-2.0-only
/* What becomes of the VM: its slots, its vCPUs, its end, and that it is leaving. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "lib/tool.h"

#define SLOT		5
#define SLOT_GPA	0x40000000ULL
/* More than all the rest has. */
#define SLOT_SIZE	(64ULL << 20)

static __guest uint64_t count_until(uint64_t *flag, uint64_t *count)
{
	while (!*(volatile uint64_t *)flag)
		(*(volatile uint64_t *)count)++;
	return 1;
}

static void watch_change(struct kvmi_vm *kv, unsigned int first, unsigned int last,
			 unsigned int mode)
{
	struct kvmi_control_event ctl = {
		.vcpu = KVMI_VCPU_VM,
		.kind = KVMI_EVENT_VM,
		.mode = mode,
		.index = first,
		.index_last = last,
	};

	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
}

static const struct kvmi_ev_vm *wait_change(struct kvmi_vm *kv, unsigned int change)
{
	const struct kvmi_event *event = tool_wait(kv, KVMI_EVENT_VM);

	KTAP_EQ(event->vcpu, KVMI_VCPU_VM);
	KTAP_EQ(kvmi_event_vm(event)->change, change);
	return kvmi_event_vm(event);
}

KTAP_CASE(slots, "E20")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	const struct kvmi_ev_vm *ev;

	watch_change(kv, KVMI_VM_SLOT_CREATED, KVMI_VM_GONE, KVMI_MODE_ASYNC);
	vmm_slot_add(vm, SLOT, SLOT_GPA, 4 << 20, 0);
	ev = wait_change(kv, KVMI_VM_SLOT_CREATED);
	KTAP_EQ(ev->slot, SLOT);
	KTAP_EQ(ev->gfn, SLOT_GPA >> 12);
	KTAP_EQ(ev->nr_pages, 1024);
	KTAP_EQ(ev->flags, 0);

	vmm_slot_set_flags(vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	ev = wait_change(kv, KVMI_VM_SLOT_FLAGS);
	KTAP_EQ(ev->old_flags, 0);
	KTAP_EQ(ev->flags, KVMI_SLOT_DIRTY_LOG);
	/* There is a larger one: the VM stays. */
	vmm_slot_set_flags(vm, SLOT, 0);
	ev = wait_change(kv, KVMI_VM_SLOT_FLAGS);
	KTAP_EQ(ev->flags, 0);

	vmm_slot_move(vm, SLOT, SLOT_GPA + (16 << 20));
	ev = wait_change(kv, KVMI_VM_SLOT_MOVED);
	KTAP_EQ(ev->old_gfn, SLOT_GPA >> 12);
	KTAP_EQ(ev->gfn, (SLOT_GPA >> 12) + (16 << 8));

	vmm_slot_delete(vm, SLOT);
	ev = wait_change(kv, KVMI_VM_SLOT_DELETED);
	KTAP_EQ(ev->gfn, (SLOT_GPA >> 12) + (16 << 8));
	KTAP_EQ(ev->nr_pages, 1024);
	tool_wait_none(kv, 5);

	/* The last record can be read when the VM is no more. */
	vmm_destroy(vm);
	wait_change(kv, KVMI_VM_GONE);
	kvmi_vm_close(kv);
}

/* One kind of change without the others; an observer with its own. */
KTAP_CASE(some_changes, "E20 D7")
{
	struct kvmi_vm_options options = {
		.size = sizeof(options),
		.flags = KVMI_VM_OBSERVER,
	};
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm), *other;
	struct kvmi_control_event ctl = {
		.vcpu = 0,
		.kind = KVMI_EVENT_VM,
		.mode = KVMI_MODE_ASYNC,
		.index = KVMI_VM_GONE,
	};

	KTAP_LIB_OK(kvmi_vm_attach_fd(vm->fd, &options, &other));
	watch_change(kv, KVMI_VM_SLOT_DELETED, 0, KVMI_MODE_ASYNC);
	watch_change(other, KVMI_VM_SLOT_CREATED, 0, KVMI_MODE_ASYNC);
	vmm_slot_add(vm, SLOT, SLOT_GPA, 4 << 20, 0);
	vmm_slot_delete(vm, SLOT);
	wait_change(kv, KVMI_VM_SLOT_DELETED);
	wait_change(other, KVMI_VM_SLOT_CREATED);
	tool_wait_none(kv, 5);
	tool_wait_none(other, 5);

	KTAP_LIB_ERR(kvmi_event_control(kv, &ctl), EINVAL);
	ctl.vcpu = KVMI_VCPU_VM;
	ctl.mode = KVMI_MODE_SYNC;
	KTAP_LIB_ERR(kvmi_event_control(kv, &ctl), EINVAL);
	ctl.index = KVMI_VM_LEAVING;
	ctl.index_last = KVMI_VM_STAYING;
	KTAP_LIB_ERR(kvmi_event_control(kv, &ctl), EINVAL);
	ctl.index_last = 0;
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	KTAP_LIB_ERR(kvmi_event_control(other, &ctl), EPERM);
	kvmi_vm_close(other);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* The VMM begins to log, on a thread of its own, as it is made to wait. */
struct logger {
	struct vmm *vm;
	pthread_t thread;
	atomic_int done;
	double seconds;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void *log_thread(void *arg)
{
	struct logger *l = arg;
	double start = now();

	vmm_slot_set_flags(l->vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	l->seconds = now() - start;
	l->done = 1;
	return NULL;
}

static void log_start(struct logger *l, struct vmm *vm)
{
	l->vm = vm;
	l->done = 0;
	KTAP_EQ(pthread_create(&l->thread, NULL, log_thread, l), 0);
}

/*
 * What a migration reads is what the guest had: the tool's change is taken back
 * before logging begins, while the guest runs on.
 */
KTAP_CASE_SMP(leaving, "E20")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1), was;
	volatile uint64_t *mem = vmm_gpa(vm, gpa);
	const struct kvmi_event *event;
	const struct kvmi_ev_vm *ev;
	struct logger l;
	char *slot;
	int i, n;

	slot = vmm_slot_add(vm, SLOT, SLOT_GPA, SLOT_SIZE, 0);
	watch_change(kv, KVMI_VM_LEAVING, 0, KVMI_MODE_SYNC);
	watch_change(kv, KVMI_VM_STAYING, 0, KVMI_MODE_ASYNC);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, count_until, gpa, gpa + 64 + i * 64, 0);
	vmm_start_all(vm);

	for (n = 0; n < 3; n++) {
		KTAP_EQ(kvmi_vm_write(kv, SLOT_GPA + 64, "\xcc", 1), 1);
		log_start(&l, vm);
		event = tool_wait(kv, KVMI_EVENT_VM);
		KTAP_ASSERT(kvmi_event_is_sync(event));
		ev = kvmi_event_vm(event);
		KTAP_EQ(ev->change, KVMI_VM_LEAVING);
		KTAP_EQ(ev->slot, SLOT);
		KTAP_EQ(ev->nr_pages, SLOT_SIZE >> 12);
		was = mem[8];
		tool_msleep(20);
		KTAP_ASSERT(!l.done);
		KTAP_EQ(slot[64], (char)0xcc);
		/* The guest is not stopped by it. */
		for (i = 0; mem[8] == was && i < 1000; i++)
			tool_msleep(2);
		KTAP_NE(mem[8], was);
		KTAP_EQ(kvmi_vm_write(kv, SLOT_GPA + 64, "\x00", 1), 1);
		tool_reply(kv, event, KVMI_ACTION_CONTINUE);
		KTAP_EQ(pthread_join(l.thread, NULL), 0);
		KTAP_EQ(slot[64], 0);
		/* It is logged; and what is written now is in the log. */
		KTAP_EQ(kvmi_vm_write(kv, SLOT_GPA + 5 * 4096, "\x01", 1), 1);
		KTAP_EQ(vmm_slot_dirty_log(vm, SLOT)[0], 1 << 5);

		vmm_slot_set_flags(vm, SLOT, 0);
		wait_change(kv, KVMI_VM_STAYING);
	}
	mem[0] = 1;
	for (i = 0; i < nr_vcpus; i++)
		KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), 1);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* A VMM waits neither for a tool that sleeps, nor for one that dies. */
KTAP_CASE(leaving_unanswered, "E20 D8")
{
	struct vmm *vm = vmm_create(1, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	struct kvmi_reply reply;
	const struct kvmi_event *event;
	struct kvmi_ring *ring;
	struct logger l;
	uint64_t id;

	vmm_slot_add(vm, SLOT, SLOT_GPA, SLOT_SIZE, 0);
	watch_change(kv, KVMI_VM_LEAVING, 0, KVMI_MODE_SYNC);
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 200, KVMI_ACTION_CONTINUE));
	KTAP_LIB_OK(kvmi_ring_open(kv, KVMI_VCPU_VM, -1, &ring));
	log_start(&l, vm);
	KTAP_EQ(pthread_join(l.thread, NULL), 0);
	KTAP_ASSERT(l.seconds > 0.15 && l.seconds < 8);
	KTAP_EQ(kvmi_ring_last_error(ring, &id), -ETIMEDOUT);

	/* A bad answer is one. */
	vmm_slot_set_flags(vm, SLOT, 0);
	KTAP_LIB_OK(kvmi_vm_set_policy(kv, 0, KVMI_ACTION_CONTINUE));
	KTAP_EQ(kvmi_ring_next(ring, &event), 1);
	KTAP_EQ(event->id, id);
	log_start(&l, vm);
	KTAP_EQ(kvmi_ring_wait(ring, &event, TOOL_PATIENCE), 1);
	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	KTAP_LIB_OK(kvmi_ring_answer(ring, event->id, &reply));
	KTAP_EQ(pthread_join(l.thread, NULL), 0);
	KTAP_EQ(kvmi_ring_last_error(ring, NULL), -EINVAL);
	KTAP_ASSERT(l.seconds < 8);

	/* Nobody wants to know any more; the session ends. */
	vmm_slot_set_flags(vm, SLOT, 0);
	log_start(&l, vm);
	KTAP_EQ(kvmi_ring_wait(ring, &event, TOOL_PATIENCE), 1);
	KTAP_LIB_OK(kvmi_vm_reset(kv, KVMI_RESET_EVENTS));
	KTAP_EQ(pthread_join(l.thread, NULL), 0);
	KTAP_ASSERT(l.seconds < 8);
	vmm_slot_set_flags(vm, SLOT, 0);
	watch_change(kv, KVMI_VM_LEAVING, 0, KVMI_MODE_SYNC);
	log_start(&l, vm);
	KTAP_EQ(kvmi_ring_wait(ring, &event, TOOL_PATIENCE), 1);
	kvmi_ring_close(ring);
	kvmi_vm_close(kv);
	KTAP_EQ(pthread_join(l.thread, NULL), 0);
	KTAP_ASSERT(l.seconds < 8);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
