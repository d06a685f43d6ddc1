"""Mutations of the rules of FIFO queues: each switches one decision of the core off, as a mistake in it would.

Used by `test_mutations.py`, which shows that the simulation notices each of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest import mock

from fifo_conditions import Kind

from leasekeeper.core import group_ledger, groups
from leasekeeper.core.delivery import Action, Delivery
from leasekeeper.core.finished import Finished
from leasekeeper.core.group import Group
from leasekeeper.core.group_batch import GroupBatch
from leasekeeper.core.groups import Groups
from leasekeeper.core.states import State
from leasekeeper.engine import group_settler, grouped
from leasekeeper.engine.group_worker import GroupWorker
from leasekeeper.lanes.api import Answer
from leasekeeper.lanes.succession import Succession
from leasekeeper.outcomes import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from leasekeeper.core.decisions import Decision
    from leasekeeper.core.group import GroupedDelivery

Mutation = tuple[Kind, int, "Callable[[], AbstractContextManager[Any]]"]


def _together(*patches: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """All of these, on top of one another."""
    stack = ExitStack()
    for patch in patches:
        stack.enter_context(patch)
    return stack


def _a_follower_starts_beside_its_head() -> AbstractContextManager[Any]:
    """The group does not note that a handler of it is at work."""
    starts = Groups.starts

    def mutated(self: Groups, now: float) -> list[GroupedDelivery]:
        starting = starts(self, now)
        for row in starting:
            row.group.active = None
            row.going_back = True  # so that `_next` passes it over
            self.changed[row.group] = None
        return starting

    def following(self: Groups, group: Group) -> GroupedDelivery | None:
        waiting = [row for row in group.rows if row.state is State.WAITING and not row.going_back]
        return waiting[0] if waiting else None

    return mock.patch.multiple(Groups, starts=mutated, _next=following)


def _a_follower_starts_while_its_head_backs_off() -> AbstractContextManager[Any]:
    """The next message that waits is taken, not the first."""
    following = Groups._next

    def mutated(self: Groups, group: Group) -> GroupedDelivery | None:
        first = following(self, group)
        if first is None or first.attempt < 2:
            return first
        later = [row for row in group.rows if row.state is State.WAITING and row is not first]
        return later[0] if later else first

    return mock.patch.object(Groups, "_next", mutated)


def _followers_of_a_lost_message_stay() -> AbstractContextManager[Any]:
    """What waits behind a message whose lease has ended is not given back."""
    return mock.patch.object(Groups, "give_back_behind", return_value=None)


def _two_deletes_of_a_group_are_out() -> AbstractContextManager[Any]:
    """A delete does not wait for the answer to the one before."""
    move, put_back, acks = GroupBatch._move, GroupBatch.put_back, vars(Group)["acks"].fget
    out: set[Delivery] = set()

    def moved(self: GroupBatch, group: Group, batch: Any, *, flush: bool = False) -> None:
        move(self, group, batch, flush=flush)
        out.update(group.acks_out)
        group.acks_out = ()

    def taken_back(self: GroupBatch, item: Any, *, ready: float, latest: float = float("inf")) -> None:
        out.discard(item)
        put_back(self, item, ready=ready, latest=latest)

    def not_out(self: Group) -> list[GroupedDelivery]:
        return [row for row in acks(self) if row not in out]

    return _together(
        mock.patch.multiple(GroupBatch, _move=moved, put_back=taken_back),
        mock.patch.object(Group, "acks", property(not_out)),
    )


def _an_ack_goes_out_of_order() -> AbstractContextManager[Any]:
    """What failed goes again behind what has finished later."""
    put_back, acks = GroupBatch.put_back, vars(Group)["acks"].fget
    failed: set[Delivery] = set()

    def mutated(self: GroupBatch, item: Any, *, ready: float, latest: float = float("inf")) -> None:
        put_back(self, item, ready=ready, latest=latest)
        failed.add(item)
        later = [row for row in item.group.acks if row not in failed]
        if later:
            self.size = max(1, len(later))

    def failed_last(self: Group) -> list[GroupedDelivery]:
        return sorted(acks(self), key=failed.__contains__)

    return _together(
        mock.patch.object(GroupBatch, "put_back", mutated), mock.patch.object(Group, "acks", property(failed_last))
    )


def _a_failure_spends_the_counts_of_the_followers() -> AbstractContextManager[Any]:
    """A message that failed is given back to the queue, and takes its followers along."""

    def mutated(decision: Decision, *_: object) -> Decision:
        return decision

    return mock.patch.object(group_settler, "decide_in_group", mutated)


def _attempts_are_forgotten() -> AbstractContextManager[Any]:
    """Runs under one delivery are not counted."""
    return mock.patch.object(Delivery, "attempt", property(lambda row: row.received.receive_count))


def _a_follower_starts_before_the_copy_is_confirmed() -> AbstractContextManager[Any]:
    """A message that waits for its copy is passed over."""

    def mutated(self: Groups, group: Group) -> GroupedDelivery | None:
        for row in group.rows:
            if row.state not in (State.ACKING, State.REJECTING):
                return row if row.state is State.WAITING and not row.going_back else None
        return None

    return mock.patch.object(Groups, "_next", mutated)


def _a_confirmed_delete_is_not_waited_for() -> AbstractContextManager[Any]:
    """`fifo_ack="confirmed"` works as "batched" does."""
    made = Groups.__init__

    def mutated(self: Groups, **options: Any) -> None:
        made(self, **{**options, "confirmed": False})

    return mock.patch.object(Groups, "__init__", mutated)


def _an_early_ack_is_sent_before_the_handler_ends() -> AbstractContextManager[Any]:
    """The last message of a group is deleted, and another process runs the next one beside this handler."""
    answered = GroupWorker.answered

    def mutated(self: GroupWorker, answers: Any) -> None:
        early = [answer for answer in answers if answer.outcome is DONE and not answer.final]
        for answer in early:
            self._context.act(Action.DELETE, self._context.ledger.done([answer.unit]))
        answered(self, [answer for answer in answers if answer not in early])

    return mock.patch.object(GroupWorker, "answered", mutated)


def _finished_messages_are_forgotten() -> AbstractContextManager[Any]:
    """The redelivery of a finished message runs again in the same process."""
    return mock.patch.object(Finished, "add", return_value=None)


def _a_message_that_was_given_back_starts() -> AbstractContextManager[Any]:
    """At a stop, what the lane did not start is started again while it waits to be given back."""
    return mock.patch.object(grouped.Grouped, "goes_on", return_value=True)


def _a_received_message_is_given_twice_as_many_runs() -> AbstractContextManager[Any]:
    """Received behind another message, it counts as never having run, however often it has failed here."""
    take_in = Groups.take_in

    def mutated(self: Groups, rows: Any, running: Any, *, full: bool) -> None:
        take_in(self, rows, running, full=full)
        for row in rows:
            row.extra = -1

    return mock.patch.object(groups.Groups, "take_in", mutated)


def _a_refused_copy_gives_the_group_back() -> AbstractContextManager[Any]:
    """The followers of a message whose copy is refused are received again and again, until SQS moves them."""

    def mutated(self: group_ledger.GroupLedger, row: Delivery, after: float, now: float) -> Any:
        return super(group_ledger.GroupLedger, self).copy_refused(row, after, now)

    return mock.patch.object(group_ledger.GroupLedger, "copy_refused", mutated)


def _behind_a_failed_message_of_a_batch_the_rest_counts() -> AbstractContextManager[Any]:
    """What a batch handler has done behind a message that failed is deleted before that message has succeeded."""
    return mock.patch.object(grouped.Grouped, "in_order", lambda _, answers: list(answers))


def _an_outcome_of_a_batch_is_dropped() -> AbstractContextManager[Any]:
    """The last message of a batch is deleted, whatever was said of it."""
    in_order = grouped.Grouped.in_order

    def mutated(self: grouped.Grouped, answers: Sequence[Answer[Delivery]]) -> list[Answer[Delivery]]:
        checked = in_order(self, answers)
        if len(checked) > 1 and checked[-1].final and checked[-1].unit.settlement is None:
            checked[-1] = Answer(checked[-1].unit, DONE)
        return checked

    return mock.patch.object(grouped.Grouped, "in_order", mutated)


def _what_stands_behind_a_rejected_message_is_deleted_before_its_copy() -> AbstractContextManager[Any]:
    """A crash before the copy would bring the rejected message again, after those that stood behind it."""
    return mock.patch.object(GroupBatch, "_free", lambda _, group: len(group.acks))


def _a_rejected_message_that_cannot_be_copied_holds_up_nothing() -> AbstractContextManager[Any]:
    """It is tried again after those that stood behind it in its batch."""
    return mock.patch.object(grouped, "GOOD_WITHOUT_COPIES", grouped.GOOD)


def _a_lane_goes_on_behind_a_message_that_failed() -> AbstractContextManager[Any]:
    """What was handed over with a message starts when its handler has ended, however that was."""
    post = Succession.post

    def mutated(self: Succession, items: Sequence[Answer[Any]]) -> bool:
        ended = [each.unit.group.following for each in items if each.outcome is not DONE and each.unit.group.following]
        if ended:
            self._start(ended)
        return post(self, items)

    return mock.patch.object(Succession, "post", mutated)


def _what_a_lane_has_not_taken_is_not_taken_back() -> AbstractContextManager[Any]:
    """The engine waits for it behind a message that has failed, and nothing takes it."""
    return mock.patch.object(Group, "take_back", return_value=None)


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__.strip("_"): (kind, first, mutation)
    for kind, first, mutation in (
        (Kind.FAILURES, 1, _a_follower_starts_beside_its_head),
        (Kind.FAILURES, 5, _a_follower_starts_while_its_head_backs_off),
        (Kind.NETWORK, 1, _followers_of_a_lost_message_stay),
        (Kind.NETWORK, 5, _two_deletes_of_a_group_are_out),
        (Kind.NETWORK, 10, _an_ack_goes_out_of_order),
        (Kind.FAILURES, 5, _a_failure_spends_the_counts_of_the_followers),
        (Kind.FAILURES, 18, _attempts_are_forgotten),
        (Kind.FAILURES, 1, _a_follower_starts_before_the_copy_is_confirmed),
        (Kind.FAILURES, 1, _a_confirmed_delete_is_not_waited_for),
        (Kind.FAILURES, 48, _an_early_ack_is_sent_before_the_handler_ends),
        (Kind.NETWORK, 1, _finished_messages_are_forgotten),
        (Kind.STOPS, 57, _a_message_that_was_given_back_starts),
        (Kind.FAILURES, 18, _a_received_message_is_given_twice_as_many_runs),
        (Kind.FAILURES, 39, _a_refused_copy_gives_the_group_back),
        (Kind.FAILURES, 12, _behind_a_failed_message_of_a_batch_the_rest_counts),
        (Kind.FAILURES, 12, _an_outcome_of_a_batch_is_dropped),
        (Kind.FAILURES, 28, _what_stands_behind_a_rejected_message_is_deleted_before_its_copy),
        (Kind.FAILURES, 3, _a_rejected_message_that_cannot_be_copied_holds_up_nothing),
        (Kind.FAILURES, 5, _a_lane_goes_on_behind_a_message_that_failed),
        (Kind.FAILURES, 4, _what_a_lane_has_not_taken_is_not_taken_back),
    )
}
"""By name: the kind of simulation that notices it, the first seed to try, and what switches the decision off."""
