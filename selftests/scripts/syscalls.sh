#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# kvmi syscalls against a Linux guest's own ftrace: the same calls in the same order,
# with the same numbers and arguments, of the same processes.  Of a guest with two
# vCPUs, page table isolation and a kernel that is anywhere, where QEMU runs it.

if [ "$1" = --rows ]; then
	cat <<-END
	same_as_ftrace E8 V3 D1
	vfork E8 V3
	one_process E8 V3
	wrong_symbols S4
	guest_is_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

# plain TRACE: THREAD NUMBER ARGUMENT..., as guest-init has it
plain()
{
	sed -n 's/^.*"tid":\([0-9]*\),.*"nr":\([0-9]*\),.*"args":\[\(.*\)\].*$/\1 \2 \3/p' "$1" |
		sed 's/"0x//g;s/"//g;s/,/ /g' |
		sed -n '/ 39 6b766d69 1 /,/ 39 6b766d69 2 /p'
}

# compare DIR: the parts there with what the guest has, in md5sum's words; prints the
# first one that differs
compare()
{
	tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: md5 //p' >/tmp/guest.md5
	(cd "$1" && md5sum part.*) | sed 's|part|/calls.part|' >/tmp/our.md5
	[ -s /tmp/guest.md5 ] || echo "the guest has recorded nothing"
	# On a difference, the line of each.
	diff /tmp/guest.md5 /tmp/our.md5 | grep '^[<>+-]' | tail -n +1 | head -n 4 |
		tr '\n' ' '
}

echo "TAP version 13"
# There, by KVMI_CALLS=1 alone, which takes seven minutes: see permitted-skips.
if [ -z "$RIG_SHARE$KVMI_CALLS" ]; then
	skip_all "takes too long here"
fi
n=10000
[ "$RIG_KERNEL" = 6.12 ] || n=3000
[ -n "$RIG_SHARE" ] || n=1000
# shellcheck disable=SC2034 # for start_guest
GUEST_KERNEL=vmlinuz
# shellcheck disable=SC2034
GUEST_ARGS="quiet pti=on kvmi.calls=$n kvmi.int80"
start_guest 600 1 2

why=
wait_guest_says '^guest: calls [0-9]+ page' 600 >/tmp/guest.calls || why="it does not come up"
sed 's/^/# /' /tmp/guest.calls
tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: symbol //p' >/tmp/symbols
sed 's/^/# /' /tmp/symbols
gpa=$(sed -n 's/.*page //p' /tmp/guest.calls)

# The symbols of a kernel that is not there.
wrong=
sed 's/^\(.*\)\(....\) \(. entry_SYSCALL_64\)$/\11230 \3/' /tmp/symbols >/tmp/wrong
kvmi syscalls "$GUEST_PID" --symbols /tmp/wrong >/tmp/wrong.txt 2>&1 &&
	wrong="they were taken"
grep -q 'symbols are of another kernel' /tmp/wrong.txt || wrong="$(cat /tmp/wrong.txt)"

kvmi syscalls "$GUEST_PID" --symbols /tmp/symbols --comm calls --json >/tmp/calls.json &
tracer=$!
begun /tmp/calls.json $tracer || why="kvmi syscalls does not attach"
go "$gpa" || why="the page is not found in the VMM"
wait_guest_says '^guest: calls ended' 900 >/tmp/guest.end || why="it does not end"
kill -INT $tracer
wait $tracer || why="kvmi syscalls ended with status $?"
grep -q 'status 0' /tmp/guest.end || why="$(cat /tmp/guest.end)"
tail -n 1 /tmp/calls.json | sed 's/^/# /'
plain /tmp/calls.json >/tmp/calls.txt
echo "# $(wc -l </tmp/calls.txt) calls of $(cut -d' ' -f1 /tmp/calls.txt | sort -u |
	wc -l) processes"

# Meanwhile the guest works.
one=
wait_guest_says '^guest: page' 900 >/tmp/guest.page || one="it does not go on"
# Most calls are its own: its children, who are called the same, have one or two each.
kvmi syscalls "$GUEST_PID" --symbols /tmp/symbols --comm work -n 100 -d 60 >/tmp/one.txt ||
	one="kvmi syscalls ended with status $?"
tail -n 3 /tmp/one.txt | sed 's/^/# /'
pid=$(awk '{ print $4 }' /tmp/one.txt | sort | uniq -c | sort -n | awk 'END { print $2 }')
# Of the kernel's own symbols this time.
kvmi syscalls "$GUEST_PID" --pid "$pid" -n 50 -d 60 >/tmp/one.txt ||
	one="kvmi syscalls ended with status $?"
[ "$(awk -v pid="$pid" '$4 == pid && $5 == "work"' /tmp/one.txt | wc -l)" = 50 ] ||
	one="there are others, or no 50: $(tail -n 3 /tmp/one.txt)"
end_guest || one="kvmi mem write ended with status $?"

wait_guest_end 900 || why="the VMM's status is $?"
mkdir -p /tmp/parts
awk '{ print > sprintf("/tmp/parts/part.%03d", (NR - 1) / 500) }' /tmp/calls.txt
[ -n "$why" ] || why=$(compare /tmp/parts)
[ -n "$why" ] || [ "$(wc -l </tmp/calls.txt)" -ge "$n" ] || why="that is not all"
# AMD's processors need none, and Bochs's guest has it not.
[ -z "$RIG_SHARE" ] || tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: pti$' ||
	why="the guest has no page table isolation"
result same_as_ftrace "$why"

why=
[ "$(grep -c '"bits":64.*"name":"vfork"' /tmp/calls.json)" -ge $((n / 101)) ] ||
	why="no vfork"
[ "$(cut -d' ' -f1 /tmp/calls.txt | sort -u | wc -l)" -ge $((n / 101)) ] ||
	why="no children"
result vfork "$why"
result one_process "$one"
result wrong_symbols "$wrong"

why=
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
show_guest
result guest_is_well "$why"
finish
