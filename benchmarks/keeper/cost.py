"""What the keeper costs a message: its way through the ledger and its handler's call, with and without the table.

`python benchmarks/keeper/cost.py` prints microseconds of CPU a message, the best of several rounds of each; the two
take turns, so that a busy machine slows both. A message is received, its handler is called as a lane calls it, it is
finished, and its delete is confirmed. Four receives are held at a time, and their messages finish by turns, so those
that are deleted together have come with different receives. Receipts have 300 characters. The same 400 messages pass
again and again, because a consumer has just read what it takes in: it is in the processor's cache.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.keeper.entries import Entries
from leasekeeper.keeper.handling import KeptHandler
from leasekeeper.keeper.layout import Settings
from leasekeeper.keeper.ledgers import KeptLedger
from leasekeeper.keeper.table import Table
from leasekeeper.message import Received
from leasekeeper.outcomes import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

BATCH, HELD, RECEIVES, AGAIN, ROUNDS = 10, 4, 40, 50, 15


class _Handler:
    name = "handler"

    def run(self, say: object, delivery: Delivery) -> Coroutine[None, None, Outcome]:
        raise NotImplementedError

    def run_blocking(self, say: object, delivery: Delivery) -> Outcome:  # noqa: ARG002 - a handler's arguments
        return DONE

    def timed_out(self, timeout: float, delivery: Delivery | None = None) -> str:
        raise NotImplementedError


class Side:
    """A ledger, and how a lane calls the handler: without a keeper, or with a table."""

    def __init__(self, table: Table | None) -> None:
        policy = LeasePolicy(visibility=30, extend_after=15, remember=0)
        self.ledger: Ledger
        handler: Any = _Handler()
        if table is None:
            self.ledger = Ledger(policy)
        else:
            entries = Entries(table)
            self.ledger = KeptLedger(policy, entries, on_lease_lost=lambda _: None)
            handler = KeptHandler(handler, entries)
        self.call: Callable[[Delivery], Outcome] = partial(handler.run_blocking, None)

    def pass_through(self, batches: list[list[Received]]) -> None:
        """Take these receives from beginning to end."""
        ledger, call = self.ledger, self.call
        for first in range(0, len(batches), HELD):
            held = [ledger.receive(batch, requested_at=1.0, now=2.0)[0] for batch in batches[first : first + HELD]]
            rows = [row for turn in zip(*held, strict=True) for row in turn]
            for row in rows:
                row.started = 3.0
                call(row)
            for start in range(0, len(rows), BATCH):
                done = ledger.done(rows[start : start + BATCH])
                ledger.deleted([(row, row.receipt) for row in done], 4.0)


def receives(count: int) -> list[list[Received]]:
    """So many receives of ten."""
    system = {"ApproximateReceiveCount": "1"}
    return [
        [Received(message_id=f"{number:036d}", receipt=f"{number:0300d}", body="body", system=system) for number in ten]
        for ten in (range(first, first + BATCH) for first in range(0, BATCH * count, BATCH))
    ]


def sides() -> tuple[Side, Side]:
    """The side without a keeper, and that with one."""
    return Side(None), Side(Table.make(1_000, Settings("http://127.0.0.1", "us-east-1", "", ""), keep_for=300))


def _seconds(side: Side, batches: list[list[Received]]) -> float:
    began = time.process_time()
    for _ in range(AGAIN):
        side.pass_through(batches)
    return (time.process_time() - began) / (BATCH * len(batches) * AGAIN)


def main() -> None:
    """Measure, and print."""
    batches = receives(RECEIVES)
    plain, kept = sides()
    times = [(_seconds(plain, batches), _seconds(kept, batches)) for _ in range(ROUNDS)]
    without, with_table = (min(each) * 1e6 for each in zip(*times, strict=True))
    print(f"{sys.version.split()[0]}: ledger and handler {without:.2f} us a message, with the table {with_table:.2f}")
    print(f"the keeper costs {with_table - without:.2f} us a message")


if __name__ == "__main__":
    main()
