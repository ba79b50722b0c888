"""Methods of requests."""

import re

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")  # a token: RFC 9110 section 9.1


def is_method(text: str) -> bool:
    """Say whether this can be a request's method."""
    return _METHOD.fullmatch(text) is not None
