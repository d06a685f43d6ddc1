"""A child process of the supervisor: its start, what it says, and the ways to end it.

Owned by the supervisor. It promises that the child gets no descriptor but the one of its connection, and those that it
is to inherit.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.supervision.protocol import FORCE, INTERRUPT, OF_TERMINALS, STOP, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LONGEST_LINE = 1_000_000
"""Bytes of a line; a child that says more without its end is not listened to any further."""


class Child:
    """A process of this command.

    Raises:
        OSError: the process cannot be made.

    Attributes:
        pid: its id.
        connection: readable when it says something.
        silent: whether it has closed its end, and so says nothing more.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        number: int = 1,
        count: int = 1,
        local: bool = False,
        inherits: Sequence[int] = (),
    ) -> None:
        self.connection, theirs = socket.socketpair()
        self.connection.setblocking(False)
        self._said = b""
        self.silent = False
        with theirs, _signals_wait():
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - this program itself
                    command,
                    env={**environment, VARIABLE: f"{theirs.fileno()}:{number}:{count}:{local:d}"},
                    pass_fds=(theirs.fileno(), *inherits),
                )
            except BaseException:
                self.connection.close()
                raise
        self.pid = self._popen.pid

    def said(self) -> list[dict[str, Any]]:
        """What it has said since the last time."""
        with suppress(OSError):
            while len(self._said) <= LONGEST_LINE:
                part = self.connection.recv(65536)
                if not part:
                    self.silent = True
                    break
                self._said += part
        *lines, self._said = self._said[-LONGEST_LINE:].split(b"\n")
        found = []
        for line in lines:
            with suppress(ValueError):
                found.append(json.loads(line))
        return [words for words in found if isinstance(words, dict)]

    def stop(self, *, force: bool = False, interrupted: bool = False) -> None:
        """Tell it to stop, for a Ctrl-C or not, or to cut its drain short."""
        try:
            self.connection.send(FORCE if force else INTERRUPT if interrupted else STOP)
        except OSError:
            self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def ended(self, status: int) -> None:
        """Note that it has been waited for."""
        self._popen.returncode = status
        self.connection.close()

    def __repr__(self) -> str:
        return f"<Child {self.pid}>"


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Start a process in which what a terminal sends waits until it listens to its supervisor (`Lifeline.listen`).

    A terminal sends SIGINT and SIGHUP to the processes that it started and to theirs. In one that has not come to its
    signal handlers, Python would end an import with a traceback, or the process would end as if it had crashed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leasekeeper(arguments: Sequence[str], module: str = "leasekeeper") -> list[str]:
    """The command of a module with these arguments, for the same interpreter with the same flags."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    if not {"-P", "-I"} & set(flags):
        flags.append("-P")  # so that no module of the user's is imported in the place of one of Python's
    return [sys.executable, *flags, "-m", module, *arguments]
