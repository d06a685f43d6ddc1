"""The worker: takes messages that hold a slot, has them run, and carries out what their outcomes mean.

Owned by the runner. It promises that every way a message can end gives its slot back (L20), and that the first
settlement of a message wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.decisions import Decision
from leasekeeper.core.delivery import Action, Delivery, note
from leasekeeper.core.states import State
from leasekeeper.events import HandlersEnded, LeaseLost
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed, Freed, NotStarted, Retry, Settled, Unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.ordering import Ordering
    from leasekeeper.engine.settler import Settler
    from leasekeeper.events import Conclusion
    from leasekeeper.lanes.api import Lane
    from leasekeeper.outcomes import Outcome

TOO_LATE = Decision(Action.RELEASE)
"""A message that was withheld after its lease had ended: it is not kept (L6)."""
HELD_BACK = Decision(Action.NOTHING, counted="not_started")
"""A message that was not started, while our own polls are out: it is given back when they have ended."""
ENDS = {State.ACKED: Settled.ACKED, State.RELEASED: Settled.RELEASED, State.LOST: Settled.LOST}


class Worker:
    """Hands messages to the lane and takes its answers. What these mean is decided and done by its settler."""

    def __init__(
        self,
        context: QueueContext,
        settler: Settler,
        capacity: Capacity,
        lane: Lane[Delivery],
        ordering: Ordering,
        *,
        lane_closed: Callable[[], None],
    ) -> None:
        self._context = context
        self._settler = settler
        self._capacity = capacity
        self._lane = lane
        self._ordering = ordering
        self._lane_closed = lane_closed
        self._withheld: dict[Delivery, None] = {}
        self._given_up: set[str] = set()
        """Ids of messages that timed out in threads that still run them: at most one a thread."""
        self._stopped = False
        self._recalled = False
        """Whether nothing is started any more."""
        self._ended = False
        self._held_back: list[Delivery] | None = []
        """Messages that were not started and wait for the last poll to end; None after that."""

    @property
    def busy(self) -> float:
        """Seconds that handlers which have ended took, all together."""
        return self._settler.busy

    def take(self, fresh: Sequence[Delivery]) -> None:
        """Run deliveries that hold a slot each; after a stop, give them back (L23)."""
        if self._given_up and (again := [row for row in fresh if row.received.message_id in self._given_up]):
            self.answered([Answer(row, Retry()) for row in again])  # one run at a time in this process (L29)
            fresh = [row for row in fresh if row not in again]
        if self._recalled:
            self.answered([Answer(row, NOT_STARTED) for row in fresh])
        elif not self._ordering.submit(fresh):
            self._lane_closed()

    def stop(self) -> None:
        """Start nothing more, unless what is here should still run: what waits is given back when no poll is out."""
        self._stopped = True
        self._context.ledger.endings.stopping(self._context.clock())
        self._capacity.close()
        if self._context.options.on_unstarted == "release":
            self.recall()
        else:
            self._lane.stop_collecting()

    def recall(self) -> None:
        """Start nothing more: what waits, here or in the lane, is answered as not started."""
        self._recalled = True
        self._ordering.recall()

    def polls_ended(self) -> None:
        """No poll is out: give back what was held back. Earlier, our own poll would have received it again at once."""
        held_back, self._held_back = self._held_back or (), None
        ledger, now = self._context.ledger, self._context.clock()
        released: dict[Action, list[Delivery]] = {}
        for row in held_back:
            released.setdefault(ledger.release(row, 0.0, now, "not_started"), []).append(row)
        for action, rows in released.items():
            self._context.act(action, rows)

    def unstarted(self) -> list[Delivery]:
        """What was recalled and waits in the lane for its answer, last first: followers never get ahead of a head."""
        rows = [row for row in self._context.ledger if row.state is State.WAITING and not row.started]
        return [row for row in reversed(rows) if self._goes_back(row)]

    def _goes_back(self, row: Delivery) -> bool:  # noqa: ARG002 - a FIFO queue asks for the group
        """Whether a message that has not started was recalled."""
        return self._recalled

    # Answers

    def answered(self, answers: Sequence[Answer[Delivery]]) -> None:
        """Settle messages as the lane, or handlers through their messages, answered."""
        if self._ended:
            self._resolve_as_lost(answer.unit for answer in answers)
            return
        done: list[Delivery] = []
        others: list[Conclusion] = []
        freed = 0
        for answer in answers:
            # Nearly all go this way: the handler returned, and the message was not settled early. They go together.
            if answer.outcome is DONE and answer.final and answer.unit.settlement is None:
                done.append(answer.unit)
            else:
                freed += self._conclude(answer, others)
        self._conclude_all(done, others, freed)

    def _conclude_all(self, done: list[Delivery], others: Sequence[Conclusion], freed: int) -> None:
        """Have the messages of handlers that returned deleted, tell how all ended, and give back their slots."""
        if done or others:
            waited = self._settler.finish(done) if done else ()
            self._context.emit(HandlersEnded(self._context.queue, len(done), waited, others))
        if freed or done:
            self._capacity.give_back(freed + len(done))

    def _conclude(self, answer: Answer[Delivery], others: list[Conclusion]) -> int:
        """Settle one message; returns how many slots come free."""
        row, outcome, final = answer.unit, answer.outcome, answer.final
        if isinstance(outcome, Unclaimed):
            outcome = self._settler.judge(row, outcome, waiting=self._capacity.waiting)
        decision = self._settler.decide(row, outcome, final=final, kept=row in self._withheld)
        if decision.action is Action.KEEP:
            if row.state <= State.RUNNING:
                self._withheld[row] = None
                return 0
            decision = TOO_LATE
        if decision.action is Action.AGAIN:
            return self._run_again(row, outcome, decision, others)
        if isinstance(outcome, NotStarted | Unclaimed) and self._stopped and self._held_back is not None:
            self._held_back.append(row)
            decision = HELD_BACK
        conclusion = self._settler.carry_out(row, outcome, decision, final=final)
        if conclusion is not None:
            others.append(conclusion)
        if not final:
            return self._settled_early(row)
        if isinstance(outcome, Freed):
            self._thread_ended(row)
            return 1
        if not isinstance(outcome, Unclaimed):
            self._settler.measure([row])
        if isinstance(outcome, Failed) and outcome.still_running:
            self._runs_on(row)
        return int(decision.frees)

    def _run_again(self, row: Delivery, outcome: Outcome, decision: Decision, others: list[Conclusion]) -> int:
        """Plan another run, for which the message waits here; without a lease there is none."""
        self._withheld.pop(row, None)
        if not isinstance(outcome, Unclaimed):  # that took the time of a store, and not of a handler
            self._settler.measure([row])
        conclusion = self._settler.carry_out(row, outcome, decision, final=True)
        if conclusion is not None:
            others.append(conclusion)
        if row.state is not State.WAITING:
            return 1
        if self._recalled:
            return self._conclude(Answer(row, NOT_STARTED), others)
        self._ordering.again(row, decision.after)
        return 0

    def _settled_early(self, row: Delivery) -> int:
        """A handler settled its message early, or the message was withheld: its slot is free only in that case."""
        if row.settlement is not None and row.state in ENDS:
            row.settlement.resolve(ENDS[row.state])  # it was settled after its end
        return int(self._withheld.pop(row, 0) is None)

    def _runs_on(self, row: Delivery) -> None:
        """A thread runs on with this message, which goes back: its next delivery must not run beside it."""
        self._given_up.add(row.received.message_id)

    def _thread_ended(self, row: Delivery) -> None:
        self._given_up.discard(row.received.message_id)

    # What only a FIFO queue has

    def look(self) -> None:
        """Start what may start now: messages may have left the ledger. Nothing waits for that on a standard queue."""

    def copy_later(self, rows: Sequence[Delivery]) -> None:
        """Send the copies of these again later, while their groups wait. A standard queue releases such messages."""
        raise AssertionError(f"{rows!r}: only messages of a FIFO queue are copied later")

    # The lease and the end

    def lost(self, row: Delivery) -> None:
        """The lease of a running message is lost: its handler has been told, and is ended if that is wanted (L8)."""
        context = self._context
        context.emit(LeaseLost(context.queue, row.received.message_id))
        note([row], "lost", context.clock())
        if self._withheld.pop(row, 0) is None:  # no handler runs: the message is only being kept
            context.ledger.release(row, 0.0, context.clock())
            self._capacity.give_back(1)
        elif context.options.on_lease_lost == "cancel":
            self._lane.end(row)

    def release_withheld(self) -> None:
        """Give back the withheld messages: the stop's deadline has come."""
        withheld, self._withheld = list(self._withheld), {}
        self.answered([Answer(row, ENDED) for row in withheld])

    def end(self) -> None:
        """Settle nothing more: settlements that still wait are resolved as not made (L14)."""
        self._ended = True
        if self._context.outage is not None:
            self._context.outage.close()
        self._resolve_as_lost(self._context.ledger)

    @staticmethod
    def _resolve_as_lost(rows: Iterable[Delivery]) -> None:
        for row in rows:
            if row.settlement is not None:
                row.settlement.resolve(Settled.LOST)

    def __repr__(self) -> str:
        return f"<Worker {self._capacity.taken} slots taken, {len(self._withheld)} withheld, lane {self._lane!r}>"
