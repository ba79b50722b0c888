"""Serves only the clients of a client CA whose certificate has one of these names.

Names are the DNS names and URIs of its subject alternative names (RFC 5280 4.2.1.6), never its
common name.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sidecar.transport.interface import Tls

_log = logging.getLogger(__name__)

MAX_LOGGED = 5  # names of a refused certificate in the log; it may have any number
MAX_NAME = 200  # characters of each

# What may follow a URI prefix: path segments as in SPIFFE, not `.` or `..`.
_BELOW = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)*")


class ClientNames:
    """Patterns of names: ``envoy.example``, ``*.mesh.example``, ``spiffe://td/x``, ``spiffe://td/*``.

    A leading ``*.`` matches one label, a trailing ``/*`` one or more segments.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        uris = [pattern for pattern in patterns if "://" in pattern]
        names = [pattern.lower().rstrip(".") for pattern in patterns if "://" not in pattern]
        self._uris = frozenset(uri for uri in uris if not uri.endswith("/*"))
        self._uris_below = tuple(uri[:-1] for uri in uris if uri.endswith("/*"))
        self._dns = frozenset(name for name in names if not name.startswith("*."))
        self._domains = frozenset(name[2:] for name in names if name.startswith("*."))

    def admit(self, dns: Iterable[str], uris: Iterable[str]) -> bool:
        """Return whether a certificate's names include one of these."""
        return any(map(self._has_dns, dns)) or any(map(self._has_uri, uris))

    def admit_peer(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return the same for a certificate in the form of ``ssl``; log a refusal."""
        names = () if certificate is None else certificate.get("subjectAltName", ())
        return self.admit_or_log(
            [name for kind, name in names if kind == "DNS"],
            [name for kind, name in names if kind == "URI"],
        )

    def admit_or_log(self, dns: list[str], uris: list[str]) -> bool:
        """Return whether a certificate's names include one of these; log a refusal."""
        if self.admit(dns, uris):
            return True
        shown = [name[:MAX_NAME] for name in (*dns, *uris)[:MAX_LOGGED]]
        _log.warning(
            "client refused: no name in its certificate matches listen.tls.client_names;"
            " the certificate has %s",
            ", ".join(shown) or "no DNS name and no URI",
        )
        return False

    def _has_dns(self, name: str) -> bool:
        if not name.isascii():
            return False  # lower() turns some non-ASCII letters into ASCII
        name = name.lower().removesuffix(".")
        label, _, domain = name.partition(".")
        return name in self._dns or (label not in ("", "*") and domain in self._domains)

    def _has_uri(self, uri: str) -> bool:
        if uri in self._uris:
            return True
        return any(
            uri.startswith(prefix) and _BELOW.fullmatch(uri, len(prefix))
            for prefix in self._uris_below
        )


def names_of(tls: Tls | None) -> ClientNames | None:
    """Return the names that clients must have, None if every client is served."""
    return ClientNames(tls.client_names) if tls is not None and tls.client_names else None
