"""Opening a queue: what cannot work is refused at the start, with what to do (L18)."""

from __future__ import annotations

import pytest

from leasekeeper.engine.opening import open_queue
from leasekeeper.errors import ConfigurationError, QueueUnusable
from leasekeeper.options import Options
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual


@virtual
async def test_a_fifo_queue_is_refused_before_anything_is_called() -> None:
    async with World() as world:
        before = world.broker.calls.total()
        with pytest.raises(ConfigurationError, match="FIFO"):
            await open_queue(world.client, QueueAddress.parse("orders.fifo"), Options())
        assert world.broker.calls.total() == before


@virtual
async def test_a_url_is_taken_as_it_is() -> None:
    async with World(max_receives=3) as world:
        address = QueueAddress.parse(f"{world.queue_url}")
        target = await open_queue(world.client, address, Options())
        assert (target.name, target.url) == ("orders", world.queue_url)
        assert target.dead_letter_url is not None
        assert target.dead_letter_url.endswith(f"/{DEAD_LETTERS}")


@virtual
async def test_attributes_that_may_not_be_read_are_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """Across accounts that is common: it is said, and rejected messages have no queue to go to."""
    async with World(max_receives=3) as world:
        world.faults.set("GetQueueAttributes", deny=1.0)
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options())
        assert target.dead_letter_url is None
        assert "dead_letter_queue" in caplog.text


@virtual
async def test_other_errors_of_the_attributes_fail_the_start() -> None:
    async with World() as world:
        world.faults.set("GetQueueAttributes", unavailable=1.0)
        with pytest.raises(QueueUnusable, match="check the endpoint"):
            await open_queue(world.client, QueueAddress.parse("orders"), Options())


@virtual
async def test_a_dead_letter_queue_of_the_policy_that_cannot_be_found_is_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World(max_receives=3) as world:
        url = world.queue_url.replace("orders", DEAD_LETTERS)
        await world.broker.call("DeleteQueue", {"QueueUrl": url})
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options())
        assert target.dead_letter_url is None
        assert "redrive policy" in caplog.text


@virtual
async def test_a_dead_letter_queue_that_was_named_and_cannot_be_found_fails_the_start() -> None:
    async with World() as world:
        with pytest.raises(QueueUnusable, match=r"NonExistentQueue|QueueDoesNotExist"):
            await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue="nowhere"))


@virtual
async def test_rejects_left_to_the_redrive_policy_need_no_queue() -> None:
    async with World(max_receives=3) as world:
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options(on_reject="redrive"))
        assert target.dead_letter_url is None


@virtual
async def test_a_dead_letter_queue_given_as_url_is_taken_as_it_is() -> None:
    async with World() as world:
        url = "http://127.0.0.1/000000000000/graves"
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue=url))
        assert target.dead_letter_url == url
