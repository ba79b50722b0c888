"""Checks that between them call every function on the path of a Check, allowed and denied ones."""

import math
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from demo import minting
from demo.minting import SigningKey
from sidecar.core.paths.canonical import ALLOWABLE
from sidecar.core.routes.route import BOTH
from sidecar.core.routes.table import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.core.tokens.revocations import Entries, Revocations
from sidecar.extauthz.respond import AnswerSettings
from sidecar.extauthz.service import CHECK, CheckService
from tests.support.checks import check_request, service
from tests.support.policies import BEARER, SECRET, policy

NOW = time.time()
HOST = "api.jobfirst.local"
OLD, FRESH, STRANGE = (minting.new_key(kid, "ES256") for kid in ("old", "fresh", "strange"))
ALGORITHMS = frozenset({"ES256"})

ROUTES = (
    Route(0, "public", "/open/*", public=True),
    Route(1, "closed", "/closed/*", target="inner", any_permissions=("read", "write")),
    Route(2, "secret", "/open/secret", permissions=("read", "manage")),
    Route(3, "owned", "/users/{id}/orders", hosts=frozenset({HOST}), owner=1),
    Route(4, "roles", "/reports", methods=frozenset({"GET"}), roles=("admin",)),
    Route(5, "services", "/sync", principals=frozenset({"service"})),
    Route(6, "today", "/today", issuers=frozenset({"today"})),
    Route(7, "anyone", "/anyone"),
    Route(8, "together", "/together", principals=BOTH),
)
SOURCES = (BEARER, TokenSource("cookie", "token"), TokenSource("query", "token"))
SERVICE_HEADER = TokenSource("header", "x-service-token")
ANSWERS = AnswerSettings(
    remove_headers=("x-original-url",),
    forward_authorization=False,
    token_sources=(*SOURCES, SERVICE_HEADER),
)

Headers = Mapping[str, Sequence[bytes]]


class Later:
    """An awaitable that does not have to be awaited."""

    def __init__(self, answer: object, before: Callable[[], None]) -> None:
        self._answer = answer
        self._before = before

    def __await__(self) -> Generator[None, None, object]:
        """Run ``before``, let other tasks run, return the answer."""
        self._before()
        yield
        return self._answer


class Keys:
    """A key source that returns a given key set, after ``before`` has run."""

    def __init__(self, answer: object = False, before: Callable[[], None] | None = None) -> None:
        self._answer = answer
        self._before = before

    def refresh_for(self, issuer: int, kid: str | None) -> Any:
        """Answer immediately, or after ``before`` has run."""
        return self._answer if self._before is None else Later(self._answer, self._before)


class Case(NamedTuple):
    """A Check; ``prepare`` gets the service ready for it, faults come after that."""

    name: str
    message: bytes
    allowed: bool
    prepare: Callable[[CheckService, bytes], None] = lambda *_: None
    deadline: float | None = None

    def ready(self) -> Callable[[], Awaitable[bytes]]:
        """Return what asks a service of its own once, as a transport does."""
        later: list[Callable[[], None]] = []
        checks = service(snapshot(OLD), Keys(), answers=ANSWERS, defer=later.append)
        check = checks.methods().unary[CHECK]
        self.prepare(checks, self.message)

        async def ask() -> bytes:
            deadline = None if self.deadline is None else time.monotonic() + self.deadline
            given = check(self.message, deadline)
            return given if isinstance(given, bytes) else await given

        return ask


@cache
def snapshot(*keys: SigningKey, fetched_at: float = NOW) -> Snapshot:
    """Return the table, today's secret and these keys."""
    found = parse_key_set(minting.jwks(*keys), algorithms=ALGORITHMS, fetched_at=fetched_at)
    grants = {"admin": ("read", "manage")}
    issuers = (
        Issuer("zervi", ALGORITHMS, frozenset({"jobfirst"}), keys=found, role_permissions=grants),
        Issuer("today", frozenset({"HS256"}), allow_missing_issuer=True, secrets=(SECRET,)),
    )
    known = Snapshot(policy(ROUTES, allow_paths=ALLOWABLE), issuers, SOURCES)
    return known._replace(service_token_sources=(SERVICE_HEADER,))


def _claims(**others: Any) -> dict[str, Any]:
    good = {
        "iss": "zervi",
        "aud": "jobfirst",
        "user_id": 7,
        "username": "张伟",
        "email": "z@jobfirst.local",
        "exp": int(NOW) + 86_400,
        "permissions": ["read", "a,b"],
    }
    return {name: value for name, value in {**good, **others}.items() if value is not ...}


