"""The ledger of a FIFO queue: it also knows which message of each group may run next.

Owned by the runner, as the ledger it extends. Everything that happens to a message passes through here, so the groups
never miss that one of theirs was released, lost or deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from leasekeeper.core.delivery import Action
from leasekeeper.core.group import FULL, GroupedDelivery
from leasekeeper.core.ledger import Ledger
from leasekeeper.core.states import State
from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leasekeeper.core.delivery import Delivery, Lease, LeasePolicy, TellMany, TellOne
    from leasekeeper.core.groups import Groups
    from leasekeeper.message import Received


class GroupLedger(Ledger):
    """Every message we hold of a FIFO queue.

    Args:
        policy: how leases are counted.
        groups: the queue's message groups.
        on_lease_lost: called for each delivery that loses its lease while its handler is running.
        on_acked: told what was deleted within its lease.
    """

    row_type = GroupedDelivery

    def __init__(
        self,
        policy: LeasePolicy,
        groups: Groups,
        *,
        on_lease_lost: TellOne | None = None,
        on_acked: TellMany | None = None,
    ) -> None:
        super().__init__(policy, on_lease_lost=on_lease_lost, on_acked=on_acked)
        self.groups = groups

    def receive(
        self,
        batch: Sequence[Received],
        *,
        requested_at: float,
        now: float,
        began: float | None = None,
        visibility: float | None = None,
    ) -> tuple[list[Delivery], list[Delivery]]:
        """As for any queue; each message is also put at its place in its group."""
        fresh, finished = super().receive(batch, requested_at=requested_at, now=now, began=began, visibility=visibility)
        full = len(batch) >= FULL
        if len(fresh) == len(batch):  # nearly always
            self.groups.take_in(fresh, (), full=full)
        else:
            new = {row.received.message_id: row for row in (*fresh, *finished)}
            found = ((received, new.get(received.message_id)) for received in batch)
            rows = [row for received, row in found if row is not None and row.received is received]
            held = {each.system.get("MessageGroupId", "") for each in batch if each.message_id not in new}
            self.groups.take_in(rows, held, full=full)
        return fresh, finished

    def _take_over(self, row: Delivery, received: Received, lease: Lease, requested_at: float) -> bool:
        """As for any queue, unless the receipt is the older one: an answer may come late.

        The newer receipt is that with the higher receive count.
        """
        if received.receive_count <= row.received.receive_count:
            self._counts["duplicates"] += 1
            return True
        return super()._take_over(row, received, lease, requested_at)

    def release(self, row: Delivery, after: float, now: float, why: str = "other") -> Action:
        """As for any queue; what waits behind the message goes back too (L25)."""
        action = super().release(row, after, now, why)
        if row.state in (State.RELEASING, State.LOST):
            self.groups.give_back_behind(cast("GroupedDelivery", row))
        return action

    def copied(self, row: Delivery) -> Action:
        """As for any queue; the next message of the group may start now."""
        action = super().copied(row)
        self.groups.changed[cast("GroupedDelivery", row).group] = None
        return action

    def copy_refused(self, row: Delivery, after: float, now: float) -> Action:
        """The copy cannot be made now: the group waits here, and it is tried again, as long as 12 hours allow that.

        Given back instead, the message would take the followers along to the dead-letter queue (L26).
        """
        if row.state is not State.REJECTING:
            return Action.NOTHING
        if self.leases.lifetime_left(row, now) > after and not self.groups.stopping:
            return Action.COPY_LATER
        action = super().copy_refused(row, after, now)
        self.groups.give_back_behind(cast("GroupedDelivery", row))
        return action

    def _lose(self, row: Delivery) -> None:
        before = row.state
        super()._lose(row)
        self.groups.lost(cast("GroupedDelivery", row), before)

    def _end(self, rows: Sequence[Delivery], settled: Settled, counted: str | None = None) -> None:
        super()._end(rows, settled, counted)
        if rows:
            deleted = settled is Settled.ACKED or settled is Settled.LATE
            self.groups.gone(rows, deleted=deleted, lost=settled is Settled.LOST)
