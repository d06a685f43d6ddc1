"""The arithmetic of scaling, and the meter that averages how busy a consumer is."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasekeeper.admin.scaling import with_scaling
from leasekeeper.core.scaling import (
    TARGET_UTILISATION,
    WINDOW,
    LoadMeter,
    LoadStatistics,
    ScalingStatistics,
    backlog_per_replica,
    backlog_seconds,
    capacity,
    messages_in_flight,
    scaling,
    wanted_replicas,
)
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.observe.backlog import Backlog
from leasekeeper.schedules import Exponential
from leasekeeper.testing.world import World, virtual

slots = st.integers(1, 1000)
seconds = st.floats(0.001, 3600)


def test_the_capacity_is_slots_by_the_time_of_a_handler() -> None:
    assert capacity(20, 0.1) == 200
    assert capacity(20, 0.0) is None


@pytest.mark.parametrize(
    ("backlog", "rate", "expected"), [(0, 0, 0.0), (0, 5, 0.0), (100, 0, None), (100, 5, 20.0), (-1, 5, 0.0)]
)
def test_a_backlog_in_seconds(backlog: float, rate: float, expected: float | None) -> None:
    assert backlog_seconds(backlog, rate) == expected


@pytest.mark.parametrize(
    ("arrivals", "backlog", "expected"),
    [
        (0, 0, 1),
        (80, 0, 1),  # 100 a second at 0.8
        (80.1, 0, 2),
        (400, 0, 5),
        (400, 6000, 6),  # one more works 6,000 off in a minute
        (400, 6001, 7),
        (-5, 0, 1),
    ],
)
def test_wanted_replicas(arrivals: float, backlog: float, expected: int) -> None:
    found = wanted_replicas(arrivals=arrivals, backlog=backlog, slots=20, handler=0.2, latency=60)
    assert found == expected


def test_without_a_measured_handler_one_process_is_wanted() -> None:
    assert wanted_replicas(arrivals=1000, backlog=1e6, slots=20, handler=0.0, latency=60) == 1


@given(slots=slots, handler=seconds, latency=st.floats(1, 3600), share=st.floats(0.01, 1), fleet=st.integers(1, 50))
def test_a_fleet_that_is_as_busy_as_it_should_be_wants_no_other(
    slots: int, handler: float, latency: float, share: float, fleet: int
) -> None:
    """Neither by the formula nor by KEDA's, which divides what waits and what is in flight by our number."""
    arrivals = share * TARGET_UTILISATION * fleet * slots / handler
    wanted = wanted_replicas(arrivals=arrivals, backlog=0, slots=slots, handler=handler, latency=latency)
    assert wanted == max(1, math.ceil(share * fleet - 1e-6))
    in_flight = arrivals * handler
    exact = TARGET_UTILISATION * slots  # KEDA takes whole numbers only
    assert math.ceil(in_flight / exact - 1e-6) == math.ceil(share * fleet - 1e-6)
    assert abs(messages_in_flight(slots) - exact) <= max(0.5, 1 - exact)


def test_what_one_process_should_have() -> None:
    assert [messages_in_flight(slots) for slots in (1, 2, 10, 20)] == [1, 2, 8, 16]
    assert backlog_per_replica(20, 0.2, 60) == 6000
    assert backlog_per_replica(10, 3600, 60) == pytest.approx(1 / 6)
    assert backlog_per_replica(10, 0.0, 60) == 0.0


class Load:
    """A consumer of 10 slots with handlers of 2 s, read when a test says so."""

    def __init__(self) -> None:
        self.meter = LoadMeter()
        self.now = self.ended = 0.0
        self.finished = 0

    def work(self, seconds: float, *, busy: int, rate: int) -> None:
        self.now += seconds
        self.ended += seconds * busy
        self.finished += int(seconds * rate)

    def read(self, running: float = 0.0) -> LoadStatistics:
        return self.meter.read(
            self.now, ended=self.ended, running=running, finished=self.finished, given_back=0, slots=10, handler=2.0
        )


def test_the_meter_averages_over_its_window() -> None:
    load = Load()
    assert (load.read().utilisation, load.read().rate) == (0.0, 0.0)
    load.work(30, busy=10, rate=5)
    assert (load.read().utilisation, load.read().rate) == (1.0, 5.0)
    load.work(30, busy=0, rate=0)
    assert (load.read().utilisation, load.read().rate) == (0.5, 2.5)
    for _ in range(13):
        load.work(5, busy=4, rate=2)
        load.read()
    found = load.read()
    assert found.utilisation == pytest.approx(0.4)
    assert found.rate == 2.0
    assert (found.slots, found.capacity, found.busy_seconds) == (10, 5.0, 300 + 13 * 20)


