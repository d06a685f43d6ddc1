"""Simulated worlds of idempotency: each key's effects are one, or explained by claims that were lost.

`LEASEKEEPER_KEY_WORLDS=500` runs more of them.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from key_simulation import simulate_keys

from leasekeeper.idempotency import MemoryStore
from leasekeeper.idempotency.claiming import Work

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

WORLDS = int(os.environ.get("LEASEKEEPER_KEY_WORLDS", "8"))
SEEDS = 30
"""How many further seeds are tried for a mutation."""


@pytest.mark.parametrize("seed", range(WORLDS))
def test_without_faults_the_work_of_each_key_is_done_once(seed: int) -> None:
    assert simulate_keys(seed, faulty=False).violations == []


def test_with_faults_what_is_done_again_is_explained_by_lost_claims() -> None:
    """Processes die and stand still, leases are lost, and messages come twice."""
    met: Counter[str] = Counter()
    for seed in range(WORLDS):
        simulation = simulate_keys(seed, faulty=True)
        assert simulation.violations == [], f"seed {seed}"
        met += simulation.met
    assert set(met) >= {"done", "running", "failed", "killed", "suspended", "conflicts", "store_errors"}


def _release_without_token() -> AbstractContextManager[Any]:
    async def mutated(self: MemoryStore, key: str, _: str) -> bool:
        return self._records.pop(key, None) is not None

    return patch.object(MemoryStore, "release", mutated)


def _claims_end_before_their_leases() -> AbstractContextManager[Any]:
    return patch.object(Work, "_extend_inline", lambda *_: None)


@pytest.mark.parametrize(
    ("mutation", "first", "faulty"),
    [(_release_without_token, 6, True), (_claims_end_before_their_leases, 0, False)],
)
def test_the_worlds_notice_that(mutation: Any, first: int, *, faulty: bool) -> None:
    """A test of the tests."""
    with mutation():
        for seed in (first, *range(SEEDS)):
            if simulate_keys(seed, faulty=faulty).violations:
                return
    pytest.fail(f"{SEEDS} worlds do not notice")
