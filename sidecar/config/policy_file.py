"""``routes.yaml``: the customer's own format, extended, as the core's routes and policy."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError

from sidecar.config import wording
from sidecar.config.addresses import check_host
from sidecar.config.findings import BadValueError, Place, Problem, quoted
from sidecar.config.headers import TOKEN
from sidecar.config.model import Section
from sidecar.config.raw import at, mapping, sequence
from sidecar.config.types import Distinct, NonEmpty, Text
from sidecar.config.yaml_source import Document
from sidecar.core.patterns import MAX_NAME, default_name
from sidecar.core.routes import (
    Policy,
    PolicyError,
    Route,
    RouteProblem,
    compile_policy,
    parse_pattern,
)

ROUTES: Place = ("api_gateway", "routes")

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")


def _method(value: str) -> str:
    if not TOKEN.fullmatch(value):
        raise BadValueError(f"is no method: {quoted(value)}", "such as GET")
    if value != value.upper():
        raise BadValueError(
            f"is {quoted(value)}, did you mean {value.upper()}?", "methods are told apart by case"
        )
    return value


def _host(value: str) -> str:
    check_host(value.removesuffix(":") if value.startswith("[") else value.partition(":")[0])
    if re.search(r"(?:^[^:]*|\]):[0-9]*$", value):
        raise BadValueError("must not have a port", "a host matches with every port")
    return value.lower()


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise BadValueError(
            f"must be up to {MAX_NAME} letters, digits and . _ -, and {quoted(value)} is not",
            "the first a letter or a digit",
        )
    return value


Method = Annotated[str, AfterValidator(_method)]
Host = Annotated[str, AfterValidator(_host)]


class RouteEntry(Section):
    """One entry of ``api_gateway.routes``. Empty stands for what is not given; nothing empty can be given."""

    path: Text
    target: Text = ""
    auth_required: bool = True
    permissions: Annotated[NonEmpty[Text], Distinct] = ()
    name: Annotated[str, AfterValidator(_name)] = ""
    methods: Annotated[NonEmpty[Method], Distinct] = ()
    hosts: Annotated[NonEmpty[Host], Distinct] = ()
    any_permissions: Annotated[NonEmpty[Text], Distinct] = ()
    roles: Annotated[NonEmpty[Text], Distinct] = ()
    owner: Text = ""
    owner_unless: Annotated[NonEmpty[Text], Distinct] = ()
    principals: Annotated[NonEmpty[Literal["user", "service"]], Distinct] = ("user",)
    issuers: Annotated[NonEmpty[Text], Distinct] = ()


class Gateway(Section):
    """``api_gateway``; its routes are looked at one by one."""

    routes: Annotated[list[object], Field(min_length=1)]


class RouteFile(Section):
    """The whole of ``routes.yaml``."""

    api_gateway: Gateway


class PolicySettings(NamedTuple):
    """What of ``sidecar.yaml`` a policy is compiled with. ``issuers`` are the names a route may give."""

    issuers: frozenset[str]
    cors_preflight: bool = True
    ignore_case: bool = False
    allow_paths: frozenset[str] = frozenset()


def digest_of(content: bytes) -> str:
    """Name a policy by its file: the first 16 digits of what ``sha256sum`` prints."""
    return hashlib.sha256(content).hexdigest()[:16]


def compile_document(
    document: Document, settings: PolicySettings, digest: str
) -> tuple[Policy | None, list[Problem]]:
    """Compile the table in a document. Without a policy there is at least one problem that is an error."""
    problems: list[Problem] = []
    try:
        RouteFile.model_validate(document.value)
    except ValidationError as error:
        problems += wording.problems(error, RouteFile, document.texts)
    entries: dict[int, RouteEntry] = {}
    for index, value in enumerate(sequence(at(document.value, *map(str, ROUTES)))):
        try:
            entries[index] = RouteEntry.model_validate(value)
        except ValidationError as error:
            problems += wording.problems(error, RouteEntry, document.texts, (*ROUTES, index))
        problems += _unknown_issuers(mapping(value), settings.issuers, (*ROUTES, index))
    names = _names(entries)
    routes = []
    for index, entry in entries.items():
        try:
            routes.append(_route(index, names[index], entry))
        except BadValueError as wrong:
            problems.append(Problem((*ROUTES, index, "owner"), "route", str(wrong), wrong.help))
    try:
        policy = compile_policy(
            routes,
            digest=digest,
            cors_preflight=settings.cors_preflight,
            ignore_case=settings.ignore_case,
            allow_paths=settings.allow_paths,
        )
    except PolicyError as error:
        return None, problems + [_located(problem) for problem in error.problems]
    return (None if problems else policy), problems


def _unknown_issuers(
    route: Mapping[str, object], known: frozenset[str], place: Place
) -> Iterator[Problem]:
    for index, name in enumerate(sequence(route.get("issuers"))):
        if isinstance(name, str) and name not in known:
            yield Problem(
                (*place, "issuers", index),
                "unknown-issuer",
                f"no issuer has the name {quoted(name)}",
                f"`zervi.issuers` has {', '.join(map(quoted, sorted(known)))}" if known else "",
            )


def _names(entries: Mapping[int, RouteEntry]) -> dict[int, str]:
    """Give each route a name: its own, or one from its path, with its methods where several share that."""
    taken = {entry.name for entry in entries.values() if entry.name}
    plain = {index: default_name(entry.path) for index, entry in entries.items() if not entry.name}
    shared = Counter(plain.values())
    names: dict[int, str] = {}
    for index, entry in entries.items():
        name = entry.name
        if not name:
            name = plain[index]
            if shared[name] > 1 and entry.methods:
                name = "-".join([name, *map(str.lower, sorted(entry.methods))])
            name = default_name(name, taken)
            taken.add(name)
        names[index] = name
    return names


def _route(index: int, name: str, entry: RouteEntry) -> Route:
    return Route(
        index=index,
        name=name,
        path=entry.path,
        target=entry.target,
        methods=frozenset(entry.methods),
        hosts=frozenset(entry.hosts),
        public=not entry.auth_required,
        permissions=entry.permissions,
        any_permissions=entry.any_permissions,
        roles=entry.roles,
        owner=_owner(entry),
        owner_unless=entry.owner_unless,
        principals=frozenset(entry.principals),
        issuers=frozenset(entry.issuers),
    )


def _owner(entry: RouteEntry) -> int | None:
    """The index of the owner's segment; any at all where the path is wrong, which compiling tells."""
    if not entry.owner:
        return None
    try:
        names = parse_pattern(entry.path).names
    except ValueError:
        return 0
    if entry.owner not in names:
        known: Sequence[str] = [f"{{{name}}}" for name in names]
        hint = (
            f"the path has {', '.join(known)}"
            if known
            else "such as /users/{user_id} and `owner: user_id`"
        )
        raise BadValueError(
            f"`owner` is {quoted(entry.owner)}, which is no {{name}} of the path", hint
        )
    return names[entry.owner]


def _located(problem: RouteProblem) -> Problem:
    place = (*ROUTES, problem.route, problem.key)
    other = None if problem.other is None else (*ROUTES, problem.other)
    return Problem(place, "route", problem.message, problem.help, other=other)
