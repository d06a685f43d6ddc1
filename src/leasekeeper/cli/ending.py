"""The end of the command's process: what other code has registered for it runs, but keeps no process for long.

Owned by the command line. It promises that telemetry gets its last chance to be sent, and that a collector which does
not answer makes no stop longer than the margin of a grace period (`cli/grace.py`).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

LIMIT = 4.0
"""Seconds for what other code does at the end: less than the 5 that supervisors and manifests leave a process after the
longest stop."""
LOOK = 0.05
"""Seconds between looks at whose exit function runs."""
TELLING = 0.5
"""Seconds for the log line that says so: a log handler may hang at the same collector."""
SAID = (
    "what other code does at the end of the process has not ended within %g s, so it is cut off; an exporter of "
    "telemetry does this when its collector does not answer"
)


def end(code: int, *, limit: float = LIMIT) -> NoReturn:
    """End the process with this code.

    Not by the interpreter's normal end: that waits for threads which may never end, e.g. for a call that hangs.

    Args:
        code: the exit code.
        limit: seconds for what other code has registered with `atexit`.
    """
    cut = threading.Thread(target=_cut, args=(code, limit, threading.get_ident()), name="leasekeeper-end", daemon=True)
    cut.start()
    atexit._run_exitfuncs()  # noqa: SLF001 - what other code has registered (telemetry, coverage) still runs
    _leave(code)


def _cut(code: int, limit: float, thread: int) -> None:
    """End the process when the time is over, but not before our own ends: each of those bounds itself."""
    left = limit
    while left > 0:
        time.sleep(min(LOOK, left))
        if not _runs_ours(thread):
            left -= LOOK
    from leasekeeper.loggers import safe_logger

    telling = threading.Thread(target=safe_logger("leasekeeper.run").warning, args=(SAID, limit), daemon=True)
    telling.start()
    telling.join(TELLING)
    with suppress(BaseException):
        for ours in _ours():
            ours()
    _leave(code)


def _ours() -> list[Any]:
    """Our own exit functions."""
    names = (("leasekeeper.alive", "drain_at_exit"), ("leasekeeper.sending.exits", "close_all"))
    return [getattr(sys.modules[module], name) for module, name in names if module in sys.modules]


def _runs_ours(thread: int) -> bool:
    """Whether one of them runs in the thread that ends the process: a drain takes none of the time of others."""
    codes = {ours.__code__ for ours in _ours()}
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the only way to see where another thread is
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of a pipe has ended
            stream.flush()
    os._exit(code)
