// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi vmcs, kvmi caps: what the processor runs a guest by, and what it can.
 */
#include <cpuid.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- vmcs -------------------------------------------------------------------- */

/* In order of encoding; names as in the kernel's asm/vmx.h, and by the SDM. */
static const struct {
	uint32_t encoding;
	const char *name;
} vmcs_fields[] = {
	{ 0x0000, "virtual_processor_id" },
	{ 0x0002, "posted_intr_nv" },
	{ 0x0004, "eptp_index" },
	{ 0x0006, "hlat_prefix_size" },
	{ 0x0008, "last_pid_pointer_index" },
	{ 0x0800, "guest_es_selector" },
	{ 0x0802, "guest_cs_selector" },
	{ 0x0804, "guest_ss_selector" },
	{ 0x0806, "guest_ds_selector" },
	{ 0x0808, "guest_fs_selector" },
	{ 0x080a, "guest_gs_selector" },
	{ 0x080c, "guest_ldtr_selector" },
	{ 0x080e, "guest_tr_selector" },
	{ 0x0810, "guest_intr_status" },
	{ 0x0812, "guest_pml_index" },
	{ 0x0814, "guest_uinv" },
	{ 0x0c00, "host_es_selector" },
	{ 0x0c02, "host_cs_selector" },
	{ 0x0c04, "host_ss_selector" },
	{ 0x0c06, "host_ds_selector" },
	{ 0x0c08, "host_fs_selector" },
	{ 0x0c0a, "host_gs_selector" },
	{ 0x0c0c, "host_tr_selector" },
	{ 0x2000, "io_bitmap_a" },
	{ 0x2002, "io_bitmap_b" },
	{ 0x2004, "msr_bitmap" },
	{ 0x2006, "vm_exit_msr_store_addr" },
	{ 0x2008, "vm_exit_msr_load_addr" },
	{ 0x200a, "vm_entry_msr_load_addr" },
	{ 0x200c, "executive_vmcs_pointer" },
	{ 0x200e, "pml_address" },
	{ 0x2010, "tsc_offset" },
	{ 0x2012, "virtual_apic_page_addr" },
	{ 0x2014, "apic_access_addr" },
	{ 0x2016, "posted_intr_desc_addr" },
	{ 0x2018, "vm_function_control" },
	{ 0x201a, "ept_pointer" },
	{ 0x201c, "eoi_exit_bitmap0" },
	{ 0x201e, "eoi_exit_bitmap1" },
	{ 0x2020, "eoi_exit_bitmap2" },
	{ 0x2022, "eoi_exit_bitmap3" },
	{ 0x2024, "eptp_list_address" },
	{ 0x2026, "vmread_bitmap" },
	{ 0x2028, "vmwrite_bitmap" },
	{ 0x202a, "ve_information_address" },
	{ 0x202c, "xss_exit_bitmap" },
	{ 0x202e, "encls_exiting_bitmap" },
	{ 0x2030, "sppt_pointer" },
	{ 0x2032, "tsc_multiplier" },
	{ 0x2034, "tertiary_vm_exec_control" },
	{ 0x2036, "enclv_exiting_bitmap" },
	{ 0x2038, "low_pasid_directory_address" },
	{ 0x203a, "high_pasid_directory_address" },
	{ 0x203c, "shared_ept_pointer" },
	{ 0x203e, "pconfig_exiting_bitmap" },
	{ 0x2040, "hlat_pointer" },
	{ 0x2042, "pid_pointer_table" },
	{ 0x2044, "secondary_vm_exit_controls" },
	{ 0x204a, "ia32_spec_ctrl_mask" },
	{ 0x204c, "ia32_spec_ctrl_shadow" },
	{ 0x2400, "guest_physical_address" },
	{ 0x2800, "vmcs_link_pointer" },
	{ 0x2802, "guest_ia32_debugctl" },
	{ 0x2804, "guest_ia32_pat" },
	{ 0x2806, "guest_ia32_efer" },
	{ 0x2808, "guest_ia32_perf_global_ctrl" },
	{ 0x280a, "guest_pdptr0" },
	{ 0x280c, "guest_pdptr1" },
	{ 0x280e, "guest_pdptr2" },
	{ 0x2810, "guest_pdptr3" },
	{ 0x2812, "guest_bndcfgs" },
	{ 0x2814, "guest_ia32_rtit_ctl" },
	{ 0x2816, "guest_ia32_lbr_ctl" },
	{ 0x2818, "guest_ia32_pkrs" },
	{ 0x2c00, "host_ia32_pat" },
	{ 0x2c02, "host_ia32_efer" },
	{ 0x2c04, "host_ia32_perf_global_ctrl" },
	{ 0x2c06, "host_ia32_pkrs" },
	{ 0x4000, "pin_based_vm_exec_control" },
	{ 0x4002, "cpu_based_vm_exec_control" },
	{ 0x4004, "exception_bitmap" },
	{ 0x4006, "page_fault_error_code_mask" },
	{ 0x4008, "page_fault_error_code_match" },
	{ 0x400a, "cr3_target_count" },
	{ 0x400c, "vm_exit_controls" },
	{ 0x400e, "vm_exit_msr_store_count" },
	{ 0x4010, "vm_exit_msr_load_count" },
	{ 0x4012, "vm_entry_controls" },
	{ 0x4014, "vm_entry_msr_load_count" },
	{ 0x4016, "vm_entry_intr_info" },
	{ 0x4018, "vm_entry_exception_error_code" },
	{ 0x401a, "vm_entry_instruction_len" },
	{ 0x401c, "tpr_threshold" },
	{ 0x401e, "secondary_vm_exec_control" },
	{ 0x4020, "ple_gap" },
	{ 0x4022, "ple_window" },
	{ 0x4024, "notify_window" },
	{ 0x4400, "vm_instruction_error" },
	{ 0x4402, "vm_exit_reason" },
	{ 0x4404, "vm_exit_intr_info" },
	{ 0x4406, "vm_exit_intr_error_code" },
	{ 0x4408, "idt_vectoring_info" },
	{ 0x440a, "idt_vectoring_error_code" },
	{ 0x440c, "vm_exit_instruction_len" },
	{ 0x440e, "vmx_instruction_info" },
	{ 0x4800, "guest_es_limit" },
	{ 0x4802, "guest_cs_limit" },
	{ 0x4804, "guest_ss_limit" },
	{ 0x4806, "guest_ds_limit" },
	{ 0x4808, "guest_fs_limit" },
	{ 0x480a, "guest_gs_limit" },
	{ 0x480c, "guest_ldtr_limit" },
	{ 0x480e, "guest_tr_limit" },
	{ 0x4810, "guest_gdtr_limit" },
	{ 0x4812, "guest_idtr_limit" },
	{ 0x4814, "guest_es_ar_bytes" },
	{ 0x4816, "guest_cs_ar_bytes" },
	{ 0x4818, "guest_ss_ar_bytes" },
	{ 0x481a, "guest_ds_ar_bytes" },
	{ 0x481c, "guest_fs_ar_bytes" },
	{ 0x481e, "guest_gs_ar_bytes" },
	{ 0x4820, "guest_ldtr_ar_bytes" },
	{ 0x4822, "guest_tr_ar_bytes" },
	{ 0x4824, "guest_interruptibility_info" },
	{ 0x4826, "guest_activity_state" },
	{ 0x4828, "guest_smbase" },
	{ 0x482a, "guest_sysenter_cs" },
	{ 0x482e, "vmx_preemption_timer_value" },
	{ 0x4c00, "host_ia32_sysenter_cs" },
	{ 0x6000, "cr0_guest_host_mask" },
	{ 0x6002, "cr4_guest_host_mask" },
	{ 0x6004, "cr0_read_shadow" },
	{ 0x6006, "cr4_read_shadow" },
	{ 0x6008, "cr3_target_value0" },
	{ 0x600a, "cr3_target_value1" },
	{ 0x600c, "cr3_target_value2" },
	{ 0x600e, "cr3_target_value3" },
	{ 0x6400, "exit_qualification" },
	{ 0x6402, "io_rcx" },
	{ 0x6404, "io_rsi" },
	{ 0x6406, "io_rdi" },
	{ 0x6408, "io_rip" },
	{ 0x640a, "guest_linear_address" },
	{ 0x6800, "guest_cr0" },
	{ 0x6802, "guest_cr3" },
	{ 0x6804, "guest_cr4" },
	{ 0x6806, "guest_es_base" },
	{ 0x6808, "guest_cs_base" },
	{ 0x680a, "guest_ss_base" },
	{ 0x680c, "guest_ds_base" },
	{ 0x680e, "guest_fs_base" },
	{ 0x6810, "guest_gs_base" },
	{ 0x6812, "guest_ldtr_base" },
	{ 0x6814, "guest_tr_base" },
	{ 0x6816, "guest_gdtr_base" },
	{ 0x6818, "guest_idtr_base" },
	{ 0x681a, "guest_dr7" },
	{ 0x681c, "guest_rsp" },
	{ 0x681e, "guest_rip" },
	{ 0x6820, "guest_rflags" },
	{ 0x6822, "guest_pending_dbg_exceptions" },
	{ 0x6824, "guest_sysenter_esp" },
	{ 0x6826, "guest_sysenter_eip" },
	{ 0x6828, "guest_ia32_s_cet" },
	{ 0x682a, "guest_ssp" },
	{ 0x682c, "guest_ia32_interrupt_ssp_table_addr" },
	{ 0x6c00, "host_cr0" },
	{ 0x6c02, "host_cr3" },
	{ 0x6c04, "host_cr4" },
	{ 0x6c06, "host_fs_base" },
	{ 0x6c08, "host_gs_base" },
	{ 0x6c0a, "host_tr_base" },
	{ 0x6c0c, "host_gdtr_base" },
	{ 0x6c0e, "host_idtr_base" },
	{ 0x6c10, "host_ia32_sysenter_esp" },
	{ 0x6c12, "host_ia32_sysenter_eip" },
	{ 0x6c14, "host_rsp" },
	{ 0x6c16, "host_rip" },
	{ 0x6c18, "host_ia32_s_cet" },
	{ 0x6c1a, "host_ssp" },
	{ 0x6c1c, "host_ia32_interrupt_ssp_table_addr" },
};

