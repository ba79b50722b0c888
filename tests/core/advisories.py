"""Published ways around a proxy's authorization, each as one request that must not get through.

The requests carry no credentials (or, for one, two), so against ``ROUTES`` the right answer is a
denial: a table with a public wildcard over protected paths, where whatever is not recognised as
protected is public. Each case follows its advisory's text, or a vendor's bulletin about it.
"""

from typing import NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route

HOST = "api.jobfirst.local"
ADMIN_HOST = "admin.jobfirst.local"

ROUTES = (
    Route(0, "rest", "/*", public=True),
    Route(1, "admin", "/admin", permissions=("admin:read",)),
    Route(2, "admin-rest", "/admin/*", permissions=("admin:read",)),
    Route(3, "user", "/user/*", permissions=("user:read",)),
    Route(4, "admin-host", "/*", hosts=frozenset({ADMIN_HOST}), permissions=("admin:read",)),
)

Headers = tuple[tuple[str, bytes], ...]


class Case(NamedTuple):
    """One request by its advisory; ``why`` says how it got past another checker."""

    advisory: str
    why: str
    target: bytes
    reason: Reason = Reason.MALFORMED_REQUEST
    headers: Headers = ()
    host: str = HOST


_NUL = "a NUL ended the path for one reader and not for the other"
_DOTS = "dot segments were resolved behind the checker"
_ESCAPED_SLASH = "an escaped slash or backslash was decoded behind the checker"
_SLASHES = "doubled slashes were merged behind the checker"
_FRAGMENT = "only the checker took a fragment for a part of the path"
_AUTHORITY = "what follows // was dropped as a URL's authority"
_QUERY = "Envoy sends the query as part of the path"
_PARAMETERS = "path parameters were stripped behind the checker"
_DOTS_WITH_PARAMETERS = "a dot segment with parameters was not taken for one"
_CLIENTS_HEADER = "a header that the client can write took the path's place"

