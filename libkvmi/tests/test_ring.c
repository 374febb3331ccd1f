// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rings, events and answers against an imitated kernel: one VM with up to
 * four vCPUs, whose shared memory the tests fill with what they like. It is on
 * the heap, to the byte, so that the sanitizer sees any wild access.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "../src/internal.h"

#define SESSION		77
#define DATA_SIZE	4096
#define MAX_VCPUS	4

static struct {
	unsigned int nr_vcpus;
	struct kvmi_ring_header *header[MAX_VCPUS];
	struct kvmi_ring_tool *tool[MAX_VCPUS];
	uint32_t data_offset, data_size, version;
	size_t header_size;
	int nr_maps;

	/* KVMI_WAIT */
	int nr_waits;
	struct kvmi_wait wait;
	int wait_errno;
	void (*on_wait)(void);
} k;

static int fake_ioctl(int fd, unsigned long cmd, void *arg)
{
	assert_int_equal(fd, SESSION);
	/* Every structure starts with its size. */
	assert_true(*(uint32_t *)arg >= 8);
	if (cmd == KVMI_GET_INFO) {
		struct kvmi_info *info = arg;

		info->out_nr_vcpus = k.nr_vcpus;
		return 0;
	}
	if (cmd == KVMI_GET_RING) {
		struct kvmi_get_ring *get = arg;

		if (get->vcpu >= k.nr_vcpus) {
			errno = ENOENT;
			return -1;
		}
		get->out_header_offset = get->vcpu * 0x100000;
		get->out_header_size = k.header_size;
		get->out_tool_offset = get->vcpu * 0x100000 + 0x80000;
		get->out_tool_size = sizeof(struct kvmi_ring_tool);
		return 0;
	}
	if (cmd == KVMI_WAIT) {
		k.nr_waits++;
		k.wait = *(struct kvmi_wait *)arg;
		if (k.on_wait)
			k.on_wait();
		if (k.wait_errno) {
			errno = k.wait_errno;
			return -1;
		}
		return 0;
	}
	errno = ENOTTY;
	return -1;
}

static void *fake_mmap(size_t size, int prot, int fd, off_t offset)
{
	unsigned int vcpu = offset / 0x100000;
	struct kvmi_ring_header *h;

	(void)fd;
	if (!size)
		return MAP_FAILED;
	k.nr_maps++;
	if (offset % 0x100000) {
		assert_int_equal(prot, PROT_READ | PROT_WRITE);
		k.tool[vcpu] = calloc(1, size);
		return k.tool[vcpu];
	}
	assert_int_equal(prot, PROT_READ);
	h = calloc(1, size);
	h->size = sizeof(*h);
	h->version = k.version;
	h->vcpu = vcpu;
	h->data_offset = k.data_offset;
	h->data_size = k.data_size;
	k.header[vcpu] = h;
	return h;
}

static int fake_munmap(void *addr, size_t size)
{
	(void)size;
	k.nr_maps--;
	free(addr);
	return 0;
}

static int fake_close(int fd)
{
	assert_int_equal(fd, SESSION);
	return 0;
}

static struct kvmi_vm *vm;

static int setup(void **state)
{
	(void)state;
	memset(&k, 0, sizeof(k));
	k.nr_vcpus = 2;
	k.version = KVMI_ABI_VERSION;
	k.data_offset = sizeof(struct kvmi_ring_header);
	k.data_size = DATA_SIZE;
	k.header_size = k.data_offset + DATA_SIZE;
	kvmi_sys.ioctl = fake_ioctl;
	kvmi_sys.mmap = fake_mmap;
	kvmi_sys.munmap = fake_munmap;
	kvmi_sys.close = fake_close;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -1;
	vm->fd = SESSION;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kvmi_vm_close(vm);
	return k.nr_maps ? -1 : 0;
}

static unsigned char *data(unsigned int vcpu)
{
	return (unsigned char *)k.header[vcpu] + k.data_offset;
}

