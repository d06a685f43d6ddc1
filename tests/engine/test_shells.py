"""The shells: bad clients are survived when settling, and everything says what it is."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.engine.calls import SHORTEST, capped_pause
from leasekeeper.engine.health import RECEIVE, Health
from leasekeeper.engine.heartbeat import Heartbeat
from leasekeeper.engine.scopes import serve
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.events import InternalError
from leasekeeper.testing.world import World, virtual

if TYPE_CHECKING:
    from leasekeeper.events import HealthChanged


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


@pytest.mark.parametrize("call", ["delete_batch", "change_visibility_batch"])
@virtual
async def test_a_settlement_is_not_tried_again_before_sqs_wants_it(call: str) -> None:
    """L12, L16: `Retry-After` is heeded by deletes and extensions as by receives."""
    async with World() as world:
        good = getattr(world.client, call)
        times: list[float] = []

        async def busy(*args: Any) -> Any:
            times.append(world.now)
            if len(times) == 1:
                raise SqsError(Verdict.THROTTLED, "RequestThrottled", "slow down", retry_after=7.0)
            return await good(*args)

        setattr(world.client, call, busy)
        await world.send("a")

        async def handle(body: str) -> None:
            await asyncio.sleep(50 if call == "change_visibility_batch" else 0)

        consumer = await world.start(handle, visibility_timeout=60)
        await world.until(lambda: not world.bodies(), within=100)
        await world.until(lambda: len(times) > 1, within=100)
        assert times[1] - times[0] >= 7.0
        report = await consumer.stop()
        assert (report.acked, report.lost) == (1, 0)


def test_another_try_comes_before_the_lease_ends_and_never_hot() -> None:
    """L12: half of what is left, or less, but a moment at least."""
    assert capped_pause(1.0, 100.0) == 1.0
    assert capped_pause(5.0, 4.0) == 2.0
    assert capped_pause(5.0, 0.0) == SHORTEST
    assert capped_pause(5.0, -3.0) == SHORTEST


@virtual
async def test_health_is_about_receives_asked_for_in_vain() -> None:
    """L15, L18."""
    told: list[HealthChanged] = []
    health = Health("orders", unhealthy_after=60, wait_time=20, emit=told.append)  # type: ignore[arg-type]
    assert health.healthy(1e6)  # nothing was asked
    health.asked(0, 100)
    health.asked(0, 150)
    assert health.healthy(160)
    assert not health.healthy(161)
    health.received(0, 170)
    assert health.healthy(1e6)
    health.failed(RECEIVE, SqsError(Verdict.THROTTLED, "x", "y"), 200)
    assert health.problem is None
    health.failed(RECEIVE, SqsError(Verdict.MISSING, "x", "y"), 201)
    assert not health.healthy(201)
    assert health.unusable.is_set()
    health.received(0, 210)
    assert health.healthy(210)
    assert [event.healthy for event in told] == [False, True]


@virtual
async def test_health_counts_a_receive_that_hangs_although_another_poller_succeeded_and_ended() -> None:
    """L15: a success of one poller says nothing about the poll of another that never returns."""
    health = Health("orders", unhealthy_after=60, wait_time=20)
    health.asked(1, 100)
    health.asked(0, 100)
    health.received(0, 110)
    health.left(0)
    assert health.healthy(170)
    assert not health.healthy(171)


@virtual
async def test_refused_deletes_make_unhealthy_until_one_succeeds() -> None:
    """L18: the reason names the permission."""
    told: list[HealthChanged] = []
    health = Health("orders", unhealthy_after=60, wait_time=20, emit=told.append)  # type: ignore[arg-type]
    health.failed("DeleteMessageBatch", SqsError(Verdict.DENIED, "AccessDenied", "no"), 1)
    health.received(0, 2)
    assert not health.healthy(2)
    assert "allow sqs:DeleteMessage" in told[0].reason
    health.succeeded("DeleteMessageBatch", 3)
    assert health.healthy(3)
    assert [event.healthy for event in told] == [False, True]


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
        assert repr(runner) == "<Runner orders RUNNING 1 poller, 2/2 running, 2 waiting, 0 acking>"
        assert repr(runner._heartbeat) == "<Heartbeat next in 14.0 s>"
        assert "4 slots taken" in repr(runner._worker)
        await asyncio.sleep(3)
        assert repr(runner) == "<Runner orders RUNNING 1 poller, 2/2 running, 0 waiting, 2 acking>"
        assert repr(runner._harvester) == "<Harvester <Batcher deletes 0 waiting, 1 calls out>>"
        assert (
            repr(runner._extender)
            == "<Extender <Batcher extensions 0 waiting, 0 calls out>, <Batcher releases 0 waiting, 0 calls out>>"
        )
        report = await consumer.stop()
        assert str(report) == (
            "queue orders: 4 received: 4 done in 8.0 s; stopped by stop(): drained in 2.0 s, flushed in 2.0 s"
        )


@virtual
async def test_a_heartbeat_beats_although_its_timer_fires_early() -> None:
    """L3: by the resolution of a clock; what beats must not set itself again and again for one and the same moment."""
    beats: list[float] = []

    def tick(now: float) -> list[Any]:
        beats.append(now)
        return []

    leases: Any = SimpleNamespace(next_due=lambda: math.inf if beats else 2.0, tick=tick)
    heartbeat = Heartbeat(leases, clock=lambda: 1.0, extend=lambda _rows: None, failed=lambda _what, _error: None)
    async with serve(heartbeat):
        await asyncio.sleep(10)
    assert beats == [2.0]


@pytest.mark.parametrize("bodies", [("a", "bad", "b"), ("bad",)])
@virtual
async def test_a_message_that_cannot_be_settled_is_given_back_and_costs_no_other_message_anything(
    bodies: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L15: the error is logged with the message's id, and the message is given back."""
    async with World() as world:
        errors: list[str] = []
        consumer = await world.start(_nothing, visibility_timeout=10)
        consumer.events.subscribe(lambda event: errors.append(event.what), InternalError)
        ledger, failures = consumer.runner.context.ledger, 2
        done = ledger.done

        def fails_for_one(rows: Any) -> Any:
            nonlocal failures
            if failures and any(row.received.body == "bad" for row in rows):
                failures -= 1
                raise ZeroDivisionError("a bug of ours")
            return done(rows)

        monkeypatch.setattr(ledger, "done", fails_for_one)
        await world.send(*bodies)
        await world.until(lambda: world.bodies() in (["bad"], []), within=5)
        await world.until(lambda: not world.bodies(), within=60)
        assert failures == 0
        assert len(errors) == 2, errors
