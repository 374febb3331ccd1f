# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Static checks.  Each tool is one "test" of the closing line.

# What checkpatch.pl is not asked for, and why:
#   FILE_PATH_CHANGES      there is no MAINTAINERS here
#   AVOID_EXTERNS          linker-made symbols need them
#   LINUX_VERSION_CODE     kmod/compat has to tell kernels apart; that it stays
#                          there is checked below
#   MACRO_ARG_REUSE, COMPLEX_MACRO  the harness's macros declare things
#   PREFER_DEFINED_ATTRIBUTE_MACRO  userspace has none of those macros
#   SPLIT_STRING           usage texts
#   BIT_MACRO              uapi headers have no BIT()
CHECKPATCH_IGNORE=FILE_PATH_CHANGES,AVOID_EXTERNS,LINUX_VERSION_CODE
CHECKPATCH_IGNORE+=,MACRO_ARG_REUSE,COMPLEX_MACRO,PREFER_DEFINED_ATTRIBUTE_MACRO
CHECKPATCH_IGNORE+=,SPLIT_STRING,BIT_MACRO
# In macros that are applied to a list of names:
CHECKPATCH_IGNORE+=,TRAILING_SEMICOLON,MACRO_ARG_PRECEDENCE
# kmod/event.c yields to the very thread that it waits for:
CHECKPATCH_IGNORE+=,YIELD
# In userspace also:
#   PREFER_KERNEL_TYPES    uint64_t is what there is
#   CAMELCASE              <elf.h>, <linux/kvm.h>
#   VOLATILE, MEMORY_BARRIER  a guest's program has no READ_ONCE()
#   EMBEDDED_FUNCTION_NAME, ARRAY_SIZE  neither is worth a header
#   MACRO_WITH_FLOW_CONTROL   an assertion ends the case
CHECKPATCH_IGNORE_USER=PREFER_KERNEL_TYPES,CAMELCASE,VOLATILE,MEMORY_BARRIER
CHECKPATCH_IGNORE_USER+=,EMBEDDED_FUNCTION_NAME,ARRAY_SIZE,MACRO_WITH_FLOW_CONTROL

# tracked PATTERN...: files of the tree (also new ones, but not built ones)
tracked()
{
	# Whoever owns the clone: a list that is empty would find no fault.
	git -c safe.directory='*' -C "$TREE" ls-files -co --exclude-standard -- "$@" | sort -u |
		while read -r f; do
			[ ! -e "$TREE/$f" ] || echo "$TREE/$f"
		done
}

lint_module()
{
	local k

	# sparse, all warnings, objtool's too: none is let through.
	for k in $ALL_KERNELS; do
		setup_kernel "$k"
		mkdir -p "$OUT/lint/$k"
		copy_sources "$OUT/lint/$k"
		make -C "$KDIR" M="$OUT/lint/$k" clean >/dev/null
		echo "== Linux $KREL"
		make -C "$KDIR" M="$OUT/lint/$k" -j"$JOBS" C=1 W=1 modules \
			>"$OUT/lint/$k.log" 2>&1 || {
			cat "$OUT/lint/$k.log"
			return 1
		}
		# What Debian's packages cannot help saying.
		if grep -E 'warning|error' "$OUT/lint/$k.log" |
			grep -vE 'the compiler differs from the one|Skipping BTF'; then
			return 1
		fi
	done
}

lint_checkpatch()
{
	local bad=0

	setup_source 6.12
	mkdir -p "$OUT/lint"
	checkpatch '/(kmod|uapi)/' "$CHECKPATCH_IGNORE" || bad=1
	checkpatch '/(libkvmi|tools|selftests)/' \
		"$CHECKPATCH_IGNORE,$CHECKPATCH_IGNORE_USER" || bad=1
	return "$bad"
}

