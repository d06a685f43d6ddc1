"""Simulated worlds of batch handlers, on standard and FIFO queues: no outcome is lost, and no order is broken.

`LEASEKEEPER_WORLDS=1000 pytest tests/simulation` runs more of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from batch_simulation import simulate_batches
from seeds import run_batches

from leasekeeper.core import batch_collector
from leasekeeper.core.batch_collector import Collector
from leasekeeper.engine.grouped import Grouped
from leasekeeper.lanes.batch_run import BatchRun
from leasekeeper.lanes.bundles import Bundle, BundleLane

if TYPE_CHECKING:
    from leasekeeper.outcomes import Outcome

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))
IN_A_TEST = 3


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("first", range(0, WORLDS // 2, IN_A_TEST))
def test_batches_keep_the_contract(first: int, *, faulty: bool) -> None:
    """L1, L6, L8, L20, L22, L23, L25, L26: any options, outcomes of every kind, a stop at any moment."""
    for seed in range(first, first + IN_A_TEST):
        run_batches(seed, faulty=faulty)


def _answer_without_outcomes(self: Bundle, outcome: Outcome, part: Any = None) -> list[Any]:
    self.outcomes = {}
    return ANSWER(self, outcome, part)


def _answer_but_one(self: Bundle, outcome: Outcome, part: Any = None) -> list[Any]:
    return ANSWER(self, outcome, part)[:9]


ANSWER = Bundle.answer
MUTATIONS: dict[str, tuple[Any, str, Any, str, int]] = {
    "outcomes of single messages are dropped": (
        Bundle,
        "answer",
        _answer_without_outcomes,
        "was deleted, but was never",
        0,
    ),
    "large batches lack an answer": (Bundle, "answer", _answer_but_one, "slots are taken", 0),
    "what stands behind a failure is taken for done": (
        Grouped,
        "in_order",
        lambda _, answers: list(answers),
        "was deleted, but was never",
        0,
    ),
    "isolation goes on behind a failure": (BatchRun, "_note_failed", lambda *_: None, "of its group", 4),
    "a group is divided among batches": (Collector, "add_together", Collector.add, "is in two batches at once", 8),
    "bytes are not counted": (batch_collector, "body_bytes", lambda _: 0, "a batch of the bodies", 4),
    "recalled messages are forgotten": (BundleLane, "recall", lambda _: None, "slots are taken", 4),
}
"""Ways to break the rules of batches: what is replaced, by what, the words of the violation that tells, and the seed
to try first."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_rule_breaks_a_world(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that misses a broken rule proves nothing."""
    owner, attribute, replacement, violation, first = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, replacement)
    for seed in (first, *range(60)):
        for faulty in (False, True):
            if any(violation in each for each in simulate_batches(seed, faulty=faulty).violations):
                return
    pytest.fail("no world was broken")


@pytest.mark.parametrize("seed", [1, 3])
def test_a_seed_repeats_its_result(seed: int) -> None:
    first, second = (simulate_batches(seed, faulty=True) for _ in range(2))
    assert len(first.trace) > 5
    assert (first.trace, first.reports) == (second.trace, second.reports)
