// SPDX-License-Identifier: GPL-2.0-only
/* String I/O, an event for each element. */
#include <stdlib.h>
#include <string.h>

#include "lib/tool.h"

/* A device of KVM's, the second PIC's mask, and one of the VMM's. */
#define PORT_KERNEL		0xa1
#define PORT_VMM		0x5d00
#define MSR_FS_BASE		0xc0000100
#define FS_BASE			0x100000UL
#define PAGE			4096UL

/* What the guest has found behind each instruction. */
struct found {
	uint64_t rcx, index;
	uint8_t data[16];
};

enum {
	F_INSB, F_OUTSB, F_DOWN, F_ADDR32, F_FS, F_ONE, F_NONE, F_WORDS, F_FAULT, F_NR,
};

struct result {
	struct found found[F_NR];
	uint64_t fault_rip, fault_at, cr2;
};

__guest_inline void fill(uint8_t *data)
{
	int i;

	for (i = 0; i < 16; i++)
		data[i] = 0xa0 + i;
}

/* @page: two of them, of which the second can be written to if it is @whole. */
static __guest uint64_t strings(struct result *r, uint64_t port, uint8_t *page)
{
	uint64_t edge = (uint64_t)page + PAGE - 2;
	struct found *f = r->found;
	int i;

	guest_wrmsr(MSR_FS_BASE, FS_BASE);
	for (i = 0; i < F_NR; i++) {
		fill(f[i].data);
		f[i].rcx = 4;
		f[i].index = (uint64_t)f[i].data;
	}
	asm volatile("rep insb" : "+D" (f[F_INSB].index), "+c" (f[F_INSB].rcx)
		     : "d" (port) : "memory");
	asm volatile("rep outsb" : "+S" (f[F_OUTSB].index), "+c" (f[F_OUTSB].rcx)
		     : "d" (port) : "memory");
	f[F_DOWN].index += 7;
	asm volatile("std; rep insb; cld"
		     : "+D" (f[F_DOWN].index), "+c" (f[F_DOWN].rcx)
		     : "d" (port) : "memory");
	/* The upper halves are of no meaning. */
	f[F_ADDR32].rcx |= 7UL << 32;
	asm volatile("addr32 rep outsb"
		     : "+S" (f[F_ADDR32].index), "+c" (f[F_ADDR32].rcx)
		     : "d" (port) : "memory");
	f[F_ADDR32].rcx = (uint32_t)f[F_ADDR32].rcx;
	f[F_FS].index -= FS_BASE;
	asm volatile("rep outsb %%fs:(%%rsi), %%dx"
		     : "+S" (f[F_FS].index), "+c" (f[F_FS].rcx)
		     : "d" (port) : "memory");
	asm volatile("insb" : "+D" (f[F_ONE].index) : "d" (port) : "memory");
	f[F_NONE].rcx = 0;
	asm volatile("rep insb" : "+D" (f[F_NONE].index), "+c" (f[F_NONE].rcx)
		     : "d" (port) : "memory");
	if (port == PORT_VMM)
		asm volatile("rep insw"
			     : "+D" (f[F_WORDS].index), "+c" (f[F_WORDS].rcx)
			     : "d" (port) : "memory");
	/* Two elements, then a page that is not there. */
	f[F_FAULT].index = edge;
	asm volatile("movq $0, %%gs:0x20\n\t"
		     "movq $2f, %%gs:0x18\n\t"
		     "lea 1f(%%rip), %%rax\n\t"
		     "mov %%rax, %[at]\n"
		     "1:\n\t"
		     "rep insb\n"
		     "2:\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     : "+D" (f[F_FAULT].index), "+c" (f[F_FAULT].rcx),
		       [at] "=m" (r->fault_at)
		     : "d" (port) : "rax", "memory");
	r->fault_rip = guest_cpu()->last.rip;
	r->cr2 = guest_cpu()->last.cr2;
	return 1;
}

/* The VMM's device: it counts, and remembers. */
struct device {
	uint8_t next;
	unsigned int nr_out;
	uint8_t out[64];
	unsigned int exits;
	bool look;		/* the VMM looks at the state in between */
};

