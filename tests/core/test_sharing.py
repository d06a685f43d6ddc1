"""Shared slots, simulated: several queues, polls with a latency and handlers with a duration, in simulated time."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.core.gate import Gate
from leasekeeper.core.line import Line
from leasekeeper.core.sharing import Member, SharedSlots
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.sharing import Poll

PATIENCE = 0.1
WAIT = 20.0
LATENCY = 0.01


@dataclass(eq=False)
class Queue:
    """A consumer of a share, as its engine drives it."""

    world: Simulation
    seconds: float
    weight: int = 1
    priority: int = 1
    most: int = 1000
    pollers: int = 3
    depth: int = 0
    waiting: int = 0
    """Messages that are here and have not started."""
    done: int = 0
    polled: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    open: list[Poll] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.member = Member(self.world.slots, self.weight, self.priority, self.most, wake=self.wake)
        self.world.slots.members.append(self.member)
        self.member.expect(self.world.now + 1)
        self.idle = self.pollers

    def wake(self) -> None:
        self.start()
        self.ask()

    def ask(self) -> None:
        slots, now = self.world.slots, self.world.now
        while self.idle:
            room = min(10, self.most - self.member.taken)
            poll = slots.ask(self.member, room, now, PATIENCE) if room > 0 else None
            if poll is None:
                break
            self.idle -= 1
            self.polled.append(now)
            self.world.at(LATENCY, partial(self.arrive, poll))
            self.world.at(WAIT, partial(self.answer, poll))
        self.member.asking = self.idle if self.most > self.member.taken else 0
        self.world.look_at(slots.next_look(now))

    def arrive(self, poll: Poll) -> None:
        """A poll has come to the queue: it is answered at once if there are messages."""
        self.open.append(poll)
        if self.depth:
            self.answer(poll)

    def send(self, count: int) -> None:
        """Messages come to the queue: the polls that wait there are answered."""
        self.depth += count
        while self.depth and self.open:
            self.answer(self.open[0])

    def answer(self, poll: Poll) -> None:
        """The queue answers a poll, unless it has done so: with messages, or because its wait has ended."""
        if poll not in self.open:
            return
        world, count = self.world, min(self.depth, poll.count)
        self.depth -= count
        self.idle += 1
        self.open.remove(poll)
        world.slots.answered(self.member, poll, count, backlog=count == poll.count, now=world.now, patience=PATIENCE)
        self.waiting += count
        self.start()
        self.ask()

    def start(self) -> None:
        slots = self.world.slots
        while self.waiting:
            if not self.member.may_run():
                return
            self.waiting -= 1
            self.member.running += 1
            self.started.append(self.world.now)
            self.world.at(self.seconds * self.world.random.uniform(0.5, 1.5), self.end)
        assert slots.running <= slots.concurrency

    def end(self) -> None:
        self.done += 1
        self.member.running -= 1
        self.world.slots.released(self.member, 1, self.world.now, PATIENCE)
        self.start()
        self.world.slots.start_next()
        self.ask()


class Simulation:
    """Time, and what is due."""

    def __init__(self, concurrency: int, seed: int = 0) -> None:
        self.slots = SharedSlots(concurrency)
        self.now = 1000.0
        self.random = Random(seed)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._look_at = 0.0

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def look_at(self, at: float) -> None:
        """Let polls that wait ask again then, as the engine's timer does."""
        if self.now < at < float("inf") and at != self._look_at:
            self._look_at = at
            self.at(at - self.now + 1e-9, self.slots.changed)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = end


@pytest.mark.parametrize(("heavy", "light"), [(0.5, 0.5), (0.05, 0.05), (5, 5)])
@pytest.mark.parametrize("concurrency", [2, 10, 50])
def test_two_queues_with_a_backlog_complete_in_the_ratio_of_their_weights(
    concurrency: int, heavy: float, light: float
) -> None:
    world = Simulation(concurrency)
    first, second = Queue(world, heavy, weight=3), Queue(world, light, weight=1)
    first.depth = second.depth = 10**9
    first.ask()
    second.ask()
    world.run(20 * heavy)
    before = first.done, second.done
    world.run(60 * heavy * 50 / concurrency)
    done = first.done - before[0], second.done - before[1]
    assert done[0] / done[1] == pytest.approx(3, rel=0.05)
    if heavy >= 0.5:  # a receive takes 10 ms of each slot's time
        assert sum(done) >= 0.9 * 60 * 50


def test_slow_handlers_get_no_more_than_their_part_of_the_slots() -> None:
    """The weights divide the handlers' time. By messages, the slow queue would take ten slots of eleven."""
    world = Simulation(40)
    quick, slow = Queue(world, 0.2), Queue(world, 2.0)
    quick.depth = slow.depth = 10**9
    quick.ask()
    slow.ask()
    world.run(100)
    assert quick.done / (10 * slow.done) == pytest.approx(1, rel=0.05)


def test_a_queue_of_a_lower_priority_gets_nothing_while_the_higher_has_a_backlog_and_everything_afterwards() -> None:
    world = Simulation(20)
    high, low = Queue(world, 0.5, priority=1), Queue(world, 0.5, priority=2)
    high.ask()
    low.ask()
    world.run(1)
    high.send(2000)
    low.send(2000)
    world.run(0.3)
    began = world.now
    while high.depth > 10:
        world.run(0.1)
    assert not [at for at in low.polled if began < at < world.now]
    assert high.done >= 1900
    world.run(200)
    assert low.done == 2000
    assert low.started[-1] - world.now < 0
    quickest = 2000 * 0.5 / 20
    assert low.started[-1] - high.started[-1] <= 1.1 * quickest + 1


