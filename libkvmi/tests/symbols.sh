#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# symbols.sh DIR: checks what DIR/libkvmi.so and DIR/libkvmi.a export.  Prints TAP.

dir=$1
here=$(dirname "$0")

# What Bitdefender's library of the same name exports.  Ours must be able to
# export these too some day, so none may be taken for anything else.
taken="
kvmi_init_vsock kvmi_init_unix_socket kvmi_uninit kvmi_close kvmi_domain_close
kvmi_domain_is_connected kvmi_domain_name kvmi_connection_fd kvmi_get_starttime
kvmi_set_log_cb kvmi_get_version kvmi_check_command kvmi_check_event
kvmi_get_vcpu_count kvmi_get_tsc_speed kvmi_get_cpuid kvmi_get_mtrr_type
kvmi_get_xcr kvmi_get_maximum_gfn kvmi_get_next_available_gfn kvmi_spp_support
kvmi_ve_support kvmi_vmfunc_support kvmi_eptp_support kvmi_control_events
kvmi_control_vm_events kvmi_control_cr kvmi_control_msr
kvmi_control_singlestep kvmi_pause_all_vcpus kvmi_pause_vcpu
kvmi_inject_exception kvmi_shutdown_guest kvmi_get_registers
kvmi_set_registers kvmi_get_xsave kvmi_set_xsave kvmi_translate_gva
kvmi_read_physical kvmi_write_physical kvmi_memory_mapping
kvmi_map_physical_page kvmi_unmap_physical_page kvmi_remote_mapping_v2
kvmi_alloc_gfn kvmi_free_gfn kvmi_set_page_access kvmi_set_page_write_bitmap
kvmi_set_ve_info_page kvmi_disable_ve kvmi_set_ept_page_conv
kvmi_get_ept_page_conv kvmi_switch_ept_view kvmi_get_ept_view
kvmi_control_ept_view kvmi_create_ept_view kvmi_destroy_ept_view
kvmi_change_gfn kvmi_reply_event kvmi_pop_event kvmi_wait_event
kvmi_get_pending_events kvmi_set_event_cb kvmi_batch_alloc kvmi_batch_commit
kvmi_batch_free kvmi_queue_registers kvmi_queue_reply_event
kvmi_queue_page_access kvmi_queue_pause_vcpu kvmi_queue_spp_access"

n=0
failed=0
result()
{
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
		failed=1
	fi
}

shared=$(nm -D --defined-only "$dir/libkvmi.so" | awk '$2 ~ /[TDBR]/ { print $3 }' |
	sed 's/@.*//' | sort -u)
static=$(nm -g --defined-only "$dir/libkvmi.a" | awk 'NF == 3 { print $3 }' | sort -u)
declared=$(grep -oE '\bkvmi_[a-z0-9_]+\(' "$here/../include/kvmi.h" |
	tr -d '(' | sort -u)
taken=$(printf '%s' "$taken" | grep -o 'kvmi_[a-z0-9_]*' | sort -u)

echo "1..5"
nr=$(printf '%s\n' "$taken" | wc -l)
result "the list has 71 names" "$([ "$nr" -eq 71 ] || echo "it has $nr")"
both=$(printf '%s\n%s\n' "$static" "$taken" | sort | uniq -d)
result "no name of the other library is taken" "$both"
result "the shared library exports what the header declares, and nothing else" \
	"$(printf '%s\n%s\n' "$shared" "$declared" | sort | uniq -u)"
result "every name begins with kvmi_" "$(printf '%s\n' "$static" | grep -v '^kvmi_')"
missing=
for f in $declared; do
	[ -s "$dir/man/$f.3" ] || missing="$missing $f"
done
result "every function has a manual page" "$missing"
exit $failed
