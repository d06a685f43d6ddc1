"""Idempotency: whether a handler may run twice for one message, also after a crash in the middle.

Used by users' tests. SQS delivers at least once, so every handler meets this one day.
"""

from __future__ import annotations

import copy
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from leasekeeper.consumer import Consumer
from leasekeeper.lanes.handler import Handler
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from leasekeeper.testing.handling import Handled

MOST = 200
"""Places at which the handler is made to crash, at most."""


class Crash(BaseException):
    """The end of a process in the middle of a handler. `finally` blocks run nevertheless, which a kill would not do."""


def assert_idempotent(
    handler: Callable[..., Any] | Consumer,
    body: object,
    *,
    state: Callable[[], object] | None = None,
    reset: Callable[[], object] | None = None,
    **options: Any,
) -> None:
    """Run a handler twice with one message, then once more for each place in it at which a process might crash.

    An `async def` handler crashes at each of its awaits that waits, a `def` handler before each of its lines. After
    each crash it runs again, as after a redelivery.

    Args:
        handler: as `run_handler` has it.
        body: of the message.
        state: what the handler has made, e.g. `lambda: dict(table)`. It must be the same after one run, after two, and
            after a crash with a run. Unset: only the ends of the runs are checked.
        reset: brings the state back to where it was before the first run, for the crashes.
        options: further arguments of `run_handler`.

    Raises:
        AssertionError: a run that should end well does not, or the state differs; the sentence says where.
    """
    look = state or (lambda: None)
    _good(run_handler(handler, body, **options), "the first run")
    expected = copy.deepcopy(look())
    _good(run_handler(handler, body, receive_count=2, **options), "the second run")
    _same(look(), expected, "a second run")
    for place in range(1, MOST + 1):
        if reset is not None:
            reset()
        crashing = _Crashing(place)
        run_handler(_with(handler, crashing), body, **_but(options, handler, crashing))
        if not crashing.where:
            break
        _good(run_handler(handler, body, receive_count=2, **options), f"the run after a crash {crashing.where}")
        _same(look(), expected, f"a crash {crashing.where} and another run")
    if reset is not None:
        reset()


def _good(handled: Handled, what: str) -> None:
    if not handled.acked:
        raise AssertionError(f"{what} does not end well: {handled.outcome!r}") from handled.error


def _same(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"not idempotent: after one run the state is {expected!r}, after {what} it is {found!r}")


def _with(handler: Callable[..., Any] | Consumer, crashing: _Crashing) -> Any:
    """What is run: a consumer again with one more middleware; a function as it is."""
    if not isinstance(handler, Consumer):
        return handler
    middleware = crashing.around(is_coroutine=handler.handler.is_coroutine)
    again: Any = copy.copy(handler)
    again.configure({"middleware": (*handler.options.middleware, middleware)})
    return again


def _but(options: dict[str, Any], handler: Callable[..., Any] | Consumer, crashing: _Crashing) -> dict[str, Any]:
    if isinstance(handler, Consumer):
        return options
    is_coroutine = Handler(handler, queue="test", **_of_handler(options)).is_coroutine
    middleware = crashing.around(is_coroutine=is_coroutine)
    return {**options, "middleware": (*options.get("middleware", ()), middleware)}


def _of_handler(options: dict[str, Any]) -> dict[str, Any]:
    from leasekeeper.lanes.parameters import NOT_YET

    return {"resources": NOT_YET, "envelope": options.get("envelope")}


class _Crashing:
    """Middleware that ends the handler at one of its places, counted from 1."""

    def __init__(self, place: int) -> None:
        self._left = place
        self.where = ""
        """Where it crashed; empty: the handler has fewer places."""

    def around(self, *, is_coroutine: bool) -> Callable[[Any, Callable[..., Any]], Any]:
        """The middleware for a handler of that kind."""
        return self._coroutine if is_coroutine else self._plain

    async def _coroutine(self, message: Any, call_next: Callable[..., Any]) -> Any:
        return await _Steps(call_next(message), self)

    def crash(self, where: str) -> None:
        """Crash here, if this is the place."""
        self._left -= 1
        if self._left == 0:
            self.where = where
            raise Crash(where)

    def _plain(self, message: Any, call_next: Callable[..., Any]) -> Any:
        code = _code_of(call_next)

        def trace(frame: FrameType, event: str, _: object) -> Any:
            if frame.f_code is not code:
                return trace if event == "call" else None
            if event == "line":
                self.crash(f"before line {frame.f_lineno - code.co_firstlineno + 1}")
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            return call_next(message)
        finally:
            sys.settrace(before)


def _code_of(function: Any) -> Any:
    """The code of a user's function, inside of what stands around it."""
    seen = set()
    while id(function) not in seen:
        seen.add(id(function))
        inner = getattr(function, "__wrapped__", None)
        if inner is None and hasattr(function, "func"):  # a partial: of ours, with the function as an argument
            inner = next(
                (each for each in function.args if callable(each) and not isinstance(each, type)), function.func
            )
        if inner is None:
            break
        function = inner
    return getattr(getattr(function, "__func__", function), "__code__", None)


class _Steps:
    """Awaits a coroutine, and crashes where it waits."""

    def __init__(self, coroutine: Any, crashing: _Crashing) -> None:
        self._coroutine = coroutine
        self._crashing = crashing

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        go_on = partial(steps.send, None)
        for number in count(1):
            try:
                waits_on = go_on()
            except StopIteration as end:
                return end.value
            try:
                self._crashing.crash(f"at wait {number} of it")
            except Crash as crash:
                with suppress(BaseException):
                    steps.throw(crash)
                raise
            try:
                go_on = partial(steps.send, (yield waits_on))
            except BaseException as error:  # a cancellation is the coroutine's
                go_on = partial(steps.throw, error)
        raise AssertionError
