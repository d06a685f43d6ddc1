"""What each outcome means: the table, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leasekeeper.core.backoff import Backoff
from leasekeeper.core.decisions import Decision, OutcomePolicy, decide, decide_early, decide_settled
from leasekeeper.core.delivery import Action
from leasekeeper.errors import HandlerTimeout, UndecodableBody
from leasekeeper.outcomes import (
    DONE,
    ENDED,
    FREED,
    NOT_STARTED,
    WITHHELD,
    Done,
    Failed,
    Outcome,
    Reject,
    Retry,
    Skipped,
)

BACKOFF = Backoff(base=2.0, maximum=900.0)
COPIES = OutcomePolicy(backoff=BACKOFF, rejected_after=900.0, copies=True)
NO_COPIES = OutcomePolicy(backoff=BACKOFF, rejected_after=900.0, copies=False)
UNDECODABLE = Reject("not JSON")
UNDECODABLE.__cause__ = UndecodableBody("not JSON")


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (DONE, Decision(Action.DELETE, 0.0, True, "done")),
        (Retry(), Decision(Action.RELEASE, 1.0, True, "retried")),
        (Retry(30), Decision(Action.RELEASE, 30, True, "retried")),
        (Failed(ValueError()), Decision(Action.RELEASE, 1.0, True, "failed")),
        (Failed(HandlerTimeout()), Decision(Action.RELEASE, 1.0, True, "timed_out")),
        (Failed(HandlerTimeout(), still_running=True), Decision(Action.RELEASE, 1.0, False, "timed_out")),
        (Reject("no"), Decision(Action.COPY, 900.0, True, "rejected")),
        (UNDECODABLE, Decision(Action.COPY, 900.0, True, "undecodable")),
        (Skipped("a test event"), Decision(Action.DELETE, 0.0, True, "skipped")),
        (WITHHELD, Decision(Action.KEEP, 0.0, False, "")),
        (NOT_STARTED, Decision(Action.RELEASE, 0.0, True, "not_started")),
        (ENDED, Decision(Action.RELEASE, 0.0, True, "ended")),
        (FREED, Decision(Action.NOTHING, 0.0, True, "")),
    ],
)
def test_the_table(outcome: Outcome, decision: Decision) -> None:
    assert decide(outcome, attempt=1, policy=COPIES, draw=0.0) == decision


def test_every_outcome_is_in_the_table() -> None:
    """A new outcome without a row would free no slot."""
    kinds: Any = Outcome
    decided = (DONE, Retry(), Reject(), Failed(ValueError()), Skipped(""), NOT_STARTED, ENDED, WITHHELD, FREED)
    assert {type(outcome) for outcome in decided} == set(kinds.__args__)
    for outcome in decided:
        assert isinstance(decide(outcome, attempt=1, policy=COPIES, draw=0.5), Decision)


def test_the_first_attempts_are_followed_by_another_at_once_if_that_is_wanted() -> None:
    policy = replace(COPIES, immediate=2)
    failed = Failed(ValueError())
    decided = [decide(failed, attempt=attempt, policy=policy, draw=0.0) for attempt in (1, 2, 3)]
    again = Decision(Action.AGAIN, 0.0, frees=False, counted="failed")
    assert decided[:2] == [again, again]
    assert decided[2].action is Action.RELEASE


def test_a_thread_that_still_runs_is_not_run_again_beside_it() -> None:
    """L30."""
    outcome = Failed(HandlerTimeout(), still_running=True)
    assert decide(outcome, attempt=1, policy=replace(COPIES, immediate=1), draw=0.0).action is Action.RELEASE


def test_a_message_that_was_settled_early_is_not_run_again_and_its_slot_is_free() -> None:
    failed = Failed(ValueError())
    final = decide(failed, attempt=1, policy=replace(COPIES, immediate=1), draw=0.0)
    assert decide_settled(final, failed, DONE) == Decision(Action.NOTHING, counted="failed")


@pytest.mark.parametrize("outcome", [DONE, Retry(30)])
def test_an_early_settlement_is_counted_by_the_end_of_the_handler_or_now_if_the_message_was_withheld(
    outcome: Outcome,
) -> None:
    final = decide(outcome, attempt=1, policy=COPIES, draw=0.0)
    assert decide_early(final, kept=True) == final
    assert decide_early(final, kept=False) == Decision(final.action, final.after, frees=False, counted="")


@pytest.mark.parametrize(
    ("asked", "outcome", "counted"),
    [
        (DONE, DONE, "done"),
        (DONE, Retry(), "done"),
        (DONE, UNDECODABLE, "done"),
        (DONE, WITHHELD, "done"),
        (Retry(), DONE, "retried"),
        (Retry(), WITHHELD, "retried"),
        (Retry(), Failed(ValueError()), "failed"),
        (DONE, Failed(ValueError()), "failed"),
        (DONE, ENDED, "ended"),
    ],
)
def test_after_an_early_settlement_the_end_of_the_handler_only_counts(
    asked: Done | Retry, outcome: Outcome, counted: str
) -> None:
    final = decide(outcome, attempt=1, policy=COPIES, draw=0.0)
    assert decide_settled(final, outcome, asked).action is Action.NOTHING
    assert decide_settled(final, outcome, asked).counted == counted
    assert decide_settled(final, outcome, asked).frees


def test_a_reject_without_a_queue_to_copy_to_is_given_back_for_long() -> None:
    """L30."""
    assert decide(Reject("no"), attempt=1, policy=NO_COPIES, draw=0.5) == Decision(
        Action.RELEASE, 900.0, True, "rejected"
    )


def test_the_back_off_grows_with_the_attempt_and_has_jitter() -> None:
    delays = [decide(Retry(), attempt=n, policy=COPIES, draw=0.0).after for n in (1, 2, 3, 20)]
    assert delays == [1.0, 2.0, 4.0, 450.0]
    assert decide(Retry(), attempt=1, policy=COPIES, draw=0.999).after == pytest.approx(2.0, rel=0.01)
