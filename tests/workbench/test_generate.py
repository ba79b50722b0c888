"""`generate envoy`: Envoy takes each output, and doctor finds nothing against its sidecar.yaml."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.config.removed import REMOVED
from sidecar.documents import own_yaml
from sidecar.workbench.generate.names import expression
from sidecar.workbench.generate.template import fill
from tests.support.envoy_validates import envoy_validates

ISSUERS = 'issuers: [{issuer: zervi, jwks_url: "https://zervi.local/keys"}]'
PLAIN = f"zervi: {{{ISSUERS}}}\npolicy: {{file: routes.yaml}}\n"
ROUTES = "api_gateway: {routes: [{path: /x}]}\n"

CONFIGURATIONS = {
    "plain": PLAIN,
    "a unix socket": PLAIN + "listen: {authz: 'unix:/run/zervi/authz.sock'}\n",
    "IPv6": PLAIN + "listen: {authz: '[::1]:9001'}\n",
    "CORS": PLAIN.replace(
        "yaml}",
        "yaml, cors: {origins: ['http://localhost:3000', 'http://[::1]:3000']}}",
    ),
    "CORS without request headers": PLAIN.replace(
        "yaml}", "yaml, cors: {origins: ['https://a.example'], headers: []}}"
    ),
    "forwarded preflights": PLAIN.replace("yaml}", "yaml, cors_preflight: forward}"),
    "renamed identity": PLAIN.replace(
        "yaml}", "yaml, identity_headers: {subject: x-forwarded-user, roles: x-our-roles}}"
    ),
    "nothing removed": PLAIN.replace("yaml}", "yaml, remove_headers: []}"),
    "many names": PLAIN.replace(
        "yaml}", f"yaml, remove_headers: [{', '.join(f'x-{n}-of-ours' for n in range(150))}]}}"
    ),
    "revocation": PLAIN.replace(
        ISSUERS, f"{ISSUERS}, revocation: {{url: 'https://zervi.local/revocations'}}"
    ),
    "a cookie that stays here": PLAIN.replace(
        ISSUERS, f"{ISSUERS}, token_sources: [{{cookie: session}}, {{header: x-token}}]"
    ).replace("yaml}", "yaml, forward_authorization: false}"),
    "tracing": PLAIN + "tracing: {otlp: 'http://127.0.0.1:4318'}\n",
    "tracing over https": PLAIN + "tracing: {otlp: 'https://collector.example/v1/traces'}\n",
}


class Generated:
    """What the command prints for a configuration in a directory of its own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.config = directory / "sidecar.yaml"
        self.output = directory / "envoy.yaml"
        self._capsys = capsys
        (directory / "routes.yaml").write_text(ROUTES)

    def make(self, config: str, *arguments: str) -> dict[str, Any]:
        self.config.write_text(config)
        assert main(["generate", "envoy", "--config", str(self.config), *arguments]) == 0
        self.output.write_text(self._capsys.readouterr().out)
        loaded: dict[str, Any] = own_yaml.read(self.output)
        return loaded

    def findings(self) -> str:
        main(["doctor", "--envoy", str(self.output), "--config", str(self.config)])
        return self._capsys.readouterr().out


@pytest.fixture
def generated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Generated:
    return Generated(tmp_path, capsys)


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_envoy_takes_the_output_and_doctor_finds_nothing(generated: Generated, config: str) -> None:
    generated.make(config)
    envoy_validates(generated.output)
    assert generated.findings() == f"{generated.output}: good\n"


@pytest.mark.parametrize(
    ("was", "now", "finding"),
    [
        ("max_path_tag_length: 0", "max_path_tag_length: 256", "query, which may carry a token"),
        ("max_path_tag_length: 0", "verbose: true", "query, which may carry a token"),
        ("random_sampling:", "custom_tags: []\n                  random_sampling:", "headers"),
        ("cluster: basic-server\n", "cluster: otlp\n", "clients reach the collector of spans"),
    ],
)
def test_doctor_finds_what_a_tracer_could_show_and_who_reaches_the_collector(
    generated: Generated, was: str, now: str, finding: str
) -> None:
    generated.make(CONFIGURATIONS["tracing"])
    text = generated.output.read_text()
    assert was in text
    generated.output.write_text(text.replace(was, now))
    assert finding in generated.findings()


def test_a_policy_that_names_hosts_later_needs_no_other_envoy(generated: Generated) -> None:
    generated.make(PLAIN)
    (generated.directory / "routes.yaml").write_text(ROUTES.replace("/x", "/x, hosts: [a.example]"))
    assert "mutation-rules" not in generated.findings()


def test_the_ingress_serves_tls_on_request(generated: Generated) -> None:
    ingress, stats = generated.make(PLAIN, "--tls", str(generated.directory))["static_resources"][
        "listeners"
    ]
    (chain,) = ingress["filter_chains"]
    context = chain["transport_socket"]["typed_config"]["common_tls_context"]
    (certificate,) = context["tls_certificates"]
    assert certificate["private_key"] == {"filename": f"{generated.directory}/tls.key"}
    assert certificate["watched_directory"] == {"path": str(generated.directory)}
    assert "transport_socket" not in stats["filter_chains"][0]


