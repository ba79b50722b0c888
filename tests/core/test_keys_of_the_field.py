"""A key set is worth its good keys, however issuers write them."""

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.tokens import key_sets
from sidecar.core.tokens.keys import MAX_CANDIDATES, KeySet
from tests.core.test_keys import EVERY, GOOD, parse
from tests.support.judging import PUBLIC_KEY_ALGORITHMS
from tests.support.signing import Jwk, b64, ec_key, ed_key, jwk, jwks, rsa_key, unb64

EC = jwk(ec_key(), kid="k")
OTHER_EC = jwk(ec_key(name="other"), kid="k")
RSA = jwk(rsa_key(), kid="k")
OTHER_RSA = jwk(rsa_key("other"), kid="k")


def kids(found: KeySet) -> dict[str, dict[str, str]]:
    """Return the thumbprint that each kid means for each algorithm."""
    return {
        kid: {algorithm: key.thumbprint for algorithm, key in keys.items()}
        for kid, keys in found.by_kid.items()
    }


def thumbprint(entry: Jwk) -> str:
    return parse(entry).keys[0].thumbprint


@pytest.mark.parametrize("name", ["alg", "use", "kid", "key_ops", "x5c", "x5t", "crv_", "ext"])
@pytest.mark.parametrize("nothing", [None, "", []])
def test_an_optional_member_without_a_value_is_absent(name: str, nothing: object) -> None:
    """Some libraries write null, an empty text or an empty list for what they lack."""
    for key in (rsa_key(), ec_key(), ed_key()):
        assert parse(jwk(key) | {name: nothing}) == parse(jwk(key))


def spellings(value: str, *, number: bool, size: int) -> list[str]:
    """Return other ways to write the same octets, or the same number."""
    raw = unb64(value)
    raws = [raw]
    if number:
        short = raw.lstrip(b"\0")
        raws = [raw, short, b"\0" + raw, b"\0" * 40 + raw, short.rjust(size, b"\0")]
    encoders = (base64.urlsafe_b64encode, base64.b64encode)
    written = [encode(raw).decode() for raw in raws for encode in encoders]
    return written + [text.rstrip("=") for text in written]


def short_coordinate() -> Jwk:
    """Return a P-256 key of which a coordinate begins with a zero octet: one of 128 has one."""
    for number in itertools.count():
        entry = jwk(ec_key(name=f"short {number}"))
        if unb64(entry["x"])[0] == 0 or unb64(entry["y"])[0] == 0:
            return entry
    raise AssertionError


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(jwk(rsa_key()), id="RSA"),
        pytest.param(jwk(ec_key()), id="P-256"),
        pytest.param(short_coordinate(), id="P-256 with a coordinate that begins with zero"),
        pytest.param(jwk(ec_key("P-521")), id="P-521"),
        pytest.param(jwk(ed_key()), id="Ed25519"),
    ],
)
def test_a_key_is_the_same_however_its_numbers_are_written(entry: Jwk) -> None:
    """With leading zeros or without, with padding, in base64: one key with one thumbprint."""
    wanted = parse(entry)
    for name in {"n", "e", "x", "y"} & entry.keys():
        number = entry["kty"] != "OKP"
        for text in spellings(entry[name], number=number, size=len(unb64(entry[name]))):
            found = parse(entry | {name: text})
            assert found.thumbprints == wanted.thumbprints
            assert found.keys[0].public_key == wanted.keys[0].public_key


def test_a_curve_that_is_left_out_is_that_of_alg() -> None:
    """Envoy's jwt_authn reads it so; the point is on that curve, or the key is refused."""
    bare = {name: value for name, value in jwk(ec_key("P-384")).items() if name != "crv"}
    assert parse(bare | {"alg": "ES384"}).thumbprints == parse(jwk(ec_key("P-384"))).thumbprints
    assert "point" in parse(bare | {"alg": "ES256"}, GOOD).dropped
    assert "crv" in parse(bare, GOOD).dropped


@pytest.mark.parametrize("kid", [{}, {"kid": "k"}])
def test_identical_keys_are_one(kid: Jwk) -> None:
    """However they are written; for all algorithms that any of them names."""
    key: Any = jwk(rsa_key())
    padded = key | {"n": base64.b64encode(unb64(key["n"])).decode()}
    found = parse(key | kid | {"alg": "RS256"}, padded | kid | {"alg": "PS256"}, key | kid, GOOD)
    assert len(found.keys) == 2
    assert found.keys[0].algorithms == {alg for alg in EVERY if alg[:2] in {"RS", "PS"}}
    assert found.dropped == ""


def test_keys_of_one_kid_are_told_apart_by_their_types() -> None:
    """The example of RFC 7517, section 4.5: one kid for RSA and EC."""
    assert kids(parse(RSA, EC, algorithms=frozenset({"RS256", "ES256"}))) == {
        "k": {"RS256": thumbprint(RSA), "ES256": thumbprint(EC)}
    }


def test_keys_of_one_kid_are_told_apart_by_their_alg() -> None:
    """Also where only one of them names it."""
    first, second = RSA | {"alg": "RS256"}, OTHER_RSA | {"alg": "PS256"}
    assert kids(parse(first, second)) == {
        "k": {"RS256": thumbprint(RSA), "PS256": thumbprint(OTHER_RSA)}
    }
    found = kids(parse(first, OTHER_RSA))["k"]
    assert found["RS256"] == thumbprint(RSA)
    assert found["RS512"] == thumbprint(OTHER_RSA)


