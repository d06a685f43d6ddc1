"""The pool: no worker is idle while a message waits, nothing is lost, and the number of workers follows the load."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leasekeeper.core.pool import Assignment, Pool, PoolStatistics


class PoolMachine(RuleBasedStateMachine):
    """Numbered items through a pool; a naive list says which of them should come out next."""

    def __init__(self) -> None:
        super().__init__()
        self.maximum, self.room, self.now = 3, 4, 0.0
        self.pool: Pool[int] = Pool(maximum=3, waiting_room=4, idle_timeout=10.0)
        self.working: dict[int, int] = {}
        self.idle: dict[int, float] = {}
        self.queue: list[int] = []
        self.submitted = 0
        self.known: set[int] = set()

    def started(self, item: int, assignment: Assignment) -> None:
        if self.idle:
            assert assignment == Assignment(max(self.idle, key=self.idle.__getitem__), hired=False)
            del self.idle[assignment.worker]
        else:
            assert assignment.hired
            assert assignment.worker not in self.known, "numbers are not used again"
            self.known.add(assignment.worker)
        self.working[assignment.worker] = item

    @rule()
    def submit(self) -> None:
        if len(self.working) >= self.maximum and len(self.queue) >= self.room:
            with pytest.raises(OverflowError):
                self.pool.submit(-1, self.now)
            return
        self.submitted += 1
        assignment = self.pool.submit(self.submitted, self.now)
        if len(self.working) >= self.maximum:
            assert assignment is None
            self.queue.append(self.submitted)
        else:
            assert assignment is not None
            self.started(self.submitted, assignment)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.working)))
        self.now += 0.001
        item = self.pool.finished(worker, self.now)
        if self.queue and len(self.working) <= self.maximum:
            assert item == self.queue.pop(0), "first in, first out"
            self.working[worker] = item
        else:
            assert item is None
            del self.working[worker]
            self.idle[worker] = self.now

    @rule()
    def finish_again(self) -> None:
        for worker in [*self.idle, 10_000]:
            with pytest.raises(ValueError, match=f"worker {worker} is not at work"):
                self.pool.finished(worker, self.now)

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def let_go(self) -> None:
        worker = self.pool.let_go(self.now)
        if worker is None:
            assert self.pool.next_let_go() > self.now
            return
        assert worker == min(self.idle, key=self.idle.__getitem__), "the one used longest ago"
        surplus = len(self.working) + len(self.idle) > self.maximum
        assert surplus or self.now >= self.idle[worker] + 10.0
        del self.idle[worker]

    @precondition(lambda self: math.isfinite(self.pool.next_let_go()))
    @rule()
    def let_go_when_announced(self) -> None:
        self.now = max(self.now, self.pool.next_let_go())
        idle = self.pool.idle
        self.let_go()
        assert self.pool.idle == idle - 1

    @rule(maximum=st.integers(1, 5), room=st.none() | st.integers(0, 6))
    def resize(self, maximum: int, room: int | None) -> None:
        self.maximum = maximum
        self.room = self.room if room is None else room
        for item, assignment in self.pool.resize(self.now, maximum=maximum, waiting_room=room):
            assert item == self.queue.pop(0)
            self.started(item, assignment)

    @rule()
    def recall(self) -> None:
        assert self.pool.recall() == self.queue
        self.queue.clear()

    @invariant()
    def agrees(self) -> None:
        assert self.pool.busy == len(self.working)
        assert self.pool.idle == len(self.idle)
        assert self.pool.waiting == len(self.queue)

    @invariant()
    def nobody_is_idle_while_somebody_waits(self) -> None:
        assert not self.queue or len(self.working) >= self.maximum


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=18, stateful_step_count=20)


def test_it_hires_up_to_the_maximum_then_fills_the_waiting_room() -> None:
    pool: Pool[str] = Pool(maximum=2, waiting_room=1, idle_timeout=60.0)
    assert pool.submit("a", 0.0) == Assignment(0, hired=True)
    assert pool.submit("b", 0.0) == Assignment(1, hired=True)
    assert pool.submit("c", 0.0) is None
    with pytest.raises(OverflowError, match="no place for the item: <Pool 2/2 busy, 0 idle, 1 waiting>"):
        pool.submit("d", 0.0)
    assert repr(pool) == "<Pool 2/2 busy, 0 idle, 1 waiting>"
    assert pool.statistics() == PoolStatistics(maximum=2, busy=2, idle=0, waiting=1, waiting_room=1)
    assert pool.finished(1, 1.0) == "c"
    assert pool.finished(1, 2.0) is None
    assert pool.submit("e", 3.0) == Assignment(1, hired=False)


def test_one_long_item_leaves_the_others_in_full_use() -> None:
    """L19: while worker 0 is busy for five minutes, worker 1 takes everything that comes."""
    pool: Pool[int] = Pool(maximum=2, waiting_room=10, idle_timeout=60.0)
    pool.submit(0, 0.0)
    pool.submit(1, 0.0)
    for item in range(2, 12):
        assert pool.submit(item, 0.0) is None
    assert [pool.finished(1, 1.0) for _ in range(11)] == [*range(2, 12), None]


def test_under_a_light_load_the_same_worker_is_used_and_the_others_are_let_go() -> None:
    pool: Pool[int] = Pool(maximum=10, waiting_room=0, idle_timeout=60.0)
    crew = [pool.submit(item, 0.0) for item in range(10)]
    for assignment in crew:
        assert assignment is not None
        pool.finished(assignment.worker, 0.1)
    gone = []
    for second in range(1, 600):
        assert pool.submit(second, second) == Assignment(9, hired=False)
        pool.finished(9, second + 0.1)
        gone.append(pool.let_go(second + 0.2))
    assert [worker for worker in gone if worker is not None] == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def let_go_times(crew: int, idle_timeout: float) -> list[float]:
    """When the workers of a crew that fell idle at once are let go."""
    pool: Pool[int] = Pool(maximum=crew, waiting_room=0, idle_timeout=idle_timeout)
    for item in range(crew):
        pool.submit(item, 0.0)
    for worker in range(crew):
        pool.finished(worker, 0.0)
    times = []
    while pool.idle:
        times.append(pool.next_let_go())
        assert pool.let_go(math.nextafter(times[-1], 0)) is None, "not before"
        assert pool.let_go(times[-1]) is not None
    assert pool.next_let_go() == math.inf
    return times


def test_a_large_crew_is_let_go_one_by_one() -> None:
    times = let_go_times(100, idle_timeout=60.0)
    assert times[0] == 60.0
    assert all(later > earlier for earlier, later in pairwise(times))
    assert sum(time <= 60 + 0.72 * 60 for time in times) == pytest.approx(50, abs=3), "half of it in 0.7 time-outs"
    assert times[-1] < 60 * 6.2, "all of it in about five more"


def test_a_single_worker_goes_after_the_time_out() -> None:
    assert let_go_times(1, idle_timeout=60.0) == [60.0]


def test_a_lowered_maximum_takes_effect_as_workers_finish() -> None:
    pool: Pool[int] = Pool(maximum=3, waiting_room=5, idle_timeout=60.0)
    for item in range(5):
        pool.submit(item, 0.0)
    assert pool.resize(1.0, maximum=1) == []
    assert [pool.finished(0, 2.0), pool.finished(1, 2.0)] == [None, None]
    assert [pool.let_go(2.0), pool.let_go(2.0), pool.let_go(2.0)] == [0, 1, None]
    assert pool.finished(2, 3.0) == 3
    assert pool.resize(4.0, maximum=2) == [(4, Assignment(3, hired=True))]


def test_a_smaller_waiting_room_keeps_what_waits() -> None:
    pool: Pool[int] = Pool(maximum=1, waiting_room=3, idle_timeout=60.0)
    for item in range(4):
        pool.submit(item, 0.0)
    assert pool.resize(1.0, waiting_room=1) == []
    with pytest.raises(OverflowError):
        pool.submit(4, 1.0)
    assert pool.recall() == [1, 2, 3]


@pytest.mark.parametrize(
    ("maximum", "room", "timeout", "sentence"),
    [
        (0, 1, 1.0, "a pool of at most 0 workers cannot work: give 1 or more"),
        (1, -1, 1.0, "a ring of capacity -1 cannot be: give 0 or more"),
        (1, 1, -1.0, "a worker cannot be let go after -1.0 idle seconds: give 0 or more"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(maximum: int, room: int, timeout: float, sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Pool(maximum=maximum, waiting_room=room, idle_timeout=timeout)
    assert str(refusal.value) == sentence
