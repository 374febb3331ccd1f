// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steps over code of older modes: real mode, virtual-8086 mode, task switches. As in
 * step, the addresses are those that the assembler wrote down, and the guest does not
 * notice.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/tool.h"

/* All in the first 64 KiB, where nothing else is. */
#define GDT		0xb000UL
#define IDT		0xb800UL
#define TSS		0xc000UL
#define TSS2		0xc100UL
#define CODE		0xd000UL
#define DATA		0xe000UL	/* what the code finds, two pages */
#define RING0_STACK	0xfff0UL

#define RFLAGS_VM	(1UL << 17)
#define RFLAGS_IOPL	(3UL << 12)

/* Instead of an address: the first and the second instruction of the handler. */
#define HANDLER		0x10001UL
#define HANDLER2	0x10002UL

__asm__(".macro at addr:vararg\n"
	"	.pushsection .rodata.legacy, \"a\"\n"
	"	.quad \\addr\n"
	"	.popsection\n"
	"	.endm\n"
	".macro i insn:vararg\n"
	"	\\insn\n"
	"9:	at 9b - legacy_code + 0xd000\n"
	"	.endm\n"
	/* A software interrupt: its handler, of two instructions, comes first. */
	".macro ih insn:vararg\n"
	"	at 0x10001\n"
	"	at 0x10002\n"
	"	i \\insn\n"
	"	.endm\n"
	".macro rep3 insn:vararg\n"
	"8:\n"
	"	at 8b - legacy_code + 0xd000\n"
	"	at 8b - legacy_code + 0xd000\n"
	"	i \\insn\n"
	"	.endm\n"
	"	.text\n"
	"	.balign 16\n"
	"legacy_code:\n"

	/* Real mode, and virtual-8086 mode with IOPL 3. */
	"	.code16\n"
	"	.pushsection .rodata.legacy, \"a\"\n"
	"steps16:\n"
	"	.popsection\n"
	"code16:\n"
	"	i mov $0xf000, %sp\n"
	"	i pushfw\n"
	"	i popw 0xe000\n"
	"	i std\n"
	"	i stc\n"
	"	i pushfw\n"
	"	i cld\n"
	"	i popw 0xe002\n"
	"	i pushfl\n"
	"	i popl 0xe004\n"
	"	i pushw $0x3246\n"
	"	i popfw\n"
	"	i pushfw\n"
	"	i popw 0xe008\n"
	"	i mov %ss, %ax\n"
	"	i mov %ax, %ss\n"
	"	i mov $1, %bx\n"
	"	i push %ss\n"
	"	i pop %ss\n"
	"	i pushfw\n"
	"	i popw 0xe00a\n"
	"	i cli\n"
	"	i pushfw\n"
	"	i popw 0xe00c\n"
	"	i sti\n"
	"	i nop\n"
	"	i cli\n"
	"	i mov $0xe010, %di\n"
	"	i mov $0x2a, %al\n"
	"	i mov $3, %cx\n"
	"	rep3 rep stosb\n"
	"	i stc\n"
	"	ih int $0x20\n"
	"	i pushfw\n"
	"	i popw 0xe018\n"
	"	ih int3\n"
	"	i mov $2, %cx\n"
	"7:\n"
	"	at 7b - legacy_code + 0xd000\n"
	"	i loop 7b\n"
	"	i xor %eax, %eax\n"
	"	i cpuid\n"
	"	i mov %ebx, 0xe01c\n"
	"	i pushfw\n"
	"	i popw 0xe024\n"
	"	i mov $0x5ca1, %dx\n"
	"	out %eax, %dx\n"
	"	hlt\n"
	"	.pushsection .rodata.legacy, \"a\"\n"
	"steps16_end:\n"
	"	.popsection\n"
	"handler16:\n"
	"	incw %cs:0xe030\n"
	"handler16b:\n"
	"	iretw\n"

	/* Of virtual-8086 mode. */
	"	.code32\n"
	"handler32:\n"
	"	incw %ss:0xe030\n"
	"handler32b:\n"
	"	iretl\n"

	/* From one task to the other and back, twice. */
	"	.pushsection .rodata.legacy, \"a\"\n"
	"steps32:\n"
	"	.popsection\n"
	"code32:\n"
	"	i mov $0xf000, %esp\n"
	"	i stc\n"
	"	at task2 - legacy_code + 0xd000\n"
	"	.byte 0xea\n"
	"	.long 0\n"
	"	.word 0x28\n"
	"back:\n"
	"	at back - legacy_code + 0xd000\n"
	"	i pushfl\n"
	"	i popl 0xe004\n"
	"	at task2_more - legacy_code + 0xd000\n"
	"	.byte 0xea\n"
	"	.long 0\n"
	"	.word 0x28\n"
	"back2:\n"
	"	at back2 - legacy_code + 0xd000\n"
	"	i nop\n"
	"	i pushfl\n"
	"	i popl 0xe008\n"
	"	i mov $0x5ca1, %dx\n"
	"	out %eax, %dx\n"
	"	hlt\n"
	"	.pushsection .rodata.legacy, \"a\"\n"
	"steps32_end:\n"
	"	.popsection\n"
	"task2:\n"
	"	pushfl\n"
	"	popl 0xe00c\n"
	"	.byte 0xea\n"
	"	.long 0\n"
	"	.word 0x20\n"
	"task2_more:\n"
	"	pushfl\n"
	"	popl 0xe010\n"
	"	.byte 0xea\n"
	"	.long 0\n"
	"	.word 0x20\n"
	"legacy_code_end:\n"
	"	.code64\n");

