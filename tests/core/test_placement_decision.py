"""A gateway's decision: who may pass, and which instance serves."""

from typing import Any

import pytest

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.placement.directory import Directory, Health, Instance
from sidecar.core.placement.place import Placements
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from tests.support.policies import NOW, bearer, request, snapshot

TARGET = "basic-server-*"
FIXED = "zervi-auth-service"
ROUTES = (
    Route(0, "open", "/open/*", target=TARGET, public=True),
    Route(1, "closed", "/closed/*", target=TARGET, permissions=("closed:read",)),
    Route(2, "fixed", "/fixed/*", target=FIXED, public=True),
    Route(3, "untargeted", "/untargeted/*", public=True),
    Route(4, "absent", "/absent/*", target="nothing", public=True),
    Route(5, "services", "/services/*", target=TARGET, principals=frozenset({"service"})),
)
INSTANCES = tuple(
    Instance(f"basic-server-{n}", f"basic-server-{n}", f"10.0.0.{n}:80", Health.HEALTHY)
    for n in range(1, 6)
)
ADDRESSES = tuple(Instance(f"http://zervi-{n}", FIXED, f"zervi-{n}:80") for n in (1, 2))
DOWN = tuple(each._replace(health=Health.CRITICAL) for each in ADDRESSES)
PLACEMENTS = Placements([TARGET], Directory(INSTANCES, fixed={FIXED: ADDRESSES}))
PERMITTED = bearer(permissions=["closed:read"])


def decided(
    target: bytes, headers: Any = None, placements: Placements | None = PLACEMENTS
) -> Allow | Deny:
    decision = decide(
        request(target, headers=headers), snapshot(ROUTES)._replace(placements=placements), {}, NOW
    )
    assert isinstance(decision, Allow | Deny)
    return decision


def test_an_allowed_caller_is_placed() -> None:
    decision = decided(b"/closed/1", PERMITTED)
    assert isinstance(decision, Allow)
    assert decision.servers == PLACEMENTS.place(TARGET, "7")
    assert len(decision.servers) == 3


def test_a_denied_caller_is_not_placed() -> None:
    assert decided(b"/closed/1").reason is Reason.TOKEN_MISSING
    assert decided(b"/closed/1", bearer()).reason is Reason.PERMISSION_DENIED


def test_a_service_is_placed_without_a_users_allocation() -> None:
    decision = decided(b"/services/1", bearer(service_id="7"))
    assert isinstance(decision, Allow)
    assert decision.servers == PLACEMENTS.place(TARGET, "7", user=False)


@pytest.mark.parametrize("target", [b"/open/1", b"/fixed/1"])
def test_envoy_chooses_where_there_is_no_caller_and_for_fixed_services(target: bytes) -> None:
    decision = decided(target)
    assert isinstance(decision, Allow)
    assert decision.servers == ()


@pytest.mark.parametrize(
    ("target", "placements"),
    [
        (b"/untargeted/1", PLACEMENTS),
        (b"/absent/1", PLACEMENTS),
        (b"/open/1", Placements([TARGET], Directory())),
        (b"/closed/1", Placements([TARGET], Directory())),
        (b"/fixed/1", Placements([TARGET], Directory(fixed={FIXED: DOWN}))),
        (b"/fixed/1", Placements([FIXED], Directory(fixed={FIXED: DOWN}))),
    ],
)
def test_without_an_instance_the_request_is_denied(target: bytes, placements: Placements) -> None:
    assert decided(target, PERMITTED, placements).reason is Reason.NO_UPSTREAM


def test_a_fixed_service_is_reached_where_one_of_its_addresses_works() -> None:
    directory = Directory(fixed={FIXED: (DOWN[0], ADDRESSES[1])})
    assert decided(b"/fixed/1", None, Placements([FIXED], directory)).reason is Reason.PUBLIC


def test_a_prefix_does_not_choose_a_fixed_service() -> None:
    prefix = Placements(["zervi-*"], Directory(fixed={FIXED: ADDRESSES}))
    assert prefix.place("zervi-*", "7") == ()
    assert not prefix.serves("zervi-*")


def test_beside_one_upstream_nothing_is_placed() -> None:
    decision = decided(b"/closed/1", PERMITTED, None)
    assert isinstance(decision, Allow)
    assert decision.servers == ()
