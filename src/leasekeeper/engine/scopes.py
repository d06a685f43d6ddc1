"""Scopes: what is opened first closes last, and that is the whole order of a shutdown.

Used by the runner, and the waits by all parts of the engine. An owner runs as long as its block; when the block is
left, the owner is told to close (to flush what it has), and the block waits for its end.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable


class Owner(Protocol):
    """Something that works by itself until it is told to close."""

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


def is_own_cancellation(error: BaseException) -> bool:
    """Whether the error is the cancellation of the current task; something that it awaits may raise another one."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def first_of(*waits: Awaitable[object], timeout: float | None = None) -> None:  # noqa: ASYNC109 - bounds all
    """Wait until one of these has ended, or at most `timeout` seconds; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


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
