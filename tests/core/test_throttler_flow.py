"""The throttler at work, in a simulation of queue, network and handlers: `leasekeeper.testing.flow`."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.core.throttler import ThrottlePolicy
from leasekeeper.testing.flow import Flow, Sample

if TYPE_CHECKING:
    from collections.abc import Callable


def flow(
    *,
    concurrency: int = 100,
    handler: Callable[[float], float] = lambda _: 0.02,
    latency: Callable[[float], float] = lambda _: 0.01,
    sample_every: float = 0.1,
    **options: Any,
) -> Flow:
    policy = ThrottlePolicy(concurrency=concurrency, visibility=30.0, **options)
    return Flow(policy, handler=handler, latency=latency, sample_every=sample_every)


def uneven(seed: int) -> Callable[[float], float]:
    """Receive calls of 10 ms on average, from 5 ms up."""
    draw = random.Random(seed)
    return lambda _: 0.005 + draw.expovariate(200)


def between(subject: Flow, start: float, end: float) -> list[Sample]:
    return [sample for sample in subject.samples if start < sample.time <= end + 1e-9]


def finished(subject: Flow, start: float, end: float) -> float:
    """Messages finished a second."""
    return fmean(sample.finished for sample in between(subject, start, end))


@pytest.mark.parametrize("latency", [lambda _: 0.01, uneven(1)], ids=["even", "uneven"])
def test_short_handlers_are_kept_fed(latency: Callable[[float], float]) -> None:
    """L21: 100 handlers of 20 ms over calls of 10 ms do at least 95% of their 5,000 messages/s, at once."""
    subject = flow(latency=latency)
    subject.send(10_000)
    subject.run(1.6)
    assert finished(subject, 0.8, 1.6) >= 4_750
    assert subject.calls / subject.finished <= 0.11, "ten messages a receive"
    assert max(sample.waiting for sample in subject.samples) <= 200, "40 ms of work"


@pytest.mark.parametrize(
    ("concurrency", "handler"), [(1, 0.02), (10, 0.05), (10, 1.0), (100, 2.0), (1_000, 0.5), (5, 10.0)]
)
def test_handlers_of_any_speed_are_kept_fed(concurrency: int, handler: float) -> None:
    subject = flow(concurrency=concurrency, handler=lambda _: handler, latency=uneven(2), sample_every=handler)
    seconds = max(1.0, 4 * handler)
    subject.send(int(concurrency / handler * seconds) + 2 * concurrency)
    subject.run(seconds + handler / 2)
    assert finished(subject, 1.5 * handler, seconds) >= 0.95 * concurrency / handler


def test_an_idle_queue_costs_three_calls_a_minute() -> None:
    """L21: one poller, one long poll of 20 s after the other."""
    subject = flow(sample_every=10.0)
    subject.run(3_600)
    assert subject.calls == 3 * 60
    assert {sample.pollers for sample in subject.samples} == {1}


def test_a_queue_run_dry_is_back_at_one_poller_within_one_long_poll() -> None:
    """L21: short batches bring them down."""
    subject = flow(latency=uneven(3), sample_every=1.0)
    subject.send(5_000)
    subject.run(3)
    subject.run(24)
    assert subject.finished == 5_000
    assert subject.throttler.pollers == 1
    calls = subject.calls
    subject.run(144)
    assert subject.calls - calls == 6


def test_a_burst_reaches_all_pollers_it_needs_within_a_few_round_trips() -> None:
    """L21: 1, 2, 4, 7: three answers after the first the pollers of 5,000 messages/s are there."""
    subject = flow(sample_every=0.01)
    subject.send(10_000, at=30.0)
    subject.run(30.5)
    reached = next(sample.time for sample in subject.samples if sample.pollers >= 6)
    assert reached <= 30 + 5 * 0.01
    assert finished(subject, 30.1, 30.5) >= 4_750


def test_a_step_in_handler_time_is_followed_both_ways() -> None:
    """From 20 ms to 2 s at 2 s, back at 12 s: pollers, prefetch and limit follow, and the old rate is there at once."""
    subject = flow(handler=lambda now: 2.0 if 2 <= now < 12 else 0.02, latency=uneven(4), sample_every=0.25)
    subject.send(26_000)
    subject.run(14.5)
    slow = between(subject, 6, 12)
    assert {sample.pollers for sample in slow} == {1}
    assert max(sample.prefetch for sample in slow) <= 30
    assert {sample.limit for sample in slow} == {1_500}
    assert all(sample.working == 100 for sample in slow), "nobody is idle"
    assert sum(sample.calls for sample in slow) * 0.25 <= 40, "ten messages a call, 50 messages a second"
    assert finished(subject, 14, 14.5) >= 4_750, "when the last slow handler has ended"


def test_an_outage_costs_few_calls_and_ends_at_once() -> None:
    """L16: 30 s of errors at 2,500 messages/s; afterwards the backlog is worked off at full speed."""
    subject = flow(latency=uneven(5), sample_every=0.25)
    subject.send(4_000)
    subject.send(20_000, at=10.0)
    subject.fail(start=0.5, end=30.5)
    subject.run(48)
    assert subject.failures <= 20
    assert subject.throttler.policy.max_pollers == 10
    back = next(sample.time for sample in subject.samples if sample.time > 30.5 and sample.finished)
    assert back <= 30.5 + 15.25, "the longest pause"
    assert finished(subject, back + 0.5, back + 2) >= 4_750


@pytest.mark.parametrize("rate", [400, 1_500, 3_000])
def test_under_a_steady_load_it_does_not_oscillate_wildly(rate: int) -> None:
    """Pollers stay near what the rate needs; nothing queues up; calls are well filled."""
    subject = flow(latency=uneven(rate))
    subject.send_steadily(rate, start=0, end=3)
    subject.run(3)
    steady = between(subject, 1, 3)
    needed = rate * 0.01 / 10
    assert max(sample.pollers for sample in steady) <= needed + 5
    assert fmean(abs(after.pollers - before.pollers) for before, after in pairwise(steady)) <= 2
    assert max(sample.queued for sample in steady) <= max(50, rate * 0.05)
    assert subject.calls / subject.finished <= 0.3
    delays = sorted(subject.delays[len(subject.delays) // 3 :])
    assert delays[len(delays) * 99 // 100] <= 0.06


@pytest.mark.parametrize(("rate", "calls", "delay"), [(2, 1.05, 0.02), (30, 0.8, 0.05), (100, 0.4, 0.05)])
def test_a_light_load_trades_a_bounded_delay_for_fuller_calls(rate: int, calls: float, delay: float) -> None:
    subject = flow()
    subject.send_steadily(rate, start=0, end=600 / rate)
    subject.run(600 / rate)
    assert subject.calls / subject.finished <= calls
    assert fmean(subject.delays) <= delay
    assert max(subject.delays) <= 0.05 + 4 * 0.01


def test_one_message_of_five_minutes_does_not_stop_the_rest() -> None:
    """L19: nine of ten handlers go on at full speed."""
    once = iter([300.0])
    subject = flow(concurrency=10, handler=lambda now: next(once, 0.05) if now > 1 else 0.05)
    subject.send(1_000)
    subject.run(5)
    assert finished(subject, 1.5, 5) == pytest.approx(9 / 0.05, rel=0.05)
    assert subject.throttler.prefetch >= 10


class Portions(Flow):
    """A queue that holds plenty and answers in portions, as a queue spread over many servers may."""

    portion = (1, 6)

    def _hand_out(self, poller: int, asked: int, called: float) -> None:
        most = min(asked, len(self._queue), self._random.randint(*self.portion))
        sent = [self._queue.popleft() for _ in range(most)]
        self._at(self.now + self._latency(self.now) / 2, self._answered, poller, asked, called, sent)


def test_an_outage_ends_the_long_polls_that_wait() -> None:
    subject = flow()
    subject.fail(start=5.0, end=6.0)
    subject.send(10, at=7.0)
    subject.run(25)
    assert subject.failures >= 1
    assert subject.finished == 10


@pytest.mark.parametrize("idle_first", [False, True])
def test_a_queue_that_answers_in_portions_is_not_taken_for_an_empty_one(idle_first: bool) -> None:
    """Portions of 1 to 6 of a large backlog: ten pollers bring 3,500 messages/s, and they are used."""
    subject = Portions(ThrottlePolicy(concurrency=100, visibility=30.0), latency=uneven(6))
    start = 30.0 if idle_first else 0.0
    subject.send(20_000, at=start)
    subject.run(start + 4)
    assert finished(subject, start + 3, start + 4) >= 2_500


def test_switched_off_it_polls_with_all_pollers_and_without_pauses() -> None:
    subject = flow(enabled=False, max_pollers=4, prefetch=50)
    subject.send_steadily(100, start=0, end=3)
    subject.run(3)
    assert {sample.pollers for sample in subject.samples} == {4}
    assert subject.calls / subject.finished > 0.8


def test_the_same_flow_runs_the_same_twice() -> None:
    """Where pauses after errors are drawn, too."""

    def run() -> tuple[list[Sample], str]:
        subject = flow(latency=uneven(7))
        subject.send_steadily(500, start=0, end=1)
        subject.fail(start=0.4, end=0.6)
        subject.run(10)
        return subject.samples, repr(subject)

    first = run()
    assert first == run()
    assert first[1].startswith("<Flow at 10 s: 0 queued, 0 waiting, 0 working, ")
