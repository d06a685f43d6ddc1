"""The processes lane with real processes that die, hang and leak, against the local SQS over HTTP."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jobs
import psutil
import pytest
from process_bench import Bench

from leasekeeper import Consumer, Leasekeeper, LeasekeeperError

if TYPE_CHECKING:
    from collections.abc import Callable

MIXED = int(os.environ.get("LEASEKEEPER_MIXED", "300"))


@pytest.mark.parametrize("handler", [jobs.work, jobs.work_async])
def test_messages_are_run_and_their_outcomes_are_what_handlers_say(
    bench: Bench, handler: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        consumer = bench.run("a", "retry", "reject no use", "ack", "lease", "log something", handler=handler)
    notes = bench.notes
    assert [note for note in notes if note.startswith("retry")][1].startswith("retry 2 ")
    assert "settled acked" in notes
    assert "lease False False True" in notes
    assert len(bench.left("dead")) == 1
    statistics = consumer.statistics()
    assert statistics is not None
    assert statistics.work.rejected == 1
    (record,) = [record for record in caplog.records if record.name == "jobs"]
    assert record.getMessage() == "logged something"
    assert vars(record)["message_id"]


def test_each_worker_opens_the_lifespan_and_closes_it(bench: Bench) -> None:
    bench.put("a")
    consumer = Consumer(
        "jobs",
        jobs.work_with,
        lane="processes",
        workers=2,
        lifespan=jobs.lifespan,
        wait_time=0.2,
        ack_interval=0,
        endpoint_url=bench.sqs.endpoint_url,
        region="us-east-1",
    )
    consumer.start()
    bench.until(lambda: not bench.left())
    consumer.stop()
    counts = Counter(note.split()[0] for note in bench.notes)
    assert counts == {"open": 2, "with": 1, "close": 2}
    assert "with True" in bench.notes


def test_each_worker_makes_its_injector(bench: Bench) -> None:
    bench.put("a", "b")
    app = Leasekeeper(wait_time=0.2, ack_interval=0, endpoint_url=bench.sqs.endpoint_url, region="us-east-1")
    app.inject(jobs.injector)
    app.consumer("jobs", lane="processes", workers=2)(jobs.work_injected)
    app.start()
    bench.until(lambda: not bench.left())
    app.stop()
    notes = [note for note in bench.notes if note.startswith("injected")]
    assert sorted(notes) == ["injected a True", "injected b True"]


def test_a_worker_that_cannot_start_fails_the_start_with_its_traceback(bench: Bench) -> None:
    consumer = Consumer(
        "jobs",
        jobs.work_with,
        lane="processes",
        workers=2,
        lifespan=jobs.broken,
        endpoint_url=bench.sqs.endpoint_url,
        region="us-east-1",
    )
    with pytest.raises(LeasekeeperError, match=r"(?s)RuntimeError: no database here.*in broken"):
        consumer.start()


def test_a_death_costs_the_running_message_only_and_it_runs_elsewhere_at_once(bench: Bench) -> None:
    """L9: nothing that a handler does to its process touches a lease or another message."""
    others = [f"sleep 0.0{each}" for each in range(1, 9)]
    bench.put("killonce", *others)
    consumer = bench.consumer()
    consumer.start()
    took = bench.until(lambda: sum(note.startswith("killonce") for note in bench.notes) == 2)
    bench.until(lambda: not bench.left())
    consumer.stop()
    assert took < 25  # less than the visibility timeout
    first, second = [note.split() for note in bench.notes if note.startswith("killonce")]
    assert first[2] != second[2], "another process"
    assert [note.split()[2] for note in bench.notes if note.startswith("sleep")] == ["1"] * 8, "received once each"


@pytest.mark.parametrize(("deed", "reason"), [("kill SIGSEGV", "SIGSEGV"), ("crash", "SIGSEGV")])
def test_a_message_that_kills_three_workers_is_rejected(bench: Bench, deed: str, reason: str) -> None:
    bench.run(deed, "a", "b")
    (dead,) = bench.left("dead")
    assert f"ended by signal {reason}" in repr(dead.content.attributes)
    assert sum(note.startswith(deed) for note in bench.notes) == 3
    assert {note.split()[1] for note in bench.notes if note[0] in "ab" and note[1] == " "} == {"1"}


def test_what_hangs_in_c_is_ended_and_heartbeats_go_on_meanwhile(bench: Bench) -> None:
    """L9: a regex that holds the GIL for hours holds up nothing but its own process."""
    bench.put("hang", "sleep 4")
    consumer = bench.consumer(handler_timeout=8, kill_grace=0.5, visibility_timeout=3, max_attempts=1)
    consumer.start()
    took = bench.until(lambda: not bench.left())
    report = consumer.stop().result()
    assert took < 40
    assert report.lost == 0
    assert len(bench.left("dead")) == 1
    assert sum(note.startswith(("hang", "sleep")) for note in bench.notes) == 2, "each ran once"


def test_a_worker_that_takes_too_much_memory_is_ended(bench: Bench) -> None:
    bench.put("allocate 400000000")
    consumer = bench.consumer(kill_rss=300_000_000)
    consumer.start()
    bench.until(lambda: len(bench.left("dead")) == 1)
    consumer.stop()
    (dead,) = bench.left("dead")
    assert "more than kill_rss=300,000,000" in repr(dead.content.attributes)


def test_workers_are_replaced_after_so_many_messages_one_at_a_time(bench: Bench) -> None:
    consumer = bench.run(*(f"sleep 0.0{5 + each % 5}" for each in range(60)), max_tasks=10)
    assert len({note.split()[-1] for note in bench.notes}) >= 4
    assert len(bench.notes) == 60
    report = consumer.stop().result()
    assert report.acked == 60


def test_noise_forks_and_threads_of_a_handler_break_nothing(bench: Bench) -> None:
    bench.run("noise", "a", "noise", "b")
    assert len(bench.notes) == 4


def test_a_stop_under_load_drains_in_order_and_hides_nothing(bench: Bench) -> None:
    """L22: what runs is finished, what waits is given back."""
    bench.put(*(f"sleep 0.{each % 4}" for each in range(40)))
    consumer = bench.consumer()
    consumer.start()
    bench.until(lambda: len(bench.notes) > 4)
    report = consumer.stop().result()
    queue = bench.sqs.broker.account.queues["jobs"]
    assert report.unsettled == 0
    assert queue.in_flight == 0
    assert len(bench.left()) == 40 - report.acked


def test_a_stop_ends_what_does_not_end(bench: Bench) -> None:
    """L22: processes are ended, and their messages released."""
    bench.put("hang", "hang")
    consumer = bench.consumer(drain_timeout=0.5)
    consumer.start()
    bench.until(lambda: len(bench.notes) == 2)
    began = time.monotonic()
    report = consumer.stop().result()
    assert time.monotonic() - began < 25  # less than the visibility timeout; the handlers hang for hours
    assert report.unsettled == 0
    assert bench.sqs.broker.account.queues["jobs"].in_flight == 0


def test_no_worker_outlives_its_engine(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text(
        "import sys\nsys.path.insert(0, sys.argv[2])\nimport jobs\nfrom leasekeeper import Consumer\n"
        "if __name__ == '__main__':\n"
        "    Consumer('jobs', jobs.work, lane='processes', workers=2, endpoint_url=sys.argv[1],"
        " region='us-east-1').run()\n"
    )
    bench.put("hang", "hang")
    command = [sys.executable, str(script), bench.sqs.endpoint_url, str(Path(jobs.__file__).parent)]
    with subprocess.Popen(command) as engine:
        bench.until(lambda: len(bench.notes) == 2)
        mine = psutil.Process(engine.pid).children(recursive=True)
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    Bench.until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in mine))


def test_workers_are_added_and_leave_between_two_messages(bench: Bench) -> None:
    consumer = bench.consumer(workers=1, prefetch=0)
    consumer.start()
    bench.put(*(f"sleep 0.05 {number}" for number in range(60)))
    bench.until(lambda: len(bench.notes) > 2)
    assert consumer.set_concurrency(3).result().startswith("workers was 1 and is 3: ")

    def workers_now() -> int:
        statistics = consumer.statistics()
        assert statistics is not None
        return statistics.lane.workers

    bench.until(lambda: workers_now() == 3)
    consumer.set_concurrency(1).result()
    bench.until(lambda: workers_now() == 1)
    bench.until(lambda: not bench.left())
    statistics = consumer.statistics()
    assert statistics is not None
    assert statistics.concurrency == 1
    assert (statistics.work.failed, sum(statistics.lane.deaths.values())) == (0, 0)
    assert {note.split()[-2] for note in bench.notes} == {"1"}
    assert len(bench.notes) == 60
    consumer.stop()


def test_after_mixed_deaths_time_outs_and_errors_the_lane_has_its_full_capacity(bench: Bench) -> None:
    draw = random.Random(7)
    deeds = ["kill SIGKILL", "raise bad", "sleep 5", "reject it", "retry", "a", "b", "c"]
    bench.put(*(f"{draw.choices(deeds, [3, 10, 1, 5, 10, 30, 30, 30])[0]} {each}" for each in range(MIXED)))
    consumer = bench.consumer(handler_timeout=0.5, kill_grace=0.2, max_attempts=2, workers=4)
    descriptors = psutil.Process().num_fds()
    consumer.start()
    bench.until(lambda: not bench.left(), 600)
    statistics = consumer.statistics()
    assert statistics is not None
    bench.until(lambda: (now := consumer.statistics()) is not None and now.lane.workers == 4, 10)
    assert statistics.lane.running == 0
    found = Counter(note.split()[0] for note in bench.notes)
    deaths = statistics.lane.deaths
    # On a busy machine the time of a `kill` may be over before it comes to that, and the fork server may miss a status.
    assert sum(deaths.values()) == found["kill"] + found["sleep"]
    assert deaths["killed"] >= MIXED // 50
    logging.getLogger("soak").warning("%d messages, %d runs, deaths %s", MIXED, found.total(), deaths)
    consumer.stop()
    gone = [each for each in psutil.Process().children(recursive=True) if each.status() == psutil.STATUS_ZOMBIE]
    assert not gone
    assert psutil.Process().num_fds() <= descriptors + 4  # the fork server's own
