"""What halts the event loop for no fault of its own: garbage collection, and other threads' turns.

Seen with 10,000 routes under 300 requests a second: a reload, which reads them in a thread, made
the p99 108 ms with Python's defaults, and makes it 9 ms with what is set here.
"""

import gc
import sys

# Seconds that a thread keeps running while the event loop waits for its turn; Python's own are ten
# times as many. It is at each wake of the loop that the threads of a reload make it wait.
_TURN = 0.0005

# How many new objects cause a collection of the young ones, and how many of these one of the next
# generation. Python's 700 and 10 make large tables a matter of ever larger collections while they
# are built; a collection of 20,000 objects takes about a millisecond.
_YOUNG, _MIDDLE = 20_000, 50


def shorten() -> None:
    """Keep pauses short from now on, once all is made that a sidecar is made of."""
    sys.setswitchinterval(_TURN)
    gc.set_threshold(_YOUNG, _MIDDLE)
    gc.collect()
    exempt()


def exempt() -> None:
    """Let no collection look again at what there is now: it stays, or ends without one."""
    gc.freeze()
