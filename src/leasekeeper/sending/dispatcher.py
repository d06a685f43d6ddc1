"""The dispatcher: sends what a sender has accepted, ten messages to a call, and tries again what failed for a while.

Owned by a sender, run on its loop. It promises that each entry is answered once, with what SQS said or with an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from leasekeeper.api import BATCH, MAX_BYTES, EntryFailure, Outgoing, Sent
from leasekeeper.core.send_batch import GroupedSendBatch, SendBatch
from leasekeeper.engine.batcher import Batcher
from leasekeeper.engine.calls import RETRYABLE, call_batch
from leasekeeper.errors import SqsError
from leasekeeper.schedules import Exponential

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.engine.batcher import BatcherStatistics
    from leasekeeper.events import Event
    from leasekeeper.sending.outgoing import TargetQueue

SEND = "SendMessageBatch"
RETRY = Exponential(base=0.2, maximum=5.0)
"""Pauses between tries, with full jitter."""
SHORTEST = 0.02
"""Seconds of the shortest pause."""


class Entry:
    """A message that a sender has accepted.

    Attributes:
        outgoing: the message.
        size: its bytes as SQS counts them.
        held: its bytes in memory: with a payload that goes to S3.
        number: its place in the order of acceptance.
        group: its message group; empty without one.
        until: seconds on the clock after which it is not tried again; None before the first try.
        failures: tries that failed.
        answer: told what became of it; None for one that was posted.
    """

    __slots__ = ("answer", "failures", "group", "held", "number", "outgoing", "size", "until")

    def __init__(self, outgoing: Outgoing, size: int, answer: Callable[[Sent | Exception], object] | None) -> None:
        self.outgoing = outgoing
        self.size = size
        self.held = size if type(outgoing) is Outgoing else size + len(outgoing.data)  # type: ignore[attr-defined] # an OutgoingPointer
        self.number = 0
        self.group = outgoing.group_id or ""
        self.until: float | None = None
        self.failures = 0
        self.answer = answer


class _Teller(NamedTuple):
    queue: str
    emit: Callable[[Event], None]


class Dispatcher:
    """Sends to one queue.

    A bug of ours ends it, because what it holds can no longer be trusted: `run` raises the bug.

    Args:
        client: of SQS.
        url: the queue's.
        target: the queue, as far as it matters for messages.
        linger: seconds that a message may wait for others.
        timeout: seconds from its first try after which a message is given up.
        parallel: calls out at once.
        strict_order: whether a call has one message of a group at most.
        answered: called with each entry that is done, and what became of it.
        emit: told of bugs.
        clock: seconds, monotonic.
        draw: random numbers from 0 to 1.
    """

    def __init__(
        self,
        client: SqsApi,
        url: str,
        target: TargetQueue,
        *,
        linger: float,
        timeout: float,
        parallel: int,
        strict_order: bool,
        answered: Callable[[Sequence[tuple[Entry, Sent | Exception]]], None],
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._client = client
        self._url = url
        self._timeout = timeout
        self._answered = answered
        self._teller = _Teller(target.name, emit)
        self._clock = clock
        self._draw = draw
        self._fifo = target.fifo
        self._batch: Any = (
            GroupedSendBatch[Entry](size=BATCH, most_bytes=MAX_BYTES, linger=linger, singly=strict_order)
            if target.fifo
            else SendBatch[Entry](size=BATCH, most_bytes=MAX_BYTES, linger=linger)
        )
        self._batcher: Batcher[Entry] = Batcher(
            "messages",
            self._send,
            size=BATCH,
            linger=linger,
            clock=clock,
            failed=self._broken,
            parallel=parallel,
            batch=self._batch,
        )
        self.retries = 0
        self._bug: BaseException | None = None

    def _broken(self, _what: str, error: BaseException) -> None:
        self._bug = self._bug or error
        self._batcher.abandon()

    def add(self, entries: Sequence[Entry]) -> None:
        """Take entries, in their order."""
        self._batcher.add(entries)

    def flush(self) -> None:
        """Send what waits, due or not."""
        self._batcher.flush()

    async def run(self) -> None:
        """Send until closed and empty."""
        await self._batcher.run()
        if self._bug is not None:
            raise self._bug

    def close(self) -> None:
        """Send everything that waits, at once; then `run` returns."""
        self._batcher.close()

    def abandon(self) -> None:
        """Drop what waits and cancel what is out; their entries are not answered."""
        self._batcher.abandon()

    async def _send(self, entries: list[Entry]) -> None:
        now = self._clock()
        for entry in entries:
            if entry.until is None:
                entry.until = now + self._timeout
        outgoing = [entry.outgoing for entry in entries]
        answers = await call_batch(self._teller, self._client.send_batch(self._url, outgoing), len(entries))
        now = self._clock()
        done: list[tuple[Entry, Sent | Exception]] = []
        again: list[Entry] = []
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, Sent):
                done.append((entry, answer))
            elif (ready := self._ready_again(entry, answer, now)) is not None:
                again.append(entry)
                self._batcher.put_back(entry, ready=ready)
            else:
                error = SqsError(answer.verdict, answer.code, answer.message, operation=SEND)
                done.append((entry, error))
        self.retries += len(again)
        if again and self._fifo:
            done = [(entry, _late(entry, answer, again)) for entry, answer in done]
        self._batch.answered(entries)
        self._answered(done)

    def _ready_again(self, entry: Entry, failure: EntryFailure, now: float) -> float | None:
        """When to try again; None: never."""
        entry.failures += 1
        pause = max(self._draw() * RETRY.ceiling(entry.failures), SHORTEST, failure.retry_after)
        assert entry.until is not None
        if failure.verdict not in RETRYABLE or now >= entry.until:
            return None
        return min(now + pause, entry.until)

    def statistics(self) -> BatcherStatistics:
        """What it holds and has done."""
        return self._batcher.statistics()

    def __repr__(self) -> str:
        return f"<Dispatcher {self._batcher!r}>"


def _late(entry: Entry, answer: Sent | Exception, again: Sequence[Entry]) -> Sent | Exception:
    """The answer; out of order if an earlier message of the group goes again."""
    overtaken = any(other.group == entry.group and other.number < entry.number for other in again)
    return replace(answer, out_of_order=True) if overtaken and isinstance(answer, Sent) else answer
