"""CORS preflights (Fetch standard, section 4.8): which requests are, and which are forwarded."""

import re
from collections.abc import Sequence

from sidecar.core.decisions import Allow, Deny
from sidecar.core.methods import is_method
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.table import NotAllowed
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource, is_used
from sidecar.core.trace import Trace

# Headers with credentials, or that make a handler do more than read headers. No browser sends any
# of them in a preflight. A body without content-length is not visible here: HTTP/2 needs none, and
# Envoy removes Transfer-Encoding before its Check.
_NEVER_FORWARDED = ("authorization", "cookie", "transfer-encoding", "upgrade")
_NO_BODY = re.compile(rb"0{1,32}")


def decide_preflight(
    request: Request, segments: tuple[str, ...], snapshot: Snapshot, trace: Trace | None
) -> Allow | Deny | None:
    """Decide on a CORS preflight; None for a request that is decided like any other."""
    policy = snapshot.policy
    if policy.cors_preflight == "off":
        return None
    asked = preflight_method(request)
    if asked is None:
        return None
    forward = policy.cors_preflight == "forward"
    if trace:
        trace.check("preflight", None, f"CORS preflight for {asked}")
    sources = (*snapshot.token_sources, *snapshot.service_token_sources)
    if forward and not may_be_forwarded(request, sources):
        if trace:
            text = "not a preflight: it carries a credential or a body, which browsers do not send"
            trace.check("preflight", None, text)
        return None
    route = policy.match(request.host, asked, segments)
    if trace:
        trace.matched(asked, segments, route)
    if route is None:
        return Deny(Reason.NO_ROUTE)
    if isinstance(route, NotAllowed):
        return Deny(Reason.METHOD_NOT_ALLOWED, route.route, needs=route.methods)
    if forward:
        return Allow(Reason.PREFLIGHT, route)
    if trace:
        text = f"{Reason.PREFLIGHT_ANSWERED}: no request reaches the upstream"
        trace.check("preflight", False, text)
    return Deny(Reason.PREFLIGHT_ANSWERED, route)


def preflight_method(request: Request) -> str | None:
    """Return the method that a CORS preflight asks for, None for any other request."""
    if request.method != "OPTIONS":
        return None
    origins = request.headers.get("origin", ())
    methods = request.headers.get("access-control-request-method", ())
    # One of each: Envoy joins repeated headers by a comma, which neither value may hold.
    if len(origins) != 1 or len(methods) != 1 or b"," in origins[0] or not origins[0]:
        return None
    if any(_is_grpc(value) for value in request.headers.get("content-type", ())):
        return None
    method = methods[0].decode("latin-1")
    return method if is_method(method) else None


def may_be_forwarded(request: Request, sources: Sequence[TokenSource]) -> bool:
    """Say whether a preflight has no credential and no body, as those of browsers."""
    headers = request.headers
    if any(name in headers for name in _NEVER_FORWARDED):
        return False
    lengths = headers.get("content-length", (b"0",))
    if len(lengths) != 1 or not _NO_BODY.fullmatch(lengths[0]):
        return False
    return not any(is_used(request, source) for source in sources)


def _is_grpc(content_type: bytes) -> bool:
    return content_type.lower().startswith(b"application/grpc")
