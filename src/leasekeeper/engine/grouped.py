"""The order of a FIFO queue: one handler of a message group at a time, groups side by side (L25).

Owned by the worker. `core.groups` decides what starts; this file has it started, keeps the leases of groups that wait
for a back-off, and gives back what must not start any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from leasekeeper.core.delivery import Action
from leasekeeper.core.group import FULL, GroupedDelivery
from leasekeeper.core.states import State
from leasekeeper.engine.policies import makes_copies, retries
from leasekeeper.events import GroupHalted
from leasekeeper.lanes.api import Answer, Together
from leasekeeper.outcomes import NOT_STARTED, Done, Ended, Failed, Freed, NotStarted, Reject, Retry, Settled, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.core.group import Group
    from leasekeeper.core.groups import Groups
    from leasekeeper.engine.context import QueueContext
    from leasekeeper.lanes.api import Lane

GOOD = (Done, Reject, Skipped)
"""Outcomes of messages that hold up no other message of their group."""
GOOD_WITHOUT_COPIES = (Done, Skipped)
"""The same where a rejected message cannot be copied to a dead-letter queue: it is tried again here."""
LONGEST_DELAY = 43_200.0
"""Seconds of the longest visibility timeout."""


class Grouped:
    """Starts one message of each group at a time, in order.

    Args:
        context: the runner's.
        groups: what is held, by group.
        lane: runs the handler.
        post: takes answers about what was not started, in the next turn of the loop.
        lane_closed: called when the lane can run nothing any more.
        room: called when there may be room for another receive.
    """

    def __init__(
        self,
        context: QueueContext,
        groups: Groups,
        lane: Lane[Delivery],
        *,
        post: Callable[[Sequence[Answer[Delivery]]], object],
        lane_closed: Callable[[], None],
        room: Callable[[int], None],
    ) -> None:
        self._context = context
        self._groups = groups
        self._good = GOOD if makes_copies(context.options, context.source) else GOOD_WITHOUT_COPIES
        self._lane = lane
        self._submit: Callable[[Sequence[GroupedDelivery]], bool] = lane.submit
        if context.options.batch is not None and isinstance(lane, Together):
            together = lane.submit_together  # the next messages of a group stay together
            self._submit = lambda rows: all(list(map(together, [row.group.run or [row] for row in rows])))
        self._post = post
        self._lane_closed = lane_closed
        self._room = room
        self._stuck: dict[Delivery, asyncio.TimerHandle] = {}
        """Messages that handlers go on with, without a lease or beyond their time: when their groups are given back."""
        self._waits: dict[Delivery, asyncio.TimerHandle] = {}
        """Messages that wait here: when they are tried again."""
        self._recalled = False
        """Whether nothing at all is started any more."""

    # What may start

    def submit(self, deliveries: Sequence[Delivery]) -> bool:  # noqa: ARG002 - the groups have taken them in already
        """Start what may start of what came in; at a stop it goes back. Always True: it calls `lane_closed` itself."""
        if self._groups.stopping:
            self._give_back(everything=self._recalled)
        self.look()
        return True

    def goes_on(self, row: Delivery) -> bool:
        """Whether a message that the lane did not start at a stop is started after all; otherwise it goes back."""
        groups = self._groups
        if not isinstance(row, GroupedDelivery):
            return False
        goes_on = groups.stopping and not self._recalled and not row.lost and not row.going_back
        if goes_on and row.state is State.WAITING and groups.on_last_delivery(row.group):
            return True
        row.going_back = True  # it may wait until the last poll has ended; its group must not start it meanwhile
        return False

    def refuses(self, row: Delivery) -> bool:
        """Whether a message whose thread has ended at last goes back at a stop, instead of running again."""
        going_back = isinstance(row, GroupedDelivery) and row.going_back  # then it has an answer already
        return self._groups.stopping and not going_back and not self.goes_on(row)

    def look(self) -> None:
        """Start what may start, of all groups that have changed."""
        groups = self._groups
        if groups.changed:
            busy = groups.busy
            starting = groups.starts(self._context.clock())
            if starting:
                self._start(starting)
            if groups.busy < busy:
                self._room(0)

    def _start(self, rows: Sequence[GroupedDelivery]) -> None:
        if not self._submit(rows):
            self._lane_closed()

    def ended(self, rows: Sequence[Delivery]) -> None:
        """No handler runs for these any more; what follows them may start."""
        if self._stuck:
            for row in rows:
                if timer := self._stuck.pop(row, None):
                    timer.cancel()
                    cast("GroupedDelivery", row).stuck = False
        groups = self._groups
        busy = groups.busy
        groups.all_ended(rows)
        if groups.busy < busy:
            self._room(0)
        self.look()

    def take_back(self, row: Delivery) -> None:
        """It has not returned, or says more than that: the lane starts nothing behind it by itself."""
        if isinstance(row, GroupedDelivery):
            row.group.take_back()

    def in_order(self, answers: Sequence[Answer[Delivery]]) -> list[Answer[Delivery]]:
        """The answers of batches: the rest of a group runs again behind a message that failed.

        That is no attempt at those messages: else they would be dead-lettered together with the first one (L26).
        """
        failed: set[Group] = set()
        checked: list[Answer[Delivery]] = []
        for answer in answers:
            row, outcome, said = answer.unit, answer.outcome, answer
            given_back = isinstance(outcome, NotStarted | Ended | Freed) or not row.started
            if answer.final and isinstance(row, GroupedDelivery) and not given_back:
                if row.group in failed or row.is_behind:
                    row.extra -= 1
                    in_thread = isinstance(outcome, Failed) and outcome.still_running
                    said = answer if in_thread else Answer(row, Retry(0.0))
                elif not isinstance(outcome if row.settlement is None else row.settlement.asked, self._good):
                    failed.add(row.group)
            checked.append(said)
        return checked

    # What waits here

    def again(self, row: Delivery, after: float) -> None:
        """Start this one, whose handler has ended, again in `after` seconds; meanwhile its group waits."""
        if isinstance(row, GroupedDelivery):
            row.ended = False
            if row.settlement is not None:  # the handler asked for the retry through the message
                row.settlement.resolve(Settled.RELEASED)
                row.settlement = None
            self._hold(row, after)

    def copy_later(self, rows: Sequence[Delivery]) -> None:
        """Send the copies of these again after the longest back-off; meanwhile their groups wait."""
        longest = retries(self._context.options).schedule.longest
        for row in rows:
            if isinstance(row, GroupedDelivery):
                row.halts = True
                self._hold(row, longest)

    def _hold(self, row: GroupedDelivery, after: float) -> None:
        """Let the group wait here, with all its leases: its followers keep their receive counts (L26)."""
        context, group = self._context, row.group
        now = context.clock()
        until = now + after
        halted, row.halts = row.halts, False
        if halted and not group.halted:
            reason = "its copy to the dead-letter queue is refused" if row.state is State.REJECTING else row.reason
            attempt = row.attempt - (row.state is State.WAITING)  # the next one is counted already
            context.emit(GroupHalted(context.queue, group.name, row.received, attempt, after, reason))
        self._groups.hold(row, until, halted=halted)
        if after > 0:
            self._waits[row] = asyncio.get_running_loop().call_later(after, self._wake, row, until)
            if now + after > min(each.lease.due for each in group.rows):
                visibility = context.options.visibility_timeout
                context.ledger.leases.hold(group.rows, after + visibility, now)
                context.moved()
        if len(context.ledger) + FULL > context.options.max_in_flight:
            self._groups.make_room(now)

    def _wake(self, row: GroupedDelivery, until: float) -> None:
        self._waits.pop(row, None)
        self._groups.wake(row.group, until)
        if row.state is State.REJECTING:
            self._context.act(Action.COPY, [row])
        self.look()

    def watch(self, row: Delivery) -> None:
        """Its handler goes on without a lease, or beyond its time: what waits behind it does not wait for ever."""
        limit = self._context.options.local_retry_limit
        if isinstance(row, GroupedDelivery):
            if before := self._stuck.get(row):
                before.cancel()
            self._stuck[row] = asyncio.get_running_loop().call_later(limit, self._refuse, row, limit)
            row.stuck = True

    def _refuse(self, row: Delivery, limit: float) -> None:
        # A handler without a lease may have got a newer one meanwhile: then it is running again. One that is running
        # beyond its time has acked the message.
        runs = row.state is State.RUNNING and row.settlement is None
        if row in self._stuck and not runs and isinstance(row, GroupedDelivery):
            self._groups.refuse(row.group, limit)

    # What goes back

    def stop(self) -> None:
        """Start nothing new: what waits goes back, but for groups with a message on its last delivery."""
        self._groups.stopping = True
        self._give_back(everything=False)

    def recall(self) -> None:
        """Answer `NotStarted` for everything that waits, here and in the lane."""
        self._groups.stopping = self._recalled = True
        self._give_back(everything=True)

    def _give_back(self, *, everything: bool) -> None:
        context, now = self._context, self._context.clock()
        for group in self._groups:
            for row in list(group.rows) if group.halted else ():
                if row.state is State.REJECTING:  # its copy was to be tried again
                    context.act(context.ledger.copy_refused(row, max(0.0, group.until - now), now), [row])
        self.give_back(self._groups.recall(now, everything=everything))
        self._lane.recall()

    def close(self) -> None:
        """Nothing is started or given back any more."""
        for timer in (*self._stuck.values(), *self._waits.values()):
            timer.cancel()

    def gives_back(self, row: GroupedDelivery) -> bool:
        """Whether a message that has not started goes back now."""
        groups = self._groups
        return groups.stopping and (self._recalled or row.going_back or not groups.on_last_delivery(row.group))

    def give_back(self, rows: Sequence[tuple[GroupedDelivery, float]]) -> None:
        """Have these given back, each hidden for so many seconds."""
        self._post([not_started(row, seconds) for row, seconds in rows])


def not_started(row: GroupedDelivery, seconds: float) -> Answer[Delivery]:
    """The answer for a message that goes back without a run."""
    return Answer(row, Retry(min(seconds, LONGEST_DELAY)) if seconds else NOT_STARTED)
