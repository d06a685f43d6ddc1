"""The loop of a relay: it finds the queues that have rows, wakes the work on each, and counts what waits.

Owned by a relay. It promises that no queue waits for another, and that it goes on by itself when the database was away.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError, NotFound, Unusable
from leasekeeper.loggers import safe_logger
from leasekeeper.outbox.connections import Connections
from leasekeeper.outbox.queue_work import QueueWork
from leasekeeper.outbox.row_payloads import RowPayloads
from leasekeeper.outbox.statements import AGAIN, ASIDE, COMMENT, FRESH, LABEL, QUEUES, STATISTICS, VERSION
from leasekeeper.schedules import Exponential
from leasekeeper.texts import one_line

if TYPE_CHECKING:
    from leasekeeper.outbox.counts import Counts
    from leasekeeper.outbox.outbox import Outbox
    from leasekeeper.outbox.settings import RelaySettings
    from leasekeeper.payloads.api import ObjectStore

log = safe_logger("leasekeeper.outbox")

LOOK = 30.0
"""Seconds that a look may take: a server that is frozen, or behind a broken network, closes no connection."""
GAP = 0.02
"""Seconds between two looks at least: a busy table notifies for each transaction, and one look sees many."""
RECONNECT = Exponential(base=0.25, maximum=10.0)
"""Pauses between looks into a database that is away; up to half of each is taken off."""
COUNT = 100
"""The pause between two counts of the rows, as a multiple of the time that one takes."""
CONNECTIONS = 7
"""Connections for queues at once, one for each that is worked on. The looks have another one, and wait for no queue."""


class RelayLoop:
    """A relay on its loop.

    Args:
        outbox: the table.
        counts: where it counts.
        settings: of the relay.

    Attributes:
        closed: set when it was closed.
    """

    def __init__(self, outbox: Outbox, counts: Counts, settings: RelaySettings) -> None:
        self._outbox = outbox
        self._counts = counts
        self._settings = settings
        self._connections = Connections(outbox.dsn, CONNECTIONS)
        self._own = Connections(outbox.dsn, 1)
        self._store: ObjectStore | None = None
        self._payloads: RowPayloads | None = None
        self._queues: dict[str, QueueWork] = {}
        self._warned: set[str] = set()
        """The URLs of queues with several names."""
        self._wake = asyncio.Event()
        self.closed = asyncio.Event()
        self._away = 0
        """Looks in a row that failed."""
        self._count_again = 0.0

    async def open(self) -> None:
        """Check that the table is there and has our version, and the bucket, if there is one. Errors close it.

        Raises:
            ConfigurationError: the table or the bucket is not there, or the table is of another version.
            LeasekeeperError: the database cannot be reached.
        """
        try:
            await self._check()
            await self._open_store()
        except BaseException:
            await self._own.close()
            await self._close_store()
            raise
        self._counts.connected = True

    async def _open_store(self) -> None:
        """Connect to where large payloads go, if there is such a place."""
        payloads, settings = self._outbox.payloads, self._settings
        if payloads is None:
            return
        self._store = await payloads.connect(
            region=settings.region, profile=settings.profile, credentials=settings.credentials
        )
        await payloads.check(self._store)
        self._payloads = RowPayloads(self._outbox, self._connections, self._store)

    async def _close_store(self) -> None:
        if self._store is not None and self._store is not getattr(self._outbox.payloads, "client", None):
            with suppress(Exception):
                await self._store.close()

    async def check(self) -> None:
        """Check as `open` does, and close."""
        try:
            await self._check()
        finally:
            await self._own.close()

    async def _check(self) -> None:
        import psycopg

        try:
            async with self._own.taken() as connection:
                cursor = await connection.execute(COMMENT, {"table": self._outbox.table})
                comment, exists = await cursor.fetchone()
        except (psycopg.Error, TimeoutError) as error:
            raise Unusable(f"outbox {self._outbox.table}: the database cannot be used: {one_line(error)}") from error
        if not exists:
            raise NotFound(f"{self._outbox!r} does not exist: run `{self._outbox.creates}`")
        if comment != f"{LABEL} {VERSION}":
            found = "no comment" if comment is None else f"the comment {comment!r}"
            raise ConfigurationError(
                f"{self._outbox!r} has {found} and not {f'{LABEL} {VERSION}'!r}: it is of another "
                "version of Leasekeeper, or another table; `leasekeeper outbox create --print` shows what is needed"
            )

    def close(self) -> None:
        """End when what is on its way is settled."""
        self.closed.set()
        for queue in self._queues.values():
            queue.stop()
        self._wake.set()

    async def run(self) -> None:
        """Send until closed."""
        listening = asyncio.create_task(self._listen()) if self._outbox.notify else None
        try:
            while not self.closed.is_set():
                self._wake.clear()
                await self._look()
                await asyncio.sleep(GAP)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._pause())
            working = [queue.task for queue in self._queues.values() if queue.task is not None]
            if working:
                await asyncio.wait(working)
        finally:
            await self._end(listening)

    async def _end(self, listening: asyncio.Task[None] | None) -> None:
        tasks = [queue.task for queue in self._queues.values() if queue.task is not None]
        tasks += [listening] if listening is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for queue in self._queues.values():
            await queue.close()
        await self._close_store()
        await self._connections.close()
        await self._own.close()

    def _pause(self) -> float:
        if not self._away:
            return self._settings.poll
        return RECONNECT.ceiling(self._away) * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret

    async def _look(self) -> None:
        """Find the queues that have rows, and see to it that each is worked on."""
        found: set[str] = set()
        try:
            async with asyncio.timeout(LOOK), self._own.taken() as connection:
                for part in (FRESH, AGAIN):
                    found.update(await self._queues_with(connection, part))
                if asyncio.get_running_loop().time() >= self._count_again:
                    await self._count(connection, found)
        except Exception as error:
            self._away += 1
            self._counts.connected = False
            if self._away == 1:
                what = f"no answer in {LOOK:g} s" if isinstance(error, TimeoutError) else one_line(error)
                log.warning("outbox %s: the database is away: %s", self._outbox.table, what)
            return
        if self._away:
            log.info("outbox %s: the database is back", self._outbox.table)
        self._away, self._counts.connected = 0, True
        if self.closed.is_set():  # it was closed during the look, which must begin nothing any more
            return
        for name in found:
            if name not in self._queues:
                self._queues[name] = QueueWork(
                    name, self._outbox, self._connections, self._counts, self._settings, payloads=self._payloads
                )
            self._queues[name].work()
        self._warn_of_names()

    def _warn_of_names(self) -> None:
        """Warn once of a FIFO queue that rows name in several ways: each name has an order for itself."""
        names: dict[str, str] = {}
        for name, queue in self._queues.items():
            other = names.setdefault(queue.url, name) if queue.url else name
            if other != name and queue.url.endswith(".fifo") and queue.url not in self._warned:
                self._warned.add(queue.url)
                log.warning(
                    "outbox %s: rows name one queue as %s and as %s: order is kept among rows with the same name only; "
                    "name it in one way",
                    self._outbox.table,
                    other,
                    name,
                )

    async def _queues_with(self, connection: Any, part: str) -> list[str]:
        cursor = await connection.execute(self._outbox.statement(QUEUES).replace("{part}", part))
        return [name for (name,) in await cursor.fetchall()]

    async def _count(self, connection: Any, found: set[str]) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        names = sorted({*found, *await self._queues_with(connection, ASIDE)})
        cursor = await connection.execute(self._outbox.statement(STATISTICS), {"queues": names})
        seen = {name: rest for name, *rest in await cursor.fetchall()}
        for name in {*seen, *self._counts.queues}:
            counts = self._counts.of(name)
            counts.waiting, counts.scheduled, counts.failed, oldest = seen.get(name, (0, 0, 0, None))
            counts.oldest = max(0.0, oldest or 0.0)
        self._count_again = clock() + max(self._settings.poll, COUNT * (clock() - began))

    async def _listen(self) -> None:
        """Wake at each notification of the table. Without it, rows are found by the next look."""
        failures = 0
        while True:
            try:
                connection = await self._connections.connect()
                try:
                    await connection.execute(f"LISTEN {self._outbox.channel}")
                    self._wake.set()  # for what came before
                    failures = 0
                    async for _ in connection.notifies():
                        self._wake.set()
                finally:
                    await connection.close()
            except Exception as error:
                failures += 1
                log.debug("outbox %s: listening ended: %s", self._outbox.table, one_line(error))
            await asyncio.sleep(RECONNECT.ceiling(failures or 1))
