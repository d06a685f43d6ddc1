"""Events: what happened in a consumer, as frozen values.

The engine emits them into its `Channel`, once for each call to SQS or batch of answers, not once for each message.
`leasekeeper.observe` subscribes (counts, logs), and so may users: `consumer.subscribe(...)`. Events are news; nothing
in them controls the engine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from leasekeeper.api import EntryFailure, SqsApi
    from leasekeeper.message import Received
    from leasekeeper.outcomes import Outcome


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened in the consumer of one queue.

    Attributes:
        queue: the queue's name.
    """

    queue: str


class QueueOpened(Event, frozen=True, gc=False):
    """The queue was found at the start.

    Attributes:
        url: the queue's URL.
        client: makes the calls to SQS.
    """

    url: str
    client: SqsApi | None = None


class PhaseChanged(Event, frozen=True, gc=False):
    """The consumer has entered another phase of its life, e.g. `running` or `draining`."""

    phase: str
    concurrency: int


class PollersChanged(Event, frozen=True, gc=False):
    """The throttler started or ended receive loops.

    Attributes:
        pollers: how many there are now.
        before: how many there were.
    """

    pollers: int
    before: int


class MessagesReceived(Event, frozen=True, gc=False):
    """A receive was answered.

    Attributes:
        count: messages in the answer; 0 for an empty one.
        known_duplicates: messages among them that were finished here before; they are deleted without being run.
        seconds: duration of the call, its long-poll wait included.
        lag: seconds from sent to received of one message that was received for the first time; None without one. The
            times come from two clocks, so the value is approximate.
        asked: messages that were asked for.
    """

    count: int
    known_duplicates: int
    seconds: float
    lag: float | None
    asked: int = 10


class ReceiveFailed(Event, frozen=True):
    """A receive raised.

    Attributes:
        code: the error code of SQS, or the exception's class name.
        pause: seconds until the next try.
        expected: whether it is an `SqsError`; anything else is a bug, of a client or of ours.
    """

    error: BaseException
    code: str
    pause: float
    expected: bool


class Conclusion(msgspec.Struct, frozen=True):
    """How one message ended that was not simply done.

    Attributes:
        message: the message as it was received.
        handler: the handler's name.
        outcome: what the handler or its lane answered.
        counted: the counter of `WorkStatistics` that it belongs to; empty for none.
        attempt: which attempt at the message this was, from 1.
        after: seconds until the message may be received again; None if it is not given back.
        again: whether the handler is called again here, under the same lease.
        copied: whether a copy goes to the dead-letter queue.
        last: whether the queue's redrive policy allows no further receive.
        redriven: whether the queue has a redrive policy, as far as is known.
        settled: whether the message had been settled before, so that this outcome changes nothing.
        max_attempts: the attempt that is the last one; infinite without a limit.
    """

    message: Received
    handler: str
    outcome: Outcome
    counted: str
    attempt: int = 1
    after: float | None = None
    again: bool = False
    copied: bool = False
    last: bool = False
    settled: bool = False
    redriven: bool = True
    max_attempts: float = math.inf


class HandlersEnded(Event, frozen=True):
    """Handlers have ended.

    Attributes:
        done: how many returned normally.
        waited: seconds from received to started of some of them, at most the last 15.
        others: how the rest ended, one by one.
    """

    done: int
    waited: Sequence[float] = ()
    others: Sequence[Conclusion] = ()


class DeletesAnswered(Event, frozen=True, gc=False):
    """A delete call was answered, or failed.

    Attributes:
        confirmed: entries confirmed.
        seconds: duration of the call.
        code: the error code, if the call failed as a whole; else empty.
    """

    operation: ClassVar[str] = "DeleteMessageBatch"
    confirmed: int
    seconds: float
    code: str = ""


class LeasesExtended(Event, frozen=True, gc=False):
    """An extension call was answered, or failed.

    Attributes:
        extended: entries confirmed.
        seconds: duration of the call.
        code: the error code, if the call failed as a whole; else empty.
    """

    operation: ClassVar[str] = "ChangeMessageVisibilityBatch"
    extended: int
    seconds: float
    code: str = ""


