"""Which instance serves a caller."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.placement.directory import Allocation, Directory, Health, Instance
from sidecar.core.placement.place import MAX_PICKS, Placements

TARGET = "basic-server-*"
USERS = [f"user-{number}" for number in range(3000)]


def instance(number: int, **fields: Any) -> Instance:
    name = f"basic-server-{number}"
    values = {"health": Health.HEALTHY, **fields}
    return Instance(name, name, f"10.0.{number // 250}.{number % 250 + 1}:8080", **values)


def placed(*instances: Instance, zone: str = "", **allocations: Allocation) -> Placements:
    by_user = {user: (each,) for user, each in allocations.items()}
    return Placements([TARGET], Directory(instances, by_user), zone)


def firsts(placements: Placements) -> dict[str, str]:
    return {user: placements.place(TARGET, user)[0] for user in USERS}


SIZES = st.integers(2, 40)


@given(size=SIZES, user=st.text(max_size=40))
def test_the_same_directory_in_any_order_places_a_user_alike(size: int, user: str) -> None:
    instances = [instance(number) for number in range(size)]
    there = placed(*instances).place(TARGET, user)
    assert placed(*reversed(instances)).place(TARGET, user) == there
    assert len(there) == len(set(there)) == min(size, MAX_PICKS)


@pytest.mark.parametrize("size", [2, 3, 10, 50])
def test_users_spread_evenly(size: int) -> None:
    counts = Counter(firsts(placed(*map(instance, range(size)))).values())
    fair = len(USERS) / size
    assert len(counts) == size
    assert max(counts.values()) < 1.6 * fair
    assert min(counts.values()) > 0.5 * fair


@pytest.mark.parametrize("size", [2, 5, 30])
def test_an_instance_that_goes_moves_only_its_own_users_and_to_their_alternate(size: int) -> None:
    instances = [instance(number) for number in range(size)]
    before = placed(*instances)
    after = placed(*instances[1:])
    gone = instances[0].address
    for user in USERS:
        picks = before.place(TARGET, user)
        remaining = [address for address in picks if address != gone]
        assert after.place(TARGET, user)[: len(remaining)] == tuple(remaining)


def test_an_instance_that_returns_takes_only_its_own_users_back() -> None:
    instances = [instance(number) for number in range(9)]
    before = firsts(placed(*instances))
    assert firsts(placed(*instances[:4], *instances[5:], instances[4])) == before


def test_capacity_weighs() -> None:
    counts = Counter(firsts(placed(instance(1, capacity=3), *map(instance, range(2, 11)))).values())
    others = [count for address, count in counts.items() if address != "10.0.0.2:8080"]
    assert 2 < counts["10.0.0.2:8080"] / (sum(others) / len(others)) < 4


@pytest.mark.parametrize(
    "fields",
    [{"health": Health.CRITICAL}, {"draining": True}, {"ready": False}],
    ids=["critical", "draining", "not ready"],
)
def test_an_instance_that_cannot_serve_is_never_chosen(fields: dict[str, object]) -> None:
    only = placed(instance(1, **fields), instance_one=Allocation("basic-server-1"))
    assert only.place(TARGET, "instance_one") == ()
    assert not only.serves(TARGET)
    other = placed(instance(1, **fields), instance(2), alice=allocated(1))
    assert other.place(TARGET, "alice") == ("10.0.0.3:8080",)


def allocated(number: int, *requirements: tuple[str, str]) -> Allocation:
    return Allocation(f"basic-server-{number}", f"basic-server-{number}", requirements)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"health": Health.WARNING}, {}),
        ({"health": Health.UNKNOWN}, {}),
        ({"zone": "b"}, {"zone": "a"}),
        ({"zone": "a", "health": Health.WARNING}, {"zone": "b"}),
        ({"vanished": True, "zone": "a"}, {"health": Health.WARNING, "zone": "b"}),
    ],
)
def test_the_better_instance_comes_first(
    worse: dict[str, object], better: dict[str, object]
) -> None:
    placements = placed(instance(1, **worse), instance(2, **better), zone="a")
    expected = ("10.0.0.3:8080", "10.0.0.2:8080")
    assert all(placements.place(TARGET, user) == expected for user in USERS[:50])


def test_a_users_allocated_instance_comes_first() -> None:
    placements = placed(*map(instance, range(20)), alice=allocated(7))
    assert placements.place(TARGET, "alice")[0] == "10.0.0.8:8080"
    assert len(placements.place(TARGET, "alice")) == MAX_PICKS


def test_a_service_of_the_same_name_has_no_allocation() -> None:
    instances = [instance(number) for number in range(20)]
    allocated_to = placed(*instances, alice=allocated(7))
    assert allocated_to.place(TARGET, "alice", user=False) == placed(*instances).place(
        TARGET, "alice"
    )


def test_substitutes_have_the_required_labels() -> None:
    instances = [instance(number, labels={"region": "cn"}) for number in range(3)]
    others = [instance(number) for number in range(3, 20)]
    placements = placed(*instances, *others, alice=allocated(19, ("region", "cn")))
    addresses = {each.address for each in instances}
    assert set(placements.place(TARGET, "alice")) == addresses


def test_a_requirement_that_nothing_fulfils_leaves_no_instance() -> None:
    placements = placed(instance(1), alice=allocated(1, ("region", "cn")))
    assert placements.place(TARGET, "alice") == ()


def test_an_allocation_of_another_target_does_not_count() -> None:
    ours = [instance(number) for number in range(5)]
    other = Allocation("billing", "billing-1", (("region", "cn"),))
    assert placed(*ours, alice=other).place(TARGET, "alice") == placed(*ours).place(TARGET, "alice")


@pytest.mark.parametrize(
    ("target", "count"), [("basic-server-1", 1), ("basic-server-*", 3), ("basic-server", 0)]
)
def test_a_target_is_a_name_or_a_prefix(target: str, count: int) -> None:
    placements = Placements([target], Directory(tuple(map(instance, (1, 2, 10)))))
    assert len(placements.place(target, "alice")) == count


def test_a_target_that_was_not_prepared_is_prepared_when_it_is_asked_for() -> None:
    placements = placed(instance(1))
    assert placements.place("basic-server-1", "alice") == ("10.0.0.2:8080",)
    assert placements.place("billing", "alice") == ()


def test_a_long_subject_is_placed_and_not_remembered() -> None:
    placements = placed(*map(instance, range(5)))
    long = "x" * 5000
    assert placements.place(TARGET, long) == placements.place(TARGET, long)
    assert placements._remembered == 0


def of_service(service: str, number: int, **fields: Any) -> Instance:
    return instance(number, **fields)._replace(service=service)


A, B = "basic-server-a", "basic-server-b"
TWO_SERVICES = (
    *(of_service(A, number) for number in range(20)),
    *(of_service(B, number) for number in range(20, 23)),
)
OF_B = {each.address for each in TWO_SERVICES if each.service == B}


def test_an_allocation_of_a_service_chooses_among_its_instances() -> None:
    """The target is a prefix; Looma may name the service and leave the instance open."""
    allocations = {f"user-{number}": (Allocation(B),) for number in range(100)}
    placements = Placements([TARGET], Directory(TWO_SERVICES, allocations))
    picks = {user: placements.place(TARGET, user) for user in allocations}
    assert all(set(each) == OF_B for each in picks.values())
    assert {each[0] for each in picks.values()} == OF_B, "and spreads over them"


def test_the_alternates_of_an_allocated_instance_are_of_its_service_first() -> None:
    allocation = Allocation(B, "basic-server-21")
    picks = placed(*TWO_SERVICES, alice=allocation).place(TARGET, "alice")
    assert picks[0] == TWO_SERVICES[21].address
    assert set(picks) == OF_B
    gone = [each for each in TWO_SERVICES if each.id != "basic-server-21"]
    rest = placed(*gone, alice=allocation).place(TARGET, "alice")
    assert set(rest[:2]) == OF_B - {picks[0]}
    assert rest[2] not in OF_B


@pytest.mark.parametrize(
    "fields", [{"vanished": True}, {"health": Health.CRITICAL}, {"draining": True}]
)
def test_a_service_that_cannot_serve_leaves_its_users_to_the_others(fields: Any) -> None:
    others = TWO_SERVICES[:20]
    placements = placed(*others, of_service(B, 20, **fields), alice=Allocation(B))
    picks = placements.place(TARGET, "alice")
    assert len(picks) == MAX_PICKS
    assert set(picks) <= {each.address for each in others}


def test_an_allocated_service_is_filtered_by_the_requirements() -> None:
    chosen = of_service(B, 30, labels={"region": "cn"})
    elsewhere = instance(31, labels={"region": "cn"})._replace(service=A)
    allocation = Allocation(B, "", (("region", "cn"),))
    placements = placed(*TWO_SERVICES, chosen, elsewhere, alice=allocation)
    assert placements.place(TARGET, "alice") == (chosen.address, elsewhere.address)
