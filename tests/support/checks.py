"""CheckRequests as Envoy sends them, and CheckResponses as it reads them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence

from sidecar.core.decision import DecisionRecord
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz.asking import NO_LOOK_UPS, LookUps
from sidecar.extauthz.envelope import Envelope, open_envelope, read_outline
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.pb.ext_authz_pb2 import CheckRequest, CheckResponse
from tests.support.policies import BEARER

OK = 0
PERMISSION_DENIED = 7


def check_request(
    target: bytes = b"/closed/1",
    method: str = "GET",
    headers: Mapping[str, Sequence[bytes]] | None = None,
    *,
    raw: bool = True,
    host: str = "api.jobfirst.local",
    peer: str = "",
) -> bytes:
    """Return a CheckRequest's bytes, with ``header_map`` or (``raw=False``) with ``headers``."""
    message = CheckRequest()
    http = message.attributes.request.http
    http.method, http.host = method, host
    http.path = target.decode("utf-8", "replace").replace("�", "!")
    message.attributes.request.time, http.id = b"\x08\x01", "1"
    message.attributes.destination.address.socket_address.port_value = 10000
    message.attributes.source.address.socket_address.address = "10.0.0.9"
    message.attributes.source.address.socket_address.port_value = 4711
    message.attributes.source.principal = peer
    pairs = [(":path", target), (":method", method.encode()), (":authority", host.encode())]
    pairs += [(name, value) for name, values in (headers or {}).items() for value in values]
    if raw:
        for name, value in pairs:
            http.header_map.headers.add(key=name, raw_value=value)
    else:
        for name, value in pairs:
            # Envoy joins the values of a repeated header.
            joined = [http.headers[name]] if name in http.headers else []
            http.headers[name] = ",".join([*joined, value.decode("utf-8", "replace")])
    return message.SerializeToString()


def envelope_of(message: bytes) -> Envelope:
    """Read a CheckRequest's bytes all the way. Raises MalformedCheckError."""
    return open_envelope(read_outline(message))


class NoKeys:
    """A key source that has nothing to fetch."""

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        """Say that no key set could be had."""
        return False


def service(
    snapshot: Snapshot,
    keys: object = None,
    records: MutableSequence[DecisionRecord] | None = None,
    answers: AnswerSettings | None = None,
    defer: Callable[[Callable[[], None]], object] = lambda deliver: deliver(),
    settings: ServiceSettings | None = None,
    lookups: LookUps = NO_LOOK_UPS,
) -> CheckService:
    """Return a Check service; decisions are recorded immediately unless ``defer`` is given."""
    return CheckService(
        snapshot,
        Responder(
            answers or AnswerSettings(IdentityHeaders(), ("x-original-url",), True, (BEARER,))
        ),
        keys or NoKeys(),  # type: ignore[arg-type]  # -- tests bring their own key sources
        (records if records is not None else []).extend,
        defer,
        settings or ServiceSettings(),
        None,
        lookups,
    )


async def answer(
    checks: CheckService, message: bytes, deadline: float | None = None
) -> CheckResponse:
    """Ask as a transport does; return the answer as Envoy reads it."""
    given = checks.check(message, deadline)
    return CheckResponse.FromString(given if isinstance(given, bytes) else await given)


def ask(checks: CheckService, message: bytes) -> CheckResponse:
    """Ask where no event loop runs."""
    return asyncio.run(answer(checks, message))


def reason_of(response: CheckResponse) -> str:
    """Return the reason in the dynamic metadata."""
    return response.dynamic_metadata.fields["reason"].string_value


def allowed(response: CheckResponse) -> bool:
    """Say whether Envoy would let the request pass."""
    if response.status.code != OK:
        return False
    assert response.WhichOneof("http_response") == "ok_response", "OK with a denied response"
    return True
