"""What a registry may answer, and what a gateway makes of it: bad entries, sizes, full disks."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.placement.directory import Directory, Health, Instance
from sidecar.core.placement.place import Placements
from sidecar.gateway.files import CLUSTERS, FileSettings, contents, endpoints_file
from sidecar.gateway.writer import FileWriter
from sidecar.looma.directory.client import parsed
from sidecar.looma.directory.known import Known
from sidecar.looma.directory.listing import allocations_of, instances_of
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.snapshot import content_of, listing_of
from sidecar.ops.logs import PERIOD, RateLimited

# As wide as an operator could write it: what is refused is refused all the same.
EVERYTHING = Admission(networks(["0.0.0.0/0", "::/0"]))
OURS = Admission(networks(["10.0.0.0/8"]), {"pay-*": networks(["10.7.0.0/16"])})


def entry(number: int = 1, **fields: Any) -> dict[str, Any]:
    name = f"orders-{number}"
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    found = {"service_id": name, "service_name": name, "address": address, "port": 80}
    return {**found, "health_status": "healthy", **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "169.254.169.254"},
        {"address": "169.254.0.1"},
        {"address": "::ffff:169.254.169.254"},
        {"address": "fe80::1"},
        {"address": "224.0.0.1"},
        {"address": "239.255.255.255"},
        {"address": "ff02::1"},
        {"address": "0.0.0.0"},
        {"address": "0.1.2.3"},
        {"address": "::"},
        {"address": "::0.0.0.0"},
        {"address": "::ffff:0.0.0.0"},
        {"address": "240.0.0.1"},
        {"address": "255.255.255.255"},
        {"address": "::ffff:255.255.255.255"},
        {"address": "ff0e::1"},
        {"address": "::ffff:a9fe:a9fe"},
        {"address": "64:ff9b::169.254.169.254"},
        {"address": "::169.254.169.254"},
        {"address": "::ffff:0:169.254.169.254"},
        {"address": "2002:a9fe:a9fe::1"},
        {"address": "2001:0:a9fe:a9fe::1"},
        {"address": "100.100.100.200"},
        {"address": "::ffff:100.100.100.200"},
        {"address": "168.63.129.16"},
        {"address": "192.0.0.192"},
        {"address": "169.254.170.2"},
        {"address": "fd00:ec2::254"},
        {"address": "FD00:0EC2:0:0:0:0:0:254"},
        {"address": "fd00:ec2::23"},
        {"address": "fd20:ce::254"},
        {"address": "fd00:42::42"},
        {"address": "fe80::1%1"},
        {"address": "fd00::1%eth0"},
        {"address": "1.2.3.4%eth0"},
        {"address": "127.0.0.1"},
        {"address": "127.9.9.9"},
        {"address": "::1"},
        {"address": "::ffff:127.0.0.1"},
        {"address": "metadata.google.internal"},
        {"address": "localhost"},
        {"address": "10.1"},
        {"address": "10.0.1"},
        {"address": "010.0.0.1"},
        {"address": "0x0a.0.0.1"},
        {"address": "0x0a000001"},
        {"address": "167772161"},
        {"address": 167772161},
        {"address": "１0.0.0.1"},
        {"address": "10.0.0.1/32"},
        {"address": "[fd00::1]"},
        {"address": "10.0.0.1:80"},
        {"address": "10.0.0.1 "},
        {"address": ""},
        {"address": "unix:/run/x"},
        {"port": 0},
        {"port": -1},
        {"port": 65536},
        {"port": 80.0},
        {"port": float("nan")},
        {"port": 1e308},
        {"port": True},
        {"port": 10**400},
        {"port": "80"},
        {"port": None},
        {"labels": {"zone": "x" * 65536}},
        {"labels": {"x" * 65536: "a"}},
        {"labels": {str(number): "" for number in range(10_000)}},
        {"service_id": "x" * 65536},
        {"service_name": "x" * 65536},
        {"service_name": "*"},
        {"service_name": "a/b"},
        {"service_name": "ü"},
    ],
)
def test_an_entry_that_no_configuration_admits_is_refused(fields: dict[str, Any]) -> None:
    listing = instances_of({"services": [entry(**fields), entry(2)]}, EVERYTHING)
    assert [each.id for each in listing.instances] == ["orders-2"]
    assert listing.refused == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.0.0.1", "10.0.0.1:80"),
        ("::ffff:10.0.0.1", "10.0.0.1:80"),
        ("fd00:ec2::255", "[fd00:ec2::255]:80"),
        ("FD00:0:0::0001", "[fd00::1]:80"),
        ("2001:db8::1", "[2001:db8::1]:80"),
        ("100.100.100.201", "100.100.100.201:80"),
        ("192.0.2.1", "192.0.2.1:80"),
    ],
)
def test_another_address_in_an_allowed_network_is_an_instances(address: str, shown: str) -> None:
    (found,) = instances_of({"services": [entry(address=address)]}, EVERYTHING).instances
    assert found.address == shown


@pytest.mark.parametrize(
    ("capacity", "weight"),
    [
        ("8", 8), (8, 8), (9, 8), ("9999", 8), ("10000", 1), (0, 1), (-1, 1), ("-1", 1), ("+3", 1),
        ("nan", 1), ("inf", 1), ("1e308", 1), ("3.5", 1), ("0x5", 1), ("٣", 1), (" 3", 1), ("", 1),
    ],
)  # fmt: skip
def test_a_capacity_that_is_no_weight_is_1_and_a_large_one_the_largest(
    capacity: object, weight: int
) -> None:
    listing = instances_of({"services": [entry(labels={"capacity": capacity})]}, OURS)
    assert [each.capacity for each in listing.instances] == [weight]


@pytest.mark.parametrize(
    "capacity", [True, None, 1.5, 1e308, float("nan"), float("inf"), 10**400, [3], {"a": 3}]
)
def test_a_label_that_is_neither_text_nor_an_integer_refuses_its_entry_only(
    capacity: object,
) -> None:
    services = [entry(labels={"capacity": capacity}), entry(2)]
    listing = instances_of({"services": services}, OURS)
    assert [each.id for each in listing.instances] == ["orders-2"]


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "192.168.0.1"},
        {"address": "11.0.0.1"},
        {"address": "fd00::1"},
        {"address": "::ffff:192.168.0.1"},
        {"service_name": "pay-1"},  # has networks of its own
    ],
)
def test_an_address_outside_the_allowed_networks_is_refused(fields: dict[str, Any]) -> None:
    assert instances_of({"services": [entry(**fields)]}, OURS).refused == 1


@pytest.mark.parametrize(
    "requirements",
    [
        {"gpu": True},
        {"memory": 1.5},
        {"region": None},
        {"region": ["cn"]},
        {"region": "x" * 65536},
        {str(number): "" for number in range(33)},
        "region=cn",
        7,
    ],
)
def test_a_user_whose_requirements_cannot_be_read_is_sent_nowhere(requirements: object) -> None:
    """Not to any instance: the requirement may be the country that the data must stay in."""
    user = {"user_id": 7, "service_name": "orders-1", "requirements": requirements}
    allocations, refused = allocations_of({"allocations": [user]})
    instances = instances_of({"services": [entry(1), entry(2)]}, OURS).instances
    known = Directory(instances, allocations)
    for directory in (known, reread(known)):
        placements = Placements(["orders-*"], directory)
        assert placements.place("orders-*", "7") == ()
        assert len(placements.place("orders-*", "8")) == 2
    assert refused == 1


def reread(directory: Directory) -> Directory:
    """Return a directory as a gateway has it that was started again."""
    listing = listing_of(content_of(directory), OURS)
    assert listing.allocations is not None
    return Directory(listing.instances, listing.allocations)


def test_a_number_that_python_does_not_read_refuses_its_entry_only() -> None:
    text = json.dumps({"services": [entry(labels={"capacity": "CAPACITY"}), entry(2)]})
    content = parsed(text.replace('"CAPACITY"', "9" * 5000).encode())
    listing = instances_of(content, OURS)
    assert [each.id for each in listing.instances] == ["orders-2"]


def test_an_id_counts_once_whoever_comes_second() -> None:
    both = [entry(1), entry(1, address="10.0.0.66")]
    listing = instances_of({"services": both}, OURS)
    assert [each.address for each in listing.instances] == ["10.0.0.1:80"]
    assert listing.refused == 1


def test_two_ids_with_one_address_are_two_endpoints_of_envoy_and_one_pick() -> None:
    both = [entry(1), entry(2, address="10.0.0.1")]
    listing = instances_of({"services": both}, OURS)
    placements = Placements(["orders-*"], Directory(listing.instances))
    assert placements.place("orders-*", "7") == ("10.0.0.1:80",)


def test_a_refused_entry_is_logged_once_a_minute_with_its_id_and_no_text_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    limited = RateLimited(lambda: now)
    secret = "eyJhbGciOiJIUzI1NiJ9.made-up"
    services = [
        entry(1, port=0),
        entry(2, address=secret),
        entry(3, service_id=f"\n{secret}"),
    ]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            instances_of({"services": services}, OURS)
    shown = [each.getMessage() for each in caplog.records if limited.filter(each)]
    assert shown == [
        "the registry's entry orders-1 is not used: an invalid port",
        "the registry's entry orders-2 is not used: an address that is not an IP address",
        "the registry's entry without an id is not used: an invalid service_id",
    ]
    now = PERIOD + 1
    assert limited.filter(caplog.records[0]), "and again later, while it lasts"


def test_ten_thousand_instances_are_read_known_placed_and_written(tmp_path: Path) -> None:
    services = [entry(number) for number in range(1, 10_001)]
    listing = instances_of({"services": services}, OURS)
    known = Known(60.0)
    assert known.take(listing, 0.0)
    assert not known.take(listing, 1.0)
    directory = known.directory(1.0)
    placements = Placements(["orders-*"], directory)
    assert len({placements.place("orders-*", str(user))[0] for user in range(100)}) > 90
    writer, settings = FileWriter(tmp_path), FileSettings("/run")
    assert writer.write(contents(["orders-*"], directory, settings)) == 3
    assert writer.write(contents(["orders-*"], directory, settings)) == 0


def test_an_instance_that_flaps_moves_only_its_own_users() -> None:
    services = [entry(number) for number in range(1, 101)]
    stable = Placements(
        ["orders-*"], Directory(instances_of({"services": services}, OURS).instances)
    )
    first = {user: stable.place("orders-*", user)[0] for user in map(str, range(300))}
    for turn in range(4):
        health = "critical" if turn % 2 == 0 else "healthy"
        services[6] = entry(7, health_status=health)
        listing = instances_of({"services": services}, OURS)
        placements = Placements(["orders-*"], Directory(listing.instances))
        now = {user: placements.place("orders-*", user)[0] for user in first}
        moved = {user for user in first if now[user] != first[user]}
        flapped = {user for user in first if first[user] == "10.0.0.7:80"}
        assert moved == (flapped if health == "critical" else set())


ONE = Instance("a", "a", "10.0.0.1:80", Health.HEALTHY)
TWO = Instance("b", "a", "10.0.0.2:80", Health.HEALTHY)


def test_an_envoy_that_still_reads_the_former_file_gets_all_of_it(tmp_path: Path) -> None:
    writer, settings = FileWriter(tmp_path), FileSettings(str(tmp_path))
    writer.write(contents(["a"], Directory((ONE,)), settings))
    names = (endpoints_file("a"), CLUSTERS)
    before = {name: (tmp_path / name).read_bytes() for name in names}
    opened = {name: (tmp_path / name).open("rb") for name in names}
    begun = {name: file.read(10) for name, file in opened.items()}
    writer.write(contents(["a"], Directory((ONE, TWO)), settings))
    writer.write(contents(["other"], Directory(), settings))  # and its target is gone
    for name, file in opened.items():
        with file:
            assert begun[name] + file.read() == before[name]
    assert not (tmp_path / names[0]).exists()


@pytest.mark.parametrize("call", ["write", "open"])
def test_a_disk_that_is_full_leaves_no_half_file_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The device ``/dev/full`` takes a file's opening and no byte of it."""
    writer, settings = FileWriter(tmp_path), FileSettings("/run")
    writer.write(contents(["a"], Directory((ONE,)), settings))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened = os.open

    def full(path: Any, *arguments: Any) -> int:
        if call == "open":
            raise OSError(28, "No space left on device")
        return (
            opened("/dev/full", os.O_WRONLY) if "writing" in str(path) else opened(path, *arguments)
        )

    two = contents(["a"], Directory((ONE, TWO)), settings)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(OSError, match="No space"):
            writer.write(two)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert writer.write(two) == 2, "endpoints, and a cluster that has two of them now"
