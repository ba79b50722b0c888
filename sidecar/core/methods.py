"""Methods of requests, and those that a query names instead.

Some frameworks let a form choose its method by a field ``_method``, which several of them read in
the query too: Symfony and Laravel, Express's method-override, Spring.
"""

import re
from urllib.parse import unquote_to_bytes

from sidecar.core.query import QueryError, parameters
from sidecar.core.request import RequestProblem

MAX_NAMED = 4
"""Methods that a query may name: each costs a decision. A client names one."""

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")  # a token: RFC 9110 section 9.1


def is_method(text: str) -> bool:
    """Say whether the text is a valid HTTP method."""
    return _METHOD.fullmatch(text) is not None


def named_methods(target: bytes) -> tuple[str, ...]:
    """Return the values of ``_method`` in a target's query, each once, in upper case.

    An invalid method is among them: it matches routes that take any method.

    Raises QueryError for more than ``MAX_NAMED``, or for a query with too many parameters.
    """
    if b"%" not in target and b"method" not in target.lower():  # nearly always
        return ()
    path, mark, query = target.partition(b"?")
    if b"%" in path and b"3f" in path.lower():
        # With `encoded_question` an upstream may decode the path before it looks for the query.
        hidden = unquote_to_bytes(unquote_to_bytes(path)).partition(b"?")[2]
        query = hidden + b"&" + query
    elif not mark:
        return ()
    # Raises unless it is a tuple: nothing else means "names none".
    found = () + parameters(query, "_method", semicolons=True)  # noqa: RUF005 -- see above
    if not found:
        return ()
    methods = tuple(dict.fromkeys(_upper(parameter.value) for parameter in found))
    if len(methods) > MAX_NAMED:
        raise QueryError(RequestProblem.TOO_MANY_METHODS)
    return methods


def _upper(value: bytes) -> str:
    text = unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8", "replace")
    # Both foldings: Ruby's capital of a long s is S, JavaScript's small Kelvin sign is k.
    return text.strip(" \t\n\v\f\r\0").casefold().upper()
