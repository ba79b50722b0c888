"""`doctor` reads what people have: dumps of every tool or parts of them, ECDS, meshes."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest
import yaml

from sidecar.cli import main
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents.foreign import read_foreign
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.doctor.profile import PROFILES, camel, load_profile

ROOT = Path(__file__).parents[2]
ENVOY = yaml.safe_load((ROOT / "envoy" / "envoy.yaml").read_text(encoding="utf-8"))
ENVOYS = ROOT / "tests" / "envoys"
ANYTHING = Wanted("127.0.0.1:9001", IdentityHeaders().never_from_clients())
INGRESS, STATS = ENVOY["static_resources"]["listeners"]
CLUSTERS = ENVOY["static_resources"]["clusters"]
TYPES = "type.googleapis.com/"


def codes(document: Any, *only: str, profile: str = "default") -> dict[str, str]:
    """Return the codes of the findings, each with its severity."""
    found = examine(deepcopy(document), ANYTHING, profile, only=only)
    return {problem.code: str(problem.severity) for problem in found}


def camelled(value: Any) -> Any:
    """Write every field as protobuf's JSON does."""
    if isinstance(value, dict):
        return {key if "." in key else camel(key): camelled(item) for key, item in value.items()}
    return [camelled(item) for item in value] if isinstance(value, list) else value


def weakened(document: Any) -> Any:
    text = json.dumps(document)
    for name in ("failure_mode_allow", "failureModeAllow"):
        text = text.replace(f'"{name}": false', f'"{name}": true')
    return json.loads(text)


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def dump(*sections: Any) -> dict[str, Any]:
    return {"configs": list(sections)}


WHOLE: dict[str, Callable[[], Any]] = {
    "bootstrap": lambda: ENVOY,
    "lower camel case": lambda: camelled(ENVOY),
    "config_dump": lambda: dump({"bootstrap": ENVOY}),
    "config_dump?resource=bootstrap": lambda: dump({"@type": "x.Bootstrap", **ENVOY}),
    "istioctl proxy-config bootstrap": lambda: camelled({"bootstrap": ENVOY}),
    "egctl config": lambda: camelled({"ns": {"pod": dump({"bootstrap": ENVOY})}}),
}


@pytest.mark.parametrize("shape", WHOLE)
def test_every_shape_of_a_whole_configuration_is_examined(shape: str) -> None:
    assert codes(WHOLE[shape]()) == {}
    assert codes(weakened(WHOLE[shape]())) == {"failure-mode-allow": "error"}


