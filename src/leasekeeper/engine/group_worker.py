"""The worker of a FIFO queue: it tells the order which handlers have ended, so that what follows them may start.

Owned by the runner.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from leasekeeper.core.decisions import Decision
from leasekeeper.core.delivery import Action
from leasekeeper.core.group import GroupedDelivery
from leasekeeper.core.states import State
from leasekeeper.engine.worker import Worker
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import DONE, NOT_STARTED, Done, Failed, Freed, NotStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.grouped import Grouped
    from leasekeeper.engine.settler import Settler
    from leasekeeper.events import Conclusion
    from leasekeeper.lanes.api import Lane
    from leasekeeper.outcomes import Outcome

TIMED_OUT = Decision(Action.NOTHING, frees=False, counted="timed_out")
"""A thread that runs on after its time-out with a message that it has acked: the delete waits for its end."""
DELETE_NOW = Decision(Action.DELETE)
"""Its end: it is counted already."""


class GroupWorker(Worker):
    """Hands messages to the lane, one of each group at a time, and takes its answers."""

    def __init__(
        self,
        context: QueueContext,
        settler: Settler,
        capacity: Capacity,
        lane: Lane[Delivery],
        ordering: Grouped,
        *,
        lane_closed: Callable[[], None],
    ) -> None:
        super().__init__(context, settler, capacity, lane, ordering, lane_closed=lane_closed)
        self._grouped = ordering
        self._batches = context.options.batch is not None
        self._threads: dict[Delivery, bool] = {}
        """Messages that timed out in threads that still run them, and whether their slots come free with these."""

    def take(self, fresh: Sequence[Delivery]) -> None:
        """Run deliveries that hold a slot each, when their turn comes; after a stop, give them back (L23)."""
        self._grouped.submit(fresh)

    def stop(self) -> None:
        """Start nothing more, unless what is here should still run, or would not get another delivery."""
        self._stopped = True
        self._capacity.close()
        if self._context.options.on_unstarted == "release":
            self._grouped.stop()
        else:
            self._lane.stop_collecting()

    def _goes_back(self, row: Delivery) -> bool:
        """As for any queue; a message goes on that would not get another delivery, or that a thread still has."""
        return isinstance(row, GroupedDelivery) and row.in_line and self._grouped.gives_back(row)

    def answered(self, answers: Sequence[Answer[Delivery]]) -> None:
        """Settle messages whose handlers have ended; what a handler said of its message before counts then."""
        if self._ended:
            super().answered(answers)
            return
        if self._batches:
            self._answered_one_by_one(self._grouped.in_order(answers))
            return
        ended: list[Delivery] = []
        for answer in answers:
            if answer.outcome is not DONE or not answer.final or answer.unit.settlement is not None:
                self._answered_one_by_one(answers)
                return
            ended.append(answer.unit)
        # Nearly always: all have returned.
        self._conclude_all(ended, [], 0)
        self._grouped.ended(ended)

    def _answered_one_by_one(self, answers: Sequence[Answer[Delivery]]) -> None:
        withheld, grouped = self._withheld, self._grouped
        counting: list[Answer[Delivery]] = []
        others: list[Answer[Delivery]] = []
        ended: list[Delivery] = []
        for answer in answers:
            row = answer.unit
            if answer.final and (answer.outcome is not DONE or row.settlement is not None):
                grouped.take_back(row)
            if answer.outcome is DONE and answer.final:
                ended.append(row)
            elif not answer.final and row not in withheld:
                continue  # it waits for the end of the handler
            elif isinstance(answer.outcome, NotStarted) and grouped.goes_on(row):
                ended.append(row)
                continue
            else:
                others.append(answer)
            counting.append(answer)
        # Those that returned are deleted together, and before what follows them is: deletes go in order (L28).
        for _, alike in groupby(counting, key=_returned):
            super().answered(list(alike))
        for answer in others:
            row, outcome = answer.unit, answer.outcome
            if isinstance(outcome, Failed) and outcome.still_running:
                grouped.watch(row)
            elif row not in withheld and row not in self._threads:
                ended.append(row)
        grouped.ended(ended)

    def _conclude(self, answer: Answer[Delivery], others: list[Conclusion]) -> int:
        """Settle one message; returns how many slots come free.

        A thread that runs on keeps the slot until it ends, unless its message is tried again here: then that keeps it.
        """
        row, outcome, threads = answer.unit, answer.outcome, self._threads
        if _goes_on_acked(row, outcome):
            # Deleted now, it could unlock its group: another process would run the next message beside this thread.
            threads[row] = True
            if conclusion := self._settler.carry_out(row, outcome, TIMED_OUT, final=True):
                others.append(conclusion)
            return 0
        freed = super()._conclude(answer, others)
        if isinstance(outcome, Freed):
            freed = int(threads.pop(row, False))
            if row.open and row.settlement is not None:  # it was acked before its time-out
                row.settlement.deferred = False
                self._settler.carry_out(row, DONE, DELETE_NOW, final=True)
            if row.state is State.WAITING and self._grouped.refuses(row):
                return super()._conclude(Answer(row, NOT_STARTED), others)
        elif isinstance(outcome, Failed) and outcome.still_running:
            threads[row] = bool(freed) or row.state is not State.WAITING
        elif freed and row in threads:
            threads[row] = True
        return 0 if row in threads else freed

    def _runs_on(self, row: Delivery) -> None:
        """Its group waits here for the thread, so no other delivery of it can start: `_threads` is enough."""

    def _thread_ended(self, row: Delivery) -> None:
        """As `_runs_on`."""

    def look(self) -> None:
        """Start what may start now: messages have left the ledger, or were copied."""
        self._grouped.look()

    def copy_later(self, rows: Sequence[Delivery]) -> None:
        """Send the copies of these again later, while their groups wait."""
        self._grouped.copy_later(rows)

    def end(self) -> None:
        """As for any queue; nothing waits here any more."""
        super().end()
        self._grouped.close()

    def lost(self, row: Delivery) -> None:
        """The lease of a running message is lost: nothing of its group starts before its handler has ended."""
        kept = row in self._withheld
        super().lost(row)
        if kept:
            self._grouped.ended([row])
        else:
            self._grouped.watch(row)


def _goes_on_acked(row: Delivery, outcome: Outcome) -> bool:
    """Whether its thread runs on after its time-out, although the handler acked the message before."""
    in_thread = isinstance(outcome, Failed) and outcome.still_running
    return in_thread and row.open and row.settlement is not None and isinstance(row.settlement.asked, Done)


def _returned(answer: Answer[Delivery]) -> bool:
    """Whether the handler returned, and had not settled the message before."""
    return answer.outcome is DONE and answer.final and answer.unit.settlement is None
