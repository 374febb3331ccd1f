# SPDX-License-Identifier: GPL-2.0-only
#
# kvmi: virtual machine introspection beside an unpatched KVM.
# "make help" lists the targets.

KVER	?= $(shell uname -r)
KDIR	?= /lib/modules/$(KVER)/build
PREFIX	?= /usr/local
O	?= $(or $(KVMI_OUT),$(CURDIR)/out)
RIG	:= selftests/rig/rig

all: module lib tools

## What is built and installed

module:			## kvmi.ko for KVER (or the kernel headers in KDIR)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

lib:			## libkvmi, shared and static, into $(O)/libkvmi
	$(MAKE) -C libkvmi OUTPUT=$(O)/libkvmi

tools: lib		## the kvmi tool, into $(O)/tools
	$(MAKE) -C tools OUTPUT=$(O)/tools

selftests: lib		## the test programs, into $(O)/selftests
	$(MAKE) -C selftests OUTPUT=$(O)/selftests

install: lib tools	## libkvmi, the header, the tool; PREFIX and DESTDIR are honoured
	$(MAKE) -C libkvmi OUTPUT=$(O)/libkvmi PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install
	$(MAKE) -C tools OUTPUT=$(O)/tools PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install

modules_install: module	## kvmi.ko, with kbuild's INSTALL_MOD_PATH
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install

clean:			## remove what was built (not the rig's downloads)
	rm -rf $(O)
	if [ -d $(KDIR) ]; then $(MAKE) -C $(KDIR) M=$(CURDIR) clean; fi

## On a host that has KVM

kselftest: selftests	## run the selftests here: needs root, KVM and kvmi.ko for this kernel
	$(MAKE) -C selftests OUTPUT=$(O)/selftests run_tests

## On emulated hosts: any Debian machine will do

demo:			## the whole thing in two minutes: a live trace of a Linux guest
	$(RIG) demo

check:			## unit tests, then all selftests on three hosts and two kernels
	$(RIG) check

rows:			## what the last check proved; ROWS="S1 S2" demands them, ROWS_JSON=FILE
	$(RIG) rows

check-debug:		## the selftests on a kernel with KASAN, lockdep and more
	$(RIG) check-debug

lint:			## sparse, checkpatch.pl, shellcheck, cppcheck
	$(RIG) lint

bench:			## costs in executed instructions; BENCH_JSON=FILE
	$(RIG) bench

rig-setup:		## download and install what the rig needs, and nothing else
	$(RIG) setup

rig-selftest:		## that the rig itself notices a failure
	$(RIG) selftest

help:			## this list
	@awk -F':.*## ' '/^## / { sub(/^## /, ""); printf "\n%s\n", $$0 } \
		/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

# Some of these are also the names of directories.
.PHONY: all module lib tools selftests install modules_install clean kselftest
.PHONY: demo check rows check-debug lint bench rig-setup rig-selftest help

# For the rig, which reads them from the environment.
export ROWS ROWS_JSON BENCH_JSON
