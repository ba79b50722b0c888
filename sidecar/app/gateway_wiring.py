"""Converts the configuration to the settings of a gateway's rooms."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from urllib.parse import urlsplit

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Instance
from sidecar.gateway.files import FileSettings
from sidecar.gateway.resources import TargetTls, cors_policy
from sidecar.looma.directory.allocations import AllocationsOnly
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.members import Admission, networks
from sidecar.looma.directory.membership import Membership
from sidecar.looma.directory.reader import Registry
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.reporting import TOKEN_HEADERS
from sidecar.looma.token import FileTokens, tokens_of
from sidecar.net.addresses import TcpAddress
from sidecar.net.trust import TlsFiles
from sidecar.upstream.probe import ProbeSettings


def directory(config: Config, targets: Callable[[], Iterable[str]]) -> Registry | None:
    """Return the registry that a gateway reads instances from, None where there is none."""
    section, looma = config.settings.gateway, config.settings.looma
    if section is None or looma is None:
        return None
    files = TlsFiles(looma.ca_file, looma.cert_file, looma.key_file)
    source = wiring.service_token(looma, config.registry_secret)
    tokens = tokens_of(source, HttpCaller(files))
    client = RegistryClient(files, tokens, *TOKEN_HEADERS[looma.kind])
    admitted = admission(section)
    if looma.kind == "etcd":
        from sidecar.looma.directory.etcd_watch import EtcdWatch

        return EtcdWatch(looma.url, admitted, client)
    if looma.kind == "consul":
        from sidecar.looma.directory.consul_catalog import ConsulCatalog

        return ConsulCatalog(looma.url, admitted, client, targets)
    return Membership(looma.url, admitted, client)


def allocations(section: GatewaySection) -> AllocationsOnly | None:
    """Return Looma's allocations beside another registry, None where they are not configured."""
    found = section.allocations
    if found is None:
        return None
    tokens = None if found.token_file is None else FileTokens(found.token_file)
    return AllocationsOnly(found.url, RegistryClient(TlsFiles(found.ca_file), tokens))


def admission(section: GatewaySection) -> Admission:
    """Return which instances of a registry are admitted."""
    return Admission(
        networks(section.allow_networks),
        {name: networks(texts) for name, texts in section.target_networks.items()},
        frozenset(section.services),
    )


def fixed(section: GatewaySection) -> dict[str, tuple[Instance, ...]]:
    """Return the fixed services; a URL is the id of an instance, whose health is unknown."""
    return {
        name: tuple(Instance(url, name, _authority(url)) for url in urls)
        for name, urls in section.services.items()
    }


def probes(section: GatewaySection) -> dict[str, ProbeSettings]:
    """Return the probe of each URL of the fixed services: of a path, or of a connection."""
    found = {}
    for name, urls in section.services.items():
        for url in urls:
            path = section.probes.get(name)
            probed = f"tcp://{_authority(url)}" if path is None else url + path
            found[url] = ProbeSettings(probed, name=f"{name} at {url}")
    return found


def _authority(url: str) -> str:
    parts = urlsplit(url)
    return str(
        TcpAddress(str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80))
    )


def files(config: Config, section: GatewaySection) -> FileSettings:
    """Return what Envoy's files contain beside the directory."""
    settings = wiring.answers(config)
    removed = (*settings.remove_headers, *settings.remove_with_hosts)
    return FileSettings(
        section.envoy_dir,
        tuple(
            name for name in removed if name not in settings.identity_headers.never_from_clients()
        ),
        cors_policy(config.settings.policy.cors),
        section.services,
        None if section.tls is None else TargetTls(**asdict(section.tls)),
        config.settings.zervi.revocation is not None,
    )
