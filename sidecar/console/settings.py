"""``console.yaml``: its schema, and how it is loaded. docs/console.md has what each key means."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from sidecar.config.addresses import address, base_url, http_url
from sidecar.config.files import read_file
from sidecar.config.headers import origin
from sidecar.documents.document import Document
from sidecar.documents.findings import BadValueError, ConfigError, Finding, Problem, Severity
from sidecar.documents.kinds import (
    Choice,
    Duration,
    File,
    List,
    Mapped,
    Notes,
    Optional,
    RefusedError,
    Text,
)
from sidecar.documents.located import in_order, located
from sidecar.documents.schema import Section, read_section
from sidecar.documents.values import environment_name, non_blank
from sidecar.documents.yaml_source import MAX_BYTES, read_yaml
from sidecar.net.addresses import is_loopback, parse_tcp

MAX_SERVICES = 64  # of Zervi: each is probed every few seconds
MAX_PERMISSIONS = 100  # of an environment
MAX_POLICIES = 64  # each has tables that stay in memory


def local_address(text: str) -> str:
    """Return a unix socket or a loopback ``host:port`` unchanged. Raises BadValueError.

    The console trusts the identity headers of every request, so only Envoy may reach it.
    """
    address(text, "unix:/run/zervi-console/console.sock")
    if not text.startswith("unix:") and not is_loopback(parse_tcp(text).host):
        raise BadValueError(
            "must be a unix socket or a loopback address",
            "the console has no auth code: clients reach it through Envoy, which asks the sidecar",
        )
    return text


def registry_name(text: str) -> str:
    """Return a service's name in the registry unchanged. Raises BadValueError."""
    if not re.fullmatch("[A-Za-z0-9._-]{1,128}", text):
        raise BadValueError("must be up to 128 letters, digits and . _ -", "such as basic-server")
    return text


@dataclass(frozen=True, kw_only=True)
class ConsoleSection:
    """``console``: the address, and the origin under which browsers reach it."""

    origin: Annotated[str, Text(origin)]
    listen: Annotated[str, Text(local_address)] = "127.0.0.1:8700"


