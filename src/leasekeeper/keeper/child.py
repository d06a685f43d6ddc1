"""The keeper's process: started by a consumer's process, it watches that and ends after it.

It has the standard library, and of Leasekeeper only what needs nothing else. It promises that signals to the group of
the consumer do not end it, that what it needs is imported before the first message is received, and that it ends when
the last table is closed, or when it has settled what its dead consumer held.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from leasekeeper.keeper.layout import TABLE
from leasekeeper.keeper.threads import Threads
from leasekeeper.keeper.watched_process import WatchedProcess

INTERVAL = 0.1
"""Seconds between two looks."""


def main(connection: int, parent: int) -> None:
    """Watch the process `parent`, whose tables come through the socket `connection`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    threads = Threads()
    threads.start()
    watched = WatchedProcess(parent, threads, threads, say=lambda sentence: say(parent, sentence))
    with socket.socket(fileno=connection) as incoming:
        incoming.setblocking(False)
        alive = _Parent(parent)
        poll = select.poll()
        poll.register(incoming, select.POLLIN)
        alive.register(poll)
        ended = replaced = False
        while not (ended and not len(watched)):
            poll.poll(INTERVAL * 1000)
            while not ended and (message := watched.receive(incoming)) is not None:
                ended = message != TABLE
                # Without a word the connection ends only with its process, or by `exec`: no engine is left then.
                replaced = not message
                if ended:
                    poll.unregister(incoming)
            if replaced or not alive():
                watched.settle()
                return
            watched.look(time.monotonic())


class _Parent:
    """The process that is watched, by a descriptor of it: its id may go to another process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:  # it is dead already, or the kernel has no such descriptors
            self._descriptor = -1

    def register(self, poll: select.poll) -> None:
        """Let the poll end when it dies."""
        if self._descriptor >= 0:
            poll.register(self._descriptor, select.POLLIN)

    def __call__(self) -> bool:
        """Whether it lives."""
        if os.getppid() != self._pid:
            return False
        return self._descriptor < 0 or not select.select([self._descriptor], [], [], 0)[0]


def say(pid: int, sentence: str) -> None:
    """Tell people, on stderr."""
    try:
        sys.stderr.write(f"leasekeeper: the keeper of process {pid}: {sentence}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # what read it is gone
        pass
