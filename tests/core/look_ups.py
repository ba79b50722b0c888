"""Snapshots whose decisions need look-ups, answers to these, and what is decided with them."""

from typing import Any

from sidecar.core.decision import Allow, Decision, Needs, decide
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import (
    Answer,
    Ended,
    Granted,
    Introspection,
    LookUp,
    NeedsPermissions,
    PermissionRule,
    Question,
    TokenShape,
)
from sidecar.core.tokens.verify import Verified
from tests.support.policies import HS256, NOW, bearer, request, snapshot

ROUTES = (
    Route(0, "open", "/open", public=True),
    Route(1, "any", "/any"),
    Route(2, "read", "/read", permissions=("data:read",)),
    Route(3, "either", "/either", any_permissions=("data:read", "data:write")),
    Route(4, "admin", "/admin", roles=("admin",)),
    Route(5, "own", "/users/{id}", owner=1, owner_unless=("users:all",)),
    Route(6, "sync", "/sync", permissions=("data:read",), principals=frozenset({"service"})),
)
FOR_7 = NeedsPermissions("7")
MISSING, ALWAYS = PermissionRule(), PermissionRule(always=True)
OPAQUE = b"zat_0123456789"
ANY_SHAPE = TokenShape()


def asking(rule: PermissionRule | None = MISSING, **others: Any) -> Snapshot:
    """Return a snapshot that looks permissions up; ``others`` are of its issuer."""
    return snapshot(ROUTES, (HS256._replace(**others),))._replace(permissions=rule)


def introspecting(
    *, always: bool = False, shape: TokenShape = ANY_SHAPE, **others: Any
) -> Snapshot:
    issuer = HS256._replace(introspection=Introspection(always, shape), **others)
    return snapshot(ROUTES, (issuer,))._replace(opaque_issuer=0)


def good(value: Any, mark: bytes = b"1", fresh: float = 60.0, stale: float = 600.0) -> Answer:
    """Return an answer of now."""
    return Answer(value, mark, NOW + fresh, NOW + stale)


def permissions(*names: str, roles: tuple[str, ...] | None = None, **others: Any) -> Answer:
    return good(Granted(names, roles), **others)


def opaque(path: str = "/any", token: bytes = OPAQUE) -> Request:
    return request(path.encode(), headers={"authorization": (b"Bearer " + token,)})


def decided(
    path: str | Request,
    answers: dict[LookUp, Answer],
    rules: Snapshot | None = None,
    ended: dict[Question, Ended] | None = None,
    verified: dict[bytes, Verified] | None = None,
    **claimed: Any,
) -> Decision | Needs:
    """Decide for user 7, whose token has these claims beside the usual ones."""
    asked = path
    if isinstance(asked, str):
        asked = request(asked.encode(), headers=bearer(**claimed))
    known = {} if verified is None else verified
    rules = asking() if rules is None else rules
    return decide(asked, rules, known, NOW, answers=answers, attempts=ended or {})


def reason(*args: Any, **others: Any) -> Reason:
    decision = decided(*args, **others)
    assert not isinstance(decision, Needs), decision
    return decision.reason


def principal(*args: Any, **others: Any) -> Any:
    decision = decided(*args, **others)
    assert isinstance(decision, Allow), decision
    assert decision.verified is not None
    return decision.verified.principal
