#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A full Linux guest, attached to while it works: traced, detached, working on
# and powering off.  Under Debian's QEMU where the host has it, under linux-vmm
# elsewhere.

if [ "$1" = --rows ]; then
	cat <<-END
	found S1 D1
	found_by_kvmi D9
	cr3_traced E1 D1
	cpuid_traced E13 D1
	msr_traced E5 D1
	page_watched E17 V2 D1
	cr3_agrees_with_the_guest E1 D3
	async D4
	detached_and_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

count()
{
	grep -c "\"event\":\"$1\"" /tmp/trace.json
}

# enough NAME COUNT LEAST
enough()
{
	[ "$2" -ge "$3" ] || set -- "$1" "$2" "$3" "only $2 events"
	result "$1" "$4"
}

echo "TAP version 13"
# Where it takes many minutes, one of the kernels is enough.
case $RIG_HOST-$RIG_KERNEL in
amd-strict-6.1) skip_all "takes too long here" ;;
esac
# Loaded only when the guest runs.
rmmod kvmi 2>/dev/null
value=$(head -c 6 /dev/urandom | od -An -tx1 | tr -d ' ')
# shellcheck disable=SC2034 # for boot_guest
GUEST_KERNEL=vmlinuz
boot_guest 25 "1$value" 1
gpa=$(sed -n 's/.*guest: page //p' /tmp/guest.page)
insmod /rig/kvmi.ko

list=$(kvmi list)
case $list in
*"$GUEST_PID "*kvmi-guest*) result found ;;
*) result found "not in the list: $list" ;;
esac

# By kvmi.ko's own word, though the VM is older than that.
list=$(kvmi list --json)
case $list in
*"\"pid\":$GUEST_PID,"*'"id":'*'"attached":false'*) result found_by_kvmi ;;
*) result found_by_kvmi "kvmi.ko does not tell of it: $list" ;;
esac

why=
kvmi trace --json "$GUEST_PID" -e "cr3,msr,cpuid,mem:$gpa:w" -d 6 \
	>/tmp/trace.json || why="the trace ended with status $?"
# Before what was traced is counted: that takes longer than the guest works where
# the host is slow.
kvmi trace --json --async "$GUEST_PID" -e cr3,cpuid -d 2 >/tmp/async.json
tail -n 1 /tmp/trace.json | sed 's/^/# /'
[ -z "$why" ] || echo "# $why"
enough cr3_traced "$(count cr)" 40
enough cpuid_traced "$(count cpuid)" 40
enough msr_traced "$(count msr)" 2
enough page_watched "$(grep '"event":"mem"' /tmp/trace.json |
	grep -c "\"new\":\"0x1$value\"")" 2

# shellcheck disable=SC2046 # four words
set -- $(cr3_bounds /tmp/trace.json)
why=
if [ "$4" -lt 2 ] || [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then
	why="$1 changes of CR3 in $4 s, $2 to $3 expected"
fi
result cr3_agrees_with_the_guest "$why"

enough async "$(grep -c '"event":"cpuid"' /tmp/async.json)" 20

why=
rmmod kvmi || why="kvmi.ko does not unload"
wait_guest_end 400 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
show_guest
result detached_and_well "$why"
finish
