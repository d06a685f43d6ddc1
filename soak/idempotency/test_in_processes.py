"""Idempotency in the processes lane: stores connect in the workers, and what they count arrives at the engine."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import deeds
import pytest
import redis

from leasekeeper import Consumer
from leasekeeper.idempotency import Idempotency, IdempotencyStatistics, RedisStore
from leasekeeper.idempotency.keys import digest

if TYPE_CHECKING:
    from pathlib import Path

    from once_bench import Bench

OUTAGE = 6.0
"""Seconds: without the pause, messages would come again after 2 and a little."""


async def claim_elsewhere(url: str, key: str) -> None:
    store = RedisStore.from_url(url)
    await store.claim(key, "another", "", 12.0)
    await store.close()


def a_consumer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[Consumer, Path]:
    """A consumer with two worker processes, and the file in which they write what they have done."""
    path = bench.folder / "deeds"
    path.touch()
    monkeypatch.setenv("DEEDS", str(path))
    consumer = Consumer(
        "orders",
        deeds.work,
        idempotency=Idempotency(RedisStore.from_url(bench.place), key="id", scope="s"),
        lane="processes",
        workers=2,
        endpoint_url=bench.sqs.endpoint_url,
        region="us-east-1",
        visibility_timeout=30,
        wait_time=0.2,
    )
    return consumer, path


@pytest.mark.parametrize("bench", ["redis"], indirect=True)
def test_workers_claim_keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that runs elsewhere is given back until its claim ends: it is not tried again at once."""
    consumer, path = a_consumer(bench, monkeypatch)
    consumer.start()
    asyncio.run(claim_elsewhere(bench.place, f"leasekeeper:s:{digest(7)}"))
    claimed = time.monotonic()
    for numbers in (range(7, 8), range(7), range(8, 10)):  # first the one that is claimed: its claim ends soon
        bench.send(numbers, times=2)
    bench.until(lambda: bench.left() == 0, "all are done")
    took = time.monotonic() - claimed
    statistics = consumer.statistics()
    consumer.stop().result()
    assert sorted(map(int, path.read_text().split())) == list(range(10))
    assert took > 11
    assert statistics is not None
    assert isinstance(statistics.idempotency, IdempotencyStatistics)
    assert (statistics.idempotency.claimed, statistics.idempotency.done) == (10, 10)
    assert 0 < statistics.idempotency.running <= 8


@pytest.mark.parametrize("bench", ["redis"], indirect=True)
def test_an_outage_pauses_the_consumer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full Redis takes no claims: what is here waits, nothing more is received, and no receive is spent."""
    consumer, path = a_consumer(bench, monkeypatch)
    calls = bench.sqs.broker.calls
    consumer.start()
    bench.send(range(1))
    bench.until(lambda: bench.left() == 0, "the workers run")
    with redis.Redis.from_url(bench.place) as server:
        server.config_set("maxmemory", 1)
        bench.send(range(1, 6))
        bench.until(lambda: not consumer.healthy, "the outage is noticed")
        time.sleep(1.0)  # a receive that is on its way ends
        receives = calls["ReceiveMessage"]
        bench.send(range(6, 11))
        time.sleep(OUTAGE)
        assert calls["ReceiveMessage"] == receives
        server.config_set("maxmemory", 0)
    bench.until(lambda: bench.left() == 0, "all are done")
    report = consumer.stop().result()
    assert sorted(map(int, path.read_text().split())) == list(range(11))
    assert report.received == 11
