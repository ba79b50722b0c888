"""What a gateway believes of a registry that loses instances."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.placement.directory import Allocation, Directory, Instance
from sidecar.looma.directory.known import Known, Listing

GRACE = 60.0


def instance(number: int, *, service: str = "orders", draining: bool = False) -> Instance:
    return Instance(f"{service}-{number}", service, f"10.0.0.{number}:80", draining=draining)


def states(known: Known, now: float) -> dict[str, bool]:
    """Whether each instance has vanished, by its id."""
    return {each.id: each.vanished for each in known.directory(now).instances}


def known_of(count: int) -> Known:
    known = Known(GRACE)
    known.take(Listing(tuple(map(instance, range(count)))), 0.0)
    return known


def test_a_registry_that_forgets_everything_is_not_believed_until_the_grace_ends() -> None:
    known = known_of(4)
    known.take(Listing(()), 10.0)
    assert states(known, 10.0) == {f"orders-{n}": True for n in range(4)}
    assert known.next_change() == 10.0 + GRACE
    assert states(known, 10.0 + GRACE) == {}


def test_losing_half_is_believed_and_losing_more_is_not() -> None:
    known = known_of(4)
    known.take(Listing(tuple(map(instance, (0, 1)))), 10.0)
    assert states(known, 10.0) == {"orders-0": False, "orders-1": False}
    known.take(Listing((instance(0),)), 20.0)
    assert states(known, 20.0) == {
        "orders-0": False,
        "orders-1": True,
        "orders-2": True,
        "orders-3": True,
    }


def test_each_service_is_judged_by_itself() -> None:
    known = Known(GRACE)
    billing = tuple(instance(n, service="billing") for n in range(9))
    known.take(Listing((*billing, instance(1))), 0.0)
    known.take(Listing(billing), 1.0)
    assert states(known, 1.0)["orders-1"]


def test_an_instance_that_was_draining_is_believed_to_be_gone() -> None:
    known = known_of(1)
    known.take(Listing((instance(0, draining=True),)), 1.0)
    known.take(Listing(()), 2.0)
    assert states(known, 2.0) == {}


def test_an_instance_that_returns_has_not_vanished() -> None:
    known = known_of(1)
    known.take(Listing(()), 1.0)
    known.take(Listing((instance(0),)), 2.0)
    assert states(known, 2.0) == {"orders-0": False}
    assert known.next_change() is None


def test_changes_add_replace_and_remove() -> None:
    known = known_of(3)
    new = instance(1)._replace(address="10.9.9.9:80")
    change = Listing((new, instance(7)), frozenset({"orders-2"}), complete=False)
    known.take(change, 1.0)
    found = {each.id: each.address for each in known.directory(1.0).instances}
    assert found == {
        "orders-0": "10.0.0.0:80",
        "orders-1": "10.9.9.9:80",
        "orders-7": "10.0.0.7:80",
    }


def test_allocations_stay_until_others_come() -> None:
    known = Known(GRACE)
    allocations = {"alice": (Allocation("orders", "orders-1"),)}
    known.take(Listing((), allocations=allocations), 0.0)
    known.take(Listing(()), 1.0)
    assert known.directory(1.0) == Directory((), allocations)


def test_one_that_left_is_believed_also_where_it_was_the_last() -> None:
    known = known_of(1)
    gone = frozenset({"orders-0"})
    assert known.take(Listing((), gone, complete=False, left=gone), 1.0)
    assert states(known, 1.0) == {}


def test_a_listing_says_whether_it_changes_anything() -> None:
    known = Known(GRACE)
    listing = Listing((instance(0),), allocations={"7": (Allocation("orders"),)})
    assert known.take(listing, 0.0)
    assert not known.take(listing, 1.0)
    assert not known.take(Listing((instance(0),), complete=False), 2.0)
    assert known.take(Listing((), allocations={}), 3.0)
    assert known.take(listing._replace(allocations=None), 4.0), "it returns"


@given(
    listings=st.lists(st.frozensets(st.integers(0, 12)), min_size=1, max_size=20),
    step=st.floats(0.1, 40),
)
def test_what_is_listed_is_known_and_nothing_outlives_its_grace(
    listings: list[frozenset[int]], step: float
) -> None:
    known = Known(GRACE)
    last_listed: dict[str, float] = {}
    for index, numbers in enumerate(listings):
        now = index * step
        known.take(Listing(tuple(map(instance, numbers))), now)
        found = states(known, now)
        for number in numbers:
            assert found[f"orders-{number}"] is False
        for name, vanished in found.items():
            if vanished:
                assert last_listed[name] + step + GRACE > now - 1e-6
        last_listed.update(dict.fromkeys((f"orders-{n}" for n in numbers), now))


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_instances_that_flap_are_bounded_by_what_was_listed(count: int) -> None:
    known = known_of(count)
    for turn in range(4):
        known.take(Listing(tuple(map(instance, range(turn % 2 * count)))), float(turn))
    assert len(states(known, 4.0)) == count
