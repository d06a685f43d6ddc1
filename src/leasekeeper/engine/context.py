"""The context: what every part of one runner works with. Made by the runner, changed by nothing.

No part knows the runner, and those that call SQS do not know each other. They ask for what they need through `act` and
`moved`, and tell what happened through `emit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.core.delivery import Action, Delivery
    from leasekeeper.core.ledger import Ledger
    from leasekeeper.engine.health import Health
    from leasekeeper.engine.outage import StoreOutage
    from leasekeeper.events import Event
    from leasekeeper.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQueue:
    """The queue that a runner consumes.

    Attributes:
        name: for people.
        url: as SQS gave it.
        arn: as SQS gave it; empty when its attributes could not be read.
        dead_letter_url: where rejected messages are copied; None: nowhere.
        max_receives: the redrive policy's `maxReceiveCount`; None: unknown, or no redrive policy.
        fifo: whether it is a FIFO queue, by its attributes or its name (L27).
    """

    name: str
    url: str
    arn: str = ""
    dead_letter_url: str | None = None
    max_receives: int | None = None
    fifo: bool = False


class Detail:
    """How much the engine measures.

    Attributes:
        every: whether every message is measured, for histograms, and not only as many as a median needs.
    """

    __slots__ = ("every",)

    def __init__(self) -> None:
        self.every = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueContext:
    """One queue, one client, one ledger, one clock.

    Attributes:
        queue: the queue's name.
        act: has an action carried out for deliveries: deleted, given back, copied.
        moved: to be called when leases were added or moved.
        left: to be called when messages may have left the ledger.
        emit: tells subscribers what happened; never raises.
        clock: seconds, monotonic; the same for engine and lanes.
        wall: epoch seconds, to compare with times that SQS states.
        draw: random numbers from 0 to 1, for jitter.
        outage: of the stores of idempotency keys and payloads; None: the consumer has none.
        detail: how much is measured; an exporter of metrics may change it at any time.
    """

    queue: str
    source: SourceQueue
    client: SqsApi
    ledger: Ledger
    health: Health
    options: Options
    act: Callable[[Action, Sequence[Delivery]], None]
    moved: Callable[[], None]
    left: Callable[[], None]
    emit: Callable[[Event], None]
    clock: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]
    outage: StoreOutage | None = None
    detail: Detail = field(default_factory=Detail)