@pytest.mark.parametrize("use", ["enc", None])
def test_keys_of_one_kid_are_told_apart_by_their_use(use: str | None) -> None:
    """The one for signatures is meant, in any order."""
    signing, other = EC | {"use": "sig"}, OTHER_EC | ({"use": use} if use else {})
    for entries in ((signing, other), (other, signing)):
        assert kids(parse(*entries)) == {"k": {"ES256": thumbprint(EC)}}


def test_only_what_stays_ambiguous_is_left_out() -> None:
    """Two keys for the same algorithm under one kid; the keys beside them stay."""
    found = parse(EC, GOOD, OTHER_EC, RSA)
    assert found.by_kid.keys() == {"good", "k"}
    assert "ES256" not in found.by_kid["k"]
    assert found.by_kid["k"]["RS256"].thumbprint == thumbprint(RSA)
    assert found.dropped == "2 × another key has its kid and fits the same algorithm"
    assert found.unusable == {"k": "another key has its kid and fits the same algorithm"}


def test_keys_without_kid_are_never_ambiguous() -> None:
    """They are tried in their order."""
    first, second = jwk(ec_key()), jwk(ec_key(name="other"))
    found = parse(first, second)
    assert [key.thumbprint for key in found.without_kid["ES256"]] == [
        thumbprint(first),
        thumbprint(second),
    ]


def test_the_first_hundred_keys_that_fit_are_read() -> None:
    """What does not fit, and what is there twice, does not count; the operator is warned."""
    keys = [jwk(ec_key(name=f"many {number}"), kid=str(number)) for number in range(103)]
    unfit = [jwk(rsa_key(), kid=f"enc {number}", use="enc") for number in range(100)]
    found = parse(*unfit, *keys[:50], *keys[:50], *keys[50:])
    assert [key.kid for key in found.keys] == [str(number) for number in range(100)]
    assert "3 × after the first 100 that fit" in found.dropped
    assert found.unusable["102"] == "after the first 100 that fit"


def test_the_cause_is_kept_for_each_kid_that_is_left_out() -> None:
    """A token that names it is explained to the operator."""
    found = parse(jwk(ec_key(), kid="a", use="enc"), jwk(ec_key(), kid="b", d="AA"), GOOD, "x")
    assert found.unusable == {"a": "use is not sig", "b": "a private key"}


def test_candidates_are_the_first_four_that_fit() -> None:
    """Those without kid first; the same key under several kids counts once."""
    named = [jwk(ec_key(name=f"c{number}"), kid=str(number)) for number in range(4)]
    again = named[0] | {"kid": "again"}
    bare = jwk(ec_key(name="bare"))
    found = parse(named[0], again, RSA, *named[1:], bare)
    fitting = [key.thumbprint for key in found.fitting["ES256"]]
    assert fitting == [thumbprint(entry) for entry in (bare, *named[:3])]
    assert len(fitting) == MAX_CANDIDATES
    assert [key.thumbprint for key in found.without_kid["ES256"]] == [thumbprint(bare)]


entries_of_one_kid = st.lists(
    st.builds(
        lambda key, members: key | members,
        st.sampled_from([EC, OTHER_EC, RSA, OTHER_RSA, jwk(ed_key(), kid="k")]),
        st.fixed_dictionaries(
            {},
            optional={
                "alg": st.sampled_from(["RS256", "PS256", "ES256", ""]),
                "use": st.sampled_from(["sig", "enc", None]),
            },
        ),
    ),
    min_size=1,
    max_size=5,
)


@given(entries_of_one_kid)
def test_what_a_kid_means_depends_on_no_order_and_no_doubling(entries: list[Jwk]) -> None:
    """A set that lists its keys in another order, or twice, means the same."""
    found = parse(*entries, GOOD)
    assert kids(parse(*reversed(entries), *entries, GOOD)) == kids(found)
    for algorithm, key in found.by_kid.get("k", {}).items():
        assert algorithm in key.algorithms
        assert algorithm in PUBLIC_KEY_ALGORITHMS


def test_the_work_on_a_set_is_bounded() -> None:
    """A thousand entries are read, good or bad."""
    entries = ["x"] * key_sets.MAX_ENTRIES
    document = jwks(*entries[:-1], GOOD, jwk(ec_key(), kid="late"))
    found = key_sets.parse_key_set(document, algorithms=EVERY, fetched_at=0.0)
    assert found.by_kid.keys() == {"good"}
    assert found.unusable == {"late": "after the first 1000"}


def test_what_is_no_base64_is_left_out() -> None:
    """Bits past the end and white space: no issuer writes them, two readers may differ."""
    n = jwk(rsa_key())["n"]
    for text in (n[:-1] + ("B" if n[-1] != "B" else "C"), n + "===", n[:10] + "\n" + n[10:], "="):
        assert "base64url" in parse(jwk(rsa_key(), n=text), GOOD).dropped or text == "="
    assert "is empty" in parse(jwk(rsa_key(), n="="), GOOD).dropped
    assert b64(b"\xfb") == b"-w"