/* By bits 10 and 11 of the encoding; printed in the order of @vmcs_order. */
static const char * const vmcs_groups[] = { "control", "exit", "guest", "host" };
static const int vmcs_order[] = { 2, 3, 0, 1 };

#define VM_EXIT_REASON	0x4402

static const char *vmcs_name(uint32_t encoding)
{
	static char other[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vmcs_fields); i++)
		if (vmcs_fields[i].encoding == encoding)
			return vmcs_fields[i].name;
	snprintf(other, sizeof(other), "field_0x%04x", encoding);
	return other;
}

struct vmcb_field {
	uint16_t offset;
	uint16_t size;
	const char *name;
};

#define VMCB_EXIT_CODE	0x70
#define VMCB_SAVE	0x400

static const struct vmcb_field vmcb_control[] = {
	{ 0x00, 4, "intercept_cr" },
	{ 0x04, 4, "intercept_dr" },
	{ 0x08, 4, "intercept_exceptions" },
	{ 0x0c, 4, "intercept_1" },
	{ 0x10, 4, "intercept_2" },
	{ 0x14, 4, "intercept_3" },
	{ 0x3c, 2, "pause_filter_threshold" },
	{ 0x3e, 2, "pause_filter_count" },
	{ 0x40, 8, "iopm_base_pa" },
	{ 0x48, 8, "msrpm_base_pa" },
	{ 0x50, 8, "tsc_offset" },
	{ 0x58, 4, "asid" },
	{ 0x5c, 1, "tlb_control" },
	{ 0x60, 4, "int_control" },
	{ 0x64, 4, "int_vector" },
	{ 0x68, 4, "int_state" },
	{ 0x70, 8, "exit_code" },
	{ 0x78, 8, "exit_info_1" },
	{ 0x80, 8, "exit_info_2" },
	{ 0x88, 4, "exit_int_info" },
	{ 0x8c, 4, "exit_int_error" },
	{ 0x90, 8, "nested_control" },
	{ 0x98, 8, "avic_apic_bar" },
	{ 0xa0, 8, "ghcb_gpa" },
	{ 0xa8, 4, "event_injection" },
	{ 0xac, 4, "event_injection_error" },
	{ 0xb0, 8, "nested_cr3" },
	{ 0xb8, 8, "virtual_extensions" },
	{ 0xc0, 4, "clean" },
	{ 0xc8, 8, "next_rip" },
	{ 0xd0, 1, "insn_len" },
	{ 0xd1, 15, "insn_bytes" },
	{ 0xe0, 8, "avic_backing_page" },
	{ 0xf0, 8, "avic_logical_table" },
	{ 0xf8, 8, "avic_physical_table" },
	{ 0x108, 8, "vmsa_pa" },
	{ 0x110, 8, "vmgexit_rax" },
	{ 0x118, 1, "vmgexit_cpl" },
	{ 0x120, 2, "bus_lock_threshold" },
	{ 0x138, 4, "update_irr" },
	{ 0x140, 8, "allowed_sev_features" },
	{ 0x148, 8, "guest_sev_features" },
	{ 0x3e0, 32, "software" },
};

