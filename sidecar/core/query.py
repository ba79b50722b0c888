"""Parameters of a query, under every spelling of their name that some server takes for it.

Servers decode names; PHP reads `.` and spaces as `_`, drops leading spaces and ends a name at NUL
or `[`; Node's qs reads `[a]` as `a`; ASP.NET ignores case; Rack and others split at `;` too.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MAX_PARAMETERS = 1000
"""Parameters of a query that are looked through: PHP, Node and Django read no more by default."""

_PLAIN = bytes.maketrans(
    b". +ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"___abcdefghijklmnopqrstuvwxyz",
)
_SPACES = b" \t\n\v\f\r"
_NAME_END = re.compile(rb"[\[\]\x00]")
_SEPARATOR = re.compile(rb"[&;]")


class QueryError(Exception):
    """A query that is not looked through; the message is for the client."""


class Parameter(NamedTuple):
    """A parameter as it stands in the query, nothing decoded."""

    name: bytes
    value: bytes


def parameters(query: bytes, name: str, *, semicolons: bool = False) -> tuple[Parameter, ...]:
    """Return the parameters that some server takes for the one of this name.

    ``name`` is ASCII. ``semicolons`` says that `;` separates parameters, as `&` does.

    Raises QueryError where the name may be there, among more than ``MAX_PARAMETERS``.
    """
    wanted = _plain(name)
    decoded = unquote_to_bytes(query) if b"%" in query else query
    if wanted not in decoded.translate(_PLAIN):
        return ()
    parts = _SEPARATOR.split(query) if semicolons else query.split(b"&")
    if len(parts) > MAX_PARAMETERS:
        raise QueryError(f"the query has more than {MAX_PARAMETERS} parameters")
    found = []
    for part in parts:
        raw, _, value = part.partition(b"=")
        decoded = unquote_to_bytes(raw.replace(b"+", b" ")).lstrip(_SPACES + b"?[")
        plain = _NAME_END.split(decoded, maxsplit=1)[0].rstrip(_SPACES)
        if plain.translate(_PLAIN) == wanted:
            found.append(Parameter(raw, value))
    return tuple(found)


@lru_cache(maxsize=16)  # `_method` and the names of token sources
def _plain(name: str) -> bytes:
    return name.encode().translate(_PLAIN)
