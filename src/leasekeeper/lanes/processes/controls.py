"""The leases of the messages that run in workers: what handlers ask of them, and say.

Owned by the processes lane, used on the engine's loop. Messages have the numbers that they have on the pipe.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import Closed
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.processes.frames import Lease, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.processes.frames import AsksLease, Says
    from leasekeeper.lanes.processes.tasks import Task
    from leasekeeper.lanes.processes.worker import WorkerProcess


class Controls:
    """The leases of a lane's messages.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._controls: dict[int, LeaseControl] = {}
        self._loop = asyncio.get_running_loop()

    def begin(self, task: Task[Any]) -> None:
        """The handler was called for these messages."""
        for number, row in task.rows.items():
            self._controls.setdefault(number, LeaseControl(task.say, row))

    def end(self, numbers: Iterable[int]) -> None:
        """The handler has ended for these messages, and keeps none of them."""
        for number in numbers:
            self._controls.pop(number, None)

    def give_back(self, numbers: Iterable[int]) -> None:
        """The worker that kept these messages has ended."""
        for number in numbers:
            if (control := self._controls.pop(number, None)) is not None:
                with suppress(Closed):
                    control.settle_early(retry_after=0.0)

    def says(self, worker: WorkerProcess, frame: Says) -> None:
        """A handler settles its message while it runs, or later."""
        control = self._controls.get(frame.message)
        if control is None:
            worker.send(Settled(frame.message, "lost"))
            return
        try:
            settlement = control.settle_early(retry_after=frame.retry_after)
        except (Closed, ValueError):
            worker.send(Settled(frame.message, "lost"))
            return

        def tell(how: Any) -> None:
            self._loop.call_soon_threadsafe(worker.send, Settled(frame.message, how.value))

        settlement.when_done(tell)
        if worker.withheld.pop(frame.message, None) is not None:
            self.end([frame.message])

    def tell(self, worker: WorkerProcess, frame: AsksLease) -> None:
        """Say how the lease of a message stands; of a batch: those of its messages, and then one for the batch."""
        number, task = frame.message, worker.running
        if task is not None and task.number == number and number not in task.rows:
            worker.send(*map(self._lease, task.rows, task.rows.values()), Lease(number, False, False, 0.0))
        elif task is not None and number in task.rows:
            worker.send(self._lease(number, task.rows[number]))
        else:
            worker.send(self._lease(number, worker.withheld.get(number)))

    def _lease(self, number: int, row: Delivery | None) -> Lease:
        if row is None:
            return Lease(number, lost=True, capped=False, deadline=self._clock())
        return Lease(number, row.lost, row.capped, row.lease.deadline)
