"""The cost of a Check whose look-ups are answered, beside one for which nothing is looked up.

In one process, by the CPU time of many short rounds in turn: microseconds are compared. The
transport, which costs more than a repeated request itself, is left out.
"""

import time
from collections.abc import Iterator
from itertools import count, repeat
from typing import Final, NamedTuple

from bench.sidecars import message
from demo import minting
from demo.zervi import Zervi
from sidecar.core.routes.route import Route
from sidecar.core.routes.table import compile_policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.lookups import PermissionRule
from sidecar.extauthz.asking import NO_LOOK_UPS
from sidecar.extauthz.asking import LookUps as Source
from sidecar.extauthz.envoy_client import read_answer
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.zervi.look_up import PermissionsSource
from sidecar.zervi.look_ups import LookUps

ROUNDS, CHECKS = 100, 300

_SECRET: Final = b"a secret that was made up for the bench only"
_PERMISSION: Final = "service:access"
_TABLE: Final = (Route(0, "services", "/api/services/*", permissions=(_PERMISSION,)),)
_ISSUER: Final = Issuer("bench", frozenset({"HS256"}), secrets=(_SECRET,))
_USER: Final = 7


class Ratio(NamedTuple):
    """The CPU time of a Check with look-ups configured, divided by that of one without."""

    name: str
    value: float


class _NoKeys:
    def refresh_for(self, issuer: int, kid: str | None) -> bool:  # noqa: ARG002 -- a protocol's method
        return False


async def measure(zervi: Zervi, rounds: int = ROUNDS) -> list[Ratio]:
    """Measure a repeated request and new paths, of a user whose permissions are known.

    Raises ValueError where a request is not allowed.
    """
    zervi.live.permissions[str(_USER)] = [_PERMISSION]
    lookups = LookUps(on_look_up=lambda *_: None)
    url = f"{zervi.url}/api/users/{{subject}}/permissions"
    lookups.take(PermissionsSource(url, 3600.0, 3600.0, 5.0), ())
    try:
        without, asking = _service(None, NO_LOOK_UPS), _service(PermissionRule(), lookups)
        listed, unlisted = _token([_PERMISSION]), _token(None)
        for service, token in ((without, listed), (asking, unlisted)):
            answer = service.check(message(token))
            told = read_answer(answer if isinstance(answer, bytes) else await answer)
            if told.metadata.get("reason") != "ok":
                raise ValueError(f"not allowed: {told.metadata}")
        return [
            _ratio("repeated request", rounds, (without, listed), (asking, unlisted), repeat(0)),
            _ratio("new path", rounds, (without, listed), (asking, unlisted), count()),
        ]
    finally:
        await lookups.close()


def _ratio(
    name: str,
    rounds: int,
    without: tuple[CheckService, str],
    asking: tuple[CheckService, str],
    numbers: Iterator[int],
) -> Ratio:
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for place, (service, token) in enumerate((without, asking)):
            paths = [f"/api/services/{next(numbers)}" for _ in range(CHECKS)]
            best[place] = min(best[place], _cpu(service, [message(token, path) for path in paths]))
    return Ratio(name, best[1] / best[0])


def _cpu(service: CheckService, messages: list[bytes]) -> float:
    begin = time.process_time()
    for question in messages:
        service.check(question)
    return time.process_time() - begin


def _token(permissions: list[str] | None) -> str:
    claims = {"iss": _ISSUER.name, "user_id": _USER, "exp": int(time.time()) + 3600}
    return minting.sign({**claims, "permissions": permissions}, _SECRET)


def _service(rule: PermissionRule | None, lookups: Source) -> CheckService:
    policy = compile_policy(_TABLE, digest="bench")
    source = TokenSource("header", "authorization", "Bearer")
    return CheckService(
        Snapshot(policy, (_ISSUER,), (source,), permissions=rule),
        Responder(AnswerSettings(token_sources=(source,))),
        _NoKeys(),
        lambda _: None,
        lambda deliver: deliver(),
        ServiceSettings(),
        None,
        lookups,
    )
