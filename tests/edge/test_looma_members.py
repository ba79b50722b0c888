"""Which entries of a registry become instances."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.placement.directory import Allocation, Health
from sidecar.looma.directory.members import (
    Admission,
    RefusedEntryError,
    allocation,
    instance,
    networks,
)

ADMISSION = Admission(
    networks(["10.0.0.0/8", "fd00::/8", "169.254.0.0/16", "224.0.0.0/4", "0.0.0.0/8"]),
    {"pay-*": networks(["10.7.0.0/16"]), "pay-core": networks(["10.8.0.0/16"])},
    frozenset({"zervi-auth-service"}),
)
ENTRY: dict[str, Any] = {
    "service_id": "basic-server-1",
    "service_name": "basic-server",
    "address": "10.0.0.1",
    "port": 10000,
    "health_status": "healthy",
    "ready": True,
    "labels": {"zone": "a", "capacity": "3"},
}


def test_an_entry_becomes_an_instance() -> None:
    found = instance(ENTRY, ADMISSION)
    assert (found.id, found.service, found.address) == (
        "basic-server-1",
        "basic-server",
        "10.0.0.1:10000",
    )
    assert (found.health, found.ready, found.draining) == (Health.HEALTHY, True, False)
    assert (found.zone, found.capacity) == ("a", 3)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("fd00::1", "[fd00::1]:10000"), ("::ffff:10.0.0.9", "10.0.0.9:10000")],
)
def test_ipv6_addresses_have_one_form(address: str, shown: str) -> None:
    assert instance({**ENTRY, "address": address}, ADMISSION).address == shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", "169.254.169.254"),
        ("address", "::ffff:169.254.169.254"),
        ("address", "224.0.0.1"),
        ("address", "0.0.0.0"),
        ("address", "127.0.0.1"),
        ("address", "192.168.0.1"),
        ("address", "fe80::1%eth0"),
        ("address", "fd00::1%1"),
        ("address", "basic-server.default.svc"),
        ("address", "10.0.0.1:80"),
        ("address", "010.0.0.1"),
        ("address", 167772161),
        ("address", None),
        ("port", 0),
        ("port", 65536),
        ("port", True),
        ("port", "80"),
        ("port", 80.0),
        ("service_name", "zervi-auth-service"),
        ("service_name", "admin"),
        ("service_name", "authz"),
        ("service_name", "nowhere"),
        ("service_name", "a b"),
        ("service_name", "x" * 129),
        ("service_name", ""),
        ("service_id", ""),
        ("service_id", "a\nb"),
        ("service_id", "../x"),
        ("labels", {"zone": "x" * 65536}),
        ("labels", {f"l{n}": "x" for n in range(33)}),
        ("labels", {"zone": ["a"]}),
        ("labels", "zone=a"),
    ],
)
def test_an_entry_that_cannot_be_an_instance_is_refused(field: str, value: object) -> None:
    with pytest.raises(RefusedEntryError) as refused:
        instance({**ENTRY, field: value}, ADMISSION)
    assert str(value) not in str(refused.value) or not str(value)


@pytest.mark.parametrize("entry", [None, [], "x", 7])
def test_what_is_not_an_object_is_refused(entry: object) -> None:
    with pytest.raises(RefusedEntryError):
        instance(entry, ADMISSION)


def test_only_a_loopback_network_allows_loopback() -> None:
    entry = {**ENTRY, "address": "127.0.0.1"}
    assert instance(entry, Admission(networks(["127.0.0.0/8"]))).address == "127.0.0.1:10000"
    with pytest.raises(RefusedEntryError):
        instance(entry, Admission(networks(["0.0.0.0/0"])))


@pytest.mark.parametrize(
    ("service", "address", "admitted"),
    [
        ("pay-1", "10.7.0.1", True),
        ("pay-1", "10.0.0.1", False),
        ("pay-core", "10.8.0.1", True),
        ("pay-core", "10.7.0.1", False),
        ("payroll", "10.0.0.1", True),
    ],
)
def test_a_targets_own_networks_replace_the_general_ones(
    service: str, address: str, admitted: bool
) -> None:
    entry = {**ENTRY, "service_name": service, "address": address}
    if admitted:
        assert instance(entry, ADMISSION)
    else:
        with pytest.raises(RefusedEntryError):
            instance(entry, ADMISSION)


@pytest.mark.parametrize(
    ("fields", "usable"),
    [
        ({"health_status": "critical"}, False),
        ({"health_status": "warning"}, True),
        ({"health_status": "weird"}, True),
        ({"ready": False}, False),
        ({"draining": True}, False),
        ({"status": "draining"}, False),
    ],
)
def test_the_state_says_whether_it_may_serve(fields: dict[str, object], usable: bool) -> None:
    assert instance({**ENTRY, **fields}, ADMISSION).usable is usable


def test_an_invalid_capacity_is_1_and_a_large_one_the_largest() -> None:
    values = {"0": 1, "-1": 1, "many": 1, "99999": 1, "9999": 8, "5": 5}
    for text, capacity in values.items():
        assert instance({**ENTRY, "labels": {"capacity": text}}, ADMISSION).capacity == capacity


def test_an_allocation_names_a_user_and_an_instance() -> None:
    entry = {
        "user_id": 7,
        "service_name": "basic-server",
        "service_id": "basic-server-1",
        "requirements": {"region": "cn", "cpu": 4},
    }
    wanted = Allocation("basic-server", "basic-server-1", (("cpu", "4"), ("region", "cn")))
    assert allocation(entry) == ("7", wanted)


@pytest.mark.parametrize("user", [None, "", True, 1.5, [], "x" * 257])
def test_an_allocation_without_a_user_is_refused(user: object) -> None:
    with pytest.raises(RefusedEntryError):
        allocation({"user_id": user, "service_name": "basic-server"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from([*ENTRY, "status", "draining"]), JSON))
def test_any_entry_is_an_instance_or_refused(changes: dict[str, object]) -> None:
    try:
        found = instance({**ENTRY, **changes}, ADMISSION)
    except RefusedEntryError:
        return
    host, _, port = found.address.rpartition(":")
    assert host
    assert 0 < int(port) < 65536
