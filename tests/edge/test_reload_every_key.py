"""Each key of ``sidecar.yaml`` is either reloaded, or named in the log as needing a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.app import wiring
from sidecar.config import Config, changed_keys, needs_restart, read_files
from sidecar.config.answers import CorsSection
from sidecar.config.claims import IssuerClaims
from sidecar.config.gateway import GatewayAllocations, GatewaySection, GatewayTls
from sidecar.config.lookups import (
    Credentials,
    IntrospectionSection,
    LookUpToken,
    PermissionsSection,
    TokenMatch,
)
from sidecar.config.model import (
    IssuerSection,
    Listen,
    Log,
    Looma,
    PolicySection,
    Probe,
    RegistryToken,
    ServiceSection,
    Settings,
    ShadowSection,
    Tls,
    TracingSection,
    UpstreamSection,
    Zervi,
)
from sidecar.config.revocation import FeedToken, RevocationSection
from sidecar.config.secrets import Secrets
from sidecar.config.token_places import ServiceTokenPlace, TokenPlace
from sidecar.config.token_rules import ServiceWhen
from sidecar.documents.schema import keys_of, section_in
from tests.edge.config_files import ENVIRON, ISSUERS, POLICY, Files

ELSEWHERE = {
    "policy.file": "compiled into the policy",
    "policy.ignore_case": "compiled into the policy",
    "policy.upstream": "compiled into the policy",
    "policy.allow_paths": "compiled into the policy",
    "policy.cors_preflight": "compiled into the policy",
    "policy.encoded.slash": "compiled into the policy",
    "policy.encoded.hash": "compiled into the policy",
    "policy.shadow.file": "compiled into the candidate",
    "looma.token.secret_env": "the secret itself is compared",
    "zervi.issuers.unsafe_allow_weak_secret": "decides only whether a file is accepted",
}
"""What this test cannot see change in the settings of a room, and why."""


def leaves(section: type[Any], above: str = "") -> Iterator[str]:
    """Yield each key of the schema that has no keys below it, without places in lists."""
    for name, kind in keys_of(section).kinds.items():
        below = section_in(kind)
        if below is None:
            yield above + name
        else:
            yield from leaves(below, f"{above}{name}.")


KEYS = tuple(leaves(Settings))


def bases() -> Iterator[Settings]:
    """Yield settings in which each section is present, with alternatives that exclude others."""
    claims = IssuerClaims()
    rule = ServiceWhen(claim="a", equals="a", prefix="a", same_as="a", present=True)
    match = TokenMatch(length=(1, 2))
    by_client = Credentials(client_id="c", secret_env="S")
    by_token = Credentials(file=Path("t"))
    asked, asked_otherwise = (
        IntrospectionSection(kind="zervi", url="https://z", credentials=held, match=match)
        for held in (by_client, by_token)
    )
    by_url = IssuerSection(
        issuer="z",
        jwks_url="https://zervi",
        claims=claims,
        service_when=(rule,),
        introspection=asked,
    )
    by_file = IssuerSection(
        issuer="z",
        jwks_file=Path("keys"),
        claims=claims,
        service_when=(rule,),
        introspection=asked_otherwise,
    )
    login = {"login_url": "http://z", "service_id": "a", "secret_file": Path("s")}
    by_login = RegistryToken(**login)  # type: ignore[arg-type]  # -- values of two types
    for issuer, token, source in (
        (by_url, RegistryToken(file=Path("t")), TokenPlace(header="authorization", scheme="a")),
        (by_file, RegistryToken(env="T"), TokenPlace(cookie="session")),
        (by_file, by_login, TokenPlace(query="token")),
        (by_file, RegistryToken(), TokenPlace(websocket_protocol="bearer")),
        (by_file, RegistryToken(), TokenPlace()),
    ):
        yield Settings(
            listen=Listen(tls=Tls(cert_file=Path("c"), key_file=Path("k"))),
            zervi=Zervi(
                issuers=(issuer,),
                token_sources=(source,),
                service_token_sources=(ServiceTokenPlace(header="x-service-token"),),
                permissions=PermissionsSection(url="http://z/{subject}", token=LookUpToken()),
                revocation=RevocationSection(token=FeedToken()),
            ),
            policy=PolicySection(
                file=Path("r"),
                cors=CorsSection(origins=("https://a",)),
                shadow=ShadowSection(file=Path("s")),
            ),
            upstream=UpstreamSection(probe=Probe(url="tcp://a:1")),
            looma=Looma(
                url="https://looma",
                service=ServiceSection(name="a", address="a", port=1),
                token=token,
            ),
            gateway=GatewaySection(
                envoy_dir="/run",
                allow_networks=("10.0.0.0/8",),
                target_networks={"a": ("10.0.0.0/8",)},
                services={"a": ("http://a:1",)},
                probes={"a": "/a"},
                allocations=GatewayAllocations(url="http://looma"),
                tls=GatewayTls(san="{service}.a"),
            ),
            log=Log(),
            tracing=TracingSection(otlp="http://a:1"),
        )


def other(value: Any) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case Path():
            return value / "x"
        case (int(), most):
            return (value[0] + 1, most)
        case tuple():
            return ("x", *value)
        case Mapping():
            return {**value, "x": ("x",)}
    raise AssertionError(f"no other value than {value!r}")


def changed(value: Any, way: list[str]) -> Any:
    """Return a section, or a list of one section, with another value at the end of a way."""
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return (changed(value[0], way), *value[1:])
    name, *rest = way
    held = getattr(value, name)
    if rest:
        return replace(value, **{name: changed(held, rest)})
    if held is not None:
        return replace(value, **{name: other(held)})
    for new in ("x", Path("x"), ("x",), (Path("x"),), {"x": ("x",)}):
        hint = str(next(each.type for each in fields(value) if each.name == name))
        if fits(hint, new):
            return replace(value, **{name: new})
    raise AssertionError(f"no value for {name}")


def fits(hint: str, value: object) -> bool:
    """Return whether an annotation admits a value: by its first words, which is enough here."""
    kind = hint.removeprefix("typing.Annotated[").removeprefix("Annotated[")
    beginnings: dict[type, str] = {str: "str", dict: "collections.abc.Mapping"}
    if isinstance(value, tuple):
        return kind.startswith(f"tuple[{'str' if isinstance(value[0], str) else 'pathlib.'}")
    return kind.startswith(beginnings.get(type(value), "pathlib."))


def config(settings: Settings, tmp_path: Path) -> Config:
    """Return a valid configuration with these settings."""
    files = Files(tmp_path)
    read = read_files(files.config, ENVIRON)
    secrets = Secrets({"zervi": {"issuers": [{}] * len(settings.zervi.issuers)}}, tmp_path, {})
    return replace(read, settings=settings, secrets=secrets, findings=()).config()


def in_force(config: Config) -> list[object]:
    """Return all that the rooms get from a configuration when it is reloaded."""
    settings = config.settings
    assert settings.looma is not None
    return [
        wiring.snapshot(config)._replace(policy=config.policy),
        wiring.answers(config),
        wiring.service(config),
        wiring.key_sources(config),
        wiring.key_refreshing(config),
        wiring.permissions_source(config),
        wiring.verdict_sources(config),
        wiring.probe(config),
        settings.gateway,  # Gateway.follows compares it
        wiring.registry(settings.looma, config.registry_secret),
        wiring.reporter(settings.looma, "1"),
        settings.policy.shadow and replace(settings.policy.shadow, file=Path()),
        settings.log,
        settings.drain,
    ]


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ELSEWHERE])
def test_a_changed_key_is_reloaded_or_named(key: str, tmp_path: Path) -> None:
    seen = False
    for base in bases():
        after = changed(base, key.split("."))
        (named,) = changed_keys(base, after)
        assert key.startswith(named)
        if needs_restart(named):
            seen = True
        else:
            seen = seen or in_force(config(base, tmp_path)) != in_force(config(after, tmp_path))
    assert seen, f"a change of {key} has no effect, and the log does not say so"


def test_only_listen_and_tracing_take_a_restart() -> None:
    assert {key.partition(".")[0] for key in KEYS if needs_restart(key)} == {"listen", "tracing"}


@pytest.mark.parametrize(
    "changed",
    [
        "ignore_case: true",
        "upstream: go",
        "allow_paths: [semicolon]",
        "cors_preflight: off",
        "encoded: {slash: segment}",
    ],
)
def test_what_is_compiled_into_the_policy_changes_with_its_key(
    changed: str, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    before = files.load().policy
    files.write(sidecar=ISSUERS + POLICY.replace("}", f", {changed}}}"))
    after = files.load().policy
    key = changed.partition(":")[0]
    assert getattr(before, key) != getattr(after, key)
