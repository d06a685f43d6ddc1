"""The ledgers of consumers with a keeper: as those without, and each change of a message is written into the table.

Chosen at construction, so that a consumer without a keeper pays nothing. It promises that the keeper's extensions are
taken over before any lease is declared lost, whatever the engine's loop runs first after it stood still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from leasekeeper.core.delivery import Action, Lease
from leasekeeper.core.group_ledger import GroupLedger
from leasekeeper.core.leases import EXTENDED, Leases
from leasekeeper.core.ledger import NOT_SETTLED, WORKED, Ledger
from leasekeeper.core.states import State
from leasekeeper.keeper.entries import KeptDelivery, KeptGroupedDelivery
from leasekeeper.keeper.layout import FINISHED, RELEASING, RUNNING, WAITING
from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from leasekeeper.core.delivery import Delivery, LeasePolicy, TellMany, TellOne
    from leasekeeper.core.groups import Groups
    from leasekeeper.keeper.entries import Entries, Kept
    from leasekeeper.message import Received

_ACKED = Settled.ACKED
_ACKING = State.ACKING


class KeptLeases(Leases):
    """Leases that the keeper may have extended."""

    __slots__ = ("_entries", "_rows")

    def __init__(
        self,
        policy: LeasePolicy,
        held: dict[str, Delivery],
        lose: Callable[[Delivery], None],
        entries: Entries,
    ) -> None:
        super().__init__(policy, held, lose)
        self._rows = held
        self._entries = entries

    def tick(self, now: float, *, batch: int = 10) -> list[Delivery]:
        """As for any consumer, after the keeper's extensions were taken over."""
        if self._entries.news():
            self.take_over(now)
        return super().tick(now, batch=batch)

    def extended(self, rows: Sequence[tuple[Delivery, str, int]], sent: float) -> list[Delivery]:
        """As for any consumer; the keeper hears of the new deadlines."""
        released = super().extended(rows, sent)
        for row, _, _ in rows:
            if row.state in EXTENDED:  # others may have left, and their slots be used again
                self._entries.moved(cast("Kept", row))
        return released

    def take_over(self, now: float) -> None:
        """Take over what the keeper extended while the engine could not."""
        leases: dict[tuple[float, float], Lease] = {}
        policy = self._policy
        for row in list(self._rows.values()):
            until = self._entries.until(cast("Kept", row))
            before = row.lease.deadline
            seconds = row.lease.seconds
            # If ours is later it came after the keeper's. Race: a much longer one (`hold`) may have come before it, and
            # was cut short by it.
            if not until or row.state not in EXTENDED or until <= before <= until + seconds:
                continue
            lease = leases.get((until, seconds))
            if lease is None:
                began = until - seconds
                due = began + policy.extend_after * (seconds / policy.visibility)
                lease = leases[until, seconds] = Lease(seconds, began, max(due, now), until)
            self._move(row, lease)
            self._entries.moved(cast("Kept", row))
        for lease in leases.values():
            self.add(lease)


