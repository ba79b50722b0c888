"""`doctor`: what weakens the boundary in an Envoy configuration, each in a finding of its own."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents import own_yaml
from sidecar.workbench.doctor import MAX_FINDINGS, Wanted, examine
from sidecar.workbench.doctor.expressions import MAX_EXPRESSIONS, MAX_LENGTH, Budget, matching

ROOT = Path(__file__).parents[2]
ENVOY = (ROOT / "envoy" / "envoy.yaml").read_text(encoding="utf-8")
SIDECAR = """\
zervi: {issuers: [{issuer: zervi, jwks_url: "https://zervi.local/keys"}]}
policy: {file: routes.yaml}
"""
STDOUT = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
ANYTHING = Wanted("127.0.0.1:9001", IdentityHeaders().never_from_clients())


class Doctor:
    """The command on files that a test writes."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.envoy = directory / "envoy.yaml"
        self.config = directory / "sidecar.yaml"
        self.config.write_text(SIDECAR)
        (directory / "routes.yaml").write_text("api_gateway: {routes: [{path: /x}]}\n")
        self._capsys = capsys

    def run(self, text: str, *more: str) -> tuple[int, list[dict[str, Any]]]:
        self.envoy.write_text(text, encoding="utf-8")
        arguments = ["doctor", "--envoy", str(self.envoy), "--config", str(self.config)]
        code = main([*arguments, "--format", "json", *more])
        return code, json.loads(self._capsys.readouterr().out)["findings"]

    def codes(self, text: str) -> list[str]:
        return [finding["code"] for finding in self.run(text)[1]]


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


def test_our_own_bootstraps_are_clean(doctor: Doctor) -> None:
    assert doctor.run(ENVOY, "--strict") == (0, [])
    doctor.config.write_text(SIDECAR + "listen: {authz: 'unix:/run/zervi/authz.sock'}\n")
    uds = (ROOT / "envoy" / "envoy-uds.yaml").read_text(encoding="utf-8")
    assert doctor.run(uds, "--strict") == (0, [])


@pytest.mark.parametrize(
    ("before", "after", "code", "severity"),
    [
        ("failure_mode_allow: false", "failure_mode_allow: true", "failure-mode-allow", "error"),
        ("failure_mode_allow: false", "failureModeAllow: true", "failure-mode-allow", "error"),
        ("clear_route_cache: false", "filter_enabled: {}", "partial", "error"),
        ("clear_route_cache: false", "allowed_headers: {}", "hidden-headers", "error"),
        ("clear_route_cache: false", "clear_route_cache: true", "clear-route-cache", "error"),
        ("clear_route_cache: false", "from_a_later_envoy: 1", "unknown-field", "error"),
        ("clear_route_cache: false", "stat_prefix: x", "extra-field", "info"),
        ("clear_route_cache: false", "with_request_body: {max_request_bytes: 1}", "body",
         "warning"),
        ("encode_raw_headers: true", "encode_raw_headers: false", "raw-headers", "warning"),
        ("timeout: 3s #", "timeout: 0.1s #", "timeout", "warning"),
        ("timeout: 3s #", "#", "timeout", "warning"),
        ("timeout: 3s #", "timeout: 60s #", "timeout", "error"),
        ("timeout: 3s #", "timeout: 0s #", "timeout", "error"),
        ("normalize_path: true", "normalize_path: false", "normalise", "error"),
        ("merge_slashes: true", "merge_slashes: false", "slashes", "warning"),
        ("slashes_action: REJECT_REQUEST", "slashes_action: KEEP_UNCHANGED", "escaped-slashes",
         "error"),
        ("slashes_action: REJECT_REQUEST", "slashes_action: UNESCAPE_AND_REDIRECT",
         "escaped-slashes", "info"),
        ("underscores_action: REJECT_REQUEST", "underscores_action: ALLOW", "underscores",
         "warning"),
        ("use_remote_address: true", "use_remote_address: false", "trusts-client", "warning"),
        ("disallow_all: true", "disallow_all: false", "mutation-rules", "warning"),
        ("disallow_is_error: true", "disallow_is_error: false", "mutation-rules", "error"),
        ("|username|", "|", "mutation-rules", "error"),
        ('"authorization|', '"host|authorization|', "mutation-rules", "warning"),
        ('"authorization|', '"((([a-z-]+)+)+)+!|', "mutation-rules", "warning"),
        ("cluster_name: authz}", "cluster_name: other}", "service", "error"),
        ("port_value: 9001", "port_value: 9003", "address", "error"),
        ("mode: 0600", "mode: 0666", "admin", "warning"),
        ("- x-http-method\n", "- x-other\n", "remove-headers", "warning"),
        ("- x-method\n", "- x-user-id\n", "identity-header", "error"),
        ("exact: public}", "exact: preflight}", "second-lock", "error"),
        # Envoy heeds both spellings of a list, and the later one of a message.
        ("value_matchers:\n", "valueMatchers: [{string_match: {exact: x}}]\n" + 40 * " "
         + "value_matchers:\n", "second-lock", "error"),
        ("metadata_matcher:\n", "metadataMatcher: {invert: true}\n" + 34 * " "
         + "metadata_matcher:\n", "second-lock", "error"),
        ("%PATH(NQ)%", "%PATH(WQ)%", "log", "error"),
        ("%PATH(NQ)%", "%REQ(X-TENANT)%", "log", "warning"),
        ("%PATH(NQ)%", "%REQ(", "log", "error"),
        ("exact: http://localhost:3000", 'safe_regex: {regex: ".*"}', "cors", "warning"),
        ("exact: http://localhost:3000", "suffix: .example.com", "cors", "info"),
        ("  listeners:", "  others:", "no-listener", "error"),
    ],
)  # fmt: skip
def test_each_weakness_is_found(
    doctor: Doctor, before: str, after: str, code: str, severity: str
) -> None:
    """One change of our own bootstrap, its finding, at a line, with what to write instead."""
    assert before in ENVOY
    exit_code, found = doctor.run(ENVOY.replace(before, after, 1))
    (first, *_) = [each for each in found if each["code"] == code]
    assert first["severity"] == severity
    assert exit_code == ("error" in {each["severity"] for each in found})
    assert first["line"] > 0
    assert first["message"]


