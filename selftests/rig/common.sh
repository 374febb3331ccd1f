# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every part of the rig needs: places, messages, locks, long commands.

RIG_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TREE=$(cd "$RIG_DIR/../.." && pwd)
CACHE=${KVMI_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kvmi}
# Its name changes with what is in it (setup_rootfs).
ROOTFS=$CACHE/debian-gdb
OUT=${KVMI_OUT:-$TREE/out}
JOBS=${KVMI_JOBS:-$(nproc)}

ALL_HOSTS=${KVMI_HOSTS:-"amd amd-strict intel"}
ALL_KERNELS="6.1 6.12"

# Perl and the kernel's scripts complain at length about a missing locale.
export LC_ALL=C

mkdir -p "$CACHE/locks" "$OUT/logs"

say()
{
	printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

die()
{
	printf 'rig: %s\n' "$*" >&2
	exit 1
}

# locked NAME COMMAND...: run a command, or wait for another rig that is
# already at it.  Used around everything that writes to the cache.
#
locked()
{
	local name=$1 fd

	shift
	exec {fd}>"$CACHE/locks/$name"
	if ! flock -n "$fd"; then
		say "waiting for another rig ($name)"
		flock "$fd"
	fi
	"$@"
	exec {fd}>&-
}

# quietly TITLE LOG COMMAND...: one progress line, the output in LOG, and its
# end on the screen when the command fails.
quietly()
{
	local title=$1 log=$2 start=$SECONDS rc=0

	shift 2
	say "$title"
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	if [ "$rc" -ne 0 ]; then
		tail -n 40 "$log" >&2
		die "$title: failed with status $rc (whole log: $log)"
	fi
	if [ $((SECONDS - start)) -ge 10 ]; then
		say "$title: done in $((SECONDS - start)) s"
	fi
}

check_host()
{
	case " $ALL_HOSTS " in
	*" $1 "*) ;;
	*) die "unknown host '$1' (one of: $ALL_HOSTS)" ;;
	esac
}

check_kernel()
{
	case " $ALL_KERNELS debug " in
	*" $1 "*) ;;
	*) die "unknown kernel '$1' (one of: $ALL_KERNELS debug)" ;;
	esac
}
