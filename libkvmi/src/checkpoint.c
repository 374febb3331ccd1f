// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Checkpoints: a VM as it was, memory and vCPUs, any number of times.
 *
 * Memory is the kernel's: a view that the guest cannot write to, and a snapshot on it
 * (KVMI_SNAPSHOT). The state of the vCPUs is read once, and written at each reset.
 */
#include <stdlib.h>

#include "internal.h"

/* What has no register set of its own; those that the vCPU has. */
static const uint32_t msr_indices[] = {
	0x48,		/* SPEC_CTRL */
	0x1d9,		/* DEBUGCTL */
	0x277,		/* PAT */
	0x6e0,		/* TSC_DEADLINE */
	0xc0000103,	/* TSC_AUX */
};

#define NR_MSRS		ARRAY_SIZE(msr_indices)

#define ALL_SETS	(KVMI_REGS_GENERAL | KVMI_REGS_CONTROL | KVMI_REGS_SEGMENT | \
			 KVMI_REGS_DEBUG | KVMI_REGS_SYSCALL | KVMI_REGS_XCR | \
			 KVMI_REGS_EVENTS)

struct vcpu_state {
	struct {
		struct kvmi_x86_gprs gprs;
		struct kvmi_x86_control control;
		struct kvmi_x86_segments segments;
		struct kvmi_x86_debug debug;
		struct kvmi_x86_syscall syscall;
		struct kvmi_x86_xcr xcr;
		struct kvmi_x86_events events;
	} regs;
	struct kvmi_x86_msr msrs[NR_MSRS];
	unsigned int nr_msrs;
	void *xsave;
	size_t xsave_size;
	unsigned char lapic[1024];
	bool has_lapic;
};

/**
 * struct kvmi_checkpoint - see kvmi_checkpoint_take()
 * @vm: the session
 * @view: that the guest runs on
 * @nr_vcpus: at that time
 * @vcpus: their state
 */
struct kvmi_checkpoint {
	struct kvmi_vm *vm;
	uint32_t view;
	unsigned int nr_vcpus;
	struct vcpu_state *vcpus;
};

/**
 * kvmi_snapshot() - Take a snapshot of what the guest writes on a view, reset to it,
 *	drop it, or ask for it
 * @vm: the session
 * @view: the view
 * @op: enum kvmi_snapshot_op
 * @max_pages: KVMI_SNAPSHOT_TAKE: pages that are kept at most; 0 for the others
 * @result: where to store what the kernel says, or NULL
 *
 * Return: 0 or a negative errno, see struct kvmi_snapshot.
 */
int kvmi_snapshot(struct kvmi_vm *vm, uint32_t view, enum kvmi_snapshot_op op,
		  uint64_t max_pages, struct kvmi_snapshot *result)
{
	struct kvmi_snapshot arg = {
		.size = sizeof(arg),
		.view = view,
		.op = op,
		.max_pages = max_pages,
	};
	int ret;

	ret = kvmi_vm_ioctl(vm, KVMI_SNAPSHOT, &arg, "snapshot");
	if (result)
		*result = arg;
	return ret < 0 ? ret : 0;
}

static int vcpu_save_xsave(struct kvmi_vm *vm, unsigned int vcpu,
			   struct vcpu_state *s)
{
	int ret;

	ret = kvmi_vcpu_get_state(vm, vcpu, KVMI_STATE_XSAVE, NULL, 0,
				  &s->xsave_size);
	if (ret < 0 && ret != -ENOSPC)
		return ret;
	s->xsave = malloc(s->xsave_size);
	if (!s->xsave)
		return kvmi_error_set(-ENOMEM, "checkpoint");
	return kvmi_vcpu_get_state(vm, vcpu, KVMI_STATE_XSAVE, s->xsave,
				   s->xsave_size, NULL);
}

