"""Parameters after the first: the message and what the lifespan yields, by type; and what is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    NamedTuple,
    NewType,
    Protocol,
    TypedDict,
    TypeVar,
    runtime_checkable,
)

import attrs
import msgspec
import pytest

from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.handler import Handler
from leasekeeper.lanes.parameters import NO_LIFESPAN, NOT_YET, Resources
from leasekeeper.message import Message  # noqa: TC001 - annotations below are resolved while the tests run
from leasekeeper.outcomes import DONE
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

T = TypeVar("T")
Deliver = Callable[..., "Delivery"]
got: list[Any] = []


@dataclass
class Order:
    id: int


class Db:
    def query(self) -> None: ...


class Sqlite(Db): ...


class Cache(Generic[T]): ...


@runtime_checkable
class Queries(Protocol):
    def query(self) -> None: ...


class Unchecked(Protocol):
    def query(self) -> None: ...


Url = NewType("Url", str)


class State(TypedDict):
    db: Db
    cache: Cache[str]


class Pair(NamedTuple):
    db: Db
    cache: Cache[str]


class Fields(msgspec.Struct):
    db: Db
    cache: Cache[str]


@attrs.define
class Attributes:
    db: Db
    cache: Cache[str]


@dataclass
class Both:
    db: Db
    cache: Cache[str]


@pytest.fixture(autouse=True)
def _nothing_got() -> None:
    got.clear()


def call(handler: Handler, delivery: Delivery) -> Outcome:
    if handler.is_coroutine:
        return run_virtual(handler.run(lambda _answer: True, delivery))
    return handler.run_blocking(lambda _answer: True, delivery)


def ship(order: Order, db: Db) -> None:
    got.append((order, db))


async def ship_later(order: Order, message: Message, db: Db, *, cache: Cache[str]) -> None:  # type: ignore[type-arg]
    got.append((order, message.id, message.body, db, cache))


def test_a_parameter_gets_what_the_lifespan_yields(deliver: Deliver) -> None:
    db = Sqlite()
    assert call(Handler(ship, queue="q", resources=Resources(db)), deliver('{"id": 7}')) == DONE
    assert got == [(Order(7), db)]


DB, CACHE = Db(), Cache[str]()


@pytest.mark.parametrize(
    "value",
    [
        {"db": DB, "cache": CACHE},
        (DB, CACHE),
        Pair(DB, CACHE),
        Both(DB, CACHE),
        Fields(DB, CACHE),
        Attributes(DB, CACHE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parts_of_what_it_yields_are_found_and_the_message_too(value: Any, deliver: Deliver) -> None:
    delivery = deliver('{"id": 7}')
    assert call(Handler(ship_later, queue="q", resources=Resources(value)), delivery) == DONE
    assert got == [(Order(7), delivery.received.message_id, Order(7), DB, CACHE)]


def test_a_message_may_come_first_and_with_the_bodys_type_second(deliver: Deliver) -> None:
    def first(message: Message[Order], db: Db) -> None:
        got.append((message.body, db))

    def second(order: Order, message: Message[Order]) -> None:
        got.append((order, message.body))

    call(Handler(first, queue="q", resources=Resources(DB)), deliver('{"id": 7}'))
    call(Handler(second, queue="q"), deliver('{"id": 8}'))
    assert got == [(Order(7), DB), (Order(8), Order(8))]


def test_the_message_alone_needs_no_lifespan_and_middleware_changes_nothing(deliver: Deliver) -> None:
    def handle(order: Order, message: Message) -> None:  # type: ignore[type-arg]
        got.append((order.id, message.raw_body))

    def around(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        got.append("around")
        return call_next(message)

    call(Handler(handle, queue="q", middleware=[around]), deliver('{"id": 7}'))
    assert got == ["around", (7, '{"id": 7}')]


VALUE = {"db": DB, "cache": CACHE}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Queries, DB), (Annotated[Db, "main"], DB), (Db | None, DB), (State, VALUE), (Mapping[str, object], VALUE)],
)
def test_protocols_annotated_types_unions_and_typed_dicts_are_types_too(
    kind: Any, expected: Any, deliver: Deliver
) -> None:
    def handle(body: str, other: Any) -> None:
        got.append(other)

    handle.__annotations__["other"] = kind
    assert call(Handler(handle, queue="q", resources=Resources(VALUE)), deliver("x")) == DONE
    assert got == [expected]


def test_among_several_of_a_type_the_name_decides(deliver: Deliver) -> None:
    def handle(body: str, reads: Db, writes: Db) -> None:
        got.append((reads, writes))

    reads, writes = Db(), Sqlite()
    call(Handler(handle, queue="q", resources=Resources({"writes": writes, "reads": reads})), deliver("x"))
    assert got == [(reads, writes)]


def test_parameters_with_a_default_keep_it(deliver: Deliver) -> None:
    def handle(body: str, retries: int = 3, db: Db | None = None) -> None:
        got.append((retries, db))

    call(Handler(handle, queue="q", resources=Resources({"retries": 5, "db": DB})), deliver("x"))
    assert got == [(3, None)]


def test_what_a_partial_has_bound_is_not_looked_for(deliver: Deliver) -> None:
    assert call(Handler(functools.partial(ship, db=DB), queue="q"), deliver('{"id": 7}')) == DONE
    assert got == [(Order(7), DB)]


def test_a_handler_bound_at_a_start_leaves_the_one_it_was_made_of_alone(deliver: Deliver) -> None:
    declared = Handler(ship, queue="q", resources=NOT_YET)
    for db in Db(), Db():
        call(declared.bound(Resources(db)), deliver('{"id": 7}'))
        assert got.pop() == (Order(7), db)
    plain = Handler(lambda body: None, queue="q")
    assert plain.bound(Resources(DB)) is plain


def test_the_time_limit_of_a_bound_handler_is_kept(deliver: Deliver) -> None:
    async def sleepy(body: str, db: Db) -> None:
        import asyncio

        await asyncio.sleep(60)

    handler = Handler(sleepy, queue="q", timeout=1, resources=NOT_YET).bound(Resources(DB))
    assert "ran longer than handler_timeout=1 s" in str(call(handler, deliver()).error)  # type: ignore[union-attr]


ADVICE = (
    "; a handler takes the message or the body first, then the message (`Message`) or what the lifespan yields, by its "
    "type, or what an injector gives (`app.inject(...)`, above the handlers)"
)


@pytest.mark.parametrize(
    ("resources", "available"),
    [
        (NO_LIFESPAN, "there is no lifespan that yields it"),
        (Resources(None), "the lifespan yields nothing"),
        (Resources(CACHE), "the lifespan yields Cache"),
        (Resources({"cache": CACHE, "n": 1}), "the lifespan yields dict, with cache: Cache, n: int"),
        (Resources(()), "the lifespan yields tuple"),
    ],
)
def test_a_parameter_for_which_there_is_nothing_is_refused(resources: Resources, available: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(ship, queue="q", resources=resources)
    assert str(refusal.value) == f"handler ship: parameter db: Db: {available}{ADVICE}"


def test_several_of_a_type_without_the_name_are_refused() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(ship, queue="q", resources=Resources({"reads": Db(), "writes": Db()}))
    assert str(refusal.value) == (
        "handler ship: parameter db: Db: the lifespan yields 2 of this type, reads, writes: give the parameter one of "
        "these names"
    )


def no_type(message: Message[str], other) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def anything(message: Message[str], other: Any) -> None: ...


def an_object(message: Message[str], *, other: object) -> None: ...


@pytest.mark.parametrize("function", [no_type, anything, an_object])
def test_a_further_parameter_needs_a_type(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(function, queue="q", resources=Resources(DB))
    assert str(refusal.value).startswith(f"handler {function.__name__}(message: ")
    assert str(refusal.value).endswith(
        ": parameter other needs a type, or a default: it gets the message if it is annotated with Message, else what "
        "the lifespan yields of that type"
    )


def test_a_further_parameter_that_is_positional_only_is_refused() -> None:
    def handle(body: str, db: Db, /) -> None: ...

    with pytest.raises(ConfigurationError, match="parameter db is given by its name: put the `/` before it"):
        Handler(handle, queue="q", resources=Resources(DB))


def test_a_message_with_another_body_than_the_first_parameter_is_refused() -> None:
    def handle(order: Order, message: Message[str]) -> None: ...

    with pytest.raises(ConfigurationError) as refusal:
        Handler(handle, queue="q")
    assert str(refusal.value).endswith(
        "is a message with another body than its first, order: Order: annotate it with Message alone"
    )


@pytest.mark.parametrize("kind", [Url, Unchecked])
def test_a_type_that_objects_cannot_be_compared_with_is_refused(kind: Any) -> None:
    def handle(body: str, other: Any) -> None: ...

    handle.__annotations__["other"] = kind
    with pytest.raises(
        ConfigurationError, match=r"parameter other: \w+: objects cannot be compared with this type \(.*\); annotate it"
    ):
        Handler(handle, queue="q", resources=Resources(("x",)))
