# SPDX-License-Identifier: GPL-2.0-only
# bash completion for kvmi

_kvmi_vms()
{
	kvmi list --no-probe --json 2>/dev/null | sed -n \
		-e 's/.*"pid":\([0-9]*\).*/\1/p' \
		-e 's/.*"name":"\([^"]\{1,\}\)".*/\1/p'
}

_kvmi()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local cmd=${COMP_WORDS[1]} words=

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		words="list info trace stat regs mem vmcs caps gdb step pause syscalls --help --version"
	elif [ "$cmd" = mem ] && [ "$COMP_CWORD" -eq 2 ]; then
		words="read write dump"
	else
		case $prev in
		-e | --event)
			local head=
			case $cur in
			*,*) head=${cur%,*}, cur=${cur##*,} ;;
			esac
			mapfile -t COMPREPLY < <(compgen -P "$head" \
				-W "cr0 cr3 cr4 cr8 dr xsetbv cpuid bp step msr msr: mem: exc exc: tables io io: ioe ioe: insn insn: hypercall mmio mmio: delivery exit exit: vcpu vm" -- "$cur")
			return
			;;
		--format)
			mapfile -t COMPREPLY < <(compgen -W "raw elf lime" -- "$cur")
			return
			;;
		--symbols | --btf)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		--pid | --comm | --vcpu | -n | -d | --listen | --interval | --count) return ;;
		esac
		case $cmd in
		list) words="--json --no-probe --follow" ;;
		info) words="--json $(_kvmi_vms)" ;;
		regs) words="--json --vcpu $(_kvmi_vms)" ;;
		mem) words="--json --raw --format --consistent $(_kvmi_vms)" ;;
		trace) words="-e -n -d --async --wait-new --json --vcpu $(_kvmi_vms)" ;;
		stat) words="-e --interval --count --json $(_kvmi_vms)" ;;
		vmcs) words="--json $(_kvmi_vms)" ;;
		caps) words="--json" ;;
		gdb) words="--listen $(_kvmi_vms)" ;;
		step) words="-n --json --vcpu $(_kvmi_vms)" ;;
		syscalls) words="--symbols --btf --pid --comm -n -d --json $(_kvmi_vms)" ;;
		pause) words="-d --stop-clocks --json $(_kvmi_vms)" ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _kvmi kvmi