static const char * const vmcb_segments[] = {
	"es", "cs", "ss", "ds", "fs", "gs", "gdtr", "ldtr", "idtr", "tr",
};

/* Behind the segments, from VMCB_SAVE. */
static const struct vmcb_field vmcb_save[] = {
	{ 0xca, 1, "vmpl" },
	{ 0xcb, 1, "cpl" },
	{ 0xd0, 8, "efer" },
	{ 0x148, 8, "cr4" },
	{ 0x150, 8, "cr3" },
	{ 0x158, 8, "cr0" },
	{ 0x160, 8, "dr7" },
	{ 0x168, 8, "dr6" },
	{ 0x170, 8, "rflags" },
	{ 0x178, 8, "rip" },
	{ 0x1d8, 8, "rsp" },
	{ 0x1e0, 8, "s_cet" },
	{ 0x1e8, 8, "ssp" },
	{ 0x1f0, 8, "isst_addr" },
	{ 0x1f8, 8, "rax" },
	{ 0x200, 8, "star" },
	{ 0x208, 8, "lstar" },
	{ 0x210, 8, "cstar" },
	{ 0x218, 8, "sfmask" },
	{ 0x220, 8, "kernel_gs_base" },
	{ 0x228, 8, "sysenter_cs" },
	{ 0x230, 8, "sysenter_esp" },
	{ 0x238, 8, "sysenter_eip" },
	{ 0x240, 8, "cr2" },
	{ 0x268, 8, "g_pat" },
	{ 0x270, 8, "dbgctl" },
	{ 0x278, 8, "br_from" },
	{ 0x280, 8, "br_to" },
	{ 0x288, 8, "last_excp_from" },
	{ 0x290, 8, "last_excp_to" },
	{ 0x2e0, 8, "spec_ctrl" },
};

