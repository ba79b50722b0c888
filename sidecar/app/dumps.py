"""No core dumps: the process's memory holds secrets, keys and tokens."""

import contextlib
import resource
from pathlib import Path

_FILTER = Path("/proc/self/coredump_filter")


def forbid() -> None:
    """Let a crash leave neither a core file nor memory for a handler of core dumps.

    A limit of 0 keeps the kernel from writing a file. Where ``kernel.core_pattern`` pipes dumps to
    a program, the kernel ignores that limit, and the filter leaves all memory out (core(5)).
    PR_SET_DUMPABLE would do both, but the standard library has no prctl, and it would also take
    /proc/PID from the operator's tools.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # to lower it is always permitted
    with contextlib.suppress(OSError):  # a kernel that was built without core dumps
        _FILTER.write_text("0")