@dataclass(frozen=True, kw_only=True)
class TokenSection:
    """``token``: exactly one of ``file``, ``env`` and ``login_url`` (with the next two)."""

    file: Annotated[Path | None, Optional(File(shown=False))] = None
    env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None
    login_url: Annotated[str | None, Optional(Text(http_url))] = None
    service_id: Annotated[str | None, Optional(Text())] = None
    secret_file: Annotated[Path | None, Optional(File(shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class LoomaSection:
    """``looma``: the registry. ``poll`` and ``silent`` are in seconds."""

    url: Annotated[str, Text(base_url)]
    poll: Annotated[float, Duration("1s", "5m")] = 5.0
    silent: Annotated[float, Duration("5s", "24h")] = 100.0
    token: Annotated[TokenSection | None, Optional(Section(TokenSection))] = None
    ca_file: Annotated[Path | None, Optional(File())] = None
    cert_file: Annotated[Path | None, Optional(File())] = None
    key_file: Annotated[Path | None, Optional(File(shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class ZerviSection:
    """``zervi``: where users are looked up. ``services`` are names with health URLs."""

    url: Annotated[str, Text(base_url)]
    services: Annotated[
        Mapping[str, str], Mapped(Text(http_url), Text(non_blank), max_items=MAX_SERVICES)
    ] = field(default_factory=dict)
    token: Annotated[TokenSection | None, Optional(Section(TokenSection))] = None
    ca_file: Annotated[Path | None, Optional(File())] = None
    cert_file: Annotated[Path | None, Optional(File())] = None
    key_file: Annotated[Path | None, Optional(File(shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class PolicySection:
    """One of ``policies``: a ``sidecar.yaml``, and a directory with more tables for it."""

    config: Annotated[Path, File()]
    tables: Annotated[Path | None, Optional(File())] = None


@dataclass(frozen=True, kw_only=True)
class PrometheusSection:
    """``prometheus``: where time series come from."""

    url: Annotated[str, Text(base_url)]


@dataclass(frozen=True, kw_only=True)
class EnvironmentsSection:
    """``environments``: the file that remembers them, and what a user gets."""

    database: Annotated[Path, File()]
    service_name: Annotated[str, Text(registry_name)] = "basic-server"
    permissions: Annotated[tuple[str, ...], List(Text(non_blank), max_items=MAX_PERMISSIONS)] = (
        "basic-server:access",
        "data:read",
        "data:write",
    )


@dataclass(frozen=True, kw_only=True)
class LogSection:
    """``log``: the log of operation, on standard error. Audit lines have no level."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Choice(("debug", "info", "warning", "error"))
    ] = "info"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole of ``console.yaml``."""

    console: Annotated[ConsoleSection, Section(ConsoleSection)]
    looma: Annotated[LoomaSection, Section(LoomaSection)]
    zervi: Annotated[ZerviSection, Section(ZerviSection)]
    policies: Annotated[
        tuple[PolicySection, ...], List(Section(PolicySection), max_items=MAX_POLICIES)
    ] = ()
    prometheus: Annotated[PrometheusSection | None, Optional(Section(PrometheusSection))] = None
    environments: Annotated[EnvironmentsSection | None, Optional(Section(EnvironmentsSection))] = (
        None
    )
    log: Annotated[LogSection, Section(LogSection)] = LogSection()


def load(path: Path) -> Settings:
    """Read and check a configuration. Raises ConfigError with every error in it."""
    try:
        document = read_yaml(read_file(path, MAX_BYTES))
    except BadValueError as wrong:
        message = f"the file {wrong}"
        raise ConfigError([Finding("file", Severity.ERROR, str(path), 0, 0, message)]) from None
    settings, problems = _read(document, path.parent)
    findings = in_order(located(path, document, problems))
    if settings is None or findings:
        raise ConfigError(findings)
    return settings


def unencrypted(settings: Settings) -> list[str]:
    """Return what the console sends or asks over plain HTTP beyond this machine, for the log."""
    urls = {"looma.url": settings.looma.url, "zervi.url": settings.zervi.url}
    for name, section in (("looma", settings.looma), ("zervi", settings.zervi)):
        if section.token is not None and section.token.login_url is not None:
            urls[f"{name}.token.login_url"] = section.token.login_url
    return [
        f"`{key}` is plain HTTP: a man in the middle can steal tokens and change answers; use https"
        for key, url in urls.items()
        if url.lower().startswith("http://") and not is_loopback(str(urlsplit(url).hostname))
    ]


def _read(document: Document, base: Path) -> tuple[Settings | None, list[Problem]]:
    if not document.complete:
        return None, []
    notes = Notes(base, document.texts)
    settings: Settings | None = None
    with suppress(RefusedError):
        settings = read_section(Settings, document.value, (), notes)
    problems = notes.problems
    for name in ("looma", "zervi"):
        section = getattr(settings, name, None)
        if section is not None:
            problems += _token_problems(name, section.token)
            problems += _certificate_problems(name, section)
    if settings is not None and settings.environments is not None:
        directory = settings.environments.database.parent
        if not directory.is_dir():
            message = "the directory of `database` does not exist"
            place = ("environments", "database")
            problems.append(Problem(place, "file", message, str(directory)))
    return settings, problems


def _token_problems(name: str, token: TokenSection | None) -> list[Problem]:
    if token is None:
        return []
    place = (name, "token")
    given = [key for key in ("file", "env", "login_url") if getattr(token, key) is not None]
    if len(given) != 1:
        message = "`token` requires exactly one of `file`, `env` and `login_url`"
        return [Problem(place, "token", message)]
    login = [token.service_id, token.secret_file]
    if given == ["login_url"] and None in login:
        return [Problem(place, "token", "`login_url` requires `service_id` and `secret_file`")]
    if given != ["login_url"] and login != [None, None]:
        return [Problem(place, "token", "`service_id` and `secret_file` are for `login_url`")]
    return []


def _certificate_problems(name: str, section: LoomaSection | ZerviSection) -> list[Problem]:
    if (section.cert_file is None) == (section.key_file is None):
        return []
    return [Problem((name,), "tls", "`cert_file` and `key_file` are given together")]
