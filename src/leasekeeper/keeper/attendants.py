"""The keeper in a supervisor: each process that it has started has an attendant, which keeps its leases.

Owned by the supervisor, which imports little: so does this. The consumers of the process send their tables through a
socket that it inherits. It promises that no method waits, and that what a dead process held is settled in 30 seconds.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from leasekeeper.keeper import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.keeper.threads import Threads
    from leasekeeper.keeper.watched_process import WatchedProcess


class KeeperAttendant:
    """Keeps the leases of one process: a `leasekeeper.supervision.attendant.Attendant`.

    Args:
        threads: give the threads that extend and those that settle, of all attendants: the death of one process keeps
            no other waiting.
        say: tells people one sentence.
    """

    def __init__(self, threads: Callable[[], tuple[Threads, Threads]], say: Callable[[str], object]) -> None:
        self._threads = threads
        self._say = say
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._watched: WatchedProcess | None = None
        self._settling: threading.Thread | None = None

    @property
    def descriptors(self) -> Sequence[int]:
        """The other end of the socket, while it is here."""
        return [self._theirs.fileno()]

    @property
    def variables(self) -> Mapping[str, str]:
        """Names that socket, and this process: a variable is passed on to processes that have no such parent."""
        return {VARIABLE: f"{self._theirs.fileno()}:{os.getpid()}"}

    def started(self, pid: int) -> None:
        """Keep the leases of this process."""
        # All that this needs is imported now, while the process itself starts. Later, when memory is short or the files
        # have been replaced, it may be too late.
        from leasekeeper.keeper.watched_process import WatchedProcess

        self._theirs.close()
        self._watched = WatchedProcess(
            pid, *self._threads(), say=lambda words: self._say(f"keeper of process {pid}: {words}")
        )

    def look(self, now: float) -> bool:
        """Extend what is due; after the death, whether messages are still settled."""
        if self._watched is None:
            return False
        if self._settling is not None:
            if self._settling.is_alive():
                return True
            self._watched.close()
            self._watched = None
            return False
        self._receive(self._watched)
        self._watched.look(now)
        return True

    def _receive(self, watched: WatchedProcess) -> None:
        if watched.take_in(self._ours):
            for threads in self._threads():
                threads.start()

    def died(self) -> bool:
        """Settle what it held, in another thread; False if it has ended all its tables, and so held nothing."""
        watched = self._watched
        if watched is None:
            return False
        self._receive(watched)
        self._ours.close()
        if watched.over:
            watched.close()
            self._watched = None
            return False
        self._settling = threading.Thread(target=watched.settle, name="leasekeeper-keeper-settling", daemon=True)
        self._settling.start()
        return True

    def __repr__(self) -> str:
        return f"<KeeperAttendant {self._watched!r}>"


class KeeperAttendants:
    """Makes the attendants of a supervisor."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._threads: tuple[Threads, Threads] | None = None
        self._say = say

    def __call__(self, number: int) -> KeeperAttendant:  # noqa: ARG002 - the supervisor's
        """An attendant for the process of this number."""
        return KeeperAttendant(self._shared, self._say)

    def _shared(self) -> tuple[Threads, Threads]:
        from leasekeeper.keeper.threads import Threads

        if self._threads is None:
            self._threads = Threads(), Threads()
        return self._threads
