#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What Debian's gdb makes of a guest: of its dump, and of the guest itself by
# kvmi gdb.

if [ "$1" = --rows ]; then
	cat <<-END
	dump S3 S6
	attached S2 S4 S6
	breakpoint E8 S4
	stepped E6 A5
	watched E17 V2
	interrupted S2
	detached_and_well D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

echo "TAP version 13"
if [ -z "$RIG_SHARE" ]; then
	skip_all "no gdb on this host"
fi


value=$(head -c 6 /dev/urandom | od -An -tx1 | tr -d ' ')
# shellcheck disable=SC2034 # for start_guest
GUEST_ARGS="quiet nokaslr"
boot_guest 600 "1$value" 2
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

# Where the guest's kernel writes an MSR, as the guest does all the time.
at=$(kvmi trace --json -e msr:lstar -n 1 "$GUEST_PID" |
	sed -n 's/.*"event":"msr".*"rip":"\(0x[0-9a-f]*\)".*/\1/p')
# The kernel's own mapping of all memory, and the guest's page in it.
var=$(printf '0x%x' $((0xffff888000000000 + gpa)))
echo "# WRMSR at $at, the page at $var"
cat >/debian/tmp/script <<-END
	set pagination off
	set confirm off
	target remote /tmp/gdb.sock
	info threads
	printf "cr0 %lx efer %lx mxcsr %x\n", \$cr0 & 0x80000001, \$efer & 0x500, \$mxcsr
	echo --- breakpoint\n
	break *$at
	continue
	printf "at %#lx rcx %#lx\n", \$rip, \$rcx
	x/2xb \$rip
	delete
	echo --- step\n
	stepi
	printf "at %#lx\n", \$rip
	stepi
	printf "at %#lx\n", \$rip
	break *$at
	continue
	printf "at %#lx\n", \$rip
	continue
	printf "at %#lx\n", \$rip
	delete
	echo --- watch\n
	x/gx $var
	set var *(long *)($var + 64) = 0x4711
	x/gx $var + 64
	watch *(long *)($var + 8)
	continue
	delete
	echo --- interrupt\n
	shell (sleep 3; kill -INT \$PPID) &
	continue
	info threads
	set var \$rax = \$rax
	detach
END
kvmi gdb "$GUEST_PID" --listen /debian/tmp/gdb.sock &
stub=$!
while [ ! -S /debian/tmp/gdb.sock ] && kill -0 $stub; do
	sleep 0.1
done
chroot /debian /usr/bin/timeout 120 /usr/bin/gdb -batch -nx -x /tmp/script \
	>/tmp/gdb.txt 2>&1
echo "# gdb's status is $?"
wait $stub || echo "# the stub's status is $?"
sed 's/^/# gdb| /' /tmp/gdb.txt

# part FROM TO: what gdb printed there
part()
{
	sed -n "/^--- $1/,/^--- $2/p" /tmp/gdb.txt
}

why=
[ "$(grep -c 'Thread [12] (vCPU [01])\|Thread 1\.[12]' /tmp/gdb.txt)" -ge 2 ] ||
	why="no two threads"
grep -q 'cr0 80000001 efer 500' /tmp/gdb.txt || why="registers of another guest"
result attached "$why"

why=
part breakpoint step | grep -q "^at $at rcx 0xc0000082" ||
	why="not where the breakpoint is"
part breakpoint step | grep -q '0x0f.0x30' || why="no WRMSR is to be seen there"
result breakpoint "$why"

why=
part step watch | grep -q "^at $(printf '%#x' $((at + 2)))$" ||
	why="not behind the instruction"
[ "$(part step watch | grep -c "^at $at$")" -eq 2 ] ||
	why="not back at the breakpoint twice"
result stepped "$why"

why=
part watch interrupt | grep -q '^New value = ' || why="no change was seen"
part watch interrupt | grep -q '0x0000000000004711' || why="no write was seen"
result watched "$why"

why=
part interrupt END | grep -q 'SIGINT' || why="no interrupt"
result interrupted "$why"

why=
end_guest || why="mem write: $?"
wait_guest_end 100 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
show_guest
result detached_and_well "$why"
finish
