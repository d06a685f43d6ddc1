"""A watched process: the tables of its consumers, the calls made for them, and the settling after its death.

Owned by the keeper's process, or by a supervisor, one for each process that it watches. It promises that `look` does
not wait for a call, and that `settle` ends after 30 seconds at most.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from leasekeeper.keeper.calls import TIMEOUT, Refused, SqsCalls, context_for
from leasekeeper.keeper.claims import LockClaims
from leasekeeper.keeper.extensions import Extensions
from leasekeeper.keeper.layout import TABLE
from leasekeeper.keeper.settlements import SettlingCall, repeats, seconds_until, settlements, unsettled
from leasekeeper.keeper.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.keeper.calls import Calls
    from leasekeeper.keeper.threads import Threads

TRIES = 4
LONGEST = 30.0
"""Seconds in which the messages of a dead consumer are settled, or left to their leases."""


class WatchedTable:
    """One table, the extensions of its leases, and a client for each thread."""

    def __init__(self, descriptor: int, say: Callable[[str], object]) -> None:
        self.table = Table.open(descriptor)
        self.settings = self.table.settings()
        self.extensions = Extensions(self.table, LockClaims(descriptor), say=say)
        self._context = context_for(self.settings)
        self._credentials = self.table.credentials()
        self._clients: dict[int, SqsCalls] = {}
        self.refused = False
        """Whether SQS has refused a call in a way that no other try will change."""

    def client(self) -> Calls:
        """The client of this thread, with the engine's present credentials."""
        thread = threading.get_ident()
        client = self._clients.get(thread)
        if client is None:
            client = self._clients[thread] = SqsCalls(self.settings, self._context)
        held = self._credentials
        if held is None or held[0] != self.table.credentials_number:
            # A writer that died in the middle leaves an odd number: what was read before is still good.
            held = self._credentials = self.table.credentials() or held
        if held is not None and client.credentials is not held[1]:
            client.credentials = held[1]
        return client

    def close(self) -> None:
        """Close connections and memory."""
        for client in list(self._clients.values()):
            client.close()
        self.table.close()


class WatchedProcess:
    """The tables of one process, and all calls that are made in place of its engines.

    Args:
        pid: the process.
        threads: make the calls that extend.
        settling: make the calls that settle; other threads, if those extend the leases of other processes too.
        say: tells people one sentence.
    """

    def __init__(self, pid: int, threads: Threads, settling: Threads, *, say: Callable[[str], object]) -> None:
        self.pid = pid
        self._threads = threads
        self._settling = settling
        self._say = say
        self._watched: list[WatchedTable] = []

    def add(self, descriptor: int) -> None:
        """Watch the table behind this descriptor, which is then ours."""
        try:
            self._watched.append(WatchedTable(descriptor, self._say))
        except (OSError, ValueError, TypeError) as error:
            self._say(f"a table of leases cannot be watched: {error}")
            os.close(descriptor)

    def take_in(self, incoming: socket.socket) -> bool:
        """Take in the tables that the process has sent; whether there were any."""
        found = False
        while self.receive(incoming) == TABLE:
            found = True
        return found

    def receive(self, incoming: socket.socket) -> bytes | None:
        """Take in what the process has sent, and return what that was; None: nothing; empty: the socket is closed.

        The socket must not block: `recv_fds` of Python 3.11 takes no notice of flags.
        """
        try:
            message, descriptors, _, _ = socket.recv_fds(incoming, 16, 1)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            self.add(descriptor)
        return message

    @property
    def over(self) -> bool:
        """Whether the process has ended the use of all its tables."""
        return all(watched.table.closed for watched in self._watched)

    def __len__(self) -> int:
        return len(self._watched)

    def look(self, now: float) -> None:
        """Extend what is due, in the threads."""
        for watched in list(self._watched):
            if watched.table.closed:
                self._watched.remove(watched)
                watched.close()
                continue
            for slots in watched.extensions.due(now):
                self._threads.do(_ExtendJob(watched, slots))

    def settle(self) -> None:
        """The process is dead: settle what it held. Waits until that is done, 30 seconds at most."""
        began = time.monotonic()
        waiting = [watched for watched in self._watched if not watched.table.closed]
        estates = [(watched, watched.extensions.stop()) for watched in waiting]
        jobs: list[_SettleJob] = []
        repeated: list[_SettleJob] = []
        for watched, (at_once, _) in estates:
            jobs += self._do(watched, settlements(watched.table, began, at_once), began)
            repeated += self._do(watched, repeats(watched.table, began), began)
        for watched, (_, later) in estates:
            while watched.extensions.calling & later and time.monotonic() < began + 2 * TIMEOUT:
                time.sleep(0.01)
            jobs += self._do(watched, settlements(watched.table, began, later), began)
        for job in (*jobs, *repeated):
            job.done.wait(max(0.0, began + LONGEST - time.monotonic()))
        if held := sum(len(slots) for _, estate in estates for slots in estate):
            settled = sum(len(job.call.entries) - job.left for job in jobs)
            deleted = sum(len(job.call.entries) - job.left for job in jobs if job.call.operation == "delete")
            error = next(filter(None, (job.error for job in jobs)), None)
            self._say(_ended(held, deleted, settled - deleted, time.monotonic() - began, error))

    def _do(self, watched: WatchedTable, calls: list[SettlingCall], began: float) -> list[_SettleJob]:
        """Have the threads make these calls."""
        jobs = [_SettleJob(watched, call, began + LONGEST) for call in calls]
        for job in jobs:
            self._settling.do(job)
        return jobs

    def close(self) -> None:
        """Let go of all tables."""
        for watched in self._watched:
            watched.close()
        self._watched = []


