# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The emulated hosts: a run directory, its initrd, and the two emulators.
#
# A run directory holds
#   initrd/       what is added to the modules of the kernel
#   serial        what the run printed (second serial port)
#   console       what the kernel printed (first serial port)
#   emulator.log  what the emulator itself had to say

# At most this many emulators at a time on this machine, over all rigs.
SLOTS=${KVMI_SLOTS:-2}

take_slot()
{
	local i fd told=

	while :; do
		for i in $(seq "$SLOTS"); do
			exec {fd}>"$CACHE/locks/slot-$i"
			if flock -n "$fd"; then
				SLOT_FD=$fd
				return 0
			fi
			exec {fd}>&-
		done
		[ -n "$told" ] || say "waiting: $SLOTS emulators are running already"
		told=y
		sleep 1
	done
}

give_slot()
{
	exec {SLOT_FD}>&-
}

# new_run NAME: an empty run directory; sets RUN.  Runs of the same name at
# the same time would share it, which the lock that is kept open prevents.
new_run()
{
	local fd

	exec {fd}>"$CACHE/locks/run-$(printf %s "$OUT/$1" | tr / _)"
	flock "$fd"
	RUN=$OUT/runs/$1
	rm -rf "$RUN"
	mkdir -p "$RUN/initrd/rig/bin"
	: >"$RUN/serial"
	: >"$RUN/console"
}

