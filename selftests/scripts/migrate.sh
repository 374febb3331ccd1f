#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A Linux guest under Debian's QEMU is migrated, saved and restored while kvmi gdb
# has it: nothing of the debugger goes along, and what arrives is well.  So is what is
# migrated while the guest writes hard, on views that change all the time.

if [ "$1" = --rows ]; then
	cat <<-END
	cancelled E20 E8
	killed_while_it_waits E20 D8
	saved_and_restored E20 E8
	migrated E20 E8
	migrated_on_views V1 V7 E17
	arrived_and_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip_all "no QEMU on this host"
fi

# What the monitor has said; it echoes, with escapes.
monitor_log()
{
	tr -d '\r' <"$GUEST_MONITOR.log"
}

# monitor_says COMMAND REGEX [SECONDS]
monitor_says()
{
	for _ in $(seq "${3:-60}"); do
		: >"$GUEST_MONITOR.log"
		monitor "$1"
		sleep 1
		monitor_log | grep -q "$2" && return 0
	done
	monitor_log | sed 's/^/# monitor| /'
	return 1
}

# memory_is BYTES: as QEMU, and so whoever it migrates to, has it
memory_is()
{
	monitor_says "xp /2xb $gpa" ": $1" 20
}

# next_guest N: the same machine once more, which waits for what SOURCE brings
next_guest()
{
	GUEST_LOG=/tmp/guest.log.$1
	GUEST_MONITOR=/debian/tmp/monitor$1
	# shellcheck disable=SC2034 # for start_guest
	GUEST_DEVICES="-incoming $2"
	start_guest 600 1 2
	cat "$GUEST_MONITOR.out" >>"$GUEST_MONITOR.log" &
}

# gdb_start: with the commands on stdin, by kvmi gdb; not in a pipe, as it sets variables
gdb_start()
{
	{
		cat <<-END
		set pagination off
		set confirm off
		set breakpoint always-inserted on
		target remote /tmp/gdb.sock
		END
		cat
	} >/debian/tmp/script
	rm -f /debian/tmp/gdb.sock
	kvmi gdb "$GUEST_PID" --listen /debian/tmp/gdb.sock &
	stub=$!
	while [ ! -S /debian/tmp/gdb.sock ] && kill -0 $stub; do
		sleep 0.1
	done
	chroot /debian /usr/bin/timeout 300 /usr/bin/gdb -batch -nx \
		-x /tmp/script >/tmp/gdb.txt 2>&1 &
	debugger=$!
}

# gdb_gets_to FILE: gdb makes it
gdb_gets_to()
{
	for _ in $(seq 600); do
		[ ! -e "/debian/tmp/$1" ] || return 0
		sleep 0.1
	done
	why="gdb does not get to '$1'"
}

# gdb_end: the stub's status
gdb_end()
{
	stub_status=0
	wait $stub || stub_status=$?
	wait $debugger || echo "# gdb's status is $?"
	# Once for each kind of line is enough.
	uniq -c /tmp/gdb.txt | sed 's/^/# gdb| /'
	return "$stub_status"
}

# Where the guest's kernel writes an MSR, ten times a second.
break_there()
{
	cat <<-END
	break *$at
	commands
	silent
	printf "stop at %#lx rcx %#lx\n", \$rip, \$rcx
	continue
	end
	continue
	END
}

hits()
{
	grep -c "^stop at $at rcx 0xc0000082" /tmp/gdb.txt
}

# more_hits: of the breakpoint, within 60 seconds
more_hits()
{
	more_from=$(hits)
	for _ in $(seq 300); do
		[ "$(hits)" -lt $((more_from + 3)) ] || return 0
		sleep 0.2
	done
	return 1
}

# guest_works: it says something new
guest_works()
{
	works_from=$(grep -c switches "$GUEST_LOG")
	for _ in $(seq 300); do
		[ "$(grep -c switches "$GUEST_LOG")" -le "$works_from" ] ||
			return 0
		sleep 0.2
	done
	return 1
}

# leave_to N: a live migration to the next guest; the source still stands there
leave_to()
{
	source=$GUEST_PID
	source_monitor=$GUEST_MONITOR
	rm -f /debian/tmp/migration
	next_guest "$1" "unix:/tmp/migration"
	while [ ! -S /debian/tmp/migration ] && kill -0 "$GUEST_PID"; do
		sleep 0.1
	done
	target_monitor=$GUEST_MONITOR
	GUEST_MONITOR=$source_monitor
	monitor "migrate -d unix:/tmp/migration"
	monitor_says "info migrate" 'Migration status: completed' || why="not migrated"
	monitor_log | sed -n '/time\|transferred\|dirty/s/^/# source| /p'
}

# left: the source ends, and the next guest is the one from then on
left()
{
	monitor "quit"
	for _ in $(seq 300); do
		kill -0 "$source" 2>/dev/null || break
		sleep 0.2
	done
	GUEST_MONITOR=$target_monitor
}

rmmod kvmi 2>/dev/null
# shellcheck disable=SC2034 # for start_guest
GUEST_ARGS="quiet nokaslr kvmi.writes=512"
boot_guest 600 1 2
cat "$GUEST_MONITOR.out" >>"$GUEST_MONITOR.log" &
insmod /rig/kvmi.ko
at=$(kvmi trace --json -e msr:lstar -n 1 "$GUEST_PID" |
	sed -n 's/.*"event":"msr".*"rip":"\(0x[0-9a-f]*\)".*/\1/p')
