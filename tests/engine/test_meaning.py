"""What outcomes mean: redeliveries, rejects and time-outs (L29, L30)."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from leasekeeper.failure import FAILURE
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.outcomes import Reject
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual

if TYPE_CHECKING:
    from leasekeeper.options import Dispatch


async def _number(body: int) -> None:
    """Takes numbers only."""


@virtual
async def test_a_payload_that_cannot_be_decoded_is_copied_with_its_attributes_and_then_deleted() -> None:
    """L30: the copy in the dead-letter queue has body, attributes and trace; it is counted, and logged."""
    async with World(max_receives=5) as world:
        await world.send(
            "no number",
            MessageAttributes={"tenant": {"DataType": "String", "StringValue": "x"}},
            MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
            MessageGroupId="g",
        )
        consumer = await world.start(_number)
        await world.until(lambda: not world.bodies(), within=10)
        statistics = consumer.statistics()
        assert (statistics.work.undecodable, statistics.work.rejected, statistics.work.dead_lettered) == (1, 1, 1)
        url = world.queue_url.replace("orders", DEAD_LETTERS)
        (copy,) = await world.client.receive(url, maximum=10, wait=0, visibility=10)
        assert copy.body == "no number"
        assert copy.attributes["tenant"].value == "x"
        assert copy.system["AWSTraceHeader"] == "Root=1"
        assert copy.system["MessageGroupId"] == "g"
        report = await consumer.stop()
        assert (report.received, report.handled, report.acked, report.rejected) == (1, 0, 1, 1)


@pytest.mark.parametrize("how", ["raise", "return"])
@virtual
async def test_a_reject_is_copied_and_then_deleted(how: str) -> None:
    """L30: an error declared final."""
    async with World(max_receives=5) as world:
        await world.send("a")

        async def handle(body: str) -> Reject | None:
            if how == "raise":
                raise Reject("never")
            return Reject("never")

        consumer = await world.start(handle)
        await world.until(lambda: not world.bodies(), within=10)
        assert world.bodies(DEAD_LETTERS) == ["a"]
        assert (await consumer.stop()).acked == 1


@pytest.mark.parametrize("policy", ["no queue", "redrive"])
@virtual
async def test_a_reject_without_a_queue_for_it_is_left_to_the_redrive_policy_and_not_retried_hot(policy: str) -> None:
    """L30: hidden for `retry_maximum`, never silently deleted; the redrive policy takes it away in the end."""
    async with World(max_receives=None if policy == "no queue" else 2) as world:
        await world.send("a")
        runs: list[float] = []

        async def handle(body: str) -> None:
            runs.append(world.now)
            raise Reject("never")

        await world.start(handle, on_reject="dead-letter" if policy == "no queue" else "redrive", retry_maximum=300)
        await asyncio.sleep(1_000)
        assert [round(at / 300) for at in runs] == ([0, 1, 2, 3] if policy == "no queue" else [0, 1])
        if policy == "redrive":
            assert world.bodies(DEAD_LETTERS) == ["a"]
            assert world.bodies() == []
        else:
            assert world.bodies() == ["a"]


@pytest.mark.parametrize("fault", ["unavailable", "throttle", "fail_entries", "reset"])
@virtual
async def test_a_copy_that_fails_in_passing_is_made_again_and_only_then_deleted(fault: str) -> None:
    """L30: deleted only after its copy is confirmed."""
    async with World(max_receives=5) as world:
        await world.send_many(12)
        world.faults.next("SendMessageBatch", times=6, **{fault: 1})

        async def handle(body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle, concurrency=20)
        while world.bodies():
            assert len(world.bodies()) + len(world.bodies(DEAD_LETTERS)) >= 12
            await asyncio.sleep(0.05)
        assert sorted(world.bodies(DEAD_LETTERS)) == sorted(map(str, range(12)))
        assert (await consumer.stop()).acked == 12


@virtual
async def test_a_copy_that_is_denied_leaves_the_message_to_the_redrive_policy(caplog: pytest.LogCaptureFixture) -> None:
    """L30: never deleted without a copy, and the operator is told what to allow."""
    async with World(max_receives=5) as world:
        await world.send("a")
        world.faults.set("SendMessageBatch", deny=1.0)

        async def handle(body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle, retry_maximum=500)
        await asyncio.sleep(60)
        assert world.queue().in_flight == 1
        assert not world.bodies(DEAD_LETTERS)
        assert "sqs:SendMessage" in caplog.text
        report = await consumer.stop()
        assert (report.released, report.acked) == (1, 0)


@virtual
async def test_rejects_at_a_stop_are_copied_and_deleted_before_it_returns() -> None:
    """L1, L30: copies are flushed before deletes."""
    async with World(max_receives=5) as world:
        await world.send_many(13)
        world.faults.set("SendMessageBatch", latency=0.5)

        async def handle(body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle, concurrency=20, ack_interval=29)
        await world.until(lambda: consumer.statistics().work.rejected == 13)
        report = await consumer.stop()
        assert (report.acked, report.unsettled) == (13, 0)
        assert len(world.bodies(DEAD_LETTERS)) == 13


@virtual
async def test_large_copies_are_spread_over_calls() -> None:
    """L30: ten bodies of 300 kB do not fit in one call of 1 MiB."""
    async with World(max_receives=5) as world:
        await world.send(*["x" * 300_000] * 10)

        async def handle(body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle)
        await world.until(lambda: not world.bodies(), within=30)
        assert len(world.bodies(DEAD_LETTERS)) == 10
        assert world.broker.calls["SendMessageBatch"] == 4
        await consumer.stop()


@virtual
async def test_copies_with_large_attributes_are_spread_over_calls() -> None:
    """L30: attributes count like bodies, to the byte."""
    async with World(max_receives=5) as world:

        async def handle(body: str) -> None:
            raise Reject("never")

        consumer = await world.start(handle)
        await world.send("x" * 8)
        await world.until(lambda: not world.bodies(), within=30)
        [copy] = world.queue(DEAD_LETTERS).contents()
        more = len(FAILURE + "String" + copy.content.attributes[FAILURE]["StringValue"])
        for _ in range(4):
            # With 8 bytes of body, 11 of name and type, and what the copy gets, two of these fill a batch.
            large = {"large": {"DataType": "String", "StringValue": "x" * (524_288 - 8 - 5 - 6 - more)}}
            await world.send("x" * 8, MessageAttributes=large)
        await world.until(lambda: not world.bodies(), within=30)
        assert len(world.bodies(DEAD_LETTERS)) == 5
        assert world.broker.calls["SendMessageBatch"] == 3
        await consumer.stop()


@virtual
async def test_rejects_go_to_the_queue_that_is_named() -> None:
    """L30: `dead_letter_queue` comes before the redrive policy."""
    async with World(max_receives=5) as world:
        await world.broker.call("CreateQueue", {"QueueName": "elsewhere"})
        await world.send("a")
        consumer = await world.start(_number, dead_letter_queue="elsewhere")
        await world.until(lambda: not world.bodies(), within=30)
        assert world.bodies("elsewhere") == ["a"]
        assert world.bodies(DEAD_LETTERS) == []
        await consumer.stop()


@pytest.mark.parametrize("dispatch", ["semaphore", "pool"])
@virtual
async def test_a_handlers_time_out_ends_it_and_its_message_is_retried(dispatch: Dispatch) -> None:
    """L30: the handler is ended at its limit, its place is free, and it is counted."""
    async with World() as world:
        await world.send_many(4)
        ended: list[float] = []
        runs = Counter[str]()

        async def handle(body: str) -> None:
            runs[body] += 1
            if runs[body] > 1:
                return
            began = world.now
            try:
                await asyncio.sleep(1_000)
            finally:
                ended.append(world.now - began)

        consumer = await world.start(handle, handler_timeout=5, concurrency=2, dispatch=dispatch)
        await world.until(lambda: not world.bodies(), within=60)
        assert ended == [pytest.approx(5.0)] * 4
        assert consumer.statistics().work.timed_out == 4
        report = await consumer.stop()
        assert (report.failed, report.acked, report.received) == (4, 4, 8)


@virtual
async def test_a_message_given_up_in_a_thread_is_not_run_again_while_that_goes_on() -> None:
    """L29: its redeliveries wait for the thread's end, though there are idle ones; then it is run again."""
    async with World() as world:
        await world.send("a")
        at_work: list[str] = []
        most: list[int] = []
        go_on = threading.Event()

        def handle(body: str) -> None:
            at_work.append(body)
            most.append(len(at_work))
            go_on.wait(60)
            at_work.remove(body)

        consumer = await world.start(handle, concurrency=4, handler_timeout=1, retry_base=1)
        try:
            await world.until(lambda: consumer.statistics().work.not_started > 2, within=36_000)
            assert most == [1]
            assert consumer.statistics().work.timed_out == 1
        finally:
            go_on.set()  # so that a failure above is one, and no wait for a thread
        await world.until(lambda: not world.bodies(), within=360_000)
        assert set(most) == {1}  # perhaps more than once: threads take real time, and time-outs virtual
        await consumer.stop()


