"""Deletes of objects with payloads that are done with: in batches, as far as possible, and never in anyone's way.

Owned by one lane, used on its loop. It promises that what could not be deleted is logged. A rule of the bucket that
deletes old objects is the net below it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.loggers import safe_logger
from leasekeeper.payload import PayloadUnavailable
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.payloads.api import ObjectStore

log = safe_logger("leasekeeper.payloads")
MOST = 1_000
"""Objects in one call (Amazon S3 API)."""
LINGER = 1.0
"""Seconds that an object waits for others to fill the call."""
PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Seconds before further tries."""
FLUSH = 5.0
"""Seconds that the deletes may take at a stop."""


class Deletes:
    """Objects to delete.

    Args:
        store: keeps the objects.
        queue: the queue's name, for the log.
    """

    def __init__(self, store: ObjectStore, queue: str) -> None:
        self._store = store
        self._queue = queue
        self._waiting: dict[str, list[tuple[str, int]]] = {}
        """Keys with the number of tries, for each bucket."""
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.deleted = 0
        self.given_up = 0

    def add(self, objects: Sequence[tuple[str, str]]) -> None:
        """Delete these soon: bucket and key."""
        for bucket, key in objects:
            self._waiting.setdefault(bucket, []).append((key, 0))
        if self._task is None and objects:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="leasekeeper deletes of payloads")

    async def _work(self) -> None:
        pause = LINGER
        while self._waiting:
            await self._pause(pause)
            pause = 0.0
            waiting, self._waiting = self._waiting, {}
            for bucket, entries in waiting.items():
                for start in range(0, len(entries), MOST):
                    pause = max(pause, await self._delete(bucket, entries[start : start + MOST]))
            pause = pause or LINGER
        self._task = None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _delete(self, bucket: str, entries: Sequence[tuple[str, int]]) -> float:
        """Delete these; the pause before those that failed are tried again."""
        try:
            failed = await self._store.delete(bucket, [key for key, _ in entries])
        except PayloadUnavailable as error:
            failed = dict.fromkeys([key for key, _ in entries], safe_str(error))
        except Exception as error:  # the store may be a user's
            failed = dict.fromkeys([key for key, _ in entries], f"{type(error).__name__}: {safe_str(error)}")
        self.deleted += len(entries) - len(failed)
        again = [(key, tries + 1) for key, tries in entries if key in failed and tries < len(PAUSES)]
        if self._closing.is_set():
            again = [(key, tries) for key, tries in again if tries <= 1]
        given_up = len(failed) - len(again)
        if given_up:
            self.given_up += given_up
            some = next(iter(failed))
            log.warning(
                "queue %s: %d object%s with payloads of finished messages could not be deleted from bucket %s, and "
                "stay until a rule of the bucket deletes them; s3://%s/%s: %s",
                self._queue,
                given_up,
                "" if given_up == 1 else "s",
                bucket,
                bucket,
                some,
                failed[some],
            )
        if again:
            self._waiting.setdefault(bucket, []).extend(again)
            return PAUSES[min(tries for _, tries in again) - 1]
        return 0.0

    async def close(self) -> None:
        """Delete what waits, at once."""
        self._closing.set()
        task = self._task
        if task is None:
            return
        done, _ = await asyncio.wait({task}, timeout=FLUSH)
        if not done:
            task.cancel()
            left = sum(map(len, self._waiting.values()))
            log.warning(
                "queue %s: deleting the objects with payloads of finished messages took longer than %g s at the stop; "
                "%d or more stay until a rule of the bucket deletes them",
                self._queue,
                FLUSH,
                left,
            )

    def __repr__(self) -> str:
        return f"<Deletes {sum(map(len, self._waiting.values()))} waiting, {self.deleted} done>"