/* Posts a record as the kernel does, a pad first where it must not wrap. */
static struct kvmi_event *post(unsigned int vcpu, unsigned int kind,
			       uint64_t id, unsigned int payload,
			       unsigned int more)
{
	struct kvmi_ring_header *h = k.header[vcpu];
	unsigned int size = sizeof(struct kvmi_event) + payload + more;
	uint64_t pos = h->producer % k.data_size;
	struct kvmi_event *ev = (void *)(data(vcpu) + pos);

	if (pos + size > k.data_size) {
		ev->size = k.data_size - pos;
		ev->kind = KVMI_EVENT_PAD;
		h->producer += ev->size;
		ev = (void *)data(vcpu);
	}
	memset(ev, 0, size);
	ev->size = size;
	ev->kind = kind;
	ev->flags = id ? KVMI_EVENT_F_SYNC : 0;
	ev->vcpu = vcpu;
	ev->header = sizeof(*ev);
	ev->payload = payload;
	ev->id = id;
	__atomic_store_n(&h->producer, h->producer + size, __ATOMIC_RELEASE);
	return ev;
}

static struct kvmi_ring *open_ring(unsigned int vcpu)
{
	struct kvmi_ring *ring;

	assert_int_equal(kvmi_ring_open(vm, vcpu, -1, &ring), 0);
	return ring;
}

static void ring_empty(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	const struct kvmi_event *ev;

	(void)state;
	assert_int_equal(kvmi_ring_next(ring, &ev), 0);
	assert_int_equal(k.nr_waits, 0);
	kvmi_ring_close(ring);
}

static void ring_record(void **state)
{
	struct kvmi_ring *ring = open_ring(1);
	const struct kvmi_event *ev;
	struct kvmi_event *posted;

	(void)state;
	posted = post(1, KVMI_EVENT_X86_CPUID, 9, 16, 0);
	((struct kvmi_x86_ev_cpuid *)(posted + 1))->function = 0x40000000;
	assert_int_equal(kvmi_ring_next(ring, &ev), 1);
	assert_ptr_equal(ev, posted);
	assert_true(kvmi_event_is_sync(ev));
	assert_non_null(kvmi_event_cpuid(ev));
	assert_int_equal(kvmi_event_cpuid(ev)->function, 0x40000000);
	assert_null(kvmi_event_cr(ev));
	assert_null(kvmi_event_gprs(ev));
	/* Its place is only given back when it is no longer looked at. */
	assert_int_equal(k.tool[1]->consumer, 0);
	assert_int_equal(kvmi_ring_next(ring, &ev), 0);
	assert_int_equal(k.tool[1]->consumer, posted->size);
	kvmi_ring_close(ring);
}

static void ring_wraps(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	const struct kvmi_event *ev;
	uint64_t i;

	(void)state;
	/* Sizes that leave pads of all lengths, down to 8 bytes. */
	for (i = 1; i < 5000; i++) {
		post(0, KVMI_EVENT_STEP, 0, 16, i % 13 * 8)->seq = i;
		if (i % 3)
			continue;
		assert_int_equal(kvmi_ring_next(ring, &ev), 1);
		assert_int_equal(ev->seq, i - 2);
		assert_int_equal(kvmi_ring_next(ring, &ev), 1);
		assert_int_equal(ev->seq, i - 1);
		assert_int_equal(kvmi_ring_next(ring, &ev), 1);
		assert_int_equal(ev->seq, i);
		assert_int_equal(kvmi_ring_next(ring, &ev), 0);
		assert_int_equal(k.tool[0]->consumer, k.header[0]->producer);
	}
	kvmi_ring_close(ring);
}

static void ring_resumes(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	const struct kvmi_event *ev;
	uint64_t consumer;

	(void)state;
	post(0, KVMI_EVENT_STEP, 0, 16, 0);
	assert_int_equal(kvmi_ring_next(ring, &ev), 1);
	kvmi_ring_consume(ring);
	consumer = k.tool[0]->consumer;
	assert_int_equal(consumer, k.header[0]->producer);
	/* Closing gives a record back that was still looked at. */
	post(0, KVMI_EVENT_STEP, 0, 16, 0);
	assert_int_equal(kvmi_ring_next(ring, &ev), 1);
	kvmi_ring_close(ring);
}