@virtual
async def test_failures_back_off_longer_each_time_until_the_redrive_policy_takes_them() -> None:
    """L30: with maxReceiveCount 4 a message that always fails runs four times, 1-2, 2-4 and 4-8 s apart."""
    async with World(max_receives=4) as world:
        await world.send("a")
        starts: list[float] = []

        async def handle(message: Message[str]) -> None:
            starts.append(world.now)
            assert message.receive_count == len(starts)
            raise RuntimeError("always")

        await world.start(handle, retry_base=2)
        await world.until(lambda: world.bodies(DEAD_LETTERS), within=100)
        gaps = [after - before for before, after in itertools.pairwise(starts)]
        assert len(starts) == 4
        assert 1 <= gaps[0] <= 3.2
        assert 2 <= gaps[1] <= 5.2
        assert 4 <= gaps[2] <= 9.2


@virtual
async def test_a_back_off_of_nothing_retries_at_once() -> None:
    """`retry_base=0` is an option that is taken, so a consumer with it starts."""
    async with World() as world:
        await world.send("a")
        runs: list[float] = []

        async def handle(body: str) -> None:
            runs.append(world.now)
            if len(runs) < 4:
                raise RuntimeError("no")

        consumer = await world.start(handle, retry_base=0)
        await world.until(lambda: not world.bodies(), within=10)
        assert len(runs) == 4
        assert runs[-1] - runs[0] < 1
        await consumer.stop()


@virtual
async def test_a_message_redelivered_while_it_is_being_given_back_is_run_again() -> None:
    """L29: it is never left invisible without a handler at work on it."""
    async with World() as world:
        await world.send("a")
        runs: list[float] = []

        async def handle(body: str) -> None:
            runs.append(world.now)
            if len(runs) == 1:
                raise RuntimeError("once")

        world.faults.set("ReceiveMessage", latency=0.01)
        world.faults.next("ChangeMessageVisibilityBatch", lose=1.0)  # it is given back, but the answer is lost
        consumer = await world.start(handle, retry_base=0.5)
        await world.until(lambda: not world.bodies(), within=60)
        assert len(runs) == 2
        assert runs[1] < 5
        await consumer.stop()


@virtual
async def test_a_dead_letter_policy_is_read_from_the_queue() -> None:
    """L30: the world's queue really has one, or the tests above prove nothing."""
    async with World(max_receives=7) as world:
        attributes = await world.client.queue_attributes(world.queue_url)
        assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 7
