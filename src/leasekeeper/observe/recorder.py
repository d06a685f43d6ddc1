"""The recorder: what happened lately in one consumer, for the page, `leasekeeper top` and the scaling advice.

Made by the admin surface, one for each consumer; without a surface there is none. It pulls counts once a second and
subscribes to nothing that comes more often than once a batch, so a message pays next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasekeeper.observe.rates import Rates, Sample

if TYPE_CHECKING:
    from leasekeeper.observe.statistics import ConsumerStatistics


class Recorder:
    """What happened lately in one consumer.

    Attributes:
        rates: of the last minute.
        last: the statistics of the last look; None before the start.
    """

    def __init__(self) -> None:
        self.rates = Rates()
        self.last: ConsumerStatistics | None = None

    def look(self, now: ConsumerStatistics | None, at: float) -> None:
        """Take the statistics of this second."""
        self.last = now
        if now is None:
            return
        self.rates.add(
            Sample(
                at=at,
                received=now.receives.messages,
                done=now.work.done,
                failed=now.work.failed,
                calls=calls_of(now),
            )
        )


def calls_of(now: ConsumerStatistics) -> int:
    """Calls to SQS since the start."""
    batches = (now.deletes, now.extensions, now.releases)
    return now.receives.calls + now.receives.failed + sum(each.calls for each in batches)
