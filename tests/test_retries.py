"""Retries: which rule an error follows, what the option takes, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from leasekeeper import ConfigurationError, Exponential, Reject, Retries, Retry, Table
from leasekeeper.retries import FALLBACK, retries_of


class Timeout(ConnectionError):
    """A kind of connection error."""


def by_error(_message: Any, _attempt: int, _error: BaseException) -> float:
    return 5.0


async def later(_message: Any, _attempt: int, _error: BaseException) -> float:
    return 5.0


class Policy:
    def __call__(self, _message: Any, attempt: int, _error: BaseException) -> float:
        return attempt


class Later:
    async def __call__(self, _message: Any, attempt: int, _error: BaseException) -> float:
        return attempt


def test_the_rule_of_the_nearest_class_counts() -> None:
    near, far, farthest = Table(1), Table(2), Table(3)
    retries = Retries(on={OSError: far, Timeout: near, BaseException: farthest})
    assert retries.rule_for(Timeout) is near
    assert retries.rule_for(ConnectionError) is far
    assert retries.rule_for(SystemExit) is farthest
    assert Retries(on={OSError: far}).rule_for(ValueError) is None
    assert Retries().rule_for(ValueError) is None


def test_of_two_base_classes_the_first_in_the_order_of_resolution_counts() -> None:
    class Both(TimeoutError, ValueError):
        pass

    one, two = Table(1), Table(2)
    assert Retries(on={ValueError: two, TimeoutError: one}).rule_for(Both) is one
    assert Retries(on={ValueError: two, OSError: one}).rule_for(Both) is one, "OSError is the base of TimeoutError"


def test_classes_of_outcomes_stand_for_plain_ones() -> None:
    retries = Retries(on={ValueError: Reject, KeyError: Retry, OSError: Retry(30)})
    assert isinstance(retries.rule_for(ValueError), Reject)
    assert isinstance(retries.rule_for(KeyError), Retry)
    assert getattr(retries.rule_for(OSError), "after", None) == 30


def test_the_option_takes_schedules_functions_and_retries() -> None:
    retries = Retries(Table(1))
    assert retries_of(retries) is retries
    assert retries_of(Table(1)).schedule == Table(1)
    for function in (by_error, Policy(), partial(by_error), lambda m, n, e: 1, lambda *_: 1):
        assert retries_of(function).default is function
        assert retries_of(function).schedule is FALLBACK


def test_retries_show_what_they_are() -> None:
    retries = Retries(by_error, on={OSError: Table(1), ValueError: Reject}, immediate=2)
    assert repr(retries) == (
        "Retries(by_error, on={OSError: Table(1, jitter='none', floor=1.0), ValueError: Reject('')}, immediate=2)"
    )


KINDS = "Exponential, Linear, Table or a plain function of (message, attempt, error)"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"default": 5}, f"Retries(5): the default must be {KINDS}; for the same delay each time give Table(5)"),
        ({"default": [1, 2]}, f"Retries([1, 2]): the default must be {KINDS}; for these delays give Table(1, 2)"),
        (
            {"default": Exponential},
            f"Retries(Exponential): the default must be {KINDS}; give an instance: Exponential(...)",
        ),
        ({"default": later}, f": the default must be {KINDS}; write `def` in place of `async def`"),
        ({"default": Later()}, f": the default must be {KINDS}; write `def` in place of `async def`"),
        ({"default": lambda error: 1}, f": the default must be {KINDS}; it cannot be called with three arguments"),
        ({"immediate": -1}, "Retries(immediate=-1): must be a whole number from 0 to 100"),
        ({"immediate": True}, "Retries(immediate=True): must be a whole number from 0 to 100"),
        ({"immediate": 101}, "Retries(immediate=101): must be a whole number from 0 to 100"),
        (
            {"on": {"ValueError": Reject}},
            "Retries(on={'ValueError': ...}): each key must be an exception class, e.g. ConnectionError",
        ),
        ({"on": {int: Reject}}, "Retries(on={int: ...}): each key must be an exception class, e.g. ConnectionError"),
        (
            {"on": {Retry: Reject}},
            "Retries(on={Retry: ...}): a handler that raises Retry has said what follows; leave it out",
        ),
        (
            {"on": {OSError: 5}},
            f"Retries(on={{OSError: 5}}): must be Retry, Reject, {KINDS}; for the same delay each time give Table(5)",
        ),
        ({"on": {OSError: later}}, f": must be Retry, Reject, {KINDS}; write `def` in place of `async def`"),
    ],
)
def test_what_cannot_work_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Retries(**arguments)
    assert str(refusal.value).endswith(sentence)