static void serve_exit(struct vmm *vm, struct device *dev)
{
	struct kvm_run *run = vm->vcpu[0].run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct kvm_regs regs;
	uint32_t i;

	KTAP_EQ(run->io.port, PORT_VMM);
	dev->exits++;
	for (i = 0; i < run->io.count * run->io.size; i++) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			data[i] = ++dev->next;
		else if (dev->nr_out < sizeof(dev->out))
			dev->out[dev->nr_out++] = data[i];
	}
	/* Has KVM complete it, and does not let the vCPU run. */
	if (dev->look)
		vmm_vcpu_get_regs(vm, 0, &regs);
}

/* What the tool has seen, and what it does about element @n. */
struct tool {
	struct kvmi_vm *kv;
	unsigned int nr;
	struct kvmi_x86_ev_io ev[96];
	void (*answer)(struct tool *t, const struct kvmi_event *ev, unsigned int n);
};

static void answer_continue(struct tool *t, const struct kvmi_event *ev, unsigned int n)
{
	(void)n;
	tool_reply(t->kv, ev, KVMI_ACTION_CONTINUE);
}

static void take(struct tool *t, const struct kvmi_event *ev)
{
	KTAP_EQ(ev->kind, KVMI_EVENT_X86_IO);
	KTAP_ASSERT(t->nr < 96);
	t->ev[t->nr] = *kvmi_event_io(ev);
	if (t->answer)
		t->answer(t, ev, t->nr);
	t->nr++;
}

/* Until the guest's function returns. */
static uint64_t run_strings(struct vmm *vm, struct tool *t, struct device *dev)
{
	const struct kvmi_event *ev;
	bool running;
	int why;

	vmm_vcpu_start(vm, 0);
	for (;;) {
		/* Before it is waited: it may post its last and end behind that. */
		running = vmm_vcpu_running(vm, 0);
		if (t && kvmi_event_wait(t->kv, &ev, 5) > 0) {
			take(t, ev);
			continue;
		}
		if (t && running)
			continue;
		why = vmm_vcpu_wait(vm, 0, TOOL_PATIENCE);
		if (why != KVM_EXIT_IO)
			break;
		serve_exit(vm, dev);
		vmm_vcpu_start(vm, 0);
	}
	KTAP_ASSERT(why == VMM_UCALL, "%s", vmm_vcpu_why(vm, 0));
	KTAP_EQ(vm->vcpu[0].cpu->uc.cmd, GUEST_DONE);
	return vm->vcpu[0].cpu->uc.args[0];
}

struct setup {
	struct vmm *vm;
	uint64_t result;	/* gpa */
	uint64_t pages;		/* gpa */
};

static struct setup create(void)
{
	struct setup s = { .vm = vmm_create(1, VMM_F_IRQCHIP) };

	s.result = vmm_alloc_pages(s.vm, 1);
	s.pages = vmm_alloc_pages(s.vm, 2);
	*vmm_pte(s.vm, s.pages + PAGE) = 0;
	return s;
}

static void watch(struct kvmi_vm *kv, uint32_t port, uint32_t mode, uint32_t flags)
{
	struct kvmi_control_event ctl = {
		.flags = flags,
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_IO,
		.mode = mode,
		.index = port,
		.access = KVMI_ACCESS_R | KVMI_ACCESS_W,
	};

	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
}

static void run(struct setup *s, uint32_t port, struct tool *t, struct device *dev,
		struct result *res)
{
	memset(vmm_gpa(s->vm, s->result), 0, PAGE);
	memset(vmm_gpa(s->vm, s->pages), 0, PAGE);
	vmm_vcpu_set_entry(s->vm, 0, strings, s->result, port, s->pages);
	KTAP_EQ(run_strings(s->vm, t, dev), 1);
	memcpy(res, vmm_gpa(s->vm, s->result), sizeof(*res));
}

