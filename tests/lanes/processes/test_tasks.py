"""What runs again of a batch whose worker has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from leasekeeper.core.batch_collector import Collected
from leasekeeper.lanes.bundles import Bundle
from leasekeeper.lanes.processes.tasks import BatchTask
from leasekeeper.message import Received
from leasekeeper.outcomes import NOT_STARTED, Failed, Reject

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.core.ledger import Ledger
    from leasekeeper.outcomes import Outcome

FAILED = Failed(RuntimeError("its worker died"))
REJECTED = Reject("its worker died three times")


@pytest.fixture
def task(ledger: Ledger) -> Callable[..., BatchTask]:
    """A batch of these messages (`a1` is of group `a`), the first of which is called alone."""

    def make(*names: str, ordered: bool = True, copies: bool = True) -> BatchTask:
        messages = [
            Received(message_id=name, receipt=f"{name}-receipt", body=name, system={"MessageGroupId": name[0]})
            for name in names
        ]
        rows, _ = ledger.receive(messages, requested_at=100.0, now=100.0)
        batch = Bundle(Collected(rows, "size", 0.0), lambda _: True, lambda: 100.0, ordered=ordered, copies=copies)
        return BatchTask(1, batch, [rows[:1], rows[1:]], singly=False)

    return make


def named(task: BatchTask) -> list[list[str]]:
    """The messages of each call that is made again."""
    return [[row.received.body for row in part] for part in task.unit.parts or ()]


@pytest.mark.parametrize(
    ("outcome", "copies", "again"),
    [
        (FAILED, True, [["b1", "b2"]]),
        (REJECTED, True, [["a2", "b1", "a3", "b2"]]),  # it is in the dead-letter queue: its group goes on
        (REJECTED, False, [["b1", "b2"]]),  # it is tried again
    ],
)
def test_what_stands_behind_a_failed_message_of_its_group_does_not_run(
    task: Callable[..., BatchTask], outcome: Outcome, copies: bool, again: list[list[str]]
) -> None:
    """L25: the worker died with the head of group a, which was alone in its call."""
    batch = task("a1", "a2", "b1", "a3", "b2", copies=copies)
    assert batch.died(lambda _: outcome, alone=True) is None
    assert named(batch) == again
    ended = {row.received.body: each for row, each in batch.unit.outcomes.items()}
    behind = {} if "a2" in again[0] else {"a2": NOT_STARTED, "a3": NOT_STARTED}
    assert ended == {"a1": outcome, **behind}


def test_nothing_runs_again_if_all_stand_behind_it(task: Callable[..., BatchTask]) -> None:
    """L25: then the batch has ended."""
    batch = task("a1", "a2")
    assert batch.died(lambda _: FAILED, alone=True) is not None
    assert named(batch) == []


def test_without_an_order_all_others_run(task: Callable[..., BatchTask]) -> None:
    batch = task("a1", "a2", "b1", ordered=False)
    assert batch.died(lambda _: FAILED, alone=True) is None
    assert named(batch) == [["a2", "b1"]]
