"""What each outcome means: the table, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

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
    Unclaimed,
)
from leasekeeper.retries import Retries
from leasekeeper.schedules import Exponential, Table

COPIES = OutcomePolicy(retries=Retries(Exponential(2.0, maximum=900.0)), copies=True)
NO_COPIES = replace(COPIES, copies=False)
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
        (Unclaimed(7.5), Decision(Action.RELEASE, 7.5, True, "not_started")),
        (Unclaimed(7.5, waits=True), Decision(Action.AGAIN, 7.5, False, "")),
        (ENDED, Decision(Action.RELEASE, 0.0, True, "ended")),
        (FREED, Decision(Action.NOTHING, 0.0, True, "")),
    ],
)
def test_the_table(outcome: Outcome, decision: Decision) -> None:
    assert decide(outcome, attempt=1, policy=COPIES, draw=0.0) == decision


def test_every_outcome_is_in_the_table() -> None:
    """A new outcome without a row would free no slot."""
    kinds: Any = Outcome
    unclaimed = Unclaimed(1.0)
    decided = (
        DONE,
        Retry(),
        Reject(),
        Failed(ValueError()),
        Skipped(""),
        NOT_STARTED,
        unclaimed,
        ENDED,
        WITHHELD,
        FREED,
    )
    assert {type(outcome) for outcome in decided} == set(kinds.__args__)
    for outcome in decided:
        assert isinstance(decide(outcome, attempt=1, policy=COPIES, draw=0.5), Decision)


def test_the_first_attempts_are_followed_by_another_at_once_if_that_is_wanted() -> None:
    policy = replace(COPIES, retries=Retries(immediate=2))
    failed = Failed(ValueError())
    decided = [decide(failed, attempt=attempt, policy=policy, draw=0.0) for attempt in (1, 2, 3)]
    again = Decision(Action.AGAIN, 0.0, frees=False, counted="failed")
    assert decided[:2] == [again, again]
    assert decided[2].action is Action.RELEASE


def test_a_thread_that_still_runs_is_not_run_again_beside_it() -> None:
    """L30."""
    outcome = Failed(HandlerTimeout(), still_running=True)
    assert (
        decide(outcome, attempt=1, policy=replace(COPIES, retries=Retries(immediate=1)), draw=0.0).action
        is Action.RELEASE
    )


def test_a_message_that_was_settled_early_is_not_run_again_and_its_slot_is_free() -> None:
    failed = Failed(ValueError())
    final = decide(failed, attempt=1, policy=replace(COPIES, retries=Retries(immediate=1)), draw=0.0)
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
    assert delays == [1, 2, 4, 450]
    assert decide(Retry(), attempt=1, policy=COPIES, draw=0.999).after == 2


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        (Table(7, 8), Decision(Action.RELEASE, 8, counted="failed")),
        (0.2, Decision(Action.RELEASE, 1, counted="failed")),
        (2.1, Decision(Action.RELEASE, 3, counted="failed")),
        (Retry(), Decision(Action.RELEASE, 2, counted="retried")),
        (Retry(0), Decision(Action.RELEASE, 0, counted="retried")),
        (Reject("no"), Decision(Action.COPY, 900.0, counted="rejected")),
    ],
)
def test_a_rule_says_what_follows_an_error(rule: Any, decision: Decision) -> None:
    """Seconds are rounded up, to one at least; only `Retry(0)` retries at once."""
    assert decide(Failed(ValueError(), rule=rule), attempt=2, policy=COPIES, draw=0.0) == decision


@pytest.mark.parametrize(("rule", "after"), [(Table(7), 7), (Retry(5), 5), (lambda *_: 9, 2)])
def test_a_failure_that_a_lane_reports_follows_the_rules_too(rule: Any, after: float) -> None:
    """Nothing calls a function then: the default back-off counts."""
    policy = replace(COPIES, retries=Retries(on={HandlerTimeout: rule}))
    decision = decide(Failed(HandlerTimeout(), still_running=True), attempt=2, policy=policy, draw=0.0)
    assert (decision.action, decision.after, decision.frees) == (Action.RELEASE, after, False)


def test_immediate_tries_are_for_errors_without_a_rule_and_the_back_off_begins_after_them() -> None:
    policy = replace(COPIES, retries=Retries(Table(5, 10), on={KeyError: Table(30)}, immediate=2))
    decided = [decide(Failed(ValueError()), attempt=n, policy=policy, draw=0.0) for n in (1, 2, 3, 4)]
    assert [(each.action, each.after) for each in decided] == [
        (Action.AGAIN, 0.0),
        (Action.AGAIN, 0.0),
        (Action.RELEASE, 5),
        (Action.RELEASE, 10),
    ]
    assert decide(Failed(KeyError()), attempt=1, policy=policy, draw=0.0).after == 30
    assert decide(Retry(), attempt=1, policy=policy, draw=0.0).after == 5


@pytest.mark.parametrize(
    "outcome",
    [Failed(ValueError()), Failed(ValueError(), rule=Table(1)), Failed(ValueError(), rule=Retry(1)), Retry(1)],
)
def test_the_last_allowed_attempt_is_copied_or_hidden_for_long_and_never_deleted(outcome: Outcome) -> None:
    limited = replace(COPIES, max_attempts=3)
    assert decide(outcome, attempt=2, policy=limited, draw=0.0).action is Action.RELEASE
    for attempt in (3, 4):
        decided = decide(outcome, attempt=attempt, policy=limited, draw=0.0)
        assert decided == Decision(Action.COPY, 900.0, counted="exhausted")
        hidden = decide(outcome, attempt=attempt, policy=replace(limited, copies=False), draw=0.0)
        assert hidden == Decision(Action.RELEASE, 900.0, counted="exhausted")


def test_no_immediate_try_goes_beyond_the_last_attempt() -> None:
    policy = replace(COPIES, retries=Retries(immediate=5), max_attempts=2)
    assert decide(Failed(ValueError()), attempt=1, policy=policy, draw=0.0).action is Action.AGAIN
    assert decide(Failed(ValueError()), attempt=2, policy=policy, draw=0.0).counted == "exhausted"


@pytest.mark.parametrize("outcome", [DONE, NOT_STARTED, ENDED, WITHHELD])
def test_what_did_not_fail_is_never_exhausted(outcome: Outcome) -> None:
    limited = replace(COPIES, max_attempts=1)
    assert decide(outcome, attempt=9, policy=limited, draw=0.0) == decide(outcome, attempt=9, policy=COPIES, draw=0.0)


def test_a_thread_that_still_runs_keeps_its_slot_also_after_its_last_attempt() -> None:
    """L30."""
    outcome = Failed(HandlerTimeout(), still_running=True)
    decided = decide(outcome, attempt=3, policy=replace(COPIES, max_attempts=3), draw=0.0)
    assert decided == Decision(Action.COPY, 900.0, frees=False, counted="exhausted")


def test_a_run_that_does_not_count_is_not_the_last_attempt() -> None:
    limited = replace(COPIES, max_attempts=1, retries=Retries(Table(3), on={KeyError: Table(4)}))
    assert decide(Retry(0), attempt=0, policy=limited, draw=0.0).action is Action.RELEASE
    assert decide(Failed(ValueError()), attempt=0, policy=limited, draw=0.0).after == 3
    assert decide(Failed(KeyError()), attempt=0, policy=limited, draw=0.0).after == 4


def test_an_early_retry_at_the_last_attempt_is_counted_as_exhausted() -> None:
    final = decide(Retry(1), attempt=3, policy=replace(COPIES, max_attempts=3), draw=0.0)
    assert decide_early(final, kept=False) == Decision(Action.COPY, 900.0, frees=False, counted="exhausted")
