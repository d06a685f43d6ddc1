"""Payloads that are fetched before the handler runs, in virtual time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from payload_scene import BUCKET, Scene

from leasekeeper import Batch, Message  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.payload import PayloadUnavailable
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
