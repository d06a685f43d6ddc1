"""Relays that are killed in a loop, and a database that is restarted, while writers go on."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from outbox_bench import Bench
from store_servers import postgres_cluster

from leasekeeper.local import LocalSqs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store_servers import Postgres

KILLS = int(os.environ.get("LEASEKEEPER_KILLS", "6"))
RELAYS = 3
GROUPS = "abcdefgh"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with postgres_cluster() as postgres:
        yield postgres


class Writers:
    """A thread for each group, which writes one row in a transaction after the other."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._over = threading.Event()
        self.written: dict[str, list[str]] = {group: [] for group in GROUPS}
        self._threads = [threading.Thread(target=self._write, args=[group]) for group in GROUPS]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, group: str) -> None:
        number = 0
        while not self._over.wait(0.01):
            body = f"{group}{number}"
            number += 1
            try:
                with psycopg.connect(self._bench.dsn) as connection:
                    self._bench.outbox.add(connection, "q.fifo", body, group=group)
                    self._bench.outbox.add(connection, "q", body)
            except psycopg.OperationalError:  # the database is away: whether it has committed is not known
                time.sleep(0.2)
                if not self._committed(body):
                    continue
            self.written[group].append(body)

    def _committed(self, body: str) -> bool:
        """Ask once it is back; a row that was sent already is in the queue."""
        while True:
            try:
                if self._bench.execute("SELECT id FROM {t} WHERE body = %s", body):
                    return True
                return body in self._bench.bodies("q.fifo", body)
            except psycopg.OperationalError:
                time.sleep(0.2)


def check(bench: Bench, writers: Writers) -> None:
    bench.until(lambda: bench.empty)
    for group in GROUPS:
        assert bench.bodies("q.fifo", group) == writers.written[group], "each once, in order"
    standard = bench.bodies("q")
    expected = {body for group in GROUPS for body in writers.written[group]}
    assert set(standard) == expected, "each at least once"


def test_relays_that_are_killed_lose_no_row_and_keep_the_order(postgres: Postgres) -> None:
    chance = random.Random(int(os.environ.get("LEASEKEEPER_SEED", "1")))
    with LocalSqs(seed=1) as sqs:
        bench, relays = Bench(postgres.dsn, sqs), list[subprocess.Popen[bytes]]()
        writers = Writers(bench)
        sqs.faults.set("SendMessageBatch", latency=(0.0, 0.03), fail_entries=0.02, lose_by_reset=0.02)
        try:
            relays += [bench.relay_process("--poll", "0.2") for _ in range(RELAYS)]
            with writers:
                for _ in range(KILLS):
                    sent = len(bench.bodies("q.fifo"))
                    bench.until(lambda sent=sent: len(bench.bodies("q.fifo")) > sent + 20)  # type: ignore[misc]
                    killed = relays.pop(chance.randrange(RELAYS))
                    killed.kill()
                    killed.wait()
                    relays.append(bench.relay_process("--poll", "0.2"))
            check(bench, writers)
        finally:
            for relay in relays:
                relay.terminate()
                assert relay.wait(120) == 0


def test_a_database_that_is_restarted_loses_no_row(postgres: Postgres) -> None:
    with LocalSqs(seed=1) as sqs:
        bench = Bench(postgres.dsn, sqs)
        writers = Writers(bench)
        sqs.faults.set("SendMessageBatch", latency=(0.0, 0.03))
        with bench.relay(), bench.relay():
            with writers:
                for _ in range(3):
                    sent = len(bench.bodies("q.fifo"))
                    bench.until(lambda sent=sent: len(bench.bodies("q.fifo")) > sent + 50)  # type: ignore[misc]
                    postgres.stop()
                    postgres.start()
            check(bench, writers)
