"""The app: several consumers in one process, on one engine, started and stopped together.

Owned by the user, and found by `leasekeeper run module:app`.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from leasekeeper.consumer import Consumer
from leasekeeper.engine.host import Host
from leasekeeper.errors import ConfigurationError, Mistakes
from leasekeeper.futures import running_future
from leasekeeper.given_options import check_alone
from leasekeeper.injection import Injection
from leasekeeper.lanes.signature import name_of
from leasekeeper.lifespan import Lifespan
from leasekeeper.observe.statistics import Report
from leasekeeper.running import Completion, Several, in_event_loop, run
from leasekeeper.sending.senders import Senders
from leasekeeper.sqs.address import check_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from leasekeeper.events import Event
    from leasekeeper.injection import Injector
    from leasekeeper.observe.statistics import ConsumerStatistics
    from leasekeeper.option_values import OptionValues
    from leasekeeper.outbox import Outbox, Relay
    from leasekeeper.routing import When

F = TypeVar("F", bound="Callable[..., Any]")


class Leasekeeper:
    """Consumers that share an engine, and one event loop for their `async def` handlers.

    It can be started again after its stop.

    Args:
        lifespan: what to open before the first poll and to close after the last ack of all consumers: a function that
            takes the app and returns an async context manager, as one decorated with `asynccontextmanager` does. Both
            happen on the loop of coroutine handlers. What it yields, and the parts of a mapping, tuple or dataclass
            that it yields, can be parameters of handlers, by their types.
        defaults: options for every consumer, unless the consumer sets its own.

    Raises:
        ConfigurationError: `lifespan` is not such a function, or options do not exist or are out of bounds.
    """

    def __init__(
        self,
        *,
        lifespan: Callable[[Leasekeeper], AbstractAsyncContextManager[Any]] | None = None,
        **defaults: Unpack[OptionValues],
    ) -> None:
        with Mistakes() as mistakes:
            self._lifespan = mistakes.noted(Lifespan, lifespan, self) if lifespan is not None else None
            mistakes.noted(check_alone, defaults)
            for name, value in defaults.items():
                mistakes.noted(check_place, name, value)
        self._defaults = defaults
        self._injection = Injection(Senders())
        self._host = Host("leasekeeper")
        self._consumers: list[Consumer] = []
        self._given: dict[Consumer, OptionValues] = {}
        """The options that each was declared with, without the defaults."""
        self._services: list[Consumer | Relay] = []
        self._all = Several(self._services)
        self._subscriptions: list[tuple[Callable[[Any], object], tuple[type[Event], ...]]] = []

    def consumer(self, queue: str, *, when: When | None = None, **values: Unpack[OptionValues]) -> Callable[[F], F]:
        """Consume `queue` with the decorated function, which is returned unchanged.

        A queue may have several handlers: each message is run by the first that takes it, as `Consumer.add_handler` has
        it. They share one consumer, and so its options.

        Args:
            queue: the queue's name, URL or ARN.
            when: which messages the function takes: a condition of `leasekeeper.routing`, or a function of the message.
            values: options of the queue's consumer.

        Raises:
            ConfigurationError: as `Consumer` and `add_handler`; or another handler of the queue has other options.
        """
        if callable(queue):
            name = getattr(queue, "__name__", repr(queue))
            raise ConfigurationError(f"handler {name}: the queue is missing; write @app.consumer('orders') above it")

        def declare(handler: F) -> F:
            new = self._declared(queue, handler, when, values)
            for consumer in self._consumers:
                if consumer.address == new.address and may_be_one_queue(consumer, new):
                    self._join(consumer, handler, when, values)
                    return handler
            refuse_shared_queues((*self._consumers, new))
            for subscriber, kinds in self._subscriptions:
                new.subscribe(subscriber, *kinds)
            new.inherited = frozenset(self._defaults.keys() - values.keys())
            self._consumers.append(new)
            self._services.append(new)
            self._given[new] = values
            return handler

        return declare

    def _declared(self, queue: str, handler: F, when: When | None, values: OptionValues) -> Consumer:
        merged: dict[str, Any] = {**self._defaults, **values}
        with Mistakes() as mistakes:
            if merged.pop("lifespan", None) is not None:
                mistakes.add([f"queue {queue} with lifespan=: all consumers share that of Leasekeeper(lifespan=...)"])
            shared: dict[str, Any] = {"lifespan": self._lifespan, "inject": self._injection, "host": self._host}
            new = mistakes.noted(Consumer, queue, handler, when=when, **shared, **merged)
        assert new is not None
        return new

    def _join(self, consumer: Consumer, handler: F, when: When | None, values: OptionValues) -> None:
        """Let the consumer of a queue have one more handler, and the options that are given with it."""
        given = self._given[consumer]
        with Mistakes() as mistakes:
            mistakes.add(
                f"queue {consumer.address.name}: {name}={given[name]!r} and, for handler {name_of(handler)}, "  # type: ignore[literal-required]
                f"{name}={value!r}: the handlers of a queue share one consumer; give its options once"
                for name, value in values.items()
                if name in given and given[name] != value  # type: ignore[literal-required]
            )
        consumer.add_handler(handler, when=when, **values)
        given.update(values)

    def subscribe(self, subscriber: Callable[[Any], object], *kinds: type[Event]) -> None:
        """Call `subscriber(event)` for events of all consumers, also of those declared later: `Consumer.subscribe`."""
        self._subscriptions.append((subscriber, kinds))
        for consumer in self._consumers:
            consumer.subscribe(subscriber, *kinds)

    def relay(self, outbox: Outbox, *, poll: float = 1.0, parallel: int = 8, strict_order: bool = True) -> Relay:
        """Send the rows of an outbox while the app runs; arguments as those of `leasekeeper.outbox.Relay`.

        It reaches SQS as the app's first consumer does. Each process of the app has a relay, and they share the rows.

        Raises:
            ConfigurationError: psycopg is not installed, or a number is out of its bounds.
        """
        from leasekeeper.outbox import Relay

        self._services.append(relay := Relay(outbox, poll=poll, parallel=parallel, strict_order=strict_order))
        return relay

    def inject(self, injector: Injector | Callable[[], Injector]) -> None:
        """Let `injector` give parameters to the handlers that are declared below this call.

        Its scope is one run of a handler (or batch), closed before the settlement: what its close raises fails the run.

        Args:
            injector: `DishkaInjector`, `SvcsInjector` or `FastDependsInjector`, of the modules `dishka`, `svcs` and
                `fast_depends` in `leasekeeper.contrib`; yours (`leasekeeper.injection.Injector`); or a function that
                makes one, which each worker process calls (`lane="processes"`).

        Raises:
            ConfigurationError: it is no injector, there is one already, or handlers were declared above.
        """
        if self._consumers:
            raise ConfigurationError("app.inject(...) below a handler: call it above the first @app.consumer(...)")
        self._injection.use(injector)

    @contextmanager
    def override(self, kind: Any, value: Any) -> Iterator[None]:
        """Let handlers get `value` where they ask for `kind`, in starts and calls of this block: for tests.

        As `Consumer.override`, for all consumers.

        Raises:
            Closed: a consumer is running.
        """
        for consumer in self._consumers:
            consumer.refuse_running("override what its handlers get")
        with self._injection.override(kind, value):
            yield

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The consumers, in the order in which they were declared; at least one.

        Raises:
            ConfigurationError: none was declared.
        """
        if not self._consumers:
            raise ConfigurationError(
                "this app has no consumers: decorate a function with @app.consumer('queue') where it is defined"
            )
        return tuple(self._consumers)

    @property
    def relays(self) -> tuple[Relay, ...]:
        """The relays of outboxes that run with it."""
        return tuple(each for each in self._services if not isinstance(each, Consumer))

    def start(self) -> Completion[None]:
        """Start all consumers at once; if one cannot start, none goes on. As `Consumer.start`."""
        return Completion(self.begin())

    def begin(self) -> Future[None]:
        """`start()` without waiting: a future that is done when all receive, or none does.

        Raises:
            ConfigurationError: no consumer was declared.
        """
        options = self.consumers[0].options
        for relay in self.relays:
            relay.reach_as(options)
        return self._all.begin()

    def stop(self, *, force: bool = False) -> Completion[tuple[Report, ...]]:
        """Stop all consumers at once. As `Consumer.stop`."""
        completion = Completion(self.finish(force=force))
        if not in_event_loop():
            self._host.join()
        return completion

    def finish(self, *, force: bool = False) -> Future[tuple[Report, ...]]:
        """`stop()` without waiting: a future with the reports. Never raises."""
        finished: Future[tuple[Report, ...]] = running_future()
        self._all.finish(force=force).add_done_callback(
            lambda ends: finished.set_result(tuple(end for end in ends.result() if isinstance(end, Report)))
        )
        return finished

    def pause(self) -> None:
        """Receive nothing until `resume()`, in all consumers. As `Consumer.pause`."""
        for consumer in self._consumers:
            consumer.pause()

    def resume(self) -> None:
        """Receive again, in all consumers. As `Consumer.resume`."""
        for consumer in sorted(self._consumers, key=lambda each: each.options.priority):
            consumer.resume()

    def request_stop(self, *, force: bool = False) -> None:
        """Ask for a stop without waiting; takes no lock, so that signal handlers may call it."""
        self._all.request_stop(force=force)

    def quiet(self) -> None:
        """Receive nothing more, in all consumers. As `Consumer.quiet`."""
        for consumer in self._consumers:
            consumer.quiet()

    async def wait(self) -> tuple[Report, ...]:
        """Wait until every consumer has ended by itself (`exit_on_unusable`) or was stopped. As `Consumer.wait`.

        Raises:
            Closed: a consumer was not started.
            Exception: the error with which a consumer ended; the others have ended too.
        """
        ends = await asyncio.gather(*(consumer.wait() for consumer in self.consumers), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return tuple(end for end in ends if not isinstance(end, BaseException))

    def run(self) -> tuple[Report, ...]:
        """Start, work until SIGTERM or SIGINT, drain, and report. As `Consumer.run`."""
        reports: tuple[Report, ...] = run(self)
        return reports

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

    @property
    def healthy(self) -> bool:
        """Whether every consumer is healthy."""
        return all(consumer.healthy for consumer in self.consumers)

    @property
    def ready(self) -> bool:
        """Whether every consumer receives messages now: as `Consumer.ready`."""
        return all(consumer.ready for consumer in self.consumers)

    @property
    def problem(self) -> Exception | None:
        """The first error that keeps a consumer from receiving and will not pass by itself; None when there is none."""
        return next((problem for consumer in self.consumers if (problem := consumer.problem) is not None), None)

    @property
    def ends(self) -> Sequence[Future[Report]]:
        """Futures that are done when the consumers' present lives have ended."""
        return [end for consumer in self._consumers for end in consumer.ends]

    @property
    def longest_stop(self) -> float:
        """Seconds that a stop may take, all time-outs together."""
        return self._all.longest_stop

    def measure(self) -> None:
        """Measure every message of all its consumers, as `Consumer.measure`; of those declared later, call it again."""
        for consumer in self.consumers:
            consumer.measure()

    def statistics(self) -> tuple[ConsumerStatistics, ...]:
        """A snapshot of each consumer that has been started."""
        return tuple(snapshot for consumer in self.consumers if (snapshot := consumer.statistics()) is not None)

    def __repr__(self) -> str:
        return f"<Leasekeeper {', '.join(repr(each) for each in self._services) or 'no consumers yet'}>"


def refuse_shared_queues(consumers: Sequence[Consumer]) -> None:
    """Refuse two consumers of one queue: each would get messages that were meant for the other.

    Raises:
        ConfigurationError: two addresses may be the same queue, as far as they say.
    """
    for index, one in enumerate(consumers):
        for other in consumers[:index]:
            if may_be_one_queue(one, other):
                raise ConfigurationError(
                    f"queue {one.address.name} has two consumers here, {other.handler.name} and {one.handler.name}: "
                    "SQS would give each message to either of them. Declare both handlers in one app, with the queue "
                    "written in the same way, and `when=` to tell their messages apart; if they are queues of two "
                    "accounts, regions or endpoints, give both as URLs"
                )


def may_be_one_queue(one: Consumer, other: Consumer) -> bool:
    """Whether two consumers may be of the same queue, as far as their addresses and options say."""
    if one.address.name != other.address.name or one.options.client is not other.options.client:
        return False
    pairs = (
        (one.address.account, other.address.account),
        (one.address.region or one.options.region, other.address.region or other.options.region),
        (_endpoint(one), _endpoint(other)),
    )
    return all(first is None or second is None or first == second for first, second in pairs)


def _endpoint(consumer: Consumer) -> str | None:
    return (consumer.address.endpoint or consumer.options.endpoint_url or "").rstrip("/") or None
