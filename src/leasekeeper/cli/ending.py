"""The end of the command's process: what other code has registered with `atexit` runs, for a bounded time.

Owned by the command line. It promises that telemetry gets its last chance to be sent, that a collector which does not
answer makes no stop longer than the margin of a grace period (`cli/grace.py`), and that exit functions of the user's
program have the time that the stop has left as well.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType

LIMIT = 4.0
"""Seconds for what other code does at the end: less than the 5 that supervisors and manifests leave a process after the
longest stop."""
LOOK = 0.05
"""Seconds between looks at which exit function runs."""
TELLING = 0.5
"""Seconds for the log line that says so: a log handler may hang at the same collector."""
SAID = "exit function %s has not ended within %g s, so it is cut off"
COLLECTOR = "; an exporter of telemetry does this when its collector does not answer"
INSTALLED = ("site-packages", "dist-packages")

_granted: list[float] = []


def grant(seconds: float) -> None:
    """Give exit functions of the user's program this many seconds beyond those that libraries have."""
    _granted.append(max(0.0, seconds))


def end(code: int, *, limit: float = LIMIT) -> NoReturn:
    """End the process with this code. A signal cuts short what other code does meanwhile.

    Not by the interpreter's normal end: that waits for threads which may never end, e.g. for a call that hangs.

    Args:
        code: the exit code.
        limit: seconds for what libraries have registered with `atexit`; for what the user's program has, seconds beyond
            those that it was granted.
    """
    hurry = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: hurry.set())
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that is closed sends several: the first one counted
    cut = threading.Thread(
        target=_cut, args=(code, limit, threading.get_ident(), hurry), name="leasekeeper-end", daemon=True
    )
    cut.start()
    atexit._run_exitfuncs()  # noqa: SLF001 - what other code has registered (telemetry, coverage) still runs
    _leave(code)


def _cut(code: int, limit: float, thread: int, hurry: threading.Event) -> None:
    """End the process when the time is over, but not before our own ends: each of those bounds itself."""
    longest = limit + sum(_granted)
    left, left_to_libraries = longest, limit
    while True:
        runs = _exit_function(thread)
        users = _is_users(runs)
        if not _is_ours(runs):
            if hurry.is_set() or left <= 0 or (left_to_libraries <= 0 and not users):
                break
            left -= LOOK
            left_to_libraries -= 0 if users else LOOK
        time.sleep(LOOK)
    if hurry.is_set():
        _leave_after_ours(code)
    from leasekeeper.loggers import safe_logger

    arguments = (SAID, _name_of(runs), longest) if users else (SAID + COLLECTOR, _name_of(runs), limit)
    telling = threading.Thread(target=safe_logger("leasekeeper.run").warning, args=arguments, daemon=True)
    telling.start()
    telling.join(TELLING)
    _leave_after_ours(code)


def _leave_after_ours(code: int) -> NoReturn:
    with suppress(BaseException):
        for ours in _ours():
            ours()
    _leave(code)


def _ours() -> list[Any]:
    """Our own exit functions."""
    names = (("leasekeeper.alive", "drain_at_exit"), ("leasekeeper.sending.open_senders", "close_all"))
    return [getattr(sys.modules[module], name) for module, name in names if module in sys.modules]


def _exit_function(thread: int) -> FrameType | None:
    """The exit function that runs in the thread that ends the process; None for one that is not written in Python."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the only way to see where another thread is
    while frame is not None and (frame.f_back is None or frame.f_back.f_code is not end.__code__):
        frame = frame.f_back
    return frame


def _is_ours(function: FrameType | None) -> bool:
    """Whether it is one of ours: a drain takes none of the time of others."""
    return function is not None and function.f_code in {ours.__code__ for ours in _ours()}


def _is_users(function: FrameType | None) -> bool:
    """Whether it is of the user's program, and not of a library."""
    if function is None:
        return False
    file = Path(function.f_code.co_filename)
    return not (file.is_relative_to(Path(os.__file__).parent) or any(part in INSTALLED for part in file.parts))


def _name_of(function: FrameType | None) -> str:
    if function is None:
        return "of a library"
    return f"{function.f_globals.get('__name__')}.{function.f_code.co_qualname}"


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of a pipe has ended
            stream.flush()
    os._exit(code)
