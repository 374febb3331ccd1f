// SPDX-License-Identifier: GPL-2.0-only
/* Rates, statistics, and a reset without detaching. */
#include <unistd.h>

#include "lib/tool.h"

#define MSR_LSTAR		0xc0000082

static __guest uint64_t cpuids(uint64_t n, uint64_t *count)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		guest_cpuid(0, i);
		(*(volatile uint64_t *)count)++;
	}
	return n;
}

static void get_stats(struct kvmi_vm *kv, unsigned int vcpu, unsigned int kind,
		      struct kvmi_stats *stats)
{
	KTAP_LIB_OK(kvmi_vm_get_stats(kv, vcpu, kind, stats));
}

static void set_rate(struct kvmi_vm *kv, uint32_t mode, uint32_t rate,
		     uint32_t burst)
{
	struct kvmi_control_event control = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_CPUID,
		.mode = mode,
		.rate = rate,
		.burst = burst,
	};

	KTAP_LIB_OK(kvmi_event_control(kv, &control));
}

/* Ten come at once, and no more for a while; what is not told is counted. */
KTAP_CASE_SMP(rate_limit, "D8")
{
	enum { N = 200, BURST = 10 };
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	struct kvmi_control_event bad = {
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_STEP,
		.mode = KVMI_MODE_ASYNC,
		.rate = 1,
	};
	uint64_t got[8] = {}, last[8] = {};
	const struct kvmi_event *ev;
	struct kvmi_stats stats;
	int i, sync;

	KTAP_LIB_ERR(kvmi_event_control(kv, &bad), EOPNOTSUPP);
	bad.kind = KVMI_EVENT_X86_CPUID;
	bad.rate = 0;
	bad.burst = 1;
	KTAP_LIB_ERR(kvmi_event_control(kv, &bad), EINVAL);

	for (sync = 0; sync < 2; sync++) {
		set_rate(kv, sync ? KVMI_MODE_SYNC : KVMI_MODE_ASYNC, 1, BURST);
		for (i = 0; i < nr_vcpus; i++)
			vmm_vcpu_set_entry(vm, i, cpuids, N, gpa, 0);
		vmm_start_all(vm);
		for (i = 0; sync && i < nr_vcpus; i++) {
			/* Some are told again: one for each second that this takes. */
			while (vmm_vcpu_running(vm, i)) {
				if (kvmi_event_wait(kv, &ev, 10) > 0 &&
				    kvmi_event_is_sync(ev))
					tool_reply(kv, ev, KVMI_ACTION_CONTINUE);
			}
		}
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), N);
	}
	while (kvmi_event_wait(kv, &ev, 0) > 0) {
		KTAP_ASSERT(ev->seq > last[ev->vcpu]);
		last[ev->vcpu] = ev->seq;
		got[ev->vcpu]++;
	}
	for (i = 0; i < nr_vcpus; i++) {
		get_stats(kv, i, KVMI_EVENT_X86_CPUID, &stats);
		KTAP_GE(stats.out_events, BURST);
		/* A second each that the test takes, and the burst. */
		KTAP_LE(stats.out_events, BURST + 60);
		KTAP_EQ(stats.out_events + stats.out_limited, 2 * N);
		KTAP_EQ(stats.out_dropped, stats.out_limited);
		get_stats(kv, i, KVMI_EVENT_X86_CR, &stats);
		KTAP_EQ(stats.out_events + stats.out_dropped, 0);
	}

	/* No limit any more. */
	get_stats(kv, KVMI_VCPU_ALL, KVMI_KIND_ALL, &stats);
	got[0] = stats.out_events;
	got[1] = stats.out_limited;
	set_rate(kv, KVMI_MODE_ASYNC, 0, 0);
	vmm_vcpu_set_entry(vm, 0, cpuids, N, gpa, 0);
	KTAP_EQ(vmm_vcpu_run_done(vm, 0), N);
	get_stats(kv, KVMI_VCPU_ALL, KVMI_KIND_ALL, &stats);
	KTAP_EQ(stats.out_events, got[0] + N);
	KTAP_EQ(stats.out_limited, got[1]);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

/* How long the vCPUs have waited, and how many wait. */
KTAP_CASE_SMP(time_waiting, "D12 D10")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const uint64_t ms = 1000000;
	const struct kvmi_event *ev;
	struct kvmi_stats stats;
	uint64_t ids[8];
	struct kvmi_reply reply;
	int i;

	tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(vm, i, cpuids, 1, gpa, 0);
	vmm_start_all(vm);
	for (i = 0; i < nr_vcpus; i++) {
		ev = tool_wait(kv, KVMI_EVENT_X86_CPUID);
		ids[ev->vcpu] = ev->id;
	}
	tool_msleep(300);
	get_stats(kv, KVMI_VCPU_ALL, KVMI_KIND_ALL, &stats);
	KTAP_EQ(stats.out_open, nr_vcpus);
	KTAP_EQ(stats.out_events, nr_vcpus);
	KTAP_GE(stats.out_wait_ns, 250 * ms * nr_vcpus);
	get_stats(kv, 0, KVMI_EVENT_X86_CPUID, &stats);
	KTAP_EQ(stats.out_open, 1);
	kvmi_reply_init(&reply, KVMI_ACTION_CONTINUE);
	for (i = 0; i < nr_vcpus; i++)
		KTAP_LIB_OK(kvmi_event_answer_id(kv, i, ids[i], &reply));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE);
	for (i = 0; i < nr_vcpus; i++) {
		get_stats(kv, i, KVMI_EVENT_X86_CPUID, &stats);
		KTAP_EQ(stats.out_open, 0);
		KTAP_GE(stats.out_wait_ns, 250 * ms);
		KTAP_LE(stats.out_wait_ns, 60000 * ms);
		get_stats(kv, i, KVMI_EVENT_BREAKPOINT, &stats);
		KTAP_EQ(stats.out_wait_ns, 0);
	}
	KTAP_LIB_ERR(kvmi_vm_get_stats(kv, nr_vcpus, 0, &stats), ENOENT);
	KTAP_LIB_ERR(kvmi_vm_get_stats(kv, 0, KVMI_NR_KINDS, &stats), EINVAL);
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

