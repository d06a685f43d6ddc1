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

from leasekeeper.exit_codes import Exit
from leasekeeper.supervision.attendant import LONGEST_AFTER, LOOKS
from leasekeeper.supervision.child import Child
from leasekeeper.supervision.commands import Command, Kill, Say, Start, Stop
from leasekeeper.supervision.endings import Ending
from leasekeeper.supervision.lines import Lines
from leasekeeper.supervision.policy import Policy
from leasekeeper.supervision.sidecars import PAUSE
from leasekeeper.supervision.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from leasekeeper.supervision.attendant import Attend, Attendant
    from leasekeeper.supervision.changes import Changes
    from leasekeeper.supervision.plan import Plan
    from leasekeeper.supervision.sidecars import Sidecar

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_WAKES, _CHANGES, _FIRST_SIDECAR = 0, -1, -2
"""Keys of the selector for what is no process of the policy; those are numbered from 1."""
SIDECAR_STOP = 5.0
"""Seconds that what runs beside the processes may take to stop."""
_OURS = ("LEASEKEEPER_PROCESSES", "LEASEKEEPER_ADMIN", "LEASEKEEPER_ADMIN_HOSTS", "LEASEKEEPER_PEERS")
"""Variables that are for the supervisor, and not for its children."""


class Supervisor:
    """Runs the processes of a plan to their end.

    Args:
        plan: what to run.
        environment: of the processes.
        command: what each of them runs, by its number.
        attend: makes what looks after each of them.
        sidecars: what runs beside them.
        changes: of the code, to start the processes again after one.
        told: called with what is known of the processes when that has changed.
    """

    def __init__(
        self,
        plan: Plan,
        environment: Mapping[str, str],
        *,
        command: Callable[[int], Sequence[str]],
        attend: Attend | None = None,
        sidecars: Sequence[Sidecar] = (),
        changes: Changes | None = None,
        told: Callable[[list[dict[str, Any]]], object] | None = None,
    ) -> None:
        self._plan = plan
        self._command = command
        self._environment = {name: value for name, value in environment.items() if name not in _OURS}
        self._attend = attend
        self._lines = Lines(plan.level, plan.kind)
        self._policy = Policy(plan.count, reloading=plan.reload)
        self._summary = Summary(plan.count)
        self._reported = set[int]()
        """The processes that have said what they did."""
        self._sidecars = sidecars
        self._changes = changes
        self._told = told
        self._mistakes = set[str]()
        """What processes have found wrong in arguments and settings since one was last started."""
        self._known: list[dict[str, Any]] = []
        self._children: dict[int, Child] = {}
        self._attendants: dict[int, Attendant] = {}
        self._after: list[tuple[float, Attendant]] = []
        self._selector = selectors.DefaultSelector()
        self._next_look = 0.0
        self._interrupted = False

    def run(self) -> int:
        """Run until all have ended; the exit code."""
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            wakes = stack.enter_context(_signals())
            self._selector.register(wakes, selectors.EVENT_READ, _WAKES)
            if self._changes is not None:
                self._selector.register(self._changes.connection, selectors.EVENT_READ, _CHANGES)
            for sidecar in self._sidecars:
                if not sidecar.waits:
                    self._start_sidecar(sidecar)
            if self._plan.count > 1:
                self._lines.say("info", f"starting {self._plan.count} processes")
            self._do(self._policy.begin(time.monotonic()))
            while not (self._policy.over and not self._after):
                self._turn(wakes)
            self._end_sidecars(wakes)
        if self._plan.count > 1:
            for words, numbers in self._summary.lines():
                self._lines.say("info", words, report=numbers)
        return self._policy.code

    # The loop

    def _turn(self, wakes: socket.socket) -> None:
        ready = {key.data for key, _ in self._selector.select(self._pause())}
        # What children said goes first: a child says why it ends before it ends.
        for number in ready - {_WAKES, _CHANGES}:
            if number > 0:
                self._hear(number)
            else:
                self._hear_sidecar(self._sidecars[_FIRST_SIDECAR - number])
        if _WAKES in ready:
            for number in _drain(wakes):
                if number == signal.SIGHUP and self._policy.signals:
                    continue  # a terminal that is closed sends several: they cut no drain short
                if number in STOPPING:
                    self._interrupted |= number == signal.SIGINT and not self._policy.signals
                    self._do(self._policy.signalled(time.monotonic()))
                elif number != signal.SIGCHLD:
                    for child in self._children.values():
                        child.signal(signal.Signals(number))
        if _CHANGES in ready and self._changes is not None and (names := self._changes.read()):
            self._lines.say("info", f"{names} changed: starting again")
            self._do(self._policy.changed(time.monotonic()))
        self._reap()
        now = time.monotonic()
        self._do(self._policy.tick(now))
        for sidecar in self._sidecars:
            if sidecar.start_at is not None and sidecar.start_at <= now:
                self._start_sidecar(sidecar)
        self._look()
        self._tell()

    def _pause(self) -> float | None:
        moments = [self._policy.due, self._next_look if self._attendants or self._after else None]
        moments += [sidecar.start_at for sidecar in self._sidecars]
        due = min((moment for moment in moments if moment is not None), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _hear(self, number: int) -> None:
        child = self._children.get(number)
        for words in child.said() if child is not None else ():
            if "loaded" in words:
                for sidecar in self._sidecars:
                    if sidecar.waits:
                        self._start_sidecar(sidecar)
            if "ready" in words:
                self._do(self._policy.ready(number, float(words["ready"]), time.monotonic()))
            if "ends" in words:
                self._policy.ends(number, str(words["ends"]))
            if "mistake" in words and words["mistake"] not in self._mistakes:
                self._mistakes.add(words["mistake"])
                self._lines.show(words["mistake"])
            if "reports" in words:
                self._summary.add(words["reports"])
                self._reported.add(number)
        if child is not None and child.silent:
            self._leave(child)

    def _leave(self, child: Child) -> None:
        """Listen to it no longer: a connection that is closed is always readable."""
        with suppress(KeyError):
            self._selector.unregister(child.connection)

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
            for sidecar in self._sidecars:
                if sidecar.child is not None and sidecar.child.pid == pid:
                    self._ended_sidecar(sidecar, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, status: int) -> None:
        self._hear(number)
        child = self._children.pop(number)
        self._leave(child)
        child.ended(status)
        attendant = self._attendants.pop(number, None)
        if attendant is not None and attendant.died():
            self._after.append((time.monotonic() + LONGEST_AFTER, attendant))
        if self._policy.processes[number].begun and number not in self._reported:
            self._summary.lost()
        self._reported.discard(number)
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
                    self._lines.say(level, words)
                case Start(number):
                    self._start(number)
                case Stop(number, force) if number in self._children:
                    self._children[number].stop(force=force, interrupted=self._interrupted)
                case Kill(number) if number in self._children:
                    self._children[number].signal(signal.SIGKILL)

    def _start(self, number: int) -> None:
        self._mistakes.clear()
        attendant = self._attend(number) if self._attend is not None else None
        try:
            child = Child(
                self._command(number),
                {**self._environment, **(attendant.variables if attendant is not None else {})},
                number=number,
                count=self._plan.count,
                local=self._plan.local,
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

    # Beside the processes

    def _start_sidecar(self, sidecar: Sidecar) -> None:
        try:
            child = sidecar.start(self._environment)
        except OSError as error:
            self._lost_sidecar(sidecar, f"could not be started: {error.strerror or error}")
        else:
            key = _FIRST_SIDECAR - self._sidecars.index(sidecar)
            self._selector.register(child.connection, selectors.EVENT_READ, key)

    def _hear_sidecar(self, sidecar: Sidecar) -> None:
        for words in sidecar.child.said() if sidecar.child is not None else ():
            if "says" in words:
                self._lines.say("info", str(words["says"]))
        if sidecar.child is not None and sidecar.child.silent:
            self._leave(sidecar.child)

    def _ended_sidecar(self, sidecar: Sidecar, status: int) -> None:
        assert sidecar.child is not None
        self._hear_sidecar(sidecar)
        self._leave(sidecar.child)
        sidecar.child.ended(status)
        sidecar.child = None
        self._lost_sidecar(sidecar, f"ended with {Ending(status)}", Ending(status).code)

    def _lost_sidecar(self, sidecar: Sidecar, why: str, code: int = Exit.FAILED) -> None:
        if self._policy.over:
            return
        now = time.monotonic()
        if sidecar.again and code not in {Exit.USAGE, Exit.UNUSABLE}:
            sidecar.start_at = now + PAUSE
            self._lines.say("error", f"{sidecar.name} {why}; starting it again in {PAUSE:g} s")
        else:
            self._do(self._policy.failed(f"{sidecar.name} {why}", now, code))

    def _end_sidecars(self, wakes: socket.socket) -> None:
        """Stop what runs beside the processes; kill what does not stop."""
        until = time.monotonic() + SIDECAR_STOP
        for sidecar in self._sidecars:
            if sidecar.child is not None:
                sidecar.child.stop()
        while any(sidecar.child is not None for sidecar in self._sidecars):
            left = until - time.monotonic()
            if left <= 0:
                for sidecar in self._sidecars:
                    if sidecar.child is not None:
                        sidecar.child.signal(signal.SIGKILL)
            self._selector.select(max(0.1, left))
            _drain(wakes)
            self._reap()

    def _tell(self) -> None:
        if self._told is not None and (known := self.status()) != self._known:
            self._known = known
            self._told(known)

    def status(self) -> list[dict[str, Any]]:
        """The processes as JSON shows them."""
        return [
            {
                "number": each.number,
                "pid": each.pid,
                "state": each.state.value,
                "restarts": each.restarts,
                "last": None if each.last is None else str(each.last),
                "last_at": None if each.last is None else round(each.last.at, 1),
            }
            for each in self._policy.processes.values()
        ]


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Signals as bytes on a socket, as long as this is open: none is lost, none interrupts anything.

    USR1 and USR2 are for the code of the service, which may have handlers for them. `nohup` ignores HUP.
    """
    stopping = STOPPING if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else STOPPING[:2]
    heard = (*stopping, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
    reader, writer = socket.socketpair()
    with reader, writer:
        for end in (reader, writer):
            end.setblocking(False)
        wakeup = signal.set_wakeup_fd(writer.fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in heard}
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
