"""Batches in real worker processes that die and hang in the middle of one, against the local SQS over HTTP."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import jobs
import pytest

if TYPE_CHECKING:
    from process_bench import Bench

MANY = [f"a {number}" for number in range(30)]


def receives(bench: Bench, word: str) -> Counter[str]:
    """How often messages were in a call that returned, by their bodies and attempts."""
    return Counter(note.rpartition(" ")[0] for note in bench.notes if note.startswith(word))


def test_batches_run_in_processes_and_each_message_ends_as_the_handler_says(bench: Bench) -> None:
    consumer = bench.run(*MANY, "ack", "reject no use", "retry", handler=jobs.work_batch, batch=50, batch_wait=0.5)
    assert receives(bench, "a ") == {f"{body} 1": 1 for body in MANY}
    assert "settled acked" in bench.notes
    assert receives(bench, "retry") == {"retry 1": 1, "retry 2": 1}
    statistics = consumer.statistics()
    assert statistics is not None
    assert statistics.work.rejected == len(bench.left("dead")) == 1


def test_bodies_alone_run_in_processes(bench: Bench) -> None:
    bench.run(*MANY, handler=jobs.work_rows, batch=10, batch_wait=0.5)
    assert sum(int(note.split()[1]) for note in bench.notes) == len(MANY)


@pytest.mark.parametrize(("policy", "most_deaths"), [("retry", 8), ("singly", 4)])
def test_one_message_that_kills_its_worker_costs_the_others_of_its_batch_nothing(
    bench: Bench, policy: str, most_deaths: int
) -> None:
    consumer = bench.run(
        *MANY, "kill SIGKILL", handler=jobs.work_batch, batch=31, batch_wait=5, on_batch_error=policy, workers=2
    )
    assert receives(bench, "a ") == {f"{body} 1": 1 for body in MANY}, "received once each, and done once"
    (dead,) = bench.left("dead")
    assert "3 worker processes ended while they ran it" in repr(dead.content.attributes)
    statistics = consumer.statistics()
    assert statistics is not None
    assert 4 <= statistics.lane.deaths["killed"] <= most_deaths
    assert statistics.work.done == len(MANY)


def test_a_batch_that_hangs_in_c_is_ended_and_the_message_is_found(bench: Bench) -> None:
    """L9: nothing that a batch does to its process touches a lease."""
    consumer = bench.run(
        *MANY[:3],
        "hang",
        handler=jobs.work_batch,
        batch=4,
        batch_wait=5,
        on_batch_error="halves",
        handler_timeout=1,
        kill_grace=0.2,
        max_attempts=1,
        visibility_timeout=2,
    )
    assert receives(bench, "a ") == {f"{body} 1": 1 for body in MANY[:3]}
    (dead,) = bench.left("dead")
    assert "handler_timeout=1" in repr(dead.content.attributes)
    statistics = consumer.statistics()
    assert statistics is not None
    assert statistics.lane.deaths["timeout"] == 3
    report = consumer.stop().result()
    assert report.lost == 0


def test_a_stop_ends_batches_and_gives_their_messages_back(bench: Bench) -> None:
    """L22: processes are ended, and their messages released."""
    bench.put("hang", *MANY[:9])
    consumer = bench.consumer(handler=jobs.work_batch, batch=5, batch_wait=0.2, workers=1, drain_timeout=0.5)
    consumer.start()
    bench.until(lambda: bench.notes)
    report = consumer.stop().result()
    assert report.unsettled == 0
    assert bench.sqs.broker.account.queues["jobs"].in_flight == 0
