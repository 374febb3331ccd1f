# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Everything the rig takes from Debian: packages of this machine, kernels,
# the source of an emulator, a root for the emulated host.  All but the first
# is unpacked into the cache, never installed.

# What has to be installed on this machine, as package names.
HOST_PACKAGES="
	bc binutils bison busybox-static ca-certificates cpio cppcheck
	debian-archive-keyring dpkg-dev dwarves flex g++ gcc gcc-12 git isolinux kmod
	libc6-dev libcmocka-dev libelf-dev libnl-3-dev libnl-genl-3-dev
	libssl-dev make perl pkg-config python3 python3-docutils
	qemu-system-x86 rsync shellcheck sparse syslinux-common util-linux
	xorriso xz-utils zlib1g-dev zstd"

have_package()
{
	local status

	# A name may be provided by a successor, like pkg-config by pkgconf:
	# dpkg-query knows the transitional package, so this is enough.
	status=$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) || return 1
	[ "$status" = installed ]
}

setup_host_packages()
{
	local p missing=()

	for p in $HOST_PACKAGES; do
		have_package "$p" || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		die "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
	fi
	export DEBIAN_FRONTEND=noninteractive
	quietly "updating the package lists" "$OUT/logs/apt-update.log" \
		apt-get update
	quietly "installing ${#missing[@]} packages: ${missing[*]}" \
		"$OUT/logs/apt-install.log" \
		apt-get install -y --no-install-recommends "${missing[@]}"
}

# An apt of our own for one Debian release, which knows nothing of what is
# installed on this machine.  It asks the mirror that this machine asks: the
# addresses come from apt's own view of its sources, in whichever form they
# are written.
#
# apt_opt RELEASE: sets APT_OPT
apt_opt()
{
	local dir=$CACHE/apt/$1

	APT_OPT=(
		-o "Dir::State=$dir" -o "Dir::State::Lists=$dir/lists"
		-o "Dir::State::Status=$dir/status" -o "Dir::Cache=$dir/cache"
		-o "Dir::Etc::SourceList=$dir/sources.list"
		-o "Dir::Etc::SourceParts=/dev/null"
		-o "Dir::Etc::Preferences=/dev/null"
		-o "Dir::Etc::PreferencesParts=/dev/null"
		-o "APT::Sandbox::User=root"
		-o "APT::Architecture=amd64" -o "APT::Architectures=amd64"
		-o "APT::Install-Recommends=false" -o "Debug::NoLocking=true"
		-o "Acquire::Retries=3" -o "Acquire::Languages=none"
	)
}

mirror_uri()
{
	# The first address whose Release file says "Debian", or
	# "Debian-Security": the suites' names would not tell them from the
	# many third parties that use the same ones.
	# (NO_BIN, because a machine set up from an image may have no lists.)
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		"Created-By: Packages" "Component: main" |
		awk -F'|' -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }'
}

apt_release_locked()
{
	local rel=$1 dir=$CACHE/apt/$1 main security keyring signed=

	apt_opt "$rel"
	# A day is what apt itself takes for fresh.
	if [ -n "$(find "$dir/stamp" -mtime -1 2>/dev/null)" ]; then
		return 0
	fi
	main=$(mirror_uri Debian)
	if [ -z "$main" ]; then
		[ "$(id -u)" -eq 0 ] || die "apt has no package lists; as root: apt-get update"
		quietly "updating the package lists" "$OUT/logs/apt-update.log" \
			apt-get update
		main=$(mirror_uri Debian)
	fi
	[ -n "$main" ] || die "apt's sources name no Debian archive"
	security=$(mirror_uri Debian-Security)
	# A machine without the security archive: it is the main one's neighbour.
	[ -n "$security" ] || security=${main%/}-security/

	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ ! -e "$keyring" ] || signed="[signed-by=$keyring]"
	cat >"$dir/sources.list" <<-END
		deb $signed $main $rel main
		deb $signed $main $rel-updates main
		deb $signed $security $rel-security main
	END
	# The source of Bochs, and of nothing else.
	[ "$rel" != trixie ] ||
		echo "deb-src $signed $main $rel main" >>"$dir/sources.list"
	quietly "reading the package lists of $rel" "$OUT/logs/apt-$rel.log" \
		apt-get "${APT_OPT[@]}" update
	touch "$dir/stamp"
}

apt_release()
{
	apt_opt "$1"
	locked "apt-$1" apt_release_locked "$1"
}

