"""The program of Envoy's Lua filter, in LuaJIT without Envoy: what it remembers, and how long."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime  # type: ignore[import-untyped]  # -- no stubs of it

from sidecar.workbench.generate.remember import Heeded, program, script

HEEDED = Heeded(
    ("authorization", "x-service-token"), ("x-service-token", "x-user-id", "x-username")
)
SECOND = 1000
AHEAD = SECOND // 10
START = 1_800_000_000_000
LONG = "x" * 4097

Headers = list[tuple[str, str]]

GET: Headers = [
    (":method", "GET"),
    (":authority", "h"),
    (":path", "/a"),
    ("authorization", "Bearer t"),
]
ALLOW = {
    "reason": "ok",
    "route": "orders",
    "subject": "7",
    "decision_id": "first",
    "remember_ms": 5000,
    "identity": {"x-user-id": "7"},
}


class Worker:
    """One worker of Envoy with the filter, and a sidecar that answers as told."""

    def __init__(self, longest: int = SECOND, heeded: Heeded = HEEDED) -> None:
        self._lua = LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)
        self._lua.execute((Path(__file__).parent / "lua_handle.lua").read_text())
        self._lua.execute(script(longest, heeded))
        self.now = START

    def _table(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._lua.table_from({key: self._table(each) for key, each in value.items()})
        if isinstance(value, list | tuple):
            return self._lua.table_from([self._table(each) for each in value])
        return value

    def request(self, headers: Headers) -> "Stream":
        stream = Stream(self._lua.table(), self._lua.table())
        stream.headers = self._run(stream, headers)
        return stream

    def pass_on(self, stream: "Stream", answer: dict[str, Any] | None) -> None:
        """Let the second filter see a request as ext_authz passes it, with the answer to it."""
        if answer is not None:
            stream.metadata["envoy.filters.http.ext_authz"] = self._table(answer)
        self._run(stream, [("x-user-id", "7"), *stream.headers])

    def _run(self, stream: "Stream", headers: Headers) -> Headers:
        lua = self._lua.globals()
        handle = lua.new_handle(self._table(headers), stream.metadata, stream.state, self.now)
        lua.envoy_on_request(handle)
        return [(pair[1], pair[2]) for pair in handle.headers().list.values()]

    def asks(self, headers: Headers = GET, answer: dict[str, Any] | None = ALLOW) -> bool:
        """Send a request, answer it, and say whether the sidecar was asked."""
        stream = self.request(headers)
        if stream.remembered is None:
            self.pass_on(stream, answer)
            assert stream.remembered is None
            return True
        return False


class Stream:
    """A request in a worker; ``headers`` are those that go on."""

    def __init__(self, metadata: Any, state: Any) -> None:
        self.metadata = metadata
        self.state = state
        self.headers: Headers = []

    @property
    def remembered(self) -> str | None:
        found: str | None = self.state["zervi.remember"]
        return found

    @property
    def question(self) -> dict[str, Any] | None:
        found = self.metadata["zervi.question"]
        return None if found is None else dict(found["asks"])


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_an_allow_is_remembered_for_the_time_of_the_filter(worker: Worker) -> None:
    assert worker.asks()
    worker.now += SECOND - AHEAD - 1
    assert not worker.asks()
    worker.now += AHEAD + 1
    assert worker.asks()


def test_in_the_last_tenth_one_request_asks_for_all(worker: Worker) -> None:
    """So that at the end of an entry's time not all who repeat the request must ask."""
    worker.asks()
    worker.now += SECOND - AHEAD
    stream = worker.request(GET)
    assert stream.remembered is None
    assert worker.request(GET).remembered is not None
    worker.pass_on(stream, ALLOW | {"decision_id": "next"})
    worker.now += SECOND - AHEAD - 1
    assert "decision_id=next" in str(worker.request(GET).remembered)


