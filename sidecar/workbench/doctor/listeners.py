"""What a listener is for: clients, Envoy's own pages, or answers that Envoy gives by itself."""

from collections.abc import Iterable, Iterator

from sidecar.documents.findings import Problem, quoted
from sidecar.workbench.doctor.context import Context, error, warning
from sidecar.workbench.doctor.document import Part, type_name
from sidecar.workbench.doctor.filters import CORS, EXT_AUTHZ, RBAC, ROUTER, kinds_of
from sidecar.workbench.doctor.service import addresses
from sidecar.workbench.doctor.sources import managers

PAGES = frozenset({"/ready", "/stats/prometheus", "/stats"})  # of the admin interface
ANSWERS = ("direct_response", "redirect")


def routes(listener: Part, context: Context) -> Iterator[Part]:
    """Yield the routes of a listener's managers, also those of tables in the file."""
    for manager in managers(listener):
        for host in table_of(manager, context).each("virtual_hosts"):
            yield from host.each("routes")


def table_of(manager: Part, context: Context) -> Part:
    """Return a manager's routes; without virtual hosts if the file does not contain them."""
    if not manager.has("rds"):
        return manager.below("route_config")
    name = str(manager.get("rds", "route_config_name"))
    return context.tables.get(name, Part((*manager.place, manager.key("rds")), {}))


def forwards(listener: Part, context: Context) -> bool:
    """Say whether a listener sends HTTP requests on, or has routes that the file lacks."""
    lacks = any(not table_of(each, context).has("virtual_hosts") for each in managers(listener))
    return lacks or any(route.has("route") for route in routes(listener, context))


def is_checked(listener: Part) -> bool:
    """Say whether a listener asks the sidecar."""
    return any(EXT_AUTHZ in kinds_of(manager) for manager in managers(listener))


def is_stats(listener: Part, context: Context) -> bool:
    """Return whether a listener leads only to Envoy's admin interface, so needs no ext_authz."""
    clusters = set(_clusters(listener, context))
    return not is_checked(listener) and bool(clusters) and clusters <= context.admin


def is_for_pages(listener: Part, context: Context) -> bool:
    """Say whether a listener has only the paths of Envoy's own pages, wherever it leads."""
    paths = [route.get("match", "path") for route in routes(listener, context)]
    return bool(paths) and PAGES.issuperset(map(str, paths)) and not is_checked(listener)


def astray(listener: Part, context: Context, admin: str | None) -> Iterator[Problem]:
    """Yield that a listener for Envoy's pages leads to an address where Envoy's admin is not."""
    if admin is None or not is_for_pages(listener, context) or is_stats(listener, context):
        return
    for name in dict.fromkeys(_clusters(listener, context)):
        if name in context.clusters:
            where = [address for _, address in addresses(context.clusters[name])]
            message = (
                f"the listener {quoted(str(listener.get('name')))} leads to {', '.join(where)}, "
                f"and Envoy's admin interface is at {admin}"
            )
            yield error(context.clusters[name].place, "admin", message, "the same address in both")


def only_answers(listener: Part, context: Context) -> bool:
    """Say whether Envoy itself answers every request of a listener, so that none needs a Check."""
    chains = [*listener.each("filter_chains"), listener.below("default_filter_chain")]
    filters = [each for chain in chains for each in chain.each("filters")]
    found = list(managers(listener))
    if not found or len(found) != len(filters):
        return False
    harmless = {CORS, RBAC, ROUTER, *context.profile["Harmless"].protos}
    for manager in found:
        hosts = list(table_of(manager, context).each("virtual_hosts"))
        answers = [
            any(map(route.has, ANSWERS)) and not route.has("route")
            for host in hosts
            for route in host.each("routes")
        ]
        if not all(answers) or not hosts or not harmless.issuperset(kinds_of(manager)):
            return False
    return True


def _clusters(listener: Part, context: Context) -> Iterator[str]:
    """Yield the clusters to which a listener's routes lead; `None` for another kind of route."""
    for route in routes(listener, context):
        yield str(route.get("route", "cluster"))


def named_clusters(listener: Part, context: Context) -> set[str]:
    """Return the names of the clusters that a listener uses."""
    names = set(_clusters(listener, context))
    for route in routes(listener, context):
        weighted = route.below("route", "weighted_clusters")
        names |= {str(each.get("name")) for each in weighted.each("clusters")}
    for manager in managers(listener):
        for each in manager.each("http_filters"):
            service = each.below("typed_config", "grpc_service", "envoy_grpc")
            names.add(str(service.get("cluster_name")))
    return names


def unchecked_routes(listener: Part, context: Context, hint: str) -> Iterator[Problem]:
    """Yield the routes that no ext_authz filter is enabled for, where each is disabled at first."""
    for manager in managers(listener):
        names = [
            str(each.get("name"))
            for each in manager.each("http_filters")
            if type_name(each.below("typed_config")) == EXT_AUTHZ
        ]
        disabled = {
            str(each.get("name"))
            for each in manager.each("http_filters")
            if each.get("disabled") is True
        }
        if not disabled.issuperset(names):
            continue
        table = table_of(manager, context)
        if not table.has("virtual_hosts"):
            message = "the file does not contain the routes, which enable ext_authz"
            yield warning(table.place, "dynamic", message, "a whole config_dump")
        for host in table.each("virtual_hosts"):
            for route in host.each("routes"):
                enabled = any(
                    _enables(scope.below("typed_per_filter_config", name))
                    for scope in (route, host, table)
                    for name in names
                )
                if not enabled and not any(map(route.has, ANSWERS)):
                    message = "requests of this route pass without a Check"
                    yield error(route.place, "disabled-on-route", message, hint)


def _enables(config: Part) -> bool:
    """Say whether a route's configuration of a filter enables it."""
    kind = type_name(config)
    if not kind or config.get("disabled") is True:
        return False
    return kind.endswith((".FilterConfig", ".ExtAuthzPerRoute"))


def collectors_of(listeners: Iterable[Part]) -> frozenset[str]:
    """Return the clusters that OpenTelemetry tracers send spans to."""
    provider = ("tracing", "provider", "typed_config")
    senders = (
        ("http_service", "http_uri", "cluster"),
        ("grpc_service", "envoy_grpc", "cluster_name"),
    )
    return frozenset(
        name
        for listener in listeners
        for manager in managers(listener)
        for sender in senders
        if isinstance(name := manager.get(*provider, *sender), str)
    )
