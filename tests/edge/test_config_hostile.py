"""Loading any files ends with a configuration or with findings."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.config import ConfigError, Finding, Severity
from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, ROUTES, SECRET, Files

ONE_DIRECTORY = settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


NOTHING = Finding("", Severity.ERROR, "", 0, 0, "refused without a finding")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.environ = {**ENVIRON, "A": "a", "EMPTY": ""}
    return files


def ends_well(files: Files, sidecar: bytes, routes: bytes) -> None:
    files.config.write_bytes(sidecar)
    (files.directory / "routes.yaml").write_bytes(routes)
    try:
        findings = files.load().warnings
    except ConfigError as error:
        findings = error.findings or (NOTHING,)
    for finding in findings:
        line = str(finding)
        assert line.isprintable()
        assert len(line) < 1500
        assert SECRET not in line
        assert finding.line >= 1
        assert finding.column >= 1


@ONE_DIRECTORY
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"? ?\n- :")
@example(b"!<!> &a *a")
@example(b"{[[{?,:")
@example(b"zervi: {jwks: {snapshot_file: " + b"x" * 300 + b"/y}}")
@example("jwks: {snapshot_file: '\u202e/x'}".encode())
@example(b"drain: 0." + b"1" * 9999)
def test_bytes_are_an_error_at_worst(files: Files, data: bytes) -> None:
    ends_well(files, data, ROUTES.encode())
    ends_well(files, (ISSUERS + POLICY).encode(), data)


WORDS = st.sampled_from(
    [
        "api_gateway",
        "routes",
        "path",
        "/x",
        "/{a}/*",
        "name",
        "methods",
        "GET",
        "hosts",
        "permissions",
        "owner",
        "a",
        "issuers",
        "zervi",
        "listen",
        "authz",
        "127.0.0.1:9001",
        "tls",
        "cert_file",
        "issuer",
        "jwks_url",
        "http://127.0.0.1/",
        "http://[",
        "secret_env",
        "secret_file",
        "ZERVI_JWT_SECRET",
        "EMPTY",
        "A",
        "algorithms",
        "none",
        "claims",
        "subject",
        "token_sources",
        "header",
        "cookie",
        "looma",
        "url",
        "service",
        "${A}",
        "${",
        "port",
        "upstream",
        "probe",
        "interval",
        "1s",
        "token",
        "paths",
        "register",
        "jwks",
        "refresh",
        "policy",
        "file",
        "routes.yaml",
        ".",
        "routes.yaml/x",
        "drain",
        "log",
        "level",
        "*",
        "&",
        "!",
        "|",
        ">",
        "-",
        ":",
        "?",
        "[",
        "]",
        "{",
        "}",
        ",",
        "#",
        "'",
        '"',
        "---",
    ]
)
LINES = st.lists(st.tuples(st.integers(0, 4), st.lists(WORDS, max_size=6)), max_size=12)


@ONE_DIRECTORY
@given(LINES)
def test_yaml_of_known_words_is_an_error_at_worst(
    files: Files, lines: list[tuple[int, list[str]]]
) -> None:
    text = "\n".join("  " * indent + " ".join(words) for indent, words in lines).encode()
    ends_well(files, text, ROUTES.encode())
    ends_well(files, (ISSUERS + POLICY).encode(), text)


KEYS = st.sampled_from(
    [
        "listen",
        "authz",
        "transport",
        "health",
        "ops",
        "socket_mode",
        "tls",
        "cert_file",
        "key_file",
        "zervi",
        "issuers",
        "issuer",
        "jwks_url",
        "jwks_file",
        "secret_env",
        "secret_file",
        "audiences",
        "algorithms",
        "ca_file",
        "allow_missing_issuer",
        "claims",
        "subject",
        "role_permissions",
        "unsafe_allow_weak_secret",
        "leeway",
        "token_sources",
        "header",
        "scheme",
        "cookie",
        "query",
        "jwks",
        "refresh",
        "timeout",
        "max_stale",
        "unknown_key_wait",
        "snapshot_file",
        "token_cache",
        "policy",
        "file",
        "allow_paths",
        "identity_headers",
        "remove_headers",
        "looma",
        "kind",
        "url",
        "service",
        "name",
        "id",
        "address",
        "port",
        "upstream",
        "probe",
        "interval",
        "token",
        "env",
        "login_url",
        "service_id",
        "paths",
        "register",
        "heartbeat",
        "drain",
        "log",
        "level",
        "api_gateway",
        "routes",
        "path",
        "methods",
        "hosts",
        "permissions",
        "owner",
        "owner_unless",
        "principals",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    WORDS,
    st.text(max_size=5),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@ONE_DIRECTORY
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_values_of_wrong_types_under_known_keys_are_an_error_at_worst(
    files: Files, tree: dict[str, object]
) -> None:
    text = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ends_well(files, text, ROUTES.encode())
    whole = {"zervi": {"issuers": [tree], **tree}, "policy": {"file": "routes.yaml", **tree}}
    whole |= {"listen": tree, "looma": {"service": tree, "token": tree, **tree}}
    whole["upstream"] = {"probe": tree, **tree}
    routes = json.dumps({"api_gateway": {"routes": [tree, tree]}}, ensure_ascii=False)
    ends_well(
        files,
        json.dumps(whole, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        routes.encode("utf-8", "surrogatepass"),
    )


def test_the_name_of_a_file_is_shown_escaped() -> None:
    """A test case names files, and may come from anybody."""
    finding = Finding("file", Severity.ERROR, "a\x1b[2J\u202e.yaml", 1, 2, "is empty")
    assert str(finding) == "a\\u001b[2J\\u202e.yaml:1:2: error: is empty"