# The kernel's image lies at the beginning of its own mapping.
gpa=$(printf '%#x' $((at - 0xffffffff80000000)))
echo "# WRMSR at $at, which is $gpa"

why=
memory_is "0x0f 0x30" || why="there is no WRMSR"
break_there >/tmp/commands
gdb_start </tmp/commands
more_hits || why="gdb does not stop at its breakpoint"
memory_is "0xcc 0x30" || why="there is no INT3 in memory"
# It must not get through before it is cancelled.
monitor "migrate_set_parameter max-bandwidth 100k"
monitor "migrate -d \"exec:cat >/dev/null\""
monitor_says "info migrate" 'Migration status: active' || why="no migration"
memory_is "0x0f 0x30" || why="the INT3 would go along"
before=$(hits)
guest_works || why="the guest stands still"
[ "$(hits)" -le $((before + 1)) ] || why="gdb stops while the VM leaves"
monitor "migrate_cancel"
monitor_says "info migrate" 'Migration status: cancelled' || why="not cancelled"
more_hits || why="gdb does not stop at its breakpoint any more"
memory_is "0xcc 0x30" || why="there is no INT3 in memory any more"
kill -TERM $stub
gdb_end || why="the stub's status is $?"
memory_is "0x0f 0x30" || why="an INT3 is left in memory"
monitor "migrate_set_parameter max-bandwidth 1G"
result cancelled "$why"

# QEMU waits for a tool that does not answer, and not for a dead one.
why=
gdb_start <<-END
	shell touch /tmp/attached
	continue
END
gdb_gets_to attached
guest_works || why="the guest stands still"
kill -STOP $stub
monitor "migrate -d \"exec:cat >/dev/null\""
sleep 2
: >"$GUEST_MONITOR.log"
monitor "info status"
sleep 1
! monitor_log | grep -q 'VM status' || why="QEMU does not wait"
kill -KILL $stub
# Less than it would have waited.
sleep 3
monitor_log | grep -q 'VM status' || why="QEMU waits for the dead"
gdb_end
monitor_says "info migrate" 'Migration status: completed' || why="not migrated"
monitor "cont"
guest_works || why="the guest does not go on"
result killed_while_it_waits "$why"

# One vCPU is at the breakpoint, the event of which is open.
why=
gdb_start <<-END
	break *$at
	continue
	printf "stop at %#lx rcx %#lx\n", \$rip, \$rcx
	shell touch /tmp/stopped; until [ -e /tmp/saved ]; do sleep 0.1; done
	x/2xb \$rip
	continue
END
gdb_gets_to stopped
[ "$(hits)" -eq 1 ] || why="gdb does not stop at its breakpoint"
memory_is "0xcc 0x30" || why="there is no INT3 in memory"
monitor "migrate -d \"exec:cat >/tmp/state\""
monitor_says "info migrate" 'Migration status: completed' || why="not saved"
echo "# $(wc -c </debian/tmp/state) bytes"
memory_is "0x0f 0x30" || why="an INT3 went along"
touch /debian/tmp/saved
sleep 1
monitor "quit"
wait_guest_end 60 || why="QEMU's status is $?"
gdb_end || why="the stub's status is $?"
[ "$(hits)" -eq 1 ] || why="gdb stops in a VM that has been saved"
next_guest 2 "exec:cat</tmp/state"
monitor_says "info status" 'VM status: running' || why="not restored"
memory_is "0x0f 0x30" || why="an INT3 came along"
guest_works || why="what was restored does not work"
rm -f /debian/tmp/state
result saved_and_restored "$why"

why=
break_there >/tmp/commands
gdb_start </tmp/commands
more_hits || why="gdb does not stop at its breakpoint"
leave_to 3
left
gdb_end || why="the stub's status is $?"
monitor_says "info status" 'VM status: running' || why="not arrived"
memory_is "0x0f 0x30" || why="an INT3 came along"
guest_works || why="what has arrived does not work"
result migrated "$why"

why=
watch-load "$GUEST_PID" views 600 >/tmp/load.txt 2>&1 &
load=$!
guest_works || why="the guest does not work on views"
leave_to 4
# It compares the views with KVM's tables once more.
kill -TERM $load
wait $load || why="watch-load ended with status $?"
sed 's/^/# /' /tmp/load.txt
left
monitor_says "info status" 'VM status: running' || why="not arrived"
guest_works || why="what has arrived does not work"
result migrated_on_views "$why"

# It can be watched there, and checks to the end what it has brought.
why=
kvmi trace -e cr3 -n 100 "$GUEST_PID" >/dev/null || why="it cannot be traced"
end_guest || why="mem write: $?"
wait_guest_end 200 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
rmmod kvmi || why="kvmi.ko does not unload"
cat /tmp/guest.log /tmp/guest.log.[23] >/tmp/guest.logs
cat "$GUEST_LOG" >>/tmp/guest.logs
GUEST_LOG=/tmp/guest.logs
show_guest
! grep -q FAILED "$GUEST_LOG" || why="the guest has found something wrong"
result arrived_and_well "$why"
finish
