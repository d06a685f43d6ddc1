"""The child's end of its connection to the supervisor.

Owned by a `leasekeeper run` that a supervisor has started. It promises that the process drains when the supervisor is
gone, for whatever reason: the kernel then closes the other end. That is so on Linux and on macOS.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.loggers import safe_logger
from leasekeeper.supervision.parent import die_with_parent
from leasekeeper.supervision.protocol import FORCE, INTERRUPT, OF_TERMINALS, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

log = safe_logger("leasekeeper.run")


class Lifeline:
    """Hears the supervisor, and tells it how far this process has come.

    Attributes:
        number: of this process, from 1.
        count: processes of the supervisor.
        local: whether the supervisor runs a local SQS, where queues are created when they are named.
        forced: whether the supervisor has told it to cut its drain short.
        gone: whether the supervisor has ended.
    """

    def __init__(self, connection: socket.socket, number: int, count: int, *, local: bool = False) -> None:
        self._connection = connection
        self.number = number
        self.count = count
        self.local = local
        self._asked = False
        self._interrupted = False
        self._begun = False
        self.forced = False
        self.gone = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Lifeline | None:
        """The connection of this process, taken out of its environment; None when no supervisor has started it."""
        words = environment.pop(VARIABLE, "")
        try:
            descriptor, number, count, local = map(int, words.split(":"))
            connection = socket.socket(fileno=descriptor)
        except (OSError, ValueError):
            return None
        connection.set_inheritable(False)
        return cls(connection, number, count, local=bool(local))

    def listen(self, told: Callable[[], object] | None = None) -> None:
        """Turn what the supervisor says into a signal for the main thread, from now on; or call `told`, in a thread.

        A process beside the consumers is told: signals come to the whole group, and it is to outlive the consumers.
        What a terminal sent before, and what waited, is heard now: the process has its signal handlers.
        """
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINALS)
        threading.Thread(target=self._listen, args=(told,), name="leasekeeper-lifeline", daemon=True).start()

    def begins(self) -> None:
        """From now on messages are held: when the supervisor ends, this process drains, and does not just end."""
        self._begun = True
        die_with_parent(wanted=False)

    def _listen(self, told: Callable[[], object] | None) -> None:
        while not self.gone:
            try:
                words = self._connection.recv(64)
            except OSError:
                words = b""
            self.gone = not words
            if self.gone and not self._begun and told is None:
                os._exit(0)  # nothing was received, and the main thread may hang in an import and ignore signals
            if self.gone and self._asked:
                return  # it stops already: the end of the supervisor does not cut that short
            self._asked = True
            self.forced |= FORCE in words
            self._interrupted |= INTERRUPT in words
            if told is not None:
                told()
                continue
            main = threading.main_thread().ident
            assert main is not None
            # To the main thread itself: a handler that blocks in a call is interrupted there.
            signal.pthread_kill(main, signal.SIGINT if self._interrupted else signal.SIGTERM)
            if self.gone:  # only now: the main thread may hold the lock of the log
                log.error("the supervisor of this process has ended: stopping")

    def level(self, number: int, count: int) -> int:
        """How many signals a signal makes, where `count` have counted: 1 stops, 2 force.

        The supervisor decides when to force. A signal that comes to this process directly as well, because a terminal
        or a process manager sends it to a whole group, is the same as the supervisor's.
        """
        if self.gone:
            return count + 1
        if self.forced:
            return 2
        return 1 if number == signal.SIGTERM or self._interrupted else count

    def refuse(self, mistake: str) -> bool:
        """Leave a mistake that all processes make to the supervisor, which prints it once.

        Returns:
            Whether it does. The only process of a supervisor prints it itself.
        """
        if self.count > 1:
            self.tell(mistake=mistake)
        return self.count > 1

    def tell(self, **words: Any) -> None:
        """Say something to the supervisor; without one, nothing happens."""
        with suppress(OSError):
            self._connection.sendall(json.dumps(words).encode() + b"\n")
