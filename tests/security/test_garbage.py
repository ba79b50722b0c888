"""What a Check leaves behind: nothing that only a garbage collection frees.

A reload excludes all objects from collections. What is in a cycle then stays until the end.
"""

import gc
import types

import pytest

from tests.security.every_check import Case, cases


@pytest.mark.parametrize("case", [*cases()], ids=lambda case: case.name)
async def test_a_check_leaves_no_frame_in_a_cycle(case: Case) -> None:
    """An error that a local variable names is in one with its traceback, and so is the request."""
    await case.ready()()  # what is made only once
    ask = case.ready()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await ask()
        gc.collect()
        left = [each.f_code.co_name for each in gc.garbage if isinstance(each, types.FrameType)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left
