"""Scopes: who is opened first closes last, which is all there is to the order of a shutdown.

Used by the runner. An owner runs as long as its block; on leaving it is asked to close (flush what it has) and waited
for.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Owner(Protocol):
    """Something that works on its own until it is told to close."""

    async def run(self) -> None:
        """Work until closed and finished."""
        ...

    def close(self) -> None:
        """Take nothing new, finish what is there, then return from `run`."""
        ...


@asynccontextmanager
async def serve(owner: Owner) -> AsyncIterator[None]:
    """Run `owner` for as long as the block, then close it and wait for its end."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(owner.run())
        try:
            yield
        finally:
            owner.close()


def ends_us(error: BaseException) -> bool:
    """Whether it is the cancellation of this very task: what one awaits may raise one of its own."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event at most that long; whether it came."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
