"""The worker: the handler of a worker process, and the messages that it was given.

Owned by the process's main thread, or by a test in its place. It promises to run one message or batch at a time, in the
order in which they come.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from leasekeeper.injection import Injection
from leasekeeper.lanes.failures import outcome_of_error
from leasekeeper.lanes.handler_context import BatchHandlerInContext, HandlerInContext
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.lanes.parameters import NO_LIFESPAN, NOT_YET, Resources
from leasekeeper.lanes.processes.endings import rss_of
from leasekeeper.lanes.processes.frames import Counted, Ended, Ready, RunBatch, Started, pack_outcome
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.outcomes import NOT_STARTED, Outcome, Settled
from leasekeeper.sending.senders import Senders
from leasekeeper.worker_process.batches import RemoteBundle
from leasekeeper.worker_process.logs import forward
from leasekeeper.worker_process.remote import RemoteDelivery, Saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.lanes.processes.blueprint import HandlerPlan
    from leasekeeper.lanes.processes.frames import Run
    from leasekeeper.lanes.processes.frames import Settled as SettledFrame
    from leasekeeper.worker_process.channel import Channel


class Worker:
    """Runs what one worker process is given.

    Args:
        channel_to: makes the channel to the engine, given what takes its frames.
        tell_rss: whether the engine is told of the memory after each message.

    Attributes:
        channel: to the engine.
        is_coroutine: whether the handler is an `async def`.
    """

    def __init__(self, channel_to: Callable[..., Channel], *, tell_rss: bool) -> None:
        self.channel = channel_to(take=self._take, recall=self._recall, finish=self._finish, settled=self._settled)
        self._say: Any = Saying(self.channel)
        self._tell_rss = tell_rss
        self._handler: Any = None
        self._counters: Any = None
        self.is_coroutine = False
        self._resources = AsyncExitStack()
        self._waiting: queue.SimpleQueue[Run | RunBatch | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._came = asyncio.Event()

    async def open(self, blueprint: bytes, log_level: int | None) -> None:
        """Import the user's modules, make the handler, and open the lifespan.

        Args:
            blueprint: what it is made of.
            log_level: from which on records go to the engine; None: they stay here.
        """
        self._loop = asyncio.get_running_loop()
        plan: HandlerPlan = pickle.loads(blueprint)  # noqa: S301 - from the process that started this one
        if log_level is not None:
            forward(self.channel, log_level)
        senders = Senders()
        injection = Injection(senders)
        if plan.injector is not None:
            injection.use(plan.injector)
        parts: Any = {"queue": plan.queue, "injection": injection}
        make_handler(plan.resolved(), plan.options, resources=NOT_YET, **parts)  # learns which senders there are
        await senders.enter(plan.options)
        self._resources.push_async_callback(senders.leave)
        resources: Resources = NO_LIFESPAN
        if plan.lifespan is not None:
            resources = Resources(await self._resources.enter_async_context(plan.lifespan(None)))
        handler: Any = make_handler(plan.resolved(), plan.options, resources=resources, **parts)
        self.is_coroutine = handler.is_coroutine
        self._counters = getattr(plan.options.idempotency, "counts", None)

        wrap: Any = partial(BatchHandlerInContext if plan.options.batch else HandlerInContext, queue=plan.queue)
        self._handler = handler.around(wrap) if isinstance(handler, RoutedHandler) else wrap(handler)
        self.channel.send(Ready())
        self.channel.start()

    async def close(self) -> None:
        """Close the lifespan, and what was sent."""
        await self._resources.aclose()

    # On the reading thread

    def _take(self, run: Run | RunBatch) -> None:
        self._waiting.put(run)
        self._wake()

    def _finish(self) -> None:
        self._waiting.put(None)
        self._wake()

    def _wake(self) -> None:
        if self.is_coroutine and self._loop is not None:
            self._loop.call_soon_threadsafe(self._came.set)

    def _recall(self) -> None:
        """Give back what waits. Race: the main thread may take one at this moment; it runs that one."""
        back: list[Run | RunBatch] = []
        ends = False
        try:
            while True:
                item = self._waiting.get_nowait()
                if item is None:
                    ends = True
                else:
                    back.append(item)
        except queue.Empty:
            pass
        if back:
            self.channel.send(*(Ended(run.message, pack_outcome(NOT_STARTED)) for run in back))
        if ends:
            self._finish()

    def _settled(self, frame: SettledFrame) -> None:
        delivery = self._say.waiting.pop(frame.message, None)
        if delivery is not None and delivery.settlement is not None:
            delivery.settlement.resolve(Settled(frame.how))

    # On the main thread

    def serve_blocking(self) -> None:
        """Run message after message, until no more come; for `def` handlers."""
        while (run := self._waiting.get()) is not None:
            unit = self._started(run)
            self._ended(unit, self._handler.run_blocking(self._say, unit))

    async def serve(self) -> None:
        """Run message after message, until no more come; for `async def` handlers."""
        while (run := await self._next()) is not None:
            unit = self._started(run)
            try:
                outcome: Outcome = await self._handler.run(self._say, unit)
            except BaseException as error:  # a handler that cancels its own task
                outcome = outcome_of_error(error)
            self._ended(unit, outcome)

    def _started(self, run: Run | RunBatch) -> RemoteDelivery | RemoteBundle:
        unit: RemoteDelivery | RemoteBundle
        if isinstance(run, RunBatch):
            unit = RemoteBundle(self.channel, run, self._say)
        else:
            unit = RemoteDelivery(self.channel, run)
        unit.started = self.channel.clock()
        self.channel.send(Started(run.message, unit.started))
        return unit

    def _ended(self, unit: RemoteDelivery | RemoteBundle, outcome: Outcome) -> None:
        if isinstance(unit, RemoteBundle):
            unit.tell()
        if self._counters is not None and (counts := self._counters.taken()):
            self.channel.send(Counted(counts))
        rss = rss_of(os.getpid()) if self._tell_rss else 0
        self.channel.send(Ended(unit.number, pack_outcome(outcome), rss, unit.handler))

    async def _next(self) -> Run | RunBatch | None:
        while True:
            self._came.clear()
            try:
                return self._waiting.get_nowait()
            except queue.Empty:
                await self._came.wait()