/* A field: where it is, as "encoding" or "offset". */
static void print_field(bool json, const char *group, const char *where,
			uint32_t at, const char *name, uint64_t value,
			const char *meaning)
{
	if (!json) {
		printf("  %04x  %-36s %016llx%s%s\n", at, name,
		       (unsigned long long)value, meaning ? "  " : "",
		       meaning ?: "");
		return;
	}
	json_open(NULL, '{');
	json_string("group", group);
	json_string("name", name);
	json_hex(where, at);
	json_hex("value", value);
	if (meaning)
		json_string("meaning", meaning);
	json_close('}');
}

static void print_vmcs(const struct kvmi_x86_vmcs_field *f, size_t nr, bool json)
{
	size_t i, g;

	for (g = 0; g < ARRAY_SIZE(vmcs_order); g++) {
		const char *group = vmcs_groups[vmcs_order[g]];

		if (!json)
			printf("%s\n", group);
		for (i = 0; i < nr; i++) {
			const char *meaning = NULL;

			if ((f[i].encoding >> 10 & 3) != vmcs_order[g])
				continue;
			if (f[i].encoding == VM_EXIT_REASON)
				meaning = exit_name(KVMI_VENDOR_INTEL,
						    f[i].value & 0xffff);
			print_field(json, group, "encoding", f[i].encoding,
				    vmcs_name(f[i].encoding), f[i].value,
				    meaning);
		}
	}
}

