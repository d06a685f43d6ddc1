"""The in-process client and its protocol, in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import EntryFailure, Outgoing, Sent, SqsApi
from leasekeeper.errors import Closed, SqsError, Verdict
from leasekeeper.local import Broker, LocalClient
from leasekeeper.message import MessageAttribute
from leasekeeper.sqs.digests import intact
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.message import Received


class Bench:
    def __init__(self, broker: Broker, client: SqsApi, url: str) -> None:
        self.broker = broker
        self.client = client
        self.url = url

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def receive(self, *, wait: float = 0, visibility: int = 30) -> list[Received]:
        return await self.client.receive(self.url, maximum=10, wait=wait, visibility=visibility)


def on_bench(story: Callable[[Bench], Coroutine[Any, Any, None]], name: str = "q") -> None:
    async def play() -> None:
        broker = Broker(seed=1, epoch=1_700_000_000.0)
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        created = await broker.call("CreateQueue", {"QueueName": name, "Attributes": attributes})
        await story(Bench(broker, LocalClient(broker), created["QueueUrl"]))

    run_virtual(play())


def test_a_message_is_received_as_it_was_sent() -> None:
    async def story(bench: Bench) -> None:
        outgoing = Outgoing(
            body="grüß dich",
            attributes={
                "text": MessageAttribute(data_type="String", string_value="v"),
                "bytes": MessageAttribute(data_type="Binary.png", binary_value=b"\x00\xff"),
            },
            system={"AWSTraceHeader": "Root=1-2-3"},
            group_id="tenant",
        )
        (sent,) = await bench.client.send_batch(bench.url, [outgoing])
        (message,) = await bench.receive()
        assert isinstance(sent, Sent)
        assert message.message_id == sent.message_id
        assert message.body == outgoing.body
        assert message.attributes == outgoing.attributes
        assert message.system["AWSTraceHeader"] == "Root=1-2-3"
        assert message.system["MessageGroupId"] == "tenant"
        assert message.system["ApproximateReceiveCount"] == "1"
        assert intact([message], attributes=True)

    on_bench(story)


def test_a_fifo_queue_gives_sequence_numbers_and_repeats_an_attempt() -> None:
    async def story(bench: Bench) -> None:
        (sent,) = await bench.client.send_batch(
            bench.url, [Outgoing(body="a", group_id="g", deduplication_id="d", delay=None)]
        )
        assert isinstance(sent, Sent)
        assert len(sent.sequence_number) == 20
        request: dict[str, Any] = {"maximum": 10, "wait": 0, "visibility": 30, "attempt_id": "try"}
        first = await bench.client.receive(bench.url, **request)
        assert await bench.client.receive(bench.url, **request) == first != []

    on_bench(story, "q.fifo")


def test_batch_results_are_in_the_order_of_the_entries() -> None:
    async def story(bench: Bench) -> None:
        outcomes = await bench.client.send_batch(
            bench.url, [Outgoing(body="a"), Outgoing(body="\x00"), Outgoing(body="b", delay=5)]
        )
        assert [type(outcome) for outcome in outcomes] == [Sent, EntryFailure, Sent]
        assert outcomes[1] == EntryFailure(
            Verdict.REFUSED,
            "InvalidMessageContents",
            "The message body contains characters outside the allowed set.",
            True,
        )
        (message,) = await bench.receive()
        changed = await bench.client.change_visibility_batch(
            bench.url, [("garbage", 1), (message.receipt, 60), (message.receipt, 43_200)]
        )
        assert [outcome and outcome.verdict for outcome in changed] == [
            Verdict.LEASE_LOST,
            None,
            Verdict.LEASE_CAPPED,
        ]
        deleted = await bench.client.delete_batch(bench.url, [message.receipt, "garbage", message.receipt])
        assert [outcome and outcome.verdict for outcome in deleted] == [None, Verdict.LEASE_LOST, None]

    on_bench(story)


def test_an_entry_that_the_service_failed_can_be_retried() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.faults.next("DeleteMessageBatch", fail_entries=1.0)
        (failure,) = await bench.client.delete_batch(bench.url, ["x"])
        assert failure is not None
        assert (failure.verdict, failure.sender_fault) == (Verdict.UNAVAILABLE, False)

    on_bench(story)


def test_a_queue_is_found_by_name_and_shows_its_attributes() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.client.queue_url("q") == bench.url
        assert await bench.client.queue_url("q", account="000000000000") == bench.url
        assert (await bench.client.queue_attributes(bench.url))["VisibilityTimeout"] == "30"
        assert await bench.client.queue_attributes(bench.url, ["DelaySeconds"]) == {"DelaySeconds": "0"}
        with pytest.raises(SqsError) as caught:
            await bench.client.queue_url("none")
        assert caught.value.verdict is Verdict.MISSING
        assert caught.value.operation == "GetQueueUrl"

    on_bench(story)


def test_a_wait_is_rounded_up_to_seconds() -> None:
    async def story(bench: Bench) -> None:
        assert await bench.receive(wait=1.2) == []
        assert bench.now == 2.0

    on_bench(story)


@pytest.mark.parametrize(
    ("switch", "verdict", "code"),
    [
        ("throttle", Verdict.THROTTLED, "RequestThrottled"),
        ("unavailable", Verdict.UNAVAILABLE, "ServiceUnavailable"),
        ("deny", Verdict.DENIED, "AccessDenied"),
        ("reset", Verdict.UNAVAILABLE, "ConnectionReset"),
        ("lose_by_reset", Verdict.UNAVAILABLE, "ConnectionReset"),
        ("garbage", Verdict.UNAVAILABLE, "Garbage"),
        ("hang", Verdict.UNAVAILABLE, "ReadTimeout"),
        ("lose", Verdict.UNAVAILABLE, "ReadTimeout"),
    ],
)
def test_each_fault_is_the_same_error_as_over_the_network(switch: str, verdict: Verdict, code: str) -> None:
    async def story(bench: Bench) -> None:
        certain: dict[str, Any] = {switch: 1.0}
        bench.broker.faults.set("DeleteMessageBatch", **certain)
        with pytest.raises(SqsError) as caught:
            await bench.client.delete_batch(bench.url, ["x"])
        assert (caught.value.verdict, caught.value.code) == (verdict, code)
        assert caught.value.operation == "DeleteMessageBatch"
        assert bench.now == (10.0 if code == "ReadTimeout" else 0.0)

    on_bench(story)


def test_a_receive_is_given_up_five_seconds_after_its_wait() -> None:
    """L17: so is it on the simulated network."""

    async def story(bench: Bench) -> None:
        bench.broker.faults.set("ReceiveMessage", hang=1.0)
        with pytest.raises(SqsError, match="ReadTimeout"):
            await bench.receive(wait=20)
        assert bench.now == 25.0

    on_bench(story)


def test_a_short_poll_of_a_full_queue_is_over_the_limit() -> None:
    async def story(bench: Bench) -> None:
        bench.broker.account.queues["q"].in_flight_limit = 1
        await bench.client.send_batch(bench.url, [Outgoing(body="a"), Outgoing(body="b")])
        assert len(await bench.receive()) == 1
        with pytest.raises(SqsError) as caught:
            await bench.receive()
        assert caught.value.verdict is Verdict.OVER_LIMIT

    on_bench(story)


def test_an_expired_receipt_is_a_lost_lease_on_a_fifo_queue() -> None:
    async def story(bench: Bench) -> None:
        await bench.client.send_batch(bench.url, [Outgoing(body="a", group_id="g", deduplication_id="d")])
        (message,) = await bench.receive(visibility=1)
        await asyncio.sleep(1)
        (failure,) = await bench.client.delete_batch(bench.url, [message.receipt])
        assert failure is not None
        assert failure.verdict is Verdict.LEASE_LOST

    on_bench(story, "q.fifo")


def test_no_call_returns_in_the_turn_of_the_loop_that_made_it() -> None:
    async def story(bench: Bench) -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        for _ in range(10):
            await bench.receive()
        task.cancel()
        assert turns >= 9

    on_bench(story)


def test_a_closed_client_makes_no_calls() -> None:
    async def story(bench: Bench) -> None:
        await bench.client.close()
        await bench.client.close()
        with pytest.raises(Closed, match="ReceiveMessage"):
            await bench.receive()

    on_bench(story)
