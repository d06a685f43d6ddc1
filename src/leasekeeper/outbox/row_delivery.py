"""The delivery of rows: locked rows of one queue, sent ten to a call, and what became of each.

Owned by a relay, one for each queue. It promises that after a row which could not be sent nothing of its group is sent
in the same delivery, and that a row which SQS refuses for itself stops no other row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from leasekeeper.api import BATCH, MAX_BYTES, EntryFailure, Sent
from leasekeeper.engine.calls import call_batch
from leasekeeper.errors import ConfigurationError, Verdict
from leasekeeper.outbox.rows import message_of
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.events import Event
    from leasekeeper.outbox.rows import Ready, Row
    from leasekeeper.sending.outgoing import TargetQueue

    Line = deque[Ready]


class Delivered:
    """What became of the rows of a delivery; those that are in none of these were not tried.

    Attributes:
        confirmed: rows that SQS has.
        refused: rows that it will never take, each with the reason.
        again: rows to be tried again, each with the error.
        large: rows with a payload that has to go to S3 first.
        stopped: the error, if nothing of this queue can be sent now.
        retry_after: seconds that the server asks to wait.
        calls: that were made.
    """

    def __init__(self) -> None:
        self.confirmed: list[Row] = []
        self.refused: list[tuple[Row, str]] = []
        self.again: list[tuple[Row, str]] = []
        self.large: list[Row] = []
        self.stopped = ""
        self.retry_after = 0.0
        self.calls = 0


class _Teller(NamedTuple):
    queue: str
    emit: Callable[[Event], None]


class RowDelivery:
    """Sends rows to one queue.

    Args:
        client: of SQS.
        url: the queue's.
        target: the queue, as far as it matters for messages.
        parallel: calls out at once.
        strict_order: whether a call has one message of a group at most.
        emit: told of bugs.

    Attributes:
        target: as given.
    """

    def __init__(
        self,
        client: SqsApi,
        url: str,
        target: TargetQueue,
        *,
        parallel: int,
        strict_order: bool,
        emit: Callable[[Event], None],
    ) -> None:
        self._client = client
        self._url = url
        self.target = target
        self._slots = asyncio.Semaphore(parallel)
        self._most = 1 if strict_order else BATCH
        self._teller = _Teller(target.name, emit)

    async def deliver(self, rows: Sequence[Row], goes_on: Callable[[], bool]) -> Delivered:
        """Send rows, those of a group in the given order, as long as `goes_on` says so; the rest is not tried."""
        delivered = Delivered()
        lines = self._lines(rows, delivered)
        while lines and not delivered.stopped and goes_on():
            calls = _next_calls(lines, self._most)
            await asyncio.gather(*(self._call(call, lines, delivered) for call in calls))
            for key in [key for key, line in lines.items() if not line]:
                del lines[key]
        return delivered

    def _lines(self, rows: Sequence[Row], delivered: Delivered) -> dict[object, Line]:
        """What may go only one after the other: the messages of a group; on a standard queue each one is alone."""
        lines: dict[object, Line] = {}
        behind: set[str | None] = set()  # groups with rows that wait for a payload
        for row in rows:
            if row.group in behind:
                continue
            try:
                ready = message_of(row, self.target)
            except ConfigurationError as error:
                delivered.refused.append((row, str(error)))
            except Exception as error:  # any program may write rows: one that we cannot read stops no other
                delivered.refused.append((row, f"it is no message: {type(error).__name__}: {safe_str(error)}"))
            else:
                if ready is not None:
                    lines.setdefault(row.group if self.target.fifo else row.id, deque()).append(ready)
                    continue
                delivered.large.append(row)
                if self.target.fifo:
                    behind.add(row.group)
        return lines

    async def _call(self, call: Sequence[Ready], lines: dict[object, Line], delivered: Delivered) -> None:
        answered = False

        async def send() -> list[Sent | EntryFailure]:
            nonlocal answered
            answers = await self._client.send_batch(self._url, [ready.outgoing for ready in call])
            answered = len(answers) == len(call)
            return answers

        async with self._slots:
            delivered.calls += 1
            answers = await call_batch(self._teller, send(), len(call))
        first = answers[0]
        if answered or not isinstance(first, EntryFailure):
            pass
        elif first.verdict is not Verdict.REFUSED:
            delivered.stopped = f"{first.code}: {first.message}"
        elif len(call) > 1:  # one of them may be why: each goes alone
            await self._call_each(call, lines, delivered)
            return
        for ready, answer in zip(call, answers, strict=True):
            self._note(ready.row, answer, lines, delivered)

    async def _call_each(self, call: Sequence[Ready], lines: dict[object, Line], delivered: Delivered) -> None:
        for ready in call:
            failed = {row.group for row, _ in delivered.again} if self.target.fifo else ()
            if ready.row.group not in failed and not delivered.stopped:
                await self._call([ready], lines, delivered)

    def _note(self, row: Row, answer: Sent | EntryFailure, lines: dict[object, Line], delivered: Delivered) -> None:
        if isinstance(answer, Sent):
            delivered.confirmed.append(row)
            return
        sentence = f"{answer.code}: {answer.message}"
        if answer.verdict is Verdict.REFUSED:
            delivered.refused.append((row, sentence))
            return
        delivered.again.append((row, sentence))
        delivered.retry_after = max(delivered.retry_after, answer.retry_after)
        if self.target.fifo:
            lines[row.group] = deque()  # the rest of its group waits for it, and stays in the table


def _next_calls(lines: dict[object, Line], most: int) -> list[list[Ready]]:
    """The calls that may go side by side: each group is in one of them, with at most `most` messages."""
    calls: list[list[Ready]] = []
    call: list[Ready] = []
    room = MAX_BYTES
    for line in lines.values():
        taken = 0
        while line and taken < most:
            if len(call) == BATCH or line[0].size > room:
                if taken:
                    break  # the rest of the group waits for the answer about this part
                calls.append(call)
                call, room = [], MAX_BYTES
            ready = line.popleft()
            call.append(ready)
            room -= ready.size
            taken += 1
    if call:
        calls.append(call)
    return calls
