"""While S3 is down, no message with a payload is tried, and none is charged for it. In virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from payload_scene import BUCKET, Scene

from leasekeeper import Batch, Consumer, Message
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.payload import PayloadsDown, PayloadUnavailable
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.idempotency.api import Found
    from leasekeeper.payloads.api import Part

END = 600.0
"""When S3 is back, in seconds of the world."""


class Down(Scene):
    """A world where S3 fails for objects with some prefix until `END`."""

    def __init__(self, world: World, prefix: str = "", error: Exception | None = None) -> None:
        super().__init__(world)
        self._prefix = prefix
        self._error = error or PayloadsDown("GET s3://payloads/k: SlowDown (HTTP 503)")
        self.objects.fault = self._fail

    def _fail(self, operation: str, bucket: str, key: str) -> None:
        if self.world.now < END and key.startswith(self._prefix):
            raise self._error


@pytest.mark.parametrize("error", [PayloadsDown("SlowDown (HTTP 503)"), TimeoutError("no answer")], ids=repr)
@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_an_outage_of_s3_is_no_attempt_and_costs_one_receive(fifo: bool, error: Exception) -> None:
    async with World(fifo=fifo, max_receives=2) as world:
        scene = Down(world, error=error)
        attempts: list[int] = []
        order: list[str] = []

        async def handle(message: Message[str]) -> None:
            attempts.append(message.attempt)
            order.append(message.body)

        for number in range(60):
            await scene.send(f"{number:02}", f"k{number}", group=str(number % 3) if fifo else None)
        consumer = await world.start(handle, payloads=scene.payloads(), max_attempts=2)
        await world.until(lambda: world.now > 60, step=1)
        assert not consumer.runner.healthy
        assert "store of payloads" in consumer.runner._health.reason(1e9)
        receives = world.broker.calls["ReceiveMessage"]
        await world.until(lambda: world.now > END - 10, step=5)
        assert world.broker.calls["ReceiveMessage"] == receives
        await world.until(lambda: len(order) == 60, within=200, step=0.5)
        assert attempts == [1] * 60
        assert world.bodies(world.dead_letters) == []
        for group in range(3) if fifo else ():
            of_group = [body for body in order if int(body) % 3 == group]
            assert of_group == sorted(of_group)
            assert consumer.runner.context.ledger.statistics().received == 60


@pytest.mark.parametrize("prefix", ["", "cold/"])
@virtual
async def test_messages_that_need_nothing_from_what_is_down_keep_their_rate(prefix: str) -> None:
    """Small ones, when all of S3 is down; those of other prefixes, when one is throttled."""
    async with World(max_receives=3) as world:
        scene = Down(world, prefix)
        begun: dict[str, float] = {}

        async def handle(body: str) -> None:
            begun[body] = world.now
            await asyncio.sleep(1)

        await world.start(handle, payloads=scene.payloads(), concurrency=5)
        for number in range(50):
            await scene.send(f"cold {number}", f"cold/{number}")
            if prefix:
                await scene.send(str(number), f"hot/{number}")
            else:
                await world.send(str(number))
            sent = world.now
            await asyncio.sleep(0.25)
            assert world.now < sent + 1
        await world.until(lambda: len(begun) == 50, within=10)
        assert not any(body.startswith("cold") for body in begun)
        await world.until(lambda: len(begun) == 100, step=5, within=END + 4_000)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_messages_keep_their_rate_while_other_objects_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of all objects gets no answer, and the client gives up after 30 s each time."""
    async with World(max_receives=5) as world:
        scene = Scene(world)
        get = scene.objects.get

        async def get_or_hang(bucket: str, key: str, **part: Any) -> Part:
            await asyncio.sleep(0.02)
            if key.startswith("cold/") and world.now < 100:
                await asyncio.sleep(30)
                raise PayloadsDown("no answer")
            return await get(bucket, key, **part)

        monkeypatch.setattr(scene.objects, "get", get_or_hang)
        done: set[str] = set()

        async def handle(body: str) -> None:
            done.add(body)
            await asyncio.sleep(1)

        await world.start(handle, payloads=scene.payloads(), concurrency=10)
        for number in range(200):
            where = "hot" if number % 4 else "cold"
            await scene.send(f"{where} {number}", f"{where}/{number}")
            await asyncio.sleep(0.125)
        await world.until(lambda: len(done) == 150, step=0.5, within=10)
        assert all(body.startswith("hot") for body in done)
        await world.until(lambda: len(done) == 200, step=5, within=1_000)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_an_object_that_may_not_be_read_still_costs_its_message_its_attempts() -> None:
    """403 of one key says something about that key."""
    async with World(max_receives=5) as world:
        scene = Down(world, "k0", PayloadUnavailable("AccessDenied (HTTP 403)"))
        done: list[str] = []

        async def handle(body: str) -> None:
            done.append(body)

        await scene.send("first", "k0")
        await scene.send("second", "k1")
        consumer = await world.start(handle, payloads=scene.payloads(), max_attempts=2)
        await world.until(lambda: world.bodies(world.dead_letters))
        assert done == ["second"]
        assert consumer.runner.healthy


