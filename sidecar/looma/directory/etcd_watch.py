"""etcd's keys as a directory: a list at one revision, then a watch from the next one.

It uses the JSON gateway, as the reports do (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/).
A watch ends with its first events, and the next one starts after their revision: etcd keeps what
happens in between. So a call is bounded, and no connection is trusted to be alive.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, NamedTuple

from sidecar.looma.directory.client import RegistryClient, parsed, read_json
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import MAX_INSTANCES, PollError, instances_of
from sidecar.looma.directory.members import Admission
from sidecar.looma.etcd import KEY_PREFIX
from sidecar.net.http_client import Response

ANSWER_SECONDS: Final = 10.0  # one page
WATCH_SECONDS: Final = 20.0  # without events; then etcd is asked whether it has a leader
INTERVAL: Final = 1.0  # seconds between watches: Envoy takes about as long to use a changed file
PAGE: Final = 200  # keys of a page: with values of 64 KiB it is still below MAX_BODY_BYTES
MAX_LINE_BYTES: Final = 8 * 1024 * 1024  # etcd sends at most 2 MiB in a message, base64 more

_END: Final = KEY_PREFIX[:-1] + chr(ord(KEY_PREFIX[-1]) + 1)  # the key after all with the prefix
_NUMBER: Final = re.compile(r"[0-9]{1,19}")


class _Store(NamedTuple):
    """A moment of a cluster; ``revision`` grows with each write, unless the data were lost."""

    cluster: str
    revision: int


class _Event(NamedTuple):
    """What happened to a key: its value, None where it was deleted. ``left``: by its node."""

    name: str
    value: object
    left: bool = False


class _StartOverError(Exception):
    """The watch cannot go on from its revision."""


class EtcdWatch:
    """Reads the nodes that report to etcd; each call returns what is new."""

    def __init__(self, url: str, admission: Admission, client: RegistryClient) -> None:
        self._url = url.rstrip("/")
        self._admission = admission
        self._client = client
        self._read: _Store | None = None  # everything up to here; None: nothing

    @property
    def interval(self) -> float:
        """Return the seconds between calls."""
        return INTERVAL

    async def poll(self) -> Listing | None:
        """Return all nodes at first and after a failure, then wait for changes.

        None is the answer of an etcd that works and had no change. Raises PollError.
        """
        read, self._read = self._read, None
        listing = None
        if read is not None:
            try:
                listing, self._read = await self._changes(read)
            except _StartOverError:
                read = None
        if read is None:
            listing, self._read = await self._all()
        return listing

    async def close(self) -> None:
        """Stop what still runs."""
        await self._client.close()

    async def _all(self) -> tuple[Listing, _Store]:
        """List every key as of one revision, in pages."""
        found: list[_Event] = []
        store: _Store | None = None
        after = KEY_PREFIX.encode()
        while True:
            content = await self._range(after, PAGE, 0 if store is None else store.revision)
            pairs = _objects(content.get("kvs"))
            store = store or _store(content)
            found += await asyncio.to_thread(_events, [{"kv": pair} for pair in pairs])
            if len(found) > MAX_INSTANCES:
                raise PollError(f"etcd has more than {MAX_INSTANCES} services")
            if content.get("more") is not True:
                break
            if not pairs:
                raise PollError("etcd announced more keys and sent none")
            after = _bytes(pairs[-1].get("key")) + b"\0"
        entries = [_entry(each) for each in found]
        return await asyncio.to_thread(instances_of, {"services": entries}, self._admission), store

    async def _changes(self, read: _Store) -> tuple[Listing | None, _Store]:
        """Wait for events after a revision. Raises _StartOverError where etcd has lost them."""
        create = {
            "key": _base64(KEY_PREFIX.encode()),
            "range_end": _base64(_END.encode()),
            "start_revision": str(read.revision + 1),
            "prev_kv": True,
            "fragment": True,
        }
        found: list[dict[str, Any]] = []
        created = False
        seconds = WATCH_SECONDS + ANSWER_SECONDS
        body = {"create_request": create}
        async with self._client.send("POST", f"{self._url}/v3/watch", seconds, body=body) as answer:
            if answer.status != 200:
                raise PollError(f"HTTP status {answer.status}")
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    async for result in _results(answer):
                        _check(result, read)
                        created = True
                        found += _objects(result.get("events"))
                        if found and result.get("fragment") is not True:
                            break
                    else:
                        raise PollError("etcd ended the watch")
            except TimeoutError:
                found = []  # a part of an answer, if anything
        if not created:
            raise PollError("the watch began with no message: a proxy may hold it back")
        if not found:
            # A member without a leader keeps a watch open and sends nothing; a read fails there.
            await self._range(KEY_PREFIX.encode(), 1, 0)
            return None, read
        return await asyncio.to_thread(self._listing, found, read)

    def _listing(self, found: list[dict[str, Any]], read: _Store) -> tuple[Listing, _Store]:
        last = {each.name: each for each in _events(found)}
        entries = [_entry(each) for each in last.values() if each.value is not None]
        listing = instances_of({"services": entries, "complete": False}, self._admission)
        gone = {name for name, each in last.items() if each.value is None}
        left = {name for name, each in last.items() if each.left}
        listing = listing._replace(removed=listing.removed | gone, left=frozenset(left))
        revision = max(_number(_object(each.get("kv")).get("mod_revision")) for each in found)
        return listing, read._replace(revision=max(read.revision, revision))

    async def _range(self, first: bytes, limit: int, revision: int) -> dict[str, Any]:
        body = {
            "key": _base64(first),
            "range_end": _base64(_END.encode()),
            "limit": str(limit),
            "revision": str(revision),
        }
        url = f"{self._url}/v3/kv/range"
        async with self._client.send("POST", url, ANSWER_SECONDS, body=body) as answer:
            content = await read_json(answer)
        if not isinstance(content, dict):
            raise PollError("the answer is not a JSON object")
        return content


async def _results(answer: Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the messages of a stream: one JSON object a line. Raises PollError."""
    rest = b""
    async for data in answer.wire.body():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            content = await asyncio.to_thread(parsed, line)
            result = content.get("result") if isinstance(content, dict) else None
            if not isinstance(result, dict):
                raise PollError("the watch failed")
            yield result
        if len(rest) > MAX_LINE_BYTES:
            raise PollError(f"a message of the watch is longer than {MAX_LINE_BYTES} bytes")


