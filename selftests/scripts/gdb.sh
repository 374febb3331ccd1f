#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What Debian's gdb makes of a guest: of its dump.

if [ "$1" = --rows ]; then
	cat <<-END
	dump S3 S6
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip dump "no gdb here"
	finish
fi


value=$(head -c 6 /dev/urandom | od -An -tx1 | tr -d ' ')
boot_guest 25 "1$value" 2
gpa=$(sed -n 's/.*guest: page //p' /tmp/guest.page)

# The second word does not change any more; registers do not while it is paused.
why=
kvmi mem dump --json --consistent --format elf "$GUEST_PID" \
	/debian/tmp/guest.elf >/tmp/dump.json || why="kvmi mem dump: $?"
sed 's/^/# /' /tmp/dump.json
grep -q '"unreadable":0,.*"vmcoreinfo":true' /tmp/dump.json ||
	why="something is not in the dump"
chroot /debian /usr/bin/gdb -batch -nx -ex "core-file /tmp/guest.elf" \
	-ex "info threads" -ex "p/x \$rip" -ex "x/gx $gpa" \
	>/tmp/gdb.txt 2>&1
sed 's/^/# gdb| /' /tmp/gdb.txt
[ "$(grep -c 'LWP [12]' /tmp/gdb.txt)" -ge 2 ] || why="gdb sees no two vCPUs"
grep -qi "1$value" /tmp/gdb.txt || why="gdb does not see what the guest wrote"
result dump "$why"
rm -f /debian/tmp/guest.elf

wait_guest_end 400 || echo "# the VMM's status is $?"
show_guest
finish
