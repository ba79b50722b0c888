"""Rules about more than one key of ``sidecar.yaml``, which the schema cannot express.

Rules read untyped values, not the model, so that they apply even if another key is invalid.
"""

from collections.abc import Iterator, Mapping, Sequence

from sidecar.config import header_rules, lookups, revocation, token_rules
from sidecar.config.addresses import base_url
from sidecar.config.model import (
    Jwks,
    Listen,
    Probe,
)
from sidecar.core.paths.upstreams import GENERIC
from sidecar.documents.findings import BadValueError, Place, Problem, quoted
from sidecar.documents.untyped import at, duration, mapping, sequence, texts

KINDS_BESIDE = ("etcd", "consul")  # registries beside which Looma may still assign users
_KEY_SOURCES = ("jwks_url", "discovery", "jwks_file")
_SECRET_SOURCES = ("secret_env", "secret_file")
_LOGIN = ("login_url", "service_id", "secret_env")


def problems(document: object) -> Iterator[Problem]:
    """Yield every conflict between the keys of a whole ``sidecar.yaml``."""
    yield from _addresses(mapping(at(document, "listen")))
    tls = mapping(at(document, "listen", "tls"))
    if tls.get("client_names") is not None and tls.get("client_ca_file") is None:
        yield Problem(
            ("listen", "tls", "client_names"),
            "missing-key",
            "`client_names` needs `client_ca_file`",
            "without it, clients do not send a certificate",
        )
    issuers = [mapping(issuer) for issuer in sequence(at(document, "zervi", "issuers"))]
    for index, issuer in enumerate(issuers):
        if issuer:
            yield from _issuer(issuer, ("zervi", "issuers", index))
    yield from _issuers_together(issuers)
    for index, source in enumerate(sequence(at(document, "zervi", "token_sources"))):
        if isinstance(source, dict):
            yield from _token_source(source, ("zervi", "token_sources", index))
    yield from _jwks(mapping(at(document, "zervi", "jwks")))
    yield from lookups.problems(document)
    yield from revocation.problems(document)
    yield from _encoded(mapping(at(document, "policy")))
    yield from header_rules.problems(document)
    yield from _probe(mapping(at(document, "upstream", "probe")))
    if looma := mapping(at(document, "looma")):
        yield from _looma(looma)
    if gateway := mapping(at(document, "gateway")):
        yield from _gateway(gateway, document)


def _encoded(policy: Mapping[str, object]) -> Iterator[Problem]:
    """Yield each character that is data of a segment, and has several readings too."""
    allowed = texts(policy.get("allow_paths"))
    for name in mapping(policy.get("encoded")):
        if f"encoded_{name}" in allowed:
            yield Problem(
                ("policy", "encoded", name),
                "exclusive-keys",
                f"`encoded.{name}` and `encoded_{name}` in `allow_paths` are mutually exclusive",
                "the upstream keeps the character inside a segment, or it does not",
            )


def _given(section: Mapping[str, object], *keys: str) -> list[str]:
    return [key for key in keys if section.get(key) not in (None, False)]


def _exclusive(place: Place, given: list[str], hint: str = "") -> Iterator[Problem]:
    for key in given[1:]:
        message = f"`{given[0]}` and `{key}` are mutually exclusive"
        yield Problem((*place, key), "exclusive-keys", message, hint)


def _addresses(listen: Mapping[str, object]) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for key in ("authz", "health", "ops", "admin", "page"):
        address = listen.get(key, getattr(Listen, key))
        if not isinstance(address, str) or address.endswith(":0"):  # port 0: any free port
            continue
        other = taken.setdefault(address.lower(), key)
        if other != key:
            place: Place = ("listen", key if key in listen else other)
            yield Problem(
                place,
                "same-address",
                f"`{other}` and `{key}` use the same address, {quoted(address)}",
            )


