"""While the store of idempotency keys is down, nothing is received. In virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.idempotency.api import Found

BEGIN, END = 5.0, 605.0
"""The outage, in seconds of the world."""


class Away(MemoryStore):
    """A store that is down for ten minutes; `only` limits that to claims of messages."""

    def __init__(self, world: World, *, only: bool = False) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._world = world
        self._only = only

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if BEGIN <= self._world.now < END and not (self._only and key.startswith("leasekeeper:check")):
            raise ConnectionError("refused")
        return await super().claim(key, token, fingerprint, lease)


def _consumer(world: World, store: MemoryStore, done: list[int], **options: Any) -> Consumer:
    async def handle(body: dict[str, int]) -> None:
        await asyncio.sleep(1)
        done.append(body["id"])

    return Consumer(world.name, handle, idempotency=Idempotency(store, key="id", **options), region="eu-west-1")


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_an_outage_costs_one_receive_of_what_is_held(fifo: bool) -> None:
    """Without the pause, messages would reach the dead-letter queue, of which the queue allows two receives."""
    async with World(fifo=fifo, max_receives=2) as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world), done))
        for number in range(200):
            await world.send(json.dumps({"id": number}), group=str(number % 20) if fifo else None)
        await world.until(lambda: world.now > BEGIN + 30, step=0.5)
        before, receives = len(done), world.broker.calls["ReceiveMessage"]
        assert before < 200
        assert not consumer.runner.healthy
        await world.until(lambda: world.now > END - 10, step=5)
        assert len(done) == before
        assert world.broker.calls["ReceiveMessage"] == receives
        await world.until(lambda: not world.bodies(), within=END + 120, step=0.5)
        assert sorted(done) == list(range(200))
        assert world.bodies(world.dead_letters) == []
        assert consumer.runner.healthy
        if fifo:
            assert all(sorted(group) == group for group in ([n for n in done if n % 20 == g] for g in range(20)))


@virtual
async def test_work_goes_on_soon_after_the_store_is_back() -> None:
    async with World(max_receives=2) as world:
        done: list[int] = []
        await world.start(_consumer(world, Away(world), done))
        await world.until(lambda: world.now > BEGIN)
        await world.send(json.dumps({"id": 1}))
        await world.until(lambda: world.now > BEGIN + 60)
        await world.send(json.dumps({"id": 2}))
        back = await world.until(lambda: len(done) == 2, within=END + 60)
        assert END < back < END + 20


@virtual
async def test_a_store_that_answers_but_takes_no_claims_is_asked_less_and_less() -> None:
    async with World(max_receives=100) as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world, only=True), done))
        await world.until(lambda: world.now > BEGIN)
        await world.send(json.dumps({"id": 1}))
        outage = consumer.runner.context.outage
        assert outage is not None
        paused = 0
        while world.now < END:
            await world.until(lambda now=world.now: world.now > now + 1, step=1)  # type: ignore[misc]
            if outage.active and world.now > BEGIN + 60:
                paused += 1
                assert not consumer.runner.healthy
        assert paused > 30
        assert world.broker.calls["ReceiveMessage"] < 60  # one in 20 s is of a queue that is idle
        await world.until(lambda: done == [1], within=END + 120)


@virtual
async def test_a_consumer_that_runs_without_its_store_goes_on_receiving() -> None:
    async with World() as world:
        done: list[int] = []
        await world.start(_consumer(world, Away(world), done, on_store_error="run"))
        await world.until(lambda: world.now > BEGIN)
        await world.send(json.dumps({"id": 1}))
        assert await world.until(lambda: done == [1]) < BEGIN + 5


@virtual
async def test_a_stop_and_a_pause_during_an_outage_wait_for_nothing() -> None:
    async with World() as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world), done))
        await world.until(lambda: world.now > BEGIN)
        await world.send(json.dumps({"id": 1}))
        await world.until(lambda: not consumer.runner.healthy)
        consumer.runner.pause()
        await world.until(lambda: world.now > END + 60, step=5)
        assert done == []
        consumer.runner.resume()
        await world.until(lambda: done == [1])
        began = world.now
        await consumer.close()
        assert world.now < began + 5


class Picky(MemoryStore):
    """A store that takes every key but the first: its record cannot be read, for example."""

    def __init__(self) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._bad = ""

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        self._bad = self._bad or key
        if key == self._bad:
            raise ValueError("its record cannot be read")
        return await super().claim(key, token, fingerprint, lease)


@virtual
async def test_a_store_that_fails_for_one_key_only_delays_no_other_message() -> None:
    async with World(max_receives=100) as world:
        done: list[int] = []
        await world.start(_consumer(world, Picky(), done))
        await world.send(json.dumps({"id": 0}))
        slowest = 0.0
        for number in range(1, 40):
            sent = world.now
            await world.send(json.dumps({"id": number}))
            await world.until(lambda number=number: number in done)  # type: ignore[misc]
            slowest = max(slowest, world.now - sent)
            await world.until(lambda sent=sent: world.now > sent + 10)  # type: ignore[misc]
        assert slowest < 5
        assert 0 not in done


class Breaks(MemoryStore):
    """A store that goes down while handlers run."""

    def __init__(self, now: list[float]) -> None:
        super().__init__(clock=lambda: now[0])
        self.down = True

    async def complete(self, key: str, token: str, fingerprint: str, result: bytes | None, keep: float) -> bool:
        self._answer()
        return await super().complete(key, token, fingerprint, result, keep)

    async def release(self, key: str, token: str) -> bool:
        self._answer()
        return await super().release(key, token)

    def _answer(self) -> None:
        if self.down:
            raise ConnectionError("refused")


@pytest.mark.parametrize("plain", [False, True])
def test_keys_that_an_outage_leaves_are_told_of_once_a_minute_and_counted(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(body: dict[str, int]) -> None:
        if body["id"] < 0:
            raise ValueError("bad")

    async def handle_later(body: dict[str, int]) -> None:
        handle(body)

    now = [100.0]
    store = Breaks(now)
    consumer = Consumer(
        "orders", handle if plain else handle_later, idempotency=Idempotency(store, key="id"), region="eu-west-1"
    )
    name = "handle" if plain else "handle_later"
    with caplog.at_level(logging.WARNING, "leasekeeper.idempotency"):
        for number in (*range(1, 21), -1, -2):
            run_handler(consumer, {"id": number})
        done, free = [each.getMessage() for each in caplog.records]
        assert f"{name} ended well, but the key of message" in done
        assert "is not marked as done yet: ConnectionError: refused; the message is deleted" in done
        assert f"{name} did not end well, and the key of message" in free
        assert "could not be freed: ConnectionError: refused; it stays claimed until" in free
        caplog.clear()
        now[0] += 30
        run_handler(consumer, {"id": 21})
        assert caplog.records == []
        now[0] += 31
        store.down = False
        run_handler(consumer, {"id": 22})
        [more] = [each.getMessage() for each in caplog.records]
        assert more.endswith(f"{name}: 21 more keys could not be marked as done or freed, as told before")
        run_handler(consumer, {"id": 23})
        assert len(caplog.records) == 1
