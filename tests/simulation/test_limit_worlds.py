"""Simulated worlds of consumers with a rate, a share, or tenants that take turns: they keep the lease contract too."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from conditions import conditions_for

from leasekeeper import Share
from simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

WORLDS = int(os.environ.get("LEASEKEEPER_WORLDS", "60"))
IN_A_TEST = 3
LIMITS: Sequence[dict[str, Any]] = (
    {"rate": 5, "burst": 1},
    {"rate": 50, "burst": 10},
    {"fair": True},
    {"group_concurrency": 1},
    {"group_concurrency": 3, "rate": 20},
)


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("first", range(0, WORLDS // 10, IN_A_TEST))
def test_what_waits_for_its_start_is_never_lost_nor_left_unsettled(first: int, *, faulty: bool) -> None:
    """L3, L20, L22, L24, L29: under its lease, through faults, and given back at a stop at any moment."""
    for seed in range(1000 + first, 1000 + first + IN_A_TEST):
        conditions = conditions_for(seed, faulty=faulty)
        limits = Random(seed).choice(LIMITS)
        conditions.options.update(limits)  # type: ignore[typeddict-item]
        result = simulate(conditions)
        # More than the handlers need may be held where a group has all of its handlers: that is what the option is for.
        violations = [each for each in result.violations if "messages held" not in each]
        assert not violations, f"seed {seed}, faulty={faulty}, {limits}: {'; '.join(violations)}"
        assert faulty or result.repeated == 0


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("first", range(0, WORLDS // 10, IN_A_TEST))
def test_consumers_that_share_their_handlers_keep_the_contract(first: int, *, faulty: bool) -> None:
    """L3, L20, L22, L29: with weights and priorities, and never more handlers at once than the share has."""
    for seed in range(2000 + first, 2000 + first + IN_A_TEST):
        random = Random(seed)
        conditions = conditions_for(seed, faulty=faulty)
        conditions.options["share"] = Share(random.choice((1, 3, 10, 40)))
        conditions.options["prefetch"] = None
        for index in range(conditions.consumers):
            conditions.of_consumer[index] = {"weight": random.choice((1, 3)), "priority": random.choice((1, 1, 2))}
        result = simulate(conditions)
        # A share's handlers are not counted for each consumer.
        violations = [each for each in result.violations if "in consumer" not in each or "ran twice" in each]
        assert not violations, f"seed {seed}, faulty={faulty}, {conditions.options}: {'; '.join(violations)}"
        assert faulty or result.repeated == 0
