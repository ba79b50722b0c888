"""The detail about a refused token quotes nothing of it."""

import json
from itertools import product

import pytest
from hypothesis import given

from sidecar.core.tokens.verify import TokenError, verify
from tests.support.judging import NOW, SECRET, claims, secret_issuer, snapshot
from tests.support.odd_tokens import CLAIM_NAMES, HEADER_NAMES, odd_tokens
from tests.support.signing import compact
from tests.support.token_world import ISSUERS, SIGNERS

MARK = "MARK" * 6  # long enough to be seen, short enough for every place


def details(raw: bytes) -> str:
    """Return everything that an error says of the token; nothing where there is none."""
    try:
        verify(raw, snapshot(*ISSUERS, secret_issuer(name="trusted")), NOW)
    except TokenError as error:
        return f"{error.detail} {error} {error!r} {error.reason}"
    return ""


@given(odd_tokens(SIGNERS))
def test_a_refusal_holds_no_part_of_the_token_or_a_secret(raw: bytes) -> None:
    """No twelve characters of it, whatever is wrong."""
    said = details(raw)
    text = raw.decode("latin-1")
    for hidden in (text, SECRET.decode(), repr(SECRET)):
        assert not any(hidden[at : at + 12] in said for at in range(len(hidden) - 11))


@pytest.mark.parametrize(
    ("place", "name"),
    [*product(["header"], [*HEADER_NAMES, MARK]), *product(["claims"], [*CLAIM_NAMES, MARK])],
)
def test_a_refusal_quotes_no_name_and_no_value(place: str, name: str) -> None:
    """Text in any member, in any wrong form, stays where it is."""
    for value in (MARK, [MARK], {MARK: MARK}, [[MARK]]):
        for spoil in ({}, {"exp": 0}, {"iss": None}, {"token": "refresh-" + MARK}):
            header = {"alg": "HS256"} | ({name: value} if place == "header" else {})
            said = claims(iss="trusted") | spoil | ({name: value} if place == "claims" else {})
            for text in (json.dumps(said), json.dumps(said)[:-1], f'{{"{MARK}":1,"{MARK}":1}}'):
                raw = compact(json.dumps(header).encode(), text.encode(), SECRET, "HS256")
                assert "MARK" not in details(raw)
                assert "MARK" not in details(raw[:-1])