static void print_vmcb_field(const uint8_t *vmcb, uint32_t base,
			     const struct vmcb_field *f, const char *group,
			     bool json)
{
	const uint8_t *p = vmcb + base + f->offset;
	const char *meaning = NULL;
	uint64_t value = 0;
	char hex[65] = "";
	int i;

	if (f->size > sizeof(value)) {
		for (i = 0; i < f->size; i++)
			snprintf(hex + 2 * i, 3, "%02x", p[i]);
		meaning = hex;
	}
	/* Of bytes in a row the first ones. */
	memcpy(&value, p, f->size < 8 ? f->size : 8);
	if (!base && f->offset == VMCB_EXIT_CODE)
		meaning = exit_name(KVMI_VENDOR_AMD, value);
	print_field(json, group, "offset", base + f->offset, f->name, value,
		    meaning);
}

static void print_vmcb(const uint8_t *vmcb, bool json)
{
	static const struct vmcb_field parts[] = {
		{ 0, 2, "selector" }, { 2, 2, "attrib" },
		{ 4, 4, "limit" }, { 8, 8, "base" },
	};
	struct vmcb_field f;
	char name[32];
	size_t i, j;

	if (!json)
		puts("control");
	for (i = 0; i < ARRAY_SIZE(vmcb_control); i++)
		print_vmcb_field(vmcb, 0, &vmcb_control[i], "control", json);
	if (!json)
		puts("save");
	for (i = 0; i < ARRAY_SIZE(vmcb_segments); i++) {
		for (j = 0; j < ARRAY_SIZE(parts); j++) {
			snprintf(name, sizeof(name), "%s_%s", vmcb_segments[i],
				 parts[j].name);
			f = parts[j];
			f.offset += i * 16;
			f.name = name;
			print_vmcb_field(vmcb, VMCB_SAVE, &f, "save", json);
		}
	}
	for (i = 0; i < ARRAY_SIZE(vmcb_save); i++)
		print_vmcb_field(vmcb, VMCB_SAVE, &vmcb_save[i], "save", json);
}