def _check(result: dict[str, Any], read: _Store) -> None:
    """Raise where a watch cannot go on: compacted, or another store than that which was read."""
    if result.get("canceled") is True:
        if "compact_revision" in result:
            raise _StartOverError
        raise PollError("etcd refused the watch")
    now = _store(result)
    if now.cluster != read.cluster or now.revision < read.revision:
        raise _StartOverError


def _store(content: dict[str, Any]) -> _Store:
    header = _object(content.get("header"))
    cluster = header.get("cluster_id")
    return _Store(cluster if isinstance(cluster, str) else "", _number(header.get("revision")))


def _events(found: Iterable[dict[str, Any]]) -> list[_Event]:
    events = []
    for each in found:
        name = _bytes(_object(each.get("kv")).get("key")).decode("ascii", "replace")
        name = name.removeprefix(KEY_PREFIX)
        if each.get("type") == "DELETE":
            before = _value(_object(each.get("prev_kv")))
            left = isinstance(before, dict) and before.get("draining") is True
            events.append(_Event(name, None, left))
        else:
            events.append(_Event(name, _value(_object(each.get("kv"))) or {}))
    return events


def _entry(event: _Event) -> object:
    """Return the entry of a key. Its name is the id: etcd's permissions are by key."""
    if isinstance(event.value, dict):
        return {**event.value, "service_id": event.name}
    return {"service_id": event.name}


def _value(pair: dict[str, Any]) -> object:
    try:
        return json.loads(_bytes(pair.get("value")))
    except (ValueError, RecursionError):
        return None


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    """Return an integer of 64 bits, which the gateway writes as text; 0 where there is none."""
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else 0


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
