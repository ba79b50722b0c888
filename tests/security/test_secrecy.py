"""Nothing that the sidecar writes holds a token, a secret or a key, wherever a client puts one.

``tests/conftest.py`` looks at all output of the whole run; this makes sure that there is some.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import get_default_algorithms

from demo import minting
from demo.stack import Stack
from sidecar.app import wiring
from sidecar.app.run import Sidecar, serve
from sidecar.cli import main
from sidecar.config import ConfigError
from sidecar.transport.interface import ListenError
from sidecar.workbench.formats import FORMATS
from tests.edge.certificates import Authority
from tests.edge.config_files import ENVIRON, Files
from tests.support import http1, signing
from tests.support.secrecy import SECRECY, Secrecy
from tests.support.signing import PrivateKey, ec_key, ed_key, rsa_key
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_token_in_any_place_is_written_nowhere(open_stack: Stack) -> None:
    """Log lines, decision log, answers, metrics and health of requests that carry tokens oddly."""
    secrecy = Secrecy()
    token = minting.sign(minting.user_claims("alice", "unified-auth"), open_stack.secret)
    service = open_stack.zervi.service_token("looma")
    for each in (token, service, open_stack.zervi.token("alice")):
        secrecy.token(each)
    secrecy.key(open_stack.secret)
    secrecy.key(open_stack.zervi.keys[-1].private)
    port = open_stack.ports.envoy
    answers = [
        await http1.send(port, "/api/cluster/nodes", *headers)
        for headers in (
            [("authorization", f"Bearer {token}")],
            [("authorization", f"bearer  {token}")],
            [("authorization", f"Basic {token}")],
            [("authorization", token)],
            [("authorization", f"Bearer {token} {token}")],
            [("authorization", f"Bearer {token[:-4]}AAAA")],
            [("authorization", f"Bearer {service}"), ("cookie", f"token={token}")],
            [("accept-language", token), ("user-agent", token), ("x-request-id", token)],
            [(token[:60].replace(".", "-"), token)],
        )
    ]
    answers += [
        await http1.send(port, target, host=host)
        for target, host in (
            (f"/api/cluster/{token}", "api.jobfirst.local"),
            (f"/api/cluster/x?token={token}", "api.jobfirst.local"),
            (f"/api/cluster/x;token={token}", "api.jobfirst.local"),
            (f"/nowhere/{token}/x", token[:60]),
        )
    ]
    assert {answer.status for answer in answers} <= {400, 401, 403}
    async with aiohttp.ClientSession() as session:
        for page in ("metrics", "readyz", "livez"):
            async with session.get(f"{open_stack.ops_url}/{page}") as served:
                secrecy.search(await served.text(), page)
    for answer in answers:
        secrecy.search(f"{answer.headers} {answer.body}", "an answer")
    written = open_stack.sidecar.output
    await eventually(lambda: written().count('"decision"') >= len(answers), "the decision log")
    secrecy.search(written(), "the sidecar's output")
    assert not secrecy.leaks


SECRET = b"a secret of thirty-two bytes, made up"
KEYS: Mapping[str, tuple[str, Callable[[], PrivateKey | bytes]]] = {
    "HS256": ("HS256", lambda: SECRET),
    "RS256": ("RS256", rsa_key),
    "ES256": ("ES256", ec_key),
    "ES512": ("ES512", partial(ec_key, "P-521")),
    "Ed25519": ("EdDSA", ed_key),
    "Ed448": ("EdDSA", partial(ed_key, "Ed448")),
}
CLAIMS = {"sub": "somebody", "of": "some length"}


def by_pyjwt(key: PrivateKey | bytes, algorithm: str) -> str:
    return jwt.encode(CLAIMS | {"by": "PyJWT"}, key, algorithm)


def by_the_tests(key: PrivateKey | bytes, algorithm: str) -> str:
    return signing.token(CLAIMS, key, algorithm).decode()


def spellings(key: PrivateKey | bytes, algorithm: str) -> list[str]:
    """Return a key as it could be written."""
    if isinstance(key, bytes):
        return [f"it is {key.decode()}."]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return [get_default_algorithms()[algorithm].to_jwk(key), pem.decode()]


@pytest.mark.parametrize("sign", [by_pyjwt, by_the_tests])
@pytest.mark.parametrize(("algorithm", "make"), KEYS.values(), ids=KEYS)
def test_what_is_looked_for_would_be_found(
    algorithm: str,
    make: Callable[[], PrivateKey | bytes],
    sign: Callable[[PrivateKey | bytes, str], str],
) -> None:
    """The run's own search sees a token, its bare signature, and the key that signed it."""
    key = make()
    token = sign(key, algorithm)
    signature = token.rpartition(".")[2]
    for written in (f'{{"token":"{token}"}}', f"...{signature}", *spellings(key, algorithm)):
        assert list(SECRECY.found(written))
    assert not list(SECRECY.found(token.partition(".")[0]))


