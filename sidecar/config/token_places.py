"""The schema of the places where tokens may be; see ``model``."""

from dataclasses import dataclass
from typing import Annotated

from sidecar.config.headers import origin, parameter_name, token_header, word
from sidecar.documents.kinds import List, Optional, Text


@dataclass(frozen=True, kw_only=True)
class TokenPlace:
    """One of ``zervi.token_sources``: exactly one of the four places is given."""

    header: Annotated[str | None, Optional(Text(token_header))] = None
    scheme: Annotated[str | None, Optional(Text(word))] = None
    cookie: Annotated[str | None, Optional(Text(word))] = None
    origins: Annotated[tuple[str, ...], List(Text(origin), unique=True)] = ()
    websocket_protocol: Annotated[str | None, Optional(Text(word))] = None
    query: Annotated[str | None, Optional(Text(parameter_name))] = None


@dataclass(frozen=True, kw_only=True)
class ServiceTokenPlace:
    """One of ``zervi.service_token_sources``."""

    header: Annotated[str, Text(token_header)]
    scheme: Annotated[str | None, Optional(Text(word))] = None
