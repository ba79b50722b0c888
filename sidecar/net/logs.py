"""How every room writes its log lines: faults without values, repeated lines with a key."""

from traceback import walk_tb


def fault_place(error: BaseException) -> str:
    """Return an error's type and where it was raised, the innermost function first.

    Its text and the values in its frames are left out: they may hold what a client sent.
    """
    places = [f"{frame.f_code.co_name}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return f"{type(error).__name__} in {' < '.join(reversed(places))}"


def once_a_minute(key: str) -> dict[str, str]:
    """Return the ``extra`` of a log call whose line is written at most once a minute per key.

    A key is unique within its logger. ``sidecar.ops.logs.RateLimited`` applies it.
    """
    return {"limit_key": key}
