"""A dead-letter queue: which one is meant, which queues it serves, and where a message of it goes.

Used by `redrive` and by the desk of a surface. It promises that a message's own words choose only among the queues
that SQS lists for the dead-letter queue: anyone who may send to it can write them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leasekeeper.cli.connection import OpenQueue, near_name, unusable, with_advice
from leasekeeper.cli.redrive.copying import Destination
from leasekeeper.cli.redrive_policy import RedrivePolicy, account_in, name_in
from leasekeeper.errors import ConfigurationError, QueueUnusable, SqsError, Verdict
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from leasekeeper.cli.causes import DeadLetter
    from leasekeeper.sqs.client import SqsClient


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueue:
    """A dead-letter queue.

    Attributes:
        queue: the queue.
        arn: its ARN.
        sources: the URLs of the queues that have it as their dead-letter queue, by name; empty when there is none, or
            when this may not be read.
    """

    queue: OpenQueue
    arn: str
    sources: dict[str, str]

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.queue.name

    @property
    def only_source(self) -> Destination | None:
        """The one queue that it serves; None when it serves several, or it is not known."""
        return Destination(*next(iter(self.sources.items()))) if len(self.sources) == 1 else None

    def arn_of(self, name: str) -> str:
        """The ARN of a queue that it serves: SQS wants both in the same account and region."""
        return f"{self.arn.rpartition(':')[0]}:{name}"


async def sources_of(queue: OpenQueue) -> dict[str, str] | None:
    """The URLs of the queues that have it as their dead-letter queue, by name; None when this may not be read."""
    try:
        return {name_in(url): url for url in await queue.client.list_dead_letter_sources(queue.url)}
    except SqsError as error:
        if error.verdict in {Verdict.DENIED, Verdict.REFUSED}:  # some servers do not know this call
            return None
        raise


async def dead_letter_queue_of(given: OpenQueue, *, any_queue: bool = False) -> DeadLetterQueue:
    """The dead-letter queue that is meant: the given queue, or the one in its redrive policy.

    Args:
        given: the queue on the command line.
        any_queue: whether a queue that neither is nor has a dead-letter queue is taken as it is.

    Raises:
        ConfigurationError: the queue is no dead-letter queue and has none.
    """
    attributes = await given.client.queue_attributes(given.url, ["QueueArn", "RedrivePolicy"])
    sources = await sources_of(given)
    policy = RedrivePolicy.read(attributes)
    if sources or sources is None or (policy is None and any_queue):
        return DeadLetterQueue(queue=given, arn=attributes["QueueArn"], sources=sources or {})
    if policy is None:
        raise ConfigurationError(
            f"queue {given.name} is not a dead-letter queue and has none. SQS moves messages only out of dead-letter "
            "queues: give one, or set a redrive policy (leasekeeper doctor shows how). To send its messages to another "
            "queue one by one, give --copy --to QUEUE"
        )
    try:
        url = await given.client.queue_url(policy.name, account=account_in(policy.target))
    except SqsError as error:
        raise unusable(policy.name, error) from error
    queue = OpenQueue(client=given.client, address=QueueAddress(name=policy.name), url=url)
    return DeadLetterQueue(queue=queue, arn=policy.target, sources=await sources_of(queue) or {})


async def target_at(dead: DeadLetterQueue, reference: str) -> Destination:
    """The queue that `--to` names.

    Raises:
        ConfigurationError: it is the dead-letter queue itself, or of the other kind.
        QueueUnusable: there is no such queue, or it may not be looked up.
    """
    client, address = dead.queue.client, QueueAddress.parse(reference)
    if address.fifo != dead.queue.address.fifo:
        kind = "a FIFO" if dead.queue.address.fifo else "a standard"
        raise ConfigurationError(f"--to={reference!r}: {dead.name} is {kind} queue, so the other must be one too")
    try:
        url = address.url or await client.queue_url(address.name, account=address.account)
    except SqsError as error:
        near = await near_name(client, address.name, error)
        raise QueueUnusable(f"--to={reference!r}: {with_advice(error)}{near}") from error
    if _place(url) == _place(dead.queue.url):
        raise ConfigurationError(f"--to={reference!r}: this is the dead-letter queue itself")
    return Destination(address.name, url)


async def arn_of(client: SqsClient, target: Destination) -> str:
    """The ARN of the queue to move to; raises `QueueUnusable` where SQS does not tell it."""
    try:
        return (await client.queue_attributes(target.url, ["QueueArn"]))["QueueArn"]
    except SqsError as error:
        raise unusable(target.name, error) from error


def _place(url: str) -> list[str]:
    """Account and name: hosts of one queue differ."""
    return url.rstrip("/").split("/")[-2:]


class OneTarget:
    """All dead letters go to one queue."""

    def __init__(self, target: Destination) -> None:
        self._target = target

    async def target_of(self, letter: DeadLetter) -> Destination | None:  # noqa: ARG002 - as in Routes
        """The one queue."""
        return self._target


class ToSources:
    """Each dead letter goes to the queue that it came from."""

    def __init__(self, dead: DeadLetterQueue) -> None:
        self._dead = dead
        self._sources = {name: Destination(name, url) for name, url in dead.sources.items()}
        self._named_by_sqs: dict[str, Destination | None] = {}

    async def target_of(self, letter: DeadLetter) -> Destination | None:
        """The queue it came from; if it does not say it, the one queue that the dead-letter queue serves."""
        if not letter.queue:
            return self._dead.only_source
        if letter.queue in self._sources or not letter.moved:
            return self._sources.get(letter.queue)
        # SQS itself names the source of what it moved, also after the redrive policy was changed.
        if letter.queue not in self._named_by_sqs:
            self._named_by_sqs[letter.queue] = await self._find(letter.queue)
        return self._named_by_sqs[letter.queue]

    async def _find(self, name: str) -> Destination | None:
        try:
            return Destination(name, await self._dead.queue.client.queue_url(name, account=account_in(self._dead.arn)))
        except SqsError as error:
            if error.verdict is Verdict.MISSING:
                return None
            raise
