"""A trial: an app in virtual time, with queues for its consumers, and a record of what its handlers send.

Owned by a test, as `async with Trial(app) as trial` inside `leasekeeper.testing.world.virtual`. SQS in it is the model
of the local server: visibility, order, delays and dead letters are real, and hours take no time.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import msgspec

from leasekeeper.api import EntryFailure
from leasekeeper.app import Leasekeeper
from leasekeeper.errors import ConfigurationError, SqsError
from leasekeeper.events import HandlersEnded
from leasekeeper.lanes.parameters import NO_LIFESPAN
from leasekeeper.testing.handling import body_text
from leasekeeper.testing.sending import RecordedSenders
from leasekeeper.testing.unsettled import LastEnds
from leasekeeper.testing.world import GROUP, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leasekeeper.api import Outgoing, Sent
    from leasekeeper.consumer import Consumer
    from leasekeeper.lanes.parameters import Resources
    from leasekeeper.lifespan import Lifespan
    from leasekeeper.local import Faults
    from leasekeeper.local.model.stored import Stored
    from leasekeeper.observe.statistics import ConsumerStatistics
    from leasekeeper.testing.running import Running

MAX_RECEIVES = 5
"""After how many receives a message goes to the dead-letter queue, unless the trial is told otherwise."""


class Trial:
    """An app, or a consumer, at work in virtual time.

    Each of its consumers gets a queue of its name, and a dead-letter queue: `orders-dead`, or `orders-dead.fifo`. The
    options are those of the code, and so is the lifespan. A queue that a handler sends to is made.

    Args:
        app: the app or the consumer.
        max_receives: the `maxReceiveCount` of its queues; None: they have no dead-letter queue.
        seed: of message ids, faults and jitter.
    """

    def __init__(self, app: Leasekeeper | Consumer, *, max_receives: int | None = MAX_RECEIVES, seed: int = 0) -> None:
        self._app = app
        self._consumers = app.consumers if isinstance(app, Leasekeeper) else (app,)
        self._max_receives = max_receives
        first = self._consumers[0].address.name
        self._world = World(
            seed,
            fifo=first.endswith(".fifo"),
            max_receives=max_receives,
            name=first,
            dead_letters=dead_letters_of(first),
        )
        self._running: dict[str, Running] = {}
        self._ends = LastEnds()
        self._lifespan: Lifespan | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        await self._world.__aenter__()
        for consumer in self._consumers[1:]:
            await self._create(consumer.address.name)
        self._world.senders = RecordedSenders(self._deliver)
        self._world.resources = await self._resources()
        for consumer in self._consumers:
            running = self._running[consumer.address.name] = await self._world.start(consumer)
            running.events.subscribe(self._ends.note, HandlersEnded)
        return self

    async def __aexit__(self, *_: object) -> None:
        for running in self._running.values():
            await running.close()
        if self._lifespan is not None:
            await self._lifespan.leave(self._consumers[0].options.lifespan_timeout)
        await self._world.__aexit__()

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

    async def _deliver(self, queue: str, outgoing: Outgoing) -> Sent:
        """Send what a handler sends; its queue is made if there is none."""
        if queue not in self._world.broker.account.queues:
            kind = {"FifoQueue": "true"} if queue.endswith(".fifo") else {}
            await self._world.broker.call("CreateQueue", {"QueueName": queue, "Attributes": kind})
        [sent] = await self._world.client.send_batch(self._url(queue), [outgoing])
        if isinstance(sent, EntryFailure):
            raise SqsError(sent.verdict, sent.code, sent.message, operation="SendMessageBatch")
        return sent

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
            AssertionError: some are left after that many virtual seconds. It says which, when they are visible again,
                and why they failed last.
        """
        with suppress(AssertionError):  # of `until`, which knows nothing of messages
            await self._world.until(lambda: not self._left(), within=within)
        now = asyncio.get_running_loop().time()
        sentences = [self._ends.describe(*each, within=within, now=now) for each in self._left().items()]
        if sentences:
            raise AssertionError("; ".join(sentences))

    def _left(self) -> dict[str, list[Stored]]:
        """The messages that are left, by the names of their queues."""
        found = {name: self._world.queue(name).contents() for name in self._running}
        return {name: messages for name, messages in found.items() if messages}

    def sent(self, queue: str, kind: Any = None) -> list[Any]:
        """What handlers have sent to a queue with a `Sender`, in order.

        Args:
            queue: its name.
            kind: what each body is decoded to, e.g. `dict`; unset: the texts.
        """
        bodies = self._world.senders.sent.get(queue, [])
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
        """Virtual seconds since the trial began; from any thread."""
        return self._world.now

    def __repr__(self) -> str:
        return f"<Trial of {self._app!r}>"


def dead_letters_of(queue: str) -> str:
    """The name of the dead-letter queue that a trial makes."""
    return f"{queue.removesuffix('.fifo')}-dead{'.fifo' if queue.endswith('.fifo') else ''}"


def _attribute(value: str | bytes) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"DataType": "Binary", "BinaryValue": base64.b64encode(value).decode()}
    return {"DataType": "String", "StringValue": value}
