"""Whether the transaction of an inbox may commit, now that its handler has returned.

Used by the inbox, where the handler ran. It promises that no message counts as done before its rows are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.errors import LeasekeeperError
from leasekeeper.lanes.failures import outcome_of_result
from leasekeeper.message import lease_of

if TYPE_CHECKING:
    from leasekeeper.message import Message


def check_open(connection: Any, handler: str) -> None:
    """Refuse to commit nothing: Postgres answers the COMMIT of a failed transaction with a ROLLBACK, and no error.

    Raises:
        LeasekeeperError: the transaction has failed, or the handler has ended it.
    """
    from psycopg.pq import TransactionStatus

    status = connection.info.transaction_status
    if status is TransactionStatus.INERROR:
        raise LeasekeeperError(
            f"handler {handler} returned after a statement of its transaction had failed, so Postgres would undo all "
            "of it: let the error out, or run what may fail in `with tx.transaction():`"
        )
    if status is not TransactionStatus.INTRANS:
        raise LeasekeeperError(
            f"handler {handler} has ended the transaction of its inbox, or left a statement running: leave COMMIT and "
            "ROLLBACK to the inbox, and read every result"
        )


def ends_well(message: Message[Any], result: Any, handler: str) -> bool:
    """Whether the transaction of a handler that has returned is committed."""
    lease = lease_of(message)
    if lease.withheld:
        raise LeasekeeperError(
            f"handler {handler} withholds message {message.id}, and its inbox commits when it returns: return when "
            "the work is done, or use an Idempotency with a store"
        )
    if lease.retried:
        return False
    return result is None or outcome_of_result(result, handler) is None
