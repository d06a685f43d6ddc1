"""Simulated worlds of batch handlers, on standard and FIFO queues: no outcome is lost, and no order is broken.

`LEASEKEEPER_WORLDS=1000 pytest tests/simulation` runs more of them.
"""

from __future__ import annotations

import os

import pytest
from batch_simulation import BatchSimulation, simulate_batches

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))
IN_A_TEST = 3


def _run(seed: int, *, faulty: bool) -> BatchSimulation:
    result = simulate_batches(seed, faulty=faulty)
    assert not result.violations, (
        f"seed {seed}: {'; '.join(result.violations)}\nTo repeat it, in tests/simulation:\n"
        f"  from batch_simulation import simulate_batches\n"
        f"  result = simulate_batches({seed}, faulty={faulty})\nfifo={result.fifo} {result.options}"
    )
    return result


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("first", range(0, WORLDS // 2, IN_A_TEST))
def test_batches_keep_the_contract(first: int, *, faulty: bool) -> None:
    """L1, L6, L8, L20, L22, L23, L25, L26: any options, outcomes of every kind, a stop at any moment."""
    for seed in range(first, first + IN_A_TEST):
        _run(seed, faulty=faulty)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_repeats_its_result(seed: int) -> None:
    first, second = (simulate_batches(seed, faulty=True) for _ in range(2))
    assert len(first.trace) > 5
    assert (first.trace, first.reports) == (second.trace, second.reports)
