"""While a part of the store of idempotency keys is down, the keys in the rest are not held up. In virtual time."""

from __future__ import annotations

import asyncio
import json
import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, Share
from leasekeeper.engine.health import Health
from leasekeeper.engine.outage import StoreOutage
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.idempotency.claiming import work_on
from leasekeeper.idempotency.keys import digest
from leasekeeper.message import Received
from leasekeeper.options import Options
from leasekeeper.outcomes import Unclaimed
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.idempotency.api import Found
    from leasekeeper.idempotency.terms import OnStoreError
    from leasekeeper.testing.running import Running


def is_bad(key: str, share: float) -> bool:
    """Whether a key, in the store or of a message, is in the part that is down: of `share` of all keys."""
    return int(digest(key.rsplit(":", 1)[-1])[:8], 16) % 100 < 100 * share


class Shards(MemoryStore):
    """A store of which the shards of some keys are down until a time of the world."""

    def __init__(self, world: World, share: float, *, end: float, error: type[Exception] = ConnectionError) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._world = world
        self._share = share
        self.end = end
        self._error = error
        self._draw = random.Random(7)
        self.failed = self.probes = 0

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        probes = key.startswith("leasekeeper:check")
        self.probes += probes
        # The key of a question is another one each time, so its shard is drawn, and each run of a test is the same.
        bad = self._draw.random() < self._share if probes else is_bad(key, self._share)
        if self._world.now < self.end and bad:
            self.failed += not probes
            raise self._error("the shard of this key is down")
        return await super().claim(key, token, fingerprint, lease)


