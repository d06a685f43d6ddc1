"""The API of an AWS account, as far as SQS goes: one call for every operation.

Owned by the broker, or by a test. It promises to depend only on the requests, their times and the account's random
numbers: it has no clock, no thread and no loop. It answers every request or raises `Refusal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasekeeper.local.model import message_operations, move_operations, queue_operations, refusals
from leasekeeper.local.model.account import AccountState

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.local.model.fields import Request

_OPERATIONS: dict[str, Callable[[AccountState, Request, float], dict[str, Any]]] = {
    **queue_operations.OPERATIONS,
    **message_operations.OPERATIONS,
    **move_operations.OPERATIONS,
}
OPERATIONS = frozenset(_OPERATIONS)


class Account(AccountState):
    """The queues of one account in one region, and the operations on them."""

    def call(self, operation: str, request: Request, now: float) -> dict[str, Any]:
        """Perform an operation at once. A receive does not wait here.

        Args:
            operation: the name of the API operation, e.g. `SendMessage`.
            request: its members, as the JSON protocol has them.
            now: seconds on any clock that does not go back.

        Returns:
            The members of the answer; empty for operations without an answer.

        Raises:
            Refusal: the error that SQS answers with.
        """
        perform = _OPERATIONS.get(operation)
        if perform is None:
            raise refusals.unknown_operation(f"The action {operation} is not valid for this endpoint.")
        if self.moves:
            self.step(now)
        return perform(self, request, now)

    def step(self, now: float) -> float:
        """Let message move tasks continue up to `now`. Returns the time of the next move, infinite if there is none."""
        return move_operations.step(self, now)
