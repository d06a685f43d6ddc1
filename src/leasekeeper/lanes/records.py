"""Records: a handler of `S3Record` is called once for each record of a message, in order.

Used by `Handler` when it is constructed. It promises that the first call that fails, or that asks for a retry or a
rejection, is the last one for that message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.failures import outcome_of_result
from leasekeeper.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def each_record(call: Callable[[Any], Any], handler: str, *, is_coroutine: bool) -> Callable[[Any], Any]:
    """The same call for each record of its argument: a list of records, or a `Message` with such a body."""

    async def await_each(argument: Any) -> Any:
        for one in _split(argument):
            result = await call(one)
            if result is not None and outcome_of_result(result, handler) is not None:
                return result
        return None

    def call_each(argument: Any) -> Any:
        for one in _split(argument):
            result = call(one)
            if result is not None and outcome_of_result(result, handler) is not None:
                return result
        return None

    return await_each if is_coroutine else call_each


def _split(argument: Any) -> Iterator[Any]:
    if isinstance(argument, Message):
        return (argument.with_body(record) for record in argument.body)
    return iter(argument)
