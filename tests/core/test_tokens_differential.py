"""Tokens of every kind against a rule written without our code: what is allowed, and why not."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core import strict_json
from sidecar.core.issuers import Issuer
from sidecar.core.tokens import NeedsKey
from tests.support import plain_json
from tests.support.judging import NOW, SECRET, issuer, key_set, secret_issuer, verdict
from tests.support.odd_tokens import ODD_JSON, Signer, odd_tokens
from tests.support.signing import ec_key, ed_key, jwk, rsa_key
from tests.support.token_rule import RuleIssuer, RuleKey, broken

GRANTS = {"admin": ("a", "b"), "all": tuple(map(str, range(3_000)))}
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
OTHER_SECRET = b"another secret that was made up as well"

# The same issuers twice: as the code under test knows them, and as the rule does.
ISSUERS: tuple[Issuer, ...] = (
    issuer(
        jwk(rsa_key(), kid="r"),
        jwk(rsa_key("p"), kid="p", alg="PS256"),
        jwk(ec_key(), kid="e"),
        jwk(ec_key(name="l")),
        jwk(ed_key(), kid="d"),
        algorithms=frozenset(ALGORITHMS),
        audiences=frozenset({"jobfirst"}),
        role_permissions=GRANTS,
    ),
    secret_issuer(OTHER_SECRET, SECRET),
    secret_issuer(name="legacy", allow_missing_issuer=True, role_permissions=GRANTS),
    issuer(jwk(ec_key("P-384")), name="lone", algorithms=frozenset({"ES384", "ES256"})),
    issuer(name="cold"),
    issuer(name="stale", keys=key_set(jwk(ec_key(), kid="e"), fetched_at=NOW - 86401)),
)
RULE_ISSUERS = (
    RuleIssuer(
        "zervi",
        ALGORITHMS,
        audiences=("jobfirst",),
        keys=(
            RuleKey("r", ("RS256", "PS256"), rsa_key().public_key()),
            RuleKey("p", ("PS256",), rsa_key("p").public_key()),
            RuleKey("e", ("ES256",), ec_key().public_key()),
            RuleKey(None, ("ES256",), ec_key(name="l").public_key()),
            RuleKey("d", ("EdDSA",), ed_key().public_key()),
        ),
        role_permissions=GRANTS,
    ),
    RuleIssuer("zervi", ("HS256",), secrets=(OTHER_SECRET, SECRET)),
    RuleIssuer("legacy", ("HS256",), (), True, secrets=(SECRET,), role_permissions=GRANTS),
    RuleIssuer(
        "lone",
        ("ES384", "ES256"),
        keys=(RuleKey(None, ("ES384",), ec_key("P-384").public_key()),),
    ),
    *(
        RuleIssuer(name, (*ALGORITHMS, "RS384", "RS512", "PS384", "PS512", "ES384"), ready=False)
        for name in ("cold", "stale")
    ),
)
SIGNERS = (
    Signer("zervi", "RS256", "r", rsa_key()),
    Signer("zervi", "RS256", None, rsa_key()),
    Signer("zervi", "PS256", "p", rsa_key("p")),
    Signer("zervi", "ES256", "e", ec_key()),
    Signer("zervi", "ES256", None, ec_key(name="l")),
    Signer("zervi", "EdDSA", "d", ed_key()),
    Signer("zervi", "HS256", None, SECRET),
    Signer("legacy", "HS256", "any", SECRET),
    Signer(None, "HS256", None, SECRET),
    Signer("lone", "ES384", None, ec_key("P-384")),
    Signer("cold", "ES256", "e", ec_key()),
    Signer("stale", "ES256", "e", ec_key()),
)
EVERY_VERDICT = {
    *("ok", "needs_key", "not_ready", "token_malformed", "token_expired", "token_not_yet_valid"),
    *("token_signature", "token_key_unknown", "token_algorithm", "token_issuer", "token_audience"),
    *("token_claims", "token_kind"),
}


def judged(raw: bytes) -> str:
    found = verdict(raw, *ISSUERS)
    return "needs_key" if isinstance(found, NeedsKey) else found.value


def test_a_token_is_allowed_only_if_it_breaks_no_condition() -> None:
    """And if it breaks none, it is allowed; a refusal names a condition that it does break."""
    seen: Counter[str] = Counter()

    @given(odd_tokens(SIGNERS))
    @settings(max_examples=1000, derandomize=True, database=None)
    def check(raw: bytes) -> None:
        found = judged(raw)
        reasons = broken(raw, RULE_ISSUERS, NOW)
        seen[found] += 1
        assert (found in reasons) if reasons else (found == "ok")

    check()
    # The comparison is worth something only where every verdict came up, and often enough.
    assert set(seen) == EVERY_VERDICT
    assert seen["ok"] > 100


@given(st.binary(max_size=80) | st.text("eyJhbGciOi.-_=AQ", max_size=60).map(str.encode))
@example(b"..")
def test_rubbish_breaks_the_form(raw: bytes) -> None:
    """Whatever bytes come, nothing else is raised."""
    assert judged(raw) in broken(raw, RULE_ISSUERS, NOW)


@pytest.mark.parametrize("text", ODD_JSON, ids=range(len(ODD_JSON)))
def test_both_readers_of_json_agree_on_odd_values(text: str) -> None:
    """Ours and the one that the rule uses, which share no code."""
    assert_alike(text.encode("utf-8", "surrogatepass"))


@given(
    st.text('{}[]",:.\\u0dD8e19+-bnrft/ \t\n\0é张😀\ufeffNaInfitrulse').map(str.encode)
    | st.binary(max_size=40)
)
def test_both_readers_of_json_agree(document: bytes) -> None:
    """On any bytes, most of them near to JSON."""
    assert_alike(document)


def assert_alike(document: bytes) -> None:
    try:
        wanted = plain_json.parse(document)
    except plain_json.PlainJsonError:
        with pytest.raises(strict_json.StrictJsonError):
            strict_json.loads(document)
    else:
        assert repr(strict_json.loads(document)) == repr(wanted)
