"""A test of the tests: the simulation of FIFO queues notices each decision that is switched off.

A seed that notices a mutation is tried first. It may stop doing so when the engine changes; then others are tried.
"""

from __future__ import annotations

from unittest import mock

import pytest
from fifo_conditions import fifo_conditions_for
from fifo_simulation import simulate_fifo
from mutations import MUTATIONS
from thread_simulation import simulate_threads

from leasekeeper.engine import group_worker

SEEDS = 120
"""How many further seeds are tried."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulation_notices_that(name: str) -> None:
    kind, first, mutation = MUTATIONS[name]
    assert simulate_fifo(fifo_conditions_for(first, kind)).violations == []
    with mutation():
        for seed in (first, *range(SEEDS)):
            if simulate_fifo(fifo_conditions_for(seed, kind)).violations:
                return
    pytest.fail(f"{SEEDS} worlds of {kind} do not notice: {mutation.__doc__}")


def test_the_simulation_of_threads_notices_that_an_early_ack_is_sent_at_a_time_out() -> None:
    """L25: it unlocks the group, and another process runs the next message beside the thread."""
    seeds = range(6)
    assert [simulate_threads(seed) for seed in seeds] == [[] for _ in seeds]
    with mock.patch.object(group_worker, "_goes_on_acked", return_value=False):
        assert any(simulate_threads(seed) for seed in seeds)