static void event_register_sets(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	const struct kvmi_event *ev;
	struct kvmi_event *posted;
	char *p;

	(void)state;
	posted = post(0, KVMI_EVENT_X86_CR, 3, 24,
		      sizeof(struct kvmi_x86_gprs) +
		      sizeof(struct kvmi_x86_segments));
	posted->regs = KVMI_REGS_GENERAL | KVMI_REGS_SEGMENT;
	p = (char *)(posted + 1) + 24;
	((struct kvmi_x86_gprs *)p)->r[KVMI_X86_RIP] = 0x1234;
	p += sizeof(struct kvmi_x86_gprs);
	((struct kvmi_x86_segments *)p)->cs.selector = 0x33;
	assert_int_equal(kvmi_ring_next(ring, &ev), 1);
	assert_int_equal(kvmi_event_gprs(ev)->r[KVMI_X86_RIP], 0x1234);
	assert_int_equal(kvmi_event_segments(ev)->cs.selector, 0x33);
	assert_null(kvmi_event_control_regs(ev));
	/* Sets that the record says to have, and has no room for. */
	posted->regs |= KVMI_REGS_CONTROL;
	assert_non_null(kvmi_event_gprs(ev));
	assert_null(kvmi_event_segments(ev));
	/* A payload that is too short for its kind. */
	posted->payload = 16;
	assert_null(kvmi_event_cr(ev));
	kvmi_ring_close(ring);
}

/* A kernel that has more to say in the header than we know. */
static void event_longer_header(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	const struct kvmi_event *ev;
	struct kvmi_event *posted;
	char *p;

	(void)state;
	posted = post(0, KVMI_EVENT_X86_CR, 3, sizeof(struct kvmi_x86_ev_cr),
		      16 + sizeof(struct kvmi_x86_gprs));
	posted->header = sizeof(*posted) + 16;
	posted->regs = KVMI_REGS_GENERAL;
	p = (char *)posted + posted->header;
	((struct kvmi_x86_ev_cr *)p)->new_value = 0x5678;
	p += sizeof(struct kvmi_x86_ev_cr);
	((struct kvmi_x86_gprs *)p)->r[KVMI_X86_RIP] = 0x1234;
	assert_int_equal(kvmi_ring_next(ring, &ev), 1);
	assert_int_equal(kvmi_event_cr(ev)->new_value, 0x5678);
	assert_int_equal(kvmi_event_gprs(ev)->r[KVMI_X86_RIP], 0x1234);
	kvmi_ring_close(ring);
}

static void ring_bad_geometry(void **state)
{
	static const struct {
		uint32_t offset, size, version;
		size_t header_size;
	} bad[] = {
		{ sizeof(struct kvmi_ring_header), 4096, 2, 8192 },
		{ sizeof(struct kvmi_ring_header), 5000, 1, 8192 },
		{ sizeof(struct kvmi_ring_header), 0, 1, 8192 },
		{ sizeof(struct kvmi_ring_header), 2048, 1, 8192 },
		{ sizeof(struct kvmi_ring_header), 8192, 1, 8192 },
		{ sizeof(struct kvmi_ring_header) + 4, 4096, 1, 8192 },
		{ 8, 4096, 1, 8192 },
		{ 0xfffffff8, 4096, 1, 8192 },
		{ 4104, 4096, 1, 8192 },
		{ 4096, 0x80000000, 1, 8192 },
		{ sizeof(struct kvmi_ring_header), 4096, 1, 64 },
		{ sizeof(struct kvmi_ring_header), 4096, 1, 0 },
	};
	struct kvmi_ring *ring;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		k.data_offset = bad[i].offset;
		k.data_size = bad[i].size;
		k.version = bad[i].version;
		k.header_size = bad[i].header_size;
		assert_int_equal(kvmi_ring_open(vm, 0, -1, &ring), -EPROTO);
		assert_int_equal(k.nr_maps, 0);
	}
}

