"""What harvester, extender and dead letters share: a batch call that answers by entry, and pauses after errors.

A call that failed as a whole is an answer too, the same for each entry; nothing an SQS client raises gets past here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from leasekeeper.api import EntryFailure
from leasekeeper.core.backoff import Backoff
from leasekeeper.engine.scopes import ends_us
from leasekeeper.errors import SqsError, Verdict

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PASSING = frozenset((Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.CREDENTIALS, Verdict.OVER_LIMIT))
"""Verdicts on entries that may be tried again while the lease lasts (L12). Denied and missing are not: they do not pass
within a lease."""

RETRY = Backoff(base=0.2, maximum=5.0)
"""Pauses between tries of a settlement: short, because a lease is."""
SHORTEST = 0.05
"""The shortest of them, in seconds, however little is left of the lease."""


def nobody_listens() -> None:
    """What is called after an answer until the runner says otherwise."""


class Pauses:
    """How long entries that failed wait: longer with each failing call, short again after a good one."""

    __slots__ = ("_draw", "_failures")

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0

    def note(self, *, failed: bool) -> float:
        """Note how a call went; the pause in seconds for what it left."""
        self._failures = self._failures + 1 if failed else 0
        return RETRY.delay(self._failures, self._draw()) + SHORTEST if failed else 0.0


def within(pause: float, left: float) -> float:
    """The pause, cut to half of what is left of a lease: there shall be another try before it ends (L12)."""
    return max(SHORTEST, min(pause, left / 2))


async def limited(call: Awaitable[T], seconds: float) -> T:
    """The call's answer; raises `TimeoutError` when it takes longer than that, whatever the client's own limit."""
    async with asyncio.timeout(seconds):
        return await call


async def by_entry(
    call: Awaitable[list[T | EntryFailure]], count: int, logger: logging.Logger
) -> list[T | EntryFailure]:
    """The call's answer, or for each of `count` entries the failure of the whole call."""
    try:
        answers = await call
        if len(answers) == count:
            return answers
        logger.error("an SQS client gave %d answers to %d entries; they are tried again", len(answers), count)
        failure = EntryFailure(Verdict.UNAVAILABLE, "WrongAnswer", f"{len(answers)} answers", sender_fault=False)
    except SqsError as error:
        failure = EntryFailure(error.verdict, error.code, error.message, sender_fault=False)
    except TimeoutError:
        failure = EntryFailure(Verdict.UNAVAILABLE, "NoAnswer", "no answer in time for another try", sender_fault=False)
    except (Exception, asyncio.CancelledError) as error:
        if ends_us(error):
            raise
        logger.exception("an SQS client raised what it should not; the entries are tried again")
        failure = EntryFailure(Verdict.UNAVAILABLE, type(error).__name__, str(error), sender_fault=False)
    return [failure] * count
