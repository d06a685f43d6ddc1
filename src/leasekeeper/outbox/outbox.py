"""The outbox as its writers see it: a table, and `add`, which writes a message in the caller's transaction.

Owned by the user's program. It promises that a message which SQS would refuse for its form is refused by `add`, as long
as the queue has the defaults of SQS.
"""

from __future__ import annotations

import base64
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, overload

import msgspec

from leasekeeper.errors import ConfigurationError
from leasekeeper.idempotency.postgres import check_psycopg, checked_table
from leasekeeper.outbox.statements import DEFINITION, INSERT, TRIGGER
from leasekeeper.sending.outgoing import TargetQueue
from leasekeeper.sending.tracing import trace_source
from leasekeeper.sqs.address import QueueAddress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from leasekeeper.api import Outgoing
    from leasekeeper.message import MessageAttribute
    from leasekeeper.payloads import S3Payloads
    from leasekeeper.sending.outgoing import AttributeValue

LONGEST_DELAY = 366 * 86_400.0
"""Seconds that a row may wait."""
LARGEST = 268_435_456
"""Bytes of a payload: a relay has one of them in memory at a time for each queue, and a field of Postgres 1 GB."""


class AsyncTransaction(Protocol):
    """A connection or cursor of psycopg with `async` methods."""

    async def execute(self, query: Any, params: Any = None, /) -> Any:
        """Run a statement."""
        ...


class Transaction(Protocol):
    """A connection or cursor of psycopg, or a cursor of Django."""

    def execute(self, query: Any, params: Any = None, /) -> Any:
        """Run a statement."""
        ...


