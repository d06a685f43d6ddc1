"""Consumers with idempotency: what their statistics and metrics say, and what they warn of when they start."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from leasekeeper import Consumer
from leasekeeper.idempotency import Idempotency, IdempotencyStatistics, MemoryStore
from leasekeeper.observe.catalogue import CATALOGUE
from leasekeeper.testing.world import World, virtual

LOG = logging.getLogger("leasekeeper.tests.idempotency")
DAY = 86_400


async def handle(body: dict[str, Any]) -> None:
    await asyncio.sleep(0)


@virtual
async def test_statistics_and_metrics_count_what_was_found_of_keys() -> None:
    async with World() as world:
        store = MemoryStore(clock=asyncio.get_running_loop().time)
        idempotency = Idempotency(store, key="id", missing="reject")
        await world.send(json.dumps({"id": 1}))
        consumer = Consumer("orders", handle, idempotency=idempotency, region="eu-west-1")
        running = await world.start(consumer)
        await world.until(lambda: not world.bodies(), within=60)
        await world.send(json.dumps({"id": 1}), json.dumps({}))
        await world.until(
            lambda: idempotency.statistics().done == 1 and idempotency.statistics().missing >= 1, within=60
        )
        statistics = running.statistics()
        assert statistics.idempotency == idempotency.statistics("orders")
        assert idempotency.statistics("refunds") == IdempotencyStatistics()
        read = {each.name: each.read(statistics) for each in CATALOGUE if "idempotency" in each.name}
        found = read["leasekeeper_idempotency_messages_total"]
        assert isinstance(found, dict)
        assert (found["claimed"], found["done"], found["running"]) == (1, 1, 0)
        assert read["leasekeeper_idempotency_conflicts_total"] == 0
        assert read["leasekeeper_idempotency_store_errors_total"] == 0


@virtual
async def test_a_consumer_without_idempotency_has_no_such_metrics() -> None:
    async with World() as world:
        running = await world.start(handle)
        statistics = running.statistics()
        assert statistics.idempotency is None
        assert [each.read(statistics) for each in CATALOGUE if "idempotency" in each.name] == [None] * 3


@pytest.mark.parametrize(
    ("keep", "max_receives", "sentence"),
    [
        (3, None, "kept for 3 days, and messages for 4 days in the queue: what comes later runs again; set"),
        (4, None, ""),
        (7, 3, "kept for 7 days, and messages for 8 days in the queue and its dead-letter queue: what comes later"),
        (8, 3, ""),
        (None, 3, ""),
    ],
)
def test_a_consumer_warns_once_of_keys_that_are_forgotten_too_early(
    keep: int | None, max_receives: int | None, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    @virtual
    async def run() -> None:
        attributes = {"MessageRetentionPeriod": str(4 * DAY)}
        async with World(max_receives=max_receives, attributes=attributes) as world:
            values: dict[str, Any] = {} if keep is None else {"keep": timedelta(days=keep)}
            idempotency = Idempotency(MemoryStore(), key="id", **values)
            await world.start(handle, idempotency=idempotency, logger=LOG)

    with caplog.at_level(logging.WARNING):
        run()
    found = [each.message for each in caplog.records if "idempotency keys" in each.message]
    assert len(found) == bool(sentence)
    assert all(sentence in each for each in found)
