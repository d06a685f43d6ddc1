"""The capacity of a consumer whose message groups take turns: it receives a few messages more, to have a choice.

Owned by the runner. It promises that messages which wait only because their group has all its handlers take no handler
from others, and that no more than `MOST_LIMITED` of them are held. Then receives ask for as few messages as may still
come: SQS gives those of other groups first when one group has many in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.engine.limited_capacity import LimitedCapacity

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from leasekeeper.core.gate import Gate
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.options import Options

CHOICE = 40
"""Messages that may wait here at least. A group with 30 in flight is noisy to SQS, which then gives others first."""
MOST_LIMITED = 100
"""Messages that are held at most while their groups have all the handlers they may have. Their leases cost calls."""


class FairCapacity(LimitedCapacity):
    """Slots of handlers, and of messages to choose from.

    Args:
        options: as `Capacity`; its `prefetch` sets how many messages may wait.
        throttler: as `Capacity`.
        in_flight: as `Capacity`.
        gate: says how many may start, and how many wait for their groups.
        clock: seconds, monotonic.
    """

    def __init__(
        self, options: Options, throttler: Throttler, in_flight: Sized, gate: Gate, clock: Callable[[], float]
    ) -> None:
        super().__init__(options, throttler, in_flight, gate, clock)
        self._handlers = options.slots
        self._choice = CHOICE if options.prefetch is None else options.prefetch
        self._caps_groups = options.group_concurrency is not None

    def resize(self, options: Options) -> None:
        """Take other bounds; what is held stays."""
        self._handlers = options.slots
        super().resize(options)

    def _left(self) -> int:
        # What waits for its group takes no slot: the slots grow with it. And a receive waits for no whole batch of
        # slots here, as it does behind busy handlers elsewhere: a message of another group may start next.
        self._at_work = self._handlers + self._gate.line.limited + max(self._choice, self._throttler.prefetch)
        slots = self._at_work + self.waiting
        return min(slots - self.taken, self._most - len(self._in_flight), self._allowed())

    def _promised(self) -> int:
        """How many more messages may be asked for by rate; there is always a choice."""
        gate = self._gate
        return max(super()._promised(), self._choice - (gate.waiting - gate.line.limited) - self.polling)

    def _allowed(self) -> int:
        allowed = self._promised()
        if self._caps_groups:
            allowed = min(allowed, MOST_LIMITED - self._gate.line.limited - self.polling)
        return allowed
