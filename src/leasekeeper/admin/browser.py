"""What a browser gets from the admin surface: the live page and its files.

Made for the surface's application. The files are those of `leasekeeper.pages`; all addresses in them are relative, so
that the page also works where the surface is mounted at a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from leasekeeper.pages import INDEX, page_file

if TYPE_CHECKING:
    from starlette.requests import Request


def page_routes() -> list[Route]:
    """The routes of the page."""
    return [
        Route("/", _file),
        Route("/pages/{name}", _file),
    ]


async def _file(request: Request) -> Response:
    """A file of the pages; 304 where the browser has it already."""
    compress = "gzip" in request.headers.get("accept-encoding", "")
    found = page_file(request.path_params.get("name", INDEX), compress=compress)
    if found is None:
        return Response(status_code=404)
    if request.headers.get("if-none-match") == found.headers["etag"]:
        return Response(status_code=304, headers=found.headers)
    return Response(found.body, media_type=found.content_type, headers=found.headers)
