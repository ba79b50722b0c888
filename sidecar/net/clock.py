"""A steady clock: seconds since the epoch as they were when the process started, and no jumps.

The wall clock jumps (NTP, a person, a virtual machine that is moved). A token's own times are the
issuer's wall clock, so they are held against ours; how old something is, is not its business.
"""

import time
from typing import Final

SINCE_EPOCH: Final = time.time() - time.monotonic()
"""What ``time.monotonic()`` lacks to be the steady clock."""


def steady() -> float:
    """Return the steady clock's seconds since the epoch."""
    return time.monotonic() + SINCE_EPOCH
