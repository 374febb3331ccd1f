#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# kvmi trace --wait-new: a Linux guest from its first instruction on, and another
# VM that is none of our business.

if [ "$1" = --rows ]; then
	cat <<-END
	others_run D15
	from_the_first_instruction D15
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
lsmod | grep -q '^kvmi ' || insmod /rig/kvmi.ko

# Its decompressor executes some CPUIDs before it has page tables of its own.
kvmi trace --wait-new kvmi-guest -e cpuid -n 10 --json >/tmp/new.json 2>/tmp/new.err &
trace=$!
sleep 1

# Each of its VMs is held, and let go as soon as its name is known.
why=
vmm_smoke >/tmp/smoke.out 2>&1 || why="$(grep -v '^ok' /tmp/smoke.out | head -n 3)"
result others_run "$why"

start_guest 3 1234 1
why=
wait "$trace" || why="the trace ended with status $?: $(cat /tmp/new.err)"
[ "$(grep -c '"event":"cpuid"' /tmp/new.json)" -ge 10 ] ||
	why="it has not seen ten CPUIDs: $(tail -n 1 /tmp/new.json)"
head -n 1 /tmp/new.json | sed 's/^/# /'
# A kernel that has been decompressed runs at the top of memory.
case $(head -n 1 /tmp/new.json) in
*'"rip":"0xffff'*) why="the first one is long past the beginning" ;;
esac
result from_the_first_instruction "$why"
kill -9 "$GUEST_PID" 2>/dev/null
wait "$GUEST_PID" 2>/dev/null
finish
