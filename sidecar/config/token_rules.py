"""Which tokens of an issuer count: keys of ``zervi.issuers[]``, and rules about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from sidecar.config.claims import MAX_CLAIMS, OneClaim
from sidecar.core.tokens.claims import Path
from sidecar.core.tokens.service_rules import ServiceRule
from sidecar.documents.findings import Place, Problem
from sidecar.documents.kinds import Flag, List, Optional, Text
from sidecar.documents.untyped import mapping, sequence
from sidecar.documents.values import SECRET_ALGORITHMS

OneName: TypeAlias = str | Path
AUDIENCE_CLAIMS: Final = List(OneClaim(), min_items=1, max_items=MAX_CLAIMS, unique=True)

_CONDITIONS: Final = ("equals", "prefix", "same_as", "present")


@dataclass(frozen=True, kw_only=True)
class ServiceWhen:
    """One of ``service_when``: ``claim`` and exactly one of the others."""

    claim: Annotated[OneName, OneClaim()]
    equals: Annotated[str | None, Optional(Text())] = None
    prefix: Annotated[str | None, Optional(Text())] = None
    same_as: Annotated[OneName | None, Optional(OneClaim())] = None
    present: Annotated[bool | None, Optional(Flag())] = None

    def rule(self) -> ServiceRule:
        """Return the rule for the core."""
        return ServiceRule(self.claim, self.equals, self.prefix, self.same_as, self.present)


def problems(issuer: Mapping[str, object], place: Place) -> Iterator[Problem]:
    """Yield each conflict between the keys of one issuer about its tokens."""
    types = sequence(issuer.get("token_types"))
    if types and "access" not in types:
        yield Problem(
            (*place, "token_types"),
            "bad-value",
            "`token_types` must contain access",
            "some ID tokens look like access tokens: write [access, id]",
        )
    if not sequence(issuer.get("audiences")):
        if "id" in types:
            yield Problem(
                (*place, "token_types"),
                "missing-key",
                "`token_types` with id needs `audiences`",
                "an ID token is for one client; the issuer's other clients have some of their own",
            )
        if issuer.get("audience_claims") is not None:
            yield Problem(
                (*place, "audience_claims"),
                "no-effect",
                "`audience_claims` has no effect without `audiences`",
            )
    for index, rule in enumerate(sequence(issuer.get("service_when"))):
        if not isinstance(rule, dict):
            continue
        given = [key for key in _CONDITIONS if rule.get(key) is not None]
        where = (*place, "service_when", index)
        if not given:
            message = f"a rule needs one of {', '.join(f'`{key}`' for key in _CONDITIONS)}"
            yield Problem(where, "missing-key", message)
        for key in given[1:]:
            message = f"`{given[0]}` and `{key}` are mutually exclusive"
            hint = "write each rule as a separate item"
            yield Problem((*where, key), "exclusive-keys", message, hint)
    yield from _algorithms(issuer, place)


def _algorithms(issuer: Mapping[str, object], place: Place) -> Iterator[Problem]:
    given = mapping(issuer)
    has_secret = any(given.get(key) is not None for key in ("secret_env", "secret_file"))
    for index, name in enumerate(sequence(given.get("algorithms"))):
        if (name in SECRET_ALGORITHMS) is has_secret or not isinstance(name, str):
            continue
        number = f"item {index + 1} of `algorithms`"
        message = f"{number} must not be `{name}`"
        hint = "HMAC needs a shared secret: use `secret_env` or `secret_file`"
        if has_secret:
            message = f"{number} is not for a secret"
            hint = f"a secret signs with {', '.join(SECRET_ALGORITHMS)}"
        yield Problem((*place, "algorithms", index), "bad-value", message, hint)
