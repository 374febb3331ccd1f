#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A full Linux guest with kvmclock and a soft-lockup detector that is quick to
# complain, after 4 seconds: so 12 seconds here are what a minute is to the usual
# one. Stopped by kvmi it does not complain; by SIGSTOP to its VMM it does.

if [ "$1" = --rows ]; then
	cat <<-END
	stopped_by_kvmi D17 S2
	stopped_with_its_clocks D17 S2
	stopped_behind_its_back
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ] || [ -e /sys/kernel/debug/kmemleak ]; then
	skip_all "no QEMU on this host, or no time"
fi

GUEST_ARGS="watchdog_thresh=2 loglevel=4"

lockups()
{
	tr -d '\r' <"$GUEST_LOG" | grep -cE 'soft lockup|rcu.*stall|blocked for'
}

# What the guest's TSC was at each second of the guest that it has told of.
seconds()
{
	tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: .*switches.* tsc \(0x[0-9a-f]*\)$/\1/p'
}

# missed ARGS: how many seconds the guest finds at once after 12 by kvmi pause ARGS.
# Before it is stopped it may have told of one more.
missed()
{
	was=$(seconds | wc -l)
	while [ "$(seconds | wc -l)" -lt $((was + 2)) ]; do sleep 0.1; done
	at=$(seconds | wc -l)
	kvmi pause "$GUEST_PID" -d 12 "$@" >/dev/null || return
	while [ "$(seconds | wc -l)" -lt $((at + 3)) ]; do sleep 0.1; done
	seconds | tail -n +$((at - 1)) | head -n 5 | {
		read -r first
		read -r last
		second=$((last - first)) most=0
		while read -r next; do
			gap=$(((next - last) / second))
			[ "$gap" -le "$most" ] || most=$gap
			last=$next
		done
		echo "$most"
	}
}

rmmod kvmi 2>/dev/null
boot_guest 300 11 1 >/dev/null
insmod /rig/kvmi.ko

before=$(lockups)
why=
gap=$(missed) || why="kvmi's status is $?"
echo "# the guest has missed about $gap seconds"
[ "$gap" -ge 8 ] || why="the guest's clock has stood still"
sleep 6
after=$(lockups)
[ "$after" = "$before" ] || why="the guest complains"
result stopped_by_kvmi "$why"

why=
gap=$(missed --stop-clocks) || why="kvmi's status is $?"
echo "# the guest has missed about $gap seconds"
[ "$gap" -le 4 ] || why="the guest's clock has gone on"
sleep 6
[ "$(lockups)" = "$after" ] || why="the guest complains"
result stopped_with_its_clocks "$why"

# Or the cases above prove nothing.
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
