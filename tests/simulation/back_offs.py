"""Back-offs as the server sees them: the last visibility change of a message that was given back is its release (L5).

Owned by a simulation. The server tells which change of a receipt took effect last; the ledger tells which messages were
given back, and when they should become visible. If an extension took effect after the last release, it has undone the
back-off.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from leasekeeper.core.ledger import Ledger
from leasekeeper.engine.extender import ROUNDING
from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.testing.world import World

CHANGE = "ChangeMessageVisibilityBatch"


class Change(NamedTuple):
    """A visibility change that took effect."""

    seconds: int
    sent: float
    at: float

    def releases(self, row: Delivery) -> bool:
        """Whether it makes the message visible when its consumer wanted that."""
        return self.seconds == max(0, math.ceil(row.visible_at - self.sent - ROUNDING))


class BackOffs:
    """Compares what a world's consumers wanted with what the server did.

    Args:
        world: where they work.
        longest: seconds that a visibility change takes at most. A back-off that ends before an extension was answered
            and the release has come once more is left as it is: another consumer may have the message then.
    """

    def __init__(self, world: World, *, longest: float) -> None:
        self._longest = longest
        self._broker = world.broker
        self._sent: dict[int, tuple[dict[str, Any], float]] = {}
        """The entries of changes that were sent, by their `id`, and when."""
        self._tried: dict[str, list[Change]] = {}
        """The changes of each receipt that were sent; when they took effect, if at all, is not known here."""
        self._changed: dict[str, list[Change]] = {}
        """The changes of each receipt, in the order in which they took effect."""
        self._wanted: dict[str, Delivery] = {}
        """The messages that were given back, by the receipt that was used."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the server and all ledgers meanwhile."""
        start, perform, end = self._broker.start, self._broker.perform, Ledger._end

        def send(operation: str, request: dict[str, Any]) -> Any:
            if operation == CHANGE:
                now = asyncio.get_running_loop().time()
                for entry in request["Entries"]:
                    self._sent[id(entry)] = entry, now
                    tried = Change(entry["VisibilityTimeout"], now, math.inf)
                    self._tried.setdefault(entry["ReceiptHandle"], []).append(tried)
            return start(operation, request)

        def take_effect(operation: str, request: dict[str, Any]) -> Any:
            answer = perform(operation, request)
            if operation == CHANGE:
                assert isinstance(answer, dict)
                done = {each["Id"] for each in answer.get("Successful", ())}
                for entry in request["Entries"]:
                    if entry["Id"] in done:
                        sent, now = self._sent[id(entry)][1], asyncio.get_running_loop().time()
                        change = Change(entry["VisibilityTimeout"], sent, now)
                        self._changed.setdefault(entry["ReceiptHandle"], []).append(change)
            return answer

        def note(ledger: Ledger, rows: Sequence[Delivery], settled: Settled, counted: str | None = None) -> None:
            if settled is Settled.RELEASED:
                self._wanted.update((row.receipt, row) for row in rows)
            end(ledger, rows, settled, counted)

        with (
            mock.patch.object(self._broker, "start", send),
            mock.patch.object(self._broker, "perform", take_effect),
            mock.patch.object(Ledger, "_end", note),
        ):
            yield

    def undone(self) -> Iterator[str]:
        """The back-offs that an extension has undone, in words."""
        for receipt, row in self._wanted.items():
            changes = self._changed.get(receipt, [])
            if not any(change.releases(row) for change in changes):
                continue
            last = changes[-1]
            if last.releases(row) or row.visible_at <= last.at + self._longest or self._is_late(receipt, row, last):
                continue
            yield f"a back-off of {row.received.body} was undone: {last}, not until {row.visible_at}"

    def _is_late(self, receipt: str, row: Delivery, last: Change) -> bool:
        """Whether its release was sent once more, and the network is too slow for that: SQS had shown the message."""
        again = any(tried.sent > last.at and tried.releases(row) for tried in self._tried[receipt])
        return again and last.seconds <= 2 * self._longest  # the answer to the extension, and then the release
