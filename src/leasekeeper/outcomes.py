"""Outcomes: how a run of a handler ended, and how its settlement with SQS ended.

A handler returns, raises, or returns or raises `Retry` or `Reject`. A lane reports one outcome per run and never
acknowledges; `core` decides what the outcome means for the lease.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from leasekeeper.schedules import Schedule


class Retry(Exception):
    """Retry the message later: `raise Retry(after=30)`, or return it. This is not logged as a failure.

    Args:
        after: seconds until the message can be received again, 0 to 43,200; None uses the consumer's back-off.

    Raises:
        ValueError: `after` is out of bounds.
        TypeError: `after` is no number.
    """

    after: float | None = None  # also for subclasses with an `__init__` that does not call this one

    def __init__(self, after: float | None = None) -> None:
        super().__init__(after)
        try:
            allowed = after is None or 0 <= after <= 43_200
        except TypeError:
            raise TypeError(f"Retry(after={after!r}): must be a number of seconds") from None
        if not allowed:
            raise ValueError(f"Retry(after={after!r}): must be between 0 and 43200 seconds (SQS's longest visibility)")
        self.after = after


class Reject(Exception):
    """Reject the message, because it can never be processed: `raise Reject("no such customer")`, or return it.

    The option `on_reject` decides what follows: a copy to the dead-letter queue and a delete, or the redrive policy.

    Args:
        reason: why, for the log.
    """

    reason: str = ""  # as `Retry.after`

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Done:
    """The handler returned: the message is deleted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised or timed out: the message is retried with back-off.

    `still_running`: a thread could not be ended, so its slot stays taken until `Freed` follows.
    `rule`: what the consumer's retries say of this error: a schedule, seconds, `Retry` or `Reject`; None: the default.
    `rule_error`: what a function among the retries raised, so that the default counts.
    """

    error: BaseException
    still_running: bool = False
    rule: Schedule | float | Retry | Reject | None = None
    rule_error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Freed:
    """The abandoned thread has ended: its slot is free."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The lane ended the handler on request: the message is released at once."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The handler was not called (a stop, or the lease ended first): the message is released."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """The handler was not called: the message's idempotency key could not be claimed, or its payload not be fetched.

    That is no attempt.

    `after`: seconds until the message can be received again, or until this is tried again here (`waits`).
    `error`: what the store said; None: another run has claimed the key. `answered`: whether the store has answered, so
    that the error may be about this key only.
    """

    after: float
    error: BaseException | None = None
    answered: bool = False
    waits: bool = False


class NotNow(Exception):
    """What is around a handler raises this when a key is not claimed; it is no failure (`Unclaimed`)."""

    def __init__(self, after: float, error: BaseException | None = None, *, answered: bool = False) -> None:
        super().__init__(after)
        self.outcome = Unclaimed(after, error, answered)


class NotOpened(NotNow):
    """The same, because what opens the envelope could not reach something."""

    def __init__(self, after: float, error: OSError) -> None:
        super().__init__(after, error)
        self.error = error


@dataclass(frozen=True, slots=True)
class Skipped:
    """No handler has to see the message, or its work is of no use any more: the message is deleted.

    `reason`: why, for the log. `warn`: whether it may be a mistake, so that the log line is a warning.
    """

    reason: str
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Withheld:
    """The handler returned and keeps the message: the ack comes later, or never."""


DONE = Done()
NOT_STARTED = NotStarted()
WITHHELD = Withheld()
ENDED = Ended()
FREED = Freed()

Outcome = Done | Retry | Reject | Failed | Skipped | NotStarted | Unclaimed | Ended | Withheld | Freed


class Settled(Enum):
    """How the delete or the release of a message ended."""

    ACKED = "acked"
    """SQS confirmed the delete within the lease."""
    RELEASED = "released"
    """The message was released; it is visible again after its delay."""
    LATE = "late"
    """SQS confirmed the delete after the lease had ended, and may deliver the message again."""
    LOST = "lost"
    """The lease ended, or SQS refused the call, before the settlement was confirmed."""


class Settlement:
    """The pending delete or release of a message. Await it on any event loop, or call `result()` in a thread.

    Attributes:
        asked: what the handler asked for: `Done` or `Retry`.
        deferred: whether it begins when the handler has ended, as on a FIFO queue: the handler cannot wait for it.
    """

    __slots__ = ("_future", "asked", "deferred")

    def __init__(self, asked: Done | Retry = DONE, *, deferred: bool = False) -> None:
        self.asked = asked
        self.deferred = deferred
        self._future: Future[Settled] = Future()

    def done(self) -> bool:
        """Whether the settlement has ended."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Settled:
        """Wait at most `timeout` seconds (None: without limit) for the end.

        Raises:
            TimeoutError: it has not ended by then.
            RuntimeError: it is deferred, and the handler that waits for it is still running.
        """
        self._refuse_deadlock()
        return self._future.result(timeout)

    def resolve(self, settled: Settled) -> None:
        """Set how it ended. The first call wins."""
        if not self._future.done():
            self._future.set_result(settled)

    def when_done(self, tell: Callable[[Settled], object]) -> None:
        """Call `tell` with how it ended: in the thread in which it ends, or here if it has ended."""
        self._future.add_done_callback(lambda future: tell(future.result()))

    def _refuse_deadlock(self) -> None:
        if self.deferred and not self._future.done():
            raise RuntimeError(
                "a message of a FIFO queue is settled when its handler has ended, so that its group stays in order: do "
                "not wait for the settlement in the handler"
            )

    def __await__(self) -> Generator[object, None, Settled]:
        self._refuse_deadlock()
        # Shielded: a waiter that is cancelled must not cancel the settlement.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()
