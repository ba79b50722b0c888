"""Reads a file: a bootstrap, or the config_dump of a running Envoy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from sidecar.documents.findings import Problem
from sidecar.documents.untyped import mapping
from sidecar.workbench.doctor.context import error
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.service import as_text

_HINT = "see envoy/envoy.yaml"


@dataclass(frozen=True)
class Source:
    """Everything to examine. ``bootstrap`` is None for a dump without one."""

    bootstrap: Part | None
    listeners: tuple[Part, ...]
    clusters: tuple[Part, ...]
    tables: Mapping[str, Part]
    problems: tuple[Problem, ...] = ()

    @property
    def admin(self) -> str | None:
        """Return the address of Envoy's admin interface."""
        return None if self.bootstrap is None else as_text(self.bootstrap.below("admin", "address"))


def read(document: object) -> Source:
    """Return the parts of a document that are to be examined."""
    whole = Part((), mapping(document))
    if whole.has("configs") and not whole.has("static_resources"):
        return _dump(list(whole.each("configs")))
    return Source(whole, tuple(_static(whole, "listeners")), tuple(_static(whole, "clusters")), {})


def _static(bootstrap: Part, what: str) -> Iterator[Part]:
    return bootstrap.each("static_resources", what)


def _dump(sections: list[Part]) -> Source:
    bootstraps = [each.below("bootstrap") for each in sections if each.has("bootstrap")]
    bootstrap = bootstraps[0] if bootstraps else None
    static = list(_entries(sections, ("static_listeners",), "listener"))
    dynamic = [
        entry.below(state, "listener")
        for entry in _each(sections, "dynamic_listeners")
        for state in ("active_state", "warming_state", "draining_state")
        if entry.has(state)
    ]
    keys = ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters")
    clusters = list(_entries(sections, keys, "cluster"))
    tables = list(_entries(sections, ("dynamic_route_configs",), "route_config"))
    if bootstrap is not None:
        static = static or list(_static(bootstrap, "listeners"))
        clusters = clusters or list(_static(bootstrap, "clusters"))
    return Source(
        bootstrap,
        (*static, *dynamic),
        tuple(clusters),
        {str(table.get("name")): table for table in tables},
        tuple(_hidden(sections, bool(static))),
    )


def _each(sections: list[Part], key: str) -> Iterator[Part]:
    return chain.from_iterable(section.each(key) for section in sections)


def _entries(sections: list[Part], keys: tuple[str, ...], inner: str) -> Iterator[Part]:
    for key in keys:
        for entry in _each(sections, key):
            yield entry.below(inner)


def _hidden(sections: list[Part], static: bool) -> Iterator[Problem]:
    """Yield what a control plane of the running Envoy adds to what this file shows."""
    sections_with = {
        "inline_scoped_route_configs": "routes are chosen by a header (scoped routes)",
        "dynamic_scoped_route_configs": "routes are chosen by a header (scoped routes)",
        "ecds_filters": "a control plane can replace filters (ECDS)",
        "dynamic_endpoint_configs": "a control plane names endpoints (EDS)",
    }
    for key, message in sections_with.items():
        for entry in _each(sections, key):
            yield error(entry.place, "dynamic", message, _HINT)
    if static:
        for entry in _each(sections, "dynamic_listeners"):
            message = "a control plane adds listeners to those of the bootstrap"
            yield error(entry.place, "dynamic", message, "remove dynamic_resources")
