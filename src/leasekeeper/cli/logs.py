"""Logs of a foreground process: plain lines, or one JSON object a line, on standard error.

Set up once by `leasekeeper run`, before the user's module is imported, so that a configuration of the user's own wins.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("plain", "json")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class PlainFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO leasekeeper: words`, in UTC."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime


class JsonFormatter(PlainFormatter):
    """One JSON object a record: time, level, logger, message, exception if any, and what came as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        said |= {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in said}
        return json.dumps(said, default=str)


def set_up(level: str, kind: str) -> None:
    """Log at that level in that format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if kind == "json" else PlainFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("botocore").setLevel(logging.WARNING)  # it says at INFO where it found each of its settings
