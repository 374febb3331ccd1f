#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Take the signature off modules; the rest of each file stays as it is."""

import struct
import sys

MAGIC = b"~Module signature appended~\n"

for path in sys.argv[1:]:
    with open(path, "r+b") as f:
        data = f.read()
        if not data.endswith(MAGIC):
            continue
        # struct module_signature: the last of its 12 bytes are the length.
        (length,) = struct.unpack(">I", data[-len(MAGIC) - 4:-len(MAGIC)])
        f.truncate(len(data) - len(MAGIC) - 12 - length)
