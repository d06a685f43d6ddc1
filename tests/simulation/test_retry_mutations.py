"""The simulation finds what it is meant to find: each rule about retries is broken in turn, and a world says so.

The seeds are those of the first worlds that meet the rule at all; another draw of the conditions needs other ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conditions import conditions_for

from leasekeeper.core import decisions
from leasekeeper.core.delivery import Action
from leasekeeper.core.ledger import Ledger
from simulation import simulate

if TYPE_CHECKING:
    import pytest

    from leasekeeper.core.decisions import Decision, OutcomePolicy
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Failed

SEEDS = (4, 12, 19, 22, 27)


def found() -> str:
    """What the worlds say is broken."""
    return "; ".join(
        violation for seed in SEEDS for violation in simulate(conditions_for(seed, faulty=False)).violations
    )


def test_nothing_is_broken_as_it_is() -> None:
    assert found() == ""


def test_one_attempt_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = decisions._after_failure

    def one_more(outcome: Failed, attempt: int, policy: OutcomePolicy, draw: float) -> Decision:
        return right(outcome, attempt - 1, policy, draw)

    monkeypatch.setattr(decisions, "_after_failure", one_more)
    assert "was tried again after its last attempt" in found()


def test_a_run_again_that_is_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Ledger.again

    def uncounted(self: Ledger, row: Delivery, now: float) -> Action:
        action = right(self, row, now)
        row.extra -= action is Action.AGAIN
        return action

    monkeypatch.setattr(Ledger, "again", uncounted)
    assert "is said to be at attempt 1 in 2" in found()


def test_a_delete_without_a_copy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """L30."""
    right = decisions._given_up
    monkeypatch.setattr(
        decisions, "_given_up", lambda policy, counted: replace(right(policy, counted), action=Action.DELETE)
    )
    assert "was deleted, but was never handled with success" in found()
