"""The order of HTTP filters: CORS, ext_authz, the second lock, the router."""

from collections.abc import Iterator

from sidecar.documents.findings import Problem, quoted
from sidecar.workbench.doctor.context import Context, error, info, warning
from sidecar.workbench.doctor.document import Part, short, type_name
from sidecar.workbench.doctor.lock import second_lock

CORS = "envoy.extensions.filters.http.cors.v3.Cors"
EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def kinds_of(manager: Part) -> list[str]:
    """Return the types of a connection manager's HTTP filters."""
    return [type_name(each.below("typed_config")) for each in manager.each("http_filters")]


def manager(part: Part, context: Context) -> Iterator[Problem]:
    """Yield problems of a connection manager's filters, and of the place of its routes."""
    yield from _table(part, context)
    filters, kinds = list(part.each("http_filters")), kinds_of(part)
    if EXT_AUTHZ not in kinds:
        place = (*part.place, part.key("http_filters"))
        message = "requests pass without a Check, because the ext_authz filter is missing"
        yield error(place, "no-authz", message, "see envoy/envoy.yaml")
        return
    first = kinds.index(EXT_AUTHZ)
    expected = context.mesh.filters if context.mesh is not None else frozenset[str]()
    for each, kind in zip(filters[:first], kinds, strict=False):
        if kind not in expected and each.place not in context.memories:
            yield from _before(each, kind, filters[first])
    rest, rest_kinds = filters[first + 1 :], kinds[first + 1 :]
    locks = [each.below("typed_config") for each in rest[:1] if rest_kinds[0] == RBAC]
    problems = [problem for lock in locks for problem in second_lock(lock, context)]
    if locks and not (problems and context.mesh):  # else it is the mesh's own
        yield from problems
        rest, rest_kinds = rest[1:], rest_kinds[1:]
    else:
        message = (
            "the second lock is missing: an RBAC filter that passes only what the sidecar allowed"
        )
        hint = "put the RBAC filter of envoy/envoy.yaml directly after ext_authz"
        yield error(filters[first].place, "second-lock", message, hint)
    known = {*context.profile["Harmless"].protos, *context.profile["LocalRateLimit"].protos}
    if context.mesh is not None:
        known |= expected | ({EXT_AUTHZ} if context.mesh.per_route else set())
    for each, kind in zip(rest, rest_kinds, strict=True):
        if each.place not in context.memories:
            yield from _after(each, kind, known)
    yield from stats_manager(part, context)


def stats_manager(part: Part, _context: Context) -> Iterator[Problem]:
    """Yield a problem if the last filter is not the router."""
    if kinds_of(part)[-1:] != [ROUTER]:
        place = (*part.place, part.key("http_filters"))
        yield warning(place, "router", "the last filter is not the router", "end with the router")


def _table(part: Part, context: Context) -> Iterator[Problem]:
    if part.has("rds") and str(part.get("rds", "route_config_name")) not in context.tables:
        message = "the routes come from a control plane, so they are not examined"
        hint = "route_config; or give doctor the config_dump of the running Envoy"
        missing = context.partial and not context.tables
        place = (*part.place, part.key("rds"))
        yield (warning if missing else error)(place, "dynamic", message, hint)
    elif not part.has("rds") and not part.has("route_config") and not context.wanted.gateway:
        yield warning(part.place, "missing", "`route_config` is missing: no request is answered")


def _before(each: Part, kind: str, authz: Part) -> Iterator[Problem]:
    name = quoted(short(kind) or str(each.get("name")))
    if kind == ROUTER:
        message = "ext_authz is after the router, so it is never reached"
        yield error(authz.place, "after-router", message, "the router is the last filter")
    elif kind != CORS:
        message = f"{name} is before ext_authz: it can answer or change requests without a Check"
        yield error(each.place, "before-authz", message, "only CORS may be before ext_authz")


def _after(each: Part, kind: str, harmless: set[str]) -> Iterator[Problem]:
    name = quoted(short(kind) or str(each.get("name")))
    if kind == EXT_AUTHZ and kind not in harmless:
        message = "a second ext_authz filter replaces the metadata that the second lock reads"
        yield error(each.place, "second-authz", message, "keep one ext_authz filter")
    elif kind in {CORS, RBAC} or kind in harmless:
        yield info(each.place, "order", f"{name} is after the second lock, unlike in envoy.yaml")
    elif kind != ROUTER:
        message = f"{name} can change a request that was allowed, or answer in its place"
        yield error(each.place, "changed-after", message, "remove it")
