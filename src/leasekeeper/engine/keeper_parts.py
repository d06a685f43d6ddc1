"""The parts of an engine that has a keeper: a heartbeat that gives signs of life, an extender that waits for claims.

Chosen by the kind of the queue (`engine.kinds`) at construction. The rest of a keeper is in `leasekeeper.keeper`.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from leasekeeper.core.delivery import Action, deadline_of
from leasekeeper.core.states import State
from leasekeeper.engine.extender import LAST_MOMENT, Extender
from leasekeeper.engine.heartbeat import Heartbeat
from leasekeeper.engine.policies import crash_back_offs
from leasekeeper.keeper.claims import LockClaims
from leasekeeper.keeper.layout import Settings
from leasekeeper.keeper.link import KeeperLink
from leasekeeper.keeper.process import KEEPER, supervisor
from leasekeeper.keeper.table import Table
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.blocking import in_thread
from leasekeeper.sqs.client import SqsClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.leases import Leases
    from leasekeeper.engine.context import QueueContext, SourceQueue
    from leasekeeper.keeper.entries import Kept
    from leasekeeper.options import Options

log = safe_logger("leasekeeper.run")

LEAST_BLOCKS = 10_000
"""Blocks of a table at least: `set_concurrency` may raise what is in flight. Memory is used only for those in use."""
SPARE = 100
"""Blocks beyond one for each message that may be in flight: newer receipts take further blocks."""


class KeptHeartbeat(Heartbeat):
    """A heartbeat that also tells the keeper that it lives."""

    def __init__(
        self,
        leases: Leases,
        *,
        clock: Callable[[], float],
        extend: Callable[[Sequence[Delivery]], None],
        failed: Callable[[str, BaseException], None],
        keeper: KeeperLink,
    ) -> None:
        super().__init__(leases, clock=clock, extend=extend, failed=failed)
        self._keeper = keeper

    async def run(self) -> None:
        """Beat, and give signs of life, until closed."""
        signs = asyncio.create_task(self._keeper.run(), name="leasekeeper signs of life")
        try:
            await super().run()
        finally:
            self._keeper.close()
            await asyncio.wait({signs})


class KeptExtender(Extender):
    """An extender that gives nothing back while the keeper is extending it."""

    def __init__(self, context: QueueContext, *, linger: float, keeper: KeeperLink) -> None:
        super().__init__(context, linger=linger)
        self._keeper = keeper
        self._waiting: set[asyncio.Task[None]] = set()

    async def _release(self, rows: list[Delivery]) -> None:
        releasing = {cast("Kept", row).slot: row for row in rows if row.state is State.RELEASING}
        if releasing:
            until = min(map(deadline_of, releasing.values())) - LAST_MOMENT
            claimed = await self._keeper.wait_for_claims(releasing, until)
            if claimed:
                self._release_beside([releasing[slot] for slot in claimed])
        await super()._release(rows)

    def _release_beside(self, rows: list[Delivery]) -> None:
        """The leases are about to end, and a call of the keeper is still out: it counts as an extension of ours (L5).

        So the release is sent now, and once more when that call is over.
        """
        for row in rows:
            row.extending += 1
        waiting = asyncio.create_task(self._release_again(rows), name="leasekeeper claims")
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _release_again(self, rows: list[Delivery]) -> None:
        await self._keeper.wait_for_claims([cast("Kept", row).slot for row in rows])
        for row in rows:
            row.extending -= 1
        self._context.act(Action.RELEASE, [row for row in rows if row.state is State.RELEASING and not row.extending])
        if self._closing:
            self.releases.close()


# The consumer's part of its keeper


async def open_link(client: SqsApi, options: Options, source: SourceQueue) -> KeeperLink | None:
    """Make the table of a consumer, and have it kept: by a supervisor, or by a process that is started for that.

    Returns:
        None if there is nothing to keep it by: no supervisor, and the option `keeper` is not set; a client or HTTP
        client of the user's, which no other process can use; or a system that refuses what a keeper needs, which is
        logged: the engine keeps the leases as long as it can.
    """
    if not isinstance(client, SqsClient) or not isinstance(options.http, str):
        return None
    if not options.keeper and supervisor() is None:
        return None
    endpoint = client.endpoint
    settings = Settings(
        endpoint=endpoint.url,
        region=endpoint.region,
        queue_url=source.url,
        queue=source.name,
        session_token=endpoint.session_token,
        proxy=endpoint.proxy,
        ca_bundle=endpoint.ca_bundle,
        back_offs=crash_back_offs(options),
    )
    try:
        table = Table.make(max(options.max_in_flight, LEAST_BLOCKS) + SPARE, settings, keep_for=options.keep_for)
    except (OSError, ValueError) as error:
        _runs_without(source, f"its table cannot be made: {error}")
        return None
    link = KeeperLink(
        table,
        LockClaims(table.descriptor),
        options,
        clock=time.monotonic,
        credentials=client.credentials,
        child=KEEPER,
    )
    try:
        await in_thread(partial(KEEPER.attach, table))
    except OSError as error:
        table.close()
        _runs_without(source, f"its process cannot be started: {error}")
        return None
    except BaseException:
        table.close()
        raise
    return link


def _runs_without(source: SourceQueue, why: str) -> None:
    log.error(
        "queue %s: the consumer runs without a keeper, because %s; if this process stands still or dies, its messages "
        "return after the visibility timeout",
        source.name,
        why,
    )


async def close_link(link: KeeperLink) -> None:
    """The consumer has ended, and with it its part of the keeper."""
    link.table.end()
    try:
        await in_thread(partial(KEEPER.detach, link.table))
    finally:
        link.table.close()
