#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A full Linux guest with kvmclock and a soft-lockup detector that is quick to
# complain, after 4 seconds: so 12 seconds here are what a minute is to the usual
# one. Stopped by kvmi it does not complain; by SIGSTOP to its VMM it does.

if [ "$1" = --rows ]; then
	cat <<-END
	stopped_by_kvmi D17 S2
	stopped_behind_its_back
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ] || [ -e /sys/kernel/debug/kmemleak ]; then
	for name in stopped_by_kvmi stopped_behind_its_back; do
		skip "$name" "no QEMU on this host, or no time"
	done
	finish
fi

GUEST_ARGS="watchdog_thresh=2 loglevel=4"

lockups()
{
	tr -d '\r' <"$GUEST_LOG" | grep -cE 'soft lockup|rcu.*stall|blocked for'
}

rmmod kvmi 2>/dev/null
boot_guest 300 11 1 >/dev/null
insmod /rig/kvmi.ko

before=$(lockups)
why=
kvmi pause "$GUEST_PID" -d 12 >/dev/null || why="kvmi's status is $?"
sleep 6
after=$(lockups)
[ "$after" = "$before" ] || why="the guest complains"
result stopped_by_kvmi "$why"

# Or the case above proves nothing.
kill -STOP "$GUEST_PID"
sleep 12
kill -CONT "$GUEST_PID"
sleep 6
why=
[ "$(lockups)" -gt "$after" ] || why="the guest has no soft-lockup detector"
result stopped_behind_its_back "$why"

rmmod kvmi
kill -9 "$GUEST_PID"
wait "$GUEST_PID" 2>/dev/null
finish
