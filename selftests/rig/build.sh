# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Building: kvmi.ko for one of the rig's kernels, and the static programs.

# kvmi.ko is built from a copy, so that builds for several kernels stand side
# by side and none of them touches the tree.
# build_module KERNEL [make arguments...]: sets MODULE
build_module()
{
	local k=$1 dir=$OUT/build/$1 rel

	shift
	setup_kernel "$k"
	MODULE=$dir/src/kvmi.ko
	rel=$(readlink -f "$CACHE/kernels/$k")
	mkdir -p "$dir"
	if [ "$(cat "$dir/for" 2>/dev/null)" != "$rel" ]; then
		rm -rf "$dir/src"
		mkdir -p "$dir/src"
		echo "$rel" >"$dir/for"
	fi
	copy_sources "$dir/src"
	quietly "building kvmi.ko for $KREL" "$dir/module.log" \
		make -C "$KDIR" M="$dir/src" -j"$JOBS" "$@" modules
}

# copy_sources DEST: what the module is made of; objects in DEST stay, so
# that the next build is an incremental one.
copy_sources()
{
	local d dirs=()

	for d in kmod uapi; do
		[ ! -d "$TREE/$d" ] || dirs+=("$TREE/$d")
	done
	rsync -rlpt --delete --include='*/' --include='*.[chS]' --include='*.lds' \
		--include='Kbuild' --include='Makefile*' --exclude='*' \
		"${dirs[@]}" "$1/"
	rsync -t "$TREE/Kbuild" "$1/"
}

# The programs are static and do not depend on the kernel: built once, into
# $OUT/user.
build_user()
{
	local d

	mkdir -p "$OUT/user"
	for d in libkvmi tools selftests; do
		[ -e "$TREE/$d/Makefile" ] || continue
		quietly "building $d" "$OUT/user/$d.log" \
			make -C "$TREE/$d" OUTPUT="$OUT/user/$d" STATIC=1 -j"$JOBS"
	done
}

# user_programs: every program that was built, one path a line
user_programs()
{
	local d

	for d in tools selftests; do
		[ -d "$OUT/user/$d" ] || continue
		find "$OUT/user/$d" -type f -perm -u+x ! -name '*.o' ! -name '*.so*' ! -name '*.d'
	done
}

rig_build()
{
	[ $# -eq 1 ] || die "usage: rig build KERNEL"
	setup_host_packages
	locked "build-$1" build_module "$1"
	echo "$MODULE"
}
