"""Tracebacks of handlers, from the first line of the user's code on.

Used by logs, dead letters and the command line. What called the handler (Leasekeeper, asyncio, a thread) says nothing
about the failure, and is left out.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

OURS = str(Path(__file__).parent)
"""The folder of Leasekeeper."""
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""The folders of Python and of what is installed."""
_PYTHON = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_INSTALLED = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


def from_user_code(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins after Leasekeeper and Python; None where that is nothing.

    What is installed counts as the user's, because applications are installed too.
    """
    while trace is not None and _calls_handlers(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _calls_handlers(file: str) -> bool:
    return file.startswith((OURS, "<")) or (file.startswith(_PYTHON) and not file.startswith(_INSTALLED))


def raised_by_user(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """The error with the traceback to show: without the frames before the user's code, or whole where it has none."""
    return type(error), error, from_user_code(error.__traceback__) or error.__traceback__
