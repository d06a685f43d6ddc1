"""The two kinds of queues, standard and FIFO, and the parts of the engine in which they differ.

Used by the runner, which is otherwise the same for both. The kind is that of the queue, and never depends on whether
messages have a group id: a standard queue whose messages have one stays unordered (L27).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from leasekeeper.core.group import FULL
from leasekeeper.core.group_ledger import GroupLedger
from leasekeeper.core.groups import Groups
from leasekeeper.core.ledger import Ledger
from leasekeeper.engine.attempt_ids import RepeatedReceive
from leasekeeper.engine.extender import Extender
from leasekeeper.engine.group_capacity import GroupCapacity
from leasekeeper.engine.group_harvester import GroupHarvester
from leasekeeper.engine.group_settler import GroupSettler
from leasekeeper.engine.group_worker import GroupWorker
from leasekeeper.engine.grouped import Grouped, not_started
from leasekeeper.engine.harvester import Harvester
from leasekeeper.engine.heartbeat import Heartbeat
from leasekeeper.engine.lane import open_lane
from leasekeeper.engine.limited_capacity import LimitedGroupCapacity
from leasekeeper.engine.limits import capacity_for
from leasekeeper.engine.ordering import Unordered
from leasekeeper.engine.policies import group_policy, lease_policy, makes_copies, outcome_policy
from leasekeeper.engine.settler import Settler
from leasekeeper.engine.worker import Worker
from leasekeeper.lanes.succession import Succession

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.core.delivery import Delivery, LeasePolicy, TellMany, TellOne
    from leasekeeper.core.gate import Gate
    from leasekeeper.core.group import GroupedDelivery, GroupStatistics
    from leasekeeper.core.throttler import Throttler
    from leasekeeper.engine.capacity import Capacity
    from leasekeeper.engine.context import QueueContext, SourceQueue
    from leasekeeper.engine.poller import Receiver
    from leasekeeper.keeper.link import KeeperLink
    from leasekeeper.lanes.api import Answer, Answers, Lane
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lanes.mailbox import Mailbox
    from leasekeeper.options import Options
    from leasekeeper.payloads.finished_objects import FinishedObjects
    from leasekeeper.payloads.lane import PayloadLane


def kind_of(
    source: SourceQueue,
    options: Options,
    answers: Mailbox[Answer[Delivery]],
    clock: Callable[[], float],
    *,
    on_lease_lost: TellOne,
    keeper: KeeperLink | None = None,
) -> Standard:
    """The kind of this queue, with its ledger.

    Args:
        source: the queue.
        options: those of the consumer.
        answers: takes what is said about messages that were not started.
        clock: seconds, monotonic.
        on_lease_lost: called for each delivery that loses its lease while its handler is running.
        keeper: the consumer's link to it; None: it has no keeper.
    """
    kind = Fifo if source.fifo else Standard
    return kind(source, options, answers, clock, on_lease_lost=on_lease_lost, keeper=keeper)


class Standard:
    """A standard queue: no order. Another kind of queue overrides the parts in which it differs.

    Attributes:
        ledger: its ledger.
        payloads: its lane of payloads; None without the option.
    """

    payloads: PayloadLane | None = None

    def __init__(
        self,
        source: SourceQueue,
        options: Options,
        answers: Mailbox[Answer[Delivery]],
        clock: Callable[[], float],
        *,
        on_lease_lost: TellOne,
        keeper: KeeperLink | None = None,
    ) -> None:
        self._answers = answers
        self._keeper = keeper
        self._finished: FinishedObjects | None = None
        if options.payloads is not None:
            from leasekeeper.engine.payload_parts import finished_objects

            self._finished = finished_objects(source.name, options, clock)
        on_acked = None if self._finished is None else self._finished.acked
        self.ledger = self._ledger(lease_policy(options), on_lease_lost, on_acked)

    def _ledger(self, policy: LeasePolicy, on_lease_lost: TellOne, on_acked: TellMany | None) -> Ledger:
        if self._keeper is None:
            return Ledger(policy, on_lease_lost=on_lease_lost, on_acked=on_acked)
        from leasekeeper.keeper.ledgers import KeptLedger

        return KeptLedger(policy, self._keeper.entries, on_lease_lost=on_lease_lost, on_acked=on_acked)

    def heartbeat(
        self,
        clock: Callable[[], float],
        extend: Callable[[Sequence[Delivery]], None],
        failed: Callable[[str, BaseException], None],
    ) -> Heartbeat:
        """Beats for the leases of the ledger."""
        leases = self.ledger.leases
        if self._keeper is None:
            return Heartbeat(leases, clock=clock, extend=extend, failed=failed)
        from leasekeeper.engine.keeper_parts import KeptHeartbeat

        return KeptHeartbeat(leases, clock=clock, extend=extend, failed=failed, keeper=self._keeper)

    def extender(self, context: QueueContext) -> Extender:
        """Changes visibility."""
        linger = context.options.extend_interval
        if self._keeper is None:
            return Extender(context, linger=linger)
        from leasekeeper.engine.keeper_parts import KeptExtender

        return KeptExtender(context, linger=linger, keeper=self._keeper)

    def capacity(
        self, options: Options, throttler: Throttler, gate: Gate | None, clock: Callable[[], float]
    ) -> Capacity:
        """Slots for messages."""
        return capacity_for(options, throttler, self.ledger.rows, gate, clock)

    def harvester(self, context: QueueContext) -> Harvester:
        """Deletes ten at a time, in any order."""
        options = context.options
        return Harvester(context, size=options.ack_batch_size, linger=options.ack_interval)

    def lane(
        self,
        context: QueueContext,
        handler: AnyHandler,
        application: asyncio.AbstractEventLoop,
        lane_closed: Callable[[], None],
    ) -> Lane[Delivery]:
        """Runs the handler, if need be when the payload has come from S3."""

        def follow(rows: Sequence[Delivery]) -> None:
            lane.follow(rows)

        lane: Any = open_lane(
            handler,
            context.options,
            queue=context.queue,
            application=application,
            answers=self._answers_of_lane(context, handler, follow),
            clock=context.clock,
            entries=None if self._keeper is None else self._keeper.entries,
            copies=makes_copies(context.options, context.source),
        )
        if self._finished is None:
            return cast("Lane[Delivery]", lane)
        from leasekeeper.engine.payload_parts import with_payloads

        self.payloads = with_payloads(
            lane, context, handler, self._finished, post=self._answers.post, lane_closed=lane_closed
        )
        return self.payloads

    def _answers_of_lane(
        self,
        context: QueueContext,  # noqa: ARG002 - as `Fifo`
        handler: AnyHandler,  # noqa: ARG002 - as `Fifo`
        follow: Callable[[Sequence[Delivery]], None],  # noqa: ARG002 - as `Fifo`
    ) -> Answers[Delivery]:
        """Where the lane puts its answers; `follow` has it start more, where a handler has ended."""
        return self._answers

    def receiver(self, client: SqsApi, clock: Callable[[], float]) -> Receiver:  # noqa: ARG002 - as `Fifo`
        """The client's own."""
        return client

    def worker(
        self,
        context: QueueContext,
        *,
        throttler: Throttler,
        capacity: Capacity,
        lane: Lane[Delivery],
        handler: str,
        lane_closed: Callable[[], None],
    ) -> Worker:
        """Starts whatever comes in."""
        policy = outcome_policy(context.options, copies=context.source.dead_letter_url is not None)
        settler = Settler(context, throttler, policy, handler=handler)
        ordering = Unordered(lane, answered=self._answers.post, lane_closed=lane_closed, wait=capacity.wait)
        return Worker(context, settler, capacity, lane, ordering, lane_closed=lane_closed)

    def statistics(self) -> GroupStatistics | None:
        """The message groups; None, because it has none."""
        return None


