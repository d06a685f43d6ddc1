"""Leases: when each lease is extended, when it ends, and what an extension's answer means (L3-L7, L10).

Owned by the ledger, driven by the heartbeat and the extender. It promises O(log n) for each lease, that a lease due is
handed out before it ends, and that an extension that failed is tried again as long as the lease lasts.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action, Delivery, Lease, catch_up
from leasekeeper.core.states import State
from leasekeeper.errors import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Sized

    from leasekeeper.core.delivery import LeasePolicy

_Heap = list[tuple[float, int, "Lease"]]
"""When, a number that keeps leases from being compared, and the lease."""

EXTENDED = (State.WAITING, State.RUNNING, State.REJECTING, State.ACKING)
"""The states in which a lease is kept: from the receive until the delete is confirmed (L3)."""
LIFETIME = 43_200.0
"""Seconds from a receive to the end of what extensions can reach (AWS SQS quotas)."""
MARGIN = 1.0
"""Seconds by which a lease counted from an answer's arrival is shortened: the answer was on its way for some of it."""
SHORTEST_PAUSE = 0.2
"""Seconds at least between two tries to extend a lease."""


class Leases:
    """The leases of the messages we hold.

    Two heaps: a lease stands in that of extensions until its members were handed out, then in that of ends.

    Args:
        policy: how leases are counted.
        held: the rows of the ledger; its size bounds what is kept here.
        lose: called for each delivery when its lease has ended.
    """

    __slots__ = ("_ends", "_extensions", "_held", "_lose", "_policy", "_ticket")

    def __init__(self, policy: LeasePolicy, held: Sized, lose: Callable[[Delivery], None]) -> None:
        self._policy = policy
        self._held = held
        self._lose = lose
        self._extensions: _Heap = []
        self._ends: _Heap = []
        self._ticket = count()

    def begin(self, began: float, now: float, visibility: float | None = None) -> Lease:
        """A lease that SQS began at `began`, and that was read at `now`; `add` takes it in once it has members."""
        policy = self._policy
        seconds = visibility or policy.visibility
        deadline = began + seconds - (MARGIN if seconds >= 5 * MARGIN else seconds / 5)
        due = began + policy.extend_after * (seconds / policy.visibility)
        if began < now:  # little is left of an answer that came late; quick handlers may still need no extension
            due = max(due, now + (deadline - now) / 4)
        return Lease(seconds, began, due, deadline)

    def add(self, lease: Lease) -> None:
        """Take in a lease, to be extended when it is due."""
        heap = self._extensions
        heappush(heap, (lease.due, next(self._ticket), lease))
        if len(heap) > 2 * len(self._held) + 64:
            self._sweep(heap)

    def hold(self, rows: Sequence[Delivery], seconds: float, now: float) -> None:
        """Keep these hidden for `seconds` from now by one extension, which is due at once; beats go on before it ends.

        Beats would cost a call each meanwhile, and no more than `seconds` is lost if this process dies. Rows with an
        extension out stay with their beats: its answer could come after that of the longer one, and shorten it (L5).
        """
        by_lease: dict[Lease, Lease] = {}
        for row in rows:
            lease = row.lease
            if row.extending or row.capped or row.state not in EXTENDED or lease.deadline <= now:
                continue
            held = by_lease.get(lease)
            if held is None:
                held = by_lease[lease] = Lease(math.ceil(seconds), lease.began, now, lease.deadline)
                held.hold = True
            self._move(row, held)
        for held in by_lease.values():
            self.add(held)

    def next_due(self) -> float:
        """When `tick` has to be called next; inf when no lease is held."""
        for heap in (self._extensions, self._ends):
            while heap and not heap[0][2].members:
                heappop(heap)
        extension = self._extensions[0][0] if self._extensions else math.inf
        end = self._ends[0][0] if self._ends else math.inf
        return min(extension, end)

    def tick(self, now: float, *, batch: int = 10) -> list[Delivery]:
        """End the leases that are over, and return the deliveries to extend now.

        A batch that is not full is filled up with those due soonest after: an extension costs a tenth of a call.
        Each delivery returned has one extension more out until `extended` or `extension_failed` is called.
        """
        for lease in self._ended(now):
            self._expire(lease)
        due: list[Delivery] = []
        heap = self._extensions
        horizon = now + self._policy.extend_after / 2
        while heap and (heap[0][2].due <= now or (len(due) % batch and heap[0][2].due <= horizon)):
            first = heap[0][2]
            if first.deadline <= now:
                heappop(heap)
                self._expire(first)
                continue
            room = len(first.members) if first.due <= now else batch - len(due) % batch
            chosen = [row for row in first.members if self._wants_extension(row, now)][:room]
            for row in chosen:
                row.extending += 1
                row.extension_of = first
            due += chosen
            if first.due > now and len(due) % batch == 0:
                break
            heappop(heap)
            first.extension_sent = True
            heappush(self._ends, (first.deadline, next(self._ticket), first))
            if len(self._ends) > 2 * len(self._held) + 64:
                self._sweep(self._ends)
        return due

    def seconds_for(self, row: Delivery, now: float) -> int:
        """Seconds by which an extension sent now may set the visibility; 0: it cannot be extended any more (L10)."""
        if row.state not in EXTENDED:
            return 0
        return max(0, math.floor(min(row.lease.seconds, self.lifetime_left(row, now))))

    def extend_again(self, row: Delivery, now: float) -> bool:
        """Whether to send another extension beside the one that has no answer yet (L7); counts it as out if so."""
        if row.state in EXTENDED and row.lease.deadline > now:
            row.extending += 1
            return True
        return False

    def extended(self, rows: Sequence[tuple[Delivery, str, int]], sent: float) -> list[Delivery]:
        """SQS took the extensions (delivery, receipt used, seconds) of one call sent at `sent`.

        Returns:
            Those to release now (L5): their last extension has been answered, or one beside which a release was sent.
        """
        leases: dict[tuple[int, bool], Lease] = {}
        visibility = self._policy.visibility
        waiting: list[Delivery] = []
        for row, receipt, seconds in rows:
            row.extending -= 1
            if row.state is State.RELEASING:
                if not row.extending or row not in row.lease.members:  # of the latter a release was sent already
                    waiting.append(row)
            elif row.state in EXTENDED and row.receipt == receipt:
                if sent < row.lease.began:
                    continue  # the answer to an earlier request came after that to a later one
                hold = row.lease.hold
                lease = leases.get((seconds, hold))
                if lease is None:
                    if hold and seconds > visibility:
                        due = sent + seconds - (visibility - self._policy.extend_after)
                        lease = Lease(visibility, began=sent, due=due, deadline=sent + seconds)
                    else:
                        due = sent + self._policy.extend_after * (seconds / visibility)
                        lease = Lease(seconds, began=sent, due=due, deadline=sent + seconds)
                    leases[seconds, hold] = lease
                self._move(row, lease)
            elif not row.extending:
                self._try_again(row, sent)
        for lease in leases.values():
            self.add(lease)
        return waiting

    def extension_failed(
        self,
        row: Delivery,
        verdict: Verdict | None,
        now: float,
        receipt: str | None = None,
        retry_after: float = 0.0,
    ) -> Action:
        """An extension with `receipt` (None: the newest) was refused with that verdict, or (None) not sent at all.

        A passing error is tried again until the lease ends (L7), and so is an error about an older receipt (L29). SQS
        may have asked to wait for `retry_after` seconds, which is heeded as far as the lease allows.
        """
        row.extending -= 1
        row.extension_of = None
        if row.state is State.RELEASING:
            return Action.NOTHING if row.extending and row in row.lease.members else Action.RELEASE
        if row.state is State.ACKING or row.state not in EXTENDED:
            self._try_again(row, now)  # a delete is on its way, or was confirmed: its answer decides
        elif receipt is not None and row.receipt != receipt:
            self._try_again(row, now)
        elif verdict is Verdict.LEASE_LOST:
            catch_up(row)
            self._lose(row)
        elif verdict is Verdict.LEASE_CAPPED or (verdict is None and self.seconds_for(row, now) <= 0):
            row.capped = True
        else:
            self._try_again(row, now, retry_after)
        return Action.NOTHING

    def lifetime_left(self, row: Delivery, now: float) -> float:
        """Seconds until the end of the twelve hours that SQS allows since the receive."""
        return row.requested_at + LIFETIME - MARGIN - now

    def _wants_extension(self, row: Delivery, now: float) -> bool:
        catch_up(row)
        if row.capped or row.extension_of is row.lease or row.state not in EXTENDED:
            return False
        if self.lifetime_left(row, now) < row.lease.deadline - now + 1.0:  # SQS counts whole seconds
            row.capped = True
            return False
        return True

    def _try_again(self, row: Delivery, now: float, retry_after: float = 0.0) -> None:
        """Set another extension after one that failed, well before the lease ends."""
        lease = row.lease
        if row.state in EXTENDED and lease.extension_sent and lease.deadline > now:
            # A quarter of what is left, again and again, would never reach the deadline, so the pause has a minimum.
            left = lease.deadline - now
            pause = max(min(max(left / 4, SHORTEST_PAUSE), 5.0), min(retry_after, left / 2))
            due = min(now + pause, lease.deadline)
            again = Lease(lease.seconds, began=lease.began, due=due, deadline=lease.deadline)
            self._move(row, again)
            self.add(again)

    @staticmethod
    def _move(row: Delivery, lease: Lease) -> None:
        row.lease.members.pop(row, None)
        row.lease = lease
        lease.members[row] = None

    def _expire(self, lease: Lease) -> None:
        for row in list(lease.members):
            catch_up(row)
            self._lose(row)

    def _ended(self, now: float) -> Iterator[Lease]:
        """Take out the leases that were handed out for extension and have ended by now."""
        while self._ends and self._ends[0][0] <= now:
            yield heappop(self._ends)[2]

    def _sweep(self, heap: _Heap) -> None:
        """Remove leases without members: one old message at the top keeps everything behind it from being removed."""
        heap[:] = [entry for entry in heap if entry[2].members]
        heapify(heap)

    def __repr__(self) -> str:
        return f"<Leases {len(self._extensions)} to extend, {len(self._ends)} to end>"
