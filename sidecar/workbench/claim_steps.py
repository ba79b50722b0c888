"""Explains what each configured claim holds in a token: read, or ignored and why.

The values come from the functions that the sidecar itself reads claims with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.core.tokens.claims import Claim, Split, first, listed, reached, single
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import Kind


def claim_texts(claims: Mapping[str, Any], issuer: Issuer, kind: Kind) -> Iterator[str]:
    """Yield a line for each part of a principal of this kind, with the claims for it.

    A username or an email address that no claim holds is left out: few tokens have both.
    """
    names = issuer.claims
    service = claims.get("service_id") is not None
    yield f"subject: {_first_of(claims, ('service_id',) if service else names.subject)}"
    for part, among in (("username", names.username), ("email", names.email)):
        if kind is Kind.USER and any(_is_there(claims, claim) for claim in among):
            yield f"{part}: {_first_of(claims, among)}"
    yield f"roles: {_all_of(claims, names.roles, text_counts=True)}"
    yield f"permissions: {_all_of(claims, names.permissions, text_counts=False)}"
    for header, among in names.headers.items():
        yield f"{header}: {_all_of(claims, among, text_counts=True, flag_counts=True)}"


def _first_of(claims: Mapping[str, Any], among: tuple[Claim, ...]) -> str:
    """Describe the claims up to the first one that is not empty; the others are not read."""
    said = []
    for claim in among:
        there = _is_there(claims, claim)
        said.append(f"{claim} {_of_value(single(claims, claim), claim) if there else _ABSENT}")
        if first(claims, (claim,)) is not None:
            break
    return "; ".join(said)


def _is_there(claims: Mapping[str, Any], claim: Claim) -> bool:
    return claim in claims or single(claims, claim) is not None


def _all_of(
    claims: Mapping[str, Any],
    among: tuple[Claim, ...],
    *,
    text_counts: bool,
    flag_counts: bool = False,
) -> str:
    said = []
    for claim in among:
        flag = flag_counts and isinstance(single(claims, claim), bool)
        what = "is a boolean, read" if flag else _of_many(claims, claim, text_counts=text_counts)
        said.append(f"{claim} {what}")
    return "; ".join(said)


def _of_many(claims: Mapping[str, Any], claim: Claim, *, text_counts: bool) -> str:
    inside = claim.claim if isinstance(claim, Split) else claim
    try:
        found = reached(claims, inside)
    except TokenError as error:
        return f"is not read: {error.detail}"
    if not found:
        return _ABSENT
    counts = text_counts or isinstance(claim, Split)
    if len(found) == 1 and not found[0].several:
        return _of_value(found[0].value, claim, text_counts=counts)
    ignored = sum(
        not any(True for _ in listed(value, text_counts=counts or several))
        for value, several in found
    )
    read = f"leads to {len(found)} {'value' if len(found) == 1 else 'values'}"
    return f"{read}, {ignored} ignored" if ignored else f"{read}, read"


_ABSENT = "is not in the token"


def _of_value(value: object, claim: Claim, *, text_counts: bool = True) -> str:
    match value:
        case None:
            return "is null, ignored"
        case "":
            return "is empty, ignored"
        case bool():
            return "is a boolean, ignored"
        case str() if text_counts:
            return "is text, read"
        case str():
            return f"is text, ignored: {{claim: {claim}, split: space}} reads a text"
        case int():
            return "is a number, read as text" if text_counts else "is a number, ignored"
        case float():
            return "is a number with a fraction, ignored"
        case list():
            others = len(value) - len(list(listed(value, text_counts=False)))
            what = f"{others} of {len(value)} items ignored: not text or integers"
            return f"is a list, {what if others else 'read'}"
        case _:
            return "is an object, ignored: a path reads what it contains"
