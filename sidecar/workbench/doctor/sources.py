"""Reads a file: a bootstrap, the config_dump of a running Envoy, or a part of one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sidecar.documents.findings import Place, Problem, quoted
from sidecar.documents.untyped import mapping
from sidecar.workbench.doctor.context import error, info, warning
from sidecar.workbench.doctor.document import MANAGER, Part, type_name
from sidecar.workbench.doctor.service import as_text
from sidecar.workbench.doctor.shapes import Pin, Resources, resources, unwrap

_HINT = "see envoy/envoy.yaml"


@dataclass(frozen=True)
class Source:
    """Everything to examine. ``bootstrap`` is None for a dump without one.

    ``partial`` says that what the file lacks may exist: listeners, clusters, routes. ``endpoints``
    are those that a control plane names (EDS), as entries of a dump. ``memories`` are the places of
    the filters that remember allows.
    """

    bootstrap: Part | None
    listeners: tuple[Part, ...]
    clusters: tuple[Part, ...]
    tables: Mapping[str, Part] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    partial: bool = False
    endpoints: tuple[Part, ...] = ()
    memories: frozenset[Place] = frozenset()

    @property
    def admin(self) -> str | None:
        """Return the address of Envoy's admin interface."""
        return None if self.bootstrap is None else as_text(self.bootstrap.below("admin", "address"))

    def parts(self) -> list[object]:
        """Return the values that are examined."""
        found = [*self.listeners, *self.clusters, *self.tables.values()]
        return [part.value for part in (*found, *([self.bootstrap] if self.bootstrap else ()))]


def read(document: object, pin: Pin) -> Source:
    """Return the parts of a document that are to be examined.

    Messages move in the document to where they are used: out of a TypedStruct, and from ECDS into
    their filter. ``pin`` is called with the place of each before that.
    """
    unwrap(document, pin)
    found = resources(document)
    if found is not None:
        return _dump(found, pin)
    whole = Part((), mapping(document))
    listeners, clusters = (tuple(_static(whole, what)) for what in ("listeners", "clusters"))
    return Source(whole, listeners, clusters)


def managers(listener: Part) -> Iterator[Part]:
    """Yield the HTTP connection managers of a listener."""
    chains = [*listener.each("filter_chains"), listener.below("default_filter_chain")]
    for chain in chains:
        for each in chain.each("filters"):
            manager = each.below("typed_config")
            if type_name(manager) == MANAGER:
                yield manager


def with_endpoints(source: Source) -> Source:
    """Return clusters that have the endpoints that a control plane names for them (EDS)."""
    assigned = {}
    for each in source.endpoints:
        config = each.below("endpoint_config")
        assigned[str(config.get("cluster_name"))] = config.value
    clusters = []
    for cluster in source.clusters:
        name = cluster.get("eds_cluster_config", "service_name") or cluster.get("name")
        found = {} if cluster.has("load_assignment") else assigned.get(str(name), {})
        more = {"load_assignment": found} if found else {}
        clusters.append(Part(cluster.place, {**cluster.value, **more}))
    return replace(source, clusters=tuple(clusters))


def _static(bootstrap: Part, what: str) -> Iterator[Part]:
    return bootstrap.each("static_resources", what)


def _dump(found: Resources, pin: Pin) -> Source:
    bootstrap = found.bootstraps[0] if found.bootstraps else None
    static, clusters = found.static_listeners, found.clusters
    if bootstrap is not None:
        static = static or list(_static(bootstrap, "listeners"))
        named = {each.get("name") for each in clusters}
        own = _static(bootstrap, "clusters")  # egctl has these only in the bootstrap
        clusters += [each for each in own if each.get("name") not in named]
    listeners = (*static, *found.dynamic_listeners)
    problems = [*_discovered(listeners, found, pin), *_hidden(found, bool(static))]
    tables = {str(table.get("name")): table for table in found.tables}
    anything = bootstrap is not None or listeners or clusters or tables or found.extensions
    partial = bool(anything) and (bootstrap is None or not (listeners and clusters))
    endpoints = [e for section in found.sections for e in section.each("dynamic_endpoint_configs")]
    return Source(
        bootstrap, listeners, tuple(clusters), tables, tuple(problems), partial, tuple(endpoints)
    )


def _discovered(listeners: tuple[Part, ...], found: Resources, pin: Pin) -> Iterator[Problem]:
    """Give each filter what ECDS has for it, and yield that a control plane can change it."""
    extensions = {str(each.get("name")): each for each in found.extensions}
    used: set[str] = set()
    for listener in listeners:
        for manager in managers(listener):
            for each in manager.each("http_filters"):
                name = str(each.get("name"))
                key = each.key("config_discovery")
                if key not in each.value or name not in extensions:
                    continue
                used.add(name)
                config = extensions[name].below("typed_config")
                pin(config.place)
                pin((*each.place, key))
                message = f"a control plane can replace {quoted(name)}; its present settings count"
                yield warning((*each.place, key), "dynamic", message, "typed_config, not ECDS")
                del each.value[key]
                each.value["typed_config"] = config.value
    for name, each in extensions.items():
        if name not in used:
            message = "a control plane can replace filters (ECDS)"
            yield error(each.place, "dynamic", message, _HINT)


def _hidden(found: Resources, static: bool) -> Iterator[Problem]:
    """Yield what a control plane of the running Envoy adds to what this file shows."""
    sections_with = {
        "inline_scoped_route_configs": "routes are chosen by a header (scoped routes)",
        "dynamic_scoped_route_configs": "routes are chosen by a header (scoped routes)",
    }
    for section in found.sections:
        for key, message in sections_with.items():
            for entry in section.each(key):
                yield error(entry.place, "dynamic", message, _HINT)
    if static and found.bootstraps:
        for listener in found.dynamic_listeners:
            message = "a control plane adds listeners to those of the bootstrap"
            yield error(listener.place, "dynamic", message, "remove dynamic_resources")
    for other in found.others:
        message = "the file has several dumps; only the first one is examined"
        yield info(other.place, "several", message, "give doctor the dump of one Envoy")
