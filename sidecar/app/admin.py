"""The commands on the admin socket: leave and promote."""

import json
import logging
from collections.abc import Callable

from sidecar.app.promotion import Candidate
from sidecar.app.registration import Registration
from sidecar.core.snapshot import Snapshot
from sidecar.extauthz.service import CheckService
from sidecar.ops.readiness import Health
from sidecar.ops.routes import OpsAnswer, Routes

_log = logging.getLogger(__name__)


def admin_routes(
    health: Health,
    registration: Registration,
    service: CheckService,
    candidate: Candidate,
    decide_by: Callable[[Snapshot], None],
) -> Routes:
    """Return the routes of the admin socket; ``decide_by`` puts a snapshot in force."""

    async def leave() -> OpsAnswer:
        """Leave the registry and the load balancers, and go on deciding."""
        health.drain("left by command")
        left = await registration.leave()
        if not registration.configured:
            registry = "no registry is configured"
        else:
            registry = "left the registry" if left else "could not leave the registry, see the log"
        _log.info("left by command: not ready, still answering Checks; %s", registry)
        body = {"left": left, "detail": f"{registry}; not ready, but still deciding"}
        return OpsAnswer(200 if left else 502, json.dumps(body).encode() + b"\n")

    async def promote() -> OpsAnswer:
        """Put the candidate in force."""
        if not candidate.promotable:
            return OpsAnswer(409, b'{"error":"policy.shadow.promotable is not true"}\n')
        promoted = candidate.promote()
        if promoted is None:
            return OpsAnswer(409, b'{"error":"there is no candidate that is not in force"}\n')
        snapshot = service.snapshot
        decide_by(snapshot._replace(policy=promoted.policy))
        digests = {"policy": promoted.policy.digest, "was": snapshot.policy.digest}
        body = {**digests, "compared": promoted.compared, "different": promoted.different}
        return OpsAnswer(200, json.dumps(body).encode() + b"\n")

    return {("POST", "/leave"): leave, ("POST", "/policy/promote"): promote}
