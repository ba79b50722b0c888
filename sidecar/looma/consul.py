"""Consul as the registry: a service with a TTL check at the node's agent.

See https://developer.hashicorp.com/consul/api-docs/agent/service and .../agent/check.
"""

import json
from typing import Any
from urllib.parse import quote

from sidecar.looma import report as bodies
from sidecar.looma.answers import Answer, Caller, refusal_of
from sidecar.looma.registry import Failed, Ok, Outcome, Unregistered
from sidecar.looma.report import UNKNOWN, Report

# Long, because a node whose Basic Server is critical would be deregistered too, and register again.
# A dead node in the list does no harm.
DEREGISTER_CRITICAL_AFTER = "1h"
MAX_META_CHARACTERS = 512  # Consul refuses a registration with a longer value

CHECK_STATUS = {
    "healthy": "passing",
    "warning": "warning",
    "critical": "critical",
    UNKNOWN: "warning",  # Consul has no such status
}

# What agents before Consul 1.13 answer, with status 500.
UNKNOWN_CHECK_WORDS = (b"Unknown check", b"does not have associated TTL")


class ConsulRegistry:
    """One node's service and check. ``ttl`` is the check's in seconds."""

    def __init__(self, url: str, service_id: str, ttl: float, call: Caller) -> None:
        base = f"{url.rstrip('/')}/v1/agent"
        escaped = quote(service_id, safe="")
        self._register_url = f"{base}/service/register"
        self._deregister_url = f"{base}/service/deregister/{escaped}"
        self._check_url = f"{base}/check/update/service:{escaped}"
        self._ttl = ttl
        self._call = call

    async def register(self, report: Report) -> Outcome:
        """Register the service with its check and its current state."""
        outcome = await self._put(self._register_url, self._service(report))
        if isinstance(outcome, Unregistered):
            return Failed("HTTP status 404: no Consul agent at looma.url")
        return Ok(ttl=self._ttl) if isinstance(outcome, Ok) else outcome

    async def heartbeat(self, report: Report) -> Outcome:
        """Set the check's state, which restarts its TTL."""
        output = json.dumps(bodies.heartbeat(report), allow_nan=False)
        return await self._put(
            self._check_url, {"Status": CHECK_STATUS[report.upstream], "Output": output}
        )

    async def deregister(self) -> Outcome:
        """Deregister the service and its check; an unknown service is a success."""
        outcome = await self._put(self._deregister_url, None)
        return Ok() if isinstance(outcome, Unregistered) else outcome

    async def metrics(self, report: Report) -> Outcome:  # noqa: ARG002 -- a protocol's method
        """Do nothing: the check's output contains the metrics."""
        return Ok()

    def _service(self, report: Report) -> dict[str, Any]:
        service = report.service
        meta = {
            "service_type": service.type,
            "node_id": service.node,
            "cluster_id": service.cluster,
            "version": service.version,
            "environment": service.environment,
            "sidecar_version": report.sidecar_version,
            **{f"label_{name}": value for name, value in service.labels.items()},
        }
        return {
            "ID": service.id,
            "Name": service.name,
            "Address": service.address,
            "Port": service.port,
            "Tags": list(bodies.CAPABILITIES),
            "Meta": {name: value[:MAX_META_CHARACTERS] for name, value in meta.items()},
            "Check": {
                "CheckID": f"service:{service.id}",
                "Name": "the upstream, probed by the Zervi sidecar",
                "TTL": f"{self._ttl:g}s",
                "Status": CHECK_STATUS[report.upstream],
                "DeregisterCriticalServiceAfter": DEREGISTER_CRITICAL_AFTER,
            },
        }

    async def _put(self, url: str, body: dict[str, Any] | None) -> Outcome:
        answer = await self._call("PUT", url, body)
        if isinstance(answer, Failed):
            return answer
        if 200 <= answer.status < 300:
            return Ok()
        if answer.status == 404 or _unknown_check(answer):
            return Unregistered()
        return refusal_of(answer, answer.json())


def _unknown_check(answer: Answer) -> bool:
    body = answer.body or b""
    return answer.status == 500 and any(words in body for words in UNKNOWN_CHECK_WORDS)
