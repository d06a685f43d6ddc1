"""Idempotency with real processes that are killed, and real stores that stand still.

`LEASEKEEPER_SOAK_MESSAGES=10000` sets how many messages are sent twice, `LEASEKEEPER_SOAK_LATE` how many seconds this
machine may be late. `--log-cli-level=INFO` shows the figures.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

if TYPE_CHECKING:
    from once_bench import Bench

log = logging.getLogger("leasekeeper.soak")

MESSAGES = int(os.environ.get("LEASEKEEPER_SOAK_MESSAGES", "100"))
LATE = float(os.environ.get("LEASEKEEPER_SOAK_LATE", "3"))
CRASHES = 0.01 if MESSAGES >= 1_000 else 0.03
PROCESSES = 4
VISIBILITY = 5.0
PAUSE = 10.0


def test_kill_in_the_handler(bench: Bench) -> None:
    """The claim ends with the lease: the message runs again once, when it is visible.

    In DynamoDB it ends 2 s later, because clocks differ, and a message that waits comes up to a second later.
    """
    first = bench.start(seconds=600)
    bench.send(range(1))
    bench.until(lambda: bench.lines("started"), "it runs")
    polls = bench.sqs.calls["ReceiveMessage"]
    bench.start()
    bench.until(lambda: bench.sqs.calls["ReceiveMessage"] > polls + 10, "the second process polls too")
    killed = time.time()
    first.send_signal(signal.SIGKILL)
    first.wait()
    bench.processes.remove(first)
    bench.until(lambda: bench.left() == 0, "it is done")
    bench.stop()
    (_, _, _), (_, _, again) = bench.lines("started")
    allowed = VISIBILITY + (4 if bench.kind == "dynamodb" else 1)
    log.info("%s: it ran again after %.2f s", bench.kind, again - killed)
    assert VISIBILITY / 2 - 0.5 <= again - killed <= allowed + LATE  # a lease is extended when half of it has passed


def test_send_twice_and_crash(bench: Bench) -> None:
    """With the inbox each message has one effect.

    Elsewhere each further one is explained by a process that died between the effect and the end of its handler, or by
    a claim that was lost.
    """
    bench.send(range(MESSAGES), times=2)
    for _ in range(PROCESSES):
        bench.start(CRASHES)

    def done() -> bool:
        bench.replace_killed(CRASHES)
        return bench.left() == 0

    took = bench.until(done, "all are done", within=300 + MESSAGES / 5)
    counts = bench.stop()
    if bench.kind == "inbox":
        with psycopg.connect(bench.place) as connection:
            rows = connection.execute("SELECT id, pid FROM effects").fetchall()
        effects = Counter(number for number, _ in rows)
        assert effects == Counter(range(MESSAGES))
        unexplained = 0
    else:
        by = defaultdict(list)
        for number, process, _ in bench.lines("effects"):
            by[number].append(process)
        effects = Counter({number: len(processes) for number, processes in by.items()})
        lost = set(range(MESSAGES)) - set(effects)
        assert lost == set(), [note for note in bench.lines("started") if note[0] in lost]
        unexplained = sum(process not in bench.killed for processes in by.values() for process in processes[:-1])
    log.info(
        "%s: %d messages twice in %.0f s, %d processes died, %d effects too many, %d of living processes, %s",
        bench.kind,
        MESSAGES,
        took,
        len(bench.killed),
        effects.total() - MESSAGES,
        unexplained,
        counts,
    )
    assert unexplained <= counts["conflicts"]


@pytest.mark.parametrize("bench", ["redis", "dynamodb", "inbox"], indirect=True)
def test_pause_the_store(bench: Bench) -> None:
    """SIGSTOP for 10 s: no handler starts, nothing is lost, and all goes on afterwards."""
    bench.start(seconds=0.05)
    bench.send(range(20))
    bench.until(lambda: bench.left() == 0, "the first are done")
    name = {"redis": "redis-server", "dynamodb": "moto_server.py"}.get(bench.kind, "postgres")
    server = [each for each in psutil.Process().children(recursive=True) if name in " ".join(each.cmdline()[:2])]
    assert server
    for each in server:
        each.suspend()
    try:
        bench.send(range(100, 160))
        time.sleep(PAUSE)
        assert [number for number, _, _ in bench.lines("started") if number >= 100] == []
        assert bench.left() == 60
    finally:
        for each in server:
            each.resume()
    took = bench.until(lambda: bench.left() == 0, "all are done")
    counts = bench.stop()
    log.info("%s: all done %.1f s after the pause, %s", bench.kind, took, counts)
    assert counts["store_errors"] > 0
    assert {number for number, _, _ in bench.lines("started")} == {*range(20), *range(100, 160)}
    assert len(bench.lines("started")) == 80 + counts["conflicts"]