static int vcpu_save(struct kvmi_vm *vm, unsigned int vcpu, struct vcpu_state *s)
{
	struct kvmi_x86_msr msrs[NR_MSRS] = {};
	size_t i;
	int ret;

	ret = kvmi_vcpu_get_regs(vm, vcpu, ALL_SETS, &s->regs, sizeof(s->regs));
	if (ret < 0)
		return ret;
	for (i = 0; i < NR_MSRS; i++)
		msrs[i].index = msr_indices[i];
	ret = kvmi_vcpu_get_msrs(vm, vcpu, msrs, NR_MSRS);
	if (ret < 0)
		return ret;
	for (i = 0; i < NR_MSRS; i++)
		if (!msrs[i].out_error)
			s->msrs[s->nr_msrs++] = msrs[i];
	ret = vcpu_save_xsave(vm, vcpu, s);
	if (ret < 0)
		return ret;
	ret = kvmi_vcpu_get_state(vm, vcpu, KVMI_STATE_LAPIC, s->lapic,
				  sizeof(s->lapic), NULL);
	s->has_lapic = ret >= 0;
	return ret == -EOPNOTSUPP ? 0 : ret;
}

/* Only what has changed: KVM knows some MSRs to read and not to write. */
static int vcpu_restore_msrs(struct kvmi_vm *vm, unsigned int vcpu,
			     struct vcpu_state *s)
{
	struct kvmi_x86_msr now[NR_MSRS], changed[NR_MSRS];
	unsigned int i, nr = 0;
	int ret;

	if (!s->nr_msrs)
		return 0;
	memcpy(now, s->msrs, sizeof(now));
	ret = kvmi_vcpu_get_msrs(vm, vcpu, now, s->nr_msrs);
	if (ret < 0)
		return ret;
	for (i = 0; i < s->nr_msrs; i++)
		if (now[i].out_error || now[i].value != s->msrs[i].value)
			changed[nr++] = s->msrs[i];
	return nr ? kvmi_vcpu_set_msrs(vm, vcpu, changed, nr, NULL) : 0;
}

static int vcpu_restore(struct kvmi_vm *vm, unsigned int vcpu, struct vcpu_state *s)
{
	int ret;

	if (s->has_lapic) {
		ret = kvmi_vcpu_set_state(vm, vcpu, KVMI_STATE_LAPIC, s->lapic,
					  sizeof(s->lapic));
		if (ret < 0)
			return ret;
	}
	ret = kvmi_vcpu_set_regs(vm, vcpu, ALL_SETS, &s->regs, sizeof(s->regs));
	if (ret < 0)
		return ret;
	ret = kvmi_vcpu_set_state(vm, vcpu, KVMI_STATE_XSAVE, s->xsave,
				  s->xsave_size);
	return ret < 0 ? ret : vcpu_restore_msrs(vm, vcpu, s);
}

static void checkpoint_free(struct kvmi_checkpoint *cp)
{
	unsigned int i;

	for (i = 0; i < cp->nr_vcpus; i++)
		free(cp->vcpus[i].xsave);
	free(cp->vcpus);
	free(cp);
}

/* The VM is paused. */
static int checkpoint_begin(struct kvmi_checkpoint *cp, uint64_t max_pages)
{
	struct kvmi_vm *vm = cp->vm;
	unsigned int i;
	int ret;

	for (i = 0; i < cp->nr_vcpus; i++) {
		ret = vcpu_save(vm, i, &cp->vcpus[i]);
		if (ret < 0)
			return ret;
	}
	ret = kvmi_view_create(vm, KVMI_ACCESS_R | KVMI_ACCESS_X, &cp->view);
	if (ret < 0)
		return ret;
	ret = kvmi_snapshot(vm, cp->view, KVMI_SNAPSHOT_TAKE, max_pages, NULL);
	if (ret >= 0)
		ret = kvmi_view_switch(vm, KVMI_VCPU_ALL, cp->view);
	if (ret < 0)
		kvmi_view_destroy(vm, cp->view);
	return ret;
}

