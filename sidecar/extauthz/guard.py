"""Wraps the Check service: whatever it does, the transport gets bytes, a denial in doubt."""

import asyncio
import logging
import time
from collections.abc import Awaitable

from sidecar.transport.interface import Unary

_log = logging.getLogger(__name__)

# Less than the service's own margin, so that its more precise answer is first.
MARGIN_SECONDS = 0.015
MAX_SECONDS = 10.0  # for a caller that names no deadline


class Guard:
    """A Check method that always answers, never with empty bytes: to Envoy those are an allow.

    An error, an answer that is empty or not bytes, or one that is not ready shortly before the
    deadline becomes ``denial``. It calls no function of the project except ``check``.
    """

    def __init__(self, check: Unary, denial: bytes) -> None:
        self._check = check
        self._denial = denial

    def answer(self, message: bytes, deadline: float | None) -> bytes | Awaitable[bytes]:
        """Answer one Check; ``deadline`` is seconds of ``time.monotonic()``."""
        try:
            answer = self._check(message, deadline)
            if type(answer) is bytes and answer:
                return answer
            task = asyncio.ensure_future(answer)  # type: ignore[arg-type]  # -- raises for no Awaitable
        except Exception as error:  # noqa: BLE001 -- an error may be an allow to Envoy
            return self._deny(type(error).__name__)
        return self._wait(task, deadline)

    async def _wait(self, task: "asyncio.Future[bytes]", deadline: float | None) -> bytes:
        left = MAX_SECONDS if deadline is None else deadline - MARGIN_SECONDS - time.monotonic()
        try:
            await asyncio.wait([task], timeout=max(left, 0))
        finally:
            task.cancel()
        if not task.done():
            return self._deny("no answer in time")
        if task.cancelled() or (error := task.exception()) is not None:
            return self._deny("cancelled" if task.cancelled() else type(error).__name__)
        answer = task.result()
        return answer if type(answer) is bytes and answer else self._deny("no answer")

    def _deny(self, why: str) -> bytes:
        _log.error("a Check had no answer and was denied: %s", why)
        return self._denial