class Slow(MemoryStore):
    """A store that refuses the claims of messages for some time."""

    def __init__(self, until: float) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._until = self.clock() + until

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if self.clock() < self._until and not key.startswith("leasekeeper:check"):
            raise ConnectionError("refused")
        return await super().claim(key, token, fingerprint, lease)


async def _waits_for_its_key(world: World, scene: Scene, **options: Any) -> list[str]:
    done: list[str] = []

    async def handle(body: dict[str, Any]) -> None:
        done.append(body["id"])

    consumer = Consumer(
        world.name,
        handle,
        idempotency=Idempotency(Slow(60), key="id"),
        payloads=scene.payloads(),
        region="eu-west-1",
        **options,
    )
    await world.start(consumer)
    return done


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_a_payload_stays_while_its_key_is_claimed_again(fifo: bool) -> None:
    async with World(fifo=fifo) as world:
        scene = Scene(world)
        await scene.send(json.dumps({"id": "a", "fill": "x" * 1_000}), "k")
        done = await _waits_for_its_key(world, scene)
        await world.until(lambda: done == ["a"], step=0.5)
        assert world.now > 60
        assert scene.objects.calls.count(("get", BUCKET, "k")) == 1
        await world.until(lambda: not scene.keys)


@virtual
async def test_payloads_that_are_only_kept_make_room_for_others() -> None:
    """With memory for one of them, the other one is fetched too: none waits for a message that waits for its key."""
    async with World() as world:
        scene = Scene(world)
        for name in "abc":
            await scene.send(json.dumps({"id": name, "fill": "x" * 1_000_000}), name)
        done = await _waits_for_its_key(world, scene, payload_memory=2_100_000)
        await world.until(lambda: {"a", "b", "c"} <= {key for _, _, key in scene.objects.calls}, within=5)
        await world.until(lambda: sorted(done) == ["a", "b", "c"], step=0.5)
        await world.until(lambda: not scene.keys)


@virtual
async def test_a_payload_that_was_kept_goes_with_its_message() -> None:
    async with World() as world:
        scene = Scene(world)
        await scene.send(json.dumps({"id": "a"}), "k")
        done: list[str] = []

        async def handle(body: dict[str, Any]) -> None:
            done.append(body["id"])

        idempotency = Idempotency(Slow(1_000), key="id")
        consumer = Consumer(world.name, handle, idempotency=idempotency, payloads=scene.payloads(), region="eu-west-1")
        running = await world.start(consumer)
        await world.until(lambda: world.now > 30, step=1)
        assert running.runner.snapshot().lane.payload_bytes
        await world.until(lambda: running.runner.snapshot().lane.payload_bytes == 0, within=800, step=1)
        assert done == []


@virtual
async def test_a_batch_of_a_group_waits_for_a_payload_in_the_middle() -> None:
    async with World(fifo=True, max_receives=1) as world:
        scene = Down(world, "down/")
        done: list[str] = []

        async def handle(batch: Batch[str]) -> None:
            done.extend(message.body for message in batch)

        for number in range(6):
            await scene.send(str(number), f"{'down/' if number == 2 else ''}{number}")
        consumer = await world.start(handle, payloads=scene.payloads(), batch=3)
        await world.until(lambda: len(done) == 2)
        await world.until(lambda: len(done) == 6, within=END + 60, step=1)
        assert done == list("012345")
        assert world.now > END
        assert consumer.runner.context.ledger.statistics().received == 6
        assert world.bodies(world.dead_letters) == []