def _ended(held: int, deleted: int, given_back: int, seconds: float, error: Refused | None) -> str:
    """A sentence about what a dead process held."""
    words = f"the process ended and held {held} message{'s' * (held != 1)}: "
    words += f"{deleted} deleted and {given_back} given back in {seconds:.1f} s"
    if left := held - deleted - given_back:
        words += f", {left} come{'s' * (left == 1)} back when {'its' if left == 1 else 'their'} visibility timeout ends"
        if error is not None:
            words += f" ({error})"
    return words


class _ExtendJob:
    """Extends ten leases by one call."""

    def __init__(self, watched: WatchedTable, slots: Sequence[int]) -> None:
        self._watched = watched
        self._slots = slots

    def __call__(self) -> None:
        extensions = self._watched.extensions
        sent = time.monotonic()
        begun = extensions.begin(self._slots, sent)
        if not begun:
            return
        codes: list[str] | None = None
        try:
            with suppress(Refused):
                codes = self._watched.client().change_visibility([(each.receipt, each.seconds) for each in begun])
        finally:
            extensions.end(begun, codes, sent=sent, now=time.monotonic())


class _SettleJob:
    """Makes one call that settles messages, several times if it must be.

    Attributes:
        left: messages that are not settled yet.
        error: why not; None: no call failed.
    """

    def __init__(self, watched: WatchedTable, call: SettlingCall, until: float) -> None:
        self._watched = watched
        self._until = until
        self.call = call
        self.left = len(call.entries)
        self.error: Refused | None = None
        self.done = threading.Event()

    def __call__(self) -> None:
        try:
            entries: Sequence[tuple[str, float]] = self.call.entries
            for attempt in range(TRIES):
                if attempt:
                    time.sleep(0.1 * 4**attempt)
                if self._watched.refused or time.monotonic() > self._until:
                    break
                try:
                    entries = self._settle(self._watched.client(), entries)
                except Refused as error:
                    self.error = error
                    self._watched.refused |= error.lasting
                self.left = len(entries)
                if not entries:
                    break
        finally:
            self.done.set()

    def _settle(self, client: Calls, entries: Sequence[tuple[str, float]]) -> Sequence[tuple[str, float]]:
        """Make the call; returns the entries to try again."""
        if self.call.operation == "delete":
            return unsettled(entries, client.delete([receipt for receipt, _ in entries]))
        if self.call.operation == "receive again":
            (attempt_id, visibility), *_ = entries
            receipts = client.receive_again(attempt_id, maximum=self.call.maximum, visibility=int(visibility))
            entries = [(receipt, 0.0) for receipt in receipts]
            if not entries:
                return ()
        now = time.monotonic()
        changes = [(receipt, seconds_until(visible_at, now)) for receipt, visible_at in entries]
        left = unsettled(entries, client.change_visibility(changes))
        return self.call.entries if left and self.call.operation == "receive again" else left
