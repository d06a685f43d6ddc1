"""What a message costs more with a keeper: counted as bytecode instructions, which are the same on a busy machine."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.core.delivery import LeasePolicy
from leasekeeper.core.ledger import Ledger
from leasekeeper.keeper.entries import Entries
from leasekeeper.keeper.handling import KeptHandler
from leasekeeper.keeper.layout import FREE, STATES, Settings
from leasekeeper.keeper.ledgers import KeptLedger
from leasekeeper.keeper.table import Table
from leasekeeper.message import Received
from leasekeeper.outcomes import DONE

if TYPE_CHECKING:
    from types import FrameType

MOST = 85
"""Instructions of a message: 72 on Python 3.11, which are 4,600 of the processor's."""
RECEIVES = 20


class _Handler:
    name = "handler"

    def run(self, *_: object) -> Any:
        raise NotImplementedError

    def run_blocking(self, *_: object) -> Any:
        return DONE

    def timed_out(self, *_: object) -> str:
        raise NotImplementedError


def _pass_through(ledger: Ledger, entries: Entries | None) -> None:
    """Receive messages, call their handlers as a lane does, finish them, and confirm their deletes."""
    handler: Any = _Handler() if entries is None else KeptHandler(_Handler(), entries)
    call = partial(handler.run_blocking, None)
    for number in range(RECEIVES):
        batch = [
            Received(message_id=f"{number}-{each}", receipt="r" * 300, system={"ApproximateReceiveCount": "1"})
            for each in range(10)
        ]
        fresh, _ = ledger.receive(batch, requested_at=1.0, now=2.0)
        for row in fresh:
            row.started = 3.0
            call(row)
        ledger.deleted([(row, row.receipt) for row in ledger.done(fresh)], 4.0)


def _instructions(ledger: Ledger, entries: Entries | None = None) -> float:
    counted = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    _pass_through(ledger, entries)
    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only if some frame asked for it before
    sys.settrace(trace)
    try:
        _pass_through(ledger, entries)
    finally:
        sys.settrace(before)
    return counted / (10 * RECEIVES)


def test_a_message_costs_few_instructions_more_and_always_the_same_memory() -> None:
    policy = LeasePolicy(visibility=30, extend_after=15, remember=0)
    table = Table.private(100, Settings("http://127.0.0.1", "us-east-1", "", ""), keep_for=300)
    entries = Entries(table)
    kept = KeptLedger(policy, entries, on_lease_lost=lambda _: None)
    more = _instructions(kept, entries) - _instructions(Ledger(policy))
    assert 20 < more <= MOST
    assert table.used == 1
    assert table.states[STATES] == FREE
    table.close()
