#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A VM whose guest runs on shadow page tables is refused, by name.  KVM decides on
# that when its vendor module is loaded, which this does anew.

if [ "$1" = --rows ]; then
	cat <<-END
	refused D1
	taken_again D1
	END
	exit 0
fi

# shellcheck source=../rig/guest/functions disable=SC1091
. /rig/functions

if grep -qw svm /proc/cpuinfo; then
	kvm=kvm_amd off=npt=0
else
	kvm=kvm_intel off=ept=0
fi

# reload_kvm OPTION...
reload_kvm()
{
	rmmod kvmi 2>/dev/null
	rmmod "$kvm" && modprobe "$kvm" "$@" && insmod /rig/kvmi.ko
}

# try_attach: sets out and status
try_attach()
{
	: >/tmp/vm.out
	idle-vm >/tmp/vm.out &
	vm=$!
	for _ in $(seq 50); do
		grep -q up /tmp/vm.out && break
		sleep 0.2
	done
	out=$(kvmi info "$vm" 2>&1)
	status=$?
	echo "$out" | sed 's/^/# /'
	kill -9 "$vm"
	wait "$vm" 2>/dev/null
}

echo "TAP version 13"
why=
if reload_kvm "$off"; then
	try_attach
	case $out in
	*"shadow paging"*) [ "$status" -ne 0 ] || why="refused with status 0" ;;
	*) why="not refused by name" ;;
	esac
	# The message names several causes; the log says which it is.
	dmesg | tail -n 20 | grep -q 'shadow paging is not supported' ||
		why="the log does not say why"
else
	why="$kvm does not load with $off"
fi
result refused "$why"

why=
if reload_kvm; then
	try_attach
	[ "$status" -eq 0 ] || why="status $status"
else
	why="$kvm does not load again"
fi
result taken_again "$why"
finish
