"""TLS settings that HTTP/2 requires (RFC 9113 9.2), from PEM in memory."""

import contextlib
import os
import ssl
from collections.abc import Iterator
from typing import IO

from sidecar.transport.interface import ListenError, Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return a context for HTTP/2 only. Raises ListenError for an invalid certificate or key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # 9.2.2; TLS 1.3 has its own
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # 9.2, 9.2.1
    context.set_alpn_protocols(["h2"])
    try:
        with _file(tls.certificate) as certificate, _file(tls.key) as key:
            context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ListenError(f"the certificate and its key cannot be used: {_reason(error)}") from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(cadata=tls.client_ca.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise ListenError(f"the client CA cannot be used: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    raise ValueError("encrypted private keys are not supported")  # ssl would prompt on a terminal


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """Give bytes a file name, which ssl requires; on Linux the file is only in memory."""
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            file: IO[bytes] = stack.enter_context(os.fdopen(os.memfd_create("pem"), "r+b"))
        else:
            import tempfile  # 0.8 MiB that Linux does not need

            file = stack.enter_context(tempfile.TemporaryFile())
        file.write(content)
        file.flush()
        yield f"/dev/fd/{file.fileno()}"


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
