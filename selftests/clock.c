// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's clocks over a stop: they go on, or stand still where the session asks
 * for that. The guest looks at its TSC and kvmclock all the time, and keeps the
 * longest time that it has missed; of several vCPUs each compares its TSC with what
 * the others have seen last.
 */
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/tool.h"

#define MSR_KVMCLOCK		0x4b564d01
#define MSR_TSC_DEADLINE	0x6e0
#define LAPIC(reg)		(0xfee00000UL + (reg))
#define LAPIC_EOI		0xb0
#define LAPIC_SVR		0xf0
#define LAPIC_LVTT		0x320
#define LVTT_TSC_DEADLINE	(2 << 17)
#define TIMER_VECTOR		0x60

/* How long a stop is, and how much a guest may miss that does not notice it. */
#define STOP_MS			1200
#define NOTICED_MS		(STOP_MS * 3 / 4)
#define UNNOTICED_MS		(STOP_MS / 4)

/* In the guest's memory. */
struct clocks {
	uint64_t over;
	uint64_t raise;		/* vCPU 0 is to execute CPUID */
	uint64_t tsc;		/* the last that any has read */
	struct watch {
		uint64_t rounds;
		uint64_t tsc_gap, ns_gap;
		uint64_t behind;	/* less than others have read: how often */
		uint64_t backwards;	/* kvmclock was less than before */
		uint64_t deadline;	/* of the timer, in; 0: it is off */
		uint64_t expired;	/* TSC when it was there */
		uint64_t lag;		/* ... and by how much */
	} cpu[GUEST_MAX_VCPUS];
};

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

__guest_inline uint64_t read_tsc(void)
{
	asm volatile("lfence" : : : "memory");
	return guest_rdtsc();
}

__guest_inline uint64_t read_kvmclock(volatile struct pvclock *clock)
{
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = clock->version & ~1U;
		delta = read_tsc() - clock->tsc;
		if (clock->shift < 0)
			delta >>= -clock->shift;
		else
			delta <<= clock->shift;
		ns = clock->ns +
		     (uint64_t)(((__uint128_t)delta * clock->mul) >> 32);
	} while (clock->version != version);
	return ns;
}

__guest_inline void longer(uint64_t *gap, uint64_t now)
{
	if (now > *gap)
		*gap = now;
}

static __guest uint64_t watch_clocks(struct clocks *c, struct pvclock *clocks)
{
	volatile struct clocks *v = c;
	uint64_t id = guest_cpu()->id, tsc, ns, last_tsc, last_ns, others;
	struct watch *w = &c->cpu[id];

	guest_cpu()->eoi = LAPIC(LAPIC_EOI);
	GUEST_WRITE(uint32_t, LAPIC(LAPIC_SVR), 0x1ff);
	GUEST_WRITE(uint32_t, LAPIC(LAPIC_LVTT), LVTT_TSC_DEADLINE | TIMER_VECTOR);
	guest_wrmsr(MSR_KVMCLOCK, (uint64_t)&clocks[id] | 1);
	asm volatile("sti" : : : "memory");
	last_tsc = read_tsc();
	last_ns = read_kvmclock(&clocks[id]);
	while (!v->over) {
		if (!id && v->raise) {
			v->raise = 0;
			guest_cpuid(0, 0);
		}
		if (v->cpu[id].deadline) {
			guest_cpu()->count[TIMER_VECTOR] = 0;
			guest_wrmsr(MSR_TSC_DEADLINE,
				    read_tsc() + v->cpu[id].deadline);
			w->deadline = 0;
			w->expired = 0;
		}
		others = v->tsc;
		tsc = read_tsc();
		if (tsc < others) {
			w->behind++;
			longer(&w->lag, others - tsc);
		}
		v->tsc = tsc;
		longer(&w->tsc_gap, tsc - last_tsc);
		last_tsc = tsc;
		ns = read_kvmclock(&clocks[id]);
		if (ns < last_ns)
			w->backwards++;
		else
			longer(&w->ns_gap, ns - last_ns);
		last_ns = ns;
		if (!w->expired &&
		    *(volatile uint64_t *)&guest_cpu()->count[TIMER_VECTOR])
			w->expired = read_tsc();
		v->cpu[id].rounds++;
	}
	return 1;
}

