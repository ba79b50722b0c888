"""One HTTP request, as plain values."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class RequestProblem(StrEnum):
    """Problems of a request beside those of its path; clients read the text in messages.py."""

    INVALID_METHOD = "invalid_method"
    TOO_MANY_PARAMETERS = "too_many_query_parameters"
    TOO_MANY_METHODS = "too_many_methods_in_query"


class Request(NamedTuple):
    """One HTTP request; nothing in it is trusted yet.

    ``target`` is the request's target as it arrived: path and query. ``headers`` maps a lower-case
    name to its values in the order of arrival; pseudo-headers are left out. ``raw_headers``
    says that the bytes are the client's own (``encode_raw_headers``); otherwise Envoy has replaced
    each byte that is not UTF-8 by ``!``. ``peer`` is the identity in the certificate of Envoy's
    peer (``source.principal``), which Envoy has verified; empty without one.
    """

    method: str
    host: str
    target: bytes
    headers: Mapping[str, Sequence[bytes]]
    raw_headers: bool
    peer: str = ""
