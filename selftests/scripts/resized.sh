#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Guest memory that is mapped by a tool while Debian's QEMU takes some of it away and
# gives it back: by virtio-balloon, and by plugging a DIMM in and out.

if [ "$1" = --rows ]; then
	cat <<-END
	ballooned S5
	deflated S5
	plugged_in S5
	plugged_out S5
	detached_and_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip_all "no QEMU on this host"
fi

DIMM=0x100000000
DIMM_MIB=128
PAGES=$((DIMM_MIB * 256))

# monitor_says COMMAND REGEX: within 60 seconds
monitor_says()
{
	for _ in $(seq 60); do
		: >/tmp/monitor.log
		if ! monitor "$1"; then
			echo "# the VMM is gone"
			return 1
		fi
		sleep 1
		tr -d '\r' </tmp/monitor.log | grep -q "$2" && return 0
	done
	tr -d '\r' </tmp/monitor.log | sed 's/^/# monitor| /'
	return 1
}

# now TOOL: what a tool finds, from here on
now()
{
	from=$(wc -l <"/tmp/$1")
	for _ in $(seq 600); do
		if [ "$(wc -l <"/tmp/$1")" -ge $((from + 2)) ]; then
			tail -n 1 "/tmp/$1"
			return 0
		fi
		sleep 0.1
	done
	return 1
}

# until_finds TOOL REGEX: within 60 seconds
until_finds()
{
	finds_end=$(($(cut -d. -f1 /proc/uptime) + 60))
	while [ "$(cut -d. -f1 /proc/uptime)" -lt "$finds_end" ]; do
		found=$(now "$1") || break
		echo "$found" | grep -q "$2" && return 0
	done
	echo "# found: $found"
	# Where does everybody stand?
	tail -n 5 /tmp/monitor.log | sed 's/^/# monitor| /'
	for task in "/proc/$watcher" "/proc/$GUEST_PID"/task/*; do
		echo "# $(cat "$task/comm" "$task/wchan" | tr '\n' ' ')"
	done
	return 1
}

# MiB of the host that nobody has
free()
{
	awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo
}

rmmod kvmi 2>/dev/null
# shellcheck disable=SC2034 # for start_guest
GUEST_ARGS="quiet memhp_default_state=online_movable"
# shellcheck disable=SC2034
GUEST_MEM="256,slots=2,maxmem=1G"
# All of it taken from the host, so that there is something to give back.
# shellcheck disable=SC2034
GUEST_DEVICES="-device virtio-balloon-pci,id=balloon -machine memory-backend=ram0
	-object memory-backend-ram,id=ram0,size=256M,prealloc=on"
boot_guest 600 1 1 >/dev/null
cat "$GUEST_MONITOR.out" >>/tmp/monitor.log &
insmod /rig/kvmi.ko
map-watch "$GUEST_PID" 0 $((256 * 1048576)) >/tmp/ram &
watcher=$!

why=
until_finds ram '^[1-9]' || why="the tool finds no memory"
before=$(free)
monitor "balloon 160"
monitor_says "info balloon" 'actual=160$' || why="the balloon does not fill"
# It is looked at all the while, and is the host's again all the same.
now ram | sed 's/^/# all: /'
after=$(free)
echo "# the host has $before MiB, and $after with the balloon"
[ $((after - before)) -ge 24 ] || why="the memory is not given back"
kill -0 $watcher || why="the tool has ended"
result ballooned "$why"

why=
monitor "balloon 256"
monitor_says "info balloon" 'actual=256$' || why="the balloon does not empty"
now ram | grep -q ' there' || why="the tool finds nothing any more"
tr -d '\r' <"$GUEST_LOG" | grep -q 'FAILED' && why="the guest is not well"
result deflated "$why"
kill $watcher
wait $watcher 2>/dev/null

map-watch "$GUEST_PID" $((DIMM)) $((DIMM_MIB * 1048576)) >/tmp/dimm &
watcher=$!
why=
until_finds dimm "^0 there, $PAGES not" || why="there is a DIMM already"
monitor "object_add memory-backend-ram,id=mem1,size=${DIMM_MIB}M"
monitor "device_add pc-dimm,id=dimm1,memdev=mem1"
until_finds dimm "^$PAGES there, 0 not" || why="the DIMM is not seen"
result plugged_in "$why"

why=
# The guest has to have it before it can give it back.
sleep 3
monitor "device_del dimm1"
until_finds dimm "^0 there, $PAGES not" || why="the DIMM is seen still"
kill -0 $watcher || why="the tool has ended"
result plugged_out "$why"
kill $watcher
wait $watcher 2>/dev/null

why=
end_guest || why="mem write: $?"
wait_guest_end 100 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
rmmod kvmi || why="kvmi.ko does not unload"
show_guest
result detached_and_well "$why"
finish