int cmd_vmcs(int argc, char **argv)
{
	struct kvmi_caps caps;
	size_t size, room = 0;
	struct kvmi_vm *vm;
	void *buf = NULL;
	uint64_t vcpu = 0;
	bool json;
	int ret;

	if (!parse_json(argc, argv, &json))
		return EXIT_USAGE;
	argc -= optind;
	argv += optind;
	if (argc != 2)
		return usage_error("kvmi vmcs VM VCPU");
	if (!parse_number(argv[1], &vcpu) || vcpu >= KVMI_VCPU_NONE)
		return usage_error("%s is no vCPU", argv[1]);
	ret = attach(argv[0], &vm);
	if (ret)
		return ret;
	ret = kvmi_vm_get_caps(vm, &caps);
	/* What there is may differ from one moment to the next: a nested guest. */
	for (size = 8192; !ret && size > room;) {
		room = size;
		buf = realloc(buf, room);
		if (!buf)
			abort();
		ret = kvmi_vcpu_get_state(vm, vcpu, KVMI_STATE_CONTROL, buf,
					  room, &size);
		if (ret == -ENOSPC)
			ret = 0;
	}
	kvmi_vm_close(vm);
	if (ret == -ENOENT) {
		fprintf(stderr, "kvmi: there is no vCPU %s\n", argv[1]);
		ret = EXIT_NO_VM;
		goto out;
	}
	if (ret) {
		ret = failed(ret);
		goto out;
	}
	if (json) {
		json_begin();
		json_number("vcpu", vcpu);
		json_string("vendor", vendor_name(caps.out_vendor));
		json_open("fields", '[');
	}
	if (caps.out_vendor == KVMI_VENDOR_INTEL)
		print_vmcs(buf, size / sizeof(struct kvmi_x86_vmcs_field), json);
	else
		print_vmcb(buf, json);
	if (json) {
		json_close(']');
		json_end();
	}
out:
	free(buf);
	return ret;
}

/* ---- caps ---------------------------------------------------------------------- */

/* Where a processor says that it can do something. */
struct feature {
	const char *name;
	uint32_t msr;		/* Intel; AMD: CPUID 0x8000000a, EDX */
	uint8_t bit;
	const char *use;	/* NULL: not used */
};

#define PIN		0x48d
#define PROC		0x48e
#define PROC2		0x48b
#define PROC3		0x492
#define EPT		0x48c
#define VMFUNC		0x491
/* Of these the upper half says what may be 1. */
#define MAY(bit)	(32 + (bit))

static const struct feature vmx_features[] = {
	{ "external_interrupt_exiting", PIN, MAY(0), NULL },
	{ "nmi_exiting", PIN, MAY(3), NULL },
	{ "virtual_nmis", PIN, MAY(5), NULL },
	{ "preemption_timer", PIN, MAY(6), NULL },
	{ "posted_interrupts", PIN, MAY(7), NULL },
	{ "tsc_offsetting", PROC, MAY(3), "register set events: the offset" },
	{ "hlt_exiting", PROC, MAY(7), NULL },
	{ "invlpg_exiting", PROC, MAY(9), NULL },
	{ "mwait_exiting", PROC, MAY(10), NULL },
	{ "rdpmc_exiting", PROC, MAY(11), NULL },
	{ "rdtsc_exiting", PROC, MAY(12), NULL },
	{ "cr3_load_exiting", PROC, MAY(15), "event cr: CR3" },
	{ "cr3_store_exiting", PROC, MAY(16), NULL },
	{ "cr8_load_exiting", PROC, MAY(19), NULL },
	{ "cr8_store_exiting", PROC, MAY(20), NULL },
	{ "tpr_shadow", PROC, MAY(21), NULL },
	{ "mov_dr_exiting", PROC, MAY(23), NULL },
	{ "io_exiting", PROC, MAY(24), NULL },
	{ "io_bitmaps", PROC, MAY(25), NULL },
	{ "monitor_trap_flag", PROC, MAY(27), "needed: single-step, fast step" },
	{ "msr_bitmaps", PROC, MAY(28), "event msr" },
	{ "monitor_exiting", PROC, MAY(29), NULL },
	{ "pause_exiting", PROC, MAY(30), NULL },
	{ "virtualize_apic_accesses", PROC2, MAY(0), NULL },
	{ "ept", PROC2, MAY(1), "needed: views, event access" },
	{ "descriptor_table_exiting", PROC2, MAY(2), NULL },
	{ "virtualize_x2apic", PROC2, MAY(4), NULL },
	{ "vpid", PROC2, MAY(5), NULL },
	{ "wbinvd_exiting", PROC2, MAY(6), NULL },
	{ "unrestricted_guest", PROC2, MAY(7), NULL },
	{ "apic_register_virtualization", PROC2, MAY(8), NULL },
	{ "virtual_interrupt_delivery", PROC2, MAY(9), NULL },
	{ "pause_loop_exiting", PROC2, MAY(10), NULL },
	{ "rdrand_exiting", PROC2, MAY(11), NULL },
	{ "vmfunc", PROC2, MAY(13), NULL },
	{ "vmcs_shadowing", PROC2, MAY(14), NULL },
	{ "rdseed_exiting", PROC2, MAY(16), NULL },
	{ "page_modification_logging", PROC2, MAY(17),
	  "kept exact: dirty pages, whatever the view" },
	{ "ept_violation_ve", PROC2, MAY(18), NULL },
	{ "mode_based_execute", PROC2, MAY(22), NULL },
	{ "sub_page_protection", PROC2, MAY(23), NULL },
	{ "tsc_scaling", PROC2, MAY(25), NULL },
	{ "bus_lock_detection", PROC2, MAY(30), NULL },
	{ "notify_exiting", PROC2, MAY(31), NULL },
	{ "hlat", PROC3, 1, NULL },
	{ "ept_paging_write", PROC3, 2, NULL },
	{ "ipi_virtualization", PROC3, 4, NULL },
	{ "spec_ctrl_virtualization", PROC3, 7, NULL },
	{ "ept_execute_only", EPT, 0, "rights: x without r" },
	{ "ept_4_levels", EPT, 6, "views" },
	{ "ept_5_levels", EPT, 7, "views, where KVM uses them" },
	{ "ept_2m_pages", EPT, 16, "views" },
	{ "ept_1g_pages", EPT, 17, "views" },
	{ "ept_accessed_dirty", EPT, 21, "views, as KVM uses them" },
	{ "eptp_switching", VMFUNC, 0, NULL },
};