class MessagesReleased(Event, frozen=True, gc=False):
    """A call that gives messages back was answered, or failed.

    Attributes:
        released: entries confirmed.
        seconds: duration of the call.
        code: the error code, if the call failed as a whole; else empty.
    """

    operation: ClassVar[str] = "ChangeMessageVisibilityBatch"
    released: int
    seconds: float
    code: str = ""


class MessagesCopied(Event, frozen=True):
    """A call that copies messages which are not tried again to the dead-letter queue was answered, or failed.

    Attributes:
        count: copies confirmed.
        seconds: duration of the call.
        code: the error code, if the call failed as a whole; else empty.
        reasons: how many of them were copied for which reason: `rejected`, `undecodable` or `exhausted`.
        unexplained: ids of those without `leasekeeper.failure`, for which SQS allows no room: ten attributes, 1 MiB.
    """

    operation: ClassVar[str] = "SendMessageBatch"
    count: int
    seconds: float
    code: str = ""
    reasons: Mapping[str, int] = {}
    unexplained: Sequence[str] = ()


Answered = DeletesAnswered | LeasesExtended | MessagesReleased | MessagesCopied
"""A batch call was answered, or failed: events with `operation`, `seconds` and `code`."""
ANSWERS = (DeletesAnswered, LeasesExtended, MessagesReleased, MessagesCopied)


class HandlersMeasured(Event, frozen=True):
    """Handlers have ended; emitted only while an exporter of metrics asks for every duration.

    Attributes:
        worked: seconds that each handler took.
        waited: seconds from received to started, of each message that ran for the first time here.
    """

    worked: Sequence[float]
    waited: Sequence[float]


class LagsMeasured(Event, frozen=True):
    """Messages were received for the first time; emitted only while an exporter of metrics asks for every duration.

    Attributes:
        seconds: from sent to received, of each. The times come from two clocks.
    """

    seconds: Sequence[float]


class EntriesFailed(Event, frozen=True):
    """Entries of a batch call failed.

    Attributes:
        operation: the API call, e.g. `DeleteMessageBatch`.
        failures: for each entry the message id and the failure.
        given_up: whether these entries are not tried again.
        heartbeat: whether they were extensions.
    """

    operation: str
    failures: Sequence[tuple[str, EntryFailure]]
    given_up: bool = False
    heartbeat: bool = False


class LeaseLost(Event, frozen=True):
    """The lease of a message ended while its handler was at work: another consumer may run it too."""

    message_id: str


class GroupHalted(Event, frozen=True):
    """A message group of a FIFO queue cannot get past its first message.

    Attributes:
        group: the message group id.
        message: the message as it was received.
        attempt: the number of its last attempt.
        after: seconds until it is tried again.
        reason: why, in words.
    """

    group: str
    message: Received
    attempt: int
    after: float
    reason: str


class HealthChanged(Event, frozen=True):
    """The consumer became healthy or unhealthy.

    Attributes:
        healthy: what it is now.
        reason: why, in words; empty when healthy.
    """

    healthy: bool
    reason: str


class LoopBlocked(Event, frozen=True, gc=False):
    """The event loop that handlers run on does not turn: told once, of one of the consumers that share the loop.

    Attributes:
        handler: the handler that blocks it; empty if it is something else.
        seconds: how long it has not turned.
        place: where its thread is: a function with file and line.
    """

    handler: str
    seconds: float
    place: str


class LoopUnblocked(Event, frozen=True, gc=False):
    """The event loop that was blocked is free again.

    Attributes:
        seconds: how long it was blocked.
    """

    seconds: float


class StopForced(Event, frozen=True, gc=False):
    """The consumer stops by itself: its queue is unusable, or its handlers cannot run any more."""

    reason: str


class HandlersLeft(Event, frozen=True, gc=False):
    """Handlers still run at the end of a drain and cannot be ended.

    Attributes:
        count: how many.
        limit: what ended the drain, in words.
    """

    count: int
    limit: str


class SettlementsLeft(Event, frozen=True, gc=False):
    """Settlements were not confirmed within `flush_timeout`: these messages come again."""

    count: int
    flush_timeout: float


class InternalError(Event, frozen=True):
    """A part of the engine, or of a client, raised what it must not raise. The engine goes on.

    Attributes:
        what: what was being done, as the beginning of a sentence.
    """

    what: str
    error: BaseException
