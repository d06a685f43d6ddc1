"""The ledger against a naive model: receives, answers, heartbeats, errors and the passing of time, in any order.

The model keeps a plain record for each delivery and is told what the ledger was told; what it cannot know exactly
(which leases share a beat) it bounds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from leasekeeper.core.delivery import Action, Delivery, LeasePolicy
from leasekeeper.core.leases import LIFETIME
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict
from leasekeeper.message import Received
from leasekeeper.outcomes import Settled, Settlement

if TYPE_CHECKING:
    from collections.abc import Iterator

VISIBILITY, BEAT_AFTER, REMEMBER = 30.0, 15.0, 3
EXTENDED = {State.WAITING, State.RUNNING, State.REJECTING, State.ACKING}
AT_WORK = {State.WAITING, State.RUNNING, State.LEASE_LOST}
ENDS = {State.ACKED: Settled.ACKED, State.RELEASED: Settled.RELEASED, State.LOST: Settled.LOST}
PASSING = st.sampled_from([Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.DENIED, Verdict.MISSING, Verdict.REFUSED])


@dataclass(eq=False)
class Row:
    """What the model knows of one delivery."""

    delivery: Delivery
    id: str
    receipt: str
    requested_at: float
    deadline: float
    beat_by: float
    """No later than this it is to be beaten, unless it is extending or cannot be."""
    state: State = State.WAITING
    extending: bool = False
    given: float = VISIBILITY
    """Seconds that its lease was given, which an extension asks for again."""
    leased: bool = True
    """Whether it is in a lease: LAPSED rows and acks whose lease has ended are not."""
    on_wire: bool = False
    lost: bool = False
    owed: set[Action] = field(default_factory=set)
    """What the ledger has handed out for it and SQS has not answered."""
    settled: Settled | None = None

    @property
    def left(self) -> float:
        """Seconds that extensions can reach, from time zero."""
        return self.requested_at + LIFETIME - 1.0


@dataclass(eq=False)
class Call:
    """An extension on its way: what was sent, and when."""

    row: Row
    receipt: str
    seconds: int
    sent: float


class LedgerMachine(RuleBasedStateMachine):
    """Six message ids, so that redeliveries are common."""

    deletes = Bundle("deletes")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.told: list[Delivery] = []
        self.expected_told: list[Delivery] = []
        self.ledger = Ledger(
            LeasePolicy(visibility=VISIBILITY, extend_after=BEAT_AFTER, remember=REMEMBER),
            on_lease_lost=self.told.append,
        )
        self.held: dict[str, Row] = {}
        self.ended: list[Row] = []
        self.rows: dict[Delivery, Row] = {}
        self.young: set[str] = set()
        self.old: set[str] = set()
        self.receipts = 0
        self.counts = dict.fromkeys(
            ("received", "duplicates", "known_duplicates", "acked", "late", "released", "lost", "unsettled"), 0
        )

    # The model

    def end(self, row: Row, state: State, counted: str | None = None, settled: Settled | None = None) -> None:
        assert row.settled is None, "a delivery ends once"
        row.state, row.settled, row.leased = state, settled or ENDS[state], False
        row.owed.clear()
        if counted:
            self.counts[counted] += 1
        if self.held.get(row.id) is row:
            del self.held[row.id]
        self.ended.append(row)

    def lose(self, row: Row) -> None:
        row.lost, row.leased = True, False
        if row.state is State.RUNNING:
            self.expected_told.append(row.delivery)
        if row.state is State.RELEASING:
            self.end(row, State.RELEASED, "released")
        elif row.state is State.RUNNING:
            self.counts["lost"] += 1
            row.state = State.LEASE_LOST
        elif row.state in (State.WAITING, State.REJECTING):
            self.end(row, State.LOST, "lost")

    def remember(self, rows: list[Row]) -> None:
        self.young |= {row.id for row in rows}
        if len(self.young) >= REMEMBER:
            self.young, self.old = set(), self.young

    @property
    def finished(self) -> set[str]:
        return self.young | self.old

    def started(self, row: Row) -> None:
        if row.state is State.WAITING and row.delivery.started:
            row.state = State.RUNNING

    def wanting(self) -> Iterator[Row]:
        """Those to extend when they are due."""
        for row in self.held.values():
            if row.leased and row.state in EXTENDED and not row.extending and not row.delivery.capped:
                yield row

    # What comes in

    @rule(
        ids=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5),
        latency=st.sampled_from([0.0, 0.5]),
        age=st.sampled_from([0.0, 0.0, LIFETIME - 100, LIFETIME - 40]),
        visibility=st.sampled_from([None, None, 60, 1]),
    )
    def receive(self, ids: list[str], latency: float, age: float, visibility: float | None) -> None:
        """`age` pretends that the receive was requested_at for long ago, to bring the twelve hours near."""
        requested_at = self.now - latency - age
        batch = []
        for each in ids:
            self.receipts += 1
            batch.append(Received(message_id=each, receipt=f"{each}{self.receipts}"))
        fresh, finished = self.ledger.receive(batch, requested_at=requested_at, now=self.now, visibility=visibility)
        seconds = visibility or VISIBILITY
        brought = {row.received.message_id: row for row in (*fresh, *finished)}
        self.counts["received"] += len(ids)
        for received in batch:
            deadline = self.now + seconds - min(1.0, seconds / 5)
            beat_by = self.now + BEAT_AFTER * (seconds / VISIBILITY)
            row = self.held.get(received.message_id)
            if row is not None:
                self.started(row)
                if row.state is not State.RELEASING:
                    assert received.message_id not in brought, "L29: what is held is not run twice"
                    self.counts["duplicates"] += 1
                    row.state = State.RUNNING if row.state is State.LEASE_LOST else row.state
                    row.receipt, row.requested_at, row.deadline, row.beat_by = (
                        received.receipt,
                        requested_at,
                        deadline,
                        beat_by,
                    )
                    row.leased, row.given = True, seconds
                    continue
                self.end(row, State.RELEASED, "released")
            delivery = brought.pop(received.message_id)
            row = Row(delivery, received.message_id, received.receipt, requested_at, deadline, beat_by)
            row.given = seconds
            delivery.settlement = Settlement()
            self.held[row.id] = self.rows[delivery] = row
            if row.id in self.finished:
                assert delivery in finished, "L8: finished work is known_duplicates"
                self.counts["known_duplicates"] += 1
                row.state, row.owed = State.ACKING, {Action.DELETE}
            else:
                assert delivery in fresh
        assert not brought

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 7.0, 15.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # What lanes say

    def some(self, data: st.DataObject, *, held: bool = False) -> Row | None:
        """A delivery: any that has ever been, so that answers come late and twice, but mostly one that is held."""
        rows = list(self.held.values())
        if not held:
            rows += self.ended[-2:]
        return data.draw(st.sampled_from(rows)) if rows else None

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        row = self.some(data)
        if row is not None:
            row.delivery.started = row.delivery.started or self.now

    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        every = [*self.held.values(), *self.ended]
        if not every:
            return
        rows = data.draw(st.lists(st.sampled_from(every), max_size=4, unique_by=id))
        working = [row for row in rows if row.state in AT_WORK]
        assert self.ledger.done([row.delivery for row in rows]) == [row.delivery for row in working]
        self.remember([row for row in rows if row in working or row.state in (State.ACKING, State.LOST)])
        for row in working:
            row.state, row.owed = State.ACKING, {Action.DELETE}

    @rule(data=st.data(), after=st.sampled_from([0.0, 60.0, 50_000.0]))
    def release(self, data: st.DataObject, after: float) -> None:
        row = self.some(data)
        if row is None:
            return
        self.started(row)
        step = self.ledger.release(row.delivery, after, self.now)
        if row.state not in AT_WORK:
            assert step is Action.NOTHING
            return
        if self.now >= row.deadline and row.state is not State.LEASE_LOST:
            self.lose(row)
        if row.state is State.LEASE_LOST:
            self.end(row, State.LOST)
        if row.state is State.LOST:
            assert step is Action.NOTHING, "L8: nothing is sent with a receipt whose lease is over"
            return
        row.state = State.RELEASING
        self.gives_back(row, step, after)

    def gives_back(self, row: Row, step: Action, after: float) -> None:
        assert row.delivery.visible_at == self.now + max(0.0, min(after, row.left - self.now)), "L10"
        assert step is (Action.RELEASE_IN_TIME if row.extending else Action.RELEASE), "L5: one writer a receipt"
        row.owed = set() if row.extending else {Action.RELEASE}

    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        row = self.some(data)
        if row is None:
            return
        self.started(row)
        attempt = row.delivery.attempt
        step = self.ledger.again(row.delivery, self.now)
        if row.state not in (State.RUNNING, State.LEASE_LOST):
            assert step is Action.NOTHING
            return
        if self.now >= row.deadline and row.state is State.RUNNING:
            self.lose(row)
        if row.state is State.LEASE_LOST:
            self.end(row, State.LOST)
            assert step is Action.NOTHING, "L8: nothing runs again without a lease"
            return
        row.state, row.lost = State.WAITING, False
        assert step is Action.AGAIN
        assert (row.delivery.started, row.delivery.attempt) == (0.0, attempt + 1)

    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        row = self.some(data)
        if row is None or (row.state is State.WAITING and not row.delivery.started):
            return
        self.started(row)
        step = self.ledger.reject(row.delivery)
        if row.state is State.RUNNING:
            row.state, row.owed = State.REJECTING, {Action.COPY}
            assert step is Action.COPY
        else:
            if row.state is State.LEASE_LOST:
                self.end(row, State.LOST)
            assert step is Action.NOTHING

    # What SQS answers to settlements

    @rule(data=st.data())
    def copied(self, data: st.DataObject) -> None:
        rows = [row for row in self.held.values() if Action.COPY in row.owed]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        self.remember([row])
        assert self.ledger.copied(row.delivery) is Action.DELETE
        row.state, row.owed = State.ACKING, {Action.DELETE}

    @rule(data=st.data(), after=st.sampled_from([0.0, 900.0]))
    def copy_refused(self, data: st.DataObject, after: float) -> None:
        rows = [row for row in self.held.values() if Action.COPY in row.owed]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        row.state = State.RELEASING
        self.gives_back(row, self.ledger.copy_refused(row.delivery, after, self.now), after)

    @rule(target=deletes)
    def send_deletes(self) -> object:
        sent = [(row, row.receipt) for row in self.held.values() if Action.DELETE in row.owed]
        for row, _ in sent:
            row.owed.discard(Action.DELETE)
        return multiple(*sent)

    @rule(delete=consumes(deletes))
    def deleted(self, delete: tuple[Row, str]) -> None:
        row, receipt = delete
        again = self.ledger.deleted([(row.delivery, receipt)], self.now)
        if row.state is not State.ACKING:
            assert again == []
        elif row.receipt != receipt:
            assert again == [row.delivery], "L29: the older receipt cannot delete"
            row.owed = {Action.DELETE}
        elif self.now > row.deadline or not row.leased:
            self.end(row, State.ACKED, "late", Settled.LATE)
        else:
            self.end(row, State.ACKED, "acked")

    @rule(delete=consumes(deletes))
    def delete_refused(self, delete: tuple[Row, str]) -> None:
        row, receipt = delete
        step = self.ledger.delete_refused(row.delivery, receipt)
        if row.state is State.ACKING and row.receipt != receipt:
            assert step is Action.DELETE, "L29: the newer receipt may still delete"
            row.owed = {Action.DELETE}
            return
        assert step is Action.NOTHING
        if row.state is State.ACKING:
            self.end(row, State.LOST, "unsettled")

    @rule(data=st.data(), refused=st.booleans())
    def released(self, data: st.DataObject, *, refused: bool) -> None:
        rows = [row for row in self.held.values() if Action.RELEASE in row.owed]
        if not rows:
            return
        row = data.draw(st.sampled_from(rows))
        self.ledger.released(row.delivery, refused=refused)
        self.end(row, State.LOST if refused else State.RELEASED, "lost" if refused else "released")

    # The heartbeat

    @rule()
    def tick(self) -> None:
        for row in self.held.values():
            self.started(row)
        wanting = set(self.wanting())
        before = {row: row.deadline - self.now for row in wanting}
        due = self.ledger.leases.tick(self.now)
        for row in list(self.held.values()):
            if row.leased and row.deadline <= self.now:
                self.lose(row)
        assert len(set(due)) == len(due)
        named = {self.rows[each] for each in due}
        assert named <= wanting, "only what is held, not extending and not capped is named"
        assert not any(row.deadline <= self.now for row in named)
        for row in named:
            row.extending = True
        for row in self.wanting():
            assert row.beat_by > self.now, "no beat is forgotten"
            if len(due) % 10:
                assert row.beat_by > self.now + BEAT_AFTER / 2, "a batch is filled up with those due soonest after"
        for row in wanting - named:
            if row.delivery.capped:
                assert row.left - self.now < before[row] + 1.0, "L10: capped only when an extension gains nothing"

    @precondition(lambda self: any(row.extending for row in self.rows.values()))
    @rule(target=calls, data=st.data())
    def send_extension(self, data: st.DataObject) -> object:
        """As the extender does: what has become pointless is told at once, the rest goes out."""
        rows = [row for row in self.rows.values() if row.extending and not row.on_wire]
        if not rows:
            return multiple()
        row = data.draw(st.sampled_from(rows))
        seconds = self.ledger.leases.seconds_for(row.delivery, self.now)
        self.started(row)
        assert 0 <= seconds <= row.given, "an extension asks for what the lease was given, and does not shorten it"
        assert seconds == row.given or row.left - self.now < row.given or row.state not in EXTENDED
        if row.state not in EXTENDED:
            assert not seconds, "L6: nothing that is on its way out is extended"
        if seconds:
            assert self.now + seconds <= row.requested_at + LIFETIME, "L10"
            row.on_wire = True
            return Call(row, row.receipt, seconds, self.now)
        self.fails(row, None, row.receipt)
        return multiple()

    @rule(call=consumes(calls))
    def extended(self, call: Call) -> None:
        row = call.row
        waiting = self.ledger.leases.extended([(row.delivery, call.receipt, call.seconds)], call.sent)
        row.extending = row.on_wire = False
        self.started(row)
        if row.state is State.RELEASING:
            assert waiting == [row.delivery], "L5: now it may be released"
            row.owed = {Action.RELEASE}
            return
        assert not waiting
        if row.state in EXTENDED and row.receipt == call.receipt:
            row.deadline, row.leased, row.given = call.sent + call.seconds, True, call.seconds
            row.beat_by = call.sent + BEAT_AFTER * (call.seconds / VISIBILITY)
        else:
            self.beats_again(row)

    @rule(call=consumes(calls), verdict=PASSING)
    def extension_fails_for_a_while(self, call: Call, verdict: Verdict) -> None:
        self.fails(call.row, verdict, call.receipt)

    @rule(call=consumes(calls), verdict=st.sampled_from([Verdict.LEASE_LOST, Verdict.LEASE_CAPPED]))
    def extension_fails_for_good(self, call: Call, verdict: Verdict) -> None:
        self.fails(call.row, verdict, call.receipt)

    def fails(self, row: Row, verdict: Verdict | None, receipt: str) -> None:
        step = self.ledger.leases.extension_failed(row.delivery, verdict, self.now, receipt)
        row.extending = row.on_wire = False
        if row.state is State.RELEASING:
            assert step is Action.RELEASE, "L5: now it may be released"
            row.owed = {Action.RELEASE}
            return
        assert step is Action.NOTHING
        self.started(row)
        known = row.receipt == receipt and row.state in EXTENDED - {State.ACKING}
        if known and verdict is Verdict.LEASE_LOST:
            self.lose(row)
        elif known and (verdict is Verdict.LEASE_CAPPED or verdict is None):
            assert row.delivery.capped
        else:
            self.beats_again(row)

    def beats_again(self, row: Row) -> None:
        """L7: another beat follows, well before the deadline."""
        if row.leased:
            soon = self.now + min(max((row.deadline - self.now) / 4, 0.2), 5.0, max(row.deadline - self.now, 0.0))
            row.beat_by = max(row.beat_by, soon)

    # What holds at all times

    @invariant()
    def states_agree(self) -> None:
        for row in self.rows.values():
            state = row.delivery.state
            if state is State.WAITING and row.delivery.started:
                state = State.RUNNING
            self.started(row)
            assert state is row.state, row
            assert bool(row.delivery.extending) is row.extending
            assert row.delivery.lost is row.lost
            if row.settled is None:
                assert row.delivery.receipt == row.receipt

    @invariant()
    def what_is_held_is_what_has_not_ended(self) -> None:
        assert len(self.ledger) == len(self.held)
        assert set(self.ledger) == {row.delivery for row in self.held.values()}

    @invariant()
    def every_end_is_told_once(self) -> None:
        for row in self.rows.values():
            settlement = row.delivery.settlement
            assert settlement is not None
            assert settlement.done() is (row.settled is not None)
            if row.settled is not None:
                assert settlement.result(0) is row.settled
        assert Counter(self.told) == Counter(self.expected_told), "L8: each loss at work is told once"

    @invariant()
    def everything_is_in_somebodys_hands(self) -> None:
        """Liveness: a lane will answer for it, SQS will, or a lease will end; and no lease is forgotten."""
        due = self.ledger.leases.next_due()
        for row in self.held.values():
            if row.leased:
                assert due <= row.deadline, "its end is noticed in time"
            if row.state is State.RELEASING:
                assert row.extending is (Action.RELEASE not in row.owed)
        for row in self.wanting():
            assert due <= row.beat_by, "its beat comes in time"

    @invariant()
    def every_row_is_in_one_place(self) -> None:
        leases = {
            id(lease): lease
            for heap in (self.ledger.leases._extensions, self.ledger.leases._ends)
            for _, _, lease in heap
        }
        members = [row for lease in leases.values() for row in lease.members]
        assert len(members) == len(set(members))
        assert set(members) == {row.delivery for row in self.held.values() if row.leased}
        assert all(row in row.lease.members for row in members)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert (self.ledger._finished.young, self.ledger._finished.old) == (self.young, self.old)
        assert len(self.young) < REMEMBER
        for heap in (self.ledger.leases._extensions, self.ledger.leases._ends):
            assert len(heap) <= 2 * len(self.ledger) + 200

    @invariant()
    def counts_add_up(self) -> None:
        now = self.ledger.statistics()
        assert {name: getattr(now, name) for name in self.counts} == self.counts
        assert now.received == now.duplicates + len(self.rows)
        assert sum(now.held.values()) == len(self.held)
        ends = [row.state for row in self.rows.values() if row.settled is not None]
        assert ends.count(State.ACKED) == now.acked + now.late
        assert ends.count(State.RELEASED) == now.released
        assert (now.smallest_margin is not None) is bool(now.acked)


LedgerMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@pytest.mark.slow
class TestTheLedgerIsTheModel(LedgerMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """L5-L12, L29: whatever happens in whatever order."""