static const struct feature svm_features[] = {
	{ "nested_paging", 0, 0, "needed: views, event access" },
	{ "lbr_virtualization", 0, 1, NULL },
	{ "svm_lock", 0, 2, NULL },
	{ "next_rip_save", 0, 3, "lengths of instructions" },
	{ "tsc_ratio_msr", 0, 4, NULL },
	{ "vmcb_clean_bits", 0, 5, "told what kvmi changes" },
	{ "flush_by_asid", 0, 6, "switches of views, as KVM flushes" },
	{ "decode_assists", 0, 7, NULL },
	{ "pause_filter", 0, 10, NULL },
	{ "pause_filter_threshold", 0, 12, NULL },
	{ "avic", 0, 13, NULL },
	{ "virtual_vmload_vmsave", 0, 15, NULL },
	{ "virtual_gif", 0, 16, NULL },
	{ "guest_mode_execute_trap", 0, 17, NULL },
	{ "x2avic", 0, 18, NULL },
	{ "supervisor_shadow_stack", 0, 19, NULL },
	{ "virtual_spec_ctrl", 0, 20, NULL },
	{ "read_only_guest_page_tables", 0, 21, NULL },
	{ "host_mce_override", 0, 23, NULL },
	{ "invlpgb_interception", 0, 24, NULL },
	{ "virtual_nmi", 0, 25, NULL },
	{ "ibs_virtualization", 0, 26, NULL },
	{ "bus_lock_threshold", 0, 29, NULL },
	{ "idle_hlt_intercept", 0, 30, NULL },
};

#define MAX_MSRS	64

struct host {
	struct kvmi_caps caps;
	struct kvmi_x86_msr msrs[MAX_MSRS];
	int nr;
	uint32_t svm[4];		/* CPUID 0x8000000a */
};

static uint64_t host_msr(const struct host *h, uint32_t index)
{
	int i;

	for (i = 0; i < h->nr; i++)
		if (h->msrs[i].index == index && !h->msrs[i].out_error)
			return h->msrs[i].value;
	return 0;
}

static bool host_has(const struct host *h, const struct feature *f)
{
	uint64_t word = h->svm[3];

	if (f->msr)
		word = host_msr(h, f->msr);
	/* A processor may have no "true" controls, only the older ones. */
	if (!word && f->msr >= PIN && f->msr <= PROC)
		word = host_msr(h, f->msr - PIN + 0x481);
	return word >> f->bit & 1;
}

