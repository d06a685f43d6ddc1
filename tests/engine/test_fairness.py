"""Fairness among the message groups of a standard queue: a tenant that floods does not delay the others."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from leasekeeper.errors import ConfigurationError
from leasekeeper.message import Message  # noqa: TC001 - the annotation of the handler is read
from leasekeeper.testing.world import World, virtual


class Tenants:
    """A handler that notes how many messages of each tenant run, and when they ended."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.running = Counter[str]()
        self.most = Counter[str]()
        self.ends: dict[str, list[float]] = {}

    async def handle(self, message: Message[str]) -> None:
        tenant = message.group_id or ""
        self.running[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.running[tenant])
        await asyncio.sleep(self._seconds)
        self.running[tenant] -= 1
        self.ends.setdefault(tenant, []).append(asyncio.get_running_loop().time())

    def done(self, tenant: str = "") -> int:
        return len(self.ends.get(tenant, ()))


async def time_of_ten_tenants(*, flood: int, fair: bool) -> float:
    """Seconds until ten tenants have ten messages each done, which come while the messages of another are waiting."""
    async with World() as world:
        tenants = Tenants(0.5)
        await world.send_many(flood, group="flood")
        await world.start(tenants.handle, concurrency=10, prefetch=100, throttle=False, fair=fair)
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        for number in range(10):
            for tenant in range(10):
                await world.send(str(number), group=f"tenant-{tenant}")
        await world.until(lambda: all(tenants.done(f"tenant-{tenant}") == 10 for tenant in range(10)), within=500)
        return max(end for tenant, ends in tenants.ends.items() for end in ends if tenant != "flood") - began


@virtual
async def test_ten_tenants_are_hardly_delayed_by_a_thousand_messages_of_another() -> None:
    """At most 1.25 times as long as alone. Without turns they wait for the hundred of the other that are here first."""
    alone = await time_of_ten_tenants(flood=0, fair=False)
    fair = await time_of_ten_tenants(flood=1000, fair=True)
    unfair = await time_of_ten_tenants(flood=1000, fair=False)
    assert alone == pytest.approx(100 * 0.5 / 10, abs=0.6)
    assert fair <= 1.25 * alone
    assert unfair >= 1.8 * alone


@virtual
async def test_a_message_of_another_tenant_starts_in_the_turn_after_its_receive() -> None:
    """It is received when a handler ends, and runs when the next one does: forty of the flood wait longer."""
    async with World() as world:
        tenants = Tenants(1)
        await world.send_many(500, group="flood")
        await world.start(tenants.handle, concurrency=5, fair=True)
        await asyncio.sleep(10.3)
        for turn in range(10):
            await world.send("a", group="quiet")
            sent = world.now
            await world.until(lambda turn=turn: tenants.done("quiet") == turn + 1, within=5)  # type: ignore[misc]
            assert world.now - sent <= 3.1


@virtual
async def test_a_tenant_has_no_more_handlers_than_it_may_and_the_others_have_the_rest() -> None:
    async with World() as world:
        tenants = Tenants(0.5)
        await world.send_many(600, group="flood")
        consumer = await world.start(tenants.handle, concurrency=20, group_concurrency=2, visibility_timeout=5)
        await asyncio.sleep(20)
        assert tenants.done("flood") == pytest.approx(80, abs=4)
        gate = consumer.statistics().gate
        assert gate is not None
        assert gate.limited == gate.waiting <= 100
        for tenant in range(9):
            await world.send_many(20, group=f"tenant-{tenant}")
        began = world.now
        await world.until(lambda: sum(tenants.done(f"tenant-{tenant}") for tenant in range(9)) == 180, within=60)
        assert world.now - began <= 1.2 * 20 * 0.5 / 2
        assert max(tenants.most.values()) == 2
        report = await consumer.stop()
        assert (report.lost, report.unsettled) == (0, 0)


@virtual
async def test_a_flood_of_a_limited_tenant_does_not_keep_others_out_that_come_later() -> None:
    """When a hundred messages of it are held, receives go on as each of them ends."""
    async with World() as world:
        tenants = Tenants(1)
        await world.send_many(2000, group="flood")
        consumer = await world.start(tenants.handle, concurrency=20, group_concurrency=2)
        await asyncio.sleep(60)
        held = consumer.statistics().ledger.held
        assert held["waiting"] <= 100
        await world.send_many(50, group="late")
        began = world.now
        await world.until(lambda: tenants.done("late") == 50, within=60)
        assert world.now - began <= 1.3 * 50 / 2 + 1
        counts = [message.receives for message in world.queue().contents() if message.group == "flood"]
        assert max(counts) <= 1


@virtual
async def test_messages_without_a_group_are_one_group() -> None:
    async with World() as world:
        tenants = Tenants(1)
        await world.send_many(100)
        await world.send_many(3, group="a")
        await world.start(tenants.handle, concurrency=10, group_concurrency=3)
        await world.until(lambda: tenants.done() == 100, within=60)
        assert tenants.most == {"": 3, "a": 3}


@virtual
async def test_a_rate_and_turns_go_together() -> None:
    """The flood's messages wait for tokens here, so that those of others can go before them."""
    async with World() as world:
        tenants = Tenants(0.1)
        await world.send_many(300, group="flood")
        consumer = await world.start(tenants.handle, rate=10, burst=1, fair=True)
        await asyncio.sleep(10)
        await world.send_many(5, group="quiet")
        sent = world.now
        await world.until(lambda: tenants.done("quiet") == 5, within=20)
        assert world.now - sent <= 10 * 0.1 + 0.5
        assert sum(map(tenants.done, ("flood", "quiet"))) == pytest.approx(world.now * 10, abs=3)
        assert (await consumer.stop()).unsettled == 0


@virtual
async def test_a_fifo_queue_refuses_what_it_does_by_itself() -> None:
    async with World(fifo=True) as world:
        for values, sentence in (
            ({"fair": True}, "fair=True on a FIFO queue: its message groups have one handler at a time and take turns"),
            ({"group_concurrency": 2}, "group_concurrency=2 on a FIFO queue"),
        ):
            with pytest.raises(ConfigurationError, match=sentence):
                await world.runner(Tenants(1).handle, **values)
