"""The admin surface: health, statistics and metrics of consumers over HTTP.

Owned by `leasekeeper run --admin`, or by the user's program or web app. It needs the extra `admin` (Starlette, uvicorn,
prometheus-client), which is imported only when a surface is made. It never shows a message's body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasekeeper.admin.application import admin_app
    from leasekeeper.admin.server import AdminServer

__all__ = ["AdminServer", "admin_app"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # When it is used: `leasekeeper health` needs the address, and not the server.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from leasekeeper.admin import application, server

        return getattr(server if name == "AdminServer" else application, name)
