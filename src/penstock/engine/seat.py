"""The seat: what every shell of one runner works with. Made by the runner, changed by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from penstock.core.ledger import Ledger
    from penstock.observe.tally import Tally
    from penstock.options import Options
    from penstock.sqs.api import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One queue, one client, one ledger, one clock.

    Attributes:
        queue: the queue's name.
        clock: seconds, monotonic; the same for engine and lanes.
        wall: epoch seconds, for comparing with what SQS says of times.
        draw: random numbers from 0 to 1, for jitter.
    """

    queue: str
    queue_url: str
    client: Queue
    ledger: Ledger
    options: Options
    tally: Tally
    clock: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]
    logger: logging.Logger
