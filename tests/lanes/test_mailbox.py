"""The mailbox: order, one wake-up for many items, and nothing lost while the loop is open."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.testing.clock import VirtualLoop, run_virtual


def test_items_come_in_the_order_they_were_posted_in() -> None:
    got: list[int] = []

    async def main() -> None:
        box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), got.extend)
        assert box.post([1])
        assert box.post([2, 3])
        assert box.post([4])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_virtual(main())
    assert got == [1, 2, 3, 4]


def test_many_items_are_one_wake_up_and_one_list() -> None:
    loop = VirtualLoop()
    lists: list[list[int]] = []
    box: Mailbox[int] = Mailbox(loop, lists.append)
    for item in range(100):
        box.post([item])
    assert len(loop._ready) == 1  # type: ignore[attr-defined]  # asyncio's own: what is to be called in the next turn
    loop.run_until_complete(asyncio.sleep(0))
    assert lists == [list(range(100))]
    box.post(range(5))
    box.post(())
    loop.run_until_complete(asyncio.sleep(0))
    assert lists[1:] == [list(range(5))]
    loop.close()


def test_what_is_posted_while_items_are_received_comes_next() -> None:
    lists: list[list[int]] = []

    async def main() -> None:
        def receive(items: list[int]) -> None:
            lists.append(items)
            if items[0] < 3:
                box.post([items[0] + 1])

        box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), receive)
        box.post([1])
        await asyncio.sleep(1)

    run_virtual(main())
    assert lists == [[1], [2], [3]]


def test_posting_nothing_receives_nothing() -> None:
    lists: list[list[int]] = []

    async def main() -> None:
        box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), lists.append)
        assert box.post([])
        await asyncio.sleep(1)

    run_virtual(main())
    assert lists == []


@pytest.mark.parametrize("posted_before", [True, False])
def test_posting_to_a_closed_loop_says_so_every_time(*, posted_before: bool) -> None:
    """L14: also when the loop was closed with items still on their way, which it will never receive."""
    loop = VirtualLoop()
    box: Mailbox[int] = Mailbox(loop, lambda _items: None)
    if posted_before:
        assert box.post([0])
    loop.close()
    assert not box.post([1])
    assert not box.post([2])
    assert not box.post([3, 4])
    assert box.take_back() == [0, 1, 2, 3, 4][not posted_before :]
    assert box.take_back() == []


@pytest.mark.slow
def test_many_threads_lose_nothing_and_keep_their_order() -> None:
    """Eight senders, a switch of threads at nearly every instruction, and a loop that receives all the time."""
    senders, each = 8, 2000
    got: list[tuple[int, int]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        everything = asyncio.Event()

        def receive(items: list[tuple[int, int]]) -> None:
            got.extend(items)
            if len(got) == senders * each:
                everything.set()

        box: Mailbox[tuple[int, int]] = Mailbox(loop, receive)

        def send(sender: int) -> None:
            for item in range(0, each, 2):
                assert box.post([(sender, item)])
                assert box.post([(sender, item + 1)])

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(30):
            await everything.wait()
        for thread in threads:
            thread.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asyncio.run(main())
    finally:
        sys.setswitchinterval(interval)
    for sender in range(senders):
        assert [item for whose, item in got if whose == sender] == list(range(each))


def test_a_closed_mailbox_accepts_nothing_and_delivers_what_it_had_accepted() -> None:
    """L14: a settlement after the end is refused; one that was accepted before it is seen to."""
    got: list[int] = []

    async def main() -> None:
        box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), got.extend)
        assert box.post([1])
        assert box.post_one(2)
        box.close()
        assert not box.post([3])
        assert not box.post_one(4)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_virtual(main())
    assert got == [1, 2]
