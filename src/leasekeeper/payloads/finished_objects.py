"""The objects of messages that SQS has deleted: deleted as well, unless there is a doubt.

Owned by one consumer with `payloads=`, used on its loop. Made before the ledger, which tells it what was deleted, and
opened by the lane of payloads. It promises that an object is deleted only after SQS has confirmed the delete of its
message within the lease, and not while a handler may still read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.payload import Offloaded
from leasekeeper.payloads.deletes import Deletes
from leasekeeper.payloads.stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.payloads.api import ObjectStore


class FinishedObjects:
    """Has the objects of finished messages deleted, once it is open.

    Args:
        queue: the queue's name, for the log.
        visibility: seconds of a lease.
        clock: seconds, monotonic; that of the engine.

    Attributes:
        stalls: when this process stood still.
    """

    def __init__(self, queue: str, visibility: float, clock: Callable[[], float]) -> None:
        self._queue = queue
        self.stalls = Stalls(visibility, clock)
        self._deletes: Deletes | None = None
        self._reading: dict[Delivery, tuple[str, str] | None] = {}
        """Messages with handlers that read their payloads; with the object, once it may be deleted."""

    def begin_reading(self, row: Delivery) -> None:
        """A handler is going to read the payload: the object stays until `end_reading`, also after an early ack."""
        self._reading[row] = None

    def end_reading(self, row: Delivery) -> None:
        """The handler has ended, or does not run."""
        found = self._reading.pop(row, None)
        if found is not None and self._deletes is not None:
            self._deletes.add([found])

    def open(self, store: ObjectStore) -> None:
        """Delete objects from now on. What never opens it keeps them all."""
        self._deletes = Deletes(store, self._queue)
        self.stalls.watch()

    def acked(self, rows: Sequence[Delivery]) -> None:
        """SQS has deleted these within their leases: delete their objects, if there is no doubt about that.

        Those that have a copy keep theirs, and so do messages whose answer may have lain unread in a stopped process:
        others may have received them since, and SQS also confirms deletes with an older receipt.
        """
        if self._deletes is not None:
            stalled_since = self.stalls.any_since
            done: list[tuple[str, str]] = []
            for row in rows:
                if isinstance(row.received, Offloaded) and row.failure is None and not stalled_since(row.requested_at):
                    place = row.received.bucket, row.received.key
                    if row in self._reading:
                        self._reading[row] = place
                    else:
                        done.append(place)
            self._deletes.add(done)

    def rest(self) -> None:
        """Note no more stalls."""
        self.stalls.close()

    async def close(self) -> None:
        """Delete what waits, at once."""
        if self._deletes is not None:
            await self._deletes.close()

    def __repr__(self) -> str:
        return f"<FinishedObjects {self._deletes!r}>"
