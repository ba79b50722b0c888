"""Where a request carries its token."""

from typing import Literal, NamedTuple


class TokenSource(NamedTuple):
    """One place where a token may stand; ``name`` of a header is lower-case. ``scheme`` is for headers alone."""

    kind: Literal["header", "cookie", "query"]
    name: str
    scheme: str | None = None
