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
	put_guest 6.12
	put_initrd amd 6.12 "RIG_HOST=amd" "RIG_KERNEL=6.12" "RIG_SHARE=y" \
		"RIG_VALUE=$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')"
	say "booting the emulated host"
	boot amd 6.12 240 --share --live
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