# fetch_debs RELEASE PACKAGE...: download what is not there yet; sets DEBS.
# A package is named as apt names it; =VERSION may follow.
fetch_debs()
{
	local rel=$1 line url file size todo=() dir

	shift
	apt_opt "$rel"
	DEBS=()
	mkdir -p "$CACHE/debs"
	while read -r url file size _; do
		[ -n "$url" ] || continue
		file=${file//%3a/:}
		DEBS+=("$CACHE/debs/$file")
		if [ "$(stat -c %s "$CACHE/debs/$file" 2>/dev/null)" != "$size" ]; then
			todo+=("${file%%_*}")
		fi
	done < <(apt-get "${APT_OPT[@]}" --print-uris download "$@" | tr -d "'")
	[ ${#DEBS[@]} -ge $# ] || die "$rel does not have all of: $*"
	[ ${#todo[@]} -gt 0 ] || return 0

	dir=$(mktemp -d "$CACHE/debs/part.XXXXXX")
	# An interrupted download leaves its directory; it is of no use to
	# the next one.
	find "$CACHE/debs" -maxdepth 1 -name 'part.*' -mmin +120 -exec rm -rf {} +
	local want=()
	for line in "$@"; do
		case " ${todo[*]} " in *" ${line%%=*} "*) want+=("$line") ;; esac
	done
	(
		cd "$dir" || exit
		quietly "downloading ${#want[@]} packages: ${want[*]:0:4}$([ ${#want[@]} -le 4 ] || echo ' ...')" \
			"$OUT/logs/download.log" \
			apt-get "${APT_OPT[@]}" download "${want[@]}"
		for line in *.deb; do
			mv -f "$line" "$CACHE/debs/$(printf %s "${line//%3a/:}")"
		done
	)
	rmdir "$dir"
}

# The tree that a package and all it depends on make, as dpkg would unpack
# it, without running anything: no privilege, no mount and no device node is
# needed, and the files are Debian's own.
unpack_closure_locked()
{
	local rel=$1 dest=$2 d names tmp

	shift 2
	[ ! -e "$dest/.complete" ] || return 0
	apt_release "$rel"
	mapfile -t names < <(apt-get "${APT_OPT[@]}" -s install "$@" |
		awk '$1 == "Inst" { print $2 }')
	[ ${#names[@]} -gt 0 ] || die "apt cannot resolve $* in $rel"
	fetch_debs "$rel" "${names[@]}"
	tmp=$dest.part
	rm -rf "$tmp" "$dest"
	mkdir -p "$tmp/usr"
	# Debian's merged /usr.
	for d in bin sbin lib lib64; do
		mkdir -p "$tmp/usr/$d"
		ln -s "usr/$d" "$tmp/$d"
	done
	say "unpacking ${#DEBS[@]} packages of $rel ($*)"
	for d in "${DEBS[@]}"; do
		dpkg-deb --fsys-tarfile "$d" |
			tar -x -C "$tmp" --keep-directory-symlink --no-same-owner \
				--exclude=./usr/share/doc --exclude=./usr/share/man \
				--exclude=./usr/share/locale
	done
	mkdir -p "$tmp"/{proc,sys,dev,tmp,run,mnt}
	touch "$tmp/.complete"
	mv "$tmp" "$dest"
}

# Kernels ------------------------------------------------------------------

# After setup_kernel K, $CACHE/kernels/K is a link to a directory with
#   release    the release string
#   vmlinuz
#   kdir       headers to build modules against
#   modules/   lib/modules/RELEASE: what the emulated host needs, decompressed
#   System.map, config

# What the emulated host may load; what they depend on comes along.
# (msr is for its guest.)
MODULES_WANTED="kvm kvm-amd kvm-intel virtio_pci 9p 9pnet_virtio msr virtio_balloon virtio_blk virtio_net zram"

setup_kernel_locked()
{
	local k=$1 meta_image meta_headers image headers more dir tmp rel f version hdr

	# Unpacked by a rig that wanted other modules: once more.
	[ "$(cat "$CACHE/kernels/$k/wanted" 2>/dev/null)" != "$MODULES_WANTED" ] || return 0
	apt_release bookworm
	case $k in
	6.1)
		meta_image=linux-image-amd64
		meta_headers=linux-headers-amd64
		;;
	6.12)
		meta_image=linux-image-6.12-amd64
		meta_headers=linux-headers-6.12-amd64
		;;
	esac
	image=$(apt_dep "$meta_image" '^linux-image-')
	headers=$(apt_dep "$meta_headers" '^linux-headers-')
	if [ -z "$image" ] || [ -z "$headers" ]; then
		die "bookworm has no kernel $k"
	fi
	[ "${image#linux-image-}" = "${headers#linux-headers-}" ] ||
		die "the mirror has $image but $headers: try again later"
	more=$(apt_dep "$headers" '^linux-(headers-.*-common|kbuild-)')
	rel=${image#linux-image-}
	# shellcheck disable=SC2086 # a list
	fetch_debs bookworm "$image" "$headers" $more
	version=$(dpkg-deb -f "${DEBS[0]}" Version)
	dir=$CACHE/kernels/$rel-$version
	tmp=$dir.part
	rm -rf "$tmp" "$dir"
	mkdir -p "$tmp/root"
	say "unpacking Linux $rel"
	for f in "${DEBS[@]}"; do
		dpkg-deb -x "$f" "$tmp/root"
	done

	# The headers refer to each other by the place where dpkg would have
	# put them.
	hdr=$tmp/root/usr/src/$headers
	sed -i "s|/usr/src/|$dir/root/usr/src/|" "$hdr/Makefile"
	ln -s "root/usr/src/$headers" "$tmp/kdir"
	mv "$tmp/root/boot/vmlinuz-$rel" "$tmp/vmlinuz"
	mv "$tmp/root/boot/System.map-$rel" "$tmp/System.map"
	mv "$tmp/root/boot/config-$rel" "$tmp/config"
	pick_modules "$tmp/root" "$rel" "$tmp/modules"
	rm -rf "$tmp/root/lib/modules"
	echo "$MODULES_WANTED" >"$tmp/wanted"
	echo "$rel" >"$tmp/release"
	mv "$tmp" "$dir"
	ln -sfn "$rel-$version" "$CACHE/kernels/$k"
}

# apt_dep PACKAGE REGEX: names of its dependencies that match
apt_dep()
{
	apt-cache "${APT_OPT[@]}" depends "$1" 2>/dev/null |
		awk -v re="$2" '$1 == "Depends:" && $2 ~ re { print $2 }'
}

# pick_modules ROOT RELEASE DEST: copy MODULES_WANTED and what they need
pick_modules()
{
	local root=$1 rel=$2 dest=$3 m f

	depmod -b "$root" "$rel"
	mkdir -p "$dest/lib/modules/$rel"
	# What is built in, or not there, is not shown as a file.
	for m in $MODULES_WANTED; do
		modprobe -d "$root" -S "$rel" --show-depends "$m" || :
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r f; do
		cp "$f" "$dest/lib/modules/$rel/"
	done
	find "$dest" -name '*.xz' -exec xz -d {} +
	cp "$root/lib/modules/$rel"/modules.{builtin,order} "$dest/lib/modules/$rel/"
	depmod -b "$dest" "$rel" 2>/dev/null
}

setup_kernel()
{
	check_kernel "$1"
	if [ "$1" = debug ]; then
		setup_debug_kernel
	else
		locked "kernel-$1" setup_kernel_locked "$1"
	fi
	KREL=$(cat "$CACHE/kernels/$1/release")
	KDIR=$CACHE/kernels/$1/kdir
}

# The debug kernel: Debian's source and a configuration of our own.  Built once
# for each version of the two and the compiler.
setup_debug_kernel()
{
	setup_source 6.12
	locked kernel-debug setup_debug_kernel_locked
}

setup_debug_kernel_locked()
{
	local src=$CACHE/linux-source-6.12 key dir rel line want

	key=$({
		cat "$src/.debian-version" "$RIG_DIR/debug.config"
		gcc --version
		pahole --version
	} | sha256sum | cut -c1-16)
	dir=$CACHE/kernels/debug-$key
	if [ ! -e "$dir/release" ]; then
		mkdir -p "$dir/build"
		quietly "configuring the debug kernel" "$OUT/logs/debug-config.log" \
			debug_config "$src" "$dir/build"
		# A line of the fragment that did not make it would be a checker
		# that we only believe in.
		want=$(grep -E '^(CONFIG_.*=|# CONFIG_.* is not set)' "$RIG_DIR/debug.config" |
			while read -r line; do
				case $line in
				'#'*) ! grep -q "^$(cut -d' ' -f2 <<<"$line")=" "$dir/build/.config" || echo "$line" ;;
				*) grep -qxF "$line" "$dir/build/.config" || echo "$line" ;;
				esac
			done)
		[ -z "$want" ] || die "the debug kernel's configuration has lost: $want"
		quietly "building the debug kernel (some 6 minutes on 2 CPUs)" \
			"$OUT/logs/debug-build.log" \
			nice make -C "$src" O="$dir/build" -j"$JOBS" bzImage modules
		quietly "installing the debug kernel's modules into the cache" \
			"$OUT/logs/debug-install.log" \
			make -C "$src" O="$dir/build" INSTALL_MOD_PATH="$dir/root" \
			INSTALL_MOD_STRIP=1 modules_install
		rel=$(cat "$dir/build/include/config/kernel.release")
		cp "$dir/build/arch/x86/boot/bzImage" "$dir/vmlinuz"
		cp "$dir/build/System.map" "$dir/"
		cp "$dir/build/.config" "$dir/config"
		pick_modules "$dir/root" "$rel" "$dir/modules"
		rm -rf "$dir/root"
		ln -sfn build "$dir/kdir"
		echo "$rel" >"$dir/release"
	fi
	ln -sfn "debug-$key" "$CACHE/kernels/debug"
}

debug_config()
{
	make -C "$1" O="$2" tinyconfig &&
		(cd "$2" && "$1/scripts/kconfig/merge_config.sh" -m .config "$RIG_DIR/debug.config") &&
		make -C "$1" O="$2" olddefconfig
}

# The emulators and the guest's surroundings ---------------------------------

# Bochs is Debian 13's source with what is in bochs/*.patch: see there.
# Debian's binary has a display library that either needs a terminal, on which
# it hangs once nobody reads what it shows, or listens on the network.
# "nogui" needs nothing; and it does not sleep when the emulated machine idles.
BOCHS_CONFIGURE="
	--enable-smp --enable-cpu-level=6 --enable-x86-64 --enable-long-phy-address
	--enable-vmx=2 --enable-svm --enable-avx --enable-evex --enable-pci
	--enable-monitor-mwait --enable-x86-debugger --enable-all-optimizations
	--disable-docbook --with-nogui --without-x"

# Sets BOCHS, the directory of the program and the BIOSes.
setup_bochs()
{
	local key

	key=$({
		cat "$RIG_DIR"/bochs/*.patch
		echo "$BOCHS_CONFIGURE"
		g++ --version
	} | sha256sum | cut -c1-16)
	BOCHS=$CACHE/bochs-$key
	locked "bochs-$key" build_bochs_locked
}

build_bochs_locked()
{
	local tmp=$BOCHS.part d

	[ ! -e "$BOCHS/bochs" ] || return 0
	apt_release trixie
	fetch_debs trixie bochsbios vgabios
	rm -rf "$tmp"
	mkdir -p "$tmp/root"
	for d in "${DEBS[@]}"; do
		dpkg-deb --fsys-tarfile "$d" | tar -x -C "$tmp/root" --no-same-owner
	done
	cp "$tmp/root/usr/share/bochs/BIOS-bochs-latest" "$tmp/bios"
	cp "$tmp/root/usr/share/vgabios/vgabios.bin" "$tmp/vgabios"
	rm -rf "$tmp/root"
	quietly "downloading the source of Bochs" "$OUT/logs/bochs-source.log" \
		bochs_source "$tmp"
	# shellcheck disable=SC2016 # expanded by that shell
	quietly "building Bochs (a minute and a half on 2 CPUs)" \
		"$OUT/logs/bochs-build.log" nice bash -ec '
			cd "$1/src"
			for p in "$2"/*.patch; do patch -p1 <"$p"; done
			./configure $3 CFLAGS="-O2 -w" CXXFLAGS="-O2 -w"
			make -j"$4" bochs
			strip -o "$1/bochs" bochs
		' bash "$tmp" "$RIG_DIR/bochs" "$BOCHS_CONFIGURE" "$JOBS"
	rm -rf "$tmp/src" "$tmp"/bochs_*
	rm -rf "$BOCHS"
	mv "$tmp" "$BOCHS"
}

# bochs_source DIR: its source, into DIR/src
bochs_source()
{
	cd "$1" &&
		apt-get "${APT_OPT[@]}" source --tar-only --download-only --only-source bochs &&
		mkdir src && tar -x -f bochs_*.tar.* -C src --strip-components=1
}

setup_rootfs()
{
	locked rootfs unpack_closure_locked bookworm "$ROOTFS" \
		qemu-system-x86 dash coreutils gdb-minimal
}

# Debian's kernel source: for checkpatch.pl, lib.mk and the debug kernel.
setup_source_locked()
{
	local k=$1 tmp

	[ ! -e "$CACHE/linux-source-$k/Makefile" ] || return 0
	apt_release bookworm
	fetch_debs bookworm "linux-source-$k"
	tmp=$CACHE/linux-source-$k.part
	rm -rf "$tmp"
	mkdir -p "$tmp"
	say "unpacking the source of Linux $k"
	dpkg-deb --fsys-tarfile "${DEBS[0]}" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc -T0 | tar -x -C "$tmp" --strip-components=1
	dpkg-deb -f "${DEBS[0]}" Version >"$tmp/.debian-version"
	rm -rf "$CACHE/linux-source-$k"
	mv "$tmp" "$CACHE/linux-source-$k"
}

setup_source()
{
	locked "source-$1" setup_source_locked "$1"
}

rig_setup()
{
	local what

	[ $# -gt 0 ] || set -- 6.1 6.12 bochs rootfs source debug
	setup_host_packages
	for what; do
		case $what in
		packages) ;;
		bochs) setup_bochs ;;
		rootfs) setup_rootfs ;;
		source) setup_source 6.12 ;;
		*) setup_kernel "$what" ;;
		esac
	done
}
