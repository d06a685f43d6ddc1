"""The runner: what a consumer runs. The task tree of one queue; its nesting is the order of its shutdown.

Owned by a consumer, run on the engine's loop. It connects the parts of the engine, which do not know it. When `run`
returns, everything it received is settled or reported as unsettled, and it returns in bounded time (L22).
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from leasekeeper.core.delivery import Action
from leasekeeper.core.phases import Change, Phase, next_phase
from leasekeeper.core.throttler import Throttler
from leasekeeper.engine.context import QueueContext
from leasekeeper.engine.dead_letters import DeadLetters
from leasekeeper.engine.drain import Drain
from leasekeeper.engine.health import Health
from leasekeeper.engine.kinds import kind_of
from leasekeeper.engine.lag import LagMeter
from leasekeeper.engine.limits import gate_for, gated
from leasekeeper.engine.loop_watch import Watched
from leasekeeper.engine.outage import outage_of
from leasekeeper.engine.policies import throttle_policy
from leasekeeper.engine.pollers import Pollers
from leasekeeper.engine.scopes import serve
from leasekeeper.engine.sizing import Sizing
from leasekeeper.engine.snapshot import RunnerSnapshot
from leasekeeper.engine.stopping import Stopping, StopReason
from leasekeeper.engine.waits import first_of
from leasekeeper.events import InternalError, PhaseChanged, QueueOpened, SettlementsLeft, StopForced
from leasekeeper.lanes.mailbox import Mailbox
from leasekeeper.lanes.routed import RoutedHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.api import SqsApi
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.engine.context import SourceQueue
    from leasekeeper.engine.loop_watch import LoopWatch
    from leasekeeper.events import Event
    from leasekeeper.keeper.link import KeeperLink
    from leasekeeper.lanes.api import Answer, Lane
    from leasekeeper.lanes.gated import GatedLane
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.options import Options


class Runner:
    """Polls a queue, has the worker run its messages, and has finished messages acknowledged.

    It is the mediator: what a part asks for through its context is carried out here.

    Attributes:
        source: the queue.
        phase: how far it has come.
        context: what its parts work with; what observes it reads the ledger and the clock there.
        pollers: its receive loops.
        sizing: how many handlers run, which may change.
        watched: whether the loop of the handlers turns.
    """

    phase = Phase.STARTING
    _paused = False

    def __init__(
        self,
        source: SourceQueue,
        client: SqsApi,
        handler: AnyHandler,
        options: Options,
        *,
        application: asyncio.AbstractEventLoop,
        emit: Callable[[Event], None],
        clock: Callable[[], float],
        draw: Callable[[], float],
        wall: Callable[[], float] = time.time,
        keeper: KeeperLink | None = None,
        watch: LoopWatch | None = None,
    ) -> None:
        self.source = source
        self._options, self._emit, self._clock, self._began = options, emit, clock, clock()
        self._throttler = Throttler(throttle_policy(options))
        self._gate = gate_for(options, coroutines=handler.is_coroutine, wake=self._wake)
        self._answers: Mailbox[Answer[Delivery]] = Mailbox(asyncio.get_running_loop(), self._answered)
        self._kind = kind_of(source, options, self._answers, clock, on_lease_lost=self._on_lost, keeper=keeper)
        self._health = Health.of(source.name, options, emit)
        self._capacity = self._kind.capacity(options, self._throttler, self._gate, clock)
        self._heartbeat = self._kind.heartbeat(clock, self._extend, self._bug)
        self._lag = LagMeter(clock, lambda: self._capacity.taken > self._capacity.polling)
        self.context = context = QueueContext(
            queue=source.name,
            source=source,
            client=client,
            ledger=self._kind.ledger,
            health=self._health,
            options=options,
            act=self._act,
            moved=self._heartbeat.reschedule,
            left=self._left if source.fifo else self._capacity.settled,
            emit=emit,
            clock=clock,
            wall=wall,
            draw=draw,
            outage=outage_of(options, source.name, lambda: self._kind.payloads, self._health, clock, draw=draw),
        )
        self._extender = self._kind.extender(context)
        self._harvester = self._kind.harvester(context)
        self._dead_letters = DeadLetters(context)
        self._gated, self._lane = self._make_lane(handler, application)
        self.sizing = Sizing(
            options, handler.is_coroutine, self._lane, self._gate, self._throttler, self._capacity, self._wake
        )
        self._worker = self._kind.worker(
            context,
            throttler=self._throttler,
            capacity=self._capacity,
            lane=self._lane,
            handler=handler.name,
            lane_closed=self._lane_closed,
        )
        self._routed = handler if isinstance(handler, RoutedHandler) else None
        self._stopping = Stopping(options, clock)
        self._drain = self._make_drain()
        self.pollers = self._make_pollers(handler)
        self.watched = Watched(watch, self._worker.take, context, self._capacity, handler, self.pollers)

    def _make_lane(
        self, handler: AnyHandler, application: asyncio.AbstractEventLoop
    ) -> tuple[GatedLane | None, Lane[Delivery]]:
        """The lane of the handlers, perhaps behind a gate, and that gate's lane if there is one."""
        lane = self._kind.lane(self.context, handler, application, self._lane_closed)
        gate = gated(lane, self._gate, self._answers, lane_closed=self._lane_closed, clock=self._clock)
        return gate, gate or lane

    def _make_drain(self) -> Drain:
        context, stopping, capacity = self.context, self._stopping, self._capacity
        answers, settle = self._answers, self._answered
        return Drain(context, stopping, capacity, self._worker, self._lane, answers=answers, settle=settle)

    def _make_pollers(self, handler: AnyHandler) -> Pollers:
        take = self._worker.take if handler.is_coroutine or self._options.thread_count == 1 else self._take_watched
        receiver = self._kind.receiver(self.context.client, self._clock)
        return Pollers(self.context, self._throttler, self._capacity, lag=self._lag, receiver=receiver, take=take)

    # What the parts ask for

    def _act(self, action: Action, deliveries: Sequence[Delivery]) -> None:
        """Have an action carried out: the one place where actions are interpreted."""
        if action is Action.DELETE:
            self._harvester.add(deliveries)
        elif action is Action.RELEASE:
            self._extender.release(deliveries)
        elif action is Action.RELEASE_IN_TIME:
            self._extender.release_in_time(deliveries)
        elif action is Action.COPY:
            self._dead_letters.add(deliveries)
        elif action is Action.COPY_LATER:
            self._worker.copy_later(deliveries)

    def _extend(self, due: Sequence[Delivery]) -> None:
        self._extender.extend(due)
        self.context.left()  # leases that have ended may have left the ledger

    def _left(self) -> None:
        self._capacity.settled()
        self._worker.look()

    def _bug(self, what: str, error: BaseException) -> None:
        self._emit(InternalError(self.source.name, what, error))

    def _answered(self, answers: list[Answer[Delivery]]) -> None:
        if self._kind.payloads is not None:
            self._kind.payloads.let_go(answers)
        if self._gated is None:
            self._worker.answered(answers)
        else:
            self._gated.answers(answers, self._worker.answered)

    def _wake(self) -> None:
        """Its share may have slots for it."""
        self._capacity.give_back(0)
        if self._gated is not None:
            self._gated.look()

    def _on_lost(self, row: Delivery) -> None:
        self._worker.lost(row)

    def _take_watched(self, fresh: Sequence[Delivery]) -> None:
        """Many threads may keep the engine from the GIL: measure how late its loop is while they run."""
        self._lag.watch()
        self._worker.take(fresh)

    def _lane_closed(self) -> None:
        """No handler can run any more: receiving more would only use up the messages' receive counts."""
        if not self._stopping.asked.is_set():
            self._stop_because(
                StopReason.LOOP_CLOSED,
                "the event loop that its handlers run on is closed; stop the consumer before its loop ends, or use "
                "`async with`",
            )

    def _stop_because(self, reason: StopReason, detail: str) -> None:
        self._emit(StopForced(self.source.name, detail))
        self.stop(reason=reason, detail=detail)

    # The tree

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until stopped; `ready` is called when the first poll is about to start."""
        try:
            await self._lane.open()
            async with (
                asyncio.timeout(None) as limit,
                serve(self._extender),  # opened first, closed last: releases go out after everything
                serve(self._heartbeat),  # goes on while acks are flushed (L4)
                serve(self._harvester),
                serve(self._dead_letters),
            ):
                self._emit(QueueOpened(self.source.name, self.source.url, self.context.client))
                self._enter(Change.OPENED)
                await self._poll(ready)
                await self._drain.run()
                self._enter(Change.DRAINED)
                limit.reschedule(asyncio.get_running_loop().time() + self._options.flush_timeout)
        except TimeoutError:
            if left := sum(not row.open for row in self._kind.ledger):
                self._emit(SettlementsLeft(self.source.name, left, self._options.flush_timeout))
        finally:
            self._lag.close()
            self.watched.close()
            self._answers.close()  # before `end`: from now on a handler that settles its message raises `Closed`
            self._worker.end()
            self._enter(Change.ENDED)
            await self._lane.close()

    def _enter(self, change: Change) -> None:
        self.phase = next_phase(self.phase, change)
        self._stopping.entered(change)
        self._emit(PhaseChanged(self.source.name, self.phase.value, self.sizing.options.concurrency))

    async def _poll(self, ready: Callable[[], None]) -> None:
        """Receive until quiet; at the stop, give back what was not started and let the polls in flight end.

        SQS may have handed these polls messages already (L22). They stay open for `poll_grace`, and as long as handlers
        run: waiting for those costs nothing more. An answer that is cut off leaves its messages hidden.
        """
        async with asyncio.TaskGroup() as tasks:
            self.pollers.open(tasks)
            if self._paused:
                self._enter(Change.PAUSE)
            ready()
            await self._until_quiet()
            if not self._stopping.asked.is_set():
                self._enter(Change.QUIET)
                self._capacity.close()
                await self._stopping.asked.wait()  # polls in flight end by themselves meanwhile
            self._enter(Change.STOP)
            self._worker.stop()
            await self.pollers.end(partial(self._stopping.enough_grace, self._capacity.idle))
        await self._drain.polls_ended()

    async def _until_quiet(self) -> None:
        if not self._options.exit_on_unusable:
            await self._stopping.quiet.wait()
            return
        await first_of(self._stopping.quiet.wait(), self._health.unusable.wait())
        if not self._stopping.quiet.is_set():
            self._stop_because(StopReason.UNUSABLE, f"the queue is unusable: {self._health.problem}")

    # Verbs

    def pause(self) -> None:
        """Receive nothing until `resume`; what is here is run. May be called again, and at any time."""
        self._paused = True
        if self.phase is Phase.RUNNING:
            self._enter(Change.PAUSE)
        self.pollers.rest()

    def resume(self) -> None:
        """Receive again after a `pause`; after `quiet` or `stop` this changes nothing."""
        self._paused = False
        if self.phase is Phase.PAUSED and not self._stopping.quiet.is_set():
            self._enter(Change.RESUME)
        if self.phase in {Phase.STARTING, Phase.RUNNING}:
            self.pollers.resume()

    def quiet(self) -> None:
        """Receive nothing more; what is here is run."""
        self._stopping.quiet.set()
        self.pollers.rest()

    def stop(self, *, force: bool = False, reason: StopReason = StopReason.CALL, detail: str = "stop()") -> None:
        """Stop: drain and close; `force` cuts the drain short. May be called again, and at any time."""
        self._stopping.ask(force=force, reason=reason, detail=detail)
        self.pollers.rest()

    # What it looks like

    @property
    def healthy(self) -> bool:
        """Whether it receives, or is paused, and settles, as far as is known."""
        return self.phase in {Phase.RUNNING, Phase.PAUSED} and self._health.healthy(self._clock())

    @property
    def problem(self) -> Exception | None:
        """The error that keeps it from working and will not pass by itself."""
        return self._health.problem

    def outlasts(self, seconds: float) -> bool:
        """Whether handlers run now that take longer: one has, or their median is longer. From any thread."""
        starts = self._kind.ledger.starts()
        return bool(starts) and max(self._clock() - min(starts), self._throttler.handler_seconds) > seconds

    def snapshot(self) -> RunnerSnapshot:
        """Every part at this moment; may be called from any thread."""
        now, starts = self._clock(), self._kind.ledger.starts()
        return RunnerSnapshot(
            queue=self.source.name,
            phase=self.phase,
            healthy=self.healthy,
            problem=self.problem,
            seconds=now - self._began,
            concurrency=self.sizing.options.concurrency,
            slots=self.sizing.options.slots,
            busy=self._worker.busy,
            running_seconds=max(0.0, now * len(starts) - sum(starts)),
            stop=self._stopping.statistics(),
            taken=self._capacity.taken,
            pollers=len(self.pollers),
            lag=self._lag.seconds,
            longest_lag=self._lag.longest,
            loop_blocked=self.watched.blocked_seconds,
            loop_blocked_by=str(self.watched.blocked or ""),
            ledger=self._kind.ledger.statistics(now),
            lane=self._lane.statistics(),
            gate=self._gate.statistics(now) if self._gate is not None else None,
            throttler=self._throttler.statistics(),
            deletes=self._harvester.batcher.statistics(),
            extensions=self._extender.extensions.statistics(),
            releases=self._extender.releases.statistics(),
            groups=self._kind.statistics(),
            routes=self._routed.statistics() if self._routed is not None else None,
        )

    def __repr__(self) -> str:
        return f"<Runner {self.snapshot().words}>"
