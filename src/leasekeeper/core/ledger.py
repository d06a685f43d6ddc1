"""The ledger (MessageStateManager): every message in our hands, in exactly one state, from receive to confirmed delete.

Owned by the runner of a queue, used on the engine's loop only. It decides and does nothing: `now` comes in, and what is
left to be done (delete, release, copy, nothing) goes out. Messages received in one call share one lease.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action, Delivery, Lease, LeasePolicy, LedgerStatistics, deadline_of
from leasekeeper.core.finished import Finished
from leasekeeper.core.leases import Leases
from leasekeeper.core.states import TRANSITIONS, Event, State, next_state
from leasekeeper.errors import Verdict
from leasekeeper.outcomes import Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from leasekeeper.message import Received

_AT_WORK = (State.WAITING, State.RUNNING, State.LAPSED)
_FINISHED = next_state(State.RUNNING, Event.DONE)
"""Where DONE leads from each of `_AT_WORK`: looked up once, for it is asked at each message, like what follows it."""
_DELETED = next_state(_FINISHED, Event.CONFIRM)
_WORKED = (_FINISHED, State.LOST)
"""The states of what a handler has finished work on."""
_EXTENDED = (State.WAITING, State.RUNNING, State.REJECTING, State.ACKING)
"""The states in which a lease is kept: from the receive until the delete is confirmed (L3)."""
LIFETIME = 43_200.0
"""Seconds from a receive to the end of what extensions can reach (AWS SQS quotas)."""
MARGIN = 1.0
"""Seconds by which a lease counted from an answer's arrival is shortened: the answer was on its way for some of it."""
SHORTEST_PAUSE = 0.2
"""Seconds at least between two tries to extend a lease."""


