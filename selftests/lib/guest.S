/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest code that C cannot express: exception entries, the way into ring 3
 * and back, and the worker whose registers are all in use.
 */
#include "guest.h"

	.section .note.GNU-stack, "", @progbits
	.text

	.macro	push_regs
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm

	.macro	pop_regs
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	.endm

/* 256 entries of 16 bytes. */
	.balign	16
	.globl	guest_vectors
guest_vectors:
	.set	vec, 0
	.rept	256
	.balign	16
	.if	vec == GUEST_VEC_USER_EXIT
	jmp	user_exit
	.else
	.if	(vec == 8) || (vec >= 10 && vec <= 14) || (vec == 17) || \
		(vec == 21) || (vec == 29) || (vec == 30)
	.else
	pushq	$0
	.endif
	.byte	0x68			/* push imm32 */
	.long	vec
	jmp	exception
	.endif
	.set	vec, vec + 1
	.endr
	.balign	16

exception:
	push_regs
	cld
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	guest_exception
	mov	%rbp, %rsp
	pop_regs
	add	$16, %rsp
	iretq

/* The return address of an entry function: its value goes to the host. */
	.globl	guest_entry_return
guest_entry_return:
	mov	%rax, %rdi
	sub	$8, %rsp
	call	guest_done
	ud2

/* uint64_t guest_call_user(fn, arg) */
	.globl	guest_call_user
guest_call_user:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushf
	mov	%rsp, %gs:GC_KERNEL_RSP
	/* The last quarter of the vCPU's stack area is ring 3's. */
	mov	%gs:GC_ID, %rax
	inc	%rax
	imul	$GUEST_STACK_SIZE, %rax, %rax
	add	$GUEST_STACK - 16, %rax
	pushq	$GUEST_USER_DS
	push	%rax
	pushf
	orq	$0x3000, (%rsp)
	pushq	$GUEST_USER_CS
	pushq	$1f
	mov	%rdi, %rax
	mov	%rsi, %rdi
	iretq
1:
	call	*%rax
	int	$GUEST_VEC_USER_EXIT
	ud2

user_exit:
	mov	%gs:GC_KERNEL_RSP, %rsp
	popf
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.macro	for_each_pat what
	\what	0, %rax
	\what	1, %rbx
	\what	2, %rcx
	\what	3, %rdx
	\what	4, %rsi
	\what	5, %rdi
	\what	6, %rbp
	\what	7, %r8
	\what	8, %r9
	\what	9, %r10
	\what	10, %r11
	\what	11, %r12
	\what	12, %r13
	\what	13, %r14
	\what	14, %r15
	.endm

	.macro	load_pat n, reg
	mov	%gs:(GC_WORK_PAT + 8 * \n), \reg
	.endm

	.macro	check_pat n, reg
	cmp	%gs:(GC_WORK_PAT + 8 * \n), \reg
	jne	work_bad_reg
	.endm

/* void guest_worker(ops, mem) */
	.globl	guest_worker
guest_worker:
	call	guest_worker_init
work_loop:
	for_each_pat load_pat
	/* Under TCG the other CPUs get their turn at a pause. */
	pause
	movq	$50, %gs:GC_WORK_SPIN
1:
	decq	%gs:GC_WORK_SPIN
	jnz	1b
	for_each_pat check_pat

	testb	$GUEST_WORK_CPUID, %gs:GC_WORK_OPS
	jz	2f
	xor	%eax, %eax
	xor	%ecx, %ecx
	cpuid
	cmp	%gs:(GC_WORK_CPUID + 0), %rax
	jne	work_bad_cpuid
	cmp	%gs:(GC_WORK_CPUID + 8), %rbx
	jne	work_bad_cpuid
	cmp	%gs:(GC_WORK_CPUID + 16), %rcx
	jne	work_bad_cpuid
	cmp	%gs:(GC_WORK_CPUID + 24), %rdx
	jne	work_bad_cpuid
	load_pat 0, %rax
	load_pat 1, %rbx
	load_pat 2, %rcx
	load_pat 3, %rdx
	for_each_pat check_pat
2:
	testb	$GUEST_WORK_CR3, %gs:GC_WORK_OPS
	jz	3f
	mov	%cr3, %rax
	mov	%rax, %cr3
	cmp	$GUEST_PML4, %rax
	jne	work_bad_reg
	load_pat 0, %rax
	for_each_pat check_pat
3:
	testb	$GUEST_WORK_INT3, %gs:GC_WORK_OPS
	jz	4f
	int3
	for_each_pat check_pat
4:
	testb	$GUEST_WORK_MSR, %gs:GC_WORK_OPS
	jz	5f
	mov	$0x174, %ecx		/* SYSENTER_CS: 32 bits on Intel */
	mov	%gs:GC_WORK_COUNT, %rax
	and	$0xffff, %eax
	xor	%edx, %edx
	wrmsr
	xor	%eax, %eax
	rdmsr
	mov	%gs:GC_WORK_COUNT, %rdx
	and	$0xffff, %edx
	cmp	%rax, %rdx
	jne	work_bad_msr
	load_pat 0, %rax
	load_pat 2, %rcx
	load_pat 3, %rdx
	for_each_pat check_pat
5:
	call	guest_worker_mem
	incq	%gs:GC_WORK_COUNT
	jmp	work_loop

work_bad_reg:
	push_regs
	xor	%edi, %edi
	jmp	work_bad
work_bad_cpuid:
	push_regs
	mov	$1, %edi
	jmp	work_bad
work_bad_msr:
	push_regs
	mov	$2, %edi
work_bad:
	mov	%rsp, %rsi
	and	$-16, %rsp
	call	guest_worker_bad
	ud2
