"""A world: SQS, its faults and consumers of it on one virtual clock, all from one seed.

Owned by a test, as `async with World(seed) as world` inside `virtual`. It promises that the same seed and the same
calls are the same story, to the microsecond, and that nothing it started goes on after the block.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from leasekeeper.channel import Channel
from leasekeeper.consumer import Consumer
from leasekeeper.engine.opening import open_queue
from leasekeeper.engine.runner import Runner
from leasekeeper.errors import ConfigurationError
from leasekeeper.given_options import make_options
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.lanes.parameters import NO_LIFESPAN
from leasekeeper.local import Broker, LocalClient
from leasekeeper.observe.statistics import Observer
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.testing.clock import VirtualLoop, run_virtual
from leasekeeper.testing.handling import bound_with
from leasekeeper.testing.keepers import VirtualKeeper
from leasekeeper.testing.processes import Process, ProcessLoop
from leasekeeper.testing.running import Running as Running  # noqa: PLC0414 - tests take it from here
from leasekeeper.testing.sending import RecordedSenders
from leasekeeper.testing.suite_faults import SuiteFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from leasekeeper.lanes.handlers import Functions
    from leasekeeper.lanes.parameters import Resources
    from leasekeeper.local import Faults
    from leasekeeper.local.model.queue import Queue
    from leasekeeper.option_values import OptionValues

P = ParamSpec("P")
T = TypeVar("T")

QUEUE = "orders"
DEAD_LETTERS = "orders-dead"
FIFO_QUEUE = "orders.fifo"
FIFO_DEAD_LETTERS = "orders-dead.fifo"
GROUP = "g"
"""The message group of messages that are sent to a FIFO queue without one."""
MOST_STEPS = 100
"""For how many steps `World.until` looks away while nothing can happen."""
EPOCH = 1_700_000_000.0
"""What the wall clock shows when a world begins."""
START = 1_000.0
"""What the loop's clock shows when a world begins: not 0, as no machine's does."""


def virtual(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a coroutine function an ordinary one that runs to its end in virtual time: a decorator for tests."""
    return _in(VirtualLoop, test)


