"""A worker process as the engine sees it: its pipe, what it runs, and what waits in it.

Owned by the processes lane, used on the engine's loop. It blocks for nothing: what the pipe cannot take is kept until
it can. Its death is told once, after everything that it had written was read.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.processes.frames import Finish, Frames, framed, to_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.worker_life import WorkerLife
    from leasekeeper.lanes.processes.frames import ToEngine, ToWorker
    from leasekeeper.lanes.processes.tasks import Task

CHUNK = 1 << 18
INSIDE = "leasekeeper.worker_process.main"
"""The module with the main function of a worker; imported there and not here."""


def _run_worker(connection: Any, blueprint: bytes, environment: dict[str, str], log_level: int, tell_rss: bool) -> None:
    """The target of the process. It imports the rest where it runs."""
    from importlib import import_module

    os.environ.clear()  # the fork server has the environment of its own start
    os.environ.update(environment)
    import_module(INSIDE).run_worker(connection, blueprint, log_level, tell_rss=tell_rss)


def context_of(start_method: str | None, preload: Sequence[str]) -> Any:
    """How worker processes are started.

    Never by `fork`: the engine has threads, and a child would inherit their locks as they are at that moment.
    """
    method = start_method or ("forkserver" if sys.platform == "linux" else "spawn")
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([INSIDE, *preload])
    return context


class WorkerProcess:
    """One worker.

    Attributes:
        ready: whether it can run messages.
        leaving: whether it is given no more messages.
        running: what it runs; None between two.
        waiting: what it was given and has not started, by number.
        withheld: messages that it keeps although their handler has returned.
        ended_by: why we end it, for what follows for its message; empty when it ends by itself.
        overdue: the number of what ran longer than it may, if the worker is ended for that.
        cause: as what that counts among the deaths; empty: not at all.
        life: how much it has done.
    """

    def __init__(
        self, life: WorkerLife, *, received: Callable[[WorkerProcess, ToEngine], None], died: Callable[[Any], None]
    ) -> None:
        self.life = life
        self.ready = self.leaving = False
        self.running: Task[Any] | None = None
        self.waiting: dict[int, Task[Any]] = {}
        self.withheld: dict[int, Delivery] = {}
        self.ended_by = self.cause = ""
        self.overdue = 0
        self.process: Any = None
        self._received = received
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._pipe: socket.socket | None = None
        self._frames = Frames()
        self._out = bytearray()
        self._gone = False

    async def start(self, context: Any, blueprint: bytes, *, tell_rss: bool) -> None:
        """Start the process; it says `Ready`, or `Broken`, or dies.

        Raises:
            OSError: the system has no process or descriptor left.
        """
        here, there = context.Pipe(duplex=True)
        level = logging.getLogger().getEffectiveLevel()
        # Not a daemon of `multiprocessing`: such a process may have no children, and a handler may want some.
        self.process = context.Process(
            target=_run_worker,
            args=(there, blueprint, dict(os.environ), level, tell_rss),
            name="leasekeeper-worker",
            daemon=False,
        )
        try:
            await asyncio.to_thread(self.process.start)
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        self._pipe = socket.socket(fileno=os.dup(here.fileno()))
        here.close()
        self._pipe.setblocking(False)
        self._loop.add_reader(self._pipe, self._readable)
        self._loop.add_reader(self.process.sentinel, self._ended)

    @property
    def pid(self) -> int | None:
        """Its process id; None before the start and after the end."""
        return None if self._gone or self.process is None else self.process.pid

    @property
    def load(self) -> int:
        """Messages, or batches, that it runs or that wait in it."""
        return len(self.waiting) + (self.running is not None)

    def send(self, *frames: ToWorker) -> None:
        """Write frames, now or when the pipe can take them."""
        if self._pipe is None:
            return
        before = bool(self._out)
        self._out += b"".join(map(framed, frames))
        if not before:
            self._write()

    def _write(self) -> None:
        pipe = self._pipe
        if pipe is None:
            return
        try:
            while self._out:
                del self._out[: pipe.send(self._out)]
        except BlockingIOError:
            self._loop.add_writer(pipe, self._write)
            return
        except OSError:  # it is dead, and its end will be told
            self._out.clear()
        self._loop.remove_writer(pipe)

    def _readable(self) -> None:
        if not self._read() and self._pipe is not None:
            self._loop.remove_reader(self._pipe)  # its end follows

    def _read(self) -> bool:
        """Handle what is there; False at the end of the pipe."""
        assert self._pipe is not None
        try:
            data = self._pipe.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        for body in self._frames.feed(data):
            self._received(self, to_engine(body))
        return bool(data)

    def _ended(self) -> None:
        """The process is gone: read what it still wrote, then tell."""
        self._loop.remove_reader(self.process.sentinel)
        pipe = self._pipe
        if pipe is not None:
            self._loop.remove_reader(pipe)
            self._loop.remove_writer(pipe)
            while self._read_rest(pipe):
                pass
            pipe.close()
            self._pipe = None
        self.process.join()
        self._gone = True
        self._died(self)

    def _read_rest(self, pipe: socket.socket) -> bool:
        try:
            data = pipe.recv(CHUNK)
        except OSError:
            return False
        for body in self._frames.feed(data):
            self._received(self, to_engine(body))
        return bool(data)

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        code: int | None = self.process.exitcode
        return code

    def finish(self) -> None:
        """Let it end when it has run what it has."""
        if not self.leaving:
            self.leaving = True
            self.send(Finish())

    def terminate(self, reason: str) -> None:
        """Ask it to end now, whatever it runs (SIGTERM)."""
        self.ended_by = self.ended_by or reason
        if self.pid is not None:
            self.process.terminate()

    def kill(self, reason: str = "") -> None:
        """End it now (SIGKILL)."""
        self.ended_by = self.ended_by or reason
        if self.pid is not None:
            self.process.kill()

    def close(self) -> None:
        """Give back its descriptors; it has ended."""
        if self._gone:
            self.process.close()

    def __repr__(self) -> str:
        state = "ready" if self.ready else "gone" if self._gone else "starting"
        return f"<WorkerProcess {self.pid} {state}, {self.load} at work>"
