"""A trial: an app in virtual time, with queues for its consumers, and a record of what its handlers send.

Owned by a test, as `async with Trial(app) as trial` inside `leasekeeper.testing.world.virtual`. SQS in it is the model
of the local server: visibility, order, delays and dead letters are real, and hours take no time.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from leasekeeper.api import SqsApi
from leasekeeper.app import Leasekeeper
from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.parameters import NO_LIFESPAN
from leasekeeper.local import LocalClient
from leasekeeper.testing.handling import body_text
from leasekeeper.testing.world import GROUP, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from leasekeeper.consumer import Consumer
    from leasekeeper.lanes.parameters import Resources
    from leasekeeper.lifespan import Lifespan
    from leasekeeper.local import Broker, Faults
    from leasekeeper.local.broker import Answer
    from leasekeeper.observe.statistics import ConsumerStatistics
    from leasekeeper.testing.world import Running

T = TypeVar("T")

MAX_RECEIVES = 5
"""After how many receives a message goes to the dead-letter queue, unless the trial is told otherwise."""


class Trial:
    """An app, or a consumer, at work in virtual time.

    Each of its consumers gets a queue of its name, and a dead-letter queue: `orders-dead`, or `orders-dead.fifo`. The
    options are those of the code. A parameter of the type `leasekeeper.api.SqsApi` gets `client`.

    Args:
        app: the app or the consumer.
        max_receives: the `maxReceiveCount` of its queues; None: they have no dead-letter queue.
        seed: of message ids, faults and jitter.

    Attributes:
        client: a client of this SQS; what is sent with it is in `sent`. A queue that it asks for is made.
    """

    def __init__(self, app: Leasekeeper | Consumer, *, max_receives: int | None = MAX_RECEIVES, seed: int = 0) -> None:
        self._app = app
        self._consumers = app.consumers if isinstance(app, Leasekeeper) else (app,)
        self._max_receives = max_receives
        self._world = World(seed)
        self._recorder = _Recorder(self._world.broker)
        self.client = LocalClient(self._recorder)
        self._stack = ExitStack()
        self._running: dict[str, Running] = {}
        self._lifespan: Lifespan | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        await self._world.__aenter__()
        for consumer in self._consumers:
            await self._create(consumer.address.name)
        self._stack.enter_context(self._app.override(SqsApi, self.client))
        self._world.resources = await self._resources()
        for consumer in self._consumers:
            self._running[consumer.address.name] = await self._world.start(consumer)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for running in self._running.values():
                await running.close()
            if self._lifespan is not None:
                await self._lifespan.leave(self._consumers[0].options.lifespan_timeout)
            await self._world.__aexit__()
        finally:
            self._stack.close()

    async def _resources(self) -> Resources:
        self._lifespan = self._consumers[0].lifespan
        return NO_LIFESPAN if self._lifespan is None else await self._lifespan.enter(asyncio.get_running_loop())

    async def _create(self, name: str) -> None:
        call, attributes = self._world.broker.call, {}
        kind = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        if self._max_receives is not None:
            dead = dead_letters_of(name)
            await call("CreateQueue", {"QueueName": dead, "Attributes": kind})
            target = self._world.broker.account.arn(dead)
            policy = {"deadLetterTargetArn": target, "maxReceiveCount": self._max_receives}
            attributes = {"RedrivePolicy": json.dumps(policy)}
        await call("CreateQueue", {"QueueName": name, "Attributes": {**kind, **attributes}})

    # What a test does

    async def send(
        self,
        queue: str,
        *bodies: object,
        group: str = GROUP,
        attributes: Mapping[str, str | bytes] | None = None,
        delay: int = 0,
    ) -> list[str]:
        """Send messages to a queue of the app; their ids.

        Args:
            queue: its name.
            bodies: text, or what is written as JSON; one for each message.
            group: on a FIFO queue, their message group.
            attributes: message attributes of each.
            delay: seconds until they are visible, 0 to 900; not on a FIFO queue.
        """
        ids = []
        for body in bodies:
            request: dict[str, Any] = {"QueueUrl": self._url(queue), "MessageBody": body_text(body)}
            if delay:
                request["DelaySeconds"] = delay
            if queue.endswith(".fifo"):
                self._number += 1
                request |= {"MessageGroupId": group, "MessageDeduplicationId": str(self._number)}
            if attributes:
                request["MessageAttributes"] = {name: _attribute(value) for name, value in attributes.items()}
            ids.append((await self._world.broker.call("SendMessage", request))["MessageId"])
        return ids

    def _url(self, queue: str) -> str:
        account = self._world.broker.account
        if queue not in account.queues:
            raise ConfigurationError(f"there is no queue {queue!r} here: there are {', '.join(sorted(account.queues))}")
        return account.url(account.queues[queue])

    async def advance(self, *, hours: float = 0.0, minutes: float = 0.0, seconds: float = 0.0) -> None:
        """Let so much time pass, with everything that happens in it."""
        await asyncio.sleep(hours * 3600 + minutes * 60 + seconds)

    async def settled(self, *, within: float = 43_200.0) -> None:
        """Wait until no message is left in the queues of the app: each is deleted, or a dead letter.

        Raises:
            AssertionError: some are left after that many virtual seconds.
        """
        await self._world.until(lambda: not any(map(self._world.bodies, self._running)), within=within)

    @overload
    def sent(self, queue: str) -> list[str]: ...
    @overload
    def sent(self, queue: str, kind: type[T]) -> list[T]: ...
    def sent(self, queue: str, kind: type[Any] | None = None) -> list[Any]:
        """What handlers have sent to a queue with `client`, in order.

        Args:
            queue: its name.
            kind: what each body is decoded to, e.g. `dict`; unset: the texts.
        """
        bodies = self._recorder.sent.get(queue, [])
        return list(bodies) if kind is None else [msgspec.json.decode(body, type=kind) for body in bodies]

    def bodies(self, queue: str) -> list[str]:
        """The bodies of all messages in a queue, visible or not."""
        return self._world.bodies(queue)

    def dead_letters(self, queue: str) -> list[str]:
        """The bodies of the dead letters of a queue."""
        return self._world.bodies(dead_letters_of(queue))

    def statistics(self, queue: str) -> ConsumerStatistics:
        """A snapshot of the consumer of a queue."""
        return self._running[queue].statistics()

    @property
    def faults(self) -> Faults:
        """What goes wrong, as `World.faults`."""
        return self._world.faults

    @property
    def now(self) -> float:
        """Virtual seconds since the trial began."""
        return self._world.now

    def __repr__(self) -> str:
        return f"<Trial of {self._app!r}>"


def dead_letters_of(queue: str) -> str:
    """The name of the dead-letter queue that a trial makes."""
    return f"{queue.removesuffix('.fifo')}-dead{'.fifo' if queue.endswith('.fifo') else ''}"


class _Recorder:
    """Stands before the broker for the client of handlers: makes queues that they ask for, notes what they send."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.sent: dict[str, list[str]] = {}

    async def start(self, operation: str, request: dict[str, Any]) -> Answer:
        if operation == "GetQueueUrl":
            kind = {"FifoQueue": "true"} if request["QueueName"].endswith(".fifo") else {}
            name = {"QueueName": request["QueueName"]}
            if request["QueueName"] not in self._broker.account.queues:
                return await self._broker.call("CreateQueue", {**name, "Attributes": kind})
        answer = await self._broker.call(operation, request)
        if operation in ("SendMessage", "SendMessageBatch"):
            note = self.sent.setdefault(request["QueueUrl"].rpartition("/")[2], [])
            entries = {entry["Id"]: entry for entry in request.get("Entries", ())}
            sent = [entries[each["Id"]] for each in answer.get("Successful", ())] if entries else [request]
            note += [each["MessageBody"] for each in sent]
        return answer

    if TYPE_CHECKING:

        def _is_a_server(self, *_: Any) -> Awaitable[Answer]: ...


def _attribute(value: str | bytes) -> dict[str, str]:
    if isinstance(value, bytes):
        import base64

        return {"DataType": "Binary", "BinaryValue": base64.b64encode(value).decode()}
    return {"DataType": "String", "StringValue": value}
