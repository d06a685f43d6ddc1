"""A client's processes: started in a new session, measured while they run, ended together.

Linux only: CPU and memory are read from /proc, so a client need not measure itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Member:
    """One running process; cpu: seconds, user and system, including the children that it has waited for."""

    pid: int
    parent: int
    session: int
    state: str
    cpu: float


@dataclass(frozen=True, slots=True)
class Exit:
    """How a client ended; seconds: since SIGTERM. left: processes that outlived the first one."""

    seconds: float
    status: int
    killed: bool
    left: int


class ClientProcess:
    """A running client: its first process and all descendants."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._log = log

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> bool:
        """Wait until the first process exits; return whether it did."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.status is not None

    def cpu(self) -> float:
        """CPU seconds so far, user and system, of all its processes."""
        return sum(member.cpu for member in self.members())

    def peak_memory(self) -> float:
        """The sum of its processes' largest resident sizes, in megabytes."""
        return sum(_memory(member.pid, "VmHWM:") for member in self.members()) / 1024

    def resident(self) -> float:
        """The sum of its processes' resident sizes now, in megabytes."""
        return sum(_memory(member.pid, "VmRSS:") for member in self.members()) / 1024

    def members(self) -> list[Member]:
        """Its running processes: those of its session and their descendants (a process may leave its session)."""
        ours = {self._process.pid}
        living = sorted(_processes(), key=lambda each: each.pid)
        found: dict[int, Member] = {}
        for _ in range(2):  # a child may have the lower pid, because numbers are used again
            for each in living:
                if each.session in ours or each.parent in found or each.pid in ours:
                    found[each.pid] = each
        return list(found.values())

    def terminate(self, patience: float) -> Exit:
        """Send SIGTERM to the first process; after `patience` seconds, kill all that are left."""
        began = time.monotonic()
        members = self.members()
        if self.status is None:
            self._process.terminate()
        in_time = self.wait(patience)
        seconds = time.monotonic() - began
        left = {each.pid for each in members} & {each.pid for each in _processes() if each.state != "Z"}
        left |= {each.pid for each in self.members() if each.state != "Z"}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Exit(seconds, self._process.wait(), not in_time, len(left - {self._process.pid}))

    def last_words(self) -> str:
        """The line of its output that best explains a failure: the first that names an error, or the last."""
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
        errors = (line for line in lines if _ERROR.match(line))
        return next(errors, lines[-1]).strip()[:200]


def _processes() -> list[Member]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                reaped = sum(int(value) for value in fields[13:15]) / _TICK
                cpu = time.clock_gettime(_clock(int(entry.name))) + reaped
                found.append(Member(int(entry.name), int(fields[1]), int(fields[3]), fields[0], cpu))
    return found


def _clock(pid: int) -> int:
    """The clock of a process's CPU time, all threads included, in nanoseconds; `stat` has ticks of 10 ms.

    This is what clock_getcpuclockid(3) returns on Linux, which Python does not offer.
    """
    return (~pid << 3) | 2


def _memory(pid: int, name: str) -> int:
    """One of the sizes that Linux reports for a process, in kilobytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
