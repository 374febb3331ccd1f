#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# That the rig notices: every kind of failure, fed to the judge and to the
# table of rows, must be one.  KTAP on standard output.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0 failed=0

good_run()
{
	cat >"$dir/serial" <<-END
		rig: up: 6.12, 2 CPUs
		# rig: start prog_a
		TAP version 13
		1..3
		# a diagnostic
		ok 1 one
		ok 2 two.2
		ok 3 - three # SKIP no such thing
		# rig: end prog_a 0
		# rig: start script.sh
		# rig: end script.sh 0
		rig: exit 0
	END
	cat >"$dir/console" <<-END
		[    0.000000] kasan: KernelAddressSanitizer initialized
		[    2.334128] rig: up
		[    3.000000] kvmi: loading out-of-tree module taints kernel.
	END
	cat >"$dir/expect" <<-END
		prog_a one S1 S2
		prog_a two.2 S2
		prog_a three S3
		script.sh
	END
	echo 'amd 6.* prog_a th* : the emulator cannot show it' >"$dir/permitted"
	status=0
}

# check NAME PASS|FAIL [REGEX]: what the judge says of the files
check()
{
	local verdict=PASS

	python3 "$here/judge.py" --host amd --kernel 6.12 --status "$status" \
		--serial "$dir/serial" --console "$dir/console" \
		--expect "$dir/expect" --permitted "$dir/permitted" \
		--allowed "$here/allowed-lines" --json "$dir/amd-6.12.json" \
		>"$dir/out" 2>&1 || verdict=FAIL
	report "$1" "$verdict" "$2" "${3:-.}"
	good_run
}

report()
{
	n=$((n + 1))
	if [ "$2" = "$3" ] && grep -qE "$4" "$dir/out"; then
		echo "ok $n $1"
	else
		sed 's/^/# /' "$dir/out"
		echo "not ok $n $1"
		failed=$((failed + 1))
	fi
}

# rows NAME PASS|FAIL REGEX [arguments...]: the same for the table
rows()
{
	local name=$1 want=$2 re=$3 verdict=PASS

	shift 3
	printf 'S1 first\nS2 second\nS3 third\nS4 fourth\n' >"$dir/list"
	python3 "$here/rows.py" --list "$dir/list" --results "$dir" --hosts amd \
		--kernels 6.12 "$@" >"$dir/out" 2>&1 || verdict=FAIL
	report "$name" "$verdict" "$want" "$re"
}

console()
{
	echo "[    4.000000] $*" >>"$dir/console"
}

echo "TAP version 13"
good_run
check good_run PASS '^3 passed, 0 failed, 1 skipped$'
rows good_rows PASS 'S1 .*proved'
rows permitted_skip PASS 'S3 .*skip'
rows open_row PASS 'S4 .*open'
rows needed_row PASS . --need "S1 S2"
rows needed_row_is_open FAIL 'S4.*needed' --need "S1 S4"
rows needed_row_is_skipped FAIL 'S3.*needed' --need "S3"
rows no_such_row FAIL 'X9 is no row' --need "X9"

sed -i 's/^ok 1 one/# a.c:7: 1 is not 2\nnot ok 1 one/' "$dir/serial"
check not_ok FAIL '^FAILED prog_a one: not ok .*| a.c:7: 1 is not 2$'
rows failed_row FAIL 'S1 on amd-6.12: failed'
sed -i '/^ok 2/d' "$dir/serial"
check missing_report FAIL 'FAILED prog_a two.2'
sed -i '/prog_a/d; /^ok/d; /^1\.\./d' "$dir/serial"
check program_did_not_run FAIL 'did not run'
sed -i '/end prog_a/d' "$dir/serial"
check program_did_not_end FAIL 'did not end'
sed -i 's/end prog_a 0/end prog_a 137/; /^ok 3/d' "$dir/serial"
check program_timed_out FAIL 'timeout'
sed -i 's/end prog_a 0/end prog_a 139/' "$dir/serial"
check program_crashed FAIL 'exit status 139'
sed -i 's/end script.sh 0/end script.sh 1/' "$dir/serial"
check script_failed FAIL 'FAILED script.sh'
: >"$dir/permitted"
check unpermitted_skip FAIL 'skipped without permission'
sed -i 's/^amd/intel/' "$dir/permitted"
check skip_permitted_elsewhere FAIL 'skipped without permission'
sed -i 's/^1\.\.3/1..4/' "$dir/serial"
check short_of_plan FAIL 'planned 4'
status=timeout
check host_timed_out FAIL 'did not finish'
status=died
check host_died FAIL 'went off'
status=1
check main_script_failed FAIL 'main script'
echo '# rig: kvmi.ko does not load' >>"$dir/serial"
check module_does_not_load FAIL 'does not load'

while read -r line; do
	console "$line"
	check "log: ${line:0:40}" FAIL 'PROBLEM log'
done <<'END'
WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1 kvm_x()
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
BUG: kernel NULL pointer dereference, address: 0000000000000000
BUG: scheduling while atomic: x/1/0x00000002
BUG: sleeping function called from invalid context at x.c:1
BUG: KASAN: slab-use-after-free in x+0x1/0x2
UBSAN: array-index-out-of-bounds in x.c:1:2
Oops: general protection fault, probably for non-canonical address
kernel BUG at x.c:1!
Kernel panic - not syncing: x
Call Trace:
watchdog: BUG: soft lockup - CPU#1 stuck for 22s!
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
INFO: task x:1 blocked for more than 120 seconds.
unchecked MSR access error: WRMSR to 0x123
kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
ODEBUG: free active (active state 0) object
refcount_t: underflow; use-after-free.
list_del corruption. next->prev should be 0
traps: Missing ENDBR: x+0x0/0x10
END
# A guest's log comes through the test's own output.
echo '# guest| [    1.0] WARNING: CPU: 0 PID: 1 at x.c:1 x()' >>"$dir/serial"
check warning_of_the_guest FAIL 'PROBLEM log'

echo "1..$n"
[ "$failed" -eq 0 ]
