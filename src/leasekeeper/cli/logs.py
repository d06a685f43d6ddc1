"""Logs of a foreground process: plain lines, or one JSON object a line, on standard error.

`leasekeeper run` sets them up before it imports the user's module, so that a logging configuration in that module wins.
It promises that no record, whatever text it quotes, can pass for another one or send control characters to a terminal.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import traceback
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leasekeeper.cli.errors import say
from leasekeeper.cli.words import printable_lines
from leasekeeper.errors import ConfigurationError
from leasekeeper.message_context import FIELDS, MessageContext

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("plain", "json")
OURS = "leasekeeper"
DEEPEST = 8
"""Levels of nesting that a JSON line shows of an extra; what lies deeper is shown as text."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "in_handler"}


def check(level: str, form: str) -> None:
    """Refuse words that `--log-level` and `--log-format` do not have.

    Raises:
        ConfigurationError: one is unknown.
    """
    for word, known, name in ((level, LEVELS, "--log-level"), (form, FORMATS, "--log-format")):
        if word not in known:
            raise ConfigurationError(f"{name}={word!r}: must be one of {', '.join(known)}")


class PlainFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO leasekeeper: words`, in UTC.

    Every further line of a record (a traceback, or a line break in a text that is quoted) is indented. So a line that
    starts with a time is always the start of a record. A record of a handler ends with its message:
    `[queue=orders handler=ship message_id=... receive_count=1]`.

    Args:
        process: the number of this process among those of a supervisor: `INFO leasekeeper[2]: words`.
    """

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, process: int | None = None) -> None:
        number = "" if process is None else f"[{process}]"
        super().__init__(f"%(asctime)s %(levelname)s %(name)s{number}: %(message)s")
        self.converter = time.gmtime
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        return printable_lines(super().format(_readable(record))).replace("\n", "\n    ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in `logging.Formatter`
        """The record's first lines, without the traceback."""
        line = super().formatMessage(record)
        if not hasattr(record, "in_handler"):
            return line
        fields = (f"{name}={getattr(record, name)}" for name in FIELDS if hasattr(record, name))
        return f"{line} [{' '.join(fields)}]"


class JsonFormatter(PlainFormatter):
    """One JSON object a record: time, level, logger, message, exception and stack if any, and each `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line: valid JSON in ASCII, whatever the record holds."""
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _readable(record).getMessage(),
        }
        if self.process is not None:
            line["process"] = self.process
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in line}
        return json.dumps(_as_json(line), allow_nan=False)


def _readable(record: logging.LogRecord) -> logging.LogRecord:
    """The record, or one that says that this one's arguments do not fit its format."""
    try:
        record.getMessage()
    except Exception as error:  # an argument of the user's may fail at anything
        record = logging.makeLogRecord(vars(record))
        record.msg, record.args = f"{record.msg!r} cannot be formatted: {type(error).__name__}", ()
    return record


def _as_json(value: Any, depth: int = 0) -> Any:
    """The value in the types of JSON; anything else becomes text."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth < DEEPEST and isinstance(value, Mapping):
        return {_as_text(key): _as_json(item, depth + 1) for key, item in value.items()}
    if depth < DEEPEST and isinstance(value, list | tuple | AbstractSet):
        return [_as_json(item, depth + 1) for item in value]
    return _as_text(value)


def _as_text(value: object) -> str:
    try:
        text = str(value)
    except Exception:  # an object of the user's may fail at anything
        text = f"<{type(value).__name__}, which cannot be shown>"
    return text.encode("utf-8", "replace").decode()  # JSON readers refuse lone surrogates


def set_up(level: str, kind: str, process: int | None = None) -> None:
    """Log at that level in that format, with the number of the process where it has others beside it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(MessageContext())
    handler.setFormatter((JsonFormatter if kind == "json" else PlainFormatter)(process))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("botocore").setLevel(logging.WARNING)  # at INFO it says where it found each of its settings
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # at INFO it says how the admin server comes and goes


class Warnings(logging.Handler):
    """Shows what is logged while no logging is set up, as every other sentence of a command is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, and the traceback if it has one."""
        say(record.getMessage())
        if record.exc_info and record.exc_info[0] is not None:
            lines = traceback.format_exception(*record.exc_info)
            print(printable_lines("".join(lines)), end="", file=sys.stderr)


def show_warnings() -> None:
    """Show what is logged until logging is set up; only `run` and a relay set it up."""
    logging.lastResort = Warnings(logging.WARNING)


@contextmanager
def kept_enabled() -> Iterator[None]:
    """Run the user's module without letting it disable our loggers by accident.

    `logging.config.dictConfig` and `fileConfig` disable every logger that exists and that they do not name, unless
    `disable_existing_loggers=False` is given. Levels, handlers and filters that the module sets stay as it sets them.
    """
    before = {name for name, logger in _our_loggers().items() if logger.disabled}
    try:
        yield
    finally:
        for name, logger in _our_loggers().items():
            logger.disabled = name in before


def _our_loggers() -> dict[str, logging.Logger]:
    known = dict(logging.Logger.manager.loggerDict)
    return {
        name: logger
        for name, logger in known.items()
        if isinstance(logger, logging.Logger) and (name == OURS or name.startswith(f"{OURS}."))
    }
