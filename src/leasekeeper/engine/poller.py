"""The poller: one long-poll loop, which asks for no more than there is room for.

Owned by the runner, which starts as many as the throttler wants. Nothing a receive, a decode or a dispatch raises ends
it (L15); only the runner's stop does, or the throttler, when fewer are wanted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from leasekeeper.api import RECEIVE_GRACE
from leasekeeper.core.backoff import Backoff, ErrorPause
from leasekeeper.engine.scopes import ends_us, wait_for
from leasekeeper.errors import SqsError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.harvester import Harvester
    from leasekeeper.engine.heartbeat import Heartbeat
    from leasekeeper.engine.worker import Worker
    from leasekeeper.message import Received

SLOW_VERDICTS = frozenset((Verdict.MISSING, Verdict.DENIED, Verdict.CREDENTIALS, Verdict.OVER_LIMIT, Verdict.REFUSED))
"""Errors that will not pass soon: at least `SLOW` seconds between tries (L18)."""
SLOW = 10.0
EMPTY = Backoff(base=0.2, maximum=1.6)
"""Pauses after empty answers that came early: AWS advises 200 ms, then 400 (SQS guide, working with messages)."""
SHORT = 1.0
"""Seconds: an empty answer in less has hardly waited, whatever was asked for."""


class Poller:
    """Receives for one queue until it is not wanted any more."""

    def __init__(
        self,
        index: int,
        context: QueueContext,
        throttler: Throttler,
        *,
        worker: Worker,
        harvester: Harvester,
        heartbeat: Heartbeat,
        health: Health,
        scale: Callable[[], None],
    ) -> None:
        self.index = index
        self._context = context
        self._throttler = throttler
        self._worker = worker
        self._harvester = harvester
        self._heartbeat = heartbeat
        self._health = health
        self._scale = scale
        self._errors = ErrorPause()
        self.receiving = False
        self._early = 0
        """Empty answers in a row that came early: short polls, or a server that does not wait."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until stopped, or one too many."""
        while not stopping.is_set() and self.index < self._throttler.pollers:
            try:
                pause = await self._poll(stopping)
            except (Exception, asyncio.CancelledError) as error:
                if ends_us(error):
                    raise
                pause = self._failed(error)
            if pause > 0:
                await wait_for(stopping, pause)

    async def _poll(self, stopping: asyncio.Event) -> float:
        """One receive; the seconds to pause afterwards."""
        pause = self._throttler.pause(self._context.clock())
        if pause > 0 and await wait_for(stopping, pause):
            return 0.0
        places = await self._worker.capacity.reserve(self._context.options.receive_batch)
        if not places:
            return 0.0
        fresh: list[Delivery] = []
        try:
            if stopping.is_set():
                return 0.0
            fresh = await self._receive(places)
        finally:
            self._worker.capacity.give_back(places - len(fresh))
        if fresh:
            self._worker.take(fresh)  # from here on their places are theirs, whatever this raises
        self._scale()
        return EMPTY.ceiling(self._early) if self._early else 0.0

    async def _receive(self, places: int) -> list[Delivery]:
        """Receive up to `places` messages and take them in; those to be run, which fill a place each."""
        context, options = self._context, self._context.options
        visibility = options.visibility_timeout
        if options.adaptive_visibility:
            visibility = self._throttler.visibility(visibility, 43_200)
        asked = context.clock()
        self._health.asked(asked)
        self.receiving = True
        try:
            batch = await context.client.receive(
                context.queue_url,
                maximum=places,
                wait=options.wait_time,
                visibility=visibility,
                attribute_names=options.message_attributes,
            )
        finally:
            self.receiving = False
        now = context.clock()
        self._errors.succeeded()
        self._health.received()
        self._throttler.received(now, asked=places, got=len(batch), latency=now - asked)
        early = not batch and now - asked < max(options.wait_time / 2, SHORT)
        self._early = self._early + 1 if early else 0
        return self._take_in(batch, asked, now, visibility)

    def _take_in(self, batch: list[Received], asked: float, now: float, visibility: int) -> list[Delivery]:
        tally = self._context.tally
        tally.receives += 1
        if not batch:
            tally.empty_receives += 1
            return []
        tally.received += len(batch)
        if (sent := batch[0].sent_at) and batch[0].receive_count == 1:
            # One of each receive is enough for a median.
            tally.first_lag.push(max(0.0, self._context.wall() - sent))
        fresh, finished = self._context.ledger.receive(batch, asked=asked, now=now, visibility=visibility)
        self._harvester.add(finished)
        self._heartbeat.heed()
        return fresh

    def _failed(self, error: BaseException) -> float:
        """Note a poll that failed; the seconds to pause (L16)."""
        context = self._context
        context.tally.receive_errors += 1
        self._throttler.failed(context.clock())
        pause = self._errors.failed(context.draw())
        if isinstance(error, SqsError):
            context.tally.failed_entry(error.code)
            if error.verdict in SLOW_VERDICTS:
                pause += SLOW
            pause = max(pause, error.retry_after)
            context.logger.warning("receive from queue %s failed, next try in %.1f s: %s", context.queue, pause, error)
            self._health.failed(error)
        else:
            context.tally.failed_entry(type(error).__name__)
            context.logger.error(
                "receive from queue %s failed, next try in %.1f s", context.queue, pause, exc_info=error
            )
        return pause

    def __repr__(self) -> str:
        return f"<Poller {self.index} {'receiving' if self.receiving else 'between receives'}>"


class Health:
    """Whether receives succeed: by how long they have been asked for in vain, and by errors that will not pass.

    Nothing asked, nothing amiss: while every place is taken by a handler at work, no receive is made. And an empty
    answer takes as long as it was asked to wait, which is no sign of anything.
    """

    def __init__(self, unhealthy_after: float, wait_time: float) -> None:
        self._patience = max(unhealthy_after, wait_time + RECEIVE_GRACE)
        self._asking_since: float | None = None
        self.problem: SqsError | None = None
        """The error that will not pass, until a receive succeeds."""
        self.unusable = asyncio.Event()

    def asked(self, now: float) -> None:
        """A receive is about to be made."""
        if self._asking_since is None:
            self._asking_since = now

    def received(self) -> None:
        """A receive was answered."""
        self._asking_since = None
        self.problem = None

    def failed(self, error: SqsError) -> None:
        """A receive was refused."""
        if error.verdict in (Verdict.MISSING, Verdict.DENIED):
            self.problem = error
            self.unusable.set()

    def healthy(self, now: float) -> bool:
        """Whether messages can be received, as far as is known."""
        since = self._asking_since
        return self.problem is None and (since is None or now - since <= self._patience)
