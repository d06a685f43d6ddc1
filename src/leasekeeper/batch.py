"""The batch: the messages of one call of a batch handler, as the handler sees them.

A `Batch` belongs to one call of one handler. The handler reads its messages, and names those that have not gone well;
the others are done when it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, overload

from leasekeeper.message import Message
from leasekeeper.outcomes import Reject, Retry

if TYPE_CHECKING:
    from leasekeeper.outcomes import Settlement

T = TypeVar("T")

Trigger = Literal["size", "wait", "bytes", "stop"]
"""What made a batch complete: `batch` messages, the oldest had waited `batch_wait`, `batch_bytes`, or a stop."""


class BatchView(Protocol):
    """What a `Batch` needs from the lane that runs its handler."""

    def name(self, message: Message[T], outcome: Retry | Reject) -> None:
        """Note how that message ends when the call ends.

        Raises:
            ValueError: the message is not one of this batch.
            Closed: the message is settled already, or the call has ended.
        """
        ...


class Batch(Sequence[Message[T]]):
    """Messages that one call of a handler works on, oldest first: a sequence of `Message[T]`.

    When the handler returns, every message that it has not named is deleted; when it raises, every message that it has
    not named is retried. It names a message with `ack`, `retry` or `reject`, with a method of the message itself, or
    with its return value.

    Attributes:
        queue: the name of the queue that the messages were received from.
        trigger: what made the batch complete: "size", "wait", "bytes" or "stop".
        waited: seconds that the oldest message had waited for others when the batch was complete.
    """

    __slots__ = ("_messages", "_view", "queue", "trigger", "waited")

    def __init__(
        self, messages: Sequence[Message[T]], *, queue: str, trigger: Trigger, waited: float, view: BatchView
    ) -> None:
        self._messages = messages
        self._view = view
        self.queue = queue
        self.trigger: Trigger = trigger
        self.waited = waited

    @overload
    def __getitem__(self, index: int) -> Message[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message[T]]: ...
    def __getitem__(self, index: int | slice) -> Message[T] | Sequence[Message[T]]:
        return self._messages[index]

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def bodies(self) -> list[T]:
        """The decoded bodies, in the order of the messages."""
        return [message.body for message in self._messages]

    @property
    def group_id(self) -> str | None:
        """The message group id that all of these messages have; None if they have none, or different ones."""
        groups = {message.group_id for message in self._messages}
        return groups.pop() if len(groups) == 1 else None

    def ack(self, message: Message[T]) -> Settlement:
        """Delete one message now, whatever becomes of the others: as `message.ack()`.

        Returns:
            A settlement, which tells whether SQS confirmed the delete.

        Raises:
            Closed: the message is already settled, or the consumer is closed.
        """
        return message.ack()

    def retry(self, message: Message[T], after: float | None = None) -> None:
        """Have one message retried when this call ends, however it ends.

        Args:
            message: one of this batch.
            after: seconds until it can be received again, 0 to 43,200; None uses the consumer's back-off.

        Raises:
            ValueError: the message is not one of this batch, or `after` is out of bounds.
            Closed: the message is already settled, or the call has ended.
        """
        self._view.name(message, Retry(after))

    def reject(self, message: Message[T], reason: str = "") -> None:
        """Have one message rejected when this call ends, however it ends: it can never be processed.

        Args:
            message: one of this batch.
            reason: why, for the log and for the copy in the dead-letter queue.

        Raises:
            ValueError: the message is not one of this batch.
            Closed: the message is already settled, or the call has ended.
        """
        self._view.name(message, Reject(reason))

    def __repr__(self) -> str:
        count = "1 message" if len(self) == 1 else f"{len(self)} messages"
        return f"<Batch of {count} of {self.queue}, complete by {self.trigger} after {self.waited:.3g} s>"
