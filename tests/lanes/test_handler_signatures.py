"""What a handler may look like, what it then receives, and the sentence for each form that cannot work."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import leasekeeper  # noqa: TC001 - an annotation below is resolved while the tests run
from leasekeeper.errors import ConfigurationError
from leasekeeper.lanes.handler import Handler
from leasekeeper.message import Message
from leasekeeper.outcomes import DONE, Retry
from leasekeeper.testing.clock import run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from decimal import Decimal as OnlyForTypeCheckers

    from leasekeeper.core.delivery import Delivery
    from leasekeeper.outcomes import Outcome

got: list[Any] = []
NOBODY: Any = None


@dataclass
class Order:
    id: int


async def coroutine(message: Message[str]) -> None:
    got.append(message)


def plain(message: Message[str]) -> None:
    got.append(message)


def bare(message: Message) -> None:  # type: ignore[type-arg]  # what a user may write
    got.append(message)


def unannotated(message):  # type: ignore[no-untyped-def]  # what a user may write  # noqa: ANN001
    got.append(message)


def order(order: Order) -> None:
    got.append(order)


def with_defaults(message: Message[str], retries: int = 3, *, dry_run: bool = False) -> None:
    got.append(message)


def with_rest(message: Message[str], *rest: object, **more: object) -> None:
    got.append(message)


def optional_argument(message: Message[str] = NOBODY) -> None:
    got.append(message)


def positional_only(message: Message[str], /) -> None:
    got.append(message)


def two_of_them(warehouse: str, message: Message[str]) -> None:
    got.append((warehouse, message))


class Shop:
    async def ship(self, message: Message[str]) -> None:
        got.append(message)

    def pack(self, message: Message[str]) -> None:
        got.append(message)

    @staticmethod
    def weigh(message: Message[str]) -> None:
        got.append(message)

    @classmethod
    async def count(cls, message: Message[str]) -> None:
        got.append(message)


class Instance:
    def __call__(self, message: Message[str]) -> None:
        got.append(message)


class AsyncInstance:
    async def __call__(self, message: Message[str]) -> None:
        got.append(message)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **more: Any) -> Any:
        return function(*arguments, **more)

    return wrapper


FORMS: list[tuple[Callable[..., Any], bool]] = [
    (coroutine, True),
    (plain, False),
    (bare, False),
    (unannotated, False),
    (with_defaults, False),
    (with_rest, False),
    (optional_argument, False),
    (positional_only, False),
    (Shop().ship, True),
    (Shop().pack, False),
    (Shop.weigh, False),
    (Shop.count, True),
    (Instance(), False),
    (AsyncInstance(), True),
    (functools.partial(coroutine), True),
    (functools.partial(functools.partial(with_defaults, dry_run=True), retries=1), False),
    (functools.partial(AsyncInstance()), True),
    (lambda message: got.append(message), False),  # noqa: PLW0108 - a lambda is what is tried here
    (decorated(plain), False),
]


def call(handler: Handler, delivery: Delivery) -> Outcome:
    if handler.is_coroutine:
        return run_virtual(handler.run(lambda _answer: True, delivery))
    return handler.run_blocking(lambda _answer: True, delivery)


@pytest.fixture(autouse=True)
def _nothing_got() -> None:
    got.clear()


@pytest.mark.parametrize(("function", "is_coroutine"), FORMS)
def test_a_function_of_one_argument_is_a_handler(
    function: Callable[..., Any], deliver: Callable[..., Delivery], *, is_coroutine: bool
) -> None:
    handler = Handler(function, queue="orders")
    assert handler.is_coroutine is is_coroutine
    assert call(handler, deliver("hello")) == DONE
    [message] = got
    assert isinstance(message, Message)
    assert (message.body, message.raw_body, message.queue, message.id) == ("hello", "hello", "orders", "m1")


def test_what_is_bound_already_does_not_count(deliver: Callable[..., Delivery]) -> None:
    handler = Handler(functools.partial(two_of_them, "north"), queue="q")
    call(handler, deliver("hello"))
    assert [(place, message.body) for place, message in got] == [("north", "hello")]


def test_a_parameter_that_is_no_message_receives_the_decoded_body(deliver: Callable[..., Delivery]) -> None:
    assert call(Handler(order, queue="q"), deliver('{"id": 7}')) == DONE
    assert got == [Order(7)]


def test_a_message_of_a_type_has_the_decoded_body_and_the_raw_one(deliver: Callable[..., Delivery]) -> None:
    def handle(message: Message[Order]) -> None:
        got.append(message)

    call(Handler(handle, queue="q"), deliver('{"id": 7}'))
    assert (got[0].body, got[0].raw_body) == (Order(7), '{"id": 7}')


def test_a_repr_reads() -> None:
    assert repr(Handler(coroutine, queue="q")) == "<Handler coroutine, async def>"
    assert repr(Handler(plain, queue="q")) == "<Handler plain, def>"


async def none_at_all() -> None: ...


def keyword_only(*, message: Message[str]) -> None: ...


def only_rest(*messages: Message[str]) -> None: ...


MUST = ": its first argument must be the message or the decoded body, e.g. `async def {}(message: Message[dict])`"


@pytest.mark.parametrize("function", [none_at_all, keyword_only, only_rest], ids=lambda f: f.__name__)
def test_a_function_without_a_positional_argument_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(function, queue="q")
    name = function.__name__
    assert str(refusal.value).startswith(f"handler {name}(")
    assert str(refusal.value).endswith(MUST.format(name))


def test_the_example_for_a_lambda_is_python() -> None:
    """`lambda` cannot be the name of a function."""
    with pytest.raises(ConfigurationError, match=re.escape("e.g. `async def handle(message")):
        Handler(lambda: None, queue="q")


@pytest.mark.parametrize("function", [5, None, "ship"])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(function, queue="q")
    assert str(refusal.value) == f"handler {function!r} is not callable: give a function, `async def` or `def`"


@pytest.mark.parametrize("function", [Shop, Order, Instance, functools.partial(Order, id=5)])
def test_a_class_is_refused(function: Any) -> None:
    """It would be made with the message, dropped, and the message acked."""
    with pytest.raises(ConfigurationError, match="is a class: give a function, a method, or an instance that can be"):
        Handler(function, queue="q")


def generator(message: Message[str]) -> Iterator[int]:
    yield 1


async def async_generator(message: Message[str]) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator, functools.partial(generator)])
def test_a_generator_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match="is a generator: it would never run; use return instead of yield"):
        Handler(function, queue="q")


def unresolvable(amount: OnlyForTypeCheckers) -> None: ...


def misspelt(message: leasekeeper.Massage[str]) -> None:  # type: ignore[name-defined]  # the mistake that is tried
    ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (unresolvable, "name 'OnlyForTypeCheckers' is not defined"),
        (misspelt, "module 'leasekeeper' has no attribute 'Massage'"),
    ],
)
def test_an_annotation_that_cannot_be_resolved_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(function, queue="q")
    assert str(refusal.value) == (
        f"handler {function.__name__}: its annotation cannot be resolved ({why}); import the type where the handler is "
        "defined, not only under TYPE_CHECKING"
    )


def garbled(message: object) -> None: ...


garbled.__annotations__["message"] = "1 +"


@pytest.mark.parametrize("function", [max, garbled])
def test_a_signature_that_cannot_be_read_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^handler \w+: its signature cannot be read \(.*\); wrap it in a def$"
    ):
        Handler(function, queue="q")


# Middleware


async def around(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
    got.append(("before", message.body))
    result = await call_next(message)
    got.append(("after", message.body))
    return result


def around_plain(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
    got.append(("before", message.body))
    result = call_next(message)
    got.append(("after", message.body))
    return result


class AsyncMiddleware:
    async def __call__(self, message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        return await around(message, call_next)


@pytest.mark.parametrize("middleware", [around, AsyncMiddleware(), functools.partial(around)])
def test_middleware_stands_around_a_coroutine(middleware: Any, deliver: Callable[..., Delivery]) -> None:
    async def handle(order: Order) -> None:
        got.append(order)

    handler = Handler(handle, queue="q", middleware=[middleware])
    assert call(handler, deliver('{"id": 7}')) == DONE
    assert got == [("before", Order(7)), Order(7), ("after", Order(7))]


def test_the_outermost_middleware_comes_first(deliver: Callable[..., Delivery]) -> None:
    def outer(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        got.append("outer")
        return call_next(message)

    handler = Handler(plain, queue="q", middleware=[outer, around_plain])
    assert call(handler, deliver("hello")) == DONE
    assert got[:2] == ["outer", ("before", "hello")]


def test_middleware_may_answer_in_the_handlers_place(deliver: Callable[..., Delivery]) -> None:
    def closed_today(message: Message[Any], call_next: Callable[[Message[Any]], Any]) -> Any:
        raise Retry(after=60)

    outcome = call(Handler(plain, queue="q", middleware=[closed_today]), deliver())
    assert isinstance(outcome, Retry)
    assert outcome.after == 60
    assert got == []


@pytest.mark.parametrize(
    ("function", "middleware", "sentence"),
    [
        (
            plain,
            around,
            "middleware around is a `async def` around the `def` handler plain: make it a `def` too",
        ),
        (
            coroutine,
            around_plain,
            "middleware around_plain is a `def` around the `async def` handler coroutine: make it a `async def` too",
        ),
    ],
)
def test_middleware_of_the_other_kind_is_refused(function: Any, middleware: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Handler(function, queue="q", middleware=[middleware])
    assert str(refusal.value) == sentence


def test_an_async_object_around_a_plain_function_is_refused() -> None:
    """Called without `await` it would do nothing, and every message would be acked."""
    with pytest.raises(ConfigurationError, match="is a `async def` around the `def` handler plain"):
        Handler(plain, queue="q", middleware=[AsyncMiddleware()])


@pytest.mark.parametrize("middleware", [plain, keyword_only, lambda: None])
def test_middleware_that_does_not_take_two_arguments_is_refused(middleware: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^middleware .*: must take two arguments, the message and `call_next`"
    ):
        Handler(plain, queue="q", middleware=[middleware])


def test_middleware_that_cannot_be_called_or_is_a_class_is_refused() -> None:
    for middleware, why in ((5, "middleware 5 is not callable"), (AsyncMiddleware, "is a class")):
        with pytest.raises(ConfigurationError, match=why):
            Handler(plain, queue="q", middleware=[middleware])  # type: ignore[list-item]  # the mistake that is tried


def test_middleware_with_a_signature_that_cannot_be_read_is_taken_at_its_word() -> None:
    assert not Handler(plain, queue="q", middleware=[max]).is_coroutine
