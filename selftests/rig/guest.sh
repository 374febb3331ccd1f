# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The Linux guest of the emulated host: a stock kernel and a small initrd
# that works.

# put_guest KERNEL: into the initrd of RUN, as /rig/guest/{vmlinuz,initrd.gz}
put_guest()
{
	local k=$1 d=$OUT/guest/$1 g=$RUN/initrd/rig/guest

	# The guest need not be the debug kernel, and should be quick.
	if [ "$k" = debug ]; then
		k=6.12 d=$OUT/guest/6.12
	fi
	setup_kernel "$k"
	locked "guest-$k" guest_initrd "$k" "$d"
	mkdir -p "$g"
	cp "$CACHE/kernels/$k/vmlinuz" "$d/initrd.gz" "$g/"
}

guest_initrd()
{
	local k=$1 d=$2

	if [ "$d/initrd.gz" -nt "$RIG_DIR/guest/guest-init" ] &&
		[ "$d/initrd.gz" -nt "$RIG_DIR/guest/work.c" ]; then
		return 0
	fi
	rm -rf "$d"
	mkdir -p "$d/root/bin"
	cp "$CACHE/kernels/$k"/modules/lib/modules/*/msr.ko "$d/root/"
	gcc -O2 -Wall -Wextra -static -o "$d/root/bin/work" "$RIG_DIR/guest/work.c"
	cp -L "$(command -v busybox)" "$d/root/bin/busybox"
	cp "$RIG_DIR/guest/guest-init" "$d/root/init"
	(cd "$d/root" && find . -print0 | cpio -0 -o -H newc -R 0:0 --quiet) |
		gzip -9 >"$d/initrd.gz.part"
	rm -rf "$d/root"
	mv "$d/initrd.gz.part" "$d/initrd.gz"
}
