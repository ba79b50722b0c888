"""The principal's headers for the upstream."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.principal import (
    IdentityHeaders,
    Kind,
    Principal,
    identity_values,
)

NAMES = IdentityHeaders()
USER = Principal(Kind.USER, "42", "zervi")
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def values(principal: Principal) -> dict[str, str]:
    headers = identity_values(principal, NAMES)
    assert len({name for name, _ in headers}) == len(headers)
    return dict(headers)


def test_a_user_s_every_field_has_its_header() -> None:
    """Lists are joined by commas."""
    full = Principal(
        Kind.USER, "42", "zervi", "alice", "alice@jobfirst.local", ("user", "admin"), ("a:b", "*")
    )
    assert values(full) == {
        "x-user-id": "42",
        "x-username": "alice",
        "x-user-email": "alice@jobfirst.local",
        "x-user-role": "user,admin",
        "x-user-permissions": "a:b,*",
        "x-user-issuer": "zervi",
    }


def test_what_has_no_value_has_no_header() -> None:
    """An empty name or list gives none, so that a client's copy is removed instead."""
    assert values(USER) == {"x-user-id": "42", "x-user-issuer": "zervi"}
    empty = USER._replace(username="", email="")
    assert values(empty) == values(USER)


def test_a_service_is_never_sent_as_a_user() -> None:
    """Its subject has a header of its own."""
    service = USER._replace(kind=Kind.SERVICE, subject="resume", permissions=("data:read",))
    assert values(service) == {
        "x-service-id": "resume",
        "x-user-permissions": "data:read",
        "x-user-issuer": "zervi",
    }


def test_headers_have_the_configured_names() -> None:
    """Every one of them."""
    names = IdentityHeaders(*(f"n-{field}" for field in IdentityHeaders._fields))
    full = Principal(Kind.USER, "s", "i", "u", "e", ("r",), ("p",))
    service = full._replace(kind=Kind.SERVICE)
    sent = {name for one in (full, service) for name, _ in identity_values(one, names)}
    assert sent == set(names)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("张三", "%E5%BC%A0%E4%B8%89", id="Chinese"),
        pytest.param("é", "%C3%A9", id="Latin"),
        pytest.param("😀", "%F0%9F%98%80", id="beyond the basic plane"),
        pytest.param("a b", "a%20b", id="a space"),
        pytest.param(" a ", "%20a%20", id="spaces around"),
        pytest.param("100%", "100%25", id="a percent sign"),
        pytest.param("%41", "%2541", id="what looks escaped"),
        pytest.param("a\r\nx-user-role: admin", "a%0D%0Ax-user-role:%20admin", id="CR and LF"),
        pytest.param("\0\t\x1f\x7f", "%00%09%1F%7F", id="control characters"),
        pytest.param("\x85\u2028", "%C2%85%E2%80%A8", id="other line breaks"),
        pytest.param(VISIBLE, VISIBLE.replace("%", "%25"), id="visible ASCII"),
        pytest.param("a,b", "a,b", id="a comma in a single value"),
    ],
)
def test_a_value_is_escaped_where_it_is_not_visible_ascii(text: str, escaped: str) -> None:
    """In UTF-8, with capitals."""
    principal = USER._replace(subject=text, username=text, email=text)
    sent = values(principal)
    assert sent["x-user-id"] == sent["x-username"] == sent["x-user-email"] == escaped


def test_a_comma_inside_a_list_s_item_is_escaped() -> None:
    """Else one role could be written as two."""
    sent = values(USER._replace(roles=("user,admin", "a%b"), permissions=("x y", ",")))
    assert sent["x-user-role"] == "user%2Cadmin,a%25b"
    assert sent["x-user-permissions"] == "x%20y,%2C"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc00\ud800"])
def test_a_lone_surrogate_gives_no_header(text: str) -> None:
    """It has no UTF-8; the reader of tokens refuses it before, here it is refused again."""
    for principal in (
        USER._replace(subject=text),
        USER._replace(username=text),
        USER._replace(issuer=text),
        USER._replace(roles=("a", text)),
        USER._replace(permissions=(text,)),
    ):
        with pytest.raises(TokenError) as caught:
            identity_values(principal, NAMES)
        assert caught.value.reason is Reason.TOKEN_CLAIMS


def test_names_and_values_are_at_most_8_kib_together() -> None:
    """One byte more is refused."""
    used = sum(len(name) + len(value) for name, value in values(USER).items())
    room = MAX_IDENTITY_BYTES - used - len("x-username")
    values(USER._replace(username="n" * room))
    with pytest.raises(TokenError) as caught:
        identity_values(USER._replace(username="n" * (room + 1)), NAMES)
    assert caught.value.reason is Reason.TOKEN_CLAIMS


def test_what_counts_is_the_escaped_length() -> None:
    """A Chinese character takes nine bytes."""
    identity_values(USER._replace(username="三" * 900), NAMES)
    with pytest.raises(TokenError):
        identity_values(USER._replace(username="三" * 910), NAMES)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(texts.filter(bool), texts, st.lists(texts.filter(bool), max_size=4).map(tuple))
def test_the_upstream_can_read_back_what_the_token_said(
    subject: str, username: str, items: tuple[str, ...]
) -> None:
    """Every value is visible ASCII, and unescaping gives the claims again, item by item."""
    principal = USER._replace(subject=subject, username=username, roles=items, permissions=items)
    sent = values(principal)
    assert all(re.fullmatch("[!-~]+", value) for value in sent.values())
    assert unquote(sent["x-user-id"], errors="strict") == subject
    assert unquote(sent.get("x-username", ""), errors="strict") == username
    for name in ("x-user-role", "x-user-permissions"):
        listed = sent[name].split(",") if name in sent else []
        assert tuple(unquote(item, errors="strict") for item in listed) == items
