"""A trace receives the steps of a decision, and changes nothing."""

from typing import Any

import pytest

from sidecar.core.decision import decide
from sidecar.core.request import Request
from sidecar.core.tokens.verify import Verified
from tests.support.policies import NOW, bearer, request, snapshot


class Received:
    """A trace that keeps its steps."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *about: self.steps.append((name, *about))

    def names(self) -> list[str]:
        """Return the checks by their names, and the other steps by the method."""
        return [step[1] if step[0] == "check" else step[0] for step in self.steps]


TOKEN_CHECKS = ["credential", "form", "issuer", "times", "kind", "audience", "key", "signature"]


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (request(b"/open/1"), ["reading", "matched", "public"]),
        (request(b"/open//1"), ["malformed"]),
        (request(b"/none"), ["reading", "matched"]),
        (request(b"/users/7/orders"), ["reading", "matched", "refused"]),
        (
            request(b"/users/7/orders", headers=bearer()),
            ["reading", "matched", *TOKEN_CHECKS, "authenticated", "required"],
        ),
        (
            request(b"/users/8/orders", headers=bearer(aud="other", exp=NOW - 99)),
            ["reading", "matched", *TOKEN_CHECKS[:3], "refused"],
        ),
    ],
)
def test_the_steps_arrive_in_their_order_up_to_the_first_denial(
    asked: Request, steps: list[str]
) -> None:
    received = Received()
    traced = decide(asked, snapshot(), {}, NOW, trace=received)
    assert received.names() == steps
    assert traced == decide(asked, snapshot(), {}, NOW)


def test_a_token_that_was_verified_before_comes_without_its_claims() -> None:
    asked, received = request(b"/users/7/orders", headers=bearer()), Received()
    cache: dict[bytes, Verified] = {}
    decide(asked, snapshot(), cache, NOW)
    decide(asked, snapshot(), cache, NOW, trace=received)
    (known,) = [step for step in received.steps if step[0] == "authenticated"]
    assert known[1:] == (*cache.values(), None)
