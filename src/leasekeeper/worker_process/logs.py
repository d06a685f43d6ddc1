"""The log records of a worker process: where it has no logging of its own, they go to the engine's process.

Used once by each worker. The records come out there as if they had been written there, with their message's fields.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from leasekeeper.lanes.processes.frames import Logged
from leasekeeper.message_context import MessageContext

if TYPE_CHECKING:
    from leasekeeper.worker_process.channel import Channel

_PLAIN = (str, int, float, bool, type(None))
_LEFT_OUT = frozenset(("args", "exc_info", "msg", "message", "taskName"))


class Forwarding(logging.Handler):
    """Sends records to the engine."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._format = logging.Formatter()
        self.addFilter(MessageContext())

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; what cannot be sent is shown as text."""
        try:
            fields: dict[str, Any] = {
                name: value if isinstance(value, _PLAIN) else repr(value)
                for name, value in vars(record).items()
                if name not in _LEFT_OUT
            }
            fields["msg"] = record.getMessage()
            if record.exc_info and not record.exc_text:
                fields["exc_text"] = self._format.formatException(record.exc_info)
            self._channel.send(Logged(fields))
        except Exception:
            self.handleError(record)


def forward(channel: Channel, level: int) -> None:
    """Send what is logged here to the engine, unless the user's modules have set logging up."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Forwarding(channel))
        root.setLevel(level)
