"""Caches count bytes: their size stays within its bound, for any callers."""

import gc
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Deny
from sidecar.core.reasons import Reason
from sidecar.core.tokens import name_lists
from sidecar.core.tokens import principal as principal_module
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import IdentityHeaders, identity_values, principal_from_claims
from sidecar.core.tokens.verify import Verified
from sidecar.extauthz import memory, repeats
from sidecar.extauthz.denials import Denials
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.token_cache import TokenCache
from sidecar.extauthz.two_generations import SizedTwoGenerationCache
from tests.support.checks import ask, check_request, envelope_of, service
from tests.support.policies import live_bearer, snapshot

MIB = 1024 * 1024
MEMOS = (name_lists._lists, principal_module._headers)
ISSUER = Issuer("https://zervi.test", frozenset({"RS256"}))


def entry(number: int, **claims: object) -> Verified:
    """Return a token that was verified, all of it made for this one as a token's reader does."""
    who = principal_from_claims({"user_id": f"user-{number}", **claims}, ISSUER)
    digest = sha256(str(number).encode()).digest()
    times = (number + 0.5, number + 600.5, number + 300.5)
    return Verified(digest, who, 0, None, *times, identity_values(who, IdentityHeaders()))


def small(number: int) -> Verified:
    return entry(number, username=f"name-{number}", email=f"name-{number}@example.org")


def alike(number: int) -> Verified:
    """Return one of many who hold the same hundred permissions."""
    return entry(number, role="user", permissions=[f"service:action-{n}" for n in range(100)])


def large(number: int) -> Verified:
    """Return one who holds 500 permissions of its own."""
    return entry(number, permissions=[f"p-{number}-{n}" for n in range(500)])


def filled(cache: TokenCache, entries: Iterable[Verified]) -> TokenCache:
    for each in entries:
        cache[each.digest] = each
    return cache


@pytest.mark.parametrize(("make", "many"), [(small, 3000), (alike, 3000), (large, 200)])
def test_what_is_counted_is_near_what_is_taken(make: Callable[[int], Verified], many: int) -> None:
    """Within a factor of two, for tokens of every kind."""
    cache = TokenCache(many, 1024 * MIB)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        filled(cache, map(make, range(many)))
        for memo in MEMOS:
            memo.forget()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(cache) == many
    assert taken / 2 < cache.bytes < taken * 2


def test_large_tokens_take_no_more_than_the_bound() -> None:
    """A tenth of a mebibyte each; the latest are kept."""
    cache = filled(TokenCache(10_000, MIB), map(large, range(100)))
    assert MIB / 2 < cache.bytes <= MIB
    assert 5 < len(cache) < 100
    assert cache.peek(large(99).digest) is not None
    assert cache.peek(large(0).digest) is None


def test_the_number_of_tokens_is_bounded_too() -> None:
    """Whichever is reached first."""
    cache = filled(TokenCache(10, 1024 * MIB), map(small, range(100)))
    assert len(cache) == 10


def test_what_many_hold_is_counted_once() -> None:
    """So ten thousand users of the same roles fit, though each has a hundred permissions."""
    one = filled(TokenCache(10_000, 1024 * MIB), [alike(0)]).bytes
    all_of_them = filled(TokenCache(10_000, 32 * MIB), map(alike, range(3000)))
    assert len(all_of_them) == 3000
    assert all_of_them.bytes < 3000 * one / 4


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([small, alike, large])), max_size=40))
def test_what_is_counted_is_given_back(
    steps: list[tuple[int, Callable[[int], Verified]]],
) -> None:
    """Whatever was replaced, pushed out or taken out: an empty cache counts nothing."""
    cache = TokenCache(4, MIB)
    for number, make in steps:
        cache[sha256(str(number).encode()).digest()] = make(number)
        again = filled(TokenCache(4, MIB), [cache[digest] for digest in cache])
        assert again.bytes == cache.bytes
    for digest in list(cache):
        del cache[digest]
    assert cache.bytes == 0


class Sized(SizedTwoGenerationCache[int, bytes]):
    def __init__(self) -> None:
        super().__init__(10, 100, lambda _, value: len(value))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans())))
