"""The throttler's decisions one by one; `test_throttler_flow.py` tests them together."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasekeeper.core.throttle_policy import ThrottlePolicy
from leasekeeper.core.throttler import LONGEST_WAIT, Throttler


def throttler(**options: Any) -> Throttler:
    return Throttler(ThrottlePolicy(**{"concurrency": 100, "visibility": 30.0, **options}))


def settle(subject: Throttler, worked: float, *, now: float = 1.0, count: int = 63) -> Throttler:
    """Let `count` handlers of the same duration end."""
    for index in range(count):
        subject.settled(now + index, in_hand=[worked + 0.01], worked=[worked])
    return subject


def receive(subject: Throttler, got: int, *, now: float = 1.0, times: int = 1, latency: float = 0.01) -> Throttler:
    """Let `times` calls for ten messages be answered with `got`."""
    for index in range(times):
        subject.received(now + index * 0.01, asked=10, got=got, latency=latency)
    return subject


# Pollers


def test_it_begins_with_one_poller() -> None:
    """L21: an idle queue costs one long poll at a time."""
    assert throttler().pollers == 1


def test_every_full_answer_adds_a_poller_up_to_the_maximum() -> None:
    """L21: each poller's answer counts, so they double in each round trip."""
    subject = throttler(max_pollers=5)
    assert [receive(subject, 10, now=float(turn)).pollers for turn in range(6)] == [2, 3, 4, 5, 5, 5]


def test_empty_answers_halve_the_pollers_down_to_one() -> None:
    """L21: idle again, one long poll is left."""
    subject = receive(throttler(), 10, times=20)
    assert [receive(subject, 0, now=100.0 * turn).pollers for turn in range(1, 6)] == [5, 2, 1, 1, 1]


def test_short_answers_leave_the_pollers_that_the_rate_needs() -> None:
    """Five thousand messages a second at 10 ms a call are five calls under way at any time."""
    subject = throttler()
    for turn in range(1_000):
        receive(subject, 10, now=turn * 0.002)
    assert subject.statistics().rate == pytest.approx(5_000 * (1 - math.exp(-2)), rel=0.02)
    receive(subject, 9, now=2.0, times=5)
    assert subject.pollers == 5


def test_failures_halve_the_pollers() -> None:
    subject = receive(throttler(), 10, times=20)
    pollers = []
    for turn in range(5):
        subject.failed(2.0 + turn)
        pollers.append(subject.pollers)
    assert pollers == [5, 2, 1, 1, 1]


def test_a_full_answer_to_a_smaller_request_adds_no_poller() -> None:
    """It says that places are short, and more pollers would find none either."""
    subject = throttler()
    for turn in range(10):
        subject.received(1.0 + turn, asked=3, got=3, latency=0.01)
    assert subject.pollers == 1
    assert subject.pause(11.0) == 0.0


def test_no_more_pollers_than_the_handlers_can_use() -> None:
    """A hundred handlers of 2 s take 50 messages a second, which one poller brings with ease."""
    subject = settle(throttler(), 2.0)
    assert receive(subject, 10, now=100.0, times=30).pollers == 1


def test_the_bound_of_the_pollers_grows_with_what_they_bring() -> None:
    """If the median hides that most work is quicker, measured throughput raises the bound; it never lowers it."""
    subject = settle(throttler(concurrency=1), 0.1)
    for turn in range(300):
        receive(subject, 10, now=100.0 + turn * 0.002)
    assert subject.pollers > 2


def test_fixed_pollers_stay_fixed() -> None:
    subject = throttler(pollers=4)
    receive(subject, 10, times=20)
    assert subject.pollers == 4
    receive(subject, 0, now=100.0, times=20)
    subject.failed(200.0)
    assert subject.pollers == 4


# In flight and prefetch


def test_in_flight_is_what_can_be_served_within_the_visibility() -> None:
    """Little's law: 100 handlers of 2 s serve 1,500 messages in 30 s."""
    assert settle(throttler(), 2.0).limit == 1_500


def test_in_flight_is_twice_the_concurrency_if_handlers_outlast_the_visibility() -> None:
    assert throttler().limit == 200, "and before anything is known"
    assert settle(throttler(), 600.0).limit == 200


def test_in_flight_never_exceeds_its_bound() -> None:
    assert settle(throttler(), 0.0).limit == 120_000
    assert settle(throttler(max_in_flight=150), 0.001).limit == 150
    assert settle(throttler(max_in_flight=150), 0.001).prefetch <= 50


def test_prefetch_is_twice_what_is_finished_during_a_receive_and_a_batch() -> None:
    """100 handlers of 20 ms finish 50 messages in the 10 ms of a call."""
    assert settle(receive(throttler(), 10), 0.02).prefetch == 110


