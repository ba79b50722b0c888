"""Algorithm confusion: a token is verified by its issuer's algorithm with a key of that type."""

from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.core.reasons import Reason
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.verify import NeedsKey
from tests.support.judging import (
    NOW,
    PUBLIC_KEY_ALGORITHMS,
    SECRET,
    claims,
    issuer,
    key_set,
    secret_issuer,
    verdict,
)
from tests.support.signing import (
    PrivateKey,
    b64,
    ec_key,
    ed_key,
    jwk,
    jwks,
    rsa_key,
    sign,
    token,
    unb64,
)

SECRET_ALGORITHMS = frozenset({"HS256", "HS384", "HS512"})
RSA_FAMILY = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


class Pair(NamedTuple):
    """A key with what it may verify, by the RFCs."""

    key: PrivateKey
    algorithms: frozenset[str]


PAIRS = {
    "rsa": Pair(rsa_key(), RSA_FAMILY),
    "rsa-rs256": Pair(rsa_key("rs256"), frozenset({"RS256"})),
    "rsa-ps256": Pair(rsa_key("ps256"), frozenset({"PS256"})),
    "p256": Pair(ec_key("P-256"), frozenset({"ES256"})),
    "p384": Pair(ec_key("P-384"), frozenset({"ES384"})),
    "p521": Pair(ec_key("P-521"), frozenset({"ES512"})),
    "ed25519": Pair(ed_key("Ed25519"), frozenset({"EdDSA"})),
    "ed448": Pair(ed_key("Ed448"), frozenset({"EdDSA"})),
}
OWN_ALG = {"rsa-rs256": {"alg": "RS256"}, "rsa-ps256": {"alg": "PS256"}}
KEYS = key_set(*(jwk(pair.key, kid=kid, **OWN_ALG.get(kid, {})) for kid, pair in PAIRS.items()))
EVERY = issuer(keys=KEYS)

NO_ALGORITHM = [
    *("none", "None", "NONE", "nOnE", "", " ", "null"),
    *("rs256", "RS256 ", " RS256", "RS-256", "RSA256", "SHA256withRSA", "RS1", "RS257"),
    *("ES256K", "ES521", "es256", "Ed25519", "Ed448", "EDDSA", "eddsa"),
    *("HS256", "HS384", "HS512", "hs256", "HS1", "dir", "RSA-OAEP", "A128KW", "http://none"),
]


@pytest.mark.parametrize("kid", PAIRS)
@pytest.mark.parametrize("header_alg", sorted(PUBLIC_KEY_ALGORITHMS))
def test_a_key_verifies_only_its_own_algorithms(header_alg: str, kid: str) -> None:
    """Every algorithm with every key, signed as the header says as far as the key can."""
    key, algorithms = PAIRS[kid]
    raw = token(claims(), key, header_alg, kid=kid)
    wanted = Reason.OK if header_alg in algorithms else Reason.TOKEN_ALGORITHM
    assert verdict(raw, EVERY) is wanted


@pytest.mark.parametrize("signed_as", sorted(RSA_FAMILY))
@pytest.mark.parametrize("header_alg", sorted(RSA_FAMILY))
def test_a_signature_is_read_as_the_header_says(header_alg: str, signed_as: str) -> None:
    """One of another padding or hash is a wrong one, though by the right key."""
    signing_input = token(claims(), rsa_key(), header_alg, kid="rsa").rpartition(b".")[0]
    raw = signing_input + b"." + b64(sign(signed_as, rsa_key(), signing_input))
    wanted = Reason.OK if header_alg == signed_as else Reason.TOKEN_SIGNATURE
    assert verdict(raw, EVERY) is wanted


@pytest.mark.parametrize("alg", NO_ALGORITHM)
@pytest.mark.parametrize("kid", [None, *PAIRS])
def test_an_algorithm_that_is_not_the_issuer_s_is_refused(alg: str, kid: str | None) -> None:
    """None in any case, other spellings, synonyms that PyJWT knows, secrets: with any key."""
    body, _, guessed = token(claims(), b"a guess", alg, kid=kid).rpartition(b".")
    signed = b64(sign("RS256", rsa_key(), body))
    for signature in (b"", guessed, signed):
        raw = body + b"." + signature
        assert verdict(raw, EVERY) is Reason.TOKEN_ALGORITHM
        if alg != "HS256":
            assert verdict(raw, secret_issuer()) is Reason.TOKEN_ALGORITHM


