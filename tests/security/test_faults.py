"""Whatever goes wrong inside, the answer is a proper denial: one function misbehaves at a time.

To Envoy an error or an empty answer may be an allow. So every function that a Check calls is found
by watching, and then raises, returns nonsense or never ends, for every Check that calls it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from types import CodeType, FunctionType
from typing import NoReturn

import pytest

import sidecar.core
import sidecar.extauthz
from sidecar.core import decision, names, preflight
from sidecar.core.tokens import allowed_apis, claims, credentials, principal, strict_json
from sidecar.core.tokens import verify as tokens
from sidecar.core.tokens.revocations import Entries, Revocations
from sidecar.core.tokens.shards import Shard
from sidecar.extauthz.guard import Guard
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.security.every_check import Case, cases
from tests.security.faults import admits, functions_in, misbehaving, traced
from tests.support.checks import OK

NONSENSE: tuple[object, ...] = (None, True, False, 0, "", b"", [], object())

NUMBERS = (True, False, 0)

# Functions that return only yes or no; a wrong yes of these looks like a right one.
# Those that raise for no may return anything for yes. Each has tests of its own.
VERDICTS: dict[object, tuple[object, ...]] = {
    tokens._signed: (True,),
    tokens.check_audience: NONSENSE,
    tokens.check_kind: NONSENSE,
    tokens._check_secrets: NONSENSE,
    tokens.recheck: (None,),
    strict_json._check_depth: NONSENSE,
    claims.first: (0,),  # a claim of 0 is a subject
    principal.permits: (None,),
    principal.permits_service: (None,),
    principal.check_together: NONSENSE,
    allowed_apis.allowed_apis: (None,),
    allowed_apis.cover: (True,),
    allowed_apis._matches: (True,),
    decision.still_valid: (True,),
    Revocations.refusal: (None,),
    Revocations.entry_against: (None,),
    Entries.mark: NUMBERS,  # a wrong number is another entry's
    Shard._place: NUMBERS,
    Revocations.check_lifetime: NONSENSE,
    Entries.time: (None,),
    Shard.time: (None,),
    credentials.cookie_value: (None, b""),
    credentials._is_of_own_page: (True,),
    names.may_be_in: (False,),
    names.is_spelling: (False,),
    preflight.may_be_forwarded: (True,),
}
ALL = list(cases())
_REFUSALS = {204, *range(400, 600)}  # 204 answers a preflight


class FaultError(Exception):
    """What a function raises; its text must not get out."""


def raising() -> NoReturn:
    raise FaultError("the secret is 42")


def _same(value: object) -> object:
    return value


async def _ask(case: Case, *, ready: Callable[[], Awaitable[bytes]] | None = None) -> CheckResponse:
    answer = await (ready or case.ready())()
    assert type(answer) is bytes
    assert answer
    return CheckResponse.FromString(answer)


def _passes(response: CheckResponse) -> bool:
    """Return whether Envoy passes the request: only the status counts."""
    denied = response.WhichOneof("http_response") == "denied_response"
    assert denied is (response.status.code != OK)
    assert not denied or response.denied_response.status.code in _REFUSALS
    return not denied


def _answered(response: CheckResponse) -> object:
    """Return what an allow tells Envoy to do."""
    answer = response.ok_response
    set_on_request = sorted((each.header.key, each.header.value) for each in answer.headers)
    return set_on_request, sorted(answer.headers_to_remove)


async def _functions() -> dict[FunctionType, list[Case]]:
    """Return every function of ours that a Check calls, with the Checks that call it.

    What functools caches was called before, as in a service that has run for a while; whatever ran
    earlier in this process then makes no difference. test_extauthz_wire.py has those functions.
    """
    known = functions_in(sidecar.core, sidecar.extauthz)
    for case in ALL:
        await case.ready()()
    users: dict[FunctionType, list[Case]] = {}
    for case in ALL:
        called: set[CodeType] = set()
        await case.ready()()  # what is cached for good is not called again
        ask = case.ready()
        with traced(called):
            await ask()
        for code in called:
            ours = "/sidecar/core/" in code.co_filename or "/sidecar/extauthz/" in code.co_filename
            if ours and not code.co_name.startswith("<"):  # a comprehension is its function's
                users.setdefault(known[code], []).append(case)
    return users


@pytest.fixture(scope="module")
def functions() -> dict[FunctionType, list[Case]]:
    return asyncio.run(_functions())


class _Lines(logging.Handler):
    """Keeps what the faults make the service log, thousands of lines, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.add(self.format(record))


