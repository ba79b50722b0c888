"""The routes that every server gets, and the requests that are sent to it.

Patterns are written as in a route table: ``{name}`` is one segment, a last ``*`` one or more. Each
program registers them as its server writes them, the specific before the wide.
"""

from typing import NamedTuple


class Registered(NamedTuple):
    """A handler: ``path`` is a pattern of a route table; no ``method`` means any."""

    name: str
    path: str
    method: str | None = None


ROUTES = (
    Registered("admin", "/api/admin"),
    Registered("admin_tail", "/api/admin/*"),
    Registered("api", "/api/*"),
    Registered("me", "/items/@me"),
    Registered("item", "/items/{id}"),
    Registered("list", "/files"),
    Registered("file", "/files/*"),
    Registered("secret", "/docs/secret"),
    Registered("doc", "/docs/{name}"),
    Registered("daily", "/reports/daily.json"),
    Registered("report", "/reports/{name}"),
    Registered("kiss", "/fold/kiss"),
    Registered("street", "/fold/straße"),
    Registered("cafe", "/fold/café"),
    Registered("fold", "/fold/{name}"),
    Registered("keys", "/users/{user}/keys"),
    Registered("user", "/users/*"),
    Registered("end", "/mixed/{first}/end"),
    Registered("start", "/mixed/start/{second}"),
    Registered("read", "/things/{id}", "GET"),
    Registered("write", "/things/{id}", "POST"),
    Registered("delete", "/things/{id}", "DELETE"),
    Registered("any", "/any/{id}"),
)


class Sent(NamedTuple):
    """A request as its bytes are sent; text is latin-1, so that any byte can be written."""

    target: str
    method: str = "GET"
    headers: tuple[str, ...] = ()
    body: str = ""


SUFFIXES = ("json", "xml", "html", "txt", "csv", "js", "yaml", "api", "JSON", "php", "foo")

PLAIN = (
    *("/api/admin", "/api/admin/x", "/api/admin/x/y", "/api/other", "/api", "/items/@me"),
    *("/items/7", "/items", "/files", "/files/a", "/files/a/b", "/docs/secret", "/docs/a", "/docs"),
    *("/reports/daily.json", "/reports/daily", "/reports/a", "/fold/kiss", "/fold/a", "/users/7"),
    *("/users/7/keys", "/users/7/keys/1", "/things/7", "/any/7", "/", "/nothing"),
    *("/docs/a/b", "/docs/secret/x", "/items/@me/x", "/items/7/x", "/items/7/@me", "/things/7/x"),
    *(
        "/mixed/a/end",
        "/mixed/start/b",
        "/mixed/start/end",
        "/docs/...",
        "/users",
        "/things",
        "/any",
    ),
)

CASE = (
    *("/api/Admin", "/api/ADMIN", "/API/admin", "/Api/Admin/x", "/api/admin/X", "/items/@ME"),
    *("/ITEMS/@me", "/ITEMS/Alice", "/FILES", "/Files/A", "/docs/Secret", "/DOCS/secret"),
    *("/reports/DAILY.json", "/reports/daily.JSON", "/users/7/KEYS", "/USERS/7/keys"),
    *("/fold/KISS", "/THINGS/7"),
)

# What lower(), upper(), casefold() and a regular expression's flags disagree on.
BEYOND_ASCII = (
    "/fold/k%C4%B1ss",  # U+0131, the dotless i
    "/fold/k%C4%B0ss",  # U+0130, the dotted I
    "/fold/ki%CC%87ss",  # i and U+0307: what U+0130 is in lower case
    "/fold/ki%C5%BFs",  # U+017F, the long s
    "/fold/%E2%84%AAiss",  # U+212A, the Kelvin sign
    "/fold/%EF%BD%8Biss",  # U+FF4B, a wide k
    "/fold/stra%C3%9Fe",  # U+00DF, the sharp s
    "/fold/STRA%C3%9FE",
    "/fold/stra%E1%BA%9Ee",  # U+1E9E, its capital
    "/fold/strasse",
    "/fold/STRASSE",
    "/fold/caf%C3%A9",
    "/fold/caf%c3%a9",
    "/fold/caf%C3%89",  # É
    "/fold/cafe%CC%81",  # e and U+0301
    "/fold/%E8%AE%A2%E5%8D%95",
    "/fold/%F0%90%90%80",  # U+10400, beyond 16 bits
)

