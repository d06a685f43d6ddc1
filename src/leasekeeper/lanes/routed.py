"""Several handlers of one queue: each message is run by the first that takes it.

Made when a consumer is constructed. To its lane it is one handler. What none takes follows the option `on_unmatched`.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from leasekeeper.envelopes.opening import Blocked, OpenedMessage
from leasekeeper.errors import ConfigurationError, UnmatchedMessage
from leasekeeper.lanes.failures import outcome_of_error
from leasekeeper.lanes.lease_control import LeaseControl
from leasekeeper.lanes.retry_rules import with_rule
from leasekeeper.lanes.tags import condition_of_type
from leasekeeper.message import Message
from leasekeeper.outcomes import Reject, Skipped
from leasekeeper.retries import retries_of
from leasekeeper.routing import Content, condition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.lanes.api import Say, UnitHandler
    from leasekeeper.lanes.handler import Handler
    from leasekeeper.lanes.parameters import Resources
    from leasekeeper.lanes.processes.blueprint import Blueprint
    from leasekeeper.options import Options
    from leasekeeper.outcomes import Outcome
    from leasekeeper.routing import Condition, When


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, and the condition for a message to go to it; None: it takes what no other does."""

    handler: Handler
    condition: Condition | None
    called: UnitHandler[Delivery]
    """What is called: the handler, or what stands around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatistics:
    """Which of a queue's several handlers took the messages, counted since the start. Each run of a message counts."""

    taken: dict[str, int]
    """Messages given to each handler, by its name."""
    unmatched: int
    """Messages that no handler took: `on_unmatched`."""


def routes_of(handlers: Sequence[tuple[Handler, When | None]], queue: str) -> list[Route]:
    """The routes of a queue, in the order in which they are tried.

    Raises:
        ConfigurationError: their messages cannot be told apart, or they are `async def` and `def` together.
    """
    routes = [Route(handler, _condition(handler, when), handler) for handler, when in handlers]
    first, seen = routes[0].handler, dict[object, str]()
    for route in routes:
        name = route.handler.name
        what = None if route.condition is None else route.condition.identity
        if what in seen:
            raise ConfigurationError(
                f"queue {queue} has two handlers for the same messages, {seen[what]} and {name}"
                f"{'' if route.condition is None else f' ({route.condition})'}: give each of them `when=`, e.g. "
                "when=attribute('type') == 'created' (leasekeeper.routing), or bodies with different tags"
            )
        seen[what] = name
        if route.handler.is_coroutine is not first.is_coroutine:
            kinds = ("def", "async def")
            raise ConfigurationError(
                f"queue {queue}: {first.name} is `{kinds[first.is_coroutine]}` and {name} is "
                f"`{kinds[route.handler.is_coroutine]}`: the handlers of one queue must be of one kind. Make all of "
                "them `async def`, with asyncio.to_thread for what blocks, or all `def`"
            )
    return sorted(routes, key=lambda route: route.condition is None)


def _condition(handler: Handler, when: When | None) -> Condition | None:
    return condition_of_type(handler.body_type) if when is None else condition_of(when)