/* Writes one record header with these numbers; it must be refused. */
static void refuse_header(struct kvmi_ring *ring, uint32_t size, uint16_t kind,
			  uint16_t header, uint16_t payload, uint32_t vcpu,
			  uint64_t produced)
{
	struct kvmi_ring_header *h = k.header[0];
	const struct kvmi_event *ev;
	struct kvmi_event *bad;

	/* From the start of the ring, wherever it was. */
	h->producer = (h->producer + DATA_SIZE) & ~(uint64_t)(DATA_SIZE - 1);
	ring->consumer = h->producer;
	bad = (void *)data(0);
	memset(bad, 0, sizeof(*bad));
	bad->size = size;
	bad->kind = kind;
	bad->header = header;
	bad->payload = payload;
	bad->vcpu = vcpu;
	h->producer += produced;
	assert_int_equal(kvmi_ring_next(ring, &ev), -EPROTO);
	/* And the ring can be used on. */
	assert_int_equal(k.tool[0]->consumer, h->producer);
	assert_int_equal(kvmi_ring_next(ring, &ev), 0);
}

static void refuse(struct kvmi_ring *ring, uint32_t size, uint16_t kind,
		   uint16_t payload, uint32_t vcpu, uint64_t produced)
{
	refuse_header(ring, size, kind, sizeof(struct kvmi_event), payload, vcpu,
		      produced);
}

static void ring_garbage(void **state)
{
	struct kvmi_ring *ring = open_ring(0);

	(void)state;
	refuse(ring, 0, 34, 0, 0, 64);
	refuse(ring, 4, 34, 0, 0, 64);
	refuse(ring, 60, 34, 0, 0, 64);
	refuse(ring, 128, 34, 0, 0, 64);
	refuse(ring, 0xfffffff8, 34, 0, 0, 64);
	refuse(ring, 48, 34, 0, 0, 64);
	refuse(ring, 64, 34, 16, 0, 64);
	refuse(ring, 64, 34, 0xfff8, 0, 64);
	refuse_header(ring, 64, 34, 0, 0, 0, 64);
	refuse_header(ring, 64, 34, 48, 8, 0, 64);
	refuse_header(ring, 64, 34, 60, 0, 0, 64);
	refuse_header(ring, 64, 34, 72, 0, 0, 64);
	refuse_header(ring, 64, 34, 64, 8, 0, 64);
	refuse(ring, 64, 34, 4, 0, 64);
	refuse(ring, 64, 34, 8, 1, 64);
	refuse(ring, 0, KVMI_EVENT_PAD, 0, 0, 64);
	refuse(ring, 128, KVMI_EVENT_PAD, 0, 0, 64);
	refuse(ring, 64, 34, 0, 0, 4);
	refuse(ring, 64, 34, 0, 0, DATA_SIZE + 8);
	refuse(ring, 64, 34, 0, 0, -64);
	kvmi_ring_close(ring);
}

