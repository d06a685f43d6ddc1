"""Dead letters: copies of rejected messages, sent to the dead-letter queue before the delete.

Owned by the runner. It promises that a message is deleted only after its copy was confirmed, that the copy has all the
message's attributes, and that a copy that cannot be made leaves the message to the queue's redrive policy (L30).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from leasekeeper.api import MAX_BYTES, EntryFailure, Outgoing
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import FailedEntries, call_batch
from leasekeeper.events import InternalError, MessagesCopied
from leasekeeper.message import MessageAttribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.message import Received

COPY = "SendMessageBatch"
REASON, SOURCE, RECEIVE_COUNT = "Leasekeeper.Reason", "Leasekeeper.Source", "Leasekeeper.ReceiveCount"
"""Message attributes of a copy: why it was rejected, the ARN (or URL) of its queue, and its receive count there."""
MOST_ATTRIBUTES = 10
"""Attributes that SQS takes on one message."""
REASON_LENGTH = 256
"""Characters of a reason that a copy carries."""
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that SQS does not take (API reference, SendMessage). To compile all others takes 20 ms at each import."""


class DeadLetters:
    """Copies rejected messages. Without a queue to copy to it is not `available`."""

    def __init__(self, context: QueueContext) -> None:
        self._context = context
        self._failed = FailedEntries(context, COPY, of_health=False)
        self.batcher: Batcher[Delivery] = Batcher(
            "copies to the dead-letter queue",
            self._send,
            size=10,
            # A group of a FIFO queue waits for the copy of its first message.
            linger=0.0 if context.source.fifo else context.options.ack_interval,
            clock=context.clock,
            failed=lambda what, error: context.emit(InternalError(context.queue, what, error)),
            parallel=4,
        )

    def add(self, rows: Sequence[Delivery]) -> None:
        """Copy these messages, then delete them."""
        for row in rows:
            self.batcher.add([row], latest=row.lease.deadline - 1.0)

    async def _send(self, rows: list[Delivery]) -> None:
        for group in self._within_size([row for row in rows if row.state is State.REJECTING]):
            copies = [outgoing for _, outgoing in group]
            await self._copy([row for row, _ in group], copies)

    def _within_size(self, rows: list[Delivery]) -> list[list[tuple[Delivery, Outgoing]]]:
        """The copies, in groups that one call can carry: a copy may be a megabyte, and so may be ten together."""
        groups: list[list[tuple[Delivery, Outgoing]]] = []
        filled = 0
        for row in rows:
            copy, size = self._copy_of(row)
            if not groups or filled + size > MAX_BYTES:
                groups.append([])
                filled = 0
            groups[-1].append((row, copy))
            filled += size
        return groups

    async def _copy(self, rows: list[Delivery], copies: list[Outgoing]) -> None:
        context = self._context
        assert context.source.dead_letter_url is not None
        answers = await call_batch(
            context, context.client.send_batch(context.source.dead_letter_url, copies), len(rows)
        )
        now = context.clock()
        failed = [(row, each) for row, each in zip(rows, answers, strict=True) if isinstance(each, EntryFailure)]
        copied = [row for row, each in zip(rows, answers, strict=True) if not isinstance(each, EntryFailure)]
        if copied:
            self._failed.failures = 0
            context.emit(MessagesCopied(context.queue, len(copied)))
            for row in copied:
                context.act(context.ledger.copied(row), [row])
        if failed:
            given_up = self._failed.put_back(self.batcher, failed, whole=not copied, now=now)
            if given_up:
                self._failed.emit(given_up, given_up=True)  # another queue: the health of this one does not change
            for row, _ in given_up:
                context.act(context.ledger.copy_refused(row, context.options.retry_maximum, now), [row])
        context.left()

    def _copy_of(self, row: Delivery) -> tuple[Outgoing, int]:
        """The copy, and its bytes as SQS counts them: the body, and of each attribute name, type and value."""
        received = row.received
        attributes, size = dict(received.attributes), _size(received.body, received.attributes)
        reason = _REFUSED.sub("?", row.reason[:REASON_LENGTH]) or "no reason given"
        extra = {
            REASON: MessageAttribute(data_type="String", string_value=reason),
            SOURCE: MessageAttribute(
                data_type="String", string_value=self._context.source.arn or self._context.source.url
            ),
            RECEIVE_COUNT: MessageAttribute(data_type="Number", string_value=str(received.receive_count)),
        }
        for name, attribute in extra.items():
            more = _size("", {name: attribute})
            if name not in attributes and len(attributes) < MOST_ATTRIBUTES and size + more <= MAX_BYTES:
                attributes[name] = attribute
                size += more
        return _outgoing(received, attributes), size

    async def run(self) -> None:
        """Copy until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Copy everything that waits, at once."""
        self.batcher.close()


def _size(body: str, attributes: Mapping[str, MessageAttribute]) -> int:
    size = len(body.encode())
    for name, attribute in attributes.items():
        value = attribute.value
        size += len(name.encode()) + len(attribute.data_type.encode())
        size += len(value.encode() if isinstance(value, str) else value)
    return size


def _outgoing(received: Received, attributes: Mapping[str, MessageAttribute]) -> Outgoing:
    system = received.system
    trace = system.get("AWSTraceHeader")
    return Outgoing(
        body=received.body,
        attributes=attributes,
        system={"AWSTraceHeader": trace} if trace else {},
        group_id=system.get("MessageGroupId"),
        # A FIFO queue needs an id; the message id keeps a copy that is sent twice from becoming two messages.
        deduplication_id=received.message_id if "MessageDeduplicationId" in system else None,
    )