def test_a_reader_that_comes_rarely_sees_all_the_time_since() -> None:
    load = Load()
    load.work(600, busy=5, rate=1)
    assert load.read().utilisation == 0.5
    load.work(600, busy=2, rate=1)
    assert load.read().utilisation == 0.2


def test_readers_in_a_hurry_keep_no_more_than_the_window() -> None:
    load = Load()
    for _ in range(3000):
        load.work(0.1, busy=10, rate=10)
        load.read()
    assert 50 < len(load.meter._readings) <= WINDOW + 2


def test_handlers_of_hours_count_while_they_run() -> None:
    load = Load()
    load.now = 60.0
    assert load.read(running=10 * 60.0).utilisation == 1.0
    load.now = 120.0
    assert load.read(running=10 * 120.0).utilisation == 1.0
    assert load.read(running=10 * 120.0).busy_seconds == 0.0
    load.now, load.ended = 180.0, 10 * 180.0  # all have ended just now
    assert load.read().utilisation == 1.0


def load(rate: float, given_back: float = 0.0, utilisation: float = 0.5) -> LoadStatistics:
    return LoadStatistics(
        slots=20, busy_seconds=0.0, utilisation=utilisation, rate=rate, given_back=given_back, capacity=100.0
    )


def test_one_process_concludes_for_all() -> None:
    """Messages are held for 0.25 s and 60 are in flight, so all finish 240 a second; the queue grows by 20."""
    found = scaling(
        load(60.0),
        handler=0.2,
        held=0.25,
        hidden=0,
        visible=2400,
        in_flight=50,
        usual=60.0,
        delayed=7,
        growth=20.0,
        latency=60,
    )
    assert (found.replicas, found.arrivals, found.backlog_seconds) == (4.0, 260.0, 10.0)
    assert found.wanted_replicas == math.ceil(260 / 80 + 2400 / 6000)


def conclude(
    load: LoadStatistics,
    *,
    handler: float = 0.2,
    held: float = 0.25,
    hidden: int = 0,
    in_flight: float = 0.0,
    growth: float | None = None,
    processes: int = 1,
) -> ScalingStatistics:
    return scaling(
        load,
        handler=handler,
        held=held,
        hidden=hidden,
        visible=0,
        in_flight=round(in_flight),
        usual=in_flight,
        delayed=0,
        growth=growth,
        latency=60.0,
        processes=processes,
    )


def test_messages_in_back_off_are_no_work_of_other_processes() -> None:
    """300 messages fail at once and wait: SQS counts them in flight. 100 runs a second ended, none with a message done.

    None is sent meanwhile, and one process is enough.
    """
    found = conclude(load(0.0, 100.0, 0.0), handler=0.0056, held=0.02, hidden=300, in_flight=300.0)
    assert (found.arrivals, found.replicas, found.wanted_replicas) == (0.0, 1.0, 1)
    assert found.again == 100.0
    later = conclude(load(0.0, 0.0, 0.0), handler=0.0056, held=0.02, hidden=150, in_flight=300.0)
    assert (later.arrivals, later.again, later.wanted_replicas) == (0.0, 0.0, 1)


def test_a_fleet_with_failures_is_seen_in_full() -> None:
    """Each of 4 processes ends 80 runs a second, 20 of them in failures, and has 20 messages at work and 200 hidden."""
    found = conclude(load(60.0, 20.0), hidden=200, in_flight=4 * 220.0)
    assert (found.replicas, found.arrivals, found.again) == pytest.approx((4.0, 240.0, 80.0))
    assert found.wanted_replicas == 4  # 320 runs a second, of which each process does 80 at its target


def test_long_handlers_of_other_processes_count_while_none_ends() -> None:
    """10 of our handlers run, and 30 messages wait here: a quarter of all in flight is at work."""
    found = conclude(load(0.0), held=100.0, hidden=30, in_flight=80.0)
    assert found.arrivals == 0.2
    assert conclude(load(0.0), held=100.0, in_flight=80.0).arrivals == 0.8


