"""The runner: what a consumer runs. The task tree of one queue, whose nesting is the order of its shutdown.

Owned by a consumer, run on the engine's loop. It promises that what it received is settled or said to be unsettled when
`run` returns, and that it returns in bounded time after `stop` (L22).
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from leasekeeper.core.ledger import Ledger
from leasekeeper.core.throttler import Throttler
from leasekeeper.engine.context import QueueContext, SourceQueue
from leasekeeper.engine.dead_letters import DeadLetters
from leasekeeper.engine.extender import Extender
from leasekeeper.engine.harvester import Harvester
from leasekeeper.engine.heartbeat import Heartbeat
from leasekeeper.engine.policies import lease_policy, throttle_policy
from leasekeeper.engine.poller import Health, Poller
from leasekeeper.engine.scopes import serve
from leasekeeper.engine.worker import Worker
from leasekeeper.lanes.coroutines import CoroutineLane
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.threads import ThreadLane
from leasekeeper.observe.statistics import Report, RunnerStatistics
from leasekeeper.observe.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.api import SqsApi
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Answer, Lane
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.options import Options

END_GRACE = 1.0
"""Seconds that cancelled handlers get to clean up at the deadline of a stop."""


class Phase(Enum):
    """How far a runner has come; each follows the one before."""

    NEW = "new"
    RUNNING = "running"
    QUIET = "quiet"
    DRAINING = "draining"
    FLUSHING = "flushing"
    CLOSED = "closed"


class Runner:
    """Polls a queue, dispatches to the worker, and sees to the acknowledging of what has finished."""

    def __init__(
        self,
        target: SourceQueue,
        client: SqsApi,
        handler: Handler,
        options: Options,
        *,
        application: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        draw: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.target = target
        self.phase = Phase.NEW
        self._options = options
        self._clock = clock
        self._began = clock()
        self._throttler = Throttler(throttle_policy(options))
        self._ledger = Ledger(lease_policy(options), tell=self._lost)
        self._context = context = QueueContext(
            queue=target.name,
            queue_url=target.url,
            client=client,
            ledger=self._ledger,
            options=options,
            tally=Tally(),
            clock=clock,
            wall=wall,
            draw=draw,
            logger=options.logger,
        )
        self._extender = Extender(context, linger=options.extend_interval)
        self._heartbeat = Heartbeat(context, self._extender)
        self._harvester = Harvester(context, size=options.ack_batch_size, linger=options.ack_interval)
        self._dead_letters = DeadLetters(
            context, target.dead_letter_url, harvester=self._harvester, extender=self._extender
        )
        self._worker = Worker(
            context,
            self._throttler,
            harvester=self._harvester,
            extender=self._extender,
            dead_letters=self._dead_letters,
        )
        self._harvester.answered = self._worker.capacity.settled
        self._extender.answered = self._heartbeat.beaten = self._extended
        self._answers: Mailbox[Answer[Delivery]] = Mailbox(asyncio.get_running_loop(), self._worker.answered)
        self._worker.lane = self._lane = self._open_lane(handler, application)
        self._worker.broken = self._lane_broken
        self._health = Health(options.unhealthy_after, options.wait_time)
        self._pollers: dict[int, asyncio.Task[None]] = {}
        self._wanted = 0
        """How many pollers were wanted when they were last seen to."""
        self._polling: asyncio.TaskGroup | None = None
        self._quiet = asyncio.Event()
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()

    def _open_lane(self, handler: Handler, application: asyncio.AbstractEventLoop) -> Lane[Delivery]:
        options, answers, clock = self._options, self._answers, self._clock
        if handler.is_coroutine:
            return CoroutineLane(handler, options, loop=application, answers=answers, clock=clock)
        return ThreadLane(handler, options, answers=answers, clock=clock, timer=asyncio.get_running_loop())

    # The tree

    async def run(self, ready: Callable[[], None]) -> Report:
        """Work until stopped; `ready` is called when the first poll is about to start."""
        try:
            async with (
                asyncio.timeout(None) as limit,
                serve(self._extender),  # opened first, closed last: releases go out after everything
                serve(self._heartbeat),  # beats on while acks are flushed (L4)
                serve(self._harvester),
                serve(self._dead_letters),
            ):
                self.phase = Phase.RUNNING
                await self._poll(ready)
                await self._stopping.wait()
                await self._drain()
                self.phase = Phase.FLUSHING
                limit.reschedule(asyncio.get_running_loop().time() + self._options.flush_timeout)
        except TimeoutError:
            self._context.logger.error(  # noqa: TRY400 - the time-out is ours, its traceback says nothing
                "queue %s: %d settlements were not confirmed within flush_timeout=%g s; those messages come again",
                self.target.name,
                len(self._ledger),
                self._options.flush_timeout,
            )
        finally:
            self.phase = Phase.CLOSED
            self._answers.close()  # before `end`: what a handler says from now on raises `Closed`
            self._worker.end()
            await self._lane.close()
        return self.report()

    def _extended(self) -> None:
        """Leases have moved, and messages may have been released."""
        self._heartbeat.heed()
        self._worker.capacity.settled()

    async def _poll(self, ready: Callable[[], None]) -> None:
        """Receive until it is quiet, then give polls in flight their grace."""
        async with asyncio.TaskGroup() as self._polling:
            self._scale()
            self._context.logger.info(
                "queue %s: consuming, up to %d at once", self.target.name, self._options.concurrency
            )
            ready()
            await self._until_quiet()
            self.phase = Phase.QUIET
            self._worker.capacity.close()
            if self._stopping.is_set():
                self._worker.stop()
            receiving = [task for task in self._pollers.values() if not task.done()]
            if receiving:
                await self._grace(receiving)
            for task in receiving:
                task.cancel()
        self._polling = None
        self._worker.polls_ended()

    async def _until_quiet(self) -> None:
        if not self._options.exit_on_unusable:
            await self._quiet.wait()
            return
        waits = [asyncio.ensure_future(each.wait()) for each in (self._quiet, self._health.unusable)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if not self._quiet.is_set():
            self._context.logger.error("queue %s is unusable, stopping: %s", self.target.name, self._health.problem)
            self.stop()

    async def _grace(self, receiving: list[asyncio.Task[None]]) -> None:
        """Polls in flight may have been handed messages already: wait for them a little (L22)."""
        force = asyncio.ensure_future(self._forced.wait())
        polls = asyncio.gather(*receiving, return_exceptions=True)
        try:
            await asyncio.wait((force, polls), timeout=self._options.poll_grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            force.cancel()

    def _lane_broken(self) -> None:
        """Handlers can be run no more: whoever goes on receiving would only burn the messages' receive counts."""
        if not self._stopping.is_set():
            self._context.logger.error(
                "queue %s: the event loop that its handlers run on is closed, stopping; stop the consumer before its "
                "loop ends, or run it as `async with`",
                self.target.name,
            )
            self.stop()

    def _lost(self, row: Delivery) -> None:
        self._worker.lost(row)

    def _scale(self) -> None:
        """Start the pollers that are wanted and missing; those too many end by themselves."""
        wanted = self._throttler.pollers
        if wanted == self._wanted or self._polling is None or self._quiet.is_set():
            return
        self._wanted = wanted
        for index in range(wanted):
            if index not in self._pollers:
                poller = Poller(
                    index,
                    self._context,
                    self._throttler,
                    worker=self._worker,
                    harvester=self._harvester,
                    heartbeat=self._heartbeat,
                    health=self._health,
                    scale=self._scale,
                )
                self._pollers[index] = self._polling.create_task(self._poll_as(poller))

    async def _poll_as(self, poller: Poller) -> None:
        try:
            await poller.run(self._quiet)
        finally:
            del self._pollers[poller.index]
            self._wanted = 0  # it may be wanted again by the next look

    async def _drain(self) -> None:
        """Wait for handlers, heartbeats on; at the deadline end those that can be ended (L22)."""
        self.phase = Phase.DRAINING
        self._worker.stop()
        if await self._idle_within(self._options.drain_timeout, self._forced):
            return
        self._lane.recall()
        self._worker.release_withheld()
        ended = self._lane.end()
        if not self._worker.capacity.taken or (ended and await self._idle_within(END_GRACE, None)):
            return
        self._context.logger.warning(
            "queue %s: %d handlers still run after %s and cannot be ended; their messages are not "
            "given back, so that no second copy runs knowingly, and come again when their visibility timeout ends",
            self.target.name,
            self._worker.capacity.taken,
            "a forced stop" if self._forced.is_set() else f"drain_timeout={self._options.drain_timeout:g} s",
        )

    async def _idle_within(self, seconds: float, force: asyncio.Event | None) -> bool:
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._worker.capacity.emptied())]
        if force is not None:
            waits.append(asyncio.ensure_future(force.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        return not self._worker.capacity.taken

    # Verbs

    def quiet(self) -> None:
        """Receive nothing more; what is here is run."""
        self._quiet.set()

    def stop(self, *, force: bool = False) -> None:
        """Stop: drain and close; `force` cuts the drain short. May be said again, and at any time."""
        self._stopping.set()
        self._quiet.set()
        if force:
            self._forced.set()

    # What it looks like

    @property
    def healthy(self) -> bool:
        """Whether it receives, as far as is known."""
        return self.phase is Phase.RUNNING and self._health.healthy(self._clock())

    @property
    def problem(self) -> Exception | None:
        """The error that keeps it from receiving and will not pass by itself."""
        return self._health.problem

    def report(self) -> Report:
        """What it has done so far."""
        tally, ledger = self._context.tally, self._ledger.statistics()
        return Report(
            queue=self.target.name,
            seconds=self._clock() - self._began,
            received=tally.received,
            handled=tally.done,
            acked=ledger.acked + ledger.late,
            retried=tally.retried,
            failed=tally.failed,
            rejected=tally.rejected,
            released=ledger.released,
            lost=ledger.lost,
            unsettled=ledger.unsettled + len(self._ledger),
            recognised=ledger.recognised,
        )

    def statistics(self) -> RunnerStatistics:
        """A snapshot of everything an operator may want to see."""
        return RunnerStatistics.of(
            self._context.tally,
            self._ledger.statistics(),
            self._lane.statistics(),
            phase=self.phase.value,
            queue=self.target.name,
            healthy=self.healthy,
            pollers=len(self._pollers),
            acks_waiting=self._harvester.batcher.statistics().waiting,
            delete_calls=self._harvester.batcher.statistics().calls,
            concurrency=self._options.concurrency,
            in_hand=self._worker.capacity.taken,
            handler_seconds=self._throttler.handler_seconds,
        )

    def __repr__(self) -> str:
        lane, held = self._lane.statistics(), self._ledger.statistics().held
        acking = sum(count for state, count in held.items() if state.name == "ACKING")
        return (
            f"<Runner {self.target.name} {self.phase.name} {len(self._pollers)} pollers, "
            f"{lane.running}/{self._options.concurrency} running, {lane.waiting} waiting, {acking} acking>"
        )
