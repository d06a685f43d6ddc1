"""Several handlers of one queue: which of them runs a message, and what happens to those that none takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import TypeAliasType

from leasekeeper import Consumer, Retries, Table
from leasekeeper.envelopes.opening import Blocked
from leasekeeper.errors import ConfigurationError, UndecodableBody, UnmatchedMessage
from leasekeeper.given_options import make_options
from leasekeeper.lanes.handler_context import HandlerInContext
from leasekeeper.lanes.handlers import make_handler
from leasekeeper.lanes.parameters import NOT_YET, Resources
from leasekeeper.lanes.routed import RoutedHandler
from leasekeeper.lanes.tags import condition_of_type
from leasekeeper.message import Message, Received  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.message_context import MESSAGE
from leasekeeper.outcomes import DONE, Failed, Reject, Retry, Skipped
from leasekeeper.routing import attribute, field
from leasekeeper.testing.clock import run_virtual
from leasekeeper.testing.handling import run_handler

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

Deliver = Callable[..., "Delivery"]
got: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_got() -> None:
    got.clear()


class Created(msgspec.Struct, tag="created"):
    id: int


class Cancelled(msgspec.Struct, tag="cancelled"):
    id: int


class Paid(pydantic.BaseModel):
    type: Literal["paid"]
    id: int


class Aliased(pydantic.BaseModel):
    kind: Literal["aliased"] = pydantic.Field(alias="type")


@dataclass
class Shipped:
    type: Literal["shipped"]
    priority: Literal["low", "high"] = "low"


@attrs.define
class Packed:
    type: Literal["packed"]


class Lost(TypedDict):
    type: Literal["lost"]


class Versioned(msgspec.Struct):
    version: Literal[2]


class OtherField(msgspec.Struct, tag_field="kind", tag="other"):
    pass


async def created(body: dict[str, Any]) -> None:
    got.append(("created", body))


async def cancelled(body: dict[str, Any]) -> None:
    got.append(("cancelled", body))


async def rest(message: Message[str]) -> None:
    got.append(("rest", message.body))


def plain(body: str) -> None:
    got.append(("plain", body))


def routed(*functions: Any, resources: Any = None, **options: Any) -> RoutedHandler:
    given = {} if resources is None else {"resources": resources}
    handler = make_handler(
        [each if isinstance(each, tuple) else (each, None) for each in functions],
        make_options(options),
        queue="orders",
        **given,
    )
    assert isinstance(handler, RoutedHandler)
    return handler


def call(handler: Any, delivery: Delivery) -> Outcome:
    if handler.is_coroutine:
        return run_virtual(handler.run(lambda _answer: True, delivery))  # type: ignore[no-any-return]
    outcome: Outcome = handler.run_blocking(lambda _answer: True, delivery)
    return outcome


TYPE = field("type")


def test_the_first_handler_that_takes_a_message_runs_it(deliver: Deliver) -> None:
    handler = routed((created, TYPE == "created"), (cancelled, TYPE.startswith("c")))
    deliveries = [deliver('{"type": "created"}'), deliver('{"type": "cancelled"}')]
    assert [call(handler, each) for each in deliveries] == [DONE, DONE]
    assert got == [("created", {"type": "created"}), ("cancelled", {"type": "cancelled"})]
    assert [each.handler for each in deliveries] == ["created", "cancelled"]
    assert (handler.name, handler.is_coroutine) == ("created/cancelled", True)
    assert repr(handler) == "<RoutedHandler created/cancelled, async def>"
    assert handler.statistics().taken == {"created": 1, "cancelled": 1}
    assert handler.statistics().unmatched == 0


def test_a_handler_without_a_condition_takes_the_rest_wherever_it_is_declared(deliver: Deliver) -> None:
    handler = routed(rest, (created, TYPE == "created"))
    for body in '{"type": "created"}', '{"type": "other"}', "no JSON":
        assert call(handler, deliver(body)) == DONE
    assert got == [("created", {"type": "created"}), ("rest", '{"type": "other"}'), ("rest", "no JSON")]


def test_plain_functions_are_chosen_in_their_threads(deliver: Deliver) -> None:
    def other(body: str) -> None:
        got.append(("other", body))

    handler = routed((plain, lambda message: message.body == "a"), (other, lambda message: message.body == "b"))
    assert [call(handler, deliver(body)) for body in "ab"] == [DONE, DONE]
    assert got == [("plain", "a"), ("other", "b")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Created, '{"type": "created", "id": 1}'),
        (Paid, '{"type": "paid", "id": 1}'),
        (Aliased, '{"type": "aliased"}'),
        (Shipped, '{"type": "shipped"}'),
        (Packed, '{"type": "packed"}'),
        (Lost, '{"type": "lost"}'),
        (Versioned, '{"version": 2}'),
        (OtherField, '{"kind": "other"}'),
        (Created | Cancelled, '{"type": "created", "id": 1}'),
        (Annotated[Created | Cancelled, "of a shop"], '{"type": "created", "id": 1}'),
    ],
)
def test_a_type_with_a_tag_takes_the_bodies_with_that_tag(kind: Any, body: str, deliver: Deliver) -> None:
    async def tagged(body: Any) -> None:
        got.append(("tagged", type(body)))

    tagged.__annotations__["body"] = kind
    handler = routed(tagged, rest)
    for each in body, '{"type": "x"}', "[]":
        assert call(handler, deliver(each)) == DONE
    assert [name for name, _ in got] == ["tagged", "rest", "rest"]


def test_an_alias_of_a_type_has_its_tags() -> None:
    alias = TypeAliasType("alias", Created | Cancelled)
    assert repr(condition_of_type(alias)) == "(field('type') == 'created' | field('type') == 'cancelled')"
    assert condition_of_type(Created | dict[str, int]) is None


def test_a_message_of_a_tagged_type_is_routed_by_it_too(deliver: Deliver) -> None:
    async def one(message: Message[Created]) -> None:
        got.append(message.body)

    async def other(message: Message[Cancelled]) -> None:
        got.append(message.body)

    handler = routed(one, other)
    for kind in "cancelled", "created":
        call(handler, deliver(f'{{"type": "{kind}", "id": 7}}'))
    assert got == [Cancelled(7), Created(7)]


def test_a_body_with_the_tag_that_is_not_of_the_type_is_undecodable(deliver: Deliver) -> None:
    async def one(body: Created) -> None: ...

    outcome = call(routed(one, rest), deliver('{"type": "created", "id": "x"}'))
    assert isinstance(outcome, Reject)
    assert isinstance(outcome.__cause__, UndecodableBody)
    assert got == []


REASON = "no handler of queue orders takes it (there are created, cancelled)"
BOTH = (created, TYPE == "created"), (cancelled, TYPE == "cancelled")


def test_what_no_handler_takes_is_rejected_by_default(deliver: Deliver) -> None:
    handler, delivery = routed(*BOTH), deliver('{"type": "x"}')
    outcome = call(handler, delivery)
    assert isinstance(outcome, Reject)
    assert outcome.reason == REASON
    assert delivery.handler == ""
    assert (handler.statistics().taken, handler.statistics().unmatched) == ({"created": 0, "cancelled": 0}, 1)


def test_what_no_handler_takes_may_be_retried(deliver: Deliver) -> None:
    outcome = call(routed(*BOTH, on_unmatched="retry"), deliver('{"type": "x"}'))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, UnmatchedMessage)
    assert str(outcome.error) == REASON


def test_what_no_handler_takes_may_be_deleted(deliver: Deliver) -> None:
    assert call(routed(*BOTH, on_unmatched="ack"), deliver("x")) == Skipped(REASON, warn=True)


def broken(message: Message[str]) -> bool:
    raise OSError("no network")


def deferring(message: Message[str]) -> bool:
    raise Retry(after=5)


def test_a_condition_that_raises_is_a_failure_of_the_message(deliver: Deliver) -> None:
    outcome = call(routed((created, broken)), deliver())
    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "no network"
    retried = call(routed((created, deferring)), deliver())
    assert isinstance(retried, Retry)
    assert retried.after == 5


def test_the_option_retry_decides_on_what_is_raised_before_a_handler_is_chosen(deliver: Deliver) -> None:
    """As on what handlers raise: errors of conditions and of envelopes, and what no handler takes."""
    seen: list[Any] = []

    def rule(message: Message[Any], attempt: int, error: Exception) -> float:
        seen.append((message.body, attempt, str(error)))
        return 7

    def closed(_: Received) -> str:
        raise OSError("no key")

    def unreadable(_: Received) -> str:
        raise ValueError("no envelope")

    retry = Retries(on={OSError: rule, UndecodableBody: Table(300), UnmatchedMessage: rule})
    for options in ({}, {"envelope": closed}, {"on_unmatched": "retry"}, {"envelope": unreadable}):
        handlers = (*BOTH,) if "on_unmatched" in options else ((created, broken),)
        outcome = call(routed(*handlers, retry=retry, **options), deliver("x"))
        assert isinstance(outcome, Failed)
        assert outcome.rule == (Table(300) if options.get("envelope") is unreadable else 7.0)
    assert seen == [("x", 1, "no network"), (None, 1, "no key"), ("x", 1, REASON)]


def test_middleware_is_around_each(deliver: Deliver) -> None:
    async def around(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        got.append("around")
        return await call_next(message)

    handler = routed(*BOTH, middleware=[around])
    for kind in "created", "cancelled", "x":
        call(handler, deliver(f'{{"type": "{kind}"}}'))
    assert [each if isinstance(each, str) else each[0] for each in got] == ["around", "created", "around", "cancelled"]


class Db: ...


async def store(body: dict[str, Any], db: Db) -> None:
    got.append(db)


def test_parameters_are_bound_at_a_start_and_counts_begin_again(deliver: Deliver) -> None:
    declared, db = routed((store, TYPE == "created"), rest, resources=NOT_YET), Db()
    handler = declared.bound(Resources(db))
    call(handler, deliver('{"type": "created"}'))
    assert got == [db]
    assert handler.statistics().taken == {"store": 1, "rest": 0}
    assert handler.bound(Resources(db)).statistics().taken == {"store": 0, "rest": 0}


def test_log_records_name_the_handler_that_runs(deliver: Deliver) -> None:
    async def look(body: str) -> None:
        got.append(MESSAGE.get())

    handler = routed((look, lambda message: True))
    called = handler.around(lambda each: HandlerInContext(each, "orders"))
    delivery = deliver()
    copy_context().run(call, called, delivery)  # what is set does not reach other tests
    assert [(queue, name.rpartition(".")[2], run) for queue, name, run in got] == [("orders", "look", delivery)]
    assert handler.statistics().taken[handler.routes[0].handler.name] == 1


def test_the_time_out_names_the_handler_that_ran(deliver: Deliver) -> None:
    async def sleepy(body: str) -> None:
        await asyncio.sleep(60)

    delivery = deliver()
    handler = routed((created, TYPE == "x"), (sleepy, lambda message: True), handler_timeout=1)
    outcome = call(handler, delivery)
    assert isinstance(outcome, Failed)
    assert "sleepy ran longer than handler_timeout=1 s" in str(outcome.error)
    assert "sleepy ran longer" in handler.timed_out(1, delivery)
    assert "handler created ran longer" in handler.timed_out(1)


def test_conditions_see_what_is_in_the_envelope(deliver: Deliver) -> None:
    inside = '{\\"type\\": \\"created\\"}'
    notification = f"""{{"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "Message": "{inside}", "Timestamp": "2026-11-28T00:00:00.000Z",
        "MessageAttributes": {{"color": {{"Type": "String", "Value": "red"}}}}}}"""

    def seen(message: Message[str]) -> bool:
        got.append(message.body)
        return False

    handler = routed((rest, seen), (cancelled, attribute("color") == "blue"), *BOTH[:1], envelope="sns")
    assert call(handler, deliver(notification)) == DONE
    assert got == ['{"type": "created"}', ("created", {"type": "created"})]
    [call(routed(*BOTH, (rest, attribute("color") == "red"), envelope="sns"), deliver(notification))]
    assert isinstance(call(handler, deliver("no envelope")), Reject)


class Certificate(Blocked):
    """What an envelope has to wait for: the certificate of SNS, say."""

    fetched = False

    def unblock(self) -> None:
        self.fetched = True

    def open(self, received: Received) -> str:
        if not self.fetched:
            raise self
        return received.body.removeprefix("signed ")


@pytest.mark.parametrize("function", [created, plain])
def test_an_envelope_that_has_to_wait_is_opened_before_a_handler_is_chosen(function: Any, deliver: Deliver) -> None:
    certificate = Certificate()
    handler = routed((function, TYPE == "created"), envelope=certificate.open)
    assert call(handler, deliver('signed {"type": "created"}')) == DONE
    assert len(got) == 1
    assert handler.statistics().taken == {function.__name__: 1}


COLOR = attribute("color")


def test_a_condition_on_an_attribute_that_is_not_fetched_is_refused() -> None:
    """It would hold for no message, and every message would be rejected."""
    with pytest.raises(ConfigurationError) as refusal:
        routed((created, (COLOR == "red") | (TYPE == "x")), rest, message_attributes=("tenant", "col.*"))
    assert str(refusal.value) == (
        "handler created with when=(attribute('color') == 'red' | field('type') == 'x') and message_attributes="
        "('tenant', 'col.*'): the attribute 'color' is not fetched, so no message would have it; add it to "
        "message_attributes"
    )
    for fetched in ("All", ".*", "color", "co.*"):
        name = "co.lor" if fetched == "co.*" else "color"
        routed((created, ~(attribute(name) == "red")), message_attributes=(fetched,))


ADVICE = (
    ": give each of them `when=`, e.g. when=attribute('type') == 'created' (leasekeeper.routing), or bodies with "
    "different tags"
)
SAME = "queue orders has two handlers for the same messages, created and cancelled"
KINDS = (
    "queue orders: created is `async def` and plain is `def`: the handlers of one queue must be of one kind. Make all "
    "of them `async def`, with asyncio.to_thread for what blocks, or all `def`"
)


@pytest.mark.parametrize(
    ("functions", "sentence"),
    [
        ((created, cancelled), f"{SAME}{ADVICE}"),
        (((created, TYPE == "x"), (cancelled, TYPE == "x")), f"{SAME} (field('type') == 'x'){ADVICE}"),
        (((created, broken), (cancelled, broken)), f"{SAME} (broken){ADVICE}"),
        (((created, TYPE == "x"), (plain, TYPE == "y")), KINDS),
    ],
)
def test_handlers_that_cannot_share_a_queue_are_refused(functions: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{re.escape(sentence)}$"):
        routed(*functions)


def test_batches_and_conditions_together_are_refused() -> None:
    async def batch(bodies: list[str]) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"^queue orders: batch= with when=, or with several handlers: a batch"
    ):
        make_handler([(batch, TYPE == "x")], make_options({"batch": 10}), queue="orders")


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_envelopes_are_opened_once_for_condition_and_handler(kind: str) -> None:
    opened = []

    def opens(received: Received) -> str:
        opened.append(received.body)
        return received.body.removeprefix("around ")

    def plain(body: dict[str, int]) -> None: ...

    async def coroutine(body: dict[str, int]) -> None: ...

    handler: Any = plain if kind == "def" else coroutine
    consumer = Consumer("orders", handler, when=field("a") == 1, envelope=opens, region="eu-west-1")
    consumer.add_handler(handler, when=field("a") == 2)
    for number in (1, 2):
        assert run_handler(consumer, f'around {{"a": {number}}}').acked
    assert opened == ['around {"a": 1}', 'around {"a": 2}']
