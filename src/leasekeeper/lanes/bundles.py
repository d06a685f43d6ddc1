"""The bundle lane: messages collected into batches, around a lane that runs one handler call for each batch.

Owned by the worker of a consumer with `batch`. To the engine it is a lane of messages: each gets an answer. To the lane
inside (coroutines, threads or processes) a bundle is one unit. A complete batch goes there at once. One whose oldest
message has waited `batch_wait` goes when a handler is free, and fills meanwhile; otherwise slow handlers would get ever
smaller batches.
"""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING

from leasekeeper.core.batch_collector import BatchPolicy, Collected, Collector
from leasekeeper.lanes.api import Answer, Resizable
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.retry_rules import outcome_by_rule
from leasekeeper.message import Message
from leasekeeper.outcomes import FREED, NOT_STARTED, Done, Failed, Freed, Reject, Skipped
from leasekeeper.retries import Retries, retries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from leasekeeper.batch import Trigger
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answers, Lane, LaneStatistics, Say
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome

_ANSWERING = threading.Lock()
"""Held while rows get their final answers. Race: the watch of a thread lane may give a bundle up while its handler, in
the thread, answers for a part of it."""


class Bundle:
    """The deliveries of one batch: what a lane runs as one unit.

    Attributes:
        rows: those that have no final answer yet, oldest first.
        trigger: what made the batch complete.
        waited: seconds that the oldest had waited then.
        say: takes what a handler says of one message to the engine.
        outcomes: how single messages end, whatever becomes of the rest.
        given_up: those that a thread still works on although its time-out has been answered.
        ordered: whether they are of a FIFO queue: then none may be called after an earlier one of its group has failed.
        copies: whether a rejected message is copied to a dead-letter queue; otherwise it is tried again.
        parts: the rows of each call, where the handler is to be called with parts; None: with all of them.
    """

    __slots__ = (
        "_clock",
        "_started",
        "copies",
        "given_up",
        "ordered",
        "outcomes",
        "parts",
        "rows",
        "say",
        "trigger",
        "waited",
    )

    def __init__(
        self,
        collected: Collected,
        say: Say[Delivery],
        clock: Callable[[], float],
        *,
        ordered: bool = False,
        copies: bool = True,
    ) -> None:
        self.rows: Sequence[Delivery] = collected.rows
        self.ordered = ordered
        self.copies = copies
        self.trigger: Trigger = collected.trigger
        self.waited = collected.waited
        self.say = say
        self.outcomes: dict[Delivery, Outcome] = {}
        self.given_up: Sequence[Delivery] = ()
        self.parts: Sequence[Sequence[Delivery]] | None = None
        self._clock = clock
        self._started = 0.0

    @property
    def started(self) -> float:
        """When the present call of the handler began; 0.0 before the first."""
        return self._started

    @started.setter
    def started(self, now: float) -> None:
        for row in self.rows:
            row.started = now
        self._started = now

    def restarted(self, rows: Sequence[Delivery]) -> None:  # noqa: ARG002 - a worker process tells its engine of them
        """The handler is called once more, with these rows: its time-out counts from now."""
        self._started = self._clock()

    def is_good(self, row: Delivery, outcome: Outcome) -> bool:
        """Whether a message with that outcome, unless it has another, holds up no other message of its group."""
        said = self.outcomes.get(row, outcome) if row.settlement is None else row.settlement.asked
        return isinstance(said, Done | Skipped) or (isinstance(said, Reject) and self.copies)

    @property
    def lost(self) -> bool:
        """Whether all leases have run out."""
        return all(row.lost for row in self.rows)

    def answer(self, outcome: Outcome, part: Sequence[Delivery] | None = None) -> list[Answer[Delivery]]:
        """The final answers for a part of the rows, or for all that have none yet.

        `outcome` is that of all rows without an outcome in `outcomes`.
        """
        if isinstance(outcome, Freed):
            given_up, self.given_up = self.given_up, ()
            return [Answer(row, FREED) for row in given_up]
        with _ANSWERING:
            if part is None:
                rows, self.rows = self.rows, ()
            else:
                ended = set(part)
                rows = [row for row in self.rows if row in ended]
                self.rows = [row for row in self.rows if row not in ended]
            if isinstance(outcome, Failed) and outcome.still_running:
                self.given_up = [row for row in rows if row not in self.outcomes]
        outcomes = self.outcomes
        if not outcomes:
            return list(map(Answer, rows, repeat(outcome)))
        return [Answer(row, outcomes.get(row, outcome)) for row in rows]

    def __repr__(self) -> str:
        return f"<Bundle of {len(self.rows)} unanswered>"


