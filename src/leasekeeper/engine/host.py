"""The host: a thread with an event loop of its own, where nothing but Leasekeeper runs.

Owned by a consumer, or by an app for all its consumers. User code never runs here, so a handler that blocks its own
loop for minutes stops no heartbeat (L9).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class LoopThread:
    """A daemon thread that runs an event loop until it is closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; starts the thread when it is first asked for."""
        with self._lock:
            if self._loop is None:
                opened: Future[asyncio.AbstractEventLoop] = Future()
                self._thread = threading.Thread(target=self._run, args=(opened,), name=self._name, daemon=True)
                self._thread.start()
                self._loop = opened.result()
            return self._loop

    def _run(self, opened: Future[asyncio.AbstractEventLoop]) -> None:
        runner = asyncio.Runner(loop_factory=new_event_loop)
        try:
            loop = runner.get_loop()
        except Exception as error:  # no descriptors left, as a rule: whoever waits for the loop is to hear of it
            opened.set_exception(error)
            return
        with runner:
            loop.call_soon(opened.set_result, loop)
            self._ended = asyncio.Event()
            runner.run(self._ended.wait())

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call on the loop soon, from any thread or signal handler: takes no lock. Nothing, if no loop is running."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it was closed this very moment
                loop.call_soon_threadsafe(callback)

    def end(self) -> None:
        """End the loop when what it is doing is done; does not wait, may be called twice and from any thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(self._ended.set)

    def join(self, timeout: float = 5.0) -> None:
        """Wait for the thread to end after `end`, at most that many seconds."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
