# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The Linux guest of the emulated host: a stock kernel and a small initrd
# that works.

# put_guest KERNEL [QEMU]: into the initrd of RUN, as /rig/guest/{vmlinuz,initrd.gz},
# and vmlinux for a QEMU: it is there at once, while it takes emulated hardware in
# emulated hardware half of its boot to unpack the other.
put_guest()
{
	local k=$1 qemu=${2:-} d g=$RUN/initrd/rig/guest

	# The guest need not be the debug kernel, and should be quick.
	[ "$k" != debug ] || k=6.12
	d=$OUT/guest/$k
	setup_kernel "$k"
	locked "guest-$k" guest_initrd "$k" "$d"
	mkdir -p "$g"
	cp "$CACHE/kernels/$k/vmlinuz" "$d/initrd.gz" "$g/"
	[ -z "$qemu" ] || cp "$d/vmlinux" "$g/"
}

guest_initrd()
{
	local k=$1 d=$2 f new='' m

	for f in "$RIG_DIR"/guest/{guest-init,guest.h,calls.c,load.c,traced.c,work.c,writes.c} "$RIG_DIR"/{guest,setup}.sh \
		"$RIG_DIR/vmlinux.py" "$CACHE/kernels/$k/vmlinuz"; do
		[ "$d/initrd.gz" -nt "$f" ] || new=y
	done
	[ -n "$new" ] || return 0
	rm -rf "$d"
	mkdir -p "$d/root/bin" "$d/root/modules"
	# In the order in which they need each other.
	for m in msr virtio_pci virtio_balloon virtio_blk virtio_net; do
		modprobe -d "$CACHE/kernels/$k/modules" -S "$(<"$CACHE/kernels/$k/release")" \
			--show-depends "$m" || :
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
		while read -r m; do
			cp "$m" "$d/root/modules/"
			echo "${m##*/}"
		done >"$d/root/modules/list"
	for f in calls load traced work writes; do
		gcc -O2 -Wall -Wextra -static -o "$d/root/bin/$f" "$RIG_DIR/guest/$f.c"
	done
	"$RIG_DIR/vmlinux.py" "$CACHE/kernels/$k/vmlinuz" "$d/vmlinux"
	cp -L "$(command -v busybox)" "$d/root/bin/busybox"
	cp "$RIG_DIR/guest/guest-init" "$d/root/init"
	(cd "$d/root" && find . -print0 | cpio -0 -o -H newc -R 0:0 --quiet) |
		gzip -9 >"$d/initrd.gz.part"
	rm -rf "$d/root"
	mv "$d/initrd.gz.part" "$d/initrd.gz"
}
