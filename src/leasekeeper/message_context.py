"""Which message a log record belongs to: a logging filter adds its fields to what handlers, and what they call, log.

On the ground floor. The lanes set the message while a handler runs, but only where the filter is used: a message costs
nothing for it otherwise.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from leasekeeper.message import Received

MESSAGE: ContextVar[tuple[str, str, Received | None] | None] = ContextVar("leasekeeper.message", default=None)
"""Queue, name of the handler and message of the handler that runs; no message if it takes batches."""
FIELDS = ("queue", "handler", "message_id", "receive_count")


class MessageContext(logging.Filter):
    """A logging filter that adds the message to each record that a handler writes.

    The fields are `queue`, `handler`, `message_id` and `receive_count`, and `in_handler=True`. Other records, those of
    Leasekeeper itself among them, stay as they are; so does a field that a record has already. The filter lets all
    records through. Records of tasks and of `asyncio.to_thread` calls that a handler starts have the fields too. Those
    of batch handlers have queue and handler alone.

    Add it to a logging handler, not to a logger, and make it before the consumers start: consumers that started before
    set no context. `leasekeeper run` has it. It costs less than a microsecond a message.
    """

    in_use: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        MessageContext.in_use = True

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; always True."""
        current = MESSAGE.get()
        if current is not None and record.name.partition(".")[0] != "leasekeeper":
            queue, handler, received = current
            values: tuple[object, ...] = (queue, handler)
            if received is not None:
                values += (received.message_id, received.receive_count)
            vars(record).update({**dict(zip(FIELDS, values, strict=False)), "in_handler": True, **vars(record)})
        return True
