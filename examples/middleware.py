"""Middleware: functions around the handler, outermost first. Each sees the message and decides whether to call on.

cd examples
leasekeeper local --queue notes &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
python middleware.py &
leasekeeper send notes hello
leasekeeper send notes spam
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from leasekeeper import Consumer, Message

Next = Callable[[Message[Any]], Awaitable[Any]]


async def timed(message: Message[Any], call_next: Next) -> Any:
    """Report how long the handler took, also when it failed."""
    began = time.perf_counter()
    try:
        return await call_next(message)
    finally:
        seconds = time.perf_counter() - began
        print(f"{message.body}: {'quick' if seconds < 5 else 'slow'}", flush=True)


async def without_spam(message: Message[Any], call_next: Next) -> Any:
    """Drop spam: without `call_next` the handler does not run, and returning deletes the message."""
    if message.body.startswith("spam"):
        print(f"{message.body}: dropped", flush=True)
        return None
    return await call_next(message)


async def handle(message: Message[str]) -> None:
    print(f"{message.body}: handled", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print(Consumer("notes", handle, middleware=(timed, without_spam)).run())
