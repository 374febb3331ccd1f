# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# "make demo" and "make bench": one boot each, on the AMD host.

rig_demo()
{
	local rc=0 start=$SECONDS

	setup_host_packages
	setup_kernel 6.12
	setup_rootfs
	locked build-6.12 build_module 6.12
	locked build-user build_user
	new_run demo
	cp "$RIG_DIR/guest/demo" "$RUN/initrd/rig/main"
	put_guest 6.12 y
	put_initrd amd 6.12 "RIG_HOST=amd" "RIG_KERNEL=6.12" "RIG_SHARE=y" \
		"RIG_VALUE=$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')"
	say "booting the emulated host"
	# One CPU needs no counting of instructions, see start_qemu().
	boot amd 6.12 240 --smp 1 --share --live
	cp "$RUN/serial" "$OUT/logs/demo.log"
	cat "$RUN/console" >>"$OUT/logs/demo.log"
	# Also when it went well to look at: what did the kernels say?
	: >"$RUN/expect"
	python3 "$RIG_DIR/judge.py" --host amd --kernel 6.12 --status "$STATUS" \
		--serial "$RUN/serial" --console "$RUN/console" \
		--expect "$RUN/expect" --permitted "$TREE/selftests/permitted-skips" \
		--allowed "$RIG_DIR/allowed-lines" --json "$RUN/json" \
		>"$RUN/verdict" || rc=1
	sed '$d' "$RUN/verdict"
	rm -rf "$RUN"
	if [ "$rc" -eq 0 ]; then
		say "demo: done in $((SECONDS - start)) s: all as it has to be"
	else
		say "demo: FAILED (status $STATUS); log: $OUT/logs/demo.log"
	fi
	return "$rc"
}

# bench_run HOST CPUS PROGRAM...: run them; the log is $OUT/logs/bench-HOST-CPUS.log
bench_run()
{
	local host=$1 cpus=$2 opts=() name

	name=bench-$host-$cpus
	shift 2
	new_run "$name"
	cp "$RIG_DIR/guest/bench" "$RUN/initrd/rig/main"
	put_initrd "$host" 6.12 "RIG_HOST=$host" "RIG_KERNEL=6.12" "RIG_SHARE=" \
		"RIG_BENCH=$*"
	# One CPU, whose TSC counts instructions: the same figures on every
	# machine.  Bochs runs several in lockstep, and is as deterministic.
	opts=(--smp "$cpus")
	[ "$host" != amd ] || opts+=(--icount)
	# The kernel's mitigations depend on the CPU's model, which is of no
	# meaning here: the figures are without.
	opts+=(--append "${BENCH_APPEND-mitigations=off}")
	say "bench: booting $host for: $*"
	boot "$host" 6.12 900 "${opts[@]}"
	{
		tr -d '\r' <"$RUN/serial"
		tr -d '\r' <"$RUN/console"
	} >"$OUT/logs/$name.log"
	rm -rf "$RUN"
	if [ "$STATUS" != 0 ]; then
		say "bench: $host: FAILED (status $STATUS); log: $OUT/logs/$name.log"
		return 1
	fi
}

# bench_programs CPUS: programs of the selftests called bench_*; those called
# bench_smp_* need two CPUs, those called bench_smp4_* four.
bench_programs()
{
	local p

	user_programs | while read -r p; do
		case ${p##*/} in
		bench_smp_*) echo 2 "${p##*/}" ;;
		bench_smp4_*) echo 4 "${p##*/}" ;;
		bench_*) echo 1 "${p##*/}" ;;
		esac
	done | sed -n "s/^$1 //p"
}

# Those that need more than one CPU run on the Intel host.
rig_bench()
{
	local rc=0 cpus host programs logs=()

	setup_host_packages
	setup_kernel 6.12
	locked build-6.12 build_module 6.12
	locked build-user build_user
	rm -f "$OUT"/logs/bench-*.log
	for cpus in 1 2 4; do
		mapfile -t programs < <(bench_programs "$cpus")
		[ ${#programs[@]} -gt 0 ] || continue
		host=amd
		if [ "$cpus" -gt 1 ]; then
			host=intel
			setup_bochs
		fi
		bench_run "$host" "$cpus" "${programs[@]}" || rc=1
		logs+=("$OUT/logs/bench-$host-$cpus.log")
	done
	python3 "$RIG_DIR/bench.py" "$RIG_DIR/bench.limits" "${BENCH_JSON:-}" \
		"${logs[@]}" || rc=1
	return "$rc"
}
