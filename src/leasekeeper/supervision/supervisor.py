"""The supervisor: carries out what the policy decides, with real processes, signals and time.

Owned by `leasekeeper run`. Its loop waits in one place for signals, for the ends of children, for what they say, and
for what is due. It does not read the code of the service, and holds nothing that a message needs.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from leasekeeper.supervision.attendant import LONGEST_AFTER, LOOKS
from leasekeeper.supervision.child import Child, leasekeeper
from leasekeeper.supervision.lines import Lines
from leasekeeper.supervision.policy import Command, Kill, Policy, Say, Start, Stop
from leasekeeper.supervision.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from leasekeeper.supervision.attendant import Attend, Attendant
    from leasekeeper.supervision.plan import Plan

STOPPING = (signal.SIGTERM, signal.SIGINT)
_OURS = ("LEASEKEEPER_PROCESSES", "LEASEKEEPER_ADMIN")
"""Variables that are for the supervisor, and not for its children."""


class Supervisor:
    """Runs the processes of a plan to their end.

    Args:
        plan: what to run.
        environment: of the processes.
        command: what they run; None stands for `leasekeeper` with the arguments of the plan.
        attend: makes what looks after each of them.
    """

    def __init__(
        self,
        plan: Plan,
        environment: Mapping[str, str],
        *,
        command: Sequence[str] | None = None,
        attend: Attend | None = None,
    ) -> None:
        self._plan = plan
        self._command = leasekeeper(plan.arguments) if command is None else command
        self._environment = {name: value for name, value in environment.items() if name not in _OURS}
        self._attend = attend
        self._lines = Lines(plan.level, plan.kind)
        self._policy = Policy(plan.count, reloading=plan.reload)
        self._summary = Summary()
        self._children: dict[int, Child] = {}
        self._attendants: dict[int, Attendant] = {}
        self._after: list[tuple[float, Attendant]] = []
        self._selector = selectors.DefaultSelector()
        self._next_look = 0.0

    def run(self) -> int:
        """Run until all have ended; the exit code."""
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            wakes = stack.enter_context(_signals())
            self._selector.register(wakes, selectors.EVENT_READ, None)
            plural = "" if self._plan.count == 1 else "es"
            self._say("info", f"starting {self._plan.count} process{plural}")
            self._do(self._policy.begin(time.monotonic()))
            while not (self._policy.over and not self._after):
                self._turn(wakes)
        if self._plan.count > 1:
            for words, numbers in self._summary.lines():
                self._lines.say("info", words, report=numbers)
        return self._policy.code

    # The loop

    def _turn(self, wakes: socket.socket) -> None:
        ready = self._selector.select(self._pause())
        # What children said goes first: a child says why it ends before it ends.
        for key, _ in ready:
            if key.data is not None:
                self._hear(key.data)
        if any(key.data is None for key, _ in ready):
            for number in _drain(wakes):
                if number in STOPPING:
                    self._do(self._policy.signalled(time.monotonic()))
        self._reap()
        self._do(self._policy.tick(time.monotonic()))
        self._look()

    def _pause(self) -> float | None:
        moments = [self._policy.due, self._next_look if self._attendants or self._after else None]
        due = min((moment for moment in moments if moment is not None), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _hear(self, number: int) -> None:
        child = self._children.get(number)
        for words in child.said() if child is not None else ():
            now = time.monotonic()
            if "ready" in words:
                self._do(self._policy.ready(number, float(words["ready"]), now))
            if "ends" in words:
                self._policy.ends(number, str(words["ends"]))
            if "reports" in words:
                self._summary.add(words["reports"])

    def _reap(self) -> None:
        """Wait for every child that has ended: as PID 1, also for those of processes that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = next((number for number, child in self._children.items() if child.pid == pid), None)
            if number is not None:
                self._ended(number, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, status: int) -> None:
        self._hear(number)
        child = self._children.pop(number)
        self._selector.unregister(child.connection)
        child.ended(status)
        attendant = self._attendants.pop(number, None)
        if attendant is not None:
            attendant.died()
            self._after.append((time.monotonic() + LONGEST_AFTER, attendant))
        self._do(self._policy.ended(number, status, time.monotonic()))

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look or not (self._attendants or self._after):
            return
        self._next_look = now + LOOKS
        for attendant in self._attendants.values():
            attendant.look(now)
        self._after = [(until, each) for until, each in self._after if each.look(now) and now < until]

    # What the policy decides

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Say(level, words):
                    self._say(level, words)
                case Start(number):
                    self._start(number)
                case Stop(number, force):
                    if number in self._children:
                        self._children[number].stop(force=force)
                case Kill(number):
                    if number in self._children:
                        self._children[number].signal(signal.SIGKILL)

    def _start(self, number: int) -> None:
        attendant = self._attend(number) if self._attend is not None else None
        try:
            child = Child(
                self._command,
                {**self._environment, **(attendant.variables if attendant is not None else {})},
                number=number,
                count=self._plan.count,
                inherits=attendant.descriptors if attendant is not None else (),
            )
        except OSError as error:
            self._do(self._policy.failed_to_start(number, error.strerror or str(error), time.monotonic()))
            return
        self._children[number] = child
        self._selector.register(child.connection, selectors.EVENT_READ, number)
        self._policy.started(number, child.pid)
        if attendant is not None:
            self._attendants[number] = attendant
            attendant.started(child.pid)

    def _say(self, level: str, words: str) -> None:
        self._lines.say(level, words)

    def status(self) -> list[dict[str, Any]]:
        """The processes as JSON shows them."""
        return [
            {
                "number": each.number,
                "pid": each.pid,
                "state": each.state.value,
                "restarts": each.restarts,
                "last": None if each.last is None else str(each.last),
            }
            for each in self._policy.processes.values()
        ]


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Signals as bytes on a socket, as long as this is open: none is lost, none interrupts anything."""
    reader, writer = socket.socketpair()
    with reader, writer:
        for end in (reader, writer):
            end.setblocking(False)
        wakeup = signal.set_wakeup_fd(writer.fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in (*STOPPING, signal.SIGCHLD)}
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                # After the end a signal that comes late does not change the exit code.
                signal.signal(number, signal.SIG_IGN if number in STOPPING else handler)


def _drain(wakes: socket.socket) -> bytes:
    """The signals that have come."""
    found = b""
    with suppress(BlockingIOError):
        while part := wakes.recv(4096):
            found += part
    return found
