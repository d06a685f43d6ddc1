"""What became of a run of a handler, and of its settlement with SQS.

A handler that returns is done; it may return or raise `Retry` or `Reject` instead. A lane answers with one of these and
never acknowledges; the ledger decides what each means for the lease.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


class Retry(Exception):
    """Ask for the message again: `raise Retry(after=30)`, or return it.

    Args:
        after: seconds until it may be received again, 0 to 43,200; None takes the consumer's back-off.
    """

    after: float | None = None  # of subclasses, too, whose own `__init__` does not call this one

    def __init__(self, after: float | None = None) -> None:
        super().__init__(after)
        if after is not None and not 0 <= after <= 43_200:
            raise ValueError(f"Retry(after={after!r}): must be between 0 and 43200 seconds (SQS's longest visibility)")
        self.after = after


class Reject(Exception):
    """Say that the message can never be processed: `raise Reject("no such customer")`, or return it.

    It follows the consumer's reject policy: a copy to the dead-letter queue and a delete, or SQS's redrive policy.
    """

    reason: str = ""  # as `Retry.after`

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Done:
    """The handler returned: delete the message."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or ran into its time-out: retry with back-off.

    `still_running` is said of a thread that could not be ended: its place is free only when `Freed` follows.
    """

    error: BaseException
    still_running: bool = False


@dataclass(frozen=True, slots=True)
class Freed:
    """The thread that was given up has ended after all: its place is free."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The lane ended the handler because it was told to: give the message back at once."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The handler was never called (a stop, or the lease ran out first): give the message back."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """The handler returned and asked to keep the message: its ack comes later, or never."""


DONE = Done()
NOT_STARTED = NotStarted()
WITHHELD = Withheld()
ENDED = Ended()
FREED = Freed()

Outcome = Done | Retry | Reject | Failed | NotStarted | Ended | Withheld | Freed


class Settled(Enum):
    """How a settlement ended."""

    ACKED = "acked"
    """The delete was confirmed inside the lease."""
    RELEASED = "released"
    """The message was given back, visible again after its delay."""
    LATE = "late"
    """The delete was confirmed after the lease had ended: SQS may deliver the message again."""
    LOST = "lost"
    """The lease ended, or SQS refused, before the settlement was confirmed."""


class Settlement:
    """The promise of a settlement: awaitable on any loop, and `result(timeout)` from threads."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: Future[Settled] = Future()

    def done(self) -> bool:
        """Whether it is known how it ended."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Settled:
        """Wait at most `timeout` seconds (None: for ever) and say how it ended; raises `TimeoutError`."""
        return self._future.result(timeout)

    def resolve(self, settled: Settled) -> None:
        """Make the end known; the first word stands."""
        if not self._future.done():
            self._future.set_result(settled)

    def __await__(self) -> Generator[object, None, Settled]:
        # Shielded: whoever stops waiting must not call off the settlement itself.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()
