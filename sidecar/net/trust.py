"""TLS as a client: trusted CAs and the own certificate, read again when their files change."""

import ssl
from pathlib import Path
from typing import NamedTuple


class TlsFiles(NamedTuple):
    """PEM files: the trusted CAs, and this client's certificate with its key.

    Without ``ca_file`` the system's CAs are trusted. The last two are given together.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class TrustError(Exception):
    """Files are not usable; the message names their configuration keys, ``reason`` says why."""

    def __init__(self, keys: str, reason: str) -> None:
        super().__init__(f"{keys} cannot be used: {reason}")
        self.reason = reason


class Trust:
    """The TLS context of some files; reading them blocks, so call it in a thread."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context: ssl.SSLContext | None = None
        self._read_from: tuple[object, ...] = ()  # what _context was read from

    def context(self) -> ssl.SSLContext:
        """Return the context, made again after a file has changed. Raises TrustError."""
        read_from = tuple(map(_state, self._files._fields, self._files))
        if self._context is None or read_from != self._read_from:
            self._context = self._made()
            self._read_from = read_from
        return self._context

    def _made(self) -> ssl.SSLContext:
        ca_file, cert_file, key_file = self._files
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:  # ssl.SSLError too: a file without a certificate
            raise TrustError("ca_file", _reason(error)) from error
        if cert_file is not None:
            try:
                context.load_cert_chain(cert_file, key_file, _no_password)
            except (OSError, ValueError) as error:
                raise TrustError("cert_file and key_file", _reason(error)) from error
        return context


def _state(key: str, path: Path | None) -> tuple[int, ...] | None:
    """Return values that change when the file changes. Raises TrustError."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        raise TrustError(key, _reason(error)) from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # instead of a prompt on the terminal
