"""The seam between the engine and where handlers run: coroutines and threads today, processes next.

A lane is given deliveries and answers each with an `Outcome`, exactly once. It never acknowledges, extends or releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome


class Answer(msgspec.Struct, gc=False, frozen=True):
    """What a lane, or a handler through its message, says of a delivery.

    A struct: made at each message, in a third of the time of a named tuple.
    """

    delivery: Delivery
    outcome: Outcome
    final: bool = True
    """Whether the handler has ended; False for what a handler says of its message while it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatistics:
    """What a lane is doing now."""

    running: int
    """Handlers at work."""
    waiting: int
    """Deliveries that wait for a worker, a permit or a thread."""
    workers: int
    """Workers hired or threads started; tasks for a semaphore."""


class Lane(Protocol):
    """Where handlers run. All methods are called on the engine's loop."""

    def submit(self, deliveries: Sequence[Delivery]) -> bool:
        """Run the handler for each, or let them wait until it can be run. False: nothing can be run here any more."""
        ...

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits."""
        ...

    def end(self, delivery: Delivery | None = None) -> bool:
        """End the handler of that delivery, or of all (None): it answers `Ended`. False: this lane cannot."""
        ...

    async def close(self) -> None:
        """Give back workers; nothing is submitted afterwards."""
        ...

    def statistics(self) -> LaneStatistics:
        """What it is doing now."""
        ...
