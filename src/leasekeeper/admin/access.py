"""What keeps strangers away from a surface: the host that is asked for, the origin of a page, the token, and sizes.

Used by the surface's application. It promises that nothing is changed without the token, and that a page of another
origin can neither read nor do anything, whatever its name resolves to.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from leasekeeper.admin.settings import SurfaceSettings

LARGEST_BODY = 64 * 1024
"""Bytes of a request's body."""


class Refused(Exception):
    """A request that is refused: the status and a sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}


class HostCheck:
    """Refuses requests for a host that is not ours; probes and scrapers may use any name."""

    def __init__(self, app: ASGIApp, settings: SurfaceSettings, free: Sequence[str]) -> None:
        self._app = app
        self._settings = settings
        self._free = frozenset(free)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        # Mounted in another web app, the path begins with where that is.
        if scope["type"] == "http" and scope["path"].removeprefix(scope.get("root_path", "")) not in self._free:
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if not self._settings.allows_host(host):
                sentence = f"{host!r} is no name of this server: add it (--admin-hosts, `hosts`), or use its address\n"
                await PlainTextResponse(sentence, 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_permission(request: Request, token: str | None) -> None:
    """Refuse what has no right to change anything.

    Raises:
        Refused: with 403 for a page of another origin, and without a token here; 401 for a wrong token.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("//")[2].lower() != request.headers.get("host", "").lower():
        raise Refused(403, f"a page of {origin} may not do this")
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Refused(403, "a page of another site may not do this")
    if token is None:
        raise Refused(403, "this surface is read-only: start it with --admin-token, or LEASEKEEPER_ADMIN_TOKEN")
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(), token.encode())
    if kind.lower() != "bearer" or not right:
        raise Refused(401, "the token is missing or wrong", {"www-authenticate": "Bearer"})


async def body_of(request: Request, kind: type[Any]) -> Any:
    """The body of a request, read no further than it may be long.

    Raises:
        Refused: with 415, 413 or 400.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "the body must be JSON: send Content-Type: application/json")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise Refused(413, f"the body has more than {LARGEST_BODY:,} bytes")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refused(400, f"the body cannot be used: {error}") from error
