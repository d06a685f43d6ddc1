"""What the supervisor does when something happens: decides, and does nothing.

Made and asked by the supervisor, with the time as an argument. It gets events and returns commands. It promises that
every process which it started is told to stop once, forced at most once, and killed when it takes longer than it may.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from leasekeeper.supervision.endings import FAILED, UNUSABLE, USAGE, Ending

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that died is started again; doubled with each death, up to the second."""
STEADY = 60.0
"""Seconds after which a process counts as one that works: its death is the first again."""
TRIES = 3
"""Starts that may fail before the supervisor gives up on a process that was never ready."""
ONE_SIGNAL = 0.5
"""Seconds within which signals are one: a terminal, a wrapper and a process manager may each send the same."""
UNREADY_STOP = 10.0
"""Seconds that a process may take to stop which has not said how long it needs."""
MARGIN = 5.0
"""Seconds that a process may take longer than it says, on a busy machine."""
_TOLD = (signal.SIGTERM, signal.SIGINT)
RELOAD_DRAIN = 5.0
"""Seconds that handlers may go on after a change of the code."""


class State(Enum):
    """How far a process has come."""

    WAITING = "waiting"
    """It died, and is started again when its pause is over."""
    IDLE = "idle"
    """It ended by itself while the code is watched: it is started again after the next change."""
    STARTING = "starting"
    """Started, and not ready."""
    READY = "ready"
    """It receives messages."""
    STOPPING = "stopping"
    """It was told to stop."""
    OVER = "over"
    """It has ended and is not started again."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start this process."""

    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell this process to stop; with `force`, to cut its drain short."""

    number: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill this process."""

    number: int


@dataclass(frozen=True, slots=True)
class Say:
    """Log this."""

    level: str
    words: str


Command: TypeAlias = Start | Stop | Kill | Say


@dataclass(slots=True)
class Process:
    """One of the processes: a place that a new process takes when the one before it has died."""

    number: int
    state: State = State.WAITING
    pid: int | None = None
    since: float = 0.0
    """When its state began."""
    started: float = 0.0
    deaths: int = 0
    """Deaths in a row."""
    restarts: int = 0
    """How often it was started again."""
    was_ready: bool = False
    """Whether any process in this place has ever been ready."""
    begun: bool = False
    """Whether this one was ready."""
    ended_because: str = ""
    """Why it ended by itself: `signal`, `empty`; empty when it has not said."""
    longest_stop: float = UNREADY_STOP
    start_at: float | None = None
    force_at: float | None = None
    kill_at: float | None = None
    replace: bool = False
    """Whether a new one is to be started at once when this one has stopped."""
    last: Ending | None = None


