"""``routes.yaml``: the customer's format, extended, read to the core's routes and policy."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from sidecar.config.headers import method
from sidecar.config.requirements import (
    MAX_CALLERS,
    NO_OWNER,
    AuthRequired,
    Conditions,
    Owner,
    OwnerKind,
    Wanted,
    caller,
)
from sidecar.core.paths.upstreams import GENERIC
from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.patterns import MAX_NAME, default_name
from sidecar.core.routes.problems import NAME, PORT
from sidecar.core.routes.route import normalise_route_host
from sidecar.core.routes.table import (
    Policy,
    PolicyError,
    PreflightMode,
    Route,
    RouteProblem,
    compile_policy,
    parse_pattern,
)
from sidecar.documents.document import Document
from sidecar.documents.findings import BadValueError, Finding, Place, Problem, quoted
from sidecar.documents.kinds import Choice, List, Notes, RefusedError, Text
from sidecar.documents.located import located
from sidecar.documents.schema import Section, read_section
from sidecar.documents.untyped import at, mapping, sequence
from sidecar.net.addresses import check_host

ROUTES: Place = ("api_gateway", "routes")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise BadValueError(
            f"must be up to {MAX_NAME} letters, digits and . _ -, not {quoted(text)}",
            "it begins with a letter or a digit",
        )
    return text


def _host(text: str) -> str:
    if "://" in text:
        raise BadValueError(f"must be a host, not a URL, {quoted(text)}", "such as api.example.com")
    if PORT.search(text):
        raise BadValueError(f"has a port, {quoted(text)}", "a host matches requests to every port")
    name = text.removeprefix("*.")
    if "*" in name:
        raise BadValueError(
            f"must be a host name, not {quoted(text)}",
            "list each host, or write *.example.com for every name below example.com",
        )
    check_host(name)
    if name != text and not normalise_route_host(text):
        raise BadValueError(f"has an address behind `*.`, {quoted(text)}")
    return text.lower()


_TEXTS = List(Text(), min_items=1, unique=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEntry:
    """One of ``api_gateway.routes``. Omitted keys are empty; no key can be given empty."""

    path: Annotated[str, Text()]
    target: Annotated[str, Text()] = ""
    auth_required: Annotated[bool | Literal["optional"], AuthRequired()] = True
    permissions: Annotated[tuple[str, ...], _TEXTS] = ()
    name: Annotated[str, Text(_name)] = ""
    methods: Annotated[tuple[str, ...], List(Text(method), min_items=1, unique=True)] = ()
    hosts: Annotated[tuple[str, ...], List(Text(_host), min_items=1, unique=True)] = ()
    any_permissions: Annotated[tuple[str, ...], _TEXTS] = ()
    roles: Annotated[tuple[str, ...], _TEXTS] = ()
    owner: Annotated[Owner, OwnerKind()] = NO_OWNER
    owner_unless: Annotated[tuple[str, ...], _TEXTS] = ()
    principals: Annotated[
        tuple[str, ...],
        List(Choice(("user", "service", "both")), min_items=1, or_one=True, unique=True),
    ] = ("user",)
    issuers: Annotated[tuple[str, ...], _TEXTS] = ()
    claims: Annotated[tuple[Wanted, ...], Conditions()] = ()
    callers: Annotated[
        tuple[str, ...], List(Text(caller), min_items=1, max_items=MAX_CALLERS, unique=True)
    ] = ()


@dataclass(frozen=True, slots=True)
class _Each:
    """Keeps the valid entries by their index, so that an invalid one hides no other problem."""

    def read(self, value: object, place: Place, notes: Notes) -> dict[int, RouteEntry]:
        """Read every entry that is valid."""
        if not isinstance(value, list):
            raise notes.wrong_type(value, place, "a list")
        if not value:
            raise notes.refuse(place, "bad-value", "is an empty list")
        entries = {}
        for index, entry in enumerate(value):
            with suppress(RefusedError):
                entries[index] = read_section(RouteEntry, entry, (*place, index), notes)
        return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """``api_gateway``: the valid routes, by their index."""

    routes: Annotated[Mapping[int, RouteEntry], _Each()]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFile:
    """The whole of ``routes.yaml``."""

    api_gateway: Annotated[Gateway, Section(Gateway)]


class PolicySettings(NamedTuple):
    """The settings for compiling a policy; ``issuers`` are the names that a route may list.

    ``gateway`` says whether routes lead to their targets.
    """

    issuers: frozenset[str]
    cors_preflight: PreflightMode = "answer"
    ignore_case: bool = False
    allow_paths: frozenset[str] = frozenset()
    upstream: str = GENERIC
    encoded: frozenset[str] = frozenset()
    gateway: bool = False


class PolicySource(NamedTuple):
    """A policy as it was read: the file, its content, and the digest that identifies it."""

    path: Path
    document: Document
    digest: str


class CompiledPolicy(NamedTuple):
    """A policy's file and the compiled policy, which is None if the file is invalid."""

    source: PolicySource
    policy: Policy | None

    def lines(self) -> tuple[int, ...]:
        """Return each route's line in the file."""
        routes = self.policy.routes if self.policy else ()
        return tuple(self.source.document.mark((*ROUTES, route.index)).line for route in routes)

    def located(self, problems: Iterable[Problem]) -> list[Finding]:
        """Return problems with the policy as findings in its file."""
        return located(self.source.path, self.source.document, problems)


def digest_of(content: bytes) -> str:
    """Return a policy's identifier: the first 16 digits that ``sha256sum`` prints for its file."""
    return hashlib.sha256(content).hexdigest()[:16]


