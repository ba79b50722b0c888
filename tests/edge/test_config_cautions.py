"""Settings that work and should be looked at twice."""

from pathlib import Path

import pytest

from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, Files


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
def test_an_open_listener_without_tls_is_warned_of(
    files: Files, address: str, codes: list[str]
) -> None:
    files.write(sidecar=f"listen: {{authz: {address}}}\n" + ISSUERS + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


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
def test_keys_over_plain_http_are_warned_of(files: Files, url: str, codes: list[str]) -> None:
    files.write(sidecar=f"zervi: {{issuers: [{{issuer: a, jwks_url: '{url}'}}]}}\n" + POLICY)
    assert [warning.code for warning in files.load().warnings] == codes


def test_a_service_token_over_plain_http_is_warned_of(files: Files) -> None:
    files.environ = {**ENVIRON, "TOKEN": "a-token"}
    files.write(
        sidecar=ISSUERS
        + POLICY
        + """
looma:
  url: http://looma.local
  service: {name: a, address: a, port: 1}
  probe: {url: "http://127.0.0.1/"}
  token: {env: TOKEN}
"""
    )
    (line,) = files.lines()
    assert line == (
        "sidecar.yaml:5:3: warning: the service token goes over the network in plain HTTP: "
        "whoever is in between can take it (use https)"
    )


def test_a_token_in_the_query_is_warned_of(files: Files) -> None:
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
def test_a_policy_that_is_wider_than_it_looks_is_warned_of(
    files: Files, entries: list[str], codes: list[tuple[int, str]]
) -> None:
    files.write(routes=routes(*entries))
    told = [(warning.line, warning.code) for warning in files.load().warnings]
    assert told == codes


def test_case_is_no_difference_where_the_policy_ignores_it(files: Files) -> None:
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
        "routes.yaml:3:8: warning: this public wildcard lies over the protected `/x/a` and over 1 "
        "more (a path that is added there later is public; name what is public instead; see line 4)"
    )
