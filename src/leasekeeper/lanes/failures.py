"""What a handler's error or result means, as an `Outcome` that the engine can log and settle at a bounded cost.

Used where handlers run: texts are made here and not on the engine's loop. Nothing in this file raises,
whatever the objects are that a handler raises or returns.
"""

from __future__ import annotations

import concurrent.futures
import inspect
import types
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.opening import NothingToHandle
from leasekeeper.errors import HandlerError, UndecodableBody
from leasekeeper.lanes.decoding import MANY, error_count
from leasekeeper.outcomes import Failed, NotNow, Outcome, Reject, Retry, Settlement, Skipped
from leasekeeper.texts import LIMIT, safe_str

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 10_000
"""Characters of an error's text above which a `HandlerError` stands for it."""
LINKS = 100
"""Errors that one error may bring along, as causes or as members of a group, before a `HandlerError` stands for it."""


def outcome_of_error(error: BaseException) -> Outcome:
    """What it means that a handler, or what is around it, raised `error`."""
    kind = type(error)  # not `isinstance`, which asks `error.__class__`: code of others, which may raise
    if issubclass(kind, (Retry, Reject)):
        return checked(error)
    if issubclass(kind, NotNow):
        return error.outcome  # type: ignore[attr-defined,no-any-return] # of this kind
    if issubclass(kind, NothingToHandle):
        return Skipped(safe_str(error))
    if issubclass(kind, UndecodableBody):
        rejected = Reject(safe_str(error))
        rejected.__cause__ = error
        return rejected
    return Failed(contained(error))


def outcome_of_result(result: Any, handler: str) -> Outcome | None:
    """What it means that a handler returned `result`; None: nothing beyond that it has ended."""
    kind = type(result)
    if issubclass(kind, type) and issubclass(result, (Retry, Reject)):  # `return Retry`
        try:
            result = result()
        except BaseException as error:
            return outcome_of_error(error)
        kind = type(result)
    if issubclass(kind, (Retry, Reject)):
        return checked(result)
    if _is_unfinished(kind):
        return Failed(_not_done(result, handler))
    return None


def checked(word: Any) -> Outcome:
    """A `Retry` or `Reject` with fields of the right kind; a failure if they cannot be read or used.

    Subclasses may have fields of any kind, and properties that raise.
    """
    try:
        if issubclass(type(word), Reject):
            reason = word.reason
            if type(reason) is str and len(reason) <= LIMIT and reason.isprintable():
                return word  # type: ignore[no-any-return]  # nearly always
            rejected = Reject(safe_str("" if reason is None else reason))
            rejected.__cause__ = word.__cause__
            return rejected
        after = word.after
        known = type(after) in (int, float) and 0 <= after <= 43_200
        return word if (after is None or known) and type(word) is Retry else Retry(after)
    except BaseException as error:
        return Failed(contained(error))


def _is_unfinished(kind: type) -> bool:
    """Whether a result of that type stands for work that has not run, or may not have ended.

    Only Python's own iterators count (a `map`, a generator): another one may be what finished work returns, as a
    database cursor is. A settlement may be returned too: `message.ack()` returns one.
    """
    return not issubclass(kind, Settlement) and (
        hasattr(kind, "__await__")
        or issubclass(kind, (types.GeneratorType, types.AsyncGeneratorType, concurrent.futures.Future))
        or (hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools"))
    )


def _not_done(result: Any, handler: str) -> TypeError:
    """The error for a result that is work still to run: if the message were deleted, it would be lost."""
    kind = type(result)
    if kind is types.CoroutineType and inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
        result.close()  # otherwise Python warns that it was never awaited
    if issubclass(kind, concurrent.futures.Future):
        advice = "return its `.result()`"
    elif hasattr(kind, "__await__"):
        advice = "make the handler an `async def` that awaits what it calls"
    else:
        advice = "loop over it before the handler returns"
    name = kind.__name__.replace("_", " ")
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return TypeError(
        f"handler {handler} returned {article} {name}: its work has not run, or may not have ended, so the message is "
        f"retried; {advice}"
    )


def contained(error: BaseException) -> BaseException:
    """`error` itself if it can be logged at a bounded cost, with all it brings along; else a `HandlerError` for it.

    The traceback is kept either way.
    """
    with suppress(BaseException):  # its text or one of its properties may raise
        if all(_is_short(each) for each in _with_causes(error)):
            return error
    count = error_count(error)
    text = f"{count} errors" if count > MANY else safe_str(error)
    return HandlerError(f"{type(error).__qualname__}: {text}").with_traceback(error.__traceback__)


def _is_short(error: BaseException) -> bool:
    if error_count(error) > MANY:
        return False
    texts = [str(error), *getattr(error, "__notes__", ())]
    if issubclass(type(error), SyntaxError):
        texts.append(getattr(error, "text", None) or "")
    return sum(map(len, texts)) <= LONG


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that a traceback shows with it.

    Raises:
        OverflowError: more than `LINKS` errors.
    """
    found, waiting = {id(error)}, [error]
    while waiting:
        current = waiting.pop()
        yield current
        others = [current.__cause__, None if current.__suppress_context__ else current.__context__]
        if issubclass(type(current), BaseExceptionGroup):
            others += current.exceptions  # type: ignore[attr-defined]
        if len(others) > LINKS or len(found) > LINKS:
            raise OverflowError
        for each in others:
            if each is not None and id(each) not in found:
                found.add(id(each))
                waiting.append(each)
