"""The part of SQS that the engine uses, in our types: the seam between Leasekeeper and any SQS.

Two implementations stand behind it: `leasekeeper.sqs.client.SqsClient` over HTTP and
`leasekeeper.local.client.LocalClient` in process. Every method raises `SqsError`; batch methods answer by position
and never raise for single entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.errors import Verdict
    from leasekeeper.message import MessageAttribute, Received

BATCH = 10
"""Entries in a batch call and messages in a receive, at most (AWS SQS quotas)."""
RECEIVE_GRACE = 5.0
"""Seconds beyond its wait after which a receive is given up: a black-holed connection costs no more (L17)."""
MAX_BYTES = 1_048_576
"""Bytes of a message with its attributes, and of a whole batch of sends (AWS SQS quotas)."""


@dataclass(frozen=True, slots=True)
class EntryFailure:
    """Why one entry of a batch failed."""

    verdict: Verdict
    code: str
    message: str
    sender_fault: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What SQS said of a message that it took: its id and, from a FIFO queue, its sequence number."""

    message_id: str
    sequence_number: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be sent.

    Attributes:
        body: text, 1 byte to 1 MiB with its attributes.
        delay: seconds before it can be received, 0 to 900; None takes the queue's. Not for FIFO queues.
        attributes: at most ten.
        system: system attributes; SQS knows `AWSTraceHeader`.
        group_id: message group: order on FIFO queues, tenant on standard ones.
        deduplication_id: FIFO queues only.
    """

    body: str
    delay: int | None = None
    attributes: Mapping[str, MessageAttribute] = field(default_factory=dict)
    system: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None


class SqsApi(Protocol):
    """What a consumer needs of SQS."""

    async def queue_url(self, name: str, *, account: str | None = None) -> str:
        """The URL of the queue of that name; `account` for another account's."""
        ...

    async def queue_attributes(self, queue_url: str, names: Sequence[str] = ("All",)) -> dict[str, str]:
        """The queue's attributes, values as text."""
        ...

    async def receive(
        self,
        queue_url: str,
        *,
        maximum: int,
        wait: float,
        visibility: int,
        attribute_names: Sequence[str] = ("All",),
        attempt_id: str | None = None,
    ) -> list[Received]:
        """Receive 1 to 10 messages, waiting up to `wait` (0-20) seconds for the first, hidden for `visibility` seconds.

        It always asks for all system attributes. The answer's MD5s have been verified. The call has a deadline of its
        own, `wait` plus a few seconds. FIFO queues: `attempt_id` lets a failed call be repeated.
        """
        ...

    async def delete_batch(self, queue_url: str, receipts: Sequence[str]) -> list[EntryFailure | None]:
        """Delete up to ten messages; the answer stands by position, None where the delete was confirmed."""
        ...

    async def change_visibility_batch(
        self, queue_url: str, entries: Sequence[tuple[str, int]]
    ) -> list[EntryFailure | None]:
        """Set when up to ten messages (receipt, seconds from now) become visible; the answer stands by position."""
        ...

    async def send_batch(self, queue_url: str, messages: Sequence[Outgoing]) -> list[Sent | EntryFailure]:
        """Send up to ten messages; the answer stands by position."""
        ...

    async def close(self) -> None:
        """Give back connections; calls in flight may fail. May be called twice."""
        ...