# put_initrd HOST KERNEL VAR=VALUE...: write the initrd of RUN
put_initrd()
{
	local host=$1 k=$2 d=$RUN/initrd v p

	shift 2
	mkdir -p "$d/bin" "$d/lib" "$d/etc"
	cp -L "$(command -v busybox)" "$d/bin/busybox"
	cp "$RIG_DIR/guest/init" "$d/init"
	cp "$RIG_DIR/guest/functions" "$d/rig/"
	cp -a "$CACHE/kernels/$k/modules/lib/modules" "$d/lib/"
	# A signature costs Bochs eight seconds, for KVM alone.
	[ "$host" = amd ] || python3 "$RIG_DIR/unsign.py" "$d"/lib/modules/*/*.ko
	[ -z "${MODULE:-}" ] || strip -g -o "$d/rig/kvmi.ko" "$MODULE"
	while read -r p; do
		cp "$p" "$d/rig/bin/"
	done < <(user_programs)
	cp "$TREE"/selftests/scripts/*.sh "$d/rig/bin/"
	echo 'root:x:0:0:root:/:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh' >"$d/etc/passwd"
	echo 'root:x:0:' >"$d/etc/group"
	for v; do
		printf "export %s='%s'\n" "${v%%=*}" "${v#*=}"
	done >"$d/rig/env"
	(cd "$d" && find . -print0 | cpio -0 -o -H newc -R 0:0 --quiet) |
		gzip -1 >"$RUN/initrd.gz"
	rm -rf "$d"
}

# boot HOST KERNEL TIMEOUT [--smp N] [--mem SIZE] [--share] [--icount] [--live]
# [--append ARGS]: run the emulator on RUN until the host powers off.  Sets
# STATUS to what the run's main script returned, "timeout", or "died".
boot()
{
	local host=$1 k=$2 limit=$3 rc=0 pid tails=() append=
	local smp='' mem=2048 share='' icount='' live=''

	shift 3
	while [ $# -gt 0 ]; do
		case $1 in
		--smp) smp=$2; shift ;;
		--mem) mem=$2; shift ;;
		--append) append=$2; shift ;;
		--share) share=y ;;
		--icount) icount=y ;;
		--live) live=y ;;
		*) die "boot: $1?" ;;
		esac
		shift
	done
	# Bochs interleaves two CPUs well; TCG does not, see start_qemu().
	if [ -z "$smp" ]; then
		smp=2
		[ "$host" != amd ] || smp=1
	fi

	# loglevel=5: warnings and worse reach the console as they happen; the
	# rest of the log is printed at the end.  An oops ends the run at once.
	# The TSCs are one, whatever a watchdog says that comes late where this machine
	# is busy: KVM would keep guests' TSCs by other means.
	append="console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable $append"

	take_slot
	if [ -n "$live" ]; then
		tail -n +1 -q -F --pid=$$ "$RUN/console" "$RUN/serial" 2>/dev/null &
		tails+=($!)
	fi
	case $host in
	amd) start_qemu ;;
	*) start_bochs ;;
	esac
	wait "$pid" || rc=$?
	# What was written last must get through the pipes.
	if [ ${#tails[@]} -gt 0 ]; then
		sleep 1
		kill "${tails[@]}" 2>/dev/null || :
		wait "${tails[@]}" 2>/dev/null || :
	fi
	give_slot

	STATUS=$(tr -d '\r' <"$RUN/serial" | sed -n 's/^rig: exit \([0-9]*\)$/\1/p' | tail -n 1)
	if [ -z "$STATUS" ]; then
		STATUS=died
		# 124 and 137 are timeout(1)'s.
		case $rc in 124 | 137) STATUS=timeout ;; esac
	fi
}

# nudge: a byte each second, which the host receives and drops.  QEMU 7.2 loses an
# interrupt once in many hours: the CPU's thread notes a virtual one for VMRUN in the
# word in which the other thread says that there is one in the LAPIC, without a lock.
# If that was the timer's, and the guest spins with interrupts off, nothing ever comes
# again.  The next interrupt of whatever kind has QEMU look anew.
nudge()
{
	while sleep 1; do
		printf '\n'
	done 2>/dev/null
}

# Both are called by boot and use its variables.
start_qemu()
{
	local cmd=(
		qemu-system-x86_64 -accel tcg -m "$mem" -smp "$smp"
		# What the inner QEMU's "-cpu host" guest wants of the CPU.
		-cpu "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16"
		-display none -monitor none -no-reboot -nodefaults
		-serial "file:$RUN/console"
		-chardev "stdio,id=serial,signal=off" -serial chardev:serial
		-kernel "$CACHE/kernels/$k/vmlinuz" -initrd "$RUN/initrd.gz"
		-append "$append"
	)

	if [ -n "$share" ]; then
		cmd+=(-virtfs "local,path=$ROOTFS,mount_tag=debian,security_model=none,readonly=on,multidevs=remap")
	fi
	if [ -n "$icount" ]; then
		cmd+=(-icount "shift=0,sleep=off" -rtc "base=2026-01-01T00:00:00,clock=vm")
	elif [ "$smp" -gt 1 ]; then
		# Counting instructions runs all CPUs on one thread, and takes
		# turns at every timer. With a thread for each, TCG may keep
		# running an instruction that another CPU has patched meanwhile:
		# stock kernels die of a stray int3 when they switch a static
		# key. On one thread without counting, turns take 100 ms, and an
		# IPI to a CPU in a guest as long. A debug kernel executes many
		# times as much in the same time of its own.
		case $k in
		debug*) cmd+=(-icount "shift=1,sleep=off") ;;
		*) cmd+=(-icount "shift=4,sleep=off") ;;
		esac
	fi
	# What counts instructions is to be the same each time, and has one thread.
	if [[ " ${cmd[*]} " == *" -icount "* ]]; then
		timeout -k 5 "$limit" "${cmd[@]}" >"$RUN/serial" 2>"$RUN/emulator.log" \
			</dev/null &
	else
		timeout -k 5 "$limit" "${cmd[@]}" >"$RUN/serial" 2>"$RUN/emulator.log" \
			< <(nudge) &
	fi
	pid=$!
}

start_bochs()
{
	local model cpus

	case $host in
	intel) model=corei7_haswell_4770 ;;
	amd-strict) model=ryzen ;;
	esac
	[ "$mem" -le 2048 ] || die "Bochs has 2 GiB at most"
	cpus="nosmp"
	[ "$smp" -eq 1 ] || cpus="maxcpus=$smp"

	mkdir -p "$RUN/iso"
	cp "$CACHE/kernels/$k/vmlinuz" "$RUN/iso/vmlinuz"
	mv "$RUN/initrd.gz" "$RUN/iso/initrd.gz"
	cp /usr/lib/ISOLINUX/isolinux.bin "$RUN/iso/"
	cp /usr/lib/syslinux/modules/bios/ldlinux.c32 "$RUN/iso/"
	# KVM's mitigations cost emulated time and show nothing here.
	cat >"$RUN/iso/isolinux.cfg" <<-END
		default linux
		label linux
		kernel vmlinuz
		append initrd=initrd.gz $append nokaslr mitigations=off $cpus
	END
	xorriso -as mkisofs -quiet -o "$RUN/boot.iso" -b isolinux.bin -c boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$RUN/iso" \
		>"$RUN/emulator.log" 2>&1
	rm -rf "$RUN/iso"

	# ips: how many instructions make an emulated second.  With many more,
	# idling takes long; with fewer, host's and guest's timer ticks eat up
	# what is executed.  As it is, an emulated second is about a real one.
	cat >"$RUN/bochsrc" <<-END
		config_interface: textconfig
		display_library: nogui
		romimage: file=$BOCHS/bios
		vgaromimage: file=$BOCHS/vgabios
		memory: guest=$mem, host=$mem
		cpu: model=$model, count=$smp, quantum=16, reset_on_triple_fault=0, ignore_bad_msrs=1, ips=60000000
		clock: sync=none, time0=1767225600
		ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
		ata0-master: type=cdrom, path=$RUN/boot.iso, status=inserted
		boot: cdrom
		com1: enabled=1, mode=file, dev=$RUN/console
		com2: enabled=1, mode=file, dev=$RUN/serial
		log: $RUN/bochs.log
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		debug: action=ignore
	END
	timeout -k 5 "$limit" "$BOCHS/bochs" -q -f "$RUN/bochsrc" \
		>>"$RUN/emulator.log" 2>&1 </dev/null &
	pid=$!
}
