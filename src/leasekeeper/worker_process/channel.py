"""The worker's end of the pipe: a thread reads frames, any thread writes some.

Owned by the worker's main thread. It promises that the process ends when the engine's end of the pipe is closed,
whatever the handler does, unless it holds the GIL; the system ends it then.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from leasekeeper.lanes.processes.frames import Finish, Frames, Lease, Recall, Run, RunBatch, Settled, framed, to_worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from leasekeeper.lanes.processes.frames import ToEngine

CHUNK = 1 << 16
ORPHANED = 70
"""The exit code of a worker whose engine has ended (`EX_SOFTWARE`)."""
PATIENCE = 5.0
"""Seconds that a handler waits for what the engine says of a lease."""


class Channel:
    """Frames from and to the engine.

    Args:
        pipe: a stream socket; the engine has the other end.
        take: takes messages to run, on the reading thread.
        recall: gives back those that have not started.
        finish: no more will come.
        settled: told how an early settlement has ended.
    """

    clock = staticmethod(time.monotonic)
    """Seconds; all processes of a machine have the same."""

    def __init__(
        self,
        pipe: socket.socket,
        *,
        take: Callable[[Run | RunBatch], None],
        recall: Callable[[], None],
        finish: Callable[[], None],
        settled: Callable[[Settled], None],
    ) -> None:
        self._pipe = pipe
        self._writing = threading.Lock()
        self._take = take
        self._recall = recall
        self._finish = finish
        self._settled = settled
        self._leases: dict[int, Lease] = {}
        self._lease_came = threading.Condition()
        self._asking = threading.Lock()
        """Held from question to answer. Race: of two threads that ask for one message, one would take both answers."""
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A process that the handler forks has no part in this."""
        self._pipe.close()

    def start(self) -> None:
        """Start to read."""
        threading.Thread(target=self._read, name="leasekeeper-pipe", daemon=True).start()

    def send(self, *frames: ToEngine) -> None:
        """Write frames, from any thread."""
        data = b"".join(map(framed, frames))
        with self._writing:
            try:
                self._pipe.sendall(data)
            except OSError:  # the engine has ended
                os._exit(ORPHANED)

    def leases(self, ask: ToEngine, number: int) -> Mapping[int, Lease]:
        """Ask how the lease of a message stands, or those of a batch; none if the engine does not answer in time."""
        with self._asking:
            with self._lease_came:
                self._leases = {}
            self.send(ask)
            with self._lease_came:
                return self._leases if self._lease_came.wait_for(lambda: number in self._leases, PATIENCE) else {}

    def _read(self) -> None:
        frames = Frames()
        while data := self._receive():
            for body in frames.feed(data):
                self._handle(to_worker(body))
        os._exit(ORPHANED)

    def _receive(self) -> bytes:
        try:
            return self._pipe.recv(CHUNK)
        except OSError:
            return b""

    def _handle(self, frame: object) -> None:
        if isinstance(frame, Run | RunBatch):
            self._take(frame)
        elif isinstance(frame, Settled):
            self._settled(frame)
        elif isinstance(frame, Lease):
            with self._lease_came:
                self._leases[frame.message] = frame
                self._lease_came.notify_all()
        elif isinstance(frame, Recall):
            self._recall()
        elif isinstance(frame, Finish):
            self._finish()
