"""What Zervi is asked while a request waits: ``zervi.permissions`` and ``introspection``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from sidecar.config.addresses import http_url
from sidecar.core.tokens.lookups import TokenShape
from sidecar.documents.findings import BadValueError, Place, Problem, quoted
from sidecar.documents.kinds import Choice, Duration, File, Integer, List, Notes, Optional, Text
from sidecar.documents.schema import Section
from sidecar.documents.untyped import at, duration, mapping, sequence, texts
from sidecar.documents.values import environment_name

SUBJECT: Final = "{subject}"
MAX_LENGTH: Final = 32 * 1024  # of a token: the most that token_max_bytes admits

_RANGE = re.compile(r"(.)-(.)", re.DOTALL)


def permissions_url(text: str) -> str:
    """Return a URL with ``{subject}`` as one segment of its path. Raises BadValueError."""
    hint = "such as https://zervi.example/api/users/{subject}/permissions"
    http_url(text.replace(SUBJECT, "subject"))
    path = text.partition("://")[2].partition("?")[0].partition("#")[0]
    if text.count(SUBJECT) != 1 or SUBJECT not in path.split("/")[1:]:
        raise BadValueError("must have {subject} as one segment of its path", hint)
    return text


def token_characters(text: str) -> str:
    """Return characters and ranges of them (``A-Za-z0-9_-``) unchanged. Raises BadValueError."""
    if not text or not all(0x21 <= ord(char) <= 0x7E for char in text):
        raise BadValueError("must be visible ASCII characters", "such as A-Za-z0-9_-")
    for first, last in _RANGE.findall(text):
        if first > last:
            raise BadValueError(
                f"has the range {quoted(f'{first}-{last}')}, whose ends are swapped"
            )
    return text


@dataclass(frozen=True, slots=True)
class Length:
    """A number of characters, or the least and the most of them."""

    def read(self, value: object, place: Place, notes: Notes) -> tuple[int, int]:
        """Read an integer, or a list of two."""
        if isinstance(value, list):
            found = List(Integer(1, MAX_LENGTH)).read(value, place, notes)
            if len(found) != 2 or found[0] > found[1]:
                message = "must be a number, or the least and the most: [20, 64]"
                raise notes.refuse(place, "bad-value", message)
            return found[0], found[1]
        exact = Integer(1, MAX_LENGTH).read(value, place, notes)
        return exact, exact


@dataclass(frozen=True, kw_only=True)
class LookUpToken:
    """``zervi.permissions.token``: the bearer token of the look-ups, from exactly one place."""

    file: Annotated[Path | None, Optional(File(shown=False))] = None
    env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class PermissionsSection:
    """``zervi.permissions``: whose permissions are looked up, and for how long they count."""

    url: Annotated[str, Text(permissions_url)]
    when: Annotated[Literal["missing", "always"], Choice(("missing", "always"))] = "missing"
    issuers: Annotated[tuple[str, ...], List(Text(), unique=True)] = ()
    ttl: Annotated[float, Duration("1s", "1h")] = 60.0
    max_stale: Annotated[float, Duration("0s", "24h")] = 600.0
    wait: Annotated[float, Duration("1ms", "10s")] = 0.3
    token: Annotated[LookUpToken | None, Optional(Section(LookUpToken))] = None
    ca_file: Annotated[Path | None, Optional(File())] = None


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """``introspection.credentials``: a client with its secret, or a bearer token."""

    client_id: Annotated[str | None, Optional(Text())] = None
    secret_env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None
    secret_file: Annotated[Path | None, Optional(File(shown=False))] = None
    file: Annotated[Path | None, Optional(File(shown=False))] = None
    env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class TokenMatch:
    """``introspection.match``: which opaque tokens are the issuer's."""

    prefix: Annotated[str | None, Optional(Text(token_characters))] = None
    length: Annotated[tuple[int, int] | None, Optional(Length())] = None
    characters: Annotated[str | None, Optional(Text(token_characters))] = None

    def shape(self) -> TokenShape:
        """Return the shape for the core."""
        least, most = self.length or (1, None)
        return TokenShape((self.prefix or "").encode(), least, most, _codes(self.characters))


