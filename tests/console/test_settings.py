"""``console.yaml``: what it may say, and that docs/console.md says the same."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from sidecar.console.settings import Settings, load, unencrypted
from sidecar.documents.findings import ConfigError
from sidecar.documents.kinds import Duration, List
from sidecar.documents.schema import keys_of, section_in
from sidecar.documents.yaml_source import read_yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
GOOD = """\
console: {origin: "https://console.example"}
looma: {url: "http://looma:8888"}
zervi: {url: "http://zervi:8207"}
"""


def errors(directory: Path, text: str) -> str:
    """Return the errors of a configuration."""
    path = directory / "console.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).replace(str(directory), "")


def test_the_least_configuration_is_good(tmp_path: Path) -> None:
    path = tmp_path / "console.yaml"
    path.write_text(GOOD)
    assert load(path).console.listen == "127.0.0.1:8700"


@pytest.mark.parametrize(
    ("looma", "zervi", "keys"),
    [
        ("https://looma", "https://zervi", []),
        ("http://127.0.0.1:8888", "http://[::1]:8207", []),
        ("HTTP://looma:8888", "https://zervi", ["looma.url"]),
        ("https://looma", "http://10.0.0.9", ["zervi.url"]),
    ],
)
def test_plain_http_to_another_machine_is_logged_at_start(
    tmp_path: Path, looma: str, zervi: str, keys: list[str]
) -> None:
    path = tmp_path / "console.yaml"
    path.write_text(GOOD.replace("http://looma:8888", looma).replace("http://zervi:8207", zervi))
    found = unencrypted(load(path))
    assert [line.split("`")[1] for line in found] == keys


def test_the_service_login_over_plain_http_is_logged_too(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("made up")
    token = 'token: {login_url: "http://zervi/login", service_id: a, secret_file: secret}'
    path = tmp_path / "console.yaml"
    path.write_text(GOOD.replace("http://", "https://").replace('8207"', f'8207", {token}'))
    (line,) = unencrypted(load(path))
    assert line.startswith("`zervi.token.login_url` is plain HTTP")


def test_the_example_is_good() -> None:
    load(ROOT / "envoy" / "console" / "console.yaml")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            ("}", ', listen: "0.0.0.0:8700"}'),
            "1:46: error: `listen` must be a unix socket or a loop",
        ),
        (("}", ', listen: "console.example:80"}'), "must be a unix socket or a loopback address"),
        (("}", ', listen: "[::]:80"}'), "must be a unix socket or a loopback address"),
        (("}", ', listen: "unix:relative"}'), "must be the absolute path of a socket"),
        (("https://console.example", "*"), "must be a single origin"),
        (("https://console.example", "https://console.example/"), "without a path"),
        (("looma: {", "looma_: {"), "unknown key `looma_`, did you mean `looma`?"),
        (("8888", "8888?a=b"), "must not have a query"),
        (('8888"', '8888", poll: 10ms'), "`poll` must be from 1s to 5m"),
        (
            ('8207"}', '8207"}\nenvironments: {database: /missing/e.db}'),
            "`database` does not exist",
        ),
        (
            ('8207"}', '8207"}\nenvironments: {database: e.db, service_name: "a b"}'),
            "`service_name` must be up to 128 letters",
        ),
        (('8888"', '8888", token: {}'), "`token` requires exactly one of `file`, `env`"),
        (
            ('8888"', '8888", token: {file: a, env: B}'),
            "`token` requires exactly one of `file`, `env`",
        ),
        (('8888"', '8888", token: {login_url: "http://z/"}'), "requires `service_id`"),
        (('8207"', '8207", cert_file: a.pem'), "`cert_file` and `key_file` are given together"),
        (('8207"', '8207", services: {a: "ftp://x"}'), "must begin with http:// or https://"),
        (("zervi: {", "zervi: {{"), "error"),
    ],
)
def test_each_error_names_its_place(tmp_path: Path, change: tuple[str, str], error: str) -> None:
    old, new = change
    assert error in errors(tmp_path, GOOD.replace(old, new, 1))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def keys(section: type[Any], prefix: str = "") -> dict[str, Any]:
    """Return each key that can be set, with its default."""
    found = {}
    for name, kind in keys_of(section).kinds.items():
        own = {each.name: each for each in fields(section)}[name]
        below = section_in(kind)
        optional = own.default is not MISSING
        if below is None or (optional and own.default in (None, ())):
            found[prefix + name] = (kind, own)
        if below is not None:
            listed = "[]" if isinstance(kind, List) else ""
            found |= keys(below, f"{prefix}{name}{listed}.")
    return found


def test_the_page_has_every_key_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `([a-z_.\[\]]+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE))
    known = keys(Settings)
    rows = {name for name in documented if "." in name or name in known}
    assert rows == set(known)
    for name, (kind, own) in known.items():
        if own.default is MISSING and own.default_factory is MISSING:
            assert documented[name] == "required", name
            continue
        default = own.default if own.default is not MISSING else own.default_factory()
        document = read_yaml(f"key: {documented[name].strip('`')}".encode()).value
        assert isinstance(document, dict)
        written = document["key"]
        if isinstance(kind, Duration):
            from sidecar.documents.values import seconds

            written = seconds(written)
        assert (list(default) if isinstance(default, tuple) else default) == written, name