SLASH_AT_THE_END = (
    *("/api/", "/api/admin/", "/api/admin/x/", "/items/@me/", "/items/7/", "/items/", "/files/"),
    *("/files/a/", "/docs/secret/", "/docs/a/", "/docs/", "/reports/daily.json/", "/users/"),
    *(
        "/users/7/",
        "/users/7/keys/",
        "/things/7/",
        "/things/",
        "/any/",
        "/fold/kiss/",
        "/API/ADMIN/",
        "/FILES/",
    ),
)

SUFFIX = (
    *(f"{path}.{suffix}" for path in ("/api/admin", "/docs/secret") for suffix in SUFFIXES),
    *("/files.json", "/items/@me.json", "/items/7.json", "/users/7/keys.json", "/things/7.json"),
    *("/api/admin.", "/api/admin..json", "/api/admin.json.xml", "/api/admin.json/"),
    *("/api/admin.json/x", "/api.json/admin", "/users/7.json/keys", "/api/ADMIN.json/"),
    *("/docs/SECRET.json", "/docs/secret.json/", "/reports/daily.json.json", "/reports/daily.xml"),
    *("/fold/kiss.json", "/mixed/a.b/end", "/mixed/start.json/end", "/mixed/start/b.c"),
    *("/api/admin/.json", "/docs/.json", "/docs/a.json", "/files/.json"),
)

ENCODED = (
    *(
        "/api/%61dmin",
        "/api/%41dmin",
        "/%61pi/admin",
        "/api/admi%6E",
        "/api/admi%6e",
        "/items/%40me",
    ),
    *("/items/%40%6De", "/docs/%73ecret", "/users/7/%6Beys", "/fil%65s", "/fil%65s/a"),
    *("/api/admin%2Ejson", "/docs/secret%2ejson", "/things/%37", "/docs/a%20b", "/docs/a+b"),
    *(
        "/docs/a%2Bb",
        "/docs/secret%20",
        "/docs/%20secret",
        "/api/admin%20",
        "/docs/a:b",
        "/docs/a,b",
    ),
    *("/docs/a%3Ab", "/items/a@b.com", "/items/a%40b.com", "/docs/a~b", "/docs/a%7Eb", "/docs/a!b"),
    *("/docs/secret~", "/docs/secret*", "/docs/secret$", "/docs/secret%24", "/docs/~secret"),
    *("/docs/a=b", "/docs/a&b", "/docs/a'b", "/docs/(secret)", "/docs/[secret]", "/docs/secret|x"),
)

FRONT_CONTROLLER = (
    *("/index.php/api/admin", "/index.php/docs/secret", "/INDEX.PHP/docs/secret", "/index.php"),
    *("/index.html", "/api/index.php/admin", "/docs/secret/index.php", "/docs/secret/index.html"),
    *("/public/index.php/docs/secret", "/app.php/docs/secret", "/docs/index"),
)

# What the Envoy of envoy/envoy.yaml passes and the sidecar takes: judged with no allow_paths.
MAIN = (
    *PLAIN,
    *CASE,
    *BEYOND_ASCII,
    *SLASH_AT_THE_END,
    *SUFFIX,
    *ENCODED,
    *FRONT_CONTROLLER,
    "/docs/secret?x=1",
    "/docs/secret?/docs/a",
    "/docs/a?/docs/secret",
)

