"""A valid ``sidecar.yaml``: the settings that its values become."""

from pathlib import Path

import pytest

from sidecar.app import wiring
from sidecar.config import ConfigError
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz.cors import Cors
from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, SECRET, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_smallest_configuration_has_every_default(files: Files) -> None:
    config = files.load()
    settings = config.settings
    assert settings.listen.authz == "127.0.0.1:9001"
    assert settings.listen.socket_mode == 0o660
    assert settings.zervi.jwks.refresh == 300
    assert settings.zervi.jwks.unknown_key_wait == 0.25
    assert settings.policy.file == files.directory / "routes.yaml"
    assert settings.looma is None
    assert settings.drain == 15
    assert config.token_sources == (TokenSource("header", "authorization", "Bearer"),)
    assert config.identity_headers == IdentityHeaders()
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("250ms", 0.25), ("1.5s", 1.5), ("2m", 120), ("1h", 3600)]
)
def test_a_duration_becomes_seconds(files: Files, text: str, seconds: float) -> None:
    files.write(sidecar=f"drain: {text}\n" + ISSUERS + POLICY)
    assert files.load().settings.drain == seconds


@pytest.mark.parametrize("mode", ["0600", '"0600"', '"600"'])
def test_a_file_mode_is_octal_however_it_is_written(files: Files, mode: str) -> None:
    files.write(sidecar=f"listen: {{socket_mode: {mode}}}\n" + ISSUERS + POLICY)
    assert files.load().settings.listen.socket_mode == 0o600


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:0", "localhost:9001", "'[::1]:9001'", "authz.local:65535", "unix:/run/a.sock"],
)
def test_an_address_stays_unchanged(files: Files, address: str) -> None:
    files.write(sidecar=f"listen: {{authz: {address}}}\n" + ISSUERS + POLICY)
    assert files.load().settings.listen.authz == address.strip("'")


def test_token_sources_and_header_names_are_lower_case(files: Files) -> None:
    files.write(
        sidecar=ISSUERS.replace(
            "issuers:",
            "token_sources: [{header: accessToken}, {cookie: Token}, {query: token}], issuers:",
        )
        + "policy: {file: routes.yaml, identity_headers: {subject: X-UID}, remove_headers: [X-A]}\n"
    )
    config = files.load()
    assert config.token_sources == (
        TokenSource("header", "accesstoken"),
        TokenSource("cookie", "Token"),
        TokenSource("query", "token"),
    )
    assert config.identity_headers == IdentityHeaders(subject="x-uid")
    assert config.settings.policy.remove_headers == ("x-a",)


def test_an_identity_header_may_have_a_name_that_is_removed_by_default(files: Files) -> None:
    files.write(
        sidecar=ISSUERS
        + "policy: {file: routes.yaml, identity_headers: {subject: X-WebAuth-User}}\n"
    )
    answers = wiring.answers(files.load())
    assert answers.identity_headers.subject in answers.remove_headers
    assert answers.remove_with_hosts


def test_an_identity_header_that_is_off_is_still_removed_from_clients(files: Files) -> None:
    names = "{subject: null, email: null, roles: x-roles}"
    files.write(sidecar=ISSUERS + f"policy: {{file: routes.yaml, identity_headers: {names}}}\n")
    config = files.load()
    assert config.identity_headers == IdentityHeaders(None, email=None, roles="x-roles")
    assert {"x-user-id", "x-user-email", "x-roles"} < {*wiring.answers(config).never_from_clients()}


def test_a_header_is_not_both_removed_and_set_from_claims(files: Files) -> None:
    claims = "issuers: [{issuer: z, secret_env: ZERVI_JWT_SECRET, claims: {headers: {x-a: [a]}}}]"
    policy = "policy: {file: routes.yaml, remove_headers: [X-A], identity_headers: {email: null}}\n"
    files.write(sidecar=f"zervi: {{{claims}}}\n" + policy)
    (line,) = files.lines()
    assert "`X-A` is both removed and set from claims" in line


def test_a_header_from_claims_may_have_the_name_of_one_that_is_off(files: Files) -> None:
    headers = "claims: {headers: {x-user-email: [mail]}}, "
    policy = "policy: {file: routes.yaml, identity_headers: {email: null}}\n"
    files.write(sidecar=ISSUERS.replace("issuers:", headers + "issuers:") + policy)
    assert files.load().issuers[0].claims.headers == {"x-user-email": ("mail",)}


def test_a_configured_list_of_removed_headers_replaces_the_default(files: Files) -> None:
    files.write(sidecar=ISSUERS + "policy: {file: routes.yaml, remove_headers: [x-a]}\n")
    answers = wiring.answers(files.load())
    assert (answers.remove_headers, answers.remove_with_hosts) == (("x-a",), ())


def test_the_origins_of_cors_become_answers(files: Files) -> None:
    origins = "https://app.test, 'http://[::1]:3000', capacitor://localhost"
    policy = f"policy: {{file: routes.yaml, cors: {{origins: [{origins}], credentials: true}}}}\n"
    files.write(sidecar=ISSUERS + policy)
    assert wiring.answers(files.load()).cors == Cors(
        frozenset({"https://app.test", "http://[::1]:3000", "capacitor://localhost"}),
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        ("authorization", "content-type"),
        True,
        600,
    )


