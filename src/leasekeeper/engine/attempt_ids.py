"""Receives of a FIFO queue: one without an answer is repeated under its attempt id, which brings the same messages.

Without that their groups would stand still until the visibility timeout ends. SQS refuses an id for good whose receive
it has answered with an error, so every receive that was answered is followed by a new id.
"""

from __future__ import annotations

import uuid
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Protocol

from leasekeeper.errors import SqsError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.message import Received

VALID = 290.0
"""Seconds for which an id is repeated: SQS forgets it after five minutes (API reference, ReceiveMessage)."""
WAIT = 1.0
"""Seconds that a repeat waits at an empty queue: the messages, if there were any, are there at once."""
UNSENT = ("NameNotResolved", "ConnectError", "ConnectTimeout")
"""Codes of errors at which nothing was sent: a repeat at once would fail in the same way."""
MARGIN = 11.0
"""Seconds by which the visibility timeout is longer than the wait: a lost answer is noticed after the wait and 5 s, and
the leases that it brought must last longer than that."""


def shortened(wait: float, visibility: float) -> float:
    """The wait of a receive, short enough for a lost answer to be asked for again before its leases end."""
    return max(min(wait, visibility - MARGIN), min(wait, WAIT))


LATE = 2.0
"""Seconds after the end of its wait at which an answer is late: this process stood still, or the network did."""


class RepeatableReceiver(Protocol):
    """What makes receives with an attempt id: a client, or what stands for it."""

    async def receive(
        self,
        queue_url: str,
        /,
        *,
        maximum: int,
        wait: float,
        visibility: int,
        attribute_names: Sequence[str],
        attempt_id: str | None,
    ) -> list[Received]:
        """As `SqsApi.receive`."""
        ...


class RepeatedReceive:
    """Receives that survive the loss of their answer.

    The first repeat is made at once. If that has no answer either, the next receive of any poller is the next repeat.

    Messages that are read late may be another consumer's by now, so they are asked for once more: a repeat brings them
    only if their leases still hold, and renews these.

    Args:
        client: the SQS client.
        clock: seconds, monotonic.
    """

    def __init__(self, client: RepeatableReceiver, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._prefix = str(uuid.uuid4())
        self._ids = count()
        self._unanswered: deque[tuple[str, float]] = deque()
        """Ids of receives without an answer, with the times of their first use."""

    async def receive(
        self, queue_url: str, *, maximum: int, wait: float, visibility: int, attribute_names: Sequence[str]
    ) -> list[Received]:
        """As `SqsApi.receive`; an error is raised when it is the answer, or when a repeat was not answered either."""
        attempt_id, began, repeat = self._next()
        wait = shortened(wait, visibility)
        at_once, proven = not repeat, False
        while True:
            sent, waits = self._clock(), min(wait, WAIT) if repeat else wait
            try:
                batch = await self._client.receive(
                    queue_url,
                    maximum=maximum,
                    wait=waits,
                    visibility=visibility,
                    attribute_names=attribute_names,
                    attempt_id=attempt_id,
                )
            except SqsError as error:
                if error.verdict is Verdict.UNAVAILABLE and not error.status and error.code != "Closed":
                    repeat = True
                    if at_once and error.code not in UNSENT:
                        at_once = False
                        continue
                    self._unanswered.append((attempt_id, began))
                elif repeat and error.verdict is Verdict.REFUSED:  # what it brought has been changed meanwhile
                    attempt_id, began, repeat = self._next()
                    continue
                raise
            if not batch or proven or self._clock() - sent <= waits + LATE:
                return batch
            repeat = proven = True

    def _next(self) -> tuple[str, float, bool]:
        """The id of the next receive, when it was first used, and whether this is a repeat."""
        now = self._clock()
        while self._unanswered:
            attempt_id, began = self._unanswered.popleft()
            if now - began < VALID:
                return attempt_id, began, True
        return f"{self._prefix}-{next(self._ids)}", now, False

    def __repr__(self) -> str:
        return f"<RepeatedReceive {len(self._unanswered)} receives without an answer>"
