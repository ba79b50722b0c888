"""Warnings about settings that are valid but unsafe."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config import read_files
from sidecar.review import suggestions
from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, ROUTES, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        ("0.0.0.0:9001", ["open-listener"]),
        ("'[::]:9001'", ["open-listener"]),
        ("sidecar.local:9001", ["open-listener"]),
        ("127.0.0.7:9001", []),
        ("'[::1]:9001'", []),
        ("localhost:9001", []),
        ("unix:/run/authz.sock", []),
    ],
)
def test_an_open_listener_without_tls_has_a_warning(
    files: Files, address: str, codes: list[str]
) -> None:
    files.write(sidecar=f"listen: {{authz: {address}}}\n" + ISSUERS + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "{tenantid}"),
        ("${ISSUER}", "${ISSUER}"),
        ("https://${HOST}/realms/${REALM}", "${HOST}"),
        ("$ISSUER", "$ISSUER"),
        ("$(ISSUER)", "$(ISSUER)"),
        ("{{ .Values.issuer }}", "{{ .Values.issuer }}"),
        ("https://{{domain}}/", "{{domain}}"),
        ("https://<tenant>.eu.auth0.com/", "<tenant>"),
        ("https://%DOMAIN%/", "%DOMAIN%"),
        ("https://YOUR_DOMAIN/", "YOUR_DOMAIN"),
        ("https://{yourOktaDomain}/oauth2/default", "{yourOktaDomain}"),
        ("https://id.example/realms/shop", None),
        ("https://id.example/a%20b/your-realm", None),
        ("auth0|a$b.example", "$b"),
        ("jobfirst-auth", None),
    ],
)
def test_a_placeholder_in_an_issuer_has_a_warning(
    files: Files, text: str, placeholder: str | None
) -> None:
    """Also in an audience; an issuer's name is compared as it is written."""
    for issuer, audience in ((text, "a"), ("a", text)):
        keys = f"issuer: '{issuer}', audiences: ['x', '{audience}'], jwks_url: 'https://a.b/keys'"
        files.write(sidecar=f"zervi: {{issuers: [{{{keys}}}]}}\n" + POLICY)
        found = files.load().warnings
        assert [warning.code for warning in found] == (["placeholder"] if placeholder else [])
        assert all(str(placeholder) in warning.message for warning in found)