def _with(key: SigningKey | bytes = OLD, **claims: Any) -> Headers:
    return {"authorization": (b"Bearer " + minting.sign(_claims(**claims), key).encode(),)}


def _with_service(path: str) -> Headers:
    claims = _claims(iss="today", service_id="gateway", allowed_apis=[path])
    return {**_with(), "x-service-token": (minting.sign(claims, SECRET).encode(),)}


def _primed(checks: CheckService, message: bytes) -> None:
    checks.check(message)


def _learnt(checks: CheckService, message: bytes) -> None:
    _primed(checks, message)
    _primed(checks, message)


def _primed_then(*keys: SigningKey, fetched_at: float = NOW) -> Callable[..., None]:
    def prepare(checks: CheckService, message: bytes) -> None:
        _primed(checks, message)
        checks.swap(snapshot(*keys, fetched_at=fetched_at))

    return prepare


def _expired_in_cache(checks: CheckService, message: bytes) -> None:
    _primed(checks, message)
    ((digest, entry),) = checks._verified.items()
    checks._verified[digest] = entry._replace(valid_until=NOW - 1)


def _outlived(checks: CheckService, message: bytes) -> None:
    """Remember an allow whose key is gone; a swap would have forgotten it."""
    _learnt(checks, message)
    checks._snapshot = snapshot(FRESH)


def _revoking(checks: CheckService, _: bytes) -> None:
    revoked = Entries()
    revoked.add({"user_id": "7", "not_before": int(NOW)}, NOW)
    revocations = Revocations(revoked, frozenset({"zervi"}), 86_400, trusted_until=math.inf)
    checks.swap(snapshot(OLD)._replace(revocations=revocations))


def _forwarding_preflights(checks: CheckService, _: bytes) -> None:
    forwarding = policy(ROUTES, allow_paths=ALLOWABLE, cors_preflight="forward")
    checks.swap(snapshot(OLD)._replace(policy=forwarding))


def _fetching(fetched: object, *, brings: bool) -> Callable[..., None]:
    def prepare(checks: CheckService, _: bytes) -> None:
        new = snapshot(OLD, FRESH) if brings else snapshot(OLD)
        checks._asking._keys = Keys(fetched, lambda: checks.swap(new))

    return prepare


REPEATED = check_request(
    b"/closed/1", headers={**_with(), "x-request-id": (b"5b1d2f3e-6f1c-4a55-9a0a-1c8a3f1c9d10",)}
)


def cases() -> Iterator[Case]:
    """Give every Check."""
    yield from _allowed()
    yield from _denied()


def _allowed() -> Iterator[Case]:
    good = check_request(b"/closed/1", headers=_with())
    preflight = {"origin": (b"https://a.test",), "access-control-request-method": (b"PUT",)}
    admin = _with(SECRET, iss=..., role="admin")
    service_token = _with(SECRET, iss="today", service_id="looma")
    fresh = check_request(b"/closed/1", headers=_with(FRESH))
    odd = {**_with(), "x_user_id": (b"4",), "x.original.url": (b"/",), "x-user-id": (b"4",)}
    cookie = {"cookie": (b"a=b; token=" + minting.sign(_claims(), OLD).encode(),)}
    query = b"/closed/1?token=" + minting.sign(_claims(), OLD).encode()
    yield Case("key set", good, True)
    yield Case("cached", good, True, _primed)
    yield Case("seen once", REPEATED, True, _primed)
    yield Case("repeated", REPEATED, True, _learnt)
    yield Case("headers as text", check_request(b"/closed/1", headers=_with(), raw=False), True)
    yield Case("secret", check_request(b"/closed/1", headers=_with(SECRET, iss="today")), True)
    yield Case("no kid", check_request(b"/anyone", headers=_with(SECRET, iss=...)), True)
    yield Case("roles", check_request(b"/reports", headers=admin), True)
    yield Case("service", check_request(b"/sync", headers=service_token), True)
    yield Case("both", check_request(b"/together", headers=_with_service("/together")), True)
    yield Case("owner", check_request(b"/users/7/orders", headers=_with()), True)
    yield Case("fetched key", fresh, True, _fetching(True, brings=True))
    yield Case("public", check_request(b"/open/a"), True)
    asked = check_request(b"/closed/1", "OPTIONS", preflight)
    yield Case("forwarded preflight", asked, True, _forwarding_preflights)
    yield Case("readings", check_request(b"/closed/a;b/%2e/c%2Fd%25", headers=_with()), True)
    yield Case("escaped", check_request("/closed/订单".encode(), headers=_with()), False)
    yield Case("percent", check_request(b"/closed/%E8%AE%A2", headers=_with()), True)
    yield Case("odd names", check_request(b"/closed/1", headers=odd), True)
    yield Case("named method", check_request(b"/anyone?_method=PUT", headers=_with()), True)
    yield Case("named method, public", check_request(b"/open/a?a=b;_method=PUT"), True)
    yield Case("cookie", check_request(b"/closed/1", headers=cookie), True)
    yield Case("query", check_request(query), True)


