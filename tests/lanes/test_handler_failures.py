"""What a handler may raise and return that is odd: long texts, texts that raise, work that has not run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import sqlite3
import time
import traceback
import types
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from leasekeeper.errors import HandlerError
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.outcomes import DONE, Failed, Reject, Retry
from leasekeeper.testing.clock import VirtualLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome


def outcomes(make: Callable[[], Any], deliver: Callable[..., Delivery]) -> list[Outcome]:
    """The outcomes of an `async def` and of a `def` that return what `make` returns, or raise it or what it raises."""

    def produce() -> Any:
        made = make()
        if issubclass(type(made), BaseException) and not issubclass(type(made), (Retry, Reject)):
            raise made
        return made

    async def coroutine(body: str) -> Any:
        return produce()

    def plain(body: str) -> Any:
        return produce()

    return [
        run_virtual(Handler(coroutine, queue="q").run(lambda _answer: True, deliver())),
        Handler(plain, queue="q").run_blocking(lambda _answer: True, deliver()),
    ]


# Work that has not run


async def _ship() -> None:
    raise AssertionError("this never runs")


def _generate() -> Iterator[int]:
    yield 1


async def _generate_async() -> AsyncIterator[int]:
    yield 1


def _future() -> Any:
    loop = VirtualLoop()
    future = loop.create_future()
    loop.close()
    return future


class Deferred:
    """An awaitable that is no coroutine, as other libraries have them."""

    def __await__(self) -> Iterator[None]:
        yield


@types.coroutine
def _old_style() -> Iterator[None]:
    yield


AWAIT = "make the handler an `async def` that awaits what it calls"
LOOP = "loop over it before the handler returns"


@pytest.mark.parametrize(
    ("make", "kind", "advice"),
    [
        (_ship, "a coroutine", AWAIT),
        (_future, "a Future", AWAIT),
        (Deferred, "a Deferred", AWAIT),
        (_old_style, "a generator", LOOP),
        (_generate, "a generator", LOOP),
        (_generate_async, "an async generator", LOOP),
        (lambda: map(print, "abc"), "a map", LOOP),
        (lambda: filter(print, "abc"), "a filter", LOOP),
        (lambda: itertools.starmap(print, "abc"), "a starmap", LOOP),
        (concurrent.futures.Future, "a Future", "return its `.result()`"),
    ],
)
def test_a_result_that_is_work_still_to_run_is_a_failure(
    make: Callable[[], Any], kind: str, advice: str, deliver: Callable[..., Delivery]
) -> None:
    """If it counted as done, the message would be deleted although nothing was done."""
    for outcome in outcomes(make, deliver):
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, TypeError)
        assert str(outcome.error).endswith(
            f" returned {kind}: its work has not run, or may not have ended, so the message is retried; {advice}"
        )


def test_a_task_that_was_returned_is_a_failure(deliver: Callable[..., Delivery]) -> None:
    async def handle(body: str) -> Any:
        return asyncio.ensure_future(asyncio.sleep(60))

    outcome = run_virtual(Handler(handle, queue="q").run(lambda _answer: True, deliver()))
    assert isinstance(outcome, Failed)
    assert " returned a Task: its work has not run, or may not have ended" in str(outcome.error)


def test_a_settlement_and_the_iterator_of_work_that_was_done_may_be_returned(deliver: Callable[..., Delivery]) -> None:
    """`lambda message: message.ack()` and `return connection.execute(...)` have done their work."""

    def handle(message: Message[str]) -> Any:
        return message.ack()

    assert Handler(handle, queue="q").run_blocking(lambda _answer: True, deliver()) is DONE
    connection = sqlite3.connect(":memory:")
    assert outcomes(lambda: connection.execute("select 1"), deliver)[1] is DONE
    connection.close()


# Texts of any size


class Model(pydantic.BaseModel):
    tags: list[str]


def _validation_error() -> Any:
    return Model.model_validate({"tags": [1] * 200_000})


def _with_cause() -> Any:
    raise KeyError("short") from ValueError("x" * 1_000_000)


def _with_context() -> Any:
    error = KeyError("short")
    error.__context__ = ValueError("x" * 1_000_000)
    return error


def _with_note() -> Any:
    error = KeyError("short")
    error.add_note("x" * 1_000_000)
    return error


def _of_syntax() -> Any:
    return compile("x" * 1_000_000 + " x", "<body>", "exec")


def _chain() -> Any:
    error: BaseException | None = None
    for _ in range(5000):
        following = KeyError("short")
        following.__cause__, error = error, following
    return error


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ValueError("x" * 1_000_000), f"ValueError: {'x' * 1000}... (1000000 characters)"),
        (_validation_error, "ValidationError: 200000 errors"),
        (_with_cause, "KeyError: 'short'"),
        (_with_context, "KeyError: 'short'"),
        (_with_note, "KeyError: 'short'"),
        (_of_syntax, "SyntaxError: invalid syntax (<body>, line 1)"),
        (_chain, "KeyError: 'short'"),
        (
            lambda: ExceptionGroup("many", [ValueError("x" * 1000)] * 5000),
            "ExceptionGroup: many (5000 sub-exceptions)",
        ),
        (lambda: ExceptionGroup("one", [ValueError("x" * 100_000)]), "ExceptionGroup: one (1 sub-exception)"),
    ],
)
def test_an_error_that_is_too_long_to_log_is_replaced_by_a_short_one(
    make: Callable[[], Any], text: str, deliver: Callable[..., Delivery]
) -> None:
    """L9: the engine's loop makes the log line, and must not pay for what a handler put in its error."""
    for outcome in outcomes(make, deliver):
        assert isinstance(outcome, Failed)
        assert type(outcome.error) is HandlerError
        assert str(outcome.error) == text
        took, shown = list[float](), ""
        for _ in range(3):  # the first reads source files, and the garbage collector may run in one of them
            began = time.thread_time()
            shown = "".join(traceback.format_exception(outcome.error))
            took.append(time.thread_time() - began)
        assert min(took) < 0.1
        assert len(shown) < 5000
        assert "in produce" in shown, "its traceback is the handler's"


