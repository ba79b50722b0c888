"""Single values: which text is valid, and what it becomes."""

import re

from sidecar.documents.findings import BadValueError, one_of, quoted

MAX_TEXT = 512  # characters: longer names would fill logs and metrics
MAX_REPETITIONS = 3  # in a pattern for subjects; each multiplies the time of a match by its length

# RFC 7518, 8037 and 9864; those that a public key verifies, and those of a shared secret.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519", "Ed448",
)  # fmt: skip
SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,9})(KiB|MiB|GiB)")
_SIZE_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_OCTAL = re.compile(r"0?[0-7]{3}")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^]]*\]")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_VARIABLE = re.compile(r"[*+]|(?<!\()\?|\{[0-9]*,[0-9]*\}")
_PLACEHOLDER = re.compile(r"\{(name|host|port)\}")


def non_blank(text: str) -> str:
    """Return a text unchanged. Raises BadValueError for blank, padded or overlong text."""
    if not text.strip():
        raise BadValueError("is empty")
    if text != text.strip():
        raise BadValueError("must not begin or end with a space")
    if len(text) > MAX_TEXT:
        raise BadValueError(f"has {len(text)} characters; the maximum is {MAX_TEXT}")
    return text


def seconds(text: str) -> float:
    """Return the seconds of ``250ms``, ``30s``, ``5m``, ``1h`` or ``8d``. Raises BadValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise BadValueError(
            f"must be a duration, not {quoted(text)}", "such as 250ms, 30s, 5m or 1h"
        )
    return float(found[1]) * _UNITS[found[2]]


def size(text: str) -> int:
    """Return the bytes of ``512KiB``, ``32MiB`` or ``1GiB``. Raises BadValueError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise BadValueError(f"must be a size, not {quoted(text)}", "such as 512KiB, 32MiB or 1GiB")
    return int(found[1]) * _SIZE_UNITS[found[2]]


def file_mode(text: str) -> int:
    """Return the mode of octal digits such as ``0660``. Raises BadValueError."""
    if not _OCTAL.fullmatch(text):
        raise BadValueError(f"must be three octal digits, not {quoted(text)}", 'such as "0660"')
    return int(text, 8)


def environment_name(text: str) -> str:
    """Return the name of an environment variable unchanged. Raises BadValueError."""
    if not ENVIRONMENT_NAME.fullmatch(text):  # it may be the secret itself, so it is not shown
        raise BadValueError(
            "must be the name of an environment variable", "such as ZERVI_JWT_SECRET"
        )
    return text


def algorithm(text: str) -> str:
    """Return a signature algorithm unchanged. Raises BadValueError.

    ``config.token_rules`` decides whether it fits the issuer.
    """
    if text in ALGORITHMS or text in SECRET_ALGORITHMS:
        return text
    if text.lower() == "none":
        raise BadValueError("must not be `none`", "unsigned tokens are never accepted")
    raise BadValueError(f"must be {one_of(ALGORITHMS)}, not {quoted(text)}")


def grant_pattern(text: str) -> str:
    """Return a name, or the beginning of names before a ``*``, unchanged. Raises BadValueError."""
    non_blank(text)
    if "*" in text[:-1]:
        raise BadValueError(
            f"can have a `*` only at the end, not {quoted(text)}", "such as orders:read or orders:*"
        )
    return text


def subject_expression(text: str) -> str:
    """Return a regular expression for subjects unchanged.

    Raises BadValueError if it is invalid, or if matching could take exponential time: the subject
    may come from an attacker. So no repeated group is allowed, and few repetitions; on subjects,
    which have at most 128 characters, a match takes a few milliseconds.
    """
    non_blank(text)
    try:
        re.compile(text, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        reason = getattr(error, "msg", "it is too large")
        raise BadValueError(f"must be a regular expression: {reason}") from None
    plain = _CLASS.sub("c", _ESCAPED.sub("e", text))
    if _REPEATED_GROUP.search(plain):
        hint = "write [a-z][a-z-]* rather than [a-z]+(-[a-z]+)*"
        raise BadValueError("must not repeat a group: matching can take exponential time", hint)
    if len(_VARIABLE.findall(plain)) > MAX_REPETITIONS:
        message = f"must not have more than {MAX_REPETITIONS} repetitions of variable length"
        raise BadValueError(message, "fixed repetitions such as [0-9a-f]{12} do not count")
    return text


def absolute_path(text: str) -> str:
    """Return the absolute path of a file or a directory unchanged. Raises BadValueError."""
    if not text.startswith("/") or not text.isprintable():
        raise BadValueError(f"must be an absolute path, not {quoted(text)}")
    return text


def registry_path(text: str) -> str:
    """Return the path of a registry's operation unchanged. Raises BadValueError."""
    rest = text.replace("{service_id}", "")
    if not text.startswith("/") or not text.isascii() or set(rest) & set(" ?#{}"):
        raise BadValueError(
            f"must be a path, not {quoted(text)}",
            "it begins with /, has no query, and may contain {service_id}",
        )
    return text


def node_path(text: str) -> str:
    """Return the path of an operation on one node unchanged. Raises BadValueError."""
    if "{service_id}" not in registry_path(text):
        raise BadValueError(
            "must contain {service_id}", "it tells the registry which node is meant"
        )
    return text


def id_template(text: str) -> str:
    """Return a service id's template unchanged. Raises BadValueError for another placeholder."""
    non_blank(text)
    if set(_PLACEHOLDER.sub("", text)) & set("{}"):
        raise BadValueError(
            f"has an unknown placeholder, {quoted(text)}",
            "the placeholders are {name}, {host} and {port}",
        )
    return text
