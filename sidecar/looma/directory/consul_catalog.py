"""Consul's catalog as a directory, by blocking queries: one for the names, one for each service.

The rules for ``X-Consul-Index`` are those of
https://developer.hashicorp.com/consul/api-docs/features/blocking, the answers those of
https://developer.hashicorp.com/consul/api-docs/health.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from sidecar.core.placement.directory import matches
from sidecar.looma.directory.client import RegistryClient, read_json
from sidecar.looma.directory.known import Listing
from sidecar.looma.directory.listing import PollError, instances_of
from sidecar.looma.directory.members import Admission
from sidecar.looma.token import NoTokenError
from sidecar.net.logs import once_a_minute

# Consul answers at the latest after this, and a sixteenth of it that it adds at random.
WAIT_SECONDS: Final = 30
ANSWER_SECONDS: Final = WAIT_SECONDS * 17 / 16 + 10.0

INTERVAL: Final = 1.0  # seconds between two answers: Envoy takes about as long to use a file
BYTES_PER_SECOND: Final = 4 * 1024 * 1024  # an agent answers with a whole service at each change

# An agent accepts 200 connections of a client (limits.http_max_conns_per_client).
MAX_SERVICES: Final = 100

_MAX_INDEX_DIGITS: Final = 19
_HEALTH: Final = {"critical": 2, "warning": 1, "passing": 0}
_NAMES: Final = ("healthy", "warning", "critical")
_MAINTENANCE: Final = ("_node_maintenance", "_service_maintenance:")
_LABEL: Final = "label_"  # before a label's name in a service's Meta

_Content = TypeVar("_Content")

_log = logging.getLogger(__name__)


class ConsulCatalog:
    """Reads the services that ``targets`` name; each call returns what is new."""

    def __init__(
        self,
        url: str,
        admission: Admission,
        client: RegistryClient,
        targets: Callable[[], Iterable[str]],
    ) -> None:
        self._base = url.rstrip("/")
        self._admission = admission
        self._client = client
        self._targets = targets
        self._catalog = _Query(f"{self._base}/v1/catalog/services", _names)
        self._services: dict[str, _Query[list[dict[str, Any]]]] = {}
        self._follows: tuple[tuple[str, ...], list[str]] = ((), [])
        self._changed = False
        self.interval = INTERVAL

    async def poll(self) -> Listing | None:
        """Return all instances at first, and whenever something changes. Raises PollError.

        None is the answer of an agent that had no change.
        """
        size = 0
        while True:
            await self._follow()
            queries = self._queries()
            pending = [query.asking(self._client) for query in queries]
            # Not longer than an interval, because the targets may change meanwhile.
            done, _ = await asyncio.wait(
                pending, timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED
            )
            problem: Exception | None = None
            for query, task in zip(queries, pending, strict=True):
                if task in done:
                    try:
                        self._changed |= query.take()
                    except (PollError, NoTokenError) as error:
                        problem = error
                    size += query.size
            await self._follow()
            known = all(each.answered for each in self._queries())
            # Where one service cannot be read, the others are; the next call has the error.
            if problem is not None and not (known and self._changed):
                for query in queries:
                    await query.close()
                try:
                    raise problem
                finally:
                    del problem  # it and this frame would name each other
            if known and (done or self._changed):
                break
        self.interval = max(INTERVAL, size / BYTES_PER_SECOND)
        if not self._changed:
            return None
        self._changed = False
        return await asyncio.to_thread(self._listing)

    async def close(self) -> None:
        """End all queries."""
        for query in self._queries():
            await query.close()
        await self._client.close()

    def _queries(self) -> list["_Query[Any]"]:
        return [self._catalog, *self._services.values()]

    async def _follow(self) -> None:
        """Query the services that the targets name now, and no others."""
        follows = tuple(self._targets()), self._catalog.content or []
        if follows == self._follows:
            return
        self._follows = follows
        wanted = self._wanted(*follows)
        for name in [name for name in self._services if name not in wanted]:
            await self._services.pop(name).close()
            self._changed = True
        for name in wanted:
            if name not in self._services:
                url = f"{self._base}/v1/health/service/{quote(name, safe='')}"
                self._services[name] = _Query(url, _entries)

    def _wanted(self, targets: tuple[str, ...], known: Iterable[str]) -> list[str]:
        names = [
            name
            for name in known
            if name not in self._admission.fixed and any(matches(each, name) for each in targets)
        ]
        # Who can register a name that a prefix covers must not push out others.
        names.sort(key=lambda name: (name not in targets, name not in self._services, name))
        if len(names) > MAX_SERVICES:
            text = "%d services of Consul fit the targets, and only %d are read: give their"
            text += " instances one name"
            _log.warning(text, len(names), MAX_SERVICES, extra=once_a_minute("services"))
        return names[:MAX_SERVICES]

    def _listing(self) -> Listing:
        entries = [each for query in self._services.values() for each in query.content or ()]
        # An id is unique at an agent only; elsewhere another service may have it.
        ids = Counter(each["service_id"] for each in entries)
        listed = [
            {**each, "service_id": f"{each['service_id']}:{each['node']}"}
            if ids[each["service_id"]] > 1
            else each
            for each in entries
        ]
        return instances_of({"services": listed}, self._admission)


class _Query(Generic[_Content]):
    """One blocking query: what ``read`` made of the last answer, and the open question."""

    def __init__(self, url: str, read: Callable[[Any], _Content]) -> None:
        self._url = url
        self._read = read
        self._index = 0
        self.content: _Content | None = None
        self.size = 0  # bytes of the last answer
        self._task: asyncio.Task[_Content] | None = None

    @property
    def answered(self) -> bool:
        """Say whether there was an answer."""
        return self.content is not None

    def asking(self, client: RegistryClient) -> asyncio.Task[_Content]:
        """Return the open question, which is a new one where the last answer was taken."""
        if self._task is None:
            self._task = asyncio.create_task(self._ask(client), name="consul-query")
        return self._task

    def take(self) -> bool:
        """Take the answer; return whether it is another one than before. Raises its error."""
        task, self._task = self._task, None
        content = None if task is None else task.result()
        changed = content != self.content
        self.content = content
        return changed

    async def close(self) -> None:
        """Stop; another question asks for everything."""
        task, self._task = self._task, None
        self._index = 0
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _ask(self, client: RegistryClient) -> _Content:
        # The agent answers immediately where the index is 0, else when there is something new.
        index, self._index = self._index, 0
        query = f"?index={index}&wait={WAIT_SECONDS}s" if index else ""
        async with client.send("GET", self._url + query, ANSWER_SECONDS) as answer:
            content = await asyncio.to_thread(self._read, await read_json(answer))
            if answer.header("x-consul-results-filtered-by-acls") == "true":
                text = "Consul leaves services out that the token in looma.token may not read"
                _log.warning(text, extra=once_a_minute("acl"))
            elif (
                client.anonymous
                and not content
                and answer.header("x-consul-default-acl-policy") == "deny"
            ):  # Consul says of no answer to an anonymous client that it is shortened
                text = "Consul shows nothing to a gateway without a token: set looma.token"
                _log.warning(text, extra=once_a_minute("acl"))
            self.size = answer.wire.received
            self._index = next_index(index, answer.header("x-consul-index"))
        return content


def next_index(former: int, header: str) -> int:
    """Return the index for the next query; 0 asks for everything, without waiting.

    An index that went backwards is one of other data: Consul was restored or replaced. One of 0 is
    an error of the server, and to ask with it again and again would be a flood.
    """
    if not header.isascii() or not header.isdecimal() or len(header) > _MAX_INDEX_DIGITS:
        return 0
    index = int(header)
    return 0 if index < former else max(index, 1)


def _names(content: Any) -> list[str]:
    """Return the names of all services."""
    if not isinstance(content, dict):
        raise PollError("the answer is not a JSON object")
    return sorted(content)


def _entries(content: Any) -> list[dict[str, Any]]:
    """Return a service's instances, without what changes with each report."""
    if not isinstance(content, list):
        raise PollError("the answer is not a list")
    return [_entry(each) for each in content if not _is_proxy(each)]


def _is_proxy(each: object) -> bool:
    """Say whether an instance is a proxy of Consul's mesh, whose name begins like its service's."""
    service = _object(_object(each).get("Service"))
    return bool(service.get("Kind"))


def _entry(each: object) -> dict[str, Any]:
    """Return what one of a service's instances is in Looma's membership view."""
    instance = _object(each)
    node, service = _object(instance.get("Node")), _object(instance.get("Service"))
    checks = instance.get("Checks")
    found = [_object(check) for check in checks] if isinstance(checks, list) else []
    states = [_HEALTH.get(str(check.get("Status")), 2) for check in found]
    meta = _object(service.get("Meta"))
    labels = {
        name.removeprefix(_LABEL): value for name, value in meta.items() if name.startswith(_LABEL)
    }
    return {
        "service_id": str(service.get("ID")),
        "service_name": service.get("Service"),
        "node": str(node.get("Node"))[:64],
        # A service without an address of its own is at its node's.
        "address": service.get("Address") or node.get("Address"),
        "port": service.get("Port"),
        "health_status": _NAMES[max(states)] if states else "unknown",
        "draining": any(str(check.get("CheckID")).startswith(_MAINTENANCE) for check in found),
        "labels": labels,
    }


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
