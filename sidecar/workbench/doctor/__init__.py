"""Finds what in an Envoy configuration lets requests bypass the sidecar, or weakens it."""

from collections.abc import Iterator
from itertools import islice

from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.allowlist import walk
from sidecar.workbench.doctor.context import Context, Wanted, error
from sidecar.workbench.doctor.document import Part, is_bounded, type_name
from sidecar.workbench.doctor.encoded import kept_slashes
from sidecar.workbench.doctor.filters import EXT_AUTHZ, kinds_of
from sidecar.workbench.doctor.profile import Profile, load_profile
from sidecar.workbench.doctor.service import addresses, same
from sidecar.workbench.doctor.sources import Source, read

__all__ = ["Wanted", "examine"]

MAX_FINDINGS = 1000  # enough to read; a hostile file could cause hundreds of thousands
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def examine(document: object, wanted: Wanted, profile: str = "default") -> Iterator[Problem]:
    """Yield every problem of an Envoy configuration, at most ``MAX_FINDINGS`` of them."""
    if not is_bounded(document):
        message = "this file is too large to examine after its aliases are expanded"
        yield error((), "too-large", message, "give doctor the configuration of one Envoy")
        return
    source = read(document)
    managers = [
        manager
        for listener in source.listeners
        for manager in _managers(listener)
        if EXT_AUTHZ in kinds_of(manager)
    ]
    problems = kept_slashes(_problems(source, wanted, load_profile(profile)), managers, wanted)
    yield from islice(problems, MAX_FINDINGS)
    if next(problems, None) is not None:
        yield error((), "too-many", f"only the first {MAX_FINDINGS} findings are shown")


def _problems(source: Source, wanted: Wanted, profile: Profile) -> Iterator[Problem]:
    context = _context(source, wanted, profile)
    yield from source.problems
    if source.bootstrap is not None:
        yield from walk(source.bootstrap, "Bootstrap", context)
    if not source.listeners:
        yield error((), "no-listener", "the file has no listener", "a bootstrap or a config_dump")
    for listener in source.listeners:
        if _is_stats(listener, context):
            yield from walk(listener, "StatsListener", context)
            continue
        yield from walk(listener, "Listener", context)
        for manager in _managers(listener):
            if manager.has("rds"):
                table = context.tables.get(str(manager.get("rds", "route_config_name")))
                if table is not None:
                    yield from walk(table, "RouteConfiguration", context)
    seen: set[str] = set()
    for cluster in source.clusters:
        name = str(cluster.get("name"))
        if name in seen:
            yield error(cluster.place, "twice", "duplicate cluster name", "keep one")
        seen.add(name)
        yield from walk(cluster, "AuthzCluster" if name in context.authz else "Cluster", context)


def _context(source: Source, wanted: Wanted, profile: Profile) -> Context:
    authz = {
        str(each.get("typed_config", "grpc_service", "envoy_grpc", "cluster_name"))
        for listener in source.listeners
        for manager in _managers(listener)
        for each in manager.each("http_filters")
        if type_name(each.below("typed_config")) == EXT_AUTHZ
    }
    clusters: dict[str, Part] = {}
    admin: set[str] = set()
    reserved: dict[str, tuple[str, str]] = {}
    own = [address for address in (wanted.address, *wanted.own) if address is not None]
    for cluster in source.clusters:
        name = str(cluster.get("name"))
        clusters.setdefault(name, cluster)
        reached = {address for _, address in addresses(cluster)}
        if source.admin is not None and source.admin in reached:
            if reached == {source.admin}:
                admin.add(name)
            reserved[name] = "admin", "Envoy's admin interface, which can stop it and log tokens"
        elif name in authz or any(same(each, one) for each in reached for one in own):
            reserved[name] = "reroute", "the sidecar itself instead of the Basic Server"
    return Context(
        profile, wanted, clusters, frozenset(authz), frozenset(admin), source.tables, reserved
    )


def _managers(listener: Part) -> Iterator[Part]:
    """Yield the HTTP connection managers of a listener."""
    chains = [*listener.each("filter_chains"), listener.below("default_filter_chain")]
    for chain in chains:
        for each in chain.each("filters"):
            manager = each.below("typed_config")
            if type_name(manager) == MANAGER:
                yield manager


def _is_stats(listener: Part, context: Context) -> bool:
    """Return whether a listener leads only to Envoy's admin interface, so needs no ext_authz."""
    managers = list(_managers(listener))
    clusters = {
        str(route.get("route", "cluster"))
        for manager in managers
        for host in manager.each("route_config", "virtual_hosts")
        for route in host.each("routes")
    }
    asked = any(EXT_AUTHZ in kinds_of(manager) for manager in managers)
    return not asked and bool(clusters) and clusters <= context.admin
