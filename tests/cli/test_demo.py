"""The demo's producer."""

from __future__ import annotations

import asyncio

from leasekeeper.cli.demo.page import Pages
from leasekeeper.cli.demo.world import Producer
from leasekeeper.local import LocalSqs


def test_a_producer_that_is_stopped_ends_also_while_the_queue_is_full() -> None:
    """A cancelled call may still return its answer, so a producer that relies on a cancellation may never end."""

    async def run(endpoint_url: str) -> int:
        producer = await Producer.open(endpoint_url, ahead=20, most=None)
        running = asyncio.ensure_future(producer.run())
        while producer.sent < 20:  # noqa: ASYNC110 - the producer has no event
            await asyncio.sleep(0)
        producer.stop()
        async with asyncio.timeout(60):
            await running
        await producer.close()
        return producer.sent

    with LocalSqs() as sqs:
        assert asyncio.run(run(sqs.endpoint_url)) == 20


def test_the_demo_says_what_its_token_is_for() -> None:
    pages = Pages("http://127.0.0.1:9900", "http://127.0.0.1:9324/_leasekeeper/", "6e1fdc58")
    assert "http://127.0.0.1:9900 (token for its buttons: 6e1fdc58)\n" in pages.line
