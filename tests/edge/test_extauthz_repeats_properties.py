"""Whatever messages hold: a service that remembers answers as one that does not."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import DecisionRecord
from sidecar.core.tokens.credentials import TokenSource
from sidecar.extauthz.respond import AnswerSettings
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import CheckRequestOutline, HeaderMap, HeaderValue
from tests.edge.test_extauthz_repeats import GOOD, ID_ENTRY, an_id, question
from tests.support.checks import ask, service
from tests.support.policies import BEARER, snapshot

# In each request something else stands for `HOLE`.
_HOLE = b"HOLE"
_IDS = [an_id() for _ in range(3)]
_COOKIES = [b"session=" + _HOLE, b"a=1; session=" + _HOLE + b"; b=" + _HOLE, b"a=" + _HOLE]
_values = st.sampled_from(
    [b"", b"a", _HOLE, ID_ENTRY + _HOLE, ID_ENTRY + _HOLE + b"b", ID_ENTRY * 2, *_COOKIES]
)
_names = st.sampled_from(["a", "x-request-id", "X-Request-Id", "x_user_id", ":path", "cookie"])
_ids = st.sampled_from([*_IDS * 3, b"y" * 36, b"-" * 36, ID_ENTRY * 2, b""])


def _message(entries: Sequence[tuple[str, bytes, bool]], hole: bytes, missing: int) -> bytes:
    """Return a CheckRequest with these headers, of which some are cut short, and the whole too."""
    block = b""
    for name, value, cut_short in entries:
        header = HeaderValue(key=name, raw_value=value.replace(_HOLE, hole))
        entry = HeaderMap(headers=[header]).SerializeToString()
        block += entry[:-1] if cut_short else entry
    message = CheckRequestOutline()
    http = message.attributes.request.http
    http.method, http.host = "GET", "api.jobfirst.local"
    http.header_map.append(block[: len(block) - missing])
    return message.SerializeToString()


@given(
    others=st.lists(st.tuples(_names, _values, st.sampled_from([False] * 5 + [True])), max_size=3),
    target=st.sampled_from(
        [
            b"/closed/1",
            b"/closed/" + _HOLE,
            b"/closed/1?a=1&token=" + _HOLE,
            b"/closed/1?token[" + _HOLE + b"]=1",
            b"/closed/1?_method=" + _HOLE,
        ]
    ),
    order=st.randoms(use_true_random=False),
    asked=st.lists(
        st.tuples(_ids, st.sampled_from(_IDS), st.just(0) | st.integers(0, 60)),
        min_size=3,
        max_size=8,
    ),
)
def test_a_service_that_remembers_answers_as_one_that_does_not(
    others: list[tuple[str, bytes, bool]],
    target: bytes,
    order: random.Random,
    asked: list[tuple[bytes, bytes, int]],
) -> None:
    """Whatever headers and query hold, and wherever the id stands, or seems to."""
    records: list[DecisionRecord] = []
    checks = withholding_service(records)
    entries = [(":path", target, False), ("authorization", GOOD["authorization"][0], False)]
    entries += [*others, ("x-request-id", b"ID", False)]
    order.shuffle(entries)
    for own_id, hole, missing in [(_IDS[0], _IDS[1], 0)] * 2 + asked:
        sent = [(name, value.replace(b"ID", own_id), cut) for name, value, cut in entries]
        made_up = _answered_as_by_another(checks, records, _message(sent, hole, missing))
        assert not made_up & {each.decode("latin-1") for each in (own_id, hole)}


def withholding_service(records: list[DecisionRecord]) -> CheckService:
    """Return a service whose answers depend on cookies and query too."""
    sources = (BEARER, TokenSource("cookie", "session"), TokenSource("query", "token"))
    answers = AnswerSettings(forward_authorization=False, token_sources=sources)
    return service(snapshot(), records=records, answers=answers)


def _answered_as_by_another(
    checks: CheckService, records: list[DecisionRecord], message: bytes
) -> set[str]:
    """Ask this service and one that knows nothing; return the ids, where each made up its own."""
    answers = [ask(checks, message), ask(withholding_service(records), message)]
    recorded = [(each.request, each.peer_info()) for each in records[-2:]]
    assert recorded[0] == recorded[1]
    shown = {each.dynamic_metadata.fields["decision_id"].string_value for each in answers}
    made_up = shown if len(shown) == 2 else set()
    for answer in answers if made_up else ():
        answer.denied_response.body = answer.denied_response.body[:80]
        del answer.dynamic_metadata.fields["decision_id"]
    assert answers[0] == answers[1]
    return made_up


def _field(tag: int, payload: bytes, beyond: int = 0) -> bytes:
    """Return a field whose length is its payload's, or is not."""
    size = len(payload) + beyond
    return bytes([tag, size & 0x7F | 0x80, size >> 7] if size > 0x7F else [tag, size]) + payload


# A peer, a time or an id, and a destination, as Envoy sends them.
_VARYING, _DESTINATION = b"\x0a\0", b"\x12\1a"
_PLAIN = ((_VARYING, _VARYING, _VARYING + _DESTINATION), (0,) * 3)


def _check_of(
    http: bytes, beginnings: Sequence[bytes] = _PLAIN[0], beyond: Sequence[int] = _PLAIN[1]
) -> bytes:
    """Return a CheckRequest: attributes, the request in them and its HTTP, each begun by these."""
    inner = http
    for tag, begin, more in zip((0x12, 0x22, 0x0A), beginnings, beyond, strict=True):
        inner = _field(tag, begin + inner, more)
    return inner


# Source, time and id differ in each of Envoy's. Here the length of one has two bytes and needs one,
# and two end too early or take in what follows.
_PIPE = b"\x0a\x05\x12\x03\x0a\x01/"
_fitting = [b"", b"\x0a\0", _field(0x0A, _PIPE), b"\x0a\x81\0a", _field(0x0A, b"a" * 129)]
_wrong = [_field(0x0A, _PIPE, -7), _field(0x0A, b"a", 4), _field(0x0A, b"a", 60)]
_varying = st.sampled_from([*_fitting * 4, *_wrong])
_destination = st.sampled_from([b"", _DESTINATION, _field(0x12, b"a" * 129), b"\x12\x81\0a"])
_beginnings = st.tuples(_varying, _varying, st.builds(bytes.__add__, _varying, _destination))
_AS_TEXT = _field(0x1A, b"\x0a\1a" + _field(0x12, _HOLE * 9))  # a header


@given(
    before=st.sampled_from([b"", _check_of(b""), _check_of(b"") + _check_of(_AS_TEXT)]),
    asked=st.lists(
        st.tuples(
            st.just(_PLAIN[0]) | _beginnings,
            st.just(_PLAIN[1]) | st.tuples(*[st.sampled_from([0, 0, -1, 1, 200])] * 3),
            st.sampled_from(_IDS),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_what_a_message_begins_with_changes_no_answer(
    before: bytes, asked: list[tuple[tuple[bytes, ...], tuple[int, ...], bytes]]
) -> None:
    """Neither do lengths that are wrong, nor attributes that come twice: protobuf merges them."""
    records: list[DecisionRecord] = []
    checks = withholding_service(records)
    for beginnings, beyond, hole in [(*_PLAIN, _IDS[0])] * 2 + asked:
        http = CheckRequestOutline.FromString(question()).attributes.request.http
        message = _check_of(http.SerializeToString(), beginnings, beyond)
        _answered_as_by_another(checks, records, before.replace(_HOLE * 9, hole) + message)
