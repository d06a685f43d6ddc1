"""Health, by what SQS answers (L15, L18)."""

from __future__ import annotations

import asyncio

from leasekeeper.engine.health import CHANGE, DELETE, RECEIVE, Health
from leasekeeper.errors import SqsError, Verdict
from leasekeeper.events import Event, HealthChanged
from leasekeeper.outcomes import Reject
from leasekeeper.testing.world import World, virtual


def denied(operation: str) -> SqsError:
    return SqsError(Verdict.DENIED, "AccessDenied", "no", operation=operation)


def test_the_problem_is_the_first_of_several_that_last_and_the_next_when_that_is_over() -> None:
    events: list[Event] = []
    health = Health("orders", unhealthy_after=60, wait_time=20, emit=events.append)
    health.failed(DELETE, denied(DELETE), 1.0)
    health.failed(CHANGE, denied(CHANGE), 2.0)
    health.failed(RECEIVE, SqsError(Verdict.UNAVAILABLE, "503", "busy"), 3.0)
    assert DELETE in str(health.problem)
    assert health.refuses(DELETE)
    health.succeeded(DELETE, 4.0)
    assert CHANGE in str(health.problem)
    assert not health.refuses(DELETE)
    health.succeeded(CHANGE, 5.0)
    assert health.problem is None
    assert [(event.healthy, event.reason[:20]) for event in events if isinstance(event, HealthChanged)] == [
        (False, "DeleteMessageBatch: "),
        (True, ""),
    ]


@virtual
async def test_copies_that_are_denied_say_nothing_about_the_queue_itself() -> None:
    """L18, L30: the message is left to the redrive policy; polling is neither slowed nor unhealthy."""
    async with World(max_receives=5) as world:
        world.faults.set("SendMessageBatch", deny=1.0)

        async def handle(body: str) -> None:
            if body == "bad":
                raise Reject("no")

        consumer = await world.start(handle)
        await world.send("bad")
        await asyncio.sleep(2)
        assert consumer.statistics().errors == {"AccessDenied": 1}
        assert consumer.runner.healthy
        await world.send("good")
        await world.until(lambda: world.bodies() == ["bad"], within=1)
        await consumer.stop()


@virtual
async def test_extensions_that_are_denied_make_the_consumer_unhealthy() -> None:
    """L18: it loses every long lease; the reason names the permission. Short work goes on at full speed."""
    async with World() as world:
        world.faults.set(CHANGE, deny=1.0)
        reasons: list[str] = []

        async def handle(body: str) -> None:
            await asyncio.sleep(float(body))

        consumer = await world.start(handle, visibility_timeout=30)
        consumer.events.subscribe(lambda event: reasons.append(event.reason), HealthChanged)
        await world.send("25")
        await asyncio.sleep(20)
        assert not consumer.runner.healthy
        assert len(reasons) == 1
        assert "allow sqs:ChangeMessageVisibility" in reasons[0]
        await world.send(*["0"] * 100)
        await world.until(lambda: consumer.statistics().work.done >= 100, within=4)
        await consumer.stop(force=True)


@virtual
async def test_receives_that_hang_make_the_consumer_unhealthy_and_that_is_said() -> None:
    """L15, L17."""
    async with World() as world:
        changes: list[tuple[float, bool]] = []

        async def handle(_body: str) -> None: ...

        running = await world.start(handle, unhealthy_after=60)
        running.events.subscribe(lambda event: changes.append((world.now, event.healthy)), HealthChanged)
        world.faults.set("ReceiveMessage", hang=1.0)
        await world.until(lambda: not running.runner.healthy, within=100)
        await world.until(lambda: changes, within=30)  # the client gives the hanging call up
        world.faults.clear()
        await world.until(lambda: running.runner.healthy, within=30)
        assert [healthy for _, healthy in changes] == [False, True]
        await running.stop()


@virtual
async def test_a_poller_that_waits_for_slots_does_not_ask_in_vain() -> None:
    """L15: one of two pollers failed before the other filled all slots for minutes; that is no fault."""
    async with World() as world:

        async def handle(_body: str) -> None:
            await asyncio.sleep(400)

        world.faults.next("ReceiveMessage", reset=1.0)
        await world.send("a", "b")
        consumer = await world.start(
            handle, concurrency=2, receive_batch=2, prefetch=0, pollers=2, throttle=False, unhealthy_after=60
        )
        await asyncio.sleep(200)
        assert consumer.statistics().lane.running == 2
        assert consumer.runner.healthy
        await consumer.stop(force=True)
