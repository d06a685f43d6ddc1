"""The watch of the handlers' loop: in virtual time with a loop that stands still, and once with a real one."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from leasekeeper import Consumer, Leasekeeper
from leasekeeper.admin.process import state_of
from leasekeeper.engine import loop_watch
from leasekeeper.engine.loop_watch import INTERVAL, PATIENCE, LoopWatch, codes_of
from leasekeeper.events import Event, LoopBlocked, LoopUnblocked
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.local import Broker, LocalClient
from leasekeeper.options import Options
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import pytest

LONG = 60.0


class Loop:
    """A loop that turns, or stands still and keeps what it is to call."""

    def __init__(self) -> None:
        self.asked = 0
        self._kept: list[Callable[[], object]] | None = None

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        self.asked += 1
        if self._kept is None:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._kept.append(callback)

    def block(self) -> None:
        self._kept = []

    def turn(self) -> None:
        kept, self._kept = self._kept or [], None
        for callback in kept:
            callback()


class Member:
    """A consumer to the watch."""

    def __init__(self, queue: str = "orders") -> None:
        self.queue = queue
        self.codes: dict[Any, str] = {}
        self.busy = True
        self.rests = 0
        self.told: list[Event] = []
        self.tell = self.told.append

    def rest(self) -> None:
        self.rests += 1


def scene(test: Callable[[Any, Any], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Call the test with a loop and its watch, in virtual time."""

    @functools.wraps(test)
    def run() -> None:
        async def main() -> None:
            loop: Any = Loop()
            await test(loop, LoopWatch(loop, asyncio.get_running_loop().time))

        run_virtual(main(), start=1_000.0)

    del run.__wrapped__  # else pytest asks for fixtures
    return run


@scene
async def test_a_blocked_loop_is_told_of_once_and_its_end_too(loop: Any, watch: Any) -> None:
    member = Member()
    watch.add(member)
    await asyncio.sleep(3.5)
    loop.block()
    await asyncio.sleep((PATIENCE + 0.3) * INTERVAL)
    assert member.told == []
    await asyncio.sleep(INTERVAL)
    [blocked] = member.told
    assert isinstance(blocked, LoopBlocked)
    assert (blocked.queue, blocked.handler, blocked.seconds) == ("orders", "", PATIENCE * INTERVAL)
    assert watch.blocked.since == 1_004.0
    await asyncio.sleep(60)
    assert len(member.told) == 1
    loop.turn()
    await asyncio.sleep(1.5 * INTERVAL)
    assert watch.blocked is None
    _, unblocked = member.told
    assert isinstance(unblocked, LoopUnblocked)
    assert round(unblocked.seconds, 1) == 65.8

    loop.block()  # another episode
    await asyncio.sleep(2 * PATIENCE)
    assert len(member.told) == 3


@scene
async def test_pauses_below_the_limit_are_not_told_of(loop: Any, watch: Any) -> None:
    member = Member()
    watch.add(member)
    for _ in range(10):
        await asyncio.sleep(1.5)
        loop.block()
        await asyncio.sleep(PATIENCE * INTERVAL - 0.6)
        loop.turn()
    await asyncio.sleep(5)
    assert member.told == []


@scene
async def test_nothing_is_asked_while_no_message_is_held(loop: Any, watch: Any) -> None:
    """Consumers that are idle cost nothing, and those of one app are watched together."""
    members = [Member(name) for name in "abc"]
    for member in members:
        watch.add(member)
    await asyncio.sleep(60.5)
    assert loop.asked == 61  # once a second, for all three
    members[0].busy = False
    await asyncio.sleep(2)
    assert [member.rests for member in members] == [1, 0, 0]
    for member in members:
        member.busy = False
    await asyncio.sleep(2)
    asked = loop.asked
    await asyncio.sleep(3600)
    assert loop.asked == asked
    assert [member.rests for member in members] == [1, 1, 1]
    watch.add(members[2])
    assert loop.asked == asked + 1


@scene
async def test_one_consumer_of_several_is_told_and_the_others_can_see_it(loop: Any, watch: Any) -> None:
    members = [Member(name) for name in "abc"]
    for member in members:
        watch.add(member)
    members[0].busy = False
    loop.block()
    await asyncio.sleep(30)
    assert [len(member.told) for member in members] == [0, 1, 0]
    assert watch.blocked is not None
    watch.discard(members[1])
    loop.turn()
    await asyncio.sleep(2)
    assert sum(len(member.told) for member in members) == 1
    for member in members:
        watch.discard(member)
    assert watch.blocked is None


