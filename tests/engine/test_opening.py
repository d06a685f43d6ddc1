"""Opening a queue: what cannot work is refused at the start, with what to do (L18)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.engine.opening import open_queue
from leasekeeper.errors import ConfigurationError, QueueUnusable
from leasekeeper.options import Options
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.local import LocalClient


@virtual
async def test_a_queue_is_fifo_by_its_attributes() -> None:
    """L27: the kind is that of the queue."""
    async with World() as world:
        assert not (await open_queue(world.client, QueueAddress.parse("orders"), Options())).fifo
    async with World(fifo=True) as world:
        assert (await open_queue(world.client, QueueAddress.parse("orders.fifo"), Options())).fifo


@virtual
async def test_a_halt_that_the_redrive_policy_would_end_is_refused() -> None:
    async with World(fifo=True, max_receives=5) as world:
        with pytest.raises(ConfigurationError, match=r"halt.*after 5 receives.*Remove the redrive policy"):
            await open_queue(world.client, QueueAddress.parse("orders.fifo"), Options(on_exhausted="halt"))


@virtual
async def test_a_halt_on_a_standard_queue_is_refused() -> None:
    async with World() as world:
        with pytest.raises(
            ConfigurationError, match=r"halt.*orders: a standard queue keeps no order.*Leave on_exhausted"
        ):
            await open_queue(world.client, QueueAddress.parse("orders"), Options(on_exhausted="halt"))


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
async def test_rejects_left_to_the_redrive_policy_need_no_queue() -> None:
    async with World(max_receives=3) as world:
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options(on_reject="redrive"))
        assert target.dead_letter_url is None


async def _created(world: World, name: str, **attributes: str) -> str:
    return str((await world.broker.call("CreateQueue", {"QueueName": name, "Attributes": attributes}))["QueueUrl"])


@virtual
async def test_a_dead_letter_queue_can_be_named_by_name_url_and_arn() -> None:
    async with World() as world:
        url = await _created(world, "graves")
        for reference in ("graves", url, world.broker.account.arn("graves")):
            target = await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue=reference))
            assert target.dead_letter_url == url


@pytest.mark.parametrize("form", ["{name}", "{url}", "{arn}"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ordres-dead", "create it, or check its name, account and region"),
        ("orders", "it is the queue itself"),
        ("graves.fifo", "it is a FIFO queue, and orders is a standard queue"),
    ],
)
@virtual
async def test_a_dead_letter_queue_that_cannot_be_one_is_refused_and_blamed_itself(
    name: str, sentence: str, form: str
) -> None:
    """L18, L30: by name, URL and ARN alike; the error names `dead_letter_queue`, not the queue."""
    async with World() as world:
        await _created(world, "graves.fifo", FifoQueue="true")
        url = world.queue_url.replace("orders", name)
        reference = form.format(name=name, url=url, arn=world.broker.account.arn(name))
        with pytest.raises((ConfigurationError, QueueUnusable)) as raised:
            await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue=reference))
        assert str(raised.value).startswith(f"dead_letter_queue={reference!r} of queue orders cannot be used: ")
        assert sentence in str(raised.value)


@virtual
async def test_a_dead_letter_queue_of_another_region_is_refused() -> None:
    """Its name may exist in this region too, and messages would be copied there."""
    async with World() as world:
        await _created(world, "graves")
        arn = world.broker.account.arn("graves").replace("us-east-1", "eu-west-1")
        with pytest.raises(ConfigurationError, match="it is in eu-west-1, and orders is in us-east-1"):
            await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue=arn))


@virtual
async def test_a_dead_letter_queue_that_may_only_be_sent_to_is_enough() -> None:
    async with World() as world:
        url = await _created(world, "graves")
        world.faults.set("GetQueueAttributes", deny=1.0)
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options(dead_letter_queue=url))
        assert target.dead_letter_url == url


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sqs:elasticmq:000000000000:orders-dead",
        "yrn:yc:ymq:ru-central1:abc:orders-dead",
        "arn:scw:sqs:fr-par:project-1:orders-dead",
        "",
        None,
    ],
)
@virtual
async def test_a_redrive_policy_of_another_spelling_is_a_warning(
    arn: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers that are not AWS's write ARNs as they like: it is not the user's mistake, and no reason not to start."""
    async with World() as world:
        client = Rewritten(world.client, json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3}))
        target = await open_queue(client, QueueAddress.parse("orders"), Options())
        assert target.dead_letter_url is None
        assert "rejected messages are left to the redrive policy" in caplog.text