@pytest.mark.parametrize(
    ("url", "codes"),
    [
        ("http://zervi.local/keys", ["plain-http"]),
        ("HTTP://10.0.0.1/keys", ["plain-http"]),
        ("https://zervi.local/keys", []),
        ("http://127.0.0.1:8207/keys", []),
        ("http://[::1]:8207/keys", []),
    ],
)
def test_keys_over_plain_http_have_a_warning(files: Files, url: str, codes: list[str]) -> None:
    files.write(sidecar=f"zervi: {{issuers: [{{issuer: a, jwks_url: '{url}'}}]}}\n" + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


def test_a_service_token_over_plain_http_has_a_warning(files: Files) -> None:
    files.environ = {**ENVIRON, "TOKEN": "a-token"}
    files.write(
        sidecar=ISSUERS
        + POLICY
        + """
looma:
  url: http://looma.local
  service: {name: a, address: a, port: 1}
  token: {env: TOKEN}
upstream: {probe: {url: "http://127.0.0.1/"}}
"""
    )
    (line,) = files.lines()
    assert line == (
        "sidecar.yaml:5:3: warning: the service token is sent over plain HTTP: "
        "a man in the middle can steal it (use https)"
    )


@pytest.mark.parametrize(
    ("looma", "allocations", "places"),
    [
        ("kind: consul, url: 'http://consul.local:8500'", "url: 'https://looma.local'", ["4:"]),
        ("kind: etcd, url: 'https://etcd.local:2379'", "url: 'http://looma.local'", ["8:"]),
        ("kind: etcd, url: 'HTTP://10.0.0.9'", "url: 'http://10.0.0.9', ", ["4:", "8:"]),
        ("kind: consul, url: 'http://127.0.0.1:8500'", "url: 'http://[::1]:1'", []),
    ],
)
def test_what_chooses_a_gateways_instances_over_plain_http_has_a_warning(
    files: Files, looma: str, allocations: str, places: list[str]
) -> None:
    files.write(
        sidecar=ISSUERS
        + POLICY
        + f"""
looma: {{{looma}, service: {{name: a, address: a, port: 1}}}}
gateway:
  envoy_dir: /run/envoy
  allow_networks: [10.0.0.0/8]
  allocations: {{{allocations}}}
  tls: {{san: "{{service}}.a"}}
""",
        routes=ROUTES.replace("}]", ", target: a}]"),
    )
    lines = files.lines()
    assert [line.split(": ")[0].removeprefix("sidecar.yaml:")[:2] for line in lines] == places
    text = "are read over plain HTTP: a man in the middle can choose who gets users' tokens"
    assert all(line.endswith(f"{text} (use https)") for line in lines)


@pytest.mark.parametrize(
    ("networks", "more", "codes"),
    [
        ("[127.0.0.0/8, '::1/128']", "", []),
        ("[127.0.0.0/8, 10.0.0.0/8]", "", ["plain-http"]),
        ("[127.0.0.0/8]", "target_networks: {a: [10.0.0.0/8]}, ", ["plain-http"]),
        ("['::1/128', 0.0.0.0/0]", "", ["open-networks", "plain-http"]),
        ("[127.0.0.0/8]", "target_networks: {a: ['::/0']}, ", ["open-networks", "plain-http"]),
    ],
)
def test_instances_in_a_network_that_are_reached_without_tls_have_a_warning(
    files: Files, networks: str, more: str, codes: list[str]
) -> None:
    gateway = f"gateway: {{envoy_dir: /e, allow_networks: {networks}, {more}"
    gateway += "unsafe_plaintext_targets: true}\n"
    looma = "looma: {url: 'https://looma.local', service: {name: a, address: a, port: 1}}\n"
    routes = ROUTES.replace("}]", ", target: a}]")
    files.write(sidecar=ISSUERS + POLICY + looma + gateway, routes=routes)
    assert [warning.code for warning in files.load().warnings] == codes


def test_a_gateway_whose_listing_has_no_token_has_a_warning_too(files: Files) -> None:
    gateway = "gateway: {envoy_dir: /e, allow_networks: [10.0.0.0/8], tls: {san: '{service}.a'}}\n"
    looma = "looma: {url: 'http://looma.local', service: {name: a, address: a, port: 1}}\n"
    routes = ROUTES.replace("}]", ", target: a}]")
    files.write(sidecar=ISSUERS + POLICY + looma + gateway, routes=routes)
    assert [warning.code for warning in files.load().warnings] == ["plain-http"]


def test_the_gateway_of_its_page_has_no_warning(files: Files) -> None:
    """A gateway has no upstream of its own that it could probe."""
    page = (Path(__file__).parents[2] / "docs/gateway.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n# sidecar.yaml.*\n(looma:[^`]+)```", page)
    files.environ = {**ENVIRON, "POD_IP": "10.0.0.1"}
    files.write(sidecar=ISSUERS + POLICY + example, routes=ROUTES.replace("}]", ", target: a}]"))
    assert files.lines() == []


def test_a_token_in_the_query_has_a_warning(files: Files) -> None:
    files.write(
        sidecar=ISSUERS.replace("issuers:", "token_sources: [{query: token}], issuers:") + POLICY
    )
    assert [warning.code for warning in files.load().warnings] == ["query-token"]


def routes(*entries: str) -> str:
    return "api_gateway:\n  routes:\n" + "".join(f"    - {{{entry}}}\n" for entry in entries)


OVER = "public-over-protected"
ELSEWHERE = "public-elsewhere"


@pytest.mark.parametrize(
    ("entries", "codes"),
    [
        (["path: /a/*, auth_required: false", "path: /a/b"], [(3, OVER)]),
        (["path: /a/b", "path: /*, auth_required: false", "path: /"], [(4, OVER)]),
        (["path: /a/*, auth_required: false", "path: '/a/{b}/*'"], [(3, OVER)]),
        (["path: '/{x}/b/*', auth_required: false", "path: /a/b/c"], [(3, OVER)]),
        (["path: /a/*, auth_required: false", "path: /a", "path: /b/*"], []),
        (["path: /a/*", "path: /a/b, auth_required: false"], []),
        (["path: '/a/{b}', auth_required: false", "path: /a/me"], []),
        (["path: /a/*, methods: [GET], auth_required: false", "path: /a/b, methods: [PUT]"], []),
        (["path: /a, methods: [GET], auth_required: false", "path: /a, methods: [PUT]"], []),
        (["path: /a, hosts: [a]", "path: /a, hosts: [b], auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /a", "path: /a, hosts: [b], auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /a/b, hosts: [a]", "path: /*, auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /Admin", "path: /admin, auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /admin/x", "path: /Admin/*, auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /straße", "path: /STRASSE, auth_required: false"], [(3, ELSEWHERE)]),
        (["path: /Admin", "path: /admin"], []),
    ],
)  # fmt: skip
def test_a_policy_that_is_wider_than_it_looks_has_a_warning(
    files: Files, entries: list[str], codes: list[tuple[int, str]]
) -> None:
    files.write(routes=routes(*entries))
    told = [(warning.line, warning.code) for warning in files.load().warnings]
    assert told == codes


def test_case_makes_no_difference_if_the_policy_ignores_it(files: Files) -> None:
    files.write(
        sidecar=ISSUERS + "policy: {file: routes.yaml, ignore_case: true}\n",
        routes=routes("path: /A/b", "path: /a/*, auth_required: false"),
    )
    assert [warning.code for warning in files.load().warnings] == [OVER]


def test_a_warning_names_the_other_route_by_its_line(files: Files) -> None:
    files.write(
        routes=routes("path: /x/*, auth_required: false", "path: /x/a", "path: /x/b", "path: /X")
    )
    (line,) = files.lines()
    assert line == (
        "routes.yaml:3:8: warning: this public wildcard covers the protected `/x/a` and 1 more "
        "(paths that are added there later are public; list the public paths instead; see line 4)"
    )


@pytest.mark.parametrize(
    ("listen", "codes"),
    [
        ("authz: unix:/run/zervi/authz.sock, admin: unix:/run/zervi/admin.sock", ["shared-admin"]),
        ("health: unix:/run/z/h.sock, admin: unix:/run/z/admin.sock", ["shared-admin"]),
        ("authz: unix:/run/z/a.sock, admin: unix:/run/z/../z/admin.sock", ["shared-admin"]),
        ("authz: unix:/run/zervi/authz.sock, admin: unix:/run/zervi-admin/admin.sock", []),
        ("admin: unix:/run/zervi-admin/admin.sock", []),
    ],
)
def test_an_admin_socket_beside_one_that_others_reach_has_a_warning(
    files: Files, listen: str, codes: list[str]
) -> None:
    files.write(sidecar=f"listen: {{{listen}}}\n" + ISSUERS + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


@pytest.mark.parametrize(
    ("mode", "codes"),
    [
        (0o700, []),
        (0o755, []),
        (0o775, ["open-admin"]),
        (0o777, ["open-admin"]),
        (0o1777, ["open-admin"]),
    ],
)
def test_a_directory_that_others_can_write_to_has_a_warning(
    files: Files, mode: int, codes: list[str]
) -> None:
    """They could replace the admin socket with their own."""
    directory = files.directory / "admin"
    directory.mkdir()
    directory.chmod(mode)
    listen = f"listen: {{admin: 'unix:{directory}/admin.sock'}}\n"
    files.write(sidecar=listen + ISSUERS + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


def test_a_volume_that_is_mounted_for_the_socket_has_no_warning(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emptyDir of Kubernetes is writable by everyone, and mounted by the sidecar only."""
    directory = files.directory / "admin"
    directory.mkdir()
    directory.chmod(0o2777)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == directory)
    listen = f"listen: {{admin: 'unix:{directory}/admin.sock'}}\n"
    files.write(sidecar=listen + ISSUERS + POLICY)
    assert files.load().warnings == ()


@pytest.mark.parametrize(
    ("listen", "codes"), [("", ["no-admin"]), ("listen: {admin: unix:/run/a/b.sock}\n", [])]
)
def test_a_candidate_that_nothing_can_promote_has_a_warning(
    files: Files, listen: str, codes: list[str]
) -> None:
    files.write(next=ROUTES)
    shadow = "policy: {file: routes.yaml, shadow: {file: next.yaml, promotable: true}}\n"
    files.write(sidecar=listen + ISSUERS + shadow)
    warnings = suggestions.findings(read_files(files.config, files.environ))
    assert [warning.code for warning in warnings] == codes
    assert all("listen.admin" in str(warning) for warning in warnings)


def test_a_start_imports_nothing_of_a_review_but_lint() -> None:
    code = "import sys, sidecar.app.run; print(*(m for m in sys.modules if '.review.' in m))"
    imported = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert sorted(imported.stdout.split()) == [b"sidecar.review.lint", b"sidecar.review.tree"]
