"""The main function of a worker process.

Started by the processes lane. It promises to say why it cannot start, and to end with the engine.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
import traceback
from functools import partial
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.processes.frames import Broken
from leasekeeper.worker_process.channel import Channel
from leasekeeper.worker_process.worker import Worker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_SIGKILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG
BROKEN = 3
"""The exit code of a worker that could not start."""


def run_worker(connection: Connection, blueprint: bytes, log_level: int, *, tell_rss: bool) -> None:
    """Run until the engine says so, or ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends it to all processes; the engine decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    pipe = socket.socket(fileno=os.dup(connection.fileno()))
    pipe.setblocking(True)
    connection.close()
    worker = Worker(partial(Channel, pipe), tell_rss=tell_rss)
    with asyncio.Runner() as runner:
        try:
            runner.run(worker.open(blueprint, log_level))
        except BaseException as error:
            _tell_broken(worker, error)
        if worker.is_coroutine:
            runner.run(worker.serve())
        else:
            worker.serve_blocking()  # outside the loop: such a handler may block, and may run loops itself
        runner.run(worker.close())


def _die_with_parent() -> None:
    """Let Linux end this process with its parent, also while a handler holds the GIL.

    The parent is the fork server. It ends when the last descriptor of the engine's end of a pipe is closed, and
    `multiprocessing` gives one to each process that it forks: this one gives it back.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGKILL_WITH_PARENT, signal.SIGKILL)
    server: Any = forkserver._forkserver  # noqa: SLF001 - there is no public name
    descriptor = getattr(server, "_forkserver_alive_fd", None)
    if descriptor is not None:
        os.close(descriptor)
        server._forkserver_alive_fd = server._forkserver_address = None  # noqa: SLF001


def _tell_broken(worker: Worker, error: BaseException) -> None:
    lines = "".join(traceback.format_exception(error))
    worker.channel.send(Broken(f"{type(error).__name__}: {error}", lines))
    os._exit(BROKEN)
