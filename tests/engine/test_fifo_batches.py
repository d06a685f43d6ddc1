"""Batches of a FIFO queue: one message group a batch, in order, and what a failure in one means for the rest."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Literal

import pytest
from fifo_kit import Server

from leasekeeper import Batch, ConfigurationError, Consumer, Message, Reject
from leasekeeper.local.model import refusals
from leasekeeper.message import Received  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.testing.world import World, virtual


@virtual
async def test_a_batch_holds_the_next_messages_of_one_group() -> None:
    """L25, L28."""
    runs: list[tuple[str | None, list[str]]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append((batch.group_id, [message.body for message in batch]))

    async with World(fifo=True) as world:
        for number in range(24):
            await world.send(str(number), group=f"g{number % 2}")
        await world.start(load, batch=10)
        await world.until(lambda: not world.bodies())
    assert sorted(runs) == [
        ("g0", ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18"]),
        ("g0", ["20", "22"]),
        ("g1", ["1", "3", "5", "7", "9", "11", "13", "15", "17", "19"]),
        ("g1", ["21", "23"]),
    ]


@virtual
async def test_behind_a_message_that_fails_the_rest_of_its_group_runs_again_and_no_attempt_of_theirs_counts() -> None:
    """L25, L26: what was before it is deleted; it is tried again alone; then the rest runs."""
    runs: list[list[tuple[str, int]]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append([(message.body, message.attempt) for message in batch])
        for message in batch:
            if message.body == "2" and message.attempt < 3:
                batch.retry(message)

    async with World(fifo=True) as world:
        for number in range(6):
            await world.send(str(number), group="g")
        running = await world.start(load, batch=10, retry_base=1.0)
        await world.until(lambda: len(runs) == 2)
        assert world.bodies() == ["2", "3", "4", "5"]
        await world.until(lambda: not world.bodies())
        assert running.statistics().ledger.received == 6
    assert runs == [
        [(str(number), 1) for number in range(6)],
        [("2", 2)],
        [("2", 3)],
        [("3", 1), ("4", 1), ("5", 1)],
    ]


@virtual
async def test_nothing_runs_before_an_earlier_message_whose_envelope_cannot_be_opened_yet() -> None:
    """L25: what the handler has not seen of a group is as much in the way as what it failed with."""
    runs: list[list[tuple[str, int]]] = []
    unreachable = {"1"}

    def opened(received: Received) -> str:
        if received.body in unreachable:
            unreachable.clear()
            raise OSError("the service of keys does not answer")
        return received.body

    async def load(batch: Batch[str]) -> None:
        runs.append([(message.body, message.attempt) for message in batch])

    async with World(fifo=True) as world:
        for number in range(6):
            await world.send(str(number), group="g" if number < 4 else "h")
        running = await world.start(load, batch=10, batch_groups="several", envelope=opened)
        await world.until(lambda: not world.bodies())
        assert running.statistics().ledger.received == 6
    assert runs == [[("0", 1), ("4", 1), ("5", 1)], [("1", 1), ("2", 1), ("3", 1)]]


@pytest.mark.parametrize("later", ["named", "unopened"])
@virtual
async def test_messages_before_one_that_waits_are_isolated(later: str) -> None:
    """Only what stands behind it is not run again in parts; none of these runs counts as an attempt."""
    runs: list[list[tuple[str, int]]] = []
    waits = {"2"}

    def opened(received: Received) -> str:
        if later == "unopened" and received.body in waits:
            waits.clear()
            raise OSError("the service of keys does not answer")
        return received.body

    async def load(batch: Batch[str]) -> None:
        runs.append([(message.body, message.attempt) for message in batch])
        if len(batch) > 1 and "0" in batch.bodies:
            if later == "named":
                batch.retry(batch[2], after=1)
            raise RuntimeError("all or nothing")

    async with World(fifo=True) as world:
        await world.send("0", "1", "2", "3")
        await world.start(load, batch=10, on_batch_error="singly", envelope=opened)
        await world.until(lambda: not world.bodies())
    whole = [("0", 1), ("1", 1), ("2", 1), ("3", 1)]
    again = [[("2", 2)], [("3", 1)]] if later == "named" else [[("2", 1), ("3", 1)]]
    assert runs == [whole if later == "named" else whole[:2], [("0", 1)], [("1", 1)], *again]


@virtual
async def test_nothing_runs_before_an_undecodable_message_that_cannot_be_copied() -> None:
    """L25, L30: without a dead-letter queue it stays the first of its group."""
    runs: list[list[dict[str, int]]] = []

    async def load(bodies: list[dict[str, int]]) -> None:
        runs.append(bodies)

    async with World(fifo=True) as world:
        await world.send('{"a": 1}', "no JSON", '{"a": 2}')
        running = await world.start(load, batch=10)
        await asyncio.sleep(3_000)
        assert runs == [[{"a": 1}]]
        assert world.bodies() == ["no JSON", '{"a": 2}']
        groups = running.statistics().groups
        assert groups is not None
        assert groups.halted == 1


@virtual
async def test_a_poisonous_message_of_a_batch_is_dead_lettered_alone() -> None:
    """L26: also if the handler only raises, and so names no message."""
    done: dict[str, int] = defaultdict(int)

    async def load(batch: Batch[str]) -> None:
        await asyncio.sleep(0.01)
        if "poison" in batch.bodies:
            raise RuntimeError("one of them")
        for message in batch:
            done[message.body] += 1

    async with World(fifo=True, max_receives=20) as world:
        for body in ("a", "b", "poison", "c", "d"):
            await world.send(body, group="g")
        await world.start(load, batch=10, retry_base=1.0, max_attempts=3)
        await world.until(lambda: not world.bodies())
        assert world.bodies(world.dead_letters) == ["poison"]
    assert done == {"a": 1, "b": 1, "c": 1, "d": 1}


@virtual
async def test_a_rejected_message_of_a_batch_holds_up_nothing() -> None:
    """L26."""

    async def load(batch: Batch[str]) -> dict[object, object]:
        return {message: Reject("no") for message in batch if message.body == "1"}

    async with World(fifo=True, max_receives=20) as world:
        for number in range(4):
            await world.send(str(number), group="g")
        await world.start(load, batch=4)
        await world.until(lambda: not world.bodies())
        assert world.bodies(world.dead_letters) == ["1"]


@virtual
async def test_what_a_batch_has_finished_behind_a_rejected_message_is_deleted_after_its_copy() -> None:
    """L25: a crash before the copy would bring the rejected message again, and what stood behind it not."""

    async def load(batch: Batch[str]) -> dict[object, object]:
        return {message: Reject("no") for message in batch if message.body == "1"}

    async with World(fifo=True, max_receives=20) as world:
        server = Server(world)
        dead = world.queue(world.dead_letters)
        add = dead.add

        def refuse_at_first(*arguments: Any) -> object:
            if world.now < 3:
                raise refusals.unavailable()
            return add(*arguments)

        vars(dead).update(add=refuse_at_first)
        await world.send("0", "1", "2", "3", group="g")
        await world.send("other", group="h")
        consumer = await world.start(load, batch=4)
        await world.until(lambda: world.now >= 3)
        assert sorted(body for _, body in server.deletes) == ["0", "other"]
        await world.until(lambda: not world.bodies())
        assert [body for _, body in server.deletes if body != "other"] == ["0", "1", "2", "3"]
        assert world.bodies(world.dead_letters) == ["1"]
        assert consumer.statistics().ledger.received == 5


@virtual
async def test_behind_a_rejected_message_of_a_batch_that_cannot_be_copied_the_rest_runs_again() -> None:
    """L25: without a dead-letter queue the message is tried again here, so nothing behind it is finished."""
    runs: list[str] = []

    async def load(batch: Batch[str]) -> dict[object, object]:
        runs.extend(batch.bodies)
        first = len(runs) == 3
        return {message: Reject("no") for message in batch if message.body == "1" and first}

    async with World(fifo=True) as world:
        server = Server(world)
        await world.send("0", "1", "2", group="g")
        await world.start(load, batch=3, retry_base=1.0, retry_maximum=1.0)
        await world.until(lambda: not world.bodies())
        assert runs == ["0", "1", "2", "1", "2"]
        assert [body for _, body in server.deletes] == ["0", "1", "2"]


@virtual
async def test_if_a_copy_cannot_be_made_until_the_stop_all_from_the_rejected_message_on_comes_again() -> None:
    """L25: in order. Deleted without the copy, what stood behind the message would have run before it."""
    runs: list[str] = []

    async def load(batch: Batch[str]) -> dict[object, object]:
        runs.extend(batch.bodies)
        return {message: Reject("no") for message in batch if message.body == "1"}

    async with World(fifo=True, max_receives=20) as world:
        dead = world.queue(world.dead_letters)

        def refuse(*_: Any) -> object:
            raise refusals.unavailable()

        vars(dead).update(add=refuse)
        await world.send("0", "1", "2", "3", group="g")
        consumer = await world.start(load, batch=4, visibility_timeout=30)
        await asyncio.sleep(30)
        assert (await consumer.stop()).acked == 1
        assert world.bodies() == ["1", "2", "3"]
        vars(dead).pop("add")
        await world.start(load, batch=4)
        await world.until(lambda: not world.bodies())
        assert runs == ["0", "1", "2", "3", "1", "2", "3"]


@virtual
async def test_a_standard_queue_with_one_group_id_keeps_its_large_batches() -> None:
    """L27."""
    sizes: list[int] = []

    async def load(batch: Batch[str]) -> None:
        sizes.append(len(batch))

    async with World() as world:
        for number in range(50):
            await world.send(str(number), MessageGroupId="g")
        await world.start(load, batch=25, batch_wait=5.0)
        await world.until(lambda: not world.bodies())
    assert sizes == [25, 25]


@virtual
async def test_behind_a_message_retried_at_once_the_rest_runs_again_too() -> None:
    """L25: `message.retry()` counts when the handler has returned, as all that a FIFO handler says early."""
    runs: list[list[str]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append(batch.bodies)
        if len(batch) == 4:
            batch[1].retry(after=2)

    async with World(fifo=True) as world:
        for number in range(4):
            await world.send(str(number), group="g")
        await world.start(load, batch=10)
        await world.until(lambda: not world.bodies())
    assert runs == [["0", "1", "2", "3"], ["1"], ["2", "3"]]


@pytest.mark.parametrize("way", ["halves", "singly"])
@virtual
async def test_isolation_keeps_the_order_and_stops_at_the_message_that_fails(way: Literal["halves", "singly"]) -> None:
    """L25: 3 of 0 to 5 fails; nothing behind it is stored before it."""
    stored: list[str] = []
    attempts: list[int] = []

    async def load(batch: Batch[str]) -> None:
        if "3" in batch.bodies:
            attempts.append(batch[0].attempt)
            if len(attempts) < 5:
                raise ValueError("all or nothing")
        stored.extend(batch.bodies)

    async with World(fifo=True) as world:
        for number in range(6):
            await world.send(str(number), group="g")
        running = await world.start(load, batch=10, on_batch_error=way, retry_base=5.0)
        await world.until(lambda: len(world.bodies()) == 3)
        assert stored == ["0", "1", "2"]
        assert world.bodies() == ["3", "4", "5"]
        await world.until(lambda: not world.bodies())
        assert running.statistics().ledger.received == 6  # each was received once
    assert stored == ["0", "1", "2", "3", "4", "5"]


@virtual
async def test_batches_of_several_groups_are_larger_and_keep_the_order_in_each() -> None:
    """L25: a group is never in two batches at once."""
    sizes: list[int] = []
    order: dict[str, list[int]] = defaultdict(list)
    at_work: set[str] = set()

    async def load(batch: Batch[str]) -> None:
        sizes.append(len(batch))
        groups = {str(message.group_id) for message in batch}
        assert not groups & at_work
        at_work.update(groups)
        await asyncio.sleep(0.5)
        at_work.difference_update(groups)
        for message in batch:
            order[str(message.group_id)].append(int(message.body))

    async with World(fifo=True) as world:
        for number in range(240):
            await world.send(str(number), group=f"g{number % 12}")
        await world.start(load, batch=50, batch_groups="several", batch_wait=1.0, concurrency=2)
        await world.until(lambda: not world.bodies())
    assert sum(sizes) == 240
    assert max(sizes) > 40
    assert set(map(tuple, order.values())) == {tuple(range(first, 240, 12)) for first in range(12)}


@virtual
async def test_in_a_batch_of_several_groups_a_failure_holds_up_its_own_group_alone() -> None:
    """L25, L26."""
    runs: list[list[tuple[str, int]]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append([(message.body, message.attempt) for message in batch])
        for message in batch:
            if message.body == "a1" and message.attempt == 1:
                batch.retry(message)

    async with World(fifo=True) as world:
        for body in ("a0", "b0", "a1", "b1", "a2", "b2"):
            await world.send(body, group=body[0])
        await world.start(load, batch=6, batch_groups="several", batch_wait=0.5, retry_base=1.0)
        await world.until(lambda: not world.bodies())
    assert sorted(runs[0]) == [(body, 1) for body in ("a0", "a1", "a2", "b0", "b1", "b2")]
    assert runs[1:] == [[("a1", 2)], [("a2", 1)]]


@virtual
async def test_behind_a_message_that_lost_its_lease_in_a_batch_nothing_is_tried_again_here() -> None:
    """L20, L25: another consumer has the first message by then, and runs the others after it. No slot stays taken."""
    runs: list[tuple[str, str]] = []
    async with World(fifo=True) as world:
        change = world.queue().change_visibility

        def refuse_the_first(handle: str, timeout: int, now: float) -> None:
            message, _ = world.queue().find(handle)
            if message is not None and message.content.body == "1" and world.now < 35:
                raise refusals.unavailable()
            change(handle, timeout, now)

        vars(world.queue()).update(change_visibility=refuse_the_first)

        async def load(batch: Batch[str]) -> None:
            runs.extend(("first", message.body) for message in batch)
            await asyncio.sleep(40)
            raise RuntimeError("the batch failed")

        async def handle(message: Message[str]) -> None:
            await asyncio.sleep(20)
            runs.append(("second", message.body))

        await world.send("1", "2", "3")
        first = await world.start(load, batch=5, visibility_timeout=30, wait_time=5)
        await asyncio.sleep(1)
        first.runner.pause()
        await asyncio.sleep(20)
        await world.start(handle, visibility_timeout=30, wait_time=5)
        await world.until(lambda: not world.bodies(), within=200)
        assert first.runner.snapshot().taken == 0
    assert runs == [("first", body) for body in "123"] + [("second", body) for body in "123"]


@pytest.mark.parametrize("unstarted", ["release", "run"])
@virtual
async def test_a_stop_releases_or_runs_what_several_groups_have_collected(unstarted: Literal["release", "run"]) -> None:
    ran: list[tuple[int, str]] = []

    async def load(batch: Batch[str]) -> None:
        ran.append((len(batch), batch.trigger))

    async with World(fifo=True) as world:
        for number in range(20):
            await world.send(str(number), group=f"g{number % 4}")
        running = await world.start(load, batch=100, batch_groups="several", batch_wait=300, on_unstarted=unstarted)
        await world.until(lambda: running.statistics().lane.waiting == 20)
        await running.stop()
        if unstarted == "run":
            assert ran == [(20, "stop")]
            assert world.bodies() == []
        else:
            assert (ran, world.queue().visible) == ([], 20)


@virtual
async def test_a_rate_counts_batches_of_a_group_once() -> None:
    runs: list[list[str]] = []

    async def load(batch: Batch[str]) -> None:
        runs.append(batch.bodies)

    async with World(fifo=True) as world:
        for number in range(10):
            await world.send(str(number), group=f"g{number % 2}")
        await world.start(load, batch=5, rate=1.0)
        await world.until(lambda: not world.bodies())
    assert sorted(runs) == [["0", "2", "4", "6", "8"], ["1", "3", "5", "7", "9"]]


@virtual
async def test_what_waits_for_its_rate_goes_back_at_a_stop() -> None:
    """L24."""

    async def load(batch: Batch[str]) -> None:
        assert batch.bodies == ["0", "1", "2"]

    async with World(fifo=True) as world:
        for number in range(6):
            await world.send(str(number), group=f"g{number // 3}")
        running = await world.start(load, batch=6, rate=0.01, burst=1)
        await world.until(lambda: len(world.bodies()) == 3)
        await running.stop()
        assert world.queue().visible == 3


def test_a_batch_that_no_fifo_queue_can_fill_is_refused() -> None:
    async def load(batch: Batch[str]) -> None: ...

    with pytest.raises(ConfigurationError) as error:
        Consumer("orders.fifo", load, batch=11)
    assert str(error.value) == (
        "batch=11 with queue orders.fifo: a batch has messages of one message group, and SQS hands out no more than 10 "
        "of a group until these are deleted; lower batch to 10, or set batch_groups='several'"
    )
    with pytest.raises(ConfigurationError, match="leave batch_key out"):
        Consumer("orders.fifo", load, batch=10, batch_key=lambda message: message.body)
    Consumer("orders.fifo", load, batch=500, batch_groups="several")
