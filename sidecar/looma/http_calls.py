"""HTTP calls that are bounded in time and size and never raise."""

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sidecar.looma.answers import CALL_SECONDS, MAX_BODY_BYTES, Answer
from sidecar.looma.registry import Failed
from sidecar.net.http_client import HttpClient, HttpError, read_body
from sidecar.net.trust import TlsFiles, TrustError


class HttpCaller:
    """Calls over HTTP; ``files`` are for https."""

    def __init__(self, files: TlsFiles = TlsFiles()) -> None:  # noqa: B008 -- it never changes
        self._client = HttpClient(files)

    async def __call__(
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Failed:
        """Make the call within ``CALL_SECONDS``."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._call(method, url, body, headers or {})
        except TimeoutError:
            return Failed(f"no answer within {CALL_SECONDS:g} s")
        except TrustError as error:
            return Failed(f"looma: {error}")
        except HttpError as error:
            return Failed(str(error))

    async def _call(
        self, method: str, url: str, body: Any, headers: Mapping[str, str]
    ) -> Answer | Failed:
        content = None
        if body is not None:
            content = json.dumps(body, allow_nan=False).encode()
            headers = {"Content-Type": "application/json", **headers}
        async with self._client.send(method, url, headers=headers, content=content) as response:
            if 300 <= response.status < 400:
                return Failed(f"a redirect ({response.status}), which is not followed")
            received = await read_body(response, MAX_BODY_BYTES)
            retry_after = _retry_after(response.header("retry-after"))
            return Answer(response.status, received, retry_after)


def _retry_after(value: str) -> float | None:
    """Return the seconds of Retry-After (RFC 9110, 10.2.3), which has seconds or a date."""
    if not value:
        return None
    try:
        seconds = float(value) if value.strip().isdecimal() else _seconds_until(value)
    except (ValueError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    from email.utils import parsedate_to_datetime  # 1 MiB that few registries need

    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()
