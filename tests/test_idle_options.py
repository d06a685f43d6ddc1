"""Options without effect are named once at the start, and only where they were given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasekeeper import Leasekeeper, Options
from leasekeeper.idle_options import without_effect
from leasekeeper.local import Broker, LocalClient

CASES: list[tuple[dict[str, Any], dict[str, bool], str]] = [
    ({"batch_wait": 5.0}, {}, "batch_wait=5.0 has no effect without batch: set batch=, or leave batch_wait out"),
    ({"on_batch_error": "halves"}, {}, "on_batch_error='halves' has no effect without batch: set batch=, or leave"),
    ({"batch": 5, "batch_groups": "several"}, {}, "batch_groups='several' has no effect on a standard queue"),
    ({"fifo_ack": "confirmed"}, {}, "fifo_ack='confirmed' has no effect on a standard queue: leave it out"),
    ({"local_retry_limit": 5.0}, {}, "local_retry_limit=5.0 has no effect on a standard queue: leave it out"),
    ({"threads": 4}, {}, "threads=4 has no effect on `async def` handlers, which run in no threads: leave it out"),
    ({"dispatch": "pool"}, {"is_coroutine": False}, "dispatch='pool' has no effect on `def` handlers"),
    ({"idle_timeout": 5.0}, {}, "idle_timeout=5 has no effect without dispatch='pool': leave it out"),
    ({"group_concurrency": 30}, {}, "group_concurrency=30 with concurrency=20 limits nothing: no group can have more"),
    ({"pollers": 3, "max_pollers": 5}, {}, "max_pollers=5 has no effect with pollers=3: leave one of them out"),
]


@pytest.mark.parametrize(("values", "kind", "sentence"), CASES)
def test_an_option_without_effect_is_named(values: dict[str, Any], kind: dict[str, bool], sentence: str) -> None:
    [found] = without_effect(Options(**values), **{"fifo": False, "is_coroutine": True, **kind})
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    ("values", "fifo", "is_coroutine"),
    [
        ({}, False, True),
        ({"batch": 5, "batch_wait": 5.0, "on_batch_error": "halves", "batch_groups": "several"}, True, True),
        ({"fifo_ack": "confirmed", "local_retry_limit": 5.0}, True, True),
        ({"threads": 4}, False, False),
        ({"dispatch": "pool", "idle_timeout": 5.0}, False, True),
        ({"group_concurrency": 3}, False, True),
    ],
)
def test_options_with_an_effect_are_not(values: dict[str, Any], fifo: bool, is_coroutine: bool) -> None:
    assert list(without_effect(Options(**values), fifo=fifo, is_coroutine=is_coroutine)) == []


def test_the_start_warns_but_not_of_what_an_app_gives_to_all(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        broker = Broker()
        await broker.call("CreateQueue", {"QueueName": "orders"})
        app = Leasekeeper(client=LocalClient(broker), poll_grace=0, fifo_ack="confirmed")

        @app.consumer("orders", batch_wait=3.0)
        async def handle(body: str) -> None: ...

        async with app:
            pass
        await broker.close()

    asyncio.run(main())
    warnings = [each.getMessage() for each in caplog.records if "no effect" in each.getMessage()]
    assert warnings == ["queue orders: batch_wait=3.0 has no effect without batch: set batch=, or leave batch_wait out"]
