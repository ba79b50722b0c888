"""Whatever a text is, it is text on the page; the ring of decisions is bounded."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Allow, Decision, DecisionRecord, Deny
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.route import Route
from sidecar.ops.decision_log import LogSettings
from sidecar.ops.metrics import Metrics
from sidecar.ops.page.history import MAX_SAMPLES, History
from sidecar.ops.page.markup import MAX_TEXT, escaped, raw, shown, tag
from sidecar.ops.page.policy import MAX_NAMES, requirements
from sidecar.ops.page.recent import MAX_ALLOWED, MAX_BYTES, MAX_OTHERS, Filter, Recent
from sidecar.ops.page.site import is_local
from sidecar.ops.page.texts import _TEXTS, duration, words_of

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "`onclick=alert(1)`",
    "</textarea></title></style>",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "a\u0000b\r\nSet-Cookie: x\u2028",
    "\ud800",
)


class Reader(HTMLParser):
    """Collects elements, attributes and texts as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(st.text(max_size=2 * MAX_TEXT) | st.sampled_from(HOSTILE))
def test_a_text_is_neither_markup_nor_another_attribute(text: str) -> None:
    """Between tags and in an attribute, a browser reads exactly what is shown of it."""
    found = read(tag("td", text, title=text))
    assert found.elements == ["td"]
    assert found.attributes == {"title": shown(text)}
    assert found.text == shown(text)


@given(st.text(max_size=4 * MAX_TEXT))
def test_what_is_shown_of_a_text_is_printable_and_bounded(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= MAX_TEXT * len("\\u10ffff") + 1


def test_html_is_not_escaped_again_and_text_always_is() -> None:
    assert raw(tag("b", "<"), "<", 1) == "<b>&lt;</b>&lt;1"
    assert escaped(escaped("&")) == "&amp;"
    assert tag("input", hidden=True, checked=False, value=None) == "<input hidden>"


@pytest.mark.parametrize("key", _TEXTS)
def test_every_text_has_both_languages_with_the_same_gaps(key: str) -> None:
    english, chinese = _TEXTS[key]
    assert english.count("{}") == chinese.count("{}")
    assert english
    assert re.search(r"[\u4e00-\u9fff/]|Sidecar", chinese)


def test_durations_have_their_two_largest_units() -> None:
    assert duration(0.2, "en") == "0 s"
    assert duration(-5, "en") == "0 s"
    assert duration(61, "en") == "1 min 1 s"
    assert duration(90061, "zh") == "1 天 1 小时"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9003", "127.0.0.1", "127.0.0.1:9003", "127.8.8.8", "[::1]:1", "[::1]"],
)
def test_a_loopback_literal_or_localhost_is_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:9003", "localhost.evil.example", "x.localhost"),
        *("localhost.", "127.0.0.1.nip.io", "10.0.0.1", "0.0.0.0", "[::]", "::1", "[::1", "::1]"),
        *("localhost:1:2", "localhost@evil", "127.0.0.1, evil.example", "127.1", "2130706433"),
        *("[127.0.0.1]:x", "localhost:", "localhost:123456", "ｌocalhost", " localhost"),
    ],
)
def test_every_other_host_is_not(host: str) -> None:
    assert not is_local(host)


def record(decision: Decision, time: float = 1.0, path: bytes = b"/a") -> DecisionRecord:
    request = Request("GET", "host", path, {}, True)
    return DecisionRecord(time, 0.001, "id", decision, request, "digest")


ROUTE = Route(0, "a-route", "/a")
ALLOW, DENY = Allow(Reason.PUBLIC, ROUTE), Deny(Reason.NO_ROUTE)


def ring() -> Recent:
    return Recent(lambda: LogSettings("none"))


def test_the_ring_is_bounded_in_bytes_and_keeps_the_latest() -> None:
    recent = ring()
    for second in range(2000):
        recent.records([record(DENY, float(second), b"/" + b"x" * 900)])
    assert recent.bytes <= MAX_BYTES
    assert recent.latest(Filter(), 1)[0].number == 2000
    assert recent.find(1) is None
    assert recent.find(2000) is not None


