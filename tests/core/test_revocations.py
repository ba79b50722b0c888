"""Which tokens a feed of revocations refuses, from plain values."""

import hashlib
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.authentication import authenticate
from sidecar.core.context import Context
from sidecar.core.decision import Allow, Deny, decide, still_valid
from sidecar.core.reasons import Reason
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import revocations as room
from sidecar.core.tokens.revocations import Entries, EntryError, FeedTooLargeError, Revocations
from sidecar.core.tokens.selection import try_freely
from sidecar.core.tokens.verified import Verified
from sidecar.core.tokens.verify import TokenError
from tests.support import policies
from tests.support.judging import NOW, SECRET, claims, secret_issuer, snapshot
from tests.support.policies import BEARER, bearer, request
from tests.support.signing import token

DAY = 86400.0
FOREVER = float("inf")


def feed(*entries: object, trusted_until: float = FOREVER, retain: float = 8 * DAY) -> Revocations:
    table = Entries()
    for entry in entries:
        table.add(entry, NOW)
    return Revocations(table, frozenset({ISSUER}), retain, trusted_until)


def judged(raw: bytes, revocations: Revocations | None, now: float = NOW) -> Reason | None:
    """Verify a token twice, the second time from the cache; both answers must be the same."""
    held = snapshot(secret_issuer(), revocations=revocations)._replace(token_sources=(BEARER,))
    verified: dict[bytes, Verified] = {}
    asked = request(headers={"authorization": (b"Bearer " + raw,)})
    answers: list[Reason | None] = []
    for _ in range(2):
        try:
            context = Context(held, verified, now, None, None, try_freely)
            authenticate("GET", asked, held.token_sources, context)
            answers.append(None)
        except TokenError as error:
            answers.append(error.reason)
    assert answers[0] is answers[1]
    return answers[0]


def signed(**others: Any) -> bytes:
    given = claims(**{"user_id": 7, "iat": NOW - 100, **others})
    return token(
        {name: value for name, value in given.items() if value is not ...}, SECRET, "HS256"
    )


ISSUER = "zervi"
REVOKED = Reason.TOKEN_REVOKED
OTHER = "https://other.test"


@pytest.mark.parametrize(
    ("entry", "of_token", "reason"),
    [
        ({"user_id": "7", "not_before": NOW - 99}, {}, REVOKED),
        ({"user_id": 7, "not_before": NOW - 99.5}, {}, REVOKED),
        ({"user_id": "7", "not_before": NOW - 100}, {}, None),
        ({"user_id": "7", "not_before": NOW - 101}, {}, None),
        ({"user_id": "7", "not_before": NOW - DAY}, {"iat": ...}, REVOKED),
        ({"user_id": "8", "not_before": NOW}, {}, None),
        ({"user_id": "７", "not_before": NOW}, {}, None),
        ({"user_id": "7", "not_before": NOW}, {"user_id": "7"}, REVOKED),
        ({"user_id": "7", "not_before": NOW}, {"service_id": "7"}, None),
        ({"service_id": "7", "not_before": NOW}, {"service_id": "7"}, REVOKED),
        ({"service_id": "7", "not_before": NOW}, {}, None),
        ({"jti": "a"}, {"jti": "a"}, REVOKED),
        ({"jti": "a"}, {"jti": "b"}, None),
        ({"jti": "a"}, {}, None),
        ({"jti": "7"}, {}, None),
        ({"jti": 9}, {"jti": "9"}, REVOKED),
        ({"issuer": ISSUER, "not_before": NOW}, {}, REVOKED),
        ({"issuer": ISSUER, "not_before": NOW - 100}, {}, None),
        ({"issuer": OTHER, "not_before": NOW}, {}, None),
        ({"user_id": "7", "not_before": NOW, "issuer": ISSUER}, {}, REVOKED),
        ({"user_id": "7", "not_before": NOW, "issuer": OTHER}, {}, None),
        ({"jti": "a", "issuer": OTHER}, {"jti": "a"}, None),
        ({"jti": "a", "issuer": ISSUER}, {"jti": "a"}, REVOKED),
        ({"user_id": "7", "not_before": NOW, "reason": "logout"}, {}, REVOKED),
    ],
)
def test_an_entry_revokes_exactly_the_tokens_that_it_means(
    entry: object, of_token: dict[str, Any], reason: Reason | None
) -> None:
    """The first time that the token comes, and from the cache."""
    assert judged(signed(**of_token), feed(entry)) is reason


def test_a_token_is_revoked_by_its_sha256_in_either_case() -> None:
    """The digest is that of the whole token; another token of the same user stays."""
    raw = signed()
    for text in (hashlib.sha256(raw).hexdigest(), hashlib.sha256(raw).hexdigest().upper()):
        assert judged(raw, feed({"token_sha256": text})) is REVOKED
        assert judged(signed(iat=NOW - 99), feed({"token_sha256": text})) is None


