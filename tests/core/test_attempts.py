"""Attempts: the receive count, corrected by what this process knows of deliveries unrun and of runs uncounted."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leasekeeper.core.attempts import Attempts
from leasekeeper.core.delivery import Action, Delivery, LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.message import Received

POLICY = LeasePolicy(visibility=30.0, extend_after=15.0)


class Queue:
    """One message, as SQS delivers it to a ledger: each delivery has a higher receive count."""

    def __init__(self) -> None:
        self.ledger = Ledger(POLICY)
        self.count = 0
        self.now = 100.0

    def deliver(self) -> list[Delivery]:
        self.count += 1
        received = Received(
            message_id="a", receipt=f"a-{self.count}", system={"ApproximateReceiveCount": str(self.count)}
        )
        fresh, _ = self.ledger.receive([received], requested_at=self.now, now=self.now)
        return fresh

    def start(self) -> Delivery:
        [row] = self.deliver()
        row.started = self.now
        return row

    def give_back(self, row: Delivery) -> None:
        assert self.ledger.release(row, 0.0, self.now) is Action.RELEASE
        self.ledger.released(row)


def test_without_news_the_attempt_is_the_receive_count() -> None:
    queue = Queue()
    for expected in (1, 2, 3):
        row = queue.start()
        assert (row.attempt, row.extra) == (expected, 0)
        queue.give_back(row)
    assert len(queue.ledger._attempts) == 0, "what SQS counts right needs no memory"


def test_a_delivery_that_was_given_back_unrun_is_no_attempt() -> None:
    queue = Queue()
    for _ in range(3):
        [row] = queue.deliver()
        assert row.attempt == 1
        queue.give_back(row)
    row = queue.start()
    assert (row.received.receive_count, row.attempt) == (4, 1)
    queue.give_back(row)
    assert queue.start().attempt == 2


def test_a_run_again_under_one_delivery_is_an_attempt() -> None:
    queue = Queue()
    row = queue.start()
    for expected in (2, 3):
        assert queue.ledger.again(row, queue.now) is Action.AGAIN
        assert (row.state, row.started, row.attempt) == (State.WAITING, 0.0, expected)
        row.started = queue.now
    queue.give_back(row)
    row = queue.start()
    assert (row.received.receive_count, row.attempt) == (2, 4)


def test_a_run_that_was_planned_and_did_not_start_is_no_attempt() -> None:
    queue = Queue()
    row = queue.start()
    queue.ledger.again(row, queue.now)
    queue.give_back(row)
    assert queue.start().attempt == 2


def test_a_lease_that_ended_before_the_run_is_no_attempt() -> None:
    queue = Queue()
    queue.deliver()
    queue.now += 40
    queue.ledger.leases.tick(queue.now)
    assert not queue.ledger.rows
    assert queue.start().attempt == 1


def test_a_redelivery_of_what_runs_here_is_no_attempt() -> None:
    """L29: it brings a newer receipt, and no run."""
    queue = Queue()
    row = queue.start()
    assert queue.deliver() == []
    assert (row.received.receive_count, row.attempt) == (2, 1)
    queue.give_back(row)
    assert queue.start().attempt == 2


def test_deliveries_elsewhere_between_two_here_are_attempts() -> None:
    queue = Queue()
    row = queue.start()
    queue.count += 2
    queue.deliver()
    assert row.attempt == 3
    queue.give_back(row)
    assert queue.start().attempt == 4


def test_a_server_without_receive_counts_shows_the_first_attempt() -> None:
    ledger = Ledger(POLICY)
    for receipt in ("a-1", "a-2"):
        [row], _ = ledger.receive([Received(message_id="a", receipt=receipt)], requested_at=1.0, now=1.0)
        assert row.attempt == 1
        ledger.release(row, 0.0, 1.0)
        ledger.released(row)


def test_nothing_runs_again_without_a_lease() -> None:
    """L8."""
    queue = Queue()
    row = queue.start()
    queue.now += 40
    assert queue.ledger.again(row, queue.now) is Action.NOTHING
    assert (row.state, len(queue.ledger)) == (State.LOST, 0)
    assert queue.ledger.again(row, queue.now) is Action.NOTHING


def test_a_run_again_after_a_renewed_lease_has_a_lease() -> None:
    """L29: the first run lost it, a redelivery brought another."""
    queue = Queue()
    row = queue.start()
    queue.now += 40
    queue.ledger.leases.tick(queue.now)
    assert row.lost
    queue.deliver()
    assert queue.ledger.again(row, queue.now) is Action.AGAIN
    assert not row.lost


def test_the_oldest_are_forgotten() -> None:
    ledger, attempts = Ledger(POLICY), Attempts(most=3)
    batch = [Received(message_id=str(number), receipt=str(number)) for number in range(10)]
    rows, _ = ledger.receive(batch, requested_at=1.0, now=1.0)
    for row in rows:
        attempts.remember([row])
    assert len(attempts) == 4
    for row in rows:
        row.extra = 0
    attempts.recall(rows)
    assert [row.extra for row in rows] == [0] * 6 + [-1] * 4
    assert len(attempts) == 0, "what was recalled is kept by the delivery"


class Deliveries(RuleBasedStateMachine):
    """One message and one process that gets all its deliveries: whatever happens, the attempts are its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.row: Delivery | None = None
        self.runs = 0

    @precondition(lambda self: self.row is None)
    @rule()
    def deliver(self) -> None:
        [self.row] = self.queue.deliver()

    @precondition(lambda self: self.row is not None and self.row.state is State.WAITING and not self.row.started)
    @rule()
    def start(self) -> None:
        assert self.row is not None
        self.row.started = self.queue.now
        self.runs += 1

    @precondition(lambda self: self.row is not None and self.row.started)
    @rule()
    def again(self) -> None:
        assert self.row is not None
        if self.queue.ledger.again(self.row, self.queue.now) is Action.NOTHING:
            self.row = None

    @precondition(lambda self: self.row is not None)
    @rule()
    def redeliver(self) -> None:
        """SQS counts the lease as over before we do."""
        assert self.queue.deliver() == []

    @precondition(lambda self: self.row is not None)
    @rule(confirmed=st.booleans())
    def give_back(self, *, confirmed: bool) -> None:
        assert self.row is not None
        if self.queue.ledger.release(self.row, 0.0, self.queue.now) is Action.RELEASE and confirmed:
            self.queue.ledger.released(self.row)
        self.row = None  # if it was not confirmed, the next delivery shows that it took effect

    @precondition(lambda self: self.row is not None and self.row.state <= State.RUNNING)
    @rule()
    def lapse(self) -> None:
        self.queue.now += 40
        self.queue.ledger.leases.tick(self.queue.now)
        assert self.row is not None
        if self.row.state is State.LOST:
            self.row = None

    @precondition(lambda self: self.row is not None)
    @rule(refused=st.booleans())
    def reject(self, *, refused: bool) -> None:
        assert self.row is not None
        if not self.row.started:
            return
        ledger = self.queue.ledger
        if ledger.reject(self.row) is Action.COPY and refused:
            ledger.copy_refused(self.row, 0.0, self.queue.now)
            ledger.released(self.row)
        elif self.row.state is State.REJECTING:
            self.queue.now += 40
            ledger.leases.tick(self.queue.now)
        self.row = None

    @invariant()
    def the_attempt_is_the_number_of_the_run(self) -> None:
        if self.row is not None:
            assert self.row.attempt == self.runs + (not self.row.started)


TestTheAttemptsAreTheRuns = Deliveries.TestCase
TestTheAttemptsAreTheRuns.settings = settings(max_examples=100, stateful_step_count=30)