def test_a_finding_names_its_line_and_says_what_to_write(doctor: Doctor) -> None:
    text = ENVOY.replace("failure_mode_allow: false", "failure_mode_allow: true")
    code, (found,) = doctor.run(text)
    assert code == 1
    line, column = found["line"], found["column"]
    assert text.splitlines()[line - 1][column - 1 :].startswith("failure_mode_allow: true")
    assert found["message"] == (
        "`failure_mode_allow` is `true`: requests pass while the sidecar does not answer"
    )
    assert found["help"] == "failure_mode_allow: false"


def test_the_second_lock_follows_cors_preflight(doctor: Doctor) -> None:
    """`preflight` passes the lock only where the sidecar forwards preflights, and there it must."""
    forwarding = ANYTHING._replace(forwards_preflights=True)
    assert [p.code for p in examine(PARSED, forwarding)] == ["second-lock"]
    line = "- string_match: {exact: public}"
    text = ENVOY.replace(line, f"{line}\n{' ' * 42}{line.replace('public', 'preflight')}")
    assert [p.code for p in examine(yaml.safe_load(text), ANYTHING)] == ["second-lock"]
    assert list(examine(yaml.safe_load(text), forwarding)) == []


def test_no_route_may_lead_to_the_sidecars_own_addresses(doctor: Doctor) -> None:
    """An upstream on the port of `listen.ops` or `listen.page` would show clients its pages."""
    doctor.config.write_text(SIDECAR + "listen: {page: '127.0.0.1:9004'}\n")
    for port in (9002, 9004):
        code, found = doctor.run(ENVOY.replace("port_value: 8601", f"port_value: {port}"))
        assert code == 1
        assert "clients reach the sidecar itself" in found[0]["message"]


@pytest.mark.parametrize("port", ["10000", "9901"])
def test_no_route_may_lead_to_envoys_own_listeners(doctor: Doctor, port: str) -> None:
    """A request would go round until Envoy has no more connections, or show clients its pages."""
    code, found = doctor.run(ENVOY.replace("port_value: 8601", f"port_value: {port}"))
    assert code == 1
    assert "clients reach a listener of this Envoy" in found[0]["message"]


def test_a_policy_with_hosts_requires_that_more_headers_are_removed(doctor: Doctor) -> None:
    table = doctor.config.with_name("routes.yaml")
    table.write_text("api_gateway: {routes: [{path: /x, hosts: [a.example]}]}\n")
    code, (found,) = doctor.run(ENVOY)
    assert (code, found["code"]) == (0, "remove-headers")
    assert "forwarded, x-forwarded-host, x-forwarded-prefix, x-forwarded-server" in found["message"]