static void same(const struct result *got, const struct result *want, const char *how)
{
	int i;

	for (i = 0; i < F_NR; i++)
		KTAP_ASSERT(!memcmp(&got->found[i], &want->found[i],
				    sizeof(got->found[i])),
			    "%s: instruction %d: rcx %llx index %llx data %02x %02x, not rcx %llx index %llx data %02x %02x",
			    how, i, (unsigned long long)got->found[i].rcx,
			    (unsigned long long)got->found[i].index,
			    got->found[i].data[0], got->found[i].data[3],
			    (unsigned long long)want->found[i].rcx,
			    (unsigned long long)want->found[i].index,
			    want->found[i].data[0], want->found[i].data[3]);
	KTAP_EQ(got->fault_rip, want->fault_rip);
	KTAP_EQ(got->fault_at, want->fault_at);
	KTAP_EQ(got->cr2, want->cr2);
}

/* Elements there are: 4 + 4 + 4 + 4 + 4 + 1, 4 words, then two and one that faults. */
#define ELEMENTS(port)	((port) == PORT_VMM ? 28U : 24U)

static void check_events(const struct tool *t, uint32_t port)
{
	static const uint8_t count[] = {
		4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1, 4, 3, 2, 1, 1,
		4, 3, 2, 1, 4, 3, 2,
	};
	unsigned int i, n = 0;

	KTAP_EQ(t->nr, ELEMENTS(port));
	for (i = 0; i < t->nr; i++, n++) {
		const struct kvmi_x86_ev_io *ev = &t->ev[i];

		/* There are no words but of the VMM's device. */
		if (port != PORT_VMM && n == 21)
			n += 4;
		KTAP_EQ(ev->port, port);
		KTAP_EQ(ev->count, count[n]);
		KTAP_EQ(ev->bytes, n >= 21 && n < 25 ? 2 : 1);
		KTAP_ASSERT(ev->flags & KVMI_X86_IO_ELEMENT);
		KTAP_ASSERT(ev->flags & KVMI_X86_IO_STRING);
		KTAP_EQ(!!(ev->flags & KVMI_X86_IO_REP), n != 20);
		KTAP_EQ(!!(ev->flags & KVMI_X86_IO_OUT),
			(n >= 4 && n < 8) || (n >= 12 && n < 20));
		if (ev->flags & KVMI_X86_IO_OUT)
			KTAP_EQ(ev->value, 0xa0 + n % 4);
		else
			KTAP_EQ(ev->value, 0);
	}
}

static void elements(uint32_t port, uint32_t mode, bool look)
{
	struct device dev = {}, want_dev = {};
	struct setup s = create();
	struct result want, got;
	struct tool t = {};

	/* Twice: the PIC has what was written to it last. */
	run(&s, port, NULL, &want_dev, &want);
	memset(&want_dev, 0, sizeof(want_dev));
	run(&s, port, NULL, &want_dev, &want);
	KTAP_EQ(want.fault_rip, want.fault_at);
	KTAP_EQ(want.found[F_FAULT].rcx, 2);
	KTAP_EQ(want.cr2, s.pages + PAGE);

	t.kv = tool_attach(s.vm);
	if (mode == KVMI_MODE_SYNC)
		t.answer = answer_continue;
	watch(t.kv, port, mode, KVMI_CONTROL_ELEMENTS);
	dev.look = look;
	/* What KVM has read ahead of the fault is lost with it: not so by elements. */
	run(&s, port, &t, &dev, &got);
	same(&got, &want, "by elements");
	check_events(&t, port);
	KTAP_EQ(dev.nr_out, want_dev.nr_out);
	KTAP_ASSERT(!memcmp(dev.out, want_dev.out, sizeof(dev.out)));
	if (port == PORT_VMM)
		KTAP_EQ(dev.exits, ELEMENTS(port));

	/* And by instructions again. */
	memset(&dev, 0, sizeof(dev));
	t.nr = 0;
	watch(t.kv, port, mode, 0);
	run(&s, port, &t, &dev, &got);
	same(&got, &want, "by instructions");
	KTAP_ASSERT(t.nr < ELEMENTS(port), "%u events", t.nr);
	KTAP_ASSERT(!(t.ev[0].flags & KVMI_X86_IO_ELEMENT));
	kvmi_vm_close(t.kv);
	vmm_destroy(s.vm);
}

