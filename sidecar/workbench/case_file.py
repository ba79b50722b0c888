"""Reads a case file and every file that it names; reports all errors in them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from sidecar.app import wiring
from sidecar.config import Config, ConfigError, Finding, Severity, load
from sidecar.config.files import read_file
from sidecar.config.load import read_policy
from sidecar.config.policy_file import PolicySource, digest_of
from sidecar.core.request import Request
from sidecar.documents.document import Document, Mark
from sidecar.documents.findings import BadValueError, Place, Problem, quoted
from sidecar.documents.kinds import Notes, RefusedError
from sidecar.documents.located import in_order, located
from sidecar.documents.schema import read_section
from sidecar.documents.untyped import mapping
from sidecar.documents.yaml_source import MAX_BYTES, read_yaml
from sidecar.workbench.case_schema import (
    ANONYMOUS,
    ANYONE,
    CaseEntries,
    Expectation,
    Fixtures,
    PrincipalEntry,
)
from sidecar.workbench.engine import request_of
from sidecar.workbench.principals import Caller, GivenClaims
from sidecar.workbench.revoked import KnownFeed, WrongEntryError, feed_of, usual

STANDARD = Path(__file__).with_name("standard.yaml")

T = TypeVar("T")


class Cell(NamedTuple):
    """What is expected of one request by one principal; ``line`` is that of the expectation."""

    request: str
    principal: str
    wanted: Expectation
    line: int


class Case(NamedTuple):
    """A case file with everything it names.

    ``now`` is epoch seconds; ``feed`` has its revocations; ``files`` are those read.
    """

    path: Path
    now: float
    config: Config
    policy_path: Path
    principals: Mapping[str, Caller]
    requests: Mapping[str, Request]
    cells: tuple[Cell, ...]
    feed: KnownFeed | None
    files: tuple[Path, ...]


def read_case(path: Path) -> Case:
    """Read a case file, its fixtures, configuration and policy.

    Raises ConfigError with every error in any of them.
    """
    content = _content(path)
    document = read_yaml(content)
    entries, problems = _read(CaseEntries, document, path.parent)
    findings: list[Finding] = []
    named = _Named(document, path)
    principals = dict(entries.principals) if entries else {}
    fixtures: dict[str, PrincipalEntry] = {}
    try:
        fixtures = dict(read_fixtures(named.fixtures)) if named.fixtures else {}
    except ConfigError as error:
        findings += error.findings
    for name in fixtures.keys() & principals.keys():
        message = f"{quoted(name)} is also in the fixtures"
        problems.append(Problem(("principals", name), "duplicate-key", message))
    config = None
    try:
        config, policy_path = _configuration(named, document, digest_of(content))
    except ConfigError as error:
        findings += error.findings
    except BadValueError as wrong:
        problems.append(Problem(("policy",), "file", f"the policy {wrong}", wrong.help))
    if entries and not findings:
        problems += _names(entries, {ANONYMOUS, *principals, *fixtures})
    feed = None
    if config is not None:
        problems += _issuers(principals, config)
    if config is not None and entries and entries.revocations:
        feed, wrong_entries = _feed(entries, config)
        problems += wrong_entries
    findings = located(path, document, problems) + findings
    if findings or entries is None or config is None:
        raise ConfigError(in_order(findings))
    everybody = {**fixtures, **principals}
    return Case(
        path=path,
        now=entries.now,
        config=config,
        policy_path=policy_path,
        principals={
            ANONYMOUS: None,
            **{name: caller_of(entry) for name, entry in everybody.items()},
        },
        requests={
            name: request_of(each.method, each.path, each.host, each.headers, each.peer)
            for name, each in entries.requests.items()
        },
        cells=tuple(_cells(entries, (ANONYMOUS, *everybody), document)),
        feed=feed,
        files=tuple(file for file in (path, entries.fixtures, entries.config, policy_path) if file),
    )


def read_fixtures(path: Path) -> Mapping[str, PrincipalEntry]:
    """Read a file of principals. Raises ConfigError with every error in it."""
    return _required(Fixtures, path, read_yaml(_content(path))).principals


def read_principals(path: Path) -> Mapping[str, PrincipalEntry]:
    """Read the principals of a case file, or of its fixtures. Raises ConfigError."""
    document = read_yaml(_content(path))
    if "requests" not in mapping(document.value):
        return _required(Fixtures, path, document).principals
    case = _required(CaseEntries, path, document)
    return {**(read_fixtures(case.fixtures) if case.fixtures else {}), **case.principals}


def _required(section: type[T], path: Path, document: Document) -> T:
    entries, problems = _read(section, document, path.parent)
    if entries is None:
        raise ConfigError(in_order(located(path, document, problems)))
    return entries


def caller_of(entry: PrincipalEntry) -> Caller:
    """Return the caller that an entry describes."""
    if entry.token is not None:
        return entry.token.encode()
    return GivenClaims(entry.claims or {}, entry.issuer)


def _content(path: Path) -> bytes:
    try:
        return read_file(path, MAX_BYTES)
    except BadValueError as wrong:
        message = f"the file {wrong}"
        raise ConfigError([Finding("file", Severity.ERROR, str(path), 0, 0, message)]) from None


def _read(section: type[T], document: Document, base: Path) -> tuple[T | None, list[Problem]]:
    if not document.complete:
        return None, []
    notes = Notes(base, document.texts)
    entries = None
    with suppress(RefusedError):
        entries = read_section(section, document.value, (), notes)
    principals = mapping(mapping(document.value).get("principals"))
    notes.problems += (
        problem
        for name, entry in principals.items()
        for problem in _principal(name, entry, ("principals", name))
    )
    return (None if notes.problems else entries), notes.problems


def _principal(name: str, entry: object, place: Place) -> Iterator[Problem]:
    if name in {ANONYMOUS, ANYONE}:
        yield Problem(place, "bad-value", f"{quoted(name)} is a reserved name")
    given = [key for key in ("claims", "token") if mapping(entry).get(key) is not None]
    if isinstance(entry, dict) and len(given) != 1:
        yield Problem(place, "bad-value", f"{quoted(name)} needs either `claims` or `token`")


def _names(entries: CaseEntries, known: set[str]) -> Iterator[Problem]:
    """Yield requests and principals that an expectation names and the file does not have."""
    for request, wanted in entries.expect.items():
        if request not in entries.requests:
            message = f"unknown request {quoted(request)}"
            yield Problem(("expect", request), "unknown-request", message)
        for principal in wanted:
            if principal not in known | {ANYONE}:
                message = f"unknown principal {quoted(principal)}"
                hint = f"known: {', '.join(sorted(known))}, and {ANYONE}"
                yield Problem(("expect", request, principal), "unknown-principal", message, hint)


def _issuers(principals: Mapping[str, PrincipalEntry], config: Config) -> Iterator[Problem]:
    known = sorted({issuer.name for issuer in config.issuers})
    for name, entry in principals.items():
        iss = (entry.claims or {}).get("iss")
        issuer = entry.issuer or (iss if isinstance(iss, str) else None)
        if entry.claims is not None and issuer is not None and issuer not in known:
            message = f"unknown issuer {quoted(issuer)}"
            hint = f"known: {', '.join(map(quoted, known))}"
            yield Problem(("principals", name), "unknown-issuer", message, hint)


def _feed(entries: CaseEntries, config: Config) -> tuple[KnownFeed | None, list[Problem]]:
    """Return the feed with a case's revocations, or the problems in them."""
    settings = wiring.revocation(config)
    if settings is None and entries.config is not None:
        message = "`revocations` needs `zervi.revocation` in the configuration"
        return None, [Problem(("revocations",), "missing-key", message)]
    if settings is None:
        settings = usual(issuer.name for issuer in config.issuers)
    try:
        return feed_of(entries.revocations, settings, entries.now), []
    except WrongEntryError as wrong:
        place: Place = ("revocations", wrong.index)
        return None, [Problem(place, "bad-value", wrong.problem)]