def test_every_header_that_the_sidecar_rewrites_is_allowed(doctor: Doctor) -> None:
    """A token in a cookie that is not forwarded: the sidecar rewrites the cookie header."""
    doctor.config.write_text(
        SIDECAR.replace("routes.yaml}", "routes.yaml, forward_authorization: false}").replace(
            "]}\n", "], token_sources: [{cookie: session}]}\n"
        )
    )
    assert doctor.codes(ENVOY) == ["mutation-rules"]
    assert doctor.codes(ENVOY.replace('"authorization|', '"cookie|authorization|')) == []


def test_warnings_fail_a_strict_examination(doctor: Doctor) -> None:
    text = ENVOY.replace("merge_slashes: true", "")
    assert doctor.run(text)[0] == 0
    assert doctor.run(text, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("listens", "asks", "fits"),
    [
        ("0.0.0.0:9001", "{address: 127.0.0.1, port_value: 9001}", True),
        ("'[::]:9001'", "{address: 127.0.0.1, port_value: 9001}", True),
        ("localhost:9001", "{address: 127.0.0.1, port_value: 9001}", True),
        ("127.0.0.1:9001", "{address: 127.0.0.2, port_value: 9001}", False),
        ("127.0.0.1:9001", "{address: 127.0.0.1}", False),
        ("'[::1]:9001'", "{address: '::1', port_value: 9001}", True),
        ("'unix:/run/a'", "{address: 127.0.0.1, port_value: 9001}", False),
    ],
)
def test_the_address_must_be_that_of_the_sidecar(
    doctor: Doctor, listens: str, asks: str, fits: bool
) -> None:
    doctor.config.write_text(SIDECAR + f"listen: {{authz: {listens}, ops: '127.0.0.1:9009'}}\n")
    text = ENVOY.replace("{address: 127.0.0.1, port_value: 9001}", asks)
    assert ("address" not in doctor.codes(text)) is fits


def test_a_file_that_is_not_a_configuration_is_an_error(doctor: Doctor) -> None:
    for text in ("", "[", "a: b", "{}", "- 1"):
        assert doctor.run(text)[0] == 1