KTAP_CASE(kernel_async, "E15")
{
	elements(PORT_KERNEL, KVMI_MODE_ASYNC, false);
}

KTAP_CASE(kernel_sync, "E15")
{
	elements(PORT_KERNEL, KVMI_MODE_SYNC, false);
}

KTAP_CASE(vmm_async, "E15")
{
	elements(PORT_VMM, KVMI_MODE_ASYNC, false);
}

KTAP_CASE(vmm_sync, "E15")
{
	elements(PORT_VMM, KVMI_MODE_SYNC, false);
}

/* A VMM that saves the state after each element. */
KTAP_CASE(vmm_looks, "E15")
{
	elements(PORT_VMM, KVMI_MODE_SYNC, true);
}

/* One with a value of the tool's, one without, one as it is. */
static void answer_in_turn(struct tool *t, const struct kvmi_event *ev, unsigned int n)
{
	struct kvmi_reply reply;

	if (n % 3 == 1) {
		tool_reply(t->kv, ev, KVMI_ACTION_SKIP);
		return;
	}
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	if (n % 3 == 2) {
		reply.flags |= KVMI_REPLY_VALUE;
		reply.value = 0x3300 + n;
	}
	tool_answer(t->kv, ev, &reply);
}

static void answers(uint32_t port)
{
	struct setup s = create();
	struct result want, got;
	struct device dev = {};
	struct tool t = { .answer = answer_in_turn };
	const struct found *f = got.found;
	unsigned int i;

	run(&s, port, NULL, &dev, &want);
	memset(&dev, 0, sizeof(dev));
	t.kv = tool_attach(s.vm);
	watch(t.kv, port, KVMI_MODE_SYNC, KVMI_CONTROL_ELEMENTS);
	run(&s, port, &t, &dev, &got);
	/* It has gone the same way. */
	for (i = 0; i < F_NR; i++) {
		KTAP_ASSERT(f[i].rcx == want.found[i].rcx &&
			    f[i].index == want.found[i].index,
			    "instruction %u: rcx %llx, not %llx", i,
			    (unsigned long long)f[i].rcx,
			    (unsigned long long)want.found[i].rcx);
	}
	/* As it is, skipped, replaced, as it is; then on from there. */
	KTAP_EQ(f[F_INSB].data[1], 0xa1);
	KTAP_EQ(f[F_INSB].data[2], 2);
	KTAP_EQ(f[F_INSB].data[4], 0xa4);
	KTAP_EQ(f[F_DOWN].data[7], 8);
	KTAP_EQ(f[F_DOWN].data[5], 0xa5);
	KTAP_EQ(f[F_DOWN].data[4], 11);
	KTAP_EQ(f[F_ONE].data[0], 20);
	if (port == PORT_VMM) {
		KTAP_EQ(f[F_INSB].data[0], 1);
		KTAP_EQ(f[F_INSB].data[3], 2);
		/* Words: 21 as it is, 22 skipped, 23 replaced. */
		KTAP_EQ(f[F_WORDS].data[2], 0xa2);
		KTAP_EQ(f[F_WORDS].data[3], 0xa3);
		KTAP_EQ(f[F_WORDS].data[4], 23);
		KTAP_EQ(f[F_WORDS].data[5], 0x33);
		/* Of OUTS 5, 14 and 17 with a value, 4, 7, 13, 16 and 19 not at all. */
		KTAP_EQ(dev.nr_out, 7);
		KTAP_EQ(dev.out[0], 5);
		KTAP_EQ(dev.out[1], 0xa2);
		KTAP_EQ(dev.out[2], 0xa0);
		KTAP_EQ(dev.out[3], 14);
		KTAP_EQ(dev.out[4], 0xa3);
		KTAP_EQ(dev.out[5], 17);
		KTAP_EQ(dev.out[6], 0xa2);
	}
	kvmi_vm_close(t.kv);
	vmm_destroy(s.vm);
}

