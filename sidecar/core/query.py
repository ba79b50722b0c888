"""Parameters of a query, under every spelling of their name that some server accepts.

Beside what ``names`` knows, ASP.NET ignores case, and Rack and others split at `;` too.
"""

import re
from typing import NamedTuple

from sidecar.core.names import is_spelling, may_be_in
from sidecar.core.request import RequestProblem

MAX_PARAMETERS = 1000
"""Parameters of a query that are searched: PHP, Node and Django read no more by default."""

_SEPARATOR = re.compile(rb"[&;]")


class QueryError(Exception):
    """The query is too large to be searched, or names too many methods."""

    def __init__(self, problem: RequestProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class Parameter(NamedTuple):
    """A parameter of the query, not decoded."""

    name: bytes
    value: bytes


def parameters(query: bytes, name: str, *, semicolons: bool = False) -> tuple[Parameter, ...]:
    """Return the parameters that some server takes for ``name``.

    ``name`` is ASCII. ``semicolons`` says that `;` separates parameters, as `&` does.

    Raises QueryError where the name may be there, among more than ``MAX_PARAMETERS``.
    """
    if may_be_in(query, name) is False:
        return ()
    parts = _SEPARATOR.split(query) if semicolons else query.split(b"&")
    if len(parts) > MAX_PARAMETERS:
        raise QueryError(RequestProblem.TOO_MANY_PARAMETERS)
    found = []
    for part in parts:
        raw, _, value = part.partition(b"=")
        if is_spelling(raw.replace(b"+", b" "), name, ignore_case=True) is not False:
            found.append(Parameter(raw, value))
    return tuple(found)