CASES = (
    # Envoy: NUL in header values.
    Case("CVE-2019-9900", _NUL, b"/admin\0"),
    Case("CVE-2019-9900", _NUL, b"/admin\0/open"),
    Case("CVE-2019-9900", _NUL, b"/admin%00"),
    # Envoy: paths were not normalised.
    Case("CVE-2019-9901", _DOTS, b"/open/../admin"),
    Case("CVE-2019-9901", _DOTS, b"/./admin"),
    Case("CVE-2019-9901", _DOTS, b"/admin/."),
    Case("CVE-2019-9901", _DOTS, b"/open/../../admin"),
    # Envoy: %2F and %5C.
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/open/..%2Fadmin"),
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/open/..%2fadmin"),
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/admin%2Fkeys"),
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/admin%5Ckeys"),
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/open/..%5cadmin"),
    Case("CVE-2021-29492", _ESCAPED_SLASH, b"/open\\..\\admin"),
    # Istio: the same, and doubled slashes.
    Case("CVE-2021-31920", _SLASHES, b"//admin"),
    Case("CVE-2021-31920", _SLASHES, b"/admin//keys"),
    Case("CVE-2021-31920", _SLASHES, b"/%2Fadmin"),
    # Envoy: ext_authz received only the last of several values.
    Case(
        "CVE-2021-32777",
        "of a repeated header one value was checked and another obeyed",
        b"/admin",
        Reason.MULTIPLE_CREDENTIALS,
        (("authorization", b"Bearer first"), ("authorization", b"Bearer second")),
    ),
    Case(
        "CVE-2021-32777",
        "of a repeated header one value was checked and another obeyed",
        b"/admin",
        Reason.MULTIPLE_CREDENTIALS,
        (("authorization", b"Bearer first,Bearer second"),),
    ),
    # Envoy, and Istio by it: fragments.
    Case("CVE-2021-32779", _FRAGMENT, b"/admin#open"),
    Case("CVE-2021-32779", _FRAGMENT, b"/admin?open#open"),
    Case("CVE-2021-39156", _FRAGMENT, b"/user/profile#section1"),
    Case("CVE-2021-39156", _FRAGMENT, b"/user/profile%23section1"),
    # Envoy: a client's x-envoy-original-path was believed.
    Case(
        "CVE-2023-27487",
        _CLIENTS_HEADER,
        b"/admin",
        Reason.TOKEN_MISSING,
        (("x-envoy-original-path", b"/open"),),
    ),
    # opa-envoy-plugin: the path was parsed as a URL.
    Case("CVE-2026-26205", _AUTHORITY, b"//admin/keys"),
    Case("CVE-2026-26205", _AUTHORITY, b"//open/admin"),
    Case("CVE-2026-26205", _AUTHORITY, b"///admin"),
    # Heimdall: the ? of Envoy's path was escaped, so that no rule matched.
    Case("CVE-2026-32811", _QUERY, b"/admin?open=1", Reason.TOKEN_MISSING),
    Case("CVE-2026-32811", _QUERY, b"/admin?", Reason.TOKEN_MISSING),
    Case("CVE-2026-32811", _QUERY, b"/admin?/../open", Reason.TOKEN_MISSING),
    Case("CVE-2026-32811", _QUERY, b"/admin%3Fopen=1"),
    # oauth2-proxy: X-Forwarded-Uri took the path's place.
    Case(
        "CVE-2026-40575",
        _CLIENTS_HEADER,
        b"/admin",
        Reason.TOKEN_MISSING,
        (("x-forwarded-uri", b"/open"),),
    ),
    Case(
        "CVE-2026-40575",
        _CLIENTS_HEADER,
        b"/admin",
        Reason.TOKEN_MISSING,
        (
            ("x-original-url", b"/open"),
            ("x-rewrite-url", b"/open"),
            ("x-forwarded-path", b"/open"),
            ("x-forwarded-prefix", b"/open"),
        ),
    ),
    # Heimdall: dot segments, plain and encoded.
    Case("CVE-2026-42274", _DOTS, b"/open/../user/anyone"),
    Case("CVE-2026-42274", _DOTS, b"/open/%2e%2e/user/anyone"),
    Case("CVE-2026-42274", _DOTS, b"/open/%2E./user/anyone"),
    Case("CVE-2026-42274", _DOTS, b"/open/%2e%2e%2fuser/anyone"),
    # Envoy: normalize_path did not resolve /..; segments.
    Case("CVE-2026-73551", _DOTS_WITH_PARAMETERS, b"/..;/admin"),
    Case("CVE-2026-73551", _DOTS_WITH_PARAMETERS, b"/open/..;x=1/admin"),
    Case("CVE-2026-73551", _DOTS_WITH_PARAMETERS, b"/.;/admin"),
    # Beside those that the project set out with:
    # Envoy (path matching, RBAC) and Keycloak (PathMatcher, and its first repair).
    Case("CVE-2026-73511", _PARAMETERS, b"/admin;x=1"),
    Case("CVE-2026-73511", _PARAMETERS, b"/admin;x=1/keys"),
    Case("CVE-2026-73553", _PARAMETERS, b"/open;x=1/../admin"),
    Case("CVE-2026-15573", _PARAMETERS, b"/admin/;jsessionid=1"),
    Case("CVE-2026-15573", "a trailing slash made another path", b"/admin/", Reason.TOKEN_MISSING),
    Case("CVE-2026-74909", _PARAMETERS, b"/admin%3Bx=1"),
    Case("CVE-2026-74909", _PARAMETERS, b"/admin%3bx%2Fy/keys"),
    # grpc-go: no leading slash.
    Case("CVE-2026-33186", "the path without its first slash was routed all the same", b"admin"),
    # Heimdall: %2f in lower case, and the case of hosts.
    Case("CVE-2026-42272", "only upper-case %2F was recognised", b"/admin%2fkeys"),
    *(
        Case(
            "CVE-2026-42273",
            "hosts were compared with their case",
            b"/open",
            Reason.TOKEN_MISSING,
            host=host,
        )
        for host in ("Admin.JobFirst.local", "ADMIN.jobfirst.local:8443", "admin.jobfirst.local.")
    ),
    # Envoy: white space after the host.
    Case(
        "CVE-2019-18802",
        "a host with a space at its end was another host",
        b"/open",
        Reason.NO_ROUTE,
        host=f"{ADMIN_HOST} ",
    ),
    # UniFi OS: the raw path was checked, the decoded one served.
    Case("CVE-2026-34908", _ESCAPED_SLASH, b"/open/sign-in/..%2f..%2fadmin"),
)

LEGITIMATE = (
    b"/",
    b"/open",
    b"/open/a.b/.well-known/x",
    b"/open/%E7%94%A8%E6%88%B7",
    b"/open/caf%C3%A9%20au%20lait",
    b"/open/~user/@me/a:b,c+d=e!",
    b"/open?next=//admin/../admin;x%2f%00",
    b"/administrator",
)
"""Targets that are public and must stay so, each beside a case that looks like it."""
