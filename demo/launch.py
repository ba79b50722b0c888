"""Executes a program that the kernel kills if its parent dies first (Linux).

A process of its own, because code between fork and exec is not safe where a parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # the parent died before the signal was set
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 -- it is given a command, not a shell line
