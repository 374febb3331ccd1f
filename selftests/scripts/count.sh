#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# kvmi count against a Linux guest's own ftrace: hidden breakpoints on many functions of
# its kernel, on two vCPUs, while it does a bit of everything: as many calls of each.

if [ "$1" = --rows ]; then
	cat <<-END
	same_as_ftrace E8 V3
	for_a_while E8 V3
	guest_is_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
# On Bochs it takes six minutes: one of each vendor, unless by KVMI_CALLS=1.
case $RIG_HOST-$RIG_KERNEL:$KVMI_CALLS in
amd-6.*:* | intel-6.12:* | *:1) ;;
*)
	skip_all "takes too long here"
	;;
esac
n=1000
[ "$RIG_KERNEL" = 6.12 ] || n=300
[ -n "$RIG_SHARE" ] || n=100
# Where it waits by polling, ftrace would be full of that. Half a minute it takes to have
# all functions traced, before anybody attaches, with a CPU that waits for it.
# shellcheck disable=SC2034 # for start_guest
GUEST_ARGS="quiet cpuidle.off=1 idle=halt nosoftlockup loglevel=1 kvmi.traced=$n"
start_guest 600 1 2

why=
wait_guest_says '^guest: (functions [0-9]+ page|traced ended)' 400 >/tmp/guest.functions ||
	why="it does not come up"
sed 's/^/# /' /tmp/guest.functions
if ! grep -q page /tmp/guest.functions; then
	result same_as_ftrace "${why:-$(grep FAILED "$GUEST_LOG")}"
	show_guest
	kill -9 "$GUEST_PID"
	finish
fi
tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: \(symbol\|function\) //p' >/tmp/symbols
tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: function .* T //p' >/tmp/functions
tr -d '\r' <"$GUEST_LOG" | grep '^guest: .* \(are called\|s\)$' | sed 's/^/# /'
gpa=$(sed -n 's/.*page //p' /tmp/guest.functions)
# The host merges pages of the guest's meanwhile.
echo 1 >/sys/kernel/mm/ksm/run

kvmi count "$GUEST_PID" --symbols /tmp/symbols --functions /tmp/functions \
	--between __x64_sys_ioprio_get --json >/tmp/count.json &
counter=$!
begun /tmp/count.json $counter || why="kvmi count does not attach"
go "$gpa" || why="the page is not found in the VMM"
wait_guest_says '^guest: traced ended' 900 >/tmp/guest.end || why="it does not end"
wait $counter || why="kvmi count ended with status $?"
grep -q 'status 0' /tmp/guest.end || why="$(cat /tmp/guest.end)"
tail -n 1 /tmp/count.json | sed 's/^/# /'
sed -n 's/^.*"event":"count","function":"\(.*\)","calls":\([0-9]*\).*$/\1 \2/p' \
	/tmp/count.json | sort >/tmp/ours
tr -d '\r' <"$GUEST_LOG" | sed -n 's/^guest: count //p' | sort >/tmp/theirs
[ -n "$why" ] || [ "$(wc -l </tmp/theirs)" = "$n" ] || why="the guest has not counted all"
[ -n "$why" ] || diff /tmp/theirs /tmp/ours | grep '^[<>+-]' >/tmp/diff
[ -n "$why" ] || [ ! -s /tmp/diff ] || why="$(wc -l </tmp/diff) differ: $(head -n 8 /tmp/diff)"
# Most of them have to be called at all.
called=$(grep -vc ' 0$' /tmp/theirs)
[ -n "$why" ] || [ "$called" -ge $((n / 2)) ] || why="only $called functions are called"
result same_as_ftrace "$why"

# Without symbols, and without an end but time: what it works on calls these all along.
why=
wait_guest_says '^guest: page' 900 >/tmp/guest.page || why="it does not go on"
kvmi count "$GUEST_PID" -d 3 kernel_clone do_exit wake_up_process >/tmp/while.txt 2>&1 ||
	why="kvmi count ended with status $?"
sed 's/^/# /' /tmp/while.txt
[ "$(awk '$2 ~ /^(kernel_clone|do_exit)$/ && $1 > 0' /tmp/while.txt | wc -l)" = 2 ] ||
	why="there are no calls"
kvmi count "$GUEST_PID" do_exit no_such_function >/tmp/no.txt 2>&1 && why="it counts what is not"
grep -q 'cannot count no_such_function: ' /tmp/no.txt || why="$(cat /tmp/no.txt)"
result for_a_while "$why"
echo "# $(cat /sys/kernel/mm/ksm/pages_sharing) pages are merged"
echo 2 >/sys/kernel/mm/ksm/run

why=
end_guest || why="kvmi mem write ended with status $?"
wait_guest_end 900 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
show_guest | grep -v 'guest: \(symbol\|function\|count\) '
result guest_is_well "$why"
finish
