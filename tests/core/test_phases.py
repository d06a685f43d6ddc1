"""A consumer's life: the table of phases."""

from __future__ import annotations

import pytest

from leasekeeper.core.phases import TRANSITIONS, Change, Phase, next_phase


def reachable_from(phase: Phase) -> set[Phase]:
    seen, unseen = {phase}, [phase]
    while unseen:
        for following in TRANSITIONS[unseen.pop()].values():
            if following not in seen:
                seen.add(following)
                unseen.append(following)
    return seen


def test_every_phase_is_reached_from_new() -> None:
    assert reachable_from(Phase.NEW) == set(Phase)


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_can_end_and_start_again(phase: Phase) -> None:
    assert {Phase.CLOSED, Phase.STARTING, Phase.RUNNING} <= reachable_from(phase)


def test_every_change_happens_somewhere() -> None:
    assert {change for row in TRANSITIONS.values() for change in row} == set(Change)


def test_what_is_not_in_the_table_is_a_bug() -> None:
    assert next_phase(Phase.RUNNING, Change.STOP) is Phase.DRAINING
    with pytest.raises(AssertionError, match="no transition from CLOSED on STOP: a bug in Leasekeeper"):
        next_phase(Phase.CLOSED, Change.STOP)
