"""The batcher, alone: full at ten, due by its oldest, bounded in calls, and complete at its close (L12, L13)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.scopes import serve
from leasekeeper.engine.waits import wait_for
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import Callable


def _unexpected(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


class Post:
    """Notes what is sent, and when; each call takes `takes` seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.sent: list[tuple[float, list[int]]] = []
        self.out = self.most_out = 0
        self._takes = takes
        self._began = asyncio.get_running_loop().time()

    async def __call__(self, items: list[int]) -> None:
        self.sent.append((round(asyncio.get_running_loop().time() - self._began, 6), items))
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        await asyncio.sleep(self._takes)
        self.out -= 1

    def batcher(self, *, linger: float = 1.0, parallel: int = 32) -> Batcher[int]:
        clock: Callable[[], float] = asyncio.get_running_loop().time
        return Batcher("test", self, size=10, linger=linger, clock=clock, failed=_unexpected, parallel=parallel)


@virtual
async def test_ten_go_at_once_and_the_rest_when_the_oldest_is_due() -> None:
    """L13: adding to a batch does not put it off."""
    post = Post()
    batcher = post.batcher()
    async with serve(batcher):
        for number in range(13):
            batcher.add([number])
        await asyncio.sleep(0.9)
        batcher.add([13])
        await asyncio.sleep(1)
        assert post.sent == [(0.0, list(range(10))), (1.0, [10, 11, 12, 13])]


@virtual
async def test_an_item_that_must_go_sooner_takes_the_others_along() -> None:
    """L13: the lease of one ends before the others are due."""
    post = Post()
    batcher = post.batcher()
    async with serve(batcher):
        batcher.add([1])
        batcher.add([2], latest=asyncio.get_running_loop().time() + 0.25)
        await asyncio.sleep(0.5)
        assert post.sent == [(0.25, [1, 2])]


@virtual
async def test_an_item_put_back_goes_when_it_is_ready() -> None:
    """L12: alone, if nothing else is there."""
    post = Post()
    batcher = post.batcher()
    async with serve(batcher):
        batcher.put_back(1, ready=asyncio.get_running_loop().time() + 3)
        await asyncio.sleep(5)
        assert post.sent == [(3.0, [1])]


@virtual
async def test_a_fresh_item_does_not_wait_for_one_that_was_put_back() -> None:
    """L13: not even if it need not go for long."""
    post = Post()
    batcher = post.batcher(linger=0.5)
    async with serve(batcher):
        await asyncio.sleep(1)
        now = asyncio.get_running_loop().time()
        batcher.put_back(1, ready=now + 5)
        batcher.add([2], latest=now + 14)
        await asyncio.sleep(10)
        assert post.sent == [(1.5, [2]), (6.0, [1])]


@virtual
async def test_no_more_calls_are_out_than_may_be_and_all_items_go() -> None:
    post = Post(takes=0.1)
    batcher = post.batcher(parallel=3)
    async with serve(batcher):
        await asyncio.sleep(0.01)
        for number in range(100):
            batcher.add([number])
        assert batcher.statistics().in_flight == 3
    assert post.most_out == 3
    assert sorted(number for _, items in post.sent for number in items) == list(range(100))
    assert batcher.statistics().waiting == 0
    assert batcher.statistics().calls == 10


@virtual
async def test_closing_sends_what_waits_and_waits_for_the_answers() -> None:
    """L1: no interval is waited for."""
    post = Post(takes=2.0)
    batcher = post.batcher(linger=60)
    async with serve(batcher):
        batcher.add([1])
        batcher.put_back(2, ready=asyncio.get_running_loop().time() + 30)
    assert post.sent == [(0.0, [2, 1])]
    assert post.out == 0


@virtual
async def test_what_is_added_while_it_closes_goes_too() -> None:
    """L1: a copy confirmed during the flush still has its delete."""
    post = Post(takes=1.0)
    batcher = post.batcher(linger=0.5)
    async with serve(batcher):
        batcher.add([1])
        asyncio.get_running_loop().call_later(0.4, batcher.add, [2])
    assert [items for _, items in post.sent] == [[1], [2]]


@virtual
async def test_what_is_added_after_its_end_stays_and_sets_no_timer() -> None:
    post = Post()
    batcher = post.batcher()
    async with serve(batcher):
        pass
    for number in range(11):
        batcher.add([number])
    await asyncio.sleep(100)
    assert post.sent == []
    assert repr(batcher) == "<Batcher test 11 waiting, 0 calls out>"


@virtual
async def test_a_cancelled_batcher_ends_though_batches_wait() -> None:
    """L22: a flush that is cut short starts nothing new."""
    post = Post(takes=1_000)
    batcher = post.batcher(parallel=2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), serve(batcher):
            for number in range(100):
                batcher.add([number])
            await asyncio.sleep(5)
    assert len(post.sent) == 2
    assert post.most_out == 2


@virtual
async def test_waiting_for_an_event_ends_with_it_or_with_the_time() -> None:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    began = loop.time()
    assert await wait_for(event, 2.0) is False
    assert loop.time() - began == 2.0
    assert await wait_for(event, 0) is False
    loop.call_later(1, event.set)
    assert await wait_for(event, 5.0) is True
    assert loop.time() - began == 3.0
    assert await wait_for(event, 5.0) is True


@virtual
async def test_a_send_that_raises_costs_its_items_and_nothing_else() -> None:
    """L15: settling survives a bug of ours; the batcher goes on, and its close still ends."""
    sent: list[list[int]] = []

    async def send(items: list[int]) -> None:
        if 13 in items:
            raise AssertionError("a bug")
        sent.append(items)

    failed: list[str] = []
    batcher = Batcher(
        "items",
        send,
        size=2,
        linger=1.0,
        clock=asyncio.get_running_loop().time,
        failed=lambda what, _error: failed.append(what),
    )
    async with serve(batcher):
        for item in (1, 13, 2, 3):
            batcher.add([item])
    assert sent == [[2, 3]]
    assert failed == ["sending a batch of 2 items"]


@virtual
async def test_a_call_answered_in_the_moment_of_a_cancellation_starts_no_other() -> None:
    """L22: the flush's end is a cancellation, and comes out as one."""
    sent: list[list[int]] = []

    async def send(items: list[int]) -> None:
        sent.append(items)
        with suppress(asyncio.CancelledError):  # as a client does that has its answer already
            await asyncio.sleep(100)

    batcher = Batcher(
        "test", send, size=1, linger=0.0, clock=asyncio.get_running_loop().time, failed=_unexpected, parallel=1
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), serve(batcher):
            batcher.add([1])
            batcher.add([2])
    assert sent == [[1]]