def test_an_allow_that_is_not_renewed_ends_at_its_time(worker: Worker) -> None:
    worker.asks()
    worker.now += SECOND - AHEAD
    assert worker.asks(answer=ALLOW | {"reason": "token_revoked"})
    worker.now += AHEAD - 1
    assert not worker.asks()
    worker.now += 1
    assert worker.asks()


def test_an_allow_is_remembered_no_longer_than_the_sidecar_permits(worker: Worker) -> None:
    assert worker.asks(answer=ALLOW | {"remember_ms": 200})
    worker.now += 179
    assert not worker.asks()
    worker.now += 21
    assert worker.asks()


def test_the_time_begins_with_the_question_not_with_its_answer(worker: Worker) -> None:
    stream = worker.request(GET)
    worker.now += 800
    worker.pass_on(stream, ALLOW)
    assert not worker.asks()
    worker.now += 200
    assert worker.asks()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        *({**ALLOW, "reason": reason} for reason in ("permission_denied", "preflight", "", None)),
        *({**ALLOW, "remember_ms": time} for time in (0, -1, None, "1000", float("nan"), False)),
        {**ALLOW, "route": None},
        {**ALLOW, "identity": {"x-other": "7"}},
        {**ALLOW, "identity": {"x-user-id": ""}},
        {**ALLOW, "identity": {"x-user-id": 7}},
    ],
)
def test_nothing_but_a_permitted_allow_is_remembered(
    worker: Worker, answer: dict[str, Any] | None
) -> None:
    assert worker.asks(answer=answer)
    assert worker.asks()


def test_an_allow_whose_request_envoy_does_not_pass_on_is_not_remembered(worker: Worker) -> None:
    """Envoy may refuse a request after the answer, because of what it would add."""
    worker.request(GET)
    assert worker.asks()


def test_a_late_answer_is_of_no_use(worker: Worker) -> None:
    stream = worker.request(GET)
    worker.now += SECOND
    worker.pass_on(stream, ALLOW)
    assert worker.asks()


@pytest.mark.parametrize(
    "other",
    [
        [(":method", "POST"), *GET[1:]],
        [GET[0], (":authority", "other"), *GET[2:]],
        [*GET[:2], (":path", "/a?x=1"), GET[3]],
        [*GET[:3], ("authorization", "Bearer u")],
        GET[:3],
        [*GET, ("authorization", "Bearer t")],
        [*GET, ("authorization", "")],
        [*GET, ("x-service-token", "s")],
    ],
    ids=str,
)
def test_each_part_of_what_decides_is_asked_about(worker: Worker, other: Headers) -> None:
    assert worker.asks()
    assert worker.asks(other)
    assert not worker.asks()


def test_what_does_not_decide_is_not_asked_about(worker: Worker) -> None:
    assert worker.asks([*GET, ("accept", "a")])
    assert not worker.asks([*GET, ("accept", "b")])


@pytest.mark.parametrize("name", ["authorization", "x-service-token", ":authority"])
def test_a_value_with_a_comma_is_asked_about(worker: Worker, name: str) -> None:
    """It may be several values, or be read as several."""
    headers = [pair for pair in GET if pair[0] != name]
    for values in (["a,b"], ["a", "b"], ["", ""]):
        for _ in range(2):
            assert worker.asks([*headers, *((name, value) for value in values)])


def test_a_path_with_a_comma_is_remembered(worker: Worker) -> None:
    headers = [*GET[:2], (":path", "/a,b"), GET[3]]
    assert worker.asks(headers)
    assert not worker.asks(headers)


@pytest.mark.parametrize("method", ["OPTIONS", "CONNECT"])
def test_preflights_and_tunnels_are_asked_about(worker: Worker, method: str) -> None:
    headers = [(":method", method), *GET[1:]]
    assert worker.asks(headers)
    assert worker.asks(headers)
    assert worker.request(headers).question is None


