"""Fleets under three formulas, from several seeds: those that we advise settle, and the usual one swings."""

from __future__ import annotations

import pytest
from fleet import INTERVAL, STABLE, Fleet, story, turns

STEP = ((0.75, 300.0), (3.0, 900.0), (0.75, 600.0))


def play(seed: int, by: str, **more: int) -> Fleet:
    return story(STEP, seed=seed, by=by, handler=10.0, concurrency=5, latency=60.0, **more)


@pytest.mark.parametrize(("seed", "by"), [(2, "wanted"), (1, "formula")])
def test_our_numbers_settle(seed: int, by: str) -> None:
    fleet = play(seed, by)
    # By the formula alone, which has no average, a late count may make it too large for as long as that lasts.
    settled = fleet.between(300 + 5 * INTERVAL + (STABLE + 2 * INTERVAL if by == "formula" else 0), 1200)
    replicas = [sample.replicas for sample in settled]
    assert min(replicas) >= 7
    assert max(replicas) <= 12
    assert turns(settled) <= 1
    assert max(sample.visible for sample in settled) < 30
    assert (fleet.cut_off, fleet.late) == (0, 0)
    assert set(fleet.runs.values()) == {1}


def test_a_fleet_settles_within_five_intervals_and_gets_smaller_again() -> None:
    """Four times the load, and back. Handlers take 5 to 15 s, and a stop gives them 20 s."""
    fleet = play(3, "wanted")
    after_the_step = fleet.between(300 + 5 * INTERVAL, 1200)
    assert {sample.replicas for sample in after_the_step} <= {8, 9, 10}  # 7.5 work at a utilisation of 0.8
    assert turns(after_the_step) <= 1
    assert {sample.replicas for sample in fleet.between(1200 + STABLE + 5 * INTERVAL, 1800)} <= {2, 3, 4}
    assert turns(fleet.between(1200, 1800)) <= 1
    assert (fleet.cut_off, fleet.late) == (0, 0)
    assert set(fleet.runs.values()) == {1}


def test_capacity_times_latency_as_queue_length_swings() -> None:
    """The usual advice. When the backlog is gone, too little is in flight to hold the fleet."""
    replicas = [sample.replicas for sample in play(1, "queue", length=30).between(300, 1200)]
    largest = replicas.index(max(replicas))
    assert min(replicas[largest:]) <= 3
    assert replicas[-1] >= 6
