"""Uploads: payloads of a sender on their way to S3, before the messages that point to them are sent.

Owned by a sender with `payloads=`, used on its loop. It promises that no message is sent before its payload is stored,
and that messages of one group of a FIFO queue stay in order: the others of the group wait behind an upload.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import TYPE_CHECKING

from leasekeeper.payload import PayloadUnavailable
from leasekeeper.payloads.writing import OutgoingPointer
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.payloads.api import ObjectStore
    from leasekeeper.sending.dispatcher import Entry
    from leasekeeper.sending.settings import SendSettings
    from leasekeeper.sqs.settings import ClientSettings

PARALLEL = 8
"""Objects that are stored at the same time."""
RETRY = Exponential(base=0.2, maximum=5.0)
"""Pauses between tries."""


class Uploads:
    """What waits for payloads to be stored.

    Args:
        store: where they go.
        ours: whether to close the store at the end.
        fifo: whether the queue is a FIFO queue.
        timeout: seconds after which a payload is given up.
    """

    _add: Callable[[Sequence[Entry]], None]
    _failed: Callable[[Entry, Exception], None]

    def __init__(self, store: ObjectStore, *, ours: bool, fifo: bool, timeout: float) -> None:
        self._store = store
        self._ours = ours
        self._fifo = fifo
        self._timeout = timeout
        self._parallel = asyncio.Semaphore(PARALLEL)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[str, deque[Entry]] = {}
        """Of a FIFO queue: what waits in each group, in order."""
        self._waiting: set[Entry] = set()
        """Those whose payloads are not stored yet."""

    def begin(self, add: Callable[[Sequence[Entry]], None], failed: Callable[[Entry, Exception], None]) -> None:
        """From now on entries are taken: `add` gets those that may be sent, in order, `failed` those that cannot."""
        self._add, self._failed = add, failed

    def take(self, entries: Sequence[Entry]) -> None:
        """Take entries in order: those without a payload go on, unless others of their group wait."""
        passing: list[Entry] = []
        for entry in entries:
            large = isinstance(entry.outgoing, OutgoingPointer)
            if large:
                self._waiting.add(entry)
                task = asyncio.get_running_loop().create_task(self._upload(entry))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if self._fifo and (large or entry.group in self._lines):
                self._lines.setdefault(entry.group, deque()).append(entry)
            elif not large:
                passing.append(entry)
        if passing:
            self._add(passing)

    async def _upload(self, entry: Entry) -> None:
        try:
            await self._store_in_time(entry.outgoing)
        except Exception as error:
            self._waiting.discard(entry)
            if self._fifo:
                self._lines[entry.group].remove(entry)
            self._failed(entry, error)
        else:
            self._waiting.discard(entry)
            if not self._fifo:
                self._add([entry])
        if self._fifo:
            self._advance(entry.group)

    async def _store_in_time(self, outgoing: object) -> None:
        assert isinstance(outgoing, OutgoingPointer)
        until, failures = time.monotonic() + self._timeout, 0
        while True:
            try:
                async with self._parallel:
                    await outgoing.store(self._store)
            except PayloadUnavailable:
                failures += 1
                pause = RETRY.delay(failures, random.random())  # noqa: S311 - jitter, not a secret
                if time.monotonic() + pause >= until:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    def _advance(self, group: str) -> None:
        line = self._lines[group]
        ready: list[Entry] = []
        while line and line[0] not in self._waiting:
            ready.append(line.popleft())
        if not line:
            del self._lines[group]
        if ready:
            self._add(ready)

    async def finish(self, timeout: float) -> float:  # noqa: ASYNC109 - at its end the sender names what is left
        """Wait at most `timeout` seconds for the uploads under way, and give up the rest; returns the seconds left."""
        until = time.monotonic() + timeout
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in self._tasks:
            task.cancel()
        return max(0.0, until - time.monotonic())

    async def close(self) -> None:
        """Close the store."""
        if self._ours:
            await self._store.close()

    def __repr__(self) -> str:
        return f"<Uploads {len(self._tasks)} under way>"


async def open_uploads(settings: SendSettings, reach: ClientSettings, *, fifo: bool) -> Uploads:
    """The uploads of a sender. S3 is asked once whether the bucket exists.

    Raises:
        ConfigurationError: S3 cannot be reached with these settings.
        NotFound: the bucket does not exist.
    """
    payloads = settings.payloads
    assert payloads is not None
    store = await payloads.connect(region=reach.region, profile=reach.profile, credentials=reach.credentials)
    uploads = Uploads(store, ours=payloads.client is None, fifo=fifo, timeout=settings.timeout)
    try:
        await payloads.check(store)
    except BaseException:
        await uploads.close()
        raise
    return uploads