@pytest.mark.parametrize(("worked", "prefetch"), [(0.1, 30), (2.0, 20), (20.0, 5), (99.0, 1), (101.0, 0), (300.0, 0)])
def test_nothing_is_prefetched_that_could_not_start_soon(worked: float, prefetch: int) -> None:
    """L19: behind handlers of minutes nothing waits; what waits starts within a second at the median."""
    assert settle(receive(throttler(), 10), worked).prefetch == prefetch


def test_prefetch_stays_within_half_a_short_visibility() -> None:
    assert settle(receive(throttler(concurrency=1, visibility=0.5), 10), 0.05).prefetch == 5


def test_prefetch_stays_within_the_policy() -> None:
    assert settle(receive(throttler(prefetch=7), 10), 0.02).prefetch == 7
    assert settle(receive(throttler(prefetch=0), 10), 0.02).prefetch == 0


def test_nothing_is_prefetched_before_a_handler_has_ended() -> None:
    assert receive(throttler(), 10, times=50).prefetch == 0


def test_one_message_of_five_minutes_changes_nothing() -> None:
    """L19: it does not change a median."""
    subject = settle(receive(throttler(), 10), 0.02)
    before = subject.statistics()
    subject.settled(1_000.0, in_hand=[300.0], worked=[300.0])
    assert dataclasses.replace(subject.statistics(), handler=0.02) == dataclasses.replace(before, handler=0.02)


# Pauses


def test_full_answers_leave_no_pause() -> None:
    assert receive(throttler(), 10, times=50).pause(1.5) == 0.0


def paused(rate: float, got: int, longest_pause: float = 0.05) -> Throttler:
    """A throttler that has long seen `got` messages an answer at `rate` a second, and does not probe now."""
    subject, turn = throttler(longest_pause=longest_pause), 0
    while turn < 6 * rate / got or subject._fullness.probing:
        turn += 1
        subject.received(turn * got / rate, asked=10, got=got, latency=0.01)
    return subject


def test_a_pause_waits_for_most_of_a_batch_less_the_latency_of_the_call() -> None:
    """400 messages a second bring eight in 20 ms, of which the call itself takes 10."""
    subject = paused(400, 4)
    assert subject.pause(subject._rate_at) == pytest.approx(0.01, abs=0.003)


def test_a_pause_is_never_longer_than_the_policy_says() -> None:
    subject = paused(50, 3)
    assert subject.pause(subject._rate_at) == 0.05
    assert paused(50, 3, longest_pause=0.0).pause(0.0) == 0.0


def test_there_is_no_pause_if_a_long_poll_is_quicker() -> None:
    """Below one message in the longest pause, a call that waits at the queue gets it sooner."""
    subject = paused(50, 3)
    assert subject.pause(subject._rate_at + 60) == 0.0


# Receives that wait at the queue


def trickle(subject: Throttler, rate: float, *, seconds: float = 5.0, start: float = 1.0) -> Throttler:
    """Let single messages arrive at even intervals, each in an answer that took 10 ms."""
    for turn in range(round(rate * seconds)):
        subject.received(start + turn / rate, asked=10, got=1, latency=0.01)
    return subject


@pytest.mark.parametrize(("rate", "pollers"), [(2, 2), (10, 2), (50, 4), (100, 5)])
def test_at_low_rates_a_receive_waits_at_the_queue_while_others_are_answered(rate: int, pollers: int) -> None:
    assert trickle(throttler(), rate).pollers == pollers


def test_above_the_prompt_rate_fewer_receives_wait() -> None:
    """There a receive a message costs more than the milliseconds are worth."""
    pollers = [trickle(throttler(), rate).pollers for rate in (100, 200, 400, 1_000)]
    assert pollers == sorted(pollers, reverse=True)
    assert pollers[-1] <= 3


def test_one_message_at_a_time_needs_one_receive() -> None:
    """L21: several open long polls would each cost a call when they end."""
    assert trickle(throttler(), 0.5, seconds=20).pollers == 1


def test_short_polls_are_made_one_at_a_time() -> None:
    """Without a wait at the queue, every further receive comes back empty."""
    assert trickle(throttler(wait=0.0), 50).pollers == 1


def test_a_consumer_that_may_pause_needs_one_receive() -> None:
    assert trickle(throttler(longest_pause=0.05), 50).pollers == 1


def test_the_most_pollers_bound_the_receives_that_wait() -> None:
    assert trickle(throttler(max_pollers=3), 50).pollers == 3


def test_receives_that_waited_do_not_raise_the_latency() -> None:
    """Four receives wait at the queue for 80 ms each at 50 messages a second; the call itself takes 10 ms."""
    subject = trickle(throttler(), 50)
    for turn in range(100):
        subject.received(10 + turn * 0.02, asked=10, got=1, latency=0.08)
    assert subject.latency == 0.01
    assert subject.pollers == 4


# The rest


def test_visibility_is_four_medians_within_bounds() -> None:
    subject = throttler()
    assert subject.visibility(30, 600) == 30
    settle(subject, 20.99)
    assert subject.visibility(30, 600) == 84
    assert subject.visibility(30, 60) == 60