@dataclass(slots=True)
class Policy:
    """The decisions for a number of processes.

    Attributes:
        processes: all of them, by number, from 1.
        reloading: whether the code is watched.
        signals: how many signals have counted: 1 stops, 2 forces, 3 kills.
    """

    count: int
    reloading: bool = False
    signals: int = 0
    processes: dict[int, Process] = field(default_factory=dict)
    _last_signal: float = 0.0
    _failed: bool = False
    _code: int = 0

    def __post_init__(self) -> None:
        self.processes = {number: Process(number) for number in range(1, self.count + 1)}

    @property
    def over(self) -> bool:
        """Whether all have ended and none is started again."""
        return all(each.state is State.OVER for each in self.processes.values())

    @property
    def stopping(self) -> bool:
        """Whether all are stopping for good."""
        return self.signals > 0 or self._failed

    @property
    def code(self) -> int:
        """The exit code: the worst of the processes'."""
        codes = [each.last.code for each in self.processes.values() if each.last is not None]
        return max([*codes, self._code])

    @property
    def due(self) -> float | None:
        """When `tick` has something to do."""
        times = [
            moment
            for each in self.processes.values()
            for moment in (each.start_at, each.force_at, each.kill_at)
            if moment is not None
        ]
        return min(times, default=None)

    # Events

    def begin(self, now: float) -> list[Command]:
        """Start all."""
        return [self._start(each, now) for each in self.processes.values()]

    def started(self, number: int, pid: int) -> None:
        """The process has this id."""
        self.processes[number].pid = pid

    def ready(self, number: int, longest_stop: float, now: float) -> list[Command]:
        """The process receives messages, and needs at most so many seconds to stop."""
        process = self.processes[number]
        process.longest_stop, process.begun = longest_stop, True
        if process.state is State.STOPPING and process.kill_at is not None:
            process.kill_at = max(process.kill_at, process.since + longest_stop + MARGIN)
        if process.state is State.STARTING:
            self._enter(process, State.READY, now)
            process.was_ready = True
        return []

    def ends(self, number: int, because: str) -> None:
        """The process is ending by itself, for that reason."""
        self.processes[number].ended_because = because

    def signalled(self, now: float) -> list[Command]:
        """The supervisor was told to stop."""
        if self.signals and now - self._last_signal < ONE_SIGNAL:
            return []
        self.signals += 1
        self._last_signal = now
        if self.signals == 1:
            return self._stop_for_good(now)
        alive = [each for each in self.processes.values() if each.state is State.STOPPING]
        names = _listed([each.number for each in alive]) if alive else ""
        if not alive:
            return []
        if self.signals == 2:
            words = f"a second signal: {names} cut the drain short; what runs is cancelled and given back"
            return [Say("warning", words), *(Stop(each.number, force=True) for each in alive)]
        words = f"another signal: killing {names}; what is in hand comes again when its visibility timeout ends"
        return [Say("error", words), *(Kill(each.number) for each in alive)]

    def changed(self, now: float) -> list[Command]:
        """The code has changed."""
        commands: list[Command] = []
        for process in self.processes.values():
            if self.stopping:
                break
            if process.state in {State.STARTING, State.READY}:
                commands.append(self._stop(process, now))
                process.force_at = now + RELOAD_DRAIN
            if process.state is State.STOPPING:
                process.replace = True
            else:
                commands.append(self._start(process, now))
        return commands

    def tick(self, now: float) -> list[Command]:
        """The time has come for what is due."""
        commands: list[Command] = []
        for process in self.processes.values():
            if process.start_at is not None and process.start_at <= now:
                commands.append(self._start(process, now))
            if process.force_at is not None and process.force_at <= now:
                process.force_at = None
                commands.append(Stop(process.number, force=True))
            if process.kill_at is not None and process.kill_at <= now:
                process.kill_at = None
                taken = f"{now - process.since:.0f} s"
                words = f"process {process.number} (pid {process.pid}) has not stopped in {taken}: killing it"
                commands += [Say("error", words), Kill(process.number)]
        return commands

    def ended(self, number: int, status: int, now: float) -> list[Command]:
        """The process has ended."""
        process, ending = self.processes[number], Ending(status)
        state, pid, because = process.state, process.pid, process.ended_because
        process.last, process.pid, process.ended_because = ending, None, ""
        process.force_at = process.kill_at = None
        who = f"process {number} (pid {pid})"
        if state is State.STOPPING:
            if not process.begun and -status in _TOLD:  # too early for a signal handler: nothing was received
                process.last = Ending(0)
                status = 0
            if process.replace and not self.stopping:
                return [self._start(process, now)]
            self._enter(process, State.OVER, now)
            return [Say("error", f"{who} was killed: {ending}")] if status < 0 else []
        if self.reloading:
            self._enter(process, State.IDLE, now)
            return [Say("warning", f"{who} ended with {ending}; waiting for a change of the code")]
        if status == 0 and because != "signal":
            self._enter(process, State.OVER, now)
            return []
        if status == UNUSABLE or (status == USAGE and state is State.STARTING):
            return self._give_up(process, f"{who} ended with {ending}, which another start does not change", now)
        return self._died(process, who, state, now)

    def failed_to_start(self, number: int, error: str, now: float) -> list[Command]:
        """No process could be started."""
        process = self.processes[number]
        process.last = Ending(FAILED)
        return self._died(process, f"process {number}: {error}; it", State.STARTING, now, words="could not be started")

    def failed(self, why: str, now: float, code: int = FAILED) -> list[Command]:
        """Something that all processes need has failed."""
        if self.stopping:
            return []
        self._failed, self._code = True, max(code, FAILED)
        return [Say("error", f"giving up: {why}"), *self._stop_all(now)]

    # Decisions

    def _died(self, process: Process, who: str, state: State, now: float, words: str = "") -> list[Command]:
        ending = process.last
        assert ending is not None
        process.deaths = 1 if now - process.started >= STEADY else process.deaths + 1
        words = words or f"ended with {ending}" + ("" if state is State.READY else " before it was ready")
        if not process.was_ready and process.deaths >= TRIES:
            return self._give_up(process, f"{who} {words}, {TRIES} times in a row", now)
        asked = ending.status == 0
        pause = 0.0 if asked else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (process.deaths - 1))
        self._enter(process, State.WAITING, now)
        process.start_at = now + pause
        if asked:
            return [Say("info", f"{who} was told to stop from outside, and has; starting another")]
        return [Say("error", f"{who} {words}; starting another in {pause:g} s")]

    def _give_up(self, process: Process, why: str, now: float) -> list[Command]:
        first = not self.stopping
        self._failed, self._code = True, FAILED
        self._enter(process, State.OVER, now)
        others = [each for each in self.processes.values() if each.state is not State.OVER]
        then = f"; stopping {_listed([each.number for each in others])}" if others and first else ""
        return [Say("error", f"giving up: {why}{then}"), *(self._stop_all(now) if first else [])]

    def _stop_for_good(self, now: float) -> list[Command]:
        commands = self._stop_all(now)
        alive = [each for each in self.processes.values() if each.state is State.STOPPING]
        if not alive:
            return commands
        longest = max(each.longest_stop for each in alive)
        words = f"stopping {_listed([each.number for each in alive])}, in at most {longest:g} s"
        return [Say("info", f"{words}; a second signal cuts that short"), *commands]

    def _stop_all(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for process in self.processes.values():
            if process.state in {State.STARTING, State.READY}:
                commands.append(self._stop(process, now))
            elif process.state in {State.WAITING, State.IDLE}:
                self._enter(process, State.OVER, now)
            process.replace = False
        return commands

    def _start(self, process: Process, now: float) -> Command:
        process.restarts += process.last is not None
        process.started, process.replace = now, False
        process.begun, process.longest_stop = False, UNREADY_STOP
        self._enter(process, State.STARTING, now)
        return Start(process.number)

    def _stop(self, process: Process, now: float) -> Command:
        self._enter(process, State.STOPPING, now)
        process.kill_at = now + process.longest_stop + MARGIN
        return Stop(process.number)

    @staticmethod
    def _enter(process: Process, state: State, now: float) -> None:
        process.state, process.since, process.start_at = state, now, None


def _listed(numbers: list[int]) -> str:
    """`process 1`, `processes 1 and 2`, `processes 1, 2 and 3`."""
    *before, last = map(str, numbers)
    return f"processes {', '.join(before)} and {last}" if before else f"process {last}"