extern const char legacy_code[], legacy_code_end[], code16[], code32[], task2[],
	handler16[], handler16b[], handler32[], handler32b[];
extern const uint64_t steps16[], steps16_end[], steps32[], steps32_end[];

static bool on_tcg(void)
{
	uint32_t a, b, c, d;

	__asm__("cpuid" : "=a" (a), "=b" (b), "=c" (c), "=d" (d)
		: "a" (0x40000000), "c" (0));
	return b == 0x54474354;
}

static uint64_t where(const char *label)
{
	return CODE + (label - legacy_code);
}

enum mode { REAL, VM86, TASKS };

static void segment(struct kvm_segment *seg, uint16_t selector, uint8_t type, bool big,
		    uint8_t dpl)
{
	memset(seg, 0, sizeof(*seg));
	seg->selector = selector;
	seg->limit = big ? ~0U : 0xffff;
	seg->type = type;
	seg->present = 1;
	seg->dpl = dpl;
	seg->db = big;
	seg->s = 1;
	seg->g = big;
}

static void tss_descriptor(uint64_t *gdt, int i, uint64_t base)
{
	gdt[i] = 0x67 | base << 16 | 0x89UL << 40;
}

static void gate(struct vmm *vm, int vector, const char *label)
{
	uint64_t to = where(label);

	/* A trap gate of 32 bits, for ring 3. */
	*(uint64_t *)vmm_gpa(vm, IDT + vector * 8) =
		(to & 0xffff) | 8UL << 16 | 0xefUL << 40;
	*(uint32_t *)vmm_gpa(vm, vector * 4) = where(handler16);
}

static void begin(struct vmm *vm, enum mode mode)
{
	uint64_t *gdt = vmm_gpa(vm, GDT);
	uint32_t *tss = vmm_gpa(vm, TSS), *tss2 = vmm_gpa(vm, TSS2);
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	bool big = mode == TASKS;

	memset(vmm_gpa(vm, GDT), 0, 0x2000);
	memset(vmm_gpa(vm, DATA), 0, 0x2000);
	memcpy(vmm_gpa(vm, CODE), legacy_code,
	       (uintptr_t)legacy_code_end - (uintptr_t)legacy_code);
	gdt[1] = 0x00cf9b000000ffffUL;
	gdt[2] = 0x00cf93000000ffffUL;
	tss_descriptor(gdt, 4, TSS);
	gdt[4] |= 2UL << 40;			/* busy */
	tss_descriptor(gdt, 5, TSS2);
	gate(vm, 3, handler32);
	gate(vm, 0x20, handler32);
	tss[1] = RING0_STACK;
	tss[2] = 0x10;
	/* In virtual-8086 mode, ports need a bitmap. */
	tss[25] = 0x68 << 16;
	tss2[8] = where(task2);			/* EIP */
	tss2[9] = 2;				/* EFLAGS */
	tss2[14] = RING0_STACK;			/* ESP */
	tss2[18] = 0x10;			/* ES, CS, SS, DS, FS, GS */
	tss2[19] = 0x08;
	tss2[20] = 0x10;
	tss2[21] = 0x10;

	vmm_vcpu_get_sregs(vm, 0, &sregs);
	sregs.cr0 = mode == REAL ? 0x30 : 0x31;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	segment(&sregs.cs, big ? 8 : 0, mode == VM86 ? 3 : 11, big, mode == VM86 ? 3 : 0);
	segment(&sregs.ds, big ? 0x10 : 0, 3, big, mode == VM86 ? 3 : 0);
	sregs.es = sregs.ds;
	sregs.ss = sregs.ds;
	sregs.fs = sregs.ds;
	sregs.gs = sregs.ds;
	memset(&sregs.tr, 0, sizeof(sregs.tr));
	sregs.tr.base = TSS;
	sregs.tr.limit = 0xfff;
	sregs.tr.selector = 0x20;
	/* One that is in use, QEMU gives up on when an interrupt needs its stack. */
	sregs.tr.type = on_tcg() ? 9 : 11;
	sregs.tr.present = 1;
	sregs.gdt.base = GDT;
	sregs.gdt.limit = 0x2f;
	sregs.idt.base = mode == REAL ? 0 : IDT;
	sregs.idt.limit = 0x3ff;
	vmm_vcpu_set_sregs(vm, 0, &sregs);
	regs.rip = where(big ? code32 : code16);
	if (mode == VM86)
		regs.rflags |= RFLAGS_VM | RFLAGS_IOPL;
	vmm_vcpu_set_regs(vm, 0, &regs);
}

