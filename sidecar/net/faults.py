"""How a fault inside is told in a log."""

from traceback import walk_tb


def told(error: BaseException) -> str:
    """Say of what type an error is, and where it comes from, the innermost function first.

    Neither its text nor the values in its frames: they may hold what a client sent.
    """
    places = [f"{frame.f_code.co_name}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return f"{type(error).__name__} in {' < '.join(reversed(places))}"
