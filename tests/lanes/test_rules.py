"""What retries say of a handler's error, where it ran: rules are found, functions called, bad ones survived."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper import HandlerError, Message, Reject, Retries, Retry, Table
from leasekeeper.errors import UndecodableBody
from leasekeeper.lanes.handler import Handler
from leasekeeper.outcomes import DONE, Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.delivery import Delivery

Deliver = "Callable[..., Delivery]"


class Limited(Exception):
    """An error that says when to come again."""

    retry_after = 7.5


def run(delivery: Delivery, error: BaseException | Outcome, retry: Any) -> Outcome:
    def handle(_body: str) -> Any:
        if isinstance(error, BaseException):
            raise error
        return error

    async def handle_later(_body: str) -> Any:
        return handle(_body)

    blocking = Handler(handle, queue="q", retry=retry).run_blocking(lambda _: True, delivery)
    coroutine = asyncio.run(Handler(handle_later, queue="q", retry=retry).run(lambda _: True, delivery))
    assert type(blocking) is type(coroutine)
    return coroutine


def rule_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Failed)
    assert outcome.rule_error is None
    return outcome.rule


def test_without_retries_a_failure_has_no_rule(deliver: Callable[..., Delivery]) -> None:
    error = ValueError()
    assert run(deliver(), error, None) == Failed(error)


def test_a_rule_goes_with_the_failure(deliver: Callable[..., Delivery]) -> None:
    table, retry, reject = Table(1), Retry(5), Reject("never")
    retries = Retries(on={ConnectionError: table, KeyError: retry, ValueError: reject})
    assert rule_of(run(deliver(), ConnectionResetError(), retries)) is table
    assert rule_of(run(deliver(), KeyError(), retries)) is retry
    assert rule_of(run(deliver(), UnicodeError(), retries)) is reject
    assert rule_of(run(deliver(), RuntimeError(), retries)) is None


def test_the_rule_is_that_of_the_handlers_error_also_if_that_is_too_long_to_log(
    deliver: Callable[..., Delivery],
) -> None:
    table = Table(1)
    outcome = run(deliver(), KeyError("x" * 100_000), Retries(on={KeyError: table}))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerError)
    assert outcome.rule is table


def test_a_function_is_called_with_message_attempt_and_error(deliver: Callable[..., Delivery]) -> None:
    asked: list[Any] = []

    def ask(message: Message[str], attempt: int, error: BaseException) -> float:
        asked.append((message.body, message.id, message.attempt, attempt, type(error)))
        return 3.0

    delivery = deliver("five")
    delivery.extra = 4
    assert rule_of(run(delivery, ValueError(), ask)) == 3.0
    assert asked == [("five", delivery.received.message_id, 5, 5, ValueError)] * 2


@pytest.mark.parametrize(
    ("answer", "rule"), [(0, 0.0), (7, 7.0), (1e9, 43_200.0), (None, None), (Retry(0), Retry), (Reject, Reject)]
)
def test_a_function_answers_with_seconds_or_an_outcome(
    answer: Any, rule: Any, deliver: Callable[..., Delivery]
) -> None:
    found = rule_of(run(deliver(), ValueError(), lambda *_: answer))
    assert found == rule or isinstance(found, rule)


def test_a_function_in_a_rule_comes_before_the_default(deliver: Callable[..., Delivery]) -> None:
    retries = Retries(lambda *_: 1, on={Limited: lambda m, n, e: e.retry_after})
    assert rule_of(run(deliver(), Limited(), retries)) == 7.5
    assert rule_of(run(deliver(), ValueError(), retries)) == 1.0


def test_a_default_function_is_not_asked_before_the_immediate_tries_are_over(
    deliver: Callable[..., Delivery],
) -> None:
    retries = Retries(lambda *_: 9, immediate=1)
    delivery = deliver()
    assert rule_of(run(delivery, ValueError(), retries)) is None
    delivery.extra = 1
    assert rule_of(run(delivery, ValueError(), retries)) == 9.0


class Broken:
    """A policy that fails in a way of its own."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure

    def __call__(self, _message: Any, _attempt: int, _error: BaseException) -> Any:
        if isinstance(self.failure, BaseException):
            raise self.failure
        return self.failure


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (KeyError("none"), KeyError),
        (SystemExit(1), SystemExit),
        (asyncio.CancelledError(), asyncio.CancelledError),
        ("soon", TypeError),
        (True, TypeError),
        (-1, TypeError),
        (float("nan"), TypeError),
        (float("inf"), TypeError),
        (Unshowable(), RuntimeError),
    ],
)
def test_a_function_that_fails_leaves_the_default_and_is_told_about(
    failure: Any, kind: type[BaseException], deliver: Callable[..., Delivery]
) -> None:
    """L15."""
    error = ValueError()
    outcome = run(deliver(), error, Broken(failure))
    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.rule, type(outcome.rule_error)) == (error, None, kind)


@pytest.mark.parametrize("word", [Retry(3), Reject("no")])
def test_what_the_handler_says_itself_has_no_rule(word: Any, deliver: Callable[..., Delivery]) -> None:
    assert run(deliver(), word, Retries(on={Exception: Table(1)})) is word
    assert run(deliver(), DONE, Table(1)) is DONE


def undecodable(delivery: Delivery, retry: Any) -> Outcome:
    def handle(_body: dict[str, int]) -> None:
        raise AssertionError("never called")

    return Handler(handle, queue="q", retry=retry).run_blocking(lambda _: True, delivery)


def test_an_undecodable_body_is_rejected_unless_there_is_a_rule_for_exactly_that(
    deliver: Callable[..., Delivery],
) -> None:
    """L30: a rule for all errors says nothing of bodies, but one for `UndecodableBody` does."""
    assert isinstance(undecodable(deliver("x"), Retries(on={Exception: Table(1)})), Reject)
    retries = Retries(on={UndecodableBody: lambda m, n, e: 60.0 if m.body is None else 0.0})
    outcome = undecodable(deliver("x"), retries)
    assert rule_of(outcome) == 60.0
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, UndecodableBody)
