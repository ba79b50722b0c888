"""The token or password for the feed's server, read anew for each connection: it is rotated."""

import asyncio
import os
import re
from typing import Final

from sidecar.zervi.local_file import read_regular_file
from sidecar.zervi.revocation.interface import FeedError, FeedSource

MAX_TOKEN_BYTES: Final = 8 * 1024  # a projected one of Kubernetes has 1 KiB

_TOKEN = re.compile(r"[!-~]+")


async def token_of(source: FeedSource) -> str | None:
    """Return the token or password, None where none is configured. Raises FeedError."""
    if source.token_env is not None:
        content = os.environb.get(source.token_env.encode(), b"")
    elif source.token_file is not None:
        try:
            content = await asyncio.to_thread(read_regular_file, source.token_file, MAX_TOKEN_BYTES)
        except OSError as error:
            cause = (error.strerror or type(error).__name__).lower()
            advice = "make it readable for this process"
            raise FeedError(f"the file in `token` cannot be read: {cause}", advice) from error
    else:
        return None
    token = content.decode("latin-1").strip()
    if len(content) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
        cause = f"`token` leads to no token of at most {MAX_TOKEN_BYTES // 1024} KiB"
        raise FeedError(cause, "it must be one line of visible ASCII characters")
    return token
