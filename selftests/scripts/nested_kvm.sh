#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# KVM inside of a guest: a Linux guest loads its own kvm_amd, and runs the programs
# that prove the tests' own VMM, over and over, while everything of it is watched.
# They must not notice: nothing that kvmi asks of the CPU is the nested guests'.

if [ "$1" = --rows ]; then
	cat <<-END
	runs_nested
	every_kind E18 E10 E20
	usual_kinds E1 E5 E7 E13 E18
	step_by_step E6 E18
	guest_is_well E18
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

# How often the nested guests have run so far; those that went wrong.
rounds()
{
	tr -d '\r' <"$GUEST_LOG" | grep -c '^guest: nested .* ended'
}

# wait_round SECONDS: until they have run once more, from the start
wait_round()
{
	wait_round_nr=$(($(rounds) + 2))
	wait_guest_says "^guest: nested $wait_round_nr ended" "$1"
}

echo "TAP version 13"
case $RIG_HOST-$RIG_KERNEL in
amd-6.*) ;;
*)
	skip_all "a guest with KVM in it takes too long here"
	;;
esac

mkdir -p /tmp/extra/extra
for m in irqbypass ccp kvm kvm-amd; do
	cp "/lib/modules/$(uname -r)/$m.ko" /tmp/extra/extra/
done
cp /rig/bin/vmm_smoke /tmp/extra/extra/
GUEST_INITRD=nested.gz
{
	cat /rig/guest/initrd.gz
	(cd /tmp/extra && find extra | cpio -o -H newc 2>/dev/null | gzip -1)
} >/rig/guest/$GUEST_INITRD
GUEST_MEM=512

start_guest 45 1
why=
wait_round 300 || why="no nested guest runs"
result runs_nested "$why"
if [ -z "$why" ]; then
	watched every_kind all 6
	watched usual_kinds usual 6
	watched step_by_step step 6
fi
wait_guest_end 900 || why="the VMM's status is $?"
tr -d '\r' <"$GUEST_LOG" | grep '^guest: nested .* ended' | grep -qv 'status 0$' &&
	why="nested guests are not well"
tr -d '\r' <"$GUEST_LOG" | grep -q '^guest: ok$' || why="the guest is not well"
echo "# $(rounds) rounds of nested guests"
show_guest
result guest_is_well "$why"
finish