def test_a_memory_of_so_many_bytes_never_holds_more(
    steps: list[tuple[int, int, bool]],
) -> None:
    """What is put in again, found again or dropped included."""
    recent = Sized()
    for key, size, drop in steps:
        recent.drop(key) if drop else recent.put(key, b"x" * size)
        assert recent.get(key) in (None, b"x" * size)
        held = [*recent._young.values(), *recent._old.values()]
        assert sum(map(len, recent._young.values())) <= 50
        assert sum(map(len, recent._old.values())) <= 50
        assert len(held) <= 10


def test_what_is_larger_than_half_of_a_memory_is_not_held() -> None:
    """It would push everything else out."""
    recent = Sized()
    recent.put(1, b"x")
    recent.put(2, b"x" * 51)
    assert (recent.get(1), recent.get(2)) == (b"x", None)


def test_the_shares_are_the_whole() -> None:
    """Answers, denials, requests and names of headers together."""
    shares = (memory.ANSWERS, memory.REPEATS, memory.DENIALS, memory.REMOVALS)
    assert sum(shares) == memory.MAX_ANSWER_BYTES == 16 * MIB


def test_a_denial_too_large_to_be_held_is_answered_all_the_same() -> None:
    """And the small ones are held on."""
    responder = Responder(AnswerSettings())
    calls = 0

    def build(*args: object) -> bytes:
        nonlocal calls
        calls += 1
        return responder.build(*args)  # type: ignore[arg-type]  # -- what it is given

    denials, asked = Denials(build), envelope_of(check_request())
    small_one = Deny(Reason.NO_ROUTE)
    denials.answer(small_one, asked, "id")
    huge = Deny(Reason.PERMISSION_DENIED, needs=("x" * memory.DENIALS,))
    assert denials.answer(huge, asked, "id") == responder.build(huge, asked, "id")
    calls = 0
    denials.answer(small_one, asked, "id")
    assert calls == 0


def taken_by(tokens: int, cached_bytes: int) -> int:
    """Return what a service takes after requests with so many tokens of 500 permissions each."""
    for memo in MEMOS:
        memo.forget()
    settings = ServiceSettings(10_000, cached_bytes=cached_bytes)
    checks = service(snapshot(), records=deque(maxlen=0), settings=settings)
    messages = []
    for number in range(tokens):
        permissions = ["closed:read", *(f"{number}:{n}" for n in range(500))]
        headers = live_bearer(user_id=number, permissions=permissions)
        messages += [
            check_request(headers={**headers, "x-request-id": [again * 36]})
            for again in (b"1", b"2")
        ]
    gc.collect()
    tracemalloc.start()
    try:
        for message in messages:
            ask(checks, message)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert checks.cached_token_bytes <= cached_bytes
    return taken


def test_callers_with_large_tokens_take_a_bounded_memory() -> None:
    """Two hundred tokens and a bound in proportion to ten thousand; without it, they take more."""
    assert 3 * taken_by(200, MIB) < taken_by(200, 1024 * MIB)


def test_lists_that_principals_share_are_remembered_in_a_bounded_memory() -> None:
    """However many different ones there are, and the latest is shared still."""
    for number in range(400):
        large(number)
    one, other = large(9), large(9)
    assert one.principal.permissions is other.principal.permissions
    assert one.identity[-1][1] is other.identity[-1][1]
    assert all(memo.bytes <= name_lists.MAX_SHARED_BYTES for memo in MEMOS)


@pytest.mark.parametrize("headers", [5, 150])
def test_what_is_counted_of_a_request_is_near_what_it_takes(headers: int) -> None:
    """Its headers as objects included, which are many times its message where they are short."""
    checks = service(snapshot(), records=deque(maxlen=0))
    messages = [
        check_request(
            f"/open/{number}".encode(),
            headers={
                **{f"h{n}": [f"{number}".encode()] for n in range(headers)},
                "x-request-id": [b"1" * 36],
            },
        )
        for number in range(100)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for message in messages * 2:
            ask(checks, message)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    held = checks._repeats._young | checks._repeats._old
    counted = sum(repeats._size_of(key, repeat) for key, repeat in held.items())
    assert len(held) == 100
    assert taken / 2 < counted < taken * 2
