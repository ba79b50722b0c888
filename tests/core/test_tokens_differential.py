"""Tokens of every kind against a rule written without our code: what is allowed, and why not."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.tokens import strict_json
from sidecar.core.tokens.verify import NeedsKey
from tests.support import plain_json
from tests.support.judging import NOW, verdict
from tests.support.odd_tokens import ODD_JSON, odd_tokens
from tests.support.token_rule import broken
from tests.support.token_world import ISSUERS, RULE_ISSUERS, SIGNERS

EVERY_VERDICT = {
    *("ok", "needs_key", "not_ready", "token_malformed", "token_expired", "token_not_yet_valid"),
    *("token_signature", "token_algorithm", "token_issuer", "token_audience"),
    *("token_claims", "token_kind"),
}


def judged(raw: bytes) -> str:
    found = verdict(raw, *ISSUERS)
    if isinstance(found, NeedsKey):
        return "not_ready" if found.first else "needs_key"
    return found.value


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