KTAP_CASE(kernel_answers, "E15 A1 A2")
{
	answers(PORT_KERNEL);
}

KTAP_CASE(vmm_answers, "E15 A1 A2")
{
	answers(PORT_VMM);
}

static __guest uint64_t read_one(uint64_t *at, uint64_t unused, uint8_t *page)
{
	uint64_t rcx = 4, rdi = (uint64_t)page;

	(void)unused;
	asm volatile("movq $0, %%gs:0x20\n\t"
		     "movq $2f, %%gs:0x18\n\t"
		     "lea 1f(%%rip), %%rax\n\t"
		     "mov %%rax, %[at]\n"
		     "1:\n\t"
		     "rep insb\n"
		     "2:\n\t"
		     "movq $0, %%gs:0x18\n\t"
		     : "+D" (rdi), "+c" (rcx), [at] "=m" (*at)
		     : "d" (PORT_VMM) : "rax", "memory");
	return rcx;
}

static void begin_one(struct setup *s, struct tool *t)
{
	const struct kvmi_event *ev;

	t->kv = tool_attach(s->vm);
	watch(t->kv, PORT_VMM, KVMI_MODE_ASYNC, KVMI_CONTROL_ELEMENTS);
	vmm_vcpu_set_entry(s->vm, 0, read_one, s->result, 0, s->pages);
	KTAP_EQ(vmm_vcpu_run(s->vm, 0), KVM_EXIT_IO);
	ev = tool_wait(t->kv, KVMI_EVENT_X86_IO);
	KTAP_EQ(kvmi_event_io(ev)->count, 4);
}

/* While the VMM fetches it, the tool goes. */
KTAP_CASE(gone_meanwhile, "E15 D8")
{
	static const uint8_t bytes[4] = { 1, 2, 3, 4 };
	struct setup s = create();
	struct device dev = {};
	struct tool t = {};

	begin_one(&s, &t);
	kvmi_vm_close(t.kv);
	serve_exit(s.vm, &dev);
	KTAP_EQ(run_strings(s.vm, NULL, &dev), 0);
	KTAP_ASSERT(!memcmp(vmm_gpa(s.vm, s.pages), bytes, 4));
	vmm_destroy(s.vm);
}

/* While the VMM fetches it, its page goes: the fault comes from the instruction. */
KTAP_CASE(faults_meanwhile, "E15 E7")
{
	struct setup s = create();
	struct device dev = {};
	struct tool t = {};

	begin_one(&s, &t);
	*vmm_pte(s.vm, s.pages) = 0;
	serve_exit(s.vm, &dev);
	KTAP_EQ(run_strings(s.vm, &t, &dev), 4);
	KTAP_EQ(s.vm->vcpu[0].cpu->last.rip, *(uint64_t *)vmm_gpa(s.vm, s.result));
	KTAP_EQ(s.vm->vcpu[0].cpu->last.cr2, s.pages);
	KTAP_EQ(t.nr, 0);
	kvmi_vm_close(t.kv);
	vmm_destroy(s.vm);
}

/* What the flag does not go with. */
KTAP_CASE(refused, "E15")
{
	struct setup s = create();
	struct kvmi_vm *kv = tool_attach(s.vm);
	struct kvmi_control_event ctl = {
		.flags = KVMI_CONTROL_ELEMENTS,
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_IO,
		.mode = KVMI_MODE_OFF,
		.access = KVMI_ACCESS_R,
	};

	KTAP_LIB_ERR(kvmi_event_control(kv, &ctl), EINVAL);
	ctl.mode = KVMI_MODE_ASYNC;
	KTAP_LIB_OK(kvmi_event_control(kv, &ctl));
	ctl.kind = KVMI_EVENT_X86_CR;
	KTAP_LIB_ERR(kvmi_event_control(kv, &ctl), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(s.vm);
}

KTAP_MAIN(ktap_need_kvmi)