def virtual_processes(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Like `virtual`, for tests whose consumers are killed or suspended: each is a process (`testing.processes`)."""
    return _in(ProcessLoop, test)


def _in(loop: Callable[..., VirtualLoop], test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test(*args, **kwargs), start=START, loop=loop)

    return run


class World:
    """SQS with one queue and the consumers that are started on it.

    The queue is `orders`, or `orders.fifo` if it is a FIFO queue.

    Args:
        seed: of message ids, faults and jitter.
        fifo: whether the queue is a FIFO queue.
        max_receives: the queue's `maxReceiveCount`, and with it a dead-letter queue, `orders-dead` or
            `orders-dead.fifo`; None: neither.
        attributes: further attributes of the queue, by name.
        name: of the queue, instead.
        dead_letters: of the dead-letter queue, instead.

    Attributes:
        broker: SQS itself; `broker.calls` counts API calls by name.
        client: the client that its consumers use, unless each is a process.
        name: the name of the queue.
        dead_letters: the name of its dead-letter queue.
        resources: what a lifespan yields, for `Consumer`s that are started here.
        senders: give senders to the handlers of these.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        fifo: bool = False,
        max_receives: int | None = None,
        attributes: Mapping[str, str] | None = None,
        name: str = "",
        dead_letters: str = "",
    ) -> None:
        self.random = Random(seed)  # noqa: S311 - jitter that repeats from a seed is what is wanted
        self.broker = Broker(seed=seed, epoch=EPOCH)
        self.client = LocalClient(self.broker)
        self.name = name or (FIFO_QUEUE if fifo else QUEUE)
        self.dead_letters = dead_letters or (FIFO_DEAD_LETTERS if fifo else DEAD_LETTERS)
        self.queue_url = ""
        self.resources: Resources = NO_LIFESPAN
        self.senders = RecordedSenders()
        self._fifo = fifo
        self._time: Callable[[], float] = lambda: 0.0
        self._began = 0.0
        self._max_receives = max_receives
        self._attributes = {**({"FifoQueue": "true"} if fifo else {}), **(attributes or {})}
        self._sent = 0
        self._running: list[Running] = []

    async def __aenter__(self) -> Self:
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        SuiteFaults.apply(self.faults)
        attributes = dict(self._attributes)
        if self._max_receives is not None:
            kind = {"FifoQueue": "true"} if self._fifo else {}
            await self.broker.call("CreateQueue", {"QueueName": self.dead_letters, "Attributes": kind})
            policy = {
                "deadLetterTargetArn": self.broker.account.arn(self.dead_letters),
                "maxReceiveCount": self._max_receives,
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        answer = await self.broker.call("CreateQueue", {"QueueName": self.name, "Attributes": attributes})
        self.queue_url = answer["QueueUrl"]
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(each.close() for each in self._running), return_exceptions=True)
        await self.broker.close()

    @property
    def faults(self) -> Faults:
        """What goes wrong; nothing unless told. Sends made with `send` are spared unless `SendMessage` is named."""
        return self.broker.faults

    @property
    def now(self) -> float:
        """Virtual seconds since the world began; from any thread."""
        return self._time() - self._began

    # The queue

    async def add_queue(self, name: str) -> None:
        """Create another standard queue, which consumers are started on by its name."""
        await self.broker.call("CreateQueue", {"QueueName": name})

    async def send(self, *bodies: str, group: str | None = None, queue: str | None = None, **request: Any) -> list[str]:
        """Send messages; their ids.

        Args:
            bodies: one for each message.
            queue: the name of the queue; by default that of the world.
            group: the message group; on a FIFO queue, where each message needs one, `g` by default. Each of these
                messages gets a deduplication id that no other has.
            request: further members of SendMessage, e.g. `MessageAttributes`.
        """
        if group is None and self._fifo:
            group = GROUP
        sent = []
        for body in bodies:
            ids = {} if group is None else {"MessageGroupId": group}
            if self._fifo:
                self._sent += 1
                ids["MessageDeduplicationId"] = str(self._sent)
            url = self.queue_url if queue is None else self.queue_url.replace(self.name, queue)
            call = {"QueueUrl": url, "MessageBody": body, **ids, **request}
            sent.append(await self.broker.call("SendMessage", call))
        return [answer["MessageId"] for answer in sent]

    async def send_many(self, count: int, *, group: str | None = None, queue: str | None = None) -> list[str]:
        """Send `count` messages; their bodies are their numbers from 0."""
        return await self.send(*map(str, range(count)), group=group, queue=queue)

    def queue(self, name: str | None = None) -> Queue:
        """A queue as it is now (counts of what is visible, in flight and delayed, and its contents), by its name.

        By default it is the queue that the consumers receive from.
        """
        found = self.broker.account.queues[name or self.name]
        found.advance(asyncio.get_running_loop().time())
        return found

    def bodies(self, name: str | None = None) -> list[str]:
        """The bodies of all messages in a queue, visible or not, in the order they came."""
        return [each.content.body for each in self.queue(name).contents()]

    # Consumers

    async def start(
        self, handler: Functions | Consumer, *, queue: str | None = None, **values: Unpack[OptionValues]
    ) -> Running:
        """Start a consumer with those options; its handler, or handlers, run on this loop, in virtual time.

        It consumes the world's queue, or the one of that name. Given a `Consumer`, its handlers run with its options,
        on a queue of its name; `leasekeeper.testing.trial` does that for an app with a lifespan.

        On the loop of `virtual_processes` it is a process, which can be killed and suspended.
        """
        loop = asyncio.get_running_loop()
        process = Process(self.broker) if isinstance(loop, ProcessLoop) else None
        client = self.client if process is None else LocalClient(process.connection)
        named = handler.address.name if isinstance(handler, Consumer) else self.name
        made = self._make(handler, values, client, queue or named, process)
        context = copy_context() if process is None else process.context
        running = Running(*await loop.create_task(made, context=context), context=context, process=process)
        self._running.append(running)
        await running.ready()
        return running

    async def runner(self, handler: Callable[..., Any], **values: Unpack[OptionValues]) -> Runner:
        """Make a runner without starting it."""
        return (await self._make(handler, values, self.client, self.name, None))[0]

    async def _make(
        self,
        handler: Functions | Consumer,
        values: OptionValues,
        client: LocalClient,
        queue: str,
        process: Process | None,
    ) -> tuple[Runner, Channel, Observer, VirtualKeeper | None]:
        loop = asyncio.get_running_loop()
        events = Channel()
        if isinstance(handler, Consumer):
            if values:
                raise ConfigurationError(
                    f"start(consumer, {', '.join(values)}=...): use consumer.configure for options"
                )
            options, made = handler.options, bound_with(handler, self.resources, self.senders)
        else:
            options = make_options(values)
            made = make_handler(handler, options, queue=queue)
        observer = Observer(events, options, made.name)
        keeper = VirtualKeeper.of(process, self.broker, self.queue_url, options) if options.keeper else None
        runner = Runner(
            await open_queue(client, QueueAddress.parse(queue), options),
            client,
            made,
            options,
            application=loop,
            emit=events.emit,
            clock=loop.time,
            draw=self.random.random,
            wall=lambda: self.broker.account.epoch + loop.time(),
            keeper=keeper.link if keeper is not None else None,
        )
        observer.attach(runner)
        return runner, events, observer, keeper

    async def until(self, condition: Callable[[], object], *, within: float = 3_600.0, step: float = 0.01) -> float:
        """Let time pass until the condition holds; returns when that was.

        Args:
            condition: of what happens in the world. One that depends on the time alone may be seen up to 100 steps
            late.
            within: virtual seconds after which it is an error that the condition does not hold.
            step: how many virtual seconds after something happened the condition is tried.

        Raises:
            AssertionError: it did not within that many virtual seconds.
        """
        deadline = self.now + within
        while not condition():
            if self.now >= deadline:
                raise AssertionError(f"not so within {within:g} s: {_source(condition)}; {self!r}")
            await asyncio.sleep(step * self._idle_steps(step, deadline - self.now))
        return self.now

    def _idle_steps(self, step: float, most: float) -> int:
        """How many steps may pass before the condition is tried again: 1 unless nothing can happen in them."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            return 1
        shown = min((queue.next_due() for queue in self.broker.account.queues.values()), default=math.inf)
        idle = min(most, MOST_STEPS * step, min(loop.quiet_until(), shown) - loop.time())
        return max(math.ceil(idle / step), 1)

    def __repr__(self) -> str:
        return f"<World {self.broker!r}, {', '.join(repr(each.runner) for each in self._running) or 'no consumers'}>"


def _source(condition: Callable[[], object]) -> str:
    code = getattr(condition, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(condition)
