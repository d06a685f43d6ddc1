"""The host: the threads with an event loop that Leasekeeper runs, one for the engine and one for coroutine handlers.

Owned by a consumer, or by an app for all its consumers. User code never runs on the engine's loop, so a handler that
blocks its loop for minutes stops no heartbeat (L9). A loop runs while someone uses it, and ends in bounded time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from leasekeeper.engine.executor import DaemonExecutor
from leasekeeper.engine.loop_watch import LoopWatch
from leasekeeper.errors import ConfigurationError
from leasekeeper.futures import done_future, running_future
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")
log = safe_logger("leasekeeper.run")

LINGER = 1.5
"""Seconds that tasks and blocking calls which are left on a loop get to end, before they are left behind."""

_executors: WeakKeyDictionary[asyncio.AbstractEventLoop, DaemonExecutor] = WeakKeyDictionary()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where it is installed, else asyncio's own; its blocking calls run in daemon threads."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    executor = _executors[loop] = DaemonExecutor()
    loop.set_default_executor(executor)
    return loop


def close_loop(loop: asyncio.AbstractEventLoop, *, within: float = LINGER) -> list[str]:
    """Cancel what is left on a loop that has stopped, wait for it at most `within` seconds, and close the loop.

    `asyncio.run` waits without a limit for tasks, and minutes for blocking calls.

    Returns:
        What did not end, in words; it is left behind.
    """
    deadline = time.monotonic() + within
    left: list[str] = []
    tasks = asyncio.all_tasks(loop)
    if tasks:
        for task in tasks:
            task.cancel()
        _run_to_end(loop, asyncio.wait(tasks, timeout=within))
        left += [f"task {task.get_name()} ({_coroutine_name(task)})" for task in tasks if not task.done()]
        _tell_errors(loop, tasks)
    with suppress(TimeoutError):
        _run_to_end(loop, asyncio.wait_for(loop.shutdown_asyncgens(), max(0.1, deadline - time.monotonic())))
    executor = _executors.get(loop)
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)
        executor.join(max(0.0, deadline - time.monotonic()))
        left += [f"blocking call {name}()" for name in executor.running]
    loop.close()
    return left


def _run_to_end(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    """Run to the end, whatever a task raises through the loop: SystemExit and KeyboardInterrupt stop it each time."""
    task = loop.create_task(_awaited(work))
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            log.warning("%r ended a task while its event loop was closed", error)
    task.result()


async def _awaited(work: Any) -> None:
    await work


def _tell_errors(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a task failed while its event loop was closed", "exception": error, "task": task}
            loop.call_exception_handler(context)


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", "?"))


class LoopThread:
    """A daemon thread with an event loop, which runs while it has users; the last that leaves ends it.

    After that it can be used again, with a new thread. In a forked child, which has no thread of its parent, it starts
    a new one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._gone: Future[None] = done_future(None)

    def enter(self) -> asyncio.AbstractEventLoop:
        """Use the loop, and start it if it does not run; to be followed by `leave`.

        Raises:
            OSError: no loop can be made, as a rule because no file descriptors are left.
        """
        with self._lock:
            if self._loop is None:
                opened: Future[asyncio.AbstractEventLoop] = Future()
                gone = running_future()
                thread = threading.Thread(target=self._run, args=(opened, gone), name=self._name, daemon=True)
                thread.start()
                self._loop = opened.result()
                self._thread, self._gone = thread, gone
            self._users += 1
            return self._loop

    def leave(self) -> Future[None]:
        """Use it no more. Returns when the thread is gone if this was its last user, else something done already."""
        with self._lock:
            self._users -= 1
            if self._users:
                return done_future(None)
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.call_soon_threadsafe(loop.stop)
            return self._gone

    def _run(self, opened: Future[asyncio.AbstractEventLoop], gone: Future[None]) -> None:
        try:
            loop = new_event_loop()
        except Exception as error:  # raised in `enter`
            opened.set_exception(error)
            return
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True

        loop.call_soon(opened.set_result, loop)
        try:
            while not stopped:
                try:
                    loop.run_forever()
                    stop()
                except (SystemExit, KeyboardInterrupt) as error:
                    # asyncio stops the loop with it. Only the main thread's end ends a process: this loop goes on.
                    log.error("%r was raised by a task on the event loop %s; the loop goes on", error, self._name)  # noqa: TRY400
            for left in close_loop(loop):
                log.error("event loop %s: %s did not end in %g s and is left behind", self._name, left, LINGER)
        finally:
            gone.set_result(None)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call on the loop soon, from any thread or signal handler: takes no lock. Does nothing when no loop runs."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it was closed this very moment
                loop.call_soon_threadsafe(callback)

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T] | None:
        """Run a coroutine on the loop, from any thread; None when no loop runs."""
        loop = self._loop
        if loop is None:
            return None
        coroutine = work()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # it was closed this very moment
            coroutine.close()
            return None

    def turn(self) -> Future[None]:
        """A future that is done at the loop's next turn; done already when no loop runs."""
        turned: Future[None] = running_future()
        loop = self._loop
        if loop is None:
            return done_future(None)
        try:
            loop.call_soon_threadsafe(turned.set_result, None)
        except RuntimeError:  # it was closed this very moment
            return done_future(None)
        return turned

    def place(self) -> str:
        """The function that its thread runs now, or ran last, for logs."""
        return place_of(self._thread)

    def join(self, timeout: float = 5.0) -> None:
        """Wait for the thread to end after the last `leave`, at most `timeout` seconds."""
        thread = self._thread
        if self._loop is None and thread is not None and thread is not threading.current_thread():
            thread.join(timeout)


