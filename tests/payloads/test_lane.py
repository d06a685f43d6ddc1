"""Payloads that are fetched before the handler runs, in virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from payload_scene import BUCKET, Scene

from leasekeeper import Batch, Message, Reject
from leasekeeper.payload import PayloadUnavailable, ticket
from leasekeeper.payloads import Payload  # noqa: TC001 - as above
from leasekeeper.payloads.pointers import write_pointer
from leasekeeper.routing import field
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.payloads.pointers import PointerName


@pytest.mark.parametrize("pointer", ["extended", "legacy"])
def test_fetches_the_payload_and_deletes_the_object_after_the_message(pointer: PointerName) -> None:
    @virtual
    async def story() -> None:
        async with World() as world:
            scene = Scene(world)
            bodies: list[Any] = []

            async def handle(message: Message[dict[str, int]]) -> None:
                bodies.append((message.body, dict(message.attributes)))
                assert scene.keys == ["k"]

            await scene.send('{"a":1}', "k", pointer=pointer)
            running = await world.start(handle, payloads=scene.payloads())
            await world.until(lambda: bodies and not world.bodies() and not scene.keys)
            await running.close()
            assert bodies == [({"a": 1}, {})]
            assert [call for call, _, _ in scene.objects.calls] == ["get", "delete"]

    story()


@virtual
async def test_a_message_without_a_pointer_is_handled_as_ever() -> None:
    async with World() as world:
        scene = Scene(world)
        bodies: list[str] = []

        async def handle(message: Message[str]) -> None:
            bodies.append(message.body)

        await world.send("plain", '["software.amazon.payloadoffloading.PayloadS3Pointer",{}]')
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: not world.bodies())
        await running.close()
        assert sorted(bodies) == ['["software.amazon.payloadoffloading.PayloadS3Pointer",{}]', "plain"]
        assert not scene.objects.calls


@virtual
async def test_one_missing_object_costs_only_its_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with World(max_receives=5) as world:
        scene = Scene(world)
        done: list[str] = []

        async def handle(message: Message[str]) -> None:
            done.append(message.body)

        for number in range(10):
            await scene.send(f"payload {number}", f"k{number}", stored=number != 4)
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: not world.bodies() and not scene.keys)
        await running.close()
        assert sorted(done) == [f"payload {number}" for number in range(10) if number != 4]
        assert scene.pointed_to(world.dead_letters) == ["k4"]
        assert "payload is gone" in caplog.text
        assert f"s3://{BUCKET}/k4" in caplog.text


@virtual
async def test_retries_a_message_whose_payload_cannot_be_read_now_and_no_other() -> None:
    async with World() as world:
        scene = Scene(world)
        done: list[tuple[str, float]] = []

        def fault(operation: str, _bucket: str, key: str) -> None:
            if operation == "get" and key == "denied" and world.now < 3:
                raise PayloadUnavailable("AccessDenied (HTTP 403)")

        async def handle(message: Message[str]) -> None:
            done.append((message.body, world.now))

        scene.objects.fault = fault
        await scene.send("one", "denied")
        await scene.send("two", "fine")
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: not world.bodies())
        await running.close()
        assert [body for body, _ in done] == ["two", "one"]
        assert done[0][1] < 1
        assert done[1][1] >= 3


@virtual
async def test_the_object_stays_if_the_delete_of_its_message_is_late() -> None:
    async with World() as world:
        scene = Scene(world)

        async def handle(_: Message[str]) -> None:
            pass

        await scene.send("one", "k")
        world.faults.set("DeleteMessageBatch", unavailable=1.0)
        running = await world.start(handle, payloads=scene.payloads(), visibility_timeout=5)
        await world.until(lambda: world.now > 4)
        assert scene.keys == ["k"]
        await running.close()
        assert world.bodies()
        assert scene.keys == ["k"]


@virtual
async def test_holds_no_more_bytes_than_its_budget() -> None:
    async with World() as world:
        scene = Scene(world)
        scene.objects.latency = 0.05
        most = 0

        async def handle(message: Message[str]) -> None:
            nonlocal most
            most = max(most, running.statistics().lane.payload_bytes or 0)
            assert len(message.body) == 1_000

        for number in range(40):
            await scene.send("x" * 1_000, f"k{number}")
        running = await world.start(handle, payloads=scene.payloads(), payload_memory=8_000, concurrency=20)
        await world.until(lambda: not world.bodies() and not scene.keys)
        assert 2_000 < most <= 8_000
        assert running.statistics().lane.payload_bytes == 0
        await running.close()


@virtual
async def test_batches_get_payloads_too() -> None:
    async with World() as world:
        scene = Scene(world)
        batches: list[Sequence[str]] = []

        async def handle(batch: Batch[str]) -> None:
            batches.append([message.body for message in batch])

        for number in range(4):
            await scene.send(f"p{number}", f"k{number}")
        await world.send("small")
        running = await world.start(handle, payloads=scene.payloads(), batch=5)
        await world.until(lambda: not world.bodies() and not scene.keys)
        await running.close()
        assert sorted(body for batch in batches for body in batch) == ["p0", "p1", "p2", "p3", "small"]


@pytest.mark.parametrize("batch", [None, 5])
def test_a_fifo_queue_keeps_its_order(batch: int | None) -> None:
    @virtual
    async def story() -> None:
        async with World(fifo=True) as world:
            scene = Scene(world)
            seen: list[str] = []

            def fault(operation: str, _bucket: str, key: str) -> None:
                if operation == "get" and key == "k2" and world.now < 3:
                    raise PayloadUnavailable("SlowDown (HTTP 503)")

            async def one(message: Message[str]) -> None:
                seen.append(message.body)

            async def several(batch: Batch[str]) -> None:
                seen.extend(message.body for message in batch)

            scene.objects.fault = fault
            for number in range(5):
                await scene.send(f"p{number}", f"k{number}")
            running = await world.start(several if batch else one, payloads=scene.payloads(), batch=batch)
            await world.until(lambda: not world.bodies() and not scene.keys)
            await running.close()
            assert seen == ["p0", "p1", "p2", "p3", "p4"]

    story()


@virtual
async def test_nothing_runs_before_a_message_whose_payload_is_gone_and_that_cannot_be_copied() -> None:
    """L25, L30: without a dead-letter queue it stays the first of its group."""
    async with World(fifo=True) as world:
        scene = Scene(world)
        seen: list[str] = []

        async def several(batch: Batch[str]) -> None:
            seen.extend(message.body for message in batch)

        for number in range(4):
            await scene.send(f"p{number}", f"k{number}", stored=number != 1)
        running = await world.start(several, payloads=scene.payloads(), batch=10)
        await world.until(lambda: seen)
        await asyncio.sleep(3_000)
        assert seen == ["p0"]
        assert scene.pointed_to() == ["k1", "k2", "k3"]
        await running.close()


FAILING_DELETES: list[dict[str, float]] = [
    {"unavailable": 1.0},
    {"throttle": 1.0},
    {"deny": 1.0},
    {"reset": 1.0},
    {"hang": 1.0},
    {"fail_entries": 1.0},
]


@pytest.mark.parametrize("fault", FAILING_DELETES, ids=lambda fault: next(iter(fault)))
def test_the_object_stays_while_the_delete_of_its_message_fails(fault: dict[str, float]) -> None:
    """Until the lease ends, at the stop, and after it; once deletes work, a later delivery is done as ever."""

    @virtual
    async def story() -> None:
        async with World() as world:
            scene = Scene(world)
            runs: list[str] = []

            async def handle(message: Message[str]) -> None:
                runs.append(message.body)

            await scene.send("one", "k")
            world.faults.set("DeleteMessageBatch", **fault)
            running = await world.start(handle, payloads=scene.payloads(), visibility_timeout=5, flush_timeout=1)
            for _ in range(20):
                await asyncio.sleep(1)
                assert world.bodies()
                assert scene.keys == ["k"]
            await running.stop()
            assert scene.keys == ["k"]
            world.faults.set("DeleteMessageBatch")
            again = await world.start(handle, payloads=scene.payloads())
            await world.until(lambda: not world.bodies() and not scene.keys)
            await again.close()
            assert runs == ["one", "one"]

    story()


@pytest.mark.parametrize("fault", [{"lose": 0.5}, {"lose_entries": 1.0}], ids=["lose", "lose_entries"])
def test_an_answer_that_is_lost_leaves_no_message_without_its_object(fault: dict[str, float]) -> None:
    @virtual
    async def story() -> None:
        async with World() as world:
            scene = Scene(world)

            async def handle(_: Message[str]) -> None:
                pass

            def look(operation: str, _bucket: str, _key: str) -> None:
                if operation == "delete":
                    assert not world.bodies()

            await scene.send("one", "k")
            scene.objects.fault = look
            world.faults.set("DeleteMessageBatch", **fault)
            running = await world.start(handle, payloads=scene.payloads(), visibility_timeout=5)
            await world.until(lambda: not world.bodies())
            await running.stop()

    story()


@virtual
async def test_what_waits_to_be_deleted_is_deleted_at_the_stop() -> None:
    async with World() as world:
        scene = Scene(world)

        async def handle(_: Message[str]) -> None:
            pass

        await scene.send("one", "k")
        running = await world.start(handle, payloads=scene.payloads(), ack_interval=0)
        await world.until(lambda: not world.bodies())
        assert scene.keys == ["k"]
        await running.stop()
        assert scene.keys == []


@virtual
async def test_deletes_that_fail_are_tried_again_and_then_left_to_a_rule(caplog: pytest.LogCaptureFixture) -> None:
    async with World() as world:
        scene = Scene(world)

        async def handle(_: Message[str]) -> None:
            pass

        def refuse(operation: str, _bucket: str, _key: str) -> None:
            if operation == "delete":
                raise PayloadUnavailable("AccessDenied (HTTP 403)")

        scene.objects.fault = refuse
        await scene.send("one", "k")
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: "could not be deleted" in caplog.text)
        assert sum(call == "delete" for call, _, _ in scene.objects.calls) == 5
        assert f"bucket {BUCKET}" in caplog.text
        await running.close()


@virtual
async def test_rejected_messages_keep_their_objects_and_failed_ones_fetch_again() -> None:
    async with World(max_receives=9) as world:
        scene = Scene(world)
        runs: list[str] = []

        async def handle(message: Message[str]) -> None:
            runs.append(message.body)
            if message.body == "bad":
                raise Reject("never")
            if len(runs) < 3:
                raise ValueError

        await scene.send("bad", "bad")
        await scene.send("good", "good")
        running = await world.start(handle, payloads=scene.payloads(), concurrency=1)
        await world.until(lambda: not world.bodies() and scene.keys == ["bad"])
        await running.close()
        assert scene.pointed_to(world.dead_letters) == ["bad"]
        assert sorted(set(runs)) == ["bad", "good"]
        assert running.statistics().lane.payload_bytes == 0


@pytest.mark.parametrize(
    ("sent", "options", "says"),
    [
        ({"size": 4}, {}, "has 3 bytes, and the message states 4"),
        ({"size": 2}, {}, "has 3 bytes, and the message states 2"),
        ({}, {"max_payload": 2}, "max_payload=2"),
        ({"bucket": "another"}, {}, "from which nothing is fetched"),
    ],
)
def test_what_is_not_as_stated_is_rejected(sent: dict[str, Any], options: dict[str, Any], says: str) -> None:
    @virtual
    async def story() -> None:
        async with World(max_receives=5) as world:
            scene = Scene(world)

            async def handle(_: Message[str]) -> None:
                raise AssertionError

            await scene.send("one", "k", **sent)
            running = await world.start(handle, payloads=scene.payloads(), **options)
            await world.until(lambda: bool(world.bodies(world.dead_letters)))
            await running.close()
            [copy] = world.queue(world.dead_letters).contents()
            assert says in str(copy.content.attributes["leasekeeper.failure"])
            assert scene.keys == ["k"]

    story()


@virtual
async def test_damaged_data_is_retried() -> None:
    async with World() as world:
        scene = Scene(world)
        bodies: list[str] = []

        async def handle(message: Message[str]) -> None:
            bodies.append(message.body)

        await scene.send("one", "k")
        scene.objects.add(BUCKET, "k", b"two", sha256=sha256(b"one").hexdigest())
        running = await world.start(handle, payloads=scene.payloads())
        await asyncio.sleep(3)
        assert bodies == []
        scene.objects.add(BUCKET, "k", b"one", sha256=sha256(b"one").hexdigest())
        await world.until(lambda: not world.bodies())
        await running.close()
        assert bodies == ["one"]


@virtual
async def test_a_handler_reads_in_pieces() -> None:
    async with World() as world:
        scene = Scene(world)
        found: list[Any] = []

        async def handle(message: Message[Payload]) -> None:
            payload = message.body
            pieces = [piece async for piece in payload.pieces(4)]
            found.append((payload.size, payload.key, pieces, await payload.read()))

        await scene.send("0123456789", "k")
        await world.send("small one")
        running = await world.start(handle, payloads=scene.payloads(), max_payload=1, payload_memory=1)
        await world.until(lambda: not world.bodies() and not scene.keys)
        await running.close()
        assert sorted(found, key=str) == [
            (10, "k", [b"0123", b"4567", b"89"], b"0123456789"),
            (9, "", [b"smal", b"l on", b"e"], b"small one"),
        ]


@virtual
async def test_a_body_that_looks_like_a_ticket_is_a_body() -> None:
    async with World() as world:
        scene = Scene(world)
        scene.objects.add(BUCKET, "secret", b"secret")
        found: list[bytes] = []

        async def handle(message: Message[Payload]) -> None:
            found.append(await message.body.read())

        forged = ticket("0" * 32, BUCKET, "secret", 6)
        await world.send(forged)
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: not world.bodies())
        await running.close()
        assert found == [forged.encode()]


@virtual
async def test_a_pointer_in_a_notification_of_sns_and_handlers_chosen_by_the_payload() -> None:
    async with World() as world:
        scene = Scene(world)
        found: list[str] = []

        async def created(message: Message[dict[str, str]]) -> None:
            found.append(f"created {message.body['id']}")

        async def others(message: Message[dict[str, str]]) -> None:
            found.append(f"other {message.body['id']}")

        for number, kind in enumerate(["created", "gone"]):
            payload = json.dumps({"id": str(number), "kind": kind})
            scene.objects.add(BUCKET, f"k{number}", payload.encode())
            notification = {
                "Type": "Notification",
                "MessageId": "1",
                "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
                "Message": write_pointer("extended", BUCKET, f"k{number}"),
                "Timestamp": "2026-01-01T00:00:00Z",
                "MessageAttributes": {"ExtendedPayloadSize": {"Type": "Number", "Value": str(len(payload))}},
            }
            await world.send(json.dumps(notification))
        running = await world.start(
            [(created, field("kind") == "created"), (others, None)], payloads=scene.payloads(), envelope="sns"
        )
        await world.until(lambda: not world.bodies() and not scene.keys)
        await running.close()
        assert sorted(found) == ["created 0", "other 1"]


@virtual
async def test_an_early_ack_keeps_the_object_until_the_handler_has_ended() -> None:
    async with World() as world:
        scene = Scene(world)
        read: list[bytes] = []

        async def handle(message: Message[Payload]) -> None:
            await message.ack()
            await asyncio.sleep(60)  # the object would be deleted within a second
            read.append(await message.body.read())

        await scene.send("payload", "k")
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: read)
        await world.until(lambda: not scene.keys)
        await running.close()
        assert read == [b"payload"]
        assert not running.runner._kind._finished._reading  # type: ignore[union-attr]


@virtual
async def test_an_early_ack_deletes_the_object_also_if_the_handler_fails() -> None:
    async with World() as world:
        scene = Scene(world)

        def handle(message: Message[Payload]) -> None:
            message.ack()
            raise RuntimeError

        await scene.send("payload", "k")
        running = await world.start(handle, payloads=scene.payloads())
        await world.until(lambda: not scene.keys)
        await running.close()
        assert not world.bodies()
