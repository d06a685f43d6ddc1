"""What harvester, extender and dead letters share: a batch call answered by entry, and what its failed entries get.

A call that failed as a whole is an answer too, the same for each entry; nothing an SQS client raises gets past here.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol, TypeVar

from leasekeeper.api import EntryFailure
from leasekeeper.engine.health import LASTING
from leasekeeper.engine.waits import is_own_cancellation
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.events import EntriesFailed, InternalError
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.events import Event

T = TypeVar("T")

RETRYABLE = frozenset((Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.CREDENTIALS, Verdict.OVER_LIMIT))
"""Verdicts on entries that may be tried again while the lease lasts (L12). Denied and missing are not: they do not pass
within a lease."""
RETRY = Exponential(base=0.2, maximum=5.0)
"""Pauses between tries of a settlement: short, because a lease is."""
SHORTEST = 0.05
"""Seconds of the shortest pause, however little is left of the lease."""
LATE = 0.05
"""Seconds by which a timer fires late on a loop that is held up."""
FLUSH_PAUSE = 0.2
"""Seconds of the longest pause during a stop: `flush_timeout` must hold many tries."""


def capped_pause(pause: float, left: float) -> float:
    """The pause, cut to half of what is left of a lease: another try has to come before it ends (L12)."""
    return max(SHORTEST, min(pause, left / 2))


async def with_timeout(call: Awaitable[T], seconds: float) -> T:
    """The call's answer; raises `TimeoutError` when it takes longer than that, whatever the client's own limit.

    While the loop itself is late, the time does not count: the answer may be here, and nothing has read it yet (L9).
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def look(expected: float) -> None:
        nonlocal timer
        now = loop.time()
        if now - expected < LATE:
            limit.reschedule(now)
        else:  # by the next look the loop has read what is here
            timer = loop.call_at(now + LATE, look, now + LATE)

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, look, -math.inf)
        try:
            return await call
        finally:
            timer.cancel()


class Teller(Protocol):
    """The part of a context that tells subscribers what happened."""

    @property
    def queue(self) -> str:
        """The queue's name."""
        ...

    @property
    def emit(self) -> Callable[[Event], None]:
        """Tells subscribers."""
        ...


async def call_batch(context: Teller, call: Awaitable[list[T | EntryFailure]], count: int) -> list[T | EntryFailure]:
    """The call's answer, or for each of `count` entries the failure of the whole call."""
    try:
        answers = await call
        if len(answers) == count:
            return answers
        failure = EntryFailure(Verdict.UNAVAILABLE, "WrongAnswer", f"{len(answers)} answers", sender_fault=False)
        what = f"an SQS client gave {len(answers)} answers to {count} entries; they are tried again"
        context.emit(InternalError(context.queue, what, RuntimeError(what)))
    except SqsError as error:
        failure = EntryFailure(
            error.verdict, error.code, error.message, sender_fault=False, retry_after=error.retry_after
        )
    except TimeoutError:
        failure = EntryFailure(Verdict.UNAVAILABLE, "NoAnswer", "no answer in time for another try", sender_fault=False)
    except (Exception, asyncio.CancelledError) as error:
        if is_own_cancellation(error):
            raise
        context.emit(InternalError(context.queue, "an SQS client raised; the entries are tried again", error))
        failure = EntryFailure(Verdict.UNAVAILABLE, type(error).__name__, str(error), sender_fault=False)
    return [failure] * count


def refusal_of(answers: Sequence[object]) -> str:
    """The error code of a call that failed as a whole; empty if SQS answered it."""
    first = answers[0]
    return first.code if isinstance(first, EntryFailure) and all(each is first for each in answers) else ""


class Retrying(Protocol):
    """The part of a batcher that takes back what failed."""

    closing: bool

    def put_back(self, item: Delivery, *, ready: float) -> None:
        """Send this one again, from `ready` on."""
        ...


class FailedEntries:
    """Sorts the failed entries of one kind of call: tried again while the lease lasts, or given up (L12).

    Pauses grow with each call that failed as a whole. Single failed entries say nothing about the next call.

    Args:
        context: the runner's.
        operation: the API call.
        of_health: whether an error that lasts makes the consumer unhealthy.

    Attributes:
        failed_calls: calls in a row that failed as a whole; set to 0 after one that did not.
    """

    def __init__(self, context: QueueContext, operation: str, *, of_health: bool = True) -> None:
        self._context = context
        self._of_health = of_health
        self._operation = operation
        self.failed_calls = 0

    def put_back(
        self, batcher: Retrying, failed: Sequence[tuple[Delivery, EntryFailure]], *, whole: bool, now: float
    ) -> list[tuple[Delivery, EntryFailure]]:
        """Put back the entries that may be tried again; returns those to give up.

        Args:
            batcher: where they came from.
            failed: the entries, with their failures.
            whole: whether the call failed as a whole.
            now: seconds, monotonic.
        """
        context = self._context
        self.failed_calls = self.failed_calls + 1 if whole else 0
        pause = context.draw() * RETRY.ceiling(max(self.failed_calls, 1)) + SHORTEST
        if batcher.closing:
            pause = min(pause, FLUSH_PAUSE)
        else:
            pause = max(pause, max((failure.retry_after for _, failure in failed), default=0.0))
        given_up: list[tuple[Delivery, EntryFailure]] = []
        for row, failure in failed:
            again = now + capped_pause(pause, row.lease.deadline - now)
            if failure.verdict in RETRYABLE and again < row.lease.deadline:
                batcher.put_back(row, ready=again)
            else:
                given_up.append((row, failure))
        retried = [pair for pair in failed if pair not in given_up] if given_up else failed
        if retried:
            self.emit(retried, given_up=False)
        return given_up

    def emit(self, failed: Sequence[tuple[Delivery, EntryFailure]], *, given_up: bool) -> None:
        """Tell subscribers about these entries, and the consumer's health about errors that last."""
        emit_failures(self._context, self._operation, failed, given_up=given_up, of_health=self._of_health)


def emit_failures(
    context: QueueContext,
    operation: str,
    failed: Sequence[tuple[Delivery, EntryFailure]],
    *,
    given_up: bool = False,
    heartbeat: bool = False,
    of_health: bool = True,
) -> None:
    """Tell subscribers about failed entries, and the consumer's health about errors that last."""
    failures = [(row.received.message_id, failure) for row, failure in failed]
    context.emit(EntriesFailed(context.queue, operation, failures, given_up, heartbeat))
    lasting = next((failure for _, failure in failures if failure.verdict in LASTING), None)
    if lasting is not None and of_health:
        error = SqsError(lasting.verdict, lasting.code, lasting.message, operation=operation)
        context.health.failed(operation, error, context.clock())
