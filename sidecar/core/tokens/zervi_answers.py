"""What Zervi's answers to look-ups mean: a user's permissions, a verdict on a token."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.claims import as_text
from sidecar.core.tokens.lookups import Granted
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.wrong_documents import known_by_its_beginning

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer's body: eight times what the identity headers hold."""

# How answers name the user that they are about, beside the permissions or around them.
_USER_KEYS: Final = ("user_id", "userId", "subject", "sub")

_ACTIVE: Final = "active"


class AnswerError(ValueError):
    """An answer that means nothing; the message names the rule and quotes nothing of it."""


def json_of(document: bytes) -> object:
    """Return the value of an answer's body. Raises AnswerError."""
    what = known_by_its_beginning(document)
    if what is not None:
        raise AnswerError(what)
    try:
        return strict_json.loads(document)
    except strict_json.StrictJsonError as error:
        raise AnswerError(str(error)) from None


def permissions_in(value: object, subject: str) -> Granted | None:
    """Return the permissions in an answer about a user; None: ``success: false``, so no user.

    A list, ``{permissions: [...]}`` with ``roles`` or without, or one of them as the ``data`` of an
    envelope with ``code: 0`` or ``success: true``. Null is an empty list, as Go's encoder writes
    one. Raises AnswerError for anything else, and for an answer about another user.
    """
    for part in _about(value):
        _check_subject(part, subject)
    inner, good = _unwrapped(value)
    if good is False:
        return None
    if isinstance(inner, dict):
        if "permissions" not in inner:
            raise AnswerError("it has no permissions")
        roles = inner.get("roles")
        return Granted(
            _texts(inner["permissions"], "permissions"),
            None if roles is None else _texts(roles, "roles"),
        )
    return Granted(_texts(inner, "permissions"))


def verdict_in(value: object, kind: Literal["rfc7662", "zervi"]) -> Mapping[str, Any] | None:
    """Return the claims of an active token, None for a token that is not. Raises AnswerError."""
    if not isinstance(value, dict):
        raise AnswerError("it is not a JSON object")
    return _introspected(value) if kind == "rfc7662" else _validated(value)


def _introspected(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """RFC 7662, section 2.2."""
    active = value.get(_ACTIVE)
    if not isinstance(active, bool):
        raise AnswerError("`active` is not true or false")
    if not active:
        return None
    return {name: held for name, held in value.items() if name != _ACTIVE}


def _validated(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Zervi's ``validate``: claims, or the user's record with its permissions beside it."""
    inner, good = _unwrapped(value)
    if good is False:
        return None
    if good is None:
        raise AnswerError("neither `success` nor `code` says whether the token is valid")
    if not isinstance(inner, dict):
        raise AnswerError("its `data` is not a JSON object")
    valid = inner.get("valid", True)
    if not isinstance(valid, bool):
        raise AnswerError("`valid` is not true or false")
    if not valid:
        return None
    user, claims = inner.get("user"), inner.get("claims")
    for what, part in (("user", user), ("claims", claims)):
        if part is not None and not isinstance(part, dict):
            raise AnswerError(f"`{what}` is not a JSON object")
    if user is not None and user.get("status", _ACTIVE) != _ACTIVE:
        return None
    if isinstance(claims, dict):
        return claims
    if user is None:
        return {name: held for name, held in inner.items() if name not in ("valid", "success")}
    identity = {"user_id": user["id"]} if "id" in user else {}
    beside = {name: inner[name] for name in ("permissions", "exp", "iss", "aud") if name in inner}
    return {**identity, **user, **beside}


def _unwrapped(value: object) -> tuple[object, bool | None]:
    """Return what an envelope holds, and whether it is a success; None: there is no envelope.

    Raises AnswerError for an envelope that contradicts itself, and for an error's code.
    """
    if not isinstance(value, dict):
        return value, None
    success, code = value.get("success"), value.get("code")
    if success is not None and not isinstance(success, bool):
        raise AnswerError("`success` is not true or false")
    if code is not None and (isinstance(code, bool) or not isinstance(code, int)):
        raise AnswerError("`code` is not an integer")
    if success is False:
        return None, False
    if code not in (None, 0):
        raise AnswerError("its `code` is not 0, so it is an error")
    if success is None and code is None:
        return value, None
    return value.get("data") if "data" in value else value, True


def _about(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield each object of an answer that may name its user."""
    if not isinstance(value, dict):
        return
    yield value
    data = value.get("data")
    if isinstance(data, dict):
        yield data


def _check_subject(part: Mapping[str, Any], subject: str) -> None:
    named = [part[name] for name in _USER_KEYS if part.get(name) is not None]
    if "permissions" in part and part.get("id") is not None:
        named.append(part["id"])
    user = part.get("user")
    if isinstance(user, dict):
        named += [user[name] for name in ("id", *_USER_KEYS) if user.get(name) is not None]
    elif user is not None:
        named.append(user)
    if any(as_text(name) != subject for name in named):
        raise AnswerError("it is about another user")


def _texts(value: object, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise AnswerError(f"`{what}` is not a list of texts")
    if sum([len(item) + 1 for item in value]) > MAX_IDENTITY_BYTES:
        raise AnswerError(f"`{what}` are more than the identity headers hold")
    return tuple(dict.fromkeys(value))
