"""The header blocks of one connection, and the memory of those that it repeats."""

from sidecar.transport.h2.head import Head, check_trailers, read_head
from sidecar.transport.h2.hpack import Decoder, Field, HeadersTooLargeError, HpackError
from sidecar.transport.h2.limits import MAX_HEADER_BLOCK, MEMO_BLOCK, MEMO_ENTRIES
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError


class Blocks:
    """Reads blocks in the order of the connection.

    A client that calls the same method again and again repeats a block that refers to the table of
    the decoder and does not change it: until something does, its bytes say it all.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._heads: dict[bytes, Head] = {}  # of blocks read since the table last changed

    def head(self, block: bytes) -> Head:
        """Read the block that opens a request. Raises H2ConnectionError, H2StreamError."""
        head = self._heads.get(block)
        if head is None:
            changes = self._decoder.changes
            head = read_head(self._decode(block))
            if self._decoder.changes == changes and len(block) <= MEMO_BLOCK:
                if len(self._heads) >= MEMO_ENTRIES:
                    self._heads.clear()
                self._heads[block] = head
        return head

    def trailers(self, block: bytes) -> None:
        """Read the block that ends a request. Raises H2ConnectionError, H2StreamError."""
        check_trailers(self._decode(block))

    def skip(self, block: bytes) -> None:
        """Read a block only to keep the decoder in step (4.3). Raises H2ConnectionError."""
        self._decode(block)

    def _decode(self, block: bytes) -> list[Field]:
        changes = self._decoder.changes
        try:
            fields = self._decoder.decode(block, MAX_HEADER_BLOCK)
        except HeadersTooLargeError as error:
            raise H2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except HpackError as error:
            raise H2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        if self._decoder.changes != changes:
            self._heads.clear()
        return fields
