"""The process of the keeper, seen from the consumer's: started, watched, started again, ended.

One for each process, whatever the number of its consumers; each gives it a table. Under `leasekeeper run` the
supervisor is the keeper, and the tables go there. It promises at most one start in ten seconds, and no zombie.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from leasekeeper.keeper import VARIABLE
from leasekeeper.keeper.layout import END, TABLE
from leasekeeper.loggers import safe_logger
from leasekeeper.sqs.blocking import in_thread

if TYPE_CHECKING:
    from leasekeeper.keeper.table import Table

log = safe_logger("leasekeeper.run")

AGAIN = 10.0
"""Seconds at least between two starts."""
END_GRACE = 1.0
"""Seconds that it gets to end."""
CODE = """
import sys
sys.path.append(sys.argv[1])
from leasekeeper.keeper.child import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""


def supervisor() -> int | None:
    """The socket to a supervisor that is our keeper; None without one. Only its own child processes have one."""
    number, _, pid = os.environ.get(VARIABLE, "").partition(":")
    return int(number) if number.isdecimal() and pid == str(os.getppid()) else None


class KeeperProcess:
    """The keeper of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: list[Table] = []
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._supervised = False
        self._started = -AGAIN

    @property
    def pid(self) -> int | None:
        """The process id of a keeper that we have started; None without one."""
        child = self._child
        return child.pid if child is not None and child.returncode is None else None

    def attach(self, table: Table) -> None:
        """Have a table kept; starts the process if there is none. It blocks for some milliseconds.

        Raises:
            OSError: the process cannot be started.
        """
        with self._lock:
            self._tables.append(table)
            try:
                if self._connection is None:
                    self._start()
                else:
                    self._send(table)
            except OSError:
                self._tables.remove(table)
                raise

    def _start(self) -> None:
        """Connect to the supervisor, or start the process, and send all tables."""
        given = supervisor()
        if given is not None:
            os.set_inheritable(given, False)
            self._connection, self._supervised = socket.socket(fileno=os.dup(given)), True
        else:
            self._started = time.monotonic()
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ExitStack() as failed, its:
                failed.callback(ours.close)
                arguments = [str(Path(__file__).parents[2]), str(its.fileno()), str(os.getpid())]
                self._child = subprocess.Popen(  # noqa: S603 - our own interpreter
                    [sys.executable, "-S", "-I", "-c", CODE, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                    start_new_session=True,
                    cwd="/",
                )
                failed.pop_all()
            self._connection = ours
        for table in self._tables:
            self._send(table)

    def _send(self, table: Table) -> None:
        if self._connection is not None:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has died: `check` starts another
                socket.send_fds(self._connection, [TABLE], [table.descriptor])

    def detach(self, table: Table) -> None:
        """Have a table kept no more, which has ended; the process ends with the last. It blocks until then."""
        with self._lock:
            self._tables.remove(table)
            if self._tables or self._supervised:
                return
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(OSError):
                    connection.send(END)
                connection.close()
            self._reap()

    def _reap(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.wait(END_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    @property
    def dead(self) -> bool:
        """Whether the process that we have started has died, and may be started again."""
        child = self._child
        return child is not None and child.poll() is not None and time.monotonic() >= self._started + AGAIN

    async def restart(self) -> None:
        """Start another in place of one that has died."""
        await in_thread(self._restart)

    def _restart(self) -> None:
        with self._lock:
            if not self.dead or not self._tables:
                return
            child = self._child
            log.warning("the keeper has died (exit code %s) and is started again", child and child.returncode)
            self._drop()
            try:
                self._start()
            except OSError as error:
                self._child = child  # dead as before: it is tried again
                log.error("the keeper cannot be started again: %s", error)  # noqa: TRY400 - it is a sentence

    async def replace(self) -> None:
        """End a process that does not give back a claim: its claims go with it. A supervisor is not ended."""
        await in_thread(self._kill)

    def _kill(self) -> None:
        with self._lock:
            child = self._child
            if child is not None and child.poll() is None:
                log.error("the keeper (process %d) does not answer and is killed", child.pid)
                child.send_signal(signal.SIGKILL)
                child.wait()

    def _drop(self) -> None:
        connection, self._connection, self._child = self._connection, None, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """In a forked child: all of this is the parent's."""
        for table in self._tables:
            table.forget()
        self._tables = []
        if self._child is not None:
            self._child.returncode = 0  # not ours to wait for
        self._drop()
        self._supervised = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        where = "the supervisor" if self._supervised else f"process {self.pid}" if self.pid else "no process"
        return f"<KeeperProcess {where}, {len(self._tables)} tables>"


KEEPER = KeeperProcess()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=KEEPER.forget)
