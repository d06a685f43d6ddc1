"""What the supervisor does when something happens: decides, and does nothing.

Made and asked by the supervisor, with the time as an argument. It gets events and returns commands. It promises that
every process which it started is told to stop once, forced at most once, and killed when it takes longer than it may.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import Enum

from leasekeeper.exit_codes import Exit
from leasekeeper.supervision.commands import Command, Kill, Say, Start, Stop
from leasekeeper.supervision.endings import Ending

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that died is started again; doubled with each death, up to the second."""
STEADY = 60.0
"""Seconds after which a process counts as one that works: its death is the first again."""
TRIES = 3
"""Starts that may fail before the supervisor gives up on a process that was never ready."""
ONE_SIGNAL = 0.2
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
    """Why it ends, as it says: `signal` or `itself`; empty when it has not said."""
    longest_stop: float = UNREADY_STOP
    start_at: float | None = None
    force_at: float | None = None
    kill_at: float | None = None
    killed: bool = False
    """Whether it was killed, because it did not stop."""
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
    def alone(self) -> bool:
        """Whether there is one process. Then what it says need not be said again: people see one program."""
        return self.count == 1

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
        """The process receives messages, and needs at most that many seconds to stop."""
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
        if not alive:
            return []
        if self.signals == 2:
            short = "" if self.alone else f"{self._names(alive)} cut the drain short; "
            words = f"a second signal: {short}what runs is cancelled and given back"
            return [Say("warning", words), *(Stop(each.number, force=True) for each in alive)]
        return [Say("error", f"another signal: killing {self._names(alive)}"), *map(self._kill, alive)]

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
                words = f"{self._who(process)} has not stopped in {taken}: killing it"
                commands += [Say("error", words), self._kill(process)]
        return commands

    def ended(self, number: int, status: int, now: float) -> list[Command]:
        """The process has ended."""
        process = self.processes[number]
        state, because, who = process.state, process.ended_because, self._who(process)
        unexpected = state is State.READY and status >= 0 and not because
        ending = Ending(status, killed=process.killed, unexpected=unexpected)
        process.last, process.pid, process.ended_because, process.killed = ending, None, "", False
        process.force_at = process.kill_at = None
        if state is State.STOPPING:
            if not process.begun and -status in _TOLD:  # too early for a signal handler: nothing was received
                process.last = Ending(0)
                status = 0
            if process.replace and not self.stopping:
                return [self._start(process, now)]
            self._enter(process, State.OVER, now)
            return [Say("error", f"{who} ended with {ending}")] if status < 0 and not ending.killed else []
        if self.reloading:
            self._enter(process, State.IDLE, now)
            return [Say("warning", f"{who} ended with {ending}; waiting for a change of the code")]
        if unexpected:
            return self._died(process, who, state, now)
        lasting = status == Exit.UNUSABLE and (state is State.READY or not process.was_ready)
        if lasting or (status == Exit.USAGE and state is State.STARTING):
            then = "once what is missing is there" if status == Exit.UNUSABLE else "once the configuration is corrected"
            commands = self._give_up(process, f"{who} ended with {ending}; another start helps only {then}", now)
            return [] if self.alone else commands
        # What ends well before it is ready was signalled. Of one process that is the end of all, of several it is not.
        asked = because == "signal" or (state is State.STARTING and not self.alone)
        if because == "itself" or (status == 0 and not asked):
            self._enter(process, State.OVER, now)
            return []
        return self._died(process, who, state, now)

    def failed_to_start(self, number: int, error: str, now: float) -> list[Command]:
        """No process could be started."""
        process = self.processes[number]
        process.last = Ending(Exit.FAILED)
        who = f"{self._names([process])}: {error}; it"
        return self._died(process, who, State.STARTING, now, words="could not be started")

    def failed(self, why: str, now: float, code: int = Exit.FAILED) -> list[Command]:
        """Something that all processes need has failed."""
        if self.stopping:
            return []
        self._failed, self._code = True, max(code, Exit.FAILED)
        return [Say("error", f"giving up: {why}"), *self._stop_all(now)]

    # Decisions

    def _died(self, process: Process, who: str, state: State, now: float, words: str = "") -> list[Command]:
        ending = process.last
        assert ending is not None
        process.deaths = 1 if now - process.started >= STEADY else process.deaths + 1
        said = not words and ending.status > 0  # by the process itself
        words = words or f"ended with {ending}" + ("" if state is State.READY else " before it was ready")
        if not process.was_ready and self.alone:
            commands = self._give_up(process, f"{who} {words}", now)
            return [] if said else commands
        if not process.was_ready and process.deaths >= TRIES:
            return self._give_up(process, f"{who} {words}, {TRIES} times in a row", now)
        asked = ending.status == 0 and not ending.unexpected
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (process.deaths - 1))
        if asked and process.deaths == 1:
            pause = 0.0  # the next soon after it is the beginning of a loop
        self._enter(process, State.WAITING, now)
        process.start_at = now + pause
        then = "starting another" + (f" in {pause:g} s" if pause else "")
        if asked:
            return [Say("info", f"{who} was told to stop from outside, and has; {then}")]
        return [Say("error", f"{who} {words}; {then}")]

    def _give_up(self, process: Process, why: str, now: float) -> list[Command]:
        first = not self.stopping
        self._failed, self._code = True, Exit.FAILED
        self._enter(process, State.OVER, now)
        others = [each for each in self.processes.values() if each.state is not State.OVER]
        then = f"; stopping {self._names(others)}" if others and first else ""
        return [Say("error", f"giving up: {why}{then}"), *(self._stop_all(now) if first else [])]

    def _stop_for_good(self, now: float) -> list[Command]:
        commands = self._stop_all(now)
        alive = [each for each in self.processes.values() if each.state is State.STOPPING]
        if not alive:
            return commands
        longest = max(each.longest_stop for each in alive)
        words = f"stopping{'' if self.alone else f' {self._names(alive)}'}, in at most {longest:g} s"
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
    def _kill(process: Process) -> Command:
        process.killed = True
        return Kill(process.number)

    def _who(self, process: Process) -> str:
        return f"{self._names([process])} (pid {process.pid})"

    def _names(self, processes: list[Process]) -> str:
        """`the process`; of several `process 1`, `processes 1 and 2`, `processes 1, 2 and 3`."""
        if self.alone:
            return "the process"
        *before, last = (str(each.number) for each in processes)
        return f"processes {', '.join(before)} and {last}" if before else f"process {last}"

    @staticmethod
    def _enter(process: Process, state: State, now: float) -> None:
        process.state, process.since, process.start_at = state, now, None
