"""A world: SQS, its faults and consumers of it on one virtual clock, all from one seed.

Owned by a test, as `async with World(seed) as world` inside `virtual`. It promises that the same seed and the same
calls are the same story, to the microsecond, and that nothing it started goes on after the block.
"""

from __future__ import annotations

import asyncio
import functools
import json
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from leasekeeper.engine.opening import open_queue
from leasekeeper.engine.runner import Runner
from leasekeeper.events import Channel
from leasekeeper.lanes.handler import Handler
from leasekeeper.local import Broker, LocalClient
from leasekeeper.observe.statistics import Observer
from leasekeeper.options import make_options
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.local import Faults
    from leasekeeper.local.model.queue import Queue
    from leasekeeper.observe.statistics import ConsumerStatistics, Report
    from leasekeeper.option_values import OptionValues

P = ParamSpec("P")
T = TypeVar("T")

QUEUE = "orders"
DEAD_LETTERS = "orders-dead"
EPOCH = 1_700_000_000.0
"""What the wall clock shows when a world begins."""
START = 1_000.0
"""What the loop's clock shows when a world begins: not 0, as no machine's does."""


def virtual(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a coroutine function an ordinary one that runs to its end in virtual time: a decorator for tests."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test(*args, **kwargs), start=START)

    return run


class World:
    """SQS with one queue, `orders`, and consumers that are started on it.

    Args:
        seed: of message ids, faults and jitter.
        max_receives: the queue's `maxReceiveCount`, and with it a dead-letter queue, `orders-dead`; None: neither.

    Attributes:
        broker: SQS itself; `broker.calls` counts API calls by name.
        client: the client that its consumers use.
    """

    def __init__(self, seed: int = 0, *, max_receives: int | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - jitter that repeats from a seed is what is wanted
        self.broker = Broker(seed=seed, epoch=EPOCH)
        self.client = LocalClient(self.broker)
        self.queue_url = ""
        self._began = 0.0
        self._max_receives = max_receives
        self._running: list[Running] = []

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        attributes = {}
        if self._max_receives is not None:
            await self.broker.call("CreateQueue", {"QueueName": DEAD_LETTERS})
            policy = {
                "deadLetterTargetArn": self.broker.account.arn(DEAD_LETTERS),
                "maxReceiveCount": self._max_receives,
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        answer = await self.broker.call("CreateQueue", {"QueueName": QUEUE, "Attributes": attributes})
        self.queue_url = answer["QueueUrl"]
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._running:
            each.runner.stop(force=True)
        await asyncio.gather(*(each.task for each in self._running), return_exceptions=True)
        await self.broker.close()

    @property
    def faults(self) -> Faults:
        """What goes wrong; nothing unless told. Sends made with `send` are spared unless `SendMessage` is named."""
        return self.broker.faults

    @property
    def now(self) -> float:
        """Virtual seconds since the world began."""
        return asyncio.get_running_loop().time() - self._began

    # The queue

    async def send(self, *bodies: str, **request: Any) -> list[str]:
        """Send messages; their ids. `request` adds members of SendMessage, e.g. `MessageAttributes`."""
        sent = [
            await self.broker.call("SendMessage", {"QueueUrl": self.queue_url, "MessageBody": body, **request})
            for body in bodies
        ]
        return [answer["MessageId"] for answer in sent]

    async def send_many(self, count: int) -> list[str]:
        """Send `count` messages; their bodies are their numbers from 0."""
        return await self.send(*map(str, range(count)))

    def queue(self, name: str = QUEUE) -> Queue:
        """The queue of that name as it is now: counts of what is visible, in flight and delayed, and its contents."""
        found = self.broker.account.queues[name]
        found.advance(asyncio.get_running_loop().time())
        return found

    def bodies(self, name: str = QUEUE) -> list[str]:
        """The bodies of all messages in the queue of that name, visible or not, in the order they came."""
        return [each.content.body for each in self.queue(name).contents()]

    # Consumers

    async def start(self, handler: Callable[..., Any], **values: Unpack[OptionValues]) -> Running:
        """Start a consumer with those options; its handler runs on this loop, in virtual time."""
        running = Running(*await self._make(handler, values))
        self._running.append(running)
        await running.ready()
        return running

    async def runner(self, handler: Callable[..., Any], **values: Unpack[OptionValues]) -> Runner:
        """Make a runner without starting it."""
        return (await self._make(handler, values))[0]

    async def _make(self, handler: Callable[..., Any], values: OptionValues) -> tuple[Runner, Channel, Observer]:
        loop = asyncio.get_running_loop()
        options, events = make_options(values), Channel()
        observer = Observer(events, options.logger)
        runner = Runner(
            await open_queue(self.client, QueueAddress.parse(QUEUE), options),
            self.client,
            Handler(handler, queue=QUEUE, timeout=options.handler_timeout, middleware=options.middleware),
            options,
            application=loop,
            emit=events.emit,
            clock=loop.time,
            draw=self.random.random,
            wall=lambda: self.broker.account.epoch + loop.time(),
        )
        return runner, events, observer

    async def until(self, condition: Callable[[], object], *, within: float = 3_600.0, step: float = 0.01) -> float:
        """Let time pass until the condition holds; returns when that was.

        Raises:
            AssertionError: it did not within that many virtual seconds.
        """
        deadline = self.now + within
        while not condition():
            if self.now >= deadline:
                raise AssertionError(f"not so within {within:g} s: {_source(condition)}; {self!r}")
            await asyncio.sleep(step)
        return self.now

    def __repr__(self) -> str:
        return f"<World {self.broker!r}, {', '.join(repr(each.runner) for each in self._running) or 'no consumers'}>"


class Running:
    """A runner that works in a world.

    Attributes:
        runner: the runner.
        task: its `run()`.
        events: what its parts emit; `subscribe` to it.
    """

    def __init__(self, runner: Runner, events: Channel, observer: Observer) -> None:
        self.runner = runner
        self.events = events
        self._observer = observer
        self._ready = asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.create_task(runner.run(self._ready.set), name="runner")

    def statistics(self) -> ConsumerStatistics:
        """A snapshot."""
        return self._observer.statistics(self.runner)

    async def ready(self) -> None:
        """Wait until it polls, or has ended already."""
        started = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((started, self.task), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()

    async def stop(self, *, force: bool = False) -> Report:
        """Stop it, and wait for the report."""
        self.runner.stop(force=force)
        return await self.ended()

    async def ended(self) -> Report:
        """Wait until it has ended; its report."""
        await asyncio.shield(self.task)
        return self._observer.report(self.runner)


def _source(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(condition)