def _denied() -> Iterator[Case]:
    manager = _with(permissions=["read", "manage"])
    both = {**_with(), "cookie": (b"token=" + minting.sign(_claims(sub="8"), OLD).encode(),)}
    deep = _with(nested=[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]])
    refresh = _with(SECRET, iss="today", token_type="refresh")
    chinese = {"accept-language": (b"zh-CN,en;q=0.5",), "content-type": (b"application/grpc",)}
    origin = {"origin": (b"https://a.test",)}
    yield Case("rubbish", b"\xff", False)
    yield Case("no path", check_request(b""), False)
    yield Case("dots", check_request(b"/open/../closed/1"), False)
    yield Case("hidden dots", check_request(b"/open/%2e%2e/closed/1", headers=chinese), False)
    yield Case("a hidden route", check_request(b"/open/x;/../secret"), False)
    yield Case("two readings", check_request(b"/open/secret;x"), False)
    yield Case("two, one slash", check_request(b"/open%2Fsecret"), False)
    yield Case("no token", check_request(b"/closed/1", headers=chinese), False)
    preflight = {**origin, "access-control-request-method": (b"PUT",)}
    yield Case("preflight", check_request(b"/closed/1", "OPTIONS", preflight), False)
    yield Case("no preflight", check_request(b"/closed/1", "OPTIONS", origin), False)
    admin = _with(SECRET, iss=..., role="admin")
    named = check_request(b"/reports?%5Fmethod=delete", headers=admin)
    yield Case("another method named", named, False)
    yield Case("no route", check_request(b"/nowhere", headers=manager), False)
    yield Case("method", check_request(b"/reports", "POST", chinese), False)
    yield Case("host", check_request(b"/users/7/orders", headers=_with(), host="b.test"), False)
    yield Case("not owner", check_request(b"/users/8/orders", headers=_with()), False)
    yield Case("permission", check_request(b"/open/secret", headers=_with()), False)
    yield Case("any", check_request(b"/closed/1", headers=_with(permissions=["x"])), False)
    yield Case("role", check_request(b"/reports", headers=_with()), False)
    yield Case("no service", check_request(b"/together", headers=_with()), False)
    limited = _with_service("/{other}/x")
    yield Case("another path's", check_request(b"/together", headers=limited), False)
    yield Case("kind", check_request(b"/sync", headers=_with()), False)
    yield Case("wrong issuer", check_request(b"/today", headers=_with()), False)
    yield Case("forged", check_request(b"/closed/1", headers=_with(STRANGE)), False)
    forged = minting.sign(_claims(), STRANGE._replace(kid="old")).encode()
    yield Case("signature", check_request(headers={"authorization": (b"Bearer " + forged,)}), False)
    other = b"another secret, made up for the tests of this"
    yield Case("secret", check_request(headers=_with(other, iss="today")), False)
    yield Case("expired", check_request(headers=_with(exp=int(NOW) - 60)), False)
    yield Case("not yet", check_request(headers=_with(nbf=int(NOW) + 86_400)), False)
    yield Case("no expiry", check_request(headers=_with(exp=...)), False)
    yield Case("audience", check_request(headers=_with(aud=["other"])), False)
    yield Case("foreign", check_request(headers=_with(iss="https://evil.test")), False)
    yield Case("refresh token", check_request(headers=refresh), False)
    yield Case("nobody", check_request(headers=_with(user_id=...)), False)
    yield Case("deep", check_request(headers=deep), False)
    yield Case("two tokens", check_request(headers=both), False)
    yield Case("scheme", check_request(headers={"authorization": (b"Basic abc",)}), False)
    yield Case("late", check_request(headers=_with()), False, deadline=-1.0)
    fresh = check_request(headers=_with(FRESH))
    for fetched in (True, False):
        yield Case(f"unknown key {fetched}", fresh, False, _fetching(fetched, brings=False))
    good = check_request(headers=_with())
    yield Case("outlived", REPEATED, False, _outlived)
    yield Case("withdrawn", good, False, _primed_then(FRESH))
    yield Case("stale", good, False, _primed_then(OLD, fetched_at=NOW - 100_000))
    yield Case("expired since", good, True, _expired_in_cache)
    yield Case("revoked", good, False, _revoking)
