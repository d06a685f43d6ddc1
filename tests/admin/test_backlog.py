"""What a state says of a backlog: how long it takes, and nothing of that while nothing is handled."""

from __future__ import annotations

import pytest

from leasekeeper import Consumer
from leasekeeper.admin.process import consumer_state
from leasekeeper.engine.queue_counts import QueueCounts
from leasekeeper.observe.rates import RECENT, Sample
from leasekeeper.observe.recorder import Recorder


async def ship(body: str) -> None:
    """Never called."""


@pytest.mark.parametrize(("silent", "seconds"), [(RECENT, 15.0), (RECENT + 1, None)])
def test_a_backlog_has_no_time_while_nothing_is_handled(silent: int, seconds: float | None) -> None:
    """The rate of the last minute would promise a time for long after an outage has begun."""
    recorder = Recorder(consumer := Consumer("orders", ship, region="us-east-1"))
    recorder.backlog.add(0.0, QueueCounts(visible=120, in_flight=0, delayed=0, dead_letters=None))
    for second in range(20 + silent + 1):
        recorder.rates.add(Sample(float(second), 200, 10 * min(second, 20), 0, second))

    state = consumer_state(consumer, recorder, recorder.last)

    assert state["backlog"] is not None
    assert state["backlog"]["seconds"] == seconds
