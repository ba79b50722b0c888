"""What in an Envoy configuration weakens the boundary, or surprises."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from sidecar.config.addresses import split_address
from sidecar.config.findings import BadValueError, Place, Problem, Severity, quoted
from sidecar.config.raw import mapping, sequence
from sidecar.workbench.envoy_config import (
    MANAGER,
    Part,
    clusters,
    is_type,
    listeners,
    managers,
    route_tables,
    seconds,
)

LEAST_TIMEOUT = 0.2  # seconds; less, and a moment's pause of the sidecar denies requests

_FILTER = "envoy.filters.http.ext_authz"
_CHANGING = frozenset({"Lua", "Wasm", "HeaderMutation", "GrpcJsonTranscoder", "ExternalProcessor"})
_EVERYWHERE = frozenset({"0.0.0.0", "::", "localhost"})  # loopback among them
_SAFE_SLASHES = frozenset({"REJECT_REQUEST", "UNESCAPE_AND_REDIRECT"})


class Wanted(NamedTuple):
    """What ``sidecar.yaml`` says that Envoy must fit.

    ``address`` is ``listen.authz``, None where no configuration was given. ``headers`` are those
    that the sidecar sets or removes.
    """

    address: str | None
    headers: tuple[str, ...]


def examine(document: object, wanted: Wanted) -> Iterator[Problem]:
    """Yield every problem of an Envoy configuration."""
    found = list(listeners(document))
    if not found:
        yield _error((), "no-listener", "there is no listener", "a bootstrap or a config_dump")
    tables = route_tables(document)
    for listener in found:
        for manager in managers(listener):
            if is_type(manager, MANAGER):
                yield from _manager(manager, clusters(document), tables, wanted)
            else:
                message = "requests pass here without being looked at: this is no HTTP listener"
                yield _error(
                    manager.place,
                    "no-authz",
                    message,
                    "let the Basic Server be reached by HTTP alone",
                )


def _manager(
    manager: Part,
    known: Mapping[str, Part],
    tables: Mapping[str, Part],
    wanted: Wanted,
) -> Iterator[Problem]:
    yield from _paths(manager)
    filters = list(manager.each("http_filters"))
    kinds = [str(each.get("typed_config", "@type")).rpartition(".")[2] for each in filters]
    if "ExtAuthz" not in kinds:
        message = "requests pass here without the sidecar being asked: no ext_authz filter"
        yield _error((*manager.place, "http_filters"), "no-authz", message, "see envoy/envoy.yaml")
        return
    index = kinds.index("ExtAuthz")
    if "Router" in kinds[:index]:
        message = "ext_authz stands after the router, so it is never reached"
        yield _error(filters[index].place, "after-router", message, "the router is the last filter")
    for each, kind in zip(filters[index + 1 :], kinds[index + 1 :], strict=True):
        if kind in _CHANGING:
            message = f"{kind} may change the request after it was permitted"
            yield _warning(each.place, "changed-after", message, "put it before ext_authz")
    if filters[index].value.get("disabled") is True:
        message = "ext_authz is disabled where no route enables it"
        yield _error(filters[index].place, "disabled", message, "remove `disabled`")
    yield from _authz(filters[index].below("typed_config"), known, wanted)
    yield from _routes(manager, tables, str(filters[index].value.get("name", _FILTER)), wanted)


def _paths(manager: Part) -> Iterator[Problem]:
    place = manager.place
    if manager.value.get("normalize_path") is not True:
        message = "paths are not normalised, so the sidecar refuses what others would resolve"
        yield _warning(place, "normalise", message, "normalize_path: true")
    if manager.value.get("merge_slashes") is not True:
        message = "// is not merged, so such paths are refused by the sidecar"
        yield _warning(place, "slashes", message, "merge_slashes: true")
    if str(manager.value.get("path_with_escaped_slashes_action")) not in _SAFE_SLASHES:
        message = "escaped slashes are kept, and servers read them differently"
        hint = "path_with_escaped_slashes_action: REJECT_REQUEST"
        yield _warning(place, "escaped-slashes", message, hint)
    action = manager.get("common_http_protocol_options", "headers_with_underscores_action")
    if str(action) not in {"REJECT_REQUEST", "DROP_HEADER"}:
        message = "headers with underscores pass: X_User_Id is X-User-Id to many servers"
        hint = "headers_with_underscores_action: REJECT_REQUEST"
        yield _warning(place, "underscores", message, hint)
    if manager.value.get("use_remote_address") is not True:
        message = "what a client says of its address and its request id is believed"
        yield _warning(place, "trusts-client", message, "use_remote_address: true")


def _authz(authz: Part, known: Mapping[str, Part], wanted: Wanted) -> Iterator[Problem]:
    place = authz.place
    if authz.value.get("failure_mode_allow") is True:
        message = "requests pass while the sidecar cannot be asked"
        yield _error((*place, "failure_mode_allow"), "failure-mode-allow", message, "false")
    for key in ("filter_enabled", "filter_enabled_metadata"):
        if key in authz.value:
            message = "not every request is asked about"
            yield _error((*place, key), "partial", message, f"remove `{key}`")
    if authz.value.get("clear_route_cache") is True:
        message = "the route is chosen again after the request was permitted"
        hint = "clear_route_cache: false; what was checked is what is routed"
        yield _warning((*place, "clear_route_cache"), "clear-route-cache", message, hint)
    if authz.value.get("encode_raw_headers") is not True:
        message = "the sidecar sees a cleaned copy of the request, not what the Basic Server gets"
        yield _warning(place, "raw-headers", message, "encode_raw_headers: true")
    if "with_request_body" in authz.value:
        message = "bodies are sent to the sidecar, which never looks at them"
        yield _warning((*place, "with_request_body"), "body", message, "remove it")
    yield from _mutations(authz, wanted)
    yield from _service(authz, known, wanted)


def _mutations(authz: Part, wanted: Wanted) -> Iterator[Problem]:
    rules = authz.below("decoder_header_mutation_rules")
    if rules.value.get("disallow_all") is not True:
        message = "the sidecar may set any header, not its own alone"
        hint = "decoder_header_mutation_rules: {disallow_all: true, allow_expression: ...}"
        yield _info(rules.place, "mutation-rules", message, hint)
        return
    expression = rules.get("allow_expression", "regex")
    if not isinstance(expression, str):
        return
    try:
        allowed = re.compile(expression)
    except re.error:
        return  # RE2 is another language; Envoy says what it does not take
    barred = [name for name in wanted.headers if not allowed.fullmatch(name)]
    if barred:
        message = f"the sidecar may not touch {', '.join(barred)}: allowed requests become 500"
        place = (*rules.place, "allow_expression")
        yield _error(place, "mutation-rules", message, "name them in the expression")


def _service(authz: Part, known: Mapping[str, Part], wanted: Wanted) -> Iterator[Problem]:
    service = authz.below("grpc_service")
    if not service.value:
        message = "the sidecar is asked over gRPC, and there is no `grpc_service`"
        yield _error(authz.place, "service", message, "see envoy/envoy.yaml")
        return
    timeout = seconds(service.value.get("timeout"))
    if timeout is None or timeout < LEAST_TIMEOUT:
        message = "there is no timeout of at least 200 ms, so a short pause denies requests"
        yield _warning(service.place, "timeout", message, "timeout: 3s, beside envoy_grpc")
    name = service.get("envoy_grpc", "cluster_name")
    if name is None:
        return
    cluster = known.get(str(name))
    if cluster is None:
        message = f"there is no cluster {quoted(str(name))} to ask"
        yield _error((*service.place, "envoy_grpc"), "service", message)
        return
    if not _speaks_http2(cluster):
        message = "the sidecar's cluster does not speak HTTP/2, so no answer will ever come"
        hint = "explicit_http_config: {http2_protocol_options: {}}"
        yield _error(cluster.place, "http2", message, hint)
    if wanted.address is not None:
        for place, address in _addresses(cluster):
            if not _same(address, wanted.address):
                message = f"Envoy asks {address}, the sidecar listens on {wanted.address}"
                yield _error(place, "address", message, "`listen.authz` in sidecar.yaml")


def _speaks_http2(cluster: Part) -> bool:
    options = mapping(cluster.get("typed_extension_protocol_options"))
    explicit = (mapping(mapping(each).get("explicit_http_config")) for each in options.values())
    return "http2_protocol_options" in cluster.value or any(
        "http2_protocol_options" in each for each in explicit
    )


def _addresses(cluster: Part) -> Iterator[tuple[Place, str]]:
    for group in cluster.each("load_assignment", "endpoints"):
        for each in group.each("lb_endpoints"):
            address = each.below("endpoint", "address")
            pipe, host = address.get("pipe", "path"), address.get("socket_address", "address")
            if pipe is not None:
                yield address.place, f"unix:{pipe}"
            elif host is not None:
                shown = f"[{host}]" if ":" in str(host) else host
                port = address.get("socket_address", "port_value")
                yield address.place, f"{shown}:{port}"


def _same(asked: str, listened: str) -> bool:
    """Say whether what Envoy asks reaches what is listened on."""
    if asked == listened or asked.startswith("unix:") or listened.startswith("unix:"):
        return asked == listened
    try:
        (_, asked_port), (host, port) = split_address(asked), split_address(listened)
    except BadValueError:
        return False  # what Envoy has is no address
    return asked_port == port and host in _EVERYWHERE


def _routes(
    manager: Part, tables: Mapping[str, Part], name: str, wanted: Wanted
) -> Iterator[Problem]:
    table = manager.below("route_config")
    if "rds" in manager.value:
        found = tables.get(str(manager.get("rds", "route_config_name")))
        if found is None:
            message = "its routes come by RDS, so they are not looked at here"
            hint = "give a config_dump of the running Envoy"
            yield _info((*manager.place, "rds"), "dynamic", message, hint)
            return
        table = found
    hosts = list(table.each("virtual_hosts"))
    routes = chain.from_iterable(host.each("routes") for host in hosts)
    for part in (table, *hosts, *routes):
        own = part.below("typed_per_filter_config", name)
        if own.value.get("disabled") is True:
            message = "here the sidecar is not asked, and a client's identity headers pass"
            hint = "make the route public in routes.yaml instead"
            yield _error((*own.place, "disabled"), "disabled-on-route", message, hint)
        for index, option in enumerate(sequence(part.value.get("request_headers_to_add"))):
            header = str(mapping(mapping(option).get("header")).get("key")).lower()
            if header in wanted.headers:
                place = (*part.place, "request_headers_to_add", index)
                message = f"Envoy sets {quoted(header)} itself, after the sidecar or instead of it"
                yield _error(place, "identity-header", message, "the sidecar alone sets it")


def _error(place: Place, code: str, message: str, hint: str = "") -> Problem:
    return Problem(place, code, message, hint)


def _warning(place: Place, code: str, message: str, hint: str = "") -> Problem:
    return Problem(place, code, message, hint, Severity.WARNING)


def _info(place: Place, code: str, message: str, hint: str = "") -> Problem:
    return Problem(place, code, message, hint, Severity.INFO)
