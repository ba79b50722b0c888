"""`doctor` on an Envoy that remembers allows: each weakened copy of it is found."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.envoy import Bootstrap, connection_manager
from demo.stack import BOOTSTRAPS
from sidecar.cli import main
from sidecar.cli.doctor import _wanted
from sidecar.config import load
from sidecar.documents.findings import Severity
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.doctor.memory import with_memory
from sidecar.workbench.doctor.sources import read
from sidecar.workbench.generate.remember import FILTER
from tests.support.envoy_mutants import Mutant, mutants

ENVOY = (BOOTSTRAPS / "envoy-remember.yaml").read_text(encoding="utf-8")
BOOTSTRAP = json.dumps(yaml.safe_load(ENVOY))
WANTED = _wanted(load(BOOTSTRAPS / "sidecar.yaml", {}, offline=True))
NO_CONFIGURATION = Wanted(None, ("x-user-id",))


def _fresh() -> Bootstrap:
    loaded: Bootstrap = json.loads(BOOTSTRAP)
    return loaded


def _filters(loaded: Bootstrap) -> dict[str, Any]:
    return {each["name"]: each for each in connection_manager(loaded)["http_filters"]}


def _code(loaded: Bootstrap) -> dict[str, str]:
    code: dict[str, str] = _filters(loaded)[FILTER]["typed_config"]["default_source_code"]
    return code


def _errors(loaded: object, wanted: Wanted = WANTED) -> list[str]:
    found = examine(loaded, wanted)
    return [each.code for each in found if each.severity is Severity.ERROR]


PROGRAM = _code(_fresh())["inline_string"]


def test_the_generated_file_is_clean_in_every_spelling() -> None:
    for wanted in (WANTED, NO_CONFIGURATION):
        assert list(examine(_fresh(), wanted)) == []
    spelled = BOOTSTRAP
    for name in ("default_source_code", "inline_string", "filter_enabled_metadata",
                 "metadata_context_namespaces", "sourced_metadata", "value_matchers"):  # fmt: skip
        first, *rest = name.split("_")
        spelled = spelled.replace(f'"{name}"', f'"{first}{"".join(map(str.capitalize, rest))}"')
    assert spelled != BOOTSTRAP
    assert list(examine(json.loads(spelled), WANTED)) == []
    dumped = BOOTSTRAP.replace('"metadata_source": "DYNAMIC", ', "")
    assert dumped != BOOTSTRAP
    assert list(examine(json.loads(dumped), WANTED)) == []


def test_the_file_is_for_this_configuration_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = (BOOTSTRAPS / "sidecar.yaml").read_text()
    config = tmp_path / "sidecar.yaml"
    file = str(BOOTSTRAPS / "envoy-remember.yaml")
    (tmp_path / "routes.yaml").write_text("api_gateway: {routes: [{path: /x}]}\n")
    sidecar = re.sub(r"file: \S+", "file: routes.yaml", sidecar)
    config.write_text(sidecar)
    assert main(["doctor", file, "--config", str(config), "--strict"]) == 0
    config.write_text(sidecar.replace("zervi:", "zervi:\n  token_sources: [{cookie: session}]"))
    assert main(["doctor", file, "--config", str(config)]) == 1
    assert "is not as generated for this configuration" in capsys.readouterr().out


def _changed_lines() -> Iterator[tuple[str, str]]:
    lines = PROGRAM.split("\n")
    for number, line in enumerate(lines):
        without = "\n".join([*lines[:number], *lines[number + 1 :]])
        if line.strip():
            yield f"line {number + 1} removed", without
            yield f"line {number + 1} is a comment", PROGRAM.replace(line, "--" + line, 1)
        yield (
            f"another line after {number + 1}",
            "\n".join([*lines[: number + 1], "young = old", *lines[number + 1 :]]),
        )


@pytest.mark.parametrize("wanted", [WANTED, NO_CONFIGURATION], ids=["with", "without"])
def test_each_change_of_a_line_of_the_program_is_an_error(wanted: Wanted) -> None:
    changes = list(_changed_lines())
    for name, text in changes:
        loaded = _fresh()
        _code(loaded)["inline_string"] = text
        problems = with_memory(read(loaded, lambda _: None), wanted).problems
        assert [each.code for each in problems] == ["remember"], name
    assert len(changes) > 500


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LONGEST = 1000", "LONGEST = 5001"),
        ("LONGEST = 1000", "LONGEST = 0"),
        ("LONGEST = 1000", "LONGEST = 1e9"),
        ("LONGEST = 1000", "LONGEST = 1000 * 60"),
        ('["x-user-id"] = true, ', ""),
        ('["authorization"] = 4,', ""),
        ('[":path"] = 3, ', ""),
        ('[":path"] = 3', '[":path"] = 2'),
        ("now < entry.ends", "now < entry.ends + 5000"),
        ("status >= 400", "status >= 600"),
        ("\n", "\r\n"),
    ],
)
def test_each_weaker_program_is_an_error(before: str, after: str) -> None:
    loaded = _fresh()
    assert before in PROGRAM
    _code(loaded)["inline_string"] = PROGRAM.replace(before, after)
    assert "remember" in _errors(loaded)


def test_a_shorter_time_is_as_good_and_another_time_up_to_five_seconds_too() -> None:
    for longest in ("1", "200", "5000"):
        loaded = _fresh()
        _code(loaded)["inline_string"] = PROGRAM.replace("= 1000\n", f"= {longest}\n", 1)
        assert _errors(loaded) == []


def _parts(mutant: Mutant) -> bool:
    """Say whether a change is in what an Envoy that remembers has beyond envoy.yaml."""
    place = mutant.place
    if place[:3] != ("static_resources", "listeners", 0) or "http_filters" not in place:
        return False
    index = place[place.index("http_filters") + 1 :][:1]
    names = [each["name"] for each in connection_manager(json.loads(BOOTSTRAP))["http_filters"]]
    if not index or not isinstance(index[0], int):
        return False
    name = names[index[0]]
    if name == FILTER or name.endswith("rbac"):
        return True
    memory = ("filter_enabled_metadata", "metadata_context_namespaces")
    return name.endswith("ext_authz") and any(each in place for each in memory)


_LOCK = "ingress.http_filters.3"
_POLICY = f"{_LOCK}.typed_config.rules.policies.allowed-by-the-sidecar"
_VALUES = "metadata_matcher.value.or_match.value_matchers"
HARMLESS = {
    f'{_LOCK}.name "other"',
    # Defaults, and the order of alternatives.
    f"{_LOCK}.typed_config.rules.action removed",
    *(f"{_POLICY}.principals.{n}.sourced_metadata.metadata_source removed" for n in (0, 1)),
    f"{_POLICY}.principals.0.sourced_metadata.{_VALUES} reversed",
}
MUTANTS = [each for each in mutants(json.loads(BOOTSTRAP)) if _parts(each)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_each_change_of_what_heeds_the_memory_is_found(mutant: Mutant) -> None:
    found = list(examine(mutant.apply(_fresh()), WANTED))
    assert bool(found) is (mutant.name not in HARMLESS), mutant.name


def _retries(loaded: Bootstrap) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where the retry policy of a Check is, and where other files have it."""
    clusters = loaded["static_resources"]["clusters"]
    cluster = next(each for each in clusters if each["name"] == "authz")
    (options,) = cluster["typed_extension_protocol_options"].values()
    return options, _filters(loaded)["envoy.filters.http.ext_authz"]["typed_config"]["grpc_service"]