def test_a_disabled_throttler_decides_nothing() -> None:
    subject = throttler(enabled=False)
    assert (subject.pollers, subject.limit, subject.prefetch) == (10, 100, 0)
    settle(receive(subject, 3, times=50), 0.02)
    subject.failed(100.0)
    assert (subject.pollers, subject.limit, subject.prefetch) == (10, 100, 0)
    assert subject.pause(100.0) == 0.0
    subject = throttler(enabled=False, pollers=3, prefetch=50)
    assert (subject.pollers, subject.limit, subject.prefetch) == (3, 150, 50)


def test_an_answer_that_waited_for_messages_does_not_change_the_latency() -> None:
    subject = receive(throttler(), 10)
    assert subject.latency == 0.01
    receive(subject, 10, now=20.0, latency=17.0)
    receive(subject, 1, now=40.0, latency=19.0)
    assert subject.latency == 0.01
    assert subject.pollers == 1


def test_without_full_answers_the_shortest_answers_give_the_latency() -> None:
    subject = throttler()
    for turn, latency in enumerate((1.5, 0.02, 0.5, 1.2, 0.02)):
        receive(subject, 1, now=float(turn), latency=latency)
    assert subject.latency == pytest.approx(0.02, abs=0.01)


def test_its_repr() -> None:
    subject = settle(receive(throttler(), 10), 0.02)
    assert repr(subject) == ("<Throttler 2 pollers, 120000 in flight, 110 ahead; handler 20 ms, receive 10 ms, 10/s>")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"concurrency": 0}, "concurrency=0 cannot work: give 1 or more"),
        ({"pollers": 0}, "pollers=0 cannot work: give 1 or more"),
        ({"max_pollers": 0}, "max_pollers=0 cannot work: give 1 or more"),
        ({"batch": 0}, "batch=0 cannot work: give 1 or more"),
        ({"visibility": 0.0}, "visibility=0.0 cannot work: give seconds above 0"),
        ({"longest_pause": -1.0}, "longest_pause=-1.0 cannot work: give seconds, 0 or more"),
        ({"wait": -1.0}, "wait=-1.0 cannot work: give seconds, 0 or more"),
        ({"prefetch": -1}, "prefetch=-1 cannot work: give 0 or more"),
        (
            {"max_in_flight": 1, "concurrency": 2},
            (
                "max_in_flight=1 with concurrency=2: handlers could never all be at work; "
                "raise max_in_flight or lower concurrency"
            ),
        ),
    ],
)
def test_a_policy_that_cannot_work_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        throttler(**options)
    assert str(refusal.value) == sentence


seconds = st.floats(0, 60)
events = st.one_of(
    st.tuples(st.just("received"), seconds, st.integers(1, 10), st.integers(0, 10)),
    st.tuples(st.just("settled"), seconds, st.floats(0, 600), st.just(0)),
    st.tuples(st.just("failed"), seconds, st.just(0), st.just(0)),
)
policies = st.builds(
    ThrottlePolicy,
    concurrency=st.integers(1, 1_000),
    visibility=st.floats(0.1, 43_200),
    max_in_flight=st.integers(1_000, 120_000),
    pollers=st.none() | st.integers(1, 5),
    max_pollers=st.integers(1, 20),
    batch=st.integers(1, 10),
    prefetch=st.none() | st.integers(0, 100),
    wait=st.floats(0, 20),
    longest_pause=st.just(0.0) | st.floats(0, 1),
    enabled=st.booleans(),
)


@settings(max_examples=20)
@given(policies, st.lists(events, max_size=15))
def test_its_decisions_always_stay_within_bounds(
    policy: ThrottlePolicy, seen: list[tuple[str, float, float, int]]
) -> None:
    subject, now = Throttler(policy), 0.0
    for what, after, value, got in seen:
        now += after
        if what == "received":
            asked = min(int(value), policy.batch)
            subject.received(now, asked=asked, got=min(got, asked), latency=min(after, 20.0))
        elif what == "settled":
            subject.settled(now, in_hand=[value * 1.5], worked=[value])
        else:
            subject.failed(now)
        assert 1 <= subject.pollers <= max(policy.max_pollers, policy.pollers or 1)
        assert policy.concurrency <= subject.limit <= policy.max_in_flight
        assert 0 <= subject.prefetch <= (policy.max_in_flight if policy.prefetch is None else policy.prefetch)
        if policy.enabled:
            assert policy.concurrency + subject.prefetch <= subject.limit, "what may wait may also be in hand"
        handler = subject.statistics().handler
        if policy.prefetch is None and policy.enabled and handler:
            soon = min(LONGEST_WAIT, policy.visibility / 2)
            assert subject.prefetch <= policy.concurrency / handler * soon + 1 or after < 0.02
        assert 0 <= subject.pause(now) <= policy.longest_pause
        assert 30 <= subject.visibility(30, 43_200) <= 43_200
