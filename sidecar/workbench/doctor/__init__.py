"""Finds what in an Envoy configuration lets requests bypass the sidecar, or weakens it."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice

from sidecar.documents.findings import Place, Problem, quoted
from sidecar.workbench.doctor.allowlist import walk
from sidecar.workbench.doctor.callers import unverified_callers
from sidecar.workbench.doctor.context import Context, Wanted, error, info, warning
from sidecar.workbench.doctor.document import Part, is_bounded, type_name
from sidecar.workbench.doctor.encoded import kept_slashes
from sidecar.workbench.doctor.filters import EXT_AUTHZ, kinds_of
from sidecar.workbench.doctor.gateway import without_gateway
from sidecar.workbench.doctor.listeners import (
    astray,
    collectors_of,
    forwards,
    is_checked,
    is_for_pages,
    is_stats,
    named_clusters,
    only_answers,
    unchecked_routes,
)
from sidecar.workbench.doctor.memory import with_memory
from sidecar.workbench.doctor.mesh import Mesh, load_mesh
from sidecar.workbench.doctor.profile import PROFILES, Profile, load_profile
from sidecar.workbench.doctor.service import addresses, as_text, same
from sidecar.workbench.doctor.shapes import Pin
from sidecar.workbench.doctor.sources import Source, managers, read, with_endpoints

__all__ = ["Wanted", "examine"]

MAX_NAMED = 20  # listeners that a message names
MAX_FINDINGS = 1000  # enough to read; a hostile file could cause hundreds of thousands


def _no_pin(place: Place) -> None:
    """Ignore a place."""


def examine(
    document: object,
    wanted: Wanted,
    profile: str = "default",
    *,
    only: Collection[str] = (),
    pin: Pin = _no_pin,
) -> Iterator[Problem]:
    """Yield every problem of an Envoy configuration, at most ``MAX_FINDINGS`` of them.

    ``only`` are the names of the listeners to examine, all if it is empty. Messages within the
    document may move to where they are used; ``pin`` is called with their places before that.
    """
    source = read(document, pin)
    mesh = load_mesh(PROFILES, profile)
    if wanted.gateway is not None and mesh is None:
        source = without_gateway(source, wanted.gateway)
    elif mesh is None:
        source = with_memory(source, wanted, pin)
    else:
        source = with_endpoints(source)
    problems = _chosen(source, wanted, load_profile(), mesh, only)
    yield from islice(problems, MAX_FINDINGS)
    if next(problems, None) is not None:
        yield error((), "too-many", f"only the first {MAX_FINDINGS} findings are shown")


def _chosen(
    source: Source, wanted: Wanted, profile: Profile, mesh: Mesh | None, only: Collection[str]
) -> Iterator[Problem]:
    """Examine the listeners that the caller chose, with what they use."""
    if only:
        yield from _unknown(source, only)
    elif mesh is not None:
        yield from _unasked(source, _context(source, wanted, profile), mesh)
    if only or mesh is not None:
        source = _reduced(source, only, _context(replace(source, clusters=()), wanted, profile))
    if not is_bounded(source.parts()):
        message = "this file is too large to examine after its aliases are expanded"
        yield error((), "too-large", message, "the configuration of one Envoy, or --listener NAME")
        return
    context = replace(_context(source, wanted, profile), mesh=mesh)
    found = _problems(source, context) if mesh is None else _mesh_problems(source, context, mesh)
    asking = [
        manager
        for listener in source.listeners
        for manager in managers(listener)
        if EXT_AUTHZ in kinds_of(manager)
    ]
    yield from kept_slashes(found, asking, wanted)
    for listener in source.listeners:
        if any(manager in asking for manager in managers(listener)):
            yield from unverified_callers(listener, wanted)


def _unknown(source: Source, only: Collection[str]) -> Iterator[Problem]:
    names = [str(each.get("name")) for each in source.listeners]
    for name in sorted(set(only).difference(names)):
        has = ", ".join(map(quoted, names[:MAX_NAMED])) or "none"
        message = f"the file has no listener {quoted(name)}"
        yield error((), "no-listener", message, f"its listeners: {has}")


def _unasked(source: Source, context: Context, mesh: Mesh) -> Iterator[Problem]:
    """Yield which listeners for clients do not ask the sidecar, so that they are not examined."""
    names = [
        str(each.get("name"))
        for each in source.listeners
        if each.get("traffic_direction") == "INBOUND" or not mesh.inbound
        if forwards(each, context) and not is_checked(each) and not is_stats(each, context)
    ]
    if names:
        shown = ", ".join(map(quoted, names[:MAX_NAMED]))
        message = f"{len(names)} of the listeners do not ask the sidecar: {shown}"
        yield warning((), "no-authz", message, mesh.write["code:no-authz"])


def _reduced(source: Source, only: Collection[str], context: Context) -> Source:
    """Return the listeners with these names, else those that ask the sidecar; and what they use."""
    listeners = tuple(
        each
        for each in source.listeners
        if (str(each.get("name")) in only if only else is_checked(each))
    )
    used = {
        str(manager.get("rds", "route_config_name"))
        for listener in listeners
        for manager in managers(listener)
    }
    tables = {name: table for name, table in source.tables.items() if name in used}
    source = replace(source, listeners=listeners, tables=tables)
    clusters = source.clusters
    if is_bounded(replace(source, clusters=()).parts()):
        reached = {name for each in listeners for name in named_clusters(each, context)}
        clusters = tuple(each for each in clusters if str(each.get("name")) in reached)
    return replace(source, clusters=clusters)


def _mesh_problems(source: Source, context: Context, mesh: Mesh) -> Iterator[Problem]:
    """Examine what concerns the Check in what a mesh generated."""
    for note in mesh.notes:
        yield info((), "mesh", f"{mesh.name}: {note}")
    if not source.listeners:
        message = "no listener of the file asks the sidecar"
        yield error((), "no-authz", message, mesh.write["code:no-authz"])
    for listener in source.listeners:
        yield from _listener(listener, source, context)
        if listener.has("default_filter_chain"):
            yield from walk(listener.below("default_filter_chain"), "FilterChain", context)
        if mesh.per_route:
            yield from unchecked_routes(listener, context, mesh.write["code:disabled-on-route"])
    for name in sorted(context.authz & set(context.clusters)):
        yield from walk(context.clusters[name], "AuthzCluster", context)


def _problems(source: Source, context: Context) -> Iterator[Problem]:
    yield from source.problems
    for entry in source.endpoints:
        message = "a control plane names endpoints (EDS)"
        yield error(entry.place, "dynamic", message, "see envoy/envoy.yaml")
    if source.bootstrap is not None:
        yield from walk(source.bootstrap, "Bootstrap", context)
    yield from _absent(source)
    for listener in source.listeners:
        yield from _listener(listener, source, context)
    seen: set[str] = set()
    for cluster in source.clusters:
        name = str(cluster.get("name"))
        if name in seen:
            yield error(cluster.place, "twice", "duplicate cluster name", "keep one")
        seen.add(name)
        kind = "AuthzCluster" if name in context.authz else "Cluster"
        yield from walk(cluster, "Collector" if name in context.collectors else kind, context)


def _listener(listener: Part, source: Source, context: Context) -> Iterator[Problem]:
    unknown = source.partial and source.admin is None  # where the admin interface is
    if is_stats(listener, context) or (unknown and is_for_pages(listener, context)):
        yield from walk(listener, "StatsListener", context)
        return
    if only_answers(listener, context):
        message = "Envoy itself answers every request here, so none needs a Check"
        yield info(listener.place, "answers", message)
        for manager in managers(listener):
            for log in manager.each("access_log"):
                yield from walk(log, "AccessLog", context)
        return
    if wrong := list(astray(listener, context, source.admin)):
        yield from wrong  # what else doctor would find follows from it
        return
    yield from walk(listener, "Listener", context)
    for manager in managers(listener):
        if manager.has("rds"):
            table = context.tables.get(str(manager.get("rds", "route_config_name")))
            if table is not None:
                yield from walk(table, "RouteConfiguration", context)


def _absent(source: Source) -> Iterator[Problem]:
    """Yield what the file does not contain."""
    if not source.listeners and not source.partial:
        yield error((), "no-listener", "the file has no listener", "a bootstrap or a config_dump")
    elif not source.listeners:
        message = "the file has no listener, so its filters are not examined"
        yield warning((), "no-listener", message, "a whole config_dump")
    if source.partial and not source.clusters:
        message = "the file has no clusters, so their addresses are not examined"
        yield warning((), "no-cluster", message, "a whole config_dump")


def _context(source: Source, wanted: Wanted, profile: Profile) -> Context:
    authz = {
        str(each.get("typed_config", "grpc_service", "envoy_grpc", "cluster_name"))
        for listener in source.listeners
        for manager in managers(listener)
        for each in manager.each("http_filters")
        if type_name(each.below("typed_config")) == EXT_AUTHZ
    }
    collectors = collectors_of(source.listeners) - authz
    clusters: dict[str, Part] = {}
    admin: set[str] = set()
    reserved: dict[str, tuple[str, str]] = {}
    for name in collectors:
        reserved[name] = "reroute", "the collector of spans instead of the Basic Server"
    own = [address for address in (wanted.address, *wanted.own) if address is not None]
    listened = (as_text(listener.below("address")) for listener in source.listeners)
    envoys = [address for address in listened if address is not None]
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
        elif any(same(each, one) for each in reached for one in envoys):
            reserved[name] = "reroute", "a listener of this Envoy instead of the Basic Server"
    return Context(
        profile,
        wanted,
        clusters,
        frozenset(authz),
        frozenset(admin),
        source.tables,
        reserved,
        partial=source.partial,
        memories=source.memories,
        collectors=collectors,
    )
