# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What "make check", "rows", "check-debug" and "lint" do.
#
# Each leaves its "N passed, N failed, N skipped" in $OUT/counts, for the
# closing line of .ci/run.

# sum_counts: of such lines, their sum in the same form
sum_counts()
{
	awk '{ for (i = 1; i < NF; i++) {
			word = $(i + 1); sub(/,$/, "", word)
			if (word ~ /^(passed|failed|skipped)$/) n[word] += $i
		} }
		END { printf "%d passed, %d failed, %d skipped\n",
			n["passed"], n["failed"], n["skipped"] }'
}

# print_failed NAME...: once more what the runs said when they ended, which may be long ago
print_failed()
{
	local name

	for name; do
		if [ -e "$OUT/results/$name.failed" ]; then
			sed "s/^/$name: /" "$OUT/results/$name.failed"
		elif [ -e "$OUT/results/$name.count" ]; then
			echo "$name: FAILED before its verdict"
		fi
	done
}

# conclude NAME: print the sum of the lines on standard input, remember it,
# and fail if it holds a failure.
conclude()
{
	local sum

	sum=$(sum_counts)
	mkdir -p "$OUT/counts"
	echo "$sum" >"$OUT/counts/$1"
	echo "$sum"
	[[ $sum == *" 0 failed"* ]]
}

# unit NAME COMMAND...: something that prints TAP on this machine; its counts
# go to $OUT/results/NAME.count.
unit()
{
	local name=$1 rc=0 ok bad skipped log

	shift
	log=$OUT/logs/$name.log
	say "$name"
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	skipped=$(grep -cE '^ok .*# *SKIP' "$log" || :)
	ok=$(($(grep -cE '^ok ' "$log" || :) - skipped))
	bad=$(grep -cE '^not ok ' "$log" || :)
	# Something else went wrong: it is a failure too.
	[ "$rc" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ "$ok" -gt 0 ] || [ "$bad" -gt 0 ] || bad=1
	mkdir -p "$OUT/results"
	: >"$OUT/results/$name.failed"
	[ "$bad" -eq 0 ] ||
		grep -E '^not ok|rror' "$log" | sed "s/^/FAILED /" >"$OUT/results/$name.failed" || :
	sed "s/^/$name: /" "$OUT/results/$name.failed"
	echo "$ok passed, $bad failed, $skipped skipped" >"$OUT/results/$name.count"
	echo "$name: $ok passed, $bad failed, $skipped skipped"
}

# several_runs NAME...: "rig run" for each HOST-KERNEL[+PART], two at a time; results
# and counts are left in $OUT/results.
several_runs()
{
	local name k

	for name; do
		rm -f "$OUT/results/$name".*
	done
	# A run that breaks before its verdict has no count: noticed below.
	for name; do
		k=${name##*-}
		# xargs would take a blank at its end for "the line goes on".
		printf '%s %s%s\n' "${name%-*}" "${k%+*}" \
			"$([ "$k" = "${k%+*}" ] || echo " --part ${k#*+}")"
	done | xargs -P "$SLOTS" -L 1 "$RIG_DIR/rig" run || :
	for name; do
		[ -e "$OUT/results/$name.count" ] ||
			echo "0 passed, 1 failed, 0 skipped" >"$OUT/results/$name.count"
	done
}

rig_check()
{
	local names=(selftest-rig libkvmi) runs=() h k

	setup_host_packages
	mkdir -p "$OUT/results"
	rm -f "$OUT/results"/*
	unit selftest-rig "$RIG_DIR/selftest.sh"
	unit libkvmi make -s -C "$TREE/libkvmi" OUTPUT="$OUT/libkvmi-check" check

	for k in $ALL_KERNELS; do
		setup_kernel "$k"
		locked "build-$k" build_module "$k"
	done
	locked build-user build_user
	setup_bochs
	setup_rootfs
	# The slow ones first.
	for h in intel amd-strict amd; do
		[[ " $ALL_HOSTS " == *" $h "* ]] || continue
		for k in $ALL_KERNELS; do
			runs+=("$h-$k")
		done
	done
	several_runs "${runs[@]}"
	print_failed "${names[@]}" "${runs[@]}"
	for k in "${names[@]}" "${runs[@]}"; do
		cat "$OUT/results/$k.count"
	done | conclude check
}

rig_rows()
{
	local rc=0

	[ -d "$OUT/results" ] || die "no results: run make check first"
	python3 "$RIG_DIR/rows.py" --list "$TREE/selftests/rows.list" \
		--results "$OUT/results" --hosts "$ALL_HOSTS" --kernels "$ALL_KERNELS" \
		--need "${ROWS:-}" --json "${ROWS_JSON:-}" >"$OUT/logs/rows.log" || rc=$?
	# Its last line counts cells, which are no tests; only what failed
	# goes into the closing line.
	sed '$d' "$OUT/logs/rows.log"
	mkdir -p "$OUT/counts"
	sed -n '$s/.* \([0-9]* failed\).*/0 passed, \1, 0 skipped/p' "$OUT/logs/rows.log" \
		>"$OUT/counts/rows"
	return "$rc"
}

rig_check_debug()
{
	local runs=() h n

	# In parts, so that both CPUs have something to do until the end.
	for h in amd-debug+1of3 intel-debug amd-debug+2of3 amd-debug+3of3; do
		[[ " $ALL_HOSTS " != *" ${h%-*} "* ]] || runs+=("$h")
	done

	setup_host_packages
	setup_kernel debug
	locked build-debug build_module debug
	locked build-user build_user
	setup_bochs
	setup_rootfs
	setup_kernel 6.12
	several_runs "${runs[@]}"
	print_failed "${runs[@]}"
	for n in "${runs[@]}"; do
		cat "$OUT/results/$n.count"
	done | conclude check-debug
}

# A Linux guest under load, watched with everything, on each vendor.
rig_soak()
{
	local host rc=0

	export SOAK=${SOAK:-10}
	for host in amd intel; do
		[[ " $ALL_HOSTS " != *" $host "* ]] ||
			rig_run "$host" 6.12 --tests "workload.sh kinds" || rc=1
	done
	return "$rc"
}