# checkpatch REGEX IGNORE: over the C files whose path matches
checkpatch()
{
	local files

	mapfile -t files < <(tracked '*.c' '*.h' '*.S' | grep -E "$1")
	[ ${#files[@]} -gt 0 ] || return 0
	# It writes a cache file into the directory it is started from.
	(cd "$OUT/lint" && perl "$CACHE/linux-source-6.12/scripts/checkpatch.pl" \
		--no-tree --root="$CACHE/linux-source-6.12" --strict --terse \
		--no-summary --show-types --ignore "$2" -f "${files[@]}")
}

lint_shell()
{
	local files

	# Scripts are told by their first line; the rig's parts have none, and
	# are checked where they are sourced.
	mapfile -t files < <(tracked | while read -r f; do
		if head -c 64 "$f" | head -n 1 | tr -d '\0' |
			grep -qE '^#!.*[/ ](ba|da)?sh\b'; then
			echo "$f"
		fi
	done)
	files+=("$RIG_DIR/guest/functions")
	shellcheck -x -P "$RIG_DIR" "${files[@]}"
}

lint_cppcheck()
{
	local dirs=() d

	for d in libkvmi tools selftests; do
		[ ! -d "$TREE/$d" ] || dirs+=("$TREE/$d")
	done
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j"$JOBS" \
		--enable=warning,performance,portability \
		--suppressions-list="$RIG_DIR/cppcheck.suppressions" \
		-I "$TREE/uapi" -I "$TREE/libkvmi/include" -I "$TREE/selftests" \
		"${dirs[@]}"
}

# What others use says what it does: the kernel's own script finds no fault, and
# nothing is left out.
lint_doc()
{
	local bad=0 files f

	setup_source 6.12
	mapfile -t files < <(tracked 'kmod/*.[ch]' 'uapi/*.h' 'libkvmi/*.[ch]')
	for f in "${files[@]}"; do
		"$CACHE/linux-source-6.12/scripts/kernel-doc" -none -Wall -Werror "$f" ||
			bad=1
	done
	# Functions that a header declares: at their definition.
	described kmod kvmi.h hook.h || bad=1
	described libkvmi include/kvmi.h || bad=1
	# Structures and enumerations: in the header.
	for f in "$TREE"/uapi/linux/*.h "$TREE"/libkvmi/include/*.h "$TREE"/kmod/*.h; do
		sed -nE 's/^((struct|enum) [a-z0-9_]+) \{$/\1/p' "$f" | while read -r what; do
			grep -q "^ \* $what - " "$f" || echo "$f: $what has no kernel-doc"
		done
	done >"$OUT/lint/types"
	cat "$OUT/lint/types"
	[ ! -s "$OUT/lint/types" ] || bad=1
	# The manual is reStructuredText that its tools can read.
	for f in "$TREE"/Documentation/*.rst; do
		/usr/bin/python3 -m docutils --writer=null --report=1 --exit-status=1 \
			"$f" || bad=1
	done
	return "$bad"
}

# described DIR HEADER...: each function that a header there declares is described
# where it is defined
described()
{
	local dir=$TREE/$1 fn bad=0

	shift
	while read -r fn; do
		if ! grep -rqE --include='*.[ch]' "^ \* $fn(\(\))? - " "$dir"; then
			echo "$dir: $fn() has no kernel-doc"
			bad=1
		fi
	done < <(cd "$dir" && grep -hE '^[A-Za-z].*\bkvmi_[a-z0-9_]+\(|^kvmi_[a-z0-9_]+\(' "$@" |
		grep -oE '\bkvmi_[a-z0-9_]+\(' | tr -d '(' | sort -u)
	return "$bad"
}

lint_rules()
{
	local bad=0 f

	# Every file says its licence.
	while read -r f; do
		case $f in
		*/LICENSES/* | *.md | */README) continue ;;
		esac
		if [ -s "$f" ] && ! head -n 5 "$f" | grep -q SPDX-License-Identifier; then
			echo "$f: no SPDX-License-Identifier"
			bad=1
		fi
	done < <(tracked)
	# Kernel versions are known in one place only.
	if grep -rnE 'LINUX_VERSION_CODE|KERNEL_VERSION' "$TREE/kmod" \
		--include='*.[ch]' --exclude-dir=compat; then
		echo "kernel versions belong into kmod/compat"
		bad=1
	fi
	return "$bad"
}

rig_lint()
{
	local parts=(module checkpatch shell cppcheck doc rules) what passed=0 failed=0

	setup_host_packages
	[ -n "$(tracked)" ] || die "lint needs a git clone"
	mkdir -p "$OUT/lint"
	for what in "${parts[@]}"; do
		rm -f "$OUT/logs/lint-$what.log" "$OUT/lint/$what.ok"
	done
	# Processes of their own, two at a time: "set -e" does not reach into an "if".
	# shellcheck disable=SC2016 # for the shell that it is for
	printf '%s\n' "${parts[@]}" |
		xargs -P 2 -I{} bash -c 'echo "$(date +%T) lint: {}" >&2
			"$0" lint-part {} >"$1/logs/lint-{}.log" 2>&1 && : >"$1/lint/{}.ok"' \
			"$RIG_DIR/rig" "$OUT" || :
	for what in "${parts[@]}"; do
		if [ -e "$OUT/lint/$what.ok" ]; then
			passed=$((passed + 1))
		else
			cat "$OUT/logs/lint-$what.log"
			echo "lint: FAILED $what"
			failed=$((failed + 1))
		fi
	done
	echo "$passed passed, $failed failed, 0 skipped" | conclude lint
}
