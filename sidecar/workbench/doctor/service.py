"""Examines how ext_authz asks the sidecar, and which headers the sidecar may change."""

from collections.abc import Iterator

from sidecar.documents.findings import BadValueError, Place, Problem, quoted
from sidecar.net.addresses import parse_tcp
from sidecar.workbench.doctor.context import Context, error, warning
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.expressions import matching
from sidecar.workbench.doctor.values import seconds

LEAST_TIMEOUT = 0.2  # seconds; with less, a short pause of the sidecar denies requests
MOST_TIMEOUT = 10.0  # seconds; waiting requests use memory, and the sidecar answers in under 1 ms

_EVERYWHERE = frozenset({"0.0.0.0", "::", "localhost"})  # loopback among them
_FOREIGN = (
    "host", ":path", ":method", ":authority", ":scheme", "content-length", "transfer-encoding",
    "connection", "te", "upgrade", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "origin",
)  # fmt: skip


def mutations(rules: Part, context: Context) -> Iterator[Problem]:
    """Yield headers that the sidecar needs to change and may not, or may and never needs to."""
    expression = rules.get("allow_expression", "regex")
    if rules.get("disallow_all") is not True or not isinstance(expression, str):
        return  # the data of the profile reports it
    place = (*rules.below("allow_expression").place, rules.below("allow_expression").key("regex"))
    wanted = context.wanted.headers
    allowed = matching(expression, (*wanted, *_FOREIGN), context.expressions)
    if allowed is None:
        message = "doctor cannot evaluate this expression, so the headers it allows are unknown"
        yield warning(place, "mutation-rules", message, "write names with | between them")
        return
    if barred := [name for name in wanted if name not in allowed]:
        message = f"the sidecar may not change {', '.join(barred)}: allowed requests become 500"
        yield error(place, "mutation-rules", message, "name them in the expression")
    if more := [name for name in _FOREIGN if name in allowed and name not in wanted]:
        message = f"the sidecar may change {', '.join(more)}, which it never needs to"
        yield warning(place, "mutation-rules", message, "only the headers that the sidecar manages")


def service(part: Part, context: Context) -> Iterator[Problem]:
    """Yield problems of the connection to the sidecar."""
    yield from _timeout(part)
    name = part.get("envoy_grpc", "cluster_name")
    if name is None:
        return
    cluster = context.clusters.get(str(name))
    if cluster is None:
        if context.lacks_clusters:
            return
        message = f"this file has no cluster {quoted(str(name))}"
        yield error((*part.place, part.key("envoy_grpc")), "service", message)
        return
    if not speaks_http2(cluster):
        message = "the sidecar's cluster does not speak HTTP/2, so no Check is ever answered"
        hint = "explicit_http_config: {http2_protocol_options: {}}"
        yield error(cluster.place, "http2", message, hint)
    if context.wanted.address is not None:
        for place, address in addresses(cluster):
            if not same(address, context.wanted.address):
                message = f"Envoy asks {address}, the sidecar listens on {context.wanted.address}"
                yield error(place, "address", message, "`listen.authz` in sidecar.yaml")


def _timeout(part: Part) -> Iterator[Problem]:
    timeout = seconds(part.get("timeout"))
    hint = "timeout: 3s, beside envoy_grpc"
    if timeout is not None and (timeout > MOST_TIMEOUT or timeout == 0):
        message = "Envoy holds requests for more than 10 seconds while the sidecar does not answer"
        if timeout == 0:
            message = (
                "`timeout` is `0s`, which disables the limit: requests wait while the sidecar hangs"
            )
        yield error((*part.place, part.key("timeout")), "timeout", message, hint)
    elif timeout is None or timeout < LEAST_TIMEOUT:
        message = "the timeout is missing or below 200 ms, so a short pause denies requests"
        yield warning(part.place, "timeout", message, hint)


def speaks_http2(cluster: Part) -> bool:
    """Return whether Envoy speaks HTTP/2 with a cluster."""
    return any(
        each.below("explicit_http_config").has("http2_protocol_options")
        for each in cluster.members("typed_extension_protocol_options")
    )


def addresses(cluster: Part) -> Iterator[tuple[Place, str]]:
    """Yield each endpoint of a cluster, in the notation of ``listen`` in sidecar.yaml."""
    for group in cluster.each("load_assignment", "endpoints"):
        for each in group.each("lb_endpoints"):
            address = each.below("endpoint", "address")
            if (text := as_text(address)) is not None:
                yield address.place, text


def as_text(address: Part) -> str | None:
    """Return an address as ``unix:/path`` or ``host:port``, None if it is neither."""
    pipe, host = address.get("pipe", "path"), address.get("socket_address", "address")
    if pipe is not None:
        return f"unix:{pipe}"
    if host is None:
        return None
    shown = f"[{host}]" if ":" in str(host) else host
    return f"{shown}:{address.get('socket_address', 'port_value')}"


def same(asked: str, listened: str) -> bool:
    """Return whether a connection to ``asked`` reaches a listener on ``listened``."""
    if asked == listened or asked.startswith("unix:") or listened.startswith("unix:"):
        return asked == listened
    try:
        (_, asked_port), (host, port) = parse_tcp(asked), parse_tcp(listened)
    except BadValueError:
        return False  # Envoy's value is not an address
    return asked_port == port and host in _EVERYWHERE