PARTS: dict[str, Any] = {
    "istioctl proxy-config listeners": camelled([INGRESS]),
    "an LDS file": {"version_info": "0", "resources": [{"@type": TYPES + "x.Listener", **INGRESS}]},
    "?resource=static_listeners": dump({"listener": INGRESS}),
    "?resource=dynamic_listeners": dump({"name": "i", "active_state": {"listener": INGRESS}}),
    "the listener for Envoy's pages": [INGRESS, STATS],
    "dynamic listeners only": dump(
        {"dynamic_listeners": [{"active_state": {"listener": INGRESS}}]}
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_dump_is_examined_and_what_it_lacks_is_said(part: str) -> None:
    """Not as an error: what is missing may exist."""
    assert codes(PARTS[part]) == {"no-cluster": "warning"}
    assert codes(weakened(PARTS[part]))["failure-mode-allow"] == "error"


@pytest.mark.parametrize(
    "document",
    [CLUSTERS, dump({"static_clusters": [{"cluster": each} for each in CLUSTERS]}),
     dump(*({"cluster": each} for each in CLUSTERS)), {"resources": CLUSTERS}],
)  # fmt: skip
def test_clusters_without_listeners_are_examined(document: Any) -> None:
    found = codes(document)
    assert found.pop("no-listener") == "warning"
    assert set(found.values()) <= {"info"}
    text = json.dumps(document).replace('"127.0.0.1"', '"10.0.0.7"')
    assert codes(json.loads(text))["not-loopback"] == "error"


@pytest.mark.parametrize("document", [[], [1], {}, {"configs": []}, dump({}), {"a": {"b": 1}}, 7])
def test_what_holds_nothing_of_envoy_is_an_error(document: Any) -> None:
    assert "error" in codes(document).values()


@pytest.mark.parametrize("kind", ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"])
@pytest.mark.parametrize("spelling", ["type_url", "typeUrl"])
def test_a_typed_struct_is_the_message_in_it(kind: str, spelling: str) -> None:
    document = deepcopy(ENVOY)
    for each in manager(document["static_resources"]["listeners"][0])["http_filters"]:
        config = dict(each["typed_config"])
        type_url = config.pop("@type")
        each["typed_config"] = {"@type": TYPES + kind, spelling: type_url, "value": config}
    assert codes(document) == {}
    assert codes(weakened(document)) == {"failure-mode-allow": "error"}


def with_ecds() -> dict[str, Any]:
    """Return a dump whose ext_authz filter comes from ECDS."""
    document = deepcopy(ENVOY)
    for each in manager(document["static_resources"]["listeners"][0])["http_filters"]:
        if each["name"] == "envoy.filters.http.ext_authz":
            config = each.pop("typed_config")
            each["config_discovery"] = {
                "config_source": {"ads": {}},
                "type_urls": [config["@type"]],
            }
            extension = {"name": each["name"], "typed_config": config}
    return dump({"bootstrap": document}, {"ecds_filters": [{"ecds_filter": extension}]})


def test_what_a_filter_has_from_ecds_is_examined() -> None:
    assert codes(with_ecds()) == {"dynamic": "warning"}
    assert codes(weakened(with_ecds()))["failure-mode-allow"] == "error"
    without = dump(with_ecds()["configs"][0])
    assert codes(without)["no-authz"] == "error"


@pytest.mark.parametrize("form", [json.dumps, lambda value: json.dumps(value, indent=1), yaml.dump])
def test_findings_in_moved_messages_have_their_own_lines(form: Callable[[Any], str]) -> None:
    text = form(weakened(with_ecds()))
    document = read_foreign(text.encode())
    found = examine(document.value, ANYTHING, pin=document.mark)
    (place,) = [each.place for each in found if each.code == "failure-mode-allow"]
    mark = document.mark(place)
    rest = text.split("\n")[mark.line - 1][mark.column - 1 :].lstrip('"')
    assert rest.startswith("failure_mode_allow")


def test_one_listener_of_several_is_examined() -> None:
    other = {**deepcopy(weakened(INGRESS)), "name": "other"}
    document = deepcopy(ENVOY)
    document["static_resources"]["listeners"].append(other)
    document["static_resources"]["clusters"].append({"name": "unused"})
    assert set(codes(document)) >= {"failure-mode-allow", "not-loopback"}
    assert codes(document, "ingress") == {}
    assert codes(document, "stats") == {}
    assert codes(document, "other") == {"failure-mode-allow": "error"}
    assert codes(document, "ingress", "nowhere") == {"no-listener": "error"}


def test_a_large_dump_is_examined_by_what_one_listener_uses() -> None:
    unused = {"name": "unused", "type": "STATIC", "metadata": {"a": list(range(150_000))}}
    listener = {"name": "unused", "metadata": {"a": list(range(150_000))}}
    bootstrap = {"bootstrap": {**ENVOY, "static_resources": {}}}
    whole = dump(bootstrap, {"static_listeners": [
        {"listener": each} for each in (INGRESS, STATS, listener)]}, {"static_clusters": [
        {"cluster": each} for each in (*CLUSTERS, unused)]})  # fmt: skip
    assert codes(whole) == {"too-large": "error"}
    assert codes(whole, "ingress") == {}


ANSWERS = [{"direct_response": {"status": 404}}, {"redirect": {"https_redirect": True}}]


def answering(action: dict[str, Any], *filters: str) -> dict[str, Any]:
    """Return a listener with one route, and filters of these types."""
    manager_type = (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )
    named = [{"name": "f", "typed_config": {"@type": TYPES + each}} for each in filters]
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    return {
        "name": "answers",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "m", "typed_config": {
            "@type": TYPES + manager_type,
            "http_filters": [*named, {"name": "router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, **action}]}]},
        }}]}],
    }  # fmt: skip


@pytest.mark.parametrize("action", ANSWERS)
def test_a_listener_that_only_answers_needs_no_check(action: dict[str, Any]) -> None:
    document = deepcopy(ENVOY)
    listeners = document["static_resources"]["listeners"]
    listeners.append(answering(action))
    assert codes(document) == {"answers": "info"}
    listeners[-1] = answering(action, "envoy.extensions.filters.http.lua.v3.Lua")
    assert codes(document)["no-authz"] == "error"
    listeners[-1] = answering({**action, "route": {"cluster": CLUSTERS[0]["name"]}})
    assert codes(document)["no-authz"] == "error"


@pytest.mark.parametrize(
    "admin",
    [{"pipe": {"path": "/run/envoy/admin.sock", "mode": 0o600}},
     {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}],
)  # fmt: skip
def test_a_moved_admin_interface_is_one_finding(admin: dict[str, Any]) -> None:
    """Not every field of the listener for its pages."""
    found = [
        problem
        for problem in examine({**deepcopy(ENVOY), "admin": {"address": admin}}, ANYTHING)
        if "leads to" in problem.message or problem.place[:1] != ("admin",)
    ]
    (only,) = found
    assert only.message.startswith("the listener `stats` leads to unix:/tmp/envoy-admin.sock, and")


@contextmanager
def admin_at(path: Path, body: bytes, status: int = 200) -> Iterator[list[str]]:
    """Serve one answer on a unix socket; yield what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_the_admin_interface_is_asked_for_its_dump(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "admin.sock"
    with admin_at(path, json.dumps(dump({"bootstrap": weakened(ENVOY)})).encode()) as asked:
        assert main(["doctor", f"unix:{path}"]) == 1
    out = capsys.readouterr().out
    assert asked == ["/config_dump?include_eds"]
    assert f"unix:{path}:1:" in out
    assert "`failure_mode_allow` is `true`" in out


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [(b"no", 503, "answers 503"), (b"", 200, "empty"), (None, 0, "does not answer")],
)
def test_an_admin_interface_that_does_not_answer_is_an_error(
    body: bytes | None,
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "admin.sock"
    if body is None:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            assert main(["doctor", f"unix:{path}"]) == 1
    else:
        with admin_at(path, body, status):
            assert main(["doctor", f"unix:{path}"]) == 1
    assert message in capsys.readouterr().out


def test_one_file_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 2
    assert main(["doctor", "a.yaml", "--envoy", "b.yaml"]) == 2
    assert "one FILE is required" in capsys.readouterr().err


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
    for field in ("encode_raw_headers", "decoder_header_mutation_rules", "retry_policy"):
        assert f"does not let you choose `{field}`: " in said
    assert "nothing denies a request that the sidecar did not allow" in said
    assert len(found) == len({problem.message for problem in found})


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
    raw = yaml.safe_load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"))
    profile = load_profile()
    for key in (*raw["cannot"], *raw["write"]):
        message, _, field = key.partition(".")
        assert message.startswith("code:") or field in profile[message].rules, key
