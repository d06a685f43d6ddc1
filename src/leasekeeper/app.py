"""The app: several consumers in one process, on one engine, started and stopped together.

Owned by the user, and found by `leasekeeper run module:app`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from leasekeeper.consumer import Consumer
from leasekeeper.engine.host import LoopThread
from leasekeeper.errors import Closed, ConfigurationError
from leasekeeper.running import Completion, in_event_loop, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from leasekeeper.observe.statistics import Report, RunnerStatistics
    from leasekeeper.option_values import OptionValues

F = TypeVar("F", bound="Callable[..., Any]")


class Leasekeeper:
    """Consumers that share an engine.

    Args:
        defaults: options for every consumer, unless it says otherwise.
    """

    def __init__(self, **defaults: Unpack[OptionValues]) -> None:
        self._defaults = defaults
        self._host = LoopThread("leasekeeper")
        self._consumers: list[Consumer] = []

    def consumer(self, queue: str, **values: Unpack[OptionValues]) -> Callable[[F], F]:
        """Consume `queue` with the decorated function, which stays as it is.

        Raises:
            ConfigurationError: as `Consumer`, at the decoration.
        """

        def declare(handler: F) -> F:
            merged: OptionValues = {**self._defaults, **values}
            self._consumers.append(Consumer(queue, handler, host=self._host, **merged))
            return handler

        return declare

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The consumers, in the order in which they were declared; there is one at least.

        Raises:
            ConfigurationError: none was declared.
        """
        if not self._consumers:
            raise ConfigurationError(
                "this app has no consumers: decorate a function with @app.consumer('queue') where it is defined"
            )
        return tuple(self._consumers)

    def start(self) -> Completion[None]:
        """Start all consumers; if one cannot start, none goes on. As `Consumer.start`."""
        consumers = self.consumers
        starts: Future[None] = Future()
        if in_event_loop():
            task = asyncio.ensure_future(self._start_all(consumers))
            task.add_done_callback(lambda done: _copy(done, starts))
        else:
            try:
                for each in consumers:
                    each.start()
            except BaseException:
                self.stop()
                raise
            starts.set_result(None)
        return Completion(starts)

    async def _start_all(self, consumers: tuple[Consumer, ...]) -> None:
        results = await asyncio.gather(*(each.start() for each in consumers), return_exceptions=True)
        errors = [each for each in results if isinstance(each, BaseException)]
        if errors:
            await self.stop()
            raise errors[0]

    def stop(self, *, force: bool = False) -> Completion[tuple[Report, ...]]:
        """Stop all consumers at once. As `Consumer.stop`."""
        self.request_stop(force=force)
        reports: Future[tuple[Report, ...]] = Future()
        if in_event_loop():
            task = asyncio.ensure_future(self._stop_all())
            task.add_done_callback(lambda done: _copy(done, reports))
        else:
            reports.set_result(tuple(each.stop().result() for each in self._consumers))
            self._host.end()
            self._host.join()
        return Completion(reports)

    async def _stop_all(self) -> tuple[Report, ...]:
        ends = await asyncio.gather(*(each.stop() for each in self._consumers), return_exceptions=True)
        self._host.end()
        await asyncio.to_thread(self._host.join)
        return tuple(each for each in ends if not isinstance(each, BaseException))

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop without waiting; takes no lock, so that signal handlers may call it."""
        for each in self._consumers:
            each.request_stop(force=force)

    async def wait(self) -> None:
        """Wait until every consumer has ended by itself."""
        await asyncio.gather(*(each.wait() for each in self.consumers), return_exceptions=True)

    def run(self) -> tuple[Report, ...]:
        """Start, work until SIGTERM or SIGINT, drain, and report. A second signal cuts the drain short."""
        return run(self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def healthy(self) -> bool:
        """Whether every consumer is healthy."""
        return all(each.healthy for each in self.consumers)

    def statistics(self) -> tuple[RunnerStatistics, ...]:
        """A snapshot of each consumer that has been started."""
        return tuple(snapshot for each in self.consumers if (snapshot := each.statistics()) is not None)

    def __repr__(self) -> str:
        return f"<Leasekeeper {', '.join(repr(each) for each in self._consumers) or 'no consumers yet'}>"


def _copy(task: asyncio.Task[Any], future: Future[Any]) -> None:
    """Pass on how a task ended."""
    if task.cancelled():
        future.set_exception(Closed("the event loop was closed while the app was starting or stopping"))
    elif (error := task.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())
