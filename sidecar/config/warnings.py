"""Warnings about settings of ``sidecar.yaml`` that are valid but unsafe."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from os.path import normpath
from urllib.parse import urlsplit

from sidecar.config.addresses import is_open
from sidecar.documents.findings import Place, Problem, quoted, warning
from sidecar.documents.untyped import at, mapping, sequence, texts
from sidecar.net.addresses import is_loopback

# What documentation, Helm, Terraform, shells and CI leave in a text: {tenantid}, {{ .Values.x }},
# ${ISSUER}, $(ISSUER), $ISSUER, <tenant>, %ISSUER%, YOUR_DOMAIN.
_PLACEHOLDER = re.compile(
    r"\$?\{\{?[^{}]*\}?\}|\$\([^()]*\)|\$[A-Za-z_]\w*|<[^<>]*>|%[A-Z_]{2,}%|\bYOUR[-_]\w[-\w]*"
)

# How messages call what is not encrypted, and what is.
_ENCRYPTED = {
    "http://": ("plain HTTP", "https"),
    "redis://": ("an unencrypted connection", "rediss"),
}


def problems(document: object) -> Iterator[Problem]:
    """Yield every warning about the settings of a whole ``sidecar.yaml``."""
    listen = mapping(at(document, "listen"))
    if listen.get("tls") is None and is_open(listen.get("authz")):
        yield warning(
            ("listen", "authz"),
            "open-listener",
            "the network can reach this address, and tokens are sent to it in plain text",
            "listen on loopback or a unix socket, or set `listen.tls`",
        )
    yield from _admin_socket(listen)
    for index, issuer in enumerate(sequence(at(document, "zervi", "issuers"))):
        yield from _placeholders(mapping(issuer), ("zervi", "issuers", index))
        key = "issuer" if mapping(issuer).get("discovery") is True else "jwks_url"
        place: Place = ("zervi", "issuers", index, key)
        yield from _plain_http(mapping(issuer), place, "keys are fetched", "forge tokens")
    yield from _look_ups(document)
    for index, source in enumerate(sequence(at(document, "zervi", "token_sources"))):
        if mapping(source).get("query") is not None:
            yield warning(
                ("zervi", "token_sources", index, "query"),
                "query-token",
                "tokens in the query end up in access logs, browser histories and Referer headers",
                "prefer a header or a cookie",
            )
    feed = mapping(at(document, "zervi", "revocation"))
    for key in ("url", "redis"):
        place = ("zervi", "revocation", key)
        yield from _plain_http(feed, place, "revocations are read", "withhold them")
    looma = mapping(at(document, "looma"))
    token = mapping(looma.get("token"))
    yield from _plain_http(
        token, ("looma", "token", "login_url"), "the service's secret is sent", "steal it"
    )
    place = ("looma", "url")
    if at(document, "gateway") is not None:
        yield from _gateway(mapping(at(document, "gateway")), looma)
    elif token:
        yield from _plain_http(looma, place, "the service token is sent", "steal it")
    # Where `looma.probe` is, an error says that it is now `upstream.probe`. A gateway has no single
    # upstream that it could probe.
    unprobed = at(document, "upstream", "probe") is None and "probe" not in looma
    if looma and unprobed and at(document, "gateway") is None:
        yield warning(
            ("looma",),
            "unprobed-upstream",
            "the sidecar reports to the registry that the upstream's health is unknown",
            "set `upstream.probe`",
        )


def _gateway(gateway: Mapping[str, object], looma: Mapping[str, object]) -> Iterator[Problem]:
    choose = "choose who gets users' tokens"  # which also holds without a service token
    yield from _plain_http(looma, ("looma", "url"), "instances are read", choose)
    place: Place = ("gateway", "allocations", "url")
    allocations = mapping(gateway.get("allocations"))
    yield from _plain_http(allocations, place, "allocations are read", choose)
    networks: dict[Place, object] = {("gateway", "allow_networks"): gateway.get("allow_networks")}
    for target, own in mapping(gateway.get("target_networks")).items():
        networks["gateway", "target_networks", str(target)] = own
    for place, listed in networks.items():
        for index, text in enumerate(sequence(listed)):
            if isinstance(text, str) and text.endswith("/0"):
                yield warning(
                    (*place, index),
                    "open-networks",
                    "every address is in this network: an instance anywhere can get users' tokens",
                    "name the networks of the instances",
                )
    first = [text.partition("/")[0] for text in chain.from_iterable(map(texts, networks.values()))]
    plaintext = gateway.get("unsafe_plaintext_targets") is True and gateway.get("tls") is None
    if looma and plaintext and not all(map(is_loopback, first)):
        yield warning(
            ("gateway", "unsafe_plaintext_targets"),
            "plain-http",
            "users' tokens are sent to the registry's instances over plain HTTP:"
            " a man in the middle can steal them",
            "set `gateway.tls`",
        )


def _look_ups(document: object) -> Iterator[Problem]:
    issuers = [mapping(issuer) for issuer in sequence(at(document, "zervi", "issuers"))]
    permissions = mapping(at(document, "zervi", "permissions"))
    place: Place = ("zervi", "permissions", "url")
    yield from _plain_http(permissions, place, "permissions are looked up", "grant any")
    names = {name for issuer in issuers for name in texts(issuer.get("issuer"))}
    if permissions and len(names) > 1 and not permissions.get("issuers"):
        yield warning(
            place[:-1],
            "permissions-of-all-issuers",
            "users of every issuer are looked up: the same id at two issuers is not the same user",
            "list the issuers whose users Zervi knows in `issuers`",
        )
    for index, issuer in enumerate(issuers):
        section = mapping(issuer.get("introspection"))
        place = ("zervi", "issuers", index, "introspection")
        yield from _plain_http(section, (*place, "url"), "users' tokens are sent", "steal them")
        if section and not section.get("match"):
            yield warning(
                place,
                "introspection-of-all",
                "each token that is not a JWT costs a look-up, also an invented one",
                "set `match` to the form of the issuer's tokens",
            )


def _admin_socket(listen: Mapping[str, object]) -> Iterator[Problem]:
    directory = _socket_directory(listen.get("admin"))
    for key in ("authz", "health"):
        if directory is not None and directory == _socket_directory(listen.get(key)):
            yield warning(
                ("listen", "admin"),
                "shared-admin",
                f"what mounts the directory of `{key}` can reach the admin socket too",
                "use a separate directory that only the sidecar mounts",
            )
            return


def _socket_directory(address: object) -> str | None:
    if not isinstance(address, str) or not address.startswith("unix:"):
        return None
    return normpath(address.removeprefix("unix:")).rpartition("/")[0]


def _placeholders(issuer: Mapping[str, object], place: Place) -> Iterator[Problem]:
    written: dict[Place, object] = {(key,): issuer.get(key) for key in ("issuer", "jwks_url")}
    for index, audience in enumerate(sequence(issuer.get("audiences"))):
        written["audiences", index] = audience
    for key, text in written.items():
        if isinstance(text, str) and (found := _PLACEHOLDER.search(text)):
            yield warning(
                (*place, *key),
                "placeholder",
                f"{quoted(found[0])} looks like a placeholder, and nothing replaces it here",
                "write the value; no token contains this text",
            )


def _plain_http(
    section: Mapping[str, object], place: Place, what: str, harm: str
) -> Iterator[Problem]:
    url = section.get(str(place[-1]))
    if not isinstance(url, str) or not url.lower().startswith(tuple(_ENCRYPTED)):
        return
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return
    if host and not is_loopback(host):
        plain = url.partition(":")[0].lower() + "://"
        message = f"{what} over {_ENCRYPTED[plain][0]}: a man in the middle can {harm}"
        yield warning(place, "plain-http", message, f"use {_ENCRYPTED[plain][1]}")