@pytest.mark.parametrize(
    "more",
    [
        [("authorization", LONG)],
        [("x-service-token", LONG)],
    ],
    ids=["long token", "long service token"],
)
def test_a_long_token_is_asked_about(worker: Worker, more: Headers) -> None:
    for _ in range(2):
        assert worker.asks([*GET[:3], *more])


def test_the_request_gets_the_identity_and_loses_a_token_that_stays_here(worker: Worker) -> None:
    headers = [*GET, ("x-service-token", "s"), ("accept", "a")]
    worker.asks(headers)
    stream = worker.request(headers)
    assert stream.headers == [*GET, ("accept", "a"), ("x-user-id", "7")]


def test_a_remembered_request_says_what_the_sidecar_said(worker: Worker) -> None:
    """For the access log; Envoy compares how it begins."""
    worker.asks()
    assert worker.request(GET).remembered == "reason=ok route=orders decision_id=first subject=7"
    public = [*GET[:3]]
    worker.asks(public, {**ALLOW, "reason": "public", "subject": None})
    assert (
        worker.request(public).remembered == "reason=public route=orders decision_id=first subject="
    )


def test_the_second_filter_never_answers_from_memory(worker: Worker) -> None:
    """Two equal requests are asked about at the same time; the first one is remembered by then."""
    first, second = worker.request(GET), worker.request(GET)
    worker.pass_on(first, ALLOW)
    worker.pass_on(second, ALLOW | {"decision_id": "second"})
    assert second.remembered is None
    question = worker.request([*GET[:2], (":path", "/b"), GET[3]]).question
    assert question is not None
    assert question.get("routes") is None


def test_what_is_not_to_be_remembered_has_no_number(worker: Worker) -> None:
    """The second filter then takes no other request's question for its own."""
    stream = worker.request([(":method", "OPTIONS"), *GET[1:]])
    assert stream.state["zervi.asked"] == "0"
    for _ in range(512):
        worker.request(GET)
    worker.pass_on(stream, ALLOW)
    assert worker.asks()


def test_a_request_that_is_asked_about_goes_on_as_it_came(worker: Worker) -> None:
    headers = [*GET, ("x-service-token", "s"), ("accept", "a")]
    assert worker.request(headers).headers == headers


def test_each_question_tells_how_many_were_answered_from_memory(worker: Worker) -> None:
    other = [*GET[:2], (":path", "/b"), GET[3]]
    worker.asks()
    worker.asks(other, ALLOW | {"route": "others"})
    for headers in (GET, GET, other, GET):
        assert not worker.asks(headers)
    worker.now += SECOND
    question = worker.request(GET).question
    assert question is not None
    assert question["repeats"] == 3
    assert dict(question["routes"]) == {"orders": 3, "others": 1}
    again = worker.request(other).question
    assert again is not None
    assert (again["repeats"], again.get("routes")) == (1, None)
    last = worker.request(GET).question
    assert last is not None
    assert last["repeats"] == 0


def test_what_is_answered_during_a_question_is_told_with_the_next(worker: Worker) -> None:
    worker.asks()
    worker.now += SECOND - AHEAD
    stream = worker.request(GET)
    for _ in range(2):
        assert worker.request(GET).remembered is not None
    worker.pass_on(stream, ALLOW)
    worker.now += SECOND
    question = worker.request(GET).question
    assert question is not None
    assert (question["repeats"], dict(question["routes"])) == (2, {"orders": 2})


def test_a_question_names_a_bounded_number_of_routes_and_none_is_lost(worker: Worker) -> None:
    many = [[*GET[:2], (":path", f"/{number}"), GET[3]] for number in range(50)]
    for number, headers in enumerate(many):
        assert worker.asks(headers, ALLOW | {"route": f"route-{number}"})
    for headers in (*many, *many):
        assert not worker.asks(headers)
    told: dict[str, float] = {}
    worker.now += SECOND
    for _ in range(3):
        question = worker.request(GET).question
        assert question is not None
        routes = dict(question.get("routes") or {})
        assert len(routes) <= 32
        told |= routes
    assert told == {f"route-{number}": 2 for number in range(50)}