WORDS = [
    "static_resources", "listeners", "clusters", "filter_chains", "filters", "typed_config",
    "http_filters", "route_config", "virtual_hosts", "routes", "grpc_service", "envoy_grpc",
    "load_assignment", "endpoints", "lb_endpoints", "name", "configs", "rds",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in items:
        found.append((*place, key))
        if isinstance(each, dict | list):
            found += _places(each, (*place, key))
    return found


PARSED = own_yaml.read(ROOT / "envoy" / "envoy.yaml")


@given(st.sampled_from(_places(PARSED)), JSON)
def test_no_document_breaks_it(place: tuple[Any, ...], value: Any) -> None:
    """Our bootstrap with anything put anywhere in it."""
    document = deepcopy(PARSED)
    into = document
    for key in place[:-1]:
        into = into[key]
    into[place[-1]] = value
    for problem in examine(document, ANYTHING):
        assert problem.message


def test_aliases_that_amount_to_a_huge_document_are_refused(doctor: Doctor) -> None:
    """Nine levels of nine aliases: a file of some lines is 400 million values."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    code, (found, *_) = doctor.run("\n".join(lines))
    assert (code, found["code"]) == (1, "too-large")


@pytest.mark.parametrize("text", ["a: &a [*a, *a]", "a: &a {b: {c: *a}, d: *a}"])
def test_a_document_that_contains_itself_is_refused(doctor: Doctor, text: str) -> None:
    assert [found["code"] for found in doctor.run(text)[1]] == ["too-large"]


def test_no_more_findings_are_made_than_anybody_reads() -> None:
    document = {"static_resources": {"listeners": [{f"x{n}": 1} for n in range(5000)]}}
    found = list(examine(document, ANYTHING))
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1].code == "too-many"


def test_a_hostile_expression_ends_in_bounded_time() -> None:
    """Python would try this one for longer than anybody waits; after two of them none is tried."""
    budget = Budget()
    assert matching("x*", ["xx", "y"], budget) == frozenset({"xx"})
    assert matching("x" * (MAX_LENGTH + 1), ["x"], budget) is None
    assert budget.left == MAX_EXPRESSIONS - 1
    assert matching("(x|xx|[x-z])*!", ["x" * 60], budget) is None
    assert matching("(", ["x"], budget) is None
    assert matching("x*", ["x"], budget) is None


def test_a_hostile_file_makes_work_that_grows_with_its_length_only() -> None:
    """Formats that never close, texts of spaces, long texts under many aliases."""
    for text in ("%A(" * 300_000 + ")", " " * 1_000_000):
        value = {"json_format": {"a": text}, "text_format": text}
        log = {"typed_config": {"@type": "x/" + STDOUT, "log_format": value}}
        retry = {"retry_on": text}
        listener = {"name": text, "access_log": [log] * 3, "filter_chains": [retry] * 3}
        assert list(examine({"static_resources": {"listeners": [listener]}}, ANYTHING))
    many = {"static_resources": {"listeners": [{"name": "x" * 100_000}] * 1000}}
    assert [problem.code for problem in examine(many, ANYTHING)] == ["too-large"]


def test_no_timeout_is_named_as_what_it_is(doctor: Doctor) -> None:
    _, (found,) = doctor.run(ENVOY.replace("timeout: 3s #", "timeout: 0s #"))
    assert "is `0s`, which disables the limit" in found["message"]


def test_yaml_is_read_as_envoy_reads_it(doctor: Doctor) -> None:
    """Words for truth, duplicate keys, `!ignore`, a second document: a real Envoy accepts each."""
    text = ENVOY.replace("normalize_path: true", "normalize_path: Yes", 1)
    assert doctor.codes(f"!ignore anchors: [&none {{}}]\n{text}\n---\n[") == ["foreign"]
    assert doctor.codes(ENVOY.replace("merge_slashes: true", "merge_slashes: NO")) == ["slashes"]
    line = "clear_route_cache: false"
    twice = ENVOY.replace(line, "failure_mode_allow: true\n" + " " * 22 + line)
    assert sorted(doctor.codes(twice)) == ["failure-mode-allow", "foreign"]


def test_encoded_slashes_must_be_kept_where_the_policy_says_so_and_nowhere_else(
    doctor: Doctor,
) -> None:
    kept = ENVOY.replace("slashes_action: REJECT_REQUEST", "slashes_action: KEEP_UNCHANGED")
    assert doctor.codes(kept) == ["escaped-slashes"]
    doctor.config.write_text(
        SIDECAR.replace("routes.yaml}", "routes.yaml, encoded: {slash: segment}}")
    )
    assert doctor.run(kept, "--strict") == (0, [])
    redirecting = kept.replace("KEEP_UNCHANGED", "UNESCAPE_AND_REDIRECT")
    absent = kept.replace("path_with_escaped_slashes_action: KEEP_UNCHANGED", "")
    for other in (ENVOY, redirecting, absent):
        code, findings = doctor.run(other)
        assert (code, [finding["code"] for finding in findings]) == (1, ["escaped-slashes"])


TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": "type.googleapis.com/"
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/ca.pem"}}},
    },
}


def test_callers_need_a_listener_that_validates_each_clients_certificate(doctor: Doctor) -> None:
    routes = doctor.config.with_name("routes.yaml")
    document = yaml.safe_load(ENVOY)
    (listener, *_) = document["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]

    def errors(change: dict[str, Any] | None) -> list[str]:
        chain.pop("transport_socket", None)
        if change is not None:
            chain["transport_socket"] = deepcopy(TLS)
            chain["transport_socket"]["typed_config"].update(change)
        _, findings = doctor.run(yaml.safe_dump(document))
        return [each["code"] for each in findings if each["severity"] == "error"]

    assert errors(None) == []
    routes.write_text('api_gateway: {routes: [{path: /x, callers: ["spiffe://d/a"]}]}\n')
    assert errors({}) == []
    assert errors(None) == ["callers"]
    assert errors({"require_client_certificate": False}) == ["callers"]
    assert errors({"common_tls_context": {}}) == ["callers"]
    not_checked = {
        "trusted_ca": {"filename": "/ca.pem"},
        "trust_chain_verification": "ACCEPT_UNTRUSTED",
    }
    assert errors({"common_tls_context": {"validation_context": not_checked}}) == ["callers"]
    by_sds = {"validation_context_sds_secret_config": {"name": "ca"}}
    assert errors({"common_tls_context": by_sds}) == []
