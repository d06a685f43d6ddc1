"""The guard of a run in the foreground: signals become stops, and the process ends even when the main thread cannot.

Owned by `leasekeeper.running.run`. It promises that a stop which was asked for ends the process in bounded time (L22),
and that a forked child inherits none of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self
from weakref import WeakSet

from leasekeeper.engine.host import LINGER, place_of
from leasekeeper.exit_codes import Exit
from leasekeeper.futures import when_all
from leasekeeper.loggers import safe_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANGUP = getattr(signal, "SIGHUP", None)
"""The terminal was closed; Windows does not have it."""
FORCED_LINGER = 1.0
"""As `LINGER`, after a second signal."""
LOOK = 1.0
"""Seconds between two looks for the end, at the longest; a signal is heard at once."""

log = safe_logger("leasekeeper.run")


class Ending(Protocol):
    """What the guard has to know of a service."""

    @property
    def ends(self) -> Sequence[Future[Any]]: ...  # noqa: D102
    @property
    def longest_stop(self) -> float: ...  # noqa: D102


class SignalCounter(Protocol):
    """What knows which signals count, in a process that has a supervisor."""

    def level(self, number: int, count: int) -> int:
        """How many signals have counted with this one, where `count` had before it."""
        ...


class Guard:
    """A thread that waits for the end of a stop, and then a little for the main thread to follow."""

    def __init__(self, loop: asyncio.AbstractEventLoop, service: Ending, *, supervised: bool = False) -> None:
        self._loop = loop
        self._service = service
        self._supervised = supervised
        # A queue, not an event: a second signal may interrupt the handler of the first one inside `put`, and an event's
        # lock would then wait for itself.
        self._words: SimpleQueue[bool] = SimpleQueue()
        self._forced = False
        self._stopped = threading.Event()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="leasekeeper-guard", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._words.put(False)

    def watch(self, service: Ending) -> None:
        """Take the end of everything that has begun for a stop as well."""
        when_all(service.ends, lambda: self._words.put(True))

    def stop_asked(self, *, force: bool) -> None:
        """Note that a signal asks for a stop; takes no lock."""
        self._forced |= force
        self._words.put(True)

    def stopped(self) -> None:
        """Note that the service has stopped, and the main thread is closing its loop."""
        self._stopped.set()

    def _watch(self) -> None:
        if not self._words.get():
            return
        ends = self._service.ends
        if not (self._supervised or all(end.done() for end in ends)):  # a supervisor says it once for all
            longest = self._service.longest_stop
            _try(partial(log.info, "stopping, in at most %g s; a second signal cuts that short", longest))
        self._wait(ends, time.monotonic() + self._service.longest_stop)
        if self._stopped.wait(FORCED_LINGER if self._forced else LINGER) and self._over.wait(2 * LINGER):
            return
        if self._over.is_set():
            return
        self._abandon(ends)

    def _wait(self, ends: Sequence[Future[Any]], until: float) -> None:
        """Wait for the ends of what has begun; say it when a second signal forces."""
        told = self._supervised
        while not all(end.done() for end in ends) and (left := until - time.monotonic()) > 0:
            if self._forced and not told:
                told = True
                _try(partial(log.warning, "a second signal: what runs is cancelled and given back"))
            with suppress(Empty):
                self._words.get(timeout=min(left, LOOK))

    def _abandon(self, ends: Sequence[Future[Any]]) -> None:
        _try(partial(_tell, ends))
        _try(logging.shutdown)
        os._exit(Exit.FAILED)


def _try(call: Callable[[], object]) -> None:
    """Call, but wait a second at most: the main thread may be stuck inside the very handler that would log this."""
    with suppress(RuntimeError):  # no more threads
        thread = threading.Thread(target=call, name="leasekeeper-telling", daemon=True)
        thread.start()
        thread.join(1.0)


def _tell(ends: Sequence[Future[Any]]) -> None:
    for end in ends:
        if end.done() and end.exception() is None:
            log.info("%s", end.result())
    log.error(
        "all consumers have stopped, but the main thread is still in %s; the process ends without it",
        place_of(threading.main_thread()),
    )


_received = ""


def _note(name: str) -> None:
    global _received  # noqa: PLW0603 - a process has one disposition of a signal
    _received = name


def signal_received() -> str:
    """The name of the last signal that asked a run of this process for a stop; empty without one."""
    return _received


class Signals:
    """Calls `tell` with the count of signals so far, while it is open; in the main thread only."""

    def __init__(self, tell: Callable[[int], None], supervisor: SignalCounter | None = None) -> None:
        self._tell = tell
        self._supervisor = supervisor
        self.count = 0
        """How many signals have come."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: asyncio.Event | None = None
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        _note("")
        # Plain signal handlers, not the loop's: they are called even while a handler blocks the loop.
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        if HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_DFL:  # `nohup`, and handlers of others, stay
            self._before[HANGUP] = signal.signal(HANGUP, self._on_signal)
        _open.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        _open.discard(self)
        for number, before in self._before.items():
            if before is not None:  # None: it was not set by Python, and Python cannot set it again
                signal.signal(number, before)

    def listen(self) -> asyncio.Event:
        """An event of the running loop that is set as soon as a signal has come."""
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        if self.count:
            self._asked.set()
        return self._asked

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == HANGUP and self.count:
            return  # a terminal that is closed sends several: they cut no drain short
        count = self.count + 1 if self._supervisor is None else self._supervisor.level(number, self.count)
        if count <= self.count:
            return
        self.count = count
        _note(signal.Signals(number).name)
        self._tell(count)
        if self._loop is not None and self._asked is not None:
            with suppress(RuntimeError):  # the loop is closed: the run is over
                self._loop.call_soon_threadsafe(self._asked.set)


_open: WeakSet[Signals] = WeakSet()
_mask = threading.local()


def _before_fork() -> None:
    # Blocked until the child has its own handlers: Python forgets a signal that comes to a child before that.
    if _open:
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS if HANGUP is None else (*SIGNALS, HANGUP))


def _after_fork() -> None:
    before = getattr(_mask, "before", None)
    if before is not None:
        _mask.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _after_fork_in_child() -> None:
    """Give a child the handlers from before the run: it ends when it is told to, and drains no consumer."""
    for signals in list(_open):
        signals.restore()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
