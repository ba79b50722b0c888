"""A node's identity at the registry: a service id that is valid in a URL path and a key."""

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_ID_CHARACTERS = 128  # Looma's table, Consul and etcd accept more
_DIGEST_CHARACTERS = 8
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_log = logging.getLogger(__name__)


class Service(NamedTuple):
    """This node's entry in the registry; ``id`` comes from ``service_id``.

    ``address`` and ``port`` are Envoy's listener, as other services reach it. A gateway chooses by
    ``labels``.
    """

    id: str
    name: str
    type: str
    address: str
    port: int
    node: str = ""
    cluster: str = ""
    version: str = ""
    environment: str = ""
    labels: Mapping[str, str] = {}


def service_id(template: str, *, name: str, host: str, port: int) -> str:
    """Replace ``{name}``, ``{host}`` and ``{port}``, and make the result valid in a path.

    Every character except ASCII letters, digits, ``.``, ``_`` and ``-`` becomes ``-``. A changed id
    ends with a digest of the original, so that two ids stay different. Raises ValueError for
    another placeholder or an empty id.
    """
    values = {"name": name, "host": host, "port": str(port)}

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError(f"{found[0]} is none of {{name}}, {{host}} and {{port}}")
        return values[found[1]]

    wanted = _PLACEHOLDER.sub(value, template)
    if not wanted:
        raise ValueError("the service id is empty")
    fit = _UNFIT.sub("-", wanted)
    if fit == wanted and len(fit) <= MAX_ID_CHARACTERS and fit.strip("."):
        return fit
    digest = hashlib.sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest()
    suffix = f"-{digest[:_DIGEST_CHARACTERS]}"
    fit = fit[: MAX_ID_CHARACTERS - len(suffix)] + suffix
    _log.warning("looma.service.id: %a is not valid in a path, %s is used", wanted, fit)
    return fit
