"""Secrets from the environment and from files. No message ever holds one."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.config.files import read_file
from sidecar.config.findings import BadValueError, Place, Problem, Severity
from sidecar.config.raw import at, mapping, sequence
from sidecar.config.rules import SECRET_SOURCES
from sidecar.config.values import ENVIRONMENT_NAME
from sidecar.core.issuers import check_secret

MAX_SECRET_BYTES = (
    64 * 1024
)  # far beyond any secret or token; keeps a wrong file from being read whole


class Secrets:
    """What the environment and the files hold for one configuration, and what is wrong with it."""

    def __init__(self, document: object, base: Path, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._base = base
        self._environ = environ
        self.issuers = tuple(
            self._of_issuer(mapping(issuer), ("zervi", "issuers", index))
            for index, issuer in enumerate(sequence(at(document, "zervi", "issuers")))
        )
        self.registry = self._of_registry(mapping(at(document, "looma", "token")))

    def _of_issuer(self, issuer: Mapping[str, object], place: Place) -> tuple[bytes, ...]:
        """Return an issuer's secrets in their order; none for an issuer with keys."""
        secrets: list[bytes] = []
        weak_allowed = issuer.get("unsafe_allow_weak_secret") is True
        for key in SECRET_SOURCES:
            for at_fault, name in _named(issuer.get(key), (*place, key)):
                secret = self._from(key, name, at_fault)
                if secret is None:
                    continue
                secrets.append(secret)
                if why := check_secret(secret):
                    self.problems.append(_weak(at_fault, why, weak_allowed))
        return tuple(secrets)

    def _of_registry(self, token: Mapping[str, object]) -> str | None:
        """Return what ``looma.token`` names in the environment: a token, or a login's secret."""
        found: str | None = None
        for key in ("env", "secret_env"):
            for at_fault, name in _named(token.get(key), ("looma", "token", key)):
                secret = self._from(key, name, at_fault)
                if secret is not None:
                    found = secret.decode("utf-8", "replace")
                    if not (found.isascii() and found.isprintable()) and key == "env":
                        message = f"the token in {_shown(name)} holds what no header can carry"
                        self.problems.append(Problem(at_fault, "secret", message))
        for at_fault, name in _named(token.get("file"), ("looma", "token", "file")):
            self._from(
                "secret_file", name, at_fault
            )  # the reporter reads it afresh; here it must be there
        return found

    def _from(self, key: str, name: str, place: Place) -> bytes | None:
        if key == "secret_file":
            try:
                secret = read_file(Path(self._base, name), MAX_SECRET_BYTES)
            except BadValueError as wrong:
                self.problems.append(Problem(place, "file", f"the secret file {wrong}", wrong.help))
                return None
            return self._filled(
                secret.removesuffix(b"\n").removesuffix(b"\r"), "the secret file", place
            )
        if not ENVIRONMENT_NAME.fullmatch(name):
            return None  # the schema says so
        held = self._environ.get(name)
        if held is None:
            self.problems.append(
                Problem(place, "environment", f"the environment variable {_shown(name)} is not set")
            )
            return None
        return self._filled(
            held.encode("utf-8", "surrogateescape"),
            f"the environment variable {_shown(name)}",
            place,
        )

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


def _shown(name: str) -> str:
    """Return a variable's name, unless it could be a secret that was put there by mistake."""
    return name if name.isupper() else "named here"


def _weak(place: Place, why: str, allowed: bool) -> Problem:
    if allowed:
        message = f"the secret is used although {why}"
        return Problem(
            place,
            "weak-secret",
            message,
            "`unsafe_allow_weak_secret` lifts the check",
            Severity.WARNING,
        )
    return Problem(
        place,
        "weak-secret",
        f"the secret cannot be used: {why}",
        "make one with: openssl rand -base64 48",
    )
