"""Judges one request of a user with the policy engine: "may they do this?".

The roles and permissions are those that Zervi has now, with what the issuer may grant and what the
configuration grants by role. A route that requires other claims gets no verdict:
only the user's token has them.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from sidecar.config import Config
from sidecar.console.policies.tables import Table
from sidecar.core.decision import outcome
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import ClaimNames
from sidecar.core.tokens.principal import Principal, principal_from_claims
from sidecar.workbench.engine import PolicyEngine, request_of
from sidecar.workbench.explain import Explainer
from sidecar.workbench.logs import CallerField

MAX_PATH: Final = 2048  # characters; a table with 10,000 routes takes some milliseconds
_UNKNOWN: Final = "; not judged"
_UNKNOWN_CHINESE: Final = "；未判定"
_NOT_ITS = ("credential", "remember")  # steps about a token, and about an Envoy


class QuestionError(Exception):
    """A question that cannot be judged; the message says why."""


class Question:
    """What is asked. Raises QuestionError for what cannot be a request."""

    def __init__(self, method: str, host: str, path: str, issuer: str = "") -> None:
        if not path.startswith("/") or len(path) > MAX_PATH:
            raise QuestionError(f"path begins with / and has at most {MAX_PATH} characters")
        if not method.isascii() or not method.isalpha() or len(method) > 32:
            raise QuestionError("method is a word such as GET")
        if not host.isascii() or len(host) > 255 or not host.isprintable():
            raise QuestionError("host is a name of at most 255 characters")
        self.method = method.upper()
        self.host = host
        self.path = path
        self.issuer = issuer


def ask(table: Table, question: Question, user: dict[str, Any]) -> dict[str, Any]:
    """Return the decision on a user's request, with the steps to it. Raises QuestionError.

    ``user`` has id, username, email, roles and permissions. It may take some milliseconds.
    """
    config = table.config
    principal = _principal(config, question.issuer, user)
    engine = PolicyEngine(config, time.time())
    in_gateway = config.settings.gateway is not None
    explainer = Explainer(engine, table.file.name, config.route_lines, in_gateway=in_gateway)
    request = request_of(question.method, question.path, question.host)
    found = explainer.explain(request, principal, frozenset({CallerField.CLAIMS}))
    decision = found.judged.decision
    steps = [step for step in found.steps if step.name not in _NOT_ITS]
    known = all(_UNKNOWN not in step.text for step in steps)
    return {
        "decision": outcome(decision) if known else "unknown",
        "reason": decision.reason if known else None,
        "route": None if decision.route is None else decision.route.name,
        "policy_digest": table.digest,
        "request": {"method": question.method, "host": question.host, "path": question.path},
        "steps": [
            {
                "name": step.name,
                "held": step.held,
                "text": step.text.partition(_UNKNOWN)[0],
                "chinese": step.chinese.partition(_UNKNOWN_CHINESE)[0],
            }
            for step in steps
        ],
    }


def _principal(config: Config, name: str, user: dict[str, Any]) -> Principal:
    issuers = {issuer.name: issuer for issuer in reversed(config.issuers)}
    issuer = issuers.get(name) if name else config.issuers[0]
    if issuer is None:
        raise QuestionError("the configuration of this policy has no such issuer")
    claims = {
        "user_id": user["id"],
        "username": user["username"],
        "email": user["email"],
        "roles": list(_texts(user["roles"])),
        "permissions": list(_texts(user["permissions"])),
    }
    try:
        return principal_from_claims(claims, issuer._replace(claims=ClaimNames(), service_when=()))
    except TokenError as error:
        raise QuestionError(f"a token of this user would be refused: {error.reason}") from None


def _texts(values: Sequence[str]) -> Sequence[str]:
    return [value for value in values if value]
