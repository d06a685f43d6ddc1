"""Running a service in the foreground: its handlers on this thread's loop, until a signal or its own end.

Used by `Consumer.run`, `Leasekeeper.run` and the command line. The first SIGTERM or SIGINT stops, which drains; the
second forces, which cuts the drain short.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from leasekeeper.engine.host import new_event_loop
from leasekeeper.errors import LeasekeeperError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from concurrent.futures import Future
    from types import FrameType

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Completion(Generic[T]):
    """What `start()` and `stop()` return: to be awaited inside an event loop, done already in synchronous code."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[T]) -> None:
        self._future = future
        if not in_event_loop():
            future.result()

    def done(self) -> bool:
        """Whether it has come to its end."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end, at most `timeout` seconds, and say what came of it. Not from inside the event loop."""
        return self._future.result(timeout)

    def __await__(self) -> Generator[object, None, T]:
        # Shielded: whoever stops waiting does not call off the start or the stop.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()


class Service(Protocol[R_co]):
    """Something that can be run in the foreground."""

    def start(self) -> Awaitable[None]:
        """Start; done when it works."""
        ...

    def wait(self) -> Awaitable[object]:
        """Wait until it has ended, for whatever reason."""
        ...

    def stop(self) -> Awaitable[R_co]:
        """Stop; done when everything is settled."""
        ...

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop from a signal handler: takes no lock, does not wait."""
        ...


def in_event_loop() -> bool:
    """Whether this is called inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(service: Service[T]) -> T:
    """Run until stopped by a signal or ended by itself; what came of it."""
    if in_event_loop():
        raise LeasekeeperError("run() was called inside a running event loop: use `await consumer.start()` there")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_run(service))


async def _run(service: Service[T]) -> T:
    with _signals(service) as asked:
        await service.start()
        ended = asyncio.ensure_future(service.wait())
        stop = asyncio.ensure_future(asked.wait())
        await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        return await service.stop()


class _signals(Generic[T]):  # noqa: N801 - a context manager, used like a function
    """Turns signals into stops while it is open; outside the main thread it does nothing."""

    def __init__(self, service: Service[T]) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
        self._count = 0

    def __enter__(self) -> asyncio.Event:
        # Plain signal handlers, not the loop's: they are called even while a handler blocks the loop.
        if threading.current_thread() is threading.main_thread():
            for each in SIGNALS:
                self._before[each] = signal.signal(each, self._on_signal)
        return self._asked

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        self._service.request_stop(force=self._count > 1)
        self._loop.call_soon_threadsafe(self._asked.set)

    def __exit__(self, *_: object) -> None:
        for each, before in self._before.items():
            if before is not None:  # None: it was not set by Python, and cannot be set again by it
                signal.signal(each, before)
