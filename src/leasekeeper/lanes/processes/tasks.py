"""What a worker is given: one message, or a batch; and what follows when the worker dies with it.

Made by the processes lane for each unit that it gives to a worker. It promises that a death is charged to a message
only when that message ran alone: what ran together with others runs again in smaller parts.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Protocol

from leasekeeper.lanes.api import U
from leasekeeper.lanes.processes.deaths import MOST, Deaths
from leasekeeper.lanes.processes.frames import Run, RunBatch, pack_received
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, WITHHELD, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answers, Say
    from leasekeeper.lanes.bundles import Bundle
    from leasekeeper.lanes.processes.frames import Started
    from leasekeeper.outcomes import Outcome

    OutcomeOf = Callable[[Delivery], Outcome]


class Task(Protocol[U]):
    """What one worker runs as one.

    Attributes:
        number: on the pipe.
        unit: the message or the batch.
        rows: its messages by their numbers on the pipe.
        say: takes what a handler says of one message while it runs.
    """

    number: int
    unit: U
    rows: Mapping[int, Delivery]
    say: Say[Delivery]

    def frame(self) -> Run | RunBatch:
        """What tells the worker to run it."""
        ...

    def started(self, frame: Started) -> None:
        """The handler was called, for the first time or once more."""
        ...

    def tell(self, row: Delivery, outcome: Outcome, *, final: bool) -> None:
        """It is known how one message of a batch ends; `final`: answer for it now."""
        ...

    def died(self, outcome_of: OutcomeOf | None, *, alone: bool) -> Outcome | None:
        """The worker has died with it: its outcome, or None when the rest of it is to be run again.

        Args:
            outcome_of: what follows for a message that was in the call; None: it runs again, as if it had not run.
            alone: whether that holds only for a message that was alone in the call.
        """
        ...

    def stopped(self) -> Outcome:
        """The lane has ended it on request: its outcome."""
        ...

    def kept(self, outcome: Outcome) -> Sequence[int]:
        """It has ended with that outcome: the numbers of the messages that the handler keeps."""
        ...


class Tasks(Protocol[U]):
    """Makes the tasks of a lane. `feed`: how many wait in a worker behind what it runs; `deaths`: by message."""

    feed: int
    deaths: Deaths

    def make(self, number: int, unit: U) -> Task[U]:
        """The task of a unit; it may use the numbers from `number` on, as many as it has messages and one more."""
        ...


class MessageTask:
    """One message."""

    __slots__ = ("number", "rows", "say", "unit")

    def __init__(self, number: int, unit: Delivery, say: Say[Delivery]) -> None:
        self.number = number
        self.unit = unit
        self.rows: Mapping[int, Delivery] = {number: unit}
        self.say = say

    def frame(self) -> Run:
        """As `Task.frame`."""
        unit = self.unit
        return Run(self.number, pack_received(unit.received), unit.attempt, unit.received_at, unit.settles_later)

    def started(self, frame: Started) -> None:
        """As `Task.started`."""
        self.unit.started = frame.at

    def tell(self, row: Delivery, outcome: Outcome, *, final: bool) -> None:
        """Never called: the one message of this task ends with it."""

    def died(self, outcome_of: OutcomeOf | None, *, alone: bool) -> Outcome | None:  # noqa: ARG002 - it is alone
        """As `Task.died`."""
        return None if outcome_of is None else outcome_of(self.unit)

    def stopped(self) -> Outcome:
        """As `Task.stopped`."""
        return ENDED

    def kept(self, outcome: Outcome) -> Sequence[int]:
        """As `Task.kept`."""
        return (self.number,) if outcome is WITHHELD else ()

    def __repr__(self) -> str:
        return _alone(self.unit)


class BatchTask:
    """A batch, or what is left of it."""

    __slots__ = ("_called", "_parts", "_singly", "number", "rows", "say", "unit")

    def __init__(self, number: int, unit: Bundle, parts: Sequence[Sequence[Delivery]], *, singly: bool) -> None:
        self.number = number
        self.unit = unit
        self.rows: Mapping[int, Delivery] = dict(enumerate(chain.from_iterable(parts), number + 1))
        self.say = unit.say
        self._parts = parts
        self._singly = singly
        self._called = parts[0]

    def frame(self) -> RunBatch:
        """As `Task.frame`."""
        unit, rows = self.unit, list(self.rows.values())
        return RunBatch(
            self.number,
            [pack_received(row.received) for row in rows],
            [row.attempt for row in rows],
            [row.received_at for row in rows],
            rows[0].settles_later,
            [len(part) for part in self._parts],
            unit.trigger,
            unit.waited,
            unit.ordered,
            unit.copies,
        )

    def started(self, frame: Started) -> None:
        """As `Task.started`."""
        if frame.messages:
            self._called = [self.rows[number] for number in frame.messages]
        if self.unit.started:
            self.unit.restarted(self._called)
        else:
            self.unit.started = frame.at

    def tell(self, row: Delivery, outcome: Outcome, *, final: bool) -> None:
        """As `Task.tell`."""
        if not final:
            self.unit.outcomes[row] = outcome
            return
        for answer in self.unit.answer(outcome, [row]):
            self.say(answer)

    def died(self, outcome_of: OutcomeOf | None, *, alone: bool) -> Outcome | None:
        """As `Task.died`. Nothing tells which message of a call it was, so parts of the call find that out."""
        unit = self.unit
        self._give_back_kept()
        for row in unit.rows:
            if row.settlement is not None:
                unit.outcomes.setdefault(row, DONE)  # what the handler has said of it stands
        called, left = self._open()
        parts: list[Sequence[Delivery]] = []
        if outcome_of is None:
            parts = [called] if called else []
        elif alone and len(called) > 1:
            parts = self._divided(called)
        else:
            for row in called:
                self.tell(row, outcome_of(row), final=not unit.ordered)
        if left := self._startable(left):
            parts.append(left)
        unit.parts = parts
        return None if parts else DONE

    def _give_back_kept(self) -> None:
        """The worker that kept messages has ended: they are retried at once."""
        outcomes = self.unit.outcomes
        outcomes.update({row: Retry(0.0) for row, outcome in outcomes.items() if outcome is WITHHELD})

    def _open(self) -> tuple[Sequence[Delivery], Sequence[Delivery]]:
        """The messages of the call without an outcome, and those that had not been called."""
        unit, called = self.unit, set(self._called)
        left = [row for row in unit.rows if row not in unit.outcomes]
        return [row for row in left if row in called], [row for row in left if row not in called]

    def _divided(self, rows: Sequence[Delivery]) -> list[Sequence[Delivery]]:
        if self._singly:
            return [[row] for row in rows]
        middle = (len(rows) + 1) // 2
        return [rows[:middle], rows[middle:]]

    def _startable(self, rows: Sequence[Delivery]) -> Sequence[Delivery]:
        """Those that stand behind no message of their group that failed."""
        unit = self.unit
        if not unit.ordered:
            return rows
        failed = {_group(row) for row in unit.rows if row in unit.outcomes and not unit.is_good(row, DONE)}
        for row in rows:
            if _group(row) in failed:
                unit.outcomes[row] = NOT_STARTED
        return [row for row in rows if row not in unit.outcomes]

    def stopped(self) -> Outcome:
        """As `Task.stopped`."""
        self._give_back_kept()
        _, left = self._open()
        self.unit.outcomes.update(dict.fromkeys(left, NOT_STARTED))
        return ENDED

    def kept(self, outcome: Outcome) -> Sequence[int]:
        """As `Task.kept`."""
        outcomes = self.unit.outcomes
        return [number for number, row in self.rows.items() if outcomes.get(row, outcome) is WITHHELD]

    def __repr__(self) -> str:
        count = len(self._called)
        if count > 1:
            return f"{count} messages of a batch; they run again in parts, to find the one that did it"
        return _alone(self._called[0])


def _alone(row: Delivery) -> str:
    return f"message {row.received.message_id}; it is retried, or rejected after {MOST} deaths"


def _group(row: Delivery) -> str | None:
    return row.received.system.get("MessageGroupId")


class MessageTasks:
    """Makes tasks of messages.

    Attributes:
        feed: messages that wait in a worker, so that it need not wait for the engine between two.
        deaths: of workers, by message.
    """

    feed = 1

    def __init__(self, answers: Answers[Delivery]) -> None:
        self.deaths = Deaths()
        self._answers = answers

    def make(self, number: int, unit: Delivery) -> MessageTask:
        """The task of a message."""
        return MessageTask(number, unit, self._answers.post_one)


class BatchTasks:
    """Makes tasks of batches; as `MessageTasks`.

    Attributes:
        feed: none waits in a worker. It would double the memory, and stand behind a handler that holds the GIL.
    """

    feed = 0

    def __init__(self, *, singly: bool) -> None:
        self.deaths = Deaths()
        self._singly = singly

    def make(self, number: int, unit: Bundle) -> BatchTask:
        """The task of a batch, or of what is left of it. Messages that have killed a worker are called alone."""
        parts = self.deaths.apart(unit.parts or [unit.rows], ordered=unit.ordered)
        return BatchTask(number, unit, parts, singly=self._singly)
