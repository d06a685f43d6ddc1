"""What harvester, extender and dead letters share: a batch call that always answers by entry, and the pause after errors.

A call that failed as a whole is an answer too, the same for each entry; nothing an SQS client raises gets past here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from penstock.core.backoff import Backoff
from penstock.errors import SqsError, Verdict
from penstock.sqs.api import EntryFailure

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PASSING = frozenset((Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.CREDENTIALS, Verdict.OVER_LIMIT))
"""Verdicts on entries that may be tried again while the lease lasts (L12). Denied and missing are not: they do not pass
within a lease."""

RETRY = Backoff(base=0.2, maximum=5.0)
"""Pauses between tries of a settlement: short, because a lease is."""


class Pauses:
    """How long to wait before entries that failed go again: longer with each failing call, short again after a good one."""

    __slots__ = ("_draw", "_failures")

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0

    def note(self, *, failed: bool) -> float:
        """Note how a call went; the pause in seconds for what it left."""
        self._failures = self._failures + 1 if failed else 0
        return RETRY.delay(self._failures, self._draw()) + 0.05 if failed else 0.0


async def by_entry(
    call: Awaitable[list[T | EntryFailure]], count: int, logger: logging.Logger
) -> list[T | EntryFailure]:
    """The call's answer, or for each of `count` entries the failure of the whole call."""
    try:
        return await call
    except SqsError as error:
        failure = EntryFailure(error.verdict, error.code, error.message, sender_fault=False)
    except Exception as error:
        logger.exception("an SQS client raised what it should not; the entries are tried again")
        failure = EntryFailure(Verdict.UNAVAILABLE, type(error).__name__, str(error), sender_fault=False)
    return [failure] * count
