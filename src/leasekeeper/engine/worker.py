"""The worker: takes messages that hold a slot, has them run, and carries out what their outcomes mean.

Owned by the runner. It promises that every way a message can end gives its slot back (L20), and that the first
settlement of a message wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.decisions import decide
from leasekeeper.core.delivery import Action, Delivery
from leasekeeper.core.states import State
from leasekeeper.events import Conclusion, HandlersEnded, InternalError, LeaseLost
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import DONE, ENDED, NOT_STARTED, Failed, Freed, NotStarted, Reject, Retry, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.core.decisions import Decision, OutcomePolicy
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.ordering import Ordering
    from leasekeeper.lanes.api import Lane
    from leasekeeper.outcomes import Outcome

MEASURED = 63
"""How many of the messages that ended together are measured: medians are of this many."""
ENDS = {State.ACKED: Settled.ACKED, State.RELEASED: Settled.RELEASED, State.LOST: Settled.LOST}


class Worker:
    """Decides nothing and settles nothing itself: `core.decisions` decides, `context.act` has it done."""

    def __init__(
        self,
        context: QueueContext,
        throttler: Throttler,
        capacity: Capacity,
        lane: Lane[Delivery],
        ordering: Ordering,
        *,
        handler: str,
        policy: OutcomePolicy,
        lane_closed: Callable[[], None],
    ) -> None:
        self._context = context
        self._throttler = throttler
        self._capacity = capacity
        self._lane = lane
        self._ordering = ordering
        self._handler = handler
        self._policy = policy
        self._lane_closed = lane_closed
        self._withheld: dict[Delivery, None] = {}
        self._given_up: set[str] = set()
        """Ids of messages that timed out in threads that still run them: at most one a thread."""
        self._stopped = False
        self._ended = False
        self._held_back: list[Delivery] | None = []
        """Messages that were not started and wait for the last poll to end; None after that."""

    def take(self, fresh: Sequence[Delivery]) -> None:
        """Run deliveries that hold a slot each; after a stop, give them back (L23)."""
        if self._given_up and (again := [row for row in fresh if row.received.message_id in self._given_up]):
            self.answered([Answer(row, Retry()) for row in again])  # one run at a time in this process (L29)
            fresh = [row for row in fresh if row not in again]
        if self._stopped and self._context.options.on_unstarted == "release":
            self.answered([Answer(row, NOT_STARTED) for row in fresh])
        elif not self._ordering.submit(fresh):
            self._lane_closed()

    def stop(self) -> None:
        """Start nothing more, unless what is here should still run: what waits is given back when no poll is out."""
        self._stopped = True
        self._capacity.close()
        if self._context.options.on_unstarted == "release":
            self._ordering.recall()

    def polls_ended(self) -> None:
        """No poll is out: give back what was held back. Earlier, our own poll would have received it again at once."""
        held_back, self._held_back = self._held_back or (), None
        ledger, now = self._context.ledger, self._context.clock()
        released: dict[Action, list[Delivery]] = {}
        for row in held_back:
            released.setdefault(ledger.release(row, 0.0, now), []).append(row)
        for action, rows in released.items():
            self._context.act(action, rows)

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
        if done or others:
            waited = self._finish(done) if done else ()
            self._context.emit(HandlersEnded(self._context.queue, len(done), waited, others))
        if freed or done:
            self._capacity.give_back(freed + len(done))

    def _finish(self, rows: list[Delivery]) -> Sequence[float]:
        """Have the messages of handlers that returned deleted; returns how long some of them had waited."""
        context = self._context
        try:
            context.act(Action.DELETE, context.ledger.done(rows))
            return self._measure(rows)
        except Exception as error:
            context.emit(InternalError(context.queue, f"settling {len(rows)} finished messages together", error))
            for row in rows:
                self._finish_alone(row)
            return ()

    def _finish_alone(self, row: Delivery) -> None:
        """Have one message deleted, whatever went wrong when it was to be deleted together with others."""
        context = self._context
        try:
            context.act(Action.DELETE, context.ledger.done([row]) or [row])
        except Exception as error:
            context.emit(InternalError(context.queue, f"settling message {row.received.message_id}", error))

    def _conclude(self, answer: Answer[Delivery], others: list[Conclusion]) -> int:
        """Carry out what one answer means; returns how many slots come free."""
        row, outcome, context = answer.unit, answer.outcome, self._context
        attempt = row.received.receive_count
        decision = decide(outcome, final=answer.final, attempt=attempt, policy=self._policy, draw=context.draw())
        settled = not row.open
        try:
            freed = self._carry_out(row, outcome, decision, final=answer.final)
        except Exception as error:
            context.emit(InternalError(context.queue, f"settling message {row.received.message_id}", error))
            freed = self._release_unsettleable(row, decision, final=answer.final)
        if decision.counted:
            others.append(
                Conclusion(
                    row.received,
                    self._handler,
                    outcome,
                    decision.counted,
                    after=decision.after if decision.action is Action.RELEASE else None,
                    copied=decision.action is Action.COPY,
                    last=attempt >= (context.source.max_receives or attempt + 1),
                    settled=settled,
                )
            )
        return freed

    def _carry_out(self, row: Delivery, outcome: Outcome, decision: Decision, *, final: bool) -> int:
        context, action = self._context, decision.action
        now = context.clock()
        if action is Action.DELETE:
            # A handler that asked for a retry and then returned has not finished its work: the early word wins.
            if row.settlement is None or not final:
                context.act(action, context.ledger.done([row]))
        elif action is Action.COPY:
            row.reason = outcome.reason if isinstance(outcome, Reject) else ""
            context.act(context.ledger.reject(row), [row])
        elif action is Action.KEEP and row.state <= State.RUNNING:
            self._withheld[row] = None
            return 0
        elif isinstance(outcome, NotStarted) and self._stopped and self._held_back is not None:
            self._held_back.append(row)
        elif action is not Action.NOTHING:  # also a message withheld after its lease had ended: it is not kept (L6)
            context.act(context.ledger.release(row, decision.after, now), [row])
        if not final:
            return self._settled_early(row)
        if isinstance(outcome, Freed):
            self._given_up.discard(row.received.message_id)
            return 1
        self._measure([row])
        if isinstance(outcome, Failed) and outcome.still_running:
            self._given_up.add(row.received.message_id)
            return 0
        return 1

    def _settled_early(self, row: Delivery) -> int:
        """A handler settled its message early, or the message was withheld: its slot is free only in that case."""
        if row.settlement is not None and row.state in ENDS:
            row.settlement.resolve(ENDS[row.state])  # it was settled after its end
        return int(self._withheld.pop(row, 0) is None)

    def _release_unsettleable(self, row: Delivery, decision: Decision, *, final: bool) -> int:
        """Give back what could not be settled: kept, it would be hidden for twelve hours, and its slot taken."""
        after = self._policy.backoff.ceiling(1)
        if final:
            self._context.act(self._context.ledger.release(row, after, self._context.clock()), [row])
        return int(final and decision.frees)

    def _measure(self, rows: list[Delivery]) -> Sequence[float]:
        """Tell the throttler how long these took; of very many the last few are enough for a median."""
        now = self._context.clock()
        recent = [row for row in rows[-MEASURED:] if row.started]
        if recent:
            self._throttler.settled(
                now, in_hand=[now - row.received_at for row in recent], worked=[now - row.started for row in recent]
            )
        return [row.started - row.received_at for row in recent]

    # The lease and the end

    def lost(self, row: Delivery) -> None:
        """The lease of a running message is lost: its handler has been told, and is ended if that is wanted (L8)."""
        context = self._context
        context.emit(LeaseLost(context.queue, row.received.message_id))
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
        self._resolve_as_lost(self._context.ledger)

    @staticmethod
    def _resolve_as_lost(rows: Iterable[Delivery]) -> None:
        for row in rows:
            if row.settlement is not None:
                row.settlement.resolve(Settled.LOST)

    def __repr__(self) -> str:
        return f"<Worker {self._capacity.taken} slots taken, {len(self._withheld)} withheld, lane {self._lane!r}>"
