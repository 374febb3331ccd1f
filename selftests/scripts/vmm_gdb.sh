#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's gdb at QEMU's own gdbstub, which debugs the guest by KVM, while kvmi
# watches it: each has its own, and the guest is well.

if [ "$1" = --rows ]; then
	cat <<-END
	stepped_while_watched E6
	breakpoints_of_both E8
	steps_of_both E6
	two_debuggers E8 E6 S2
	detached_and_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip_all "no QEMU and no gdb on this host"
fi

# vmm_gdb: what stdin says to gdb, at QEMU's gdbstub; its output in /tmp/gdb.txt
vmm_gdb()
{
	{
		cat <<-END
		set pagination off
		set confirm off
		target remote /tmp/qemu.sock
		END
		cat
		echo 'detach'
	} >/debian/tmp/script
	chroot /debian /usr/bin/timeout 120 /usr/bin/gdb -batch -nx \
		-x /tmp/script >/tmp/gdb.txt 2>&1 || echo "# gdb's status is $?"
	sed 's/^/# gdb| /' /tmp/gdb.txt
}

# events NAME: so many there are in the trace
events()
{
	grep -c "\"event\":\"$1\"" /tmp/trace.json
}

trace_start()
{
	kvmi trace --json "$GUEST_PID" "$@" -d 600 >/tmp/trace.json &
	trace=$!
	while ! grep -q '"event"' /tmp/trace.json; do
		kill -0 "$trace" || return
		sleep 0.1
	done
}

trace_end()
{
	kill -INT "$trace"
	wait "$trace" || why="the trace's status is $?"
}

rmmod kvmi 2>/dev/null
GUEST_ARGS="quiet nokaslr nosoftlockup"
boot_guest 600 1 2
insmod /rig/kvmi.ko
monitor "gdbserver unix:/tmp/qemu.sock,server=on,wait=off"
for _ in $(seq 100); do
	[ ! -S /debian/tmp/qemu.sock ] || break
	sleep 0.1
done
# Where the guest's kernel writes an MSR, as the guest does all the time.
at=$(kvmi trace --json -e msr:lstar -n 1 "$GUEST_PID" |
	sed -n 's/.*"event":"msr".*"rip":"\(0x[0-9a-f]*\)".*/\1/p')
next=$(printf '%#x' $((at + 2)))
echo "# WRMSR at $at"

# Each step is one instruction: gdb says where the next one is.
why=
trace_start -e cr3,cpuid
vmm_gdb <<-END
	x/2i \$rip
	stepi
	x/2i \$rip
	stepi
	x/2i \$rip
	stepi
	x/2i \$rip
END
grep -q '=>' /tmp/gdb.txt || why="gdb has not got hold of the guest"
before=$(events 'c[a-z0-9]*')
sleep 2
[ "$(events 'c[a-z0-9]*')" -gt "$before" ] || why="no events afterwards"
trace_end
result stepped_while_watched "$why"

# kvmi sees QEMU's breakpoint as well, and lets QEMU have it.
why=
trace_start -e bp,cr3
vmm_gdb <<-END
	break *$at
	continue
	printf "stop at %#lx rcx %#lx\n", \$rip, \$rcx
	stepi
	printf "then at %#lx\n", \$rip
	continue
	printf "stop at %#lx rcx %#lx\n", \$rip, \$rcx
	delete
END
[ "$(grep -c "^stop at $at rcx 0xc0000082$" /tmp/gdb.txt)" -eq 2 ] ||
	why="gdb does not stop at its breakpoint"
grep -q "^then at $next$" /tmp/gdb.txt || why="gdb does not step behind it"
sleep 1
trace_end
n=$(grep '"event":"bp"' /tmp/trace.json | grep -ci "$at")
echo "# $n breakpoints were seen by kvmi"
[ "$n" -ge 2 ] || why="kvmi does not see the breakpoints"
result breakpoints_of_both "$why"

# wait_for FILE: until gdb has made it
wait_for()
{
	for _ in $(seq 600); do
		[ ! -e "/debian/tmp/$1" ] || return 0
		sleep 0.1
	done
	why="gdb does not get to '$1'"
}

# QEMU steps a vCPU of which kvmi steps every instruction. kvmi begins and ends while
# gdb has the guest: an instruction at a time is no life for the whole of a Linux.
# What QEMU has before kvmi, kvmi has when the vCPU goes on: here at the third.
why=
vmm_gdb <<-END &
	shell touch /tmp/stopped; until [ -e /tmp/go ]; do sleep 0.1; done
	stepi
	printf "then at %#lx\n", \$rip
	stepi
	printf "then at %#lx\n", \$rip
	stepi
	shell touch /tmp/stepped; while [ -e /tmp/go ]; do sleep 0.1; done
END
debugger=$!
wait_for stopped
kvmi trace --json "$GUEST_PID" -e step -d 600 >/tmp/trace.json &
trace=$!
sleep 5
touch /debian/tmp/go
wait_for stepped
trace_end
rm /debian/tmp/go
wait "$debugger"
sed -n 's/^then at //p' /tmp/gdb.txt >/tmp/steps
[ "$(wc -l </tmp/steps)" -eq 2 ] || why="gdb does not step"
while read -r rip; do
	grep -q "\"event\":\"step\".*\"rip\":\"$rip\"" /tmp/trace.json ||
		why="kvmi does not see the step to $rip"
done </tmp/steps
result steps_of_both "$why"

# A second gdb, by kvmi gdb: each stops at its own breakpoint.
why=
kvmi gdb "$GUEST_PID" --listen /debian/tmp/kvmi.sock &
stub=$!
while [ ! -S /debian/tmp/kvmi.sock ] && kill -0 $stub; do
	sleep 0.1
done
cat >/debian/tmp/script2 <<-END
	set pagination off
	set confirm off
	target remote /tmp/kvmi.sock
	break *$at
	continue
	printf "kvmi's stop at %#lx\n", \$rip
	stepi
	printf "kvmi's step to %#lx\n", \$rip
	delete
	shell touch /tmp/second; (until [ -e /tmp/first ]; do sleep 0.1; done; kill -INT \$PPID) &
	continue
	detach
END
chroot /debian /usr/bin/timeout 120 /usr/bin/gdb -batch -nx -x /tmp/script2 \
	>/tmp/gdb2.txt 2>&1 &
second=$!
wait_for second
vmm_gdb <<-END
	break *$next
	continue
	printf "stop at %#lx\n", \$rip
	stepi
	continue
	printf "stop at %#lx\n", \$rip
	delete
	shell touch /tmp/first
END
wait $second
sed 's/^/# gdb2| /' /tmp/gdb2.txt
wait $stub || why="the stub's status is $?"
[ "$(grep -c "^stop at $next$" /tmp/gdb.txt)" -eq 2 ] ||
	why="QEMU's gdb does not stop at its breakpoint"
grep -q "^kvmi's stop at $at$" /tmp/gdb2.txt ||
	why="kvmi's gdb does not stop at its breakpoint"
grep -q "^kvmi's step to $next$" /tmp/gdb2.txt || why="kvmi's gdb does not step"
grep -q SIGINT /tmp/gdb2.txt || why="kvmi's gdb is told of what is not its own"
result two_debuggers "$why"

why=
end_guest || why="mem write: $?"
wait_guest_end 100 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
rmmod kvmi || why="kvmi.ko does not unload"
show_guest
result detached_and_well "$why"
finish
