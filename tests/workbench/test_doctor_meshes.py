"""What doctor finds in the configuration that a mesh writes."""

import json
from typing import Any

import pytest

from sidecar.documents import own_yaml
from sidecar.workbench.doctor import examine
from sidecar.workbench.doctor.profile import PROFILES, load_profile
from tests.workbench.doctoring import (
    ANYTHING,
    ENVOYS,
    answering,
)

LUA = {"typedConfig": {"@type": "x/envoy.extensions.filters.http.lua.v3.Lua"}}
MESHES = [("istio", "istio.json"), ("envoy-gateway", "egctl.json")]


def mesh(name: str, file: str, change: tuple[str, str] = ("", "")) -> list[Any]:
    text = (ENVOYS / file).read_text(encoding="utf-8")
    assert change[0] in text
    document = json.loads(text.replace(*change) if change[0] else text)
    return list(examine(document, ANYTHING._replace(address=None), name))


@pytest.mark.parametrize(("name", "file"), MESHES)
def test_a_mesh_profile_says_what_the_mesh_cannot_set_and_what_that_means(
    name: str, file: str
) -> None:
    found = [problem for problem in mesh(name, file) if problem.code == "mesh"]
    assert {str(problem.severity) for problem in found} == {"info"}
    said = "\n".join(problem.message for problem in found)
    for field in ("encode_raw_headers", "decoder_header_mutation_rules"):
        assert f"does not let you choose `{field}`: " in said
    assert "nothing denies a request that the sidecar did not allow" in said
    assert len(found) == len({problem.message for problem in found})


def test_only_istio_cannot_retry_a_check_or_choose_a_status() -> None:
    """Envoy Gateway 1.9 can; tests/deploy/test_generated_by_meshes.py has what it makes of that."""
    said = {name: [each.message for each in mesh(name, file)] for name, file in MESHES}
    about = "does not let you choose `retry_policy`"
    assert [name for name in said if any(about in message for message in said[name])] == ["istio"]


@pytest.mark.parametrize(("name", "file"), MESHES)
@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ('"transportApiVersion": "V3"', '"failureModeAllow": true', "failure-mode-allow"),
        ('"transportApiVersion": "V3"', '"allowedHeaders": {}', "hidden-headers"),
        ('"normalizePath": true', '"normalizePath": false', "normalise"),
        ('{"http2ProtocolOptions": {}}', '{"httpProtocolOptions": {}}', "http2"),
        ('"httpFilters": [', f'"httpFilters": [{json.dumps(LUA)},', "before-authz"),
        ("http.ext_authz.v3.ExtAuthz", "http.lua.v3.Lua", "no-authz"),
    ],
)  # fmt: skip
def test_what_a_mesh_can_set_is_a_finding(
    name: str, file: str, before: str, after: str, code: str
) -> None:
    assert code not in {problem.code for problem in mesh(name, file)}
    found = [each for each in mesh(name, file, (before, after)) if each.code == code]
    assert "error" in {str(each.severity) for each in found}


def test_istios_default_timeout_is_an_error_with_its_remedy() -> None:
    (found,) = [problem for problem in mesh("istio", "istio.json") if problem.code == "timeout"]
    assert "envoyExtAuthzGrpc: {timeout: 3s}" in found.help


def test_a_route_without_a_security_policy_is_an_error() -> None:
    """Envoy Gateway disables the filter, and enables it for each route of a policy."""
    (found,) = [
        problem for problem in mesh("envoy-gateway", "egctl.json")
        if problem.code == "disabled-on-route"
    ]  # fmt: skip
    assert found.place[-2:] == ("routes", 1)
    disabled = (
        'config.route.v3.FilterConfig", ',
        'config.route.v3.FilterConfig", "disabled": true, ',
    )
    found_too = mesh("envoy-gateway", "egctl.json", disabled)
    assert [each.code for each in found_too].count("disabled-on-route") == 2


@pytest.mark.parametrize(("name", "file"), MESHES)
def test_a_listener_of_a_mesh_that_does_not_ask_the_sidecar_is_named(name: str, file: str) -> None:
    document = json.loads((ENVOYS / file).read_text(encoding="utf-8"))
    other = answering({"route": {"cluster": "a"}}) | {"traffic_direction": "INBOUND"}
    inner = document
    while "configs" not in inner:  # egctl nests the dump under two names
        (inner,) = inner.values()
    inner["configs"].append({"dynamic_listeners": [{"active_state": {"listener": other}}]})
    (found,) = [each for each in examine(document, ANYTHING, name) if each.code == "no-authz"]
    assert found.message == "1 of the listeners do not ask the sidecar: `answers`"
    (found,) = [
        each for each in examine(document, ANYTHING, name, only=["answers"])
        if each.code == "no-authz"
    ]  # fmt: skip
    assert str(found.severity) == "error"


@pytest.mark.parametrize(("name", "file"), MESHES)
def test_every_key_of_a_mesh_profile_is_one_of_envoys(name: str, file: str) -> None:
    raw = own_yaml.read(PROFILES / f"{name}.yaml")
    profile = load_profile()
    for key in (*raw["cannot"], *raw["write"]):
        message, _, field = key.partition(".")
        assert message.startswith("code:") or field in profile[message].rules, key
