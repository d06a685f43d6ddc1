"""Dead letters: copies of rejected messages, attributes and all, sent to the dead-letter queue before the delete.

Owned by the runner. It promises that a message is deleted only after its copy was confirmed; a copy that cannot be made
leaves the message to the queue's redrive policy (L30).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.api import MAX_BYTES, EntryFailure, Outgoing
from leasekeeper.core.delivery import Action
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import PASSING, Pauses, by_entry, within

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.engine.extender import Extender
    from leasekeeper.engine.harvester import Harvester
    from leasekeeper.message import Received


class DeadLetters:
    """Copies what can never be processed; without a queue to copy to it is not `available`."""

    def __init__(
        self, context: QueueContext, queue_url: str | None, *, harvester: Harvester, extender: Extender
    ) -> None:
        self._context = context
        self._queue_url = queue_url
        self._harvester = harvester
        self._extender = extender
        self._pauses = Pauses(context.draw)
        self.batcher: Batcher[Delivery] = Batcher(
            "dead letters",
            self._send,
            size=10,
            linger=context.options.ack_interval,
            clock=context.clock,
            logger=context.logger,
            parallel=4,
        )

    @property
    def available(self) -> bool:
        """Whether there is a queue to copy to."""
        return self._queue_url is not None

    def add(self, row: Delivery) -> None:
        """Copy this message, then delete it."""
        # A copy may be a megabyte, and so may be all ten together: large ones go alone.
        self.batcher.add([row], latest=row.lease.deadline - 1.0)

    async def _send(self, rows: list[Delivery]) -> None:
        assert self._queue_url is not None
        rows = [row for row in rows if row.state is State.REJECTING]
        for group in _within_size(rows):
            copies = [_copy(row) for row in group]
            answers = await by_entry(
                self._context.client.send_batch(self._queue_url, copies), len(group), self._context.logger
            )
            self._settle(group, [each if isinstance(each, EntryFailure) else None for each in answers])

    def _settle(self, rows: list[Delivery], failures: list[EntryFailure | None]) -> None:
        context, now = self._context, self._context.clock()
        pause = self._pauses.note(failed=any(failures))
        for row, failure in zip(rows, failures, strict=True):
            again = now + within(pause, row.lease.deadline - now)
            if failure is None:
                context.tally.dead_lettered += 1
                if context.ledger.copied(row) is Action.DELETE:
                    self._harvester.add([row])
            elif failure.verdict in PASSING and context.ledger.may_try_again(row, again):
                self.batcher.put_back(row, ready=again)
            else:
                context.tally.failed_entry(failure.code)
                context.logger.error(
                    "message %s is rejected, but could not be copied to %s (%s: %s); it is left to the queue's redrive "
                    "policy. Allow sqs:SendMessage there, or set on_reject='redrive'",
                    row.received.message_id,
                    self._queue_url,
                    failure.code,
                    failure.message,
                )
                if context.ledger.copy_refused(row, context.options.retry_maximum, now) is Action.RELEASE:
                    self._extender.release(row)

    async def run(self) -> None:
        """Copy until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Copy everything that waits, at once."""
        self.batcher.close()


def _within_size(rows: list[Delivery]) -> list[list[Delivery]]:
    groups: list[list[Delivery]] = []
    filled = 0
    for row in rows:
        size = _size(row.received)
        if not groups or filled + size > MAX_BYTES:
            groups.append([])
            filled = 0
        groups[-1].append(row)
        filled += size
    return groups


def _size(received: Received) -> int:
    """Bytes, as SQS counts them: the body, and of each attribute name, type and value."""
    size = len(received.body.encode())
    for name, attribute in received.attributes.items():
        value = attribute.value
        size += len(name.encode()) + len(attribute.data_type.encode())
        size += len(value.encode() if isinstance(value, str) else value)
    return size


def _copy(row: Delivery) -> Outgoing:
    system = row.received.system
    trace = system.get("AWSTraceHeader")
    return Outgoing(
        body=row.received.body,
        attributes=row.received.attributes,
        system={"AWSTraceHeader": trace} if trace else {},
        group_id=system.get("MessageGroupId"),
        # A FIFO queue's own id; the message id keeps a copy sent twice from being two messages.
        deduplication_id=row.received.message_id if "MessageDeduplicationId" in system else None,
    )