def test_an_ordinary_error_stays_as_it_is(deliver: Callable[..., Delivery]) -> None:
    for error in (ValueError("x" * 1000), ExceptionGroup("two", [ValueError(), KeyError("x")])):
        for outcome in outcomes(lambda error=error: error, deliver):  # type: ignore[misc]
            assert isinstance(outcome, Failed)
            assert outcome.error is error


# Code of others that raises


class TextRaises(ValueError):
    """Its `str` and `repr` raise what no `except Exception` catches."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class CauseRaises(ValueError):
    """Its cause is a property that raises."""

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt


class ClassRaises:
    """Its `__class__` raises, as that of a lazy object outside of its context does."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("working outside of context")


class ReasonRaises(Reject):
    """Its reason is a property that raises."""

    @property
    def reason(self) -> str:
        raise LookupError("no reason")

    @reason.setter
    def reason(self, value: str) -> None: ...


class RetryRaises(Retry):
    """It cannot be made without an argument."""

    def __init__(self, customer: str) -> None:
        super().__init__()
        self.customer = customer


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TextRaises(), "TextRaises: (TextRaises, its text cannot be shown)"),
        (CauseRaises("x"), "CauseRaises: x"),
    ],
    ids=["text", "cause"],
)
def test_an_error_with_texts_that_raise_is_a_failure(
    error: Exception, text: str, deliver: Callable[..., Delivery]
) -> None:
    """L15, L20: neither the lane nor a slot is lost because of it."""
    for outcome in outcomes(lambda: error, deliver):
        assert isinstance(outcome, Failed)
        assert str(outcome.error) == text
        assert text in "".join(traceback.format_exception(outcome.error))


def test_a_result_that_raises_when_it_is_looked_at_is_done(deliver: Callable[..., Delivery]) -> None:
    """L15: its handler has returned, and nothing of the result is needed."""
    assert outcomes(ClassRaises, deliver) == [DONE, DONE]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (ReasonRaises, LookupError),
        (lambda: RetryRaises, TypeError),
        (lambda: _changed(Retry(), after="soon"), TypeError),
        (lambda: _changed(Retry(), after=float("nan")), ValueError),
        (lambda: _changed(RetryRaises("Ada"), after=-1), ValueError),
    ],
)
def test_a_word_that_cannot_be_read_is_a_failure(
    make: Callable[[], Any], error: type[Exception], deliver: Callable[..., Delivery]
) -> None:
    """L15: it is found here, and not by the engine."""
    for outcome in outcomes(make, deliver):
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, error)


def _changed(word: Any, **values: Any) -> Any:
    for name, value in values.items():
        setattr(word, name, value)
    return word


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("x" * 1_000_000, "x" * 1000 + "... (1000000 characters)"),
        ("\x1b[31mred\nnext", r"\x1b[31mred next"),
        (ValueError("no such customer"), "no such customer"),
        (None, ""),
        (TextRaises(), "(TextRaises, its text cannot be shown)"),
    ],
    ids=["long", "control characters", "an error", "none", "raises"],
)
def test_a_reason_is_a_short_printable_text(reason: Any, shown: str, deliver: Callable[..., Delivery]) -> None:
    """L9: whatever a handler gives as the reason."""
    for outcome in outcomes(lambda: Reject(reason), deliver):
        assert isinstance(outcome, Reject)
        assert outcome.reason == shown


def test_a_subclass_of_retry_is_a_retry_after_the_same_time(deliver: Callable[..., Delivery]) -> None:
    class Later(Retry):
        @property
        def after(self) -> float:
            return 30.0

        @after.setter
        def after(self, value: float | None) -> None: ...

    for outcome in outcomes(Later, deliver):
        assert isinstance(outcome, Retry)
        assert outcome.after == 30.0
