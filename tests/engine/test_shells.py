"""The shells: bad clients are survived when settling, and everything says what it is."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from leasekeeper.engine.calls import SHORTEST, within
from leasekeeper.engine.heartbeat import Heartbeat
from leasekeeper.engine.poller import Health
from leasekeeper.engine.scopes import serve
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.testing.world import World, virtual


async def _nothing(body: str) -> None:
    """Finishes at once."""


@pytest.mark.parametrize("badly", ["raises", "answers too few"])
@pytest.mark.parametrize("call", ["delete_batch", "change_visibility_batch"])
@virtual
async def test_a_client_that_settles_badly_is_asked_again(badly: str, call: str) -> None:
    """L15, L12: what no client should do ends neither the consumer nor the lease."""
    async with World() as world:
        good, bad = getattr(world.client, call), 3

        async def strange(*args: Any) -> Any:
            nonlocal bad
            if not bad:
                return await good(*args)
            bad -= 1
            if badly == "raises":
                raise ZeroDivisionError("a bug in a client")
            return []

        setattr(world.client, call, strange)
        await world.send("a")

        async def handle(body: str) -> None:
            await asyncio.sleep(20)

        consumer = await world.start(handle, visibility_timeout=10)
        await world.until(lambda: not world.bodies(), within=100)
        report = await consumer.stop()
        assert (report.received, report.acked, report.lost) == (1, 1, 0)
        assert bad == 0


def test_another_try_comes_before_the_lease_ends_and_never_hot() -> None:
    """L12: half of what is left, or less, but a moment at least."""
    assert within(1.0, 100.0) == 1.0
    assert within(5.0, 4.0) == 2.0
    assert within(5.0, 0.0) == SHORTEST
    assert within(5.0, -3.0) == SHORTEST


@virtual
async def test_health_is_about_receives_asked_for_in_vain() -> None:
    """L15, L18."""
    health = Health(unhealthy_after=60, wait_time=20)
    assert health.healthy(1e6)  # nothing asked, nothing amiss
    health.asked(100)
    health.asked(150)
    assert health.healthy(160)
    assert not health.healthy(161)
    health.received()
    assert health.healthy(1e6)
    health.failed(SqsError(Verdict.THROTTLED, "x", "y"))
    assert health.problem is None
    health.failed(SqsError(Verdict.MISSING, "x", "y"))
    assert not health.healthy(0)
    assert health.unusable.is_set()
    health.received()
    assert health.healthy(0)


@virtual
async def test_everything_says_what_it_is() -> None:
    async with World() as world:
        await world.send_many(4)

        async def handle(body: str) -> None:
            await asyncio.sleep(3)

        world.faults.set("DeleteMessageBatch", latency=2.0)
        consumer = await world.start(handle, concurrency=2, prefetch=9, throttle=False, pollers=1)
        runner = consumer.runner
        await asyncio.sleep(1)
        assert repr(runner) == "<Runner orders RUNNING 1 pollers, 2/2 running, 2 waiting, 0 acking>"
        assert repr(runner._heartbeat) == "<Heartbeat next in 14.0 s>"
        assert "4 places taken" in repr(runner._worker)
        await asyncio.sleep(3)
        assert repr(runner) == "<Runner orders RUNNING 1 pollers, 2/2 running, 0 waiting, 2 acking>"
        assert repr(runner._harvester) == "<Harvester <Batcher acks 0 waiting, 1 calls out>>"
        assert repr(runner._extender) == "<Extender <Batcher visibility 0 waiting, 0 calls out>>"
        report = await consumer.stop()
        assert str(report) == "queue orders: 4 received, 4 handled, 4 deletes confirmed in 8.0 s"


@virtual
async def test_a_heartbeat_whose_timer_fires_early_beats_all_the_same() -> None:
    """L3: by the resolution of a clock; what beats must not set itself again and again for one and the same moment."""
    beats: list[float] = []

    def tick(now: float) -> list[Any]:
        beats.append(now)
        return []

    ledger = SimpleNamespace(next_due=lambda: math.inf if beats else 2.0, tick=tick)
    context: Any = SimpleNamespace(ledger=ledger, clock=lambda: 1.0)
    extender: Any = SimpleNamespace(extend=lambda _rows: None)
    heartbeat = Heartbeat(context, extender)
    async with serve(heartbeat):
        await asyncio.sleep(10)
    assert beats == [2.0]
