"""The consumer: a queue, a handler and options; `start()`, `stop()`, `run()`.

Owned by the user. It works from synchronous code, inside a running event loop and as `async with`; its engine has a
thread and a loop for itself. It promises that a stop ends in bounded time, and that it can be started again.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from leasekeeper.alive import beginning
from leasekeeper.channel import Channel
from leasekeeper.core.phases import Phase
from leasekeeper.declaration import Declaration
from leasekeeper.engine.host import Host, refuse_green_threads
from leasekeeper.errors import Closed
from leasekeeper.futures import done_future, failed_future
from leasekeeper.given_options import GivenOptions
from leasekeeper.life import Life, longest_stop
from leasekeeper.lifespan import Lifespan
from leasekeeper.observe.statistics import ConsumerStatistics, Report
from leasekeeper.running import Completion, in_event_loop, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from leasekeeper.engine.runner import Runner
    from leasekeeper.events import Event
    from leasekeeper.injection import Injection, Injector
    from leasekeeper.option_values import OptionValues
    from leasekeeper.options import Options
    from leasekeeper.routing import When

T = TypeVar("T")


class Consumer(Declaration):
    """Consumes a queue with a handler.

    It can be started again after its stop.

    Args:
        queue: the queue's name, URL or ARN.
        handler: a function, `async def` (runs on the application's event loop) or `def` (runs in threads). Its first
            parameter, annotated with `Message` or `Message[T]`, receives the message; annotated with another type, the
            decoded body; without an annotation, a `Message[str]`. Further parameters receive by their types the message
            (`Message`), what the lifespan yields and what the injector gives; others with a default keep it. Returning
            deletes the message;
            raising retries it with back-off; `Retry` and `Reject` decide otherwise. With `batch`: a `Batch` or a list.
        when: which messages the handler takes (`leasekeeper.routing`), where the queue has several: `add_handler`.
        options: all options in one object.
        lifespan: what to open before the first poll and to close after the last ack, as `Leasekeeper` has it; it is
            called with the consumer.
        inject: what gives further parameters to handlers, as `Leasekeeper.inject` has it.
        host: threads to share with other consumers; an app passes its own.
        values: single options, by name; see the page of options in the reference.

    Raises:
        ConfigurationError: a handler with a wrong signature, a malformed queue, or options that cannot work together.
    """

    def __init__(
        self,
        queue: str,
        handler: Callable[..., Any],
        *,
        options: Options | None = None,
        when: When | None = None,
        lifespan: Callable[[Consumer], AbstractAsyncContextManager[Any]] | Lifespan | None = None,
        inject: Injector | Callable[[], Injector] | Injection | None = None,
        host: Host | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        given = GivenOptions(values, options)
        self.lifespan = lifespan if isinstance(lifespan, Lifespan) else None
        if lifespan is not None and self.lifespan is None:
            self.lifespan = given.noted(Lifespan, lifespan, self)
        opens: Any = getattr(lifespan, "function", lifespan)
        super().__init__(queue, handler, when, given, lifespan=opens, inject=inject)
        self._host = host or Host(f"leasekeeper-{self.address.name}")
        self._life: Life | None = None
        self.subscriptions: list[tuple[Callable[[Any], object], tuple[type[Event], ...]]] = []
        self._channel = Channel()
        self.measured = False

    # Verbs

    def start(self) -> Completion[None]:
        """Start consuming. Coroutine handlers run on the loop this is called in, or on one of ours.

        Returns:
            In an event loop, something to await; in synchronous code it has waited already. A second call while it runs
            changes nothing.

        Raises:
            QueueUnusable: the queue does not exist, cannot be reached, or we may not use it.
            CredentialsMissing: no credentials were found.
            LifespanError: the lifespan failed to open.
            ConfigurationError: the lifespan does not yield what a parameter of the handler needs; or gevent or eventlet
                has patched this process.
            Closed: a stop was asked for, and has not ended yet.
        """
        return Completion(self.begin())

    def begin(self) -> Future[None]:
        """`start()` without waiting: a future that is done when it receives, or has failed to start. Never raises."""
        with beginning:
            life = self._life
            if life is not None and not life.forked and not life.ended.done():
                if life.stop_asked:
                    return failed_future(Closed(f"consumer of {self.address.name} is stopping: await its stop() first"))
                return life.ready
            self._channel = Channel()
            self.warn()
            life = Life(
                self.address,
                self.handler,
                self.options,
                host=self._host,
                lifespan=self.lifespan,
                senders=self.senders,
                channel=self._channel,
            )
            if self.measured:
                life.observer.measure()
            for subscriber, kinds in self.subscriptions:
                self._channel.subscribe(subscriber, *kinds)
            try:
                refuse_green_threads()
                life.begin(asyncio.get_running_loop() if in_event_loop() else None)
            except Exception as error:
                return failed_future(error)
            self._life = life
            return life.ready

    def stop(self, *, force: bool = False) -> Completion[Report]:
        """Stop: drain, settle, close. Legal at any time, and more than once.

        In a signal handler, and in a `def` handler, which it would wait for, call `request_stop()` instead.

        Args:
            force: do not wait for running handlers: cancel them, and give their messages back.

        Returns:
            The report of what the consumer did: await it in an event loop; in synchronous code call `.result()`.

        Raises:
            Closed: in a forked child of the process that started the consumer.
        """
        completion = Completion(self.finish(force=force))
        if not in_event_loop():
            self._host.join()
        return completion

    def finish(self, *, force: bool = False) -> Future[Report]:
        """`stop()` without waiting: a future with the report. Never raises."""
        life = self._life
        if life is None:
            return done_future(Report.empty(self.address.name))
        if life.forked:
            return failed_future(life.closed_here())
        life.stop(force=force)
        return life.ended

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop without waiting; takes no lock, so that signal handlers may call it."""
        if self._life is not None:
            self._life.stop(force=force)

    def pause(self) -> None:
        """Receive nothing until `resume()`; what is here is run, and its leases are kept.

        Open polls are not cut off: what they still bring, within `wait_time`, is run too. A paused consumer is healthy
        but not ready. Returns at once, may be called from any thread and from handlers, and more than once. Does
        nothing before the start; the next start begins without a pause.
        """
        if self._life is not None and not self._life.forked:
            self._life.pause(on=True)

    def resume(self) -> None:
        """Receive again after `pause()`. Does nothing after `quiet()` or a stop. Callable as `pause()` is."""
        if self._life is not None and not self._life.forked:
            self._life.pause(on=False)

    def quiet(self) -> None:
        """Receive nothing more; what is here is run. A `stop()` still has to follow. Does nothing before the start."""
        if self._life is not None:
            self._life.quiet()

    def set_concurrency(self, concurrency: int) -> Completion[str]:
        """Let this many handlers run at the same time, until the next start. Those that are too many run to their end.

        Args:
            concurrency: 1 to 120,000; with batches, the number of batches; of worker processes 1 to 1,024.

        Returns:
            A sentence that says what has changed (`payload_memory` does not: it is a number of bytes); as `start`.

        Raises:
            ConfigurationError: the number is out of bounds, or this consumer cannot have another: its handlers are
                shared, or its lane has a fixed size.
            Closed: the consumer is not running here.
        """
        done = self.on_engine(lambda runner: runner.sizing.change(concurrency, runner.context.clock()))
        if done is None:
            raise Closed(f"consumer of {self.address.name} does not run: set concurrency= in its options instead")
        return Completion(done)

    async def wait(self) -> Report:
        """Wait until it has ended by itself (`exit_on_unusable`) or was stopped."""
        if self._life is None:
            raise Closed(f"consumer of {self.address.name} was not started")
        return await asyncio.wrap_future(self._here(self._life).ended)

    def run(self) -> Report:
        """Start, work until SIGTERM or SIGINT, drain, and report. A second signal cuts the drain short.

        In the main thread its end is bounded by `longest_stop`: `drain_timeout` (or `poll_grace`, if that is longer),
        `flush_timeout`, and a few seconds for what handlers leave behind. If a handler still blocks the main thread
        then, the process ends with exit code 1. In a script, `sys.exit(consumer.run().still_open > 0)` tells its
        caller, as `leasekeeper run` does, whether messages are left that come again.
        """
        report: Report = run(self)
        return report

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()  # this was cancelled, or timed out: the start does not go on without us
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._host.join(1.0)  # they have ended but for their last instructions

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[Event]) -> None:
        """Call `subscriber(event)` for each event of these kinds (`leasekeeper.events`); without one, for every event.

        It is called on the engine's thread: it has to be quick and must not block. What it raises is logged.
        """
        self.subscriptions.append((subscriber, kinds))
        self._channel.subscribe(subscriber, *kinds)

    def measure(self) -> None:
        """Measure every message from now on, for `statistics().durations`; it stays so when it is started again.

        Exporters of metrics call it. It costs one to two microseconds a message. May be called again, from any thread.
        """
        self.measured = True
        if self._alive is not None:
            self._alive.observer.measure()

    # What it looks like

    @property
    def _alive(self) -> Life | None:
        """Its present life in this process."""
        life = self._life
        return life if life is not None and not life.forked and not life.ended.done() else None

    @property
    def _running(self) -> bool:
        return self._alive is not None

    @staticmethod
    def _here(life: Life) -> Life:
        if life.forked:
            raise life.closed_here()
        return life

    @property
    def runner(self) -> Runner | None:
        """The engine of its present life, for what observes it; None when it does not run here."""
        life = self._alive
        return None if life is None else life.runner

    @property
    def phase(self) -> Phase:
        """How far it has come: new, starting, running, paused, quiet, draining, flushing or closed."""
        return self._life.phase if self._life is not None and not self._life.forked else Phase.NEW

    @property
    def healthy(self) -> bool:
        """Whether it receives, or is paused, and settles, as far as is known.

        False before the start, and from a stop or quiet on.
        """
        runner = self.runner
        return runner is not None and runner.healthy

    @property
    def ready(self) -> bool:
        """Whether it receives messages now: healthy, not paused, and no stop was asked for."""
        life = self._alive
        return self.healthy and self.phase is Phase.RUNNING and life is not None and not life.stop_asked

    @property
    def problem(self) -> Exception | None:
        """The error that keeps it from receiving and will not pass by itself, or that ended it; None without one."""
        life = self._life
        return life.runner.problem if life is not None and not life.forked and life.runner is not None else None

    @property
    def ends(self) -> Sequence[Future[Report]]:
        """A future that is done when its present life has ended, if there is one."""
        return [self._life.ended] if self._life is not None else []

    @property
    def longest_stop(self) -> float:
        """Seconds that a stop may take, all its time-outs together."""
        return longest_stop(self.options, lifespan=self.lifespan is not None)

    def statistics(self) -> ConsumerStatistics | None:
        """A snapshot; None before the start.

        Raises:
            Closed: in a forked child of the process that started the consumer.
        """
        life = self._life
        if life is None or (runner := self._here(life).runner) is None:
            return None
        return life.observer.statistics(runner)

    def engine_turn(self) -> Future[None]:
        """A future that is done when the engine's loop has run what waits on it: for liveness checks.

        Done already when the engine does not run here. It waits for no handler and for no call.
        """
        return self._host.engine.turn()

    def on_engine(self, work: Callable[[Runner], Coroutine[Any, Any, T]]) -> Future[T] | None:
        """Run a coroutine about its runner on the engine's loop, for what observes it; None when it does not run."""
        runner = self.runner
        return None if runner is None else self._host.engine.begin(partial(work, runner))

    def __repr__(self) -> str:
        life = self._life
        if life is None or life.forked or life.runner is None:
            return f"<Consumer {self.address.name} {self.phase.name}>"
        return f"<Consumer{repr(life.runner).removeprefix('<Runner')}"