static const char * const rights[] = {
	"none", "r", "w", "rw", "x", "rx", "wx", "rwx",
};

static void print_caps_json(const struct host *h, const struct feature *f,
			    size_t nr)
{
	size_t i;

	json_begin();
	json_string("vendor", vendor_name(h->caps.out_vendor));
	json_number("abi", h->caps.out_abi);
	json_number("views", h->caps.out_max_views);
	json_open("features", '[');
	for (i = 0; i < nr; i++) {
		json_open(NULL, '{');
		json_string("name", f[i].name);
		json_bool("present", host_has(h, &f[i]));
		if (f[i].use)
			json_string("use", f[i].use);
		json_close('}');
	}
	json_close(']');
	json_open("events", '[');
	for (i = 0; i < 64; i++)
		if (h->caps.out_events & 1ULL << i)
			json_string(NULL, kvmi_event_name(i));
	json_close(']');
	json_open("access", '[');
	for (i = 0; i < ARRAY_SIZE(rights); i++)
		if (h->caps.out_access & 1U << i)
			json_string(NULL, rights[i]);
	json_close(']');
	json_open("msrs", '[');
	for (i = 0; i < h->nr; i++) {
		if (h->msrs[i].out_error)
			continue;
		json_open(NULL, '{');
		json_hex("index", h->msrs[i].index);
		json_hex("value", h->msrs[i].value);
		json_close('}');
	}
	json_close(']');
	json_end();
}

static void print_caps(const struct host *h, const struct feature *f, size_t nr)
{
	size_t i;

	printf("host      %s, ABI %u, up to %u views\n",
	       vendor_name(h->caps.out_vendor), h->caps.out_abi,
	       h->caps.out_max_views);
	printf("events   ");
	for (i = 0; i < 64; i++)
		if (h->caps.out_events & 1ULL << i)
			printf(" %s", kvmi_event_name(i));
	printf("\nrights   ");
	for (i = 0; i < ARRAY_SIZE(rights); i++)
		if (h->caps.out_access & 1U << i)
			printf(" %s", rights[i]);
	printf("\n\n%-32s %-4s %s\n", "FEATURE", "CPU", "KVMI");
	for (i = 0; i < nr; i++)
		printf("%-32s %-4s %s\n", f[i].name,
		       host_has(h, &f[i]) ? "yes" : "no",
		       f[i].use ?: "-");
}

int cmd_caps(int argc, char **argv)
{
	const struct feature *features = svm_features;
	size_t nr = ARRAY_SIZE(svm_features);
	struct host h = {};
	bool json;
	int ret;

	if (!parse_json(argc, argv, &json))
		return EXIT_USAGE;
	if (optind < argc)
		return usage_error("kvmi caps takes no argument");
	ret = kvmi_caps_get(&h.caps);
	if (!ret) {
		ret = kvmi_host_get_msrs(h.msrs, MAX_MSRS);
		h.nr = ret;
	}
	if (ret < 0) {
		failed(ret);
		return ret == -ENODEV ? EXIT_NO_MODULE : EXIT_ERROR;
	}
	if (h.nr > MAX_MSRS)
		h.nr = MAX_MSRS;
	switch (h.caps.out_vendor) {
	case KVMI_VENDOR_INTEL:
		features = vmx_features;
		nr = ARRAY_SIZE(vmx_features);
		break;
	case KVMI_VENDOR_AMD:
		__get_cpuid(0x8000000a, &h.svm[0], &h.svm[1], &h.svm[2],
			    &h.svm[3]);
		break;
	default:
		fprintf(stderr, "kvmi: no vendor module of KVM is loaded\n");
		nr = 0;
	}
	if (json)
		print_caps_json(&h, features, nr);
	else
		print_caps(&h, features, nr);
	return EXIT_OK;
}