def test_an_entry_without_an_issuer_is_for_the_feeds_issuers_only() -> None:
    """One that names another configured issuer counts for that one too."""
    revocations = feed({"user_id": "7", "not_before": NOW})
    revocations.issuers = frozenset({OTHER})
    assert judged(signed(), revocations) is None
    revocations.entries.add({"user_id": "7", "not_before": NOW, "issuer": ISSUER}, NOW)
    assert judged(signed(), revocations) is REVOKED


@pytest.mark.parametrize(
    "entry",
    [
        None, [], "7", {}, {"not_before": NOW}, {"user_id": "7"}, {"user_id": "", "not_before": 1},
        {"user_id": True, "not_before": 1}, {"user_id": 1.5, "not_before": 1},
        {"user_id": ["7"], "not_before": 1}, {"user_id": "7", "not_before": "1"},
        {"user_id": "7", "not_before": True}, {"user_id": "7", "not_before": -1},
        {"user_id": "7", "not_before": float("nan")}, {"user_id": "7", "not_before": 1e30},
        {"user_id": "7", "service_id": "7", "not_before": 1}, {"user_id": "7", "jti": "a"},
        {"user_id": "x" * 1025, "not_before": 1}, {"jti": ""}, {"jti": {}}, {"issuer": ISSUER},
        {"issuer": 7, "not_before": 1}, {"jti": "a", "issuer": ""}, {"token_sha256": "ab"},
        {"token_sha256": 7}, {"token_sha256": "g" * 64}, {"token_sha256": "ab " * 32},
    ],
)  # fmt: skip
def test_an_entry_that_is_not_as_the_contract_says_is_an_error(entry: object) -> None:
    """It quotes nothing of the entry, and adds nothing."""
    table = Entries()
    with pytest.raises(EntryError) as caught:
        table.add(entry, NOW)
    assert not len(table)
    assert "xxx" not in str(caught.value)


def test_a_feed_that_goes_backwards_reopens_nothing() -> None:
    """Of two times for one user the later counts, whatever their order; repeats are one entry."""
    table = Entries()
    assert table.add({"user_id": "7", "not_before": NOW}, NOW) is True
    assert table.add({"user_id": "7", "not_before": NOW}, NOW) is False
    assert table.add({"user_id": "7", "not_before": NOW - DAY}, NOW) is False
    assert table.add({"user_id": "7", "not_before": NOW + 1}, NOW) is True
    assert len(table) == 1
    assert judged(signed(iat=NOW), Revocations(table, frozenset({ISSUER}), DAY, FOREVER)) is REVOKED


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.integers(0, 2**37), max_size=300))
def test_the_table_holds_exactly_what_was_added(wanted: dict[str, int]) -> None:
    """Whatever the order of growing; and what one table gives another, that one holds."""
    table = Entries()
    for name, time in wanted.items():
        table.add({"user_id": name, "not_before": time}, NOW)
    other = Entries(table.key)
    for shard in table.shards:
        for entry in shard.entries():
            other.restore(*entry)
    for each in (table, other):
        assert len(each) == len(wanted)
        for name, time in wanted.items():
            assert each.time(each.mark("subject", f"user\0{name}")) == time
        assert each.time(each.mark("subject", "user\0nobody else")) is None


def test_entries_that_the_feed_no_longer_lists_are_dropped_after_their_time() -> None:
    """By when the feed last listed them: a token without iat has no other measure."""
    table = Entries()
    for number in range(1000):
        table.add({"user_id": number, "not_before": 1}, NOW + number)
    table.add({"user_id": 3, "not_before": 1}, NOW + 1000)
    for shard in range(len(table.shards)):
        table.forget(shard, NOW + 500)
    assert len(table) == 501
    assert table.time(table.mark("subject", "user\x003")) == 1
    assert table.time(table.mark("subject", "user\x00499")) is None


def test_100_000_entries_take_less_than_10_mib() -> None:
    """Measured, and by the table's own count."""
    tracemalloc.start()
    try:
        table = Entries()
        for number in range(100_000):
            table.add({"user_id": str(number), "not_before": NOW + number}, NOW)
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 100_000
    assert size < peak < 10 * 1024 * 1024
    assert table.memory < size


