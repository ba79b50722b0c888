"""An Envoy configuration, a bootstrap or a config_dump, as its listeners, clusters and routes."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sidecar.config.findings import Place
from sidecar.config.raw import at, mapping, sequence

MANAGER = "HttpConnectionManager"


class Part(NamedTuple):
    """A mapping of the document, and where it stands."""

    place: Place
    value: Mapping[str, object]

    def get(self, *keys: str) -> object:
        """Return what lies at the end of these keys, None where the way breaks off."""
        return at(self.value, *keys)

    def below(self, *keys: str) -> "Part":
        """Return the mapping at the end of these keys, an empty one where there is none."""
        return Part((*self.place, *keys), mapping(self.get(*keys)))

    def each(self, *keys: str) -> Iterator["Part"]:
        """Yield the mappings of the list at the end of these keys."""
        for index, item in enumerate(sequence(self.get(*keys))):
            yield Part((*self.place, *keys, index), mapping(item))


def listeners(document: object) -> Iterator[Part]:
    """Yield every listener that is configured, static or in force."""
    whole = Part((), mapping(document))
    yield from whole.each("static_resources", "listeners")
    for dump in whole.each("configs"):
        for entry in dump.each("static_listeners"):
            yield entry.below("listener")
        for entry in dump.each("dynamic_listeners"):
            yield entry.below("active_state", "listener")


def clusters(document: object) -> Mapping[str, Part]:
    """Return every cluster by name."""
    whole = Part((), mapping(document))
    found = list(whole.each("static_resources", "clusters"))
    for dump in whole.each("configs"):
        for key in ("static_clusters", "dynamic_active_clusters"):
            found += [entry.below("cluster") for entry in dump.each(key)]
    return {str(cluster.value.get("name")): cluster for cluster in found}


def route_tables(document: object) -> Mapping[str, Part]:
    """Return the route configurations of a dump by name: those that listeners get by RDS."""
    found = [
        entry.below("route_config")
        for dump in Part((), mapping(document)).each("configs")
        for entry in dump.each("dynamic_route_configs")
    ]
    return {str(table.value.get("name")): table for table in found}


def managers(listener: Part) -> Iterator[Part]:
    """Yield what each filter chain of a listener ends in: its last filter's configuration."""
    chains = list(listener.each("filter_chains"))
    if "default_filter_chain" in listener.value:
        chains.append(listener.below("default_filter_chain"))
    for chain in chains:
        filters = list(chain.each("filters"))
        yield filters[-1].below("typed_config") if filters else chain


def is_type(part: Part, name: str) -> bool:
    """Say whether a configuration is of the message with this name, whatever its package."""
    kind = part.value.get("@type")
    return isinstance(kind, str) and kind.rpartition(".")[2] == name


def seconds(value: object) -> float | None:
    """Return the seconds of a protobuf duration such as ``0.25s``; None for anything else."""
    if not isinstance(value, str) or not value.endswith("s"):
        return None
    try:
        return float(value[:-1])
    except ValueError:
        return None
