"""The table: two views of one memory, credentials that are being written, and slots that are used again."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from leasekeeper import Options, api
from leasekeeper.core.delivery import Lease, LeasePolicy
from leasekeeper.keeper.calls import is_lost
from leasekeeper.keeper.entries import COUNT, Entries, KeptDelivery
from leasekeeper.keeper.extensions import Extensions
from leasekeeper.keeper.layout import (
    CREDENTIALS,
    FINISHED,
    NOWHERE,
    RELEASING,
    RUNNING,
    STATES,
    TEXTS,
    WAITING,
    Credentials,
    Settings,
)
from leasekeeper.keeper.ledgers import KeptLedger
from leasekeeper.keeper.link import KeeperLink
from leasekeeper.keeper.settlements import settlements
from leasekeeper.keeper.table import Table
from leasekeeper.message import Received

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = Settings("https://sqs.test/", "eu-west-1", "https://sqs.test/1/orders", "orders", proxy="http://proxy:3128")


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table.make(2, SETTINGS, keep_for=60)
    yield made
    made.close()


class FreeClaims:
    def __init__(self) -> None:
        self.held: set[int] = set()

    def take(self, slot: int) -> bool:
        self.held.add(slot)
        return True

    def give_back(self, slot: int) -> None:
        self.held.remove(slot)


def _row(number: int, *, deadline: float = 30.0, receipt: str = "") -> KeptDelivery:
    received = Received(message_id=str(number), receipt=receipt or f"receipt-{number}")
    return KeptDelivery(received, Lease(30, 0.0, 15.0, deadline), 1.0, 2.0)


def _enter(entries: Entries, rows: list[KeptDelivery], state: int = WAITING) -> None:
    entries.enter(rows, [row.received for row in rows], state)


def test_the_keeper_sees_what_the_engine_wrote(table: Table) -> None:
    other = Table.open(os.dup(table.descriptor))
    try:
        entries = Entries(table)
        rows = [_row(1), _row(2)]
        _enter(entries, rows)
        entries.mark(rows[:1], RUNNING)
        assert (other.pid, other.began > 0, other.settings(), other.keep_for) == (os.getpid(), True, SETTINGS, 60)
        first, second = other.occupied()
        assert (first, second) == (rows[0].slot, rows[1].slot) == (STATES, STATES + 1)
        assert (other.states[first], other.states[second]) == (RUNNING, WAITING)
        head = other.head(first)
        assert (head.deadline, head.asked, head.seconds, head.visible_at) == (30.0, 1.0, 30.0, 0.0)
        assert other.texts(0) == [("receipt-1", "1"), ("receipt-2", "1")]
        other.extended(first, head.generation, 55.0)
        other.note_stood_in()
        assert entries.news()
        assert not entries.news()
        assert entries.until(rows[0]) == 55.0
        assert entries.until(rows[0]) == 0.0  # it was taken over
        assert entries.until(rows[1]) == 0.0
    finally:
        other.close()


def test_what_the_keeper_writes_late_about_a_slot_that_is_used_again_is_ignored(table: Table) -> None:
    entries = Entries(table)
    first, second = _row(1), _row(2)
    _enter(entries, [first])
    generation = table.generation(first.slot)
    assert generation == table.head(first.slot).generation
    slot = first.slot
    entries.leave([first])
    _enter(entries, [second])
    assert second.slot == slot
    table.extended(slot, generation, 99.0)
    assert entries.until(second) == 0.0


def test_a_message_without_a_slot_is_not_kept_and_costs_nothing(table: Table) -> None:
    entries = Entries(table)
    rows = [_row(number) for number in range(3)]
    for row in rows:
        _enter(entries, [row])
    too_long = _row(9, receipt="r" * (TEXTS + 1))
    entries.leave(rows[:1])
    _enter(entries, [too_long])
    assert [row.slot for row in (rows[2], too_long)] == [NOWHERE, NOWHERE]
    entries.mark([rows[2]], FINISHED)
    entries.releasing(rows[2], RELEASING)
    entries.moved(rows[2])
    entries.leave([rows[2]])
    assert table.occupied() == [rows[1].slot]


def test_a_receive_that_does_not_fit_into_one_block_is_in_several(table: Table) -> None:
    entries = Entries(table)
    rows = [_row(number, receipt=f"{number:0900d}") for number in range(10)]
    _enter(entries, rows)
    assert [row.slot for row in rows] == [*range(STATES, STATES + 5), *range(STATES + 10, STATES + 15)]
    assert [table.receipt(row.slot) for row in rows] == [row.receipt for row in rows]


def test_a_block_is_used_again_when_all_its_messages_have_left(table: Table) -> None:
    """Those that are still held keep their receipts, and no more than the blocks in use are looked at."""
    entries = Entries(table)
    first, second, third = ([_row(10 * number + each) for each in range(10)] for number in range(3))
    _enter(entries, first)
    entries.leave_deleted(first[1:])
    _enter(entries, second)
    entries.leave(second[:9])
    _enter(entries, third)
    assert {row.slot for row in third} == {NOWHERE}
    assert [table.receipt(slot) for slot in table.occupied()] == ["receipt-0", "receipt-19"]
    entries.leave_deleted(first[:1])
    _enter(entries, third)
    assert [row.slot for row in third] == list(range(STATES, STATES + 10))
    assert table.receipt(second[9].slot) == "receipt-19"
    assert table.used == 2


def test_what_the_engine_was_writing_when_it_died_is_left_to_its_lease(table: Table) -> None:
    entries = Entries(table)
    rows = [_row(1), _row(2)]
    _enter(entries, rows)
    at = table.memory.find(b"receipt-2")
    table.memory[at - 1] = ord("x")  # the separator: the texts are not complete
    assert table.receipt(rows[0].slot) == ""
    assert settlements(table, 20.0, table.occupied()) == []
    table.alive(1.0, 2.0)
    claims = FreeClaims()
    extensions = Extensions(table, claims, say=pytest.fail)
    (slots,) = extensions.due(25.0)
    assert extensions.begin(slots, 25.0) == []
    assert claims.held == set()


def test_a_newer_receipt_that_has_no_room_leaves_its_slot_to_one_message_only() -> None:
    """L29. If two messages had one slot, the end of the first would have the keeper delete the second."""
    small = Table.private(1, SETTINGS, keep_for=60)
    policy = LeasePolicy(visibility=30, extend_after=15)
    ledger = KeptLedger(policy, Entries(small), on_lease_lost=lambda _: None)
    [first], _ = ledger.receive([Received(message_id="a", receipt="1")], requested_at=1.0, now=1.0)
    ledger.receive([Received(message_id="a", receipt="2")], requested_at=2.0, now=2.0)
    assert first.slot == NOWHERE  # type: ignore[attr-defined] # of the ledger's row type
    [second], _ = ledger.receive([Received(message_id="b", receipt="3")], requested_at=3.0, now=3.0)
    ledger.done([first])
    assert small.receipt(STATES) == second.receipt
    assert small.states[STATES] == WAITING
    small.close()


def test_two_deliveries_of_one_message_in_one_receive_take_one_slot() -> None:
    """L11. A slot without a message would keep its block from being used again."""
    table = Table.private(1, SETTINGS, keep_for=60)
    ledger = KeptLedger(LeasePolicy(visibility=30, extend_after=15), Entries(table), on_lease_lost=lambda _: None)
    both = [Received(message_id="a", receipt=receipt, system={COUNT: receipt}) for receipt in ("1", "2")]
    [row], _ = ledger.receive(both, requested_at=1.0, now=1.0)
    assert [(table.states[slot], table.receipt(slot)) for slot in table.occupied()] == [(WAITING, "2")]
    ledger.deleted([(each, each.receipt) for each in ledger.done([row])], 2.0)
    assert table.occupied() == []
    table.close()


@pytest.mark.parametrize(("messages", "length"), [(10, 900), (12, 20)])
def test_a_receive_that_is_too_large_for_a_block_is_held_in_several(messages: int, length: int) -> None:
    table = Table.private(4, SETTINGS, keep_for=60)
    ledger = KeptLedger(LeasePolicy(visibility=30, extend_after=15), Entries(table), on_lease_lost=lambda _: None)
    batch = [Received(message_id=str(each), receipt=f"{each:0{length}d}") for each in range(messages)]
    rows, _ = ledger.receive(batch, requested_at=1.0, now=1.0)
    assert [table.receipt(slot) for slot in table.occupied()] == [each.receipt for each in batch]
    ledger.deleted([(each, each.receipt) for each in ledger.done(rows)], 2.0)
    assert table.occupied() == []
    table.close()


def test_receive_counts_are_there_if_one_of_them_is_not_1(table: Table) -> None:
    entries = Entries(table)
    rows = [_row(1), _row(2)]
    rows[1].received.system[COUNT] = "3"
    _enter(entries, rows)
    assert table.texts(0) == [("receipt-1", "1"), ("receipt-2", "3")]


def test_credentials_that_do_not_fit_are_no_reason_to_give_no_signs_of_life(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    long = api.Credentials(access_key="key", secret_key="secret", token="t" * 20_000)
    KeeperLink(table, FreeClaims(), Options(), clock=time.monotonic, credentials=lambda: long)
    assert table.credentials() is None
    assert "the keeper cannot make calls: credentials of 20,0" in caplog.text


def test_credentials_that_are_being_written_are_not_read(table: Table) -> None:
    assert table.credentials() is None
    table.write_credentials(Credentials("key", "secret", None))
    found = table.credentials()
    assert found is not None
    assert found[1] == ("key", "secret", None)
    table.numbers[6] |= 1  # the writer died in the middle
    assert table.credentials() is None
    assert b"secret" in table.memory[CREDENTIALS : CREDENTIALS + 100]


def test_what_is_no_table_is_refused() -> None:
    descriptor = os.memfd_create("other")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="is no table of leases"):
        Table.open(descriptor)
    os.close(descriptor)


def test_a_closed_table_takes_what_a_late_handler_writes() -> None:
    table = Table.make(2, SETTINGS, keep_for=60)
    table.close()
    table.states[NOWHERE] = RUNNING
    table.states[STATES + 2] = RUNNING


def test_the_keeper_extends_only_what_is_overdue_with_less_than_a_quarter_left(table: Table) -> None:
    entries, claims = Entries(table), FreeClaims()
    rows = [_row(1), _row(2), _row(3)]
    _enter(entries, rows)
    rows[2].lease = Lease(30, 0.0, 45.0, 60.0)
    entries.moved(rows[2])
    first, _, third = (row.slot for row in rows)
    entries.releasing(rows[1], RELEASING)
    extensions = Extensions(table, claims, say=pytest.fail)
    assert extensions.due(25.0) == []  # no sign of life yet: the engine has not begun
    table.alive(22.0, 26.0)
    assert extensions.due(25.0) == []  # the beat is not overdue
    table.alive(22.0, 23.0)
    assert extensions.due(22.4) == []  # more than a quarter is left
    assert extensions.due(25.0) == [[first]]
    assert extensions.due(25.0) == []  # a call is out
    (extension,) = extensions.begin([first], 25.0)
    assert (extension.receipt, extension.seconds, claims.held) == ("receipt-1", 30, {first})
    extensions.end([extension], [""], sent=25.0, now=25.2)
    assert claims.held == set()
    assert entries.until(rows[0]) == 55.0
    assert extensions.due(26.0) == []
    assert extensions.due(53.0) == [[first, third]]
    assert extensions.begin([first, third], 61.0) == []  # both leases are over by now


def test_an_extension_that_failed_is_tried_again_unless_the_receipt_is_lost(table: Table) -> None:
    entries = Entries(table)
    _enter(entries, [_row(1), _row(2)])
    table.alive(1.0, 2.0)
    extensions = Extensions(table, FreeClaims(), say=pytest.fail)
    (slots,) = extensions.due(25.0)
    extensions.end(extensions.begin(slots, 25.0), ["InternalError", "ReceiptHandleIsInvalid"], sent=25.0, now=25.1)
    assert extensions.due(25.2) == []
    assert extensions.due(26.0) == [[STATES]]
    extensions.end(extensions.begin([STATES], 26.0), None, sent=26.0, now=28.0)
    assert extensions.due(29.0) == [[STATES]]
    assert entries.until(_row(3)) == 0.0


def test_after_the_death_each_state_is_settled_in_its_way() -> None:
    table = Table.private(2, SETTINGS._replace(back_offs=[4.0, 8.0]), keep_for=60)
    entries = Entries(table)
    rows = [_row(number) for number in range(4)]
    rows[1].received.system[COUNT] = "7"  # more than there are back-offs
    _enter(entries, rows)
    entries.mark(rows[1:2], RUNNING)
    entries.mark(rows[2:3], FINISHED)
    rows[3].visible_at = 40.0
    entries.releasing(rows[3], RELEASING)
    found = settlements(table, 20.0, table.occupied())
    assert [(call.operation, list(call.entries)) for call in found] == [
        ("delete", [("receipt-2", 20.0)]),
        ("release", [("receipt-0", 20.0)]),
        ("release", [("receipt-1", 28.0), ("receipt-3", 40.0)]),
    ]
    late = settlements(table, 31.0, table.occupied())
    assert [call.operation for call in late] == ["delete"]  # the leases are over: others may have the messages
    assert table.occupied() == [row.slot for row in rows]
    table.close()


def test_codes_of_lost_receipts_in_both_spellings() -> None:
    assert is_lost("AWS.SimpleQueueService.MessageNotInflight")
    assert is_lost("com.amazonaws.sqs#ReceiptHandleIsInvalid")
    assert not is_lost("InternalError")
