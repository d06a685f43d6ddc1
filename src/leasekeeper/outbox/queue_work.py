"""Work on the rows of one queue, a transaction at a time, until none is left that can be sent now.

Owned by a relay, one for each queue that has had rows. It promises that rows are deleted in the transaction that holds
them, after SQS has confirmed them: who dies in between leaves them to the next relay.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError, QueueUnusable, SqsError
from leasekeeper.loggers import safe_logger
from leasekeeper.outbox.row_delivery import Delivered, RowDelivery
from leasekeeper.outbox.rows import Row
from leasekeeper.outbox.statements import (
    DELETE,
    LOCK_GROUPS,
    PUT_BACK,
    SESSION,
    SET_ASIDE,
    TAKE_AGAIN,
    TAKE_FRESH,
    TAKE_GROUPS,
)
from leasekeeper.schedules import Exponential
from leasekeeper.sending.opening import open_target
from leasekeeper.sqs.address import address_of
from leasekeeper.sqs.client import SqsClient
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.events import Event
    from leasekeeper.outbox.connections import Connections
    from leasekeeper.outbox.counts import Counts
    from leasekeeper.outbox.outbox import Outbox
    from leasekeeper.outbox.row_payloads import RowPayloads
    from leasekeeper.outbox.settings import RelaySettings
    from leasekeeper.sending.outgoing import TargetQueue

log = safe_logger("leasekeeper.outbox")

ROWS = 200
"""Rows of a standard queue that a transaction takes."""
GROUPS, EACH = 100, 10
"""Message groups of a FIFO queue that a transaction takes, and rows of each."""
PASS = 60
"""Seconds that a transaction may take; then it is rolled back, and its rows are sent again."""
SENDING = 20
"""Seconds of a transaction in which calls begin: what a slow SQS has confirmed must be committed before `PASS`."""
RETRY = Exponential(base=0.2, maximum=60.0)
"""Pauses of rows that could not be sent, and of queues that cannot be used; up to half of each is taken off."""
LONGEST_ERROR = 500
"""Characters of an error that a row keeps."""


class QueueWork:
    """The work on the rows of one queue.

    Args:
        name: the queue, as the writers name it.
        outbox: the table.
        connections: to its database.
        counts: where it counts.
        settings: of the relay.
        payloads: stores payloads that are too large for messages; None: such rows are set aside.
    """

    def __init__(
        self,
        name: str,
        outbox: Outbox,
        connections: Connections,
        counts: Counts,
        settings: RelaySettings,
        *,
        payloads: RowPayloads | None = None,
    ) -> None:
        self._name = name
        self._outbox = outbox
        self._connections = connections
        self._counts = counts
        self._settings = settings
        self._payloads = payloads
        self._fifo = name.endswith(".fifo")
        self._client: SqsApi | None = None
        self._delivery: RowDelivery | None = None
        self._after = ""
        """The last message group that was looked at; empty: the round begins."""
        self._failures = 0
        """Transactions in a row after which the queue had to pause."""
        self._resume = 0.0
        self._error = self._payload_error = ""
        self._asked = self._closing = False
        self.url = ""
        """Where its rows go, once that is known."""
        self.task: asyncio.Task[None] | None = None

    def work(self) -> None:
        """Look for rows, now or, if it works already, once more."""
        self._asked = True
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._work(), name=f"leasekeeper-outbox-{self._name}")

    def stop(self) -> None:
        """Begin no further transaction."""
        self._closing = True

    async def close(self) -> None:
        """Close its connections to SQS."""
        if self._client is not None and self._client is not self._settings.client:
            with suppress(Exception):
                await self._client.close()

    async def _work(self) -> None:
        while self._asked:
            self._asked = False
            taken = 0
            while not self._closing and asyncio.get_running_loop().time() >= self._resume:
                try:
                    taken += await self._pass()
                except Exception as error:
                    self._pause(f"the rows stay: {type(error).__name__}: {safe_str(error, LONGEST_ERROR)}")
                    return
                if not self._after:  # a round over all groups ends
                    if not taken:
                        break
                    taken = 0

    async def _pass(self) -> int:
        """One transaction; the rows that it took."""
        async with asyncio.timeout(PASS), self._connections.taken() as connection, connection.transaction():
            await connection.execute(SESSION.format(seconds=2 * PASS))
            rows = await (self._take_of_groups(connection) if self._fifo else self._take(connection))
            delivered = await self._deliver(rows) if rows else Delivered()
            await self._settle(connection, delivered)
        self._note(delivered)
        if delivered.large and self._delivery is not None:
            await self._store(delivered.large, self._delivery.target)
        return len(rows)

    async def _store(self, rows: Sequence[Row], target: TargetQueue) -> None:
        """Store payloads; their rows are small then, and sent by the next transaction."""
        assert self._payloads is not None
        stored = await self._payloads.store(rows, target)
        if stored.again or stored.refused:
            async with asyncio.timeout(PASS), self._connections.taken() as connection, connection.transaction():
                await self._settle(connection, stored)
        self._note(stored)
        error = stored.again[0][1] if stored.again else ""
        if error and error != self._payload_error:
            log.error("outbox %s: queue %s: %s; it is tried again later", self._outbox.table, self._name, error)
        self._payload_error = error

    async def _take(self, connection: Any) -> list[Row]:
        rows: list[Row] = []
        for statement in (TAKE_AGAIN, TAKE_FRESH):
            if len(rows) < ROWS:
                values = {"queue": self._name, "most": ROWS - len(rows)}
                cursor = await connection.execute(self._outbox.statement(statement), values)
                rows += map(Row._make, await cursor.fetchall())
        return rows

    async def _take_of_groups(self, connection: Any) -> list[Row]:
        """The first rows of the groups that no other relay works on, as far as they are due."""
        values = {"queue": self._name, "after": self._after, "most": GROUPS}
        cursor = await connection.execute(self._outbox.statement(LOCK_GROUPS), values)
        found = await cursor.fetchall()
        self._after = found[-1][0] if len(found) == GROUPS else ""
        groups = [group for group, locked in found if locked]
        values = {"queue": self._name, "groups": groups, "each": EACH}
        cursor = await connection.execute(self._outbox.statement(TAKE_GROUPS), values)
        rows: list[Row] = []
        waiting: set[str] = set()
        for *columns, ready in await cursor.fetchall():
            row = Row._make(columns)
            if not ready:
                waiting.add(row.group or "")
            if row.group not in waiting:
                rows.append(row)
        return rows

    async def _deliver(self, rows: Sequence[Row]) -> Delivered:
        try:
            delivery = self._delivery or await self._open()
        except (QueueUnusable, SqsError, ConfigurationError) as error:
            delivered = Delivered()
            delivered.stopped = str(error)
            delivered.again = [(row, str(error)) for row in rows]
            return delivered
        clock = asyncio.get_running_loop().time
        until = clock() + SENDING
        return await delivery.deliver(rows, lambda: not self._closing and clock() < until)

    async def _open(self) -> RowDelivery:
        settings = self._settings
        address = address_of(self._name, settings.region)
        if self._client is None:
            self._client = settings.client or await SqsClient.connect(settings.connection(address))
        payloads = None if self._payloads is None else self._outbox.payloads
        url, target = await open_target(self._client, address, payloads)
        self.url = url
        self._delivery = RowDelivery(
            self._client, url, target, parallel=settings.parallel, strict_order=settings.strict_order, emit=_tell
        )
        return self._delivery

    async def _settle(self, connection: Any, delivered: Delivered) -> None:
        statement = self._outbox.statement
        if delivered.confirmed:
            await connection.execute(statement(DELETE), {"ids": [row.id for row in delivered.confirmed]})
        for error, rows in _by_error(delivered.refused).items():
            await connection.execute(statement(SET_ASIDE), {"ids": [row.id for row in rows], "error": error})
        for error, rows in _by_error(delivered.again).items():
            pause = _pause(max(row.attempts for row in rows) + 1, delivered.retry_after)
            values = {"ids": [row.id for row in rows], "error": error, "pause": pause}
            await connection.execute(statement(PUT_BACK), values)

    def _note(self, delivered: Delivered) -> None:
        counts = self._counts.of(self._name)
        counts.sent += len(delivered.confirmed)
        counts.retried += len(delivered.again)
        counts.refused += len(delivered.refused)
        self._counts.calls += delivered.calls
        for row, error in delivered.refused:
            log.error("outbox %s: row %d for %s is set aside: %s", self._outbox.table, row.id, self._name, error)
        if delivered.stopped:
            self._delivery = None  # it may have another URL, or be another queue, when it is back
            self._pause(delivered.stopped, delivered.retry_after)
        elif delivered.confirmed:
            if self._error:
                log.info("outbox %s: queue %s takes messages again", self._outbox.table, self._name)
            self._failures, self._error = 0, ""

    def _pause(self, error: str, at_least: float = 0.0) -> None:
        self._failures += 1
        self._resume = asyncio.get_running_loop().time() + _pause(self._failures, at_least)
        if error != self._error:
            self._error = error
            named = error if error.startswith(f"queue {self._name} ") else f"queue {self._name}: {error}"
            log.error("outbox %s: %s; it is tried again later", self._outbox.table, named)


def _pause(failures: int, at_least: float) -> float:
    return max(RETRY.ceiling(failures) * random.uniform(0.5, 1), at_least)  # noqa: S311 - jitter, not a secret


def _by_error(pairs: Sequence[tuple[Row, str]]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row, error in pairs:
        found[error[:LONGEST_ERROR].replace("\0", "")].append(row)
    return found


def _tell(event: Event) -> None:
    """A bug of a client or of ours: a delivery tells nothing else."""
    log.error("%s", getattr(event, "what", event), exc_info=getattr(event, "error", None))