# What only policy.allow_paths or another Envoy lets in.
EXTRA = (
    *("/api/admin;", "/api/admin;x", "/api/admin;x=1", "/api/admin;x/y", "/api;x/admin"),
    *("/docs/secret;v=1", "/docs/secret;v=1.json", "/docs/secret.json;v=1", "/docs/;x/secret"),
    *("/docs/secret%3B", "/docs/secret%3Bv=1", "/docs/secret%3bv=1", "/items/@me;x", "/files;x"),
    *("/docs/a;x/../secret", "/docs/..;/docs/secret", "/docs/a;b=c;d=e", "/;x/docs/secret"),
    *(
        "//docs/secret",
        "/docs//secret",
        "/docs/secret//",
        "/api//admin",
        "///api/admin",
        "/files//",
    ),
    *("//files/a", "/files//a", "/users//keys"),
    *("/docs/./secret", "/docs/x/../secret", "/docs/../docs/secret", "/docs/secret/.", "/docs/."),
    *("/docs/secret/..", "/docs/%2e/secret", "/docs/x/%2e%2e/secret", "/docs/x/%2E./secret"),
    *("/docs%2Fsecret", "/docs%2fsecret", "/api/admin%2Fx", "/api%2Fadmin", "/docs/a%2Fb"),
    *("/docs/x%2F..%2Fsecret", "/files/a%2Fb", "/docs/secret%2F", "/users/7%2Fkeys"),
    *(
        "/docs/%2573ecret",
        "/docs/a%25b",
        "/docs/secret%25",
        "/docs%252Fsecret",
        "/docs/%25%37%33ecret",
    ),
    *(
        "/docs\\secret",
        "/docs/\\secret",
        "/docs%5Csecret",
        "/docs/x\\..\\secret",
        "/docs/x%5c..%5csecret",
    ),
    *(
        "/docs/secret%00",
        "/docs/secret%00.json",
        "/docs/%00secret",
        "/docs/secret%0a",
        "/docs/secret%0A",
    ),
    *("/docs/secret%0D", "/docs/secret%09", "/docs/secret%7F", "/docs/secret%C2%85"),
    *(
        "/docs/secret%3Fx",
        "/docs/secret%3fx",
        "/docs/secret%23x",
        "/docs/secret#x",
        "/docs/secret%",
    ),
    *("/docs/secret%2", "/docs/secret%zz", "/docs/secret%u002e", "/docs/%u0073ecret"),
    *("/docs/%C0%F3ecret", "/docs/secret%ff", "/docs/secret\xff", "/docs/secret\xc3\xa9"),
    *("/fold/stra\xc3\x9fe", "/fold/caf\xc3\xa9", "/fold/caf%E9"),
    *(
        "http://upstream/docs/secret",
        "http://other/docs/secret",
        "docs/secret",
        "*",
        "?/docs/secret",
    ),
)

_FORM = ("content-type: application/x-www-form-urlencoded",)
_PREFLIGHT = ("origin: https://page.example", "access-control-request-method: DELETE")

_NAMES = ("_method", "_METHOD", "%5Fmethod", "_metho%64", ".method", "%2Emethod", "+method")
_MORE_NAMES = ("%20_method", "+_method", "[method", "_method[]", "x%00_method", "_method%00x")

METHODS = (
    *(
        Sent("/things/7", method)
        for method in ("HEAD", "OPTIONS", "POST", "DELETE", "PUT", "TRACE")
    ),
    *(Sent("/things/7", method) for method in ("get", "delete", "Delete", "FOO")),
    *(Sent("/any/7", method) for method in ("HEAD", "OPTIONS", "POST", "DELETE", "TRACE", "FOO")),
    *(Sent("/any/7", method) for method in ("get", "PROPFIND", "QUERY")),
    Sent("/things/7", "OPTIONS", _PREFLIGHT),
    Sent("/any/7", "OPTIONS", _PREFLIGHT),
    Sent("/docs/secret", "OPTIONS", _PREFLIGHT),
    Sent("/docs/secret", "HEAD"),
    *(Sent(f"/things/7?{name}=DELETE", "POST") for name in (*_NAMES, *_MORE_NAMES)),
    Sent("/things/7?_method=delete", "POST"),
    Sent("/things/7?_method=%44ELETE", "POST"),
    Sent("/things/7?a=b;_method=DELETE", "POST"),
    Sent("/things/7?_method=GET&_method=DELETE", "POST"),
    Sent("/things/7?_method=DELETE&_method=GET", "POST"),
    Sent("/things/7?_method=DELETE", "GET"),
    Sent("/things/7?_method=GET", "DELETE"),
    *(Sent("/things/7", "POST", _FORM, f"{name}=DELETE") for name in (*_NAMES, "%20_method")),
    Sent("/things/7", "POST", ("content-type: application/json",), '{"_method": "DELETE"}'),
    *(
        Sent("/things/7", method, (f"{header}: DELETE",))
        for header in ("x-http-method-override", "x-http-method", "x-method-override")
        for method in ("POST", "GET")
    ),
)


REQUESTS = tuple(dict.fromkeys((*map(Sent, MAIN), *map(Sent, EXTRA), *METHODS)))
"""Every request, each once."""

CASES = tuple(map(Sent, (*CASE, *BEYOND_ASCII)))
FRONT_CONTROLLERS = tuple(map(Sent, FRONT_CONTROLLER))
