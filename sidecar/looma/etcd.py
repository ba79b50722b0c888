"""etcd as the registry: one key per node, with a lease.

It uses etcd's JSON gateway (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/), so that no pod
needs a gRPC client. A heartbeat keeps the lease alive, which is not a write. The value is written
when the node's state changes, and every few minutes for its numbers.
"""

import asyncio
import base64
import json
import logging
import re
from contextlib import suppress
from typing import Any

from sidecar.looma import report as bodies
from sidecar.looma.answers import Answer, Caller, bounded_seconds, refusal_of
from sidecar.looma.pace import MAX_TTL, MIN_TTL
from sidecar.looma.registry import Failed, Ok, Outcome, Unauthorized, Unregistered
from sidecar.looma.report import Report
from sidecar.net.logs import once_a_minute

KEY_PREFIX = "/looma/services/"
REWRITE_SECONDS = 300.0  # at 10,000 nodes: 33 writes a second
DRAINING_SECONDS = 0.5  # of the time that a node has to leave

_LEASE_ID = re.compile(r"-?[0-9]{1,19}")
_TTL = re.compile(r"[0-9]{1,10}")

_log = logging.getLogger(__name__)


class EtcdRegistry:
    """One node's key and lease. ``ttl`` is requested in seconds; etcd may grant another."""

    def __init__(self, url: str, service_id: str, ttl: float, call: Caller) -> None:
        self._url = url.rstrip("/")
        self._key = _base64(KEY_PREFIX + service_id)
        self._ttl = round(ttl)
        self._call = call
        self._lease: str | None = None
        self._written: dict[str, Any] = {}
        self._value: dict[str, Any] = {}
        self._rewrite_at = 0.0

    async def register(self, report: Report) -> Outcome:
        """Write the key with a lease: that of an earlier attempt, or a new one."""
        if self._lease is not None:
            outcome = await self._write(report)
            if not isinstance(outcome, Unregistered):
                return outcome
        granted = await self._ask("/v3/lease/grant", {"TTL": str(self._ttl)})
        if not isinstance(granted, dict):
            return granted
        lease, ttl = granted.get("ID"), _seconds(granted.get("TTL"))
        if not isinstance(lease, str) or not _LEASE_ID.fullmatch(lease):
            return Failed("etcd granted a lease without a usable ID")
        self._lease = lease
        outcome = await self._write(report)
        if isinstance(outcome, Unregistered):
            return Failed("etcd granted a lease but does not know it")
        return Ok(ttl=ttl) if isinstance(outcome, Ok) else outcome

    async def heartbeat(self, report: Report) -> Outcome:
        """Keep the lease alive, and write the key if the state has changed."""
        if self._lease is None:
            return Unregistered()
        kept = await self._ask("/v3/lease/keepalive", {"ID": self._lease})
        if not isinstance(kept, dict):
            return kept
        result = kept.get("result")
        ttl = _seconds(result.get("TTL")) if isinstance(result, dict) else None
        if ttl is None:  # the lease ended, or etcd lost it
            return Unregistered()
        changed = bodies.standing(report) != self._written
        if changed or asyncio.get_running_loop().time() >= self._rewrite_at:
            outcome = await self._write(report)
            if not isinstance(outcome, Ok):
                return outcome
        return Ok(ttl=ttl)

    async def deregister(self) -> Outcome:
        """Revoke the lease, which deletes the key.

        Before, the key says that the node is draining: a gateway cannot tell otherwise whether a
        node left or its lease ended.
        """
        if self._lease is None:
            return Ok()
        if self._value:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAINING_SECONDS):
                    await self._put({**self._value, "draining": True, "ready": False})
        revoked = await self._ask("/v3/lease/revoke", {"ID": self._lease})
        if isinstance(revoked, dict | Unregistered):
            self._lease = None
            return Ok()
        return revoked

    async def metrics(self, report: Report) -> Outcome:  # noqa: ARG002 -- a protocol's method
        """Do nothing: the key's value contains the metrics."""
        return Ok()

    async def _write(self, report: Report) -> Outcome:
        value = {**bodies.registration(report), **bodies.heartbeat(report)}
        outcome = await self._put(value)
        if not isinstance(outcome, dict):
            return outcome
        self._value = value
        self._written = bodies.standing(report)
        self._rewrite_at = asyncio.get_running_loop().time() + REWRITE_SECONDS
        return Ok()

    async def _put(self, value: dict[str, Any]) -> dict[str, Any] | Outcome:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        put = {"key": self._key, "value": _base64(text), "lease": self._lease}
        return await self._ask("/v3/kv/put", put)

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any] | Outcome:
        """Return the answer's JSON object, or the failure."""
        answer = await self._call("POST", self._url + path, body)
        if isinstance(answer, Failed):
            return answer
        content = answer.json()
        if answer.status == 200 and isinstance(content, dict):
            return content
        return _refused(answer, content)


def _seconds(ttl: object) -> float | None:
    """Return a TTL: the gateway writes a 64-bit integer as text, and omits a zero."""
    if not isinstance(ttl, str) or not _TTL.fullmatch(ttl) or not int(ttl):
        return None
    return bounded_seconds(int(ttl), "TTL", MIN_TTL, MAX_TTL, _complain)


def _complain(key: str, text: str) -> None:
    _log.warning("etcd: %s", text, extra=once_a_minute(key))


def _refused(answer: Answer, content: Any) -> Outcome:
    message = content.get("message") if isinstance(content, dict) else None
    if answer.status == 200:
        return Failed("etcd's answer is not a JSON object")
    if message == "etcdserver: requested lease not found":
        return Unregistered()
    if (
        message == "etcdserver: user name is empty"
    ):  # 400: authentication is on, and the request had no token
        return Unauthorized("etcd requires a token: see looma.token")
    return refusal_of(answer, content)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
