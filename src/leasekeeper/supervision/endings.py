"""How a process ended, in words, and what that means for a service.

Used by the policy. The exit codes are those of `leasekeeper run`.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

from leasekeeper.exit_codes import Exit

_CODES: dict[int, str] = {
    Exit.CLEAN: "everything settled",
    Exit.FAILED: "ended by an error, or messages unsettled",
    Exit.USAGE: "wrong usage or configuration",
    Exit.UNUSABLE: "something outside that it needs cannot be used",
    Exit.INTERRUPTED: "its drain was cut short",
}
_UNEXPECTED = "it was not told to stop, and did not say why it ends"
_SIGNALS = {
    "SIGKILL": "killed from outside, for example because memory ran out",
    "SIGSEGV": "a crash in native code",
    "SIGBUS": "a crash in native code",
    "SIGILL": "a crash in native code",
    "SIGFPE": "a crash in native code",
    "SIGABRT": "aborted by native code",
    "SIGTERM": "ended from outside before it had started",
    "SIGINT": "ended from outside before it had started",
    "SIGHUP": "its terminal was closed",
    "SIGXCPU": "its limit of CPU time is reached",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a process.

    Attributes:
        status: an exit code, or minus the number of a signal, as `subprocess` has it.
        killed: whether the supervisor has killed it.
        unexpected: whether it was ready, and was neither told to stop nor said that it ends: `os._exit` was called.
            Then its exit code does not have the meaning that `leasekeeper run` gives it.
        at: when it was noticed, in seconds since 1970.
    """

    status: int
    killed: bool = False
    unexpected: bool = False
    at: float = field(default_factory=time.time, compare=False, repr=False)

    @property
    def code(self) -> int:
        """The exit code that the supervisor passes on; a signal and an unexpected end count as an error."""
        return Exit.FAILED if self.status < 0 or self.unexpected else self.status

    def __str__(self) -> str:
        if self.status >= 0:
            meaning = _UNEXPECTED if self.unexpected else _CODES.get(self.status)
            return f"exit code {self.status}" + (f" ({meaning})" if meaning else "")
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        meaning = "killed by the supervisor" if self.killed and name == "SIGKILL" else _SIGNALS.get(name)
        return name + (f" ({meaning})" if meaning else "")