class Outbox:
    """A table of Postgres for messages that are sent when the transaction that wrote them has committed.

    A `Relay` sends them: `leasekeeper outbox relay`, or `app.relay(outbox)`. Each is sent at least once, those of one
    group of a FIFO queue in the order of their ids.

    Args:
        dsn: a connection string or URL, as psycopg has it; empty: libpq's variables (`PGHOST` and others). Writers do
            not use it.
        table: the table's name, with or without a schema. `definition` is its DDL, and `create_table()` runs that.
        notify: whether the table has a trigger that wakes relays. Without it they find rows within their `poll`.
        payloads: `S3Payloads`, where a relay keeps the payloads that are too large for a message. A row has its
            payload, of at most 256 MiB, until the relay has stored that. Unset: `add` refuses them.

    Raises:
        ConfigurationError: the name of the table needs quotes.
    """

    def __init__(
        self,
        dsn: str = "",
        *,
        table: str = "leasekeeper_outbox",
        notify: bool = True,
        payloads: S3Payloads | None = None,
    ) -> None:
        self.dsn = dsn
        self.payloads = payloads
        self.table = checked_table(table, example="leasekeeper_outbox")
        self.notify = notify
        self._insert = self.statement(INSERT)

    @property
    def channel(self) -> str:
        """The channel of its notifications, which is the table's name without a schema."""
        return self.table.rpartition(".")[2].lower()

    def statement(self, template: str) -> str:
        """A statement for its table."""
        return template.replace("{table}", self.table).replace("{plain}", self.table.rpartition(".")[2])

    @property
    def creates(self) -> str:
        """The command that creates the table."""
        return f"leasekeeper outbox create --table {self.table} --dsn ..."

    @property
    def definition(self) -> str:
        """The DDL of the table, which may be run again."""
        return self.statement(DEFINITION + (TRIGGER if self.notify else ""))

    def create_table(self) -> None:
        """Create the table if it is not there; blocks."""
        check_psycopg("Outbox")
        import psycopg

        with psycopg.connect(self.dsn) as connection:
            connection.execute(self.definition.encode())

    @overload
    def add(
        self,
        transaction: AsyncTransaction,
        queue: str,
        body: Any,
        *,
        group: str | None = None,
        delay: float | timedelta = 0,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> Awaitable[None]: ...

    @overload
    def add(
        self,
        transaction: Transaction,
        queue: str,
        body: Any,
        *,
        group: str | None = None,
        delay: float | timedelta = 0,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> None: ...

    def add(
        self,
        transaction: AsyncTransaction | Transaction,
        queue: str,
        body: Any,
        *,
        group: str | None = None,
        delay: float | timedelta = 0,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> Awaitable[None] | None:
        """Write a message in the caller's transaction: `await outbox.add(connection, "orders", order)`.

        Args:
            transaction: a connection or cursor of psycopg with `async` methods: then await the result; or one without,
                also a cursor of Django.
            queue: the queue's name, URL or ARN.
            body: text; or anything that msgspec or pydantic writes as JSON.
            group: the message group: order on FIFO queues, where it is needed; tenant on standard ones.
            delay: seconds, or a timedelta, until it is sent, from 0 to a year; standard queues only.
            attributes: at most ten; text, numbers or bytes.
            deduplication_id: FIFO queues. Unset: the row has a new one, so it makes one message however often it is
                sent within five minutes.

        Raises:
            ConfigurationError: at the call: SQS would refuse the message.
        """
        values = self.values(
            queue, body, group=group, delay=delay, attributes=attributes, deduplication_id=deduplication_id
        )
        _refuse_raw(transaction)
        result = transaction.execute(self._insert, values)
        return _done(result) if hasattr(result, "__await__") else None

    def values(
        self,
        queue: str,
        body: Any,
        *,
        group: str | None = None,
        delay: float | timedelta = 0,
        attributes: Mapping[str, AttributeValue] | None = None,
        deduplication_id: str | None = None,
    ) -> dict[str, Any]:
        """The values of a row, for other drivers.

        They are `queue`, `group_id`, `deduplication_id`, `body`, `attributes` (JSON as text) and `delay` (seconds).
        Arguments and errors as those of `add`.
        """
        address = QueueAddress.parse(queue)
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if not 0 <= seconds <= LONGEST_DELAY:
            raise ConfigurationError(f"queue {address.name}: delay={delay!r}: must be from 0 seconds to 366 days")
        target = TargetQueue(address.name, fifo=address.fifo, content_based=True, payloads=self.payloads)
        target.trace = trace_source(None)
        outgoing, _ = target.outgoing(
            body,
            group=group,
            delay=math.ceil(seconds) or None if address.fifo else None,
            attributes=attributes,
            deduplication_id=deduplication_id,
        )
        text, given = outgoing.body, outgoing.attributes
        if self.payloads is not None:
            text, given = _with_payload(outgoing)
        return {
            "queue": queue,
            "group_id": outgoing.group_id,
            "deduplication_id": deduplication_id,
            "body": text,
            "attributes": attributes_as_json(given),
            "delay": float(seconds),
        }

    def __repr__(self) -> str:
        return f"<Outbox, table {self.table}>"  # the DSN may have a password


def _with_payload(outgoing: Outgoing) -> tuple[str, Mapping[str, MessageAttribute]]:
    """What a row has of a message: the payload, also if a relay is going to store it elsewhere."""
    from leasekeeper.payloads.pointers import without_marker
    from leasekeeper.payloads.writing import OutgoingPointer

    if not isinstance(outgoing, OutgoingPointer):
        return outgoing.body, outgoing.attributes
    if len(outgoing.data) > LARGEST:
        raise ConfigurationError(
            f"the body has {len(outgoing.data):,} bytes, and a row of an outbox takes at most {LARGEST:,}: store it "
            "yourself, and send where it is"
        )
    return outgoing.data.decode(), without_marker(outgoing.attributes)


def _refuse_raw(transaction: object) -> None:
    """Refuse cursors with the placeholders of Postgres: the statement has those of psycopg."""
    kind = getattr(transaction, "cursor_factory", type(transaction))
    if any(base.__name__ in {"RawCursorMixin", "RawServerCursorMixin"} for base in kind.__mro__):
        cursor = "psycopg.AsyncCursor" if kind.__name__.startswith("Async") else "psycopg.Cursor"
        raise ConfigurationError(
            f"Outbox.add({kind.__name__}): raw cursors have other placeholders: give {cursor}(connection), which is in "
            "the same transaction"
        )


async def _done(result: Awaitable[Any]) -> None:
    await result


def attributes_as_json(attributes: Mapping[str, MessageAttribute]) -> str:
    """Attributes as a row has them: `{"kind": {"type": "String", "value": "order"}}`, binary values in base64."""
    shown = {}
    for name, attribute in attributes.items():
        value = attribute.value
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        shown[name] = {"type": attribute.data_type, "value": text}
    return msgspec.json.encode(shown).decode()
