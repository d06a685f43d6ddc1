"""Middleware: functions around the handler, outermost first. They see the message, and what is done with it."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from leasekeeper import Consumer, Message

Next = Callable[[Message[Any]], Awaitable[Any]]


async def timed(message: Message[Any], call_next: Next) -> Any:
    began = time.perf_counter()
    try:
        return await call_next(message)
    finally:
        print(f"{message.body}: {'quick' if time.perf_counter() - began < 5 else 'slow'}", flush=True)


async def only_known(message: Message[Any], call_next: Next) -> Any:
    if message.body.startswith("spam"):
        print(f"{message.body}: dropped", flush=True)
        return None  # returning acks
    return await call_next(message)


async def handle(message: Message[str]) -> None:
    print(f"{message.body}: handled", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    print(Consumer("notes", handle, middleware=(timed, only_known)).run())
