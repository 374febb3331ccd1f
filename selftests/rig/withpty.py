#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run a command on a terminal of its own; what it shows goes to standard output.

script(1) would do, but stops reading the terminal once its own input has
ended, and the command hangs when the terminal's buffer is full.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])

fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))


def stop(signum, _frame):
    os.kill(pid, signal.SIGKILL)
    sys.exit(128 + signum)


for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(sig, stop)
shown = 0
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    # The beginning says what went wrong, if anything did at the start.
    if shown < 65536:
        os.write(1, data)
        shown += len(data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xff)