static uint64_t random64(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Whatever stands there: an end, and no access outside. */
static void ring_random(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	struct kvmi_ring_header *h = k.header[0];
	const struct kvmi_event *ev;
	unsigned int i, j, n;
	volatile uint64_t sink;

	(void)state;
	for (i = 0; i < 3000; i++) {
		uint32_t *words = (void *)data(0);

		for (j = 0; j < DATA_SIZE / 4; j++)
			words[j] = i % 2 ? random64() : random64() % 128;
		for (j = 0; j < DATA_SIZE / 4; j += 8)
			if (i % 4 < 2)
				words[j] = random64() % 32 * 8;
		h->producer = i % 8 ? ring->consumer + random64() % 5000 :
				      random64();
		for (n = 0; n < 2000; n++) {
			if (kvmi_ring_next(ring, &ev) <= 0)
				break;
			kvmi_event_name(ev->kind);
			if (kvmi_event_gprs(ev))
				sink = kvmi_event_gprs(ev)->r[17];
			if (kvmi_event_control_regs(ev))
				sink = kvmi_event_control_regs(ev)->efer;
			if (kvmi_event_segments(ev))
				sink = kvmi_event_segments(ev)->idt.base;
			if (kvmi_event_access(ev))
				sink = kvmi_event_access(ev)->flags;
			if (kvmi_event_msr(ev))
				sink = kvmi_event_msr(ev)->new_value;
			sink = ((const unsigned char *)ev)[ev->size - 1];
		}
		assert_true(n < 2000);
	}
	(void)sink;
	kvmi_ring_close(ring);
}

static void answer_to_polling(void **state)
{
	struct kvmi_ring *ring = open_ring(0);
	struct kvmi_reply reply;

	(void)state;
	k.header[0]->state = KVMI_RING_POLLING;
	kvmi_reply_init(&reply, KVMI_ACTION_SKIP);
	assert_int_equal(kvmi_reply_set_gpr(&reply, KVMI_X86_RBX, 5), 0);
	assert_int_equal(kvmi_reply_set_gpr(&reply, 18, 5), -EINVAL);
	kvmi_reply_fast_step(&reply, 3);
	assert_int_equal(kvmi_ring_answer(ring, 1234, &reply), 0);
	assert_int_equal(k.nr_waits, 0);
	assert_int_equal(k.tool[0]->reply.id, 1234);
	assert_int_equal(k.tool[0]->reply.size,
			 offsetof(struct kvmi_reply, inject));
	assert_int_equal(k.tool[0]->reply.action, KVMI_ACTION_SKIP);
	assert_int_equal(k.tool[0]->reply.flags,
			 KVMI_REPLY_REGS | KVMI_REPLY_FAST_STEP);
	assert_int_equal(k.tool[0]->reply.view, 3);
	assert_int_equal(k.tool[0]->reply.reg_mask, 1 << KVMI_X86_RBX);
	assert_int_equal(k.tool[0]->reply.gprs.r[KVMI_X86_RBX], 5);
	kvmi_ring_close(ring);
}

static void answer_to_sleeping(void **state)
{
	struct kvmi_ring *ring = open_ring(1);
	struct kvmi_reply reply;

	(void)state;
	k.header[1]->state = KVMI_RING_SLEEPING;
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	assert_int_equal(kvmi_ring_answer(ring, 7, &reply), 0);
	assert_int_equal(k.nr_waits, 1);
	assert_int_equal(k.wait.kick, 1);
	assert_int_equal(k.wait.wait, KVMI_VCPU_NONE);
	k.wait_errno = ENODEV;
	assert_int_equal(kvmi_ring_answer(ring, 8, &reply), -ENODEV);
	kvmi_ring_close(ring);
}

static void post_on_wait(void)
{
	k.on_wait = NULL;
	post(1, KVMI_EVENT_X86_CPUID, 22, 16, 0);
}

/* Answer and wait: one call. */
static void ring_answer_wait(void **state)
{
	struct kvmi_ring *ring = open_ring(1);
	const struct kvmi_event *ev;
	struct kvmi_reply reply;

	(void)state;
	post(1, KVMI_EVENT_X86_CPUID, 21, 16, 0);
	assert_int_equal(kvmi_ring_wait(ring, &ev, -1), 1);
	assert_int_equal(k.nr_waits, 0);
	k.header[1]->state = KVMI_RING_SLEEPING;
	k.on_wait = post_on_wait;
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	assert_int_equal(kvmi_ring_answer_wait(ring, ev->id, &reply, &ev, -1),
			 1);
	assert_int_equal(k.nr_waits, 1);
	assert_int_equal(k.wait.kick, 1);
	assert_int_equal(k.wait.wait, 1);
	assert_int_equal(k.wait.flags, 0);
	assert_int_equal(ev->id, 22);
	assert_int_equal(k.tool[1]->reply.id, 21);
	kvmi_ring_close(ring);
}

static void wait_times_out(void **state)
{
	const struct kvmi_event *ev;

	(void)state;
	k.wait_errno = ETIMEDOUT;
	assert_int_equal(kvmi_event_wait(vm, &ev, 20), 0);
	assert_int_equal(k.wait.flags, KVMI_WAIT_F_TIMEOUT);
	assert_int_equal(k.wait.wait, KVMI_VCPU_ALL);
	assert_true(k.wait.timeout_ns <= 20000000);
	k.wait_errno = EINTR;
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), -EINTR);
	k.wait_errno = ENODEV;
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), -ENODEV);
	assert_non_null(strstr(kvmi_error_message(), "gone"));
}

/* The last records can be had when the VM is gone already. */
static void last_words(void **state)
{
	const struct kvmi_event *ev;

	(void)state;
	k.wait_errno = ENODEV;
	k.on_wait = post_on_wait;
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), 1);
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), -ENODEV);
}