def public_spellings() -> dict[str, bytes]:
    """Return what an attacker can know of the keys, as a secret could be spelled."""
    spellings = {"nothing": b"", "the key set": jwks(*(jwk(pair.key) for pair in PAIRS.values()))}
    for kid, (key, _) in PAIRS.items():
        public = key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        spellings |= {
            f"{kid} as PEM": pem,
            f"{kid} as PEM without the last line break": pem.rstrip(),
            f"{kid} as PEM with CRLF": pem.replace(b"\n", b"\r\n"),
            f"{kid} as PEM on one line": pem.replace(b"\n", b"\\n"),
            f"{kid} as DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            f"{kid} as JWK": jwks(jwk(key))[10:-2],
            f"{kid} its kid": kid.encode(),
            f"{kid} its thumbprint": next(iter(KEYS.by_kid[kid].values())).thumbprint.encode(),
        }
        for member, value in jwk(key).items():
            spellings[f"{kid} its {member}"] = value.encode()
            spellings[f"{kid} its {member}, decoded"] = unb64(value + "A" * (len(value) % 4 == 1))
        if isinstance(public, rsa.RSAPublicKey):
            pkcs1 = (Encoding.PEM, PublicFormat.PKCS1), (Encoding.DER, PublicFormat.PKCS1)
            for encoding, form in pkcs1:
                spellings[f"{kid} as PKCS #1 {encoding}"] = public.public_bytes(encoding, form)
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            spellings |= {f"{kid} as a point": point, f"{kid} as x and y": point[1:]}
        if kid != "ed448":  # OpenSSH has no form for it
            ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            spellings[f"{kid} for OpenSSH"] = ssh
    return spellings


@pytest.mark.parametrize("alg", sorted(SECRET_ALGORITHMS))
def test_a_public_key_never_serves_as_a_secret(alg: str) -> None:
    """In any encoding, by any kid; nor where an issuer's list of algorithms were wrong."""
    careless = Issuer("zervi", PUBLIC_KEY_ALGORITHMS | SECRET_ALGORITHMS | {"none"}, keys=KEYS)
    for secret in public_spellings().values():
        for kid in PAIRS:
            raw = token(claims(), secret, alg, kid=kid)
            assert verdict(raw, EVERY) is Reason.TOKEN_ALGORITHM
            assert verdict(raw, careless) is Reason.TOKEN_ALGORITHM
        raw = token(claims(), secret, alg)
        assert verdict(raw, EVERY) is Reason.TOKEN_ALGORITHM
        assert verdict(raw, careless) == NeedsKey(0, None)
        assert verdict(raw, EVERY, secret_issuer()) in {
            Reason.TOKEN_SIGNATURE,
            Reason.TOKEN_ALGORITHM,
        }


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_secret_verifies_the_algorithms_of_its_issuer(alg: str) -> None:
    """HMAC with SHA-256, 384 or 512, each only where it is listed."""
    raw = token(claims(), SECRET, alg)
    one = Issuer("zervi", frozenset({alg}), secrets=(SECRET,))
    others = Issuer("zervi", SECRET_ALGORITHMS - {alg}, secrets=(SECRET,))
    assert verdict(raw, one) is Reason.OK
    assert verdict(raw, others) is Reason.TOKEN_ALGORITHM
    assert verdict(token(claims(), SECRET + b"x", alg), one) is Reason.TOKEN_SIGNATURE


@pytest.mark.parametrize(("alg", "curve"), [("Ed25519", "Ed25519"), ("Ed448", "Ed448")])
def test_alg_may_name_the_curve(alg: str, curve: str) -> None:
    """RFC 9864: the same signatures as EdDSA's, and only of that curve."""
    key, other = ed_key(curve), ed_key("Ed448" if curve == "Ed25519" else "Ed25519")
    raw = token(claims(), key, alg, kid="k")
    for listed in ({alg}, {alg, "EdDSA"}):
        one = issuer(jwk(key, kid="k"), algorithms=frozenset(listed))
        assert verdict(raw, one) is Reason.OK
        named = issuer(jwk(key, kid="k", alg=alg), algorithms=frozenset(listed))
        assert verdict(raw, named) is Reason.OK
    only = issuer(jwk(key, kid="k"), algorithms=frozenset({"EdDSA"}))
    assert verdict(raw, only) is Reason.TOKEN_ALGORITHM
    wrong = issuer(jwk(other, kid="k"), algorithms=frozenset({alg, "EdDSA"}))
    assert verdict(raw, wrong) is Reason.TOKEN_ALGORITHM
    forged = issuer(jwk(ed_key(curve, "forger"), kid="k"), algorithms=frozenset({alg}))
    assert verdict(raw, forged) is Reason.TOKEN_SIGNATURE