struct found {
	uint8_t data[0x100];
	struct kvm_regs regs;
};

static void finish(struct vmm *vm, struct found *f)
{
	int why = vmm_vcpu_wait(vm, 0, TOOL_PATIENCE);

	KTAP_ASSERT(why == VMM_UCALL, "%s", vmm_vcpu_why(vm, 0));
	memcpy(f->data, vmm_gpa(vm, DATA), sizeof(f->data));
	vmm_vcpu_get_regs(vm, 0, &f->regs);
}

static uint64_t expected(uint64_t step, enum mode mode)
{
	if (step == HANDLER)
		return where(mode == REAL ? handler16 : handler32);
	if (step == HANDLER2)
		return where(mode == REAL ? handler16b : handler32b);
	return step;
}

static void stuck(struct vmm *vm, int nr)
{
	struct kvm_regs regs;
	int why = vmm_vcpu_stop(vm, 0);

	vmm_vcpu_get_regs(vm, 0, &regs);
	KTAP_FAIL("stuck behind step %d: %d %s at %llx flags %llx", nr, why,
		  vmm_vcpu_why(vm, 0), regs.rip, regs.rflags);
}

static void stepped(enum mode mode, unsigned int how)
{
	const uint64_t *next = mode == TASKS ? steps32 : steps16, *first = next;
	const uint64_t *end = mode == TASKS ? steps32_end : steps16_end;
	struct vmm *vm = vmm_create(1, 0);
	const struct kvmi_event *ev;
	struct found want, got;
	struct kvmi_vm *kv;
	uint64_t pc, mine;
	unsigned int i;

	begin(vm, mode);
	vmm_vcpu_start(vm, 0);
	finish(vm, &want);

	kv = tool_attach_ring(vm, 1 << 20);
	tool_watch(kv, KVMI_EVENT_STEP, how, 0);
	begin(vm, mode);
	vmm_vcpu_start(vm, 0);
	while (next < end) {
		if (kvmi_event_wait(kv, &ev, TOOL_PATIENCE) <= 0)
			stuck(vm, (int)(next - first));
		KTAP_EQ(ev->kind, KVMI_EVENT_STEP);
		pc = kvmi_event_step(ev)->pc;
		mine = expected(*next, mode);
		/* The other task's are left out, but for where it begins. */
		if (mode == TASKS && pc > where(task2) && pc != mine &&
		    pc != where(task2)) {
			if (how == KVMI_MODE_SYNC)
				tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
			continue;
		}
		KTAP_ASSERT(pc == mine, "step %d: %#llx, not %#llx",
			    (int)(next - first), (unsigned long long)pc,
			    (unsigned long long)mine);
		next++;
		if (next == end)
			tool_watch(kv, KVMI_EVENT_STEP, KVMI_MODE_OFF, 0);
		if (how == KVMI_MODE_SYNC)
			tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
	}
	finish(vm, &got);
	for (i = 0; i < sizeof(got.data); i++)
		KTAP_ASSERT(got.data[i] == want.data[i], "byte %#x: %02x, not %02x", i,
			    got.data[i], want.data[i]);
	KTAP_ASSERT(!memcmp(&got.regs, &want.regs, sizeof(got.regs)));
	/* It has gone all the way. */
	KTAP_EQ(*(uint16_t *)&want.data[0x30], mode == TASKS ? 0 : 2);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_CASE(real_mode_sync, "E6")
{
	stepped(REAL, KVMI_MODE_SYNC);
}

KTAP_CASE(real_mode_async, "E6")
{
	stepped(REAL, KVMI_MODE_ASYNC);
}

static void need_vm86(void)
{
	const char *host = getenv("RIG_HOST");

	if (host && !strcmp(host, "amd-strict"))
		ktap_skip("Bochs ends at an exit of SVM from virtual-8086 mode");
}

KTAP_CASE(vm86_sync, "E6")
{
	need_vm86();
	stepped(VM86, KVMI_MODE_SYNC);
}

KTAP_CASE(vm86_async, "E6")
{
	need_vm86();
	stepped(VM86, KVMI_MODE_ASYNC);
}

KTAP_CASE(task_switches_sync, "E6 E18")
{
	if (on_tcg())
		ktap_skip("QEMU's SVM does not intercept task switches");
	stepped(TASKS, KVMI_MODE_SYNC);
}

KTAP_CASE(task_switches_async, "E6 E18")
{
	if (on_tcg())
		ktap_skip("QEMU's SVM does not intercept task switches");
	stepped(TASKS, KVMI_MODE_ASYNC);
}

KTAP_MAIN(ktap_need_kvmi)
