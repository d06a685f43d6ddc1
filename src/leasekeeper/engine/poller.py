"""The poller: one long-poll loop, which asks for no more messages than there are slots for.

Owned by the runner, which starts as many as the throttler wants. Nothing that a receive, a decode or a dispatch raises
ends it (L15); only the runner's stop does, or the throttler, when fewer are wanted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from leasekeeper.core.backoff import ErrorPause
from leasekeeper.core.delivery import Action
from leasekeeper.engine.health import DELETE, RECEIVE
from leasekeeper.engine.waits import first_of, is_own_cancellation, wait_for
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.events import LagsMeasured, MessagesReceived, ReceiveFailed
from leasekeeper.message import lags_of
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.arrival import Arrival
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.lag import LagMeter
    from leasekeeper.message import Received

SLOW_VERDICTS = frozenset((Verdict.MISSING, Verdict.DENIED, Verdict.OVER_LIMIT, Verdict.REFUSED))
"""Errors that will not pass soon: at least `SLOW` seconds between tries (L18)."""
SLOW = 10.0
EMPTY = Exponential(base=0.2, maximum=1.6)
"""Pauses after empty answers that came early: AWS advises 200 ms, then 400 (SQS guide, working with messages)."""
SHORT = 1.0
"""Seconds: an empty answer in less has hardly waited, whatever was asked for."""
LAG_SHARE = 20
"""No receive is made while the engine lags by more than this part of the visibility timeout."""
LAG_LOOK = 0.1
"""Seconds until a poller that waits for the lag to end looks again."""


class Receiver(Protocol):
    """What receives messages: a client, or what stands for it."""

    async def receive(
        self, queue_url: str, /, *, maximum: int, wait: float, visibility: int, attribute_names: Sequence[str]
    ) -> list[Received]:
        """As `SqsApi.receive`."""
        ...


class Poller:
    """Receives for one queue until it is not wanted any more."""

    def __init__(
        self,
        index: int,
        context: QueueContext,
        throttler: Throttler,
        capacity: Capacity,
        *,
        lag: LagMeter,
        arrival: Arrival,
        receiver: Receiver,
        take: Callable[[Sequence[Delivery]], None],
        scale: Callable[[], None],
    ) -> None:
        self.index = index
        self.receiving = False
        self.asked = self.got = 0
        """Messages that the last answered receive asked for, and that it brought."""
        self._context = context
        self._throttler = throttler
        self._capacity = capacity
        self._lag = lag
        self._arrival = arrival
        self._receiver = receiver
        self.take = take
        self._scale = scale
        self._errors = ErrorPause()
        self._not_before = 0.0
        """The end of its last pause: if `run` was ended in the middle, the next one waits for the rest."""
        self._early = 0
        """Empty answers in a row that came early: short polls, or a server that does not wait."""
        # A copy in the dead-letter queue must be complete, so everything is fetched where copies may be made (L30).
        copies = context.source.dead_letter_url is not None
        self._attribute_names = ("All",) if copies else context.options.fetched_attributes

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll until stopped, or not wanted any more. It may be run again afterwards."""
        clock = self._context.clock
        try:
            await wait_for(stopping, self._not_before - clock())
            while not stopping.is_set() and self.index < self._throttler.pollers:
                try:
                    pause = await self._poll(stopping)
                except (Exception, asyncio.CancelledError) as error:
                    if is_own_cancellation(error):
                        raise
                    pause = self._failed(error)
                if pause > 0:
                    self._not_before = clock() + pause
                    await wait_for(stopping, pause)
        finally:
            self._context.health.left(self.index)

    async def _poll(self, stopping: asyncio.Event) -> float:
        """One receive; returns the seconds to pause afterwards."""
        context = self._context
        pause = self._throttler.pause(context.clock())
        if pause > 0 and await wait_for(stopping, pause):
            return 0.0
        outage = context.outage
        if outage is not None and outage.active:
            context.health.left(self.index)
            await first_of(stopping.wait(), outage.over.wait())
            return 0.0
        if self._lag.seconds > context.options.visibility_timeout / LAG_SHARE:
            return LAG_LOOK
        if self._errors.failures and not self._capacity.has_room(context.options.receive_batch):
            context.health.left(self.index)  # a poller that waits for slots does not ask in vain
        slots = await self._capacity.reserve(context.options.receive_batch)
        if not slots:
            return 0.0
        fresh: list[Delivery] = []
        try:
            if stopping.is_set() or (outage is not None and outage.active):
                return 0.0
            fresh = await self._receive(slots)
        finally:
            self._capacity.received(slots, len(fresh))
        if fresh:
            self.take(fresh)  # from here on the slots are theirs, whatever this raises
        self._scale()
        health = context.health
        if health.problem is not None and health.refuses(DELETE):  # what is received can only be run again and again
            return SLOW
        return EMPTY.ceiling(self._early) if self._early else 0.0

    async def _receive(self, slots: int) -> list[Delivery]:
        """Receive up to `slots` messages and take them in; returns those to run, which hold a slot each."""
        context, options = self._context, self._context.options
        visibility = options.visibility_timeout
        if options.adaptive_visibility:
            visibility = self._throttler.visibility(visibility, 43_200)
        requested_at = context.clock()
        context.health.asked(self.index, requested_at)
        self.receiving = True
        try:
            batch = await self._receiver.receive(
                context.source.url,
                maximum=slots,
                wait=options.wait_time,
                visibility=visibility,
                attribute_names=self._attribute_names,
            )
        finally:
            self.receiving = False
        now = context.clock()
        if self._errors.failures:
            self._errors.succeeded()
        context.health.received(self.index, now)
        self._throttler.received(now, asked=slots, got=len(batch), latency=now - requested_at)
        self.asked, self.got = slots, len(batch)
        early = not batch and now - requested_at < max(options.wait_time / 2, SHORT)
        self._early = self._early + 1 if early else 0
        return self._take_in(batch, slots, requested_at, now, visibility)

    def _take_in(
        self, batch: list[Received], slots: int, requested_at: float, now: float, visibility: int
    ) -> list[Delivery]:
        context = self._context
        if not batch:
            context.emit(MessagesReceived(context.queue, 0, 0, now - requested_at, None, slots))
            return []
        wall = context.wall()
        began = self._arrival.began(batch, requested_at=requested_at, now=now, wall=wall, visibility=visibility)
        if self._lag.seconds:
            began = max(requested_at, min(began, now - self._lag.seconds))
        fresh, known = context.ledger.receive(
            batch, requested_at=requested_at, now=now, began=began, visibility=visibility
        )
        first, lag = batch[0], None
        if first.receive_count == 1 and (sent_at := first.sent_at):
            lag = max(0.0, wall - sent_at)  # one message of each receive is enough for a median
        context.emit(MessagesReceived(context.queue, len(batch), len(known), now - requested_at, lag, slots))
        if context.detail.every:
            context.emit(LagsMeasured(context.queue, lags_of(batch, wall)))
        if known:
            context.act(Action.DELETE, known)
        context.moved()
        return fresh

    def _failed(self, error: BaseException) -> float:
        """Note a poll that failed; returns the seconds to pause (L16)."""
        context = self._context
        now = context.clock()
        self._throttler.failed(now)
        pause = self._errors.failed(context.draw())
        expected = isinstance(error, SqsError)
        if isinstance(error, SqsError):
            if error.verdict in SLOW_VERDICTS:
                pause += SLOW
            pause = max(pause, error.retry_after)
            code = error.code
        else:
            code = type(error).__name__
        context.emit(ReceiveFailed(context.queue, error, code, pause, expected))
        if isinstance(error, SqsError):
            context.health.failed(RECEIVE, error, now)
        else:
            context.health.report(now)
        return pause

    def mark(self, now: float) -> str:
        """What it does, in a word: `failed`, `paused`, or what its last receive brought; `waiting` before the first."""
        if self._errors.failures:
            return "failed"
        if not self.receiving and self._not_before > now:
            return "paused"
        if not self.asked or (self.receiving and not self.got):
            return "waiting"
        return "full" if self.got >= self.asked else "short" if self.got else "empty"

    def __repr__(self) -> str:
        return f"<Poller {self.index} {'receiving' if self.receiving else 'between receives'}>"
