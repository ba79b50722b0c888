"""The request headers that a sidecar sets and removes, by its configuration."""

from typing import NamedTuple

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.core.tokens.credentials import WEBSOCKET_PROTOCOL


class Touched(NamedTuple):
    """Names of headers, lower-case.

    ``names`` are set or removed by this configuration. ``removed`` are only removed, in the order
    of ``policy.remove_headers``. ``later`` are added to ``names`` when the policy names hosts, or
    when the upstream gets no token any more: a reload changes that, and Envoy goes on.
    """

    names: tuple[str, ...]
    removed: tuple[str, ...]
    later: tuple[str, ...]


def touched(config: Config) -> Touched:
    """Return the headers that a sidecar with this configuration sets or removes."""
    answers = wiring.answers(config)
    removed = answers.remove_headers
    if config.policy.names_hosts:
        removed += answers.remove_with_hosts
    withheld = () if answers.forward_authorization else answers.token_sources
    sources = [source.name for source in withheld if source.kind == "header"]
    if any(source.kind == "cookie" for source in withheld):
        sources.append("cookie")  # rewritten without the token
    if any(source.kind == "websocket_protocol" for source in answers.token_sources):
        sources.append(WEBSOCKET_PROTOCOL)  # rewritten likewise, whatever is forwarded
    identity = answers.never_from_clients()
    return Touched(
        tuple(dict.fromkeys((*identity, *removed, *sources))),
        tuple(name for name in removed if name not in identity),
        (
            *answers.remove_with_hosts,
            *(source.name for source in answers.token_sources if source.kind == "header"),
        ),
    )
