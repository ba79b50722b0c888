"""The addresses in Envoy's bootstrap: IP addresses, and no two servers at the same one."""

from collections.abc import Mapping
from ipaddress import ip_address
from itertools import combinations
from typing import Final

from sidecar.config.model import Listen
from sidecar.documents.findings import BadValueError, quoted
from sidecar.net.addresses import MAX_PORT, TcpAddress, is_loopback, parse_tcp

_ANY: Final = ("0.0.0.0", "::")


def numeric(text: str) -> TcpAddress:
    """Return ``host:port`` as Envoy reads it, which looks no name up. Raises BadValueError."""
    host, port = _numbered(parse_tcp(text))
    if port == 0:
        raise BadValueError("has the port 0", f"a port is a number from 1 to {MAX_PORT}")
    try:
        ip_address(host)
    except ValueError:
        help_ = "Envoy needs an IP address here"
        raise BadValueError(f"has the host name {quoted(host)}", help_) from None
    return TcpAddress(host, port)


def next_port(address: TcpAddress) -> TcpAddress:
    """Return the address with the next port. Raises BadValueError."""
    if address.port == MAX_PORT:
        raise BadValueError(f"has no next port after {MAX_PORT}", "use --upstream-grpc")
    return address._replace(port=address.port + 1)


def of_sidecar(listen: Listen) -> dict[str, TcpAddress]:
    """Return where the sidecar listens, by key, unix sockets aside."""
    written = {
        "listen.authz": listen.authz,
        "listen.health": listen.health,
        "listen.ops": listen.ops,
        "listen.page": listen.page,
    }
    return {
        name: _numbered(parse_tcp(text))
        for name, text in written.items()
        if text is not None and not text.startswith("unix:")
    }


def check_distinct(servers: Mapping[str, TcpAddress]) -> None:
    """Raise BadValueError where two servers of this machine have the same address."""
    for (name, one), (other, two) in combinations(servers.items(), 2):
        if one.port == two.port and _meet(one.host, two.host):
            message = f"{name} ({one}) and {other} ({two}) are the same address"
            raise BadValueError(message, "choose another port for one of them")


def _meet(one: str, two: str) -> bool:
    here = [host in _ANY or is_loopback(host) for host in (one, two)]
    return one == two or (all(here) and (one in _ANY or two in _ANY))


def _numbered(address: TcpAddress) -> TcpAddress:
    return address._replace(host="127.0.0.1") if address.host.lower() == "localhost" else address
