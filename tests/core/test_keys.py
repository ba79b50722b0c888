"""Key sets: what is read, what is dropped, what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.tokens import key_sets as keys_module
from sidecar.core.tokens.key_sets import KeySetError, parse_key_set
from sidecar.core.tokens.keys import KeySet
from tests.support import signing
from tests.support.signing import Jwk, b64, ec_key, ed_key, jwk, jwks, rsa_key, uint

NOW = 1_800_000_000.0
RSA_FAMILY = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
EVERY = RSA_FAMILY | {"ES256", "ES384", "ES512", "EdDSA"}


def parse(*entries: object, algorithms: frozenset[str] = EVERY) -> KeySet:
    return parse_key_set(jwks(*entries), algorithms=algorithms, fetched_at=NOW)


def refusal(document: bytes, algorithms: frozenset[str] = EVERY) -> str:
    with pytest.raises(KeySetError) as caught:
        parse_key_set(document, algorithms=algorithms, fetched_at=NOW)
    return str(caught.value)


GOOD = jwk(ec_key(), kid="good")


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        pytest.param(jwk(rsa_key()), RSA_FAMILY, id="RSA"),
        pytest.param(jwk(rsa_key(), alg="RS256"), {"RS256"}, id="RSA for RS256"),
        pytest.param(jwk(rsa_key(), alg="PS512"), {"PS512"}, id="RSA for PS512"),
        pytest.param(jwk(ec_key("P-256")), {"ES256"}, id="P-256"),
        pytest.param(jwk(ec_key("P-384")), {"ES384"}, id="P-384"),
        pytest.param(jwk(ec_key("P-521")), {"ES512"}, id="P-521"),
        pytest.param(jwk(ed_key("Ed25519")), {"EdDSA"}, id="Ed25519"),
        pytest.param(jwk(ed_key("Ed448")), {"EdDSA"}, id="Ed448"),
    ],
)
def test_a_key_verifies_what_fits_its_type_curve_and_alg(entry: Jwk, algorithms: set[str]) -> None:
    """Nothing else is ever tried with it."""
    assert parse(entry).keys[0].algorithms == algorithms


def test_a_key_verifies_no_more_than_the_issuer_s_algorithms() -> None:
    """An RSA key could do six; the issuer names one of them."""
    named = frozenset({"RS256", "ES256"})
    assert parse(jwk(rsa_key()), algorithms=named).keys[0].algorithms == {"RS256"}


def test_a_key_set_keeps_order_kids_and_time() -> None:
    """Keys without kid are there too, but not among the kids."""
    entries = [jwk(rsa_key(), kid="a"), jwk(ec_key()), jwk(ed_key(), kid="b")]
    found = parse(*entries)
    assert [key.kid for key in found.keys] == ["a", None, "b"]
    assert found.by_kid == {
        "a": dict.fromkeys(RSA_FAMILY, found.keys[0]),
        "b": {"EdDSA": found.keys[2]},
    }
    assert found.thumbprints == {key.thumbprint for key in found.keys}
    assert len(found.thumbprints) == 3
    assert (found.fetched_at, found.dropped) == (NOW, "")


def test_members_that_are_not_needed_are_ignored() -> None:
    """Certificates and their URLs are ignored (RFC 7517, section 4)."""
    further = {"x5c": ["rubbish"], "x5u": "http://127.0.0.1:1/", "x5t": 5, "key_ops": ["verify"]}
    assert parse(jwk(rsa_key(), use="sig", **further), "ignored").thumbprints == (
        parse(jwk(rsa_key())).thumbprints
    )


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """The RFC's own example, and RFC 8037's."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP"
        "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY"
        "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0f"
        "M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    found = parse(
        {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    )
    assert [key.thumbprint for key in found.keys] == [
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    ]


@pytest.mark.parametrize("key", [rsa_key(), ec_key("P-521"), ed_key("Ed448")])
def test_the_thumbprint_depends_only_on_the_key(key: signing.PrivateKey) -> None:
    """Another kid, alg or order of members makes no other key; another key does."""
    entry = jwk(key)
    again = dict(reversed(list(entry.items()))) | {"kid": "other", "use": "sig"}
    wanted: Jwk = {
        name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in entry
    }
    assert parse(entry).thumbprints == parse(again).thumbprints == {signing.thumbprint(wanted)}


def small_rsa(bits: int) -> Jwk:
    return jwk(rsa.generate_private_key(65537, bits))


def rsa_numbers() -> tuple[int, int]:
    numbers = rsa_key().public_key().public_numbers()
    return numbers.n, numbers.e


