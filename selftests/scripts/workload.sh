#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A Linux guest with two vCPUs that works while everything of it is watched: from
# its first instructions on to userspace, every kind of event at once, and one vCPU
# for 100,000 instructions (on Bochs, as many as a few seconds allow).  It forks a
# thousand processes (on Bochs, and on the debug kernel, 100), and has, of QEMU, a
# disk and a network; on those there are no devices but the loopback.  And it runs on
# eight views of which the pages that are watched change all the time, and all of the
# kernel's code, which the kernel changes, while the host merges pages.  It checks its
# own results all along.
# KVMI_SOAK=SECONDS: this long, by turns; without, each once.

if [ "$1" = --rows ]; then
	cat <<-END
	boots_watched E1 E5 E7 E13 D1
	usual_kinds E1 E5 E7 E13
	every_kind E1 E2 E3 E4 E5 E7 E10 E11 E12 E13 E14 E15 E18 E20 D4
	step_by_step E6
	on_views V1 V2 V7 E17 A1 A5
	guest_is_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
# Where it takes many minutes, by KVMI_CALLS=1 alone; one of each vendor, and both
# kernels, are enough.
case $RIG_HOST-$RIG_KERNEL:$KVMI_CALLS in
amd-6.*:* | intel-6.12:* | *:1) ;;
*)
	skip_all "takes too long here"
	;;
esac
seconds=${KVMI_SOAK:-0}
# Bochs, and a kernel with all checks, take ten times as long.
if [ -n "$RIG_SHARE" ]; then
	part=6 steps=60 forks=1000
	GUEST_DEVICES="$GUEST_BUSY_DEVICES"
	truncate -s 16M "$GUEST_DISK"
else
	part=3 steps=3 forks=100
fi
GUEST_ARGS="$GUEST_ARGS kvmi.load=$forks"
start_guest $((seconds + 900)) 1 2
# The host merges pages of the guest's, which are written to again, of QEMU's at least.
echo 1 >/sys/kernel/mm/ksm/run
watched boots_watched usual 15
why=
wait_guest_says 'guest: page' 400 >/tmp/guest.page || why="it does not come up"
sed 's/^/# /' /tmp/guest.page
[ -z "$why" ] || echo "# $why"

end=$(($(cut -d. -f1 /proc/uptime) + seconds))
while :; do
	watched usual_kinds usual "$part"
	watched every_kind all "$part"
	# It ends with the last one.
	watched step_by_step step "$steps"
	# shellcheck disable=SC2046 # two words
	watched on_views views "$part" $(tr -d '\r' <"$GUEST_LOG" |
		sed -n 's/^guest: code //p')
	[ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || break
	# The next round's cases have the same names: only the last counts.
	[ "$KTAP_FAILED" = 0 ] || break
	KTAP_NR=1
done

echo "# $(cat /sys/kernel/mm/ksm/pages_sharing) pages are merged, after $(
	cat /sys/kernel/mm/ksm/full_scans) looks at all"
echo 2 >/sys/kernel/mm/ksm/run
end_guest || why="kvmi mem write ended with status $?"
wait_guest_end 900 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
tr -d '\r' <"$GUEST_LOG" | grep -q "^guest: load $forks forks" || why="it has not got through"
show_guest
result guest_is_well "$why"
finish
