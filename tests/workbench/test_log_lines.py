"""Logs as people have them: from kubectl, Docker, CRI and gzip, with other programs' names."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.workbench.log_fields import FieldsError, parse_fields
from sidecar.workbench.log_lines import MAX_LINE, lines_of
from sidecar.workbench.logs import Logged, UnusableLineError, find, read_line

ENTRY = {
    "decision_id": "a-1", "method": "GET", "host": "x", "path": "/plain", "reason": "ok",
    "subject": "7", "principal_kind": "user", "issuer": "zervi", "roles": [], "permissions": [],
}  # fmt: skip
LINE = json.dumps(ENTRY)
TIME = "2026-11-28T16:00:00.123456789Z"
POLICY = "api_gateway: {routes: [{path: /plain}, {path: /open, auth_required: false}]}"


def lines(text: str | bytes) -> list[bytes]:
    return list(lines_of(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def docker(text: str, stream: str = "stdout") -> str:
    return json.dumps({"log": text, "stream": stream, "time": TIME}, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        f"{TIME} ",  # kubectl logs --timestamps
        "[pod/orders-5d/sidecar] ",  # kubectl logs --prefix
        f"[pod/orders-5d/sidecar] {TIME} ",
        f"{TIME} stdout F ",  # CRI
        "2026-11-28T16:00:00.123456789+08:00 stdout F:tag ",
        "orders-5d sidecar ",  # stern
        "sidecar-1  | ",  # docker compose
        "Nov 28 16:00:00 host zervi-sidecar[7]: ",  # journalctl
        "\x1b[36msidecar | \x1b[0m",
    ],
)
def test_what_is_before_the_json_is_left_out(prefix: str) -> None:
    (line,) = lines(f"{prefix}{LINE}\n")
    assert read_line(line).decision_id == "a-1"


@pytest.mark.parametrize(
    "text",
    [
        f"{TIME} stdout P {LINE[:20]}\n{TIME} stderr F other\n{TIME} stdout F {LINE[20:]}\n",
        docker(LINE[:20]) + docker("other\n", "stderr") + docker(LINE[20:]) + docker("\n"),
    ],
)
def test_what_a_runtime_wrote_in_parts_is_one_line(text: str) -> None:
    other, line = lines(text)
    assert other.strip() == b"other"
    assert read_line(line).decision_id == "a-1"


def test_compressed_logs_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, policy = tmp_path / "decisions.log.gz", tmp_path / "routes.yaml"
    policy.write_text(POLICY)
    log.write_bytes(gzip.compress(f"{TIME} stdout F {LINE}\n".encode()))
    assert main(["replay", str(log), "--policy", str(policy)]) == 0
    assert "replay: 1 request; " in capsys.readouterr().out
    log.write_bytes(log.read_bytes()[:-20])
    assert main(["replay", str(log), "--policy", str(policy)]) == 2
    assert "the compressed data is damaged or incomplete" in capsys.readouterr().err


@given(st.binary(max_size=200) | st.text().map(lambda text: docker(text).encode()))
def test_any_bytes_are_lines(data: bytes) -> None:
    """Whatever a log holds, nothing is raised, except that its compression is damaged."""
    try:
        found = lines(data)
    except OSError:
        assert data.startswith(b"\x1f\x8b")
    else:
        assert sum(map(len, found)) <= 4 * len(data)


def test_a_line_that_never_ends_is_read_in_pieces() -> None:
    endless = f"{TIME} stdout P {'x' * 1000}\n" * 1000
    assert max(map(len, lines(endless))) <= MAX_LINE + 2000
    assert max(map(len, lines("x" * (3 * MAX_LINE)))) == MAX_LINE + 1


@pytest.mark.parametrize(
    ("fields", "entry", "expected"),
    [
        (
            "method=request_method,path=request_uri,host=http_host,status=status",
            {"request_method": "GET", "request_uri": "/x?y=1", "http_host": "h", "status": 200},
            ("GET", "h", b"/x?y=1", "ok"),
        ),
        (
            "request=request,status=status",
            {"request": "POST /x HTTP/1.1", "status": "403"},
            ("POST", "", b"/x", "permission_denied"),
        ),
        (
            "path=req.url,method=req.method,status=res.code",
            {"req": {"url": "/x", "method": "PUT"}, "res": {"code": 401}},
            ("PUT", "", b"/x", "token_missing"),
        ),
        ("path=a.b,reason=r", {"a.b": "/x", "r": "ok", "method": "GET"}, ("GET", "", b"/x", "ok")),
    ],
)
def test_a_field_map_reads_other_logs(
    fields: str, entry: dict[str, Any], expected: tuple[object, ...]
) -> None:
    logged = read_line(json.dumps(entry).encode(), parse_fields([fields]))
    request = logged.request
    assert (request.method, request.host, request.target, logged.reason) == expected


def test_a_field_map_names_the_caller() -> None:
    fields = parse_fields(["path=path", "reason=reason", "subject=user.id,roles=user.roles"])
    entry = {**ENTRY, "user": {"id": 8, "roles": "admin, staff"}}
    principal = read_line(json.dumps(entry).encode(), fields).principal
    assert principal is not None
    assert (principal.subject, principal.roles) == ("8", ("admin", "staff"))


@pytest.mark.parametrize("status", [400, 405, 429, 500, 503, "x", None, 0])
def test_a_status_that_does_not_show_whether_a_request_was_allowed_is_no_reason(
    status: object,
) -> None:
    entry = {"method": "GET", "path": "/x", "status": status}
    with pytest.raises(UnusableLineError, match="reason is missing"):
        read_line(json.dumps(entry).encode(), parse_fields(["path=path,status=status"]))


@pytest.mark.parametrize("fields", ["x=y,path=p,status=s", "path", "path=", "path=p", "status=s"])
def test_a_wrong_field_map_is_refused(fields: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FieldsError):
        parse_fields([fields])
    assert main(["replay", "x.log", "--policy", "routes.yaml", "--fields", fields]) == 2
    assert "--fields" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/orders/...", "/a/.../b", "/[redacted]"])
def test_a_cut_path_is_counted_as_not_judged(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, policy = tmp_path / "decisions.log", tmp_path / "routes.yaml"
    policy.write_text(POLICY)
    log.write_text(f"{LINE}\n{json.dumps({**ENTRY, 'path': path})}\n")
    command = ["replay", str(log), "--policy", str(policy), "--max-unknown"]
    assert main([*command, "50"]) == 0
    out = capsys.readouterr().out
    assert "1 request cannot be judged: the log contains the path cut (`...`) or masked" in out
    assert "replay: 2 requests; " in out
    assert out.endswith("1 unknown\n")
    assert main([*command, "49"]) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"x\nrequest a-1 failed {LINE[:30]}\n", "found at line 2, but this line is not JSON"),
        (json.dumps({**ENTRY, "path": "/x..."}), "found at line 1, but the path is cut or masked"),
        (json.dumps({**ENTRY, "reason": "?"}), "line 1, but method, path or reason is missing"),
        (json.dumps({**ENTRY, "decision_id": "b"}), "no usable log line has the decision id a-1"),
        ("xa-1 a-12\n", "no usable log line has the decision id a-1"),
        ("", "no usable log line has the decision id a-1"),
    ],
)
def test_why_a_decision_cannot_be_explained_is_said(text: str, why: str) -> None:
    found = find(lines(text), "a-1")
    assert isinstance(found, str)
    assert why in found
    assert isinstance(find(lines(f"{text}\n{LINE}\n{text}"), "a-1"), Logged)


def test_half_a_surrogate_pair_in_a_line_does_not_hide_it() -> None:
    text = json.dumps({**ENTRY, "user_agent": "\ud83d", "subject": "a\ud800"})
    logged = read_line(text.encode())
    assert logged.principal is not None
    assert logged.principal.subject == "a?"
