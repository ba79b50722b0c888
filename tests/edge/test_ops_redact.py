"""What a log may show of text that a client chose."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ops import redact

SECRET = "c2lnbmF0dXJlLXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bi1hbnl3aGVyZQ"


def jwt(header: str = '{"alg":"HS256","typ":"JWT"}', claims: str = '{"user_id":7}') -> str:
    """Return a token whose signature is ``SECRET``."""
    parts = (
        base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (header, claims)
    )
    return ".".join([*parts, SECRET])


TOKENS = [
    jwt(),
    jwt('{ "alg":"RS256"}'),
    jwt('{\n  "alg": "RS256"\n}'),
    jwt('{"alg":"dir","enc":"A256GCM"}', "").replace("..", ".." + "a" * 20 + "."),
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "shape",
    ["{}", "/files/{}", "/files/{}/x", "access_token={}", "Bearer {}", "x{}", '"{}",', "{}.{}"],
)
def test_a_token_is_masked_wherever_it_stands(token: str, shape: str) -> None:
    shown = redact.text(shape.replace("{}", token), 4096)
    assert SECRET not in shown
    assert token.split(".")[0] not in shown
    assert redact.REDACTED in shown


@pytest.mark.parametrize(
    "spelling",
    [
        lambda token: token.replace(".", "%2e"),
        lambda token: token.replace(".", "%2E"),
        lambda token: token.replace("eyJ", "%65yJ"),
        lambda token: "".join(f"%{ord(char):02x}" for char in token),
        lambda token: f";jsessionid={token}",
        lambda token: f"%3Ftoken={token}",
        lambda token: f"%253Ftoken={token}",
        lambda token: f"#access_token={token}",
    ],
)
def test_a_token_in_a_path_is_masked_in_every_spelling(spelling: object) -> None:
    assert callable(spelling)
    shown = redact.path(f"/files/{spelling(jwt())}".encode(), 4096)
    for part in jwt().split("."):
        assert part[:12] not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("token=abc", "token=[redacted]"),
        ("/a;client_secret=hunter2;b=1", "/a;client_secret=[redacted];b=1"),
        ("password%3dhunter2/x", "password%3d[redacted]/x"),
        ("api-key=k&x=1", "api-key=k&x=1"),
        ("api_key=k&x=1", "api_key=[redacted]&x=1"),
        ("BEARER abc def", "BEARER [redacted] def"),
        ("Basic dXNlcjpwdw==", "Basic [redacted]"),
        ("no credential: token expired 3 s ago", "no credential: token expired 3 s ago"),
        ("/api/tokens/7", "/api/tokens/7"),
        ("very-long-subdomain.of-another-subdomain.example.com", "…"),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "…"),
        ("greyjoy.of.pyke", "…"),
        ("张三", "…"),
    ],
)
def test_credentials_by_name_are_masked_and_nothing_else(value: str, shown: str) -> None:
    assert redact.text(value, 4096) == (value if shown == "…" else shown)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/api/users/7", "/api/users/7"),
        (b"/api/users?token=abc", "/api/users"),
        (b"/a?b?c#d", "/a"),
        (b"?a=b", ""),
        (b"", ""),
        (b"*", "*"),
        (b"http://host/a?b", "http://host/a"),
        (b"/a;b=c/d", "/a;[redacted]"),
        (b"/a;", "/a;"),
        (b"/a#b", "/a#[redacted]"),
        (b"/a%3Fb", "/a%3F[redacted]"),
        (b"/a%25253fb", "/a%25253f[redacted]"),
        (b"/a%23b", "/a%23[redacted]"),
        (b"/a%3bb", "/a%3b[redacted]"),
        (b"/%E5%BC%A0", "/%E5%BC%A0"),
        ("/张三".encode(), "/张三"),
        (b"/\xff\xfe", "/\\xff\\xfe"),
        (b"/\x00\r\n", "/\x00\r\n"),
    ],
)
def test_a_path_is_shown_without_what_may_be_a_query(target: bytes, shown: str) -> None:
    assert redact.path(target, 1024) == shown


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_query_is_ever_shown(path: bytes, query: bytes) -> None:
    marked = redact.path(path + b"?" + query + b"hidden-marker", 4096)
    assert "hidden-marker" not in marked


@given(st.text(max_size=300), st.integers(1, 100))
def test_what_is_shown_is_bounded(value: str, limit: int) -> None:
    assert len(redact.text(value, limit)) <= limit + len("...")


@pytest.mark.parametrize(
    "unit", ["a", "eyJ", "a.", "%25", ";", "token=", "bearer ", "-", "%2e", "="]
)
def test_a_huge_value_is_cut_before_it_is_read(unit: str) -> None:
    huge = unit * (4 * 1024 * 1024 // len(unit))
    assert len(redact.text(huge, 256)) <= 256 + len("...")
    assert len(redact.path(huge.encode(), 256)) <= 256 + len("...")


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_token_amid_any_text_is_masked(before: str, after: str) -> None:
    shown = json.dumps(redact.text(f"{before}{jwt()}{after}", 4096))
    assert SECRET not in shown
