"""FastAPI, Starlette and Litestar: consumers that live as long as the web app, on its event loop.

    web = FastAPI(lifespan=consuming(app))
    web = Litestar(lifespan=[consuming(app)])

Needs none of them: it is a function of an app that returns an async context manager, as all three take it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from leasekeeper.app import Leasekeeper
    from leasekeeper.consumer import Consumer

    Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def consuming(*apps: Leasekeeper | Consumer, lifespan: Lifespan | None = None) -> Lifespan:
    """A lifespan for a web app: it starts these, and drains them when the web app stops.

    The server must wait for the end of the lifespan for as long as the longest stop takes (`longest_stop`).

    Args:
        apps: apps and consumers to start, in this order; they stop in the opposite order.
        lifespan: one of your own. It is entered first and left last, and what it yields is yielded.
    """

    @asynccontextmanager
    async def opened(web: Any) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            state = None if lifespan is None else await stack.enter_async_context(lifespan(web))
            for app in apps:
                await stack.enter_async_context(app)
            yield state

    return opened