@pytest.fixture(autouse=True)
def logged() -> Iterator[set[str]]:
    """Keep the log to ourselves; none of it may tell what was raised."""
    log, handler = logging.getLogger("sidecar.extauthz"), _Lines()
    log.propagate = False
    log.addHandler(handler)
    yield handler.lines
    log.removeHandler(handler)
    log.propagate = True
    assert "the secret is 42" not in "".join(handler.lines)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
async def test_without_a_fault_each_check_gets_its_answer(case: Case) -> None:
    assert _passes(await _ask(case)) is case.allowed


def test_the_functions_found_are_those_that_decide(functions: dict[FunctionType, object]) -> None:
    """The watching sees what it must, the guard and the waiting included."""
    assert len(functions) > 80
    wanted = {CheckService.check, CheckService._wait, Guard.answer, Guard._wait, *VERDICTS}
    assert wanted <= set(functions)


async def test_a_function_that_raises_is_a_denial(
    functions: dict[FunctionType, list[Case]],
) -> None:
    """Each of them, in every Check that calls it, be it allowed otherwise or not."""
    for function, users in _guarded(functions):
        for case in users:
            ready = case.ready()
            with misbehaving(function, raising):
                response = await _ask(case, ready=ready)
            assert not _passes(response), f"{function.__qualname__} in {case.name}"
            assert "secret" not in str(response)


@pytest.mark.timeout(240)  # thousands of Checks, on a machine that is busy with others
async def test_nonsense_is_a_denial_or_changes_nothing(
    functions: dict[FunctionType, list[Case]],
) -> None:
    """An impossible result of a function never allows what is denied, nor changes the answer.

    A value of its return type may change the answer, but allows nothing either.
    """
    wrong = []
    usual = {case: _answered(await _ask(case)) for case in ALL if case.allowed}
    for function, users in _guarded(functions):
        for case in users:
            for value in NONSENSE:
                ready = case.ready()
                with misbehaving(function, partial(_same, value)):
                    response = await _ask(case, ready=ready)
                if not _passes(response):
                    continue
                if any(value is each for each in VERDICTS.get(function, ())):
                    continue
                fault = f"{function.__qualname__} returned {value!r} in {case.name}"
                if not case.allowed:
                    wrong.append(f"{fault}: allowed")
                elif _answered(response) != usual[case] and not admits(function, value):
                    wrong.append(f"{fault}: answered {_answered(response)}")
    assert not wrong, "\n".join(wrong)


async def test_what_never_ends_is_a_denial_before_the_deadline(
    functions: dict[FunctionType, list[Case]],
) -> None:
    """Each function that awaits, the key source's too, and one that will not be cancelled."""
    awaiting = [
        (function, users)
        for function, users in _guarded(functions)
        if asyncio.iscoroutinefunction(function)
    ]
    assert awaiting
    for function, users in awaiting:
        for case in users:
            ready = case._replace(deadline=0.05).ready()
            with misbehaving(function, asyncio.get_running_loop().create_future):
                assert not _passes(await _ask(case, ready=ready))


def _guarded(
    functions: dict[FunctionType, list[Case]],
) -> Iterator[tuple[FunctionType, list[Case]]]:
    """Leave out the guard: it is what catches all the others; see test_guard.py."""
    for function, users in functions.items():
        if function.__module__ != Guard.__module__:
            yield function, users
