"""The worker: takes messages, hands them to the lane, and turns what the lane answers into settlements.

Owned by the runner. It promises that every way a message can go gives its place in the room back (L20), and that what
was said first of a message stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.core.backoff import Backoff
from leasekeeper.core.delivery import Action, Delivery
from leasekeeper.core.states import State
from leasekeeper.engine.capacity import Capacity
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.lanes.api import Answer
from leasekeeper.outcomes import (
    DONE,
    NOT_STARTED,
    Done,
    Ended,
    Failed,
    Freed,
    NotStarted,
    Reject,
    Retry,
    Settled,
    Withheld,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.dead_letters import DeadLetters
    from leasekeeper.engine.extender import Extender
    from leasekeeper.engine.harvester import Harvester
    from leasekeeper.lanes.api import Lane
    from leasekeeper.outcomes import Outcome

MEASURED = 63
"""How many of the messages that ended together are measured: medians are of so many."""


class Worker:
    """What becomes of messages that hold a place."""

    def __init__(
        self,
        context: QueueContext,
        throttler: Throttler,
        *,
        harvester: Harvester,
        extender: Extender,
        dead_letters: DeadLetters,
    ) -> None:
        self._context = context
        self._throttler = throttler
        self._harvester = harvester
        self._extender = extender
        self._dead_letters = dead_letters
        self._backoff = Backoff(base=context.options.retry_base, maximum=context.options.retry_maximum)
        self.capacity = Capacity(context, throttler)
        self.lane: Lane[Delivery] | None = None
        self.broken: Callable[[], None] = self.capacity.close
        """Called when the lane can run nothing any more."""
        self._withheld: dict[Delivery, None] = {}
        self._given_up: set[str] = set()
        """Ids of messages whose time ran out in threads that go on with them: at most one a thread."""
        self._stopped = False
        self._ended = False
        self._held: list[Delivery] | None = []
        """What was not started and waits for the last poll to end; None once that has happened."""

    def take(self, fresh: Sequence[Delivery]) -> None:
        """Hand deliveries, whose places are reserved, to the lane; after a stop, back they go (L23)."""
        assert self.lane is not None
        if self._given_up and (again := [row for row in fresh if row.received.message_id in self._given_up]):
            self.answered([Answer(row, Retry()) for row in again])  # not twice at once, not in one process (L29)
            fresh = [row for row in fresh if row not in again]
        if self._stopped and self._context.options.on_unstarted == "release":
            self.answered([Answer(row, NOT_STARTED) for row in fresh])
        elif not self.lane.submit(fresh):
            self.broken()

    def stop(self) -> None:
        """Start nothing any more, unless what is here is to be run: what waits is given back, once no poll is out."""
        self._stopped = True
        self.capacity.close()
        if self._context.options.on_unstarted == "release" and self.lane is not None:
            self.lane.recall()

    def polls_ended(self) -> None:
        """No poll is out any more: what was held back can be given back, and does not come straight to us again."""
        held, self._held = self._held, None
        for row in held or ():
            self._unfinished(row, NOT_STARTED)

    def answered(self, answers: Sequence[Answer[Delivery]]) -> None:
        """Settle what the lane, or handlers through their messages, have said."""
        if self._ended:
            self._disappoint(answer.unit for answer in answers)
            return
        done: list[Delivery] = []
        freed = 0
        for answer in answers:
            # The way nearly all go: a handler returned, and nothing was said of its message before. These go together.
            if answer.outcome is DONE and answer.final and answer.unit.settlement is None:
                done.append(answer.unit)
            else:
                freed += self._settle(answer)
        if done:
            freed += self._finish(done)
        if freed:
            self.capacity.give_back(freed)

    def _finish(self, rows: list[Delivery]) -> int:
        """Have the messages of handlers that returned deleted; the places that come free."""
        try:
            self._context.tally.done += len(rows)
            self._harvester.add(self._context.ledger.done(rows))
            self._measure(rows)
        except Exception:
            self._context.logger.exception(
                "%d finished messages: settling failed, they are settled one by one", len(rows)
            )
            for row in rows:
                self._finish_alone(row)
        return len(rows)

    def _finish_alone(self, row: Delivery) -> None:
        """Have one message deleted, whatever came in between when it was to be done together with others."""
        try:
            self._harvester.add(self._context.ledger.done([row]) or [row])
        except Exception:
            self._context.logger.exception("message %s: settling failed", row.received.message_id)

    def _settle(self, answer: Answer[Delivery]) -> int:
        try:
            return self._conclude(answer.unit, answer.outcome, final=answer.final)
        except Exception:
            self._context.logger.exception("message %s: settling failed", answer.unit.received.message_id)
            return self._salvage(answer)

    def _conclude(self, row: Delivery, outcome: Outcome, *, final: bool) -> int:
        """Settle one; the places that come free."""
        if isinstance(outcome, Done):
            self._context.tally.done += final  # an early ack is followed by the end of its handler
            # What was said early stands: a handler that asked for a retry and then returned has not finished its work.
            if row.settlement is None or not final:
                self._harvester.add(self._context.ledger.done([row]))
        elif isinstance(outcome, Withheld):
            if row.state <= State.RUNNING:
                self._withheld[row] = None
                return 0
            self._context.ledger.release(row, 0.0, self._context.clock())  # its lease is over: nobody keeps it (L6)
        elif not isinstance(outcome, Freed):
            self._unfinished(row, outcome)
        if not final:
            if row.settlement is not None and not row.settlement.done():
                self._resolve_ended(row)
            if row not in self._withheld:
                return 0
            del self._withheld[row]
            return 1
        if isinstance(outcome, Freed):
            self._given_up.discard(row.received.message_id)
            return 1
        self._measure([row])
        if isinstance(outcome, Failed) and outcome.still_running:
            self._given_up.add(row.received.message_id)
            return 0
        return 1

    def _salvage(self, answer: Answer[Delivery]) -> int:
        """Give back what could not be settled: kept, it would be invisible for twelve hours, and its place taken."""
        row, outcome, final = answer.unit, answer.outcome, answer.final
        after = self._backoff.ceiling(1)
        if final and self._context.ledger.release(row, after, self._context.clock()) is Action.RELEASE:
            self._extender.release(row)
        return int(final and not (isinstance(outcome, Failed) and outcome.still_running))

    def _unfinished(self, row: Delivery, outcome: Outcome) -> None:
        tally, now = self._context.tally, self._context.clock()
        if isinstance(outcome, Reject):
            self._reject(row, outcome)
            return
        after = 0.0
        if isinstance(outcome, Retry):
            tally.retried += 1
            after = self._delay(row) if outcome.after is None else outcome.after
        elif isinstance(outcome, Failed):
            tally.failed += 1
            tally.timed_out += isinstance(outcome.error, HandlerTimeout)
            after = self._delay(row)
            if not row.open:
                self._context.logger.warning(
                    "message %s was settled already when its handler failed",
                    row.received.message_id,
                    exc_info=outcome.error,
                )
                return
            self._context.logger.warning(
                "message %s failed at receive %s and is retried in %.1f s",
                row.received.message_id,
                row.received.receive_count,
                after,
                exc_info=outcome.error,
            )
        elif isinstance(outcome, NotStarted):
            if self._stopped and self._held is not None:
                self._held.append(row)
                return
            tally.not_started += 1
        elif isinstance(outcome, Ended):
            tally.ended += 1
        if self._context.ledger.release(row, after, now) is Action.RELEASE:
            self._extender.release(row)

    def _reject(self, row: Delivery, outcome: Reject) -> None:
        """L30: a copy to the dead-letter queue and a delete, or a long back-off; never silently deleted, never hot."""
        tally, context = self._context.tally, self._context
        tally.rejected += 1
        tally.undecodable += isinstance(outcome.__cause__, UndecodableBody)
        reason = " ".join(str(outcome.reason or "no reason given").split())
        if context.options.on_reject == "dead-letter" and self._dead_letters.available:
            context.logger.warning(
                "message %s is rejected and goes to the dead-letter queue: %s", row.received.message_id, reason
            )
            if context.ledger.reject(row) is Action.COPY:
                self._dead_letters.add(row)
            return
        after = context.options.retry_maximum
        context.logger.warning(
            "message %s is rejected and left to the queue's redrive policy, hidden for %.0f s: %s",
            row.received.message_id,
            after,
            reason,
        )
        if context.ledger.release(row, after, context.clock()) is Action.RELEASE:
            self._extender.release(row)

    def _delay(self, row: Delivery) -> float:
        return self._backoff.equal_jitter(row.received.receive_count, self._context.draw())

    def _measure(self, rows: list[Delivery]) -> None:
        """Note how long these took; of very many the last few will do, for a median looks at no more."""
        now = self._context.clock()
        recent = [row for row in rows[-MEASURED:] if row.started]
        if recent:
            self._context.tally.buffer_seconds.extend([row.started - row.received_at for row in recent])
            self._throttler.settled(
                now, in_hand=[now - row.received_at for row in recent], worked=[now - row.started for row in recent]
            )

    @staticmethod
    def _resolve_ended(row: Delivery) -> None:
        """Tell who settled a message early, but after its end, how it had ended."""
        ends = {State.ACKED: Settled.ACKED, State.RELEASED: Settled.RELEASED, State.LOST: Settled.LOST}
        if row.settlement is not None and row.state in ends:
            row.settlement.resolve(ends[row.state])

    # The lease

    def lost(self, row: Delivery) -> None:
        """The lease of a message at work is lost: its handler has been told, and is ended if that is wanted (L8)."""
        self._context.logger.warning(
            "message %s: its lease ended while its handler was at work; somebody else may run it too",
            row.received.message_id,
        )
        if row in self._withheld:  # nobody is at work on it: it is only being kept
            del self._withheld[row]
            self._context.ledger.release(row, 0.0, self._context.clock())
            self.capacity.give_back(1)
        elif self._context.options.on_lease_lost == "cancel" and self.lane is not None:
            self.lane.end(row)

    def end(self) -> None:
        """Settle nothing any more: whoever waits for a settlement hears that it was not made (L14)."""
        self._ended = True
        self._disappoint(self._context.ledger)

    @staticmethod
    def _disappoint(rows: Iterable[Delivery]) -> None:
        for row in rows:
            if row.settlement is not None:
                row.settlement.resolve(Settled.LOST)

    def release_withheld(self) -> None:
        """Give back what is being kept: the stop's deadline has come."""
        for row in list(self._withheld):
            del self._withheld[row]
            self._unfinished(row, Ended())
            self.capacity.give_back(1)

    def __repr__(self) -> str:
        return f"<Worker {self.capacity.taken} places taken, {len(self._withheld)} withheld, lane {self.lane!r}>"
