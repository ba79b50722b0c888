"""Rules about the headers that the sidecar sets: each has one meaning, and no client sets it."""

from collections.abc import Iterator
from dataclasses import asdict

from sidecar.config.answers import IdentityHeaderNames
from sidecar.documents.findings import Place, Problem, quoted
from sidecar.documents.untyped import at, mapping, sequence, texts


def problems(document: object) -> Iterator[Problem]:
    """Yield every header of a whole ``sidecar.yaml`` that has two meanings."""
    identity = mapping(at(document, "policy", "identity_headers"))
    names = {**asdict(IdentityHeaderNames()), **identity}
    meanings: dict[str, str] = {}
    first: dict[str, str] = {}
    for part in asdict(IdentityHeaderNames()):
        if not isinstance(names[part], str):  # switched off, or an error of the schema
            continue
        name = names[part].lower()
        meanings.setdefault(name, f"the identity header of `{part}`")
        other = first.setdefault(name, part)
        if other != part:
            message = f"`{other}` and `{part}` use the same header, {quoted(name)}"
            key = part if part in identity else other
            yield Problem(("policy", "identity_headers", key), "same-header", message)
    for place, name in _from_claims(document):
        meaning = meanings.setdefault(name.lower(), "set from claims")
        if meaning != "set from claims":
            yield Problem(place, "same-header", f"{quoted(name)} is also {meaning}")
    # The default may contain one too; then only the client's header is removed.
    for index, name in enumerate(texts(at(document, "policy", "remove_headers"))):
        if name.lower().replace("_", "-") in meanings:
            yield Problem(
                ("policy", "remove_headers", index),
                "same-header",
                f"{quoted(name)} is both removed and {meanings[name.lower().replace('_', '-')]}",
                "identity headers from clients are always removed",
            )
    places = [
        (key, index, source)
        for key in ("token_sources", "service_token_sources")
        for index, source in enumerate(sequence(at(document, "zervi", key)))
    ]
    for key, index, source in places:
        header = mapping(source).get("header")
        if isinstance(header, str) and header.lower() in meanings:
            yield Problem(
                ("zervi", key, index, "header"),
                "same-header",
                f"{quoted(header)} is also {meanings[header.lower()]}",
                "the upstream could not tell a token from an identity",
            )


def _from_claims(document: object) -> Iterator[tuple[Place, str]]:
    """Yield each header that is set from claims, for every issuer and for one."""
    zervi = at(document, "zervi")
    for name in mapping(at(zervi, "claims", "headers")):
        yield ("zervi", "claims", "headers", name), name
    for index, issuer in enumerate(sequence(at(zervi, "issuers"))):
        for name in mapping(at(issuer, "claims", "headers")):
            yield ("zervi", "issuers", index, "claims", "headers", name), name
