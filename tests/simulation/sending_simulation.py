"""Handlers that send, in worlds: consumers and their senders are processes that are killed, and the server has faults.

`violations(seed)` runs one world in virtual time and says in words what broke: what a handler sends is confirmed before
its message is deleted, so of a message that is gone everything it sent is there.
"""

from __future__ import annotations

import asyncio
import inspect
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any
from unittest import mock

from leasekeeper.futures import done_future
from leasekeeper.local import LocalClient
from leasekeeper.message import Message  # noqa: TC001 - a handler's annotation is read at run time
from leasekeeper.sending import Sender, send_loop
from leasekeeper.sending.senders import Senders
from leasekeeper.testing.world import World, virtual_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from leasekeeper.testing.world import Running

SHIPPED = "shipped"
PARAMETER = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Sender, SHIPPED])
MESSAGES = 40


class Here:
    """The thread of a sender: none, but the loop of the world."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def enter(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def leave(self) -> Future[None]:
        return done_future(None)

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def begin(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work(), self._loop)


class Shipping:
    """One process: a consumer whose handlers send."""

    def __init__(self, chance: Random, *, faulty: bool) -> None:
        self._chance = chance
        self._faulty = faulty
        self._process: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._opening: asyncio.Task[Senders] | None = None
        self._sender: Any = None

    async def start(self, world: World, **options: Any) -> Running:
        running = await world.start(self._handle, **options)
        self._process.set_result(running.process)
        return running

    async def _handle(self, message: Message[str]) -> None:
        """Send two messages, in one of three ways; sometimes fail afterwards."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())  # in the context of the process, and so of its life
        senders = await asyncio.shield(self._opening)
        async with senders.scope_async(message) as get:
            out: Any = await get(PARAMETER)
            way = self._chance.randrange(3)
            for part in "ab":
                if way == 0 or (way == 1 and part == "a"):
                    await out.send(f"{message.body}-{part}")
                else:
                    out.post(f"{message.body}-{part}")
            if self._faulty and self._chance.random() < 0.1:
                raise RuntimeError("after it has sent")

    async def _open(self) -> Senders:
        process = await self._process
        sender: Any = Sender(SHIPPED, client=LocalClient(process.connection, timeout=1.0), timeout=4.0)
        sender._thread = sender._loop._thread = Here()
        await sender.start()
        self._sender = sender
        senders = Senders()
        assert senders.gives(PARAMETER)
        senders._open[SHIPPED] = sender
        return senders

    async def close(self) -> None:
        if self._sender is not None:
            await asyncio.wait([asyncio.wrap_future(self._sender.finish())])


def violations(seed: int) -> list[str]:
    """Run the world of a seed."""
    found: list[str] = virtual_processes(_run)(seed)
    return found


async def _run(seed: int) -> list[str]:
    chance = Random(seed)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # handlers of a process that was killed end with errors nothing reads
    clock, draws = SimpleNamespace(monotonic=loop.time), SimpleNamespace(random=Random(seed).random)
    with mock.patch.object(send_loop, "time", clock), mock.patch.object(send_loop, "random", draws):
        async with World(seed) as world:
            await world.add_queue(SHIPPED)
            await world.send(*(f"m{number}" for number in range(MESSAGES)))
            _set_faults(world, chance)
            broken = [*await _killed(world, chance), *await _stopped(world, chance)]
            world.faults.clear()
            last = Shipping(chance, faulty=False)
            running = await last.start(world, concurrency=5)
            await world.until(lambda: not world.bodies())
            await running.stop()
            await last.close()
            return [*broken, *_unsent(world, "the end")]


def _set_faults(world: World, chance: Random) -> None:
    rates = ("throttle", "unavailable", "reset", "lose", "hang", "fail_entries", "lose_entries")
    switches: dict[str, Any] = {rate: chance.choice([0.0, 0.05, 0.2]) for rate in rates}
    world.faults.set("SendMessageBatch", latency=(0.0, chance.choice([0.01, 0.3])), **switches)
    world.faults.set("DeleteMessageBatch", throttle=0.1, lose=0.1, latency=(0.0, 0.05))


async def _killed(world: World, chance: Random) -> list[str]:
    """A process that is killed at some moment."""
    running = await Shipping(chance, faulty=True).start(world, visibility_timeout=30, retry_base=1, concurrency=5)
    await asyncio.sleep(chance.uniform(0.01, 3.0))
    assert running.process is not None
    running.process.kill()
    await asyncio.sleep(1.0)  # calls that were on their way have reached the server
    return _unsent(world, "a kill")


async def _stopped(world: World, chance: Random) -> list[str]:
    """A process that is stopped at some moment."""
    shipping = Shipping(chance, faulty=True)
    running = await shipping.start(world, visibility_timeout=30, retry_base=1, concurrency=5)
    await asyncio.sleep(chance.uniform(1.0, 60.0))
    await running.stop()
    await shipping.close()
    return _unsent(world, "a stop")


def _unsent(world: World, when: str) -> list[str]:
    left, there = {*world.bodies()}, {*world.bodies(SHIPPED)}
    gone = [f"m{number}" for number in range(MESSAGES) if f"m{number}" not in left]
    return [
        f"at {when}, {body} is deleted, and {body}-{part} was not sent"
        for body in gone
        for part in "ab"
        if f"{body}-{part}" not in there
    ]