def test_each_weaker_retry_policy_of_the_sidecars_cluster_is_found() -> None:
    changes: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda policy: policy.clear(),
        lambda policy: policy.pop("retry_on"),
        lambda policy: policy.update(retry_on="5xx"),
        lambda policy: policy.pop("num_retries"),
        lambda policy: policy.update(num_retries=0),
        lambda policy: policy["retry_back_off"].update(base_interval="30s"),
        lambda policy: policy.update(retry_host_predicate=[{"name": "x"}]),
    )
    for change in changes:
        loaded = _fresh()
        change(_retries(loaded)[0]["retry_policy"])
        assert list(examine(loaded, WANTED)), loaded
    loaded = _fresh()
    _retries(loaded)[0].pop("retry_policy")
    assert [each.code for each in examine(loaded, WANTED)] == ["restart"]


def test_a_retry_policy_beside_the_clusters_name_is_as_good_and_two_are_not() -> None:
    loaded = _fresh()
    options, service = _retries(loaded)
    service["retry_policy"] = options["retry_policy"]
    assert _errors(json.loads(json.dumps(loaded)))
    options.pop("retry_policy")
    assert list(examine(loaded, WANTED)) == []


def test_the_memory_belongs_directly_before_ext_authz() -> None:
    loaded = _fresh()
    filters = connection_manager(loaded)["http_filters"]
    memory = next(each for each in filters if each["name"] == FILTER)
    for place in range(len(filters)):
        rest = [each for each in json.loads(json.dumps(filters)) if each["name"] != FILTER]
        moved = [*rest[:place], memory, *rest[place:]]
        changed = _fresh()
        connection_manager(changed)["http_filters"] = moved
        expected = place == filters.index(memory)
        assert (_errors(json.loads(json.dumps(changed))) == []) is expected, place


def test_a_second_writer_of_the_metadata_is_an_error() -> None:
    """Only the filter may say that a request was answered from memory."""
    for kind, config in (
        ("set_metadata", {"metadata": [{"metadata_namespace": "zervi.remember"}]}),
        ("header_to_metadata", {"request_rules": [{"header": "x-remembered"}]}),
        ("lua", {"default_source_code": {"inline_string": PROGRAM}}),
    ):
        name = "".join(part.capitalize() for part in kind.split("_"))
        proto = {"set_metadata": "Config", "header_to_metadata": "Config"}.get(kind, name)
        another = {
            "name": "another",
            "typed_config": {
                "@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}.v3.{proto}",
                **config,
            },
        }
        for place in range(len(connection_manager(_fresh())["http_filters"])):
            loaded = _fresh()
            connection_manager(loaded)["http_filters"].insert(place, another)
            assert _errors(json.loads(json.dumps(loaded))), (kind, place)


@pytest.mark.parametrize("level", ["virtual host", "route"])
def test_no_route_may_replace_the_program(level: str) -> None:
    loaded = _fresh()
    (host,) = connection_manager(loaded)["route_config"]["virtual_hosts"]
    part = host if level == "virtual host" else host["routes"][1]
    kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute"
    part.setdefault("typed_per_filter_config", {})[FILTER] = {"@type": kind, "disabled": True}
    assert _errors(loaded)
