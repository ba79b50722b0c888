"""Examines where requests go, and which headers Envoy itself adds and removes."""

from collections.abc import Iterator

from sidecar.documents.findings import Problem, quoted
from sidecar.documents.untyped import mapping, sequence, texts
from sidecar.workbench.doctor.context import Context, error, warning
from sidecar.workbench.doctor.document import Part, snake


def action(part: Part, context: Context) -> Iterator[Problem]:
    """Yield problems of the cluster of a route."""
    name = part.get("cluster")
    if not isinstance(name, str):
        return  # the data of the profile reports it
    place = (*part.place, part.key("cluster"))
    if name in context.reserved:
        code, what = context.reserved[name]
        yield error(place, code, f"clients reach {what}", "the cluster of the Basic Server")
    elif name not in context.clusters and not context.lacks_clusters:
        message = f"this file has no cluster {quoted(name)}, so it is not examined"
        yield error(place, "reroute", message, "name a cluster of this file")


def table(part: Part, context: Context) -> Iterator[Problem]:
    """Yield headers that Envoy itself does not remove, and headers that it adds."""
    yield from headers(part, context)
    wanted = {name.lower() for name in context.wanted.removed} - _removed(part)
    kept: set[str] = set()
    for host in part.each("virtual_hosts"):
        here = wanted - _removed(host)
        for route in host.each("routes"):
            kept |= here - _removed(route)
    if kept:
        names = ", ".join(sorted(kept))
        message = f"only the sidecar removes {names}, not Envoy itself"
        yield warning(part.place, "remove-headers", message, "request_headers_to_remove: [...]")


def _removed(part: Part) -> set[str]:
    return {name.lower() for name in texts(part.get("request_headers_to_remove"))}


def headers(part: Part, context: Context) -> Iterator[Problem]:
    """Yield headers that Envoy sets after the Check, and those of the sidecar that it removes."""
    managed = {name.lower() for name in context.wanted.headers}
    for index, option in enumerate(sequence(part.get("request_headers_to_add"))):
        header = str(mapping(mapping(option).get("header")).get("key")).lower()
        place = (*part.place, part.key("request_headers_to_add"), index)
        if header in managed:
            message = f"Envoy itself sets {quoted(header)}, after the sidecar or instead of it"
            yield error(place, "identity-header", message, "only the sidecar sets it")
        else:
            message = f"Envoy sets {quoted(header)} after the Check, and servers may use it"
            yield error(place, "rewrite", message, "remove it")
    identity = managed - {name.lower() for name in context.wanted.removed}
    for lost in sorted(_removed(part) & identity):
        place = (*part.place, part.key("request_headers_to_remove"))
        message = f"Envoy removes {quoted(lost)}, which the sidecar sets"
        yield error(place, "identity-header", message, "remove it from the list")


def stats_route(part: Part, _context: Context) -> Iterator[Problem]:
    """Yield requests that reach Envoy's admin interface and are not a GET without a query."""
    match = part.below("match")
    matchers = [snake(each.value) for each in match.each("headers")]
    place = (*match.place, match.key("headers"))
    if {"name": ":method", "string_match": {"exact": "GET"}} not in matchers:
        message = "methods other than GET reach Envoy's admin interface"
        yield error(place, "admin", message, "{name: ':method', string_match: {exact: GET}}")
    if {"name": ":path", "string_match": {"safe_regex": {"regex": "[^?]*"}}} not in matchers:
        message = "a query reaches Envoy's admin interface: ?filter= can contain a slow expression"
        hint = "{name: ':path', string_match: {safe_regex: {regex: '[^?]*'}}}"
        yield warning(place, "admin", message, hint)
