# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Test runs: which tests, on which host, and what came of them.

# Lines of "program case ROW ROW..." for every test there is: the programs'
# own word for it.  Programs are taken from the selftests' makefile, scripts
# are those in selftests/scripts.
list_cases()
{
	local t f rows

	{
		if [ -e "$TREE/selftests/Makefile" ]; then
			make -s -C "$TREE/selftests" emit_tests
		fi
		for f in "$TREE"/selftests/scripts/*.sh; do
			[ ! -e "$f" ] || echo "${f##*/}"
		done
	} | while read -r t; do
		case $t in
		*.sh) f=$TREE/selftests/scripts/$t ;;
		*) f=$OUT/user/selftests/$t ;;
		esac
		if [ -x "$f" ] && rows=$("$f" --rows) && [ -n "$rows" ]; then
			printf '%s\n' "$rows" | sed "s|^|$t |"
		else
			# It is missed when it does not report.
			echo "$t"
		fi
	done
}

# select_cases PATTERNS: of such lines, those of the programs that match
select_cases()
{
	local prog rest p patterns

	read -ra patterns <<<"$1"
	while read -r prog rest; do
		for p in "${patterns[@]}"; do
			# shellcheck disable=SC2053 # a pattern it is
			if [[ $prog == $p ]]; then
				echo "$prog $rest"
				break
			fi
		done
	done
}

# select_part NofM: of such lines, those of each M-th program, from the N-th on
select_part()
{
	awk -v n="${1%of*}" -v m="${1#*of}" '
		!seen[$1]++ { nr++ }
		m == "" || nr % m == n % m'
}

# How much longer than on QEMU a test may take, in emulated seconds.
time_scale()
{
	case $1 in
	amd) echo 1 ;;
	*) echo 4 ;;
	esac
}

rig_run()
{
	local host k tests='*' opts=() limit='' name rc=0 share='' args=()
	local kmemleak='' mod=y slow='' soak part=''
	local append=''

	while [ $# -gt 0 ]; do
		case $1 in
		--tests) tests=$2; shift ;;
		--part) part=$2; shift ;;
		--smp | --mem) opts+=("$1" "$2"); shift ;;
		--append) append+=" $2"; shift ;;
		--timeout) limit=$2; shift ;;
		--nomod) mod= ;;
		-*) die "run: unknown option $1" ;;
		*) args+=("$1") ;;
		esac
		shift
	done
	[ ${#args[@]} -eq 2 ] ||
		die "usage: rig run HOST KERNEL [--tests GLOBS] [--part NofM] [--smp N] [--timeout S] [--append ARGS]"
	host=${args[0]} k=${args[1]}
	check_host "$host"
	check_kernel "$k"
	name=$host-$k${part:+"+$part"}
	# A kernel with KASAN under Bochs: what is the vendor's own, and no more,
	# or it would take hours.
	if [ "$host-$k" = intel-debug ] && [ "$tests" = '*' ]; then
		tests="events regs standin"
		# A second CPU that is idle takes as long as one that is not.
		opts=(--smp 1 "${opts[@]}")
	elif [ "$k" = debug ] && [ "$tests" = '*' ]; then
		tests=${KVMI_DEBUG_TESTS:-*}
	fi
	soak=$((${SOAK:-0} * 60))
	: "${limit:=$(($([ "$host" = amd ] && echo 3000 || echo 2400) + 2 * soak))}"
	if [ "$host" != amd ] || [ "$k" = debug ]; then
		slow=y
	fi

	setup_host_packages
	[ "$host" = amd ] || setup_bochs
	setup_kernel "$k"
	# Two nodes, for hostmem, which has memory moved between them. Of Bochs's Intel
	# CPUs 6.12 says that they are one core's, and warns if these are not on one node.
	[ "$host-$k" = intel-6.12 ] || append="numa=fake=2 numa_balancing=disable $append"
	MODULE=
	[ -z "$mod" ] || locked "build-$k" build_module "$k"
	locked build-user build_user
	# Bochs has no way to share a file system; and QEMU in a debug kernel
	# would take too long.
	if [ "$host" = amd ] && [ "$k" != debug ]; then
		setup_rootfs
		share=y
		opts+=(--share)
	fi
	[ "$k" != debug ] || kmemleak=y

	new_run "$name"
	list_cases >"$RUN/all"
	select_cases "$tests" <"$RUN/all" | select_part "$part" >"$RUN/expect"
	[ -s "$RUN/expect" ] || die "no test matches '$tests'"
	awk '!seen[$1]++ { print $1 }' "$RUN/expect" >"$RUN/tests"
	cp "$RUN/tests" "$RUN/initrd/rig/tests"
	cp "$RIG_DIR/guest/run-tests" "$RUN/initrd/rig/main"
	put_guest "$k" "$share"
	put_initrd "$host" "$k" "RIG_HOST=$host" "RIG_KERNEL=$k" "RIG_SHARE=$share" \
		"RIG_PROGRAM_TIMEOUT=$(((600 + soak) * $(time_scale "$host")))" \
		"KVMI_SOAK=$soak" "KVMI_CALLS=${KVMI_CALLS:-}" \
		"KTAP_TIMEOUT_SCALE=$(time_scale "$host")" \
		"KVMI_KO=/rig/kvmi.ko" "KTAP_SLOW=$slow" "RIG_KMEMLEAK=$kmemleak" "RIG_NOMOD=$([ -n "$mod" ] || echo y)"

	say "$name: booting; $(wc -l <"$RUN/tests") test programs"
	local start=$SECONDS watcher
	watch_run "$name" &
	watcher=$!
	boot "$host" "$k" "$limit" --append "$append" "${opts[@]}"
	kill "$watcher" 2>/dev/null || :
	wait "$watcher" 2>/dev/null || :

	mkdir -p "$OUT/results"
	python3 "$RIG_DIR/judge.py" --host "$host" --kernel "$k" --status "$STATUS" \
		--serial "$RUN/serial" --console "$RUN/console" \
		--expect "$RUN/expect" --permitted "$TREE/selftests/permitted-skips" \
		--allowed "$RIG_DIR/allowed-lines" --json "$OUT/results/$name.json" \
		>"$RUN/verdict" || rc=$?
	{
		echo "# $name: what the tests printed"
		tr -d '\r' <"$RUN/serial"
		echo "# $name: what the kernel printed"
		tr -d '\r' <"$RUN/console"
		if [ -s "$RUN/emulator.log" ]; then
			echo "# $name: what the emulator printed"
			cat "$RUN/emulator.log"
		fi
		echo "# $name: verdict"
		cat "$RUN/verdict"
	} >"$OUT/logs/$name.log"
	sed '$!d' "$RUN/verdict" >"$OUT/results/$name.count"
	sed "s/^/$name: /" "$RUN/verdict"
	sed '$d' "$RUN/verdict" >"$OUT/results/$name.failed"
	say "$name: done in $((SECONDS - start)) s; log: $OUT/logs/$name.log"
	rm -rf "$RUN"
	return "$rc"
}

# One line per test program, as they start.
watch_run()
{
	# The reader must go when the writer is gone.
	local t

	tail -n +1 -F --pid=$$ "$RUN/serial" 2>/dev/null |
		sed -un 's/\r$//; s/^# rig: start //p' |
		while read -r t; do
			say "$1: $t"
		done
}
