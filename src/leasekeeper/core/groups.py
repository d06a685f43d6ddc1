"""Groups: which message of each message group may run next on a FIFO queue, and which must go back.

Owned by the group ledger. Pure. It promises that one handler of a group runs at a time, that a message starts only
when all earlier ones of its group that we hold are finished, and that nothing which waits behind a lost or released
message is started (L25).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from leasekeeper.core.batch_collector import together
from leasekeeper.core.group import NO_RECEIVE, NOTHING, Group, GroupedDelivery, GroupStatistics, Receive
from leasekeeper.core.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_ACKING, _WAITING = State.ACKING, State.WAITING  # the lookup of an enum's member takes time
_sequence_of = attrgetter("sequence")
MEMORY = 16
"""How many receives an average is taken over."""


class Groups:
    """The message groups of one queue.

    Args:
        confirmed: whether a message starts only after the delete of the one before is confirmed.
        max_receives: the queue's `maxReceiveCount`; None without a redrive policy.
        give_back: called with messages that must go back, and with the seconds for which each stays hidden.
        run: how many messages of a group may start together, as one batch.
        run_bytes: how many bytes their bodies may have together.

    Attributes:
        busy: groups with a message that runs or may run now.
        held_back: messages of groups that wait for a back-off.
        per_message: groups for each message that receives bring, averaged over the last ones; 1 if none has two.
        stopping: whether what comes in goes back, except for groups with a message on its last delivery.
        changed: groups to look at again: `starts` does.
        leads: whether the lane starts what follows in a group by itself, when the message before has returned.
    """

    def __init__(
        self,
        *,
        confirmed: bool,
        max_receives: int | None,
        give_back: Callable[[Sequence[tuple[GroupedDelivery, float]]], None],
        run: int = 1,
        run_bytes: int = 0,
    ) -> None:
        self._run = run
        self._run_bytes = run_bytes
        self._confirmed = confirmed
        self._max_receives = max_receives
        self._give_back = give_back
        self._groups: dict[str, Group] = {}
        self._given_back = 0
        self.busy = 0
        self.held_back = 0
        self.per_message = 1.0
        self.stopping = False
        self.changed: dict[Group, None] = {}
        self.leads = False

    def __iter__(self) -> Iterator[Group]:
        return iter(list(self._groups.values()))

    # What comes in

    def take_in(self, rows: Sequence[Any], running: Collection[str], *, full: bool) -> None:
        """Take in what one receive brought, each message at its place in its group.

        Args:
            rows: the new rows, in the order of the answer.
            running: the groups of messages in the same answer that were held already.
            full: whether SQS had as many messages as it hands out at once.
        """
        receive = Receive()
        earlier = set(running)
        came = len(rows)
        while rows:
            rows = rows[self._put(rows, receive, earlier) :]
        if came:
            groups = receive.groups
            self.per_message += (len(groups) / came - self.per_message) / MEMORY
            if full:
                receive.cut = groups[-1]

    def _put(self, rows: Sequence[GroupedDelivery], receive: Receive, earlier: set[str]) -> int:
        """Put the first messages, as many as are of one group, at their places in it; returns how many these are.

        `earlier` has the groups of messages that stood before them in the same answer.
        """
        name = rows[0].received.system.get("MessageGroupId", "")
        behind = name in earlier
        earlier.add(name)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
        self.changed[group] = None
        group.receive = receive
        receive.groups.append(group)
        held, in_order = group.rows, True
        last = held[-1].sequence if held else 0
        for row in rows:
            system = row.received.system
            if system.get("MessageGroupId", "") != name:
                rows = rows[: rows.index(row)]
                break
            row.group = group
            try:
                sequence = int(system["SequenceNumber"])
            except (KeyError, ValueError):  # another server's: then the order of receiving counts
                sequence = last + 1
            row.sequence = sequence
            if sequence < last:
                in_order = False
            last = sequence
        held += rows
        if not in_order:
            group.take_back()
            held.sort(key=_sequence_of)
            group.first = 0
        if rows[0].received.receive_count > 1:  # else no message behind it was received before: SQS kept it back
            for row in rows if behind else rows[1:]:
                row.extra = row.extra or 1 - row.received.receive_count  # kept behind another one, it has never run
        if group.refused:
            for row in [row for row in rows if row.state is _WAITING]:
                row.going_back = True
                self._give_back([(row, 0.0 if behind or row is not rows[0] else group.refused)])
        return len(rows)

    # What may start

    def starts(self, now: float) -> list[GroupedDelivery]:
        """The messages to start now, one a group at most, of all groups that have changed since the last call."""
        starting: list[GroupedDelivery] = []
        changed, self.changed = self.changed, {}
        for group in changed:
            if group.active is None and (group.until <= now or not group.until):
                row = self._next(group)
                if row is not None and row.lease.deadline <= now:
                    self.changed[group] = None  # it ends, or starts if an extension turns out to have kept its lease
                elif row is not None:
                    group.active = row
                    group.until, group.halted = 0.0, False
                    if self._run > 1:
                        group.run = together(row, group.rows, now, most=self._run, most_bytes=self._run_bytes)
                    elif self.leads:
                        group.lead()
                    starting.append(row)
            busy = group.active is not None
            if busy is not group.busy:
                group.busy = busy
                self.busy += 1 if busy else -1
            if group.until or group.held:
                held = 0 if busy else len(group.rows)
                self.held_back += held - group.held
                group.held = held
            if not busy and not group.rows:
                self._drop(group)
        return starting

    def all_ended(self, finished: Sequence[Any]) -> None:
        """The handlers of these have ended: `ended` for each, in less time where the lane starts what follows."""
        row: GroupedDelivery
        if not self.leads:
            for row in finished:
                self.ended(row)
            return
        for row in finished:
            group = row.group
            if group.active is row and row.state is _ACKING:
                run = group.run
                if len(run) > 1:  # the lane has started the next one, or will
                    del run[0]
                    group.active = run[0]
                    continue
                rows = group.rows
                # Nothing has come in before it: then `following` would have been taken back.
                in_order = group.following is not NOTHING or group.first + 1 == len(rows)
                if in_order and rows[-1] is row and group.busy and not group.until:  # all that is held has returned
                    run.clear()
                    group.first, group.active, group.refused, group.busy = len(rows), None, 0.0, False
                    self.busy -= 1
                    continue
            self.ended(row)

    def _next(self, group: Group) -> GroupedDelivery | None:
        """The first message that waits, if nothing before it is in its way."""
        rows, place = group.rows, group.first
        while place < len(rows):
            row = rows[place]
            if row.state is not _ACKING or self._confirmed:
                return row if row.state is _WAITING and not row.going_back else None
            place += 1
            group.first = place
        return None

    # What happens

    def ended(self, row: GroupedDelivery) -> None:
        """No handler runs for this message any more."""
        group = row.group
        if group.run:
            group.run = [each for each in group.run if each is not row]
            group.active = group.run[0] if group.run else None
        elif group.active is row:
            group.active = None
        if group.active is None:
            group.refused = 0.0
        self.changed[group] = None

    def hold(self, row: GroupedDelivery, until: float, *, halted: bool = False) -> None:
        """Start nothing of its group until then; `halted`: the group cannot get past this message."""
        group = row.group
        group.until, group.halted = max(group.until, until), group.halted or halted
        self.changed[group] = None

    def wake(self, group: Group, until: float) -> None:
        """The wait that was to end then is over."""
        if group.until == until:
            group.until, group.halted = 0.0, False
        self.changed[group] = None

    def refuse(self, group: Group, after: float) -> None:
        """Its handler does not end: give back what waits, and what comes in until it ends."""
        group.refused = after
        group.take_back()
        waiting = [row for row in group.rows if row.state is _WAITING and not row.going_back]
        for row in waiting:
            row.going_back = True
        self._give_back([(row, 0.0 if index else after) for index, row in enumerate(waiting)])

    def make_room(self, now: float) -> None:
        """Give back the message that waits longest for its back-off, of those that have nothing behind them."""
        lone = [
            group.rows[0]
            for group in self._groups.values()
            if group.until > now and group.active is None and len(group.rows) == 1 and not self.on_last_delivery(group)
        ]
        lone = [row for row in lone if row.state is _WAITING and not row.going_back]
        if lone:
            row = max(lone, key=lambda each: each.group.until)
            row.going_back = True
            self._give_back([(row, row.group.until - now)])

    def gone(self, rows: Sequence[Any], *, deleted: bool, lost: bool) -> None:
        """We hold these, one or more, no longer.

        Args:
            rows: the messages.
            deleted: whether they were deleted.
            lost: whether they were neither deleted nor given back by us.
        """
        row: GroupedDelivery = rows[0]
        group, count = row.group, len(rows)
        if deleted and group.rows[:count] == rows:  # a whole receive of one group, say
            del group.rows[:count]
            group.first = max(0, group.first - count)
            if group.rows or group.busy or group.active is not None or group.until or group.held:
                self.changed[group] = None
            else:
                self._drop(group)
                self.changed.pop(group, None)
            return
        for row in rows:
            if lost:
                self.give_back_behind(row)
            group = row.group
            held = group.rows
            if held and held[0] is row:
                del held[0]
                if group.first:
                    group.first -= 1
            elif row in held:
                held.remove(row)
                group.first = 0
            if not held or self._confirmed or not deleted:
                self.changed[group] = None

    def _drop(self, group: Group) -> None:
        self._groups.pop(group.name, None)
        group.receive = NO_RECEIVE

    def lost(self, row: GroupedDelivery, before: State) -> None:
        """The lease of this message has ended: nothing behind it may start (L25)."""
        self.give_back_behind(row)
        if before is _WAITING and not row.in_line and not row.going_back:
            row.going_back = True  # its slot comes free with the answer that it was not started
            self._give_back([(row, 0.0)])

    def give_back_behind(self, row: GroupedDelivery) -> None:
        """Nothing behind this message may start any more: it goes back; what runs in the same batch, if it fails."""
        group, sequence = row.group, row.sequence
        group.take_back()
        behind = [
            (each, 0.0)
            for each in group.rows
            if each.sequence > sequence and each.state in (_WAITING, State.RUNNING) and not each.going_back
        ]
        for each, _ in behind:
            each.going_back = True
            if each.in_line and not each.started:
                each.lost = True  # the lane does not start it, if it has not yet
        waiting = [pair for pair in behind if pair[0].state is _WAITING and not pair[0].started and not pair[0].in_line]
        if waiting:
            self._given_back += len(waiting)
            self._give_back(waiting)

    def recall(self, now: float, *, everything: bool) -> list[tuple[GroupedDelivery, float]]:
        """At a stop: the messages that wait here, to be given back, with the seconds for which each stays hidden.

        Unless it has to be everything, a group with a message on its last delivery goes on: released, SQS would move
        that message to the dead-letter queue without having run it.
        """
        recalled: list[tuple[GroupedDelivery, float]] = []
        for group in self._groups.values():
            if not everything and self.on_last_delivery(group):
                continue
            wait = max(0.0, group.until - now)
            group.take_back()
            for row in group.rows:
                if row.state is _WAITING and not row.going_back and not row.in_lane:
                    row.going_back = True
                    recalled.append((row, wait))
                    wait = 0.0
        return recalled

    def on_last_delivery(self, group: Group) -> bool:
        """Whether one of its messages that are not finished may not be received again."""
        most = self._max_receives
        return most is not None and any(
            row.state is not _ACKING and row.received.receive_count >= most for row in group.rows
        )

    # What it looks like

    def statistics(self) -> GroupStatistics:
        """What is held now; may be asked from any thread."""
        return GroupStatistics.of(list(self._groups.values()), given_back=self._given_back)

    def __repr__(self) -> str:
        return f"<Groups {len(self._groups)} held, {self.busy} busy>"
