"""What a sender has accepted and not yet answered, and who waits for it.

Owned by the sender's loop. It promises that each entry is answered once, and that its place is free before its caller
hears of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.api import Sent
from leasekeeper.loggers import safe_logger
from leasekeeper.sending.flushes import Flush, Flushes
from leasekeeper.sending.unsent import FailedPosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.errors import Unsent
    from leasekeeper.sending.dispatcher import Entry
    from leasekeeper.sending.room import Room
    from leasekeeper.sending.settings import SendSettings

log = safe_logger("leasekeeper.send")


class Accepted:
    """The entries of one sender, from acceptance to answer.

    Attributes:
        sent: entries that SQS has confirmed.
        failed: entries that could not be sent.
    """

    def __init__(self, queue: str, room: Room, settings: SendSettings) -> None:
        self.sent = self.failed = 0
        self._queue = queue
        self._room = room
        self._on_error = settings.on_error
        self._entries: dict[Entry, None] = {}
        self._unsent = FailedPosts()
        self._flushes = Flushes(queue, settings.flush_timeout, self._unsent)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Sequence[Entry]) -> None:
        """Remember these until they are answered."""
        self._entries.update(dict.fromkeys(entries))

    def flush(self, flush: Flush) -> None:
        """Let a flush wait for all entries."""
        self._flushes.begin(flush, self._entries)

    def answered(self, done: Sequence[tuple[Entry, Sent | Exception]]) -> None:
        """Give the places back, and tell the callers, who may send at once."""
        self._room.give_back(len(done), sum(entry.held for entry, _ in done))
        failures: list[Exception] = []
        for entry, found in done:
            self._entries.pop(entry, None)
            if isinstance(found, Sent):
                self.sent += 1
            else:
                failures.append(found)
                self._note_failure(entry, found)
            if entry.answer is not None:
                entry.answer(found)
        self._flushes.answered(entry for entry, _ in done)
        if failures:
            messages = "1 message was" if len(failures) == 1 else f"{len(failures)} messages were"
            log.error("queue %s: %s not sent: %s", self._queue, messages, failures[0])

    def _note_failure(self, entry: Entry, error: Exception) -> None:
        self.failed += 1
        if entry.answer is not None:
            return
        self._unsent.note(entry.outgoing, error)
        if self._on_error is not None:
            try:
                self._on_error(entry.outgoing, error)
            except BaseException:  # also `sys.exit()` of the user's function must not end the sending of others
                log.exception("queue %s: on_error raised; the sender goes on", self._queue)

    def give_up(self, error: Exception) -> None:
        """Answer everything that is left with this error, and end every flush."""
        if self._entries:
            self.answered([(entry, error) for entry in list(self._entries)])
        self._flushes.end_all()

    def take_failed(self) -> Unsent | None:
        """The posts that failed since the last flush, as one error; None if there are none."""
        return self._unsent.take(self._queue)