class BundleAnswers:
    """What the lane inside answers to: passes on an answer for each delivery, from any thread."""

    def __init__(self, answers: Answers[Delivery], freed: Callable[[Sequence[Bundle]], None]) -> None:
        self._answers = answers
        self._freed = freed

    def post(self, answers: Sequence[Answer[Bundle]]) -> bool:
        """Pass on answers about bundles; as `Mailbox.post`."""
        first, *others = answers
        expanded = first.unit.answer(first.outcome)
        for answer in others:
            expanded += answer.unit.answer(answer.outcome)
        posted = self._answers.post(expanded)
        if freed := [answer.unit for answer in answers if not _keeps_thread(answer.outcome)]:
            self._freed(freed)
        return posted

    def post_one(self, answer: Answer[Bundle]) -> bool:
        """Pass on one answer."""
        return self.post((answer,))


def _keeps_thread(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.still_running


class BundleLane:
    """A lane of messages that runs a batch handler in another lane.

    Args:
        options: how batches are collected.
        parallel: how many handlers can run at once, by the options.
        answers: the engine's mailbox.
        clock: seconds, monotonic.
        open_inside: makes the lane that runs bundles.
        queue: the queue's name, for messages that `batch_key` is given.
        copies: whether rejected messages are copied to a dead-letter queue.
    """

    def __init__(
        self,
        options: Options,
        *,
        parallel: Callable[[Options], int],
        answers: Answers[Delivery],
        clock: Callable[[], float],
        open_inside: Callable[[BundleAnswers], Lane[Bundle]],
        queue: str = "",
        copies: bool = True,
    ) -> None:
        self._copies = copies
        self._collector = Collector(
            BatchPolicy(size=options.batch or 1, wait=options.batch_wait, most_bytes=options.most_batch_bytes)
        )
        self._size = options.batch or 1
        self._several = options.batch_groups == "several"
        self._ordered = False
        """Whether the queue is a FIFO queue."""
        self._parallel_by = parallel
        self._parallel = parallel(options)
        self._answers = answers
        self._clock = clock
        self._batch_key = options.batch_key
        self._queue = queue
        self._retries = retries_of(options.retry or Retries())
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at_work: dict[Bundle, None] = {}
        """What is in the lane inside, waiting or running."""
        self._collects = True
        self._down = False
        self._inside = open_inside(BundleAnswers(answers, self._freed_in_thread))
        self.looks_before_start = self._inside.looks_before_start

    # Collecting

    async def open(self) -> None:
        """Open the lane of the handlers."""
        await self._inside.open()

    def submit(self, units: Sequence[Delivery]) -> bool:
        """Collect deliveries, and run the batches that are complete. False: the lane inside cannot run anything."""
        if self._down:
            self._answers.post([Answer(row, NOT_STARTED) for row in units])
            return False
        now = self._clock()
        for key, rows in self._by_key(units):
            self._run(self._collector.add(rows, now, key))
        if not self._collects:
            self._run(self._collector.take_all(now))
        if self._timer is None:  # what is collected from now on is due after what the timer is set for
            self._look()
        return not self._down

    def submit_together(self, units: Sequence[Delivery]) -> bool:
        """Run these in one batch: the next messages of one message group of a FIFO queue, in order.

        Alone they do not wait for more: SQS hands out no more of the group until they are deleted. As `submit`
        otherwise.
        """
        if self._down:
            self._answers.post([Answer(row, NOT_STARTED) for row in units])
            return False
        now = self._clock()
        if self._several:
            complete = self._collector.add_together(units, now)
            if not self._collects:
                complete += self._collector.take_all(now)
        else:
            complete = [Collected(list(units), "size" if len(units) >= self._size else "wait", 0.0)]
        self._ordered = True
        self._run(complete)
        if self._timer is None:
            self._look()
        return not self._down

    def _by_key(self, units: Sequence[Delivery]) -> Iterable[tuple[Hashable, Sequence[Delivery]]]:
        key_of = self._batch_key
        if key_of is None:
            return [(None, units)]
        groups: dict[Hashable, list[Delivery]] = {}
        say = self._answers.post_one
        for row in units:
            received = row.received
            message = Message(received, received.body, queue=self._queue, lease=LeaseControl(say, row))
            try:
                groups.setdefault(key_of(message), []).append(row)
            except BaseException as error:  # a user's code, or a key that cannot be hashed
                row.started = row.started or self._clock()  # so that it counts as an attempt
                say(Answer(row, outcome_by_rule(error, self._retries, attempt=row.attempt, message=message)))
        return groups.items()

    def _run(self, complete: Sequence[Collected]) -> None:
        if complete:
            say, clock = self._answers.post_one, self._clock
            bundles = [Bundle(each, say, clock, ordered=self._ordered, copies=self._copies) for each in complete]
            self._at_work.update(dict.fromkeys(bundles))
            self._down = not self._inside.submit(bundles) or self._down

    def _look(self) -> None:
        """Run the batches whose time has come, as far as handlers are free, and set the timer for the next."""
        now = self._clock()
        free = self._parallel - len(self._at_work)
        if free > 0:
            self._run(self._collector.take_due(now, free))
        due = self._collector.next_due()
        if self._timer is None and now < due < math.inf:  # what is due already waits for a handler that ends
            self._timer = self._loop.call_later(due - now, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._look()

    def _freed_in_thread(self, bundles: Sequence[Bundle]) -> None:
        with suppress(RuntimeError):  # the engine's loop is closed
            self._loop.call_soon_threadsafe(self._freed, bundles)

    def _freed(self, bundles: Sequence[Bundle]) -> None:
        """Handlers have ended."""
        for bundle in bundles:
            self._at_work.pop(bundle, None)
        self._look()

    # The lane

    def resize(self, options: Options) -> None:
        """Let more handlers run at the same time, or fewer."""
        if isinstance(self._inside, Resizable):
            self._inside.resize(options)
            self._parallel = self._parallel_by(options)
            self._look()

    def stop_collecting(self) -> None:
        """Run at once what is collected, and what still comes."""
        self._collects = False
        self._run(self._collector.take_all(self._clock()))

    def recall(self) -> None:
        """Answer `NotStarted` for everything that is collected or waits."""
        collected = self._collector.take_all(self._clock())
        if collected:
            self._answers.post([Answer(row, NOT_STARTED) for each in collected for row in each.rows])
        self._inside.recall()

    def end(self, unit: Delivery | None = None) -> bool:
        """End all handlers, or the one of that unit if no other unit of its batch has a lease left."""
        if unit is None:
            return self._inside.end()
        return any(self._inside.end(each) for each in list(self._at_work) if each.lost and unit in each.rows)

    async def close(self) -> None:
        """Collect no more, and close the lane inside."""
        if self._timer is not None:
            self._timer.cancel()
        await self._inside.close()

    def statistics(self) -> LaneStatistics:
        """What it is doing now: handlers that run, messages that wait."""
        inside = self._inside.statistics()
        waiting = sum(len(each.rows) for each in list(self._at_work) if not each.started)
        return replace(inside, waiting=waiting + len(self._collector))

    def __repr__(self) -> str:
        return f"<BundleLane {len(self._collector)} collected, {len(self._at_work)} batches in {self._inside!r}>"
