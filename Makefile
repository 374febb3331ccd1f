# SPDX-License-Identifier: GPL-2.0-only
#
# kvmi: virtual machine introspection beside an unpatched KVM.
# "make help" lists the targets.

KVER	?= $(shell uname -r)
KDIR	?= /lib/modules/$(KVER)/build
PREFIX	?= /usr/local
O	?= $(or $(KVMI_OUT),$(CURDIR)/out)
RIG	:= selftests/rig/rig
VERSION	:= $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"$$/\1/p' dkms.conf)

# Where udev and systemd look besides /etc, for PREFIX=/usr as for /usr/local.
UDEVDIR		?= $(PREFIX)/lib/udev/rules.d
SYSUSERSDIR	?= $(PREFIX)/lib/sysusers.d
DKMS_SRC	:= /usr/src/kvmi-$(VERSION)

# What makes the installed things known to this host: not when they are staged
# elsewhere, or by a user for himself.
on_this_host = if [ -z "$(1)" ] && [ "$$(id -u)" = 0 ] && \
	command -v $(firstword $(2)) >/dev/null; then $(2); fi

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

install: lib tools	## libkvmi, headers, the tool, a udev rule; PREFIX and DESTDIR are honoured
	$(MAKE) -C libkvmi OUTPUT=$(O)/libkvmi PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install
	$(MAKE) -C tools OUTPUT=$(O)/tools PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) install
	mkdir -p $(DESTDIR)$(UDEVDIR) $(DESTDIR)$(SYSUSERSDIR)
	cp dist/60-kvmi.rules $(DESTDIR)$(UDEVDIR)/
	cp dist/kvmi.sysusers $(DESTDIR)$(SYSUSERSDIR)/kvmi.conf
	$(call on_this_host,$(DESTDIR),ldconfig)
	$(call on_this_host,$(DESTDIR),systemd-sysusers $(SYSUSERSDIR)/kvmi.conf)
	-$(call on_this_host,$(DESTDIR),udevadm control --reload)

modules_install: module	## kvmi.ko, with kbuild's INSTALL_MOD_PATH
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install
	$(call on_this_host,$(INSTALL_MOD_PATH),depmod $(KVER))

dkms_install:		## kvmi.ko by DKMS, for each kernel to come; DESTDIR: only its sources
	rm -rf $(DESTDIR)$(DKMS_SRC)
	mkdir -p $(DESTDIR)$(DKMS_SRC)
	find Kbuild dkms.conf kmod uapi LICENSES -type f ! -name '*.o*' ! -name '.*' | \
		xargs cp --parents -t $(DESTDIR)$(DKMS_SRC)
	$(call on_this_host,$(DESTDIR),dkms install kvmi/$(VERSION) -k $(KVER))

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

soak:			## a Linux guest watched with everything for SOAK minutes (10), on each vendor
	$(RIG) soak

lint:			## sparse, checkpatch.pl, shellcheck, cppcheck, kernel-doc
	$(RIG) lint

bench:			## costs in executed instructions; BENCH_JSON=FILE
	$(RIG) bench

rig-setup:		## download and install what the rig needs, and nothing else
	$(RIG) setup

rig-selftest:		## that the rig itself notices a failure
	$(RIG) selftest

help:			## this list
	@awk -F':.*## ' '/^## / { sub(/^## /, ""); printf "\n%s\n", $$0 } \
		/^[a-z_-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

# Some of these are also the names of directories.
.PHONY: all module lib tools selftests install modules_install dkms_install clean
.PHONY: kselftest demo check rows check-debug soak lint bench rig-setup rig-selftest help

# For the rig, which reads them from the environment.
export ROWS ROWS_JSON BENCH_JSON SOAK
