"""A server of the live page that shows made-up states: `python soak/pages/kit/stage.py`, then open what it prints.

`/SCENE/` has a page for each scene of `made_up`. It serves the same files with the same headers as the admin surface.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import made_up
import uvicorn
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from leasekeeper.admin.patches import patch_between
from leasekeeper.pages import INDEX, page_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

Opener = Callable[..., Page]
"""Opens an address in a new tab; the fixture `tab`."""
TICK = 1.0


def scene(name: str, query: Any, now: float) -> dict[str, Any]:
    """The state of a scene, with the detail of the consumer that is asked for."""
    made: dict[str, Any] = made_up.SCENES[name](now)
    for key, process in made["processes"].items():
        for queue, each in process["consumers"].items():
            if (query.get("process") or key) != key or query.get("consumer") != queue:
                each.pop("detail", None)
    return made


class Stage:
    """Serves the scenes on a thread.

    Attributes:
        actions: what the page asked for, newest last.
        now: the moment that scenes stand still at; None lets them move.
        version: of the server, as the states say it.
        streams: those that are open.
    """

    def __init__(self, *, port: int = 0, now: float | None = None) -> None:
        self.actions: list[dict[str, Any]] = []
        self.now = now
        self.version = "0.2.0"
        self.streams = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        routes = [
            Route("/{scene}/", self.page),
            Route("/{scene}/pages/{name}", self.page),
            Route("/{scene}/api/stream", self.stream),
            Route("/{scene}/api/state", self.state),
            Route("/{scene}/api/actions", self.act, methods=["POST"]),
            Route("/{scene}/api/dead-letters/{what}", self.dead_letters, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def url(self, name: str, query: str = "") -> str:
        """The address of a scene."""
        return f"http://127.0.0.1:{self.port}/{name}/{query}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    async def page(self, request: Request) -> Response:
        """A file of the pages."""
        found = page_file(request.path_params.get("name", INDEX))
        if found is None or request.path_params["scene"] not in made_up.SCENES:
            return Response(status_code=404)
        return Response(found.body, media_type=found.content_type, headers=found.headers)

    async def stream(self, request: Request) -> Response:
        """States once a second."""
        return StreamingResponse(self._events(request), media_type="text/event-stream")

    async def state(self, request: Request) -> Response:
        """The state now."""
        made = scene(request.path_params["scene"], request.query_params, self.now or time.time())
        return JSONResponse(made | {"version": self.version})

    async def _events(self, request: Request) -> AsyncIterator[str]:
        self.streams += 1
        try:
            async for event in self._states(request):
                yield event
        finally:
            self.streams -= 1

    async def _states(self, request: Request) -> AsyncIterator[str]:
        name, shown = request.path_params["scene"], None
        while not self._server.should_exit:
            made = scene(name, request.query_params, self.now or time.time()) | {"version": self.version}
            if shown is None:
                yield f"event: state\ndata: {json.dumps(made)}\n\n"
            else:
                yield f"event: patch\ndata: {json.dumps(patch_between(shown, made))}\n\n"
            shown = made
            await asyncio.sleep(TICK)
        yield "event: bye\ndata: {}\n\n"

    async def dead_letters(self, request: Request) -> Response:
        """Note what is asked; two dead letters, or the body of one."""
        asked = await request.json()
        self.actions.append({"what": request.path_params["what"], **asked})
        if "id" in asked:
            return JSONResponse({"done": True, "body": f"the body of {asked['id']}"})
        letters = [
            {"id": f"m-{n}", "sent": time.time() - 60 * n, "receives": n, "cause": f"<b>cause {n}</b>"} for n in (1, 2)
        ]
        return JSONResponse({"done": True, "said": "two were received", "messages": letters})

    async def act(self, request: Request) -> Response:
        """Note an action."""
        if request.headers.get("authorization") != "Bearer open-sesame":
            return JSONResponse(
                {"done": False, "said": "the token is not the one that this process was started with"}, 401
            )
        self.actions.append(await request.json())
        return JSONResponse({"done": True, "said": "it was noted"})


if __name__ == "__main__":
    with Stage(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as stage:
        print("\n".join(stage.url(name) for name in made_up.SCENES), flush=True)  # noqa: T201
        threading.Event().wait()