class Host:
    """The two loops of a consumer, or of all consumers of an app.

    Attributes:
        engine: where receiving, heartbeats and acknowledging run.
        handlers: where `async def` handlers run when they are started from synchronous code.
    """

    def __init__(self, name: str) -> None:
        self._watches: WeakValueDictionary[int, LoopWatch] = WeakValueDictionary()
        self.engine = LoopThread(name)
        self.handlers = LoopThread(f"{name}-handlers")

    def watch_of(self, loop: asyncio.AbstractEventLoop) -> LoopWatch:
        """The watch of a loop that handlers run on; consumers share it. To be called on the engine's loop."""
        watch = self._watches.get(id(loop))  # a watch refers to its loop, so this id is of no other loop
        if watch is None:
            watch = self._watches[id(loop)] = LoopWatch(loop, time.monotonic)
        return watch

    def join(self, timeout: float = 5.0) -> None:
        """Wait for threads that nothing uses any more to end, at most `timeout` seconds each."""
        self.engine.join(timeout)
        self.handlers.join(timeout)


def refuse_green_threads() -> None:
    """Refuse to start where gevent or eventlet has replaced threads: the engine's would block all others."""
    for name, question, part in (
        ("gevent", ("gevent.monkey", "is_module_patched"), "threading"),
        ("eventlet", ("eventlet.patcher", "is_monkey_patched"), "thread"),
    ):
        patched = getattr(sys.modules.get(question[0]), question[1], None)
        if patched is not None and patched(part):
            raise ConfigurationError(
                f"{name} has patched threads and sockets in this process, and Leasekeeper needs real ones: run "
                "consumers in a process without the patch"
            )


def place_of(thread: threading.Thread | None) -> str:
    """The function that a thread runs now, with its file and line."""
    frame = sys._current_frames().get((thread and thread.ident) or 0)  # noqa: SLF001 - documented, in spite of its name
    if frame is None:
        return "a call that cannot be named"
    return f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"


_all: WeakSet[LoopThread] = WeakSet()
_inherited: list[object] = []
"""Loops of the parent process: closed in a child, they would take the parent's sockets off its selector."""


def _after_fork() -> None:
    for thread in list(_all):
        if thread._loop is not None:  # noqa: SLF001 - the class is of this module
            _inherited.append(thread._loop)  # noqa: SLF001
        thread._forget()  # noqa: SLF001


os.register_at_fork(after_in_child=_after_fork)