class _Named:
    """The files that a case file names, even if its other keys have errors."""

    def __init__(self, document: Document, path: Path) -> None:
        value = mapping(document.value)
        self.path = path
        self.table = value.get("api_gateway")
        self.config, self.policy, self.fixtures = (
            path.parent / name if isinstance(name, str) and name else None
            for name in map(value.get, ("config", "policy", "fixtures"))
        )


def _configuration(named: _Named, document: Document, digest: str) -> tuple[Config, Path]:
    source = None
    if named.table is not None:
        table = {"api_gateway": named.table}
        read = Document(table, document.marks, document.texts, complete=True)
        source = PolicySource(named.path, read, digest)
    elif named.policy is not None:
        source = read_policy(named.policy)
    elif named.config is None:
        raise BadValueError("is missing", "name a `config`, a `policy`, or write `api_gateway`")
    config = load(named.config or STANDARD, os.environ, offline=True, policy_file=source)
    return config, source.path if source else config.settings.policy.file


def _cells(entries: CaseEntries, everybody: tuple[str, ...], document: Document) -> Iterator[Cell]:
    """Yield each pair of request and principal; one that is not listed must be denied."""
    denied = Expectation(decision="deny")
    for request in entries.requests:
        wanted = entries.expect.get(request, {})
        for principal in everybody:
            listed = principal if principal in wanted else ANYONE
            mark: Mark = document.mark(("expect", request, listed))
            if listed not in wanted and request not in entries.expect:
                mark = document.mark(("requests", request))
            yield Cell(request, principal, wanted.get(listed, denied), mark.line)
