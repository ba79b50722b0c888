"""The calls of the steps; docs/{zervi,looma}-environments.openapi.yaml are the contracts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from sidecar.console.environments.model import Environment, Step
from sidecar.console.environments.saga import StepError
from sidecar.console.remote import Remote, RemoteError, Reply

REPEATED: Final = frozenset({401, 403, 408, 425, 429})
"""Statuses below 500 that may change: too early, too often, a service token that has expired."""

_UNDONE: Final = frozenset({404, 410})
MAX_ID: Final = 128  # characters of an id that Zervi or Looma answers


class HttpSteps:
    """Takes and undoes steps over HTTP; ``service_name`` and ``permissions`` are what users get."""

    def __init__(
        self,
        zervi: Remote,
        zervi_url: str,
        looma: Remote,
        looma_url: str,
        service_name: str,
        permissions: Sequence[str],
    ) -> None:
        self._zervi, self._zervi_url = zervi, zervi_url.rstrip("/")
        self._looma, self._looma_url = looma, looma_url.rstrip("/")
        self._service_name = service_name
        self._permissions = list(permissions)

    async def do(self, step: Step, environment: Environment) -> str:
        """Take a step; return the user's or the instance's id. Raises StepError."""
        wanted = environment.wanted
        if step is Step.USER:
            body: dict[str, Any] = {"username": wanted.username, "email": wanted.email}
            found = await self._done(step, environment, body)
            data = found.get("data")
            return _identifier(data if isinstance(data, Mapping) else found, "user_id")
        if step is Step.SERVER:
            body = {
                "user_id": environment.user_id,
                "service_name": self._service_name,
                "requirements": dict(wanted.requirements),
            }
            return _identifier(await self._done(step, environment, body), "service_id")
        await self._done(step, environment, {"permissions": self._permissions})
        return ""

    async def undo(self, step: Step, environment: Environment) -> None:
        """Undo a step; for the revocation, revoke the user's tokens. Raises StepError."""
        if step is Step.REVOCATION:
            url = f"{self._zervi_url}/api/users/{_segment(environment.user_id)}/logout"
            reply = await self._call(self._zervi, "POST", url, {})
        else:
            remote, url = self._place(step, environment)
            reply = await self._call(remote, "DELETE", url, None)
        if reply.status not in _UNDONE and not _succeeded(reply):
            raise StepError(f"HTTP status {reply.status}")

    async def _done(
        self, step: Step, environment: Environment, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        remote, url = self._place(step, environment)
        reply = await self._call(remote, "PUT", url, body)
        if not _succeeded(reply):
            is_final = 400 <= reply.status < 500 and reply.status not in REPEATED
            raise StepError(f"HTTP status {reply.status}", is_final=is_final)
        return reply.body if isinstance(reply.body, Mapping) else {}

    def _place(self, step: Step, environment: Environment) -> tuple[Remote, str]:
        key = environment.key(step)
        if step is Step.USER:
            return self._zervi, f"{self._zervi_url}/api/users/by-key/{key}"
        if step is Step.SERVER:
            return self._looma, f"{self._looma_url}/cluster/allocations/{key}"
        user = _segment(environment.user_id)
        return self._zervi, f"{self._zervi_url}/api/users/{user}/grants/{key}"

    @staticmethod
    async def _call(remote: Remote, method: str, url: str, body: object) -> Reply:
        try:
            return await remote.call(method, url, body)
        except RemoteError as error:
            raise StepError(str(error)) from None


def _succeeded(reply: Reply) -> bool:
    """Say whether a call succeeded; Zervi's status is not trusted where its body says otherwise."""
    body = reply.body if isinstance(reply.body, Mapping) else {}
    failed = body.get("success") is False or body.get("code") not in (None, 0, 200)
    return 200 <= reply.status < 300 and not failed


def _identifier(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ID or not text.isprintable():
        raise StepError(f"the answer has no usable {name}")
    return text


def _segment(text: str) -> str:
    """Return an id as one segment of a path; one of dots would name another resource."""
    if text in (".", ".."):
        raise StepError("the user's id is not usable", is_final=True)
    return quote(text, safe="")
