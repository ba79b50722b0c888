"""The answers that `make soak` accepts, and a short run."""

import json
from pathlib import Path

import pytest

from bench.soak import soak
from bench.soak_traffic import Kind, Tally

ALLOWED = Kind("cached token", 200, "2", body="sent")
DENIED = Kind("no token", 401, "token_missing")


def arrived(*identity: str, body: str = "sent") -> bytes:
    """Return the Basic Server's answer to a request with these identities."""
    headers = [["accept", "*/*"], *(["x-user-id", each] for each in identity)]
    return json.dumps({"headers": headers, "body": body}).encode()


def test_an_answer_is_right_with_its_status_reason_identity_and_body() -> None:
    assert ALLOWED.is_right(200, arrived("2"))
    assert DENIED.is_right(401, b'{"reason": "token_missing"}')
    assert Kind("public route", 200, "").is_right(200, arrived(body=""))


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        (DENIED, 200, arrived("2")),  # allowed
        (DENIED, 403, b'{"reason": "token_missing"}'),
        (DENIED, 401, b'{"reason": "token_expired"}'),
        (DENIED, 401, b"no token"),
        (ALLOWED, 401, b'{"reason": "token_missing"}'),
        (ALLOWED, 200, arrived("4")),  # another's answer
        (ALLOWED, 200, arrived()),
        (ALLOWED, 200, arrived("1", "2")),  # with the forged identity
        (ALLOWED, 200, arrived("2", body="")),
    ],
)
def test_any_other_answer_is_wrong(kind: Kind, status: int, body: bytes) -> None:
    assert not kind.is_right(status, body)


async def test_a_soak_of_a_second_ends_with_no_wrong_answer(tmp_path: Path) -> None:
    tally = Tally()
    assert await soak(1.0, tmp_path, tally)
    assert tally.right
    assert not tally.wrong
