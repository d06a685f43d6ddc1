"""The context: what every shell of one runner works with. Made by the runner, changed by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from leasekeeper.api import SqsApi
    from leasekeeper.core.ledger import Ledger
    from leasekeeper.observe.tally import Tally
    from leasekeeper.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueContext:
    """One queue, one client, one ledger, one clock.

    Attributes:
        queue: the queue's name.
        clock: seconds, monotonic; the same for engine and lanes.
        wall: epoch seconds, for comparing with what SQS says of times.
        draw: random numbers from 0 to 1, for jitter.
    """

    queue: str
    queue_url: str
    client: SqsApi
    ledger: Ledger
    options: Options
    tally: Tally
    clock: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]
    logger: logging.Logger


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQueue:
    """The queue a runner works on.

    Attributes:
        name: for people.
        url: as SQS gave it.
        dead_letter_url: where rejected messages are copied; None: nowhere.
    """

    name: str
    url: str
    dead_letter_url: str | None = None
