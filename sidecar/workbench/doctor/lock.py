"""The second lock: which reasons an RBAC filter passes after ext_authz."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.documents.findings import Problem, quoted
from sidecar.workbench.doctor.context import Context, error
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.profile import camel

NAMESPACE = "envoy.filters.http.ext_authz"  # Envoy writes the answer's metadata there
ALLOWED = ("ok", "public")  # the reasons of an allow (sidecar/core/reasons.py)
FORWARDED = "preflight"  # only with `cors_preflight: forward`

_HINT = "the RBAC filter of envoy/envoy.yaml, directly after ext_authz"


class _Passes(NamedTuple):
    """The reasons that a rule passes; ``every`` for all requests; ``unknown`` if not recognised."""

    reasons: frozenset[str] = frozenset()
    every: bool = False
    unknown: bool = False


_EVERY = _Passes(every=True)
_UNKNOWN = _Passes(unknown=True)


def second_lock(rbac: Part, context: Context) -> Iterator[Problem]:
    """Yield problems of the RBAC filter after ext_authz."""
    rules = rbac.below("rules")
    if not rules.value:
        yield error(
            rbac.place, "second-lock", "the RBAC filter without `rules` passes every request", _HINT
        )
        return
    if rules.get("action") not in (None, "ALLOW"):
        place = (*rules.place, rules.key("action"))
        yield error(place, "second-lock", "the rules do not deny other requests", "action: ALLOW")
        return
    passes = _union(_policy(policy) for policy in rules.members("policies"))
    if passes.every or passes.unknown:
        what = "pass every request" if passes.every else "contain more than doctor can judge"
        yield error(rules.place, "second-lock", f"the rules of the second lock {what}", _HINT)
        return
    wanted = {*ALLOWED, *([FORWARDED] if context.wanted.forwards_preflights else [])}
    if more := passes.reasons - wanted:
        why = "a denial" if more != {FORWARDED} else "an allow only with `cors_preflight: forward`"
        message = f"the second lock passes {_listed(more)}, which is {why}"
        yield error(rules.place, "second-lock", message, _HINT)
    if less := wanted - passes.reasons:
        message = f"the second lock denies {_listed(less)}, which is an allow of the sidecar"
        yield error(rules.place, "second-lock", message, _HINT)


def _listed(reasons: Iterable[str]) -> str:
    return ", ".join(map(quoted, sorted(reasons)))


def _policy(policy: Part) -> _Passes:
    if set(policy.value) - {"permissions", "principals"} or _has_twins(policy.value):
        return _UNKNOWN
    return _both(
        _union(_identifier(each) for each in policy.each("permissions")),
        _union(_identifier(each) for each in policy.each("principals")),
    )


def _has_twins(value: object) -> bool:
    """Say whether a field is there in both spellings, of which Envoy heeds the one or both."""
    if isinstance(value, list):
        return any(map(_has_twins, value))
    if not isinstance(value, dict):
        return False
    names = {camel(str(name)) for name in value}
    return len(names) < len(value) or any(map(_has_twins, value.values()))


def _identifier(part: Part) -> _Passes:
    """Read a permission or a principal: each is a mapping with one member."""
    if len(part.value) != 1:
        return _UNKNOWN
    if part.get("any") is True:
        return _EVERY
    for several in ("or_ids", "or_rules"):
        if part.has(several):
            inner = "ids" if several == "or_ids" else "rules"
            return _union(_identifier(each) for each in part.each(several, inner))
    for several in ("and_ids", "and_rules"):
        if part.has(several):
            inner = "ids" if several == "and_ids" else "rules"
            passes = _EVERY
            for each in part.each(several, inner):
                passes = _both(passes, _identifier(each))
            return passes
    sourced = part.below("sourced_metadata")
    if sourced.get("metadata_source") not in (None, "DYNAMIC"):
        return _UNKNOWN
    return _metadata(sourced.below("metadata_matcher"))


def _metadata(matcher: Part) -> _Passes:
    path = [dict(each.value) for each in matcher.each("path")]
    fits = matcher.get("filter") == NAMESPACE and path == [{"key": "reason"}]
    if not fits or matcher.get("invert") not in (None, False):
        return _UNKNOWN
    return _value(matcher.below("value"))


def _value(value: Part) -> _Passes:
    if len(value.value) != 1:
        return _UNKNOWN
    if value.has("or_match"):
        return _union(_value(each) for each in value.each("or_match", "value_matchers"))
    exact = value.get("string_match", "exact")
    only_exact = set(value.below("string_match").value) == {"exact"}
    return _Passes(frozenset([exact])) if isinstance(exact, str) and only_exact else _UNKNOWN


def _union(several: Iterable[_Passes]) -> _Passes:
    found = list(several)
    if any(each.unknown for each in found):
        return _UNKNOWN
    if any(each.every for each in found):
        return _EVERY
    return _Passes(frozenset().union(*(each.reasons for each in found)))


def _both(one: _Passes, other: _Passes) -> _Passes:
    if one.unknown or other.unknown:
        return _UNKNOWN
    if one.every:
        return other
    return one if other.every else _Passes(one.reasons & other.reasons)