class Ledger:
    """Every message in our hands.

    `tell` is called for each delivery whose handler is at work when its lease is lost.
    """

    def __init__(self, policy: LeasePolicy, *, tell: Callable[[Delivery], None] | None = None) -> None:
        self._policy = policy
        self._tell = tell
        self._rows: dict[str, Delivery] = {}
        self._leases = Leases()
        self._finished = Finished(policy.remember)
        self._counts = Counter[str]()
        self._smallest_margin = math.inf

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._rows.values())

    # What comes in

    def receive(
        self, batch: Sequence[Received], *, asked: float, now: float, visibility: float | None = None
    ) -> tuple[list[Delivery], list[Delivery]]:
        """Take in what one receive, asked for at `asked` and answered at `now`, brought.

        Returns:
            The deliveries to be run, and those of work finished before, which are to be deleted unrun. Redeliveries of
            messages at work here are in neither: their newer receipt has been taken up (L29).
        """
        seconds = visibility or self._policy.visibility
        lease = Lease(
            seconds,
            due=now + self._policy.beat_after * (seconds / self._policy.visibility),
            deadline=now + seconds - min(MARGIN, seconds / 5),
        )
        fresh: list[Delivery] = []
        finished: list[Delivery] = []
        rows, members, young, old = self._rows, lease.members, self._finished.young, self._finished.old
        for received in batch:
            name = received.message_id
            row = rows.get(name)
            if row is not None and self._take_up(row, received, lease, asked):
                continue
            row = rows[name] = Delivery(received, lease, asked, now, received.receipt)
            members[row] = None
            if name in young or name in old:
                row.state = _FINISHED
                finished.append(row)
            else:
                fresh.append(row)
        self._counts["received"] += len(batch)
        self._counts["recognised"] += len(finished)
        if members:
            self._leases.add(lease, len(rows))
        return fresh, finished

    def _take_up(self, row: Delivery, received: Received, lease: Lease, asked: float) -> bool:
        """Whether the newer receipt and lease went to the row we hold; otherwise the row has ended."""
        self._catch_up(row)
        row.state = next_state(row.state, Event.RENEW)
        if row.state is State.RELEASED:
            self._end([row], Settled.RELEASED, "released")
            return False
        row.lease.members.pop(row, None)
        row.receipt, row.lease, row.asked, row.capped = received.receipt, lease, asked, False
        lease.members[row] = None
        self._counts["duplicates"] += 1
        return True

    # What lanes and handlers say

    def done(self, rows: Sequence[Delivery]) -> list[Delivery]:
        """The work on these is finished: their ids are remembered (L8); those whose message is now to be deleted."""
        deletes: list[Delivery] = []
        for row in rows:
            if row.state in _AT_WORK:
                row.state = _FINISHED
                deletes.append(row)
        # What was started in the very moment its lease ended is to be remembered, too.
        self._finished.add(deletes if len(deletes) == len(rows) else [row for row in rows if row.state in _WORKED])
        return deletes

    def release(self, row: Delivery, after: float, now: float) -> Action:
        """The message is to be visible again `after` seconds from now, as far as its 12 hours allow."""
        self._catch_up(row)
        if row.state not in _AT_WORK:
            return Action.NOTHING
        if now >= row.lease.deadline and row.state is not State.LAPSED:
            self._lose(row)
        row.release_after = max(0.0, min(after, self._lifetime_left(row, now)))
        if row.state is State.LOST:
            return Action.NOTHING
        row.state = next_state(row.state, Event.RELEASE)
        if row.state is State.LOST:
            self._end([row], Settled.LOST)
            return Action.NOTHING
        # One writer a receipt: an extension on its way must be over first (L5); `extended` says when.
        return Action.NOTHING if row.beating else Action.RELEASE

    def reject(self, row: Delivery) -> Action:
        """The message can never be processed: it is to be copied to the dead-letter queue, then deleted."""
        if row.state is State.WAITING:  # whoever rejects it has started it, be it at second 0.0 of a virtual clock
            row.state = next_state(row.state, Event.START)
        if row.state not in (State.RUNNING, State.LAPSED):
            return Action.NOTHING
        row.state = next_state(row.state, Event.REJECT)
        if row.state is State.LOST:
            self._end([row], Settled.LOST)
            return Action.NOTHING
        return Action.COPY

    # What SQS answers

    def copied(self, row: Delivery) -> Action:
        """The dead-letter queue has the copy: the message is to be deleted."""
        self._finished.add([row])
        if row.state is not State.REJECTING:
            return Action.NOTHING
        row.state = next_state(row.state, Event.CONFIRM)
        return Action.DELETE

    def copy_refused(self, row: Delivery, after: float, now: float) -> Action:
        """The copy cannot be made: the message is left to the redrive policy, `after` seconds from now."""
        if row.state is not State.REJECTING:
            return Action.NOTHING
        row.state = next_state(row.state, Event.REFUSE)
        row.release_after = max(0.0, min(after, self._lifetime_left(row, now)))
        return Action.NOTHING if row.beating else Action.RELEASE

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
            if row.receipt != receipt:
                again.append(row)
                continue
            row.state = _DELETED
            in_time = row.lease.deadline >= now and not (row.lost and row not in row.lease.members)
            (acked if in_time else late).append(row)
        if acked:
            self._smallest_margin = min(self._smallest_margin, min(map(deadline_of, acked)) - now)
        self._end(acked, Settled.ACKED, "acked")
        self._end(late, Settled.LATE, "late")
        return again

    def delete_refused(self, row: Delivery, receipt: str | None = None) -> Action:
        """The delete with `receipt` (None: the newest) will not be confirmed; its redelivery will be recognised."""
        if row.state is not State.ACKING:
            return Action.NOTHING
        if receipt is not None and row.receipt != receipt:
            return Action.DELETE  # what was refused is the older receipt; the newer can delete (L29)
        row.state = next_state(row.state, Event.REFUSE)
        self._end([row], Settled.LOST, "unsettled")
        return Action.NOTHING

    def released(self, row: Delivery, *, refused: bool = False) -> None:
        """SQS confirmed the visibility change of a release, or refused it for good."""
        if row.state is State.RELEASING:
            row.state = next_state(row.state, Event.REFUSE if refused else Event.CONFIRM)
            self._end([row], Settled.LOST if refused else Settled.RELEASED, "lost" if refused else "released")

    def may_try_again(self, row: Delivery, at: float) -> bool:
        """Whether a settlement tried again at that time would still fall within the lease (L12)."""
        return at < row.lease.deadline

    # The heartbeat

    def next_due(self) -> float:
        """When `tick` is to be called next; inf when no lease is held."""
        return self._leases.next_due()

    def tick(self, now: float, *, batch: int = 10) -> list[Delivery]:
        """End the leases that are over, and say which deliveries are to be extended now.

        A batch that is not full is filled up with those due soonest after: an extension costs a tenth of a call.
        Each delivery named is `beating` until `extended` or `extension_failed` is told.
        """
        leases = self._leases
        for lease in leases.ended(now):
            self._expire(lease, now)
        due: list[Delivery] = []
        horizon = now + self._policy.beat_after / 2
        while (first := leases.first()) and (first.due <= now or (len(due) % batch and first.due <= horizon)):
            if first.deadline <= now:
                self._expire(leases.take_first(), now)
                continue
            room = len(first.members) if first.due <= now else batch - len(due) % batch
            chosen = [row for row in first.members if self._wants_extension(row, now)][:room]
            for row in chosen:
                row.beating = True
            due += chosen
            if first.due > now and len(due) % batch == 0:
                break
            leases.first_beaten(len(self._rows))
        return due

    def extension(self, row: Delivery, now: float) -> int:
        """Seconds by which an extension sent now may set the visibility; 0: not any more (L10)."""
        if row.state not in _EXTENDED:
            return 0
        return max(0, math.floor(min(row.lease.seconds, self._lifetime_left(row, now))))

    def extended(self, rows: Sequence[tuple[Delivery, str, int]], sent: float) -> list[Delivery]:
        """SQS took the extensions (delivery, receipt used, seconds) of one call sent at `sent`.

        Returns:
            Those whose release was waiting for this, to be released now.
        """
        leases: dict[int, Lease] = {}
        waiting: list[Delivery] = []
        for row, receipt, seconds in rows:
            row.beating = False
            if row.state is State.RELEASING:
                waiting.append(row)
            elif row.state in _EXTENDED and row.receipt == receipt:
                lease = leases.get(seconds)
                if lease is None:
                    share = self._policy.beat_after * (seconds / self._policy.visibility)
                    lease = leases[seconds] = Lease(seconds, due=sent + share, deadline=sent + seconds)
                self._move(row, lease)
            else:
                self._beat_again(row, sent)
        for lease in leases.values():
            self._leases.add(lease, len(self._rows))
        return waiting

    def extension_failed(
        self, row: Delivery, verdict: Verdict | None, now: float, receipt: str | None = None
    ) -> Action:
        """An extension with `receipt` (None: the newest) was refused with that verdict, or (None) not sent at all.

        A passing error is tried again until the lease ends (L7), and so is whatever is said of an older receipt (L29).
        """
        row.beating = False
        if row.state is State.RELEASING:
            return Action.RELEASE
        if row.state is State.ACKING or row.state not in _EXTENDED:
            self._beat_again(row, now)  # a delete is on its way, or was confirmed: what it says counts
        elif receipt is not None and row.receipt != receipt:
            self._beat_again(row, now)
        elif verdict is Verdict.LEASE_LOST:
            self._catch_up(row)
            self._lose(row)
        elif verdict is Verdict.LEASE_CAPPED or (verdict is None and self.extension(row, now) <= 0):
            row.capped = True
        else:
            self._beat_again(row, now)
        return Action.NOTHING

    def _wants_extension(self, row: Delivery, now: float) -> bool:
        self._catch_up(row)
        if row.beating or row.capped or row.state not in _EXTENDED:
            return False
        if self._lifetime_left(row, now) < row.lease.deadline - now + 1.0:  # SQS counts whole seconds
            row.capped = True
            return False
        return True

    def _beat_again(self, row: Delivery, now: float) -> None:
        """See to it that a delivery whose lease has had its beat gets another, well before the lease ends."""
        lease = row.lease
        if row.state in _EXTENDED and lease.beaten and lease.deadline > now:
            # A quarter of what is left, again and again, would never get to the deadline: hence the least pause.
            pause = min(max((lease.deadline - now) / 4, SHORTEST_PAUSE), 5.0)
            again = Lease(lease.seconds, due=min(now + pause, lease.deadline), deadline=lease.deadline)
            self._move(row, again)
            self._leases.add(again, len(self._rows))

    @staticmethod
    def _move(row: Delivery, lease: Lease) -> None:
        row.lease.members.pop(row, None)
        row.lease = lease
        lease.members[row] = None

    def _expire(self, lease: Lease, now: float) -> None:
        assert lease.deadline <= now
        for row in list(lease.members):
            self._catch_up(row)
            self._lose(row)

    def _lose(self, row: Delivery) -> None:
        """The lease of a delivery is over."""
        row.lost = True
        row.lease.members.pop(row, None)
        before, row.state = row.state, next_state(row.state, Event.EXPIRE)
        if row.state is State.RELEASED:
            self._end([row], Settled.RELEASED, "released")
        elif row.state is not State.ACKING:  # an ack of finished work is still tried, once, and recognised later
            self._counts["lost"] += 1
            if row.state is State.LOST:
                self._end([row], Settled.LOST)
        if before is State.RUNNING and self._tell is not None:
            self._tell(row)

    # Bookkeeping

    @staticmethod
    def _catch_up(row: Delivery) -> None:
        """Let the state follow what a lane wrote: `started` comes from another thread, the state is moved only here."""
        if row.state is State.WAITING and row.started:
            row.state = next_state(row.state, Event.START)

    @staticmethod
    def _lifetime_left(row: Delivery, now: float) -> float:
        return row.asked + LIFETIME - MARGIN - now

    def _end(self, rows: Sequence[Delivery], settled: Settled, counted: str | None = None) -> None:
        """These are not in our hands any more."""
        if counted:
            self._counts[counted] += len(rows)
        held = self._rows
        for row in rows:
            row.lease.members.pop(row, None)
            del held[row.received.message_id]
            if row.settlement is not None:
                row.settlement.resolve(settled)

    def _held(self) -> Counter[State]:
        """How many rows are in which state. It moves none, and copies first: other threads may ask."""
        rows = list(self._rows.values())
        return Counter(State.RUNNING if row.state is State.WAITING and row.started else row.state for row in rows)

    def statistics(self) -> LedgerStatistics:
        """Counts, and what is held now; may be asked from any thread."""
        held = self._held()
        counts = self._counts
        return LedgerStatistics(
            held={state: held[state] for state in State if state in TRANSITIONS},
            received=counts["received"],
            duplicates=counts["duplicates"],
            recognised=counts["recognised"],
            acked=counts["acked"],
            late=counts["late"],
            released=counts["released"],
            lost=counts["lost"],
            unsettled=counts["unsettled"],
            remembered=len(self._finished),
            smallest_margin=self._smallest_margin,
        )

    def __repr__(self) -> str:
        return f"<Ledger {', '.join(f'{n} {state.name.lower()}' for state, n in self._held().items()) or 'empty'}>"
