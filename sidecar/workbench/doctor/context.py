"""The input of every check of an Envoy configuration, and constructors of its findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.documents.findings import Place, Problem, Severity
from sidecar.gateway.files import FileSettings
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.expressions import Budget
from sidecar.workbench.doctor.mesh import Mesh
from sidecar.workbench.doctor.profile import Profile
from sidecar.workbench.generate.remember import Heeded


class GatewayFiles(NamedTuple):
    """What the sidecar writes for Envoy: ``files``, for the policy's ``targets``.

    ``networks`` are all that the configuration allows for instances, such as ``10.0.0.0/8``.
    """

    files: FileSettings
    targets: frozenset[str]
    networks: tuple[str, ...]


class Wanted(NamedTuple):
    """What Envoy must have in common with ``sidecar.yaml``.

    ``address`` is ``listen.authz``, None without a configuration. ``headers`` are those that the
    sidecar sets or removes, ``removed`` those of them that it only removes. ``own`` are the
    sidecar's other addresses. ``forwards_preflights`` is ``policy.cors_preflight: forward``,
    ``keeps_slashes`` is ``policy.encoded: {slash: segment}``; ``names_callers``: some route does.
    ``gateway`` is None without that section, ``heeded`` (the headers that an Envoy heeds which
    remembers allows) without a configuration.
    """

    address: str | None
    headers: tuple[str, ...]
    removed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    forwards_preflights: bool = False
    keeps_slashes: bool = False
    names_callers: bool = False
    gateway: GatewayFiles | None = None
    heeded: Heeded | None = None


@dataclass(frozen=True)
class Context:
    """The context of examining one configuration.

    ``authz`` and ``admin`` name the clusters of the sidecar and of Envoy's admin interface.
    ``reserved`` maps each cluster that no client may reach to a finding's code and a description.
    ``tables`` are the route tables of a config_dump. ``expressions`` bounds how many are tried.
    ``collectors`` name the clusters that only get spans.
    ``partial``: the file may lack what Envoy has. ``mesh`` is what generated it. ``memories`` are
    the places of filters that remember the sidecar's allows.
    """

    profile: Profile
    wanted: Wanted
    clusters: Mapping[str, Part]
    authz: frozenset[str]
    admin: frozenset[str]
    tables: Mapping[str, Part]
    reserved: Mapping[str, tuple[str, str]]
    expressions: Budget = field(default_factory=Budget)
    partial: bool = False
    mesh: Mesh | None = None
    memories: frozenset[Place] = frozenset()
    collectors: frozenset[str] = frozenset()

    @property
    def lacks_clusters(self) -> bool:
        """Whether the file is a part of a configuration, without clusters."""
        return self.partial and not self.clusters


def error(place: Place, code: str, message: str, hint: str = "") -> Problem:
    """Return a finding that lets requests bypass the sidecar, or hides it."""
    return Problem(place, code, message, hint)


def warning(place: Place, code: str, message: str, hint: str = "") -> Problem:
    """Return a finding that weakens the boundary."""
    return Problem(place, code, message, hint, Severity.WARNING)


def info(place: Place, code: str, message: str, hint: str = "") -> Problem:
    """Return a finding that is worth reading, but weakens nothing."""
    return Problem(place, code, message, hint, Severity.INFO)
