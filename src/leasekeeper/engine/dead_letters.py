"""Dead letters: copies of messages that are not tried again, sent to the dead-letter queue before the delete.

Owned by the runner. It promises that a message is deleted only after its copy was confirmed, that the copy has the
body, all the message's attributes and the reason, and that a copy that cannot be made leaves the message to the queue's
redrive policy (L30).
"""

from __future__ import annotations

import functools
import math
import socket
import traceback
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from leasekeeper.api import MAX_BYTES, MOST_ATTRIBUTES, EntryFailure, Outgoing
from leasekeeper.core.states import State
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import FailedEntries, call_batch, refusal_of
from leasekeeper.engine.policies import retries
from leasekeeper.errors import UndecodableBody
from leasekeeper.events import InternalError, MessagesCopied
from leasekeeper.failure import FAILURE, Failure, timestamp
from leasekeeper.outcomes import Failed, Reject
from leasekeeper.sizes import size_of
from leasekeeper.texts import safe_str
from leasekeeper.tracebacks import raised_by_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import QueueContext, SourceQueue
    from leasekeeper.message import MessageAttribute, Received
    from leasekeeper.outcomes import Outcome

COPY = "SendMessageBatch"
TRACE_LENGTH = 4_000
"""Characters of a traceback's end that are kept to be cut."""
DENIED_EVERY = 60.0
"""Seconds between two reports that copies cannot be made: the reason stays, and every message meets it."""


class DeadLetters:
    """Copies rejected messages. Without a queue to copy to it is not `available`."""

    def __init__(self, context: QueueContext) -> None:
        self._context = context
        self._failed = FailedEntries(context, COPY, of_health=False)
        self._hidden_for = retries(context.options).schedule.longest
        self._reported = -math.inf
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
            copy, size = copy_of(row)
            if not groups or filled + size > MAX_BYTES:
                groups.append([])
                filled = 0
            groups[-1].append((row, copy))
            filled += size
        return groups

    async def _copy(self, rows: list[Delivery], copies: list[Outgoing]) -> None:
        context = self._context
        assert context.source.dead_letter_url is not None
        sent = context.clock()
        answers = await call_batch(
            context, context.client.send_batch(context.source.dead_letter_url, copies), len(rows)
        )
        now = context.clock()
        failed = [(row, each) for row, each in zip(rows, answers, strict=True) if isinstance(each, EntryFailure)]
        copied = {
            row: copy
            for row, copy, each in zip(rows, copies, answers, strict=True)
            if not isinstance(each, EntryFailure)
        }
        if copied:
            self._failed.failed_calls = 0
        context.emit(
            MessagesCopied(
                context.queue,
                len(copied),
                now - sent,
                refusal_of(answers),
                reasons=Counter("exhausted" if row.failure is None else row.failure.reason for row in copied),
                unexplained=[row.received.message_id for row, copy in copied.items() if FAILURE not in copy.attributes],
            )
        )
        for row in copied:
            context.act(context.ledger.copied(row), [row])
        if failed:
            given_up = self._failed.put_back(self.batcher, failed, whole=not copied, now=now)
            self._report(given_up, now)
            for row, _ in given_up:
                context.act(context.ledger.copy_refused(row, self._hidden_for, now), [row])
        context.left()

    def _report(self, given_up: list[tuple[Delivery, EntryFailure]], now: float) -> None:
        """Count these copies as failed, and say so of one message a minute: the others met the same error."""
        if given_up and now >= self._reported + DENIED_EVERY:
            self._reported = now
            self._failed.emit(given_up[:1], given_up=True)  # another queue: the health of this one does not change
            given_up = given_up[1:]
        if given_up:
            self._failed.emit(given_up, given_up=False)

    async def run(self) -> None:
        """Copy until closed and empty."""
        await self.batcher.run()

    def close(self) -> None:
        """Copy everything that waits, at once."""
        self.batcher.close()


def copy_of(row: Delivery) -> tuple[Outgoing, int]:
    """The copy, and its bytes as SQS counts them: the body, and of each attribute name, type and value."""
    received = row.received.as_sent
    attributes = {name: value for name, value in received.attributes.items() if name != FAILURE}
    size = size_of(received.body, attributes)
    if row.failure is not None and len(attributes) < MOST_ATTRIBUTES:
        failure = row.failure.attribute()
        more = size_of("", {FAILURE: failure})
        if size + more <= MAX_BYTES:
            attributes[FAILURE] = failure
            size += more
    return _outgoing(received, attributes), size


def failure_of(row: Delivery, outcome: Outcome, source: SourceQueue, *, reason: str, at: float) -> Failure:
    """Why a message is not tried again.

    Args:
        row: the message.
        outcome: how its last attempt ended.
        source: the queue that it came from.
        reason: `rejected`, `undecodable` or `exhausted`.
        at: when that was, in epoch seconds.
    """
    received, error, text, trace = row.received, type(outcome).__name__, "", ""
    if isinstance(outcome, Reject):
        error = UndecodableBody.__name__ if reason == "undecodable" else Reject.__name__
        text = safe_str(outcome.reason) or "no reason given"
    elif isinstance(outcome, Failed):
        error, text = type(outcome.error).__name__, safe_str(outcome.error)
        with suppress(Exception):  # the code of others makes its lines
            trace = "".join(traceback.format_exception(*raised_by_user(outcome.error)))[-TRACE_LENGTH:]
    return Failure(
        reason=reason,
        error=error,
        message=text,
        at=timestamp(at),
        queue=source.arn or source.url,
        attempts=row.attempt,
        receives=received.receive_count,
        first_received=timestamp(received.first_received_at),
        sent=timestamp(received.sent_at),
        host=socket.gethostname(),
        version=_version(),
        trace=trace,
    )


@functools.cache
def _version() -> str:
    from importlib.metadata import version  # a tenth of the import of this package, and most consumers do not need it

    return version("leasekeeper")


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
