"""The backlog: what SQS said of a queue lately, in messages, in seconds of work, and where it is going.

Owned by a recorder. The arithmetic is that of `leasekeeper.core.scaling`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from leasekeeper.engine.queue_counts import QueueCounts

OVER = 5
"""Answers that the trend is averaged over: SQS counts approximately."""


class Answer(NamedTuple):
    """What SQS said, and when, in seconds since 1970."""

    at: float
    counts: QueueCounts


class Backlog:
    """The last answers of SQS about one queue.

    Attributes:
        asked: when SQS was asked last, in seconds since 1970; 0.0 before the first time.
        early: whether that was because the answer before seemed to be out of date.
        empty: receives of the consumer that had come back empty by then.
        problem: why the last question was not answered; empty when it was.
    """

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque(maxlen=OVER)
        self.asked = 0.0
        self.early = False
        self.empty = 0
        self.problem = ""

    def outdated(self, empty: int) -> bool:
        """Whether receives have come back empty since SQS was asked, although it counted visible messages.

        A question that was asked early for this is not followed by another: a blocked FIFO queue is both for long.

        Args:
            empty: receives that have come back empty by now.
        """
        return self.last is not None and self.last.counts.visible > 0 and empty > self.empty and not self.early

    def ask(self, at: float, *, empty: int, early: bool) -> None:
        """SQS is asked now."""
        self.asked, self.empty, self.early = at, empty, early

    def add(self, at: float, counts: QueueCounts) -> None:
        """Take an answer."""
        self._answers.append(Answer(at, counts))
        self.problem = ""

    @property
    def last(self) -> Answer | None:
        """The newest answer."""
        return self._answers[-1] if self._answers else None

    def age(self, now: float) -> float | None:
        """Seconds from the newest answer to now, which is in seconds since 1970; None before the first."""
        return round(max(0.0, now - self._answers[-1].at), 1) if self._answers else None

    @property
    def in_flight(self) -> float:
        """Messages in flight, on average over the last answers; 0.0 before the first."""
        answers = list(self._answers)
        return sum(each.counts.in_flight for each in answers) / len(answers) if answers else 0.0

    @property
    def trend(self) -> float | None:
        """Messages a second by which the visible ones grow, or shrink (below 0); None before the second answer."""
        answers = list(self._answers)
        if len(answers) < 2 or answers[-1].at <= answers[0].at:
            return None
        first, last = answers[0], answers[-1]
        return (last.counts.visible - first.counts.visible) / (last.at - first.at)
