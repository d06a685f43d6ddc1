"""A consumer inside a web app: its handlers run on the web app's event loop, and it drains when the app stops.

uvicorn web:app        # in this folder; needs `pip install starlette uvicorn`. FastAPI accepts the same lifespan.
"""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from leasekeeper import Consumer, Message

seen: list[Any] = []


async def remember(message: Message[dict[str, Any]]) -> None:
    seen.append(message.body)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with Consumer("orders", remember, concurrency=10) as consumer:
        app.state.consumer = consumer
        yield


async def health(request: Request) -> JSONResponse:
    consumer: Consumer = request.app.state.consumer
    return JSONResponse({"ready": consumer.ready, "seen": len(seen)}, status_code=200 if consumer.ready else 503)


async def statistics(request: Request) -> JSONResponse:
    consumer: Consumer = request.app.state.consumer
    now = consumer.statistics()
    return JSONResponse(dataclasses.asdict(now) if now else {})


app = Starlette(lifespan=lifespan, routes=[Route("/health", health), Route("/statistics", statistics)])
