"""Suggestions about a configuration and its policy: only ``check`` prints them, ``serve`` does not.

Findings are warnings, or infos for what is probably intended; none is an error.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from sidecar.config.addresses import is_open
from sidecar.config.foreign_paths import foreign, right_form
from sidecar.config.load import ConfigFiles
from sidecar.config.policy_file import ROUTES
from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from sidecar.core.routes.route import BOTH
from sidecar.core.routes.table import Policy, Route
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.principal import (
    ALL_PERMISSIONS,
    IdentityHeaders,
    Kind,
    Principal,
    identity_values,
)
from sidecar.documents.findings import Finding, Place, Problem, info, quoted, warning
from sidecar.documents.located import located
from sidecar.documents.spelling import likely_typos
from sidecar.documents.untyped import at, duration, mapping, sequence, texts
from sidecar.review import claims, gateway, lint, method_override, overlap, readings, secret_scan

NAMED = 5  # headers that a message names
LONG_LEEWAY = 60.0  # seconds; clocks synchronised by NTP differ by far less

_PERMISSION_KEYS = ("permissions", "any_permissions", "owner_unless")
_GRANTS: Place = ("zervi", "role_permissions")


def findings(files: ConfigFiles) -> list[Finding]:
    """Return every warning and info about a configuration, those of ``lint`` included.

    What is invalid is left out; ``files.findings`` has it.
    """
    compiled, value = files.policy, files.value
    problems = list(of_settings(value))
    found = lint.findings(files)
    paths = [files.path]
    if compiled is not None:
        paths.append(compiled.source.path)
        if (policy := compiled.policy) is not None:
            problems += of_settings_and_policy(policy, value)
            found += compiled.located(of_policy(policy, value))
    return [*located(files.path, files.document, problems), *secret_scan.findings(*paths), *found]


def of_settings(document: object) -> Iterator[Problem]:
    """Yield advice on a whole ``sidecar.yaml``."""
    if is_open(at(document, "listen", "ops")):
        message = "any client on the network can read health and metrics: routes, load, key ages"
        yield info(("listen", "ops"), "open-ops", message, "restrict it to the pod's network")
    promotable = at(document, "policy", "shadow", "promotable")
    if promotable is True and at(document, "listen", "admin") is None:
        yield warning(
            ("policy", "shadow", "promotable"),
            "no-admin",
            "the candidate cannot be promoted: `zervi-sidecar promote` needs `listen.admin`",
            "such as `admin: unix:/run/zervi-admin/admin.sock`",
        )
    for index, entry in enumerate(sequence(at(document, "zervi", "issuers"))):
        issuer = mapping(entry)
        if issuer.get("audiences") is None and not {
            "jwks_url",
            "discovery",
            "jwks_file",
        }.isdisjoint(issuer):
            place: Place = ("zervi", "issuers", index)
            message = "tokens that this issuer issued for other services are accepted here too"
            yield info(place, "no-audience", message, "name this service in `audiences`")
    leeway = duration(at(document, "zervi", "leeway"), 0.0)
    if leeway is not None and leeway > LONG_LEEWAY:
        message = f"tokens are accepted until {leeway:g} s after they expire"
        yield info(
            ("zervi", "leeway"), "long-leeway", message, "30s is enough for clock differences"
        )
    allowed = texts(at(document, "policy", "allow_paths"))
    if allowed:
        yield warning(
            ("policy", "allow_paths"),
            "ambiguous-paths",
            f"paths that servers read in several ways are accepted: {', '.join(allowed)}",
            "allow only what clients need; the policy must allow every reading of such a path",
        )
    if at(document, "policy", "cors_preflight") == "forward":
        yield warning(
            ("policy", "cors_preflight"),
            "forwarded-preflights",
            "the upstream gets CORS preflights without a token and runs its OPTIONS handlers",
            "answer them here or in Envoy; forward is for an upstream that answers CORS itself",
        )
    yield from claims.problems(document)
    for place, grants in _role_permissions(document):
        yield from _wide_grants(place, grants)
        yield from _large_grants(place, grants, document)


def of_policy(policy: Policy, document: object) -> Iterator[Problem]:
    """Yield advice on a policy, located in its file; ``document`` is ``sidecar.yaml``."""
    yield from overlap.problems(policy)
    yield from readings.problems(policy)
    yield from method_override.problems(policy, policy.upstream)
    yield from gateway.of_policy(policy, document)
    grants = [grants for _, grants in _role_permissions(document)]
    granted = {name for each in grants for names in each.values() for name in texts(names)}
    yield from _names(policy, _PERMISSION_KEYS, granted, "permission")
    yield from _names(policy, ("roles",), {role for each in grants for role in each}, "role")
    for route in policy.routes:
        place: Place = (*ROUTES, route.index)
        if route.public and route.path == "/*":
            message = "every path that no other route matches is public"
            yield warning((*place, "path"), "public-everything", message, "list the public paths")
        yield from _foreign(route)
        if route.owner is not None and "user" not in route.principals and not route.owner_unless:
            message = (
                "this route denies every request: only users own paths, and it requires a service"
            )
            hint = "add user to `principals`, or `owner_unless`"
            yield warning((*place, "owner"), "owner-of-service", message, hint)
        for key in _PERMISSION_KEYS:
            for index, name in enumerate(getattr(route, key)):
                if "*" in name:
                    yield _literal((*place, key, index), name)
                elif len(name.split()) > 1:
                    message = f"{quoted(name)} is one permission, and its name has a space"
                    hint = f"for several permissions write [{', '.join(name.split())}]"
                    yield warning((*place, key, index), "permission-with-space", message, hint)
        if route.principals == BOTH and not at(document, "zervi", "service_token_sources"):
            yield warning(
                (*place, "principals"),
                "no-service-source",
                "no request meets `principals: both`: `zervi.service_token_sources` is empty",
                "name there the header of the service's token",
            )
    if any(grants):
        yield from _ungranted(policy, granted, grants)
    issuers = sorted(_issuer_names(document))
    for route in policy.routes if len(issuers) > 1 else ():
        if route.owner is not None and not route.issuers:
            message = f"a user with the owner's id from any issuer owns this: {', '.join(issuers)}"
            hint = "list in `issuers` the issuers whose users can own it"
            yield warning((*ROUTES, route.index, "owner"), "owner-of-any-issuer", message, hint)


def of_settings_and_policy(policy: Policy, document: object) -> Iterator[Problem]:
    """Yield advice on ``sidecar.yaml`` that depends on its policy."""
    yield from _kept_headers(policy, document)
    yield from _unused_roles(policy, document)
    yield from _loose_subjects(policy, document)
    yield from gateway.of_settings(policy, document)


def _kept_headers(policy: Policy, document: object) -> Iterator[Problem]:
    removed = at(document, "policy", "remove_headers")
    if not isinstance(removed, list):
        return
    default = REMOVED + (REMOVED_WITH_HOSTS if policy.names_hosts else ())
    written = {name.lower() for name in texts(removed)}
    kept = [name for name in default if name not in written]
    if kept:
        more = f" and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
        yield warning(
            ("policy", "remove_headers"),
            "kept-headers",
            f"clients can send these headers to the upstream: {', '.join(kept[:NAMED])}{more}",
            "an upstream that obeys them does something other than what was allowed; "
            "docs/configuration.md has the complete default",
        )


def _unused_roles(policy: Policy, document: object) -> Iterator[Problem]:
    wanted = {name for route in policy.routes for name in _permissions(route, _PERMISSION_KEYS)}
    roles = {role for route in policy.routes for role in route.roles}
    for place, grants in _role_permissions(document):
        for role, names in grants.items():
            granted = set(texts(names))
            if role not in roles and not granted & (wanted | {ALL_PERMISSIONS}):
                message = f"no route requires the role {quoted(role)} or what it grants"
                yield info((*place, role), "unused-role", message)


def _loose_subjects(policy: Policy, document: object) -> Iterator[Problem]:
    """Yield the issuers whose subjects own paths and may be any text, if there are several issuers.

    With only one issuer, its subjects usually come from the same team as the upstream.
    """
    if len(_issuer_names(document)) < 2:
        return
    owned = [route for route in policy.routes if route.owner is not None]
    for index, entry in enumerate(sequence(at(document, "zervi", "issuers"))):
        issuer = mapping(entry)
        owns = any(not route.issuers or issuer.get("issuer") in route.issuers for route in owned)
        if owns and issuer.get("subject_pattern") is None:
            place: Place = ("zervi", "issuers", index)
            message = (
                "its subjects own paths, and upstreams may read `07`, `+7` and `7_0` as numbers too"
            )
            hint = 'define the form of its subjects, as in `subject_pattern: "[1-9][0-9]*"`'
            yield warning(place, "loose-subject", message, hint)


def _issuer_names(document: object) -> set[str]:
    return {
        name
        for issuer in sequence(at(document, "zervi", "issuers"))
        for name in texts(mapping(issuer).get("issuer"))
    }


def _role_permissions(document: object) -> Iterator[tuple[Place, Mapping[str, object]]]:
    yield _GRANTS, mapping(at(document, *map(str, _GRANTS)))
    for index, issuer in enumerate(sequence(at(document, "zervi", "issuers"))):
        place: Place = ("zervi", "issuers", index, "role_permissions")
        yield place, mapping(mapping(issuer).get("role_permissions"))


def _wide_grants(place: Place, grants: Mapping[str, object]) -> Iterator[Problem]:
    for role, names in grants.items():
        listed = texts(names)
        for index, name in enumerate(listed):
            if name == ALL_PERMISSIONS and len(listed) > 1:
                message = f"`*` grants {quoted(role)} every permission, whatever else is listed"
                hint = "list what the role needs, or only `*`"
                yield warning((*place, role, index), "wildcard-grant", message, hint)
            elif "*" in name and name != ALL_PERMISSIONS:
                yield _literal((*place, role, index), name)


def _large_grants(
    place: Place, grants: Mapping[str, object], document: object
) -> Iterator[Problem]:
    """Yield each role that no identity can have, even if the rest of it is minimal."""
    names = mapping(at(document, "policy", "identity_headers"))
    shown = {key: name for key, name in names.items() if isinstance(name, str | None)}
    headers = IdentityHeaders()._replace(
        **{key: name for key, name in shown.items() if key in IdentityHeaders._fields}
    )
    for role, granted in grants.items():
        least = Principal(Kind.USER, "1", "", roles=(role,), permissions=tuple({*texts(granted)}))
        try:
            identity_values(least, headers)
        except TokenError:
            message = (
                f"each token with the role {quoted(role)} is denied: its identity headers exceed"
                f" {MAX_IDENTITY_BYTES} bytes"
            )
            hint = "grant fewer permissions, or shorter ones"
            yield warning((*place, role), "identity-too-large", message, hint)


def _literal(place: Place, name: str) -> Problem:
    message = f"{quoted(name)} is matched literally: `*` is not a wildcard here"
    if name == ALL_PERMISSIONS:
        message = "only a principal with `*` itself is allowed: no list of permissions is enough"
    return warning(place, "literal-wildcard", message, "list each permission")


def _names(policy: Policy, keys: Iterable[str], known: set[str], what: str) -> Iterator[Problem]:
    """Yield names that differ by one letter from one that is known or used more often."""
    keys = tuple(keys)
    used = Counter(name for route in policy.routes for name in _permissions(route, keys))
    meant = dict(likely_typos(used, known))
    for route in policy.routes if meant else ():
        for key in keys:
            for index, name in enumerate(getattr(route, key)):
                if name in meant:
                    message = f"{what} {quoted(name)}: did you mean {quoted(meant[name])}?"
                    place: Place = (*ROUTES, route.index, key, index)
                    yield warning(place, f"misspelt-{what}", message, "they differ by one letter")


def _permissions(route: object, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        yield from getattr(route, key)


def _ungranted(
    policy: Policy, granted: set[str], grants: Iterable[Mapping[str, object]]
) -> Iterator[Problem]:
    """Yield each permission that only tokens can contain, once."""
    reported = set(granted)
    every = {role for each in grants for role in each if ALL_PERMISSIONS in texts(each[role])}
    granting = f"only the `*` of {quoted(min(every))} grants" if every else "no role grants"
    for route in policy.routes:
        for key in ("permissions", "any_permissions"):
            for index, name in enumerate(getattr(route, key)):
                if name not in reported:
                    reported.add(name)
                    yield info(
                        (*ROUTES, route.index, key, index),
                        "ungranted-permission",
                        f"{granting} {quoted(name)}: {'other ' if every else ''}tokens must "
                        "contain it",
                        "`role_permissions` defines what roles grant",
                    )


def _foreign(route: Route) -> Iterator[Problem]:
    found = foreign(route.path)
    if found is not None:
        message = f"{quoted(found.part)} is compared letter by letter"
        place: Place = (*ROUTES, route.index, "path")
        if found.certain:
            yield warning(place, "foreign-syntax", message, right_form(found))
        else:
            hint = f"right for OData and FHIR; for a placeholder {right_form(found)}"
            yield info(place, "foreign-syntax", message, hint)