def with_modulus(change: Callable[[int], int]) -> Jwk:
    n, e = rsa_numbers()
    return {"kty": "RSA", "n": uint(change(n)), "e": uint(e)}


def with_exponent(e: int) -> Jwk:
    return {"kty": "RSA", "n": uint(rsa_numbers()[0]), "e": uint(e)}


def with_coordinate(name: str, change: Callable[[bytes], bytes], crv: str = "P-256") -> Jwk:
    entry = jwk(ec_key(crv))
    raw = signing.unb64(entry[name])
    return entry | {name: b64(change(raw)).decode()}


def off_the_curve(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


DROPPED = [
    pytest.param("a string", "not a JSON object", id="no object"),
    pytest.param(None, "not a JSON object", id="null"),
    pytest.param([jwk(ec_key())], "not a JSON object", id="a list"),
    pytest.param({}, "kty", id="an empty object"),
    pytest.param(jwk(ec_key(), kty="ec"), "kty", id="kty in small letters"),
    pytest.param(jwk(ec_key(), kty=["EC"]), "kty", id="kty a list"),
    pytest.param(jwk(ec_key(), kty="AKP"), "kty", id="kty unknown"),
    pytest.param({"kty": "oct", "k": b64(b"s" * 32).decode()}, "oct", id="a shared secret"),
    pytest.param({"kty": "oct", "k": "", "alg": "HS256"}, "oct", id="an empty secret"),
    pytest.param(jwk(ec_key(), d="AA"), "private", id="a private EC key"),
    pytest.param(jwk(rsa_key(), d="AA", p="AA", q="AA"), "private", id="a private RSA key"),
    pytest.param(jwk(rsa_key(), qi=None), "private", id="a private member that is null"),
    pytest.param(jwk(ed_key(), d="AA"), "private", id="a private Edwards key"),
    pytest.param(jwk(ec_key(), k="AA"), "private", id="a secret beside a public key"),
    pytest.param(jwk(ec_key(), use="enc"), "use", id="use enc"),
    pytest.param(jwk(ec_key(), use="SIG"), "use", id="use in capitals"),
    pytest.param(jwk(ec_key(), use=["sig"]), "use", id="use a list"),
    pytest.param(jwk(ec_key(), key_ops=["sign"]), "key_ops", id="key_ops sign"),
    pytest.param(jwk(ec_key(), key_ops=["encrypt", "wrapKey"]), "key_ops", id="key_ops encrypt"),
    pytest.param(jwk(ec_key(), key_ops="verify"), "key_ops", id="key_ops a string"),
    pytest.param(jwk(ec_key(), key_ops=[["verify"]]), "key_ops", id="key_ops nested"),
    pytest.param(jwk(ec_key(), kid=1), "kid", id="kid a number"),
    pytest.param(jwk(ec_key(), kid="k" * 257), "kid", id="kid long"),
    pytest.param(jwk(ec_key(), alg="ES384"), "alg", id="alg of another curve"),
    pytest.param(jwk(ec_key(), alg="RS256"), "alg", id="alg of another type"),
    pytest.param(jwk(rsa_key(), alg="HS256"), "alg", id="alg of a secret on an RSA key"),
    pytest.param(jwk(rsa_key(), alg="none"), "alg", id="alg none"),
    pytest.param(jwk(rsa_key(), alg="RSA-OAEP"), "alg", id="alg for encryption"),
    pytest.param(jwk(rsa_key(), alg="rs256"), "alg", id="alg in small letters"),
    pytest.param(jwk(rsa_key(), alg=["RS256"]), "alg", id="alg a list"),
    pytest.param(small_rsa(1024), "under 2048", id="RSA of 1,024 bits"),
    pytest.param(with_modulus(lambda n: n >> 1 | 1), "under 2048", id="RSA of 2,047 bits"),
    pytest.param(with_modulus(lambda n: n << 6145 | 1), "over 8192", id="RSA of 8,193 bits"),
    pytest.param(with_modulus(lambda n: n << 500_000 | 1), "over 8192", id="RSA of 61 KiB"),
    pytest.param(with_modulus(lambda n: n - 1), "small factor", id="an even modulus"),
    pytest.param(with_modulus(lambda n: n * 751), "small factor", id="a modulus with a factor"),
    pytest.param(with_exponent(1), "exponent", id="exponent 1"),
    pytest.param(with_exponent(2), "exponent", id="exponent 2"),
    pytest.param(with_exponent(3), "exponent", id="exponent 3"),
    pytest.param(with_exponent(17), "exponent", id="exponent 17"),
    pytest.param(with_exponent(65536), "exponent", id="exponent even"),
    pytest.param(with_exponent(65538), "exponent", id="exponent even and large"),
    pytest.param(with_exponent(2**64 + 1), "exponent", id="exponent of 65 bits"),
    pytest.param(with_exponent(2**2000 + 1), "exponent", id="exponent of 2,001 bits"),
    pytest.param(jwk(rsa_key(), e=""), "e is empty", id="exponent empty"),
    pytest.param(jwk(rsa_key(), e="AA"), "exponent", id="exponent zero"),
    pytest.param(jwk(rsa_key(), e="AQA B"), "base64url", id="exponent with a space"),
    pytest.param(jwk(rsa_key(), e="AQÀB"), "base64url", id="exponent not ASCII"),
    pytest.param(jwk(rsa_key(), e=65537), "not a string", id="exponent a number"),
    pytest.param(jwk(rsa_key(), n=None), "not a string", id="modulus null"),
    pytest.param({"kty": "RSA", "e": "AQAB"}, "n is not a string", id="no modulus"),
    pytest.param({"kty": "RSA", "n": jwk(rsa_key())["n"]}, "e is not a string", id="no exponent"),
    pytest.param(jwk(ec_key("secp256k1")), "crv", id="secp256k1"),
    pytest.param(jwk(ec_key(), crv="P-192"), "crv", id="P-192"),
    pytest.param(jwk(ec_key(), crv="Ed25519"), "crv", id="an Edwards curve on EC"),
    pytest.param(jwk(ec_key(), crv=None), "crv", id="crv null"),
    pytest.param(jwk(ec_key(), crv=["P-256"]), "crv", id="crv a list"),
    pytest.param(jwk(ec_key(), crv="P-384"), "point", id="crv of another length"),
    pytest.param(with_coordinate("x", off_the_curve), "point", id="x off the curve"),
    pytest.param(with_coordinate("y", off_the_curve), "point", id="y off the curve"),
    pytest.param(with_coordinate("y", off_the_curve, "P-521"), "point", id="off P-521"),
    pytest.param(with_coordinate("x", lambda x: bytes(len(x))), "point", id="x zero"),
    pytest.param(with_coordinate("x", lambda x: b"\xff" * len(x)), "point", id="x over p"),
    pytest.param(jwk(ec_key(), x="A" * 43, y="A" * 43), "point", id="the point at infinity"),
    pytest.param(with_coordinate("x", lambda x: x[1:]), "point", id="x short"),
    pytest.param(with_coordinate("y", lambda _: b""), "y is empty", id="y empty"),
    pytest.param(jwk(ec_key(), y=None), "not a string", id="y null"),
    pytest.param(jwk(ed_key(), crv="X25519"), "crv", id="a key for agreement"),
    pytest.param(jwk(ed_key(), crv="Ed448"), "point", id="Ed448 of the wrong length"),
    pytest.param(jwk(ed_key(), x=b64(bytes(32)).decode()), "low order", id="Ed25519 all zero"),
    pytest.param(jwk(ed_key(), x=b64(b"\1" + bytes(31)).decode()), "low order", id="the identity"),
    pytest.param(jwk(ed_key(), x=b64(b"\2" + bytes(31)).decode()), "point", id="off Ed25519"),
    pytest.param(jwk(ed_key(), x=5), "not a string", id="Edwards x a number"),
]


@pytest.mark.parametrize(("entry", "cause"), DROPPED)
def test_a_key_that_must_not_verify_is_dropped(entry: Any, cause: str) -> None:
    """The valid key beside it stays, and the operator learns the cause."""
    found = parse(entry, GOOD)
    assert [key.kid for key in found.keys] == ["good"]
    assert cause in found.dropped


@pytest.mark.parametrize(("entry", "cause"), DROPPED)
def test_a_key_set_of_nothing_usable_is_refused(entry: Any, cause: str) -> None:
    """The message says how many keys there were and why each is out."""
    message = refusal(jwks(entry, entry))
    assert "none of its 2 keys" in message
    assert "2 × " in message
    assert cause in message


def test_a_key_for_none_of_the_issuer_s_algorithms_is_dropped() -> None:
    """Neither by its type nor by its own alg."""
    named = frozenset({"ES256", "PS256"})
    found = parse(jwk(ed_key()), jwk(rsa_key(), alg="RS256"), GOOD, algorithms=named)
    assert [key.kid for key in found.keys] == ["good"]
    assert found.dropped == "2 × for none of the issuer's algorithms"


@pytest.mark.parametrize("name", ["HS256", "none", "ES256K", "ES521"])
def test_no_algorithm_is_added_by_naming_it(name: str) -> None:
    """However an issuer's list were wrong, a key never verifies what its type cannot."""
    keys = [jwk(rsa_key()), jwk(ec_key()), jwk(ec_key("P-521")), jwk(ed_key())]
    assert "none of its 4 keys" in refusal(jwks(*keys), frozenset({name}))


def test_a_kid_may_be_that_of_a_dropped_key_too() -> None:
    """Some issuers give their key for encryption the same kid."""
    found = parse(jwk(rsa_key(), kid="good", use="enc"), GOOD)
    assert found.by_kid["good"].keys() == {"ES256"}


def test_several_keys_may_have_no_kid() -> None:
    """They are distinguished by their types."""
    assert len(parse(jwk(rsa_key()), jwk(ec_key())).keys) == 2


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"<!doctype html><title>502</title>", "HTML", id="HTML"),
        pytest.param(b" \n<html>", "HTML", id="HTML after white space"),
        pytest.param(b"Bad Gateway", "not JSON", id="text"),
        pytest.param(b"\x00" * 100, "not JSON", id="zero bytes"),
        pytest.param(b"\xff\xfe{\0}\0", "not UTF-8", id="UTF-16"),
        pytest.param("\ufeff".encode() + jwks(GOOD), "not JSON", id="a byte order mark"),
        pytest.param(jwks(GOOD)[:-2], "not JSON", id="cut short"),
        pytest.param(b"null", "not an object", id="null"),
        pytest.param(b"[]", "not an object", id="a list"),
        pytest.param(json.dumps([GOOD]).encode(), "not an object", id="keys in a bare list"),
        pytest.param(json.dumps(GOOD).encode(), "not an object", id="a single key"),
        pytest.param(b"{}", "not an object", id="no keys member"),
        pytest.param(b'{"keys":null}', "not an object", id="keys null"),
        pytest.param(b'{"keys":{"a":{}}}', "not an object", id="keys an object"),
        pytest.param(b'{"keys":[]}', "no keys", id="no keys"),
        pytest.param(b'{"keys":[],"keys":[]}', "twice", id="keys twice"),
        pytest.param(jwks(GOOD).replace(b'"kid"', b'"kty":"EC","kid"'), "twice", id="kty twice"),
        pytest.param(jwks(*["x"] * 10_000), "9000 × after the first 1000", id="10,000 keys"),
        pytest.param(b'{"keys":' + b"[" * 1000, "deeper", id="deep"),
        pytest.param(b'{"keys":[{"a":NaN}]}', "NaN", id="NaN"),
        pytest.param(jwks(GOOD) + b" " * 256 * 1024, "larger than 256 KiB", id="large"),
    ],
)
def test_a_document_that_is_not_a_key_set_is_refused(document: bytes, cause: str) -> None:
    """The message names the problem."""
    assert cause in refusal(document)