def _issuer(issuer: Mapping[str, object], place: Place) -> Iterator[Problem]:
    given = _given(issuer, *_KEY_SOURCES, *_SECRET_SOURCES)
    if not given:
        yield Problem(
            place,
            "missing-key",
            "this issuer has neither keys nor a secret",
            "give one of `jwks_url`, `discovery`, `jwks_file`, `secret_env` and `secret_file`",
        )
    hint = "for both keys and a secret, write two entries with the same `issuer`"
    yield from _exclusive(place, given, hint)
    yield from token_rules.problems(issuer, place)
    if given and given[0] in _SECRET_SOURCES:
        for key in _given(issuer, "ca_file", "jwks_token_file"):
            message = f"`{key}` has no effect with `{given[0]}`"
            hint = "it is for an https `jwks_url`"
            yield Problem((*place, key), "no-effect", message, hint)
    elif given:
        yield from _fetching(issuer, given[0], place)
        url = issuer.get("issuer" if given[0] == "discovery" else "jwks_url")
        if issuer.get("ca_file") is not None and not str(url).lower().startswith("https:"):
            yield Problem(
                (*place, "ca_file"),
                "no-effect",
                "`ca_file` has no effect without an https `jwks_url`",
            )
        if issuer.get("unsafe_allow_weak_secret") is True:
            yield Problem(
                (*place, "unsafe_allow_weak_secret"),
                "no-effect",
                "`unsafe_allow_weak_secret` has no effect without a secret",
            )


def _fetching(issuer: Mapping[str, object], source: str, place: Place) -> Iterator[Problem]:
    name = issuer.get("issuer")
    if source == "discovery" and isinstance(name, str):
        try:
            base_url(name)
        except BadValueError as wrong:
            message = f"`discovery` needs a URL as `issuer`, and {quoted(name)} {wrong}"
            yield Problem((*place, "issuer"), "bad-value", message, "or set `jwks_url`")
    if source == "jwks_file" and issuer.get("jwks_token_file") is not None:
        message = "`jwks_token_file` has no effect without `jwks_url` or `discovery`"
        yield Problem((*place, "jwks_token_file"), "no-effect", message)


def _issuers_together(issuers: Sequence[Mapping[str, object]]) -> Iterator[Problem]:
    first: dict[tuple[str, bool], int] = {}
    without_name: int | None = None
    for index, issuer in enumerate(issuers):
        place: Place = ("zervi", "issuers", index)
        name, has_secret = issuer.get("issuer"), bool(_given(issuer, *_SECRET_SOURCES))
        if isinstance(name, str) and _given(issuer, *_KEY_SOURCES, *_SECRET_SOURCES):
            other = first.setdefault((name, has_secret), index)
            if other != index:
                yield Problem(
                    (*place, "issuer"),
                    "duplicate-issuer",
                    f"duplicate issuer {quoted(name)} with {'a secret' if has_secret else 'keys'}",
                    "two entries may share a name only if one has keys and the other a secret",
                    other=("zervi", "issuers", other),
                )
        if issuer.get("allow_missing_issuer") is True:
            if without_name is not None:
                yield Problem(
                    (*place, "allow_missing_issuer"),
                    "duplicate-issuer",
                    "`allow_missing_issuer` can be true for only one issuer",
                    "a token without `iss` must belong to exactly one issuer",
                    other=("zervi", "issuers", without_name, "allow_missing_issuer"),
                )
            else:
                without_name = index


def _token_source(source: Mapping[str, object], place: Place) -> Iterator[Problem]:
    given = _given(source, "header", "cookie", "query", "websocket_protocol")
    if not given:
        yield Problem(
            place,
            "missing-key",
            "a token source needs one of `header`, `cookie`, `query` and `websocket_protocol`",
        )
    yield from _exclusive(place, given, "write each source as a separate item")
    for key, other in (("scheme", "header"), ("origins", "cookie")):
        if source.get(key) and given and other not in given:
            message = f"`{key}` has no effect without `{other}`"
            yield Problem((*place, key), "no-effect", message)


def _jwks(jwks: Mapping[str, object]) -> Iterator[Problem]:
    defaults = Jwks()
    refresh = duration(jwks.get("refresh"), defaults.refresh)
    stale = duration(jwks.get("max_stale"), defaults.max_stale)
    if refresh is not None and stale is not None and stale < refresh:
        yield Problem(
            ("zervi", "jwks", "max_stale" if "max_stale" in jwks else "refresh"),
            "bad-value",
            "`max_stale` must not be shorter than `refresh`",
            "otherwise every key set would expire before the next fetch",
        )
    wait = duration(jwks.get("unknown_key_wait"), defaults.unknown_key_wait)
    timeout = duration(jwks.get("timeout"), defaults.timeout)
    if wait is not None and timeout is not None and wait > timeout:
        yield Problem(
            ("zervi", "jwks", "unknown_key_wait" if "unknown_key_wait" in jwks else "timeout"),
            "bad-value",
            "`unknown_key_wait` must not be longer than `timeout`",
            "a fetch ends after `timeout`",
        )