struct test {
	struct vmm *vm;
	struct kvmi_vm *kv;
	volatile struct clocks *c;
	uint64_t gpa, clock;
	uint64_t khz;
};

static void set_clocks(struct test *t, uint32_t flags)
{
	struct kvmi_policy policy = { .flags = flags };

	KTAP_LIB_OK(kvmi_vm_set_policies(t->kv, &policy));
}

static void begin(struct test *t, int nr_vcpus)
{
	struct kvmi_caps caps;
	int i;

	t->vm = vmm_create(nr_vcpus, VMM_F_IRQCHIP);
	t->kv = tool_attach(t->vm);
	KTAP_LIB_OK(kvmi_vm_get_caps(t->kv, &caps));
	if (!(caps.out_features & KVMI_FEATURE_STOP_CLOCKS))
		ktap_skip("the TSC of this host is not stable");
	t->khz = KTAP_OK(ioctl(t->vm->vcpu[0].fd, KVM_GET_TSC_KHZ, 0));
	t->gpa = vmm_alloc_pages(t->vm, 1);
	t->clock = vmm_alloc_pages(t->vm, 1);
	t->c = vmm_gpa(t->vm, t->gpa);
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_set_entry(t->vm, i, watch_clocks, t->gpa, t->clock, 0);
}

/* Until all have looked at their clocks again. */
static void all_look(struct test *t)
{
	uint64_t from;
	int i, ms;

	for (i = 0; i < t->vm->nr_vcpus; i++) {
		from = t->c->cpu[i].rounds;
		for (ms = 0; t->c->cpu[i].rounds < from + 3; ms++) {
			KTAP_LE(ms, TOOL_PATIENCE);
			usleep(1000);
		}
	}
}

static void forget(struct test *t)
{
	int i;

	all_look(t);
	for (i = 0; i < t->vm->nr_vcpus; i++) {
		t->c->cpu[i].tsc_gap = 0;
		t->c->cpu[i].ns_gap = 0;
	}
}

/* What each has missed since, and that nothing went backwards. */
static void check(struct test *t, bool stood)
{
	uint64_t tsc_ms, ns_ms;
	int i;

	all_look(t);
	for (i = 0; i < t->vm->nr_vcpus; i++) {
		tsc_ms = t->c->cpu[i].tsc_gap / t->khz;
		ns_ms = t->c->cpu[i].ns_gap / 1000000;
		ktap_diag("vCPU %d: missed %lu ms of TSC, %lu ms of kvmclock",
			  i, tsc_ms, ns_ms);
		if (stood) {
			KTAP_LE(tsc_ms, UNNOTICED_MS);
			KTAP_LE(ns_ms, UNNOTICED_MS);
		} else {
			KTAP_GE(tsc_ms, NOTICED_MS);
			KTAP_GE(ns_ms, NOTICED_MS);
		}
		KTAP_ASSERT(!t->c->cpu[i].behind, "behind %lu times, by %lu us",
			    t->c->cpu[i].behind, t->c->cpu[i].lag * 1000 / t->khz);
		KTAP_EQ(t->c->cpu[i].backwards, 0);
	}
	forget(t);
}

static void end(struct test *t)
{
	int i;

	t->c->over = 1;
	for (i = 0; i < t->vm->nr_vcpus; i++)
		vmm_vcpu_wait_done(t->vm, i, TOOL_PATIENCE);
	if (t->kv)
		kvmi_vm_close(t->kv);
	vmm_destroy(t->vm);
}

static void stop(struct test *t)
{
	KTAP_LIB_OK(kvmi_vm_pause(t->kv));
	tool_msleep(STOP_MS);
}

