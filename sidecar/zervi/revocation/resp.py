"""Redis' protocol with bounds: redis-py would read whatever a server announces into memory."""

from typing import Any, Final

from redis.exceptions import InvalidResponse

# The parser without bounds; a new major version of redis-py may move it, and then tests fail.
from redis._parsers import _AsyncRESP2Parser  # isort: skip

MAX_MEMBER_BYTES: Final = 16 * 1024
"""Of one string. The longest entry that counts has 1,024 characters, each escaped in 6 bytes."""

MAX_DISCARDED: Final = 8 * 1024 * 1024
"""Of longer strings in one answer, which are read past; with more the answer is refused."""

MAX_LINES: Final = 20_000  # of one answer: strings, numbers, and lengths of lists

OVERSIZE: Final = b"\0oversize"
"""Stands for a string that was too long."""

_PIECE: Final = 64 * 1024


class BoundedParser(_AsyncRESP2Parser):
    """Raises InvalidResponse, which ends the connection, for an answer beyond the bounds."""

    _lines = 0
    _discarded = 0

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer."""
        self._lines = self._discarded = 0
        return await super().read_response(*args, **options)

    async def _readline(self) -> bytes:
        line: bytes = await super()._readline()
        self._lines += 1
        if line[:1] == b"*" and line != b"*-1":
            items = line[1:]
            if not items.isdigit() or len(items) > len(str(MAX_LINES)) or int(items) > MAX_LINES:
                raise InvalidResponse("a list of an impossible length")
        if self._lines > MAX_LINES or len(line) > MAX_MEMBER_BYTES:
            raise InvalidResponse("an answer with too many lines or too long ones")
        return line

    async def _read(self, length: int) -> bytes:
        if length < 0:  # the parser would go back and read the same again, for ever
            raise InvalidResponse("a string of a negative length")
        if length <= MAX_MEMBER_BYTES:
            return bytes(await super()._read(length))
        self._discarded += length
        stream = self._stream
        if self._discarded > MAX_DISCARDED or self._buffer or stream is None:
            raise InvalidResponse("an answer that is too large")
        left = length + 2
        while left:
            left -= len(await stream.readexactly(min(left, _PIECE)))
        return OVERSIZE
