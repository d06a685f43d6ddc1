"""What the return value of a batch handler says of its messages.

Used by `BatchRun`, where the handler ran. A value that is not understood (a count, a text), or names something which is
not a message of the call, fails all messages that the handler has not named: it is never taken for success.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import HandlerError
from leasekeeper.lanes.failures import outcome_of_error, outcome_of_result
from leasekeeper.message import Message
from leasekeeper.outcomes import DONE, Done, Failed, Reject, Retry, Settlement
from leasekeeper.texts import safe_repr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

FAILURES = "batchItemFailures"
IDENTIFIER = "itemIdentifier"
"""The keys of the dictionary that AWS Lambda takes from a batch handler."""
SHOWN = 80
"""Characters of a wrong value that the error shows."""

Named = dict["Delivery", "Outcome"]


class _WrongError(Exception):
    """What is wrong with a return value."""


def named_by(
    result: Any, rows: Sequence[Delivery], messages: Mapping[Message[Any], Delivery], handler: str
) -> tuple[Named, Outcome]:
    """The messages that a return value names, each with its outcome, and the outcome of all others.

    Args:
        result: what the handler returned.
        rows: the deliveries of the call.
        messages: the messages that it was given; empty if it was given bodies.
        handler: its name.
    """
    if result is None:
        return {}, DONE
    if not _may_name(result):
        return {}, _outcome_of_all(result, handler)
    try:
        return dict(_read(result, rows, messages, handler)), DONE
    except _WrongError as error:
        return {}, _wrong(error, handler)
    except BaseException as error:  # to iterate over it runs a user's code
        return {}, outcome_of_error(error)


def _may_name(result: Any) -> bool:
    """Whether it is of a kind that names messages."""
    kind = type(result)
    return issubclass(kind, Iterable) and not (
        issubclass(kind, (str, bytes, bytearray, type)) or hasattr(kind, "__await__")
    )


def _outcome_of_all(result: Any, handler: str) -> Outcome:
    """What a result that names no message says of all: only `Done` and a pending settlement mean success."""
    outcome = outcome_of_result(result, handler)
    if outcome is not None or issubclass(type(result), (Done, Settlement)):
        return outcome or DONE
    return _wrong(
        f"{safe_repr(result, SHOWN)}, of type {type(result).__name__}, which says of no message how it went: return "
        "None if all are done, else the messages that failed, Retry(...) or Reject(...)",
        handler,
    )


def _wrong(what: object, handler: str) -> Failed:
    return Failed(ValueError(f"handler {handler} returned {what}; all messages that it has not named fail"))


def _read(
    result: Any, rows: Sequence[Delivery], messages: Mapping[Message[Any], Delivery], handler: str
) -> Iterator[tuple[Delivery, Outcome]]:
    if isinstance(result, Mapping):
        if any(isinstance(each, Message) for each in result):
            for message, value in result.items():
                yield _row_of(message, messages), _outcome_of(value, handler)
        elif result:
            yield from _of_lambda(result, rows, handler)
        return
    failed = _named(handler)
    for message in result:
        yield _row_of(message, messages), failed


def _row_of(message: Any, messages: Mapping[Message[Any], Delivery]) -> Delivery:
    row = messages.get(message) if isinstance(message, Message) else None
    if row is None:
        advice = (
            "name messages of the batch"
            if messages
            else "it takes bodies, so it can name no message: annotate its parameter with Batch[...], or return None"
        )
        raise _WrongError(f"something with {safe_repr(message, SHOWN)}, which is no message of this call: {advice}")
    return row


def _outcome_of(value: Any, handler: str) -> Outcome:
    if value is None or isinstance(value, Done):
        return DONE
    if isinstance(value, BaseException):
        return outcome_of_error(value)
    if isinstance(value, type) and issubclass(value, (Retry, Reject)):
        return outcome_of_result(value, handler) or DONE
    raise _WrongError(
        f"a mapping with the value {safe_repr(value, SHOWN)}: give None, an exception, Retry(...) or Reject(...)"
    )


def _of_lambda(result: Mapping[Any, Any], rows: Sequence[Delivery], handler: str) -> Iterator[tuple[Delivery, Outcome]]:
    if FAILURES not in result:
        raise _WrongError(f"a mapping without the key {FAILURES!r} and without messages, {safe_repr(result, SHOWN)}")
    items = result[FAILURES]
    if items is None:
        return
    if isinstance(items, str | Mapping) or not isinstance(items, Iterable):
        raise _WrongError(f"{FAILURES!r} with {safe_repr(items, SHOWN)}: give a list")
    failed = _named(handler)
    for item in items:
        name = item.get(IDENTIFIER) if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not name:
            raise _WrongError(
                f"{FAILURES!r} with {safe_repr(item, SHOWN)}: name each failed message as {{{IDENTIFIER!r}: its id}}"
            )
        found = [row for row in rows if row.received.message_id == name]
        if not found:
            raise _WrongError(f"{FAILURES!r} with the id {safe_repr(name, SHOWN)}, which no message of this call has")
        yield from ((row, failed) for row in found)


def _named(handler: str) -> Failed:
    return Failed(HandlerError(f"handler {handler} named this message as failed"))
