"""What the supervisor logs: lines of the form that its processes log in, without the weight of `logging`.

Owned by the supervisor. It promises one line a sentence, on standard error, and that a reader which has ended
stops nothing.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress

LEVELS = ("debug", "info", "warning", "error", "critical")
LOGGER = "leasekeeper.supervisor"


class Lines:
    """Logs sentences.

    Args:
        level: the least that is logged.
        kind: `plain` or `json`.
    """

    def __init__(self, level: str = "info", kind: str = "plain") -> None:
        self._least = LEVELS.index(level)
        self._json = kind == "json"

    def say(self, level: str, words: str, **fields: object) -> None:
        """Log a sentence; JSON lines have the fields too."""
        if LEVELS.index(level) < self._least:
            return
        now = time.time()
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        if self._json:
            line = json.dumps({"time": at, "level": level, "logger": LOGGER, "message": words, **fields})
        else:
            line = f"{at} {level.upper()} {LOGGER}: {words}"
        self.show(line)

    def show(self, line: str) -> None:
        """Print what a process has left to its supervisor."""
        with suppress(OSError):  # what read it has ended, or its terminal is gone: the processes need their stop anyway
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
