"""The throttler in a simulation of queue, network and handlers (`flow.py`), in virtual time."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
from flow import Flow, Sample

from leasekeeper.core.throttle_policy import ThrottlePolicy

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
    assert all(sample.working == 100 for sample in slow), "no handler is idle"
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


def percentile(delays: list[float], percent: int) -> float:
    return sorted(delays)[len(delays) * percent // 100]


@pytest.mark.parametrize("rate", [2, 10, 50, 100])
def test_at_low_rates_a_message_waits_for_its_own_call_only(rate: int) -> None:
    """Up to 100 messages a second, 99 of 100 find a receive waiting, at one receive a message.

    The shortest possible delay is the 5 ms in which the answer travels: the call has reached the queue before.
    """
    subject = flow()
    subject.send_steadily(rate, start=0, end=1_000 / rate)
    subject.run(1_000 / rate + 1)
    assert percentile(subject.delays, 50) == pytest.approx(0.005)
    assert percentile(subject.delays, 99) <= 0.0065
    assert subject.calls / subject.finished <= 1.02


@pytest.mark.parametrize(("rate", "calls"), [(200, 1.0), (400, 0.8), (1_000, 0.5), (1_500, 0.3), (3_000, 0.25)])
def test_under_a_steady_load_calls_fill_and_delays_stay_below_two_calls(rate: int, calls: float) -> None:
    """Nothing queues up, and the number of pollers does not oscillate wildly."""
    subject = flow(latency=uneven(rate))
    subject.send_steadily(rate, start=0, end=6)
    subject.run(6)
    steady = between(subject, 1, 6)
    assert fmean(sample.calls for sample in steady) / rate <= calls
    assert percentile(subject.delays[len(subject.delays) // 6 :], 99) <= 0.02
    assert fmean(sample.pollers for sample in steady) <= rate * 0.01 / 10 + 4
    assert fmean(abs(after.pollers - before.pollers) for before, after in pairwise(steady)) <= 2
    assert max(sample.queued for sample in steady) <= max(10, rate * 0.02)


def test_messages_far_apart_cost_no_second_long_poll() -> None:
    """L21: a message every 30 s adds at most one call to each: the long poll that it ends early."""
    subject = flow(sample_every=1.0)
    for turn in range(20):
        subject.send(1, at=30.0 * turn)
    subject.run(600)
    assert {sample.pollers for sample in subject.samples} == {1}
    assert subject.calls <= 3 * 10 + 20


def test_when_a_trickle_ends_one_long_poll_is_left() -> None:
    """L21: the others end with their wait, and are not made again."""
    subject = flow(sample_every=1.0)
    subject.send_steadily(50, start=0, end=10)
    subject.run(10)
    assert subject.throttler.pollers >= 3
    subject.run(31)
    assert subject.throttler.pollers == 1
    calls = subject.calls
    subject.run(91)
    assert subject.calls - calls == 3


@pytest.mark.parametrize(("rate", "calls", "delay"), [(2, 1.05, 0.02), (30, 0.8, 0.05), (100, 0.4, 0.05)])
def test_pauses_trade_a_bounded_delay_for_fewer_calls(rate: int, calls: float, delay: float) -> None:
    subject = flow(longest_pause=0.05)
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
    """A queue that holds plenty and answers in portions, like a queue that is spread over many servers."""

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


def test_a_flow_repeats_exactly() -> None:
    """Pauses after errors are random, but come from the seed."""

    def run() -> tuple[list[Sample], str]:
        subject = flow(latency=uneven(7))
        subject.send_steadily(500, start=0, end=1)
        subject.fail(start=0.4, end=0.6)
        subject.run(10)
        return subject.samples, repr(subject)

    first = run()
    assert first == run()
    assert first[1].startswith("<Flow at 10 s: 0 queued, 0 waiting, 0 working, ")