def test_the_largest_key_set_is_read() -> None:
    """A hundred keys in 256 KiB."""
    entries = [jwk(ec_key(), kid=str(number)) for number in range(keys_module.MAX_KEYS)]
    document = jwks(*entries)
    document += b" " * (keys_module.MAX_DOCUMENT_BYTES - len(document))
    found = parse_key_set(document, algorithms=EVERY, fetched_at=NOW)
    assert len(found.keys) == 100


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_usual_rsa_keys_are_read(bits: int) -> None:
    """The sizes that issuers use."""
    assert parse(jwk(rsa_key(bits=bits))).keys[0].public_key.key_size == bits


def test_an_unusual_sound_exponent_is_read() -> None:
    """Any odd one from 65537 up to 64 bits."""
    assert parse(with_exponent(2**64 - 1), with_exponent(65539)).dropped == ""


members = st.sampled_from(
    [*jwk(rsa_key()), *jwk(ec_key()), "kid", "use", "key_ops", "alg", "d", "k"]
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "ES256", "sig", "AA", "A" * 43]),
)


@given(st.sampled_from([rsa_key(), ec_key(), ed_key()]), st.dictionaries(members, values))
def test_no_change_of_a_key_does_more_than_to_drop_it(
    key: signing.PrivateKey, changes: dict[str, Any]
) -> None:
    """Nothing raises but KeySetError, and no message holds what the key is made of."""
    entry = jwk(key) | changes
    found = parse(entry, GOOD | {"kid": "\0good"})
    assert "\0good" in found.by_kid
    assert not any(str(value) in found.dropped for value in entry.values() if len(str(value)) > 11)