@pytest.mark.parametrize("alg", sorted(PUBLIC_KEY_ALGORITHMS | {"none"}))
def test_a_secret_verifies_no_algorithm_of_keys(alg: str) -> None:
    """Nor where an issuer's list of algorithms were wrong."""
    careless = Issuer(
        "zervi", PUBLIC_KEY_ALGORITHMS | SECRET_ALGORITHMS | {"none"}, secrets=(SECRET,)
    )
    key = next((pair.key for pair in PAIRS.values() if alg in pair.algorithms), SECRET)
    for one in (secret_issuer(), careless):
        assert verdict(token(claims(), key, alg), one) is Reason.TOKEN_ALGORITHM


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256"])
def test_a_signature_has_one_form(alg: str) -> None:
    """Cut, lengthened, empty, zero, of ones, of another token: refused, and nothing is raised."""
    kid = next((kid for kid, pair in PAIRS.items() if alg in pair.algorithms), None)
    key = PAIRS[kid].key if kid else SECRET
    one = EVERY if kid else secret_issuer()
    body, _, encoded = token(claims(), key, alg, kid=kid).rpartition(b".")
    other = token(claims(sub="43"), key, alg, kid=kid).rpartition(b".")[2]
    good = unb64(encoded)
    assert verdict(body + b"." + b64(good), one) is Reason.OK
    forms = [unb64(other), good[::-1], good + good, good.hex().encode(), encoded]
    forms += [good[:length] for length in (0, 1, 31, len(good) - 1)]
    forms += [good[1:], good + b"\0", b"\0" + good, b"\0" * len(good), b"\xff" * len(good)]
    forms += [b"\0" * length for length in (1, 64, 132, 256, 4000)]
    forms += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    for form in forms:
        assert verdict(body + b"." + b64(form), one) is Reason.TOKEN_SIGNATURE


def test_a_pss_signature_without_its_leading_zero_is_refused() -> None:
    """RFC 8017, section 8.1.2: as long as the modulus. One signature in 256 begins with a zero."""
    kid, pair = next((kid, pair) for kid, pair in PAIRS.items() if "PS256" in pair.algorithms)
    while True:
        body, _, encoded = token(claims(), pair.key, "PS256", kid=kid).rpartition(b".")
        good = unb64(encoded)
        if good[0] == 0:
            break
    assert verdict(body + b"." + b64(good), EVERY) is Reason.OK
    assert verdict(body + b"." + b64(good[1:]), EVERY) is Reason.TOKEN_SIGNATURE


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    """RFC 7518, section 3.4: the two numbers side by side."""
    body, _, encoded = token(claims(), ec_key(), "ES256", kid="p256").rpartition(b".")
    raw = unb64(encoded)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    der = encode_dss_signature(r, s)
    assert decode_dss_signature(der) == (r, s)
    assert verdict(body + b"." + b64(der), EVERY) is Reason.TOKEN_SIGNATURE


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("r", [0, 1, P256_ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, P256_ORDER, 2**256 - 1])
def test_an_ecdsa_signature_of_extreme_numbers_is_refused(r: int, s: int) -> None:
    """CVE-2022-21449: a verifier that takes r = s = 0 takes everything."""
    body = token(claims(), ec_key(), "ES256", kid="p256").rpartition(b".")[0]
    signature = b64(r.to_bytes(32) + s.to_bytes(32))
    assert verdict(body + b"." + signature, EVERY) is Reason.TOKEN_SIGNATURE


def test_an_eddsa_signature_with_a_scalar_that_is_not_reduced_is_refused() -> None:
    """RFC 8032, section 5.1.7: else there were two signatures for one."""
    order = 2**252 + 27742317777372353535851937790883648493
    body, _, encoded = token(claims(), ed_key(), "EdDSA", kid="ed25519").rpartition(b".")
    raw = unb64(encoded)
    scalar = int.from_bytes(raw[32:], "little") + order
    signature = b64(raw[:32] + scalar.to_bytes(32, "little"))
    assert verdict(body + b"." + signature, EVERY) is Reason.TOKEN_SIGNATURE


def test_an_rsa_signature_that_is_not_reduced_is_refused() -> None:
    """RFC 8017, section 8.2.2: below the modulus, and of its length."""
    body, _, encoded = token(claims(), rsa_key(), "RS256", kid="rsa").rpartition(b".")
    number = int.from_bytes(unb64(encoded)) + rsa_key().public_key().public_numbers().n
    signature = b64(number.to_bytes(257))
    assert verdict(body + b"." + signature, EVERY) is Reason.TOKEN_SIGNATURE


def test_a_signature_covers_header_and_claims() -> None:
    """Neither can be taken from another token of the same key."""
    one = token(claims(), ec_key(), "ES256", kid="p256").split(b".")
    two = token(claims(sub="43", exp=NOW + 1), ec_key(), "ES256", kid="p256", x=1).split(b".")
    for picked in range(1, 7):
        mixed = [(two if picked >> part & 1 else one)[part] for part in range(3)]
        assert verdict(b".".join(mixed), EVERY) is Reason.TOKEN_SIGNATURE
