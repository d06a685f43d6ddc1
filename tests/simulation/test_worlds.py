"""Simulated worlds: consumers keep the lease contract under conditions that are drawn from a seed.

`LEASEKEEPER_WORLDS=2000 pytest tests/simulation` runs more of them: half of them have a standard queue, and half a FIFO
queue. A failure says how to repeat its seed. `soak/engine/test_worlds_at_length.py` runs others.
"""

from __future__ import annotations

import os

import pytest
from conditions import conditions_for
from fifo_conditions import Kind, fifo_conditions_for
from fifo_simulation import simulate_fifo
from seeds import run_fifo, run_standard

from leasekeeper.core.ledger import Ledger
from simulation import Result, simulate

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))
IN_A_TEST = 3

SEEDS = pytest.mark.parametrize("first", range(0, WORLDS // 4, IN_A_TEST))
FIFO_SEEDS = pytest.mark.parametrize("first", range(0, WORLDS // 8, IN_A_TEST))


@SEEDS
def test_without_faults_nothing_is_handled_twice_lost_or_left_unsettled(first: int) -> None:
    """L1-L4, L6, L8, L20, L22, L29: slow networks, failing and slow handlers, any options, a stop at any moment."""
    for seed in range(first, first + IN_A_TEST):
        result = run_standard(seed, faulty=False)
        assert result.repeated == 0


@SEEDS
def test_with_faults_nothing_is_lost_and_what_is_handled_twice_is_explained(first: int) -> None:
    """L1, L7, L8, L12, L15, L20, L22, L29: throttles, 5xx, resets, lost answers, black holes, duplicates."""
    for seed in range(first, first + IN_A_TEST):
        run_standard(seed, faulty=True)


@FIFO_SEEDS
@pytest.mark.parametrize("kind", Kind)
def test_a_fifo_queue_is_handled_in_order(first: int, kind: Kind) -> None:
    """L25-L29: the order of first successes, one handler of a group at a time, nothing lost, no group stands still."""
    for seed in range(first, first + IN_A_TEST):
        run_fifo(seed, kind)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_repeats_its_result_on_a_fifo_queue(seed: int) -> None:
    first, second = (simulate_fifo(fifo_conditions_for(seed, Kind.EVERYTHING)) for _ in range(2))
    assert len(first.record.trace) > 10
    assert first.record.trace == second.record.trace
    assert first.calls == second.calls


@pytest.mark.slow
def test_the_fifo_worlds_together_meet_what_they_are_meant_to_meet() -> None:
    """Leases end in the middle of runs, consumers die, work is repeated, and messages become dead letters."""
    missing = {"start", "done", "fail", "lapse", "kill", "suspend", "stop", "force", "withhold", "ack", "reject"}
    missing |= {"repeated", "rejected"}
    for seed in range(300, 330):
        result = simulate_fifo(fifo_conditions_for(seed, Kind.EVERYTHING))
        missing -= {what for _, what, _, _ in result.record.trace}
        missing -= {"repeated"} if result.repeated else set()
        missing -= {"rejected"} if any(report.rejected for report in result.reports) else set()
        if not missing:
            return
    pytest.fail(f"not met in 30 worlds: {missing}")


@pytest.mark.parametrize("seed", [1, 2, 3, 849])
@pytest.mark.parametrize("faulty", [False, True])
def test_a_seed_repeats_its_result(seed: int, *, faulty: bool) -> None:
    first, second = (simulate(conditions_for(seed, faulty=faulty)) for _ in range(2))
    assert len(first.trace) > 10
    assert first.trace == second.trace
    assert first.reports == second.reports
    assert first.calls == second.calls


def test_different_seeds_give_different_results() -> None:
    assert simulate(conditions_for(1, faulty=True)).trace != simulate(conditions_for(2, faulty=True)).trace


@pytest.mark.slow
def test_the_worlds_together_meet_what_they_are_meant_to_meet() -> None:
    """A simulation in which nothing goes wrong proves nothing: leases are lost, work is repeated, much is released."""
    counted = {"failed", "retried", "rejected", "exhausted", "released", "lost", "unsettled", "known_duplicates"}
    missing = {"acked", "repeated", *counted}
    for seed in range(100, 140):
        result = simulate(conditions_for(seed, faulty=True))
        missing -= {"repeated"} if result.repeated else set()
        missing -= {name for name in missing for report in result.reports if getattr(report, name, 0) > 0}
        if not missing:
            return
    pytest.fail(f"not met in 40 worlds: {missing}")


def test_a_result_says_what_broke_the_contract() -> None:
    """A check that finds nothing in a broken result proves nothing."""
    result = Result(conditions_for(1, faulty=False))
    assert result.violations == []
    result.succeeded.update(["a", "a"])
    result.stopping = 1e6
    result.observed.append("b was lost")
    assert [each.split()[0] for each in result.violations] == ["b", "1", "the"]


def test_a_back_off_that_an_extension_undoes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """L5: here the lease of a release may end before the release is answered, and nothing repeats it."""
    monkeypatch.setattr(Ledger, "release_sent", lambda *_: None)
    assert any("back-off" in violation for violation in simulate(conditions_for(18, faulty=True)).violations)