def test_one_entry_more_than_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there stays and can be raised; the bound is a million."""
    assert room.MAX_ENTRIES == 1_000_000
    monkeypatch.setattr(room, "MAX_ENTRIES", 3)
    table = Entries()
    for number in range(3):
        table.add({"user_id": number, "not_before": 1}, NOW)
    with pytest.raises(FeedTooLargeError):
        table.add({"user_id": 3, "not_before": 1}, NOW)
    table.add({"user_id": 2, "not_before": 9}, NOW)
    assert len(table) == 3


@pytest.mark.parametrize(
    ("lifetime", "reason"),
    [(DAY, None), (DAY + 1, Reason.TOKEN_CLAIMS), (1e9, Reason.TOKEN_CLAIMS)],
)
def test_a_token_that_outlives_the_feeds_memory_is_refused(
    lifetime: float, reason: Reason | None
) -> None:
    """By exp − iat; without iat by the time that it has left."""
    assert judged(signed(iat=NOW, exp=NOW + lifetime), feed(retain=DAY)) is reason
    assert judged(signed(iat=..., exp=NOW + lifetime), feed(retain=DAY)) is reason
    assert judged(signed(iat=NOW, exp=NOW + lifetime), None) is None


def test_nobody_passes_before_the_first_feed_nor_after_the_trust_in_it_ends() -> None:
    """The feed's own issuers are not_ready; others are not concerned."""
    assert judged(signed(), feed(trusted_until=-FOREVER)) is Reason.NOT_READY
    assert judged(signed(), feed(trusted_until=NOW)) is Reason.NOT_READY
    assert judged(signed(), feed(trusted_until=NOW + 1)) is None
    elsewhere = feed(trusted_until=-FOREVER)
    elsewhere.issuers = frozenset({OTHER})
    assert judged(signed(), elsewhere) is None


def test_a_token_that_was_verified_without_a_feed_does_not_pass_one() -> None:
    """The service forgets such tokens; if one were left, it would be denied."""
    held = snapshot(secret_issuer())._replace(token_sources=(BEARER,))
    verified: dict[bytes, Verified] = {}
    asked = request(headers={"authorization": (b"Bearer " + signed(),)})
    rest = (verified, NOW, None, None, try_freely)
    authenticate("GET", asked, held.token_sources, Context(held, *rest))
    now_on = held._replace(revocations=feed())
    with pytest.raises(TokenError) as caught:
        authenticate("GET", asked, now_on.token_sources, Context(now_on, *rest))
    assert caught.value.reason is Reason.INTERNAL


def allowed(held: Snapshot, **others: Any) -> Allow:
    raw = bearer(permissions=["closed:read"], iat=policies.NOW - 9, **others)
    decision = decide(request(headers=raw), held, {}, policies.NOW)
    assert isinstance(decision, Allow)
    return decision


def test_a_remembered_allow_ends_with_the_entry() -> None:
    """In place: no snapshot is swapped. Each further token of the decision counts as well."""
    revocations = feed()
    plain = policies.snapshot()
    revocations.issuers = frozenset(issuer.name for issuer in plain.issuers)
    held = plain._replace(revocations=revocations)
    decision, other = allowed(held, user_id=7), allowed(held, user_id=8)
    both = decision._replace(others=(other.verified,)) if other.verified else decision
    assert still_valid(decision, held, policies.NOW)
    assert still_valid(both, held, policies.NOW)
    revocations.entries.add({"user_id": "8", "not_before": policies.NOW}, policies.NOW)
    assert still_valid(decision, held, policies.NOW)
    assert not still_valid(both, held, policies.NOW)
    revocations.entries.add({"issuer": plain.issuers[0].name, "not_before": policies.NOW}, 0)
    assert not still_valid(decision, held, policies.NOW)


def test_an_allow_ends_when_the_feed_is_no_longer_trusted() -> None:
    """At that very second."""
    plain = policies.snapshot()
    revocations = feed(trusted_until=policies.NOW + 5)
    revocations.issuers = frozenset(issuer.name for issuer in plain.issuers)
    held = plain._replace(revocations=revocations)
    decision = allowed(held)
    assert still_valid(decision, held, policies.NOW, policies.NOW + 4.9)
    assert not still_valid(decision, held, policies.NOW, policies.NOW + 5)


def test_a_denial_says_which_kind_of_entry_and_quotes_no_token() -> None:
    """The token's own words are beside it, for the log."""
    plain = policies.snapshot()
    revocations = feed({"user_id": "7", "not_before": policies.NOW})
    revocations.issuers = frozenset(issuer.name for issuer in plain.issuers)
    asked = request(headers=bearer(user_id=7, iat=policies.NOW - 9))
    decision = decide(asked, plain._replace(revocations=revocations), {}, policies.NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is REVOKED
    assert decision.detail == "an entry with its user or service: issued 9 s before not_before"
    assert decision.facts is not None
    assert decision.facts.issuer == plain.issuers[0].name
