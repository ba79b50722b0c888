"""What a mesh generates, and what it cannot set: a profile beside the one of envoy/envoy.yaml.

A mesh's file has ``mesh`` (its name), ``else`` (how what it cannot set can be set after all),
``cannot`` (what it does not set: a field, ``Message.field``, or the code of a finding, ``code:x``;
and what that means), ``write`` (where in the mesh a finding is corrected), ``filters`` (what may be
before and after ext_authz), ``notes`` (what holds in any case), ``per_route`` (routes enable the
filter), ``inbound`` (listeners for clients are marked as inbound).

A control plane writes the rest of a mesh's configuration, so only what concerns the Check is
examined: the parts in EXAMINED, and the listeners that ask the sidecar.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.documents.findings import Problem, Severity, quoted
from sidecar.documents.own_yaml import read

EXAMINED = frozenset(
    {
        "ExtAuthz", "StatusOnError", "MutationRules", "HeaderNames", "GrpcService", "EnvoyGrpc",
        "GrpcRetry", "Rbac", "Upgrade", "AuthzThresholds",
        "HttpConnectionManager.normalize_path", "HttpConnectionManager.merge_slashes",
        "HttpConnectionManager.path_with_escaped_slashes_action",
        "HttpConnectionManager.use_remote_address",
        "HttpConnectionManager.request_headers_timeout",
        "CommonOptions.headers_with_underscores_action",
        "HttpFilter.disabled", "HttpFilter.is_optional",
    }
)  # fmt: skip
CODES = frozenset(
    {
        "no-authz", "before-authz", "after-router", "second-authz", "changed-after", "second-lock",
        "service", "http2", "address", "timeout", "mutation-rules", "reroute", "admin", "tcp",
        "log", "identity-header", "remove-headers", "disabled-on-route",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Mesh:
    """The data of a mesh's file; ``reported`` names the findings so far."""

    name: str
    otherwise: str
    cannot: Mapping[str, str]
    write: Mapping[str, str]
    filters: frozenset[str]
    notes: tuple[str, ...]
    per_route: bool
    inbound: bool
    reported: set[str] = field(default_factory=set)

    def judged(self, problem: Problem, message: str, name: str) -> Iterator[Problem]:
        """Yield a finding about a field of a message, or about several (an empty name)."""
        keys = [f"{message}.{name}", f"code:{problem.code}"]
        if self.per_route and keys[0] == "HttpFilter.disabled":
            return  # listeners.py examines which routes enable it
        for key in keys:
            if key in self.cannot:
                if key not in self.reported:
                    self.reported.add(key)
                    what = self.name
                    if name and not key.startswith("code:"):
                        what += f" does not let you choose {quoted(name)}"
                    yield problem._replace(
                        code="mesh",
                        message=f"{what}: {self.cannot[key]}",
                        help=self.otherwise,
                        severity=Severity.INFO,
                    )
                return
        examined = message in EXAMINED or keys[0] in EXAMINED or problem.code in CODES
        if examined and problem.severity is not Severity.INFO:
            hint = next((self.write[key] for key in keys if key in self.write), problem.help)
            yield problem._replace(help=hint)


def load_mesh(profiles: Path, name: str) -> Mesh | None:
    """Read a mesh's file; None for the default profile."""
    if name == "default":
        return None
    raw = read(profiles / f"{name}.yaml")
    return Mesh(
        raw["mesh"],
        raw["else"],
        raw["cannot"],
        raw["write"],
        frozenset(raw["filters"]),
        tuple(raw["notes"]),
        raw.get("per_route", False),
        raw.get("inbound", False),
    )