KTAP_CASE_SMP(paused, "D17 S2")
{
	struct test t;
	int n;

	begin(&t, nr_vcpus);
	vmm_start_all(t.vm);
	forget(&t);
	/* They go on, stand still, and go on again. */
	for (n = 0; n < 3; n++) {
		set_clocks(&t, n == 1 ? KVMI_POLICY_STOP_CLOCKS : 0);
		stop(&t);
		KTAP_LIB_OK(kvmi_vm_resume(t.kv));
		check(&t, n == 1);
	}
	end(&t);
}

/* Pauses nest; each vCPU by itself stops no clock. */
KTAP_CASE(nested_pauses, "D17 S2")
{
	struct test t;
	int i;

	begin(&t, 2);
	vmm_start_all(t.vm);
	forget(&t);
	set_clocks(&t, KVMI_POLICY_STOP_CLOCKS);
	KTAP_LIB_OK(kvmi_vm_pause(t.kv));
	KTAP_LIB_OK(kvmi_vm_pause(t.kv));
	tool_msleep(STOP_MS / 2);
	KTAP_LIB_OK(kvmi_vm_resume(t.kv));
	/* What has begun ends as it began. */
	set_clocks(&t, 0);
	tool_msleep(STOP_MS / 2);
	KTAP_LIB_OK(kvmi_vm_resume(t.kv));
	check(&t, true);
	set_clocks(&t, KVMI_POLICY_STOP_CLOCKS);
	for (i = 0; i < 2; i++)
		KTAP_LIB_OK(kvmi_vcpu_pause(t.kv, i));
	tool_msleep(STOP_MS);
	for (i = 0; i < 2; i++)
		KTAP_LIB_OK(kvmi_vcpu_resume(t.kv, i));
	check(&t, false);
	end(&t);
}

/* The VMM has its threads back, for a moment or for the rest of the stop. */
KTAP_CASE_SMP(vmm_meanwhile, "D17 S2")
{
	struct test t;
	int i;

	begin(&t, nr_vcpus);
	vmm_start_all(t.vm);
	forget(&t);
	set_clocks(&t, KVMI_POLICY_STOP_CLOCKS);
	KTAP_LIB_OK(kvmi_vm_pause(t.kv));
	for (i = 0; i < nr_vcpus; i++)
		vmm_vcpu_signal(t.vm, i);
	vmm_vcpu_stop(t.vm, 0);
	tool_msleep(STOP_MS);
	KTAP_LIB_OK(kvmi_vm_resume(t.kv));
	vmm_vcpu_start(t.vm, 0);
	check(&t, true);
	end(&t);
}

/* One that the VMM adds during a stop: its TSC is that of the others. */
KTAP_CASE(vcpu_added_meanwhile, "D17")
{
	struct test t;
	int n;

	begin(&t, 1);
	vmm_start_all(t.vm);
	forget(&t);
	set_clocks(&t, KVMI_POLICY_STOP_CLOCKS);
	for (n = 1; n < 3; n++) {
		KTAP_LIB_OK(kvmi_vm_pause(t.kv));
		tool_msleep(STOP_MS / 2);
		vmm_vcpu_add(t.vm);
		vmm_vcpu_set_entry(t.vm, n, watch_clocks, t.gpa, t.clock, 0);
		/* It comes to the gate before the end of the stop, or after. */
		if (n == 2)
			vmm_vcpu_start(t.vm, n);
		tool_msleep(STOP_MS / 2);
		KTAP_LIB_OK(kvmi_vm_resume(t.kv));
		if (n == 1)
			vmm_vcpu_start(t.vm, n);
		check(&t, true);
	}
	end(&t);
}

static void end_session(struct test *t, int how)
{
	if (how) {
		KTAP_LIB_OK(kvmi_vm_reset(t->kv, KVMI_RESET_ALL));
	} else {
		kvmi_vm_close(t->kv);
		t->kv = NULL;
	}
}

