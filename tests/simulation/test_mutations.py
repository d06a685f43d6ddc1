"""A test of the tests: the simulation of FIFO queues notices each decision that is switched off.

A seed that notices a mutation is tried first. It may stop doing so when the engine changes; then others are tried.
"""

from __future__ import annotations

import pytest
from fifo_conditions import fifo_conditions_for
from fifo_simulation import simulate_fifo
from mutations import MUTATIONS

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
