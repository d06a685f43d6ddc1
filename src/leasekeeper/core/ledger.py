"""The ledger (MessageStateManager): every message we hold, in exactly one state, from receive to confirmed delete.

Owned by the runner of a queue, used on the engine's loop only. It decides and does nothing: `now` comes in, and the
action that is left (delete, release, copy, nothing) goes out. Messages received in one call share one lease.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from leasekeeper.core.attempts import Attempts
from leasekeeper.core.delivery import Action, Delivery, LeasePolicy, LedgerStatistics, catch_up, deadline_of
from leasekeeper.core.endings import Endings
from leasekeeper.core.finished import Finished
from leasekeeper.core.leases import Leases
from leasekeeper.core.recent_smallest import RecentSmallest
from leasekeeper.core.states import TRANSITIONS, Event, State, next_state
from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from leasekeeper.core.delivery import Lease, TellMany, TellOne
    from leasekeeper.message import Received

NOT_SETTLED = (State.WAITING, State.RUNNING, State.LEASE_LOST)
_FINISHED = next_state(State.RUNNING, Event.DONE)
"""Where DONE leads from each state of `NOT_SETTLED`: looked up once, because each message needs it."""
_DELETED = next_state(_FINISHED, Event.CONFIRM)
WORKED = (_FINISHED, State.LOST)
"""The states of messages after their handler has finished its work."""


class Ledger:
    """Every message we hold.

    Args:
        policy: how leases are counted.
        on_lease_lost: called for each delivery that loses its lease while its handler is running.
        on_acked: told what was deleted within its lease.

    Attributes:
        rows: the messages we hold, by id. Read it; the ledger alone changes it.
        leases: when leases are extended, and when they end.
        endings: how messages end that are not simply done.
    """

    row_type = Delivery

    def __init__(
        self, policy: LeasePolicy, *, on_lease_lost: TellOne | None = None, on_acked: TellMany | None = None
    ) -> None:
        self._on_lease_lost = on_lease_lost
        self._on_acked = on_acked
        self.rows: dict[str, Delivery] = {}
        self.leases = Leases(policy, self.rows, self._lose)
        self._finished = Finished(policy.remember)
        self._attempts = Attempts()
        self._counts = Counter[str]()
        self.endings = Endings()
        self._repeated: set[Delivery] = set()
        """Those whose release was confirmed, and is sent once more (L5)."""
        self._margins = RecentSmallest()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self.rows.values())

    # What comes in

    def receive(
        self,
        batch: Sequence[Received],
        *,
        requested_at: float,
        now: float,
        began: float | None = None,
        visibility: float | None = None,
    ) -> tuple[list[Delivery], list[Delivery]]:
        """Take in the messages of one receive.

        Args:
            batch: the messages.
            requested_at: when the receive was sent.
            now: when its answer was read.
            began: when SQS began the lease, if that is known to be before `now` (`core.arrival`).
            visibility: the visibility timeout that was asked for, in seconds; None: the policy's.

        Returns:
            The deliveries to run, and those of messages that were finished here before: to delete without a run.
            Redeliveries of messages that run here are in neither: their newer receipt was taken over (L29).
        """
        self._counts["received"] += len(batch)
        lease = self.leases.begin(now if began is None else began, now, visibility)
        fresh: list[Delivery] = []
        finished: list[Delivery] = []
        rows, members, young, old = self.rows, lease.members, self._finished.young, self._finished.old
        make = self.row_type
        for received in batch:
            name = received.message_id
            if name in rows and self._take_over(rows[name], received, lease, requested_at):
                continue
            row = rows[name] = make(received, lease, requested_at, now)
            members[row] = None
            if name in young or name in old:
                row.state = _FINISHED
                finished.append(row)
            else:
                fresh.append(row)
        if self._attempts.young or self._attempts.old:
            self._attempts.recall(fresh)
        if finished:
            self.endings.recognise(finished)
        if members:
            self.leases.add(lease)
        return fresh, finished

    def _take_over(self, row: Delivery, received: Received, lease: Lease, requested_at: float) -> bool:
        """Whether the newer receipt and lease went to the row we hold; otherwise the row has ended."""
        catch_up(row)
        row.state = next_state(row.state, Event.RENEW)
        if row.state is State.RELEASED:
            self._end([row], Settled.RELEASED, "released")
            return False
        row.lease.members.pop(row, None)
        if received.receive_count > row.received.receive_count:
            row.extra -= 1  # a delivery that brings no run of its own
        row.received = row.received.renewed(received)
        row.lease, row.requested_at, row.capped = lease, requested_at, False
        lease.members[row] = None
        self._counts["duplicates"] += 1
        return True

    # What lanes and handlers say

    def done(self, rows: Sequence[Delivery]) -> list[Delivery]:
        """The work on these is finished: remember their ids (L8), and return those to delete now."""
        deletes: list[Delivery] = []
        for row in rows:
            if row.state in NOT_SETTLED:
                row.state = _FINISHED
                deletes.append(row)
        # Also remember what started at the moment its lease ended.
        self._finished.add(deletes if len(deletes) == len(rows) else [row for row in rows if row.state in WORKED])
        return deletes

    def release(self, row: Delivery, after: float, now: float, why: str = "other") -> Action:
        """Make the message visible again `after` seconds from now, as far as its 12 hours allow.

        `why` is counted when that is confirmed.
        """
        catch_up(row)
        if row.state not in NOT_SETTLED:
            return Action.NOTHING
        if now >= row.lease.deadline and row.state is not State.LEASE_LOST:
            self._lose(row)
        row.visible_at = now + max(0.0, min(after, self.leases.lifetime_left(row, now)))
        if row.state is State.LOST:
            return Action.NOTHING
        row.state = next_state(row.state, Event.RELEASE)
        if row.state is State.LOST:
            self._end([row], Settled.LOST)
            return Action.NOTHING
        self.endings.why[row] = why
        # One writer a receipt: an extension that is out must be answered first (L5); `leases.extended` says when.
        return Action.RELEASE_IN_TIME if row.extending else Action.RELEASE

    def again(self, row: Delivery, now: float) -> Action:
        """The handler has ended, and is called again under the same lease; NOTHING if there is no lease any more."""
        catch_up(row)
        if row.state not in (State.RUNNING, State.LEASE_LOST):
            return Action.NOTHING
        if now >= row.lease.deadline and row.state is State.RUNNING:
            self._lose(row)
        row.state = next_state(row.state, Event.AGAIN)
        if row.state is State.LOST:
            self._end([row], Settled.LOST)
            return Action.NOTHING
        row.started, row.lost, row.extra = 0.0, False, row.extra + 1
        return Action.AGAIN

    def reject(self, row: Delivery) -> Action:
        """The message can never be processed: copy it to the dead-letter queue, then delete it."""
        if row.state is State.WAITING:  # it has started; a virtual clock may have said 0.0 then
            row.state = next_state(row.state, Event.START)
        if row.state not in (State.RUNNING, State.LEASE_LOST):
            return Action.NOTHING
        row.state = next_state(row.state, Event.REJECT)
        if row.state is State.LOST:
            self._end([row], Settled.LOST)
            return Action.NOTHING
        return Action.COPY

    # What SQS answers

    def copied(self, row: Delivery) -> Action:
        """The dead-letter queue has the copy, so the message can be deleted."""
        self._finished.add([row])
        if row.state is not State.REJECTING:
            return Action.NOTHING
        row.state = next_state(row.state, Event.CONFIRM)
        self.endings.why[row] = "dead_letter"
        return Action.DELETE

    def copy_refused(self, row: Delivery, after: float, now: float) -> Action:
        """The copy cannot be made: the message is left to the redrive policy, `after` seconds from now."""
        if row.state is not State.REJECTING:
            return Action.NOTHING
        row.state = next_state(row.state, Event.REFUSE)
        self.endings.why[row] = "exhausted" if row.failure is None else row.failure.reason
        row.visible_at = now + max(0.0, min(after, self.leases.lifetime_left(row, now)))
        return Action.RELEASE_IN_TIME if row.extending else Action.RELEASE

    def deleted(self, confirmed: Iterable[tuple[Delivery, str]], now: float) -> list[Delivery]:
        """SQS confirmed the deletes that were sent for these with these receipts.

        Returns:
            Those to be deleted once more: a newer receipt came meanwhile, and the older one may not have deleted.
        """
        again: list[Delivery] = []
        acked: list[Delivery] = []
        late: list[Delivery] = []
        for row, receipt in confirmed:
            if row.state is not _FINISHED:
                continue
            if row.received.receipt != receipt:
                again.append(row)
                continue
            row.state = _DELETED
            if row.lease.deadline >= now and (not row.lost or row in row.lease.members):
                acked.append(row)
            else:
                late.append(row)
        if acked:
            self._margins.add(min(map(deadline_of, acked)) - now, now)
            self._end(acked, Settled.ACKED, "acked")
            if self._on_acked is not None:
                self._on_acked(acked)
        if late:
            self._end(late, Settled.LATE, "late")
        return again

    def delete_refused(self, row: Delivery, receipt: str | None = None, now: float = -math.inf) -> Action:
        """The delete with `receipt` (None: the newest) will not be confirmed; its redelivery will be recognised."""
        if row.state is not State.ACKING:
            return Action.NOTHING
        if receipt is not None and row.receipt != receipt:
            return Action.DELETE  # what was refused is the older receipt; the newer can delete (L29)
        row.state = next_state(row.state, Event.REFUSE)
        self.endings.refused(row.lease.deadline if row in row.lease.members else -math.inf, now)
        self._end([row], Settled.LOST, "unsettled")
        return Action.NOTHING

    def release_sent(self, row: Delivery) -> None:
        """A release goes out beside an extension, whose answer may come after the end of the lease: the row stays."""
        row.lease.members.pop(row, None)

    def released(self, row: Delivery, now: float = math.inf, *, refused: bool = False, beside: bool = False) -> None:
        """SQS confirmed the visibility change of a release, or refused it for good; that was read at `now`.

        If an extension was out when the release was sent (`beside`), it may take effect afterwards: then the release is
        sent once more when that is answered (L5), while it still hides the message. Later, others may have it.
        """
        if row.state is not State.RELEASING:
            return
        if row in self._repeated:
            refused = False  # confirmed before: it has taken effect, so SQS has nothing more to release
        if (beside or row.extending) and row.visible_at > now and not refused:
            self._repeated.add(row)
            self.release_sent(row)
        else:
            row.state = next_state(row.state, Event.REFUSE if refused else Event.CONFIRM)
            self._end([row], Settled.LOST if refused else Settled.RELEASED, "lost" if refused else "released")

    def released_for_good(self, row: Delivery, now: float) -> bool:
        """Whether its release was confirmed and is not sent again, because its time is over; ends the row if so."""
        if row in self._repeated and row.visible_at <= now:
            self.released(row, now)
        return row.state is not State.RELEASING

    def _lose(self, row: Delivery) -> None:
        """The lease of a delivery has ended."""
        row.lease.members.pop(row, None)
        before, row.lost, row.state = row.state, True, next_state(row.state, Event.EXPIRE)
        if row.state is State.RELEASED:
            self._end([row], Settled.RELEASED, "released")
        elif row.state is not State.ACKING:  # the ack of finished work is still tried, once; a redelivery is recognized
            self._counts["lost"] += 1
            if row.state is State.LOST:
                self._end([row], Settled.LOST)
        if before is State.RUNNING and self._on_lease_lost is not None:
            self._on_lease_lost(row)

    def _end(self, rows: Sequence[Delivery], settled: Settled, counted: str | None = None) -> None:
        """Take these out: we hold them no longer."""
        if counted:
            self._counts[counted] += len(rows)
        if settled is Settled.RELEASED or settled is Settled.LOST:
            self._attempts.remember(rows)
            self._repeated.difference_update(rows)
            self.endings.came_back(rows, settled, counted)
        elif self.endings.why:
            self.endings.were_deleted(rows)
        held = self.rows
        for row in rows:
            row.lease.members.pop(row, None)
            del held[row.received.message_id]
            if row.settlement is not None:
                row.settlement.resolve(settled)

    def _held(self) -> Counter[State]:
        """How many rows are in which state. It moves none, and copies first: other threads may ask."""
        rows = list(self.rows.values())
        return Counter(State.RUNNING if row.state is State.WAITING and row.started else row.state for row in rows)

    def starts(self) -> list[float]:
        """When the handlers that run now were called, one for each message; may be asked from any thread."""
        return [row.started for row in list(self.rows.values()) if row.started and row.state in NOT_SETTLED]

    def statistics(self, now: float = math.inf) -> LedgerStatistics:
        """Counts, and what is held at `now`; may be asked from any thread."""
        held, counts = self._held(), self._counts
        return LedgerStatistics(
            held={state.name.lower(): held[state] for state in State if state in TRANSITIONS},
            received=counts["received"],
            duplicates=counts["duplicates"],
            known_duplicates=self.endings.known_duplicates,
            acked=counts["acked"],
            late=counts["late"],
            released=counts["released"],
            lost=counts["lost"],
            unsettled=counts["unsettled"],
            remembered=len(self._finished),
            smallest_margin=self._margins.ever,
            recent_margin=self._margins.read(now),
            released_by=dict(self.endings.released),
            deleted_by=dict(self.endings.deleted),
            gone=self.endings.gone,
            hidden=self.endings.hidden(now),
        )

    def __repr__(self) -> str:
        return f"<Ledger {', '.join(f'{n} {state.name.lower()}' for state, n in self._held().items()) or 'empty'}>"