LEAKS = """
import logging, sys
from demo.process import Process
from tests.support.signing import ed_key, token

TOKEN = token({"sub": "somebody", "of": "some length"}, ed_key(), "EdDSA").decode()

def test_prints():
    print(TOKEN)

def test_logs():
    logging.getLogger("sidecar.core").error("of %s", TOKEN)

async def test_runs(tmp_path):
    child = await Process.start("child", [sys.executable, "-c", f"print({TOKEN!r})"], tmp_path)
    await child.wait()
"""


def test_a_run_whose_output_holds_a_token_fails(tmp_path: Path) -> None:
    """Every test of it passes, and it names what wrote the token: a test, a log, a child."""
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "3 passed" in run.stdout
    lines = [line for line in run.stdout.splitlines() if line.startswith("SECRET WRITTEN")]
    for place in ("the output of test_leaks.py::test_prints", "the log of", "child.stdout of"):
        assert any(place in line for line in lines), lines


WRITTEN = "S3cr3t-" + "written/where+a.file=belongs" * 2
NUMBER = "8675309186753091867530918675309186753091"
PASTED = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB" + "x" * 60
SIDECAR = "zervi: {{issuers: [{issuer}]}}\npolicy: {{file: routes.yaml}}\n{more}"
LOOMA = (
    "looma: {{url: 'http://127.0.0.1', {key}, service: {{name: a, address: a, port: 1}}}}\n"
    "upstream: {{probe: {{url: 'http://127.0.0.1'}}}}\n"
)
KEYED = "{{issuer: z, {key}}}"
BY_ENV = "{issuer: z, secret_env: ZERVI_JWT_SECRET}"


def listening(key: str) -> str:
    return SIDECAR.format(issuer=BY_ENV, more=f"listen: {{tls: {{cert_file: c.pem, {key}}}}}\n")


def reporting(key: str) -> str:
    return SIDECAR.format(issuer=BY_ENV, more=LOOMA.format(key=key))


def issuing(key: str) -> str:
    return SIDECAR.format(issuer=KEYED.format(key=key), more="")


