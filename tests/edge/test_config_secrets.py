"""Secrets and files that a configuration names."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from sidecar.app import wiring
from sidecar.config import Severity
from tests.edge.config_files import ISSUERS, POLICY, SECRET, Files

OTHER = "another-secret-of-forty-bytes-0123456789"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def issuer(**keys: str) -> str:
    given = "".join(f"      {key}: {value}\n" for key, value in keys.items())
    return f"zervi:\n  issuers:\n    - issuer: a\n{given}{POLICY}"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_break_at_the_end_of_a_secret_file_is_dropped(files: Files, end: str) -> None:
    (files.directory / "secret").write_bytes(f"{SECRET}\n{end}".encode())
    files.write(sidecar=issuer(secret_file="secret"))
    expected = SECRET + ("\n" if end else "")
    assert files.load().issuers[0].secrets == (expected.encode(),)


def test_several_secrets_keep_their_order(files: Files) -> None:
    files.environ = {"NEW": OTHER, "OLD": SECRET}
    files.write(sidecar=issuer(secret_env="[NEW, OLD]"))
    assert files.load().issuers[0].secrets == (OTHER.encode(), SECRET.encode())


def test_a_secret_file_may_have_an_absolute_path(files: Files) -> None:
    (files.directory / "secret").write_text(SECRET)
    files.write(sidecar=issuer(secret_file=str(files.directory / "secret")))
    assert files.load().issuers[0].secrets == (SECRET.encode(),)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"secret_env": "UNSET"}, "the environment variable UNSET is not set"),
        ({"secret_env": "EMPTY"}, "the environment variable EMPTY is empty"),
        ({"secret_env": "BLANK"}, "the environment variable BLANK is empty"),
        ({"secret_env": "my_secret"}, "this environment variable is not set"),
        ({"secret_file": "empty"}, "the secret file is empty"),
        ({"secret_file": "large"}, "the secret file is larger than 64 KiB"),
        ({"secret_file": "absent"}, "the secret file cannot be read: No such file or directory"),
        ({"secret_file": "."}, "the secret file cannot be read: Is a directory"),
        (
            {"secret_env": "SHORT"},
            "the secret cannot be used: it has 9 bytes, at least 32 are needed",
        ),
        (
            {"secret_env": "PUBLIC"},
            "the secret cannot be used: it is publicly known: it is in JobFirst's public",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_reported_at_its_key(
    files: Files, keys: dict[str, str], line: str
) -> None:
    files.environ = {
        "EMPTY": "",
        "BLANK": " \n",
        "SHORT": "too-short",
        "PUBLIC": "jobfirst-unified-auth-secret-key-2024",
    }
    (files.directory / "empty").write_text("\n")
    (files.directory / "large").write_bytes(b"x" * (64 * 1024 + 1))
    files.write(sidecar=issuer(**keys))
    (told,) = files.lines()
    assert told.startswith(f"sidecar.yaml:4:7: error: {line}")
    assert "too-short" not in told
    assert "jobfirst-unified" not in told
    assert "my_secret" not in told


def test_an_unsafe_key_turns_a_weak_secret_into_a_warning(files: Files) -> None:
    files.environ = {"SHORT": "too-short"}
    files.write(sidecar=issuer(secret_env="SHORT", unsafe_allow_weak_secret="true"))
    (warning,) = files.load().warnings
    assert (warning.severity, warning.code) == (Severity.WARNING, "weak-secret")
    assert "too-short" not in str(warning)


def test_a_long_secret_that_repeats_itself_has_a_warning(files: Files) -> None:
    files.environ = {"REPEATED": "password" * 4}
    files.write(sidecar=issuer(secret_env="REPEATED"))
    (warning,) = files.load().warnings
    assert (warning.severity, warning.code) == (Severity.WARNING, "weak-secret")
    assert "7 different characters" in str(warning)
    assert "password" not in str(warning)


def test_an_unreadable_file_is_reported(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system call is replaced, because the superuser may read every file."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (files.directory / "secret").write_text(SECRET)
    files.write(sidecar=issuer(secret_file="secret"))
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: (refuse if path.name == "secret" else opened)(path, mode)
    )
    (line,) = files.lines()
    assert line == (
        "sidecar.yaml:4:7: error: the secret file cannot be read: Permission denied"
        " (`zervi.issuers[0].secret_file` must be the path of a file that contains the secret)"
    )


KEY_SET = """{"keys": [
  {"kty": "OKP", "crv": "Ed25519", "kid": "a",
   "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
  {"kty": "oct", "k": "AAAA"}
]}"""


def test_a_key_set_in_a_file_is_read_and_unused_keys_are_reported(files: Files) -> None:
    (files.directory / "keys.json").write_text(KEY_SET)
    files.write(sidecar=issuer(jwks_file="keys.json"))
    (warning,) = files.load().warnings
    assert warning.code == "unused-keys"
    assert (warning.line, warning.column) == (4, 7)


@pytest.mark.parametrize("content", ["", "<html>", '{"keys": []}', "[]", "x" * (256 * 1024 + 1)])
def test_a_file_without_a_key_set_is_reported(files: Files, content: str) -> None:
    (files.directory / "keys.json").write_text(content)
    files.write(sidecar=issuer(jwks_file="keys.json"))
    (line,) = files.lines()
    assert line.startswith("sidecar.yaml:4:7: error: `jwks_file` ")


def test_keys_that_do_not_fit_the_issuers_algorithms_are_reported(files: Files) -> None:
    (files.directory / "keys.json").write_text(KEY_SET)
    files.write(sidecar=issuer(jwks_file="keys.json", algorithms="[RS256]"))
    (line,) = files.lines()
    assert line.startswith("sidecar.yaml:4:7: error: `jwks_file` contains no usable key set")


class Certificates:
    """A certificate and keys in a directory."""

    def __init__(self, directory: Path) -> None:
        key, self.directory = generate_private_key(SECP256R1()), directory
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sidecar")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        (directory / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        self._write("key.pem", key, NoEncryption())
        self._write("locked.pem", key, BestAvailableEncryption(b"passphrase"))
        self._write("other.pem", generate_private_key(SECP256R1()), NoEncryption())

    def _write(
        self, name: str, key: EllipticCurvePrivateKey, encryption: KeySerializationEncryption
    ) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        (self.directory / name).write_bytes(pem)


def tls(cert: str, key: str, authorities: str = "cert.pem") -> str:
    keys = f"cert_file: {cert}, key_file: {key}, client_ca_file: {authorities}"
    return f"listen:\n  authz: 0.0.0.0:9001\n  tls: {{{keys}}}\n{ISSUERS}{POLICY}"


def test_a_certificate_its_key_and_an_authority_are_accepted(files: Files) -> None:
    Certificates(files.directory)
    files.write(sidecar=tls("cert.pem", "key.pem"))
    config = files.load()
    assert config.settings.listen.tls is not None
    assert config.settings.listen.tls.cert_file == files.directory / "cert.pem"
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("cert.pem", "other.pem"),
            "the key in `key_file` does not match the certificate in `cert_file`",
        ),
        (
            ("cert.pem", "locked.pem"),
            "`key_file` is encrypted (encrypted private keys are not supported)",
        ),
        (
            ("key.pem", "key.pem"),
            "`cert_file` and `key_file` are not a certificate and its key in PEM format",
        ),
        (
            ("cert.pem", "absent.pem"),
            "`key_file` cannot be read: No such file or directory (absent.pem)",
        ),
        (
            ("cert.pem", "key.pem", "key.pem"),
            "`client_ca_file` contains no certificates in PEM format (key.pem)",
        ),
    ],
)
def test_certificates_and_keys_that_do_not_fit_are_reported(
    files: Files, names: tuple[str, ...], told: str
) -> None:
    Certificates(files.directory)
    files.write(sidecar=tls(*names))
    (line,) = files.lines()
    assert line.partition(": error: ")[2] == told


def named(names: str, authorities: str = ", client_ca_file: cert.pem") -> str:
    tls = f"{{cert_file: cert.pem, key_file: key.pem{authorities}, client_names: {names}}}"
    return f"listen: {{tls: {tls}}}\n{ISSUERS}{POLICY}"


def test_names_of_clients_are_accepted(files: Files) -> None:
    Certificates(files.directory)
    names = '[Envoy.example, "*.mesh.example", "spiffe://td/ns/x", "spiffe://td/ns/x/*"]'
    files.write(sidecar=named(names))
    config = files.load()
    wanted = ("envoy.example", "*.mesh.example", "spiffe://td/ns/x", "spiffe://td/ns/x/*")
    assert config.settings.listen.tls is not None
    assert config.settings.listen.tls.client_names == wanted
    certificates = wiring.certificates(config)
    assert certificates is not None
    assert certificates.client_names == wanted


def test_names_of_clients_need_an_authority(files: Files) -> None:
    Certificates(files.directory)
    files.write(sidecar=named("[envoy.example]", ""))
    (line,) = files.lines()
    assert "`client_names` needs `client_ca_file`" in line


@pytest.mark.parametrize(
    "name",
    [
        "*", "*.", "a.*.example", "*envoy.example", "*.*.example", "10.0.0.1", "a b", "a_/b",
        "spiffe://", "spiffe://*", "spiffe://td*", "spiffe://td/*/x", "spiffe://td/x*",
        "spiffe://td/a?b", "SPIFFE://td/a", "名.example",
    ],
)  # fmt: skip
def test_an_invalid_client_name_is_refused(files: Files, name: str) -> None:
    Certificates(files.directory)
    files.write(sidecar=named(f'["{name}"]'))
    (line,) = files.lines()
    assert "item 1 of `client_names`" in line