@scene
async def test_an_engine_that_was_held_up_itself_blames_no_loop(loop: Any, watch: Any) -> None:
    """As when the process was suspended: its own timers are late then, and the loop has had no turn either."""
    now = asyncio.get_running_loop().time
    late = 0.0
    watch = LoopWatch(loop, lambda: now() + late)
    member: Any = Member()
    watch.add(member)
    await asyncio.sleep(0.5)
    loop.block()
    for _ in range(2 * PATIENCE):  # each of its timers
        late += 600.0
        await asyncio.sleep(INTERVAL)
    loop.turn()
    await asyncio.sleep(2)
    assert member.told == []


@scene
async def test_a_closed_loop_is_not_asked(loop: Any, watch: Any) -> None:
    def refuse(_callback: object) -> None:
        raise RuntimeError("Event loop is closed")

    loop.call_soon_threadsafe = refuse
    watch.add(Member())
    await asyncio.sleep(3600)
    assert watch.blocked is None


async def plain(body: str) -> None: ...
async def second(body: str) -> None: ...
async def bodies(batch: list[str]) -> None: ...


class Callable_:  # noqa: N801
    async def method(self, body: str) -> None: ...


def test_handlers_are_known_by_their_code() -> None:
    """However they are given: partial, bound, decorated, with lists of bodies, or several of a queue."""

    @functools.wraps(plain)
    async def decorated(body: str) -> None:
        await plain(body)

    async def two(prefix: str, body: str) -> None: ...

    def codes(function: Any, **options: Any) -> set[object]:
        return set(codes_of(make_handler(function, Options(**options), queue="q")))

    assert codes(plain) == {plain.__code__}
    assert codes(decorated) == {plain.__code__}
    assert codes(Callable_().method) == {Callable_.method.__code__}
    assert two.__code__ in codes(functools.partial(two, "a"))
    assert bodies.__code__ in codes(bodies, batch=10)
    app = Leasekeeper()
    app.consumer("orders", when=lambda message: True)(plain)
    app.consumer("orders")(second)
    assert codes_of(app.consumers[0].handler) == {plain.__code__: "plain", second.__code__: "second"}


def test_a_handler_that_blocks_its_loop_is_named_while_it_does(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its line, in the log and in the statistics; its loop is free again afterwards."""
    monkeypatch.setattr(loop_watch, "INTERVAL", 0.1)
    broker = Broker()
    url = broker.account.call("CreateQueue", {"QueueName": "orders"}, 0.0)["QueueUrl"]
    broker.account.call("SendMessage", {"QueueUrl": url, "MessageBody": "a"}, 0.0)
    release, blocked, unblocked = threading.Event(), threading.Event(), threading.Event()
    told: list[LoopBlocked] = []

    def helper() -> None:
        assert release.wait(LONG)

    async def ship(body: str) -> None:
        helper()
        await asyncio.to_thread(unblocked.wait, LONG)

    def note(event: Event) -> None:
        if isinstance(event, LoopBlocked):
            told.append(event)
            blocked.set()
        else:
            unblocked.set()

    consumer = Consumer("orders", ship, client=LocalClient(broker), poll_grace=0, wait_time=0)
    consumer.subscribe(note, LoopBlocked, LoopUnblocked)
    with caplog.at_level(logging.INFO):
        consumer.start()
        assert blocked.wait(LONG)
        now = consumer.statistics()
        assert now is not None
        assert now.loop_blocked > 0.0
        assert now.loop_blocked_by == f"handler {told[0].handler} in {told[0].place}"
        assert state_of(consumer)[0] == "RUNNING"
        assert re.fullmatch(
            r"the event loop of its handlers has been blocked for \d+ s: " + re.escape(now.loop_blocked_by),
            state_of(consumer)[1],
        )
        assert consumer.healthy
        release.set()
        assert unblocked.wait(LONG)
        assert state_of(consumer) == ("RUNNING", "")
        report = consumer.stop().result(LONG)
    assert (report.acked, report.unsettled) == (1, 0)
    assert told[0].handler == ship.__qualname__
    assert told[0].place.startswith(f"{helper.__qualname__} (test_loop_watch.py, line ")
    lines = [record.getMessage() for record in caplog.records if "event loop" in record.getMessage()]
    assert lines[0].startswith(
        f"queue orders: handler {ship.__qualname__} has blocked the event loop of its handlers for"
    )
    assert lines[1].startswith("queue orders: the event loop of its handlers is free again, after ")
