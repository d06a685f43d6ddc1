"""Which message a log record belongs to: a logging filter adds its fields to what handlers, and what they call, log.

On the ground floor. The lanes set the message while a handler runs, but only where the filter is used: a message costs
nothing for it otherwise.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from leasekeeper.message import Received


class Run(Protocol):
    """The message of a handler that runs: a row of the ledger."""

    @property
    def received(self) -> Received:
        """The message, as it was received."""
        ...

    @property
    def attempt(self) -> int:
        """The number of this run of it."""
        ...


MESSAGE: ContextVar[tuple[str, str, Run | None] | None] = ContextVar("leasekeeper.message", default=None)
"""Queue, name of the handler and message of the handler that runs; no message if it takes batches."""
FIELDS = ("queue", "handler", "message_id", "receive_count", "attempt", "trace_id")


class MessageContext(logging.Filter):
    """Adds the message to each record that a handler writes: a logging filter, and a processor of structlog.

    The fields are `queue`, `handler`, `message_id`, `receive_count` and `attempt`, and `in_handler=True`; while a span
    of `Tracing` is current, `trace_id` and `span_id` too. Other records, those of Leasekeeper itself among them, stay
    as they are; so does a field that a record has already. The filter lets all records through. Records of tasks and of
    `asyncio.to_thread` calls that a handler starts have the fields too. Those of batch handlers have queue and handler
    alone.

    Add it to a logging handler, not to a logger, or to the processors of structlog
    (`structlog.configure(processors=[MessageContext(), ...])`). Make it before the consumers start: consumers that
    started before set no context. `leasekeeper run` has it. It costs less than a microsecond a message.
    """

    in_use: ClassVar[bool] = False
    span_ids: ClassVar[Callable[[], Mapping[str, object]] | None] = None
    """Gives the ids of the current span. Set by `Tracing`; None while this process does not trace."""

    def __init__(self) -> None:
        super().__init__()
        MessageContext.in_use = True

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; always True."""
        if record.name.partition(".")[0] != "leasekeeper":
            vars(record).update({**self._fields(), **vars(record)})
        return True

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Add the fields to an event of structlog."""
        return {**self._fields(), **event}

    @staticmethod
    def _fields() -> dict[str, object]:
        current = MESSAGE.get()
        if current is None:
            return {}
        queue, handler, run = current
        fields: dict[str, object] = {"queue": queue, "handler": handler, "in_handler": True}
        if run is not None:
            received = run.received
            fields["message_id"], fields["receive_count"] = received.message_id, received.receive_count
            fields["attempt"] = run.attempt
        if MessageContext.span_ids is not None:
            fields |= MessageContext.span_ids()
        return fields