def _probe(probe: Mapping[str, object]) -> Iterator[Problem]:
    interval = duration(probe.get("interval"), Probe.interval)
    timeout = duration(probe.get("timeout"), 0.0)
    if interval is not None and timeout is not None and timeout > interval:
        yield Problem(
            ("upstream", "probe", "timeout"),
            "bad-value",
            "`timeout` must not be longer than `interval`",
            "one probe runs at a time",
        )


def _looma(looma: Mapping[str, object]) -> Iterator[Problem]:
    yield from _looma_tls(looma)
    if looma.get("kind") in KINDS_BESIDE and looma.get("paths") is not None:
        yield Problem(("looma", "paths"), "no-effect", "`paths` has no effect without `kind: http`")
    token = looma.get("token")
    if isinstance(token, dict):
        yield from _token(token)


def _gateway(gateway: Mapping[str, object], document: object) -> Iterator[Problem]:
    looma = at(document, "looma")
    tls, plaintext = gateway.get("tls") is not None, gateway.get("unsafe_plaintext_targets") is True
    if tls and plaintext:
        yield from _exclusive(("gateway",), ["tls", "unsafe_plaintext_targets"])
    elif looma is not None and not tls and not plaintext:
        yield Problem(
            ("gateway",),
            "missing-key",
            "`tls` is required: instances of the registry get users' tokens",
            "tls: {san: ...}, or `unsafe_plaintext_targets: true` in a network that you trust",
        )
    if gateway.get("allocations") is not None and mapping(looma).get("kind") not in KINDS_BESIDE:
        message = "`allocations` has no effect without `looma.kind` etcd or consul"
        hint = "with kind: http they come from looma.url"
        yield Problem(("gateway", "allocations"), "no-effect", message, hint)
    yield from _reserved(gateway)
    services = mapping(gateway.get("services"))
    for name in mapping(gateway.get("probes")):
        if name not in services:
            message = f"{quoted(str(name))} is not in `services`, so it is not probed"
            hint = "a registry's instances are probed by their own sidecars"
            yield Problem(("gateway", "probes", str(name)), "no-effect", message, hint)
    upstream = at(document, "policy", "upstream")
    if isinstance(upstream, str) and upstream != GENERIC:
        message = f"`upstream` must be {GENERIC} with `gateway`, not {quoted(upstream)}"
        hint = "the targets of a gateway may be different software"
        yield Problem(("policy", "upstream"), "exclusive-keys", message, hint)


def _reserved(gateway: Mapping[str, object]) -> Iterator[Problem]:
    from sidecar.core.placement.place import RESERVED  # only a gateway needs it

    for key in ("services", "target_networks"):
        for name in mapping(gateway.get(key)):
            if name in RESERVED:
                message = f"{quoted(str(name))} is a cluster of the gateway's own Envoy"
                hint = "another name for the service, there and in the routes"
                yield Problem(("gateway", key, str(name)), "reserved-target", message, hint)


def _looma_tls(looma: Mapping[str, object]) -> Iterator[Problem]:
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if looma.get(key) is not None and looma.get(other) is None:
            message = f"`{key}` needs `{other}`"
            yield Problem(("looma", key), "missing-key", message, "give both")
    urls = (looma.get("url"), mapping(looma.get("token")).get("login_url"))
    if not any(str(url).lower().startswith("https:") for url in urls):
        for key in _given(looma, "ca_file", "cert_file", "key_file"):
            message = f"`{key}` has no effect without an https `url` or `login_url`"
            yield Problem(("looma", key), "no-effect", message)


def _token(token: Mapping[str, object]) -> Iterator[Problem]:
    place: Place = ("looma", "token")
    ways = [("file",), ("env",), (*_LOGIN, "secret_file")]
    begun = [way for way in ways if _given(token, *way)]
    if not begun:
        yield Problem(
            place,
            "missing-key",
            "`token` has no source",
            "give `file`, or `env`, or `login_url`, `service_id` and `secret_env`",
        )
        return
    yield from _exclusive(place, [_given(token, *way)[0] for way in begun])
    if begun[0] is ways[-1]:
        both = _given(token, *_SECRET_SOURCES)
        yield from _exclusive(place, both)
        for key in _LOGIN:
            if token.get(key) is None and not (key == "secret_env" and both):
                yield Problem(
                    place,
                    "missing-key",
                    f"`token` requires the key `{key}`",
                    "a login needs all three keys",
                )
