"""Handling without a queue: call a handler with a message as a consumer calls it, and get the outcome.

Used by users' tests, directly or as the pytest fixture `handle`. It promises the decoding, the middleware, the time-out
and the meaning of outcomes that a consumer has, and needs no SQS, no thread and no engine.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from leasekeeper.consumer import Consumer
from leasekeeper.core.batch_collector import Collected
from leasekeeper.core.delivery import Delivery, Lease
from leasekeeper.errors import ConfigurationError
from leasekeeper.given_options import make_options
from leasekeeper.injection import Injection
from leasekeeper.lanes.batch_handler import BatchHandler
from leasekeeper.lanes.bundles import Bundle
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.parameters import NO_LIFESPAN, Resources
from leasekeeper.message import MessageAttribute, Received
from leasekeeper.outcomes import Done, Failed, Outcome, Reject, Retry, Settled, Skipped, Unclaimed, Withheld
from leasekeeper.testing.sending import RecordedSenders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from leasekeeper.envelopes import Envelope
    from leasekeeper.lanes.api import Answer
    from leasekeeper.lanes.handlers import AnyHandler
    from leasekeeper.lanes.routed import RoutedHandler
    from leasekeeper.option_values import OptionValues
    from leasekeeper.options import Middleware

LEASE = 30.0
"""Seconds of lease that the message appears to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What a handler made of a message.

    Attributes:
        outcome: how it ended: `Done`, `Retry`, `Reject`, `Failed`, `Skipped` or `Withheld`, of `leasekeeper.outcomes`.
        said: what it called on the message while it ran: `Done` for `ack()`, `Retry` for `retry()`.
        handler: the name of the handler that took the message, where the consumer has several; empty if none did.
        sent: the bodies of what it sent, by the queue's name: `handled.sent["shipped"]`.
    """

    outcome: Outcome
    said: tuple[Outcome, ...] = ()
    handler: str = ""
    sent: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def acked(self) -> bool:
        """Whether the message would be deleted; an early `ack()` or `retry()` wins over the result."""
        return isinstance(self.said[0] if self.said else self.outcome, (Done, Skipped))

    @property
    def retried(self) -> bool:
        """Whether the message would come again."""
        return isinstance(self.said[0] if self.said else self.outcome, (Retry, Failed, Unclaimed)) and not self.rejected

    @property
    def rejected(self) -> bool:
        """Whether the message would follow the reject policy, e.g. to the dead-letter queue."""
        return not self.said and isinstance(getattr(self.outcome, "rule", self.outcome), Reject)

    @property
    def withheld(self) -> bool:
        """Whether the message would be kept until `ack()` or `retry()` is called."""
        return not self.said and isinstance(self.outcome, Withheld)

    @property
    def error(self) -> BaseException | None:
        """What it raised, or the reason of its rejection; None when it did not fail."""
        if isinstance(self.outcome, Failed | Unclaimed):
            return self.outcome.error
        return self.outcome if isinstance(self.outcome, Reject) else None


@dataclass(slots=True)
class _Listener:
    """Hears what the handler says of its message, and confirms it at once."""

    said: list[Outcome] = field(default_factory=list)

    def say(self, answer: Answer[Delivery]) -> bool:
        self.said.append(answer.outcome)
        settlement = answer.unit.settlement
        if settlement is not None:
            settlement.resolve(Settled.ACKED if isinstance(answer.outcome, Done) else Settled.RELEASED)
        return True


def run_handler(
    handler: Callable[..., Any] | Consumer,
    body: object,
    *,
    attributes: Mapping[str, str | bytes] | None = None,
    system: Mapping[str, str] | None = None,
    receive_count: int = 1,
    timeout: float | None = None,
    middleware: Sequence[Middleware] = (),
    resources: object = None,
    envelope: Envelope | None = None,
) -> Handled:
    """Call a handler, coroutine or plain function, with a message, from synchronous code.

    Args:
        handler: as given to `Consumer`; or a consumer, for its handlers with its options.
        body: text as it is sent; anything else (dicts, dataclasses, msgspec structs, pydantic models) is encoded as
            JSON first.
        attributes: message attributes: text or bytes.
        system: system attributes beyond those a message always has, e.g. `MessageGroupId`.
        receive_count: how often it has been received, this time included.
        timeout: the consumer's `handler_timeout`, in seconds.
        middleware: the consumer's middleware.
        resources: what the app's lifespan yields, for handlers with parameters of its types.
        envelope: the consumer's `envelope`.

    Raises:
        ConfigurationError: what `Consumer` would refuse.
        RuntimeError: a coroutine handler inside a running loop: await `await_handler` there.
    """
    called, delivery, listener, senders = _prepare(
        handler,
        body,
        attributes=attributes,
        system=system,
        receive_count=receive_count,
        timeout=timeout,
        middleware=middleware,
        resources=resources,
        envelope=envelope,
    )
    outcome = (
        asyncio.run(called.run(listener.say, delivery))
        if called.is_coroutine
        else called.run_blocking(listener.say, delivery)
    )
    return Handled(outcome=outcome, said=tuple(listener.said), handler=delivery.handler, sent=senders.sent)


async def await_handler(handler: Callable[..., Any] | Consumer, body: object, **options: Any) -> Handled:
    """Await a coroutine handler with a message, in the running loop; arguments as `run_handler` has them."""
    called, delivery, listener, senders = _prepare(handler, body, **options)
    outcome = await called.run(listener.say, delivery)
    return Handled(outcome=outcome, said=tuple(listener.said), handler=delivery.handler, sent=senders.sent)


def run_batch_handler(
    handler: Callable[..., Any] | Consumer,
    bodies: Sequence[object],
    *,
    attributes: Mapping[str, str | bytes] | None = None,
    system: Mapping[str, str] | None = None,
    receive_count: int = 1,
    resources: object = None,
    **options: Unpack[OptionValues],
) -> list[Handled]:
    """Call a batch handler, coroutine or plain function, with one batch, from synchronous code.

    Args:
        handler: as given to `Consumer`; or a consumer, for its handler with its options.
        bodies: of the messages; each as `run_handler` takes it.
        attributes: message attributes of each message.
        system: system attributes of each message.
        receive_count: how often each message has been received.
        resources: what the app's lifespan yields.
        options: the consumer's options: `handler_timeout`, `middleware`, `on_batch_error` and so on.

    Returns:
        What the handler made of each message, in the order of the bodies.

    Raises:
        ConfigurationError: what `Consumer` would refuse.
        RuntimeError: a coroutine handler inside a running loop: await `await_batch_handler` there.
    """
    scene = _BatchScene(
        handler,
        bodies,
        attributes=attributes,
        system=system,
        receive_count=receive_count,
        resources=resources,
        **options,
    )
    if scene.called.is_coroutine:
        return scene.handled(asyncio.run(scene.called.run(_unheard, scene.bundle)))
    return scene.handled(scene.called.run_blocking(_unheard, scene.bundle))


async def await_batch_handler(
    handler: Callable[..., Any] | Consumer, bodies: Sequence[object], **options: Any
) -> list[Handled]:
    """Await a coroutine batch handler with one batch, in the running loop; arguments as `run_batch_handler` has."""
    scene = _BatchScene(handler, bodies, **options)
    return scene.handled(await scene.called.run(_unheard, scene.bundle))


class _BatchScene:
    """One batch, and what becomes of its messages."""

    def __init__(
        self,
        handler: Callable[..., Any] | Consumer,
        bodies: Sequence[object],
        *,
        attributes: Mapping[str, str | bytes] | None = None,
        system: Mapping[str, str] | None = None,
        receive_count: int = 1,
        resources: object = None,
        **options: Unpack[OptionValues],
    ) -> None:
        given = NO_LIFESPAN if resources is None else Resources(resources)
        self.called = self._made(handler, given, len(bodies), options)
        rows = [_delivery(body, attributes, system, receive_count, number) for number, body in enumerate(bodies)]
        self.bundle = Bundle(Collected(rows, "size", 0.0), self._say, time.monotonic)
        self._listeners = {row: _Listener() for row in rows}
        self._outcomes: dict[Delivery, Outcome] = {}

    @staticmethod
    def _made(
        handler: Callable[..., Any] | Consumer, given: Resources, size: int, options: OptionValues
    ) -> BatchHandler:
        if not isinstance(handler, Consumer):
            made = make_options({"batch": max(1, size), "concurrency": 1, **options})
            return BatchHandler(handler, made, queue="test", resources=given)
        called = bound_with(handler, given, RecordedSenders())
        if not isinstance(called, BatchHandler):
            raise ConfigurationError(f"handler {called.name} takes single messages: call it with run_handler")
        return called

    def _say(self, answer: Answer[Delivery]) -> bool:
        if not answer.final:
            return self._listeners[answer.unit].say(answer)
        self._outcomes[answer.unit] = answer.outcome
        return True

    def handled(self, outcome: Outcome) -> list[Handled]:
        """What became of each message, now that the handler has ended with that outcome."""
        for answer in self.bundle.answer(outcome):
            self._say(answer)
        return [Handled(outcome=self._outcomes[row], said=tuple(each.said)) for row, each in self._listeners.items()]


def _unheard(_: object) -> bool:
    return True


def _prepare(
    handler: Callable[..., Any] | Consumer,
    body: object,
    *,
    attributes: Mapping[str, str | bytes] | None = None,
    system: Mapping[str, str] | None = None,
    receive_count: int = 1,
    timeout: float | None = None,
    middleware: Sequence[Middleware] = (),
    resources: object = None,
    envelope: Envelope | None = None,
) -> tuple[Handler | RoutedHandler, Delivery, _Listener, RecordedSenders]:
    given = NO_LIFESPAN if resources is None else Resources(resources)
    senders = RecordedSenders()
    called: AnyHandler
    if isinstance(handler, Consumer):
        called = bound_with(handler, given, senders)
    else:
        called = Handler(
            handler,
            queue="test",
            timeout=timeout,
            middleware=middleware,
            resources=given,
            envelope=envelope,
            injection=Injection(senders),
        )
    if isinstance(called, BatchHandler):
        raise ConfigurationError(f"handler {called.name} takes batches: call it with run_batch_handler")
    return called, _delivery(body, attributes, system, receive_count), _Listener(), senders


def bound_with(consumer: Consumer, resources: Resources, senders: RecordedSenders) -> AnyHandler:
    """The handler of a consumer with these resources, and with senders that note what is sent."""
    injection = consumer.injection
    own, injection.own = injection.own, senders
    try:
        return consumer.handler.bound(resources)
    finally:
        injection.own = own


def _delivery(
    body: object,
    attributes: Mapping[str, str | bytes] | None,
    system: Mapping[str, str] | None,
    receive_count: int,
    number: int = 0,
) -> Delivery:
    now = time.monotonic()
    received = Received(
        message_id=f"00000000-0000-4000-a000-{number:012}",
        receipt="test",
        body=body_text(body),
        attributes={name: _attribute(value) for name, value in (attributes or {}).items()},
        system={
            "ApproximateReceiveCount": str(receive_count),
            "SentTimestamp": str(int(time.time() * 1000)),
            **(system or {}),
        },
    )
    lease = Lease(LEASE, began=now, due=now + LEASE / 2, deadline=now + LEASE)
    return Delivery(received, lease, requested_at=now, received_at=now, started=now)


def body_text(body: object) -> str:
    """The text of a body: text as it is, anything else as JSON."""
    return body if isinstance(body, str) else msgspec.json.encode(body, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    """What JSON encodes of a pydantic model, by the names it is validated by."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise NotImplementedError(f"a body with a {type(value).__qualname__} cannot be encoded as JSON: give its text")
    return dump(mode="json", by_alias=True)


def _attribute(value: str | bytes) -> MessageAttribute:
    if isinstance(value, bytes):
        return MessageAttribute(data_type="Binary", binary_value=value)
    return MessageAttribute(data_type="String", string_value=value)