static __guest uint64_t everything(uint64_t page)
{
	GUEST_WRITE(uint64_t, page, 1);
	guest_cpuid(0, 0);
	guest_write_cr3(guest_read_cr3());
	guest_wrmsr(MSR_LSTAR, guest_rdmsr(MSR_LSTAR));
	guest_int3();
	return guest_cpu()->count[3];
}

/* Everything is gone but the session, and the guest goes on where it was. */
KTAP_CASE_SMP(reset, "D12")
{
	struct vmm *vm = vmm_create(nr_vcpus, 0);
	struct kvmi_vm *kv = tool_attach(vm);
	uint64_t gpa = vmm_alloc_pages(vm, 1);
	const struct kvmi_event *ev;
	struct kvmi_vcpu_info info;
	struct kvmi_stats stats;
	struct kvmi_info vm_info;
	uint32_t view;
	int i, n;

	for (n = 0; n < 2; n++) {
		KTAP_LIB_OK(kvmi_view_create(kv, KVMI_ACCESS_RWX, &view));
		KTAP_LIB_OK(kvmi_view_set_access(kv, view, gpa >> 12, 1,
						 KVMI_ACCESS_R));
		KTAP_LIB_OK(kvmi_view_switch(kv, KVMI_VCPU_ALL, view));
		tool_watch(kv, KVMI_EVENT_ACCESS, KVMI_MODE_SYNC, 0);
		tool_watch(kv, KVMI_EVENT_X86_CPUID, KVMI_MODE_SYNC, 0);
		tool_watch(kv, KVMI_EVENT_BREAKPOINT, KVMI_MODE_SYNC, 0);
		KTAP_LIB_OK(kvmi_event_watch_cr(kv, KVMI_VCPU_ALL, 3,
						KVMI_MODE_SYNC, 0));
		KTAP_LIB_OK(kvmi_event_watch_msr(kv, KVMI_VCPU_ALL, MSR_LSTAR,
						 KVMI_ACCESS_R | KVMI_ACCESS_W,
						 KVMI_MODE_SYNC, 0));
		for (i = 0; i < nr_vcpus; i++)
			vmm_vcpu_set_entry(vm, i, everything, gpa, 0, 0);
		vmm_start_all(vm);
		for (i = 0; i < nr_vcpus; i++) {
			ev = tool_wait(kv, KVMI_EVENT_ACCESS);
			KTAP_LIB_OK(kvmi_vcpu_inject_exception(kv, ev->vcpu, 6,
							       0, 0));
		}
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		KTAP_LIB_OK(kvmi_vm_pause(kv));
		KTAP_LIB_ERR(kvmi_vm_reset(kv, 0), EINVAL);
		KTAP_LIB_ERR(kvmi_vm_reset(kv, 1U << 31), EINVAL);
		KTAP_LIB_OK(kvmi_vm_reset(kv, KVMI_RESET_ALL &
					      ~KVMI_RESET_PAUSES));
		tool_msleep(10);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_ASSERT(vmm_vcpu_running(vm, i));
		KTAP_LIB_OK(kvmi_vm_reset(kv, KVMI_RESET_ALL));
		for (i = 0; i < nr_vcpus; i++) {
			KTAP_EQ(vmm_vcpu_wait_done(vm, i, TOOL_PATIENCE), n + 1);
			KTAP_EQ(vm->vcpu[i].cpu->count[6], 0);
			KTAP_LIB_OK(kvmi_vcpu_get_info(kv, i, &info));
			KTAP_EQ(info.out_view, KVMI_VIEW_DEFAULT);
			KTAP_EQ(info.out_pause_count, 0);
		}
		KTAP_LIB_OK(kvmi_vm_get_info(kv, &vm_info));
		KTAP_EQ(vm_info.out_nr_views, 0);
		get_stats(kv, KVMI_VCPU_ALL, KVMI_KIND_ALL, &stats);
		KTAP_EQ(stats.out_open, 0);
		tool_wait_none(kv, 0);
	}
	kvmi_vm_close(kv);
	vmm_destroy(vm);
}

KTAP_MAIN(ktap_need_kvmi)
