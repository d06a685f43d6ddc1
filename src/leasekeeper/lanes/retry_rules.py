"""What a consumer's retries say of a handler's error: finds the rule, and calls it if it is a function.

Used where the error was raised: where handlers run, or on the engine's loop for a `batch_key`. Whatever a user's
function does, the message gets an outcome, and the engine is told what went wrong (L15).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import UndecodableBody
from leasekeeper.lanes.failures import checked, contained, outcome_of_error
from leasekeeper.outcomes import Failed, NotOpened, Outcome, Reject, Retry
from leasekeeper.schedules import LONGEST, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.message import Message
    from leasekeeper.retries import Retries, RetryFunction


def with_rule(
    outcome: Outcome, error: BaseException, retries: Retries, *, attempt: int, message: Callable[[], Message[Any]]
) -> Outcome:
    """The outcome of a handler's error, with what the retries say of it.

    Args:
        outcome: what the error means without them.
        error: what the handler raised.
        retries: the consumer's.
        attempt: which attempt at the message this was, from 1.
        message: makes the message, for a function.
    """
    kind = type(error)
    if type(outcome) is Reject and issubclass(kind, UndecodableBody) and kind in retries.on:
        outcome = Failed(contained(error))
    if issubclass(kind, NotOpened):  # no attempt, unless the retries have a rule for what could not be reached
        error = error.error  # type: ignore[attr-defined] # of this kind
        rule = retries.rule_for(type(error))
        if rule is None:
            return outcome
        outcome = Failed(contained(error))
    elif type(outcome) is not Failed:
        return outcome  # the handler has said what follows
    else:
        rule = retries.rule_for(kind)
        if rule is None and not isinstance(retries.default, Schedule) and attempt > retries.immediate:
            rule = retries.default
    assert type(outcome) is Failed
    if rule is None or isinstance(rule, Schedule | Retry | Reject):
        return replace(outcome, rule=rule)
    try:
        return replace(outcome, rule=_answer(rule, message(), attempt, error))
    except BaseException as raised:
        return replace(outcome, rule_error=contained(raised))


def outcome_by_rule(error: BaseException, retries: Retries, *, attempt: int, message: Message[Any]) -> Outcome:
    """The outcome of an error of other code of a user, with what the retries say of it; arguments as of `with_rule`."""
    return with_rule(outcome_of_error(error), error, retries, attempt=attempt, message=lambda: message)


def _answer(function: RetryFunction, message: Message[Any], attempt: int, error: BaseException) -> Any:
    """What the function returned, once it is known to be usable."""
    answer: Any = function(message, attempt, error)
    kind = type(answer)
    if answer is None:
        return None
    if answer is Retry or answer is Reject or issubclass(kind, Retry | Reject):
        word = checked(answer() if isinstance(answer, type) else answer)
        if type(word) is Failed:
            raise word.error
        return word
    if issubclass(kind, int | float) and not issubclass(kind, bool) and math.isfinite(answer) and answer >= 0:
        return min(float(answer), float(LONGEST))
    raise TypeError(f"it returned {answer!r}: must return seconds from 0 to {LONGEST}, Retry, Reject or None")
