"""How long an allow is valid without another look."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Allow
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.lookups import Answer, LookUp, NeedsPermissions
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.revocations import Entries, Revocations
from sidecar.core.tokens.verified import Verified
from sidecar.core.validity import LOOK_AGAIN, UNKNOWN, Validity, still_valid, validity
from tests.support.policies import snapshot

ROUTE = Route(0, "any", "/*")
MAX_STALE = 10.0
times = st.integers(0, 30).map(float)
tokens = st.builds(
    Verified,
    digest=st.binary(min_size=4, max_size=4),
    principal=st.just(Principal(Kind.USER, "7", "zervi")),
    issuer=st.just(0),
    thumbprint=st.sampled_from([None, "held", "withdrawn"]),
    valid_from=times,
    valid_until=times,
    cached_until=times,
    identity=st.just(()),
)


@given(st.lists(tokens, max_size=3), times, times, st.none() | times)
def test_within_its_span_an_allow_is_still_valid(
    held: list[Verified], now: float, steady: float, fetched_at: float | None
) -> None:
    """Of every token, key set and clock."""
    keys = None if fetched_at is None else KeySet((), {}, {}, {}, frozenset({"held"}), fetched_at)
    plain = snapshot((ROUTE,))
    issuers = tuple(each._replace(keys=keys) for each in plain.issuers)
    rules = plain._replace(issuers=issuers, max_stale=MAX_STALE)
    allow = Allow(Reason.OK, ROUTE, held[0] if held else None, others=tuple(held[1:]))
    since, until, aged_since, aged_until = validity(allow, rules, steady)
    if since <= now < until and aged_since <= steady < aged_until:
        assert still_valid(allow, rules, now, steady)
    elif steady != aged_until:  # at that very moment a key set is not yet too old
        assert not still_valid(allow, rules, now, steady)


def test_an_allow_without_a_token_is_valid_for_ever() -> None:
    """A public route: only another snapshot ends it."""
    span = validity(Allow(Reason.PUBLIC, ROUTE), snapshot((ROUTE,)), 5.0)
    assert span == Validity(*(float(text) for text in ("-inf", "inf", "-inf", "inf")))


ASKED = NeedsPermissions("7")


@given(tokens, times, times, st.none() | st.tuples(st.sampled_from([b"then", b"now"]), times))
def test_an_answer_to_a_look_up_is_read_again_within_a_tenth_of_a_second(
    token: Verified, now: float, steady: float, found: tuple[bytes, float] | None
) -> None:
    """Until then it counts as long as it is fresh; ``changes`` tells of another one."""
    rules = snapshot((ROUTE,))
    plain = token._replace(thumbprint=None, asked=((ASKED, b"now"),))
    answers: dict[LookUp, Answer] = {}
    if found is not None:
        answers[ASKED] = Answer(None, *found, stale_until=99.0)
    allow = Allow(Reason.OK, ROUTE, plain)
    since, until, _, aged_until = validity(allow, rules, steady, answers)
    assert aged_until <= steady + LOOK_AGAIN
    assert still_valid(allow, rules, now, steady, answers) is (
        since <= now < until and steady < aged_until
    )


@given(tokens)
def test_what_may_be_revoked_at_any_time_has_no_span(token: Verified) -> None:
    rules = snapshot((ROUTE,))._replace(revocations=Revocations(Entries(), frozenset(), 60))
    assert validity(Allow(Reason.OK, ROUTE, token), rules, 5.0) is UNKNOWN