class RoutedHandler:
    """The handlers of one queue as one.

    Attributes:
        name: the names of all of them.
        is_coroutine: as `Handler.is_coroutine`, which is the same for all.
        timeout: as `Handler.timeout`, which is the same for all.
        routes: the handlers in the order in which they are tried.
        blueprint: as `Handler.blueprint`.
    """

    def __init__(self, routes: Sequence[Route], options: Options, *, queue: str) -> None:
        for route in routes:
            _refuse_unfetched(route, options)
        self.routes = routes
        self.blueprint: Blueprint | None = None
        self.name = "/".join(route.handler.name for route in routes)
        self.is_coroutine = routes[0].handler.is_coroutine
        self.timeout = routes[0].handler.timeout
        self._queue = queue
        self._retries = retries_of(options.retry) if options.retry is not None else None
        self._unmatched = _unmatched(options, queue, self.name)
        self._lock = threading.Lock()
        self._counts = Counter[str]()

    def bound(self, resources: Resources) -> RoutedHandler:
        """These handlers with parameters from these resources, and counts from 0; as `Handler.bound`."""
        bound = [(route, route.handler.bound(resources)) for route in self.routes]
        return self._with([replace(route, handler=handler, called=handler) for route, handler in bound])

    def around(self, wrap: Callable[[Handler], UnitHandler[Delivery]]) -> RoutedHandler:
        """These handlers with something around each of them."""
        return self._with([replace(route, called=wrap(route.handler)) for route in self.routes], counts=self._counts)

    def _with(self, routes: Sequence[Route], counts: Counter[str] | None = None) -> RoutedHandler:
        made = copy.copy(self)
        made.routes = routes
        made._counts = Counter() if counts is None else counts  # noqa: SLF001 - a copy of this class
        return made

    def run(self, say: Say[Delivery], delivery: Delivery) -> Any:
        """Await the handler that takes the message."""
        return self._choose(say, delivery).run(say, delivery)

    def run_blocking(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """Call the handler that takes the message, in this thread."""
        return self._choose(say, delivery).run_blocking(say, delivery)

    def _choose(self, say: Say[Delivery], delivery: Delivery) -> UnitHandler[Delivery] | _Answer | _Unblocking:
        content = None
        try:
            content = self._content(say, delivery)
            for route in self.routes:
                if route.condition is None or route.condition.matches(content):
                    delivery.handler = route.handler.name
                    self._count(route.handler.name)
                    return route.called
        except Blocked as blocked:
            return _Unblocking(self, blocked)
        except BaseException as error:  # a condition, or what opens an envelope, may be a user's function
            return _Answer(self._failed(error, content, say, delivery))
        self._count("")
        unmatched = self._unmatched
        return _Answer(
            self._failed(unmatched, content, say, delivery) if isinstance(unmatched, UnmatchedMessage) else unmatched
        )

    def _failed(self, error: BaseException, content: Content | None, say: Say[Delivery], delivery: Delivery) -> Outcome:
        """What an error before any handler was called means: the option `retry` applies as to those of handlers."""
        outcome = outcome_of_error(error)
        if self._retries is None:
            return outcome

        def message() -> Message[Any]:
            if content is not None:
                return content.message()
            return Message(delivery.received, None, queue=self._queue, lease=LeaseControl(say, delivery))

        return with_rule(outcome, error, self._retries, attempt=delivery.attempt, message=message)

    def _content(self, say: Say[Delivery], delivery: Delivery) -> Content:
        """What conditions see: the message as the handlers see it, with its envelopes open."""
        opened = self.routes[0].handler.open(delivery.received)
        text = opened.body
        if isinstance(opened, OpenedMessage) and isinstance(opened.payload, str | bytes):  # not the records of S3
            text = opened.payload if isinstance(opened.payload, str) else opened.payload.decode(errors="replace")

        def message() -> Message[str]:
            return Message(opened, text, queue=self._queue, lease=LeaseControl(say, delivery))

        return Content(text, opened.attributes, message)

    def _count(self, name: str) -> None:
        with self._lock:  # several threads run handlers
            self._counts[name] += 1

    def timed_out(self, timeout: float, delivery: Delivery | None = None) -> str:
        """The sentence of the time-out of the handler that runs the message."""
        name = delivery.handler if delivery is not None else ""
        chosen = next((route.handler for route in self.routes if route.handler.name == name), self.routes[0].handler)
        return chosen.timed_out(timeout)

    def statistics(self) -> RouteStatistics:
        """Which handlers took how many messages; may be asked from any thread."""
        names = [route.handler.name for route in self.routes]
        return RouteStatistics(taken={name: self._counts[name] for name in names}, unmatched=self._counts[""])

    def __repr__(self) -> str:
        return f"<RoutedHandler {self.name}, {'async def' if self.is_coroutine else 'def'}>"


class _Answer:
    """Stands where a handler stands, for a message that no handler is called with."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def run(self, _say: Say[Delivery], _delivery: Delivery) -> Outcome:
        return self._outcome

    def run_blocking(self, _say: Say[Delivery], _delivery: Delivery) -> Outcome:
        return self._outcome


class _Unblocking:
    """Stands where a handler stands, for a message with an envelope that can be opened after something that blocks."""

    def __init__(self, routed: RoutedHandler, blocked: Blocked) -> None:
        self._routed = routed
        self._blocked = blocked

    async def run(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        await asyncio.to_thread(self._blocked.unblock)
        outcome: Outcome = await self._routed.run(say, delivery)
        return outcome

    def run_blocking(self, say: Say[Delivery], delivery: Delivery) -> Outcome:
        self._blocked.unblock()
        return self._routed.run_blocking(say, delivery)


def _refuse_unfetched(route: Route, options: Options) -> None:
    """Refuse a condition on a message attribute that is not fetched: it would hold for no message."""
    if route.condition is None or options.envelope is not None:  # envelopes carry attributes too
        return
    fetched = tuple(options.message_attributes)
    for name in route.condition.attributes:
        known = any(
            each in {name, "All", ".*"} or (each.endswith(".*") and name.startswith(each[:-1])) for each in fetched
        )
        if not known:
            raise ConfigurationError(
                f"handler {route.handler.name} with when={route.condition} and message_attributes={fetched!r}: the "
                f"attribute {name!r} is not fetched, so no message would have it; add it to message_attributes"
            )


def _unmatched(options: Options, queue: str, names: str) -> Outcome | UnmatchedMessage:
    reason = f"no handler of queue {queue} takes it (there are {names.replace('/', ', ')})"
    if options.on_unmatched == "retry":
        return UnmatchedMessage(reason)
    return Reject(reason) if options.on_unmatched == "reject" else Skipped(reason, warn=True)
