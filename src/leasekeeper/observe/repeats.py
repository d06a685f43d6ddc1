"""A limit on repeated log records: of one kind a few are written in a minute, and then how many were left out.

Owned by a consumer's logs, used on the engine's thread. It promises that the first record of each kind is always
written, and that no record is left out without being counted in a later one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from leasekeeper.tracebacks import raised_by_user

if TYPE_CHECKING:
    from collections.abc import Hashable

WINDOW = 60.0
"""Seconds in which a limited number of records of one kind is written."""
MOST_KINDS = 1_000
"""Kinds that are remembered; beyond that, kinds without a left-out record are forgotten."""


@dataclass(slots=True)
class _Window:
    """A minute of one kind."""

    ends: float
    written: int = 0
    left_out: int = 0
    last: tuple[int, str, tuple[object, ...], dict[str, Any]] = (logging.INFO, "", (), {})
    """The last record that was left out."""
    timer: asyncio.TimerHandle | None = field(default=None, compare=False)


class RepeatLimit:
    """Writes to a logger. Records with the same level, sentence, handler and error are of one kind.

    Args:
        logger: where records go.
        most: records of one kind in a minute; None: all are written.
    """

    def __init__(self, logger: logging.Logger, most: int | None) -> None:
        self._logger = logger
        self._most = most
        self._windows: dict[Hashable, _Window] = {}

    def write(
        self, level: int, sentence: str, values: tuple[object, ...], *, raised: object, extra: dict[str, Any]
    ) -> None:
        """Write a record, unless there were too many of its kind."""
        if self._most is not None and self._writes(level):
            kind = level, sentence, extra.get("handler"), extra.get("error") or extra.get("code")
            window = self._window(kind)
            if window.written >= self._most:
                self._leave_out(kind, window, (level, sentence, values, extra))
                return
            window.written += 1
        exc_info = raised_by_user(raised) if isinstance(raised, BaseException) else None
        self._logger.log(level, sentence, *values, exc_info=exc_info, extra=extra)

    def _writes(self, level: int) -> bool:
        """Whether the logger writes such records. One that is not `logging`'s (structlog) may not say so: then yes."""
        asked = getattr(self._logger, "isEnabledFor", None)
        return asked is None or asked(level)

    def _window(self, kind: Hashable) -> _Window:
        now = _now()
        window = self._windows.get(kind)
        if window is None or now >= window.ends:
            if window is not None:
                self._tell(kind)
            if len(self._windows) >= MOST_KINDS:
                self._windows = {each: one for each, one in self._windows.items() if one.left_out}
            window = self._windows[kind] = _Window(now + WINDOW)
        return window

    def _leave_out(
        self, kind: Hashable, window: _Window, record: tuple[int, str, tuple[object, ...], dict[str, Any]]
    ) -> None:
        window.left_out += 1
        window.last = record
        if window.timer is None and (loop := _loop()) is not None:
            window.timer = loop.call_later(max(0.0, window.ends - loop.time()), self._tell, kind)

    def _tell(self, kind: Hashable) -> None:
        """The minute of this kind is over: say how many records were left out, if any."""
        window = self._windows.pop(kind, None)
        if window is None:
            return
        if window.timer is not None:
            window.timer.cancel()
        if not window.left_out:
            return
        level, sentence, values, extra = window.last
        one = window.left_out == 1
        more = f"%d more record%s like this one %s left out within a minute: {sentence}"
        self._logger.log(
            level,
            more,
            window.left_out,
            "" if one else "s",
            "was" if one else "were",
            *values,
            extra={**extra, "left_out": window.left_out},
        )

    def flush(self) -> None:
        """Say what was left out so far."""
        for kind in list(self._windows):
            self._tell(kind)


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _now() -> float:
    loop = _loop()
    return time.monotonic() if loop is None else loop.time()
