"""Issuers of every kind, for the generator of tokens and for the rule that judges them."""

from sidecar.core.tokens.issuers import Issuer
from tests.support.judging import NOW, SECRET, issuer, key_set, secret_issuer
from tests.support.odd_tokens import Signer
from tests.support.signing import ec_key, ed_key, jwk, rsa_key
from tests.support.token_rule import RuleIssuer, RuleKey

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
    secret_issuer(
        name="limited",
        role_permissions=GRANTS,
        grantable=("a", "1*"),
        grantable_roles=("all", "ad*"),
        subject_pattern="[1-9][0-9]*",
    ),
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
    RuleIssuer(
        "limited",
        ("HS256",),
        secrets=(SECRET,),
        role_permissions=GRANTS,
        grantable=("a", "1*"),
        grantable_roles=("all", "ad*"),
        digits=True,
    ),
    *(
        RuleIssuer(
            name, (*ALGORITHMS, "RS384", "RS512", "PS384", "PS512", "ES384", "ES512"), ready=False
        )
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
    Signer("limited", "HS256", None, SECRET),
    Signer("cold", "ES256", "e", ec_key()),
    Signer("stale", "ES256", "e", ec_key()),
)