def test_a_flood_of_allowed_requests_displaces_no_denial() -> None:
    recent = ring()
    recent.records([record(DENY)])
    for second in range(2, 60):
        recent.records([record(ALLOW, float(second))] * (3 * MAX_ALLOWED))
    assert recent.latest(Filter("deny"), 5)[0].number == 1
    assert recent.skipped == 58 * 2 * MAX_ALLOWED


def test_of_many_decisions_in_a_second_some_are_kept_and_the_others_counted() -> None:
    recent = ring()
    recent.records([record(ALLOW)] * (MAX_ALLOWED + 1) + [record(DENY)] * (MAX_OTHERS + 1))
    assert recent.skipped == 2
    recent.records([record(ALLOW, 2.0)])
    assert recent.skipped == 2


def test_decisions_are_filtered_by_decision_reason_and_a_part_of_the_route() -> None:
    recent = ring()
    recent.records([record(ALLOW), record(DENY), record(Deny(Reason.TOKEN_MISSING, ROUTE))])

    def numbers(*shown: str) -> list[int]:
        return [entry.number for entry in recent.latest(Filter(*shown), 10)]

    assert numbers() == [3, 2, 1]
    assert numbers("deny") == [3, 2]
    assert numbers("", "token_missing") == [3]
    assert numbers("", "", "A-ROU") == [3, 1]
    assert numbers("allow", "token_missing") == []


def test_a_kept_decision_is_a_line_of_the_log_without_the_query() -> None:
    recent = ring()
    recent.records([record(DENY, path=b"/a?access_token=secret")])
    line = recent.latest(Filter(), 1)[0].line
    assert json.loads(line)["path"] == "/a"
    assert b"secret" not in line


def test_the_history_has_rates_and_percentiles_between_its_samples() -> None:
    metrics = Metrics("1")
    history = History(metrics)
    history.sample(100.0)
    metrics.records([record(ALLOW)] * 30 + [record(DENY)] * 20)
    history.sample(110.0)
    history.sample(105.0)  # the wall clock went back
    (between,) = history.intervals()
    assert (between.checks, between.denials) == (5.0, 2.0)
    assert between.p99 is not None
    assert 0 < between.p99 <= 0.001
    for second in range(3 * MAX_SAMPLES):
        history.sample(200.0 + second)
    assert len(history.intervals()) == MAX_SAMPLES - 1


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        (Route(0, "a", "/a", public=True), "public: no token"),
        (Route(0, "a", "/a", optional=True), "a token is optional"),
        (Route(0, "a", "/a"), "a valid token"),
        (Route(0, "a", "/a", permissions=("x", "y")), "permissions: all of x, y"),
        (Route(0, "a", "/a", any_permissions=("x",)), "any_permissions: x"),
        (Route(0, "a", "/a", roles=("x", "y")), "roles: one of x, y"),
        (Route(0, "a", "/a", issuers=frozenset("z")), "issuers: z"),
        (Route(0, "a", "/a", callers=frozenset({"spiffe://a"})), "callers: spiffe://a"),
        (Route(0, "a", "/a", principals=frozenset({"service"})), "principals: service"),
        (
            Route(0, "a", "/u/{id}", owner=1, owner_unless=("admin",)),
            "owner: {id} unless admin",
        ),
        (
            Route(0, "a", "/u/{id}", owner=1, owner_claim=("org", "id")),
            "owner: {id} = org.id",
        ),
        (
            Route(0, "a", "/{t}", claims=(Condition(("tenant",), segments=(0,)),)),
            "claims: tenant = {t}",
        ),
        (
            Route(0, "a", "/a", claims=(Condition(("ok",), flags=frozenset({True})),)),
            "claims: ok = true",
        ),
        (
            Route(0, "a", "/a", permissions=tuple(f"p{n}" for n in range(MAX_NAMES + 3))),
            f"p{MAX_NAMES - 1} +3",
        ),
    ],
)
def test_a_routes_requirements_are_in_the_words_of_its_keys(route: Route, shown: str) -> None:
    items = [raw(*each) for each in requirements(route, words_of("en"))]
    assert read("\n".join(items)).text.endswith(shown)
