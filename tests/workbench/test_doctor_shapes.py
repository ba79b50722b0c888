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
from sidecar.documents.foreign import read_foreign
from sidecar.workbench.doctor import examine
from sidecar.workbench.doctor.profile import camel
from tests.workbench.doctoring import (
    ANYTHING,
    CLUSTERS,
    ENVOY,
    INGRESS,
    STATS,
    TYPES,
    answering,
    codes,
)


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