static void events_take_turns(void **state)
{
	const struct kvmi_event *ev;
	int seen[2] = { };
	int i;

	(void)state;
	assert_int_equal(kvmi_event_set_polling(vm, false), 0);
	for (i = 0; i < 10; i++) {
		post(0, KVMI_EVENT_STEP, 0, 16, 0);
		post(1, KVMI_EVENT_STEP, 0, 16, 0);
	}
	for (i = 0; i < 10; i++) {
		assert_int_equal(kvmi_event_wait(vm, &ev, 0), 1);
		seen[ev->vcpu]++;
		assert_int_equal(kvmi_event_reply(vm, ev, 0), 0);
	}
	assert_int_equal(seen[0], 5);
	assert_int_equal(seen[1], 5);
	/* Asynchronous ones need no answer. */
	assert_int_equal(k.tool[0]->reply.size, 0);
}

static void add_vcpu(void)
{
	k.on_wait = NULL;
	k.nr_vcpus = 3;
}

static void vcpu_is_added(void **state)
{
	const struct kvmi_event *ev;

	(void)state;
	assert_int_equal(kvmi_event_set_polling(vm, false), 0);
	k.on_wait = add_vcpu;
	k.wait_errno = 0;
	/* Nothing comes of it here, but the ring is open afterwards. */
	assert_int_equal(vm->nr_rings, 2);
	assert_int_equal(kvmi_event_wait(vm, &ev, 0), 0);
	assert_int_equal(vm->nr_rings, 3);
	post(2, KVMI_EVENT_STEP, 0, 16, 0);
	assert_int_equal(kvmi_event_wait(vm, &ev, 0), 1);
	assert_int_equal(ev->vcpu, 2);
}

static void polling(void **state)
{
	const struct kvmi_event *ev;

	(void)state;
	assert_int_equal(kvmi_event_set_polling(vm, true), 0);
	assert_int_equal(k.tool[1]->flags, KVMI_TOOL_POLLS);
	assert_int_equal(kvmi_event_wait(vm, &ev, 1), 0);
	post(1, KVMI_EVENT_STEP, 0, 16, 0);
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), 1);
	/* The end of the VM is noticed though nobody sleeps. */
	k.wait_errno = ENODEV;
	assert_int_equal(kvmi_event_wait(vm, &ev, -1), -ENODEV);
}

static void answer_by_id(void **state)
{
	struct kvmi_reply reply;

	(void)state;
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	assert_int_equal(kvmi_event_answer_id(vm, 1, 99, &reply), 0);
	assert_int_equal(k.tool[1]->reply.id, 99);
	assert_int_equal(kvmi_event_answer_id(vm, 2, 99, &reply), -ENOENT);
	assert_non_null(strstr(kvmi_error_message(), "vCPU 2"));
}

static void dropped(void **state)
{
	struct kvmi_ring *ring = open_ring(0);

	(void)state;
	k.header[0]->dropped_total = 12;
	k.header[0]->dropped[4] = 7;
	k.header[0]->last_error = -EINVAL;
	k.header[0]->last_event = 3;
	assert_int_equal(kvmi_ring_dropped(ring, -1), 12);
	assert_int_equal(kvmi_ring_dropped(ring, 4), 7);
	assert_int_equal(kvmi_ring_dropped(ring, 64), 0);
	assert_int_equal(kvmi_ring_last_error(ring, NULL), -EINVAL);
	kvmi_ring_close(ring);
}

#define TEST(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ring_empty),
		TEST(ring_record),
		TEST(ring_wraps),
		TEST(ring_resumes),
		TEST(event_register_sets),
		TEST(event_longer_header),
		TEST(ring_bad_geometry),
		TEST(ring_garbage),
		TEST(ring_random),
		TEST(answer_to_polling),
		TEST(answer_to_sleeping),
		TEST(ring_answer_wait),
		TEST(wait_times_out),
		TEST(last_words),
		TEST(events_take_turns),
		TEST(vcpu_is_added),
		TEST(polling),
		TEST(answer_by_id),
		TEST(dropped),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
