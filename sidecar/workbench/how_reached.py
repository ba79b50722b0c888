"""How an upstream would take a path to another route than its own, in words for people."""

from sidecar.core.paths.canonical import Path
from sidecar.core.paths.upstreams import UPSTREAMS, Upstream
from sidecar.core.routes.route import NotAllowed, Route, normalise_host
from sidecar.core.routes.table import Policy
from sidecar.review.readings import READERS


def _single_readings(upstream: Upstream) -> dict[str, Upstream]:
    """Return an upstream for each reading of this one, which has that reading only."""
    alone = Upstream()
    return {
        name: alone._replace(**{name: value})
        for name, value in upstream._asdict().items()
        if value != getattr(alone, name)
    }


def how_reached(
    policy: Policy,
    path: Path,
    host: str,
    method: str,
    found: Route | NotAllowed,
) -> str:
    """Say which upstreams take a path to ``found``."""
    own = policy.reached(path, normalise_host(host) or "", method)
    if not any(found is other for _, other in own):
        return "to an upstream that compares hosts as they are spelt"
    for name, upstream in _single_readings(UPSTREAMS[policy.upstream]).items():
        reached = policy.seen_by(upstream).reached(path, host, method)
        if any(found is other for _, other in reached):
            return f"an upstream {READERS[name]}"
    return "an upstream that combines several readings"
