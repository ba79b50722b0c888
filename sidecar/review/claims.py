"""Advice about the claims that a configuration reads."""

import re
from collections.abc import Iterator, Mapping

from sidecar.documents.findings import Place, Problem, quoted, warning
from sidecar.documents.untyped import at, mapping, sequence

_PARTS = ("subject", "username", "email", "roles", "permissions")

# JSONPath, JSON pointers and indexes; then dots or slashes between words, unless the name is a URI
# or begins with a domain: those are names of claims (`https://app.example/roles`).
_PATH = re.compile(r"[$/].*|.*[*\[].*|[^:/]+\.[^:/]+|[^:/.]+(/[^:/.]+)+")
_STEP = re.compile(r"[^\s$./\[\]*'\"]+|\*")

# Claims that are objects, and a path into each; a name of one dot is not a path here.
_OBJECTS: Mapping[str, str] = {
    "realm_access": "[realm_access, roles]",
    "resource_access": '[resource_access, "*", roles]',
    "kubernetes.io": "[kubernetes.io, serviceaccount, name]",
    "firebase": "[firebase, sign_in_provider]",
}
_TEXTS = frozenset({"scope"})  # claims that are one text with several values (RFC 9068)


def problems(document: object) -> Iterator[Problem]:
    """Yield each claim of a whole ``sidecar.yaml`` that is probably not what it seems."""
    shared = mapping(at(document, "zervi", "claims"))
    yield from _section(shared, ("zervi", "claims"))
    for index, entry in enumerate(sequence(at(document, "zervi", "issuers"))):
        issuer, place = mapping(entry), ("zervi", "issuers", index)
        own = mapping(issuer.get("claims"))
        yield from _section(own, (*place, "claims"))
        permissions = own.get("permissions")
        if permissions is None:
            permissions = shared.get("permissions")
        if issuer.get("grantable") is None and any(map(_is_split, sequence(permissions))):
            yield warning(
                place,
                "scope-grants",
                "whatever a text claim such as scope says grants permissions",
                "a client may choose its scopes: limit them with `grantable`",
            )


def _is_split(claim: object) -> bool:
    return "split" in mapping(claim)


def _section(section: Mapping[str, object], place: Place) -> Iterator[Problem]:
    headers = mapping(section.get("headers"))
    listed = [((*place, part), section.get(part)) for part in _PARTS]
    listed += [((*place, "headers", name), claims) for name, claims in headers.items()]
    for where, claims in listed:
        for index, claim in enumerate(sequence(claims)):
            here = (*where, index)
            name = mapping(claim).get("claim", claim)
            if isinstance(name, str):
                yield from _name(name, here)
            if isinstance(claim, str) and claim in _TEXTS and where[-1] == "permissions":
                yield warning(
                    here,
                    "text-claim",
                    f"{quoted(claim)} is one text in most tokens, and a text grants no permission",
                    f"write {{claim: {claim}, split: space}}",
                )


def _name(name: str, place: Place) -> Iterator[Problem]:
    path = _OBJECTS.get(name)
    if path is not None:
        message = f"{quoted(name)} is an object in the tokens of the issuers that have it"
        yield warning(place, "claim-path", message, f"write a path into it, such as {path}")
    elif _PATH.fullmatch(name):
        steps = [f'"{step}"' if step == "*" else step for step in _STEP.findall(name)]
        message = f"{quoted(name)} is the literal name of one claim, not a path"
        yield warning(place, "claim-path", message, f"write [{', '.join(steps)}] for a path")
