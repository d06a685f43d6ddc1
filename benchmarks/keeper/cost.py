"""What the keeper costs a message: the ledger's way of ten messages at a time, with and without the table.

`python benchmarks/keeper/cost.py` prints microseconds of CPU a message, the best of several rounds of each; the two
take turns, so that a busy machine slows both. A message is received, its handler starts, it is finished, and its delete
is confirmed. Receipts have 300 characters.
"""

from __future__ import annotations

import sys
import time

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.keeper.entries import Entries
from leasekeeper.keeper.layout import RUNNING, Settings
from leasekeeper.keeper.ledgers import KeptLedger
from leasekeeper.keeper.table import Table
from leasekeeper.message import Received

POLICY = LeasePolicy(visibility=30, extend_after=15)
BATCH, BATCHES, ROUNDS = 10, 2_000, 15


def _received(number: int) -> Received:
    system = {"ApproximateReceiveCount": "1"}
    return Received(message_id=f"{number:036d}", receipt=f"{number:0300d}", body="body", system=system)


def _round(ledger: Ledger, messages: list[list[Received]], table: Table | None) -> float:
    began = time.process_time()
    for batch in messages:
        fresh, _ = ledger.receive(batch, requested_at=1.0, now=2.0)
        for row in fresh:
            row.started = 3.0
            if table is not None:
                table.states[row.slot] = RUNNING  # type: ignore[attr-defined] # as the lane does
        done = ledger.done(fresh)
        ledger.deleted([(row, row.receipt) for row in done], 4.0)
    return (time.process_time() - began) / (BATCH * len(messages)) * 1e6


def main() -> None:
    """Measure, and print."""
    messages = [[_received(first + each) for each in range(BATCH)] for first in range(0, BATCH * BATCHES, BATCH)]
    table = Table.make(1_000, Settings("http://127.0.0.1", "us-east-1", "", ""), keep_for=300)
    plain = Ledger(LeasePolicy(visibility=30, extend_after=15, remember=0))
    kept = KeptLedger(
        LeasePolicy(visibility=30, extend_after=15, remember=0), Entries(table), on_lease_lost=lambda _: None
    )
    without, with_keeper = [], []
    for _ in range(ROUNDS):
        without.append(_round(plain, messages, None))
        with_keeper.append(_round(kept, messages, table))
    print(f"{sys.version.split()[0]}: ledger {min(without):.2f} us a message, with the table {min(with_keeper):.2f}")
    print(f"the keeper costs {min(with_keeper) - min(without):.2f} us a message")


if __name__ == "__main__":
    main()
