"""What each outcome means: the table, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from leasekeeper.core.backoff import Backoff
from leasekeeper.core.decisions import Decision, OutcomePolicy, decide
from leasekeeper.core.delivery import Action
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.outcomes import DONE, ENDED, FREED, NOT_STARTED, WITHHELD, Failed, Outcome, Reject, Retry

BACKOFF = Backoff(base=2.0, maximum=900.0)
COPIES = OutcomePolicy(backoff=BACKOFF, rejected_after=900.0, copies=True)
NO_COPIES = OutcomePolicy(backoff=BACKOFF, rejected_after=900.0, copies=False)
UNDECODABLE = Reject("not JSON")
UNDECODABLE.__cause__ = UndecodableBody("not JSON")


@pytest.mark.parametrize(
    ("outcome", "final", "decision"),
    [
        (DONE, True, Decision(Action.DELETE, 0.0, True, "done")),
        (DONE, False, Decision(Action.DELETE, 0.0, False, "")),
        (Retry(), True, Decision(Action.RELEASE, 1.0, True, "retried")),
        (Retry(30), True, Decision(Action.RELEASE, 30, True, "retried")),
        (Retry(30), False, Decision(Action.RELEASE, 30, False, "retried")),
        (Failed(ValueError()), True, Decision(Action.RELEASE, 1.0, True, "failed")),
        (Failed(HandlerTimeout()), True, Decision(Action.RELEASE, 1.0, True, "timed_out")),
        (Failed(HandlerTimeout(), still_running=True), True, Decision(Action.RELEASE, 1.0, False, "timed_out")),
        (Reject("no"), True, Decision(Action.COPY, 900.0, True, "rejected")),
        (UNDECODABLE, True, Decision(Action.COPY, 900.0, True, "undecodable")),
        (WITHHELD, True, Decision(Action.KEEP, 0.0, False, "")),
        (NOT_STARTED, True, Decision(Action.RELEASE, 0.0, True, "not_started")),
        (ENDED, True, Decision(Action.RELEASE, 0.0, True, "ended")),
        (FREED, True, Decision(Action.NOTHING, 0.0, True, "")),
    ],
)
def test_the_table(outcome: Outcome, final: bool, decision: Decision) -> None:
    assert decide(outcome, final=final, attempt=1, policy=COPIES, draw=0.0) == decision


def test_every_outcome_is_in_the_table() -> None:
    """A new outcome without a row would free no slot."""
    kinds: Any = Outcome
    decided = (DONE, Retry(), Reject(), Failed(ValueError()), NOT_STARTED, ENDED, WITHHELD, FREED)
    assert {type(outcome) for outcome in decided} == set(kinds.__args__)
    for outcome in decided:
        assert isinstance(decide(outcome, final=True, attempt=1, policy=COPIES, draw=0.5), Decision)


def test_a_reject_without_a_queue_to_copy_to_is_given_back_for_long() -> None:
    """L30."""
    assert decide(Reject("no"), final=True, attempt=1, policy=NO_COPIES, draw=0.5) == Decision(
        Action.RELEASE, 900.0, True, "rejected"
    )


def test_the_back_off_grows_with_the_attempt_and_has_jitter() -> None:
    delays = [decide(Retry(), final=True, attempt=n, policy=COPIES, draw=0.0).after for n in (1, 2, 3, 20)]
    assert delays == [1.0, 2.0, 4.0, 450.0]
    assert decide(Retry(), final=True, attempt=1, policy=COPIES, draw=0.999).after == pytest.approx(2.0, rel=0.01)