# A configuration with a secret in place of the name of what holds it, or in a URL.
MISTAKES: Mapping[str, Callable[[str], str]] = {
    "secret_file": lambda value: issuing(f"secret_file: {value}"),
    "secret_file, a list": lambda value: issuing(f"secret_file: [{value}]"),
    "secret_file, two": lambda value: issuing(f"secret_file: [{value}, {value}]"),
    "secret_env": lambda value: issuing(f"secret_env: {value}"),
    "jwks_url": lambda value: issuing(f"jwks_url: {value}"),
    "listen.tls.key_file": lambda value: listening(f"key_file: {value}"),
    "looma.token": lambda value: reporting(f"token: {value}"),
    "looma.token.file": lambda value: reporting(f"token: {{file: {value}}}"),
    "looma.token.env": lambda value: reporting(f"token: {{env: {value}}}"),
    "looma.token.secret_env": lambda value: reporting(
        f"token: {{secret_env: {value}, service_id: a, login_url: 'http://127.0.0.1'}}"
    ),
    "looma.token.secret_file": lambda value: reporting(
        f"token: {{secret_file: {value}, service_id: a, login_url: 'http://127.0.0.1'}}"
    ),
    "looma.token.login_url": lambda value: reporting(f"token: {{login_url: {value}}}"),
    "looma.key_file": lambda value: reporting(f"cert_file: c.pem, key_file: {value}"),
}
SPELLINGS = {
    "text": (f'"{WRITTEN}"', WRITTEN),
    "a number": (NUMBER, NUMBER),
    "upper case": ("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
    "a key": (f'"{PASTED}"'.replace("\n", "\\n"), "MHcCAQEEIB"),
    "a password in a URL": (f'"https://me:{NUMBER}@zervi/x?token={NUMBER}"', NUMBER),
    "a path": (f'"/{NUMBER}"', NUMBER),
    # what YAML takes for something else, where quotes were forgotten
    "an alias": ("*JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
    "an anchor": ("&JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
    "a tag": ("!JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
    "a tag of YAML": ("!!JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"),
}


@pytest.mark.parametrize(("written", "secret"), SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_secret_that_was_written_in_place_of_its_file_is_quoted_nowhere(
    mistake: Callable[[str], str],
    written: str,
    secret: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By ``check`` in any format, or by ``serve``; the message names the place of the key."""
    files = Files(tmp_path)
    files.write(sidecar=mistake(written))
    monkeypatch.setenv("ZERVI_JWT_SECRET", ENVIRON["ZERVI_JWT_SECRET"])
    config = ["--config", str(files.config)]
    for arguments in (["check", *config, "--format", form] for form in FORMATS):
        assert main(arguments) == 1
        output = "".join(capsys.readouterr())
        assert secret not in output.replace("\n", "")
    assert serve(files.config) == 1
    output = "".join(capsys.readouterr())
    assert secret not in output
    assert "sidecar.yaml:" in output


def test_a_secret_file_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    """With the number of its issuer."""
    files = Files(tmp_path)
    files.write(sidecar=issuing("secret_file: [a, b]"))
    assert files.lines() == [
        f"sidecar.yaml:1:{column}: error: the secret file cannot be read: No such file or directory"
        f" (`zervi.issuers[0].secret_file[{index}]` must be the path of a file "
        "that contains the secret)"
        for index, column in ((0, 45), (1, 48))
    ]


async def test_a_reload_tells_no_secret_that_was_written_in_place_of_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in ``/readyz`` nor in the log."""
    files = Files(tmp_path)
    (tmp_path / "secret").write_text(ENVIRON["ZERVI_JWT_SECRET"])
    files.write(sidecar=issuing("secret_file: secret"))
    sidecar = Sidecar(files.config, files.load())
    files.write(sidecar=issuing(f'secret_file: "{WRITTEN}"'))
    with pytest.raises(ConfigError) as caught:
        files.load()
    sidecar._refuse(caught.value)
    assert "zervi.issuers[0].secret_file" in caplog.text
    (detail,) = {sidecar._health.components["policy"].detail}
    assert "not reloaded" in detail
    assert WRITTEN not in f"{caplog.text} {detail}"


def test_a_key_file_that_went_is_named_by_its_key(tmp_path: Path) -> None:
    """While it runs: the listeners keep the former certificates."""
    files = Files(tmp_path)
    for name, pem in zip(("pem", "key"), Authority("ours").issue("server"), strict=True):
        (tmp_path / f"server.{name}").write_bytes(pem)
    tls = "listen: {tls: {cert_file: server.pem, key_file: server.key}}\n"
    files.write(sidecar=SIDECAR.format(issuer=BY_ENV, more=tls))
    config = files.load()
    (tmp_path / "server.key").unlink()
    with pytest.raises(ListenError) as caught:
        wiring.certificates(config)
    assert str(caught.value) == "listen.tls.key_file: No such file or directory"
