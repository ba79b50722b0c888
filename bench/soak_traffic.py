"""The traffic of the soak test: clients that cancel, and a connection that breaks."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from h2 import events
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

HOST = "127.0.0.1"
MARK = "x-soak"  # names a request's kind behind Envoy
ENVOYS_OWN = b"authorization does not answer at the moment; try again"  # envoy/envoy.yaml

CLIENT_PAUSE = 0.02  # seconds between two requests, on average
MOST_TURNS = 100  # rounds per connection; then its client reconnects
GIVE_UP_SECONDS = 20.0  # Envoy itself answers after three
LEAVERS = 0.3  # the share of requests that are cancelled, after one of these times:
CANCEL_AFTER = (0.0, 0.001, 0.1)  # before the Check, during it, while it waits for a key

CUT_SECONDS = 2.0  # between two cuts of Envoy's connection to the sidecar, on average


@dataclass(frozen=True)
class Kind:
    """A request and its expected answer.

    ``detail`` is the reason of a denial, or the identity that an allowed request has (empty: none).
    """

    name: str
    status: int
    detail: str
    path: str = "/api/services/orders"
    method: str = "GET"
    token: Callable[[], str] | None = None  # called for each request
    headers: Sequence[tuple[str, str]] = ()
    body: str = ""

    def fields(self) -> list[tuple[str, str]]:
        """Return the headers of one request, with a forged identity that must never arrive."""
        bearer = [("authorization", f"Bearer {self.token()}")] if self.token else []
        return [(MARK, self.name), ("x-user-id", "1"), *bearer, *self.headers]

    def is_right(self, status: int, body: bytes) -> bool:
        """Return whether the answer is as expected; the Basic Server echoes what it received."""
        try:
            answer = json.loads(body)
            if status != 200:
                return (status, answer["reason"]) == (self.status, self.detail)
            names = {"x-user-id", "x-service-id"}
            identity = "".join(value for name, value in answer["headers"] if name in names)
            return (status, identity, answer["body"]) == (self.status, self.detail, self.body)
        except (ValueError, LookupError, TypeError):  # not such a JSON object
            return False


@dataclass
class Tally:
    """The counts of a run; ``wrong`` has readable lines."""

    wrong: list[str] = field(default_factory=list)
    right: Counter[str] = field(default_factory=Counter)  # answers, by kind
    cancelled: Counter[str] = field(default_factory=Counter)  # cancelled requests, by kind
    lost: int = 0  # denied by Envoy itself (503) without an answer of the sidecar
    clients: int = 0  # connections to Envoy
    peers: int = 0  # connections of bad peers to the sidecar
    probes: int = 0  # answered


class Http1:
    """A connection to Envoy. Cancelling ``ask`` closes the connection."""

    concurrent = 1

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open = True
        self._reader = reader
        self._writer = writer

    async def ask(self, kind: Kind) -> tuple[int, bytes]:
        """Send a request; return the answer's status and body."""
        self.open = False  # until the answer is complete
        lines = [f"{kind.method} {kind.path} HTTP/1.1", "host: soak"]
        lines += [f"{name}: {value}" for name, value in kind.fields()]
        lines += [f"content-length: {len(kind.body)}", "", kind.body]
        self._writer.write("\r\n".join(lines).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("\r\ncontent-length: ")[2].partition("\r")[0]
        body = await self._reader.readexactly(int(length))
        self.open = "\r\nconnection: close\r\n" not in head
        return int(head.split()[1]), body


class Http2:
    """A connection to Envoy. Cancelling ``ask`` resets the stream."""

    concurrent = 8  # requests in flight

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open = True
        self._reader = reader
        self._writer = writer
        self._state = H2Connection()
        self._state.initiate_connection()
        self._arrived: dict[int, asyncio.Queue[events.Event]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, kind: Kind) -> tuple[int, bytes]:
        """Send a request; return the answer's status and body."""
        number = self._state.get_next_available_stream_id()
        pseudo = [(":method", kind.method), (":scheme", "http"), (":authority", "soak")]
        fields = [*pseudo, (":path", kind.path), *kind.fields()]
        self._state.send_headers(number, fields, end_stream=not kind.body)
        if kind.body:
            self._state.send_data(number, kind.body.encode(), end_stream=True)
        self._writer.write(self._state.data_to_send())
        arrived = self._arrived[number] = asyncio.Queue()
        status, body = 0, b""
        try:
            while not isinstance(event := await arrived.get(), events.StreamEnded):
                if isinstance(event, events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, events.DataReceived):
                    body += event.data
                else:
                    raise ConnectionResetError(f"{event!r}")
        except asyncio.CancelledError:
            with contextlib.suppress(StreamClosedError):  # answered meanwhile
                self._state.reset_stream(number, ErrorCodes.CANCEL)
                self._writer.write(self._state.data_to_send())
            raise
        finally:
            del self._arrived[number]
        return status, body

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await self._reader.read(65536):
                for event in self._state.receive_data(octets):
                    if isinstance(event, events.DataReceived):
                        used = event.flow_controlled_length
                        self._state.acknowledge_received_data(used, event.stream_id)
                    if (number := getattr(event, "stream_id", None)) in self._arrived:
                        self._arrived[number].put_nowait(event)
                self._writer.write(self._state.data_to_send())
        self.open = False
        for arrived in self._arrived.values():
            arrived.put_nowait(events.ConnectionTerminated())


async def client(port: int, over: type[Http1 | Http2], kinds: Sequence[Kind], tally: Tally) -> None:
    """Send random requests for ever, over one connection after the other."""
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        connection = over(reader, writer)
        tally.clients += 1
        try:
            for _ in range(random.randint(1, MOST_TURNS)):
                chosen = random.choices(kinds, k=over.concurrent)
                await asyncio.gather(*(_ask(connection, kind, tally) for kind in chosen))
                if not connection.open:
                    break
                await asyncio.sleep(random.uniform(0, 2 * CLIENT_PAUSE) * over.concurrent)
        finally:
            writer.transport.abort()


async def _ask(connection: Http1 | Http2, kind: Kind, tally: Tally) -> None:
    cancels = random.random() < LEAVERS
    try:
        async with asyncio.timeout(random.choice(CANCEL_AFTER) if cancels else GIVE_UP_SECONDS):
            status, body = await connection.ask(kind)
    except TimeoutError:
        if cancels:
            tally.cancelled[kind.name] += 1
        else:
            tally.wrong.append(f"{kind.name}: no answer")
    except (ConnectionError, EOFError) as error:
        tally.wrong.append(f"{kind.name}: {error!r}")
    else:
        if status == 503 and ENVOYS_OWN in body:
            tally.lost += 1
        elif kind.is_right(status, body):
            tally.right[kind.name] += 1
        else:
            tally.wrong.append(f"{kind.name}: {status} {body[:300]!r}")


class Relay:
    """Forwards bytes to a server, optionally with a delay, and cuts connections."""

    def __init__(self, target: int, delay: float = 0.0) -> None:
        self.cuts = 0
        self._target = target
        self._delay = delay
        self._cutting = False

    async def cut(self) -> None:
        """Repeatedly cut the connection that transfers data next."""
        while True:
            await asyncio.sleep(random.uniform(0, 2 * CUT_SECONDS))
            self._cutting = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection."""
        await asyncio.sleep(self._delay)
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        ways = self._pass_on(reader, far_writer), self._pass_on(far_reader, writer)
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        writer.close()
        far_writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await reader.read(65536):
                if self._cutting:
                    self._cutting = False
                    self.cuts += 1
                    writer.write(octets[: len(octets) // 2])  # probably within a frame
                    return
                writer.write(octets)
                await writer.drain()
