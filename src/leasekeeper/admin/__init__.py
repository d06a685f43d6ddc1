"""The admin surface: health, statistics and metrics of consumers over HTTP.

Owned by `leasekeeper run --admin`, or by the user's program or web app. It needs the extra `admin` (Starlette, uvicorn,
prometheus-client), which is imported only when a surface is made. It never shows a message's body.
"""

from __future__ import annotations

from leasekeeper.admin.application import admin_app
from leasekeeper.admin.server import AdminServer

__all__ = ["AdminServer", "admin_app"]