@pytest.mark.parametrize("back", [1, START - SECOND + 1, START])
def test_a_clock_that_is_set_back_ends_the_memory(worker: Worker, back: int) -> None:
    """Also to the epoch, as on a machine that has lost its clock's battery."""
    worker.asks()
    worker.now -= back
    assert worker.asks()


def test_an_error_inside_leaves_a_request_that_is_asked_about(worker: Worker) -> None:
    worker.asks()
    lua = worker._lua
    lua.execute("""
        local make = new_handle
        function new_handle(...)
          local handle = make(...)
          handle.headers().add = function() error("no") end
          return handle
        end
    """)
    with pytest.raises(Exception, match="no"):
        worker.request(GET)


def test_a_flood_of_requests_fills_two_generations_and_no_more() -> None:
    worker = Worker(longest=5000)
    lua = worker._lua
    used = []
    for turn in range(3):
        for number in range(10_000):
            worker.now += 1
            path = f"/{turn}/{number}/{'x' * 500}"
            assert worker.asks([*GET[:2], (":path", path), GET[3]])
        lua.execute("collectgarbage()")
        used.append(lua.eval("collectgarbage('count')"))
    assert used[2] < 1.1 * used[1] < 24 * 1024  # KiB


@pytest.mark.parametrize("steps", [(SECOND, SECOND), (2 * SECOND,)], ids=["requests", "silence"])
def test_what_has_ended_is_not_kept(worker: Worker, steps: tuple[int, ...]) -> None:
    """Neither a token longer than it must be, nor memory in which Lua looks for garbage."""
    lua = worker._lua
    used = []
    for _ in range(2):
        lua.execute("collectgarbage()")
        used.append(lua.eval("collectgarbage('count')"))
        for number in range(2_000):
            assert worker.asks([*GET[:2], (":path", f"/{number}/{'x' * 500}"), GET[3]])
        for step in steps:
            worker.now += step
            worker.asks()
    assert used[1] < used[0] + 100  # KiB


def test_questions_without_an_answer_are_bounded_too(worker: Worker) -> None:
    lua = worker._lua
    for number in range(20_000):
        worker.request([*GET[:2], (":path", f"/{number}/{'x' * 1000}"), GET[3]])
    lua.execute("collectgarbage()")
    assert lua.eval("collectgarbage('count')") < 4 * 1024
    assert worker.asks()
    assert not worker.asks()


NAMES = ["authorization", "x-service-token", "accept"]
VALUES = st.text("ab:1234,", max_size=6)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST"]),
    VALUES,
    VALUES,
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
)


@given(REQUESTS, REQUESTS)
def test_two_requests_share_a_key_only_if_all_that_decides_is_equal(one: Any, other: Any) -> None:
    worker = Worker()
    first, second = (
        [(":method", method), (":authority", host), (":path", path), *headers]
        for method, host, path, headers in (one, other)
    )
    assert worker.asks(first)
    if not worker.asks(second):
        decide = [sorted(pair for pair in each if pair[0] != "accept") for each in (first, second)]
        assert decide[0] == decide[1]


@pytest.mark.skipif(
    shutil.which("luacheck") is None, reason="luacheck is not installed (Debian: lua-check)"
)
def test_luacheck_has_nothing_to_say(tmp_path: Path) -> None:
    program_file = tmp_path / "remember.lua"
    program_file.write_text(program())
    whole = tmp_path / "whole.lua"
    whole.write_text(script(SECOND, HEEDED))
    for file, more in ((program_file, ()), (whole, ("--no-unused",))):
        command = ["luacheck", "--std", "luajit", "--max-line-length", "120", *more, str(file)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout


def test_every_part_of_the_program_has_a_comment() -> None:
    """It is a part of the boundary: its readers must know why each part is there."""
    lines = program().splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("function ", "local function ")) and "envoy_on" not in line:
            assert lines[number - 1].startswith("--"), line