LOOMA = """
upstream:
  probe: {url: "grpc://127.0.0.1:8601/my.Service", interval: 1s}
looma:
  url: http://127.0.0.1:8888/base
  service: {name: a, address: "${POD_IP}", port: "${PORT}", node: "node-${NODE}", version: "1.0"}
"""


def test_the_registered_service_is_filled_in_from_the_environment(files: Files) -> None:
    files.environ = {**ENVIRON, "POD_IP": "fd00::7", "PORT": "10000", "NODE": "七"}
    files.write(sidecar=ISSUERS + POLICY + LOOMA)
    looma = files.load().settings.looma
    assert looma is not None
    assert looma.service.address == "fd00::7"
    assert looma.service.port == 10000
    assert looma.service.node == "node-七"
    assert looma.service.id == "{name}-{host}-{port}"


LABELS = LOOMA.replace('version: "1.0"', "labels: {LABELS}")


def test_labels_are_filled_in_too(files: Files) -> None:
    files.environ = {**ENVIRON, "POD_IP": "a", "PORT": "1", "NODE": "b", "ZONE": "zone-a"}
    labels = '{zone: "${ZONE}", capacity: "4", port: "${PORT}"}'
    files.write(sidecar=ISSUERS + POLICY + LABELS.replace("{LABELS}", labels))
    looma = files.load().settings.looma
    assert looma is not None
    assert looma.service.labels == {"zone": "zone-a", "capacity": "4", "port": "1"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('{zone: "${NO_SUCH}"}', "`labels.zone` needs the environment variable NO_SUCH"),
        ('{"a zone": x}', "must be the name of a label, not `a zone`"),
        ('{zone: ""}', "must be 1 to 256 printable characters"),
        (f"{{zone: {'x' * 257}}}", "must be 1 to 256 printable characters"),
        ("{zone: [a]}", "must be text"),
        ("[zone]", "must be a mapping"),
        ("{" + ", ".join(f"l{n}: x" for n in range(33)) + "}", "has 33 keys; the maximum is 32"),
    ],
)
def test_a_label_that_a_registry_could_refuse_is_an_error(
    files: Files, labels: str, message: str
) -> None:
    files.environ = {**ENVIRON, "POD_IP": "a", "PORT": "1", "NODE": "b"}
    files.write(sidecar=ISSUERS + POLICY + LABELS.replace("{LABELS}", labels))
    with pytest.raises(ConfigError) as error:
        files.load()
    assert message in str(error.value.findings[0])
    assert error.value.findings[0].line > 0


def test_nothing_else_is_filled_in(files: Files) -> None:
    files.environ = {**ENVIRON, "NAME": "zervi"}
    files.write(sidecar=ISSUERS.replace("issuer: zervi", 'issuer: "${NAME}"') + POLICY)
    assert files.load().issuers[0].name == "${NAME}"


@pytest.mark.parametrize(
    ("token", "secret"),
    [
        ("env: TOKEN", "a-token"),
        ("login_url: 'http://127.0.0.1/', service_id: a, secret_env: ZERVI_JWT_SECRET", SECRET),
        ("file: token", None),
    ],
)
def test_a_service_token_comes_from_one_place(files: Files, token: str, secret: str | None) -> None:
    files.environ = {**ENVIRON, "TOKEN": "a-token", "POD_IP": "a", "PORT": "1", "NODE": "a"}
    (files.directory / "token").write_text("a-token\n")
    files.write(sidecar=ISSUERS + POLICY + LOOMA + f"  token: {{{token}}}\n")
    assert files.load().registry_secret == secret


def test_no_secret_shows_in_a_configurations_repr(files: Files) -> None:
    assert SECRET not in repr(files.load())


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(files: Files) -> None:
    text = "\ufeff" + (ISSUERS + POLICY + "drain: 1s\n").replace("\n", "\r\n")
    files.config.write_bytes(text.encode())
    assert files.load().settings.drain == 1


@pytest.mark.parametrize(
    ("written", "wanted"), [("1MiB", 2**20), ("32MiB", 2**25), ("2048KiB", 2**21), ("4GiB", 2**32)]
)
def test_a_size_becomes_bytes(files: Files, written: str, wanted: int) -> None:
    cache = f"token_cache: {{max_bytes: {written}}}, "
    files.write(sidecar=ISSUERS.replace("issuers:", cache + "issuers:") + POLICY)
    config = files.load()
    assert config.settings.zervi.token_cache.max_bytes == wanted
    assert wiring.service(config).cached_bytes == wanted


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("33554432", "must be a size with a unit, not a number"),
        ("32MB", "must be a size, not `32MB`"),
        ("32 MiB", "must be a size, not `32 MiB`"),
        ("1.5MiB", "must be a size, not `1.5MiB`"),
        ("-1MiB", "must be a size, not `-1MiB`"),
        ("1023KiB", "must be from 1MiB to 4GiB, not `1023KiB`"),
        ("5GiB", "must be from 1MiB to 4GiB, not `5GiB`"),
    ],
)
def test_an_invalid_size_is_refused(files: Files, written: str, said: str) -> None:
    cache = f"token_cache: {{max_bytes: {written}}}, "
    files.write(sidecar=ISSUERS.replace("issuers:", cache + "issuers:") + POLICY)
    (line,) = files.lines()
    assert f"`max_bytes` {said}" in line
