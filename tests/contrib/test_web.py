"""FastAPI, Starlette, Litestar and Flask themselves, around consumers of an SQS in this process.

Each is imported by its test, so that only the worker which runs it pays for that.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, Leasekeeper
from leasekeeper.contrib.asgi import consuming
from leasekeeper.local import Broker, LocalClient
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

seen: list[str] = []


@asynccontextmanager
async def own(_: Any) -> AsyncIterator[dict[str, str]]:
    seen.append("own opens")
    yield {"database": "open"}
    seen.append("own closes")


def fastapi(app: Leasekeeper) -> Any:
    from fastapi import FastAPI

    return FastAPI(lifespan=consuming(app, lifespan=own))


def starlette(app: Leasekeeper) -> Any:
    from starlette.applications import Starlette

    return Starlette(lifespan=consuming(app, lifespan=own))


def litestar(app: Leasekeeper) -> Any:
    from litestar import Litestar

    return Litestar(lifespan=[own, consuming(app)], logging_config=None)  # it would set up the root logger


async def serve(web: Any, work: Callable[[], Any]) -> dict[str, Any]:
    """Do what a server does: the lifespan protocol of ASGI, with some work in the middle."""
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    serving = asyncio.ensure_future(web(scope, asked.get, said.put))
    await asked.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    await work()
    await asked.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await serving
    return state


@pytest.mark.parametrize("make", [fastapi, starlette, litestar])
def test_a_web_app_runs_consumers_as_long_as_it_lives(make: Callable[[Leasekeeper], Any]) -> None:
    seen.clear()

    async def main() -> dict[str, Any]:
        broker = Broker()
        url = (await broker.call("CreateQueue", {"QueueName": "orders"}))["QueueUrl"]
        await broker.call("SendMessage", {"QueueUrl": url, "MessageBody": "tea"})
        app = Leasekeeper(client=LocalClient(broker), poll_grace=0)
        arrived = asyncio.Event()

        @app.consumer("orders")
        async def handle(body: str) -> None:
            seen.append(body)
            arrived.set()

        state = await serve(make(app), arrived.wait)
        assert broker.account.queues["orders"].contents() == []
        await broker.close()
        return state

    state = asyncio.run(main())
    assert seen == ["own opens", "tea", "own closes"]
    assert state in ({"database": "open"}, {})  # Litestar's lifespans yield nothing


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_has_the_context_of_the_flask_app(kind: str) -> None:
    from flask import Flask, current_app, g, has_app_context

    from leasekeeper.contrib.flask import FlaskContext

    web, story = Flask("shop"), []

    @web.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        story.append(f"teardown {type(error).__name__ if error else None}")

    def plain(body: str) -> None:
        g.order = body
        story.append(f"{current_app.name} {g.order}")
        if body == "bad":
            raise ValueError

    async def coroutine(body: str) -> None:
        await asyncio.sleep(0)
        plain(body)

    handler = plain if kind == "def" else coroutine
    consumer = Consumer("orders", handler, middleware=[FlaskContext(web)], region="eu-west-1")
    assert run_handler(consumer, "tea").acked
    assert run_handler(consumer, "bad").retried
    assert story == ["shop tea", "teardown None", "shop bad", "teardown ValueError"]
    assert not has_app_context()
