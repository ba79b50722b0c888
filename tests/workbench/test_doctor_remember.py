"""`doctor` on an Envoy that remembers allows: each weakened copy of it is found."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.envoy import Bootstrap, connection_manager
from demo.stack import BOOTSTRAPS
from sidecar.cli import main
from sidecar.cli.doctor import _wanted
from sidecar.config import load
from sidecar.documents import own_yaml
from sidecar.documents.findings import Place, Severity
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.doctor.memory import with_memory
from sidecar.workbench.doctor.sources import read
from sidecar.workbench.generate.remember import EARLY, FILTER
from tests.support.envoy_mutants import Mutant, mutants

ENVOY = (BOOTSTRAPS / "envoy-remember.yaml").read_text(encoding="utf-8")
BOOTSTRAP = json.dumps(own_yaml.read(BOOTSTRAPS / "envoy-remember.yaml"))
WANTED = _wanted(load(BOOTSTRAPS / "sidecar.yaml", {}, offline=True))
NO_CONFIGURATION = Wanted(None, ("x-user-id",))


def _fresh() -> Bootstrap:
    loaded: Bootstrap = json.loads(BOOTSTRAP)
    return loaded


def _filters(loaded: Bootstrap) -> dict[str, Any]:
    return {each["name"]: each for each in connection_manager(loaded)["http_filters"]}


def _moved(_: Place) -> None:
    """Ignore what moves."""


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
    for name in ("default_source_code", "inline_string", "shared_vm_id", "clear_route_cache",
                 "metadata_context_namespaces", "xds_matcher", "on_no_match", "typed_config",
                 "extension_config", "early_header_mutation_extensions"):  # fmt: skip
        first, *rest = name.split("_")
        spelled = spelled.replace(f'"{name}"', f'"{first}{"".join(map(str.capitalize, rest))}"')
    assert spelled != BOOTSTRAP
    assert list(examine(json.loads(spelled), WANTED)) == []


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
        problems = with_memory(read(loaded, _moved), wanted, _moved).problems
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
        ('"authorization",', ""),
        ('":path", ', ""),
        ('":path", ', '":method", '),
        ("now < entry.asks_at", "now < entry.asks_at + 5000"),
        ("state:get(ASKED)", "nil"),
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
        text = BOOTSTRAP.replace("LONGEST = 1000", f"LONGEST = {longest}")
        assert _errors(json.loads(text)) == []


def test_both_filters_have_the_same_program() -> None:
    loaded = _fresh()
    _code(loaded)["inline_string"] = PROGRAM.replace("LONGEST = 1000", "LONGEST = 2000")
    assert _errors(loaded) == ["remember"]


LEARNS = ("filter_chain", "typed_config", 1)  # the place of zervi.learn
_LEVELS = 4  # of typed_config: the manager, the wrapper, its action, the filter


def _parts(mutant: Mutant) -> bool:
    """Say whether a change is in what an Envoy that remembers has beyond envoy.yaml."""
    place = mutant.place
    if place[:3] != ("static_resources", "listeners", 0):
        return False
    if EARLY in place:
        return True
    if "http_filters" not in place:
        return False
    index = place[place.index("http_filters") + 1 :][:1]
    names = [each["name"] for each in connection_manager(json.loads(BOOTSTRAP))["http_filters"]]
    if not index or not isinstance(index[0], int):
        return False
    name = names[index[0]]
    if name.startswith("zervi.") or LEARNS in [place[at : at + 3] for at in range(len(place))]:
        return True
    # The settings of ext_authz and of the second lock are as in any other file.
    wrapped = "rules" in place or place.count("typed_config") > _LEVELS
    told = "metadata_context_namespaces" in place
    return name in ("envoy.filters.http.ext_authz", "envoy.filters.http.rbac") and (
        told or not wrapped
    )


MUTANTS = [each for each in mutants(json.loads(BOOTSTRAP)) if _parts(each)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_each_change_of_what_heeds_the_memory_is_found(mutant: Mutant) -> None:
    assert list(examine(mutant.apply(_fresh()), WANTED)), mutant.name


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


def test_a_second_writer_of_the_filter_state_is_an_error() -> None:
    """Only the filter may say that a request was answered from memory."""
    for kind, config in (
        ("set_filter_state", {"on_request_headers": [{"object_key": "zervi.remember"}]}),
        ("header_to_metadata", {"request_rules": [{"header": "x-remembered"}]}),
        ("lua", {"default_source_code": {"inline_string": PROGRAM}}),
    ):
        name = "".join(part.capitalize() for part in kind.split("_"))
        proto = {"set_filter_state": "Config", "header_to_metadata": "Config"}.get(kind, name)
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


def test_two_listeners_with_one_memory_must_ask_the_same_sidecar() -> None:
    """Else one would answer with what the other one's sidecar allowed."""
    loaded = _fresh()
    resources = loaded["static_resources"]
    text = json.dumps(resources["listeners"][0]).replace('"ingress"', '"second"')
    resources["listeners"].append(json.loads(text.replace("10000", "10001")))
    assert _errors(json.loads(json.dumps(loaded)), NO_CONFIGURATION) == []
    other = next(each for each in resources["clusters"] if each["name"] == "authz")
    resources["clusters"].append(json.loads(json.dumps(other).replace('"authz"', '"other"')))
    resources["listeners"][-1] = json.loads(text.replace('"authz"', '"other"'))
    assert "remember" in _errors(json.loads(json.dumps(loaded)), NO_CONFIGURATION)


def test_listeners_may_share_their_filters_by_an_alias() -> None:
    loaded = _fresh()
    listeners = loaded["static_resources"]["listeners"]
    listeners.append({**listeners[0], "name": "second"})
    assert _errors(loaded) == []


def test_a_listener_that_shares_filters_but_no_memory_is_an_error() -> None:
    loaded = _fresh()
    first = loaded["static_resources"]["listeners"][0]
    second = json.loads(json.dumps({**first, "name": "second"}))
    manager = second["filter_chains"][0]["filters"][0]["typed_config"]
    del manager[EARLY]
    own = connection_manager(loaded)["http_filters"]
    manager["http_filters"] = [each for each in own if each["name"] != FILTER]
    loaded["static_resources"]["listeners"].append(second)
    assert _errors(loaded)


@pytest.mark.parametrize(
    "text",
    [
        "local LONGEST = 1000\n" + "local KEY = {\n" * 50_000,
        'local LONGEST = 1000\nlocal REMOVED = {\n  ["' + "x-" * 50_000 + '"] = true,\n}\n',
        'local LONGEST = 1000\nlocal KEY = {\n  "' + "x-" * 9_000 + '",\n}\n',
        "local LONGEST = 1000\nlocal KEY = {\n" + '"x-y",' * 50_000 + "\n}\n",
    ],
    ids=["many tables", "a long removed name", "a long deciding name", "many names"],
)
def test_a_program_that_is_made_to_be_slow_is_an_error(text: str) -> None:
    loaded = _fresh()
    _code(loaded)["inline_string"] = text
    assert "remember" in _errors(loaded, Wanted(None, ()))


@pytest.mark.parametrize("level", ["virtual host", "route"])
def test_no_route_may_replace_the_program(level: str) -> None:
    loaded = _fresh()
    (host,) = connection_manager(loaded)["route_config"]["virtual_hosts"]
    part = host if level == "virtual host" else host["routes"][1]
    kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute"
    part.setdefault("typed_per_filter_config", {})[FILTER] = {"@type": kind, "disabled": True}
    assert _errors(loaded)
