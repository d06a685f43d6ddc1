"""When SQS began a lease, as far as an answer tells (L3)."""

from __future__ import annotations

import pytest

from leasekeeper.core.arrival import LONGEST, Arrival
from leasekeeper.message import Received

EPOCH = 1_700_000_000.0


def message(noted: float | None, count: int = 1) -> Received:
    system = {"ApproximateReceiveCount": str(count)}
    if noted is not None:
        system["ApproximateFirstReceiveTimestamp"] = str(round((EPOCH + noted) * 1000))
    return Received(message_id="m", receipt="r", system=system)


def began(arrival: Arrival, requested: float, now: float, *messages: Received, skew: float = 0.0) -> float:
    return arrival.began(list(messages), requested_at=requested, now=now, wall=EPOCH + now + skew, visibility=30)


def test_an_answer_that_came_at_once_counts_from_its_arrival() -> None:
    assert began(Arrival(), 100.0, 100.1, message(100.0)) == 100.1


def test_a_first_receive_tells_how_long_its_answer_was_on_its_way() -> None:
    assert began(Arrival(), 100.0, 108.0, message(103.0)) == pytest.approx(103.0)


def test_a_long_poll_that_waited_for_its_message_was_not_on_its_way() -> None:
    assert began(Arrival(), 100.0, 119.0, message(118.99)) == pytest.approx(119.0, abs=0.02)


def test_without_a_first_receive_the_delay_before_counts() -> None:
    arrival = Arrival()
    began(arrival, 100.0, 108.0, message(103.0))
    assert began(arrival, 110.0, 120.0, message(None, count=2)) == pytest.approx(115.0)
    assert began(arrival, 130.0, 131.0, message(None, count=2)) == pytest.approx(130.0), "never before the request"


@pytest.mark.parametrize("skew", [-3_600.0, -5.0, 5.0, 3_600.0])
def test_clocks_that_differ_cost_no_lease_once_the_bounds_say_so(skew: float) -> None:
    """L3: a wrong clock here must not make a fresh lease look old."""
    arrival = Arrival()
    began(arrival, 100.0, 100.5, message(100.3), skew=skew)
    assert began(arrival, 110.0, 130.0, message(129.9), skew=skew) == pytest.approx(130.0, abs=0.21)


@pytest.mark.parametrize("skew", [3.0, 5.0, 15.0])
def test_one_answer_that_came_at_once_tells_how_far_the_clocks_differ(skew: float) -> None:
    """L3: otherwise a clock that is a few seconds ahead would make every fresh lease of a long poll look old."""
    arrival = Arrival()
    assert began(arrival, 100.0, 100.1, message(100.05), skew=skew) == 100.1
    assert began(arrival, 110.0, 130.0, message(129.9), skew=skew) == pytest.approx(130.0, abs=0.21)


def test_a_clock_that_is_set_while_we_work_is_noticed() -> None:
    arrival = Arrival()
    began(arrival, 100.0, 101.0, message(100.9))
    assert began(arrival, 110.0, 111.0, message(110.9), skew=50.0) == pytest.approx(111.0, abs=0.2)


def test_some_of_the_lease_is_always_left() -> None:
    """An estimate may be wrong: SQS is asked with an extension, nothing is dropped."""
    assert began(Arrival(), 100.0, 200.0, message(101.0)) == 200.0 - LONGEST * 30
