"""Simulated worlds of the processes lane, single messages and batches: a death costs what it may, and nothing else.

`LEASEKEEPER_WORLDS=1000 pytest tests/simulation` runs more of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from process_simulation import ProcessSimulation, simulate_processes

from leasekeeper.lanes.processes.deaths import Deaths
from leasekeeper.lanes.processes.lane import ProcessLane
from leasekeeper.lanes.processes.tasks import BatchTask
from leasekeeper.outcomes import DONE

if TYPE_CHECKING:
    from leasekeeper.lanes.processes.worker import WorkerProcess

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "20"))
IN_A_TEST = 5


def run(seed: int, *, faulty: bool) -> ProcessSimulation:
    """One world; a failure says how to repeat it."""
    result = simulate_processes(seed, faulty=faulty)
    assert not result.violations, (
        f"seed {seed}: {'; '.join(result.violations)}\nTo repeat it, in tests/simulation:\n"
        f"  from process_simulation import simulate_processes\n"
        f"  result = simulate_processes({seed}, faulty={faulty})\nfifo={result.fifo} {result.options}"
    )
    return result


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("first", range(0, WORLDS // 2, IN_A_TEST))
def test_the_processes_lane_keeps_the_contract(first: int, *, faulty: bool) -> None:
    """L1, L6, L9, L20, L22, L25, L26: workers that die, hang and answer late, a stop at any moment."""
    for seed in range(first, first + IN_A_TEST):
        run(seed, faulty=faulty)


def test_a_seed_repeats_its_result() -> None:
    first, second = (simulate_processes(2, faulty=True) for _ in range(2))
    assert len(first.trace) > 5
    assert first.trace == second.trace


# Rules that are broken

DIED, OUTCOME, BATCH_DIED = ProcessLane._died, Deaths.outcome, BatchTask.died


def _death_is_not_counted(self: Deaths, message_id: str, why: str) -> Any:
    found = OUTCOME(self, message_id, why)
    self._counts.pop(message_id, None)
    return found


def _answer_of_a_dead_worker_counts(self: ProcessLane[Any], worker: WorkerProcess, why: str) -> None:
    running, waiting = worker.running, worker.waiting
    DIED(self, worker, why)
    worker.running, worker.waiting = running, waiting


def _waiting_is_forgotten(self: ProcessLane[Any], worker: WorkerProcess, why: str) -> None:
    worker.waiting = {}
    DIED(self, worker, why)


def _running_is_forgotten(self: ProcessLane[Any], worker: WorkerProcess, why: str) -> None:
    worker.running = None
    DIED(self, worker, why)


def _all_of_the_call_are_charged(self: BatchTask, outcome_of: Any, *, alone: bool) -> Any:
    return BATCH_DIED(self, outcome_of, alone=False)


def _dead_batch_is_done(self: BatchTask, *_: Any, **__: Any) -> Any:
    return DONE


MUTATIONS: dict[str, tuple[Any, str, Any, str]] = {
    "a death is not counted": (Deaths, "outcome", _death_is_not_counted, "has ended 4 processes alone"),
    "an answer of a dead worker counts": (
        ProcessLane,
        "_died",
        _answer_of_a_dead_worker_counts,
        "was deleted, but was never",
    ),
    "what waited in a dead worker is forgotten": (ProcessLane, "_died", _waiting_is_forgotten, "slots are taken"),
    "what ran in a dead worker is forgotten": (ProcessLane, "_died", _running_is_forgotten, "slots are taken"),
    "a time-out ends nothing": (ProcessLane, "_time_out", lambda *_: None, "are never finished"),
    "all messages of a call are charged": (BatchTask, "died", _all_of_the_call_are_charged, "received again"),
    "a batch whose worker died is done": (BatchTask, "died", _dead_batch_is_done, "was deleted, but was never"),
    "outcomes of a batch are dropped": (BatchTask, "tell", lambda *_, **__: None, "was deleted, but was never"),
}
"""Ways to break the rules of the lane: what is replaced, by what, and words of the violation that tells."""
FIRST = {"all messages of a call are charged": 27}
"""The seed to try first, where it is not 0."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_breaks_a_world(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that misses a broken rule proves nothing."""
    owner, attribute, replacement, violation = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, replacement)
    for seed in (FIRST.get(name, 0), *range(60)):
        for faulty in (False, True):
            found = simulate_processes(seed, faulty=faulty).violations
            if any(violation in each for each in found):
                return
    pytest.fail("no world was broken")
