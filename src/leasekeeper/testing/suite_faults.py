"""Faults for a whole suite: `pytest --leasekeeper-faults` runs it with an SQS that throttles and repeats itself.

Set by the pytest plugin, read by `World`, `Trial` and the fixture `local_sqs` when they begin. A suite that passes with
it does not count on one delivery a message, on full batches, or on the first try of a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from leasekeeper.local import Faults

SWITCHES: dict[str, dict[str, float]] = {
    "ReceiveMessage": {"throttle": 0.1, "duplicate": 0.3, "shorten": 0.3, "reset": 0.05},
    "DeleteMessageBatch": {"throttle": 0.1, "fail_entries": 0.1, "lose": 0.05},
    "ChangeMessageVisibilityBatch": {"throttle": 0.1, "fail_entries": 0.1},
}
"""How often what happens; sends are spared, because they are the test's as a rule."""


class SuiteFaults:
    """Whether the suite runs under faults."""

    wanted: ClassVar[bool] = False

    @classmethod
    def apply(cls, faults: Faults) -> None:
        """Switch them on, if the suite runs under faults. A test may set others."""
        if cls.wanted:
            for operation, switches in SWITCHES.items():
                faults.set(operation, **switches)