def test_an_empty_queue_of_a_higher_priority_keeps_no_slot_from_the_lower() -> None:
    """Its long poll is open all the time; also with one slot, which both want."""
    for concurrency in 1, 2, 20:
        world = Simulation(concurrency)
        high, low = Queue(world, 0.5, priority=1), Queue(world, 0.5, priority=2)
        low.depth = 10**9
        high.ask()
        low.ask()
        world.run(100)
        assert low.done >= 0.9 * 100 / 0.5 * concurrency - concurrency
        assert len(high.polled) >= 5


def test_a_message_that_a_lent_poll_brings_is_the_next_to_start() -> None:
    world = Simulation(4)
    high, low = Queue(world, 1.0, priority=1), Queue(world, 1.0, priority=2)
    low.depth = 10**9
    high.ask()
    low.ask()
    world.run(30)
    for _ in range(20):
        world.run(3.217)
        began, count = world.now, len(high.started)
        high.send(1)
        world.run(1.6)
        assert len(high.started) == count + 1
        assert not [at for at in low.started if began + 0.03 < at < high.started[-1]]


def test_a_trickle_of_the_higher_priority_leaves_the_rest_to_the_lower() -> None:
    """Each answer of it is short, so no backlog is behind it."""
    world = Simulation(20)
    high, low = Queue(world, 0.1, priority=1), Queue(world, 1.0, priority=2)
    low.depth = 10**9
    high.ask()
    low.ask()
    for _ in range(1000):
        high.send(1)
        world.run(0.1)
    assert high.done >= 990
    assert low.done >= 0.85 * 20 * 100


def test_a_queue_that_was_empty_for_long_has_saved_up_nothing() -> None:
    world = Simulation(20)
    busy, late = Queue(world, 0.5), Queue(world, 0.5)
    busy.depth = 10**9
    busy.ask()
    late.ask()
    world.run(60)
    late.send(10**9)
    world.run(5)
    before = busy.done, late.done
    world.run(60)
    assert (late.done - before[1]) / (busy.done - before[0]) == pytest.approx(1, rel=0.15)


def test_a_consumer_at_its_own_limit_leaves_the_rest_to_the_others() -> None:
    world = Simulation(20)
    first, second = Queue(world, 0.5, priority=1, most=5), Queue(world, 0.5, priority=2)
    first.depth = second.depth = 10**9
    first.ask()
    second.ask()
    world.run(100)
    assert first.done == pytest.approx(5 * 200, rel=0.1)
    assert second.done == pytest.approx(15 * 200, rel=0.1)


def test_what_an_ended_consumer_held_is_free_again() -> None:
    world = Simulation(10)
    first, second = Queue(world, 1e9), Queue(world, 0.5)
    first.depth = 10**9
    first.ask()
    world.run(10)
    assert world.slots.free == 0
    second.depth = 100
    second.ask()
    world.run(10)
    assert second.done == 0
    world.slots.leave(first.member)
    world.slots.leave(first.member)
    world.run(30)
    assert second.done == 100


def test_a_consumer_that_receives_nothing_more_leaves_its_slots_to_the_others_as_they_come_free() -> None:
    """It is paused, or stops, with a backlog and with every slot: what ends there is not kept for it."""
    world = Simulation(300)
    high, low = Queue(world, 5, priority=1, most=300), Queue(world, 0.5, priority=2)
    high.depth = low.depth = 10**9
    high.ask()
    low.ask()
    world.run(15)
    assert low.done == 0
    high.most = high.member.asking = 0
    world.run(0.5)
    assert low.started


def test_a_handler_that_comes_free_goes_to_the_message_of_the_highest_priority() -> None:
    """Also when it was another consumer's, which has a message waiting too."""
    slots = SharedSlots(1)
    woken: list[str] = []
    high, low = (
        Member(slots, 1, priority, 10, wake=partial(woken.append, name)) for priority, name in ((1, "high"), (2, "low"))
    )
    slots.members += [low, high]
    assert low.may_run()
    low.running += 1
    assert not high.may_run()
    assert not low.may_run()
    low.running -= 1
    assert not low.may_run()
    slots.start_next()
    assert woken == ["high", "low"]
    assert high.may_run()


def test_a_consumer_that_gives_back_what_waits_keeps_no_handler_from_the_others() -> None:
    slots = SharedSlots(1)
    high, low = (Member(slots, 1, priority, 10, wake=lambda: None) for priority in (1, 2))
    slots.members += [low, high]
    gate = Gate(10, Line(), member=high)
    low.running = 1
    gate.line.add([Delivery(Received(message_id="a", receipt="r"), Lease(30, 0, 15, 30), 0, 0)])
    assert gate.start(0.0) == []
    assert len(gate.clear()) == 1
    low.running = 0
    assert low.may_run()


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 30),
    st.lists(
        st.tuples(st.sampled_from([0.02, 0.3, 4]), st.integers(1, 5), st.integers(1, 3), st.integers(1, 20)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 10**6),
)
def test_whatever_comes_everything_runs_and_no_slot_is_lost(
    concurrency: int, queues: list[tuple[float, int, int, int]], seed: int
) -> None:
    world = Simulation(concurrency, seed)
    consumers = [
        Queue(world, seconds, weight=weight, priority=priority, most=most) for seconds, weight, priority, most in queues
    ]
    for each in consumers:
        each.ask()
    sent = 0
    for _ in range(30):
        count = world.random.randrange(40)
        world.random.choice(consumers).send(count)
        sent += count
        world.run(world.random.uniform(0, 3))
    world.run(2 * sent * max(each.seconds for each in consumers) + 60)
    assert sum(each.done for each in consumers) == sent
    assert all(each.member.held == each.member.running == 0 for each in consumers)
    world.run(0.2)
    assert world.slots.free >= concurrency - 30
