"""Secrets from the environment and from files. No message ever contains one."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.config.files import read_file
from sidecar.core.tokens.issuers import check_secret, doubt_secret
from sidecar.documents.findings import BadValueError, Place, Problem, dotted, warning
from sidecar.documents.untyped import at, mapping, sequence, texts
from sidecar.documents.values import ENVIRONMENT_NAME, SECRET_ALGORITHMS

MAX_SECRET_BYTES = 64 * 1024  # far more than any secret or token; bounds reading a wrong file

# Names that cannot be secrets: words of letters, each with at most a number at its end.
_PLAIN_NAME = re.compile(r"[A-Z]{1,16}[0-9]{0,2}(_[A-Z]{0,16}[0-9]{0,2}){0,7}")

_GENERATE = "generate one with: openssl rand -base64 48"


class Secrets:
    """The secrets of one configuration, from the environment and from files, and their problems.

    ``issuers`` has each issuer's secrets in their order, none for an issuer with keys. ``registry``
    is what ``looma.token`` names in the environment: a token, or the secret for a login.
    """

    def __init__(self, document: object, base: Path, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._base = base
        self._environ = environ
        self.issuers = tuple(
            self._of_issuer(mapping(issuer), ("zervi", "issuers", index))
            for index, issuer in enumerate(sequence(at(document, "zervi", "issuers")))
        )
        self.registry = self._of_registry(mapping(at(document, "looma", "token")))
        self._check_lookups(document)

    def _of_issuer(self, issuer: Mapping[str, object], place: Place) -> tuple[bytes, ...]:
        weak_allowed = issuer.get("unsafe_allow_weak_secret") is True
        found = [
            (where, self._from_environment(name, where))
            for where, name in _named(issuer.get("secret_env"), (*place, "secret_env"))
        ]
        found += [
            (where, self._from_file(name, "secret", where))
            for where, name in _named(issuer.get("secret_file"), (*place, "secret_file"))
        ]
        algorithms = set(texts(issuer.get("algorithms"))) & set(SECRET_ALGORITHMS)
        longest = max(algorithms, default="HS256")  # the one that needs the longest secret
        for where, secret in found:
            if secret and (why := check_secret(secret, longest)):
                self.problems.append(_weak(where, why, weak_allowed))
            elif secret and (why := doubt_secret(secret)):
                self.problems.append(_doubtful(where, why))
        return tuple(secret for _, secret in found if secret)

    def _check_lookups(self, document: object) -> None:
        """Note what is missing for look-ups; they read it for each of them."""
        place: Place = ("zervi", "permissions", "token")
        sections = [(place, mapping(at(document, "zervi", "permissions", "token")))]
        for index, issuer in enumerate(sequence(at(document, "zervi", "issuers"))):
            place = ("zervi", "issuers", index, "introspection", "credentials")
            held = mapping(at(mapping(issuer), "introspection", "credentials"))
            sections.append((place, held))
        for place, section in sections:
            for key, what in (("file", "token"), ("secret_file", "secret")):
                for where, name in _named(section.get(key), (*place, key)):
                    self._from_file(name, what, where)
            for key in ("env", "secret_env"):
                for where, name in _named(section.get(key), (*place, key)):
                    self._from_environment(name, where)

    def _of_registry(self, token: Mapping[str, object]) -> str | None:
        place: Place = ("looma", "token")
        for where, name in _named(token.get("file"), (*place, "file")):
            self._from_file(
                name, "token", where
            )  # it is read again for each use; now it must exist
        for where, name in _named(token.get("secret_file"), (*place, "secret_file")):
            self._from_file(name, "secret", where)  # as above
        for where, name in _named(token.get("secret_env"), (*place, "secret_env")):
            secret = self._from_environment(name, where)
            return None if secret is None else secret.decode("utf-8", "replace")
        for where, name in _named(token.get("env"), (*place, "env")):
            held = self._from_environment(name, where) or b""
            if not (held.isascii() and held.decode("ascii").isprintable()):
                message = f"{_variable(name)} contains characters that are invalid in a header"
                self.problems.append(Problem(where, "secret", message))
            return held.decode("utf-8", "replace")
        return None

    def _from_environment(self, name: str, place: Place) -> bytes | None:
        if not ENVIRONMENT_NAME.fullmatch(name):
            return None  # the schema reports it
        held = self._environ.get(name)
        if held is None:
            message = f"{_variable(name)} is not set"
            self.problems.append(Problem(place, "environment", message))
            return None
        return self._filled(held.encode("utf-8", "surrogateescape"), _variable(name), place)

    def _from_file(self, name: str, what: str, place: Place) -> bytes | None:
        try:
            content = read_file(Path(self._base, name), MAX_SECRET_BYTES)
        except BadValueError as wrong:
            # The path is left out: it may be the secret itself.
            hint = f"`{dotted(place)}` must be the path of a file that contains the {what}"
            self.problems.append(Problem(place, "file", f"the {what} file {wrong}", hint))
            return None
        end = b"\r\n" if content.endswith(b"\r\n") else b"\n"
        return self._filled(content.removesuffix(end), f"the {what} file", place)

    def _filled(self, secret: bytes, where: str, place: Place) -> bytes | None:
        if secret.strip():
            return secret
        self.problems.append(Problem(place, "secret", f"{where} is empty"))
        return None


def _named(value: object, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    for index, name in enumerate(sequence(value)):
        if isinstance(name, str):
            yield (*place, index), name


def _variable(name: str) -> str:
    """Return how messages call a variable; a name that may be the secret itself is left out."""
    plain = _PLAIN_NAME.fullmatch(name)
    return f"the environment variable {name}" if plain else "this environment variable"


def _weak(place: Place, why: str, allowed: bool) -> Problem:
    if allowed:
        hint = "`unsafe_allow_weak_secret` disables the check"
        return warning(place, "weak-secret", f"a weak secret is accepted: {why}", hint)
    return Problem(place, "weak-secret", f"the secret cannot be used: {why}", _GENERATE)


def _doubtful(place: Place, why: str) -> Problem:
    return warning(place, "weak-secret", f"the secret is weak: {why}", _GENERATE)