/* A stop that ends with the session, or by a reset. */
KTAP_CASE_SMP(released, "D17 D8")
{
	struct test t;
	int how;

	for (how = 0; how < 2; how++) {
		begin(&t, nr_vcpus);
		vmm_start_all(t.vm);
		forget(&t);
		set_clocks(&t, KVMI_POLICY_STOP_CLOCKS);
		stop(&t);
		end_session(&t, how);
		check(&t, true);
		end(&t);
	}
}

/* An event stops all vCPUs; and a pause that lasts for longer. */
KTAP_CASE_SMP(all_stop, "D17 D16")
{
	struct kvmi_control_event control = {
		.flags = KVMI_CONTROL_STOP,
		.vcpu = KVMI_VCPU_ALL,
		.kind = KVMI_EVENT_X86_CPUID,
		.mode = KVMI_MODE_SYNC,
	};
	const struct kvmi_event *ev;
	struct test t;
	int n;

	begin(&t, nr_vcpus);
	vmm_start_all(t.vm);
	forget(&t);
	KTAP_LIB_OK(kvmi_event_control(t.kv, &control));
	for (n = 0; n < 3; n++) {
		set_clocks(&t, n ? KVMI_POLICY_STOP_CLOCKS : 0);
		t.c->raise = 1;
		ev = tool_wait(t.kv, KVMI_EVENT_X86_CPUID);
		tool_msleep(STOP_MS / (n < 2 ? 1 : 2));
		if (n == 2)
			KTAP_LIB_OK(kvmi_vm_pause(t.kv));
		tool_reply(t.kv, ev, KVMI_ACTION_CONTINUE);
		if (n == 2) {
			tool_msleep(STOP_MS / 2);
			KTAP_LIB_OK(kvmi_vm_resume(t.kv));
		}
		check(&t, n);
	}
	end(&t);
}

/* The timer of the LAPIC that waits for the TSC: in time by the guest's clock. */
KTAP_CASE_SMP(deadline, "D17")
{
	uint64_t late[2][8], from;
	struct test t;
	int i, n, ms;

	begin(&t, nr_vcpus);
	vmm_start_all(t.vm);
	all_look(&t);
	for (n = 0; n < 2; n++) {
		set_clocks(&t, n ? KVMI_POLICY_STOP_CLOCKS : 0);
		/* Due in the middle of the stop. */
		for (i = 0; i < nr_vcpus; i++)
			t.c->cpu[i].deadline = t.khz * STOP_MS / 2;
		from = t.c->tsc;
		for (i = 0; i < nr_vcpus; i++)
			while (t.c->cpu[i].deadline)
				usleep(100);
		stop(&t);
		for (i = 0; i < nr_vcpus; i++)
			KTAP_EQ(t.c->cpu[i].expired, 0);
		KTAP_LIB_OK(kvmi_vm_resume(t.kv));
		for (i = 0; i < nr_vcpus; i++) {
			for (ms = 0; !t.c->cpu[i].expired; ms++) {
				KTAP_LE(ms, TOOL_PATIENCE);
				usleep(1000);
			}
			late[n][i] = (t.c->cpu[i].expired - from) / t.khz;
			ktap_diag("vCPU %d: after %lu ms", i, late[n][i]);
		}
	}
	for (i = 0; i < nr_vcpus; i++) {
		/* At the end of the stop, by clocks that went on. */
		KTAP_GE(late[0][i], NOTICED_MS);
		KTAP_GE(late[1][i], STOP_MS / 2);
		KTAP_LE(late[1][i], STOP_MS);
	}
	end(&t);
}

KTAP_CASE(bad_policies, "D17")
{
	struct kvmi_policy policy = { .flags = 2 };
	struct test t;

	begin(&t, 1);
	KTAP_LIB_ERR(kvmi_vm_set_policies(t.kv, &policy), EINVAL);
	kvmi_vm_close(t.kv);
	vmm_destroy(t.vm);
}

KTAP_MAIN(ktap_need_kvmi)
