"""A consumer inside a web app: its handlers run on the web app's event loop, and it drains when the app stops.

FastAPI accepts the same lifespan.

cd examples
leasekeeper local --queue orders &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install starlette uvicorn
uvicorn web:app &
leasekeeper send orders '{"id": 1}'
curl http://127.0.0.1:8000/health
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
