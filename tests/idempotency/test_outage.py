"""While the store of idempotency keys is down, nothing is received. In virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import Consumer, Message
from leasekeeper.idempotency import Idempotency, MemoryStore
from leasekeeper.idempotency.keys import digest
from leasekeeper.testing.handling import run_handler
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.idempotency.api import Found
    from leasekeeper.idempotency.terms import OnStoreError

BEGIN, END = 5.0, 605.0
"""The outage, in seconds of the world."""


class Away(MemoryStore):
    """A store that is down for ten minutes."""

    def __init__(self, world: World) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._world = world

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if BEGIN <= self._world.now < END:
            raise ConnectionError("refused")
        return await super().claim(key, token, fingerprint, lease)


def _consumer(
    world: World, store: MemoryStore, done: list[int], on_store_error: OnStoreError = "retry", **options: Any
) -> Consumer:
    async def handle(body: dict[str, int]) -> None:
        await asyncio.sleep(1)
        done.append(body["id"])

    idempotency = Idempotency(store, key="id", on_store_error=on_store_error)
    return Consumer(world.name, handle, idempotency=idempotency, region="eu-west-1", **options)


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
        await world.until(lambda: world.now > BEGIN + 60, step=0.5)
        await world.send(json.dumps({"id": 2}))
        back = await world.until(lambda: len(done) == 2, within=END + 60, step=0.1)
        assert END < back < END + 20


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


class Cancelled(MemoryStore):
    """The first claim of this store fails, and its driver cancels its own next calls."""

    def __init__(self) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._errors = [ConnectionError("refused"), asyncio.CancelledError(), asyncio.CancelledError()]

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if self._errors and (len(self._errors) == 3 or key.startswith("leasekeeper:check")):
            raise self._errors.pop(0)
        return await super().claim(key, token, fingerprint, lease)


@virtual
async def test_a_question_that_the_driver_of_the_store_cancels_is_asked_again() -> None:
    """L15: the end of the outage must be seen, or nothing would be received any more."""
    async with World() as world:
        done: list[int] = []
        await world.start(_consumer(world, Cancelled(), done))
        for number in range(2):
            await world.send(json.dumps({"id": number}))
            await world.until(lambda number=number: number in done, within=60)  # type: ignore[misc]
            await asyncio.sleep(60)  # longer than a poll that was open before


class Flaps(MemoryStore):
    """A store of which half of the claims fail, also those that ask whether it is there."""

    def __init__(self, error: type[Exception] = ConnectionError) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._draw = random.Random(7)
        self._error = error
        self.failed = 0

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if self._draw.random() < 0.5:
            self.failed += 1
            raise self._error("refused")
        return await super().claim(key, token, fingerprint, lease)


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError])
@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_claims_that_fail_now_and_then_cost_no_receive(fifo: bool, error: type[Exception]) -> None:
    """L26: the queue allows two receives. Each message waits here; on a FIFO queue its followers wait behind it."""
    async with World(fifo=fifo, max_receives=2) as world:
        done: list[int] = []
        store = Flaps(error)
        consumer = await world.start(_consumer(world, store, done, visibility_timeout=10))
        for number in range(200):
            await world.send(json.dumps({"id": number}), group=str(number % 20) if fifo else None)
        await world.until(lambda: len(done) == 200, within=900, step=0.5)
        await world.until(lambda: not world.bodies())
        assert store.failed > 150
        assert consumer.runner.context.ledger.statistics().received == 200
        assert world.bodies(world.dead_letters) == []
        assert sorted(done) == list(range(200))
        if fifo:
            assert all(sorted(group) == group for group in ([n for n in done if n % 20 == g] for g in range(20)))


@virtual
async def test_an_outage_of_a_fifo_queue_costs_nothing() -> None:
    """L26: a group waits in place for ten minutes, with its leases of 30 seconds, and runs when the store is back."""
    async with World(fifo=True, max_receives=1) as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world), done, visibility_timeout=30))
        await world.until(lambda: world.now > BEGIN)
        for number in range(30):
            await world.send(json.dumps({"id": number}), group=str(number % 3))
        await world.until(lambda: world.now > END - 1, step=5)
        assert done == []
        await world.until(lambda: len(done) == 30, within=60)
        assert consumer.runner.context.ledger.statistics().received == 30
        assert world.now < END + 30


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_a_stop_gives_back_what_waits_for_the_store(fifo: bool) -> None:
    async with World(fifo=fifo) as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world), done))
        await world.until(lambda: world.now > BEGIN)
        for number in range(5):
            await world.send(json.dumps({"id": number}), group="one" if fifo else None)
        await world.until(lambda: not consumer.runner.healthy)
        began = world.now
        await consumer.close()
        assert world.now < began + 5
        await world.until(lambda: world.queue().visible == 5, within=10)  # the first of a group after its pause
        assert done == []


@virtual
async def test_a_long_outage_gives_messages_of_a_standard_queue_to_other_machines() -> None:
    """Another machine may reach the store. The receive counts, once for each outage of this one."""
    async with World() as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Away(world), done))
        await world.until(lambda: world.now > BEGIN)
        await world.send(json.dumps({"id": 1}))
        await world.until(lambda: not consumer.runner.healthy)
        back = await world.until(lambda: world.queue().visible == 1, within=150)
        assert BEGIN + 85 < back < BEGIN + 130


class Picky(MemoryStore):
    """A store that takes every key but the first: its record cannot be read, for example."""

    def __init__(self, error: type[Exception] = ValueError) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._bad = ""
        self._error = error

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if not key.startswith("leasekeeper:check"):
            self._bad = self._bad or key
        if key == self._bad:
            raise self._error("its record cannot be read")
        return await super().claim(key, token, fingerprint, lease)


@pytest.mark.parametrize("error", [ValueError, ConnectionError])
@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_a_store_that_fails_for_one_key_only_delays_no_other_message(fifo: bool, error: type[Exception]) -> None:
    async with World(max_receives=100, fifo=fifo) as world:
        done: list[int] = []
        await world.start(_consumer(world, Picky(error), done))
        await world.send(json.dumps({"id": 0}), group="0" if fifo else None)
        slowest = 0.0
        for number in range(1, 20):
            sent = world.now
            await world.send(json.dumps({"id": number}), group=str(number) if fifo else None)
            await world.until(lambda number=number: number in done)  # type: ignore[misc]
            slowest = max(slowest, world.now - sent)
            await world.until(lambda sent=sent: world.now > sent + 10)  # type: ignore[misc]
        assert slowest < 5
        assert 0 not in done


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_a_key_that_its_store_cannot_answer_costs_its_message_its_attempts(fifo: bool) -> None:
    """Nothing else is in the queue, so nothing else succeeds. Then the dead-letter queue has it, with the reason."""
    async with World(max_receives=3, fifo=fifo) as world:
        done: list[int] = []
        consumer = await world.start(_consumer(world, Picky(), done, max_attempts=3))
        await world.send(json.dumps({"id": 0}), group="g" if fifo else None)
        unhealthy = 0
        while not world.bodies(world.dead_letters):
            unhealthy += not consumer.runner.healthy
            await world.until(lambda now=world.now: world.now > now + 1, step=0.5, within=600)  # type: ignore[misc]
            assert world.now < 300
        assert unhealthy == 0
        [copy] = world.queue(world.dead_letters).contents(1)
        reason = str(copy.content.attributes)
        assert "KeyUnusable" in reason
        assert "its record cannot be read" in reason
        await world.send(json.dumps({"id": 1}), group="g" if fifo else None)
        await world.until(lambda: done == [1], within=5)


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


@virtual
async def test_a_key_that_another_run_has_claimed_holds_up_its_group_and_costs_no_receive() -> None:
    """L26: the head of a group waits here until the other claim ends, and its followers behind it."""
    async with World(fifo=True, max_receives=2) as world:
        done: list[int] = []
        store = MemoryStore(clock=asyncio.get_running_loop().time)
        idempotency = Idempotency(store, key="id", scope="s")
        await store.claim(f"leasekeeper:s:{digest(0)}", "another", "", 100.0)

        async def handle(body: dict[str, int]) -> None:
            done.append(body["id"])

        consumer = await world.start(
            Consumer(world.name, handle, idempotency=idempotency, region="eu-west-1", visibility_timeout=20)
        )
        for number in range(10):
            await world.send(json.dumps({"id": number}))
        assert await world.until(lambda: len(done) == 10) < 115
        assert done == list(range(10))
        assert consumer.runner.context.ledger.statistics().received == 10


@virtual
async def test_the_report_names_messages_whose_key_another_run_has_claimed() -> None:
    """Two messages have one key: the second is given back until the first is done, and then deleted."""
    async with World() as world:
        store = MemoryStore(clock=asyncio.get_running_loop().time)

        async def handle(_body: dict[str, int]) -> None:
            await asyncio.sleep(10)

        consumer = await world.start(
            Consumer(world.name, handle, idempotency=Idempotency(store, key="id", scope="s"), region="eu-west-1")
        )
        await world.send(*(json.dumps({"id": 1, "copy": copy}) for copy in range(2)))
        await world.until(lambda: not world.bodies(), within=600)
        report = await consumer.stop()
        assert list(report.given_back) == ["claimed"]
        count = report.given_back["claimed"]
        assert count >= 1
        assert f"{count} given back ({count} with a key that another run has claimed)" in str(report)


class Recovers(MemoryStore):
    """A store that refuses each key some times, and then takes it."""

    def __init__(self, refusals: int) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self._refusals = refusals
        self.tries: list[float] = []

    async def claim(self, key: str, token: str, fingerprint: str, lease: float) -> Found:
        if not key.startswith("leasekeeper:check"):
            self.tries.append(self.clock())
            if len(self.tries) <= self._refusals:
                raise ConnectionError("refused")
        return await super().claim(key, token, fingerprint, lease)


@pytest.mark.parametrize("fifo", [False, True])
@virtual
async def test_claims_that_fail_are_no_attempts(fifo: bool) -> None:
    async with World(fifo=fifo, max_receives=3) as world:
        attempts: list[int] = []

        async def handle(message: Message[dict[str, int]]) -> None:
            attempts.append(message.attempt)
            if len(attempts) == 1:
                raise ValueError("once")

        store = Recovers(8)
        idempotency = Idempotency(store, key="id")
        await world.start(Consumer(world.name, handle, idempotency=idempotency, region="eu-west-1", max_attempts=3))
        await world.send(json.dumps({"id": 0}))
        await world.until(lambda: len(attempts) == 2, within=120)
        assert attempts == [1, 2]