/**
 * kvmi_checkpoint_take() - Remember a VM as it is
 * @vm: the session, which may pause the VM, and write to it
 * @max_pages: pages that the guest may write to between two resets
 * @cp: where to store the checkpoint; kvmi_checkpoint_drop() ends it
 *
 * From now on all vCPUs run on a view of the checkpoint's own, until it is dropped.
 * It takes a page of the host's memory for each that the guest writes to, when it does
 * so for the first time.
 *
 * Return: 0 or a negative errno.
 */
int kvmi_checkpoint_take(struct kvmi_vm *vm, uint64_t max_pages,
			 struct kvmi_checkpoint **cp)
{
	struct kvmi_checkpoint *new;
	struct kvmi_info info;
	int ret;

	new = calloc(1, sizeof(*new));
	if (!new)
		return kvmi_error_set(-ENOMEM, "checkpoint");
	new->vm = vm;
	ret = kvmi_vm_pause(vm);
	if (ret < 0)
		goto err_free;
	ret = kvmi_vm_get_info(vm, &info);
	if (ret < 0)
		goto err_resume;
	new->vcpus = calloc(info.out_nr_vcpus, sizeof(*new->vcpus));
	if (!new->vcpus) {
		ret = kvmi_error_set(-ENOMEM, "checkpoint");
		goto err_resume;
	}
	new->nr_vcpus = info.out_nr_vcpus;
	ret = checkpoint_begin(new, max_pages);
	if (ret < 0)
		goto err_resume;
	kvmi_vm_resume(vm);
	*cp = new;
	return 0;

err_resume:
	kvmi_vm_resume(vm);
err_free:
	checkpoint_free(new);
	return ret;
}

/**
 * kvmi_checkpoint_reset() - Have the VM as it was
 * @cp: of kvmi_checkpoint_take()
 * @pages: where to store how many pages were put back, or NULL
 *
 * Memory that the guest has written to, and the vCPUs: registers, extended state,
 * LAPIC, pending events. What it costs follows the number of those pages. An event that
 * is open stays so: answer it with KVMI_ACTION_RETRY, and the vCPU goes on from where
 * it was.
 *
 * Not put back: time (TSC, kvmclock), devices and what they have written, the VMM's own
 * state, KVM's timers. A vCPU that is in the VMM amidst an instruction (I/O) must
 * finish it first: reset a VM whose vCPUs wait for an answer, or whose guest is not at
 * a device.
 *
 * Return: 0 or a negative errno; -EOVERFLOW: more pages were written than may be kept.
 */
int kvmi_checkpoint_reset(struct kvmi_checkpoint *cp, uint64_t *pages)
{
	struct kvmi_snapshot result;
	unsigned int i;
	int ret;

	ret = kvmi_vm_pause(cp->vm);
	if (ret < 0)
		return ret;
	ret = kvmi_snapshot(cp->vm, cp->view, KVMI_SNAPSHOT_RESET, 0, &result);
	for (i = 0; ret >= 0 && i < cp->nr_vcpus; i++)
		ret = vcpu_restore(cp->vm, i, &cp->vcpus[i]);
	if (ret >= 0 && pages)
		*pages = result.out_done;
	kvmi_vm_resume(cp->vm);
	return ret < 0 ? ret : 0;
}

/**
 * kvmi_checkpoint_view() - The view that the guest runs on
 * @cp: of kvmi_checkpoint_take()
 *
 * Its pages can have other access rights, and show others: those are not reset.
 *
 * Return: its number.
 */
uint32_t kvmi_checkpoint_view(const struct kvmi_checkpoint *cp)
{
	return cp->view;
}

/**
 * kvmi_checkpoint_drop() - Forget a checkpoint
 * @cp: of kvmi_checkpoint_take(), or NULL; not valid afterwards
 *
 * The VM goes on as it is, on the default view.
 *
 * Return: 0 or a negative errno, with which the view is still there.
 */
int kvmi_checkpoint_drop(struct kvmi_checkpoint *cp)
{
	int ret;

	if (!cp)
		return 0;
	ret = kvmi_view_destroy(cp->vm, cp->view);
	checkpoint_free(cp);
	return ret < 0 ? ret : 0;
}
