"""The stand-in's feed of revoked tokens: ``docs/zervi-revocations.openapi.yaml``."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

REVOCATIONS_PATH = "/api/v1/auth/revocations"
PAGE = 1000  # entries of one answer


class RevocationFeed:
    """The entries in their order; a cursor is how many of them a sidecar has read.

    ``not_before`` has each user's latest time, in seconds since the epoch.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.not_before: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get(REVOCATIONS_PATH, self._page)]

    def revoke_user(self, user_id: int | str) -> None:
        """Revoke the tokens that a user has now.

        ``iat`` has whole seconds: the user's tokens of this second are older than the next one.
        """
        user, moment = str(user_id), int(time.time()) + 1
        self.not_before[user] = moment
        self.entries.append({"user_id": user, "not_before": moment})

    def revoke_token(self, token: str) -> None:
        """Revoke one token."""
        self.entries.append({"token_sha256": hashlib.sha256(token.encode()).hexdigest()})

    def revokes(self, claims: Mapping[str, Any]) -> bool:
        """Say whether the token with these claims was issued before its user's were revoked."""
        moment = self.not_before.get(str(claims.get("user_id", claims.get("sub"))), 0)
        return bool(claims.get("iat", 0) < moment)

    async def _page(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdecimal()) or int(after[:9]) > len(self.entries):
            return web.json_response({"error": "the cursor is not known"}, status=410)
        page = self.entries[int(after) : int(after) + PAGE]
        body = json.dumps({"entries": page, "cursor": str(int(after) + len(page))}).encode()
        tag = hashlib.sha256(body).hexdigest()[:32]
        if any(match.value == tag for match in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": f'"{tag}"'})
        headers = {"ETag": f'"{tag}"'}
        return web.Response(body=body, content_type="application/json", headers=headers)