class Here:
    """Stands for the thread of a store: its verbs wait in virtual time."""

    def enter(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def leave(self) -> None:
        pass


class Hanging(Shards):
    """A store whose shards do not refuse keys, and do not answer either."""

    inline = False

    def __init__(self, world: World, share: float, *, end: float) -> None:
        super().__init__(world, share, end=end)
        self.at_once = self.most_at_once = 0
        here: Any = Here()
        work_on(self)._thread = here

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        self.at_once += not key.startswith("leasekeeper:check")
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await super().claim(key, token, fingerprint, lease)
        except ConnectionError:
            await asyncio.sleep(self.end - self._world.now)
            raise
        finally:
            self.at_once -= not key.startswith("leasekeeper:check")


class Few(Hanging):
    """The same with as many connections as a store in Postgres has."""

    connections = 8


class Scene:
    """A consumer that gets messages at a rate, with a store of which a part is down."""

    def __init__(self, world: World, store: MemoryStore, share: float) -> None:
        self.world = world
        self.store = store
        self.sent: dict[int, float] = {}
        self.done: dict[int, float] = {}
        self._share = share

    async def start(self, *, on_store_error: OnStoreError = "retry", **options: Any) -> Running:
        async def handle(body: dict[str, int]) -> None:
            self.done[body["id"]] = self.world.now
            await asyncio.sleep(1)

        idempotency = Idempotency(self.store, key="id", on_store_error=on_store_error)
        consumer = Consumer(self.world.name, handle, idempotency=idempotency, region="eu-west-1", **options)
        return await self.world.start(consumer)

    async def send(self, count: int, *, rate: float) -> None:
        """Send messages, evenly."""
        for _ in range(count):
            number = len(self.sent)
            self.sent[number] = self.world.now
            await self.world.send(json.dumps({"id": number}), group=self.group_of(number))
            await asyncio.sleep(1 / rate)

    def group_of(self, number: int) -> str | None:
        """On a FIFO queue, messages with keys in the part that is down have groups for themselves."""
        if not self.world.name.endswith(".fifo"):
            return None
        return f"{number % 40}-{is_bad(digest(number), self._share)}"

    def healthy(self) -> list[int]:
        """The messages with keys in the part that is up."""
        return [number for number in self.sent if not is_bad(digest(number), self._share)]

    def late(self, seconds: float) -> int:
        """How many healthy messages took longer until their handler began, or have not begun."""
        now = self.world.now
        return sum(self.done.get(each, now) - self.sent[each] > seconds for each in self.healthy())


@pytest.mark.parametrize("options", [{}, {"rate": 20.0}, {"share": Share(10)}, {"fair": True}], ids=str)
@virtual
async def test_keys_that_a_store_answers_for_keep_their_rate(options: dict[str, Any]) -> None:
    """A quarter of the keys is down, and the others are nearly all that ten handlers of a second can do."""
    async with World(max_receives=5) as world:
        scene = Scene(world, store := Shards(world, 0.25, end=30), 0.25)
        consumer = await scene.start(concurrency=10, **options)
        await scene.send(300, rate=12)
        assert scene.late(5) <= 0.02 * len(scene.healthy())
        assert len(scene.done) <= len(scene.healthy())
        assert store.probes < 2 * world.now
        ledger = consumer.runner.context.ledger.statistics()
        assert ledger.received < 1.6 * len(scene.sent)
        await world.until(lambda: not world.bodies(), step=1, within=400)
        assert sorted(scene.done) == sorted(scene.sent)
        assert world.bodies(world.dead_letters) == []


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_keys_that_a_store_answers_for_keep_their_rate_when_the_others_get_no_answer(fifo: bool) -> None:
    """L25: as above. A claim may take five seconds, and is cut short as soon as one is known to hang."""
    async with World(max_receives=5, fifo=fifo) as world:
        scene = Scene(world, Hanging(world, 0.25, end=20), 0.25)
        await scene.start(concurrency=10)
        await scene.send(180, rate=12)
        assert scene.late(5) <= 0.02 * len(scene.healthy())
        assert len(scene.done) <= len(scene.healthy())
        await world.until(lambda: len(scene.done) == 180, step=1, within=400)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_a_claim_whose_end_would_cost_protection_gets_its_whole_time() -> None:
    async with World() as world:
        scene = Scene(world, store := Hanging(world, 0.25, end=60), 0.25)
        await scene.start(concurrency=10, on_store_error="run")
        await scene.send(60, rate=4)
        await world.until(lambda: len(scene.done) == 60, step=1)
        waits = [scene.done[each] - scene.sent[each] for each in scene.done if each not in scene.healthy()]
        assert min(waits) >= 5
        assert store.failed == len(waits)


@virtual
async def test_claims_that_hang_leave_connections_for_keys_of_handlers_that_have_ended() -> None:
    async with World() as world:
        scene = Scene(world, store := Few(world, 1.0, end=3), 1.0)
        await scene.start(concurrency=10)
        await scene.send(20, rate=10)
        assert store.most_at_once == 6
        await world.until(lambda: len(scene.done) == 20, step=1)


@virtual
async def test_an_outage_of_an_hour_takes_nothing_to_the_dead_letter_queue() -> None:
    """More messages than may wait here: the others go back for longer each time, and the queue allows five receives."""
    async with World(max_receives=5) as world:
        scene = Scene(world, store := Shards(world, 0.5, end=3_600), 0.5)
        consumer = await scene.start(concurrency=2, max_in_flight=10)
        await scene.send(30, rate=0.5)
        for _ in range(17):
            await scene.send(1, rate=0.005)
        assert 3_400 < world.now < store.end
        assert scene.late(30) == 0
        assert len(scene.done) <= len(scene.healthy())
        waiting = len(scene.sent) - len(scene.done)
        received = consumer.runner.context.ledger.statistics().received
        assert received < len(scene.healthy()) + 5 * waiting
        await world.until(lambda: len(scene.done) == len(scene.sent), step=10, within=4_000)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_what_waits_here_runs_within_seconds_when_the_store_is_back() -> None:
    async with World(max_receives=5) as world:
        scene = Scene(world, Shards(world, 0.5, end=150), 0.5)
        await scene.start(concurrency=10)
        await scene.send(60, rate=5)
        await world.until(lambda: len(scene.done) == len(scene.healthy()))
        await world.until(lambda: len(scene.done) == 60, step=1)
        assert max(scene.done.values()) < 150 + 15


@virtual
async def test_the_last_delivery_of_a_message_waits_here_as_long_as_it_takes() -> None:
    """Given back, the next receive would take it to the dead-letter queue."""
    async with World(max_receives=1) as world:
        scene = Scene(world, Shards(world, 0.5, end=800), 0.5)
        await scene.start(concurrency=5, max_in_flight=10)
        await scene.send(10, rate=1)
        await world.until(lambda: len(scene.done) == 10, step=10, within=900)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_a_shard_that_refuses_its_keys_charges_no_message() -> None:
    """A Redis without memory answers, and takes none of its keys: that is no fault of the keys."""
    async with World(max_receives=5) as world:
        scene = Scene(world, Shards(world, 0.25, end=300, error=RuntimeError), 0.25)
        consumer = await scene.start(concurrency=10)
        await scene.send(100, rate=2)
        await world.until(lambda: len(scene.done) == 100, step=1, within=400)
        assert world.bodies(world.dead_letters) == []
        assert consumer.runner.context.ledger.statistics().released == 0


@virtual
async def test_a_part_that_is_down_becomes_the_whole() -> None:
    """Soon after the last answer nothing is received any more."""
    async with World(max_receives=5) as world:
        scene = Scene(world, store := Shards(world, 0.25, end=600), 0.25)
        consumer = await scene.start(concurrency=10)
        await scene.send(100, rate=5)
        assert consumer.runner.healthy
        store._share = 1.0
        await scene.send(100, rate=5)
        assert not consumer.runner.healthy
        before = world.broker.calls["ReceiveMessage"]
        await world.until(lambda: world.now > 590, step=5)
        assert world.broker.calls["ReceiveMessage"] == before
        await world.until(lambda: len(scene.done) == 200, step=1, within=200)
        assert world.bodies(world.dead_letters) == []


@virtual
async def test_a_message_waits_for_ten_minutes_at_most_however_rarely_it_is_tried() -> None:
    """A claim without an answer takes 5 s here, and many wait, so each of them is tried every eight minutes.

    That is so from the second claim on: then the store has answered others in between.
    """
    options, loop = Options(concurrency=10), asyncio.get_running_loop()
    health = Health.of("orders", options, lambda _: None)
    outage = StoreOutage(options, probes={}, progress=int, health=health, clock=loop.time, draw=lambda: 0.5)
    received, silence = Received(message_id="1", receipt="1"), Unclaimed(0.0, TimeoutError())
    pauses = list[tuple[float, bool]]()
    for _ in range(4):
        judged = outage.judge(received, silence, holds=False, waiting=48, took=5.0)
        assert isinstance(judged, Unclaimed)
        pauses.append((judged.after, judged.waits))
        await asyncio.sleep(judged.after + 5.0)
    assert pauses == [(1.0, True), (480.0, True), (109.0, True), (63.0, False)]  # then the queue has it
    outage.close()


@pytest.mark.parametrize(
    ("max_receives", "hours", "receives", "late"),
    [
        (3, 1, 3, 0),  # it waits here on its last delivery, and runs at once
        (5, 1, 5, 21),
        (10, 1, 7, 5),
        (math.inf, 1, 7, 5),
        (3, 12, 3, 0),
        (5, 12, 5, 0),
        (10, 12, 10, 0),
        (math.inf, 12, 51, 5),
    ],
)
@virtual
async def test_a_message_that_was_given_back_comes_soon_after_its_store_as_far_as_its_receives_allow(
    max_receives: float, hours: int, receives: int, late: int
) -> None:
    """More wait here than may, so it is given back each time but the last. Minutes after the end of the outage."""
    options, loop = Options(concurrency=10), asyncio.get_running_loop()
    health = Health.of("orders", options, lambda _: None)
    outage = StoreOutage(options, probes={}, progress=int, health=health, clock=loop.time, draw=lambda: 0.0)
    end, count = loop.time() + hours * 3_600, 1
    while loop.time() < end and count < max_receives:
        received = Received(message_id="1", receipt="1", system={"ApproximateReceiveCount": str(count)})
        silence = Unclaimed(0.0, TimeoutError())
        judged = outage.judge(received, silence, holds=False, left=max_receives - count, waiting=1_000)
        assert isinstance(judged, Unclaimed)
        await asyncio.sleep(judged.after)
        count += 1
    assert (count, max(0, round((loop.time() - end) / 60))) == (receives, late)
    outage.close()


@virtual
async def test_while_all_of_a_store_hangs_no_message_is_put_off_for_minutes() -> None:
    """It answered a moment ago, so it may be back at once. Claims that were out when it comes back still fail."""
    options, loop = Options(concurrency=10), asyncio.get_running_loop()
    hangs, back = loop.time() + 2, loop.time() + 24

    async def probe() -> None:
        if hangs <= loop.time() < back:
            await asyncio.sleep(5)
            raise TimeoutError

    health = Health.of("orders", options, lambda _: None)
    outage = StoreOutage(
        options, probes={"store": probe}, progress=int, health=health, clock=loop.time, draw=lambda: 0.5
    )
    silence = Unclaimed(0.0, TimeoutError())
    outage.judge(Received(message_id="0", receipt="0"), silence, holds=False, waiting=0, took=0.0)
    await asyncio.sleep(3)
    pauses: list[float] = []
    while loop.time() < back + 5:
        await asyncio.sleep(5)
        judged = outage.judge(Received(message_id="1", receipt="1"), silence, holds=False, waiting=48, took=5.0)
        assert isinstance(judged, Unclaimed)
        pauses.append(judged.after)
        await asyncio.sleep(judged.after)
    assert len(pauses) > 2
    assert max(pauses) <= 10
    outage.close()
