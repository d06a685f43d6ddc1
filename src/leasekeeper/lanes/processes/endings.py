"""Why a worker process has ended, in words.

Used by the processes lane. The kernel kills what takes too much memory with SIGKILL; its counter tells that apart.
"""

from __future__ import annotations

import signal
from pathlib import Path

from leasekeeper.errors import LeasekeeperError


class WorkerDied(LeasekeeperError):
    """The worker process of a handler ended while the handler ran. The message is retried; three times, then rejected.

    Its text says why it ended: its exit code, a signal, or that memory ran out.
    """


def memory_kills() -> int:
    """How often the kernel has killed a process of our control group because memory ran out; 0 if it does not say."""
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                events = Path(f"/sys/fs/cgroup{path}/memory.events").read_text().split()
                return int(events[events.index("oom_kill") + 1])
    except (OSError, ValueError):
        pass
    return 0


def reason_of(exit_code: int | None, *, memory: bool = False) -> str:
    """Why a process ended, by its exit code as `multiprocessing` has it: negative for signals."""
    if exit_code is None:
        return "for an unknown reason"
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = str(-exit_code)
    because = ": the kernel killed it because memory ran out" if memory and name == "SIGKILL" else ""
    return f"by signal {name}{because}"


CAUSES = ("crash", "killed", "memory", "timeout", "exit", "start")
"""Why workers die, for their count."""
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, getattr(signal, "SIGBUS", None)}


def cause_of(exit_code: int | None, *, memory: bool) -> str:
    """The cause of a death that nobody of ours wanted: `crash`, `memory`, `killed` (another signal), or `exit`."""
    if memory:
        return "memory"
    if exit_code is None or exit_code >= 0:
        return "exit"
    return "crash" if -exit_code in _CRASHES else "killed"


def rss_of(pid: int | None) -> int:
    """Bytes of memory that a process has in RAM; 0 if the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return _rss_by_psutil(pid)
    import resource

    return pages * resource.getpagesize()


def _rss_by_psutil(pid: int | None) -> int:
    try:
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    except Exception:  # it is not installed, or the process is gone
        return 0
