"""When `--exit-when-empty` takes a queue for empty."""

from __future__ import annotations

import pytest

from leasekeeper.cli.exit_when_empty import POLLS, Emptiness, polls_within


def polled(queue: Emptiness, times: int, *, took: float = 20.0, now: float = 0.0) -> float:
    for _ in range(times):
        now += took
        queue.received(0, took, now)
    return now


def test_three_empty_long_polls_in_a_row_are_enough() -> None:
    queue = Emptiness(seconds=0, wait=20)
    now = polled(queue, POLLS - 1)
    assert not queue.seems_empty(now)
    assert queue.seems_empty(polled(queue, 1, now=now))


def test_a_message_begins_the_count_again() -> None:
    queue = Emptiness(seconds=0, wait=20)
    now = polled(queue, POLLS - 1)
    queue.received(1, 3.0, now)
    assert not queue.seems_empty(polled(queue, POLLS - 1, now=now))
    queue.again()
    assert queue.seems_empty(polled(queue, POLLS, now=100))


def test_short_polls_do_not_count() -> None:
    """A receive that does not wait asks only some of the servers of SQS."""
    queue = Emptiness(seconds=0, wait=20)
    assert not queue.seems_empty(polled(queue, 100, took=0.02))


def test_without_long_polls_every_empty_receive_counts() -> None:
    queue = Emptiness(seconds=0, wait=0)
    assert queue.seems_empty(polled(queue, POLLS, took=0.02))


def test_the_queue_has_to_be_empty_for_the_seconds_that_are_given() -> None:
    queue = Emptiness(seconds=90, wait=20)
    now = polled(queue, POLLS)
    assert not queue.seems_empty(now)
    assert queue.seems_empty(now + 30)


@pytest.mark.parametrize(("seconds", "wait"), [(0, 1), (3, 1), (30, 10), (60, 20)])
def test_three_long_polls_fit_into_the_time(seconds: float, wait: float) -> None:
    assert polls_within(seconds) == wait