@pytest.mark.parametrize("policy", ["no JSON", "[]", "7", "{}"])
@virtual
async def test_a_redrive_policy_that_cannot_be_read_is_a_warning(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        client = Rewritten(world.client, policy)
        assert (await open_queue(client, QueueAddress.parse("orders"), Options())).dead_letter_url is None
        assert "redrive policy" in caplog.text


class Rewritten:
    """A client of queues with another redrive policy, as a server that is not AWS's has them."""

    def __init__(self, client: LocalClient, policy: str) -> None:
        self._client = client
        self._policy = policy

    async def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        return {**await self._client.queue_attributes(queue_url, names), "RedrivePolicy": self._policy}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.parametrize("form", ["name", "url"])
@virtual
async def test_when_everything_is_denied_a_start_fails_by_name_and_by_url_alike(form: str) -> None:
    """L18: a URL alone needs no call that could be denied before the first receive."""
    async with World() as world:
        for operation in ("GetQueueUrl", "GetQueueAttributes", "ReceiveMessage", "DeleteMessageBatch"):
            world.faults.set(operation, deny=1.0)
        address = QueueAddress.parse("orders" if form == "name" else world.queue_url)
        with pytest.raises(QueueUnusable, match="allow sqs:ReceiveMessage, sqs:DeleteMessage"):
            await open_queue(world.client, address, Options())


@virtual
async def test_an_endpoint_that_is_not_up_yet_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        world.faults.set("GetQueueUrl", unavailable=1.0)
        asyncio.get_running_loop().call_later(7.0, world.faults.clear)
        target = await open_queue(world.client, QueueAddress.parse("orders"), Options(wait_for_endpoint=30))
        assert target.url == world.queue_url
        assert 7.0 <= world.now <= 8.0
        assert "queue orders: the endpoint is not up yet" in caplog.text
        assert "queue orders: waiting for the endpoint, up to 30.0 s more" in caplog.text
        assert "queue orders: the endpoint is up after 7." in caplog.text


@virtual
async def test_an_endpoint_that_does_not_come_up_fails_the_start_when_the_wait_is_over() -> None:
    async with World() as world:
        world.faults.set("GetQueueUrl", unavailable=1.0)
        with pytest.raises(QueueUnusable, match="check the endpoint, the network and the region"):
            await open_queue(world.client, QueueAddress.parse("orders"), Options(wait_for_endpoint=5))
        assert 5.0 <= world.now <= 6.0


@virtual
async def test_a_queue_that_is_missing_is_not_waited_for() -> None:
    async with World() as world:
        with pytest.raises(QueueUnusable, match="create it"):
            await open_queue(world.client, QueueAddress.parse("nowhere"), Options(wait_for_endpoint=60))
        assert world.now < 1.0


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(record.msg)


@virtual
async def test_a_logger_that_raises_stops_no_start() -> None:
    """L15: whatever a user plugs in may raise."""
    logger = logging.Logger("broken")  # noqa: LOG001 - one of its own, whose handler is nobody else's
    logger.addHandler(Broken())
    async with World(max_receives=3) as world:
        world.faults.set("GetQueueAttributes", deny=1.0)
        assert (await open_queue(world.client, QueueAddress.parse("orders"), Options(logger=logger))).url


@pytest.mark.parametrize(("attempts", "warned"), [(20, True), (5, False), (None, False)])
def test_attempts_that_the_redrive_policy_does_not_allow_are_a_warning(
    attempts: int | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @virtual
    async def run() -> None:
        async with World(max_receives=5) as world:
            await open_queue(world.client, QueueAddress.parse("orders"), Options(max_attempts=attempts))

    run()
    sentence = (
        "queue orders: max_attempts=20 is never reached: SQS moves a message to the dead-letter queue after 5 "
        "receives; set maxReceiveCount of the redrive policy to 23 or more, or max_attempts to less"
    )
    assert [each.message for each in caplog.records if "max_attempts" in each.message] == [sentence] * warned