@dataclass(frozen=True, kw_only=True)
class IntrospectionSection:
    """``zervi.issuers[].introspection``: that the issuer is asked whether a token is active."""

    kind: Annotated[Literal["rfc7662", "zervi"], Choice(("rfc7662", "zervi"))]
    url: Annotated[str, Text(http_url)]
    credentials: Annotated[Credentials | None, Optional(Section(Credentials))] = None
    when: Annotated[Literal["opaque", "always"], Choice(("opaque", "always"))] = "opaque"
    ttl: Annotated[float, Duration("1s", "1h")] = 30.0
    max_stale: Annotated[float, Duration("0s", "24h")] = 600.0
    wait: Annotated[float, Duration("1ms", "10s")] = 0.3
    match: Annotated[TokenMatch, Section(TokenMatch)] = TokenMatch()
    ca_file: Annotated[Path | None, Optional(File())] = None


def _codes(characters: str | None) -> frozenset[int] | None:
    if characters is None:
        return None
    codes = {
        code
        for first, last in _RANGE.findall(characters)
        for code in range(ord(first), ord(last) + 1)
    }
    return frozenset(codes | set(_RANGE.sub("", characters).encode()))


def problems(document: object) -> Iterator[Problem]:
    """Yield each conflict between the keys of look-ups."""
    issuers = [mapping(issuer) for issuer in sequence(at(document, "zervi", "issuers"))]
    permissions = mapping(at(document, "zervi", "permissions"))
    if permissions:
        yield from _permissions(permissions, issuers)
    opaque: int | None = None
    for index, issuer in enumerate(issuers):
        section = mapping(issuer.get("introspection"))
        if not section:
            continue
        place: Place = ("zervi", "issuers", index, "introspection")
        yield from _introspection(section, place)
        if opaque is None:
            opaque = index
        elif issuer.get("issuer") != issuers[opaque].get("issuer"):
            yield Problem(
                place,
                "exclusive-keys",
                "only one issuer can have `introspection`",
                "an opaque token does not name its issuer, and must not be sent to another one",
                other=("zervi", "issuers", opaque, "introspection"),
            )


def _permissions(
    section: Mapping[str, object], issuers: Sequence[Mapping[str, object]]
) -> Iterator[Problem]:
    place: Place = ("zervi", "permissions")
    yield from _ages(section, place, PermissionsSection.ttl)
    names = {name for issuer in issuers for name in texts(issuer.get("issuer"))}
    for index, name in enumerate(texts(section.get("issuers"))):
        if name not in names:
            message = f"item {index + 1} of `issuers` is not an issuer of `zervi.issuers`"
            yield Problem((*place, "issuers", index), "bad-value", message, quoted(name))
    token = section.get("token")
    if isinstance(token, dict):
        yield from _one_of(token, ("file", "env"), (*place, "token"))
    yield from _without_tls(section, place)


def _introspection(section: Mapping[str, object], place: Place) -> Iterator[Problem]:
    yield from _ages(section, place, IntrospectionSection.ttl)
    yield from _without_tls(section, place)
    held = section.get("credentials")
    if not isinstance(held, dict):
        return
    where = (*place, "credentials")
    if held.get("client_id") is None:
        yield from _one_of(held, ("file", "env"), where)
        for key in ("secret_env", "secret_file"):
            if held.get(key) is not None:
                yield Problem((*where, key), "missing-key", f"`{key}` needs `client_id`")
        return
    yield from _one_of(held, ("secret_env", "secret_file"), where)
    for key in ("file", "env"):
        if held.get(key) is not None:
            message = f"`client_id` and `{key}` are mutually exclusive"
            yield Problem((*where, key), "exclusive-keys", message)


def _ages(section: Mapping[str, object], place: Place, usual_ttl: float) -> Iterator[Problem]:
    ttl = duration(section.get("ttl"), usual_ttl)
    stale = duration(section.get("max_stale"), 0.0)
    if ttl is not None and stale is not None and 0 < stale < ttl:
        message = "`max_stale` must be 0s, or not shorter than `ttl`"
        hint = "0s: no answer counts after `ttl`"
        yield Problem((*place, "max_stale"), "bad-value", message, hint)


def _one_of(
    section: Mapping[str, object], keys: tuple[str, ...], place: Place
) -> Iterator[Problem]:
    given = [key for key in keys if section.get(key) is not None]
    if not given:
        words = " or ".join(f"`{key}`" for key in keys)
        yield Problem(place, "missing-key", f"`{place[-1]}` needs {words}")
    for key in given[1:]:
        message = f"`{given[0]}` and `{key}` are mutually exclusive"
        yield Problem((*place, key), "exclusive-keys", message)


def _without_tls(section: Mapping[str, object], place: Place) -> Iterator[Problem]:
    url = section.get("url")
    if section.get("ca_file") is not None and not str(url).lower().startswith("https:"):
        message = "`ca_file` has no effect without an https `url`"
        yield Problem((*place, "ca_file"), "no-effect", message)
