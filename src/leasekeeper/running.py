"""Running services: several as one, and in the foreground until a signal, always to an end in bounded time.

Used by `Consumer.run`, `Leasekeeper` and the command line; the one place that starts and stops several together. The
first SIGTERM or SIGINT stops, which drains; the second forces, which cuts the drain short.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from leasekeeper.engine.host import LINGER, close_loop, new_event_loop
from leasekeeper.errors import Closed, LeasekeeperError
from leasekeeper.futures import running_future, when_all
from leasekeeper.guard import Guard, SignalCounter, Signals
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from concurrent.futures import Future

T = TypeVar("T")
log = safe_logger("leasekeeper.run")


class Completion(Generic[T]):
    """What `start()` and `stop()` return: await it inside an event loop; in synchronous code it is done already.

    Attributes:
        asked: whether its caller has awaited it, or asked for its result.
    """

    __slots__ = ("_future", "asked")

    def __init__(self, future: Future[T]) -> None:
        self._future = future
        self.asked = False
        if not in_event_loop():
            future.result()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end, at most `timeout` seconds, and return its result. Not from inside the event loop."""
        self.asked = True
        return self._future.result(timeout)

    def __await__(self) -> Generator[object, None, T]:
        self.asked = True
        # A caller that stops waiting does not cancel the start or the stop: the future is one that cannot be cancelled.
        return asyncio.wrap_future(self._future).__await__()


class Service(Protocol):
    """Something that can be started, run in the foreground, and stopped."""

    def begin(self) -> Future[None]:
        """Start without waiting; the future is done when it works, or has failed to. Never raises."""
        ...

    def finish(self, *, force: bool = False) -> Future[Any]:
        """Stop without waiting; the future is done when everything is settled and closed. Never raises."""
        ...

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop from a signal handler: takes no lock, does not wait."""
        ...

    @property
    def ends(self) -> Sequence[Future[Any]]:
        """Futures that are done when what was begun has ended, for whatever reason."""
        ...

    @property
    def longest_stop(self) -> float:
        """Seconds that a stop may take, all its time-outs together."""
        ...


class Several:
    """Several services as one: started all or none, stopped at once.

    `finish` has the results of those that ended well; how the others ended is logged.
    """

    def __init__(self, members: Sequence[Service]) -> None:
        self._members = members

    def begin(self) -> Future[None]:
        """Start all at once. When one cannot start, the others are stopped before the future fails with its error."""
        begun, errors = running_future(), list[BaseException]()

        def note(start: Future[None]) -> None:
            error = start.exception()
            if error is not None:
                errors.append(error)
                self.request_stop()  # at once: the others may wait long for an endpoint

        def settle(_: object = None) -> None:
            if not errors:
                begun.set_result(None)
            else:
                self.finish().add_done_callback(lambda _: begun.set_exception(errors[0]))

        starts = [member.begin() for member in self._members]
        for start in starts:
            start.add_done_callback(note)
        when_all(starts, settle)
        return begun

    def finish(self, *, force: bool = False) -> Future[tuple[Any, ...]]:
        """Stop all at once; their results."""
        finished = running_future()
        ends = [member.finish(force=force) for member in self._members]
        when_all(ends, lambda: finished.set_result(tuple(end.result() for end in ends if _ended_well(end))))
        return finished

    def request_stop(self, *, force: bool = False) -> None:
        """Ask all for a stop."""
        for member in self._members:
            member.request_stop(force=force)

    @property
    def ends(self) -> Sequence[Future[Any]]:
        """Futures that are done when the members have ended."""
        return [end for member in self._members for end in member.ends]

    @property
    def longest_stop(self) -> float:
        """Seconds that the slowest stop may take."""
        return max((member.longest_stop for member in self._members), default=0.0)


def _ended_well(end: Future[Any]) -> bool:
    error = end.exception()
    if error is not None:
        log.error("a consumer ended with an error", exc_info=error)
    return error is None


def in_event_loop() -> bool:
    """Whether this is called inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(service: Service, supervisor: SignalCounter | None = None) -> Any:
    """Run until a signal or until it ends by itself; returns the result of its stop.

    In the main thread the end is bounded (L22). Handlers, background tasks and blocking calls that do not end within
    their time are named in the log and left behind. If a handler still blocks the main thread, the process ends without
    it, with exit code 1.

    Raises:
        LeasekeeperError: called inside a running event loop; or the start failed, with its own error.
    """
    if in_event_loop():
        raise LeasekeeperError("run() was called inside a running event loop: use `await consumer.start()` there")
    loop = new_event_loop()
    foreground = threading.current_thread() is threading.main_thread()
    guard = Guard(loop, service, supervised=supervisor is not None)
    signals = Signals(partial(_on_signal, service, guard), supervisor)
    with guard if foreground else nullcontext(), signals if foreground else nullcontext():
        try:
            return _complete(loop, service, _serve(service, guard, signals))
        finally:
            guard.stopped()
            for left in close_loop(loop):
                log.error("%s did not end in %g s after the stop and is left behind", left, LINGER)


def _on_signal(service: Service, guard: Guard, count: int) -> None:
    service.request_stop(force=count > 1)
    guard.stop_asked(force=count > 1)


def _complete(loop: asyncio.AbstractEventLoop, service: Service, work: Any) -> Any:
    main = loop.create_task(work, name="leasekeeper-run")
    try:
        return loop.run_until_complete(main)
    except BaseException:
        # `sys.exit()` in a task of the user's stops the loop: what it has is drained before it goes on its way.
        if not main.done():
            service.request_stop()
            loop.run_until_complete(asyncio.wait((main,)))
        raise


async def _serve(service: Service, guard: Guard, signals: Signals) -> Any:
    asked = signals.listen()
    if not asked.is_set():
        starting = service.begin()
        guard.watch(service)
        try:
            await asyncio.wrap_future(starting)
        except Closed:
            if not signals.count:
                raise
            log.info("stopped while it was starting; nothing was received")
        else:
            await _first(asked, service.ends)
    return await asyncio.wrap_future(service.finish())


async def _first(asked: asyncio.Event, ends: Sequence[Future[Any]]) -> None:
    """Wait until a stop is asked for, or all have ended."""
    ended = asyncio.gather(*map(asyncio.wrap_future, ends), return_exceptions=True)
    stop = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