class _Kept(Ledger):
    """What both ledgers have in common.

    Attributes:
        plain: the class that has the method for consumers without a keeper. For each receive and each delete its name
            is used, because `super()` takes longer.
    """

    plain: ClassVar[type[Ledger]]

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self.row_type = entries.row_type(self.row_type)
        self._renewed: list[Delivery] = []

    def _keep(self, policy: LeasePolicy) -> None:
        self._kept_leases = self.leases = KeptLeases(policy, self.rows, self._lose, self.entries)

    def receive(
        self,
        batch: Sequence[Received],
        *,
        requested_at: float,
        now: float,
        began: float | None = None,
        visibility: float | None = None,
    ) -> tuple[list[Delivery], list[Delivery]]:
        """As for any consumer; each message gets a slot."""
        block = self.entries.reserve(len(batch))
        fresh, finished = self.plain.receive(
            self, batch, requested_at=requested_at, now=now, began=began, visibility=visibility
        )
        if len(fresh) < len(batch) or not fresh or not self.entries.write(block, fresh[0], batch, WAITING):
            self._enter_some(fresh, finished)
        return fresh, finished

    def _enter_some(self, fresh: list[Delivery], finished: list[Delivery]) -> None:
        """Enter the messages of a receive that do not fit, or that came with others: finished, or held here already."""
        for rows, state in ((fresh, WAITING), (finished, FINISHED)):
            if rows:
                self.entries.enter(cast("list[Kept]", rows), [row.received for row in rows], state)
        for row in self._renewed:
            if row not in fresh and row not in finished:
                self._enter_again(cast("Kept", row))
        self._renewed.clear()

    def _enter_again(self, row: Kept) -> None:
        """Give a newer receipt another slot, in the same state, before the older one goes."""
        older = row.slot
        self.entries.enter([row], [row.received], _state_of(row))
        row.slot, newer = older, row.slot
        self.entries.leave_while_starting(row)
        row.slot = newer
        if row.started:  # since its state was looked at
            self.entries.mark([row], _state_of(row))

    def _take_over(self, row: Delivery, received: Received, lease: Lease, requested_at: float) -> bool:
        """As for any consumer; the newer receipt is entered with the messages that came with it."""
        receipt = row.receipt
        taken = super()._take_over(row, received, lease, requested_at)
        if taken and row.receipt != receipt:
            self._renewed.append(row)
        return taken

    def done(self, rows: Sequence[Delivery]) -> list[Delivery]:
        """As for any consumer, in one pass with the states; if this process dies now, the keeper deletes them."""
        deletes: list[Delivery] = []
        states = self.entries.table.states
        for row in rows:
            if row.state in NOT_SETTLED:
                row.state = _ACKING
                states[row.slot] = FINISHED  # type: ignore[attr-defined] # of `row_type`
                deletes.append(row)
        self._finished.add(deletes if len(deletes) == len(rows) else [row for row in rows if row.state in WORKED])
        return deletes

    def copied(self, row: Delivery) -> Action:
        """As for any consumer; the original may be deleted."""
        action = super().copied(row)
        if action is Action.DELETE:
            self.entries.mark([cast("Kept", row)], FINISHED)
        return action

    def release(self, row: Delivery, after: float, now: float, why: str = "other") -> Action:
        """As for any consumer; from now on the keeper does not begin to extend it."""
        if self.entries.news():
            self._kept_leases.take_over(now)
        action = super().release(row, after, now, why)
        self._note_release(row)
        return action

    def copy_refused(self, row: Delivery, after: float, now: float) -> Action:
        """As for any consumer; if it goes back, the keeper does not extend it."""
        action = super().copy_refused(row, after, now)
        self._note_release(row)
        return action

    def _note_release(self, row: Delivery) -> None:
        if row.state is State.RELEASING:
            self.entries.releasing(cast("Kept", row), RELEASING)

    def again(self, row: Delivery, now: float) -> Action:
        """As for any consumer. To the keeper it goes on running: it has failed, and waits for its back-off."""
        if self.entries.news():
            self._kept_leases.take_over(now)
        return super().again(row, now)

    def deleted(self, confirmed: Iterable[tuple[Delivery, str]], now: float) -> list[Delivery]:
        """As for any consumer, by the leases as they are."""
        if self.entries.news():
            self._kept_leases.take_over(now)
        return self.plain.deleted(self, confirmed, now)

    def _lose(self, row: Delivery) -> None:
        if row.state is not State.ACKING:
            self.entries.leave_while_starting(cast("Kept", row))
        super()._lose(row)

    def _end(self, rows: Sequence[Delivery], settled: Settled, counted: str | None = None) -> None:
        if not rows:
            return
        self.plain._end(self, rows, settled, counted)  # noqa: SLF001 - of this class
        leave = self.entries.leave_deleted if settled is _ACKED else self.entries.leave
        leave(rows)  # type: ignore[arg-type] # they are of `row_type`


class KeptLedger(_Kept, Ledger):
    """The ledger of a standard queue."""

    row_type = KeptDelivery
    plain = Ledger

    def __init__(
        self,
        policy: LeasePolicy,
        entries: Entries,
        *,
        on_lease_lost: TellOne,
        on_acked: TellMany | None = None,
    ) -> None:
        _Kept.__init__(self, entries)
        Ledger.__init__(self, policy, on_lease_lost=on_lease_lost, on_acked=on_acked)
        self._keep(policy)


class KeptGroupLedger(_Kept, GroupLedger):
    """The ledger of a FIFO queue."""

    row_type = KeptGroupedDelivery
    plain = GroupLedger

    def __init__(
        self,
        policy: LeasePolicy,
        groups: Groups,
        entries: Entries,
        *,
        on_lease_lost: TellOne,
        on_acked: TellMany | None = None,
    ) -> None:
        _Kept.__init__(self, entries)
        GroupLedger.__init__(self, policy, groups, on_lease_lost=on_lease_lost, on_acked=on_acked)
        self._keep(policy)


def _state_of(row: Delivery) -> int:
    """What the table says of a row in this state."""
    if row.state is State.ACKING:
        return FINISHED
    if row.state is State.RELEASING:
        return RELEASING
    return WAITING if row.state is State.WAITING and not row.started and not row.extra else RUNNING
