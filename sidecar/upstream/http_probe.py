"""One probe over HTTP, in a module of its own: the rest of the room does without an HTTP client."""

from sidecar.net.http_client import HttpClient, HttpError
from sidecar.net.trust import TrustError


async def probe_http(client: HttpClient, url: str) -> str | None:
    """Send a GET to the upstream; return the problem, None where the status is 2xx."""
    try:
        async with client.send("GET", url) as response:
            return None if 200 <= response.status < 300 else f"HTTP status {response.status}"
    except (HttpError, TrustError) as error:
        return str(error)