@pytest.mark.parametrize(
    ("processes", "rate", "given_back", "hidden", "in_flight", "arrivals"),
    [
        (2, 7.5, 0.0, 0, 20.0, 15.0),  # the other one was killed with 20 messages in hand
        (2, 0.5, 1.5, 0, 40.0, 1.0),  # the 40 are in back-off, and were given back by the other one
        (2, 0.5, 1.5, 30, 60.0, 1.0),
        (1, 0.5, 1.5, 0, 5000.0, 0.5),  # in back-off, and of a process that has ended
        (1, 0.0, 0.0, 0, 5000.0, 0.0),
    ],
)
def test_what_others_have_in_back_off_or_lost_multiplies_nothing(
    *, processes: int, rate: float, given_back: float, hidden: int, in_flight: float, arrivals: float
) -> None:
    """Handlers take 5 ms and this process is nearly idle: its messages in flight are a share near 0 of all."""
    now = load(rate, given_back, (rate + given_back) * 0.005 / 20)
    found = conclude(now, handler=0.005, held=0.006, hidden=hidden, in_flight=in_flight, processes=processes)
    assert (found.arrivals, found.replicas, found.wanted_replicas) == (arrivals, processes, 1)
    assert found.again == processes * given_back


def test_two_processes_with_like_work_estimate_alike_whatever_each_has_in_back_off() -> None:
    numbers = [
        conclude(load(0.5, 1.5, 0.0), held=0.006, hidden=hidden, in_flight=40.0, processes=2) for hidden in (0, 40)
    ]
    assert numbers[0] == numbers[1]


def test_the_share_of_others_comes_into_the_estimate_step_by_step() -> None:
    """20 slots and messages held for 0.25 s: 1 of them is 5% of the slots, 2 are 10%. 8 processes are like this one."""
    works = (0.8, 1.0, 1.5, 2.0, 16.0)
    found = [conclude(load(work / 0.25, utilisation=0.0), in_flight=8 * work, processes=2).replicas for work in works]
    assert found == pytest.approx([2.0, 2.0, 5.0, 8.0, 8.0])


@virtual
async def test_what_is_in_flight_is_the_last_count_and_the_estimate_takes_the_average() -> None:
    async def slow(_body: str) -> None:
        await asyncio.sleep(60)

    async with World() as world:
        running = await world.start(slow, concurrency=20)
        await world.send(*map(str, range(15)))
        await world.until(lambda: running.statistics().lane.running == 15)
        await asyncio.sleep(30)
        backlog = Backlog()
        for at, count in ((0.0, 60), (30.0, 30), (60.0, 0)):
            backlog.add(at, QueueCounts(visible=0, in_flight=count, delayed=0, dead_letters=None))
        found = with_scaling(running.statistics(), backlog, 60.0).scaling
        assert found is not None
        assert found.in_flight == 0
        assert found.replicas == pytest.approx(2.0, rel=0.1)  # 30 on average, and 15 here


@pytest.mark.parametrize(("growth", "arrivals"), [(None, 60.0), (-20.0, 40.0), (-100.0, 0.0)])
def test_a_queue_that_shrinks_gets_less_than_is_finished(growth: float | None, arrivals: float) -> None:
    found = conclude(load(60.0), held=0.0, growth=growth)
    assert (found.replicas, found.arrivals, found.wanted_replicas, found.backlog_seconds) == (1.0, arrivals, 1, 0.0)


@virtual
async def test_a_consumer_knows_what_it_gave_back_and_until_when() -> None:
    async def fail(_body: str) -> None:
        await asyncio.sleep(5)
        raise ValueError

    async with World() as world:
        for number in range(10):
            await world.send(str(number))
        running = await world.start(fail, concurrency=20, retry=Exponential(base=60, jitter="none"))
        await world.until(lambda: running.statistics().ledger.released == 10)
        now = running.statistics()
        assert (now.ledger.hidden, now.load.rate) == (10, 0.0)
        assert now.load.given_back == pytest.approx(10 / now.seconds)
        counts = QueueCounts(visible=0, in_flight=world.queue().in_flight, delayed=0, dead_letters=None)
        backlog = Backlog()
        backlog.add(0.0, counts)
        found = with_scaling(now, backlog, 60.0).scaling
        assert found is not None
        assert (found.in_flight, found.arrivals, found.wanted_replicas) == (10, 0.0, 1)
        await world.until(lambda: running.statistics().ledger.hidden == 0, within=70)
        assert world.now > 60
