"""When a worker process is replaced."""

from __future__ import annotations

import pytest

from leasekeeper.core.worker_life import Limits, WorkerLife


def test_without_limits_a_worker_lives_on() -> None:
    worker = WorkerLife(Limits(), 0.0, 0.5)
    worker.tasks = 10**9
    assert worker.over(10**9, 10**12) == ""


@pytest.mark.parametrize(("draw", "last"), [(0.0, 900), (0.5, 1000), (1.0, 1100)])
def test_the_number_of_messages_differs_by_a_tenth(draw: float, last: int) -> None:
    worker = WorkerLife(Limits(tasks=1000), 0.0, draw)
    worker.tasks = last - 1
    assert worker.over(0.0, 0) == ""
    worker.tasks = last
    assert worker.over(0.0, 0) == f"{last} messages"


def test_age_counts_from_the_start() -> None:
    worker = WorkerLife(Limits(age=50.0), 100.0, 0.5)
    assert worker.over(149.9, 0) == ""
    assert worker.over(150.0, 0) == "max_age=50 s"


def test_memory_counts_after_a_message() -> None:
    worker = WorkerLife(Limits(rss=1000), 0.0, 0.5)
    assert worker.over(0.0, 1000) == ""
    assert worker.over(0.0, 1001) == "1,001 bytes of memory, more than max_rss=1,000"


def test_one_message_is_one() -> None:
    worker = WorkerLife(Limits(tasks=1), 0.0, 0.5)
    worker.tasks = 1
    assert worker.over(0.0, 0) == "1 message"