class Fifo(Standard):
    """A FIFO queue: its message groups in order."""

    _gate: Gate | None = None
    """The gate, known when the capacity is made."""

    def __init__(
        self,
        source: SourceQueue,
        options: Options,
        answers: Mailbox[Answer[Delivery]],
        clock: Callable[[], float],
        *,
        on_lease_lost: TellOne,
        keeper: KeeperLink | None = None,
    ) -> None:
        self._groups = Groups(
            confirmed=options.fifo_ack == "confirmed",
            max_receives=source.max_receives,
            give_back=partial(_post_not_started, answers),
            run=min(options.batch or 1, FULL),
            run_bytes=options.most_batch_bytes,
        )
        super().__init__(source, options, answers, clock, on_lease_lost=on_lease_lost, keeper=keeper)

    def _ledger(self, policy: LeasePolicy, on_lease_lost: TellOne, on_acked: TellMany | None) -> Ledger:
        if self._keeper is None:
            return GroupLedger(policy, self._groups, on_lease_lost=on_lease_lost, on_acked=on_acked)
        from leasekeeper.keeper.ledgers import KeptGroupLedger

        entries = self._keeper.entries
        return KeptGroupLedger(policy, self._groups, entries, on_lease_lost=on_lease_lost, on_acked=on_acked)

    def capacity(
        self, options: Options, throttler: Throttler, gate: Gate | None, clock: Callable[[], float]
    ) -> Capacity:
        """Slots for groups."""
        self._gate = gate
        if gate is None:
            return GroupCapacity(options, throttler, self.ledger.rows, self._groups)
        return LimitedGroupCapacity(options, throttler, self.ledger.rows, self._groups, gate=gate, clock=clock)

    def harvester(self, context: QueueContext) -> Harvester:
        """Deletes in the order of the groups; at once, if the next message waits for that."""
        options = context.options
        linger = 0.0 if options.fifo_ack == "confirmed" else options.ack_interval
        return GroupHarvester(context, size=options.ack_batch_size, linger=linger)

    def _answers_of_lane(
        self, context: QueueContext, handler: AnyHandler, follow: Callable[[Sequence[Delivery]], None]
    ) -> Answers[Delivery]:
        """A succession, unless something else has to come between two messages of a group, or another process."""
        options = context.options
        waits = options.fifo_ack == "confirmed" or options.payloads is not None or self._gate is not None
        if waits or options.batch is not None or handler.blueprint is not None:
            return self._answers
        self._groups.leads = True
        return Succession(self._answers, follow, context.clock)

    def receiver(self, client: SqsApi, clock: Callable[[], float]) -> Receiver:
        """Repeats what has no answer."""
        if self._keeper is None:
            return RepeatedReceive(client, clock)
        from leasekeeper.keeper.receiving import NotedReceives

        return RepeatedReceive(NotedReceives(client, self._keeper.table, clock), clock)

    def worker(
        self,
        context: QueueContext,
        *,
        throttler: Throttler,
        capacity: Capacity,
        lane: Lane[Delivery],
        handler: str,
        lane_closed: Callable[[], None],
    ) -> Worker:
        """Starts one message of each group at a time."""
        options, source = context.options, context.source
        settler = GroupSettler(
            context,
            throttler,
            outcome_policy(options, copies=source.dead_letter_url is not None, max_receives=source.max_receives),
            handler=handler,
            groups=self._groups,
            group_policy=group_policy(options, source),
        )
        ordering = Grouped(
            context,
            self._groups,
            lane,
            post=self._answers.post,
            lane_closed=lane_closed,
            room=capacity.give_back,
        )
        return GroupWorker(context, settler, capacity, lane, ordering, lane_closed=lane_closed)

    def statistics(self) -> GroupStatistics:
        """Its groups at this moment."""
        return self._groups.statistics()


def _post_not_started(answers: Mailbox[Answer[Delivery]], rows: Sequence[tuple[GroupedDelivery, float]]) -> None:
    answers.post([not_started(row, seconds) for row, seconds in rows])
