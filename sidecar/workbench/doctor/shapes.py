"""The resources in a file, in whatever shape a tool writes them.

A bootstrap; a config_dump, whole or by ``?resource=``, of Envoy, istioctl or egctl, which nests it
under names; the lists of ``istioctl proxy-config``; the file of an xDS path (DiscoveryResponse).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sidecar.documents.findings import Place
from sidecar.documents.untyped import mapping, sequence
from sidecar.workbench.doctor.document import Part

MAX_NESTED = 4  # mappings around a dump: egctl has one for the namespace and one for the pod
TYPED_STRUCTS = (".TypedStruct",)  # xds.type.v3, udpa.type.v1
STATES = ("active_state", "warming_state", "draining_state")
STATIC_LISTENERS, DYNAMIC_LISTENERS = "static_listeners", "dynamic_listeners"
_CLUSTERS = ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters")
_CLUSTER_FIELDS = ("load_assignment", "connect_timeout", "lb_policy", "eds_cluster_config")

Pin = Callable[[Place], object]


class Resources(NamedTuple):
    """What a file holds. ``sections`` are those of a dump; ``others`` are dumps not examined."""

    bootstraps: list[Part]
    static_listeners: list[Part]
    dynamic_listeners: list[Part]
    clusters: list[Part]
    tables: list[Part]
    extensions: list[Part]
    sections: list[Part]
    others: list[Part]


def resources(document: object) -> Resources | None:
    """Return the resources of a dump or a list, None for anything else, such as a bootstrap."""
    dumps = list(_dumps(Part((), mapping(document)), MAX_NESTED))
    if isinstance(document, list):
        sections = [Part((index,), mapping(item)) for index, item in enumerate(document)]
    elif dumps:
        sections = list(dumps[0].each("configs"))
    elif sequence(mapping(document).get("resources")):
        sections = list(Part((), mapping(document)).each("resources"))
    elif mapping(mapping(document).get("bootstrap")):
        sections = [Part((), mapping(document))]
    else:
        return None
    found = Resources([], [], [], [], [], [], sections, dumps[1:])
    for section in sections:
        _sort(section, found)
    return found


def _dumps(part: Part, depth: int) -> Iterator[Part]:
    if part.has("static_resources"):
        return
    if sequence(part.value.get("configs")):
        yield part
    elif depth:
        for key, value in part.value.items():
            if isinstance(value, dict):
                yield from _dumps(Part((*part.place, key), value), depth - 1)


def _sort(part: Part, found: Resources) -> None:
    """Put a section of a dump, or a single resource, where it belongs."""
    if part.has("bootstrap"):
        found.bootstraps.append(part.below("bootstrap"))
    elif part.has("static_resources") or part.has("admin"):
        found.bootstraps.append(part)
    found.static_listeners.extend(each.below("listener") for each in part.each(STATIC_LISTENERS))
    for entry in part.each(DYNAMIC_LISTENERS):
        found.dynamic_listeners.extend(_states(entry))
    found.dynamic_listeners.extend(_states(part))
    for key in _CLUSTERS:
        found.clusters.extend(each.below("cluster") for each in part.each(key))
    for key in ("dynamic_route_configs",):
        found.tables.extend(each.below("route_config") for each in part.each(key))
    found.extensions.extend(each.below("ecds_filter") for each in part.each("ecds_filters"))
    if part.has("filter_chains") or part.has("default_filter_chain"):
        found.static_listeners.append(part)
    elif part.has("listener"):
        found.static_listeners.append(part.below("listener"))
    elif part.has("cluster"):
        found.clusters.append(part.below("cluster"))
    elif part.has("route_config"):
        found.tables.append(part.below("route_config"))
    elif part.has("ecds_filter"):
        found.extensions.append(part.below("ecds_filter"))
    elif part.has("virtual_hosts"):
        found.tables.append(part)
    elif part.has("name") and part.has("typed_config"):
        found.extensions.append(part)
    elif part.has("name") and any(map(part.has, _CLUSTER_FIELDS)):
        found.clusters.append(part)


def _states(entry: Part) -> Iterator[Part]:
    return (entry.below(state, "listener") for state in STATES if entry.has(state))


def unwrap(document: object, pin: Pin) -> None:
    """Replace each TypedStruct by the message in it, which keeps its position.

    ``pin`` is called with the place of each message before it moves.
    """
    left: list[tuple[Place, Any]] = [((), document)]
    seen: set[int] = set()
    while left:
        place, value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(sequence(value))
        for key, item in list(items):
            inner = item
            while isinstance(inner, dict) and _is_struct(inner) and id(inner) not in seen:
                seen.add(id(inner))
                pin((*place, key, "value"))
                message = mapping(inner.get("value"))
                kind = inner.get("type_url", inner.get("typeUrl"))
                inner = dict(message) if "value" not in inner else message
                inner["@type"] = kind
                value[key] = inner
            if isinstance(inner, dict | list):
                left.append(((*place, key), inner))


def _is_struct(value: object) -> bool:
    kind = mapping(value).get("@type")
    return isinstance(kind, str) and kind.endswith(TYPED_STRUCTS)