def test_arguments_place_the_admin_socket_and_the_stats_listener(generated: Generated) -> None:
    loaded = generated.make(PLAIN, "--admin", "/run/envoy/admin.sock", "--stats", "0.0.0.0:9902")
    assert loaded["admin"]["address"]["pipe"]["path"] == "/run/envoy/admin.sock"
    names = [listener["name"] for listener in loaded["static_resources"]["listeners"]]
    assert names == ["ingress", "stats"]
    stats = loaded["static_resources"]["listeners"][1]["address"]
    assert stats == {"socket_address": {"address": "0.0.0.0", "port_value": 9902}}


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
@pytest.mark.parametrize("revocable", [False, True])
def test_where_tokens_can_be_revoked_a_stream_ends_after_an_hour(
    generated: Generated, mode: str, *, revocable: bool
) -> None:
    """For gRPC too, whose route has a limit of its own."""
    config = CONFIGURATIONS["revocation"] if revocable else PLAIN
    if mode == "gateway":
        config += "gateway: {envoy_dir: /run/zervi/envoy, allow_networks: [10.0.0.0/8]}\n"
        config += "looma: {kind: etcd, url: 'http://127.0.0.1:2379', service: {name: gateway, "
        config += "address: 127.0.0.1, port: 10000}}\n"
    text = str(generated.make(config, "--mode", mode))
    assert ("'max_stream_duration': '3600s'" in text) is revocable
    if mode == "sidecar":
        assert ("'grpc_timeout_header_max': '3600s'" in text) is revocable


def test_the_upstream_is_the_argument_else_the_probe_s_address(generated: Generated) -> None:
    """A health port may be another than the one that serves: it must not get the requests."""
    probed = f"{PLAIN}\nupstream: {{probe: {{url: 'http://127.0.0.1:8081/health'}}}}\n"
    assert _upstream(generated.make(probed)) == ("127.0.0.1", 8081)
    assert _upstream(generated.make(probed, "--upstream", "127.0.0.1:8080")) == ("127.0.0.1", 8080)
    assert generated.findings() == f"{generated.output}: good\n"


