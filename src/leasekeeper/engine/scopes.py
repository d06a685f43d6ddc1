"""Scopes: what is opened first closes last, and that is the whole order of a shutdown.

Used by the runner. An owner runs as long as its block; when the block is left, the owner is told to close (to flush
what it has), and the block waits for its end.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
