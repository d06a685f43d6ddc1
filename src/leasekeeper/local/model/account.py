"""The state of an AWS account in one region, as far as SQS goes: its queues, its move tasks and its random numbers.

Owned by the account's API (`service.py`). The operations read and change it. It promises that a URL, an ARN or a
name finds the same queue.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from leasekeeper.local.model import fields, refusals
from leasekeeper.local.model.queue import IN_FLIGHT_LIMIT, Queue
from leasekeeper.local.model.stored import Stored

if TYPE_CHECKING:
    from leasekeeper.local.model.fields import Request
    from leasekeeper.local.model.moves import MoveTask
    from leasekeeper.local.model.settings import QueueSettings


class AccountState:
    """The queues of one account in one region.

    Attributes:
        base_url: the start of queue URLs: `http://host:port`, without a slash at the end.
        account_id: twelve digits.
        epoch: seconds to add to `now` to get seconds since 1970.
        name_cooldown: seconds for which the name of a deleted queue cannot be used; 60 in AWS, 0 here by default.
        readable: the queues in which a receive can find something new since this set was last cleared.
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
        self.random = random or Random(0)  # noqa: S311 - the ids must repeat from a seed
        self.base_url = base_url
        self.region = region
        self.account_id = account_id
        self.epoch = epoch
        self.in_flight_limit = in_flight_limit
        self.name_cooldown = name_cooldown
        self.queues: dict[str, Queue] = {}
        self.deleted: dict[str, float] = {}
        self.readable: set[Queue] = set()
        self.moves: list[MoveTask] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.account_id} in {self.region}: {len(self.queues)} queues>"

    def queue(self, request: Request, now: float) -> Queue:
        """The queue of a request, brought up to date.

        As on AWS, `QueueUrl` may be the name alone. Of a URL, the last two parts count: account and name.
        """
        url = request.get("QueueUrl")
        if url is None:
            raise refusals.no_such_queue()
        if type(url) is not str:
            fields.text(request, "QueueUrl")
        _, found, name = url.rpartition(f"/{self.account_id}/")
        queue = self.queues.get(name) if found or "/" not in url else None
        if queue is None:
            raise refusals.no_such_queue()
        queue.advance(now)
        return queue

    def url(self, queue: Queue) -> str:
        """The URL of a queue."""
        return f"{self.base_url}/{self.account_id}/{queue.name}"

    def arn(self, name: str) -> str:
        """The ARN of a queue with that name; the queue need not exist."""
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{name}"

    def by_arn(self, arn: str) -> Queue | None:
        """The queue with that ARN, or None."""
        name = arn.rpartition(":")[2]
        return self.queues.get(name) if arn == self.arn(name) else None

    def new_queue(self, name: str, settings: QueueSettings, now: float) -> Queue:
        """Create a queue. The caller has checked that the name is free."""
        queue = Queue(
            name,
            self.arn(name),
            settings,
            receipt_tag=f"{self.random.getrandbits(48):012x}",
            created=now,
            epoch=self.epoch,
            readable=self.readable,
            dead_letter=self._dead_letter,
            in_flight_limit=self.in_flight_limit,
        )
        self.queues[name] = queue
        return queue

    def new_message_id(self) -> str:
        """A random UUID."""
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _dead_letter(self, source: Queue, message: Stored, now: float) -> bool:
        """Copy a message to the dead-letter queue of its queue, with its id, its attributes and its receive count.

        Returns False when there is no such queue. A queue may be its own dead-letter queue, as on AWS; its messages
        stay where they are.
        """
        redrive = source.settings.redrive
        dead_letter_queue = self.by_arn(redrive.target) if redrive else None
        if dead_letter_queue is None or dead_letter_queue is source:
            return False
        if dead_letter_queue.settings.fifo != source.settings.fifo:
            return False
        system = {**message.system, "DeadLetterQueueSourceArn": source.arn}
        if dead_letter_queue.settings.fifo:
            system["MessageDeduplicationId"] = message.id

        # Retention starts at the first send for a standard dead-letter queue, and at the move for a FIFO queue.
        sent = now if dead_letter_queue.settings.fifo else message.sent
        dead_letter_queue.advance(now)
        copy = dead_letter_queue.add(
            lambda number: Stored(number, message.id, message.content, system, sent, message.group), 0, now
        )
        copy.receives = copy.carried = message.receives
        copy.first_received = message.first_received
        return True
