"""Retries: what follows when a handler raises, by the kind of error: the option `retry`.

On the ground floor: users make them, lanes call the functions in them, the core decides by them. They never change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from leasekeeper.errors import ConfigurationError
from leasekeeper.functions import is_plain_function
from leasekeeper.message import Message
from leasekeeper.outcomes import Reject, Retry
from leasekeeper.schedules import Exponential, Schedule

RetryFunction = Callable[[Message[Any], int, Any], float | Retry | Reject | None]
"""`(message, attempt, error)`: seconds until the next attempt, `Retry`, `Reject`, or None for the default back-off."""
RetryRule = Schedule | Retry | Reject | RetryFunction
"""What follows for a kind of error. The classes `Retry` and `Reject` may stand for `Retry()` and `Reject()`."""
FALLBACK: Schedule = Exponential()
"""The back-off where a function is the default and cannot say: it raised, or nothing ran that could call it."""
MOST_IMMEDIATE = 100
_KINDS = "Exponential, Linear, Table or a plain function of (message, attempt, error)"


class Retries:
    """How failed messages are retried: the value of the option `retry`.

    `Retries(Exponential(base=2), on={RateLimited: Table(30, 60), InvalidOrder: Reject}, immediate=1)`

    Args:
        default: a schedule, or a function `(message, attempt, error)` that returns the seconds until the next attempt,
            a `Retry`, a `Reject`, or None for the default back-off. It must be quick: it runs where the error was
            raised, which is the handler, or the engine's loop for a `batch_key`. What it returns is rounded up to whole
            seconds, from 1 to 43,200; `Retry(after=0)` retries at once.
        on: rules for kinds of errors, by exception class. Of several that fit, the class nearest to the error's counts.
            A rule is a schedule, a function, `Retry`, `Reject`, or an instance of these two. An `UndecodableBody`
            follows only a rule for exactly this class.
        immediate: how many of a message's first attempts are followed by another one at once, under the same lease and
            in the same slot, 0 to 100. It applies to errors without a rule in `on`.

    Attributes:
        default: the default.
        on: the rules, by exception class.
        immediate: the number of immediate tries.

    Raises:
        ConfigurationError: something that cannot work.
    """

    __slots__ = ("default", "immediate", "on")

    def __init__(
        self,
        default: Schedule | RetryFunction = FALLBACK,
        *,
        on: Mapping[type[Any], type[Retry | Reject] | RetryRule] | None = None,  # the key of a mapping is invariant
        immediate: int = 0,
    ) -> None:
        if not isinstance(default, Schedule) and not is_plain_function(default, 3):
            raise ConfigurationError(f"Retries({_shown(default)}): the default must be {_KINDS}{_advice(default)}")
        if type(immediate) is not int or not 0 <= immediate <= MOST_IMMEDIATE:
            raise ConfigurationError(
                f"Retries(immediate={immediate!r}): must be a whole number from 0 to {MOST_IMMEDIATE}"
            )
        self.default = default
        self.on = MappingProxyType({kind: _checked(kind, rule) for kind, rule in (on or {}).items()})
        self.immediate = immediate

    def __reduce__(self) -> tuple[Callable[[], Retries], tuple[()]]:
        """They are pickled for worker processes, as what they were made of."""
        return partial(Retries, self.default, on=dict(self.on), immediate=self.immediate), ()

    @property
    def schedule(self) -> Schedule:
        """The back-off of errors that no function and no rule decides on."""
        return self.default if isinstance(self.default, Schedule) else FALLBACK

    def rule_for(self, kind: type[BaseException]) -> RetryRule | None:
        """The rule for errors of that class: of the nearest of its base classes that has one; None: the default."""
        if self.on:
            for each in kind.__mro__:
                if (rule := self.on.get(each)) is not None:
                    return rule
        return None

    def asks(self, kind: type[BaseException]) -> bool:
        """Whether a function decides on errors of that class."""
        rule = self.rule_for(kind)
        return not isinstance(self.default if rule is None else rule, Schedule | Retry | Reject)

    def __repr__(self) -> str:
        on = ", ".join(f"{kind.__name__}: {_shown(rule)}" for kind, rule in self.on.items())
        return f"Retries({_shown(self.default)}, on={{{on}}}, immediate={self.immediate})"


RetryPolicy = Retries | Schedule | RetryFunction
"""What the option `retry` takes."""


def retries_of(value: Any) -> Retries:
    """The value of the option `retry` as `Retries`: a schedule or a function is the default.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(value, Retries):
        return value
    if not isinstance(value, Schedule) and not is_plain_function(value, 3):
        raise ConfigurationError(f"retry={_shown(value)}: must be Retries, {_KINDS}{_advice(value)}")
    return Retries(value)


def _checked(kind: Any, rule: Any) -> RetryRule:
    name = getattr(kind, "__name__", repr(kind))
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        raise ConfigurationError(
            f"Retries(on={{{name}: ...}}): each key must be an exception class, e.g. ConnectionError"
        )
    if issubclass(kind, Retry | Reject):
        raise ConfigurationError(
            f"Retries(on={{{name}: ...}}): a handler that raises {name} has said what follows; leave it out"
        )
    if rule is Retry or rule is Reject:
        return rule()
    if isinstance(rule, Schedule | Retry | Reject) or is_plain_function(rule, 3):
        return rule  # type: ignore[no-any-return]
    raise ConfigurationError(f"Retries(on={{{name}: {_shown(rule)}}}): must be Retry, Reject, {_KINDS}{_advice(rule)}")


def _advice(value: Any) -> str:
    """What to write in place of a value that is no policy."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"; for the same delay each time give Table({value!r})"
    if isinstance(value, list | tuple):
        return f"; for these delays give Table({', '.join(map(repr, value))})"
    if isinstance(value, type):
        return f"; give an instance: {value.__name__}(...)"
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        return "; write `def` in place of `async def`"
    return "; it cannot be called with three arguments" if callable(value) else ""


def _shown(rule: Any) -> str:
    return str(getattr(rule, "__qualname__", None) or repr(rule))
