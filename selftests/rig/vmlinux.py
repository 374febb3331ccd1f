#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Unpack the kernel in a bzImage: vmlinux.py BZIMAGE VMLINUX"""

import struct
import subprocess
import sys

UNPACK = {
    b"\xfd7zXZ\0": ["xz", "-dc"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"],
}

with open(sys.argv[1], "rb") as f:
    image = f.read()
# struct setup_header: see Documentation/arch/x86/boot.rst of Linux.
setup_sects = image[0x1f1] or 4
offset, length = struct.unpack_from("<II", image, 0x248)
start = (setup_sects + 1) * 512 + offset
# The last four bytes are the length of what is packed.
payload = image[start:start + length - 4]
for magic, command in UNPACK.items():
    if payload.startswith(magic):
        with open(sys.argv[2], "wb") as f:
            subprocess.run(command, input=payload, stdout=f, check=True)
        break
else:
    sys.exit(f"{sys.argv[1]}: packed in an unknown way")
