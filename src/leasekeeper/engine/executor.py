"""The executor of our loops: calls that block, in daemon threads.

Owned by each event loop that Leasekeeper makes, where `asyncio.to_thread` and name resolution use it. It promises that
a call which never returns keeps no process from ending, and that it works until the process ends: asyncio's own
executor refuses all calls as soon as the main thread has ended.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class DaemonExecutor(ThreadPoolExecutor):
    """Runs calls in up to `limit` daemon threads, started as they are needed.

    A subclass, because asyncio accepts nothing else as a loop's default executor. It uses none of the threads of its
    base class: those are joined at the end of the process, however long a call takes.
    """

    def __init__(self, limit: int = 32) -> None:
        super().__init__(max_workers=1)
        self._limit = limit
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._started: list[threading.Thread] = []
        self._running: dict[int, Callable[..., Any]] = {}
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in a thread.

        Raises:
            RuntimeError: after `shutdown`, or when not one thread can be started.
        """
        call = _Call(Future(), fn, args, kwargs)
        with self._starting:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            # Before the start: a new thread that found nothing would count as idle, and the next call would rely on it.
            self._calls.put(call)
            if not self._idle.acquire(blocking=False) and len(self._started) < self._limit:
                self._start()
        return call.future

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="leasekeeper-blocking", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads: those that run do the work
            if not self._started:
                self._calls.get_nowait()
                raise
        else:
            self._started.append(thread)

    def _work(self) -> None:
        me = threading.get_ident()
        while (call := self._next()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            self._running[me] = call.function
            try:
                result = call.function(*call.args, **call.kwargs)
            except BaseException as error:  # raised where the future is awaited
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
                del result
            del self._running[me], call

    def _next(self) -> _Call | None:
        try:
            return self._calls.get_nowait()
        except Empty:
            self._idle.release()
            return self._calls.get()

    @property
    def running(self) -> list[str]:
        """The functions that are being called now, by name."""
        return [_name(function) for function in list(self._running.values())]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; what waits is still called unless `cancel_futures`."""
        with self._starting:
            if not self._closed:
                self._closed = True
                if cancel_futures:
                    self._cancel()
                for _ in self._started:
                    self._calls.put(None)
        if wait:
            self.join(None)

    def _cancel(self) -> None:
        with suppress(Empty):
            while True:
                if (call := self._calls.get_nowait()) is not None:
                    call.future.cancel()

    def join(self, timeout: float | None) -> None:
        """Wait, after `shutdown`, until the calls have returned, at most `timeout` seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        for thread in self._started:
            if thread is not threading.current_thread():
                thread.join(None if deadline is None else max(0.0, deadline - monotonic()))


def _name(function: Callable[..., Any]) -> str:
    # asyncio.to_thread submits partial(context.run, function, ...)
    arguments = getattr(function, "args", ())
    inner = arguments[0] if arguments and callable(arguments[0]) else function
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))
