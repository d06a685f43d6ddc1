"""Simulated worlds in which features of a FIFO queue are used together: no order is broken, nothing is lost.

`LEASEKEEPER_WORLDS=2000 pytest tests/simulation` runs more of them.
"""

from __future__ import annotations

import os

import pytest
from combined_simulation import simulate_combined
from fifo_conditions import Kind

from leasekeeper.lanes.batch_run import BatchRun

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("seed", range(WORLDS // 15))
def test_features_that_are_used_together_keep_the_contract(seed: int, kind: Kind) -> None:
    """L1, L20, L22, L25, L26, L29: several handlers, envelopes, keys, retries, rates, batches and pauses."""
    result = simulate_combined(seed, kind)
    assert not result.violations, f"seed {seed}: {'; '.join(result.violations)}\n{result.conditions}"


@pytest.mark.slow
def test_a_batch_that_goes_on_behind_a_message_that_cannot_be_opened_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A simulation that misses a broken rule proves nothing."""
    monkeypatch.setattr(BatchRun, "_note_failed", lambda *_: None)
    assert any(simulate_combined(seed, Kind.FAILURES).violations for seed in range(150))
