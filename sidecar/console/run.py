"""Runs the console: listens on loopback or a unix socket until SIGTERM or Ctrl-C."""

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from aiohttp import web

from sidecar.app.process import shorten_pauses
from sidecar.console.application import application, parts
from sidecar.console.environments.store import StoreError
from sidecar.console.settings import Settings, load, unencrypted
from sidecar.documents.findings import ConfigError
from sidecar.net.addresses import is_loopback
from sidecar.ops.logs import configure_logging
from sidecar.ops.writer import LineWriter
from sidecar.transport.interface import ListenError
from sidecar.transport.sockets import listen

LOG_SECONDS: Final = 2.0  # for lines whose reader has stopped
SHUTDOWN_SECONDS: Final = 2.0  # for answers under way

_log = logging.getLogger(__name__)


def run(path: Path) -> int:
    """Run the console; return 1 for an invalid configuration, or what is in use already."""
    try:
        settings = load(path)
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)  # noqa: T201 -- the log is not configured yet
        return 1
    log = configure_logging(settings.log.level)
    audit = LineWriter(1)
    try:
        asyncio.run(_serve(settings, audit))
        _log.info("stopped")
    except ListenError as error:
        _log.error("cannot listen: %s", error)
        return 1
    except StoreError as error:
        _log.error("%s", error)
        return 1
    finally:
        audit.close(LOG_SECONDS)
        log.close(LOG_SECONDS)
    return 0


async def _serve(settings: Settings, audit: LineWriter) -> None:
    """Serve until a signal; a second one ends answers under way. Raises ListenError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        application(parts(settings, audit)),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    listening = await listen(settings.console.listen)
    try:
        for sock in listening.sockets:
            _require_local(sock)
            await web.SockSite(runner, sock).start()
        shorten_pauses()
        for warning in unencrypted(settings):
            _log.warning("%s", warning)
        _log.info("listening on %s, for browsers %s", listening.address, settings.console.origin)
        await stop.wait()
    finally:
        await runner.cleanup()
        listening.close()


def _require_local(sock: socket.socket) -> None:
    """Raise ListenError for a socket that other machines reach: a name may be any address."""
    if sock.family != socket.AF_UNIX and not is_loopback(str(sock.getsockname()[0])):
        raise ListenError("the address is not loopback: other machines could reach it")
