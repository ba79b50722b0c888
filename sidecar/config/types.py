"""The types of single values: what is accepted, what it becomes in the program, and what is said of the rest."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo

from sidecar.config.findings import BadValueError, one_of, quoted

MAX_TEXT = 512  # characters: longer names would only fill logs and metrics

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OCTAL = re.compile(r"0?[0-7]{3}")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# RFC 7518 and RFC 8037; those that a public key verifies.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)

T = TypeVar("T")


def seconds(text: str) -> float:
    """Seconds of a duration such as ``250ms``, ``30s``, ``5m`` or ``1h``. Raises BadValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise BadValueError(
            f"must be a duration, not {quoted(text)}", "such as 250ms, 30s, 5m or 1h"
        )
    return float(found[1]) * _UNITS[found[2]]


def between(low: str, high: str) -> BeforeValidator:
    """A duration in the file, seconds in the program; both bounds belong to it."""
    least, most = seconds(low), seconds(high)

    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise BadValueError(
                "must be a duration with its unit",
                f"such as {value}s; the units are ms, s, m and h",
            )
        if not isinstance(value, str):
            raise BadValueError("must be a duration", "such as 250ms, 30s, 5m or 1h")
        found = seconds(value)
        if not least <= found <= most:
            raise BadValueError(f"must be from {low} to {high}, not {quoted(value)}")
        return found

    return BeforeValidator(parse)


def check_text(value: str) -> str:
    """Return a text that says something. Raises BadValueError."""
    if not value.strip():
        raise BadValueError("is empty")
    if value != value.strip():
        raise BadValueError("begins or ends with a space")
    if len(value) > MAX_TEXT:
        raise BadValueError(f"has {len(value)} characters, at most {MAX_TEXT} are taken")
    return value


def _octal(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise BadValueError("must be octal digits as text", f'put them in quotes: "0{value}"')
    if not isinstance(value, str) or not _OCTAL.fullmatch(value):
        raise BadValueError("must be three octal digits", 'such as "0660"')
    return int(value, 8)


def _environment_name(value: str) -> str:
    if not ENVIRONMENT_NAME.fullmatch(value):  # it may be the secret itself, so it is not shown
        raise BadValueError(
            "must be the name of an environment variable", "such as ZERVI_JWT_SECRET"
        )
    return value


def _file(value: str, info: ValidationInfo) -> Path:
    context: dict[str, Any] = info.context or {}
    return Path(context.get("base", ""), check_text(value))


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        first: dict[str, int] = {}
        for index, value in enumerate(values):
            if first.setdefault(value, index) != index:
                raise BadValueError(
                    f"has the same text as item {first[value] + 1} and as item {index + 1}"
                )
    return values


def _algorithm(value: str) -> str:
    if value in ALGORITHMS:
        return value
    if value.lower() == "none":
        raise BadValueError("must never be none", "an unsigned token proves nothing")
    if value.upper().startswith("HS"):
        raise BadValueError(
            f"must not be {quoted(value)}",
            "it needs a secret: with `secret_env` or `secret_file` HS256 is understood",
        )
    raise BadValueError(f"must be one of {one_of(ALGORITHMS)}, not {quoted(value)}")


Text = Annotated[str, AfterValidator(check_text)]
Algorithm = Annotated[str, AfterValidator(_algorithm)]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
OctalText = Annotated[int, BeforeValidator(_octal)]

# Files are relative to the directory of the file that names them; see ``validate``'s context.
FilePath = Annotated[Path, Strict(strict=False), BeforeValidator(_file)]

# Lists in the file, tuples in the program.
Listed = Annotated[tuple[T, ...], Strict(strict=False)]
NonEmpty = Annotated[tuple[T, ...], Strict(strict=False), Field(min_length=1)]
UpToThree = Annotated[NonEmpty[T], Field(max_length=3), BeforeValidator(_one_or_more)]
Distinct = AfterValidator(_distinct)
