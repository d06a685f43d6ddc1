"""One world of a seed, run to its end; a failure says what was broken, and how to repeat the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_simulation import BatchSimulation, simulate_batches
from conditions import conditions_for
from fifo_conditions import fifo_conditions_for
from fifo_simulation import FifoResult, simulate_fifo

from simulation import Result, simulate

if TYPE_CHECKING:
    from fifo_conditions import Kind


def run_standard(seed: int, *, faulty: bool) -> Result:
    """A world with a standard queue."""
    result = simulate(conditions_for(seed, faulty=faulty))
    assert not result.violations, (
        f"seed {seed}: {'; '.join(result.violations)}\nTo repeat it, in tests/simulation:\n"
        f"  from conditions import conditions_for\n"
        f"  from simulation import simulate\n"
        f"  result = simulate(conditions_for({seed}, faulty={faulty}))\n{result.conditions}"
    )
    return result


def run_fifo(seed: int, kind: Kind) -> FifoResult:
    """A world with a FIFO queue."""
    result = simulate_fifo(fifo_conditions_for(seed, kind))
    assert not result.violations, (
        f"seed {seed}: {'; '.join(result.violations)}\nTo repeat it, in tests/simulation:\n"
        f"  from fifo_conditions import Kind, fifo_conditions_for\n"
        f"  from fifo_simulation import simulate_fifo\n"
        f"  result = simulate_fifo(fifo_conditions_for({seed}, {kind}))\n{result.conditions}"
    )
    return result


def run_batches(seed: int, *, faulty: bool) -> BatchSimulation:
    """A world of batch handlers."""
    result = simulate_batches(seed, faulty=faulty)
    assert not result.violations, (
        f"seed {seed}: {'; '.join(result.violations)}\nTo repeat it, in tests/simulation:\n"
        f"  from batch_simulation import simulate_batches\n"
        f"  result = simulate_batches({seed}, faulty={faulty})\nfifo={result.fifo} {result.options}"
    )
    return result
