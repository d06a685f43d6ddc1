"""An AWS account in one region as far as SQS goes: its queues, and the one door through which it is asked.

Owned by the broker, or by a test. It promises to be a function of what it was asked, when, and of its random numbers:
no clock, no threads, no loop; and to answer or to raise `Refusal`, whatever it is asked.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from leasekeeper.local.model import fields, message_operations, move_operations, queue_operations, refusals
from leasekeeper.local.model.queue import IN_FLIGHT_LIMIT, Queue
from leasekeeper.local.model.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.moves import MoveTask
    from leasekeeper.local.model.settings import Settings

_OPERATIONS: dict[str, Callable[[Account, Request, float], dict[str, Any]]] = {
    **queue_operations.OPERATIONS,
    **message_operations.OPERATIONS,
    **move_operations.OPERATIONS,
}
OPERATIONS = frozenset(_OPERATIONS)


class Account:
    """The queues of one account in one region.

    Attributes:
        base_url: what queue URLs begin with: `http://host:port`, no slash at the end.
        account_id: twelve digits.
        epoch: what is added to `now` for the seconds since 1970.
        name_cooldown: seconds for which the name of a deleted queue is taken; 60 in AWS, 0 here unless asked.
        fresh: the queues from which something became receivable since this was last cleared; whoever waits looks here.
    """

    def __init__(
        self,
        random: Random | None = None,
        *,
        base_url: str = "http://127.0.0.1",
        region: str = "us-east-1",
        account_id: str = "000000000000",
        epoch: float = 0.0,
        in_flight_limit: int = IN_FLIGHT_LIMIT,
        name_cooldown: float = 0.0,
    ) -> None:
        self.random = random or Random(0)  # noqa: S311 - ids that repeat from a seed are what is wanted
        self.base_url = base_url
        self.region = region
        self.account_id = account_id
        self.epoch = epoch
        self.in_flight_limit = in_flight_limit
        self.name_cooldown = name_cooldown
        self.queues: dict[str, Queue] = {}
        self.deleted: dict[str, float] = {}
        self.fresh: set[Queue] = set()
        self.moves: list[MoveTask] = []

    def __repr__(self) -> str:
        return f"<Account {self.account_id} in {self.region}: {len(self.queues)} queues>"

    def call(self, operation: str, request: Request, now: float) -> dict[str, Any]:
        """Do what the API call of that name does, at once; a receive does not wait here.

        Args:
            operation: the name of the API call, e.g. `SendMessage`.
            request: its members, as the JSON protocol has them.
            now: seconds on any clock that does not go back.

        Returns:
            The members of the answer; empty for calls that answer nothing.

        Raises:
            Refusal: what SQS answers with instead.
        """
        perform = _OPERATIONS.get(operation)
        if perform is None:
            raise refusals.unknown_operation(f"The action {operation} is not valid for this endpoint.")
        if self.moves:
            self.step(now)
        return perform(self, request, now)

    def step(self, now: float) -> float:
        """Let message move tasks proceed to where they are by now; returns when one goes on, infinite if none does."""
        return move_operations.step(self, now)

    def queue(self, request: Request, now: float) -> Queue:
        """The queue that a request's QueueUrl names by its last two parts, as it is now."""
        url = request.get("QueueUrl")
        if url is None:
            raise refusals.no_such_queue()
        if type(url) is not str:
            fields.text(request, "QueueUrl")
        _, found, name = url.rpartition(f"/{self.account_id}/")
        queue = self.queues.get(name) if found else None
        if queue is None:
            raise refusals.no_such_queue()
        queue.advance(now)
        return queue

    def url(self, queue: Queue) -> str:
        """The URL of a queue."""
        return f"{self.base_url}/{self.account_id}/{queue.name}"

    def arn(self, name: str) -> str:
        """The ARN of the queue of that name, whether it exists or not."""
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{name}"

    def by_arn(self, arn: str) -> Queue | None:
        """The queue with that ARN, None without one."""
        name = arn.rpartition(":")[2]
        return self.queues.get(name) if arn == self.arn(name) else None

    def new_queue(self, name: str, settings: Settings, now: float) -> Queue:
        """Make a queue; the caller has seen to it that the name is free."""
        queue = Queue(
            name,
            self.arn(name),
            settings,
            mark=f"{self.random.getrandbits(48):012x}",
            created=now,
            epoch=self.epoch,
            fresh=self.fresh,
            bury=self._bury,
            in_flight_limit=self.in_flight_limit,
        )
        self.queues[name] = queue
        return queue

    def new_message_id(self) -> str:
        """A random UUID."""
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _bury(self, source: Queue, message: Stored, now: float) -> bool:
        """Copy a message to its queue's dead-letter queue, with its id, its attributes and its count of receives."""
        redrive = source.settings.redrive
        grave = self.by_arn(redrive.target) if redrive else None
        if grave is None or grave is source or grave.settings.fifo != source.settings.fifo:
            return False
        system = {**message.system, "DeadLetterQueueSourceArn": source.arn}
        if grave.settings.fifo:
            system["MessageDeduplicationId"] = message.id

        # A standard dead-letter queue counts retention from when the message was first sent, a FIFO one from now.
        sent = now if grave.settings.fifo else message.sent
        grave.advance(now)
        buried = grave.add(lambda n: Stored(n, message.id, message.content, system, sent, message.group), 0, now)
        buried.receives = message.receives
        buried.first_received = message.first_received
        return True
