"""Handlers that worker processes import: each does what its message says."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leasekeeper import Batch, Message, Reject, Retry

if TYPE_CHECKING:
    import inspect
    from collections.abc import AsyncIterator, Callable, Iterator

log = logging.getLogger("jobs")


def _note(what: str) -> None:
    """Append a line to the file that the test reads; whole lines, whichever process writes."""
    with Path(os.environ["JOBS_NOTES"]).open("a") as notes:
        notes.write(f"{what}\n")


def work(message: Message[str]) -> None:
    """Do what the message says."""
    word, _, value = message.body.partition(" ")
    _note(f"{message.body} {message.attempt} {os.getpid()}")
    _DEEDS.get(word, _nothing)(message, value)


async def work_async(message: Message[str]) -> None:
    """The same, in a coroutine."""
    work(message)


def _nothing(message: Message[str], value: str) -> None:
    pass


def _kill(message: Message[str], value: str) -> None:
    os.kill(os.getpid(), getattr(signal, value.split(maxsplit=1)[0]))


def _kill_once(message: Message[str], value: str) -> None:
    if message.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _hang(message: Message[str], value: str) -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")  # holds the GIL for hours


def _raise(message: Message[str], value: str) -> None:
    raise ValueError(value)


def _reject(message: Message[str], value: str) -> None:
    raise Reject(value)


def _retry(message: Message[str], value: str) -> None:
    if message.attempt == 1:
        raise Retry(0)


def _sleep(message: Message[str], value: str) -> None:
    time.sleep(float(value.split(maxsplit=1)[0]))


def _spin(message: Message[str], value: str) -> None:
    end = time.thread_time() + float(value)
    while time.thread_time() < end:
        pass


def _allocate(message: Message[str], value: str) -> None:
    held = bytearray(int(value))
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(20)


def _ack(message: Message[str], value: str) -> None:
    _note(f"settled {message.ack().result(10).value}")


def _lease(message: Message[str], value: str) -> None:
    left = message.lease_deadline - time.monotonic()
    _note(f"lease {message.lease_lost} {message.lease_capped} {0 < left < 60}")


def _noise(message: Message[str], value: str) -> None:
    os.write(1, b"raw\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    threading.Thread(target=print, args=["from a thread"]).start()
    child = multiprocessing.get_context("fork").Process(target=print, args=["from a fork"])
    child.start()
    child.join()
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _crash(message: Message[str], value: str) -> None:
    ctypes.string_at(0)


def _log(message: Message[str], value: str) -> None:
    log.warning("logged %s", value)


_DEEDS: dict[str, Any] = {
    "kill": _kill,
    "killonce": _kill_once,
    "hang": _hang,
    "raise": _raise,
    "reject": _reject,
    "retry": _retry,
    "sleep": _sleep,
    "spin": _spin,
    "allocate": _allocate,
    "ack": _ack,
    "lease": _lease,
    "noise": _noise,
    "crash": _crash,
    "log": _log,
}


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[dict[str, int]]:
    """What each worker opens."""
    _note(f"open {os.getpid()}")
    yield {"pid": os.getpid()}
    _note(f"close {os.getpid()}")


@asynccontextmanager
async def broken(_: object) -> AsyncIterator[None]:
    """A lifespan that fails in a worker."""
    raise RuntimeError("no database here")
    yield


class Price:
    """What an injector gives."""

    def __init__(self) -> None:
        self.pid = os.getpid()


class Prices:
    """An injector of prices, for `def` handlers."""

    def gives(self, parameter: inspect.Parameter) -> bool:
        return parameter.annotation is Price

    @contextmanager
    def scope(self, message: object, /) -> Iterator[Callable[[object], Price]]:
        yield lambda parameter: Price()

    scope_async = override = scope


def injector() -> Any:
    """Called in each process."""
    return Prices()


def work_injected(message: Message[str], price: Price) -> None:
    """A handler that needs what the injector gives."""
    _note(f"injected {message.body} {price.pid == os.getpid()}")


def work_batch(batch: Batch[str]) -> None:
    """Do what the messages of a batch say: those that end the process end it for all."""
    _note(f"batch of {len(batch)} in {os.getpid()}")
    for message in batch:
        word, _, value = message.body.partition(" ")
        if word == "reject":
            batch.reject(message, value)
        elif word == "retry" and message.attempt == 1:
            batch.retry(message, after=0)
        else:
            _DEEDS.get(word, _nothing)(message, value)
    for message in batch:
        _note(f"{message.body} {message.attempt} {os.getpid()}")


def work_rows(bodies: list[str]) -> None:
    """Note how many bodies came."""
    _note(f"rows {len(bodies)} {os.getpid()}")


def work_with(message: Message[str], resources: dict[str, int]) -> None:
    """A handler that needs what the lifespan yields."""
    _note(f"with {resources['pid'] == os.getpid()}")
