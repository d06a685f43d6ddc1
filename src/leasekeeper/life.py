"""One life of a consumer, from a start to the end of its stop.

Made by `Consumer.begin`, lived on the engine's loop. It promises that both of its futures come to an end, that a stop
while it starts ends it at once, and that it is drained when the process ends (`leasekeeper.alive`).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from leasekeeper.alive import alive
from leasekeeper.core.phases import Change, Phase, next_phase
from leasekeeper.engine.drain import END_GRACE
from leasekeeper.engine.host import LINGER, Host
from leasekeeper.engine.opening import open_queue
from leasekeeper.engine.runner import Runner
from leasekeeper.engine.shared_capacity import announce, arrived, withdraw
from leasekeeper.engine.stopping import StopReason
from leasekeeper.engine.store_check import ask_store
from leasekeeper.errors import Closed, LeasekeeperError
from leasekeeper.futures import running_future
from leasekeeper.guard import signal_received
from leasekeeper.keeper import VARIABLE
from leasekeeper.lanes.parameters import NO_LIFESPAN
from leasekeeper.lifespan import CANCELLED_GRACE
from leasekeeper.loggers import safe_logger
from leasekeeper.observe.statistics import Observer, Report
from leasekeeper.sending.senders import Senders
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import settings_for

if TYPE_CHECKING:
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from leasekeeper.api import SqsApi
    from leasekeeper.channel import Channel
    from leasekeeper.keeper.link import KeeperLink
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lifespan import Lifespan
    from leasekeeper.options import Options
    from leasekeeper.sqs.address import QueueAddress

log = safe_logger("leasekeeper.run")


class Life:
    """What a consumer is between `begin` and the end of its stop.

    Attributes:
        ready: done when it receives, or fails with the reason when it could not start.
        observer: its counts and logs.
        ended: done when everything is settled and closed; its threads are then gone, if nothing else uses them.
    """

    def __init__(
        self,
        address: QueueAddress,
        handler: AnyHandler,
        options: Options,
        *,
        host: Host,
        lifespan: Lifespan | None,
        senders: Senders,
        channel: Channel,
    ) -> None:
        self._address = address
        self._handler = handler
        self._options = options
        # Worker processes open the lifespan and the senders themselves.
        inside = handler.blueprint is not None
        self._lifespan = None if inside else lifespan
        self._senders = Senders() if inside else senders
        self._host = host
        self._channel = channel
        self.observer = Observer(channel, options, handler.name)
        self._pid = os.getpid()
        self._task: asyncio.Task[Report] | None = None
        self._failure: Exception | None = None
        self._own_loop = False
        self._phase = next_phase(Phase.NEW, Change.START)
        self.runner: Runner | None = None
        self._keeper: KeeperLink | None = None
        self.stop_asked = False
        self._force_asked = False
        self._quiet_asked = False
        self._pause_asked = False
        self.ready: Future[None] = running_future()
        self.ended: Future[Report] = running_future()

    @property
    def forked(self) -> bool:
        """Whether it was begun in the parent process: none of its threads exist here."""
        return self._pid != os.getpid()

    def closed_here(self) -> Closed:
        """The error for what cannot be done in a forked child."""
        return Closed(
            f"consumer of {self._address.name} was started by process {self._pid}; this is its child {os.getpid()}, "
            "where no consumer runs: start it here, or stop it there"
        )

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self._phase if self.runner is None else self.runner.phase

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._address.name

    # Verbs

    def begin(self, application: asyncio.AbstractEventLoop | None) -> None:
        """Begin; coroutine handlers and the lifespan run on `application`; if it is None, on the host's loop for them.

        Raises:
            OSError: no thread or loop can be made.
        """
        engine = self._host.engine.enter()
        try:
            if application is None and (self._handler.is_coroutine or self._lifespan is not None):
                application, self._own_loop = self._host.handlers.enter(), True
        except BaseException:
            self._host.engine.leave()
            raise
        alive.add(self)
        announce(self, self._options)
        lived = asyncio.run_coroutine_threadsafe(self._live(application or engine), engine)
        lived.add_done_callback(self._after)

    def stop(self, *, force: bool = False) -> None:
        """Ask for its end; takes no lock, so that signal handlers may call it."""
        self.stop_asked = True
        self._force_asked |= force
        if not self.forked:
            self._host.engine.call_soon(self._pass_on_stop)

    def _pass_on_stop(self) -> None:
        if self.runner is not None:
            self._stop(self.runner)
        elif self._task is not None:
            self._task.cancel()  # nothing was received yet: there is nothing to wait for

    def _stop(self, runner: Runner) -> None:
        if name := signal_received():
            runner.stop(force=self._force_asked, reason=StopReason.SIGNAL, detail=name)
        else:
            runner.stop(force=self._force_asked)

    def quiet(self) -> None:
        """Receive nothing more."""
        self._quiet_asked = True
        self._host.engine.call_soon(self._pass_on_quiet)

    def _pass_on_quiet(self) -> None:
        if self.runner is not None:
            self.runner.quiet()

    def pause(self, *, on: bool) -> None:
        """Receive nothing until this is called with `on=False`. The last call counts, from whichever thread."""
        self._pause_asked = on
        self._host.engine.call_soon(self._pass_on_pause)

    def _pass_on_pause(self) -> None:
        if self.runner is not None:
            (self.runner.pause if self._pause_asked else self.runner.resume)()

    # On the engine's loop

    async def _live(self, application: asyncio.AbstractEventLoop) -> Report:
        self._task = asyncio.current_task()
        if self.stop_asked:  # before it could be passed on
            self._pass_on_stop()
        client: SqsApi | None = self._options.client
        report = Report.empty(self._address.name)
        try:
            await self._senders.enter(self._options)
            handler = await self._bound(application)
            if client is None:
                client = await SqsClient.connect(settings_for(self._address, self._options))
            runner = await self._open(client, handler, application)
            with self._protected(runner):
                await runner.run(lambda: self.ready.set_result(None))
            report = self._report(runner)
        except BaseException as error:
            if self.ready.done():
                raise
            early = isinstance(error, asyncio.CancelledError) and self.stop_asked
            self._failure = self._stopped_early() if early else self._failed(error)
        finally:
            self._task = None  # a stop has nothing to cancel any more
            arrived(self, self._options)
            if self._keeper is not None:
                from leasekeeper.engine.keeper_parts import close_link

                await close_link(self._keeper)
            if client is not None and self._options.client is None:
                await self._close(client)
            close_idle = getattr(self._options.idempotency, "close_idle", None)
            if close_idle is not None:
                close_idle()
            report = await self._leave_lifespan(report)
            await self._senders.leave()
            if self._own_loop:
                await self._leave_handlers()
        return report

    async def _bound(self, application: asyncio.AbstractEventLoop) -> AnyHandler:
        """The handler with what the lifespan yields."""
        if self._handler.blueprint is not None:
            return self._handler
        if self._lifespan is None:
            return self._handler.bound(NO_LIFESPAN)
        return self._handler.bound(await self._lifespan.enter(application))

    async def _leave_lifespan(self, report: Report) -> Report:
        """Leave the lifespan after the last ack; the last of its users closes it, and reports its error."""
        if self._lifespan is None:
            return report
        error = await self._lifespan.leave(self._options.lifespan_timeout)
        return report if error is None else replace(report, lifespan_error=str(error))

    async def _open(self, client: SqsApi, handler: AnyHandler, application: asyncio.AbstractEventLoop) -> Runner:
        target = await open_queue(client, self._address, self._options)
        await ask_store(self._options, target)
        if self._options.keeper or VARIABLE in os.environ:
            from leasekeeper.engine.keeper_parts import open_link

            self._keeper = await open_link(client, self._options, target)
        runner = self.runner = Runner(
            target,
            client,
            handler,
            self._options,
            application=application,
            emit=self._channel.emit,
            clock=time.monotonic,
            draw=random.random,
            keeper=self._keeper,
            watch=None if self._handler.blueprint is not None else self._host.watch_of(application),
        )
        arrived(self, self._options)
        self.observer.attach(runner)
        if self._pause_asked:
            runner.pause()
        if self._quiet_asked:
            runner.quiet()
        if self.stop_asked:
            self._stop(runner)
        return runner

    def _protected(self, runner: Runner) -> AbstractContextManager[None]:
        """Have ECS spare the task while handlers run that a stop would cut off, if that is wanted."""
        if not self._options.ecs_protection:
            return nullcontext()
        from leasekeeper.ecs import protected

        return protected(lambda: runner.outlasts(self._options.drain_timeout))

    def _report(self, runner: Runner) -> Report:
        """What it did. Messages still open are an error that a person has to see, like an exit code above 0."""
        report = self.observer.report(runner)
        log_unsettled(report)
        return report

    async def _close(self, client: SqsApi) -> None:
        try:
            async with asyncio.timeout(LINGER):
                await client.close()
        except Exception as error:  # a transport may be a user's
            log.warning("queue %s: closing the connections failed with %r", self._address.name, error)

    async def _leave_handlers(self) -> None:
        """Leave the handlers' loop; its thread is waited for here, where a handler that blocks it can be timed out."""
        gone = asyncio.wrap_future(self._host.handlers.leave())
        await asyncio.wait((gone,), timeout=2 * LINGER)
        if not gone.done():
            where = self._host.handlers.place()
            log.error("queue %s: the handlers' event loop is still in %s and is left behind", self._address.name, where)

    def _failed(self, error: BaseException) -> Exception:
        """The error of a start; a transport or a client of the user's may raise what would end a task or a process."""
        if isinstance(error, Exception):
            return error
        failed = LeasekeeperError(f"consumer of {self._address.name} could not start: {error!r} was raised")
        failed.__cause__ = error
        return failed

    def _stopped_early(self) -> Closed:
        return Closed(f"consumer of {self._address.name} was stopped while it was starting")

    # Its end

    def _after(self, lived: Future[Report]) -> None:
        """Leave the engine, and tell those that wait when its thread is gone."""
        self._host.engine.leave().add_done_callback(lambda _: self._conclude(lived))

    def _conclude(self, lived: Future[Report]) -> None:
        alive.discard(self)
        withdraw(self, self._options)  # for one that was cancelled before it ran
        self._phase = next_phase(self._phase, Change.ENDED)
        error = self._stopped_early() if lived.cancelled() else lived.exception()
        if error is None:
            self.ended.set_result(lived.result())
        else:
            self.ended.set_exception(error)
        if not self.ready.done():
            self.ready.set_exception(self._failure or error or self._stopped_early())

    @property
    def longest_stop(self) -> float:
        """Seconds that its stop may take, all time-outs together."""
        ours = longest_stop(self._options, lifespan=self._lifespan is not None)
        return ours + self._senders.longest_stop

    def __repr__(self) -> str:
        return f"<Life of {self._address.name}>"


def log_unsettled(report: Report) -> None:
    """Say how many messages were not settled: those that come again, and those that others may have handled since."""
    if earlier := report.unsettled - report.still_open:
        one = "1 finished message could not be deleted earlier; it may have been handled again since"
        many = f"{earlier} finished messages could not be deleted earlier; they may have been handled again since"
        log.warning("queue %s: %s", report.queue, one if earlier == 1 else many)
    if report.still_open:
        one = "1 message was received and not settled; it comes again"
        many = f"{report.still_open} messages were received and not settled; they come again"
        log.error("queue %s: %s", report.queue, one if report.still_open == 1 else many)


def longest_stop(options: Options, *, lifespan: bool) -> float:
    """Seconds that a stop with these options may take, all time-outs together."""
    waits = max(options.poll_grace, options.drain_timeout)  # polls in flight end while handlers drain
    closing = options.lifespan_timeout + CANCELLED_GRACE if lifespan else 0.0
    return waits + END_GRACE + options.flush_timeout + closing + 2 * LINGER
