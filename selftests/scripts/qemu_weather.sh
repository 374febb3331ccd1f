#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What a VMM does to a VM that is being watched, by Debian's QEMU and a full Linux
# guest: stop and cont with an event open, reset, and power-off.

if [ "$1" = --rows ]; then
	cat <<-END
	stopped_with_an_event_open D8
	reset D8
	reset_with_all_kinds E20 D8
	reset_while_stepped E20 E6 D8
	power_off D1 D8
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip_all "no QEMU on this host"
fi

events()
{
	grep -c '"event":"c' /tmp/trace.json
}

# Until there are so many more events than now.
more_events()
{
	more_from=$(events)
	more_end=$(($(cut -d. -f1 /proc/uptime) + 60))
	while [ "$(events)" -lt $((more_from + $1)) ]; do
		kill -0 "$trace" 2>/dev/null || return 1
		[ "$(cut -d. -f1 /proc/uptime)" -lt "$more_end" ] || return 1
		sleep 0.2
	done
}

# monitor_says REGEX: within 20 seconds
monitor_says()
{
	for _ in $(seq 40); do
		: >/tmp/monitor.log
		monitor "info status"
		sleep 0.5
		grep -q "$1" /tmp/monitor.log && return 0
	done
	return 1
}

rmmod kvmi 2>/dev/null
# shellcheck disable=SC2034 # for boot_guest
GUEST_REBOOT=reset
boot_guest 45 1 2
cat "$GUEST_MONITOR.out" >>/tmp/monitor.log &
insmod /rig/kvmi.ko
kvmi trace --json "$GUEST_PID" -e cr3,cpuid -d 600 >/tmp/trace.json &
trace=$!

why=
more_events 20 || why="no events"
# Each vCPU runs into an event that nobody answers, and QEMU must get it back.
kill -STOP "$trace"
sleep 1
monitor stop
monitor_says 'paused' || why="QEMU does not stop with events open"
kill -CONT "$trace"
# What was written before is read by now.
sleep 1
before=$(events)
sleep 1
[ "$(events)" -eq "$before" ] || why="events of a stopped VM"
monitor cont
monitor_says 'running' || why="QEMU does not go on"
more_events 20 || why="no events after cont"
result stopped_with_an_event_open "$why"

why=
: >"$GUEST_LOG"
monitor system_reset
wait_guest_says 'guest: page' 400 >/dev/null || why="the guest does not come again"
more_events 20 || why="no events after the reset"
result reset "$why"

# reset_with NAME MODE: with everything watched, from before it to behind it
reset_with()
{
	why=
	: >"$GUEST_LOG"
	watch-load "$GUEST_PID" "$2" 12 >/tmp/load.log 2>&1 &
	load=$!
	sleep 3
	monitor system_reset
	wait "$load" || why="watch-load ended with status $?"
	sed 's/^/# /' /tmp/load.log
	wait_guest_says 'guest: page' 400 >/dev/null || why="the guest does not come again"
	result "$1" "$why"
}

kill -INT "$trace"
wait "$trace"
reset_with reset_with_all_kinds all
reset_with reset_while_stepped step
kvmi trace --json "$GUEST_PID" -e cr3,cpuid -d 600 >/tmp/trace.json &
trace=$!

why=
wait_guest_end 400 || why="the VMM's status is $?"
wait "$trace" || why="the trace ended with status $?"
tail -n 1 /tmp/trace.json | sed 's/^/# /'
tail -n 1 /tmp/trace.json | grep -q '"vm_gone":true' ||
	why="the trace does not know that the VM is gone"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
rmmod kvmi || why="kvmi.ko does not unload"
show_guest
result power_off "$why"
finish
