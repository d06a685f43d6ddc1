"""The link of one consumer to its keeper: its table, its signs of life, and the wait for calls of the keeper.

Made before the consumer's runner, which has its ledger and its handler write into the table. It promises signs of life
as long as the engine's loop runs, and that after `wait_for_claims` no call of the keeper is out for these messages.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

from leasekeeper.keeper.entries import Entries
from leasekeeper.keeper.layout import NOWHERE, Credentials
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from leasekeeper import api
    from leasekeeper.keeper.claims import Claims
    from leasekeeper.keeper.table import Table
    from leasekeeper.options import Options

log = safe_logger("leasekeeper.run")

LOOK = 0.01
"""Seconds between two tries to take a claim."""
PATIENCE = 6.0
"""Seconds after which a keeper that does not give back a claim is killed: its calls take five."""
BEATS = 8
"""Signs of life in a visibility timeout, and at least one a second: the keeper has to notice in time that one is
missing."""


class KeeperChild(Protocol):
    """The keeper's process."""

    @property
    def dead(self) -> bool:
        """Whether it has died, and may be started again."""
        ...

    async def restart(self) -> None:
        """Start another."""
        ...

    async def replace(self) -> None:
        """Kill one that does not answer."""
        ...


class KeeperLink:
    """One consumer's table, and its signs of life.

    Args:
        table: where the consumer's messages are written.
        claims: on its slots.
        options: those of the consumer.
        clock: seconds, monotonic.
        credentials: what calls are signed with now; None: nothing that works.
        child: the keeper's process; None: it needs no care.
    """

    def __init__(
        self,
        table: Table,
        claims: Claims,
        options: Options,
        *,
        clock: Callable[[], float],
        credentials: Callable[[], api.Credentials | None] = lambda: None,
        child: KeeperChild | None = None,
    ) -> None:
        self.table = table
        self.entries = Entries(table)
        self.interval = min(1.0, options.visibility_timeout / BEATS)
        self._claims = claims
        self._clock = clock
        self._credentials = credentials
        self._written: api.Credentials | None = None
        self._child = child
        self._caring: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._write_credentials()

    async def run(self) -> None:
        """Give signs of life until closed, and look after credentials and the keeper's process."""
        while not self._closed.is_set():
            now = self._clock()
            self.table.alive(now, now + self.interval)
            self._write_credentials()
            child = self._child
            if child is not None and self._caring is None and child.dead:
                self._caring = asyncio.create_task(child.restart(), name="leasekeeper keeper")
                self._caring.add_done_callback(self._cared)
            try:
                async with asyncio.timeout(self.interval):
                    await self._closed.wait()
            except TimeoutError:
                pass

    def close(self) -> None:
        """Give no more signs of life."""
        self._closed.set()

    def _write_credentials(self) -> None:
        held = self._credentials()
        if held is not None and held is not self._written:
            self._written = held
            try:
                self.table.write_credentials(Credentials(held.access_key, held.secret_key, held.token))
            except ValueError as error:  # the signs of life go on
                log.error("the keeper cannot make calls: %s", error)  # noqa: TRY400 - it is a sentence

    def _cared(self, task: asyncio.Task[None]) -> None:
        self._caring = None
        if not task.cancelled():
            task.exception()

    async def wait_for_claims(self, slots: Iterable[int], until: float = math.inf) -> list[int]:
        """Wait until no call of the keeper is out for what is in these slots; RELEASING is written for them.

        The claim is not kept for the call that follows: starved in the middle of it, we would lock the keeper out just
        when it is needed. It is enough that the keeper reads RELEASING after it takes its claim.

        Args:
            slots: of the messages; `NOWHERE` needs no waiting.
            until: how long it waits at most, on the engine's clock. After six seconds it kills the keeper, and does
                not wait any more.

        Returns:
            The slots that the keeper still has a claim on.
        """
        left = [slot for slot in slots if slot != NOWHERE]
        began = self._clock()
        while left := [slot for slot in left if not self._passed(slot)]:
            now = self._clock()
            if now >= began + PATIENCE:
                if self._child is not None:
                    await self._child.replace()
                return []
            if now >= until:
                break
            await asyncio.sleep(LOOK)
        return left

    def _passed(self, slot: int) -> bool:
        if not self._claims.take(slot):
            return False
        self._claims.give_back(slot)
        return True

    def __repr__(self) -> str:
        return f"<KeeperLink {self.entries!r}>"
