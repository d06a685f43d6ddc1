"""Simulated worlds: consumers under conditions drawn from a seed keep the lease contract, whatever is drawn.

`LEASEKEEPER_WORLDS=1000 pytest tests/simulation` runs more of them; a failure says how to repeat its seed.
"""

from __future__ import annotations

import os

import pytest

from leasekeeper.testing.trial import Story, draw, simulate

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))
IN_A_TEST = 3


def _live(seed: int, *, faulty: bool) -> Story:
    story = simulate(draw(seed, faulty=faulty))
    assert not story.broken, (
        f"seed {seed}: {'; '.join(story.broken)}\nTo see it again:\n"
        f"  from leasekeeper.testing.trial import draw, simulate\n"
        f"  story = simulate(draw({seed}, faulty={faulty}))\n{story.conditions}"
    )
    return story


SEEDS = pytest.mark.parametrize("first", range(0, WORLDS // 2, IN_A_TEST))


@SEEDS
def test_without_faults_nothing_is_handled_twice_lost_or_left_unsettled(first: int) -> None:
    """L1-L4, L6, L8, L20, L22, L29: slow networks, failing and slow handlers, any options, a stop at any moment."""
    for seed in range(first, first + IN_A_TEST):
        story = _live(seed, faulty=False)
        assert story.doubled == 0


@SEEDS
def test_with_faults_nothing_is_lost_and_what_is_handled_twice_is_explained(first: int) -> None:
    """L1, L7, L8, L12, L15, L20, L22, L29: throttles, 5xx, resets, lost answers, black holes, duplicates."""
    for seed in range(first, first + IN_A_TEST):
        _live(seed, faulty=True)


@pytest.mark.parametrize("seed", [1, 2, 3, 849])
@pytest.mark.parametrize("faulty", [False, True])
def test_the_same_seed_is_the_same_story(seed: int, *, faulty: bool) -> None:
    first, second = (simulate(draw(seed, faulty=faulty)) for _ in range(2))
    assert len(first.trace) > 10
    assert first.trace == second.trace
    assert first.reports == second.reports
    assert first.calls == second.calls


def test_different_seeds_are_different_stories() -> None:
    assert simulate(draw(1, faulty=True)).trace != simulate(draw(2, faulty=True)).trace


@pytest.mark.slow
def test_the_worlds_together_meet_what_they_are_meant_to_meet() -> None:
    """A simulation in which nothing goes wrong proves nothing: leases are lost, work is repeated, much is released."""
    stories = [simulate(draw(seed, faulty=True)) for seed in range(100, 140)]
    reports = [report for story in stories for report in story.reports]
    assert sum(story.doubled for story in stories) > 0
    for name in ("acked", "failed", "retried", "rejected", "released", "lost", "unsettled", "recognised"):
        assert sum(getattr(report, name) for report in reports) > 0, name