def _upstream(loaded: dict[str, Any], name: str = "basic-server") -> tuple[str, int]:
    (cluster,) = [each for each in loaded["static_resources"]["clusters"] if each["name"] == name]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    address = endpoint["address"]["socket_address"]
    return address["address"], address["port_value"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(("--upstream", value) for value in ("8080", "", "127.0.0.1:0", "127.0.0.1:65535")),
        *(("--upstream", value) for value in ("books.internal:8080", "books:8080", "unix:/a")),
        *(("--upstream-grpc", value) for value in ("8080", "", "127.0.0.1:0", "books:8080")),
        *(("--listen", value) for value in ("8080", "", "0.0.0.0:0", "www.example:80", "unix:/a")),
        ("--stats", "stats.example:9902"),
        *(("--remember", value) for value in ("", "0s", "6s", "5001ms", "nan", "1")),
        ("--stats", "9902"),
        ("--admin", "admin.sock"),
    ],
)
def test_an_invalid_argument_is_an_error_of_usage(
    generated: Generated, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    generated.config.write_text(PLAIN)
    assert main(["generate", "envoy", "--config", str(generated.config), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "both"),
    [
        (("--upstream", "127.0.0.1:9000"), ("--upstream-grpc", "listen.authz")),
        (("--upstream", "localhost:9002"), ("--upstream", "listen.ops")),
        (("--upstream", "127.0.0.1:10000"), ("--upstream", "--listen")),
        (("--upstream", "127.0.0.1:9900"), ("--upstream-grpc", "--stats")),
        (("--upstream-grpc", "127.0.0.1:9003"), ("--upstream-grpc", "listen.health")),
        (("--listen", "127.0.0.1:9004"), ("--listen", "listen.page")),
        (("--listen", "[::]:9901"), ("--listen", "--stats")),
        (("--stats", "0.0.0.0:9001"), ("--stats", "listen.authz")),
    ],
)
def test_two_servers_at_one_address_are_an_error_that_names_both(
    generated: Generated,
    arguments: tuple[str, str],
    both: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Requests would go round in Envoy, or to the sidecar instead of the Basic Server."""
    listen = "listen: {health: '0.0.0.0:9003', page: '127.0.0.1:9004'}\n"
    generated.config.write_text(PLAIN + listen)
    assert main(["generate", "envoy", "--config", str(generated.config), *arguments]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in both), error


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
def test_clients_reach_envoy_where_the_argument_says_else_at_the_registered_port(
    generated: Generated, mode: str
) -> None:
    registered = (
        "gateway: {envoy_dir: /run/zervi/envoy, allow_networks: [10.0.0.0/8]}\n"
        "looma: {kind: etcd, url: 'http://127.0.0.1:2379', service: {name: gateway, "
        "address: 127.0.0.1, port: 12000}}\n"
    )

    def reached(*arguments: str, config: str = PLAIN + registered) -> tuple[str, int]:
        loaded = generated.make(config, "--mode", mode, *arguments)
        address = loaded["static_resources"]["listeners"][0]["address"]["socket_address"]
        return address["address"], address["port_value"]

    assert reached() == ("0.0.0.0", 12000)
    assert reached("--listen", "127.0.0.1:18000") == ("127.0.0.1", 18000)
    assert reached("--listen", "[::1]:18000") == ("::1", 18000)
    if mode == "sidecar":
        envoy_validates(generated.output)
        assert reached(config=PLAIN) == ("0.0.0.0", 10000)


def test_grpc_goes_to_the_argument_else_to_the_next_port(generated: Generated) -> None:
    """One server may serve both at one port."""
    at = ("--upstream", "localhost:8080")
    for arguments, port in (((), 8081), (("--upstream-grpc", "127.0.0.1:8080"), 8080)):
        loaded = generated.make(PLAIN, *at, *arguments)
        assert _upstream(loaded) == ("127.0.0.1", 8080)
        assert _upstream(loaded, "basic-server-grpc") == ("127.0.0.1", port)
        envoy_validates(generated.output)
        assert generated.findings() == f"{generated.output}: good\n"


def test_a_name_in_the_configuration_is_an_address_for_envoy_or_an_error(
    generated: Generated, capsys: pytest.CaptureFixture[str]
) -> None:
    """Envoy does not look names of these clusters up."""
    listen = "listen: {authz: 'localhost:9001'}\n"
    probe = "upstream: {probe: {url: 'http://localhost:8081/health'}}\n"
    assert _upstream(generated.make(PLAIN + listen + probe)) == ("127.0.0.1", 8081)
    envoy_validates(generated.output)
    named = probe.replace("localhost", "basic.example")
    gateway = "gateway: {envoy_dir: /run/zervi/envoy, allow_networks: [10.0.0.0/8]}\n"
    generated.make(PLAIN + gateway + named, "--mode", "gateway")  # which has no such cluster
    for config, name in (
        (listen.replace("localhost", "authz.example"), "listen.authz"),
        (named, "upstream.probe.url"),
    ):
        generated.config.write_text(PLAIN + config)
        assert main(["generate", "envoy", "--config", str(generated.config)]) == 2
        assert f"{name} has the host name" in capsys.readouterr().err


def test_an_invalid_configuration_is_reported_with_its_line(
    generated: Generated, capsys: pytest.CaptureFixture[str]
) -> None:
    generated.config.write_text("policy: {fil: routes.yaml}\n")
    assert main(["generate", "envoy", "--config", str(generated.config)]) == 1
    assert "sidecar.yaml:1:" in capsys.readouterr().err


NAMES = st.lists(
    st.from_regex(r"[a-z0-9]{1,4}(-[a-z0-9]{1,4}){0,3}", fullmatch=True), min_size=1, max_size=12
)


@given(names=NAMES, separators=st.text("-_.~", min_size=3, max_size=3))
def test_the_expression_matches_each_name_in_every_spelling_and_no_longer_one(
    names: list[str], separators: str
) -> None:
    matching = re.compile(expression(names)).fullmatch
    for name in names:
        marks = iter(separators)
        assert matching("".join(next(marks) if each == "-" else each for each in name))
        assert not matching(f"{name}-zzzzz")
        assert not matching(f"{name}z") or f"{name}z" in names


def test_the_default_names_are_all_removed_by_envoy_itself(generated: Generated) -> None:
    manager = generated.make(PLAIN)["static_resources"]["listeners"][0]["filter_chains"][0][
        "filters"
    ][0]["typed_config"]
    assert manager["route_config"]["request_headers_to_remove"] == list(REMOVED)


def test_a_mark_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("a: @{missing}", {})


def test_the_output_is_a_file_on_request_and_never_half_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, output = tmp_path / "sidecar.yaml", tmp_path / "envoy.yaml"
    config.write_text(PLAIN)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    arguments = ["generate", "envoy", "--config", str(config)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert main([*arguments, "--output", str(output)]) == 0
    assert (output.read_text(), capsys.readouterr().out) == (printed, "")
    config.write_text(PLAIN.replace("zervi:", "zerwi:"))
    assert main([*arguments, "--output", str(output)]) == 1
    assert output.read_text() == printed
    assert {each.name for each in tmp_path.iterdir()} == {config.name, output.name, "routes.yaml"}
    config.write_text(PLAIN)
    assert main([*arguments, "--output", str(tmp_path / "missing/envoy.yaml")]) == 1
    assert "missing/envoy.yaml: No such file or directory" in capsys.readouterr().err


def test_the_output_is_not_written_through_a_link(tmp_path: Path) -> None:
    """In a directory of several users, another one may make it before."""
    (tmp_path / "sidecar.yaml").write_text(PLAIN)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    output, other = tmp_path / "envoy.yaml", tmp_path / "other"
    other.write_text("not ours")
    (tmp_path / ".envoy.yaml.new").symlink_to(other)
    arguments = ["generate", "envoy", "--config", str(tmp_path / "sidecar.yaml")]
    assert main([*arguments, "--output", str(output)]) == 0
    assert other.read_text() == "not ours"
    assert output.read_text().startswith("# ")
    assert not output.is_symlink()
