"""Batches in an engine: when a handler is called, what becomes of each message, and what a stop does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leasekeeper import Message, Reject, Retries
from leasekeeper.batch import Batch  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.testing.world import DEAD_LETTERS, World, virtual


def expect_calls(world: World, *names: str) -> int:
    return sum(world.broker.calls[name] for name in names)


@virtual
async def test_a_thousand_messages_are_ten_calls_of_the_handler_and_two_hundred_of_the_api() -> None:
    sizes: list[int] = []

    async def load(bodies: list[str]) -> None:
        sizes.append(len(bodies))
        await asyncio.sleep(0.1)

    async with World() as world:
        await world.send_many(1_000)
        running = await world.start(load, batch=100, concurrency=4)
        await world.until(lambda: not world.bodies(), within=20)
        calls = expect_calls(world, "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
        report = await running.stop()
    assert sizes == [100] * 10
    assert report.acked == 1_000
    assert calls <= 200 + 10  # the receives that wait at the empty queue


@virtual
async def test_named_messages_come_back_after_their_back_offs_and_the_others_are_deleted() -> None:
    """3 of 50: 47 are deleted in 5 calls."""
    begun: dict[str, list[float]] = {}
    named = {"7": 5.0, "21": 8.0, "33": None}

    async with World() as world:

        async def load(batch: Batch[str]) -> None:
            for message in batch:
                begun.setdefault(message.body, []).append(world.now)
                if message.body in named and message.receive_count == 1:
                    batch.retry(message, named[message.body])

        await world.send_many(50)
        await world.start(load, batch=50, retry_base=20, batch_wait=0.1)
        await world.until(lambda: len(world.bodies()) == 3)
        assert world.broker.calls["DeleteMessageBatch"] <= 5
        await world.until(lambda: not world.bodies())
    waited = {body: times[1] - times[0] for body, times in begun.items() if len(times) > 1}
    assert waited.keys() == named.keys()
    assert 5 <= waited["7"] <= 5.5
    assert 8 <= waited["21"] <= 8.5
    assert 10 <= waited["33"] <= 20.5  # half of the back-off is jitter


@pytest.mark.parametrize("poison", [0, 1, 64, 127])
@virtual
async def test_halves_find_one_poison_among_128_under_the_same_leases(poison: int) -> None:
    calls: list[int] = []
    counts: dict[str, int] = {}

    async with World(max_receives=10) as world:

        async def load(batch: Batch[str]) -> None:
            calls.append(len(batch))
            for message in batch:
                counts[message.body] = message.receive_count
            if str(poison) in batch.bodies:
                raise ValueError("the whole insert is rolled back")

        await world.send_many(128)
        running = await world.start(load, batch=128, on_batch_error="halves", retry_base=1_000, retry_maximum=1_000)
        await world.until(lambda: len(world.bodies()) == 1)
        await world.until(lambda: running.statistics().work.failed)
        assert world.bodies() == [str(poison)]
    assert set(counts.values()) == {1}
    assert calls[0] == 128
    assert len(calls) - 1 <= 15


@virtual
async def test_singly_calls_each_message_alone_after_an_error() -> None:
    calls: list[list[str]] = []

    async def load(bodies: list[str]) -> None:
        calls.append(bodies)
        if "2" in bodies:
            raise ValueError("no")

    async with World() as world:
        await world.send_many(4)
        await world.start(load, batch=4, on_batch_error="singly", retry_base=1_000, retry_maximum=1_000)
        await world.until(lambda: len(world.bodies()) == 1)
    assert calls == [["0", "1", "2", "3"], ["0"], ["1"], ["2"], ["3"]]


@virtual
async def test_a_window_calls_the_handler_once_with_what_has_come() -> None:
    seen: list[tuple[float, int, str, float]] = []

    async with World() as world:

        async def load(batch: Batch[str]) -> None:
            seen.append((world.now, len(batch), batch.trigger, batch.waited))

        await world.start(load, batch=100, batch_wait=2.0)
        sent = world.now
        await world.send_many(7)
        await world.until(lambda: not world.bodies())
    [(now, count, trigger, waited)] = seen
    assert (count, trigger) == (7, "wait")
    assert 2.0 <= now - sent <= 2.2
    assert 2.0 <= waited <= 2.01


@pytest.mark.parametrize("result", [{"batchItemFailures": [{"itemIdentifier": "no such id"}]}, 5, True], ids=str)
@virtual
async def test_a_result_that_is_not_understood_deletes_nothing(result: Any) -> None:
    async def load(_batch: Batch[str]) -> Any:
        return result

    async with World() as world:
        await world.send_many(5)
        running = await world.start(load, batch=5, retry_base=1_000, retry_maximum=1_000)
        await world.until(lambda: running.statistics().work.failed == 5)
        await asyncio.sleep(10)
        assert len(world.bodies()) == 5
        assert world.broker.calls["DeleteMessageBatch"] == 0


@pytest.mark.parametrize("unstarted", ["release", "run"])
@virtual
async def test_a_stop_releases_or_runs_what_is_collected(unstarted: Any) -> None:
    ran: list[tuple[int, str]] = []

    async def load(batch: Batch[str]) -> None:
        ran.append((len(batch), batch.trigger))

    async with World() as world:
        await world.send_many(30)
        running = await world.start(load, batch=100, batch_wait=300, on_unstarted=unstarted)
        await world.until(lambda: running.statistics().lane.waiting == 30)
        begun = world.now
        await running.stop()
        assert world.now - begun < 2.5
        if unstarted == "run":
            assert ran == [(30, "stop")]
            assert world.bodies() == []
        else:
            assert ran == []
            assert world.queue().visible == 30


@virtual
async def test_a_bad_body_never_enters_a_batch_and_is_rejected_alone() -> None:
    seen: list[int] = []

    async def load(batch: list[int]) -> None:
        seen.extend(batch)

    async with World(max_receives=5) as world:
        await world.send("1", "two", "3")
        await world.start(load, batch=3)
        await world.until(lambda: not world.bodies())
        assert world.bodies(DEAD_LETTERS) == ["two"]
    assert seen == [1, 3]


@virtual
async def test_handlers_do_not_wait_for_the_next_batch_under_load() -> None:
    """While one batch runs, the next is collected, whatever its size."""
    sizes: list[int] = []

    async def load(bodies: list[str]) -> None:
        sizes.append(len(bodies))
        await asyncio.sleep(0.5)

    async with World() as world:
        world.faults.set(latency=0.01)
        await world.send_many(3_000)
        begun = world.now
        await world.start(load, batch=100, concurrency=1)
        await world.until(lambda: sum(sizes) == 3_000)
        assert sizes == [100] * 30
        assert world.now - begun < 30 * 0.5 + 1


@virtual
async def test_batches_do_not_shrink_behind_slow_handlers() -> None:
    """What comes while all handlers are busy waits for a full batch, not for a window."""
    sizes: list[int] = []

    async def load(bodies: list[str]) -> None:
        sizes.append(len(bodies))
        await asyncio.sleep(10)

    async with World() as world:
        await world.start(load, batch=100, batch_wait=0.5, concurrency=1)
        for number in range(300):
            await world.send(str(number))
            await asyncio.sleep(0.2)  # 50 messages during one call
        await world.until(lambda: not world.bodies(), within=60)
    assert len(sizes) <= 9  # with a batch for each window it would be more than a hundred
    assert sum(sizes) == 300


@virtual
async def test_batch_key_separates_batches() -> None:
    batches: list[list[str]] = []

    async def load(bodies: list[str]) -> None:
        batches.append(bodies)

    async with World() as world:
        await world.send(*(f"{tenant}{number}" for number in range(5) for tenant in "abc"))
        await world.start(load, batch=5, batch_wait=1, batch_key=lambda message: message.body[0])
        await world.until(lambda: not world.bodies())
    assert sorted(batches) == [[f"{tenant}{number}" for number in range(5)] for tenant in "abc"]


@virtual
async def test_a_batch_key_that_raises_costs_its_own_message_a_retry() -> None:
    batches: list[list[str]] = []

    async def load(bodies: list[str]) -> None:
        batches.append(bodies)

    async with World() as world:
        await world.send("1", "two", "3")
        running = await world.start(
            load, batch=2, batch_key=lambda message: int(message.body) > 9, retry_base=500, retry_maximum=500
        )
        await world.until(lambda: len(world.bodies()) == 1)
        assert running.statistics().work.failed == 1
    assert batches == [["1", "3"]]


@virtual
async def test_the_option_retry_decides_on_what_a_batch_key_raises() -> None:
    asked: list[tuple[str, int, str]] = []

    def without_a_tenant(message: Message[str], attempt: int, error: Exception) -> Reject:
        asked.append((message.body, attempt, repr(error)))
        return Reject("it has no tenant")

    async def load(_bodies: list[str]) -> None: ...

    async with World(max_receives=5) as world:
        await world.send("1")
        await world.start(
            load,
            batch=2,
            batch_key=lambda message: message.attributes["tenant"],
            retry=Retries(on={KeyError: without_a_tenant}),
        )
        await world.until(lambda: not world.bodies())
        assert world.bodies(DEAD_LETTERS) == ["1"]
    assert asked == [("1", 1, "KeyError('tenant')")]


@virtual
async def test_what_a_batch_key_raises_is_an_attempt_also_where_the_next_one_follows_at_once() -> None:
    """L15, L20: otherwise it is asked again and again on the engine's loop, and `max_attempts` is never reached."""
    asked: list[float] = []

    async def load(_bodies: list[str]) -> None: ...

    async with World(max_receives=5) as world:

        def key(_: Message[str]) -> str:
            asked.append(world.now)
            raise OSError("the table of tenants cannot be read")

        await world.send("1")
        await world.start(load, batch=2, batch_key=key, retry=Retries(immediate=2), max_attempts=4)
        await world.until(lambda: not world.bodies())
        assert world.bodies(DEAD_LETTERS) == ["1"]
    assert len(asked) == 4
    assert asked[2] - asked[0] < 1
    assert asked[3] - asked[2] >= 1


@virtual
async def test_a_handler_that_cannot_be_ended_is_counted_once_and_not_by_its_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def load(bodies: list[str]) -> None:
        while True:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                if done:
                    raise

    done: list[bool] = []
    async with World() as world:
        await world.send_many(20)
        running = await world.start(load, batch=20, drain_timeout=1)
        await world.until(lambda: running.statistics().lane.running)
        await running.stop()
        assert "1 handler still runs after drain_timeout=1 s" in caplog.text
        done.append(True)
