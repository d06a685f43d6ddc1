"""The consumer: a queue, a handler and options; `start()`, `stop()`, `run()`.

Owned by the user. It works from synchronous code, from inside anybody's event loop and as `async with`; its engine
has a thread and a loop of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import Future
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, Unpack

from leasekeeper.engine.host import LoopThread
from leasekeeper.engine.opening import open_queue
from leasekeeper.engine.runner import Runner
from leasekeeper.errors import Closed, ConfigurationError
from leasekeeper.lanes.handler import Handler
from leasekeeper.observe.statistics import Report, RunnerStatistics
from leasekeeper.options import Options, make_options
from leasekeeper.running import Completion, in_event_loop, run
from leasekeeper.sqs.address import QueueAddress
from leasekeeper.sqs.client import SqsClient
from leasekeeper.sqs.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from leasekeeper.api import SqsApi
    from leasekeeper.option_values import OptionValues


class Consumer:
    """Consumes a queue with a handler.

    Args:
        queue: the queue's name, URL or ARN. handler: a function of one argument, `async def` (run on the
        application's event loop) or `def` (run in threads).
            Annotated with `Message` or `Message[T]` it receives the message, annotated with a type the decoded body;
            without an annotation a `Message[str]`. Returning acks; raising retries with back-off; `Retry` and `Reject`
            say otherwise.
        options: all options in one object; `values` change single ones. `docs/reference/options.md` lists them.

    Raises:
        ConfigurationError: a handler of the wrong signature, a malformed queue, or options that cannot work together.
    """

    def __init__(
        self,
        queue: str,
        handler: Callable[..., Any],
        *,
        options: Options | None = None,
        host: LoopThread | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        if options is not None and values:
            raise ConfigurationError(
                f"options= together with {', '.join(sorted(values))}: give either an Options object or single options"
            )
        self._queue = queue
        self._function = handler
        self._configure(options or make_options(values))
        self._own_host = host is None
        self._host = host or LoopThread(f"leasekeeper-{self.address.name}")
        self._handlers: LoopThread | None = None
        self._lock = threading.Lock()
        self._ready: Future[None] = Future()
        self._ended: Future[Report] | None = None
        self._task: asyncio.Task[Report] | None = None
        self._runner: Runner | None = None
        self._stop_asked = False
        self._force_asked = False
        self._quiet_asked = False

    def _configure(self, options: Options) -> None:
        self.options = options
        self.address = _address(self._queue, options)
        self.handler = Handler(
            self._function,
            queue=self.address.name,
            timeout=options.handler_timeout,
            middleware=options.middleware,
            log_bodies=options.log_bodies,
        )

    # Verbs

    def configure(self, values: Mapping[str, Any]) -> None:
        """Set options above those in the code, before the start: what flags, environment and files say.

        Raises:
            ConfigurationError: an unknown option, or one that cannot work with the others.
            Closed: the consumer was started already.
        """
        if self._ended is not None:
            raise Closed(f"consumer of {self.address.name} was started: configure it before")
        before = {each.name: getattr(self.options, each.name) for each in fields(Options)}
        self._configure(make_options({**before, **values}))

    def start(self) -> Completion[None]:
        """Start consuming; coroutine handlers run on the loop this is called in, or on one of our own.

        Returns:
            In an event loop something to await; in synchronous code it has waited already. May be called twice.

        Raises:
            QueueUnusable: the queue does not exist, cannot be reached, or we may not use it.
            CredentialsMissing: no credentials were found.
            Closed: the consumer was stopped before; make a new one.
        """
        with self._lock:
            if self._ended is None:
                self._ended = self._host.submit(self._serve(self._application()))
                self._ended.add_done_callback(self._after)
            elif self._ended.done() or self._stop_asked:
                raise Closed(f"consumer of {self.address.name} was stopped: a consumer runs once, make a new one")
        return Completion(self._ready)

    def stop(self, *, force: bool = False) -> Completion[Report]:
        """Stop: drain, settle, close. `force` cuts the drain short. Legal at any time, and more than once.

        Not from a signal handler, nor from inside a `def` handler, which it would wait for: there, `request_stop()`.

        Returns:
            The report of what it did: to be awaited in an event loop, and its `.result()` in synchronous code.
        """
        with self._lock:
            if self._ended is None:
                self._ended = Future()
                self._ended.set_result(Report.empty(self.address.name))
                self._ready.set_exception(Closed(f"consumer of {self.address.name} was stopped before it was started"))
        self.request_stop(force=force)
        completion = Completion(self._ended)
        if not in_event_loop():
            self._join()
        return completion

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop without waiting; takes no lock, so that signal handlers may call it."""
        self._stop_asked = True
        self._force_asked |= force
        ended = self._ended
        if ended is not None and not ended.done():
            self._host.call_soon(self._pass_on_stop)

    def _pass_on_stop(self) -> None:
        if self._runner is not None:
            self._runner.stop(force=self._force_asked)
        elif self._force_asked and self._task is not None:
            self._task.cancel()

    def quiet(self) -> None:
        """Receive nothing more; what is here is run. `stop()` still has to follow."""
        self._quiet_asked = True
        self._host.call_soon(self._pass_on_quiet)

    def _pass_on_quiet(self) -> None:
        if self._runner is not None:
            self._runner.quiet()

    async def wait(self) -> Report:
        """Wait until it has ended by itself (`exit_on_unusable`) or was stopped."""
        if self._ended is None:
            raise Closed(f"consumer of {self.address.name} was not started")
        return await asyncio.shield(asyncio.wrap_future(self._ended))

    def run(self) -> Report:
        """Start, work until SIGTERM or SIGINT, drain, and report. A second signal cuts the drain short."""
        return run(self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await asyncio.to_thread(self._join)

    # On the engine's loop

    def _application(self) -> asyncio.AbstractEventLoop:
        """Where coroutine handlers run."""
        if in_event_loop():
            return asyncio.get_running_loop()
        if not self.handler.is_coroutine:
            return self._host.loop
        self._handlers = LoopThread(f"leasekeeper-{self.address.name}-handlers")
        return self._handlers.loop

    async def _serve(self, application: asyncio.AbstractEventLoop) -> Report:
        self._task = asyncio.current_task()
        client: SqsApi | None = self.options.client
        try:
            if client is None:
                client = await SqsClient.connect(self._settings())
            target = await open_queue(client, self.address, self.options)
            runner = self._runner = Runner(
                target,
                client,
                self.handler,
                self.options,
                application=application,
                clock=time.monotonic,
                draw=random.random,
            )
            if self._quiet_asked:
                runner.quiet()
            if self._stop_asked:
                runner.stop(force=self._force_asked)
            return await runner.run(lambda: self._ready.set_result(None))
        except (Exception, asyncio.CancelledError) as error:
            if self._ready.done():
                raise
            if isinstance(error, asyncio.CancelledError):
                error = Closed(f"consumer of {self.address.name} was stopped while it was starting")
            self._ready.set_exception(error)  # the start tells; a stop that follows has nothing to add
            return Report.empty(self.address.name)
        finally:
            if client is not None and self.options.client is None:
                await client.close()

    def _settings(self) -> ClientSettings:
        options = self.options
        return ClientSettings(
            region=options.region,
            endpoint_url=options.endpoint_url,
            profile=options.profile,
            credentials=options.credentials,
            queue=self.address,
            http=options.http,
            verify_md5=options.verify_md5,
        )

    def _after(self, _ended: Future[Report]) -> None:
        if self._own_host:
            self._host.end()
        if self._handlers is not None:
            self._handlers.end()

    def _join(self) -> None:
        if self._own_host:
            self._host.join()
        if self._handlers is not None:
            self._handlers.join()

    # What it looks like

    @property
    def healthy(self) -> bool:
        """Whether it is running and its receives succeed."""
        return self._runner is not None and self._runner.healthy

    @property
    def ready(self) -> bool:
        """Whether it receives messages now: false before the start and as soon as a stop is asked for."""
        return self.healthy and not self._stop_asked

    @property
    def problem(self) -> Exception | None:
        """The error that keeps it from receiving and will not pass by itself; None when there is none."""
        return self._runner.problem if self._runner is not None else None

    def statistics(self) -> RunnerStatistics | None:
        """A snapshot; None before the start."""
        return self._runner.statistics() if self._runner is not None else None

    def __repr__(self) -> str:
        return (
            repr(self._runner).replace("Runner", "Consumer") if self._runner else f"<Consumer {self.address.name} NEW>"
        )


def _address(queue: str, options: Options) -> QueueAddress:
    address = QueueAddress.parse(queue)
    if options.region and address.region and options.region != address.region:
        raise ConfigurationError(
            f"region={options.region!r} with queue {queue!r}: the queue is in {address.region}; leave region out, or "
            "give the queue of that region"
        )
    return address
