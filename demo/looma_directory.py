"""What a gateway reads of Looma's stand-in: the membership view, and allocations."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


def member(node: Mapping[str, Any], *, ready: bool, draining: bool) -> dict[str, Any]:
    """Return a node as the membership view lists it: only what changes who may serve."""
    return {
        "service_id": node["service_id"],
        "service_name": node.get("service_name"),
        "address": node.get("address"),
        "port": node.get("port"),
        "health_status": node.get("health_status"),
        "ready": ready,
        "draining": draining,
        "labels": node.get("labels", {}),
    }


def tagged(request: web.Request, content: Any) -> web.Response:
    """Return JSON with an ETag over it, or 304 where the client has it."""
    body = json.dumps(content, sort_keys=True).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    return web.Response(body=body, content_type="application/json", headers={"ETag": etag})
