"""The lifespan of an app or a consumer: what is opened before the first poll and closed after the last ack.

Owned by an app or a consumer, used by the lives of its consumers on the engine's loop. It promises that the context
manager is entered once, for all of them, and left when the last has ended; that both happen in one task on the loop of
coroutine handlers; and that a stop waits for it in bounded time.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from contextlib import AbstractAsyncContextManager, AsyncContextDecorator
from typing import TYPE_CHECKING, Any

from leasekeeper.errors import ConfigurationError, LifespanError
from leasekeeper.futures import running_future
from leasekeeper.lanes.parameters import Resources
from leasekeeper.lanes.signature import name_of
from leasekeeper.loggers import safe_logger
from leasekeeper.texts import safe_str

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

log = safe_logger("leasekeeper.run")

CANCELLED_GRACE = 1.0
"""Seconds that a lifespan gets to clean up when it is cancelled after its time-out."""


class Lifespan:
    """Opens what the handlers of several consumers share: by the first that starts, until the last has ended.

    Args:
        function: returns an async context manager, as a function does that is decorated with `asynccontextmanager`.
        owner: the app or consumer that the function is called with.

    Raises:
        ConfigurationError: the function cannot be called with one argument, or is not decorated.
    """

    def __init__(self, function: Callable[[Any], AbstractAsyncContextManager[Any]], owner: object) -> None:
        self.name = name_of(function)
        _check(function, self.name)
        self.function = function
        self._owner = owner
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._users = 0
        self._opening: _Opening | None = None

    async def enter(self, application: asyncio.AbstractEventLoop) -> Resources:
        """Use what it yields, and open it on that loop if it is not open; to be followed by `leave`, in any case.

        Raises:
            LifespanError: it failed to open.
        """
        if self._pid != os.getpid():  # a forked child: the parent's is of no use here
            self._forget()
        self._users += 1
        if self._opening is None:
            self._opening = _Opening(self, application)
        return Resources(await asyncio.wrap_future(self._opening.opened))

    async def leave(self, timeout: float) -> LifespanError | None:  # noqa: ASYNC109 - it bounds what runs on another loop
        """Use it no more. The last that leaves closes it, waits at most about `timeout` seconds, and gets its error."""
        self._users -= 1
        if self._users or self._opening is None:
            return None
        opening, self._opening = self._opening, None
        return await opening.close(timeout)

    def open(self) -> AbstractAsyncContextManager[Any]:
        """A new context manager."""
        manager = self.function(self._owner)
        if not hasattr(type(manager), "__aenter__"):
            raise TypeError(f"it returned {type(manager).__qualname__}, {_ADVICE}")
        return manager


class _Opening:
    """One opening of a lifespan: a task on the loop of coroutine handlers, controlled from the engine's loop."""

    def __init__(self, lifespan: Lifespan, loop: asyncio.AbstractEventLoop) -> None:
        self._lifespan = lifespan
        self._loop = loop
        self.opened: Future[Any] = running_future()
        """What it yields, or the error with which it failed to open."""
        self._closed: Future[LifespanError | None] = running_future()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._overdue = 0.0
        """The time-out that it has exceeded at its close, in seconds."""
        if not self._on_loop(self._start):
            self.opened.set_exception(LifespanError(f"lifespan {lifespan.name} cannot open: its event loop is closed"))
            self._closed.set_result(None)

    def _on_loop(self, call: Callable[[], object]) -> bool:
        """Call on the application's loop, soon. False: it is closed."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return False
        return True

    # On the application's loop

    def _start(self) -> None:
        self._task = asyncio.create_task(self._live(), name="leasekeeper-lifespan")
        self._task.add_done_callback(self._ended)  # a task that is cancelled at once never runs a line

    async def _live(self) -> None:
        try:
            async with self._lifespan.open() as value:
                self.opened.set_result(value)
                await self._asked.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # also SystemExit, which would end the loop
            self._error = error

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say what its end means: an error is logged here, and handed on."""
        name = self._lifespan.name
        error = self._error or (asyncio.CancelledError() if task.cancelled() else None)
        if not self.opened.done():
            if self._error is not None:
                log.error("lifespan %s failed to open; nothing is received", name, exc_info=error)
            self.opened.set_exception(_failure(f"lifespan {name} failed to open", error))
            what = ""
        elif not self._asked.is_set():
            what = f"lifespan {name} ended before its consumers: stop them before their event loop ends"
        elif self._overdue:
            what = f"lifespan {name} did not close in {self._overdue:g} s and was cancelled"
        else:
            what = f"lifespan {name} failed to close" if error is not None else ""
        if what:
            log.error("%s", what, exc_info=error)
        self._closed.set_result(_failure(what, error) if what else None)

    def _leave(self) -> None:
        self._asked.set()
        if not self.opened.done():
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # On the engine's loop

    async def close(self, timeout: float) -> LifespanError | None:  # noqa: ASYNC109
        """Close it, and wait at most `timeout` seconds for that, then a little longer for its cancellation."""
        closed = asyncio.wrap_future(self._closed)
        reachable = self._on_loop(self._leave)
        if reachable:
            await asyncio.wait((closed,), timeout=timeout)
        if reachable and not self._closed.done():
            self._overdue = timeout
            self._on_loop(self._cancel)
            await asyncio.wait((closed,), timeout=CANCELLED_GRACE)
        if self._closed.done():
            return self._closed.result()
        why = f"did not close in {timeout:g} s and is left behind" if reachable else "was not closed: its event loop is"
        log.error("lifespan %s %s", self._lifespan.name, why)
        return LifespanError(f"lifespan {self._lifespan.name} {why}")


def _failure(what: str, error: BaseException | None) -> LifespanError:
    shown = "" if error is None or isinstance(error, asyncio.CancelledError) else _described(error)
    failed = LifespanError(f"{what}{shown and ': '}{shown}")
    failed.__cause__ = error
    return failed


def _described(error: BaseException) -> str:
    return f"{type(error).__qualname__}: {safe_str(error)}".removesuffix(": ")


_ADVICE = "not an async context manager: decorate an `async def` with one `yield` with @asynccontextmanager"


def _check(function: Any, name: str) -> None:
    if isinstance(function, AbstractAsyncContextManager) and isinstance(function, AsyncContextDecorator):
        raise ConfigurationError(f"lifespan {function!r} was called already: give the function without parentheses")
    kinds = (inspect.isasyncgenfunction, inspect.isgeneratorfunction, inspect.iscoroutinefunction)
    if not callable(function) or any(kind(function) for kind in kinds) or _is_blocking(function):
        raise ConfigurationError(f"lifespan {name} is {_ADVICE}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins have no readable signature
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(
            f"lifespan {name}{signature}: must take one argument, the app or the consumer ({error})"
        ) from error


def _is_blocking(function: Any) -> bool:
    """Whether it is decorated with `contextmanager`, which makes no async context manager."""
    return hasattr(function, "__wrapped__") and inspect.isgeneratorfunction(inspect.unwrap(function))
