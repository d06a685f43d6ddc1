"""Loggers that cannot fail: the handlers, filters and formatters of a logger are a user's code, and may raise anything.

On the ground floor: every part may use it. It promises that a log record costs no message, no start and no stop (L15).
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class SafeLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs to a logger, and goes on when that raises."""

    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: Any = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **_: object,
    ) -> None:
        """Log one record; none if the logger raises."""
        with suppress(BaseException):
            above = stacklevel + 1  # the record names the caller of this method, not this file
            self.logger.log(level, msg, *args, exc_info=exc_info, stack_info=stack_info, stacklevel=above, extra=extra)


def safe_logger(logger: str | logging.Logger) -> SafeLogger:
    """A `SafeLogger` for a logger or its name."""
    return SafeLogger(logging.getLogger(logger) if isinstance(logger, str) else logger, {})


class OnceAMinute:
    """Warns of what many messages meet at the same time: at once, and then once a minute.

    Args:
        logger: where records go.
    """

    def __init__(self, logger: SafeLogger) -> None:
        self._logger = logger
        self._again = -math.inf

    def warning(self, sentence: str, *values: object) -> None:
        """Log it, unless the last one is less than a minute old. From any thread."""
        if (now := time.monotonic()) >= self._again:
            self._again = now + 60.0
            self._logger.warning(sentence, *values)