def compile_document(
    document: Document, settings: PolicySettings, digest: str
) -> tuple[Policy | None, list[Problem]]:
    """Compile the table in a document. If it is invalid, return None and the problems."""
    notes = Notes(written=document.texts)
    entries: Mapping[int, RouteEntry] = {}
    with suppress(RefusedError):
        entries = read_section(RouteFile, document.value, (), notes).api_gateway.routes
    problems = notes.problems
    for index, value in enumerate(sequence(at(document.value, *map(str, ROUTES)))):
        problems += _unknown_issuers(mapping(value), settings.issuers, (*ROUTES, index))
        if settings.gateway:
            problems += _reserved_target(mapping(value), (*ROUTES, index))
    names = _names(entries)
    routes = []
    for index, entry in entries.items():
        try:
            routes.append(_route(index, names[index], entry))
        except RouteKeyError as wrong:
            problems.append(Problem((*ROUTES, index, wrong.key), "route", str(wrong), wrong.help))
    try:
        policy = compile_policy(
            routes,
            digest=digest,
            cors_preflight=settings.cors_preflight,
            ignore_case=settings.ignore_case,
            allow_paths=settings.allow_paths,
            upstream=settings.upstream,
            encoded=settings.encoded,
        )
    except PolicyError as error:
        return None, problems + [_located(each, entries[each.route]) for each in error.problems]
    return (None if problems else policy), problems


def _unknown_issuers(
    route: Mapping[str, object], known: frozenset[str], place: Place
) -> Iterator[Problem]:
    for index, name in enumerate(sequence(route.get("issuers"))):
        if isinstance(name, str) and name not in known:
            yield Problem(
                (*place, "issuers", index),
                "unknown-issuer",
                f"unknown issuer {quoted(name)}",
                f"`zervi.issuers` has {', '.join(map(quoted, sorted(known)))}" if known else "",
            )


def _reserved_target(route: Mapping[str, object], place: Place) -> Iterator[Problem]:
    from sidecar.core.placement.place import RESERVED  # only a gateway needs it

    target = route.get("target")
    if isinstance(target, str) and target in RESERVED:
        yield Problem(
            (*place, "target"),
            "reserved-target",
            f"{quoted(target)} is a cluster of the gateway's own Envoy",
            "another name for the service, there and here",
        )


def _names(entries: Mapping[int, RouteEntry]) -> dict[int, str]:
    """Name each route: its own name, else its path, with its methods if paths are shared."""
    names = {index: entry.name for index, entry in entries.items() if entry.name}
    taken = set(names.values())
    plain = {index: default_name(entry.path) for index, entry in entries.items() if not entry.name}
    shared = Counter(plain.values())
    numbers: Counter[str] = Counter()
    for index, name in plain.items():
        base = name
        if shared[name] > 1:
            base = default_name("-".join([name, *map(str.lower, sorted(entries[index].methods))]))
        names[index] = base
        while names[index] in taken:
            numbers[base] += 1
            names[index] = f"{base}-{numbers[base] + 1}"
        taken.add(names[index])
    return names


def _route(index: int, name: str, entry: RouteEntry) -> Route:
    return Route(
        index=index,
        name=name,
        path=entry.path,
        target=entry.target,
        methods=_set(entry.methods),
        hosts=_set(entry.hosts),
        public=entry.auth_required is False,
        optional=entry.auth_required == "optional",
        permissions=entry.permissions,
        any_permissions=entry.any_permissions,
        roles=entry.roles,
        owner=_owner(entry),
        owner_claim=entry.owner.claim,
        claims=_conditions(entry),
        callers=_set(entry.callers),
        owner_unless=entry.owner_unless,
        principals=_set(entry.principals),
        issuers=_set(entry.issuers),
    )


@lru_cache(maxsize=1024)
def _set(items: tuple[str, ...]) -> frozenset[str]:
    """Return one set for all equal lists: each takes 216 bytes, and most are the same few."""
    return frozenset(items)


def _owner(entry: RouteEntry) -> int | None:
    """Return the index of the owner's segment; 0 for an invalid path, which compiling reports."""
    name = entry.owner.segment
    if not name:
        return None
    return _index(entry.path, name, "`owner` is", "owner", "`owner: user_id`")


def _conditions(entry: RouteEntry) -> tuple[Condition, ...]:
    """Return what the claims must be, with the indexes of the path's segments."""
    return tuple(
        Condition(
            wanted.claim,
            frozenset(wanted.texts),
            frozenset(wanted.flags),
            tuple(
                _index(entry.path, name, f"`claims.{wanted.claim[0]}` names", "claims", "")
                for name in wanted.names
            ),
        )
        for wanted in entry.claims
    )


def _index(path: str, name: str, what: str, key: str, example: str) -> int:
    try:
        names = parse_pattern(path).names
    except ValueError:
        return 0
    if name not in names:
        known = [f"{{{each}}}" for each in names]
        hint = f"the path has {', '.join(known)}" if known else ""
        if not known and example:
            hint = f"such as /users/{{user_id}} and {example}"
        message = f"{what} {quoted(name)}, which is not a {{name}} in the path"
        raise RouteKeyError(key, message, hint)
    return names[name]


class RouteKeyError(BadValueError):
    """One key of a route does not fit its path."""

    def __init__(self, key: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.key = key


def _located(problem: RouteProblem, entry: RouteEntry) -> Problem:
    place = (*ROUTES, problem.route, problem.key)
    other = None if problem.other is None else (*ROUTES, problem.other)
    hint = problem.help
    if problem.key == "path" and not hint:
        from sidecar.config.foreign_paths import help_for

        hint = help_for(entry.path)
    return Problem(place, "route", problem.message, hint, other=other)
